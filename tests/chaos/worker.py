# SPDX-License-Identifier: LGPL-3.0-only
"""One real Odoo process for ``make test-chaos`` (see :mod:`dev.worker`).

It commits, as Odoo does; and it can be killed.
"""

# pylint: disable=print-used
from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing
from functools import partial
from typing import Any
from unittest.mock import patch

from markupsafe import Markup

import odoo

from dev.worker import OdooHere

PASSWORD = "secret"
COMPANIES = ("a", "b")
#: PostgreSQL itself says so, in a transaction that it then refuses to go on with
_SERIALIZATION_FAILURE = """
    DO $$ BEGIN RAISE 'could not serialize access, on demand' USING ERRCODE = '40001'; END $$
"""


class Office(OdooHere):
    """Two companies, each with a server of its own; ``addon`` is whether the addon is there."""

    def __init__(self, conf: str) -> None:
        super().__init__(conf)
        odoo.addons.base.models.ir_mail_server.SMTP_TIMEOUT = 5
        self.addon = "mail.routing" in self.registry

    def furnish(self, ports: dict[str, int], tls: str = "none", policy: str = "any") -> None:
        """Make both companies and their servers, or give those other ports and another policy."""
        with self.environment() as env:
            set_param = env["ir.config_parameter"].set_param
            for name, value in (
                ("mail.catchall.domain", "a.com"),
                ("mail.catchall.alias", "catchall"),
                ("mail.bounce.alias", "bounce"),
                ("mail.default.from", "notifications"),
            ):
                set_param(name, value)
            env["mail.mail"].search([]).unlink()
            env["ir.mail_server"].with_context(active_test=False).search([]).unlink()
            for sequence, name in enumerate(COMPANIES):
                company = env["res.company"].search([("name", "=", name.upper())], limit=1)
                company = company or env["res.company"].create({"name": name.upper()})
                values = {
                    "name": f"{name.upper()} SMTP",
                    "smtp_host": "127.0.0.1",
                    "smtp_port": ports[name],
                    "smtp_encryption": tls,
                    "smtp_user": f"kevin@{name}.com",
                    "smtp_pass": PASSWORD,
                    "sequence": sequence,
                    # which native goes by
                    "from_filter": f"{name}.com",
                }
                if self.addon:
                    self._route(env, company, f"{name}.com")
                    values.update(company_id=company.id, sender_policy=policy)
                env["ir.mail_server"].create(values)
                self._author(env, company, name)

    def _route(self, env, company, domain) -> None:
        domains = env["mail.alias.domain"]
        own = domains.search([("name", "=", domain)])
        own = own or domains.create({"name": domain, "company_id": company.id})
        company.write({"alias_domain_id": own.id, "mail_server_by_domain": True})

    def _author(self, env, company, name):
        login = f"author@{name}.com"
        users = env["res.users"].with_context(active_test=False)
        author = users.search([("login", "=", login)])
        if not author:
            author = users.create(
                {
                    "name": f"Author of {name.upper()}",
                    "login": login,
                    "email": login,
                    "company_id": company.id,
                    "company_ids": [(6, 0, company.ids)],
                }
            )
        author.active = True
        return author

    def write_mails(self, counts: dict[str, int], mark: str) -> list[str]:
        """Put mails into the queue, every second one a message that somebody posted.

        :param counts: how many, by company
        :param mark: what their subjects begin with
        :return: their subjects
        """
        subjects = []
        with self.environment() as env:
            customer = env["res.partner"].search([("email", "=", "customer@example.net")], limit=1)
            customer = customer or customer.create(
                {"name": "Customer", "email": "customer@example.net"}
            )
            for name, count in counts.items():
                company = env["res.company"].search([("name", "=", name.upper())], limit=1)
                author = self._author(env, company, name)
                document = env["res.partner"].create({"name": mark, "company_id": company.id})
                for number in range(count):
                    subjects.append(f"{mark} {name} {number}")
                    if number % 2:
                        document.message_post(
                            subject=subjects[-1],
                            body=Markup("<p>Hello</p>"),
                            author_id=author.partner_id.id,
                            email_from=author.email_formatted,
                            partner_ids=customer.ids,
                            message_type="comment",
                            subtype_xmlid="mail.mt_comment",
                            force_send=False,
                            mail_auto_delete=False,
                        )
                        continue
                    env["mail.mail"].create(
                        {
                            "subject": subjects[-1],
                            "body_html": "<p>Hello</p>",
                            "email_from": author.email_formatted,
                            "email_to": "customer@example.net",
                            "auto_delete": False,
                            "model": "res.partner",
                            "res_id": document.id,
                        }
                    )
        return subjects

    def queue(self, fail_at: int = 0) -> dict[str, Any]:
        """Work the queue off as the scheduled action does.

        :param fail_at: the number of the statement that PostgreSQL shall refuse; 0: none
        :return: ``statements`` that were run, and the ``error`` that ended the run
        """
        told: dict[str, Any] = {"statements": 0, "error": ""}
        self.registry.check_signaling()
        with self.registry.cursor() as cr:
            execute = cr.execute

            def failing(query, *args, **kwargs):
                told["statements"] += 1
                if told["statements"] == fail_at:
                    query, args, kwargs = _SERIALIZATION_FAILURE, (), {}
                return execute(query, *args, **kwargs)

            with patch.object(cr, "execute", failing):
                try:
                    odoo.api.Environment(cr, odoo.SUPERUSER_ID, {})[
                        "mail.mail"
                    ].process_email_queue()
                    cr.commit()  # pylint: disable=invalid-commit
                except Exception as error:
                    told["error"] = f"{type(error).__name__}: {error}"
                    cr.rollback()
        return told

    def furnish_mailboxes(self, ports: dict[str, int]) -> None:
        """Make a mailbox for each protocol in A, and an alias that makes opportunities.

        :param ports: by protocol, ``imap`` and ``pop``
        """
        with self.environment() as env:
            company = env["res.company"].search([("name", "=", "A")], limit=1)
            mailboxes = env["fetchmail.server"].with_context(active_test=False)
            mailboxes.search([]).unlink()
            for kind, port in ports.items():
                values = {"company_id": company.id} if self.addon else {}
                mailboxes.create(
                    {
                        "name": kind,
                        "server_type": kind,
                        "server": "127.0.0.1",
                        "port": port,
                        "user": f"{kind}@a.com",
                        "password": PASSWORD,
                        "state": "done",
                        **values,
                    }
                )
            aliases = env["mail.alias"]
            if not aliases.search([("alias_name", "=", "enquiries")]):
                aliases.create(
                    {
                        "alias_name": "enquiries",
                        "alias_model_id": env["ir.model"]._get_id("crm.lead"),
                        "alias_contact": "everyone",
                    }
                )

    def write_to_customers(self, mark: str, kinds: list[str]) -> dict[str, str]:
        """Post a message that can be answered, or reported on, for each mailbox.

        :return: its Message-Id, by mailbox
        """
        found = {}
        with self.environment() as env:
            company = env["res.company"].search([("name", "=", "A")], limit=1)
            author = self._author(env, company, "a")
            for kind in kinds:
                values = {"name": mark, "company_id": company.id}
                document = env["res.partner"].create(values)
                gone = values | {"email": f"gone.{mark}{kind}@example.net"}
                message = document.message_post(
                    body=Markup("<p>Hello</p>"),
                    author_id=author.partner_id.id,
                    email_from=author.email_formatted,
                    partner_ids=env["res.partner"].create(gone).ids,
                    message_type="comment",
                    subtype_xmlid="mail.mt_comment",
                    force_send=False,
                )
                found[kind] = message.message_id
        return found

    def fetch(self, fail_at: int = 0, kill_at: int = 0) -> dict[str, Any]:
        """Fetch the mailboxes as the scheduled action does.

        :param fail_at: the number of the statement that PostgreSQL shall refuse; 0: none
        :param kill_at: the number of the step before which the process is killed; 0: never. A step
            is a statement, a commit, or a line to a mailbox.
        :return: ``statements`` and ``steps`` there were, and the statement that was ``refused``
        """
        told = {"statements": 0, "steps": 0, "refused": ""}

        def step():
            told["steps"] += 1
            if told["steps"] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        cursor = odoo.sql_db.Cursor
        execute, commit, sendall = cursor.execute, cursor.commit, socket.socket.sendall

        def executing(cr, query, *args, **kwargs):
            step()
            told["statements"] += 1
            if told["statements"] == fail_at:
                told["refused"] = " ".join(str(query).split())[:100]
                query, args, kwargs = _SERIALIZATION_FAILURE, (), {}
            return execute(cr, query, *args, **kwargs)

        def committing(cr):
            step()
            return commit(cr)

        def sending(sock, *args):
            step()
            return sendall(sock, *args)

        self.registry.check_signaling()
        with (
            patch.object(cursor, "execute", executing),
            patch.object(cursor, "commit", committing),
            patch.object(socket.socket, "sendall", sending),
            self.registry.cursor() as cr,
        ):
            try:
                env = odoo.api.Environment(cr, odoo.SUPERUSER_ID, {})
                env["fetchmail.server"]._fetch_mails()
                cr.commit()  # pylint: disable=invalid-commit
            except Exception:
                cr.rollback()
        return told

    def fetch_until_killed(self, kill_at: int) -> bool:
        """Fetch in a process that is killed at a step, as :meth:`fetch` counts them.

        :return: whether it was; else it had come to its end before
        """
        # as Odoo does before it forks its workers
        odoo.sql_db.close_all()
        process = os.fork()
        if not process:
            try:
                self.fetch(kill_at=kill_at)
            finally:
                os._exit(0)
        _process, status = os.waitpid(process, 0)
        # PostgreSQL notices a little later, and what the process had locked is locked till then
        with closing(odoo.sql_db.db_connect("postgres").cursor()) as cr:
            while True:
                cr.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE application_name = %s",
                    [f"odoo-{process}"],
                )
                if not cr.fetchall():
                    return os.WIFSIGNALED(status)
                cr.rollback()  # a transaction sees the same ones to its end
                time.sleep(0.01)

    def found(self, mark: str, mails: dict[str, str]) -> dict[str, list[int]]:
        """Count where mails are that were fetched.

        :param mails: their Message-Ids, by subject
        :return: by subject, how often it is where it belongs, and in Unprocessed Mail
        """
        with self.environment() as env:
            found = {}
            for subject, message_id in mails.items():
                of_it = [("message_id", "=", message_id)]
                if "report" in subject:
                    email = f"gone.{mark}{subject.split()[2]}@example.net"
                    times = env["res.partner"].search([("email", "=", email)]).message_bounce
                else:
                    times = env["mail.message"].search_count(of_it)
                if "enquiry" in subject:
                    times = max(times, env["crm.lead"].search_count([("name", "=", subject)]))
                kept = env["mail.unprocessed"].search_count(of_it) if self.addon else 0
                found[subject] = [times, kept]
            return found

    def send_in_a_request(self, mark: str) -> None:
        """Send as a button does, in a transaction that PostgreSQL refuses when all has left."""
        with self.registry.cursor() as cr:
            env = odoo.api.Environment(cr, odoo.SUPERUSER_ID, {})
            tries = []

            def request():
                tries.append(1)
                env["mail.mail"].search(
                    [("subject", "like", mark), ("state", "=", "outgoing")]
                ).send()
                env.flush_all()
                if len(tries) == 1:
                    cr.execute(_SERIALIZATION_FAILURE)

            with patch.object(odoo.service.model.time, "sleep"):
                odoo.service.model.retrying(request, env)

    def states(self, mark: str) -> dict[str, tuple[str, str]]:
        """Give state and failure by subject."""
        with self.environment() as env:
            mails = env["mail.mail"].search([("subject", "like", mark)])
            return {mail.subject: (mail.state, mail.failure_reason or "") for mail in mails}

    def notifications(self, mark: str) -> dict[str, str]:
        """Give the status of the notifications by subject."""
        with self.environment() as env:
            found = env["mail.notification"].search([("mail_message_id.subject", "like", mark)])
            return {
                notification.mail_message_id.subject: notification.notification_status
                for notification in found
            }

    def send_at_once(self, subject: str) -> None:
        """Send as a message in the chatter is sent, after its transaction."""
        with self.environment() as env:
            env["mail.mail"].search([("subject", "=", subject)]).send()

    def try_now(self) -> None:
        """Press Try Now on every server: what pauses is tried by the next run of the queue."""
        if self.addon:
            with self.environment() as env:
                env["ir.mail_server"].with_context(active_test=False).search([]).action_try_now()

    def retry(self, mark: str) -> None:
        """Retry what failed, but not what may have arrived."""
        with self.environment() as env:
            env["mail.mail"].search(
                [
                    ("subject", "like", mark),
                    ("state", "=", "exception"),
                    ("failure_reason", "not like", "may have arrived"),
                ]
            ).action_retry()

    def disturb(self, what: str, mark: str, subjects: list[str] = ()) -> None:
        """Do what somebody does in Odoo while the queue is at work, in a request."""
        self.registry.check_signaling()
        with self.registry.cursor() as cr:
            env = odoo.api.Environment(cr, odoo.SUPERUSER_ID, {})
            work = partial(self._disturb, env, what, subjects)
            odoo.service.model.retrying(work, env)

    def _disturb(self, env, what: str, subjects: list[str]) -> None:
        mails = env["mail.mail"].search([("subject", "in", list(subjects))])
        if what == "delete the server":
            env["ir.mail_server"].search([("name", "=", "A SMTP")]).unlink()
        elif what == "archive the server":
            env["ir.mail_server"].search([("name", "=", "A SMTP")]).active = False
        elif what == "archive the author":
            env["res.users"].search([("login", "=", "author@a.com")]).active = False
        elif what == "delete mails":
            mails.unlink()
        elif what == "delete notifications":
            mails.mail_message_id.notification_ids.unlink()
        elif what == "write":
            mails.write({"email_cc": False, "failure_type": "unknown"})
            mails.mail_message_id.notification_ids.write({"failure_type": "unknown"})
        elif what == "change a setting":
            env["res.config.settings"].create(
                {"mail_restrict_username": True, "mail_catch_all": False}
            ).execute()
        elif what == "undo":
            env["res.config.settings"].create(
                {"mail_restrict_username": False, "mail_catch_all": True}
            ).execute()
        else:
            raise ValueError(what)
