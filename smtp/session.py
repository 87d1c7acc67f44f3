# SPDX-License-Identifier: LGPL-3.0-only
"""One SMTP session: it sends mail after mail, and knows how far each got when it breaks.

The commands are those of ``smtplib``, byte for byte. Where the server announces PIPELINING
(RFC 2920), those of an envelope go out together with DATA: two round trips a mail instead of four.
Where it announces CHUNKING (RFC 3030) too, a mail that is not large goes out whole: one. What a
refusal means, which exception tells it, and what the next mail finds, is the same in all three.

When a session breaks off, it is known of a mail whether it has left only as far as the server's
answers tell (RFC 5321 4.5.3.2.6, RFC 1047: the moment in which duplicates arise):

==================  ===============================================================================
content is told     the mail may have arrived, from then on until its answer is there
==================  ===============================================================================
after DATA's 354    once its last byte is written: before, the server lacks the end of it
by BDAT             once its last byte is written, unless MAIL, or every RCPT, was refused: then
                    there is nobody the server could take it for. A missing answer to RCPT says
                    nothing, since the server may have read on while its answers got lost. A 421
                    after which the server hangs up says that it read no further (RFC 5321 3.8);
                    where answers follow, it was meant for one recipient only.
==================  ===============================================================================

An answer that is no SMTP reply (RFC 5321 4.2), such as one without an end or with several codes, or
none to this command, is as good as none: what comes next may be the rest of it, and the answer to
one command would be read as that to another. The time-out is that of a whole answer.
"""

import contextlib
import dataclasses
import logging
import re
import smtplib
import socket
import ssl
import time
from typing import NamedTuple

from .bounded import Endless, Replies

_logger = logging.getLogger(__name__)

#: bytes from which a mail is large: it is not written before its envelope was accepted. TCP's slow
#: start (RFC 6928) needs three round trips for that much anyway: one more makes little difference
_LARGE = 64 * 1024
#: commands written before their answers are read. A server may stop reading while its answers are
#: not read (RFC 2920 3.1): these, of 512 bytes at most each, and theirs fit into TCP's buffers
_COMMANDS_AT_ONCE = 100
#: seconds to wait for the answer to QUIT, on which nothing depends
_GOODBYE = 5.0

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
_LINE_END = re.compile(r"\r\n|\n|\r(?!\n)")
_DOT = re.compile(rb"(?m)^\.")
_CRLF = b"\r\n"


class UnsafeHeader(Exception):
    """A value that would make a header of its own; ``args``: the line that it would make."""


class _Disorder(smtplib.SMTPServerDisconnected):
    """The server said what cannot be an answer: nobody can tell any more what answers what."""


@dataclasses.dataclass
class MailProgress:
    """How far one mail got; it may be several messages.

    :ivar first_of_session: whether no other mail was sent through the session before
    :ivar accepted: the addresses that the server has taken it for, as they were given
    :ivar refused: address -> (code, words) of those it was not taken for
    :ivar error: why it failed, the last time it did: others may swallow what is raised
    :ivar commands: how many SMTP commands were sent for it
    :ivar answered: whether the server has answered one of them, by more than a farewell (421)
    :ivar handed_over: whether its content is, or may be, at the server, and no answer is known
    :ivar broke_off: whether the session ended while it was its turn
    """

    first_of_session: bool = True
    accepted: list[str] = dataclasses.field(default_factory=list)
    refused: dict[str, tuple[int, bytes]] = dataclasses.field(default_factory=dict)
    error: Exception | None = None
    commands: int = 0
    answered: bool = False
    handed_over: bool = False
    broke_off: bool = False

    def died_before(self) -> bool:
        """Tell whether an idle session had died between two mails: none of it can have arrived.

        Of a fresh session that cannot be said: the server may have hung up on this very mail.
        """
        return self.broke_off and not (self.first_of_session or self.answered or self.handed_over)


