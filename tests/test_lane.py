# SPDX-License-Identifier: LGPL-3.0-only
"""A lane with real commits: what becomes of the mails beside one that fails.

By each way of telling a server a mail: one command at a time, an envelope in one go, or all of it.
"""

import time

from odoo.tests import tagged
from odoo.tools import mute_logger

from ..models import mail_mail
from .test_claims import TurnsCase

QUIET = (
    "odoo.sql_db",
    "odoo.addons.mail.models.mail_mail",
    "odoo.addons.base.models.ir_mail_server",
    mail_mail.__name__,
)
CHUNKING = ("PIPELINING", "CHUNKING")
EXTENSIONS = ((), CHUNKING[:1], CHUNKING)


@tagged("post_install", "-at_install")
class TestLane(TurnsCase):
    def setUp(self):
        super().setUp()
        self.mail_ids = []

    def queue(self, count, **values):
        """Put mails into the queue."""
        values = {
            "email_from": "kevin@odoomommy.com",
            "email_to": "customer@example.net",
            "mail_server_id": self.server_id,
            "auto_delete": False,
            **values,
        }
        with self.worker() as env:
            mails = env["mail.mail"].create(
                [{**values, "subject": str(number)} for number in range(count)]
            )
            env.cr.commit()  # pylint: disable=invalid-commit
        self.mail_ids += mails.ids
        return mails.ids

    def run_lane(self):
        with self.worker() as env:
            env["mail.lane"]._run(time.monotonic() + 60)

    def states(self):
        with self.worker() as env:
            mails = env["mail.mail"].browse(self.mail_ids).exists()
            return dict(zip(mails.mapped("subject"), mails.mapped("state"), strict=True))

    def in_flight(self):
        with self.worker() as env:
            env.cr.execute("SELECT in_flight FROM mail_lane WHERE server_id = %s", [self.server_id])
            return [self.mail_ids.index(mail) for mail in env.cr.fetchone()[0] or ()]

    def arrived(self):
        return [mail.message["Subject"] for mail in self.provider.mails]

    @mute_logger(*QUIET)
    def test_each_fault_costs_nothing_but_its_mail(self):
        for extensions in EXTENSIONS:
            for phase, reply, state in (
                ("mail", "550 5.1.8 No such sender", "exception"),
                ("rcpt", "550 5.1.1 Nobody there", "exception"),
                ("rcpt", "451 4.7.1 Greylisted", "outgoing"),
                ("end_of_data", "554 5.6.0 No such words", "exception"),
                ("end_of_data", "451 4.3.0 Not yet", "outgoing"),
                ("end_of_data", "accept_then_drop", "exception"),
            ):
                with self.subTest(extensions=extensions, phase=phase, reply=reply):
                    self.provider.announces = extensions
                    self.provider.clear()
                    self.provider.heal()
                    self.provider.fail(phase, reply, after=1)
                    del self.mail_ids[:]
                    self.queue(4)
                    self.run_lane()
                    others = {"0": "sent", "2": "sent", "3": "sent"}
                    self.assertEqual(self.states(), {**others, "1": state})
                    known = ["1"] if "accept" in reply else []
                    self.assertEqual(self.arrived(), ["0", *known, "2", "3"])
                    self.assertEqual(self.in_flight(), [])

    def test_a_mail_to_several_goes_whole_before_the_next_one(self):
        self.provider.announces = CHUNKING
        with self.worker() as env:
            partners = env["res.partner"].create(
                [{"name": name, "email": f"{name}@example.net"} for name in "ab"]
            )
            env.cr.commit()  # pylint: disable=invalid-commit
        self.queue(3, recipient_ids=[(6, 0, partners.ids)])
        self.run_lane()
        self.assertEqual(self.arrived(), [subject for subject in "012" for _message in range(3)])
        self.assertEqual(set(self.states().values()), {"sent"})
        with self.worker() as env:
            partners.with_env(env).unlink()
            env.cr.commit()  # pylint: disable=invalid-commit
