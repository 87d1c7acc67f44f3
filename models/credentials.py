# SPDX-License-Identifier: LGPL-3.0-only
"""Logging in with any letters, and keeping what was sent out of every text.

``smtplib`` and ``imaplib`` encode usernames and passwords as ASCII, and where that cannot be done
their exception holds the password. Mail servers take UTF-8 (RFC 4616 2; for LOGIN and CRAM-MD5
they do as for PLAIN).
"""

import base64
import binascii
import hmac
import html.entities
import logging
import re
import smtplib
from imaplib import IMAP4

from odoo.addons.base.models.ir_mail_server import SMTPConnection

_logger = logging.getLogger(__name__)

#: challenges that a server may give in one login
MAX_CHALLENGES = 5

#: letters of the shortest text that is taken for a secret: a shorter one is in any sentence
SHORTEST = 4

#: letters of the shortest piece of base64 that is taken for one
_SHORTEST_BASE64 = 6

#: where a server's reply goes on in its next line
_BREAK = r"(?:[ \t]{0,3}(?:\r?\n|(?:\\r)?\\n)[ \t]{0,3}(?:[2-5]\d\d[ -])?)?"
#: backslashes that escape what follows
_SLASHES = r"\\{1,4}"
#: what else than base64's own letters may stand for them (RFC 4648 5), in URLs too
_BASE64 = {"+": "(?:[+-]|%2b)", "/": "(?:[/_]|%2f)"}
_ENTITIES = {
    **{chr(code): name for code, name in html.entities.codepoint2name.items()},
    "'": "apos",
}

#: a user name that IMAP takes without quotes
_ATOM = re.compile(r"""[^\s(){%*"\\\x00-\x1f\x7f]+""")


def can_be_sent(*texts):
    """Tell whether some texts can be part of a login: UTF-8 without NUL (RFC 4616 2)."""
    try:
        return b"\0" not in "".join(texts).encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def hide(text, *secrets):
    """Take secrets out of a text, in all forms in which a server may repeat what it was told.

    :param text: text or bytes, such as a server's reply
    :param secrets: such as a password; empty ones are ignored
    """
    return hider(*secrets)(text)


def hider(*secrets):
    """Give a function that takes secrets out of a text or bytes, as :func:`hide`.

    It gets ready when it is called for the first time.
    """
    found = sorted({s for s in secrets if s and len(s) >= SHORTEST}, key=len, reverse=True)
    patterns = []

    def hide_in(text):
        if isinstance(text, bytes):
            return hide_in(text.decode("utf-8", "surrogateescape")).encode(
                "utf-8", "surrogateescape"
            )
        if not patterns:
            patterns.extend(map(_pattern, found))
        for pattern in patterns:
            text = pattern.sub("***", text)
        return text

    return hide_in


def _pattern(secret):
    """Give what finds a secret: letter by letter, each in its own form, or encoded as a whole."""
    raws = {secret.encode("utf-8", "surrogatepass"), secret.encode("latin-1", "ignore")}
    # backslashes in a row are one letter: told apart, they could be read in far too many ways
    forms = [_BREAK.join(map(_letter, re.findall(r"\\+|[^\\]", secret)))]
    for raw in raws:
        if len(raw) < SHORTEST:
            continue
        forms.append(r"[\s:-]?".join(f"{byte:02x}" for byte in raw))
        forms += filter(None, (_base64(raw, before) for before in range(3)))
    return re.compile("|".join(forms), re.IGNORECASE)


