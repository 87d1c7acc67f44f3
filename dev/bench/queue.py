# SPDX-License-Identifier: LGPL-3.0-only
"""``make bench-queue``: the queue beside native Odoo's, by real cron workers and real sockets.

Ten servers, each behind a relay of its own that holds bytes back as a distance does, counts how
many sessions are open at one time, and may stop answering once a mail is being told. The servers
are one provider, which lets anybody send; the mails of all are mixed. Odoo runs with three cron
workers, in one process or two. Native works the queue off in one of them.

    make bench-queue ARGS="--only distance"
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection
from typing import Any

import psycopg2

from dev.bench.compare import BenchError, OfficeWorker, Side
from dev.odoo import database, execute, odoo_config, workdir
from dev.odoo.postgresql import connect
from dev.odoo.run import odoo_command, odoo_environment
from dev.provider import Provider
from dev.shared import MODULES, say

SERVERS = 10
MAILS = 30
CRON_WORKERS = 3
PASSWORD = "secret"
ADDON, NATIVE = "addon", "native"
#: seconds after which a run is not waited for any more
PATIENCE = 420


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
        await asyncio.sleep(self.delay)
        for end in (writer, far_writer):
            end.close()

    async def _carry(self, reader, writer, state: dict, outgoing: bool) -> None:
        """Hand bytes on, each so long after it has come."""
        loop = asyncio.get_running_loop()
        waiting: deque[tuple[float, bytes]] = deque()
        come = asyncio.Event()

        async def hand_on():
            while True:
                await come.wait()
                come.clear()
                while waiting:
                    due, data = waiting.popleft()
                    await asyncio.sleep(max(0.0, due - loop.time()))
                    if outgoing or not state["hung"]:
                        writer.write(data)

        handing = asyncio.ensure_future(hand_on())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                words = data.lower()
                if outgoing and self.hangs and (b"data\r\n" in words or b"bdat " in words):
                    state["hung"] = True
                waiting.append((loop.time() + self.delay / 2, data))
                come.set()
        handing.cancel()


def serve_far_end(connection: Connection) -> None:
    """Run the provider and its relays for the process at the other end."""
    accounts = {f"post@c{number}.example": PASSWORD for number in range(SERVERS)}
    with Provider(accounts, rule="any", keep_data=False) as provider:
        relays = [Relay(provider.smtp_port) for _number in range(SERVERS)]
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
        self.ports: list[int] = self.connection.recv()

    def ask(self, **order: object) -> dict[str, Any]:
        """Set ``delay`` and ``hangs``, if given, and forget what came; tell what has come."""
        self.connection.send(order or {"seen": True})
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
        self.far = FarEnd()
        stack.callback(self.far.stop)
        self.databases = {}
        for name in (ADDON, NATIVE):
            db = stack.enter_context(database(MODULES, addon=name == ADDON))
            self.databases[name] = db
            self._ask(name, "furnish", port=1, companies=SERVERS, servers=SERVERS,
                      domains=SERVERS, used=SERVERS)  # fmt: skip
            for number, port in enumerate(self.far.ports):
                execute(
                    "UPDATE ir_mail_server SET smtp_port = %s, smtp_encryption = 'none'"
                    " WHERE smtp_user = %s",
                    port, f"post@c{number}.example", database=db,
                )  # fmt: skip
            # nothing but the queue, and only when it is told to
            execute("UPDATE ir_cron SET nextcall = now() + interval '1 year'", database=db)

    def _ask(self, name: str, call: str, **arguments: object) -> Any:
        side = Side(name, self.databases[name], None)
        worker = OfficeWorker(side, side.db)
        try:
            return worker.call(call, **arguments)
        finally:
            worker.stop()

    def fill(self, name: str, mails: int) -> None:
        """Put mails into the queue of a side, each of another sender, servers mixed."""
        db = self.databases[name]
        execute("DELETE FROM mail_mail", database=db)
        side = Side(name, db, None)
        worker = OfficeWorker(side, db)
        try:
            worker.call("furnish_again", companies=SERVERS)
            worker.call("write_mails", count=mails, senders=mails)
        finally:
            worker.stop()

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
        mails: int = SERVERS * MAILS, patience: float = PATIENCE,
    ) -> dict[str, Any]:  # fmt: skip
        """Work a queue off.

        :return: what the far end saw, ``seconds``, and ``others``: seconds until the last mail of
            the servers but the first
        """
        self.fill(name, mails)
        self.far.ask(delay=delay, hangs=hangs)
        wanted = mails - (mails // SERVERS if hangs else 0)
        with odoos(self.databases[name], name == ADDON, processes):
            self.start(name)
            begin = time.monotonic()
            others = None
            while True:
                seen = self.far.ask()
                took = time.monotonic() - begin
                first = seen["by_server"].get("post@c0.example", 0)
                if others is None and seen["count"] - first >= mails - mails // SERVERS:
                    others = took
                if seen["count"] >= wanted or took > patience:
                    break
                time.sleep(0.02)
        return {**seen, "seconds": took, "others": others}


def _told(run: dict[str, Any]) -> str:
    others = f"{run['others']:.1f} s" if run["others"] else "never"
    return (
        f"{run['seconds']:6.1f} s, others {others}, {run['count']} mails, {run['logins']} logins,"
        f" twice {run['twice']}, at most {run['most']} sessions at one server"
    )


def measure_hang(bench: Bench) -> None:
    """One of ten servers hangs at DATA: the last mail of the other nine."""
    well = bench.run(ADDON, delay=0.02)
    hangs = bench.run(ADDON, delay=0.02, hangs=True, patience=120)
    say(f"hang: all well         {_told(well)}")
    say(f"hang: one hangs        {_told(hangs)}")
    if well["others"] and hangs["others"]:
        say(f"hang: share            {hangs['others'] / well['others']:.2f} (goal 1.2)")


def measure_distance(bench: Bench) -> None:
    """Ten servers 50 ms away: wall time against native's."""
    runs = {
        "1 process": bench.run(ADDON, delay=0.05),
        "2 processes": bench.run(ADDON, delay=0.05, processes=2),
        NATIVE: bench.run(NATIVE, delay=0.05),
    }
    for title, run in runs.items():
        share = run["seconds"] / runs[NATIVE]["seconds"]
        say(f"distance: {title:12} {_told(run)}, {share:.3f} of native")


def measure_two(bench: Bench) -> None:
    """Two processes, 2,000 mails, five rounds: doubled and lost."""
    for number in range(5):
        run = bench.run(ADDON, processes=2, mails=2000)
        say(f"two: round {number + 1}           {_told(run)}, lost {2000 - run['count']}")


def measure_others(bench: Bench) -> None:
    """Another scheduled action, due once in four seconds beside a full queue: how late it runs."""
    bench.fill(ADDON, 3000)
    bench.far.ask(delay=0.05, hangs=False)
    db = bench.databases[ADDON]
    late = []
    with odoos(db, True, 1, workers=2):
        bench.start(ADDON)
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
        seen = bench.far.ask()
    say(f"others: late by {max(late):.1f} s at most (goal 15), {seen['count']} mails meanwhile")


MEASUREMENTS = {
    "hang": measure_hang,
    "distance": measure_distance,
    "two": measure_two,
    "others": measure_others,
}


def bench_queue(arguments: Sequence[str]) -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="make bench-queue")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        bench = Bench(stack)
        for name, measure in MEASUREMENTS.items():
            if not options.only or name in options.only:
                try:
                    measure(bench)
                except psycopg2.Error as error:
                    say(f"NOT MEASURED: {name}: {error}")
    return 0
