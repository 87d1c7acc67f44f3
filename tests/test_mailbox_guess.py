# SPDX-License-Identifier: LGPL-3.0-only
"""What an address alone is enough for, and whose servers a mailbox takes."""

import json
import re
from unittest.mock import patch

from odoo.exceptions import UserError
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import convert_file

from ..discovery import Network
from .common import MailRoutingCase
from .routing.internet import Internet, config


@tagged("post_install", "-at_install")
class TestMailboxGuess(MailRoutingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.internet = Internet()
        cls.internet.__enter__()
        cls.addClassCleanup(cls.internet.__exit__, None, None, None)
        # what no user's call can: a private method, asked by the code alone
        cls.startClassPatcher(
            patch.object(
                cls.registry["mail.mailbox.setup"],
                "_network",
                lambda self: Network(**cls.internet.way_in()),
            )
        )
        cls.Setup = cls.env["mail.mailbox.setup"]

    def setUp(self):
        super().setUp()
        self.internet.clear()

    def preset(self, provider, **values):
        return self.env["mail.provider"].create(
            {
                "name": "Loopback",
                "smtp_host": provider.smtp_host,
                "smtp_port": provider.smtp_port,
                "smtp_encryption": "none",
                "imap_host": provider.imap_host,
                "imap_port": provider.imap_port,
                "imap_ssl": False,
                "restricted": True,
                **values,
            }
        )

    def test_an_address_and_a_password(self):
        at = self.provider({"kevin@ohm.example": "secret"}, imap=True)
        self.preset(at, email_domains="ohm.example")
        wizard = self.Setup.create({"email": "kevin@ohm.example", "password": "secret"})
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)

    def test_an_address_of_which_nothing_is_known(self):
        wizard = self.Setup.create({"email": "kevin@nobody.example", "password": "secret"})
        self.assertEqual(wizard.provider_id, self.env.ref("mail_company_routing.mail_provider_own"))
        with self.assertRefused("SMTP Host"):
            wizard.action_setup()

    def test_it_says_where_it_knows_it_from(self):
        self.internet.mx["mx.example"] = [(5, "mxbiz1.qq.com")]
        self.internet.srv["_submissions._tcp.srv.example"] = (0, 465, "smtp.srv.example")
        self.internet.site(
            "autoconfig.file.example", "/mail/config-v1.1.xml", config("smtp.file.example")
        )
        for address, words, host in (
            ("kim@mx.example", "by the MX record of mx.example", "smtp.exmail.qq.com"),
            ("kim@srv.example", "by the SRV records of srv.example", "smtp.srv.example"),
            ("kim@file.example", "autoconfig.file.example publishes", "smtp.file.example"),
            ("kim@qq.com", "qq.com is a domain of this provider", "smtp.qq.com"),
            ("kim@none.example", "Nothing is known of none.example", False),
        ):
            with Form(self.Setup) as form:
                form.email = address
                self.assertIn(words, form.found_by)
                self.assertEqual(form.smtp_host, host)

    def test_it_says_what_it_does_not_believe(self):
        self.internet.addresses["autoconfig.inner.example"] = ["192.168.0.1"]
        self.internet.srv["_submissions._tcp.foreign.example"] = (0, 465, "smtp.attacker.example")
        self.internet.site(
            "autoconfig.hostile.example",
            "/mail/config-v1.1.xml",
            b"<!DOCTYPE x [<!ENTITY y 'z'>]><clientConfig/>",
        )
        for address, words in (
            ("kim@inner.example", "leads into an inner network"),
            ("kim@foreign.example", "server of somebody else's"),
            ("kim@hostile.example", "no settings of a mail program"),
        ):
            with Form(self.Setup) as form:
                form.email = address
                self.assertIn(words, form.found_by)
                self.assertFalse(form.smtp_host)
                form.provider_id = self.env.ref("mail_company_routing.mail_provider_qq")

    def test_another_address_changes_a_guess(self):
        self.internet.mx.update({"a.example": [(5, "mxbiz1.qq.com")], "b.example": []})
        self.internet.srv["_submissions._tcp.c.example"] = (0, 465, "smtp.c.example")
        with Form(self.Setup) as form:
            for address, host in (
                ("kim@a.example", "smtp.exmail.qq.com"),
                ("kim@b.example", False),
                ("kim@c.example", "smtp.c.example"),
                ("kim@163.com", "smtp.163.com"),
                ("kim@a.example", "smtp.exmail.qq.com"),
            ):
                form.email = address
                self.assertEqual(form.smtp_host, host, address)

    def test_another_address_keeps_what_was_typed(self):
        with Form(self.Setup) as form:
            form.email = "kim@nobody.example"
            form.smtp_host = "mail.nobody.example"
            form.email = "kim@qq.com"
            self.assertEqual(form.smtp_host, "mail.nobody.example")
            self.assertFalse(form.found_by)
        with Form(self.Setup) as form:
            form.provider_id = self.env.ref("mail_company_routing.mail_provider_zoho")
            form.email = "kim@qq.com"
            self.assertEqual(form.smtp_host, "smtp.zoho.com")
            self.assertFalse(form.found_by)

    def test_pop_where_it_is_known(self):
        self.internet.srv.update(
            {
                "_submissions._tcp.c.example": (0, 465, "smtp.c.example"),
                "_imaps._tcp.c.example": (0, 993, "imap.c.example"),
                "_pop3s._tcp.c.example": (0, 995, "pop.c.example"),
            }
        )
        with Form(self.Setup) as form:
            form.email = "kim@c.example"
            self.assertEqual((form.incoming_host, form.incoming_port), ("imap.c.example", 993))
            form.incoming_type = "pop"
            self.assertEqual((form.incoming_host, form.incoming_port), ("pop.c.example", 995))
        self.assertEqual(form.save().smtp_host, "smtp.c.example")

    def test_what_thunderbird_knows_is_everybodys_domain(self):
        wizard = self.Setup.create({"email": "kim@posteo.net"})
        self.assertEqual((wizard.smtp_host, wizard.incoming_host), ("posteo.de", "posteo.de"))
        self.assertIn("Thunderbird", wizard.found_by)
        self.assertNotIn("Alias domain", wizard.plan)

    def test_without_dnspython_it_says_what_it_would_add(self):
        path = "odoo.addons.mail_company_routing.discovery.resolver.dns"
        with (
            patch(path, None),
            patch.object(
                self.registry["mail.mailbox.setup"], "_network", lambda self: Network(deadline=0)
            ),
            Form(self.Setup) as form,
        ):
            form.email = "kim@localhost.invalid"
            self.assertIn("dnspython", form.found_by)
            form.email = "kim@qq.com"
            self.assertNotIn("dnspython", form.found_by)

    def test_a_guess_that_somebody_makes_up_is_text(self):
        for guess in ("{", "[]", "1", json.dumps({"servers": {"smtp": {}}, "source": "x"})):
            wizard = self.Setup.create({"email": "kim@qq.com", "guess": guess})
            self.assertFalse(wizard.smtp_host)
            self.assertTrue(wizard.found_by is not None)

    def test_no_preset_has_a_limit_that_nobody_confirmed(self):
        presets = self.env["mail.provider"].search([])
        self.assertFalse(any(presets.mapped("max_per_minute") + presets.mapped("max_per_day")))

    def test_an_upgrade_brings_a_new_preset_and_none_that_was_deleted(self):
        """As Odoo loads the file when the addon is upgraded."""
        mine = "mail_company_routing"
        for name in ("exchange_shared", "yandex"):
            self.env.ref(f"{mine}.mail_provider_{name}").unlink()
        convert_file(
            self.cr, mine, "data/mail_provider_data.xml", {}, mode="update", noupdate=False
        )
        self.assertTrue(self.env.ref(f"{mine}.mail_provider_exchange_shared"))
        self.assertFalse(self.env.ref(f"{mine}.mail_provider_yandex", raise_if_not_found=False))

    def test_a_guess_of_another_kind_is_none(self):
        for guess in (
            "[" * 100_000,
            '{"servers": 5}',
            '{"servers": {"smtp": 5}}',
            '{"servers": {"smtp": {"host": ["x"]}}}',
            json.dumps({"servers": {"smtp": {"port": 10**100}}}),
            '{"refused": 5}',
            '{"refused": [["x"]]}',
        ):
            wizard = self.Setup.create({"email": "kim@qq.com", "guess": guess})
            self.assertEqual(wizard._guessed(), {})
            self.assertFalse(wizard._guessed_login())
            self.assertTrue(wizard.found_by is not None)

    def test_all_presets_and_the_own_server_last(self):
        names = [name for _id, name in self.env["mail.provider"].name_search("")]
        self.assertEqual(names[-1], "Other or Own Mail Server")
        self.assertLess(len(names), 100, "the list of the form shows so many")


