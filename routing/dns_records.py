# SPDX-License-Identifier: LGPL-3.0-only
"""What the DNS records of a domain mean for the mail that leaves by a route.

A receiver asks three questions about a mail: may this host send for the Return-Path's domain (SPF,
RFC 7208); is it signed for From's domain (DKIM, RFC 6376); and is one of these the domain that the
customer sees (DMARC, RFC 7489). A record may be right for one route and wrong for another, so
:func:`read_records` is told the route.

Nothing here asks the network: a look-up function does, see :class:`Answer`.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from .dns_providers import DnsProvider, Selector, provider_of_mx
from .dns_sentences import EXPECTED, FINDINGS
from .spf import SpfReading, better_spf, read_spf

#: grade -> how bad a finding is; the first is the worst
GRADES = ("stops", "answers", "better")

#: two letters behind one of these are no domain of their own (com.cn, co.uk)
_SECOND_LEVEL = frozenset(
    {"ac", "co", "com", "edu", "go", "gob", "gouv", "gov", "gv", "mil", "ne", "net", "or", "org"}
)
#: characters that are shown of a record
_SHOWN = 400
#: bytes of an RSA key of 1,024 bits, as DKIM has it; a shorter one is not taken (RFC 8301 3.2)
_SHORTEST_RSA = 140
#: how many MX hosts of a domain are looked up
_HOSTS = 5


@dataclass(frozen=True)
class Answer:
    """What DNS says of a name and a type.

    :param values: the records: of TXT a tuple of its strings, of MX (preference, host), of others
        a text; host names without the dot at their end
    :param exists: whether the name exists, be it without a record of this type (RFC 8020)
    :param failed: whether DNS gave no answer: nothing is known then
    """

    values: tuple = ()
    exists: bool = True
    failed: bool = False

    @property
    def texts(self) -> list[str]:
        """The values of TXT, each put together."""
        return ["".join(strings) for strings in self.values]


#: gives the answer to a name and a type: TXT, MX, A, AAAA, CNAME. It never raises
Lookup = Callable[[str, str], Answer]


@dataclass(frozen=True)
class MailPath:
    """What a receiver sees of the mail that leaves by one route.

    :param server: name of the outgoing server in Odoo
    :param from_domain: of the From header
    :param mail_from_domain: of the envelope sender, which is that of the Return-Path
    :param provider: whose host sends, None where it is unknown
    :param host: what sends
    :param fetched_at: provider of the mailbox that the answers are fetched from, None: unknown
    """

    server: str
    from_domain: str
    mail_from_domain: str = ""
    provider: DnsProvider | None = None
    host: str = ""
    fetched_at: DnsProvider | None = None


@dataclass(frozen=True)
class RecordFinding:
    """Something wrong with a record.

    :param rule: a key of :data:`~.dns_sentences.FINDINGS`
    :param grade: one of :data:`GRADES`
    :param values: what its sentence needs
    :param name: where the right record goes: the DNS name
    :param kind: the right record's type, such as TXT
    :param paste: the right record; ``""`` where only the provider can tell
    """

    rule: str
    grade: str
    values: dict[str, str] = field(default_factory=dict)
    name: str = ""
    kind: str = ""
    paste: str = ""

    def sentence(self, translate: Callable[[str], str] = lambda text: text) -> str:
        """Say what is wrong and what to do about it."""
        return translate(FINDINGS[self.rule]) % _named(self.values, translate)


@dataclass(frozen=True)
class RecordCheck:
    """One kind of record of a domain, as it should be and as it is.

    :param kind: ``MX``, ``SPF``, ``DKIM`` or ``DMARC``
    :param domain: whose it is
    :param expected: (key of :data:`~.dns_sentences.EXPECTED`, values)
    :param seen: the records, for people, cut where they are long
    :param findings: what is wrong
    :param known: whether DNS answered, and it can be told whether the record is right
    """

    kind: str
    domain: str
    expected: tuple[str, dict[str, str]]
    seen: tuple[str, ...] = ()
    findings: tuple[RecordFinding, ...] = ()
    known: bool = True

    def expectation(self, translate: Callable[[str], str] = lambda text: text) -> str:
        """Say what the record should be."""
        key, values = self.expected
        return translate(EXPECTED[key]) % _named(values, translate)


def _named(values: dict[str, str], translate: Callable[[str], str]) -> dict[str, str]:
    """Give the values of a sentence with the providers' names in the reader's language."""
    names = ("provider", "there", "here")
    return {key: translate(text) if key in names else text for key, text in values.items()}


def organisational_domain(domain: str) -> str:
    """Give the domain that was registered (RFC 7489 3.2), by a simple rule.

    The last two labels; three, where the last two are such as ``com.cn``. A list of all public
    suffixes would know more.
    """
    labels = domain.lower().rstrip(".").split(".")
    count = 3 if len(labels) > 2 and labels[-2] in _SECOND_LEVEL and len(labels[-1]) == 2 else 2
    return ".".join(labels[-count:])


def names_to_ask(path: MailPath) -> list[tuple[str, str]]:
    """List the names and types that :func:`read_records` will ask for in any case."""
    names = [(path.from_domain, "MX"), (f"_dmarc.{path.from_domain}", "TXT")]
    names += [(domain, "TXT") for domain in {path.from_domain, path.mail_from_domain} - {""}]
    if path.provider:
        names += [(_key_name(s, path.from_domain), "TXT") for s in path.provider.selectors]
        names += [(name, "TXT") for name in path.provider.spf]
    return names


def read_records(path: MailPath, lookup: Lookup) -> tuple[RecordCheck, ...]:
    """Check the records that the mail of a route depends on.

    :param path: the route, as a receiver sees it
    :param lookup: asks DNS
    :return: one check for each kind of record; of a domain that does not exist, one of its MX
    """
    mx = read_mx(path.from_domain, lookup, path.fetched_at)
    if any(finding.rule == "domain_none" for finding in mx.findings):
        return (mx,)
    envelope = path.mail_from_domain or path.from_domain
    spf = read_spf(envelope, lookup, path.provider.spf if path.provider else ())
    policy = _read_policy(path.from_domain, lookup)
    dkim = _read_dkim(path, lookup)
    signed = None if not dkim.known else not any(f.rule in _UNSIGNED for f in dkim.findings)
    aligned = _is_aligned(envelope, path.from_domain, policy.tags.get("aspf", "r"))
    checks = [
        mx,
        _check_spf(path, envelope, spf, lookup, signed),
        _graded(dkim, "better" if spf.passes is not False and aligned else "stops"),
        _check_dmarc(path, envelope, policy, aligned, signed),
    ]
    return tuple(check for check in checks if check.expected)


# --- MX --------------------------------------------------------------------------------------


def read_mx(domain: str, lookup: Lookup, fetched_at: DnsProvider | None = None) -> RecordCheck:
    """Check whether answers and delivery reports find a domain (RFC 5321 5.1, RFC 7505).

    :param domain: of an address that mail comes to
    :param lookup: asks DNS
    :param fetched_at: as of :class:`MailPath`
    """
    expected = ("mx_provider", {"provider": fetched_at.name}) if fetched_at else ("mx", {})
    check = RecordCheck("MX", domain, expected)
    answer = lookup(domain, "MX")
    if answer.failed:
        return replace(check, known=False)
    if not answer.exists:
        return replace(check, findings=(RecordFinding("domain_none", "stops", {"domain": domain}),))
    found = sorted(answer.values)
    check = replace(check, seen=tuple(shown(f"{order} {host or '.'}") for order, host in found))
    values = {"domain": domain}

    def wrong(rule: str, grade: str = "answers", **more: str) -> RecordCheck:
        return replace(
            check, findings=(RecordFinding(rule, grade, {**values, **more}, domain, "MX"),)
        )

    hosts = [host for _order, host in found]
    if not hosts:
        return _read_implicit_mx(domain, lookup, wrong)
    if hosts == [""] or "" in hosts:
        return wrong("mx_null")
    for host in hosts[:_HOSTS]:
        if _is_ip(host):
            return wrong("mx_address", host=host)
    missing, aliases = [], []
    for host in hosts[:_HOSTS]:
        if provider_of_mx(host):
            continue
        if _leads_nowhere(host, lookup):
            missing.append(host)
        elif lookup(host, "CNAME").values:
            aliases.append(host)
    if missing:
        rest = len(missing) < len(hosts)
        return wrong(
            "mx_some_nowhere" if rest else "mx_nowhere",
            "better" if rest else "answers",
            hosts=", ".join(missing),
        )
    owner = provider_of_mx(hosts[0])
    if owner and fetched_at and owner != fetched_at:
        return wrong("mx_elsewhere", there=owner.name, here=fetched_at.name, host=hosts[0])
    if aliases:
        return wrong("mx_alias", "better", hosts=", ".join(aliases))
    return check


def _read_implicit_mx(domain: str, lookup: Lookup, wrong) -> RecordCheck:
    """Without an MX record mail goes to the domain's own address."""
    addresses = [lookup(domain, kind) for kind in ("A", "AAAA")]
    if any(answer.values for answer in addresses):
        return wrong("mx_implicit")
    return wrong("mx_none", "answers" if any(answer.failed for answer in addresses) else "stops")