class SmtpSession:
    """A session that is logged in. What it does not define is the connection's own.

    :param connection: what Odoo's ``ir.mail_server.connect`` gives: an object that has an
        ``smtplib.SMTP`` in ``__obj__``; or an ``smtplib.SMTP``
    :param server_id: id of the server, None for the one of the configuration file
    :param named: whether the caller asked for this server by name
    :param check_headers: function of (names of a message's headers, its content as bytes) that
        gives the first line of its header which is none of them, ``""`` without one
    :param lockstep: whether to wait for each answer, whatever the server announces
    :param hide: function that takes out of a reply's words what no text shall hold
    :param clock: function that gives the seconds since some moment
    :ivar misbehaved: how the server failed to answer commands that were sent together, ``""`` if it
        did not. The session is over then; the next one with this server is to go in lockstep
    :ivar progress: the :class:`MailProgress` of the present mail
    :ivar before_hand_over: function that is called right before the content of a message goes out,
        by whatever writes down that it may have arrived; None: nobody does
    """

    #: native gives every mail the From that its session was opened for; this one serves them all
    smtp_from = None

    def __init__(
        self,
        connection,
        *,
        server_id=None,
        named=False,
        check_headers=None,
        lockstep=False,
        hide=None,
        clock=time.monotonic,
    ):
        self._connection = connection
        self.server_id = server_id
        self.named = named
        self.lockstep = lockstep
        self.misbehaved = ""
        self.progress = MailProgress()
        self.before_hand_over = None
        self._smtp = getattr(connection, "__obj__", connection)
        self._check_headers = check_headers
        self._hide = hide or (lambda words: words)
        self._clock = clock
        self._flattener = _Flattener(self._smtp)
        self._keeps_up = False  # whether it has answered commands that were sent together
        self._mails = 0
        # else the end of a content would wait for the receipt of its beginning (RFC 896)
        with contextlib.suppress(OSError):
            _raw(self._smtp.sock).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __getattr__(self, name):
        if name == "_connection":  # a copy has none yet
            raise AttributeError(name)
        return getattr(self._connection, name)

    # ------------------------------------------------------------
    # What a caller does
    # ------------------------------------------------------------

    @property
    def is_open(self):
        """Whether the session can send; not after a 421, an answer that is none, or its end."""
        return self._smtp.sock is not None

    def start_mail(self) -> MailProgress:
        """Tell that the next mail's turn has come.

        :return: its progress
        """
        self._mails += 1
        self.progress = MailProgress(first_of_session=self._mails == 1)
        return self.progress

    def send_message(
        self, message, from_addr=None, to_addrs=None, mail_options=(), rcpt_options=()
    ):
        """Send a message; as ``smtplib.SMTP.send_message``.

        :return: dict of address -> (code, words): those it was refused for, where it was taken for
            others
        :raises UnsafeHeader: nothing was sent: a header's value would make a header of its own
        :raises smtplib.SMTPException: as :meth:`sendmail`
        """
        with self._noting_failure():
            names = [name for name in message if name.lower() not in ("bcc", "resent-bcc")]
            flattened = self._flattener.send_message(
                message, from_addr, to_addrs, mail_options, rcpt_options
            )
            _from_addr, _to_addrs, content, _mail_options, _rcpt_options = flattened
            line = self._check_headers(names, content) if self._check_headers else ""
            if line:
                raise UnsafeHeader(line)
            return self._send(*flattened)

    def sendmail(self, from_addr, to_addrs, msg, mail_options=(), rcpt_options=()):
        """Send what is flattened already; as ``smtplib.SMTP.sendmail``.

        :return: dict of address -> (code, words): those it was refused for, where it was taken for
            others
        :raises smtplib.SMTPSenderRefused: MAIL was refused
        :raises smtplib.SMTPRecipientsRefused: every RCPT was, or one was answered 421
        :raises smtplib.SMTPDataError: the content was refused, before or after it was sent
        :raises smtplib.SMTPServerDisconnected: the session is over, and it is not known, or not by
            the server's words, what became of the message: see :attr:`progress`
        :raises smtplib.SMTPNotSupportedError: an address needs SMTPUTF8
        """
        with self._noting_failure():
            return self._send(from_addr, to_addrs, msg, mail_options, rcpt_options)

    def reset(self):
        """Have the server forget the mail under way: RSET (RFC 5321 4.1.1.5).

        After a refusal that is done already. A session of which it is not known whether it did is
        closed.
        """
        try:
            self.progress.commands += 1
            replies = Replies.of(self._smtp, self._clock)
            code, _words = self._smtp.rset()
        except (smtplib.SMTPException, OSError):
            self.close()
        else:
            if not 200 <= code <= 299 or len(replies.codes) > 1:
                self.close()

    def quit(self):
        """Take leave, and close."""
        with contextlib.suppress(smtplib.SMTPException, OSError):
            if self.is_open:
                raw = _raw(self._smtp.sock)
                self._smtp.sock.settimeout(min(raw.gettimeout() or _GOODBYE, _GOODBYE))
                self._smtp.quit()
        self.close()

    def close(self):
        """Close without a word."""
        with contextlib.suppress(OSError):
            self._smtp.close()

    # ------------------------------------------------------------
    # One message
    # ------------------------------------------------------------

    @contextlib.contextmanager
    def _noting_failure(self):
        """Keep in the mail's progress why its sending failed."""
        try:
            yield
        except Exception as error:
            self.progress.error = error
            self.progress.broke_off = not self.is_open
            raise

    def _send(self, from_addr, to_addrs, msg, mail_options, rcpt_options):
        if not self.is_open:
            raise smtplib.SMTPServerDisconnected("the session is over")
        self._smtp.ehlo_or_helo_if_needed()
        content = _LINE_END.sub("\r\n", msg).encode("ascii") if isinstance(msg, str) else msg
        recipients = [to_addrs] if isinstance(to_addrs, str) else list(to_addrs)
        message = _Message(from_addr, recipients, self._hide)
        envelope = self._envelope(message, len(content), mail_options, rcpt_options)
        if not recipients:
            raise smtplib.SMTPRecipientsRefused({})
        try:
            self._hear(message)
            self._converse(message, envelope, content)
        except smtplib.SMTPServerDisconnected as error:
            if isinstance(error, _Disorder):
                self._distrust(str(error))
            self.close()
            raise
        except smtplib.SMTPException as error:  # a refusal
            if isinstance(error, smtplib.SMTPRecipientsRefused):
                self.progress.refused.update(error.recipients)
            if self.is_open:
                self.reset()
            raise
        except BaseException:
            self.close()  # in the middle of a mail: what comes next would be part of it
            raise
        refused = message.refused_only()
        self.progress.accepted += message.accepted
        self.progress.refused.update(refused)
        return refused

    def _envelope(self, message, size, mail_options, rcpt_options):
        """Give MAIL and RCPT as ``smtplib`` writes them.

        :raises smtplib.SMTPNotSupportedError, UnicodeEncodeError, ValueError: they cannot be
            written; nothing was sent
        """
        smtp = self._smtp
        options = []
        if smtp.does_esmtp:
            if smtp.has_extn("size"):
                options.append(f"size={size}")
            options += mail_options
        else:
            rcpt_options = ()
        encoding = "ascii"
        if any(option.lower() == "smtputf8" for option in options):
            if not smtp.has_extn("smtputf8"):
                raise smtplib.SMTPNotSupportedError("SMTPUTF8 not supported by server")
            encoding = "utf-8"

        def line(verb, address, options):
            text = " ".join([f"{verb}:{smtplib.quoteaddr(address)}", *options])
            if "\r" in text or "\n" in text:
                raise ValueError(f"a command has a line break: {text!r}")
            return text.encode(encoding) + _CRLF

        return [
            _Command("mail", line("mail FROM", message.sender, options)),
            *(
                _Command("rcpt", line("rcpt TO", address, rcpt_options), address)
                for address in message.recipients
            ),
        ]

    def _converse(self, message, envelope, content):
        """Tell the server envelope and content.

        :return: when the server has taken it for at least one recipient
        :raises smtplib.SMTPException: as :meth:`sendmail`
        """
        together = not self.lockstep and self._smtp.has_extn("pipelining")
        if together and self._smtp.has_extn("chunking") and len(content) <= _LARGE:
            last = _bdat(content)
        else:
            last = _Command("data", b"data\r\n")
        commands = [*envelope, last]
        for some in _parts(commands, _COMMANDS_AT_ONCE if together else 1):
            if refusal := message.refusal():
                raise refusal
            code, words = self._exchange(message, some)
        if last.verb == "bdat":
            self._settle(message, code, words)
        elif code == 354:
            self._tell_content(message, content)
        else:
            raise message.refusal() or smtplib.SMTPDataError(code, words)

    def _tell_content(self, message, content):
        """Hand over a content that DATA has asked for."""
        if refusal := message.refusal():
            try:
                self._write(b".\r\n")  # it will be for nobody (RFC 2920 3.1)
                self._reply()
            except smtplib.SMTPServerDisconnected:
                self.close()
            raise refusal
        if farewell := self._unasked():
            self.close()
            raise smtplib.SMTPDataError(*farewell)
        try:
            self._hand_over(_quoted(content))
        except smtplib.SMTPServerDisconnected:
            with contextlib.suppress(smtplib.SMTPServerDisconnected):
                if not self._has_nothing_to_read():
                    code, words = self._reply()
                    if code >= 400:
                        self.close()
                        raise smtplib.SMTPDataError(code, words) from None
            raise
        self._settle(message, *self._reply())

    def _hear(self, message):
        """See whether the session is still alive, before anything of a message is sent."""
        if farewell := self._unasked():
            self.close()
            raise smtplib.SMTPSenderRefused(*farewell, message.sender)

    def _settle(self, message, code, words):
        """Understand the answer to a content."""
        if 300 <= code <= 399:
            raise _Disorder(f"it answered the content by {code} {_text(self._hide(words))}")
        self.progress.handed_over = True
        self._end_of_answers()
        self.progress.handed_over = False
        if code == 421 or message.farewell:
            self.close()
        if code >= 400:
            raise message.refusal() or message.farewell or smtplib.SMTPDataError(code, words)

    def _end_of_answers(self):
        """See that nothing is left: else what was read as the last answer was another one's."""
        try:
            farewell = self._unasked()
        except _Disorder:
            raise
        except smtplib.SMTPServerDisconnected:
            self.close()
        else:
            if farewell:
                self.close()

    def _exchange(self, message, commands):
        """Send commands together and read their answers.

        :return: the last answer
        """
        self.progress.commands += len(commands)
        data = b"".join(command.data for command in commands)
        try:
            if commands[-1].verb == "bdat":
                self._hand_over(data)
            else:
                self._write(data)
        except smtplib.SMTPServerDisconnected:
            self._read_last_words(message, commands)
            raise
        if len(commands) > 1:
            self._acknowledge_at_once()
        answered = 0
        try:
            for command in commands:
                code, words = self._reply()
                self._take(message, command, code, words)
                answered += 1
        except smtplib.SMTPServerDisconnected as error:
            self.close()
            self._break_off(message, commands, answered, error)
        self._keeps_up = len(commands) > 1 or self._keeps_up
        return code, words

    def _take(self, message, command, code, words):
        """Understand an answer to a command.

        :raises smtplib.SMTPException: it is the last word on this message
        """
        message.take(command, code, words)
        if code != 421 or command.verb != "mail":
            self.progress.answered = True
        if message.refusal():
            self.progress.handed_over = False
        # some say 421 to one recipient, and go on: then the content's answer tells
        if code == 421 and not (self.progress.handed_over and command.verb == "rcpt"):
            self.progress.handed_over = False
            self.close()
            raise message.refusal() or message.farewell

    def _break_off(self, message, commands, answered, error):
        """Raise what is known, when not all answers have come.

        :param answered: the number of those that did
        :raises smtplib.SMTPException: in any case
        """
        if isinstance(error, _Disorder):
            self._distrust(str(error))
            # what refused the message may have been the answer to something else
            self.progress.handed_over = commands[-1].verb == "bdat"
        elif message.last_code == 421 and not isinstance(error.__context__, TimeoutError):
            self.progress.handed_over = False
            raise message.refusal() or message.farewell from error
        elif len(commands) > 1 and not self._keeps_up:
            self._distrust(f"it answered {answered} of {len(commands)} commands sent together")
        refusal = message.refusal()
        if refusal and not self.progress.handed_over:
            raise refusal from error
        raise error

    def _read_last_words(self, message, commands):
        """Read why the server has hung up while it was written to, as far as that has come in.

        :raises smtplib.SMTPException: it has refused the message
        """
        with contextlib.suppress(smtplib.SMTPServerDisconnected):
            for command in commands:
                if self._has_nothing_to_read():
                    break
                self._take(message, command, *self._reply())
        if refusal := message.refusal():
            self.close()
            raise refusal

    def _distrust(self, words):
        """Remember how the server failed to answer commands that were sent together."""
        if not self.lockstep:
            self.lockstep = True
            self.misbehaved = words

    # ------------------------------------------------------------
    # The wire
    # ------------------------------------------------------------

    def _hand_over(self, data):
        """Write a content; until its answer is there, the mail may have arrived."""
        if self.before_hand_over:
            self.before_hand_over()
        self.progress.handed_over = True
        try:
            self._write(data)
        except smtplib.SMTPServerDisconnected:
            self.progress.handed_over = False  # the server lacks the end of it
            raise

    def _write(self, data):
        if self._smtp.debuglevel:
            _logger.debug("send: %r", data)
        try:
            self._smtp.sock.sendall(data)
        except OSError as error:
            raise smtplib.SMTPServerDisconnected(f"Server not connected: {error}") from error

    def _acknowledge_at_once(self):
        """Have TCP acknowledge an answer at once, instead of along with the next data.

        A server may hold its second answer back until then (RFC 896): 40 ms on Linux, the only
        system where this can be asked for. The option does not last, so it is set each time.
        """
        if _QUICKACK is not None:
            with contextlib.suppress(OSError):
                _raw(self._smtp.sock).setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _reply(self):
        """Read one reply.

        :return: (code from 200 to 599, words)
        :raises smtplib.SMTPServerDisconnected: there is none, or it is none
        """
        replies = Replies.of(self._smtp, self._clock)
        try:
            code, words = self._smtp.getreply()
        except smtplib.SMTPResponseException as error:  # too long a line: smtplib has hung up
            raise _Disorder(_text(error.smtp_error)) from error
        except smtplib.SMTPServerDisconnected as error:
            if isinstance(error.__context__, Endless):
                raise _Disorder(str(error.__context__)) from error
            raise
        if not 200 <= code <= 599:
            raise _Disorder(f"no SMTP reply: {_text(self._hide(words))}")
        if len(replies.codes) > 1:
            raise _Disorder(f"a reply of several codes: {_text(b', '.join(replies.codes))}")
        if code >= 400:  # others are shown where they are out of order only
            words = self._hide(words)
        return code, words

    def _unasked(self):
        """Read what the server has said without being asked, without waiting for anything.

        :return: None where it has said nothing, (421, words) of its farewell
        :raises smtplib.SMTPServerDisconnected: it has hung up, or said anything else
        """
        if self._has_nothing_to_read():
            return None
        code, words = self._reply()
        if code != 421:
            raise _Disorder(f"it said unasked: {code} {_text(self._hide(words))}")
        return code, words

    def _has_nothing_to_read(self):
        """Tell whether a read would wait: nothing has come in, and the server has not hung up."""
        smtp = self._smtp
        raw = _raw(smtp.sock)
        timeout = raw.gettimeout()
        smtp.sock.settimeout(0)
        try:
            replies = Replies.of(smtp, self._clock)
            if not replies.peek(1) and raw is smtp.sock and not isinstance(raw, ssl.SSLSocket):
                # nothing, or the end? under TLS nothing is told by an exception
                raw.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except TimeoutError:
            # pyOpenSSL's way to say so, after which this file reads no more
            smtp.file.close()
            smtp.file = None
            return True
        except OSError:
            return False  # reading it anew says what is wrong
        finally:
            smtp.sock.settimeout(timeout)
        return False


