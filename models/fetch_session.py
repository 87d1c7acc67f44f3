# SPDX-License-Identifier: LGPL-3.0-only
"""One mailbox being fetched: what is committed is marked, and nothing else is.

Native's ``fetch_mail`` marks a mail as seen before it commits, and takes it with a command that
marks it by itself. It need not be copied for that: it asks ``connect()`` for a connection, and
what that returns can keep the order.
"""

import hashlib
import logging
import re
from contextlib import contextmanager, suppress
from imaplib import IMAP4, IMAP4_SSL
from poplib import POP3, POP3_SSL, error_proto

from psycopg2.extensions import TRANSACTION_STATUS_INERROR

from odoo.addons.mail.models.fetchmail import MAIL_TIMEOUT, IMAP4Connection, POP3Connection

from ..smtp import BoundedFile, Endless

_logger = logging.getLogger(__name__)

#: key in the context under which fetching carries its :class:`Fetching`
FETCHING = "mail_company_routing_fetching"

#: bytes of one line of a mail that are still read by POP3; RFC 5322 2.1.1 knows 998, poplib fails
#: at 65536, and a mail that cannot be read would lock its mailbox up for ever
_LONGEST_LINE = 64 * 1024 * 1024

#: bytes of the largest mail that is fetched whole
_LARGEST_MAIL = 128 * 1024 * 1024
#: bytes that are kept of a larger one: headers and, as a rule, its text
_START_OF_MAIL = 1024 * 1024
#: lines of one: as many as it may have of the usual length, and some more
_MOST_LINES = 3_000_000
#: lines and bytes of what an IMAP server says besides, until a command is done
_MOST_RESPONSES = 100_000
_MOST_SAID = 16 * 1024 * 1024
#: bytes of an IMAP line; as imaplib has it
_LONGEST_RESPONSE = 1_000_000
#: seconds that an answer may take as a whole: a large mail on a slow line does take minutes
_LONGEST_ANSWER = 30 * 60

#: a line of POP3's LIST: number and size (RFC 1939 5)
_SIZE = re.compile(rb"(\d{1,18})[ \t]+(\d{1,18})")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:[ \t]*\S", re.IGNORECASE | re.MULTILINE)


class TooLarge(Exception):
    """A mail is larger than any that is fetched; only its beginning came."""


class Fetching:
    """What fetching knows of the mailbox and the mail at hand.

    It travels in the context. A context that comes by RPC holds JSON or XML values: only the code
    that fetches can make one, and only fetching may keep mail in Unprocessed Mail.

    :param server: the ``fetchmail.server``
    """

    def __init__(self, server):
        self.server_id = server.id
        self.company_id = server.company_id.id
        self.raw = b""
        self.is_cut = False
        self.again = False
        self.later = []

    @classmethod
    def of(cls, env):
        """Give the one in force in an environment, None where nothing is being fetched."""
        found = env.context.get(FETCHING)
        return found if isinstance(found, cls) else None

    def begin(self, raw, is_cut=False):
        """Take up a mail that was delivered; None: there is none.

        :param is_cut: only its beginning was fetched, it is too large
        """
        self.raw = raw
        self.is_cut = is_cut
        self.again = False

    def fetch_again(self):
        """Have the mail at hand fetched once more: what failed was not its fault."""
        self.again = True

    def send_later(self, mails):
        """Have mails sent once the mail that caused them is committed and marked."""
        self.later += mails.ids

    def settle(self, env):
        """Commit what became of the mail at hand.

        :return: whether it may be marked as seen, or deleted
        """
        # a COMMIT of a broken transaction is a ROLLBACK that says nothing
        if env.cr.connection.get_transaction_status() == TRANSACTION_STATUS_INERROR:
            env.cr.rollback()
            if self.raw is None or self.again:
                return False
            env["mail.unprocessed"]._keep(self.raw, None)
        env.cr.commit()  # pylint: disable=invalid-commit
        return self.raw is not None and not self.again

    def send(self, env):
        """Send the mails that were put off; those that fail stay in the queue."""
        mails = env["mail.mail"].sudo().browse(self.later).exists()
        self.later = []
        if not mails:
            return
        try:
            # what caused them is committed; each of them is committed once it has left
            mails.send(auto_commit=env["mail.lane"]._commits())
        except Exception:
            if env.cr.closed:
                raise
            env.cr.rollback()
            _logger.warning("Mails that wait for the queue: %s", mails.ids, exc_info=True)


