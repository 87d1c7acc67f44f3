"""The answer finds its way home, in the company that it belongs to, and nothing is lost."""

import base64
import socket
import time
from unittest.mock import patch

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import CUSTOMER
from .test_companies import TwoCompaniesCase

QUIET = (
    "odoo.addons.mail.models.fetchmail",
    "odoo.addons.mail.models.mail_thread",
    "odoo.addons.mail_company_routing.models.mail_thread",
)


class IncomingCase(TwoCompaniesCase):
    """A with a catch-all, B with one mailbox; both fetched by IMAP."""

    def setUp(self):
        super().setUp()
        for provider in (self.provider_a, self.provider_b):
            provider.stop()
        self.provider_a = self.provider(
            {"kevin@a.com": "secret"}, "any", imap=True, catch_all={"a.com": "kevin@a.com"}
        )
        self.provider_b = self.provider(
            {"kevin@b.com": "secret", "info@b.com": "secret", "answers@b.com": "secret"},
            "any",
            imap=True,
        )
        self.server_a.smtp_port = self.provider_a.smtp_port
        self.server_b.smtp_port = self.provider_b.smtp_port
        self.mailbox_a = self.incoming_server(self.provider_a, "kevin@a.com", company_id=self.a.id)
        self.mailbox_b = self.incoming_server(self.provider_b, "kevin@b.com", company_id=self.b.id)
        self.b.alias_domain_id.catch_all = "no"

    def unprocessed(self):
        return self.env["mail.unprocessed"].search([])

    def answers(self, document):
        return document.message_ids.filtered(lambda m: CUSTOMER in (m.email_from or ""))


@tagged("post_install", "-at_install")
class TestAnswers(IncomingCase):
    def test_each_answer_lands_on_its_document(self):
        self.post(self.of_a, self.ziying)
        self.post(self.of_b, self.ziying)
        self.answer(self.provider_a, self.one_mail(self.provider_a))
        self.answer(self.provider_b, self.one_mail(self.provider_b))
        self.fetch()
        self.assertEqual(len(self.answers(self.of_a)), 1)
        self.assertEqual(len(self.answers(self.of_b)), 1)
        self.assertEqual((self.of_a.company_id, self.of_b.company_id), (self.a, self.b))
        self.assertEqual(self.answers(self.of_b).record_company_id, self.b)
        self.assertFalse(self.unprocessed())

    def test_an_answer_in_the_wrong_mailbox_changes_no_company(self):
        self.post(self.of_b, self.ziying)
        self.answer(self.provider_a, self.one_mail(self.provider_b), to="kevin@a.com")
        self.fetch()
        self.assertEqual(len(self.answers(self.of_b)), 1)
        self.assertEqual(self.of_b.company_id, self.b)

    def test_what_is_re_sent_to_followers_leaves_by_the_documents_company(self):
        colleague = self.env["res.partner"].create({"name": "C", "email": "c@example.net"})
        self.of_b.message_subscribe(colleague.ids)
        self.post(self.of_b, self.ziying)
        question = next(m for m in self.provider_b.mails if CUSTOMER in m.rcpt_tos)
        self.provider_b.clear()
        self.answer(self.provider_a, question, to="kevin@a.com")
        self.fetch()
        self.run_queue()
        self.assertFalse(self.provider_a.mails)
        self.assertIn("c@example.net", [m.rcpt_tos[0] for m in self.provider_b.mails])

    def test_a_reply_address_that_is_also_an_alias_of_another_model(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "info"})
        alias = self.env["mail.alias"].search([("alias_name", "=", "info")])  # CRM comes with it
        if not alias:
            model = self.env["ir.model"]._get_id("mail.channel")
            alias = alias.create({"alias_name": "info", "alias_model_id": model})
        alias.alias_contact = "everyone"
        target = self.env[alias.alias_model_id.model]
        self.incoming_server(self.provider_b, "info@b.com", company_id=self.b.id)
        self.post(self.of_b, self.ziying)
        mail = self.one_mail(self.provider_b)
        self.assertEqual(mail.reply_to, "info@b.com")
        before = target.search_count([])
        self.answer(self.provider_b, mail)
        self.fetch()
        self.assertEqual(len(self.answers(self.of_b)), 1)
        self.assertEqual(target.search_count([]), before)
        # without a reference the alias wins
        self.write_to(self.provider_b, "info@b.com", "A new one")
        self.fetch()
        self.assertEqual(target.search_count([]), before + 1)

    def test_a_mailbox_called_like_the_bounce_or_catchall_alias_swallows_no_reply(self):
        for local in ("bounce", "catchall"):
            with self.subTest(local):
                login = f"{local}@b.com"
                self.provider_b.add_account(login, "secret")
                incoming = self.incoming_server(
                    self.provider_b, login, company_id=self.b.id, priority=1
                )
                self.provider_b.clear()
                message = self.post(self.of_b, self.ziying)
                mail = self.one_mail(self.provider_b)
                self.assertEqual(mail.reply_to, login)
                before = len(self.answers(self.of_b))
                self.answer(self.provider_b, mail)
                self.fetch()
                self.assertEqual(len(self.answers(self.of_b)), before + 1)
                self.assertEqual(message.notification_ids.notification_status, "sent")
                incoming.active = False

    def test_sending_and_fetching_the_same_mailbox_makes_no_loop(self):
        kevin = self.env["res.partner"].create({"name": "Kevin", "email": "kevin@b.com"})
        self.of_b.message_subscribe(kevin.ids)
        self.post(self.of_b, self.ziying)
        messages = len(self.of_b.message_ids)
        for _round in range(3):
            self.fetch()
            self.run_queue()
        self.assertEqual(len(self.of_b.message_ids), messages)
        self.assertEqual(len(self.provider_b.mails), 2)  # the customer's, and Kevin's copy

    def test_fetching_twice_doubles_nothing(self):
        self.post(self.of_b, self.ziying)
        message = self.answer(self.provider_b, self.one_mail(self.provider_b))
        self.fetch()
        self.receive(self.provider_b, message)
        self.fetch()
        self.assertEqual(len(self.answers(self.of_b)), 1)


