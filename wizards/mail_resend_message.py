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
        """Have the queue send again, and say so: native sends at once, and closes in silence.

        What is sent in a request may be rolled back or repeated while the mail is out.
        """
        partners = self.partner_ids.filtered("resend").partner_id
        if self.env["mail.routing"]._is_active():
            # sudo: a user who may send again need not be allowed to read mails
            failed = self.sudo()._failed_mails()
            queued = self.with_context(mail_notify_force_send=False)
            result = super(MailResendMessage, queued).resend_mail_action()
            self._supersede(failed)
        else:
            result = super().resend_mail_action()
        notifications = self.mail_message_id.notification_ids.filtered(
            lambda one: one.notification_type == "email" and one.res_partner_id in partners
        )
        failed = notifications.filtered(lambda one: one.notification_status == "exception")
        if failed:
            return done(_("Not sent: %s", failed[0].format_failure_reason()), "warning")
        waiting = notifications.filtered(lambda one: one.notification_status == "ready")
        if waiting:
            # sudo: a user who may send again need not be allowed to write notifications
            waiting.sudo().write({"failure_type": False, "failure_reason": False})
            self.env["ir.cron"]._trigger_queue()
            queue = self.env["mail.mail"]._told_of_queue()
            return done(_("The mail is in the queue again. %s", queue), "success")
        if notifications:
            names = ", ".join(notifications.res_partner_id.mapped("name"))
            return done(_("Sent to %s.", names), "success")
        return result

    def _supersede(self, mails):
        """Take off failed mails the recipients who get a new one, and those who shall get none.

        Else whoever retries the failed mail as well, as a cured server's are, sends it twice.
        """
        for mail in mails.exists():
            still_its = self.sudo().notification_ids.filtered(
                lambda one, mail=mail: (
                    one.mail_mail_id == mail and one.notification_status != "canceled"
                )
            )
            decided = self.sudo().partner_ids.partner_id & mail.recipient_ids
            decided -= still_its.res_partner_id
            if mail.recipient_ids == decided and not mail.email_to:
                mail.cancel()
            else:
                mail.recipient_ids -= decided
