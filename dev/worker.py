# SPDX-License-Identifier: LGPL-3.0-only
"""An Odoo in this process, or in one of its own that does what it is asked.

To such a process every call is a JSON object a line on its stdin, ``{"call": <method>,
...arguments}``, and is answered with a line on its stdout, ``{"result": ...}`` or
``{"error": <traceback>}``. The process is a script that ends with :func:`answer_calls`; Odoo and
``dev`` are on its Python path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dev.odoo import import_environment, odoo_config, workdir
from dev.shared import ROOT, ToolError


class OdooHere:
    """Odoo in this process, on the database of an odoo.conf; the package can be imported."""

    def __init__(self, config: Path | str) -> None:
        import odoo

        self.odoo = odoo
        odoo.tools.config.parse_config(["-c", str(config)])
        odoo.service.server.load_server_wide_modules()
        self.registry = odoo.registry(odoo.tools.config["db_name"])

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
    """The asking half.

    :param script: of the process, whose arguments are its odoo.conf and ``arguments``
    :param db: its database
    :param options: as ``odoo_config`` takes them
    """

    def __init__(self, script: Path, db: str, *arguments: str, **options: Any) -> None:
        self.db = db
        handle, log = tempfile.mkstemp(prefix="worker-", suffix=".log", dir=workdir())
        self.log = Path(log)
        config = odoo_config(db, logfile=self.log, **options)
        environment = import_environment()
        environment["PYTHONPATH"] += os.pathsep + str(ROOT)
        self.pending = 0
        with open(handle, "a") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(script), str(config), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=workdir(),
                env=environment,
            )
        self.ask("start")

    def ask(self, call: str, **arguments: object) -> None:
        """Let the process do something, and go on meanwhile; :meth:`answer` waits for it."""
        self.pending += 1
        self.process.stdin.write(json.dumps({"call": call, **arguments}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Wait for all that was asked, return the last result.

        :raises WorkerError: it failed, or the process is dead
        """
        outcome = {}
        while self.pending:
            line = self.process.stdout.readline()
            outcome = json.loads(line) if line else {"error": "the process has ended"}
            if "error" in outcome:
                tail = self.log.read_text(errors="replace")[-3000:]
                raise WorkerError(f"{tail}\n{outcome['error']}")
            self.pending -= 1
        return outcome.get("result")

    def call(self, call: str, **arguments: object) -> Any:
        """Let the process do something and return its result."""
        self.ask(call, **arguments)
        return self.answer()

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def stop(self) -> None:
        """End the process, at once if it is still busy."""
        if self.pending:
            self.process.kill()
        self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.kill()


def answer_calls(make_office: Callable[..., OdooHere]) -> None:
    """The answering half: answer the calls on stdin until its end.

    :param make_office: gives the object whose methods may be called, from the process's arguments,
        at the first call, which is ``start``
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    office = None
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            office = office or make_office(*sys.argv[1:])
            call = arguments.pop("call")
            answer = {"result": getattr(office, call)(**arguments) if call != "start" else None}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    if office:
        office.odoo.sql_db.close_all()
