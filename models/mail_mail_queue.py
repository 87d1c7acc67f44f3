# SPDX-License-Identifier: LGPL-3.0-only
from functools import partial

from odoo import _, api, fields, models
from odoo.tools import create_index, format_datetime, format_time

from ..routing.retry import judge, next_try
from .mail_failure import ExplainedDeliveryException, fault_of
from .mail_lane import CONFIG_SERVER, ORDINARY, URGENT, Turn
from .mail_mail import URGENTLY

#: how many mails are given up at a time
_GIVEN_UP_AT_ONCE = 1000
#: so often a mail keeps its place before the others when the server refuses everything; after that
#: it may be this mail that the server refuses, and the others go first
IN_ORDER = 3


class MailMail(models.Model):
    """A mail that waits: for which server, until when, and why."""

    _inherit = "mail.mail"

    # no defaults: they would be written into every mail; no prefetch: native reads no more
    tries = fields.Integer(
        copy=False,
        readonly=True,
        prefetch=False,
        help="How many tries of this mail have failed so far",
    )
    next_try = fields.Datetime(
        copy=False, readonly=True, prefetch=False, help="Until then this mail pauses"
    )
    failing_since = fields.Datetime(
        copy=False,
        readonly=True,
        prefetch=False,
        groups="base.group_system",
        help="When this mail could not be delivered for the first time",
    )
    # no link: the server may be gone; 0 is that of the configuration file, NULL: not decided yet
    lane_server_id = fields.Integer(
        string="Waits for Server",
        copy=False,
        readonly=True,
        prefetch=False,
        groups="base.group_system",
    )
    lane_rank = fields.Integer(
        copy=False, readonly=True, prefetch=False, groups="base.group_system"
    )
    waiting_since = fields.Datetime(
        copy=False, readonly=True, prefetch=False, groups="base.group_system"
    )
    waiting_reason = fields.Char(
        string="Waiting",
        compute="_compute_waiting_reason",
        help="Until when this mail waits, and why",
    )

    def init(self):
        result = super().init()
        cr = self.env.cr
        # of the mails that wait, which are few, in the order in which lanes take them
        create_index(
            cr,
            "mail_mail_lane_idx",
            self._table,
            ["lane_server_id", "lane_rank", "id"],
            where="state = 'outgoing'",
        )
        create_index(
            cr,
            "mail_mail_next_try_idx",
            self._table,
            ["next_try"],
            where="state = 'outgoing' AND next_try IS NOT NULL",
        )
        return result

    @api.depends("state")
    @api.depends_context("lang", "tz", "uid")
    def _compute_waiting_reason(self):
        self.waiting_reason = False
        if not self.check_access_rights("read", raise_exception=False):
            return
        waiting = self.filtered(lambda mail: mail.state == "outgoing")
        told = waiting._waiting_sentences()
        for mail in waiting:
            mail.waiting_reason = told.get(mail.id)

    def _waiting_sentences(self):
        """Say of these mails until when they wait, and why, in the reader's language.

        :return: mail id -> sentence; without mails that only wait for their turn
        """
        if not (self.ids and self.env["mail.routing"]._is_active()):
            return {}
        now = self.env["mail.lane"]._now()
        self.flush_model(["failure_reason", "next_try", "state"])
        self.env.cr.execute(
            """
            SELECT m.id, m.next_try, m.failure_reason, l.paused_until, l.pause_reason
              FROM mail_mail m LEFT JOIN mail_lane l ON l.server_id = m.lane_server_id
             WHERE m.id IN %s AND m.state = 'outgoing'
               AND (m.next_try > %s OR l.paused_until > %s)
            """,
            [tuple(self.ids), now, now],
        )
        sentences = {}
        for mail_id, own_until, own_reason, paused_until, pause_reason in self.env.cr.fetchall():
            until, reason = own_until, own_reason
            if not until or (paused_until and paused_until > until):
                until = paused_until
                reason = self.env["ir.mail_server"]._pause_sentence(pause_reason)
            sentences[mail_id] = _(
                "Waiting, next try at %(time)s, because: %(reason)s",
                time=self._time_of_day(until, now),
                reason=_without_cure(reason or ""),
            )
        return sentences

    @api.model
    def _time_of_day(self, moment, now):
        """Give a time in the reader's time zone, with its day where that is not today."""
        there, here = (
            fields.Datetime.context_timestamp(self, value).date() for value in (moment, now)
        )
        if there == here:
            return format_time(self.env, moment, time_format="short", tz=self.env.context.get("tz"))
        return format_datetime(self.env, moment, dt_format="short")

    @api.model
    def process_email_queue(self, ids=None):
        """Let Odoo's own Email Queue Manager work as a lane does."""
        if not self.env["mail.routing"]._is_active():
            return super().process_email_queue(ids=ids)
        self.check_access_rights("read")  # before any server is asked: anybody may call it
        lanes = self.env["mail.lane"]
        if lanes._commits() and not ids and "filters" not in self.env.context:
            return lanes._run_manager()
        filters = [
            *self.env.context.get("filters", ()),
            "|",
            ("next_try", "=", False),
            ("next_try", "<=", lanes._now()),
        ]
        mails = self.with_context(filters=filters)
        return super(MailMail, mails).process_email_queue(ids=ids)

    def mark_outgoing(self):
        """Forget earlier tries of mails that are to be sent again."""
        result = super().mark_outgoing()
        if self.ids and self.env["mail.routing"]._is_active():
            self._begin_anew()
        return result

    def _begin_anew(self):
        """Forget what happened to these mails while they waited, and which server they wait for."""
        names = [
            "tries", "next_try", "failing_since", "lane_server_id", "lane_rank", "waiting_since"
        ]  # fmt: skip
        self.flush_recordset(names)
        self.env.cr.execute(
            """
            UPDATE mail_mail
               SET tries = NULL, next_try = NULL, failing_since = NULL, lane_server_id = NULL,
                   lane_rank = NULL, waiting_since = NULL
             WHERE id IN %s
            """,
            [tuple(self.ids)],
        )
        self.invalidate_recordset(names, flush=False)

    def _wait_for(self, server_id, rank=ORDINARY):
        """Note that these mails wait for a server; not those that somebody else is writing.

        :return: how many do
        """
        self.flush_recordset(["state"])
        self.env.cr.execute(
            """
            UPDATE mail_mail
               SET lane_server_id = %s, lane_rank = %s, waiting_since = COALESCE(waiting_since, %s)
             WHERE id IN (
                SELECT id FROM mail_mail WHERE id = ANY(%s) AND state = 'outgoing'
                   FOR NO KEY UPDATE SKIP LOCKED
             )
            """,
            [server_id, rank, self.env["mail.lane"]._now(), self.ids],
        )
        count = self.env.cr.rowcount
        self.invalidate_recordset(["lane_server_id", "lane_rank", "waiting_since"], flush=False)
        return count

    # ------------------------------------------------------------
    # The turn at a server
    # ------------------------------------------------------------

    def _send_in_turn(self, send, auto_commit, raise_exception):
        """Send the mails of a delivery, if its server may be used now; else they wait.

        :param send: what sends them: native's ``send``
        """
        delivery = self._delivery()
        lanes = self.env["mail.lane"]
        server_id = delivery.server.id or CONFIG_SERVER
        present = self.env.context.get("mail_turn")
        if isinstance(present, Turn):  # a lane at work; a user's context may bring anything
            if present.server_id == server_id:
                self._send_in(present, send, auto_commit, raise_exception)
            else:
                # settings have changed since the mail was sorted: another turn, another session
                lanes._line_up(self, server_id)
                lanes._wake()
            return
        rank = URGENT if self._is_waited_for(auto_commit) else ORDINARY
        with lanes._turn(server_id, to_the_end=not auto_commit) as turn:
            if turn:
                self._send_in(turn, send, auto_commit, raise_exception)
            left = self._not_settled() if turn else self
            if left and left._wait_for(server_id, rank):
                lanes._wake(turn and turn.is_paused() and turn.paused_until or None)

    def _is_waited_for(self, auto_commit):
        """Tell whether somebody waits for these mails, in the request that sends them or after."""
        return not auto_commit or bool(self.env.context.get(URGENTLY))

    def _send_in(self, turn, send, auto_commit, raise_exception):
        """Send the mails of a delivery in its server's turn."""
        delivery = self._delivery()
        if turn.is_paused():
            delivery.put_off = True
            if raise_exception and turn.failures:
                reason = self.env["ir.mail_server"]._pause_sentence(turn.pause_reason)
                raise self.env["mail.failure"]._paused(delivery.server, turn.paused_until, reason)
            return
        delivery.turn = turn
        try:
            session = self.env["ir.mail_server"].connect(
                mail_server_id=delivery.server.id or False, smtp_from=False
            )
        except Exception as error:
            refusal = error

            def connect():
                raise refusal

            delivery.connect = connect
            fault = fault_of(error.__cause__ or error, "connect")
            if self._pause_server(fault) and not raise_exception:
                delivery.put_off = True
                # lanes find all of them, a user need not wait for it; Odoo's tests have no lanes
                if not (self._is_waited_for(auto_commit) and self.env["mail.lane"]._commits()):
                    self._give_up(turn)
                return
        else:
            delivery.connect = lambda: session
        try:
            send()
        finally:
            if delivery.session and delivery.session.misbehaved:
                turn.distrust(delivery.session.misbehaved)

    def _not_settled(self):
        """Give those of these mails that still wait; without a query where none can."""
        delivery = self._delivery()
        if not (delivery.ended_early or delivery.put_off):
            return self.browse()
        # one that was sent may be deleted
        return self.exists().filtered(lambda mail: mail.state == "outgoing")

    def _count_messages(self):
        """Tell as how many messages native sends this mail: one for each partner, one for To."""
        mail = self.browse(self.id)  # no prefetch: each commit empties the cache
        return len(mail.recipient_ids) + bool(mail.email_to) or 1

    # ------------------------------------------------------------
    # What does not pass by itself, and what may
    # ------------------------------------------------------------

    def _pause_server(self, fault):
        """Let the server pause, if that is what a fault asks for.

        :param fault: :class:`~..routing.retry.Fault`, None: nothing that may pass
        :return: whether it does
        """
        if not (fault and self.env["mail.lane"]._retry_hours()):
            return False
        if not judge(fault).server:
            return False
        words = f"{fault.code} {fault.words}" if fault.code else fault.words
        self._delivery().turn.fail(words, is_slow=fault.timed_out)
        self._delivery().put_off = True
        return True

    def _put_off(self, reason):
        """Leave this mail in the queue, if its failure is temporary.

        :param reason: why it was not sent, in its author's language
        :return: whether it is
        """
        delivery = self._delivery()
        fault, turn = delivery.fault, delivery.turn
        lanes = self.env["mail.lane"]
        hours = lanes._retry_hours()
        if not (fault and turn and hours):
            return False
        verdict = judge(fault)
        self._pause_server(fault)
        if not verdict.passes:
            return False
        values = {"failure_reason": False}
        if verdict.mail:
            now = lanes._now()
            mail = self.sudo()
            tries, first = (mail.tries or 0) + 1, mail.failing_since or now
            then = next_try(tries, first, now, hours, lanes._chance())
            if then is None:
                return False
            if fault.code and verdict.server and tries <= IN_ORDER:
                then = min(then, turn.paused_until or then)
            error = delivery.progress.error
            if isinstance(error, ExplainedDeliveryException):
                reason = "\n".join(str(arg) for arg in error.args[1:] if arg) or reason
            values = {
                "failure_reason": reason,
                "tries": tries,
                "next_try": then,
                "failing_since": first,
            }
        if delivery.progress.accepted:
            served = self._delivered_recipients()
            self._take_off_served()
            self._notifications(served).write(
                {"notification_status": "sent", "failure_type": False, "failure_reason": False}
            )
        self._put_back()
        self.sudo().write(values)
        turn.know(self.id)
        if verdict.mail and not self.env.context.get("mail_turn"):  # a lane calls again by itself
            self._wait_for(turn.server_id)
            lanes._wake(then)
        return True

    def _settle_turn(self):
        """Tell the server's turn what became of this mail."""
        delivery = self._delivery()
        turn = delivery.turn
        if not turn:
            return
        if delivery.progress.accepted:
            turn.succeed()
        elif not delivery.progress.handed_over:
            turn.know(self.id)

    @api.model
    def _give_up(self, turn):
        """Fail the mails of a server that could not be used for the hours of General Settings.

        What a lane has no time for is left to the next: see ``mail.lane._overdue_server``.

        :param turn: the server's; it pauses because of its last reply
        :return: whether there were any
        """
        lanes = self.env["mail.lane"]
        found = False
        while mail_ids := lanes._overdue_mails(turn.server_id, _GIVEN_UP_AT_ONCE):
            found = True
            mails = self.browse(mail_ids)
            mails = mails.with_context(lang=mails._authors_language())
            fail = partial(mails._fail_given_up, turn)
            if turn.deadline is None:
                fail()
            else:
                mails._persistently(fail)
                if turn.is_over():
                    break
        return found

    def _fail_given_up(self, turn):
        """Fail these mails, where they still wait, with the last reply of their server."""
        mails = self.exists().filtered(lambda mail: mail.state == "outgoing")
        if not mails:
            return
        servers = self.env["ir.mail_server"]
        if turn.server_id:
            server = servers._server_fact(turn.server_id)
        else:
            server = self.env["mail.routing"]._get_facts().config_server
        hours = self.env["mail.lane"]._retry_hours()
        reason = self.env["mail.failure"]._given_up(server, hours, turn.pause_reason)
        mails.write({"state": "exception", "failure_reason": reason, "failure_type": "mail_smtp"})
        mails._postprocess_sent_message(
            success_pids=[], failure_reason=reason, failure_type="mail_smtp"
        )

    def _fail_killed(self, server_id):
        """Fail a mail that was being handed over when its process was killed.

        :param server_id: id of the server; 0: that of the configuration file
        """
        mail = self.with_context(lang=self._authors_language())
        server = self.env["ir.mail_server"].sudo().browse(server_id or ()).exists()
        label = server.name or mail.env["mail.routing"]._get_facts().config_server.name
        reason = mail.env["mail.failure"]._killed(label)
        mail.write({"state": "exception", "failure_reason": reason})
        mail._postprocess_sent_message(
            success_pids=[], failure_reason=reason, failure_type="unknown"
        )


def _without_cure(reason):
    """Give a failure without what helps, which is not needed while the mail waits.

    Who failed is on the first line. Where that ends in a colon, the next one has the provider's
    words; what helps comes after them.
    """
    who, _break, words = reason.partition("\n")
    if not who.endswith((":", "：")):
        return who
    return f"{who} {words.partition(chr(10))[0]}"
