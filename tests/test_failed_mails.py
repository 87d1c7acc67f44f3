# SPDX-License-Identifier: LGPL-3.0-only
"""What a list of failed mails costs: as much for twenty as for one."""

from odoo.tests import tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from .test_companies import TwoCompaniesCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")
MANY = 20
QUERIES = 5


@tagged("post_install", "-at_install")
class TestFailedMails(TwoCompaniesCase):
    """B's provider refuses the sender of every mail; each has an author and document of its own."""

    def setUp(self):
        super().setUp()
        self.provider_b.stop()
        provider = self.provider({"kevin@b.com": "secret"}, "tencent")
        self.server_b.smtp_port = provider.smtp_port
        self.administrator = new_test_user(self.env, "admin_b", groups="base.group_system")
        self.administrator.company_ids += self.b
        self.env["res.lang"]._activate_lang("zh_CN")

    def documents(self):
        """Give (document, author) of each mail."""
        documents = self.env["res.partner"].create(
            [{"name": f"No {number}", "company_id": self.b.id} for number in range(MANY)]
        )
        authors = self.env["res.users"].create(
            [
                {
                    "name": f"Author {number}",
                    "login": f"author{number}",
                    "email": f"author{number}@b.com",
                    "groups_id": [(6, 0, self.ziying.groups_id.ids)],
                    "company_id": self.b.id,
                    "company_ids": [(6, 0, self.b.ids)],
                }
                for number in range(MANY)
            ]
        )
        return zip(documents, authors, strict=True)

    def failed_mails(self, **values):
        mails = self.env["mail.mail"]
        with mute_logger(*QUIET):
            for document, author in self.documents():
                mails += self.mail(author, model="res.partner", res_id=document.id, **values)
            mails.send()
        self.assertEqual(set(mails.mapped("state")), {"exception"})
        return mails

    def failed_notifications(self):
        notifications = self.env["mail.notification"]
        with mute_logger(*QUIET):
            for document, author in self.documents():
                message = self.post(document, author)
                notifications += message.notification_ids
        self.assertEqual(set(notifications.mapped("notification_status")), {"exception"})
        return notifications

    def assertFewQueries(self, records, read):
        """Read records one by one, as a list does: nothing known but the facts and who reads."""
        self.assertEqual(len(records), MANY)
        self.env.flush_all()
        self.env.invalidate_all()
        read(records)  # what every worker remembers: facts, access rights, rules, translations
        for shown in (records[:1], records):
            self.env.invalidate_all()
            shown.env.companies.mapped("name")  # every request asks who it is, and where
            before = self.env.cr.sql_log_count
            answers = [read(record)[0] for record in shown.with_prefetch()]
            self.assertTrue(all(answers), answers)
            self.assertLessEqual(self.env.cr.sql_log_count - before, QUERIES, f"for {len(shown)}")

    def of_both(self, records):
        """Give the records as the superuser and as an administrator in Chinese sees them."""
        yield records.with_context(lang="zh_CN")
        companies = self.administrator.company_ids.ids
        yield records.with_user(self.administrator).with_context(
            lang="zh_CN", allowed_company_ids=companies
        )

    def test_whether_the_sender_was_refused(self):
        for seen in self.of_both(self.failed_mails()):
            with self.subTest(uid=seen.env.uid):
                self.assertFewQueries(seen, lambda mails: [m.is_sender_refused for m in mails])

    @mute_logger(*QUIET)
    def test_the_server_that_refused_is_the_one_to_restrict(self):
        """Whichever the mail would go by meanwhile."""
        mail = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mail.send()
        self.mail_server(self.provider_a, "lee@b.com", name="New", company_id=self.b.id, sequence=1)
        self.assertTrue(mail.is_sender_refused)
        self.server_b.sender_policy = "login"
        mail.invalidate_recordset()
        self.assertFalse(mail.is_sender_refused, "the cure is applied already")

    @mute_logger(*QUIET)
    def test_no_server_may_send(self):
        """What helps is a setting of the company: a button leads there, wherever it is shown."""
        self.ziying.lang = "zh_CN"
        self.server_b.active = False
        message = self.post(self.of_b, self.ziying)
        mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
        self.assertIn("没有", mail.failure_reason)
        seen = self.administrator
        seen.groups_id += self.env.ref("base.group_partner_manager")  # the dialog writes to them
        dialog = self.env["mail.resend.message"].with_user(seen)
        shown = (
            mail.with_user(seen),
            self.env["mail.sent"].with_user(seen).search([("message_id", "=", message.id)]),
            self.env["mail.route.explain"].with_user(seen).create({"message_id": message.id}),
            dialog.with_context(mail_message_to_resend=message.id).create({}),
        )
        for where in shown:
            with self.subTest(where._name):
                self.assertTrue(where.lacks_server)
                self.assertFalse(where.has_failed_server)
                opened = where.action_open_company()
                self.assertEqual(
                    (opened["res_model"], opened["res_id"]), ("res.company", self.b.id)
                )

    def test_a_refusal_leads_to_no_company(self):
        for seen in self.of_both(self.failed_mails()):
            self.assertFalse(any(seen.mapped("lacks_server")))

    def test_what_helps(self):
        for seen in self.of_both(self.failed_mails()):
            with self.subTest(uid=seen.env.uid):
                self.assertFewQueries(seen, lambda mails: [m.failure_help for m in mails])

    def test_what_helps_where_the_server_is_archived(self):
        mails = self.failed_mails()
        self.server_b.active = False
        for seen in self.of_both(mails):
            with self.subTest(uid=seen.env.uid):
                self.assertFewQueries(seen, lambda mails: [m.failure_help for m in mails])

    def test_what_helps_where_the_server_is_gone(self):
        mails = self.failed_mails()
        self.server_b.unlink()
        for seen in self.of_both(mails):
            with self.subTest(uid=seen.env.uid):
                self.assertFewQueries(seen, lambda mails: [m.failure_help for m in mails])

    def test_what_helps_in_the_list_of_sent_mails(self):
        mails = self.failed_mails()
        sent = self.env["mail.sent"].search([("mail_id", "in", mails.ids)])
        for seen in self.of_both(sent):
            with self.subTest(uid=seen.env.uid):
                self.assertFewQueries(seen, lambda sent: [s.failure_help for s in sent])

    def test_what_the_red_envelopes_say(self):
        notifications = self.failed_notifications()
        for server in ("there", "archived", "gone"):
            if server == "archived":
                self.server_b.active = False
            elif server == "gone":
                self.server_b.unlink()
            for seen in self.of_both(notifications):
                with self.subTest(server=server, uid=seen.env.uid):
                    told = seen.mapped(lambda one: one.format_failure_reason())
                    self.assertIn("限制用户名", told[0])
                    self.assertFewQueries(
                        seen, lambda some: [one.format_failure_reason() for one in some]
                    )