class _Bounded:
    """An ``IMAP4`` that hangs up on a server whose answer to a command is endless."""

    def open(self, *args, **kwargs):
        result = super().open(*args, **kwargs)
        self._bounded = BoundedFile(
            self.sock,
            self.file,
            most_lines=_MOST_RESPONSES,
            most_bytes=_MOST_SAID,
            most_literal=_LARGEST_MAIL,
            seconds=_LONGEST_ANSWER,
        )
        return result

    def send(self, data):
        self._bounded.begin()
        return super().send(data)

    def read(self, size):  # a connection, no record # pylint: disable=method-required-super
        return self._read(self._bounded.read, size)

    def readline(self):
        line = self._read(self._bounded.readline, _LONGEST_RESPONSE + 1)
        if len(line) > _LONGEST_RESPONSE:
            raise self.error(f"a line of more than {_LONGEST_RESPONSE} bytes")
        return line

    def _read(self, read, size):
        try:
            return read(size)
        except Endless:
            self.shutdown()
            raise


class _Imap(_Bounded, IMAP4):
    pass


class _ImapSsl(_Bounded, IMAP4_SSL):
    pass


class BoundedImap(IMAP4Connection):
    """An IMAP connection of which every step has a time-out, and every answer an end.

    Odoo means to give it a time-out, but since Python 3.9 imaplib hands over ``None``, which waits
    for ever: a mailbox that hangs would hold all the others up.
    """

    def __init__(self, server, port, is_ssl, timeout=MAIL_TIMEOUT, context=None):
        # not native's __init__: it takes no time-out, and connects at once
        if is_ssl:
            self.__obj__ = _ImapSsl(server, port, ssl_context=context, timeout=timeout)
        else:
            self.__obj__ = _Imap(server, port, timeout=timeout)


class _BoundedPop:
    """A ``POP3`` of which no answer is endless, and lines may have any length."""

    def _getline(self):
        if not isinstance(self.file, BoundedFile):  # the greeting is read before __init__ is done
            self.file = BoundedFile(
                self.sock,
                self.file,
                most_lines=_MOST_LINES,
                # the sizes that servers tell are rough, and leave doubled dots out
                most_bytes=2 * _LARGEST_MAIL,
                seconds=_LONGEST_ANSWER,
            )
        try:
            line = self.file.readline(_LONGEST_LINE + 1)
        except (Endless, TimeoutError):
            self.close()
            raise
        if not line:
            raise error_proto("-ERR EOF")
        if len(line) > _LONGEST_LINE:
            raise error_proto("line too long")
        return line.removesuffix(b"\n").removesuffix(b"\r"), len(line)

    def _putline(self, line):
        self.file.begin()
        return super()._putline(line)


class _Pop(_BoundedPop, POP3):
    pass


class _PopSsl(_BoundedPop, POP3_SSL):
    pass


class BoundedPop(POP3Connection):
    """A POP3 connection of which every answer has an end, the greeting too."""

    def __init__(self, server, port, is_ssl, timeout=MAIL_TIMEOUT, context=None):
        # not native's __init__: it connects at once
        if is_ssl:
            self.__obj__ = _PopSsl(server, port, timeout=timeout, context=context)
        else:
            self.__obj__ = _Pop(server, port, timeout=timeout)


class _Discreet:
    """A connection whose errors hold no password, even if the server repeats it."""

    def _ask(self, command, *args):
        trouble = None
        try:
            return getattr(self.__obj__, command)(*args)
        except (IMAP4.error, error_proto, OSError) as error:
            words = [self._hide(arg) if isinstance(arg, str | bytes) else arg for arg in error.args]
            trouble = type(error)(*words)
        raise trouble  # outside the block: else the original would be its context


