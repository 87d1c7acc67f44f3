# SPDX-License-Identifier: LGPL-3.0-only
"""What is not committed is nobody else's fact, and what is committed is everybody's.

With real commits, in other threads' transactions and in a second Odoo process on this database.
"""

import json
import os
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import odoo
from odoo import SUPERUSER_ID, api, tools
from odoo.modules.registry import Registry
from odoo.tests import tagged
from odoo.tests.common import BaseCase, get_db_name

from ..dev.provider import Provider

NAME = "Facts SMTP"

#: takes a line, checks for news as a request does, and answers with the names of the servers
OTHER_PROCESS = """
import json, sys
import odoo
from odoo import SUPERUSER_ID, api
odoo.tools.config.parse_config(["-d", sys.argv[1], *sys.argv[2:]])
registry = odoo.registry(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    registry = registry.check_signaling()
    with registry.cursor() as cr:
        env = api.Environment(cr, SUPERUSER_ID, {})
        if line.startswith("create"):
            env["ir.mail_server"].create({"name": line.split(None, 1)[1].strip(),
                                          "smtp_host": "smtp.example.com"})
        names = [server.name for server in env["mail.routing"]._get_facts().servers]
    print("facts", json.dumps(names), flush=True)
"""


class Undone(Exception):
    """Ends a part of a transaction."""


class OtherProcess:
    """A second Odoo on this database."""

    def __init__(self):
        path = os.path.dirname(os.path.dirname(odoo.__file__))
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, get_db_name(), "-c", tools.config.rcfile],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._read("ready")

    def _read(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return line[len(word) :]
        raise AssertionError("the second process ended")

    def servers(self, command="facts"):
        """Give the names of the servers that it would route by."""
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return json.loads(self._read("facts"))

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


@tagged("post_install", "-at_install")
class TestFacts(BaseCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.registry = Registry(get_db_name())
        cls.other = OtherProcess()
        cls.addClassCleanup(cls.other.close)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.clean)

    def clean(self):
        with self.transaction() as env:
            for model in ("ir.mail_server", "fetchmail.server"):
                env[model].with_context(active_test=False).search(
                    [("name", "in", (NAME, "facts@facts.example"))]
                ).unlink()
            env["mail.alias.domain"].search([("name", "=", "facts.example")]).unlink()

    @contextmanager
    def transaction(self):
        """Give an environment as a request has: committed and announced at the end."""
        self.registry.check_signaling()
        with self.registry.cursor() as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})
        self.registry.signal_changes()

    def servers(self, env):
        return [server.name for server in env["mail.routing"]._get_facts().servers]

    def elsewhere(self):
        """Give the names of the servers that another thread's transaction routes by."""
        found = []

        def look():
            with self.transaction() as env:
                found.extend(self.servers(env))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join(60)
        return found

    def assertNobodyElseSees(self, name=NAME):
        self.assertNotIn(name, self.elsewhere())
        self.assertNotIn(name, self.other.servers())

    def assertEverybodySees(self, name=NAME):
        self.assertIn(name, self.elsewhere())
        self.assertIn(name, self.other.servers())

    def test_a_form_that_is_saved(self):
        self.assertNobodyElseSees()
        with self.transaction() as env:
            server = env["ir.mail_server"].create({"name": NAME, "smtp_host": "smtp.example.com"})
            self.assertIn(NAME, self.servers(env))
            self.assertNobodyElseSees()
            server.name = "Facts of a form"
            self.assertIn("Facts of a form", self.servers(env))
            self.assertNobodyElseSees("Facts of a form")
            server.name = NAME
        self.assertEverybodySees()
        with self.transaction() as env:
            self.assertIn(NAME, self.servers(env))
            env["ir.mail_server"].search([("name", "=", NAME)]).unlink()
            self.assertNotIn(NAME, self.servers(env))
            self.assertEverybodySees()
        self.assertNobodyElseSees()

    def test_an_import(self):
        with self.transaction() as env:
            result = env["ir.mail_server"].load(["name", "smtp_host"], [[NAME, "smtp.example.com"]])
            self.assertTrue(result["ids"], result["messages"])
            self.assertIn(NAME, self.servers(env))
            self.assertNobodyElseSees()
        self.assertEverybodySees()

    def test_an_import_that_fails(self):
        with self.transaction() as env, tools.mute_logger("odoo.sql_db"):
            result = env["ir.mail_server"].load(
                ["name", "smtp_host", "sequence"],
                [[NAME, "smtp.example.com", "1"], ["Facts", "smtp.example.com", "no number"]],
            )
            self.assertFalse(result["ids"])
            self.assertNotIn(NAME, self.servers(env))
        self.assertNobodyElseSees()

    def test_parameters(self):
        """Odoo's own cache of parameters holds what nobody has committed; ours does not."""

        def domain(env):
            return env["mail.routing"]._get_facts().settings.catchall_domain

        with self.transaction() as env:
            before = domain(env)
        with self.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            env["ir.config_parameter"].set_param("mail.catchall.domain", "facts.example")
            self.assertEqual(domain(env), "facts.example")
            with self.transaction() as another:
                self.assertEqual(domain(another), before)
            cr.rollback()
            self.assertEqual(domain(env), before)

    def test_what_is_undone(self):
        """The whole transaction, and a part of it."""
        with closing(self.registry.cursor()) as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            with self.assertRaises(Undone), cr.savepoint():
                env["ir.mail_server"].create({"name": NAME, "smtp_host": "smtp.example.com"})
                with cr.savepoint():
                    self.assertIn(NAME, self.servers(env))
                raise Undone
            self.assertNotIn(NAME, self.servers(env))
            server = env["ir.mail_server"].create({"name": NAME, "smtp_host": "smtp.example.com"})
            self.assertIn(NAME, self.servers(env))
            with self.assertRaises(Undone), cr.savepoint():
                server.unlink()
                self.assertNotIn(NAME, self.servers(env))
                raise Undone
            self.assertIn(NAME, self.servers(env))
            cr.rollback()
            self.assertNotIn(NAME, self.servers(env))
        self.assertNobodyElseSees()

    def test_older_than_the_last_change(self):
        """What an old transaction sees does not stay with those that come after."""
        for create in (self.create_here, lambda: self.other.servers(f"create {NAME}")):
            with closing(self.registry.cursor()) as cr:
                cr.execute("SELECT 1 FROM ir_mail_server")  # what it sees from now on
                env = api.Environment(cr, SUPERUSER_ID, {})
                create()
                self.registry.check_signaling()  # as another request does
                self.registry.clear_caches()
                self.servers(env)
                self.assertIn(NAME, self.elsewhere())
            self.clean()

    def create_here(self):
        with self.transaction() as env:
            env["ir.mail_server"].create({"name": NAME, "smtp_host": "smtp.example.com"})

    def test_a_commit_without_a_request(self):
        """A script announces what it changed too; Odoo does that for requests alone."""
        self.assertNobodyElseSees()
        with self.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            env["ir.mail_server"].create({"name": NAME, "smtp_host": "smtp.example.com"})
        self.assertEverybodySees()

    def test_whether_native_is_left(self):
        def active():
            with self.transaction() as another:
                return another["mail.routing"]._is_active()

        self.assertFalse(active())
        with self.transaction() as env:
            env["mail.alias.domain"].create({"name": "facts.example"})
            self.assertTrue(env["mail.routing"]._is_active())
            self.assertFalse(active())
        self.assertTrue(active())

    def test_the_tables_are_being_changed(self):
        """A transaction that holds a lock on them waits for none of its own."""
        with closing(self.registry.cursor()) as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            cr.execute("LOCK TABLE ir_mail_server IN ACCESS EXCLUSIVE MODE")
            self.registry.clear_caches()
            with tools.mute_logger("odoo.sql_db"):
                self.assertEqual(self.servers(env), self.servers(env))

    def test_warm_facts_cost_no_query(self):
        self.create_here()
        for changes in (False, True):
            with self.transaction() as env:
                if changes:
                    env["ir.mail_server"].search([("name", "=", NAME)]).sequence = 5
                env["mail.routing"]._get_facts()
                env.flush_all()
                before = env.cr.sql_log_count
                for _mail in range(10):
                    env["mail.routing"]._get_facts()
                    env["mail.routing"]._is_active()
                    env.flush_all()
                    env.invalidate_all()
                self.assertLessEqual(env.cr.sql_log_count - before, 2 if changes else 0)


