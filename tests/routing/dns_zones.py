# SPDX-License-Identifier: LGPL-3.0-only
"""Domains as people have them, right and wrong: records, the route, and what is to be found.

What b.com says is in each set; what its providers say is in ``WORLD``, as they would be seen from
outside, with networks of RFC 5737.
"""

from dataclasses import dataclass

#: a key of 2,048 and one of 512 bits, as DKIM writes them; nobody has the private part
KEY = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" + "ab12" * 85 + "IDAQAB".rjust(8, "A")
WEAK_KEY = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJB" + "ab12" * 22 + "AwEAAQ=="

#: what the providers and the rest of the world have
WORLD = (
    'spf.mail.qq.com TXT "v=spf1 include:spf-a.mail.qq.com include:spf-b.mail.qq.com -all"',
    'spf-a.mail.qq.com TXT "v=spf1 ip4:203.0.113.0/25 -all"',
    'spf-b.mail.qq.com TXT "v=spf1 ip4:203.0.113.128/25 -all"',
    'spf.163.com TXT "v=spf1 include:a.spf.163.com -all"',
    'a.spf.163.com TXT "v=spf1 ip4:198.51.100.0/24 -all"',
    'spf.qiye.163.com TXT "v=spf1 include:a.spf.163.com -all"',
    'spf.qiye.aliyun.com TXT "v=spf1 ip4:198.51.100.0/24 -all"',
    'spf.em.dingtalk.com TXT "v=spf1 ip4:198.51.100.0/24 -all"',
    'spf.protection.outlook.com TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/48 -all"',
    '_spf.google.com TXT "v=spf1 include:_netblocks.google.com include:_netblocks2.google.com'
    ' include:_netblocks3.google.com ~all"',
    '_netblocks.google.com TXT "v=spf1 ip4:192.0.2.0/25 ~all"',
    '_netblocks2.google.com TXT "v=spf1 ip6:2001:db8:4000::/36 ~all"',
    '_netblocks3.google.com TXT "v=spf1 ip4:192.0.2.128/25 ~all"',
    'zohomail.com TXT "v=spf1 ip4:192.0.2.0/24 -all"',
    'zoho.com TXT "v=spf1 ip4:192.0.2.0/24 -all"',
    '_spf.yandex.net TXT "v=spf1 ip4:192.0.2.0/24 ~all"',
    # others that a domain names
    'shop.example TXT "v=spf1 ip4:203.0.113.7 -all"',
    'twice.example TXT "v=spf1 -all"',
    'twice.example TXT "v=spf1 ~all"',
    'broken.example TXT "v=spf1 ipv4:203.0.113.7 -all"',
    'nospf.example TXT "hello"',
    'ours.example TXT "v=spf1 include:spf.mail.qq.com -all"',
    'loop.example TXT "v=spf1 include:b.com -all"',
    *(f'n{n}.example TXT "v=spf1 ip4:203.0.113.{n} -all"' for n in range(12)),
    "mail.host.example A 203.0.113.9",
    "mail6.host.example AAAA 2001:db8::9",
    "relay.host.example CNAME mail.host.example",
    "mxbiz1.qq.com A 203.0.113.1",
    "mxbiz2.qq.com A 203.0.113.2",
    "selector1-b-com._domainkey.b.onmicrosoft.com TXT"
    f' "v=DKIM1; k=rsa; p={KEY[:200]}" "{KEY[200:]}"',
    "selector2-b-com._domainkey.b.onmicrosoft.com TXT"
    f' "v=DKIM1; k=rsa; p={KEY[:200]}" "{KEY[200:]}"',
)

