# SPDX-License-Identifier: LGPL-3.0-only
"""The screens in a real browser, each in English and in Simplified Chinese.

The tours name fields, not texts, so one tour serves both languages.
"""

import shutil
import unittest
from functools import wraps
from unittest.mock import patch

from odoo import api
from odoo.tests.common import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from ..dev.dns_server import DnsServer
from ..dev.provider import Provider
from .common import make_users_quickly

#: what Odoo's ChromeBrowser looks for, in its order
BROWSERS = ("google-chrome", "chromium", "chromium-browser", "google-chrome-stable")
LANGUAGES = ("en_US", "zh_CN")
#: what the web client loads
BUNDLES = (
    "web.assets_common",
    "web.assets_backend",
    "web.assets_backend_prod_only",
    "web.assets_tests",
    "bus.websocket_worker_assets",
)
#: Odoo gives a step ten seconds, which are few on a busy machine
SECONDS_A_STEP = 60


def in_each_language(test):
    """Run a test once for each language, with nothing left of the one before."""

    @wraps(test)
    def run(self):
        for lang in LANGUAGES:
            with self.subTest(lang=lang):
                savepoint = self.env.cr.savepoint()
                try:
                    self.env["res.users"].search([]).write({"lang": lang})
                    test(self)
                finally:
                    savepoint.close(rollback=True)
                    self.env.invalidate_all()
                    self.registry.clear_caches()

    return run


