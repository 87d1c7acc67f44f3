# SPDX-License-Identifier: LGPL-3.0-only
import contextlib
import json
import logging
import random
import threading
import time
import weakref
from datetime import datetime, timedelta

import psycopg2
from psycopg2.pool import PoolError

from odoo import SUPERUSER_ID, api, fields, models
from odoo.tools import sql

from ..routing.retry import DEFAULT_HOURS, Limits, Usage, next_try

_logger = logging.getLogger(__name__)

#: first keys of PostgreSQL's advisory locks: on the session at a server (second key: the server's
#: id), and on the sorting of new mails
_SESSION_AT = 0x6D636D74
_SORTING = 0x6D636D75
#: in the place of a server's id: the server of Odoo's configuration file
CONFIG_SERVER = 0

#: seconds after which a lane gives way to other scheduled actions
SLICE = 10
#: seconds that a lane waits for an answer of a server that is not known to be slow
IMPATIENCE = 5
#: seconds that a message sent directly waits for another session at its server to end; a lane ends
#: sooner
_WAIT_FOR_SESSION = SLICE + IMPATIENCE
#: the fewest mails that a lane takes from the queue of a server, however slow that is
_FEWEST_AT_ONCE = 50
#: how many mails are sorted at a time
_SORTED_AT_ONCE = 1000
#: seconds that a lane sorts before it sends
_SORTING_TIME = 3
#: after which administrators are told of a server or mail that fails
STUCK = timedelta(hours=4)
#: after which a mail whose server could not be decided is looked at again
UNSORTED_PAUSE = timedelta(minutes=1)
#: how long a server that did not answer in time is waited for as native does
SLOW_FOR = timedelta(days=1)
#: how long a server that could not answer pipelined commands is given one at a time
DISTRUSTED_FOR = timedelta(days=7)
#: parameter with the hours of General Settings
RETRY_HOURS = "mail_company_routing.retry_hours"

#: rank of a waiting mail; urgent ones, which somebody wanted sent at once, go first
URGENT, ORDINARY = 0, 1
#: how many lanes data/ir_cron_data.xml has
LANES = 6

#: SQL condition: the mail can be sent now
_DUE = """(
    m.state = 'outgoing'
    AND (m.next_try IS NULL OR m.next_try <= %s)
    AND (m.scheduled_date IS NULL OR m.scheduled_date <= %s)
)"""
_DUE_AT_SERVER = f"""
    SELECT m.id FROM mail_mail m WHERE m.lane_server_id = %s AND {_DUE}
     ORDER BY m.lane_rank, m.id LIMIT %s
"""
_UNSORTED = f"""
    SELECT m.id FROM mail_mail m WHERE m.lane_server_id IS NULL AND {_DUE}
     ORDER BY m.lane_rank, m.id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""
_NEW_LANE = """
    INSERT INTO mail_lane (server_id)
    SELECT %s WHERE NOT EXISTS (SELECT 1 FROM mail_lane WHERE server_id = %s)
    ON CONFLICT DO NOTHING
"""
_NEXT_SERVER = f"""
    SELECT server_id FROM mail_lane l
     WHERE (paused_until IS NULL OR paused_until <= %s)
       AND server_id != ALL(%s)
       AND EXISTS (SELECT 1 FROM mail_mail m WHERE m.lane_server_id = l.server_id AND {_DUE})
     ORDER BY turn_at NULLS FIRST, server_id LIMIT 1
"""

#: SQL condition: the mail is to be given up, because its server has been failing for the hours of
#: General Settings; a server that only waits for its limit is not failing
_OVERDUE = """
    m.lane_server_id = l.server_id AND m.state = 'outgoing'
    AND GREATEST(m.waiting_since, l.failing_since) <= %s AND l.failing_since IS NOT NULL
    AND COALESCE(l.pause_reason, '') NOT LIKE 'max\\_per\\_%%'
"""
_OVERDUE_SERVER = f"""
    SELECT server_id FROM mail_lane l
     WHERE paused_until > %s AND failing_since <= %s AND server_id != ALL(%s)
       AND (server_id = 0 OR EXISTS (SELECT 1 FROM ir_mail_server s WHERE s.id = server_id))
       AND EXISTS (SELECT 1 FROM mail_mail m WHERE {_OVERDUE})
     LIMIT 1
"""
_OVERDUE_MAILS = f"""
    SELECT m.id FROM mail_lane l JOIN mail_mail m ON {_OVERDUE}
     WHERE l.server_id = %s ORDER BY m.id LIMIT %s
