# SPDX-License-Identifier: LGPL-3.0-only
"""Addresses and the headers that carry them (RFC 5322 3.4, RFC 2047, RFC 5890)."""

import base64
import re
import unicodedata
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import getaddresses
from functools import lru_cache
from typing import NamedTuple

import idna

#: RFC 5322 3.2.3 "atext", dots between (dot-atom). Providers accept no quoted local parts.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
#: RFC 5322 3.2.3 "specials": a display name that has one of them is quoted
_SPECIALS = re.compile(r'[()<>@,;:\\".\[\]]')
_WHITE = re.compile(r"\s+")
_FIRST_ADDRESS = re.compile(r"[^\s<>\",;:()\[\]@]+@[^\s<>\",;:()\[\]@]+")
#: what nearly all senders look like: "Name" <address>, Name <address>, address
_PLAIN_MAILBOX = re.compile(
    r"""(?:"([^"\\]*)"[ ]|([^"\\()<>@,;:\[\]]*?)[ ]?)?<([\w.+-]+@[\w.-]+)>|([\w.+-]+@[\w.-]+)"""
)
#: RFC 5322 2.1.1: a line SHOULD be no more than 78 characters
_LINE = 78
#: RFC 5322 2.1.1: a line MUST be no more than 998 characters
_LONGEST_LINE = 998
#: what is read of a text with one mailbox: parsers take the square of its length
_LONGEST_MAILBOX = 4096
#: RFC 5321 4.5.3.1.2 allows 255; RFC 1035 2.3.4 leaves 253 of them
_LONGEST_DOMAIN = 253


class Mailbox(NamedTuple):
    """A display name (may be empty) and an address (may be empty: a name alone)."""

    name: str
    address: str


@lru_cache(maxsize=8192)
def ascii_domain(text: str) -> str:
    """Give a domain as it is written on the wire.

    :param text: a domain, in Unicode or punycode, in any case
    :return: lower-case ASCII, e.g. ``"Bücher.example"`` gives ``"xn--bcher-kva.example"``
    :raise ValueError: not a host name of at least two labels (RFC 1123 2.1, RFC 5891)
    """
    text = (text or "").strip().rstrip(".").lower()
    if len(text) > _LONGEST_DOMAIN:  # its ASCII form is no shorter, and takes long to make
        raise ValueError("not a domain: too long")
    try:
        ascii_text = (
            text if text.isascii() else idna.encode(text, uts46=True, transitional=False).decode()
        )
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"not a domain: {text!r} ({error})") from error
    labels = ascii_text.split(".")
    if (
        len(labels) < 2
        or len(ascii_text) > _LONGEST_DOMAIN
        or not all(map(_LABEL.fullmatch, labels))
    ):
        raise ValueError(f"not a domain: {text!r}")
    if labels[-1].isdigit():
        raise ValueError(f"an IP address is no mail domain: {text!r}")
    return ascii_text


def unicode_domain(text: str) -> str:
    """Give a domain as people read it; the text itself where it is no punycode."""
    try:
        return idna.decode(text) if "xn--" in (text or "") else (text or "")
    except (idna.IDNAError, UnicodeError):
        return text


def domain_of(address: str) -> str:
    """Give the domain of an address in lower case, ``""`` where there is none."""
    return address.rpartition("@")[2].lower() if "@" in (address or "") else ""


def is_local_part(text: str) -> bool:
    """Tell whether the text can stand before the @ (RFC 5321 4.1.2 Dot-string, 64 octets)."""
    return bool(text) and len(text) <= 64 and bool(_LOCAL_PART.fullmatch(text))


@lru_cache(maxsize=8192)
def ascii_address(text: str) -> str:
    """Give the one plain address in a text, as MAIL FROM needs it, or ``""``.

    :param text: ``"kevin@odoomommy.com"``, ``"Kevin <kevin@bücher.example>"``, a login, anything
    :return: the address with its domain in lower-case ASCII, its local part as written; ``""``
        for a text that holds none, or one with a local part beyond ASCII (it would need
        SMTPUTF8, RFC 6531, which none of the restricting providers documents)
    """
    mailbox = parse_mailbox(text)
    local, _at, domain = mailbox.address.rpartition("@")
    if not is_local_part(local):
        return ""
    try:
        return f"{local}@{ascii_domain(domain)}"
    except ValueError:
        return ""


def is_address(text: str) -> bool:
    """Tell whether the whole text is one plain address (no name, no brackets)."""
    text = (text or "").strip()
    local, _at, domain = text.rpartition("@")
    if not is_local_part(local):
        return False
    try:
        return bool(ascii_domain(domain))
    except ValueError:
        return False


@lru_cache(maxsize=8192)
def clean_name(name: str) -> str:
    """Make a display name safe for a header: one line, no control character.

    Line ends of every kind (those of ``str.splitlines`` too) and control characters become
    spaces, runs of white space one space: a header cannot be continued by a name (RFC 5322 2.2),
    and every parser gives back what was put in.
    """
    if not name or name.isprintable() and "  " not in name:
        return (name or "").strip()
    visible = "".join(
        " " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in name or ""
    )
    return _WHITE.sub(" ", visible).strip()


