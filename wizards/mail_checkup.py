from odoo import _, api, fields, models

from ..routing import is_restricted


class MailCheckup(models.TransientModel):
    """What is wrong, or will be, with the mail settings; each finding leads to what mends it."""

    _name = "mail.checkup"
    _description = "Mail Check-up"

    line_ids = fields.One2many("mail.checkup.line", "checkup_id", string="Findings", readonly=True)
    is_clean = fields.Boolean(compute="_compute_is_clean")

    @api.depends("line_ids")
    def _compute_is_clean(self):
        for checkup in self:
            checkup.is_clean = not checkup.line_ids

    def name_get(self):
        return [(checkup.id, _("Mail Check-up")) for checkup in self]

    @api.model
    def action_open(self):
        """Check everything, and show the findings."""
        lines = [
            {"name": text, "res_model": record._name, "res_id": record.id}
            for text, record in self._findings()
        ]
        checkup = self.create({"line_ids": [(0, 0, line) for line in lines]})
        return {
            "type": "ir.actions.act_window",
            "name": _("Mail Check-up"),
            "res_model": self._name,
            "res_id": checkup.id,
            "view_mode": "form",
            "target": "current",
        }

    @api.model
    def _findings(self):
        """List (sentence, record to mend)."""
        facts = self.env["mail.routing"]._get_facts()
        return [
            *self._check_companies(facts),
            *self._check_servers(facts),
            *self._check_domains(facts),
            *self._check_aliases(facts),
        ]

    @api.model
    def _check_companies(self, facts):
        companies = self.env["res.company"].search([])
        for company in companies:
            if company.routing_warning:
                yield company.routing_warning, company
        by_address = {}
        for company in companies:
            fact = facts.company[company.id]
            if fact.reply_to_by_company or fact.mail_server_by_reply_to:
                by_address.setdefault(facts.reply_to_email(fact), []).append(company)
        for address, sharing in by_address.items():
            if address and len(sharing) > 1:
                yield (
                    _(
                        "%(companies)s have one Reply-To address, %(address)s: answers to it cannot"
                        " tell whose they are. Give each a Reply-To Prefix or Email Domain of its"
                        " own.",
                        companies=", ".join(company.name for company in sharing),
                        address=address,
                    ),
                    sharing[-1],
                )

    @api.model
    def _check_servers(self, facts):
        providers = self.env["mail.provider"].search([("has_catch_all", "=", False)])
        hosts = {provider.smtp_host: provider for provider in providers if provider.smtp_host}
        for server in self.env["ir.mail_server"].search([]):
            fact = facts.server[server.id]
            if is_restricted(fact, facts):
                if not fact.sender_address:
                    yield (
                        _(
                            "%s lets only its own login send, but has no Login Address.",
                            server.name,
                        ),
                        server,
                    )
            elif server.smtp_host in hosts and hosts[server.smtp_host].restricted:
                yield (
                    _(
                        "%(server)s is at %(provider)s, which lets only the login send: set its"
                        " Sender Policy to 'Only the login may send', or turn on Restrict"
                        " Username.",
                        server=server.name,
                        provider=hosts[server.smtp_host].name,
                    ),
                    server,
                )

    @api.model
    def _check_domains(self, facts):
        for domain in self.env["mail.alias.domain"].search([]):
            fact = facts.domain[domain.id]
            for alias, address in (
                (_("bounce alias"), domain.bounce_email),
                (_("catchall alias"), domain.catchall_email),
            ):
                # a mailbox that is fetched may well be the domain's catchall
                taken = facts.mailboxes_in_use
                if address == domain.catchall_email:
                    taken = taken - set(facts.mailboxes)
                if facts.has_catch_all(fact) and address in taken:
                    yield (
                        _(
                            "The %(alias)s of %(domain)s, %(address)s, is also the login of a mail"
                            " server: real mail to it would be taken for what it is not.",
                            alias=alias,
                            domain=domain.unicode_name,
                            address=address,
                        ),
                        domain,
                    )
            provider = self._provider_without_catch_all(domain)
            if facts.has_catch_all(fact) and provider:
                yield (
                    _(
                        "Catch All is on for %(domain)s, but its company sends through"
                        " %(provider)s, which is not known to have one. Turn the domain's Catch All"
                        " off, unless you set one up there.",
                        domain=domain.unicode_name,
                        provider=provider.name,
                    ),
                    domain,
                )
            if facts.has_catch_all(fact) and not self._is_fetched(domain, facts):
                yield (
                    _(
                        "Catch All is on for %s, but no confirmed incoming server fetches a mailbox"
                        " of it: answers may never arrive. Set up an incoming server, or turn the"
                        " domain's Catch All off.",
                        domain.unicode_name,
                    ),
                    domain,
                )

    @api.model
    def _provider_without_catch_all(self, domain):
        """Give the provider, known to have no catch-all, of the servers of a domain's company."""
        servers = self.env["ir.mail_server"].search([("company_id", "=", domain.company_id.id)])
        return self.env["mail.provider"].search(
            [("has_catch_all", "=", False), ("smtp_host", "in", servers.mapped("smtp_host"))],
            limit=1,
        )

    @api.model
    def _is_fetched(self, domain, facts):
        """Tell whether a mailbox of the domain, or of its company, is fetched."""
        if any(login.endswith(f"@{domain.name}") for login in facts.mailboxes):
            return True
        company = facts.company.get(domain.company_id.id)
        return bool((company and company.mailbox) or facts.mailbox)

    @api.model
    def _check_aliases(self, facts):
        """Aliases are reached by a catch-all, or by a mailbox of their own."""
        open_domains = [
            name for name, fact in facts.domain_named.items() if facts.has_catch_all(fact)
        ]
        if open_domains or (facts.settings.catch_all and facts.settings.catchall_domain):
            return
        locals_ = {login.partition("@")[0] for login in facts.mailboxes}
        for alias in self.env["mail.alias"].search([("alias_name", "!=", False)]):
            if alias.alias_name not in locals_:
                yield (
                    _(
                        "Nobody can reach the alias '%s': no domain has a catch-all, and no mailbox"
                        " of that name is fetched. If it is needed, have such a mailbox fetched, or"
                        " its mail forwarded to one that is; else remove the alias.",
                        alias.alias_name,
                    ),
                    alias,
                )


class MailCheckupLine(models.TransientModel):
    _name = "mail.checkup.line"
    _description = "Finding of the Mail Check-up"

    checkup_id = fields.Many2one("mail.checkup", required=True, ondelete="cascade")
    name = fields.Char(string="Finding", required=True)
    res_model = fields.Char()
    res_id = fields.Integer()

    def action_mend(self):
        """Open the record on which the finding is mended."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "res_model": self.res_model,
            "res_id": self.res_id,
            "view_mode": "form",
            "target": "current",
        }
