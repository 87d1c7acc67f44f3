# SPDX-License-Identifier: LGPL-3.0-only
"""What helps against a failure, as buttons, wherever the failure is shown."""

from odoo import _, api, fields, models
from odoo.exceptions import UserError


class MailFailureShown(models.AbstractModel):
    """A record that shows why mails failed, with the buttons that help.

    What the buttons do is done to the mails: see :class:`MailMail`. A model that inherits this
    mixin says in ``_failed_mails`` which they are, and names the fields that tell it in
    ``_failed_mails_by``.
    """

    _name = "mail.failure.shown"
    _description = "Failure of a Mail"

    #: names of the fields that tell which mails they are
    _failed_mails_by = ()

    is_sender_refused = fields.Boolean(compute="_compute_cures")
    can_be_retried = fields.Boolean(compute="_compute_cures")
    has_failed_server = fields.Boolean(compute="_compute_cures")

    def _failed_mails(self):
        """Give the mails that failed, of all these records; those that are still there."""
        raise NotImplementedError

    @api.depends(lambda self: self._failed_mails_by)
    @api.depends_context("uid")
    def _compute_cures(self):
        """Tell which buttons help; they are the administrator's alone."""
        self.update(
            {"is_sender_refused": False, "can_be_retried": False, "has_failed_server": False}
        )
        if not self.env.user._is_system():
            return
        for record in self:
            mails = record._failed_mails()
            record.is_sender_refused = any(mails.mapped("is_sender_refused"))
            record.can_be_retried = bool(mails) and not record.is_sender_refused
            record.has_failed_server = any(mails.mapped("has_failed_server"))

    def action_restrict_and_retry(self):
        """See :meth:`MailMail.action_restrict_and_retry`."""
        return self._failed_mails().action_restrict_and_retry()

    def action_put_back(self):
        """See :meth:`MailMail.action_put_back`."""
        return self._failed_mails().action_put_back()

    def action_open_failed_server(self):
        """See :meth:`MailMail.action_open_failed_server`."""
        return self._failed_mails().action_open_failed_server()


class MailMail(models.Model):
    """Mails that failed: what an administrator does about them with one click."""

    _inherit = "mail.mail"

    has_failed_server = fields.Boolean(
        compute="_compute_has_failed_server",
        help="The server that this mail failed at is known, and whoever reads may open it",
    )

    @api.depends("state", "sent_server_id")
    @api.depends_context("uid")
    def _compute_has_failed_server(self):
        self.has_failed_server = False
        if not self.env.user._is_system():
            return
        failed = self.filtered(lambda mail: mail.state == "exception")
        for mail in failed:
            mail.has_failed_server = bool(mail._failed_server())

    def _failed_server(self):
        """Give the outgoing server that this mail failed at, where whoever asks may open it."""
        server = self.sent_server_id.sudo(False).exists()
        return server if server._may_be_read() else server.browse()

    def action_put_back(self):
        """Put mails that failed back into the queue, and say when it sends them."""
        failed = self.exists().filtered(lambda mail: mail.state == "exception")
        if not failed:
            return done(_("None of these mails waits for a retry any more."), "info")
        failed._put_in_queue()
        message = _(
            "%(mails)s mails are in the queue again. %(queue)s",
            mails=len(failed),
            queue=self._told_of_queue(),
        )
        return done(message, self._kind_of_done())

    def action_open_failed_server(self):
        """Open the outgoing server that a mail failed at.

        :raises UserError: where there is none that whoever asks may open
        """
        for mail in self:
            server = mail._failed_server()
            if server:
                return {
                    "type": "ir.actions.act_window",
                    "name": server.name,
                    "res_model": server._name,
                    "res_id": server.id,
                    "view_mode": "form",
                    "views": [(False, "form")],
                    "target": "current",
                }
        raise UserError(
            _("The outgoing server of this mail is deleted, or belongs to another company.")
        )

    def _put_in_queue(self):
        """Let the queue send these mails again; their envelopes are red no more."""
        self.mark_outgoing()
        messages = self._notifications_wait().mail_message_id.sudo(False)
        messages.filtered(
            lambda message: message.is_thread_message()
        )._notify_message_notification_update()
        if self:
            # sudo: scheduled actions are the superuser's
            self.env.ref("mail.ir_cron_mail_scheduler_action").sudo()._trigger()

    @api.model
    def _kind_of_done(self):
        """Give how the notification looks that says :meth:`_told_of_queue`."""
        cron = self.env.ref("mail.ir_cron_mail_scheduler_action").sudo()
        return "success" if cron.active else "warning"

    @api.model
    def _told_of_queue(self):
        """Say when the queue sends what was put back into it: not while it is off."""
        cron = self.env.ref("mail.ir_cron_mail_scheduler_action").sudo()
        if cron.active:
            return _("It sends them next.")
        return _("It is off: they leave once you turn the scheduled action '%s' on.", cron.name)


def done(message, kind):
    """Give the action that says what was done, and leaves its reader where he is.

    :param kind: ``success``, ``info`` or ``warning``
    """
    return {
        "type": "ir.actions.client",
        "tag": "display_notification",
        "params": {
            "message": message,
            "type": kind,
            "sticky": kind == "warning",
            # the form or list that one is in shows it anew; a dialog is closed
            "next": {"type": "ir.actions.act_window_close"},
        },
    }
