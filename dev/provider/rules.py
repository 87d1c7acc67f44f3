# SPDX-License-Identifier: LGPL-3.0-only
"""Who may send as whom: the rules of real providers, with the words of their refusals."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Rule:
    """Who may send as whom at one provider, and how the refusal reads.

    ``phase`` is the SMTP phase of the refusal: ``mail``, ``rcpt`` or ``data`` (after the end of
    the data). ``checks`` names what is compared with the account: the ``envelope`` (MAIL FROM),
    the From ``header`` (only in phase ``data``), ``both`` or ``none``. ``scope`` tells whether
    the whole ``address`` must match or its ``domain`` only. ``null_sender`` tells whether an
    empty MAIL FROM passes, as Postfix lets it.

    ``reply`` may hold ``{mail_from}`` and ``{login}``. The wordings are the ones users of these
    providers report publicly.
    """

    name: str
    phase: str
    reply: str
    checks: str = "envelope"
    scope: str = "address"
    null_sender: bool = False

    def allows(self, own: Collection[str], mail_from: str, header_from: Collection[str]) -> bool:
        """Tell whether an account that owns the addresses ``own`` may send this.

        ``own`` and the addresses compared with it are taken case-insensitively. An empty
        ``mail_from`` (``<>``) is nobody's address, hence refused wherever the envelope is
        checked, as Yandex refuses it, unless the rule says otherwise. ``header_from`` is only
        looked at by the rules that check the header; an absent or unreadable From header is
        refused by them.
        """
        if self.null_sender and not mail_from:
            return True
        owned = {self._comparable(address) for address in own}
        if self.checks in ("envelope", "both") and self._comparable(mail_from) not in owned:
            return False
        if self.checks in ("header", "both"):
            return bool(header_from) and all(self._comparable(a) in owned for a in header_from)
        return True

    def refusal(self, login: str, mail_from: str) -> str:
        """Return the reply with this session's addresses filled in."""
        return self.reply.format(login=login, mail_from=mail_from)

    def _comparable(self, address: str) -> str:
        address = address.lower()
        return domain_of(address) if self.scope == "domain" else address


#: The rules by name: one for each row of the public table of refusals, and ``any``, which lets
#: an account send as anybody.
RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("any", "mail", "250 OK", checks="none"),
        # Tencent exmail and QQ Mail
        Rule("tencent", "mail", "501 mail from address must be same as authorization user"),
        # NetEase 163 and its enterprise mail
        Rule("netease", "mail", "553 Mail from must equal authorized user"),
        Rule("yandex", "mail", "553 5.7.1 Sender address rejected: not owned by auth user."),
        # reject_sender_login_mismatch; smtpd_delay_reject defers the answer to RCPT TO
        Rule(
            "postfix",
            "rcpt",
            "553 5.7.1 <{mail_from}>: Sender address rejected: not owned by user {login}",
            null_sender=True,
        ),
        Rule("aliyun_440", "mail", "440 mail from account doesn't conform with authentication"),
        Rule("aliyun_501", "mail", '501 "MAIL FROM" is non-local account'),
        Rule(
            "office365",
            "data",
            "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
            checks="both",
        ),
        Rule(
            "office365_storedrv",
            "data",
            "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException."
            "MapiExceptionSendAsDenied",
            checks="both",
        ),
        Rule(
            "exchange",
            "data",
            "550 5.7.1 Client does not have permissions to send as this sender",
            checks="both",
        ),
        Rule(
            "unnamed_552",
            "mail",
            "552 the from address and the authenticated user must be the same email",
        ),
        # The report does not name the phase; its words speak of the domain alone.
        Rule(
            "unnamed_550",
            "mail",
            "550 From domain must match authenticated domain",
            scope="domain",
        ),
    )
}


def domain_of(address: str) -> str:
    """Return the domain of an address, lower case."""
    return address.rpartition("@")[2].lower()
