# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, models

from .mail_routing import OPTIONS, PARAMETERS

#: with which the keys of the addon's own parameters begin
PREFIX = "mail_company_routing."


class IrConfigParameter(models.Model):
    """Parameters that a route depends on are facts; the options among them may end native."""

    _inherit = "ir.config_parameter"

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(vals_list)
        self._forget_routing_facts(records.mapped("key"))
        return records

    def write(self, vals):
        keys = self.mapped("key")
        result = super().write(vals)
        self._forget_routing_facts([*keys, vals.get("key")])
        return result

    def unlink(self):
        keys = self.mapped("key")
        result = super().unlink()
        self._forget_routing_facts(keys)
        return result

    @api.model
    def _forget_routing_facts(self, keys):
        """Have the facts gathered anew, if any of these parameters is one of them."""
        if not set(OPTIONS).isdisjoint(keys):
            self.env["mail.routing"]._forget_facts()
        elif not set(PARAMETERS).isdisjoint(keys):
            # what untouched Odoo sets too: whether it is untouched does not depend on it
            self.env["mail.routing"]._forget_facts("facts")
