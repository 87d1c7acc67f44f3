import logging
from collections import defaultdict

import psycopg2

from odoo import api, fields, models
from odoo.exceptions import MissingError

_logger = logging.getLogger(__name__)


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

    @api.model_create_multi
    def create(self, values_list):
        """Give every message its company, so that whoever sends it later need not guess."""
        if self.env["mail.routing"]._is_active():
            self._set_record_company(values_list)
        return super().create(values_list)

    @api.model
    def _set_record_company(self, values_list):
        """Complete the values of new messages with their company and its Email Domain."""
        unset = [values for values in values_list if not values.get("record_company_id")]
        companies = self._companies_of_documents(
            (values.get("model"), values.get("res_id")) for values in unset
        )
        for values in unset:
            company = companies[values.get("model"), values.get("res_id")]
            values["record_company_id"] = company.id
            values.setdefault("record_alias_domain_id", company.sudo().alias_domain_id.id)

    @api.model
    def _companies_of_documents(self, documents):
        """Give (model, id) -> company of the mail: the document's, else the one in force.

        :param documents: iterable of (model name, record id), either of which may be missing
        """
        ids_by_model = defaultdict(set)
        result = {}
        for model, res_id in documents:
            result[model, res_id] = self.env.company
            if model and res_id and model in self.env:
                ids_by_model[model].add(res_id)
        for model, res_ids in ids_by_model.items():
            records = self.env[model].sudo().browse(res_ids)
            try:
                companies = records._mail_get_companies(self.env.company)
            except MissingError:
                companies = records.exists()._mail_get_companies(self.env.company)
            except psycopg2.Error:
                raise
            except Exception:
                # one model's fault must not hold up the mail of all the others
                _logger.exception("No company can be had of the documents of %s", model)
                continue
            for res_id, company in companies.items():
                if res_id:
                    result[model, res_id] = company
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
        model = values.get("model", self.env.context.get("default_model"))
        res_id = values.get("res_id", self.env.context.get("default_res_id"))
        company = self._companies_of_documents([(model, res_id)])[model, res_id]
        # sudo: who writes on a document need not be in its company
        return super(MailMessage, self.sudo().with_company(company))._get_reply_to(values)
