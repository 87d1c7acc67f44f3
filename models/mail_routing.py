# SPDX-License-Identifier: LGPL-3.0-only
import logging
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.errors import LockNotAvailable
from psycopg2.pool import PoolError

from odoo import SUPERUSER_ID, _, api, models, tools
from odoo.tools import str2bool

from ..routing import (
    DEFAULT_SENDER_NAME_FORMAT,
    SENDER_NAME_FORMATS,
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
from .mail_failure import ExplainedDeliveryException

_logger = logging.getLogger(__name__)

# a decision may fall on any company, domain and server: all of them are its facts
# pylint: disable=no-search-all

#: the parameters of the two switches of General Settings
OPTIONS = ("mail_company_routing.catch_all", "mail_company_routing.restrict_username")
#: all parameters that a route depends on
PARAMETERS = (
    *OPTIONS,
    "mail_company_routing.sender_name_format",
    "mail.bounce.alias",
    "mail.catchall.alias",
    "mail.catchall.domain",
    "mail.default.from",
    "mail.default.from_filter",
)

#: key of the data that a cursor keeps until its commit: the view that it had to read by itself
_READ_ALONE = "mail_company_routing_read_alone"

#: no view: see ``mail.routing._view``
NOWHERE = object()


class OwnView:
    """A view of the facts that one transaction has to itself, until a part of it is rolled back.

    It is a key in the ormcache that no other transaction can have.
    """


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
        cleared. So "native" is remembered beside the caches, for the view it was found in.
        """
        registry = self.env.registry
        view = self._view("activity")
        if getattr(registry, "mail_routing_native_in", NOWHERE) == view:
            return False
        active, is_shared = self._seen("activity", self._asks_for_more_than_native)
        # not where the view has changed meanwhile: it was not in this one
        if not active and is_shared and view == self._view("activity"):
            registry.mail_routing_native_in = view
        return active

    @api.model
    @tools.ormcache("view")
    def _asks_for_more_than_native(self, view):
        """Ask by SQL: the cache of records, and so native's own queries, stay as they are."""
        with self._reader(view) as reader:
            settings = reader._gather_options()
            if settings["restrict_username"] or not settings["catch_all"]:
                return True
            for model in ("mail.alias.domain", "ir.mail_server", "res.company"):
                reader.env[model].flush_model(self.env[model]._routing_fields)
            reader.env["mail.alias"].flush_model(["alias_domain_id", "alias_incoming_local"])
            reader.env.cr.execute(
                """
                SELECT EXISTS (SELECT 1 FROM mail_alias_domain WHERE active)
                    OR EXISTS (
                        SELECT 1 FROM ir_mail_server
                        WHERE active AND (
                            company_id IS NOT NULL OR sender_policy <> 'default'
                            OR max_per_minute > 0 OR max_per_day > 0
                        )
                    )
                    OR EXISTS (
                        SELECT 1 FROM res_company
                        WHERE alias_domain_id IS NOT NULL
                            OR reply_to_by_company
                            OR email_from_by_company
                            OR mail_server_by_domain
                            OR mail_server_by_reply_to
                    )
                    OR EXISTS (
                        SELECT 1 FROM mail_alias
                        WHERE alias_domain_id IS NULL AND NOT alias_incoming_local
                    )
                """
            )
            return reader.env.cr.fetchone()[0]

    # ------------------------------------------------------------
    # Facts: who sees which
    # ------------------------------------------------------------

    @api.model
    def _view(self, kind):
        """Give the key under which facts that this transaction may see are kept in the ormcache.

        Everybody shares one view, which lasts until the next change is announced: every worker
        counts those in ``cache_sequence``. A transaction that has changed facts has an
        :class:`OwnView`, and so has an installation, whose tables nobody else sees yet.

        :param kind: ``facts``; or ``activity``, for those that may end native behaviour
        """
        registry = self.env.registry
        if not registry.ready:
            return self._own_views(kind)[kind]
        own = getattr(self.env.transaction, "mail_routing_views", {})
        return own.get(kind) or registry.cache_sequence

    @api.model
    def _seen(self, kind, read, *args):
        """Read what this transaction may see.

        :param kind: as of :meth:`_view`
        :param read: method that takes a view, and the other arguments
        :return: (what ``read`` gives, whether all transactions share it)
        """
        view = self._view(kind)
        if isinstance(view, OwnView):
            return read(view, *args), False
        try:
            return read(view, *args), True
        except LockNotAvailable:  # maybe by this very transaction, if it alters the tables
            return read(self._own_views(kind)[kind], *args), False
        except (PoolError, psycopg2.OperationalError) as error:
            # nobody else sees what is read by this connection; native needs no second one either
            data = self.env.cr.postcommit.data
            if _READ_ALONE not in data:
                _logger.warning("There is no connection to read the settings by: %s", error)
                data[_READ_ALONE] = OwnView()
            return read(data[_READ_ALONE], *args), False

    @api.model
    def _forget_facts(self, *kinds):
        """Have the facts gathered again: here at once, elsewhere once this is committed.

        :param kinds: as of :meth:`_view`; none: all
        """
        kinds = kinds or ("facts", "activity")
        self._own_views(*kinds).update({kind: OwnView() for kind in kinds})
        self._drop_shared_facts()  # in Odoo's test mode others share the transaction

    @api.model
    def _own_views(self, *kinds):
        """Give this transaction views of its own, until it is committed or rolled back.

        :param kinds: as of :meth:`_view`, of those that it has at least
        :return: dict of kind -> :class:`OwnView`
        """
        cursor, transaction = self.env.cr, self.env.transaction
        views = getattr(transaction, "mail_routing_views", None)
        if views is None:
            views = transaction.mail_routing_views = {}
            clear = cursor.clear

            def clear_views():
                # Odoo calls this whenever a part of the transaction is undone, which has no hook
                clear()
                views.update({kind: OwnView() for kind in views})

            def settle():
                del transaction.mail_routing_views, cursor.clear
                self._drop_shared_facts()

            def announce():
                registry = transaction.registry
                if registry.ready:  # else Odoo announces the whole registry when it is
                    registry.signal_changes()

            cursor.clear = clear_views
            cursor.postcommit.add(settle)
            cursor.postcommit.add(announce)
            cursor.postrollback.add(settle)
        for kind in kinds:
            views.setdefault(kind, OwnView())
        return views

    @api.model
    def _drop_shared_facts(self):
        registry = self.env.registry
        registry.mail_routing_native_in = NOWHERE
        registry.clear_caches()

    @api.model
    @contextmanager
    def _reader(self, view):
        """Give the ``mail.routing`` that reads the facts of a view.

        The shared ones are read in a transaction of their own: this one may have begun before the
        last change was committed, and what it sees would stay with everybody.
        """
        if isinstance(view, OwnView):
            yield self.with_env(self.env(user=SUPERUSER_ID, context={}))
            return
        with closing(self.pool.cursor()) as cr:
            # a lock that this very thread holds would be waited for for ever
            cr.execute("SET LOCAL lock_timeout = '1s'")
            yield self.with_env(self.env(cr=cr, user=SUPERUSER_ID, context={}))

    @api.model
    def _get_facts(self):
        """Give the facts of this database.

        :return: :class:`~..routing.Facts`, shared and immutable
        """
        config = tools.config
        facts, _is_shared = self._seen(
            "facts",
            self._facts_in,
            config.get("smtp_server") or "",
            config.get("smtp_user") or "",
            config.get("from_filter") or "",
            config.get("email_from") or "",
        )
        return facts

    @api.model
    @tools.ormcache("view", "smtp_server", "smtp_user", "from_filter", "email_from")
    def _facts_in(self, view, smtp_server, smtp_user, from_filter, email_from):
        """Give the facts of a view; the others are those of Odoo's configuration file."""
        with self._reader(view) as reader:
            return reader._gather_facts(smtp_server, smtp_user, from_filter, email_from)

    @api.model
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
    def _gather_parameters(self, keys):
        """Read parameters past Odoo's cache of them, which may hold what is not committed.

        :return: dict of key -> value, of those that are set
        """
        parameters = self.env["ir.config_parameter"].sudo()
        parameters.flush_model(["key", "value"])
        self.env.cr.execute(
            "SELECT key, value FROM ir_config_parameter WHERE key IN %s", [tuple(keys)]
        )
        return dict(self.env.cr.fetchall())

    @api.model
    def _gather_options(self, parameters=None):
        """Give the two switches of General Settings."""
        if parameters is None:
            parameters = self._gather_parameters(OPTIONS)
        catch_all, restrict_username = (parameters.get(key) or "" for key in OPTIONS)
        return {
            "catch_all": str2bool(catch_all or "True", True),
            "restrict_username": str2bool(restrict_username or "False", False),
        }

    @api.model
    def _gather_settings(self):
        parameters = self._gather_parameters(PARAMETERS)
        name_format = parameters.get("mail_company_routing.sender_name_format")
        catchall_domain = parameters.get("mail.catchall.domain") or ""
        # as native's _get_default_from_address
        notification = parameters.get("mail.default.from") or ""
        if notification and "@" not in notification:
            notification = f"{notification}@{catchall_domain}" if catchall_domain else ""
        return Settings(
            **self._gather_options(parameters),
            sender_name_format=(
                name_format if name_format in SENDER_NAME_FORMATS else DEFAULT_SENDER_NAME_FORMAT
            ),
            catchall_domain=filter_domain(catchall_domain),
            catchall_alias=parameters.get("mail.catchall.alias") or "",
            bounce_alias=parameters.get("mail.bounce.alias") or "",
            notification=ascii_address(
                notification or tools.config.get("email_from") or ""
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
        key = "mail.default.from_filter"
        from_filter = self._gather_parameters([key]).get(key) or from_filter
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
        production server from a staging database. Where none does, these are all. While nothing
        asks for more than native, they are what native judges by.
        """
        facts = self._get_facts()
        if not self._is_active():
            return facts.without_options()
        usable = self.env["ir.mail_server"]._usable_server_ids()
        return facts if usable is None else facts.with_servers(usable)

    @api.model
    def _decide(self, draft: Draft) -> Route:
        """Decide the route of one draft by this database's facts."""
        return decide(draft, self._sending_facts())

    @api.model
    def _route(self, draft: Draft):
        """Decide; a mail that no server may send fails with the sentence that says why."""
        route = self._decide(draft)
        if route.failure:
            raise ExplainedDeliveryException(
                _("Mail Delivery Failed"), self._sentence(route.failure)
            )
        return route

    @api.model
    def _sentence(self, reason):
        """Say a reason in the user's language."""
        return reason.sentence(self._translate)

    @api.model
    def _translate(self, sentence):
        """Give one of routing's sentences in the language of this environment."""
        return _(sentence)
