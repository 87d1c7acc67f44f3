# SPDX-License-Identifier: LGPL-3.0-only
"""The aliases of seven apps: each is shown, found and answered with its own domain."""

import json
import shutil
from email.message import EmailMessage

from lxml import etree

from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from .common import CUSTOMER, TradingCompanyCase

BROWSERS = ("google-chrome", "chromium", "chromium-browser", "google-chrome-stable")
#: the choice of a domain in a form
CHOICE = "[name=alias_domain_id] input"

#: model with an alias of its own -> what its records need, and the model of what its mail makes
OWNERS = {
    "crm.team": ({}, "crm.lead"),
    "hr.job": ({}, "hr.applicant"),
    "mail.group": ({}, "mail.group.message"),
    "maintenance.equipment.category": ({}, "maintenance.request"),
    "project.project": ({"privacy_visibility": "employees"}, "project.task"),
}

#: Opens one tab of a form after the other until a field shows the text
LOOK_FOR = """
let round = 0;
const timer = setInterval(() => {
    const found = [...document.querySelectorAll(%(selector)s)];
    if (found.some((node) => (node.value || node.textContent).trim() === %(text)s)) {
        clearInterval(timer);
        console.log("test successful");
        return;
    }
    const tabs = document.querySelectorAll(".o_notebook_headers .nav-link");
    if (tabs.length) {
        tabs[round++ %% tabs.length].click();
    }
}, 200);
"""