def _leads_nowhere(host: str, lookup: Lookup) -> bool:
    answers = [lookup(host, "A")]
    if not answers[0].values:
        answers.append(lookup(host, "AAAA"))
    return not any(answer.values or answer.failed for answer in answers)


def _is_ip(text: str) -> bool:
    try:
        return bool(ip_address(text.strip("[]")))
    except ValueError:
        return False


# --- SPF -------------------------------------------------------------------------------------

#: rules whose sentence has a record to paste
_SPF_WITHOUT_PASTE = frozenset(
    {"spf_limit", "spf_void", "spf_included_broken", "spf_include_none", "spf_include_many"}
)


def _check_spf(
    path: MailPath, domain: str, spf: SpfReading, lookup: Lookup, signed: bool | None
) -> RecordCheck:
    provider = path.provider if path.provider and path.provider.spf else None
    if provider:
        include, ending = provider.spf[0], provider.spf_all
        right = {"record": f"v=spf1 include:{include} {ending}"}
        expected = ("spf_provider", {**right, "provider": provider.name})
    else:
        include, ending = "", "~all"
        expected = ("spf", {"host": path.host or path.server})
    seen = tuple(shown(text) for text in spf.texts)
    answer = lookup(domain, "TXT")
    check = RecordCheck("SPF", domain, expected, seen)
    if answer.failed:
        return replace(check, known=False)
    findings = []
    for rule, values, harmless in spf.problems:
        paste = ""
        if rule not in _SPF_WITHOUT_PASTE and (provider or rule not in ("spf_none", "spf_like")):
            paste = better_spf(spf.texts, include, ending)
        grade = "better" if harmless or signed else "stops"
        values = {
            **{key: shown(value) for key, value in values.items()},
            "domain": domain,
            "server": path.server,
            "provider": provider.name if provider else path.host or path.server,
            "record": right["record"] if provider else "",
        }
        findings.append(RecordFinding(rule, grade, values, domain, "TXT", paste))
    known = spf.passes is not None or not provider
    return replace(check, findings=tuple(findings), known=known or bool(findings))


