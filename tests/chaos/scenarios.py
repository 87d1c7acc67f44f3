# SPDX-License-Identifier: LGPL-3.0-only
"""``make test-chaos``: nothing lost, nothing twice, no neighbour harmed, whatever happens.

Real Odoo processes (``tests/chaos/worker.py``) that commit, on a database of their own, send
through two providers. They are killed, run beside each other, refused by PostgreSQL at every
statement in turn, and disturbed by people; and the providers fail in every phase. Counted are mails
that are ``lost`` (neither delivered nor failed with a reason nor waiting), that arrived ``twice``,
``neighbours`` (mails of the other server that a fault kept from leaving) and failures that leave
the server ``unnamed``. Native Odoo stands beside it where that is cheap.

    make test-chaos ARGS="--only kill --seed 7"
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

from dev.odoo import database, find_odoo
from dev.provider import Provider
from dev.shared import MODULES, say
from dev.worker import OdooWorker, WorkerError

COLUMNS = ("lost", "twice", "neighbours", "unnamed")

PHASES = ("connect", "ehlo", "auth", "mail", "rcpt", "data", "end_of_data")
ACTIONS = ("451", "550 5.7.1 Refused", "421", "drop", "garbage", "nul", "long")
KINDS = {
    "restricted": ("none", "login"),
    "unrestricted": ("none", "any"),
    "TLS": ("starttls", "any"),
}
DISTURBANCES = (
    "delete the server",
    "archive the server",
    "archive the author",
    "delete mails",
    "delete notifications",
    "write",
    "change a setting",
)


def office(db: str, addon: bool) -> OdooWorker:
    """Start an Odoo process, which may not be ready when this returns."""
    return OdooWorker("worker", db, addon=addon)


class Site:
    """A database, its Odoo processes and the two providers."""

    def __init__(self, db: str, addon: bool, stack: contextlib.ExitStack) -> None:
        self.db, self.addon, self.stack = db, addon, stack
        self.marks = (f"m{number}." for number in itertools.count())
        self.worker = self.new_worker()
        self.providers: dict[str, Provider] = {}

    def new_worker(self) -> OdooWorker:
        """Start one more Odoo process; it is ready when it returns."""
        worker = office(self.db, self.addon)
        self.stack.callback(worker.kill)
        worker.answer()
        return worker

    def furnish(self, tls: str = "none", policy: str = "any", delay: float = 0.0) -> None:
        """Start both providers anew, and let Odoo have their servers."""
        for provider in self.providers.values():
            provider.stop()
        rule = "tencent" if policy == "login" else "any"
        self.providers = {
            name: Provider({f"kevin@{name}.com": "secret"}, rule, tls=tls, delay=delay).start()
            for name in "ab"
        }
        for provider in self.providers.values():
            self.stack.callback(provider.stop)
        ports = {name: provider.smtp_port for name, provider in self.providers.items()}
        self.worker.call("furnish", ports=ports, tls=tls, policy=policy)

    def fill(self, a: int, b: int = 0) -> tuple[str, list[str]]:
        """Put mails into the queue; return their mark and their subjects."""
        for provider in self.providers.values():
            provider.clear()
            provider.heal()
        mark = next(self.marks)
        return mark, self.worker.call("write_mails", counts={"a": a, "b": b}, mark=mark)

    def arrived(self) -> Counter:
        """Count what the providers accepted, by subject."""
        return Counter(
            str(mail.message["Subject"])
            for provider in self.providers.values()
            for mail in provider.mails
        )

    def work_off(self, mark: str, runs: int = 6) -> dict[str, tuple[str, str]]:
        """Run the queue without faults until it is empty; return the states."""
        for provider in self.providers.values():
            provider.heal()
        for _run in range(runs):
            self.worker.call("try_now")
            self.worker.call("queue")
            states = self.worker.call("states", mark=mark)
            if not any(state == "outgoing" for state, _reason in states.values()):
                break
        return states

    def count(self, mark: str, subjects: Sequence[str], deleted: Sequence[str] = ()) -> dict:
        """Count, once the queue has been worked off, what is lost, twice and unnamed."""
        states = self.work_off(mark)
        unnamed = [
            subject
            for subject, (state, reason) in states.items()
            if state == "exception" and f"{subject.split()[1].upper()} SMTP" not in reason
        ]
        reasons = {states[subject][1] for subject in unnamed}
        self.worker.call("retry", mark=mark)
        states = self.work_off(mark)
        arrived = self.arrived()
        unsure = {name for name, (_state, reason) in states.items() if "may have arrived" in reason}
        lost = [
            subject
            for subject in subjects
            if not arrived[subject]
            and subject not in unsure
            and subject not in deleted
            and states.get(subject, ("", ""))[0] not in ("exception", "outgoing")
        ]
        # what has arrived and does not say so would be sent again by whoever retries it
        untold = [
            subject
            for subject, (state, _reason) in states.items()
            if arrived[subject] and state != "sent" and subject not in unsure
        ]
        twice = [subject for subject in arrived if arrived[subject] > 1]
        return {
            "lost": len(lost),
            "twice": len(twice) + len(untold),
            "unnamed": len(unnamed),
            "about": " | ".join(reasons),
        }


def kill(site: Site, chance: random.Random, many: bool) -> Iterator[dict]:
    """Kill the process in a batch of 50, at random moments."""
    site.furnish()
    for _time in range(10):
        mark, subjects = site.fill(50)
        site.providers["a"].clear()
        # EHLO and AUTH, then three commands a mail: a moment that can be waited for
        commands = chance.randrange(2, 2 + 3 * 50)
        spare = office(site.db, site.addon)
        site.stack.callback(spare.kill)
        site.worker.ask("queue")
        site.providers["a"].wait_for(lambda p, n=commands: len(p.commands) >= n, timeout=60)
        site.worker.kill()
        spare.answer()
        site.worker = spare
        counted = site.count(mark, subjects)
        # the kill fell between the provider's 250 and the commit: at most that one mail
        yield {**counted, "twice": max(0, counted["twice"] - 1), "unsure": counted["twice"]}


def two_workers(site: Site, _chance: random.Random, many: bool) -> Iterator[dict]:
    """Let two processes work on one queue."""
    site.furnish(delay=0.002)
    other = site.new_worker()
    for head_start in (0, 0, 0, 1, 10):
        mark, subjects = site.fill(40, 20)
        site.worker.ask("queue")
        site.providers["a"].wait_for(head_start, timeout=60)
        other.call("queue")
        site.worker.answer()
        yield site.count(mark, subjects)
    other.kill()


def lanes(site: Site, _chance: random.Random, many: bool) -> Iterator[dict]:
    """Let two processes and somebody who sends at once work on 2,000 mails: one session a server.

    A session too many is counted as a neighbour who was harmed: Gmail hangs up on it.
    """
    site.furnish()
    other, person = site.new_worker(), site.new_worker()
    for _time in range(5 if many else 2):
        mark, subjects = site.fill(1000, 1000)
        more = person.call("write_mails", counts={"a": 5, "b": 5}, mark=f"{mark}now")
        site.worker.ask("queue")
        other.ask("queue")
        site.providers["a"].wait_for(10, timeout=60)
        for subject in more:
            person.call("send_at_once", subject=subject)
        site.worker.answer()
        other.answer()
        most = max(provider.most_at_once for provider in site.providers.values())
        yield {**site.count(mark, [*subjects, *more]), "neighbours": most - 1}
    other.kill()
    person.kill()


def statements(site: Site, _chance: random.Random, many: bool) -> Iterator[dict]:
    """Let PostgreSQL refuse every statement of a run in turn, as others' writes make it do."""
    site.furnish()
    site.fill(1, 1)
    site.worker.call("queue")
    for number in itertools.count(1):
        mark, subjects = site.fill(3, 3)
        told = site.worker.call("queue", fail_at=number)
        if told["statements"] < number:
            break
        left = {
            name: sum(subject.split()[1] == name for subject in subjects)
            - sum(site.arrived()[s] > 0 for s in subjects if s.split()[1] == name)
            for name in "ab"
        }
        # before the first mail has left there is nobody to be a neighbour of
        neighbours = min(left.values()) if sum(left.values()) < len(subjects) else 0
        yield {**site.count(mark, subjects), "neighbours": neighbours}