@tagged("post_install", "-at_install")
class TestMailboxTls(MailRoutingCase):
    """A password goes only to a server that proves who it is."""

    def setUp(self):
        super().setUp()
        # loopback is trusted for being loopback, which is not what is tried here
        self.patch(self.registry["mail.mailbox.setup"], "_is_near", lambda self, host: False)

    def wizard(self, tls, **values):
        self.at = self.provider(imap=True, tls=tls)
        kind = self.env["mail.provider"].create(
            {
                "name": "Loopback",
                "smtp_host": self.at.smtp_host,
                "smtp_port": self.at.smtp_port,
                "smtp_encryption": tls,
                "imap_host": self.at.imap_host,
                "imap_port": self.at.imap_port,
                "imap_ssl": tls == "ssl",
            }
        )
        return self.env["mail.mailbox.setup"].create(
            {
                "email": "kevin@odoomommy.com",
                "password": "secret",
                "provider_id": kind.id,
                "restricted": True,
                **values,
            }
        )

    def test_it_asks_before_the_password_goes(self):
        for tls, words in (
            ("ssl", "certificate of 127.0.0.1 cannot be verified"),
            ("starttls", "certificate of 127.0.0.1 cannot be verified"),
            ("none", "is not encrypted"),
        ):
            with self.subTest(tls=tls):
                wizard = self.wizard(tls)
                wizard.action_setup()
                self.assertFalse(wizard.succeeded)
                self.assertTrue(wizard.asks_unverified)
                self.assertIn(words, wizard.result)
                self.assertIn("The password was not sent", wizard.result)
                self.assertFalse(self.at.logins)
                self.assertNotIn("AUTH", [verb for _session, verb in self.at.commands])
                wizard.write({"accept_unverified": True, "password": "secret"})
                wizard.action_setup()
                self.assertFalse(wizard.succeeded, "the other server is another question")
                self.assertTrue(wizard.asks_unverified)
                self.assertFalse(wizard.accept_unverified)
                wizard.write({"accept_unverified": True, "password": "secret"})
                wizard.action_setup()
                self.assertTrue(wizard.succeeded, wizard.result)
                self.assertFalse(wizard.asks_unverified)
                self.env["ir.mail_server"].search([]).unlink()
                self.env["fetchmail.server"].search([]).unlink()

    def test_a_verified_certificate_is_not_asked_about(self):
        wizard = self.wizard("ssl")
        context = self.at.client_context()
        self.patch(self.registry["mail.mailbox.setup"], "_tls_context", lambda self: context)
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)

    def test_fetching_asks_as_well(self):
        """The certificate that sends is right, and fetching is not encrypted."""
        wizard = self.wizard("starttls")
        context = self.at.client_context()
        self.patch(self.registry["mail.mailbox.setup"], "_tls_context", lambda self: context)
        wizard.action_setup()
        self.assertFalse(wizard.succeeded)
        self.assertTrue(wizard.asks_unverified)
        self.assertEqual(wizard.result.count("fa-check"), 3)

    def test_what_was_accepted_is_of_that_server(self):
        wizard = self.wizard("none", accept_unverified=True)
        self.assertTrue(wizard.accept_unverified)
        wizard.smtp_host = "smtp.other.example"
        self.assertFalse(wizard.accept_unverified)

    def test_a_server_that_cannot_be_reached_is_no_question_of_trust(self):
        wizard = self.wizard("ssl")
        wizard.smtp_port = 1
        wizard.action_setup()
        self.assertFalse(wizard.asks_unverified)
        self.assertIn("Connection refused", wizard.result)


