import logging
import smtplib
import time
from email.utils import make_msgid

from markupsafe import Markup

from odoo import _, api, fields, models
from odoo.exceptions import RedirectWarning, UserError, ValidationError

from ..routing import Draft, ascii_address, domain_of, is_address

_logger = logging.getLogger(__name__)

#: seconds that the provider may take to deliver the mail to oneself
DELIVERY_TIMEOUT = 60


class StepFailed(Exception):
    """A step of the trial went wrong; the servers are not kept."""


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
        if provider and not self.provider_id:
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
        "provider_id",
        "restricted",
        "smtp_host",
    )
    def _compute_plan(self):
        for wizard in self:
            lines = [_("Outgoing server %s", wizard.smtp_host or "…")]
            if wizard.restricted:
                lines.append(_("Mail leaves as %s, the author as the name", wizard.email or "…"))
            if wizard.incoming_type != "none":
                lines.append(_("Incoming server %s", wizard.incoming_host or "…"))
            domain = wizard._own_domain()
            if domain:
                lines.append(_("Alias domain %s", domain))
            if not wizard.has_catch_all:
                lines.append(_("No catch-all: answers come to this mailbox"))
            if wizard._many_companies():
                lines.append(_("Mail of %s uses these servers", wizard.company_id.name))
            wizard.plan = Markup("<ul>%s</ul>") % Markup("").join(
                Markup("<li>%s</li>") % line for line in lines
            )

    def _own_domain(self):
        """The domain that the address stands for; none where everybody may have a mailbox."""
        domain = domain_of(ascii_address(self.email or ""))
        return "" if self.env["mail.provider"]._is_public(domain) else domain

    def _many_companies(self):
        return bool(self.company_id) and self.env["res.company"].sudo().search_count([]) > 1

    # ------------------------------------------------------------
    # Setting up
    # ------------------------------------------------------------

    def action_setup(self):
        """Make or update the servers, try them, keep them if all went well; show each step."""
        self.ensure_one()
        self._check_input()
        password, self.password = self.password, False  # nothing is kept of it here
        self.flush_recordset()
        steps = []
        try:
            with self.env.cr.savepoint():
                outgoing, incoming = self._make_records(password)
                self._try(outgoing, incoming, steps)
        except StepFailed:
            self.succeeded = False
        else:
            self.succeeded = True
        self.result = Markup("<ul class='list-unstyled'>%s</ul>") % Markup("").join(steps)
        return {
            "type": "ir.actions.act_window",
            "name": _("Set Up a Mailbox"),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "target": "new",
        }

    def _check_input(self):
        if self.oauth_module:
            raise RedirectWarning(
                _(
                    "%(provider)s asks programs to log in by OAuth. Turn on '%(module)s' in General"
                    " Settings, and enter the credentials that you registered there; then set up"
                    " the servers with 'Authenticate with'.",
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
        if not self.password:
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
        server = self.env["ir.mail_server"].with_context(active_test=False)
        outgoing = server.search(
            [("smtp_host", "=", self.smtp_host), ("smtp_user", "=", self.login)], limit=1
        )
        values = {
            "smtp_host": self.smtp_host,
            "smtp_port": self.smtp_port,
            "smtp_encryption": self.smtp_encryption,
            "smtp_authentication": "login",
            "smtp_user": self.login,
            "smtp_pass": password,
            "sender_address": email,
            "sender_policy": "login" if self.restricted else "any",
            "company_id": self.company_id.id if self._many_companies() else False,
            "active": True,
        }
        if outgoing:
            outgoing.write(values)
        else:
            outgoing = server.create({"name": self.email, **values})
        incoming = self._make_incoming(password)
        self._make_options()
        return outgoing, incoming

    def _make_incoming(self, password):
        server = self.env["fetchmail.server"].with_context(active_test=False)
        if self.incoming_type == "none":
            return server
        incoming = server.search(
            [("server", "=", self.incoming_host), ("user", "=", self.login)], limit=1
        )
        values = {
            "server_type": self.incoming_type,
            "server": self.incoming_host,
            "port": self.incoming_port,
            "is_ssl": self.incoming_ssl,
            "user": self.login,
            "password": password,
            "company_id": self.company_id.id if self._many_companies() else False,
            "active": True,
        }
        if incoming:
            incoming.write(values)
        else:
            incoming = server.create({"name": self.email, **values})
        return incoming

    def _make_options(self):
        """Domain and options that fit what the provider can do."""
        name = self._own_domain()
        catch_all = "yes" if self.has_catch_all else "no"
        company = self.company_id
        if not name:
            if not self.has_catch_all and not self._get_param("mail.catchall.domain"):
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

    @api.model
    def _get_param(self, key):
        return self.env["ir.config_parameter"].sudo().get_param(key)

    # ------------------------------------------------------------
    # Trying
    # ------------------------------------------------------------

    def _try(self, outgoing, incoming, steps):
        """Use the servers as Odoo will.

        :param steps: list that each step's line is added to
        :raise StepFailed: at the first step that fails
        """
        routing = self.env["mail.routing"]
        email = ascii_address(self.email)
        route = routing._decide(
            Draft(email, company_id=self.company_id.id, server=outgoing._routing_fact())
        )
        connection = self._step(
            steps,
            _("Log in at %s", outgoing.smtp_host),
            lambda: self.env["ir.mail_server"].connect(mail_server_id=outgoing.id),
            outgoing,
        )
        message_id = make_msgid(domain="mailbox.setup")
        try:
            message = self.env["ir.mail_server"].build_email(
                email,
                [email],
                _("Odoo has set up this mailbox"),
                _("Odoo sent this mail to itself. It is removed as soon as it is fetched."),
                message_id=message_id,
                headers={"Auto-Submitted": "auto-generated"},
            )
            self._step(
                steps,
                _("Send as %s", route.mail_from),
                lambda: connection.send_message(message, route.mail_from, [email]),
                outgoing,
            )
        finally:
            connection.close()
        if incoming:
            session = self._step(
                steps, _("Log in at %s", incoming.server), incoming.connect, outgoing
            )
            self._step(
                steps,
                _("Fetch the mail that was sent"),
                lambda: self._fetch_back(incoming, session, message_id),
                outgoing,
            )
            incoming.state = "done"

    def _step(self, steps, title, act, server):
        """Do one step, and note how it went.

        :return: what the step gives
        """
        try:
            result = act()
        except (UserError, smtplib.SMTPException, OSError, EOFError) as error:
            words = str(error)
            failure = error
        except Exception as error:  # imaplib and poplib raise classes of their own
            if type(error).__module__ not in ("imaplib", "poplib"):
                raise
            words = str(error)
            failure = error
        else:
            steps.append(_line("check text-success", title))
            return result
        _logger.info("Setting up a mailbox: %s failed: %s", title, type(failure).__name__)
        cure = self.env["ir.mail_server"]._cure(failure, words, server._routing_fact())
        steps.append(_line("times text-danger", title, words, cure or self.login_hint or ""))
        raise StepFailed

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
            try:
                session.quit() if pop else session.logout()
            except OSError:
                _logger.info("The mailbox hung up")

    @staticmethod
    def _take_imap(session, message_id):
        session.select()
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


def _line(icon, title, words="", cure=""):
    return Markup("<li><i class='fa fa-%s me-2'></i>%s%s%s</li>") % (
        icon,
        title,
        Markup("<div class='text-muted ms-4'>%s</div>") % words if words else "",
        Markup("<div class='ms-4'><b>%s</b></div>") % cure if cure else "",
    )