class _Command(NamedTuple):
    """A command as it goes out; ``address``: the recipient of RCPT."""

    verb: str
    data: bytes
    address: str = ""


class _Message:
    """What the server has answered to one message's commands.

    :ivar farewell: the exception that tells of a 421
    :ivar last_code: of the last answer
    """

    def __init__(self, sender, recipients, hide):
        self._hide = hide
        self.sender = sender
        self.recipients = recipients
        self.accepted = []
        self.refused = {}
        self.farewell = None
        self.last_code = None
        self._waiting = len(recipients)
        self._sender_refusal = None

    def take(self, command, code, words):
        """Note an answer.

        :raises _Disorder: it cannot be one to this command (RFC 5321 4.3.2)
        """
        verb = command.verb
        expected = code == 354 if verb == "data" else code < 300
        if code < 400 and not expected or expected and verb != "data" and self.refusal():
            raise _Disorder(f"it answered {verb.upper()} by {code} {_text(self._hide(words))}")
        if verb == "mail":
            if code >= 400:
                self._sender_refusal = code, words
        elif verb == "rcpt":
            self._waiting -= 1
            if code >= 400:
                self.refused[command.address] = code, words
            else:
                self.accepted.append(command.address)
        self.last_code = code
        if code == 421:
            self.farewell = (
                smtplib.SMTPRecipientsRefused(dict(self.refused))
                if verb == "rcpt"
                else smtplib.SMTPDataError(code, words)
            )

    def refusal(self):
        """Give the exception that tells why nobody gets the message, None as long as some may."""
        if self._sender_refusal:
            return smtplib.SMTPSenderRefused(*self._sender_refusal, self.sender)
        if not (self._waiting or self.accepted):
            return smtplib.SMTPRecipientsRefused(dict(self.refused))
        return None

    def refused_only(self):
        """Give address -> (code, words) of those who do not get it: one may be named twice."""
        return {
            address: reply
            for address, reply in self.refused.items()
            if address not in self.accepted
        }


