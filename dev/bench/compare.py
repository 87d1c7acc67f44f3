# SPDX-License-Identifier: LGPL-3.0-only
"""``make bench``: native Odoo, the addon and two other addons side by side, on real sockets.

Each side has databases and Odoo processes of its own; a mail provider on loopback (STARTTLS,
AUTH) runs in another process. The two others come from PyPI into the cache and are only measured.
Prints a table in Markdown, draws a plot, and returns 1 when the addon misses a goal::

    make bench ARGS="--only single --only scale"
"""

from __future__ import annotations

import functools
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

from dev.bench import base, report
from dev.bench.base import BenchError, Office, Run, Side, checked
from dev.bench.report import ADDON_SIDE, NATIVE
from dev.odoo import clone, execute, fetch_addons, odoo_config, run_odoo
from dev.shared import ROOT, NotHere, Progress, cache_dir, say

PEERS = {
    "mail_multicompany": "odoo-addon-mail-multicompany==16.0.*",
    "mail_outbound_static": "odoo-addon-mail-outbound-static==16.0.*",
}
AGAIN = "native again"
#: how far the second native may be from the first
MAX_CONTROL = 0.02


class Bench(base.Bench):
    """The sides with the others among them, unless ``quick``."""

    def __init__(self, stack: ExitStack, quick: bool) -> None:
        super().__init__(stack, ["mail"], "starttls", quick)
        for name, requirement in ({} if quick else PEERS).items():
            try:
                self._add_peer(name, requirement)
            except BenchError as error:
                say(str(error))
                self.notes.append(f"{error}.")

    def _add_peer(self, name: str, requirement: str) -> None:
        """Install the newest release of another addon, or the one that the cache has.

        Raises ``BenchError`` where there is none, or where it needs addons that are not Odoo's.
        """
        target = cache_dir() / "peers" / name
        why = "it needs other addons"
        try:
            fetch_addons(target, requirement)
        except NotHere as error:
            why = f"{requirement} could not be had ({error})"
        folder = target / "odoo" / "addons"
        db = self.stack.enter_context(clone(self.sides[NATIVE].database))
        config = odoo_config(db, addon=False, more=[folder] if folder.is_dir() else [])
        run_odoo(["-i", name, "--stop-after-init"], config=config, title=f"Installing {name}")
        query = """
            SELECT latest_version FROM ir_module_module WHERE name = %s AND state = 'installed'
        """
        rows = execute(query, name, database=db)
        if not rows:
            raise BenchError(f"{name} is left out: {why}")
        self.notes.append(f"{name} is release {rows[0][0]}.")
        self.sides[name] = Side(name, db, [folder])

    @contextmanager
    def all_offices(self) -> Iterator[dict[str, Office]]:
        """Have an Odoo for each side, on a new database."""
        with ExitStack() as stack:
            yield {name: stack.enter_context(side.office()) for name, side in self.sides.items()}

    def furnish(self, offices: Iterable[Office], mails: Mapping[str, Any], **plan: object) -> None:
        """Furnish several databases at once."""
        offices = list(offices)
        for office in offices:
            office.ask("furnish", ports=[self.port], **plan)
            office.ask("write_mails", **mails)
        for office in offices:
            office.answer()

    def interleaved(
        self, offices: Mapping[str, Office], rounds: int, count: int, progress: Progress
    ) -> dict[str, list[Run]]:
        """Send in turns, there and back, so that what slows the machine down slows all down."""
        runs: dict[str, list[Run]] = {name: [] for name in offices}
        for number in range(rounds):
            for name in list(offices) if number % 2 else reversed(offices):
                runs[name].append(self.send(offices[name], count))
            progress.update(f"round {number + 1} of {rounds}")
        return runs

    def one_run(self, sides: Sequence[Side], first: int, times: int) -> dict[str, Run]:
        """Send ``first * times`` mails of 300 senders, all sides at once, in new processes."""
        with ExitStack() as stack:
            databases = [stack.enter_context(clone(side.database)) for side in sides]
            pairs = list(zip(sides, databases, strict=True))
            with ExitStack() as writing:
                writers = [writing.enter_context(side.office(db)) for side, db in pairs]
                self.furnish(writers, {"count": first, "senders": 300, "size": 11_000})
                for office in writers:
                    office.ask("multiply", times=times)
                for office in writers:
                    office.answer()
            senders = [stack.enter_context(side.office(db)) for side, db in pairs]
            for office in senders:
                office.answer()
            self.far.call("begin")
            for office in senders:
                office.ask("send")
            runs = {office.side.name: checked(office, office.answer()) for office in senders}
            came = self.far.call("seen")["count"]
        if any(run.mails != first * times for run in runs.values()) or came != (
            len(sides) * first * times
        ):
            raise BenchError(f"{came} mails came, of {len(sides)} times {first * times}")
        return runs

    @functools.cached_property
    def offices(self) -> dict[str, Office]:
        """One server, 300 senders: an Odoo for each side."""
        count = 100 if self.quick else 300
        offices = self.stack.enter_context(self.all_offices())
        self.furnish(offices.values(), {"count": count, "senders": count})
        return offices

    def tell_sending(
        self, what: str, runs: Mapping[str, Run], at_once: Mapping[str, float], logins: int = 1
    ) -> None:
        """Tell logins and SQL queries a mail.

        :param runs: by side, from the queue, with a commit after each mail
        :param at_once: queries by side, where mails are written and sent in one transaction
        :param logins: at most so many
        """
        self.tell("logins", {name: run.logins for name, run in runs.items()}, what=what,
                  most=logins)  # fmt: skip
        self.tell("at_once", at_once, what=what)
        self.tell("queued", {name: run.queries_a_mail for name, run in runs.items()}, what=what)


