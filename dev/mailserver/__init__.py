# SPDX-License-Identifier: LGPL-3.0-only
"""Postfix and Dovecot on loopback, with a configuration of their own."""

from .server import MailServer, NoMailServer, install
