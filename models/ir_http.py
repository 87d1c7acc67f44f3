from odoo import models


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    def session_info(self):
        """Tell the administrator how much incoming mail waits for him."""
        info = super().session_info()
        if self.env.user._is_system():
            info["mail_unprocessed_count"] = self.env["mail.unprocessed"].search_count([])
            if self.env["mail.routing"]._is_active():
                info["mail_stuck"] = self.env["mail.lane"]._is_stuck()
        return info
