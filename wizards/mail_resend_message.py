# SPDX-License-Identifier: LGPL-3.0-only
from odoo import _, models

from ..models.mail_failure_shown import done


class MailResendMessage(models.TransientModel):
    _name = "mail.resend.message"
    _inherit = ["mail.resend.message", "mail.failure.shown"]
    _failed_mails_by = ("notification_ids",)

    def _failed_mails(self):
        mails = self.notification_ids.mail_mail_id.exists()
        return mails.filtered(
            lambda mail: mail.state == "exception" and mail.mail_message_id in self.mail_message_id
        )

    def action_explain_route(self):
        """Open the explanation of the route of the message that failed."""
        self.ensure_one()
        return self.mail_message_id.action_explain_route()

    def resend_mail_action(self):
        """Send again, and say what became of it: native closes the window in silence."""
        partners = self.partner_ids.filtered("resend").partner_id
        result = super().resend_mail_action()
        notifications = self.mail_message_id.notification_ids.filtered(
            lambda one: one.notification_type == "email" and one.res_partner_id in partners
        )
        failed = notifications.filtered(lambda one: one.notification_status == "exception")
        if failed:
            return done(_("Not sent: %s", failed[0].format_failure_reason()), "warning")
        waiting = notifications.filtered(lambda one: one.notification_status == "ready")
        if waiting:
            queue = self.env["mail.mail"]._told_of_queue()
            return done(_("The mail is in the queue again. %s", queue), "success")
        if notifications:
            names = ", ".join(notifications.res_partner_id.mapped("name"))
            return done(_("Sent to %s.", names), "success")
        return result
