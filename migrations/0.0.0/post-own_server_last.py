# SPDX-License-Identifier: LGPL-3.0-only
"""At each upgrade: the preset that stands for all others comes last, as in new databases."""


def migrate(cr, version):
    """Move it behind the others, unless an administrator has moved it."""
    cr.execute(
        """
        UPDATE mail_provider SET sequence = 99
         WHERE sequence = 7 AND id IN (
               SELECT res_id FROM ir_model_data
                WHERE module = 'mail_company_routing' AND name = 'mail_provider_own')
        """
    )
