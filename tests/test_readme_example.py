# SPDX-License-Identifier: LGPL-3.0-only
"""The README's example is true: set up by the forms as it says, and read off the wire.

Only the fields that the README names are filled in. Above all no server has a FROM Filtering, and
Default From is what Odoo and a new alias domain come with.
"""

import re
from pathlib import Path
from typing import NamedTuple

from odoo.tests import Form, tagged
from odoo.tests.common import new_test_user

from .common import MailRoutingCase

ROOT = Path(__file__).resolve().parent.parent
HEADINGS = {
    "README.md": "## Several companies: an example",
    "README.zh_CN.md": "## 多公司：一个例子",
}


class Row(NamedTuple):
    """A row of the example's table; what it says in backticks or by a company's letter."""

    company: str
    restricted_to: str
    outgoing: str
    reply_domain: str
    header_from: str
    server: str
    reply_to: str


#: the rules' own table (one more reader of it than the README)
EXAMPLE = [
    Row("A", "", "", "", "zy@a.com", "A", "catchall@a.com"),
    Row("B", "", "", "", "zy@b.com", "B", "catchall@b.com"),
    Row("B", "", "c.com", "", "zy@c.com", "B", "catchall@b.com"),
    Row("B", "", "c.com", "c.com", "zy@c.com", "B", "catchall@c.com"),
    Row(
        *("B", "kevin@b.com", "c.com", ""),
        *("慕容紫英 (zy@c.com) <kevin@b.com>", "B", "catchall@b.com"),
    ),
]


def rows_of(readme):
    """Read the example's table from a README, in either language."""
    section = (ROOT / readme).read_text("utf-8").partition(HEADINGS[readme])[2]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    rows = []
    for document, outgoing, header_from, server, reply_to in table[2:]:
        restricted_to, *_more = [*_quoted(document), ""]
        domain, reply_domain, *_more = [*_quoted(outgoing), "", ""]
        rows.append(
            Row(
                *(document[0], restricted_to, domain, reply_domain),
                *(*_quoted(header_from), server[0], *_quoted(reply_to)),
            )
        )
    return rows


def _quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


class AdministratorCase(MailRoutingCase):
    """What an administrator does in the forms."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = new_test_user(
            cls.env,
            "ohm_admin",
            groups="base.group_system,base.group_multi_company,base.group_partner_manager",
            company_ids=[(6, 0, cls.env["res.company"].search([]).ids)],
        )

    def form(self, record, view=None):
        """Open a form as the administrator."""
        return Form(record.with_user(self.admin), view)

    def make_domain(self, name, company=None):
        """Make a domain of the Alias Domain table; no company: the administrator's own."""
        with self.form(self.env["mail.alias.domain"]) as form:
            form.name = name
            if company:
                form.company_id = company
        return form.save().with_env(self.env)

    def make_server(self, name, provider, login, company=None):
        """Make an outgoing server from host, port, username and password."""
        with self.form(self.env["ir.mail_server"]) as form:
            form.name = name
            form.smtp_host = provider.smtp_host
            form.smtp_port = provider.smtp_port
            form.smtp_user = login
            form.smtp_pass = "secret"
            if company:
                form.company_id = company
        return form.save().with_env(self.env)

    def save_settings(self, **values):
        """Save General Settings with these fields filled in."""
        with self.form(self.env["res.config.settings"]) as form:
            form.external_email_server_default = True
            for name, value in values.items():
                setattr(form, name, value)
        form.save().execute()


