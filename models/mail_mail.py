# SPDX-License-Identifier: LGPL-3.0-only
import contextlib
import logging
import smtplib
import threading
from collections import defaultdict
from functools import partial

import psycopg2

from odoo import SUPERUSER_ID, _, api, fields, models
from odoo.exceptions import AccessError, MissingError
from odoo.service.model import MAX_TRIES_ON_CONCURRENCY_FAILURE, PG_CONCURRENCY_ERRORS_TO_RETRY
from odoo.tools import email_normalize_all, email_split_and_format, split_every

from ..routing import decide, is_restricted, recognise_refusal
from .delivery import Delivery, key
from .mail_failure import ExplainedDeliveryException, fault_of, replies_of
from .mail_failure_shown import done
from .mail_message import without_ours

_logger = logging.getLogger(__name__)

#: how many mails a worker keeps from the others at a time; PostgreSQL has room for some thousands
_CLAIMED_AT_ONCE = 500
#: the first key of PostgreSQL's advisory locks on mails that are being sent; the second is the id
_BEING_SENT = 0x6D636D73
#: key in the context, and of what a cursor keeps: mails leave once this transaction is committed
AFTER_COMMIT = "mail_company_routing_after_commit"
#: key in the context: somebody waits for these mails
URGENTLY = "mail_company_routing_urgently"


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

    @api.depends("state", "failure_reason")
    @api.depends_context("uid")
    def _compute_is_sender_refused(self):
        self.is_sender_refused = False
        if not self.check_access_rights("read", raise_exception=False):
            return
        failed = self.filtered(lambda mail: mail.state == "exception")
        refused = failed.filtered(lambda mail: _is_of_sender(mail.failure_reason))
        facts = self.env["mail.routing"]._get_facts()
        servers = refused._refusing_servers()
        for mail in refused:
            server = servers[mail.id]
            mail.is_sender_refused = bool(server and server.id and not is_restricted(server, facts))

    def _refusing_servers(self):
        """Give mail id -> the server that refused it, for all at once.

        If that was not stored, or is archived, it is the server that the mail would go by now; None
        if no server may send it.
        """
        known = self.env["mail.routing"]._get_facts().server
        # sudo: the server is the administrator's to see
        servers = {mail.id: known.get(mail.sent_server_id.id) for mail in self.sudo()}
        others = self.filtered(lambda mail: not servers[mail.id])
        if others:
            routes = others._decide_routes()
            servers.update((mail_id, route.server) for mail_id, route in routes.items())
        return servers

    def action_restrict_and_retry(self):
        """Apply the cure of a refused sender: its server sends as its login.

        Then put this mail, and all others that the server refused for the same reason, back into
        the queue. Nothing is sent here: Odoo may repeat a request.

        :return: a notification of what will happen
        :raises AccessError: for anybody but an administrator
        """
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(
                _("Only an administrator may change the Sender Policy of an outgoing mail server.")
            )
        # sudo: also mails of companies not ticked in the switcher; some may be gone meanwhile
        refused = self.sudo().exists().filtered("is_sender_refused")
        by_mail = refused._refusing_servers()
        server_ids = {server.id for server in by_mail.values() if server and server.id}
        # not servers of companies that the user does not work in, nor their mails
        servers = self.env["ir.mail_server"].browse(server_ids)._that_may_be_read().sudo()
        refused = refused.filtered(
            lambda mail: by_mail[mail.id] and by_mail[mail.id].id in servers.ids
        )
        refused |= refused.search(
            [("state", "=", "exception"), ("sent_server_id", "in", servers.ids)]
        ).filtered("is_sender_refused")
        if not refused:
            return done(_("None of these mails is refused for its sender any more."), "info")
        servers.sender_policy = "login"
        refused._put_in_queue()
        message = _(
            "%(servers)s now lets only its login send. Mails that are in the queue again:"
            " %(mails)s. %(queue)s",
            servers=", ".join(servers.mapped("name")),
            mails=len(refused),
            queue=self._told_of_queue(),
        )
        return done(message, self._kind_of_done())

    @api.model
    def default_get(self, fields_list):
        """Take no company from the context, which is the user's; native creates as superuser."""
        return without_ours(super().default_get(fields_list))

    def send(self, auto_commit=False, raise_exception=False):
        """Send the mails of each server apart, so that a failure at one does not affect another."""
        if not self.env["mail.routing"]._is_active():
            mails = self.with_context(mail_delivery=Delivery(one_by_one=auto_commit))
            return super(MailMail, mails).send(
                auto_commit=auto_commit, raise_exception=raise_exception
            )
        self.check_access_rights("read")  # before any server is asked: anybody may call it
        can_wait = not auto_commit and not raise_exception and self.env["mail.lane"]._commits()
        if can_wait and self.env.context.get(AFTER_COMMIT):
            self._send_after_commit()
            return True
        if auto_commit:
            groups = self._groups_of_queue()
        else:
            groups = list(self._not_being_sent()._split_by_route())
        if raise_exception:
            # before anything is sent that the caller's rollback would forget
            for _mails, failure in groups:
                if failure:
                    raise ExplainedDeliveryException(
                        _("Mail Delivery Failed"), self.env["mail.routing"]._sentence(failure)
                    )
        for mails, failure in groups:
            delivery = mails._delivery()
            delivery.keeps_from |= auto_commit
            try:
                if failure:
                    mails.with_context(lang=mails._authors_language())._fail(failure)
                else:
                    if not auto_commit:
                        mails._keep_after_rollback()
                    send = partial(
                        super(MailMail, mails).send,
                        auto_commit=auto_commit,
                        raise_exception=raise_exception,
                    )
                    mails._send_in_turn(send, auto_commit, raise_exception)
                if auto_commit:
                    self.env.cr.commit()  # as native does # pylint: disable=invalid-commit
            except MemoryError:
                raise
            except Exception as error:
                if delivery.worked_off and isinstance(error, smtplib.SMTPException | OSError):
                    # all its mails have their state: only the goodbye of the session failed
                    _logger.info("Server %s hung up: %s", delivery.server.name, error)
                elif not auto_commit or self._is_cut_off(error):
                    raise
                else:
                    # the mails that have no state yet stay in the queue
                    self.env.cr.rollback()
                    server = delivery.server.name if delivery.server else "no server"
                    _logger.exception("The mails of %s wait", server)
        return True

    def _send_after_commit(self):
        """Send these mails once this transaction is committed.

        Odoo repeats a request after a conflict: it would write the mail again, after the first one
        has left. Native sends notifications after the commit as well.
        """
        postcommit = self.env.cr.postcommit
        kind = AFTER_COMMIT, bool(self.env.context.get(URGENTLY))
        mail_ids = postcommit.data.get(kind)
        if mail_ids is None:
            mail_ids = postcommit.data[kind] = []
            context = {key: value for key, value in self.env.context.items() if key != AFTER_COMMIT}
            postcommit.add(partial(_send_at_once, self.env.registry, context, mail_ids))
        mail_ids += self.ids

    def _delivery(self):
        """Give the queue's :class:`~.delivery.Delivery` that these mails are part of, if any."""
        delivery = Delivery.of(self.env)
        return delivery if delivery and delivery.queued else None

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
        batch_size = self.env["mail.lane"]._batch_size()
        for (server, _key), mail_ids in by_server.items():
            for batch_ids in split_every(batch_size, mail_ids):
                batch = {mail_id: routes[mail_id] for mail_id in batch_ids}
                delivery = Delivery(server, batch, queued=True)
                mails = self.browse(batch_ids).with_context(mail_delivery=delivery)
                yield mails, routes[batch_ids[0]].failure

    def _groups_of_queue(self):
        """Give the groups of :meth:`_split_by_route`; an error in one mail stops no other.

        If other mails have a route, the error is that mail's own, and it fails. If none has, the
        cause may be anything, such as an upgrade under way: all stay in the queue.
        """
        groups, undecided = self._groups_and_undecided()
        for mail, error in undecided:
            if not groups:
                raise error
            _logger.error("No route can be decided for mail %s", mail.id, exc_info=error)
            mail._persistently(partial(mail._fail_interrupted, error))
        return groups

    def _groups_and_undecided(self):
        """Give the groups of these mails, and (mail, exception) of those that have no route."""
        try:
            return self._persistently(lambda: list(self._split_by_route())), []
        except MemoryError:
            raise
        except Exception as error:
            if self._is_cut_off(error) or _is_conflict(error):
                raise
            self.env.cr.rollback()
            if len(self) == 1:
                return [], [(self, error)]
        half = len(self) // 2
        groups, undecided = self[:half]._groups_and_undecided()
        others, more = self[half:]._groups_and_undecided()
        return groups + others, undecided + more

    def _decide_routes(self):
        """Give mail id -> route; mails that are alike share one decision."""
        routing = self.env["mail.routing"]
        facts = routing._sending_facts()  # once: other addons are asked which servers may be used
        decided = {}
        routes = {}
        for mail_id, draft in routing._drafts(self):
            if draft not in decided:
                decided[draft] = decide(draft, facts)
            routes[mail_id] = decided[draft]
        return routes

    def _split_by_mail_configuration(self):
        """The mails of one server, as ``send`` hands them over, are one session's."""
        delivery = Delivery.of(self.env)
        if delivery and delivery.queued:
            yield delivery.server.id or False, False, self.ids
            return
        for server_id, smtp_from, mail_ids in super()._split_by_mail_configuration():
            if delivery:
                # native has read them
                delivery.keeps_from |= len(set(self.mapped("email_from"))) == 1
            yield server_id, smtp_from, mail_ids

    def action_explain_route(self):
        """Open the explanation of this mail's route."""
        self.ensure_one()
        return self.env["mail.route.explain"]._open(mail_id=self.id)

    # ------------------------------------------------------------
    # Failures
    # ------------------------------------------------------------

    def _authors_language(self):
        """Give the language of the author of the first of these mails, who reads the failure.

        The user who runs the queue may have another one.
        """
        # sudo: any user's language
        return self[:1].sudo().create_uid.lang or self.env.lang

    def _fail(self, failure):
        """Mark mails that no server may send, with the sentence that says what to set."""
        reason = self.env["mail.routing"]._sentence(failure)
        waiting = self.filtered(lambda mail: mail.state == "outgoing")
        waiting.write({"state": "exception", "failure_reason": reason, "failure_type": "mail_smtp"})
        waiting._postprocess_sent_message(
            success_pids=[], failure_reason=reason, failure_type="mail_smtp"
        )

    def write(self, vals):
        is_sent = "message_id" in vals and self._delivery()
        if is_sent and all(mail.message_id == vals["message_id"] for mail in self):
            # native writes back what it has read: two statements a mail on its message, and a
            # conflict with anybody who writes the message at the same time
            vals = {name: value for name, value in vals.items() if name != "message_id"}
        reason = vals.get("failure_reason")
        if isinstance(reason, Exception) and not isinstance(reason, ExplainedDeliveryException):
            delivery = self._delivery()
            if delivery:  # native tells why it could not connect, not to which server
                failure = self.env["mail.failure"]._in_authors_language()
                reason = failure._no_connection(reason, delivery.server)
                vals = {**vals, "failure_reason": reason}
        return super().write(vals)

    def _send(self, auto_commit=False, raise_exception=False, smtp_session=None):
        """Send mail by mail, so that a failure stops no other mail."""
        delivery = self._delivery()
        if delivery is None:
            return super()._send(
                auto_commit=auto_commit,
                raise_exception=raise_exception,
                smtp_session=smtp_session,
            )
        delivery.raises = raise_exception
        delivery.use(smtp_session)
        for some in split_every(_CLAIMED_AT_ONCE, self.ids, self.browse) if auto_commit else [self]:
            with some._claimed() if auto_commit else contextlib.nullcontext(some) as claimed:
                for mail in claimed:
                    if not delivery.may_go_on(mail._count_messages()):
                        break
                    send = partial(
                        super(MailMail, mail)._send,
                        auto_commit=auto_commit,
                        raise_exception=raise_exception,
                        smtp_session=smtp_session,
                    )
                    mail._send_one(send, auto_commit, raise_exception)
            if delivery.is_over():
                delivery.put_off = True
                _logger.info(
                    "The session with %s is over: what it has not sent stays in the queue",
                    delivery.server.name,
                )
                break
        delivery.ended_early = delivery.is_over()
        delivery.worked_off = True
        return True

    def _send_one(self, send, auto_commit, raise_exception):
        """Send one mail through the session of its delivery, and settle what became of it.

        :param send: what sends it: native's ``_send``
        """
        delivery = self._delivery()
        delivery.start(self.id, self._count_messages(), together=not auto_commit)
        try:
            send()
        except smtplib.SMTPServerDisconnected as error:
            if raise_exception:
                self._settle_turn()
                raise
            if delivery.session:
                delivery.session.close()
            if auto_commit:
                self.env.cr.rollback()
                self._persistently(partial(self._settle_broken_off, error))
            else:
                self._settle_broken_off(error)
        except MemoryError:
            raise
        except Exception as error:
            if raise_exception or not auto_commit:
                self._settle_turn()
                raise
            self._settle_interrupted(error)
        self._settle_turn()

    def _settle_broken_off(self, error):
        """Settle the mail that was being sent when the session broke off.

        It is neither lost nor sent twice. If the session had ended before its turn, it stays in the
        queue. If the server hung up on it, it is put off, or fails once its time is over, so that
        it does not hold up the queue behind it for ever. If the server had the whole mail but gave
        no answer, it fails with the warning that it may have arrived.
        """
        delivery = self._delivery()
        mail = self.with_context(lang=self._authors_language()).exists()
        phase = "handed_over" if delivery.progress.handed_over else "mail"
        said_goodbye = any(code == 421 for code, _words in replies_of(error.__cause__))
        cause = error.__cause__ if said_goodbye else error
        delivery.fault = fault_of(cause, phase, delivery.served())
        fault = delivery.fault
        # the end of an idle session, without a word, is no failure
        is_idle = delivery.progress.died_before() and not (fault.code or fault.timed_out)
        if mail and not is_idle and mail._put_off(str(error)):
            return
        if delivery.progress.died_before():
            self._put_back()
        elif mail:
            mail._fail_broken_off(error)

    def _fail_broken_off(self, error):
        """Say that, and how far this mail had got, when the session broke off."""
        delivery = self._delivery()
        reason = self.env["mail.failure"]._hung_up(
            delivery.server, error, delivery.progress.handed_over
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
        self._notifications_wait()

    def _notifications_wait(self):
        """Let the notifications of these mails that have failed wait again.

        :return: those notifications
        """
        domain = [
            ("notification_type", "=", "email"),
            ("mail_mail_id", "in", self.ids),
            ("notification_status", "=", "exception"),
        ]
        # sudo: any recipient's
        notifications = self.env["mail.notification"].sudo().search(domain)
        notifications.write(
            {"notification_status": "ready", "failure_type": False, "failure_reason": False}
        )
        return notifications

    # ------------------------------------------------------------
    # Others at work at the same time
    # ------------------------------------------------------------

    def _persistently(self, work):
        """Do some work and commit it, although others may write the same records.

        :param work: function; called again, in a new transaction, after a conflict
        :return: what it returns
        """
        cr = self.env.cr
        for tries_left in reversed(range(MAX_TRIES_ON_CONCURRENCY_FAILURE)):
            try:
                result = work()
                cr.commit()  # the mail is out # pylint: disable=invalid-commit
                return result
            except psycopg2.Error as error:
                if self._is_cut_off(error):
                    raise
                cr.rollback()
                if not _is_conflict(error) or not tries_left:
                    raise

    def _is_cut_off(self, error):
        """Tell whether there is no database any more to go on with."""
        return isinstance(error, psycopg2.Error) and bool(self.env.cr.closed)

    @contextlib.contextmanager
    def _claimed(self):
        """Keep other workers from these mails while they are sent one by one.

        Two workers that read the queue at the same time would otherwise both send the same mails. A
        lock on the rows would end with the commit after the first mail; an advisory lock ends with
        the database session (PostgreSQL 13.3.5), so also when the process is killed.

        :return: context manager that gives the mails that nobody else is sending
        """
        try:
            yield self._persistently(self._claim)
        except BaseException:
            if not self.env.cr.closed:
                self.env.cr.rollback()
            raise
        finally:
            if not self.env.cr.closed:
                self._give_back()

    def _give_back(self):
        """Give back all mails that this worker has claimed."""
        self.env.cr.execute(
            """
            SELECT pg_advisory_unlock(%s, objid::bigint::integer) FROM pg_locks
             WHERE locktype = 'advisory' AND pid = pg_backend_pid()
               AND classid = %s::bigint::oid AND objsubid = 2
            """,
            [_BEING_SENT, _BEING_SENT],
        )

    def _claim(self):
        """Claim these mails; where one was changed since it was read, PostgreSQL says so here."""
        try:
            return self._claim_once()
        except psycopg2.Error:
            # a rollback releases no advisory lock, and one taken twice must be released twice
            if not self.env.cr.closed:
                self.env.cr.rollback()
                self._give_back()
            raise

    def _claim_once(self):
        self.env.cr.execute(
            """
            WITH claimed AS (
                SELECT id FROM unnest(%s) AS id WHERE pg_try_advisory_lock(%s, id)
            )
            SELECT m.id FROM mail_mail m JOIN claimed ON claimed.id = m.id
             WHERE NOT EXISTS (SELECT 1 FROM mail_lane WHERE in_flight @> ARRAY[m.id])
               FOR NO KEY UPDATE OF m SKIP LOCKED
            """,
            [self.ids, _BEING_SENT],
        )
        claimed = {mail_id for (mail_id,) in self.env.cr.fetchall()}
        return self.filtered(lambda mail: mail.id in claimed)

    def _not_being_sent(self):
        """Give those of these mails that no worker is sending, and keep them from the workers.

        That is until the end of this transaction, in which they are sent together.
        """
        if not self:
            return self
        self.env.cr.execute(
            """
            WITH locked AS (
                SELECT id FROM mail_mail
                 WHERE id = ANY(%s)
                   AND NOT EXISTS (SELECT 1 FROM mail_lane WHERE in_flight @> ARRAY[mail_mail.id])
                   FOR NO KEY UPDATE SKIP LOCKED
            )
            SELECT id FROM locked
             WHERE CASE WHEN pg_try_advisory_lock(%s, id) THEN pg_advisory_unlock(%s, id) END
            """,
            [self.ids, _BEING_SENT, _BEING_SENT],
        )
        free = {mail_id for (mail_id,) in self.env.cr.fetchall()}
        return self.filtered(lambda mail: mail.id in free)

    def _settle_interrupted(self, error):
        """Settle a mail whose transaction failed, while its sending did not.

        Somebody wrote or deleted the mail, its message or a notification at the same time. If the
        server had not taken the mail yet, it waits for the next run. If it had, the mail counts as
        sent, whatever was written meanwhile: else it would be sent again.
        """
        delivery = self._delivery()
        if self._is_cut_off(error):
            if delivery.progress.accepted:
                self._settle_elsewhere()
            raise error
        self.env.cr.rollback()
        _logger.warning("Mail %s was interrupted", self.id, exc_info=error)
        if delivery.progress.accepted:
            self._persistently(self._settle_delivered)
        elif not (_is_conflict(error) or isinstance(error, MissingError)):
            self._persistently(partial(self._fail_interrupted, error))

    def _fail_interrupted(self, error):
        """Fail a mail that would fail the same way in each run."""
        self.write({"state": "exception", "failure_reason": str(error)})
        self._postprocess_sent_message(
            success_pids=[], failure_reason=str(error), failure_type="unknown"
        )

    def _settle_delivered(self):
        """Settle a mail that the server has taken, in another transaction than it was sent in."""
        mail = self.with_context(lang=self._authors_language()).exists()
        if not mail or mail.state == "sent":
            return
        served = mail._delivered_recipients()
        if mail._waiting_recipients():
            mail._take_off_served()
            mail._notifications(served).write(
                {"notification_status": "sent", "failure_type": False, "failure_reason": False}
            )
            return
        mail.write({"state": "sent", "failure_reason": False})
        mail._postprocess_sent_message(success_pids=list(served))

    def _settle_elsewhere(self):
        """Settle a mail that the server has taken by a connection of its own."""
        delivery = self._delivery()
        with self.env.registry.cursor() as cr:
            mails = self.with_env(api.Environment(cr, SUPERUSER_ID, dict(self.env.context)))
            for mail in mails:
                delivery.resume(mail.id)
                mail._persistently(mail._settle_delivered)

    def _keep_after_rollback(self):
        """Mark mails that have left as sent, even if this transaction is rolled back.

        Else they would be sent again: by Odoo, which repeats a request, or by the queue.
        """
        if getattr(threading.current_thread(), "testing", False):
            return  # a test's rollback is only its end
        delivery = self._delivery()

        def keep():
            mails = self.browse(delivery.taken())
            if not mails:
                return
            try:
                mails._settle_elsewhere()
            except Exception:
                _logger.exception("Mails %s were sent, but are not marked so", mails.ids)

        self.env.cr.postrollback.add(keep)

    # ------------------------------------------------------------
    # Recipients
    # ------------------------------------------------------------

    def _delivered_recipients(self):
        """Give the recipients of this mail whom the server has taken it for."""
        delivery = self._delivery()
        return self.recipient_ids.filtered(
            lambda partner: any(map(delivery.has_reached, email_normalize_all(partner.email or "")))
        )

    def _waiting_recipients(self):
        """Tell whether the server has not answered yet for some recipients of this mail."""
        delivery = self._delivery()
        addresses = [
            address
            for text in (self.email_to, *self.recipient_ids.mapped("email"))
            for address in email_normalize_all(text or "")
        ]
        return not all(
            delivery.has_reached(address) or delivery.has_refused(address) for address in addresses
        )

    def _notifications(self, partners):
        """Give the notifications of some recipients of this mail."""
        return (
            self.env["mail.notification"]
            .sudo()
            .search(
                [
                    ("notification_type", "=", "email"),
                    ("mail_mail_id", "in", self.ids),
                    ("res_partner_id", "in", partners.ids),
                ]
            )
        )

    def _postprocess_sent_message(self, success_pids, failure_reason=False, failure_type=None):
        """Count no refused recipient as sent; after a partial failure keep only the others."""
        delivery = self._delivery()
        if not delivery or self.ids != [delivery.mail_id]:
            if delivery and failure_type == "mail_smtp":  # native keeps the words on the mail only
                failure_reason = failure_reason or self[:1].failure_reason
            result = super()._postprocess_sent_message(
                success_pids, failure_reason=failure_reason, failure_type=failure_type
            )
            delivery = Delivery.of(self.env)
            if delivery:
                delivery.forget_senders()
            return result
        words = {}
        if failure_type == "unknown":
            if self._put_off(failure_reason):
                return True
            if delivery.progress.error:
                # what was swallowed looked to native like a success
                success_pids = list(self._delivered_recipients())
        elif delivery.progress.error:
            raise delivery.progress.error  # swallowed on its way; native settles it
        elif delivery.progress.refused:
            failure = self.env["mail.failure"]._in_authors_language()
            refused = delivery.progress.refused
            words = {key(to): failure._refusal_sentence(to, *refused[to]) for to in refused}
            failure_type = "unknown"
            failure_reason = failure._refused_recipients(
                delivery.server, refused, bool(delivery.progress.accepted)
            )
            delivery.fault = fault_of(smtplib.SMTPRecipientsRefused(refused), "mail")
            if self._put_off(failure_reason):
                return True
            self.write({"state": "exception", "failure_reason": failure_reason})
            success_pids = list(self._delivered_recipients())
        result = super()._postprocess_sent_message(
            success_pids, failure_reason=failure_reason, failure_type=failure_type
        )
        for partner in words and self.recipient_ids - self._delivered_recipients():
            own = [words[key] for key in _addresses_of(partner.email) if key in words]
            if own:
                self._notifications(partner).failure_reason = "\n".join(own)
        if failure_type == "unknown" and delivery.progress.accepted:
            self._take_off_served()
        return result

    def _take_off_served(self):
        """Remove those who got this mail from its recipients: a retry is for the others."""
        delivery = self._delivery()
        served = self._delivered_recipients()
        waiting_to, waiting_cc = (
            [
                address
                for address in email_split_and_format(text or "")
                if not delivery.has_reached(address)
            ]
            for text in (self.email_to, self.email_cc)
        )
        # somebody with two addresses got it at one, and was refused at the other
        waiting_to += [
            address
            for partner in served
            for address in email_normalize_all(partner.email or "")
            if not delivery.has_reached(address)
        ]
        if not waiting_to and served == self.recipient_ids:
            # native sends no mail that has nobody but copies
            waiting_to, waiting_cc = waiting_cc, []
        self.write(
            {
                "recipient_ids": [(3, partner.id) for partner in served],
                "email_to": ", ".join(waiting_to),
                "email_cc": ", ".join(waiting_cc),
            }
        )


def _send_at_once(registry, context, mail_ids):
    """Send mails one by one, on a connection of their own; what cannot be sent stays in the queue.

    :param registry: of their database
    :param context: of the user who wrote them
    :param mail_ids: those that are gone by now are left out
    """
    try:
        with registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, context)
            env["mail.mail"].browse(mail_ids).exists().send(auto_commit=True)
    except Exception:
        # the request is committed: its user must not be told that it failed
        _logger.exception("Mails stay in the queue: %s", mail_ids)
        with contextlib.suppress(Exception), registry.cursor() as cr:
            api.Environment(cr, SUPERUSER_ID, {})["mail.lane"]._wake()


def _is_of_sender(reason):
    """Tell whether a kept failure says that the provider refused the sender."""
    refusal = recognise_refusal(None, reason or "")
    return bool(refusal) and refusal.kind == "sender"


def _is_conflict(error):
    """Tell whether an exception, or one that it was raised after, is a conflict to be repeated.

    Code that reads from the database while it reports a conflict fails again, with another error.
    """
    while error:
        if getattr(error, "pgcode", None) in PG_CONCURRENCY_ERRORS_TO_RETRY:
            return True
        error = error.__context__
    return False


def _addresses_of(text):
    """Give the addresses in a text as a :class:`~.delivery.Delivery` keeps them."""
    return [key(address) for address in email_normalize_all(text or "")]
