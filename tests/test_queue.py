# SPDX-License-Identifier: LGPL-3.0-only
"""The queue: what may pass is tried again, limits are kept, and everybody sees why a mail waits."""

from datetime import datetime, timedelta
from unittest.mock import patch

from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from .common import CUSTOMER, MailRoutingCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")
MONDAY = datetime(2026, 3, 2, 9)


@tagged("post_install", "-at_install")
class TestQueue(MailRoutingCase):
    def setUp(self):
        super().setUp()
        self.provider_ = self.provider()
        self.server = self.mail_server(self.provider_, sender_policy="login")
        lanes = type(self.env["mail.lane"])
        self.now = MONDAY
        self.startPatcher(patch.object(lanes, "_now", lambda _lanes: self.now))
        self.startPatcher(patch.object(lanes, "_chance", lambda _lanes: 0.0))

    def mails(self, count):
        """Write some mails that wait in the queue."""
        return self.env["mail.mail"].union(
            *(self.mail(subject=str(number)) for number in range(count))
        )

    @mute_logger(*QUIET)
    def run_queue(self):
        """Run the queue as the cron does."""
        self.env["mail.mail"].process_email_queue()

    def wait(self, **span):
        """Let time pass, and run the queue."""
        self.now += timedelta(**span)
        self.run_queue()

    def arrived(self):
        return [mail.message["Subject"] for mail in self.provider_.mails]

    def said(self, mail):
        """Give what the author's envelope says, and its status."""
        (row,) = mail.mail_message_id.notification_ids.with_user(
            self.lingsha
        )._notification_format()
        return row["notification_status"], row.get("waiting_reason") or ""

    # ------------------------------------------------------------
    # Retry
    # ------------------------------------------------------------

    def test_greylisting(self):
        """The first try is answered 451, a later one 250."""
        self.provider_.fail("rcpt", "451 4.7.1 Greylisted, try again later")
        first, second = self.mails(2)
        self.run_queue()
        self.assertEqual((first.state, second.state), ("outgoing", "sent"))
        self.assertEqual((first.tries, first.next_try), (1, MONDAY + timedelta(minutes=1)))
        self.assertIn("Greylisted", first.failure_reason)
        self.assertFalse(self.server.paused_until, "it is one mail's")
        self.wait(seconds=30)
        self.assertEqual(first.state, "outgoing", "it pauses")
        self.wait(seconds=30)
        self.assertEqual(first.state, "sent")
        self.assertFalse(first.failure_reason)
        self.assertEqual(self.arrived(), ["1", "0"])

    def test_a_message_in_the_chatter_that_is_greylisted(self):
        self.provider_.fail("rcpt", "451 4.7.1 Greylisted, try again later")
        self.lingsha.tz = "Asia/Shanghai"
        with mute_logger(*QUIET):
            message = self.post()
        mail = self.env["mail.mail"].search([("mail_message_id", "=", message.id)])
        self.assertEqual(mail.state, "outgoing")
        status, said = self.said(mail)
        self.assertEqual(status, "ready")
        self.assertIn("Greylisted", said)
        self.assertIn("17:01" if "17:01" in said else "5:01", said)
        self.env["res.lang"]._activate_lang("zh_CN")
        self.lingsha.lang = "zh_CN"
        self.assertIn("等待中", self.said(mail.with_context(lang="zh_CN"))[1])
        self.wait(minutes=1)
        self.assertEqual(self.said(mail), ("sent", ""))

    def test_a_refusal_that_does_not_pass_fails_at_once(self):
        self.provider_.fail("rcpt", "550 5.1.1 no such user")
        mail = self.mails(1)
        self.run_queue()
        self.assertEqual(mail.state, "exception")
        self.assertFalse(self.server.paused_until)

    def test_a_wrong_password_fails_at_once(self):
        self.server.smtp_pass = "wrong"
        mails = self.mails(2)
        self.run_queue()
        self.assertEqual(mails.mapped("state"), ["exception"] * 2)
        refusals = len(self.provider_.refusals)
        self.wait(hours=1)
        self.assertEqual(len(self.provider_.refusals), refusals, "not again: accounts lock")

    def test_zero_hours_are_native(self):
        self.settings(mail_retry_hours=0)
        self.assertEqual(self.env["res.config.settings"].create({}).mail_retry_hours, 0)
        self.provider_.fail("rcpt", "451 4.7.1 Greylisted, try again later")
        mail = self.mails(1)
        self.run_queue()
        self.assertEqual(mail.state, "exception")

    def test_quotas_pause_the_server(self):
        for phase, words in (
            ("end_of_data", "550 5.4.5 Daily sending quota exceeded"),
            ("rcpt", "451 MI:DMC"),
            ("mail", "421 HL:ICC"),
            ("auth", "454 4.7.0 Too many login attempts, please try again later."),
        ):
            with self.subTest(words):
                self.provider_.clear()
                self.provider_.fail(phase, words)
                mails = self.mails(3)
                self.run_queue()
                self.assertEqual(mails.mapped("state"), ["outgoing"] * 3)
                self.assertEqual(self.arrived(), [])
                self.assertEqual(self.server.paused_until, self.now + timedelta(minutes=1))
                self.assertIn(words, self.server.pause_reason)
                self.assertEqual(self.server.waiting_count, 3)
                (finding,) = self.env["mail.checkup"]._check_queue()
                self.assertIn("Ohm SMTP is paused until", finding.text)
                self.assertIn(words, finding.text)
                self.assertEqual(finding.records, self.server)
                self.assertEqual((finding.grade, finding.fix), ("stops", "try_now"))
                self.provider_.heal()
                logins = self.provider_.logins
                self.wait(seconds=59)
                self.assertEqual(self.provider_.logins, logins, "it is left alone")
                self.wait(seconds=1)
                self.assertEqual(mails.mapped("state"), ["sent"] * 3)
                self.assertEqual(self.arrived(), ["0", "1", "2"])
                self.assertFalse(self.server.paused_until)
                self.assertFalse(self.server.pause_reason)
                self.assertEqual(self.server.waiting_count, 0)
                self.assertFalse(list(self.env["mail.checkup"]._check_queue()))

    def test_an_outage_of_five_days(self):
        """What is written before and in it fails after three days, or arrives once it is over."""
        self.provider_.stop()
        mails = {}
        for hour in range(5 * 24):
            if hour % 8 == 0:
                mails[hour] = self.mail(subject=f"hour {hour}")
            self.wait(hours=1)
            if hour == 6:
                self.assertEqual(self.server.failing_since, MONDAY + timedelta(hours=1))
                self.assertTrue(self.env["mail.lane"]._is_stuck())
                found = self.env["mail.checkup"]._check_queue()
                self.assertIn("Ohm SMTP has taken no mail since", next(found)[0])
        failed = {hour for hour, mail in mails.items() if mail.state == "exception"}
        self.assertEqual(failed, {hour for hour in mails if hour + 1 + 72 <= 5 * 24})
        self.assertIn("could not be used for 72 hours", mails[0].failure_reason)
        self.assertIn("refused", mails[0].failure_reason.lower(), "the last reply")
        self.provider_.start()
        self.wait(hours=2)
        waited = [mail for hour, mail in mails.items() if hour not in failed]
        self.assertEqual({mail.state for mail in waited}, {"sent"})
        self.assertEqual(self.arrived(), [mail.subject for mail in waited], "once, in order")
        self.assertFalse(self.env["mail.lane"]._is_stuck())

    def test_more_mails_than_are_given_up_at_a_time(self):
        values = {"email_from": "kevin@odoomommy.com", "email_to": CUSTOMER}
        mails = self.env["mail.mail"].create([values] * 1002)
        self.provider_.stop()
        self.run_queue()
        self.wait(hours=73)
        self.assertEqual(set(mails.mapped("state")), {"exception"})

    def test_nobody_is_told_of_servers_of_companies_that_he_does_not_work_in(self):
        other = self.env["res.company"].create({"name": "Other"})
        self.server.company_id = other
        here = new_test_user(self.env, "here", groups="base.group_system")
        there = new_test_user(self.env, "there", groups="base.group_system", company_id=other.id,
                              company_ids=[(6, 0, other.ids)])  # fmt: skip

        def told(user):
            lanes = self.env["mail.lane"].with_user(user)
            return lanes._is_stuck(), len(list(lanes.env["mail.checkup"]._check_queue()))

        self.provider_.fail("rcpt", "451 4.2.1 Mailbox busy", times=10)
        mail = self.mail(mail_server_id=self.server.id)
        self.run_queue()
        self.wait(hours=5)
        self.assertEqual(mail.tries, 2)
        self.assertEqual((told(there), told(here)), ((True, 1), (False, 0)), "a mail put off")
        self.provider_.stop()
        self.wait(hours=1)
        self.wait(hours=5)
        self.assertEqual((told(there), told(here)), ((True, 2), (False, 0)), "a server, too")
        self.server.company_id = False
        self.assertEqual((told(there), told(here)), ((True, 2), (True, 2)), "everybody's server")

    def test_a_mail_that_is_put_off_for_three_days_fails_with_the_last_reply(self):
        self.provider_.fail("rcpt", "451 4.2.1 Mailbox busy", times=10_000)
        mail = self.mails(1)
        tries = 0
        while mail.state == "outgoing" and tries < 200:
            tries += 1
            self.now = mail.next_try or self.now
            self.run_queue()
        self.assertEqual(mail.state, "exception")
        self.assertIn("Mailbox busy", mail.failure_reason)
        self.assertEqual(self.now, MONDAY + timedelta(hours=72))
        self.assertLess(tries, 80)
        self.provider_.heal()
        mail.action_retry()
        self.assertFalse(mail.next_try)
        self.run_queue()
        self.assertEqual(mail.state, "sent")

    def test_try_now(self):
        self.provider_.fail("connect", "drop")
        mails = self.mails(2)
        self.run_queue()
        self.provider_.heal()
        self.run_queue()
        self.assertEqual(mails.mapped("state"), ["outgoing"] * 2)
        self.assertIn("Waiting, next try at", mails[0].waiting_reason)
        told = self.server.action_try_now()
        self.assertIn("in the queue: 2.", told["params"]["message"])
        self.assertFalse(self.server.paused_until)
        self.run_queue()
        self.assertEqual(mails.mapped("state"), ["sent"] * 2)

    def test_what_waits_says_so_wherever_the_mail_is_shown(self):
        self.provider_.fail("connect", "drop")
        mail = self.mails(1)
        self.run_queue()
        sent = self.env["mail.sent"].search([("mail_id", "=", mail.id)])
        explain = self.env["mail.route.explain"].create({"mail_id": mail.id})
        for told in (mail.waiting_reason, sent.waiting_reason, explain.sent_waiting):
            self.assertIn("Waiting, next try at", told)
        checkup = self.env["mail.checkup"].browse(self.env["mail.checkup"].action_open()["res_id"])
        line = checkup.line_ids.filtered(lambda line: line.fix == "try_now")
        self.assertEqual(line.grade, "stops")
        self.provider_.heal()
        self.assertIn("in the queue: 1.", line.action_fix()["params"]["message"])
        self.run_queue()
        self.env.invalidate_all()
        self.assertEqual((mail.state, sent.waiting_reason), ("sent", False))

    @mute_logger(*QUIET)
    def test_who_must_know_at_once_is_told_that_the_server_pauses(self):
        self.provider_.fail("connect", "drop")
        self.mail().send()
        with self.assertRaisesRegex(Exception, "pauses until"):
            self.mail().send(raise_exception=True)

    def test_a_message_that_keeps_its_id_is_not_written(self):
        """That would be two statements a mail."""
        mail = self.mail()
        mail.flush_recordset()
        query = "UPDATE mail_message SET write_date = %s WHERE id = %s"
        self.env.cr.execute(query, [MONDAY, mail.mail_message_id.id])
        mail.invalidate_recordset()
        self.run_queue()
        self.env.flush_all()
        self.env.invalidate_all()
        self.assertEqual((mail.state, mail.mail_message_id.write_date), ("sent", MONDAY))

    # ------------------------------------------------------------
    # Limits
    # ------------------------------------------------------------

    def test_thirty_a_minute(self):
        self.server.max_per_minute = 30
        mails = self.mails(100)
        self.run_queue()
        self.assertEqual(len(self.provider_.mails), 30)
        self.assertEqual(self.server.sent_last_minute, 30)
        self.assertIn("Limit per Minute, 30", self.server.pause_reason)
        self.assertEqual(self.server.waiting_count, 70)
        for total in (60, 90, 100):
            self.wait(seconds=65)
            self.assertEqual(len(self.provider_.mails), total)
        self.assertEqual(self.arrived(), [str(number) for number in range(100)], "in order")
        self.assertEqual(set(mails.mapped("state")), {"sent"})
        self.assertEqual(self.server.sent_last_day, 100)
        self.assertFalse(self.provider_.refusals)
        self.assertFalse(any(mails.mapped("tries")), "none was refused")

    def test_a_limit_a_day(self):
        self.server.max_per_day = 3
        self.mails(5)
        self.run_queue()
        self.wait(hours=12)
        self.assertEqual(len(self.provider_.mails), 3)
        self.wait(hours=13)
        self.assertEqual(len(self.provider_.mails), 5)

    def test_what_waits_for_a_limit_is_not_given_up(self):
        """However long it waits, and whatever the server did before."""
        self.server.max_per_minute = 1
        mails = self.mails(3)
        self.run_queue()
        for hours, failing_since in ((0, None), (72, None), (0, MONDAY), (72, MONDAY)):
            with self.subTest(hours=hours, failing_since=failing_since):
                self.settings(mail_retry_hours=hours)
                self.now += timedelta(hours=100)
                self.env.cr.execute(
                    "UPDATE mail_lane SET paused_until = %s, failing_since = %s"
                    " WHERE server_id = %s",
                    [self.now + timedelta(minutes=1), failing_since, self.server.id],
                )
                self.assertIn("Limit per Minute", self.server.pause_reason)
                self.env["mail.lane"]._serve(self.server.id, None, [])
                self.assertEqual(mails.mapped("state"), ["sent", "outgoing", "outgoing"])
                self.assertIsNone(self.env["mail.lane"]._overdue_server([]))

    def test_a_limit_alone_asks_for_more_than_native(self):
        self.server.sender_policy = "default"
        self.server.max_per_minute = 1
        self.assertTrue(self.env["mail.routing"]._is_active())

    def test_a_higher_limit_counts_at_once(self):
        self.server.max_per_minute = 1
        self.mails(2)
        self.run_queue()
        self.server.max_per_minute = 5
        self.assertFalse(self.server.paused_until)
        self.run_queue()
        self.assertEqual(len(self.provider_.mails), 2)

    def test_a_mail_to_several_counts_as_many(self):
        self.server.max_per_minute = 3
        partners = self.env["res.partner"].create(
            [{"name": name, "email": f"{name}@example.net"} for name in "xy"]
        )
        for _number in range(2):
            self.mail(recipient_ids=[(6, 0, partners.ids)], email_to=False)
        self.run_queue()
        self.assertEqual(len(self.provider_.mails), 2)

    # ------------------------------------------------------------
    # Settings change while mail waits
    # ------------------------------------------------------------

    def test_a_server_that_is_archived_with_mail_waiting(self):
        self.provider_.fail("connect", "drop")
        mails = self.mails(2)
        self.run_queue()
        other = self.provider({"info@odoomommy.com": "secret"})
        self.mail_server(other, "info@odoomommy.com", name="Other", sender_policy="login")
        self.server.active = False
        self.run_queue()
        self.assertEqual(mails.mapped("state"), ["sent"] * 2)
        self.assertEqual(len(other.mails), 2)

    def test_a_killed_process_leaves_a_mail_of_which_nobody_knows(self):
        """Whoever comes next says so, and does not send it."""
        killed, other = self.mails(2)
        self.env.cr.execute(
            """
            INSERT INTO mail_lane (server_id, in_flight) VALUES (%s, %s)
            ON CONFLICT (server_id) DO UPDATE SET in_flight = EXCLUDED.in_flight
            """,
            [self.server.id, killed.ids],
        )
        self.run_queue()
        self.assertEqual((killed.state, other.state), ("exception", "sent"))
        self.assertIn("may have arrived", killed.failure_reason)
        self.assertIn("Ohm SMTP", killed.failure_reason)
        killed.action_retry()
        self.run_queue()
        self.assertEqual(killed.state, "sent")
        self.assertEqual(self.arrived(), ["1", "0"])
        self.assertEqual(self.provider_.mails[0].rcpt_tos, (CUSTOMER,))
