import json
import threading
from contextlib import contextmanager

from markupsafe import Markup
from psycopg2 import OperationalError

from odoo import _, api, fields, models
from odoo.exceptions import RedirectWarning, UserError, ValidationError
from odoo.service.model import PG_CONCURRENCY_ERRORS_TO_RETRY

from ..routing import Draft, ascii_address, domain_of, is_address
from .mail_mailbox_progress import line_of, step_of
from .mail_mailbox_trial import StepFailed, Trial


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
                trial = Trial(
                    outgoing,
                    incoming,
                    email=self.email,
                    mail_from=self._decide(outgoing).mail_from,
                    password=password,
                    login_hint=self.login_hint,
                    tell=self._tell_progress,
                )
                trial.run()
        except StepFailed:
            self.succeeded = False
        else:
            self.succeeded = True
        finally:
            self._tell_progress([])
        lines = trial.lines()
        if self.succeeded:
            answers = _("Answers go to %s", self._decide(outgoing).reply_to or self.email)
            lines.append(line_of(step_of(answers, state="told")))
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
            outgoing = outgoing.create({"name": self.email, **values})
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

        :return: list of dicts of ``key``, ``title``, ``state`` (a key of
            :data:`~.mail_mailbox_progress.ICONS`),
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

    def _decide(self, outgoing):
        """Give the route that a mail of this address will have by this server."""
        draft = Draft(
            ascii_address(self.email),
            company_id=(self.company_id or self.env.company).id,
            server=outgoing._routing_fact(),
        )
        return self.env["mail.routing"]._decide(draft)
