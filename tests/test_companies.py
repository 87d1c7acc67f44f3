# SPDX-License-Identifier: LGPL-3.0-only
"""Every company its own post: named after the conflicts that arise where companies share Odoo."""

import contextlib

from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

from .common import CUSTOMER, MailRoutingCase


class TwoCompaniesCase(MailRoutingCase):
    """A and B, each with a domain, its options on, and a salesperson who works for both."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.env["res.company"].create([{"name": "A"}, {"name": "B"}])
        domains = cls.env["mail.alias.domain"].create(
            [{"name": f"{c.name.lower()}.com", "company_id": c.id} for c in (cls.a, cls.b)]
        )
        for company, domain in zip(cls.a + cls.b, domains, strict=True):
            company.write(
                {
                    "alias_domain_id": domain.id,
                    "email_from_by_company": True,
                    "mail_server_by_domain": True,
                }
            )
        cls.ziying = new_test_user(
            cls.env,
            "ziying",
            groups="base.group_user,base.group_partner_manager",
            name="慕容紫英",
            email="zy@a.com",
        )
        cls.ziying.write({"company_ids": [(6, 0, (cls.a + cls.b).ids)], "company_id": cls.a.id})
        cls.of_a, cls.of_b, cls.of_none = cls.env["res.partner"].create(
            [
                {"name": "Quotation of A", "company_id": cls.a.id},
                {"name": "Quotation of B", "company_id": cls.b.id},
                {"name": "Quotation of none"},
            ]
        )

    def setUp(self):
        super().setUp()
        self.provider_a = self.provider({"kevin@a.com": "secret"}, "any")
        self.provider_b = self.provider({"kevin@b.com": "secret", "lee@b.com": "secret"}, "any")
        self.server_a = self.mail_server(
            self.provider_a, "kevin@a.com", name="A SMTP", company_id=self.a.id
        )
        self.server_b = self.mail_server(
            self.provider_b, "kevin@b.com", name="B SMTP", company_id=self.b.id
        )

    def run_queue(self, company=None):
        """Run the queue as the cron's user, who is at home in another company."""
        root = self.env.ref("base.user_root")
        root.write(
            {"company_ids": [(4, (company or self.a).id)], "company_id": (company or self.a)}
        )
        self.env["mail.mail"].with_user(root).process_email_queue()

    def assertSent(self, provider, mail_from, header_from, reply_to):
        mail = self.one_mail(provider)
        self.assertEqual(
            (mail.mail_from, mail.header_from, mail.reply_to), (mail_from, header_from, reply_to)
        )
        self.assertEqual(mail.return_path.strip("<>"), mail_from)
        provider.clear()


