# SPDX-License-Identifier: LGPL-3.0-only
"""A server that fails takes only its own mails along, and loses and doubles none.

Faults are injected at a real provider in each phase of a session, for one of two servers.
"""

import base64
from unittest.mock import patch

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import CUSTOMER
from .test_companies import TwoCompaniesCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")
SUBJECTS = ["first", "second", "third", "fourth"]

#: phase, action, mails let through before -> states of the four mails, what the customer has
MATRIX = [
    ("connect", "drop", 0, "oooo", 0),
    ("connect", "hang", 0, "oooo", 0),
    ("connect", "421", 0, "oooo", 0),
    ("ehlo", "drop", 0, "oooo", 0),
    ("ehlo", "hang", 0, "oooo", 0),
    ("auth", "535", 0, "xxxx", 0),
    ("auth", "drop", 0, "oooo", 0),
    ("auth", "hang", 0, "oooo", 0),
    ("mail", "drop", 0, "oooo", 0),
    ("mail", "drop", 1, "sooo", 1),
    ("mail", "hang", 1, "sooo", 1),
    ("mail", "421", 0, "oooo", 0),
    ("mail", "421", 1, "sooo", 1),
    ("mail", "451", 1, "sooo", 1),
    ("rcpt", "drop", 1, "sooo", 1),
    ("rcpt", "hang", 1, "sooo", 1),
    ("rcpt", "421", 1, "sooo", 1),
    ("rcpt", "451", 1, "sooo", 1),
    ("data", "drop", 1, "sooo", 1),
    ("data", "hang", 1, "sooo", 1),
    ("data", "421", 1, "sooo", 1),
    ("data", "451", 1, "sooo", 1),
    ("end_of_data", "drop", 1, "sxoo", 1),
    ("end_of_data", "hang", 1, "sxoo", 1),
    ("end_of_data", "451", 1, "sooo", 1),
    ("end_of_data", "accept_then_drop", 1, "sxoo", 2),
    ("end_of_data", "accept_then_garbage", 1, "sxoo", 2),
    ("connect", "garbage", 0, "xxxx", 0),
    ("connect", "nul", 0, "xxxx", 0),
    ("connect", "long", 0, "xxxx", 0),
    ("ehlo", "garbage", 0, "xxxx", 0),
    ("ehlo", "long", 0, "xxxx", 0),
    ("auth", "garbage", 0, "xxxx", 0),
    ("auth", "nul", 0, "xxxx", 0),
    ("auth", "long", 0, "xxxx", 0),
    ("mail", "garbage", 0, "oooo", 0),
    ("mail", "garbage", 1, "sooo", 1),
    ("mail", "nul", 1, "sxss", 3),
    ("mail", "long", 1, "sooo", 1),
    ("rcpt", "garbage", 1, "sooo", 1),
    ("rcpt", "nul", 1, "sxss", 3),
    ("rcpt", "long", 1, "sooo", 1),
    ("data", "garbage", 1, "sooo", 1),
    ("data", "nul", 1, "sxss", 3),
    ("end_of_data", "garbage", 1, "sxoo", 1),
    ("end_of_data", "nul", 1, "sxss", 3),
    ("end_of_data", "long", 1, "sxoo", 1),
    ("between", "drop", 0, "sooo", 1),
    ("between", "421", 0, "sooo", 1),
    ("between", "drop", 3, "ssss", 4),
]
LETTER = {"sent": "s", "exception": "x", "outgoing": "o"}