# --- DKIM ------------------------------------------------------------------------------------

#: findings that mean: no signature of this domain can be verified
_UNSIGNED = frozenset(
    {"dkim_missing", "dkim_none", "dkim_nowhere", "dkim_revoked", "dkim_broken", "dkim_many"}
)


def _key_name(selector: Selector, domain: str) -> str:
    return f"{selector.name}._domainkey.{domain}"


def _read_dkim(path: MailPath, lookup: Lookup) -> RecordCheck:
    """Whether a signature of From's domain can be verified, where the selector is known."""
    domain, provider = path.from_domain, path.provider
    if not provider or not provider.selectors:
        return RecordCheck("DKIM", domain, ("dkim", {}), known=False)
    names = [_key_name(selector, domain) for selector in provider.selectors]
    rule = "dkim_cname" if provider.selectors[0].cname else "dkim_key"
    if provider.selectors[0].chosen:
        rule = "dkim_chosen"
    expected = (rule, {"names": ", ".join(names), "provider": provider.name})
    check = RecordCheck("DKIM", domain, expected)
    readings = [_read_key(selector, path, lookup) for selector in provider.selectors]
    seen = tuple(shown(text) for texts, _finding, _known in readings for text in texts)
    check = replace(check, seen=seen)
    if all(finding is None and known for _texts, finding, known in readings):
        return check
    if any(not known for _texts, _finding, known in readings):
        return replace(check, known=False)
    findings = [finding for _texts, finding, _known in readings if finding]
    bad = [finding for finding in findings if finding.rule in _UNSIGNED]
    if bad and len(bad) < len(readings):
        # one key is enough until the provider changes to the other
        values = {**bad[0].values, "name": bad[0].name}
        return replace(
            check, findings=(replace(bad[0], rule="dkim_half", grade="better", values=values),)
        )
    return replace(check, findings=tuple(findings[:1]))


