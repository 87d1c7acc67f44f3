# SPDX-License-Identifier: LGPL-3.0-only
"""Office 365 and Gmail to the end: consent, both servers, a trial by XOAUTH2 on both."""

import os
import socket
import tempfile
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlencode

import trustme

from odoo.exceptions import RedirectWarning
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from ..dev.provider.tls import write_certificates
from .common import MailRoutingCase
from .oauth import Door, ImapDoor, SmtpDoor, TokenEndpoint


class MailboxOAuthCase(MailRoutingCase, HttpCase):
    """A provider on loopback that logs in by OAuth alone.

    :cvar provider_name: of the record of ``mail.provider``
    :cvar prefix: of the parameters and the path of Odoo's module
    """

    provider_name = ""
    prefix = ""

    def setUp(self):
        super().setUp()
        self.at = self.provider({"kevin@odoomommy.com": "inner"}, "office365", imap=True)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        shown, self.trusted = write_certificates(self.folder)
        self.endpoint = self.open_endpoint()
        self.addCleanup(self.endpoint.close)
        self.smtp = smtp = self.door(SmtpDoor, (self.at.smtp_host, self.at.smtp_port), shown)
        imap = self.door(ImapDoor, (self.at.imap_host, self.at.imap_port), shown)
        self.preset = self.env.ref(f"mail_company_routing.mail_provider_{self.provider_name}")
        self.preset.write(
            {
                "smtp_host": "127.0.0.1",
                "smtp_port": smtp.port,
                "imap_host": "127.0.0.1",
                "imap_port": imap.port,
            }
        )

    def open_endpoint(self):
        """Give the endpoint that Odoo's module gets its tokens from."""
        raise NotImplementedError

    def door(self, session, behind, certificate):
        door = Door(session, self.endpoint, behind, "inner", certificate)
        self.addCleanup(door.close)
        return door

    def wizard(self, **values):
        return self.env["mail.mailbox.setup"].create(
            {"email": "kevin@odoomommy.com", "provider_id": self.preset.id, **values}
        )

    def configured(self, **values):
        return self.wizard(
            oauth_client_id="the-app", oauth_client_secret=self.endpoint.secret, **values
        )

    def come_back(self, action):
        """Do in the browser what the administrator does at the provider's; give where it leads."""
        led = self.endpoint.consent(action["url"])
        self.authenticate("admin", "admin")
        response = self.url_open(f"/{self.prefix}/confirm?{urlencode(led)}", allow_redirects=False)
        self.assertIn(response.status_code, (302, 303), response.text)
        return response.headers["Location"]

    def admins(self, **values):
        """Give a wizard that the administrator of the browser has opened."""
        admin = self.env.ref("base.user_admin")
        return (
            self.configured(**values)
            .browse()
            .with_user(admin)
            .create({"email": "kevin@odoomommy.com", "provider_id": self.preset.id, **values})
        )

    def set_up(self):
        """Set the mailbox up; give the wizard."""
        wizard = self.admins()
        self.come_back(wizard.action_setup())
        wizard.invalidate_recordset()
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        return wizard

    def assertMailGoesItsWay(self):
        self.at.clear()
        self.post()
        mail = self.one_mail(self.at)
        self.assertLeavesAsLogin(mail)
        self.answer(self.at, mail)
        self.fetch()
        answer = self.document.message_ids[0]
        self.assertIn("customer@example.net", answer.email_from)

    def assertLaterRefusalIsTold(self, how):
        """A login that is refused once the mailbox is in use: its mail says that, and no more."""
        self.smtp.refuses = how
        self.smtp.commands.clear()
        mail = self.mail()
        mail.send()
        self.assertEqual(mail.state, "exception")
        self.assertIn("535 5.7.3 Authentication unsuccessful", mail.failure_reason)
        self.assertIn("refused the login by OAuth", mail.failure_reason)
        self.assertNotIn("530", mail.failure_reason)
        self.assertNotIn("MAIL", self.smtp.commands)
        for secret in ("access-", "refresh-", "the-secret"):
            self.assertNotIn(secret, mail.failure_reason)


