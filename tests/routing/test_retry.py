# SPDX-License-Identifier: LGPL-3.0-only
"""When a mail that did not leave is tried again, and how many may leave now."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.retry import PAUSES, Fault, Limits, Usage, judge, next_try

NOON = datetime(2026, 1, 1, 12)

MAIL = (True, True, False, False)
SERVER = (True, False, True, False)
BOTH = (True, True, True, False)
FAILS = (False, False, False, False)

VERDICTS = [
    # one mail's
    (Fault("mail", 451, "4.7.1 Greylisted, try again later"), MAIL),
    (Fault("mail", 450, "4.2.1 The user is over rate"), MAIL),
    (Fault("mail", 452, "4.5.3 Too many recipients"), MAIL),
    (Fault("handed_over", 452, "4.3.1 Insufficient system storage"), MAIL),
    (Fault("mail", served=3), MAIL),
    # the server's
    (Fault("connect", words="Connection refused"), SERVER),
    (Fault("connect", words="timed out", timed_out=True), SERVER),
    (Fault("connect", 421, "4.3.2 Service not available"), SERVER),
    (Fault("connect", 450, "4.3.2 Try again"), SERVER),
    (Fault("login", 454, "4.7.0 Temporary authentication failure"), SERVER),
    (Fault("login", 454, "4.7.0 Too many login attempts, please try again later."), SERVER),
    (Fault("login"), SERVER),
    # the server's, but the mail counts its tries: else it would hold up the others for ever
    (Fault("mail", 421, "HL:ICC"), BOTH),
    (Fault("mail", 421, "4.4.2 Bye"), BOTH),
    (Fault("mail", 450, "4.7.1 Too many messages from you"), BOTH),
    (Fault("mail", 451, "MI:DMC"), BOTH),
    (Fault("handed_over", 451, "MI:SFQ"), BOTH),
    (Fault("handed_over", 550, "5.4.5 Daily sending quota exceeded"), BOTH),
    # whose it is cannot be said
    (Fault("mail", timed_out=True, served=3), BOTH),
    (Fault("mail", served=0), BOTH),
    # nobody's to repeat
    (Fault("login", 535, "5.7.8 Authentication credentials invalid"), FAILS),
    (Fault("login", 534, "5.7.9 Application-specific password required"), FAILS),
    (Fault("connect", 554, "5.7.1 No SMTP service here"), FAILS),
    (Fault("mail", 550, "5.1.1 No such user"), FAILS),
    (Fault("mail", 550, "5.7.1 Too many invalid recipients"), FAILS),
    (Fault("mail", 440, "mail from account doesn't conform with authentication"), FAILS),
    (Fault("handed_over", 554, "5.7.1 Spam"), FAILS),
    (Fault("handed_over"), (False, False, False, True)),
    (Fault("handed_over", timed_out=True), (False, False, True, True)),
]


@pytest.mark.parametrize(("fault", "expected"), VERDICTS, ids=lambda value: str(value)[:60])
def test_whose_fault_it_is(fault, expected):
    verdict = judge(fault)
    assert (verdict.passes, verdict.mail, verdict.server, verdict.unsure) == expected


def test_pauses_are_as_promised():
    pauses = [next_try(tries, NOON, NOON, 72) - NOON for tries in range(1, 8)]
    assert [pause.seconds // 60 for pause in pauses] == [1, 5, 15, 30, 60, 60, 60]


def test_zero_hours_are_native():
    assert next_try(1, NOON, NOON, 0) is None


def test_a_mail_is_tried_at_the_very_end_once_more():
    end = NOON + timedelta(hours=72)
    assert next_try(70, NOON, end - timedelta(minutes=3), 72) == end
    assert next_try(71, NOON, end, 72) is None


chances = st.floats(0, 1)


@given(tries=st.integers(1, 50), chance=chances, other=chances)
def test_pauses_grow(tries, chance, other):
    pause = next_try(tries, NOON, NOON, 1000, chance) - NOON
    longer = next_try(tries + 1, NOON, NOON, 1000, other) - NOON
    assert timedelta(minutes=1) <= pause <= timedelta(minutes=72)
    assert longer > pause or tries >= len(PAUSES)


@given(hours=st.integers(0, 200), chances=st.lists(chances, min_size=1))
def test_tries_end_when_the_hours_are_over(hours, chances):
    now, tries = NOON, 0
    while True:
        tries += 1
        then = next_try(tries, NOON, now, hours, chances[tries % len(chances)])
        if then is None:
            break
        assert then > now
        now = then
    assert now == NOON + timedelta(hours=hours)
    assert tries <= hours + len(PAUSES) + 1


steps = st.lists(st.tuples(st.floats(0, 4000), st.integers(1, 4)), min_size=1, max_size=60)


@given(limits=st.builds(Limits, st.integers(0, 8), st.integers(0, 30)), steps=steps)
def test_no_span_of_time_has_more_than_the_limit(limits, steps):
    """A server that gets mails whenever it may never gets more than it may."""
    now, usage, sent = NOON, Usage(), []
    for pause, mails in steps:
        now += timedelta(seconds=pause)
        free = usage.free_at(limits, now, mails)
        assert free >= now
        assert usage.free_at(limits, free, mails) == free, "what is promised holds"
        now = free
        usage = Usage.from_kept(usage.add(now, mails).keep())
        sent.append((now, mails))
        for limit, span in ((limits.per_minute, 60), (limits.per_day, 24 * 3600)):
            within = [count for at, count in sent if now - at < timedelta(seconds=span)]
            if limit and len(within) > 1:
                assert sum(within) <= limit


@given(steps=steps)
def test_without_a_limit_nothing_waits(steps):
    now, usage = NOON, Usage()
    for pause, mails in steps:
        now += timedelta(seconds=pause)
        assert usage.free_at(Limits(), now, mails) == now
        usage = usage.add(now, mails)
    assert usage.last_day(now) >= usage.last_minute(now) >= steps[-1][1]
    assert len(usage.minute) <= 14
    assert len(usage.day) <= 26


def test_a_limit_is_used_up():
    """30 a minute are 30 in 65 seconds, not in two minutes."""
    now, usage = NOON, Usage()
    for _number in range(300):
        now = usage.free_at(Limits(per_minute=30), now)
        usage = usage.add(now)
    assert now - NOON <= timedelta(seconds=9 * 65)


def test_more_than_the_limit_at_once_goes_alone():
    usage = Usage().add(NOON)
    free = usage.free_at(Limits(per_minute=5), NOON, 8)
    assert NOON < free <= NOON + timedelta(seconds=65)
    assert Usage().free_at(Limits(per_minute=5), NOON, 8) == NOON


def test_a_clock_that_was_wrong_does_not_stop_the_queue():
    usage = Usage().add(NOON + timedelta(days=400))
    assert usage.free_at(Limits(per_minute=1, per_day=1), NOON) == NOON
