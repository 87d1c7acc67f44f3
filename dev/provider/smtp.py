# SPDX-License-Identifier: LGPL-3.0-only
"""SMTP for the provider: aiosmtpd, with the provider's policy and the faults ordered for it."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
import struct
from collections.abc import Callable
from email import policy
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, AuthResult

from .faults import LASTING_PHASES, PHASE_OF_VERB, REPLIES
from .mails import Account, Mail, Refusal, addresses

if TYPE_CHECKING:
    from .service import Provider

# aiosmtpd's own log has a line for each command
logging.getLogger("mail.log").setLevel(logging.ERROR)

_AUTH_REQUIRED = "530 5.7.0 Authentication required"  # RFC 4954, section 6
_NO_MAILBOX = "550 Mailbox not found"


class SmtpSession(SMTP):
    """One SMTP connection: who logged in, and the faults ordered for its commands."""

    def __init__(self, provider: Provider, starttls: ssl.SSLContext | None) -> None:
        self.provider = provider
        self.number = 0
        self.account: Account | None = None
        self.accepted = False  # the last command brought an accepted mail
        self.chunk = b""  # the content of the last BDAT
        self.owed: str | None = None  # the reply that awaits the next command
        self.stuck: dict[str, str] = {}  # by phase, the fault that stays in this session
        super().__init__(
            _Policy(),
            loop=asyncio.get_running_loop(),
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

    @property
    def login(self) -> str:
        """Who logged in, ``''`` for nobody."""
        return self.account.login if self.account else ""

    @property
    def mail_from(self) -> str:
        """The envelope sender; aiosmtpd has the empty one as ``<>``."""
        return "" if self.envelope.mail_from == "<>" else self.envelope.mail_from

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self.number:  # it comes again after STARTTLS
            self.number = self.provider.opened(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        with self.provider.changing():
            self.provider.open.discard(self)
        super().connection_lost(error)

    async def _handle_client(self) -> None:
        """Greet, unless the connection is to fail, and serve."""
        await asyncio.sleep(self.provider.delay)
        if action := self.provider.fault(self.number, "connect"):
            await self.push(await self.suffer(action))
            self.transport.close()
            return
        await super()._handle_client()

    async def _step(self, verb: str, method: Callable[..., Any], arg: str | None) -> None:
        """Run one command, with the delay and the faults ordered for it."""
        with self.provider.changing():
            self.provider.commands.append((self.number, verb))
        if verb == "BDAT":  # its content follows whatever the answer is (RFC 3030 2)
            size, _space, last = (arg or "").partition(" ")
            self.chunk = await self._reader.readexactly(int(size))
            assert last.upper() == "LAST", "a mail in several chunks is not told here"
        await asyncio.sleep(self.provider.delay)
        if self.owed:
            reply, self.owed = self.owed, None
            await self.push(reply)
            return
        phase = PHASE_OF_VERB.get(verb, "")
        if action := self.stuck.get(phase) or self.provider.fault(self.number, phase):
            if phase in LASTING_PHASES:
                self.stuck[phase] = action
            await self.push(await self.suffer(action))
            return
        await method(arg)
        if self.accepted:
            self.accepted = False
            await self._between()

    async def _between(self) -> None:
        action = self.provider.fault(self.number, "between")
        if action == "drop":
            # A reset might overtake the reply the client is still reading.
            self.transport.close()
            await self._until_its_end()
        elif action:
            self.owed = await self.suffer(action)

    async def suffer(self, action: str) -> str:
        """Carry a fault out. Returns the reply to give, if the connection outlives it."""
        if action.endswith("drop"):
            # Without lingering the kernel sends RST instead of FIN.
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.transport.abort()
        elif not action.endswith("hang"):
            reply = REPLIES.get(action, action)
            if not reply.startswith("421"):
                return reply
            await self.push(reply)
            self.transport.close()
        return await self._until_its_end()

    async def _until_its_end(self) -> Any:
        """Wait until the end of the connection cancels this task."""
        return await self.loop.create_future()

    async def smtp_BDAT(self, _arg: str | None) -> None:
        """Take a whole content (RFC 3030 2)."""
        if self.envelope.mail_from is None or not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Error: no valid recipient")
            return
        self.envelope.original_content = self.chunk
        reply = await self.event_handler.handle_DATA(self, self.session, self.envelope)
        self._set_post_data_state()
        await self.push(reply)

    def _login(self, _server, _session, _envelope, _mechanism, credentials) -> AuthResult:
        login = credentials.login.decode(errors="replace")
        self.account = self.provider.account(login, credentials.password.decode(errors="replace"))
        if self.account is None:
            reply = self.provider.refuse(Refusal("auth", REPLIES["535"], login))
            return AuthResult(success=False, handled=False, message=reply)
        with self.provider.changing():
            self.provider.logins += 1
        return AuthResult(success=True, auth_data=credentials)


class _Policy:
    """aiosmtpd's hooks: the provider's policy in the order of the SMTP dialogue.

    ``session`` is the :class:`SmtpSession`; aiosmtpd's own session is not looked at.
    """

    async def handle_EHLO(self, session, own_session, _envelope, hostname, responses):
        own_session.host_name = hostname
        extensions = [f"250-{extension}" for extension in session.provider.announces]
        return [*responses[:1], *extensions, *responses[1:]]

    async def handle_MAIL(self, session, _session, envelope, address, options):
        envelope.mail_from = address
        refusal = self._refusal(session, "mail")
        if session.provider.require_auth and session.account is None:
            refusal = Refusal("mail", _AUTH_REQUIRED, "", session.mail_from)
        if refusal:
            envelope.mail_from = None
            return session.provider.refuse(refusal)
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, session, _session, envelope, address, options):
        refusal = self._refusal(session, "rcpt", rcpt=address)
        if not refusal and session.provider.lacks(address):
            refusal = Refusal("rcpt", _NO_MAILBOX, session.login, session.mail_from, address)
        if refusal:
            return session.provider.refuse(refusal)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, session, _session, envelope):
        provider, data = session.provider, envelope.original_content
        action = provider.fault(session.number, "end_of_data")
        if action and not action.startswith("accept"):
            return await session.suffer(action)
        if refusal := self._refusal(session, "data", data=data):
            return provider.refuse(refusal)
        kept = data if provider.keep_data else b""
        recipients = tuple(envelope.rcpt_tos)
        await provider.accept(
            Mail(session.login, session.mail_from, recipients, kept, session.number)
        )
        session.accepted = True
        if action:
            return await session.suffer(action.removeprefix("accept_then_"))
        return "250 OK"

    def _refusal(
        self, session: SmtpSession, phase: str, rcpt: str = "", data: bytes = b""
    ) -> Refusal | None:
        """Return the rule's refusal if the rule speaks in this phase and refuses."""
        rule, account, mail_from = session.provider.rule, session.account, session.mail_from
        if account is None or rule.phase != phase:
            return None
        header = BytesHeaderParser(policy=policy.default).parsebytes(data)
        header_from = [address for _name, address in addresses(header, "From")]
        if rule.allows(account.own, mail_from, header_from):
            return None
        reply = rule.reply.format(login=account.login, mail_from=mail_from)
        return Refusal(phase, reply, account.login, mail_from, rcpt, ", ".join(header_from))
