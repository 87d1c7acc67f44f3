# SPDX-License-Identifier: LGPL-3.0-only
"""A DNS server on loopback, UDP and TCP, that says what it is told to: for the tests.

Records are lines of a zone file, such as ``b.com TXT "v=spf1 -all"``.
"""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from collections.abc import Iterable

from dnslib import QTYPE, RCODE, RR, DNSError, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

HOST = "127.0.0.1"
#: RFC 1035 4.2.1: what does not fit is asked for again by TCP
UDP_SIZE = 512

_parse = functools.cache(RR.fromZone)


class Zone:
    """Records by name."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._records: dict[str, list[RR]] = defaultdict(list)
        self.add(*lines)

    def add(self, *lines: str) -> None:
        """Add records."""
        for line in lines:
            for record in _parse(line):
                self._records[_text(record.rname)].append(record)

    def find(self, name: str, kind: str) -> list[RR] | None:
        """Return the records of a type, and the aliases that lead to them.

        :return: None where the name does not exist
        """
        found: list[RR] = []
        for _step in range(8):
            records = self._records.get(name, [])
            found += [record for record in records if QTYPE[record.rtype] == kind]
            aliases = [record for record in records if record.rtype == QTYPE.CNAME]
            if not aliases or kind == "CNAME":
                break
            found += aliases
            name = _text(aliases[0].rdata.label)
        exists = any(other == name or other.endswith(f".{name}") for other in self._records)
        return found if exists else None


class DnsServer(BaseResolver):
    """Answers from its records, on a port of its own, while it is started.

    :ivar questions: (name, type, whether by TCP) of each question
    :ivar silent: names below which nothing is answered; ``""``: nothing at all
    :ivar broken: names below which SERVFAIL is answered
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.replace(lines)
        self.questions: list[tuple[str, str, bool]] = []
        self.silent: set[str] = set()
        self.broken: set[str] = set()
        self._servers = self._bind()
        #: The server as ``address:port``
        self.address = "{}:{}".format(*self._servers[0].server.server_address)

    def _bind(self) -> list[DNSServer]:
        """Take one port number by both protocols."""
        silent = DNSLogger(logf=lambda _line: None)
        while True:
            tcp = DNSServer(self, HOST, 0, tcp=True, logger=silent)
            try:
                return [DNSServer(self, *tcp.server.server_address, logger=silent), tcp]
            except OSError:  # taken by somebody else's UDP
                tcp.server.server_close()

    def start(self) -> DnsServer:
        """Serve, until :meth:`stop`."""
        for server in self._servers:
            # not by its start_thread: that one takes half a second to stop
            serve = server.server.serve_forever
            threading.Thread(target=serve, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the ports."""
        for server in self._servers:
            server.stop()
            server.server.server_close()

    def __enter__(self) -> DnsServer:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def add(self, *lines: str) -> None:
        """Add records."""
        self.zone.add(*lines)

    def replace(self, lines: Iterable[str]) -> None:
        """Have these records and no others."""
        self.zone = Zone(lines)

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Give the reply to a question, as dnslib asks for it."""
        name, kind = _text(request.q.qname), QTYPE[request.q.qtype]
        self.questions.append((name, kind, handler.protocol == "tcp"))
        if _is_below(name, self.silent):
            raise DNSError("nothing is answered")
        reply = request.reply()
        found = self.zone.find(name, kind)
        if _is_below(name, self.broken):
            reply.header.rcode = RCODE.SERVFAIL
        elif found is None:
            reply.header.rcode = RCODE.NXDOMAIN
        else:
            reply.add_answer(*found)
        if handler.protocol == "udp" and len(reply.pack()) > UDP_SIZE:
            # not by dnslib's udplen, which leaves the question out
            reply = request.reply()
            reply.header.tc = 1
        return reply


def _text(label: object) -> str:
    return str(label).rstrip(".").lower()


def _is_below(name: str, parents: set[str]) -> bool:
    return any(not p or name == p or name.endswith(f".{p}") for p in parents)
