# SPDX-License-Identifier: LGPL-3.0-only
"""``make demo`` plays :mod:`dev.commands.story`; ``make serve`` then leaves Odoo running."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dev.commands.story import (
    CUSTOMER,
    LOGIN,
    PASSWORD,
    PlainOffice,
    new_provider,
    show,
    tell,
)
from dev.odoo import NoOdoo, OdooHomeError, database, find_odoo, odoo_config, workdir
from dev.odoo.web import serving
from dev.provider import Provider
from dev.shared import MODULES, say
from dev.worker import OdooHere

SALES_LOGIN = "lingsha"


class OdooOffice(OdooHere):
    """A salesperson at work in a database: what she does is done through Odoo's own screens.

    Every step is a transaction of its own, as in the web client: native sends a quotation after
    the commit. ``ids`` are the records of :meth:`load`, by their names there.
    """

    def __init__(self, db: str, provider: Provider):
        sys.path.insert(0, str(find_odoo()))
        super().__init__(odoo_config(db, logfile=workdir() / "demo.log", log_level="warn"))
        self.db = db
        self.ids: dict[str, int] = {}
        self.names = {
            "smtp_host": provider.smtp_host,
            "smtp_port": provider.smtp_port,
            "imap_host": provider.imap_host,
            "imap_port": provider.imap_port,
            "login": LOGIN,
            "password": PASSWORD,
        }
        self.load("demo.xml")
        if not shutil.which("wkhtmltopdf"):
            say("  (no wkhtmltopdf here: the quotation goes out without its PDF)")
            with self.environment() as env:
                templates = env["mail.template"].search([("model", "=", "sale.order")])
                templates.write({"report_template": False})

    def load(self, name: str) -> None:
        """Make the records of an XML file beside this one."""
        names = dict(self.names)
        path = Path(__file__).with_name(name)
        with self.environment() as env, path.open("rb") as file:
            self.odoo.tools.convert_xml_import(env.cr, "demo", file, names, mode="init")
            env.cr.execute("SELECT name, res_id FROM ir_model_data WHERE module = 'demo'")
            self.ids |= dict(env.cr.fetchall())

    @contextmanager
    def environment(self, login=None):
        """Give an environment, committed at the end; ``login`` None: the administrator."""
        with super().environment() as env:
            users = env["res.users"]
            user = users.search([("login", "=", login)]) if login else env.ref("base.user_admin")
            yield env(user=user.id, context=user.with_user(user).context_get())

    def use_provider(self, provider):
        with self.environment() as env:
            server = env["ir.mail_server"].browse(self.ids["server"])
            server.smtp_port = provider.smtp_port

    def set_up(self, *, restrict_username, catch_all):
        with self.environment() as env:
            env["res.config.settings"].create(
                {"mail_restrict_username": restrict_username, "mail_catch_all": catch_all}
            ).execute()

    def send_quotation(self):
        from odoo.tests.common import Form

        with self.environment(SALES_LOGIN) as env:
            order = env["sale.order"].create(
                {
                    "partner_id": self.ids["customer"],
                    "order_line": [(0, 0, {"product_id": self.ids["product"]})],
                }
            )
            name = order.name
            action = order.action_quotation_send()
            form = Form(env["mail.compose.message"].with_context(**action["context"]))
            form.save().action_send_mail()
        return name

    def retry(self):
        with self.environment() as env:
            env["mail.mail"].search([("state", "=", "exception")]).action_retry()
            env["mail.mail"].process_email_queue()

    def fetch(self, quotation):
        with self.environment() as env:
            env["fetchmail.server"]._fetch_mails()
        with self.environment() as env:
            order = env["sale.order"].search([("name", "=", quotation)])
            answers = order.message_ids.filtered(lambda m: CUSTOMER in (m.email_from or ""))
            if len(answers) != 1 or answers.author_id.id != self.ids["customer"]:
                raise AssertionError(f"{len(answers)} answers on quotation {quotation}")
        return f"quotation {quotation}"


def demo(_arguments: Sequence[str]) -> int:
    """Play the story on Odoo, else on the decision alone. Return the exit code."""
    try:
        find_odoo()
    except (NoOdoo, OdooHomeError) as error:
        return plain(str(error))
    with played():
        return 0


def serve(_arguments: Sequence[str]) -> int:
    """Play the story, then leave Odoo and the provider running. Return the exit code."""
    with played() as (name, provider):
        return run_server(name, provider)


@contextmanager
def played() -> Iterator[tuple[str, Provider]]:
    """Play the story on Odoo; give its database and the provider."""
    say(f"Odoo 16.0: {find_odoo()}")
    with database(MODULES) as name, new_provider(imap=True) as provider:
        with OdooOffice(name, provider) as office:
            rows = tell(office, provider)
        say("")
        show(rows)
        say("")
        say("The customer got every quotation that the provider let pass; every answer came home.")
        yield name, provider


def plain(why: str) -> int:
    """Play the story without Odoo."""
    notice = "WITHOUT ODOO: the decision alone played on the provider; no database, no quotation."
    say(notice)
    with new_provider(imap=True) as provider:
        rows = tell(PlainOffice(provider), provider)
    say("")
    show(rows)
    say("")
    say(" ".join(why.split()))
    say(f"{notice} Get Odoo 16.0, set ODOO_HOME to its folder, and run this again.")
    return 0


def run_server(name, provider) -> int:
    """Serve the database on loopback until Ctrl+C."""
    with suppress(KeyboardInterrupt), serving(name, max_cron_threads=1) as served:
        say("")
        say(f"Odoo:      {served.address}")
        say("Login:     admin / admin (administrator)")
        say(f"           {SALES_LOGIN} / {SALES_LOGIN} (sales)")
        say(f"Provider:  SMTP {provider.smtp_host}:{provider.smtp_port},")
        say(f"           IMAP {provider.imap_host}:{provider.imap_port}, rule Tencent")
        say(f"Mailboxes: {LOGIN} / {PASSWORD}, {CUSTOMER} / {PASSWORD}")
        say("Ctrl+C ends both and removes the database.")
        served.process.wait()
    say("")
    return 0