@tagged("post_install", "-at_install")
class TestSetUpUnderWay(BaseCase):
    """While somebody sets up a mailbox, everybody else's mail goes its way."""

    def test_nobody_routes_by_a_server_on_trial(self):
        registry = Registry(get_db_name())
        accounts = {"facts@facts.example": "secret"}
        with Provider(accounts, "tencent", imap=True) as provider:
            provider.fail("data", "hang")
            other = OtherProcess()
            self.addCleanup(other.close)
            result = {}

            def set_up():
                with registry.cursor() as cr:
                    env = api.Environment(cr, SUPERUSER_ID, {})
                    kind = env["mail.provider"].search([], limit=1)
                    wizard = env["mail.mailbox.setup"].create(
                        {
                            "provider_id": kind.id,
                            "email": "facts@facts.example",
                            "password": "secret",
                            "smtp_host": provider.smtp_host,
                            "smtp_port": provider.smtp_port,
                            "smtp_encryption": "none",
                            "incoming_type": "none",
                        }
                    )
                    cr.commit()  # as the form does  # pylint: disable=invalid-commit
                    wizard.action_setup()
                    result["succeeded"] = wizard.succeeded

            thread = threading.Thread(target=set_up)
            thread.start()
            try:
                provider.wait_for(lambda p: any(verb == "DATA" for _n, verb in p.commands))
                with registry.cursor() as cr:
                    env = api.Environment(cr, SUPERUSER_ID, {})
                    facts = env["mail.routing"]._get_facts()
                    self.assertNotIn("facts@facts.example", [s.name for s in facts.servers])
                    self.assertNotIn("facts.example", facts.domain_named)
                self.assertNotIn("facts@facts.example", other.servers())
            finally:
                provider.stop()
                thread.join(60)
            self.assertFalse(result["succeeded"])
            self.assertNotIn("facts@facts.example", other.servers())
        with registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            self.assertFalse(env["ir.mail_server"].search([("name", "=", "facts@facts.example")]))
