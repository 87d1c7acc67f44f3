# SPDX-License-Identifier: LGPL-3.0-only
"""POP3 for the provider (RFC 1939), with what poplib needs of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .mails import Account

if TYPE_CHECKING:
    from .smtp import Provider


class Pop3:
    """POP3 (RFC 1939) on the provider's mailboxes, with what poplib needs of it."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._deleted: dict[str, set[int]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one POP3 connection to its end."""
        writer.write(b"+OK POP3 ready\r\n")
        account: Account | None = None
        login = ""
        deleting: set[int] = set()
        while line := await reader.readline():
            verb, *words = line.decode("ascii", "replace").split()
            verb = verb.upper()
            if verb == "QUIT":
                if account:
                    self._deleted.setdefault(account.address, set()).update(deleting)
                writer.write(b"+OK\r\n")
                break
            if verb == "USER":
                login = words[0].lower()
                answer = "+OK"
            elif verb == "PASS":
                account = self._provider._accounts.get(login)
                if account and account.password != " ".join(words):
                    account = None
                answer = "+OK" if account else "-ERR [AUTH] wrong"
            elif account is None:
                answer = "-ERR log in first"
            else:
                answer = self._answer(verb, words, self._maildrop(account), deleting)
            data = answer if isinstance(answer, bytes) else answer.encode() + b"\r\n"
            writer.write(data)
            await writer.drain()
        writer.close()

    def _maildrop(self, account: Account) -> dict[int, bytes]:
        """Number -> mail, of those that no session has deleted."""
        deleted = self._deleted.get(account.address, ())
        mails = enumerate(self._provider.mailbox(account.address))
        return {number: mail for number, mail in mails if number not in deleted}

    def _answer(
        self, verb: str, words: list[str], maildrop: dict[int, bytes], deleting: set[int]
    ) -> str | bytes:
        numbers = list(maildrop)
        if verb == "STAT":
            return f"+OK {len(maildrop)} {sum(map(len, maildrop.values()))}"
        if verb == "LIST":
            lines = (b"%d %d" % (n, len(maildrop[k])) for n, k in enumerate(numbers, 1))
            return self._lines(lines)
        if verb in ("RETR", "TOP", "DELE"):
            if not words[0].isdigit() or not 0 < int(words[0]) <= len(numbers):
                return "-ERR no such message"
            key = numbers[int(words[0]) - 1]
            if verb == "DELE":
                deleting.add(key)
                return "+OK"
            mail = re.sub(rb"\r\n|\r|\n", b"\n", maildrop[key]).removesuffix(b"\n")
            if verb == "TOP":
                mail = mail.partition(b"\n\n")[0] + b"\n"
            return self._lines(mail.split(b"\n"))
        return "+OK" if verb in ("NOOP", "RSET") else "-ERR unknown"

    @staticmethod
    def _lines(lines: Iterable[bytes]) -> bytes:
        stuffed = (b"." + line if line.startswith(b".") else line for line in lines)
        return b"".join(line + b"\r\n" for line in (b"+OK", *stuffed, b"."))
