# SPDX-License-Identifier: LGPL-3.0-only
"""How somebody sends through a server on loopback: the customer who answers."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from collections.abc import Collection, Iterator
from email.message import Message
from pathlib import Path

from .rules import HOST

#: that a server has for each answer
SECONDS = 30


def client_context(certificate: Path | None) -> ssl.SSLContext:
    """Return a TLS context for a client that trusts this certificate only.

    :raises RuntimeError: there is none.
    """
    if certificate is None:
        raise RuntimeError("the server is not started, or not with TLS")
    return ssl.create_default_context(cafile=str(certificate))


@contextlib.contextmanager
def connected(
    port: int,
    tls: str = "none",
    certificate: Path | None = None,
    login: str = "",
    password: str = "",
) -> Iterator[smtplib.SMTP]:
    """Open an SMTP session, and log in where a login is given.

    :param tls: ``none``, ``starttls`` or ``ssl``
    :param certificate: the one to trust, with TLS
    """
    # Naming the client saves smtplib a look-up of this machine's name
    if tls == "ssl":
        context = client_context(certificate)
        client = smtplib.SMTP_SSL(HOST, port, "localhost", timeout=SECONDS, context=context)
    else:
        client = smtplib.SMTP(HOST, port, "localhost", timeout=SECONDS)
    with client:
        if tls == "starttls":
            client.starttls(context=client_context(certificate))
        if login:
            client.login(login, password)
        yield client


def submit(
    client: smtplib.SMTP,
    mail_from: str,
    rcpts: str | Collection[str],
    message: Message | bytes | str,
) -> dict[str, tuple[int, bytes]]:
    """Send a mail in a session that is open, and logged in if it has to be.

    :return: the recipients that were refused with their replies, as
        :meth:`smtplib.SMTP.sendmail` does.
    """
    rcpts = [rcpts] if isinstance(rcpts, str) else list(rcpts)
    if isinstance(message, Message):
        return client.send_message(message, mail_from, rcpts)
    if isinstance(message, bytes):
        # smtplib fixes the line ends of text only; a bare LF ends no line in SMTP.
        message = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    return client.sendmail(mail_from, rcpts, message)
