from odoo import api, models

PREFIX = "mail_company_routing."


class IrConfigParameter(models.Model):
    """Options of this addon are parameters: a change of one may end native behaviour."""

    _inherit = "ir.config_parameter"

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(vals_list)
        records._forget_routing_facts()
        return records

    def write(self, vals):
        result = super().write(vals)
        self._forget_routing_facts()
        return result

    def unlink(self):
        ours = any(parameter.key.startswith(PREFIX) for parameter in self)
        result = super().unlink()
        if ours:
            self.env["mail.routing"]._forget_facts()
        return result

    def _forget_routing_facts(self):
        if any(parameter.key.startswith(PREFIX) for parameter in self):
            self.env["mail.routing"]._forget_facts()
