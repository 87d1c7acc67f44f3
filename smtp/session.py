"""One SMTP session, and how far each of its mails got."""

from __future__ import annotations

import copy
import email.generator
import io
import re
import smtplib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import Message

_LINE_BREAK = re.compile(rb"\r\n|\r|\n")
_DOT_AT_START = re.compile(rb"(?m)^\.")


class UnsafeHeader(Exception):
    """A value that would make a header of its own; ``args``: the line that it would make."""


@dataclass
class MailProgress:
    """How far one mail got; it may be sent as several messages, one for each recipient.

    The server may have taken a mail whose content is out even if its answer never came (RFC 5321
    4.5.3.2.6, RFC 1047: the moment in which duplicates arise); before that, it has not.
    """

    #: the addresses that the server has taken it for
    accepted: list[str] = field(default_factory=list)
    #: address -> (code, words) of those that the server did not take it for
    refused: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    #: why it failed: others may swallow what is raised
    error: Exception | None = None
    #: how many commands were sent for it
    commands: int = 0
    #: whether its content is out, and no answer has come
    handed_over: bool = False
    first_of_session: bool = True

    def died_before(self) -> bool:
        """Tell whether an idle session had died between two mails.

        Its first command, MAIL, then gets no answer. Of a fresh session that cannot be said.
        """
        return not self.first_of_session and self.commands <= 1 and not self.handed_over


