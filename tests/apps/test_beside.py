# SPDX-License-Identifier: LGPL-3.0-only
"""What fits beside another addon: each test is a line of docs/beside.md, by its docstring.

``make test-apps ARGS=--oca`` installs each of the addons in a database of its own and runs this.
"""

import unittest
from datetime import timedelta
from unittest.mock import patch

from odoo import Command, fields
from odoo.tests import tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from ..common import CUSTOMER, MailRoutingCase

BODY = "<p>Hello</p>"
QUIET = (
    "odoo.addons.base.models.ir_mail_server",
    "odoo.addons.mail.models.fetchmail",
    "odoo.addons.mail.models.mail_mail",
)


def only_with(module):
    """Run a case only where an addon is installed."""

    def decorate(case):
        set_up = case.setUpClass.__func__

        def set_up_class(cls):
            set_up(cls)
            found = cls.env["ir.module.module"]._get(module)
            if found.state != "installed":
                raise unittest.SkipTest(f"{module} is not installed")

        case.setUpClass = classmethod(set_up_class)
        return case

    return decorate


class BesideCase(MailRoutingCase):
    """A, at home to the queue, and B; Ziying works in both, Bob in B; open servers."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["ir.config_parameter"].set_param("mail.catchall.domain", False)
        # what commits as it goes keeps the test's transaction
        cls.startClassPatcher(patch.object(cls.cr, "commit", cls.env.flush_all))
        cls.a = cls.env.company
        cls.a.name = "A"
        cls.b = cls.env["res.company"].create({"name": "B"})
        for company in cls.a + cls.b:
            domain = cls.env["mail.alias.domain"].create(
                {"name": f"{company.name.lower()}.com", "company_id": company.id}
            )
            company.write(
                {
                    "alias_domain_id": domain.id,
                    "email_from_by_company": True,
                    "mail_server_by_domain": True,
                }
            )
        groups = "base.group_user,base.group_partner_manager"
        cls.ziying = new_test_user(
            cls.env,
            "ziying",
            groups=groups,
            name="Murong Ziying",
            email="zy@a.com",
            company_id=cls.a.id,
            company_ids=[Command.set((cls.a + cls.b).ids)],
        )
        cls.bob = new_test_user(
            cls.env,
            "bob",
            groups=groups,
            name="Bob",
            email="bob@b.com",
            company_id=cls.b.id,
            company_ids=[Command.set(cls.b.ids)],
        )
        cls.root = cls.env.ref("base.user_root")
        cls.quotation = cls.env["res.partner"].create({"name": "Quotation", "company_id": cls.b.id})

    def setUp(self):
        super().setUp()
        self.provider_a = self.provider({"kevin@a.com": "secret"}, "any")
        self.provider_b = self.provider({"kevin@b.com": "secret"}, "any", imap=True)
        self.server_a, self.server_b = (
            self.mail_server(provider, login, name=f"{company.name} SMTP", company_id=company.id)
            for provider, login, company in (
                (self.provider_a, "kevin@a.com", self.a),
                (self.provider_b, "kevin@b.com", self.b),
            )
        )

    def mail_server(self, provider, *args, **values):
        server = super().mail_server(provider, *args, **values)
        # mail_environment lets a new server have the default port, whatever was entered
        server.smtp_port = provider.smtp_port
        return server

    def incoming_server(self, provider, login="kevin@b.com", **values):
        server = super().incoming_server(provider, login, **values)
        if "server_env_defaults" in server._fields:
            # mail_environment keeps nothing of an incoming server but what the environment has
            self.environment(
                f"incoming_mail.{server.name}",
                server=provider.imap_host,
                port=provider.imap_port,
                server_type="imap",
                user=login,
                password="secret",
            )
        return server

    def environment(self, section, **values):
        """Put values into the environment's configuration, as a file or a variable does."""
        from odoo.addons.server_environment.server_env import serv_config

        if not serv_config.has_section(section):
            serv_config.add_section(section)
            self.addCleanup(serv_config.remove_section, section)
        for key, value in values.items():
            serv_config.set(section, key, str(value))
        # Odoo reads it when it starts
        self.env.registry.clear_caches()
        self.env.invalidate_all()

    def write_quotation(self, to=None):
        """Let Ziying, who has A current, write to the customer about B's quotation."""
        companies = (self.a + self.b).ids
        return (
            self.quotation.with_user(self.ziying)
            .with_context(allowed_company_ids=companies)
            .message_post(
                body=BODY,
                partner_ids=(to or self.customer).ids,
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                force_send=False,
            )
        )

    def run_crons(self):
        """Let OdooBot, of A, send what waits, also what was to wait for a while."""
        env = self.env(user=self.root, context={})
        schedules = env["mail.message.schedule"].search([])
        schedules.scheduled_datetime = fields.Datetime.now() - timedelta(minutes=1)
        env["mail.message.schedule"]._send_notifications_cron()
        env.flush_all()
        env.invalidate_all()
        with mute_logger(*QUIET):
            env["mail.mail"].process_email_queue()

    def sent(self):
        """Give (company of the server, MAIL FROM, name, From, Reply-To) of all that arrived."""
        return [
            (name, mail.mail_from, mail.from_name, mail.header_from, mail.reply_to)
            for name, provider in (("A", self.provider_a), ("B", self.provider_b))
            for mail in provider.mails
        ]

    def notification(self, message, partner=None):
        return message.notification_ids.filtered(
            lambda each: each.res_partner_id == (partner or self.customer)
        )


