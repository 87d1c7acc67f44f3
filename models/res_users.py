from odoo import models

from ..routing import Author


class ResUsers(models.Model):
    _inherit = "res.users"

    def _routing_author(self, company_id) -> Author:
        """Give what the decision may know of this user as an author.

        :param company_id: the company of the mail
        """
        self.ensure_one()
        return Author(is_bot=self == self.env.ref("base.user_root"))