@tagged("post_install", "-at_install")
class TestMailboxOAuth(MailboxOAuthCase):
    provider_name = "outlook"
    prefix = "microsoft_outlook"

    def open_endpoint(self):
        endpoint = TokenEndpoint()
        self.env["ir.config_parameter"].set_param("microsoft_outlook.endpoint", endpoint.address)
        return endpoint

    def test_without_credentials_it_says_what_to_do(self):
        wizard = self.wizard()
        self.assertEqual(wizard.oauth_state, "unconfigured")
        self.assertTrue(wizard.oauth_redirect_uri.endswith("/microsoft_outlook/confirm"))
        self.assertTrue(wizard.oauth_redirect_uri.startswith(wizard.get_base_url()))
        with self.assertRaises(RedirectWarning):
            wizard.action_setup()
        self.assertFalse(
            self.env["ir.mail_server"]
            .with_context(active_test=False)
            .search([("smtp_user", "=", "kevin@odoomommy.com")])
        )

    def test_credentials_go_where_odoos_own_settings_keep_them(self):
        wizard = self.configured()
        self.assertEqual(wizard.oauth_state, "ready")
        get_param = self.env["ir.config_parameter"].get_param
        self.assertEqual(get_param("microsoft_outlook_client_id"), "the-app")
        self.assertEqual(get_param("microsoft_outlook_client_secret"), "the-secret")
        self.assertFalse(wizard.oauth_client_secret)
        self.env.cr.execute("SELECT * FROM mail_mailbox_setup WHERE id = %s", [wizard.id])
        self.assertNotIn("the-secret", str(self.env.cr.dictfetchall()))

    def test_from_an_address_to_a_mailbox_that_works(self):
        wizard = self.admins()
        action = wizard.action_setup()
        self.assertEqual((action["type"], action["target"]), ("ir.actions.act_url", "self"))
        self.assertFalse(self.env["ir.mail_server"].search([]), "active before it was tried")
        location = self.come_back(action)
        self.assertIn(f"id={wizard.id}&model=mail.mailbox.setup", location)
        wizard.invalidate_recordset()
        self.assertEqual(wizard.oauth_state, "connected")
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        outgoing = self.env["ir.mail_server"].search([])
        self.assertEqual(outgoing.smtp_authentication, "outlook")
        incoming = self.env["fetchmail.server"].search([("user", "=", "kevin@odoomommy.com")])
        self.assertEqual((incoming.server_type, incoming.state), ("outlook", "done"))
        for secret in ("access-", "refresh-", "the-secret"):
            self.assertNotIn(secret, wizard.result)
        self.assertMailGoesItsWay()

    def test_a_company_of_its_own(self):
        """By company, from one that is not ticked."""
        other = self.env["res.company"].create({"name": "Ohm Two"})
        admin = self.env.ref("base.user_admin")
        admin.company_ids += other
        wizard = self.admins(company_id=other.id).with_context(
            allowed_company_ids=admin.company_id.ids
        )
        self.come_back(wizard.action_setup())
        wizard.invalidate_recordset()
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        outgoing = self.env["ir.mail_server"].search([])
        self.assertEqual(outgoing.company_id, other)
        self.assertTrue(other.mail_server_by_domain)

    def test_a_consent_that_does_not_reach_far_enough(self):
        """Consent to sending alone: the trial says so, and nothing is active."""
        wizard = self.admins()
        action = wizard.action_setup()
        led = self.endpoint.consent(action["url"])
        self.endpoint.codes[led["code"]].discard("https://outlook.office.com/IMAP.AccessAsUser.All")
        with patch.object(self.endpoint, "consent", lambda _uri: led):
            self.come_back(action)
        wizard.invalidate_recordset()
        wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertIn("AADSTS65001", wizard.result)
        self.assertFalse(self.env["ir.mail_server"].search([]))

    def test_a_login_that_is_refused_by_smtp(self):
        """Odoo's module sends the token and does not look at the answer."""
        for how in ("at once", "after a challenge"):
            with self.subTest(how=how):
                wizard = self.admins()
                self.come_back(wizard.action_setup())
                wizard.invalidate_recordset()
                self.smtp.refuses = how
                wizard.action_setup()
                self.assertFalse(wizard.succeeded)
                self.assertEqual(wizard.result.count("fa-check"), 1, "connected, not logged in")
                self.assertIn("535 5.7.3 Authentication unsuccessful", wizard.result)
                self.assertIn("Connect its account again", wizard.result)
                self.assertNotIn("MAIL", self.smtp.commands)
                self.assertFalse(self.env["ir.mail_server"].search([]))

    @mute_logger("odoo.addons.mail.models.mail_mail")
    def test_a_login_that_is_refused_later(self):
        self.set_up()
        for how in ("at once", "after a challenge"):
            with self.subTest(how=how):
                self.assertLaterRefusalIsTold(how)

    def test_a_password_server_is_followed_by_one_that_logs_in_by_oauth(self):
        former = self.mail_server(
            self.at, smtp_host="127.0.0.1", password="old", sender_policy="login"
        )
        former.write({"smtp_port": self.preset.smtp_port})
        wizard = self.admins()
        self.come_back(wizard.action_setup())
        self.assertTrue(former.active)
        wizard.invalidate_recordset()
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertFalse(former.active)
        self.assertEqual(len(self.env["ir.mail_server"].search([])), 1)

    def test_nobody_else_is_led_here(self):
        wizard = self.admins()
        action = wizard.action_setup()
        state = self.endpoint.consent(action["url"])["state"]
        Setup = self.env["mail.mailbox.setup"]
        self.assertFalse(Setup.with_user(self.lingsha)._way_back(state))
        for told in ("", "{", "[]", '{"model": "res.users", "id": 1}', '{"id": "1 OR 1"}', None):
            self.assertFalse(Setup._way_back(told))