@tagged("post_install", "-at_install")
class TestCompanies(TwoCompaniesCase):
    def test_bs_quotation_leaves_by_bs_server(self):
        message = self.post(self.of_b, self.ziying)
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "catchall@b.com")
        self.assertFalse(self.provider_a.sessions)
        self.assertEqual(message.record_company_id, self.b)
        self.assertEqual(message.record_alias_domain_id.name, "b.com")
        self.assertEqual(message.email_from, '"慕容紫英" <zy@a.com>', "the chatter shows him")

    def test_as_quotation_leaves_by_as_server(self):
        self.post(self.of_a, self.ziying)
        self.assertSent(self.provider_a, "bounce@a.com", "zy@a.com", "catchall@a.com")
        self.assertFalse(self.provider_b.sessions)

    def test_several_active_companies_do_not_decide(self):
        for active in (self.a + self.b, self.b + self.a):
            document = self.of_b.with_context(allowed_company_ids=active.ids)
            self.post(document, self.ziying)
            self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "catchall@b.com")

    def test_a_record_without_a_company_is_the_companys_in_force(self):
        for company, provider in ((self.b, self.provider_b), (self.a, self.provider_a)):
            domain = company.alias_domain_id.name
            self.post(self.of_none.with_company(company), self.ziying)
            self.assertSent(provider, f"bounce@{domain}", f"zy@{domain}", f"catchall@{domain}")

    def test_a_user_of_a_answering_on_bs_record(self):
        lee = new_test_user(
            self.env,
            "lee",
            groups="base.group_user,base.group_partner_manager",
            name="Lee",
            email="lee@a.com",
            notification_type="inbox",
        )
        lee.write({"company_ids": [(6, 0, self.a.ids)], "company_id": self.a.id})
        # native shows the cards of colleagues across companies
        wang = new_test_user(self.env, "wang", groups="base.group_user", email="wang@b.com")
        wang.write({"company_ids": [(6, 0, self.b.ids)], "company_id": self.b.id})
        card = wang.partner_id
        card.company_id = self.b
        self.post(card, lee)
        self.assertSent(self.provider_b, "bounce@b.com", "lee@b.com", "catchall@b.com")
        card.with_user(lee).message_notify(
            partner_ids=self.customer.ids, body="Hello", subject="Hello"
        )
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "lee@b.com", "catchall@b.com")

    def test_the_queue_run_in_another_company(self):
        mails = self.env["mail.mail"]
        for document in (self.of_b, self.of_a, self.of_b):
            mails += self.mail(self.ziying, model="res.partner", res_id=document.id)
        self.run_queue(self.a)
        self.assertEqual(set(mails.mapped("state")), {"sent"})
        self.assertEqual(
            [mail.header_from for mail in self.provider_b.mails], ["zy@b.com", "zy@b.com"]
        )
        self.assertEqual([mail.header_from for mail in self.provider_a.mails], ["zy@a.com"])

    def test_a_mail_written_before_anything_was_configured(self):
        mail = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mail.mail_message_id.record_company_id = False
        self.run_queue(self.a)
        self.assertEqual(len(self.provider_b.mails), 1)

    def test_a_visitor_writes_on_bs_document(self):
        visitor = self.env["res.partner"].create({"name": "Visitor", "email": "v@elsewhere.com"})
        self.of_b.message_subscribe(self.customer.ids)
        self.of_b.with_user(self.env.ref("base.public_user")).sudo().message_post(
            body="A question",
            author_id=visitor.id,
            email_from=visitor.email_formatted,
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
        )
        self.run_queue()
        mail = self.one_mail(self.provider_b)
        # a foreign address is never moved to a domain of ours: B's sender takes its place
        self.assertEqual(mail.header_from, "notifications@b.com")
        self.assertEqual(mail.from_name, "Visitor")

    def test_odoobot_writes_as_the_documents_company(self):
        self.of_b.with_user(self.env.ref("base.user_root")).message_post(
            body="Reminder",
            partner_ids=self.customer.ids,
            subtype_xmlid="mail.mt_comment",
        )
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "notifications@b.com", "catchall@b.com")

    def test_an_automated_action_sends_as_the_document(self):
        action = self.env["ir.actions.server"].create(
            {
                "name": "Remind",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "state": "code",
                "code": "record.message_post(body='Hi', subtype_xmlid='mail.mt_comment',"
                f" partner_ids=[{self.customer.id}])",
            }
        )
        action.with_context(active_model="res.partner", active_id=self.of_b.id).with_company(
            self.a
        ).run()
        self.run_queue()
        self.assertEqual(len(self.provider_b.mails), 1)
        self.assertFalse(self.provider_a.mails)

    def test_notifications_go_out_as_the_documents_company(self):
        self.of_b.with_user(self.ziying).with_company(self.a).message_notify(
            partner_ids=self.customer.ids, body="Assigned", subject="Assigned"
        )
        self.run_queue()
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "catchall@b.com")

    def test_a_named_server_is_used_as_it_is(self):
        mail = self.mail(
            self.ziying,
            model="res.partner",
            res_id=self.of_b.id,
            mail_server_id=self.server_a.id,
        )
        mail.send()
        self.assertEqual(len(self.provider_a.mails), 1)

    def test_no_mail_through_another_companys_server(self):
        self.server_b.active = False
        mail = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        of_a = self.mail(self.ziying, model="res.partner", res_id=self.of_a.id)
        self.run_queue()
        self.assertEqual(mail.state, "exception")
        self.assertEqual(mail.failure_type, "mail_smtp")
        self.assertIn("B has no outgoing mail server", mail.failure_reason)
        self.assertEqual(of_a.state, "sent")
        self.assertEqual(len(self.provider_a.mails), 1)

    def test_the_failure_reaches_the_author_of_the_message(self):
        self.server_b.active = False
        message = self.post(self.of_b, self.ziying)
        notification = message.notification_ids
        self.assertEqual(notification.notification_status, "exception")
        self.assertEqual(notification.failure_type, "mail_smtp")
        self.assertIn("B has no outgoing mail server", notification.failure_reason)

    def test_a_server_that_its_company_does_not_use(self):
        self.b.mail_server_by_domain = False
        mail = self.mail(
            self.ziying, model="res.partner", res_id=self.of_b.id, email_from="zy@b.com"
        )
        self.run_queue()
        self.assertEqual(mail.state, "exception")
        self.assertIn("SMTP and IMAP + Alias Domain by Company", mail.failure_reason)
        self.assertIn("does not use", self.server_b.routing_warning)

    def test_a_company_without_a_server_gets_a_shared_one(self):
        shared = self.provider({"all@group.com": "secret"}, "any")
        self.mail_server(shared, "all@group.com", name="Shared")
        self.server_b.active = False
        self.post(self.of_b, self.ziying)
        self.assertEqual(len(shared.mails), 1)

    def test_restricted_servers_of_both(self):
        (self.server_a + self.server_b).sender_policy = "login"
        self.post(self.of_b, self.ziying)
        mail = self.one_mail(self.provider_b)
        self.assertLeavesAsLogin(mail, "kevin@b.com", "慕容紫英 (zy@b.com)")
        self.assertEqual(mail.reply_to, "catchall@b.com")

    def test_a_direct_call_is_judged_by_the_company_in_force(self):
        sender = self.env["ir.mail_server"].with_company(self.b)
        sender.send_email(sender.build_email("zy@a.com", [CUSTOMER], "S", "B"))
        self.assertEqual(self.one_mail(self.provider_b).header_from, "zy@b.com")

    def test_a_direct_call_about_a_document_is_judged_by_that(self):
        sender = self.env["ir.mail_server"].with_company(self.a)
        message = sender.build_email(
            "zy@a.com", [CUSTOMER], "S", "B", object_id=f"{self.of_b.id}-res.partner"
        )
        sender.send_email(message)
        self.assertEqual(self.one_mail(self.provider_b).header_from, "zy@b.com")

    def test_a_session_opened_in_b_is_bs(self):
        sender = self.env["ir.mail_server"].with_company(self.b)
        session = sender.connect(smtp_from="zy@elsewhere.org")
        session.quit()
        self.assertEqual((self.provider_a.logins, self.provider_b.logins), (0, 1))

    def test_test_connection_tries_the_senders_of_the_servers_company(self):
        self.env.user.email = "admin@a.com"
        self.server_b.with_company(self.a).test_smtp_connection()
        self.assertIn("MAIL", [verb for _session, verb in self.provider_b.commands])
        self.provider_b.stop()
        strict = self.provider({"bounce@b.com": "secret"})
        self.server_b.write({"smtp_port": strict.smtp_port, "smtp_user": "bounce@b.com"})
        self.server_b.with_company(self.a).test_smtp_connection()
        self.assertFalse(strict.refusals)

    @mute_logger("odoo.addons.mail.models.mail_mail")
    def test_test_connection_is_refused_where_the_next_mail_is(self):
        # a FROM Filtering equal to the login does not make the mail leave as the login
        self.provider_b.stop()
        strict = self.provider({"kevin@b.com": "secret"})
        self.server_b.write({"smtp_port": strict.smtp_port, "from_filter": "kevin@b.com"})
        self.env.user.email = "admin@a.com"
        with self.assertRaisesRegex(UserError, "refused the sender address"):
            self.server_b.with_company(self.a).test_smtp_connection()
        mail = self.mail(self.env.user, model="res.partner", res_id=self.of_b.id)
        mail.send()
        self.assertEqual(mail.state, "exception")
        self.assertEqual(len({refusal.mail_from for refusal in strict.refusals}), 1)
        self.server_b.sender_policy = "login"
        self.server_b.with_company(self.a).test_smtp_connection()
        mail.mark_outgoing()
        mail.send()
        self.assertEqual(mail.state, "sent")

    def test_a_mail_without_a_sender_gets_its_companys(self):
        get_param = self.env["ir.config_parameter"]
        get_param.set_param("mail.catchall.domain", False)
        get_param.set_param("mail.default.from", False)
        mail = self.mail(model="res.partner", res_id=self.of_b.id, email_from=False)
        self.run_queue()
        self.assertEqual(mail.state, "sent", mail.failure_reason)
        self.assertEqual(self.one_mail(self.provider_b).header_from, "notifications@b.com")

    def test_a_caller_who_wants_exceptions_gets_them_before_anything_is_sent(self):
        self.server_b.active = False
        mails = self.mail(self.ziying, model="res.partner", res_id=self.of_a.id)
        mails += self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        with self.assertRaises(MailDeliveryException) as caught:
            mails.send(raise_exception=True)
        self.assertIn("B has no outgoing mail server", str(caught.exception))
        self.assertFalse(self.provider_a.mails)

    @mute_logger("odoo.addons.mail.models.mail_mail")
    def test_a_refusal_after_another_mail_keeps_the_recipients(self):
        mails = self.mail(self.ziying, model="res.partner", res_id=self.of_a.id)
        mails += self.mail(self.ziying, model="res.partner", res_id=self.of_a.id)
        mails.write({"email_to": False, "recipient_ids": [(4, self.customer.id)]})
        self.provider_a.fail("rcpt", "550 5.1.1 no", after=1)
        with contextlib.suppress(MailDeliveryException):
            mails.send(raise_exception=True)
        self.assertEqual(mails.mapped("recipient_ids"), self.customer)
        self.assertEqual(mails[1].recipient_ids, self.customer)

    def test_a_domain_of_ones_own_script_in_general_settings(self):
        self.env["ir.config_parameter"].set_param("mail.catchall.domain", "bücher.example")
        self.b.alias_domain_id = False
        self.mail(email_from="zy@x.com", model="res.partner", res_id=self.of_b.id).send()
        self.assertEqual(self.one_mail(self.provider_b).mail_from, "bounce@xn--bcher-kva.example")

    def test_a_company_renamed_through_its_contact(self):
        self.settings(mail_sender_name_format="name_company")
        self.server_b.sender_policy = "login"
        self.post(self.of_b, self.ziying)
        self.b.partner_id.name = "New B"
        self.env.flush_all()  # as at the end of a transaction
        self.post(self.of_b, self.ziying)
        self.assertEqual(
            [mail.from_name for mail in self.provider_b.mails],
            ["慕容紫英 via B", "慕容紫英 via New B"],
        )

    def test_a_model_that_fails_does_not_hold_up_the_queue(self):
        mails = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mails += self.mail(self.ziying, model="res.partner", res_id=self.of_a.id)
        mails.mail_message_id.record_company_id = False

        def broken(records, default=None):
            raise ValueError("broken")

        self.patch(type(self.env["res.partner"]), "_mail_get_companies", broken)
        with mute_logger("odoo.addons.mail_company_routing.models.mail_message"):
            self.run_queue(self.a)
        self.assertEqual(mails.mapped("state"), ["sent", "sent"])

    def test_a_message_id_that_programs_read_differently(self):
        mail = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mail.message_id = "<a b@x>"
        self.run_queue(self.a)
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "catchall@b.com")

    def test_one_session_for_all_senders_of_a_server(self):
        for number in range(20):
            document, domain = ((self.of_a, "a.com"), (self.of_b, "b.com"))[number % 2]
            self.mail(email_from=f"user{number}@{domain}", model="res.partner", res_id=document.id)
        self.run_queue()
        self.assertEqual(len(self.provider_a.mails), 10)
        self.assertEqual(len(self.provider_b.mails), 10)
        self.assertEqual((self.provider_a.logins, self.provider_b.logins), (1, 1))

    def test_a_new_session_for_each_batch(self):
        self.env["ir.config_parameter"].set_param("mail.session.batch.size", 4)
        for number in range(10):
            self.mail(email_from=f"u{number}@a.com", model="res.partner", res_id=self.of_a.id)
        self.run_queue()
        self.assertEqual((len(self.provider_a.mails), self.provider_a.logins), (10, 3))


