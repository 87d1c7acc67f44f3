# SPDX-License-Identifier: LGPL-3.0-only
"""What the receiving server found of a mail's SPF, DKIM and DMARC (RFC 8601).

It writes the result into the header Authentication-Results, with its own name. Anybody can write
such a header, so only those of the mailbox's own provider count, and of these the topmost (RFC 8601
5).
"""

import re
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import compat32

from .dns_providers import DnsProvider, is_below
from .dns_records import organisational_domain


def _(sentence: str) -> str:
    """Mark a sentence for the extraction of translatable terms."""
    return sentence


#: what is read of a mail's headers, and of one header
_LONGEST_HEADERS = 200_000
_LONGEST_HEADER = 8_192
#: the methods that matter to recipients, as people write them
METHODS = {"spf": "SPF", "dkim": "DKIM", "dmarc": "DMARC"}
#: results that make recipients distrust a mail (RFC 8601 2.7; hardfail is an old word for fail)
_BAD = frozenset({"fail", "softfail", "permerror", "hardfail"})
_METHOD = re.compile(r"\s*([a-z][a-z0-9_-]*)(?:\s*/\s*\d+)?\s*=\s*([a-z]+)", re.IGNORECASE)
_AUTHSERV = re.compile(r"\s*([^\s;=]+)(?:\s+\d+)?\s*")

FOUND = _("%(server)s checked the mail that came back: %(results)s.")
FOUND_BAD = _(
    "%(server)s checked the mail that came back: %(results)s. Recipients may take such mail for"
    " spam: 'Look Up DNS Records' in the Mail Check-up says what to enter."
)


@dataclass(frozen=True)
class Authentication:
    """What a provider found.

    :param server: the name that it gave itself, else its own in English
    :param results: method -> result, both in lower case; the methods of :data:`METHODS`
    """

    server: str
    results: dict[str, str] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        """Whether recipients will distrust such a mail."""
        return any(result in _BAD for result in self.results.values())

    def sentence(self, translate=lambda text: text) -> str:
        """Say what was found; ``""`` where nothing was checked.

        A mail to oneself need not leave its provider, who then finds ``none``.
        """
        if set(self.results.values()) <= {"none"}:
            return ""
        results = ", ".join(
            f"{word} {self.results[method]}"
            for method, word in METHODS.items()
            if method in self.results
        )
        values = {"server": self.server, "results": results}
        return translate(FOUND_BAD if self.is_bad else FOUND) % values


def read_authentication(
    headers: bytes, host: str, provider: DnsProvider | None = None
) -> Authentication | None:
    """Read what the provider of a mailbox found of a mail that was fetched from it.

    :param headers: those of the mail, as they were fetched
    :param host: where it was fetched; a name in the same registered domain is the provider's
    :param provider: whose mailbox it is, where that is known
    :return: None where the provider wrote nothing
    """
    message = message_from_bytes(headers[:_LONGEST_HEADERS], policy=compat32)
    found: Authentication | None = None
    for name, value in message.items():
        if name.lower() != "authentication-results":
            if found:  # what stands further below was there before the provider had the mail
                break
            continue
        server, results = _parse(str(value)[:_LONGEST_HEADER])
        if not _is_own(server, host, provider) or (found and server != found.server):
            if found:
                break
            continue
        if found is None:
            found = Authentication(server, {})
        for method, result in results:
            # of several signatures one that is right is enough
            if found.results.get(method) != "pass":
                found.results[method] = result
    if found and not found.server:
        return Authentication(provider.name, found.results)
    return found


def _is_own(server: str, host: str, provider: DnsProvider | None) -> bool:
    """Tell whether a header is the provider's own, by the name that it bears."""
    if not server:
        return bool(provider and provider.authserv_nameless)
    if provider and provider.authserv:
        return any(is_below(server, end) for end in provider.authserv)
    own = organisational_domain(host)
    return "." in own and not own.rpartition(".")[2].isdigit() and is_below(server, own)


def _parse(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Read a header: the server's name, ``""`` where it has none, and (method, result) pairs."""
    parts = _split(text)
    named = _AUTHSERV.fullmatch(parts[0])
    server = named[1].strip('"').lower() if named else ""
    results = []
    for part in parts[1:] if named else parts:
        match = _METHOD.match(part)
        if match and match[1].lower() in METHODS:
            results.append((match[1].lower(), match[2].lower()))
    return server, results


def _split(text: str) -> list[str]:
    """Split at the semicolons that are in no comment and no quoted string (RFC 5322 3.2)."""
    parts, part, depth, quoted = [], [], 0, False
    characters = iter(text)
    for character in characters:
        if character == "\\" and (depth or quoted):
            next(characters, None)
        elif character == '"' and not depth:
            quoted = not quoted
            part.append(character)
        elif quoted:
            part.append(character)
        elif character == "(":
            depth += 1
            part.append(" ")
        elif character == ")" and depth:
            depth -= 1
        elif depth:
            continue
        elif character == ";":
            parts.append("".join(part))
            part = []
        else:
            part.append(character)
    return [*parts, "".join(part)]
