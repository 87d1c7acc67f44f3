# SPDX-License-Identifier: LGPL-3.0-only
"""What becomes of the addon's data when it is upgraded or uninstalled, in a database of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import odoo
from odoo.tests import BaseCase, TransactionCase, tagged
from odoo.tools.convert import convert_file

from ..hooks import rename_duplicates, tell_administrators, uninstall_hook

ROOT = Path(__file__).resolve().parent.parent
ODOO = Path(odoo.__file__).resolve().parents[1]
ADDON = "mail_company_routing"


@tagged("post_install", "-at_install")
class TestInADatabaseOfItsOwn(BaseCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "upgrade" / "lifetime.py")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ODOO, ROOT)))},
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        )
        cls.told = json.loads(done.stdout.splitlines()[-1])

    def test_providers(self):
        """An upgrade brings no deleted provider back, and changes none."""
        installed = self.told["installed"]["providers"]
        self.assertIn("smtp.zoho.com", installed)
        self.assertIn("smtp.gmail.com", installed)
        self.assertEqual(
            sorted(self.told["upgraded"]["providers"]),
            sorted(
                "smtp.changed.example" if host == "smtp.gmail.com" else host
                for host in installed
                if host != "smtp.zoho.com"
            ),
        )

    def test_parameters(self):
        self.assertEqual(len(self.told["upgraded"]["parameters"]), 4, "they survive an upgrade")
        self.assertEqual(self.told["uninstalled"]["parameters"], [])

    def test_an_upgrade_changes_no_alias(self):
        before, upgraded = self.told["before"]["aliases"], self.told["upgraded"]
        self.assertTrue(before)
        self.assertEqual(
            upgraded["aliases"], [[name, None, True] for name, _domain, _local in before]
        )
        self.assertEqual(upgraded["constraint"], ["CHECK ((1 = 1))"])

    def test_names_that_are_there_twice_outlive_an_update_of_odoos_own_module(self):
        before, doubled = self.told["before"], self.told["doubled"]
        self.assertEqual(len(doubled["aliases"]), len(before["aliases"]) + 41)
        self.assertEqual(self.told["updated"]["aliases"], doubled["aliases"])
        for step in ("upgraded", "doubled", "updated"):
            self.assertEqual(self.told[step]["indexes"], ["mail_alias_name_domain_unique"])

    def test_without_the_addon_each_alias_has_a_name_of_its_own(self):
        """None is lost, and it is told."""
        uninstalled = self.told["uninstalled"]
        names = [name for name, _domain, _local in uninstalled["aliases"]]
        self.assertEqual(uninstalled["constraint"], ["UNIQUE (alias_name)"])
        self.assertEqual(uninstalled["indexes"], [])
        self.assertEqual(len(names), len(self.told["doubled"]["aliases"]))
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(names.count("sales"), 1)
        self.assertIn("own7", names)
        for number in range(20):
            self.assertIn(f"sales-d{number}.com", names)
            self.assertIn(f"sales@d{number}.com -&gt; sales-d{number}.com", uninstalled["body"])
        self.assertTrue(uninstalled["notified"], "the administrators are told")


@tagged("post_install", "-at_install")
class TestUninstall(TransactionCase):
    def test_parameters_go(self):
        set_param = self.env["ir.config_parameter"].set_param
        set_param("mail_company_routing.catch_all", "False")
        set_param("mail_company_routing_of_another.x", "1")
        set_param("mail-company-routing.x", "1")
        uninstall_hook(self.env.cr, self.registry)
        keys = self.env["ir.config_parameter"].search([]).mapped("key")
        self.assertEqual(
            sorted(key for key in keys if key.startswith(("mail_company", "mail-company"))),
            ["mail-company-routing.x", "mail_company_routing_of_another.x"],
        )

    def test_a_deleted_provider_does_not_come_back(self):
        zoho = self.env.ref(f"{ADDON}.mail_provider_zoho")
        gmail = self.env.ref(f"{ADDON}.mail_provider_gmail")
        zoho.unlink()
        gmail.smtp_host = "smtp.changed.example"
        count = self.env["mail.provider"].search_count([])
        convert_file(
            self.env.cr, ADDON, "data/mail_provider_data.xml", {}, mode="update", noupdate=False
        )
        self.assertEqual(self.env["mail.provider"].search_count([]), count)
        self.assertEqual(gmail.smtp_host, "smtp.changed.example")

    def test_which_of_several_keeps_its_name(self):
        self.env["mail.alias"].search([]).alias_name = False
        model = self.env["ir.model"]._get_id("res.partner")
        domains = self.env["mail.alias.domain"].create(
            [{"name": "late.com", "sequence": 20}, {"name": "bücher.de", "sequence": 5}]
        )
        self.env["mail.alias"].create(
            [
                {"alias_name": name, "alias_domain_id": domain, "alias_model_id": model}
                for name, domain in (
                    ("info", domains[0].id),
                    ("info", domains[1].id),
                    ("jobs", domains[0].id),
                    ("jobs", False),
                    ("jobs-late.com", False),
                )
            ]
        )
        renamed = rename_duplicates(self.env)
        self.assertEqual(
            sorted(renamed),
            [("info@late.com", "info-late.com"), ("jobs@late.com", "jobs-late.com-2")],
        )
        tell_administrators(self.env, renamed)
        message = self.env["mail.message"].search([("subject", "=", "Aliases were renamed")])
        administrators = self.env.ref("base.group_system").users.partner_id
        self.assertEqual(message.notification_ids.res_partner_id, administrators)
