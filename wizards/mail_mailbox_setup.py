import json
import logging
import poplib
import smtplib
import threading
import time
from contextlib import contextmanager, suppress
from email.utils import make_msgid
from imaplib import IMAP4

from markupsafe import Markup
from psycopg2 import OperationalError

from odoo import _, api, fields, models
from odoo.exceptions import RedirectWarning, UserError, ValidationError
from odoo.service.model import PG_CONCURRENCY_ERRORS_TO_RETRY

from odoo.addons.mail.models.fetchmail import POP3Connection

from ..models.credentials import hide
from ..models.fetch_session import BoundedImap
from ..models.mail_failure import words_of
from ..routing import Draft, ascii_address, domain_of, is_address

_logger = logging.getLogger(__name__)

#: seconds that the provider may take to deliver the mail to oneself
DELIVERY_TIMEOUT = 60


#: state of a step -> its icon
ICONS = {
    "waiting": "circle-o text-muted",
    "running": "circle-o-notch fa-spin text-primary",
    "done": "check text-success",
    "failed": "times text-danger",
    "told": "reply text-muted",
}


class StepFailed(Exception):
    """A step of the trial went wrong; the servers are not kept."""


class Trial:
    """The steps of a trial, in their order.

    :param titles: dict of step -> what it is called
    :param tell: called with :attr:`steps` whenever a step begins or ends
    """

    def __init__(self, titles, tell):
        self.steps = {key: _step(title, key=key) for key, title in titles.items()}
        self._tell = tell

    @contextmanager
    def step(self, key, failure):
        """Do one step in the block.

        :param failure: function of the exception that the block raises, to what it means: (the
            server's words, what helps); None where it means nothing and is let through
        :raises StepFailed: when it went wrong
        """
        self._note(key, "running")
        try:
            yield
        except Exception as error:
            meaning = failure(error)
            if meaning is None:
                raise
            _logger.info("Setting up a mailbox: %s failed: %s", key, type(error).__name__)
            words, cure = meaning
            self._note(key, "failed", words=words, cure=cure)
            raise StepFailed from error
        self._note(key, "done")

    def _note(self, key, state, **values):
        self.steps[key].update(values, state=state, icon=ICONS[state])
        self._tell(list(self.steps.values()))


