# SPDX-License-Identifier: LGPL-3.0-only
"""From a draft and the facts to a route."""

from dataclasses import dataclass, replace

from .addresses import (
    MailboxHeader,
    ascii_address,
    clean_name,
    domain_of,
    format_mailbox,
    parse_mailbox,
)
from .facts import Company, Domain, Draft, Facts, Pool, Server, filter_domain
from .reasons import Reason
from .sender_names import SENDER_NAME_FORMATS


@dataclass(frozen=True)
class Route:
    """What happens to a mail.

    :param server: the server that sends it; None where it cannot be sent (``failure`` says why),
        its ``id`` None for the server of the configuration file
    :param from_name: display name of the From header, for people; ``""`` without one
    :param from_address: address of the From header; ``""``: the message has none, native decides
    :param mail_from: the envelope sender (RFC 5321 4.1.1.2)
    :param return_path: the Return-Path header
    :param reply_to: the address answers go to; ``""`` where not even the author has one
    :param reasons: one for each thing decided
    :param reply_name: display name of a Reply-To that the message has not got yet, ``""`` without
        one; None: the message's own Reply-To stays
    :param failure: why the mail cannot be sent
    """

    server: Server | None
    from_name: str
    from_address: str
    mail_from: str
    return_path: str
    reply_to: str
    reasons: tuple[Reason, ...]
    restricted: bool = False
    failure: Reason | None = None
    reply_name: str | None = None

    @property
    def header_from(self) -> str:
        """The From header as people read it."""
        return format_mailbox(self.from_name, self.from_address)

    def from_header(self) -> MailboxHeader:
        """Make the From header that goes over the wire."""
        return MailboxHeader(self.from_name, self.from_address)

    def reply_to_header(self) -> MailboxHeader | None:
        """Make the Reply-To header that the message lacks; None where there is nobody to answer.

        Only for a message that has none of its own: ``reply_name`` is not None.
        """
        if not self.reply_to:
            return None
        return MailboxHeader(self.reply_name, self.reply_to, "Reply-To")


def is_restricted(server: Server, facts: Facts) -> bool:
    """Tell whether the server lets only its own login send.

    A relay without a username has no login to be restricted to.
    """
    if server.policy == "default":
        return server.has_username and facts.settings.restrict_username
    return server.policy == "login"


def decide(draft: Draft, facts: Facts) -> Route:
    """Decide everything about a mail that leaves. Deciding twice gives the same.

    :param draft: the mail as it was written
    :param facts: settings, companies, domains and servers
    :return: the route; with ``failure`` set where no server may send the mail
    """
    company = facts.company.get(draft.company_id)
    home = facts.domain_of_company(company)
    name, address, from_reason = _author(draft, company, home, facts)
    reply_to, reply_reason = _reply_to(draft, address, company, home, facts)
    server, from_stays, server_reason = _server(draft, address, reply_to, company, home, facts)
    reasons = [from_reason, server_reason]
    if draft.company_rule and company:
        reasons.insert(0, Reason(draft.company_rule, {"company": company.name}))
    reply_name = None if draft.reply_to else draft.answer_name
    if reply_to == address and not draft.reply_to:
        reply_name = name
    no_route = Route(None, name, address, "", "", reply_to, tuple(reasons), failure=server_reason)
    if server is None:
        return no_route
    if is_restricted(server, facts):
        login = server.sender_address
        if not login:
            failure = Reason("no_login_address", {"server": server.name})
            return replace(no_route, reasons=(*reasons, failure), failure=failure)
        values = {"address": login, "server": server.name}
        return Route(
            server=server,
            from_name=_display(name, address, company, facts),
            from_address=login,
            mail_from=login,
            return_path=login,
            reply_to=reply_to,
            reply_name=reply_name,
            reasons=(
                *reasons,
                Reason("from_login", values),
                Reason("envelope_login", values),
                reply_reason,
            ),
            restricted=True,
        )
    written = address
    if not from_stays:
        notification = facts.usable_notification(home)
        if notification and notification.lower() != address.lower():
            name = name or clean_name(address.partition("@")[0])
            address = notification
            reasons.append(Reason("from_notification", {"address": address, "server": server.name}))
        elif address and not _matches(address, server.from_filter):
            values = {"address": address, "server": server.name, "filter": server.from_filter}
            reasons.append(Reason("from_stays_unlike_filter", values))
    if not address and server.sender_address:
        address = server.sender_address
        reasons.append(Reason("from_server", {"address": address, "server": server.name}))
    mail_from, envelope_reason = _envelope(draft, address, server, home, facts)
    if envelope_reason.rule == "envelope_from" and _matches(written, server.from_filter):
        # without a bounce address native's MAIL FROM is the author, even if From is another address
        mail_from = written if facts.native else mail_from
    return Route(
        server=server,
        from_name=name,
        from_address=address,
        mail_from=mail_from,
        return_path=(facts.native and facts.bounce_address(None)) or mail_from,
        reply_to=reply_to,
        reply_name=reply_name,
        reasons=(*reasons, envelope_reason, reply_reason),
    )


