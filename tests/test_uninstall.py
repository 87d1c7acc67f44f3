# SPDX-License-Identifier: LGPL-3.0-only
"""What becomes of the addon's data when it is upgraded or uninstalled, in a database of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from odoo.tests import TransactionCase, tagged
from odoo.tools.convert import convert_file

from ..hooks import uninstall_hook

ROOT = Path(__file__).resolve().parent.parent
ADDON = "mail_company_routing"

#: Each step is one run of Odoo, since starting it takes longest; a script prints its answer
SCRIPT = """
import json
from dev.odoo import database, execute, odoo_config, run_odoo
from dev.shared import ADDON, MODULES

CHANGE = '''
env.ref("mail_company_routing.mail_provider_zoho").unlink()
env.ref("mail_company_routing.mail_provider_gmail").smtp_host = "smtp.changed.example"
env["res.config.settings"].create(
    {"mail_catch_all": False, "mail_restrict_username": True, "mail_sender_name_format": "name"}
).execute()
env.cr.commit()
'''
TELL = '''
import json
providers = env["mail.provider"].with_context(active_test=False).search([])
print("told", json.dumps([provider.smtp_host or "" for provider in providers]))
'''
UNINSTALL = '''
env["ir.module.module"].search([("name", "=", "mail_company_routing")]).button_immediate_uninstall()
'''

def hosts(name, then):
    run = run_odoo(["shell", "-d", name], config=odoo_config(name), stdin=TELL + then)
    (line,) = [line for line in run.stdout.splitlines() if "told " in line]
    return json.loads(line.partition("told ")[2])

def parameters(name):
    query = "SELECT key FROM ir_config_parameter WHERE starts_with(key, 'mail_company_routing.')"
    return [key for key, in execute(query, database=name)]

with database(MODULES) as name:
    answers = {"installed": hosts(name, CHANGE)}
    run_odoo(["-u", ADDON, "--stop-after-init"], config=odoo_config(name))
    answers["parameters"] = parameters(name)
    answers["upgraded"] = hosts(name, UNINSTALL)
    answers["uninstalled"] = parameters(name)
print("answers", json.dumps(answers))
"""


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

    def test_in_a_database_of_its_own(self):
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        )
        answers = json.loads(done.stdout.rpartition("answers ")[2])
        installed, parameters, upgraded, uninstalled = answers.values()
        self.assertIn("smtp.zoho.com", installed)
        self.assertIn("smtp.gmail.com", installed)
        self.assertEqual(
            sorted(upgraded),
            sorted(
                "smtp.changed.example" if host == "smtp.gmail.com" else host
                for host in installed
                if host != "smtp.zoho.com"
            ),
        )
        self.assertEqual(len(parameters), 4, "they survive an upgrade")
        self.assertEqual(uninstalled, [])
