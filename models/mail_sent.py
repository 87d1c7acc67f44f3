# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, fields, models, tools


class MailSent(models.Model):
    """What became of every mail, recipient by recipient, and by which server it went.

    A view of the notifications, which stay when their mail is deleted, and of the mails that have
    none because they were addressed by hand. Nothing is written for it.
    """

    _name = "mail.sent"
    _inherit = "mail.failure.shown"
    _description = "Sent Mail"
    _auto = False
    _order = "date desc, id desc"
    _failed_mails_by = ("mail_id", "result")
    _rec_name = "subject"
    _depends = {
        "mail.mail": [
            "email_to",
            "failure_reason",
            "mail_message_id",
            "recipient_ids",
            "sent_header_from",
            "sent_mail_from",
            "sent_server_id",
            "sent_server_name",
            "state",
        ],
        "mail.message": [
            "author_id",
            "date",
            "email_from",
            "model",
            "record_company_id",
            "record_name",
            "reply_to",
            "res_id",
            "subject",
        ],
        "mail.notification": [
            "failure_reason",
            "mail_mail_id",
            "mail_message_id",
            "notification_status",
            "notification_type",
            "res_partner_id",
            "sent_header_from",
            "sent_mail_from",
            "sent_server_id",
            "sent_server_name",
        ],
        "res.partner": ["email_normalized", "name"],
    }

    message_id = fields.Many2one("mail.message", readonly=True)
    mail_id = fields.Many2one("mail.mail", readonly=True)
    date = fields.Datetime(readonly=True)
    subject = fields.Char(readonly=True)
    author_id = fields.Many2one("res.partner", readonly=True)
    email_from = fields.Char(string="Written by", readonly=True)
    recipient = fields.Char(readonly=True)
    reply_to = fields.Char(string="Reply-To", readonly=True)
    model = fields.Char(string="Document Model", readonly=True)
    res_id = fields.Many2oneReference(string="Document", model_field="model", readonly=True)
    company_id = fields.Many2one(
        "res.company",
        readonly=True,
        help="Whose mail it is. Empty: it was written while nothing was set, as in Odoo itself.",
    )
    server_id = fields.Many2one("ir.mail_server", string="Server Record", readonly=True)
    server_name = fields.Char(string="Outgoing Server", readonly=True)
    mail_from = fields.Char(string="MAIL FROM", readonly=True)
    kept_from = fields.Char(string="From as It Was Kept", readonly=True)
    header_from = fields.Char(
        string="From",
        compute="_compute_header_from",
        help="The sender that the recipient saw",
    )
    is_from_decided = fields.Boolean(
        compute="_compute_header_from",
        help="From was not stored: this is the sender by the present settings",
    )
    result = fields.Selection(
        selection=[
            ("ready", "To Send"),
            ("sent", "Sent"),
            ("bounce", "Bounced"),
            ("exception", "Failed"),
            ("canceled", "Cancelled"),
        ],
        readonly=True,
    )
    failure_reason = fields.Text(readonly=True)
    failure_help = fields.Text(string="What Helps", compute="_compute_failure_help")
    waiting_reason = fields.Char(
        string="Why It Waits",
        compute="_compute_waiting_reason",
        help="Until when this mail waits, and why",
    )
    failure_text = fields.Text(
        string="Why It Failed",
        compute="_compute_failure_text",
        help="The words of the server, and what helps",
    )

    def init(self):
        tools.drop_view_if_exists(self.env.cr, self._table)
        self.env.cr.execute(
            """
            CREATE VIEW mail_sent AS (
                -- the ids of both tables start at 1: even ones are notifications, odd ones mails
                SELECT 2 * n.id::bigint AS id,
                    n.mail_message_id AS message_id,
                    n.mail_mail_id AS mail_id,
                    m.date,
                    COALESCE(NULLIF(m.subject, ''), m.record_name) AS subject,
                    m.author_id,
                    m.email_from,
                    COALESCE(p.email_normalized, p.name) AS recipient,
                    m.reply_to,
                    m.model,
                    m.res_id,
                    m.record_company_id AS company_id,
                    s.id AS server_id,
                    n.sent_server_name AS server_name,
                    n.sent_mail_from AS mail_from,
                    n.sent_header_from AS kept_from,
                    n.notification_status AS result,
                    n.failure_reason
                FROM mail_notification n
                JOIN mail_message m ON m.id = n.mail_message_id
                JOIN res_partner p ON p.id = n.res_partner_id
                LEFT JOIN ir_mail_server s ON s.id = n.sent_server_id
                WHERE n.notification_type = 'email'
            UNION ALL
                SELECT 2 * x.id::bigint + 1,
                    x.mail_message_id,
                    x.id,
                    m.date,
                    COALESCE(NULLIF(m.subject, ''), m.record_name),
                    m.author_id,
                    m.email_from,
                    COALESCE(
                        NULLIF(x.email_to, ''),
                        (
                            SELECT string_agg(COALESCE(p.email_normalized, p.name), ', ')
                            FROM mail_mail_res_partner_rel r
                            JOIN res_partner p ON p.id = r.res_partner_id
                            WHERE r.mail_mail_id = x.id
                        )
                    ),
                    m.reply_to,
                    m.model,
                    m.res_id,
                    m.record_company_id,
                    s.id,
                    x.sent_server_name,
                    x.sent_mail_from,
                    x.sent_header_from,
                    CASE x.state
                        WHEN 'outgoing' THEN 'ready'
                        WHEN 'cancel' THEN 'canceled'
                        ELSE x.state
                    END,
                    x.failure_reason
                FROM mail_mail x
                JOIN mail_message m ON m.id = x.mail_message_id
                LEFT JOIN ir_mail_server s ON s.id = x.sent_server_id
                WHERE x.state <> 'received'
                    AND NOT EXISTS (
                        SELECT 1 FROM mail_notification n
                        WHERE n.mail_mail_id = x.id AND n.notification_type = 'email'
                            AND n.mail_message_id = x.mail_message_id
                    )
            )
            """
        )

    @api.depends("kept_from", "message_id")
    @api.depends_context("uid")
    def _compute_header_from(self):
        self.update({"header_from": False, "is_from_decided": False})
        if not self.check_access_rights("read", raise_exception=False):
            return
        senders = self.filtered(lambda mail: not mail.kept_from)._senders_by_now()
        for mail in self:
            mail.header_from = mail.kept_from or senders.get(mail.message_id.id)
            mail.is_from_decided = bool(mail.header_from and not mail.kept_from)

    def _senders_by_now(self):
        """Give message id -> the From that sending would give it now, for all at once.

        Without those whose server the user may not read: From may be its login.
        """
        routing = self.env["mail.routing"]
        routes = {
            message_id: routing._decide(draft)
            for message_id, draft in routing._drafts(self.message_id)
        }
        servers = self.env["ir.mail_server"].browse(
            {route.server.id for route in routes.values() if route.server and route.server.id}
        )
        readable = {False, None, *servers._that_may_be_read().ids}
        return {
            message_id: route.header_from
            for message_id, route in routes.items()
            if not route.server or route.server.id in readable
        }

    @api.depends("failure_reason", "result")
    @api.depends_context("lang", "uid")
    def _compute_failure_help(self):
        self.failure_help = False
        if not self.check_access_rights("read", raise_exception=False):
            return
        failed = self.filtered(lambda mail: mail.result == "exception")
        cures = self.env["mail.failure"]._cures_of(
            (mail.failure_reason, mail.server_id, mail.mail_from) for mail in failed
        )
        for mail, cure in zip(failed, cures, strict=True):
            mail.failure_help = cure

    @api.depends("mail_id", "result")
    @api.depends_context("lang", "tz", "uid")
    def _compute_waiting_reason(self):
        self.waiting_reason = False
        if not self.check_access_rights("read", raise_exception=False):
            return
        waiting = self.filtered(lambda sent: sent.result == "ready")
        mails = waiting._own_mails().filtered(lambda mail: mail.state == "outgoing")
        told = mails._waiting_sentences()
        for sent in waiting:
            sent.waiting_reason = told.get(sent.mail_id.id)

    @api.depends("failure_reason", "failure_help")
    @api.depends_context("lang", "uid")
    def _compute_failure_text(self):
        self.failure_text = False
        if not self.check_access_rights("read", raise_exception=False):
            return
        for mail in self:
            mail.failure_text = self.env["mail.failure"]._told(
                mail.failure_reason, mail.failure_help
            )

    def _failed_mails(self):
        return self._own_mails().filtered(lambda mail: mail.state == "exception")

    def _own_mails(self):
        """Give the mails that are still there; a notification may name any mail."""
        return self.mail_id.exists().filtered(lambda mail: mail.mail_message_id in self.message_id)

    def onchange(self, values, field_name, field_onchange):
        """Refuse: nobody fills in this list, and Odoo would name any record to anybody."""
        self.check_access_rights("write")
        return super().onchange(values, field_name, field_onchange)

    def action_explain_route(self):
        """Open the explanation of this mail's route."""
        self.ensure_one()
        return self.message_id.action_explain_route()

    def action_open_document(self):
        """Open the document that the mail is about."""
        self.ensure_one()
        return self.message_id.action_open_document()
