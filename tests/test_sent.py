# SPDX-License-Identifier: LGPL-3.0-only
"""Which server sent this? The route is kept on every mail, recipient by recipient."""

from odoo.exceptions import AccessError
from odoo.tests import Form, tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from .common import CUSTOMER, MailRoutingCase
from .test_companies import TwoCompaniesCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")


@tagged("post_install", "-at_install")
class TestSent(TwoCompaniesCase):
    def sent(self, message):
        return self.env["mail.sent"].search([("message_id", "=", message.id)])

    def test_the_route_outlives_the_mail(self):
        message = self.post(self.of_b, self.ziying, mail_auto_delete=True)
        self.assertFalse(self.env["mail.mail"].search([("mail_message_id", "=", message.id)]))
        sent = self.sent(message)
        self.assertEqual(sent.recipient, CUSTOMER)
        self.assertEqual(sent.company_id, self.b)
        self.assertEqual(sent.server_id, self.server_b)
        self.assertEqual(sent.server_name, "B SMTP")
        self.assertEqual(sent.mail_from, self.one_mail(self.provider_b).mail_from)
        self.assertEqual(sent.result, "sent")
        self.server_b.unlink()
        sent.invalidate_recordset()
        self.assertEqual(sent.server_name, "B SMTP")

    def test_each_recipient_stands_for_himself(self):
        other = self.env["res.partner"].create({"name": "Other", "email": "other@example.org"})
        message = self.post(self.of_a, self.ziying, to=self.customer + other)
        self.assertEqual(
            sorted(self.sent(message).mapped("recipient")), [CUSTOMER, "other@example.org"]
        )
        self.assertEqual(self.sent(message).server_id, self.server_a)

    def test_a_mail_that_came_not_so_far_keeps_no_sender_of_another(self):
        good = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        bad = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id, email_to=False)
        (good + bad).send()
        self.assertEqual((good.state, good.sent_mail_from), ("sent", "bounce@b.com"))
        self.assertEqual((bad.state, bad.sent_mail_from), ("exception", False))
        self.assertEqual(bad.sent_server_id, self.server_b)

    def test_an_administrator_sends_by_hand(self):
        """Not as superuser: what is sent is his, what is kept the server's."""
        self.ziying.groups_id += self.env.ref("base.group_system")
        mail = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mail.with_user(self.ziying).send()
        self.assertEqual((mail.state, mail.sent_server_id), ("sent", self.server_b))
        self.assertEqual(mail.sent_mail_from, self.one_mail(self.provider_b).mail_from)

    def test_a_mail_without_notifications(self):
        mail = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mail.mail_message_id.record_company_id = self.b
        self.assertEqual(self.sent(mail.mail_message_id).result, "ready")
        mail.send()
        sent = self.sent(mail.mail_message_id)
        sent.invalidate_recordset()
        self.assertEqual((sent.recipient, sent.result), (CUSTOMER, "sent"))
        self.assertEqual((sent.company_id, sent.server_id), (self.b, self.server_b))
        self.assertEqual(mail.sent_server_name, "B SMTP")

    @mute_logger(*QUIET)
    def test_a_refused_mail_says_what_helps_in_the_readers_language(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        self.provider_b.stop()
        provider = self.provider({"kevin@b.com": "secret"}, "tencent")
        self.server_b.smtp_port = provider.smtp_port
        message = self.post(self.of_b, self.ziying)
        sent = self.sent(message)
        self.assertEqual((sent.result, sent.server_id), ("exception", self.server_b))
        self.assertEqual(sent.mail_from, "bounce@b.com")
        self.assertIn("mail from address must be same", sent.failure_reason)
        self.assertFalse(sent.failure_help, "it stands in the reason already")
        chinese = sent.with_context(lang="zh_CN")
        self.assertIn("限制用户名", chinese.failure_help)
        # the salesman clicks the red envelope
        notification = message.notification_ids.with_user(self.ziying)
        told = notification.with_context(lang="zh_CN").format_failure_reason()
        self.assertIn("mail from address must be same", told)
        self.assertIn("限制用户名", told)
        # once the cure is applied, the same failure says so
        self.server_b.sender_policy = "login"
        sent.invalidate_recordset()
        self.assertIn("by now: retry", sent.failure_help)

    @mute_logger(*QUIET)
    def test_a_failure_is_kept_in_the_authors_language(self):
        """The queue runs as OdooBot, whose language nobody reads."""
        self.env["res.lang"]._activate_lang("zh_CN")
        self.ziying.lang = "zh_CN"
        self.provider_b.stop()
        provider = self.provider({"kevin@b.com": "secret"}, "tencent")
        self.server_b.smtp_port = provider.smtp_port
        author = self.ziying
        author.groups_id += self.env.ref("base.group_system")
        mail = (
            self.env["mail.mail"]
            .with_user(author)
            .create(
                {
                    "subject": "Offer",
                    "body_html": "<p>Offer</p>",
                    "email_from": author.email_formatted,
                    "email_to": CUSTOMER,
                    "model": "res.partner",
                    "res_id": self.of_b.id,
                }
            )
        )
        queue = self.env["mail.mail"].with_user(self.env.ref("base.user_root")).browse(mail.id)
        queue = queue.with_context(lang="en_US")
        queue.send()
        self.assertIn("限制用户名", mail.failure_reason)
        mail.mark_outgoing()
        provider.stop()
        self.settings(mail_retry_hours=0)  # else it waits
        queue.send()
        self.assertIn("无法使用", mail.failure_reason)
        mail.mark_outgoing()
        self.server_b.active = False
        queue.send()
        self.assertIn("没有", mail.failure_reason)

    @mute_logger(*QUIET)
    def test_a_server_that_is_not_there_is_named(self):
        self.provider_b.stop()
        self.settings(mail_retry_hours=0)  # else it waits
        message = self.post(self.of_b, self.ziying)
        sent = self.sent(message)
        self.assertEqual((sent.result, sent.server_name), ("exception", "B SMTP"))
        self.assertFalse(sent.mail_from)

    def test_no_server_no_name(self):
        self.server_b.active = False
        with mute_logger(*QUIET):
            message = self.post(self.of_b, self.ziying)
        sent = self.sent(message)
        self.assertEqual((sent.result, sent.server_name), ("exception", False))
        self.assertEqual(sent.company_id, self.b)
        self.assertIn("B has no outgoing mail server", sent.failure_reason)

    def test_no_key_of_the_database_watches_the_server(self):
        """Nor after an upgrade from a version that had one."""
        self.env.cr.execute(
            "ALTER TABLE mail_mail ADD CONSTRAINT mail_mail_sent_server_id_fkey"
            " FOREIGN KEY (sent_server_id) REFERENCES ir_mail_server (id)"
        )
        for model in ("mail.mail", "mail.notification"):
            field = self.env[model]._fields["sent_server_id"]
            field.update_db_foreign_key(self.env[model], {})
            self.env.cr.execute(
                "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass"
                " AND conname LIKE '%%sent_server%%'",
                [self.env[model]._table],
            )
            self.assertFalse(self.env.cr.fetchall())

    def test_a_bounce(self):
        message = self.post(self.of_b, self.ziying)
        message.notification_ids.sudo().notification_status = "bounce"
        sent = self.sent(message)
        self.assertEqual((sent.result, sent.server_id), ("bounce", self.server_b))

    def test_counted_by_company_server_and_result(self):
        for record in (self.of_a, self.of_b, self.of_b):
            self.post(record, self.ziying)
        groups = self.env["mail.sent"].read_group(
            [("server_id", "in", (self.server_a + self.server_b).ids)],
            ["__count"],
            ["company_id", "server_name", "result"],
            lazy=False,
        )
        counts = {
            (group["company_id"][0], group["server_name"], group["result"]): group["__count"]
            for group in groups
        }
        self.assertEqual(
            counts,
            {(self.a.id, "A SMTP", "sent"): 1, (self.b.id, "B SMTP", "sent"): 2},
        )

    def test_from_the_envelope_to_the_explanation(self):
        message = self.post(self.of_b, self.ziying, mail_auto_delete=True)
        action = message.with_user(self.env.user).action_explain_route()
        wizard = self.env["mail.route.explain"].with_context(**action["context"])
        with Form(wizard, view=action["view_id"] and action["view_id"][0]) as form:
            explained = form.save()
        self.assertEqual(explained.mail_server_id, self.server_b)
        self.assertEqual(explained.sent_ids, self.sent(message))
        mail = self.one_mail(self.provider_b)
        self.assertEqual(explained.mail_from, mail.mail_from)
        self.assertEqual(explained.reply_to, mail.reply_to)
        self.assertEqual(self.sent(message).action_explain_route(), action)

    def test_from_a_failed_notification(self):
        self.server_b.active = False
        with mute_logger(*QUIET):
            message = self.post(self.of_b, self.ziying)
        resend = self.env["mail.resend.message"].with_context(mail_message_to_resend=message.id)
        wizard = resend.create({})
        self.assertIn("B has no outgoing mail server", wizard.partner_ids.message)
        action = wizard.action_explain_route()
        mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
        self.assertEqual(action["context"], {"default_mail_id": mail.id})

    def test_the_login_is_the_administrators_to_see(self):
        user = new_test_user(self.env, "clerk", groups="base.group_user")
        self.server_b.sender_policy = "login"
        message = self.post(self.of_b, self.ziying)
        notification = message.notification_ids
        self.assertEqual(notification.sent_mail_from, "kevin@b.com")
        for read in (
            lambda: self.env["mail.sent"].with_user(user).search([]),
            lambda: notification.with_user(user).sent_mail_from,
            lambda: notification.with_user(user).read(["sent_server_name"]),
        ):
            with self.assertRaises(AccessError):
                read()

    def test_a_server_that_is_deleted_is_told_by_its_name_everywhere(self):
        """Lists and exports go on; the database does not watch the link."""
        provider = self.provider()
        server = self.mail_server(provider, sender_policy="login")
        self.post()
        mail = self.env["mail.mail"].search([("sent_server_id", "=", server.id)])
        notification = self.env["mail.notification"].search([("mail_mail_id", "in", mail.ids)])
        self.env.flush_all()
        server.unlink()
        self.env.invalidate_all()
        for records in (mail, notification):
            domain = [("id", "in", records.ids)]
            with self.subTest(records._name):
                told = records.fields_get(["sent_server_id", "sent_server_name"])
                offered = [name for name in told if told[name].get("exportable", True)]
                self.assertEqual(offered, ["sent_server_name"])
                self.assertEqual(records.export_data(offered)["datas"], [["Ohm SMTP"]])
                (group,) = records.read_group(domain, ["id"], ["sent_server_id"])
                self.assertFalse(group["sent_server_id"])
                self.assertFalse(records.read(["sent_server_id"])[0]["sent_server_id"])


class TestSentUntouched(MailRoutingCase):
    def test_native_mail_is_kept_too_without_a_query(self):
        provider = self.provider(rule="any")
        server = self.mail_server(provider, from_filter="odoomommy.com")
        self.assertFalse(self.env["mail.routing"]._is_active())
        message = self.post(mail_auto_delete=True)
        sent = self.env["mail.sent"].search([("message_id", "=", message.id)])
        self.assertEqual((sent.server_id, sent.result), (server, "sent"))
        self.assertEqual(sent.mail_from, self.one_mail(provider).mail_from)

    def test_the_statements_are_natives(self):
        """With what is kept and without: the very same tables, as often."""
        provider = self.provider(rule="any")
        self.mail_server(provider, from_filter="odoomommy.com")
        kept = type(self.env["mail.mail"])._sent_status
        self.assertEqual(kept, "state")

        def statements():
            mails = self.env["mail.mail"].concat(*(self.mail() for _number in range(5)))
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            mails.send()
            self.env.flush_all()
            return self.env.cr.sql_log_count - before

        statements()
        with_it = statements()
        self.patch(type(self.env["mail.mail"]), "_sent_status", "none")
        self.assertEqual(with_it, statements())