@tagged("post_install", "-at_install")
class TestMailboxGmail(MailboxOAuthCase):
    """Google's endpoint is a constant of Odoo's module: its name leads to loopback here."""

    provider_name = "gmail"
    prefix = "google_gmail"
    host = "oauth2.googleapis.com"

    def open_endpoint(self):
        authority, shown = self.folder / "google.pem", self.folder / "google-server.pem"
        google = trustme.CA()
        google.cert_pem.write_to_path(authority)
        google.issue_cert(self.host).private_key_and_cert_chain_pem.write_to_path(shown)
        endpoint = TokenEndpoint(certificate=shown)
        trusting = {"REQUESTS_CA_BUNDLE": str(authority), "NO_PROXY": self.host}
        patcher = patch.dict(os.environ, trusting)
        patcher.start()
        self.addCleanup(patcher.stop)
        native = socket.getaddrinfo

        def getaddrinfo(host, port, *arguments, **kwargs):
            if (host, port) == (self.host, 443):
                host, port = endpoint.server_address
            return native(host, port, *arguments, **kwargs)

        # as the machine's file of hosts would have it, which knows no ports
        self.patch(socket, "getaddrinfo", getaddrinfo)
        return endpoint

    def test_from_an_address_to_a_mailbox_that_works(self):
        wizard = self.admins()
        self.assertTrue(wizard.oauth_redirect_uri.endswith("/google_gmail/confirm"))
        action = wizard.action_setup()
        self.assertTrue(action["url"].startswith("https://accounts.google.com/"), action["url"])
        self.assertFalse(self.env["ir.mail_server"].search([]), "active before it was tried")
        location = self.come_back(action)
        self.assertIn(f"id={wizard.id}&model=mail.mailbox.setup", location)
        wizard.invalidate_recordset()
        self.assertEqual(wizard.oauth_state, "connected")
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        outgoing = self.env["ir.mail_server"].search([])
        self.assertEqual(outgoing.smtp_authentication, "gmail")
        incoming = self.env["fetchmail.server"].search([("user", "=", "kevin@odoomommy.com")])
        self.assertEqual((incoming.server_type, incoming.state), ("gmail", "done"))
        for secret in ("access-", "refresh-", "the-secret"):
            self.assertNotIn(secret, wizard.result)
        self.assertMailGoesItsWay()

    def test_a_token_that_is_over_is_followed_by_another(self):
        self.set_up()
        server = self.env["ir.mail_server"].search([])
        self.endpoint.access_tokens.clear()
        server.google_gmail_access_token_expiration = 1
        asked = len(self.endpoint.asked)
        self.at.clear()
        self.mail().send()
        self.one_mail(self.at)
        (refreshed,) = self.endpoint.asked[asked:]
        self.assertEqual(refreshed["grant_type"], "refresh_token")

    def test_a_secret_that_is_not_the_apps(self):
        """Google gives no token: nothing is active, and the wizard still waits for its consent."""
        wizard = self.admins()
        led = self.endpoint.consent(wizard.action_setup()["url"])
        self.endpoint.secret = "another"
        self.authenticate("admin", "admin")
        response = self.url_open(f"/google_gmail/confirm?{urlencode(led)}", allow_redirects=False)
        self.assertEqual(response.status_code, 200, "native's page, which says that it failed")
        wizard.invalidate_recordset()
        self.assertEqual(wizard.oauth_state, "ready")
        self.assertFalse(self.env["ir.mail_server"].search([]))

    def test_a_login_that_is_refused_by_smtp(self):
        for how in ("at once", "after a challenge"):
            with self.subTest(how=how):
                wizard = self.admins()
                self.come_back(wizard.action_setup())
                wizard.invalidate_recordset()
                self.smtp.refuses = how
                wizard.action_setup()
                self.assertFalse(wizard.succeeded)
                self.assertIn("535 5.7.3 Authentication unsuccessful", wizard.result)
                self.assertNotIn("MAIL", self.smtp.commands)
                self.assertFalse(self.env["ir.mail_server"].search([]))

    @mute_logger("odoo.addons.mail.models.mail_mail")
    def test_a_login_that_is_refused_later(self):
        self.set_up()
        for how in ("at once", "after a challenge"):
            with self.subTest(how=how):
                self.assertLaterRefusalIsTold(how)