@tagged("post_install", "-at_install")
class TestBeside(BesideCase):
    OPEN = ("B", "bounce@b.com", "Murong Ziying", "zy@b.com", "catchall@b.com")
    RESTRICTED = (
        "B",
        "kevin@b.com",
        "Murong Ziying (zy@b.com)",
        "kevin@b.com",
        "catchall@b.com",
    )

    def test_bs_quotation_leaves_by_bs_server(self):
        """B's quotation, sent by A's queue, leaves by B's server, with B's senders and Reply-To"""
        self.write_quotation()
        self.run_crons()
        self.assertEqual(self.sent(), [self.OPEN])

    def test_the_chatter_shows_the_author(self):
        """The chatter goes on showing the author's own address"""
        message = self.write_quotation()
        self.run_crons()
        self.assertEqual(message.email_from, self.ziying.email_formatted)

    def test_restrict_username(self):
        """Restrict Username can be turned on; a provider that takes its login alone is content"""
        self.provider_b.rule = self.provider(rule="office365").rule
        self.settings(mail_restrict_username=True)
        self.write_quotation()
        self.run_crons()
        self.assertEqual(self.sent(), [self.RESTRICTED])

    def test_a_refused_mail_tells_why(self):
        """A refused mail is kept, with the provider's words and the cure, on the message too"""
        self.provider_b.rule = self.provider(rule="tencent").rule
        message = self.write_quotation()
        self.run_crons()
        self.assertFalse(self.sent())
        mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
        self.assertEqual(mail.state, "exception")
        notification = self.notification(message)
        self.assertEqual(notification.notification_status, "exception")
        for reason in (mail.failure_reason, notification.failure_reason):
            self.assertIn("501", reason)
            self.assertIn("mail from address must be same as authorization user", reason)
            self.assertIn("B SMTP", reason)
            self.assertIn("Sender Policy", reason)

    def test_one_refused_recipient(self):
        """One recipient of several is refused: his notification fails, the others have the mail"""
        stranger = self.env["res.partner"].create({"name": "Stranger", "email": "s@example.net"})
        self.provider_b.fail("rcpt", "550 5.1.1 no such user", after=1)
        message = self.write_quotation(self.customer + stranger)
        self.run_crons()
        self.assertEqual(len(self.sent()), 1)
        notifications = message.notification_ids
        self.assertEqual(sorted(notifications.mapped("notification_status")), ["exception", "sent"])
        failed = notifications.filtered(lambda each: each.notification_status == "exception")
        self.assertIn("no such user", failed.failure_reason)

    def test_a_session_breaks_off(self):
        """A session breaks off: the other mails stay in the queue, and each is sent once"""
        self.provider_b.fail("between", "drop")
        for _number in range(3):
            self.write_quotation()
        self.run_crons()
        self.assertEqual(len(self.sent()), 1)
        self.provider_b.heal()
        self.server_b.flush_recordset()
        self.run_crons()
        self.assertEqual(self.sent(), [self.OPEN] * 3)

    def test_a_mail_about_no_document(self):
        """A mail about no document is Bob's company's, B's, though a cron writes it in A"""
        self.env(user=self.root, context={})["mail.mail"].create(
            {
                "subject": "Reminder",
                "body_html": "<p>Reminder</p>",
                "email_from": self.bob.email_formatted,
                "email_to": CUSTOMER,
            }
        )
        self.run_crons()
        self.assertEqual(self.sent(), [("B", "bounce@b.com", "Bob", "bob@b.com", "catchall@b.com")])

    def test_a_direct_mail(self):
        """A mail that is sent directly (send_email) leaves by the same rules"""
        server = self.env(user=self.root, context={})["ir.mail_server"]
        server.send_email(
            server.build_email(
                email_from="News <news@b.com>", email_to=[CUSTOMER], subject="News", body="News"
            )
        )
        self.assertEqual(
            self.sent(), [("B", "bounce@b.com", "News", "news@b.com", "catchall@b.com")]
        )

    def test_explain_is_true(self):
        """Explain says beforehand what the wire then has"""
        explained = self.env["mail.route.explain"].create(
            {
                "res_model": self.quotation._name,
                "res_id": self.quotation.id,
                "user_id": self.ziying.id,
            }
        )
        said = (explained.mail_server_id.name, explained.mail_from, explained.reply_to)
        self.write_quotation()
        self.run_crons()
        (company, mail_from, _name, header_from, reply_to), *_rest = self.sent()
        self.assertEqual(said, (f"{company} SMTP", mail_from, reply_to))
        self.assertIn(header_from, explained.header_from)

    def test_an_answer_is_fetched(self):
        """The customer's answer is fetched from B's mailbox, and goes to B's document"""
        self.provider_b.set_catch_all("b.com", "kevin@b.com")
        self.incoming_server(self.provider_b, "kevin@b.com", company_id=self.b.id)
        self.write_quotation()
        self.run_crons()
        self.answer(self.provider_b, self.provider_b.mails[0])
        self.fetch()
        answer = self.quotation.message_ids.sorted("id")[-1]
        self.assertEqual(answer.author_id, self.customer)
        self.assertIn("We agree", answer.body)


