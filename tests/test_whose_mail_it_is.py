# SPDX-License-Identifier: LGPL-3.0-only
"""Whose mail is it, as whom does it leave, where do answers go: with what people leave as it is.

No FROM Filtering, Default From as it comes, mails without a document, the queue run by OdooBot.
"""

from odoo import Command
from odoo.tests import tagged
from odoo.tests.common import new_test_user

from .common import CUSTOMER
from .test_companies import TwoCompaniesCase


class LeftAsItComesCase(TwoCompaniesCase):
    """Two companies whose servers have no FROM Filtering, and Bob, who works for B alone."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bob = new_test_user(
            cls.env, "bob", groups="base.group_user", name="Bob", email="bob@b.com",
            company_ids=[Command.set(cls.b.ids)], company_id=cls.b.id,
        )  # fmt: skip

    def setUp(self):
        super().setUp()
        (self.server_a + self.server_b).write({"from_filter": False})

    def written_in_a(self, **values):
        """Write a mail without a document in company A, by code that names no author.

        :return: its message
        """
        mail = (
            self.env["mail.mail"]
            .with_user(self.env.ref("base.user_root"))
            .with_company(self.a)
            .create(
                {
                    "subject": "News",
                    "body_html": "<p>News</p>",
                    "email_to": CUSTOMER,
                    "auto_delete": False,
                    **values,
                }
            )
        )
        return mail.mail_message_id


@tagged("post_install", "-at_install")
class TestWhoseMailItIs(LeftAsItComesCase):
    def test_a_newsletter_of_bs_domain(self):
        message = self.written_in_a(email_from="B News <news@b.com>")
        self.assertEqual(message.record_company_id, self.b)
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "news@b.com", "catchall@b.com")

    def test_a_mail_of_bob_who_works_for_b_alone(self):
        message = self.written_in_a(email_from=self.bob.email_formatted)
        self.assertEqual(message.record_company_id, self.b)
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "bob@b.com", "catchall@b.com")

    def test_a_mail_of_somebody_who_works_for_both_is_the_present_companys(self):
        message = self.written_in_a(email_from=self.ziying.email_formatted)
        self.assertEqual(message.record_company_id, self.a)

    def test_a_mail_that_names_bs_server(self):
        message = self.written_in_a(
            email_from="News <news@elsewhere.com>", mail_server_id=self.server_b.id
        )
        self.assertEqual(message.record_company_id, self.b)
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "news@elsewhere.com", "catchall@b.com")

    def test_a_strangers_address_without_a_document(self):
        message = self.written_in_a(email_from="Shop <shop@elsewhere.com>")
        self.assertEqual(message.record_company_id, self.a)
        self.run_queue()
        self.assertSent(self.provider_a, "bounce@a.com", "notifications@a.com", "catchall@a.com")

    def test_no_user_says_whose_a_mail_is(self):
        document = self.of_a.with_user(self.ziying)
        message = document.message_post(
            body="Hello",
            record_company_id=self.b.id,
            partner_ids=self.customer.ids,
            subtype_xmlid="mail.mt_comment",
            mail_auto_delete=False,
        )
        self.assertEqual(message.record_company_id, self.a)
        message.write({"record_company_id": self.b.id})
        self.assertEqual(message.record_company_id, self.a)
        by_default = self.env["mail.message"].with_user(self.ziying)
        by_default = by_default.with_context(default_record_company_id=self.b.id)
        values = {"model": "res.partner", "res_id": self.of_a.id, "body": "Hello"}
        self.assertEqual(by_default.create(values).record_company_id, self.a)
        self.run_queue()
        self.assertEqual(len(self.provider_a.mails), 1)
        self.assertFalse(self.provider_b.sessions)

    def test_no_user_names_a_server_of_a_company_he_does_not_work_in(self):
        lee = new_test_user(
            self.env, "lee", groups="base.group_user,base.group_partner_manager",
            name="Lee", email="lee@a.com", company_ids=[Command.set(self.a.ids)],
            company_id=self.a.id, notification_type="inbox",
        )  # fmt: skip
        for author, leaves_by in ((lee, self.provider_a), (self.ziying, self.provider_b)):
            self.post(self.of_a, author, mail_server_id=self.server_b.id)
            self.assertEqual(len(leaves_by.mails), 1)
            leaves_by.clear()

    def test_who_the_author_of_a_mailing_is_need_not_be_asked_for_each_mail(self):
        def asked(_routing, addresses):
            self.assertFalse(list(addresses), "the author was looked up by his address")
            return self.env["res.users"]

        self.patch(type(self.env["mail.routing"]), "_search_users", asked)
        for _mail in range(2):
            message = self.written_in_a(
                email_from=self.bob.email_formatted, author_id=self.bob.partner_id.id
            )
            self.assertEqual(message.record_company_id, self.b)

    def test_of_two_users_with_one_address_the_author_counts(self):
        c_com = self.env["mail.alias.domain"].create({"name": "c.com", "company_id": self.b.id})
        # the first of the table is not the author, and works elsewhere
        twin = new_test_user(self.env, "twin", groups="base.group_user", email="zy@a.com")
        later = new_test_user(self.env, "later", groups="base.group_user", email="zy@a.com")
        works_in_both = [Command.set((self.a + self.b).ids)]
        later.write({"company_ids": works_in_both, "company_id": self.b.id})
        later.with_company(self.b).alias_domain_id = c_com
        self.assertLess(twin.id, later.id)
        self.post(self.of_b, self.ziying)
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "catchall@b.com")
        self.mail(later, model="res.partner", res_id=self.of_b.id, author_id=later.partner_id.id)
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@c.com", "zy@c.com", "catchall@b.com")


@tagged("post_install", "-at_install")
class TestAsWhomItLeaves(LeftAsItComesCase):
    def test_one_server_sends_every_domain_of_its_company(self):
        c_com = self.env["mail.alias.domain"].create({"name": "c.com", "company_id": self.b.id})
        self.post(self.of_b, self.ziying)
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "catchall@b.com")
        self.ziying.with_company(self.b).alias_domain_id = c_com
        self.post(self.of_b, self.ziying)
        self.assertSent(self.provider_b, "bounce@c.com", "zy@c.com", "catchall@b.com")
        c_com.catch_all = "no"
        self.post(self.of_b, self.ziying)
        self.assertSent(self.provider_b, "bounce@b.com", "zy@c.com", "catchall@b.com")

    def test_a_server_without_a_filter_comes_before_one_that_would_replace_the_author(self):
        self.mail_server(
            self.provider_b, "lee@b.com", name="First", company_id=self.b.id, sequence=1,
            from_filter="notifications@b.com",
        )  # fmt: skip
        self.post(self.of_b, self.ziying)
        self.assertEqual(self.one_mail(self.provider_b).header_from, "zy@b.com")

    def test_without_a_catch_all_no_address_is_invented(self):
        (self.a + self.b).alias_domain_id.catch_all = "no"
        self.written_in_a(email_from="Shop <shop@elsewhere.com>")
        self.run_queue()
        self.assertSent(self.provider_a, "kevin@a.com", "shop@elsewhere.com", "kevin@a.com")
        self.a.alias_domain_id.default_from = "kevin"  # a login: it exists
        self.written_in_a(email_from="Shop <shop@elsewhere.com>")
        self.run_queue()
        self.assertSent(self.provider_a, "kevin@a.com", "kevin@a.com", "kevin@a.com")

    def test_two_mails_in_one_session_of_the_callers_own(self):
        sender = self.env["ir.mail_server"]
        session = sender.connect(mail_server_id=self.server_b.id, smtp_from="lee@b.com")
        for name in ("lee", "kim"):
            message = sender.build_email(f"{name}@b.com", [CUSTOMER], "Hello", "Hello")
            sender.send_email(message, smtp_session=session)
        session.quit()
        self.assertEqual(
            [mail.header_from for mail in self.provider_b.mails], ["lee@b.com", "kim@b.com"]
        )


@tagged("post_install", "-at_install")
class TestWhereAnswersGo(LeftAsItComesCase):
    def test_a_template_without_a_reply_to(self):
        template = self.env["mail.template"].create(
            {
                "name": "Offer",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "email_from": "{{ user.email_formatted }}",
                "email_to": CUSTOMER,
                "subject": "Offer",
                "body_html": "<p>Offer</p>",
            }
        )
        both = (self.a + self.b).ids  # A is the present one
        template.with_user(self.ziying).with_context(allowed_company_ids=both).send_mail(
            self.of_b.id
        )
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "catchall@b.com")

    def test_a_mail_that_comes_to_the_queue_without_one(self):
        mail = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mail.reply_to = False  # as one that was made before anything was set
        self.run_queue()
        sent = self.one_mail(self.provider_b)
        self.assertEqual(sent.reply_to, "catchall@b.com")
        self.assertIn("B Quotation of B", str(sent.message["Reply-To"]), "the name as native")

    def test_a_mail_that_is_sent_directly(self):
        sender = self.env["ir.mail_server"].with_company(self.a)
        sender.send_email(sender.build_email("news@b.com", [CUSTOMER], "News", "News"))
        self.assertSent(self.provider_b, "bounce@b.com", "news@b.com", "catchall@b.com")

    def test_one_that_was_given_stays(self):
        self.written_in_a(email_from="news@b.com", reply_to="offers@b.com")
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "news@b.com", "offers@b.com")

    def test_an_answer_to_the_author_himself_reaches_him_in_bs_domain(self):
        self.mail(
            self.ziying, model="res.partner", res_id=self.of_b.id,
            reply_to=self.ziying.email_formatted, reply_to_force_new=True,
        )  # fmt: skip
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "zy@b.com")

    def test_without_a_catch_all_the_author_is_answered_where_nobody_fetches(self):
        (self.a + self.b).alias_domain_id.catch_all = "no"
        relay = self.provider(rule="any", require_auth=False)
        self.server_b.active = False
        self.mail_server(relay, login=False, company_id=self.b.id)
        self.post(self.of_b, self.ziying)
        mail = self.one_mail(relay)
        self.assertEqual((mail.mail_from, mail.reply_to), ("zy@b.com", "zy@b.com"))

    def test_an_invitation_to_follow(self):
        wizard = (
            self.env["mail.wizard.invite"]
            .with_user(self.ziying)
            .with_context(allowed_company_ids=(self.a + self.b).ids)
            .create(
                {
                    "res_model": "res.partner",
                    "res_id": self.of_b.id,
                    "partner_ids": [Command.set(self.customer.ids)],
                    "message": "<p>Join us</p>",
                    "send_mail": True,
                }
            )
        )
        wizard.add_followers()
        invitation = self.one_mail(self.provider_b)
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "catchall@b.com")
        self.assertNotIn("Join us", "".join(self.of_b.message_ids.mapped("body")))
        mailbox = self.provider({"catchall@b.com": "secret"}, "any", imap=True)
        self.incoming_server(mailbox, "catchall@b.com", company_id=self.b.id)
        self.answer(mailbox, invitation)
        self.fetch()
        self.assertIn("We agree", self.of_b.message_ids[0].body)

    def test_the_names_of_many_documents_cost_as_many_queries_as_those_of_few(self):
        """Of a model without a company nothing else has read them."""
        channels = self.env["mail.channel"].create([{"name": f"C {n}"} for n in range(31)])

        def queries(documents):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            answers = documents._notify_get_reply_to(default=self.ziying.email_formatted)
            counted = self.env.cr.sql_log_count - before
            for document in documents:
                self.assertIn(document.name, answers[document.id])
            return counted

        queries(channels[:1])
        self.assertLessEqual(queries(channels[1:]), queries(channels[1:3]))

    def test_many_that_are_answered_to_their_senders_cost_as_many_queries_as_few(self):
        """As mailings and mail groups have it: Reply-To is the sender's address."""

        def queries(number, email_from, is_new):
            mails = self.env["mail.mail"].create(
                [
                    {
                        "email_from": email_from,
                        "reply_to": email_from,
                        "reply_to_force_new": is_new,
                        "email_to": CUSTOMER,
                    }
                ]
                * number
            )
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            mails._decide_routes()
            return self.env.cr.sql_log_count - before

        for email_from in ("news@elsewhere.example", self.ziying.email_formatted):
            for is_new in (False, True):
                with self.subTest(email_from, is_new=is_new):
                    queries(1, email_from, is_new)
                    few = queries(2, email_from, is_new)
                    self.assertLessEqual(queries(30, email_from, is_new), few)
