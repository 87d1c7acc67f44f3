# SPDX-License-Identifier: LGPL-3.0-only
"""The SMTP session against a server on a real socket that keeps to a script.

What the session says of a mail (it is there, it is not, it may be) is held against what the server
has really taken. ``fail`` breaks the server as ``dev/provider.py`` does, and in more ways.
"""

import contextlib
import copy
import select
import smtplib
import socket
import ssl
import threading
from collections import Counter
from email.message import EmailMessage
from email.policy import SMTP
from typing import NamedTuple

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.contrib.pyopenssl import PyOpenSSLContext

from smtp import Replies, SmtpSession, UnsafeHeader

PATIENCE = 10.0
LOCKSTEP = ("SIZE 10000000", "8BITMIME", "SMTPUTF8")
PIPELINING = ("PIPELINING", *LOCKSTEP)
CHUNKING = ("CHUNKING", *PIPELINING)
MODES = {"lockstep": LOCKSTEP, "pipelining": PIPELINING, "chunking": CHUNKING}
TOGETHER = ["pipelining", "chunking"]

BAD_REPLIES = {
    "garbage": b"\x16\x03\x01 what?\r\n",
    "nul": b"451 4.0.0 \0 no\r\n",
    "long": b"250-" + b"x" * 10000 + b"\r\n",
    "endless": b"250-wait\r\n" * 1000 + b"250 ok\r\n",
    "slow": b"250-wait\r\n" * 50 + b"250 ok\r\n",
    "heavy": (b"250-" + b"x" * 8000 + b"\r\n") * 90 + b"250 ok\r\n",
    "codes": b"550-no\r\n250 yes\r\n",
    "421": b"421 4.3.2 closing\r\n",
    "451": b"451 4.3.0 try later\r\n",
    "550": b"550 5.7.1 no\r\n",
}


class Taken(NamedTuple):
    sender: str
    recipients: tuple
    content: bytes


class Gone(Exception):
    """The connection is over."""


class Server:
    """An SMTP server that can be told to break; it serves until its clients have gone.

    :param extensions: what it announces
    :param eager: whether each answer is written at once, or with those to the commands that have
        come in already (RFC 2920 3.2)
    :param small: whether its buffers are, so that it stops reading when its answers are not read
    :param tls: context to speak TLS with, from the first byte on
    :ivar taken: the mails that it has taken
    :ivar received: the bytes that clients sent
    """

    def __init__(self, extensions=LOCKSTEP, *, eager=True, small=False, tls=None):
        self.extensions = extensions
        self.eager = eager
        self.small = small
        self.tls = tls
        self.taken = []
        self.received = b""
        self.faults = {}
        self.struck = []
        self.conversation = Conversation
        self._counts = Counter()
        self._threads = []

    def __enter__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        if self.small:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        self.address = self._listening.getsockname()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_exc):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.wait()

    def wait(self):
        """Wait until all that clients have sent is worked off; they have to have closed."""
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def fail(self, phase, action, after=0):
        """Break a phase's occurrence after so many: mail, rcpt, data, end, between, rset.

        Actions: a name in ``BAD_REPLIES`` or a reply, ``last`` before it where it is the last one;
        ``hang``, ``drop``; ``twice``: the answer is given two times; ``mute``: it is not given;
        ``forget``: what else has come in is forgotten; of the end ``take_then_drop``,
        ``take_then_hang``, ``take_then_garbage``.
        """
        self.faults[phase, after] = action

    def _accept(self):
        while True:
            try:
                sock, _address = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=[sock], daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, sock):
        try:
            with contextlib.suppress(OSError, Gone):
                if self.tls:
                    sock = self.tls.wrap_socket(sock, server_side=True)
                self.conversation(self, sock).run()
        finally:
            with contextlib.suppress(OSError):
                sock.close()

    def _strikes(self, phase):
        """Give the action for this occurrence of a phase, None for none."""
        number = self._counts[phase]
        self._counts[phase] += 1
        action = self.faults.pop((phase, number), None)
        if action:
            self.struck.append((phase, action))
        return action


