# SPDX-License-Identifier: LGPL-3.0-only
"""A failure where it is seen: its words, what helps and whom to ask, in all places that show it."""

import re
from unittest.mock import patch

from odoo.exceptions import AccessError
from odoo.tests import Form, tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from .common import MailRoutingCase

QUIET = (
    "odoo.addons.mail.models.mail_mail",
    "odoo.addons.base.models.ir_mail_server",
    "odoo.addons.mail_company_routing.models.mail_mail",
)


@tagged("post_install", "-at_install")
class TestFailureShown(MailRoutingCase):
    def setUp(self):
        super().setUp()
        self.administrator = new_test_user(
            self.env,
            "ohm_admin",
            groups="base.group_system,base.group_partner_manager",
            name="Murong Ziying",
        )

    def dialog(self, message, user):
        """Open Sending Failures, as a click on the red envelope does."""
        wizard = self.env["mail.resend.message"].with_user(user)
        return Form(wizard.with_context(mail_message_to_resend=message.id))

    def shown(self, message):
        """Give what the three places say to an administrator."""
        sent = self.env["mail.sent"].search([("message_id", "=", message.id)])
        mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
        with self.dialog(message, self.administrator) as form:
            envelope = form.partner_ids.edit(0).message
        return {
            "envelope": envelope,
            "Sent Mails": sent.failure_text,
            "Emails": mail.failure_text,
        }

    def failures(self):
        """Yield (what, message, the provider's words, what helps) of each kind of failure."""
        provider = self.provider()
        server = self.mail_server(provider)
        yield "sender", self.post(), "501 mail from address must be same", "Restrict Username"
        server.sender_policy = "any"
        yield "any sender", self.post(), "501 mail from address", "'Only the login may send'"
        server.write({"sender_policy": "login", "smtp_pass": "outdated"})
        yield "login", self.post(), "535", "refused the login of kevin@odoomommy.com"
        server.smtp_pass = "secret"
        provider.fail("rcpt", "550 5.1.1 no such user")
        yield "recipient", self.post(), "550 5.1.1 no such user", "Correct the addresses"
        provider.heal()
        provider.stop()
        self.settings(mail_retry_hours=0)  # else the mail waits
        yield "no connection", self.post(), "refused", "Check host, port and encryption"

    @mute_logger(*QUIET)
    def test_every_failure_has_its_words_and_its_cure_in_all_three(self):
        for what, message, words, cure in self.failures():
            for place, told in self.shown(message).items():
                with self.subTest(what, place=place):
                    self.assertIn(words, told)
                    self.assertIn(cure, told)
                    self.assertNotIn("'None'", told)
                    (line,) = [line for line in told.splitlines() if words in line][:1]
                    self.assertNotIn("Ohm SMTP", line, "the words have a line of their own")
            if what == "any sender":
                self.assertNotIn("Turn on", told)

    @mute_logger(*QUIET)
    def test_a_wrong_password_while_nothing_is_set(self):
        """Native keeps the words on the mail alone, and its own tests hold it to that."""
        provider = self.provider()
        self.mail_server(provider, password="outdated")
        self.assertFalse(self.env["mail.routing"]._is_active())
        told = self.shown(self.post())
        self.assertIn("535", told["envelope"])
        self.assertIn("535", told["Emails"])
        self.assertIn("authorization code", told["Emails"])

    @mute_logger(*QUIET)
    def test_no_connection_while_nothing_is_set(self):
        provider = self.provider()
        self.mail_server(provider)
        provider.stop()
        mail = self.mail()
        mail.send()
        self.assertIn("Connection refused", mail.failure_text)
        self.assertIn("Check host, port and encryption", mail.failure_text)

    @mute_logger(*QUIET)
    def test_whom_to_ask(self):
        """A salesman is told who can help; an administrator what to do."""
        for what, message, _words, _cure in self.failures():
            with self.subTest(what):
                notification = message.notification_ids
                told = notification.with_user(self.lingsha).format_failure_reason()
                asks = "Ask an administrator" in told and "Murong Ziying" in told
                self.assertEqual(asks, what != "recipient", told)
                told = notification.with_user(self.administrator).format_failure_reason()
                self.assertNotIn("Ask an administrator", told)

    @mute_logger(*QUIET)
    def test_what_helps_is_said_once_in_the_readers_language(self):
        """It was kept in the language of the mail's author."""
        self.env["res.lang"]._activate_lang("zh_CN")
        self.lingsha.lang = "zh_CN"
        self.mail_server(self.provider(), sender_policy="login", password="outdated")
        message = self.post()
        kept = message.notification_ids.failure_reason
        self.assertIn("授权码", kept)
        for lang, once, never in (
            ("en_US", "authorization code", "授权码"),
            ("zh_CN", "授权码", "authorization code"),
        ):
            administrator = self.administrator.with_context(lang=lang)
            explain = self.env["mail.route.explain"].with_user(administrator)
            explain = explain.with_context(lang=lang).create({"message_id": message.id})
            notification = message.notification_ids.with_user(administrator)
            for told in (
                notification.with_context(lang=lang).format_failure_reason(),
                explain.sent_failure,
            ):
                with self.subTest(lang):
                    self.assertEqual(told.count(once), 1, told)
                    self.assertNotIn(never, told)
                    self.assertIn("535", told)

    @mute_logger(*QUIET)
    def test_a_failure_is_one_text_in_the_readers_language(self):
        """But for the provider's words, which stay as they are."""
        self.env["res.lang"]._activate_lang("zh_CN")
        chinese = re.compile("[\u4e00-\u9fff]")
        for author, reader in (("zh_CN", "en_US"), ("en_US", "zh_CN")):
            self.lingsha.lang = author
            self.env["ir.mail_server"].search([]).active = False
            administrator = self.administrator.with_context(lang=reader)
            for what, message, words, _cure in self.failures():
                reason = message.notification_ids.failure_reason
                self.assertEqual(bool(chinese.search(reason)), author == "zh_CN", "as it was kept")
                wizard = self.env["mail.route.explain"].with_user(administrator)
                sent = self.env["mail.sent"].search([("message_id", "=", message.id)])
                mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
                notification = message.notification_ids.with_user(administrator)
                for place, told in (
                    ("envelope", notification.with_context(lang=reader).format_failure_reason()),
                    ("Sent Mails", sent.with_context(lang=reader).failure_text),
                    ("Emails", mail.with_context(lang=reader).failure_text),
                    (
                        "Explain",
                        wizard.with_context(lang=reader)
                        .create({"message_id": message.id})
                        .sent_failure,
                    ),
                ):
                    with self.subTest(what, place=place, reader=reader):
                        self.assertIn(words, told)
                        for line in told.splitlines():
                            if words not in line:
                                self.assertEqual(
                                    bool(chinese.search(line)), reader == "zh_CN", line
                                )

    @mute_logger(*QUIET)
    def test_the_cure_is_in_the_dialog_of_the_envelope(self):
        provider = self.provider()
        server = self.mail_server(provider)
        message = self.post()
        form = self.dialog(message, self.administrator)
        self.assertTrue(form.is_sender_refused)
        told = form.save().action_restrict_and_retry()["params"]
        self.assertIn("in the queue again: 1.", told["message"])
        self.assertEqual(told["next"]["type"], "ir.actions.act_window_close")
        self.assertEqual(message.notification_ids.notification_status, "ready")
        self.assertFalse(message.has_error)
        self.env["mail.mail"].process_email_queue()
        self.assertEqual(message.notification_ids.notification_status, "sent")
        self.assertLeavesAsLogin(self.one_mail(provider))
        self.assertEqual(server.sender_policy, "login")

    @mute_logger(*QUIET)
    def test_the_cure_is_in_sent_mails_and_in_explain(self):
        provider = self.provider()
        server = self.mail_server(provider, password="outdated", sender_policy="login")
        message = self.post()
        sent = self.env["mail.sent"].search([("message_id", "=", message.id)])
        sent = sent.with_user(self.administrator)
        explain = self.env["mail.route.explain"].with_user(self.administrator)
        explain = explain.create({"message_id": message.id})
        for shown in (sent, explain):
            with self.subTest(shown._name):
                self.assertFalse(shown.is_sender_refused)
                self.assertTrue(shown.can_be_retried)
                self.assertTrue(shown.has_failed_server)
                opened = shown.action_open_failed_server()
                self.assertEqual((opened["res_model"], opened["res_id"]), (server._name, server.id))
        self.assertIn("535", explain.sent_failure)
        server.smtp_pass = "secret"
        self.assertIn("in the queue again: 1.", sent.action_put_back()["params"]["message"])
        self.env["mail.mail"].process_email_queue()
        self.assertEqual(message.notification_ids.notification_status, "sent")
        self.assertIn("None of these", sent.action_put_back()["params"]["message"])

    @mute_logger(*QUIET)
    def test_the_email_queue_manager_was_deleted(self):
        """The lanes send all the same."""
        self.mail_server(self.provider(), password="outdated", sender_policy="login")
        message = self.post()
        mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
        self.env.ref("mail.ir_cron_mail_scheduler_action").unlink()
        lanes = [("cron_id", "in", self.env["mail.lane"]._lanes().ids)]
        triggers = self.env["ir.cron.trigger"].search(lanes)
        triggers.unlink()
        told = mail.action_put_back()["params"]
        self.assertIn("in the queue again: 1. It sends them next.", told["message"])
        self.assertEqual(told["type"], "success")
        self.assertTrue(triggers.search(lanes))

    @mute_logger(*QUIET)
    def test_the_queue_is_off(self):
        provider = self.provider()
        self.mail_server(provider)
        mail = self.mail()
        mail.send()
        cron = self.env.ref("mail.ir_cron_mail_scheduler_action")
        cron.active = False
        told = mail.action_restrict_and_retry()["params"]
        self.assertIn(cron.name, told["message"])
        self.assertEqual(told["type"], "warning")

    @mute_logger(*QUIET)
    def test_what_was_sent_again_in_vain_is_not_mended_twice(self):
        """Sending again makes a second mail of the message; the first one is not to leave too."""
        provider = self.provider()
        self.mail_server(provider, sender_policy="any")
        message = self.post()
        first = message.notification_ids.mail_mail_id
        self.dialog(message, self.lingsha).save().resend_mail_action()
        self.env["mail.mail"].process_email_queue()
        self.assertFalse(provider.mails)
        self.assertEqual(first.state, "cancel")
        self.dialog(message, self.administrator).save().action_restrict_and_retry()
        for _time in range(2):
            self.env["mail.mail"].process_email_queue()
        self.one_mail(provider)
        self.assertEqual(message.notification_ids.notification_status, "sent")

    @mute_logger(*QUIET)
    def test_who_shall_not_get_it_again_is_taken_off_the_failed_mail(self):
        provider = self.provider()
        self.mail_server(provider, sender_policy="any")
        another = self.env["res.partner"].create({"name": "Buyer", "email": "buyer@example.net"})
        message = self.post(to=self.customer + another)
        first = message.notification_ids.mail_mail_id
        dialog = self.dialog(message, self.lingsha).save()
        dialog.partner_ids.filtered(lambda one: one.partner_id == another).resend = False
        dialog.resend_mail_action()
        self.assertEqual(first.mapped("state"), ["cancel"])
        new = message.notification_ids.mail_mail_id - first
        self.assertEqual(new.recipient_ids, self.customer)

    @mute_logger(*QUIET)
    def test_an_ordinary_user_has_no_buttons(self):
        self.mail_server(self.provider())
        message = self.post()
        form = self.dialog(message, self.lingsha)
        self.assertFalse(form.is_sender_refused or form.has_failed_server)
        with self.assertRaises(AccessError):
            form.save().action_restrict_and_retry()

    @mute_logger(*QUIET)
    def test_sending_again_says_what_became_of_it(self):
        """While nothing is set it is sent at once, as native does."""
        server = self.mail_server(self.provider(rule="any"), password="outdated")
        message = self.post()
        told = self.dialog(message, self.lingsha).save().resend_mail_action()["params"]
        self.assertEqual(told["type"], "warning")
        self.assertIn("535", told["message"])
        server.smtp_pass = "secret"
        self.assertFalse(self.env["mail.routing"]._is_active())
        told = self.dialog(message, self.lingsha).save().resend_mail_action()["params"]
        self.assertEqual((told["type"], told["message"]), ("success", "Sent to Customer."))

    @mute_logger(*QUIET)
    def test_sending_again_is_the_queues(self):
        """Nothing leaves in a request, which may be rolled back or repeated."""
        provider = self.provider()
        server = self.mail_server(provider, sender_policy="login", password="outdated")
        message = self.post()
        self.assertEqual(message.notification_ids.notification_status, "exception")
        server.smtp_pass = "secret"
        cron = self.env.ref("mail.ir_cron_mail_scheduler_action")
        triggers = self.env["ir.cron.trigger"].search([("cron_id", "=", cron.id)])
        told = self.dialog(message, self.lingsha).save().resend_mail_action()["params"]
        self.assertEqual(told["type"], "success")
        self.assertIn("in the queue again", told["message"])
        self.assertFalse(provider.mails or provider.logins)
        notification = message.notification_ids
        self.assertEqual(notification.notification_status, "ready")
        self.assertFalse(notification.failure_type or notification.failure_reason)
        triggers = self.env["ir.cron.trigger"].search([("cron_id", "=", cron.id)]) - triggers
        self.assertTrue(triggers, "the queue works now")
        for _time in range(2):
            self.env["mail.mail"].process_email_queue()
        self.one_mail(provider)
        self.assertEqual(notification.notification_status, "sent")


