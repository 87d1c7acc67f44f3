# SPDX-License-Identifier: LGPL-3.0-only
import dataclasses
import re
from functools import lru_cache

from lxml import etree

from odoo import _, api, models
from odoo.tools import formataddr

from ..routing import Draft, decide_reply_to, parse_mailbox

#: conditions of native's forms: there is no general domain, there is one
_NO_DOMAIN = re.compile(r"""\(\s*['"]alias_domain['"]\s*,\s*['"]=['"]\s*,\s*False\s*\)""")
_SOME_DOMAIN = re.compile(r"""\(\s*['"]alias_domain['"]\s*,\s*['"]!=['"]\s*,\s*False\s*\)""")


class Base(models.AbstractModel):
    _inherit = "base"

    @api.model
    def _where_calc(self, domain, *args, **kwargs):
        """Refuse to search by the route of a mail through fields of other models.

        Odoo may join those models in one query, without checking that the last field may be read.
        """
        for leaf in domain or ():
            name = leaf[0] if isinstance(leaf, list | tuple) and leaf else None
            if isinstance(name, str) and ".sent_" in name:
                self.env["mail.notification"]._check_route_access(name)
        return super()._where_calc(domain, *args, **kwargs)

    def _mail_get_companies(self, default=None):
        """Give the company that each document's mail belongs to.

        As in Odoo 17: the document's ``company_id``, else the default. Override it for a model
        that keeps its company elsewhere.

        :param default: a ``res.company``, an empty one too; None: the company in force
        :return: dict of record id -> ``res.company``; for an empty recordset the one key False
        """
        default = self.env.company if default is None else default
        field = self._fields.get("company_id")
        if field is None or field.comodel_name != "res.company" or not self:
            return {record_id: default for record_id in self.ids or [False]}
        return {record.id: record.company_id or default for record in self.sudo()}

    def _notify_get_reply_to(self, default=None):
        """Answer with an address that exists; see :func:`~..routing.decide_reply_to`."""
        routing = self.env["mail.routing"]
        if not routing._is_active():
            return super()._notify_get_reply_to(default=default)
        facts = routing._sending_facts()
        records = self if self._name != "mail.thread" else self.browse()
        companies = records._mail_get_companies()
        aliases = records._mail_document_aliases()
        name, address = parse_mailbox(default or "")
        author_id = self.env.context.get("mail_routing_author_id")
        author_id = author_id if isinstance(author_id, int) else None
        author_in = lru_cache(
            lambda company_id: routing._author(address.lower(), company_id, author_id)
        )
        result = {}
        for record_id, company in companies.items():
            draft = Draft(
                email_from=default or "",
                company_id=company.id,
                document_alias=aliases.get(record_id, ""),
            )
            reply_to, reason = decide_reply_to(draft, facts)
            if facts.has_reply_domains or reason.rule in ("reply_default", "reply_login"):
                # only then the author's address in this company matters
                draft = dataclasses.replace(draft, author=author_in(company.id))
                reply_to, reason = decide_reply_to(draft, facts)
            if not reply_to:
                result[record_id] = default
            elif reason.rule == "reply_default":
                same = reply_to.lower() == address.lower()
                result[record_id] = default if same else formataddr((name, reply_to))
            else:
                record = records.browse(record_id or ()).with_prefetch(records.ids)
                # sudo: who writes on a document need not be in its company
                result[record_id] = (
                    record.sudo()
                    .with_company(company)
                    ._notify_get_reply_to_formatted_email(
                        reply_to, (record.display_name or "") if record else ""
                    )
                )
        return result

    def _that_may_be_answered(self):
        """Give those of these documents that the user may read: Reply-To tells name and address.

        It does not matter which companies are ticked in the switcher.
        """
        if self.env.su or not self:
            return self
        records = self.with_context(allowed_company_ids=self.env.user.company_ids.ids)
        if not records.check_access_rights("read", raise_exception=False):
            return self.browse()
        return records._filter_access_rules("read").with_env(self.env)

    def _mail_document_aliases(self):
        """Give record id -> the document's own alias (a project's, a team's).

        It is a local part, which reaches the alias in any domain; or a whole address, where the
        alias has a domain, or where the same name in another domain is another alias. It is empty
        where the alias has no address that is its own.
        """
        if not self.ids:
            return {}
        aliases = self.env["mail.alias"]
        aliases.flush_model()
        # by SQL, past the access rules: the address for answers is no secret to the author
        self.env.cr.execute(
            """
            SELECT own.alias_parent_thread_id, own.alias_name, own.alias_full_name,
                   own.alias_domain_id IS NULL AND EXISTS (
                       SELECT FROM mail_alias other
                        WHERE other.alias_name = own.alias_name
                          AND other.alias_domain_id IS NOT NULL
                   )
              FROM mail_alias own
             WHERE own.alias_parent_model_id = %s AND own.alias_parent_thread_id IN %s
               AND own.alias_name IS NOT NULL
             ORDER BY own.alias_model_id, own.alias_name, own.id
            """,
            [self.env["ir.model"]._get_id(self._name), tuple(self.ids)],
        )
        names = {}
        for record_id, name, full_name, is_ambiguous in self.env.cr.fetchall():
            answers = full_name or name
            if is_ambiguous:
                whole = aliases._address_of(name, False)
                answers = whole if "@" in whole else ""
            names.setdefault(record_id, answers)
        return names

    # ------------------------------------------------------------
    # Aliases in forms
    # ------------------------------------------------------------

    def _compute_field_value(self, field):
        """Print an alias with its own domain also where a model computes ``alias_domain`` itself.

        The journals of accounting do. Where the alias is inherited, the field is the alias's own.
        """
        super()._compute_field_value(field)
        if field.name != "alias_domain" or self._name == "mail.alias" or field.related:
            return
        alias_field = self._fields.get("alias_id")
        if alias_field is None or alias_field.comodel_name != "mail.alias":
            return
        if self.env["mail.alias"]._may_have_domains():
            for record in self:
                # sudo: the address of an alias is no secret to those who may read the record
                alias = record.sudo().alias_id
                if alias.alias_domain_id:
                    record.alias_domain = alias.alias_domain

    @api.model
    def _get_view_cache_key(self, view_id=None, view_type="form", **options):
        """Cache forms in which a domain can be chosen apart from the others."""
        key = super()._get_view_cache_key(view_id, view_type, **options)
        return (*key, self._general_domain()) if self._shows_alias(view_type) else key

    @api.model
    def _get_view(self, view_id=None, view_type="form", **options):
        """Let every form that prints ``alias_name@alias_domain`` choose the domain.

        One mechanism for all apps, those that are not known here too. While there is no domain to
        choose, the form is native's.
        """
        arch, view = super()._get_view(view_id, view_type, **options)
        if self._shows_alias(view_type):
            for node in arch.xpath(
                "//field[@name='alias_name']/following-sibling::field[@name='alias_domain']"
                "[not(@invisible)]"
            ):
                let_choose_domain(node, self._general_domain() or _("domain"))
            for node in arch.xpath("//*[contains(@attrs, 'alias_domain')]"):
                node.set("attrs", with_domains(node.get("attrs")))
        return arch, view

    @api.model
    def _general_domain(self):
        return self.env["mail.routing"]._get_facts().settings.catchall_domain

    @api.model
    def _shows_alias(self, view_type):
        """Tell whether forms of this model show an alias that can have a domain."""
        return (
            view_type == "form"
            and "alias_domain" in self._fields
            and "alias_domain_id" in self._fields
            and self.env["mail.alias"]._may_have_domains()
        )


def let_choose_domain(node, placeholder):
    """Put the choice of a domain in the place of the one that is printed, behind the name.

    :param node: ``<field name="alias_domain"/>``; it stays, for the conditions that name it
    :param placeholder: what an alias without a domain shows there
    """
    choice = etree.Element(
        "field",
        {
            "name": "alias_domain_id",
            "class": "oe_inline",
            "placeholder": placeholder,
            "options": "{'no_create': True, 'no_open': True}",
        },
    )
    node.set("invisible", "1")
    node.addnext(choice)  # its tail is behind the choice then
    name = node.getprevious()
    if name is None or name.get("name") != "alias_name":
        return
    # one line, whatever the width
    address = etree.Element("span", {"class": "d-inline-flex align-items-baseline mw-100"})
    name.addprevious(address)
    address.tail, choice.tail = choice.tail, None
    address.extend([name, node, choice])  # the @ is the name's tail


def with_domains(attrs):
    """Let conditions on ``alias_domain`` hold as if there were a general domain.

    A domain can be chosen, whether there is a general one or not.
    """
    attrs = _NO_DOMAIN.sub("(0, '=', 1)", attrs)
    return _SOME_DOMAIN.sub("(1, '=', 1)", attrs)
