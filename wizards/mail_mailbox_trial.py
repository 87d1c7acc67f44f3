# SPDX-License-Identifier: LGPL-3.0-only
"""A mailbox is tried as Odoo will use it: connection, login, sender, and a mail that comes back."""

import logging
import poplib
import smtplib
import ssl
import time
from contextlib import contextmanager, suppress
from imaplib import IMAP4

from odoo import _
from odoo.exceptions import UserError

from odoo.addons.base.models.ir_mail_server import SMTPConnection

from ..models.credentials import OAuthLogin, hide
from ..models.mail_failure import words_of
from ..routing import ascii_address, is_address
from .mail_mailbox_authentication import authentication_of, fetch_headers
from .mail_mailbox_progress import ICONS, line_of, step_of

_logger = logging.getLogger(__name__)

#: seconds that the provider may take to deliver the mail to oneself
DELIVERY_TIMEOUT = 60
#: how many of a POP3 mailbox's mails are looked at for the one to oneself
NEWEST = 50

#: the exceptions of mail servers and of the network
OF_SERVERS = (
    UserError,
    smtplib.SMTPException,
    IMAP4.error,
    poplib.error_proto,
    OSError,
    EOFError,
)


class StepFailed(Exception):
    """A step of the trial went wrong; the servers are not kept."""


class Unverified(Exception):
    """A server does not prove who it is, so it got no password; the words say why."""


