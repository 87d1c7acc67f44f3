from odoo import models


class MailNotification(models.Model):
    _name = "mail.notification"
    _inherit = ["mail.notification", "mail.sent.route"]

    _sent_status = "notification_status"

    def format_failure_reason(self):
        """Say why in the provider's words, and what helps in the reader's language.

        Native says no more than "Connection failed" where a server refused the login.
        """
        self.ensure_one()
        told = super().format_failure_reason()
        reason = (self.failure_reason or "").strip()
        if not reason:
            return told
        if reason not in told:
            told = f"{told}: {reason}"
        return f"{told}\n{self.failure_help}" if self.failure_help else told