@tagged("post_install", "-at_install")
class TestAliases(TradingCompanyCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ziying.groups_id += (
            cls.env.ref("maintenance.group_equipment_manager")
            + cls.env.ref("hr_expense.group_hr_expense_manager")
            + cls.env.ref("base.group_no_one")
        )
        cls.env["maintenance.team"].create({"name": "Maintenance", "company_id": cls.b.id})
        # where the general domain is a third one, it is seen wherever it is taken for an alias's
        cls.env["ir.config_parameter"].set_param("mail.catchall.domain", "general.com")

    def record(self, model, company, name="office", **values):
        """Make a record with an alias in a company, as Ziying does in its form."""
        env = self.env_of(self.ziying, company)
        if "company_id" in env[model]._fields:
            values["company_id"] = company.id
        needed, _made = OWNERS[model]
        return env[model].create(
            {"name": f"{name} of {company.name}", "alias_name": name, **needed, **values}
        )

    def receive(self, to, subject):
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = CUSTOMER, to, subject
        message["Message-ID"] = f"<{subject}.{to}@example.net>".replace(" ", "")
        message.set_content("What does it cost?")
        with mute_logger("odoo.addons.mail.models.mail_thread"):
            self.env["mail.thread"].with_context(
                mail_company_routing_send_later=True
            ).message_process(None, message.as_bytes())

    def assertPrinted(self, arch):
        """Check that a form prints no general domain beside the name, and lets choose one."""
        arch = etree.fromstring(arch)
        printed = arch.xpath("//field[@name='alias_name']/../field[@name='alias_domain']")
        self.assertTrue(printed)
        for node in printed:
            self.assertIn("invisible", node.get("modifiers"))
            self.assertEqual(node.getnext().get("name"), "alias_domain_id")

    def test_one_name_in_two_companies_in_each_app(self):
        for number, (model, (_needed, made)) in enumerate(OWNERS.items()):
            with self.subTest(model):
                name = f"office{number}"
                records = self.record(model, self.a, name) + self.record(model, self.b, name)
                self.assertEqual(
                    records.mapped("alias_id.display_name"), [f"{name}@a.com", f"{name}@b.com"]
                )
                self.assertEqual(records.mapped("alias_domain"), ["a.com", "b.com"])
                before = self.env[made].search([])
                self.receive(f"{name}@b.com", f"To B {model}")
                new = self.env[made].search([]) - before
                self.assertEqual(len(new), 1)
                if "company_id" in new._fields and made != "mail.group.message":
                    self.assertEqual(new.company_id, self.b)

    def test_the_forms_print_and_choose_the_domain(self):
        # that of equipment categories shows it in debug mode alone: see the browser's test
        for model in OWNERS.keys() - {"maintenance.equipment.category"}:
            with self.subTest(model):
                env = self.env_of(self.ziying, self.b)
                self.assertPrinted(env[model].get_view(view_type="form")["arch"])
        for view in (
            "project.project_project_view_form_simplified",
            "hr_recruitment.hr_job_simple_form",
        ):
            view = self.env.ref(view)
            self.assertPrinted(
                self.env_of(self.ziying, self.b)[view.model].get_view(view.id, "form")["arch"]
            )

    def test_a_form_saves_the_domain_that_is_chosen(self):
        shared = self.env["mail.alias.domain"].create({"name": "shared.com", "company_id": False})
        env = self.env_of(self.ziying, self.b)
        for model in ("crm.team", "project.project", "hr.job"):
            with self.subTest(model):
                record = self.record(model, self.b, "chosen" + model.partition(".")[0])
                with Form(record.with_env(env)) as form:
                    self.assertEqual(form.alias_domain_id.name, "b.com")
                    form.alias_domain_id = shared
                self.assertEqual(record.alias_domain, "shared.com")

    def test_journals(self):
        """#157367, #159037: the name is Odoo's, the domain the journal's company's."""
        env = self.env_of(self.ziying, self.b)
        journal = env["account.journal"].create(
            {"name": "Bills", "code": "BB", "type": "purchase", "company_id": self.b.id}
        )
        self.assertEqual(journal.alias_domain, "b.com")
        self.assertEqual(journal.alias_id.alias_domain_id.name, "b.com")
        self.assertEqual(journal.alias_id.display_name, f"{journal.alias_name}@b.com")
        before = self.env["account.move"].search([])
        self.receive(f"{journal.alias_name}@b.com", "Bill")
        move = self.env["account.move"].search([]) - before
        self.assertEqual((move.journal_id, move.company_id), (journal, self.b))
        # a journal with the same alias in the other company
        other = self.env_of(self.ziying, self.a)["account.journal"].create(
            {
                "name": "Bills",
                "code": "BA",
                "type": "purchase",
                "company_id": self.a.id,
                "alias_name": journal.alias_name,
            }
        )
        self.assertEqual(other.alias_id.display_name, f"{journal.alias_name}@a.com")
        self.assertEqual((journal + other).mapped("alias_domain"), ["b.com", "a.com"])

    def test_sources_of_applicants(self):
        job = self.record("hr.job", self.b, "developer")
        source = self.env_of(self.ziying, self.b)["hr.recruitment.source"].create(
            {"name": "Fair", "job_id": job.id}
        )
        source.create_alias()
        self.assertEqual(source.email, "developer+fair@b.com")

    def test_expenses(self):
        alias = self.env.ref("hr_expense.mail_alias_expense")
        self.env["res.config.settings"].create(
            {"use_mailgateway": True, "expense_alias_prefix": "receipts"}
        ).execute()
        alias.alias_domain_id = self.b.alias_domain_id
        self.assertIn("receipts@b.com", self.env["hr.expense"].get_empty_list_help(""))
        settings = self.env_of(self.ziying, self.a)["res.config.settings"]
        arch = etree.fromstring(settings.get_view(view_type="form")["arch"])
        (shown,) = arch.xpath(
            "//field[@name='expense_alias_prefix']/../field[contains(@name, 'domain')]"
        )
        self.assertEqual(settings.create({})[shown.get("name")], "b.com")

    def test_mail_groups(self):
        """A group's label is its own, and its lists name its own domain."""
        group = self.record("mail.group", self.b, "news")
        self.assertEqual(group.alias_fullname, f"{group.alias_name}@b.com")
        labels = [field.string for field in group._fields.values()]
        for name in ("alias_domain_id", "alias_full_name", "alias_incoming_local"):
            self.assertEqual(labels.count(group._fields[name].string), 1)

    def test_help_texts_name_the_address(self):
        team = self.record("crm.team", self.b, "sales")
        env = self.env_of(self.ziying, self.b)
        team.use_leads = True
        self.env["crm.team"].search([("id", "!=", team.id)]).alias_name = False
        self.assertIn("sales@b.com", env["crm.lead"].get_empty_list_help(""))

    def test_tasks_answer_by_their_projects_own_address(self):
        project = self.record("project.project", self.b, "build")
        task = self.env_of(self.ziying, self.b)["project.task"].create(
            {"name": "T", "project_id": project.id}
        )
        self.assertIn("<build@b.com>", task._notify_get_reply_to()[task.id])

    def test_a_task_is_followed_by_whoever_is_no_alias(self):
        """A customer's address may have the project's name before the @."""
        project = self.record("project.project", self.b, "build")
        task = self.env["project.task"].create({"name": "T", "project_id": project.id})
        given = {"to": "Build <build@b.com>, build@customer.example", "cc": CUSTOMER}
        self.assertEqual(task.email_split(given), ["build@customer.example", CUSTOMER])
        self.env["mail.alias"].search([]).alias_domain_id = False
        self.env["res.company"].search([]).alias_domain_id = False
        self.env["mail.alias.domain"].search([]).active = False
        self.assertEqual(task.email_split(given), [CUSTOMER], "without a domain it is Odoo's own")

    def test_the_forms_in_a_browser(self):
        """Each of the seven apps' forms prints B's domain, though the general one is another."""
        if not any(map(shutil.which, BROWSERS)):
            self.skipTest("no Chromium here: apt-get install chromium")
        self.ziying.password = "ziying"  # as the browser logs in
        self.ziying.company_id = self.b
        expense = self.env.ref("hr_expense.mail_alias_expense")
        self.env["res.config.settings"].create(
            {"use_mailgateway": True, "expense_alias_prefix": "receipts"}
        ).execute()
        expense.alias_domain_id = self.b.alias_domain_id
        journal = self.env_of(self.ziying, self.b)["account.journal"].create(
            {"name": "Bills", "code": "BB", "type": "purchase", "company_id": self.b.id}
        )
        places = {
            f"model={model}&id={self.record(model, self.b, f'form{number}').id}": CHOICE
            for number, model in enumerate(OWNERS)
        }
        places[f"model=account.journal&id={journal.id}"] = "[name=alias_domain]"
        for place, selector in places.items():
            self.look(f"{place}&view_type=form", selector)
        action = self.env.ref("hr_expense.action_hr_expense_configuration").id
        self.look(f"action={action}", "[name=expense_alias_domain]")

    def look(self, place, selector):
        with self.subTest(place):
            self.browser_js(
                f"/web?debug=1#cids={self.b.id}&{place}",
                LOOK_FOR % {"selector": json.dumps(selector), "text": json.dumps("b.com")},
                ready="odoo.isReady",
                login="ziying",
                timeout=60,
            )
