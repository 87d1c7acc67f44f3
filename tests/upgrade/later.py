# SPDX-License-Identifier: LGPL-3.0-only
"""An Odoo of a later series, for the comparisons in this folder."""

from __future__ import annotations

import argparse
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.odoo import NoOdoo, OdooError, workdir
from dev.odoo.postgresql import RUN_PREFIX, current, drop_database
from dev.shared import Progress

SECONDS = 20 * 60


class LaterOdoo:
    """An Odoo of another series, run with the Python that has its requirements."""

    def __init__(self, home: Path, python: Path) -> None:
        if not (home / "odoo" / "release.py").is_file():
            raise NoOdoo(f"--odoo {home}: no odoo/release.py there.")
        self.home = home
        self.python = python
        self.series = runpy.run_path(str(home / "odoo" / "release.py"))["series"]

    def run(self, db: str, *args: str, stdin: str = "", command: str = "server") -> str:
        """Run it to its end on ``db`` and return what it wrote; raise OdooError if it failed."""
        server = current()
        folders = [self.home / "addons", self.home / "odoo" / "addons"]
        options = [
            f"--addons-path={','.join(str(path) for path in folders if path.is_dir())}",
            f"--data-dir={workdir() / 'later'}",
            f"--database={db}",
            f"--db_host={server.get('PGHOST', '')}",
            f"--db_port={server.get('PGPORT', '')}",
            f"--db_user={server.get('PGUSER', '')}",
            "--no-http",
        ]
        env = {name: value for name, value in os.environ.items() if not name.startswith("ODOO")}
        env |= {**server, "PYTHONPATH": str(self.home), "PYTHONWARNINGS": "ignore", "TZ": "UTC"}
        done = subprocess.run(
            [str(self.python), "-c", "import odoo.cli; odoo.cli.main()", command, *options, *args],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            cwd=workdir(),
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise OdooError(f"{done.stdout[-6000:]}\nOdoo {self.series} failed.")
        return done.stdout

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the name of a new database with its module ``mail``; it is dropped at the end."""
        name = f"{RUN_PREFIX}{os.getpid()}_later"
        try:
            with Progress(f"Installing mail in Odoo {self.series}"):
                self.run(name, "--init=mail", "--without-demo=True", "--stop-after-init")
            yield name
        finally:
            drop_database(name)


def chosen(argv: Sequence[str], description: str) -> LaterOdoo:
    """Return the Odoo that the command line names. Raises ``NoOdoo``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--odoo", required=True, type=Path, metavar="PATH",
                        help="folder of an Odoo 17.0 or later, with odoo/ in it")  # fmt: skip
    parser.add_argument("--python", type=Path, default=Path(sys.executable), metavar="PATH",
                        help="a Python that has the requirements of that Odoo")  # fmt: skip
    options = parser.parse_args(argv)
    return LaterOdoo(options.odoo.expanduser().absolute(), options.python.expanduser())