@tagged("post_install", "-at_install")
class TestDeliveryReports(IncomingCase):
    REPORT = (
        "From: {sender}\r\nTo: {to}\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
        "Message-ID: <report@provider.example>\r\nAuto-Submitted: auto-replied\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="x"\r\n\r\n'
        "--x\r\nContent-Type: text/plain\r\n\r\nNo such user.\r\n"
        "--x\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; provider.example\r\n\r\n"
        "Final-Recipient: rfc822; {customer}\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        "--x\r\nContent-Type: message/rfc822\r\n\r\n{original}\r\n--x--\r\n"
    )

    def report(self, provider, mail, to):
        raw = self.REPORT.format(
            sender="MAILER-DAEMON@provider.example",
            to=to,
            customer=CUSTOMER,
            original=mail.data.decode("ascii", "replace"),
        )
        self.assertTrue(provider.deliver(to, raw.encode()))

    def test_in_the_login_mailbox(self):
        self.server_b.sender_policy = "login"
        message = self.post(self.of_b, self.ziying)
        mail = self.one_mail(self.provider_b)
        self.assertEqual(mail.mail_from, "kevin@b.com")
        self.report(self.provider_b, mail, mail.mail_from)
        self.fetch()
        self.assertEqual(message.notification_ids.notification_status, "bounce")
        self.assertFalse(self.unprocessed())

    def test_at_every_domains_bounce_address(self):
        message = self.post(self.of_a, self.ziying)
        mail = self.one_mail(self.provider_a)
        self.a.alias_domain_id.bounce_alias = "returned"
        self.report(self.provider_a, mail, "returned@a.com")
        self.fetch()
        self.assertEqual(message.notification_ids.notification_status, "bounce")

    def test_a_plain_mail_to_a_bounce_address_is_no_answer(self):
        self.a.alias_domain_id.bounce_alias = "returned"
        self.write_to(self.provider_a, "returned@a.com")
        self.fetch()
        self.assertFalse(self.unprocessed())
        self.run_queue()
        self.assertFalse(self.provider_a.mails)


