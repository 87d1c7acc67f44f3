# SPDX-License-Identifier: LGPL-3.0-only
"""SPF as a receiver reads it (RFC 7208), asked one question: may this provider's hosts send?

Which address the provider sends from is not known, so the record is read for the names under which
the provider lists its hosts: ``include:`` or ``redirect=`` to them, at whatever depth, or the same
networks written out.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

#: RFC 7208 4.6.4: what a receiver looks up at most, and how many of that may find nothing
LOOKUP_LIMIT = 10
VOID_LIMIT = 2
#: what is read here at most, so that no hostile record makes this take long
_LOOKED_UP = 3 * LOOKUP_LIMIT
_LONGEST_RECORD = 4096

_MECHANISM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9._-]*)((?:[:/].*)?)", re.DOTALL)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)", re.DOTALL)
_NAME = re.compile(r"(?=.{1,253}$)(?:[A-Za-z0-9_-]{1,63}\.)+[A-Za-z][A-Za-z0-9-]*\.?")
_HOST = re.compile(r"(?::([^/]+))?(?:/(\d{1,2}))?(?://(\d{1,3}))?")
_MECHANISMS = ("all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists")

#: an answer of DNS and its values: see :class:`~.dns_records.Answer`
Lookup = Callable[[str, str], object]


@dataclass(frozen=True)
class Term:
    """A mechanism or a modifier of a record.

    :param text: as it is written
    :param name: of the mechanism, or of the modifier with its ``=``; ``""``: it cannot be read
    :param qualifier: ``+``, ``-``, ``~`` or ``?``
    :param target: the domain it leads to, ``""`` for the record's own
    :param network: of ``ip4`` and ``ip6``
    """

    text: str
    name: str = ""
    qualifier: str = "+"
    target: str = ""
    network: IPv4Network | IPv6Network | None = None

    @property
    def has_macro(self) -> bool:
        """Whether the target depends on the mail (RFC 7208 7)."""
        return "%" in self.target


@dataclass
class SpfReading:
    """What a domain's SPF means for a provider.

    :param texts: the records that are SPF's
    :param terms: of the record, where there is one
    :param problems: (rule, values, whether the provider's mail passes all the same)
    :param passes: whether the provider's hosts may send; None: it cannot be told
    :param lookups: how many DNS look-ups a receiver needs for the whole record
    """

    texts: list[str] = field(default_factory=list)
    terms: tuple[Term, ...] = ()
    problems: list[tuple[str, dict[str, str], bool]] = field(default_factory=list)
    passes: bool | None = None
    lookups: int = 0


def is_spf(text: str) -> bool:
    """Tell whether a TXT record is SPF's (RFC 7208 4.5)."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def parse_spf(text: str) -> tuple[Term, ...]:
    """Read the terms of a record, behind its version; one that cannot be read has no name."""
    return tuple(_term(word) for word in text[:_LONGEST_RECORD].split(" ")[1:] if word)


def _term(text: str) -> Term:
    broken = Term(text)
    modifier = _MODIFIER.fullmatch(text)
    if modifier:
        name, target = modifier[1].lower(), modifier[2]
        if name in _MECHANISMS or (name == "redirect" and not _is_target(target)):
            return broken  # ip4=… would be an unknown modifier, which nobody meant
        return Term(text, f"{name}=", target=target)
    mechanism = _MECHANISM.fullmatch(text)
    if not mechanism or mechanism[2].lower() not in _MECHANISMS:
        return broken
    qualifier, name, rest = mechanism[1] or "+", mechanism[2].lower(), mechanism[3]
    if name == "all":
        return broken if rest else Term(text, name, qualifier)
    if name in ("ip4", "ip6"):
        return _network_term(text, name, qualifier, rest)
    if name in ("include", "exists"):
        target = rest[1:]
        ok = rest.startswith(":") and _is_target(target)
        return Term(text, name, qualifier, target) if ok else broken
    host = _HOST.fullmatch(rest)
    ok = host and (not host[1] or _is_target(host[1])) and int(host[2] or 0) <= 32
    if not ok or int(host[3] or 0) > 128 or (name == "ptr" and (host[2] or host[3])):
        return broken
    return Term(text, name, qualifier, host[1] or "")


def _network_term(text: str, name: str, qualifier: str, rest: str) -> Term:
    try:
        network = ip_network(rest[1:], strict=False) if rest.startswith(":") else None
    except ValueError:
        network = None
    if network is None or network.version != int(name[2]):
        return Term(text)
    return Term(text, name, qualifier, network=network)


def _is_target(text: str) -> bool:
    if "%" in text:
        return bool(re.fullmatch(r"[!-~]+", text))
    return bool(_NAME.fullmatch(text))


def read_spf(domain: str, lookup: Lookup, wanted: Iterable[str] = ()) -> SpfReading:
    """Read a domain's SPF for a provider.

    :param domain: of the envelope sender
    :param lookup: as of :mod:`.dns_records`
    :param wanted: names under which the provider lists its hosts; none: the provider is unknown
    """
    return _Walk(lookup, frozenset(name.lower() for name in wanted)).evaluate(domain)


class _Walk:
    """One evaluation of a record and of those that it leads to, left to right."""

    def __init__(self, lookup: Lookup, wanted: frozenset[str]):
        self.lookup = lookup
        self.wanted = wanted
        self.reading = SpfReading()
        self.networks: list[IPv4Network | IPv6Network] = []
        self.void = 0
        #: whether the provider's hosts are found to pass by what has been read so far
        self.passed = False
        #: whether something cannot be told: a macro, or DNS that did not answer
        self.unknown = False
        self.limits: set[str] = set()

    def evaluate(self, domain: str) -> SpfReading:
        """Read the record of a domain, and those that it leads to."""
        reading = self.reading
        answer = self.lookup(domain, "TXT")
        if answer.failed:
            return reading
        reading.texts = [text for text in map("".join, answer.values) if is_spf(text)]
        if not reading.texts:
            self._problem("spf_like" if self._like(answer) else "spf_none", text=self._like(answer))
        elif len(reading.texts) > 1:
            self._problem("spf_many", count=str(len(reading.texts)))
        else:
            reading.terms = parse_spf(reading.texts[0])
            if not self._is_badly_joined(answer):
                self._follow(domain, reading.terms, (domain,))
                self._end(reading.terms)
        fatal = any(not harmless for _rule, _values, harmless in reading.problems)
        if self.wanted and not fatal:
            passes = self.passed or self._written_out()
            reading.passes = True if passes else None if self.unknown else False
        elif fatal:
            reading.passes = False
        if reading.passes is False and not fatal:
            self._problem("spf_missing", name=next(iter(sorted(self.wanted))))
        return reading

    def _is_badly_joined(self, answer) -> bool:
        """Tell whether the strings of one record lack the spaces between them.

        They are put together as they are (RFC 7208 3.3).
        """
        for strings in answer.values:
            joined, spaced = "".join(strings), " ".join(strings)
            if joined in self.reading.texts and _broken_in(spaced) < _broken_in(joined):
                self._problem("spf_joined", text=" ".join(f'"{part}"' for part in strings))
                self.reading.texts = [spaced]
                return True
        return False

    @staticmethod
    def _like(answer) -> str:
        """Give a record that was meant as SPF and is none."""
        for strings in answer.values:
            text = "".join(strings)
            if re.match(r"\W{0,3}(v\s?[=:]?\s?)?spf(?!2)", text, re.IGNORECASE):
                return text
        return ""

    def _problem(self, rule: str, harmless: bool = False, **values: str) -> None:
        self.reading.problems.append((rule, values, harmless or self.passed))

    # --- walking ---------------------------------------------------------------------------

    def _follow(self, domain: str, terms: tuple[Term, ...], path: tuple[str, ...]) -> str | None:
        """Walk through a record.

        :return: the qualifier that the provider's hosts get, None where they are not met
        """
        broken = " ".join(term.text for term in terms if not term.name)
        if broken and len(path) == 1:
            self._problem("spf_syntax", terms=broken)
        elif broken:
            self._problem("spf_included_broken", name=domain, terms=broken)
        result = None
        for position, term in enumerate(terms):
            if term.name == "all":
                if result is None and term.qualifier == "+" and self.wanted:
                    result = "+"
                if len(path) == 1:
                    self._after_all(terms[position + 1 :], result)
                break
            met = self._term(domain, term, path)
            if met and result is None:
                result = met
                self.passed = self.passed or (len(path) == 1 and met == "+")
                if len(path) == 1 and met != "+":
                    self._problem("spf_qualifier", term=term.text)
        else:
            redirect = next((term for term in terms if term.name == "redirect="), None)
            if redirect:
                met = self._include(redirect.target, redirect, path)
                result = result or met
        if len(path) == 1:
            self.passed = self.passed or result == "+"
        return result

    def _after_all(self, rest: tuple[Term, ...], result: str | None) -> None:
        """Mechanisms behind ``all`` are never read (RFC 7208 5.1)."""
        lost = [term.text for term in rest if term.name in _MECHANISMS]
        if lost:
            harmless = result == "+" or not self.wanted
            self._problem("spf_after_all", harmless, terms=" ".join(lost))

    def _term(self, domain: str, term: Term, path: tuple[str, ...]) -> str | None:
        if term.network is not None:
            if term.qualifier == "+":
                self.networks.append(term.network)
        elif term.name == "include":
            met = self._include(term.target, term, path)
            return term.qualifier if met == "+" else None
        elif term.name in ("a", "mx", "ptr", "exists"):
            self._count()
            if term.name == "exists" or term.has_macro:
                self.unknown = True
            elif term.name != "ptr" and self.reading.lookups <= _LOOKED_UP:
                self._void(self.lookup(term.target or domain, term.name.upper()))
        return None

    def _include(self, target: str, term: Term, path: tuple[str, ...]) -> str | None:
        """Follow ``include:`` or ``redirect=``; give what the provider's hosts get by it."""
        self._count()
        name = target.rstrip(".").lower()
        if term.has_macro:
            self.unknown = True
            return None
        is_provider = name in self.wanted
        if name in path:
            self._problem("spf_loop", term=term.text)
            return None
        if len(path) > LOOKUP_LIMIT or self.reading.lookups > _LOOKED_UP:
            return "+" if is_provider else None
        answer = self.lookup(name, "TXT")
        if answer.failed:
            self.unknown = True
            return "+" if is_provider else None
        texts = [text for text in map("".join, answer.values) if is_spf(text)]
        if len(texts) != 1:
            rule = "spf_include_none" if not texts else "spf_include_many"
            self._problem(rule, term=term.text, name=name)
            return None
        met = self._follow(name, parse_spf(texts[0]), (*path, name))
        return "+" if is_provider else met

    # --- limits ----------------------------------------------------------------------------

    def _count(self) -> None:
        self.reading.lookups += 1
        if self.reading.lookups == LOOKUP_LIMIT + 1:
            self._problem("spf_limit", limit=str(LOOKUP_LIMIT))

    def _void(self, answer) -> None:
        self.unknown = self.unknown or answer.failed
        if not answer.failed and not answer.values:
            self.void += 1
            if self.void == VOID_LIMIT + 1:
                self._problem("spf_void", limit=str(VOID_LIMIT))

    # --- the end ---------------------------------------------------------------------------

    def _end(self, terms: tuple[Term, ...]) -> None:
        """What could be better in the record itself."""
        names = [term.name for term in terms]
        everybody = [term for term in terms if term.name == "all" and term.qualifier == "+"]
        if everybody:
            self._problem("spf_everybody", harmless=True, term=everybody[0].text)
        elif not {"all", "redirect=", ""} & set(names):
            self._problem("spf_no_all", harmless=True)
        if "all" in names and "redirect=" in names:
            self._problem("spf_redirect_unread", harmless=not self.wanted)
        if "ptr" in names:
            self._problem("spf_ptr", harmless=True)

    def _written_out(self) -> bool:
        """Tell whether the record has all networks of the provider without naming it."""
        if not self.networks:
            return False
        for name in sorted(self.wanted):
            theirs = _Walk(self.lookup, frozenset())
            answer = self.lookup(name, "TXT")
            texts = [text for text in map("".join, answer.values) if is_spf(text)]
            if len(texts) == 1:
                theirs._follow(name, parse_spf(texts[0]), (name,))
            self.unknown = self.unknown or answer.failed or theirs.unknown
            if theirs.networks and not theirs.unknown and _covers(self.networks, theirs.networks):
                return True
        return False


def _broken_in(text: str) -> int:
    """Count the terms of a record that cannot be read."""
    return sum(not term.name for term in parse_spf(text))


def _covers(wide, narrow) -> bool:
    """Tell whether networks are all within others."""
    for version in (4, 6):
        own = list(collapse_addresses(n for n in wide if n.version == version))
        for network in (n for n in narrow if n.version == version):
            if not any(network.subnet_of(other) for other in own):
                return False
    return True


def better_spf(texts: Iterable[str], include: str = "", ending: str = "~all") -> str:
    """Write one record of those that there are: what can be read, and the provider's include.

    :param texts: records that are SPF's
    :param include: the name under which the provider lists its hosts, ``""`` where unknown
    :param ending: of a record that has none, or one that lets everybody send
    """
    kept: dict[str, None] = {}
    named = f"include:{include}" if include else ""
    redirects = []
    for text in texts:
        for term in parse_spf(text):
            if term.name == "all":
                ending = term.text if term.qualifier in "-~" else ending
            elif term.name == "redirect=":
                redirects.append(f"include:{term.target}")
            elif term.name and term.name != "ptr" and term.target.lower() != include.lower():
                kept.setdefault(term.text)
    words = dict.fromkeys(["v=spf1", named, *redirects, *kept, ending])
    return " ".join(word for word in words if word)
