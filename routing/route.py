"""From a draft and the facts to a route."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Route:
    """What happens to a mail.

    :param server: the server that sends it; None where it cannot be sent (``failure`` says why),
        its ``id`` None for the server of the configuration file
    :param from_name: display name of the From header, for people; ``""`` without one
    :param from_address: address of the From header; ``""``: the message has none, native decides
    :param mail_from: the envelope sender (RFC 5321 4.1.1.2)
    :param return_path: the Return-Path header
    :param reply_to: the address answers go to; ``""``: native's default, the author
    :param reasons: one for each thing decided
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

    @property
    def header_from(self) -> str:
        """The From header as people read it."""
        return format_mailbox(self.from_name, self.from_address)

    def from_header(self) -> MailboxHeader:
        """Make the From header that goes over the wire."""
        return MailboxHeader(self.from_name, self.from_address)


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
    server, keep_from, server_reason = _server(draft, address, reply_to, company, home, facts)
    if server is None:
        return _no_route(name, address, reply_to, (from_reason, reply_reason), server_reason)
    if is_restricted(server, facts):
        login = server.sender_address
        if not login:
            failure = Reason("no_login_address", {"server": server.name})
            return _no_route(name, address, reply_to, (from_reason, server_reason), failure)
        values = {"address": login, "server": server.name}
        return Route(
            server=server,
            from_name=_display(name, address, company, facts),
            from_address=login,
            mail_from=login,
            return_path=login,
            reply_to=reply_to,
            reasons=(
                from_reason,
                server_reason,
                Reason("from_login", values),
                Reason("envelope_login", values),
                reply_reason,
            ),
            restricted=True,
        )
    reasons = [from_reason, server_reason]
    if not keep_from:
        notification = facts.notification_address(home)
        if notification and notification.lower() != address.lower():
            name, address = name or address.partition("@")[0], notification
            reasons.append(Reason("from_notification", {"address": address, "server": server.name}))
    mail_from, envelope_reason = _envelope(draft, address, server, home, facts)
    return Route(
        server=server,
        from_name=name,
        from_address=address,
        mail_from=mail_from,
        return_path=mail_from,
        reply_to=reply_to,
        reasons=(*reasons, envelope_reason, reply_reason),
    )


def decide_reply_to(draft: Draft, facts: Facts) -> tuple[str, Reason]:
    """Decide where answers go, at the time the message is written.

    :return: the address, ``""`` for native's default (the author), and why
    """
    company = facts.company.get(draft.company_id)
    home = facts.domain_of_company(company)
    _name, address, _reason = _author(draft, company, home, facts)
    return _reply_to(draft, address, company, home, facts)


def _no_route(name, address, reply_to, reasons, failure: Reason) -> Route:
    return Route(None, name, address, "", "", reply_to, (*reasons, failure), failure=failure)


def _author(draft: Draft, company: Company | None, home: Domain | None, facts: Facts):
    """From, before the server has its say: name, address, reason."""
    name, address = parse_mailbox(draft.email_from)
    plain = ascii_address(address)
    address = plain or address
    if not address:
        default = facts.notification_address(home) if home else ""
        if default:
            values = {"address": default, "company": company.name}
            return name, default, Reason("from_company_default", values)
        return name, "", Reason("from_kept", {"address": name})
    kept = Reason("from_kept", {"address": address})
    if company is None or not company.email_from_by_company or not plain:
        return name, address, kept
    domain = domain_of(address)
    if draft.author is None and not facts.is_own_domain(domain):
        return name, address, Reason("from_foreign", {"address": address})
    local = address.rpartition("@")[0]
    values = {"company": company.name}
    if draft.author and draft.author.outgoing_domain:
        values["domain"] = draft.author.outgoing_domain
        address = f"{local}@{draft.author.outgoing_domain}"
        return name, address, Reason("from_user_domain", {**values, "address": address})
    claimed = facts.domain_named.get(domain)
    if claimed and (claimed.company_id == company.id or claimed is home):
        values["domain"] = domain
        return name, address, Reason("from_company_own", {**values, "address": address})
    if home:
        if draft.author and draft.author.is_bot:
            address = facts.notification_address(home) or f"{local}@{home.name}"
        else:
            address = f"{local}@{home.name}"
        values["domain"] = home.name
        return name, address, Reason("from_company_domain", {**values, "address": address})
    return name, address, kept


