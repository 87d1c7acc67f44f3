# SPDX-License-Identifier: LGPL-3.0-only
"""Asks DNS, where the package dnspython is installed; Odoo comes without it."""

try:
    import dns.exception
    import dns.name
    import dns.rdatatype
    import dns.resolver
except ImportError:
    dns = None

#: seconds that one server has to answer, so that time is left for the next one
SERVER_SECONDS = 1.0


class NoAnswer(Exception):
    """There was no answer in time, or none that can be read."""


class NoSuchName(Exception):
    """There are no records at all under a name (NXDOMAIN)."""


def can_look_up() -> bool:
    """Tell whether DNS can be asked at all: whether dnspython, version 2 or newer, is there."""
    return dns is not None and hasattr(dns.resolver.Resolver, "resolve")


class Resolver:
    """Asks one DNS server, or those of the system. Threads may share it.

    :param server: (IP address, port) of the one to ask; None: the system's
    """

    def __init__(self, server: tuple[str, int] | None = None):
        self._resolver = None
        if not can_look_up():
            return
        try:
            self._resolver = dns.resolver.Resolver(configure=server is None)
        except dns.exception.DNSException:  # no resolv.conf, or none that can be read
            return
        if server:
            self._resolver.nameservers, self._resolver.port = [server[0]], server[1]
        self._resolver.timeout = SERVER_SECONDS
        self._resolver.cache = None

    def ask(self, name: str, kind: str, seconds: float) -> tuple:
        """Ask for the records of a name.

        :param kind: ``A``, ``AAAA``, ``CNAME``, ``MX``, ``SRV`` or ``TXT``
        :param seconds: that all servers together have
        :return: an address; a host; (preference, host); (priority, weight, port, host); or the
            strings of the text, of each. Hosts are in lower case, without the dot at the end.
            Empty where the name has other records only
        :raises NoSuchName: it has none
        :raises NoAnswer: there is no answer, or nobody to ask
        """
        if self._resolver is None or seconds <= 0:
            raise NoAnswer(name)
        try:
            answer = self._resolver.resolve(
                dns.name.from_text(name), kind, lifetime=seconds, search=False
            )
            return tuple(map(_value, answer))
        except dns.resolver.NXDOMAIN as error:
            raise NoSuchName(name) from error
        except dns.resolver.NoAnswer:
            return ()
        # a hostile answer may raise any of these; so may a name that is none
        except (dns.exception.DNSException, OSError, ValueError, EOFError) as error:
            raise NoAnswer(name) from error


def _value(record):
    """Give a record as :meth:`Resolver.ask` does."""
    if record.rdtype == dns.rdatatype.TXT:
        return tuple(part.decode("utf-8", "replace") for part in record.strings)
    if record.rdtype == dns.rdatatype.MX:
        return record.preference, _host(record.exchange)
    if record.rdtype == dns.rdatatype.SRV:
        return record.priority, record.weight, record.port, _host(record.target)
    if record.rdtype == dns.rdatatype.CNAME:
        return _host(record.target)
    return record.address


def _host(name) -> str:
    return name.to_text(omit_final_dot=True).rstrip(".").lower()
