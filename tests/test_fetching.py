# SPDX-License-Identifier: LGPL-3.0-only
"""A mailbox is emptied once, whatever breaks: nothing is lost, and nothing is there twice."""

import socket
import socketserver
import threading
from email.message import EmailMessage
from email.utils import make_msgid

import odoo
from odoo import SUPERUSER_ID, api
from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tests.common import BaseCase, get_db_name
from odoo.tools import mute_logger

from odoo.addons.mail.models.fetchmail import MAIL_TIMEOUT

from ..dev.provider import Provider
from ..models import fetch_session
from .common import CUSTOMER, MailRoutingCase

QUIET = (
    "odoo.addons.mail.models.fetchmail",
    "odoo.addons.mail.models.mail_thread",
    "odoo.addons.mail_company_routing.models.fetchmail_server",
    "odoo.addons.mail_company_routing.models.mail_thread",
    "odoo.addons.mail_company_routing.models.mail_unprocessed",
    "odoo.sql_db",
)


class Door(socketserver.ThreadingTCPServer):
    """A door in front of a provider's IMAP or POP3 that breaks a session off.

    :param port: the provider's
    :param word: in a client's line; the session breaks off instead of that line being answered
    :param after: bytes of the answer that still pass; None: the line does not get to the provider
    :param at: is called when it happens
    :param instead: what the line is answered instead, without breaking off
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port, word=b"", *, after=None, at=None, instead=None, times=1):
        super().__init__(("127.0.0.1", 0), _DoorSession)
        self.behind, self.word, self.after, self.at = port, word, after, at
        self.instead, self.times = instead, times
        self.sessions = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def close(self):
        self.shutdown()
        self.server_close()


class _DoorSession(socketserver.StreamRequestHandler):
    def handle(self):
        door = self.server
        door.sessions += 1
        self.left = None
        with socket.create_connection(("127.0.0.1", door.behind)) as behind:
            threading.Thread(target=self._pass_on, args=(behind,), daemon=True).start()
            for line in self.rfile:
                if door.word and door.word in line and door.times:
                    door.times -= 1
                    if door.at:
                        door.at()
                    if door.instead:
                        self.wfile.write(line.split()[0] + b" " + door.instead + b"\r\n")
                        continue
                    if door.after is None:
                        break
                    self.left = door.after
                behind.sendall(line)
        self._hang_up()

    def _pass_on(self, behind):
        try:
            while data := behind.recv(65536):
                if self.left is not None:
                    data, self.left = data[: self.left], self.left - len(data)
                self.wfile.write(data)
                if self.left is not None and self.left <= 0:
                    return self._hang_up()
        except (OSError, ValueError):
            return None

    def _hang_up(self):
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class Flooding(socketserver.ThreadingTCPServer):
    """An IMAP or POP3 server that answers one command by far too much.

    :param word: the command
    :param begins: what its answer begins with
    :param chunk: what then comes again and again
    :param size: bytes after which the answer ends all the same
    :param ends: how
    :param pause: seconds between two chunks; None: they come as fast as they can
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, word, begins, chunk, size, ends, pause=None):
        super().__init__(("127.0.0.1", 0), _FloodingSession)
        self.word, self.begins, self.chunk, self.size, self.ends = word, begins, chunk, size, ends
        self.pause = pause
        self.told = 0
        self.done, self.stopped = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.stopped.set()
        self.shutdown()
        self.server_close()


