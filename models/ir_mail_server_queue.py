# SPDX-License-Identifier: LGPL-3.0-only
import json

from odoo import _, api, fields, models
from odoo.exceptions import ValidationError

from ..routing.retry import Usage
from .mail_failure_shown import done


class IrMailServer(models.Model):
    """The queue of an outgoing server, as its form shows it: see ``mail.lane``."""

    _inherit = "ir.mail_server"

    #: the fields that are read from the server's lane
    _lane_fields = (
        "failing_since",
        "paused_until",
        "pause_reason",
        "sent_last_day",
        "sent_last_minute",
        "waiting_count",
    )

    max_per_minute = fields.Integer(
        string="Limit per Minute",
        help="How many mails the provider takes within a minute. What is over waits, in order."
        " 0: no limit.",
    )
    max_per_day = fields.Integer(
        string="Limit per Day",
        help="How many mails the provider takes within 24 hours. What is over waits, in order."
        " 0: no limit.",
    )
    paused_until = fields.Datetime(
        compute="_compute_lane",
        inverse="_inverse_paused_until",
        search="_search_paused_until",
        help="When this server is tried again: it failed, or its limit is reached",
    )
    pause_reason = fields.Text(compute="_compute_lane", help="Why this server pauses")
    failing_since = fields.Datetime(
        compute="_compute_lane", help="Since when this server has taken no mail"
    )
    waiting_count = fields.Integer(string="Waiting", compute="_compute_lane")
    sent_last_minute = fields.Integer(string="Sent This Minute", compute="_compute_lane")
    sent_last_day = fields.Integer(string="Sent in 24 Hours", compute="_compute_lane")

    @api.depends_context("uid", "lang")
    def _compute_lane(self):
        self.update(dict.fromkeys(self._lane_fields, False))
        if not self.check_access_rights("read", raise_exception=False):
            return
        lanes = self.env["mail.lane"]._of_servers(self.ids)
        now = self.env["mail.lane"]._now()
        for server in self:
            lane = lanes.get(server._origin.id)
            if not lane:
                continue
            usage = Usage.from_kept(json.loads(lane["usage"]) if lane["usage"] else None)
            pauses = lane["paused_until"] and lane["paused_until"] > now
            server.update(
                {
                    "failing_since": lane["failing_since"],
                    "paused_until": pauses and lane["paused_until"],
                    "pause_reason": pauses and self._pause_sentence(lane["pause_reason"]),
                    "sent_last_day": usage.last_day(now),
                    "sent_last_minute": usage.last_minute(now),
                    "waiting_count": lane["waiting"],
                }
            )

    @api.model
    def _pause_sentence(self, reason):
        """Give a reason that was kept for a pause in the reader's language."""
        kind, _space, limit = (reason or "").partition(" ")
        if kind == "max_per_minute":
            return _("Its Limit per Minute, %s, is reached.", limit)
        if kind == "max_per_day":
            return _("Its Limit per Day, %s, is reached.", limit)
        return reason

    def _inverse_paused_until(self):
        for server in self:
            self.env["mail.lane"]._set_pause(server.id, server.paused_until)

    @api.model
    def _search_paused_until(self, operator, value):
        lanes = self.env["mail.lane"].sudo()
        negated = value is False and operator == "="
        domain = [("paused_until", ">", lanes._now())]
        if value:
            domain.append(("paused_until", operator, value))
        ids = lanes.search(domain).mapped("server_id")
        return [("id", "not in" if negated else "in", ids)]

    @api.constrains("max_per_minute", "max_per_day")
    def _check_limits(self):
        for server in self:
            if server.max_per_minute < 0 or server.max_per_day < 0:
                raise ValidationError(
                    _(
                        "%s: a Limit per Minute or per Day is a number of mails; 0 means no limit.",
                        server.name,
                    )
                )

    def write(self, vals):
        result = super().write(vals)
        if not {"max_per_minute", "max_per_day"}.isdisjoint(vals):
            # a limit that was reached may be none any more
            self.env["mail.lane"]._end_limits(self.ids)
        return result

    def action_try_now(self):
        """End the pause of these servers and of their mails, and have the queue send them.

        Nothing is sent here: Odoo may repeat a request. Limits are still kept.

        :return: a notification of what will happen
        """
        self.check_access_rights("write")
        self.check_access_rule("write")
        waiting = self.env["mail.lane"]._try_now(self.ids)
        if not waiting:
            return done(_("No mail waits for this server."), "info")
        mails = self.env["mail.mail"]
        message = _(
            "Mails in the queue: %(count)s. %(queue)s", count=waiting, queue=mails._told_of_queue()
        )
        return done(message, mails._kind_of_done())

    def action_waiting_mails(self):
        """Open the mails that wait for this server."""
        self.ensure_one()
        action = self.env["ir.actions.actions"]._for_xml_id("mail.action_view_mail_mail")
        action["domain"] = [("state", "=", "outgoing"), ("lane_server_id", "=", self.id)]
        action["context"] = {}
        return action
