# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, models

from .mail_routing import OPTIONS, PARAMETERS

#: how the keys of the addon's own parameters begin
PREFIX = "mail_company_routing."


class IrConfigParameter(models.Model):
    """Parameters that a route depends on are facts; its options may make the addon active."""

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
        """Have the facts gathered again, if any of these parameters is one of them."""
        if not set(OPTIONS).isdisjoint(keys):
            self.env["mail.routing"]._forget_facts()
        elif not set(PARAMETERS).isdisjoint(keys):
            # Odoo itself sets these: they do not make the addon active
            self.env["mail.routing"]._forget_facts("facts")
