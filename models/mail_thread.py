import logging

from odoo import api, models
from odoo.tools import email_split, mail_header_msgid_re

from ..routing import company_of_incoming, read_incoming

_logger = logging.getLogger(__name__)

#: marks a refusal of ours, so that it is not answered when it is fetched again
REFUSAL_HEADER = "X-Odoo-Routing-Refusal"


class MailThread(models.AbstractModel):
    """Incoming mail finds its company; what cannot be processed is kept."""

    _inherit = "mail.thread"

    def message_notify(self, **kwargs):
        """Answer as the document's company: native decides Reply-To before it has a message."""
        if "reply_to" not in kwargs and self.env["mail.routing"]._is_active():
            records = self
            if not self and kwargs.get("model") in self.env and kwargs.get("res_id"):
                records = self.env[kwargs["model"]].browse(kwargs["res_id"])
            if len(records) == 1:
                author_id, email_from = self._message_compute_author(
                    kwargs.get("author_id"), kwargs.get("email_from"), raise_on_email=False
                )
                kwargs["reply_to"] = self.env["mail.message"]._get_reply_to(
                    {
                        "model": records._name,
                        "res_id": records.id,
                        "author_id": author_id,
                        "email_from": email_from,
                        "mail_server_id": kwargs.get("mail_server_id"),
                    }
                )
        return super().message_notify(**kwargs)

    # ------------------------------------------------------------
    # Incoming mail
    # ------------------------------------------------------------

    @api.model
    def message_process(self, model, message, *args, **kwargs):
        """Keep what was fetched and cannot be processed; native marks it as seen and forgets it."""
        context = self.env.context
        fetched = context.get("default_fetchmail_server_id")
        if not fetched or context.get("mail_unprocessed_retry"):
            return super().message_process(model, message, *args, **kwargs)
        try:
            with self.env.cr.savepoint():
                return super().message_process(model, message, *args, **kwargs)
        except Exception as error:
            _logger.info("An incoming mail could not be processed; it is kept", exc_info=True)
            self.env["mail.unprocessed"]._keep(model, message, error, kwargs)
            return False

    @api.model
    def message_route(self, message, message_dict, model=None, *args, **kwargs):
        """Route in the company that the message was sent to, by whole addresses."""
        routing = self.env["mail.routing"]
        if not routing._is_active():
            return super().message_route(message, message_dict, model, *args, **kwargs)
        facts = routing._get_facts()
        if message[REFUSAL_HEADER] == self._refusal_mark():
            _logger.info("Ignored a refusal of our own, %s", message_dict.get("message_id"))
            return []
        thread = self._in_company_of(message_dict)
        to = email_split(message_dict.get("to") or "")
        is_reply = thread._is_reply_to_known(to, message_dict, facts)
        incoming = read_incoming(
            to,
            email_split(message_dict.get("recipients") or ""),
            facts,
            is_reply=is_reply,
            alias_domains_allowed=self._allowed_domain(),
        )
        if incoming.is_bounce:
            thread._routing_handle_bounce(message, message_dict)
            return []
        if incoming.for_replies and not (model or is_reply or thread._has_alias(incoming)):
            thread._refuse_for_replies(message, message_dict)
            return []
        seen = dict(
            message_dict, to=", ".join(incoming.to), recipients=", ".join(incoming.recipients)
        )
        try:
            return super(MailThread, thread).message_route(message, seen, model, *args, **kwargs)
        finally:
            # native takes out what a new record must not have, and finds the author
            for key in message_dict.keys() - seen.keys():
                del message_dict[key]
            message_dict.update(
                {key: value for key, value in seen.items() if key not in ("to", "recipients")}
            )

    @api.model
    def _message_route_process(self, message, message_dict, routes):
        """Create new records in the company that the message was sent to; replies change none."""
        if not routes or not self.env["mail.routing"]._is_active():
            return super()._message_route_process(message, message_dict, routes)
        thread_id = False
        for route in routes:
            model, existing_id, custom_values, user_id, alias = route
            thread = self if existing_id else self._in_company_of(message_dict, user_id)
            thread_id = super(MailThread, thread)._message_route_process(
                message, dict(message_dict), [(model, existing_id, custom_values, user_id, alias)]
            )
            if not existing_id and thread is not self:
                self._give_company(self.env[model].browse(thread_id), thread.env.company)
        return thread_id

    @api.model
    def _in_company_of(self, message_dict, user_id=None):
        """Give this model in the company of an incoming message; itself where it has none.

        :param user_id: who is to act in it: one that may not is left where he is
        """
        server = (
            self.env["fetchmail.server"]
            .sudo()
            .browse(self.env.context.get("default_fetchmail_server_id") or ())
        )
        company, _rule = company_of_incoming(
            email_split(message_dict.get("recipients") or ""),
            server.company_id.id,
            self.env["mail.routing"]._get_facts(),
        )
        if company is None:
            return self
        user = self.env["res.users"].sudo().browse(user_id or self.env.uid)
        if not user._is_superuser() and company.id not in user.company_ids.ids:
            return self
        return self.with_company(company.id)

    @api.model
    def _give_company(self, record, company):
        """Complete a new record whose model does not take the company in force by itself."""
        field = record._fields.get("company_id")
        if (
            record
            and field is not None
            and field.comodel_name == "res.company"
            and not field.readonly
            and not record.sudo().company_id
        ):
            record.sudo().company_id = company

    @api.model
    def _is_reply_to_known(self, to, message_dict, facts):
        """Tell whether a message answers a document's; asked only where it makes a difference."""
        matters = facts.mailboxes_in_use | facts.reply_addresses
        if not any(address.lower() in matters for address in to):
            return False
        references = message_dict.get("references") or message_dict.get("in_reply_to") or ""
        ids = [
            "".join(reference.split())
            for reference in mail_header_msgid_re.findall(references)
            if "reply_to" not in reference
        ]
        return bool(
            ids
            and self.env["mail.message"]
            .sudo()
            .search(
                [("message_id", "in", ids), ("model", "!=", False), ("res_id", "!=", 0)], limit=1
            )
        )

    @api.model
    def _has_alias(self, incoming):
        """Tell whether a recipient's local part is an alias."""
        names = [address.partition("@")[0].lower() for address in incoming.recipients]
        return bool(self.env["mail.alias"].sudo().search([("alias_name", "in", names)], limit=1))

    @api.model
    def _allowed_domain(self):
        """A domain that native lets pass, where it lets not all pass."""
        get_param = self.env["ir.config_parameter"].sudo().get_param
        if not get_param("mail.catchall.domain.allowed"):
            return ""
        allowed = get_param("mail.catchall.domain.allowed").split(",")
        return (get_param("mail.catchall.domain") or allowed[0]).strip().lower()

    # ------------------------------------------------------------
    # Refusals
    # ------------------------------------------------------------

    @api.model
    def _refuse_for_replies(self, message, message_dict):
        """Tell the sender that the address is for replies, as native does for its catchall."""
        body = self.env["ir.qweb"]._render("mail.mail_bounce_catchall", {"message": message})
        self._routing_create_bounce_email(
            message_dict["email_from"],
            body,
            message,
            references=message_dict["message_id"],
            reply_to=self.env.company.email,
        )

    @api.model
    def _refusal_mark(self):
        return self.env["ir.config_parameter"].sudo().get_param("database.uuid")

    @api.model
    def _routing_create_bounce_email(self, email_from, body_html, message, **mail_values):
        """Refuse in a way that no robot answers, and answer none (RFC 3834 2)."""
        if self.env["mail.routing"]._is_active():
            submitted = (message["Auto-Submitted"] or "no").strip().lower()
            if submitted != "no":
                _logger.info("Not refusing an automatic mail from %s", email_from)
                return
            mail_values.setdefault(
                "headers",
                repr({"Auto-Submitted": "auto-replied", REFUSAL_HEADER: self._refusal_mark()}),
            )
        super()._routing_create_bounce_email(email_from, body_html, message, **mail_values)