def decode_words(text: str) -> str:
    """Decode RFC 2047 encoded words; text with a broken one stays as it is."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def all_mailboxes(text: str) -> list[tuple[str, str]]:
    """Give (name, address) of each mailbox in a text, none of one that cannot be read.

    Python's parser goes one level deeper with each bracket, until it may go no deeper.
    """
    try:
        return getaddresses([text])
    except RecursionError:
        return []


@lru_cache(maxsize=8192)
def parse_mailbox(text: str) -> Mailbox:
    """Read the first mailbox of an address header or of a stored ``email_from``.

    :param text: ``'"Han, Lingsha" <l@a.com>'``, RFC 2047 words, a bare address, a bare name
    :return: the name (decoded and cleaned) and the address; of several the first with an
        address counts, as in native ``email_split_and_format``; no address: name alone
    """
    text = (text or "")[:_LONGEST_MAILBOX]
    plain = _PLAIN_MAILBOX.fullmatch(text)
    if plain:
        return Mailbox(clean_name(decode_words(plain[1] or plain[2] or "")), plain[3] or plain[4])
    if not text.strip():
        return Mailbox("", "")
    one_line = _WHITE.sub(" ", text)
    for name, address in all_mailboxes(one_line):
        if "@" in address.strip("@") and clean_name(address) == address.strip():
            return Mailbox(clean_name(decode_words(name)), address.strip())
    # stricter releases of getaddresses give up on what mail programs still write
    found = _FIRST_ADDRESS.search(one_line)
    if found:
        before = one_line[: found.start()].rstrip(" <").strip(' "')
        return Mailbox(clean_name(decode_words(before)), found.group())
    return Mailbox(clean_name(decode_words(one_line)), "")


def format_mailbox(name: str, address: str) -> str:
    """Write a mailbox for people to read: ``韩菱纱 <l@a.com>``, quoted where RFC 5322 asks."""
    name = clean_name(name)
    if not name:
        return address
    if not address:
        return name
    if not _SPECIALS.search(name):
        return f"{name} <{address}>"
    return f"{_quoted(name)} <{address}>"


class MailboxHeader(str):
    """A header with one mailbox, which folds itself.

    The text is what people read. ``email`` (EmailPolicy.header_store_parse) stores an object that
    has a ``name`` as it is, and asks it to fold; Python's own folding (3.10, 3.11) would lose the
    quotes of a long quoted name, so that ``"Kevin (k@a.com)"`` became a comment, and would cut
    long names into words that its own parser puts spaces between.
    """

    name: str
    encoded: str

    def __new__(cls, display_name: str, address: str, header: str = "From"):
        self = super().__new__(cls, format_mailbox(display_name, address))
        self.name = header
        self.encoded = encode_mailbox(display_name, address, header)
        return self

    def fold(self, *, policy) -> str:
        """Give the header's lines, ended by the policy's ``linesep``."""
        lines = f"{self.name}: {self.encoded}".split("\n")
        return policy.linesep.join(lines) + policy.linesep


def encode_mailbox(name: str, address: str, header: str = "From") -> str:
    """Write a mailbox for the wire: ASCII, folded at 78 characters wherever there is a space.

    Words beyond ASCII become one encoded word (RFC 2047 5.3) with the spaces between them, the
    others stay readable, quoted where they must be. A name that does not fit a line of 998
    characters (RFC 5322 2.1.1) is cut, and ends in an ellipsis.

    :param address: plain ASCII
    :param header: name of the header, for the length of its first line
    :return: the header's value; ``"\\n "`` where it is folded
    """
    name = clean_name(name)
    if not name:
        return address
    short = format_mailbox(name, address)
    if short.isascii() and "=?" not in name and len(header) + 2 + len(short) <= _LINE:
        return short
    words = _phrase(name)
    while max(map(len, words)) + len(header) + 2 > _LONGEST_LINE:
        name = clean_name(name[: len(name) * 9 // 10]) + "…"
        words = _phrase(name)
    lines = [f"{header}: {words[0]}"]
    for word in [*words[1:], f"<{address}>"]:
        if len(lines[-1]) + 1 + len(word) <= _LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    return "\n".join(lines)[len(header) + 2 :]


def _phrase(name: str) -> list[str]:
    """Write a cleaned name as the words of a phrase (RFC 5322 3.2.5)."""
    words = []
    encoded = []
    for piece in [*name.split(" "), ""]:
        if piece and (not piece.isascii() or "=?" in piece):
            encoded.append(piece)
            continue
        if encoded:
            text = base64.b64encode(" ".join(encoded).encode()).decode()
            words.append(f"=?utf-8?b?{text}?=")
            encoded = []
        if piece:
            words.append(piece if _ATOM.fullmatch(piece) else _quoted(piece))
    return words


def _quoted(text: str) -> str:
    """Write a quoted-string (RFC 5322 3.2.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