def request(site: Site, _chance: random.Random, many: bool) -> Iterator[dict]:
    """Send in a request that Odoo repeats because of a conflict, as a button of native's does."""
    site.furnish()
    mark, subjects = site.fill(10, 10)
    site.worker.call("send_in_a_request", mark=mark)
    yield site.count(mark, subjects)


def disturbed(site: Site, chance: random.Random, many: bool) -> Iterator[dict]:
    """Do in the middle of a batch what people do."""
    other = site.new_worker()
    for what in DISTURBANCES:
        if not site.addon and what == "change a setting":
            continue
        for _time in range(4 if many else 1):
            site.furnish(delay=0.001)
            mark, subjects = site.fill(20, 10)
            sent = chance.randrange(1, 15)
            victims = subjects[sent : sent + 6]
            done = threading.Event()
            site.worker.ask("queue")
            site.providers["a"].wait_for(sent, timeout=60)
            other.call("disturb", what=what, mark=mark, subjects=victims)
            done.set()
            site.worker.answer()
            waiting = [s for s in subjects if s.split()[1] == "b" and not site.arrived()[s]]
            counted = site.count(mark, subjects, victims if what == "delete mails" else ())
            yield {**counted, "neighbours": len(waiting)}
            if site.addon:
                other.call("disturb", what="undo", mark=mark)
    other.kill()


