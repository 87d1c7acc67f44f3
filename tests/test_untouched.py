"""Installed and untouched, it changes nothing. (`make test-native` compares with real native.)"""

from ..routing import Draft, decide
from .common import CUSTOMER, MailRoutingCase


class TestUntouched(MailRoutingCase):
    def test_nothing_is_configured_after_installation(self):
        self.assertFalse(self.env["mail.routing"]._is_active())

    def test_sending_asks_the_database_nothing_more(self):
        """Queries of a mail, with caches warm and cleared, against native's own methods."""
        provider = self.provider(rule="any")
        self.mail_server(provider, from_filter="odoomommy.com")
        # the state after the server was saved: committed, and known to all
        self.registry.cache_invalidated = False
        self.assertFalse(self.env["mail.routing"]._is_active())
        gathered = []
        native = type(self.env["mail.routing"])._gather_settings
        self.patch(
            type(self.env["mail.routing"]),
            "_gather_settings",
            lambda routing: gathered.append(1) or native(routing),
        )
        for clear in (False, True):
            if clear:
                self.registry.clear_caches()
            message = self.post()
            self.mail().send()
            self.assertTrue(message.notification_ids)
        self.assertFalse(gathered, "an untouched database is asked for no facts")
        self.assertEqual(len(provider.mails), 4)

    def test_a_mail_is_natives(self):
        provider = self.provider(rule="any")
        self.mail_server(provider, from_filter="odoomommy.com")
        self.post()
        mail = self.one_mail(provider)
        self.assertEqual(mail.mail_from, "bounce@odoomommy.com")
        self.assertEqual(mail.from_name, "韩菱纱")
        self.assertEqual(mail.header_from, "lingsha.han@odoomommy.com")
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
                self.assertTrue(facts.is_native)
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
