# SPDX-License-Identifier: LGPL-3.0-only
"""Addresses and headers, with any text that people and programs put into them."""

import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routing import (
    MailboxHeader,
    ascii_address,
    ascii_domain,
    clean_name,
    encode_mailbox,
    format_mailbox,
    is_address,
    is_local_part,
    parse_mailbox,
    unicode_domain,
)

LOGIN = "kevin@odoomommy.com"
NASTY = [
    "韩菱纱 (lingsha.han@odoomommy.com)",
    'Kevin "the mail" O\'Hara, Ltd. (kevin@a-very-long-domain-name-for-mail.example.com)',
    "x" * 500,
    "慕容紫英" * 125,
    "😀👩‍👩‍👧‍👦 emoji",
    "a\r\nBcc: victim@example.com",
    "line\u2028separator\x0b\x85and\x1econtrols\x00",
    "=?utf-8?b?5oWV5a65?=",
    "=?bad?x?y?=",
    "\\back\\slash\\",
    '"',
    "a@b.c",
    "Group: member;",
    "comma, comma",
    "(comment)",
    "[square]",
    " spaces  inside ",
    "e\u0301 combining",
    "עברית العربية",
    "tail space ",
]


def delivered(name, header="From"):
    """What a customer's program reads after the header has crossed the wire."""
    message = EmailMessage(policy=email.policy.SMTP)
    message[header] = MailboxHeader(name, LOGIN, header)
    message["Subject"] = "S"
    message.set_content("body")
    wire = message.as_bytes()
    head = wire.split(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")
    return wire, head, email.message_from_bytes(wire, policy=email.policy.default)


def check_name_survives(name, header="From"):
    wire, head, parsed = delivered(name, header)
    assert b"\r" not in head
    assert wire.isascii()
    assert all(len(line) <= 998 for line in head.splitlines()), head
    assert all(len(line) <= 78 or b" " not in line.strip() for line in head.splitlines()[1:]), head
    assert [key for key in parsed if key.lower() not in ("mime-version",)] == [
        header,
        "Subject",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]
    assert not parsed[header].defects
    (address,) = parsed[header].addresses
    assert address.addr_spec == LOGIN
    shown = address.display_name
    if shown.endswith("…"):
        assert len(shown) > 200 and clean_name(name).startswith(shown[:-1])
    else:
        assert shown == clean_name(name)


@given(st.text(max_size=600))
def test_any_unicode_name_reaches_the_customer_in_one_well_formed_header(name):
    check_name_survives(name)


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("header", ["From", "Reply-To"])
def test_nasty_names_reach_the_customer(name, header):
    check_name_survives(name, header)


def test_a_real_name_is_shown_in_full_however_long():
    name = (
        "青岛欧姆电子商务有限公司销售部韩菱纱 (lingsha.han@" + "long-" * 10 + "domain.example.com)"
    )
    _wire, _head, parsed = delivered(name)
    assert parsed["From"].addresses[0].display_name == name


def test_a_name_that_fits_no_line_is_cut():
    _wire, _head, parsed = delivered("慕容紫英" * 125)
    assert parsed["From"].addresses[0].display_name.endswith("…")


@given(st.text(max_size=300))
@example("a\r\nBcc: x@y.z")
def test_no_line_end_survives_in_a_name(name):
    assert len(clean_name(name).splitlines()) <= 1
    assert clean_name(clean_name(name)) == clean_name(name)


@given(st.text(max_size=200))
@example('"')
@example("\\")
def test_a_mailbox_reads_as_it_was_written(name):
    written = format_mailbox(name, LOGIN)
    assert "\n" not in written and "\r" not in written
    parsed = parse_mailbox(encode_mailbox(name, LOGIN))
    assert parsed == (clean_name(name), LOGIN)


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("kevin@a.com", "", "kevin@a.com"),
        ("Kevin <kevin@a.com>", "Kevin", "kevin@a.com"),
        ('"Han, Lingsha" <l@a.com>', "Han, Lingsha", "l@a.com"),
        ("Han, Lingsha <l@a.com>", "Lingsha", "l@a.com"),
        ("=?utf-8?b?6Z+p6I+x57qx?= <l@a.com>", "韩菱纱", "l@a.com"),
        ("韩菱纱 <l@a.com>", "韩菱纱", "l@a.com"),
        ("a@a.com, b@b.com", "", "a@a.com"),
        ("Only a name", "Only a name", ""),
        ("", "", ""),
        ("   ", "", ""),
        ("<>", "<>", ""),
        ('"Evil\r\nBcc: v@x.com" <l@a.com>', "Evil Bcc: v@x.com", "l@a.com"),
        # no quotes: two addresses without a comma, of which the first counts
        ("Evil\r\nBcc: v@x.com <l@a.com>", "", "v@x.com"),
    ],
)
def test_reading_a_stored_sender(text, name, address):
    found = parse_mailbox(text)
    assert found == (name, address)


@given(st.text(max_size=200))
def test_reading_any_text_does_not_fail_and_gives_one_line(text):
    name, address = parse_mailbox(text)
    assert len((name + address).splitlines()) <= 1
    assert ascii_address(text).isascii()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OdooMommy.COM", "odoomommy.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("公司.cn", "xn--55qx5d.cn"),
        ("xn--55qx5d.cn", "xn--55qx5d.cn"),
        ("a.com.", "a.com"),
    ],
)
def test_domains_on_the_wire(text, expected):
    assert ascii_domain(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a", "a b.com", "@a.com", "a..com", "-a.com", "a.com\r\nx", "127.0.0.1", "a_/b.c"]
)
def test_what_is_no_domain(text):
    with pytest.raises(ValueError):
        ascii_domain(text)


def test_domains_for_people():
    assert unicode_domain("xn--55qx5d.cn") == "公司.cn"
    assert unicode_domain("a.com") == "a.com"
    assert unicode_domain("xn--!!!") == "xn--!!!"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kevin@odoomommy.com", True),
        ("apikey", False),
        ("DOMAIN\\user", False),
        ("Kevin <kevin@a.com>", False),
        ("kevin@localhost", False),
        ("ke vin@a.com", False),
        ("kevin@a.com\r\nx@b.com", False),
        ("凯文@a.com", False),
        (None, False),
    ],
)
def test_what_is_a_login_address(text, expected):
    assert is_address(text) is expected


@pytest.mark.parametrize("text", ["info", "first.last", "a+b", "o'hara"])
def test_local_parts(text):
    assert is_local_part(text)


@pytest.mark.parametrize("text", ["", "a b", "a@b", "你好", "a\nb", ".a", "a.", "a..b", "x" * 65])
def test_no_local_parts(text):
    assert not is_local_part(text)


def test_brackets_without_end():
    text = "(" * 3000 + "a@b.com"
    assert parse_mailbox(text).address == "a@b.com"
    assert ascii_address(text) == "a@b.com"


def test_a_domain_that_is_too_long_is_none():
    for domain in ("a" * 60 + ".com", "à" * 50_000 + ".com", "a." * 200 + "com"):
        assert is_address(f"a@{domain}") is (len(domain) < 253)