"""


#: key of the data that a cursor keeps until its commit: the time for which lanes were called
_CALLED = "mail_company_routing_called"

#: which scheduled action this thread is running, in ``cron_id``
_own = threading.local()


@contextlib.contextmanager
def working(cron_id):
    """Mark this thread, for the block, as a scheduled action: it stops after :data:`SLICE`."""
    _own.cron_id = cron_id
    try:
        yield
    finally:
        _own.cron_id = None


@contextlib.contextmanager
def _closing(cr, server_id):
    """Close a lock's own cursor after the block, which releases the lock.

    If the release fails, the connection is closed, which ends the lock: a connection that still
    holds it must not go back to the pool. A PostgreSQL error is only logged, since mails may have
    left.
    """
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(psycopg2.Error):
            cr._cnx.close()
        if not isinstance(error, psycopg2.Error):
            raise
        _logger.warning("The session at server %s ends with its connection", server_id)
    finally:
        with contextlib.suppress(psycopg2.Error):  # it is lost, so is what was to be rolled back
            cr.close()


class Turn:
    """The right to open the one session at a server, and what is kept of that server's queue.

    What it writes is committed at once, on a connection of its own, so it stands even if the
    transaction that sends is rolled back. An advisory lock (PostgreSQL 13.3.5), which ends with the
    process, keeps everybody else from taking the same turn.

    :param lanes: the model ``mail.lane``
    :param server_id: id of the server
    :param cr: the cursor to write by; the sender's own in Odoo's tests, which commit nothing
    """

    def __init__(self, lanes, server_id, cr):
        self.lanes = lanes
        self.server_id = server_id
        self.cr = cr
        self.deadline = None
        self.handed_over = []
        self.given = 0
        self.known = set()
        self.has_written = False
        self._read()
        if self.is_own:
            # should it never be released: closing the connection ends the lock
            self._hang_up = weakref.finalize(self, cr._cnx.close)
            self._hang_up.atexit = False

    def _read(self):
        now = self.lanes._now()
        if not self.is_own:
            self.lanes.env["ir.mail_server"].flush_model(["max_per_minute", "max_per_day"])
        self._execute(
            """
            INSERT INTO mail_lane AS lane (server_id, turn_at) VALUES (%s, %s)
            ON CONFLICT (server_id) DO UPDATE SET turn_at = EXCLUDED.turn_at
            RETURNING lane.paused_until, lane.pause_reason, lane.failing_since, lane.failures,
                lane.usage, lane.in_flight, lane.slow_until, lane.pace,
                CASE WHEN lane.lockstep_until > %s THEN lane.lockstep_reason END,
                (SELECT COALESCE(max_per_minute, 0) FROM ir_mail_server WHERE id = %s),
                (SELECT COALESCE(max_per_day, 0) FROM ir_mail_server WHERE id = %s)
            """,
            [self.server_id, now, now, self.server_id, self.server_id],
        )
        (
            self.paused_until,
            self.pause_reason,
            self.failing_since,
            self.failures,
            usage,
            self.left_in_flight,
            self.slow_until,
            self.pace,
            self.lockstep_reason,
            per_minute,
            per_day,
        ) = self.cr.fetchone()
        self.usage = Usage.from_kept(json.loads(usage) if usage else None)
        self.limits = Limits(per_minute or 0, per_day or 0)

    @property
    def is_own(self):
        """Tell whether it writes in a transaction of its own."""
        return self.cr is not self.lanes.env.cr

    def _execute(self, query, params):
        self.cr.execute(query, params)

    def _pause(self, until, reason):
        """Keep until when the server pauses, and why."""
        if until and until.microsecond:  # Odoo's datetimes have whole seconds
            until = until.replace(microsecond=0) + timedelta(seconds=1)
        self.paused_until, self.pause_reason = until, reason
        self._execute(
            """
            UPDATE mail_lane
               SET paused_until = %s, pause_reason = %s, failures = %s, failing_since = %s,
                   slow_until = %s
             WHERE server_id = %s
            """,
            [until, reason, self.failures, self.failing_since, self.slow_until, self.server_id],
        )
        self.lanes._forget_server()

    def distrust(self, reason):
        """Remember how the server failed to answer pipelined commands.

        A connection that broke off by chance looks the same, so it is not for ever.
        """
        self.lockstep_reason = reason
        self._execute(
            "UPDATE mail_lane SET lockstep_until = %s, lockstep_reason = %s WHERE server_id = %s",
            [self.lanes._now() + DISTRUSTED_FOR, reason, self.server_id],
        )

    # ------------------------------------------------------------
    # May a mail go now?
    # ------------------------------------------------------------

    def is_over(self):
        """Tell whether the time of this turn is over."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def patience(self):
        """Tell how many seconds to wait for an answer, before a mail is handed over.

        A server that hangs must not keep a worker from the others' mail: a lane waits no longer,
        the first time. For a day the server is then known to be slow, and is waited for as native
        does; if it does not answer in that time either, the lane waits no longer again.

        :return: None: as long as native does
        """
        return None if self.deadline is None or self.is_slow() else IMPATIENCE

    def is_slow(self):
        """Tell whether the server is known to be slow."""
        return bool(self.slow_until and self.slow_until > self.lanes._now())

    def is_paused(self):
        """Tell whether the server is not to be used now."""
        return bool(self.paused_until and self.paused_until > self.lanes._now())

    def may_give(self, messages=1):
        """Tell whether the limits of the server let some more messages pass now.

        Else the server pauses until they do.
        """
        if not (self.limits.per_minute or self.limits.per_day):
            return True
        now = self.lanes._now()
        free_at = self.usage.free_at(self.limits, now, messages)
        if free_at <= now:
            return True
        self._pause(free_at, self._limit_reason(now, messages))
        return False

    def _limit_reason(self, now, messages):
        free_by_day = self.usage.free_at(Limits(per_day=self.limits.per_day), now, messages) <= now
        return (
            f"max_per_minute {self.limits.per_minute}"
            if free_by_day
            else f"max_per_day {self.limits.per_day}"
        )

    # ------------------------------------------------------------
    # What became of a mail, and of the server
    # ------------------------------------------------------------

    def hand_over(self, mail_id, messages=1, *, together=False):
        """Write down, and count, that a mail is about to be handed over.

        If this process is killed before it can tell what became of the mail, the next turn at this
        server knows that it may have arrived.

        :param messages: how many messages the mail is
        :param together: the mails of this turn are committed together, not one by one
        """
        self.usage = self.usage.add(self.lanes._now(), messages)
        if not together:
            self.handed_over = []
        self.handed_over.append(mail_id)
        self.given += 1
        self.known.discard(mail_id)
        self.has_written = True
        self._execute(
            "UPDATE mail_lane SET in_flight = %s, usage = %s WHERE server_id = %s",
            [
                [*(self.left_in_flight or ()), *self.handed_over],
                json.dumps(self.usage.keep()),
                self.server_id,
            ],
        )

    def know(self, mail_id):
        """Note that it is known what became of a mail, so it may be sent again."""
        self.known.add(mail_id)

    def succeed(self):
        """End the pauses: the server has taken a mail."""
        if self.failures or self.failing_since or self.paused_until:
            self.failures, self.failing_since = 0, None
            self._pause(None, None)

    def fail(self, reason, *, is_slow=False):
        """Pause the server: the fault is its own, not that of one mail.

        :param reason: why, in the server's words
        :param is_slow: it did not answer in time
        """
        now = self.lanes._now()
        self.failures = (self.failures or 0) + 1
        self.failing_since = self.failing_since or now
        if is_slow:
            self.slow_until = None if self.is_slow() else now + SLOW_FOR
        # its mails are given up one by one, the server never is
        until = next_try(self.failures, now, now, 24, self.lanes._chance())
        self._pause(until, reason)

    def forget_left_in_flight(self):
        """Forget the mails that a process left behind: they are settled."""
        self.left_in_flight = None
        self._execute(
            "UPDATE mail_lane SET in_flight = NULL WHERE server_id = %s", [self.server_id]
        )

    def release(self):
        """Let others have their turn."""
        if self.cr.closed:
            return
        if not self.is_own:
            self._give_back()
            return
        with _closing(self.cr, self.server_id):
            self._give_back()
            self._hang_up.detach()  # before the connection is somebody else's

    def _give_back(self):
        """Give the lock back; forget the mails whose fate is known, which do not wait any more."""
        unlock, lock = "SELECT pg_advisory_unlock(%s, %s)", [_SESSION_AT, self.server_id]
        if not self.has_written:
            self._execute(unlock, lock)
            return
        if not self.is_own:
            self.lanes.env["mail.mail"].flush_model(["state"])
        # in one go: whoever has the next turn waits for the row until this is committed
        self._execute(
            f"""
            UPDATE mail_lane SET in_flight = (
                SELECT array_agg(id) FROM mail_mail
                 WHERE id = ANY(%s) AND state = 'outgoing'
            ), pace = %s WHERE server_id = %s;
            {unlock}
            """,
            [
                [
                    *(self.left_in_flight or ()),
                    *(mail for mail in self.handed_over if mail not in self.known),
                ],
                self.given if self.is_over() else None,
                self.server_id,
                *lock,
            ],
        )
        self.handed_over = []


