# SPDX-License-Identifier: LGPL-3.0-only
"""``make bench``: native Odoo, the addon and two other addons side by side, on real sockets.

Each side has databases and Odoo processes of its own; a mail provider on loopback (STARTTLS,
AUTH) runs in another process, so that its time and memory are not counted as Odoo's. The two
others come from PyPI into the cache and are only measured. Prints a table in Markdown, draws a
plot, and returns 1 when the addon misses a goal::

    make bench ARGS="--only single --only decision"
"""

from __future__ import annotations

import argparse
import ast
import functools
import multiprocessing
import os
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dev.bench import report
from dev.bench.report import ADDON_SIDE, NATIVE, SIDES, Figure
from dev.odoo import (
    clone,
    database,
    execute,
    fetch_addons,
    find_odoo,
    odoo_config,
    run_odoo,
    workdir,
)
from dev.provider import Provider
from dev.shared import ROOT, NotHere, Progress, ToolError, cache_dir, say
from dev.worker import Worker

MODULES = ["mail"]
PEERS = {
    "mail_multicompany": "odoo-addon-mail-multicompany==16.0.*",
    "mail_outbound_static": "odoo-addon-mail-outbound-static==16.0.*",
}
WORKER = Path(__file__).with_name("worker.py")
DOMAIN, PASSWORD = "bench.example", "secret"
COMPANIES = 100
RESTRICTED = " restricted"
AGAIN = "native again"

MAX_QUERIES = 2.1
MAX_SLOW = 0.5
MAX_SINGLE = 1.03
MAX_CONTROL = 0.02
MAX_SCALE = 1.2
MAX_DECISION = 30e-6
MAX_MEMORY = 1.05


class BenchError(ToolError):
    """A measurement that means nothing, such as one in which mails were lost."""


# --- the provider ----------------------------------------------------------------------------


def serve_provider(connection: Connection) -> None:
    """Run a provider for the process at the other end; every account may send as anybody."""
    accounts = [f"post@{DOMAIN}", *(f"post@c{number}.example" for number in range(COMPANIES))]
    with Provider(
        dict.fromkeys(accounts, PASSWORD), rule="any", tls="starttls", keep_data=False
    ) as provider:
        connection.send(provider.smtp_port)
        while order := connection.recv():
            if "delay" in order:
                provider.delay = order["delay"]
                provider.keep_data = order["keep_data"]
                provider.clear()
            mails = provider.mails
            connection.send(
                {
                    "logins": provider.logins,
                    "mails": mails if provider.keep_data else [],
                    "count": len(mails),
                    "refusals": len(provider.refusals),
                    "strays": sum(_is_stray(mail) for mail in mails),
                }
            )


def _is_stray(mail) -> bool:
    """Tell whether a mail left through another server than its company's.

    The bench's companies each have a domain, which is their login's and their MAIL FROM's.
    """
    return mail.login.partition("@")[2] != mail.mail_from.partition("@")[2]


class RemoteProvider:
    """The provider in its process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve_provider, args=(other,), daemon=True)
        self.process.start()
        self.port: int = self.connection.recv()

    def clear(self, *, delay: float = 0.0, keep_data: bool = False) -> None:
        """Forget what was seen, and wait ``delay`` seconds before each reply from now on."""
        self._ask({"delay": delay, "keep_data": keep_data})

    def seen(self) -> dict[str, Any]:
        """Return what came since: ``logins``, ``count``, ``mails``, ``refusals``, ``strays``."""
        return self._ask({"seen": True})

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        self.connection.send(order)
        return self.connection.recv()

    def stop(self) -> None:
        """End the process."""
        self.connection.send(None)
        self.process.join(10)


# --- the sides and their Odoo ----------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One of the four: its database with everything installed, and where its addon lies."""

    name: str
    database: str
    folder: Path | None = None

    def config(self, db: str, **options: object) -> Path:
        """Write an odoo.conf for the database ``db`` with this side's addons."""
        return peer_config(db, self.folder, addon=self.name == ADDON_SIDE, **options)


