# SPDX-License-Identifier: LGPL-3.0-only
import dataclasses

from odoo import _, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import formataddr

from ..routing import Author, Company, Draft, decide, is_local_part, parse_mailbox


class ResCompany(models.Model):
    _name = "res.company"
    _inherit = ["res.company", "mail.routing.fact"]

    _routing_fields = frozenset(
        {
            "active",
            "alias_domain_id",
            "email_from_by_company",
            "mail_server_by_domain",
            "mail_server_by_reply_to",
            "name",
            "reply_to_by_company",
            "reply_to_prefix",
        }
    )

    alias_domain_id = fields.Many2one(
        "mail.alias.domain",
        string="Email Domain",
        ondelete="restrict",
        index="btree_not_null",
        help="The alias domain that mail of this company is sent from and answered to. Several"
        " companies may share one.",
    )
    reply_to_by_company = fields.Boolean(
        string="Mail Reply-To by Company",
        help="Answers to mail of this company go to its own Reply-To address: the prefix at its"
        " Email Domain.",
    )
    reply_to_prefix = fields.Char(
        string="Reply-To Prefix",
        help="The part before the @ of the address that answers go to, e.g. 'info'",
    )
    email_from_by_company = fields.Boolean(
        string="Mail From by Company",
        help="Colleagues write from this company's Email Domain when they write in its name, or"
        " from the Outgoing Email Domain they chose for it.",
    )
    mail_server_by_domain = fields.Boolean(
        string="SMTP and IMAP + Alias Domain by Company",
        help="Mail of this company, and mail from its domains, leaves through its own outgoing"
        " servers; what its incoming servers fetch belongs to it.",
    )
    mail_server_by_reply_to = fields.Boolean(
        string="SMTP and IMAP + Alias Domain by Company Reply-To",
        help="Mail whose Reply-To is this company's address leaves through its own outgoing"
        " servers; mail sent to that address belongs to it.",
    )
    mail_server_ids = fields.One2many(
        "ir.mail_server", "company_id", string="Outgoing Servers", groups="base.group_system"
    )
    fetchmail_server_ids = fields.One2many(
        "fetchmail.server", "company_id", string="Incoming Servers", groups="base.group_system"
    )
    bounce_email = fields.Char(compute="_compute_bounce")
    bounce_formatted = fields.Char(string="Bounce", compute="_compute_bounce")
    catchall_email = fields.Char(compute="_compute_catchall")
    catchall_formatted = fields.Char(compute="_compute_catchall")
    default_from_email = fields.Char(string="Default From", compute="_compute_default_from_email")
    reply_to_email = fields.Char(string="Reply-To Address", compute="_compute_reply_to_email")
    routing_example_user_id = fields.Many2one(
        "res.users",
        string="Mail Written by",
        compute="_compute_routing_example_user_id",
        readonly=False,
        store=False,
        groups="base.group_system",
        help="Whose mail is shown below. Nothing of it is saved.",
    )
    routing_from_example = fields.Char(
        string="Is From",
        compute="_compute_routing_examples",
        help="The sender of a mail that this user would write in this company's name",
    )
    routing_reply_to_example = fields.Char(
        string="Answers Go To",
        compute="_compute_routing_examples",
        help="The Reply-To address of that mail, where the document has no address of its own",
    )
    routing_warning = fields.Char(compute="_compute_routing_warning")
    aliases_elsewhere = fields.Char(
        compute="_compute_aliases_elsewhere",
        help="Its aliases that are not in its Email Domain",
    )

    @api.depends("name", "alias_domain_id.bounce_email")
    def _compute_bounce(self):
        facts = self.env["mail.routing"]._get_facts()
        for company in self:
            email = company.sudo().alias_domain_id.bounce_email or facts.bounce_address(None)
            company.bounce_email = email
            company.bounce_formatted = formataddr((company.name, email)) if email else ""

    @api.depends("alias_domain_id.catchall_email")
    def _compute_catchall(self):
        result = super()._compute_catchall()
        for company in self:
            email = company.sudo().alias_domain_id.catchall_email
            if email:
                company.catchall_email = email
                company.catchall_formatted = formataddr((company.name, email))
        return result

    @api.depends("alias_domain_id.default_from_email")
    def _compute_default_from_email(self):
        facts = self.env["mail.routing"]._get_facts()
        for company in self:
            company.default_from_email = (
                company.sudo().alias_domain_id.default_from_email
                or facts.notification_address(None)
            )

    @api.depends("alias_domain_id.name", "alias_domain_id.catchall_alias", "reply_to_prefix")
    def _compute_reply_to_email(self):
        for company in self:
            company.reply_to_email = company._facts_of_form().reply_to_email(
                company._routing_fact()
            )

    @api.depends(
        "alias_domain_id",
        "email_from_by_company",
        "mail_server_by_domain",
        "name",
        "reply_to_by_company",
        "reply_to_prefix",
        "routing_example_user_id",
    )
    @api.depends_context("uid")
    def _compute_routing_examples(self):
        reader = self.env.user
        for company in self:
            his = company._origin <= reader.company_ids if company._origin else reader._is_system()
            if not self.env.su and (reader.share or not his):
                # the user does not write in its name, and the sender may be its server's login
                company.routing_from_example = company.routing_reply_to_example = False
                continue
            user = reader
            if reader._is_system():  # only to administrators, others' Outgoing Email Domain
                user = company.routing_example_user_id._origin or reader
            email_from = user.email_formatted or ""
            facts = company._facts_of_form()
            company_id = company._origin.id
            author = user._routing_author(company_id) if company_id else Author()
            # an example of a person's mail, even if the superuser looks at the form
            author = dataclasses.replace(author, is_bot=False)
            draft = Draft(email_from, company_id=company_id or 0, author=author)
            route = decide(draft, facts)
            company.routing_from_example = route.header_from
            company.routing_reply_to_example = route.reply_to or parse_mailbox(email_from).address

    @api.depends_context("uid")
    def _compute_routing_example_user_id(self):
        self.routing_example_user_id = self.env.user

    @api.depends(
        "mail_server_by_domain", "mail_server_by_reply_to", "mail_server_ids.active", "name"
    )
    def _compute_routing_warning(self):
        for company in self:
            if not company._origin:
                company.routing_warning = False  # it can have no server before it is saved
                continue
            uses = company.mail_server_by_domain or company.mail_server_by_reply_to
            # not by the field: a form may hold a list that its reader's companies cut short
            servers = (
                self.env["ir.mail_server"].sudo().search([("company_id", "=", company._origin.id)])
            )
            if uses and not servers:
                company.routing_warning = _(
                    "%s has no outgoing server of its own: its mail leaves through servers without"
                    " a company, and fails where there are none.",
                    company.name,
                )
            elif servers and not uses:
                company.routing_warning = _(
                    "%s does not use its outgoing servers. Turn on 'SMTP and IMAP + Alias Domain by"
                    " Company' on the page Email Routing of the company.",
                    company.name,
                )
            else:
                company.routing_warning = False

    @api.depends("alias_domain_id")
    @api.depends_context("uid")
    def _compute_aliases_elsewhere(self):
        shown = self.env.su or self.env.user._is_system()
        for company in self:
            aliases = shown and company._origin._aliases_elsewhere(company.alias_domain_id)
            company.aliases_elsewhere = (
                _(
                    "Aliases outside its Email Domain (%(count)s): %(aliases)s",
                    count=len(aliases),
                    aliases=", ".join(alias.display_name for alias in aliases[:5])
                    + (" …" if len(aliases) > 5 else ""),
                )
                if aliases
                else False
            )

    def _aliases_elsewhere(self, domain):
        """Give the aliases of this company's records that are in no, or another, domain.

        Those of records without a company count where there is no other company.

        :param domain: ``mail.alias.domain``; an empty one: the general domain
        """
        aliases = self.env["mail.alias"].sudo()
        if not self or not aliases._may_have_domains():
            return aliases
        found = aliases.search(
            [("alias_name", "!=", False), ("alias_domain_id", "!=", domain._origin.id)]
        )
        owners = found._owners()
        alone = self.sudo().with_context(active_test=False).search_count([]) == 1
        return found.filtered(lambda alias: owners[alias] == self or alone and not owners[alias])

    def action_move_aliases(self):
        """Offer to give the company's aliases its Email Domain, and say what changes."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "mail_company_routing.action_mail_alias_move"
        )
        context = {
            "default_company_id": self.id,
            "default_alias_domain_id": self.alias_domain_id.id,
        }
        return {**action, "context": context}

    def action_set_up_mailbox(self):
        """Set a mailbox of this company up; the form saves it first."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "mail_company_routing.action_mail_mailbox_setup"
        )
        return {**action, "context": {"default_company_id": self.id}}

    @api.constrains("reply_to_prefix", "alias_domain_id")
    def _check_reply_to_prefix(self):
        settings = self.env["mail.routing"]._gather_settings()
        for company in self:
            prefix = company.reply_to_prefix
            if not prefix:
                continue
            if not is_local_part(prefix):
                raise ValidationError(
                    _(
                        "Reply-To Prefix: '%s' cannot stand before the @. Use letters, digits, dots"
                        " and hyphens.",
                        prefix,
                    )
                )
            domain = company.sudo().alias_domain_id
            bounce = domain.bounce_alias if domain else settings.bounce_alias
            if prefix.lower() == (bounce or "").lower():
                raise ValidationError(
                    _(
                        "Reply-To Prefix: '%(prefix)s' is the bounce alias of %(domain)s; answers"
                        " would be taken for delivery reports.",
                        prefix=prefix,
                        domain=domain.unicode_name or settings.catchall_domain,
                    )
                )

    def action_open_email_routing(self):
        """Open this company's page Email Routing."""
        self.ensure_one()
        view = self.env.ref("mail_company_routing.res_company_view_form_routing")
        return {
            "type": "ir.actions.act_window",
            "name": self.name,
            "res_model": self._name,
            "res_id": self.id,
            "views": [(view.id, "form")],
            "target": "current",
        }

    @api.model_create_multi
    def create(self, vals_list):
        """Give a new company the domain that was typed into its form before it was saved."""
        companies = super().create(vals_list)
        for company, vals in zip(companies, vals_list, strict=True):
            if vals.get("alias_domain_id"):
                # sudo: the new company is ticked in nobody's switcher yet
                domain = company.sudo().alias_domain_id
                if domain.awaits_company and not domain.company_id:
                    domain.write({"company_id": company.id, "awaits_company": False})
        return companies

    def _write(self, vals):
        result = super()._write(vals)
        if "name" in vals:  # it follows the contact's name, without a call of write()
            self.env["mail.routing"]._forget_facts()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_except_mail_routing(self):
        """Refuse while it has servers or domains: they would become everybody's, or nobody's."""
        everything = self.sudo().with_context(active_test=False)
        for company in everything:
            left = [
                record.display_name
                for model in ("ir.mail_server", "fetchmail.server", "mail.alias.domain")
                for record in everything.env[model].search([("company_id", "=", company.id)])
            ]
            if left:
                raise UserError(
                    _(
                        "%(company)s still has mail servers or domains. Delete them, or give them"
                        " to another company first: %(left)s.",
                        company=company.name,
                        left=", ".join(left),
                    )
                )

    def _routing_fact(self, mailbox="") -> Company:
        """Give what the decision may know of this company.

        :param mailbox: login of its first confirmed incoming server, ``""`` without one
        """
        self.ensure_one()
        return Company(
            id=self._origin.id or 0,
            name=self.name or "",
            domain_id=self.sudo().alias_domain_id._origin.id or None,
            reply_to_by_company=self.reply_to_by_company,
            reply_to_prefix=(self.reply_to_prefix or "").lower(),
            email_from_by_company=self.email_from_by_company,
            mail_server_by_domain=self.mail_server_by_domain,
            mail_server_by_reply_to=self.mail_server_by_reply_to,
            mailbox=mailbox,
        )

    def _facts_of_form(self):
        """Give the facts as they would be with this company as it stands in the form."""
        self.ensure_one()
        facts = self.env["mail.routing"]._get_facts()
        known = facts.company.get(self._origin.id)
        mine = self._routing_fact(known.mailbox if known else "")
        others = tuple(company for company in facts.companies if company.id != mine.id)
        return dataclasses.replace(facts, companies=(mine, *others))
