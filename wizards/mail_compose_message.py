from collections import defaultdict

from odoo import models


class MailComposeMessage(models.TransientModel):
    _inherit = "mail.compose.message"

    def get_mail_values(self, res_ids):
        """In mass mode, write each document's mail in the document's company."""
        facts = self.env["mail.routing"]._get_facts()
        if self.composition_mode != "mass_mail" or not self.model or facts.is_native:
            return super().get_mail_values(res_ids)
        by_company = defaultdict(list)
        for res_id, company in self.env[self.model].browse(res_ids)._mail_get_companies().items():
            by_company[company].append(res_id)
        values = {}
        for company, ids in by_company.items():
            composer = self.with_company(company)
            found = super(MailComposeMessage, composer).get_mail_values(ids)
            if facts.has_reply_domains and not self.reply_to_force_new:
                composer._answer_to_reply_domains(found)
            values.update(found)
        return {res_id: values[res_id] for res_id in res_ids}

    def _answer_to_reply_domains(self, values):
        """Native decides Reply-To before it knows who the mail is from; the domain matters here.

        :param values: of the mails, by document id; changed in place
        """
        by_sender = defaultdict(list)
        for res_id, mail_values in values.items():
            by_sender[mail_values.get("email_from")].append(res_id)
        for email_from, ids in by_sender.items():
            records = self.env[self.model].browse(ids)
            for res_id, reply_to in records._notify_get_reply_to(default=email_from).items():
                values[res_id]["reply_to"] = reply_to