def peer_config(db: str, folder: Path | None, addon: bool = False, **options: object) -> Path:
    """Write an odoo.conf for the database ``db`` with the addons in ``folder`` besides Odoo's."""
    if folder:
        home = find_odoo()
        paths = [folder, home / "addons", home / "odoo" / "addons"]
        options["addons_path"] = ",".join(str(path) for path in paths if path.is_dir())
    return odoo_config(db, addon=addon, **options)


class OfficeWorker(Worker):
    """An Odoo process on a copy of a side's database. Calls are those of worker.Office."""

    def __init__(self, side: Side, db: str) -> None:
        self.side, self.db = side, db
        handle, log = tempfile.mkstemp(prefix="bench-", suffix=".log", dir=workdir())
        os.close(handle)
        config = side.config(db, logfile=log, log_level="warn")
        super().__init__(WORKER, config, side.name, log=Path(log))


@contextmanager
def worker(side: Side, db: str | None = None) -> Iterator[OfficeWorker]:
    """Yield an Odoo on ``db``, or on a fresh copy of the side's database, dropped at the end."""
    with ExitStack() as stack:
        started = OfficeWorker(side, db or stack.enter_context(clone(side.database)))
        stack.callback(started.stop)
        yield started


def fetch_peer(name: str, requirement: str) -> tuple[Path, str]:
    """Return the addons folder of the newest release of a peer, and its version.

    It is installed into the cache, and taken from there where PyPI cannot be reached. Raises
    ``BenchError`` where there is none, or where it needs addons that are not Odoo's.
    """
    target = cache_dir() / "peers" / name
    try:
        folder = fetch_addons(target, requirement)
    except NotHere as error:
        folder = target / "odoo" / "addons"
        if not folder.is_dir():
            reason = f"{requirement} could not be had ({error})"
            raise BenchError(f"{name} is left out: {reason}") from error
    manifest = ast.literal_eval((folder / name / "__manifest__.py").read_text())
    home = find_odoo()
    places = (folder, home / "addons", home / "odoo" / "addons")
    missing = [
        needed
        for needed in manifest["depends"]
        if not any((place / needed).is_dir() for place in places)
    ]
    if missing:
        raise BenchError(f"{name} is left out: it needs {', '.join(missing)}")
    info = next(target.glob("*.dist-info"))
    return folder, re.search(r"-([\d.]+)\.dist-info$", info.name)[1]


# --- measuring -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One queue that was worked off: what Odoo says it took, and what the provider saw."""

    mails: int
    seconds: float
    cpu: float
    queries: int
    peak: int
    before: int
    logins: int = 0
    strays: int = 0

    @property
    def queries_a_mail(self) -> float:
        return self.queries / self.mails


