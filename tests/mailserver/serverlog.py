# SPDX-License-Identifier: LGPL-3.0-only
"""What Postfix and Dovecot logged, without what tells people nothing: times, ids, delays."""

from __future__ import annotations

import re

from dev.mailserver import MailServer

_LINE = re.compile(
    r"\w+ +\d+ [\d:]+ (?:\S+ )?(?P<program>postfix/[\w/-]+|dovecot/[^:<]+)(?:\[\d+\]|<[^:]*>)?: "
    r"(?P<text>.*)"
)
_QUEUE_ID = re.compile(r"([0-9A-F]{6,}): ")
_TOO_MUCH = re.compile(
    r"\b(?:client|relay|delays?|size|nrcpt|sasl_method|proto|helo|conn_use|dsn)=[^,\s]*,? ?"
    r"|\(queue active\)|Info: | from unknown\[[\d.]+\]"
)
_NOTHING = re.compile(r" \w+=0\b(?:/0,?)?| hdr_\w+=\d+")
_SAVED = re.compile(r"\((250 2\.0\.0) <[^>]+> \S+ Saved\)")


def shown(server: MailServer, since: int) -> list[str]:
    """Give what was logged since a mark, at most a line a mail.

    What Postfix logged of one mail is joined, its refusals stand alone; of Dovecot, the sessions
    that got something. Waits until all of it is logged.
    """
    server.queue_empty()
    for queue_id in set(re.findall(r": ([0-9A-F]{6,}): (?:client|from)=", server.log(since))):
        server.wait_for_log(rf"{queue_id}: (?:removed|reject:)", since)
    for process in re.findall(r" Login: .*mpid=(\d+)", server.log(since)):
        server.wait_for_log(rf"<{process}>.* Disconnected", since)
    mails: dict[str, list[str]] = {}
    lines: list[str] = []
    for match in filter(None, map(_LINE.match, server.log(since).splitlines())):
        text = " ".join(_TOO_MUCH.sub("", match["text"]).split()).rstrip(",")
        queued = _QUEUE_ID.match(text)
        if "reject:" in text or re.search(r"(?:retr|body_count)=[1-9]", text):
            lines.append(f"{match['program']}: {_NOTHING.sub('', text)}")
        elif queued and re.search(r"(?:from|to)=<|sasl_username=|non-delivery", text):
            part = _SAVED.sub(r"(\1 Saved)", text[queued.end() :])
            mails.setdefault(queued[1], []).append(part.replace(",", ""))
    return [f"postfix: {queue_id}: {' '.join(parts)}" for queue_id, parts in mails.items()] + lines


def sessions(server: MailServer, since: int) -> list[str]:
    """Give Dovecot's lines on the logins since a mark."""
    return re.findall(r"dovecot/\w+-login: .*Login: .*", server.log(since))
