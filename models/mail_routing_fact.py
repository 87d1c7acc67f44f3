# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, models


class MailRoutingFact(models.AbstractModel):
    """A model that the routing decision reads facts from.

    A model that inherits this mixin names in ``_routing_fields`` the fields that
    ``mail.routing._get_facts`` reads. Changing one of them has the facts gathered again, in every
    worker and without a restart, since they are kept in Odoo's own ormcache.
    """

    _name = "mail.routing.fact"
    _description = "Fact of Mail Routing"

    #: names of the fields that a route depends on
    _routing_fields = frozenset()

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(vals_list)
        self.env["mail.routing"]._forget_facts()
        return records

    def write(self, vals):
        result = super().write(vals)
        if not self._routing_fields.isdisjoint(vals):
            self.env["mail.routing"]._forget_facts()
        return result

    def unlink(self):
        result = super().unlink()
        self.env["mail.routing"]._forget_facts()
        return result
