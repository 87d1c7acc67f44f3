# SPDX-License-Identifier: LGPL-3.0-only
"""The servers of a provider, as a mail program needs to know them."""

import re
from dataclasses import dataclass

#: a fully qualified host name (RFC 1123 2.1), never an address: its last label has a letter
_HOST = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"(?=[a-z0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class MailServer:
    """One server.

    :param host: its name
    :param port: 1 to 65535
    :param encryption: ``ssl`` from the first byte on, or ``starttls``
    :param login: what one logs in with: ``address``, ``local`` (its part before the @), or ``""``
        where that is not known
    :param oauth: whether it takes OAuth only, no password
    """

    host: str
    port: int
    encryption: str = "ssl"
    login: str = ""
    oauth: bool = False


@dataclass(frozen=True)
class Servers:
    """What sends and what is fetched; None: not known, or nothing that Odoo can use."""

    smtp: MailServer | None = None
    imap: MailServer | None = None
    pop: MailServer | None = None
    name: str = ""

    def all(self) -> list[MailServer]:
        """List those that are known."""
        return [server for server in (self.smtp, self.imap, self.pop) if server]


def is_host(name: str) -> bool:
    """Tell whether a text is a fully qualified host name in ASCII, and no IP address."""
    return bool(_HOST.fullmatch(name))


def is_domain_of(host: str, domain: str) -> bool:
    """Tell whether a host is a domain itself or below it."""
    host, domain = host.rstrip(".").lower(), domain.rstrip(".").lower()
    return host == domain or host.endswith(f".{domain}")
