# SPDX-License-Identifier: LGPL-3.0-only
"""``make bench-queue``: the queue beside native Odoo's, by real cron workers and real sockets.

Ten servers, each behind a relay of its own that holds bytes back as a distance does, counts how
many sessions are open at one time, and may stop answering once a mail is being told. The servers
are one provider, which lets anybody send; the mails of all are mixed. Odoo runs with three cron
workers, in one process or two. Native works the queue off in one of them.

    make bench-queue ARGS="--only distance"
    make bench-queue ARGS="--plot docs/images/queue.png"

It prints a table in Markdown, and returns 1 when a goal is missed. (Not named queue.py: the folder
of ``worker.py`` is on its Python path, where Python's own ``queue`` must be found.)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dev.bench import report
from dev.bench.compare import BenchError, OfficeWorker, Side
from dev.bench.report import ADDON_SIDE, NATIVE, Figure
from dev.odoo import clone, database, execute, odoo_config, workdir
from dev.odoo.postgresql import connect
from dev.odoo.run import odoo_command, odoo_environment
from dev.provider import Provider
from dev.shared import MODULES, ToolError, say

SERVERS = 10
MAILS = 30
CRON_WORKERS = 3
PASSWORD = "secret"
#: what the servers announce, as Postfix and most providers do
ANNOUNCED = ("PIPELINING", "CHUNKING")
#: seconds after which a run is not waited for any more
PATIENCE = 420

#: servers of the measurement with many mails, how many wait for one of them, and mails in a turn
MANY_SERVERS, FEW_EACH, MANY_EACH, IN_A_TURN = 100, 10, 1000, 10
#: what the plot shows: milliseconds there and back, numbers of servers; mails for each point
DELAYS, SERVER_COUNTS, PLOTTED_MAILS = (0, 20, 50, 100, 200), (1, 2, 5, 10, 20), 30

MAX_HANG = 1.2
MAX_DISTANCE = {1: 0.15, 2: 0.1}
MAX_MANY = 1.1
MAX_LATE = 15.0
#: senders at one server, each with a mail; and the share of native's time, by what it announces
SENDERS = 60
MAX_SENDERS = {ANNOUNCED: 0.15, ANNOUNCED[:1]: 0.22, (): None}


# --- the far end -----------------------------------------------------------------------------


class Relay:
    """Stands between Odoo and one server.

    ``delay`` is seconds of the way to and fro; ``hangs`` lets it say nothing more once it has seen
    a client begin with a mail's content; ``open`` and ``most`` count sessions.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self.hangs = False
        self.open = self.most = 0
        self.port = 0

    async def start(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        state = {"hung": False}
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        there = asyncio.ensure_future(self._carry(reader, far_writer, state, True))
        back = asyncio.ensure_future(self._carry(far_reader, writer, state, False))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        if state["hung"]:
            await there  # until the client hangs up
        self.open -= 1
        for end in (writer, far_writer):
            end.close()

    async def _carry(self, reader, writer, state: dict, outgoing: bool) -> None:
        """Hand bytes on, each so long after it has come."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def hand_on():
            while (item := await waiting.get())[1]:
                due, data = item
                await asyncio.sleep(max(0.0, due - loop.time()))
                if outgoing or not state["hung"]:
                    writer.write(data)

        handing = asyncio.ensure_future(hand_on())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                words = data.lower()
                if outgoing and self.hangs and (b"data\r\n" in words or b"bdat " in words):
                    state["hung"] = True
                waiting.put_nowait((loop.time() + self.delay / 2, data))
        waiting.put_nowait((0.0, b""))
        await handing  # the last words are under way


def serve_far_end(connection: Connection) -> None:
    """Run the provider and its relays for the process at the other end."""
    accounts = {f"post@c{number}.example": PASSWORD for number in range(MANY_SERVERS)}
    with Provider(accounts, rule="any", keep_data=False) as provider:
        relays = [Relay(provider.smtp_port) for _number in range(MANY_SERVERS)]
        loop = asyncio.new_event_loop()

        async def begin():
            for relay in relays:
                await relay.start()

        loop.run_until_complete(begin())
        threading.Thread(target=loop.run_forever, daemon=True).start()
        connection.send([relay.port for relay in relays])
        while order := connection.recv():
            if "delay" in order:
                provider.clear()
                provider.announces = order["announces"]
                for number, relay in enumerate(relays):
                    relay.delay, relay.most = order["delay"], relay.open
                    relay.hangs = order["hangs"] and number == 0
            mails = provider.mails
            connection.send(
                {
                    "by_server": Counter(mail.login for mail in mails),
                    "count": len(mails),
                    "logins": provider.logins,
                    "twice": len(mails) - len({mail.rcpt_tos for mail in mails}),
                    "most": max(relay.most for relay in relays),
                }
            )


class FarEnd:
    """The provider and its relays, in a process of their own."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve_far_end, args=(other,), daemon=True)
        self.process.start()
        other.close()  # so that its death ends what waits for it
        self.ports: list[int] = self.connection.recv()

    def begin(
        self, delay: float = 0.0, hangs: bool = False, announces: Sequence[str] = ANNOUNCED
    ) -> None:
        """Forget what came. The servers have a distance; the first may hang at DATA or BDAT."""
        self.connection.send({"delay": delay, "hangs": hangs, "announces": tuple(announces)})
        self.connection.recv()

    def seen(self) -> dict[str, Any]:
        """Tell what has come."""
        self.connection.send({"seen": True})
        return self.connection.recv()

    def stop(self) -> None:
        self.connection.send(None)
        self.process.join(10)


# --- Odoo ------------------------------------------------------------------------------------


@contextmanager
def odoos(db: str, addon: bool, processes: int, workers: int = CRON_WORKERS) -> Iterator[None]:
    """Have Odoo processes that do nothing but run scheduled actions."""
    with ExitStack() as stack:
        logs = []
        for number in range(processes):
            log = workdir() / f"queue-{db}-{number}.log"
            log.unlink(missing_ok=True)
            config = odoo_config(db, addon=addon, logfile=log, max_cron_threads=workers)
            process = subprocess.Popen(
                odoo_command("-c", str(config)), env=odoo_environment(), stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            logs.append(log)
        end = time.monotonic() + 120
        while not all(log.exists() and "Registry loaded" in log.read_text() for log in logs):
            if time.monotonic() > end:
                raise BenchError("Odoo does not start")
            time.sleep(0.2)
        time.sleep(2)  # its workers look whether there is anything to do
        yield


class Bench:
    """The databases of both sides, and the far end."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.far = FarEnd()
        stack.callback(self.far.stop)
        self.notes: list[str] = []
        self._empty = {
            name: stack.enter_context(database(MODULES, addon=name == ADDON_SIDE))
            for name in (ADDON_SIDE, NATIVE)
        }
        self.databases = {name: self.furnished(name, SERVERS) for name in self._empty}

    def furnished(self, name: str, servers: int) -> str:
        """Give a new database of a side, with so many companies that have a server each."""
        db = self.stack.enter_context(clone(self._empty[name]))
        with self.worker(name, db) as worker:
            worker.call("furnish", port=1, companies=servers, servers=servers, domains=servers,
                        used=servers)  # fmt: skip
        for number, port in enumerate(self.far.ports[:servers]):
            execute(
                "UPDATE ir_mail_server SET smtp_port = %s, smtp_encryption = 'none'"
                " WHERE smtp_user = %s",
                port, f"post@c{number}.example", database=db,
            )  # fmt: skip
        # nothing but the queue, and only when it is told to
        execute("UPDATE ir_cron SET nextcall = now() + interval '1 year'", database=db)
        return db

    @contextmanager
    def worker(self, name: str, db: str | None = None) -> Iterator[OfficeWorker]:
        """Have an Odoo on a side's database that does what it is asked."""
        db = db or self.databases[name]
        worker = OfficeWorker(Side(name, db), db)
        try:
            yield worker
        finally:
            worker.stop()

    def empty(self, name: str) -> None:
        """Forget the mails of a side, and what it knows of servers that hung."""
        execute("DELETE FROM mail_mail", database=self.databases[name])
        if name == ADDON_SIDE:
            execute("DELETE FROM mail_lane", database=self.databases[name])

    def fill(self, name: str, mails: int, servers: int) -> None:
        """Put mails into the queue of a side, each of another sender, servers mixed."""
        self.empty(name)
        with self.worker(name) as worker:
            worker.call("furnish_again", companies=servers)
            worker.call("write_mails", count=mails, senders=mails)

    def start(self, name: str) -> None:
        """Call the Email Queue Manager."""
        db = self.databases[name]
        execute(
            """
            UPDATE ir_cron SET nextcall = now() at time zone 'UTC' WHERE id = (
                SELECT res_id FROM ir_model_data
                 WHERE module = 'mail' AND name = 'ir_cron_mail_scheduler_action'
            )
            """,
            database=db,
        )
        self.notify(db)

    def notify(self, db: str) -> None:
        """Wake the cron workers, as Odoo does."""
        with closing(connect()) as connection, connection.cursor() as cursor:
            cursor.execute("NOTIFY cron_trigger, %s", [db])

    def run(
        self, name: str, *, delay: float = 0.0, hangs: bool = False, processes: int = 1,
        mails: int = SERVERS * MAILS, servers: int = SERVERS, patience: float = PATIENCE,
        announces: Sequence[str] = ANNOUNCED,
    ) -> dict[str, Any]:  # fmt: skip
        """Work a queue off.

        Where no server hangs, it ends when no mail waits any more: one that is sent twice is seen.

        :return: what the far end saw, ``seconds`` until the last mail, and ``others``: until the
            last mail of the servers but the first, None where it has not come
        """
        self.fill(name, mails, servers)
        self.far.begin(delay, hangs, announces)
        wanted = mails - (mails // servers if hangs else 0)
        with odoos(self.databases[name], name == ADDON_SIDE, processes):
            self.start(name)
            begin = time.monotonic()
            others = None
            while True:
                seen = self.far.seen()
                took = time.monotonic() - begin
                first = seen["by_server"].get("post@c0.example", 0)
                if others is None and seen["count"] - first >= mails - mails // servers:
                    others = took
                if seen["count"] >= wanted or took > patience:
                    break
                time.sleep(0.02)
            waiting = "SELECT 1 FROM mail_mail WHERE state = 'outgoing' LIMIT 1"
            while (
                not hangs
                and execute(waiting, database=self.databases[name])
                and time.monotonic() - begin < patience
            ):
                time.sleep(0.1)
            seen = self.far.seen()
        run = {**seen, "seconds": took, "others": others}
        say(
            f"  {name:6} {took:6.1f} s, {run['count']} of {mails} mails, {run['logins']} logins,"
            f" twice {run['twice']}, at most {run['most']} sessions at one server"
        )
        return run


# --- measurements ----------------------------------------------------------------------------


def measure_hang(bench: Bench) -> list[Figure]:
    """One of ten servers hangs at DATA, for which it must not announce CHUNKING."""
    announces = ANNOUNCED[:1]
    well = bench.run(ADDON_SIDE, delay=0.02, announces=announces)
    hangs = bench.run(ADDON_SIDE, delay=0.02, announces=announces, hangs=True, patience=120)
    title = "the other nine's last mail, one of ten servers hangs at DATA, against all well"
    if not (well["others"] and hangs["others"]):
        return [Figure(title, {ADDON_SIDE: "never"}, f"at most {MAX_HANG}", False)]
    share = hangs["others"] / well["others"]
    bench.notes.append(
        f"One hangs: {hangs['others']:.1f} s, all well: {well['others']:.1f} s, three workers."
    )
    return [Figure(title, {ADDON_SIDE: f"{share:.2f}"}, f"at most {MAX_HANG}", share <= MAX_HANG)]


def measure_distance(bench: Bench) -> list[Figure]:
    """Ten servers 50 ms away: wall time against native's, which sends one command at a time."""
    figures = []
    native = bench.run(NATIVE, delay=0.05)
    most = 0
    for processes, announces in ((1, ANNOUNCED), (2, ANNOUNCED), (1, ANNOUNCED[:1]), (1, ())):
        run = bench.run(ADDON_SIDE, delay=0.05, processes=processes, announces=announces)
        share = run["seconds"] / native["seconds"]
        most = max(most, run["most"])
        goal = MAX_DISTANCE[processes] if announces == ANNOUNCED else None
        figures.append(
            Figure(
                f"wall time, ten servers 50 ms away, {processes} x {CRON_WORKERS} cron workers,"
                f" {' and '.join(announces) or 'one command at a time'}",
                {
                    NATIVE: f"{native['seconds']:.1f} s",
                    ADDON_SIDE: f"{run['seconds']:.1f} s: {share:.3f}",
                },
                f"at most {goal}" if goal else "",
                share <= goal if goal else None,
            )
        )
    cells = {NATIVE: str(native["most"]), ADDON_SIDE: str(most)}
    return [*figures, Figure("sessions open at one server at one time", cells, "1", most == 1)]


def measure_senders(bench: Bench) -> list[Figure]:
    """Mails of 60 senders from the queue to one server 20 ms away: wall time against native's."""

    def seconds(name: str, announces: Sequence[str] = ()) -> float:
        bench.empty(name)
        bench.far.begin(delay=0.02, announces=announces)
        with bench.worker(name) as worker:
            worker.call("furnish_again", companies=1)
            worker.call("write_mails", count=SENDERS, senders=SENDERS)
            worker.call("refill")
            run = worker.call("send")
        if run["sent"] != SENDERS or set(run["states"]) != {"sent"}:
            raise BenchError(f"{name}: {run}")
        return run["seconds"]

    native = seconds(NATIVE)
    figures = []
    for announces, goal in MAX_SENDERS.items():
        share = (took := seconds(ADDON_SIDE, announces)) / native
        figures.append(
            Figure(
                f"wall time, {SENDERS} senders, one server 20 ms away,"
                f" {' and '.join(announces) or 'one command at a time'}",
                {NATIVE: f"{native:.2f} s", ADDON_SIDE: f"{took:.2f} s: {share:.3f}"},
                f"at most {goal}" if goal else "",
                share <= goal if goal else None,
            )
        )
    return figures


def measure_two(bench: Bench) -> list[Figure]:
    """Two processes, 2,000 mails, five rounds: doubled and lost."""
    mails, rounds = 2000, 5
    runs = [bench.run(ADDON_SIDE, processes=2, mails=mails) for _round in range(rounds)]
    doubled = sum(run["twice"] for run in runs)
    lost = sum(mails + run["twice"] - run["count"] for run in runs)
    most = max(run["most"] for run in runs)
    return [
        Figure(
            f"two processes, {mails} mails, {rounds} rounds: doubled, lost; sessions at one server",
            {ADDON_SIDE: f"{doubled}, {lost}; {most}"},
            "0, 0; 1",
            not doubled and not lost and most == 1,
        )
    ]


def measure_queries(bench: Bench) -> list[Figure]:
    """300 mails of 300 senders over ten servers, from the queue, with a commit after each."""
    queries = {}
    for name in (NATIVE, ADDON_SIDE):
        bench.empty(name)
        bench.far.begin()
        with bench.worker(name) as worker:
            worker.call("furnish_again", companies=SERVERS)
            worker.call("write_mails", count=SERVERS * MAILS, senders=SERVERS * MAILS)
            worker.call("refill")
            run = worker.call("send")
            if run["sent"] != SERVERS * MAILS or set(run["states"]) != {"sent"}:
                raise BenchError(f"{name}: {run}")
            queries[name] = run["queries"] / run["sent"]
    return [
        Figure(
            f"SQL queries a mail, {SERVERS * MAILS} mails over ten servers, a commit after each",
            {name: f"{value:.2f}" for name, value in queries.items()},
            "no more",
            queries[ADDON_SIDE] <= queries[NATIVE],
        )
    ]


def measure_many(bench: Bench) -> list[Figure]:
    """1,000 mails over 100 servers: all there are, and with 100 times as many waiting."""
    told = {}
    batch = "INSERT INTO ir_config_parameter (key, value) VALUES ('mail.session.batch.size', %s)"
    for each in (FEW_EACH, MANY_EACH):
        db = bench.furnished(ADDON_SIDE, MANY_SERVERS)
        execute(batch, str(IN_A_TURN), database=db)
        with bench.worker(ADDON_SIDE, db) as worker:
            worker.call("furnish_again", companies=MANY_SERVERS)
            worker.call("write_mails", count=MANY_SERVERS, senders=MANY_SERVERS)
            worker.call("multiply", times=each)
        execute("VACUUM ANALYZE", database=db)
        bench.far.begin()
        with bench.worker(ADDON_SIDE, db) as worker:
            told[each] = run = worker.call("work_off", count=MANY_SERVERS * FEW_EACH)
        came = bench.far.seen()["count"]
        if came != run["sent"]:
            raise BenchError(f"{came} mails came, {run['sent']} are sent")
        say(f"  {MANY_SERVERS * each} mails wait: {run}")
    few, many = told[FEW_EACH], told[MANY_EACH]
    figures = []
    for title, what, unit in (
        ("processor time a mail", "cpu", "ms"),
        ("wall time a mail", "seconds", "ms"),
        ("SQL queries a mail", "queries", ""),
        ("peak memory", "peak", "MB"),
    ):
        scale = {"ms": 1000, "MB": 1 / 1024}.get(unit, 1)
        share = many[what] / few[what]
        text = " → ".join(f"{run[what] * scale:.1f}" for run in (few, many))
        figures.append(
            Figure(
                f"{title}, {MANY_SERVERS} servers, {MANY_SERVERS * FEW_EACH:,} →"
                f" {MANY_SERVERS * MANY_EACH:,} mails wait",
                {ADDON_SIDE: f"{text} {unit}".strip() + f": {share:.2f}"},
                f"at most {MAX_MANY}",
                share <= MAX_MANY,
            )
        )
    return figures


def measure_others(bench: Bench) -> list[Figure]:
    """Another scheduled action, due again and again beside a full queue: how late it runs."""
    mails = 5000
    bench.fill(ADDON_SIDE, mails, SERVERS)
    bench.far.begin(delay=0.05)
    db = bench.databases[ADDON_SIDE]
    late = []
    with odoos(db, True, 1, workers=2):
        bench.start(ADDON_SIDE)
        time.sleep(3)
        for _time in range(10):
            due = execute(
                """
                UPDATE ir_cron SET nextcall = now() at time zone 'UTC', lastcall = NULL WHERE id = (
                    SELECT res_id FROM ir_model_data
                     WHERE module = 'mail' AND name = 'ir_cron_send_scheduled_message'
                ) RETURNING id
                """,
                database=db,
            )[0][0]
            bench.notify(db)
            begin = time.monotonic()
            query = "SELECT lastcall FROM ir_cron WHERE id = %s"
            while execute(query, due, database=db)[0][0] is None:
                time.sleep(0.1)
            late.append(time.monotonic() - begin)
            time.sleep(4)
        seen = bench.far.seen()
    if seen["count"] >= mails:
        raise BenchError("the queue was not full all the time")
    bench.notes.append(f"Other actions: {seen['count']} mails left meanwhile, two workers.")
    return [
        Figure(
            "another scheduled action beside a full queue: late by at most",
            {ADDON_SIDE: f"{max(late):.1f} s"},
            f"at most {MAX_LATE:.0f} s",
            max(late) <= MAX_LATE,
        )
    ]


MEASUREMENTS: dict[str, Callable[[Bench], list[Figure]]] = {
    "hang": measure_hang,
    "distance": measure_distance,
    "senders": measure_senders,
    "queries": measure_queries,
    "many": measure_many,
    "two": measure_two,
    "others": measure_others,
}


def plot(bench: Bench, target: Path) -> None:
    """Draw wall time against the distance, and against the number of servers."""
    panels = {
        f"{PLOTTED_MAILS} mails, ten servers; ms there and back": {
            name: {
                delay: bench.run(name, delay=delay / 1000, mails=PLOTTED_MAILS)["seconds"]
                for delay in DELAYS
            }
            for name in (NATIVE, ADDON_SIDE)
        }
    }
    bench.databases = {name: bench.furnished(name, max(SERVER_COUNTS)) for name in bench.databases}
    panels["Ten mails for each server, 20 ms; servers"] = {
        name: {
            count: bench.run(name, delay=0.02, mails=10 * count, servers=count)["seconds"]
            for count in SERVER_COUNTS
        }
        for name in (NATIVE, ADDON_SIDE)
    }
    report.draw_lines(panels, target, "seconds")
    say(f"Plot: {target}")


def bench_queue(arguments: Sequence[str]) -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        prog="make bench-queue", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--only", action="append", choices=MEASUREMENTS, help="one measurement; may be repeated"
    )
    parser.add_argument(
        "--plot", type=Path, help="draw the plot to this file, and measure only what --only says"
    )
    options = parser.parse_args(arguments)
    names = options.only or ([] if options.plot else list(MEASUREMENTS))
    figures: list[Figure] = []
    failed = []
    with ExitStack() as stack:
        bench = Bench(stack)
        for name in names:
            say(f"Measuring: {name}")
            try:
                figures += MEASUREMENTS[name](bench)
            except ToolError as error:
                say(f"NOT MEASURED: {name}: {error}")
                failed.append(name)
        if options.plot:
            plot(bench, options.plot)
    if figures:
        say("")
        say(report.table(figures, (NATIVE, ADDON_SIDE)))
        say("")
    for note in bench.notes:
        say(f"- {note}")
    missed = [figure.title for figure in figures if figure.goal and not figure.reached]
    for title in missed:
        say(f"NOT REACHED: {title}")
    return 1 if missed or failed else 0