@tagged("post_install", "-at_install")
class TestFaults(TwoCompaniesCase):
    def setUp(self):
        super().setUp()
        module = "odoo.addons.base.models.ir_mail_server.SMTP_TIMEOUT"
        self.startPatcher(patch(module, 0.5))

    def queue(self):
        """Write four mails of A, then four of B."""
        return [
            self.env["mail.mail"].union(
                *(
                    self.mail(self.ziying, subject=subject, model="res.partner", res_id=document.id)
                    for subject in SUBJECTS
                )
            )
            for document in (self.of_a, self.of_b)
        ]

    def states(self, mails):
        return "".join(LETTER[mail.state] for mail in mails)

    @mute_logger(*QUIET)
    def check_fault(self, phase, action, after, states, delivered):
        for provider in (self.provider_a, self.provider_b):
            provider.clear()
            provider.heal()
        self.server_a.action_try_now()
        mails_a, mails_b = self.queue()
        self.provider_a.fail(phase, action, after=after)
        self.run_queue()
        self.assertTrue(self.provider_a.faults, "the fault did not strike")
        self.assertEqual(self.states(mails_b), "ssss", "B's mails")
        self.assertEqual(len(self.provider_b.mails), 4)
        self.assertEqual(self.states(mails_a), states, "A's mails")
        self.assertEqual(len(self.provider_a.mails), delivered, "delivered by A")
        for mail in mails_a.filtered(lambda mail: mail.state == "exception"):
            self.assertIn("A SMTP", mail.failure_reason)
            self.assertNotIn("secret", mail.failure_reason)
        # the server is well again: the administrator retries what failed, and does not wait for
        # what pauses; the cron does the rest
        self.provider_a.heal()
        self.server_a.action_try_now()
        failed = mails_a.filtered(lambda mail: mail.state == "exception")
        unsure = failed.filtered(lambda mail: "may have arrived" in mail.failure_reason)
        self.assertEqual(bool(unsure), phase == "end_of_data" and action not in ("451", "nul"))
        (failed - unsure).action_retry()
        self.run_queue()
        arrived = [mail.message["Subject"] for mail in self.provider_a.mails]
        self.assertEqual(len(arrived), len(set(arrived)), "none arrived twice")
        self.assertEqual(set(SUBJECTS) - set(arrived) - set(unsure.mapped("subject")), set())
        self.assertEqual((mails_a - unsure).mapped("state"), ["sent"] * len(mails_a - unsure))

    def test_fault_matrix(self):
        for phase, action, after, states, delivered in MATRIX:
            with self.subTest(f"{action} at {phase} after {after}"):
                self.check_fault(phase, action, after, states, delivered)

    @mute_logger(*QUIET)
    def test_a_server_that_is_not_there(self):
        mails_a, mails_b = self.queue()
        self.provider_a.stop()
        self.run_queue()
        self.assertEqual(self.states(mails_a), "oooo")
        self.assertEqual(self.states(mails_b), "ssss")
        self.assertIn("refused", self.server_a.pause_reason)
        self.assertIn("refused", mails_a[0].waiting_reason)
        self.provider_a.start()
        self.server_a.action_try_now()
        self.run_queue()
        self.assertEqual(self.states(mails_a), "ssss")

    @mute_logger(*QUIET)
    def test_a_refused_login_says_so(self):
        mails_a, _mails_b = self.queue()
        self.server_a.smtp_pass = "outdated-password"
        self.run_queue()
        self.assertEqual(self.states(mails_a), "xxxx")
        self.assertIn("A SMTP (A)", mails_a[0].failure_reason)
        self.assertIn("535", mails_a[0].failure_reason)
        self.assertIn("authorization code", mails_a[0].failure_reason)
        self.assertNotIn("outdated-password", mails_a[0].failure_reason)

    @mute_logger(*QUIET)
    def test_a_server_that_cannot_even_be_tried(self):
        """Each costs its own mails, and is named with its company and what helps."""
        certificate = {
            "smtp_authentication": "certificate",
            "smtp_ssl_certificate": base64.b64encode(b"no certificate"),
            "smtp_ssl_private_key": base64.b64encode(b"no key"),
        }
        for values, cure in (
            (certificate, "Check the settings"),
            ({"smtp_host": "a..example"}, "Check host, port"),
            ({"smtp_host": "x" * 70 + ".example"}, "Check host, port"),
            ({"smtp_user": "kevin@a..com", "sender_address": "kevin@a.com"}, "Check"),
        ):
            with self.subTest(str(values)[:50]):
                self.provider_b.clear()
                before = self.server_a.read(list(values))[0]
                self.server_a.write(values)
                mails_a, mails_b = self.queue()
                self.run_queue()
                self.assertEqual(self.states(mails_a), "xxxx")
                self.assertEqual(self.states(mails_b), "ssss")
                self.assertEqual(len(self.provider_b.mails), 4)
                self.assertIn("A SMTP (A) cannot be used: ", mails_a[0].failure_reason)
                self.assertIn(cure, mails_a[0].failure_reason)
                self.server_a.write({name: before[name] for name in values})

    @mute_logger(*QUIET)
    def test_a_notification_says_why_the_server_was_not_reached(self):
        self.settings(mail_retry_hours=0)  # else the mail waits
        message = self.post(self.of_a, self.ziying, force_send=False)
        self.provider_a.stop()
        self.run_queue()
        self.assertEqual(message.notification_ids.notification_status, "exception")
        self.assertIn("A SMTP (A) cannot be used", message.notification_ids.failure_reason)

    @mute_logger(*QUIET)
    def test_a_server_that_is_deleted_while_it_works(self):
        """The mail has left: that its server is gone is no reason to send it again."""
        mails_a, mails_b = self.queue()
        server, provider = self.server_a, self.provider_a
        note = type(self.env["mail.mail"])._postprocess_sent_message

        def deleting(mail, *args, **kwargs):
            server.exists().unlink()
            return note(mail, *args, **kwargs)

        self.patch(type(self.env["mail.mail"]), "_postprocess_sent_message", deleting)
        self.run_queue()
        self.assertEqual(self.states(mails_a + mails_b), "ssssssss")
        self.assertEqual(len(provider.mails), 4)
        self.env.flush_all()
        self.assertFalse(mails_a.sent_server_id.exists())
        self.assertEqual(set(mails_a.mapped("sent_server_name")), {"A SMTP"})
        sent = self.env["mail.sent"].search([("mail_id", "in", mails_a.ids)])
        self.assertEqual((len(sent), len(sent.server_id)), (4, 0))

    @mute_logger(*QUIET)
    def test_a_mail_with_an_unsure_fate_says_so(self):
        mails_a, _mails_b = self.queue()
        self.provider_a.fail("end_of_data", "accept_then_drop")
        self.run_queue()
        self.assertIn("may have arrived", mails_a[0].failure_reason)
        self.assertEqual(self.states(mails_a), "xooo")

    @mute_logger(*QUIET)
    def test_a_mail_that_makes_the_server_hang_up_does_not_hold_up_the_queue(self):
        mails_a, _mails_b = self.queue()
        self.provider_a.fail("rcpt", "drop", times=1, after=1)
        self.run_queue()
        self.assertEqual(self.states(mails_a), "sooo")
        self.run_queue()
        self.assertEqual(self.states(mails_a), "soss")

    @mute_logger(*QUIET)
    def test_who_got_it_does_not_get_it_again(self):
        others = self.env["res.partner"].create(
            [{"name": name, "email": f"{name}@example.net"} for name in ("x", "y", "z")]
        )
        for phase, action, after, delivered in (
            ("rcpt", "550 5.1.1 no such user", 2, 3),
            ("rcpt", "drop", 2, 2),
            ("data", "421", 2, 2),
        ):
            with self.subTest(f"{action} at {phase}"):
                self.provider_a.clear()
                mail = self.mail(
                    self.ziying,
                    model="res.partner",
                    res_id=self.of_a.id,
                    recipient_ids=[(6, 0, others.ids)],
                )
                self.provider_a.fail(phase, action, after=after)
                self.run_queue()
                self.assertEqual(mail.state, "exception" if "550" in action else "outgoing")
                self.assertEqual(len(self.provider_a.mails), delivered)
                self.provider_a.heal()
                mail.action_retry()
                self.server_a.action_try_now()
                self.run_queue()
                self.assertEqual(mail.state, "sent")
                recipients = [
                    address for sent in self.provider_a.mails for address in sent.rcpt_tos
                ]
                self.assertEqual(
                    sorted(recipients), sorted([CUSTOMER, *others.mapped("email_normalized")])
                )

    @mute_logger(*QUIET)
    def test_notifications_tell_what_became_of_the_mail(self):
        first, second = (
            self.post(self.of_a, self.ziying, force_send=False),
            self.post(self.of_a, self.ziying, force_send=False),
        )
        self.provider_a.fail("between", "drop")
        self.run_queue()
        self.assertEqual(first.notification_ids.notification_status, "sent")
        self.assertEqual(second.notification_ids.notification_status, "ready")
        self.assertFalse(second.notification_ids.failure_reason)
        self.run_queue()
        self.assertEqual(second.notification_ids.notification_status, "sent")