@tagged("post_install", "-at_install")
class TestReplyToByCompany(TwoCompaniesCase):
    def test_the_prefix_at_the_companys_domain(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "info"})
        self.post(self.of_b, self.ziying)
        self.assertEqual(self.one_mail(self.provider_b).reply_to, "info@b.com")
        self.post(self.of_a, self.ziying)
        self.assertEqual(self.one_mail(self.provider_a).reply_to, "catchall@a.com")

    def test_a_documents_alias_comes_first(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "info"})
        partner_model = self.env["ir.model"]._get_id("res.partner")
        self.env["mail.alias"].create(
            {
                "alias_name": "project-b",
                "alias_model_id": partner_model,
                "alias_parent_model_id": partner_model,
                "alias_parent_thread_id": self.of_b.id,
            }
        )
        self.post(self.of_b, self.ziying)
        self.assertEqual(self.one_mail(self.provider_b).reply_to, "project-b@b.com")

    def test_mass_mode_of_the_composer(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "info"})
        for partner in self.of_a + self.of_b:
            partner.email = f"{partner.id}@example.net"
        self.env["mail.compose.message"].with_user(self.ziying).with_context(
            active_ids=(self.of_a + self.of_b).ids,
            active_model="res.partner",
            default_model="res.partner",
        ).create(
            {
                "composition_mode": "mass_mail",
                "model": "res.partner",
                "subject": "News",
                "body": "<p>News</p>",
                "email_from": self.ziying.email_formatted,
            }
        )._action_send_mail()
        self.run_queue()
        self.assertSent(self.provider_a, "bounce@a.com", "zy@a.com", "catchall@a.com")
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "info@b.com")

    def test_the_companys_name_stands_before_the_address(self):
        message = self.post(self.of_none.with_company(self.b), self.ziying)
        self.assertEqual(message.reply_to, '"B Quotation of none" <catchall@b.com>')

    def test_the_reply_address_chooses_the_server(self):
        self.b.write(
            {
                "reply_to_by_company": True,
                "reply_to_prefix": "info",
                "mail_server_by_domain": False,
                "mail_server_by_reply_to": True,
            }
        )
        self.post(self.of_b, self.ziying)
        self.assertSent(self.provider_b, "bounce@b.com", "zy@b.com", "info@b.com")

    def test_bad_prefixes(self):
        for prefix in ("in fo", "info@b.com", "信息", "info\r\nBcc: x@y.z", "."):
            with self.assertRefused("Reply-To Prefix"):
                self.b.reply_to_prefix = prefix
        with self.assertRefused("Reply-To Prefix", "bounce"):
            self.b.reply_to_prefix = "bounce"
        with self.assertRefused("Reply-To Prefix", "bounce"):
            self.b.reply_to_prefix = "Bounce"
        self.b.reply_to_prefix = "info"
        with self.assertRefused("bounce"):
            self.b.alias_domain_id.bounce_alias = "info"

    def test_the_form_shows_the_result_while_one_types(self):
        from odoo.tests import Form

        self.env.user.email = "admin@a.com"
        with Form(self.b) as form:
            form.reply_to_by_company = True
            form.reply_to_prefix = "info"
            self.assertEqual(form.routing_reply_to_example, "info@b.com")
            self.assertEqual(form.reply_to_email, "info@b.com")
            self.assertIn("admin@b.com", form.routing_from_example)
            form.email_from_by_company = False
            self.assertIn("admin@a.com", form.routing_from_example)
            form.reply_to_prefix = "sales"
            self.assertEqual(form.routing_reply_to_example, "sales@b.com")
        self.assertEqual(self.b.reply_to_email, "sales@b.com")

    def test_addresses_of_a_company(self):
        self.assertEqual(self.b.bounce_email, "bounce@b.com")
        self.assertEqual(self.b.bounce_formatted, '"B" <bounce@b.com>')
        self.assertEqual(self.b.catchall_email, "catchall@b.com")
        self.assertEqual(self.b.catchall_formatted, '"B" <catchall@b.com>')
        self.assertEqual(self.b.default_from_email, "notifications@b.com")
        self.assertEqual(self.b.reply_to_email, "catchall@b.com")
        self.assertEqual(self.company.catchall_email, "catchall@odoomommy.com")
        self.assertEqual(self.company.bounce_email, "bounce@odoomommy.com")
        self.assertEqual(self.company.reply_to_email, "catchall@odoomommy.com")

    def test_two_companies_with_one_reply_address_claim_nothing_of_each_other(self):
        shared = self.env["mail.alias.domain"].create({"name": "g.com", "company_id": False})
        (self.a + self.b).write(
            {
                "alias_domain_id": shared.id,
                "email_from_by_company": False,
                "mail_server_by_reply_to": True,
            }
        )
        self.post(self.of_b, self.ziying)
        self.assertEqual(len(self.provider_b.mails), 1)
        self.assertFalse(self.provider_a.mails)

    def test_nobody_claims_the_general_catchall(self):
        (self.a + self.b).write({"alias_domain_id": False})
        self.a.mail_server_by_reply_to = True
        self.mail(email_from="zy@elsewhere.com", model="res.partner", res_id=self.of_b.id).send()
        self.assertEqual(len(self.provider_b.mails), 1)
        self.assertFalse(self.provider_a.mails)