def decide_reply_to(draft: Draft, facts: Facts) -> tuple[str, Reason]:
    """Decide where answers go, at the time the message is written.

    :return: the address and why; of the rule ``reply_default``: the author's own, as From has it
    """
    company = facts.company.get(draft.company_id)
    home = facts.domain_of_company(company)
    _name, address, _reason = _author(draft, company, home, facts)
    return _reply_to(draft, address, company, home, facts)


def _author(draft: Draft, company: Company | None, home: Domain | None, facts: Facts):
    """From, before the server has its say: name, address, reason."""
    name, address = parse_mailbox(draft.email_from)
    plain = ascii_address(address)
    address = plain or address
    if not address:
        default = facts.usable_notification(home)
        if default and company:
            values = {"address": default, "company": company.name}
            return name, default, Reason("from_company_default", values)
        return name, default, Reason("from_kept", {"address": default or name})
    kept = Reason("from_kept", {"address": address})
    if company is None or not company.email_from_by_company or not plain:
        return name, address, kept
    if draft.author is None:
        return name, address, Reason("from_foreign", {"address": address})
    domain = domain_of(address)
    local = address.rpartition("@")[0]
    values = {"company": company.name}
    if draft.author.outgoing_domain:
        values["domain"] = draft.author.outgoing_domain
        address = f"{local}@{draft.author.outgoing_domain}"
        return name, address, Reason("from_user_domain", {**values, "address": address})
    claimed = facts.domain_named.get(domain)
    if claimed and (claimed.company_id == company.id or claimed == home):
        values["domain"] = domain
        return name, address, Reason("from_company_own", {**values, "address": address})
    if home:
        address = f"{local}@{home.name}"
        if draft.author.is_bot:
            address = facts.usable_notification(home) or address
        values["domain"] = home.name
        return name, address, Reason("from_company_domain", {**values, "address": address})
    return name, address, kept


def _reply_to(
    draft: Draft, address: str, company: Company | None, home: Domain | None, facts: Facts
) -> tuple[str, Reason]:
    """Reply-To: address and reason."""
    if draft.reply_to:
        given = parse_mailbox(draft.reply_to).address
        given = ascii_address(given) or given
        return given, Reason("reply_given", {"address": given})
    own = address, Reason("reply_default", {"address": address})
    if draft.answers_to_author and address:
        return own
    found = _reply_to_by_rule(draft, address, company, home, facts) or own
    if draft.answer and draft.answer.lower() != found[0].lower():
        return draft.answer, Reason("reply_model", {"address": draft.answer})
    return found


def _reply_to_by_rule(
    draft: Draft, address: str, company: Company | None, home: Domain | None, facts: Facts
) -> tuple[str, Reason] | None:
    """Reply-To of a mail that has none: address and reason; None: the author's own."""
    of_from = facts.domain_named.get(domain_of(address))
    reply = facts.domain.get(of_from.reply_domain_id) if of_from else None
    reply = reply or home
    settings = facts.settings
    name = reply.name if reply else settings.catchall_domain
    catch_all = bool(name) and facts.has_catch_all(reply)
    if "@" in draft.document_alias and facts.arrives(draft.document_alias):
        found = draft.document_alias
        return found, Reason("reply_document_alias", {"address": found})
    if catch_all and draft.document_alias and "@" not in draft.document_alias:
        found = f"{draft.document_alias}@{name}"
        return found, Reason("reply_document_alias", {"address": found})
    if name and company and company.reply_to_by_company and company.reply_to_prefix:
        found = f"{company.reply_to_prefix}@{name}"
        return found, Reason("reply_prefix", {"address": found, "company": company.name})
    alias = reply.catchall_alias if reply else settings.catchall_alias
    if catch_all and alias:
        found = f"{alias}@{name}"
        return found, Reason("reply_catchall", {"address": found})
    if facts.has_catch_all(reply):
        return None
    mailbox = (company and company.mailbox) or facts.mailbox
    if mailbox:
        return mailbox, Reason("reply_mailbox", {"address": mailbox})
    server = draft.server or (None if facts.servers else facts.config_server)
    if server is None:
        # by the company alone, not by From's domain: no answer goes to another company
        chooser = company if company and company.mail_server_by_domain else None
        server = _pick_of(chooser, address, company, home, facts)
    if server and server.sender_address:
        values = {"address": server.sender_address, "server": server.name}
        return server.sender_address, Reason("reply_login", values)
    return None


def _server(
    draft: Draft,
    address: str,
    reply_to: str,
    company: Company | None,
    home: Domain | None,
    facts: Facts,
) -> tuple[Server | None, bool, Reason]:
    """The server, whether From may stay as it is on it, and why; no server: why not."""
    if draft.server is not None:
        named = Reason("server_named", {"server": draft.server.name})
        if draft.server_named:
            return draft.server, True, named
        own = _is_companys(address, company, home, draft.server, facts)
        return draft.server, _stays(address, draft.server, own), named
    if not facts.servers:
        config = facts.config_server or Server(None, "")
        return config, _matches(address, config.from_filter), Reason("server_config")
    chooser, rule, values = _company_of_server(address, reply_to, company, facts)
    server = _pick_of(chooser, address, company, home, facts)
    if server is None:
        if company and not chooser and company.id in facts.pools:
            return None, True, Reason("no_server_unused", {"company": company.name})
        nobody = chooser or company
        return None, True, Reason("no_server", {"company": nobody.name if nobody else "?"})
    if not server.company_id:
        rule = "server_shared_for" if chooser else "server_shared"
    own = _is_companys(address, company, home, server, facts)
    values["server"] = server.name
    return server, _stays(address, server, own), Reason(rule, values)


