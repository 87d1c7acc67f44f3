# SPDX-License-Identifier: LGPL-3.0-only
"""Mail that machines write: delivery reports, notes of non-delivery, and what gets no answer.

Natively a report is what is ``multipart/report`` (RFC 6522) or comes from ``mailer-daemon``. The
Chinese providers write letters to people instead (系统退信), from their postmaster, so that a note
that a mail did not arrive would stand on the document as the customer's answer.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .addresses import is_address

#: headers in lower case -> their values, as they came over the wire
Headers = Mapping[str, Sequence[str]]

_POSTMASTERS = frozenset({"postmaster", "mailer-daemon", "mailerdaemon", "mail-daemon"})
#: subjects of notes with an unknown sender; none is what a customer writes about goods
_UNDELIVERED = re.compile(
    r"退信|投递失败|投递不成功|無法投遞|无法投递|无法送达|未能送达|发送失败"
    r"|undeliver|delivery (?:status notification|failure|has failed|failed)|failure notice"
    r"|returned mail|returned to sender|mail delivery (?:failed|subsystem)|non-?delivery",
    re.IGNORECASE,
)
#: words in the text of a note; goods are returned (退回) too, so they count only with a null sender
_SAYS_UNDELIVERED = re.compile(
    _UNDELIVERED.pattern + r"|退回|退件|拒收|邮箱不存在|用户不存在|地址不存在|不存在该用户"
    r"|(?:could not|cannot|was not|not) be(?:en)? delivered|user unknown|no such user"
    r"|mailbox (?:is )?(?:full|not found|unavailable)|does not exist",
    re.IGNORECASE,
)
_ROBOT_PRECEDENCE = frozenset({"bulk", "junk", "list", "auto_reply"})
_AUTO_REPLY = ("x-autoreply", "x-autorespond", "x-auto-response-suppress")

_TAG = re.compile(r"<[^<>]*>")
_MESSAGE_ID = re.compile(r"<[^<>@\s]{1,250}@[^<>@\s]{1,250}>")
_NUMBER = re.compile(r"[0-9]+")
#: a subject must not be part of a longer word; Chinese words have no spaces between them
_WORD_BEGINS = r"(?<![0-9a-z])"
_WORD_ENDS = r"(?![0-9a-z])"
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")
#: more than a provider writes; a stranger's text may be longer, and is cut
_READ_CHARACTERS = 200_000
_MOST = 50
#: characters of a note's text in which a mail is looked for by its subject: a provider says at once
#: what it is about, and in more a stranger could try out hundreds of subjects
_READ_FOR_SUBJECT = 5000
#: addresses that such a note may name: those of the mail, not a list
_MOST_NAMED = 10


@dataclass(frozen=True)
class Clues:
    """What a note says about the mail that did not arrive.

    :param references: Message-Ids that its headers name, the nearest first
    :param quoted_ids: Message-Ids in its text
    :param failed: addresses that ``X-Failed-Recipients`` names
    :param quoted: addresses in its text
    :param text: the beginning of its text on one line, in lower case
    :param is_list: whether it names more addresses than a note about one mail does
    :param says_undelivered: whether its text says so
    """

    references: tuple[str, ...] = ()
    quoted_ids: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()
    text: str = ""
    says_undelivered: bool = False
    is_list: bool = False

    def quotes(self, subject: str) -> bool:
        """Tell whether the text names a subject.

        A very short one proves nothing. Neither does one that is also there with other numbers:
        somebody who tries out numbers has not got the mail.
        """
        subject = " ".join(subject.casefold().split())
        if len(subject) < 5 or subject not in self.text:
            return False
        parts = map(re.escape, _NUMBER.split(subject))
        shape = re.compile(_WORD_BEGINS + _NUMBER.pattern.join(parts) + _WORD_ENDS)
        return {found[0] for found in shape.finditer(self.text)} == {subject}

    def subject_among(self, subjects: Iterable[str]) -> str:
        """Give the one of these subjects that the text names, ``""`` where that is not one alone.

        ``Re: Quotation`` names ``Quotation`` along with it, and is one.
        """
        named = {subject for subject in subjects if self.quotes(subject)}
        folded = {" ".join(subject.casefold().split()): subject for subject in named}
        longest = max(folded, key=len, default="")
        return folded[longest] if all(one in longest for one in folded) and folded else ""


def headers_of(items: Iterable[tuple[str, object]]) -> dict[str, list[str]]:
    """Give the headers of a message, unparsed: parsing hostile ones takes long, or fails.

    :param items: of ``email.message.Message.raw_items``
    """
    headers: dict[str, list[str]] = {}
    for name, value in items:
        headers.setdefault(name.lower(), []).append(str(value)[:_READ_CHARACTERS].strip())
    return headers


def is_automatic(headers: Headers) -> bool:
    """Tell whether a machine wrote a message, which then must not be answered by a machine.

    RFC 3834 2: ``Auto-Submitted`` other than ``no``, ``Precedence`` bulk, junk and list, the
    ``List-*`` of RFC 2369 and 2919, an empty ``Return-Path``; Microsoft's
    ``X-Auto-Response-Suppress`` ([MS-OXCMAIL] 2.2.3.2.14).
    """
    return bool(
        any(_word(value) != "no" for value in headers.get("auto-submitted", ()))
        or any(_word(value) in _ROBOT_PRECEDENCE for value in headers.get("precedence", ()))
        or any(name.startswith("list-") for name in headers)
        or any(_word(value) != "none" for value in headers.get("x-auto-response-suppress", ()))
        or has_null_return_path(headers)
    )


def has_null_return_path(headers: Headers) -> bool:
    """Tell whether the envelope sender was empty (RFC 5321 4.5.5); the topmost header counts."""
    paths = headers.get("return-path")
    return bool(paths) and "".join(paths[0].split()) in ("<>", "")


def recognise_report(content_type: str, sender: str, subject: str, headers: Headers) -> str:
    """Tell what kind of report on a mail's delivery a message is.

    :param content_type: of the whole message
    :param sender: address of From
    :return: ``report``: by the standard; ``note``: a provider's own, unless the sender answers a
        mail of ours; ``suspect``: one, if it refers to a mail of ours; ``""``: none
    """
    if content_type.lower() == "multipart/report":
        return "report"
    local = sender.partition("@")[0].lower()
    if local in _POSTMASTERS or "x-failed-recipients" in headers:
        return "note"
    replied = any(_word(value) == "auto-replied" for value in headers.get("auto-submitted", ()))
    if not has_null_return_path(headers) or replied or any(map(headers.get, _AUTO_REPLY)):
        return ""  # a person's, or somebody's who is on holiday
    return "note" if _UNDELIVERED.search(subject[:_READ_CHARACTERS]) else "suspect"


def read_clues(headers: Headers, body: str) -> Clues:
    """Read what a note says about the mail that did not arrive.

    :param body: HTML
    """
    text = html.unescape(_TAG.sub(" ", (body or "")[:_READ_CHARACTERS]))
    references = [
        found
        for name in ("in-reply-to", "references")
        for value in headers.get(name, ())
        for found in reversed(_MESSAGE_ID.findall(value))
    ]
    failed = " ".join(headers.get("x-failed-recipients", ()))
    quoted = _first(_addresses(text))
    return Clues(
        references=_first(references),
        quoted_ids=_first(_MESSAGE_ID.findall(text)),
        failed=_first(_addresses(failed)),
        quoted=quoted,
        text=" ".join(text.casefold().split())[:_READ_FOR_SUBJECT],
        is_list=len(quoted) > _MOST_NAMED,
        says_undelivered=bool(_SAYS_UNDELIVERED.search(text)),
    )


def _addresses(text: str) -> list[str]:
    found = (address.strip(".'").lower() for address in _ADDRESS.findall(text))
    return [address for address in found if is_address(address)]


def _first(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))[:_MOST]


def _word(value: str) -> str:
    """The first word of a header (RFC 3834 5: parameters may follow), in lower case."""
    words = value.partition("(")[0].partition(";")[0].split()
    return words[0].lower() if words else ""