class MailMailboxSetup(models.TransientModel):
    """From an address and a password to servers that work.

    What is set up is tried for real before it is kept: connection, login, sender, and a mail to
    oneself that is fetched again. Run twice for one mailbox it updates what it made.
    """

    _name = "mail.mailbox.setup"
    _description = "Set Up a Mailbox"

    provider_id = fields.Many2one("mail.provider", required=True)
    login_hint = fields.Char(related="provider_id.login_hint")
    oauth_module = fields.Selection(related="provider_id.oauth_module")
    email = fields.Char(string="Email Address", required=True)
    login = fields.Char(
        compute="_compute_login",
        store=True,
        readonly=False,
        help="What you log in with; the address, at most providers",
    )
    password = fields.Char(string="Password or Authorization Code", copy=False)
    company_id = fields.Many2one("res.company", default=lambda self: self.env.company)
    smtp_host = fields.Char(
        string="SMTP Host", compute="_compute_hosts", store=True, readonly=False
    )
    smtp_port = fields.Integer(
        string="SMTP Port", compute="_compute_hosts", store=True, readonly=False
    )
    smtp_encryption = fields.Selection(
        selection=[("none", "None"), ("starttls", "TLS (STARTTLS)"), ("ssl", "SSL/TLS")],
        string="SMTP Encryption",
        compute="_compute_hosts",
        store=True,
        readonly=False,
    )
    incoming_type = fields.Selection(
        selection=[("imap", "IMAP"), ("pop", "POP3"), ("none", "None: send only")],
        string="Fetch By",
        default="imap",
        required=True,
    )
    incoming_host = fields.Char(compute="_compute_hosts", store=True, readonly=False)
    incoming_port = fields.Integer(compute="_compute_hosts", store=True, readonly=False)
    incoming_ssl = fields.Boolean(
        string="Incoming by SSL/TLS", compute="_compute_hosts", store=True, readonly=False
    )
    restricted = fields.Boolean(
        string="Only the Login May Send", compute="_compute_hosts", store=True, readonly=False
    )
    has_catch_all = fields.Boolean(
        string="The Domain Has a Catch-All", compute="_compute_hosts", store=True, readonly=False
    )
    plan = fields.Html(string="What Will Be Set Up", compute="_compute_plan", sanitize=False)
    result = fields.Html(readonly=True, sanitize=False)
    succeeded = fields.Boolean(readonly=True)

    @api.depends("email")
    def _compute_login(self):
        for wizard in self:
            wizard.login = wizard.email

    @api.onchange("email")
    def _onchange_email(self):
        provider = self.env["mail.provider"]._of_domain(domain_of(self.email or ""))
        # what a former address chose follows the address; what was chosen by hand stays
        if provider and (not self.provider_id or self.provider_id._public_domains()):
            self.provider_id = provider

    @api.model_create_multi
    def create(self, vals_list):
        # Odoo computes none of these fields where one of them is given
        provider = self.env["mail.provider"]
        return super().create(
            [
                {
                    **self._provider_values(
                        provider.browse(vals.get("provider_id")), vals.get("incoming_type")
                    ),
                    **vals,
                }
                for vals in vals_list
            ]
        )

    @api.depends("provider_id", "incoming_type")
    def _compute_hosts(self):
        for wizard in self:
            wizard.update(self._provider_values(wizard.provider_id, wizard.incoming_type))

    @api.model
    def _provider_values(self, provider, incoming_type):
        """Give what is known of a provider, as values of this wizard."""
        kind = "pop" if incoming_type == "pop" else "imap"
        return {
            "smtp_host": provider.smtp_host,
            "smtp_port": provider.smtp_port,
            "smtp_encryption": provider.smtp_encryption or "ssl",
            "incoming_host": provider[f"{kind}_host"],
            "incoming_port": provider[f"{kind}_port"],
            "incoming_ssl": provider[f"{kind}_ssl"],
            "restricted": provider.restricted,
            "has_catch_all": provider.has_catch_all,
        }

    @api.depends(
        "company_id",
        "email",
        "has_catch_all",
        "incoming_host",
        "incoming_type",
        "login",
        "provider_id",
        "restricted",
        "smtp_host",
    )
    def _compute_plan(self):
        self.check_access_rights("read")  # it tells of servers and mailboxes
        for wizard in self:
            lines = wizard._plan() if wizard.provider_id and wizard.email else []
            wizard.plan = Markup("<ul>%s</ul>") % Markup("").join(
                Markup("<li>%s</li>") % line for line in lines
            )

    def _plan(self):
        """List what will be set up, in sentences."""
        if self.oauth_module:
            return [
                _(
                    "Nothing here: programs log in at %s by OAuth, which Odoo has modules of its"
                    " own for. 'Set Up and Try' leads there.",
                    self.provider_id.name,
                )
            ]
        outgoing, incoming = self._outgoing(), self._incoming()
        lines = [
            _("Updates the outgoing server %s", outgoing.name)
            if outgoing
            else _("Outgoing server %s", self.smtp_host or "…")
        ]
        if self.restricted:
            lines.append(_("Mail leaves as %s, the author as the name", self.email))
        if self.incoming_type != "none":
            lines.append(
                _("Updates the incoming server %s", incoming.name)
                if incoming
                else _("Incoming server %s", self.incoming_host or "…")
            )
        domain = self._own_domain()
        if domain:
            lines.append(_("Alias domain %s", domain))
        if not self.has_catch_all and self.incoming_type != "none":
            if domain or self._is_only_mailbox():
                lines.append(_("No catch-all: answers come to this mailbox"))
            else:
                lines.append(
                    _("Catch All stays as it is in General Settings: other mailboxes are fetched")
                )
        if self._many_companies():
            lines.append(_("Mail of %s uses these servers", self.company_id.name))
        return lines

    def _outgoing(self):
        """Give the outgoing server that this mailbox has already, empty without one."""
        server = self.env["ir.mail_server"].with_context(active_test=False)
        if not (self.smtp_host and self.login):
            return server
        return server.search(
            [("smtp_host", "=", self.smtp_host), ("smtp_user", "=", self.login)], limit=1
        )

    def _incoming(self):
        """Give the incoming server that this mailbox has already, empty without one."""
        server = self.env["fetchmail.server"].with_context(active_test=False)
        if self.incoming_type == "none" or not (self.incoming_host and self.login):
            return server
        return server.search(
            [("server", "=", self.incoming_host), ("user", "=", self.login)], limit=1
        )

    def _is_only_mailbox(self):
        """Tell whether no other mailbox is fetched, so that no catch-all can lead there."""
        others = self.env["mail.routing"]._get_facts().mailboxes
        return not set(others) - {ascii_address(self.email or ""), self.login}

    def _own_domain(self):
        """The domain that the address stands for; none where everybody may have a mailbox."""
        domain = domain_of(ascii_address(self.email or ""))
        return "" if self.env["mail.provider"]._is_public(domain) else domain

    def _many_companies(self):
        return bool(self.company_id) and self.env["res.company"].sudo().search_count([]) > 1

    # ------------------------------------------------------------
    # Setting up
    # ------------------------------------------------------------

    def action_setup(self, password=None):
        """Make or update the servers, try them, keep them if all went well; show each step.

        The trial sends a mail, so it has a transaction of its own that Odoo does not repeat. The
        one of the request holds nothing any more; where it is repeated all the same, the mailbox is
        not tried again.

        :param password: the form hands it over here, so that it is never in the wizard's table; a
            password in there is taken out before anything can go wrong
        :raises UserError: where the input will not do, or somebody else changed the same
        """
        self.ensure_one()
        tried = self.env.transaction.__dict__.setdefault("mail_mailbox_tried", set())
        stored = self._take_password()
        if stored or self.id not in tried:
            self.env.cr.postrollback.add(lambda: tried.add(self.id))
            try:
                with self._aside() as env:
                    self.with_env(env)._set_up(stored or password)
            except OperationalError as error:
                if error.pgcode not in PG_CONCURRENCY_ERRORS_TO_RETRY:
                    raise
                raise UserError(
                    _(
                        "Somebody changed the same settings at the same time, so nothing was kept."
                        " Set the mailbox up once more."
                    )
                ) from error
            self.invalidate_recordset()
        return {
            "type": "ir.actions.act_window",
            "name": _("Set Up a Mailbox"),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "views": [(False, "form")],  # the form asks for it itself, not by a button
            "target": "new",
        }

    def _take_password(self):
        """Give the password, which is in the table no more, whatever happens then."""
        password, self.password = self.password, False
        self.flush_recordset()
        if not self._in_test():
            self.env.cr.commit()  # pylint: disable=invalid-commit
        return password

    def _set_up(self, password):
        """Make or update the servers, try them, keep them if all went well.

        :param password: of the mailbox
        """
        self._check_input(password)
        trial = None
        try:
            with self.env.cr.savepoint():
                outgoing, incoming = self._make_records(password)
                trial = Trial(self._titles(outgoing, incoming), self._tell_progress)
                self._try(outgoing, incoming, trial, password)
        except StepFailed:
            self.succeeded = False
        else:
            self.succeeded = True
        finally:
            self._tell_progress([])
        lines = [_line(step) for step in trial.steps.values()]
        if self.succeeded:
            answers = _("Answers go to %s", self._decide(outgoing).reply_to or self.email)
            lines.append(_line(_step(answers, state="told")))
        self.result = Markup("<ul class='list-unstyled'>%s</ul>") % Markup("").join(lines)

    def _check_input(self, password):
        if self.oauth_module:
            raise RedirectWarning(
                _(
                    "%(provider)s asks programs to log in by OAuth. Turn on '%(module)s"
                    " Credentials' in General Settings, and enter the ones that you registered"
                    " there; then set up the servers with 'Authenticate with'.",
                    provider=self.provider_id.name,
                    module=dict(self._fields["oauth_module"]._description_selection(self.env))[
                        self.oauth_module
                    ],
                ),
                self.env.ref("base_setup.action_general_configuration").id,
                _("General Settings"),
            )
        if not is_address(self.email):
            raise ValidationError(_("Email Address: '%s' is no e-mail address.", self.email))
        if not password:
            raise ValidationError(_("Password or Authorization Code: fill it in."))
        if not self.smtp_host:
            raise ValidationError(_("SMTP Host: fill it in; none is known of this provider."))
        if self.incoming_type != "none" and not self.incoming_host:
            raise ValidationError(
                _(
                    "Incoming Host: fill it in, or choose not to fetch; none is known of this"
                    " provider."
                )
            )

    def _make_records(self, password):
        """Make or update the servers, the domain and the options; give both servers."""
        email = ascii_address(self.email)
        outgoing = self._outgoing()
        values = {
            "smtp_host": self.smtp_host,
            "smtp_port": self.smtp_port,
            "smtp_encryption": self.smtp_encryption,
            "smtp_authentication": "login",
            "smtp_user": self.login,
            "sender_address": email,
            "sender_policy": "login" if self.restricted else "any",
            "company_id": self.company_id.id if self._many_companies() else False,
            "active": True,
        }
        if outgoing:
            outgoing.write(values)
        else:
            limits = {name: self.provider_id[name] for name in ("max_per_minute", "max_per_day")}
            outgoing = outgoing.create({"name": self.email, **limits, **values})
        self._fill_in(outgoing, "smtp_pass", password)
        incoming = self._make_incoming(password)
        self._make_options()
        return outgoing, incoming

    def _make_incoming(self, password):
        incoming = self._incoming()
        if self.incoming_type == "none":
            return incoming
        values = {
            "server_type": self.incoming_type,
            "server": self.incoming_host,
            "port": self.incoming_port,
            "is_ssl": self.incoming_ssl,
            "user": self.login,
            "company_id": self.company_id.id if self._many_companies() else False,
            "active": True,
        }
        if incoming:
            incoming.write(values)
        else:
            incoming = incoming.create({"name": self.email, **values})
        self._fill_in(incoming, "password", password)
        return incoming

    @staticmethod
    def _fill_in(server, field, password):
        """Write the password of a server, in a statement that does not fail.

        Odoo logs those that do, with all that is in them. By now the row is this transaction's.
        """
        server.flush_recordset()
        server[field] = password
        server.flush_recordset([field])

    def _make_options(self):
        """Domain and options that fit what the provider can do."""
        # so that General Settings show the servers that there are now
        self.env["ir.config_parameter"].sudo().set_param(
            "base_setup.default_external_email_server", True
        )
        name = self._own_domain()
        catch_all = "yes" if self.has_catch_all else "no"
        company = self.company_id
        if not name:
            fetched = self.incoming_type != "none"
            if not self.has_catch_all and fetched and self._is_only_mailbox():
                self.env["ir.config_parameter"].sudo().set_param(
                    "mail_company_routing.catch_all", "False"
                )
        else:
            table = self.env["mail.alias.domain"].with_context(active_test=False)
            domain = table.search([("name", "=", name)])
            if domain:
                domain.write({"active": True, "catch_all": catch_all})
            else:
                domain = table.create(
                    {"name": name, "company_id": company.id, "catch_all": catch_all}
                )
            if company and not company.alias_domain_id:
                company.alias_domain_id = domain
        if self._many_companies():
            company.mail_server_by_domain = True

    # ------------------------------------------------------------
    # Progress
    # ------------------------------------------------------------

    def get_progress(self):
        """Give how far :meth:`action_setup` is, while it is at work; the form asks for it.

        :return: list of dicts of ``key``, ``title``, ``state`` (a key of :data:`ICONS`),
            ``icon``, ``words``, ``cure``; empty when nothing is under way
        """
        self.ensure_one()
        progress = self.env["mail.mailbox.progress"].search([("setup_id", "=", self.id)], limit=1)
        return json.loads(progress.steps or "[]")

    def _tell_progress(self, steps):
        """Let whoever waits for this wizard see the steps, before it is done and commits."""
        with self._aside() as env:
            table = env["mail.mailbox.progress"]
            progress = table.search([("setup_id", "=", self.id)], limit=1)
            if not steps:
                progress.unlink()
            elif progress:
                progress.steps = json.dumps(steps)
            else:
                table.create({"setup_id": self.id, "steps": json.dumps(steps)})

    @staticmethod
    def _in_test():
        """Tell whether this is a test that keeps its transaction, as in native's mail queue."""
        return getattr(threading.current_thread(), "testing", False)

    @contextmanager
    def _aside(self):
        """Give an environment whose work is committed at once."""
        if self._in_test():
            yield self.env
        else:
            with self.pool.cursor() as cr:
                yield self.env(cr=cr)

    # ------------------------------------------------------------
    # Trying
    # ------------------------------------------------------------

    def _titles(self, outgoing, incoming):
        """Give the steps of the trial and what they are called, in their order."""
        titles = {
            "smtp_connect": _(
                "Connect to %(host)s, port %(port)s, to send",
                host=outgoing.smtp_host,
                port=outgoing.smtp_port,
            ),
            "smtp_login": _("Log in to send, as %s", self.login),
            "send": _("Send as %s, to itself", self._decide(outgoing).mail_from),
        }
        if incoming:
            titles.update(
                {
                    "fetch_connect": _(
                        "Connect to %(host)s, port %(port)s, to fetch",
                        host=incoming.server,
                        port=incoming.port,
                    ),
                    "fetch_login": _("Log in to fetch, as %s", self.login),
                    "fetch": _("Fetch the mail that was sent"),
                }
            )
        return titles

    def _decide(self, outgoing):
        """Give the route that a mail of this address will have by this server."""
        draft = Draft(
            ascii_address(self.email),
            company_id=(self.company_id or self.env.company).id,
            server=outgoing._routing_fact(),
        )
        return self.env["mail.routing"]._decide(draft)

    def _try(self, outgoing, incoming, trial, password):
        """Use the servers as Odoo will.

        :param trial: :class:`Trial`
        :param password: no words that are shown hold it
        :raise StepFailed: at the first step that fails
        """
        sender = self.env["ir.mail_server"]

        def meaning(fallback):
            return lambda error: self._meaning(error, outgoing, fallback, password)

        unreachable = _(
            "Check host, port and encryption on the page Servers, and that no firewall keeps Odoo"
            " from it."
        )
        refused = self.login_hint or _(
            "Check address and password. Many providers ask for an authorization code or an app"
            " password instead of the one of their web mail."
        )
        with trial.step("smtp_connect", meaning(unreachable)):
            # as native does, but without a login
            sender.connect(
                outgoing.smtp_host, outgoing.smtp_port, encryption=outgoing.smtp_encryption
            ).quit()
        with trial.step("smtp_login", meaning(refused)):
            connection = sender.connect(mail_server_id=outgoing.id)
        message_id = make_msgid(domain="mailbox.setup")
        try:
            with trial.step("send", meaning("")):
                self._send_to_itself(connection, self._decide(outgoing).mail_from, message_id)
        finally:
            connection.close()
        if not incoming:
            return
        with trial.step("fetch_connect", meaning(unreachable)):
            address = incoming.server, int(incoming.port), incoming.is_ssl
            if incoming._get_connection_type() == "pop":
                POP3Connection(*address).quit()
            else:
                BoundedImap(*address).logout()
        with trial.step("fetch_login", meaning(refused)):
            session = incoming.connect()
        with trial.step("fetch", meaning("")):
            self._fetch_back(incoming, session, message_id)
        incoming.state = "done"

    def _send_to_itself(self, connection, mail_from, message_id):
        email = ascii_address(self.email)
        message = self.env["ir.mail_server"].build_email(
            email,
            [email],
            _("Odoo tries this mailbox"),
            _("Odoo sent this mail to itself. It is removed as soon as it is fetched."),
            message_id=message_id,
            headers={"Auto-Submitted": "auto-generated"},
        )
        connection.send_message(message, mail_from, [email])

    def _meaning(self, error, outgoing, fallback, password):
        """Say what an error of a step means.

        :param fallback: what helps, if the words are not known
        :param password: kept out of the words, which a server may repeat it in
        :return: (words, cure); None for an error that is no mail server's
        """
        of_servers = (
            UserError,
            smtplib.SMTPException,
            IMAP4.error,
            poplib.error_proto,
            OSError,
            EOFError,
        )
        if not isinstance(error, of_servers):
            return None
        words = hide(words_of(error), password)
        cure = self.env["mail.failure"]._cure(error, words, outgoing._routing_fact())
        return words, cure or fallback

    def _fetch_back(self, incoming, session, message_id):
        """Wait for the mail to oneself, and remove it from the mailbox."""
        pop = incoming._get_connection_type() == "pop"
        deadline = time.monotonic() + DELIVERY_TIMEOUT
        pause = 0.1
        try:
            while not (self._take_pop if pop else self._take_imap)(session, message_id):
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
                    session = incoming.connect()
        finally:
            with suppress(OSError, EOFError, IMAP4.error, poplib.error_proto):
                session.quit() if pop else session.logout()

    @staticmethod
    def _take_imap(session, message_id):
        result, words = session.select()
        if result != "OK":
            raise UserError(words[0].decode("utf-8", "replace"))
        _result, (numbers,) = session.search(None, "HEADER", "Message-ID", f'"{message_id}"')
        for number in (numbers or b"").split():
            session.store(number, "+FLAGS", "\\Deleted")
        if numbers:
            session.expunge()
        return bool(numbers)

    @staticmethod
    def _take_pop(session, message_id):
        count, _size = session.stat()
        for number in range(count, 0, -1):
            _response, lines, _octets = session.top(number, 0)
            if message_id.encode() in b"\n".join(lines):
                session.dele(number)
                return True
        return False


def _step(title, state="waiting", **values):
    """A step of a trial; ``words`` are the server's, ``cure`` is what helps."""
    return {
        "title": title,
        "state": state,
        "icon": ICONS[state],
        "words": "",
        "cure": "",
        **values,
    }


def _line(step):
    """A step and how it went."""
    words, cure = step["words"], step["cure"]
    return Markup("<li><i class='fa fa-fw fa-%s me-2'></i>%s%s%s</li>") % (
        step["icon"],
        step["title"],
        Markup("<div class='text-muted ms-4'>%s</div>") % words if words else "",
        Markup("<div class='ms-4'><b>%s</b></div>") % cure if cure else "",
    )


class MailMailboxProgress(models.TransientModel):
    """How far a wizard is that is at work; committed while it is, and gone when it is done."""

    _name = "mail.mailbox.progress"
    _description = "Progress of Setting Up a Mailbox"

    setup_id = fields.Many2one("mail.mailbox.setup", required=True, index=True, ondelete="cascade")
    steps = fields.Text(help="The steps, as JSON")
