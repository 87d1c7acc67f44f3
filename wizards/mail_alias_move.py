# SPDX-License-Identifier: LGPL-3.0-only
from odoo import _, api, fields, models


class MailAliasMove(models.TransientModel):
    """Give a company's aliases its Email Domain, or take them out of one it no longer has.

    Opened from the company. It says what each address becomes, and what stands against it.
    """

    _name = "mail.alias.move"
    _description = "Move Aliases"

    company_id = fields.Many2one("res.company", required=True, readonly=True)
    alias_domain_id = fields.Many2one(
        "mail.alias.domain",
        string="Into the Domain",
        help="Empty: the alias domain of General Settings.",
    )
    keep_local = fields.Boolean(
        string="Go on receiving what is sent to the old addresses",
        help="Mail to an address with the alias's name goes on arriving whatever its domain, unless"
        " another alias has that address. Turn it on where mail is forwarded from addresses that"
        " are not in the table of domains.",
    )
    line_ids = fields.One2many(
        "mail.alias.move.line",
        "move_id",
        compute="_compute_line_ids",
        store=True,
        readonly=False,
    )

    def name_get(self):
        return [(move.id, _("Move Aliases")) for move in self]

    def onchange(self, values, field_name, field_onchange):
        """Check access, as Odoo does not: the lines show addresses of other companies."""
        self.check_access_rights("write")
        return super().onchange(values, field_name, field_onchange)

    @api.depends("company_id", "alias_domain_id")
    def _compute_line_ids(self):
        for move in self:
            lines = [(5, 0, 0)]
            for alias in move.company_id._aliases_elsewhere(move.alias_domain_id):
                problem = alias._clash(alias.alias_name, move.alias_domain_id.id)
                lines.append(
                    (
                        0,
                        0,
                        {
                            "alias_id": alias.id,
                            "address": alias.display_name,
                            "becomes": alias._address_of(alias.alias_name, move.alias_domain_id.id),
                            "problem": problem or False,
                            # one in another domain of the company's own is there on purpose
                            "chosen": not problem
                            and not (
                                move.alias_domain_id
                                and alias.alias_domain_id.company_id == move.company_id
                            ),
                        },
                    )
                )
            move.line_ids = lines

    def action_move(self):
        """Move the chosen aliases, and show the company's."""
        self.ensure_one()
        aliases = self.line_ids.filtered("chosen").alias_id
        for alias in aliases:
            values = {"alias_domain_id": self.alias_domain_id.id}
            if self.keep_local:
                values["alias_incoming_local"] = True
            alias.write(values)
        action = self.env["ir.actions.act_window"]._for_xml_id("mail.action_view_mail_alias")
        return {**action, "domain": [("id", "in", self.line_ids.alias_id.ids)]}


class MailAliasMoveLine(models.TransientModel):
    _name = "mail.alias.move.line"
    _description = "Alias to Move"

    move_id = fields.Many2one("mail.alias.move", required=True, ondelete="cascade")
    alias_id = fields.Many2one("mail.alias", required=True, readonly=True, ondelete="cascade")
    chosen = fields.Boolean(string="Moves")
    address = fields.Char(string="Now", readonly=True)
    becomes = fields.Char(readonly=True)
    problem = fields.Char(string="What Stands against It", readonly=True)
