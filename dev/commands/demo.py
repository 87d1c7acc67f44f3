# SPDX-License-Identifier: LGPL-3.0-only
"""``make demo`` plays :mod:`dev.commands.story`; ``make serve`` then leaves Odoo running."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from dev.commands.story import (
    AUTHOR,
    CUSTOMER,
    DOMAIN,
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

SALES_LOGIN = "lingsha"


class OdooOffice:
    """A salesperson at work in a database: what she does is done through Odoo's own screens.

    Every step is a transaction of its own, as in the web client: native sends a quotation after
    the commit.
    """

    def __init__(self, registry, provider):
        import odoo

        self.registry = registry
        self.odoo = odoo
        with self.environment() as env:
            self._furnish(env, provider)

    @contextmanager
    def environment(self, login=None):
        """Give an environment, committed at the end; ``login`` None: the administrator."""
        with self.registry.cursor() as cr:
            env = self.odoo.api.Environment(cr, self.odoo.SUPERUSER_ID, {})
            user = (
                env["res.users"].search([("login", "=", login)])
                if login
                else env.ref("base.user_admin")
            )
            yield env(user=user.id, context=user.with_user(user).context_get())

    def _furnish(self, env, provider):
        env.ref("base.user_admin").write({"password": "admin"})
        env.company.write({"name": "Qingdao Ohm", "email": f"info@{DOMAIN}"})
        env["res.config.settings"].create(
            {"external_email_server_default": True, "alias_domain": DOMAIN}
        ).execute()
        name, address = AUTHOR
        env["res.users"].create(
            {
                "name": name,
                "login": SALES_LOGIN,
                "password": SALES_LOGIN,
                "email": address,
                "groups_id": [(4, env.ref("sales_team.group_sale_salesman").id)],
            }
        )
        self.customer_id = env["res.partner"].create({"name": "Customer", "email": CUSTOMER}).id
        self.product_id = env["product.product"].create({"name": "Resistor", "list_price": 5}).id
        self.server_id = (
            env["ir.mail_server"]
            .create(
                {
                    "name": "Ohm SMTP",
                    "smtp_host": provider.smtp_host,
                    "smtp_port": provider.smtp_port,
                    "smtp_user": LOGIN,
                    "smtp_pass": PASSWORD,
                    "from_filter": DOMAIN,
                }
            )
            .id
        )
        incoming = env["fetchmail.server"].create(
            {
                "name": "Ohm IMAP",
                "server_type": "imap",
                "server": provider.imap_host,
                "port": provider.imap_port,
                "user": LOGIN,
                "password": PASSWORD,
            }
        )
        incoming.button_confirm_login()
        if not shutil.which("wkhtmltopdf"):
            say("  (no wkhtmltopdf here: the quotation goes out without its PDF)")
            templates = env["mail.template"].search([("model", "=", "sale.order")])
            templates.write({"report_template": False})

    def use_provider(self, provider):
        with self.environment() as env:
            env["ir.mail_server"].browse(self.server_id).write({"smtp_port": provider.smtp_port})

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
                    "partner_id": self.customer_id,
                    "order_line": [(0, 0, {"product_id": self.product_id})],
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
            if len(answers) != 1 or answers.author_id.id != self.customer_id:
                raise AssertionError(f"{len(answers)} answers on quotation {quotation}")
        return f"quotation {quotation}"


@contextmanager
def registry(name):
    """Start Odoo on a database in this process, with its log in a file."""
    sys.path.insert(0, str(find_odoo()))
    import odoo

    log = workdir() / "demo.log"
    odoo.tools.config.parse_config(
        ["-c", str(odoo_config(name, logfile=log)), "--log-level=warn", "--max-cron-threads=0"]
    )
    odoo.service.server.load_server_wide_modules()
    try:
        yield odoo.registry(name)
    finally:
        odoo.sql_db.close_all()


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
        with registry(name) as pool:
            rows = tell(OdooOffice(pool, provider), provider)
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
