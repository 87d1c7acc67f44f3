"""One SMTP session: plain Python on sockets, no Odoo import."""

from .session import MailProgress, SmtpSession, UnsafeHeader

__all__ = ["MailProgress", "SmtpSession", "UnsafeHeader"]
