import logging
import smtplib
from collections import defaultdict

from odoo import _, api, fields, models
from odoo.tools import email_normalize_all, split_every

from ..routing import is_restricted, recognise_refusal
from .ir_mail_server import ExplainedDeliveryException
from .smtp_session import Delivery, Sent, SessionWatch

_logger = logging.getLogger(__name__)


class MailMail(models.Model):
    """Sending by routes: decided first, then one session for each server and batch.

    A server that fails takes only its own mails along. Of a mail whose session breaks off,
    :meth:`_settle_broken_off` tells whether it may be sent again.
    """

    _name = "mail.mail"
    _inherit = ["mail.mail", "mail.sent.route"]

    _sent_status = "state"

    is_sender_refused = fields.Boolean(
        compute="_compute_is_sender_refused",
        help="The provider refused the sender, and its server is not restricted to its login yet",
    )

    failure_help = fields.Text(
        string="What Helps",
        compute="_compute_failure_help",
        help="In your language, where the failure was kept in another one",
    )

    @api.depends("state", "failure_reason")
    @api.depends_context("lang", "uid")
    def _compute_failure_help(self):
        readable = self.check_access_rights("read", raise_exception=False)
        for mail in self:
            kept = mail.sudo()  # the server is the administrator's to see, what helps anybody's
            failed = readable and mail.state == "exception"
            mail.failure_help = failed and self.env["ir.mail_server"]._cure_of(
                mail.failure_reason, kept.sent_server_id, kept.sent_mail_from
            )

    @api.depends("state", "failure_reason")
    @api.depends_context("uid")
    def _compute_is_sender_refused(self):
        facts = self.env["mail.routing"]._get_facts()
        readable = self.check_access_rights("read", raise_exception=False)
        for mail in self:
            refusal = (
                recognise_refusal(None, mail.failure_reason or "")
                if readable and mail.state == "exception"
                else None
            )
            server = mail._decide_routes()[mail.id].server if refusal else None
            mail.is_sender_refused = bool(
                refusal
                and refusal.kind == "sender"
                and server
                and server.id
                and not is_restricted(server, facts)
            )

    def action_restrict_and_retry(self):
        """Apply the cure of a refused sender: its server sends as its login.

        Then retry this mail, and all others that the server refused for the same reason.

        :return: a notification of how that went
        """
        refused = self.exists().filtered("is_sender_refused")  # somebody may have been quicker
        servers = self.env["ir.mail_server"].browse(
            {route.server.id for route in refused._decide_routes().values()}
        )
        refused |= self.search(
            [("state", "=", "exception"), ("sent_server_id", "in", servers.ids)]
        ).filtered("is_sender_refused")
        servers.sender_policy = "login"
        refused.mark_outgoing()
        refused.send()
        failed = refused.exists().filtered(lambda mail: mail.state == "exception")
        message = _("%s mails were sent.", len(refused) - len(failed))
        if servers:
            message = _(
                "%(servers)s now lets only its login send. %(sent)s mails were sent.",
                servers=", ".join(servers.mapped("name")),
                sent=len(refused) - len(failed),
            )
        if failed:
            message += "\n" + _("%s mails failed again: see their reason.", len(failed))
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "message": message,
                "type": "warning" if failed else "success",
                "sticky": bool(failed),
                # a mail that is sent may be deleted
                "next": self.env["ir.actions.actions"]._for_xml_id("mail.action_view_mail_mail"),
            },
        }

    def send(self, auto_commit=False, raise_exception=False):
        """Send each server's mails on their own, whatever happens to the others'."""
        if not self.env["mail.routing"]._is_active():
            return super().send(auto_commit=auto_commit, raise_exception=raise_exception)
        groups = list(self._split_by_route())
        if raise_exception:
            # before anything is sent that the caller's rollback would forget
            for _mails, failure in groups:
                if failure:
                    raise ExplainedDeliveryException(
                        _("Mail Delivery Failed"), self.env["mail.routing"]._sentence(failure)
                    )
        for mails, failure in groups:
            if failure:
                mails.with_context(lang=mails._authors_language())._fail(failure, auto_commit)
                continue
            try:
                super(MailMail, mails).send(
                    auto_commit=auto_commit, raise_exception=raise_exception
                )
            except smtplib.SMTPServerDisconnected:
                if raise_exception:
                    raise
                # all its mails have their state: only the goodbye of the session failed
                _logger.info("Server %s hung up", mails._delivery().server.name)
        return True

    def _delivery(self):
        """Give the :class:`~.smtp_session.Delivery` that these mails are part of, if any."""
        return self.env.context.get("mail_delivery")

    # ------------------------------------------------------------
    # Routes
    # ------------------------------------------------------------

    def _split_by_route(self):
        """Give (mails, failure): the mails that share a server, with their routes in the context.

        ``failure`` is the reason why no server may send them, None where one may.
        """
        routes = self._decide_routes()
        by_server = defaultdict(list)
        for mail_id, route in routes.items():
            by_server[route.server, route.failure and route.failure.key].append(mail_id)
        batch_size = int(
            self.env["ir.config_parameter"].sudo().get_param("mail.session.batch.size", 1000)
        )
        for (server, _key), mail_ids in by_server.items():
            for batch_ids in split_every(batch_size, mail_ids):
                batch = {mail_id: routes[mail_id] for mail_id in batch_ids}
                delivery = Delivery(server, batch, queued=True)
                mails = self.browse(batch_ids).with_context(
                    mail_delivery=delivery, mail_sent=server and Sent(server.id, server.name)
                )
                yield mails, routes[batch_ids[0]].failure

    def _decide_routes(self):
        """Give mail id -> route; mails that are alike share one decision."""
        routing = self.env["mail.routing"]
        decided = {}
        routes = {}
        for mail_id, draft in routing._drafts(self):
            if draft not in decided:
                decided[draft] = routing._decide(draft)
            routes[mail_id] = decided[draft]
        return routes

    def _split_by_mail_configuration(self):
        """The mails of one server, as ``send`` hands them over, are one session's."""
        delivery = self._delivery()
        if delivery is None:
            yield from super()._split_by_mail_configuration()
        else:
            yield delivery.server.id or False, False, self.ids

    def action_explain_route(self):
        """Open the explanation of this mail's route."""
        self.ensure_one()
        return self.env["mail.route.explain"]._open(mail_id=self.id)

    # ------------------------------------------------------------
    # Failures
    # ------------------------------------------------------------

    def _authors_language(self):
        """Give the language of whoever wrote the first of these mails: he reads the failure.

        The queue's own user may well have another one.
        """
        # sudo: any user's language
        return self[:1].sudo().create_uid.lang or self.env.lang

    def _fail(self, failure, auto_commit):
        """Mark mails that no server may send, with the sentence that says what to set."""
        reason = self.env["mail.routing"]._sentence(failure)
        waiting = self.filtered(lambda mail: mail.state == "outgoing")
        waiting.write({"state": "exception", "failure_reason": reason, "failure_type": "mail_smtp"})
        waiting._postprocess_sent_message(
            success_pids=[], failure_reason=reason, failure_type="mail_smtp"
        )
        if auto_commit:
            self.env.cr.commit()  # as native does # pylint: disable=invalid-commit

    def _send(self, auto_commit=False, raise_exception=False, smtp_session=None):
        """Send mail by mail, so that a session that breaks off leaves the rest in the queue."""
        delivery = self._delivery()
        if delivery is None:
            mails = self.with_context(mail_sent=Sent.by_session(smtp_session, self.env))
            return super(MailMail, mails)._send(
                auto_commit=auto_commit,
                raise_exception=raise_exception,
                smtp_session=smtp_session,
            )
        watch = SessionWatch(smtp_session)
        for number, mail_id in enumerate(self.ids):
            if watch.is_closed():
                _logger.info(
                    "The session with %s is over: %s mails stay in the queue",
                    delivery.server.name,
                    len(self) - number,
                )
                break
            mail = self.browse(mail_id)
            delivery.start(mail_id)
            watch.start_mail()
            try:
                super(MailMail, mail)._send(
                    auto_commit=auto_commit,
                    raise_exception=raise_exception,
                    smtp_session=smtp_session,
                )
            except smtplib.SMTPServerDisconnected as error:
                if raise_exception:
                    raise
                watch.close()
                mail.with_context(lang=mail._authors_language())._settle_broken_off(watch, error)
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
        label = self.env["ir.mail_server"]._server_label(self._delivery().server)
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
        delivered = set(self._delivery().delivered)
        return self.recipient_ids.filtered(
            lambda partner: delivered.intersection(email_normalize_all(partner.email or ""))
        )

    def _postprocess_sent_message(self, success_pids, failure_reason=False, failure_type=None):
        """Take those who got it off a mail that failed for others: a retry is for the others.

        A failure that an addon has caught on its way to native's queue (OCA's mail_tracking does)
        is raised here, inside native's own handling of it.
        """
        delivery = self._delivery()
        if delivery and delivery.failure and not (failure_type or delivery.caught):
            delivery.caught = True
            raise delivery.failure
        if delivery and delivery.caught:  # so native believes that everybody has got it
            success_pids = self._delivered_recipients()
        result = super()._postprocess_sent_message(
            success_pids, failure_reason=failure_reason, failure_type=failure_type
        )
        delivered = delivery and delivery.delivered
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
        sent = self.env.context.get("mail_sent")
        if sent:
            sent.mail_from = False  # the next mail may not come as far
        return result
