# SPDX-License-Identifier: LGPL-3.0-only
"""No value makes a header of its own, and none that is well-formed is touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.headers import is_header_name, safe_mime_type, safe_text, safe_value, strange_header

HIDDEN = "=?utf-8?q?=0d=0aBcc:_evil@example.org?="


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Subject", "Größe 5, 报价单"),
        ("Subject", "=?utf-8?q?Gr=C3=B6=C3=9Fe?="),
        ("To", "Kim <kim@a.com>"),
        ("To", '"Lee, Kim (Ltd.)" <kim@a.com>'),
        ("To", "kim@a.com, Lee <lee@a.com>"),
        ("Reply-To", "=?utf-8?b?6Z+p6I+x57qx?= <l@a.com>"),
        ("References", "<1@a.com>\n <2@a.com>".replace("\n", "")),
        ("X-Odoo-Objects", "crm.lead-7"),
    ],
)
def test_what_is_well_formed_stays(name, value):
    assert safe_value(name, value) == value


@pytest.mark.parametrize(
    ("name", "value", "safe"),
    [
        ("Subject", "Offer\r\nBcc: evil@example.org", "Offer Bcc: evil@example.org"),
        ("Subject", f"Offer {HIDDEN}", "Offer Bcc: evil@example.org"),
        ("Subject", "Offer\n", "Offer"),
        ("From", "A\nB <a@b.com>", "A B <a@b.com>"),
        ("To", f"<a@b.com> {HIDDEN}", "a@b.com"),
        ("To", "nobody\r\n", "nobody"),
        ("To", "Größe <ü@b.com>, Größe <a@b.com>", "Größe <a@b.com>"),
        ("From", "x=?utf-8?b?////?=@b.com", ""),
        ("Message-Id", f"<1@a.com>{HIDDEN}", "<1@a.com>"),
        ("References", "<1@a.com>\r\nBcc: y", "<1@a.com> Bcc: y"),
    ],
)
def test_what_would_make_a_header_is_written_anew(name, value, safe):
    assert safe_value(name, value) == safe


@given(st.text(), st.sampled_from(["Subject", "From", "To", "References", "X-Note"]))
def test_no_text_breaks_a_line(text, name):
    value = safe_value(name, text + HIDDEN + text)
    assert len(value.splitlines()) <= 1
    assert not set(safe_text(text)) & set("\r\n\0")


def test_names_and_types():
    assert is_header_name("X-Odoo-Objects")
    assert not any(map(is_header_name, ("", "X Y", "X:", "X\nBcc", "Ü")))
    assert safe_mime_type("text/plain; charset=utf-8") == "text/plain; charset=utf-8"
    assert safe_mime_type("text/plain\r\nBcc: x") == ""


def test_a_line_that_is_none_of_the_headers_is_found():
    good = b"To: a@b.com\r\nSubject: x\r\n y\r\n\r\nBcc: body\r\n"
    assert strange_header(["Subject", "To"], good) == ""
    assert strange_header(["To", "Subject"], good.replace(b" y", b"Bcc: y")) == "Bcc: y"
    assert strange_header(["To", "Subject"], good.replace(b" y", b"\r\nx")) == ""
    assert strange_header(["To", "Subject", "Cc"], good) == "cc"


@pytest.mark.parametrize("name", ["From", "Reply-To", "To"])
def test_brackets_without_end_are_no_address(name):
    assert safe_value(name, "(" * 5000 + "a@b.com") == ""


def test_what_python_would_fold_for_minutes_is_cut():
    assert safe_value("Reply-To", "à" * 50_000 + "@b.com") == ""
    name = safe_value("Reply-To", "à " * 20_000 + "<a@b.com>")
    assert name.endswith("… <a@b.com>") and len(name) < 600
    assert safe_value("Subject", "à " * 50_000).endswith("…")
    assert safe_value("From", "a@b.com, " * 10_000).count("@") == 10
    many = ", ".join(f"Lee <lee{number}@b.com>" for number in range(300))
    assert safe_value("To", many) == many, "no recipient is lost"
