# SPDX-License-Identifier: LGPL-3.0-only
"""A mail that one worker has claimed is nobody else's, and everybody's as soon as he is done.

So is the turn at a server.
"""

import gc
import threading
import time
from base64 import b64encode
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import psycopg2
from psycopg2.pool import PoolError

from odoo import SUPERUSER_ID, api, fields, sql_db
from odoo.modules.registry import Registry
from odoo.service.model import retrying
from odoo.sql_db import connection_info_for
from odoo.tests import tagged
from odoo.tests.common import BaseCase, get_db_name
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import SMTP_TIMEOUT, MailDeliveryException

from ..dev.provider import Provider
from ..dev.provider.tls import write_certificates
from ..models import ir_mail_server, mail_lane
from ..models.credentials import smtp_login
from ..models.delivery import Delivery
from ..models.fetch_session import attempt
from ..wizards.mail_mailbox_trial import Trial


@tagged("post_install", "-at_install")
class TestClaims(BaseCase):
    """With real commits, in transactions of several workers."""

    def setUp(self):
        super().setUp()
        self.registry = Registry(get_db_name())
        with self.worker() as env:
            self.mail_id = (
                env["mail.mail"].create({"subject": "Claim", "email_to": "c@example.net"}).id
            )
            env.cr.commit()  # pylint: disable=invalid-commit
        self.addCleanup(self.delete)

    def delete(self):
        with self.registry.cursor() as cr:
            api.Environment(cr, SUPERUSER_ID, {})["mail.mail"].browse(self.mail_id).unlink()

    @contextmanager
    def worker(self):
        """Give the environment of a worker; what he has not committed is rolled back."""
        with closing(self.registry.cursor()) as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})

    def claimed_by(self, env):
        """Give what a worker may send."""
        return env["mail.mail"].browse(self.mail_id)._claimed()

    def assertFree(self, is_free=True):
        with self.worker() as env, self.claimed_by(env) as mails:
            self.assertEqual(mails.ids, [self.mail_id] if is_free else [])

    def test_it_is_given_back(self):
        with self.worker() as env, self.claimed_by(env) as mails:
            self.assertEqual(mails.ids, [self.mail_id])
            self.assertFree(False)
        self.assertFree()

    @mute_logger("odoo.sql_db")
    def test_it_is_given_back_after_somebody_wrote_it_meanwhile(self):
        """PostgreSQL keeps the lock of a statement that it refuses."""
        with self.worker() as env:
            self.assertEqual(env["mail.mail"].browse(self.mail_id).subject, "Claim")
            with self.registry.cursor() as cr:
                another = api.Environment(cr, SUPERUSER_ID, {})
                another["mail.mail"].browse(self.mail_id).email_cc = "d@example.net"
            with self.claimed_by(env) as mails:
                self.assertEqual(mails.email_cc, "d@example.net")
            self.assertFree()


class TurnsCase(BaseCase):
    """A provider and its server, with real commits, in transactions of several workers."""

    def setUp(self):
        super().setUp()
        self.registry = Registry(get_db_name())
        self.startPatcher(patch.object(threading.current_thread(), "testing", False))
        servers = self.registry["ir.mail_server"]
        self.startPatcher(patch.object(servers, "_is_test_mode", lambda _servers: False))
        self.provider = Provider({"kevin@odoomommy.com": "secret"})
        self.addCleanup(self.provider.stop)
        self.provider.start()
        with self.worker() as env:
            server = env["ir.mail_server"].create(
                {
                    "name": "Ohm SMTP",
                    "smtp_host": self.provider.smtp_host,
                    "smtp_port": self.provider.smtp_port,
                    "smtp_user": "kevin@odoomommy.com",
                    "smtp_pass": "secret",
                    "sender_policy": "login",
                }
            )
            self.server_id = server.id
            env.cr.commit()  # pylint: disable=invalid-commit
        self.addCleanup(self.delete)

    def delete(self):
        with self.worker() as env:
            of_server = ["|", ("lane_server_id", "=", self.server_id)]
            of_server.append(("mail_server_id", "=", self.server_id))
            env["mail.mail"].search(of_server).unlink()
            env["ir.mail_server"].browse(self.server_id).unlink()
            env["mail.lane"].search([("server_id", "=", self.server_id)]).unlink()
            env.cr.commit()  # pylint: disable=invalid-commit

    @contextmanager
    def worker(self):
        """Give the environment of a worker; what he has not committed is rolled back."""
        with closing(self.registry.cursor()) as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})