@tagged("post_install", "-at_install")
class TestWhoSeesWhat(TwoCompaniesCase):
    def test_servers_of_a_company_are_seen_in_it(self):
        admin = new_test_user(
            self.env,
            "admin_a",
            groups="base.group_system",
        )
        admin.write({"company_ids": [(6, 0, self.a.ids)], "company_id": self.a.id})
        servers = self.env["ir.mail_server"].with_user(admin).search([])
        self.assertIn(self.server_a, servers)
        self.assertNotIn(self.server_b, servers)
        self.assertNotIn(
            "b.com", self.env["mail.alias.domain"].with_user(admin).search([]).mapped("name")
        )

    def test_an_ordinary_user_reads_domains_and_changes_none(self):
        from odoo.exceptions import AccessError

        domain = self.a.alias_domain_id.with_user(self.ziying)
        self.assertEqual(domain.name, "a.com")
        with self.assertRaises(AccessError):
            domain.name = "evil.com"

    def test_an_ordinary_user_reads_a_company_whole(self):
        company = self.a.with_user(self.ziying)
        ours = [
            name
            for name, field in company._fields.items()
            if field._module == "mail_company_routing" and name in company.fields_get()
        ]
        values = company.read(ours)[0]
        self.assertEqual(values["reply_to_email"], "catchall@a.com")
        self.assertNotIn("mail_server_ids", values)

    def test_warnings(self):
        self.assertFalse(self.server_a.routing_warning)
        self.server_b.active = False
        self.b.invalidate_recordset()
        self.assertIn("no outgoing server of its own", self.b.routing_warning)
