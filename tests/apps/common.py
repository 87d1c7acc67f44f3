# SPDX-License-Identifier: LGPL-3.0-only
"""A trading company with two companies, set up as an administrator does it."""

import threading
from contextlib import contextmanager
from unittest.mock import patch

from odoo import Command, fields
from odoo.tests.common import HttpCase, new_test_user

from ...dev.provider import RULES, Provider

CUSTOMER = "customer@example.net"

#: Ziying does everything himself
MANAGER = (
    "account.group_account_manager",
    "base.group_erp_manager",
    "base.group_partner_manager",
    "base.group_system",
    "event.group_event_manager",
    "hr_recruitment.group_hr_recruitment_manager",
    "mail_group.group_mail_group_manager",
    "mass_mailing.group_mass_mailing_user",
    "project.group_project_manager",
    "purchase.group_purchase_manager",
    "sales_team.group_sale_manager",
    "stock.group_stock_manager",
    "survey.group_survey_manager",
)


class TradingCompanyCase(HttpCase):
    """Companies A and B; Murong Ziying works in both, Bob in B; OdooBot, of A, runs the queue.

    FROM Filtering is empty, Default From and the aliases are what Odoo and a new alias domain come
    with. Each company has one outgoing server, at a provider of its own that lets anybody send.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # real sockets: Odoo opens no connection in test mode
        cls.startClassPatcher(
            patch.object(cls.registry["ir.mail_server"], "_is_test_mode", lambda self: False)
        )
        # what commits as it goes, such as a mailing, keeps the test's transaction
        cls.startClassPatcher(patch.object(cls.cr, "commit", cls.env.flush_all))
        cls._set_companies_up()
        cls._set_people_up()
        cls._set_documents_up()

    @classmethod
    def _set_companies_up(cls):
        cls.env["ir.mail_server"].search([]).active = False
        cls.a = cls.env.company
        cls.a.write({"name": "A", "email": "info@a.com"})
        layout = cls.env.ref("web.external_layout_standard").id
        cls.a.external_report_layout_id = layout
        cls.b = cls.env["res.company"].create(
            {"name": "B", "email": "info@b.com", "external_report_layout_id": layout}
        )
        cls.a.chart_template_id.try_loading(company=cls.b, install_demo=False)
        for company in cls.a + cls.b:
            domain = cls.env["mail.alias.domain"].create(
                {"name": f"{company.name.lower()}.com", "company_id": company.id}
            )
            company.write(
                {
                    "alias_domain_id": domain.id,
                    "email_from_by_company": True,
                    "mail_server_by_domain": True,
                }
            )

    @classmethod
    def _set_people_up(cls):
        cls.root = cls.env.ref("base.user_root")
        both = [Command.set((cls.a + cls.b).ids)]
        cls.ziying = new_test_user(
            cls.env,
            "ziying",
            groups=",".join(("base.group_user", *MANAGER)),
            name="Murong Ziying",
            email="zy@a.com",
            company_id=cls.a.id,
            company_ids=both,
        )
        cls.bob = new_test_user(
            cls.env,
            "bob",
            groups="base.group_user,mass_mailing.group_mass_mailing_user",
            name="Bob",
            email="bob@b.com",
            company_id=cls.b.id,
            company_ids=[Command.set(cls.b.ids)],
        )
        cls.portal_user = new_test_user(
            cls.env,
            "customer",
            groups="base.group_portal",
            name="Customer",
            email=CUSTOMER,
            company_id=cls.a.id,
            company_ids=both,
        )
        cls.customer = cls.portal_user.partner_id

    @classmethod
    def _set_documents_up(cls):
        """Give B, as Ziying enters it, a website, a product and an order."""
        env = cls.env_of(cls.ziying, cls.b)
        cls.website = env["website"].create(
            {
                "name": "B",
                "company_id": cls.b.id,
                "domain": cls.base_url(),
                "crm_default_user_id": cls.bob.id,
                "crm_default_team_id": env["crm.team"]
                .create({"name": "Sales of B", "company_id": cls.b.id})
                .id,
            }
        )
        cls.product = env["product.product"].create(
            {"name": "Resistor", "detailed_type": "consu", "list_price": 10}
        )
        cls.order = env["sale.order"].create(
            {
                "partner_id": cls.customer.id,
                "user_id": cls.ziying.id,
                "website_id": cls.website.id,
                "order_line": [Command.create({"product_id": cls.product.id})],
            }
        )

    @classmethod
    def env_of(cls, user, company, *ticked):
        """Give the environment of a user's browser.

        :param company: the current one
        :param ticked: the others that are ticked in the company switcher
        """
        companies = (company, *ticked)
        return cls.env(
            user=user,
            context={
                "allowed_company_ids": [each.id for each in companies],
                "lang": user.lang,
                "tz": user.tz,
            },
        )

    def setUp(self):
        super().setUp()
        self.providers = {}
        self.servers = {}
        for company in self.a + self.b:
            domain = company.alias_domain_id.name
            login = f"kevin@{domain}"
            provider = Provider({login: "secret"}, "any", catch_all={domain: login})
            self.addCleanup(provider.stop)
            provider.start()
            self.providers[company.name] = provider
            self.servers[company.name] = self.env["ir.mail_server"].create(
                {
                    "name": f"{company.name} SMTP",
                    "company_id": company.id,
                    "smtp_host": provider.smtp_host,
                    "smtp_port": provider.smtp_port,
                    "smtp_user": login,
                    "smtp_pass": "secret",
                }
            )

    def have_no_catch_all(self):
        """Turn Catch All off, as General Settings do."""
        self.env["res.config.settings"].create({"mail_catch_all": False}).execute()

    def restrict(self, name, rule="tencent"):
        """Let a company's provider take its login alone as sender, and its server know that."""
        self.providers[name].rule = RULES[rule]
        self.servers[name].sender_policy = "login"

    @contextmanager
    def in_production(self):
        """Let Odoo do what it does outside tests, where a notification waits for the commit."""
        thread = threading.current_thread()
        thread.testing = False
        try:
            yield
        finally:
            thread.testing = True

    def run_queue(self):
        """Send what waits, as the cron's user, who is at home in A."""
        self.env.flush_all()
        self.env.invalidate_all()
        self.assertEqual(self.root.company_id, self.a)
        self.env(user=self.root, context={})["mail.mail"].process_email_queue()

    def sent(self):
        """Give (company of the server, mail) for what the providers accepted."""
        return [(name, mail) for name, each in self.providers.items() for mail in each.mails]

    def why_nothing(self):
        """Say, for a message, what the providers refused and what failed."""
        mails = self.env["mail.mail"].search([])
        refusals = [refusal for each in self.providers.values() for refusal in each.refusals]
        failures = mails.mapped(lambda mail: (mail.subject, mail.state, mail.failure_reason))
        return f"refused: {refusals}; failed: {failures}"

    @staticmethod
    def today():
        """Give the present moment, as Odoo keeps it."""
        return fields.Datetime.now()