class Conversation:
    """One client's connection to a :class:`Server`."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.read = b""
        self.unwritten = b""
        self.forget()

    def forget(self):
        self.sender = None
        self.recipients = []

    def run(self):
        self.say(b"220 ready\r\n")
        while True:
            line = self.line()
            verb = line[:4].lower().decode("ascii", "replace").strip()
            getattr(self, f"on_{verb}", self.on_unknown)(line)

    def line(self):
        while b"\r\n" not in self.read:
            self.more()
        line, _, self.read = self.read.partition(b"\r\n")
        return line

    def more(self):
        self.flush()
        data = self.sock.recv(4096)
        if not data:
            raise Gone
        self.server.received += data
        self.read += data

    def say(self, reply):
        self.unwritten += reply
        if self.server.eager:
            self.flush()

    def flush(self):
        unwritten, self.unwritten = self.unwritten, b""
        self.sock.sendall(unwritten)

    def answer(self, phase, reply, action=None):
        """Give an answer, or what the script has in its place.

        :return: whether it was the usual one
        """
        action = action or self.server._strikes(phase)
        if action in (None, "none", "twice", "forget"):
            self.say(reply * (2 if action == "twice" else 1))
            if action == "forget":
                self.read = b""
            return True
        if action == "mute":
            return True
        if action == "drop":
            raise Gone
        if action == "hang":
            self.flush()
            while self.sock.recv(65536):
                pass
            raise Gone
        reply = action.removeprefix("last ")
        self.say(BAD_REPLIES.get(reply) or reply.encode() + b"\r\n")
        if reply != action or action == "421":
            self.flush()
            raise Gone
        return False

    def on_ehlo(self, _line):
        lines = ["me", *self.server.extensions]
        self.say(
            b"".join(
                b"250%s%s\r\n" % (b" " if text is lines[-1] else b"-", text.encode())
                for text in lines
            )
        )

    def on_mail(self, line):
        if self.sender is not None:
            self.say(b"503 5.5.1 nested MAIL\r\n")
        elif self.answer("mail", b"250 2.1.0 ok\r\n"):
            self.sender = path(line)

    def on_rcpt(self, line):
        if self.sender is None:
            self.say(b"503 5.5.1 no MAIL\r\n")
        elif self.answer("rcpt", b"250 2.1.5 ok\r\n"):
            self.recipients.append(path(line))

    def on_data(self, _line):
        if not self.recipients:
            self.say(b"554 5.5.1 no valid recipients\r\n")
        elif self.answer("data", b"354 go on\r\n"):
            while not (self.read.startswith(b".\r\n") or b"\r\n.\r\n" in self.read):
                self.more()
            content, _, self.read = (b"\r\n" + self.read).partition(b"\r\n.\r\n")
            self.end((content + b"\r\n").replace(b"\r\n.", b"\r\n")[2:])

    def on_bdat(self, line):
        _verb, size, last = line.split()
        assert last == b"LAST"
        while len(self.read) < int(size):
            self.more()
        content, self.read = self.read[: int(size)], self.read[int(size) :]
        if self.recipients:
            self.end(content)
        else:
            self.say(b"554 5.5.1 no valid recipients\r\n")

    def end(self, content):
        action = self.server._strikes("end") or ""
        taken = Taken(self.sender, tuple(self.recipients), content)
        self.forget()
        if action.startswith("take_then_"):
            self.server.taken.append(taken)
            action = action.removeprefix("take_then_")
        if self.answer("end", b"250 2.0.0 queued\r\n", action or "none"):
            self.server.taken.append(taken)
        between = self.server._strikes("between")
        if between:
            self.flush()
            self.answer("", b"", between)

    def on_rset(self, _line):
        if self.answer("rset", b"250 2.0.0 ok\r\n"):
            self.forget()

    def on_quit(self, _line):
        self.say(b"221 bye\r\n")
        self.flush()
        raise Gone

    def on_unknown(self, _line):
        self.say(b"500 5.5.2 what?\r\n")


def path(line):
    return line.partition(b"<")[2].partition(b">")[0].decode()


class Connection:
    """Stands for Odoo's ``SMTPConnection``, which hands on some of smtplib's attributes."""

    def __init__(self, smtp):
        self.__obj__ = smtp
        self.from_filter = False

    has_extn = property(lambda self: self.__obj__.has_extn)
    mail = property(lambda self: self.__obj__.mail)
    quit = property(lambda self: self.__obj__.quit)


@contextlib.contextmanager
def connected(server, timeout=PATIENCE, context=None):
    kwargs = {"local_hostname": "localhost"}
    if context:
        smtp = smtplib.SMTP_SSL(*server.address, context=context, timeout=PATIENCE, **kwargs)
    else:
        smtp = smtplib.SMTP(*server.address, timeout=PATIENCE, **kwargs)
    try:
        smtp.ehlo()
        smtp.sock.settimeout(timeout)
        yield smtp
    finally:
        smtp.close()


@contextlib.contextmanager
def opened(server, timeout=PATIENCE, context=None, **kwargs):
    with connected(server, timeout, context) as smtp:
        yield SmtpSession(Connection(smtp), **kwargs)


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


def mail(subject="Quotation", body="Dear Kim,\n"):
    message = EmailMessage(policy=SMTP)
    message["From"] = "sales@a.com"
    message["To"] = "kim@customer.com"
    message["Subject"] = subject
    message.set_content(body)
    return message


def send(session, subject="Quotation", to=("kim@customer.com",)):
    """Send a mail; give the exception, None where it was taken."""
    session.start_mail()
    try:
        session.send_message(mail(subject), "sales@a.com", list(to))
    except smtplib.SMTPException as error:
        assert session.progress.error is error
        return error
    return None


def patience(action):
    """Give the client's time-out: a short one only where the server hangs."""
    return 0.3 if "hang" in action else PATIENCE


