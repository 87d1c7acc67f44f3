# SPDX-License-Identifier: LGPL-3.0-only
import smtplib
from contextlib import nullcontext
from email.policy import EmailPolicy

from odoo import _, api, fields, models
from odoo.exceptions import UserError, ValidationError

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

from ..routing import (
    Draft,
    Facts,
    Server,
    ascii_address,
    is_address,
    is_restricted,
    parse_mailbox,
    recognise_refusal,
)
from ..routing.headers import (
    fold_breaks,
    is_header_name,
    safe_header,
    safe_mime_type,
    safe_text,
    strange_header,
)
from ..smtp import Replies, SmtpSession, UnsafeHeader
from .credentials import OAuthLogin, can_be_sent, hide, hider, smtp_login
from .delivery import Delivery
from .mail_failure import fault_of, replies_of
from .oauth import OAUTH_KINDS

#: where ``_find_mail_server`` is native's or ours
_OWN_MODULES = tuple(
    ["odoo", "addons", addon]
    for addon in ("base", "mail", "microsoft_outlook", "google_gmail", __name__.split(".")[2])
)
#: what ``build_email`` takes, in its order
_BUILD_ARGUMENTS = (
    "email_from",
    "email_to",
    "subject",
    "body",
    "email_cc",
    "email_bcc",
    "reply_to",
    "attachments",
    "message_id",
    "references",
    "object_id",
    "subtype",
    "headers",
    "body_alternative",
    "subtype_alternative",
)
#: those of them that become headers, as which
_HEADERS = {
    "email_from": "From",
    "email_to": "To",
    "subject": "Subject",
    "email_cc": "Cc",
    "email_bcc": "Bcc",
    "reply_to": "Reply-To",
    "message_id": "Message-Id",
    "references": "References",
}


class _Probe(list):
    """Collects the servers that reach native's ``_find_mail_server``."""


