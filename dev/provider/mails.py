# SPDX-License-Identifier: LGPL-3.0-only
"""What a provider has and saw: accounts, mails it accepted, what it refused."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage, Message


@dataclass(frozen=True)
class Mail:
    """A mail the provider accepted, as it came through the socket.

    ``login`` is the account that submitted it, ``''`` without authentication. ``mail_from`` is
    the envelope sender, ``''`` for ``<>``. ``data`` are the bytes after dot-unstuffing (RFC 5321,
    section 4.5.2), empty with ``keep_data=False``. ``session`` numbers the SMTP connections.
    """

    login: str
    mail_from: str
    rcpt_tos: tuple[str, ...]
    data: bytes
    session: int

    @functools.cached_property
    def message(self) -> EmailMessage:
        """The parsed mail."""
        return message_from_bytes(self.data, policy=policy.default)

    @property
    def header_from(self) -> str:
        """The address in the From header, ``''`` when there is none."""
        return self._first("From")[1]

    @property
    def from_name(self) -> str:
        """The display name in the From header."""
        return self._first("From")[0]

    @property
    def reply_to(self) -> str:
        """The (first) address in the Reply-To header, ``''`` when there is none."""
        return self._first("Reply-To")[1]

    def _first(self, header: str) -> tuple[str, str]:
        return next(iter(addresses(self.message, header)), ("", ""))

    @property
    def return_path(self) -> str:
        """The Return-Path header the sender wrote, without brackets. Not the envelope sender."""
        return str(self.message.get("Return-Path", "")).strip().strip("<>")


@dataclass(frozen=True)
class Refusal:
    """What the provider's own policy refused: a sender, a recipient, a login.

    ``phase`` is ``auth``, ``mail``, ``rcpt`` or ``data``; what that phase does not know yet is
    ``''``. Faults ordered with :meth:`Provider.fail` are no refusals.
    """

    phase: str
    reply: str
    login: str
    mail_from: str = ""
    rcpt: str = ""
    header_from: str = ""


@dataclass(frozen=True)
class Account:
    """An account: its login, its password and the addresses it may send from."""

    login: str
    password: str
    address: str
    send_as: frozenset[str] = frozenset()

    @property
    def own(self) -> frozenset[str]:
        """All addresses the account may send from, lower case."""
        return self.send_as | {self.address} - {""}


def addresses(message: Message, header: str) -> list[tuple[str, str]]:
    """Return the (name, address) pairs in a header of a message parsed with policy.default."""
    return [
        (address.display_name, address.addr_spec)
        for value in message.get_all(header, [])
        for address in value.addresses
    ]
