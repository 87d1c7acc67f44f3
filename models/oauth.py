# SPDX-License-Identifier: LGPL-3.0-only
"""Odoo's own modules that log in by OAuth, as far as a mailbox is set up through them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OAuth:
    """One of Odoo's modules.

    :param kind: what its servers have as authentication, and as type
    :param confirm: path that the provider leads back to
    :param prefix: of its parameters and fields
    :param uri: field with the address of the consent
    :param shared: fields of a token that is good for both servers
    :param fetching: scope that fetching needs beside that of sending
    """

    kind: str
    confirm: str
    prefix: str
    uri: str
    shared: tuple
    fetching: str = ""

    @property
    def refresh(self):
        """Name the field of the refresh token."""
        return self.shared[0]


MODULES = {
    "microsoft_outlook": OAuth(
        "outlook",
        "/microsoft_outlook/confirm",
        "microsoft_outlook",
        "microsoft_outlook_uri",
        ("microsoft_outlook_refresh_token",),
        "https://outlook.office.com/IMAP.AccessAsUser.All",
    ),
    "google_gmail": OAuth(
        "gmail",
        "/google_gmail/confirm",
        "google_gmail",
        "google_gmail_uri",
        (
            "google_gmail_refresh_token",
            "google_gmail_access_token",
            "google_gmail_access_token_expiration",
        ),
    ),
}

#: what servers that log in by OAuth have as authentication
OAUTH_KINDS = frozenset(module.kind for module in MODULES.values())

#: the paths that providers lead back to
CONFIRMED = frozenset(module.confirm for module in MODULES.values())
