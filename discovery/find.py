# SPDX-License-Identifier: LGPL-3.0-only
"""Ask all sources at once; the first answer in Thunderbird's order counts."""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import ispdb
from .autoconfig import LARGEST, NotAutoconfig, read_autoconfig
from .network import Elsewhere, Network, Nothing
from .servers import MailServer, Servers, is_domain_of, is_host

#: that a search takes at most
SECONDS = 2.0


@dataclass(frozen=True)
class Preset:
    """A provider that the caller knows already.

    :param key: anything; it comes back in what is found
    :param hosts: all its hosts
    :param domains: in which everybody can have a mailbox there
    :param has_mx: tells of a host that takes mail whether it is one of the provider's
    """

    key: object
    hosts: Collection[str] = ()
    domains: Collection[str] = ()
    has_mx: Callable[[str], bool] = lambda _host: False


@dataclass(frozen=True)
class Found:
    """What is known of an address, and who says so.

    :param source: ``domain`` (the provider's own, of which everybody may have a mailbox),
        ``autoconfig``, ``well_known``, ``ispdb``, ``mx``, ``ispdb_mx``, ``srv``
    :param where: the name that was asked
    :param preset: key of the preset that it is; None: none of them
    :param servers: what to use where it is no preset
    :param public: whether everybody can have a mailbox in the address's domain
    """

    source: str
    where: str
    preset: object = None
    servers: Servers | None = None
    public: bool = False


@dataclass(frozen=True)
class Refused:
    """An answer that was refused.

    :param why: ``inside``, ``insecure``, ``hostile``, or ``foreign``: records without a proof that
        name a host of somebody else's
    """

    source: str
    where: str
    why: str


@dataclass(frozen=True)
class Finding:
    """What a search found.

    :param found: the first in order, None: nothing
    :param asked_dns: whether MX and SRV records could be asked for
    """

    domain: str
    found: Found | None = None
    refused: tuple[Refused, ...] = ()
    asked_dns: bool = False


def find(
    address: str,
    presets: Iterable[Preset] = (),
    network: Network | None = None,
    file: Path = ispdb.FILE,
) -> Finding:
    """Find the servers of an address.

    :param address: an e-mail address whose domain is ASCII
    :param network: the way out; None: only what is known here is asked
    :param file: Thunderbird's database
    :return: in at most :data:`SECONDS`, or so
    """
    domain = address.rpartition("@")[2].strip().rstrip(".").lower()
    if not is_host(domain):
        return Finding(domain)
    search = _Search(domain, list(presets), network, ispdb.load(file))
    return search.run()


