"""What a broken SMTP session leaves behind: how far did the mail get?"""


class SessionWatch:
    """Watches a session, to tell what became of the mail that was in it when it broke off.

    ``smtplib`` sends commands as text and a message's content as bytes. Once the content is out,
    the server may have taken the mail even if its answer never came (RFC 5321 4.5.3.2.6, RFC 1047:
    the moment in which duplicates arise); before that, it has not.

    :param session: Odoo's ``SMTPConnection``, or None in Odoo's test mode
    """

    def __init__(self, session):
        self.smtp = getattr(session, "__obj__", session)
        self.handed_over = False
        self.commands = 0
        self.mails = 0
        self.closed = False
        if hasattr(self.smtp, "send"):
            self._send = self.smtp.send
            self.smtp.send = self._watch_send

    def _watch_send(self, data):
        self._send(data)
        if isinstance(data, str):
            self.commands += 1
        else:
            self.handed_over = True

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
        self.delivered = []
        self.failure = None
        self.caught = False
        self.mail_id = None

    def mail_ids(self):
        """Give the mail that is being sent, before the first one all of them."""
        return [self.mail_id] if self.mail_id else list(self.routes)

    def start(self, mail_id):
        """Tell that this mail is being sent now."""
        self.mail_id = mail_id
        self.route = self.routes.get(mail_id)
        self.failure = None
        self.caught = False
        self.delivered.clear()
