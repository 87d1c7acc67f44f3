"""The strict provider on loopback: who may send as whom, over SMTP, IMAP and POP3."""

from .smtp import HOST, PHASES, RULES, Account, Mail, Provider, Refusal, Rule, _server_tls
