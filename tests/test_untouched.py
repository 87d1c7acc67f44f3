# SPDX-License-Identifier: LGPL-3.0-only
"""Installed and untouched, it changes nothing. (`make test-native` compares with real native.)"""

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.tests import tagged
from odoo.tests.common import BaseCase, get_db_name

from ..routing import Draft, decide
from .common import CUSTOMER, MailRoutingCase


class TestUntouched(MailRoutingCase):
    def assertActive(self, active):
        self.assertIs(self.env["mail.routing"]._is_active(), active)

    def test_whatever_asks_for_more_than_native(self):
        self.assertActive(False)
        server = self.env["ir.mail_server"].create({"name": "S", "smtp_host": "smtp.a.com"})
        self.assertActive(False)
        for record, field, value, before in (
            (server, "company_id", self.company.id, False),
            (server, "sender_policy", "any", "default"),
            (self.company, "reply_to_by_company", True, False),
            (self.company, "email_from_by_company", True, False),
            (self.company, "mail_server_by_domain", True, False),
            (self.company, "mail_server_by_reply_to", True, False),
        ):
            record[field] = value
            self.assertActive(True)
            record[field] = before
            self.assertActive(False)
        alias = self.env["mail.alias"].create(
            {"alias_name": "office", "alias_model_id": self.env["ir.model"]._get_id("res.partner")}
        )
        self.assertActive(False)
        alias.alias_incoming_local = False
        self.assertActive(True)
        alias.alias_incoming_local = True
        self.assertActive(False)
        domain = self.env["mail.alias.domain"].create({"name": "a.com"})
        self.assertActive(True)
        domain.active = False
        self.assertActive(False)
        self.settings(mail_catch_all=False)
        self.assertActive(True)
        self.settings(mail_catch_all=True, mail_restrict_username=True)
        self.assertActive(True)
        self.settings(mail_restrict_username=False)
        self.assertActive(False)

    def test_sending_asks_the_database_nothing_more(self):
        """With caches warm and cleared: the addon itself does not touch the database."""
        provider = self.provider(rule="any")
        self.mail_server(provider)
        routing = type(self.env["mail.routing"])
        # as in a process that finds these settings committed
        self.env.transaction.mail_routing_views.clear()
        self.assertActive(False)

        def asked(records, *args):
            raise AssertionError("an untouched database was asked for more")

        for name in ("_asks_for_more_than_native", "_gather_settings", "_gather_servers"):
            self.patch(routing, name, asked)
        for clear in (False, True):
            if clear:
                self.registry.clear_caches()
            message = self.post()
            self.mail().send()
            self.assertTrue(message.notification_ids)
        self.assertEqual(len(provider.mails), 4)

    def test_a_mail_is_natives(self):
        provider = self.provider(rule="any")
        self.mail_server(provider)
        self.post()
        mail = self.one_mail(provider)
        self.assertEqual(mail.mail_from, "bounce@odoomommy.com")
        self.assertEqual(mail.from_name, "韩菱纱")
        self.assertEqual(mail.header_from, "notifications@odoomommy.com")
        self.assertEqual(mail.reply_to, "catchall@odoomommy.com")

    def test_the_decision_agrees_with_native_where_native_decides(self):
        """Server, From and MAIL FROM of an untouched database, against native's own code."""
        self.env["ir.mail_server"].search([]).write({"active": False})
        filters = [False, "odoomommy.com", "lee@a.com", "a.com", "notifications@odoomommy.com"]
        senders = ["lee@a.com", "kim@a.com", '"韩菱纱" <lingsha.han@odoomommy.com>', "x@b.com"]
        sender = self.env["ir.mail_server"]
        provider = self.provider(rule="any")
        checked = 0
        for first in filters:
            for second in filters:
                servers = self.mail_server(
                    provider, name="1", from_filter=first
                ) + self.mail_server(provider, name="2", from_filter=second, sequence=11)
                facts = self.env["mail.routing"]._get_facts()
                self.assertFalse(self.env["mail.routing"]._is_active())
                for email_from in senders:
                    provider.clear()
                    native, _smtp_from = sender._find_mail_server(email_from)
                    sender.send_email(sender.build_email(email_from, [CUSTOMER], "S", "B"))
                    mail = self.one_mail(provider)
                    route = decide(Draft(email_from, company_id=self.company.id), facts)
                    self.assertEqual(route.server.id, native.id, (first, second, email_from))
                    self.assertEqual(route.mail_from, mail.mail_from)
                    self.assertEqual(
                        (route.from_name, route.from_address), (mail.from_name, mail.header_from)
                    )
                    checked += 1
                servers.unlink()
        self.assertEqual(checked, 100)


@tagged("post_install", "-at_install")
class TestRolledBack(BaseCase):
    def test_a_change_that_is_rolled_back_leaves_native(self):
        registry = Registry(get_db_name())
        with registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            before = env["mail.routing"]._is_active()
            env["mail.alias.domain"].create({"name": "rolled-back.example.com"})
            self.assertTrue(env["mail.routing"]._is_active())
            cr.rollback()
            self.assertIs(env["mail.routing"]._is_active(), before)
            names = {domain.name for domain in env["mail.routing"]._get_facts().domains}
            self.assertNotIn("rolled-back.example.com", names)