def _read_key(selector: Selector, path: MailPath, lookup: Lookup):
    """Read the key of a selector: (texts seen, finding or None, whether it can be told)."""
    name = _key_name(selector, path.from_domain)
    values = {"name": name, "domain": path.from_domain, "provider": path.provider.name}

    def wrong(rule: str, grade: str = "", **more: str) -> RecordFinding:
        kind = "CNAME" if selector.cname else "TXT"
        return RecordFinding(rule, grade, {**values, **more}, name, kind)

    answer = lookup(name, "TXT")
    if answer.failed:
        return (), None, False
    texts = answer.texts
    if not texts:
        alias = lookup(name, "CNAME")
        if alias.failed:
            return (), None, False
        if alias.values:
            target = str(alias.values[0])
            return (f"CNAME {target}",), wrong("dkim_nowhere", target=shown(target)), True
        if not selector.chosen:
            return (), wrong("dkim_missing"), True
        # another selector may have been chosen: there is none if nothing is below (RFC 8020)
        below = lookup(f"_domainkey.{path.from_domain}", "TXT")
        known = not below.failed and not below.exists
        return (), wrong("dkim_none") if known else None, known
    keys = [text for text in texts if re.search(r"(^|;)\s*p\s*=", text)]
    if len(keys) > 1:
        return texts, wrong("dkim_many"), True
    rule, grade = _judge_key(keys[0] if keys else texts[0])
    return texts, wrong(rule, grade) if rule else None, True


def _judge_key(text: str) -> tuple[str, str]:
    """Judge a key record (RFC 6376 3.6.1): (rule, grade); ``""``: it is right, or graded later."""
    tags = _tags(text)
    if tags is None or tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        return "dkim_broken", ""
    key = re.sub(r"\s", "", tags["p"])
    if not key:
        return "dkim_revoked", ""
    kind = tags.get("k", "rsa").lower()
    if kind not in ("rsa", "ed25519"):
        return "dkim_broken", ""
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return "dkim_broken", ""
    if kind == "rsa" and len(raw) < _SHORTEST_RSA:
        return "dkim_weak", "better"
    if "y" in tags.get("t", "").split(":"):
        return "dkim_testing", "better"
    return "", ""


