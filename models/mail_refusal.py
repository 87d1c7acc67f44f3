# SPDX-License-Identifier: LGPL-3.0-only
import datetime
import logging

from odoo import api, fields, models

from .fetch_session import Fetching

_logger = logging.getLogger(__name__)

#: marks a refusal of ours, so that it is not answered when it is fetched again
REFUSAL_HEADER = "X-Odoo-Routing-Refusal"
#: key in the context: mails wait for the commit of what caused them
SEND_LATER = "mail_company_routing_send_later"


class MailMail(models.Model):
    """Refusals of incoming mail: sent after the commit, and counted."""

    _inherit = "mail.mail"

    def send(self, auto_commit=False, raise_exception=False):
        """Put off sending while the transaction may be rolled back, or repeated."""
        if not self.env.context.get(SEND_LATER):
            return super().send(auto_commit=auto_commit, raise_exception=raise_exception)
        fetching = Fetching.of(self.env)
        if fetching:
            fetching.send_later(self)
        else:
            self.env["ir.cron"]._trigger_queue()
        return True

    @api.model
    def _is_refused_enough(self, address, references):
        """Tell whether an address got a refusal of this very mail, or as many as it may get.

        By the parameters of native's ``_detect_loop_sender``, which counts records alone.

        :param address: normalized
        :param references: Message-Id of the mail to refuse
        """
        get_param = self.env["ir.config_parameter"].sudo().get_param
        minutes = int(get_param("mail.gateway.loop.minutes", 120))
        threshold = int(get_param("mail.gateway.loop.threshold", 20))
        refusals = self.sudo().search(
            [
                ("email_to", "=", address),
                ("headers", "like", self.env["mail.thread"]._refusal_mark(address)),
                ("create_date", ">", fields.Datetime.now() - datetime.timedelta(minutes=minutes)),
            ]
        )
        if references and references in refusals.mapped("references"):
            return True
        allowed = self.env["mail.gateway.allowed"].sudo()
        return len(refusals) >= threshold and not allowed.search_count(
            [("email_normalized", "=", address)]
        )

    @api.autovacuum
    def _gc_refusals(self):
        """Delete sent refusals once they no longer count; native deletes them at once."""
        minutes = self.env["ir.config_parameter"].sudo().get_param("mail.gateway.loop.minutes", 120)
        limit = fields.Datetime.now() - datetime.timedelta(minutes=int(minutes))
        self.sudo().search(
            [
                ("headers", "like", REFUSAL_HEADER),
                ("state", "=", "sent"),
                ("create_date", "<", limit),
            ],
            limit=10000,
        ).unlink()
