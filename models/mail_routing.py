import dataclasses
import weakref

from odoo import _, api, models, tools
from odoo.tools import str2bool

from ..routing import (
    Draft,
    Facts,
    Route,
    Server,
    Settings,
    ascii_address,
    decide,
    filter_domain,
    is_address,
)

SENDER_NAME_FORMATS = ("name_address", "name", "name_company")


class MailRouting(models.AbstractModel):
    """Gathers the facts for the decision, and asks it.

    Everything that needs a route comes here: sending, Test Connection, the wizards. The facts are
    kept in the ormcache, so a mail costs no query for them; see ``mail.routing.fact`` for how
    they are kept fresh.
    """

    _name = "mail.routing"
    _description = "Mail Routing"

    @api.model
    def _is_active(self):
        """Tell whether any option, server or domain asks for other than native behaviour.

        An untouched database must not pay a query for this, not even after its caches have been
        cleared. So "native" is remembered beside the caches, for the registry's present cache
        sequence: whoever changes a fact forgets it here, and changes the sequence for the others.
        """
        registry = self.env.registry
        sequence = registry.cache_sequence
        if sequence is not None and getattr(registry, "mail_routing_native_at", None) == sequence:
            return False
        active = self._asks_for_more_than_native()
        if not active and not getattr(registry, "mail_routing_changing", None):
            registry.mail_routing_native_at = sequence
        return active

    @api.model
    @tools.ormcache()
    def _asks_for_more_than_native(self):
        """Ask the database, past the records' cache: native's own reads stay what they are."""
        settings = self._gather_options()
        if settings["restrict_username"] or not settings["catch_all"]:
            return True
        for model in ("mail.alias.domain", "ir.mail_server", "res.company"):
            self.env[model].flush_model(self.env[model]._routing_fields)
        self.env.cr.execute(
            """
            SELECT EXISTS (SELECT 1 FROM mail_alias_domain WHERE active)
                OR EXISTS (
                    SELECT 1 FROM ir_mail_server
                    WHERE active AND (company_id IS NOT NULL OR sender_policy <> 'default')
                )
                OR EXISTS (
                    SELECT 1 FROM res_company
                    WHERE alias_domain_id IS NOT NULL
                        OR reply_to_by_company
                        OR email_from_by_company
                        OR mail_server_by_domain
                        OR mail_server_by_reply_to
                )
            """
        )
        return self.env.cr.fetchone()[0]

    @api.model
    def _forget_facts(self):
        """Have the facts gathered anew, here now and elsewhere once this is committed."""
        registry = self.env.registry
        cursor = self.env.cr
        if not hasattr(registry, "mail_routing_changing"):
            # the cursors that have changed facts and neither committed nor rolled back
            registry.mail_routing_changing = weakref.WeakSet()
        changing = registry.mail_routing_changing

        def forget():
            registry.mail_routing_native_at = None
            registry.clear_caches()

        def settle():
            changing.discard(cursor)
            # another thread may have gathered the former ones in between
            forget()

        forget()
        if cursor not in changing:
            changing.add(cursor)
            cursor.postcommit.add(settle)
            cursor.postrollback.add(settle)

    @api.model
    def _get_facts(self):
        """Give the facts of this database.

        :return: :class:`~..routing.Facts`, shared and immutable
        """
        config = tools.config
        return self._gather_facts(
            config.get("smtp_server") or "",
            config.get("smtp_user") or "",
            config.get("from_filter") or "",
            config.get("email_from") or "",
        )

    @api.model
    @tools.ormcache("smtp_server", "smtp_user", "from_filter", "email_from")
    def _gather_facts(self, smtp_server, smtp_user, from_filter, email_from):
        """Read the facts; the arguments are those of Odoo's configuration file."""
        mailboxes = self._gather_mailboxes()
        return Facts(
            settings=self._gather_settings(),
            companies=self._gather_companies(mailboxes),
            domains=self._gather_domains(),
            servers=self._gather_servers(),
            config_server=self._config_server(smtp_server, smtp_user, from_filter, email_from),
            mailbox=next(iter(mailboxes.get(False, ())), ""),
            mailboxes=tuple(login for logins in mailboxes.values() for login in logins),
        )

    @api.model
    def _gather_options(self):
        """Give the two switches of General Settings."""
        get_param = self.env["ir.config_parameter"].sudo().get_param
        return {
            "catch_all": str2bool(get_param("mail_company_routing.catch_all", "True"), True),
            "restrict_username": str2bool(
                get_param("mail_company_routing.restrict_username", "False"), False
            ),
        }

    @api.model
    def _gather_settings(self):
        get_param = self.env["ir.config_parameter"].sudo().get_param
        name_format = get_param("mail_company_routing.sender_name_format")
        return Settings(
            **self._gather_options(),
            sender_name_format=(
                name_format if name_format in SENDER_NAME_FORMATS else "name_address"
            ),
            catchall_domain=filter_domain(get_param("mail.catchall.domain") or ""),
            catchall_alias=get_param("mail.catchall.alias") or "",
            bounce_alias=get_param("mail.bounce.alias") or "",
            notification=ascii_address(
                self.env["ir.mail_server"]._get_default_from_address() or ""
            ).lower(),
        )

    @api.model
    def _gather_companies(self, mailboxes):
        # an archived company's documents may still be written about
        companies = self.env["res.company"].sudo().with_context(active_test=False).search([])
        return tuple(
            company._routing_fact(next(iter(mailboxes.get(company.id, ())), ""))
            for company in companies
        )

    @api.model
    def _gather_domains(self):
        domains = self.env["mail.alias.domain"].sudo().search([])
        return tuple(domain._routing_fact() for domain in domains)

    @api.model
    def _gather_servers(self):
        servers = self.env["ir.mail_server"].sudo().search([], order="sequence, id")
        return tuple(server._routing_fact() for server in servers)

    @api.model
    def _gather_mailboxes(self):
        """Give company id (False: none) -> logins of its confirmed incoming servers, in order."""
        servers = (
            self.env["fetchmail.server"]
            .sudo()
            .search([("state", "=", "done")], order="priority, id")
        )
        mailboxes = {}
        for server in servers:
            if server.server_type != "local" and is_address(server.user):
                mailboxes.setdefault(server.company_id.id, []).append(ascii_address(server.user))
        return mailboxes

    @api.model
    def _config_server(self, smtp_server, smtp_user, from_filter, email_from):
        """The server of the configuration file; it follows General Settings with its user."""
        from_filter = (
            self.env["ir.config_parameter"]
            .sudo()
            .get_param("mail.default.from_filter", from_filter)
            or ""
        )
        login = next(
            (text for text in (smtp_user, from_filter, email_from) if is_address(text)), ""
        )
        return Server(
            id=None,
            name=smtp_server or "odoo.conf",
            sender_address=ascii_address(login),
            has_username=bool(smtp_user),
            from_filter=from_filter,
        )

    @api.model
    def _sending_facts(self):
        """Give the facts with the servers that may be used here.

        Other addons withhold servers by overriding native's ``_find_mail_server``, such as the
        production server from a staging database. Where none does, these are all.
        """
        usable = self.env["ir.mail_server"]._usable_server_ids()
        return self._get_facts() if usable is None else self._facts_with_servers(usable)

    @api.model
    @tools.ormcache("server_ids")
    def _facts_with_servers(self, server_ids):
        facts = self._get_facts()
        return dataclasses.replace(
            facts, servers=tuple(server for server in facts.servers if server.id in server_ids)
        )

    @api.model
    def _decide(self, draft: Draft) -> Route:
        """Decide the route of one draft by this database's facts."""
        return decide(draft, self._sending_facts())

    @api.model
    def _sentence(self, reason):
        """Say a reason in the user's language."""
        return reason.sentence(self._translate)

    @api.model
    def _translate(self, sentence):
        """Give one of routing's sentences in the language of this environment."""
        return _(sentence)
