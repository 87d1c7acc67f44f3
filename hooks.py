from odoo import SUPERUSER_ID, api

from .models.ir_config_parameter import PREFIX


def uninstall_hook(cr, registry):
    """Take the addon's parameters along: Odoo knows that a record is a module's, not a setting."""
    env = api.Environment(cr, SUPERUSER_ID, {})
    parameters = env["ir.config_parameter"].search([("key", "=like", f"{PREFIX}%")])
    parameters.filtered(lambda parameter: parameter.key.startswith(PREFIX)).unlink()
