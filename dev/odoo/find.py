# SPDX-License-Identifier: LGPL-3.0-only
"""Where Odoo 16.0 is, and how it comes here when it is nowhere."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from dev.shared import NotHere, Progress, ToolError, cache_dir, locked

SERIES = "16.0"
TARBALL = f"https://codeload.github.com/odoo/odoo/tar.gz/refs/heads/{SERIES}"
# A server that says nothing for so long is not waited for
ANSWER_SECONDS = 30


class NoOdoo(NotHere):
    """There is no Odoo 16.0; the message says what was tried and what to do."""


class OdooHomeError(ToolError):
    """ODOO_HOME is set and wrong: to be corrected, not to be worked around."""


def _series(home: Path) -> str | None:
    """Return the series of the Odoo in ``home``, such as ``16.0``; None if there is none."""
    try:
        release = (home / "odoo" / "release.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"^version_info = \((\d+), (\d+)", release, re.MULTILINE)
    return f"{match[1]}.{match[2]}" if match else None


def find_odoo() -> Path:
    """Return a folder with ``odoo-bin`` and the package ``odoo``, of series 16.0.

    Looks at $ODOO_HOME, ~/odoo/16.0, the Python that runs make, and the cache, in this order;
    then fetches Odoo into the cache. Raises ``NoOdoo``, and its subclass
    ``OdooHomeError`` when $ODOO_HOME is set and is not what it should be.
    """
    given = os.environ.get("ODOO_HOME")
    if given:
        home = Path(given).expanduser().absolute()
        series = _series(home)
        if series != SERIES:
            found = f"Odoo {series}" if series else "no Odoo (there is no odoo/release.py)"
            raise OdooHomeError(f"ODOO_HOME={given}: {found} there; Odoo {SERIES} is needed.")
        return _with_launcher(home)
    importable = os.environ.get("MCR_IMPORTABLE_ODOO")
    homes = [Path.home() / "odoo" / SERIES, *([Path(importable).parent] if importable else [])]
    for home in homes:
        if _series(home) == SERIES:
            return _with_launcher(home)
    home = cache_dir() / f"odoo-{SERIES}"
    with locked(cache_dir() / "odoo.lock", "Another run is downloading Odoo; waiting for it ..."):
        if _series(home) == SERIES:
            return home
        try:
            _download(home)
        except (OSError, HTTPException, tarfile.TarError, EOFError) as error:
            tried = ", ".join(map(str, homes))
            raise NoOdoo(
                f"No Odoo {SERIES}: ODOO_HOME is not set, there is none in {tried}, and it could"
                f" not be downloaded: {TARBALL}: {error}. Put Odoo {SERIES} into ~/odoo/{SERIES},"
                " or set ODOO_HOME to its folder."
            ) from error
    return home


def _with_launcher(home: Path) -> Path:
    """Return ``home``, or a private folder that shows its package ``odoo`` and an odoo-bin.

    An installed Odoo has no odoo-bin, and lies among packages that must not be mixed with ours.
    """
    if (home / "odoo-bin").exists():
        return home
    private = cache_dir() / ("odoo-" + hashlib.sha256(str(home).encode()).hexdigest()[:8])
    private.mkdir(exist_ok=True)
    link(private / "odoo", home / "odoo")
    (private / "odoo-bin").write_text(
        "__import__('os').environ['TZ'] = 'UTC'\nimport odoo\n\nodoo.cli.main()\n"
    )
    return private


def link(place: Path, target: Path) -> None:
    """Let ``place`` point at ``target``, replacing what it pointed at in one step."""
    if place.is_symlink() and os.readlink(place) == str(target):
        return
    temporary = place.with_name(f"{place.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(place)


def _download(home: Path) -> None:
    """Fetch the branch's tarball by urllib, unpack it into ``home``. Raises what they raise."""
    partial = Path(tempfile.mkdtemp(prefix="odoo-partial-", dir=cache_dir()))
    source = partial / "odoo"
    try:
        with (
            Progress(f"Downloading Odoo {SERIES} (once)") as progress,
            urllib.request.urlopen(TARBALL, timeout=ANSWER_SECONDS) as response,
            tarfile.open(fileobj=response, mode="r|gz") as archive,
        ):
            for count, member in enumerate(archive):
                member.name = member.name.partition("/")[2]
                if member.name and ".." not in member.name.split("/"):
                    archive.extract(member, source, set_attrs=False)
                progress.update(f"{count} files")
        if _series(source) != SERIES:
            raise OSError(f"what came is not Odoo {SERIES}")
        shutil.rmtree(home, ignore_errors=True)
        source.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def fetch_addons(target: Path, *requirements: str) -> Path:
    """Install packages with other addons into the folder ``target``, in place of what is there.

    :param requirements: as pip takes them; their own requirements are not installed
    :return: the folder for addons_path
    :raises NotHere: they cannot be had; what was there stays
    """
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    command = [
        *(sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:"),
        *("--no-compile", "--disable-pip-version-check", "--quiet"),
        *("--target", str(fresh), *requirements),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            raise NotHere((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target / "odoo" / "addons"
