# SPDX-License-Identifier: LGPL-3.0-only
import dataclasses

from odoo import _, api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import str2bool

from ..routing import DEFAULT_SENDER_NAME_FORMAT, is_restricted
from ..routing.retry import DEFAULT_HOURS
from .mail_lane import RETRY_HOURS

CATCH_ALL = "mail_company_routing.catch_all"
RESTRICT_USERNAME = "mail_company_routing.restrict_username"

#: names that a line of General Settings lists at most
MOST_NAMES = 3


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    # No config_parameter on the two Booleans: Odoo stores False by deleting the parameter, and an
    # absent Catch All means on.
    mail_catch_all = fields.Boolean(
        string="Catch All",
        default=True,
        help="Mail to any address of the alias domain arrives in a mailbox that Odoo fetches. Turn"
        " it off when your provider has no catch-all: Odoo then invents no address, and answers go"
        " to the mailbox that is really fetched.",
    )
    mail_restrict_username = fields.Boolean(
        string="Restrict Username",
        help="For providers that let only the login send (Tencent, NetEase, Aliyun, QQ, Yandex and"
        " others): MAIL FROM and From become the login of the outgoing server, the author stays"
        " visible as the name.",
    )
    mail_sender_name_format = fields.Selection(
        # the keys of SENDER_NAME_FORMATS; the labels stand here for translation
        selection=[
            ("name_address", "Name and address: Lee (lee@example.com)"),
            ("name", "Name: Lee"),
            ("name_company", "Name and company: Lee via My Company"),
        ],
        string="Sender Name",
        default=DEFAULT_SENDER_NAME_FORMAT,
        config_parameter="mail_company_routing.sender_name_format",
        help="How the author is shown to the customer when From is the login address.",
    )

    # no config_parameter: Odoo stores 0 by deleting the parameter, and an absent one means 72
    mail_retry_hours = fields.Integer(
        string="Retry For (hours)",
        default=DEFAULT_HOURS,
        help="For how long a mail is tried again that a provider does not take for the time being,"
        " or whose server cannot be reached. Then it fails, with the last reply. 0: never, as"
        " native Odoo does.",
    )

    # shown beside hr_expense's expense_alias_prefix, where that is installed
    expense_alias_domain = fields.Char(string="Domain of the Expense Alias", readonly=True)

    @api.model
    def _get_view(self, view_id=None, view_type="form", **options):
        """Print the alias of expenses with its own domain, not with General Settings'."""
        arch, view = super()._get_view(view_id, view_type, **options)
        for node in arch.xpath(
            "//field[@name='expense_alias_prefix']/../field[@name='alias_domain']"
        ):
            node.set("name", "expense_alias_domain")
            node.attrib.pop("force_save", None)
        return arch, view

    # With an Alias Domain table, what the three old settings still decide
    alias_domain_note = fields.Char(compute="_compute_routing_notes")
    catch_all_note = fields.Char(compute="_compute_routing_notes")
    restrict_username_note = fields.Char(compute="_compute_routing_notes")

    @api.depends("alias_domain")
    def _compute_routing_notes(self):
        self.check_access_rights("read")  # it tells of servers and domains
        facts = self.env["mail.routing"]._get_facts()
        for settings in self:
            if not facts.domains:
                settings.alias_domain_note = False
                settings.catch_all_note = False
                settings.restrict_username_note = False
                continue
            settings.alias_domain_note = settings._note_on_alias_domain(facts)
            settings.catch_all_note = settings._note_on_catch_all(facts)
            settings.restrict_username_note = settings._note_on_restrict_username(facts)

    def _note_on_alias_domain(self, facts):
        """Say for whom the one domain of native Odoo still counts."""
        archived = self.env["res.company"].sudo().with_context(active_test=False)
        archived = set(archived.search([("active", "=", False)]).ids)
        without = [
            (company.name, company.id)
            for company in facts.companies
            if not company.domain_id and company.id not in archived
        ]
        if without:
            return _("Still used by companies without an Email Domain: %s.", self._some(without))
        return _("Not used any more: every company has an Email Domain.")

    def _note_on_catch_all(self, facts):
        """Say for which domains Catch All still counts."""
        following = [
            (domain.name, domain.company_id)
            for domain in facts.domains
            if domain.catch_all == "default"
        ]
        if following:
            return _("Decides for: %s. Other domains say for themselves.", self._some(following))
        return _("Each domain of the table says for itself whether it has a catch-all.")

    def _note_on_restrict_username(self, facts):
        """Say for which servers Restrict Username still counts."""
        following = [
            (server.name, server.company_id)
            for server in facts.servers
            if server.policy == "default" and server.has_username
        ]
        if following:
            return _("Decides for the servers: %s. Others have a policy.", self._some(following))
        return _("Each outgoing server has a Sender Policy of its own.")

    def _some(self, found):
        """List some names, the first of them where they are many.

        :param found: (name, id of the company whose it is) of each; what is of companies that the
            user does not work in is not named
        """
        mine = (None, *self.env.user.company_ids.ids)
        names = [name for name, company_id in found if self.env.su or company_id in mine]
        some = names[:MOST_NAMES]
        return ", ".join([*some, "…"] if len(some) < len(found) else some)

    @api.model
    def get_values(self):
        get_param = self.env["ir.config_parameter"].sudo().get_param
        expenses = self.env.ref("hr_expense.mail_alias_expense", raise_if_not_found=False)
        return {
            **super().get_values(),
            "expense_alias_domain": expenses.sudo().alias_domain if expenses else False,
            "mail_catch_all": str2bool(get_param(CATCH_ALL, "True"), True),
            "mail_restrict_username": str2bool(get_param(RESTRICT_USERNAME, "False"), False),
            "mail_retry_hours": self.env["mail.lane"]._retry_hours(),
        }

    def set_values(self):
        result = super().set_values()
        set_param = self.env["ir.config_parameter"].sudo().set_param
        set_param(CATCH_ALL, str(self.mail_catch_all))
        set_param(RESTRICT_USERNAME, str(self.mail_restrict_username))
        set_param(RETRY_HOURS, str(self.mail_retry_hours))
        return result

    @api.constrains("mail_retry_hours")
    def _check_mail_retry_hours(self):
        if any(settings.mail_retry_hours < 0 for settings in self):
            raise ValidationError(_("Retry For: enter a number of hours; 0 means never."))

    @api.constrains("mail_restrict_username")
    def _check_mail_restrict_username(self):
        if not any(settings.mail_restrict_username for settings in self):
            return
        facts = self.env["mail.routing"]._get_facts()
        then = dataclasses.replace(
            facts, settings=dataclasses.replace(facts.settings, restrict_username=True)
        )
        # sudo: the setting is for all companies; whose servers may not be read are only counted
        # pylint: disable-next=no-search-all
        servers = self.env["ir.mail_server"].sudo().search([])
        servers = servers.filtered(
            lambda server: (
                is_restricted(server._routing_fact(), then) and not server._login_address()
            )
        )
        readable = servers.with_env(self.env)._that_may_be_read().sudo()
        nameless = [f"{server.name} ({server.smtp_user})" for server in readable]
        if servers - readable:
            nameless.append(
                _("%s of other companies: ask their administrators", len(servers - readable))
            )
        config = facts.config_server
        if not facts.servers and is_restricted(config, then) and not config.sender_address:
            nameless.append(f"{config.name} (smtp_user)")
        if nameless:
            raise ValidationError(
                _(
                    "Restrict Username cannot be turned on yet: the login of these outgoing mail"
                    " servers is no e-mail address. Fill in their Login Address, or set their"
                    " Sender Policy to 'Any sender':\n%s",
                    "\n".join(f"- {name}" for name in nameless),
                )
            )