def _reply_to(
    draft: Draft, address: str, company: Company | None, home: Domain | None, facts: Facts
) -> tuple[str, Reason]:
    """Reply-To: address (``""``: the author's own) and reason."""
    if draft.reply_to:
        given = parse_mailbox(draft.reply_to).address
        given = ascii_address(given) or given
        return given, Reason("reply_given", {"address": given})
    of_from = facts.domain_named.get(domain_of(address))
    reply = facts.domain.get(of_from.reply_domain_id) if of_from else None
    reply = reply or home
    settings = facts.settings
    name = reply.name if reply else settings.catchall_domain
    catch_all = bool(name) and facts.has_catch_all(reply)
    if catch_all and draft.document_alias:
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
        return "", Reason("reply_default")
    mailbox = (company and company.mailbox) or facts.mailbox
    if mailbox:
        return mailbox, Reason("reply_mailbox", {"address": mailbox})
    server, _keep, _reason = _server(draft, address, "", company, home, facts)
    if server and server.sender_address:
        values = {"address": server.sender_address, "server": server.name}
        return server.sender_address, Reason("reply_login", values)
    return "", Reason("reply_default")


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
        return draft.server, True, Reason("server_named", {"server": draft.server.name})
    chooser, rule, values = _company_of_server(address, reply_to, company, facts)
    pool = facts.pools.get(chooser.id) if chooser else None
    if not pool:
        pool = facts.pools.get(None)
        rule = "server_shared_for" if chooser else "server_shared"
    if not pool:
        if not facts.servers:
            config = facts.config_server or Server(None, "")
            keep = _matches(address, config.from_filter)
            return config, keep, Reason("server_config")
        if company and not chooser and company.id in facts.pools:
            return None, True, Reason("no_server_unused", {"company": company.name})
        nobody = chooser or company
        return None, True, Reason("no_server", {"company": nobody.name if nobody else "?"})
    server, keep = _pick(pool, address, facts.notification_address(home))
    values["server"] = server.name
    return server, keep, Reason(rule, values)


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


def _pick(pool: Pool, address: str, notification: str) -> tuple[Server, bool]:
    """Choose among servers as native ``ir.mail_server._find_mail_server`` does.

    :return: the server, and whether From stays (else the notification address takes its place)
    """
    for candidate, keeps in ((address, True), (notification, False)):
        if candidate:
            found = pool.by_address.get(candidate.lower()) or pool.by_domain.get(
                domain_of(candidate)
            )
            if found:
                return found, keeps
    return pool.open or pool.servers[0], False


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
    """MAIL FROM on a server that lets anybody send."""
    if draft.return_path and _matches(draft.return_path, server.from_filter):
        return draft.return_path, Reason("envelope_given", {"address": draft.return_path})
    if not facts.has_catch_all(home):
        found = server.sender_address or address
        return found, Reason("envelope_no_catch_all", {"address": found})
    bounce = facts.bounce_address(home)
    if bounce and _matches(bounce, server.from_filter):
        return bounce, Reason("envelope_bounce", {"address": bounce})
    return address, Reason("envelope_from", {"address": address})


def _display(name: str, address: str, company: Company | None, facts: Facts) -> str:
    """The name the customer sees when From bears the login address."""
    style = facts.settings.sender_name_format
    if style == "name_company" and company and company.name:
        return clean_name(f"{name or address} via {company.name}")
    if style == "name_address" and name and address:
        return f"{name} ({address})"
    return name or address
