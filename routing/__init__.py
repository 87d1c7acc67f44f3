# SPDX-License-Identifier: LGPL-3.0-only
"""The decision: which server sends a mail, under which sender, and where the answer goes.

Plain Python: no Odoo import, no database, no I/O. Odoo's side gathers *facts*, hands in a
*draft* and carries out the *route* that comes back; everything that shows a route (sending,
Test Connection, the wizards) asks the same function, so that what is explained is what is done.

    >>> facts = Facts(settings=Settings(restrict_username=True), servers=[
    ...     Server(1, "Ohm SMTP", sender_address="kevin@odoomommy.com", has_username=True)])
    >>> route = decide(Draft("Lingsha <lingsha.han@odoomommy.com>"), facts)
    >>> route.mail_from, route.header_from
    ('kevin@odoomommy.com', '"Lingsha (lingsha.han@odoomommy.com)" <kevin@odoomommy.com>')
"""

from .addresses import (
    MailboxHeader,
    ascii_address,
    ascii_domain,
    clean_name,
    domain_of,
    encode_mailbox,
    format_mailbox,
    is_address,
    is_local_part,
    parse_mailbox,
    unicode_domain,
)
from .authentication import Authentication, read_authentication
from .company import author_of, company_of_mail
from .dns_providers import DnsProvider, provider_at
from .dns_records import (
    Answer,
    MailPath,
    RecordCheck,
    RecordFinding,
    names_to_ask,
    read_mx,
    read_records,
)
from .facts import Author, Company, Domain, Draft, Facts, Server, Settings, User, filter_domain
from .incoming import (
    Alias,
    Incoming,
    aliases_at,
    company_of_incoming,
    company_that_answers,
    is_own_domain,
    read_incoming,
)
from .reasons import Reason
from .refusals import Refusal, recognise_refusal, without_cure
from .reports import (
    Clues,
    has_null_return_path,
    headers_of,
    is_automatic,
    read_clues,
    recognise_report,
)
from .route import Route, decide, decide_reply_to, is_restricted
from .sender_names import DEFAULT_SENDER_NAME_FORMAT, SENDER_NAME_FORMATS

__all__ = [
    "DEFAULT_SENDER_NAME_FORMAT",
    "SENDER_NAME_FORMATS",
    "Alias",
    "Answer",
    "Authentication",
    "Author",
    "Clues",
    "Company",
    "DnsProvider",
    "Domain",
    "Draft",
    "Facts",
    "Incoming",
    "MailPath",
    "MailboxHeader",
    "Reason",
    "RecordCheck",
    "RecordFinding",
    "Refusal",
    "Route",
    "Server",
    "Settings",
    "User",
    "aliases_at",
    "ascii_address",
    "ascii_domain",
    "author_of",
    "clean_name",
    "company_of_incoming",
    "company_of_mail",
    "company_that_answers",
    "decide",
    "decide_reply_to",
    "domain_of",
    "encode_mailbox",
    "filter_domain",
    "format_mailbox",
    "has_null_return_path",
    "headers_of",
    "is_address",
    "is_automatic",
    "is_local_part",
    "is_own_domain",
    "is_restricted",
    "names_to_ask",
    "parse_mailbox",
    "provider_at",
    "read_authentication",
    "read_clues",
    "read_incoming",
    "read_mx",
    "read_records",
    "recognise_refusal",
    "without_cure",
    "recognise_report",
    "unicode_domain",
]