#: what arrives in each mailbox: an answer, a new mail, one that PostgreSQL cannot store, a report
LETTERS = ("answer", "enquiry", "nul", "report")
MAILBOXES = ("imap", "pop")
#: how many statements are refused, and how many processes killed, unless ``--all`` asks for more
REFUSED, KILLED = 60, 40


def fetching(site: Site, chance: random.Random, many: bool) -> Iterator[dict]:
    """Let PostgreSQL refuse the statements of fetching, and kill the process that fetches."""
    site.furnish()
    accounts = {f"{kind}@a.com": "secret" for kind in MAILBOXES}
    mailboxes = Provider(accounts, "any", imap=True, pop3=True).start()
    site.stack.callback(mailboxes.stop)
    ports = {"imap": mailboxes.imap_port, "pop": mailboxes.pop3_port}
    site.worker.call("furnish_mailboxes", ports=ports)
    # what the disturbed process still holds, such as a lock, must not stop the others
    other = site.new_worker()
    for worker in (site.worker, other):
        mark, mails = _write_letters(site, mailboxes)
        run = worker.call("fetch")
        yield _count_letters(site, mark, mails)
    for number in _some(run["statements"], None if many else REFUSED, chance):
        mark, mails = _write_letters(site, mailboxes)
        refused = site.worker.call("fetch", fail_at=number)["refused"]
        found = site.worker.call("found", mark=mark, mails=mails)
        left = [sum(kind in s.split() and not any(found[s]) for s in mails) for kind in MAILBOXES]
        neighbours = min(left) if sum(left) < len(mails) else 0
        other.call("fetch")
        counted = _count_letters(site, mark, mails)
        about = f"statement {number}, {refused}: {counted['about']}"
        yield {**counted, "neighbours": neighbours, "about": about}
    for number in _some(run["steps"], None if many else KILLED, chance):
        mark, mails = _write_letters(site, mailboxes)
        site.worker.call("fetch_until_killed", kill_at=number)
        other.call("fetch")
        counted = _count_letters(site, mark, mails)
        yield {**counted, "about": f"killed at step {number}: {counted['about']}"}
    other.kill()


def _some(count: int, wanted: int | None, chance: random.Random) -> list[int]:
    """Choose so many of 1 to ``count``, evenly, another choice each time; None: all."""
    if wanted is None or wanted >= count:
        return list(range(1, count + 1))
    first = chance.random()
    return [1 + int((first + number) * count / wanted) for number in range(wanted)]


def _write_letters(site: Site, mailboxes: Provider) -> tuple[str, dict[str, str]]:
    """Put letters into both mailboxes; return their mark, and their Message-Ids by subject."""
    mark = next(site.marks)
    posted = site.worker.call("write_to_customers", mark=mark, kinds=MAILBOXES)
    mails = {}
    for letter, kind in itertools.product(LETTERS, MAILBOXES):
        subject = f"{mark} {letter} {kind}"
        mails[subject] = f"<{mark}{letter}.{kind}@example.net>"
        # another one each time: Odoo stops listening to who writes as often as a loop does
        headers = {"From": f"customer.{mark}{kind}@example.net", "To": "enquiries@a.com"}
        headers |= {"Subject": subject, "Message-Id": mails[subject]}
        body = "What does it cost?"
        if letter == "answer":
            headers |= {"To": "catchall@a.com", "In-Reply-To": posted[kind]}
        elif letter == "nul":
            headers["Subject"] = f"=?utf-8?q?{subject.replace(' ', '_')}=00?="
        elif letter == "report":
            body = REPORT.format(recipient=f"gone.{mark}{kind}@example.net", about=posted[kind])
            headers |= {
                "From": "MAILER-DAEMON@example.net",
                "To": "bounce@a.com",
                "Content-Type": 'multipart/report; report-type=delivery-status; boundary="x"',
            }
        lines = [f"{name}: {value}" for name, value in headers.items()]
        mailboxes.deliver(f"{kind}@a.com", "\r\n".join([*lines, "", body, ""]).encode())
    return mark, mails


#: RFC 3464
REPORT = """--x\r
Content-Type: text/plain\r
\r
It could not be delivered.\r
--x\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; example.net\r
\r
Final-Recipient: rfc822; {recipient}\r
Action: failed\r
Status: 5.1.1\r
--x\r
Content-Type: text/rfc822-headers\r
\r
To: {recipient}\r
Message-Id: {about}\r
\r
--x--"""


def _count_letters(site: Site, mark: str, mails: dict[str, str]) -> dict:
    found = site.worker.call("found", mark=mark, mails=mails)
    lost = [subject for subject, times in found.items() if not sum(times)]
    twice = [subject for subject, times in found.items() if sum(times) > 1]
    kept = [subject for subject, (_times, kept) in found.items() if kept]
    return {
        "lost": len(lost),
        "twice": len(twice),
        "kept": len(kept),
        "about": " | ".join(lost + twice),
    }


