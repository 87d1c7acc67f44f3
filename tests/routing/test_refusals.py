# SPDX-License-Identifier: LGPL-3.0-only
"""Every refusal that has been seen is recognised, whatever the phase."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.provider import RULES
from routing import recognise_refusal, without_cure

SEEN = [
    (501, "mail from address must be same as authorization user", "sender"),
    (553, "Mail from must equal authorized user", "sender"),
    (553, "5.7.1 Sender address rejected: not owned by auth user.", "sender"),
    (553, "5.7.1 <bounce@a.com>: Sender address rejected: not owned by user x@a.com", "sender"),
    (440, "mail from account doesn't conform with authentication", "sender"),
    (501, '"MAIL FROM" is non-local account', "sender"),
    (550, "5.7.60 SMTP; Client does not have permissions to send as this sender", "sender"),
    (
        554,
        "5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied",
        "sender",
    ),
    (550, "5.7.1 Client does not have permissions to send as this sender", "sender"),
    (552, "the from address and the authenticated user must be the same email", "sender"),
    (550, "From domain must match authenticated domain", "sender"),
    (550, "5.4.5 Daily sending quota exceeded", "quota"),
    (454, "4.7.0 Too many login attempts, please try again later.", "quota"),
    (451, "MI:DMC 163 smtp10", "quota"),
    (451, "MI:SFQ 163", "quota"),
    (421, "HL:ICC 163", "quota"),
    (535, "Error: authentication failed", "login"),
    (530, "5.7.0 Authentication required", "login"),
    (530, "5.7.57 Client not authenticated to send mail.", "login"),
]


@pytest.mark.parametrize(("code", "text", "kind"), SEEN)
def test_what_helps_is_taken_out_of_a_failure(code, text, kind):
    told = f"Ohm SMTP refused this mail:\n{code} {text}"
    refusal = recognise_refusal(code, text)
    for values in ({}, {"login": "kevin@a.com"}, {"login_address": "kevin@a.com"}):
        assert without_cure(f"{told}\n{refusal.cure('Ohm (A) [*]', **values)}") == told
    assert without_cure(told) == told
    assert refusal.kind == kind


@pytest.mark.parametrize(("code", "text", "kind"), SEEN)
def test_seen_in_the_field(code, text, kind):
    assert recognise_refusal(code, text.encode()).kind == kind
    assert recognise_refusal(code, text.upper()).kind == kind
    assert recognise_refusal(code, text.replace(" ", "\r\n ")).kind == kind


@pytest.mark.parametrize(("code", "text", "kind"), [row for row in SEEN if row[2] == "sender"])
def test_recognised_where_the_code_was_lost(code, text, kind):
    assert recognise_refusal(None, f"refused with error {text.encode()!r}").kind == kind


@pytest.mark.parametrize("name", [name for name in RULES if name != "any"])
def test_the_simulated_providers_refuse_in_recognised_words(name):
    code, _space, words = RULES[name].reply.partition(" ")
    assert recognise_refusal(int(code), words).kind == "sender"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (550, "5.1.1 Mailbox not found"),
        (550, "mail from address must be same as authorization user"),
        (None, ""),
        (421, "Service not available"),
    ],
)
def test_other_replies_are_left_as_they_are(code, text):
    assert recognise_refusal(code, text) is None


@pytest.mark.parametrize(
    "kept",
    [
        "535\n5.7.8 Authentication credentials invalid",
        "(535, b'5.7.8 Authentication credentials invalid')",
        "A SMTP (A) cannot be used: \n535 5.7.8 Authentication credentials invalid",
        "发信服务器“A SMTP (A)”无法使用：\n535 5.7.8 Authentication credentials invalid",
    ],
)
def test_a_refused_login_is_recognised_as_it_was_kept(kept):
    assert recognise_refusal(None, kept).kind == "login"


def test_the_login_is_named_unless_the_server_is_named_so():
    refusal = recognise_refusal(535, "Error: authentication failed")
    assert "Ohm SMTP refused the login of kevin@a.com" in refusal.cure(
        "Ohm SMTP", login="kevin@a.com"
    )
    assert refusal.cure("kevin@a.com", login="kevin@a.com").startswith(
        "The server refused the login of kevin@a.com."
    )
    assert "refused the login." in refusal.cure("Ohm SMTP")
    by_oauth = refusal.cure("Ohm SMTP", login="kevin@a.com", oauth=True)
    assert "Connect its account again" in by_oauth
    assert "password" not in by_oauth


def test_a_server_without_a_username_refused_no_login():
    reply = "5.7.0 Authentication required"
    refusal = recognise_refusal(530, reply)
    sentence = refusal.cure("Ohm SMTP", has_username=False)
    assert "refused the login" not in sentence
    assert "Ohm SMTP wants a login" in sentence and "fill in its username" in sentence
    assert without_cure(f"530 {reply}\n{sentence}") == f"530 {reply}"
    assert "refused the login" in refusal.cure("Ohm SMTP", has_username=True)


def test_a_server_for_any_sender_is_not_told_to_turn_on_what_says_nothing_to_it():
    sentence = recognise_refusal(*SEEN[0][:2]).cure("Ohm SMTP", policy="any")
    assert "Turn on" not in sentence
    assert "'Only the login may send'" in sentence


@given(st.none() | st.integers(200, 599), st.binary(max_size=300))
def test_any_reply_can_be_read(code, reply):
    recognise_refusal(code, reply)


def test_the_cure_names_the_server_and_the_setting():
    refusal = recognise_refusal(*SEEN[0][:2])
    sentence = refusal.cure("Ohm SMTP")
    assert "refused by Ohm SMTP" in sentence.replace("Refused", "refused")
    assert "it lets only its own login send" in sentence
    assert "Turn on Restrict Username" in sentence and "Sender Policy" in sentence
    assert "kevin@a.com" in refusal.cure("Ohm SMTP", login_address="kevin@a.com")
