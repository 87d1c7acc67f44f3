# SPDX-License-Identifier: LGPL-3.0-only
import ast
import logging

from psycopg2 import sql

from odoo import _, api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.osv.expression import is_leaf

from ..routing import Alias, aliases_at

_logger = logging.getLogger(__name__)

#: key in the context: what native's searches for aliases shall find
LOOKUP = "mail_company_routing_alias_lookup"
#: key in the context: an :class:`AliasMemo`
MEMO = "mail_company_routing_alias_memo"
#: key in the context: an :class:`Asked`
ASKED = "mail_company_routing_alias_asked"
#: key in the context: an :class:`Owners`
OWNERS = "mail_company_routing_alias_owners"

#: fields that tell which record an alias belongs to
OWNED_BY = (
    "alias_defaults",
    "alias_force_thread_id",
    "alias_model_id",
    "alias_parent_model_id",
    "alias_parent_thread_id",
)
#: fields that say whether an alias is in a domain that it may be in
PLACED_BY = frozenset(
    {
        "alias_domain_id",
        "alias_force_thread_id",
        "alias_name",
        "alias_parent_model_id",
        "alias_parent_thread_id",
    }
)
#: makes (name, domain or none) unique; the name that it has in Odoo 17
UNIQUE_INDEX = "mail_alias_name_domain_unique"


# None of these can be in a context that comes by RPC, which holds no objects.


class NoAlias:
    """Native's searches by alias name find nothing: the question was answered already."""

    def answer(self, domain):
        """Give the aliases that a search finds; None: it does not search by name.

        :param domain: of the search
        """
        return [] if _names_asked(domain) is not None else None


class Addressed:
    """The aliases that one message is addressed to, for native's searches while it routes that.

    Native asks by local part: whether To has an alias of another model than the document that the
    message answers, which makes it a forward; then which aliases are addressed at all.

    :param aliases: all candidates, in native's order
    :param to: address -> those of them that it reaches; of To
    :param recipients: the same, of all recipients
    """

    def __init__(self, aliases, to, recipients):
        self._aliases = aliases
        self._to = to
        self._recipients = recipients

    def __bool__(self):
        return any(self._recipients.values())

    def answer(self, domain):
        """Give the ids that a search finds; None: it is not one of native's, by a list of names."""
        if not isinstance(_names_asked(domain), list | tuple):
            return None
        is_forward = any(
            is_leaf(leaf) and tuple(leaf[:2]) == ("alias_model_id", "!=") for leaf in domain
        )
        reached = self._to if is_forward else self._recipients
        ids = {id_ for found in reached.values() for id_ in found}
        found = self._aliases.filtered(lambda alias: alias.id in ids).filtered_domain(domain).ids
        if is_forward and found:
            # native then looks only at the recipients that made it a forward
            self._recipients = {
                address: ids
                for address, ids in self._recipients.items()
                if not set(ids).isdisjoint(found)
            }
        return found


class AliasMemo:
    """The aliases that were looked up by name for one message: each name costs one query at most.

    :param expected: names that will be asked for as well
    """

    def __init__(self, expected=()):
        self.expected = set(expected)
        self.known = set()
        self.ids = []


class Asked:
    """The names that native checks for being free, with the values they are part of.

    :param items: list of (values, whether their domain may be left out where it is not free)
    """

    def __init__(self, items):
        self.items = items


class Owners:
    """The companies of the records that new aliases are made for, in the aliases' order.

    :param company_ids: False for a record without one
    :param may_be: the ids of the companies whose domain an alias may have by what its own values
        say; None: of any
    """

    def __init__(self, company_ids, may_be=None):
        self.company_ids = company_ids
        self.may_be = may_be

    def lets(self, company_id):
        """Tell whether an alias may have the domain of a company."""
        return self.may_be is None or company_id in self.may_be

    def take(self, count):
        """Give the ids, once; if their number is another one, only False."""
        ids, self.company_ids = self.company_ids, []
        return ids if len(ids) == count else [False] * count


