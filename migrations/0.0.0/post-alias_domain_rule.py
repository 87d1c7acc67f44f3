# SPDX-License-Identifier: LGPL-3.0-only
"""At each upgrade: an administrator sees the domains of all his companies, ticked or not."""

EARLIER = "['|', ('company_id', '=', False), ('company_id', 'in', company_ids)]"
#: as in security/mail_company_routing_rules.xml, which is only read at installation (noupdate)
NOW = (
    "['|', ('company_id', '=', False), ('company_id', 'in', user.company_ids.ids"
    " if user.has_group('base.group_system') else company_ids)]"
)


def migrate(cr, version):
    """Give the rule its new domain, unless an administrator has changed it."""
    cr.execute(
        """
        UPDATE ir_rule SET domain_force = %s
         WHERE trim(both E' \\n' from domain_force) = %s AND id IN (
               SELECT res_id FROM ir_model_data
                WHERE module = 'mail_company_routing' AND name = 'mail_alias_domain_rule_company')
        """,
        [NOW, EARLIER],
    )
