# SPDX-License-Identifier: LGPL-3.0-only
"""``make bench-queue``: the queue beside native Odoo's, by real cron workers and real sockets.

Ten servers at a distance, one of which may stop answering; the mails of all are mixed. Odoo runs
with three cron workers, in one process or two. Native works the queue off in one of them.

    make bench-queue ARGS="--only distance"
    make bench-queue ARGS="--plot docs/images/queue.png"

It prints a table in Markdown, and returns 1 when a goal is missed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from dev.bench import base, report
from dev.bench.base import BenchError
from dev.bench.report import ADDON_SIDE, NATIVE
from dev.odoo import clone, connect, execute
from dev.odoo.web import serving
from dev.shared import MODULES, say

SERVERS = 10
MAILS = 30
CRON_WORKERS = 3
#: what the servers announce, as Postfix and most providers do
ANNOUNCED = ("PIPELINING", "CHUNKING")
#: seconds after which a run is not waited for any more
PATIENCE = 420

#: servers of the measurement with many mails, how many wait for one of them, and mails in a turn
MANY_SERVERS, FEW_EACH, MANY_EACH, IN_A_TURN = 100, 10, 1000, 10
#: what the plot shows: milliseconds there and back, numbers of servers; mails for each point
DELAYS, SERVER_COUNTS, PLOTTED_MAILS = (0, 20, 50, 100, 200), (1, 2, 5, 10, 20), 30

#: by the number of processes and what the servers announce
MAX_DISTANCE = {
    (1, ANNOUNCED): 0.15,
    (2, ANNOUNCED): 0.1,
    (1, ANNOUNCED[:1]): None,
    (1, ()): None,
}
#: senders at one server, each with a mail; and the share of native's time, by what it announces
SENDERS = 60
MAX_SENDERS = {ANNOUNCED: 0.15, ANNOUNCED[:1]: 0.22, (): None}


@contextmanager
def odoos(db: str, name: str, processes: int, workers: int = CRON_WORKERS) -> Iterator[None]:
    """Have Odoo processes that run scheduled actions."""
    with ExitStack() as stack:
        for _process in range(processes):
            stack.enter_context(serving(db, addon=name == ADDON_SIDE, max_cron_threads=workers))
        time.sleep(2)  # its workers look whether there is anything to do
        yield


class Bench(base.Bench):
    """Of each side a database with ten companies that have a server each."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack, MODULES, "none")
        self.databases = {name: self.furnished(name, SERVERS) for name in self.sides}

    def furnished(self, name: str, servers: int) -> str:
        """Give a new database of a side, with so many companies that have a server each."""
        db = self.stack.enter_context(clone(self.sides[name].database))
        plan = dict.fromkeys(("companies", "servers", "domains"), servers)
        with self.sides[name].office(db) as office:
            office.call("furnish", ports=self.ports, encryption="none", **plan)
        # nothing but the queue, and only when it is told to
        execute("UPDATE ir_cron SET nextcall = now() + interval '1 year'", database=db)
        return db

    @contextmanager
    def filled(self, name: str, mails: int, servers: int) -> Iterator[base.Office]:
        """Put mails into the queue of a side, each of another sender, servers mixed.

        What it knew of servers that hung is forgotten. Gives the Odoo that did it.
        """
        db = self.databases[name]
        for table in ("mail_mail", *(["mail_lane"] if name == ADDON_SIDE else [])):
            execute(f"DELETE FROM {table}", database=db)
        with self.sides[name].office(db) as office:
            office.call("write_mails", count=mails, senders=mails, companies=servers)
            yield office

    def start(self, name: str, action: str) -> int:
        """Let a scheduled action of ``mail`` be due, and wake the cron workers, as Odoo does.

        :return: the action's id
        """
        query = """
            UPDATE ir_cron SET nextcall = now() at time zone 'UTC', lastcall = NULL WHERE id = (
                SELECT res_id FROM ir_model_data WHERE module = 'mail' AND name = %s
            ) RETURNING id
        """
        ((action_id,),) = execute(query, action, database=self.databases[name])
        with closing(connect()) as connection, connection.cursor() as cursor:
            cursor.execute("NOTIFY cron_trigger, %s", [self.databases[name]])
        return action_id

    def run(
        self, name: str, *, processes: int = 1, mails: int = SERVERS * MAILS,
        servers: int = SERVERS, patience: float = PATIENCE, hangs: bool = False, **far: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Work a queue off.

        Where no server hangs, it ends when no mail waits any more: one that is sent twice is seen.

        :param far: how the far end is
        :return: what the far end saw, ``seconds`` until the last mail, and ``others``: until the
            last mail of the servers but the first, infinite where it has not come
        """
        with self.filled(name, mails, servers):
            pass
        self.far.call("begin", **{"hangs": hangs, "announces": ANNOUNCED, **far})
        of_others = mails - mails // servers
        db = self.databases[name]
        with odoos(db, name, processes):
            self.start(name, "ir_cron_mail_scheduler_action")
            begin = time.monotonic()
            others = float("inf")
            while True:
                seen = self.far.call("seen")
                took = time.monotonic() - begin
                first = seen["by_login"]["post@c0.example"]
                if others > took and seen["count"] - first >= of_others:
                    others = took
                if seen["count"] >= (of_others if hangs else mails) or took > patience:
                    break
                time.sleep(0.02)
            waiting = "SELECT 1 FROM mail_mail WHERE state = 'outgoing' LIMIT 1"
            while not hangs and execute(waiting, database=db):
                if time.monotonic() - begin > patience:
                    break
                time.sleep(0.1)
            seen = self.far.call("seen")
        say(
            f"  {name:6} {took:6.1f} s, {seen['count']} of {mails} mails, {seen['logins']} logins,"
            f" twice {seen['twice']}, at most {seen['most']} sessions at one server"
        )
        return {**seen, "seconds": took, "others": others}


# --- measurements ----------------------------------------------------------------------------


def words(announces: Sequence[str]) -> str:
    """Say what servers announce."""
    return " and ".join(announces) or "one command at a time"


def beside(
    bench: Bench, name: str, native: float, addon: float, most: float | None, **about: object
) -> None:
    """Tell two wall times and the addon's share."""
    cells = {NATIVE: f"{native:.2f} s", ADDON_SIDE: f"{addon:.2f} s: {addon / native:.3f}"}
    bench.tell(name, {ADDON_SIDE: addon / native}, cells=cells, most=most, **about)


def measure_hang(bench: Bench) -> None:
    """One of ten servers hangs at DATA, for which it must not announce CHUNKING."""
    far = {"distance": 0.02, "announces": ANNOUNCED[:1]}
    well = bench.run(ADDON_SIDE, **far)["others"]
    hangs = bench.run(ADDON_SIDE, hangs=True, patience=120, **far)["others"]
    bench.notes.append(f"One hangs: {hangs:.1f} s, all well: {well:.1f} s, three workers.")
    bench.tell("hang", {ADDON_SIDE: hangs / well})


def measure_distance(bench: Bench) -> None:
    """Ten servers 50 ms away: wall time against native's, which sends one command at a time."""
    native = bench.run(NATIVE, distance=0.05)
    most = 0
    for (processes, announces), goal in MAX_DISTANCE.items():
        run = bench.run(ADDON_SIDE, distance=0.05, processes=processes, announces=announces)
        most = max(most, run["most"])
        about = {"processes": processes, "workers": CRON_WORKERS, "announces": words(announces)}
        beside(bench, "distance", native["seconds"], run["seconds"], goal, **about)
    bench.tell("sessions", {NATIVE: native["most"], ADDON_SIDE: most}, what="same")


def measure_senders(bench: Bench) -> None:
    """Mails of 60 senders from the queue to one server 20 ms away: wall time against native's."""

    def seconds(name: str, announces: Sequence[str] = ()) -> float:
        with bench.filled(name, SENDERS, 1) as office:
            return bench.send(office, SENDERS, distance=0.02, announces=announces).seconds

    native = seconds(NATIVE)
    for announces, goal in MAX_SENDERS.items():
        about = {"count": SENDERS, "announces": words(announces)}
        beside(bench, "one_server", native, seconds(ADDON_SIDE, announces), goal, **about)


def measure_two(bench: Bench) -> None:
    """Two processes, 2,000 mails, five rounds: doubled and lost."""
    mails, rounds = 2000, 5
    runs = [bench.run(ADDON_SIDE, processes=2, mails=mails) for _round in range(rounds)]
    doubled = sum(run["twice"] for run in runs)
    lost = sum(mails + run["twice"] - run["count"] for run in runs)
    what = f"two processes, {mails} mails, {rounds} rounds"
    bench.tell("doubled", {ADDON_SIDE: doubled}, what=what)
    bench.tell("lost", {ADDON_SIDE: lost}, what=what)
    bench.tell("sessions", {ADDON_SIDE: max(run["most"] for run in runs)}, what=what)


def measure_queries(bench: Bench) -> None:
    """300 mails of 300 senders over ten servers, from the queue, with a commit after each."""
    queries = {}
    for name in bench.sides:
        with bench.filled(name, SERVERS * MAILS, SERVERS) as office:
            run = bench.send(office, SERVERS * MAILS, announces=ANNOUNCED)
        queries[name] = run.queries_a_mail
    bench.tell("lane_queries", queries, count=SERVERS * MAILS)


def measure_many(bench: Bench) -> None:
    """1,000 mails over 100 servers: all there are, and with 100 times as many waiting."""
    told = {}
    side = bench.sides[ADDON_SIDE]
    batch = "INSERT INTO ir_config_parameter (key, value) VALUES ('mail.session.batch.size', %s)"
    for each in (FEW_EACH, MANY_EACH):
        db = bench.furnished(ADDON_SIDE, MANY_SERVERS)
        execute(batch, str(IN_A_TURN), database=db)
        with side.office(db) as office:
            office.call("write_mails", count=MANY_SERVERS, senders=MANY_SERVERS)
            office.call("multiply", times=each)
        execute("VACUUM ANALYZE", database=db)
        bench.far.call("begin", announces=ANNOUNCED)
        with side.office(db) as office:
            told[each] = run = office.call("work_off", count=MANY_SERVERS * FEW_EACH)
        came = bench.far.call("seen")["count"]
        if came != run["sent"]:
            raise BenchError(f"{came} mails came, {run['sent']} are sent")
        say(f"  {MANY_SERVERS * each} mails wait: {run}")
    few, many = told.values()
    waiting = f"{MANY_SERVERS * FEW_EACH:,} → {MANY_SERVERS * MANY_EACH:,} mails wait"
    for name, scale, unit in (
        ("cpu", 1000, " ms"),
        ("seconds", 1000, " ms"),
        ("queries", 1, ""),
        ("peak", 1 / 1024, " MB"),
    ):
        share = many[name] / few[name]
        text = " → ".join(f"{run[name] * scale:.1f}" for run in (few, many))
        cells = {ADDON_SIDE: f"{text}{unit}: {share:.2f}"}
        what = f"{MANY_SERVERS} servers, {waiting}"
        bench.tell(f"many_{name}", {ADDON_SIDE: share}, cells=cells, what=what)


def measure_others(bench: Bench) -> None:
    """Another scheduled action, due again and again beside a full queue: how late it runs."""
    mails = 5000
    with bench.filled(ADDON_SIDE, mails, SERVERS):
        pass
    bench.far.call("begin", distance=0.05, announces=ANNOUNCED)
    db = bench.databases[ADDON_SIDE]
    late = []
    with odoos(db, ADDON_SIDE, 1, workers=2):
        bench.start(ADDON_SIDE, "ir_cron_mail_scheduler_action")
        time.sleep(3)
        for _time in range(10):
            due = bench.start(ADDON_SIDE, "ir_cron_send_scheduled_message")
            begin = time.monotonic()
            query = "SELECT lastcall FROM ir_cron WHERE id = %s"
            while execute(query, due, database=db)[0][0] is None:
                time.sleep(0.1)
            late.append(time.monotonic() - begin)
            time.sleep(4)
        seen = bench.far.call("seen")
    if seen["count"] >= mails:
        raise BenchError("the queue was not full all the time")
    bench.notes.append(f"Other actions: {seen['count']} mails left meanwhile, two workers.")
    bench.tell("late", {ADDON_SIDE: max(late)})


MEASUREMENTS = {
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
                delay: bench.run(name, distance=delay / 1000, mails=PLOTTED_MAILS)["seconds"]
                for delay in DELAYS
            }
            for name in bench.sides
        }
    }
    bench.databases = {name: bench.furnished(name, max(SERVER_COUNTS)) for name in bench.sides}
    panels["Ten mails for each server, 20 ms; servers"] = {
        name: {
            count: bench.run(name, distance=0.02, mails=10 * count, servers=count)["seconds"]
            for count in SERVER_COUNTS
        }
        for name in bench.sides
    }
    report.draw_lines(panels, target, "seconds")


def bench_queue(arguments: Sequence[str]) -> int:
    """Read the command line and measure."""
    parser = base.parser_of("make bench-queue", __doc__, MEASUREMENTS)
    parser.add_argument(
        "--plot", type=Path, help="draw the plot to this file, and measure only what --only says"
    )
    options = parser.parse_args(arguments)
    names = options.only or ([] if options.plot else list(MEASUREMENTS))
    with ExitStack() as stack:
        bench = Bench(stack)
        if options.plot:
            plot(bench, options.plot)
        return bench.measure(MEASUREMENTS, names)