class MailAlias(models.Model):
    """An alias has a domain: ``sales@a.com`` is not ``sales@b.com``.

    As in Odoo 17. An alias without one is in the general alias domain, and is found by its local
    part, as in native.
    """

    _inherit = "mail.alias"

    # native's UNIQUE(alias_name) goes; an empty definition would have Odoo look for an index of
    # that name
    _sql_constraints = [("alias_unique", "CHECK(1=1)", "This address is an alias already.")]

    alias_domain_id = fields.Many2one(
        "mail.alias.domain",
        string="Email Domain",
        ondelete="restrict",
        index="btree_not_null",
        copy=False,
        default=lambda self: self._default_alias_domain_id(),
        help="The part of the address behind the @. Empty: the alias domain of General Settings.",
    )
    alias_full_name = fields.Char(
        string="Whole Address",
        compute="_compute_alias_full_name",
        store=True,
        precompute=True,
        index="btree_not_null",
    )
    alias_incoming_local = fields.Boolean(
        string="Any Domain",
        compute="_compute_alias_incoming_local",
        store=True,
        readonly=False,
        precompute=True,
        copy=False,
        help="Whatever the domain, mail to an address with this name before the @ arrives here,"
        " unless another alias has that address.",
    )

    def init(self):
        """Guard (name, domain or none): a constraint cannot have COALESCE, an index can."""
        super().init()
        self.env.cr.execute(
            """
            SELECT alias_name, array_agg(id) FROM mail_alias
            WHERE alias_name IS NOT NULL
            GROUP BY alias_name, COALESCE(alias_domain_id, 0) HAVING count(*) > 1
            """
        )
        twice = self.env.cr.fetchall()
        if twice:  # native's constraint was missing: log it and go on, as Odoo does
            _logger.error("Aliases that are there twice, rename them and update mail: %s", twice)
            return
        self.env.cr.execute(
            sql.SQL(
                "CREATE UNIQUE INDEX IF NOT EXISTS {}"
                " ON mail_alias (alias_name, COALESCE(alias_domain_id, 0))"
            ).format(sql.Identifier(UNIQUE_INDEX))
        )

    def _init_column(self, column_name):
        """Leave the aliases that are there in the general domain; a default is for new ones."""
        if column_name == "alias_domain_id":
            return None
        return super()._init_column(column_name)

    # ------------------------------------------------------------
    # Fields
    # ------------------------------------------------------------

    @api.model
    def _may_have_domains(self):
        """Tell whether there is any domain to have; while there is none, all is native."""
        routing = self.env["mail.routing"]
        return routing._is_active() and bool(routing._get_facts().domains)

    @api.model
    def _default_alias_domain_id(self):
        if not self._may_have_domains():
            return False
        return self.env.company.sudo().alias_domain_id.id

    @api.depends("alias_name", "alias_domain_id.name")
    def _compute_alias_full_name(self):
        # reading the domain would be a query that an untouched database does not pay
        known = not self.env.registry.ready or self.env["mail.routing"]._is_active()
        for alias in self:
            name = alias.alias_name
            domain = alias.sudo().alias_domain_id.name if known and name else False
            alias.alias_full_name = f"{name}@{domain}" if domain else name

    @api.depends("alias_domain_id")
    def _compute_alias_incoming_local(self):
        for alias in self:
            alias.alias_incoming_local = not alias.alias_domain_id

    @api.depends("alias_name", "alias_domain_id.name")
    def _compute_alias_domain(self):
        """Print each alias with its own domain, wherever Odoo and its apps print it."""
        result = super()._compute_alias_domain()
        if self._may_have_domains():
            for alias in self:
                # sudo: the address of an alias is no secret to those who may read it
                domain = alias.sudo().alias_domain_id
                if domain:
                    alias.alias_domain = domain.name
        return result

    # ------------------------------------------------------------
    # Writing
    # ------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        """Give a new alias the domain of its record's company, where it is free there."""
        if not self._may_have_domains():
            aliases = super().create(vals_list)
            self._notice_local(vals_list)
            return aliases
        vals_list = [dict(vals) for vals in vals_list]
        owners = self.env.context.get(OWNERS)
        count = len(vals_list)
        owner_ids = owners.take(count) if isinstance(owners, Owners) else [False] * count
        asked = []
        for vals, owner_id in zip(vals_list, owner_ids, strict=True):
            is_default = "alias_domain_id" not in vals
            if is_default:
                company = self.env["res.company"].browse(owner_id) or self._company_of(vals)
                # native makes it as superuser, with values that a user gave
                if isinstance(owners, Owners) and not owners.lets(company.id):
                    company = self.env.company
                vals["alias_domain_id"] = company.sudo().alias_domain_id.id
            if vals.get("alias_name"):
                asked.append((vals, is_default))
        creating = self.with_context(**{ASKED: Asked(asked)})
        aliases = super(MailAlias, creating).create(vals_list).with_env(self.env)
        aliases._check_company_of_domain()
        return aliases

    def write(self, vals):
        """Refuse an address that is taken in that domain, in a sentence.

        An alias that takes mail of any domain goes on doing so in another domain: forwarders may
        rely on it.
        """
        aliases = self
        before = None
        if not PLACED_BY.isdisjoint(vals) and self._may_have_domains():
            before = self.sudo()._placed()
        keeps = self.browse()
        if vals.get("alias_domain_id") and "alias_incoming_local" not in vals:
            keeps = self.filtered(lambda one: one.alias_domain_id and one.alias_incoming_local)
        if vals.get("alias_domain_id") or self._may_have_domains():
            if vals.get("alias_name") and len(self) == 1:
                asked = {"alias_domain_id": self.alias_domain_id.id, **vals}
                # an app's data names the alias of a record that was there before
                nobody_chose = not (
                    self.env.registry.ready or self.alias_name or "alias_domain_id" in vals
                )
                if nobody_chose and self._clash(
                    vals["alias_name"].lower(), self.alias_domain_id.id
                ):
                    self.alias_domain_id = asked["alias_domain_id"] = False
                aliases = self.with_context(**{ASKED: Asked([(asked, nobody_chose)])})
            elif "alias_domain_id" in vals and "alias_name" not in vals:
                named = self.filtered("alias_name")
                named._check_free([(alias.alias_name, vals["alias_domain_id"]) for alias in named])
        result = super(MailAlias, aliases).write(vals)
        keeps.filtered(lambda alias: not alias.alias_incoming_local).alias_incoming_local = True
        if before is not None:
            # apps may write the values that the alias has already
            now = self.sudo()._placed()
            self.filtered(lambda one: now[one.id] != before[one.id])._check_company_of_domain()
        self._notice_local([vals])
        return result

    @api.model
    def _notice_local(self, vals_list):
        """Make the addon active once an alias is not found by its local part, as in native."""
        says_so = any("alias_incoming_local" in vals for vals in vals_list)
        if says_so and not self._may_have_domains():
            self.env["mail.routing"]._forget_facts("activity")

    def _clean_and_check_unique(self, names):
        """Clean names as native does, and see whether each is free in its domain.

        Native's own check, by name alone, finds nothing.
        """
        asked = self.env.context.get(ASKED)
        if not isinstance(asked, Asked):
            # the name is a parameter's, which native finds by its local part in any domain
            if not (self and self._may_have_domains()):
                return super()._clean_and_check_unique(names)
            # of several aliases there is no one domain
            domain_id = self.alias_domain_id.id if len(self) == 1 else False
            asked = Asked([({"alias_domain_id": domain_id}, False)] * len(names))
        cleaning = self.with_context(**{LOOKUP: NoAlias(), ASKED: None})
        names = super(MailAlias, cleaning)._clean_and_check_unique(names)
        aliases = self.with_context(**{ASKED: None})
        pairs, nobody_chose = [], set()
        for name, (vals, is_default) in zip(names, asked.items, strict=True):
            if is_default and vals["alias_domain_id"]:
                pair = (name, vals["alias_domain_id"])
                if pair in pairs or aliases._clash(*pair):
                    vals["alias_domain_id"] = False  # as it would be without any domain
            if is_default and not vals["alias_domain_id"]:
                nobody_chose.add(name)
            pairs.append((name, vals["alias_domain_id"]))
        aliases._check_free(pairs, nobody_chose)
        return names

    def _check_free(self, pairs, nobody_chose=()):
        """Refuse addresses that are taken.

        :param pairs: list of (name, id of the alias domain or False)
        :param nobody_chose: names that are in the general domain for want of another; where that is
            in the table, they may be its catchall or bounce address: an app that comes with one
            could not be installed otherwise, and native's own check has passed
        :raise UserError: which, by what, and what helps
        """
        for index, pair in enumerate(pairs):
            reason = self._clash(*pair, reserved=pair[0] not in nobody_chose)
            if not reason and pair in pairs[:index]:
                reason = _("Two aliases would have the address %s.", self._address_of(*pair))
            if reason:
                raise UserError(reason)

    @api.model
    def _address_of(self, name, domain_id):
        """Give the address that an alias of a domain is shown with."""
        domain = self.env["mail.alias.domain"].sudo().browse(domain_id or ()).name
        domain = domain or self.env["mail.routing"]._get_facts().settings.catchall_domain
        return f"{name}@{domain}" if domain else name

    def _clash(self, name, domain_id, reserved=True):
        """Say why these aliases cannot have an address; ``""``: they can.

        :param name: cleaned, see :meth:`_clean_and_check_unique`
        :param domain_id: id of the alias domain; False: the general one
        :param reserved: whether the domain's catchall and bounce addresses count as taken
        """
        facts = self.env["mail.routing"]._get_facts()
        general = facts.settings.catchall_domain
        domains = self.env["mail.alias.domain"].sudo()
        domain = domains.browse(domain_id or ())
        # the general domain may be in the table as well: one address, and one alias has it
        ids = {domain.id}
        if domain.name == general:
            ids.add(False)
        elif not domain and general in facts.domain_named:
            ids.add(facts.domain_named[general].id)
        address = self._address_of(name, domain.id)
        for each in (domain or domains.browse(id_ for id_ in ids if id_)) if reserved else domains:
            if name == (each.bounce_alias or "").lower():
                return _(
                    "%(address)s is the bounce address of %(domain)s: mail to it would be taken for"
                    " a delivery report. Choose another name.",
                    address=address,
                    domain=each.unicode_name,
                )
            if name == (each.catchall_alias or "").lower():
                return _(
                    "%(address)s is the catchall address of %(domain)s, for answers alone. Choose"
                    " another name.",
                    address=address,
                    domain=each.unicode_name,
                )
        taken = self._plain().search(
            [
                ("alias_name", "=", name),
                ("alias_domain_id", "in", list(ids)),
                ("id", "not in", self.ids),
            ],
            limit=1,
        )
        if not taken:
            return ""
        document = taken._document()
        user = taken.alias_model_id.sudo().name
        if document:
            user = f"{document._description} {document.display_name}"
        return _(
            "The address %(address)s is used already, by %(user)s. Choose another name or another"
            " domain, or change it there first.",
            address=address,
            user=user,
        )

    def _document(self):
        """Give the record that has the alias; an empty one where there is none."""
        self.ensure_one()
        for model, record_id in (
            (self.alias_parent_model_id.sudo().model, self.alias_parent_thread_id),
            (self.alias_model_id.sudo().model, self.alias_force_thread_id),
        ):
            if model in self.env and record_id:
                record = self.env[model].sudo().browse(record_id).exists()
                if record:
                    return record
        return self.env["mail.thread"].browse()

    @api.model
    def _company_of(self, vals):
        """Give the company that a new alias is for: its record's, its default values', the one in
        force.
        """
        alias = self.new({name: vals[name] for name in OWNED_BY if name in vals})
        return alias.sudo()._owners()[alias] or self.env.company

    def _owners(self):
        """Give alias -> the company of its record or of its default values, an empty one if none.

        One query for each model of records.
        """
        nobody = self.env["res.company"]
        records = {}
        for alias in self:
            document = (alias.alias_parent_model_id.model, alias.alias_parent_thread_id)
            forced = (alias.alias_model_id.model, alias.alias_force_thread_id)
            for model, record_id in (forced, document):
                if model in self.env and record_id:
                    records.setdefault(model, {})[alias] = record_id
                    break
        owners = {}
        for model, id_by_alias in records.items():
            found = self.env[model].sudo().browse(id_by_alias.values()).exists()
            companies = found._mail_get_companies(default=nobody) if found else {}
            for alias, record_id in id_by_alias.items():
                owners[alias] = companies.get(record_id, nobody)
        return {alias: owners.get(alias) or alias._company_of_defaults() for alias in self}

    def _company_of_defaults(self):
        """Give the company that the default values of new records name, an empty one if none."""
        self.ensure_one()
        try:
            defaults = self.alias_defaults or {}
            company_id = dict(
                ast.literal_eval(defaults) if isinstance(defaults, str) else defaults
            ).get("company_id")
        except Exception:  # native refuses it in a sentence
            company_id = False
        return self.env["res.company"].browse(company_id or ()).exists()

    def _owners_elsewhere(self):
        """Give alias -> its record's company, of those that are in another company's domain.

        A domain that the record's company has as its Email Domain is its own, too.
        """
        owned = self.filtered(lambda alias: alias.alias_name and alias.alias_domain_id).sudo()
        owned = owned.filtered("alias_domain_id.company_id")
        return {
            alias: company
            for alias, company in (owned._owners() if owned else {}).items()
            if company
            and company not in alias.alias_domain_id.company_id + alias.alias_domain_id.company_ids
        }

    def _check_company_of_domain(self):
        """Refuse a domain that is another company's than the record is, as Odoo 17 does.

        :raise ValidationError: which, whose, and what helps
        """
        for alias, company in self._owners_elsewhere().items():
            document = alias._document()
            raise ValidationError(
                _(
                    "%(address)s is in the domain of %(company)s, but would bring mail to"
                    " %(owner)s (%(document)s). Choose a domain of %(owner)s, or one that all"
                    " companies share.",
                    address=alias.alias_full_name,
                    company=alias.alias_domain_id.company_id.name,
                    owner=company.name,
                    document=document.display_name if document else alias.alias_model_id.name,
                )
            )

    def _placed(self):
        """Give alias id -> what says whether it is in a domain that it may be in."""
        return {
            alias.id: (
                bool(alias.alias_name),
                alias.alias_domain_id.id,
                alias.alias_force_thread_id,
                alias.alias_parent_model_id.id,
                alias.alias_parent_thread_id,
            )
            for alias in self
        }

    # ------------------------------------------------------------
    # Looking up
    # ------------------------------------------------------------

    @api.model
    def _search(self, domain, *args, **kwargs):
        """Answer native's searches while it routes a message by what is known already.

        Native searches by local part in the middle of ``message_route``, which has no other hook.
        """
        lookup = self.env.context.get(LOOKUP)
        if isinstance(lookup, Addressed | NoAlias):
            ids = lookup.answer(domain)
            if ids is not None:
                ids = ids[: kwargs.get("limit")]
                return len(ids) if kwargs.get("count") else ids
        return super()._search(domain, *args, **kwargs)

    @api.model
    def _named(self, names):
        """Give the aliases of these names, in native's order.

        Within the processing of one message, each name is looked up once.
        """
        memo = self.env.context.get(MEMO)
        if not isinstance(memo, AliasMemo):
            memo = AliasMemo()
        # an alias's name is ASCII; PostgreSQL takes no NUL, and no half of a surrogate pair
        asked = {name for name in {*names, *memo.expected} if name.isascii() and name.isprintable()}
        missing = asked - memo.known - {""}
        if missing and not asked.intersection(names) <= memo.known:
            found = self._plain().search(
                [("alias_name", "in", sorted(missing))], order=f"{self._order}, id"
            )
            memo.known |= missing
            memo.ids += found.ids
        return self._plain().browse(memo.ids).filtered(lambda alias: alias.alias_name in names)

    @api.model
    def _plain(self):
        """Give this model as superuser, without prepared answers."""
        return self.sudo().with_context(**{LOOKUP: None, ASKED: None})

    @api.model
    def _reached(self, addresses, allowed=()):
        """Give address -> the ids of the aliases that it reaches; see ``routing.aliases_at``.

        :param allowed: the domains to which native restricts what is found by local part
        """
        addresses = list(dict.fromkeys(addresses))
        facts = self.env["mail.routing"]._get_facts()
        aliases = self._named({_local_part(address) for address in addresses})
        known = [alias._routing_alias() for alias in aliases]
        return {
            address: [alias.id for alias in aliases_at(address, known, facts, allowed)]
            for address in addresses
        }

    @api.model
    def _addressed(self, to, recipients, allowed=()):
        """Give the :class:`Addressed` of a message.

        :param to: the addresses of To, as native is to see them
        :param recipients: those of all recipients
        """
        reached = self._reached([*to, *recipients], allowed)
        ids = {id_ for found in reached.values() for id_ in found}
        names = {_local_part(address) for address in reached}
        return Addressed(
            self._named(names).filtered(lambda alias: alias.id in ids),
            {address: reached[address] for address in to},
            {address: reached[address] for address in recipients},
        )

    def _routing_alias(self) -> Alias:
        """Give what routing may know of this alias, without a query for its domain."""
        self.ensure_one()
        return Alias(
            id=self.id,
            name=self.alias_name,
            domain=(self.alias_full_name or "").rpartition("@")[2] if self.alias_domain_id else "",
            by_local_part=self.alias_incoming_local,
        )


def _local_part(address):
    return address.partition("@")[0].lower()


def _names_asked(domain):
    """Give the name or names that a search asks for, None where it asks for none."""
    for leaf in domain:
        if is_leaf(leaf) and leaf[0] == "alias_name" and leaf[1] in ("in", "=") and leaf[2]:
            return leaf[2]
    return None
