# SPDX-License-Identifier: LGPL-3.0-only
"""POP3 for the provider (RFC 1939), with what poplib needs of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .service import Provider


class Pop3:
    """POP3 on the provider's mailboxes; what is deleted at QUIT is gone from POP3 alone."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._deleted: set[tuple[str, int]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one POP3 connection to its end."""
        login, maildrop = "", None
        deleting: set[tuple[str, int]] = set()
        writer.write(b"+OK POP3 ready\r\n")
        while line := await reader.readline():
            verb, *words = line.decode("ascii", "replace").split()
            verb = verb.upper()
            if verb == "QUIT":
                self._deleted |= deleting
                writer.write(b"+OK\r\n")
                break
            if verb == "USER":
                login, answer = words[0], b"+OK"
            elif verb == "PASS":
                maildrop = self._maildrop(login, " ".join(words))
                answer = b"-ERR [AUTH] wrong" if maildrop is None else b"+OK"
            elif maildrop is None:
                answer = b"-ERR log in first"
            else:
                answer = _answer(verb, words, maildrop, deleting)
            writer.write(answer + b"\r\n")
            await writer.drain()
        writer.close()

    def _maildrop(self, login: str, password: str) -> dict[tuple[str, int], bytes] | None:
        """Return the mails that no session has deleted; None for a wrong login."""
        account = self._provider.account(login, password)
        if account is None:
            return None
        address = account.address
        mails = {(address, n): mail for n, mail in enumerate(self._provider.mailbox(address))}
        return {key: mail for key, mail in mails.items() if key not in self._deleted}


def _answer(
    verb: str,
    words: list[str],
    maildrop: dict[tuple[str, int], bytes],
    deleting: set[tuple[str, int]],
) -> bytes:
    if verb == "STAT":
        return b"+OK %d %d" % (len(maildrop), sum(map(len, maildrop.values())))
    if verb == "LIST":
        sizes = enumerate(map(len, maildrop.values()), 1)
        return _lines(b"%d %d" % (number, size) for number, size in sizes)
    if verb in ("RETR", "TOP", "DELE"):
        if not words[0].isdigit() or not 0 < int(words[0]) <= len(maildrop):
            return b"-ERR no such message"
        key = list(maildrop)[int(words[0]) - 1]
        if verb == "DELE":
            deleting.add(key)
            return b"+OK"
        mail = re.sub(rb"\r\n|\r|\n", b"\n", maildrop[key]).removesuffix(b"\n")
        if verb == "TOP":
            mail = mail.partition(b"\n\n")[0] + b"\n"
        return _lines(mail.split(b"\n"))
    return b"+OK" if verb in ("NOOP", "RSET") else b"-ERR unknown"


def _lines(lines: Iterable[bytes]) -> bytes:
    """Return an answer of several lines, dot-stuffed (RFC 1939, section 3)."""
    stuffed = (b"." + line if line.startswith(b".") else line for line in lines)
    return b"\r\n".join((b"+OK", *stuffed, b"."))