def buffer_of(session, size):
    """Let the client's buffers be small, as the network's are that is between it and a server."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        session._smtp.sock.setsockopt(socket.SOL_SOCKET, option, size)


def wait_for_word(session):
    """Wait until the server has said something, or hung up."""
    sock = session._smtp.sock
    assert sock is None or select.select([sock], [], [], PATIENCE)[0]


def claim(progress):
    """Tell what the session says of a mail that is one message."""
    if progress.handed_over:
        assert isinstance(progress.error, smtplib.SMTPServerDisconnected)
        assert not progress.died_before()
        return "may be there"
    return "is there" if progress.accepted else "is not there"


def subjects(server):
    return [
        line.removeprefix(b"Subject: ").decode()
        for taken in server.taken
        for line in taken.content.split(b"\r\n")
        if line.startswith(b"Subject: ")
    ]


# -- what goes over the wire ----------------------------------------------------------------------


def umlauts(policy=SMTP):
    message = EmailMessage(policy=policy)
    message["From"] = "韩菱纱 <sales@a.com>"
    message["To"] = "Müller <kim@customer.com>"
    message["Bcc"] = "secret@customer.com"
    message["Resent-Bcc"] = "secret@customer.com"
    message["Subject"] = "Angebot für Überseebrücken, " * 9
    message["References"] = " ".join(f"<{number * 'x'}@a.com>" for number in range(40))
    message.set_content("Grüße\n.dot\n..dots\n.\nend", cte="8bit")
    return message


def attachment():
    message = mail()
    message.add_attachment(bytes(range(256)) * 9, maintype="a", subtype="b", filename="ä.bin")
    message.set_boundary("boundary")  # else one is made whenever it is written
    return message


MESSAGES = {
    "plain": mail(),
    "umlauts": umlauts(),
    "default policy": umlauts(EmailMessage().policy),
    "attachment": attachment(),
    "long line": mail(body="x" * 5000 + "\n" + "ü" * 3000),
    "empty": mail(body=""),
    "no final newline": mail(body=".\n.. no end"),
}
TEXTS = {
    "dots": b".\r\n..\r\n.a\r\n b.\r\n.",
    "lone line ends": b"a\n.b\r.c\r\n\r.\n\n.",
    "8 bit": bytes(range(128, 256)),
    "no end": b"a: b\r\n\r\nc",
    "half an end": b"a: b\r\n\r\nc\r",
    "empty": b"",
    "text": "a: b\r\n.\n.c\rd\n",
}


def send_all(client, texts):
    for message in MESSAGES.values():
        client.send_message(message, "a@a.com", ["b@b.com", "c@c.com"])
    for text in texts.values():
        client.sendmail("a@a.com", "b@b.com", text)
    client.send_message(mail())
    client.send_message(mail(), "müller@a.com", ["jörg@b.com"])
    client.send_message(mail(), "a@a.com", ["b@b.com"], ["BODY=8BITMIME"], ["NOTIFY=NEVER"])


@pytest.mark.parametrize("extensions", [LOCKSTEP, ()])
def test_the_bytes_are_smtplibs(extensions):
    sent = []
    for wrap in (lambda smtp: smtp, lambda smtp: SmtpSession(Connection(smtp))):
        with Server(extensions) as server:
            with connected(server) as smtp:
                client = wrap(smtp)
                with contextlib.suppress(smtplib.SMTPNotSupportedError):
                    send_all(client, TEXTS)
                client.quit()
            server.wait()
            sent.append((server.received, server.taken))
    assert len(sent[0][1]) > len(MESSAGES) + len(TEXTS)
    assert sent[0] == sent[1]


def test_a_header_that_would_make_another_one_sends_nothing():
    seen = []

    def check(names, content):
        seen.append((names, content))
        return "Bcc: spy@evil.com"

    with Server() as server, opened(server, check_headers=check) as session:
        message = umlauts()
        with pytest.raises(UnsafeHeader) as caught:
            session.send_message(message)
        assert str(caught.value) == "Bcc: spy@evil.com"
        assert session.progress.error is caught.value
        assert (session.progress.commands, session.is_open) == (0, True)
        ((names, content),) = seen
        assert names == [name for name in message if name not in ("Bcc", "Resent-Bcc")]
        assert content.startswith(b"From: ")
        session._check_headers = None
        assert send(session) is None


def test_what_cannot_be_written_sends_nothing():
    with Server(()) as server, opened(server) as session:
        for recipient, option, error in (
            ("jörg@b.com", "NOTIFY=NEVER", UnicodeEncodeError),
            ("c@c.com", "NOTIFY=NEVER\r\nRCPT TO:<spy@evil.com>", ValueError),
        ):
            with pytest.raises(error):
                session.sendmail("a@a.com", ["b@b.com", recipient], b"", (), [option])
            assert (session.progress.commands, session.is_open) == (0, True)
        with pytest.raises(smtplib.SMTPNotSupportedError):
            session.send_message(mail(), "jörg@a.com", ["b@b.com"])
        assert send(session) is None


def test_the_rest_is_the_connections():
    with Server() as server, opened(server, server_id=7, named=True) as session:
        session._connection.from_filter = "a.com"
        session._connection.smtp_from = "sales@a.com"
        assert (session.from_filter, session.server_id, session.named) == ("a.com", 7, True)
        assert session.smtp_from is None  # else all mails would have that From
        assert not hasattr(session, "no_such_thing")
        assert copy.copy(session).server_id == 7
        assert session.has_extn("size")
        assert session.mail("a@a.com") == (250, b"2.1.0 ok")


def test_a_content_is_the_same_in_whatever_way_it_is_told():
    # smtplib doubles a dot behind a line end that is none in SMTP: no server takes that back
    texts = {name: text for name, text in TEXTS.items() if name != "lone line ends"}
    taken = []
    for extensions in MODES.values():
        with Server(extensions) as server:
            with opened(server) as session:
                send_all(session, texts)
            server.wait()
            taken.append(server.taken)
            assert (b"BDAT" in server.received) == ("CHUNKING" in extensions)
    assert taken[0] == taken[1] == taken[2]


# -- faults ---------------------------------------------------------------------------------------

ALL = ["mail", "rcpt", "data", "end"]
#: action -> what is known of the mail when it strikes before the content has left; after; whether
#: the session goes on
EFFECTS = {
    "drop": ("is not there", "may be there", False),
    "hang": ("is not there", "may be there", False),
    "garbage": ("is not there", "may be there", False),
    "long": ("is not there", "may be there", False),
    "endless": ("is not there", "may be there", False),
    "heavy": ("is not there", "may be there", False),
    "codes": ("is not there", "may be there", False),
    "421": ("is not there", "is not there", False),
    "451": ("is not there", "is not there", True),
    "nul": ("is not there", "is not there", True),
    "550": ("is not there", "is not there", True),
    "334 what": ("is not there", "may be there", False),
    "take_then_drop": (None, "may be there", False),
    "take_then_hang": (None, "may be there", False),
    "take_then_garbage": (None, "may be there", False),
}
ERRORS = {
    "mail": smtplib.SMTPSenderRefused,
    "rcpt": smtplib.SMTPRecipientsRefused,
    "data": smtplib.SMTPDataError,
    "end": smtplib.SMTPDataError,
}


@pytest.mark.parametrize(
    ("phase", "action"),
    [
        (phase, action)
        for phase in ALL
        for action, (before, _after, _goes_on) in EFFECTS.items()
        if before or phase == "end"
    ],
)
@pytest.mark.parametrize("after", [0, 1])
def test_fault_matrix(mode, phase, action, after):
    before, at_the_end, goes_on = EFFECTS[action]
    if mode == "chunking":
        if phase == "data":
            return  # there is none
        before = at_the_end  # it is written by then
    expected = at_the_end if phase == "end" else before
    with Server(MODES[mode]) as server:
        server.fail(phase, action, after=after)
        with opened(server, patience(action)) as session:
            for number in range(after):
                assert send(session, f"before {number}") is None
            error = send(session, "broken")
            progress = session.progress
            assert claim(progress) == expected
            assert session.is_open == goes_on
            refused = goes_on or action == "421"
            assert type(error) is ERRORS[phase] if refused else is_disconnected(error)
            died = phase == "mail" and bool(after) and not goes_on and expected == "is not there"
            assert progress.died_before() == died
            if goes_on:
                assert send(session, "next") is None
            else:
                assert is_disconnected(send(session, "next"))
                assert session.progress.died_before()
                assert session.progress.commands == 0
        server.wait()
        assert server.struck == [(phase, action)]
        arrived = Counter(subjects(server))
        assert max(arrived.values(), default=1) == 1
        assert arrived["broken"] == action.startswith("take")
        assert arrived["next"] == goes_on
        assert arrived["before 0"] == after


class Ticking:
    """A clock on which some seconds pass whenever somebody looks at it."""

    def __init__(self, seconds, at=None):
        self.now = 0.0
        self.seconds = seconds
        self.at = at

    def __call__(self):
        self.now += self.seconds
        if self.at:
            self.at()
        return self.now


@pytest.mark.parametrize("action", ["endless", "heavy"])
def test_no_more_of_a_reply_is_read_than_one_can_have(mode, action):
    with Server(MODES[mode]) as server:
        server.fail("mail", action)
        with opened(server) as session:
            error = send(session)
            assert "an answer of more than" in str(error)
            assert (claim(session.progress), session.is_open) == (
                "may be there" if mode == "chunking" else "is not there",
                False,
            )
        server.wait()


@pytest.mark.parametrize(
    ("phase", "claimed"), [("mail", "is not there"), ("end", "may be there"), ("rset", None)]
)
def test_a_reply_that_takes_too_long_is_none(phase, claimed):
    """Each line of it comes at once; the clock says that it takes 4 seconds."""
    with Server() as server, opened(server, clock=Ticking(2)) as session:
        server.fail(phase, "slow")
        if phase == "rset":
            session.reset()
        else:
            assert "timed out" in str(send(session))
            assert claim(session.progress) == claimed
        assert (session.is_open, session.misbehaved) == (False, "")


def test_a_line_that_comes_byte_by_byte_takes_no_longer_either():
    here, there = socket.socketpair()
    with here, there, here.makefile("rb") as file:
        here.settimeout(PATIENCE)
        clock = Ticking(1, lambda: there.send(b"2"))
        with pytest.raises(TimeoutError):
            Replies(here, file, clock).readline(1000)
        assert clock.now < PATIENCE + 5


def test_the_rest_of_the_session_is_bounded_as_well(mode):
    """RSET and QUIT, whose answers smtplib reads itself."""
    with Server(MODES[mode]) as server:
        server.fail("mail", "550")
        server.fail("rset", "endless")
        with opened(server) as session:
            assert send(session).smtp_code == 550
            assert not session.is_open
        with opened(server) as session:
            server.fail("mail", "550", after=1)
            server.fail("rset", "codes", after=1)
            assert send(session).smtp_code == 550
            assert not session.is_open, "nobody can tell what the next mail would meet"


def is_disconnected(error):
    return isinstance(error, smtplib.SMTPServerDisconnected)


def test_some_recipients_are_refused(mode):
    with Server(MODES[mode]) as server:
        server.fail("rcpt", "550", after=1)
        with opened(server) as session:
            progress = session.start_mail()
            refused = session.send_message(mail(), "a@a.com", ["a@b.com", "b@b.com", "c@b.com"])
            assert refused == progress.refused == {"b@b.com": (550, b"5.7.1 no")}
            assert progress.accepted == ["a@b.com", "c@b.com"]
            assert progress.error is None
        server.wait()
        (taken,) = server.taken
        assert taken.recipients == ("a@b.com", "c@b.com")


def test_one_who_is_named_twice_gets_it_if_he_is_taken_once(mode):
    with Server(MODES[mode]) as server:
        server.fail("rcpt", "451", after=1)
        with opened(server) as session:
            assert session.sendmail("a@a.com", ["b@b.com", "b@b.com"], b"") == {}
            assert session.progress.accepted == ["b@b.com"]
            assert session.progress.refused == {}


def test_all_recipients_are_refused(mode):
    with Server(MODES[mode]) as server:
        server.fail("rcpt", "550", after=0)
        server.fail("rcpt", "451", after=1)
        with opened(server) as session:
            error = send(session, "refused", ["a@b.com", "b@b.com"])
            replies = {"a@b.com": (550, b"5.7.1 no"), "b@b.com": (451, b"4.3.0 try later")}
            assert error.recipients == session.progress.refused == replies
            assert claim(session.progress) == "is not there"
            assert send(session, "next") is None
        server.wait()
        assert subjects(server) == ["next"]


def test_a_recipient_is_answered_by_421(mode):
    with Server(MODES[mode]) as server:
        server.fail("rcpt", "550", after=0)
        server.fail("rcpt", "421", after=1)
        with opened(server) as session:
            error = send(session, to=["a@b.com", "b@b.com", "c@b.com"])
            assert list(error.recipients) == ["a@b.com", "b@b.com"]
            assert error.recipients["b@b.com"][0] == 421
            assert (session.is_open, claim(session.progress)) == (False, "is not there")
        server.wait()
        assert server.taken == []


def test_nobody_to_send_to(mode):
    with Server(MODES[mode]) as server, opened(server) as session:
        assert send(session, to=[]).recipients == {}
        assert (session.progress.commands, session.is_open) == (0, True)


@pytest.mark.parametrize("action", ["drop", "421"])
def test_a_session_that_died_between_two_mails_is_known_to_have(mode, action):
    with Server(MODES[mode]) as server:
        server.fail("between", action)
        with opened(server) as session:
            assert send(session, "first") is None
            wait_for_word(session)
            error = send(session, "second")
            assert is_disconnected(error) or error.smtp_code == 421
            assert session.progress.died_before()
            assert session.progress.commands == 0
        server.wait()
        assert subjects(server) == ["first"]
        assert server.received.count(b"mail FROM") == 1


def test_what_is_said_unasked_ends_the_session(mode):
    """Else it would be read as the answer to MAIL, and each answer as that of the next command."""
    with Server(MODES[mode]) as server:
        server.fail("between", "250 2.0.0 by the way")
        with opened(server) as session:
            send(session, "first")
            wait_for_word(session)
            assert not session.progress.error or claim(session.progress) == "may be there"
            assert is_disconnected(send(session, "second"))
            assert session.progress.died_before()
        server.wait()
        assert subjects(server) == ["first"]


@pytest.mark.parametrize("action", ["drop", "hang", "garbage", "421", "500 what"])
def test_a_reset_that_fails_ends_the_session(mode, action):
    with Server(MODES[mode]) as server:
        server.fail("rcpt", "550")
        server.fail("rset", action)
        with opened(server, patience(action)) as session:
            assert type(send(session)) is smtplib.SMTPRecipientsRefused
            assert not session.is_open
            session.reset()
            session.quit()
            session.close()


@pytest.mark.parametrize("action", ["drop", "hang", "garbage", "421"])
def test_leaving_never_fails(mode, action):
    with Server(MODES[mode]) as server:
        server.fail("between", action)
        with opened(server, patience(action)) as session:
            send(session)
            session.quit()
            assert not session.is_open
            session.close()


# -- sent together --------------------------------------------------------------------------------


@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize("phase", ["mail", "rcpt"])
@pytest.mark.parametrize("action", ["forget", "mute", "garbage", "354 go on", "hang", "drop"])
def test_a_server_that_cannot_answer_what_is_sent_together(together, phase, action):
    """It is told, and the next session, in lockstep, gets through."""
    with Server(MODES[together], eager=False) as server:
        server.fail(phase, action)
        with opened(server, 0.5) as session:
            assert is_disconnected(send(session, "first"))
            assert not session.is_open
            assert session.misbehaved
            said = claim(session.progress)
        server.wait()
        arrived = len(server.taken)
        assert said == ("may be there" if together == "chunking" else "is not there")
        assert arrived <= (together == "chunking")
        server.received = b""
        server.fail(phase, action, after=10)  # not again
        with opened(server, lockstep=True) as session:
            assert send(session, "second") is None
            assert not session.misbehaved
        server.wait()
        assert len(server.taken) == arrived + 1
        assert b"BDAT" not in server.received


@pytest.mark.parametrize("together", TOGETHER)
def test_an_answer_too_many(together):
    """What was read as the last answer was another one's: nothing is known of the mail by it."""
    with Server(MODES[together], eager=False) as server:
        server.fail("mail", "twice")
        server.fail("rcpt", "550", after=1)
        with opened(server) as session:
            error = send(session, "first", ["a@b.com", "b@b.com"])
            if together == "chunking":
                assert is_disconnected(error)
                assert claim(session.progress) == "may be there"
                assert "unasked: 250" in session.misbehaved
            else:
                assert claim(session.progress) == "is not there"
        server.wait()
        assert len(server.taken) == (together == "chunking")


