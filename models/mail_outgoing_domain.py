# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, fields, models, tools

from ..routing import Draft, decide

#: more companies than a database has; numbers stay exact in a browser (below 2 ** 53)
_COMPANIES = 2**20


class MailOutgoingDomain(models.Model):
    """The Outgoing Email Domain of a user, one line a company.

    ``res.users.alias_domain_id`` is company-dependent: a form shows that of the present company
    alone, and does not say which that is. This is a view of who works where, of companies with
    Mail From by Company on; a line that is written sets the field in its own company.
    """

    _name = "mail.outgoing.domain"
    _description = "Outgoing Email Domain"
    _auto = False
    _order = "company_id, id"
    _rec_name = "company_id"
    _depends = {
        "res.company": ["email_from_by_company"],
        "res.users": ["company_ids", "share"],
    }
    # a user's own preferences are written by the superuser; whose lines they are is checked here
    _allow_sudo_commands = False

    user_id = fields.Many2one("res.users", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    alias_domain_id = fields.Many2one(
        "mail.alias.domain",
        string="Outgoing Email Domain",
        compute="_compute_alias_domain_id",
        inverse="_inverse_alias_domain_id",
        readonly=False,
        help="The domain that this user writes from in this company. Empty: the company's Email"
        " Domain.",
    )
    header_from = fields.Char(
        string="Customers See",
        compute="_compute_header_from",
        help="The sender of a mail that this user writes in this company's name",
    )

    def init(self):
        tools.drop_view_if_exists(self.env.cr, self._table)
        self.env.cr.execute(
            """
            CREATE VIEW mail_outgoing_domain AS (
                SELECT u.id::bigint * %s + c.id AS id, u.id AS user_id, c.id AS company_id
                FROM res_company_users_rel r
                JOIN res_users u ON u.id = r.user_id
                JOIN res_company c ON c.id = r.cid
                WHERE c.email_from_by_company AND NOT u.share
            )
            """,
            [_COMPANIES],
        )

    @api.depends("user_id.alias_domain_id", "company_id")
    @api.depends_context("uid")
    def _compute_alias_domain_id(self):
        self.alias_domain_id = False
        for line in self._that_are_kept():
            user = line._origin.user_id.with_company(line._origin.company_id)
            # sudo: of a company that is not ticked in the switcher
            line.alias_domain_id = user.sudo().alias_domain_id.sudo(False)

    def _that_are_kept(self):
        """Give those of these lines that exist, and that the user may read.

        A form may send any user and company, and From may be the login of a server: only the line
        in the database counts.
        """
        if not self.check_access_rights("read", raise_exception=False):
            return self.browse()
        readable = self._origin._filter_access_rules("read")
        return self.filtered(lambda line: line._origin and line._origin in readable)

    def _inverse_alias_domain_id(self):
        for line in self:
            line.user_id.with_company(line.company_id).alias_domain_id = line.alias_domain_id

    @api.depends("alias_domain_id", "company_id", "user_id.email")
    @api.depends_context("uid")
    def _compute_header_from(self):
        self.header_from = False
        facts = self.env["mail.routing"]._get_facts()
        for line in self._that_are_kept():
            user, company = line._origin.user_id, line._origin.company_id
            draft = Draft(
                user.email_formatted or "",
                company_id=company.id,
                author=user._author_from(line.sudo().alias_domain_id),
            )
            line.header_from = decide(draft, facts).header_from