def _tags(text: str) -> dict[str, str] | None:
    """Read a list of tags (RFC 6376 3.2); None where it is none."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in tags:
            return None
        tags[name] = value.strip()
    return tags


def _graded(check: RecordCheck, grade: str) -> RecordCheck:
    """Give the findings that have no grade yet one."""
    return replace(
        check,
        findings=tuple(f if f.grade else replace(f, grade=grade) for f in check.findings),
    )


# --- DMARC -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Policy:
    """The DMARC record that counts for a domain, and what is wrong with it."""

    domain: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    rules: tuple[tuple[str, dict[str, str]], ...] = ()
    failed: bool = False
    enforced: bool = False


def _read_policy(domain: str, lookup: Lookup) -> _Policy:
    """Find the DMARC record of a domain (RFC 7489 6.6.3)."""
    for owner in dict.fromkeys((domain, organisational_domain(domain))):
        answer = lookup(f"_dmarc.{owner}", "TXT")
        if answer.failed:
            return _Policy(owner, failed=True)
        texts = [text for text in answer.texts if re.match(r"v\s*=\s*DMARC1\s*(;|$)", text)]
        if len(texts) == 1:
            return _judge_policy(owner, texts[0], domain)
        if texts:
            rule = ("dmarc_many", {"count": str(len(texts))})
            return _Policy(owner, {}, tuple(texts), (rule,))
        like = [text for text in answer.texts if re.search(r"dmarc|(^|;)\s*p\s*=", text.lower())]
        if like:
            return _Policy(owner, {}, tuple(like), (("dmarc_like", {"text": shown(like[0])}),))
    misplaced = [t for t in lookup(domain, "TXT").texts if re.match(r'"?v\s*=\s*dmarc', t.lower())]
    if misplaced:
        rule = ("dmarc_misplaced", {"text": shown(misplaced[0])})
        return _Policy(domain, {}, tuple(misplaced), (rule,))
    return _Policy(domain, rules=(("dmarc_none", {}),))


def _judge_policy(owner: str, text: str, domain: str) -> _Policy:
    tags = _tags(text)
    if tags is None:
        return _Policy(owner, {}, (text,), (("dmarc_syntax", {"text": shown(text)}),))
    rules = []
    policy = tags.get("p", "").lower()
    if "p" not in tags:
        rules.append(("dmarc_no_p", {}))
    elif policy not in ("none", "quarantine", "reject"):
        rules.append(("dmarc_bad_p", {"policy": shown(tags["p"])}))
    if owner != domain:
        policy = tags.get("sp", policy).lower()
    for name in ("adkim", "aspf"):
        if tags.get(name, "r").lower() not in ("r", "s"):
            rules.append(("dmarc_bad_alignment", {"tag": shown(f"{name}={tags[name]}")}))
    for name in ("rua", "ruf"):
        bad = [uri for uri in tags.get(name, "mailto:").split(",") if not _is_mailto(uri)]
        if bad:
            rules.append(("dmarc_bad_report", {"tag": shown(f"{name}={tags[name]}")}))
    return _Policy(owner, tags, (text,), tuple(rules), enforced=policy in ("quarantine", "reject"))


def _is_mailto(uri: str) -> bool:
    return uri.strip().lower().startswith("mailto:")


def _is_aligned(envelope: str, domain: str, mode: str) -> bool:
    """Tell whether SPF speaks for From's domain (RFC 7489 3.1.2)."""
    if mode.lower() == "s":
        return envelope == domain
    return organisational_domain(envelope) == organisational_domain(domain)


def _check_dmarc(
    path: MailPath, envelope: str, policy: _Policy, aligned: bool, signed: bool | None
) -> RecordCheck:
    domain = path.from_domain
    name = f"_dmarc.{policy.domain or domain}"
    expected = ("dmarc", {"name": name, "record": "v=DMARC1; p=none"})
    check = RecordCheck("DMARC", domain, expected, tuple(map(shown, policy.texts)))
    if policy.failed:
        return replace(check, known=False)
    common = {"domain": domain, "name": name, "envelope": envelope, "server": path.server}
    findings = [
        RecordFinding(rule, "better", {**common, **values}, name, "TXT", _better_dmarc(policy))
        for rule, values in policy.rules
    ]
    if not aligned and not signed:
        strict = policy.tags.get("aspf", "r").lower() == "s" and _is_aligned(envelope, domain, "r")
        # without a policy it is told and lets the mail pass; a signature may yet be there
        grade = "stops" if policy.enforced else "better"
        rule = "dmarc_strict" if strict else "dmarc_unaligned"
        paste = _better_dmarc(policy, relaxed=True) if strict else ""
        findings.append(RecordFinding(rule, grade, common, name, "TXT", paste))
    return replace(check, findings=tuple(findings))


def _better_dmarc(policy: _Policy, relaxed: bool = False) -> str:
    """Write the record with what is right in the one that is there."""
    tags = policy.tags
    wanted = tags.get("p", "").lower()
    parts = ["v=DMARC1", f"p={wanted if wanted in ('none', 'quarantine', 'reject') else 'none'}"]
    for name, value in tags.items():
        if name in ("v", "p") or (relaxed and name == "aspf"):
            continue
        if name in ("rua", "ruf"):
            value = ",".join(
                uri.strip() if _is_mailto(uri) else f"mailto:{uri.strip()}"
                for uri in value.split(",")
                if "@" in uri
            )
        if value and (name not in ("adkim", "aspf") or value.lower() in ("r", "s")):
            parts.append(f"{name}={value}")
    return "; ".join(parts)


def shown(text: str) -> str:
    """Make a record fit to be shown: one line, not too long; who wrote it is unknown."""
    line = "".join(c if c.isprintable() else "�" for c in text[: _SHOWN + 1])
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
