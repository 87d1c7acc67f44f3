# SPDX-License-Identifier: LGPL-3.0-only
import logging
import re

from markupsafe import Markup

from odoo import SUPERUSER_ID, _, api
from odoo.tools import sql

from .models.ir_config_parameter import PREFIX
from .models.mail_alias import UNIQUE_INDEX

_logger = logging.getLogger(__name__)

#: what docs/upgrade_17.py needs to know after the addon is gone
UPGRADE_PLAN = f"{PREFIX}upgrade_plan"
#: native's constraint on mail.alias, and its definition
CONSTRAINT = "mail_alias_alias_unique"
DEFINITION = "UNIQUE(alias_name)"


def uninstall_hook(cr, registry):
    """Leave a database as native has it.

    The parameters are deleted here, since Odoo does not know which module wrote them. Aliases get
    names that are unique without a domain, and native's constraint comes back.
    """
    env = api.Environment(cr, SUPERUSER_ID, {})
    parameters = env["ir.config_parameter"].search([("key", "=like", f"{PREFIX}%")])
    parameters.filtered(
        lambda parameter: parameter.key.startswith(PREFIX) and parameter.key != UPGRADE_PLAN
    ).unlink()
    renamed = rename_duplicates(env)
    env.flush_all()
    sql.drop_index(cr, UNIQUE_INDEX, "mail_alias")
    sql.drop_constraint(cr, "mail_alias", CONSTRAINT)
    sql.add_constraint(cr, "mail_alias", CONSTRAINT, DEFINITION)
    if renamed:
        tell_administrators(env, renamed)


def rename_duplicates(env):
    """Make the names of all aliases unique, and give [(address before, name after)].

    Of several with one name, the one without a domain keeps it, else the first. The others are
    named after their domain: ``sales@b.com`` becomes ``sales-b.com``.
    """
    env["mail.alias"].flush_model()
    env.cr.execute(
        """
        SELECT a.id, a.alias_name, d.name FROM mail_alias a
        LEFT JOIN mail_alias_domain d ON d.id = a.alias_domain_id
        WHERE a.alias_name IS NOT NULL
        ORDER BY a.alias_domain_id IS NOT NULL, d.sequence, d.id, a.id
        """
    )
    rows = env.cr.fetchall()
    taken = {name for _id, name, _domain in rows}
    kept = set()
    renamed = []
    for alias_id, name, domain in rows:
        if name not in kept:
            kept.add(name)
            continue
        # as native cleans a name when it is saved
        base = re.sub(r"[^\w+.]+", "-", f"{name}-{domain or alias_id}")
        new, number = base, 1
        while new in taken:
            number += 1
            new = f"{base}-{number}"
        taken.add(new)
        kept.add(new)
        env.cr.execute("UPDATE mail_alias SET alias_name = %s WHERE id = %s", [new, alias_id])
        renamed.append((f"{name}@{domain}" if domain else name, new))
    env["mail.alias"].invalidate_model()
    return renamed


def tell_administrators(env, renamed):
    """Say in the log, and to the administrators in Odoo, which aliases have another name."""
    lines = [f"{before} -> {after}" for before, after in renamed]
    _logger.warning(
        "Aliases that were renamed, as their names are unique without a domain: %s",
        ", ".join(lines),
    )
    administrators = env.ref("base.group_system").users.partner_id
    listed = Markup("").join(Markup("<li>%s</li>") % line for line in lines)
    message = env["mail.message"].create(
        {
            "message_type": "user_notification",
            "subject": _("Aliases were renamed"),
            "body": Markup("<p>%s</p><ul>%s</ul>")
            % (
                _(
                    "Mail Company Routing was uninstalled. Without it an alias has no domain of its"
                    " own, and its name has to be unique. What had the name of another alias was"
                    " renamed: mail to the addresses on the left no longer arrives here."
                ),
                listed,
            ),
            "author_id": env.ref("base.partner_root").id,
            "partner_ids": [(6, 0, administrators.ids)],
        }
    )
    # in Odoo alone: nothing is sent while modules change
    env["mail.notification"].create(
        [
            {
                "mail_message_id": message.id,
                "res_partner_id": partner.id,
                "notification_type": "inbox",
            }
            for partner in administrators
        ]
    )
