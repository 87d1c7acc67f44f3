# SPDX-License-Identifier: LGPL-3.0-only
"""From an address to the servers of its provider: what is known, and who knows it.

Plain Python: no Odoo import, no database. What is found is a guess: the caller tries it before
anything is kept, and says where it comes from.

    >>> finding = find("kim@example.com", presets=[Preset("ours", domains={"example.com"})])
    >>> finding.found.source, finding.found.where, finding.found.preset
    ('domain', 'example.com', 'ours')
"""

from .autoconfig import NotAutoconfig, read_autoconfig
from .find import SECONDS, Finding, Found, Preset, Refused, find
from .network import Elsewhere, Network, is_inside, tls_context
from .resolver import NoAnswer, NoSuchName, Resolver, can_look_up
from .servers import MailServer, Servers

__all__ = [
    "SECONDS",
    "Elsewhere",
    "Finding",
    "Found",
    "MailServer",
    "Network",
    "NoAnswer",
    "NoSuchName",
    "NotAutoconfig",
    "Preset",
    "Refused",
    "Resolver",
    "Servers",
    "can_look_up",
    "find",
    "is_inside",
    "read_autoconfig",
    "tls_context",
]