def _letter(letter):
    """Give the pattern of a letter: as it is, or escaped for HTML, a URL, JSON, Python or IMAP."""
    if letter.startswith("\\"):
        count = len(letter)
        coded = r"(?:&\#0{0,4}92;?|&\#x0{0,4}5c;?|%5c|\\{1,2}(?:u00|x)5c)"
        return rf"(?:\\{{1,{4 * count}}}|{coded}{{{count}}})"
    code = ord(letter)
    raw = letter.encode("utf-8", "surrogatepass")
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    forms = {
        ("" if letter.isalnum() else _SLASHES.replace("1", "0")) + re.escape(letter),
        rf"&\#0{{0,4}}{code};?",
        rf"&\#x0{{0,4}}{code:x};?",
        "".join(f"%{byte:02x}" for byte in raw),
        "".join(rf"{_SLASHES}x{byte:02x}" for byte in raw),
        "".join(rf"{_SLASHES}u{units[at : at + 4]}" for at in range(0, len(units), 4)),
        rf"{_SLASHES}U{code:08x}",
        re.escape(letter.upper()),  # may be two letters: ß
        re.escape(raw.decode("latin-1")),  # UTF-8 that was taken for Latin-1
        re.escape(raw.decode("cp1252", "ignore")),
    }
    if code < 256:
        latin = bytes([code])
        forms |= {
            f"%{code:02x}",
            rf"{_SLASHES}x{code:02x}",
            re.escape(latin.decode("utf-8", "surrogateescape")),
        }
    if letter in _ENTITIES:
        forms.add(f"&{_ENTITIES[letter]};?")
    if letter == " ":
        forms.add(r"\+")
    return f"(?:{'|'.join(sorted(filter(None, forms)))})"


