# SPDX-License-Identifier: LGPL-3.0-only
from odoo import _, api, fields, models
from odoo.exceptions import UserError

from ..models.mail_unprocessed import Destination


class MailUnprocessedChoose(models.TransientModel):
    """Choose the document of a mail that Odoo could not place."""

    _name = "mail.unprocessed.choose"
    _description = "Choose the Document of an Unprocessed Mail"

    mail_ids = fields.Many2many("mail.unprocessed", string="Mails")
    document = fields.Reference(selection="_selection_document")

    @api.model
    def _selection_document(self):
        return self.env["mail.route.explain"]._selection_document()

    def action_choose(self):
        """Put the mails into the chatter of the document.

        :return: a notification of what was done
        :raises UserError: where no document is chosen
        :raises AccessError: the user may not write on the document
        """
        self.ensure_one()
        document = self.document and self.document.exists()
        if not document:
            raise UserError(_("Document: choose one."))
        document.check_access_rights("write")
        document.check_access_rule("write")
        return self.mail_ids._process_again(Destination(document._name, document.id))
