# SPDX-License-Identifier: LGPL-3.0-only
"""Install, upgrade and uninstall the addon in a database of its own; print what it was like then.

Odoo is started once, in this process, and has few modules. ``tests/test_uninstall.py`` runs it,
with ``dev`` and Odoo on its Python path, and reads the last line.
"""

import json

import odoo
from odoo.modules.registry import Registry

from dev.odoo import database, execute, odoo_config
from dev.shared import ADDON, say

#: an app that has aliases, and one whose servers log in otherwise
MODULES = ("crm", "microsoft_outlook")


class Lifetime:
    """What an administrator does with the database ``name``."""

    def __init__(self, name: str) -> None:
        self.name = name
        odoo.tools.config.parse_config(["-c", str(odoo_config(name)), "--log-level=warn"])

    def load(self, **what: str) -> None:
        """Load Odoo anew, as ``odoo-bin`` does: ``init`` or ``update`` a module."""
        for option, module in what.items():
            odoo.tools.config[option] = {module: 1}
        try:
            Registry.new(self.name, update_module=True)
        finally:
            for option in what:
                odoo.tools.config[option] = {}

    def run(self, script) -> None:
        """Call a function with an environment, and commit."""
        with Registry(self.name).cursor() as cr:
            script(odoo.api.Environment(cr, odoo.SUPERUSER_ID, {}))

    def ask(self, query: str) -> list:
        """Return the first column of a query, read from outside."""
        return [value for (value,) in execute(query, database=self.name)]

    def providers(self) -> list[str]:
        return self.ask("SELECT coalesce(smtp_host, '') FROM mail_provider")

    def parameters(self) -> list[str]:
        like = "'mail_company_routing.%'"
        return self.ask(f"SELECT key FROM ir_config_parameter WHERE key LIKE {like}")

    def aliases(self) -> dict[str, list]:
        rows = self.ask(
            "SELECT to_json(a) FROM mail_alias a WHERE alias_name IS NOT NULL ORDER BY id"
        )
        columns = "alias_name", "alias_domain_id", "alias_incoming_local"
        return {
            "aliases": [[row.get(column) for column in columns] for row in rows],
            "constraint": self.ask(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
                " WHERE conname = 'mail_alias_alias_unique'"
            ),
            "indexes": self.ask(
                "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'mail_alias_name_domain%'"
            ),
        }


def change(env) -> None:
    """Change what came with the addon, and leave the database as the version before did."""
    env.ref("mail_company_routing.mail_provider_zoho").unlink()
    env.ref("mail_company_routing.mail_provider_gmail").smtp_host = "smtp.changed.example"
    env["res.config.settings"].create(
        {"mail_catch_all": False, "mail_restrict_username": True, "mail_sender_name_format": "name"}
    ).execute()
    # a company with an Email Domain, its aliases without one
    env.company.alias_domain_id = env["mail.alias.domain"].create({"name": "a.com"})
    env.cr.commit()
    env.cr.execute(
        "ALTER TABLE mail_alias DROP COLUMN alias_domain_id, DROP COLUMN alias_full_name,"
        " DROP COLUMN alias_incoming_local, DROP CONSTRAINT mail_alias_alias_unique,"
        " ADD CONSTRAINT mail_alias_alias_unique UNIQUE (alias_name)"
    )
    env.cr.execute(
        "COMMENT ON CONSTRAINT mail_alias_alias_unique ON mail_alias IS 'UNIQUE(alias_name)'"
    )


def double(env) -> None:
    """Use one name in many domains."""
    model = env["ir.model"]._get_id("crm.lead")
    for number in range(20):
        domain = env["mail.alias.domain"].create({"name": f"d{number}.com"})
        for name in ("sales", f"own{number}"):
            env["mail.alias"].create(
                {"alias_name": name, "alias_domain_id": domain.id, "alias_model_id": model}
            )
    env["mail.alias"].create(
        {"alias_name": "sales", "alias_domain_id": False, "alias_model_id": model}
    )


def uninstall(env) -> None:
    env["ir.module.module"].search([("name", "=", ADDON)]).button_immediate_uninstall()


def main() -> None:
    with database(MODULES, addon=False) as name:
        life = Lifetime(name)
        life.load(init=ADDON)
        told = {"installed": {"providers": life.providers()}}
        life.run(change)
        told["before"] = life.aliases()
        life.load(update=ADDON)
        told["upgraded"] = {
            "providers": life.providers(),
            "parameters": life.parameters(),
            **life.aliases(),
        }
        life.run(double)
        told["doubled"] = life.aliases()
        life.load(update="mail")
        told["updated"] = life.aliases()
        life.run(uninstall)
        told["uninstalled"] = {
            "parameters": life.parameters(),
            **life.aliases(),
            "body": life.ask(
                "SELECT body FROM mail_message WHERE subject = 'Aliases were renamed'"
            )[0],
            "notified": life.ask(
                "SELECT count(*) FROM mail_notification n JOIN mail_message m"
                " ON m.id = n.mail_message_id WHERE m.subject = 'Aliases were renamed'"
            )[0],
        }
        odoo.sql_db.close_all()
    say(json.dumps(told))


if __name__ == "__main__":
    main()
