# SPDX-License-Identifier: LGPL-3.0-only
"""The first page after the installation, and where it leads."""

from odoo.tests import tagged
from odoo.tests.common import new_test_user

from .test_companies import TwoCompaniesCase


@tagged("post_install", "-at_install")
class TestFirstSteps(TwoCompaniesCase):
    def test_apps_opens_it_once_the_addon_is_installed(self):
        """The web client is loaded anew, since it has no asset and no menu of the addon yet."""
        todo = self.env.ref("mail_company_routing.mail_routing_start_todo")
        action = todo.action_launch()
        self.assertEqual(action["tag"], "reload")
        opened = self.env["ir.actions.server"].browse(action["params"]["action_id"])
        self.assertEqual(opened, self.env.ref("mail_company_routing.action_mail_routing_start"))
        self.assertEqual(todo.state, "done")

    def test_it_lists_the_companies_one_works_in(self):
        admin = new_test_user(self.env, "start_admin", groups="base.group_system")
        admin.write({"company_ids": [(6, 0, self.b.ids)], "company_id": self.b.id})
        opened = self.env["mail.routing.start"].with_user(admin).action_open()
        self.env.invalidate_all()  # the web client reads it in another request
        page = self.env["mail.routing.start"].with_user(admin).browse(opened["res_id"])
        self.assertEqual(page.company_ids, self.b)
        action = page.company_ids.action_open_email_routing()
        self.assertEqual((action["res_model"], action["res_id"]), ("res.company", self.b.id))
        view = self.env["ir.ui.view"].browse(action["views"][0][0])
        self.assertIn('autofocus="autofocus"', view.get_combined_arch())

    def test_the_list_of_apps_names_it_in_the_readers_language(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        app = self.env.ref("base.module_mail_company_routing")
        app._update_translations(["zh_CN"])
        app = app.with_context(lang="zh_CN")
        self.assertEqual(app.shortdesc, "按公司收发邮件")
        self.assertIn("服务商", app.summary)
