# SPDX-License-Identifier: LGPL-3.0-only
"""Thunderbird's ``config-v1.1.xml``, which providers publish and its database is made of.

https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat
"""

import re

from lxml import etree

from .servers import MailServer, Servers, is_host

#: bytes; the largest of Thunderbird's own files has 12,000
LARGEST = 64 * 1024

#: a number that may be a port; zeros before it would let one of any length pass
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_ENCRYPTIONS = {"SSL": "ssl", "STARTTLS": "starttls"}
_LOGINS = {"%EMAILADDRESS%": "address", "%EMAILLOCALPART%": "local"}
#: of ``authentication``: those that take a password over TLS
_PASSWORDS = {"password-cleartext", "password-encrypted", "plain", "secure"}


class NotAutoconfig(Exception):
    """What was given is no such file.

    :param hostile: it has a document type or entities, or is too large: no real file is so
    """

    def __init__(self, message, hostile=False):
        super().__init__(message)
        self.hostile = hostile


def read_autoconfig(raw: bytes, domain: str = "") -> Servers:
    """Read a file; of its servers, the first of each kind that Odoo can use safely.

    Odoo fetches by TLS from the first byte on only, so a server with STARTTLS for IMAP or POP3, and
    any without encryption, is none.

    :param raw: the file
    :param domain: that of the address, for names such as ``imap.%EMAILDOMAIN%``
    :raises NotAutoconfig: it cannot be read, names no server, or is hostile
    """
    if len(raw) > LARGEST:
        raise NotAutoconfig("too large", hostile=True)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
        huge_tree=False, remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise NotAutoconfig(str(error), hostile=b"<!ENTITY" in raw) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise NotAutoconfig("it has a document type", hostile=True)
    provider = root.find("emailProvider") if root.tag == "clientConfig" else None
    if provider is None:
        raise NotAutoconfig("no clientConfig")
    servers = Servers(
        smtp=_first(provider, "outgoingServer", "smtp", ("ssl", "starttls"), domain),
        imap=_first(provider, "incomingServer", "imap", ("ssl",), domain),
        pop=_first(provider, "incomingServer", "pop3", ("ssl",), domain),
        name=(_text(provider, "displayShortName") or _text(provider, "displayName")).replace(
            "%EMAILDOMAIN%", domain
        ),
    )
    if not servers.smtp:
        raise NotAutoconfig("no server that sends over TLS")
    return servers


def _first(provider, tag, kind, encryptions, domain):
    """Give the first server of a kind; one that takes a password comes before one that does not."""
    found = [
        server
        for element in provider.findall(tag)
        if element.get("type") == kind and (server := _server(element, encryptions, domain))
    ]
    return min(found, key=lambda server: server.oauth, default=None)


def _server(element, encryptions, domain):
    """Give one server, None where Odoo cannot use it."""
    host = _text(element, "hostname").replace("%EMAILDOMAIN%", domain).rstrip(".").lower()
    port = _text(element, "port")
    encryption = _ENCRYPTIONS.get(_text(element, "socketType"))
    if not (is_host(host) and _PORT.fullmatch(port) and int(port) < 65536):
        return None
    if encryption not in encryptions:
        return None
    methods = {(method.text or "").strip() for method in element.findall("authentication")}
    return MailServer(
        host=host,
        port=int(port),
        encryption=encryption,
        login=_LOGINS.get(_text(element, "username"), ""),
        oauth="OAuth2" in methods and not methods & _PASSWORDS,
    )


def _text(element, tag):
    return " ".join((element.findtext(tag) or "").split())[:200]
