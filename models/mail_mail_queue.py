from odoo import _, api, fields, models
from odoo.tools import create_index, format_datetime, format_time

from .mail_lane import ORDINARY


class MailMail(models.Model):
    """A mail that waits: for which server, until when, and why."""

    _inherit = "mail.mail"

    # no defaults, which would be written into each mail there is; no prefetch: native reads no more
    tries = fields.Integer(
        copy=False,
        readonly=True,
        prefetch=False,
        help="How often this mail could not be delivered for the time being",
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

        :return: mail id -> sentence; without those that wait for nothing but their turn
        """
        if not (self.ids and self.env["mail.routing"]._is_active()):
            return {}
        lanes = self.env["mail.lane"]
        now = lanes._now()
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
        for mail_id, next_try, own_reason, paused_until, pause_reason in self.env.cr.fetchall():
            until, reason = next_try, own_reason
            if not until or (paused_until and paused_until > until):
                until = paused_until
                reason = self.env["ir.mail_server"]._pause_sentence(pause_reason)
            sentences[mail_id] = _(
                "Waiting, next try at %(time)s, because: %(reason)s",
                time=self._time_of_day(until, now),
                reason=(reason or "").partition("\n")[0],
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
        """Begin anew with a mail that is to be sent once more."""
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
