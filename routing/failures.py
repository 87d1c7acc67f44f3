# SPDX-License-Identifier: LGPL-3.0-only
"""The sentences that say why a mail failed, and their translation into the reader's language.

A failure is kept as text, in the language of the mail's author. Each line that is one of these
sentences can be translated again; what a server said stays as it is.
"""

import re
from functools import lru_cache

from .reasons import SENTENCES
from .refusals import CURES


def _(sentence: str) -> str:
    """Mark a sentence for the extraction of translatable terms."""
    return sentence


#: only says that the mail failed
HEADLINE = _("Mail Delivery Failed")

#: what happened -> sentence; the values in it come with the failure
FAILURES = {
    "no_connection": _("%(server)s cannot be used: \n%(error)s"),
    "refused": _("%(server)s refused this mail:\n%(words)s"),
    "not_taken": _("%(server)s could not take this mail:\n%(words)s"),
    "unsafe_header": _(
        "This mail was not sent: one of its values would make a header of its own, %(line)s."
        " Take the line breaks out of its subject, names and addresses, then retry."
    ),
    "hung_up_after": _(
        "%(server)s hung up after it had been given the whole mail, without saying whether it took"
        " it: %(error)s\nThe mail may have arrived. Ask the recipient before you retry."
    ),
    "hung_up": _(
        "%(server)s hung up while this mail was being sent: %(error)s\nThe mail was not delivered."
        " Check the server, then retry."
    ),
    "recipients_some": _(
        "%(server)s did not take this mail for some of its recipients; the others have it."
    ),
    "recipients": _("%(server)s did not take this mail for its recipients."),
    "recipient_later": _("%(address)s was refused for the time being: %(words)s"),
    "recipient": _("%(address)s was refused: %(words)s"),
    "killed": _(
        "Odoo was stopped while it gave this mail to %(server)s.\nThe mail may have arrived. Ask"
        " the recipient before you retry."
    ),
    "given_up": _(
        "%(server)s could not be used for %(hours)s hours: %(error)s\nCheck the server, then retry."
    ),
    "paused": _(
        "%(server)s pauses until %(time)s: %(reason)s\nAn administrator can end that by Try Now, on"
        " its form."
    ),
    # what helps
    "check_settings": _("Check the settings of this outgoing mail server, then retry."),
    "check_connection": _(
        "Check host, port and encryption of this outgoing mail server, then retry."
    ),
    "correct_addresses": _(
        "Correct the addresses, then retry: it is sent to those who have not got it."
    ),
    "retry_later": _("Retry later: it is sent to those who have not got it."),
}

#: a line with more letters is a server's: it is not searched for a sentence
MOST_LETTERS = 2000

#: the reasons of a route that no server may carry out
_NO_ROUTE = ("no_server", "no_server_unused", "no_login_address")

_VALUE = re.compile(r"%\((\w+)\)s")
_NETWORK = re.compile(
    r"connection refused|connection reset|timed out|no route to host|network is unreachable"
    r"|name or service not known|name resolution|certificate verify failed",
    re.IGNORECASE,
)
#: a server's own words
_REPLY = re.compile(r"[2-5]\d\d[ -]")

_KEPT = (*FAILURES.values(), *(SENTENCES[rule] for rule in _NO_ROUTE), *CURES.values())


def without_headline(text: str, headlines: set[str]) -> str:
    """Remove the headline from a failure, if more lines follow.

    :param headlines: :data:`HEADLINE` in the languages that it may be kept in
    """
    first, _break, rest = text.partition("\n")
    return rest if rest and first.strip() in headlines else text


def retell(text: str, kept: dict[str, str], told: dict[str, str]) -> str:
    """Translate a failure that was kept into another language.

    :param text: the failure, as it was kept
    :param kept: :func:`in_language` of the language that it may have been kept in
    :param told: the same of the reader's language
    :return: the text, each line that is known in the reader's language
    """
    lines = {}
    for sentence, was in kept.items():
        then = told[sentence]
        # a translation with other line breaks cannot be matched line by line
        if was != then and was.count("\n") == then.count("\n"):
            lines.update(zip(was.split("\n"), then.split("\n"), strict=True))
    # of two that match, the longer one is more precise
    known = [(_pattern(was), lines[was]) for was in sorted(lines, key=len, reverse=True)]
    return "\n".join(_retell_line(line, known) for line in text.split("\n"))


def in_language(translate) -> dict[str, str]:
    """Give sentence -> translation, of all that a failure is kept in.

    :param translate: function that gives a sentence in that language
    """
    return {sentence: translate(sentence) for sentence in _KEPT}


def is_of_network(text: str, known: list[dict[str, str]]) -> bool:
    """Tell whether a failure is what the network said, and no more: native keeps it so.

    :param known: :func:`in_language` of each language that a sentence may have been kept in
    """
    lines = {line for kept in known for was in kept.values() for line in was.split("\n")}
    patterns = [_pattern(line) for line in lines]
    if any(pattern.fullmatch(line) for pattern in patterns for line in text.split("\n")):
        return False
    return bool(_NETWORK.search(text))


def _retell_line(line, known):
    if _REPLY.match(line) or len(line) > MOST_LETTERS:
        return line
    bare = line.strip()
    for pattern, sentence in known:
        found = pattern.fullmatch(bare)
        if found:
            # not by the operator %: a server's words may contain one
            return _VALUE.sub(lambda value, found=found: found[value[1]], sentence)
    return line


@lru_cache(maxsize=512)
def _pattern(sentence):
    """Give the pattern of a line that was made from a sentence; values alone match nothing."""
    words = _VALUE.split(sentence.strip())
    if not any(text.strip() for text in words[::2]):
        return re.compile(r"(?!)")
    known = set()
    pattern = ""
    for number, text in enumerate(words):
        if number % 2 == 0:
            pattern += re.escape(text)
        elif text in known:
            pattern += f"(?P={text})"
        else:
            known.add(text)
            pattern += f"(?P<{text}>.+?)"
    return re.compile(pattern)
