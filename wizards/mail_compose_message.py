# SPDX-License-Identifier: LGPL-3.0-only
import json
from collections import defaultdict

from odoo import models

from ..models.mail_mail import AFTER_COMMIT


class MailComposeMessage(models.TransientModel):
    _inherit = "mail.compose.message"

    def action_explain_route(self):
        """Explain where this mail would go; the way back leads to it as it was written."""
        self.ensure_one()
        return self.env["mail.route.explain"]._open(
            composer_id=self.id,
            composer_context=json.dumps(self.env.context, default=str),
            res_model=self.model,
            res_id=self.res_id,
            email_from=self.email_from,
        )

    def _action_send_mail(self, *args, **kwargs):
        """Let the mails of mass mode leave after the commit: Odoo may repeat the request.

        In the other modes native sees to it.
        """
        composers = self
        if all(composer.composition_mode == "mass_mail" for composer in self):
            composers = self.with_context(**{AFTER_COMMIT: True})
        return super(MailComposeMessage, composers)._action_send_mail(*args, **kwargs)

    def get_mail_values(self, res_ids):
        """In mass mode, let answers go where each document's company has them.

        Native decides Reply-To before it knows who a mail is from, and in the company in force.
        """
        values = super().get_mail_values(res_ids)
        if self.composition_mode == "mass_mail" and not self.env.su:
            # native makes these mails as superuser
            say = self.env["mail.message"]._as_user_may_say
            values = {res_id: say(mail_values) for res_id, mail_values in values.items()}
        mass = self.composition_mode == "mass_mail" and self.model and not self.reply_to_force_new
        if mass and self.env["mail.routing"]._is_active():
            self._answer_as_documents(values)
        return values

    def _answer_as_documents(self, values):
        """Replace native's Reply-To by the decided one.

        :param values: of the mails, by document id; changed in place
        """
        if not self.env.su:
            # as native, which reads their names; whatever is ticked in the company switcher
            companies = self.env.user.company_ids.ids
            records = self.env[self.model].with_context(allowed_company_ids=companies)
            records.check_access_rights("read")
            records.browse(values).check_access_rule("read")
        rows = [
            {**mail_values, "model": self.model, "res_id": res_id}
            for res_id, mail_values in values.items()
        ]
        companies = self.env["mail.routing"]._companies_of(rows)
        groups = defaultdict(list)
        for row, (company_id, _rule) in zip(rows, companies, strict=True):
            groups[company_id, row.get("email_from"), row.get("author_id")].append(row["res_id"])
        for (company_id, email_from, author_id), res_ids in groups.items():
            # sudo: who writes on a document need not be in its company
            records = self.env[self.model].browse(res_ids).sudo().with_company(company_id)
            records = records.with_context(mail_routing_author_id=author_id)
            for res_id, reply_to in records._notify_get_reply_to(default=email_from).items():
                values[res_id]["reply_to"] = reply_to