TENCENT_MX = ("b.com MX 5 mxbiz1.qq.com", "b.com MX 10 mxbiz2.qq.com")
TENCENT_SPF = 'b.com TXT "v=spf1 include:spf.mail.qq.com ~all"'
DMARC = '_dmarc.b.com TXT "v=DMARC1; p=none"'
OFFICE_MX = ("b.com MX 0 b-com.mail.protection.outlook.com",)
OFFICE_SPF = 'b.com TXT "v=spf1 include:spf.protection.outlook.com -all"'
SELECTORS = tuple(
    f"selector{n}._domainkey.b.com CNAME selector{n}-b-com._domainkey.b.onmicrosoft.com"
    for n in (1, 2)
)
GOOGLE_MX = ("b.com MX 1 smtp.google.com",)
GOOGLE_SPF = 'b.com TXT "v=spf1 include:_spf.google.com ~all"'
GOOGLE_KEY = f'google._domainkey.b.com TXT "v=DKIM1; k=rsa; p={KEY[:200]}" "{KEY[200:]}"'
OWN_MX = ("b.com MX 10 mail.host.example",)

TENCENT = {"host": "smtp.exmail.qq.com"}
OFFICE = {"host": "smtp.office365.com"}
GOOGLE = {"host": "smtp.gmail.com"}
OWN = {"host": "mail.b.com"}


@dataclass(frozen=True)
class Case:
    """A domain and its route.

    :param title: what is the matter with it
    :param records: those of b.com
    :param route: ``host``; ``mail_from``, where it is not b.com; ``fetched``, the incoming host,
        where it is not the provider that sends
    :param rule: what is to be found, ``""``: nothing
    :param grade: how bad it is
    :param paste: the record that is to be pasted, where it matters
    :param others: other findings that come along
    """

    title: str
    records: tuple
    route: dict
    rule: str = ""
    grade: str = ""
    paste: str | None = None
    others: tuple = ()


def _tencent_spf(title, *texts, rule, grade="stops", paste=None, others=()):
    """A domain at Tencent whose SPF is the matter."""
    records = tuple(f"b.com TXT {text}" for text in texts)
    return Case(title, (*TENCENT_MX, *records, DMARC), TENCENT, rule, grade, paste, others)


def _dmarc(title, *lines, rule, grade="better", paste=None):
    """A domain at Tencent whose DMARC is the matter."""
    return Case(title, (*TENCENT_MX, TENCENT_SPF, *lines), TENCENT, rule, grade, paste)


def _mx(title, *lines, rule, grade="answers"):
    """A domain at Tencent whose MX is the matter."""
    return Case(title, (*lines, TENCENT_SPF, DMARC), TENCENT, rule, grade)


def _key(title, *lines, rule, grade="better", route=None):
    """A domain at Google whose DKIM is the matter, or at another provider."""
    own = (*OFFICE_MX, OFFICE_SPF) if route is OFFICE else (*GOOGLE_MX, GOOGLE_SPF)
    return Case(title, (*own, *lines, DMARC), route or GOOGLE, rule, grade)


PASTED = "v=spf1 include:spf.mail.qq.com ~all"

