# SPDX-License-Identifier: LGPL-3.0-only
"""What Explain shows is what sending does."""

from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, tagged

from .common import CUSTOMER
from .test_companies import TwoCompaniesCase


@tagged("post_install", "-at_install")
class TestExplain(TwoCompaniesCase):
    def explain(self, **values):
        return self.env["mail.route.explain"].create({"user_id": self.ziying.id, **values})

    def assertAsSent(self, wizard, mail):
        self.assertEqual(wizard.mail_from, mail.mail_from)
        self.assertEqual(wizard.return_path, mail.return_path.strip("<>"))
        self.assertEqual(wizard.reply_to, mail.reply_to)
        self.assertIn(mail.header_from, wizard.header_from)
        self.assertIn(mail.from_name, wizard.header_from)

    def test_a_document(self):
        c_com = self.env["mail.alias.domain"].create({"name": "c.com", "company_id": self.b.id})
        self.ziying.with_company(self.b).alias_domain_id = c_com
        for policy in ("any", "login"):
            self.server_b.sender_policy = policy
            wizard = self.explain(res_model="res.partner", res_id=self.of_b.id)
            self.post(self.of_b, self.ziying)
            self.assertAsSent(wizard, self.one_mail(self.provider_b))
            self.assertEqual(wizard.mail_server_id, self.server_b)
            self.assertIn("c.com is the author's Outgoing Email Domain in B", wizard.reasons)
            self.provider_b.clear()

    def test_the_kinds_of_documents_are_those_that_people_work_on(self):
        for wizard in ("mail.route.explain", "mail.unprocessed.choose"):
            kinds = [model for model, _name in self.env[wizard]._selection_document()]
            self.assertIn("res.partner", kinds)
            self.assertFalse({"mail.blacklist", "mail.thread", "mail.thread.cc"} & set(kinds))
            hidden = [model for model in kinds if self.env[model]._transient]
            self.assertFalse(hidden)

    def test_a_typed_draft(self):
        wizard = self.explain(company_id=self.a.id, email_from="Ziying <zy@a.com>")
        self.assertEqual(wizard.mail_server_id, self.server_a)
        self.assertEqual(wizard.header_from, "Ziying <zy@a.com>")
        wizard.company_id = self.b
        self.assertEqual(wizard.mail_server_id, self.server_b)
        self.assertEqual(wizard.header_from, "Ziying <zy@b.com>")

    def test_a_typed_sender_who_is_no_colleague_is_of_the_company_of_his_domain(self):
        wizard = self.explain(company_id=self.b.id, email_from="News <news@a.com>")
        self.assertEqual(wizard.mail_server_id, self.server_a)
        self.assertEqual(wizard.header_from, "News <news@a.com>")

    def test_a_failed_mail(self):
        self.server_b.active = False
        mail = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        action = mail.action_explain_route()
        wizard = self.env["mail.route.explain"].with_context(**action["context"]).create({})
        self.assertFalse(wizard.mail_server_id)
        self.assertIn("B has no outgoing mail server", wizard.failure)
        self.server_b.active = True
        wizard.invalidate_recordset()
        self.assertFalse(wizard.failure)
        # by the web client's reading, an empty text is something to show
        self.assertIs(wizard.sent_failure, False)
        mail.send()
        self.assertAsSent(wizard, self.one_mail(self.provider_b))

    def test_a_message_that_was_sent(self):
        """The rule behind its Reply-To is named, and the server is asked for the customer."""
        message = self.post(self.of_b, self.ziying).with_env(self.env)
        context = message.action_explain_route()["context"]
        explain = self.env["mail.route.explain"].with_context(**context)
        wizard = explain.create({})
        self.assertIn("Reply-To: catchall@b.com, the catchall address.", wizard.reasons)
        self.assertEqual(wizard.probe_recipient, CUSTOMER)
        wizard.action_probe()
        self.assertIn(CUSTOMER, wizard.probe_words)
        # it was decided when the message was written: today's rule would give another one
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "info"})
        self.assertIn(
            "Reply-To: catchall@b.com, as the message has it.", explain.create({}).reasons
        )

    def test_a_documents_alias(self):
        partner_model = self.env["ir.model"]._get_id("res.partner")
        self.env["mail.alias"].create(
            {
                "alias_name": "project-b",
                "alias_model_id": partner_model,
                "alias_parent_model_id": partner_model,
                "alias_parent_thread_id": self.of_b.id,
            }
        )
        wizard = self.explain(res_model="res.partner", res_id=self.of_b.id)
        self.assertEqual(wizard.reply_to, "project-b@b.com")
        self.assertIn("the document's own alias", wizard.reasons)

    def test_what_native_would_have_done(self):
        self.server_a.sequence = 1
        wizard = self.explain(res_model="res.partner", res_id=self.of_b.id)
        self.assertIn("A SMTP", wizard.native)
        # native puts its notification address in every author's place
        self.assertIn("MAIL FROM: bounce@odoomommy.com", wizard.native)
        self.assertIn("From: 慕容紫英 <notifications@odoomommy.com>", wizard.native)
        self.assertIn("catchall@odoomommy.com", wizard.native)

    def test_untouched_it_explains_native(self):
        provider = self.provider(rule="any")
        self.env["ir.mail_server"].search([]).write({"active": False})
        self.mail_server(provider)
        wizard = self.explain(user_id=self.lingsha.id, company_id=self.company.id)
        self.post()
        self.assertAsSent(wizard, self.one_mail(provider))

    def test_asking_the_server_sends_nothing(self):
        self.provider_b.stop()
        provider = self.provider({"kevin@b.com": "secret"}, "tencent")
        self.server_b.smtp_port = provider.smtp_port
        wizard = self.explain(
            res_model="res.partner", res_id=self.of_b.id, probe_recipient=CUSTOMER
        )
        wizard.action_probe()
        self.assertEqual(wizard.probe_state, "refused")
        self.assertIn("501 mail from address must be same", wizard.probe_words)
        self.assertIn("✗ MAIL FROM bounce@b.com: 501 mail from address must be same", wizard.probe)
        self.assertIn("Turn on Restrict Username", wizard.probe)
        self.server_b.sender_policy = "login"
        wizard.invalidate_recordset()
        wizard.action_probe()
        self.assertIn("✓ MAIL FROM kevin@b.com", wizard.probe)
        self.assertIn("✓ RCPT TO", wizard.probe)
        self.assertEqual(wizard.probe_state, "accepted")
        with self.assertRaisesRegex(UserError, "Test Recipient"):
            wizard.probe_recipient = False
            wizard.action_probe()
        self.assertFalse(provider.mails)
        self.assertNotIn("DATA", [verb for _session, verb in provider.commands])

    def test_asking_a_server_whose_words_cannot_be_stored(self):
        self.provider_b.fail("mail", "nul")
        wizard = self.explain(
            res_model="res.partner", res_id=self.of_b.id, probe_recipient=CUSTOMER
        )
        wizard.action_probe()
        wizard.flush_recordset()
        self.assertIn("550 5.7.1 Refused", wizard.probe)

    def test_the_composer_is_given_back_as_it_was(self):
        composer = self.env["mail.compose.message"].with_context(
            default_model="res.partner", default_res_id=self.of_b.id, mail_marker=1
        )
        composer = composer.create({"subject": "Typed", "partner_ids": self.customer.ids})
        composer.email_from = self.ziying.email_formatted
        action = composer.action_explain_route()
        wizard = self.env["mail.route.explain"].with_context(**action["context"]).create({})
        self.assertEqual(wizard.mail_server_id, self.server_b)
        back = wizard.action_back()
        self.assertEqual((back["res_model"], back["res_id"]), (composer._name, composer.id))
        self.assertEqual(back["context"]["mail_marker"], 1)
        self.env[back["res_model"]].browse(back["res_id"]).action_send_mail()
        mail = self.one_mail(self.provider_b)
        self.assertEqual(str(mail.message["Subject"]), "Typed")
        self.assertAsSent(wizard, mail)

    def test_the_form(self):
        with Form(self.env["mail.route.explain"]) as form:
            form.user_id = self.ziying
            form.document = f"res.partner,{self.of_b.id}"
            self.assertEqual(form.mail_from, "bounce@b.com")
            self.assertIn("B SMTP", form.picture)

    def test_in_the_readers_language(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        wizard = self.explain(res_model="res.partner", res_id=self.of_b.id)
        chinese = wizard.with_context(lang="zh_CN")
        self.assertNotEqual(chinese.reasons, wizard.with_context(lang="en_US").reasons)
        self.assertTrue(any("\u4e00" <= character <= "\u9fff" for character in chinese.reasons))
        cure = (
            self.env["mail.failure"]
            .with_context(lang="zh_CN")
            ._cure(
                None, "501 mail from address must be same as authorization user", self.server_fact()
            )
        )
        self.assertIn("限制用户名", cure)

    def server_fact(self):
        return self.server_b._routing_fact()

    def test_administrators_only(self):
        with self.assertRaises(AccessError):
            self.env["mail.route.explain"].with_user(self.ziying).create({})
