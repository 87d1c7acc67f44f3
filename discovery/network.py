# SPDX-License-Identifier: LGPL-3.0-only
"""Access to the network: names, HTTPS and TLS, but nothing on the inner network.

When a user types an address, Odoo asks hosts that the address's domain names. None of them may lead
to a machine of Odoo's own network. So each IP address is checked, and the connection is made to
that very address, even if the name has another one a moment later (DNS rebinding).
"""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import requests

from .resolver import NoAnswer, NoSuchName, Resolver, can_look_up

#: how many redirects are followed
MOST_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215


class Elsewhere(Exception):
    """A name, or a redirect, leads to where it must not be followed.

    :param why: ``inside``: to an address that is not of the public Internet; ``insecure``: away
        from HTTPS
    """

    def __init__(self, host, why):
        super().__init__(f"{host}: {why}")
        self.host = host
        self.why = why


class Nothing(Exception):
    """There is no answer, or none of use."""


def is_inside(address: str) -> bool:
    """Tell whether an IP address is not of the public Internet, or carries one that is not."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 6:
        if ip.ipv4_mapped:
            return is_inside(str(ip.ipv4_mapped))
        carried = [one for one in (ip.sixtofour, *(ip.teredo or ())) if one]
        if ip in _NAT64:
            carried.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(is_inside(str(one)) for one in carried):
            return True
        # not all of them are known to every Python as such
        if ip.is_site_local or ip in _NAT64_LOCAL or int(ip) >> 32 == 0:
            return True
    return not ip.is_global or ip.is_multicast


def tls_context(ca: str | None = None) -> ssl.SSLContext:
    """Give a TLS context that verifies certificate and name.

    :param ca: file of the authorities to trust; None: the system's, and those of ``requests``
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        with suppress(OSError, ssl.SSLError):
            context.load_verify_locations(requests.certs.where())
    return context


@dataclass
class Network:
    """The network as one search sees it, until a deadline.

    The arguments are for tests: the code that serves users passes none.

    :param nameserver: (IP address, port) that every name is asked of; None: the system's
    :param ca: file of the authorities that are trusted; None: the system's
    :param https_port: that of all HTTPS
    :param loopback: whether 127.0.0.1 may be connected to
    """

    nameserver: tuple[str, int] | None = None
    ca: str | None = None
    https_port: int = 443
    loopback: bool = False
    deadline: float = float("inf")
    _open: set = field(default_factory=set, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _closed: bool = False

    def left(self) -> float:
        """Give the seconds that are left.

        :raises TimeoutError: none are
        """
        seconds = min(self.deadline - time.monotonic(), 60)
        if seconds <= 0:
            raise TimeoutError("no time is left")
        return seconds

    def close(self) -> None:
        """Hang up everywhere: what is still waiting ends at once."""
        with self._lock:
            self._closed = True
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    # --- DNS ---------------------------------------------------------------------------------

    @property
    def has_dns(self) -> bool:
        """Tell whether records can be asked for: the package dnspython is there."""
        return can_look_up()

    def records(self, name: str, kind: str) -> Sequence:
        """Ask for the records of a name.

        :param name: in ASCII
        :param kind: ``MX``, ``SRV``, ``A`` or ``AAAA``
        :return: as :meth:`.resolver.Resolver.ask` gives them; empty where there are none, nobody
            answers, or dnspython is missing
        """
        try:
            return Resolver(self.nameserver).ask(name, kind, self.left())
        except (NoSuchName, NoAnswer, TimeoutError):
            return ()

    def addresses(self, host: str) -> Sequence[str]:
        """Give the IP addresses of a host, all of them outside.

        :raises Elsewhere: one is inside
        :raises Nothing: there are none
        """
        try:
            found = [str(ipaddress.ip_address(host.strip("[]")))]
        except ValueError:
            found = self._look_up(host)
        if not found:
            raise Nothing(f"{host} has no address")
        for address in found:
            if is_inside(address) and not (self.loopback and address == "127.0.0.1"):
                raise Elsewhere(host, "inside")
        return found

    def _look_up(self, host):
        if self.nameserver:
            return [*self.records(host, "A"), *self.records(host, "AAAA")]
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return []
        return list(dict.fromkeys(address[0] for *_rest, address in found))

    # --- HTTPS -------------------------------------------------------------------------------

    def get(self, url: str, largest: int) -> bytes:
        """Get what is at an address, over HTTPS whose certificate is verified.

        Redirects are followed to HTTPS alone, and never inside. No proxy, no cookie, no
        credentials.

        :param largest: bytes; one more is read, to tell that there are too many
        :raises Elsewhere: it leads away
        :raises Nothing: it is not there, or not in time
        """
        for _redirect in range(MOST_REDIRECTS + 1):
            status, headers, body = self._get_once(url, largest)
            if status == 200:
                return body
            location = headers.get("Location")
            if status not in _REDIRECTS or not location:
                raise Nothing(f"{url}: {status}")
            url = urljoin(url, location)
        raise Nothing("too many redirects")

    def _get_once(self, url, largest):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise Nothing(url) from error
        if parts.scheme != "https" or port not in (None, 443) or not host:
            raise Elsewhere(host or url, "insecure")
        path = parts.path or "/"
        if parts.query:
            path += f"?{parts.query}"
        connection = None
        try:
            connection = self._connect(host)
            client = http.client.HTTPConnection(host)
            client.sock = connection
            client.request("GET", path, headers={"User-Agent": "Odoo", "Accept": "*/*"})
            response = client.getresponse()
            return response.status, response.headers, self._read(response, connection, largest)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Nothing(f"{url}: {error}") from error
        finally:
            if connection:
                self._forget(connection)

    def _connect(self, host):
        """Connect to a host over verified TLS, at the very IP address that was checked."""
        trouble = None
        for address in self.addresses(host):
            try:
                plain = socket.create_connection((address, self.https_port), self.left())
            except OSError as error:
                trouble = error
                continue
            self._remember(plain)
            try:
                secure = tls_context(self.ca).wrap_socket(plain, server_hostname=host)
            except OSError:
                self._forget(plain)
                raise
            with self._lock:
                self._open.discard(plain)
            self._remember(secure)
            return secure
        raise trouble or Nothing(host)

    def _read(self, response, connection, largest):
        body = b""
        while len(body) <= largest:
            connection.settimeout(self.left())
            chunk = response.read1(largest + 1 - len(body))
            if not chunk:
                break
            body += chunk
        return body

    def _remember(self, connection):
        with self._lock:
            self._open.add(connection)
            if self._closed:
                raise TimeoutError("no time is left")

    def _forget(self, connection):
        with self._lock:
            self._open.discard(connection)
        connection.close()