BROKEN = (
    # MX
    Case("the domain has expired", (), TENCENT, "domain_none", "stops"),
    _mx("no MX and no address", rule="mx_none", grade="stops"),
    _mx("no MX, but a web site", "b.com A 203.0.113.80", rule="mx_implicit"),
    _mx("null MX", "b.com MX 0 .", rule="mx_null"),
    _mx("MX is an address", "b.com MX 10 203.0.113.9", rule="mx_address"),
    _mx("MX leads nowhere", "b.com MX 10 old.b.com", rule="mx_nowhere"),
    _mx(
        "one of two MX leads nowhere",
        *OWN_MX,
        "b.com MX 20 old.b.com",
        rule="mx_some_nowhere",
        grade="better",
    ),
    _mx("MX is an alias", "b.com MX 10 relay.host.example", rule="mx_alias", grade="better"),
    _mx("mail arrives at Google, fetched at Tencent", *GOOGLE_MX, rule="mx_elsewhere"),
    # SPF
    _tencent_spf("no SPF", '"google-site-verification=abc"', rule="spf_none", paste=PASTED),
    _tencent_spf(
        "a semicolon behind the version",
        '"v=spf1; include:spf.mail.qq.com ~all"',
        rule="spf_like",
        paste=PASTED,
    ),
    _tencent_spf(
        "pasted with its quotes",
        r'"\"v=spf1 include:spf.mail.qq.com ~all\""',
        rule="spf_like",
        paste=PASTED,
    ),
    _tencent_spf("without v=", '"spf1 include:spf.mail.qq.com ~all"', rule="spf_like"),
    _tencent_spf(
        "two records",
        '"v=spf1 include:spf.mail.qq.com ~all"',
        '"v=spf1 ip4:203.0.113.7 -all"',
        rule="spf_many",
        paste="v=spf1 include:spf.mail.qq.com ip4:203.0.113.7 -all",
    ),
    _tencent_spf(
        "another provider's include",
        '"v=spf1 include:_spf.google.com ~all"',
        rule="spf_missing",
        paste="v=spf1 include:spf.mail.qq.com include:_spf.google.com ~all",
    ),
    _tencent_spf("nobody may send", '"v=spf1 -all"', rule="spf_missing"),
    _tencent_spf("only MX may send", '"v=spf1 mx -all"', rule="spf_missing"),
    _tencent_spf(
        "half of the provider's networks, written out",
        '"v=spf1 ip4:203.0.113.0/25 -all"',
        rule="spf_missing",
    ),
    _tencent_spf(
        "the include is forbidden",
        '"v=spf1 -include:spf.mail.qq.com ~all"',
        rule="spf_qualifier",
        paste=PASTED,
    ),
    _tencent_spf(
        "the include is neutral", '"v=spf1 ?include:spf.mail.qq.com -all"', rule="spf_qualifier"
    ),
    _tencent_spf(
        "ipv4 in place of ip4",
        '"v=spf1 ipv4:203.0.113.7 include:spf.mail.qq.com ~all"',
        rule="spf_syntax",
        paste=PASTED,
    ),
    _tencent_spf(
        "a space behind the colon", '"v=spf1 include: spf.mail.qq.com ~all"', rule="spf_syntax"
    ),
    _tencent_spf(
        "an impossible address",
        '"v=spf1 ip4:203.0.113.700 include:spf.mail.qq.com ~all"',
        rule="spf_syntax",
    ),
    _tencent_spf(
        "ip4= in place of ip4:",
        '"v=spf1 ip4=203.0.113.7 include:spf.mail.qq.com ~all"',
        rule="spf_syntax",
    ),
    _tencent_spf("a long dash", '"v=spf1 include:spf.mail.qq.com –all"', rule="spf_syntax"),
    _tencent_spf(
        "an address of the web",
        '"v=spf1 include:https://spf.mail.qq.com ~all"',
        rule="spf_syntax",
    ),
    _tencent_spf(
        "strings without a space between them",
        '"v=spf1 ip4:203.0.113.7" "include:spf.mail.qq.com ~all"',
        rule="spf_joined",
        paste="v=spf1 include:spf.mail.qq.com ip4:203.0.113.7 ~all",
    ),
    _tencent_spf(
        "the include stands behind all",
        '"v=spf1 ~all include:spf.mail.qq.com"',
        rule="spf_after_all",
        paste=PASTED,
    ),
    _tencent_spf(
        "redirect beside all",
        '"v=spf1 redirect=spf.mail.qq.com ~all"',
        rule="spf_redirect_unread",
        paste=PASTED,
    ),
    _tencent_spf(
        "too many look-ups before the provider's",
        '"v=spf1 '
        + " ".join(f"include:n{n}.example" for n in range(9))
        + ' include:spf.mail.qq.com ~all"',
        rule="spf_limit",
        paste="",
    ),
    _tencent_spf(
        "too many look-ups behind the provider's",
        '"v=spf1 include:spf.mail.qq.com '
        + " ".join(f"include:n{n}.example" for n in range(9))
        + ' ~all"',
        rule="spf_limit",
        grade="better",
    ),
    _tencent_spf(
        "three hosts that do not exist",
        '"v=spf1 a:x1.b.com a:x2.b.com a:x3.b.com include:spf.mail.qq.com ~all"',
        rule="spf_void",
    ),
    _tencent_spf(
        "an include without SPF",
        '"v=spf1 include:nospf.example include:spf.mail.qq.com ~all"',
        rule="spf_include_none",
    ),
    _tencent_spf(
        "an include that does not exist any more, behind the provider's",
        '"v=spf1 include:spf.mail.qq.com include:gone.example ~all"',
        rule="spf_include_none",
        grade="better",
    ),
    _tencent_spf(
        "an include with two records",
        '"v=spf1 include:twice.example include:spf.mail.qq.com ~all"',
        rule="spf_include_many",
    ),
    _tencent_spf(
        "an include that cannot be read",
        '"v=spf1 include:broken.example include:spf.mail.qq.com ~all"',
        rule="spf_included_broken",
    ),
    _tencent_spf(
        "a loop",
        '"v=spf1 include:loop.example include:spf.mail.qq.com ~all"',
        rule="spf_loop",
    ),
    _tencent_spf(
        "everybody may send",
        '"v=spf1 include:spf.mail.qq.com +all"',
        rule="spf_everybody",
        grade="better",
        paste=PASTED,
    ),
    _tencent_spf(
        "no all",
        '"v=spf1 include:spf.mail.qq.com"',
        rule="spf_no_all",
        grade="better",
        paste=PASTED,
    ),
    _tencent_spf(
        "ptr",
        '"v=spf1 include:spf.mail.qq.com ptr ~all"',
        rule="spf_ptr",
        grade="better",
        paste=PASTED,
    ),
    Case(
        "no SPF, but the provider signs",
        (*OFFICE_MX, *SELECTORS, DMARC),
        OFFICE,
        "spf_none",
        "better",
        "v=spf1 include:spf.protection.outlook.com -all",
    ),
    Case(
        "own server, unreadable SPF",
        (*OWN_MX, 'b.com TXT "v=spf1 mx: -all"', DMARC),
        OWN,
        "spf_syntax",
        "stops",
    ),
    Case("own server, no SPF", (*OWN_MX, DMARC), OWN, "spf_none", "stops", ""),
    # DKIM
    _key("no key at all", rule="dkim_none"),
    _key("an empty key", 'google._domainkey.b.com TXT "v=DKIM1; p="', rule="dkim_revoked"),
    _key(
        "a key that was cut off",
        f'google._domainkey.b.com TXT "v=DKIM1; k=rsa; p={KEY[:201]}"',
        rule="dkim_broken",
    ),
    _key(
        "a key with another version",
        f'google._domainkey.b.com TXT "v=DKIM2; p={KEY[:200]}" "{KEY[200:]}"',
        rule="dkim_broken",
    ),
    _key(
        "a key of 512 bits",
        f'google._domainkey.b.com TXT "v=DKIM1; p={WEAK_KEY}"',
        rule="dkim_weak",
    ),
    _key(
        "a key for tests",
        f'google._domainkey.b.com TXT "v=DKIM1; t=y; p={KEY[:200]}" "{KEY[200:]}"',
        rule="dkim_testing",
    ),
    _key(
        "two keys at one selector",
        GOOGLE_KEY,
        f'google._domainkey.b.com TXT "v=DKIM1; p={WEAK_KEY}"',
        rule="dkim_many",
    ),
    _key("no selectors at Office 365", rule="dkim_missing", route=OFFICE),
    _key("one selector at Office 365", SELECTORS[0], rule="dkim_half", route=OFFICE),
    _key(
        "selectors that lead nowhere",
        "selector1._domainkey.b.com CNAME selector1-b-com._domainkey.other.onmicrosoft.com",
        "selector2._domainkey.b.com CNAME selector2-b-com._domainkey.other.onmicrosoft.com",
        rule="dkim_nowhere",
        route=OFFICE,
    ),
    # DMARC
    _dmarc("no DMARC", rule="dmarc_none", paste="v=DMARC1; p=none"),
    _dmarc(
        "two DMARC records",
        DMARC,
        '_dmarc.b.com TXT "v=DMARC1; p=reject"',
        rule="dmarc_many",
    ),
    _dmarc(
        "version in small letters",
        '_dmarc.b.com TXT "v=dmarc1; p=none"',
        rule="dmarc_like",
    ),
    _dmarc(
        "DMARC at the domain itself",
        'b.com TXT "v=DMARC1; p=none"',
        rule="dmarc_misplaced",
        paste="v=DMARC1; p=none",
    ),
    _dmarc(
        "commas for semicolons",
        '_dmarc.b.com TXT "v=DMARC1; p=none, rua=mailto:d@b.com"',
        rule="dmarc_bad_p",
    ),
    _dmarc("no equals sign", '_dmarc.b.com TXT "v=DMARC1; p none"', rule="dmarc_syntax"),
    _dmarc(
        "no policy",
        '_dmarc.b.com TXT "v=DMARC1; rua=mailto:d@b.com"',
        rule="dmarc_no_p",
        paste="v=DMARC1; p=none; rua=mailto:d@b.com",
    ),
    _dmarc(
        "a policy that there is not", '_dmarc.b.com TXT "v=DMARC1; p=block"', rule="dmarc_bad_p"
    ),
    _dmarc(
        "strict in full",
        '_dmarc.b.com TXT "v=DMARC1; p=none; aspf=strict"',
        rule="dmarc_bad_alignment",
    ),
    _dmarc(
        "reports to no mailto:",
        '_dmarc.b.com TXT "v=DMARC1; p=none; rua=d@b.com"',
        rule="dmarc_bad_report",
        paste="v=DMARC1; p=none; rua=mailto:d@b.com",
    ),
    Case(
        "From and Return-Path in two domains, DMARC rejects",
        (
            *TENCENT_MX,
            TENCENT_SPF,
            '_dmarc.b.com TXT "v=DMARC1; p=reject"',
            'a.com TXT "v=spf1 include:spf.mail.qq.com ~all"',
        ),
        {**TENCENT, "mail_from": "a.com"},
        "dmarc_unaligned",
        "stops",
    ),
    Case(
        "the same, DMARC only looks on",
        (
            *TENCENT_MX,
            TENCENT_SPF,
            DMARC,
            'a.com TXT "v=spf1 include:spf.mail.qq.com ~all"',
        ),
        {**TENCENT, "mail_from": "a.com"},
        "dmarc_unaligned",
        "better",
    ),
    Case(
        "Return-Path in a subdomain, DMARC is strict",
        (
            *TENCENT_MX,
            TENCENT_SPF,
            '_dmarc.b.com TXT "v=DMARC1; p=quarantine; aspf=s"',
            'news.b.com TXT "v=spf1 include:spf.mail.qq.com ~all"',
        ),
        {**TENCENT, "mail_from": "news.b.com"},
        "dmarc_strict",
        "stops",
        "v=DMARC1; p=quarantine",
    ),
)

