# SPDX-License-Identifier: LGPL-3.0-only
from odoo import models


class MailWizardInvite(models.TransientModel):
    _inherit = "mail.wizard.invite"

    def _prepare_message_values(self, document, model_name, email_from):
        """Let answers to an invitation reach the document, in its company.

        Native asks for answers at the author's own address, whatever company the author writes for.
        """
        values = super()._prepare_message_values(document, model_name, email_from)
        if self.env["mail.routing"]._is_active():
            values.pop("reply_to", None)
            # not shown in the chatter, as native has it; but still there when the answer comes
            values.update(reply_to_force_new=False, message_type="user_notification")
        return values

    def add_followers(self):
        if not self.env["mail.routing"]._is_active():
            return super().add_followers()
        return super(
            MailWizardInvite, self.with_context(mail_invitation_stays=True)
        ).add_followers()
