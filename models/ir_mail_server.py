import contextlib
import dataclasses
import re
import smtplib
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
    safe_mime_type,
    safe_text,
    safe_value,
)
from .credentials import can_be_sent, smtp_login
from .smtp_session import Delivery, Sent, UnsafeHeader

#: where ``_find_mail_server`` is native's or ours
_OWN_MODULES = tuple(
    ["odoo", "addons", addon]
    for addon in ("base", "mail", "microsoft_outlook", "google_gmail", __name__.split(".")[2])
)
#: the document in a Message-Id that ``tools.generate_tracking_message_id`` made
_TRACKED_DOCUMENT = re.compile(r"-openerp-(\d+)-([\w.]+)@")

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


class ExplainedDeliveryException(MailDeliveryException):
    """A delivery that failed, in sentences people can act on (shown as the failure reason)."""

    def __str__(self):
        return "\n".join(str(arg) for arg in self.args if arg)


class _Probe(list):
    """Collects the servers that come down to native's ``_find_mail_server``."""


class IrMailServer(models.Model):
    _name = "ir.mail_server"
    _inherit = ["ir.mail_server", "mail.routing.fact"]

    _routing_fields = frozenset(
        {
            "active",
            "company_id",
            "from_filter",
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
            candidates = (server.smtp_user, server.from_filter, server.sender_address)
            server.sender_address = next(
                (ascii_address(text) for text in candidates if is_address(text)), False
            )

    @api.onchange("from_filter")
    def _onchange_from_filter(self):
        # no dependency of the field: what was filled in by hand stays
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
                # an addon that would name a server on a message: which one is not its to decide
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

        The connection remembers its server in ``mail_server_id``; None: given by ``host``, or the
        one of the configuration file.
        """
        delivery = Delivery.of(self.env)
        named = bool(mail_server_id)
        if not (named or host or delivery) and self.env["mail.routing"]._is_active():
            route = self._route(self._draft_of(str(kwargs.get("smtp_from") or "")))
            mail_server_id = route.server.id
        try:
            connection = super().connect(host, *args, mail_server_id=mail_server_id, **kwargs)
        except (smtplib.SMTPException, OSError) as error:
            if not (delivery and delivery.queued):
                raise  # Test Connection and others have words of their own for it
            explainer = self._in_authors_language()
            raise explainer._explained_connection(error, delivery.server) from error
        if connection:
            connection.mail_server_id = mail_server_id or None
            connection.mail_server_named = named
        return connection

    def _smtp_login(self, connection, smtp_user, smtp_password):
        """Log in with letters of any script, and let no text carry what was sent."""
        login = super()._smtp_login
        if self and self.smtp_authentication != "login":
            login(connection, smtp_user, smtp_password)  # a module's own way, such as OAuth
            return
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
        """Build a message in which every header stands on a line of its own, whatever is in it."""
        if not self.env["mail.routing"]._is_active():
            return super().build_email(*args, **kwargs)
        kwargs.update(zip(_BUILD_ARGUMENTS, args, strict=False))
        for argument in _HEADERS.keys() & kwargs.keys():
            kwargs[argument] = _safe(_HEADERS[argument], kwargs[argument])
        if kwargs.get("headers"):
            kwargs["headers"] = {
                name: _safe(name, value)
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
        sender = self
        if self.env["mail.routing"]._is_active():
            fold_breaks(message)
            if not elsewhere:
                route = self._route(self._draft(message, mail_server_id))
                sender = self.with_context(mail_delivery=Delivery(route.server, route=route))
        session = kwargs.get("smtp_session")
        delivery = Delivery.of(sender.env)
        if delivery and delivery.route:
            # other addons read server and From here
            mail_server_id = delivery.server.id
            self._apply_route(message, delivery.route)
        try:
            result = super(IrMailServer, sender).send_email(
                message, mail_server_id, *args, **kwargs
            )
        except MailDeliveryException as error:
            raise sender._failure(error, error.__context__, session, mail_server_id) from error
        if delivery and delivery.error and not result:
            # another addon has swallowed it on its way here
            if isinstance(delivery.error, smtplib.SMTPServerDisconnected):
                raise delivery.error
            error = MailDeliveryException(_("Mail Delivery Failed"), str(delivery.error))
            raise sender._failure(
                error, delivery.error, session, mail_server_id
            ) from delivery.error
        return result

    @api.model
    def _failure(self, error, cause, smtp_session, mail_server_id):
        """Give the exception that tells why a message was not sent, with what helps.

        :param error: the exception native raised
        :param cause: what had happened, as smtplib tells it
        """
        self._reset_session(smtp_session, cause)
        delivery = Delivery.of(self.env)
        queued = delivery and delivery.queued
        if queued and self._is_for_others_too(cause):
            delivery.refuse(cause.recipients)
            delivery.error = None
            return AssertionError(self.NO_VALID_RECIPIENT)  # native then tries the next recipient
        explainer = self._in_authors_language()
        if isinstance(cause, UnsafeHeader):
            explained = explainer._explained_header(error, cause)
        else:
            server = self._server_of_session(smtp_session, mail_server_id)
            explained = explainer._explained(error, cause, server)
        return delivery.failed(explained) if queued else explained

    @api.model
    def _is_for_others_too(self, cause):
        """Tell whether a refusal is of one recipient, in a mail that others are to get as well.

        Some providers object to the sender, or to the number of mails, when they are told a
        recipient: that concerns all.
        """
        if not isinstance(cause, smtplib.SMTPRecipientsRefused):
            return False
        delivery = Delivery.of(self.env)
        mail = self.env["mail.mail"].sudo().browse(delivery.mail_id or ())
        messages = len(mail.recipient_ids) + bool(mail.email_to)
        return (
            messages > 1
            and not delivery.raises
            and not any(
                code == 421 or recognise_refusal(code, words) for code, words in _replies(cause)
            )
        )

    @api.model
    def _reset_session(self, smtp_session, cause):
        """Leave a session that others' mails will use as if the refused mail had not been.

        ``smtplib`` sends no RSET after a refused DATA, so the next mail would meet "nested MAIL
        command"; and a 421 to MAIL is the end of the session (RFC 5321 3.8), not this mail's.
        """
        delivery = Delivery.of(self.env)
        if not (smtp_session and delivery and delivery.queued):
            return
        if isinstance(cause, smtplib.SMTPSenderRefused) and cause.smtp_code == 421:
            raise smtplib.SMTPServerDisconnected(str(cause)) from cause
        with contextlib.suppress(smtplib.SMTPException):
            smtp_session.rset()

    def _prepare_email_message(self, message, smtp_session):
        """Carry the route out: From, Return-Path and MAIL FROM of this message."""
        sent = Sent.of(self.env)
        if not self.env["mail.routing"]._is_active():
            prepared = super()._prepare_email_message(message, smtp_session)
            if sent:
                sent.mail_from = prepared[0]
            return prepared
        delivery = Delivery.of(self.env)
        route = delivery.route if delivery else None
        if route is None:
            route = self._route(self._draft_of_session(message, smtp_session))
        self._apply_route(message, route)
        with _without_sender(smtp_session):
            mail_from, smtp_to_list, message = super()._prepare_email_message(message, smtp_session)
        if route.restricted:
            self._apply_route(message, route)  # another addon may have had its own idea meanwhile
        mail_from = route.mail_from or mail_from
        if sent:
            sent.mail_from = mail_from
        return mail_from, smtp_to_list, message

    @api.model
    def _get_default_from_address(self):
        """Let a mail without a sender be built where the route has one for it."""
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
    def _draft(self, message, mail_server_id=None) -> Draft:
        """Read the draft of a message that is built already.

        :param message: ``email.message.EmailMessage``, as ``build_email`` makes it
        :param mail_server_id: a server the caller names
        """
        routing = self.env["mail.routing"]
        document = _TRACKED_DOCUMENT.search(str(message["Message-Id"] or ""))
        email_from = str(message["From"] or "")
        reply_to = str(message["Reply-To"] or "")
        # ``build_email`` writes From where the caller gave none
        given = parse_mailbox(reply_to).address.lower() != parse_mailbox(email_from).address.lower()
        return_path = ascii_address(str(message["Return-Path"] or ""))
        (draft,) = routing._drafts_of(
            [
                {
                    "model": document[2] if document else None,
                    "res_id": int(document[1]) if document else None,
                    "email_from": email_from,
                    "mail_server_id": mail_server_id,
                    "reply_to": reply_to if given else "",
                }
            ]
        )
        invented = return_path.lower() in routing._get_facts().invented_return_paths
        return dataclasses.replace(draft, return_path="" if invented else return_path)

    @api.model
    def _draft_of(self, email_from, author_id=None) -> Draft:
        """Give the draft of a mail of which no more is known than its sender.

        :param author_id: id of the partner who writes it, where that is known
        """
        routing = self.env["mail.routing"]
        row = {"email_from": email_from, "author_id": author_id}
        ((company_id, rule),) = routing._companies_of([row])
        address = parse_mailbox(email_from).address.lower()
        author = routing._author(address, company_id, author_id)
        return Draft(email_from, company_id=company_id, company_rule=rule, author=author)

    @api.model
    def _draft_of_session(self, message, smtp_session) -> Draft:
        """Read the draft of a message for a session that somebody else opened."""
        server_id = getattr(smtp_session, "mail_server_id", None)
        if isinstance(server_id, int):
            server = self._server_fact(server_id)
        else:
            user = getattr(smtp_session, "user", None)
            user = user if isinstance(user, str) else ""
            from_filter = getattr(smtp_session, "from_filter", None)
            host = getattr(smtp_session, "_host", None)
            server = Server(
                id=None,
                name=host if isinstance(host, str) else _("the mail server"),
                sender_address=ascii_address(user),
                has_username=bool(user),
                from_filter=from_filter if isinstance(from_filter, str) else "",
            )
        named = getattr(smtp_session, "mail_server_named", True)
        return dataclasses.replace(
            self._draft(message, server.id if named is True else None),
            server=server,
            server_named=named is True,
        )

    @api.model
    def _server_fact(self, mail_server_id) -> Server:
        """Give a server's fact, an archived one's too."""
        known = self.env["mail.routing"]._get_facts().server.get(mail_server_id)
        return known or self.sudo().browse(mail_server_id)._routing_fact()

    @api.model
    def _route(self, draft: Draft):
        """Decide; a mail that no server may send fails with the sentence that says why."""
        routing = self.env["mail.routing"]
        route = routing._decide(draft)
        if route.failure:
            raise ExplainedDeliveryException(
                _("Mail Delivery Failed"), routing._sentence(route.failure)
            )
        return route

    # ------------------------------------------------------------
    # Failures
    # ------------------------------------------------------------

    @api.model
    def _server_of_session(self, smtp_session, mail_server_id) -> Server:
        """Give the server that was at work when something failed."""
        delivery = Delivery.of(self.env)
        if delivery and delivery.queued:
            return delivery.server  # as it was then: it may have been deleted meanwhile
        mail_server_id = getattr(smtp_session, "mail_server_id", None) or mail_server_id
        if isinstance(mail_server_id, int) and mail_server_id:
            return self._server_fact(mail_server_id)
        facts = self.env["mail.routing"]._get_facts()
        return facts.servers[0] if len(facts.servers) == 1 else facts.config_server

    @api.model
    def _explained(self, error, cause, server: Server):
        """Add server and cure to a refusal, after the provider's own words.

        :param error: the exception native raised
        :param cause: the one that holds the provider's reply
        :return: the exception to raise; ``error`` itself where there is nothing to add
        """
        cure = self._cure(cause, str(error.args[-1:]), server)
        if not self.env["mail.routing"]._is_active():
            return ExplainedDeliveryException(*error.args, cure) if cure else error
        label = self._server_label(server)
        if isinstance(cause, smtplib.SMTPRecipientsRefused):
            mails = self.env["mail.mail"]
            refused = cause.recipients
            words = "\n".join(mails._refusal_sentence(key, *refused[key]) for key in refused)
            cure = cure or mails._refusal_cure(refused)
        else:
            words = "\n".join(words_of_reply(*reply) for reply in _replies(cause))
        if not words:
            # native's own words, which name no server of the queue
            return ExplainedDeliveryException(*error.args, cure or _("The server was %s.", label))
        told = _("%(server)s refused this mail: %(words)s", server=label, words=words)
        return ExplainedDeliveryException(error.args[0], told, cure)

    @api.model
    def _explained_header(self, error, cause):
        """Say why a mail with a header that would make another one is not sent."""
        return ExplainedDeliveryException(
            error.args[0],
            _(
                "This mail was not sent: one of its values would make a header of its own, %s."
                " Take the line breaks out of its subject, names and addresses, then retry.",
                cause,
            ),
        )

    @api.model
    def _cure(self, cause, text, server: Server, mail_from=None):
        """Give the sentence that helps, ``""`` where the reply is not known.

        :param cause: the smtplib exception, if there is one
        :param text: the reply as it was reported, where there is no exception
        :param mail_from: the envelope sender that was refused; settings may have changed since
        """
        facts = self.env["mail.routing"]._get_facts()
        for code, reply in _replies(cause) or [(None, text)]:
            refusal = recognise_refusal(code, reply)
            if refusal:
                login_address = server.sender_address if is_restricted(server, facts) else ""
                return refusal.cure(
                    server.name,
                    login_address=login_address,
                    mail_from=mail_from,
                    translate=self.env["mail.routing"]._translate,
                )
        return ""

    @api.model
    def _cures_of(self, failures):
        """Give what helps against failures that were kept, in the language of this environment.

        The servers of all are looked up at once.

        :param failures: (reason, server, MAIL FROM) of each: why the mail failed, as it was kept;
            record of the server that it was given to, empty where that is not known; the envelope
            sender that it was given with, if it came that far
        :return: list of sentences, in the same order; ``""`` where the reason is not known, or
            says it already
        """
        failures = [
            (reason if recognise_refusal(None, reason or "") else "", server.id, mail_from or "")
            for reason, server, mail_from in failures
        ]
        # sudo: the names of servers that may not be read are left out below
        server_ids = {server_id for reason, server_id, _mail_from in failures if reason}
        known = self.env["mail.routing"]._get_facts().server
        facts = {server_id: known[server_id] for server_id in server_ids if server_id in known}
        # archived ones, and some that are gone
        others = self.sudo().browse(server_ids - {False, *facts}).exists()
        facts.update((server.id, server._routing_fact()) for server in others)
        readable = set(self.browse(facts)._that_may_be_read().ids)
        return [
            reason
            and self._kept_cure(
                reason, facts.get(server_id), mail_from, readable=server_id in readable
            )
            for reason, server_id, mail_from in failures
        ]

    @api.model
    def _kept_cure(self, reason, server, mail_from, *, readable):
        """Give what helps against one failure that was kept.

        :param reason: one that is known
        :param server: its :class:`~..routing.Server`, None where that is not known
        :param readable: whether whoever asks may read that server
        """
        unknown = Server(id=None, name=_("the mail server"))
        server = server or unknown
        cure = self._cure(None, reason, server, mail_from)
        if cure in reason:
            return ""
        if server.id and not readable:
            # what helps is anybody's, which server it was is the administrator's
            server = dataclasses.replace(server, name=unknown.name)
            cure = self._cure(None, reason, server, mail_from)
            cure = cure.replace(server.sender_address, "…") if server.sender_address else cure
        return cure

    def _may_be_read(self):
        """Tell whether whoever asks may read these servers; of none, whether he may read any."""
        return self.env.su or (
            self.check_access_rights("read", raise_exception=False)
            and self == self._filter_access_rules("read")
        )

    def _that_may_be_read(self):
        """Give those of these servers that whoever asks may read."""
        if self.env.su:
            return self
        if not self.check_access_rights("read", raise_exception=False):
            return self.browse()
        return self._filter_access_rules("read") if self else self

    @api.model
    def _in_authors_language(self):
        """Speak the language of whoever wrote the mail that is being sent: he reads the failure.

        The queue's own user may well have another one.
        """
        delivery = Delivery.of(self.env)
        mail_ids = delivery.mail_ids() if delivery else ()
        lang = self.env["mail.mail"].browse(mail_ids[:1])._authors_language()
        return self.with_context(lang=lang)

    @api.model
    def _server_label(self, server: Server):
        """Name a server and its company, for a failure."""
        company = self.env["res.company"].sudo().browse(server.company_id or ()).name
        return f"{server.name} ({company})" if company else server.name

    @api.model
    def _explained_connection(self, error, server: Server):
        """Say which server could not be used, in its own words, and what helps."""
        words = words_of(error)
        cure = self._cure(error, words, server)
        if not cure and isinstance(error, UserError):
            cure = _("Check the settings of this outgoing mail server, then retry.")
        elif not cure:
            cure = _("Check host, port and encryption of this outgoing mail server, then retry.")
        return ExplainedDeliveryException(
            _(
                "%(server)s cannot be used: %(error)s",
                server=self._server_label(server),
                error=words,
            ),
            cure,
        )

    # ------------------------------------------------------------
    # Test Connection
    # ------------------------------------------------------------

    def test_smtp_connection(self):
        """Test with the MAIL FROM that the next mail will have, and say what helps."""
        result = None
        for server in self:
            try:
                result = super(
                    IrMailServer, server.with_context(mail_test_connection=True)
                ).test_smtp_connection()
            except UserError as error:
                cure = server._cure(error.__context__, str(error), server._routing_fact())
                if not cure:
                    raise
                raise UserError(_("%(error)s\n\n%(cure)s", error=error, cure=cure)) from error
        return result

    def _get_test_email_addresses(self):
        if not self.env.context.get("mail_test_connection"):
            return super()._get_test_email_addresses()
        user = self.env.user
        draft = self._draft_of(user.email_formatted or "", user.partner_id.id)
        route = self.env["mail.routing"]._decide(draft)
        if self.company_id and (not route.server or route.server.id != self.id):
            draft = self.with_company(self.company_id)._draft_of(
                user.email_formatted or "", user.partner_id.id
            )
            route = self.env["mail.routing"]._decide(draft)
        if not route.server or route.server.id != self.id:
            company_id = (self.company_id or self.env.company).id
            author = self.env["mail.routing"]._author(
                (user.email_normalized or "").lower(), company_id, user.partner_id.id
            )
            route = self._route(
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


@contextlib.contextmanager
def _without_sender(smtp_session):
    """Let a session forget in the block for whom it was opened.

    Native gives every mail of a session the From that the session was opened for.
    """
    if smtp_session is None:  # in Odoo's test mode
        yield
        return
    former = getattr(smtp_session, "smtp_from", None)
    smtp_session.smtp_from = None
    try:
        yield
    finally:
        smtp_session.smtp_from = former


def words_of(error):
    """Give the words of a mail server, or of the network, that an exception carries."""
    replies = [words_of_reply(*reply) for reply in _replies(error)]
    if replies:
        return "\n".join(replies)
    # imaplib and poplib hand over what they were told as bytes
    told = [arg for arg in error.args if isinstance(arg, bytes)]
    return "\n".join(map(_text, told)) or str(error) or type(error).__name__


def words_of_reply(code, words):
    """Give a server's reply as people read it."""
    return f"{code} {_text(words)}"


def _text(words):
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)


def _replies(cause):
    """List the (code, reply) that an smtplib exception carries."""
    if isinstance(cause, smtplib.SMTPRecipientsRefused):
        return list(cause.recipients.values())
    if isinstance(cause, smtplib.SMTPResponseException):
        return [(cause.smtp_code, cause.smtp_error)]
    return []


def _safe(name, value):
    """Give a value of a header, or a list of them, so that it stays one header."""
    if isinstance(value, str):
        return safe_value(name, value)
    if isinstance(value, list | tuple):
        return [part for part in (_safe(name, part) for part in value) if part]
    return value