RIGHT = (
    Case("Tencent", (*TENCENT_MX, TENCENT_SPF, DMARC), TENCENT),
    Case(
        "SPF in capitals, with two spaces",
        (*TENCENT_MX, 'b.com TXT "V=SPF1  INCLUDE:SPF.MAIL.QQ.COM ~ALL"', DMARC),
        TENCENT,
    ),
    Case(
        "Tencent by an include of an include",
        (*TENCENT_MX, 'b.com TXT "v=spf1 include:ours.example ~all"', DMARC),
        TENCENT,
    ),
    Case(
        "Tencent's networks, written out",
        (*TENCENT_MX, 'b.com TXT "v=spf1 ip4:203.0.113.0/24 -all"', DMARC),
        TENCENT,
    ),
    Case(
        "by redirect",
        (*TENCENT_MX, 'b.com TXT "v=spf1 redirect=spf.mail.qq.com"', DMARC),
        TENCENT,
    ),
    Case(
        "other TXT records beside it",
        (
            *TENCENT_MX,
            'b.com TXT "MS=ms12345678"',
            TENCENT_SPF,
            'b.com TXT "spf2.0/pra ?all"',
            DMARC,
        ),
        TENCENT,
    ),
    Case(
        "two providers in one record",
        (*TENCENT_MX, 'b.com TXT "v=spf1 include:_spf.google.com include:spf.mail.qq.com -all"')
        + (DMARC,),
        TENCENT,
    ),
    Case(
        "exactly ten look-ups",
        (
            *TENCENT_MX,
            'b.com TXT "v=spf1 '
            + " ".join(f"include:n{n}.example" for n in range(7))
            + ' include:spf.mail.qq.com ~all"',
            DMARC,
        ),
        TENCENT,
    ),
    Case(
        "a long record of several strings",
        (
            *TENCENT_MX,
            'b.com TXT "v=spf1 '
            + " ".join(f"ip4:198.51.100.{n}" for n in range(10))
            + ' " "'
            + " ".join(f"ip4:198.51.100.{n}" for n in range(10, 20))
            + ' " "include:spf.mail.qq.com ~all"',
            DMARC,
        ),
        TENCENT,
    ),
    Case(
        "NetEase",
        (
            "b.com MX 5 qiye163mx01.mxmail.netease.com",
            'b.com TXT "v=spf1 include:spf.163.com -all"',
            '_dmarc.b.com TXT "v=DMARC1; p=quarantine; fo=1; ruf=mailto:dmarc@qiye.163.com;'
            ' rua=mailto:dmarc_report@qiye.163.com"',
        ),
        {"host": "smtp.qiye.163.com"},
    ),
    Case(
        "Aliyun",
        (
            "b.com MX 5 mx1.qiye.aliyun.com",
            'b.com TXT "v=spf1 include:spf.qiye.aliyun.com -all"',
            DMARC,
        ),
        {"host": "smtp.qiye.aliyun.com"},
    ),
    Case("Office 365", (*OFFICE_MX, OFFICE_SPF, *SELECTORS, DMARC), OFFICE),
    Case("Google", (*GOOGLE_MX, GOOGLE_SPF, GOOGLE_KEY, DMARC), GOOGLE),
    Case(
        "Google with a selector of one's own",
        (
            *GOOGLE_MX,
            GOOGLE_SPF,
            GOOGLE_KEY.replace("google.", "s2026."),
            DMARC,
        ),
        GOOGLE,
    ),
    Case(
        "Zoho, a key of Ed25519",
        (
            "b.com MX 10 mx.zoho.com",
            'b.com TXT "v=spf1 include:zohomail.com ~all"',
            'zmail._domainkey.b.com TXT "k=ed25519; p='
            '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="',
            DMARC,
        ),
        {"host": "smtp.zoho.com"},
    ),
    Case(
        "Yandex by redirect",
        (
            "b.com MX 10 mx.yandex.net",
            'b.com TXT "v=spf1 redirect=_spf.yandex.net"',
            f'mail._domainkey.b.com TXT "v=DKIM1; k=rsa; t=s; p={KEY[:200]}" "{KEY[200:]}"',
            DMARC,
        ),
        {"host": "smtp.yandex.com"},
    ),
    Case(
        "an own server",
        (*OWN_MX, 'b.com TXT "v=spf1 a mx ip4:203.0.113.9 -all"', "b.com A 203.0.113.80", DMARC),
        OWN,
    ),
    Case(
        "an own server with IPv6 only",
        ("b.com MX 10 mail6.host.example", 'b.com TXT "v=spf1 mx -all"', DMARC),
        OWN,
    ),
    Case(
        "mail taken by a filter that nobody knows",
        ("b.com MX 10 mail.host.example", TENCENT_SPF, DMARC),
        TENCENT,
    ),
    Case(
        "a macro that cannot be followed",
        (*TENCENT_MX, 'b.com TXT "v=spf1 exists:%{i}._spf.b.com -all"', DMARC),
        TENCENT,
    ),
    Case(
        "signed, Return-Path in another domain, DMARC rejects",
        (
            *OFFICE_MX,
            OFFICE_SPF,
            *SELECTORS,
            '_dmarc.b.com TXT "v=DMARC1; p=reject; adkim=r; aspf=r"',
            'a.com TXT "v=spf1 include:spf.protection.outlook.com -all"',
        ),
        {**OFFICE, "mail_from": "a.com"},
    ),
    Case(
        "Return-Path in a subdomain, DMARC is relaxed",
        (
            *TENCENT_MX,
            TENCENT_SPF,
            '_dmarc.b.com TXT "v=DMARC1; p=reject; rua=mailto:d@b.com!10m"',
            'news.b.com TXT "v=spf1 include:spf.mail.qq.com ~all"',
        ),
        {**TENCENT, "mail_from": "news.b.com"},
    ),
)
