# SPDX-License-Identifier: LGPL-3.0-only
"""The benchmarks' mail provider, in a process of its own: its time and memory are not Odoo's."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
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

    ``port`` is the provider's own, ``ports`` are the relays'.

    :param tls: as the provider takes it
    """

    def __init__(self, tls: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, tls), daemon=True)
        self.process.start()
        other.close()  # so that its death ends what waits for it
        self.port, self.ports = self.connection.recv()

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
        self._ask((delay, distance, hangs, tuple(announces), keep_data))

    def seen(self) -> dict[str, Any]:
        """Tell what has come since: see :func:`_count`."""
        return self._ask(())

    def _ask(self, order: tuple) -> dict[str, Any]:
        self.connection.send(order)
        return self.connection.recv()

    def stop(self) -> None:
        """End the process."""
        self.connection.send(None)
        self.process.join(10)


def _serve(connection: Connection, tls: str) -> None:
    """Be the process, for the one at the other end."""
    accounts = [f"post@{DOMAIN}", *(f"post@c{number}.example" for number in range(RELAYS))]
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    with Provider(
        dict.fromkeys(accounts, PASSWORD), rule="any", tls=tls, keep_data=False
    ) as provider:
        relays = [Relay(provider.smtp_port) for _number in range(RELAYS)]
        starting = [asyncio.run_coroutine_threadsafe(relay.start(), loop) for relay in relays]
        connection.send((provider.smtp_port, [started.result() for started in starting]))
        while (order := connection.recv()) is not None:
            if order:
                provider.clear()
                provider.delay, distance, hangs, provider.announces, provider.keep_data = order
                for relay in relays:
                    relay.distance, relay.most = distance, relay.open
                relays[0].hangs = hangs
            connection.send(_count(provider, relays))


def _count(provider: Provider, relays: Sequence[Relay]) -> dict[str, Any]:
    """Count what came: mails, those to recipients who have one already, strays, logins.

    ``most`` is how many sessions were open at one relay at one time.
    """
    mails = provider.mails
    return {
        "mails": mails if provider.keep_data else [],
        "count": len(mails),
        "by_login": Counter(mail.login for mail in mails),
        "twice": len(mails) - len({mail.rcpt_tos for mail in mails}),
        "strays": sum(_is_stray(mail) for mail in mails),
        "logins": provider.logins,
        "most": max(relay.most for relay in relays),
    }


def _is_stray(mail: Mail) -> bool:
    """Tell whether a mail left through another server than its company's.

    The bench's companies each have a domain, which is their login's and their MAIL FROM's.
    """
    return mail.login.partition("@")[2] != mail.mail_from.partition("@")[2]
