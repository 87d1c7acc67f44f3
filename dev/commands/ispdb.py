# SPDX-License-Identifier: LGPL-3.0-only
"""Make ``discovery/data/ispdb.json`` of a folder of Thunderbird's configuration files.

``python -m dev.commands.ispdb FOLDER``: every ``*.xml`` in it, as ``read_autoconfig`` reads them.
The database is Thunderbird's, under the MPL-2.0; its notice goes into the file that is made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from lxml import etree

from dev.shared import say
from discovery import NotAutoconfig, read_autoconfig

NOTICE = (
    "Made of Thunderbird's database of mail providers. This Source Code Form is subject to the"
    " terms of the Mozilla Public License, v. 2.0. If a copy of the MPL was not distributed with"
    " this file, You can obtain one at https://mozilla.org/MPL/2.0/."
)
FILE = Path(__file__).parents[2] / "discovery" / "data" / "ispdb.json"


def read(folder: Path) -> list[dict]:
    """Read every file of a folder; what Odoo cannot use safely is left out."""
    found = []
    for file in sorted(folder.glob("*.xml")):
        raw = file.read_bytes()
        try:
            servers = read_autoconfig(raw)
        except NotAutoconfig:
            continue
        domains = [element.text.strip().lower() for element in etree.fromstring(raw).iter("domain")]
        provider = {"name": servers.name, "domains": sorted({name for name in domains if name})}
        for kind in ("smtp", "imap", "pop"):
            server = getattr(servers, kind)
            if server:
                provider[kind] = list(astuple(server))
        found.append(provider)
    return found


def write(providers: Sequence[dict], file: Path = FILE) -> None:
    """Write the data file: a provider a line, so that differences can be read."""
    lines = ",\n".join(json.dumps(provider, ensure_ascii=False) for provider in providers)
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'{{"notice": {json.dumps(NOTICE)},\n"providers": [\n{lines}\n]}}\n', "utf-8")


if __name__ == "__main__":
    made = read(Path(sys.argv[1]))
    write(made, Path(sys.argv[2]) if len(sys.argv) > 2 else FILE)
    say(f"{len(made)} providers, {sum(len(one['domains']) for one in made)} domains")