@tagged("post_install", "-at_install")
class TestSeveralCompanies(AdministratorCase):
    """Murong Ziying works for A and B."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # the example has no domain that is everybody's
        cls.env["ir.config_parameter"].set_param("mail.catchall.domain", False)

    def setUp(self):
        super().setUp()
        self.companies, self.domains, self.providers, self.servers = {}, {}, {}, {}
        for name in "AB":
            with self.form(self.env["res.company"]) as form:
                form.name = name
            self.companies[name] = company = form.save().with_env(self.env)
            self.admin.company_ids += company
            self.domains[f"{name.lower()}.com"] = self.make_domain(f"{name.lower()}.com", company)
            with self.form(company) as form:
                form.alias_domain_id = self.domains[f"{name.lower()}.com"]
                form.email_from_by_company = True
                form.mail_server_by_domain = True
            login = f"kevin@{name.lower()}.com"
            self.providers[name] = self.provider({login: "secret"}, "any")
            self.servers[name] = self.make_server(name, self.providers[name], login, company)
        self.domains["c.com"] = self.make_domain("c.com", self.companies["B"])
        self.save_settings(mail_catch_all=True)
        both = self.companies["A"] + self.companies["B"]
        self.ziying = new_test_user(
            self.env,
            "ziying",
            groups="base.group_user,base.group_partner_manager",
            name="慕容紫英",
            email="zy@a.com",
            company_id=both[0].id,
            company_ids=[(6, 0, both.ids)],
        )
        self.documents = {
            name: self.env["res.partner"].create({"name": "Document", "company_id": company.id})
            for name, company in self.companies.items()
        }

    def set_up(self, row):
        """Set what a row of the table has of its own."""
        in_company = self.ziying.with_user(self.ziying).with_company(self.companies[row.company])
        with Form(in_company, "base.view_users_form_simple_modif") as form:
            form.alias_domain_id = self.domains.get(row.outgoing, self.env["mail.alias.domain"])
        with self.form(self.domains["c.com"]) as form:
            form.reply_domain_id = self.domains.get(row.reply_domain, self.env["mail.alias.domain"])
        with self.form(self.servers["B"]) as form:
            form.sender_policy = "login" if row.restricted_to else "default"

    def send(self, row):
        """Let him write about the row's document; give what the customer's provider got."""
        self.set_up(row)
        self.post(self.documents[row.company], self.ziying)
        got = []
        for name, provider in self.providers.items():
            for mail in provider.mails:
                header_from = mail.header_from
                if row.restricted_to:
                    header_from = f"{mail.from_name} <{header_from}>"
                got.append(
                    row._replace(header_from=header_from, server=name, reply_to=mail.reply_to)
                )
                if mail.login != f"kevin@{name.lower()}.com":
                    self.fail(f"{name}'s server was logged in at as {mail.login}")
            provider.clear()
        return got

    def test_no_server_has_a_from_filtering(self):
        for name, server in self.servers.items():
            self.assertFalse(server.from_filter, name)
            self.assertEqual(server.sender_policy, "default")
        for name, domain in self.domains.items():
            self.assertEqual(domain.default_from, "notifications", name)

    def test_both_readmes_have_the_table_of_the_rules(self):
        for readme in HEADINGS:
            self.assertEqual(rows_of(readme), EXAMPLE, readme)

    def test_every_row_is_what_leaves_by_the_wire(self):
        sent = [self.send(row) for row in rows_of("README.md")]
        self.assertEqual(sent, [[row] for row in rows_of("README.md")])
        self.assertEqual(sent, [[row] for row in rows_of("README.zh_CN.md")])


@tagged("post_install", "-at_install")
class TestOneCompany(AdministratorCase):
    """Qingdao Ohm: one company, one domain, one login.

    The domain is the company's Email Domain: without one, and without an option, what leaves is
    native's, which puts the notification address in the author's place.
    """

    def setUp(self):
        super().setUp()
        self.ohm = self.provider(imap=True, rule="any")
        self.admin.company_id = self.company
        with self.form(self.company) as form:
            form.alias_domain_id = self.make_domain("odoomommy.com")
        self.server = self.make_server("Ohm SMTP", self.ohm, "kevin@odoomommy.com")

    def assertRow(self, mail_from, header_from, reply_to):
        self.post()
        mail = self.one_mail(self.ohm)
        self.ohm.clear()
        sender = f"{mail.from_name} <{mail.header_from}>"
        self.assertEqual(
            (mail.mail_from, sender, mail.reply_to), (mail_from, header_from, reply_to)
        )
        self.assertEqual(mail.return_path, mail_from)

    def test_nothing_set(self):
        self.assertRow(
            "bounce@odoomommy.com",
            "韩菱纱 <lingsha.han@odoomommy.com>",
            "catchall@odoomommy.com",
        )

    def test_restricted_then_without_a_catch_all_then_by_company(self):
        login = "kevin@odoomommy.com"
        shown = "韩菱纱 (lingsha.han@odoomommy.com) <kevin@odoomommy.com>"
        self.save_settings(mail_restrict_username=True)
        self.assertRow(login, shown, "catchall@odoomommy.com")
        self.save_settings(mail_catch_all=False)
        with self.form(self.env["fetchmail.server"]) as form:
            form.name = "Mailbox"
            form.server_type = "imap"
            form.server = self.ohm.imap_host
            form.port = self.ohm.imap_port
            form.user = login
            form.password = "secret"
        form.save().button_confirm_login()
        self.assertRow(login, shown, "kevin@odoomommy.com")
        with self.form(self.company) as form:
            form.reply_to_by_company = True
            form.reply_to_prefix = "info"
        self.assertRow(login, shown, "info@odoomommy.com")