@tagged("post_install", "-at_install")
@only_with("mail_server_filter")
class TestMailServerFilter(BesideCase):
    def test_no_server_of_another_database(self):
        """A server for another database sends nothing, nor another in its place: it fails"""
        self.server_b.database_filter = "production"
        message = self.write_quotation()
        self.run_crons()
        self.assertFalse(self.sent())
        self.assertFalse(self.provider_b.sessions)
        self.assertEqual(self.notification(message).notification_status, "exception")

    def test_its_own_server_in_its_place(self):
        """B's other server, for this database, sends in its place; Explain says so too"""
        self.server_b.database_filter = "production"
        staging = self.mail_server(
            self.provider_b,
            "kevin@b.com",
            name="B Staging",
            company_id=self.b.id,
            sequence=self.server_b.sequence + 1,
            database_filter=f"{self.cr.dbname},other",
        )
        explained = self.env["mail.route.explain"].create(
            {"res_model": self.quotation._name, "res_id": self.quotation.id}
        )
        self.assertEqual(explained.mail_server_id, staging)
        self.write_quotation()
        self.run_crons()
        self.assertEqual(len(self.sent()), 1)
        newest = self.env["mail.sent"].search([], limit=1, order="date desc, id desc")
        self.assertEqual(newest.server_id, staging)

    def test_no_mailbox_of_another_database(self):
        """A mailbox for another database is not fetched"""
        self.provider_b.set_catch_all("b.com", "kevin@b.com")
        self.incoming_server(
            self.provider_b, "kevin@b.com", company_id=self.b.id, database_filter="production"
        )
        self.write_quotation()
        self.run_crons()
        self.answer(self.provider_b, self.provider_b.mails[0])
        before = self.quotation.message_ids
        self.fetch()
        self.assertEqual(self.quotation.message_ids, before)


@tagged("post_install", "-at_install")
@only_with("mail_environment")
class TestMailEnvironment(BesideCase):
    SECTION = "outgoing_mail.B SMTP"

    def test_a_login_of_the_environment(self):
        """The login comes from the environment: Restrict Username can be turned on, From is it"""
        self.server_b.write({"smtp_user": False, "smtp_pass": False, "smtp_host": "nowhere"})
        self.environment(
            self.SECTION,
            smtp_host=self.provider_b.smtp_host,
            smtp_port=self.provider_b.smtp_port,
            smtp_user="kevin@b.com",
            smtp_pass="secret",
        )
        self.provider_b.rule = self.provider(rule="office365").rule
        self.settings(mail_restrict_username=True)
        self.write_quotation()
        self.run_crons()
        self.assertEqual(self.sent(), [TestBeside.RESTRICTED])

    def test_a_changed_login(self):
        """Another login in the environment counts from Odoo's next start"""
        self.provider_b.add_account("lee@b.com", "other")
        self.provider_b.rule = self.provider(rule="office365").rule
        self.settings(mail_restrict_username=True)
        self.environment(self.SECTION, smtp_user="lee@b.com", smtp_pass="other")
        self.write_quotation()
        self.run_crons()
        self.assertEqual([sent[1] for sent in self.sent()], ["lee@b.com"])

    def test_a_login_of_the_form(self):
        """A server whose login is not in the environment keeps the one of its form"""
        self.environment(self.SECTION, smtp_port=self.provider_b.smtp_port)
        self.settings(mail_restrict_username=True)
        self.write_quotation()
        self.run_crons()
        self.assertEqual(self.sent(), [TestBeside.RESTRICTED])