@tagged("post_install", "-at_install")
class TestTours(HttpCase):
    @classmethod
    def setUpClass(cls):
        if not any(map(shutil.which, BROWSERS)):
            raise unittest.SkipTest(
                "no Chromium here, so the tours are not run: apt-get install chromium"
            )
        super().setUpClass()
        make_users_quickly(cls)
        languages = cls.env["res.lang"].with_context(active_test=False)
        languages.search([("code", "in", LANGUAGES)]).active = True
        modules = cls.env["ir.module.module"].search([("state", "=", "installed")])
        modules._update_translations(["zh_CN"])
        set_param = cls.env["ir.config_parameter"].set_param
        set_param("mail.catchall.domain", "odoomommy.com")
        set_param("mail.catchall.alias", "catchall")
        set_param("base_setup.default_external_email_server", True)
        # once for all tours: what a tour's own request makes is undone with it
        for bundle in BUNDLES:
            cls.env["ir.qweb"]._generate_asset_nodes(bundle)
        cls.env["ir.mail_server"].search([]).active = False
        cls.company = cls.env.company
        cls.domain = cls.env["mail.alias.domain"].create({"name": "odoomommy.com"})
        cls.admin = new_test_user(
            cls.env,
            "murong.ziying",
            groups="base.group_system,base.group_erp_manager,base.group_partner_manager",
            name="慕容紫英",
            email="zy@odoomommy.com",
        )

    def start_tour(self, url_path, tour_name, **kwargs):
        """Start a tour, once the web client speaks the user's language."""
        user = self.env["res.users"].search([("login", "=", kwargs["login"])])
        tour = f"odoo.__DEBUG__.services['web_tour.tour'].tours['{tour_name}']"
        ready = (
            f"{tour}.ready && odoo.__WOWL_DEBUG__?.root?.env.services.user.lang === '{user.lang}'"
        )
        code = (
            f"{tour}.steps.forEach((step) => {{step.timeout = {SECONDS_A_STEP * 1000}}});"
            f" odoo.startTour('{tour_name}')"
        )
        kwargs.update(code=code, ready=ready, timeout=5 * SECONDS_A_STEP)
        try:
            return super().start_tour(url_path, tour_name, **kwargs)
        finally:
            # The bus goes on asking for its websocket, and every request uses the test's cursor
            self.terminate_browser()
            self._wait_remaining_requests()

    def authenticate(self, user, password):
        with self.registry.test_lock:  # for the requests that were under way all the same
            return super().authenticate(user, password)

    @in_each_language
    def test_settings(self):
        """Restrict Username on and Catch All off are there after General Settings were saved."""
        self.start_tour(
            "/web#action=base_setup.action_general_configuration",
            "mail_company_routing.settings",
            login="murong.ziying",
        )
        get_param = self.env["ir.config_parameter"].get_param
        self.assertEqual(get_param("mail_company_routing.restrict_username"), "True")
        self.assertEqual(get_param("mail_company_routing.catch_all"), "False")
        self.assertEqual(get_param("mail_company_routing.sender_name_format"), "name_company")

    @in_each_language
    def test_mail_server(self):
        """A login that is no address is refused while Restrict Username is on, then fixed."""
        self.env["res.config.settings"].create({"mail_restrict_username": True}).execute()
        self.start_tour(
            "/web#action=base.action_ir_mail_server_list",
            "mail_company_routing.mail_server",
            login="murong.ziying",
        )
        server = self.env["ir.mail_server"].search([("name", "=", "Relay of Ohm")])
        self.assertEqual(server.sender_address, "kevin@odoomommy.com")

    @in_each_language
    def test_company(self):
        """The company's options are saved; its Reply-To address is shown while it is typed."""
        self.company.alias_domain_id = self.domain
        self.start_tour(
            "/web#action=base.action_res_company_form&model=res.company&view_type=form"
            f"&id={self.company.id}",
            "mail_company_routing.company",
            login="murong.ziying",
        )
        self.assertEqual(self.company.reply_to_email, "service@odoomommy.com")
        self.assertTrue(self.company.email_from_by_company)
        self.assertTrue(self.company.mail_server_by_domain)
        self.assertTrue(self.company.mail_server_by_reply_to)

    @in_each_language
    def test_alias_domain(self):
        """A domain typed in Chinese is kept in ASCII and shown as it was typed."""
        self.start_tour(
            "/web#action=mail_company_routing.action_mail_alias_domain",
            "mail_company_routing.alias_domain",
            login="murong.ziying",
        )
        created = self.env["mail.alias.domain"].search([("name", "=", "xn--fsqu00a.xn--fiqs8s")])
        self.assertEqual(created.reply_domain_id, self.domain)

    @in_each_language
    def test_checkup(self):
        """A finding is fixed where it is seen; DNS is asked on a click, and says what to enter."""
        dns = DnsServer(
            (
                'spf.mail.qq.com TXT "v=spf1 ip4:203.0.113.0/24 -all"',
                "odoomommy.com MX 5 mxbiz1.qq.com",
                'odoomommy.com TXT "v=spf1 -all"',
                '_dmarc.odoomommy.com TXT "v=DMARC1; p=none"',
            )
        ).start()
        self.addCleanup(dns.stop)
        self.env["ir.config_parameter"].set_param("mail_company_routing.dns_server", dns.address)
        self.company.write({"alias_domain_id": self.domain.id, "mail_server_by_domain": True})
        server = self.env["ir.mail_server"].create(
            {
                "name": "Ohm SMTP",
                "smtp_host": "smtp.exmail.qq.com",
                "smtp_user": "kevin@odoomommy.com",
                "company_id": self.company.id,
            }
        )
        self.domain.catch_all = "no"
        self.start_tour(
            "/web#action=mail_company_routing.action_mail_checkup",
            "mail_company_routing.checkup",
            login="murong.ziying",
        )
        self.assertEqual(server.sender_policy, "login")

    @in_each_language
    def test_preferences(self):
        """An ordinary user sets his Outgoing Email Domain of one company: three clicks."""
        trading, wood = self.env["res.company"].create(
            [
                {"name": "Murong Trading", "email_from_by_company": True},
                {"name": "Murong Wood", "email_from_by_company": True},
            ]
        )
        domain = self.env["mail.alias.domain"].create({"name": "c.com", "company_id": trading.id})
        user = new_test_user(
            self.env,
            "lingsha.han",
            name="韩菱纱",
            email="lingsha.han@odoomommy.com",
            company_ids=[(6, 0, (self.company + trading + wood).ids)],
        )
        user.lang = self.env.user.lang
        asked = []
        table = self.registry["mail.alias.domain"]
        for name in ("name_search", "search_read"):
            real = getattr(table, name)

            def noting(*args, real=real, **kwargs):
                asked.append(real.__name__)
                return real(*args, **kwargs)

            self.patch(table, name, api.model(noting))
        self.start_tour("/web", "mail_company_routing.preferences", login="lingsha.han")
        # opened, saved, and opened again
        self.assertEqual(len(asked), 3, "once for all lines")
        self.assertEqual(user.with_company(trading).alias_domain_id, domain)
        self.assertFalse(user.with_company(self.company).alias_domain_id)

    def written(self, provider):
        """Let the administrator write to a customer by a provider; give the document's address."""
        # real sockets: Odoo opens no connection in test mode
        real = patch.object(self.registry["ir.mail_server"], "_is_test_mode", lambda self: False)
        self.addCleanup(real.stop)
        real.start()
        self.env["ir.mail_server"].create(
            {
                "name": "Ohm SMTP",
                "smtp_host": provider.smtp_host,
                "smtp_port": provider.smtp_port,
                "smtp_user": "kevin@odoomommy.com",
                "smtp_pass": "secret",
            }
        )
        self.customer = self.env["res.partner"].create(
            {"name": "Customer", "email": "customer@example.net"}
        )
        document = self.env["res.partner"].create({"name": "Document"})
        document.with_user(self.admin).message_post(
            body="Hello",
            partner_ids=self.customer.ids,
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            force_send=True,
        )
        return f"/web#model=res.partner&view_type=form&id={document.id}"

    @mute_logger("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")
    @in_each_language
    def test_a_refused_mail(self):
        """Two clicks from the red envelope to the queue; the provider then takes the mail."""
        with Provider({"kevin@odoomommy.com": "secret"}, "tencent") as provider:
            place = self.written(provider)
            self.assertFalse(provider.mails)
            self.start_tour(place, "mail_company_routing.failure", login="murong.ziying")
            self.env["mail.mail"].process_email_queue()
            self.assertEqual([mail.mail_from for mail in provider.mails], ["kevin@odoomommy.com"])

    @in_each_language
    def test_a_sent_mail(self):
        """Two clicks from the envelope to what happened."""
        with Provider({"kevin@odoomommy.com": "secret"}, "any") as provider:
            place = self.written(provider)
            self.assertEqual(len(provider.mails), 1)
            self.start_tour(place, "mail_company_routing.explain", login="murong.ziying")
            self.assertEqual(len(provider.mails), 1, "asked without sending")
