# SPDX-License-Identifier: LGPL-3.0-only
"""The answer finds its way home, in the company that it belongs to, and nothing is lost."""

import base64
import socket
from email.message import EmailMessage
from email.utils import make_msgid
from unittest.mock import patch

from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tests.common import new_test_user
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
        self.server_a.write({"smtp_port": self.provider_a.smtp_port, "from_filter": False})
        self.server_b.write({"smtp_port": self.provider_b.smtp_port, "from_filter": False})
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

    def report(self, provider, mail, to, sender="MAILER-DAEMON@provider.example"):
        raw = self.REPORT.format(
            sender=sender,
            to=to,
            customer=CUSTOMER,
            original=mail.data.decode("ascii", "replace"),
        )
        self.assertTrue(provider.deliver(to, raw.encode()))

    @mute_logger(*QUIET)
    def test_at_a_reply_address_that_is_a_login_too(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "service"})
        self.provider_b.add_account("service@b.com", "secret")
        self.incoming_server(self.provider_b, "service@b.com", company_id=self.b.id)
        self.server_b.write({"sender_policy": "login", "smtp_user": "service@b.com"})
        self.assertEqual(self.server_b.sender_address, "service@b.com")
        message = self.post(self.of_b, self.ziying)
        mail = self.one_mail(self.provider_b)
        self.assertEqual((mail.mail_from, mail.reply_to), ("service@b.com", "service@b.com"))
        self.provider_b.clear()
        for sender in ("MAILER-DAEMON@mail.b.com", "reports@mail.b.com"):
            message.sudo().notification_ids.notification_status = "sent"
            self.report(self.provider_b, mail, "service@b.com", sender)
            self.fetch()
            self.run_queue()
            self.assertEqual(message.notification_ids.notification_status, "bounce")
        self.assertFalse(self.answers(self.of_b))
        self.assertFalse(self.provider_b.mails, "a report was answered")
        self.assertFalse(self.unprocessed())

    @mute_logger(*QUIET)
    def test_one_that_comes_again_counts_once(self):
        self.post(self.of_a, self.ziying)
        mail = self.one_mail(self.provider_a)
        before = self.customer.message_bounce
        for _time in range(2):
            self.report(self.provider_a, mail, "catchall@a.com")
            self.fetch()
        self.assertEqual(self.customer.message_bounce, before + 1)

    @mute_logger(*QUIET)
    def test_at_a_catchall_address(self):
        message = self.post(self.of_a, self.ziying)
        mail = self.one_mail(self.provider_a)
        self.assertEqual(mail.reply_to, "catchall@a.com")
        self.provider_a.clear()
        self.report(self.provider_a, mail, "catchall@a.com", "reports@mail.a.com")
        self.fetch()
        self.run_queue()
        self.assertEqual(message.notification_ids.notification_status, "bounce")
        self.assertFalse(self.provider_a.mails, "a report was answered")
        self.assertFalse(self.unprocessed())

    def test_a_receipt_is_no_failure(self):
        message = self.post(self.of_b, self.ziying)
        mail = self.one_mail(self.provider_b)
        raw = (
            f"From: {CUSTOMER}\r\nTo: kevin@b.com\r\nSubject: Read\r\n"
            f"In-Reply-To: {mail.message['Message-Id']}\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/report; report-type=disposition-notification; boundary="x"'
            "\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nRead.\r\n"
            "--x\r\nContent-Type: message/disposition-notification\r\n\r\n"
            f"Final-Recipient: rfc822; {CUSTOMER}\r\n\r\n--x--\r\n"
        )
        self.provider_b.deliver("kevin@b.com", raw.encode())
        self.fetch()
        self.assertEqual(message.notification_ids.notification_status, "sent")
        self.assertFalse(self.answers(self.of_b))

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
class TestNotesOfNonDelivery(IncomingCase):
    """What Chinese providers send instead of a report: a letter to people."""

    TEXT = (
        "很抱歉您发送的邮件被退回，以下是该邮件的相关信息：\n"
        "被退回邮件 主题：{subject}\n收件人：{customer}\n退信原因：收件人邮箱不存在。\n{more}"
    )

    def setUp(self):
        super().setUp()
        self.message = self.post(self.of_b, self.ziying, subject="Your quotation of Monday")
        self.mail = self.one_mail(self.provider_b)
        self.provider_b.clear()

    def note(self, sender="PostMaster@qq.com", text=None, refers=False, **headers):
        note = EmailMessage()
        note["From"] = sender
        note["To"] = self.mail.reply_to
        note["Subject"] = headers.pop("Subject", "系统退信/Systems bounce")
        note["Message-ID"] = make_msgid(domain="qq.com")
        if refers:
            note["In-Reply-To"] = str(self.mail.message["Message-Id"])
        for name, value in headers.items():
            note[name.replace("_", "-")] = value
        note.set_content(text if text is not None else self.text())
        self.provider_b.deliver("kevin@b.com", note.as_bytes())
        self.fetch()
        self.run_queue()

    def text(self, subject="Your quotation of Monday", customer=CUSTOMER, more=""):
        return self.TEXT.format(subject=subject, customer=customer, more=more)

    def assertBounced(self, expected=True):
        self.assertEqual(
            self.message.notification_ids.notification_status, "bounce" if expected else "sent"
        )
        self.assertFalse(self.answers_of_anybody(), "it stands on the document")
        self.assertFalse(self.provider_b.mails, "it was answered")
        self.assertEqual(len(self.unprocessed()), 0 if expected else 1)

    def answers_of_anybody(self):
        return self.of_b.message_ids.filtered(lambda m: m.message_type == "email")

    def test_by_what_it_answers(self):
        self.note(text="退信", refers=True)
        self.assertBounced()

    def test_by_its_recipient_and_subject(self):
        self.post(self.of_b, self.ziying, subject="Another letter")
        self.provider_b.clear()
        self.note()
        self.assertBounced()

    def test_by_the_message_id_in_its_text(self):
        self.note("Postmaster@163.com", text=f"退信 {self.mail.message['Message-Id']}")
        self.assertBounced()

    def test_of_a_mailer_daemon(self):
        self.note("MAILER-DAEMON@aliyun.com", refers=True)
        self.assertBounced()

    def test_with_failed_recipients(self):
        text = f"This is a copy of the message.\nMessage-Id: {self.mail.message['Message-Id']}"
        self.note("system@qq.com", text=text, X_Failed_Recipients=CUSTOMER, Return_Path="<>")
        self.assertBounced()

    def test_with_a_null_return_path(self):
        self.note("noreply@qq.com", text="退信", refers=True, Return_Path="<>", Subject="通知")
        self.assertBounced()
        # and where the sender alone says nothing, its subject does
        self.message.sudo().notification_ids.notification_status = "sent"
        self.note("noreply@qq.com", Return_Path="<>")
        self.assertBounced()

    def test_the_right_one_of_several_recipients(self):
        other = self.env["res.partner"].create({"name": "Other", "email": "other@example.net"})
        self.message = self.post(
            self.of_b, self.ziying, to=self.customer + other, subject="To both"
        )
        self.mail = self.provider_b.mails[0]
        self.provider_b.clear()
        self.note(text=self.text("To both", "other@example.net"), refers=True)
        status = {
            notification.res_partner_id: notification.notification_status
            for notification in self.message.notification_ids
        }
        self.assertEqual(status, {self.customer: "sent", other: "bounce"})

    @mute_logger(*QUIET)
    def test_a_doubtful_one_is_kept(self):
        self.note(text="一封邮件被退回。")
        self.assertBounced(False)
        self.assertIn("did not arrive", self.unprocessed().reason)

    @mute_logger(*QUIET)
    def test_of_two_mails_to_one_address_none_is_guessed(self):
        self.post(self.of_b, self.ziying, subject="Another letter")
        self.provider_b.clear()
        self.note(text=self.text(subject="（无）"))
        self.assertBounced(False)

    @mute_logger(*QUIET)
    def test_of_an_address_we_did_not_write_to(self):
        self.note(text=self.text(customer="stranger@example.net"))
        self.assertBounced(False)

    @mute_logger(*QUIET)
    def test_a_stranger_who_knows_the_address_alone(self):
        self.note("evil@example.org", text=self.text("x"), X_Failed_Recipients=CUSTOMER)
        self.assertBounced(False)
        for sender in ("postmaster@example.org", "mailer-daemon@example.org", "evil@example.org"):
            self.unprocessed().unlink()
            self.note(sender, text=self.text("x"), Return_Path="<>")
            self.assertBounced(False)

    @mute_logger(*QUIET)
    def test_a_stranger_who_tries_subjects_out(self):
        self.message = self.post(self.of_b, self.ziying, subject="Quotation S00042 of B")
        self.provider_b.clear()
        guesses = "\n".join(f"Quotation S{number:05} of B" for number in range(1, 4000))
        for text in (f"{CUSTOMER}\n{guesses}", self.text(guesses[: 23 * 60])):
            self.note("postmaster@example.org", text=text)
            self.assertBounced(False)
            self.unprocessed().unlink()
        self.note(text=self.text("Quotation S00042 of B"))
        self.assertBounced()

    @mute_logger(*QUIET)
    def test_another_companys_mailbox_tells_nothing(self):
        self.message = self.post(self.of_a, self.ziying, subject="Quotation of A")
        self.note(text=self.text("Quotation of A"))
        self.assertBounced(False)

    def test_a_holiday_note_is_an_answer(self):
        for headers in (
            {"Auto_Submitted": "auto-replied"},
            {"Auto_Submitted": "auto-generated", "X_Auto_Response_Suppress": "All"},
            {},
        ):
            before = len(self.answers_of_anybody())
            self.note(
                CUSTOMER, text="休假", refers=True, Return_Path="<>", Subject="自动回复", **headers
            )
            self.assertEqual(len(self.answers_of_anybody()), before + 1)
        self.assertEqual(self.message.notification_ids.notification_status, "sent")
        self.assertFalse(self.unprocessed())

    @mute_logger(*QUIET)
    def test_a_robot_of_the_customer_says_nothing_of_a_failure(self):
        self.note(
            "tickets@example.net", text="Ticket 17", refers=True, Return_Path="<>", Subject="Got it"
        )
        self.assertBounced(False)

    def test_a_customer_who_is_a_postmaster(self):
        self.customer.email = "postmaster@small.example"
        self.message = self.post(self.of_b, self.ziying)
        self.mail = self.one_mail(self.provider_b)
        self.provider_b.clear()
        self.note("postmaster@small.example", text="We agree.", refers=True, Subject="Re: x")
        self.assertEqual(len(self.answers_of_anybody()), 1)
        self.assertEqual(self.message.notification_ids.notification_status, "sent")


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
        self.assertEqual(self.lead().company_id, self.b)
        self.assertEqual(self.lead().message_ids.record_company_id, self.b)

    def test_a_sender_who_is_not_in_the_company(self):
        self.lead()
        self.make_alias()
        self.provider_b.add_account("sales@b.com", "secret")
        self.incoming_server(self.provider_b, "sales@b.com")
        of_a = new_test_user(self.env, "of_a", groups="base.group_user", email="of_a@a.com")
        of_a.write({"company_ids": [(6, 0, self.a.ids)], "company_id": self.a.id})
        card = self.env["res.partner"].create(
            {"name": "Card of A", "email": "card@example.net", "company_id": self.a.id}
        )
        of_both = self.ziying.partner_id  # at home in A
        for sender in (of_a.email, card.email, of_both.email, "nobody@example.net"):
            with self.subTest(sender):
                self.write_to(self.provider_b, "sales@b.com", sender=sender)
                self.fetch()
                self.assertEqual(
                    self.lead().company_id, self.b, self.unprocessed().mapped("reason")
                )
                self.assertEqual(set(self.lead().message_ids.record_company_id.ids), {self.b.id})
                self.lead().unlink()
        self.assertEqual(of_a.company_ids, self.a)

    def test_a_gateway_user_who_is_not_in_the_company(self):
        self.lead()
        self.make_alias()
        gate = new_test_user(self.env, "gate", groups="base.group_user", email="gate@x.com")
        gate.write({"company_ids": [(6, 0, self.company.ids)], "company_id": self.company.id})
        message = EmailMessage()
        message["From"], message["To"] = CUSTOMER, "sales@b.com"
        message["Subject"], message["Message-ID"] = "Enquiry", make_msgid()
        self.env["mail.thread"].with_user(gate).message_process(False, message.as_bytes())
        self.assertEqual(self.lead().company_id, self.b)
        self.assertEqual(gate.company_ids, self.company)

    def test_any_model_that_has_a_company(self):
        alias = self.env["mail.alias"].create(
            {
                "alias_name": "cards",
                "alias_model_id": self.env["ir.model"]._get_id("res.partner"),
                "alias_contact": "everyone",
                "alias_user_id": self.lingsha.id,
            }
        )
        self.write_to(self.provider_b, "kevin@b.com", Cc="cards@b.com")
        self.fetch()
        record = self.env["res.partner"].search([("name", "=", "Enquiry")])
        self.assertEqual(record.company_id, self.b)
        record.unlink()
        # an alias that names a company has decided
        alias.alias_defaults = {"company_id": self.a.id}
        self.write_to(self.provider_b, "kevin@b.com", Cc="cards@b.com")
        self.fetch()
        record = self.env["res.partner"].search([("name", "=", "Enquiry")])
        self.assertEqual(record.company_id, self.a)

    def test_a_team_keeps_its_leads_in_its_company(self):
        self.lead()
        team = self.env["crm.team"].create({"name": "Team of A", "company_id": self.a.id})
        self.make_alias(alias_defaults={"team_id": team.id})
        self.write_to(self.provider_b, "kevin@b.com", Cc="sales@b.com")
        self.fetch()
        self.assertEqual(self.lead().company_id, self.a)

    def test_a_mail_to_two_companies_is_the_mailboxs_then_the_first_recipients(self):
        self.lead()
        self.make_alias()
        self.mailbox_b.company_id = False
        for mailbox, to, cc, expected in (
            (self.mailbox_a, "sales@b.com", "sales@a.com", self.a),
            (self.mailbox_b, "sales@b.com", "sales@a.com", self.b),
            (self.mailbox_b, "x@y.com, sales@a.com", "sales@b.com", self.a),
        ):
            with self.subTest((mailbox.name, to, cc)):
                message = EmailMessage()
                message["Cc"], message["To"], message["From"] = cc, to, CUSTOMER
                message["Subject"], message["Message-ID"] = "Enquiry", make_msgid()
                provider = self.provider_a if mailbox == self.mailbox_a else self.provider_b
                provider.deliver(mailbox.user, message.as_bytes())
                self.fetch(mailbox)
                self.assertEqual(self.lead().company_id, expected)
                self.lead().unlink()

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
        self.assertEqual(refusal.mail_from, "bounce@a.com")
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

    @mute_logger(*QUIET)
    def test_a_refusal_leaves_in_the_companys_name_whoever_fetches(self):
        self.company.email, self.b.email = "main@odoomommy.com", "office@b.com"
        self.b.write(
            {
                "reply_to_by_company": True,
                "reply_to_prefix": "answers",
                "mail_server_by_domain": False,
            }
        )
        # everybody's mailbox: no rule names a company for a new record
        self.incoming_server(self.provider_b, "answers@b.com")
        self.server_b.sender_policy = "login"
        self.b.mail_server_by_reply_to = False
        self.b.mail_server_by_domain = True
        self.write_to(self.provider_b, "answers@b.com")
        self.fetch()
        refusal = self.one_mail(self.provider_b)
        self.assertEqual((refusal.mail_from, refusal.reply_to), ("kevin@b.com", "office@b.com"))
        self.assertFalse(self.provider_a.mails)

    @mute_logger(*QUIET)
    def test_nothing_automatic_is_refused(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "answers"})
        self.incoming_server(self.provider_b, "answers@b.com", company_id=self.b.id)
        for headers in (
            {"List_Id": "<news.example.net>"},
            {"List_Unsubscribe": "<mailto:x@y.com>"},
            {"Precedence": "bulk"},
            {"Precedence": "Junk"},
            {"Precedence": "list"},
            {"X_Auto_Response_Suppress": "All"},
            {"Auto_Submitted": "auto-generated (vacation)"},
            {"Return_Path": "<>"},
        ):
            self.write_to(self.provider_b, "answers@b.com", **headers)
        self.fetch()
        self.run_queue()
        self.assertFalse(self.provider_b.mails)
        self.assertFalse(self.unprocessed())

    @mute_logger(*QUIET)
    def test_nobody_gets_more_refusals_than_native_lets_loops_go_on(self):
        self.env["ir.config_parameter"].set_param("mail.gateway.loop.threshold", 3)
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "answers"})
        self.incoming_server(self.provider_b, "answers@b.com", company_id=self.b.id)
        for _number in range(6):
            self.write_to(self.provider_b, "answers@b.com")
        self.fetch()
        self.run_queue()
        self.assertEqual(len(self.provider_b.mails), 3)

    @mute_logger(*QUIET)
    def test_a_mail_that_is_fetched_twice_is_refused_once(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "answers"})
        self.incoming_server(self.provider_b, "answers@b.com", company_id=self.b.id)
        message = self.write_to(self.provider_b, "answers@b.com")
        self.receive(self.provider_b, message)
        self.fetch()
        self.run_queue()
        self.one_mail(self.provider_b)
        # what is refused no more counts no more
        self.env["mail.mail"]._gc_refusals()
        refusals = self.env["mail.mail"].search([("headers", "like", "Routing-Refusal")])
        self.assertEqual(len(refusals), 1)
        self.env.cr.execute("UPDATE mail_mail SET create_date = create_date - interval '1 day'")
        refusals.invalidate_recordset()
        self.env["mail.mail"]._gc_refusals()
        self.assertFalse(refusals.exists())

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
        self.assertIn("creates no records.", result["params"]["message"])
        self.assertNotIn("No possible route", result["params"]["message"], "that is in its form")
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

    @mute_logger(*QUIET)
    def test_retry_goes_by_the_mailbox_as_it_is_now(self):
        self.write_to(self.provider_a, "nobody@a.com", "Enquiry 1")
        self.fetch()
        kept = self.unprocessed()
        kept.action_retry()
        self.assertIn("creates no records", kept.reason)
        self.mailbox_a.object_id = self.env["ir.model"]._get("res.partner")
        self.mailbox_a.company_id = False
        kept.action_retry()
        self.assertFalse(self.unprocessed())
        self.assertTrue(self.env["res.partner"].search([("name", "=", "Enquiry 1")]))

    @mute_logger(*QUIET)
    def test_the_reason_is_in_the_readers_language(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        self.write_to(self.provider_a, "nobody@a.com", "Enquiry")
        self.fetch()
        kept = self.unprocessed()
        self.assertIn("Choose the document", kept.reason)
        told = kept.with_context(lang="zh_CN").reason
        self.assertIn("请选择", told)
        self.assertIn("No possible route", told, "Odoo's own words stay")

    @mute_logger(*QUIET)
    def test_what_it_says_is_shown(self):
        """So that it can be told whether it is an enquiry, without a program that reads mail."""
        self.write_to(self.provider_a, "nobody@a.com", "Enquiry")
        html = b"Content-Type: text/html; charset=utf-8\n\n<p>Was <b>kostet</b> es?</p>"
        strange = b"Content-Type: text/plain; charset=none-such\n\n\xff\xfe"
        for number, rest in enumerate((html, strange)):
            head = f"From: x@example.net\nTo: nobody@a.com\nMessage-Id: <{number}@example.net>\n"
            self.provider_a.deliver("kevin@a.com", head.encode() + rest)
        self.fetch()
        texts = self.unprocessed().sorted("id").mapped("preview")
        self.assertIn("What does it cost?", texts[0])
        self.assertEqual(texts[1], "Was *kostet* es?")
        self.assertEqual(len(texts), 3, "one that cannot be read is kept all the same")

    @mute_logger(*QUIET)
    def test_its_document_is_chosen(self):
        self.write_to(self.provider_a, "nobody@a.com", "Enquiry")
        self.fetch()
        kept = self.unprocessed()
        wizard = self.env["mail.unprocessed.choose"].create({"mail_ids": [(6, 0, kept.ids)]})
        with self.assertRaises(UserError):
            wizard.action_choose()
        wizard.document = self.of_a
        told = wizard.action_choose()["params"]
        self.assertEqual(told["type"], "success")
        (link,) = told["links"]
        self.assertEqual(link["label"], self.of_a.name)
        self.assertIn(f"id={self.of_a.id}&model=res.partner", link["url"])
        self.assertFalse(self.unprocessed())
        following = self.env.ref(told["next"])
        self.assertEqual((following.res_model, following.target), ("mail.unprocessed", "main"))
        message = self.of_a.message_ids[0]
        self.assertIn("What does it cost?", message.body)
        self.assertEqual(message.author_id, self.customer)

    @mute_logger(*QUIET)
    def test_a_lead_is_made_of_it(self):
        self.write_to(self.provider_a, "nobody@a.com", "Enquiry")
        self.fetch()
        kept = self.unprocessed()
        if "crm.lead" not in self.env:
            self.assertFalse(kept.can_become_lead)
            with self.assertRaises(AccessError):
                kept.action_make_lead()
            return
        self.assertTrue(kept.can_become_lead)
        told = kept.action_make_lead()["params"]
        self.assertIn("Enquiry", told["links"][0]["label"])
        lead = self.env["crm.lead"].search([("name", "=", "Enquiry")])
        self.assertEqual((lead.company_id, lead.email_normalized), (self.a, CUSTOMER))
        self.assertFalse(self.unprocessed())
        self.assertEqual((told["next"]["res_model"], told["next"]["res_id"]), (lead._name, lead.id))

    @mute_logger(*QUIET)
    def test_retry_sends_nothing_itself(self):
        self.provider_b.set_catch_all("b.com", "kevin@b.com")
        self.write_to(self.provider_b, "nobody@b.com", "Enquiry 1")
        self.fetch()
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "nobody"})
        self.unprocessed().action_retry()
        self.assertFalse(self.unprocessed())
        self.assertFalse(self.provider_b.mails, "it was sent in the request")
        self.run_queue()
        self.one_mail(self.provider_b)

    @mute_logger(*QUIET)
    def test_retry_is_the_administrators(self):

        self.write_to(self.provider_a, "nobody@a.com", "Enquiry 1")
        self.fetch()
        with self.assertRaises(AccessError):
            self.unprocessed().with_user(self.ziying).action_retry()

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
            with patch(timeout, 1):
                self.fetch()  # without a time-out this has no end
        self.assertEqual(len(self.answers(self.of_b)), 1)

    def test_only_administrators_see_it(self):

        with self.assertRaises(AccessError):
            self.env["mail.unprocessed"].with_user(self.ziying).search([])
