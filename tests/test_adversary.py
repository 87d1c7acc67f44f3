# SPDX-License-Identifier: LGPL-3.0-only
"""Whoever has a login and means harm: what a call can bring along, and what it may tell."""

from unittest.mock import patch

from odoo import Command
from odoo.exceptions import AccessError, UserError, ValidationError
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


@tagged("post_install", "-at_install")
class TestForgedRecords(AdversaryCase):
    """What an ordinary user may make natively, with somebody else's in it."""

    def failed(self):
        """Give a mail of A that failed with A's words, and its notification."""
        message = self.post(self.of_a, self.ziying)
        notification = message.notification_ids.filtered(
            lambda one: one.notification_type == "email"
        )
        mail = self.env["mail.mail"].create(
            {"mail_message_id": message.id, "state": "exception", "failure_reason": "SECRET of A"}
        )
        notification.sudo().write(
            {
                "mail_mail_id": mail.id,
                "notification_status": "exception",
                "failure_reason": "SECRET of A",
            }
        )
        return mail

    def forge(self, mail, **values):
        """Make a notification of Bob's own message that names the mail."""
        message = self.env["mail.message"].with_user(self.bob).create({"body": "mine"})
        return (
            self.env["mail.notification"]
            .with_user(self.bob)
            .create(
                {
                    "mail_message_id": message.id,
                    "res_partner_id": self.bob.partner_id.id,
                    "notification_type": "email",
                    "mail_mail_id": mail.id,
                    **values,
                }
            )
        )

    def test_a_notification_that_names_somebody_elses_mail(self):
        mail = self.failed()
        own = self.forge(mail, notification_status="exception", failure_type="unknown")
        self.assertNotIn("SECRET", own.format_failure_reason())
        mail.write({"state": "outgoing", "next_try": "2099-01-01 00:00:00"})
        own.sudo().notification_status = "ready"
        own.invalidate_recordset()
        (row,) = own._notification_format()
        self.assertFalse(row.get("waiting_reason"))

    def test_it_hides_no_mail_and_retries_none(self):
        mail = self.failed()
        mail.mail_message_id.notification_ids.sudo().mail_mail_id = False
        own = self.forge(mail, notification_status="exception", failure_type="unknown")
        self.env.flush_all()
        rows = self.env["mail.sent"].search([("mail_id", "=", mail.id)])
        self.assertIn(mail.mail_message_id, rows.message_id)
        forged = rows.filtered(lambda row: row.message_id == own.mail_message_id)
        self.assertFalse(forged._failed_mails())

    def test_what_a_notification_of_a_document_tells(self):
        """The name and the address for answers of a document that he may not read."""
        secret = self.env["res.company"].search([("id", "not in", self.bob.company_ids.ids)])[0]
        secret.name = "SECRET"
        for records, told in (
            (self.env["mail.thread"], {"model": "res.partner", "res_id": self.of_a.id}),
            (self.of_a, {}),
        ):
            message = records.with_user(self.bob).message_notify(
                partner_ids=self.bob.partner_id.ids, body="x", **told
            )
            self.assertNotIn(self.of_a.name, message.reply_to or "")
            self.assertNotIn("a.com", message.reply_to or "")
        message = self.of_b.with_user(self.bob).message_notify(
            partner_ids=self.bob.partner_id.ids, body="x"
        )
        self.assertIn("b.com", message.reply_to)

    def test_whose_a_document_is_counts_though_he_may_not_read_it(self):
        """A lead that its salesman has just given to somebody else is still B's."""
        self.bob.write(
            {
                "company_ids": [Command.link(self.a.id)],
                "company_id": self.a.id,
                "groups_id": [Command.link(self.env.ref("sales_team.group_sale_salesman").id)],
            }
        )
        lead = self.env["crm.lead"].create(
            {"name": "Lead", "company_id": self.b.id, "user_id": self.ziying.id}
        )
        message = lead.with_user(self.bob).message_notify(
            partner_ids=self.ziying.partner_id.ids, body="yours"
        )
        self.assertIn("@b.com", message.reply_to)
        self.assertNotIn("Lead", message.reply_to)

    def test_a_document_without_a_chatter(self):
        """Native notifies of any model's records: of mails that wait in a group, for one."""
        for user in (self.env.user, self.bob):
            message = (
                self.env["mail.thread"]
                .with_user(user)
                .message_notify(
                    model="res.country",
                    res_id=self.env.ref("base.cn").id,
                    partner_ids=self.ziying.partner_id.ids,
                    body="x",
                )
            )
            self.assertTrue(message.reply_to)

    def test_whoever_calls_the_queue_logs_in_nowhere(self):
        mail = self.mail(author=self.ziying)
        mail.mail_message_id.record_company_id = self.a
        mails = self.env["mail.mail"].with_user(self.bob)
        with self.assertRaises(AccessError):
            mails.process_email_queue()
        for auto_commit in (False, True):
            with self.assertRaises(AccessError):
                mails.browse(mail.id).send(auto_commit=auto_commit)
        self.assertFalse(self.provider_a.sessions)

    def test_another_companys_server(self):
        """A mailing, and a template: both are sent by the superuser."""
        composer = self.env["mail.compose.message"].with_user(self.bob)
        composer.with_context(active_ids=self.of_b.ids).create(
            {
                "model": "res.partner",
                "composition_mode": "mass_mail",
                "subject": "Elsewhere",
                "body": "<p>Hello</p>",
                "mail_server_id": self.server_a.id,
            }
        )._action_send_mail()
        mail = self.env["mail.mail"].search([("subject", "=", "Elsewhere")])
        self.assertFalse(mail.mail_server_id)
        template = self.template.with_user(self.bob)
        with self.assertRaises(AccessError):
            template.create({"name": "x", "mail_server_id": self.server_a.id})
        with self.assertRaises(AccessError):
            template.with_context(default_mail_server_id=self.server_a.id).create({"name": "x"})
        own = template.create({"name": "x", "mail_server_id": self.server_b.id})
        with self.assertRaises(AccessError):
            own.mail_server_id = self.server_a.id

    def test_the_aliases_of_other_companies(self):
        for user in (self.bob, new_test_user(self.env, "portal_c", groups="base.group_portal")):
            with self.assertRaises(AccessError):
                self.env["mail.alias.move"].with_user(user).onchange(
                    {"company_id": self.a.id, "alias_domain_id": self.a.alias_domain_id.id},
                    [],
                    {
                        "company_id": "1",
                        "alias_domain_id": "1",
                        "line_ids": "",
                        "line_ids.address": "",
                        "line_ids.problem": "",
                    },
                )

    def test_no_refusal_is_prevented(self):
        """Only refusals of ours count as such."""
        for _number in range(25):
            self.mail(
                author=self.bob,
                email_to="victim@example.net",
                headers="{'X-Odoo-Routing-Refusal': 'x'}",
            )
        refused = self.env["mail.mail"]._is_refused_enough("victim@example.net", None)
        self.assertFalse(refused)