@dataclass
class _Search:
    domain: str
    presets: list
    network: Network | None
    known: dict
    refused: list = field(default_factory=list)

    def run(self):
        found = self._by_domain()
        if found or not self.network:
            return self._finding(found or self._in_database())
        network = replace(self.network, deadline=time.monotonic() + SECONDS, _open=set())
        self.network = network
        autoconfig = f"autoconfig.{self.domain}"
        questions = [
            _Question(
                self._by_web, "autoconfig", autoconfig, f"https://{autoconfig}/mail/config-v1.1.xml"
            ),
            _Question(
                self._by_web,
                "well_known",
                self.domain,
                f"https://{self.domain}/.well-known/autoconfig/mail/config-v1.1.xml",
            ),
            _Question(self._in_database),
            _Question(self._by_exchanger),
            _Question(self._by_service),
        ]
        try:
            for question in questions:
                found = question.answer(network.deadline)
                if found:
                    break
        finally:
            network.close()
        return self._finding(found)

    def _finding(self, found):
        asked = bool(self.network and self.network.has_dns)
        return Finding(self.domain, found, tuple(self.refused), asked)

    # --- what is known here ------------------------------------------------------------------

    def _by_domain(self):
        for preset in self.presets:
            if self.domain in preset.domains:
                return Found("domain", self.domain, preset=preset.key, public=True)
        return None

    def _in_database(self):
        servers = self.known.get(self.domain)
        if not servers:
            return None
        return self._as_preset(Found("ispdb", self.domain, servers=servers, public=True))

    # --- what others say ---------------------------------------------------------------------

    def _by_web(self, source, where, url):
        """Read a configuration file of the domain; the certificate proves that it is its own."""
        try:
            servers = read_autoconfig(self.network.get(url, LARGEST), self.domain)
        except Elsewhere as error:
            self._refuse(source, where, error.why)
        except NotAutoconfig as error:
            if error.hostile:
                self._refuse(source, where, "hostile")
        except Nothing:
            return None
        else:
            return self._checked(Found(source, where, servers=servers))
        return None

    def _by_exchanger(self):
        """Find the provider by the domain's mail exchangers of the best preference.

        They are no proof, but can only choose among known providers.
        """
        exchangers = sorted(self.network.records(self.domain, "MX"))
        first = [host for preference, host in exchangers if preference == exchangers[0][0]]
        for preset in self.presets:
            if first and all(map(preset.has_mx, first)):
                return Found("mx", self.domain, preset=preset.key)
        hosters = {self._hoster(host) for host in first}
        if len(hosters) == 1 and (servers := hosters.pop()):
            return self._as_preset(Found("ispdb_mx", self.domain, servers=servers))
        return None

    def _hoster(self, host):
        """Give the servers that the database has for the owner of a mail exchanger, or None."""
        if is_domain_of(host, self.domain):
            return None  # its own, of which nobody else knows more
        for parent in ispdb.parents(host):
            if any(parent in preset.domains for preset in self.presets):
                return None  # that preset knows its customers' exchangers, and this is none
            if parent in self.known:
                return self.known[parent]
        return None

    def _by_service(self):
        """Take what the domain announces as its services (RFC 6186, RFC 8314 5.1).

        Nothing proves such a record. So a host is only accepted in the domain itself, where its
        certificate will prove it, or as a preset's (RFC 6186 6).
        """
        smtp = self._service("_submissions", "ssl") or self._service("_submission", "starttls")
        if not smtp:
            return None
        for preset in self.presets:
            if smtp.host in preset.hosts:
                return Found("srv", self.domain, preset=preset.key)
        servers = Servers(
            smtp=smtp, imap=self._service("_imaps", "ssl"), pop=self._service("_pop3s", "ssl")
        )
        if not all(is_domain_of(server.host, self.domain) for server in servers.all()):
            self._refuse("srv", self.domain, "foreign")
            return None
        return self._checked(Found("srv", self.domain, servers=servers))

    def _service(self, service, encryption):
        """Give the server of a service that comes first (RFC 2782); None: there is none."""
        records = self.network.records(f"{service}._tcp.{self.domain}", "SRV")
        for _order, port, host in sorted(
            ((priority, -weight), port, host) for priority, weight, port, host in records
        ):
            if is_host(host) and port:
                return MailServer(host, port, encryption)
        return None

    def _as_preset(self, found):
        """Give what was found as the preset that it is.

        One that takes OAuth alone is no use by itself: there one host in common is enough.
        """
        smtp = found.servers.smtp
        hosts = [server.host for server in found.servers.all()] if smtp.oauth else [smtp.host]
        for preset in self.presets:
            if any(host in preset.hosts for host in hosts):
                return replace(found, preset=preset.key)
        return found

    def _checked(self, found):
        """Give what was found, where none of its hosts leads inside."""
        found = self._as_preset(found)
        for server in [] if found.preset else found.servers.all():
            try:
                self.network.addresses(server.host)
            except Elsewhere as error:
                self._refuse(found.source, found.where, error.why)
                return None
            except Nothing:
                continue  # the trial will say so
        return found

    def _refuse(self, source, where, why):
        self.refused.append(Refused(source, where, why))


class _Question:
    """A question that is asked in parallel with the others.

    Nobody waits for its thread: an answer after the deadline is ignored.
    """

    def __init__(self, ask, *arguments):
        self._ask = ask
        self._arguments = arguments
        self._found = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._found = self._ask(*self._arguments)
        except (OSError, ValueError):  # no time is left, or a record that nobody can read
            self._found = None

    def answer(self, deadline):
        """Give what was found, once it is there; None after the deadline."""
        self._thread.join(max(deadline - time.monotonic(), 0))
        return self._found
