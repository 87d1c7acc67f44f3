# SPDX-License-Identifier: LGPL-3.0-only
from odoo import models
from odoo.http import request

from .oauth import CONFIRMED


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    def session_info(self):
        """Tell an administrator how many incoming mails could not be processed."""
        info = super().session_info()
        if self.env.user._is_system():
            info["mail_unprocessed_count"] = self.env["mail.unprocessed"].search_count([])
            if self.env["mail.routing"]._is_active():
                info["mail_stuck"] = self.env["mail.lane"]._is_stuck()
        return info

    @classmethod
    def _post_dispatch(cls, response):
        """Lead back to Set Up a Mailbox, where it was that which asked for a provider's consent."""
        result = super()._post_dispatch(response)
        if request.httprequest.path in CONFIRMED and response.status_code in (302, 303):
            back = request.env["mail.mailbox.setup"]._way_back(request.params.get("state"))
            if back:
                response.headers["Location"] = back
        return result