class MailLane(models.Model):
    """The queue of one outgoing server: what is known of it, and how it is worked off.

    A few scheduled actions, the lanes, are the engine. Each takes a server that has mail and that
    nobody works on, sends for some seconds, and is called again. Odoo shares them out among its
    workers, over processes and machines. Whoever opens a session at a server, a lane, Odoo's own
    Email Queue Manager, or somebody who sends at once, has its :class:`Turn` first.

    A mail that waits has the server that it goes by in ``lane_server_id``, so that finding the
    mails of a server costs the same however many wait for others. Settings may change meanwhile:
    the route is decided again when the mail is taken.

    This is a table of its own, since a lock on a server's row would keep its form from being saved.
    """

    _name = "mail.lane"
    _description = "Queue of an Outgoing Mail Server"
    _log_access = False
    _rec_name = "server_id"

    # no link: the server may be gone, and 0 is the one of the configuration file
    server_id = fields.Integer(required=True, readonly=True)
    turn_at = fields.Datetime(readonly=True)
    paused_until = fields.Datetime(readonly=True)
    pause_reason = fields.Text(readonly=True)
    failing_since = fields.Datetime(readonly=True)
    failures = fields.Integer(readonly=True)
    usage = fields.Text(readonly=True)
    lockstep_until = fields.Datetime(readonly=True)
    lockstep_reason = fields.Text(readonly=True)
    slow_until = fields.Datetime(readonly=True)
    # mails that the last turn could hand over; 0: its time was long enough for all
    pace = fields.Integer(readonly=True)

    _sql_constraints = [("server_unique", "UNIQUE (server_id)", "A server has one queue.")]

    def init(self):
        cr = self.env.cr
        if not sql.column_exists(cr, self._table, "in_flight"):
            cr.execute("ALTER TABLE mail_lane ADD COLUMN in_flight integer[]")

    # ------------------------------------------------------------
    # Clock and chance, which a test can set
    # ------------------------------------------------------------

    @api.model
    def _now(self):
        return fields.Datetime.now()

    @api.model
    def _chance(self):
        return random.random()

    @api.model
    def _retry_hours(self):
        """Give the hours of General Settings for which a mail is tried; 0: once, as native."""
        # sudo: anybody's mail
        get_param = self.env["ir.config_parameter"].sudo().get_param
        try:
            return max(0, int(get_param(RETRY_HOURS, DEFAULT_HOURS)))
        except ValueError:
            return DEFAULT_HOURS

    @api.model
    def _lockstep_reason(self, server_id):
        """Tell why a server is asked one command at a time, ``""`` where it is not."""
        lane = self.sudo().search(
            [
                ("server_id", "=", server_id or CONFIG_SERVER),
                ("lockstep_until", ">", self._now()),
            ],
            limit=1,
        )
        return lane.lockstep_reason or ""

    # ------------------------------------------------------------
    # Whose turn it is
    # ------------------------------------------------------------

    @api.model
    def _commits(self):
        """Tell whether this code may commit: not in Odoo's tests."""
        testing = getattr(threading.current_thread(), "testing", False)
        return not (testing or self.env.registry.in_test_mode())

    @api.model
    @contextlib.contextmanager
    def _turn(self, server_id, *, to_the_end=False):
        """Have the turn at a server.

        :param server_id: its id; None: the server of the configuration file
        :param to_the_end: of this transaction, in which mails are sent together
        :return: context manager that gives a :class:`Turn`, None where somebody else has it
        """
        turn, is_new = self._take(server_id or CONFIG_SERVER)
        ends_later = False
        try:
            if is_new:
                self._recover(turn)
                if to_the_end and self._commits():
                    self._keep_to_the_end(turn)
                    ends_later = True
            yield turn
        finally:
            if is_new and not ends_later:
                turn.release()

    @api.model
    def _take(self, server_id):
        """Take the turn at a server, or the one that this transaction has already.

        :return: (:class:`Turn`, whether it is new); (None, False) where somebody else has it
        """
        kept = getattr(self.env.transaction, "mail_turns", {})
        if server_id in kept:
            return kept[server_id], False
        # as superuser, for anybody who sends
        lanes = self.sudo()
        try:
            # with a time-out: this very thread may hold a lock on the row, and would wait for ever
            cr = self._own_cursor(2) if self._commits() else self.env.cr
        except (PoolError, psycopg2.OperationalError) as error:
            _logger.warning("Mails wait, as there is no connection for a turn: %s", error)
            self.env.cr.execute(_NEW_LANE, [server_id, server_id])
            return None, False
        try:
            cr.execute("SELECT pg_try_advisory_lock(%s, %s)", [_SESSION_AT, server_id])
            if cr.fetchone()[0]:
                return Turn(lanes, server_id, cr), True
            # lanes find the mails that wait for a server by its row, which else only a turn makes
            cr.execute(_NEW_LANE, [server_id, server_id])
        except BaseException:
            with contextlib.suppress(psycopg2.Error):
                if cr is not self.env.cr:
                    cr._cnx.close()  # it may have the lock
            raise
        if cr is not self.env.cr:
            cr.close()
        return None, False

    @api.model
    def _own_cursor(self, lock_timeout):
        """Open a cursor in autocommit mode, on a connection of its own.

        Each statement is committed at once, and sees what others have committed. The pool resets
        the connection before it hands it out again.

        :param lock_timeout: seconds that a statement waits for a lock
        """
        cr = self.env.registry.cursor()
        try:
            cr._cnx.autocommit = True
            cr.execute("SELECT set_config('lock_timeout', %s, false)", [f"{lock_timeout}s"])
        except BaseException:
            with contextlib.suppress(psycopg2.Error):
                cr.close()
            raise
        return cr

    @api.model
    @contextlib.contextmanager
    def _alone_at(self, server_id):
        """Have the one session at a server, for a message that is sent directly, or for a test.

        Such a message cannot wait in the queue: if the session is still taken after
        :data:`_WAIT_FOR_SESSION`, a second one is opened. Pauses and limits do not apply.

        :param server_id: its id; None: the server of the configuration file
        """
        server_id = server_id or CONFIG_SERVER
        present = self.env.context.get("mail_turn")
        has_turn = isinstance(present, Turn) and present.server_id == server_id
        if (
            has_turn
            or server_id in getattr(self.env.transaction, "mail_turns", ())
            or not self._commits()
        ):
            yield
            return
        cr = None
        try:
            cr = self._own_cursor(_WAIT_FOR_SESSION)
        except (PoolError, psycopg2.OperationalError) as error:
            _logger.warning("Maybe others are at server %s as well: %s", server_id, error)
        if cr is None:
            yield
            return
        is_alone = self._waited_for(cr, server_id)
        try:
            yield
        finally:
            with _closing(cr, server_id):
                if is_alone:
                    cr.execute("SELECT pg_advisory_unlock(%s, %s)", [_SESSION_AT, server_id])

    @api.model
    def _waited_for(self, cr, server_id):
        """Wait for the lock on the session at a server.

        :return: whether it was obtained in time
        """
        query = "SELECT pg_advisory_lock(%s, %s)"
        try:
            cr.execute(query, [_SESSION_AT, server_id], log_exceptions=False)
        except psycopg2.errors.LockNotAvailable:
            _logger.info("Others are still at server %s: a second session begins", server_id)
            return False
        except BaseException:
            with contextlib.suppress(psycopg2.Error):
                cr._cnx.close()  # it may have the lock
            raise
        return True

    @api.model
    def _keep_to_the_end(self, turn):
        """Keep a turn until this transaction is committed or rolled back."""
        transaction, cr = self.env.transaction, self.env.cr
        if not hasattr(transaction, "mail_turns"):
            transaction.mail_turns = {}
        transaction.mail_turns[turn.server_id] = turn

        def end():
            if transaction.mail_turns.pop(turn.server_id, None):
                turn.release()

        # first in the queue: if another callback fails, those after it are not called
        cr.postcommit._funcs.appendleft(end)
        cr.postrollback.add(end)

    @api.model
    def _recover(self, turn):
        """Settle what a process that was killed has left behind: nobody knows what became of it."""
        mail_ids = turn.left_in_flight
        if not mail_ids:
            return
        try:
            with contextlib.ExitStack() as stack:
                env = self.env
                if self._commits():
                    cr = stack.enter_context(env.registry.cursor())
                    # the mail may be locked by this very thread
                    cr.execute("SET LOCAL lock_timeout = '1s'")
                    env = api.Environment(cr, SUPERUSER_ID, {})
                domain = [("id", "in", mail_ids), ("state", "=", "outgoing")]
                for mail in env["mail.mail"].sudo().search(domain):
                    _logger.warning("Mail %s may have arrived: its process was killed", mail.id)
                    mail._fail_killed(turn.server_id)
        except Exception:
            if not self._commits():
                raise
            # they stay marked as in flight, so nobody sends them: the next turn can settle them
            _logger.exception("Mails %s may have arrived, but are not marked so", mail_ids)
            return
        turn.forget_left_in_flight()

    @api.model
    def _forget_server(self):
        """Invalidate the fields of ``ir.mail_server`` that are read from this table."""
        servers = self.env["ir.mail_server"]
        servers.invalidate_model(servers._lane_fields, flush=False)

    # ------------------------------------------------------------
    # What administrators see and do
    # ------------------------------------------------------------

    @api.model
    def _of_servers(self, server_ids):
        """Give what is known of the queues of some servers: dict of server id -> dict.

        ``waiting`` is the number of mails that wait for it.
        """
        if not server_ids:
            return {}
        self.env["mail.mail"].flush_model(["state"])
        self.env.cr.execute(
            """
            SELECT server_id, paused_until, pause_reason, failing_since, usage,
                (
                    SELECT count(*) FROM mail_mail m
                     WHERE m.lane_server_id = l.server_id AND m.state = 'outgoing'
                ) AS waiting
              FROM mail_lane l WHERE server_id = ANY(%s)
            """,
            [list(server_ids)],
        )
        return {lane["server_id"]: lane for lane in self.env.cr.dictfetchall()}

    @api.model
    def _set_pause(self, server_id, until):
        """Let a server pause until a time, or end its pause."""
        self.env.cr.execute(
            """
            INSERT INTO mail_lane (server_id, paused_until) VALUES (%s, %s)
            ON CONFLICT (server_id) DO UPDATE
               SET paused_until = EXCLUDED.paused_until, pause_reason = NULL
            """,
            [server_id, until or None],
        )
        self._forget_server()

    @api.model
    def _end_limits(self, server_ids):
        """End the pauses of servers that were for a limit: the limit was changed."""
        if server_ids:
            self.env.cr.execute(
                """
                UPDATE mail_lane SET paused_until = NULL, pause_reason = NULL
                 WHERE server_id = ANY(%s) AND pause_reason LIKE 'max\\_per\\_%%'
                """,
                [list(server_ids)],
            )
            if self.env.cr.rowcount:
                self._wake()
            self._forget_server()

    @api.model
    def _try_now(self, server_ids):
        """End the pauses of servers and of the mails that wait for them, and call the lanes.

        :return: how many mails wait
        """
        mails = self.env["mail.mail"]
        mails.flush_model(["next_try", "state"])
        self.env.cr.execute(
            "UPDATE mail_lane SET paused_until = NULL WHERE server_id = ANY(%s)", [list(server_ids)]
        )
        self.env.cr.execute(
            """
            UPDATE mail_mail SET next_try = NULL
             WHERE lane_server_id = ANY(%s) AND state = 'outgoing' AND next_try IS NOT NULL
            """,
            [list(server_ids)],
        )
        mails.invalidate_model(["next_try"], flush=False)
        self._forget_server()
        self._wake()
        return sum(lane["waiting"] for lane in self._of_servers(server_ids).values())

    @api.model
    def _is_stuck(self):
        """Tell whether a server or a mail has been failing so long that the user should know."""
        return any(self._stuck())

    @api.model
    def _stuck(self):
        """Give what has been failing for :data:`STUCK`, and still is.

        Servers of companies that the user does not work in are left out.

        :return: (ids of servers, ids of mails that were put off one by one)
        """
        since = self._now() - STUCK
        self.env["mail.mail"].flush_model(["failing_since", "next_try", "state"])
        self.env["ir.mail_server"].flush_model(["company_id"])
        whose = "(%(all)s OR s.company_id IS NULL OR s.company_id = ANY(%(companies)s))"
        companies = self.env.user.company_ids
        values = {"since": since, "all": self.env.su, "companies": companies.ids}
        self.env.cr.execute(
            f"""
            SELECT l.server_id FROM mail_lane l LEFT JOIN ir_mail_server s ON s.id = l.server_id
             WHERE l.failing_since < %(since)s AND {whose} AND EXISTS (
                SELECT 1 FROM mail_mail m
                 WHERE m.lane_server_id = l.server_id AND m.state = 'outgoing'
            )
            """,
            values,
        )
        servers = [server_id for (server_id,) in self.env.cr.fetchall()]
        self.env.cr.execute(
            f"""
            SELECT m.id FROM mail_mail m LEFT JOIN ir_mail_server s ON s.id = m.lane_server_id
             WHERE m.state = 'outgoing' AND m.next_try IS NOT NULL
               AND m.failing_since < %(since)s AND {whose}
            """,
            values,
        )
        return servers, [mail_id for (mail_id,) in self.env.cr.fetchall()]

    # ------------------------------------------------------------
    # Lanes
    # ------------------------------------------------------------

    @api.model
    def _run_lane(self):
        """Work off what waits for some seconds: the method of the scheduled actions.

        An administrator who turns Odoo's own Email Queue Manager off wants all mail to wait.
        """
        manager = self.env["ir.cron"]._queue_manager()
        if self.env["mail.routing"]._is_active() and (not manager or manager.active):
            self._run(time.monotonic() + SLICE)

    @api.model
    def _run_manager(self):
        """Work off all that waits, or as a lane, where Odoo's own scheduled action asks for it."""
        is_cron = getattr(_own, "cron_id", None)
        self._run(time.monotonic() + SLICE if is_cron else None)

    @api.model
    def _run(self, deadline=None):
        """Work off server by server those that have mail and that nobody works on.

        :param deadline: as ``time.monotonic`` has it; None: until nothing is left to do
        """
        if not self._commits():
            self.env["mail.mail"].process_email_queue()
            return
        self._recover_all()
        self._sort(deadline)
        tried, busy = [], []
        while deadline is None or time.monotonic() < deadline:
            server_id = self._overdue_server(tried)
            if server_id is None:
                break
            if not self._serve(server_id, deadline, busy):
                tried.append(server_id)
        while deadline is None or time.monotonic() < deadline:
            server_id = self._next_server(tried)
            if server_id is None:
                if not self._sort(deadline):
                    self._call_again(tried, busy, is_sorted=True)
                    return
                continue
            if not self._serve(server_id, deadline, busy):
                # somebody else's; or nothing of it can be sent now
                tried.append(server_id)
        self._call_again(tried, busy)

    @api.model
    def _serve(self, server_id, deadline, busy):
        """Take the turn at one server, and send its mails.

        What goes wrong there is logged, not raised: other servers' mails wait for this lane too.

        :param busy: list to which the id is added where somebody else has the turn
        :return: whether any mail was settled
        """
        try:
            with self._turn(server_id) as turn:
                if not turn:
                    busy.append(server_id)
                    return False
                turn.deadline = deadline
                if turn.is_paused():
                    return self.env["mail.mail"]._give_up(turn)
                return self._work(turn)
        except MemoryError:
            raise
        except Exception:
            if self.env.cr.closed:
                raise
            self.env.cr.rollback()
            _logger.exception("The mails of server %s wait", server_id)
            return False

    @api.model
    def _work(self, turn):
        """Send mails of a server in its turn.

        :return: whether any mail was settled
        """
        limit = self._batch_size()
        if turn.pace:
            limit = min(limit, max(_FEWEST_AT_ONCE, 2 * turn.pace))
        mails = self.env["mail.mail"].browse(self._due(turn.server_id, limit))
        if not mails:
            return False
        mails.with_context(mail_turn=turn).send(auto_commit=True)
        self.env.cr.commit()  # pylint: disable=invalid-commit
        return mails.ids != self._due(turn.server_id, limit)

    @api.model
    def _batch_size(self):
        """Give how many mails a session takes at most, as native has it."""
        get_param = self.env["ir.config_parameter"].sudo().get_param
        return int(get_param("mail.session.batch.size", 1000))

    @api.model
    def _due(self, server_id, limit):
        """Give the ids of the mails that wait for a server, in order; so many at most."""
        now = self._now()
        self.env.cr.execute(_DUE_AT_SERVER, [server_id, now, now, limit])
        return [mail_id for (mail_id,) in self.env.cr.fetchall()]

    @api.model
    def _next_server(self, tried):
        """Give the id of the server with mail whose last turn was longest ago, None without one.

        :param tried: ids of those not to be given
        """
        now = self._now()
        self.env.cr.execute(_NEXT_SERVER, [now, tried, now, now])
        found = self.env.cr.fetchone()
        self.env.cr.commit()  # what comes next is to be seen # pylint: disable=invalid-commit
        return found and found[0]

    @api.model
    def _overdue_server(self, tried):
        """Give the id of a server that pauses and has mail whose time is over, None without one.

        :param tried: ids of those not to be given
        """
        hours = self._retry_hours()
        if not hours:
            return None
        now = self._now()
        last = now - timedelta(hours=hours)
        self.env.cr.execute(_OVERDUE_SERVER, [now, last, tried, last])
        found = self.env.cr.fetchone()
        return found and found[0]

    @api.model
    def _overdue_mails(self, server_id, limit):
        """Give the ids of mails of a server whose time is over."""
        hours = self._retry_hours()
        if not hours:
            return []
        last = self._now() - timedelta(hours=hours)
        self.env["mail.mail"].flush_model(["state"])
        self.env.cr.execute(_OVERDUE_MAILS, [last, server_id, limit])
        return [mail_id for (mail_id,) in self.env.cr.fetchall()]

    @api.model
    def _recover_all(self):
        """Settle what processes that were killed have left behind at any server."""
        self.env.cr.execute("SELECT server_id FROM mail_lane WHERE in_flight IS NOT NULL")
        for (server_id,) in self.env.cr.fetchall():
            with self._turn(server_id):
                pass  # taking the turn settles them
        self.env.cr.commit()  # pylint: disable=invalid-commit

    # ------------------------------------------------------------
    # Which mail waits for which server
    # ------------------------------------------------------------

    @api.model
    def _sort(self, deadline=None):
        """Decide the server of each new mail; one worker does so at a time.

        :return: whether there were any
        """
        cr = self.env.cr
        cr.execute("SELECT pg_try_advisory_lock(%s, 0)", [_SORTING])
        if not cr.fetchone()[0]:
            return False
        until = None if deadline is None else time.monotonic() + _SORTING_TIME
        found = False
        try:
            while until is None or time.monotonic() < until:
                mails = self.env["mail.mail"].browse(self._unsorted())
                if not (mails and self._sort_some(mails)):
                    break
                if not found:
                    self._wake()
                    cr.commit()  # others begin at once # pylint: disable=invalid-commit
                found = True
        finally:
            if not cr.closed:
                try:
                    cr.rollback()
                finally:  # it runs what others registered, which may fail
                    cr.execute("SELECT pg_advisory_unlock(%s, 0)", [_SORTING])
                    cr.commit()  # pylint: disable=invalid-commit
        return found

    @api.model
    def _unsorted(self):
        now = self._now()
        self.env.cr.execute(_UNSORTED, [now, now, _SORTED_AT_ONCE])
        return [mail_id for (mail_id,) in self.env.cr.fetchall()]

    @api.model
    def _sort_some(self, mails):
        """Decide the server of some mails; those that no server may send fail here.

        :return: whether any has been sorted
        """
        done = 0
        try:
            groups = mails._groups_of_queue()
        except MemoryError:
            raise
        except Exception:
            if self.env.cr.closed:
                raise
            self.env.cr.rollback()
            _logger.exception("Mails %s stay in the queue: they have no route", mails.ids)
            return False
        for group, failure in groups:
            if failure:
                mail = group.with_context(lang=group._authors_language())
                mail._persistently(lambda mail=mail, failure=failure: mail._fail(failure))
                done += len(group)
            else:
                server_id = group._delivery().server.id or CONFIG_SERVER
                done += mails._persistently(lambda g=group, s=server_id: self._line_up(g, s))
        return bool(done)

    @api.model
    def _line_up(self, mails, server_id):
        """Let mails wait for a server; its row is made, if it has none yet.

        :return: how many do
        """
        self.env.cr.execute(_NEW_LANE, [server_id, server_id])
        return mails._wait_for(server_id)

    # ------------------------------------------------------------
    # Calling lanes
    # ------------------------------------------------------------

    @api.model
    def _lanes(self):
        """Give the lanes, which are scheduled actions; without those deleted or archived."""
        # sudo: for anybody who sends
        to_id = self.env["ir.model.data"].sudo()._xmlid_to_res_id
        names = (f"mail_company_routing.ir_cron_mail_lane_{n}" for n in range(1, LANES + 1))
        crons = self.env["ir.cron"].sudo().browse(filter(None, map(to_id, names))).exists()
        return crons.filtered("active")  # others would never run

    @api.model
    def _wake(self, at=None):
        """Trigger all lanes, to run once this is committed; or one lane, at a later time.

        :param at: that time; None: at once
        """
        now = fields.Datetime.now()
        if at:
            # triggers have whole seconds; one that is too early would find nothing
            at += timedelta(seconds=1)
        crons = self._lanes()
        if not crons:
            return
        self.env.cr.execute(
            """
            SELECT cron_id FROM ir_cron_trigger WHERE cron_id IN %s AND call_at <= %s
               AND call_at > %s
            """,
            [crons._ids, at or now, now if at else datetime.min],
        )
        called = {cron_id for (cron_id,) in self.env.cr.fetchall()}
        # the trigger of this lane is deleted when it ends, so it needs a new one
        called.discard(getattr(_own, "cron_id", None))
        idle = crons.filtered(lambda cron: cron.id not in called)
        if at:
            idle = idle[:1] if not called else idle.browse()
        if not getattr(_own, "cron_id", None):
            # a lane that is called already may end before this is committed, and not see it
            if self._is_first_call(at or now):
                idle = idle or crons[:1]
            elif at:
                idle = idle.browse()
        for cron in idle:
            cron._trigger(at)

    @api.model
    def _is_first_call(self, at):
        """Tell whether this transaction has not called a lane for this time, or an earlier one."""
        data = self.env.cr.postcommit.data
        earliest = data.get(_CALLED)
        if earliest and earliest <= at:
            return False
        data[_CALLED] = at
        return True

    @api.model
    def _call_again(self, tried, busy, *, is_sorted=False):
        """Trigger lanes for what this one leaves behind: now, or when its time comes.

        :param busy: ids of those of ``tried`` where somebody else has the turn; if that is no lane,
            it triggers nothing when it ends
        :param is_sorted: what has no server yet cannot be given one now
        """
        unsorted = bool(self._unsorted())
        if (
            self._next_server(tried) is not None
            or self._overdue_server(tried) is not None
            or (unsorted and not is_sorted)
        ):
            self._wake()
        else:
            # what could not be sorted would fail again at once
            later = self._now() + UNSORTED_PAUSE if unsorted else None
            idle = [server_id for server_id in tried if server_id not in busy]
            free = None
            if busy and self._next_server(idle) is not None:
                free = self._now() + timedelta(seconds=_WAIT_FOR_SESSION)
            times = [at for at in (self._next_time(), later, free) if at]
            if times:
                self._wake(min(times))
        self.env.cr.commit()  # pylint: disable=invalid-commit

    @api.model
    def _next_time(self):
        """Give the time at which the first mail that pauses is due, None without one."""
        now = self._now()
        self.env.cr.execute(
            """
            SELECT LEAST(
                (
                    SELECT min(paused_until) FROM mail_lane l
                     WHERE paused_until > %s AND EXISTS (
                        SELECT 1 FROM mail_mail m
                         WHERE m.lane_server_id = l.server_id AND m.state = 'outgoing'
                     )
                ),
                (SELECT min(next_try) FROM mail_mail WHERE state = 'outgoing' AND next_try > %s)
            )
            """,
            [now, now],
        )
        return self.env.cr.fetchone()[0]