@tagged("post_install", "-at_install")
class TestFromThatWasSeen(MailRoutingCase):
    """Sent Mails shows the From of the mail as the customer got it."""

    def seen(self, *mails):
        found = self.env["mail.sent"]
        for mail in mails:
            found += found.search([("message_id", "=", mail.mail_message_id.id)])
        return found

    def test_one_mail(self):
        provider = self.provider()
        server = self.mail_server(provider, sender_policy="login")
        mail = self.mail()
        mail.send()
        server.sender_policy = "any"
        (sent,) = self.seen(mail)
        self.assertEqual(sent.header_from, self.one_mail(provider).message["From"])
        self.assertFalse(sent.is_from_decided)

    def test_while_nothing_is_set(self):
        provider = self.provider(rule="any")
        self.mail_server(provider)
        self.assertFalse(self.env["mail.routing"]._is_active())
        mail = self.mail()
        mail.send()
        (sent,) = self.seen(mail)
        self.assertEqual(sent.header_from, self.one_mail(provider).message["From"])
        self.assertFalse(sent.is_from_decided)

    def test_authors_of_one_batch_cost_no_query_more(self):
        """From of each would be an UPDATE of each: it is decided anew, and marked so."""
        provider = self.provider()
        self.mail_server(provider, sender_policy="login")
        one = self.mail()
        other = self.mail(email_from="Kim <kim@odoomommy.com>")
        counts = []
        for mails in ([one, one.copy()], [one.copy(), other]):
            batch = self.env["mail.mail"].browse(mail.id for mail in mails)
            batch.write({"state": "outgoing"})
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            batch.send()
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[0] + 1, "the other author is looked up")
        sent = self.seen(other)
        self.assertTrue(sent.is_from_decided)
        self.assertEqual(sent.header_from, '"Kim (kim@odoomommy.com)" <kevin@odoomommy.com>')
        self.assertIn("kim@odoomommy.com", provider.mails[-1].from_name)

    def test_the_queue_keeps_each(self):
        provider = self.provider()
        self.mail_server(provider, sender_policy="login")
        mails = [self.mail(), self.mail(email_from="Kim <kim@odoomommy.com>")]
        batch = self.env["mail.mail"].browse(mail.id for mail in mails)
        with patch.object(self.env.cr, "commit", self.env.flush_all):
            batch.send(auto_commit=True)
        for mail, got in zip(mails, provider.mails, strict=True):
            (sent,) = self.seen(mail)
            self.assertFalse(sent.is_from_decided)
            self.assertEqual(sent.header_from, got.message["From"])
