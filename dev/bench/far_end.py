# SPDX-License-Identifier: LGPL-3.0-only
"""The benchmarks' mail provider, for a process of its own: its time and memory are not Odoo's."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dev.bench import DOMAIN, PASSWORD
from dev.provider import Mail, Provider

#: so many relays stand before the provider: to Odoo, each is a server
RELAYS = 100
#: a client begins with a mail's content
CONTENT = re.compile(rb"data\r\n|bdat ", re.IGNORECASE)


class Relay:
    """Stands between Odoo and the provider, and holds bytes back as a distance does.

    ``distance`` is seconds of the way to and fro; ``hangs`` lets it say nothing more once it has
    seen a client begin with a mail's content; ``open`` and ``most`` count sessions.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.distance = 0.0
        self.hangs = False
        self.open = self.most = 0

    async def start(self) -> int:
        """Begin to listen; return the port."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        hung = threading.Event()

        def there(data: bytes) -> None:
            if self.hangs and CONTENT.search(data):
                hung.set()
            far_writer.write(data)

        def back(data: bytes) -> None:
            if not hung.is_set():
                writer.write(data)

        outgoing = asyncio.ensure_future(self._carry(reader, there))
        incoming = asyncio.ensure_future(self._carry(far_reader, back))
        await asyncio.wait([outgoing, incoming], return_when=asyncio.FIRST_COMPLETED)
        if hung.is_set():
            await outgoing  # until the client hangs up
        self.open -= 1
        for end in (writer, far_writer):
            end.close()

    async def _carry(self, reader: asyncio.StreamReader, hand_on) -> None:
        """Hand bytes on, each so long after it has come."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                asyncio.get_running_loop().call_later(self.distance / 2, hand_on, data)
        await asyncio.sleep(self.distance / 2)  # the last words are under way


class FarEnd:
    """The provider and its relays. Every account may send as anybody.

    :param tls: as the provider takes it
    """

    def __init__(self, tls: str) -> None:
        accounts = [f"post@{DOMAIN}", *(f"post@c{number}.example" for number in range(RELAYS))]
        self.provider = Provider(
            dict.fromkeys(accounts, PASSWORD), rule="any", tls=tls, keep_data=False
        )

    def __enter__(self) -> FarEnd:
        self.provider.start()
        self.relays = [Relay(self.provider.smtp_port) for _number in range(RELAYS)]
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.provider.stop()

    def listen(self) -> tuple[int, list[int]]:
        """Start the relays; return the provider's port and theirs."""
        starting = [
            asyncio.run_coroutine_threadsafe(relay.start(), self.loop) for relay in self.relays
        ]
        return self.provider.smtp_port, [started.result() for started in starting]

    def begin(
        self,
        delay: float = 0.0,
        distance: float = 0.0,
        hangs: bool = False,
        announces: Sequence[str] = (),
        keep_data: bool = False,
    ) -> None:
        """Forget what came, and be like this from now on.

        :param delay: seconds that the provider waits before each reply
        :param distance: seconds to the relays and back
        :param hangs: the first relay hangs at DATA or BDAT
        :param announces: the extensions that the provider announces
        :param keep_data: keep the mails, for :meth:`seen`
        """
        self.provider.clear()
        self.provider.delay = delay
        self.provider.announces = announces
        self.provider.keep_data = keep_data
        for relay in self.relays:
            relay.distance, relay.most = distance, relay.open
        self.relays[0].hangs = hangs

    def seen(self) -> dict[str, Any]:
        """Count what has come since: mails, those to recipients who have one already, strays.

        ``most`` is how many sessions were open at one relay at one time.
        """
        mails = self.provider.mails
        return {
            "mails": mails if self.provider.keep_data else [],
            "count": len(mails),
            "by_login": Counter(mail.login for mail in mails),
            "twice": len(mails) - len({mail.rcpt_tos for mail in mails}),
            "strays": sum(_is_stray(mail) for mail in mails),
            "logins": self.provider.logins,
            "most": max(relay.most for relay in self.relays),
        }


def _is_stray(mail: Mail) -> bool:
    """Tell whether a mail left through another server than its company's.

    The bench's companies each have a domain, which is their login's and their MAIL FROM's.
    """
    return mail.login.partition("@")[2] != mail.mail_from.partition("@")[2]
