# SPDX-License-Identifier: LGPL-3.0-only
"""What the sending of some mails hands on, from the decision to what is kept of it."""

from contextlib import contextmanager
from functools import partial

from odoo.tools import config

from ..routing import ascii_address
from ..smtp import MailProgress, SmtpSession


class Delivery:
    """Some mails on their way through one server; it stands in the context as ``mail_delivery``.

    :param server: :class:`~..routing.Server` that sends them; None where none may, or where native
        picks it
    :param routes: mail id -> :class:`~..routing.Route`
    :param route: of a message that is sent directly, without a mail
    :param queued: whether this is the queue's work: a failure is then settled mail by mail
    :param one_by_one: whether each mail is committed on its own, and written by its own UPDATE

    Of the queue: ``turn`` is the :class:`~.mail_lane.Turn` at the server; ``connect`` gives the
    session, which is opened before native asks for it, or raises why there is none; ``fault`` is
    the :class:`~..routing.retry.Fault` that the present mail met; ``put_off`` tells that the server
    is to be given nothing more now, ``ended_early`` that some mails may not have had their turn.
    """

    def __init__(self, server=None, routes=None, route=None, queued=False, one_by_one=False):
        self.server = server
        self.routes = routes or {}
        self.route = route
        self.queued = queued
        self.raises = False
        self.worked_off = False
        self.mail_id = None
        self.progress = MailProgress()
        self.session = None
        # what is kept in ``mail.sent.route``
        self.server_id = server.id if server else None
        self.server_name = server.name if server else None
        self.mail_from = False
        self.header_from = False
        senders = {(route.from_name, route.from_address) for route in self.routes.values()}
        # where From differs from mail to mail, keeping it would cost an UPDATE each
        self.keeps_from = one_by_one or len(senders) == 1
        # of the queue
        self.turn = None
        self.connect = None
        self.fault = None
        self.put_off = False
        self.ended_early = False
        self._patience = None
        self._taken = {}

    @classmethod
    def of(cls, env):
        """Give the delivery of an environment, None where nothing is being sent.

        A context that comes by RPC holds JSON or XML values, never such an object: it is ignored.
        """
        found = env.context.get("mail_delivery")
        return found if isinstance(found, cls) else None

    # ------------------------------------------------------------
    # The present mail
    # ------------------------------------------------------------

    def mail_ids(self):
        """Give the mail that is being sent, before the first one all of them."""
        return [self.mail_id] if self.mail_id else list(self.routes)

    def use(self, smtp_session):
        """Tell which session the mails go through; None in Odoo's test mode."""
        self.session = smtp_session if isinstance(smtp_session, SmtpSession) else None

    def is_over(self):
        """Tell whether the session has ended, so that the next mails have to wait."""
        return self.put_off or (self.session is not None and not self.session.is_open)

    def may_go_on(self, messages):
        """Tell whether the next mail may be given to the server now.

        :param messages: as how many messages
        """
        if not self.is_over() and self.turn and self._taken:
            self.put_off = self.turn.is_over()
        if not self.is_over() and self.turn:
            self.put_off = not self.turn.may_give(messages)
        return not self.is_over()

    def start(self, mail_id, messages=1, *, together=False):
        """Tell that this mail is being sent now.

        :param messages: as how many messages
        :param together: it is committed together with the others of this delivery
        """
        self.mail_id = mail_id
        self.route = self.routes.get(mail_id)
        self.forget_senders()
        self.fault = None
        self.progress = self.session.start_mail() if self.session else MailProgress()
        self._taken[mail_id] = self.progress
        if self.session and self.turn:
            self.session.before_hand_over = partial(self._hand_over, mail_id, messages, together)
            self._have_patience(self.turn.patience())

    def _hand_over(self, mail_id, messages, together):
        """Have it written down, once, that the present mail is about to be handed over."""
        self.session.before_hand_over = None
        self._have_patience(None)
        self.turn.hand_over(mail_id, messages, together=together)

    def _have_patience(self, seconds):
        """Set how many seconds each answer of the server may take; None: as in native."""
        sock = _socket_of(self.session.__obj__)
        if sock is not None and (seconds or self._patience):
            self._patience = self._patience or sock.gettimeout()
            sock.settimeout(seconds or self._patience)

    @contextmanager
    def logging_in(self, connection):
        """Wait in the block for each answer no longer than for those before a mail is handed over.

        :param connection: native's, which is not logged in yet
        """
        seconds = self.turn.patience() if self.turn else None
        # without a turn it may be a test's, which has no socket
        sock = _socket_of(getattr(connection, "__obj__", connection)) if seconds else None
        if sock is None:
            yield
            return
        native = sock.gettimeout()
        sock.settimeout(seconds)
        yield
        sock.settimeout(native)  # where the login failed, the session is over

    def served(self):
        """Tell how many mails the server has taken in this session."""
        return len(self.taken())

    def forget_senders(self):
        """Forget the senders of the last mail: the next one may fail before it has any."""
        self.mail_from = self.header_from = False

    def resume(self, mail_id):
        """Tell that the outcome of a mail that left earlier is being settled now."""
        self.mail_id = mail_id
        self.route = self.routes.get(mail_id)
        self.progress = self._taken[mail_id]
        self.header_from = self.route.header_from if self.route else False

    def taken(self):
        """Give the ids of the mails that the server has taken for somebody."""
        return [mail_id for mail_id, progress in self._taken.items() if progress.accepted]

    def has_reached(self, address):
        """Tell whether the present mail was taken for this address."""
        return key(address) in map(key, self.progress.accepted)

    def has_refused(self, address):
        """Tell whether the present mail was refused for this address."""
        return key(address) in map(key, self.progress.refused)

    # ------------------------------------------------------------
    # What is kept
    # ------------------------------------------------------------

    def note_server(self, env, server_id):
        """Remember the server that native has picked; None: the one of its configuration file."""
        self.server_id = server_id or None
        if server_id:
            # sudo: as native, which has just read all of it
            self.server_name = env["ir.mail_server"].sudo().browse(server_id).name
        else:
            self.server_name = config.get("smtp_server")

    def kept(self):
        """Give the values of ``mail.sent.route``; ``{}`` where no server is known."""
        if self.server_name is None:
            return {}
        return {
            "sent_server_id": self.server_id,
            "sent_server_name": self.server_name,
            "sent_mail_from": self.mail_from,
            "sent_header_from": self.keeps_from and self.header_from,
        }


def _socket_of(smtp):
    """Give the socket that has the timeout: with a client certificate, pyOpenSSL's holds it inside.

    :return: None where the connection is over
    """
    return getattr(smtp.sock, "socket", smtp.sock)


def key(address):
    """Give an address as it is compared."""
    return (ascii_address(address) or address).lower()
