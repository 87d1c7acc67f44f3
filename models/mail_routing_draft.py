# SPDX-License-Identifier: LGPL-3.0-only
import ast
import dataclasses
import re
from collections import defaultdict

from odoo import SUPERUSER_ID, _, api, models

from ..routing import (
    Company,
    Draft,
    Server,
    ascii_address,
    author_of,
    company_of_mail,
    parse_mailbox,
)
from ..smtp import SmtpSession

#: the document in a Message-Id that ``tools.generate_tracking_message_id`` made
_TRACKED_DOCUMENT = re.compile(r"-openerp-(\d+)-([\w.]+)@")

_NO_COMPANY = Company(0, "")


class MailRoutingDraft(models.AbstractModel):
    """Every way to a draft: from values of a new message, from mails, from a built message.

    A *row* is what is known of a mail, a dict; each key may be missing:

    - ``model``, ``res_id``: its document
    - ``email_from``: as stored, ``"Name <address>"``
    - ``author_id``: id of the partner who is its author
    - ``mail_server_id``: id of a server that is named on it
    - ``reply_to``, ``reply_to_force_new``, ``headers``: as in ``mail.mail``
    - ``record_company_id``: its company, where that has been decided
    - ``current_company_id``: the company in force when it was written; missing: this environment's
    """

    _inherit = "mail.routing"

    # ------------------------------------------------------------
    # Whose it is
    # ------------------------------------------------------------

    @api.model
    def _companies_of(self, rows):
        """Decide the company of each row; in one query for the users of all, where any is needed.

        :return: list of (company id, rule) in the order of the rows; see
            :func:`~..routing.company_of_mail`
        """
        facts = self._get_facts()
        documents = self.env["mail.message"]._companies_of_documents(
            (row.get("model"), row.get("res_id")) for row in rows
        )
        known = []
        open_rows = []
        for row in rows:
            server_id = row.get("mail_server_id")
            values = {
                "document_company_id": documents.get((row.get("model"), row.get("res_id"))),
                "server": self.env["ir.mail_server"]._server_fact(server_id) if server_id else None,
                "address": _address(row.get("email_from")),
                "partner_id": row.get("author_id"),
                "current_company_id": row.get("current_company_id") or self.env.company.id,
            }
            known.append(values)
            server = values["server"]
            if not (values["document_company_id"] or (server and server.company_id)):
                open_rows.append(values)
        if len(facts.companies) > 1:
            users = self._users_by_address(
                {(values["address"], values["partner_id"]) for values in open_rows}
            )
            for values in open_rows:
                values["users"] = users.get(values["address"], ())
        return [company_of_mail(facts, **values) for values in known]

    @api.model
    def _users_by_address(self, wanted):
        """Find the internal users who have these addresses.

        :param wanted: set of (address in lower case, id of the partner who writes or None)
        :return: dict of address -> list of :class:`~..routing.User`
        """
        me = self.env.user
        mine = (me.sudo().email_normalized, me.sudo().partner_id.id)
        if wanted == {mine} and me._is_internal():
            # the user is the author, and known already
            return {mine[0]: [me.sudo()._routing_user()]}
        found = defaultdict(list)
        unknown = set()
        for address, partner_id in wanted:
            # the message's author counts; that of a mailing is in the cache after its first mail
            author = self._user_of_partner(partner_id, address)
            if author:
                found[address].append(author._routing_user())
            elif address:
                unknown.add(address)
        for user in self._search_users(unknown):
            found[user.email_normalized].append(user._routing_user())
        return found

    @api.model
    def _user_of_partner(self, partner_id, address):
        """Give the internal user, as superuser, whose contact it is and who has this address."""
        partner = self.env["res.partner"].sudo().with_context(active_test=False)
        partner = partner.browse(partner_id or ())
        if not address or partner.email_normalized != address:
            return self.env["res.users"]
        return partner.user_ids.filtered(
            lambda user: not user.share and (user.active or user.id == SUPERUSER_ID)
        )[:1]

    @api.model
    def _search_users(self, addresses):
        """Give the internal users, as superuser, who have one of these addresses (lower case)."""
        addresses = list(set(addresses))
        users = self.env["res.users"].sudo().with_context(active_test=False)
        if not addresses:
            return users
        return users.search(
            [
                ("partner_id.email_normalized", "in", addresses),
                ("share", "=", False),
                "|",
                ("active", "=", True),
                ("id", "=", SUPERUSER_ID),  # OdooBot, who is archived
            ],
            order="id",
        )

    @api.model
    def _authors(self, wanted):
        """Find the colleagues behind the senders of some drafts, in one query for all.

        :param wanted: iterable of (address in lower case, company id, id of the author's partner)
        :return: dict of the same -> :class:`~..routing.Author`; without those whose company has
            no Mail From by Company, and those that are no internal user's address
        """
        facts = self._get_facts()
        wanted = {
            key
            for key in wanted
            if key[0] and facts.company.get(key[1], _NO_COMPANY).email_from_by_company
        }
        if not wanted:
            return {}
        by_address = defaultdict(dict)
        for user in self._search_users(address for address, _company, _partner in wanted):
            by_address[user.email_normalized][user._routing_user()] = user
        authors = {}
        for key in wanted:
            address, company_id, partner_id = key
            user = author_of(by_address[address], partner_id, company_id)
            if user:
                authors[key] = by_address[address][user]._routing_author(company_id)
        return authors

    @api.model
    def _author(self, address, company_id, partner_id=None):
        """Find the colleague behind one address; see :meth:`_authors`."""
        key = (address, company_id, partner_id)
        return self._authors([key]).get(key)

    # ------------------------------------------------------------
    # Drafts
    # ------------------------------------------------------------

    @api.model
    def _drafts(self, mails, *, anew=False):
        """Read the drafts of some mails, all at once.

        :param mails: records of ``mail.mail``; or messages, without what the mail alone has
        :param anew: as they were before their Reply-To was decided
        :return: list of (id, :class:`~..routing.Draft`)
        """
        fnames = [
            "author_id",
            "create_uid",
            "email_from",
            "mail_server_id",
            "model",
            "record_company_id",
            "reply_to",
            "reply_to_force_new",
            "res_id",
        ]
        if "headers" in mails._fields:
            fnames.append("headers")
        # like native, which reads these as the message's reader may not: see _add_inherited_fields
        rows = mails.sudo().read(fnames, load=None)
        for row in rows:
            if anew:
                row["reply_to"] = ""
            if not row["record_company_id"] and row["create_uid"]:
                # written before anything was set: the company in force is not known any more
                writer = self.env["res.users"].sudo().browse(row["create_uid"])
                row["current_company_id"] = writer.company_id.id
        return list(zip((row["id"] for row in rows), self._drafts_of(rows), strict=True))

    @api.model
    def _drafts_of(self, rows):
        """Give the drafts of some rows, all at once.

        :return: list of :class:`~..routing.Draft`, in the order of the rows
        """
        undecided = [row for row in rows if not row.get("record_company_id")]
        decided = self._companies_of(undecided) if undecided else []
        rules = {}
        for row, (company_id, rule) in zip(undecided, decided, strict=True):
            row["record_company_id"] = company_id
            rules[id(row)] = rule
        authors = self._authors(map(_author_key, rows))
        drafts = []
        for row in rows:
            server_id = row.get("mail_server_id")
            drafts.append(
                Draft(
                    email_from=row.get("email_from") or "",
                    company_id=row["record_company_id"],
                    company_rule=rules.get(id(row), ""),
                    author=authors.get(_author_key(row)),
                    server=(
                        self.env["ir.mail_server"]._server_fact(server_id) if server_id else None
                    ),
                    reply_to=parse_mailbox(row.get("reply_to") or "").address,
                    return_path=_return_path(row.get("headers")),
                )
            )
        natives = self._with_natives_reply_to(drafts)
        lacking = []
        for number, (row, draft) in enumerate(zip(rows, drafts, strict=True)):
            if not draft.reply_to or number in natives:
                # while nothing is set, native sends a mail without one as it is
                untouched = row.get("id") and not self._is_active()
                to_author = bool(row.get("reply_to_force_new") or untouched)
                drafts[number] = dataclasses.replace(
                    draft, reply_to="", answers_to_author=to_author
                )
                if not to_author:
                    lacking.append(number)
        if lacking:
            self._answer(rows, drafts, lacking)
        return drafts

    @api.model
    def _with_natives_reply_to(self, drafts):
        """Tell in which drafts Reply-To is only the author's own address.

        If the author is a colleague, native set it, having no other; an address of somebody else
        was given on purpose. One query for all, if any is needed.

        :return: set of positions in the list
        """
        own = {}
        for number, draft in enumerate(drafts):
            address = _address(draft.email_from)
            if draft.reply_to and draft.reply_to.lower() == address:
                own[number] = address
        unknown = {address for number, address in own.items() if not drafts[number].author}
        colleagues = set(self._search_users(unknown).mapped("email_normalized"))
        return {
            number
            for number, address in own.items()
            if drafts[number].author or address in colleagues
        }

    @api.model
    def _answer(self, rows, drafts, numbers):
        """Complete drafts that have no Reply-To as the models of their documents have it.

        :param drafts: list, parallel to ``rows``; changed in place
        :param numbers: which of them
        """
        groups = defaultdict(list)
        for number in numbers:
            row, draft = rows[number], drafts[number]
            model = row.get("model") if row.get("model") in self.env and row.get("res_id") else None
            groups[model, draft.company_id, draft.email_from, row.get("author_id")].append(number)
        for (model, company_id, email_from, author_id), group in groups.items():
            # sudo: who writes on a document need not be in its company
            thread = self.env[model or "mail.thread"].sudo().with_company(company_id)
            thread = thread.with_context(mail_routing_author_id=author_id)
            records = thread.browse([rows[number]["res_id"] for number in group] if model else ())
            records = records.exists() if model else records
            answers = records._notify_get_reply_to(default=email_from)
            aliases = records._mail_document_aliases()
            for number in group:
                key = rows[number]["res_id"] if model else False
                if model and key not in answers:  # deleted meanwhile
                    continue
                name, address = parse_mailbox(answers[key] or "")
                drafts[number] = dataclasses.replace(
                    drafts[number],
                    answer=ascii_address(address) or address,
                    answer_name=name,
                    document_alias=aliases.get(key, ""),
                )

    # ------------------------------------------------------------
    # One mail that is not in the queue
    # ------------------------------------------------------------

    @api.model
    def _draft_of_message(self, message, mail_server_id=None) -> Draft:
        """Read the draft of a message that is built already.

        :param message: ``email.message.EmailMessage``, as ``build_email`` makes it
        :param mail_server_id: a server the caller names
        """
        document = _TRACKED_DOCUMENT.search(str(message["Message-Id"] or ""))
        email_from = str(message["From"] or "")
        reply_to = str(message["Reply-To"] or "")
        # ``build_email`` writes From where the caller gave none
        given = parse_mailbox(reply_to).address.lower() != parse_mailbox(email_from).address.lower()
        return_path = ascii_address(str(message["Return-Path"] or ""))
        (draft,) = self._drafts_of(
            [
                {
                    "model": document[2] if document else None,
                    "res_id": int(document[1]) if document else None,
                    "email_from": email_from,
                    "mail_server_id": mail_server_id,
                    "reply_to": reply_to if given else "",
                }
            ]
        )
        invented = return_path.lower() in self._get_facts().invented_return_paths
        return dataclasses.replace(draft, return_path="" if invented else return_path)

    @api.model
    def _draft_of_sender(self, email_from, author_id=None) -> Draft:
        """Give the draft of a mail of which no more is known than its sender.

        :param author_id: id of the partner who writes it, where that is known
        """
        row = {"email_from": email_from, "author_id": author_id}
        ((company_id, rule),) = self._companies_of([row])
        address = parse_mailbox(email_from).address.lower()
        author = self._author(address, company_id, author_id)
        return Draft(email_from, company_id=company_id, company_rule=rule, author=author)

    @api.model
    def _draft_of_session(self, message, smtp_session) -> Draft:
        """Read the draft of a message for a session that somebody else opened.

        :param smtp_session: :class:`~..smtp.SmtpSession`; another object says nothing of its server
        """
        ours = isinstance(smtp_session, SmtpSession)
        if ours and smtp_session.server_id:
            server = self.env["ir.mail_server"]._server_fact(smtp_session.server_id)
        else:
            user = _text_of(smtp_session, "user")
            server = Server(
                id=None,
                name=_text_of(smtp_session, "_host") or _("the mail server"),
                sender_address=ascii_address(user),
                has_username=bool(user),
                from_filter=_text_of(smtp_session, "from_filter"),
            )
        named = smtp_session.named if ours else True
        return dataclasses.replace(
            self._draft_of_message(message, server.id if named else None),
            server=server,
            server_named=named,
        )


def _address(email_from):
    """Give the address in a stored ``email_from``, in lower case."""
    return parse_mailbox(email_from or "").address.lower()


def _author_key(row):
    """Give the key of a row's author in the result of ``_authors``."""
    return (
        _address(row.get("email_from")),
        row["record_company_id"],
        row.get("author_id") or None,
    )


def _return_path(headers):
    """Give the Return-Path that the caller put into ``mail.mail.headers``, ``""`` without one."""
    if not headers or "return-path" not in headers.lower():
        return ""
    try:
        values = dict(ast.literal_eval(headers))
    except Exception:
        return ""  # native ignores such headers as well, whatever is wrong with them
    found = [str(value) for key, value in values.items() if str(key).lower() == "return-path"]
    return ascii_address(found[0]) if found else ""


def _text_of(smtp_session, name):
    """Give a text that native keeps on a connection, ``""`` without one."""
    value = getattr(smtp_session, name, None)
    return value if isinstance(value, str) else ""
