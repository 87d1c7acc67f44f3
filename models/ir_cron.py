# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, models

from .mail_lane import working


class IrCron(models.Model):
    _inherit = "ir.cron"

    @classmethod
    def _process_job(cls, db, cron_cr, job):
        """Let a worker run one lane in each of its rounds, so that others' actions come in between.

        A worker runs all that was due when its round began, one after the other. A lane that is
        left out stays due.
        """
        lane_ids = cls._queue_job_ids(cron_cr)
        if job["id"] not in lane_ids:
            return super()._process_job(db, cron_cr, job)
        if getattr(cron_cr, "has_worked_queue", False):
            return None
        cron_cr.has_worked_queue = True
        with working(job["id"]):
            return super()._process_job(db, cron_cr, job)

    @classmethod
    def _queue_job_ids(cls, cr):
        """Give the ids of the lanes, and of Odoo's own Email Queue Manager; read once."""
        registry = cls.pool
        if not hasattr(registry, "mail_queue_job_ids"):
            cr.execute(
                """
                SELECT res_id FROM ir_model_data
                 WHERE model = 'ir.cron' AND (
                    module = 'mail' AND name = 'ir_cron_mail_scheduler_action'
                    OR module = 'mail_company_routing' AND name LIKE 'ir_cron_mail_lane_%%'
                 )
                """
            )
            registry.mail_queue_job_ids = frozenset(job_id for (job_id,) in cr.fetchall())
        return registry.mail_queue_job_ids

    @api.model
    def _queue_manager(self):
        """Give Odoo's own Email Queue Manager, whoever asks; empty where it was deleted."""
        crons = self.sudo()
        manager = crons.env.ref("mail.ir_cron_mail_scheduler_action", raise_if_not_found=False)
        return manager or crons.browse()

    @api.model
    def _trigger_queue(self):
        """Have Odoo's own Email Queue Manager, and with it the lanes, work now."""
        manager = self._queue_manager()
        if manager:
            manager._trigger()
        else:
            self.env["mail.lane"]._wake()
