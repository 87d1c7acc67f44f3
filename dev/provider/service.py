# SPDX-License-Identifier: LGPL-3.0-only
"""A mail provider on loopback: SMTP, IMAP and POP3 on real sockets, with a real provider's rules.

The tests, the demo and the benchmarks send through it what they would send to Tencent or to
Office 365, and it refuses what those refuse, in the same phase and with the same words. SMTP is
served by aiosmtpd, IMAP by pymap. Nothing here imports Odoo.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import ssl
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from email.message import Message
from typing import Any

from .client import submit
from .faults import Fault
from .mails import Account, Mail, Refusal
from .pop3 import Pop3
from .rules import HOST, RULES, Rule, domain_of
from .smtp import SmtpSession
from .tls import client_context, server_context

_RETURN_PATH = re.compile(rb"^Return-Path:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)


class Provider:
    """A provider's SMTP (and IMAP, POP3) service on 127.0.0.1, on ports the system chooses.

    :param accounts: password by login. A login is an address; for others see :meth:`add_account`.
    :param rule: a name in :data:`RULES` or a :class:`Rule`: what the provider lets through.
    :param catch_all: by domain, the account's address that gets what nobody else there gets.
    :param tls: ``none``, ``starttls`` (required before AUTH and MAIL, RFC 3207) or ``ssl``
        (RFC 8314). ``ssl`` holds for IMAP as well; with ``starttls`` IMAP is plain.
    :param delay: seconds added to the greeting and to each SMTP command.
    :param require_auth: refuse MAIL FROM without a login. When False, a session without a login
        is not checked by the rule; one with a login is.
    :param imap: serve the mailboxes over IMAP.
    :param pop3: serve the mailboxes over POP3 (RFC 1939), plain. What is deleted there is gone at
        QUIT, from POP3 alone.
    :param announces: extensions that it announces, and keeps: ``PIPELINING`` (RFC 2920),
        ``CHUNKING`` (RFC 3030, a whole mail in one BDAT).
    :param keep_data: False records envelopes only and fills no mailbox by SMTP: memory stays
        flat in a benchmark.
    :ivar trace: headers that it writes above a mail that it accepts.
    :raises KeyError: unknown ``rule``.
    :raises ValueError: unknown ``tls``, or a catch-all without its account.

    Like the Chinese providers it does not offer SMTPUTF8 (RFC 6531): an address that is not ASCII
    fails. Every method may be called from any thread. What was seen is in attributes; see
    :meth:`clear`.
    """

    client_context = staticmethod(client_context)

    def __init__(
        self,
        accounts: Mapping[str, str],
        rule: str | Rule = "tencent",
        *,
        catch_all: Mapping[str, str] | None = None,
        tls: str = "none",
        delay: float = 0.0,
        require_auth: bool = True,
        imap: bool = False,
        pop3: bool = False,
        announces: Collection[str] = (),
        keep_data: bool = True,
    ) -> None:
        if tls not in ("none", "starttls", "ssl"):
            raise ValueError(f"unknown tls {tls!r}: none, starttls or ssl")
        self.rule = RULES[rule] if isinstance(rule, str) else rule
        self.tls = tls
        self.delay = delay
        self.require_auth = require_auth
        self.announces = tuple(announces)
        self.keep_data = keep_data
        self.trace = b""
        self.smtp_host = self.imap_host = self.pop3_host = HOST
        self.smtp_port = self.imap_port = self.pop3_port = 0

        self._changed = threading.Condition(threading.RLock())
        self._accounts: dict[str, Account] = {}
        self._catch_all: dict[str, str] = {}
        self._mailboxes: dict[str, list[bytes]] = {}
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)
        self.open: set[SmtpSession] = set()
        self._with_imap = imap
        self._imap: Any = None
        self._pop3 = Pop3(self) if pop3 else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.clear()
        for login, password in accounts.items():
            self.add_account(login, password)
        for domain, mailbox in (catch_all or {}).items():
            self.set_catch_all(domain, mailbox)

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> Provider:
        """Open the ports and serve. After :meth:`stop` the same ports are taken again, so that
        an outage can be played; the IMAP mailboxes then come back with all mails unseen.

        :raises RuntimeError: already started.
        :raises OSError: a former port belongs to somebody else by now.
        """
        if self._loop is not None:
            raise RuntimeError("the provider is already started")
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_report_exception)
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="mail provider", daemon=True
        )
        self._thread.start()
        try:
            self._in_loop(self._serve())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Drop all connections, end the thread, free the ports. Twice is harmless."""
        if self._loop is not None:
            self._in_loop(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = self._imap = None

    def __enter__(self) -> Provider:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # -- accounts and mailboxes ---------------------------------------------------------------

    def add_account(
        self,
        login: str,
        password: str,
        *,
        identity: str | None = None,
        send_as: Collection[str] = (),
    ) -> None:
        """Create an account with its mailbox, or replace the one that has this login.

        :param login: an address, or a name such as ``apikey``.
        :param identity: the address of a login that is none. Without it such an account owns no
            mailbox and may send from ``send_as`` only.
        :param send_as: the other addresses that it may send from (aliases, "Send As"). Mail to
            one of these that has no account of its own lands in this mailbox.
        """
        own = (identity or (login if "@" in login else "")).lower()
        account = Account(login, password, own, frozenset(a.lower() for a in send_as))
        with self._changed:
            self._accounts[login.lower()] = account
            if own:
                self._mailboxes.setdefault(own, [])
            if self._imap:
                self._imap.add_account(account)

    def account(self, login: str, password: str) -> Account | None:
        """Return the account that has this login and this password."""
        account = self._accounts.get(login.lower())
        return account if account and account.password == password else None

    def set_catch_all(self, domain: str, mailbox: str | None) -> None:
        """Let the account ``mailbox`` catch what else comes to ``domain``; None ends that.

        :raises ValueError: no account has the address ``mailbox``.
        """
        with self._changed:
            if mailbox is None:
                self._catch_all.pop(domain.lower(), None)
            elif mailbox.lower() in self._mailboxes:
                self._catch_all[domain.lower()] = mailbox.lower()
            else:
                raise ValueError(f"catch-all of {domain}: no account has the address {mailbox}")

    def _mailbox_for(self, recipient: str) -> str | None:
        """Return the address of the mailbox that gets mail for ``recipient``: its own, else the
        one of the account it is an alias of, else its domain's catch-all, else None."""
        address = recipient.lower()
        with self._changed:
            if address in self._mailboxes:
                return address
            for account in self._accounts.values():
                if address in account.send_as and account.address:
                    return account.address
            return self._catch_all.get(domain_of(address))

    def lacks(self, recipient: str) -> bool:
        """Tell whether the domain's mailboxes lie here, but nobody gets mail for ``recipient``."""
        domain = domain_of(recipient)
        with self._changed:
            hosted = domain in map(domain_of, self._mailboxes)
            return hosted and self._mailbox_for(recipient) is None

    def deliver(self, recipient: str, data: bytes) -> str | None:
        """Put ``data`` unchanged into the mailbox for ``recipient``.

        :return: the mailbox's address, None when nobody here gets it.
        """
        mailbox = self._mailbox_for(recipient)
        if mailbox is not None:
            run = self._in_loop if self._loop else asyncio.run
            run(self._put(mailbox, data))
        return mailbox

    def mailbox(self, address: str) -> list[bytes]:
        """Return all mails ever delivered to the mailbox, oldest first, read or not.

        :raises KeyError: there is no such mailbox.
        """
        return list(self._mailboxes[address.lower()])

    # -- what was seen ------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget what was recorded. Mailboxes, pending faults and session numbers stay."""
        with self._changed:
            self.mails: list[Mail] = []  # accepted
            self.refusals: list[Refusal] = []  # by the rule, not by faults
            self.commands: list[tuple[int, str]] = []  # session and verb
            self.faults: list[tuple[int, str, str]] = []  # that struck: session, phase, action
            self.logins = 0  # by SMTP
            self.sessions = 0  # of SMTP
            self.most_at_once = len(self.open)  # of these sessions

    def wait_for(
        self, condition: int | Callable[[Provider], bool], timeout: float = 10.0
    ) -> list[Mail]:
        """Wait until so many mails were accepted, or until ``condition(provider)`` holds.

        :return: the accepted mails.
        :raises TimeoutError: not within ``timeout`` seconds; tells what came instead.
        """

        def holds() -> bool:
            return condition(self) if callable(condition) else len(self.mails) >= condition

        with self._changed:
            if not self._changed.wait_for(holds, timeout):
                raise TimeoutError(
                    f"after {timeout} s: {len(self.mails)} mails, {self.sessions} sessions, "
                    f"{self.logins} logins, refusals {[r.reply for r in self.refusals]}, "
                    f"faults {self.faults}"
                )
            return list(self.mails)

    # -- playing ------------------------------------------------------------------------------

    def send_from(
        self,
        login: str,
        mail_from: str,
        rcpts: str | Collection[str],
        message: Message | bytes | str,
    ) -> dict[str, tuple[int, bytes]]:
        """Submit a mail through the SMTP port as the account ``login``: the customer answers.

        :return: see :func:`submit`.
        :raises KeyError: no such account.
        :raises smtplib.SMTPException: what the provider refuses.
        """
        account = self._accounts[login.lower()]
        credentials = account.login, account.password
        return submit(self.smtp_port, self.tls, credentials, mail_from, rcpts, message)

    def fail(self, phase: str, action: str, *, times: int | None = 1, after: int = 0) -> None:
        """Break the next occurrences of an SMTP phase.

        :param phase: ``connect`` (instead of the greeting), ``ehlo`` (EHLO or HELO, with STARTTLS
            twice), ``auth``, ``mail``, ``rcpt``, ``data`` (the command), ``end_of_data`` (the
            reply to the mail) or ``between`` (after an accepted mail's reply).
        :param action: one of these.

            * ``hang``: never answer; for clients with a short timeout.
            * ``drop``: reset the connection without an answer; in ``between`` close it (FIN).
            * ``accept_then_drop``, ``accept_then_hang``, ``accept_then_garbage``: only in
              ``end_of_data``, where the mail is otherwise not accepted: it is delivered, and its
              reply is lost (RFC 1047).
            * A name in :data:`REPLIES` or a literal ``"NNN text"`` in ASCII: that reply. ``421``
              ends the connection (RFC 5321, section 3.8); in ``connect`` any reply does. In
              ``between``, ``421`` comes unasked and another reply answers the next command. In
              ``ehlo`` and ``auth`` it holds for the rest of the session.

        :param times: how many occurrences to break; None for all that come.
        :param after: how many occurrences to let pass before.
        :raises ValueError: unknown phase or action.
        """
        fault = Fault(phase, action, times, after)
        with self._changed:
            self._faults.append(fault)

    def heal(self) -> None:
        """Forget the faults that are still to come."""
        with self._changed:
            self._faults.clear()

    # -- for its sessions ---------------------------------------------------------------------

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock, and wake who waits for what is recorded meanwhile."""
        with self._changed:
            yield
            self._changed.notify_all()

    def opened(self, session: SmtpSession) -> int:
        """Count an SMTP connection and return its number."""
        with self.changing():
            self.sessions += 1
            self.open.add(session)
            self.most_at_once = max(self.most_at_once, len(self.open))
            return next(self._numbers)

    def fault(self, session: int, phase: str) -> str | None:
        """Count an occurrence of the phase; return what it shall suffer."""
        with self.changing():
            fault = next((f for f in self._faults if f.phase == phase and f.strikes()), None)
            if fault is None:
                return None
            self.faults.append((session, phase, fault.action))
            return fault.action

    def refuse(self, refusal: Refusal) -> str:
        """Record a refusal and return its reply."""
        with self.changing():
            self.refusals.append(refusal)
        return refusal.reply

    async def accept(self, mail: Mail) -> None:
        """Record a mail and put it into the mailboxes of its recipients."""
        if self.keep_data:
            mailboxes = dict.fromkeys(filter(None, map(self._mailbox_for, mail.rcpt_tos)))
            for mailbox in mailboxes:
                await self._put(mailbox, self.trace + _with_return_path(mail))
        with self.changing():
            self.mails.append(mail)

    async def _put(self, mailbox: str, data: bytes) -> None:
        if self._imap:
            await self._imap.append(mailbox, data)
        with self.changing():
            self._mailboxes[mailbox].append(data)

    # -- in the event loop's thread -----------------------------------------------------------

    def _in_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` in the provider's thread and return its result."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _serve(self) -> None:
        """Open the ports; those of an earlier start again."""
        context = None if self.tls == "none" else server_context()
        implicit = context if self.tls == "ssl" else None
        starttls = context if self.tls == "starttls" else None
        servers = self._servers = {}
        servers["smtp_port"] = await asyncio.get_running_loop().create_server(
            lambda: SmtpSession(self, starttls), HOST, self.smtp_port, ssl=implicit
        )
        if self._with_imap:
            from .imap import Imap  # pymap takes a moment to load

            self._imap = Imap()
            for account in self._accounts.values():
                self._imap.add_account(account)
            for mailbox, mails in self._mailboxes.items():
                for data in mails:
                    await self._imap.append(mailbox, data)
            servers["imap_port"] = await _listen(self._imap.serve, self.imap_port, implicit)
        if self._pop3:
            servers["pop3_port"] = await _listen(self._pop3.serve, self.pop3_port)
        for name, server in servers.items():
            setattr(self, name, server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        # First no more connections: a server closed while asyncio accepts one leaks its socket.
        loop = asyncio.get_running_loop()
        for server in self._servers.values():
            for listening in server.sockets:
                loop.remove_reader(listening.fileno())
        await _some_steps()  # until a connection accepted a moment ago is a session
        for session in list(self.open):
            session.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await _some_steps()  # until the ended connections have freed their sockets
        for server in self._servers.values():
            server.close()


async def _some_steps() -> None:
    for _step in range(4):
        await asyncio.sleep(0)


async def _listen(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    port: int,
    context: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Serve each connection to its end, or to the provider's."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()

    return await asyncio.start_server(serve_one, HOST, port, ssl=context)


def _report_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what goes wrong in the loop; that clients hang up, or :meth:`Provider.stop` on
    them, is not wrong."""
    expected = (ConnectionError, ssl.SSLError, asyncio.CancelledError)
    if not isinstance(context.get("exception"), expected):
        loop.default_exception_handler(context)


def _with_return_path(mail: Mail) -> bytes:
    """Return the mail as final delivery stores it: with the envelope sender as its only
    Return-Path (RFC 5321, section 4.4)."""
    header, gap, body = mail.data.partition(b"\r\n\r\n")
    header = _RETURN_PATH.sub(b"", header + b"\r\n")[:-2]
    return b"Return-Path: <%s>\r\n" % mail.mail_from.encode() + header + gap + body
