# SPDX-License-Identifier: LGPL-3.0-only
"""The screens in a real browser, each in English and in Simplified Chinese.

The tours name fields, not texts, so one tour serves both languages. Loading the web client takes
longest: it is loaded once for each user and language, and goes from view to view.
"""

import json
import shutil
import unittest
from concurrent.futures import Future
from functools import partialmethod
from unittest.mock import patch

from odoo.tests.common import ChromeBrowser, HttpCase, new_test_user, tagged
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
#: Odoo gives a step ten seconds, which are few beside other tests
SECONDS_A_STEP = 60

#: goes to a place, which is what stands behind the # of a URL; ends when the view is there
GO = """
new Promise((resolve) => {
    const {bus} = odoo.__WOWL_DEBUG__.root.env;
    const shown = ({detail: mode}) => {
        if (mode !== "new") {
            bus.removeEventListener("ACTION_MANAGER:UI-UPDATED", shown);
            resolve();
        }
    };
    bus.addEventListener("ACTION_MANAGER:UI-UPDATED", shown);
    location.hash = %s;
})
"""


class OnePage(ChromeBrowser):
    """Odoo's browser, which stays on the page it has loaded.

    Every request uses the test's cursor, and a page makes some of its own accord. So they are let
    in during a tour, and wait at any other time.

    :param lock: what a request takes first; the test has it
    """

    def __init__(self, test_class, lock):
        super().__init__(test_class)
        self.lock = lock
        self.lets_in = False
        self.loaded = False

    def navigate_to(self, url, wait_stop=False):
        if url == "about:blank":
            super().navigate_to(url, wait_stop)
            return
        self.lock.release()
        self.lets_in = True
        if self.loaded:
            place = json.dumps(url.partition("#")[2])
            params = {"expression": GO % place, "awaitPromise": True}
            self._websocket_request("Runtime.evaluate", params=params, timeout=SECONDS_A_STEP)
        else:
            super().navigate_to(url, wait_stop)
            self.loaded = True

    def delete_cookie(self, name, **kwargs):
        """The page that stays goes on with it."""

    def clear(self):
        """Get ready for the next tour, after one that failed by leaving the page."""
        if self.lets_in:
            HttpCase._wait_remaining_requests(self.test_class)
            self.lock.acquire()
            self.lets_in = False
        ended = self._result.done() and not self._result.cancelled()
        if ended and not self._result.exception() and not self.had_failure:
            self._result = Future()
        else:
            self.leave()

    def leave(self):
        """Leave the page."""
        ChromeBrowser.clear(self)
        self.loaded = False


def in_each_language(case):
    """Have every test of a class in each language: all in the first, then all in the next."""
    for name, test in list(vars(case).items()):
        if name.startswith("test_") and callable(test):
            delattr(case, name)
            for lang in LANGUAGES:
                run = partialmethod(case.speaking, test, lang)
                setattr(case, name.replace("test", f"test_{lang}", 1), run)
    return case


@in_each_language
@tagged("post_install", "-at_install")
class TestTours(HttpCase):
    registry_test_mode = False  # the class is in it, not each test

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
        cls.registry.enter_test_mode(cls.cr)
        cls.addClassCleanup(cls.registry.leave_test_mode)
        cls.registry.test_lock.acquire()
        cls.addClassCleanup(cls.let_the_last_requests_in)

    @classmethod
    def let_the_last_requests_in(cls):
        cls.registry.test_lock.release()
        HttpCase._wait_remaining_requests(cls)

    @classmethod
    def start_browser(cls):
        if not cls.browser:
            cls.browser = OnePage(cls, cls.registry.test_lock)
            cls.page_of = None
            cls.addClassCleanup(cls.terminate_browser)

    def _wait_remaining_requests(self, timeout=10):
        """They wait for the test: see :class:`OnePage`."""

    def speaking(self, test, lang):
        """Run a test with users of one language."""
        self.env["res.users"].search([]).write({"lang": lang})
        test(self)

    def start_tour(self, url_path, tour_name, **kwargs):
        """Start a tour, once the web client speaks the user's language."""
        user = self.env["res.users"].search([("login", "=", kwargs["login"])])
        self.start_browser()
        if self.page_of != (user, user.lang):
            self.browser.leave()
        type(self).page_of = (user, user.lang)
        manager = "odoo.__DEBUG__.services['web_tour.tour']"
        tour = f"{manager}.tours['{tour_name}']"
        return super().start_tour(
            url_path,
            tour_name,
            ready=f"{tour}.ready"
            f" && odoo.__WOWL_DEBUG__?.root?.env.services.user.lang === '{user.lang}'",
            # a tour leaves no number of the delay behind, which the next one in the page needs
            code=f"{manager}.running_step_delay = 0;"
            f" {tour}.steps.forEach((step) => {{step.timeout = {SECONDS_A_STEP * 1000}}});"
            f" odoo.startTour('{tour_name}')",
            timeout=5 * SECONDS_A_STEP,
            **kwargs,
        )

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

    def test_alias_domain(self):
        """A domain typed in Chinese is kept in ASCII and shown as it was typed."""
        self.start_tour(
            "/web#action=mail_company_routing.action_mail_alias_domain",
            "mail_company_routing.alias_domain",
            login="murong.ziying",
        )
        created = self.env["mail.alias.domain"].search([("name", "=", "xn--fsqu00a.xn--fiqs8s")])
        self.assertEqual(created.reply_domain_id, self.domain)

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

    def test_the_users_preferences(self):
        """An ordinary user sets his Outgoing Email Domain of one company: three clicks."""
        trading = self.env["res.company"].create(
            {"name": "Murong Trading", "email_from_by_company": True}
        )
        domain = self.env["mail.alias.domain"].create({"name": "c.com", "company_id": trading.id})
        user = new_test_user(
            self.env,
            "lingsha.han",
            name="韩菱纱",
            email="lingsha.han@odoomommy.com",
            company_ids=[(6, 0, (self.company + trading).ids)],
        )
        user.lang = self.env.user.lang
        self.start_tour("/web", "mail_company_routing.preferences", login="lingsha.han")
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
    def test_a_refused_mail(self):
        """Two clicks from the red envelope to the queue; the provider then takes the mail."""
        with Provider({"kevin@odoomommy.com": "secret"}, "tencent") as provider:
            place = self.written(provider)
            self.assertFalse(provider.mails)
            self.start_tour(place, "mail_company_routing.failure", login="murong.ziying")
            self.env["mail.mail"].process_email_queue()
            self.assertEqual([mail.mail_from for mail in provider.mails], ["kevin@odoomommy.com"])

    def test_a_sent_mail(self):
        """Two clicks from the envelope to what happened."""
        with Provider({"kevin@odoomommy.com": "secret"}, "any") as provider:
            place = self.written(provider)
            self.assertEqual(len(provider.mails), 1)
            self.start_tour(place, "mail_company_routing.explain", login="murong.ziying")
            self.assertEqual(len(provider.mails), 1, "asked without sending")