@tagged("post_install", "-at_install")
class TestNewMail(IncomingCase):
    def lead(self):
        if "crm.lead" not in self.env:
            self.skipTest("needs crm")
        return self.env["crm.lead"].search([("name", "=", "Enquiry")])

    def make_alias(self, **values):
        return self.env["mail.alias"].create(
            {
                "alias_name": "sales",
                "alias_model_id": self.env["ir.model"]._get_id("crm.lead"),
                "alias_contact": "everyone",
                **values,
            }
        )

    def test_an_alias_creates_in_the_company_of_the_domain(self):
        self.lead()
        self.make_alias()
        self.provider_b.add_account("sales@b.com", "secret")
        self.incoming_server(self.provider_b, "sales@b.com")
        self.write_to(self.provider_b, "sales@b.com")
        self.fetch()
        self.assertEqual(self.lead().company_id, self.b)
        self.lead().unlink()
        self.write_to(self.provider_a, "sales@a.com")
        self.fetch()
        self.assertEqual(self.lead().company_id, self.a)

    def test_a_mailbox_that_creates_records_creates_in_its_company(self):
        self.lead()
        self.mailbox_b.object_id = self.env["ir.model"]._get("crm.lead")
        self.write_to(self.provider_b, "kevin@b.com")
        self.fetch()
        self.assertEqual(self.lead().company_id, self.b)

    def test_an_owner_who_is_not_in_the_company(self):
        self.lead()
        stranger = self.lingsha  # of the main company alone
        self.make_alias(alias_user_id=stranger.id)
        self.provider_b.add_account("sales@b.com", "secret")
        self.incoming_server(self.provider_b, "sales@b.com", company_id=self.b.id)
        self.write_to(self.provider_b, "sales@b.com")
        self.fetch()
        self.assertEqual(len(self.lead()), 1, self.unprocessed().mapped("reason"))

    @mute_logger(*QUIET)
    def test_a_reply_address_is_refused_in_the_companys_name(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "answers"})
        self.incoming_server(self.provider_b, "answers@b.com", company_id=self.b.id)
        self.write_to(self.provider_b, "answers@b.com")
        self.fetch()
        self.assertFalse(self.unprocessed())
        refusal = self.one_mail(self.provider_b)
        self.assertEqual(refusal.rcpt_tos, (CUSTOMER,))
        self.assertFalse(self.provider_a.mails)
        self.assertEqual(refusal.message["Auto-Submitted"], "auto-replied")

    @mute_logger(*QUIET)
    def test_a_domains_catchall_is_refused_in_the_companys_name(self):
        self.a.alias_domain_id.catchall_alias = "answers"
        self.write_to(self.provider_a, "answers@a.com")
        self.fetch()
        refusal = self.one_mail(self.provider_a)
        self.assertEqual(refusal.header_from, "bounce@a.com")
        self.assertFalse(self.unprocessed())

    @mute_logger(*QUIET)
    def test_robots_are_not_refused_and_refusals_are_not_answered(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "answers"})
        self.incoming_server(self.provider_b, "answers@b.com", company_id=self.b.id)
        self.write_to(self.provider_b, "answers@b.com", Auto_Submitted="auto-replied")
        self.fetch()
        self.assertFalse(self.provider_b.mails)
        # the mailbox writes to itself: the refusal is fetched again, and that is the end of it
        self.write_to(self.provider_b, "answers@b.com", sender="answers@b.com")
        for _round in range(3):
            self.fetch()
            self.run_queue()
        self.assertEqual(len(self.provider_b.mails), 1)
        self.assertFalse(self.unprocessed())

    def test_allowed_domains_include_the_alias_domains(self):
        self.lead()
        self.make_alias()
        self.env["ir.config_parameter"].set_param(
            "mail.catchall.domain.allowed", "odoomommy.com,other.com"
        )
        self.write_to(self.provider_a, "sales@a.com")
        self.fetch()
        self.assertEqual(len(self.lead()), 1)


