# SPDX-License-Identifier: LGPL-3.0-only
"""One recipient who is refused costs the others nothing, and his mail does not pass for sent."""

import logging
from unittest.mock import patch

from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import IrMailServer

from .common import CUSTOMER
from .test_companies import TwoCompaniesCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")
NO_SUCH_USER = "550 5.1.1 no such user"
FULL = "452 4.2.2 mailbox full"


@tagged("post_install", "-at_install")
class TestRecipients(TwoCompaniesCase):
    def partners(self, *names):
        return self.env["res.partner"].create(
            [{"name": name, "email": f"{name}@example.net"} for name in names]
        )

    def reached(self):
        return sorted(to for mail in self.provider_a.mails for to in mail.rcpt_tos)

    def mail_of_a(self, **values):
        return self.mail(self.ziying, model="res.partner", res_id=self.of_a.id, **values)

    def retry(self, mail):
        """Retry a mail that failed, or do not wait for the next try of one that pauses."""
        if mail.state == "exception":
            mail.action_retry()
        self.server_a.action_try_now()

    @mute_logger(*QUIET)
    def test_one_of_several_addresses_in_one_message(self):
        for reply, words in (
            (NO_SUCH_USER, "was refused: 550"),
            (FULL, "was refused for the time being: 452"),
        ):
            with self.subTest(reply):
                self.provider_a.clear()
                mail = self.mail_of_a(email_to="x@example.net, Y <y@example.net>")
                self.provider_a.fail("rcpt", reply, after=1)
                self.run_queue()
                self.assertEqual(self.reached(), ["x@example.net"])
                self.assertEqual(mail.state, "outgoing" if reply == FULL else "exception")
                self.assertIn(f"y@example.net {words}", mail.failure_reason)
                self.assertIn("A SMTP (A)", mail.failure_reason)
                self.assertNotIn("x@example.net", mail.failure_reason)
                self.retry(mail)
                self.run_queue()
                self.assertEqual(self.reached(), ["x@example.net", "y@example.net"])
                self.assertEqual((mail.state, mail.failure_reason), ("sent", False))

    @mute_logger(*QUIET)
    def test_a_copy_that_is_refused(self):
        mail = self.mail_of_a(email_cc="boss@example.net")
        self.provider_a.fail("rcpt", NO_SUCH_USER, after=1)
        self.run_queue()
        self.assertEqual(self.reached(), [CUSTOMER])
        self.assertEqual(mail.state, "exception")
        self.assertIn("boss@example.net", mail.failure_reason)
        mail.action_retry()
        self.run_queue()
        self.assertEqual(self.reached(), ["boss@example.net", CUSTOMER])
        self.assertEqual(mail.state, "sent")

    @mute_logger(*QUIET)
    def test_one_of_several_followers(self):
        for reply in (NO_SUCH_USER, FULL):
            with self.subTest(reply):
                self.provider_a.clear()
                x, y, z = partners = self.partners("x", "y", "z")
                message = self.post(self.of_a, self.ziying, to=partners, force_send=False)
                mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
                mail.auto_delete = True
                self.provider_a.fail("rcpt", reply, after=1)
                self.run_queue()
                self.assertEqual(self.reached(), ["x@example.net", "z@example.net"])
                told = {n.res_partner_id: n for n in message.notification_ids}
                self.assertEqual(told[x].notification_status, "sent")
                self.assertEqual(told[z].notification_status, "sent")
                if reply == FULL:  # it passes: the mail waits, for y alone
                    self.assertEqual(told[y].notification_status, "ready")
                    self.assertEqual((mail.state, mail.tries), ("outgoing", 1))
                else:
                    self.assertEqual(told[y].notification_status, "exception")
                    self.assertIn(reply, told[y].failure_reason)
                    self.assertEqual(told[y].sent_server_name, "A SMTP")
                    self.assertEqual(mail.state, "exception")
                self.assertFalse(told[x].failure_reason)
                self.assertEqual(mail.recipient_ids, y)
                self.assertIn("y@example.net", mail.failure_reason)
                self.assertIn(reply, mail.failure_reason)
                self.retry(mail)
                self.run_queue()
                self.assertEqual(self.reached(), [f"{name}@example.net" for name in "xyz"])
                self.assertEqual(told[y].notification_status, "sent")
                self.assertFalse(mail.exists(), "sent at last, and deleted as was asked for")

    @mute_logger(*QUIET)
    def test_all_followers_one_by_one(self):
        partners = self.partners("x", "y")
        message = self.post(self.of_a, self.ziying, to=partners, force_send=False)
        mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
        self.provider_a.fail("rcpt", NO_SUCH_USER, times=2)
        self.run_queue()
        self.assertFalse(self.provider_a.mails)
        self.assertEqual((mail.state, mail.recipient_ids), ("exception", partners))
        for partner in partners:
            self.assertIn(f"{partner.email} was refused: 550", mail.failure_reason)
        self.assertEqual(
            message.notification_ids.mapped("notification_status"), ["exception", "exception"]
        )

    @mute_logger(*QUIET)
    def test_a_single_recipient_fails_as_ever(self):
        mail = self.mail_of_a()
        self.provider_a.fail("rcpt", NO_SUCH_USER)
        self.run_queue()
        self.assertEqual(mail.state, "exception")
        self.assertIn("no such user", mail.failure_reason)
        self.assertIn("A SMTP (A)", mail.failure_reason)

    @mute_logger(*QUIET)
    def test_a_sender_who_is_refused_is_refused_once(self):
        """Postfix objects to the sender when it is told the recipient: that concerns all."""
        self.provider_a.stop()
        provider = self.provider({"kevin@a.com": "secret"}, "postfix")
        self.server_a.smtp_port = provider.smtp_port
        mail = self.mail_of_a(email_to=False, recipient_ids=[(6, 0, self.partners("x", "y").ids)])
        self.run_queue()
        self.assertEqual(len(provider.refusals), 1)
        self.assertEqual(mail.state, "exception")
        self.assertIn("not owned by user", mail.failure_reason)
        self.assertIn("Restrict Username", mail.failure_reason)

    def swallow(self, send_email):
        """An addon that catches what sending raises, as OCA's mail_tracking does."""

        def swallowing(sender, *args, **kwargs):
            try:
                return send_email(sender, *args, **kwargs)
            except Exception:
                logging.getLogger(__name__).info("caught", exc_info=True)
                return False

        return swallowing

    def check_what_others_catch(self):
        self.post(self.of_a, self.ziying, force_send=False)
        for phase, action, words in (
            ("end_of_data", "550 5.7.1 spam", "5.7.1 spam"),
            ("mail", "553 Mail from must equal authorized user", "Restrict Username"),
            ("rcpt", "drop", "hung up while"),
            ("end_of_data", "accept_then_drop", "may have arrived"),
        ):
            with self.subTest(phase):
                self.provider_a.clear()
                self.provider_a.heal()
                message = self.post(self.of_a, self.ziying, force_send=False, mail_auto_delete=True)
                mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
                self.provider_a.fail(phase, action)
                mail.send()
                self.server_a.action_try_now()
                if action == "drop":  # before it was handed over: it waits
                    self.assertEqual(mail.state, "outgoing")
                    self.assertEqual(message.notification_ids.notification_status, "ready")
                    continue
                self.assertEqual(mail.exists().state, "exception")
                self.assertIn(words, mail.failure_reason)
                self.assertIn("A SMTP", mail.failure_reason)
                self.assertEqual(message.notification_ids.notification_status, "exception")
                self.assertIn(words, message.notification_ids.failure_reason)

    @mute_logger(*QUIET)
    def test_what_another_addon_catches_after_us(self):
        extension = self.registry["ir.mail_server"]
        self.patch(extension, "send_email", self.swallow(extension.send_email))
        self.check_what_others_catch()

    @mute_logger(*QUIET)
    def test_what_another_addon_catches_before_us(self):
        with patch.object(IrMailServer, "send_email", self.swallow(IrMailServer.send_email)):
            self.check_what_others_catch()

    @mute_logger(*QUIET)
    def test_a_swallowed_refusal_of_one_recipient(self):
        extension = self.registry["ir.mail_server"]
        self.patch(extension, "send_email", self.swallow(extension.send_email))
        self.test_one_of_several_followers()
