# SPDX-License-Identifier: LGPL-3.0-only
"""No value makes a header of its own (RFC 5322 2.2: a field body has no CR and LF but to fold).

Python folds any value, and until 3.11.10 it also writes line breaks inside encoded words (RFC 2047)
as line breaks: a subject of ``=?utf-8?q?a=0aBcc:b@c.com?=`` becomes a Bcc. On some addresses its
parser only raises an exception. A value that it would get wrong is rewritten: of addresses those
that can be sent to, of a text what can be read.
"""

import re
from base64 import b64decode
from email import policy
from email.message import Message
from functools import lru_cache
from itertools import islice

from .addresses import all_mailboxes, ascii_address, clean_name, decode_words, format_mailbox

#: what ``str.splitlines`` breaks at, what no header can hold, and what no charset can encode
_BREAKS = re.compile("[\x00\x0a-\x0d\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]+")

#: RFC 5322 3.6.8: printable, no colon
_NAME = re.compile(r"[!-9;-~]+")

#: RFC 5322 3.4, as most mailboxes are: words, or one quoted string, and one plain address
_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+"
_PLAIN_MAILBOX = re.compile(
    r"(?:[\w !#$%&'*+/^`{|}~-]+|\"[\w !#$%&'()*+,./:;<=>@^`{|}~-]*\") *<ADDRESS>|ADDRESS".replace(
        "ADDRESS", _ADDRESS
    )
)
#: a name beyond ASCII, as Odoo writes it
_ENCODED_MAILBOX = re.compile(rf"=\?utf-8\?b\?([A-Za-z0-9+/]+={{0,2}})\?= <{_ADDRESS}>")
_PLAIN_TEXT = re.compile(r"(?:[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff=]|=(?!\?))*")
_PLAIN_IDENTIFIERS = re.compile(r"[!-~]+(?:[ \t\n\r]+[!-~]+)*")
_IDENTIFIER = re.compile(r"<[!-;=?-~]+>")
_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:;[ -~]*)?")

_ADDRESS_HEADERS = frozenset(
    {"from", "sender", "reply-to", "to", "cc", "bcc", "x-forge-to", "return-path"}
)
#: those of them that are always the sender's own
_OF_THE_SENDER = frozenset({"from", "sender", "reply-to", "return-path"})
_IDENTIFYING_HEADERS = frozenset({"message-id", "in-reply-to", "references"})

#: what needs no folding (RFC 5322 2.1.1), after the longest of the address headers' names
_UNFOLDED = 78 - len("X-Forge-To: ")

#: characters of a name, and of a text, that are written: Python takes the square of their number
_LONGEST_NAME = 500
_LONGEST_TEXT = 5000
_MOST_SENDERS = 10

_LINE_END = re.compile(rb"\r\n|\r|\n")


def is_header_name(name: str) -> bool:
    """Tell whether a header can have this name."""
    return bool(_NAME.fullmatch(name))


def one_line(text: str) -> str:
    """Give a text on one line: what breaks lines, or cannot be in a header, becomes a space."""
    return _BREAKS.sub(" ", text)


@lru_cache(maxsize=4096)
def safe_value(name: str, value: str) -> str:
    """Give a header's value as it is, or rewritten where it would not stay one header.

    :param name: of the header
    :param value: of any origin; of an address header also one of several mailboxes
    :return: ``""`` where nothing of it can be sent: an address header without an address
    """
    name = name.lower()
    text = one_line(value).strip()
    if name in _ADDRESS_HEADERS:
        if _is_plain_mailbox(text):
            return text
        if name in _OF_THE_SENDER and len(text) > _LONGEST_TEXT:
            return ", ".join(islice(_mailboxes(name, text), _MOST_SENDERS))
        if not _has_long_name(text) and _stays_one(name, text) and _can_be_sent_to(text):
            return text
        return ", ".join(_mailboxes(name, text))
    if name in _IDENTIFYING_HEADERS:
        if _PLAIN_IDENTIFIERS.fullmatch(text) and "=?" not in text:
            return text
        return " ".join(_IDENTIFIER.findall(text))
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + "…"
    if _PLAIN_TEXT.fullmatch(text) or _stays_one(name, text):
        return text
    return safe_text(text)