@pytest.mark.parametrize("together", TOGETHER)
def test_a_server_that_has_kept_up_before_is_trusted(together):
    """That it breaks off later is no sign that it cannot answer what is sent together."""
    with Server(MODES[together]) as server:
        server.fail("rcpt", "drop", after=1)
        with opened(server) as session:
            assert send(session) is None
            assert is_disconnected(send(session))
            assert not session.misbehaved


@pytest.mark.parametrize("together", TOGETHER)
def test_the_known_refusal_is_told_when_the_rest_of_the_answers_is_missing(together):
    with Server(MODES[together]) as server:
        server.fail("mail", "last 554 5.5.0 out of sync")
        with opened(server) as session:
            assert send(session).smtp_error == b"5.5.0 out of sync"
            assert claim(session.progress) == "is not there"
            assert not session.is_open


def test_a_recipient_is_answered_by_421_and_the_others_get_it():
    with Server(CHUNKING) as server:
        server.fail("rcpt", "421 4.7.0 too many for you", after=1)
        with opened(server) as session:
            session.start_mail()
            refused = session.send_message(mail(), "a@a.com", ["a@b.com", "b@b.com"])
            assert list(refused) == ["b@b.com"]
            assert (session.progress.accepted, session.is_open) == (["a@b.com"], False)
        server.wait()
        assert [taken.recipients for taken in server.taken] == [("a@b.com",)]


