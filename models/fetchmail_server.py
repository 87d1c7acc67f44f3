from odoo import fields, models


class FetchmailServer(models.Model):
    _name = "fetchmail.server"
    _inherit = ["fetchmail.server", "mail.routing.fact"]

    _routing_fields = frozenset(
        {"active", "company_id", "priority", "server_type", "state", "user"}
    )

    company_id = fields.Many2one(
        "res.company",
        index=True,
        ondelete="restrict",
        help="The company whose mailbox this is. Empty: everybody's.",
    )
    routing_warning = fields.Char(related="company_id.routing_warning")
