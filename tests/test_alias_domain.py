# SPDX-License-Identifier: LGPL-3.0-only
"""One person, several domains: Murong Ziying's story, and what an administrator may not do."""

import threading

import psycopg2
from lxml import etree

from odoo import SUPERUSER_ID, api
from odoo.exceptions import UserError
from odoo.modules.registry import Registry
from odoo.tests import Form, tagged
from odoo.tests.common import BaseCase, get_db_name, new_test_user
from odoo.tools import mute_logger
from odoo.tools.safe_eval import safe_eval

from .common import CUSTOMER
from .test_companies import TwoCompaniesCase


@tagged("post_install", "-at_install")
class TestMurongZiying(TwoCompaniesCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c_com = cls.env["mail.alias.domain"].create({"name": "c.com", "company_id": cls.b.id})

    def assertRow(self, document, provider, header_from, reply_to):
        self.post(document, self.ziying)
        mail = self.one_mail(provider)
        self.assertEqual((mail.header_from, mail.reply_to), (header_from, reply_to))
        self.assertEqual(mail.from_name, "慕容紫英")
        # aligned with From, as DMARC wants it (RFC 7489 3.1.2)
        self.assertEqual(mail.mail_from, f"bounce@{header_from.partition('@')[2]}")
        self.assertEqual(mail.return_path, mail.mail_from)
        provider.clear()

    def test_on_a_document_of_a(self):
        self.assertRow(self.of_a, self.provider_a, "zy@a.com", "catchall@a.com")

    def test_on_a_document_of_b(self):
        self.assertRow(self.of_b, self.provider_b, "zy@b.com", "catchall@b.com")

    def test_with_an_outgoing_domain_in_b(self):
        self.ziying.with_company(self.b).alias_domain_id = self.c_com
        self.assertRow(self.of_b, self.provider_b, "zy@c.com", "catchall@b.com")
        self.assertRow(self.of_a, self.provider_a, "zy@a.com", "catchall@a.com")

    def test_with_an_outgoing_domain_that_answers_itself(self):
        self.ziying.with_company(self.b).alias_domain_id = self.c_com
        self.c_com.reply_domain_id = self.c_com
        self.assertRow(self.of_b, self.provider_b, "zy@c.com", "catchall@c.com")

    def test_at_a_restricted_server(self):
        self.ziying.with_company(self.b).alias_domain_id = self.c_com
        self.server_b.sender_policy = "login"
        self.post(self.of_b, self.ziying)
        mail = self.one_mail(self.provider_b)
        self.assertLeavesAsLogin(mail, "kevin@b.com", "慕容紫英 (zy@c.com)")
        self.assertEqual(mail.reply_to, "catchall@b.com")

    def test_by_the_queue_in_another_company(self):
        self.ziying.with_company(self.b).alias_domain_id = self.c_com
        self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        self.run_queue(self.a)
        self.assertEqual(self.one_mail(self.provider_b).header_from, "zy@c.com")

    def test_in_mass_mode_answers_go_where_the_domain_says(self):
        self.ziying.with_company(self.b).alias_domain_id = self.c_com
        self.c_com.reply_domain_id = self.c_com
        self.of_b.email = CUSTOMER
        self.env["mail.compose.message"].with_user(self.ziying).create(
            {
                "composition_mode": "mass_mail",
                "model": "res.partner",
                "res_id": self.of_b.id,
                "subject": "News",
                "body": "<p>News</p>",
                "email_from": self.ziying.email_formatted,
            }
        ).with_context(active_ids=self.of_b.ids)._action_send_mail()
        self.run_queue()
        self.assertEqual(self.one_mail(self.provider_b).reply_to, "catchall@c.com")

    def test_froms_domain_decides_the_company(self):
        # about A's document, but from one of B's domains; it is no colleague's: nobody moves it
        self.mail(email_from='"Shop" <shop@c.com>', model="res.partner", res_id=self.of_a.id).send()
        mail = self.one_mail(self.provider_b)
        self.assertEqual((mail.mail_from, mail.header_from), ("bounce@c.com", "shop@c.com"))

    def test_an_archived_domain_is_no_ones(self):
        self.ziying.with_company(self.b).alias_domain_id = self.c_com
        self.c_com.active = False
        self.assertRow(self.of_b, self.provider_b, "zy@b.com", "catchall@b.com")

    def test_a_deleted_domain_is_no_ones(self):
        self.ziying.with_company(self.b).alias_domain_id = self.c_com
        self.c_com.unlink()
        self.assertRow(self.of_b, self.provider_b, "zy@b.com", "catchall@b.com")

    def test_a_domain_that_went_to_a_company_that_is_not_his(self):
        self.ziying.with_company(self.b).alias_domain_id = self.c_com
        self.c_com.company_id = self.company
        self.assertRow(self.of_b, self.provider_b, "zy@b.com", "catchall@b.com")

    def test_he_chooses_for_himself(self):
        domain = self.env["mail.alias.domain"].create({"name": "x.com"})  # of the main company
        mine = self.ziying.with_user(self.ziying).with_company(self.b)
        with Form(mine, view="base.view_users_form_simple_modif") as form:
            form.alias_domain_id = self.c_com
        self.assertEqual(self.ziying.with_company(self.b).alias_domain_id, self.c_com)
        self.assertFalse(self.ziying.with_company(self.a).alias_domain_id)
        with self.assertRefused("Outgoing Email Domain", "x.com", self.company.name):
            mine.write({"alias_domain_id": domain.id})
        colleague = new_test_user(self.env, "colleague", groups="base.group_user")
        with self.assertRaises(UserError):
            colleague.with_user(self.ziying).write({"alias_domain_id": self.c_com.id})


@tagged("post_install", "-at_install")
class TestAliasDomainTable(TwoCompaniesCase):
    def domain(self, name, **values):
        return self.env["mail.alias.domain"].create({"name": name, **values})

    def test_defaults(self):
        domain = self.domain("New.COM")
        self.assertEqual(domain.name, "new.com")
        self.assertEqual(domain.company_id, self.env.company)
        self.assertEqual(domain.catchall_email, "catchall@new.com")
        self.assertEqual(domain.bounce_email, "bounce@new.com")
        self.assertEqual(domain.default_from_email, "notifications@new.com")
        self.assertEqual((domain.catch_all, domain.sequence), ("default", 10))
        self.assertTrue(domain.active)

    def test_a_domain_in_ones_own_script(self):
        domain = self.domain("公司.cn")
        self.assertEqual(domain.name, "xn--55qx5d.cn")
        self.assertEqual(domain.display_name, "公司.cn")
        self.assertEqual(domain.catchall_email, "catchall@xn--55qx5d.cn")
        found = self.env["mail.alias.domain"].name_search("公司.cn")
        self.assertEqual(found, [(domain.id, "公司.cn")])
        domain.name = "bücher.example"
        self.assertEqual(domain.name, "xn--bcher-kva.example")

    def test_the_form_says_how_it_is_written(self):
        with Form(self.env["mail.alias.domain"]) as form:
            form.name = "公司.cn"
        self.assertEqual(form.name, "xn--55qx5d.cn")
        self.assertEqual(form.unicode_name, "公司.cn")

    def test_bad_domains(self):
        for name in (
            "",
            "nodot",
            "a b.com",
            "@a.com",
            "x@a.com",
            "a.com\r\nx",
            "a..com",
            "1.2.3.4",
        ):
            with self.assertRefused("Domain"):
                self.domain(name)

    def test_a_domain_stands_in_the_table_once(self):
        with self.assertRefused("a.com", "already"):
            self.domain("A.com", company_id=self.b.id)
        c_com = self.domain("c.com")
        c_com.active = False
        with self.assertRefused("c.com", "already"):
            self.domain("c.com")

    def test_bad_aliases(self):
        for field, label in (
            ("catchall_alias", "Catchall Alias"),
            ("bounce_alias", "Bounce Alias"),
            ("default_from", "Default From Alias"),
        ):
            for alias in ("a b", "a@", "通知", "a\r\nBcc: x@y.z", ".a"):
                with self.assertRefused(label):
                    self.a.alias_domain_id[field] = alias
        self.a.alias_domain_id.default_from = "hello@elsewhere.com"
        self.assertEqual(self.a.default_from_email, "hello@elsewhere.com")
        with self.assertRefused("Bounce Alias"):
            self.a.alias_domain_id.bounce_alias = "catchall"

    def test_another_companys_reply_domain(self):
        with self.assertRefused("Reply Domain", "b.com", "B"):
            self.a.alias_domain_id.reply_domain_id = self.b.alias_domain_id
        shared = self.domain("shared.com", company_id=False)
        self.a.alias_domain_id.reply_domain_id = shared
        with self.assertRefused("Reply Domain"):
            shared.company_id = self.b

    def test_a_domain_in_use_is_not_taken_away(self):
        with self.assertRaisesRegex(UserError, "a.com is the Email Domain of A"):
            self.a.alias_domain_id.active = False
        with self.assertRaisesRegex(UserError, "a.com is the Email Domain of A"):
            self.a.alias_domain_id.unlink()
        other = self.domain("other.com", company_id=self.a.id)
        self.a.alias_domain_id.reply_domain_id = other
        with self.assertRaisesRegex(UserError, "other.com is the Reply Domain of a.com"):
            other.unlink()
        self.a.alias_domain_id.reply_domain_id = False
        other.unlink()

    def test_several_companies_may_have_one(self):
        shared = self.domain("group.com", company_id=False)
        (self.a + self.b).write({"alias_domain_id": shared.id})
        self.post(self.of_b, self.ziying)
        self.assertSent(self.provider_b, "bounce@group.com", "zy@group.com", "catchall@group.com")
        # a.com still belongs to A, so he keeps it there
        self.post(self.of_a, self.ziying)
        self.assertSent(self.provider_a, "bounce@a.com", "zy@a.com", "catchall@group.com")

    def test_deleting_a_company_says_what_is_left_of_it(self):
        with self.assertRaisesRegex(UserError, "A still has mail servers or domains.*A SMTP"):
            self.a.unlink()

    def test_the_catch_all_of_one_domain(self):
        self.incoming_server(self.provider_b, "kevin@b.com", company_id=self.b.id)
        self.b.alias_domain_id.catch_all = "no"
        self.post(self.of_b, self.ziying)
        self.assertSent(self.provider_b, "kevin@b.com", "zy@b.com", "kevin@b.com")
        self.settings(mail_catch_all=False)
        self.a.alias_domain_id.catch_all = "yes"
        self.post(self.of_a, self.ziying)
        self.assertSent(self.provider_a, "bounce@a.com", "zy@a.com", "catchall@a.com")


@tagged("post_install", "-at_install")
class TestManyDomains(TwoCompaniesCase):
    def queries(self, act):
        act()  # warm
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        act()
        self.env.flush_all()
        return self.env.cr.sql_log_count - before

    def test_two_thousand_cost_no_more_queries_than_two(self):
        table = self.env["mail.alias.domain"]
        fields = ["unicode_name", "company_id", "catchall_email", "reply_domain_id", "catch_all"]

        def show():
            # a page that is full: Odoo then counts what is on the others
            table.web_search_read([], fields, limit=min(80, table.search_count([])))

        def send():
            self.mail(self.ziying, model="res.partner", res_id=self.of_b.id).send()

        few = self.queries(show), self.queries(send)
        table.create(
            [
                {"name": f"d{number}.example.com", "company_id": (self.a, self.b)[number % 2].id}
                for number in range(2000)
            ]
        )
        many = self.queries(show), self.queries(send)
        self.assertEqual(many, few)
        self.assertEqual(self.provider_b.mails[-1].header_from, "zy@b.com")


@tagged("post_install", "-at_install")
class TestDomainOfAForm(TwoCompaniesCase):
    """A domain that is typed into a company's form is that company's, whichever is in force."""

    def type_domain(self, name, company):
        """Type a domain into the Email Domain of a company's form; it may not be saved yet."""
        company_model = self.env["res.company"]
        arch = etree.fromstring(company_model.get_view(view_type="form")["arch"])
        (node,) = arch.xpath("//field[@name='alias_domain_id']")
        context = safe_eval(node.get("context"), {"active_id": company.id})
        domains = self.env["mail.alias.domain"].with_company(self.a).with_context(**context)
        return self.env["mail.alias.domain"].browse(domains.name_create(name)[0])

    def test_of_a_company_that_is_not_in_force(self):
        self.assertEqual(self.type_domain("volt.cn", self.b).company_id, self.b)

    def test_of_a_company_that_is_not_saved_yet(self):
        domain = self.type_domain("volt.cn", self.env["res.company"])
        self.assertFalse(domain.company_id)
        volt = self.env["res.company"].create({"name": "Volt", "alias_domain_id": domain.id})
        self.assertEqual(domain.company_id, volt)

    def test_a_shared_domain_stays_shared(self):
        shared = self.env["mail.alias.domain"].create({"name": "g.com", "company_id": False})
        self.env["res.company"].create({"name": "Volt", "alias_domain_id": shared.id})
        self.assertFalse(shared.company_id)

    def test_an_administrator_sees_the_domains_of_companies_that_are_not_ticked(self):
        admin = new_test_user(self.env, "admin2", groups="base.group_system")
        for user in (admin, self.ziying):
            user.write({"company_ids": [(6, 0, (self.a + self.b).ids)], "company_id": self.a.id})
        domains = self.env["mail.alias.domain"].with_context(allowed_company_ids=self.a.ids)
        own = self.a.alias_domain_id
        there = self.b.alias_domain_id
        self.assertEqual(domains.with_user(admin).search([]) & (own + there), own + there)
        self.assertEqual(domains.with_user(self.ziying).search([]) & (own + there), own)


@tagged("post_install", "-at_install")
class TestConcurrentCreation(BaseCase):
    """Two administrators enter one domain at the same moment: one is told."""

    def test_one_of_two(self):
        registry = Registry(get_db_name())
        both_checked = threading.Barrier(2, timeout=30)
        outcomes = []

        def create():
            try:
                with registry.cursor() as cr:
                    env = api.Environment(cr, SUPERUSER_ID, {})
                    cr.execute("SELECT 1")  # both transactions see a table without the domain
                    both_checked.wait()
                    env["mail.alias.domain"].create({"name": "race.example.com"})
                outcomes.append("created")
            except psycopg2.IntegrityError as error:
                outcomes.append(error.diag.constraint_name)

        threads = [threading.Thread(target=create) for _twice in range(2)]
        with mute_logger("odoo.sql_db"):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with registry.cursor() as cr:
            cr.execute("DELETE FROM mail_alias_domain WHERE name = 'race.example.com'")
        registry.clear_caches()
        self.assertEqual(sorted(outcomes), ["created", "mail_alias_domain_name_uniq"])
