# SPDX-License-Identifier: LGPL-3.0-only
"""The strict provider on loopback: who may send as whom, over SMTP, IMAP and POP3."""

from .client import submit
from .faults import PHASES
from .mails import Mail
from .rules import HOST, RULES, Rule, domain_of
from .service import Provider
from .tls import client_context, write_certificates
