# SPDX-License-Identifier: LGPL-3.0-only
from odoo import _, api, fields, models
from odoo.exceptions import UserError, ValidationError

from ..routing import Domain, ascii_domain, is_address, is_local_part, unicode_domain


class MailAliasDomain(models.Model):
    """A domain that mail is sent from and answered to.

    Name and fields are those of the model that Odoo has from 17.0 on.
    """

    _name = "mail.alias.domain"
    _inherit = ["mail.routing.fact"]
    _description = "Alias Domain"
    _order = "sequence, id"

    _routing_fields = frozenset(
        {
            "active",
            "bounce_alias",
            "catch_all",
            "catchall_alias",
            "company_id",
            "default_from",
            "name",
            "reply_domain_id",
            "sequence",
        }
    )

    name = fields.Char(
        string="Domain",
        required=True,
        help="The part behind the @, e.g. 'mycompany.com'. A domain in your own script is kept in"
        " its ASCII form.",
    )
    unicode_name = fields.Char(string="Shown As", compute="_compute_unicode_name")
    is_ascii = fields.Boolean(compute="_compute_unicode_name")
    company_id = fields.Many2one(
        "res.company",
        default=lambda self: self.env.company,
        ondelete="restrict",
        index=True,
        help="The company that the domain belongs to. Empty: shared by all, and mail to or from it"
        " decides no company.",
    )
    awaits_company = fields.Boolean(
        copy=False,
        help="It was typed into the form of a company that was not saved yet, and is that one's",
    )
    company_ids = fields.One2many(
        "res.company",
        "alias_domain_id",
        string="Email Domain of",
        help="Companies that have it as their Email Domain",
    )
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    catchall_alias = fields.Char(
        default="catchall",
        required=True,
        copy=False,
        help="Local part that answers go to, of 'catchall@mycompany.com'",
    )
    catchall_email = fields.Char(compute="_compute_emails")
    bounce_alias = fields.Char(
        default="bounce",
        required=True,
        copy=False,
        help="Local part that delivery reports go to, of 'bounce@mycompany.com'",
    )
    bounce_email = fields.Char(compute="_compute_emails")
    default_from = fields.Char(
        string="Default From Alias",
        default="notifications",
        copy=False,
        help="Sender of mail that has no author: a local part, or a whole address",
    )
    default_from_email = fields.Char(string="Default From", compute="_compute_emails")
    catch_all = fields.Selection(
        selection=[("default", "As in General Settings"), ("yes", "Yes"), ("no", "No")],
        default="default",
        help="Whether mail to any address of this domain arrives in a mailbox that Odoo fetches",
    )
    reply_domain_id = fields.Many2one(
        "mail.alias.domain",
        ondelete="restrict",
        help="Answers to mail from this domain go to that one. Empty: to the Email Domain of the"
        " company.",
    )

    _sql_constraints = [("name_uniq", "UNIQUE(name)", "This domain is in the table already.")]

    @api.depends("name")
    def _compute_unicode_name(self):
        for domain in self:
            domain.unicode_name = unicode_domain(domain.name or "")
            domain.is_ascii = domain.unicode_name == domain.name

    @api.depends("name", "catchall_alias", "bounce_alias", "default_from")
    def _compute_emails(self):
        for domain in self:
            domain.catchall_email = domain._address(domain.catchall_alias)
            domain.bounce_email = domain._address(domain.bounce_alias)
            domain.default_from_email = domain._address(domain.default_from)

    def _address(self, alias):
        """Give alias@name; an alias that is an address already as it is."""
        self.ensure_one()
        if not alias or not self.name:
            return False
        return alias if "@" in alias else f"{alias}@{self.name}"

    def name_get(self):
        return [(domain.id, domain.unicode_name) for domain in self]

    @api.model
    def _name_search(self, name, args=None, operator="ilike", limit=100, name_get_uid=None):
        if name and not name.isascii():
            # stored in ASCII: what is typed in one's own script is looked for in it
            name = _ascii_or_none(name) or name
        return super()._name_search(name, args, operator, limit, name_get_uid)

    @api.constrains("name")
    def _check_name(self):
        for domain in self:
            if _ascii_or_none(domain.name) != domain.name:
                raise ValidationError(
                    _("Domain: '%s' is no domain. Write it like 'mycompany.com'.", domain.name)
                )

    @api.constrains("catchall_alias", "bounce_alias", "default_from")
    def _check_aliases(self):
        for domain in self:
            for field in ("catchall_alias", "bounce_alias", "default_from"):
                alias = domain[field]
                valid = not alias or is_local_part(alias)
                if not valid and not (field == "default_from" and is_address(alias)):
                    raise ValidationError(
                        _(
                            "%(field)s: '%(alias)s' cannot stand before the @. Use letters, digits,"
                            " dots and hyphens.",
                            field=self._fields[field]._description_string(self.env),
                            alias=alias,
                        )
                    )
            taken = domain._aliases().filtered(
                lambda alias, domain=domain: (
                    alias.alias_name
                    in ((domain.catchall_alias or "").lower(), (domain.bounce_alias or "").lower())
                )
            )
            if taken:
                raise ValidationError(
                    _(
                        "%(address)s is an alias already, which makes records of its mail. Rename"
                        " the alias first, or choose another name here.",
                        address=taken[0].alias_full_name,
                    )
                )
            if domain.bounce_alias and domain.bounce_alias == domain.catchall_alias:
                raise ValidationError(
                    _(
                        "Bounce Alias: it is the Catchall Alias of %s too; answers would be taken"
                        " for delivery reports.",
                        domain.unicode_name,
                    )
                )

    @api.constrains("bounce_alias")
    def _check_bounce_alias_against_prefix(self):
        self.env["res.company"].sudo().search(
            [("alias_domain_id", "in", self.ids)]
        )._check_reply_to_prefix()

    def _check_may_read(self):
        """Refuse a domain that the user may not see.

        :raise AccessError: one of them is such
        """
        if self:
            self.check_access_rights("read")
            self.check_access_rule("read")

    @api.constrains("company_id", "reply_domain_id")
    def _check_reply_domain(self):
        answering = (
            self.sudo()
            .with_context(active_test=False)
            .search([("reply_domain_id", "in", self.ids)])
        )
        for domain in self.sudo() | answering:
            reply = domain.reply_domain_id
            if reply.company_id and reply.company_id != domain.company_id:
                raise ValidationError(
                    _(
                        "Reply Domain: %(reply)s belongs to %(company)s, another company than"
                        " %(domain)s. Choose a domain of the same company, or one without a"
                        " company.",
                        reply=reply.unicode_name,
                        company=reply.company_id.name,
                        domain=domain.unicode_name,
                    )
                )

    @api.model_create_multi
    def create(self, vals_list):
        vals_list = [self._with_ascii_name(vals) for vals in vals_list]
        self._check_free([vals.get("name") for vals in vals_list])
        return super().create(vals_list)

    def write(self, vals):
        vals = self._with_ascii_name(vals)
        if vals.get("active") is False:
            self._check_unused()
            self._leave_nameless_aliases()
        if "name" in vals:
            self._check_free([vals["name"]] * len(self))
        return super().write(vals)

    def unlink(self):
        self._leave_nameless_aliases()
        return super().unlink()

    def _aliases(self):
        """Give the aliases of these domains that have a name."""
        return (
            self.env["mail.alias"]
            .sudo()
            .search([("alias_domain_id", "in", self.ids), ("alias_name", "!=", False)])
        )

    def _leave_nameless_aliases(self):
        """Take the domain from aliases without a name, which have no address to lose."""
        aliases = self.env["mail.alias"].sudo()
        aliases.search(
            [("alias_domain_id", "in", self.ids), ("alias_name", "=", False)]
        ).alias_domain_id = False

    def _check_free(self, names):
        """Say which domain is there already, before PostgreSQL does in its own words.

        :param names: that records other than ``self`` may not have; nor may two have the same
        """
        everything = self.sudo().with_context(active_test=False)
        taken = everything.search([("name", "in", names), ("id", "not in", self.ids)])
        twice = taken.mapped("name") or [name for name in names if name and names.count(name) > 1]
        if twice:
            raise ValidationError(
                _(
                    "Domain: %s is in the table already. Look among the archived domains; or ask"
                    " an administrator of the other companies.",
                    unicode_domain(twice[0]),
                )
            )

    @api.model
    def _with_ascii_name(self, vals):
        """A domain goes into the table as it goes over the wire (RFC 5891)."""
        name = _ascii_or_none(vals.get("name"))
        return {**vals, "name": name} if name else vals

    @api.ondelete(at_uninstall=False)
    def _unlink_except_used(self):
        self._check_unused()

    def _check_unused(self):
        """Refuse to take away a domain that mail depends on."""
        everything = self.sudo().with_context(active_test=False)
        for domain in everything:
            companies = everything.env["res.company"].search([("alias_domain_id", "=", domain.id)])
            if companies:
                raise UserError(
                    _(
                        "%(domain)s is the Email Domain of %(companies)s. Choose another one there"
                        " first (page Email Routing).",
                        domain=domain.unicode_name,
                        companies=", ".join(companies.mapped("name")),
                    )
                )
            others = everything.search(
                [("reply_domain_id", "=", domain.id), ("id", "not in", self.ids)]
            )
            if others:
                raise UserError(
                    _(
                        "%(domain)s is the Reply Domain of %(others)s. Choose another one there"
                        " first.",
                        domain=domain.unicode_name,
                        others=", ".join(others.mapped("unicode_name")),
                    )
                )
            aliases = domain._aliases()
            if aliases:
                raise UserError(
                    _(
                        "%(domain)s is the domain of %(count)s aliases: %(aliases)s. Give them"
                        " another one first (Settings > Technical > Email > Aliases).",
                        domain=domain.unicode_name,
                        count=len(aliases),
                        aliases=", ".join(aliases[:5].mapped("alias_full_name")),
                    )
                )

    def _routing_fact(self) -> Domain:
        """Give what the decision may know of this domain."""
        self.ensure_one()
        return Domain(
            id=self.id,
            name=self.name,
            company_id=self.company_id.id or None,
            reply_domain_id=self.reply_domain_id.id or None,
            catchall_alias=self.catchall_alias or "",
            bounce_alias=self.bounce_alias or "",
            default_from=self.default_from or "",
            catch_all=self.catch_all or "default",
        )


def _ascii_or_none(text):
    try:
        return ascii_domain(text or "")
    except ValueError:
        return None
