# SPDX-License-Identifier: LGPL-3.0-only
"""Whoever has a login and means harm: what a call can bring along, and what it may tell."""

from unittest.mock import patch

from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from .common import CUSTOMER
from .test_companies import TwoCompaniesCase

#: what JSON can hold
FORGED = ("x", 1, True, ["x"], [], {"x": 1}, {"server": {"id": 1}}, 1.5)
KEYS = (
    "mail_delivery",
    "mail_routing_probe",
    "mail_routing_author_id",
    "mail_invitation_stays",
    "mail_company_routing_fetching",
    "mail_company_routing_new_in_company",
    "mail_company_routing_send_later",
)
MAIL = "From: x@example.net\nTo: info@b.com\nSubject: x\nMessage-Id: <{}@example.net>\n\nHello"


class AdversaryCase(TwoCompaniesCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bob = new_test_user(
            cls.env, "bob", groups="base.group_user", name="Bob", email="bob@b.com",
            company_ids=[Command.set(cls.b.ids)], company_id=cls.b.id,
        )  # fmt: skip
        cls.template = cls.env["mail.template"].create(
            {
                "name": "Offer",
                "model_id": cls.env["ir.model"]._get_id("res.partner"),
                "subject": "Offer",
                "body_html": "<p>Offer</p>",
                "email_from": "bob@b.com",
                "email_to": CUSTOMER,
                "auto_delete": False,
            }
        )


@tagged("post_install", "-at_install")
class TestForgedContext(AdversaryCase):
    @mute_logger("odoo.sql_db")
    def test_values_of_any_type(self):
        problems = []
        for number, (key, value) in enumerate((k, v) for k in KEYS for v in FORGED):
            for what, work in self.works({key: value}, number):
                savepoint = self.env.cr.savepoint()
                try:
                    work()
                    self.env.flush_all()
                except Exception as error:
                    problems.append(f"{key}={value!r}, {what}: {error!r}")
                finally:
                    savepoint.close(rollback=True)
                    self.env.invalidate_all()
        self.assertFalse(problems, "\n".join(["", *problems]))
        self.assertFalse(self.provider_a.mails, "a mail of B left by A's server")

    def works(self, context, number):
        """List (what, function) of what a context goes through."""
        document = self.of_b.with_user(self.ziying).with_context(**context)
        sender = self.env["ir.mail_server"].with_context(**context)
        values = {"state": "exception", "failure_reason": "x"}
        failed = {"notification_status": "exception", "failure_reason": "x"}
        mail = self.mail(author=self.ziying).with_context(**context)
        mail.mail_message_id.record_company_id = self.b
        notification = self.env["mail.notification"].with_context(**context)
        return [
            ("posting", lambda: self.post(document, self.ziying)),
            ("the queue", mail.send),
            ("a failure", lambda: mail.write(values)),
            ("its notification", lambda: notification.search([], limit=1).write(failed)),
            ("no recipient", lambda: mail.write({"email_to": ""}) and mail.send()),
            ("a direct mail", lambda: self.send_directly(sender)),
            ("in its own session", lambda: self.send_directly(sender, self.server_b.id)),
            ("no sender", sender._get_default_from_address),
            ("a new record", lambda: self.new_record(context)),
            (
                "the gateway",
                lambda: (
                    self.env["mail.thread"]
                    .with_context(**context)
                    .message_process("res.partner", MAIL.format(number).encode())
                ),
            ),
        ]

    def send_directly(self, sender, server_id=None):
        message = sender.build_email("zy@b.com", [CUSTOMER], "Direct", "Hello")
        if not server_id:
            sender.send_email(message)
            return
        session = sender.connect(mail_server_id=server_id)
        try:
            sender.send_email(message, smtp_session=session)
        finally:
            session.quit()

    def new_record(self, context):
        values = {"subject": "x", "from": "x@example.net", "email_from": "x@example.net", "to": ""}
        partner = self.env["res.partner"].with_user(self.ziying).with_context(**context)
        self.assertFalse(partner.message_new(values).company_id, "a context gave it a company")

    def test_a_mailbox_that_is_none(self):
        thread = self.env["mail.thread"]
        for forged in ("x", True, ["x"], {"x": 1}, 1.5):
            forging = thread.with_context(default_fetchmail_server_id=forged)
            self.assertFalse(forging._fetching_company_id())


@tagged("post_install", "-at_install")
class TestWhoseMail(AdversaryCase):
    def assertOfB(self, **values):
        """Check that Bob's mail is B's, whatever his call brings along."""
        template = self.template.with_user(self.bob)
        for context, email_values in (
            ({f"default_{name}": value for name, value in values.items()}, None),
            ({}, values),
        ):
            template = template.with_context(**context)
            mail_id = template.send_mail(self.of_b.id, email_values=email_values)
            mail = self.env["mail.mail"].browse(mail_id)
            self.assertEqual(mail.record_company_id, self.b)
            self.assertEqual(mail.record_alias_domain_id, self.b.alias_domain_id)
        self.run_queue()
        self.assertEqual(len(self.provider_b.mails), 2)
        self.assertFalse(self.provider_a.sessions)

    def test_a_template_is_sent_for_no_other_company(self):
        self.assertOfB(
            record_company_id=self.a.id, record_alias_domain_id=self.a.alias_domain_id.id
        )

    def test_a_template_is_sent_about_no_document_of_others(self):
        for values in ({"res_id": self.of_a.id}, {"model": "res.company", "res_id": self.a.id}):
            with self.assertRaises(AccessError):
                self.template.with_user(self.bob).send_mail(self.of_b.id, email_values=values)

    def test_many_mails_at_once(self):
        composer = self.env["mail.compose.message"].with_user(self.bob)
        composer.with_context(default_record_company_id=self.a.id, active_ids=self.of_b.ids).create(
            {
                "model": "res.partner",
                "composition_mode": "mass_mail",
                "subject": "To many",
                "body": "<p>Hello</p>",
            }
        )._action_send_mail()
        mail = self.env["mail.mail"].search([("subject", "=", "To many")])
        self.assertEqual(mail.record_company_id, self.b)

    def test_the_name_of_a_document_that_is_not_his(self):
        composer = self.env["mail.compose.message"].with_user(self.bob)
        composer = composer.create(
            {
                "model": "res.partner",
                "res_id": self.of_b.id,
                "composition_mode": "mass_mail",
                "subject": "x",
                "body": "<p>Hello</p>",
            }
        )
        with self.assertRaises(AccessError):
            composer.get_mail_values(self.of_a.ids)
        reply_to = composer.get_mail_values(self.of_b.ids)[self.of_b.id]["reply_to"]
        self.assertIn("Quotation of B", reply_to)


@tagged("post_install", "-at_install")
class TestOracles(AdversaryCase):
    def test_the_route_from_afar(self):
        """Odoo joins messages and their notifications, and asks nobody about the last field."""
        self.post(self.of_b, self.ziying)
        portal = new_test_user(self.env, "portal_b", groups="base.group_portal")
        for user in (portal, self.bob):
            for model, name in (
                ("mail.message", "notification_ids.sent_mail_from"),
                ("mail.message", "notification_ids.sent_server_id"),
                ("mail.message", "child_ids.notification_ids.sent_server_name"),
                ("res.partner", "message_ids.notification_ids.sent_mail_from"),
            ):
                table = self.env[model].with_user(user)
                domain = ["|", ("id", "=", 0), (name, "=like", "b%")]
                for ask in (table.search, table.search_count):
                    with self.assertRaises(AccessError, msg=name):
                        ask(domain)
                with self.assertRaises(AccessError, msg=name):
                    table.read_group(domain, ["id"], ["id"])
        found = self.env["mail.message"].search(
            [("notification_ids.sent_mail_from", "=like", "b%")]
        )
        self.assertEqual(found.record_company_id, self.b)

    def test_by_order(self):
        table = self.env["mail.notification"].with_user(self.bob)
        for order in ("sent_mail_from", "id, sent_server_name desc"):
            with self.assertRaises(AccessError):
                table.search([], order=order)


@tagged("post_install", "-at_install")
class TestQueue(AdversaryCase):
    """One mail of which no route can be told takes no other along."""

    def work_off(self, mails):
        """Send as the queue does, in the test's transaction."""
        savepoint = self.env.cr.savepoint()
        rollbacks = []

        def rollback():
            rollbacks.append(True)
            self.env.flush_all()

        with (
            patch.object(self.env.cr, "commit", self.env.flush_all),
            patch.object(self.env.cr, "rollback", rollback),
        ):
            mails.send(auto_commit=True)
        savepoint.close(rollback=False)
        return rollbacks

    @mute_logger("odoo.addons.mail.models.mail_mail")
    def test_headers_that_are_no_headers(self):
        for headers in (
            "['return-path']",
            "{1: 'return-path'}",
            "{[]: 'return-path'}",
            "(" * 4000 + "'return-path'",
        ):
            self.provider_b.clear()
            mails = self.mail(author=self.bob, headers=headers) + self.mail(author=self.bob)
            mails[1].mail_message_id.record_company_id = self.b
            self.assertFalse(self.work_off(mails), headers[:20])
            self.assertEqual(mails[1].state, "sent", headers[:20])

    @mute_logger(
        "odoo.addons.mail.models.mail_mail",
        "odoo.addons.mail_company_routing.models.mail_mail",
    )
    def test_a_document_that_cannot_answer(self):
        broken = type(self.env["res.partner.category"])
        self.patch(broken, "_notify_get_reply_to", lambda self, default=None: 1 / 0)
        category = self.env["res.partner.category"].create({"name": "x"})
        document = {"model": category._name, "res_id": category.id, "reply_to": "x@y.example"}
        bad = self.mail(author=self.bob, **document)
        bad.reply_to = False
        good = [self.mail(author=self.bob) for _number in range(4)]
        mails = good[0] + good[1] + bad + good[2] + good[3]
        mails.mail_message_id.record_company_id = self.b
        self.work_off(mails)
        self.assertEqual(mails.mapped("state"), ["sent", "sent", "exception", "sent", "sent"])
        self.assertIn("division", bad.failure_reason)
        self.assertEqual(len(self.provider_b.mails), 4)
        bad.mark_outgoing()
        with self.assertRaises(ZeroDivisionError):
            self.work_off(bad)
        self.assertEqual(bad.state, "outgoing", "alone it may be anything: it waits")
