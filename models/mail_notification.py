# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, fields, models

#: types of failure whose label says less than the reason: 'Unknown error', 'Connection failed'
SAID_BY_REASON = ("unknown", "mail_smtp")


class MailNotification(models.Model):
    _name = "mail.notification"
    _inherit = ["mail.notification", "mail.sent.route"]

    _sent_status = "notification_status"

    failure_contact = fields.Char(
        compute="_compute_failure_contact",
        help="Whom to ask, where the reader cannot settle the failure himself",
    )

    @api.depends("failure_type", "failure_reason", "notification_status")
    @api.depends_context("lang", "uid")
    def _compute_failure_contact(self):
        self.failure_contact = False
        if self.env.user._is_system() or not self.env.user._is_internal():
            return
        failure = self.env["mail.failure"]
        failed = self.filtered(
            lambda one: (
                one.notification_status == "exception"
                and failure._is_for_administrators(one.failure_type, one.failure_reason)
            )
        )
        # sudo: the company of a message, whose reader need not see the field
        companies = {one: one.sudo().mail_message_id.record_company_id for one in failed}
        companies = {one: company or self.env.company for one, company in companies.items()}
        sentences = failure._whom_to_ask(set(companies.values()))
        for one, company in companies.items():
            one.failure_contact = sentences[company]

    def _mail(self):
        """Give the mails of these notifications, as superuser, where they are their messages'.

        Any user may make a notification, and name somebody else's mail in it.
        """
        # sudo: readers of the message may know this much of a mail that they may not read
        return self.sudo().mail_mail_id.filtered(
            lambda mail: mail.mail_message_id in self.sudo().mail_message_id
        )

    def format_failure_reason(self):
        """Say why in the provider's words, what helps in the reader's language, and whom to ask.

        Native says no more than "Connection failed" where a server refused the login.
        """
        self.ensure_one()
        told = super().format_failure_reason()
        # where nothing is set, native keeps the words on the mail only
        kept = (self.failure_reason or self._mail().failure_reason or "").strip()
        reason = self.env["mail.failure"]._told(kept, self.failure_help)
        if reason and self.failure_type in SAID_BY_REASON:
            told = reason
        elif reason and kept not in told:
            told = f"{told}:\n{reason}"
        return "\n".join(filter(None, (told, self.failure_contact)))

    def _notification_format(self):
        """Tell internal users also until when a mail waits, and why."""
        rows = super()._notification_format()
        ready = self.filtered(
            lambda notification: (
                notification.notification_status == "ready"
                and notification.notification_type == "email"
            )
        )
        if ready and self.env.user._is_internal():
            mail_of = {notification.id: notification._mail().id for notification in ready}
            told = self.env["mail.mail"].browse(filter(None, mail_of.values()))
            told = told._waiting_sentences()
            for row in rows if told else ():
                if row["id"] in mail_of:
                    row["waiting_reason"] = told.get(mail_of[row["id"]], False)
        return rows