class SmtpSession:
    """Sends mail by mail through a connection that is logged in, and closes without raising.

    What it does not define is the connection's own.

    :param connection: Odoo's ``SMTPConnection``, as ``ir.mail_server.connect`` returns it
    :param server_id: id of its ``ir.mail_server``; None: given by its host, or of the
        configuration file
    :param named: whether the caller has named that server
    :param check_headers: takes the names of a message's headers, and the message as it goes out;
        gives the first line that is none of them, ``""`` without one
    """

    #: native gives every mail the From that its session was opened for; this one serves them all
    smtp_from = None

    def __init__(
        self,
        connection,
        *,
        server_id: int | None = None,
        named: bool = False,
        check_headers: Callable[[list[str], bytes], str] | None = None,
    ):
        self._connection = connection
        self._smtp: smtplib.SMTP = connection.__obj__
        self.server_id = server_id
        self.named = named
        self.check_headers = check_headers
        self.progress = MailProgress()
        #: called right before the content of a message goes out
        self.before_hand_over: Callable[[], None] | None = None
        self._mails = 0

    def __getattr__(self, name):
        return getattr(self._connection, name)

    @property
    def is_open(self) -> bool:
        """Tell whether the next mail can be sent; smtplib lets go of a session that is over."""
        return self._smtp.sock is not None

    def start_mail(self) -> MailProgress:
        """Tell that the next mail's turn has come; give what will be known of it."""
        self._mails += 1
        self.progress = MailProgress(first_of_session=self._mails == 1)
        return self.progress

    def send_message(
        self,
        message: Message,
        from_addr: str,
        to_addrs: Sequence[str],
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, tuple[int, bytes]]:
        """Send a message, as ``smtplib.SMTP.send_message``.

        :raises UnsafeHeader: where one of its headers would make another one
        :raises smtplib.SMTPException: as :meth:`sendmail`
        """
        message = copy.copy(message)
        del message["Bcc"], message["Resent-Bcc"]
        policy = message.policy
        if not "".join([from_addr, *to_addrs]).isascii():  # RFC 6531 3.4
            policy = policy.clone(utf8=True)
            mail_options = [*mail_options, "SMTPUTF8", "BODY=8BITMIME"]
        content = io.BytesIO()
        generator = email.generator.BytesGenerator(content, policy=policy)
        generator.flatten(message, linesep="\r\n")
        data = content.getvalue()
        line = self.check_headers(list(message.keys()), data) if self.check_headers else ""
        if line:
            raise UnsafeHeader(line)
        return self.sendmail(from_addr, to_addrs, data, mail_options, rcpt_options)

    def sendmail(
        self,
        from_addr: str,
        to_addrs: Sequence[str],
        msg: bytes,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, tuple[int, bytes]]:
        """Send a message that is written already, as ``smtplib.SMTP.sendmail``.

        :return: address -> (code, words) of the recipients who were refused
        :raises smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused: the server refused it;
            the session can be used
        :raises smtplib.SMTPServerDisconnected: the session is over; ``progress`` tells the rest
        """
        progress = self.progress
        progress.handed_over = False
        try:
            refused = self._transact(from_addr, to_addrs, msg, mail_options, rcpt_options)
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
            progress.error = error
            raise
        except (smtplib.SMTPException, OSError) as error:
            self.close()
            progress.error = smtplib.SMTPServerDisconnected(str(error))
            raise progress.error from error
        progress.accepted += [address for address in to_addrs if address not in refused]
        progress.refused.update(refused)
        return refused

    def _transact(self, from_addr, to_addrs, msg, mail_options, rcpt_options):
        smtp = self._smtp
        if smtp.has_extn("size"):  # RFC 1870
            mail_options = [f"size={len(msg)}", *mail_options]
        code, words = self._ask(smtp.mail, from_addr, mail_options)
        if code != 250:
            self._leave(code)
            raise smtplib.SMTPSenderRefused(code, words, from_addr)
        refused = {}
        for address in to_addrs:
            code, words = self._ask(smtp.rcpt, address, rcpt_options)
            if code not in (250, 251):
                refused[address] = code, words
            if code == 421:
                break
        if len(refused) == len(to_addrs) or code == 421:
            self._leave(code)
            raise smtplib.SMTPRecipientsRefused(refused)
        code, words = self._ask(smtp.docmd, "DATA")
        if code != 354:
            self._leave(code)
            raise smtplib.SMTPDataError(code, words)
        msg = _DOT_AT_START.sub(b"..", _LINE_BREAK.sub(b"\r\n", msg))
        if self.before_hand_over:
            self.before_hand_over()
        self.progress.handed_over = True
        smtp.send(msg + (b"" if msg.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        code, words = self._reply(smtp.getreply)
        if code < 300:
            self.progress.handed_over = False
        elif code >= 400:
            self.progress.handed_over = False
            self._leave(code)
            raise smtplib.SMTPDataError(code, words)
        else:
            # neither taken nor refused: who can say what became of it?
            raise smtplib.SMTPServerDisconnected(f"no reply to a mail: {code} {words!r}")
        return refused

    def _ask(self, command, *args):
        self.progress.commands += 1
        return self._reply(command, *args)

    def _reply(self, command, *args):
        """Give the reply to a command.

        An answer that is no SMTP reply (RFC 5321 4.2) is as good as none: what comes next may be
        the rest of it, and the answer to one command would be read as that to another.
        """
        try:
            code, words = command(*args)
        except smtplib.SMTPResponseException as error:  # too long a line: smtplib has hung up
            raise smtplib.SMTPServerDisconnected(str(error.smtp_error)) from error
        if not 200 <= code <= 599:
            raise smtplib.SMTPServerDisconnected(f"no SMTP reply: {words!r}")
        return code, words

    def _leave(self, code):
        """Leave a refused mail behind: RSET, or the end where the server has said so."""
        if code == 421:  # RFC 5321 3.8
            self.close()
        else:
            self._reply(self._smtp.rset)

    def reset(self) -> None:
        """Leave the session as if the present mail had not been; ``is_open`` tells whether."""
        if not self.is_open:
            return
        try:
            self._reply(self._smtp.rset)
        except (smtplib.SMTPException, OSError):
            self.close()

    def quit(self) -> None:
        """Say goodbye and close; no exception comes of it."""
        try:
            if self.is_open:
                self._smtp.quit()
        except (smtplib.SMTPException, OSError):
            self.close()

    def close(self) -> None:
        """Close without a goodbye."""
        self._smtp.close()