@tagged("post_install", "-at_install")
@only_with("mail_tracking")
class TestMailTracking(BesideCase):
    def test_a_sent_mail(self):
        """Its own record of a mail that was sent says so"""
        message = self.write_quotation()
        self.run_crons()
        self.assertEqual(message.mail_tracking_ids.mapped("state"), ["sent"])

    def test_a_refused_mail(self):
        """Its own record of a refused mail says so, with the provider's words and the cure"""
        self.provider_b.rule = self.provider(rule="tencent").rule
        message = self.write_quotation()
        self.run_crons()
        tracking = message.mail_tracking_ids
        self.assertEqual(tracking.state, "error")
        self.assertIn("501", tracking.error_description)
        self.assertIn("Sender Policy", tracking.error_description)

    def test_the_server_that_refused(self):
        """Its own record of a refused mail names the server that refused it"""
        self.server_a.smtp_host = "localhost"  # the other's is 127.0.0.1
        self.provider_b.rule = self.provider(rule="tencent").rule
        message = self.write_quotation()
        self.run_crons()
        self.assertEqual(message.mail_tracking_ids.error_smtp_server, self.provider_b.smtp_host)


@tagged("post_install", "-at_install")
@only_with("mail_outbound_static")
class TestMailOutboundStatic(BesideCase):
    def test_the_login_on_a_restricted_server(self):
        """Its Email From takes the place of no login: a restricted server sends as its login"""
        self.server_b.smtp_from = "static@b.com"
        self.provider_b.rule = self.provider(rule="office365").rule
        self.server_b.sender_policy = "login"
        self.write_quotation()
        self.run_crons()
        self.assertEqual(self.sent(), [TestBeside.RESTRICTED])

    def test_no_address_of_another_server(self):
        """The Email From of A's server is on no mail of B"""
        self.server_a.write({"smtp_from": "static@a.com", "sequence": 1})
        self.write_quotation()
        self.run_crons()
        self.assertEqual(self.sent(), [TestBeside.OPEN])

    def test_its_address_on_an_open_server(self):
        """The Email From of B's own server, which lets anybody send, is the From of B's mail"""
        self.server_b.smtp_from = "static@b.com"
        self.write_quotation()
        self.run_crons()
        self.assertEqual(
            self.sent(),
            [("B", "bounce@b.com", "Murong Ziying", "static@b.com", "catchall@b.com")],
        )

    def test_explain_with_its_address(self):
        """Explain shows that Email From as well"""
        self.server_b.smtp_from = "static@b.com"
        explained = self.env["mail.route.explain"].create(
            {
                "res_model": self.quotation._name,
                "res_id": self.quotation.id,
                "user_id": self.ziying.id,
            }
        )
        self.assertIn("static@b.com", explained.header_from)

    def test_an_author_of_its_domains(self):
        """Its Allowed Domains: an author of one of them keeps his address"""
        self.server_b.write({"smtp_from": "static@b.com", "domain_whitelist": "b.com"})
        self.write_quotation()
        self.run_crons()
        self.assertEqual(self.sent(), [TestBeside.OPEN])


@tagged("post_install", "-at_install")
@only_with("mail_multicompany")
class TestMailMulticompany(BesideCase):
    def test_one_company_field(self):
        """Its company and this addon's are one field on both kinds of server"""
        incoming = self.incoming_server(self.provider_b, company_id=self.b.id)
        for server, of_company in (
            (self.server_b, self.b.mail_server_ids),
            (incoming, self.b.fetchmail_server_ids),
        ):
            self.assertEqual(server.company_id, self.b)
            self.assertIn(server, of_company)
            self.assertEqual(server._fields["company_id"].ondelete, "restrict")

    def test_reply_to_decides_the_server(self):
        """Reply-To decides the server, where a company has that option on"""
        self.a.write(
            {
                "reply_to_by_company": True,
                "reply_to_prefix": "office",
                "mail_server_by_reply_to": True,
            }
        )
        self.mail(
            self.ziying,
            model=self.quotation._name,
            res_id=self.quotation.id,
            reply_to="office@a.com",
        )
        self.run_crons()
        self.assertEqual([sent[0] for sent in self.sent()], ["A"])


@tagged("post_install", "-at_install")
@only_with("mail_post_defer")
class TestMailPostDefer(BesideCase):
    def test_a_deferred_message(self):
        """It holds a message back; what OdooBot, of A, sends half a minute later is B's"""
        self.write_quotation()
        self.env["mail.message.schedule"]._send_notifications_cron()
        self.env["mail.mail"].process_email_queue()
        self.assertFalse(self.sent())
        self.run_crons()
        self.assertEqual(self.sent(), [TestBeside.OPEN])

    def test_a_deleted_message(self):
        """A message that is deleted meanwhile is not sent"""
        message = self.write_quotation()
        message.sudo().unlink()
        self.run_crons()
        self.assertFalse(self.sent())
