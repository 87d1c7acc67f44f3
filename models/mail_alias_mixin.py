# SPDX-License-Identifier: LGPL-3.0-only
from odoo import _, api, models
from odoo.exceptions import AccessError, UserError

from .mail_alias import OWNERS, Owners


class MailAliasMixin(models.AbstractModel):
    """Records with an alias of their own let it have a domain."""

    _inherit = "mail.alias.mixin"

    # a user who may write the record may choose any domain that the user may read
    ALIAS_WRITEABLE_FIELDS = [
        "alias_name",
        "alias_contact",
        "alias_defaults",
        "alias_bounced_content",
        "alias_domain_id",
    ]

    @api.model_create_multi
    def create(self, vals_list):
        """Tell the new aliases which company they are for: native makes them before the records."""
        alias = self.env["mail.alias"]
        if not alias._may_have_domains():
            return super().create(vals_list)
        self._check_alias_domains(vals_list)
        thread = self
        if not self._may_write_aliases():
            # only an administrator may let an alias take mail of any domain
            context = self.env.context
            if "default_alias_incoming_local" in context:
                without = {
                    key: context[key] for key in context.keys() - {"default_alias_incoming_local"}
                }
                # there is no other way to leave out a key
                thread = self.with_context(without)  # pylint: disable=context-overridden
            vals_list = [
                {name: vals[name] for name in vals.keys() - {"alias_incoming_local"}}
                for vals in vals_list
            ]
        vals_list = [self._without_default_of_form(vals) for vals in vals_list]
        companies = [
            self._company_of_new(vals).id for vals in vals_list if not vals.get("alias_id")
        ]
        may_be = None if self.env.su else self.env.user._get_company_ids()
        creating = thread.with_context(**{OWNERS: Owners(companies, may_be)})
        records = super(MailAliasMixin, creating).create(vals_list).with_env(self.env)
        records._check_takes_no_answers()
        return records

    def write(self, vals):
        """Take the alias along to the new company, where it was in the Email Domain of the old."""
        self._check_alias_domains([vals])
        if "alias_domain_id" in vals and not self.env.su:
            self.sudo().alias_domain_id.sudo(False)._check_may_read()
        moves = (
            "company_id" in vals
            and self._has_company()
            and self.env["mail.alias"]._may_have_domains()
        )
        follows = self.browse()
        if moves and "alias_domain_id" not in vals:
            follows = self.filtered(
                lambda record: (
                    record.sudo().alias_domain_id
                    and record.sudo().alias_domain_id == record.sudo().company_id.alias_domain_id
                    and record.company_id.id != vals["company_id"]
                )
            )
        renamed = not {"alias_name", "alias_domain_id", "alias_id"}.isdisjoint(vals)
        before = self._addresses() if renamed and not self._may_write_aliases() else None
        result = super().write(vals)
        if before is not None:
            # apps may write the name that the alias has already
            now = self._addresses()
            self.filtered(lambda one: now[one.id] != before[one.id])._check_takes_no_answers()
        if moves and "alias_domain_id" not in vals:
            strange = self.sudo().alias_id._owners_elsewhere()
            follows |= self.filtered(lambda record: record.sudo().alias_id in strange)
        for record in follows.sudo():
            domain = (record.company_id or self.env.company).alias_domain_id
            alias = record.alias_id
            if not (alias.alias_name and alias._clash(alias.alias_name, domain.id)):
                alias.alias_domain_id = domain
        if moves:
            self.sudo().alias_id._check_company_of_domain()
        return result

    def _addresses(self):
        """Give record id -> what decides which mail its alias takes."""
        return {
            record.id: (
                record.alias_id.id,
                record.alias_name,
                record.alias_domain_id.id,
                record.alias_id.alias_incoming_local,
            )
            for record in self.sudo()
        }

    @api.model
    def _without_default_of_form(self, vals):
        """Leave out the domain that a form proposed before another company was chosen in it."""
        if "alias_domain_id" not in vals:
            return vals
        company = self._company_of_new(vals)
        proposed = self.env.company.sudo().alias_domain_id.id
        if not company or company == self.env.company or vals["alias_domain_id"] != proposed:
            return vals
        return {name: value for name, value in vals.items() if name != "alias_domain_id"}

    def _has_company(self):
        field = self._fields.get("company_id")
        return field is not None and field.comodel_name == "res.company"

    @api.model
    def _company_of_new(self, vals):
        """Give the company of a record that is about to be made, an empty one where it has none."""
        company_id = False
        if self._has_company():
            company_id = vals.get("company_id")
            if "company_id" not in vals:
                company_id = self.default_get(["company_id"]).get("company_id")
        return self.env["res.company"].browse(company_id or ())

    @api.model
    def _check_alias_domains(self, vals_list):
        """Refuse a domain that the user may not read: native writes the alias as superuser."""
        if self.env.su or not self.env["mail.alias"]._may_have_domains():
            return
        ids = {vals["alias_domain_id"] for vals in vals_list if vals.get("alias_domain_id")}
        self.env["mail.alias.domain"].browse(ids)._check_may_read()
        given = {vals["alias_id"] for vals in vals_list if vals.get("alias_id")}
        if not given <= set(self.sudo().alias_id.ids[:1]) and not self._may_write_aliases():
            raise AccessError(
                _(
                    "An alias of another record cannot be given to this one. Enter an alias name"
                    " instead."
                )
            )

    @api.model
    def _may_write_aliases(self):
        """Tell whether the user may write any alias, as an administrator may."""
        return self.env.su or self.env["mail.alias"].check_access_rights(
            "write", raise_exception=False
        )

    def _check_takes_no_answers(self):
        """Refuse, for an alias that takes any domain, a name at which other answers arrive.

        An administrator may choose one: Odoo's CRM comes with the alias ``info``.

        :raise UserError: which domain's, and what helps
        """
        if self._may_write_aliases() or not self.env["mail.alias"]._may_have_domains():
            return
        facts = self.env["mail.routing"]._get_facts()
        for alias in self.sudo().alias_id.filtered("alias_incoming_local"):
            address = facts.answers_come_to(alias.alias_name or "")
            if address:
                raise UserError(
                    _(
                        "Answers come to %(address)s, and an alias without an Email Domain would"
                        " take mail to it. Choose an Email Domain for %(name)s, or another name.",
                        address=address,
                        name=alias.alias_name,
                    )
                )
