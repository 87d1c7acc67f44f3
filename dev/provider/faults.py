# SPDX-License-Identifier: LGPL-3.0-only
"""What can be ordered to go wrong in a provider's SMTP sessions."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: The SMTP phases in which a session can break.
PHASES = ("connect", "ehlo", "auth", "mail", "rcpt", "data", "end_of_data", "between")
PHASE_OF_VERB = {verb: verb.lower() for verb in ("EHLO", "AUTH", "MAIL", "RCPT", "DATA")}
PHASE_OF_VERB |= {"HELO": "ehlo", "BDAT": "data"}
# A client tries another verb or mechanism after a refusal (HELO after EHLO, LOGIN after PLAIN);
# a provider that is out of order refuses those in the same session too.
LASTING_PHASES = ("ehlo", "auth")

REPLIES = {
    "421": "421 HL:ICC",  # NetEase: too many connections from this client
    "451": "451 MI:SFQ",  # NetEase: too many mails in a short time
    "535": "535 5.7.8 Authentication credentials invalid",  # RFC 4954, section 6
    # no SMTP reply (RFC 5321, section 4.2); words that PostgreSQL cannot store; a line that is
    # longer than smtplib reads
    "garbage": "<html>What do you want here?</html>",
    "nul": "550 5.7.1 Re\0fused",
    "long": "550 5.7.1 " + "x" * 9000,
}
_LOST_REPLIES = ("accept_then_drop", "accept_then_hang", "accept_then_garbage")


@dataclass
class Fault:
    """One order, counted down: see :meth:`Provider.fail`.

    :raises ValueError: unknown phase or action.
    """

    phase: str
    action: str
    times: int | None
    after: int

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"unknown phase {self.phase!r}: one of {', '.join(PHASES)}")
        known = ("hang", "drop", *REPLIES)
        if self.phase == "end_of_data":
            known += _LOST_REPLIES
        if self.action not in known and not re.fullmatch(r"[2-5]\d\d [ -~]+", self.action):
            raise ValueError(
                f"unknown action {self.action!r} in {self.phase}: "
                f"one of {', '.join(known)}, or 'NNN text'"
            )

    def strikes(self) -> bool:
        """Count one occurrence of the phase and tell whether the fault hits it."""
        if self.after:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0
