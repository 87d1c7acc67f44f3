# SPDX-License-Identifier: LGPL-3.0-only
"""Asks DNS, where the package dnspython is installed; Odoo does without it elsewhere."""

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from ..routing import Answer

try:
    import dns.exception
    import dns.name
    import dns.rdatatype
    import dns.resolver
except ImportError:  # then nobody can look, and the check-up says so
    dns = None

#: seconds that all questions about one domain may take together
TIMEOUT = 2
#: seconds for all domains; those that are left then get no answer
TOTAL_TIMEOUT = 20
#: a name that whoever knows the internet knows
KNOWN_NAME = "com."
#: questions about one domain at once, and domains at once
AT_ONCE = 8


def can_look_up() -> bool:
    """Tell whether DNS can be asked at all: whether dnspython, version 2 or newer, is there."""
    return dns is not None and hasattr(dns.resolver.Resolver, "resolve")


class DnsLookup:
    """The questions about one domain, which together have :data:`TIMEOUT` seconds.

    Each name and type is asked for once. Called as :data:`~..routing.dns_records.Lookup` asks.

    :param server: the DNS server as ``address`` or ``address:port``; ``""``: the system's own
    :param until: time by the monotonic clock after which nothing is asked any more
    """

    def __init__(self, server: str = "", until: float = math.inf):
        self._deadline = min(time.monotonic() + TIMEOUT, until)
        self._answers: dict[tuple[str, str], Answer] = {}
        self._resolver = _resolver(server)
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
        left = self._deadline - time.monotonic()
        if left <= 0 or self._resolver is None:
            return Answer(failed=True)
        try:
            answer = self._resolver.resolve(
                dns.name.from_text(name), kind, lifetime=left, search=False
            )
            return Answer(tuple(map(_value, answer)))
        except dns.resolver.NXDOMAIN:
            self.cut_off = self.cut_off or not self._knows_internet()
            return Answer(failed=True) if self.cut_off else Answer(exists=False)
        except dns.resolver.NoAnswer:
            return Answer()
        # what a server can make a library do is not known; a name may be none at all
        except (dns.exception.DNSException, OSError, ValueError, EOFError):
            return Answer(failed=True)

    def _knows_internet(self) -> bool:
        """Ask for a name that surely exists; asked only where another one is said not to."""
        if self._internet is None:
            try:
                self._resolver.resolve(
                    KNOWN_NAME,
                    "SOA",
                    lifetime=max(self._deadline - time.monotonic(), 0.1),
                    search=False,
                    raise_on_no_answer=False,
                )
                self._internet = True
            except dns.resolver.NXDOMAIN:
                self._internet = False
            except (dns.exception.DNSException, OSError):  # nothing speaks against it
                self._internet = True
        return self._internet


def look_up_each(work: Callable, items: Iterable) -> list:
    """Do work that asks DNS for each of several domains at once, and give the results.

    :param work: function of one item; it runs in a thread, so it has no use for Odoo's environment
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


def _resolver(server: str):
    """Make the resolver of dnspython; None where the system has no DNS server."""
    try:
        resolver = dns.resolver.Resolver(configure=not server)
    except dns.exception.DNSException:  # no resolv.conf, or none that can be read
        return None
    if server:
        host, _colon, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "")
        resolver.nameservers = [host or server]
        resolver.port = int(port) if port.isdigit() else 53
    # one server that does not answer shall leave time for the next one
    resolver.timeout = TIMEOUT / 2
    resolver.cache = None
    return resolver


def _value(record):
    """Give a record as :class:`Answer` has it."""
    if record.rdtype == dns.rdatatype.TXT:
        return tuple(part.decode("utf-8", "replace") for part in record.strings)
    if record.rdtype == dns.rdatatype.MX:
        return record.preference, _host(record.exchange)
    if record.rdtype == dns.rdatatype.CNAME:
        return _host(record.target)
    return record.address


def _host(name) -> str:
    return name.to_text(omit_final_dot=True).rstrip(".").lower()
