# SPDX-License-Identifier: LGPL-3.0-only
import dataclasses
import json
import smtplib

from markupsafe import Markup

from odoo import _, api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.tools import email_split

from odoo.addons.mail.wizard.mail_compose_message import _reopen

from ..models.mail_failure import words_of, words_of_reply
from ..routing import decide, decide_reply_to, is_address, parse_mailbox

#: what mail is usually about, first in the list
USUAL_DOCUMENTS = (
    "sale.order",
    "crm.lead",
    "account.move",
    "purchase.order",
    "project.task",
    "helpdesk.ticket",
    "res.partner",
)


class MailRouteExplain(models.TransientModel):
    """Why a mail goes where it goes: the decision that sending takes, in sentences.

    What is asked about is a draft: a document, an author, a company, a sender, all optional; or a
    mail that was sent or that failed, or its message where the mail is deleted. It is routed by
    the very call that sending makes.
    """

    _name = "mail.route.explain"
    _inherit = "mail.failure.shown"
    _failed_mails_by = ("mail_id", "message_id")
    _description = "Explain a Mail Route"

    mail_id = fields.Many2one("mail.mail", ondelete="cascade")
    message_id = fields.Many2one("mail.message", ondelete="cascade")
    composer_id = fields.Many2one("mail.compose.message", ondelete="cascade")
    composer_context = fields.Char(help="What the composer was opened with, as JSON")
    sent_ids = fields.Many2many(
        "mail.sent",
        string="What Happened",
        compute="_compute_sent_ids",
        help="What became of the mail, recipient by recipient, and by which server it went",
    )
    sent_failure = fields.Text(
        string="Why It Failed",
        compute="_compute_sent_ids",
        help="The words of the server, and what helps",
    )
    sent_waiting = fields.Text(
        string="Why It Waits",
        compute="_compute_sent_ids",
        help="Until when this mail waits, and why",
    )
    res_model = fields.Char(string="Document Model")
    res_id = fields.Many2oneReference(string="Document", model_field="res_model")
    document = fields.Reference(selection="_selection_document", string="About")
    user_id = fields.Many2one("res.users", string="Author", default=lambda self: self.env.user)
    company_id = fields.Many2one("res.company")
    email_from = fields.Char(string="Other Sender")

    mail_server_id = fields.Many2one(
        "ir.mail_server", string="Outgoing Server", compute="_compute_route"
    )
    mail_from = fields.Char(string="MAIL FROM", compute="_compute_route")
    header_from = fields.Char(string="From", compute="_compute_route")
    return_path = fields.Char(string="Return-Path", compute="_compute_route")
    reply_to = fields.Char(string="Reply-To", compute="_compute_route")
    reasons = fields.Text(compute="_compute_route")
    failure = fields.Char(compute="_compute_route")
    route_company_id = fields.Many2one(
        "res.company", string="Company of the Mail", compute="_compute_route"
    )
    picture = fields.Html(compute="_compute_route", sanitize=False)
    native = fields.Text(
        string="Odoo Without This Addon",
        compute="_compute_route",
        help="What native Odoo would have done with the same mail",
    )
    probe_recipient = fields.Char(
        string="Test Recipient",
        default=lambda self: self.env.user.email_normalized,
        help="The server is asked whether it would take the mail to this address. Nothing is sent.",
    )
    probe = fields.Text(readonly=True)
    probe_state = fields.Selection(
        selection=[("accepted", "Accepted"), ("refused", "Refused")], readonly=True
    )
    probe_words = fields.Text(readonly=True)

    @api.model
    def _open(self, **draft):
        """Give the action that explains a draft.

        :param draft: values of this model
        """
        action = self.env["ir.actions.actions"]._for_xml_id(
            "mail_company_routing.action_mail_route_explain"
        )
        return {**action, "context": {f"default_{name}": draft[name] for name in draft}}

    @api.model
    def _selection_document(self):
        """List the kinds of documents that people work on and write mail about, the usual first."""
        usual = {name: number for number, name in enumerate(USUAL_DOCUMENTS)}
        models_ = self.env["ir.model"].sudo().search([("is_mail_thread", "=", True)], order="name")
        in_menus = self._models_in_menus()
        return [
            (model.model, model.name)
            for model in models_.sorted(lambda model: usual.get(model.model, len(usual)))
            if model.model in self.env
            and not self.env[model.model]._abstract
            and not model.transient
            and not model.model.endswith(".blacklist")
            and (model.model in usual or model.model in in_menus)
        ]

    @api.model
    def _models_in_menus(self):
        """Give the names of the models whose records a menu opens."""
        # sudo: which kinds of documents there are is no secret
        menus = self.env["ir.ui.menu"].sudo().with_context(**{"ir.ui.menu.full_list": True})
        found = menus.search([("action", "=like", "ir.actions.act_window,%")])
        return {menu.action.res_model for menu in found if menu.action}

    @api.model
    def default_get(self, fields_list):
        values = super().default_get(fields_list)
        model, res_id = values.get("res_model"), values.get("res_id")
        if model in dict(self._selection_document()) and res_id:
            values["document"] = f"{model},{res_id}"
        recipient = self._recipient_of(values.get("mail_id"), values.get("message_id"))
        if recipient and "probe_recipient" in fields_list:
            values["probe_recipient"] = recipient
        return values

    @api.model
    def _recipient_of(self, mail_id, message_id):
        """Give the address that a mail, or a message, was sent to; of several the last one."""
        domains = [
            [(name, "=", number)]
            for name, number in (("mail_id", mail_id), ("message_id", message_id))
            if isinstance(number, int) and number
        ]
        for domain in domains:
            sent = self.env["mail.sent"].search(domain, limit=1)
            for address in email_split(sent.recipient or ""):
                return address
        return None

    @api.depends("mail_id", "message_id")
    def _compute_sent_ids(self):
        for wizard in self:
            message = wizard.mail_id.mail_message_id or wizard.message_id
            sent = self.env["mail.sent"].search([("message_id", "in", message.ids)], limit=80)
            wizard.sent_ids = sent
            # several recipients fail for one reason
            words = dict.fromkeys(filter(None, sent.mapped("failure_text")))
            wizard.sent_failure = "\n".join(words) or False
            waits = dict.fromkeys(filter(None, sent.mapped("waiting_reason")))
            wizard.sent_waiting = "\n".join(waits) or False

    @api.model
    def _sentence_of_lockstep(self, server):
        """Say that a server is given one command at a time, and why.

        :return: list of one sentence; empty where it is not
        """
        reason = self.env["mail.lane"]._lockstep_reason(server.id)
        if not reason:
            return []
        return [
            _(
                "Session: %(server)s is given one command at a time. When it was given several"
                " together: %(reason)s",
                server=server.name,
                reason=reason,
            )
        ]

    def _failed_mails(self):
        mails = self.sent_ids.mail_id.exists()
        return mails.filtered(lambda mail: mail.state == "exception")

    @api.depends(
        "mail_id",
        "message_id",
        "document",
        "res_model",
        "res_id",
        "user_id",
        "company_id",
        "email_from",
    )
    @api.depends_context("lang", "uid")
    def _compute_route(self):
        routing = self.env["mail.routing"]
        facts = routing._get_facts()
        for wizard in self:
            draft, route = wizard._decide()
            company = self.env["res.company"].browse(draft.company_id)
            wizard.route_company_id = company
            wizard.mail_server_id = route.server.id if route.server else False
            wizard.mail_from = route.mail_from
            wizard.header_from = route.header_from
            wizard.return_path = route.return_path
            wizard.reply_to = route.reply_to
            reasons = wizard._with_rule_of_reply_to(route.reasons)
            sentences = [routing._sentence(reason) for reason in reasons]
            if route.server:
                sentences += wizard._sentence_of_lockstep(route.server)
            wizard.reasons = "\n".join(sentences)
            wizard.failure = routing._sentence(route.failure) if route.failure else False
            wizard.picture = wizard._draw(draft, route, company)
            native = decide(
                dataclasses.replace(draft, reply_to="", answer="", author=None),
                facts.without_options(),
            )
            wizard.native = _(
                "Server: %(server)s\nMAIL FROM: %(mail_from)s\nFrom: %(header_from)s\n"
                "Reply-To: %(reply_to)s",
                server=self._server_name(native.server),
                mail_from=native.mail_from,
                header_from=native.header_from,
                reply_to=native.reply_to or native.from_address,
            )

    def _with_rule_of_reply_to(self, reasons):
        """Give reasons in which a kept Reply-To has the rule by which it would be given today.

        It was decided when the message was written, and is only carried along since.
        """
        kept = self.mail_id or self.message_id
        given = next((reason for reason in reasons if reason.rule == "reply_given"), None)
        if not (kept and given):
            return reasons
        routing = self.env["mail.routing"]
        ((_id, draft),) = routing._drafts(kept, anew=True)
        address, rule = decide_reply_to(draft, routing._get_facts())
        if address.lower() != given.values["address"].lower():
            return reasons
        return [rule if reason is given else reason for reason in reasons]

    def _decide(self):
        """Give the draft and its route, by the call that sending makes.

        :raises AccessError: the user may not read one of them
        """
        self._check_access()
        draft, route = self._decide_for_anybody()
        mine = draft.company_id in (None, 0, *self.env.user.company_ids.ids)
        server = self.env["ir.mail_server"].browse((route.server and route.server.id) or ())
        if not self.env.su and not (mine and server._may_be_read()):
            raise AccessError(
                _(
                    "This mail is of a company that is not yours, or goes by a server of one: where"
                    " it goes is for that company's administrators to read."
                )
            )
        return draft, route

    def _check_access(self):
        """Refuse records that the user may not read: the decision reads them with sudo."""
        if self.env.su:
            return
        self.check_access_rights("read")
        # whatever is ticked in the company switcher
        companies = self.env.user.company_ids.ids
        for record in (
            self.mail_id,
            self.message_id,
            self.composer_id,
            self.user_id,
            self._record(),
        ):
            if record:
                record = record._origin.with_context(allowed_company_ids=companies)
                record.check_access_rights("read")
                record.check_access_rule("read")

    def _server_name(self, server):
        """Name a server, if the user may read it."""
        known = self.env["ir.mail_server"].browse(server.id or ())
        return server.name if known._may_be_read() else _("one of another company")

    def _decide_for_anybody(self):
        """Give the draft and its route, without a check of access."""
        self.ensure_one()
        routing = self.env["mail.routing"]
        kept = self.mail_id or self.message_id
        if kept:
            ((_id, draft),) = routing._drafts(kept)
            return draft, routing._decide(draft)
        records = self._record()
        (draft,) = routing._drafts_of(
            [
                {
                    "model": records._name if records else None,
                    "res_id": records.id if records else None,
                    "email_from": self.email_from or self.user_id.email_formatted or "",
                    "author_id": self.user_id.partner_id.id,
                    "mail_server_id": self.composer_id.mail_server_id.id,
                    "current_company_id": (self.company_id or self.env.company).id,
                }
            ]
        )
        return draft, routing._decide(draft)

    def _record(self):
        """Give the document, empty where there is none."""
        if self.document:
            return self.document.exists()
        if self.res_model and self.res_model in self.env and self.res_id:
            return self.env[self.res_model].browse(self.res_id).exists()
        return self.env["mail.thread"]

    def _draw(self, draft, route, company):
        """Draw the way of the mail, and of its answer."""
        name, address = parse_mailbox(draft.email_from)
        out = [
            (_("Author"), name or address, address if name else ""),
            (_("Company"), company.name, company.alias_domain_id.unicode_name or ""),
            (_("From"), route.from_name or route.from_address, route.from_address),
        ]
        if route.server:
            fact = route.server
            server = self.env["ir.mail_server"].sudo().browse(fact.id or ())
            out.append((_("Server"), fact.name, _("MAIL FROM %s", route.mail_from)))
            login = _("logs in as %s", server.smtp_user) if server.smtp_user else ""
            out.append((_("Provider"), server.smtp_host or fact.name, login))
        else:
            out.append((_("Server"), _("none"), _("the mail fails")))
        back = [
            (_("Answer"), _("the customer's"), ""),
            (_("Reply-To"), route.reply_to or route.from_address, ""),
        ]
        return Markup("<div class='o_mail_route'>%s%s</div>") % (
            _row(_("The way of the mail"), out),
            _row(_("The way of the answer"), back),
        )

    def action_back(self):
        """Go back to the mail that was being written."""
        self.ensure_one()
        context = json.loads(self.composer_context or "{}")
        return _reopen(self.composer_id, self.composer_id.id, self.composer_id.model, context)

    def action_probe(self):
        """Ask the server, up to RCPT TO, whether it would take the mail; nothing is sent."""
        self.ensure_one()
        _draft, route = self._decide()
        if route.failure:
            raise UserError(self.env["mail.routing"]._sentence(route.failure))
        recipient = self.probe_recipient
        if not is_address(recipient):
            raise UserError(_("Test Recipient: '%s' is no e-mail address.", recipient or ""))
        with self.env["mail.lane"]._alone_at(route.server.id):
            lines, trouble = self._ask_server(route, recipient)
        self.probe = "\n".join(filter(None, [*lines, *trouble[1:]]))
        self.probe_words = "\n".join(filter(None, trouble)) or _(
            "The server would take the mail to %s; nothing was sent. What was said is under Ask the"
            " Server.",
            recipient,
        )
        self.probe_state = "refused" if trouble else "accepted"
        # a dialog stays open only by opening another one: with the same record and page
        view = self.env.ref("mail_company_routing.mail_route_explain_view_form_asked")
        return {
            "type": "ir.actions.act_window",
            "name": _("Explain a Mail Route"),
            "res_model": self._name,
            "res_id": self.id,
            "views": [(view.id, "form")],
            "target": "new",
        }

    def _ask_server(self, route, recipient):
        """Ask a route's server, up to RCPT TO, whether it would take a mail.

        :return: (lines that say how it went; its refusal and what helps, empty without one)
        """
        failure = self.env["mail.failure"]
        lines, trouble = [], []
        session = None
        try:
            session = self.env["ir.mail_server"].connect(mail_server_id=route.server.id)
            lines.append(_("✓ Connected and logged in at %s", route.server.name))
            for command, address, send in (
                ("MAIL FROM", route.mail_from, session.mail),
                ("RCPT TO", recipient, session.rcpt),
            ):
                code, reply = send(address)
                words = _without_password(session, words_of_reply(code, reply))
                lines.append(f"{'✓' if code < 400 else '✗'} {command} {address}: {words}")
                if code >= 400:
                    error = smtplib.SMTPResponseException(code, reply)
                    trouble = [words, failure._cure(error, "", route.server)]
                    break
        except (smtplib.SMTPException, OSError) as error:
            words = _without_password(session, words_of(error))
            lines.append(f"✗ {words}")
            trouble = [words, failure._cure(error, words, route.server)]
        finally:
            if session:
                session.close()
        return lines, trouble


def _without_password(session, words):
    """Take the password of a session out of its server's words.

    :param session: None: there was no login yet
    """
    hide = getattr(session, "hide", None)
    return hide(words) if hide else words


def _row(title, steps):
    """A row of boxes, each but the first behind an arrow that stays with it."""
    arrow = Markup("<i class='fa fa-long-arrow-right mx-1 text-muted' role='img'></i>")
    boxes = [
        Markup(
            "<div class='d-flex align-items-center'>%s"
            "<div class='border rounded px-2 py-1 my-1 text-center bg-view'>"
            "<div class='text-muted small'>%s</div><div class='fw-bold'>%s</div>"
            "<div class='small'>%s</div></div></div>"
        )
        % (arrow if number else "", *step)
        for number, step in enumerate(steps)
    ]
    return Markup(
        "<div class='mb-2'><div class='text-muted'>%s</div>"
        "<div class='d-flex flex-wrap align-items-center'>%s</div></div>"
    ) % (title, Markup("").join(boxes))
