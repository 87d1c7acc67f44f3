# SPDX-License-Identifier: LGPL-3.0-only
"""A DNS server on loopback, UDP and TCP, that says what it is told to: for the tests.

Records are lines such as ``b.com TXT "v=spf1 -all"``; several strings are one record of several.
"""

from __future__ import annotations

import shlex
import threading
from collections import defaultdict
from collections.abc import Iterable

from dnslib import AAAA, CNAME, MX, QTYPE, RCODE, RR, TXT, A, DNSError, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSLogger, DNSServer

HOST = "127.0.0.1"
#: RFC 1035 4.2.1: what does not fit is asked for again by TCP
UDP_SIZE = 512


def parse_records(lines: Iterable[str]) -> dict[str, list[tuple[str, object]]]:
    """Read lines of records.

    :return: dict of name -> (type, value): of TXT a tuple of strings, of MX (preference, host),
        of others a text
    """
    zone: dict[str, list[tuple[str, object]]] = defaultdict(list)
    for line in lines:
        name, kind, *words = shlex.split(line)
        value: object = words[0] if words else ""
        if kind == "TXT":
            value = tuple(words)
        elif kind == "MX":
            value = int(words[0]), words[1].rstrip(".")
        zone[name.lower()].append((kind, value))
    return zone


class DnsServer(BaseResolver):
    """Answers from its records, on a port of its own, while it is started.

    :param lines: see :func:`parse_records`
    :ivar questions: (name, type, whether by TCP) of each question
    :ivar silent: names below which nothing is answered; ``""``: nothing at all
    :ivar broken: names below which SERVFAIL is answered
    """

    def __init__(self, lines: Iterable[str] = ()):
        self.records = parse_records(lines)
        self.questions: list[tuple[str, str, bool]] = []
        self.silent: set[str] = set()
        self.broken: set[str] = set()
        self._servers = self._bind()

    def _bind(self) -> list[DNSServer]:
        """Take one port number by both protocols."""
        silent = DNSLogger(logf=lambda _line: None)
        while True:
            tcp = DNSServer(self, HOST, 0, tcp=True, logger=silent)
            try:
                return [DNSServer(self, *tcp.server.server_address, logger=silent), tcp]
            except OSError:  # taken by somebody else's UDP
                tcp.server.server_close()

    @property
    def address(self) -> str:
        """The server as ``address:port``."""
        host, port = self._servers[0].server.server_address
        return f"{host}:{port}"

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
        for name, records in parse_records(lines).items():
            self.records[name] += records

    def replace(self, lines: Iterable[str]) -> None:
        """Have these records and no others."""
        self.records = parse_records(lines)

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Give the reply to a question, as dnslib asks for it."""
        name = str(request.q.qname).rstrip(".").lower()
        kind = QTYPE[request.q.qtype]
        self.questions.append((name, kind, handler.protocol == "tcp"))
        if _is_below(name, self.silent):
            raise DNSError("nothing is answered")
        reply = request.reply()
        if _is_below(name, self.broken):
            reply.header.rcode = RCODE.SERVFAIL
        else:
            self._fill(reply, name, kind)
        if handler.protocol == "udp" and len(reply.pack()) > UDP_SIZE:
            reply = request.reply()
            reply.header.tc = 1
        return reply

    def _fill(self, reply: DNSRecord, name: str, kind: str) -> None:
        """Put the answer into a reply, along aliases."""
        for _step in range(8):
            records = self.records.get(name, [])
            for found, value in records:
                if found == kind:
                    reply.add_answer(RR(name, getattr(QTYPE, kind), rdata=_rdata(kind, value)))
            alias = next((value for found, value in records if found == "CNAME"), None)
            if alias is None or kind == "CNAME":
                break
            reply.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME(alias)))
            name = str(alias).lower()
        exists = any(other == name or other.endswith(f".{name}") for other in self.records)
        if not exists:
            reply.header.rcode = RCODE.NXDOMAIN


def _is_below(name: str, parents: set[str]) -> bool:
    return any(not p or name == p or name.endswith(f".{p}") for p in parents)


def _rdata(kind: str, value):
    """Make what dnslib packs of a value."""
    if kind == "TXT":
        return TXT([part.encode() for part in value])
    if kind == "MX":
        return MX(value[1], value[0])
    return {"A": A, "AAAA": AAAA, "CNAME": CNAME}[kind](value)
