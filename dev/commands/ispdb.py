# SPDX-License-Identifier: LGPL-3.0-only
"""Make ``discovery/data/ispdb.json`` of Thunderbird's database of mail providers.

``python -m dev.commands.ispdb FOLDER``, a clone of https://github.com/thunderbird/autoconfig: every
``ispdb/*.xml`` in it, as ``read_autoconfig`` reads it. Only facts are taken: domains, hosts, ports,
encryption, what one logs in with. The database is under the MPL-2.0, and so is what is made of it:
``ispdb.json.license`` beside it says so (https://reuse.software/spec/), and which commit it is of.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from lxml import etree

from dev.shared import say
from discovery import NotAutoconfig, Servers, read_autoconfig
from discovery.ispdb import FILE
from discovery.servers import is_host

NOTICE = """\
SPDX-FileCopyrightText: Ben Bucksch, the Thunderbird project and its contributors
SPDX-License-Identifier: MPL-2.0

ispdb.json is made of Thunderbird's database of mail providers:
https://github.com/thunderbird/autoconfig, folder ispdb,
commit {commit} of {date}.

This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0. If a copy of
the MPL was not distributed with this file, You can obtain one at https://mozilla.org/MPL/2.0/.
"""


def read(folder: Path) -> list[dict]:
    """Read every file of a folder; what Odoo cannot use safely is left out.

    :return: providers; one whose hosts go by the domain is several, each domain is there once
    """
    found, taken = [], set()
    for file in sorted(folder.glob("*.xml")):
        raw = file.read_bytes()
        names = [(element.text or "").strip() for element in etree.fromstring(raw).iter("domain")]
        domains_of: dict[Servers, list[str]] = {}
        for domain in sorted({name.lower() for name in names} - taken):
            try:
                servers = read_autoconfig(raw, domain)
            except NotAutoconfig:
                continue
            if is_host(domain):
                domains_of.setdefault(servers, []).append(domain)
        for servers, domains in domains_of.items():
            taken.update(domains)
            found.append(_provider(servers, domains))
    return found


def _provider(servers, domains):
    provider = {"name": servers.name, "domains": domains}
    for kind in ("smtp", "imap", "pop"):
        server = getattr(servers, kind)
        if server:
            *values, oauth = astuple(server)
            provider[kind] = [*values, True] if oauth else values
    return provider


def write(providers: Sequence[dict], commit: str, date: str, file: Path = FILE) -> None:
    """Write the data file, a provider a line, so that differences can be read; and its notice."""
    lines = ",\n".join(json.dumps(provider, ensure_ascii=False) for provider in providers)
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'{{"providers": [\n{lines}\n]}}\n', "utf-8")
    notice = NOTICE.format(commit=commit, date=date)
    file.with_name(f"{file.name}.license").write_text(notice, "utf-8")


if __name__ == "__main__":
    clone = Path(sys.argv[1])
    git = ["git", "-C", clone, "log", "-1", "--format=%H %cs"]
    made = read(clone / "ispdb")
    write(made, *subprocess.check_output(git, text=True).split())
    say(f"{len(made)} providers, {sum(len(one['domains']) for one in made)} domains")