def ratios(runs: Sequence[Run], base: Sequence[Run]) -> list[float]:
    """Give the ratios of the wall times of neighbouring runs, sorted."""
    return sorted(run.seconds / other.seconds for run, other in zip(runs, base, strict=True))


def seconds(runs: Sequence[Run]) -> float:
    """Give the median wall time."""
    return statistics.median(run.seconds for run in runs)


def measure_untouched(bench: Bench) -> None:
    """Installed and nothing set: as many queries, the same bytes."""
    at_once, queued, mails = {}, {}, {}
    with bench.all_offices() as offices:
        bench.furnish(offices.values(), {"count": 100, "senders": 100}, configured=False)
        for name, office in offices.items():
            queued[name] = bench.send(office).queries_a_mail
            at_once[name] = office.call("write_and_send")
            samples = office.call("write_samples")
            bench.far.call("begin", keep_data=True)
            office.call("send")
            mails[name] = Counter(
                (mail.mail_from, mail.rcpt_tos, comparable(mail.data))
                for mail in bench.far.call("seen")["mails"]
            )
            bench.far.call("begin")
    native = mails[NATIVE]
    if len(native) < samples or mails[ADDON_SIDE].total() != native.total():
        raise BenchError(f"{len(native)} different mails for {samples} samples, or too many")
    bench.tell("untouched_at_once", at_once)
    bench.tell("untouched_queued", queued)
    bench.tell("untouched_same", {name: (native & found).total() for name, found in mails.items()})


def comparable(data: bytes) -> bytes:
    """Give a mail's bytes without what differs each time: Date and MIME boundaries."""
    boundaries = [part.get_boundary() for part in message_from_bytes(data).walk()]
    for number, boundary in enumerate(filter(None, boundaries)):
        data = data.replace(boundary.encode(), b"boundary-%d" % number)
    header, gap, body = data.partition(b"\r\n\r\n")
    return re.sub(rb"(?m)^Date:[^\r]*\r\n", b"", header + b"\r\n", count=1) + gap + body