@tagged("post_install", "-at_install")
class TestForgedAliases(AdversaryCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bob.groups_id += cls.env.ref("sales_team.group_sale_manager")
        cls.teams = cls.env["crm.team"].with_user(cls.bob)
        cls.lead_model = cls.env["ir.model"]._get_id("crm.lead")

    def test_an_address_in_another_companys_domain(self):
        lead = self.env["crm.lead"].create({"name": "L", "company_id": self.a.id})
        for number, values in enumerate(
            (
                {"alias_defaults": repr({"company_id": self.a.id})},
                {"alias_force_thread_id": lead.id, "alias_model_id": self.lead_model},
                {"alias_domain_id": self.a.alias_domain_id.id},
            )
        ):
            values = {"name": "T", "alias_name": f"ceo{number}", "company_id": False, **values}
            savepoint = self.env.cr.savepoint()
            try:
                team = self.teams.create(values)
            except (AccessError, ValidationError):
                savepoint.close(rollback=True)
                continue
            self.assertEqual(team.sudo().alias_domain, "b.com", values)
            savepoint.close(rollback=True)

    def test_any_domain(self):
        for context, values in (
            ({}, {"alias_incoming_local": True}),
            ({"default_alias_incoming_local": True}, {}),
        ):
            team = self.teams.with_context(**context).create(
                {"name": "T", "alias_name": "office", **values}
            )
            self.assertFalse(team.sudo().alias_id.alias_incoming_local)
            team.sudo().alias_name = False

    def test_the_address_of_answers_to_others(self):
        self.a.write({"reply_to_by_company": True, "reply_to_prefix": "info"})
        for name in ("info", "catchall"):
            with self.assertRaises(UserError):
                self.teams.create({"name": "T", "alias_name": name, "alias_domain_id": False})
        team = self.teams.create({"name": "T", "alias_name": "info"})
        self.assertEqual(team.sudo().alias_id.alias_full_name, "info@b.com")
        with self.assertRaises(UserError):
            team.alias_domain_id = False

    def test_what_stays_as_it_is_may_be_written_again(self):
        """CRM's own alias, as databases have it; its team writes the name anew with each option."""
        self.a.write({"reply_to_by_company": True, "reply_to_prefix": "answers"})
        team = self.env["crm.team"].create({"name": "Sales", "company_id": False})
        team.alias_id.write({"alias_domain_id": False, "alias_name": "answers"})
        mine = self.teams.browse(team.id)
        mine.use_leads = not team.use_leads
        mine.write({"alias_name": "answers"})
        mine.write({"alias_id": team.alias_id.id})
        with self.assertRaises(UserError):
            mine.write({"alias_name": "catchall"})

    def test_an_alias_that_another_record_has(self):
        of_a = self.env["crm.team"].create({"name": "A", "alias_name": "a", "company_id": False})
        of_a.alias_id.alias_domain_id = self.a.alias_domain_id
        team = self.teams.create({"name": "T", "alias_name": "mine"})
        with self.assertRaises(AccessError):
            team.alias_id = of_a.alias_id
        with self.assertRaises(AccessError):
            self.teams.browse(of_a.id).alias_domain_id = self.b.alias_domain_id
