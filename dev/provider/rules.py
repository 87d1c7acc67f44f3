# SPDX-License-Identifier: LGPL-3.0-only
"""Who may send as whom: the rules of real providers, with the words of their refusals."""

from __future__ import annotations

from collections.abc import Collection
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Rule:
    """Who may send as whom at one provider, and how the refusal reads.

    ``phase`` is the SMTP phase of the refusal: ``mail``, ``rcpt`` or ``data`` (after the end of
    the data). ``checks`` names what is compared with the account: the ``envelope`` (MAIL FROM),
    ``both`` (the From header too, only in phase ``data``) or ``none``. ``scope`` tells whether
    the whole ``address`` must match or its ``domain`` only. ``null_sender`` tells whether an
    empty MAIL FROM passes, as Postfix lets it. ``reply`` may hold ``{mail_from}`` and ``{login}``.
    """

    phase: str
    reply: str
    checks: str = "envelope"
    scope: str = "address"
    null_sender: str = "no"

    def allows(self, own: Collection[str], mail_from: str, header_from: Collection[str]) -> bool:
        """Tell whether an account that owns the addresses ``own`` may send this.

        Case does not matter. An empty ``mail_from`` (``<>``) is nobody's address, hence refused,
        as Yandex refuses it, unless the rule says otherwise; so is an absent or unreadable From
        header, where it is looked at.
        """
        if self.checks == "none" or (self.null_sender == "yes" and not mail_from):
            return True
        if self.checks == "both" and not header_from:
            return False
        owned = {self._comparable(address) for address in own}
        seen = [mail_from, *header_from] if self.checks == "both" else [mail_from]
        return all(self._comparable(address) in owned for address in seen)

    def _comparable(self, address: str) -> str:
        return domain_of(address) if self.scope == "domain" else address.lower()


def _read_rules() -> dict[str, Rule]:
    parser = ConfigParser(interpolation=None)
    parser.read_string(Path(__file__).with_name("rules.ini").read_text())
    return {name: Rule(**parser[name]) for name in parser.sections()}


def domain_of(address: str) -> str:
    """Return the domain of an address, lower case."""
    return address.rpartition("@")[2].lower()


#: The rules by name.
RULES = _read_rules()
