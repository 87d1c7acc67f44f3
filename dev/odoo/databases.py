"""Odoo 16.0 for the tools: where it is, how it is run, and databases to run it on.

::

    with database(["sale_management"]) as name:
        run_odoo(["shell", "-d", name], config=odoo_config(name), stdin=SCRIPT)
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from psycopg2 import errors, sql

from dev.odoo.postgresql import (
    RUN_PREFIX,
    TEMPLATE_PREFIX,
    NoPostgres,
    clean,
    connect,
    current,
    database_names,
    drop_database,
    execute,
    postgres,
)
from dev.shared import ADDON, REQUIREMENTS, ROOT, Progress, cache_dir, locked, say

__all__ = [
    "NoOdoo",
    "NoPostgres",
    "OdooError",
    "OdooHomeError",
    "OdooRun",
    "addons_link",
    "clone",
    "connect",
    "database",
    "execute",
    "find_odoo",
    "install",
    "odoo_command",
    "odoo_config",
    "odoo_environment",
    "postgres",
    "run_odoo",
    "template_key",
    "time_limit",
    "workdir",
]

SERIES = "16.0"
REPOSITORY = "https://github.com/odoo/odoo.git"
TARBALL = f"https://codeload.github.com/odoo/odoo/tar.gz/refs/heads/{SERIES}"
FIRST_BYTE_SECONDS = 30
DOWNLOAD_SECONDS = 45 * 60

LOADING = re.compile(r"Loading module (\S+) \((\d+)/(\d+)\)")
COMPLAINT = re.compile(r"^\S+ \S+ \d+ (WARNING|ERROR|CRITICAL) ")


class NoOdoo(Exception):
    """There is no Odoo 16.0; the message says what was tried and what to do."""


class OdooHomeError(NoOdoo):
    """ODOO_HOME is set and wrong: to be corrected, not to be worked around."""


class OdooError(Exception):
    """Odoo failed; the message ends with the end of its log."""


# --- finding Odoo --------------------------------------------------------------------------


def _series(home: Path) -> str | None:
    """Return the series of the Odoo in ``home``, such as ``16.0``; None if there is none."""
    try:
        release = (home / "odoo" / "release.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"^version_info = \((\d+), (\d+)", release, re.MULTILINE)
    return f"{match[1]}.{match[2]}" if match else None


def find_odoo(download: bool = True) -> Path:
    """Return a folder with ``odoo-bin`` and the package ``odoo``, of series 16.0.

    Looks at $ODOO_HOME, ~/odoo/16.0, the Python that runs make, and the cache, in this order;
    then, if ``download``, fetches Odoo into the cache. Raises ``NoOdoo``, and its subclass
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
    if download:
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
    _link(private / "odoo", home / "odoo")
    (private / "odoo-bin").write_text(
        "__import__('os').environ['TZ'] = 'UTC'\nimport odoo\n\nodoo.cli.main()\n"
    )
    return private


def _link(link: Path, target: Path) -> None:
    """Make ``link`` point at ``target``, replacing what it pointed at in one step."""
    if link.is_symlink() and os.readlink(link) == str(target):
        return
    temporary = link.with_name(f"{link.name}.{os.getpid()}")
    temporary.symlink_to(target)
    temporary.replace(link)


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


@contextmanager
def time_limit(process: subprocess.Popen, seconds: float | None) -> Iterator[None]:
    """Wait for ``process`` on leaving; kill it when time is up or the block is left early."""
    timer = threading.Timer(seconds, process.kill) if seconds else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        with process:
            try:
                yield
            except BaseException:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
                raise
    finally:
        if timer:
            timer.cancel()


