# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, models

from .mail_alias import OWNERS, Owners


class MailAliasMixin(models.AbstractModel):
    """Records with an alias of their own let it have a domain."""

    _inherit = "mail.alias.mixin"

    # who may write the record chooses among the domains that he may read
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
        vals_list = [self._without_default_of_form(vals) for vals in vals_list]
        companies = [
            self._company_of_new(vals).id for vals in vals_list if not vals.get("alias_id")
        ]
        creating = self.with_context(**{OWNERS: Owners(companies)})
        return super(MailAliasMixin, creating).create(vals_list).with_env(self.env)

    def write(self, vals):
        """Take the alias along to the new company, where it was in the Email Domain of the old."""
        self._check_alias_domains([vals])
        follows = self.browse()
        if (
            "company_id" in vals
            and "alias_domain_id" not in vals
            and self._has_company()
            and self.env["mail.alias"]._may_have_domains()
        ):
            follows = self.filtered(
                lambda record: (
                    record.sudo().alias_domain_id
                    and record.sudo().alias_domain_id == record.sudo().company_id.alias_domain_id
                    and record.company_id.id != vals["company_id"]
                )
            )
        result = super().write(vals)
        for record in follows.sudo():
            domain = (record.company_id or self.env.company).alias_domain_id
            alias = record.alias_id
            if not (alias.alias_name and alias._clash(alias.alias_name, domain.id)):
                alias.alias_domain_id = domain
        return result

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
        """Let nobody choose a domain that he may not see: native writes the alias as superuser."""
        ids = {vals["alias_domain_id"] for vals in vals_list if vals.get("alias_domain_id")}
        if ids and not self.env.su:
            domains = self.env["mail.alias.domain"].browse(ids)
            domains.check_access_rights("read")
            domains.check_access_rule("read")
