# SPDX-License-Identifier: LGPL-3.0-only
import base64
import email
import email.policy
import logging
import re
from email.parser import BytesHeaderParser

from odoo import SUPERUSER_ID, _, api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.service.model import PG_CONCURRENCY_ERRORS_TO_RETRY
from odoo.tools import decode_message_header, html2plaintext, sql

from ..routing import company_of_incoming
from .fetch_session import Fetching, TooLarge, attempt, with_message_id
from .mail_delivery_note import ReportOfUnknownMail
from .mail_failure_shown import done
from .mail_refusal import SEND_LATER

_logger = logging.getLogger(__name__)

#: key in the context under which :class:`Destination` travels
DESTINATION = "mail_company_routing_destination"
#: letters that the form shows of a mail's text
PREVIEW = 2000


class Destination:
    """Where an administrator sends a mail that Odoo could not place.

    A context that comes by RPC holds JSON or XML values: only the code here can make one.

    :param res_id: of the document; False: a new one is made
    """

    def __init__(self, model, res_id=False):
        self.model = model
        self.res_id = res_id

    @classmethod
    def of(cls, env):
        """Give the one in force in an environment, None where native looks for one."""
        found = env.context.get(DESTINATION)
        return found if isinstance(found, cls) else None


class MailThread(models.AbstractModel):
    _inherit = "mail.thread"

    @api.model
    def message_route(self, message, message_dict, *args, **kwargs):
        """Take a mail where an administrator sends it, whatever address it was sent to."""
        destination = Destination.of(self.env)
        if destination is None:
            return super().message_route(message, message_dict, *args, **kwargs)
        self._routing_reset_bounce(message, message_dict)
        message_dict.pop("parent_id", None)
        route = (destination.model, destination.res_id, None, self.env.uid, None)
        return [self._routing_check_route(message, message_dict, route)]


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
    reason_key = fields.Char(readonly=True, help="Which sentence of the reason it is")
    reason_words = fields.Text(
        string="Odoo's Words",
        readonly=True,
        help="What Odoo said when it tried to process the mail",
    )
    reason = fields.Text(
        compute="_compute_reason",
        inverse="_inverse_reason",
        help="Why Odoo could not process the mail, and what to do, in your language",
    )
    reason_line = fields.Char(string="Why", compute="_compute_reason")
    fetchmail_server_id = fields.Many2one(
        "fetchmail.server", string="Mailbox", ondelete="set null", readonly=True
    )
    company_id = fields.Many2one("res.company", ondelete="set null", readonly=True)
    res_model = fields.Char(
        related="fetchmail_server_id.object_id.model",
        string="New Record Of",
        help="The kind of record that its mailbox creates now; Retry uses it",
    )
    can_become_lead = fields.Boolean(compute="_compute_can_become_lead")
    raw = fields.Binary(string="Original Message", attachment=True, readonly=True)
    raw_name = fields.Char(compute="_compute_raw_name")
    preview = fields.Text(
        string="Text", compute="_compute_preview", help="The beginning of what the mail says"
    )
    tries = fields.Integer(default=1, readonly=True)

    def _auto_init(self):
        # the words that an earlier version kept, in one language
        cr = self.env.cr
        columns = sql.table_columns(cr, self._table)
        if "reason" in columns and "reason_words" not in columns:
            sql.rename_column(cr, self._table, "reason", "reason_words")
        return super()._auto_init()

    @api.depends("reason_key", "reason_words")
    @api.depends_context("lang")
    def _compute_reason(self):
        sentences = self._reason_sentences()
        for mail in self:
            told = (sentences.get(mail.reason_key), mail.reason_words)
            mail.reason = "\n".join(filter(None, told))
            mail.reason_line = mail.reason.partition("\n")[0]

    def _inverse_reason(self):
        for mail in self:
            mail.write({"reason_key": False, "reason_words": mail.reason})

    @api.model
    def _reason_sentences(self):
        """Give key -> what it is, and what to do, in the reader's language."""
        return {
            "broken": _("Odoo's transaction broke while it was processed. Retry."),
            "no_route": _(
                "Nobody in Odoo reads the address it was sent to: no alias has this address, the"
                " mail answers no message, and its incoming server creates no records. Choose the"
                " document that it belongs to; or let its incoming server create records, then"
                " retry."
            ),
            "nul": _(
                "It has a NUL character, which the database refuses. Read it in the message itself."
            ),
            "large": _(
                "It is too large to be fetched: only its beginning is here. Read it in its mailbox,"
                " and delete it there."
            ),
            "report": _(
                "It says that a mail did not arrive, but not which one. Look for the mail that"
                " it is about, correct the address, and send that again."
            ),
            "odoo": _(
                "Odoo, or an app, refuses it for the reason below. Settle that, then retry; or"
                " choose the document that it belongs to."
            ),
            "fault": _(
                "A fault in Odoo or an app keeps it from being processed. Choose the document that"
                " it belongs to; tell your developer the words below."
            ),
        }

    @api.depends_context("uid")
    def _compute_can_become_lead(self):
        has_leads = "crm.lead" in self.env and self.env["crm.lead"].check_access_rights(
            "create", raise_exception=False
        )
        self.can_become_lead = has_leads

    @api.depends("message_id")
    def _compute_raw_name(self):
        for mail in self:
            mail.raw_name = f"mail-{mail.id}.eml"

    @api.depends("raw")
    def _compute_preview(self):
        for mail in self:
            try:
                raw = base64.b64decode(mail.with_context(bin_size=False).raw or b"")
                mail.preview = _storable(_text_of(raw))[:PREVIEW] or False
            except Exception:  # whatever kept Odoo from reading it
                _logger.info("The text of an unprocessed mail cannot be read", exc_info=True)
                mail.preview = False

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
            **self._reason_of(error),
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
            # what kept Odoo from reading the mail may do so here too: keep it without headers
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
    def _reason_of(self, error):
        """Give the values that say what went wrong: which sentence, and Odoo's own words.

        :param error: the exception, None where it is unknown
        """
        if error is None:
            return {"reason_key": "broken", "reason_words": False}
        if isinstance(error, ReportOfUnknownMail):
            return {"reason_key": "report", "reason_words": False}
        if isinstance(error, TooLarge):
            return {"reason_key": "large", "reason_words": False}
        if isinstance(error, UserError):
            return {"reason_key": "odoo", "reason_words": _storable(error)}
        words = _storable(f"{type(error).__name__}: {error}")[:4000]
        key = "fault"
        if isinstance(error, ValueError) and "No possible route" in words:
            key = "no_route"
        elif isinstance(error, ValueError) and "NUL" in words:
            key = "nul"
        return {"reason_key": key, "reason_words": words}

    def action_delete(self):
        """Delete the mails, and go back to the list."""
        self.unlink()
        return self.env["ir.actions.actions"]._for_xml_id(
            "mail_company_routing.action_mail_unprocessed"
        )

    def action_retry(self):
        """Process the mails once more, by what their mailboxes are set to now.

        Those that succeed are taken off the list.

        :return: a notification of how many did, or the reason where the only one did not
        """
        return self._process_again()

    def action_choose(self):
        """Ask for the document that these mails belong to."""
        return {
            "type": "ir.actions.act_window",
            "name": _("Choose the Document"),
            "res_model": "mail.unprocessed.choose",
            "view_mode": "form",
            "target": "new",
            "context": {"default_mail_ids": self.ids},
        }

    def action_make_lead(self):
        """Make a lead of each of these mails, as if its mailbox created them; open a single one.

        :raises AccessError: CRM is not installed, or the user may create no leads
        """
        if not all(self.mapped("can_become_lead")):
            raise AccessError(_("You may create no leads."))
        return self._process_again(Destination("crm.lead"))

    def _process_again(self, destination=None):
        """Process the mails; those that succeed are taken off the list.

        :param destination: where to; None: as native finds it
        :return: a notification of what was done
        """
        self.check_access_rights("unlink")
        self.check_access_rule("unlink")
        settled, records = self.browse(), []
        for mail in self:
            processed, record = mail._retry(destination)
            if processed:
                settled |= mail
                records += [record] if record else []
        failed = self - settled
        settled.unlink()
        action = self._told(len(settled), failed, records)
        is_new = destination and not destination.res_id
        # what belongs to a company that is not ticked cannot be opened
        if is_new and not failed and len(records) == 1 and records[0]._filter_access_rules("read"):
            action["params"]["next"] = {
                "type": "ir.actions.act_window",
                "name": records[0].display_name,
                "res_model": records[0]._name,
                "res_id": records[0].id,
                "view_mode": "form",
                "views": [(False, "form")],
                # it takes the place of a mail that is gone
                "target": "main",
            }
        return action

    def _told(self, count, failed, records):
        """Give the notification of what became of some mails.

        :param count: how many were processed
        :param failed: those that were not
        :param records: the documents that they are at now, where that is known
        """
        links = []
        if len(records) == 1 and not failed:
            (record,) = records
            message = _(
                "The mail is at %(kind)s '%(name)s' now.",
                kind=self.env["ir.model"]._get(record._name).name,
                name="%s",  # the client puts the link there
            )
            url = f"/web#id={record.id}&model={record._name}&view_type=form"
            links.append({"label": record.display_name, "url": url})
        elif not failed:
            message = _("Mails that were processed: %s.", count)
        elif len(failed) == 1 and not count:
            # the first sentence says why; form and list have all of it
            why = re.split(r"(?<=\.)\s|(?<=。)", failed.reason_line, maxsplit=1)[0]
            message = _("Still not processed: %s", why)
        else:
            message = _(
                "Mails that were processed: %(done)s. Those that were not: %(failed)s; see their"
                " reason.",
                done=count,
                failed=len(failed),
            )
        action = done(message, "warning" if failed else "success")
        # the list and the form say it as well: the next try would stand beside a message that stays
        action["params"].update(sticky=False, links=links)
        if not failed:
            # by its name: the client shows the help of an action that it loads, not of one in here
            action["params"]["next"] = "mail_company_routing.action_mail_unprocessed"
        return action

    def _retry(self, destination=None):
        """Process one mail.

        :param destination: where to; None: as native finds it
        :return: whether that succeeded, and the document that it is at, where that is known
        """
        self.ensure_one()
        if not self.raw:
            raise UserError(_("The message of this mail is gone, it cannot be retried."))
        server = self.sudo().fetchmail_server_id
        # as the cron that fetches; what it sends waits for the commit of this request
        thread = (
            self.env["mail.thread"]
            .with_user(SUPERUSER_ID)
            .with_context(
                **{
                    SEND_LATER: True,
                    DESTINATION: destination,
                    "default_fetchmail_server_id": server.id,
                }
            )
        )
        try:
            with attempt(self.env.cr):
                res_id = thread.message_process(
                    server.object_id.model,
                    with_message_id(base64.b64decode(self.raw)),
                    save_original=server.original,
                    strip_attachments=bool(server) and not server.attach,
                )
                if destination and not res_id:
                    raise UserError(
                        _("Odoo has this mail already, or takes its sender for a robot.")
                    )
        except Exception as error:
            if getattr(error, "pgcode", None) in PG_CONCURRENCY_ERRORS_TO_RETRY:
                raise  # Odoo repeats the request
            _logger.info("Unprocessed mail %s failed again", self.id, exc_info=True)
            self.sudo().write({**self._reason_of(error), "tries": self.tries + 1})
            return False, None
        return True, self.env[destination.model].browse(res_id) if destination and res_id else None


def _text_of(raw):
    """Give the text of a raw message; of HTML what is to be read in it."""
    message = email.message_from_bytes(raw, policy=email.policy.SMTP)
    part = message.get_body(("plain", "html"))
    if part is None:
        return ""
    text = part.get_content()
    return (html2plaintext(text) if part.get_content_subtype() == "html" else text).strip()


def _storable(text):
    """Give a text without what PostgreSQL refuses: NUL, and halves of characters."""
    return str(text).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
