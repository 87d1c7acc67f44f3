# SPDX-License-Identifier: LGPL-3.0-only
"""Incoming mails at random, against a small model of the rules written for this test alone.

So many as ALIAS_MAILS says, 100 unless told otherwise; ``.ci/run`` has 1,000 processed. Another
SEED makes others.
"""

import os
import random
from dataclasses import dataclass
from email.message import EmailMessage

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import MailRoutingCase

GENERAL = "odoomommy.com"
BOOKS, BOOKS_ASCII = "bücher.de", "xn--bcher-kva.de"
#: domain -> the company that it belongs to
OWN = {"a.com": "A", "b.com": "B", BOOKS_ASCII: "B", "shared.com": None}
STRANGERS = ("example.org", "sales.a.com", "allowed.com")
NAMES = ("sales", "info", "jobs", "info+web")
MODELS = ("crm.lead", "res.partner")
QUIET = (
    "odoo.addons.mail.models.mail_thread",
    "odoo.addons.mail_company_routing.models.mail_thread",
    "odoo.addons.base.models.ir_mail_server",
)


@dataclass(frozen=True)
class Known:
    """An alias, as the model knows it."""

    number: int
    name: str
    domain: str | None
    local: bool
    model: str


class Model:
    """The rules of SPEC 8 and 4, as short as they can be said."""

    def __init__(self, aliases, allowed):
        self.aliases = aliases
        self.allowed = allowed

    def reached(self, address):
        name, _at, domain = address.lower().replace(BOOKS, BOOKS_ASCII).partition("@")
        named = [alias for alias in self.aliases if alias.name == name]
        exact = [alias for alias in named if (alias.domain or GENERAL) == domain]
        if exact or not self.passes(domain):
            return exact
        return [alias for alias in named if alias.local]

    def passes(self, domain):
        return not self.allowed or domain in (self.allowed, GENERAL, *OWN)

    def outcome(self, to, others, reply_to_model):
        """Give what becomes of a mail, and the aliases that make a record of it."""
        everybody = [*to, *others]
        domains = {a.lower().replace(BOOKS, BOOKS_ASCII).partition("@")[2] for a in everybody}
        own = {*OWN, GENERAL}
        to_names = [address.lower().partition("@")[0] for address in to]
        bounces = {f"bounce@{domain}" for domain in own}
        if bounces & {address.lower().replace(BOOKS, BOOKS_ASCII) for address in to}:
            return "report", []
        if reply_to_model:
            of_others = {
                alias for a in to for alias in self.reached(a) if alias.model != reply_to_model
            }
            if not of_others:
                return "reply", []
            everybody = [a for a in everybody if of_others & set(self.reached(a))]
        passing = any(map(self.passes, domains))
        if passing and to and all(name == "catchall" for name in to_names):
            return "refused", []
        found = {alias for address in everybody for alias in self.reached(address)}
        if found:
            return "new", sorted(found, key=lambda alias: alias.number)
        if passing and "catchall" in to_names:
            return "refused", []
        names = {
            a.lower().partition("@")[0]
            for a in everybody
            if a.lower().replace(BOOKS, BOOKS_ASCII).partition("@")[2] in own
        }
        if names & {alias.name for alias in self.aliases}:
            return "refused", []
        return "lost", []

    @staticmethod
    def company(alias, addresses):
        """Give the name of the company of the record that an alias makes, None: native's."""
        if OWN.get(alias.domain):
            return OWN[alias.domain]
        for address in addresses:
            owner = OWN.get(address.lower().replace(BOOKS, BOOKS_ASCII).partition("@")[2])
            if owner:
                return owner
        return None


