# SPDX-License-Identifier: LGPL-3.0-only
"""A small Internet on loopback: names, mail exchangers and web sites, as a search meets them."""

import http.server
import ssl
import threading
from contextlib import suppress

import trustme
from dnslib import MX, QTYPE, RR, SRV, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer

HOST = "127.0.0.1"


def config(host, *, incoming=None, port=465, encryption="SSL", name="A provider", extra=""):
    """Write a ``config-v1.1.xml``."""
    incoming = incoming or host.replace("smtp", "imap", 1)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1"><emailProvider id="example">{extra}
  <displayName>{name}</displayName>
  <incomingServer type="imap"><hostname>{incoming}</hostname><port>993</port>
    <socketType>SSL</socketType><username>%EMAILADDRESS%</username>
    <authentication>password-cleartext</authentication></incomingServer>
  <outgoingServer type="smtp"><hostname>{host}</hostname><port>{port}</port>
    <socketType>{encryption}</socketType><username>%EMAILADDRESS%</username>
    <authentication>password-cleartext</authentication></outgoingServer>
</emailProvider></clientConfig>""".encode()


class Internet:
    """What the tests' network consists of.

    ``mx``: domain -> list of (preference, host); ``srv``: name -> (priority, port, target);
    ``addresses``: host -> list of IP addresses, of which each question takes the next list if they
    are lists of lists; ``sites``: (host, path) -> bytes, or (status, headers, bytes), or a function
    of the request's handler.
    """

    def __init__(self):
        self.clear()

    def clear(self):
        """Forget everything that a test has laid out."""
        self.mx, self.srv, self.addresses, self.sites = {}, {}, {}, {}
        self.asked = []  # (name, type) of each question
        self.visits = []  # (host, path) of each request
        self.connections = 0

    def __enter__(self):
        self._ca = trustme.CA()
        self._contexts = {}
        self._dns = DNSServer(
            _Resolver(self), address=HOST, port=0, logger=DNSLogger(logf=lambda _line: None)
        )
        self._web = _Web(self)
        for server in (self._dns.server, self._web):
            # asked often whether they are to stop, else each takes half a second
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self._pem = self._ca.cert_pem.tempfile()
        self.ca = self._pem.__enter__()
        return self

    def __exit__(self, *_exc):
        self._dns.stop()
        self._dns.server.server_close()
        self._web.shutdown()
        self._web.server_close()
        self._pem.__exit__(None, None, None)

    def way_in(self, **values):
        """Give what a ``discovery.Network`` is made of, to be in it."""
        return {
            "nameserver": self._dns.server.server_address,
            "ca": self.ca,
            "https_port": self._web.server_address[1],
            "loopback": True,
            **values,
        }

    def site(self, host, path, answer):
        """Put a page on a host that answers on loopback."""
        self.addresses.setdefault(host, [HOST])
        self.sites[host, path] = answer

    def context(self, host):
        """Give the TLS context of a host, with a certificate of its own."""
        if host not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._ca.issue_cert(host).configure_cert(context)
            self._contexts[host] = context
        return self._contexts[host]


class _Resolver(BaseResolver):
    def __init__(self, world):
        self.world = world

    def resolve(self, request, handler):
        world, reply = self.world, request.reply()
        name, kind = str(request.q.qname).rstrip(".").lower(), QTYPE[request.q.qtype]
        world.asked.append((name, kind))
        records = []
        if kind == "MX":
            records = [MX(host, preference) for preference, host in world.mx.get(name, ())]
        elif kind == "SRV" and name in world.srv:
            priority, port, target = world.srv[name]
            records = [SRV(priority, 0, port, target)]
        elif kind == "A":
            found = world.addresses.get(name, ())
            if found and not isinstance(found[0], str):
                found = found.pop(0) if len(found) > 1 else found[0]
            records = [A(address) for address in found]
        for record in records:
            reply.add_answer(RR(request.q.qname, getattr(QTYPE, kind), rdata=record, ttl=0))
        return reply


class _Web(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, world):
        super().__init__((HOST, 0), _Handler)
        self.world = world
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self._choose

    def _choose(self, connection, host, _context):
        if host is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = self.world.context(self.world.addresses.get(f"cert:{host}", host))
        return None

    def get_request(self):
        connection, address = super().get_request()
        self.world.connections += 1
        return connection, address

    def finish_request(self, request, address):
        with suppress(OSError):
            request.settimeout(10)
            with self.context.wrap_socket(request, server_side=True) as secure:
                self.RequestHandlerClass(secure, address, self)

    def handle_error(self, request, address):
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        world, host = self.server.world, self.headers["Host"]
        world.visits.append((host, self.path))
        answer = world.sites.get((host, self.path), (404, {}, b""))
        if callable(answer):
            answer(self)
            return
        status, headers, body = answer if isinstance(answer, tuple) else (200, {}, answer)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
