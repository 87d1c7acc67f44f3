# SPDX-License-Identifier: LGPL-3.0-only
"""One Odoo of the benchmarks, in a process of its own (see :mod:`dev.worker`)."""

# pylint: disable=print-used
from __future__ import annotations

import gc
import resource
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import odoo

from dev.bench import DOMAIN, PASSWORD
from dev.shared import read_toml
from dev.worker import OdooHere

# Mostly markup, as mails are, in lines short enough to travel without being encoded
_PARAGRAPH = (
    '<p style="margin: 0px; padding: 0px 0px 8px 0px;"\n   class="o_mail_paragraph">'
    "The quick brown fox.</p>\n"
)


class Office(OdooHere):
    """A database with servers, companies and mails; the methods are what the bench may ask for.

    :param side: ``native``, ``addon``, ``mail_multicompany`` or ``mail_outbound_static``
    """

    def __init__(self, conf: str, side: str) -> None:
        super().__init__(conf)
        self.side = side
        self.warm_id = 0

    # -- preparing ------------------------------------------------------------------------------

    def furnish(
        self,
        ports: Sequence[int],
        *,
        encryption: str = "starttls",
        companies: int = 0,
        servers: int = 1,
        domains: int = 1,
        configured: bool = True,
    ) -> None:
        """Make servers, and on the sides that have them companies' options and domains.

        :param ports: where a provider listens, one after the other for the companies
        :param companies: how many new ones; 0: all is the main company's
        :param servers: in all, shared out evenly. Each has a ``from_filter``: a company's first
            server the company's own domain, its others a domain no mail is from.
        :param domains: alias domains in all, shared out evenly (addon only)
        :param configured: False leaves the side's addon as it is after its installation
        """
        with self.environment() as env:
            set_param = env["ir.config_parameter"].set_param
            for name, value in (
                ("mail.catchall.domain", DOMAIN),
                ("mail.catchall.alias", "catchall"),
                ("mail.bounce.alias", "bounce"),
                ("mail.default.from", "notifications"),
            ):
                set_param(name, value)
            env["ir.mail_server"].search([]).unlink()
            if companies:
                values = [{"name": f"Company {number}"} for number in range(companies)]
                env["res.company"].create(values)
            homes = self._homes(env)
            if configured and self.side == "addon":
                self._set_options(env, homes, domains // len(homes))
            for place, (company_id, domain) in enumerate(homes):
                values = {
                    "smtp_host": "127.0.0.1",
                    "smtp_port": ports[place % len(ports)],
                    "smtp_encryption": encryption,
                    "smtp_user": f"post@{domain}",
                    "smtp_pass": PASSWORD,
                    "sequence": place,
                }
                for share in range(servers // len(homes)):
                    values["name"] = f"Server {share} of {domain}"
                    values["from_filter"] = f"s{share}.{domain}" if share else domain
                    if configured:
                        values |= self._own_values(company_id, values["from_filter"])
                    # one by one: mail_outbound_static cannot check several at once
                    env["ir.mail_server"].create(values)

    def _homes(self, env) -> list[tuple[int, str]]:
        """Give id and domain of the companies that were furnished, else of the main one."""
        companies = env["res.company"].search([("name", "=like", "Company %")], order="id")
        homes = [(company_id, f"c{number}.example") for number, company_id in
                 enumerate(companies.ids)]  # fmt: skip
        return homes or [(env.company.id, DOMAIN)]

    def _own_values(self, company_id: int, from_filter: str) -> dict[str, Any]:
        """Give what the side's addon lets one set on a server."""
        return {
            "native": {},
            "addon": {"company_id": company_id, "sender_policy": "any"},
            "mail_multicompany": {"company_id": company_id},
            "mail_outbound_static": {"domain_whitelist": from_filter},
        }[self.side]

    def _set_options(self, env, homes: list[tuple[int, str]], share: int) -> None:
        """Give each company its domains and turn all four options on."""
        for company_id, name in homes:
            own, *_others = env["mail.alias.domain"].create(
                [
                    {"name": f"d{number}.{name}" if number else name, "company_id": company_id}
                    for number in range(share)
                ]
            )
            env["res.company"].browse(company_id).write(
                {
                    "alias_domain_id": own.id,
                    "reply_to_by_company": True,
                    "reply_to_prefix": "info",
                    "email_from_by_company": True,
                    "mail_server_by_domain": True,
                    "mail_server_by_reply_to": True,
                }
            )

    def write_mails(
        self,
        count: int,
        *,
        senders: int,
        companies: int = 0,
        size: int = 1000,
        documents: bool = False,
        users: bool = False,
    ) -> None:
        """Put ``count`` mails into the queue, and one more to warm up with.

        :param senders: how many different ones; each belongs to one company
        :param companies: how many have mails: the last ones, whose servers are the last in
            sequence, so that walking through the others would show; 0: all
        :param size: bytes of HTML, about
        :param documents: each mail is about a contact of its company
        :param users: the senders are internal users; else nobody in the database
        """
        with self.environment() as env:
            self.homes = self._homes(env)[-companies:]
            if users:
                self._make_users(env, senders)
            body = _PARAGRAPH * (size // len(_PARAGRAPH) + 1)
            self.values = [
                {
                    "subject": f"Offer {number}",
                    "body_html": body,
                    "email_from": self._sender(number, senders),
                    "email_to": f"customer{number}@example.net",
                    "message_id": f"<{number}@{DOMAIN}>",
                    "auto_delete": False,
                }
                for number in range(count + 1)
            ]
            if documents:
                contacts = env["res.partner"].create(
                    [
                        {"name": f"Document {number}", "company_id": self._home(number, senders)[0]}
                        for number in range(count + 1)
                    ]
                )
                for values, contact_id in zip(self.values, contacts.ids, strict=True):
                    values |= {"model": "res.partner", "res_id": contact_id}
            mails = env["mail.mail"].create(self.values)
            self.warm_id = mails.ids[-1]
            mails[-1].state = "sent"

    def write_and_send(self) -> float:
        """Write the same mails once more and send them in that transaction, as a button does.

        :return: SQL queries that sending a mail took; nothing is read that was just written
        """
        with self.environment() as env:
            env["mail.mail"].create(self.values[:1]).send()
            mails = env["mail.mail"].create(self.values[:-1])
            env.flush_all()
            before = env.cr.sql_log_count
            mails.send()
            env.flush_all()
            queries = (env.cr.sql_log_count - before) / len(mails)
            states = set(mails.mapped("state"))
            env.cr.rollback()
        if states != {"sent"}:
            raise AssertionError(f"mails are {states}")
        return queries

    def _home(self, number: int, senders: int) -> tuple[int, str]:
        """Give id and domain of the company that a mail belongs to."""
        return self.homes[number % senders % len(self.homes)]

    def _sender(self, number: int, senders: int) -> str:
        name = number % senders
        return f'"User {name}" <user{name}@{self._home(number, senders)[1]}>'

    def _make_users(self, env, senders: int) -> None:
        users = env["res.users"].create(
            [
                {
                    "name": f"User {number}",
                    "login": f"user{number}",
                    "email": f"user{number}@{self._home(number, senders)[1]}",
                    "company_id": self._home(number, senders)[0],
                    "company_ids": [(6, 0, [home for home, _name in self.homes])],
                }
                for number in range(senders)
            ]
        )
        if self.side == "addon" and "alias_domain_id" in users._fields:
            # every third one chose an Outgoing Email Domain
            for user in users[::3]:
                company = user.company_id
                user.with_company(company).alias_domain_id = company.alias_domain_id

    def one_sender(self) -> None:
        """Give all mails the first sender."""
        with self.environment() as env:
            env.cr.execute("UPDATE mail_message SET email_from = %s", [self._sender(0, 1)])

    def write_samples(self) -> int:
        """Put mails of every kind into the queue, with fixed Message-Ids; return how many."""
        samples = read_toml(Path(__file__).with_name("samples.toml"))
        with self.environment() as env:
            env["mail.mail"].search([]).unlink()
            partners = env["res.partner"].create(samples["partners"])
            attachments = env["ir.attachment"].create(
                [
                    {"name": "notes.txt", "raw": b"Plain notes\n" * 20},
                    {"name": "发票.pdf", "raw": bytes(range(256)) * 8},
                ]
            )
            mails = []
            for email_from in samples["senders"]:
                for shape in samples["shapes"]:
                    number = len(mails)
                    values = {
                        "subject": f"Größe {number} " + "and so on " * (number % 9),
                        "body_html": f"<p>Grüße {number}</p>" * (1 + number % 5),
                        "email_from": email_from or False,
                        "message_id": f"<sample-{number}@{DOMAIN}>",
                        "auto_delete": False,
                        **shape,
                    }
                    for name, records in (
                        ("recipient_ids", partners),
                        ("attachment_ids", attachments),
                    ):
                        values[name] = [(6, 0, records[: values.get(name, 0)].ids)]
                    if "model" in values:
                        values["res_id"] = partners[-1].id
                    mails.append(values)
            env["mail.mail"].create(mails)
        return len(mails)

    def multiply(self, times: int) -> None:
        """Copy the queued mails in the database until there are ``times`` as many."""
        with self.environment() as env:
            env["mail.mail"].browse(self.warm_id).unlink()
            # whatever columns there are: each row is copied whole, but for what has to differ
            env.cr.execute(
                """
                CREATE TEMPORARY TABLE copies ON COMMIT DROP AS
                SELECT mail.id AS mail_id, mail.mail_message_id AS old_id,
                       nextval('mail_message_id_seq') AS new_id
                  FROM mail_mail mail, generate_series(2, %s)
                 WHERE mail.state = 'outgoing';
                INSERT INTO mail_message
                SELECT copy.* FROM copies JOIN mail_message source ON source.id = old_id,
                       jsonb_populate_record(source, jsonb_build_object(
                           'id', new_id, 'message_id', '<copy-' || new_id || '@' || %s || '>'
                       )) copy;
                INSERT INTO mail_mail
                SELECT copy.* FROM copies JOIN mail_mail source ON source.id = mail_id,
                       jsonb_populate_record(source, jsonb_build_object(
                           'id', nextval('mail_mail_id_seq'), 'mail_message_id', new_id
                       )) copy;
                ANALYZE mail_message;
                ANALYZE mail_mail;
                """,
                [times, DOMAIN],
            )

    # -- measuring ------------------------------------------------------------------------------

    def refill(self, count: int | None = None) -> None:
        """Put all mails (the first ``count``) back into the queue, after one to warm up with."""
        with self.environment() as env:
            env.cr.execute("UPDATE mail_mail SET state = 'sent'")
            env.cr.execute("UPDATE mail_mail SET state = 'outgoing' WHERE id = %s", [self.warm_id])
        self._process()
        with self.environment() as env:
            env.cr.execute(
                """
                UPDATE mail_mail SET state = 'outgoing' WHERE id IN
                (SELECT id FROM mail_mail WHERE id != %s ORDER BY id LIMIT %s)
                """,
                [self.warm_id, count],
            )

    def send(self) -> dict[str, Any]:
        """Work the queue off, as the cron does, and say what it took.

        :return: ``mails`` (that were in the queue and no longer are), ``seconds`` (wall), ``cpu``
            (seconds of this process), ``queries`` (statements on all cursors from the call to its
            return; COMMIT is none), ``states`` (of all mails, count by state) and ``peak`` (the
            most memory that this process ever had, in kB)
        """
        gc.collect()
        queued = self._count()["outgoing"]
        outcome = self._process()
        states = self._count()
        mails = queued - states["outgoing"]
        return {**outcome, "peak": _memory(), "mails": mails, "states": dict(+states)}

    def work_off(self, count: int) -> dict[str, float]:
        """Send at least ``count`` of the mails that wait, as one lane does (the addon only).

        All of them are sorted before: what that takes is counted too, for each mail.

        :return: ``sent``; for a mail ``seconds``, ``cpu``, ``queries``; ``peak`` memory in kB
        """
        gc.collect()
        with self.environment() as env:
            env["mail.mail"].search([], limit=1)._decide_routes()  # whatever is read once
        queued = self._count()["outgoing"]
        sorting = self._lane(lambda lanes: lanes._sort())
        sending: Counter[str] = Counter()
        sent = 0
        while sent < count:
            sending.update(self._lane(lambda lanes: lanes._run(time.monotonic() + 10)))
            before, sent = sent, queued - self._count()["outgoing"]
            if sent == before:
                raise AssertionError(f"{sent} mails were sent, and then none")
        told = {name: sorting[name] / queued + sending[name] / sent for name in sorting}
        return {**told, "sent": sent, "peak": _memory()}

    def _lane(self, work) -> dict[str, float]:
        with self.environment() as env:
            return self._measured(lambda: work(env["mail.lane"]))

    def _count(self) -> Counter[str]:
        """Return the number of mails by state."""
        with self.environment() as env:
            env.cr.execute("SELECT state, count(*) FROM mail_mail GROUP BY state")
            return Counter(dict(env.cr.fetchall()))

    def _process(self) -> dict[str, Any]:
        with self.environment() as env:
            return self._measured(env["mail.mail"].process_email_queue)

    def _measured(self, work) -> dict[str, float]:
        start, cpu = time.perf_counter(), time.process_time()
        queries = odoo.sql_db.sql_counter
        work()
        return {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "queries": odoo.sql_db.sql_counter - queries,
        }

    def gather(self) -> float:
        """Return the seconds that it takes to gather the facts after a change of settings."""
        took = []
        for _repeat in range(5):
            self.registry.clear_caches()
            with self.environment() as env:
                env["ir.config_parameter"].sudo().get_param("mail.catchall.domain")
                start = time.perf_counter()
                env["mail.routing"]._get_facts()
                took.append(time.perf_counter() - start)
        return statistics.median(took)

    def decide(self, senders: int = 2000) -> dict[str, float]:
        """Time one decision, by this database's facts.

        :return: processor seconds of a decision, best of 7: ``fresh`` where each sender is seen
            for the first time, ``known`` where its address has been read before, as it has when
            the queue runs
        """
        from odoo.addons.mail_company_routing import routing

        with self.environment() as env:
            facts = env["mail.routing"]._get_facts()
        companies = [company for company in facts.companies if company.domain_id]
        took: dict[str, list[float]] = {"fresh": [], "known": []}
        for repeat in range(7):
            drafts = []
            for number in range(senders):
                company = companies[number % len(companies)]
                name = facts.domain[company.domain_id].name
                drafts.append(
                    routing.Draft(
                        email_from=f'"User {number}" <user{repeat}.{number}@{name}>',
                        company_id=company.id,
                        author=routing.Author() if number % 2 else None,
                        reply_to=f"info@{name}" if number % 3 else "",
                    )
                )
            for kind in ("fresh", "known"):
                start = time.process_time()
                for draft in drafts:
                    routing.decide(draft, facts)
                took[kind].append((time.process_time() - start) / senders)
        return {kind: min(times) for kind, times in took.items()}


def _memory() -> int:
    """Return the most memory that this process ever had, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
