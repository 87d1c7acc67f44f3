# SPDX-License-Identifier: LGPL-3.0-only
"""The strict provider on loopback: who may send as whom, over SMTP, IMAP and POP3."""

from .client import client_context, connected, submit
from .mails import Account, Mail, Refusal
from .rules import HOST, RULES, Rule, domain_of
from .smtp import PHASES, Provider
from .tls import write_certificates