def faults(site: Site, _chance: random.Random, many: bool) -> Iterator[dict]:
    """Break a session of A's in every phase in every way."""
    for kind, (tls, policy) in KINDS.items():
        site.furnish(tls=tls, policy=policy)
        for phase, action in itertools.product(PHASES, ACTIONS):
            yield _fault(site, kind, phase, action)
        for action in ("accept_then_drop", "accept_then_garbage"):
            yield _fault(site, kind, "end_of_data", action)


def _fault(site: Site, kind: str, phase: str, action: str) -> dict:
    mark, subjects = site.fill(3, 2)
    after = 0 if phase in ("connect", "ehlo", "auth") else 1
    site.providers["a"].fail(phase, action, after=after)
    site.worker.call("queue")
    struck = site.providers["a"].faults
    waiting = [s for s in subjects if s.split()[1] == "b" and not site.arrived()[s]]
    counted = {**site.count(mark, subjects), "neighbours": len(waiting)}
    if not struck:
        raise WorkerError(f"{kind}: {action} at {phase} did not strike")
    return {**counted, "about": f"{kind}, {action} at {phase}: {counted['about']}"}


SCENARIOS = {
    "kill": (kill, "kill -9 in a batch of 50"),
    "two": (two_workers, "two processes on one queue"),
    "lanes": (lanes, "two processes, and one who sends at once"),
    "statements": (statements, "a conflict at every statement"),
    "request": (request, "a request that is repeated"),
    "disturbed": (disturbed, "people at work in mid-batch"),
    "fetching": (fetching, "fetching: a conflict, kill -9"),
    "faults": (faults, "SMTP faults, three kinds of server"),
}
#: what native is tried with, unless ``--all`` asks for everything
CHEAP_NATIVELY = ("two", "request")


def play_all(db: str, addon: bool, names: Sequence[str], seed: int, many: bool) -> dict[str, dict]:
    """Play scenarios in a database; return what was counted, by scenario."""
    told = {}
    with contextlib.ExitStack() as stack:
        site = Site(db, addon, stack)
        for name in names:
            play, title = SCENARIOS[name]
            say(f"{title}{'' if addon else ', natively'} ...")
            total: Counter = Counter()
            for counted in play(site, random.Random(f"{seed}{name}"), many):
                about = counted.pop("about", "")
                if addon and any(counted.get(column) for column in COLUMNS):
                    say(f"  {title}, number {total['times'] + 1} {about}: {counted}")
                total.update(counted)
                total["times"] += 1
            told[name] = dict(total)
    return told


def table(told: dict[str, dict[str, dict]]) -> Iterator[str]:
    """Give the lines of the table, native in brackets."""
    yield f"{'':38}{'times':>6}" + "".join(f"{column:>14}" for column in COLUMNS)
    for name in told["addon"]:
        native = told.get("native", {}).get(name)
        cells = []
        for column in COLUMNS:
            cell = str(told["addon"][name].get(column, 0))
            if native and column != "unnamed":
                cell += f" ({native.get(column, 0)})"
            cells.append(f"{cell:>14}")
        yield f"{SCENARIOS[name][1]:38}{told['addon'][name]['times']:>6}" + "".join(cells)
    unsure = told["addon"].get("kill", {}).get("unsure", 0)
    yield f"Killed between the provider's 250 and the commit, that one mail twice: {unsure}"
    if "native" in told:
        yield "(native Odoo in brackets)"


def run(arguments: Sequence[str]) -> int:
    """Play what the arguments choose, print the table; return 1 unless every count is 0."""
    parser = argparse.ArgumentParser(prog="make test-chaos")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--all", action="store_true", help="more of everything, natively too")
    parser.add_argument("--no-native", action="store_true")
    options = parser.parse_args(arguments)
    names = options.only or list(SCENARIOS)
    say(f"seed {options.seed}")
    told = {}
    find_odoo()
    try:
        with database(MODULES) as db:
            told["addon"] = play_all(db, True, names, options.seed, options.all)
        beside = [name for name in names if options.all or name in CHEAP_NATIVELY]
        if beside and not options.no_native:
            with database(MODULES, addon=False) as db:
                told["native"] = play_all(db, False, beside, options.seed, False)
    except WorkerError as error:
        say(f"seed {options.seed}: {error}")
        return 1
    for line in table(told):
        say(line)
    failed = [name for name, total in told["addon"].items() if any(total.get(c) for c in COLUMNS)]
    say(f"Failed: {', '.join(failed)}; seed {options.seed}" if failed else "All 0")
    return 1 if failed else 0
