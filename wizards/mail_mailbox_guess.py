# SPDX-License-Identifier: LGPL-3.0-only
"""Set Up a Mailbox: what an address alone tells of its provider."""

import json
import threading

from odoo import _, api, fields, models

from ..discovery import Network, find
from ..routing import ascii_address, domain_of, is_address


class MailMailboxSetup(models.TransientModel):
    _inherit = "mail.mailbox.setup"

    # What was found for the address, as JSON. What differs from it in the form was typed, and stays
    # when the address changes.
    guess = fields.Text(copy=False)
    found_by = fields.Char(string="Known From", compute="_compute_found_by")

    @api.onchange("email")
    def _onchange_email(self):
        """Let another address change what was guessed, and nothing that was typed."""
        # what the trial of another address has told
        self.result = self.asks_unverified = False
        if is_address(self.email or "") and not self._is_typed():
            guess, provider = self._guess(self.email)
            self.guess = json.dumps(guess)
            self.provider_id = provider

    @api.model
    def _with_guess(self, vals):
        """Give the values of a new wizard, with a provider where only the address is given."""
        email = vals.get("email") or ""
        if vals.get("provider_id") or "guess" in vals or not is_address(email):
            return vals
        guess, provider = self._guess(email)
        return {**vals, "guess": json.dumps(guess), "provider_id": provider.id}

    @api.model
    def _guess(self, email):
        """Find out what an address means.

        :return: (a dict that JSON can hold, the provider that fits)
        """
        self.check_access_rights("create")  # it asks the network
        providers = self.env["mail.provider"].search([("active", "=", True)])
        finding = find(
            ascii_address(email), [provider._preset() for provider in providers], self._network()
        )
        found = finding.found
        provider = providers.browse(found.preset if found and found.preset else ())
        guess = {
            "domain": finding.domain,
            "source": found.source if found else "",
            "where": found.where if found else "",
            "public": bool(found and found.public),
            "dns": finding.asked_dns or self._network() is None,
            "refused": [[one.source, one.where, one.why] for one in finding.refused],
            "servers": self._server_values(found.servers) if found and found.servers else {},
        }
        guess["provider"] = (provider or self._own_server()).id
        return guess, provider or self._own_server()

    @api.model
    def _network(self):
        """Give access to the network; None in tests, which have no Internet."""
        testing = getattr(threading.current_thread(), "testing", False)
        return None if testing else Network()

    @api.model
    def _own_server(self):
        """Give the provider that stands for all others, empty where it was deleted."""
        own = self.env.ref("mail_company_routing.mail_provider_own", raise_if_not_found=False)
        return own if own and own.active else self.env["mail.provider"]

    @api.model
    def _server_values(self, servers):
        """Give what was found of servers, by protocol."""
        return {
            kind: {
                "host": server.host,
                "port": server.port,
                "encryption": server.encryption,
                "login": server.login,
            }
            for kind in ("smtp", "imap", "pop")
            if (server := getattr(servers, kind))
        }

    def _guessed(self):
        """Give the guess in force, a dict; empty where there is none."""
        return self._read_guess(self.guess)

    @api.model
    def _read_guess(self, text):
        """Read what the form has kept; a call may bring anything in its place.

        :return: a dict with servers as :meth:`_server_values` gives them; empty where it is none
        """
        try:
            guess = json.loads(text or "{}")
            servers = guess.get("servers") or {}
            known = all(
                isinstance(server, dict)
                and all(isinstance(value, str | int) for value in server.values())
                and 0 <= int(server.get("port") or 0) < 65536
                for server in servers.values()
            )
            refused = all(
                len(one) == 3 and all(isinstance(word, str) for word in one)
                for one in guess.get("refused") or ()
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            return {}
        return guess if known and refused else {}

    def _is_typed(self):
        """Tell whether provider or servers are what somebody typed, not what was guessed."""
        guess = self._guessed()
        if (self.provider_id._origin.id or False) != (guess.get("provider") or False):
            return True
        known = self._known_values(self.provider_id, self.incoming_type, self.guess)
        return any(
            (self[name] or False) != (known[name] or False)
            for name in known
            if name.startswith(("smtp", "incoming"))
        )

    @api.model
    def _known_values(self, provider, incoming_type, guess):
        """Give what is known of a provider, or was found of servers that are no preset's."""
        values = self._provider_values(provider, incoming_type)
        guess = self._read_guess(guess)
        servers = guess.get("servers")
        if not servers or guess.get("provider") != (provider._origin.id or False):
            return values
        smtp = servers.get("smtp") or {}
        fetched = servers.get("pop" if incoming_type == "pop" else "imap") or {}
        return {
            **values,
            "smtp_host": smtp.get("host"),
            "smtp_port": smtp.get("port"),
            "smtp_encryption": smtp.get("encryption") or "ssl",
            "incoming_host": fetched.get("host"),
            "incoming_port": fetched.get("port") or values["incoming_port"],
            "incoming_ssl": True,
        }

    def _guessed_login(self):
        """Give the login where it is only a part of the address."""
        guess = self._guessed()
        kind = (guess.get("servers") or {}).get("smtp") or {}
        if kind.get("login") == "local" and guess.get("provider") == self.provider_id._origin.id:
            return (self.email or "").rpartition("@")[0]
        return ""

    def _guess_is_public(self, domain):
        """Tell whether everybody can have a mailbox in a domain, as far as was found."""
        guess = self._guessed()
        return bool(guess.get("public") and guess.get("domain") == domain)

    @api.depends("email", "guess", "incoming_host", "provider_id", "smtp_host")
    def _compute_found_by(self):
        for wizard in self:
            guess = wizard._guessed()
            here = domain_of(ascii_address(wizard.email or "")) == guess.get("domain")
            if not guess or not here or wizard._is_typed():
                wizard.found_by = ""
                continue
            sentences = [wizard._source_sentence(guess)]
            sentences += [wizard._refusal_sentence(*one) for one in guess.get("refused") or ()]
            if not guess.get("source") and not guess.get("dns"):
                sentences.append(
                    _(
                        "With the Python package dnspython, Odoo would also ask the domain's MX and"
                        " SRV records."
                    )
                )
            wizard.found_by = " ".join(sentence for sentence in sentences if sentence)

    def _source_sentence(self, guess):
        """Say where the settings were found."""
        name = guess.get("where") or ""
        return {
            "domain": _("%s is a domain of this provider.", name),
            "autoconfig": _("Found by what %s publishes for mail programs.", name),
            "well_known": _("Found by what %s publishes for mail programs.", name),
            "ispdb": _("Found by the domain %s in Thunderbird's list of providers.", name),
            "ispdb_mx": _("Found by the MX record of %s in Thunderbird's list of providers.", name),
            "mx": _("Found by the MX record of %s.", name),
            "srv": _("Found by the SRV records of %s.", name),
        }.get(
            guess.get("source"),
            _(
                "Nothing is known of %s: choose the provider, or fill in the page Servers.",
                guess.get("domain") or "",
            ),
        )

    def _refusal_sentence(self, source, name, why):
        """Say what is not believed, and why."""
        if why == "foreign":
            return _(
                "The SRV records of %s name a server of somebody else's, and nothing proves them:"
                " they are not used.",
                name,
            )
        if why == "hostile":
            return _("What %s publishes is no settings of a mail program: it is not used.", name)
        if why == "insecure":
            return _("What %s publishes leads away from HTTPS: it is not used.", name)
        return _("What %s publishes leads into an inner network: it is not used.", name)
