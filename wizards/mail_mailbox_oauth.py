# SPDX-License-Identifier: LGPL-3.0-only
"""Set Up a Mailbox at providers that log programs in by OAuth, through Odoo's own modules.

Both servers are made and archived, the provider is asked for its consent to the one that sends, and
``ir.http`` leads back here. What was consented to holds for both: their refresh tokens are one
account's. Then they are tried as any others, and only then active.
"""

import json
from urllib.parse import parse_qsl, urlencode, urlsplit

from odoo import _, api, fields, models
from odoo.exceptions import RedirectWarning

from ..models.oauth import MODULES


class MailMailboxSetup(models.TransientModel):
    _inherit = "mail.mailbox.setup"

    oauth_state = fields.Selection(
        selection=[
            ("missing", "Odoo's module is not installed"),
            ("unconfigured", "The app's credentials are missing"),
            ("ready", "Consent is to be given"),
            ("connected", "Consent was given"),
        ],
        compute="_compute_oauth",
    )
    oauth_redirect_uri = fields.Char(string="Redirect URI", compute="_compute_oauth")
    # never in the wizard's table: they go to the parameters that Odoo's own settings have
    oauth_client_id = fields.Char(
        string="Client ID", compute="_compute_oauth", inverse="_inverse_oauth_client_id"
    )
    oauth_client_secret = fields.Char(
        string="Client Secret", compute="_compute_oauth", inverse="_inverse_oauth_client_secret"
    )
    outgoing_id = fields.Many2one("ir.mail_server", copy=False)
    incoming_id = fields.Many2one("fetchmail.server", copy=False)

    @api.depends("oauth_module", "outgoing_id", "email")
    def _compute_oauth(self):
        self.check_access_rights("read")  # it tells of parameters
        get_param = self.env["ir.config_parameter"].sudo().get_param
        for wizard in self:
            module = MODULES.get(wizard.oauth_module)
            wizard.oauth_client_secret = False
            if not module:
                wizard.update(
                    {"oauth_state": False, "oauth_redirect_uri": False, "oauth_client_id": False}
                )
                continue
            wizard.oauth_client_id = get_param(f"{module.prefix}_client_id")
            wizard.oauth_redirect_uri = f"{self.get_base_url().rstrip('/')}{module.confirm}"
            if module.uri not in self.env["ir.mail_server"]._fields:
                wizard.oauth_state = "missing"
            elif not (wizard.oauth_client_id and get_param(f"{module.prefix}_client_secret")):
                wizard.oauth_state = "unconfigured"
            else:
                wizard.oauth_state = "connected" if wizard._has_consent() else "ready"

    def _inverse_oauth_client_id(self):
        self._set_credential("client_id", "oauth_client_id")

    def _inverse_oauth_client_secret(self):
        self._set_credential("client_secret", "oauth_client_secret")

    def _set_credential(self, name, field):
        """Keep a credential where Odoo's own settings keep it; an empty one changes nothing."""
        self.check_access_rights("write")
        parameters = self.env["ir.config_parameter"].sudo()
        for wizard in self:
            module = MODULES.get(wizard.oauth_module)
            if module and wizard[field]:
                parameters.set_param(f"{module.prefix}_{name}", wizard[field].strip())

    def _oauth_kind(self):
        """Give what Odoo's module calls its servers, ``""`` where a password logs in."""
        module = MODULES.get(self.oauth_module)
        return module.kind if module else ""

    def _has_consent(self):
        """Tell whether this address has its provider's consent already."""
        server = self.outgoing_id
        module = MODULES[self.oauth_module]
        return bool(
            server
            and server.smtp_authentication == module.kind
            and server.smtp_user == self.login
            and server[module.refresh]
        )

    def _check_oauth(self):
        """Refuse where Odoo's module, or its credentials, are not there."""
        if self.oauth_state in ("ready", "connected"):
            return
        raise RedirectWarning(
            _(
                "%(provider)s asks programs to log in by OAuth. Turn on '%(module)s Credentials' in"
                " General Settings, and enter the ones that you registered there; then set up the"
                " mailbox once more.",
                provider=self.provider_id.name,
                module=dict(self._fields["oauth_module"]._description_selection(self.env))[
                    self.oauth_module
                ],
            ),
            self.env.ref("base_setup.action_general_configuration").id,
            _("General Settings"),
        )

    def action_install_oauth(self):
        """Install Odoo's own module, and come back."""
        self.ensure_one()
        self.check_access_rights("write")
        action = self.env.ref("mail_company_routing.action_mail_mailbox_setup")
        back = {"type": "ir.actions.act_url", "target": "self", "url": f"/web#action={action.id}"}
        module = self.env["ir.module.module"].search([("name", "=", self.oauth_module)], limit=1)
        module.button_immediate_install()
        return back

    # ------------------------------------------------------------
    # Consent
    # ------------------------------------------------------------

    def _ask_consent(self):
        """Make both servers, archived, and open the provider's consent to them.

        :return: the action that opens it
        """
        module = MODULES[self.oauth_module]
        outgoing = self._outgoing() or self.env["ir.mail_server"].create(
            {"name": self.email, **self._outgoing_values(), "active": False}
        )
        self.outgoing_id = outgoing
        incoming = self._incoming()
        if not incoming and self.incoming_type != "none":
            incoming = incoming.create(
                {"name": self.email, **self._incoming_values(), "active": False}
            )
        self.incoming_id = incoming
        uri = outgoing[module.uri]
        if module.fetching and incoming:
            uri = _with_scope(uri, module.fetching)
        return {"type": "ir.actions.act_url", "url": uri, "target": "self"}

    def _share_consent(self, incoming):
        """Let the server that fetches have the consent that was given to the one that sends."""
        module = MODULES[self.oauth_module]
        incoming.write({name: self.outgoing_id[name] for name in module.shared})

    def _retire_passwords(self, outgoing, incoming):
        """Archive the servers of this mailbox that log in by password, now that OAuth does."""
        company = outgoing.company_id
        outgoing.search(
            [
                ("id", "!=", outgoing.id),
                ("smtp_host", "=", outgoing.smtp_host),
                ("smtp_user", "=", outgoing.smtp_user),
                ("company_id", "=", company.id),
            ]
        ).active = False
        if incoming:
            incoming.search(
                [
                    ("id", "!=", incoming.id),
                    ("server", "=", incoming.server),
                    ("user", "=", incoming.user),
                    ("company_id", "=", company.id),
                ]
            ).active = False

    @api.model
    def _way_back(self, state):
        """Give where to go on once a provider gave its consent, None: nowhere here.

        :param state: what the provider was told, and says again: JSON, already verified
        """
        if not self.env.user._is_system():
            return None
        try:
            told = json.loads(state or "")
            server_id = told["id"] if told["model"] == "ir.mail_server" else None
        except (KeyError, TypeError, ValueError):
            return None
        if not isinstance(server_id, int):
            return None
        wizard = self.search(
            [("outgoing_id", "=", server_id), ("create_uid", "=", self.env.uid)],
            order="id desc",
            limit=1,
        )
        return wizard and f"/web#id={wizard.id}&model={self._name}&view_type=form"


def _with_scope(uri, scope):
    """Add a scope to the address at which a consent is asked for."""
    parts = urlsplit(uri)
    asked = dict(parse_qsl(parts.query))
    asked["scope"] = f"{asked['scope']} {scope}"
    return parts._replace(query=urlencode(asked)).geturl()
