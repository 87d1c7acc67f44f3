# SPDX-License-Identifier: LGPL-3.0-only
"""The input of the decision: the draft, and the facts.

All of it is immutable and free of Odoo. Addresses and domains are lower-case ASCII, as they go over
the wire; ids are those of the database, and only passed through.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from .addresses import ascii_address, ascii_domain, domain_of
from .sender_names import DEFAULT_SENDER_NAME_FORMAT


@dataclass(frozen=True)
class Settings:
    """General Settings, and Odoo's own parameters.

    ``notification`` is native's sender of last resort (``_get_default_from_address``:
    ``mail.default.from`` with ``mail.catchall.domain``, or the configuration file's).
    """

    catch_all: bool = True
    restrict_username: bool = False
    sender_name_format: str = DEFAULT_SENDER_NAME_FORMAT
    catchall_domain: str = ""
    catchall_alias: str = ""
    bounce_alias: str = ""
    notification: str = ""


@dataclass(frozen=True)
class Domain:
    """A row of the Alias Domain table; ``catch_all`` is ``default``, ``yes`` or ``no``."""

    id: int
    name: str
    company_id: int | None = None
    reply_domain_id: int | None = None
    catchall_alias: str = "catchall"
    bounce_alias: str = "bounce"
    default_from: str = "notifications"
    catch_all: str = "default"


@dataclass(frozen=True)
class Company:
    """A company, its options of the page Email Routing, and the mailbox it fetches.

    ``mailbox`` is the login of its first confirmed incoming server, ``""`` without one.
    """

    id: int
    name: str
    domain_id: int | None = None
    reply_to_by_company: bool = False
    reply_to_prefix: str = ""
    email_from_by_company: bool = False
    mail_server_by_domain: bool = False
    mail_server_by_reply_to: bool = False
    mailbox: str = ""


@dataclass(frozen=True)
class Server:
    """An outgoing server. ``id`` is None for the one of the configuration file.

    ``policy`` is ``default``, ``login`` or ``any``; ``sender_address`` the login address, ``""``
    without one; ``from_filter`` an address, a domain or ``""``: any sender; ``oauth`` whether it
    logs in by OAuth.
    """

    id: int | None
    name: str
    company_id: int | None = None
    policy: str = "default"
    sender_address: str = ""
    has_username: bool = False
    from_filter: str = ""
    oauth: bool = False


@dataclass(frozen=True)
class User:
    """An internal user, as far as it matters for the company of a mail.

    ``partner_id`` is the user's contact, ``company_id`` the main company, ``company_ids`` all
    companies that the user may work in. OdooBot may work in all there are.
    """

    id: int
    partner_id: int
    company_id: int
    company_ids: frozenset[int] = frozenset()
    is_bot: bool = False

    def may_work_in(self, company_id: int | None) -> bool:
        """Tell whether the user may work in a company."""
        return self.is_bot or company_id in self.company_ids


@dataclass(frozen=True)
class Author:
    """The internal user whose address is in From.

    ``outgoing_domain`` is the name of the user's Outgoing Email Domain in the mail's company.
    """

    outgoing_domain: str = ""
    is_bot: bool = False


@dataclass(frozen=True)
class Draft:
    """A mail before it is routed.

    :param email_from: as stored on the message: ``"Name <address>"``, an address, a name
    :param company_id: the company C the mail belongs to
    :param company_rule: why: a rule of :func:`~.company.company_of_mail`; ``""``: decided before
    :param author: set when the address is an internal user's
    :param server: the server that sends it, where that is settled already
    :param server_named: whether that server is named on the mail, its message or its template;
        else a session was opened by it before this mail was known
    :param reply_to: given explicitly, or decided when the message was written
    :param answers_to_author: answers shall reach the author, not a document
    :param answer: the address that the document's model gives for a Reply-To that is missing
    :param answer_name: its display name
    :param return_path: given explicitly by the caller (variable envelope return paths)
    :param document_alias: the document's own alias: a local part, or a whole address where the
        alias has a domain
    """

    email_from: str = ""
    company_id: int | None = None
    company_rule: str = ""
    author: Author | None = None
    server: Server | None = None
    server_named: bool = True
    reply_to: str = ""
    answers_to_author: bool = False
    answer: str = ""
    answer_name: str = ""
    return_path: str = ""
    document_alias: str = ""


class Pool:
    """Servers in order of sequence, found by the ``from_filter`` without walking through them."""

    def __init__(self, servers: Iterable[Server] = ()):
        self.servers = tuple(servers)
        self.by_address: dict[str, Server] = {}
        self.by_domain: dict[str, Server] = {}
        self.open: Server | None = None
        for server in self.servers:
            if not server.from_filter:
                self.open = self.open or server
            elif "@" in server.from_filter:
                self.by_address.setdefault(ascii_address(server.from_filter).lower(), server)
            else:
                self.by_domain.setdefault(filter_domain(server.from_filter), server)

    def __bool__(self):
        return bool(self.servers)

    def letting(self, address: str) -> Server | None:
        """Give the server whose filter names an address, else the one that names its domain."""
        if not address:
            return None
        named = self.by_address.get(address.lower())
        return named or self.by_domain.get(domain_of(address))


def filter_domain(text: str) -> str:
    """Give the domain of a ``from_filter`` in ASCII; text that is no domain as it is."""
    try:
        return ascii_domain(text)
    except ValueError:
        return text.strip().lower()


@dataclass(frozen=True)
class Facts:
    """Everything the decision may know, with indexes for quick look-ups.

    :param servers: the active outgoing servers in order of sequence
    :param config_server: the server of Odoo's configuration file, used where the database has none
    :param mailbox: login of the first confirmed incoming server without a company
    :param mailboxes: logins of all confirmed incoming servers
    :param native: whether to decide as native Odoo, which never asks whether an address exists
    """

    settings: Settings = field(default_factory=Settings)
    companies: Sequence[Company] = ()
    domains: Sequence[Domain] = ()
    servers: Sequence[Server] = ()
    config_server: Server | None = None
    mailbox: str = ""
    mailboxes: Sequence[str] = ()
    native: bool = False

    def without_options(self) -> "Facts":
        """Give the facts as they would be without this addon, for native Odoo's decision."""
        return replace(
            self,
            settings=replace(self.settings, catch_all=True, restrict_username=False),
            companies=(),
            domains=(),
            servers=tuple(replace(s, company_id=None, policy="default") for s in self.servers),
            native=True,
        )

    def with_servers(self, server_ids: frozenset[int]) -> "Facts":
        """Give the facts as they are with these of the servers alone."""
        if server_ids not in self._with_servers:
            servers = tuple(server for server in self.servers if server.id in server_ids)
            self._with_servers[server_ids] = replace(self, servers=servers)
        return self._with_servers[server_ids]

    @cached_property
    def _with_servers(self) -> dict[frozenset[int], "Facts"]:
        return {}

    @cached_property
    def company(self) -> dict[int, Company]:
        """Companies by id."""
        return {company.id: company for company in self.companies}

    @cached_property
    def domain(self) -> dict[int, Domain]:
        """Alias domains by id."""
        return {domain.id: domain for domain in self.domains}

    @cached_property
    def domain_named(self) -> dict[str, Domain]:
        """Alias domains by name."""
        return {domain.name: domain for domain in self.domains}

    @cached_property
    def server(self) -> dict[int | None, Server]:
        """Servers by id."""
        return {server.id: server for server in self.servers}

    @cached_property
    def pools(self) -> dict[int | None, Pool]:
        """Servers by company id; under None those without a company."""
        by_company: dict[int | None, list[Server]] = {}
        for server in self.servers:
            by_company.setdefault(server.company_id, []).append(server)
        return {company_id: Pool(servers) for company_id, servers in by_company.items()}

    @cached_property
    def has_reply_domains(self) -> bool:
        """Tell whether any domain has its answers sent to another one."""
        return any(domain.reply_domain_id for domain in self.domains)

    @cached_property
    def company_by_reply_to(self) -> dict[str, Company]:
        """Companies that let Reply-To choose the server, by their reply address.

        An address that several companies have, whether they ask for it or not, chooses none.
        """
        having: dict[str, list[Company]] = {}
        for company in self.companies:
            having.setdefault(self.reply_to_email(company), []).append(company)
        return {
            address: companies[0]
            for address, companies in having.items()
            if address and len(companies) == 1 and companies[0].mail_server_by_reply_to
        }

    @cached_property
    def reply_addresses(self) -> frozenset[str]:
        """Addresses that are for replies alone: of the companies, and the domains' catchalls."""
        found = {
            self.reply_to_email(company)
            for company in self.companies
            if company.reply_to_prefix
            and (company.reply_to_by_company or company.mail_server_by_reply_to)
        }
        return frozenset((found | self.catchall_addresses) - {""})

    @cached_property
    def catchall_addresses(self) -> frozenset[str]:
        """The catchall addresses of the domains that have a catch-all."""
        found = {
            f"{domain.catchall_alias}@{domain.name}".lower()
            for domain in self.domains
            if domain.catchall_alias and self.has_catch_all(domain)
        }
        settings = self.settings
        if settings.catch_all and settings.catchall_domain and settings.catchall_alias:
            found.add(f"{settings.catchall_alias}@{settings.catchall_domain}".lower())
        return frozenset(found)

    @cached_property
    def mailboxes_in_use(self) -> frozenset[str]:
        """Addresses that are mailboxes: logins of incoming and outgoing servers."""
        senders = self.servers or [server for server in [self.config_server] if server]
        logins = [*self.mailboxes, *(server.sender_address for server in senders)]
        return frozenset(login.lower() for login in logins if login)

    @cached_property
    def invented_return_paths(self) -> frozenset[str]:
        """The bounce addresses of Odoo and the Alias Domain table, which no caller gives."""
        found = {self.bounce_address(domain).lower() for domain in (None, *self.domains)}
        return frozenset(found - {""})

    @cached_property
    def bounce_addresses(self) -> frozenset[str]:
        """Addresses at which delivery reports arrive, and nothing else does."""
        return self.invented_return_paths - self.mailboxes_in_use

    @cached_property
    def plain_mailboxes(self) -> frozenset[str]:
        """Mailboxes that are not the catchall address of a domain that has a catch-all."""
        return self.mailboxes_in_use - self.catchall_addresses

    @cached_property
    def _companies_by_domain(self) -> dict[int, list[Company]]:
        having: dict[int, list[Company]] = {}
        for company in self.companies:
            if company.domain_id:
                having.setdefault(company.domain_id, []).append(company)
        return having

    def companies_having(self, domain_id: int) -> list[Company]:
        """Give the companies whose Email Domain it is."""
        return self._companies_by_domain.get(domain_id, [])

    def domain_of_company(self, company: Company | None) -> Domain | None:
        """Give the company's Email Domain."""
        return self.domain.get(company.domain_id) if company and company.domain_id else None

    def reply_to_email(self, company: Company) -> str:
        """Give ``res.company.reply_to_email``: prefix, else catchall alias, at its domain."""
        domain = self.domain_of_company(company)
        name = domain.name if domain else self.settings.catchall_domain
        alias = domain.catchall_alias if domain else self.settings.catchall_alias
        local = company.reply_to_prefix or alias
        return f"{local}@{name}".lower() if local and name else ""

    def has_catch_all(self, domain: Domain | None) -> bool:
        """Tell whether mail to invented addresses of the domain arrives; None: the general one."""
        if domain is None or domain.catch_all == "default":
            return self.settings.catch_all
        return domain.catch_all == "yes"

    def bounce_address(self, domain: Domain | None) -> str:
        """Give the bounce address of a domain; None: native's. ``""`` where there is none."""
        if domain is not None:
            return f"{domain.bounce_alias}@{domain.name}" if domain.bounce_alias else ""
        settings = self.settings
        if settings.bounce_alias and settings.catchall_domain:
            return f"{settings.bounce_alias}@{settings.catchall_domain}"
        return ""

    def notification_address(self, domain: Domain | None) -> str:
        """Give the default sender of a domain, else native's; ``""`` where there is neither."""
        if domain is None or not domain.default_from:
            return self.settings.notification
        if "@" in domain.default_from:
            return domain.default_from
        return f"{domain.default_from}@{domain.name}"

    def usable_notification(self, domain: Domain | None) -> str:
        """Give the default sender of a domain if mail to it arrives, else ``""``."""
        address = self.notification_address(domain)
        return address if self.native or self.arrives(address) else ""

    def arrives(self, address: str) -> bool:
        """Tell whether mail to an address that Odoo made up would arrive anywhere.

        It does where its domain has a catch-all, and where it is the login of a server.
        """
        address = address.lower()
        if address in self.mailboxes_in_use:
            return True
        name = domain_of(address)
        domain = self.domain_named.get(name)
        if domain is None and name != self.settings.catchall_domain:
            return False
        return bool(name) and self.has_catch_all(domain)

    def answers_come_to(self, local_part: str) -> str:
        """Give an address with this local part to which answers or delivery reports come.

        :return: the address, ``""`` where there is none
        """
        taken = sorted(self.reply_addresses | self.bounce_addresses)
        prefix = f"{local_part.lower()}@"
        return next((address for address in taken if address.startswith(prefix)), "")

    def owner_of(self, name: str) -> Company | None:
        """Give the one company that a domain belongs to.

        :param name: the domain
        :return: the company of its alias domain, else the only one that has it as Email Domain
        """
        domain = self.domain_named.get(name)
        if domain is None:
            return None
        if domain.company_id:
            return self.company.get(domain.company_id)
        having = self.companies_having(domain.id)
        return having[0] if len(having) == 1 else None