class Trial:
    """The steps of a trial, in their order, and how each went.

    :param outgoing: ``ir.mail_server``
    :param incoming: ``fetchmail.server``; empty: nothing is fetched
    :param email: the address that is set up
    :param mail_from: the envelope sender that its mail will have by this server
    :param password: it is taken out of all words that are shown
    :param login_hint: what the provider wants at a login, where that is known
    :param context: TLS context that verifies a server before it gets the password
    :param accepted: servers, each ``host:port``, that get it unverified, since the administrator
        was asked about them and agreed
    :param is_near: function that tells whether a host is on this machine
    :param tell: called with the list of steps whenever one begins or ends
    """

    def __init__(
        self,
        outgoing,
        incoming,
        *,
        email,
        mail_from,
        password,
        login_hint,
        context,
        accepted,
        is_near,
        tell,
    ):
        self.env = outgoing.env
        self.outgoing = outgoing
        self.incoming = incoming
        self.email = ascii_address(email)
        self.mail_from = mail_from
        self.password = password
        self.login_hint = login_hint
        self.steps = {key: step_of(title, key=key) for key, title in self._titles().items()}
        self.unverified = False  # whether a server could not prove who it is
        self.unverified_at = ""  # the server that was asked last, "host:port"
        self._context = context
        self._accepted = accepted
        self._is_near = is_near
        self._tell = tell
        self.authentication = ""

    def lines(self):
        """Give each step and how it went, as HTML; and what the provider found of the mail."""
        lines = [line_of(step) for step in self.steps.values()]
        if self.authentication:
            lines.append(line_of(step_of(self.authentication, state="told")))
        return lines

    @contextmanager
    def _step(self, key, help_with):
        """Do one step in the block.

        :param help_with: what helps, if the words of what goes wrong are not known
        :raises StepFailed: when it went wrong
        """
        self._note(key, "running")
        try:
            yield
        except Unverified as error:
            self.unverified = True
            self._note(key, "failed", words=str(error), cure=self._ask())
            raise StepFailed from error
        except OF_SERVERS as error:
            _logger.info("Setting up a mailbox: %s failed: %s", key, type(error).__name__)
            words = hide(words_of(error), self.password)
            cure = self.env["mail.failure"]._cure(error, words, self.outgoing._routing_fact())
            self._note(key, "failed", words=words, cure=cure or help_with)
            raise StepFailed from error
        self._note(key, "done")

    def _note(self, key, state, **values):
        self.steps[key].update(values, state=state, icon=ICONS[state])
        self._tell(list(self.steps.values()))

    def _titles(self):
        """Give the steps of the trial and what they are called, in their order."""
        titles = {
            "smtp_connect": _(
                "Connect to %(host)s, port %(port)s, to send",
                host=self.outgoing.smtp_host,
                port=self.outgoing.smtp_port,
            ),
            "smtp_login": _("Log in to send, as %s", self.outgoing.smtp_user),
            "send": _("Send as %s, to itself", self.mail_from),
        }
        if self.incoming:
            titles.update(
                {
                    "fetch_connect": _(
                        "Connect to %(host)s, port %(port)s, to fetch",
                        host=self.incoming.server,
                        port=self.incoming.port,
                    ),
                    "fetch_login": _("Log in to fetch, as %s", self.incoming.user),
                    "fetch": _("Fetch the mail that was sent"),
                }
            )
        return titles

    def run(self):
        """Use the servers as Odoo will.

        :raises StepFailed: at the first step that fails
        """
        # the server may be there already, and at work
        with self.env["mail.lane"]._alone_at(self.outgoing.id):
            self._try_sending()
        if self.incoming:
            self._try_fetching()

    def _try_sending(self):
        with self._step("smtp_connect", self._unreachable()):
            self._open_smtp().quit()
        with self._step("smtp_login", self._refused()):
            connection = self._open_smtp()
            try:
                self._log_in_smtp(connection)
            except Exception:
                connection.close()
                raise
        self._message_id = self.env["mail.thread"]._new_trial_id()
        try:
            with self._step("send", ""):
                self._send_to_itself(connection)
        finally:
            connection.close()

    def _try_fetching(self):
        server = self.incoming
        with self._step("fetch_connect", self._unreachable()):
            session = self._open_mailbox()
            session.quit() if server._get_connection_type() == "pop" else session.logout()
        with self._step("fetch_login", self._refused()):
            session = self._log_in_mailbox()
        with self._step("fetch", ""):
            headers = self._fetch_back(session)
        server.state = "done"
        self.authentication = authentication_of(server, headers)

    # The password is sent only over a connection on which the server was verified. Native's own
    # ``connect`` verifies nothing, so these methods open the connections instead.

    def _open_smtp(self):
        server = self.outgoing
        address = server.smtp_host, server.smtp_port, server.smtp_encryption
        with self._verifying(*address) as context:
            connection = SMTPConnection(*address, context=context)
            if server.smtp_encryption == "starttls":
                try:
                    connection.starttls(context=context)
                except Exception:
                    connection.close()
                    raise
        return connection

    def _log_in_smtp(self, connection):
        server = self.outgoing
        user = ascii_address(server.smtp_user) if is_address(server.smtp_user) else server.smtp_user
        if server._routing_fact().oauth:
            connection = OAuthLogin(connection)
        server._smtp_login(connection, user, server.smtp_pass or "")

    def _open_mailbox(self):
        server = self.incoming
        encryption = "ssl" if server.is_ssl else "none"
        with self._verifying(server.server, int(server.port), encryption) as context:
            return server._open(context)

    def _log_in_mailbox(self):
        session = self._open_mailbox()
        self.incoming._log_in(session)
        return session

    @contextmanager
    def _verifying(self, host, port, encryption):
        """Give the TLS context for a connection that is opened in the block.

        None: the server need not be verified.

        :raises Unverified: it cannot be
        """
        if f"{host}:{port}" in self._accepted or self._is_near(host):
            yield None
            return
        self.unverified_at = f"{host}:{port}"
        if encryption == "none":
            raise Unverified(_("The connection to %s is not encrypted.", host))
        try:
            yield self._context
        except ssl.SSLCertVerificationError as error:
            raise Unverified(
                _(
                    "The certificate of %(host)s cannot be verified: %(reason)s.",
                    host=host,
                    reason=error.verify_message.rstrip("."),
                )
            ) from error
        except (ssl.SSLError, smtplib.SMTPNotSupportedError) as error:
            raise Unverified(
                _("%(host)s offers no TLS that can be used: %(reason)s", host=host, reason=error)
            ) from error

    def _ask(self):
        return _(
            "The password was not sent. Check host and encryption on the page Servers. If you know"
            " this server and the network to it, tick 'Send the Password All the Same'."
        )

    def _unreachable(self):
        return _(
            "Check host, port and encryption on the page Servers, and that no firewall keeps Odoo"
            " from it."
        )

    def _refused(self):
        return self.login_hint or _(
            "Check address and password. Many providers ask for an authorization code or an app"
            " password instead of the one of their web mail."
        )

    def _send_to_itself(self, connection):
        email = self.email
        message = self.env["ir.mail_server"].build_email(
            email,
            [email],
            _("Odoo tries this mailbox"),
            _("Odoo sent this mail to itself. It is removed as soon as it is fetched."),
            message_id=self._message_id,
            headers={"Auto-Submitted": "auto-generated"},
        )
        connection.send_message(message, self.mail_from, [email])

    def _fetch_back(self, session):
        """Wait for the mail to oneself, and remove it from the mailbox; give its headers."""
        pop = self.incoming._get_connection_type() == "pop"
        deadline = time.monotonic() + DELIVERY_TIMEOUT
        pause = 0.1
        try:
            take = self._take_pop if pop else self._take_imap
            while not (headers := take(session, self._message_id)):
                if time.monotonic() > deadline:
                    raise UserError(
                        _(
                            "The mail did not arrive within %s seconds. Is it this mailbox that"
                            " mail to the address goes to?",
                            DELIVERY_TIMEOUT,
                        )
                    )
                time.sleep(pause)  # polling: neither POP3 nor every IMAP server tells
                pause = min(pause * 2, 5)
                if pop:  # sees new mail in a new session only
                    session.quit()
                    session = None  # until there is a new one
                    session = self._log_in_mailbox()
            return headers
        finally:
            with suppress(OSError, EOFError, IMAP4.error, poplib.error_proto):
                if session:
                    session.quit() if pop else session.logout()

    @staticmethod
    def _take_imap(session, message_id):
        result, words = session.select()
        if result != "OK":
            raise UserError(words[0].decode("utf-8", "replace"))
        _result, found = session.search(None, "HEADER", "Message-ID", f'"{message_id}"')
        numbers = b" ".join(filter(None, found))
        headers = b""
        for number in numbers.split():
            headers = fetch_headers(session, number)
            session.store(number, "+FLAGS", "\\Deleted")
        if numbers:
            session.expunge()
        return headers

    @staticmethod
    def _take_pop(session, message_id):
        count, _size = session.stat()
        # the newest ones: to look through a large mailbox would take longer than a request may
        for number in range(count, max(count - NEWEST, 0), -1):
            _response, lines, _octets = session.top(number, 0)
            if message_id.encode() in b"\n".join(lines):
                session.dele(number)
                return b"\r\n".join(lines)
        return b""