def test_the_only_recipients_are_answered_by_421_and_nothing_is_at_the_server():
    with Server(CHUNKING) as server:
        server.fail("rcpt", "421 4.7.0 too many for you")
        server.fail("rcpt", "550", after=1)
        with opened(server) as session:
            error = send(session, to=["a@b.com", "b@b.com"])
            assert type(error) is smtplib.SMTPRecipientsRefused
            assert (claim(session.progress), session.is_open) == ("is not there", False)
        server.wait()
        assert server.taken == []


def test_a_single_dot_where_data_is_taken_for_nobody():
    """RFC 2920 3.1."""

    def on_data(self, _line):
        self.recipients = self.recipients or ["nobody"]
        Conversation.on_data(self, _line)

    with Server(PIPELINING) as server:
        server.conversation = type("Lenient", (Conversation,), {"on_data": on_data})
        server.fail("rcpt", "550")
        with opened(server) as session:
            assert type(send(session, "refused")) is smtplib.SMTPRecipientsRefused
            assert claim(session.progress) == "is not there"
            assert send(session, "next") is None
        server.wait()
        assert [taken.content for taken in server.taken][:1] == [b""]
        assert subjects(server) == ["next"]


@pytest.mark.parametrize(("number", "end"), [(0, "take_then_drop"), (1, "take_then_hang")])
def test_a_recipient_is_answered_by_421_and_what_the_others_got_is_not_known(number, end):
    with Server(CHUNKING) as server:
        server.fail("rcpt", "421 4.7.0 too many for you", after=number)
        server.fail("end", end)
        with opened(server, patience(end)) as session:
            assert is_disconnected(send(session, to=["a@b.com", "b@b.com"]))
            assert claim(session.progress) == "may be there"