@tagged("post_install", "-at_install")
class TestUnprocessed(IncomingCase):
    @mute_logger(*QUIET)
    def test_an_unknown_address_is_kept_with_its_reason(self):
        self.write_to(self.provider_a, "nobody@a.com", "Enquiry")
        self.fetch()
        kept = self.unprocessed()
        self.assertEqual(kept.subject, "Enquiry")
        self.assertIn(CUSTOMER, kept.email_from)
        self.assertEqual(kept.fetchmail_server_id, self.mailbox_a)
        self.assertEqual(kept.company_id, self.a)
        self.assertIn("No possible route", kept.reason)
        self.assertIn(b"What does it cost?", base64.b64decode(kept.raw))

    @mute_logger(*QUIET)
    def test_retry_once_the_cause_is_mended(self):
        self.write_to(self.provider_a, "nobody@a.com", "Enquiry 1")
        self.write_to(self.provider_a, "nobody@a.com", "Enquiry 2")
        self.fetch()
        kept = self.unprocessed()
        self.assertEqual(len(kept), 2)
        result = kept[0].action_retry()
        self.assertEqual(result["params"]["type"], "warning")
        self.assertEqual(kept[0].tries, 2)
        self.env["mail.alias"].create(
            {
                "alias_name": "nobody",
                "alias_model_id": self.env["ir.model"]._get_id("mail.channel"),
                "alias_contact": "everyone",
            }
        )
        result = kept.action_retry()
        self.assertEqual(result["params"]["type"], "success")
        self.assertFalse(self.unprocessed())
        self.assertEqual(self.env["mail.channel"].search_count([("name", "like", "Enquiry")]), 2)

    @mute_logger(*QUIET, "odoo.sql_db")
    def test_a_message_that_breaks_odoo_does_not_stop_the_ones_behind_it(self):
        self.post(self.of_a, self.ziying)
        self.post(self.of_b, self.ziying)
        self.write_to(self.provider_a, "kevin@a.com", "Poison")
        self.answer(self.provider_a, self.one_mail(self.provider_a))
        self.answer(self.provider_b, self.one_mail(self.provider_b))
        native = type(self.env["mail.thread"]).message_parse

        def broken(thread, message, *args, **kwargs):
            if message["Subject"] == "Poison":
                thread.env.cr.execute("SELECT broken FROM nowhere")
            return native(thread, message, *args, **kwargs)

        self.patch(type(self.env["mail.thread"]), "message_parse", broken)
        self.fetch()
        self.assertEqual(self.unprocessed().mapped("subject"), ["Poison"])
        self.assertEqual(len(self.answers(self.of_a)), 1)
        self.assertEqual(len(self.answers(self.of_b)), 1)

    @mute_logger(*QUIET)
    def test_untouched_too(self):
        self.env["mail.alias.domain"].search([]).company_ids.write({"alias_domain_id": False})
        (self.a + self.b).write(
            {
                "alias_domain_id": False,
                "email_from_by_company": False,
                "mail_server_by_domain": False,
            }
        )
        self.env["mail.alias.domain"].search([]).unlink()
        (self.server_a + self.server_b).company_id = False
        self.assertFalse(self.env["mail.routing"]._is_active())
        self.write_to(self.provider_a, "kevin@a.com")
        self.fetch()
        self.assertEqual(len(self.unprocessed()), 1)

    @mute_logger(*QUIET)
    def test_a_mailbox_that_hangs_holds_the_others_up_for_its_time_out_only(self):
        self.post(self.of_b, self.ziying)
        self.answer(self.provider_b, self.one_mail(self.provider_b))
        with socket.create_server(("127.0.0.1", 0)) as silent:
            self.mailbox_a.write({"port": silent.getsockname()[1], "priority": 1})
            timeout = "odoo.addons.mail_company_routing.models.fetchmail_server.MAIL_TIMEOUT"
            started = time.monotonic()
            with patch(timeout, 1):
                self.fetch()
            self.assertLess(time.monotonic() - started, 10)
        self.assertEqual(len(self.answers(self.of_b)), 1)

    def test_only_administrators_see_it(self):
        from odoo.exceptions import AccessError

        with self.assertRaises(AccessError):
            self.env["mail.unprocessed"].with_user(self.ziying).search([])