class _Flattener(smtplib.SMTP):
    """Has ``smtplib`` make a message's content, and gives that back instead of sending it.

    So it is native's on any version of Python, whatever the message's policy.

    :param smtp: the session's ``smtplib.SMTP``, which knows what the server can do
    """

    def __init__(self, smtp):
        super().__init__(local_hostname="localhost")  # none would have it looked up
        self._smtp = smtp

    def ehlo_or_helo_if_needed(self):
        self._smtp.ehlo_or_helo_if_needed()

    def has_extn(self, opt):
        return self._smtp.has_extn(opt)

    def sendmail(self, from_addr, to_addrs, msg, mail_options=(), rcpt_options=()):
        return from_addr, to_addrs, msg, mail_options, rcpt_options


def _parts(commands, size):
    """Cut a list into lists of at most so many."""
    return [commands[start : start + size] for start in range(0, len(commands), size)]


def _bdat(content):
    """Give the command that tells a whole content (RFC 3030 2): no dot in it is doubled."""
    if not content.endswith(_CRLF):
        content += _CRLF
    return _Command("bdat", b"BDAT %d LAST\r\n%b" % (len(content), content))


def _quoted(content):
    """Give a content as it goes out after DATA (RFC 5321 4.5.2), with the dot that ends it."""
    if content.startswith(b".") or b"\n." in content:
        content = _DOT.sub(b"..", content)
    return content + (b".\r\n" if content.endswith(_CRLF) else b"\r\n.\r\n")


def _raw(sock):
    """Give the socket that has the options: pyOpenSSL's holds it inside."""
    return getattr(sock, "socket", sock)


def _text(words):
    return words.decode("ascii", "backslashreplace") if isinstance(words, bytes) else words
