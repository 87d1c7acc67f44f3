# SPDX-License-Identifier: LGPL-3.0-only
"""What a provider's refusal means, and what helps.

Recognised by code and phrase, case folded. At which command it comes does not matter, as providers
differ: Postfix refuses the sender in answer to RCPT, Office 365 once it has the whole mail. A reply
whose phrase is known but whose code was lost on the way counts too.
"""

import re
from dataclasses import dataclass


def _(sentence: str) -> str:
    """Mark a sentence for the extraction of translatable terms."""
    return sentence


#: kind -> sentence with the cure; %(server)s is the server's name, %(login)s what it logs in as
CURES = {
    "sender": _(
        "Refused by %(server)s: it lets only its own login send. Turn on Restrict Username in"
        " General Settings, or set this server's Sender Policy to 'Only the login may send'."
    ),
    # Restrict Username has no effect on a server of this policy
    "sender_any": _(
        "Refused by %(server)s: it lets only its own login send, but its Sender Policy is 'Any"
        " sender'. Set it to 'Only the login may send'."
    ),
    "sender_restricted": _(
        "Refused by %(server)s: it did not accept its Login Address %(address)s as the sender."
        " Fill in the address that belongs to the login."
    ),
    "sender_since": _("%(server)s sends as its login %(address)s by now: retry the mail."),
    "login": _(
        "The server %(server)s refused the login. Check its username and password; many providers"
        " ask for an authorization code or an app password instead of the one of their web mail."
    ),
    "login_of": _(
        "The server %(server)s refused the login of %(login)s. Check its username and password;"
        " many providers ask for an authorization code or an app password instead of the one of"
        " their web mail."
    ),
    # a server that is named as its login, as Set Up a Mailbox does
    "login_same": _(
        "The server refused the login of %(login)s. Check its username and password; many"
        " providers ask for an authorization code or an app password instead of the one of their"
        " web mail."
    ),
    "login_none": _(
        "%(server)s wants a login, but no username is filled in: fill in its username and password."
    ),
    "login_oauth": _(
        "The server %(server)s refused the login by OAuth. Connect its account again, on the form"
        " of the outgoing mail server; at Microsoft, the mailbox must also be allowed"
        " Authenticated SMTP."
    ),
    "quota": _(
        "%(server)s accepts no more mails or logins for now: the provider's sending limit is"
        " reached. Wait, then retry; or ask the provider for a higher limit."
    ),
}


@dataclass(frozen=True)
class Refusal:
    """A provider's words, understood.

    :param kind: ``sender``, ``login`` or ``quota``
    :param provider: whose words they are, as far as known
    """

    kind: str
    provider: str

    def cure(
        self,
        server: str,
        *,
        login_address: str = "",
        login: str = "",
        policy: str = "",
        oauth: bool = False,
        has_username: bool = True,
        mail_from: str | None = None,
        translate=lambda text: text,
    ) -> str:
        """Say what helps.

        :param server: the server's name
        :param login_address: of a restricted server: that setting is on already
        :param login: what the server logs in as, where the reader may know it
        :param policy: the server's Sender Policy
        :param oauth: whether the server logs in by OAuth, with no password
        :param has_username: whether it logs in at all
        :param mail_from: the envelope sender that was refused, where it is known
        :param translate: takes the English sentence, gives the reader's
        """
        kind = self.kind
        if kind == "sender" and login_address:
            since = mail_from is not None and mail_from != login_address
            kind = "sender_since" if since else "sender_restricted"
        elif kind == "sender" and policy == "any":
            kind = "sender_any"
        elif kind == "login" and not has_username:
            kind = "login_none"
        elif kind == "login" and oauth:
            kind = "login_oauth"
        elif kind == "login" and login:
            kind = "login_same" if server == login else "login_of"
        return translate(CURES[kind]) % {
            "server": server,
            "address": login_address,
            "login": login,
        }


#: code, phrase (regular expression on the case-folded reply), kind, provider
_KNOWN = [
    (code, re.compile(phrase), kind, provider)
    for code, phrase, kind, provider in (
        (501, r"mail from address must be same as authorization user", "sender", "Tencent, QQ"),
        (553, r"mail from must equal authorized user", "sender", "NetEase"),
        (553, r"sender address rejected: not owned by auth user", "sender", "Yandex"),
        (553, r"sender address rejected: not owned by user", "sender", "Postfix"),
        (553, r"sender address rejected: not logged in", "sender", "Postfix"),
        (440, r"mail from account doesn't conform with authentication", "sender", "Aliyun"),
        (501, r'"?mail from"? is non-local account', "sender", "Aliyun"),
        (
            550,
            r"client does not have permissions to send as this sender",
            "sender",
            "Office 365, Exchange",
        ),
        (554, r"sendasdenied", "sender", "Office 365"),
        (
            552,
            r"the from address and the authenticated user must be the same",
            "sender",
            "",
        ),
        (550, r"from domain must match authenticated domain", "sender", ""),
        # RFC 4954 6; Office 365: a login whose refusal nobody read (see OAuthLogin)
        (530, r"authentication required|client (was )?not authenticated", "login", ""),
        (550, r"daily sending quota exceeded", "quota", "Gmail"),
        (None, r"too many login attempts", "quota", "Gmail"),
        (451, r"\bmi:(dmc|sfq)\b", "quota", "NetEase"),
        (421, r"\bhl:icc\b", "quota", "NetEase"),
    )
]


def without_cure(text: str, translate=lambda text: text) -> str:
    """Take the lines that say what helps out of a failure that was kept.

    :param translate: as for :meth:`Refusal.cure`, for the language in which it was kept
    """
    for sentence in CURES.values():
        line = re.sub(r"%\\\(\w+\\\)s", ".+?", re.escape(translate(sentence)))
        text = re.sub(rf"(?m)^{line}$\n?", "", text)
    return text.rstrip("\n")


#: RFC 4954 6: 534 and 535 are about the login alone; in a failure that was kept, the code is at the
#: beginning, or behind a bracket or a colon
_LOGIN_REFUSED = re.compile(r"(?:^|\(|[:：] ?)(53[45])[ ,-]")


def recognise_refusal(code: int | None, reply: str | bytes) -> Refusal | None:
    """Understand a provider's reply.

    :param code: the SMTP reply code; None where it was lost: the phrase alone decides
    :param reply: the words, as bytes or text, of one line or several
    :return: what it means, None where it says something else
    """
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply or ""
    text = " ".join(text.casefold().split())
    if code is None:
        # a failure that was kept names it as smtplib does, or as the server did
        found = _LOGIN_REFUSED.search(text)
        code = int(found[1]) if found else None
    for known, phrase, kind, provider in _KNOWN:
        if phrase.search(text) and (not code or known in (None, code)):
            return Refusal(kind, provider)
    if code in (534, 535):
        return Refusal("login", "")
    return None
