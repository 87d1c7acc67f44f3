# SPDX-License-Identifier: LGPL-3.0-only
"""The SMTP session: plain Python on top of ``smtplib``, no Odoo, no database, no routes.

A caller opens the connection and logs in; :class:`SmtpSession` sends, and tells how far each mail
got. Nothing here imports from Odoo or from the rest of the addon.
"""

from .bounded import BoundedFile, Endless, Replies
from .session import MailProgress, SmtpSession, UnsafeHeader

__all__ = ["BoundedFile", "Endless", "MailProgress", "Replies", "SmtpSession", "UnsafeHeader"]