def safe_text(text: str) -> str:
    """Give a text for people without what a parser could read as something else."""
    return clean_name(decode_words(text)).replace("=?", "= ?")


def safe_header(name: str, value):
    """Give a header's value, or a list of values, as :func:`safe_value`; others as they are."""
    if isinstance(value, str):
        return safe_value(name, value)
    if isinstance(value, list | tuple):
        return [part for part in (safe_header(name, part) for part in value) if part]
    return value


def safe_mime_type(text: str) -> str:
    """Give a MIME type, ``""`` for what is none."""
    return text if _MIME_TYPE.fullmatch(text or "") else ""


def _is_plain_mailbox(text):
    """Tell whether a text is one mailbox without anything unusual: most are."""
    if _PLAIN_MAILBOX.fullmatch(text):
        return "=?" not in text and len(text) < _UNFOLDED
    encoded = _ENCODED_MAILBOX.fullmatch(text)
    if not encoded:
        return False
    try:
        name = b64decode(encoded[1]).decode()
    except ValueError:
        return False
    return name.isprintable() and "=?" not in name


def _has_long_name(text):
    """Tell whether one of some mailboxes is longer than any that people write."""
    if len(text) <= _LONGEST_NAME:
        return False
    found = all_mailboxes(text)
    return not found or any(len(name) + len(address) > _LONGEST_NAME for name, address in found)


def _can_be_sent_to(text):
    """Tell whether nothing but names is beyond ASCII: what else would need SMTPUTF8 (RFC 6531)."""
    if text.isascii() and "=?" not in text:
        return True
    return all(
        ascii_address(address) and "=?" not in address for _name, address in all_mailboxes(text)
    )


def _mailboxes(name, text):
    """Give the mailboxes in a text that can be sent to, each as it is written safely."""
    for display_name, address in all_mailboxes(text):
        address = ascii_address(address)
        if address and "=?" not in address:
            display_name = safe_text(display_name)
            if len(display_name) > _LONGEST_NAME:
                display_name = display_name[:_LONGEST_NAME] + "…"
            mailbox = format_mailbox(display_name, address)
            yield from [text for text in (mailbox, address) if _stays_one(name, text)][:1]


def _stays_one(name, value):
    """Tell whether Python writes a header of this value, and no more than that one."""
    try:
        rules = policy.SMTP
        lines = rules.fold(name, rules.header_factory(name, value)).encode("ascii")
    except Exception:  # pylint: disable=broad-except
        return False  # its parser fails in many ways, most of them not meant
    # the one behind it is lost below an empty line
    return not strange_header([name, "x-end"], lines + b"X-End: 1\r\n")


def fold_breaks(message: Message) -> None:
    """Fold the line breaks that reading a header's value brought to light.

    :param message: a message that is built already; its headers are changed in place
    """
    for name, value in message.items():
        if _BREAKS.search(str(value)):
            message.replace_header(name, safe_value(name, str(value)))


def strange_header(names, data: bytes) -> str:
    """Give the first line of a message's header that is none of its headers, ``""`` without one.

    :param names: the headers that the message has, in any order
    :param data: the message as it goes out
    """
    expected = [name.lower().encode() for name in names]
    for line in _header_lines(data):
        if line[:1] in (b" ", b"\t"):
            if not line.strip():
                return line.decode("ascii", "replace")  # some take it for the empty line
            continue
        name = line.partition(b":")[0].rstrip().lower()
        if name not in expected:
            return line.decode("ascii", "replace")
        expected.remove(name)
    # what is left over stands below an empty line that one of the values brought along
    return expected[0].decode() if expected else ""


def _header_lines(data):
    """Give the lines up to the first empty one, without reading the body."""
    start = 0
    for end in _LINE_END.finditer(data):
        if end.start() == start:
            return
        yield data[start : end.start()]
        start = end.end()
    if data[start:]:
        yield data[start:]
