"""What a broken SMTP session leaves behind: how far did the mail get?"""

import smtplib

from ..routing import ascii_address
from ..routing.headers import strange_header


class UnsafeHeader(Exception):
    """A value that would make a header of its own; ``args``: the line that it would make."""


class SessionWatch:
    """Watches a session, to tell what became of the mail that was in it when it broke off.

    ``smtplib`` sends commands as text and a message's content as bytes. Once the content is out,
    the server may have taken the mail even if its answer never came (RFC 5321 4.5.3.2.6, RFC 1047:
    the moment in which duplicates arise); before that, it has not.

    An answer that is no SMTP reply (RFC 5321 4.2) is as good as none: what comes next may be the
    rest of it, and the answer to one command would be read as the answer to another.

    :param session: Odoo's ``SMTPConnection``, or None in Odoo's test mode
    :param delivery: the :class:`Delivery` that is told who got a message and who was refused
    """

    def __init__(self, session, delivery):
        self.smtp = getattr(session, "__obj__", session)
        self.delivery = delivery
        self.handed_over = False
        self.commands = 0
        self.mails = 0
        self.closed = False
        self.headers = None
        if isinstance(self.smtp, smtplib.SMTP):
            for name in ("send", "getreply", "send_message", "sendmail"):
                setattr(self, f"_{name}", getattr(self.smtp, name))
                setattr(self.smtp, name, getattr(self, f"_watch_{name}"))

    def _watch_send(self, data):
        self._send(data)
        if isinstance(data, str):
            self.commands += 1
        else:
            self.handed_over = True

    def _watch_getreply(self):
        try:
            code, words = self._getreply()
        except smtplib.SMTPResponseException as error:  # too long a line: smtplib has hung up
            raise smtplib.SMTPServerDisconnected(str(error.smtp_error)) from error
        if not 200 <= code <= 599:
            self.smtp.close()
            raise smtplib.SMTPServerDisconnected(f"no SMTP reply: {words!r}")
        return code, words

    def _watch_send_message(self, message, *args, **kwargs):
        self.headers = [name for name in message if name.lower() != "bcc"]
        return self._send_message(message, *args, **kwargs)

    def _watch_sendmail(self, mail_from, recipients, data, *args, **kwargs):
        self.handed_over = False
        line = strange_header(self.headers, data) if self.headers is not None else ""
        self.headers = None
        if line:
            raise UnsafeHeader(line)
        try:
            refused = self._sendmail(mail_from, recipients, data, *args, **kwargs)
        except Exception as error:
            self.delivery.failed(error)
            code = getattr(error, "smtp_code", 500)
            if self.handed_over and code < 400:
                # neither the 250 that smtplib knows nor a refusal: who can say what became of it?
                self.smtp.close()
                raise self.delivery.failed(smtplib.SMTPServerDisconnected(str(error))) from error
            raise
        self.delivery.note(recipients, refused)
        return refused

    def start_mail(self):
        """Tell that the next mail's turn has come."""
        self.mails += 1
        self.commands = 0
        self.handed_over = False

    def close(self):
        """Tell that the session is over."""
        self.closed = True

    def is_closed(self):
        """Tell whether the session is over: smtplib closes it after a 421."""
        return self.closed or getattr(self.smtp, "sock", self) is None

    def died_before_this_mail(self):
        """Tell whether an idle session had died between two mails.

        Its first command, MAIL, then gets no answer. Of a fresh session that cannot be said.
        """
        return self.mails > 1 and self.commands <= 1 and not self.handed_over


class Sent:
    """What is kept of the way a mail is sent, for ``mail.sent.route``.

    :param server_id: of the server; None: the one of the configuration file
    :param server_name: its name
    """

    def __init__(self, server_id, server_name):
        self.server_id = server_id
        self.server_name = server_name
        self.mail_from = False

    @classmethod
    def of(cls, env):
        """Give the one in force in an environment, None where nothing is being sent."""
        return _carried(cls, "mail_sent", env)

    @classmethod
    def by_session(cls, smtp_session, env):
        """Read it off a session that native has opened.

        :return: None where nothing is sent, as in Odoo's test mode
        """
        server_id = getattr(smtp_session, "mail_server_id", None)
        if isinstance(server_id, int):
            # sudo: as ``connect``, which has just read all of it
            return cls(server_id, env["ir.mail_server"].sudo().browse(server_id).name)
        host = getattr(smtp_session, "_host", None)
        return cls(None, host) if isinstance(host, str) else None

    def values(self):
        """Give it as values of ``mail.sent.route``."""
        return {
            "sent_server_id": self.server_id,
            "sent_server_name": self.server_name,
            "sent_mail_from": self.mail_from,
        }


class Delivery:
    """What the sending of some mails through one server has to know, handed on in the context.

    :param server: :class:`~..routing.Server` that sends them
    :param routes: mail id -> :class:`~..routing.Route`
    :param queued: whether this is the queue's work: a failure is then settled mail by mail
    """

    def __init__(self, server, routes=None, route=None, queued=False):
        self.server = server
        self.routes = routes or {}
        self.route = route
        self.queued = queued
        self.raises = False
        self.worked_off = False
        self.delivered = []
        self.refused = {}
        self.error = None
        self.mail_id = None
        self.accepted = {}

    @classmethod
    def of(cls, env):
        """Give the one in force in an environment, None where nothing is being sent."""
        return _carried(cls, "mail_delivery", env)

    def mail_ids(self):
        """Give the mail that is being sent, before the first one all of them."""
        return [self.mail_id] if self.mail_id else list(self.routes)

    def start(self, mail_id):
        """Tell that this mail is being sent now."""
        self.mail_id = mail_id
        self.route = self.routes.get(mail_id)
        self.delivered = []
        self.refused = {}
        self.error = None

    def note(self, recipients, refused):
        """Remember who has got the present mail, and who was refused.

        :param recipients: the addresses that a message was for
        :param refused: address -> (code, words) of those the server did not take it for
        """
        self.delivered += [key(address) for address in recipients if address not in refused]
        self.refuse(refused)
        if self.mail_id:
            self.accepted[self.mail_id] = self.delivered, self.refused

    def refuse(self, refused):
        """Remember whom the present mail was refused for, and with which words."""
        for address, reply in refused.items():
            self.refused[key(address)] = reply

    def failed(self, error):
        """Remember why the present mail failed: others may swallow what is raised.

        :return: ``error``
        """
        self.error = error
        return error

    def has_reached(self, address):
        """Tell whether the present mail was taken for this address."""
        return key(address) in self.delivered

    def has_refused(self, address):
        """Tell whether the present mail was refused for this address."""
        return key(address) in self.refused

    def resume(self, mail_id):
        """Tell that the outcome of a mail that left earlier is being settled now."""
        self.start(mail_id)
        self.delivered, self.refused = self.accepted[mail_id]


def _carried(cls, name, env):
    """Give what the context carries, if the code that sends has put it there.

    Contexts that come by RPC are JSON or XML: whatever stands there by this name is a user's.
    """
    found = env.context.get(name)
    return found if isinstance(found, cls) else None


def key(address):
    """Give an address as it is compared."""
    return (ascii_address(address) or address).lower()
