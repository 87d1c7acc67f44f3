from odoo import models

from ..routing import Company


class ResCompany(models.Model):
    _name = "res.company"
    _inherit = ["res.company", "mail.routing.fact"]

    _routing_fields = frozenset({"name"})

    def _routing_fact(self, mailbox: str) -> Company:
        """Give what the decision may know of this company.

        :param mailbox: login of its first confirmed incoming server, ``""`` without one
        """
        self.ensure_one()
        return Company(id=self.id, name=self.name or "", mailbox=mailbox)