@tagged("post_install", "-at_install")
class TestMailboxNear(MailRoutingCase):
    def test_this_machine(self):
        near = self.env["mail.mailbox.setup"]._is_near
        for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"):
            self.assertTrue(near(host))
        for host in ("10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "", "1"):
            self.assertFalse(near(host))


@tagged("post_install", "-at_install")
class TestMailboxCompanies(MailRoutingCase):
    def setUp(self):
        super().setUp()
        self.at = self.provider(rule="any", imap=True)
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
        self.other = self.env["res.company"].create({"name": "Ohm Two"})
        self.admin = new_test_user(
            self.env,
            "boss",
            groups="base.group_system",
            company_id=self.company.id,
            company_ids=[(6, 0, (self.company + self.other).ids)],
        )

    def wizard(self, company=None, user=None, **values):
        Setup = self.env["mail.mailbox.setup"].with_user(user or self.admin)
        return Setup.with_context(allowed_company_ids=self.company.ids).create(
            {
                "provider_id": self.kind.id,
                "email": "kevin@odoomommy.com",
                "password": "secret",
                "company_id": (company or self.company).id,
                **values,
            }
        )

    def test_from_a_company_that_is_not_ticked(self):
        wizard = self.wizard(self.other)
        self.assertIn("Mail of Ohm Two uses these servers", wizard.plan)
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertEqual(self.other.alias_domain_id.name, "odoomommy.com")
        self.assertEqual(self.other.mail_server_ids.smtp_user, "kevin@odoomommy.com")
        # and once more, for what is there by now
        wizard = self.wizard(self.other)
        self.assertIn("Updates the outgoing server", wizard.plan)
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertEqual(len(self.other.mail_server_ids), 1)

    def test_for_a_company_that_one_does_not_work_in(self):
        third = self.env["res.company"].create({"name": "Ohm Three"})
        wizard = self.wizard(third)
        with self.assertRaisesRegex(UserError, "You do not work in Ohm Three"):
            wizard.action_setup()

    def test_from_the_form_of_a_company(self):
        action = self.other.action_set_up_mailbox()
        self.assertEqual(action["res_model"], "mail.mailbox.setup")
        self.assertEqual(action["context"]["default_company_id"], self.other.id)

    def test_a_company_that_is_not_saved_yet_is_warned_of_nothing(self):
        self.mail_server(self.at)
        self.assertFalse(self.env["res.company"].new({"name": "Ohm New"}).routing_warning)

    def test_a_server_that_is_everybodys(self):
        server = self.mail_server(self.at)
        wizard = self.wizard(self.other)
        self.assertIn("Ohm SMTP is everybody's", wizard.takes_away)
        self.assertIn("taken away from all other companies", wizard.takes_away)
        wizard.make_another = True
        self.assertFalse(wizard.takes_away)
        self.assertNotIn("Updates", wizard.plan)
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertFalse(server.company_id)
        self.assertEqual(len(self.other.mail_server_ids), 1)

    def test_a_domain_that_is_everybodys(self):
        """It is that of General Settings, and in no row of the table yet."""
        domain = self.env["mail.alias.domain"]
        wizard = self.wizard(self.other)
        self.assertIn("odoomommy.com is everybody's", wizard.takes_domain)
        self.assertIn("that of Ohm Two alone", wizard.takes_domain)
        wizard.share_domain = True
        self.assertIn("odoomommy.com, shared by all companies", wizard.plan)
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        row = domain.search([("name", "=", "odoomommy.com")])
        self.assertFalse(row.company_id)
        self.assertEqual(self.other.alias_domain_id, row)
        self.assertFalse(self.wizard(self.other).takes_domain, "it is in the table by now")

    def test_a_domain_of_another_company_stays_as_it_is(self):
        """Its answers are that company's: where they go is not for this mailbox to decide."""
        domain = self.env["mail.alias.domain"].create(
            {"name": "odoomommy.com", "company_id": self.company.id, "catch_all": "no"}
        )
        for is_active in (True, False):
            domain.active = is_active
            wizard = self.wizard(self.other, has_catch_all=True)
            self.assertIn("odoomommy.com of another company stays as it is", wizard.plan)
            told = re.search("answers come to .*|Answers go to .*", wizard.plan)[0]
            wizard.action_setup()
            self.assertTrue(wizard.succeeded, wizard.result)
            self.assertEqual((domain.catch_all, domain.active), ("no", is_active))
            self.assertEqual(self.other.alias_domain_id, domain if is_active else domain.browse())
            self.assertIn(wizard._decide(self.other.mail_server_ids).reply_to, told)
            self.other.alias_domain_id = False

    def test_a_domain_of_a_company_that_one_does_not_work_in(self):
        """Mail from it would leave as that company's, so what helps is told at once."""
        self.env["mail.alias.domain"].create(
            {"name": "odoomommy.com", "company_id": self.company.id, "catch_all": "no"}
        )
        there = new_test_user(
            self.env,
            "boss_there",
            groups="base.group_system",
            company_id=self.other.id,
            company_ids=[(6, 0, self.other.ids)],
        )
        Setup = self.env["mail.mailbox.setup"].with_user(there)
        wizard = Setup.create(
            {
                "provider_id": self.kind.id,
                "email": "kevin@odoomommy.com",
                "password": "secret",
                "company_id": self.other.id,
            }
        )
        self.assertIn("odoomommy.com of another company stays as it is", wizard.plan)
        with self.assertRefused("odoomommy.com", "clear its Company"):
            wizard.action_setup()
        self.assertFalse(self.at.sessions)

    def test_a_domain_that_becomes_a_companys_all_the_same(self):
        self.wizard(self.other).action_setup()
        row = self.env["mail.alias.domain"].search([("name", "=", "odoomommy.com")])
        self.assertEqual(row.company_id, self.other)
        self.env["ir.config_parameter"].set_param("mail.catchall.domain", "other.example")
        self.assertFalse(self.wizard(self.other, email="kevin@own.example").takes_domain)

    def test_both_servers_are_everybodys(self):
        self.mail_server(self.at)
        fetched = self.incoming_server(self.at)
        told = self.wizard(self.other).takes_away
        self.assertIn("Ohm SMTP is everybody's", told)
        self.assertIn(f"by {fetched.name} for everybody", told)

    def test_another_address_forgets_how_the_former_went(self):
        wizard = self.wizard(password="wrong")
        wizard.action_setup()
        self.assertTrue(wizard.result)
        with Form(wizard) as form:
            form.email = "lee@odoomommy.com"
            self.assertFalse(form.result)
            form.password = "wrong"

    def test_a_server_of_another_company(self):
        self.mail_server(self.at, company_id=self.company.id)
        wizard = self.wizard(self.other)
        self.assertIn("belongs to Qingdao Ohm", wizard.takes_away)
        self.assertFalse(self.wizard(self.company).takes_away)

    def test_a_mailbox_that_is_fetched_for_everybody_goes_on_being_so(self):
        self.mail_server(self.at)
        fetched = self.incoming_server(self.at)
        wizard = self.wizard(self.other, make_another=True)
        self.assertIn(f"{fetched.name} stays as it is", wizard.plan)
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        self.assertFalse(fetched.company_id)
        self.assertEqual(self.env["fetchmail.server"].search_count([("user", "!=", False)]), 1)

    def test_the_plan_says_of_answers_what_the_result_says(self):
        """Whatever there is already: domain, catch-all, prefix, other mailboxes."""
        domain = self.env["mail.alias.domain"]
        everybody = {"email_domains": "odoomommy.com"}
        nobody = {"email_domains": False}

        def another_domain():
            self.other.alias_domain_id = domain.create(
                {"name": "two.example", "company_id": self.other.id, "catch_all": "yes"}
            )

        def a_prefix():
            self.other.write({"reply_to_by_company": True, "reply_to_prefix": "info"})

        def its_domain_with_a_prefix():
            self.other.alias_domain_id = domain.create(
                {"name": "odoomommy.com", "company_id": self.other.id, "catch_all": "yes"}
            )
            a_prefix()

        def another_mailbox():
            self.at.add_account("all@odoomommy.com", "secret")
            self.incoming_server(self.at, "all@odoomommy.com")

        def its_own_mailbox():
            self.at.add_account("two@two.example", "secret")
            self.incoming_server(self.at, "two@two.example", company_id=self.other.id)

        def nothing():
            pass

        for prepare in (
            nothing,
            another_domain,
            a_prefix,
            its_domain_with_a_prefix,
            another_mailbox,
            its_own_mailbox,
        ):
            for preset in (everybody, nobody):
                for values in (
                    {},
                    {"has_catch_all": True},
                    {"restricted": False},
                    {"incoming_type": "none"},
                ):
                    with self.subTest(prepare=prepare.__name__, **preset, **values):
                        savepoint = self.env.cr.savepoint()
                        try:
                            prepare()
                            self.kind.write(preset)
                            self.compare(**values)
                        finally:
                            savepoint.close(rollback=True)
                            self.env.invalidate_all()
                            self.registry.clear_caches()

    def compare(self, **values):
        wizard = self.wizard(self.other, **values)
        promised = wizard._in_company()
        answers = promised._decide_by(promised._facts_then(promised._own_domain())).reply_to
        plan = wizard.plan
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        answers = answers or "kevin@odoomommy.com"
        self.assertIn(f"Answers go to {answers}", wizard.result)
        if "answers come to this mailbox" in plan:
            self.assertEqual(answers, "kevin@odoomommy.com")
        else:
            self.assertIn(f"Answers go to {answers}", plan)


@tagged("post_install", "-at_install")
class TestMailboxAfterwards(MailRoutingCase):
    def test_a_shared_mailbox(self):
        """Exchange: one account sends as the address, and its authors as themselves."""
        at = self.provider(rule="exchange", imap=True)
        at.add_account(
            "OHM\\kevin",
            "secret",
            identity="kevin@odoomommy.com",
            send_as=["shared@odoomommy.com", "lingsha.han@odoomommy.com"],
        )
        shared = self.env.ref("mail_company_routing.mail_provider_exchange_shared")
        shared.write(
            {
                "smtp_host": at.smtp_host,
                "smtp_port": at.smtp_port,
                "smtp_encryption": "none",
                "imap_host": at.imap_host,
                "imap_port": at.imap_port,
                "imap_ssl": False,
            }
        )
        with Form(self.env["mail.mailbox.setup"]) as form:
            form.provider_id = shared
            form.email = "shared@odoomommy.com"
            self.assertFalse(form.login)
            form.password = "secret"
        wizard = form.save()
        with self.assertRefused("Login"):
            wizard.action_setup()
        wizard.write({"login": "OHM\\kevin", "password": "secret"})
        wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        at.clear()
        self.post()
        mail = self.one_mail(at)
        self.assertEqual(mail.header_from, "lingsha.han@odoomommy.com")
        self.assertEqual(mail.mail_from, "shared@odoomommy.com")
        self.assertEqual(mail.reply_to, "shared@odoomommy.com")

    def test_general_settings_say_what_they_still_decide(self):
        settings = self.env["res.config.settings"]
        self.assertFalse(settings.create({}).catch_all_note)
        domain = self.env["mail.alias.domain"].create({"name": "a.example", "catch_all": "no"})
        self.env["res.company"].search([]).alias_domain_id = False
        says = settings.create({})
        self.assertIn("Qingdao Ohm", says.alias_domain_note)
        self.assertIn("says for itself", says.catch_all_note)
        self.assertIn("Sender Policy of its own", says.restrict_username_note)
        domain.catch_all = "default"
        self.env["res.company"].search([]).alias_domain_id = domain
        self.env["ir.mail_server"].create(
            {"name": "Ohm SMTP", "smtp_host": "127.0.0.1", "smtp_user": "kevin@a.example"}
        )
        says = settings.create({})
        self.assertIn("every company has an Email Domain", says.alias_domain_note)
        self.assertIn("Decides for: a.example", says.catch_all_note)
        self.assertIn("Decides for the servers: Ohm SMTP", says.restrict_username_note)

    def test_microsofts_date(self):
        office = {"smtp_host": "smtp.office365.com", "smtp_encryption": "starttls"}
        server = self.env["ir.mail_server"].create(
            {"name": "Office", "smtp_user": "kevin@odoomommy.com", "sender_policy": "login"}
            | office
        )
        findings = self.env["mail.checkup"]._findings()
        found = [text for text, records, *_more in findings if records == server]
        self.assertIn("end of December 2026", " ".join(found))
        own = self.env.ref("mail_company_routing.mail_provider_own")
        wizard = self.env["mail.mailbox.setup"].create(
            {"email": "kevin@odoomommy.com", "provider_id": own.id} | office
        )
        self.assertIn("end of December 2026", wizard.provider_note)
        wizard.smtp_host = "smtp.office365.com.example"
        self.assertFalse(wizard.provider_note)