def test_a_server_that_takes_what_it_has_refused():
    """Its answers contradict each other, so the mail may be there."""

    def on_bdat(self, line):
        self.recipients = self.recipients or ["nobody"]
        Conversation.on_bdat(self, line)

    for phase in ("mail", "rcpt"):
        with Server(CHUNKING) as server:
            server.conversation = type("Lenient", (Conversation,), {"on_bdat": on_bdat})
            server.fail(phase, "550")
            with opened(server) as session:
                assert is_disconnected(send(session))
                assert claim(session.progress) == "may be there"
                assert "answered BDAT by 250" in session.misbehaved


@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize("refused", ["mail", "rcpt"])
def test_a_large_mail_is_not_written_before_the_server_takes_it(together, refused):
    with Server(MODES[together]) as server:
        server.fail(refused, "552 5.3.4 too large")
        with opened(server) as session:
            session.start_mail()
            large = mail(body="x" * 70 + "\n" * 2 + ("y" * 70 + "\n") * 5000)
            with pytest.raises(smtplib.SMTPException) as caught:
                session.send_message(large)
            assert "too large" in str(caught.value)
            assert b"yyy" not in server.received
            session.send_message(large)
        server.wait()
        assert b" size=3" in server.received
        assert len(server.taken) == 1


@pytest.mark.parametrize("words", ["421 4.3.2 closing", "552 5.3.4 too large"])
def test_a_server_that_hangs_up_while_it_is_written_to_has_the_last_word(mode, words):
    """As in lockstep, its words are the reason, not that nothing more could be written."""
    with Server(MODES[mode], small=True) as server:
        server.fail("mail", f"last {words}", after=1)
        with opened(server) as session:
            send(session)
            buffer_of(session, 2048)
            session.start_mail()
            with pytest.raises(smtplib.SMTPSenderRefused) as caught:
                session.sendmail("a@a.com", ["b@b.com"], b"x" * 60000)
            assert f"{caught.value.smtp_code} {caught.value.smtp_error.decode()}" == words
            assert claim(session.progress) == "is not there"
            assert session.progress.died_before() == words.startswith("421")


