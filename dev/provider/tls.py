# SPDX-License-Identifier: LGPL-3.0-only
"""Certificates for the servers on loopback, from an authority that nobody else trusts."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

import trustme

from .rules import HOST


@functools.lru_cache(maxsize=1)
def _authority() -> tuple[trustme.CA, trustme.LeafCert]:
    # valid from 2000 to 3000, whatever date a test freezes
    authority = trustme.CA()
    return authority, authority.issue_cert("localhost", HOST)


def server_context() -> ssl.SSLContext:
    """Return a TLS context for a server on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority()[1].configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """Return a TLS context for a client that trusts these servers only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority()[0].configure_trust(context)
    return context


def write_certificates(folder: Path) -> tuple[Path, Path]:
    """Write what a server shows and what its clients trust into ``folder``, as PEM.

    :return: the file of the server's key and certificate; that of the authority's certificate
    """
    authority, server = _authority()
    shown, trusted = folder / "server.pem", folder / "authority.pem"
    shown.touch(mode=0o600)
    server.private_key_and_cert_chain_pem.write_to_path(shown)
    authority.cert_pem.write_to_path(trusted)
    return shown, trusted
