# SPDX-License-Identifier: LGPL-3.0-only
"""What both benchmarks are made of: the sides, their Odoos, the far end, one queue worked off."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.bench.far_end import FarEnd
from dev.bench.report import ADDON_SIDE, NATIVE, Report
from dev.odoo import clone, database, execute
from dev.shared import ToolError, say
from dev.worker import OdooWorker, Worker

#: by its name, what tells a Bench
Measurements = Mapping[str, Callable[[Any], None]]


class BenchError(ToolError):
    """A measurement that means nothing, such as one in which mails were lost."""


class Office(OdooWorker):
    """An Odoo of a side. Calls are those of :class:`dev.bench.worker.Office`."""

    def __init__(self, side: Side, db: str) -> None:
        self.side = side
        options = {"addon": side.name == ADDON_SIDE, "more": side.more, "log_level": "warn"}
        super().__init__("dev.bench.worker", db, side.name, **options)


@dataclass(frozen=True)
class Side:
    """What is measured: its database with everything installed.

    :param more: more folders with addons
    """

    name: str
    database: str
    more: Sequence[Path] = ()

    @contextmanager
    def office(self, db: str | None = None) -> Iterator[Office]:
        """Have an Odoo on ``db``, or on a copy of the side's database, dropped at the end."""
        with ExitStack() as stack:
            office = Office(self, db or stack.enter_context(clone(self.database)))
            stack.callback(office.stop)
            yield office


@dataclass(frozen=True)
class Run:
    """One queue that was worked off: what Odoo says it took, and what the provider saw.

    The first five are of ``worker.Office.send``, ``logins`` and ``strays`` of the far end.
    """

    mails: int
    seconds: float
    cpu: float
    queries: int
    peak: int
    logins: int = 0
    strays: int = 0

    @property
    def queries_a_mail(self) -> float:
        return self.queries / self.mails


def checked(office: Office, outcome: Mapping[str, Any], **seen: int) -> Run:
    """Give the run that ended with ``outcome``. Raises ``BenchError`` where mails failed."""
    if set(outcome["states"]) != {"sent"}:
        raise BenchError(f"{office.side.name}: mails by state {outcome['states']}")
    return Run(**{name: value for name, value in outcome.items() if name != "states"}, **seen)


class Bench(Report):
    """What all measurements share.

    :param modules: that the database has besides the addon
    :param tls: of the provider
    """

    def __init__(
        self, stack: ExitStack, modules: Sequence[str], tls: str, quick: bool = False
    ) -> None:
        super().__init__()
        self.stack = stack
        self.quick = quick
        self.sides = {
            name: Side(name, stack.enter_context(database(modules, addon=name == ADDON_SIDE)))
            for name in (NATIVE, ADDON_SIDE)
        }
        self.far = Worker(FarEnd, tls)
        stack.callback(self.far.stop)
        #: the provider's own, and its relays'
        self.port, self.ports = self.far.call("listen")

    def send(self, office: Office, count: int | None = None, **far: Any) -> Run:
        """Refill a queue, work it off and check that every mail went out, once.

        :param count: how many of the mails; None: all
        :param far: how the far end is
        """
        self.far.call("begin", **far)
        office.call("refill", count=count)
        for table in ("mail_mail", "mail_message"):
            execute(f"VACUUM {table}", database=office.db)
        self.far.call("begin", **far)
        outcome = office.call("send")
        seen = self.far.call("seen")
        run = checked(office, outcome, logins=seen["logins"], strays=seen["strays"])
        if seen["count"] != run.mails or (count and run.mails != count):
            raise BenchError(f"{office.side.name}: {run.mails} mails sent, {seen} came")
        return run

    def measure(self, measurements: Measurements, names: Sequence[str]) -> int:
        """Take the measurements ``names``, print what came out and return the exit code."""
        for name in names:
            say(f"Measuring: {name}")
            try:
                measurements[name](self)
            except ToolError as error:
                say(str(error))
                self.missed.append(f"NOT MEASURED: {name}; the reason is above")
        return self.show()


def parser_of(prog: str, about: str, measurements: Measurements) -> argparse.ArgumentParser:
    """Return a parser of the command line that has ``--only``."""
    parser = argparse.ArgumentParser(prog=prog, description=about.partition("\n")[0])
    parser.add_argument(
        "--only", action="append", choices=measurements, help="one measurement; may be repeated"
    )
    return parser
