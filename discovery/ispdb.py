# SPDX-License-Identifier: LGPL-3.0-only
"""Thunderbird's database of providers, which it calls ISPDB.

It is data of its own, under the MPL-2.0: ``data/ispdb.json``, and its notice beside it, made by
``python -m dev.commands.ispdb``. It is read when somebody asks for the first time.
"""

import json
from functools import lru_cache
from pathlib import Path

from .servers import MailServer, Servers

FILE = Path(__file__).with_name("data") / "ispdb.json"


@lru_cache(maxsize=4)
def load(file: Path = FILE) -> dict[str, Servers]:
    """Give what is known, by domain."""
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
