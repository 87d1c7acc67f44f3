# SPDX-License-Identifier: LGPL-3.0-only
"""What the bootstrap and the tools have in common: places, locks, progress. Plain Python.

``bootstrap.py`` runs this file with whatever ``python3`` the machine has, so nothing here needs
a package or a Python newer than 3.7.
"""

# pylint: disable=print-used
from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ADDON = "mail_company_routing"
# The apps whose documents the tests and the demo send mail about
MODULES = ("mail", "sale_management", "crm", "microsoft_outlook")
ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "dev" / "requirements.txt"
REQUIREMENTS_BENCH = ROOT / "dev" / "requirements-bench.txt"
REQUIREMENTS_OCA = ROOT / "dev" / "requirements-oca.txt"


class ToolError(Exception):
    """A command cannot go on; the message says why and what to do."""


class NotHere(ToolError):
    """Something that a command needs is not here and cannot be had."""


def cache_dir() -> Path:
    """Return the folder of everything that may be deleted and made again; it exists."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base).absolute() / ADDON
    path.mkdir(parents=True, exist_ok=True)
    return path


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def read_toml(path: Path) -> dict:
    """Read a TOML file. Python 3.11 can; 3.10 has a package for it."""
    try:
        import tomllib
    except ModuleNotFoundError:
        import tomli as tomllib
    return tomllib.loads(path.read_text(encoding="utf-8"))


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file ``path``; say ``waiting`` when another process has it, then wait.

    The kernel lets go of the lock when its process ends in whatever way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Progress:
    """A long step: a line at its start and end, and a sign of life between them.

    On a terminal the sign rewrites one line; in a log it is a line every 20 seconds.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.start = self.shown = time.monotonic()
        self.width = 0
        self.tty = sys.stdout.isatty()

    def __enter__(self) -> Progress:
        say(self.title + " ...")
        return self

    def update(self, text: str) -> None:
        """Tell how far the step is, such as ``12/52 sale``."""
        now = time.monotonic()
        if now - self.shown < (0.2 if self.tty else 20):
            return
        self.shown = now
        line = f"  {text} ({now - self.start:.0f} s)"[:99]
        if self.tty:
            print("\r" + line.ljust(self.width), end="", flush=True)
            self.width = len(line)
        else:
            say(line)

    def __exit__(self, exc_type: type[BaseException] | None, *_exc: object) -> None:
        if self.width:
            print("\r" + " " * self.width + "\r", end="")
        if exc_type is None:
            say(f"  done in {time.monotonic() - self.start:.0f} s")


def follow(
    command: Sequence[str],
    told: Callable[[str], None],
    seconds: float | None = None,
    **options: Any,
) -> tuple[int, list[str]]:
    """Run a command to its end.

    It is killed when time is up. When this process is interrupted, it is asked to end, then killed.

    :param told: is called with each line of its output
    :param options: as ``Popen`` takes them; with ``stderr=PIPE`` the output is what it says there
    :return: its exit code and its output's lines
    """
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    lines = []
    process = subprocess.Popen(
        command, encoding="utf-8", errors="replace", **{**streams, **options}
    )
    timer = threading.Timer(seconds or threading.TIMEOUT_MAX, process.kill)
    timer.daemon = True
    timer.start()
    with process:
        try:
            for line in process.stderr or process.stdout:
                lines.append(line)
                told(line.strip())
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            raise
        finally:
            timer.cancel()
    return process.returncode, lines
