# SPDX-License-Identifier: LGPL-3.0-only
"""What the mailbox's own provider wrote about a mail is read, and nobody else's word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import provider_at, read_authentication

GMAIL = "imap.gmail.com"
OWN = "mail.b.com"

GOOGLE = b"""\
Received: by 2002:a05:6a10:1; Tue, 24 Nov 2026 00:00:00 -0800 (PST)
Authentication-Results: mx.google.com;
       dkim=pass header.i=@b.com header.s=google header.b=xxx;
       spf=pass (google.com: domain of kevin@b.com designates 192.0.2.1 as; "permitted" sender)
 smtp.mailfrom=kevin@b.com;
       dmarc=pass (p=NONE sp=NONE dis=NONE) header.from=b.com
"""
OFFICE = b"""\
Authentication-Results: spf=softfail (sender IP is 192.0.2.1)
 smtp.mailfrom=b.com; dkim=none (message not signed)
 header.d=none;dmarc=fail action=none header.from=b.com;compauth=fail
"""
FORGED = b"Authentication-Results: %b; spf=pass; dkim=pass; dmarc=pass\r\n"
REST = b"From: kevin@b.com\r\nSubject: x\r\n\r\n"


def read(headers, host=GMAIL):
    return read_authentication(headers + REST, host, provider_at(host))


SEEN = [
    (GOOGLE, GMAIL, {"dkim": "pass", "spf": "pass", "dmarc": "pass"}),
    (OFFICE, "outlook.office365.com", {"spf": "softfail", "dkim": "none", "dmarc": "fail"}),
    (
        b"Authentication-Results: mx.qq.com; spf=none smtp.mailfrom=;\n\tdkim=none;"
        b" dmarc=none(permerror) header.from=b.com\n",
        "imap.exmail.qq.com",
        {"spf": "none", "dkim": "none", "dmarc": "none"},
    ),
    (
        b"Authentication-Results: mx.zohomail.com;\n\tdkim=pass;\n\tspf=pass (zohomail.com: domain"
        b" of b.com designates)  smtp.mailfrom=x@b.com;\n\tdmarc=pass(p=none dis=none)"
        b" header.from=b.com\n",
        "imap.zoho.com",
        {"dkim": "pass", "spf": "pass", "dmarc": "pass"},
    ),
    (
        b"Authentication-Results: mxfront3q.mail.yandex.net; spf=pass (mxfront3q.mail.yandex.net:"
        b" domain of b.com designates) smtp.mail=x@b.com; dkim=pass header.i=@b.com\n",
        "imap.yandex.com",
        {"spf": "pass", "dkim": "pass"},
    ),
    (
        b'Authentication-Results: "mx.b.com" 1; dkim/1 = fail reason="bad; signature"\n',
        OWN,
        {"dkim": "fail"},
    ),
    (b"Authentication-Results: mx.b.com 1; none\n", OWN, {}),
    (
        b"Authentication-Results: mx.b.com; spf=fail\nAuthentication-Results: mx.b.com;"
        b" dkim=fail; dkim=pass; dkim=fail\n",
        OWN,
        {"spf": "fail", "dkim": "pass"},
    ),
]


@pytest.mark.parametrize(("headers", "host", "results"), SEEN)
def test_seen_in_the_field(headers, host, results):
    assert read(headers, host).results == results
    assert read(headers.replace(b"\n", b"\r\n"), host).results == results


FORGERIES = [
    (FORGED % b"mx.evil.com", GMAIL),
    (FORGED % b"mx.google.com.evil.com", GMAIL),
    (FORGED % b"evilmx.google.com", GMAIL),
    (FORGED % b"google.com", GMAIL),
    (FORGED % b"(mx.google.com) evil.com", GMAIL),
    (FORGED % b'"mx.google.com', GMAIL),
    (FORGED % b"b.com.evil.com", OWN),
    (FORGED % b"xb.com", OWN),
    (b"Authentication-Results: spf=pass; dkim=pass\r\n", GMAIL),
    (b"Authentication-Results: ; spf=pass\r\n", GMAIL),
    (b"Authentication-Results:\r\n", OWN),
    (b"X-Authentication-Results: mx.google.com; spf=pass\r\n", GMAIL),
    (b"ARC-Authentication-Results: i=1; mx.google.com; spf=pass\r\n", GMAIL),
    (b"", GMAIL),
]


@pytest.mark.parametrize(("headers", "host"), FORGERIES)
def test_what_others_write_counts_for_nothing(headers, host):
    assert read(headers, host) is None
    if b"google" not in headers or host != GMAIL:
        return
    genuine = read(GOOGLE.replace(b"spf=pass", b"spf=fail") + headers)
    assert genuine.results["spf"] == "fail"


def test_the_topmost_counts_where_the_name_is_forged():
    genuine = GOOGLE.replace(b"=pass", b"=fail")
    forged = FORGED % b"mx.google.com"
    for headers in (
        genuine + b"Received: from evil\n" + forged,
        genuine + FORGED % b"mx.evil.com" + forged,
    ):
        assert set(read(headers).results.values()) == {"fail"}


def test_the_body_is_no_header():
    assert read(b"To: x\r\n\r\n" + GOOGLE) is None


def test_what_is_said():
    assert read(GOOGLE).sentence() == (
        "mx.google.com checked the mail that came back: SPF pass, DKIM pass, DMARC pass."
    )
    office = read(OFFICE, "outlook.office365.com")
    assert office.is_bad
    assert office.sentence().startswith(
        "Office 365 checked the mail that came back: SPF softfail, DKIM none, DMARC fail."
    )
    assert "Look Up DNS Records" in office.sentence()
    assert read(SEEN[2][0], SEEN[2][1]).sentence() == "", "it did not leave the provider"
    assert read(SEEN[6][0], OWN).sentence() == ""


@given(st.binary(max_size=500))
def test_no_header_breaks_the_reading(value):
    for host in (GMAIL, "outlook.office365.com", OWN, ""):
        found = read(b"Authentication-Results: " + value + b"\r\n", host)
        assert found is None or found.sentence() is not None


@pytest.mark.parametrize(
    "headers",
    [
        b"Authentication-Results: mx.google.com; spf=pass" + b"(" * 100_000,
        b"Authentication-Results: mx.google.com; " + b"spf=pass;" * 100_000,
        b"Authentication-Results: " + b"\\" * 100_000,
        (FORGED % b"mx.google.com") * 10_000,
    ],
    ids=["brackets", "results", "backslashes", "headers"],
)
def test_long_headers(headers):
    found = read(headers)
    assert found is None or found.results["spf"] == "pass"