class _FloodingSession(socketserver.StreamRequestHandler):
    def handle(self):
        server = self.server
        imap = not server.ends.startswith(b".")
        if server.word == b"greeting":
            self.flood(b"")
            return server.done.set()
        self.wfile.write(b"* OK ready\r\n" if imap else b"+OK ready\r\n")
        for line in self.rfile:
            tag, *rest = line.split()
            verb = (rest[0] if imap else tag).upper()
            if verb == server.word:
                try:
                    self.flood(tag)
                finally:
                    server.done.set()
                continue
            if verb == b"CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            if verb == b"SELECT":
                self.wfile.write(b"* 1 EXISTS\r\n")
            if verb == b"STAT":
                self.wfile.write(b"+OK 1 9\r\n")
            elif verb == b"LIST":
                self.wfile.write(b"+OK\r\n1 9\r\n.\r\n")
            else:
                self.wfile.write(tag + b" OK done\r\n" if imap else b"+OK\r\n")

    def flood(self, tag):
        server = self.server
        self.wfile.write(server.begins)
        many = server.chunk * (1 if server.pause else 65536 // len(server.chunk))
        try:
            while server.told < server.size:
                self.wfile.write(many)
                server.told += len(many)
                if server.pause:
                    server.stopped.wait(server.pause)
            self.wfile.write(server.ends.replace(b"TAG", tag))
        except OSError:
            return


class FetchingCase(MailRoutingCase):
    def setUp(self):
        super().setUp()
        self.at = self.provider(
            {"kevin@odoomommy.com": "secret", "lee@odoomommy.com": "secret"},
            "any",
            imap=True,
            pop3=True,
        )
        self.env["mail.alias"].create(
            {
                "alias_name": "kevin",
                "alias_model_id": self.env["ir.model"]._get_id("mail.channel"),
                "alias_contact": "everyone",
            }
        )

    def door(self, *args, **options):
        door = Door(*args, **options)
        self.addCleanup(door.close)
        return door

    def mailbox(self, kind="imap", login="kevin@odoomommy.com", port=None, **values):
        port = port or (self.at.imap_port if kind == "imap" else self.at.pop3_port)
        return self.incoming_server(self.at, login, server_type=kind, port=port, **values)

    def records(self):
        return self.env["mail.channel"].search([("name", "like", "Enquiry")]).mapped("name")

    def kept(self):
        return self.env["mail.unprocessed"].search([])


@tagged("post_install", "-at_install")
class TestBrokenOff(FetchingCase):
    """Two mailboxes; the first breaks off, whichever command it is at."""

    def check(self, kind, word, **options):
        behind = self.at.imap_port if kind == "imap" else self.at.pop3_port
        door = self.door(behind, word, **options)
        broken = self.mailbox(kind, port=door.port, priority=1)
        whole = self.mailbox(kind, "lee@odoomommy.com", priority=2)
        for number in (1, 2, 3):
            self.write_to(self.at, "kevin@odoomommy.com", f"Enquiry {number}")
        message = EmailMessage()
        message["From"], message["To"] = CUSTOMER, "kevin@odoomommy.com"
        message["Subject"], message["Message-ID"] = "Enquiry of Lee", make_msgid()
        self.at.deliver("lee@odoomommy.com", message.as_bytes())
        self.fetch(broken + whole)
        self.assertEqual(door.times, 0, "it did not break")
        self.assertIn("Enquiry of Lee", self.records(), "the other mailbox was not fetched")
        for _run in range(2):
            self.fetch(broken + whole)
        self.assertEqual(
            sorted(self.records()),
            ["Enquiry 1", "Enquiry 2", "Enquiry 3", "Enquiry of Lee"],
        )
        self.assertFalse(self.kept())
        (broken + whole).unlink()
        self.env["mail.channel"].search([("name", "like", "Enquiry")]).unlink()

    @mute_logger(*QUIET)
    def test_imap_at_any_command(self):
        for word in (b"LOGIN", b"SELECT", b"SEARCH", b"FETCH", b"FLAGS", b"CLOSE", b"LOGOUT"):
            with self.subTest(word):
                self.check("imap", word)

    @mute_logger(*QUIET)
    def test_imap_in_the_middle_of_an_answer(self):
        for word in (b"SELECT", b"SEARCH", b"FETCH", b"FLAGS", b"CLOSE"):
            with self.subTest(word):
                self.check("imap", word, after=9)
        with self.subTest("a message's body"):
            self.check("imap", b"FETCH", after=200)

    @mute_logger(*QUIET)
    def test_pop3_at_any_command(self):
        for word in (b"USER", b"PASS", b"STAT", b"LIST", b"RETR", b"DELE", b"QUIT"):
            with self.subTest(word):
                self.check("pop", word)

    @mute_logger(*QUIET)
    def test_pop3_in_the_middle_of_an_answer(self):
        for word in (b"STAT", b"RETR", b"DELE", b"QUIT"):
            with self.subTest(word):
                self.check("pop", word, after=2)
        with self.subTest("a message's body"):
            self.check("pop", b"RETR", after=200)

    @mute_logger(*QUIET)
    def test_a_goodbye_that_always_fails_ends_all_the_same(self):
        door = self.door(self.at.pop3_port, b"QUIT", times=1000)
        mailbox = self.mailbox("pop", port=door.port)
        for number in range(51):  # native comes again for what is beyond 50
            self.write_to(self.at, "kevin@odoomommy.com", f"Enquiry {number}")
        self.fetch(mailbox)
        self.fetch(mailbox)
        self.assertEqual(len(self.records()), 50)
        door.times = 0
        self.fetch(mailbox)
        self.assertEqual(len(self.records()), 51)
        self.assertEqual(len(set(self.records())), 51)

    @mute_logger(*QUIET)
    def test_a_mail_without_message_id_is_the_same_one_when_it_comes_again(self):
        for kind, word in (("imap", b"FLAGS"), ("pop", b"QUIT")):
            with self.subTest(kind):
                behind = self.at.imap_port if kind == "imap" else self.at.pop3_port
                login = "kevin@odoomommy.com" if kind == "imap" else "lee@odoomommy.com"
                mailbox = self.mailbox(kind, login, port=self.door(behind, word).port)
                raw = b"From: %s\r\nTo: kevin@odoomommy.com\r\nSubject: Enquiry %s\r\n\r\nHello"
                self.at.deliver(login, raw % (CUSTOMER.encode(), kind.encode()))
                for _run in range(3):
                    self.fetch(mailbox)
                self.assertEqual(self.records().count(f"Enquiry {kind}"), 1)

    @mute_logger(*QUIET)
    def test_a_line_longer_than_poplib_reads(self):
        mailbox = self.mailbox("pop")
        raw = b"From: %s\r\nTo: kevin@odoomommy.com\r\nSubject: Enquiry\r\n\r\n%s\r\n.\r\nend"
        self.at.deliver("kevin@odoomommy.com", raw % (CUSTOMER.encode(), b"x" * 100_000))
        self.write_to(self.at, "kevin@odoomommy.com", "Enquiry behind it")
        self.fetch(mailbox)
        self.assertEqual(sorted(self.records()), ["Enquiry", "Enquiry behind it"])


@tagged("post_install", "-at_install")
class TestKept(FetchingCase):
    """What Odoo cannot process is there to be read, once."""

    POISON = (
        b"Subject: =?utf-8?q?a=00b?=\r\n\r\nHello",
        b"Subject: Enquiry\r\nX: \x00\r\n\r\na\x00b",
        b"Subject: \xff\xfe\xed\xa0\x80\r\n\r\nHello",
        b"Subject: Enquiry\r\nContent-Type: text/plain; charset=nowhere\r\n\r\n\xe4\xf6",
        b"Subject: =?nowhere?b?////?=\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
        b"Subject: Enquiry\r\nContent-Type: multipart/mixed\r\n\r\n--x\r\n",
        b"Subject: Enquiry\r\nContent-Type: message/rfc822\r\n\r\n",
        b"Date: 99 99 99\r\nMessage-Id: \x00<\r\nSubject\r\n",
        b"",
    )

    def poison(self, number):
        sender = b"From: %s\r\nTo: nobody@odoomommy.com\r\n" % CUSTOMER.encode()
        return sender + self.POISON[number]

    @mute_logger(*QUIET)
    def test_whatever_is_in_it(self):
        for kind in ("imap", "pop"):
            login = "kevin@odoomommy.com" if kind == "imap" else "lee@odoomommy.com"
            mailbox = self.mailbox(kind, login)
            for number, _poison in enumerate(self.POISON):
                self.at.deliver(login, self.poison(number))
            for _run in range(2):
                self.fetch(mailbox)
            kept = self.kept().filtered(lambda mail, box=mailbox: mail.fetchmail_server_id == box)
            self.assertEqual(len(kept), len(self.POISON), kept.mapped("reason"))
            for mail in kept:
                self.assertTrue(mail.reason)
                self.assertTrue(mail.raw)

    @mute_logger(*QUIET)
    def test_it_is_kept_once_though_it_comes_again(self):
        for number in (0, 3):
            door = self.door(self.at.imap_port, b"FLAGS")
            mailbox = self.mailbox("imap", port=door.port)
            self.at.deliver("kevin@odoomommy.com", self.poison(number))
            for _run in range(3):
                self.fetch(mailbox)
            self.assertEqual(len(self.kept()), 1)
            self.kept().unlink()
            mailbox.unlink()

    @mute_logger(*QUIET)
    def test_a_mail_that_is_gone_stops_nothing(self):
        for number in (1, 2, 3):
            self.write_to(self.at, "kevin@odoomommy.com", f"Enquiry {number}")
        # a colleague deleted it meanwhile
        door = self.door(self.at.imap_port, b"FETCH 2 ", instead=b"NO no longer there", times=2)
        mailbox = self.mailbox("imap", port=door.port)
        for _run in range(2):
            self.fetch(mailbox)
        self.assertEqual(sorted(self.records()), ["Enquiry 1", "Enquiry 3"])

    @mute_logger(*QUIET)
    def test_an_upgrade_that_was_taken_back_once(self):
        """The column of an earlier version is there beside the one that took its place."""
        self.env.cr.execute("ALTER TABLE mail_unprocessed ADD COLUMN reason text")
        module = {"module": "mail_company_routing"}
        self.registry.init_models(self.env.cr, ["mail.unprocessed"], module)

    def test_nobody_but_fetching_keeps(self):
        mailbox = self.mailbox("imap")
        thread = self.env["mail.thread"].with_user(self.lingsha)
        for context in (
            {"default_fetchmail_server_id": mailbox.id},
            {"default_fetchmail_server_id": mailbox.id, "fetchmail_cron_running": True},
            {"mail_company_routing_fetching": True},
            {"mail_company_routing_fetching": {"server_id": mailbox.id, "raw": ""}},
        ):
            with self.assertRaises(ValueError):
                thread.with_context(**context).message_process(False, self.poison(8))
        self.assertFalse(self.kept())

    @mute_logger(*QUIET)
    def test_what_a_failed_mail_announced_is_taken_back(self):
        self.write_to(self.at, "kevin@odoomommy.com", "Enquiry")
        sent = []

        def broken(thread, *args, **kwargs):
            thread.env.cr.postcommit.add(lambda: sent.append("a mail of no document"))
            raise ValueError("broken")

        self.patch(type(self.env["mail.channel"]), "message_new", broken)
        waiting = len(self.env.cr.postcommit._funcs)
        self.fetch(self.mailbox("imap"))
        self.assertEqual(len(self.kept()), 1)
        self.assertEqual(len(self.env.cr.postcommit._funcs), waiting)

    @mute_logger(*QUIET)
    def test_what_a_mail_has_sent_waits_until_it_is_marked(self):
        self.mail_server(self.at, "lee@odoomommy.com")
        create = type(self.env["mail.channel"]).message_new
        broken, sent_before_mark = [], []

        def answering(thread, *args, **kwargs):
            values = {"email_from": "lee@odoomommy.com", "email_to": CUSTOMER, "subject": "Answer"}
            thread.env["mail.mail"].create({**values, "auto_delete": False}).send()
            if broken:
                raise ValueError("broken")
            return create(thread, *args, **kwargs)

        self.patch(type(self.env["mail.channel"]), "message_new", answering)
        for kind, word in (("imap", b"+FLAGS"), ("pop", b"DELE")):
            behind = self.at.imap_port if kind == "imap" else self.at.pop3_port
            login = "kevin@odoomommy.com" if kind == "imap" else "lee@odoomommy.com"
            raw = b"From: %s\r\nTo: kevin@odoomommy.com\r\nSubject: Enquiry\r\n\r\n%s"
            for fails in (False, True):
                with self.subTest(f"{kind}, broken: {fails}"):
                    broken[:] = [True] * fails
                    before = len(self.at.mails)
                    door = self.door(
                        behind,
                        word,
                        at=lambda: sent_before_mark.append(len(self.at.mails)),
                        after=1_000_000,
                    )
                    mailbox = self.mailbox(kind, login, port=door.port)
                    self.at.deliver(login, raw % (CUSTOMER.encode(), str(fails).encode()))
                    self.fetch(mailbox)
                    self.assertEqual(sent_before_mark.pop(), before, "sent before the commit")
                    self.assertEqual(len(self.at.mails) - before, not fails)
                    mailbox.unlink()


@tagged("post_install", "-at_install")
class TestConnection(FetchingCase):
    def test_no_library_is_changed(self):
        from imaplib import IMAP4

        from odoo.addons.mail_company_routing.models import fetchmail_server

        created = IMAP4._create_socket
        self.assertFalse(hasattr(fetchmail_server, "_create_socket"))
        self.assertNotIn("mail_company_routing", created.__module__)

    def test_every_step_is_bounded(self):
        for kind in ("imap", "pop"):
            session = self.mailbox(kind).connect()
            self.assertEqual(session.__obj__.sock.gettimeout(), MAIL_TIMEOUT)
            session.logout() if kind == "imap" else session.quit()

    def test_a_password_beyond_ascii(self):
        self.at.add_account("kevin@odoomommy.com", "Größe 密码")
        self.write_to(self.at, "kevin@odoomommy.com")
        self.fetch(self.mailbox(password="Größe 密码"))
        self.assertEqual(self.records(), ["Enquiry"])

    def test_outside_fetching_nothing_is_committed(self):
        self.write_to(self.at, "kevin@odoomommy.com")
        session = self.mailbox().connect()
        self.patch(self.env.cr, "commit", lambda: self.fail("committed"))
        session.select()
        session.store("1", "+FLAGS", "\\Seen")
        session.close()
        session.logout()


@tagged("post_install", "-at_install")
class TestEndless(FetchingCase):
    """A server that never stops costs its own mails, and neither memory nor a worker."""

    MEGABYTE = 1024 * 1024

    def flooding(self, *args, **options):
        server = Flooding(*args, **options)
        self.addCleanup(server.close)
        return server

    @mute_logger(*QUIET)
    def check(self, server, kind):
        """Fetch from it beside a mailbox that is well."""
        flooding = self.mailbox(kind, port=server.server_address[1], name="Flooding")
        before = len(self.records())
        self.write_to(self.at, "kevin@odoomommy.com")
        self.fetch(flooding + self.mailbox())
        self.assertTrue(server.done.wait(60))
        self.assertLess(server.told, server.size, "all of it was read")
        self.assertEqual(len(self.records()), before + 1, "the other mailbox was not fetched")

    def test_imap_lines(self):
        line = b"* OK still there" + b"." * 5000 + b"\r\n"
        server = self.flooding(b"SEARCH", b"", line, 64 * self.MEGABYTE, b"TAG OK done\r\n")
        self.check(server, "imap")

    def test_imap_short_lines(self):
        server = self.flooding(
            b"SEARCH", b"", b"* OK\r\n", 16 * self.MEGABYTE - 1, b"TAG OK done\r\n"
        )
        self.check(server, "imap")

    def test_an_imap_mail_larger_than_any(self):
        """It is refused as soon as its size is told."""
        server = self.flooding(
            b"FETCH", b"* 1 FETCH (BODY[] {3000000000}\r\n", b"x", 64 * self.MEGABYTE, b"\r\n"
        )
        flooding = self.mailbox(port=server.server_address[1])
        session = flooding.connect()
        session.select()
        with self.assertRaisesRegex(OSError, "an answer of more than"):
            session.fetch("1", "(RFC822)")
        self.assertTrue(server.done.wait(60))
        self.assertLess(server.told, server.size, "all of it was read")

    def test_pop3(self):
        self.patch(fetch_session, "_MOST_LINES", 100_000)
        for word in (b"RETR", b"LIST"):
            server = self.flooding(word, b"+OK\r\n", b"a: b\r\n", 16 * self.MEGABYTE, b".\r\n")
            self.check(server, "pop")

    @mute_logger(*QUIET)
    def test_a_mail_that_is_too_large_locks_no_mailbox_up(self):
        """It is kept, once, as far as it came; what is behind it is fetched."""
        self.patch(fetch_session, "_LARGEST_MAIL", 100_000)
        self.patch(fetch_session, "_START_OF_MAIL", 5000)
        raw = b"From: %s\r\nTo: kevin@odoomommy.com\r\nSubject: Enquiry %s\r\n\r\n%s"
        for kind, login in (("imap", "kevin@odoomommy.com"), ("pop", "lee@odoomommy.com")):
            with self.subTest(kind):
                mailbox = self.mailbox(kind, login)
                text = b"a line of it\r\n" * 20_000
                self.at.deliver(login, raw % (CUSTOMER.encode(), b"too large", text))
                self.at.deliver(login, raw % (CUSTOMER.encode(), kind.encode(), b"Hello"))
                for _run in range(2):
                    self.fetch(mailbox)
                self.assertEqual(self.records().count(f"Enquiry {kind}"), 1)
                kept = self.kept().filtered(
                    lambda mail, box=mailbox: mail.fetchmail_server_id == box
                )
                self.assertEqual(kept.mapped("subject"), ["Enquiry too large"])
                self.assertIn("too large", kept.reason)
                self.assertLess(len(kept.raw), 10_000)
                unread = mailbox.connect()
                if kind == "imap":
                    unread.select()
                    self.assertEqual(unread.search(None, "UNSEEN")[1], [b""])
                    unread.logout()
                else:
                    self.assertEqual(unread.stat()[0], 1, "it was deleted unread")
                    unread.quit()
        self.assertNotIn("Enquiry too large", self.records())

    @mute_logger(*QUIET)
    def test_fetching_ends_where_every_mail_is_too_large(self):
        """Native comes again as long as there are 50 mails that did not fail."""
        self.patch(fetch_session, "_LARGEST_MAIL", 1000)
        for number in range(51):
            raw = b"Subject: %d\r\n\r\n" % number + b"a line of it\r\n" * 100
            self.at.deliver("kevin@odoomommy.com", raw)
        self.fetch(self.mailbox("pop"))
        self.assertEqual(len(self.kept()), 50)

    def test_pop3_before_the_login_is_done(self):
        """Each byte comes before the socket's time-out, and the line never ends."""
        self.patch(fetch_session, "_LONGEST_ANSWER", 0.5)
        for word in (b"greeting", b"USER", b"PASS"):
            with self.subTest(word):
                server = self.flooding(word, b"+OK ", b".", 1000, b".\r\n", pause=0.01)
                mailbox = self.mailbox("pop", port=server.server_address[1])
                with self.assertRaises(TimeoutError):
                    mailbox.connect()
                self.assertTrue(server.done.wait(60))
                self.assertLess(server.told, server.size, "all of it was waited for")

    def test_an_archived_mailbox_is_refused(self):
        for kind in ("imap", "pop"):
            mailbox = self.mailbox(kind, active=False)
            with self.assertRaisesRegex(UserError, "archived"):
                mailbox.connect()
            session = mailbox.connect(allow_archived=True)
            session.logout() if kind == "imap" else session.quit()

    def test_each_answer_is_counted_for_itself(self):
        self.patch(fetch_session, "_MOST_LINES", 20)
        self.patch(fetch_session, "_MOST_RESPONSES", 20)
        for kind in ("imap", "pop"):
            for number in range(8):
                self.write_to(self.at, "kevin@odoomommy.com", subject=f"Enquiry {kind} {number}")
            self.fetch(self.mailbox(kind))
        self.assertEqual(len(self.records()), 16)


@tagged("post_install", "-at_install")
class TestCommitted(BaseCase):
    """With real commits, seen by another connection to the database."""

    door = FetchingCase.door

    def setUp(self):
        super().setUp()
        self.registry = odoo.registry(get_db_name())
        self.logins = {"imap": "kevin@odoomommy.com", "pop": "lee@odoomommy.com"}
        accounts = dict.fromkeys(self.logins.values(), "secret")
        self.at = Provider(accounts, "any", imap=True, pop3=True)
        self.addCleanup(self.at.start().stop)
        self.made = []
        self.addCleanup(self.remove)

    def remove(self):
        with self.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            env["mail.unprocessed"].search([("email_from", "like", "committed@")]).unlink()
            env["fetchmail.server"].browse(self.made).unlink()
            env["res.partner"].search([("email", "=", "committed@example.net")]).unlink()

    def count(self):
        with self.registry.cursor() as cr:
            cr.execute("SELECT count(*) FROM mail_unprocessed WHERE email_from LIKE 'committed@%%'")
            return cr.fetchone()[0]

    def make(self, kind, port):
        with self.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            server = env["fetchmail.server"].create(
                {
                    "name": "Committed",
                    "server_type": kind,
                    "server": "127.0.0.1",
                    "port": port,
                    "user": self.logins[kind],
                    "password": "secret",
                    "state": "done",
                }
            )
            self.made += server.ids
            return server.id

    def fetch_for_real(self, server_id):
        with self.registry.cursor() as cr:
            api.Environment(cr, SUPERUSER_ID, {})["fetchmail.server"].browse(server_id).fetch_mail()

    def deliver(self, kind, text=b"Hello"):
        raw = b"From: committed@example.net\r\nTo: nobody@x.com\r\nSubject: x\r\n\r\n" + text
        self.at.deliver(self.logins[kind], raw)

    @mute_logger(*QUIET)
    def test_before_it_is_marked(self):
        for kind, word in (("imap", b"FLAGS"), ("pop", b"DELE")):
            with self.subTest(kind):
                before = []
                behind = self.at.imap_port if kind == "imap" else self.at.pop3_port
                door = self.door(behind, word, at=lambda seen=before: seen.append(self.count()))
                server_id = self.make(kind, door.port)
                self.deliver(kind)
                for _run in range(3):
                    self.fetch_for_real(server_id)
                self.assertEqual(before, [1])
                self.assertEqual(self.count(), 1)
                self.remove()
                self.made = []

    @mute_logger(*QUIET)
    def test_two_who_fetch_at_once(self):
        server_id = self.make("imap", 0)

        def fetch_too():
            self.fetch_for_real(server_id)

        door = self.door(self.at.imap_port, b"FLAGS", at=fetch_too, after=1_000_000)
        with self.registry.cursor() as cr:
            api.Environment(cr, SUPERUSER_ID, {})["fetchmail.server"].browse(
                server_id
            ).port = door.port
        for text in (b"one", b"two"):
            self.deliver("imap", text)
        self.fetch_for_real(server_id)
        self.assertEqual(door.times, 0)
        self.assertEqual(door.sessions, 1, "both fetched")
        self.assertEqual(self.count(), 2)
        self.fetch_for_real(server_id)
        self.assertEqual(door.sessions, 2, "nobody can fetch any more")

    @mute_logger(*QUIET)
    def test_another_addon_that_breaks_the_transaction(self):
        def broken(thread, *args, **kwargs):
            thread.env.cr.execute("SELECT broken FROM nowhere")

        server_id = self.make("imap", self.at.imap_port)
        self.deliver("imap")
        self.patch(self.registry["mail.thread"], "message_process", broken)
        self.fetch_for_real(server_id)
        self.assertEqual(self.count(), 1)

    @mute_logger(*QUIET)
    def test_what_somebody_else_writes_meanwhile_costs_no_mail(self):
        with self.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            partner = env["res.partner"].create({"name": "x", "email": "committed@example.net"})
        native = self.registry["mail.thread"].message_route
        collisions = []

        def route(thread, *args, **kwargs):
            if not collisions:
                collisions.append(True)
                thread.env.cr.execute("SELECT 1")  # the transaction sees the past from here on
                with self.registry.cursor() as other:
                    other.execute("UPDATE res_partner SET ref = 'a' WHERE id = %s", [partner.id])
                thread.env.cr.execute("UPDATE res_partner SET ref='b' WHERE id=%s", [partner.id])
            return native(thread, *args, **kwargs)

        self.patch(self.registry["mail.thread"], "message_route", route)
        for kind in ("imap", "pop"):
            with self.subTest(kind):
                collisions.clear()
                port = self.at.imap_port if kind == "imap" else self.at.pop3_port
                server_id = self.make(kind, port)
                self.deliver(kind)
                self.fetch_for_real(server_id)
                self.assertEqual(self.count(), 0, "kept, though nothing was wrong with it")
                self.fetch_for_real(server_id)
                self.assertEqual(self.count(), 1)
                with self.registry.cursor() as cr:
                    env = api.Environment(cr, SUPERUSER_ID, {})
                    env["mail.unprocessed"].search([("email_from", "like", "committed@")]).unlink()