@dataclass
class Bench:
    """What all measurements share.

    ``plotted`` collects the plot's figures: for each panel's name, a value by side.
    """

    quick: bool
    sides: dict[str, Side]
    provider: RemoteProvider
    stack: ExitStack
    notes: list[str] = field(default_factory=list)
    plotted: dict[str, dict[str, float]] = field(default_factory=dict)

    def cells(self, text: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
        """Give the table's cells of the sides ``names``."""
        return {name: text(name) for name in SIDES if name in set(names)}

    def furnish(
        self, workers: Iterable[OfficeWorker], mails: Mapping[str, Any], **plan: object
    ) -> dict:
        """Furnish several databases at once; return by side what writing a mail took."""
        workers = list(workers)
        for one in workers:
            one.ask("furnish", port=self.provider.port, **plan)
        for one in workers:
            one.ask("write_mails", **mails)
        return {one.side.name: one.answer() for one in workers}

    def send(self, one: OfficeWorker, count: int | None = None, delay: float = 0.0) -> Run:
        """Refill a queue, work it off and check that every mail went out, once."""
        one.call("refill", count=count)
        for table in ("mail_mail", "mail_message"):
            execute(f"VACUUM {table}", database=one.db)
        self.provider.clear(delay=delay)
        run = self.checked(one.side, one.call("send"))
        seen = self.provider.seen()
        if seen["count"] != run.mails or (count and run.mails != count):
            raise BenchError(f"{one.side.name}: {run.mails} mails sent, {seen} came")
        return replace(run, logins=seen["logins"], strays=seen["strays"])

    def checked(self, side: Side, outcome: dict[str, Any]) -> Run:
        """Give the run that ended with ``outcome``. Raises ``BenchError`` where mails failed."""
        states = outcome.pop("states")
        if set(states) != {"sent"}:
            raise BenchError(f"{side.name}: mails by state {states}")
        return Run(mails=outcome.pop("sent"), **outcome)

    def interleaved(
        self, workers: Mapping[str, OfficeWorker], rounds: int, count: int, progress: Progress
    ) -> dict[str, list[Run]]:
        """Send in turns, there and back, so that what slows the machine down slows all down.

        Ends before ``rounds`` are over once the medians against the first are known to 0.5 %.
        """
        runs: dict[str, list[Run]] = {name: [] for name in workers}
        first = next(iter(workers))
        for number in range(rounds):
            for name in list(workers) if number % 2 else reversed(workers):
                runs[name].append(self.send(workers[name], count))
            progress.update(f"round {number + 1} of at most {rounds}")
            if number >= 9 and max(_doubt(runs[name], runs[first]) for name in runs) < 0.005:
                break
        return runs

    def one_run(self, sides: Sequence[Side], first: int, times: int) -> dict[str, Run]:
        """Send ``first * times`` mails of 300 senders, all sides at once, in new processes."""
        with ExitStack() as stack:
            databases = [stack.enter_context(clone(side.database)) for side in sides]
            with ExitStack() as writing:
                writers = [
                    writing.enter_context(worker(side, db))
                    for side, db in zip(sides, databases, strict=True)
                ]
                self.furnish(writers, {"count": first, "senders": 300, "size": 11_000})
                for one in writers:
                    one.ask("multiply", times=times)
                for one in writers:
                    one.answer()
            senders = [
                stack.enter_context(worker(side, db))
                for side, db in zip(sides, databases, strict=True)
            ]
            for one in senders:
                one.answer()
            self.provider.clear()
            for one in senders:
                one.ask("send")
            runs = {one.side.name: self.checked(one.side, one.answer()) for one in senders}
            came = self.provider.seen()["count"]
        if {run.mails for run in runs.values()} != {first * times} or came != sum(
            run.mails for run in runs.values()
        ):
            raise BenchError(f"{came} mails came, of {len(sides)} times {first * times}")
        return runs

    @functools.cached_property
    def offices(self) -> dict[str, OfficeWorker]:
        """One server, 300 senders: an Odoo for each side, and the sides that can restrict."""
        count = 100 if self.quick else 300
        offices = {name: self.stack.enter_context(worker(side)) for name, side in
                   self.sides.items()}  # fmt: skip
        restricted = {
            name + RESTRICTED: self.stack.enter_context(worker(self.sides[name]))
            for name in (ADDON_SIDE, "mail_outbound_static")
            if name in self.sides
        }
        mails = {"count": count, "senders": count}
        self.furnish(offices.values(), mails)
        self.furnish(restricted.values(), mails, restricted=True)
        return {**offices, **restricted}


def ratios(runs: Sequence[Run], base: Sequence[Run]) -> list[float]:
    """Give the ratios of the wall times of neighbouring runs, sorted."""
    return sorted(run.seconds / other.seconds for run, other in zip(runs, base, strict=True))


def _doubt(runs: Sequence[Run], base: Sequence[Run]) -> float:
    """Estimate the standard error of the median of the ratios, from their quartiles."""
    low, _middle, high = statistics.quantiles(ratios(runs, base), n=4, method="inclusive")
    return 1.25 * (high - low) / 1.35 / len(runs) ** 0.5


def spread(values: Sequence[float]) -> str:
    """Write a median with its quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f}–{high:.3f})"


def seconds(runs: Sequence[Run]) -> float:
    """Give the median wall time."""
    return statistics.median(run.seconds for run in runs)


def query_figures(
    at_once: Mapping[str, float], queued: Mapping[str, float], title: str
) -> list[Figure]:
    """Give the two rows of SQL queries a mail; the second's goal is native's, with as much more.

    :param at_once: by side, where the mails are written and sent in one transaction
    :param queued: by side, where they come from the queue, with a commit after each mail
    """
    most = queued[NATIVE] + MAX_QUERIES - 2
    return [
        Figure(
            f"SQL queries a mail, {title}, written and sent in one transaction",
            {name: f"{value:.2f}" for name, value in at_once.items()},
            f"at most {MAX_QUERIES}",
            at_once[ADDON_SIDE] <= MAX_QUERIES,
        ),
        Figure(
            f"SQL queries a mail, {title}, from the queue, a commit after each",
            {name: f"{value:.2f}" for name, value in queued.items()},
            f"at most {most:.2f}",
            queued[ADDON_SIDE] <= most,
        ),
    ]


def measure_untouched(bench: Bench) -> list[Figure]:
    """Installed and nothing set: as many queries, the same bytes."""
    queries, mails = {}, {}
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(side)) for side in bench.sides.values()]
        bench.furnish(workers, {"count": 100, "senders": 100}, configured=False)
        for one in workers:
            run = bench.send(one)
            queries[one.side.name] = (one.call("write_and_send"), run.queries_a_mail)
            samples = one.call("write_samples")
            bench.provider.clear(keep_data=True)
            one.call("send")
            seen = bench.provider.seen()["mails"]
            mails[one.side.name] = Counter(
                (mail.mail_from, mail.rcpt_tos, comparable(mail.data)) for mail in seen
            )
            bench.provider.clear()
    native = mails[NATIVE]
    alike = {name: (native & found).total() for name, found in mails.items()}
    if len(native) < samples:
        raise BenchError(f"native sent {len(native)} different mails for {samples} samples")
    return [
        Figure(
            "untouched: SQL queries a mail, in one transaction / from the queue",
            bench.cells(lambda name: "{:.2f} / {:.2f}".format(*queries[name]), mails),
            "equal",
            queries[ADDON_SIDE] == queries[NATIVE],
        ),
        Figure(
            f"untouched: mails the same byte for byte, of {native.total()}",
            bench.cells(lambda name: str(alike[name]), mails),
            "equal",
            mails[ADDON_SIDE] == native,
        ),
    ]


def comparable(data: bytes) -> bytes:
    """Give a mail's bytes without what differs each time: Date and MIME boundaries."""
    boundaries = [part.get_boundary() for part in message_from_bytes(data).walk()]
    for number, boundary in enumerate(filter(None, boundaries)):
        data = data.replace(boundary.encode(), b"boundary-%d" % number)
    header, gap, body = data.partition(b"\r\n\r\n")
    return re.sub(rb"(?m)^Date:[^\r]*\r\n", b"", header + b"\r\n", count=1) + gap + body


def measure_senders(bench: Bench) -> list[Figure]:
    """One server, as many senders as mails: logins, queries, speed."""
    runs = {name: bench.send(one) for name, one in bench.offices.items()}
    at_once = {name: one.call("write_and_send") for name, one in bench.offices.items()}
    queued = {name: run.queries_a_mail for name, run in runs.items()}
    plain = [name for name in SIDES if name in runs]
    restricted = {name: name + RESTRICTED for name in plain if name + RESTRICTED in runs}
    restricted = {NATIVE: NATIVE, **restricted}
    count = runs[NATIVE].mails
    bench.plotted["Logins"] = {name: runs[name].logins for name in plain}
    bench.plotted["SQL queries a mail, from the queue"] = {name: queued[name] for name in plain}
    bench.plotted["Mails a second, many senders, 0 ms"] = {
        name: count / runs[name].seconds for name in plain
    }
    figures = []
    for title, names in (
        (f"{count} mails of {count} senders, one server", {name: name for name in plain}),
        ("the same, the server restricted to its login", restricted),
    ):
        figures.append(
            Figure(
                f"logins, {title}",
                {name: str(runs[key].logins) for name, key in names.items()},
                "1",
                runs[names[ADDON_SIDE]].logins == 1,
            )
        )
        figures += query_figures(
            {name: at_once[key] for name, key in names.items()},
            {name: queued[key] for name, key in names.items()},
            "same",
        )
        figures.append(
            Figure(
                "mails a second, same, 0 ms a command",
                {name: f"{count / runs[key].seconds:.0f}" for name, key in names.items()},
            )
        )
    return figures


def measure_slow(bench: Bench) -> list[Figure]:
    """The same with a provider that takes 20 ms for each command."""
    count, delay = (30 if bench.quick else 60), 0.02
    runs: dict[str, list[Run]] = {}
    with Progress(f"Sending {count} mails at 20 ms a command") as progress:
        for _repeat in range(1 if bench.quick else 2):
            for name, one in bench.offices.items():
                if name.endswith(RESTRICTED):
                    continue
                progress.update(name)
                runs.setdefault(name, []).append(bench.send(one, count, delay))
    base = seconds(runs[NATIVE])
    bench.plotted["Mails a second, 20 ms a command"] = {
        name: count / seconds(found) for name, found in runs.items()
    }
    return [
        Figure(
            f"wall time, 20 ms a command, {count} mails of {count} senders, against native",
            bench.cells(lambda name: f"{seconds(runs[name]) / base:.2f}", runs),
            f"at most {MAX_SLOW}",
            seconds(runs[ADDON_SIDE]) / base <= MAX_SLOW,
        ),
        Figure(
            "mails a second, same",
            bench.cells(lambda name: f"{count / seconds(runs[name]):.1f}", runs),
        ),
    ]


def measure_single(bench: Bench) -> list[Figure]:
    """One sender: one session for native too, so that only the addon's own work differs.

    A second native Odoo is measured beside the first: how far that is from 1 tells how far the
    others' figures may be off. Where it is too far, nothing is decided.
    """
    count = 50 if bench.quick else 150
    restricted = ADDON_SIDE + RESTRICTED
    again = bench.stack.enter_context(worker(bench.sides[NATIVE]))
    bench.furnish([again], {"count": count, "senders": 1})
    for one in bench.offices.values():
        one.call("one_sender")
    ours = {name: bench.offices[name] for name in (NATIVE, ADDON_SIDE, restricted)}
    others = {name: one for name, one in bench.offices.items() if name not in ours}
    with Progress(f"Sending {count} mails of one sender, in turns") as progress:
        most = 6 if bench.quick else 24
        runs = bench.interleaved({**ours, AGAIN: again}, most, count, progress)
        shares = {name: ratios(found, runs[NATIVE]) for name, found in runs.items()}
        if others:
            found = bench.interleaved({NATIVE: ours[NATIVE], **others}, 8, count, progress)
            shares.update({name: ratios(found[name], found[NATIVE]) for name in others})
            runs.update({name: found[name] for name in others})
    plain = [name for name in SIDES if name in runs]
    rates = {name: count / seconds(runs[name]) for name in plain}
    bench.plotted["Mails a second, one sender"] = rates
    for name in (AGAIN, ADDON_SIDE, restricted):
        cpu = statistics.median(
            run.cpu / other.cpu for run, other in zip(runs[name], runs[NATIVE], strict=True)
        )
        bench.notes.append(
            f"One sender, {name} against native, {len(shares[name])} pairs in turns: wall time"
            f" {spread(shares[name])}, median and quartiles; processor time of Odoo {cpu:.3f}."
        )
    steady = abs(statistics.median(shares[AGAIN]) - 1) <= MAX_CONTROL
    figures = []
    for title, suffix in (
        ("wall time, 0 ms a command, one sender, against native", ""),
        ("the same, the server restricted to its login", RESTRICTED),
    ):
        names = {name: name + suffix for name in SIDES if name + suffix in shares}
        names = {NATIVE: NATIVE, **names}
        cells = {name: f"{statistics.median(shares[key]):.3f}" for name, key in names.items()}
        reached = statistics.median(shares[ADDON_SIDE + suffix]) <= MAX_SINGLE
        figures.append(Figure(title, cells, f"at most {MAX_SINGLE}", reached if steady else None))
    rows = bench.cells(lambda name: f"{rates[name]:.0f}", plain)
    return [*figures, Figure("mails a second, one sender", rows)]


def measure_companies(bench: Bench) -> list[Figure]:
    """Three companies with a server each, mails about documents, the senders their users."""
    count = 300
    with ExitStack() as stack:
        workers = {name: stack.enter_context(worker(side)) for name, side in bench.sides.items()}
        written = bench.furnish(
            workers.values(),
            {"count": count, "senders": count, "documents": True, "users": True},
            companies=3,
            servers=3,
            domains=3,
            used=3,
        )
        runs = {name: bench.send(one) for name, one in workers.items()}
        at_once = {name: one.call("write_and_send") for name, one in workers.items()}
    if runs[ADDON_SIDE].strays:
        raise BenchError(f"{runs[ADDON_SIDE].strays} mails left through another company's server")
    title = f"{count} mails of {count} users on documents of three companies, a server each"
    return [
        Figure(
            f"logins, {title}",
            bench.cells(lambda name: str(runs[name].logins), runs),
            "3",
            runs[ADDON_SIDE].logins == 3,
        ),
        *query_figures(at_once, {name: run.queries_a_mail for name, run in runs.items()}, "same"),
        Figure(
            f"SQL queries to write such a mail, {count + 1} at once",
            bench.cells(lambda name: f"{written[name]:.2f}", runs),
        ),
    ]


def measure_scale(bench: Bench) -> list[Figure]:
    """The same mails of the same two companies, among few and among many others."""
    count, rounds = (100, 2) if bench.quick else (200, 5)
    names = (NATIVE, ADDON_SIDE)
    shares, queries = {}, {}
    with ExitStack() as stack, Progress("Sending among 100 companies and 300 servers") as progress:
        few = [stack.enter_context(worker(bench.sides[name])) for name in names]
        many = [stack.enter_context(worker(bench.sides[name])) for name in names]
        mails = {"count": count, "senders": count, "documents": True}
        bench.furnish(few, mails, companies=2, servers=2, domains=2, used=2)
        bench.furnish(many, mails, companies=COMPANIES, servers=300, domains=2000, used=2)
        for name, small, big in zip(names, few, many, strict=True):
            runs = bench.interleaved({"few": small, "many": big}, rounds, count, progress)
            shares[name] = statistics.median(ratios(runs["many"], runs["few"]))
            queries[name] = [runs[size][-1].queries_a_mail for size in ("few", "many")]
        addon = many[names.index(ADDON_SIDE)]
        gather = addon.call("gather")
        decision = addon.call("decide")
    bench.notes.append(
        f"2,000 domains, 300 servers, 100 companies: the facts are gathered once after a change"
        f" of settings, in {gather * 1000:.0f} ms."
    )
    return [
        Figure(
            "wall time, 2,000 domains, 300 servers, 100 companies against 2, 2, 2",
            bench.cells(lambda name: f"{shares[name]:.2f}", names),
            f"at most {MAX_SCALE}",
            shares[ADDON_SIDE] <= MAX_SCALE,
        ),
        Figure(
            "SQL queries a mail, same (2, 2, 2 → many)",
            bench.cells(lambda name: "{:.2f} → {:.2f}".format(*queries[name]), names),
            "no more",
            queries[ADDON_SIDE][1] <= queries[ADDON_SIDE][0],
        ),
        *(
            Figure(
                f"one decision among so many, the sender's address {text}",
                {ADDON_SIDE: f"{decision[kind] * 1e6:.1f} µs"},
                f"under {MAX_DECISION * 1e6:.0f} µs",
                decision[kind] < MAX_DECISION,
            )
            for kind, text in (
                ("known", "read before (as in the queue)"),
                ("fresh", "never seen before"),
            )
        ),
    ]


def measure_memory(bench: Bench) -> list[Figure]:
    """10,000 mails in one run, by a process that did nothing before; two sides at a time.

    The mails have 11 kB of HTML, 14 kB on the wire: above 16 kB (a TLS record) smtplib's packets
    wait 40 ms for each other (Nagle's algorithm), which has nothing to do with memory.
    """
    first, times = (100, 10) if bench.quick else (500, 20)
    names = [name for name in SIDES if name in bench.sides]
    runs: dict[str, Run] = {}
    with Progress(f"Sending {first * times} mails in one run") as progress:
        for pair in filter(None, (names[:2], names[2:])):
            progress.update(", ".join(pair))
            runs.update(bench.one_run([bench.sides[name] for name in pair], first, times))
    base = runs[NATIVE].peak
    bench.plotted["Peak memory, MB"] = {name: run.peak / 1024 for name, run in runs.items()}
    return [
        Figure(
            f"peak memory of Odoo, {first * times} mails in one run, against native",
            bench.cells(lambda name: f"{runs[name].peak / base:.3f}", runs),
            f"at most {MAX_MEMORY}",
            runs[ADDON_SIDE].peak / base <= MAX_MEMORY,
        ),
        Figure(
            "peak memory, same, MB (before sending)",
            bench.cells(
                lambda name: f"{runs[name].peak / 1024:.0f} ({runs[name].before / 1024:.0f})",
                runs,
            ),
        ),
    ]


MEASUREMENTS: dict[str, Callable[[Bench], list[Figure]]] = {
    "untouched": measure_untouched,
    "senders": measure_senders,
    "slow": measure_slow,
    "single": measure_single,
    "companies": measure_companies,
    "scale": measure_scale,
    "memory": measure_memory,
}


# --- all of it -------------------------------------------------------------------------------


@contextmanager
def prepared(quick: bool) -> Iterator[Bench]:
    """Yield everything the measurements need; the others are left out when ``quick``."""
    with ExitStack() as stack:
        sides = {NATIVE: Side(NATIVE, stack.enter_context(database(MODULES, addon=False)))}
        sides[ADDON_SIDE] = Side(ADDON_SIDE, stack.enter_context(database(MODULES)))
        notes = []
        for name, requirement in ({} if quick else PEERS).items():
            try:
                folder, version = fetch_peer(name, requirement)
            except BenchError as error:
                say(str(error))
                notes.append(f"{error}.")
                continue
            db = stack.enter_context(clone(sides[NATIVE].database))
            run_odoo(
                ["-i", name, "--stop-after-init"],
                config=peer_config(db, folder),
                title=f"Installing {name} {version}",
            )
            rows = execute(
                "SELECT 1 FROM ir_module_module WHERE name = %s AND state = 'installed'",
                name,
                database=db,
            )
            if not rows:
                raise BenchError(f"Odoo did not install {name}.")
            notes.append(f"{name} is release {version}.")
            sides[name] = Side(name, db, folder)
        provider = RemoteProvider()
        stack.callback(provider.stop)
        yield Bench(quick, sides, provider, stack.enter_context(ExitStack()), notes)


def run(names: Sequence[str], quick: bool, plot: Path) -> int:
    """Measure, print the table, draw the plot. Return the exit code."""
    figures: list[Figure] = []
    failed: list[str] = []
    with prepared(quick) as bench:
        for name in names:
            say(f"Measuring: {name}")
            try:
                figures += MEASUREMENTS[name](bench)
            except ToolError as error:
                say(str(error))
                failed.append(name)
    say("")
    say(report.table(figures))
    say("")
    for note in bench.notes:
        say(f"- {note}")
    if quick:
        say("- Quick: fewer mails and rounds, the other addons left out; measure again without.")
    if bench.plotted:
        report.draw(bench.plotted, plot)
        say(f"Plot: {plot}")
    missed = [figure for figure in figures if figure.goal and not figure.reached]
    for figure in missed:
        verdict = "NOT REACHED" if figure.reached is False else "NOT DECIDED, too busy a machine"
        say(f"{verdict}: {figure.title}")
    for name in failed:
        say(f"NOT MEASURED: {name}; the reason is above")
    return 1 if missed or failed else 0


def bench(arguments: Sequence[str]) -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", action="append", choices=MEASUREMENTS, help="one measurement; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="about a minute, less precise")
    parser.add_argument(
        "--plot", type=Path, default=ROOT / "docs" / "bench.png", help="where to draw the plot"
    )
    options = parser.parse_args(arguments)
    names = [name for name in MEASUREMENTS if not options.only or name in options.only]
    return run(names, options.quick, options.plot)