class ImapFetch(_Discreet, IMAP4Connection):
    """The IMAP connection of a mailbox that is being fetched.

    :param connection: logged in, as native makes it
    :param hide: function that takes out of a text what no log shall hold
    """

    def __init__(self, connection, fetching, env, hide):
        self.__obj__ = connection.__obj__
        self._hide = hide
        self._fetching = fetching
        self._env = env

    def select(self, *args):
        """Open the mailbox."""
        return self._ask("select", *args)

    def search(self, *args):
        """Search the mailbox."""
        return self._ask("search", *args)

    def fetch(self, message_set, message_parts):
        """Fetch a mail without marking it (RFC 3501 6.4.5), and give the mail alone.

        No more is asked for than is read: a larger mail would break every run off, and what is
        behind it would never be fetched.

        :return: as ``IMAP4.fetch``, without what the server tells unasked; the mail is None where
            it is gone or cannot be read
        """
        self._fetching.begin(None)
        if message_parts == "(RFC822)":
            message_parts = f"(BODY.PEEK[]<0.{_LARGEST_MAIL}>)"
        result, data = self._ask("fetch", message_set, message_parts)
        parts = [part for part in data if isinstance(part, tuple)]
        if result == "OK" and parts:
            raw = parts[0][1]
            is_cut = len(raw) >= _LARGEST_MAIL
            if is_cut:
                raw = raw[:_START_OF_MAIL]
                parts = [(parts[0][0], raw)]
            self._fetching.begin(raw, is_cut)
        else:
            parts = [(b"", None)]
        return result, parts

    def store(self, message_set, command, flags):
        """Mark a mail as seen once it is committed; anything else as it is."""
        if flags != "\\Seen":
            return self._ask("store", message_set, command, flags)
        if command == "-FLAGS":  # nothing has marked it
            return "OK", [None]
        if not self._fetching.settle(self._env):
            return "NO", [None]
        result = self._ask("store", message_set, command, flags)
        self._fetching.send(self._env)
        return result

    def close(self):
        """Close the mailbox, if one is open."""
        if self.__obj__.state == "SELECTED":
            with _broken_off(self.__obj__.shutdown):
                return self._ask("close")
        return "OK", [None]

    def logout(self):
        """Log out."""
        with _broken_off(self.__obj__.shutdown):
            return self._ask("logout")


class PopFetch(_Discreet, POP3Connection):
    """The POP3 connection of a mailbox that is being fetched.

    :param connection: logged in, as native makes it
    :param hide: function that takes out of a text what no log shall hold
    """

    def __init__(self, connection, fetching, env, hide):
        self.__obj__ = connection.__obj__
        self._hide = hide
        self._fetching = fetching
        self._env = env
        self._sizes = {}

    def stat(self):
        """Count the mails."""
        return self._ask("stat")

    def list(self, *args):
        """List the mails, and remember their sizes."""
        answer = self._ask("list", *args)
        if not args:
            self._sizes = dict(
                map(int, size.groups()) for size in map(_SIZE.match, answer[1]) if size
            )
        return answer

    def retr(self, which):
        """Fetch a mail; of one that is too large, the headers (RFC 1939 7)."""
        self._fetching.begin(None)
        is_cut = self._sizes.get(which, 0) > _LARGEST_MAIL
        answer = self._ask("top", which, 0) if is_cut else self._ask("retr", which)
        self._fetching.begin(b"\n".join(answer[1]), is_cut)
        return answer

    def dele(self, which):
        """Delete a mail once it is committed.

        :raises TooLarge: only its headers were fetched; it is committed, and stays at the server.
            Native comes again for more mails as long as it can delete some
        """
        if not self._fetching.settle(self._env):
            return b"-ERR"
        if self._fetching.is_cut:
            raise TooLarge(f"mail {which} is not deleted")
        answer = self._ask("dele", which)
        self._fetching.send(self._env)
        return answer

    def quit(self):
        """Say goodbye; a second call does nothing."""
        if self.__obj__.sock is None:
            return b"+OK"
        with _broken_off(self.__obj__.close):
            return self._ask("quit")


@contextmanager
def _broken_off(shutdown):
    """Hang up where a goodbye fails, and say so by an ``OSError``.

    That is what native expects there; a library's own error would stop the other mailboxes.
    """
    try:
        yield
    except (OSError, EOFError, IMAP4.error, error_proto) as error:
        with suppress(OSError, AttributeError, ValueError):
            shutdown()
        raise ConnectionError(f"The mailbox broke off: {error}") from error


def with_message_id(raw):
    """Give a message that has none a Message-Id of its own.

    Native invents one by the clock, so that the mail is another one when it is fetched again.

    :param raw: the message, in bytes
    """
    end = _END_OF_HEADERS.search(raw)
    if _MESSAGE_ID.search(raw, 0, end.start() if end else len(raw)):
        return raw
    return b"Message-Id: <%s@fetched.invalid>\r\n" % hashlib.sha256(raw).hexdigest().encode() + raw


@contextmanager
def attempt(cr):
    """A savepoint whose rollback also drops what was to happen at the commit.

    Native sends the mails of a document after the commit, even if the document is gone by then.
    A callback that is registered for both commit and rollback stays: it has to run in either case.
    """
    queues = [
        (queue, list(queue._funcs), dict(queue.data)) for queue in (cr.precommit, cr.postcommit)
    ]
    try:
        with cr.savepoint():
            yield
    except Exception:
        after_both = [func for func in cr.postcommit._funcs if func in cr.postrollback._funcs]
        for queue, functions, data in queues:
            queue.clear()
            queue._funcs.extend(functions)
            queue.data.update(data)
        for func in reversed(after_both):
            if func not in cr.postcommit._funcs:
                cr.postcommit._funcs.appendleft(func)
        raise
