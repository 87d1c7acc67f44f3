# SPDX-License-Identifier: LGPL-3.0-only
from odoo import _, api, fields, models


class MailRoutingStart(models.TransientModel):
    """The first page after the installation: three ways to begin, each a click away."""

    _name = "mail.routing.start"
    _description = "First Steps"

    company_ids = fields.Many2many("res.company", compute="_compute_company_ids")

    is_untouched = fields.Boolean(compute="_compute_is_untouched")

    def _compute_is_untouched(self):
        self.is_untouched = not self.env["mail.routing"]._is_active()

    @api.depends_context("uid")
    def _compute_company_ids(self):
        self.company_ids = self.env.user.company_ids

    def name_get(self):
        return [(start.id, _("First Steps")) for start in self]

    @api.model
    def action_open(self):
        """Open the page; it has a record, so that it asks for nothing to be saved."""
        return {
            "type": "ir.actions.act_window",
            "name": _("First Steps"),
            "res_model": self._name,
            "res_id": self.create({}).id,
            "view_mode": "form",
            "target": "current",
        }
