from odoo import models


class MailThread(models.AbstractModel):
    _inherit = "mail.thread"

    def message_notify(self, **kwargs):
        """Notify as the document's company: native decides Reply-To before the message is made."""
        if len(self) == 1 and self.id and self.env["mail.routing"]._is_active():
            company = self._mail_get_companies()[self.id]
            return super(MailThread, self.with_company(company)).message_notify(**kwargs)
        return super().message_notify(**kwargs)
