# SPDX-License-Identifier: LGPL-3.0-only
"""Logging in with any letters, and keeping what was sent out of every text.

``smtplib`` and ``imaplib`` encode usernames and passwords as ASCII, and where that cannot be done
their exception holds the password. Mail servers take UTF-8 (RFC 4616 2; for LOGIN and CRAM-MD5
they do as for PLAIN).
"""

import base64
import binascii
import hmac
import logging
import re
import smtplib
import urllib.parse
from imaplib import IMAP4

from odoo.addons.base.models.ir_mail_server import SMTPConnection

_logger = logging.getLogger(__name__)

#: challenges that a server may give in one login
MAX_CHALLENGES = 5

#: letters of the shortest text that is taken for a secret: a shorter one is in any sentence
SHORTEST = 4

#: a user name that IMAP takes without quotes
_ATOM = re.compile(r"""[^\s(){%*"\\\x00-\x1f\x7f]+""")


def can_be_sent(*texts):
    """Tell whether some texts can be part of a login: UTF-8 without NUL (RFC 4616 2)."""
    try:
        return b"\0" not in "".join(texts).encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def hide(text, *secrets):
    """Take secrets out of a text, in all forms in which a server may have been told them.

    :param text: text or bytes, such as a server's reply
    :param secrets: such as a password; empty ones are ignored
    """
    if isinstance(text, bytes):
        return hide(text.decode("utf-8", "surrogateescape"), *secrets).encode(
            "utf-8", "surrogateescape"
        )
    forms = set()
    for secret in secrets:
        if secret and len(secret) >= SHORTEST:
            raw = secret.encode("utf-8", "surrogatepass")
            forms |= {
                secret,
                secret.replace("\\", "\\\\").replace('"', '\\"'),  # as IMAP sends it
                repr(secret)[1:-1],
                secret.encode("ascii", "backslashreplace").decode(),
                urllib.parse.quote(raw),
                base64.b64encode(raw).decode(),
                raw.hex(),
            }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


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
        raise trouble  # here: in the block it would have the other as its context


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
        raise trouble  # here: in the block it would have the other as its context
