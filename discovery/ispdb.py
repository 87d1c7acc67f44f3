# SPDX-License-Identifier: LGPL-3.0-only
"""Thunderbird's database of providers, which it calls ISPDB.

It is data of its own (MPL-2.0): a file ``data/ispdb.json`` beside this one, with its notice in
it, where somebody has put one there (``python -m dev.commands.ispdb``). Without that file the
database is asked where Thunderbird asks it, on the network.
"""

import json
from functools import lru_cache
from pathlib import Path

from .servers import MailServer, Servers

FILE = Path(__file__).with_name("data") / "ispdb.json"

#: where Thunderbird has it; the domain follows
ADDRESS = "https://autoconfig.thunderbird.net/v1.1/"


@lru_cache(maxsize=4)
def load(file: Path = FILE) -> dict[str, Servers]:
    """Give what is known, by domain; empty without the file."""
    if not file.exists():
        return {}
    known = {}
    for provider in json.loads(file.read_text("utf-8"))["providers"]:
        servers = Servers(
            name=provider["name"],
            **{
                kind: MailServer(*provider[kind])
                for kind in ("smtp", "imap", "pop")
                if provider.get(kind)
            },
        )
        known.update(dict.fromkeys(provider["domains"], servers))
    return known


def parents(host: str) -> list[str]:
    """Give the domains that a host belongs to, the longest first: two labels are the least."""
    labels = host.rstrip(".").lower().split(".")
    return [".".join(labels[start:]) for start in range(1, len(labels) - 1)]
