# SPDX-License-Identifier: LGPL-3.0-only
"""Asks DNS what the check-up wants to know, within a time."""

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from ..discovery import NoAnswer, NoSuchName, Resolver
from ..routing import Answer

#: seconds that all questions about one domain may take together
TIMEOUT = 2
#: seconds for all domains; those that are left then get no answer
TOTAL_TIMEOUT = 20
#: a name that every DNS server of the internet knows
KNOWN_NAME = "com."
#: questions about one domain at once, and domains at once
AT_ONCE = 8


class DnsLookup:
    """The questions about one domain, which together have :data:`TIMEOUT` seconds.

    Each name and type is asked for once. Called as :data:`~..routing.dns_records.Lookup` asks.

    :param server: the DNS server as ``address`` or ``address:port``; ``""``: the system's own
    :param until: time by the monotonic clock after which nothing is asked any more
    """

    def __init__(self, server: str = "", until: float = math.inf):
        self._deadline = min(time.monotonic() + TIMEOUT, until)
        self._answers: dict[tuple[str, str], Answer] = {}
        self._resolver = Resolver(_address(server))
        self._internet: bool | None = None
        #: whether DNS answers, but not for the internet: "there is no such name" means nothing then
        self.cut_off: bool = False

    def __call__(self, name: str, kind: str) -> Answer:
        key = name.rstrip(".").lower(), kind
        if key not in self._answers:
            self._answers[key] = self._ask(*key)
        return self._answers[key]

    @property
    def answered(self) -> bool:
        """Whether DNS has answered any question."""
        return any(not answer.failed for answer in self._answers.values())

    def prefetch(self, questions: Iterable[tuple[str, str]]) -> None:
        """Ask several questions at once, whose answers are wanted in any case."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _answer in pool.map(lambda question: self(*question), questions):
                pass

    def _ask(self, name: str, kind: str) -> Answer:
        try:
            return Answer(self._resolver.ask(name, kind, self._deadline - time.monotonic()))
        except NoSuchName:
            self.cut_off = self.cut_off or not self._knows_internet()
            return Answer(failed=True) if self.cut_off else Answer(exists=False)
        except NoAnswer:
            return Answer(failed=True)

    def _knows_internet(self) -> bool:
        """Ask for a name that surely exists; asked only where another one is said not to."""
        if self._internet is None:
            try:
                self._resolver.ask(KNOWN_NAME, "A", max(self._deadline - time.monotonic(), 0.1))
                self._internet = True
            except NoSuchName:
                self._internet = False
            except NoAnswer:  # nothing speaks against it
                self._internet = True
        return self._internet


def look_up_each(work: Callable, items: Iterable) -> list:
    """Do work that asks DNS for each of several domains at once, and give the results.

    :param work: function of one item; it runs in a thread, so it has no use for Odoo's environment
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


def _address(server: str) -> tuple[str, int] | None:
    """Read ``address`` or ``address:port``; None for ``""``. An IPv6 address has no port here."""
    host, _colon, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "")
    return (host or server, int(port) if port.isdigit() else 53) if server else None
