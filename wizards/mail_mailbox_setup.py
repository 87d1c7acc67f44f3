# SPDX-License-Identifier: LGPL-3.0-only
import ipaddress
import json
import threading
from contextlib import contextmanager

from markupsafe import Markup
from psycopg2 import OperationalError

from odoo import _, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.service.model import PG_CONCURRENCY_ERRORS_TO_RETRY

from ..discovery import tls_context
from ..routing import Draft, ascii_address, is_address
from .mail_mailbox_progress import line_of, step_of
from .mail_mailbox_trial import StepFailed, Trial


class MailMailboxSetup(models.TransientModel):
    """From an address and a password to servers that work.

    What is set up is tried for real before it is kept: connection, login, sender, and a mail to
    oneself that is fetched again. Run twice for one mailbox it updates what it made.
    """

    _name = "mail.mailbox.setup"
    _description = "Set Up a Mailbox"

    # not required: it is found by the address
    provider_id = fields.Many2one("mail.provider")
    login_hint = fields.Char(related="provider_id.login_hint")
    login_differs = fields.Boolean(related="provider_id.login_differs")
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
    incoming_login = fields.Char(
        help="What the mailbox is fetched with, where it is another login than the one that sends"
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
    provider_note = fields.Char(string="Note", compute="_compute_provider_note")
    asks_unverified = fields.Boolean(readonly=True)
    unverified_servers = fields.Char(readonly=True)
    accept_unverified = fields.Boolean(
        string="Send the Password All the Same",
        compute="_compute_accept_unverified",
        store=True,
        readonly=False,
        help="Whoever stands between Odoo and this server can read the password.",
    )
    result = fields.Html(readonly=True, sanitize=False)
    succeeded = fields.Boolean(readonly=True)

    @api.depends("email", "guess", "provider_id")
    def _compute_login(self):
        for wizard in self:
            if wizard.login_differs:
                # the login is that of another account: keep what was typed
                wizard.login = False if wizard.login == wizard.email else wizard.login
            else:
                wizard.login = wizard._guessed_login() or wizard.email

    @api.depends(
        "smtp_host",
        "smtp_port",
        "smtp_encryption",
        "incoming_host",
        "incoming_port",
        "incoming_ssl",
    )
    def _compute_accept_unverified(self):
        self.accept_unverified = False  # it was about another server

    @api.model_create_multi
    def create(self, vals_list):
        vals_list = [self._with_guess(vals) for vals in vals_list]
        # Odoo computes none of the fields of _compute_hosts where one of them is given
        return super().create(
            [
                {
                    **self._known_values(
                        self.env["mail.provider"].browse(vals.get("provider_id")),
                        vals.get("incoming_type"),
                        vals.get("guess"),
                    ),
                    **vals,
                }
                for vals in vals_list
            ]
        )

    @api.depends("guess", "incoming_type", "provider_id")
    def _compute_hosts(self):
        for wizard in self:
            wizard.update(
                self._known_values(wizard.provider_id, wizard.incoming_type, wizard.guess)
            )

    @api.model
    def _provider_values(self, provider, incoming_type):
        """Give what is known of a provider, as values of this wizard.

        Where nothing is, the ports are those of TLS (RFC 8314 7.3).
        """
        kind = "pop" if incoming_type == "pop" else "imap"
        return {
            "smtp_host": provider.smtp_host,
            "smtp_port": provider.smtp_port or 465,
            "smtp_encryption": provider.smtp_encryption or "ssl",
            "incoming_host": provider[f"{kind}_host"],
            "incoming_port": provider[f"{kind}_port"] or {"pop": 995, "imap": 993}[kind],
            "incoming_ssl": provider[f"{kind}_ssl"] if provider else True,
            "restricted": provider.restricted,
            "has_catch_all": provider.has_catch_all,
        }

    @api.depends("oauth_module", "smtp_host")
    def _compute_provider_note(self):
        for wizard in self:
            hosts = [] if wizard.oauth_module else [wizard.smtp_host]
            wizard.provider_note = wizard.provider_id._basic_authentication_note(*hosts)

    def _in_company(self):
        """Give this wizard in its company, ticked or not, if the user works there."""
        company = self.company_id
        if not company or not (self.env.su or company._origin <= self.env.user.company_ids):
            return self
        others = [one for one in self.env.companies.ids if one != company.id]
        return self.with_context(allowed_company_ids=[company._origin.id, *others])

    # ------------------------------------------------------------
    # Setting up
    # ------------------------------------------------------------

    def action_setup(self, password=None):
        """Make or update the servers, try them, keep them if all went well; show each step.

        The trial sends a mail, so it has a transaction of its own, which Odoo does not repeat. If
        Odoo repeats the request, the mailbox is not tried again.

        :param password: the form passes it here, so that it is never in the wizard's table; one
            that is there is taken out before anything can go wrong
        :raises UserError: the input is wrong, or somebody else changed the same settings
        """
        self.ensure_one()
        tried = self.env.transaction.__dict__.setdefault("mail_mailbox_tried", set())
        stored = self._take_password()
        if self.oauth_module and self.oauth_state != "connected":
            self._check_input(None)
            return self._in_company()._ask_consent()
        if stored or self.id not in tried:
            self.env.cr.postrollback.add(lambda: tried.add(self.id))
            try:
                with self._aside() as env:
                    self.with_env(env)._in_company()._set_up(stored or password)
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
        """Take the password out of the wizard's table, and commit that before all else."""
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
        self.asks_unverified = False
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
                    context=self._tls_context(),
                    accepted=self._accepted_servers(),
                    is_near=self._is_near,
                    tell=self._tell_progress,
                )
                trial.run()
        except StepFailed:
            self.succeeded = False
        else:
            self.succeeded = True
        finally:
            self._tell_progress([])
        self.asks_unverified = trial.unverified
        if trial.unverified:
            self.unverified_servers = " ".join({*self._accepted_servers(), trial.unverified_at})
            self.accept_unverified = False  # that was about the other one
        lines = trial.lines()
        if self.succeeded:
            answers = _("Answers go to %s", self._decide(outgoing).reply_to or self.email)
            lines.append(line_of(step_of(answers, state="told")))
        self.result = Markup("<ul class='list-unstyled'>%s</ul>") % Markup("").join(lines)

    def _accepted_servers(self):
        """Give the servers, each ``host:port``, that get the password though they are not verified.

        The tick holds only for servers that the administrator was asked about.
        """
        return set((self.unverified_servers or "").split()) if self.accept_unverified else set()

    def _check_input(self, password):
        company = self.company_id
        if company and not (self.env.su or company <= self.env.user.company_ids):
            raise UserError(
                _(
                    "You do not work in %s. Add it to your companies in Settings > Users, then set"
                    " the mailbox up.",
                    company.name,
                )
            )
        if not is_address(self.email):
            raise ValidationError(_("Email Address: '%s' is no e-mail address.", self.email))
        theirs = self._domain_of_others(self._own_domain())
        if theirs.active and not (self.env.su or theirs.company_id <= self.env.user.company_ids):
            raise ValidationError(
                _(
                    "%s belongs to another company in the Alias Domain table: mail from it would"
                    " leave as that company's. Ask an administrator of that company to clear its"
                    " Company there, then set the mailbox up.",
                    theirs.unicode_name,
                )
            )
        if self.oauth_module:
            self._check_oauth()
        elif not password:
            raise ValidationError(_("Password or Authorization Code: fill it in."))
        if not self.login:
            raise ValidationError(_("Login: fill in the account that may send as the address."))
        if not self.smtp_host:
            raise ValidationError(_("SMTP Host: fill it in; none is known of this provider."))
        if self.incoming_type != "none" and not self.incoming_host:
            raise ValidationError(
                _(
                    "Incoming Host: fill it in, or choose not to fetch; none is known of this"
                    " provider."
                )
            )

    def _tls_context(self):
        """Give the TLS context by which a server proves who it is, before it gets a password."""
        return tls_context()

    @api.model
    def _is_near(self, host):
        """Tell whether a server is on this very machine: nobody stands in between."""
        if host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

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
        """Commit the steps at once, so that the browser can show them meanwhile."""
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
