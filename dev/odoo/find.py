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
from pathlib import Path

from dev.shared import NotHere, Progress, ToolError, cache_dir, locked, time_limit

SERIES = "16.0"
REPOSITORY = "https://github.com/odoo/odoo.git"
TARBALL = f"https://codeload.github.com/odoo/odoo/tar.gz/refs/heads/{SERIES}"
FIRST_BYTE_SECONDS = 30
DOWNLOAD_SECONDS = 45 * 60


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
    home = Path.home() / "odoo" / SERIES
    if _series(home) == SERIES:
        return _with_launcher(home)
    tried = ["ODOO_HOME is not set", f"{home} is not there"]
    importable = os.environ.get("MCR_IMPORTABLE_ODOO")
    if importable:
        home = Path(importable).parent
        series = _series(home)
        if series == SERIES:
            return _with_launcher(home)
        tried.append(f"the importable odoo is of series {series}")
    else:
        tried.append("the Python that runs make cannot import odoo")
    home = cache_dir() / f"odoo-{SERIES}"
    if _series(home) == SERIES:
        return home
    waiting = "Another run is downloading Odoo; waiting for it ..."
    with locked(cache_dir() / "odoo.lock", waiting):
        if _series(home) == SERIES:
            return home
        failure = _download(home)
        if not failure:
            return home
        tried.append(f"it could not be downloaded: {failure}")
    raise NoOdoo(
        f"No Odoo {SERIES}: {'; '.join(tried)}. Put Odoo {SERIES} into ~/odoo/{SERIES}, or set "
        "ODOO_HOME to its folder."
    )


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


def _download(home: Path) -> str | None:
    """Fetch Odoo into ``home``; return why that failed, None when it has not."""
    partial = Path(tempfile.mkdtemp(prefix="odoo-partial-", dir=cache_dir()))
    try:
        source = partial / "odoo"
        git = shutil.which("git")
        failure = _clone(git, source) if git else _unpack(source)
        if not failure and _series(source) != SERIES:
            failure = "what came is not Odoo " + SERIES
        if not failure:
            shutil.rmtree(home, ignore_errors=True)
            source.rename(home)
        return failure
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _clone(git: str, target: Path) -> str | None:
    """Clone the branch with git; return why that failed."""
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C"}
    patience = ["-c", "http.lowSpeedLimit=1000", "-c", f"http.lowSpeedTime={FIRST_BYTE_SECONDS}"]
    # First a small question: a clone would show no difference between slow and unreachable
    try:
        asked = subprocess.run(
            [git, *patience, "ls-remote", "--heads", REPOSITORY, SERIES],
            capture_output=True,
            text=True,
            env=env,
            timeout=FIRST_BYTE_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer from {REPOSITORY} within {FIRST_BYTE_SECONDS} seconds"
    if asked.returncode:
        return (asked.stderr.strip().splitlines() or ["git failed"])[-1]
    last = ""
    with Progress(f"Downloading Odoo {SERIES} (once, about 1 GB)") as progress:
        process = subprocess.Popen(
            [git, *patience, "clone", "--depth=1", f"--branch={SERIES}", "--single-branch",
             "--progress", REPOSITORY, str(target)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=env,
        )  # fmt: skip
        # Universal newlines make git's carriage returns lines
        with time_limit(process, DOWNLOAD_SECONDS):
            for line in process.stderr:
                last = line.strip() or last
                progress.update(last[:70])
    return f"git clone failed: {last}" if process.returncode else None


def _unpack(target: Path) -> str | None:
    """Fetch and unpack the branch's tarball, where there is no git; return why that failed."""
    try:
        with (
            Progress(f"Downloading Odoo {SERIES} (once)") as progress,
            urllib.request.urlopen(TARBALL, timeout=FIRST_BYTE_SECONDS) as response,
            tarfile.open(fileobj=response, mode="r|gz") as archive,
        ):
            for count, member in enumerate(archive):
                member.name = member.name.partition("/")[2]
                if member.name and ".." not in member.name.split("/"):
                    archive.extract(member, target, set_attrs=False)
                progress.update(f"{count} files")
    except (OSError, tarfile.TarError, EOFError) as error:
        return f"{TARBALL}: {error}"
    return None


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
