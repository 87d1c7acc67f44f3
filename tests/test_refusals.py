# SPDX-License-Identifier: LGPL-3.0-only
"""A refusal keeps the provider's words and adds server and cure; Test Connection foresees it."""

from odoo.exceptions import UserError
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

from ..dev.provider import RULES
from .common import CUSTOMER, MailRoutingCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")
SENDER_RULES = [name for name in RULES if name != "any"]


class TestRefusals(MailRoutingCase):
    def words(self, rule):
        return RULES[rule].reply.partition(" ")[2].partition("{")[0].partition("<")[0][:40]

    @mute_logger(*QUIET)
    def test_native_mail_is_refused_in_the_providers_words_with_server_and_cure(self):
        for rule in SENDER_RULES:
            with self.subTest(rule):
                provider = self.provider(rule=rule)
                server = self.mail_server(provider, name=f"Ohm {rule}")
                # unnamed_550 compares domains only
                mail = self.mail(email_from="lingsha@elsewhere.com")
                self.env["ir.config_parameter"].set_param("mail.catchall.domain", "else.com")
                mail.send()
                self.env["ir.config_parameter"].set_param("mail.catchall.domain", "odoomommy.com")
                self.assertEqual(mail.state, "exception")
                self.assertIn(self.words(rule), mail.failure_reason)
                self.assertIn(f"Ohm {rule}", mail.failure_reason)
                self.assertIn("it lets only its own login send", mail.failure_reason)
                self.assertIn("Turn on Restrict Username", mail.failure_reason)
                self.assertIn("Sender Policy", mail.failure_reason)
                self.assertNotIn("secret", mail.failure_reason)
                server.active = False

    @mute_logger(*QUIET)
    def test_a_refused_mail_leaves_once_the_cure_is_applied(self):
        provider = self.provider()
        self.mail_server(provider)
        mail = self.mail()
        mail.send()
        self.assertEqual(mail.state, "exception")
        self.settings(mail_restrict_username=True)
        mail.action_retry()
        mail.send()
        self.assertEqual(mail.state, "sent")
        self.assertFalse(mail.failure_reason)
        self.assertLeavesAsLogin(self.one_mail(provider))

    @mute_logger(*QUIET)
    def test_a_direct_caller_is_told_too(self):
        provider = self.provider()
        self.mail_server(provider)
        sender = self.env["ir.mail_server"]
        message = sender.build_email("lingsha.han@odoomommy.com", [CUSTOMER], "S", "B")
        with self.assertRaises(MailDeliveryException) as caught:
            sender.send_email(message)
        self.assertIn("mail from address must be same", str(caught.exception))
        self.assertIn("refused by Ohm SMTP", str(caught.exception).replace("Ref", "ref"))

    @mute_logger(*QUIET)
    def test_a_wrong_login_address_is_named(self):
        provider = self.provider()
        self.mail_server(provider, sender_policy="login", sender_address="somebody@odoomommy.com")
        mail = self.mail()
        mail.send()
        self.assertEqual(mail.state, "exception")
        self.assertIn("somebody@odoomommy.com", mail.failure_reason)
        self.assertIn("Login Address", mail.failure_reason)

    @mute_logger(*QUIET)
    def test_a_server_without_a_username_is_told_to_get_one(self):
        server = self.mail_server(self.provider(), login=False)
        mail = self.mail()
        mail.send()
        self.assertEqual(mail.state, "exception")
        self.assertIn("530 5.7.0 Authentication required", mail.failure_reason)
        self.assertIn("Ohm SMTP wants a login", mail.failure_reason)
        self.assertNotIn("refused the login", mail.failure_reason)
        told = self.env["mail.failure"]._without_cure(mail.failure_reason)
        self.assertNotIn("wants a login", told)
        with self.assertRaises(UserError) as caught:
            server.test_smtp_connection()
        self.assertIn("Ohm SMTP wants a login", str(caught.exception))
        self.assertNotIn("refused the login", str(caught.exception))
        # a server that nobody knows is not said to have none
        (cure,) = self.env["mail.failure"]._cures_of(
            [("530 5.7.0 Authentication required", self.env["ir.mail_server"], "")]
        )
        self.assertIn("refused the login", cure)

    def test_test_connection_says_what_the_next_mail_will_meet(self):
        for rule in ("tencent", "netease", "yandex", "postfix", "aliyun_440"):
            with self.subTest(rule):
                provider = self.provider(rule=rule)
                server = self.mail_server(provider, name=f"Ohm {rule}")
                self.env.user.email = "kevin@odoomommy.com"
                with self.assertRaises(UserError) as caught:
                    server.test_smtp_connection()
                self.assertIn(self.words(rule), str(caught.exception))
                self.assertIn(f"Ohm {rule}", str(caught.exception))
                self.assertIn("Turn on Restrict Username", str(caught.exception))
                refused = provider.refusals[0].mail_from
                with mute_logger(*QUIET):
                    self.mail(email_from="kevin@odoomommy.com").send()
                self.assertEqual(provider.refusals[-1].mail_from, refused)
                self.settings(mail_restrict_username=True)
                notification = server.test_smtp_connection()
                self.assertEqual(notification["params"]["type"], "success")
                self.settings(mail_restrict_username=False)
                server.active = False

    def test_test_connection_needs_no_address_of_the_user_on_a_restricted_server(self):
        provider = self.provider()
        server = self.mail_server(provider, sender_policy="login")
        self.env.user.email = False
        self.assertTrue(server.test_smtp_connection())

    def test_test_connection_of_an_archived_server(self):
        provider = self.provider()
        server = self.mail_server(provider, sender_policy="login", active=False)
        self.assertTrue(server.test_smtp_connection())

    def test_test_connection_hides_the_password(self):
        provider = self.provider()
        server = self.mail_server(provider, password="wrong-password")
        with self.assertRaises(UserError) as caught:
            server.test_smtp_connection()
        self.assertIn("authorization code", str(caught.exception))
        self.assertNotIn("wrong-password", str(caught.exception))
