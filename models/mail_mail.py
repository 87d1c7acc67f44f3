import ast
import logging
import smtplib
from collections import defaultdict

from odoo import _, models
from odoo.tools import email_normalize_all, split_every

from ..routing import Draft, ascii_address, parse_mailbox
from .ir_mail_server import ExplainedDeliveryException
from .smtp_session import SessionWatch

_logger = logging.getLogger(__name__)


class MailMail(models.Model):
    """Sending by routes: decided first, then one session for each server and batch.

    A server that fails takes only its own mails along. Of a mail whose session breaks off,
    :meth:`_settle_broken_off` tells whether it may be sent again.
    """

    _inherit = "mail.mail"

    def send(self, auto_commit=False, raise_exception=False):
        """Send each server's mails on their own, whatever happens to the others'."""
        if not self.env["mail.routing"]._is_active():
            return super().send(auto_commit=auto_commit, raise_exception=raise_exception)
        for mails, failure in self._split_by_route():
            if failure:
                mails._fail(failure, auto_commit, raise_exception)
                continue
            try:
                super(MailMail, mails).send(
                    auto_commit=auto_commit, raise_exception=raise_exception
                )
            except smtplib.SMTPServerDisconnected:
                if raise_exception:
                    raise
                # all its mails have their state: only the goodbye of the session failed
                _logger.info("Server %s hung up", mails.env.context["mail_route_server"].name)
        return True

    # ------------------------------------------------------------
    # Routes
    # ------------------------------------------------------------

    def _split_by_route(self):
        """Give (mails, failure): the mails that share a server, with their routes in the context.

        ``failure`` is the reason why no server may send them, None where one may.
        """
        routes = self._decide_routes()
        by_server = defaultdict(list)
        for mail_id, (_message_id, route) in routes.items():
            by_server[route.server, route.failure and route.failure.key].append(mail_id)
        batch_size = int(
            self.env["ir.config_parameter"].sudo().get_param("mail.session.batch.size", 1000)
        )
        for (server, _key), mail_ids in by_server.items():
            for batch_ids in split_every(batch_size, mail_ids):
                batch = {routes[mail_id][0]: routes[mail_id][1] for mail_id in batch_ids}
                yield (
                    self.browse(batch_ids).with_context(
                        mail_routes=batch, mail_route_server=server, mail_delivered=[]
                    ),
                    routes[batch_ids[0]][1].failure,
                )

    def _decide_routes(self):
        """Give mail id -> (Message-Id, route); mails that are alike share one decision."""
        routing = self.env["mail.routing"]
        # like native, which reads these as the message's reader may not: see _add_inherited_fields
        rows = self.sudo().read(
            [
                "email_from",
                "headers",
                "mail_server_id",
                "message_id",
                "model",
                "record_company_id",
                "reply_to",
                "res_id",
            ],
            load=None,
        )
        companies = self.env["mail.message"]._companies_of_documents(
            (row["model"], row["res_id"]) for row in rows if not row["record_company_id"]
        )
        for row in rows:
            if not row["record_company_id"]:
                row["record_company_id"] = companies[row["model"], row["res_id"]].id
        authors = routing._authors(
            (parse_mailbox(row["email_from"] or "").address.lower(), row["record_company_id"])
            for row in rows
        )
        decided = {}
        routes = {}
        for row in rows:
            draft = self._routing_draft(row, authors)
            if draft not in decided:
                decided[draft] = routing._decide(draft)
            routes[row["id"]] = row["message_id"], decided[draft]
        return routes

    def _routing_draft(self, row, authors) -> Draft:
        """Read the draft of a mail.

        :param row: values of the mail, as ``read(load=None)`` gives them
        :param authors: as ``mail.routing._authors`` gives them
        """
        address = parse_mailbox(row["email_from"] or "").address.lower()
        server_id = row["mail_server_id"]
        return Draft(
            email_from=row["email_from"] or "",
            company_id=row["record_company_id"],
            author=authors.get((address, row["record_company_id"])),
            server=self.env["ir.mail_server"]._server_fact(server_id) if server_id else None,
            reply_to=parse_mailbox(row["reply_to"] or "").address,
            return_path=_return_path(row["headers"]),
        )

    def _split_by_mail_configuration(self):
        """The mails of one server, as ``send`` hands them over, are one session's."""
        server = self.env.context.get("mail_route_server")
        if server is None:
            yield from super()._split_by_mail_configuration()
        else:
            yield server.id or False, False, self.ids

    # ------------------------------------------------------------
    # Failures
    # ------------------------------------------------------------

    def _fail(self, failure, auto_commit, raise_exception):
        """Mark mails that no server may send, with the sentence that says what to set."""
        reason = self.env["mail.routing"]._sentence(failure)
        if raise_exception:
            raise ExplainedDeliveryException(_("Mail Delivery Failed"), reason)
        waiting = self.filtered(lambda mail: mail.state == "outgoing")
        waiting.write({"state": "exception", "failure_reason": reason, "failure_type": "mail_smtp"})
        waiting._postprocess_sent_message(
            success_pids=[], failure_reason=reason, failure_type="mail_smtp"
        )
        if auto_commit:
            self.env.cr.commit()  # as native does # pylint: disable=invalid-commit

    def _send(self, auto_commit=False, raise_exception=False, smtp_session=None):
        """Send mail by mail, so that a session that breaks off leaves the rest in the queue."""
        if "mail_route_server" not in self.env.context or raise_exception:
            return super()._send(
                auto_commit=auto_commit,
                raise_exception=raise_exception,
                smtp_session=smtp_session,
            )
        delivered = self.env.context["mail_delivered"]
        watch = SessionWatch(smtp_session)
        for number, mail_id in enumerate(self.ids):
            if watch.is_closed():
                _logger.info(
                    "The session with %s is over: %s mails stay in the queue",
                    self.env.context["mail_route_server"].name,
                    len(self) - number,
                )
                break
            mail = self.browse(mail_id)
            delivered.clear()
            watch.start_mail()
            try:
                super(MailMail, mail)._send(
                    auto_commit=auto_commit,
                    raise_exception=raise_exception,
                    smtp_session=smtp_session,
                )
            except smtplib.SMTPServerDisconnected as error:
                watch.close()
                mail._settle_broken_off(watch, error)
                if auto_commit:
                    self.env.cr.commit()  # as native does # pylint: disable=invalid-commit
        return True

    def _settle_broken_off(self, watch, error):
        """Settle the mail that was being sent when the session broke off.

        Not lost, not sent twice: it stays in the queue if the session had died before its turn;
        it fails, loudly and to be retried by hand, if the server hung up on it (else it might
        hold up the queue behind it for ever); and if the server had the whole mail but gave no
        answer, it fails with the warning that it may have arrived.
        """
        if watch.died_before_this_mail():
            self._put_back()
            return
        server = self.env.context["mail_route_server"]
        label = self.env["ir.mail_server"]._server_label(server)
        if watch.handed_over:
            reason = _(
                "%(server)s hung up after it had been given the whole mail, without saying whether"
                " it took it: %(error)s\nThe mail may have arrived. Ask the recipient before you"
                " retry.",
                server=label,
                error=error,
            )
        else:
            reason = _(
                "%(server)s hung up while this mail was being sent: %(error)s\nThe mail was not"
                " delivered. Check the server, then retry.",
                server=label,
                error=error,
            )
        self.write({"state": "exception", "failure_reason": reason})
        self._postprocess_sent_message(
            success_pids=self._delivered_recipients(),
            failure_reason=reason,
            failure_type="unknown",
        )

    def _put_back(self):
        """Undo what native writes before it sends: the mail was not tried."""
        self.write({"state": "outgoing", "failure_reason": False})
        notifications = (
            self.env["mail.notification"]
            .sudo()
            .search(
                [
                    ("notification_type", "=", "email"),
                    ("mail_mail_id", "in", self.ids),
                    ("notification_status", "=", "exception"),
                ]
            )
        )
        notifications.write(
            {"notification_status": "ready", "failure_type": False, "failure_reason": False}
        )

    def _delivered_recipients(self):
        """Give the recipients of this mail whom the server has taken it for."""
        delivered = self.env.context.get("mail_delivered") or ()
        return self.recipient_ids.filtered(lambda partner: partner.email_normalized in delivered)

    def _postprocess_sent_message(self, success_pids, failure_reason=False, failure_type=None):
        """Take those who got it off a mail that failed for others: a retry is for the others."""
        result = super()._postprocess_sent_message(
            success_pids, failure_reason=failure_reason, failure_type=failure_type
        )
        delivered = self.env.context.get("mail_delivered")
        if delivered and failure_type == "unknown" and len(self) == 1:
            values = {}
            served = self._delivered_recipients()
            if served:
                values["recipient_ids"] = [(3, partner.id) for partner in served]
            addresses = set(email_normalize_all(self.email_to or ""))
            if addresses and addresses <= set(delivered):
                values["email_to"] = False
            if values:
                self.write(values)
        return result


def _return_path(headers):
    """Give the Return-Path that the caller put into ``mail.mail.headers``, ``""`` without one."""
    if not headers or "return-path" not in headers.lower():
        return ""
    try:
        values = ast.literal_eval(headers)
    except (ValueError, SyntaxError):
        return ""  # native ignores such headers as well
    found = [str(value) for key, value in values.items() if key.lower() == "return-path"]
    return ascii_address(found[0]) if found else ""
