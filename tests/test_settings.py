# SPDX-License-Identifier: LGPL-3.0-only
"""What an administrator sets, and what he is told when it cannot be."""

from unittest.mock import patch

from odoo import tools
from odoo.exceptions import ValidationError
from odoo.tests import Form

from ..routing import SENDER_NAME_FORMATS
from .common import MailRoutingCase


class TestSettings(MailRoutingCase):
    def server(self, **values):
        return self.env["ir.mail_server"].create(
            {"name": "Grid", "smtp_host": "smtp.example.com", **values}
        )

    def shown(self):
        return self.env["res.config.settings"].create({})

    def test_defaults(self):
        settings = self.shown()
        self.assertTrue(settings.mail_catch_all)
        self.assertFalse(settings.mail_restrict_username)
        self.assertEqual(settings.mail_sender_name_format, "name_address")

    def test_the_sender_names_offered_are_those_there_are(self):
        """And the example in each label is what the customer would see."""
        offered = self.env["res.config.settings"]._fields["mail_sender_name_format"].selection
        self.assertEqual([key for key, _label in offered], list(SENDER_NAME_FORMATS))
        for key, label in offered:
            shown = SENDER_NAME_FORMATS[key]("Lee", "lee@example.com", "My Company")
            self.assertEqual(label.partition(": ")[2], shown)

    def test_what_is_saved_is_shown_again(self):
        self.settings(
            mail_catch_all=False, mail_restrict_username=True, mail_sender_name_format="name"
        )
        settings = self.shown()
        self.assertFalse(settings.mail_catch_all)
        self.assertTrue(settings.mail_restrict_username)
        self.assertEqual(settings.mail_sender_name_format, "name")
        self.settings(mail_catch_all=True, mail_restrict_username=False)
        settings = self.shown()
        self.assertTrue(settings.mail_catch_all)
        self.assertFalse(settings.mail_restrict_username)

    def test_saving_other_settings_leaves_them_alone(self):
        self.settings(mail_catch_all=False, mail_restrict_username=True)
        self.shown().execute()
        settings = self.shown()
        self.assertFalse(settings.mail_catch_all)
        self.assertTrue(settings.mail_restrict_username)

    def test_the_form(self):
        form = Form(self.env["res.config.settings"])
        form.external_email_server_default = True
        form.mail_catch_all = False
        form.mail_restrict_username = True
        form.save().execute()
        self.assertFalse(self.shown().mail_catch_all)
        self.assertTrue(self.shown().mail_restrict_username)

    def test_login_address_is_the_username_where_that_is_an_address(self):
        self.assertEqual(self.server(smtp_user="Kevin@a.com").sender_address, "Kevin@a.com")
        self.assertEqual(
            self.server(smtp_user="apikey", from_filter="k@a.com").sender_address, "k@a.com"
        )
        self.assertFalse(self.server(smtp_user="apikey", from_filter="a.com").sender_address)
        self.assertFalse(self.server(smtp_user="DOMAIN\\user").sender_address)
        self.assertEqual(
            self.server(smtp_user="kevin@公司.cn").sender_address, "kevin@xn--55qx5d.cn"
        )

    def test_a_login_address_that_was_filled_in_stays(self):
        server = self.server(smtp_user="apikey", sender_address="kevin@a.com")
        server.smtp_user = "apikey-2"
        self.assertEqual(server.sender_address, "kevin@a.com")
        server.smtp_user = "lee@a.com"
        self.assertEqual(server.sender_address, "lee@a.com")
        filtered = self.server(
            smtp_user="apikey", sender_address="kevin@a.com", from_filter="news@a.com"
        )
        filtered.smtp_user = "apikey-2"
        self.assertEqual(filtered.sender_address, "kevin@a.com")

    def test_restricted_server_without_an_address_is_not_saved(self):
        with self.assertRefused("Grid", "Login Address"):
            self.server(smtp_user="apikey", sender_policy="login")
        self.settings(mail_restrict_username=True)
        with self.assertRefused("Grid", "Login Address"):
            self.server(smtp_user="apikey")
        server = self.server(smtp_user="apikey", sender_policy="any")
        with self.assertRefused("Grid", "Login Address"):
            server.sender_policy = "login"

    def test_archived_servers_are_asked_when_they_come_back(self):
        self.settings(mail_restrict_username=True)
        server = self.server(smtp_user="apikey", active=False)
        with self.assertRefused("Grid"):
            server.active = True

    def test_login_address_must_be_one(self):
        for bad in ("kevin", "kevin@", "a b@c.com", "Kevin <k@a.com>", "凯文@a.com"):
            with self.assertRefused("Login Address"):
                self.server(smtp_user="x@a.com", sender_address=bad)

    def test_restrict_username_lists_the_servers_that_lack_an_address(self):
        self.server(smtp_user="apikey", name="Grid 1")
        self.server(smtp_user="DOMAIN\\user", name="Grid 2")
        self.server(smtp_user="x@a.com", name="Good")
        with self.assertRaises(ValidationError) as caught:
            self.settings(mail_restrict_username=True)
        self.assertIn("Grid 1 (apikey)", str(caught.exception))
        self.assertIn("Grid 2 (DOMAIN\\user)", str(caught.exception))
        self.assertNotIn("Good", str(caught.exception))
        self.assertFalse(self.shown().mail_restrict_username)

    def test_restrict_username_asks_for_the_configuration_files_login_too(self):
        config = {"smtp_server": "smtp.example.com", "smtp_user": "apikey"}
        with (
            patch.dict(tools.config.options, config),
            self.assertRefused("smtp.example.com"),
        ):
            self.settings(mail_restrict_username=True)

    def test_a_login_address_filled_in_survives_a_new_filter(self):
        server = self.server(smtp_user="apikey", sender_address="sales@a.com")
        server.from_filter = "kevin@a.com"
        self.assertEqual(server.sender_address, "sales@a.com")
        server = self.server(smtp_user="apikey")
        server.from_filter = "kevin@a.com"
        self.assertEqual(server.sender_address, "kevin@a.com")

    def test_login_address_is_for_administrators_only(self):
        server = self.server(smtp_user="x@a.com")
        fields = self.env["ir.mail_server"].with_user(self.lingsha).fields_get()
        self.assertNotIn("sender_address", fields)
        self.assertTrue(server.sender_address)

    def test_a_change_holds_for_the_next_mail(self):
        provider = self.provider(rule="any")
        self.mail_server(provider)
        self.post()
        self.settings(mail_restrict_username=True)
        self.post()
        self.settings(mail_restrict_username=False)
        self.post()
        self.assertEqual(
            [mail.header_from for mail in provider.mails],
            ["notifications@odoomommy.com", "kevin@odoomommy.com", "notifications@odoomommy.com"],
        )
