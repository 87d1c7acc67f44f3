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

    def _notification_format(self):
        """Say also until when a mail waits, and why, to a colleague."""
        rows = super()._notification_format()
        ready = self.filtered(
            lambda notification: (
                notification.notification_status == "ready"
                and notification.notification_type == "email"
            )
        )
        if ready and self.env.user._is_internal():
            # sudo: whoever reads the message may know; the mail itself is not his to read
            mails = ready.sudo().mail_mail_id
            told = mails._waiting_sentences()
            mail_of = {
                notification.id: notification.mail_mail_id.id for notification in ready.sudo()
            }
            for row in rows if told else ():
                if row["id"] in mail_of:
                    row["waiting_reason"] = told.get(mail_of[row["id"]], False)
        return rows
