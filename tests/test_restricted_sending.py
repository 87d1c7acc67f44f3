# SPDX-License-Identifier: LGPL-3.0-only
"""Restrict Username, in every way a mail can leave Odoo."""

from unittest.mock import patch

from odoo import tools
from odoo.tests import tagged

from .common import CUSTOMER, MailRoutingCase


@tagged("post_install", "-at_install")
class TestRestrictedSending(MailRoutingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.settings(mail_restrict_username=True)

    def test_the_chatter(self):
        provider = self.provider()
        self.mail_server(provider)
        message = self.post()
        self.assertLeavesAsLogin(self.one_mail(provider))
        self.assertEqual(message.email_from, '"韩菱纱" <lingsha.han@odoomommy.com>')
        self.assertEqual(provider.mails[0].reply_to, "catchall@odoomommy.com")

    def test_every_provider_that_lets_only_its_login_send(self):
        for rule in ("tencent", "netease", "yandex", "postfix", "aliyun_440", "office365"):
            with self.subTest(rule):
                provider = self.provider(rule=rule)
                server = self.mail_server(provider)
                self.post()
                self.assertLeavesAsLogin(self.one_mail(provider))
                self.assertFalse(provider.refusals)
                server.active = False

    def test_a_template(self):
        provider = self.provider()
        self.mail_server(provider)
        template = self.env["mail.template"].create(
            {
                "name": "Offer",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "subject": "Offer",
                "body_html": "<p>Offer</p>",
                "email_from": "{{ user.email_formatted }}",
                "email_to": CUSTOMER,
                "auto_delete": False,
            }
        )
        template.with_user(self.lingsha).send_mail(self.document.id, force_send=True)
        self.assertLeavesAsLogin(self.one_mail(provider))

    def test_the_queue_run_by_its_cron(self):
        provider = self.provider()
        self.mail_server(provider)
        mails = self.mail() + self.mail(email_from='"Kevin" <kevin@odoomommy.com>')
        self.env.ref("mail.ir_cron_mail_scheduler_action").with_user(
            self.env.ref("base.user_root")
        ).method_direct_trigger()
        self.assertEqual(mails.mapped("state"), ["sent", "sent"])
        first, second = provider.mails
        self.assertLeavesAsLogin(first)
        self.assertLeavesAsLogin(second, name="Kevin (kevin@odoomommy.com)")
        self.assertEqual(provider.logins, 1, "one session for both authors")

    def test_send_email_called_directly(self):
        provider = self.provider()
        server = self.mail_server(provider)
        sender = self.env["ir.mail_server"].with_user(self.lingsha)
        for named in (None, server.id):
            provider.clear()
            message = sender.build_email(
                '"韩菱纱" <lingsha.han@odoomommy.com>', [CUSTOMER], "Direct", "Hello"
            )
            sender.send_email(message, mail_server_id=named)
            self.assertLeavesAsLogin(self.one_mail(provider))

    def test_send_email_over_a_session_that_the_caller_opened(self):
        provider = self.provider()
        self.mail_server(provider)
        sender = self.env["ir.mail_server"]
        session = sender.connect(smtp_from="lingsha.han@odoomommy.com")
        for _mail in range(2):
            message = sender.build_email(
                '"韩菱纱" <lingsha.han@odoomommy.com>', [CUSTOMER], "Direct", "Hello"
            )
            sender.send_email(message, smtp_session=session)
        session.quit()
        for mail in provider.mails:
            self.assertLeavesAsLogin(mail)
        self.assertEqual((len(provider.mails), provider.logins), (2, 1))

    def test_a_server_given_by_its_parameters(self):
        provider = self.provider()
        sender = self.env["ir.mail_server"]
        message = sender.build_email(
            '"韩菱纱" <lingsha.han@odoomommy.com>', [CUSTOMER], "Direct", "Hello"
        )
        sender.send_email(
            message,
            smtp_server=provider.smtp_host,
            smtp_port=provider.smtp_port,
            smtp_user="kevin@odoomommy.com",
            smtp_password="secret",
        )
        self.assertLeavesAsLogin(self.one_mail(provider))

    def test_a_server_named_on_the_mail(self):
        other = self.provider()
        self.mail_server(other, sequence=1)
        provider = self.provider({"sales@odoomommy.com": "secret"})
        named = self.mail_server(provider, "sales@odoomommy.com", name="Sales", sequence=9)
        mail = self.mail(mail_server_id=named.id)
        mail.send()
        self.assertLeavesAsLogin(self.one_mail(provider), "sales@odoomommy.com")
        self.assertFalse(other.mails)

    def test_the_server_of_the_configuration_file(self):
        provider = self.provider()
        config = {
            "smtp_server": provider.smtp_host,
            "smtp_port": provider.smtp_port,
            "smtp_user": "kevin@odoomommy.com",
            "smtp_password": "secret",
            "smtp_ssl": False,
        }
        with patch.dict(tools.config.options, config):
            self.post()
            self.assertLeavesAsLogin(self.one_mail(provider))
            provider.clear()
            self.mail().send()
            self.assertLeavesAsLogin(self.one_mail(provider))

    def test_a_relay_without_a_username_is_not_restricted(self):
        provider = self.provider(rule="any", require_auth=False)
        self.mail_server(provider, login=False)
        self.post()
        mail = self.one_mail(provider)
        self.assertEqual(mail.mail_from, "bounce@odoomommy.com")
        self.assertEqual(mail.header_from, "notifications@odoomommy.com")
        self.assertEqual(mail.from_name, "韩菱纱")

    def test_a_server_that_anybody_may_use_stays_native(self):
        provider = self.provider(rule="any")
        self.mail_server(provider, sender_policy="any")
        self.post()
        mail = self.one_mail(provider)
        self.assertEqual(mail.mail_from, "bounce@odoomommy.com")
        self.assertEqual(mail.header_from, "notifications@odoomommy.com")

    def test_a_login_that_is_no_address(self):
        provider = self.provider()
        provider.add_account("apikey", "secret", identity="kevin@odoomommy.com")
        self.mail_server(provider, "apikey", sender_address="kevin@odoomommy.com")
        self.post()
        self.assertLeavesAsLogin(self.one_mail(provider))

    def test_the_senders_name(self):
        provider = self.provider()
        self.mail_server(provider)
        for style, name in (
            ("name", "韩菱纱"),
            ("name_company", "韩菱纱 via Qingdao Ohm"),
            ("name_address", "韩菱纱 (lingsha.han@odoomommy.com)"),
        ):
            provider.clear()
            self.settings(mail_sender_name_format=style, mail_restrict_username=True)
            self.post()
            self.assertLeavesAsLogin(self.one_mail(provider), name=name)

    def test_names_that_break_headers(self):
        provider = self.provider()
        self.mail_server(provider)
        for name, shown in (
            ('Lee "the mail" O\'Hara, Ltd.', 'Lee "the mail" O\'Hara, Ltd. (lee@odoomommy.com)'),
            ("😀 Lee", "😀 Lee (lee@odoomommy.com)"),
            ("x" * 500, "x" * 500 + " (lee@odoomommy.com)"),
            (
                "青岛欧姆电子商务有限公司销售部韩菱纱",
                "青岛欧姆电子商务有限公司销售部韩菱纱 (lee@odoomommy.com)",
            ),
        ):
            provider.clear()
            mail = self.mail(email_from=tools.formataddr((name, "lee@odoomommy.com")))
            mail.send()
            self.assertLeavesAsLogin(self.one_mail(provider), name=shown)

    def test_a_name_with_line_ends_adds_no_header(self):
        provider = self.provider()
        self.mail_server(provider)
        mail = self.mail(email_from='"Lee\r\nBcc: victim@example.org" <lee@odoomommy.com>')
        mail.send()
        sent = self.one_mail(provider)
        self.assertEqual(sent.rcpt_tos, (CUSTOMER,))
        self.assertIsNone(sent.message["Bcc"])
        self.assertEqual(sent.from_name, "Lee Bcc: victim@example.org (lee@odoomommy.com)")

    def test_the_authors_reply_address_where_nothing_else_is_known(self):
        self.env["ir.config_parameter"].set_param("mail.catchall.domain", False)
        provider = self.provider()
        self.mail_server(provider)
        self.post()
        mail = self.one_mail(provider)
        self.assertLeavesAsLogin(mail)
        self.assertEqual(mail.reply_to, "lingsha.han@odoomommy.com")
