# SPDX-License-Identifier: LGPL-3.0-only
"""A failure that was kept in one language is told in another."""

import pytest

from routing.failures import (
    FAILURES,
    HEADLINE,
    MOST_LETTERS,
    _pattern,
    in_language,
    is_of_network,
    retell,
    without_headline,
)

# as a translator writes: values in another order, with words before and behind
CHINESE = {
    FAILURES["refused"]: "“%(server)s”拒收此邮件：\n%(words)s",
    FAILURES["recipient"]: "%(address)s 被拒收：%(words)s",
    FAILURES["given_up"]: "%(hours)s 小时无法使用“%(server)s”：%(error)s\n请检查，然后重试。",
    FAILURES["correct_addresses"]: "请更正地址后重试。",
    FAILURES["hung_up"]: "断行不同：“%(server)s”%(error)s",
}
VALUES = {
    "address": "boss@example.net",
    "error": "[Errno 111] 100% refused",
    "hours": 72,
    "server": "B SMTP (B)",
    "words": "550 5.1.1 x was refused: no such user\n550 5.1.1 %(server)s was refused: y",
}
ENGLISH = in_language(lambda sentence: sentence)
OTHER = in_language(lambda sentence: CHINESE.get(sentence, sentence))


@pytest.mark.parametrize("event", ["refused", "given_up", "correct_addresses", "recipient"])
def test_a_failure_is_told_in_another_language_and_back(event):
    english, chinese = FAILURES[event] % VALUES, CHINESE[FAILURES[event]] % VALUES
    assert retell(english, ENGLISH, OTHER) == chinese
    assert retell(chinese, OTHER, ENGLISH) == english


def test_several_sentences_in_one_failure():
    events = ("refused", "correct_addresses")
    english = "\n".join(FAILURES[event] % VALUES for event in events)
    chinese = "\n".join(CHINESE[FAILURES[event]] % VALUES for event in events)
    assert retell(english, ENGLISH, OTHER) == chinese


def test_blanks_around_a_sentence_are_no_part_of_it():
    kept = f"\x0b  {FAILURES['correct_addresses']}\x0b"
    assert retell(kept, ENGLISH, OTHER) == CHINESE[FAILURES["correct_addresses"]]


def test_a_server_cannot_make_reading_take_long():
    """Two repetitions side by side try every way to share a text: 64 KB of blanks took a minute."""
    for sentence in (*ENGLISH, *CHINESE.values()):
        assert "*" not in _pattern(sentence).pattern.replace(r"\*", "")
    for length, is_told in ((MOST_LETTERS, True), (MOST_LETTERS + 1, False)):
        start = "x was refused: "
        line = start + "y" * (length - len(start))
        assert (retell(line, ENGLISH, OTHER) != line) is is_told


def test_what_has_no_translation_stays():
    for text in ("Division by zero", FAILURES["killed"] % VALUES, ""):
        assert retell(text, ENGLISH, OTHER) == text


def test_a_translation_with_other_line_breaks_is_left_out():
    text = FAILURES["hung_up"] % VALUES
    assert retell(text, ENGLISH, OTHER) == text


def test_what_the_network_said_and_no_more():
    known = [ENGLISH, OTHER]
    assert is_of_network("111\nConnection refused", known)
    assert is_of_network("timed out", known)
    assert not is_of_network("Division by zero", known)
    for kept in known:
        told = kept[FAILURES["given_up"]] % {**VALUES, "error": "Connection refused"}
        assert not is_of_network(told, known), "it says what helps"


def test_the_headline_goes_where_more_is_said():
    headlines = {HEADLINE, "邮件投递失败"}
    for headline in headlines:
        assert without_headline(f"{headline}\nwhy", headlines) == "why"
        assert without_headline(headline, headlines) == headline
    assert without_headline("why\nand how", headlines) == "why\nand how"