@tagged("post_install", "-at_install")
class TestTurns(TurnsCase):
    def turn(self, env, **options):
        return env["mail.lane"]._turn(self.server_id, **options)

    def assertFree(self, is_free=True):
        with self.worker() as env, self.turn(env) as turn:
            self.assertEqual(bool(turn), is_free)

    def mails(self, env, count):
        """Write mails that go by the server."""
        values = {
            "email_from": "kevin@odoomommy.com",
            "email_to": "customer@example.net",
            "mail_server_id": self.server_id,
            "auto_delete": False,
        }
        return env["mail.mail"].create([values] * count)

    def overdue_mails(self, env, count, pause=1):
        """Write mails that the server has not taken for 73 hours.

        :param pause: hours that the server pauses from now on
        """
        now = fields.Datetime.now()
        mails = self.mails(env, count)
        mails.flush_recordset()
        env.cr.execute(
            """
            INSERT INTO mail_lane (server_id, failures, failing_since, paused_until, pause_reason)
            VALUES (%(server)s, 80, %(before)s, %(later)s, '421 Busy');
            UPDATE mail_mail SET lane_server_id = %(server)s, waiting_since = %(before)s
             WHERE id = ANY(%(mails)s)
            """,
            {
                "server": self.server_id,
                "mails": mails.ids,
                "before": fields.Datetime.subtract(now, hours=73),
                "later": fields.Datetime.add(now, hours=pause),
            },
        )
        env.cr.commit()  # pylint: disable=invalid-commit
        return mails

    def send_directly(self, env=None):
        """Hand a message to native's method, as addons do.

        :param env: a worker's; a new one's where it is not given
        """
        message = EmailMessage()
        message["From"] = "kevin@odoomommy.com"
        message["To"] = "customer@example.net"
        message.set_content("Hello")
        with nullcontext(env) if env else self.worker() as env:
            env["ir.mail_server"].send_email(message, self.server_id)

    def test_it_ends_with_the_transaction(self):
        with self.worker() as env:
            with self.turn(env, to_the_end=True) as turn:
                self.assertTrue(turn)
            self.assertFree(False)
            env.cr.commit()  # pylint: disable=invalid-commit
            self.assertFree()

    def test_it_ends_although_something_fails_after_the_commit(self):
        def fail():
            raise ZeroDivisionError

        with self.worker() as env:
            env.cr.postcommit.add(fail)
            with self.turn(env, to_the_end=True):
                pass
            with self.assertRaises(ZeroDivisionError):
                env.cr.commit()  # pylint: disable=invalid-commit
            self.assertFree()

    def test_it_ends_with_a_connection_that_is_lost(self):
        def lose():
            with suppress(psycopg2.Error), self.worker() as env:
                with self.turn(env, to_the_end=True):
                    pass
                env.cr._cnx.close()

        lose()
        gc.collect()
        self.assertFreeForStrangers()

    @mute_logger("odoo.sql_db")
    def test_it_ends_although_a_time_limit_strikes_at_its_end(self):
        """A worker's is an exception that may come anywhere; it is no error of PostgreSQL's."""

        def strike(_cr, query, *_arguments):
            if "array_agg" in query:
                raise ZeroDivisionError

        thread = threading.current_thread()
        self.startPatcher(patch.object(thread, "query_hooks", [strike], create=True))
        with self.worker() as env, self.assertRaises(ZeroDivisionError), self.turn(env) as turn:
            turn.hand_over(self.server_id)
        self.assertFreeForStrangers()

    def assertFreeForStrangers(self):
        """Check it by a connection of its own: Odoo's may be the one that has the lock."""
        _db, how = connection_info_for(get_db_name())
        with closing(psycopg2.connect(**how)) as stranger, stranger.cursor() as cr:
            cr.execute("SET lock_timeout = '10s'")
            cr.execute("SELECT pg_advisory_lock(%s, %s)", [mail_lane._SESSION_AT, self.server_id])

    def assertWaits(self, connect):
        """Check that somebody opens no session while another one is at the server, then does.

        :param connect: function that opens one, in a thread of its own
        """
        with self.worker() as env:
            with self.turn(env):
                connecting = threading.Thread(target=connect)
                connecting.start()
                query = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                while connecting.is_alive():
                    env.cr.execute(query)
                    if env.cr.fetchone():
                        break
                self.assertEqual(self.provider.sessions, 0)
            connecting.join()
        self.assertTrue(self.provider.sessions)
        self.assertFree()

    def test_a_message_that_is_sent_directly_waits(self):
        """Never two sessions at one server at once."""
        self.assertWaits(self.send_directly)
        self.assertEqual(len(self.provider.mails), 1)

    def test_asking_the_server_waits(self):
        def ask():
            with self.worker() as env:
                mail = self.mails(env, 1)
                values = {"mail_id": mail.id, "probe_recipient": "me@ohm.example"}
                env["mail.route.explain"].create(values).action_probe()

        self.assertWaits(ask)

    def test_setting_up_a_mailbox_waits(self):
        """The server may be there already, and at work."""

        def set_up():
            with self.worker() as env:
                Trial(
                    env["ir.mail_server"].browse(self.server_id),
                    env["fetchmail.server"],
                    email="kevin@odoomommy.com",
                    mail_from="kevin@odoomommy.com",
                    password="secret",
                    login_hint="",
                    context=None,
                    accepted=(),
                    is_near=lambda _host: True,
                    tell=lambda _steps: None,
                ).run()

        self.assertWaits(set_up)
        self.assertEqual(len(self.provider.mails), 1)

    def test_a_message_that_is_sent_directly_does_not_wait_for_ever(self):
        self.startPatcher(patch.object(mail_lane, "_WAIT_FOR_SESSION", 0.1))
        with self.worker() as env, self.turn(env):
            self.send_directly()
        self.assertEqual(len(self.provider.mails), 1)

    @mute_logger("odoo.sql_db", mail_lane.__name__)
    def test_a_message_has_left_although_the_connection_with_the_lock_is_lost(self):
        """Whoever is told of a failure sends it again."""
        holders = "FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
        lock = [mail_lane._SESSION_AT, self.server_id]
        with self.worker() as env, env["mail.lane"]._alone_at(self.server_id):
            env.cr.execute(f"SELECT pg_terminate_backend(pid) {holders}", lock)
            while env.cr.rowcount:
                env.cr.execute(f"SELECT 1 {holders}", lock)
        self.assertFree()

    @mute_logger(mail_lane.__name__)
    def test_a_message_is_sent_although_no_connection_is_left_for_the_lock(self):
        self.send_directly()  # what the decision needs to know is read once
        with ExitStack() as stack, self.worker() as env:
            pool = sql_db._Pool
            stack.enter_context(patch.object(pool, "_maxconn", len(pool._connections)))
            with suppress(PoolError):
                while True:
                    stack.enter_context(closing(self.registry.cursor()))
            with self.assertRaises(PoolError):
                self.registry.cursor()
            self.send_directly(env)
        self.assertEqual(len(self.provider.mails), 2)

    def test_a_mail_that_waits_for_a_server_without_a_queue_is_found(self):
        """Whoever has the first session at a new server makes no queue: see ``_alone_at``."""
        with self.worker() as env:
            with self.worker() as other, other["mail.lane"]._alone_at(self.server_id):
                mail = self.mails(env, 1)
                mail.send()
                env.cr.commit()  # pylint: disable=invalid-commit
                self.assertEqual(self.provider.sessions, 0)
            env["mail.lane"]._run(time.monotonic() + 60)
            mail.invalidate_recordset()
            self.assertEqual(mail.state, "sent")

    def test_a_lane_waits_no_longer_for_a_login_than_for_a_mail(self):
        """A server that hangs keeps no worker from the others' mail."""
        waits = []

        def note(connection, *arguments):
            waits.append(connection.__obj__.sock.gettimeout())
            smtp_login(connection, *arguments)

        self.startPatcher(patch.object(ir_mail_server, "smtp_login", note))
        with self.worker() as env:
            mail = self.mails(env, 1)
            env.cr.commit()  # pylint: disable=invalid-commit
            env["mail.lane"]._run(time.monotonic() + 60)
            mail.invalidate_recordset()
            self.assertEqual(mail.state, "sent")
            lane = env["mail.lane"].search([("server_id", "=", self.server_id)])
            lane.slow_until = datetime.now() + timedelta(hours=1)
            mail.mark_outgoing()
            env.cr.commit()  # pylint: disable=invalid-commit
            env["mail.lane"]._run(time.monotonic() + 60)
        self.assertEqual(waits, [mail_lane.IMPATIENCE, SMTP_TIMEOUT], "unless it is known as slow")

    def test_what_was_cancelled_or_deleted_meanwhile_is_not_given_up(self):
        with self.worker() as env:
            lanes = type(env["mail.lane"])
            overdue = lanes._overdue_mails
            mails = self.overdue_mails(env, 3)

            def change_meanwhile(*arguments):
                found = overdue(*arguments)
                if len(found) == 3:
                    with self.worker() as other:
                        mails[0].with_env(other).cancel()
                        mails[1].with_env(other).unlink()
                        other.cr.commit()  # pylint: disable=invalid-commit
                return found

            self.startPatcher(patch.object(lanes, "_overdue_mails", change_meanwhile))
            with mute_logger("odoo.sql_db"):
                env["mail.lane"]._run(time.monotonic() + 60)
            mails.invalidate_recordset()
            self.assertEqual(mails.exists().mapped("state"), ["cancel", "exception"])

    def test_whoever_sends_at_once_does_not_wait_for_what_is_given_up(self):
        self.provider.stop()
        with self.worker() as env:
            mails = self.overdue_mails(env, 2, pause=-1)
            self.mails(env, 1).send()
            env.cr.commit()  # pylint: disable=invalid-commit
            self.assertEqual(mails.mapped("state"), ["outgoing"] * 2)
            env["mail.lane"]._run(time.monotonic() + 60)
            mails.invalidate_recordset()
            self.assertEqual(mails.mapped("state"), ["exception"] * 2)

    def test_a_lane_is_called_for_what_waits_while_a_request_has_the_turn(self):
        """A lane that has the turn calls others; a request does not."""
        later = fields.Datetime.add(fields.Datetime.now(), days=1)
        with self.worker() as env:
            lanes = env["mail.lane"]
            self.startPatcher(patch.object(type(lanes), "_now", lambda _lanes: later))
            triggers = env["ir.cron.trigger"].search([("cron_id", "in", lanes._lanes().ids)])
            triggers.unlink()
            lanes._line_up(self.mails(env, 1), self.server_id)
            env.cr.commit()  # pylint: disable=invalid-commit
            with self.worker() as other, self.turn(other):
                lanes._run(time.monotonic() + 60)
            self.assertEqual(self.provider.sessions, 0)
            triggers = triggers.search([("cron_id", "in", lanes._lanes().ids)])
            wait = timedelta(seconds=mail_lane._WAIT_FOR_SESSION + 1)
            self.assertEqual(triggers.mapped("call_at"), [later + wait])
            triggers.unlink()
            env.cr.commit()  # pylint: disable=invalid-commit

    def test_a_lane_sends_through_a_server_that_asks_for_a_certificate(self):
        """pyOpenSSL's socket does not tell its timeout."""
        provider = Provider({}, "any", tls="starttls", require_auth=False)
        self.addCleanup(provider.stop)
        provider.start()
        with TemporaryDirectory() as folder:
            shown, _trusted = write_certificates(Path(folder))
            pem = b64encode(shown.read_bytes())
        with self.worker() as env:
            env["ir.mail_server"].browse(self.server_id).write(
                {
                    "smtp_port": provider.smtp_port,
                    "smtp_encryption": "starttls",
                    "smtp_authentication": "certificate",
                    "smtp_ssl_certificate": pem,
                    "smtp_ssl_private_key": pem,
                }
            )
            mail = self.mails(env, 1)
            env.cr.commit()  # pylint: disable=invalid-commit
            env["mail.lane"]._run(time.monotonic() + 60)
            mail.invalidate_recordset()
            self.assertEqual((mail.state, mail.failure_reason), ("sent", False))

    def test_a_login_without_a_turn_needs_no_socket(self):
        with Delivery().logging_in(object()):
            pass

    def test_what_is_left_to_give_up_need_not_wait_for_the_next_try(self):
        """A lane that had no time for all of them leaves a server that pauses."""
        with self.worker() as env:
            mails = self.overdue_mails(env, 2)
            env["mail.lane"]._run(time.monotonic() + 60)
            mails.invalidate_recordset()
            self.assertEqual(mails.mapped("state"), ["exception"] * 2)
            self.assertIn("421 Busy", mails[0].failure_reason)
        self.assertEqual(self.provider.sessions, 0)

    def test_a_call_of_lanes_is_not_lost_where_they_end_before_its_commit(self):
        """They see nothing of what is not committed, and delete what has called them."""
        with self.worker() as env:
            lanes = env["mail.lane"]._lanes()
            called = env["ir.cron.trigger"].search([("cron_id", "in", lanes.ids)])
            called.unlink()
            for lane in lanes:
                lane._trigger()
            env.cr.commit()  # pylint: disable=invalid-commit
            with self.worker() as request:
                request["ir.cron.trigger"].search_count([("cron_id", "in", lanes.ids)])
                env["ir.cron.trigger"].search([("cron_id", "in", lanes.ids)]).unlink()
                env.cr.commit()  # pylint: disable=invalid-commit
                later = fields.Datetime.add(fields.Datetime.now(), minutes=5)
                request["mail.lane"]._wake()
                request["mail.lane"]._wake()
                request["mail.lane"]._wake(later)
                request.cr.commit()  # pylint: disable=invalid-commit
            env.invalidate_all()
            left = env["ir.cron.trigger"].search([("cron_id", "in", lanes.ids)])
            self.assertEqual([cron.call_at < later for cron in left], [True])
            left.unlink()
            env.cr.commit()  # pylint: disable=invalid-commit

    def test_all_mail_waits_while_the_email_queue_manager_is_turned_off(self):
        with self.worker() as env:
            manager = env.ref("mail.ir_cron_mail_scheduler_action")
            mail = self.mails(env, 1)
            for is_on in (False, True):
                manager.active = is_on
                env.cr.commit()  # pylint: disable=invalid-commit
                env["mail.lane"]._run_lane()
                mail.invalidate_recordset()
                self.assertEqual(mail.state, "sent" if is_on else "outgoing")

    @mute_logger(mail_lane.__name__, "odoo.addons.mail_company_routing.models.mail_routing")
    def test_mail_waits_where_no_connection_is_left(self):
        """Neither writing nor sending needs a second one more urgently than those who wait."""
        with self.worker() as env:
            mail = self.mails(env, 1)
            env.cr.commit()  # pylint: disable=invalid-commit
            with ExitStack() as stack:
                pool = sql_db._Pool
                stack.enter_context(patch.object(pool, "_maxconn", len(pool._connections)))
                with suppress(PoolError):
                    while True:
                        stack.enter_context(closing(self.registry.cursor()))
                self.registry.clear_caches()
                mail.send()
                another = self.mails(env, 1)
            env.cr.commit()  # pylint: disable=invalid-commit
            self.assertEqual(self.provider.sessions, 0)
            env["mail.lane"]._run(time.monotonic() + 60)
            env.invalidate_all()
            self.assertEqual((mail + another).mapped("state"), ["sent", "sent"])

    def test_a_refusal_that_is_raised_is_known_although_its_transaction_is_rolled_back(self):
        """The mail has not arrived, and may be sent again."""
        self.provider.fail("end_of_data", "554 5.7.1 Refused")
        with self.worker() as env:
            mail = self.mails(env, 1)
            env.cr.commit()  # pylint: disable=invalid-commit
            with self.assertRaisesRegex(MailDeliveryException, "554 5.7.1 Refused"):
                mail.send(raise_exception=True)
            env.cr.rollback()
            env["mail.lane"]._run(time.monotonic() + 60)
            mail.invalidate_recordset()
            self.assertEqual(mail.state, "sent")

    def test_a_server_is_known_as_slow_for_a_day_unless_patience_was_in_vain(self):
        with self.worker() as env:
            now = fields.Datetime.now()
            lanes = env["mail.lane"]
            self.startPatcher(patch.object(type(lanes), "_now", lambda _lanes: now))
            waits = []
            for passed in (timedelta(), timedelta(), timedelta(), timedelta(days=1)):
                now += passed
                with self.turn(env) as turn:
                    turn.deadline = time.monotonic() + 60
                    waits.append(turn.patience())
                    turn.fail("It did not answer", is_slow=True)
            patience = mail_lane.IMPATIENCE
            self.assertEqual(waits, [patience, None, patience, patience])

    def test_a_slow_server_has_no_more_mails_decided_than_it_may_take(self):
        with self.worker() as env:
            with self.turn(env) as turn:
                turn.deadline = time.monotonic() - 1  # its time is over
                turn.hand_over(self.server_id)
            mails = self.mails(env, mail_lane._FEWEST_AT_ONCE + 10)
            env.cr.commit()  # pylint: disable=invalid-commit
            env["mail.lane"]._run(time.monotonic() + 60)
            mails.invalidate_recordset()
            self.assertEqual(set(mails.mapped("state")), {"sent"})
            self.assertEqual(self.provider.sessions, 2, "the first turn was not cut off")
            lane = env["mail.lane"].search([("server_id", "=", self.server_id)])
            self.assertFalse(lane.pace)

    def template(self, env):
        values = {
            "name": "Claim",
            "model_id": env["ir.model"]._get_id("res.partner"),
            "subject": "Claim",
            "email_from": "kevin@odoomommy.com",
            "email_to": "customer@example.net",
            "mail_server_id": self.server_id,
            "auto_delete": False,
        }
        template = env["mail.template"].create(values)
        self.addCleanup(self.delete_template, template.id)
        return template

    def delete_template(self, template_id):
        with self.worker() as env:
            env["mail.mail"].search([("mail_server_id", "=", self.server_id)]).unlink()
            env["mail.template"].browse(template_id).exists().unlink()
            env.cr.commit()  # pylint: disable=invalid-commit

    def test_a_request_that_is_repeated_sends_the_mail_of_a_template_once(self):
        """It writes the mail anew each time."""
        tries = []
        with self.worker() as env:
            template = self.template(env)
            partners = env["res.partner"].search([], limit=2)
            env.cr.commit()  # pylint: disable=invalid-commit

            def request():
                tries.append(1)
                for partner in partners:
                    template.send_mail(partner.id, force_send=True)
                if len(tries) == 1:
                    env.cr.execute("DO 'BEGIN RAISE serialization_failure; END'")

            with mute_logger("odoo.sql_db"), patch("time.sleep"):
                retrying(request, env)
            seen = len(tries), len(self.provider.mails), self.provider.sessions
            self.assertEqual(seen, (2, 2, 1))
            mails = env["mail.mail"].search([("mail_server_id", "=", self.server_id)])
            self.assertEqual(mails.mapped("state"), ["sent", "sent"])

    def test_a_request_that_is_repeated_sends_the_mails_of_mass_mode_once(self):
        with self.worker() as env:
            template = self.template(env)
            partners = env["res.partner"].search([], limit=2)
            composer = env["mail.compose.message"].with_context(active_ids=partners.ids)
            composer = composer.create(
                {
                    "composition_mode": "mass_mail",
                    "model": "res.partner",
                    "template_id": template.id,
                    "subject": "Claim",
                    "body": "Hello",
                    "email_from": "kevin@odoomommy.com",
                    "mail_server_id": self.server_id,
                }
            )
            composer.action_send_mail()
            self.assertEqual(self.provider.sessions, 0)
            env.cr.rollback()
            self.assertEqual(self.provider.sessions, 0)

    def test_who_wants_to_be_told_of_a_failure_gets_it_in_the_request(self):
        self.provider.fail("rcpt", "554 5.7.1 Refused")
        with self.worker() as env:
            template = self.template(env)
            env.cr.commit()  # pylint: disable=invalid-commit
            partner = env["res.partner"].search([], limit=1)
            with self.assertRaisesRegex(MailDeliveryException, "554 5.7.1 Refused"):
                template.send_mail(partner.id, force_send=True, raise_exception=True)

    def test_a_turn_ends_at_the_commit_although_it_was_taken_in_an_attempt_that_failed(self):
        with self.worker() as env:
            with suppress(ZeroDivisionError), attempt(env.cr):
                with self.turn(env, to_the_end=True):
                    env.cr.postcommit.add(lambda: self.fail("what was undone is announced"))
                raise ZeroDivisionError
            self.assertFree(False)
            env.cr.commit()  # pylint: disable=invalid-commit
            self.assertFree()
