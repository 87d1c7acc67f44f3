# SPDX-License-Identifier: LGPL-3.0-only
import contextlib
import logging
from imaplib import IMAP4
from poplib import error_proto

from odoo import _, fields, models, release

from odoo.addons.mail.models.fetchmail import MAIL_TIMEOUT

from .credentials import ImapLogin, hider, without
from .fetch_session import (
    FETCHING,
    BoundedImap,
    BoundedPop,
    Fetching,
    ImapFetch,
    PopFetch,
)

_logger = logging.getLogger(__name__)


class FetchmailServer(models.Model):
    """Mailboxes with a company. One that breaks off costs its own mails, until the next run."""

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

    def fetch_mail(self):
        """Fetch each mailbox on its own, whatever happens to the others."""
        for server in self:
            fetching = {FETCHING: Fetching(server)}
            try:
                with server._alone() as is_alone:
                    if is_alone:
                        super(FetchmailServer, server.with_context(**fetching)).fetch_mail()
            except Exception:
                _logger.warning("Fetching from %s broke off", server.id, exc_info=True)
        return True

    @contextlib.contextmanager
    def _alone(self):
        """Keep others from fetching this mailbox: Fetch Now while the scheduled action does so.

        Neither would see what the other has not committed yet, and each mail would be there twice.

        :return: whether nobody else fetches it
        """
        # of the session: native commits after each mail
        lock = "hashtext('fetchmail.server'), %s"
        self.env.cr.execute(f"SELECT pg_try_advisory_lock({lock})", self.ids)
        is_alone = self.env.cr.fetchone()[0]
        try:
            yield is_alone
            # native commits with the next mail, which may be another mailbox's
            self.env.cr.commit()  # pylint: disable=invalid-commit
        except Exception:
            self.env.cr.rollback()
            raise
        finally:
            if is_alone:
                self.env.cr.execute(f"SELECT pg_advisory_unlock({lock})", self.ids)

    def connect(self, allow_archived=False):
        """Connect with a time-out, and while fetching keep the order of commit and mark.

        :return: as native; :class:`~.fetch_session.ImapFetch` or ``PopFetch`` while fetching
        """
        self.ensure_one()
        kind = self._get_connection_type()
        if kind in ("imap", "pop") and (self.active or allow_archived):
            connection = self._open()
            self._log_in(connection)
        else:
            connection = super().connect(allow_archived=allow_archived)
        fetching = Fetching.of(self.env)
        session = {"imap": ImapFetch, "pop": PopFetch}.get(kind)
        if not (fetching and session):
            return connection
        return session(connection, fetching, self.env, hider(self.password))

    def _open(self, context=None):
        """Open a session, without a login.

        :param context: TLS context that verifies the server, None: as native, which does not
        """
        kind = BoundedImap if self._get_connection_type() == "imap" else BoundedPop
        return kind(self.server, int(self.port), self.is_ssl, MAIL_TIMEOUT, context)

    def _log_in(self, connection):
        """Log in to a session as :meth:`_open` gives it; hang up where that fails.

        :raises IMAP4.error, error_proto, OSError: without the password
        """
        is_imap = self._get_connection_type() == "imap"
        try:
            if is_imap:
                self._imap_login(connection)
            else:
                with self._hidden_password():
                    connection.user(self.user)
                    connection.pass_(self.password)
        except Exception:
            with contextlib.suppress(OSError):
                connection.shutdown() if is_imap else connection.close()
            raise

    @contextlib.contextmanager
    def _hidden_password(self):
        """Keep the password out of what a POP3 server's refusal says."""
        trouble = None
        try:
            yield
        except error_proto as error:
            trouble = without(error, self.password)
        if trouble:
            raise trouble  # outside the block: else the original would be its context

    def _imap_login(self, connection):
        """Log in, and say who we are (RFC 2971) where the server wants to know.

        NetEase refuses to open the mailbox for a client that does not: "SELECT Unsafe Login. Please
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
        imap = getattr(connection, "__obj__", connection)  # Odoo's wrapper passes on methods only
        if "ID" in getattr(imap, "capabilities", ()):
            with contextlib.suppress(IMAP4.error):  # a server that refuses it does not need it
                imap.xatom("ID", f'("name" "Odoo" "version" "{release.version}" "vendor" "Odoo")')
        return result
