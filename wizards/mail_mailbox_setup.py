# SPDX-License-Identifier: LGPL-3.0-only
import dataclasses
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
from ..routing import Domain, Draft, Server, ascii_address, decide, domain_of, is_address
from .mail_mailbox_progress import line_of, step_of
from .mail_mailbox_trial import StepFailed, Trial


class MailMailboxSetup(models.TransientModel):
    """From an address and a password to servers that work.

    What is set up is tried for real before it is kept: connection, login, sender, and a mail to
    oneself that is fetched again. Run twice for one mailbox it updates what it made.
    """

    _name = "mail.mailbox.setup"
    _description = "Set Up a Mailbox"

    # not required here: an address alone is enough, and finds it
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
    plan = fields.Html(string="What Will Be Set Up", compute="_compute_plan", sanitize=False)
    takes_away = fields.Char(
        compute="_compute_plan", help="What others lose if the server that is there is taken"
    )
    make_another = fields.Boolean(
        string="Make Another Server Instead",
        help="The server that is there stays as it is, and this company gets one of its own.",
    )
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
                # the account's, which nobody can guess; what was typed stays
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
        # Odoo computes none of these fields where one of them is given
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
        "guess",
        "has_catch_all",
        "incoming_host",
        "incoming_type",
        "login",
        "make_another",
        "provider_id",
        "restricted",
        "smtp_host",
    )
    def _compute_plan(self):
        self.check_access_rights("read")  # it tells of servers and mailboxes
        for wizard in self:
            lines, takes_away = [], ""
            if wizard.smtp_host and wizard.email:
                there = wizard._in_company()
                lines, takes_away = there._plan(), there._takes_away()
            wizard.plan = Markup("<ul>%s</ul>") % Markup("").join(
                Markup("<li>%s</li>") % line for line in lines
            )
            wizard.takes_away = takes_away

    @api.depends("oauth_module", "smtp_host")
    def _compute_provider_note(self):
        for wizard in self:
            hosts = [] if wizard.oauth_module else [wizard.smtp_host]
            wizard.provider_note = wizard.provider_id._basic_authentication_note(*hosts)

    def _in_company(self):
        """Give this wizard where its company may be worked in, ticked in the switcher or not."""
        company = self.company_id
        if not company or not (self.env.su or company._origin <= self.env.user.company_ids):
            return self
        others = [one for one in self.env.companies.ids if one != company.id]
        return self.with_context(allowed_company_ids=[company._origin.id, *others])

    def _plan(self):
        """List what will be set up, in sentences."""
        outgoing, incoming = self._outgoing(), self._incoming()
        lines = [
            _("Updates the outgoing server %s", outgoing.name)
            if outgoing
            else _("Outgoing server %s", self.smtp_host)
        ]
        if self.restricted:
            lines.append(_("Mail leaves as %s, the author as the name", self.email))
        if self._leaves_incoming(incoming):
            lines.append(_("The incoming server %s stays as it is", incoming.name))
        elif self.incoming_type != "none":
            lines.append(
                _("Updates the incoming server %s", incoming.name)
                if incoming
                else _("Incoming server %s", self.incoming_host or "…")
            )
        domain = self._own_domain()
        if domain:
            lines.append(_("Alias domain %s", domain))
        lines += self._plan_of_answers(domain)
        if self._many_companies():
            lines.append(_("Mail of %s uses these servers", self.company_id.name))
        return lines

    def _plan_of_answers(self, domain):
        """Say where answers will go: what the decision says of the facts as they will be."""
        company = self.company_id._origin
        his = self.env.su or company in self.env.user.company_ids
        if not is_address(self.email or "") or company and not his:
            return []  # where another company has its answers is not his to read
        facts = self._facts_then(domain)
        answers = self._decide_by(facts).reply_to or ascii_address(self.email)
        lines = []
        without = not domain and not self.has_catch_all and self.incoming_type != "none"
        if without and facts.settings.catch_all and not self._is_only_mailbox():
            lines.append(
                _("Catch All stays as it is in General Settings: other mailboxes are fetched")
            )
        if answers == ascii_address(self.email) and not self.has_catch_all:
            lines.append(_("No catch-all: answers come to this mailbox"))
        else:
            lines.append(_("Answers go to %s", answers))
        return lines

    def _facts_then(self, domain):
        """Give the facts of the decision as they will be once the mailbox is set up.

        :param domain: name of the alias domain that goes along, ``""`` without one
        """
        facts = self.env["mail.routing"]._get_facts()
        many = self._many_companies()
        company_id = self.company_id._origin.id if many else None
        login = ascii_address(self._login_to_fetch() or "")
        fetched = self.incoming_type != "none" and is_address(login)
        fetched &= not self._leaves_incoming(self._incoming())
        settings = facts.settings
        if not domain and self._turns_catch_all_off():
            settings = dataclasses.replace(settings, catch_all=False)
        row, domains = None, list(facts.domains)
        if domain:
            row = facts.domain_named.get(domain) or Domain(
                -1, domain, company_id=self.company_id._origin.id or None
            )
            catch_all = "yes" if self.has_catch_all else "no"
            domains = [one for one in domains if one.id != row.id]
            row = dataclasses.replace(row, catch_all=catch_all)
            domains.append(row)
        companies = []
        for company in facts.companies:
            if company.id == self.company_id._origin.id:
                company = dataclasses.replace(
                    company,
                    domain_id=company.domain_id or (row.id if row else None),
                    mail_server_by_domain=company.mail_server_by_domain or many,
                    mailbox=company.mailbox or (login if fetched and many else ""),
                )
            companies.append(company)
        server = self._server_then(company_id)
        return dataclasses.replace(
            facts,
            settings=settings,
            companies=tuple(companies),
            domains=tuple(domains),
            servers=(*(one for one in facts.servers if one.id != server.id), server),
            mailbox=facts.mailbox or (login if fetched and not many else ""),
            mailboxes=tuple(dict.fromkeys((*facts.mailboxes, *([login] if fetched else [])))),
        )

    def _server_then(self, company_id):
        """Give the outgoing server as the decision will know it."""
        outgoing = self._outgoing()
        return Server(
            id=outgoing.id or -1,
            name=outgoing.name or self.email,
            company_id=company_id,
            policy="login" if self.restricted else "any",
            sender_address=ascii_address(self.email),
            has_username=True,
            from_filter=outgoing.from_filter or "",
        )

    def _decide_by(self, facts):
        """Give the route that a mail of this address has, by some facts, by its own server."""
        company_id = (self.company_id or self.env.company)._origin.id
        server = self._server_then(company_id if self._many_companies() else None)
        draft = Draft(ascii_address(self.email), company_id=company_id, server=server)
        return decide(draft, facts)

    def _takes_away(self):
        """Say what others lose by it, ``""`` where it is nothing."""
        if not self._many_companies():
            return ""
        outgoing = self._outgoing()
        if not outgoing or outgoing.company_id == self.company_id._origin:
            return self._takes_mailbox_away()
        if outgoing.company_id:
            return _(
                "The outgoing server %(server)s belongs to %(other)s. It would become that of"
                " %(company)s, and no mail of %(other)s would leave through it any more.",
                server=outgoing.name,
                other=outgoing.company_id.name,
                company=self.company_id.name,
            )
        return _(
            "The outgoing server %(server)s is everybody's. It would become that of %(company)s"
            " alone, and be taken away from all other companies.",
            server=outgoing.name,
            company=self.company_id.name,
        )

    def _takes_mailbox_away(self):
        """Say whose answers would go elsewhere, ``""`` where nobody's."""
        incoming = self._incoming()
        others = incoming and incoming.company_id != self.company_id._origin
        if not others or self.incoming_type == "none" or self._leaves_incoming(incoming):
            return ""
        return _(
            "The mailbox is fetched already, by %(server)s for %(other)s. It would become that of"
            " %(company)s, and its mail with it.",
            server=incoming.name,
            other=incoming.company_id.name or _("everybody"),
            company=self.company_id.name,
        )

    def _outgoing(self):
        """Give the outgoing server that this mailbox has already, empty without one."""
        server = self.env["ir.mail_server"].with_context(active_test=False)
        if self.outgoing_id and self.outgoing_id.smtp_user == self.login:
            return self.outgoing_id.with_env(server.env)
        if not (self.smtp_host and self.login):
            return server
        servers = server.search(
            [("smtp_host", "=", self.smtp_host), ("smtp_user", "=", self.login)]
        )
        if self.oauth_module:  # one that logs in by password stays until the other works
            servers = servers.filtered_domain([("smtp_authentication", "=", self._oauth_kind())])
        return self._best(servers, only_own=self.make_another)

    def _incoming(self):
        """Give the incoming server that this mailbox has already, empty without one."""
        server = self.env["fetchmail.server"].with_context(active_test=False)
        login = self._login_to_fetch()
        if self.incoming_id and self.incoming_id.user == login:
            return self.incoming_id.with_env(server.env)
        if self.incoming_type == "none" or not (self.incoming_host and login):
            return server
        servers = server.search([("server", "=", self.incoming_host), ("user", "=", login)])
        if self.oauth_module:
            servers = servers.filtered_domain([("server_type", "=", self._oauth_kind())])
        return self._best(servers)

    def _best(self, servers, only_own=False):
        """Give one of several servers: the company's own comes first, then everybody's."""
        company = self.company_id._origin if self._many_companies() else self.company_id.browse()
        own = servers.filtered(lambda server: server.company_id == company)
        if own or only_own:
            return own[:1]
        return (servers.filtered(lambda server: not server.company_id) or servers)[:1]

    def _leaves_incoming(self, incoming):
        """Tell whether the mailbox is fetched already, for others, and shall go on as it is."""
        return bool(
            incoming
            and self.make_another
            and self._many_companies()
            and incoming.company_id != self.company_id._origin
        )

    def _login_to_fetch(self):
        """Give the login of the mailbox that is fetched."""
        return self.incoming_login or self.login

    def _is_only_mailbox(self):
        """Tell whether no other mailbox is fetched, so that no catch-all can lead there."""
        others = self.env["mail.routing"]._get_facts().mailboxes
        return not set(others) - {ascii_address(self.email or ""), self.login}

    def _turns_catch_all_off(self):
        """Tell whether General Settings will have no catch-all, where the domain is everybody's."""
        fetched = self.incoming_type != "none"
        return not self.has_catch_all and fetched and self._is_only_mailbox()

    def _own_domain(self):
        """The domain that the address stands for; none where everybody may have a mailbox."""
        domain = domain_of(ascii_address(self.email or ""))
        if self._guess_is_public(domain) or self.env["mail.provider"]._is_public(domain):
            return ""
        return domain

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
        """Give the servers, each ``host:port``, that get the password without proving themselves.

        What is ticked holds for those that were asked about, and for no other.
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

    def _make_records(self, password):
        """Make or update the servers, the domain and the options; give both servers."""
        outgoing = self._outgoing()
        if outgoing:
            outgoing.write(self._outgoing_values())
        else:
            limits = {name: self.provider_id[name] for name in ("max_per_minute", "max_per_day")}
            values = {"name": self.email, **limits, **self._outgoing_values()}
            outgoing = outgoing.create(values)
        if not self.oauth_module:
            self._fill_in(outgoing, "smtp_pass", password)
        incoming = self._make_incoming(password)
        if self.oauth_module:
            self._retire_passwords(outgoing, incoming)
        self._make_options()
        return outgoing, incoming

    def _outgoing_values(self):
        """Give what the outgoing server will be."""
        return {
            "smtp_host": self.smtp_host,
            "smtp_port": self.smtp_port,
            "smtp_encryption": self.smtp_encryption,
            "smtp_authentication": self._oauth_kind() or "login",
            "smtp_user": self.login,
            "sender_address": ascii_address(self.email),
            "sender_policy": "login" if self.restricted else "any",
            "company_id": self.company_id.id if self._many_companies() else False,
            "active": True,
        }

    def _make_incoming(self, password):
        incoming = self._incoming()
        if self.incoming_type == "none" or self._leaves_incoming(incoming):
            return incoming
        values = self._incoming_values()
        if incoming:
            incoming.write(values)
        else:
            incoming = incoming.create({"name": self.email, **values})
        if self.oauth_module:
            self._share_consent(incoming)
        else:
            self._fill_in(incoming, "password", password)
        return incoming

    def _incoming_values(self):
        """Give what the incoming server will be."""
        return {
            "server_type": self._oauth_kind() or self.incoming_type,
            "server": self.incoming_host,
            "port": self.incoming_port,
            "is_ssl": self.incoming_ssl,
            "user": self._login_to_fetch(),
            "company_id": self.company_id.id if self._many_companies() else False,
            "active": True,
        }

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
            if self._turns_catch_all_off():
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
