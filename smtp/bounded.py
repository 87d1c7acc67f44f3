# SPDX-License-Identifier: LGPL-3.0-only
"""Reading what a server says up to a limit only: a hostile one may never stop.

``smtplib``, ``imaplib`` and ``poplib`` read any number of lines of an answer, and their time-out
begins again with each byte.
"""

import smtplib
import time

#: bytes that are read at once of something large
_AT_ONCE = 64 * 1024
#: lines and bytes of an SMTP reply; RFC 5321 4.5.3.1.5 knows 512 bytes a line, and sets no number
MOST_REPLY_LINES = 100
MOST_REPLY_BYTES = 64 * 1024


class Endless(OSError):
    """A server's answer is longer than any real one; the message tells the limit."""


class BoundedFile:
    """A socket's file, read no further than an answer can be long.

    :param sock: the socket; its time-out is that for one read
    :param file: as ``sock.makefile("rb")`` gives it
    :param most_lines: the lines that an answer may have
    :param most_bytes: the bytes that they may have
    :param most_literal: the bytes that it may have besides, read by :meth:`read`
    :param seconds: how long the whole of it may take; None: as long as one read
    :param clock: function that gives the seconds since some moment
    """

    def __init__(
        self,
        sock,
        file,
        *,
        most_lines,
        most_bytes,
        most_literal=0,
        seconds=None,
        clock=time.monotonic,
    ):
        self._sock = getattr(sock, "socket", sock)  # pyOpenSSL's holds it inside
        self._file = file
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._most_literal = most_literal
        self._seconds = seconds
        self._clock = clock
        self.begin()

    def begin(self):
        """Tell that what is read next belongs to another answer."""
        self._lines_left = self._most_lines
        self._bytes_left = self._most_bytes
        self._literal_left = self._most_literal
        self._deadline = None  # set by the first read: until then nothing is waited for

    def readline(self, size):
        """Read a line, or so many bytes of it.

        :raises Endless: the answer has more than it may have
        :raises TimeoutError: it has not come in time
        :raises OSError: as the socket
        """
        self._lines_left -= 1
        if self._lines_left < 0:
            raise Endless(f"an answer of more than {self._most_lines} lines")
        line = bytearray()
        while len(line) < size and not line.endswith(b"\n"):
            some = self._wait(self._file.peek, 1)
            if not some:
                break
            some = some[: some.find(b"\n") + 1 or None]
            line += self._file.read(min(len(some), size - len(line)))
            if len(line) > self._bytes_left:
                raise Endless(f"an answer of more than {self._most_bytes} bytes")
        self._bytes_left -= len(line)
        return bytes(line)

    def read(self, size):  # a file, no record # pylint: disable=method-required-super
        """Read so many bytes, fewer where the server hangs up.

        :raises Endless, TimeoutError, OSError: as :meth:`readline`; too large a size is refused
            before anything is read
        """
        self._literal_left -= size
        if self._literal_left < 0:
            raise Endless(f"an answer of more than {self._most_literal} bytes")
        parts = []
        while size > 0 and (some := self._wait(self._file.read1, min(size, _AT_ONCE))):
            parts.append(some)
            size -= len(some)
        return b"".join(parts)

    def peek(self, size):
        return self._file.peek(size)

    def close(self):
        self._file.close()

    def _wait(self, read, size):
        """Have something read once, at most as long as there is time left."""
        patience = self._sock.gettimeout()
        if patience is None:
            return read(size)
        if self._deadline is None:
            self._deadline = self._clock() + (self._seconds or patience)
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(min(left, patience))
        try:
            return read(size)
        finally:
            self._sock.settimeout(patience)


class Replies(BoundedFile):
    """The file that ``smtplib.SMTP.getreply`` reads from.

    :ivar codes: those of the reply that was read last, each once: RFC 5321 4.2.1 wants one
    """

    def __init__(self, sock, file, clock=time.monotonic):
        super().__init__(
            sock,
            file,
            most_lines=MOST_REPLY_LINES,
            most_bytes=MOST_REPLY_BYTES,
            clock=clock,
        )
        self.codes = []
        self._goes_on = False

    @classmethod
    def of(cls, smtp, clock=time.monotonic):
        """Give those of an ``smtplib.SMTP``; from then on it reads by them.

        :raises smtplib.SMTPServerDisconnected: it is not connected
        """
        if smtp.sock is None:
            raise smtplib.SMTPServerDisconnected("the session is over")
        if not isinstance(smtp.file, cls):
            file = smtp.file or smtp.sock.makefile("rb")  # as smtplib does when it reads
            smtp.file = cls(smtp.sock, file, clock)
        return smtp.file

    def readline(self, size):
        if not self._goes_on:
            self.begin()
            self.codes = []
        line = super().readline(size)
        code = line[:3]
        if code not in self.codes:
            self.codes.append(code)
        self._goes_on = line[3:4] == b"-" and _is_number(code)
        return line


def _is_number(code):
    """Tell whether ``smtplib`` takes this for a code, after which a reply may go on."""
    try:
        int(code)
    except ValueError:
        return False
    return True
