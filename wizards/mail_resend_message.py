from odoo import models


class MailResendMessage(models.TransientModel):
    _inherit = "mail.resend.message"

    def action_explain_route(self):
        """Open the explanation of the route of the message that failed."""
        self.ensure_one()
        return self.mail_message_id.action_explain_route()
