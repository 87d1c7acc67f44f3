# SPDX-License-Identifier: LGPL-3.0-only
"""A mail provider on loopback: SMTP, IMAP and POP3 on real sockets, with a real provider's rules.

The tests, the demo and the benchmarks send through it what they would send to Tencent or to
Office 365, and it refuses what those refuse, in the same phase and with the same words::

    with Provider({'sales@a.com': 'secret'}, rule='tencent') as provider:
        # an SMTP client logs in on provider.smtp_host, provider.smtp_port ...
        provider.wait_for(1)
        assert provider.mails[0].mail_from == 'sales@a.com'

SMTP is served by aiosmtpd. IMAP is served by pymap, imported only when ``imap=True``: either 0.27,
the newest release for Python 3.10, or 0.36, which needs Python 3.11. Nothing here imports Odoo.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import re
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from email import policy
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from .client import client_context, connected, submit
from .imap import Imap
from .mails import Account, Mail, Refusal, addresses
from .pop3 import Pop3
from .rules import HOST, RULES, Rule, domain_of
from .tls import write_certificates

# aiosmtpd's own log has a line for each command
logging.getLogger("mail.log").setLevel(logging.ERROR)

#: The SMTP phases in which :meth:`Provider.fail` can break a session.
PHASES = ("connect", "ehlo", "auth", "mail", "rcpt", "data", "end_of_data", "between")
_PHASE_OF_VERB = {
    "EHLO": "ehlo",
    "HELO": "ehlo",
    "AUTH": "auth",
    "MAIL": "mail",
    "RCPT": "rcpt",
    "DATA": "data",
    "BDAT": "data",
}
# A client tries another verb or mechanism after a refusal (HELO after EHLO, LOGIN after PLAIN);
# a provider that is out of order refuses those in the same session too.
_PHASES_THAT_STAY_BROKEN = ("ehlo", "auth")

_REPLIES = {
    "421": "421 HL:ICC",  # NetEase: too many connections from this client
    "451": "451 MI:SFQ",  # NetEase: too many mails in a short time
    "535": "535 5.7.8 Authentication credentials invalid",  # RFC 4954, section 6
    # no SMTP reply (RFC 5321, section 4.2); words that PostgreSQL cannot store; a line that is
    # longer than smtplib reads
    "garbage": "<html>What do you want here?</html>",
    "nul": "550 5.7.1 Re\0fused",
    "long": "550 5.7.1 " + "x" * 9000,
}
_AUTH_FAILED = _REPLIES["535"]
_AUTH_REQUIRED = "530 5.7.0 Authentication required"  # RFC 4954, section 6
_NO_MAILBOX = "550 Mailbox not found"
_RETURN_PATH = re.compile(rb"^Return-Path:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)


@dataclass
class _Fault:
    """One order given to :meth:`Provider.fail`; ``times`` counts down, None never ends."""

    phase: str
    action: str
    times: int | None
    after: int

    def strikes(self) -> bool:
        """Count one occurrence of the phase and tell whether the fault hits it."""
        if self.after:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Provider:
    """A provider's SMTP (and IMAP, POP3) service on 127.0.0.1, on ports the system chooses.

    :param accounts: password by login. A login is an address, or a name such as ``apikey`` whose
        address ``identity`` gives.
    :param rule: a name in :data:`RULES` or a :class:`Rule`: what the provider lets through.
    :param identity: address by login, for the logins that are no address.
    :param send_as: by login, the other addresses it may send from (aliases, "Send As"). Mail to
        one of these that has no account of its own lands in that login's mailbox.
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
    :raises ValueError: unknown ``rule`` or ``tls``, or a catch-all without its account.

    Like the Chinese providers it does not offer SMTPUTF8 (RFC 6531): an address that is not ASCII
    fails. Names and bodies in any language need no more than 8BITMIME, which it offers.

    Every method may be called from any thread.
    """

    def __init__(
        self,
        accounts: Mapping[str, str],
        rule: str | Rule = "tencent",
        *,
        identity: Mapping[str, str] | None = None,
        send_as: Mapping[str, Collection[str]] | None = None,
        catch_all: Mapping[str, str] | None = None,
        tls: str = "none",
        delay: float = 0.0,
        require_auth: bool = True,
        imap: bool = False,
        pop3: bool = False,
        announces: Collection[str] = (),
        keep_data: bool = True,
    ) -> None:
        if isinstance(rule, str) and rule not in RULES:
            raise ValueError(f"unknown rule {rule!r}: one of {', '.join(RULES)}")
        if tls not in ("none", "starttls", "ssl"):
            raise ValueError(f"unknown tls {tls!r}: none, starttls or ssl")
        self.rule = RULES[rule] if isinstance(rule, str) else rule
        self.tls = tls
        self.delay = delay
        self.require_auth = require_auth
        self.announces = tuple(announces)
        self.keep_data = keep_data
        self.trace = b""  # headers that it writes above a mail that it accepts
        self.smtp_host = self.imap_host = self.pop3_host = HOST
        self.smtp_port = self.imap_port = self.pop3_port = 0
        self.certificate: Path | None = None  # PEM, to be trusted; while started with TLS

        self._changed = threading.Condition(threading.RLock())
        self._accounts: dict[str, Account] = {}
        self._catch_all: dict[str, str] = {}
        self._mailboxes: dict[str, list[bytes]] = {}
        self._faults: list[_Fault] = []
        self._session_numbers = itertools.count(1)
        self._open: set[int] = set()
        self.clear()

        self._running: contextlib.ExitStack | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: set[asyncio.BaseTransport] = set()
        self._with_imap = imap
        self._imap: Imap | None = None
        self._pop3 = Pop3(self) if pop3 else None

        for login, password in accounts.items():
            self.add_account(
                login,
                password,
                identity=(identity or {}).get(login),
                send_as=(send_as or {}).get(login, ()),
            )
        for domain, mailbox in (catch_all or {}).items():
            self.set_catch_all(domain, mailbox)

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> Provider:
        """Open the ports and serve. After :meth:`stop` the same ports are taken again, so that
        an outage can be played; the IMAP mailboxes then come back with all mails unseen.

        :raises RuntimeError: already started, or ``imap=True`` without pymap.
        :raises OSError: a former port belongs to somebody else by now.
        """
        if self._running is not None:
            raise RuntimeError("the provider is already started")
        with contextlib.ExitStack() as stack:
            context = None
            if self.tls != "none":
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="provider-"))
                shown, self.certificate = write_certificates(Path(folder))
                stack.callback(setattr, self, "certificate", None)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(shown)
            if self._with_imap:
                self._imap = Imap()
                stack.callback(setattr, self, "_imap", None)
                for account in self._accounts.values():
                    self._imap.add_account(account)
            self._loop = asyncio.new_event_loop()
            stack.callback(setattr, self, "_loop", None)
            stack.callback(self._loop.close)
            self._loop.set_exception_handler(_report_exception)
            thread = threading.Thread(
                target=self._loop.run_forever, name="mail provider", daemon=True
            )
            thread.start()
            stack.callback(thread.join)
            stack.callback(self._loop.call_soon_threadsafe, self._loop.stop)
            stack.callback(lambda: self._in_loop(self._close()))
            self._in_loop(self._serve(context))
            self._running = stack.pop_all()
        return self

    def stop(self) -> None:
        """Drop all connections, end the thread, free ports and files. Twice is harmless."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> Provider:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # -- accounts and mailboxes ---------------------------------------------------------------

    def add_account(
        self,
        address: str,
        password: str,
        *,
        identity: str | None = None,
        send_as: Collection[str] = (),
    ) -> None:
        """Create an account with its mailbox, or replace the one that has this login.

        :param address: the login; an address, or a name with its address in ``identity``.
            A name without an address owns no mailbox and may send from ``send_as`` only.
        """
        own = (identity or (address if "@" in address else "")).lower()
        account = Account(address, password, own, frozenset(a.lower() for a in send_as))
        with self._changed:
            self._accounts[address.lower()] = account
            if own:
                self._mailboxes.setdefault(own, [])
            if self._imap:
                self._imap.add_account(account)

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

    def mailbox_of(self, recipient: str) -> str | None:
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

    def hosts(self, domain: str) -> bool:
        """Tell whether the domain's mailboxes lie here: an account or a catch-all uses it."""
        domain = domain.lower()
        with self._changed:
            return domain in self._catch_all or any(
                domain_of(address) == domain for address in self._mailboxes
            )

    def deliver(self, recipient: str, data: bytes) -> str | None:
        """Put ``data`` unchanged into the mailbox for ``recipient``.

        :return: the mailbox's address, None when nobody here gets it.
        """
        mailbox = self.mailbox_of(recipient)
        if mailbox is not None:
            if self._loop is not None:
                self._in_loop(self._put(mailbox, data))
            else:
                with self._changed:
                    self._mailboxes[mailbox].append(data)
        return mailbox

    def mailbox(self, address: str) -> list[bytes]:
        """Return all mails ever delivered to the mailbox, oldest first, read or not.

        :raises KeyError: there is no such mailbox.
        """
        with self._changed:
            return list(self._mailboxes[address.lower()])

    # -- what was seen ------------------------------------------------------------------------

    @property
    def mails(self) -> list[Mail]:
        """The accepted mails in order (a copy)."""
        with self._changed:
            return list(self._mails)

    @property
    def refusals(self) -> list[Refusal]:
        """What the provider's policy refused, in order (a copy)."""
        with self._changed:
            return list(self._refusals)

    @property
    def commands(self) -> list[tuple[int, str]]:
        """The SMTP commands in order, each as (session, verb) (a copy)."""
        with self._changed:
            return list(self._commands)

    @property
    def faults(self) -> list[tuple[int, str, str]]:
        """The faults that struck, in order, each as (session, phase, action) (a copy)."""
        with self._changed:
            return list(self._struck)

    @property
    def logins(self) -> int:
        """The number of successful SMTP authentications."""
        return self._logins

    @property
    def sessions(self) -> int:
        """The number of SMTP connections."""
        return self._sessions

    @property
    def most_at_once(self) -> int:
        """The most SMTP sessions that were open at one time."""
        return self._most_at_once

    def clear(self) -> None:
        """Forget what was recorded. Mailboxes, pending faults and session numbers stay."""
        with self._changed:
            self._mails: list[Mail] = []
            self._refusals: list[Refusal] = []
            self._commands: list[tuple[int, str]] = []
            self._struck: list[tuple[int, str, str]] = []
            self._logins = 0
            self._sessions = 0
            self._most_at_once = len(self._open)

    def wait_for(
        self, condition: int | Callable[[Provider], bool], timeout: float = 10.0
    ) -> list[Mail]:
        """Wait until so many mails were accepted, or until ``condition(provider)`` holds.

        :return: the accepted mails.
        :raises TimeoutError: not within ``timeout`` seconds; tells what came instead.
        """

        def holds() -> bool:
            if callable(condition):
                return condition(self)
            return len(self._mails) >= condition

        with self._changed:
            if not self._changed.wait_for(holds, timeout):
                raise TimeoutError(
                    f"after {timeout} s: {len(self._mails)} mails, {self._sessions} sessions, "
                    f"{self._logins} logins, refusals {[r.reply for r in self._refusals]}, "
                    f"faults {self._struck}"
                )
            return list(self._mails)

    # -- playing ------------------------------------------------------------------------------

    def client_context(self) -> ssl.SSLContext:
        """Return a TLS context for a client that trusts this provider's certificate only.

        :raises RuntimeError: the provider is not started with TLS.
        """
        return client_context(self.certificate)

    def send_from(
        self,
        login: str,
        mail_from: str,
        rcpts: str | Collection[str],
        message: Message | bytes | str,
    ) -> dict[str, tuple[int, bytes]]:
        """Submit a mail through the SMTP port as the account ``login``: the customer answers.

        :return: the recipients that were refused with their replies, as
            :meth:`smtplib.SMTP.sendmail` does.
        :raises KeyError: no such account.
        :raises smtplib.SMTPException: what the provider refuses.
        """
        account = self._accounts[login.lower()]
        with connected(
            self.smtp_port, self.tls, self.certificate, account.login, account.password
        ) as client:
            return submit(client, mail_from, rcpts, message)

    def fail(self, phase: str, action: str, *, times: int | None = 1, after: int = 0) -> None:
        """Break the next occurrences of an SMTP phase.

        Phases (:data:`PHASES`): ``connect`` (instead of the greeting), ``ehlo`` (EHLO or HELO),
        ``auth``, ``mail``, ``rcpt``, ``data`` (the command), ``end_of_data`` (the reply to the
        mail), ``between`` (after an accepted mail's reply). With STARTTLS a client greets twice:
        two occurrences of ``ehlo``.

        Actions:

        * ``hang``: never answer; for clients with a short timeout.
        * ``drop``: reset the connection without an answer. In ``end_of_data`` the mail is not
          accepted. In ``between`` the connection is closed (FIN) once the reply is out.
        * ``accept_then_drop``, ``accept_then_hang``, ``accept_then_garbage``: only in
          ``end_of_data``; the mail is recorded and delivered, and its reply is lost (RFC 1047).
        * ``garbage``, ``nul``, ``long``: what is no SMTP reply, one with a NUL in it, and one that
          is too long a line.
        * ``421``, ``451``, ``535`` or a literal ``"NNN text"`` in ASCII: that reply.
          ``421`` ends the connection (RFC 5321, section 3.8). In ``connect`` any reply does. In
          ``between``, ``421`` comes unasked and another reply answers the next command. In
          ``ehlo`` and ``auth`` the reply holds for the rest of the session, since clients try
          HELO after EHLO and a second mechanism after the first.

        :param times: how many occurrences to break; None for all that come.
        :param after: how many occurrences to let pass before.
        :raises ValueError: unknown phase or action.
        """
        if phase not in PHASES:
            raise ValueError(f"unknown phase {phase!r}: one of {', '.join(PHASES)}")
        actions = {"hang", "drop", *_REPLIES}
        if phase == "end_of_data":
            actions |= {"accept_then_drop", "accept_then_hang", "accept_then_garbage"}
        if action not in actions and not re.fullmatch(r"[2-5]\d\d [ -~]+", action):
            raise ValueError(
                f"unknown action {action!r} in {phase}: "
                f"one of {', '.join(sorted(actions))}, or 'NNN text'"
            )
        with self._changed:
            self._faults.append(_Fault(phase, action, times, after))

    def heal(self) -> None:
        """Forget the faults that are still to come."""
        with self._changed:
            self._faults.clear()

    # -- in the event loop's thread -----------------------------------------------------------

    def _in_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` in the provider's thread and return its result."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _serve(self, context: ssl.SSLContext | None) -> None:
        """Open the ports; those of an earlier start again."""
        implicit = context if self.tls == "ssl" else None
        starttls = context if self.tls == "starttls" else None
        loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []

        def opened(server: asyncio.Server) -> int:
            self._servers.append(server)
            return server.sockets[0].getsockname()[1]

        self.smtp_port = opened(
            await loop.create_server(
                lambda: _SmtpSession(self, loop, starttls),
                sock=_listen(self.smtp_port),
                ssl=implicit,
            )
        )
        if self._imap:
            for mailbox, mails in self._mailboxes.items():
                for data in mails:
                    await self._imap.append(mailbox, data)
            serve = functools.partial(self._serve_stream, self._imap.serve)
            listening = _listen(self.imap_port)
            self.imap_port = opened(await asyncio.start_server(serve, sock=listening, ssl=implicit))
        if self._pop3:
            serve = functools.partial(self._serve_stream, self._pop3.serve)
            listening = _listen(self.pop3_port)
            self.pop3_port = opened(await asyncio.start_server(serve, sock=listening))

    async def _serve_stream(
        self,
        serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._connections.add(writer.transport)
        try:
            await serve(reader, writer)
        finally:
            self._connections.discard(writer.transport)

    async def _close(self) -> None:
        # First no more connections: a server closed while asyncio accepts one leaks its socket.
        loop = asyncio.get_running_loop()
        for server in self._servers:
            for listening in server.sockets:
                loop.remove_reader(listening.fileno())
        # A connection accepted a moment ago takes asyncio some steps to become a transport, and
        # an ended transport takes some to free its socket.
        for step in range(8):
            for transport in list(self._connections):
                transport.abort()
            if step == 4:
                others = asyncio.all_tasks() - {asyncio.current_task()}
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        self._connections.clear()

    async def _put(self, mailbox: str, data: bytes) -> None:
        if self._imap:
            await self._imap.append(mailbox, data)
        with self._changed:
            self._mailboxes[mailbox].append(data)
            self._changed.notify_all()

    def _opened(self) -> int:
        with self._changed:
            self._sessions += 1
            number = next(self._session_numbers)
            self._open.add(number)
            self._most_at_once = max(self._most_at_once, len(self._open))
            self._changed.notify_all()
            return number

    def _closed(self, number: int) -> None:
        with self._changed:
            self._open.discard(number)
            self._changed.notify_all()

    def _saw(self, session: int, verb: str) -> None:
        with self._changed:
            self._commands.append((session, verb))
            self._changed.notify_all()

    def _fault(self, session: int, phase: str) -> str | None:
        """Count an occurrence of the phase; return what it shall suffer."""
        with self._changed:
            fault = next((f for f in self._faults if f.phase == phase and f.strikes()), None)
            if fault is None:
                return None
            self._struck.append((session, phase, fault.action))
            self._changed.notify_all()
            return fault.action

    def _refuse(
        self,
        phase: str,
        reply: str,
        login: str,
        mail_from: str = "",
        rcpt: str = "",
        header_from: str = "",
    ) -> str:
        with self._changed:
            self._refusals.append(Refusal(login, mail_from, rcpt, header_from, phase, reply))
            self._changed.notify_all()
        return reply

    def _authenticate(self, credentials: LoginPassword) -> Account | None:
        login = credentials.login.decode(errors="replace")
        password = credentials.password.decode(errors="replace")
        with self._changed:
            account = self._accounts.get(login.lower())
            if account is None or account.password != password:
                self._refuse("auth", _AUTH_FAILED, login)
                return None
            self._logins += 1
            self._changed.notify_all()
            return account

    def _check(
        self,
        phase: str,
        account: Account | None,
        mail_from: str,
        rcpt: str = "",
        header_from: Collection[str] = (),
    ) -> str | None:
        """Return the rule's refusal if the rule speaks in this phase and refuses."""
        if account is None or self.rule.phase != phase:
            return None
        if self.rule.allows(account.own, mail_from, header_from):
            return None
        reply = self.rule.refusal(account.login, mail_from)
        return self._refuse(phase, reply, account.login, mail_from, rcpt, ", ".join(header_from))

    async def _accept(self, mail: Mail) -> None:
        if self.keep_data:
            mailboxes = dict.fromkeys(filter(None, map(self.mailbox_of, mail.rcpt_tos)))
            for mailbox in mailboxes:
                await self._put(mailbox, self.trace + _with_return_path(mail))
        with self._changed:
            self._mails.append(mail)
            self._changed.notify_all()


class _SmtpSession(SMTP):
    """One SMTP connection: who logged in, and the faults ordered for its commands."""

    def __init__(
        self,
        provider: Provider,
        loop: asyncio.AbstractEventLoop,
        starttls: ssl.SSLContext | None,
    ) -> None:
        self.provider = provider
        self.number = 0
        self.account: Account | None = None
        self.accepted = False  # the last command brought an accepted mail
        self.chunk = b""  # the content of the last BDAT
        self.owed: str | None = None  # the reply that awaits the next command
        self.stuck: dict[str, str] = {}  # by phase, the fault that stays in this session
        super().__init__(
            _Handler(),
            loop=loop,
            hostname="localhost",
            ident="ESMTP",
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_require_tls=starttls is not None,
            authenticator=self._login,
        )
        self._smtp_methods = {
            verb: functools.partial(self._step, verb, method)
            for verb, method in self._smtp_methods.items()
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.provider._connections.add(transport)
        return super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.provider._connections.discard(self.transport)
        self.provider._connections.discard(self._original_transport)
        self.provider._closed(self.number)
        return super().connection_lost(error)

    @property
    def login(self) -> str:
        return self.account.login if self.account else ""

    async def suffer(self, action: str) -> str:
        """Carry a fault out. Returns the reply to give, if the connection outlives it."""
        if action.endswith("drop"):
            # Without lingering the kernel sends RST instead of FIN.
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.transport.abort()
        elif not action.endswith("hang"):
            reply = _REPLIES.get(action, action)
            if not reply.startswith("421"):
                return reply
            await self.push(reply)
            self.transport.close()
        await self._forever()
        raise AssertionError("unreachable")

    async def _forever(self) -> None:
        """Wait until the end of the connection cancels this task."""
        await self.loop.create_future()

    def _login(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        self.account = self.provider._authenticate(data)
        if self.account is None:
            return AuthResult(success=False, handled=False, message=_AUTH_FAILED)
        return AuthResult(success=True, auth_data=data)

    async def _handle_client(self) -> None:
        """Greet, unless the connection is to fail, and serve."""
        self.number = self.provider._opened()
        if self.provider.delay:
            await asyncio.sleep(self.provider.delay)
        if action := self.provider._fault(self.number, "connect"):
            await self.push(await self.suffer(action))
            self.transport.close()
            return
        await super()._handle_client()

    async def _step(self, verb: str, method: Callable[..., Any], arg: str | None) -> None:
        """Run one command, with the delay and the faults ordered for it."""
        self.provider._saw(self.number, verb)
        if verb == "BDAT":  # its content follows whatever the answer is (RFC 3030 2)
            size, _space, last = (arg or "").partition(" ")
            self.chunk = await self._reader.readexactly(int(size))
            assert last.upper() == "LAST", "a mail in several chunks is not told here"
        if self.provider.delay:
            await asyncio.sleep(self.provider.delay)
        if self.owed:
            reply, self.owed = self.owed, None
            await self.push(reply)
            return
        phase = _PHASE_OF_VERB.get(verb, "")
        action = self.stuck.get(phase) or self.provider._fault(self.number, phase)
        if action:
            if phase in _PHASES_THAT_STAY_BROKEN:
                self.stuck[phase] = action
            await self.push(await self.suffer(action))
            return
        await method(arg)
        if self.accepted:
            self.accepted = False
            await self._between()

    async def smtp_BDAT(self, _arg: str | None) -> None:
        """Take a whole content (RFC 3030 2)."""
        assert self.envelope is not None
        if self.envelope.mail_from is None or not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Error: no valid recipient")
            return
        self.envelope.content = self.envelope.original_content = self.chunk
        reply = await self.event_handler.handle_DATA(self, self.session, self.envelope)
        self._set_post_data_state()
        await self.push(reply)

    async def _between(self) -> None:
        action = self.provider._fault(self.number, "between")
        if action == "drop":
            # A reset might overtake the reply the client is still reading.
            self.transport.close()
            await self._forever()
        elif action:
            self.owed = await self.suffer(action)


class _Handler:
    """aiosmtpd's hooks: the provider's policy in the order of the SMTP dialogue."""

    async def handle_EHLO(
        self,
        server: _SmtpSession,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        extensions = [f"250-{extension}" for extension in server.provider.announces]
        return [*responses[:1], *extensions, *responses[1:]]

    async def handle_MAIL(
        self,
        server: _SmtpSession,
        _session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        provider, mail_from = server.provider, _envelope_sender(address)
        if provider.require_auth and server.account is None:
            return provider._refuse("mail", _AUTH_REQUIRED, "", mail_from)
        if refusal := provider._check("mail", server.account, mail_from):
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self,
        server: _SmtpSession,
        _session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        provider, mail_from = server.provider, _envelope_sender(envelope.mail_from)
        if refusal := provider._check("rcpt", server.account, mail_from, rcpt=address):
            return refusal
        if provider.hosts(domain_of(address)) and provider.mailbox_of(address) is None:
            return provider._refuse("rcpt", _NO_MAILBOX, server.login, mail_from, address)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: _SmtpSession, _session: Session, envelope: Envelope) -> str:
        provider, mail_from = server.provider, _envelope_sender(envelope.mail_from)
        action = provider._fault(server.number, "end_of_data")
        if action and not action.startswith("accept"):
            return await server.suffer(action)
        data = envelope.original_content
        header_from: list[str] = []
        if provider.rule.checks in ("header", "both"):
            header = BytesHeaderParser(policy=policy.default).parsebytes(data)
            header_from = [address for _name, address in addresses(header, "From")]
        if refusal := provider._check("data", server.account, mail_from, header_from=header_from):
            return refusal
        kept = data if provider.keep_data else b""
        await provider._accept(
            Mail(server.login, mail_from, tuple(envelope.rcpt_tos), kept, server.number)
        )
        server.accepted = True
        if action:
            return await server.suffer(action.removeprefix("accept_then_"))
        return "250 OK"


def _listen(port: int) -> socket.socket:
    """Return a socket listening on the port; 0 lets the system choose a free one."""
    # asyncio switches Nagle's algorithm off only where the protocol is given in full; left on,
    # it costs every SMTP session the client's 40 ms of delayed acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _report_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what goes wrong in the loop; that clients hang up, or :meth:`Provider.stop` on
    them, is not wrong."""
    expected = (ConnectionError, ssl.SSLError, asyncio.CancelledError)
    if not isinstance(context.get("exception"), expected):
        loop.default_exception_handler(context)


def _envelope_sender(path: str) -> str:
    """Return the address in a MAIL FROM path; aiosmtpd hands the empty one over as ``<>``."""
    return "" if path == "<>" else path


def _with_return_path(mail: Mail) -> bytes:
    """Return the mail as final delivery stores it: with the envelope sender as its only
    Return-Path (RFC 5321, section 4.4)."""
    header, gap, body = mail.data.partition(b"\r\n\r\n")
    header = _RETURN_PATH.sub(b"", header + b"\r\n")[:-2]
    return b"Return-Path: <%s>\r\n" % mail.mail_from.encode() + header + gap + body
