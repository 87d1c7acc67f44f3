import dataclasses
from functools import lru_cache

from odoo import api, models
from odoo.tools import formataddr

from ..routing import Draft, decide_reply_to, parse_mailbox


class Base(models.AbstractModel):
    _inherit = "base"

    @api.model
    def _where_calc(self, domain, *args, **kwargs):
        """Refuse to search by the route of a mail across models that Odoo joins by itself.

        A partner's messages, and their notifications, are searched in one query, in which nobody
        asks whether the last one's field may be read.
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
        :return: dict of record id -> ``res.company``; of no record the one key False
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
                # only then the address that he has in this company matters
                draft = dataclasses.replace(draft, author=author_in(company.id))
                reply_to, reason = decide_reply_to(draft, facts)
            if not reply_to:
                result[record_id] = default
            elif reason.rule == "reply_default":
                same = reply_to.lower() == address.lower()
                result[record_id] = default if same else formataddr((name, reply_to))
            else:
                record = records.browse(record_id or ())
                # sudo: who writes on a document need not be in its company
                result[record_id] = (
                    record.sudo()
                    .with_company(company)
                    ._notify_get_reply_to_formatted_email(
                        reply_to, (record.display_name or "") if record else ""
                    )
                )
        return result

    def _mail_document_aliases(self):
        """Give record id -> the local part of the document's own alias (a project's, a team's)."""
        if not self:
            return {}
        aliases = (
            self.env["mail.alias"]
            .sudo()
            .search(
                [
                    ("alias_parent_model_id.model", "=", self._name),
                    ("alias_parent_thread_id", "in", self.ids),
                    ("alias_name", "!=", False),
                ]
            )
        )
        names = {}
        for alias in aliases:
            names.setdefault(alias.alias_parent_thread_id, alias.alias_name)
        return names