class IrMailServer(models.Model):
    _name = "ir.mail_server"
    _inherit = ["ir.mail_server", "mail.routing.fact"]

    _routing_fields = frozenset(
        {
            "active",
            "company_id",
            "from_filter",
            "max_per_day",
            "max_per_minute",
            "name",
            "sender_address",
            "sender_policy",
            "sequence",
            "smtp_authentication",
            "smtp_user",
        }
    )

    company_id = fields.Many2one(
        "res.company",
        index=True,
        ondelete="restrict",
        help="The company whose mail leaves through this server, if it uses its own servers (page"
        " Email Routing of the company). Empty: for everybody who has none.",
    )
    routing_warning = fields.Char(related="company_id.routing_warning")
    sender_policy = fields.Selection(
        selection=[
            ("default", "As in General Settings"),
            ("login", "Only the login may send"),
            ("any", "Any sender"),
        ],
        default="default",
        required=True,
        help="Whom the provider lets send.\n"
        "- As in General Settings: follow Restrict Username, if this server has a username.\n"
        "- Only the login may send: MAIL FROM and From become the Login Address.\n"
        "- Any sender: the author's own address, as native Odoo does.",
    )
    sender_address = fields.Char(
        string="Login Address",
        compute="_compute_sender_address",
        store=True,
        readonly=False,
        groups="base.group_system",
        help="The e-mail address that belongs to the login. It is the username, where that is an"
        " address; fill it in where the username is something else, such as 'apikey'.",
    )

    @api.depends("smtp_user")
    def _compute_sender_address(self):
        for server in self:
            candidates = (server.smtp_user, server.sender_address, server.from_filter)
            server.sender_address = next(
                (ascii_address(text) for text in candidates if is_address(text)), False
            )

    @api.onchange("from_filter")
    def _onchange_from_filter(self):
        # not a dependency of the field, so that an address filled in by hand stays
        if not self.sender_address:
            self._compute_sender_address()

    @api.model_create_multi
    def create(self, vals_list):
        servers = super().create(vals_list)
        if not self._fields["smtp_user"].store:  # see _login_address: known only now
            servers.sudo().filtered(lambda s: not s.sender_address)._compute_sender_address()
        return servers

    def write(self, vals):
        result = super().write(vals)
        if "from_filter" in vals and "sender_address" not in vals:
            self.sudo().filtered(lambda s: not s.sender_address)._compute_sender_address()
        return result

    @api.constrains("sender_policy", "sender_address", "smtp_user", "from_filter", "active")
    def _check_sender_address(self):
        facts = Facts(settings=self.env["mail.routing"]._gather_settings())
        for server in self.sudo():
            if server.sender_address and not is_address(server.sender_address):
                raise ValidationError(
                    _(
                        "Login Address of %(server)s: %(address)s is no e-mail address.",
                        server=server.name,
                        address=server.sender_address,
                    )
                )
            restricted = is_restricted(server._routing_fact(), facts)
            if server.active and restricted and not server._login_address():
                raise ValidationError(
                    _(
                        "%s lets only its own login send, but its login is no e-mail address."
                        " Fill in its Login Address, or choose another Sender Policy.",
                        server.name,
                    )
                )

    def _routing_fact(self) -> Server:
        """Give what the decision may know of this server."""
        self.ensure_one()
        return Server(
            id=self.id,
            name=self.name,
            company_id=self.company_id.id or None,
            policy=self.sender_policy or "default",
            sender_address=self._login_address(),
            has_username=bool(self.smtp_user and self.smtp_authentication != "certificate"),
            from_filter=(self.from_filter or "").strip(),
            oauth=self.smtp_authentication in OAUTH_KINDS,
        )

    def _login_address(self):
        """Give the Login Address.

        Where ``smtp_user`` is not stored but computed, as OCA's server_environment has it, nothing
        tells when it changes: it is read at once.
        """
        self.ensure_one()
        server = self.sudo()
        if not self._fields["smtp_user"].store and is_address(server.smtp_user):
            return ascii_address(server.smtp_user)
        return ascii_address(server.sender_address or "")

    # ------------------------------------------------------------
    # Which servers may be used
    # ------------------------------------------------------------

    @api.model
    def _find_mail_server(self, email_from, mail_servers=None):
        """Leave From to the decision: native gives the notification address in its place."""
        probe = self.env.context.get("mail_routing_probe")
        if not isinstance(probe, _Probe):  # a user's context may bring anything by this name
            probe = None
        if probe is not None:
            probe.append(self.browse() if mail_servers is None else mail_servers)
        server, smtp_from = super()._find_mail_server(email_from, mail_servers)
        if probe is None and self.env["mail.routing"]._is_active():
            smtp_from = email_from or smtp_from
            if mail_servers is not None:
                # an addon asks which server to name on a message: that is left to the decision
                server = self.browse()
        return server, smtp_from

    @api.model
    def _usable_server_ids(self):
        """Ask the addons that override ``_find_mail_server`` which servers may be used here.

        :return: frozenset of ids; None where there is no such addon: all of them
        """
        if not self._has_foreign_override("_find_mail_server"):
            return None
        servers = self.sudo().browse(
            [server.id for server in self.env["mail.routing"]._get_facts().servers]
        )
        probe = _Probe()
        servers.with_context(mail_routing_probe=probe)._find_mail_server("", servers)
        return frozenset(probe[-1].ids) if probe else None

    @api.model
    def _has_foreign_override(self, name):
        """Tell whether an addon that is neither native nor this one overrides a method."""
        return any(
            name in vars(cls) and cls.__module__.split(".")[:3] not in _OWN_MODULES
            for cls in type(self).mro()
            if cls.__module__.startswith("odoo.addons.")
        )

    # ------------------------------------------------------------
    # Sending
    # ------------------------------------------------------------

    def connect(self, host=None, *args, mail_server_id=None, **kwargs):
        """Let a caller who names no server get the one that the decision picks.

        :return: :class:`~..smtp.SmtpSession`, which knows its server; native's own connection
            while nothing asks for more than native; None in Odoo's test mode
        """
        active = self.env["mail.routing"]._is_active()
        delivery = Delivery.of(self.env)
        if delivery and delivery.connect:
            return delivery.connect()
        named = bool(mail_server_id)
        if active and not (named or host or delivery):
            routing = self.env["mail.routing"]
            draft = routing._draft_of_sender(str(kwargs.get("smtp_from") or ""))
            mail_server_id = routing._route(draft).server.id
        try:
            connection = super().connect(host, *args, mail_server_id=mail_server_id, **kwargs)
        except (smtplib.SMTPException, OSError) as error:
            if not (delivery and delivery.queued):
                raise  # Test Connection and others have words of their own for it
            failure = self.env["mail.failure"]._in_authors_language()
            raise failure._no_connection(error, delivery.server) from error
        if connection and delivery and not active:
            delivery.note_server(self.env, mail_server_id)
        if not (connection and active):
            return connection
        return SmtpSession(
            connection,
            server_id=mail_server_id or None,
            named=named,
            check_headers=strange_header,
            hide=getattr(connection, "hide", None),
            lockstep=bool(delivery and delivery.turn and delivery.turn.lockstep_reason),
        )

    def _register_hook(self):
        """Have logins by OAuth go through :meth:`_log_in`, whichever module was loaded first.

        Odoo's modules for OAuth do not call super.
        """
        super()._register_hook()
        login = type(self)._smtp_login
        if login is IrMailServer._smtp_login:
            return  # ours is called first

        def _smtp_login(self, connection, smtp_user, smtp_password):
            if self.smtp_authentication in OAUTH_KINDS and self.env["mail.routing"]._is_active():
                self._log_in(login.__get__(self), connection, smtp_user, smtp_password)
            else:
                login(self, connection, smtp_user, smtp_password)

        self._patch_method("_smtp_login", _smtp_login)

    def _unregister_hook(self):
        result = super()._unregister_hook()
        patched = vars(type(self)).get("_smtp_login")
        if patched and patched.__module__ == __name__:
            del type(self)._smtp_login
        return result

    def _smtp_login(self, connection, smtp_user, smtp_password):
        return self._log_in(super()._smtp_login, connection, smtp_user, smtp_password)

    def _log_in(self, login, connection, smtp_user, smtp_password):
        """Log in; a lane waits no longer for this than for other answers.

        :param login: the method of native's, or of a module, that has the connection log in
        """
        delivery = Delivery.of(self.env)
        with delivery.logging_in(connection) if delivery else nullcontext():
            self._log_in_safely(login, connection, smtp_user, smtp_password)

    def _log_in_safely(self, login, connection, smtp_user, smtp_password):
        """Log in with characters of any script; no text repeats what was sent."""
        smtp = getattr(connection, "__obj__", connection)
        if isinstance(smtp, smtplib.SMTP):  # a test's is none
            Replies.of(smtp)
        if self and self.smtp_authentication != "login":
            # another module's way to log in
            if self.smtp_authentication in OAUTH_KINDS and self.env["mail.routing"]._is_active():
                connection = OAuthLogin(connection)
            login(connection, smtp_user, smtp_password)
            return
        # kept for the whole session: a server may repeat the password later
        connection.hide = hider(smtp_password)
        if not can_be_sent(smtp_user, smtp_password):
            raise smtplib.SMTPException(
                _(
                    "The username or the password of %s holds a character that no login can carry."
                    " Enter it again.",
                    self.name or connection._host,
                )
            )
        smtp_login(
            connection,
            smtp_user,
            smtp_password,
            lambda: login(connection, smtp_user, smtp_password),
        )

    def build_email(self, *args, **kwargs):
        """Build a message of which no value, whatever is in it, starts a header of its own."""
        if not self.env["mail.routing"]._is_active():
            return super().build_email(*args, **kwargs)
        kwargs.update(zip(_BUILD_ARGUMENTS, args, strict=False))
        for argument in _HEADERS.keys() & kwargs.keys():
            kwargs[argument] = safe_header(_HEADERS[argument], kwargs[argument])
        if kwargs.get("headers"):
            kwargs["headers"] = {
                name: safe_header(name, value)
                for name, value in kwargs["headers"].items()
                if is_header_name(name)
            }
        if kwargs.get("attachments"):
            kwargs["attachments"] = [
                (safe_text(name or ""), content, safe_mime_type(mime))
                for name, content, mime in kwargs["attachments"]
            ]
        message = super().build_email(**kwargs)
        fold_breaks(message)
        return message

    def send_email(self, message, mail_server_id=None, *args, **kwargs):
        """Decide the route of a mail that is sent directly, and explain a refusal."""
        elsewhere = args or kwargs.get("smtp_server") or kwargs.get("smtp_session")
        routing = self.env["mail.routing"]
        sender = self
        if routing._is_active():
            fold_breaks(message)
            if not elsewhere:
                route = routing._route(routing._draft_of_message(message, mail_server_id))
                sender = self.with_context(mail_delivery=Delivery(route.server, route=route))
        session = kwargs.get("smtp_session")
        delivery = Delivery.of(sender.env)
        if delivery and delivery.route:
            # other addons read server and From here
            mail_server_id = delivery.server.id
            self._apply_route(message, delivery.route)
        directly = sender is not self  # through a session of its own
        alone = self.env["mail.lane"]._alone_at(mail_server_id) if directly else nullcontext()
        try:
            with alone:
                result = super(IrMailServer, sender).send_email(
                    message, mail_server_id, *args, **kwargs
                )
        except MailDeliveryException as error:
            raise sender._failure(error, error.__context__, session, mail_server_id) from error
        swallowed = delivery and not result and delivery.progress.error
        if swallowed:
            # another addon has caught it on its way here
            if isinstance(swallowed, smtplib.SMTPServerDisconnected):
                raise swallowed
            error = MailDeliveryException(_("Mail Delivery Failed"), str(swallowed))
            raise sender._failure(error, swallowed, session, mail_server_id) from swallowed
        return result

    @api.model
    def _failure(self, error, cause, smtp_session, mail_server_id):
        """Give the exception that tells why a message was not sent, with what helps.

        :param error: the exception native raised
        :param cause: what had happened, as smtplib tells it
        """
        delivery = Delivery.of(self.env)
        queued = delivery and delivery.queued
        refused = isinstance(cause, smtplib.SMTPSenderRefused)
        if queued and delivery.session and refused and cause.smtp_code == 421:
            # the end of the session (RFC 5321 3.8), not this mail's
            raise smtplib.SMTPServerDisconnected(str(cause)) from cause
        if queued and self._is_for_others_too(cause):
            delivery.progress.refused.update(cause.recipients)
            delivery.progress.error = None
            return AssertionError(self.NO_VALID_RECIPIENT)  # native then tries the next recipient
        if queued:
            delivery.fault = fault_of(cause, "mail")
        failure = self.env["mail.failure"]._in_authors_language()
        if isinstance(cause, UnsafeHeader):
            explained = failure._unsafe_header(cause)
        else:
            server = self._server_of_session(smtp_session, mail_server_id)
            explained = failure._refused(error, cause, server)
        if queued:
            delivery.progress.error = explained
        return explained

    @api.model
    def _is_for_others_too(self, cause):
        """Tell whether a refusal concerns one recipient alone, of a mail that goes to others too.

        Some providers answer RCPT when they refuse the sender, or the number of mails: that
        concerns all recipients.
        """
        if not isinstance(cause, smtplib.SMTPRecipientsRefused):
            return False
        delivery = Delivery.of(self.env)
        mail = self.env["mail.mail"].sudo().browse(delivery.mail_id or ())
        return (
            mail._count_messages() > 1
            and not delivery.raises
            and not any(
                code == 421 or recognise_refusal(code, words) for code, words in replies_of(cause)
            )
        )

    def _prepare_email_message(self, message, smtp_session):
        """Carry the route out: From, Return-Path and MAIL FROM of this message."""
        routing = self.env["mail.routing"]
        delivery = Delivery.of(self.env)
        active = routing._is_active()
        route = delivery.route if delivery else None
        if active:
            if route is None:
                route = routing._route(routing._draft_of_session(message, smtp_session))
            self._apply_route(message, route)
        mail_from, smtp_to_list, message = super()._prepare_email_message(message, smtp_session)
        if active:
            if route.restricted:
                # another addon may have had its own idea meanwhile
                self._apply_route(message, route)
            mail_from = route.mail_from or mail_from
        if delivery:
            delivery.mail_from = mail_from
            delivery.header_from = str(message["From"] or "")
        return mail_from, smtp_to_list, message

    @api.model
    def _get_default_from_address(self):
        """Let native build a mail without a sender, if the route has one for it."""
        address = super()._get_default_from_address()
        delivery = Delivery.of(self.env)
        if address or not (delivery and delivery.route):
            return address
        return delivery.route.from_address or address

    @api.model
    def _get_default_bounce_address(self):
        """Give the bounce address of the company in force, as Odoo 17 does."""
        routing = self.env["mail.routing"]
        if not routing._is_active():
            return super()._get_default_bounce_address()
        facts = routing._get_facts()
        domain = facts.domain_of_company(facts.company.get(self.env.company.id))
        return facts.bounce_address(domain) if facts.has_catch_all(domain) else None

    @api.model
    def _apply_route(self, message, route):
        """Write the route's From, Return-Path and missing Reply-To into a message."""
        if route.from_address and parse_mailbox(str(message["From"])) != (
            route.from_name,
            route.from_address,
        ):
            _set_mailbox(message, "From", route.from_header())
        if route.return_path:
            del message["Return-Path"]
            message["Return-Path"] = route.return_path
        if route.reply_name is not None:
            _set_mailbox(message, "Reply-To", route.reply_to_header())

    @api.model
    def _server_fact(self, mail_server_id) -> Server:
        """Give a server's fact, an archived one's too."""
        known = self.env["mail.routing"]._get_facts().server.get(mail_server_id)
        return known or self.sudo().browse(mail_server_id)._routing_fact()

    @api.model
    def _server_of_session(self, smtp_session, mail_server_id) -> Server:
        """Give the server that was at work when something failed."""
        delivery = Delivery.of(self.env)
        if delivery and delivery.queued:
            return delivery.server  # as it was then: it may have been deleted meanwhile
        if isinstance(smtp_session, SmtpSession):
            mail_server_id = smtp_session.server_id or mail_server_id
        if mail_server_id:
            return self._server_fact(mail_server_id)
        facts = self.env["mail.routing"]._get_facts()
        return facts.servers[0] if len(facts.servers) == 1 else facts.config_server

    def _may_be_read(self):
        """Tell whether the user may read these servers; if there are none, any server."""
        return self.env.su or (
            self.check_access_rights("read", raise_exception=False)
            and self == self._filter_access_rules("read")
        )

    def _that_may_be_read(self):
        """Give those of these servers that the user may read."""
        if self.env.su:
            return self
        if not self.check_access_rights("read", raise_exception=False):
            return self.browse()
        return self._filter_access_rules("read") if self else self

    # ------------------------------------------------------------
    # Test Connection
    # ------------------------------------------------------------

    def test_smtp_connection(self):
        """Test with the MAIL FROM that the next mail will have, and say what helps."""
        result = None
        active = self.env["mail.routing"]._is_active()
        for server in self:
            hidden = ""
            alone = self.env["mail.lane"]._alone_at(server.id) if active else nullcontext()
            try:
                with alone:
                    result = super(
                        IrMailServer, server.with_context(mail_test_connection=True)
                    ).test_smtp_connection()
            except UserError as error:
                told = words = hide(str(error), server.sudo().smtp_pass)
                cure = self.env["mail.failure"]._cure(
                    error.__context__, words, server._routing_fact()
                )
                if cure:
                    words = _("%(error)s\n\n%(cure)s", error=words, cure=cure)
                if told != str(error):
                    hidden = words
                elif cure:
                    raise UserError(words) from error
                else:
                    raise
            if hidden:
                raise UserError(hidden)  # outside the block: else the original would be its context
        return result

    def _get_test_email_addresses(self):
        if not self.env.context.get("mail_test_connection"):
            return super()._get_test_email_addresses()
        user = self.env.user
        routing = self.env["mail.routing"]
        sender = user.email_formatted or "", user.partner_id.id
        route = routing._decide(routing._draft_of_sender(*sender))
        if self.company_id and (not route.server or route.server.id != self.id):
            own = routing.with_company(self.company_id)
            route = routing._decide(own._draft_of_sender(*sender))
        if not route.server or route.server.id != self.id:
            company_id = (self.company_id or self.env.company).id
            author = routing._author(
                (user.email_normalized or "").lower(), company_id, user.partner_id.id
            )
            route = routing._route(
                Draft(
                    email_from=user.email_formatted or "",
                    company_id=company_id,
                    author=author,
                    server=self._routing_fact(),
                )
            )
        if not route.mail_from:
            return super()._get_test_email_addresses()
        return route.mail_from, "noreply@odoo.com"


def _set_mailbox(message, name, header):
    """Write a header with one mailbox into a message.

    :param header: a :class:`~..routing.MailboxHeader`; None: the message shall have none
    """
    del message[name]
    if header is None:
        return
    # a message of the old policy would encode the address along with the name
    message[name] = header if isinstance(message.policy, EmailPolicy) else header.encoded
