# SPDX-License-Identifier: LGPL-3.0-only
import logging
from collections import defaultdict

import psycopg2

from odoo import api, fields, models
from odoo.exceptions import MissingError
from odoo.tools import formataddr

from ..routing import Draft, decide_reply_to, parse_mailbox

_logger = logging.getLogger(__name__)

#: fields that only this addon's code may set
OURS = frozenset({"record_alias_domain_id", "record_company_id"})


class MailMessage(models.Model):
    _inherit = "mail.message"

    record_company_id = fields.Many2one(
        "res.company",
        string="Company",
        ondelete="set null",
        help="The company whose mail this is: the document's, else the one it was written in",
    )
    record_alias_domain_id = fields.Many2one(
        "mail.alias.domain",
        string="Email Domain",
        ondelete="set null",
        help="The Email Domain of that company when the message was written",
    )

    @api.model
    def default_get(self, fields_list):
        """Take no company from the context: it is the user's, even if the superuser creates."""
        return without_ours(super().default_get(fields_list))

    @api.model_create_multi
    def create(self, values_list):
        """Store the company of each message, so that it is known when the queue sends it."""
        if not self.env.su:
            values_list = [self._as_user_may_say(values) for values in values_list]
        if not self.env["mail.routing"]._is_active():
            return super().create(values_list)
        self._set_record_company(values_list)
        self._unset_natives_reply_to(values_list)
        return super().create(values_list)

    def write(self, vals):
        if not self.env.su:
            vals = self._as_user_may_say(vals)
        return super().write(vals)

    @api.model
    def _as_user_may_say(self, values):
        """Take out what would let a user's mail leave by another company's server.

        That is the company of the mail, and a server of a company that the user does not work in. A
        template that sends keeps its server: native is superuser there.
        """
        values = without_ours(values)
        server_id = values.get("mail_server_id")
        if not server_id or not self.env["mail.routing"]._is_active():
            return values
        company_id = self.env["ir.mail_server"]._server_fact(server_id).company_id
        if company_id and company_id not in self.env.user.sudo()._get_company_ids():
            return {**values, "mail_server_id": False}
        return values

    def unlink(self):
        """Keep an invitation to follow that native deletes once it is sent: it may be answered."""
        stays = self.browse()
        if self.env.context.get("mail_invitation_stays"):
            stays = self.filtered(lambda message: message.message_type == "user_notification")
        return super(MailMessage, self - stays).unlink()

    @api.model
    def _set_record_company(self, values_list):
        """Complete the values of new messages with their company and its Email Domain."""
        unset = [values for values in values_list if not values.get("record_company_id")]
        for values in unset:
            if "email_from" not in values:  # as native is about to
                _author_id, values["email_from"] = self.env["mail.thread"]._message_compute_author(
                    values.get("author_id"), email_from=None, raise_on_email=False
                )
        companies = self.env["mail.routing"]._companies_of(unset)
        for values, (company_id, _rule) in zip(unset, companies, strict=True):
            company = self.env["res.company"].browse(company_id)
            values["record_company_id"] = company.id
            values["record_alias_domain_id"] = company.sudo().alias_domain_id.id

    @api.model
    def _unset_natives_reply_to(self, values_list):
        """Leave Reply-To to the decision where native set the author's address, having no other.

        Native does so for templates without a Reply-To, invitations and the like. Answers that are
        meant for the author go to the author's address in this company.
        """
        routing = self.env["mail.routing"]
        own = []
        for values in values_list:
            address = parse_mailbox(values.get("email_from") or "").address.lower()
            reply_to = parse_mailbox(values.get("reply_to") or "").address.lower()
            if "reply_to" in values and reply_to in ("", address):
                own.append((values, reply_to, (address, values["record_company_id"])))
        colleagues = routing._users_by_address(
            {(reply_to, values.get("author_id")) for values, reply_to, _key in own if reply_to}
        )
        to_author = []
        for values, reply_to, key in own:
            if reply_to and reply_to not in colleagues:
                continue  # somebody else's address is given on purpose
            if values.get("reply_to_force_new"):
                to_author.append((values, (*key, values.get("author_id"))))
            else:
                del values["reply_to"]
        if not to_author:
            return
        authors = routing._authors(key for _values, key in to_author)
        facts = routing._sending_facts()
        for values, key in to_author:
            draft = Draft(
                values.get("email_from") or "",
                company_id=values["record_company_id"],
                author=authors.get(key),
                answers_to_author=True,
            )
            address, _reason = decide_reply_to(draft, facts)
            if address:
                name = parse_mailbox(draft.email_from).name
                values["reply_to"] = formataddr((name, address))

    @api.model
    def _companies_of_documents(self, documents):
        """Give (model, id) -> id of the document's company; without those that have none.

        :param documents: iterable of (model name, record id), either of which may be missing
        """
        ids_by_model = defaultdict(set)
        for model, res_id in documents:
            if model and res_id and model in self.env:
                ids_by_model[model].add(res_id)
        none = self.env["res.company"]
        result = {}
        for model, res_ids in ids_by_model.items():
            records = self.env[model].sudo().browse(res_ids)
            try:
                companies = records._mail_get_companies(none)
            except MissingError:
                companies = records.exists()._mail_get_companies(none)
            except psycopg2.Error:
                raise
            except Exception:
                # one model's fault must not hold up the mail of all the others
                _logger.exception("The companies of documents of %s cannot be read", model)
                continue
            for res_id, company in companies.items():
                if res_id and company:
                    result[model, res_id] = company.id
        return result

    def action_explain_route(self):
        """Open the explanation of this message's route, as its mail takes it."""
        self.ensure_one()
        mail = self.env["mail.mail"].search([("mail_message_id", "=", self.id)], limit=1)
        if mail:
            return mail.action_explain_route()
        return self.env["mail.route.explain"]._open(message_id=self.id)

    @api.model
    def _get_reply_to(self, values):
        """Decide Reply-To in the document's company: its team or project may have none."""
        if not self.env["mail.routing"]._is_active():
            return super()._get_reply_to(values)
        company_id = values.get("record_company_id")
        if not company_id:
            row = {
                **values,
                "model": values.get("model", self.env.context.get("default_model")),
                "res_id": values.get("res_id", self.env.context.get("default_res_id")),
            }
            ((company_id, _rule),) = self.env["mail.routing"]._companies_of([row])
        # sudo: who writes on a document need not be in its company
        messages = self.sudo().with_company(company_id)
        messages = messages.with_context(mail_routing_author_id=values.get("author_id"))
        # native would fail on a user notification about a document, which it never asks about
        values = {name: value for name, value in values.items() if name != "message_type"}
        return super(MailMessage, messages)._get_reply_to(values)


def without_ours(values):
    """Take out what no user may set: it would let mail leave by any company's server.

    :param values: of a message, or of a mail
    """
    if OURS.isdisjoint(values):
        return values
    return {name: value for name, value in values.items() if name not in OURS}
