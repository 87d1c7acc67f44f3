"""An address and a password, and it works."""

from unittest.mock import patch

from odoo.exceptions import RedirectWarning
from odoo.tests import Form, tagged

from .common import MailRoutingCase


@tagged("post_install", "-at_install")
class TestMailboxSetup(MailRoutingCase):
    def setUp(self):
        super().setUp()
        self.at = self.provider(imap=True)
        self.kind = self.env["mail.provider"].create(
            {
                "name": "Loopback",
                "smtp_host": self.at.smtp_host,
                "smtp_port": self.at.smtp_port,
                "smtp_encryption": "none",
                "imap_host": self.at.imap_host,
                "imap_port": self.at.imap_port,
                "imap_ssl": False,
                "restricted": True,
            }
        )

    def wizard(self, **values):
        return self.env["mail.mailbox.setup"].create(
            {
                "provider_id": self.kind.id,
                "email": "kevin@odoomommy.com",
                "password": "secret",
                **values,
            }
        )

    def test_from_nothing_to_a_mailbox_that_works(self):
        wizard = self.wizard()
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertEqual(wizard.result.count("fa-check"), 4)
        self.assertFalse(wizard.password)
        self.assertNotIn("secret", wizard.result)
        outgoing = self.env["ir.mail_server"].search([("smtp_user", "=", "kevin@odoomommy.com")])
        self.assertEqual(outgoing.sender_policy, "login")
        incoming = self.env["fetchmail.server"].search([("user", "=", "kevin@odoomommy.com")])
        self.assertEqual(incoming.state, "done")
        domain = self.env["mail.alias.domain"].search([("name", "=", "odoomommy.com")])
        self.assertEqual(domain.catch_all, "no")
        self.assertEqual(self.company.alias_domain_id, domain)
        # the mail to oneself is gone, and real mail goes its way
        self.fetch()
        self.assertFalse(self.env["mail.unprocessed"].search([]))
        self.at.clear()
        self.post()
        mail = self.one_mail(self.at)
        self.assertLeavesAsLogin(mail)
        self.assertEqual(mail.reply_to, "kevin@odoomommy.com")

    def test_run_twice_it_updates(self):
        self.wizard().action_setup()
        before = [
            self.env[model].search_count([])
            for model in ("ir.mail_server", "fetchmail.server", "mail.alias.domain")
        ]
        wizard = self.wizard()
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        after = [
            self.env[model].search_count([])
            for model in ("ir.mail_server", "fetchmail.server", "mail.alias.domain")
        ]
        self.assertEqual(after, before)

    def test_a_wrong_password_saves_nothing_and_says_what_helps(self):
        wizard = self.wizard(password="wrong-one")
        wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertIn("535", wizard.result)
        self.assertIn("authorization code", wizard.result)
        self.assertNotIn("wrong-one", wizard.result)
        self.assertFalse(self.env["ir.mail_server"].search([]))
        self.assertFalse(self.env["mail.alias.domain"].search([]))

    def test_a_sender_that_is_refused(self):
        self.at.add_account("apikey", "secret", identity="kevin@odoomommy.com")
        wizard = self.wizard(login="apikey", email="other@odoomommy.com")
        wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertIn("mail from address must be same", wizard.result)

    def test_a_mail_that_does_not_come_back(self):
        self.at.add_account("other@odoomommy.com", "secret")
        self.at.add_account("kevin@odoomommy.com", "secret", send_as=["other@odoomommy.com"])
        wizard = self.wizard(login="kevin@odoomommy.com", email="other@odoomommy.com")
        path = "odoo.addons.mail_company_routing.wizards.mail_mailbox_setup.DELIVERY_TIMEOUT"
        with patch(path, 0.5):
            wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertIn("did not arrive", wizard.result)

    def test_a_public_mailbox_claims_no_domain(self):
        self.kind.email_domains = "odoomommy.com"
        self.env["ir.config_parameter"].set_param("mail.catchall.domain", False)
        wizard = self.wizard()
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertFalse(self.env["mail.alias.domain"].search([]))
        self.post()
        self.assertEqual(self.at.mails[-1].reply_to, "kevin@odoomommy.com")

    def test_bad_input(self):
        for values, words in (
            ({"email": "kevin"}, "Email Address"),
            ({"password": False}, "Password"),
            ({"smtp_host": False}, "SMTP Host"),
            ({"incoming_host": False}, "Incoming Host"),
        ):
            with self.assertRefused(words):
                self.wizard(**values).action_setup()

    def test_oauth_leads_to_odoos_own_modules(self):
        gmail = self.env.ref("mail_company_routing.mail_provider_gmail")
        with self.assertRaises(RedirectWarning):
            self.wizard(provider_id=gmail.id).action_setup()

    def test_the_form(self):
        with Form(self.env["mail.mailbox.setup"]) as form:
            form.email = "somebody@qq.com"
            self.assertEqual(form.provider_id.smtp_host, "smtp.qq.com")
            self.assertIn("smtp.qq.com", form.plan)
            form.provider_id = self.kind
            form.email = "kevin@odoomommy.com"
            form.password = "secret"
            self.assertIn("Alias domain odoomommy.com", form.plan)
