from odoo import models

from ..routing import Draft, decide_reply_to


class Base(models.AbstractModel):
    _inherit = "base"

    def _notify_get_reply_to(self, default=None):
        """Answer with an address that exists; see :func:`~..routing.decide_reply_to`."""
        facts = self.env["mail.routing"]._get_facts()
        if facts.is_native:
            return super()._notify_get_reply_to(default=default)
        records = self if self._name != "mail.thread" else self.browse()
        aliases = records._mail_document_aliases()
        result = {}
        for record_id in records.ids or [False]:
            record = records.browse(record_id) if record_id else records.browse()
            address, _reason = decide_reply_to(
                Draft(
                    email_from=default or "",
                    company_id=self.env.company.id,
                    document_alias=aliases.get(record_id, ""),
                ),
                facts,
            )
            result[record_id] = (
                self._notify_get_reply_to_formatted_email(
                    address, (record.display_name or "") if record_id else ""
                )
                if address
                else default
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
