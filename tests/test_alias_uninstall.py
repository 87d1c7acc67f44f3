# SPDX-License-Identifier: LGPL-3.0-only
"""Aliases in several domains when the addon is upgraded and goes, in a database of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from odoo.tests import TransactionCase, tagged

from ..hooks import rename_duplicates, tell_administrators

ROOT = Path(__file__).resolve().parent.parent

#: Each step is one run of Odoo; what a script prints last is its answer
SCRIPT = """
import json
from dev.odoo import database, odoo_config, run_odoo
from dev.commands.test import MODULES

# as the version before left it: a company with an Email Domain, its aliases without one
BEFORE = '''
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
env.cr.commit()
'''
TELL = '''
import json
env.cr.execute("SELECT * FROM mail_alias WHERE alias_name IS NOT NULL ORDER BY id")
columns = [column.name for column in env.cr.description]
rows = [dict(zip(columns, row)) for row in env.cr.fetchall()]
env.cr.execute(
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'mail_alias_alias_unique'"
)
told = {
    "constraint": [words for words, in env.cr.fetchall()],
    "aliases": [
        [row["alias_name"], row.get("alias_domain_id"), row.get("alias_incoming_local")]
        for row in rows
    ],
}
env.cr.execute("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'mail_alias_name_domain%'")
told["indexes"] = [name for name, in env.cr.fetchall()]
message = env["mail.message"].search([("subject", "=", "Aliases were renamed")])
told["message"] = message.body and message.notification_ids.res_partner_id.mapped("name")
told["body"] = message.body
print("told", json.dumps(told))
'''
DUPLICATE = '''
model = env["ir.model"]._get_id("crm.lead")
for number in range(20):
    domain = env["mail.alias.domain"].create({"name": f"d{number}.com"})
    for name in ("sales", f"own{number}"):
        env["mail.alias"].create(
            {"alias_name": name, "alias_domain_id": domain.id, "alias_model_id": model}
        )
env["mail.alias"].create({"alias_name": "sales", "alias_domain_id": False, "alias_model_id": model})
env.cr.commit()
'''
UNINSTALL = '''
env["ir.module.module"].search([("name", "=", "mail_company_routing")]).button_immediate_uninstall()
'''

def shell(name, script):
    run = run_odoo(["shell", "-d", name], config=odoo_config(name), stdin=script)
    lines = [line for line in run.stdout.splitlines() if "told " in line]
    return json.loads(lines[-1].partition("told ")[2]) if lines else None

with database(MODULES) as name:
    shell(name, BEFORE)
    answers = {"before": shell(name, TELL)}
    run_odoo(["-u", "mail_company_routing", "--stop-after-init"], config=odoo_config(name))
    answers["upgraded"] = shell(name, TELL)
    shell(name, DUPLICATE)
    answers["doubled"] = shell(name, TELL)
    run_odoo(["-u", "mail", "--stop-after-init"], config=odoo_config(name))
    answers["updated"] = shell(name, TELL)
    shell(name, UNINSTALL)
    answers["uninstalled"] = shell(name, TELL)
print("answers", json.dumps(answers))
"""


@tagged("post_install", "-at_install")
class TestAliasUninstall(TransactionCase):
    def test_in_a_database_of_its_own(self):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        )
        answers = json.loads(done.stdout.rpartition("answers ")[2])
        before, upgraded, doubled, updated, uninstalled = answers.values()
        self.assertTrue(before["aliases"])

        # an upgrade changes no alias
        self.assertEqual(
            upgraded["aliases"], [[name, None, True] for name, _domain, _local in before["aliases"]]
        )
        self.assertEqual(upgraded["constraint"], ["CHECK ((1 = 1))"])

        # 20 names that are there twice and more outlive an update of Odoo's own module
        self.assertEqual(len(doubled["aliases"]), len(before["aliases"]) + 41)
        self.assertEqual(updated["aliases"], doubled["aliases"])
        for answer in (upgraded, doubled, updated):
            self.assertEqual(answer["indexes"], ["mail_alias_name_domain_unique"])

        # without the addon each has a name of its own, none is lost, and it is told
        names = [name for name, _domain, _local in uninstalled["aliases"]]
        self.assertEqual(uninstalled["constraint"], ["UNIQUE (alias_name)"])
        self.assertEqual(uninstalled["indexes"], [])
        self.assertEqual(len(names), len(doubled["aliases"]))
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(names.count("sales"), 1)
        self.assertIn("own7", names)
        for number in range(20):
            self.assertIn(f"sales-d{number}.com", names)
            self.assertIn(f"sales@d{number}.com -&gt; sales-d{number}.com", uninstalled["body"])
        self.assertTrue(uninstalled["message"], "the administrators are told")

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