@tagged("post_install", "-at_install")
class TestRandomMails(MailRoutingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.companies = {}
        for name in ("A", "B"):
            cls.companies[name] = cls.env["res.company"].create({"name": name})
        cls.domains = {None: cls.env["mail.alias.domain"]}
        for name, owner in OWN.items():
            company = cls.companies.get(owner)
            cls.domains[name] = cls.env["mail.alias.domain"].create(
                {"name": name, "company_id": company.id if company else False}
            )
        for name, company in cls.companies.items():
            company.alias_domain_id = cls.domains[f"{name.lower()}.com"]
            company.mail_server_by_domain = True
        cls.documents = {
            "crm.lead": cls.env["crm.lead"].create({"name": "Document"}),
            "res.partner": cls.document,
        }
        cls.references = {
            model: document.message_post(body="Offer").message_id
            for model, document in cls.documents.items()
        }

    def test_mails_at_random(self):
        seed = int(os.environ.get("SEED") or 20261124)
        mails = int(os.environ.get("ALIAS_MAILS") or 100)
        chance = random.Random(seed)
        outcomes = {}
        for number in range(mails):
            if number % 50 == 0:
                model = self.make_aliases(chance)
            with self.subTest(seed=seed, number=number):
                kind = self.process_one(chance, model, number)
                outcomes[kind] = outcomes.get(kind, 0) + 1
        # each kind was met
        self.assertEqual(set(outcomes), {"new", "reply", "refused", "report", "lost"})

    def make_aliases(self, chance):
        self.env["mail.alias"].search([("alias_name", "!=", False)]).alias_name = False
        known = []
        for name in NAMES:
            for domain in (None, *OWN):
                if chance.random() < 0.4:
                    local = chance.random() < (0.8 if domain is None else 0.15)
                    model = chance.choice(MODELS)
                    known.append(Known(len(known), name, domain, local, model))
        self.env["mail.alias"].create(
            [
                {
                    "alias_name": alias.name,
                    "alias_domain_id": self.domains[alias.domain].id,
                    "alias_incoming_local": alias.local,
                    "alias_model_id": self.env["ir.model"]._get_id(alias.model),
                    "alias_defaults": repr({"name": f"From alias {alias.number}"}),
                }
                for alias in known
            ]
        )
        allowed = chance.choice(("", "", "allowed.com"))
        self.env["ir.config_parameter"].set_param("mail.catchall.domain.allowed", allowed or False)
        return Model(known, allowed)

    def address(self, chance):
        name = chance.choice((*NAMES * 3, "sales+x", "nobody", "catchall", "bounce"))
        if name == "bounce" and chance.random() < 0.6:
            name = "info"
        domain = chance.choice((*OWN, *OWN, GENERAL, BOOKS, *STRANGERS))
        address = f"{name}@{domain}"
        return chance.choice((address, address, address.title(), address.upper()))

    def process_one(self, chance, model, number):
        headers = {"To": [], "Cc": [], "Delivered-To": []}
        for _recipient in range(chance.choice((1, 1, 1, 2, 3))):
            header = chance.choice(("To", "To", "To", "Cc", "Delivered-To"))
            address = self.address(chance)
            if header == "Delivered-To":
                address = address.lower().replace(BOOKS, BOOKS_ASCII)
            headers[header].append(address)
        replied = chance.choice((None, None, None, *MODELS))
        sender = f"sender{number}@example.net"
        raw = self.raw(chance, headers, sender, replied, number)
        before = {name: self.last_id(name) for name in MODELS}
        notes = {name: len(document.message_ids) for name, document in self.documents.items()}

        kind = self.process(raw)

        made = {
            record.name: record
            for name in MODELS
            for record in self.env[name].search([("id", ">", before[name])])
        }
        if made:
            kind = "new"
        elif any(len(d.message_ids) > notes[n] for n, d in self.documents.items()):
            kind = "reply"
        elif self.env["mail.mail"].search([("email_to", "=", sender)]):
            kind = "refused"
        to = [*headers["To"], *headers["Delivered-To"]]
        expected, aliases = model.outcome(to, headers["Cc"], replied)
        told = f"{headers} answers {replied}, allowed {model.allowed!r}, {model.aliases}"
        self.assertEqual(kind or "report", expected, told)
        self.assertEqual(
            sorted(made), sorted(f"From alias {alias.number}" for alias in aliases), told
        )
        in_order = [address for found in headers.values() for address in found]
        for alias in aliases:
            record = made[f"From alias {alias.number}"]
            self.assertEqual(record._name, alias.model, told)
            company = model.company(alias, in_order)
            if company:
                self.assertEqual(record.company_id.name, company, told)
        return expected

    def raw(self, chance, headers, sender, replied, number):
        message = EmailMessage()
        message["From"] = f"Customer <{sender}>"
        message["Subject"] = f"Enquiry {number}"
        message["Message-ID"] = f"<{number}.{chance.random()}@example.net>"
        if replied:
            message["In-Reply-To"] = self.references[replied]
        message.set_content("What does it cost?")
        lines = [
            f"{name}: {', '.join(chance.choice((a, f'Us <{a}>')) for a in addresses)}\r\n"
            for name, addresses in headers.items()
            if addresses
        ]
        return "".join(lines).encode() + message.as_bytes()

    def process(self, raw):
        """Give ``lost`` where nobody reads the mail, None for what has to be looked at."""
        with mute_logger(*QUIET):
            try:
                with self.env.cr.savepoint():
                    self.env["mail.thread"].with_context(
                        mail_company_routing_send_later=True
                    ).message_process(None, raw)
            except ValueError as error:
                self.assertIn("No possible route", str(error))
                return "lost"
        return None

    def last_id(self, model):
        self.env.flush_all()
        return (
            self.env[model].with_context(active_test=False).search([], order="id desc", limit=1).id
        )
