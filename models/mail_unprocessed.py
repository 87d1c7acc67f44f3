import base64
import email
import email.policy
import logging

from odoo import _, api, fields, models
from odoo.exceptions import UserError
from odoo.tools import decode_message_header, email_split

from ..routing import company_of_incoming

_logger = logging.getLogger(__name__)


class MailUnprocessed(models.Model):
    """Incoming mail that Odoo could not process, kept so that nothing is lost.

    Whoever administers sees why, mends it and retries; what succeeds is taken off the list.
    """

    _name = "mail.unprocessed"
    _description = "Unprocessed Mail"
    _order = "id desc"
    _rec_name = "subject"

    subject = fields.Char(readonly=True)
    email_from = fields.Char(string="From", readonly=True)
    email_to = fields.Char(string="To", readonly=True)
    message_id = fields.Char(string="Message-Id", readonly=True)
    reason = fields.Text(readonly=True, help="What Odoo said when it tried to process the mail")
    fetchmail_server_id = fields.Many2one(
        "fetchmail.server", string="Mailbox", ondelete="set null", readonly=True
    )
    company_id = fields.Many2one("res.company", ondelete="set null", readonly=True)
    res_model = fields.Char(string="New Record Of", readonly=True)
    raw = fields.Binary(string="Message", attachment=True, readonly=True)
    raw_name = fields.Char(compute="_compute_raw_name")
    save_original = fields.Boolean(readonly=True)
    strip_attachments = fields.Boolean(readonly=True)
    tries = fields.Integer(default=1, readonly=True)

    @api.depends("message_id")
    def _compute_raw_name(self):
        for mail in self:
            mail.raw_name = f"mail-{mail.id}.eml"

    @api.model
    def _keep(self, model, message, error, options):
        """Keep a message that could not be processed.

        :param model: the model that its mailbox creates records of, if any
        :param message: the raw message, as it was fetched
        :param error: the exception
        :param options: of ``message_process``: ``save_original``, ``strip_attachments``
        """
        raw = getattr(message, "data", message)
        raw = raw.encode() if isinstance(raw, str) else bytes(raw)
        values = {
            "raw": base64.b64encode(raw),
            "res_model": model or False,
            "reason": self._reason(error),
            "fetchmail_server_id": self.env.context.get("default_fetchmail_server_id"),
            "save_original": bool(options.get("save_original")),
            "strip_attachments": bool(options.get("strip_attachments")),
        }
        try:
            values.update(self._read_headers(raw))
        except Exception:
            # what breaks Odoo may break this too; the mail is kept all the same
            _logger.info("Headers of an unprocessed mail cannot be read", exc_info=True)
        return self.sudo().create(values)

    @api.model
    def _read_headers(self, raw):
        """Read what the list shows, and the company, from a raw message."""
        message = email.message_from_bytes(raw, policy=email.policy.SMTP)
        recipients = [
            decode_message_header(message, header)
            for header in ("To", "Delivered-To", "Cc", "X-Original-To")
        ]
        server = (
            self.env["fetchmail.server"]
            .sudo()
            .browse(self.env.context.get("default_fetchmail_server_id") or ())
        )
        company, _rule = company_of_incoming(
            email_split(", ".join(recipients)),
            server.company_id.id,
            self.env["mail.routing"]._get_facts(),
        )
        return {
            "subject": decode_message_header(message, "Subject")[:250],
            "email_from": decode_message_header(message, "From")[:250],
            "email_to": decode_message_header(message, "To")[:250],
            "message_id": (message["Message-Id"] or "").strip()[:250],
            "company_id": company.id if company else server.company_id.id,
        }

    @api.model
    def _reason(self, error):
        """Say what went wrong: Odoo's own words, with the cure where it is known."""
        words = f"{type(error).__name__}: {error}"[:4000]
        if isinstance(error, ValueError) and "No possible route" in words:
            words = _(
                "Nobody in Odoo reads the address it was sent to: no alias has this name, the mail"
                " answers no message, and its incoming server creates no records.\n%s",
                words,
            )
        return words

    def action_delete(self):
        """Delete the mails, and go back to the list."""
        self.unlink()
        return self.env["ir.actions.actions"]._for_xml_id(
            "mail_company_routing.action_mail_unprocessed"
        )

    def action_retry(self):
        """Process the mails once more; those that succeed are taken off the list.

        :return: a notification of how many did, or the reason where the only one did not
        """
        done = self.browse()
        for mail in self:
            if mail._retry():
                done |= mail
        failed = self - done
        done.unlink()
        message = _("%s mails were processed.", len(done))
        if failed:
            if len(self) == 1:
                message = _("Still not processed: %s", failed.reason)
            else:
                message = _(
                    "%(done)s mails were processed, %(failed)s were not: see their reason.",
                    done=len(done),
                    failed=len(failed),
                )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "message": message,
                "type": "warning" if failed else "success",
                "sticky": bool(failed),
                "next": {"type": "ir.actions.act_window_close"}
                if failed
                else self.env["ir.actions.actions"]._for_xml_id(
                    "mail_company_routing.action_mail_unprocessed"
                ),
            },
        }

    def _retry(self):
        """Process one mail; give whether that succeeded."""
        self.ensure_one()
        if not self.raw:
            raise UserError(_("The message of this mail is gone, it cannot be retried."))
        # sudo: as the cron that fetches
        thread = self.env["mail.thread"].sudo().with_user(self.env.ref("base.user_root"))
        if self.fetchmail_server_id:
            thread = thread.with_context(
                default_fetchmail_server_id=self.fetchmail_server_id.id, mail_unprocessed_retry=True
            )
        try:
            with self.env.cr.savepoint():
                thread.message_process(
                    self.res_model,
                    base64.b64decode(self.raw),
                    save_original=self.save_original,
                    strip_attachments=self.strip_attachments,
                )
        except Exception as error:
            _logger.info("Unprocessed mail %s failed again", self.id, exc_info=True)
            self.sudo().write({"reason": self._reason(error), "tries": self.tries + 1})
            return False
        return True