def _unpack(target: Path) -> str | None:
    """Fetch and unpack the branch's tarball, where there is no git; return why that failed."""
    answer: list = []

    def ask() -> None:
        try:
            answer.append(urllib.request.urlopen(TARBALL, timeout=FIRST_BYTE_SECONDS))
        except OSError as error:
            answer.append(error)

    # In a thread, as a name server may be silent for longer than any socket's timeout
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(FIRST_BYTE_SECONDS)
    if not answer:
        return f"no answer from {TARBALL} within {FIRST_BYTE_SECONDS} seconds"
    if isinstance(answer[0], OSError):
        return f"{TARBALL}: {answer[0]}"
    try:
        with (
            Progress(f"Downloading Odoo {SERIES} (once)") as progress,
            answer[0] as response,
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


# --- folders and configuration -------------------------------------------------------------


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
    _link(folder / ADDON, ROOT)
    return folder


def odoo_config(
    db: str | None,
    *,
    addon: bool = True,
    demo: bool = False,
    http_port: int | None = None,
    logfile: Path | None = None,
    **options: object,
) -> Path:
    """Write an odoo.conf for the database ``db`` on the server in use and return its path.

    :param addon: whether the addon can be found
    :param demo: whether modules installed with this configuration get their demo data
    :param http_port: where to listen on 127.0.0.1; None: nowhere
    :param logfile: None: the log goes to stderr
    :param options: further options of odoo.conf, such as ``workers=2``
    :raises NoOdoo: without an Odoo
    :raises NoPostgres: outside ``postgres()``
    """
    home = find_odoo()
    server = current()
    folders = [addons_link()] if addon else []
    folders += [path for path in (home / "addons", home / "odoo" / "addons") if path.is_dir()]
    values = {
        "addons_path": ",".join(map(str, folders)),
        "data_dir": _data_dir(),
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
        "without_demo": False if demo else "all",
        "limit_time_real": 3600,
        **options,
    }
    handle, name = tempfile.mkstemp(prefix="odoo-", suffix=".conf", dir=workdir())
    with os.fdopen(handle, "w") as file:
        file.write("[options]\n")
        file.writelines(f"{key} = {value}\n" for key, value in values.items())
    return Path(name)


def _data_dir() -> Path:
    path = workdir() / "data"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


# --- running Odoo --------------------------------------------------------------------------


@dataclass
class OdooRun:
    """What came of a run of Odoo: exit code, stdout, its log, and the log's complaints."""

    returncode: int
    stdout: str
    log: Path
    complaints: list[str] = field(default_factory=list)


def odoo_command(*args: str) -> list[str]:
    """Return the command line of odoo-bin with ``args``. Raises ``NoOdoo``."""
    return [sys.executable, str(find_odoo() / "odoo-bin"), *args]


def odoo_environment() -> dict[str, str]:
    """Return the environment for odoo-bin: ours, without the tools' own Python path."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
    for name in ("PYTHONPATH", "ODOO_RC", "OPENERP_SERVER"):
        env.pop(name, None)
    return env


def run_odoo(
    args: Sequence[str],
    *,
    config: Path,
    title: str | None = None,
    stdin: str | None = None,
    check: bool = True,
    timeout: float | None = None,
) -> OdooRun:
    """Run ``odoo-bin <args> -c config`` to its end, showing its progress.

    :param title: what to call the step; None: say nothing
    :param stdin: what Odoo reads, such as the script for ``shell``
    :param check: raise when Odoo's exit code is not 0
    :param timeout: seconds after which Odoo is killed
    :raises OdooError: with the end of the log
    """
    command = odoo_command(*args, "-c", str(config))
    handle, name = tempfile.mkstemp(prefix="odoo-", suffix=".log", dir=workdir())
    run = OdooRun(-1, "", Path(name))
    tail: deque[str] = deque(maxlen=60)
    output: list[str] = []
    progress = Progress(title) if title else None
    with os.fdopen(handle, "w") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=odoo_environment(),
            cwd=workdir(),
        )

        def feed() -> None:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(stdin)

        threads = [threading.Thread(target=lambda: output.extend(process.stdout), daemon=True)]
        if stdin is not None:
            threads.append(threading.Thread(target=feed, daemon=True))
        if progress:
            progress.__enter__()
        with time_limit(process, timeout):
            for thread in threads:
                thread.start()
            for line in process.stderr:
                log.write(line)
                tail.append(line)
                if COMPLAINT.match(line) and " py.warnings: " not in line:
                    run.complaints.append(line.strip())
                loading = LOADING.search(line)
                if progress and loading:
                    progress.update(f"{loading[2]}/{loading[3]} {loading[1]}")
            for thread in threads:
                thread.join()
    run.returncode = process.returncode
    run.stdout = "".join(output)
    if progress:
        progress.__exit__(OdooError if run.returncode else None)
    if check and run.returncode:
        kept = cache_dir() / "odoo-failure.log"
        shutil.copyfile(run.log, kept)
        raise OdooError(
            "".join(tail) + f"odoo-bin {' '.join(args)} ended with exit code {run.returncode}; "
            f"the end of its log is above, all of it in {kept}"
        )
    return run


def install(db: str, *modules: str, demo: bool = False, title: str | None = None) -> OdooRun:
    """Install ``modules`` in the database ``db``, made if it does not exist.

    Raises ``OdooError``, also when Odoo left one of them uninstalled without failing.
    """
    run = run_odoo(
        ["-i", ",".join(modules), "--stop-after-init"],
        config=odoo_config(db, demo=demo, addon=ADDON in modules),
        title=title or f"Installing {', '.join(modules)}",
    )
    rows = execute("SELECT name FROM ir_module_module WHERE state = 'installed'", database=db)
    missing = sorted(set(modules) - {name for (name,) in rows})
    if missing:
        raise OdooError(
            "\n".join([*run.complaints[-20:], f"Odoo did not install {', '.join(missing)}."])
        )
    return run


# --- databases -----------------------------------------------------------------------------


@contextmanager
def database(modules: Sequence[str], demo: bool = False, addon: bool = True) -> Iterator[str]:
    """Yield the name of a new database with ``modules``, and the addon if ``addon``.

    It is cloned from one that is prepared once for these modules and kept; the addon is
    installed into the clone. It is dropped at the end. Raises ``NoOdoo``, ``NoPostgres`` and
    ``OdooError``.
    """
    find_odoo()
    with postgres(), clone(_template(sorted(set(modules)), demo)) as name:
        if addon:
            run = install(name, ADDON, demo=demo)
            for complaint in run.complaints:
                say(f"  {complaint}")
        yield name


@contextmanager
def clone(source: str) -> Iterator[str]:
    """Yield the name of a copy of the database ``source``, which nobody may be using.

    Its files are copied too. It is dropped at the end.
    """
    name = f"{RUN_PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
    with postgres():
        try:
            _copy_database(source, name)
            files = _files_of(source)
            if files.is_dir():
                shutil.copytree(files, _files_of(name))
            yield name
        finally:
            drop_database(name)
            shutil.rmtree(_files_of(name), ignore_errors=True)


def _copy_database(source: str, name: str) -> None:
    query = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(source)
    )
    if int(execute("SHOW server_version_num")[0][0]) >= 150000:
        query += sql.SQL(" STRATEGY FILE_COPY")
    execute(query)


def _files_of(name: str) -> Path:
    """Return the folder of the attachments of the database ``name``."""
    folder = cache_dir() if name.startswith(TEMPLATE_PREFIX) else _data_dir()
    return folder / "filestore" / name


def template_key(modules: Sequence[str], demo: bool = False) -> str:
    """Return a digest of all that decides how a database with ``modules`` looks, bar the addon.

    That is Odoo (its folder, release, commit, the age of its files), our requirements, the
    server, and this machine's cache, where the attachments are. To be called in ``postgres()``.
    """
    home = find_odoo()
    watched = (home / "odoo" / "release.py", home / "addons" / "mail" / "__manifest__.py")
    parts = [str(home.resolve()), str(cache_dir()), REQUIREMENTS.read_text(), list(modules), demo]
    parts += [path.stat().st_mtime_ns for path in watched if path.exists()]
    parts += [_commit(home), current().get("PGHOST"), current().get("PGPORT")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _commit(home: Path) -> str:
    """Return the commit that is checked out in ``home``, empty if that is no clone."""
    if not (home / ".git").exists() or not shutil.which("git"):
        return ""
    done = subprocess.run(
        ["git", "-C", str(home), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _template(modules: Sequence[str], demo: bool) -> str:
    """Return the name of the prepared database with ``modules``, preparing it if need be."""
    key = template_key(modules, demo)
    name = TEMPLATE_PREFIX + key
    waiting = "Another run is preparing the database; waiting for it ..."
    with locked(cache_dir() / f"template-{key}.lock", waiting):
        if name in database_names(name):
            if _files_of(name).is_dir():
                return name
            drop_database(name)
        # What it replaces: the same modules on an Odoo, or with requirements, of earlier
        label = json.dumps([str(cache_dir()), list(modules), demo])
        for old in database_names(TEMPLATE_PREFIX):
            comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            if execute(comment + " WHERE datname = %s", old) == [(label,)]:
                drop_database(old)
                shutil.rmtree(_files_of(old), ignore_errors=True)
        partial = f"{RUN_PREFIX}{os.getpid()}_{key}"
        try:
            title = f"Preparing a database with {', '.join(modules)} (once, some minutes)"
            install(partial, *modules, demo=demo, title=title)
            shutil.rmtree(_files_of(name), ignore_errors=True)
            _files_of(partial).mkdir(parents=True, exist_ok=True)
            shutil.copytree(_files_of(partial), _files_of(name))
            identifiers = {"new": sql.Identifier(name), "old": sql.Identifier(partial)}
            comment = sql.SQL("COMMENT ON DATABASE {old} IS {label}")
            execute(comment.format(label=sql.Literal(label), **identifiers))
            with suppress(errors.DuplicateDatabase):
                execute(sql.SQL("ALTER DATABASE {old} RENAME TO {new}").format(**identifiers))
        finally:
            drop_database(partial)
            shutil.rmtree(_files_of(partial), ignore_errors=True)
    return name


# --- make clean ----------------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """``clean``: remove everything that the tools keep, except an Odoo they downloaded."""
    if list(argv) != ["clean"]:
        say("usage: python -m dev.odoo.databases clean")
        return 2
    try:
        clean()
    except NoPostgres as error:
        say(str(error))
        return 1
    for path in cache_dir().iterdir():
        if path.name in (f"odoo-{SERIES}", "odoo.lock") or path.name.startswith("venv-"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
