# SPDX-License-Identifier: LGPL-3.0-only
"""Catch All off: mail is told to come back only to a mailbox that exists."""

from .common import MailRoutingCase


class TestCatchAll(MailRoutingCase):
    def assertNoInventedAddress(self, mail):
        envelope_and_headers = " ".join(
            [mail.mail_from, mail.return_path, mail.reply_to, mail.header_from]
        )
        for invented in ("bounce", "catchall", "notifications", "team@"):
            self.assertNotIn(invented, envelope_and_headers)

    def test_on_a_restricted_server(self):
        self.settings(mail_catch_all=False, mail_restrict_username=True)
        provider = self.provider(imap=True)
        self.mail_server(provider)
        self.incoming_server(provider)
        self.post()
        mail = self.one_mail(provider)
        self.assertLeavesAsLogin(mail)
        self.assertEqual(mail.reply_to, "kevin@odoomommy.com")
        self.assertNoInventedAddress(mail)

    def test_reply_to_keeps_natives_display_name(self):
        self.settings(mail_catch_all=False, mail_restrict_username=True)
        provider = self.provider(imap=True)
        self.mail_server(provider)
        self.incoming_server(provider)
        message = self.post()
        self.assertEqual(message.reply_to, '"Qingdao Ohm Document" <kevin@odoomommy.com>')

    def test_on_a_server_that_lets_anybody_send(self):
        self.settings(mail_catch_all=False)
        provider = self.provider(rule="any")
        self.mail_server(provider)
        self.post()
        mail = self.one_mail(provider)
        self.assertEqual(mail.mail_from, "kevin@odoomommy.com")
        self.assertEqual(mail.header_from, "lingsha.han@odoomommy.com")
        self.assertNoInventedAddress(mail)

    def test_on_a_relay_without_a_login(self):
        self.settings(mail_catch_all=False)
        provider = self.provider(rule="any", require_auth=False)
        self.mail_server(provider, login=False)
        self.post()
        mail = self.one_mail(provider)
        self.assertEqual(mail.mail_from, "lingsha.han@odoomommy.com")
        self.assertEqual(mail.reply_to, "lingsha.han@odoomommy.com")
        self.assertNoInventedAddress(mail)

    def test_without_an_incoming_server_answers_go_to_the_login(self):
        self.settings(mail_catch_all=False, mail_restrict_username=True)
        provider = self.provider()
        self.mail_server(provider)
        self.post()
        self.assertEqual(self.one_mail(provider).reply_to, "kevin@odoomommy.com")

    def test_an_incoming_server_that_is_not_confirmed_is_not_fetched(self):
        self.settings(mail_catch_all=False, mail_restrict_username=True)
        provider = self.provider(imap=True)
        self.mail_server(provider)
        self.incoming_server(provider, "other@odoomommy.com", state="draft")
        self.post()
        self.assertEqual(self.one_mail(provider).reply_to, "kevin@odoomommy.com")

    def test_a_documents_alias_is_not_reachable(self):
        self.settings(mail_catch_all=False, mail_restrict_username=True)
        provider = self.provider()
        self.mail_server(provider)
        partner_model = self.env["ir.model"]._get_id("res.partner")
        self.env["mail.alias"].create(
            {
                "alias_name": "team",
                "alias_model_id": partner_model,
                "alias_parent_model_id": partner_model,
                "alias_parent_thread_id": self.document.id,
            }
        )
        self.post()
        mail = self.one_mail(provider)
        self.assertEqual(mail.reply_to, "kevin@odoomommy.com")
        self.assertNoInventedAddress(mail)
        self.settings(mail_catch_all=True, mail_restrict_username=True)
        provider.clear()
        self.post()
        self.assertEqual(self.one_mail(provider).reply_to, "team@odoomommy.com")

    def test_a_given_reply_to_is_kept(self):
        self.settings(mail_catch_all=False, mail_restrict_username=True)
        provider = self.provider()
        self.mail_server(provider)
        self.mail(reply_to="boss@example.org").send()
        self.assertEqual(self.one_mail(provider).reply_to, "boss@example.org")
