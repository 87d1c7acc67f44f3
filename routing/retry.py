# SPDX-License-Identifier: LGPL-3.0-only
"""When a mail that did not leave is tried again, and how many may leave now.

Pure functions: time and chance are passed in. :func:`judge` takes a :class:`Fault`, and tells
whether it is temporary and whose it is; :func:`next_try` gives the time of the next try. A
:class:`Usage` counts what a server was given lately; with its :class:`Limits` it tells when the
next mail may go.

    >>> from datetime import datetime
    >>> noon = datetime(2026, 1, 1, 12)
    >>> judge(Fault("mail", 451, "4.7.1 Greylisted"))
    Verdict(passes=True, mail=True, server=False, unsure=False)
    >>> next_try(tries=1, first=noon, now=noon, hours=72)
    datetime.datetime(2026, 1, 1, 12, 1)
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from .refusals import recognise_refusal

#: minutes until the next try, after the first, second, ... failure; the last one from then on
PAUSES = (1, 5, 15, 30, 60)
#: by what part of itself chance may lengthen a pause, so that not all come back at once
SPREAD = 0.2
#: hours after which a mail that could not be delivered fails, where nothing else is set
DEFAULT_HOURS = 72

#: how far a mail had come: being connected, logging in, before it was handed over, after that
PHASES = ("connect", "login", "mail", "handed_over")

#: the server will now answer every other mail the same; but 452 "too many recipients" (RFC 5321
#: 4.5.3.1.10) is about one mail
_TOO_MANY = re.compile(r"too many (?!.*\brecipients?\b)")


@dataclass(frozen=True)
class Fault:
    """What went wrong.

    :param phase: one of :data:`PHASES`
    :param code: of the server's reply; None: there was none
    :param words: of the server, or of the network
    :param timed_out: no reply came in time; else, without a reply, the session broke off
    :param served: how many mails the server had taken in this session
    """

    phase: str
    code: int | None = None
    words: str = ""
    timed_out: bool = False
    served: int = 0


@dataclass(frozen=True)
class Verdict:
    """What a fault means.

    :param passes: it is temporary: trying again may help
    :param mail: this mail pauses
    :param server: the server pauses, with all its mails
    :param unsure: the mail may have arrived: it is never tried again by itself
    """

    passes: bool
    mail: bool = False
    server: bool = False
    unsure: bool = False


_FAILS = Verdict(passes=False)


def judge(fault: Fault) -> Verdict:
    """Tell what a fault means.

    RFC 5321 4.2.1: a reply 4xx passes, 5xx does not; 3.8: 421 ends the session, whatever was
    asked. Quotas are known by a provider's own words, which one says with a 5xx.
    """
    if fault.code is None:
        return _judge_silence(fault)
    refusal = recognise_refusal(fault.code, fault.words)
    # it counts for the mail as well: else this mail would be the first to be tried each time, and
    # hold up those behind it for ever
    on_mail = fault.phase not in ("connect", "login")
    if refusal and refusal.kind == "quota":
        return Verdict(passes=True, mail=on_mail, server=True)
    if not 400 <= fault.code <= 499 or (refusal and refusal.kind in ("login", "sender")):
        return _FAILS
    everybodys = (
        fault.code == 421
        or fault.phase in ("connect", "login")
        or _TOO_MANY.search(fault.words.casefold())
    )
    return Verdict(passes=True, mail=on_mail, server=bool(everybodys))


def _judge_silence(fault: Fault) -> Verdict:
    """Tell what it means that no reply came.

    A mail on which the server hangs up pauses, else it would hold up those behind it for ever. The
    server pauses too, if the fault may be its own.
    """
    if fault.phase == "handed_over":
        # RFC 1047: the server may have taken it. Others' mails need not wait for it.
        return Verdict(passes=False, server=fault.timed_out, unsure=True)
    if fault.phase in ("connect", "login"):
        return Verdict(passes=True, server=True)
    return Verdict(passes=True, mail=True, server=fault.timed_out or not fault.served)


def next_try(
    tries: int, first: datetime, now: datetime, hours: int, chance: float = 0.0
) -> datetime | None:
    """Give the time of the next try.

    :param tries: how many have failed in a row, this one counted
    :param first: when the first of them failed
    :param hours: how long to go on trying; 0: not at all
    :param chance: a random number, from 0 to 1
    :return: None where it is to be given up. The last try is when the time is over.
    """
    last = first + timedelta(hours=hours)
    if now >= last:
        return None
    minutes = PAUSES[min(max(tries, 1), len(PAUSES)) - 1]
    return min(now + timedelta(minutes=minutes * (1 + SPREAD * chance)), last)


# ------------------------------------------------------------
# Limits
# ------------------------------------------------------------


@dataclass(frozen=True)
class _Window:
    """A span of time over which mails are counted, in slots: ``(number of the slot, mails)``.

    All mails of a slot count as long as any part of the slot is within the span, so never too few
    are counted. A limit of 30 a minute lets 30 leave in 65 seconds.
    """

    seconds: int
    slot: int

    def recent(self, slots, now):
        """Give the slots that count."""
        first = int((now - self.seconds) // self.slot)
        # slots further ahead do not count: somebody has set the clock back
        last = int((now + self.seconds) // self.slot)
        return tuple((number, count) for number, count in slots if first <= number <= last)

    def count(self, slots, now, mails):
        """Give the slots with some more mails in them."""
        present = int(now // self.slot)
        counts = dict(self.recent(slots, now))
        counts[present] = counts.get(present, 0) + mails
        return tuple(sorted(counts.items()))

    def sent(self, slots, now):
        """Tell how many were sent within the span."""
        return sum(count for _number, count in self.recent(slots, now))

    def free_at(self, slots, now, limit, mails):
        """Tell when some more mails do not exceed a limit any more, in seconds.

        More than the limit at once, such as one mail to many, wait until nothing else counts.
        """
        slots = sorted(self.recent(slots, now))
        sent = sum(count for _number, count in slots)
        for number, count in slots:
            if sent + mails <= limit:
                break
            sent -= count
            now = max(now, (number + 1) * self.slot + self.seconds)
        return now


_MINUTE = _Window(60, 5)
_DAY = _Window(24 * 3600, 3600)


@dataclass(frozen=True)
class Limits:
    """How many mails a server may be given; 0: as many as there are."""

    per_minute: int = 0
    per_day: int = 0


@dataclass(frozen=True)
class Usage:
    """How many mails a server was given lately: slots of :class:`_Window`."""

    minute: tuple = ()
    day: tuple = ()

    @classmethod
    def from_kept(cls, kept) -> "Usage":
        """Read what :meth:`keep` gave; nothing: nothing was sent."""
        kept = kept or {}
        return cls(*(tuple(tuple(slot) for slot in kept.get(name, ())) for name in ("m", "d")))

    def keep(self) -> dict:
        """Give it as values that JSON can hold."""
        return {"m": self.minute, "d": self.day}

    def add(self, now: datetime, mails: int = 1) -> "Usage":
        """Count mails that are given to the server now."""
        seconds = _seconds(now)
        return Usage(
            _MINUTE.count(self.minute, seconds, mails), _DAY.count(self.day, seconds, mails)
        )

    def last_minute(self, now: datetime) -> int:
        """Tell how many were sent within a minute."""
        return _MINUTE.sent(self.minute, _seconds(now))

    def last_day(self, now: datetime) -> int:
        """Tell how many were sent within 24 hours."""
        return _DAY.sent(self.day, _seconds(now))

    def free_at(self, limits: Limits, now: datetime, mails: int = 1) -> datetime:
        """Tell when the limits let some more mails pass; ``now``: at once."""
        seconds = _seconds(now)
        free = seconds
        if limits.per_minute:
            free = max(free, _MINUTE.free_at(self.minute, seconds, limits.per_minute, mails))
        if limits.per_day:
            free = max(free, _DAY.free_at(self.day, seconds, limits.per_day, mails))
        return now + timedelta(seconds=free - seconds)


def _seconds(now: datetime) -> float:
    """Give one of Odoo's naive UTC times in seconds since 1970."""
    return now.replace(tzinfo=timezone.utc).timestamp()
