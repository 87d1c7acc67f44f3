# SPDX-License-Identifier: LGPL-3.0-only
"""What is wrong with a domain's records is found, by the route; what is right is left alone."""

import pytest
from dns_zones import BROKEN, DMARC, RIGHT, TENCENT, TENCENT_MX, TENCENT_SPF, WORLD, Case
from dnslib import MX, QTYPE, TXT
from hypothesis import given
from hypothesis import strategies as st

from dev.dns_server import Zone
from routing import Answer, MailPath, names_to_ask, provider_at, read_records
from routing.dns_records import organisational_domain, shown
from routing.dns_sentences import FINDINGS
from routing.spf import LOOKUP_LIMIT, better_spf, parse_spf, read_spf


def lookup_in(lines):
    """Give a look-up that knows these records, and the world's."""
    zone = Zone((*WORLD, *lines))

    def lookup(name, kind):
        records = zone.find(name, kind)
        if records is None:
            return Answer(exists=False)
        wanted = [record.rdata for record in records if QTYPE[record.rtype] == kind]
        return Answer(tuple(map(value_of, wanted)))

    return lookup


def value_of(rdata):
    if isinstance(rdata, TXT):
        return tuple(part.decode() for part in rdata.data)
    if isinstance(rdata, MX):
        return rdata.preference, str(rdata.label).rstrip(".")
    return str(rdata).rstrip(".")


def path_of(case):
    provider = provider_at(case.route["host"])
    return MailPath(
        server="B SMTP",
        from_domain="b.com",
        mail_from_domain=case.route.get("mail_from", "b.com"),
        provider=provider,
        host=case.route["host"],
        fetched_at=provider,
    )


def findings_of(case, lookup=None):
    checks = read_records(path_of(case), lookup or lookup_in(case.records))
    return [finding for check in checks for finding in check.findings]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.title)
def test_what_is_wrong_is_found(case):
    findings = findings_of(case)
    assert [finding.rule for finding in findings] == [case.rule, *case.others]
    (finding,) = (each for each in findings if each.rule == case.rule)
    assert finding.grade == case.grade
    assert "b.com" in finding.sentence()
    if case.paste is not None:
        assert finding.paste == case.paste


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.title)
def test_what_is_right_is_left_alone(case):
    assert findings_of(case) == []


def test_there_are_enough_of_both():
    assert len(BROKEN) >= 40 and len(RIGHT) >= 20
    assert {case.rule for case in BROKEN} == set(FINDINGS)


@pytest.mark.parametrize(
    "case", [case for case in BROKEN if case.paste], ids=lambda case: case.title
)
def test_what_is_pasted_ends_the_finding(case):
    """The record takes the place of all of its kind at that name."""
    finding = next(each for each in findings_of(case) if each.rule == case.rule)
    records = [
        line
        for line in case.records
        if not (line.startswith(f"{finding.name} TXT") and _kind(line) == _kind(finding.paste))
    ]
    records.append(f'{finding.name} TXT "{finding.paste}"')
    if case.rule == "dmarc_misplaced":
        records = [line for line in records if not line.startswith('b.com TXT "v=DMARC1')]
    after = findings_of(Case(case.title, tuple(records), case.route))
    assert [each.rule for each in after] == []


def _kind(text):
    return next((word for word in ("dmarc", "spf") if word in text.lower()), "")


def test_each_record_is_shown_beside_what_is_expected():
    case = Case("", (*TENCENT_MX, TENCENT_SPF), TENCENT)
    mx, spf, dkim, dmarc = read_records(path_of(case), lookup_in(case.records))
    assert mx.seen == ("5 mxbiz1.qq.com", "10 mxbiz2.qq.com")
    assert spf.seen == ("v=spf1 include:spf.mail.qq.com ~all",)
    assert "v=spf1 include:spf.mail.qq.com ~all" in spf.expectation()
    assert not dkim.known, "Tencent's selector is not known"
    assert dmarc.seen == ()
    assert "_dmarc.b.com" in dmarc.expectation()


@pytest.mark.parametrize("case", [*BROKEN[5:15], *RIGHT], ids=lambda case: case.title)
def test_dns_that_does_not_answer_is_no_finding(case):
    for kinds in (("MX",), ("TXT",), ("A", "AAAA", "CNAME"), ("MX", "TXT", "A", "AAAA", "CNAME")):
        known = lookup_in(case.records)

        def lookup(name, kind, known=known, kinds=kinds):
            return Answer(failed=True) if kind in kinds else known(name, kind)

        found = {finding.rule for finding in findings_of(case, lookup)}
        assert found <= {case.rule, "mx_none"}
        if "TXT" in kinds:
            checks = read_records(path_of(case), lookup)
            assert not any(check.known for check in checks if check.kind != "MX")


