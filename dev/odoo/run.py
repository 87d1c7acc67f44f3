# SPDX-License-Identifier: LGPL-3.0-only
"""How Odoo is run: its configuration, its environment, one run to its end."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from dev.odoo.find import find_odoo, link
from dev.odoo.postgresql import current, execute
from dev.shared import ADDON, ROOT, Progress, ToolError, cache_dir, follow

LOADING = re.compile(r"Loading module (\S+) \((\d+)/(\d+)\)")
COMPLAINT = re.compile(r"^\S+ \S+ \d+ (WARNING|ERROR|CRITICAL) ")


class OdooError(ToolError):
    """Odoo failed; the message ends with the end of its log."""


@functools.lru_cache(maxsize=1)
def workdir() -> Path:
    """Return this run's temporary folder, which is removed at its end."""
    path = Path(tempfile.mkdtemp(prefix="mcr-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    return path


def addons_link() -> Path:
    """Return a folder for addons_path in which the addon has its technical name."""
    digest = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    folder = cache_dir() / f"addons-{digest}"
    folder.mkdir(exist_ok=True)
    link(folder / ADDON, ROOT)
    return folder


def odoo_config(
    db: str | None,
    *,
    addon: bool = True,
    more: Sequence[Path] = (),
    http_port: int | None = None,
    logfile: Path | None = None,
    **options: object,
) -> Path:
    """Write an odoo.conf for the database ``db`` on the server in use and return its path.

    :param addon: whether the addon can be found
    :param more: more folders with addons
    :param http_port: where to listen on 127.0.0.1; None: nowhere
    :param logfile: None: the log goes to stderr
    :param options: further options of odoo.conf, such as ``workers=2``
    :raises NoOdoo: without an Odoo
    :raises NoPostgres: outside ``postgres()``
    """
    home = find_odoo()
    server = current()
    folders = [*([addons_link()] if addon else []), *more]
    folders += [path for path in (home / "addons", home / "odoo" / "addons") if path.is_dir()]
    values = {
        "addons_path": ",".join(map(str, folders)),
        "data_dir": data_dir(),
        "db_host": server.get("PGHOST", False),
        "db_port": server.get("PGPORT", False),
        "db_user": server.get("PGUSER", False),
        "db_password": server.get("PGPASSWORD", False),
        "db_name": db or False,
        "dbfilter": f"^{db}$" if db else "",
        "list_db": False,
        "http_enable": http_port is not None,
        "http_interface": "127.0.0.1",
        "http_port": http_port or 8069,
        "logfile": logfile or False,
        "max_cron_threads": 0,
        "workers": 0,
        "without_demo": "all",
        "limit_time_real": 3600,
        **options,
    }
    handle, name = tempfile.mkstemp(prefix="odoo-", suffix=".conf", dir=workdir())
    with os.fdopen(handle, "w") as file:
        file.write("[options]\n")
        file.writelines(f"{key} = {value}\n" for key, value in values.items())
    return Path(name)


def data_dir() -> Path:
    path = workdir() / "data"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


class OdooRun(NamedTuple):
    """What came of a run of Odoo: its stdout, and its log's complaints."""

    stdout: str
    complaints: list[str]


def odoo_command(*args: str) -> list[str]:
    """Return the command line of odoo-bin with ``args``. Raises ``NoOdoo``."""
    return [sys.executable, str(find_odoo() / "odoo-bin"), *args]


def odoo_environment() -> dict[str, str]:
    """Return the environment for odoo-bin: ours, without the tools' own Python path."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
    for name in ("PYTHONPATH", "ODOO_RC", "OPENERP_SERVER"):
        env.pop(name, None)
    return env


def import_environment() -> dict[str, str]:
    """Return an environment in which Python imports Odoo, in UTC as odoo-bin does."""
    return {**odoo_environment(), "PYTHONPATH": str(find_odoo()), "TZ": "UTC"}


def run_odoo(
    args: Sequence[str], *, config: Path, title: str | None = None, stdin: str = ""
) -> OdooRun:
    """Run ``odoo-bin <args> -c config`` to its end, showing its progress.

    :param title: what to call the step; None: say nothing
    :param stdin: what Odoo reads, such as the script for ``shell``
    :raises OdooError: with the end of the log, when Odoo's exit code is not 0
    """
    complaints = []

    def told(line: str) -> None:
        if COMPLAINT.match(line) and " py.warnings: " not in line:
            complaints.append(line)
        loading = LOADING.search(line)
        if progress and loading:
            progress.update(f"{loading[2]}/{loading[3]} {loading[1]}")

    text = {"mode": "w+", "encoding": "utf-8", "errors": "replace"}
    with (
        tempfile.TemporaryFile(**text) as script,
        tempfile.TemporaryFile(**text) as output,
        Progress(title) if title else nullcontext() as progress,
    ):
        script.write(stdin)
        script.seek(0)
        code, lines = follow(
            odoo_command(*args, "-c", str(config)),
            told,
            stdin=script,
            stdout=output,
            stderr=subprocess.PIPE,
            env=odoo_environment(),
            cwd=workdir(),
        )
        if code:
            kept = cache_dir() / "odoo-failure.log"
            kept.write_text("".join(lines), encoding="utf-8")
            raise OdooError(
                "".join(lines[-60:]) + f"odoo-bin {' '.join(args)} ended with exit code {code};"
                f" the end of its log is above, all of it in {kept}"
            )
        output.seek(0)
        return OdooRun(output.read(), complaints)


def install(db: str, *modules: str, title: str | None = None) -> OdooRun:
    """Install ``modules`` in the database ``db``, made if it does not exist.

    Raises ``OdooError``, also when Odoo left one of them uninstalled without failing.
    """
    run = run_odoo(
        ["-i", ",".join(modules), "--stop-after-init"],
        config=odoo_config(db, addon=ADDON in modules),
        title=title or f"Installing {', '.join(modules)}",
    )
    rows = execute("SELECT name FROM ir_module_module WHERE state = 'installed'", database=db)
    missing = sorted(set(modules) - {name for (name,) in rows})
    if missing:
        raise OdooError(
            "\n".join([*run.complaints[-20:], f"Odoo did not install {', '.join(missing)}."])
        )
    return run
