# SPDX-License-Identifier: LGPL-3.0-only
"""An address and a password, and it works."""

import socket
import socketserver
import threading
from unittest.mock import patch

from odoo.exceptions import RedirectWarning
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

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
        self.assertEqual(wizard.result.count("fa-check"), 6)
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

    def test_a_server_whose_words_cannot_be_stored(self):
        self.at.fail("mail", "nul")
        wizard = self.wizard()
        wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertIn("550 5.7.1 Refused", wizard.result)

    def test_a_mail_that_does_not_come_back(self):
        self.at.add_account("other@odoomommy.com", "secret")
        self.at.add_account("kevin@odoomommy.com", "secret", send_as=["other@odoomommy.com"])
        wizard = self.wizard(login="kevin@odoomommy.com", email="other@odoomommy.com")
        path = "odoo.addons.mail_company_routing.wizards.mail_mailbox_trial.DELIVERY_TIMEOUT"
        with patch(path, 0.5):
            wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertIn("did not arrive", wizard.result)

    def test_a_mail_that_a_failed_trial_left_behind(self):
        """It is no enquiry: once the mailbox is fetched, nobody hears of it."""
        wizard = self.wizard(incoming_port=1)
        wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        wizard = self.wizard()
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        with self.assertLogs("odoo.addons.mail_company_routing.models.mail_thread") as log:
            self.fetch()
        self.assertIn("by which a mailbox was tried", log.output[0])
        self.assertFalse(self.env["mail.unprocessed"].search([]))

    @mute_logger("odoo.addons.mail_company_routing.models.mail_thread")
    def test_a_mail_that_only_looks_like_a_trial(self):
        self.wizard().action_setup()
        mine = self.env["mail.thread"]._new_trial_id()
        other = mine[:5] + ("0" if mine[5] != "0" else "1") + mine[6:]
        for message_id in (other, "<a.b@mailbox.setup>", "<@mailbox.setup>", "<a.é@mailbox.setup>"):
            message = (
                f"From: a@example.net\nTo: kevin@odoomommy.com\nMessage-Id: {message_id}\n\nhi"
            )
            self.at.deliver("kevin@odoomommy.com", message.encode())
        self.fetch()
        self.assertEqual(self.env["mail.unprocessed"].search_count([]), 4)

    def test_a_public_mailbox_claims_no_domain(self):
        self.kind.email_domains = "odoomommy.com"
        self.env["ir.config_parameter"].set_param("mail.catchall.domain", False)
        wizard = self.wizard()
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertFalse(self.env["mail.alias.domain"].search([]))
        self.post()
        self.assertEqual(self.at.mails[-1].reply_to, "kevin@odoomommy.com")

    def test_a_catch_all_that_a_public_mailbox_does_not_have(self):
        """Answers go to the mailbox, as the plan says, whatever General Settings said before."""
        self.kind.email_domains = "odoomommy.com"
        wizard = self.wizard()
        self.assertIn("answers come to this mailbox", wizard.plan)
        wizard.action_setup()
        self.assertIn("Answers go to kevin@odoomommy.com", wizard.result)
        self.post()
        self.assertEqual(self.at.mails[-1].reply_to, "kevin@odoomommy.com")

    def test_a_catch_all_that_another_mailbox_may_have_is_left_alone(self):
        self.kind.email_domains = "odoomommy.com"
        self.at.add_account("all@ohm.example", "secret")
        self.incoming_server(self.at, "all@ohm.example")
        wizard = self.wizard()
        self.assertIn("Catch All stays as it is", wizard.plan)
        wizard.action_setup()
        self.assertIn("Answers go to catchall@odoomommy.com", wizard.result)

    def test_everybodys_domain_is_nobodys_own(self):
        for domain in ("126.com", "foxmail.com", "Outlook.com"):
            self.assertNotIn("Alias domain", self.wizard(email=f"me@{domain}").plan)

    def test_what_is_there_is_named_before_it_is_changed(self):
        self.mail_server(self.at)
        self.assertIn("Updates the outgoing server Ohm SMTP", self.wizard().plan)

    def test_a_provider_that_cannot_be_reached(self):
        wizard = self.wizard(smtp_host="127.0.0.1", smtp_port=1)
        wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertIn("Connection refused", wizard.result)
        self.assertIn("Check host, port and encryption", wizard.result)

    @mute_logger("odoo.addons.mail_company_routing.models.mail_thread")
    def test_netease_wants_to_know_who_fetches(self):
        door = NetEaseDoor(self.at)
        self.addCleanup(door.close)
        wizard = self.wizard(incoming_port=door.server_address[1])
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertIn(b'"name" "Odoo"', door.told[0])
        # and as the cron fetches
        self.write_to(self.at, "kevin@odoomommy.com")
        self.fetch()
        kept = self.env["mail.unprocessed"].search([])
        self.assertEqual(kept.subject, "Enquiry", "it did not come as far as Odoo")

    def test_a_mailbox_that_may_not_be_opened_is_reported_in_the_servers_words(self):
        door = NetEaseDoor(self.at)
        self.addCleanup(door.close)
        door.offers = b"IMAP4rev1"
        wizard = self.wizard(incoming_port=door.server_address[1])
        wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertIn("Unsafe Login", wizard.result)

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
            form.email = "somebody@163.com"
            self.assertEqual(form.provider_id.smtp_host, "smtp.163.com")
            form.email = "somebody@qq.com"
            self.assertEqual(form.provider_id.smtp_host, "smtp.qq.com")
            form.provider_id = self.env.ref("mail_company_routing.mail_provider_gmail")
            form.email = "somebody@ohm.example"
            self.assertEqual(form.provider_id.oauth_module, "google_gmail", "Workspace, say")
            form.provider_id = self.kind
            form.email = "kevin@odoomommy.com"
            form.password = "secret"
            self.assertIn("Alias domain odoomommy.com", form.plan)


class NetEaseDoor(socketserver.ThreadingTCPServer):
    """NetEase's IMAP, in front of a provider's: who does not say who he is opens no mailbox.

    Commands go through line by line; CAPABILITY, ID and a SELECT without an ID before it are
    answered here, in the words that NetEase has for it.

    :param provider: a started provider with IMAP
    """

    daemon_threads = True

    def __init__(self, provider):
        super().__init__(("127.0.0.1", 0), _NetEaseSession)
        self.provider = provider
        self.offers = b"IMAP4rev1 ID"
        self.told = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class _NetEaseSession(socketserver.StreamRequestHandler):
    def handle(self):
        provider = self.server.provider
        with socket.create_connection((provider.imap_host, provider.imap_port)) as behind:
            answers = threading.Thread(target=self._pass_on, args=(behind,), daemon=True)
            answers.start()
            known = False
            for line in self.rfile:
                tag, verb, *rest = line.split(None, 2)
                verb = verb.upper()
                if verb == b"CAPABILITY":
                    self.wfile.write(
                        b"* CAPABILITY %s\r\n%s OK done\r\n" % (self.server.offers, tag)
                    )
                elif verb == b"ID":
                    known = True
                    self.server.told += rest
                    self.wfile.write(b"* ID NIL\r\n%s OK ID completed\r\n" % tag)
                elif verb in (b"SELECT", b"EXAMINE") and not known:
                    self.wfile.write(
                        b"%s NO %s Unsafe Login. Please contact kefu@188.com for help\r\n"
                        % (tag, verb)
                    )
                else:
                    behind.sendall(line)
            behind.shutdown(socket.SHUT_WR)
            answers.join(10)

    def _pass_on(self, behind):
        while data := behind.recv(65536):
            self.wfile.write(data)
