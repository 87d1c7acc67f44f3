# SPDX-License-Identifier: LGPL-3.0-only
"""The Outgoing Email Domain of a user: one line a company, his own to change and no other's."""

from odoo.exceptions import AccessError
from odoo.tests import Form, tagged
from odoo.tests.common import new_test_user

from .test_companies import TwoCompaniesCase


@tagged("post_install", "-at_install")
class TestOutgoingDomain(TwoCompaniesCase):
    def lines(self, user, reader=None):
        user.invalidate_recordset(["outgoing_domain_ids"])  # of a new user none are known
        return user.with_user(reader or user).outgoing_domain_ids

    def write_own(self, user, line, domain):
        """Save the preferences as the web client does."""
        values = {"outgoing_domain_ids": [(1, line.id, {"alias_domain_id": domain.id})]}
        user.with_user(user).with_context(allowed_company_ids=user.company_id.ids).write(values)

    def test_one_line_for_each_company_that_has_the_option_on(self):
        self.assertEqual(self.lines(self.ziying).company_id, self.a + self.b)
        self.b.email_from_by_company = False
        self.ziying.invalidate_recordset()
        self.assertEqual(self.lines(self.ziying).company_id, self.a)

    def test_a_line_sets_the_domain_of_its_company_alone(self):
        line = self.lines(self.ziying).filtered(lambda one: one.company_id == self.b)
        self.assertIn("zy@b.com", line.header_from)
        domain = self.env["mail.alias.domain"].create({"name": "d.com", "company_id": self.b.id})
        self.write_own(self.ziying, line, domain)
        self.assertEqual(self.ziying.with_company(self.b).alias_domain_id, domain)
        self.assertFalse(self.ziying.with_company(self.a).alias_domain_id)
        line.invalidate_recordset()
        self.assertIn("zy@d.com", line.header_from)

    def test_nobody_changes_the_line_of_another_user(self):
        other = new_test_user(self.env, "other", groups="base.group_user")
        other.write({"company_ids": [(6, 0, self.b.ids)], "company_id": self.b.id})
        (line,) = self.lines(other)
        with self.assertRaises(AccessError):
            self.write_own(self.ziying, line, self.b.alias_domain_id)
        self.assertFalse(other.with_company(self.b).alias_domain_id)
        with self.assertRaises(AccessError):
            line.with_user(self.ziying).read(["company_id"])

    def test_an_administrator_sees_the_lines_of_his_companies(self):
        admin = new_test_user(self.env, "admin_of_b", groups="base.group_erp_manager")
        admin.write({"company_ids": [(6, 0, self.b.ids)], "company_id": self.b.id})
        self.assertEqual(self.lines(self.ziying, admin).company_id, self.b)

    def test_a_domain_of_another_company_is_refused(self):
        other = new_test_user(self.env, "other", groups="base.group_user")
        other.write({"company_ids": [(6, 0, self.b.ids)], "company_id": self.b.id})
        with self.assertRefused("Outgoing Email Domain"):
            self.write_own(other, self.lines(other), self.a.alias_domain_id)

    def test_a_company_shows_the_mail_of_the_user_one_chooses(self):
        self.env.user.email = "admin@a.com"
        self.ziying.with_company(self.b).alias_domain_id = self.env["mail.alias.domain"].create(
            {"name": "d.com", "company_id": self.b.id}
        )
        with Form(self.b) as form:
            self.assertIn("admin@b.com", form.routing_from_example)
            form.routing_example_user_id = self.ziying
            self.assertIn("zy@d.com", form.routing_from_example)
