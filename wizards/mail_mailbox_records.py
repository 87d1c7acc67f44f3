# SPDX-License-Identifier: LGPL-3.0-only
"""Set Up a Mailbox: the servers and the domain that a mailbox has already, and those it makes."""

from odoo import fields, models

from ..routing import ascii_address, domain_of


class MailMailboxSetup(models.TransientModel):
    _inherit = "mail.mailbox.setup"

    make_another = fields.Boolean(
        string="Make Another Server Instead",
        help="The server that is there stays as it is, and this company gets one of its own.",
    )

    share_domain = fields.Boolean(
        string="Leave the Domain to Everybody",
        help="The domain goes into the Alias Domain table without a company.",
    )

    def _outgoing(self):
        """Give the outgoing server that this mailbox has already, empty without one."""
        server = self.env["ir.mail_server"].with_context(active_test=False)
        if self.outgoing_id and self.outgoing_id.smtp_user == self.login:
            return self.outgoing_id.with_env(server.env)
        if not (self.smtp_host and self.login):
            return server
        servers = server.search(
            [("smtp_host", "=", self.smtp_host), ("smtp_user", "=", self.login)]
        )
        if self.oauth_module:  # one that logs in by password stays until the other works
            servers = servers.filtered_domain([("smtp_authentication", "=", self._oauth_kind())])
        return self._best(servers, only_own=self.make_another)

    def _incoming(self):
        """Give the incoming server that this mailbox has already, empty without one."""
        server = self.env["fetchmail.server"].with_context(active_test=False)
        login = self._login_to_fetch()
        if self.incoming_id and self.incoming_id.user == login:
            return self.incoming_id.with_env(server.env)
        if self.incoming_type == "none" or not (self.incoming_host and login):
            return server
        servers = server.search([("server", "=", self.incoming_host), ("user", "=", login)])
        if self.oauth_module:
            servers = servers.filtered_domain([("server_type", "=", self._oauth_kind())])
        return self._best(servers)

    def _best(self, servers, only_own=False):
        """Give one of several servers: the company's own comes first, then everybody's."""
        company = self.company_id._origin if self._many_companies() else self.company_id.browse()
        own = servers.filtered(lambda server: server.company_id == company)
        if own or only_own:
            return own[:1]
        return (servers.filtered(lambda server: not server.company_id) or servers)[:1]

    def _leaves_incoming(self, incoming):
        """Tell whether the mailbox is fetched for others already, and stays as it is."""
        return bool(
            incoming
            and self.make_another
            and self._many_companies()
            and incoming.company_id != self.company_id._origin
        )

    def _login_to_fetch(self):
        """Give the login of the mailbox that is fetched."""
        return self.incoming_login or self.login

    def _is_only_mailbox(self):
        """Tell whether no other mailbox is fetched, so that no catch-all can lead there."""
        others = self.env["mail.routing"]._get_facts().mailboxes
        return not set(others) - {ascii_address(self.email or ""), self.login}

    def _turns_catch_all_off(self):
        """Tell whether General Settings will have no catch-all, where the domain is everybody's."""
        fetched = self.incoming_type != "none"
        return not self.has_catch_all and fetched and self._is_only_mailbox()

    def _own_domain(self):
        """The domain that the address stands for; none where everybody may have a mailbox."""
        domain = domain_of(ascii_address(self.email or ""))
        if self._guess_is_public(domain) or self.env["mail.provider"]._is_public(domain):
            return ""
        return domain

    def _domain_there(self, name):
        """Give the row that a domain has in the table, whoever may see it; empty without one."""
        table = self.env["mail.alias.domain"].sudo().with_context(active_test=False)
        return table.search([("name", "=", name)])

    def _domain_of_others(self, name):
        """Give the row of a domain that is another company's, empty where it is not."""
        domain = self._domain_there(name)
        is_theirs = self._many_companies() and domain.company_id - self.company_id._origin
        return domain if is_theirs else domain.browse()

    def _is_everybodys(self, domain):
        """Tell whether a domain is that of General Settings, and not in the table yet."""
        facts = self.env["mail.routing"]._get_facts()
        return bool(
            domain
            and domain == facts.settings.catchall_domain
            and self._many_companies()
            and not self._domain_there(domain)
        )

    def _owner_of(self, domain):
        """Give the company that a domain will be of which is not in the table yet."""
        shared = self.share_domain and self._is_everybodys(domain)
        return self.company_id.browse() if shared else self.company_id._origin

    def _many_companies(self):
        return bool(self.company_id) and self.env["res.company"].sudo().search_count([]) > 1

    def _make_records(self, password):
        """Make or update the servers, the domain and the options; give both servers."""
        outgoing = self._outgoing()
        if outgoing:
            outgoing.write(self._outgoing_values())
        else:
            limits = {name: self.provider_id[name] for name in ("max_per_minute", "max_per_day")}
            values = {"name": self.email, **limits, **self._outgoing_values()}
            outgoing = outgoing.create(values)
        if not self.oauth_module:
            self._fill_in(outgoing, "smtp_pass", password)
        incoming = self._make_incoming(password)
        if self.oauth_module:
            self._retire_passwords(outgoing, incoming)
        self._make_options()
        return outgoing, incoming

    def _outgoing_values(self):
        """Give what the outgoing server will be."""
        return {
            "smtp_host": self.smtp_host,
            "smtp_port": self.smtp_port,
            "smtp_encryption": self.smtp_encryption,
            "smtp_authentication": self._oauth_kind() or "login",
            "smtp_user": self.login,
            "sender_address": ascii_address(self.email),
            "sender_policy": "login" if self.restricted else "any",
            "company_id": self.company_id.id if self._many_companies() else False,
            "active": True,
        }

    def _make_incoming(self, password):
        incoming = self._incoming()
        if self.incoming_type == "none" or self._leaves_incoming(incoming):
            return incoming
        values = self._incoming_values()
        if incoming:
            incoming.write(values)
        else:
            incoming = incoming.create({"name": self.email, **values})
        if self.oauth_module:
            self._share_consent(incoming)
        else:
            self._fill_in(incoming, "password", password)
        return incoming

    def _incoming_values(self):
        """Give what the incoming server will be."""
        return {
            "server_type": self._oauth_kind() or self.incoming_type,
            "server": self.incoming_host,
            "port": self.incoming_port,
            "is_ssl": self.incoming_ssl,
            "user": self._login_to_fetch(),
            "company_id": self.company_id.id if self._many_companies() else False,
            "active": True,
        }

    @staticmethod
    def _fill_in(server, field, password):
        """Write the password of a server in a statement of its own, which cannot fail.

        Odoo logs a statement that fails, with its values. All others are flushed before.
        """
        server.flush_recordset()
        server[field] = password
        server.flush_recordset([field])

    def _make_options(self):
        """Write the domain and the options that fit the provider."""
        # so that General Settings show the servers that there are now
        self.env["ir.config_parameter"].sudo().set_param(
            "base_setup.default_external_email_server", True
        )
        name = self._own_domain()
        catch_all = "yes" if self.has_catch_all else "no"
        company = self.company_id
        if not name:
            if self._turns_catch_all_off():
                self.env["ir.config_parameter"].sudo().set_param(
                    "mail_company_routing.catch_all", "False"
                )
        else:
            domain = self._domain_there(name).sudo(False)
            if not domain:
                domain = domain.create(
                    {
                        "name": name,
                        "company_id": self._owner_of(name).id,
                        "catch_all": catch_all,
                    }
                )
            elif not self._domain_of_others(name):
                domain.write({"active": True, "catch_all": catch_all})
            if company and not company.alias_domain_id and domain.active:
                company.alias_domain_id = domain
        if self._many_companies():
            company.mail_server_by_domain = True
