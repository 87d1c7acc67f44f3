import contextlib
import functools
import socket
from imaplib import IMAP4

from odoo import _, fields, models, release

from odoo.addons.mail.models.fetchmail import MAIL_TIMEOUT

from .credentials import ImapLogin


@functools.wraps(IMAP4._create_socket)
def _create_socket(self, timeout=None):
    """Bound every step of an IMAP session.

    Odoo means to do so, but since Python 3.9 imaplib hands over ``None``, which waits for ever: a
    mailbox that hangs would hold all the others up.
    """
    return socket.create_connection((self.host or None, self.port), timeout or MAIL_TIMEOUT)


IMAP4._create_socket = _create_socket


class FetchmailServer(models.Model):
    _name = "fetchmail.server"
    _inherit = ["fetchmail.server", "mail.routing.fact"]

    _routing_fields = frozenset(
        {"active", "company_id", "priority", "server_type", "state", "user"}
    )

    company_id = fields.Many2one(
        "res.company",
        index=True,
        ondelete="restrict",
        help="The company whose mailbox this is. Empty: everybody's.",
    )
    routing_warning = fields.Char(related="company_id.routing_warning")

    def _imap_login(self, connection):
        """Log in, and say who we are (RFC 2971) where the server wants to know.

        NetEase refuses to open the mailbox of whoever does not: "SELECT Unsafe Login. Please
        contact kefu@188.com for help".
        """
        ImapLogin(
            connection,
            _(
                "The server of %s takes no letters beyond ASCII in a username or password. Choose a"
                " password without them.",
                self.name,
            ),
        )
        result = super()._imap_login(connection)
        imap = getattr(connection, "__obj__", connection)  # Odoo's wrapper has methods alone
        if "ID" in getattr(imap, "capabilities", ()):
            with contextlib.suppress(IMAP4.error):  # who does not take it does not need it
                imap.xatom("ID", f'("name" "Odoo" "version" "{release.version}" "vendor" "Odoo")')
        return result
