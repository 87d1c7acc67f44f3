# SPDX-License-Identifier: LGPL-3.0-only
"""Mail that arrives: which company it belongs to, and what its recipients really are.

Native Odoo looks at the part before the @ alone: whatever is sent to ``bounce@`` anything is taken
for a delivery report, a reply to ``info@`` for a forward to the alias of that name. Here the whole
address counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .addresses import ascii_address, domain_of
from .facts import Company, Facts


@dataclass(frozen=True)
class Alias:
    """An alias that has a name: ``sales``, or ``sales@b.com``.

    :param domain: the name of its alias domain, ``""`` without one: it is in the general domain
    :param by_local_part: whether any address with its name before the @ reaches it, as in native
    """

    id: int
    name: str
    domain: str = ""
    by_local_part: bool = True


@dataclass(frozen=True)
class Incoming:
    """What native routing is shown of a message.

    :param to: the addresses of To that may make it a delivery report, a forward to an alias, or
        a letter to the catchall address
    :param recipients: all recipients, in domains that native lets pass
    :param is_bounce: sent to the bounce address of a domain of ours
    :param for_replies: sent to an address that is for replies alone
    """

    to: tuple[str, ...]
    recipients: tuple[str, ...]
    is_bounce: bool = False
    for_replies: bool = False


def company_of_incoming(
    recipients: Iterable[str], server_company_id: int | None, facts: Facts
) -> tuple[Company | None, str]:
    """Decide the company of an incoming message.

    Of several that one rule names, the one whose mailbox it is comes first, then the order of the
    recipients.

    :param recipients: addresses of To, Cc, Delivered-To and the like, in this order
    :param server_company_id: company of the incoming server that fetched it
    :return: the company, None for native's choice, and the rule that named it: ``reply_to``,
        ``domain``, ``server`` or ``""``
    """
    recipients = [address.lower() for address in recipients]
    rules = {
        "reply_to": map(facts.company_by_reply_to.get, recipients),
        "domain": (_user_of(domain_of(address), facts) for address in recipients),
    }
    for rule, named in rules.items():
        companies = [company for company in named if company]
        if companies:
            of_mailbox = (c for c in companies if c.id == server_company_id)
            return next(of_mailbox, companies[0]), rule
    company = facts.company.get(server_company_id)
    if company and company.mail_server_by_domain:
        return company, "server"
    return None, ""


def company_that_answers(
    recipients: Iterable[str], server_company_id: int | None, facts: Facts
) -> Company | None:
    """Decide in whose name an incoming message is refused.

    As :func:`company_of_incoming`; else the one whose reply address or whose domain it was sent
    to, though it does not use its own servers.

    :return: the company, None for native's choice
    """
    recipients = [address.lower() for address in recipients]
    company, _rule = company_of_incoming(recipients, server_company_id, facts)
    if company:
        return company
    for address in recipients:
        companies = [c for c in facts.companies if facts.reply_to_email(c) == address]
        if len(companies) != 1:
            domain = facts.domain_named.get(domain_of(address))
            companies = facts.companies_having(domain.id) if domain else []
            owner = facts.company.get(domain.company_id) if domain else None
            companies = [owner] if owner else companies
        if len(companies) == 1:
            return companies[0]
    return None


def aliases_at(
    address: str, aliases: Iterable[Alias], facts: Facts, allowed: Sequence[str] = ()
) -> list[Alias]:
    """Tell which aliases an address reaches.

    The whole address comes first: what is written to ``sales@b.com`` is not for another alias
    ``sales``. Where no alias has that address, those count that are found by their local part, as
    native finds all.

    :param address: one of a message's recipients
    :param aliases: those that have its local part as their name; others do no harm
    :param allowed: the domains to which native restricts what is found by the local part
        (``mail.catchall.domain.allowed``); none: any. Alias domains count as allowed.
    """
    plain = ascii_address(address) or address.lower()  # native knows domains without a dot
    local, domain = plain.rpartition("@")[0].lower(), domain_of(plain)
    if not local:
        return []
    named = [alias for alias in aliases if alias.name.lower() == local]
    general = facts.settings.catchall_domain
    # one of the general domain gives way, where that has been put into the table since
    whole = [alias for alias in named if alias.domain == domain]
    whole = whole or [alias for alias in named if not alias.domain and general == domain]
    if whole:
        return whole
    if allowed and domain not in allowed and domain not in facts.domain_named:
        return []
    return [alias for alias in named if alias.by_local_part]


def is_own_domain(domain: str, facts: Facts) -> bool:
    """Tell whether a domain is ours: an alias domain, or the general one."""
    return bool(domain) and (
        domain in facts.domain_named or domain == facts.settings.catchall_domain
    )


def read_incoming(
    to: Sequence[str],
    recipients: Sequence[str],
    facts: Facts,
    *,
    is_reply: bool,
    alias_domains_allowed: str = "",
) -> Incoming:
    """Prepare the recipients of a message for native routing.

    :param to: addresses of To
    :param recipients: addresses of To, Cc, Delivered-To and the like
    :param is_reply: whether it refers to a message that is known
    :param alias_domains_allowed: a domain that native lets pass, where
        ``mail.catchall.domain.allowed`` restricts them; ``""`` where it does not
    """
    mailboxes = facts.mailboxes_in_use
    bounces = facts.bounce_addresses
    lowered = [address.lower() for address in to]
    shown = []
    for address in lowered:
        local = address.partition("@")[0]
        # replies are replies, also where the local part is that of an alias of another model
        hidden = is_reply and (address in mailboxes or address in facts.reply_addresses)
        # of the general aliases only the addresses that exist as such
        hidden |= local == facts.settings.bounce_alias and address not in bounces
        hidden |= local == facts.settings.catchall_alias and address in facts.plain_mailboxes
        if not hidden:
            shown.append(address)
    return Incoming(
        to=tuple(shown),
        recipients=tuple(_allowed(address, alias_domains_allowed, facts) for address in recipients),
        is_bounce=any(address in bounces for address in lowered),
        for_replies=any(address in facts.reply_addresses for address in lowered),
    )


def _user_of(domain: str, facts: Facts) -> Company | None:
    """The company that owns a domain or is alone in having it, and uses its own servers."""
    claimed = facts.domain_named.get(domain)
    if claimed is None:
        return None
    owner = facts.company.get(claimed.company_id)
    if owner and owner.mail_server_by_domain:
        return owner
    having = facts.companies_having(claimed.id)
    if len(having) == 1 and having[0].mail_server_by_domain:
        return having[0]
    return None


def _allowed(address: str, allowed: str, facts: Facts) -> str:
    """An address of an alias domain, as one that ``mail.catchall.domain.allowed`` lets pass."""
    if allowed and domain_of(address) in facts.domain_named:
        return f"{address.rpartition('@')[0]}@{allowed}"
    return address
