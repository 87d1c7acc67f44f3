# SPDX-License-Identifier: LGPL-3.0-only
"""Odoo in this process, and objects in processes of their own that do what they are asked."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dev.odoo import find_odoo, odoo_config, workdir
from dev.shared import ToolError


class OdooHere:
    """Odoo in this process, on the database of an odoo.conf; the package can be imported."""

    def __init__(self, config: Path | str) -> None:
        import odoo

        self.odoo = odoo
        odoo.tools.config.parse_config(["-c", str(config)])
        odoo.service.server.load_server_wide_modules()
        self.registry = odoo.registry(odoo.tools.config["db_name"])

    def __enter__(self) -> OdooHere:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.odoo.sql_db.close_all()

    @contextmanager
    def environment(self) -> Iterator[Any]:
        """Give an environment as a scheduled action has it, committed at the end."""
        self.registry.check_signaling()
        with self.registry.cursor() as cr:
            yield self.odoo.api.Environment(cr, self.odoo.SUPERUSER_ID, {})
        self.registry.signal_changes()


class WorkerError(ToolError):
    """The process failed; the message is its traceback."""


class Worker:
    """An object in a process of its own.

    :param make: gives there, from ``arguments``, a context manager with the object; the process
        imports it by its name
    """

    def __init__(self, make: Callable[..., Any], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=_answer_calls, args=(other, make, arguments), daemon=True
        )
        self.process.start()
        other.close()  # so that its death ends what waits for it
        self.pending = 1

    def ask(self, call: str, **arguments: object) -> None:
        """Let the object do something, and go on meanwhile; :meth:`answer` waits for it."""
        self.pending += 1
        self.connection.send((call, arguments))

    def answer(self) -> Any:
        """Wait until the object is there and for all that was asked; return the last result.

        :raises WorkerError: it failed, or the process is dead
        """
        result = None
        while self.pending:
            try:
                result, error = self.connection.recv()
            except (EOFError, ConnectionError):
                error = "the process has ended"
            if error:
                raise WorkerError(error)
            self.pending -= 1
        return result

    def call(self, call: str, **arguments: object) -> Any:
        """Let the object do something and return its result."""
        self.ask(call, **arguments)
        return self.answer()

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def stop(self) -> None:
        """End the process, at once if it is still busy."""
        if not self.pending:
            with suppress(ConnectionError):
                self.connection.send(None)
            self.process.join(20)
        self.kill()


def _answer_calls(connection: Connection, make: Callable[..., Any], arguments: tuple) -> None:
    """Be the process: make the object, then answer the calls until there are no more."""
    with ExitStack() as stack, suppress(EOFError):
        subject, error = _attempt(lambda: stack.enter_context(make(*arguments)))
        connection.send((None, error))
        while order := connection.recv():
            call, options = order
            connection.send(_attempt(getattr(subject, call), **options))


def _attempt(work: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, str]:
    """Return what a function returns, and the traceback of what it raises."""
    try:
        return work(*arguments, **options), ""
    except Exception:
        return None, traceback.format_exc()


class OdooWorker(Worker):
    """An Odoo in a process of its own.

    :param module: where its class ``Office`` is, an :class:`OdooHere`
    :param db: its database
    :param arguments: of the class, after the odoo.conf
    :param options: as ``odoo_config`` takes them
    """

    def __init__(self, module: str, db: str, *arguments: str, **options: Any) -> None:
        self.db = db
        handle, log = tempfile.mkstemp(prefix="worker-", suffix=".log", dir=workdir())
        os.close(handle)
        self.log = Path(log)
        config = odoo_config(db, logfile=self.log, **options)
        super().__init__(_make_office, module, find_odoo(), self.log, config, *arguments)

    def answer(self) -> Any:
        try:
            return super().answer()
        except WorkerError as error:
            tail = self.log.read_text(errors="replace")[-3000:]
            raise WorkerError(f"{tail}\n{error}") from error


def _make_office(module: str, home: Path, log: Path, *arguments: object) -> OdooHere:
    """Make an ``Office`` in this process, in UTC as odoo-bin is; what it prints goes to the log."""
    with log.open("a") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.environ["TZ"] = "UTC"
    time.tzset()
    sys.path.insert(0, str(home))
    return importlib.import_module(module).Office(*arguments)
