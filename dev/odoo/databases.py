# SPDX-License-Identifier: LGPL-3.0-only
"""Databases with modules installed, cloned from ones that are prepared once and kept.

::

    with database(["sale_management"]) as name:
        run_odoo(["shell", "-d", name], config=odoo_config(name), stdin=SCRIPT)
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from psycopg2 import sql

from dev.odoo.find import SERIES, find_odoo
from dev.odoo.postgresql import (
    RUN_PREFIX,
    TEMPLATE_PREFIX,
    current,
    database_names,
    drop_database,
    execute,
    postgres,
)
from dev.odoo.run import data_dir, install
from dev.shared import ADDON, REQUIREMENTS, cache_dir, locked, say

# What an odoo.conf of ours says; part of a prepared database's name
DEMO_DATA = False


@contextmanager
def database(modules: Sequence[str], addon: bool = True) -> Iterator[str]:
    """Yield the name of a new database with ``modules``, and the addon if ``addon``.

    It is cloned from one that is prepared once for these modules and kept; the addon is
    installed into the clone. It is dropped at the end. Raises ``NoOdoo``, ``NoPostgres`` and
    ``OdooError``.
    """
    find_odoo()
    with postgres(), clone(_template(sorted(set(modules)))) as name:
        if addon:
            run = install(name, ADDON)
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
    folder = cache_dir() if name.startswith(TEMPLATE_PREFIX) else data_dir()
    return folder / "filestore" / name


def template_key(modules: Sequence[str]) -> str:
    """Return a digest of all that decides how a database with ``modules`` looks, bar the addon.

    That is Odoo (its folder, release, commit, the age of its files), the packages it needs, the
    server, and this machine's cache, where the attachments are. To be called in ``postgres()``.
    """
    home = find_odoo()
    watched = (home / "odoo" / "release.py", home / "addons" / "mail" / "__manifest__.py")
    packages = REQUIREMENTS.read_text().partition("\n# Odoo 16.0")[2].partition("\n\n")[0]
    parts = [str(home.resolve()), str(cache_dir()), packages, list(modules), DEMO_DATA]
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


def _template(modules: Sequence[str]) -> str:
    """Return the name of the prepared database with ``modules``, preparing it if need be."""
    key = template_key(modules)
    name = TEMPLATE_PREFIX + key
    waiting = "Another run is preparing the database; waiting for it ..."
    with locked(cache_dir() / f"template-{key}.lock", waiting):
        if name in database_names(name):
            if _files_of(name).is_dir():
                return name
            drop_database(name)
        # What it replaces: the same modules on an Odoo, or with requirements, of earlier
        label = json.dumps([SERIES, str(cache_dir()), list(modules), DEMO_DATA])
        for old in database_names(TEMPLATE_PREFIX):
            comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            if execute(comment + " WHERE datname = %s", old) == [(label,)]:
                drop_database(old)
                shutil.rmtree(_files_of(old), ignore_errors=True)
        partial = f"{RUN_PREFIX}{os.getpid()}_{key}"
        try:
            title = f"Preparing a database with {', '.join(modules)} (once, some minutes)"
            install(partial, *modules, title=title)
            shutil.rmtree(_files_of(name), ignore_errors=True)
            for folder in (_files_of(partial), _files_of(name).parent):
                folder.mkdir(parents=True, exist_ok=True)
            shutil.move(_files_of(partial), _files_of(name))
            identifiers = {"new": sql.Identifier(name), "old": sql.Identifier(partial)}
            comment = sql.SQL("COMMENT ON DATABASE {old} IS {label}")
            execute(comment.format(label=sql.Literal(label), **identifiers))
            execute(sql.SQL("ALTER DATABASE {old} RENAME TO {new}").format(**identifiers))
        finally:
            drop_database(partial)
            shutil.rmtree(_files_of(partial), ignore_errors=True)
    return name
