# SPDX-License-Identifier: LGPL-3.0-only
"""What Explain says before a mail exists is what leaves by the wire, and Test Connection knows.

Random set-ups (:mod:`.truth`): 20 of them here, 1,000 by ``make test-truth``. Each is asked about,
then the mail is written, and the queue of another company sends it to strict providers on real
sockets. What is compared is what the provider saw with what Explain had said; nothing in here
knows the rules.
"""

import collections
import contextlib
import json
import os
from email.utils import parseaddr
from typing import NamedTuple
from unittest.mock import patch

import idna

from odoo import tools
from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

from ..dev.provider import RULES, Provider
from ..dev.shared import say
from . import truth
from .common import CUSTOMER, MailRoutingCase


class Difference(NamedTuple):
    """What Explain, or Test Connection, said; and what happened."""

    what: str
    said: str
    happened: str


def _on_the_wire(login):
    """Give a login, an address or not, with its domain in ASCII (RFC 5891)."""
    local, at, domain = login.partition("@")
    return local + at + idna.encode(domain, uts46=True).decode() if at else login


class _Over(Exception):
    """Ends a set-up's savepoint."""


@tagged("post_install", "-at_install")
class TestTruth(MailRoutingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["mail.mail"].search([("state", "=", "outgoing")]).write({"state": "cancel"})
        cls.companies = {
            name: cls.env["res.company"].create({"name": name}) for name in truth.COMPANIES
        }
        everywhere = [company.id for company in cls.companies.values()]
        cls.users = {
            name: new_test_user(
                cls.env, f"truth_{name}", groups="base.group_user", name=shown, email="x@y.example"
            )
            for name, shown in truth.PEOPLE.items()
        }
        cls.reader = new_test_user(
            cls.env, "truth_reader", groups="base.group_user", email="reader@readers.example"
        )
        cls.reader.write({"company_ids": [(6, 0, everywhere[-1:])], "company_id": everywhere[-1]})
        cls.admin = new_test_user(
            cls.env, "truth_admin", groups="base.group_system,base.group_user", name="Boss"
        )
        cls.admin.write({"company_ids": [(6, 0, everywhere)], "company_id": everywhere[0]})
        cls.root = cls.env.ref("base.user_root")
        cls.root.write({"company_ids": [(4, company_id) for company_id in everywhere]})
        cls.document = cls.env["res.partner"].create({"name": "Quotation"})
        # one for each server, and one for the configuration file's: who asked is known by it
        cls.providers = {name: Provider({}, "any").start() for name in (*truth.SERVERS, "config")}
        for provider in cls.providers.values():
            cls.addClassCleanup(provider.stop)

    def test_explain_and_test_connection_tell_the_truth(self):
        setup_file = os.environ.get("MCR_TRUTH_SETUP")
        if setup_file:
            with open(setup_file) as text:
                setups = {setup_file: truth.complete(json.load(text))}
        else:
            first = int(os.environ.get("MCR_TRUTH_FIRST", 1))
            count = int(os.environ.get("MCR_TRUTH_COUNT", 20))
            setups = {seed: truth.make_setup(seed) for seed in range(first, first + count)}
        failed = {}
        self.told = collections.Counter()
        for seed, setup in setups.items():
            try:
                differences = self.play(setup)
            except Exception as error:
                raise AssertionError(
                    f"seed {seed} cannot be played:\n{truth.dumps(setup)}"
                ) from error
            if differences:
                failed[seed] = differences
        counts = ", ".join(f"{number} {what}" for what, number in sorted(self.told.items()))
        say(f"{len(setups)} set-ups: {counts}")
        if failed:
            self.fail(self._report(setups, failed))

    def _report(self, setups, failed):
        """Tell which set-ups fail, and how the first of them does in its smallest form."""
        seed = next(iter(failed))
        kind = failed[seed][0].what

        def still_fails(setup):
            try:
                return kind in {difference.what for difference in self.play(setup)}
            except UserError:
                return False  # it cannot be saved

        smallest = truth.shrink(setups[seed], still_fails)
        lines = [f"{len(setups) - len(failed)} of {len(setups)} set-ups are told truly."]
        for other, differences in failed.items():
            words = "; ".join(f"{d.what}: {d.said!r}, but {d.happened!r}" for d in differences)
            lines.append(f"seed {other}: {words}")
        lines.append(f"The smallest set-up that fails as seed {seed} does:")
        lines.append(truth.dumps(smallest))
        lines += [f"{d.what}: {d.said!r}, but {d.happened!r}" for d in self.play(smallest)]
        lines.append(f'Play it again: make test-truth ARGS="--seed {seed}", or save the set-up')
        lines.append('in a file: make test-truth ARGS="--setup FILE"')
        return "\n".join(lines)

    # ------------------------------------------------------------
    # One set-up
    # ------------------------------------------------------------

    def play(self, setup):
        """Make the set-up, ask, send, compare, and undo everything.

        :return: list of :class:`Difference`
        """
        differences = []
        with (
            contextlib.suppress(_Over),
            mute_logger("odoo.addons.mail.models.mail_mail"),
            patch.dict(tools.config.options, self._config(setup)),
            self.env.cr.savepoint(),
        ):
            self._make(setup)
            differences += self._explain_and_send(setup)
            differences += self._test_and_send(setup)
            raise _Over
        self.env["mail.routing"]._forget_facts()
        return differences

    def _config(self, setup):
        """Give the configuration file's server, whose turn comes where the database has none."""
        config, provider = setup["config"], self.providers["config"]
        return {
            "smtp_server": provider.smtp_host,
            "smtp_port": provider.smtp_port,
            "smtp_user": config["login"] or False,
            "smtp_password": "secret",
            "from_filter": config["from_filter"] or False,
            "email_from": False,
        }

    def _make(self, setup):
        set_param = self.env["ir.config_parameter"].set_param
        native, settings = setup["native"], setup["settings"]
        set_param("mail.catchall.domain", native["domain"])
        set_param("mail.default.from", native["default_from"])
        set_param("mail.bounce.alias", native["bounce"])
        set_param("mail.catchall.alias", native["catchall"])
        self._make_domains_and_companies(setup)
        self._make_users(setup)
        self._make_servers(setup)
        set_param("mail_company_routing.catch_all", str(settings["catch_all"]))
        set_param("mail_company_routing.restrict_username", str(settings["restrict_username"]))
        set_param("mail_company_routing.sender_name_format", settings["sender_name"])
        mail = setup["mail"]
        self.document.company_id = self.companies.get(mail["document_company"])
        if mail["document_alias"]:
            model_id = self.env["ir.model"]._get_id("res.partner")
            self.env["mail.alias"].create(
                {
                    "alias_name": mail["document_alias"],
                    "alias_model_id": model_id,
                    "alias_parent_model_id": model_id,
                    "alias_parent_thread_id": self.document.id,
                }
            )
        self.root.company_id = self.companies[setup["runs"]["queue"]]
        self.admin.partner_id.email = setup["runs"]["tester_email"]
        self.env.flush_all()

    def _make_domains_and_companies(self, setup):
        alias_domain = self.env["mail.alias.domain"]
        self.domains = {
            row["name"]: alias_domain.create(
                {
                    "name": row["name"],
                    "company_id": self._company_id(row["company"]),
                    "catch_all": row["catch_all"],
                    "default_from": row["default_from"],
                    "bounce_alias": row["bounce"],
                    "catchall_alias": row["catchall"],
                }
            )
            for row in setup["domains"]
        }
        for row in setup["domains"]:
            if row["reply_domain"] in self.domains:
                self.domains[row["name"]].reply_domain_id = self.domains[row["reply_domain"]]
        for row in setup["companies"]:
            self.companies[row["name"]].write(
                {
                    "alias_domain_id": self._domain_id(row["domain"]),
                    "reply_to_by_company": row["reply_to_by_company"],
                    "reply_to_prefix": row["prefix"],
                    "email_from_by_company": row["email_from_by_company"],
                    "mail_server_by_domain": row["mail_server_by_domain"],
                    "mail_server_by_reply_to": row["mail_server_by_reply_to"],
                }
            )

    def _make_users(self, setup):
        for row in setup["users"]:
            user = self.users[row["name"]]
            companies = [self.companies[name].id for name in {*row["companies"], row["company"]}]
            user.write(
                {
                    "email": row["email"],
                    "company_ids": [(6, 0, companies)],
                    "company_id": self.companies[row["company"]].id,
                }
            )
            for company, domain in row["outgoing"].items():
                in_company = user.with_company(self.companies[company])
                in_company.alias_domain_id = self._domain_id(domain)

    def _make_servers(self, setup):
        self.servers = {}
        for row in setup["servers"]:
            self._open(self.providers[row["name"]], row["rule"], row["login"], row["address"])
            self.servers[row["name"]] = self.mail_server(
                self.providers[row["name"]],
                login=row["login"],
                name=row["name"],
                company_id=self._company_id(row["company"]),
                sender_policy=row["policy"],
                from_filter=row["from_filter"],
                sequence=row["sequence"],
                **({"sender_address": row["address"]} if row["address"] else {}),
            )
        config = setup["config"]
        self._open(self.providers["config"], config["rule"], config["login"], config["login"])
        for row in setup["mailboxes"]:
            self.env["fetchmail.server"].create(
                {
                    "name": row["login"],
                    "server_type": "imap",
                    "server": "imap.example.com",
                    "user": row["login"],
                    "password": "secret",
                    "company_id": self._company_id(row["company"]),
                    "state": "done" if row["confirmed"] else "draft",
                    "priority": row["priority"],
                }
            )

    @staticmethod
    def _open(provider, rule, login, address):
        """Let a provider serve a set-up: one account, or a relay."""
        provider.rule = RULES[rule]
        provider.require_auth = bool(login)
        if login:
            # Odoo logs in with the domain as it goes over the wire
            provider.add_account(
                _on_the_wire(login), "secret", identity=_on_the_wire(address or "")
            )
        provider.clear()

    def _company_id(self, name):
        return self.companies[name].id if name else False

    def _domain_id(self, name):
        return self.domains[name].id if name in self.domains else False

    # ------------------------------------------------------------
    # Explain
    # ------------------------------------------------------------

    def _explain_and_send(self, setup):
        mail = setup["mail"]
        # what Explain's form cannot be told, it is asked about the mail itself
        before = None if mail["reply_to"] else self._ask(setup, **self._question(setup))
        failure = None
        queued = self.env["mail.mail"]
        if mail["way"] == "direct":
            failure = self._send_directly(setup)
        else:
            queued = self._write(setup)
            waiting = self._ask(setup, mail_id=queued.id)
            self.env["mail.mail"].with_user(self.root).process_email_queue()
            failure = queued.failure_reason if queued.state != "sent" else None
        seen = self._seen()
        if truth.is_untouched(setup):
            # native writes a domain of another script into a header as it is
            for _server, attempt in seen:
                for what in {"From", "Reply-To"} & attempt.keys():
                    attempt[what] = _on_the_wire(attempt[what])
            if before and mail["way"] in ("direct", "template"):
                # native gives these a Reply-To only if their writer does
                told = waiting if queued else seen[0][1] if seen else {}
                # a provider that refused MAIL FROM was told none
                before["Reply-To"] = told.get("Reply-To", before["Reply-To"])
        differences = []
        if before:
            differences += self._compare("before", before, seen, failure)
        if queued:
            differences += self._compare("waiting", waiting, seen, failure)
        self.told[
            "untouched"
            if truth.is_untouched(setup)
            else ("sent" if not failure else "refused" if seen else "failed")
        ] += 1
        for server, attempt in seen:
            rows = [row for row in setup["servers"] if row["name"] == server]
            if rows and attempt["refused"] and truth.restricted(setup, rows[0]):
                differences.append(Difference("restricted", "its login", attempt["refused"]))
        return differences

    def _question(self, setup):
        """Give what an administrator fills in before there is a mail."""
        mail = setup["mail"]
        author = self._author(setup)
        email_from = mail["email_from"]
        if mail["by_cron"]:
            # who posts may name the author, whatever address he writes from
            posted = mail["way"] in ("post", "notify") and not email_from
            email_from = email_from or author.email_formatted
            author = author if posted else self.root
        question = {
            "user_id": author.id,
            "company_id": self.companies[mail["company"]].id,
            "email_from": email_from,
        }
        if mail["document"]:
            question.update(res_model="res.partner", res_id=self.document.id)
        server = self.servers.get(mail["server"])
        if server:
            composer = self._as_admin(setup, "asker")["mail.compose.message"]
            question["composer_id"] = composer.create({"mail_server_id": server.id}).id
        return question

    def _ask(self, setup, **question):
        """Ask Explain, as an administrator of another company."""
        wizard = self._as_admin(setup, "asker")["mail.route.explain"].create(question)
        header_from = wizard.header_from or ""
        name, address = parseaddr(header_from) if "@" in header_from else ("", header_from)
        return {
            "failure": wizard.failure or "",
            "server": wizard.mail_server_id.sudo().name or "config",
            "MAIL FROM": wizard.mail_from,
            "From": address,
            "From name": name,
            "Return-Path": wizard.return_path,
            "Reply-To": wizard.reply_to,
        }

    def _as_admin(self, setup, role):
        chosen = self.companies[setup["runs"][role]]
        others = [company.id for company in self.companies.values() if company != chosen]
        return self.env(
            user=self.admin, context={"allowed_company_ids": [chosen.id, *others], "lang": "en_US"}
        )

    def _author(self, setup):
        return self.users[setup["mail"]["author"]]

    def _write(self, setup):
        """Write the mail, as its author or as a scheduled action does; it waits in the queue."""
        mail = setup["mail"]
        author = self._author(setup)
        writer = self.root if mail["by_cron"] else author
        email_from = mail["email_from"] or (author.email_formatted if mail["by_cron"] else None)
        server = self.servers.get(mail["server"])
        company = self.companies[mail["company"]]
        reader = self.reader.partner_id if mail["to_colleague"] else self.customer
        extra = {}
        if email_from:
            extra["email_from"] = email_from
        if server:
            extra["mail_server_id"] = server.id
        if mail["reply_to"]:
            extra["reply_to"] = mail["reply_to"]

        def acting(record):
            return record.with_user(writer).sudo().with_company(company)

        if mail["way"] in ("post", "notify"):
            document = self.document if mail["document"] else self.env["mail.thread"]
            # of two people with one address it is the author who counts
            foreign = mail["by_cron"] and mail["email_from"]
            values = {
                "author_id": (self.root if foreign else author).partner_id.id,
                "body": "Hello",
                "subject": "Hello",
                "partner_ids": reader.ids,
                "force_send": False,
                "mail_auto_delete": False,
                **extra,
            }
            if mail["way"] == "post" and mail["document"]:
                message = acting(document).message_post(
                    message_type="comment", subtype_xmlid="mail.mt_comment", **values
                )
            else:
                message = acting(document).message_notify(**values)
            return self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
        if mail["way"] == "template" and mail["document"]:
            template = self.env["mail.template"].create(
                {
                    "name": "Offer",
                    "model_id": self.env["ir.model"]._get_id("res.partner"),
                    "subject": "Offer",
                    "body_html": "<p>Offer</p>",
                    "partner_to": str(reader.id),
                    "auto_delete": False,
                    **extra,
                }
            )
            return self.env["mail.mail"].browse(acting(template).send_mail(self.document.id))
        values = {
            "subject": "Offer",
            "body_html": "<p>Offer</p>",
            "recipient_ids": [(4, reader.id)],
            "auto_delete": False,
            **extra,
        }
        if mail["way"] == "template":
            values.setdefault("reply_to", False)
        if mail["document"]:
            values.update(model="res.partner", res_id=self.document.id)
        queued = acting(self.env["mail.mail"]).create(values)
        return queued.with_env(self.env)

    def _send_directly(self, setup):
        """Send as code does that knows ``ir.mail_server`` only; give the failure."""
        mail = setup["mail"]
        sender = self.env["ir.mail_server"].with_user(self.root)
        sender = sender.with_company(self.companies[mail["company"]])
        email_from = mail["email_from"] or self._author(setup).email_formatted
        try:
            sender.send_email(sender.build_email(email_from, [CUSTOMER], "Hello", "Hello"))
        except MailDeliveryException as error:
            return str(error)
        return None

    def _seen(self):
        """Give (server, attempt) for each mail that a provider was offered."""
        seen = []
        for name, provider in self.providers.items():
            for mail in provider.mails:
                attempt = {
                    "MAIL FROM": mail.mail_from,
                    # a name alone is read as a local part
                    "From": mail.header_from.strip('"'),
                    "From name": mail.from_name,
                    # where Odoo writes none, the last server does (RFC 5321 4.4)
                    "Return-Path": mail.return_path or mail.mail_from,
                    "Reply-To": mail.reply_to,
                }
                seen.append((name, {"server": name, "refused": "", **attempt}))
            for refusal in provider.refusals:
                attempt = {"MAIL FROM": refusal.mail_from}
                if refusal.header_from:
                    attempt["From"] = refusal.header_from
                seen.append((name, {"server": name, "refused": refusal.reply, **attempt}))
            provider.clear()
        return seen

    def _compare(self, when, said, seen, failure):
        """Compare what Explain said with what the providers saw and the mail's failure."""
        if said["failure"]:
            happened = failure or "sent"
            if seen or said["failure"] not in happened:
                return [Difference(f"{when}: failure", said["failure"], happened)]
            return []
        if len(seen) != 1:
            return [Difference(f"{when}: failure", f"sent by {said['server']}", failure or "")]
        ((_name, attempt),) = seen
        differences = [
            Difference(f"{when}: {what}", said[what] or "", attempt[what])
            for what in said
            if what in attempt and (said[what] or "") != attempt[what]
        ]
        refused = attempt["refused"]
        if bool(refused) != bool(failure) or refused.partition(" ")[2] not in (failure or ""):
            differences.append(Difference(f"{when}: refusal", refused, failure or "sent"))
        return differences

    # ------------------------------------------------------------
    # Test Connection
    # ------------------------------------------------------------

    def _test_and_send(self, setup):
        """Test a server, then let the same user send by it."""
        name = setup["runs"]["tested"]
        if name not in self.servers:
            return []
        server = self.servers[name]
        env = self._as_admin(setup, "tester")
        try:
            server.with_env(env).test_smtp_connection()
            trouble = ""
        except UserError as error:
            trouble = str(error)
        self._seen()
        # his next mail, where that goes by this server; else one that he writes in its company;
        # else one that names it
        in_company = server.company_id or env.company
        for company, named in ((env.company, False), (in_company, False), (env.company, server.id)):
            mail = env["mail.mail"].sudo().with_company(company.id).create(
                {
                    "subject": "After the test",
                    "body_html": "<p>Offer</p>",
                    "email_to": CUSTOMER,
                    "auto_delete": False,
                    "mail_server_id": named,
                }
            )  # fmt: skip
            self.env["mail.mail"].with_user(self.root).process_email_queue()
            seen = self._seen()
            if [where for where, _attempt in seen] == [name]:
                break
        fate = mail.failure_reason if mail.state != "sent" else ""
        self.told["Test Connection " + ("refused" if trouble else "passed")] += 1
        late = self.providers[name].rule.phase == "data"
        if trouble and not fate or fate and not trouble and not (late and seen):
            return [Difference("Test Connection", trouble or "passed", fate or "sent")]
        return []
