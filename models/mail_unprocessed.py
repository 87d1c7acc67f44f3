import base64
import email.policy
import logging
from email.parser import BytesHeaderParser

from odoo import SUPERUSER_ID, _, api, fields, models
from odoo.exceptions import UserError
from odoo.service.model import PG_CONCURRENCY_ERRORS_TO_RETRY
from odoo.tools import decode_message_header

from ..routing import company_of_incoming
from .fetch_session import Fetching, attempt, with_message_id
from .mail_refusal import SEND_LATER

_logger = logging.getLogger(__name__)


class MailUnprocessed(models.Model):
    """Incoming mail that Odoo could not process, kept so that nothing is lost.

    The administrator sees why, fixes it and retries; what succeeds is taken off the list.
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
    res_model = fields.Char(
        related="fetchmail_server_id.object_id.model",
        string="New Record Of",
        help="What its mailbox creates records of by now; Retry goes by this",
    )
    raw = fields.Binary(string="Message", attachment=True, readonly=True)
    raw_name = fields.Char(compute="_compute_raw_name")
    tries = fields.Integer(default=1, readonly=True)

    @api.depends("message_id")
    def _compute_raw_name(self):
        for mail in self:
            mail.raw_name = f"mail-{mail.id}.eml"

    @api.model
    def _keep(self, message, error):
        """Keep a message that was fetched and could not be processed, whatever is in it.

        :param message: the raw message, in bytes
        :param error: the exception, None where it is unknown
        :return: its record; the one there is where it was kept before
        """
        fetching = Fetching.of(self.env)
        server_id = fetching.server_id
        raw = bytes(message)
        kept = self._kept(raw, server_id)
        if kept:
            return kept
        values = {
            "raw": base64.b64encode(raw),
            "reason": self._reason(error),
            "fetchmail_server_id": server_id,
        }
        try:
            with self.env.cr.savepoint():
                return self.sudo().create(
                    {**values, **self._read_headers(raw, fetching.company_id)}
                )
        except Exception as broken:
            if getattr(broken, "pgcode", None) in PG_CONCURRENCY_ERRORS_TO_RETRY:
                raise
            # what breaks Odoo may break this too; the mail is kept all the same
            _logger.info("Headers of an unprocessed mail cannot be read", exc_info=True)
            return self.sudo().create(values)

    @api.model
    def _kept(self, raw, server_id):
        """Give the record of a message of a mailbox that was kept before."""
        attachments = self.env["ir.attachment"].sudo()
        found = attachments.search(
            [
                ("res_model", "=", self._name),
                ("res_field", "=", "raw"),
                ("checksum", "=", attachments._compute_checksum(raw)),
            ]
        )
        mails = self.sudo().browse(found.mapped("res_id")).exists()
        return mails.filtered(lambda mail: mail.fetchmail_server_id.id == server_id)[:1]

    @api.model
    def _read_headers(self, raw, own_company_id):
        """Read what the list shows, and the company, from a raw message.

        :param own_company_id: of the mailbox
        """
        message = BytesHeaderParser(policy=email.policy.SMTP).parsebytes(raw)
        company, _rule = company_of_incoming(
            self.env["mail.thread"]._recipients_in_order(message),
            own_company_id,
            self.env["mail.routing"]._get_facts(),
        )
        return {
            "subject": _storable(decode_message_header(message, "Subject"))[:250],
            "email_from": _storable(decode_message_header(message, "From"))[:250],
            "email_to": _storable(decode_message_header(message, "To"))[:250],
            "message_id": _storable(message["Message-Id"] or "").strip()[:250],
            "company_id": company.id if company else own_company_id,
        }

    @api.model
    def _reason(self, error):
        """Say what went wrong: Odoo's own words, with the cure where it is known."""
        words = _storable(f"{type(error).__name__}: {error}")[:4000]
        if error is None:
            words = _("Odoo's transaction broke while it was processed. Retry.")
        elif isinstance(error, UserError):
            words = _storable(str(error))
        elif isinstance(error, ValueError) and "No possible route" in words:
            words = _(
                "Nobody in Odoo reads the address it was sent to: no alias has this address, the"
                " mail answers no message, and its incoming server creates no records.\n%s",
                words,
            )
        elif isinstance(error, ValueError) and "NUL" in words:
            words = _(
                "It has a NUL character, which the database refuses. Read it in the message"
                " itself.\n%s",
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
        self.check_access_rights("unlink")
        self.check_access_rule("unlink")
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
        server = self.sudo().fetchmail_server_id
        # as the cron that fetches; what it sends waits for the commit of this request
        thread = (
            self.env["mail.thread"]
            .with_user(SUPERUSER_ID)
            .with_context(**{SEND_LATER: True, "default_fetchmail_server_id": server.id})
        )
        try:
            with attempt(self.env.cr):
                thread.message_process(
                    server.object_id.model,
                    with_message_id(base64.b64decode(self.raw)),
                    save_original=server.original,
                    strip_attachments=bool(server) and not server.attach,
                )
        except Exception as error:
            if getattr(error, "pgcode", None) in PG_CONCURRENCY_ERRORS_TO_RETRY:
                raise  # Odoo repeats the request
            _logger.info("Unprocessed mail %s failed again", self.id, exc_info=True)
            self.sudo().write({"reason": self._reason(error), "tries": self.tries + 1})
            return False
        return True


def _storable(text):
    """Give a text without what PostgreSQL refuses: NUL, and halves of characters."""
    return str(text).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
