# SPDX-License-Identifier: LGPL-3.0-only
"""How somebody sends through a server on loopback: the customer who answers."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Collection
from email.message import Message

from .rules import HOST
from .tls import client_context

#: that a server has for each answer
SECONDS = 30


def submit(
    port: int,
    tls: str,
    credentials: tuple[str, str] | None,
    mail_from: str,
    rcpts: str | Collection[str],
    message: Message | bytes | str,
) -> dict[str, tuple[int, bytes]]:
    """Send a mail in a session of its own.

    :param tls: ``none``, ``starttls`` or ``ssl``
    :param credentials: login and password; None: without a login
    :return: the recipients that were refused with their replies, as
        :meth:`smtplib.SMTP.sendmail` does.
    :raises smtplib.SMTPException: what the server refuses.
    """
    # Naming the client saves smtplib a look-up of this machine's name
    if tls == "ssl":
        context = client_context()
        client = smtplib.SMTP_SSL(HOST, port, "localhost", timeout=SECONDS, context=context)
    else:
        client = smtplib.SMTP(HOST, port, "localhost", timeout=SECONDS)
    with client:
        if tls == "starttls":
            client.starttls(context=client_context())
        if credentials:
            client.login(*credentials)
        if isinstance(message, Message):
            return client.send_message(message, mail_from, rcpts)
        if isinstance(message, bytes):
            # smtplib fixes the line ends of text only; a bare LF ends no line in SMTP.
            message = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
        return client.sendmail(mail_from, rcpts, message)