def _pick_of(
    chooser: Company | None,
    address: str,
    company: Company | None,
    home: Domain | None,
    facts: Facts,
) -> Server | None:
    """Choose among the servers of company K (``chooser``), else among those without a company."""
    pool = (facts.pools.get(chooser.id) if chooser else None) or facts.pools.get(None)
    if not pool:
        return None
    own = _is_companys(address, company, home, pool.servers[0], facts)
    return _pick(pool, address, facts.usable_notification(home), own)


def _company_of_server(address: str, reply_to: str, company: Company | None, facts: Facts):
    """Company K, whose servers are asked first, with the rule that named it."""
    by_reply = facts.company_by_reply_to.get(reply_to.lower()) if reply_to else None
    if reply_to and company and company.mail_server_by_reply_to:
        # of several companies that answer to one address, the mail's own
        by_reply = company if facts.reply_to_email(company) == reply_to.lower() else by_reply
    if by_reply:
        return by_reply, "server_by_reply_to", {"company": by_reply.name, "address": reply_to}
    claimed = facts.domain_named.get(domain_of(address))
    if claimed:
        if company and company.domain_id == claimed.id:
            owner = company
        else:
            owner = facts.company.get(claimed.company_id)
        if owner and owner.mail_server_by_domain:
            return owner, "server_by_domain", {"company": owner.name, "domain": claimed.name}
    if company and company.mail_server_by_domain:
        return company, "server_by_company", {"company": company.name}
    return None, "server_shared", {"company": company.name if company else ""}


def _is_companys(
    address: str, company: Company | None, home: Domain | None, server: Server, facts: Facts
) -> bool:
    """Tell whether the address is in a domain that this mail may use as its own.

    That is an alias domain of the mail's company, of the server's company or of nobody, or the
    Email Domain of the mail's company.
    """
    claimed = facts.domain_named.get(domain_of(address))
    if claimed is None:
        return False
    owners = {company.id if company else None, server.company_id}
    return not claimed.company_id or claimed.company_id in owners or claimed == home


def _pick(pool: Pool, address: str, notification: str, own: bool) -> Server:
    """Choose among servers as native ``ir.mail_server._find_mail_server`` does.

    Unlike native, an address of the company's own (see :func:`_is_companys`) goes by a server
    without a filter rather than by one that lets only the notification address pass.

    :param notification: ``""`` where it may not be used
    """
    found = pool.letting(address)
    if not found and own:
        found = pool.open
    if not found and notification:
        found = pool.letting(notification)
    return found or pool.open or pool.servers[0]


def _stays(address: str, server: Server, own: bool) -> bool:
    """Tell whether From stays on a server; else the notification address takes its place.

    Native puts that in on every server without a filter; an address of the company's own stays.
    """
    return own if not server.from_filter else _matches(address, server.from_filter)


def _matches(address: str, from_filter: str) -> bool:
    """Native ``_match_from_filter``: an empty filter lets everything pass."""
    if not from_filter:
        return True
    if "@" in from_filter:
        return address.lower() == ascii_address(from_filter).lower()
    return domain_of(address) == filter_domain(from_filter)


def _envelope(
    draft: Draft, address: str, server: Server, home: Domain | None, facts: Facts
) -> tuple[str, Reason]:
    """Choose MAIL FROM on a server that is not restricted.

    The bounce address of From's own domain comes first: SPF then speaks for the domain that
    people see, as DMARC wants it (RFC 7489 3.1.2).
    """
    if draft.return_path and _matches(draft.return_path, server.from_filter):
        return draft.return_path, Reason("envelope_given", {"address": draft.return_path})
    own = facts.domain_named.get(domain_of(address))
    candidates = [(home, "envelope_bounce")]
    if own and own != home:
        candidates.insert(0, (own, "envelope_aligned"))
    candidates = [(domain, rule) for domain, rule in candidates if facts.has_catch_all(domain)]
    if not candidates:
        found = server.sender_address or address
        return found, Reason("envelope_no_catch_all", {"address": found})
    for domain, rule in candidates:
        bounce = facts.bounce_address(domain)
        if bounce and _matches(bounce, server.from_filter):
            return bounce, Reason(rule, {"address": bounce})
    return address, Reason("envelope_from", {"address": address})


def _display(name: str, address: str, company: Company | None, facts: Facts) -> str:
    """The name that the customer sees when From is the login address."""
    shown = SENDER_NAME_FORMATS[facts.settings.sender_name_format]
    return clean_name(shown(name, address, company.name if company else ""))
