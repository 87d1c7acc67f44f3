from odoo import models


class FetchmailServer(models.Model):
    _name = "fetchmail.server"
    _inherit = ["fetchmail.server", "mail.routing.fact"]

    _routing_fields = frozenset({"active", "state", "server_type", "user", "priority"})