def test_a_content_that_cannot_be_written_to_its_end_is_not_there(mode):
    def on_data(self, _line):
        self.say(b"354 go on\r\n")
        self.more()
        raise Gone

    with Server(MODES[mode]) as server:
        server.conversation = type("Impatient", (Conversation,), {"on_data": on_data})
        with opened(server) as session:
            buffer_of(session, 2048)
            session.start_mail()
            with pytest.raises(smtplib.SMTPServerDisconnected):
                session.sendmail("a@a.com", ["b@b.com"], b"x" * 20_000_000)
            assert claim(session.progress) == "is not there"


def test_a_server_that_hangs_up_in_the_middle_of_a_content_has_the_last_word(mode):
    def on_data(self, _line):
        self.say(b"354 go on\r\n")
        self.more()
        self.say(b"552 5.3.4 too large\r\n")
        raise Gone

    with Server(MODES[mode]) as server:
        server.conversation = type("Impatient", (Conversation,), {"on_data": on_data})
        with opened(server) as session:
            buffer_of(session, 2048)
            session.start_mail()
            with pytest.raises(smtplib.SMTPDataError) as caught:
                session.sendmail("a@a.com", ["b@b.com"], b"x" * 20_000_000)
            assert caught.value.smtp_code == 552
            assert (claim(session.progress), session.is_open) == ("is not there", False)


def test_what_is_said_after_354_cannot_be_the_contents_answer():
    for mode in ("lockstep", "pipelining"):
        with Server(MODES[mode], eager=False) as server:
            server.fail("data", "354 go on\r\n250 2.0.0 queued")
            with opened(server) as session:
                assert is_disconnected(send(session))
                assert claim(session.progress) == "is not there"


def test_a_server_that_does_not_read_while_its_answers_are_not_read(mode):
    recipients = [f"{number:0200}@b.com" for number in range(2000)]

    def on_rcpt(self, line):
        self.recipients.append(path(line))
        self.say(b"250 2.1.5 " + b"x" * 490 + b"\r\n")

    with Server(MODES[mode], small=True) as server:
        server.conversation = type("Talkative", (Conversation,), {"on_rcpt": on_rcpt})
        with opened(server) as session:
            buffer_of(session, 32768)
            assert session.sendmail("a@a.com", recipients, b"a: b\r\n") == {}
            assert session.progress.accepted == recipients
        server.wait()
        assert list(server.taken[0].recipients) == recipients


# -- TLS ------------------------------------------------------------------------------------------

AUTHORITY = trustme.CA()


@pytest.fixture(scope="module")
def tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    return context


def usual_context():
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


#: what Odoo logs in with, by a password and by a certificate
CONTEXTS = {"ssl": usual_context, "pyOpenSSL": lambda: PyOpenSSLContext(ssl.PROTOCOL_TLS)}


@pytest.fixture(params=CONTEXTS)
def context(request):
    return CONTEXTS[request.param]()


def test_mail_over_tls(mode, tls, context):
    with Server(MODES[mode], tls=tls) as server:
        server.fail("rcpt", "550", after=1)
        with opened(server, context=context) as session:
            for number in range(4):
                error = send(session, str(number))
                assert type(error) is (smtplib.SMTPRecipientsRefused if number == 1 else type(None))
            session.sendmail("a@a.com", ["b@b.com"], b"x" * 200000)
            session.quit()
        server.wait()
        assert subjects(server) == ["0", "2", "3"]
        assert len(server.taken) == 4