def measure_senders(bench: Bench) -> None:
    """One server, as many senders as mails: logins, queries, speed."""
    runs = {name: bench.send(office) for name, office in bench.offices.items()}
    at_once = {name: office.call("write_and_send") for name, office in bench.offices.items()}
    count = runs[NATIVE].mails
    what = f"{count} mails of {count} senders, one server"
    bench.tell_sending(what, runs, at_once)
    bench.tell("rate", {name: run.mails / run.seconds for name, run in runs.items()}, what=what)


def measure_slow(bench: Bench) -> None:
    """The same with a provider that takes 20 ms for each command."""
    count = 30 if bench.quick else 60
    runs: dict[str, list[Run]] = {name: [] for name in bench.sides}
    with Progress(f"Sending {count} mails at 20 ms a command") as progress:
        for _repeat in range(1 if bench.quick else 2):
            for name, found in runs.items():
                progress.update(name)
                found.append(bench.send(bench.offices[name], count, delay=0.02))
    rates = {name: count / seconds(found) for name, found in runs.items()}
    shares = {name: rates[NATIVE] / rate for name, rate in rates.items()}
    bench.tell("slow_wall", shares, count=count)
    bench.tell("slow_rate", rates)


def measure_single(bench: Bench) -> None:
    """One sender: one session for native too, so that only the addon's own work differs.

    A second native Odoo is measured beside the first: how far that is from 1 tells how far the
    others' figures may be off. Where it is too far, nothing is decided.
    """
    count = 50 if bench.quick else 150
    again = bench.stack.enter_context(bench.sides[NATIVE].office())
    bench.furnish([again], {"count": count, "senders": 1})
    for office in bench.offices.values():
        office.call("one_sender")
    ours = {name: bench.offices[name] for name in (NATIVE, ADDON_SIDE)}
    others = {name: office for name, office in bench.offices.items() if name not in ours}
    with Progress(f"Sending {count} mails of one sender, in turns") as progress:
        rounds = 6 if bench.quick else 24
        runs = bench.interleaved({**ours, AGAIN: again}, rounds, count, progress)
        shares = {name: ratios(found, runs[NATIVE]) for name, found in runs.items()}
        if others:
            found = bench.interleaved({NATIVE: ours[NATIVE], **others}, 8, count, progress)
            shares |= {name: ratios(found[name], found[NATIVE]) for name in others}
            runs |= {name: found[name] for name in others}
    for name in (AGAIN, ADDON_SIDE):
        cpu = statistics.median(
            run.cpu / other.cpu for run, other in zip(runs[name], runs[NATIVE], strict=True)
        )
        low, middle, high = statistics.quantiles(shares[name], n=4, method="inclusive")
        bench.notes.append(
            f"One sender, {name} against native, {len(shares[name])} pairs in turns: wall time"
            f" {middle:.3f} ({low:.3f}–{high:.3f}), median and quartiles; processor time of Odoo"
            f" {cpu:.3f}."
        )
    medians = {name: statistics.median(shares[name]) for name in (*bench.offices, AGAIN)}
    steady = abs(medians.pop(AGAIN) - 1) <= MAX_CONTROL
    bench.tell("single_wall", medians, decided=steady)
    bench.tell("single_rate", {name: count / seconds(runs[name]) for name in bench.offices})


def measure_companies(bench: Bench) -> None:
    """Three companies with a server each, mails about documents, the senders their users."""
    count = 300
    mails = {"count": count, "senders": count, "documents": True, "users": True}
    with bench.all_offices() as offices:
        bench.furnish(offices.values(), mails, companies=3, servers=3, domains=3)
        runs = {name: bench.send(office) for name, office in offices.items()}
        at_once = {name: office.call("write_and_send") for name, office in offices.items()}
    if runs[ADDON_SIDE].strays:
        raise BenchError(f"{runs[ADDON_SIDE].strays} mails left through another company's server")
    what = f"{count} mails of {count} users on documents of three companies, a server each"
    bench.tell_sending(what, runs, at_once, logins=3)


