# SPDX-License-Identifier: LGPL-3.0-only
"""One Odoo of the benchmarks, in a process of its own: ``worker.py <odoo.conf> <side>``.

Started by :mod:`dev.bench.compare`, see :mod:`dev.worker`; the calls are the methods of ``Office``.
"""

# pylint: disable=print-used
from __future__ import annotations

import gc
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import odoo

from dev.worker import answer_calls

PASSWORD = "secret"
DOMAIN = "bench.example"
# Mostly markup, as mails are, in lines short enough to travel without being encoded
_PARAGRAPH = (
    '<p style="margin: 0px; padding: 0px 0px 8px 0px;"\n   class="o_mail_paragraph">'
    "The quick brown fox.</p>\n"
)


class Office:
    """A database with servers, companies and mails; the methods are what the bench may ask for.

    :param side: ``native``, ``addon``, ``mail_multicompany`` or ``mail_outbound_static``
    """

    def __init__(self, conf: str, side: str) -> None:
        odoo.tools.config.parse_config(["-c", conf])
        odoo.service.server.load_server_wide_modules()
        self.registry = odoo.registry(odoo.tools.config["db_name"])
        self.side = side
        self.warm_id = 0

    @contextmanager
    def environment(self) -> Iterator[odoo.api.Environment]:
        """Give an environment as the queue's cron has it, committed at the end."""
        with self.registry.cursor() as cr:
            yield odoo.api.Environment(cr, odoo.SUPERUSER_ID, {})

    # -- preparing ------------------------------------------------------------------------------

    def furnish(
        self,
        port: int,
        *,
        companies: int = 0,
        servers: int = 1,
        domains: int = 1,
        used: int = 1,
        configured: bool = True,
        restricted: bool = False,
    ) -> None:
        """Make servers, and on the sides that have them companies' options and domains.

        :param port: where the provider listens, with STARTTLS
        :param companies: how many new ones; 0: all is the main company's
        :param servers: in all, shared out evenly. Each has a ``from_filter``: a company's first
            server the company's own domain, its others a domain no mail is from.
        :param domains: alias domains in all, shared out evenly (addon only)
        :param used: how many of the companies will have mails: the last ones, whose servers are
            the last in sequence, so that walking through the others would show
        :param configured: False leaves the side's addon as it is after its installation
        :param restricted: the servers let only their login send
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
            homes = env.company
            if companies:
                values = [{"name": f"Company {number}"} for number in range(companies)]
                homes = env["res.company"].create(values)
            names = [f"c{number}.example" if companies else DOMAIN for number in range(len(homes))]
            self.homes = list(zip(homes.ids, names, strict=True))[-used:]
            if configured and self.side == "addon":
                self._set_options(env, homes, names, domains // len(homes))
            for place, home in enumerate(homes):
                for share in range(servers // len(homes)):
                    # one by one: mail_outbound_static cannot check several at once
                    env["ir.mail_server"].create(
                        self._server(port, place, share, names[place], home, configured, restricted)
                    )
            if restricted and self.side == "addon":
                env["res.config.settings"].create({"mail_restrict_username": True}).execute()

    def furnish_again(self, companies: int) -> None:
        """Know the companies that another process has furnished."""
        with self.environment() as env:
            homes = env["res.company"].search([("name", "like", "Company ")], order="id")
            self.homes = [
                (home.id, f"c{number}.example") for number, home in enumerate(homes[:companies])
            ]

    def _server(
        self, port: int, place: int, share: int, name: str, home, configured: bool, restricted: bool
    ) -> dict[str, Any]:
        """Give the values of one company's outgoing server."""
        values = {
            "name": f"Server {share} of {name}",
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_encryption": "starttls",
            "smtp_user": f"post@{name}",
            "smtp_pass": PASSWORD,
            "from_filter": f"s{share}.{name}" if share else name,
            "sequence": place,
        }
        if not configured:
            return values
        if self.side in ("addon", "mail_multicompany"):
            values["company_id"] = home.id
        if self.side == "addon":
            values["sender_policy"] = "default" if restricted else "any"
        elif self.side == "mail_outbound_static" and restricted:
            values["smtp_from"] = values["smtp_user"]
        elif self.side == "mail_outbound_static":
            values["domain_whitelist"] = values["from_filter"]
        return values

    def _set_options(self, env, homes, names: list[str], share: int) -> None:
        """Give each company its domains and turn all four options on."""
        for home, name in zip(homes, names, strict=True):
            own, *_others = env["mail.alias.domain"].create(
                [
                    {"name": f"d{number}.{name}" if number else name, "company_id": home.id}
                    for number in range(share)
                ]
            )
            home.write(
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
        size: int = 1000,
        documents: bool = False,
        users: bool = False,
    ) -> float:
        """Put ``count`` mails into the queue, and one more to warm up with.

        :param senders: how many different ones; each belongs to one company
        :param size: bytes of HTML, about
        :param documents: each mail is about a contact of its company
        :param users: the senders are internal users; else nobody in the database
        :return: SQL queries that writing a mail took
        """
        with self.environment() as env:
            if users:
                self._make_users(env, senders)
            records = env["res.partner"]
            if documents:
                records = records.create(
                    [
                        {"name": f"Document {number}", "company_id": self._home(number, senders)[0]}
                        for number in range(count + 1)
                    ]
                )
            self.values = self._values(count + 1, senders, size, records.ids)
            env.flush_all()
            before = env.cr.sql_log_count
            mails = env["mail.mail"].create(self.values)
            env.flush_all()
            queries = env.cr.sql_log_count - before
            self.warm_id = mails.ids[-1]
            mails[-1].state = "sent"
        return queries / (count + 1)

    def _values(
        self, count: int, senders: int, size: int, documents: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Give the values of the mails."""
        body = _PARAGRAPH * (size // len(_PARAGRAPH) + 1)
        values = []
        for number in range(count):
            values.append(
                {
                    "subject": f"Offer {number}",
                    "body_html": body,
                    "email_from": self._sender(number, senders),
                    "email_to": f"customer{number}@example.net",
                    "message_id": f"<{number}@{DOMAIN}>",
                    "auto_delete": False,
                }
            )
            if documents:
                values[-1].update(model="res.partner", res_id=documents[number])
        return values

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
        with self.environment() as env:
            env["mail.mail"].search([]).unlink()
            partners = env["res.partner"].create(
                [
                    {"name": "Müller, Jürgen", "email": "juergen@example.net"},
                    {"name": 'O"Brien', "email": "o@example.net, brien@example.net"},
                    {"name": "客户", "email": "Kunde <kunde@example.net>"},
                ]
            )
            attachments = env["ir.attachment"].create(
                [
                    {"name": "notes.txt", "raw": b"Plain notes\n" * 20},
                    {"name": "发票.pdf", "raw": bytes(range(256)) * 8},
                ]
            )
            sender = "user@" + DOMAIN
            froms = [
                sender,
                f'"Lee, Kim" <{sender}>',
                f"韩菱纱 <{sender}>",
                f"{'Long name ' * 12}<{sender}>",
                f'"{DOMAIN}" <notifications@{DOMAIN}>',
                "Stranger <stranger@elsewhere.example>",
                f'"A (b) <c>" <{sender}>',
                False,
            ]
            shapes = [
                {"email_to": "to@example.net"},
                {"email_to": "Tö <to@example.net>, two@example.net", "email_cc": "cc@example.net"},
                {"recipient_ids": [(6, 0, partners.ids)]},
                {"email_to": "to@example.net", "reply_to": "Info <info@elsewhere.example>"},
                {"email_to": "to@example.net", "headers": repr({"Return-Path": "v+1@" + DOMAIN})},
                {"email_to": "to@example.net", "headers": repr({"X-Mine": "ü", "X-Odoo": "1"})},
                {"email_to": "to@example.net", "attachment_ids": [(6, 0, attachments.ids)]},
                {
                    "recipient_ids": [(6, 0, partners[:1].ids)],
                    "model": "res.partner",
                    "res_id": partners[2].id,
                    "references": "<before@example.net>",
                },
            ]
            mails = env["mail.mail"].create(
                [
                    {
                        "subject": f"Größe {number} " + "and so on " * (number % 9),
                        "body_html": f"<p>Grüße {number}</p>" * (1 + number % 5),
                        "email_from": email_from,
                        "message_id": f"<sample-{number}@{DOMAIN}>",
                        "auto_delete": False,
                        **shape,
                    }
                    for number, (email_from, shape) in enumerate(
                        (email_from, shape) for email_from in froms for shape in shapes
                    )
                ]
            )
        return len(mails)

    def multiply(self, times: int) -> None:
        """Copy the queued mails in the database until there are ``times`` as many."""
        with self.environment() as env:
            env["mail.mail"].browse(self.warm_id).unlink()

            def columns(model: str, *skip: str) -> tuple[str, str]:
                fields = env[model]._fields.values()
                names = [field.name for field in fields if field.store and field.column_type]
                kept = [f'"{name}"' for name in names if name not in ("id", *skip)]
                return ", ".join(kept), ", ".join(f"source.{name}" for name in kept)

            message, from_message = columns("mail.message", "message_id")
            mail, from_mail = columns("mail.mail", "mail_message_id")
            env.cr.execute(
                f"""
                CREATE TEMPORARY TABLE copies ON COMMIT DROP AS
                SELECT mail.id AS mail_id, mail.mail_message_id AS old_id,
                       nextval('mail_message_id_seq') AS new_id
                  FROM mail_mail mail, generate_series(2, %s)
                 WHERE mail.state = 'outgoing';
                INSERT INTO mail_message (id, message_id, {message})
                SELECT new_id, '<copy-' || new_id || '@{DOMAIN}>', {from_message}
                  FROM copies JOIN mail_message source ON source.id = old_id;
                INSERT INTO mail_mail (mail_message_id, {mail})
                SELECT new_id, {from_mail}
                  FROM copies JOIN mail_mail source ON source.id = mail_id;
                ANALYZE mail_message;
                ANALYZE mail_mail;
                """,
                [times],
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

        :return: ``sent`` (mails that were in the queue and no longer are), ``seconds`` (wall),
            ``cpu`` (seconds of this process), ``queries`` (statements on all cursors from the
            call to its return; COMMIT is none), ``states`` (of all mails, count by state), ``peak``
            (VmHWM of this process, in kB) and ``before`` (its VmRSS before, in kB)
        """
        gc.collect()
        before = _memory("VmRSS")
        queued = self._count().get("outgoing", 0)
        outcome = self._process()
        states = self._count()
        sent = queued - states.get("outgoing", 0)
        return {**outcome, "sent": sent, "states": states, "peak": _memory("VmHWM"),
                "before": before}  # fmt: skip

    def work_off(self, count: int) -> dict[str, float]:
        """Send at least ``count`` of the mails that wait, as one lane does (the addon only).

        All of them are sorted before: what that takes is counted too, for each mail.

        :return: ``sent``; for a mail ``seconds``, ``cpu``, ``queries``; ``peak`` (VmHWM, in kB);
            ``sorting``, the share of the seconds that is sorting
        """
        gc.collect()
        with self.environment() as env:
            env["mail.mail"].search([], limit=1)._decide_routes()  # whatever is read once
        queued = self._count()["outgoing"]
        steps = [(queued, self._lane(lambda lanes: lanes._sort()))]
        outcome = dict.fromkeys(steps[0][1], 0.0)
        sent = 0
        while sent < count:
            run = self._lane(lambda lanes: lanes._run(time.monotonic() + 10))
            outcome = {name: outcome[name] + run[name] for name in run}
            now_sent = queued - self._count().get("outgoing", 0)
            if now_sent == sent:
                raise AssertionError(f"{sent} mails were sent, and then none")
            sent = now_sent
        steps.append((sent, outcome))
        told = {name: sum(step[name] / mails for mails, step in steps) for name in outcome}
        sorting = steps[0][1]["seconds"] / queued / told["seconds"]
        return {**told, "sent": sent, "peak": _memory("VmHWM"), "sorting": sorting}

    def _lane(self, work) -> dict[str, float]:
        with self.environment() as env:
            return self._measured(lambda: work(env["mail.lane"]))

    def _count(self) -> dict[str, int]:
        """Return the number of mails by state."""
        with self.environment() as env:
            env.cr.execute("SELECT state, count(*) FROM mail_mail GROUP BY state")
            return dict(env.cr.fetchall())

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


def _memory(name: str) -> int:
    """Return a figure of ``/proc/self/status`` in kB."""
    return int(re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)[1])


if __name__ == "__main__":
    answer_calls(partial(Office, *sys.argv[1:]))
    odoo.sql_db.close_all()
