# SPDX-License-Identifier: LGPL-3.0-only
from odoo import _, api, models
from odoo.exceptions import AccessError

from .mail_mail import AFTER_COMMIT, URGENTLY


class MailTemplate(models.Model):
    _inherit = "mail.template"

    @api.constrains("mail_server_id")
    def _check_server(self):
        """Refuse a server of a company that the user does not work in.

        A template's mail is sent as superuser.
        """
        if self.env.su or not self.env["mail.routing"]._is_active():
            return
        mine = self.env.user.sudo()._get_company_ids()
        for template in self.sudo():
            company = template.mail_server_id.company_id
            if company and company.id not in mine:
                raise AccessError(
                    _(
                        "The outgoing server belongs to a company that you do not work in. Choose"
                        " another one, or none."
                    )
                )

    def send_mail(self, res_id, *args, **kwargs):
        """Take out what no user may set on a mail: native creates it as superuser.

        What is to be sent at once is sent after the commit, see ``mail.mail._send_after_commit``.

        :raises AccessError: the values name a document that the user may not read
        """
        values = kwargs.get("email_values") or (args[2] if len(args) > 2 else None)
        if values and not self.env.su:
            self._check_document(values)
            values = self.env["mail.message"]._as_user_may_say(values)
            if len(args) > 2:
                args = (*args[:2], values, *args[3:])
            else:
                kwargs["email_values"] = values
        template = self.with_context(**{AFTER_COMMIT: True, URGENTLY: True})
        return super(MailTemplate, template).send_mail(res_id, *args, **kwargs)

    def _check_document(self, values):
        """Check that the user may read the document that values of a mail name."""
        model = values.get("model", self.model)
        res_id = values.get("res_id")
        if not res_id or model not in self.env:
            return
        # whatever is ticked in the company switcher
        companies = self.env.user.company_ids.ids
        record = self.env[model].with_context(allowed_company_ids=companies).browse(res_id)
        record.check_access_rights("read")
        record.check_access_rule("read")