def measure_scale(bench: Bench) -> None:
    """The same mails of the same two companies, among few and among many others."""
    count, rounds = (100, 2) if bench.quick else (200, 5)
    mails = {"count": count, "senders": count, "documents": True, "companies": 2}
    sides = [bench.sides[name] for name in (NATIVE, ADDON_SIDE)]
    shares, queries = {}, {}
    with ExitStack() as stack, Progress("Sending among 100 companies and 300 servers") as progress:
        few = [stack.enter_context(side.office()) for side in sides]
        many = [stack.enter_context(side.office()) for side in sides]
        bench.furnish(few, mails, companies=2, servers=2, domains=2)
        bench.furnish(many, mails, companies=100, servers=300, domains=2000)
        for side, small, big in zip(sides, few, many, strict=True):
            runs = bench.interleaved({"few": small, "many": big}, rounds, count, progress)
            shares[side.name] = statistics.median(ratios(runs["many"], runs["few"]))
            queries[side.name] = [runs[size][-1].queries_a_mail for size in ("few", "many")]
        addon = many[-1]
        gather = addon.call("gather")
        decision = addon.call("decide")
    bench.notes.append(
        f"2,000 domains, 300 servers, 100 companies: the facts are gathered once after a change"
        f" of settings, in {gather * 1000:.0f} ms."
    )
    bench.tell("scale_wall", shares)
    bench.tell(
        "scale_queries",
        {name: many for name, (_few, many) in queries.items()},
        cells={name: "{:.2f} → {:.2f}".format(*pair) for name, pair in queries.items()},
        most=queries[ADDON_SIDE][0],
    )
    for kind in ("known", "fresh"):
        bench.tell(f"decision_{kind}", {ADDON_SIDE: decision[kind] * 1e6})


def measure_memory(bench: Bench) -> None:
    """10,000 mails in one run, by a process that did nothing before; two sides at a time.

    The mails have 11 kB of HTML, 14 kB on the wire: above 16 kB (a TLS record) smtplib's packets
    wait 40 ms for each other (Nagle's algorithm), which has nothing to do with memory.
    """
    first, times = (100, 10) if bench.quick else (500, 20)
    sides = list(bench.sides.values())
    runs: dict[str, Run] = {}
    with Progress(f"Sending {first * times} mails in one run") as progress:
        for pair in filter(None, (sides[:2], sides[2:])):
            progress.update(", ".join(side.name for side in pair))
            runs |= bench.one_run(pair, first, times)
    peaks = {name: run.peak / 1024 for name, run in runs.items()}
    shares = {name: peak / peaks[NATIVE] for name, peak in peaks.items()}
    bench.tell("memory", shares, count=first * times)
    bench.tell("memory_peak", peaks)


MEASUREMENTS = {
    "untouched": measure_untouched,
    "senders": measure_senders,
    "slow": measure_slow,
    "single": measure_single,
    "companies": measure_companies,
    "scale": measure_scale,
    "memory": measure_memory,
}


def bench(arguments: Sequence[str]) -> int:
    """Read the command line and measure."""
    parser = base.parser_of("make bench", __doc__, MEASUREMENTS)
    parser.add_argument("--quick", action="store_true", help="about a minute, less precise")
    parser.add_argument(
        "--plot", type=Path, default=ROOT / "docs" / "bench.png", help="where to draw the plot"
    )
    options = parser.parse_args(arguments)
    names = [name for name in MEASUREMENTS if not options.only or name in options.only]
    with ExitStack() as stack:
        bench = Bench(stack, options.quick)
        if options.quick:
            bench.notes.append("Quick: fewer mails and rounds, the other addons left out.")
        code = bench.measure(MEASUREMENTS, names)
    if bench.plotted:
        report.draw_bars(bench.plotted, options.plot)
    return code