def _base64(raw, before):
    """Give the pattern of what some bytes are in base64, behind so many others; None: too short."""
    encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
    whole = (before + len(raw)) * 8 // 6  # letters that no byte behind has a part in
    first = -(-before * 8 // 6)  # and none before
    letters = [_BASE64.get(letter, letter) for letter in encoded]
    if before and whole - first < _SHORTEST_BASE64:
        return None
    rest = "".join(letters[whole:])
    end = rf"(?:{rest}(?:=|%3d){{0,2}})?" if rest else ""
    return _BREAK.join(letters[first:whole]) + end


def without(error, *secrets):
    """Give an exception of the same class whose words hold no secret; it has no context either."""
    args = [hide(arg, *secrets) if isinstance(arg, str | bytes) else arg for arg in error.args]
    return type(error)(*args)


class SmtpLogin:
    """The AUTH of an ``smtplib`` session, in UTF-8; what it sends is not logged.

    It stands in for the session's own ``auth`` and ``auth_cram_md5``, so that ``login`` goes on
    choosing the mechanism.

    :param smtp: ``smtplib.SMTP``
    """

    def __init__(self, smtp):
        self.smtp = smtp
        self.sent = []  # the responses, as they went over the wire
        smtp.auth = self.auth
        smtp.auth_cram_md5 = self.auth_cram_md5

    def auth(self, mechanism, authobject, *, initial_response_ok=True):
        """Authenticate (RFC 4954 4); as ``smtplib.SMTP.auth``."""
        smtp = self.smtp
        mechanism = mechanism.upper()
        debuglevel, smtp.debuglevel = smtp.debuglevel, 0
        if debuglevel:
            _logger.debug("AUTH %s, whose words are not logged", mechanism)
        try:
            first = authobject() if initial_response_ok else None
            if first is None:
                code, reply = smtp.docmd("AUTH", mechanism)
                smtp._auth_challenge_count = 0
            else:
                code, reply = smtp.docmd("AUTH", f"{mechanism} {self._encode(first)}")
                smtp._auth_challenge_count = 1
            # native's LOGIN counts the challenges, to know the first from the second
            while code == 334 and smtp._auth_challenge_count < MAX_CHALLENGES:
                smtp._auth_challenge_count += 1
                answer = authobject(base64.decodebytes(reply))
                code, reply = smtp.docmd(self._encode(answer))
        except binascii.Error:
            code, reply = 501, b"The server's challenge cannot be read"
        finally:
            smtp.debuglevel = debuglevel
        if code not in (235, 503):  # 503: logged in already
            raise smtplib.SMTPAuthenticationError(code, reply)
        return code, reply

    def auth_cram_md5(self, challenge=None):
        """Answer a CRAM-MD5 challenge (RFC 2195), as ``smtplib`` does but in UTF-8."""
        if challenge is None:
            return None
        digest = hmac.new(self.smtp.password.encode(), challenge, "md5").hexdigest()
        return f"{self.smtp.user} {digest}"

    def _encode(self, response):
        self.sent.append(base64.b64encode(response.encode()).decode())
        return self.sent[-1]


def smtp_login(connection, user, password, login):
    """Log in at an SMTP server, in UTF-8.

    :param connection: Odoo's ``SMTPConnection``
    :param login: function that has the connection log in
    :raises smtplib.SMTPException, OSError: as ``smtplib``, without what was sent
    """
    smtp = getattr(connection, "__obj__", connection)
    if not isinstance(smtp, smtplib.SMTP):  # a test's
        login()
        return
    session = SmtpLogin(smtp)
    trouble = None
    try:
        login()
    except (smtplib.SMTPException, OSError) as error:
        trouble = without(error, password, *session.sent)
    finally:
        smtp.password = None
    if trouble:
        raise trouble  # outside the block: else the original would be its context


class OAuthLogin(SMTPConnection):
    """A connection of Odoo's on which a login by OAuth that is refused is an error.

    Odoo's modules send AUTH XOAUTH2 and do not look at the answer: what comes next would fail in
    its place, as a refusal of the sender.

    :param connection: Odoo's ``SMTPConnection``
    """

    def __init__(self, connection):
        # not native's __init__: it connects
        self.__obj__ = getattr(connection, "__obj__", connection)

    def docmd(self, cmd, args=""):
        """Send a command; as ``smtplib.SMTP.docmd``, but AUTH as ``smtplib.SMTP.login`` does.

        :raises smtplib.SMTPAuthenticationError: without the token
        """
        smtp = self.__obj__
        if cmd.upper() != "AUTH":
            return smtp.docmd(cmd, args)
        debuglevel, smtp.debuglevel = smtp.debuglevel, 0
        try:
            code, reply = smtp.docmd(cmd, args)
            if code == 334:
                # the challenge tells why it is refused; an empty response ends it, and gets the
                # refusal itself (https://developers.google.com/gmail/imap/xoauth2-protocol)
                code, reply = smtp.docmd("")
        finally:
            smtp.debuglevel = debuglevel
        if code not in (235, 503):  # 503: logged in already
            raise smtplib.SMTPAuthenticationError(code, hide(reply, args.partition(" ")[2]))
        return code, reply


class ImapLogin:
    """The LOGIN of an ``imaplib`` session: with AUTHENTICATE PLAIN where it takes UTF-8.

    :param connection: Odoo's ``IMAP4Connection``
    :param refusal: what to say where the server has no AUTHENTICATE PLAIN for that
    """

    def __init__(self, connection, refusal):
        self.imap = getattr(connection, "__obj__", connection)
        self.refusal = refusal
        if isinstance(self.imap, IMAP4):
            self.imap.login = self.login

    def login(self, user, password):
        """Log in; as ``imaplib.IMAP4.login``.

        :raises IMAP4.error: without what was sent
        """
        imap = self.imap
        plain = f"\0{user}\0{password}"
        try:
            if plain.isascii():
                # imaplib quotes the password alone, and `DOMAIN\\user` is no atom (RFC 3501 9)
                return IMAP4.login(
                    imap, user if _ATOM.fullmatch(user) else imap._quote(user), password
                )
            if "AUTH=PLAIN" in imap.capabilities and can_be_sent(user, password):
                return imap.authenticate("PLAIN", lambda _challenge: plain.encode())
            trouble = IMAP4.error(self.refusal)
        except (IMAP4.error, OSError) as error:
            trouble = without(error, password, plain)
        raise trouble  # outside the block: else the original would be its context
