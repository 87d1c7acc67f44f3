# SPDX-License-Identifier: LGPL-3.0-only
"""Set Up a Mailbox: what it will set up, told before it does."""

import dataclasses

from markupsafe import Markup

from odoo import _, api, fields, models

from ..routing import Domain, Draft, Server, ascii_address, decide, is_address


class MailMailboxSetup(models.TransientModel):
    _inherit = "mail.mailbox.setup"

    plan = fields.Html(string="What Will Be Set Up", compute="_compute_plan", sanitize=False)
    takes_away = fields.Char(
        compute="_compute_plan", help="What others lose if the server that is there is taken"
    )
    takes_domain = fields.Char(
        compute="_compute_plan", help="What others lose if their domain becomes a company's"
    )

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
        "share_domain",
        "smtp_host",
    )
    def _compute_plan(self):
        self.check_access_rights("read")  # it tells of servers and mailboxes
        for wizard in self:
            lines, takes_away, takes_domain = [], "", ""
            if wizard.smtp_host and wizard.email:
                there = wizard._in_company()
                lines, takes_away = there._plan(), there._takes_away()
                takes_domain = there._takes_domain_away()
            items = Markup("").join(Markup("<li>%s</li>") % line for line in lines)
            wizard.plan = items and Markup("<ul>%s</ul>") % items
            wizard.takes_away = takes_away
            wizard.takes_domain = takes_domain

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
        if self._domain_of_others(domain):
            lines.append(_("Alias domain %s of another company stays as it is", domain))
        elif self._is_everybodys(domain) and self.share_domain:
            lines.append(_("Alias domain %s, shared by all companies", domain))
        elif domain:
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
            return []  # the user may not know where another company's answers go
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
        if self._domain_of_others(domain):
            row = facts.domain_named.get(domain)  # none: it is archived
        elif domain:
            row = facts.domain_named.get(domain) or Domain(
                -1, domain, company_id=self._owner_of(domain).id or None
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
            told = _(
                "The outgoing server %(server)s belongs to %(other)s. It would become that of"
                " %(company)s, and no mail of %(other)s would leave through it any more.",
                server=outgoing.name,
                other=outgoing.company_id.name,
                company=self.company_id.name,
            )
        else:
            told = _(
                "The outgoing server %(server)s is everybody's. It would become that of"
                " %(company)s alone, and be taken away from all other companies.",
                server=outgoing.name,
                company=self.company_id.name,
            )
        return " ".join(filter(None, (told, self._takes_mailbox_away())))

    def _takes_domain_away(self):
        """Say that everybody's domain would be one company's, ``""`` where it would not."""
        domain = self._own_domain()
        if not self._is_everybodys(domain):
            return ""
        return _(
            "The domain %(domain)s is everybody's in General Settings. It would become that of"
            " %(company)s alone.",
            domain=domain,
            company=self.company_id.name,
        )

    def _takes_mailbox_away(self):
        """Say whose answers would go elsewhere; ``""``: those of nobody."""
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