@pytest.mark.parametrize("action", ["drop", "421", "250 2.0.0 by the way"])
def test_what_is_said_between_two_mails_over_tls(mode, tls, context, action):
    with Server(MODES[mode], tls=tls) as server:
        server.fail("between", action)
        with opened(server, context=context) as session:
            assert send(session, "first") is None or action.startswith("250")
            wait_for_word(session)
            error = send(session, "second")
            assert is_disconnected(error) or error.smtp_code == 421
            assert session.progress.died_before()
            assert session.progress.commands == 0
        server.wait()
        assert subjects(server) == ["first"]


@pytest.mark.parametrize(("phase", "action"), [("rcpt", "drop"), ("end", "drop"), ("end", "hang")])
def test_a_fault_over_tls(mode, tls, context, phase, action):
    with Server(MODES[mode], tls=tls) as server:
        server.fail(phase, action, after=1)
        with opened(server, patience(action), context) as session:
            assert send(session, "first") is None
            assert is_disconnected(send(session, "second"))
            whole = phase == "end" or mode == "chunking"
            assert claim(session.progress) == ("may be there" if whole else "is not there")
        server.wait()
        assert subjects(server) == ["first"]


# -- round trips ----------------------------------------------------------------------------------


class Relay:
    """Stands in front of a server and counts how often the client spoke after it had.

    A client that waits for an answer pays a round trip for each, however far the server is.
    """

    def __init__(self, server):
        self.server = server
        self.turns = 0

    def __enter__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._thread.join(PATIENCE)
        self._listening.close()

    def _run(self):
        client, _address = self._listening.accept()
        with client, socket.create_connection(self.server.address) as server:
            speaker = server
            while True:
                for sock in select.select([client, server], [], [], PATIENCE)[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    if sock is client and speaker is server:
                        self.turns += 1
                    speaker = sock
                    (server if sock is client else client).sendall(data)


@pytest.mark.parametrize(
    ("announced", "trips"), [("lockstep", 4), ("pipelining", 2), ("chunking", 1)]
)
def test_round_trips(announced, trips):
    # not eager: an answer that is under way while the client still speaks is no turn
    with Server(MODES[announced], eager=False) as server:
        with Relay(server) as relay, opened(relay) as session:
            for number in range(4):
                before = relay.turns
                assert send(session, str(number)) is None
                assert relay.turns - before == trips
        server.wait()
        assert len(server.taken) == 4


def test_many_recipients_are_a_few_round_trips():
    with (
        Server(PIPELINING, eager=False) as server,
        Relay(server) as relay,
        opened(relay) as session,
    ):
        before = relay.turns
        session.sendmail("a@a.com", [f"{number}@b.com" for number in range(1000)], b"")
        assert relay.turns - before < 100  # of 1,003


# -- whatever the server answers ------------------------------------------------------------------

TAKES = [action for action in EFFECTS if action.startswith("take")]
ANYTHING = ["mute", "forget", "421 4.7.0 later", "354 what", *(EFFECTS.keys() - TAKES)]
FAULTS = st.dictionaries(
    st.one_of(
        st.tuples(st.sampled_from(["mail", "rcpt", "data", "end"]), st.integers(0, 4)),
        st.tuples(st.just("rset"), st.integers(0, 1)),
    ),
    st.sampled_from(sorted(ANYTHING)),
    max_size=4,
)
ENDS = st.dictionaries(
    st.tuples(st.just("end"), st.integers(0, 2)), st.sampled_from(TAKES), max_size=1
)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(MODES)),
    st.booleans(),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    FAULTS,
    ENDS,
)
def test_what_is_said_of_a_mail_is_true(mode, eager, mails, faults, ends):
    # a 421 that is no farewell, and then an end without a word, tell the wrong story together
    later = any(action.startswith("421 4") for action in faults.values())
    if later and {"take_then_drop", "drop"} & {*ends.values(), *faults.values()}:
        return
    with Server(MODES[mode], eager=eager) as server:
        server.faults = {**faults, **ends}
        with opened(server, 0.1) as session:
            said = []
            for number, recipients in enumerate(mails):
                to = [f"{number}-{recipient}@b.com" for recipient in range(recipients)]
                error = send(session, str(number), to)
                progress = session.progress
                said.append((claim(progress), progress.accepted, progress.refused))
                assert error or progress.accepted
                assert bool(error) != bool(progress.accepted)
                assert not progress.died_before() or claim(progress) == "is not there"
        server.wait()
    arrived = Counter(subjects(server))
    for number, (what, accepted, refused) in enumerate(said):
        assert (
            arrived[str(number)]
            in {
                "is there": [1],
                "is not there": [0],
                "may be there": [0, 1],
            }[what]
        )
        for taken in server.taken:
            if what == "is there" and f"Subject: {number}\r\n".encode() in taken.content:
                assert list(taken.recipients) == accepted
                assert not set(refused) & set(accepted)
