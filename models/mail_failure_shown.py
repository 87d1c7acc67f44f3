# SPDX-License-Identifier: LGPL-3.0-only
"""What helps against a failure, as buttons, wherever the failure is shown."""

from odoo import _, api, fields, models
from odoo.exceptions import UserError

from ..routing import Reason


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
    lacks_server = fields.Boolean(compute="_compute_cures")

    def _failed_mails(self):
        """Give the mails that failed, of all these records; those that are still there."""
        raise NotImplementedError

    @api.depends(lambda self: self._failed_mails_by)
    @api.depends_context("uid")
    def _compute_cures(self):
        """Tell which buttons help; they are the administrator's alone."""
        names = ("is_sender_refused", "can_be_retried", "has_failed_server", "lacks_server")
        self.update(dict.fromkeys(names, False))
        if not self.env.user._is_system():
            return
        for record in self:
            mails = record._failed_mails()
            record.is_sender_refused = any(mails.mapped("is_sender_refused"))
            record.can_be_retried = bool(mails) and not record.is_sender_refused
            record.has_failed_server = any(mails.mapped("has_failed_server"))
            record.lacks_server = any(mails.mapped("lacks_server"))

    def action_restrict_and_retry(self):
        """See :meth:`MailMail.action_restrict_and_retry`."""
        return self._failed_mails().action_restrict_and_retry()

    def action_put_back(self):
        """See :meth:`MailMail.action_put_back`."""
        return self._failed_mails().action_put_back()

    def action_open_failed_server(self):
        """See :meth:`MailMail.action_open_failed_server`."""
        return self._failed_mails().action_open_failed_server()

    def action_open_company(self):
        """See :meth:`MailMail.action_open_company`."""
        return self._failed_mails().action_open_company()


class MailMail(models.Model):
    """Mails that failed: what an administrator does about them with one click."""

    _inherit = "mail.mail"

    has_failed_server = fields.Boolean(
        compute="_compute_has_failed_server",
        help="The server that this mail failed at is known, and whoever reads may open it",
    )

    lacks_server = fields.Boolean(
        compute="_compute_lacks_server",
        help="No server may send this mail: what helps is a setting of a company",
    )

    failure_text = fields.Text(
        string="Why It Failed",
        compute="_compute_failure_text",
        help="The words of the server, and what helps, in your language",
    )

    @api.depends("failure_reason", "failure_help")
    @api.depends_context("lang", "uid")
    def _compute_failure_text(self):
        self.failure_text = False
        if not self.check_access_rights("read", raise_exception=False):
            return
        for mail in self:
            mail.failure_text = self.env["mail.failure"]._told(
                mail.failure_reason, mail.failure_help
            )

    @api.depends("state", "failure_reason")
    @api.depends_context("uid")
    def _compute_lacks_server(self):
        self.lacks_server = False
        if not self.env.user._is_system():
            return
        for mail in self.filtered(lambda mail: mail.state == "exception"):
            mail.lacks_server = bool(mail._company_without_server())

    def _company_without_server(self):
        """Give the company that no server may send for, where this mail failed for that.

        The failure was kept as a sentence, in its author's language.
        """
        reason = self.failure_reason or ""
        routing = self.env["mail.routing"]
        named = [one for one in routing._get_facts().companies if one.name in reason]
        for lang, _name in self.env["res.lang"].get_installed() if named else ():
            for company in named:
                for key in ("no_server", "no_server_unused"):
                    kept = Reason(key, {"company": company.name})
                    if routing.with_context(lang=lang)._sentence(kept) == reason:
                        return self.env["res.company"].browse(company.id)
        return self.env["res.company"]

    def action_open_company(self):
        """Open the company that no server may send for: the setting is on its page Email Routing.

        :raises UserError: where none of the mails failed for that
        """
        for mail in self:
            company = mail._company_without_server()
            if company:
                return self._open_form(company)
        raise UserError(_("The mail failed for another reason by now."))

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
        """Give the outgoing server that this mail failed at, if the user may open it."""
        server = self.sent_server_id.sudo(False).exists()
        return server if server._may_be_read() else server.browse()

    def action_put_back(self):
        """Put mails that failed back into the queue, and say when it sends them."""
        failed = self.exists().filtered(lambda mail: mail.state == "exception")
        if not failed:
            return done(_("None of these mails waits for a retry any more."), "info")
        failed._put_in_queue()
        message = _(
            "Mails that are in the queue again: %(mails)s. %(queue)s",
            mails=len(failed),
            queue=self._told_of_queue(),
        )
        return done(message, self._kind_of_done())

    def action_open_failed_server(self):
        """Open the outgoing server that a mail failed at.

        :raises UserError: there is none that the user may open
        """
        for mail in self:
            server = mail._failed_server()
            if server:
                return self._open_form(server)
        raise UserError(
            _("The outgoing server of this mail is deleted, or belongs to another company.")
        )

    @staticmethod
    def _open_form(record):
        return {
            "type": "ir.actions.act_window",
            "name": record.name,
            "res_model": record._name,
            "res_id": record.id,
            "view_mode": "form",
            "views": [(False, "form")],
            "target": "current",
        }

    def _put_in_queue(self):
        """Let the queue send these mails again; their envelopes are no longer red."""
        self.mark_outgoing()
        messages = self._notifications_wait().mail_message_id.sudo(False)
        messages.filtered(
            lambda message: message.is_thread_message()
        )._notify_message_notification_update()
        if self:
            self.env["ir.cron"]._trigger_queue()

    @api.model
    def _kind_of_done(self):
        """Give how the notification looks that says :meth:`_told_of_queue`."""
        cron = self.env["ir.cron"]._queue_manager()
        return "warning" if cron and not cron.active else "success"

    @api.model
    def _told_of_queue(self):
        """Say when the queue sends what was put back into it: not while it is off."""
        cron = self.env["ir.cron"]._queue_manager()
        if cron and not cron.active:
            return _("It is off: they leave once you turn the scheduled action '%s' on.", cron.name)
        return _("It sends them next.")


def done(message, kind):
    """Give a notification that says what was done, and leaves the page open.

    :param kind: ``success``, ``info`` or ``warning``
    """
    return {
        "type": "ir.actions.client",
        "tag": "display_notification",
        "params": {
            "message": message,
            "type": kind,
            "sticky": kind == "warning",
            # reloads the form or list; closes a dialog
            "next": {"type": "ir.actions.act_window_close"},
        },
    }
