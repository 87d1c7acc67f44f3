# SPDX-License-Identifier: LGPL-3.0-only
from odoo import SUPERUSER_ID, _, api, fields, models
from odoo.exceptions import ValidationError

from ..routing import Author, User


class ResUsers(models.Model):
    _inherit = "res.users"

    alias_domain_id = fields.Many2one(
        "mail.alias.domain",
        string="Outgoing Email Domain",
        company_dependent=True,
        help="The domain you write from in the present company, where that has Mail From by Company"
        " on. Empty: the company's own.",
    )
    outgoing_domain_ids = fields.One2many(
        "mail.outgoing.domain",
        "user_id",
        string="Outgoing Email Domains",
        help="The domain you write from, company by company, where Mail From by Company is on."
        " Empty: the company's Email Domain.",
    )

    @property
    def SELF_READABLE_FIELDS(self):
        return super().SELF_READABLE_FIELDS + ["alias_domain_id", "outgoing_domain_ids"]

    @property
    def SELF_WRITEABLE_FIELDS(self):
        return super().SELF_WRITEABLE_FIELDS + ["alias_domain_id", "outgoing_domain_ids"]

    @api.constrains("alias_domain_id")
    def _check_alias_domain_id(self):
        for user in self.sudo():
            if not user._may_write_from(user.alias_domain_id):
                raise ValidationError(
                    _(
                        "Outgoing Email Domain: %(domain)s belongs to %(company)s, which is no"
                        " company of %(user)s. Choose another domain, or add that company to the"
                        " user.",
                        domain=user.alias_domain_id.unicode_name,
                        company=user.alias_domain_id.company_id.name,
                        user=user.name,
                    )
                )

    def _may_write_from(self, domain):
        """Tell whether a domain is one of this user's companies, or shared."""
        self.ensure_one()
        return not domain.company_id or domain.company_id in self.company_ids

    def _routing_user(self) -> User:
        """Give what tells whose a mail of this user is."""
        self.ensure_one()
        return User(
            id=self.id,
            partner_id=self.partner_id.id,
            company_id=self.company_id.id,
            company_ids=frozenset(self._get_company_ids()),
            is_bot=self.id == SUPERUSER_ID,
        )

    def _routing_author(self, company_id) -> Author:
        """Give what the decision may know of this user as an author.

        A domain that was archived since, or went to a company in which the user does not work, no
        longer counts.

        :param company_id: the company of the mail
        """
        return self._author_from(self.with_company(company_id).alias_domain_id)

    def _author_from(self, domain) -> Author:
        """Give the same, with this Outgoing Email Domain; see :meth:`_routing_author`."""
        self.ensure_one()
        usable = domain and domain.active and self._may_write_from(domain)
        return Author(
            outgoing_domain=domain.name if usable else "",
            is_bot=self.id == SUPERUSER_ID,
        )