def test_an_include_that_does_not_answer_is_no_finding():
    case = Case("", (*TENCENT_MX, 'b.com TXT "v=spf1 include:n1.example -all"'), TENCENT)
    known = lookup_in(case.records)

    def lookup(name, kind):
        return Answer(failed=True) if name == "n1.example" else known(name, kind)

    checks = {check.kind: check for check in read_records(path_of(case), lookup)}
    assert not checks["SPF"].findings and not checks["SPF"].known


@pytest.mark.parametrize("silent", ["spf.mail.qq.com", "spf-b.mail.qq.com"])
def test_networks_that_cannot_be_compared_are_no_finding(silent):
    case = Case("", (*TENCENT_MX, 'b.com TXT "v=spf1 ip4:203.0.113.0/24 -all"', DMARC), TENCENT)
    known = lookup_in(case.records)

    def lookup(name, kind):
        return Answer(failed=True) if name == silent else known(name, kind)

    assert findings_of(case, lookup) == []


def test_what_is_asked_for_in_any_case_is_known_beforehand():
    asked = set()
    case = RIGHT[0]
    known = lookup_in(case.records)

    def lookup(name, kind):
        asked.add((name, kind))
        return known(name, kind)

    read_records(path_of(case), lookup)
    assert set(names_to_ask(path_of(case))) <= asked


@pytest.mark.parametrize(
    ("domain", "registered"),
    [
        ("b.com", "b.com"),
        ("mail.news.b.com", "b.com"),
        ("b.com.cn", "b.com.cn"),
        ("mail.b.com.cn", "b.com.cn"),
        ("mail.b.co.uk", "b.co.uk"),
        ("b.cn", "b.cn"),
        ("com", "com"),
    ],
)
def test_the_registered_domain(domain, registered):
    assert organisational_domain(domain) == registered


@pytest.mark.parametrize(
    "texts",
    [
        ["<script>alert(1)</script>" * 10],
        ["v=spf1 <img src=x onerror=alert(1)> -all"],
        ["v=spf1 " + "include:spf.mail.qq.com " * 5000],
        ["v=spf1 " + "x" * 100_000],
        ["v=spf1 " + "(" * 100_000],
        ["v=spf1 include:" + "a." * 50_000 + "com ~all"],
        ["v=spf1 \x00\r\nBcc: x ~all"],
        ["v=DMARC1; " + "p=none;" * 10_000],
        ["v=DKIM1; p=" + "A" * 100_000],
        ["\N{RIGHT-TO-LEFT OVERRIDE}" * 1000],
    ],
    ids=range(10),
)
def test_hostile_records_are_shown_short_and_on_one_line(texts):
    def lookup(name, kind):
        if kind == "MX":
            return Answer(((10, "<b>" + "x" * 1000),))
        return Answer(tuple((text,) for text in texts) if kind == "TXT" else ())

    for host in ("smtp.exmail.qq.com", "smtp.office365.com", "mail.b.com"):
        path = MailPath("B SMTP", "b.com", "b.com", provider_at(host), host)
        for check in read_records(path, lookup):
            words = [*check.seen, *(finding.sentence() for finding in check.findings)]
            assert all(len(word) < 2000 and len(word.splitlines()) <= 1 for word in words)


@given(st.text(max_size=300), st.text(max_size=100))
def test_no_record_breaks_the_reading(text, other):
    texts = (("v=spf1 " + text,), ("v=DMARC1;" + text,), ("v=DKIM1;" + other, text), (other,))
    for found in texts:

        def lookup(name, kind, found=found):
            return Answer((found,) if kind == "TXT" else ((1, other),) if kind == "MX" else ())

        for host in ("smtp.gmail.com", "smtp.office365.com", "mail.b.com"):
            path = MailPath("B SMTP", "b.com", "a.com", provider_at(host), host)
            for check in read_records(path, lookup):
                check.expectation()
                assert all(finding.sentence() for finding in check.findings)


@given(st.lists(st.text(max_size=200), max_size=4))
def test_what_is_pasted_can_be_read(texts):
    pasted = better_spf(["v=spf1 " + text for text in texts], "spf.mail.qq.com")
    assert all(term.name for term in parse_spf(pasted))


def test_a_tree_of_includes_is_not_followed_for_ever():
    asked = []

    def lookup(name, kind):
        asked.append(name)
        branches = " ".join(f"include:{n}.{name}"[:200] for n in "abcdefgh")
        return Answer(((f"v=spf1 {branches} -all",),))

    reading = read_spf("b.com", lookup, ["spf.mail.qq.com"])
    assert "spf_limit" in {rule for rule, _values, _harmless in reading.problems}
    assert len(asked) < 10 * LOOKUP_LIMIT


def test_shown():
    assert shown("v=spf1\n-all") == "v=spf1�-all"
    assert len(shown("x" * 10_000)) < 500
