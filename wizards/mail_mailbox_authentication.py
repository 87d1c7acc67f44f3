# SPDX-License-Identifier: LGPL-3.0-only
"""What the provider found of the mail that Set Up a Mailbox sent to itself: SPF, DKIM, DMARC."""

from ..routing import provider_at, read_authentication


def fetch_headers(session, number):
    """Give the headers of a mail in the open mailbox of an IMAP session, and leave it unread.

    :param number: its number there
    :return: bytes, not empty: the mail is there even if the server does not give them
    """
    _result, parts = session.fetch(number, "(BODY.PEEK[HEADER])")
    return next((part[1] for part in parts or () if isinstance(part, tuple)), b"") or b"\r\n"


def authentication_of(server, headers):
    """Say what the provider of a mailbox wrote about a mail (RFC 8601).

    :param server: the ``fetchmail.server`` that the mail was fetched from
    :param headers: the mail's
    :return: a sentence; ``""`` where the provider wrote nothing, or found nothing to check
    """
    found = read_authentication(headers, server.server or "", provider_at(server.server or ""))
    return found.sentence(server.env["mail.routing"]._translate) if found else ""
