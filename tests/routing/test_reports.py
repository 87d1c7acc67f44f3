# SPDX-License-Identifier: LGPL-3.0-only
"""Mail that machines write."""

from email import message_from_bytes, policy

import pytest

from routing import has_null_return_path, headers_of, is_automatic, read_clues, recognise_report


def recognise(raw, content_type="text/plain", sender="x@y.com", subject=""):
    return recognise_report(content_type, sender, subject, headers(raw))


def headers(raw):
    return headers_of(message_from_bytes(raw + b"\r\n\r\n", policy=policy.SMTP).raw_items())


@pytest.mark.parametrize(
    "raw",
    [
        b"Auto-Submitted: auto-replied",
        b"Auto-Submitted: Auto-Generated; x=y",
        b"Precedence: bulk",
        b"Precedence: JUNK",
        b"precedence: list",
        b"List-Id: <a.b>",
        b"List-Unsubscribe: <mailto:x@y.com>",
        b"List-Post: NO",
        b"X-Auto-Response-Suppress: All",
        b"X-Auto-Response-Suppress: OOF, AutoReply",
        b"Return-Path: <>",
        b"Return-Path: < >",
        b"Return-Path:",
        b"Return-Path: <>\r\nReturn-Path: <forged@x.com>",
    ],
)
def test_what_gets_no_answer(raw):
    assert is_automatic(headers(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Auto-Submitted: no",
        b"Auto-Submitted: No (a person)",
        b"Precedence: first-class",
        b"X-Auto-Response-Suppress: None",
        b"Return-Path: <x@y.com>",
        b"X-List-Id: x",
    ],
)
def test_what_a_person_writes(raw):
    assert not is_automatic(headers(raw))


@pytest.mark.parametrize(
    ("raw", "options", "expected"),
    [
        (b"", {"content_type": "multipart/report"}, "report"),
        (b"", {"content_type": "multipart/report", "sender": "postmaster@x.com"}, "report"),
        (b"", {"sender": "MAILER-DAEMON@x.com"}, "note"),
        (b"", {"sender": "PostMaster@qq.com"}, "note"),
        (b"Auto-Submitted: auto-replied", {"sender": "postmaster@x.com"}, "note"),
        (b"X-Failed-Recipients: a@b.com", {}, "note"),
        (b"Return-Path: <>", {"subject": "系统退信"}, "note"),
        (b"Return-Path: <>", {"subject": "Undelivered Mail Returned to Sender"}, "note"),
        (b"Return-Path: <>", {"subject": "通知"}, "suspect"),
        (b"Return-Path: <>\r\nAuto-Submitted: auto-replied", {"subject": "退信"}, ""),
        (b"Return-Path: <>\r\nX-Auto-Response-Suppress: All", {}, ""),
        (b"Return-Path: <x@y.com>", {"subject": "退信"}, ""),
        (b"", {"subject": "Undelivered"}, ""),
        (b"", {"sender": "postmasters@x.com"}, ""),
    ],
)
def test_kinds_of_reports(raw, options, expected):
    assert recognise(raw, **options) == expected


def test_clues():
    clues = read_clues(
        headers(
            b"In-Reply-To: <1@a.com>\r\nReferences: <0@a.com>\r\n <1@a.com>\r\n"
            b"X-Failed-Recipients: C@d.com,\r\n e@f.com"
        ),
        "<p>致 <b>g@h.com</b>，主题：Your  Quotation<br>&lt;2@a.com&gt; i@j.com.</p>",
    )
    assert clues.references == ("<1@a.com>", "<0@a.com>")
    assert clues.quoted_ids == ("<2@a.com>",)
    assert clues.failed == ("c@d.com", "e@f.com")
    assert clues.quoted == ("g@h.com", "2@a.com", "i@j.com")
    assert clues.quotes("your quotation")
    assert not clues.quotes("Re"), "says nothing"
    assert not clues.quotes("Another letter")


def test_a_subject_is_tried_out_by_nobody():
    def clues(text):
        return read_clues({}, text)

    numbers = "<br>".join(f"Quotation S{number:05} of Alpha" for number in range(1, 4000))
    assert not clues(numbers).quotes("Quotation S00042 of Alpha")
    assert not clues(numbers[:2000]).quotes("Quotation S00042 of Alpha")
    assert not clues("x " * 3000 + "Your quotation").quotes("Your quotation"), "far below"
    assert not clues("Quotation S00042").quotes("Quotation S0004"), "another one"
    assert clues("<p>主题：Quotation S00042，收件人</p>Subject: quotation s00042").quotes(
        "Quotation S00042"
    )
    assert clues("您的报价单已被退回").quotes("您的报价单")


def test_the_one_subject_that_is_named():
    clues = read_clues({}, "Subject: Re: Your quotation. Nothing of the other letter.")
    assert clues.subject_among(["Your quotation"]) == "Your quotation"
    assert clues.subject_among(["Your quotation", "Re: Your quotation"]) == "Re: Your quotation"
    assert clues.subject_among(["Your quotation", "other letter"]) == ""
    assert clues.subject_among(["An invoice"]) == clues.subject_among([]) == ""


def test_a_list_of_addresses_is_no_note():
    assert not read_clues({}, "a@b.com c@d.com a@b.com").is_list
    assert read_clues({}, " ".join(f"a{number}@b.com" for number in range(20))).is_list


@pytest.mark.parametrize(
    "text",
    [
        "<" * 1_000_000,
        "<a" * 500_000,
        "&lt;" * 250_000,
        "a@" * 500_000,
        "a" * 1_000_000,
        "a." * 500_000,
        "@" * 1_000_000,
        "a@b.com " * 125_000,
        "&lt;a@b.com&gt; " * 60_000,
        "\0\ud800" * 500_000,
    ],
    ids=range(10),
)
def test_what_a_stranger_writes_is_read_in_no_time(text):
    """By the number of its characters, once: with anything worse the run would not end."""
    clues = read_clues({"references": [text], "x-failed-recipients": [text]}, text)
    assert len(clues.quoted) <= 50
    assert len(clues.quoted_ids) <= 50
    assert len(clues.failed) <= 50
    recognise_report("text/plain", "x@y.com", text, {"return-path": ["<>"]})


def test_hostile_headers():
    raw = b"Return-Path: \xff\xfe\r\nAuto-Submitted: \x00\r\nX-Failed-Recipients: =?x?q?\xff?="
    found = headers(raw)
    assert not has_null_return_path(found)
    assert is_automatic(found)
    assert read_clues(found, None).failed == ()
