# SPDX-License-Identifier: LGPL-3.0-only
import logging
import secrets
from email.parser import BytesHeaderParser
from email.policy import SMTP
from xmlrpc.client import Binary

from markupsafe import Markup

from odoo import _, api, models
from odoo.exceptions import UserError
from odoo.service.model import PG_CONCURRENCY_ERRORS_TO_RETRY
from odoo.tools import consteq, email_normalize, email_split, hmac, mail_header_msgid_re

from ..routing import (
    ascii_address,
    company_of_incoming,
    company_that_answers,
    domain_of,
    headers_of,
    is_automatic,
    is_own_domain,
    read_incoming,
    recognise_report,
)
from .fetch_session import Fetching, TooLarge, attempt, with_message_id
from .mail_alias import LOOKUP, MEMO, AliasMemo, NoAlias
from .mail_delivery_note import ReportOfUnknownMail
from .mail_refusal import REFUSAL_HEADER, SEND_LATER

_logger = logging.getLogger(__name__)

#: headers that name recipients, in the order in which they count
RECIPIENT_HEADERS = ("To", "Cc", "Delivered-To", "X-Original-To", "Resent-To", "Resent-Cc")
#: what stands behind the @ in the Message-Id of a mail that tries a mailbox
TRIAL_DOMAIN = "mailbox.setup"
#: key in the context: the :class:`NewIn` of a new record
NEW_IN_COMPANY = "mail_company_routing_new_in_company"
#: key in the context: the :class:`NewIn` of the alias that refuses
REFUSED_BY = "mail_company_routing_refused_by"


class NewIn:
    """The company that a new record is made for, or refused in the name of.

    No context that comes by RPC can hold one.
    """

    def __init__(self, company_id):
        self.company_id = company_id


class MailThread(models.AbstractModel):
    """Incoming mail finds its company; what cannot be processed is kept."""

    _inherit = "mail.thread"

    def message_notify(self, **kwargs):
        """Answer as the document's company: native decides Reply-To before it has a message."""
        if "reply_to" not in kwargs and self.env["mail.routing"]._is_active():
            records = self
            if not self and kwargs.get("model") in self.env and kwargs.get("res_id"):
                records = self.env[kwargs["model"]].browse(kwargs["res_id"])
            if len(records) <= 1:
                answered = records._that_may_be_answered()
                author_id, email_from = self._message_compute_author(
                    kwargs.get("author_id"), kwargs.get("email_from"), raise_on_email=False
                )
                values = {
                    "model": answered._name if answered else None,
                    "res_id": answered.ids[0] if answered else None,
                    "author_id": author_id,
                    "email_from": email_from,
                    "mail_server_id": kwargs.get("mail_server_id"),
                }
                if records and not answered:
                    # its company still decides, but its name and address are not told
                    document = (records._name, records.ids[0])
                    owners = self.env["mail.message"]._companies_of_documents([document])
                    company_id = owners.get(document)
                    if company_id in self.env.user.company_ids.ids:
                        values["record_company_id"] = company_id
                kwargs["reply_to"] = self.env["mail.message"]._get_reply_to(values)
        return super().message_notify(**kwargs)

    # ------------------------------------------------------------
    # Incoming mail
    # ------------------------------------------------------------

    @api.model
    def message_process(self, model, message, *args, **kwargs):
        """Keep what was fetched and cannot be processed; native marks it as seen and forgets it."""
        fetching = Fetching.of(self.env)
        if fetching is None:
            thread = self._with_memo(message)
            return super(MailThread, thread).message_process(model, message, *args, **kwargs)
        try:
            with attempt(self.env.cr):
                if fetching.is_cut:
                    raise TooLarge("only the beginning of the mail was fetched")
                # what is sent meanwhile could not be taken back with the rows
                thread = self._with_memo(message).with_context(**{SEND_LATER: True})
                return super(MailThread, thread).message_process(
                    model, with_message_id(message), *args, **kwargs
                )
        except Exception as error:
            if getattr(error, "pgcode", None) in PG_CONCURRENCY_ERRORS_TO_RETRY:
                fetching.fetch_again()
                raise
            _logger.info("An incoming mail could not be processed; it is kept", exc_info=True)
            try:
                self.env["mail.unprocessed"]._keep(message, error)
            except Exception:
                fetching.fetch_again()
                raise
            return False

    @api.model
    def _with_memo(self, raw):
        """Say which names will be looked for among the aliases, so that it costs one query.

        :param raw: the message, as ``message_process`` takes it
        """
        if not self.env["mail.alias"]._may_have_domains():
            return self
        raw = raw.data if isinstance(raw, Binary) else raw
        raw = raw.encode() if isinstance(raw, str) else bytes(raw)
        message = BytesHeaderParser(policy=SMTP).parsebytes(raw)
        senders = headers_of(message.raw_items()).get("from", ())
        addresses = self._own_addresses(email_split(" ".join(senders)))
        addresses += self._recipients_in_order(message)
        memo = AliasMemo()
        memo.expected |= {address.partition("@")[0].lower() for address in addresses}
        return self.with_context(**{MEMO: memo})

    @api.model
    def message_route(self, message, message_dict, model=None, *args, **kwargs):
        """Route in the company that the message was sent to, by whole addresses."""
        if self._is_trial_id(message_dict.get("message_id") or ""):
            # left in the mailbox by a trial that failed before it was fetched
            _logger.info("Ignored a mail by which a mailbox was tried")
            return []
        routing = self.env["mail.routing"]
        if not routing._is_active():
            return super().message_route(message, message_dict, model, *args, **kwargs)
        facts = routing._get_facts()
        given = message[REFUSAL_HEADER]
        if given and given == self._refusal_mark(email_normalize(message_dict.get("to") or "")):
            _logger.info("Ignored a refusal of our own, %s", message_dict.get("message_id"))
            return []
        thread = self._in_company(self._company_of_message(message, message_dict))
        to = list(map(_plain, email_split(message_dict.get("to") or "")))
        is_reply = thread._is_reply_to_known(to, message_dict, facts)
        recipients = list(map(_plain, email_split(message_dict.get("recipients") or "")))
        allowed = self._allowed_domains()
        incoming = read_incoming(
            to,
            recipients,
            facts,
            is_reply=is_reply,
            alias_domains_allowed=allowed[0] if allowed else "",
        )
        if thread._handle_report(message, message_dict, incoming):
            return []
        addressed = self.env["mail.alias"]._addressed(incoming.to, recipients, allowed)
        if incoming.for_replies and not (model or is_reply or addressed):
            thread._refuse_for_replies(message, message_dict)
            return []
        seen = dict(
            message_dict, to=", ".join(incoming.to), recipients=", ".join(incoming.recipients)
        )
        thread = thread.with_context(**{LOOKUP: addressed})
        try:
            routes = super(MailThread, thread).message_route(message, seen, model, *args, **kwargs)
            # the prepared answers end here
            return [
                (*route[:4], route[4].with_env(self.env)) if route[4] is not None else route
                for route in routes
            ]
        except ValueError as error:
            if (
                addressed
                or "No possible route" not in str(error)
                or not thread._refuse_elsewhere(message, message_dict, recipients)
            ):
                raise
            return []
        finally:
            # native takes out what a new record must not have, and finds the author
            for key in message_dict.keys() - seen.keys():
                del message_dict[key]
            message_dict.update(
                {key: value for key, value in seen.items() if key not in ("to", "recipients")}
            )

    @api.model
    def _message_route_process(self, message, message_dict, routes):
        """Create new records in the company that the message was sent to; replies change none."""
        if not routes or not self.env["mail.routing"]._is_active():
            return super()._message_route_process(message, message_dict, routes)
        company = self._company_of_message(message, message_dict)
        thread_id = False
        for route in routes:
            model, existing_id, custom_values, _user_id, alias = route
            thread = self
            its_company = self._company_of_alias(alias) or company
            # an alias that names a company has decided
            is_new = its_company and not existing_id and not (custom_values or {}).get("company_id")
            if is_new:
                # native creates with sudo: sender and alias owner need not work in that company
                thread = self.with_company(its_company.id)
                thread = thread.with_context(**{NEW_IN_COMPANY: NewIn(its_company.id)})
            thread_id = super(MailThread, thread)._message_route_process(
                message, dict(message_dict), [route]
            )
            if is_new and thread_id:
                # some models make their records without message_new
                record = thread.env[model].sudo().browse(thread_id)
                if "company_id" in record._fields and not record.company_id:
                    record._move_to_company(its_company.id)
        return thread_id

    @api.model
    def _routing_check_route(self, message, message_dict, route, *args, **kwargs):
        """Let an alias refuse in the name of its own domain's company."""
        company = self._company_of_alias(route[4])
        if not company:
            return super()._routing_check_route(message, message_dict, route, *args, **kwargs)
        thread = self._in_company(company).with_context(**{REFUSED_BY: NewIn(company.id)})
        alias = route[4].with_env(thread.env)
        checked = super(MailThread, thread)._routing_check_route(
            message, message_dict, (*route[:4], alias), *args, **kwargs
        )
        return (*checked[:4], route[4]) if checked else checked

    @api.model
    def message_new(self, msg_dict, custom_values=None):
        """Make the new record one of the company that the message was sent to."""
        record = super().message_new(msg_dict, custom_values)
        new_in = self.env.context.get(NEW_IN_COMPANY)
        if isinstance(new_in, NewIn) and record:
            record._move_to_company(new_in.company_id)
        return record

    def _move_to_company(self, company_id):
        """Give a new record its company, where its model has one that can be given.

        A salesperson or a customer's card of another company cannot stay on it. What belongs to
        its company by more than that, a task to its project, stays there.
        """
        self.ensure_one()
        field = self._fields.get("company_id")
        if (
            field is None
            or field.comodel_name != "res.company"
            or field.readonly
            or self.company_id.id == company_id
        ):
            return
        foreign = {}
        user = self.user_id if self._is_many2one("user_id", "res.users") else None
        if user and company_id not in user.company_ids.ids:
            foreign["user_id"] = False
        partner = self.partner_id if self._is_many2one("partner_id", "res.partner") else None
        if partner and partner.company_id.id not in (False, company_id):
            foreign["partner_id"] = False
        record = self.with_context(tracking_disable=True)
        for values in ({}, foreign):
            try:
                with self.env.cr.savepoint():
                    record.write({**values, "company_id": company_id})
                return
            except UserError as error:
                reason = error
        _logger.info("%s stays in its company: %s", self, reason)

    def _is_many2one(self, name, comodel_name):
        field = self._fields.get(name)
        return field is not None and field.type == "many2one" and field.comodel_name == comodel_name

    # ------------------------------------------------------------
    # Whose mail is it?
    # ------------------------------------------------------------

    @api.model
    def _recipients_in_order(self, message, message_dict=None):
        """Give the addresses a message was sent to: as its headers have them, then all others.

        Native's parser gives them in an order that changes with each start of Python.
        """
        headers = headers_of(message.raw_items())
        found = []
        for header in RECIPIENT_HEADERS:
            for value in headers.get(header.lower(), ()):
                found += email_split(" ".join(_as_utf8(value).split()))
        found += sorted(email_split((message_dict or {}).get("recipients") or ""))
        return list(dict.fromkeys(map(_plain, found)))

    @api.model
    def _fetching_company_id(self):
        """Give the id of the company whose mailbox is being fetched, or was."""
        fetching = Fetching.of(self.env)
        if fetching:
            return fetching.company_id
        server_id = self.env.context.get("default_fetchmail_server_id")
        if type(server_id) is not int:  # a user's context may hold anything
            return False
        return self.env["fetchmail.server"].sudo().browse(server_id).exists().company_id.id

    @api.model
    def _company_of_message(self, message, message_dict=None):
        """Give the company of an incoming message, None where native decides."""
        return company_of_incoming(
            self._recipients_in_order(message, message_dict),
            self._fetching_company_id(),
            self.env["mail.routing"]._get_facts(),
        )[0]

    @api.model
    def _in_company(self, company):
        """Give this model in a company, if the user may work there."""
        if company is None:
            return self
        if not self.env.su and company.id not in self.env.user._get_company_ids():
            return self
        return self.with_company(company.id)

    @api.model
    def _is_reply_to_known(self, to, message_dict, facts):
        """Tell whether a message answers a document's; asked only where it makes a difference."""
        matters = facts.mailboxes_in_use | facts.reply_addresses
        if not any(address.lower() in matters for address in to):
            return False
        references = message_dict.get("references") or message_dict.get("in_reply_to") or ""
        ids = [
            "".join(reference.split())
            for reference in mail_header_msgid_re.findall(references)
            if "reply_to" not in reference
        ]
        return bool(
            ids
            and self.env["mail.message"]
            .sudo()
            .search(
                [("message_id", "in", ids), ("model", "!=", False), ("res_id", "!=", 0)], limit=1
            )
        )

    @api.model
    def _allowed_domains(self):
        """Give the domains that native lets pass, none where it lets all.

        The general one, which is among them, comes first.
        """
        get_param = self.env["ir.config_parameter"].sudo().get_param
        allowed = (get_param("mail.catchall.domain.allowed") or "").split(",")
        if allowed == [""]:
            return []
        general = (get_param("mail.catchall.domain") or "").strip().lower()
        return [*([general] if general else []), *(domain.strip().lower() for domain in allowed)]

    # ------------------------------------------------------------
    # Aliases
    # ------------------------------------------------------------

    @api.model
    def _company_of_alias(self, alias):
        """Give the company that an alias with a domain decides for, None where it does not.

        It is the domain's; of a domain that all share, that of the alias's own record.
        """
        domain_id = alias.sudo().alias_domain_id.id if alias else False
        if not domain_id or not self.env["mail.routing"]._is_active():
            return None
        facts = self.env["mail.routing"]._get_facts()
        domain = facts.domain.get(domain_id)
        if domain is None:
            return None
        its_own = None
        if not domain.company_id:
            its_own = facts.company.get(alias.sudo()._owners()[alias.sudo()].id)
        return its_own or facts.owner_of(domain.name)

    @api.model
    def _own_addresses(self, addresses):
        """Give those of the addresses that are in a domain of ours, in ASCII and lower case."""
        facts = self.env["mail.routing"]._get_facts()
        plain = map(_plain, addresses)
        return [address for address in plain if is_own_domain(domain_of(address), facts)]

    @api.model
    def _alias_addresses(self, emails):
        """Give those of some mailboxes' addresses that are aliases of ours, normalized.

        A stranger's ``sales@`` is none, nor is one of a domain of ours where nobody has it.
        """
        addresses = {}
        for text in emails:
            normalized = email_normalize(text, strict=False)
            for own in self._own_addresses([normalized] if normalized else []):
                addresses.setdefault(own, set()).add(normalized)
        if not addresses:
            return set()
        reached = self.env["mail.alias"]._reached(addresses)
        return {text for own, texts in addresses.items() if reached[own] for text in texts}

    @api.model
    def _mail_find_partner_from_emails(self, emails, *args, **kwargs):
        """Take no alias for a contact, by whole addresses; native looks at the general domain."""
        if not self.env["mail.alias"]._may_have_domains():
            return super()._mail_find_partner_from_emails(emails, *args, **kwargs)
        aliases = self._alias_addresses(emails)
        emails = ["" if email_normalize(e, strict=False) in aliases else e for e in emails]
        thread = self.with_context(**{LOOKUP: NoAlias()})
        partners = super(MailThread, thread)._mail_find_partner_from_emails(emails, *args, **kwargs)
        return [partner.with_env(self.env) for partner in partners]

    def _mail_find_user_for_gateway(self, email, alias=None):
        """Take no alias for a user, by whole addresses."""
        if not self.env["mail.alias"]._may_have_domains():
            return super()._mail_find_user_for_gateway(email, alias=alias)
        if self._alias_addresses([email]):
            return self.env["res.users"]
        thread = self.with_context(**{LOOKUP: NoAlias()})
        user = super(MailThread, thread)._mail_find_user_for_gateway(email, alias=alias)
        return user.with_env(self.env)

    def _register_hook(self):
        """Let tasks look at whole addresses for who follows them, where there are tasks.

        Their method takes whatever has the local part of the project's alias for that alias, and
        ends there: a model that this addon does not depend on has no other hook.
        """
        super()._register_hook()
        if self._name == "project.task" and hasattr(self, "email_split"):
            self._patch_method("email_split", _email_split_by_whole_addresses())

    def _unregister_hook(self):
        result = super()._unregister_hook()
        if self._name == "project.task" and "email_split" in vars(type(self)):
            delattr(type(self), "email_split")
        return result

    # ------------------------------------------------------------
    # Delivery reports
    # ------------------------------------------------------------

    @api.model
    def _handle_report(self, message, message_dict, incoming):
        """Handle a report on a mail's delivery, whatever address it was sent to.

        :return: whether it was one
        :raise UserError: it is one, but not of a mail that can be found
        """
        sender = (email_split(message_dict.get("email_from") or "") or [""])[0].lower()
        headers = headers_of(message.raw_items())
        kind = recognise_report(
            message.get_content_type(), sender, message_dict.get("subject") or "", headers
        )
        handled = False
        note = self.env["mail.delivery.note"]
        if kind in ("note", "suspect") and note._is_answer(sender, headers):
            kind = ""
        if kind:
            for bounced in note._find(kind, sender, headers, message, message_dict):
                self._routing_handle_bounce(message, {**message_dict, **bounced})
                handled = True
        if not handled and (kind == "report" or incoming.is_bounce and kind != "note"):
            self._routing_handle_bounce(message, message_dict)
            handled = True
        if handled:
            return True
        if kind == "note" or kind == "suspect" and note._is_about_ours(headers, message_dict):
            raise ReportOfUnknownMail(
                _(
                    "It says that a mail did not arrive, but not which one. Look for the mail that"
                    " it is about, correct the address, and send that again."
                )
            )
        return False

    @api.model
    def _routing_handle_bounce(self, email_message, message_dict):
        """Count a bounce once, even if its report is fetched twice.

        That happens when fetching is killed between commit and mark. Native recognises a mail that
        it has by its message, and a report makes none.
        """
        if self.env["mail.routing"]._is_active() and self.env["mail.delivery.note"]._is_told(
            message_dict["bounced_message"], message_dict["bounced_partner"]
        ):
            return None
        return super()._routing_handle_bounce(email_message, message_dict)

    # ------------------------------------------------------------
    # Refusals
    # ------------------------------------------------------------

    @api.model
    def _refuse_for_replies(self, message, message_dict):
        """Tell the sender that the address is for replies, as native does for its catchall."""
        body = self.env["ir.qweb"]._render("mail.mail_bounce_catchall", {"message": message})
        self._routing_create_bounce_email(
            message_dict["email_from"],
            body,
            message,
            references=message_dict["message_id"],
            reply_to=self.env.company.email,
        )

    @api.model
    def _refuse_elsewhere(self, message, message_dict, recipients):
        """Refuse a mail to a name that is an alias in other domains, but not in this one.

        Native would make a record of it. If its sender cannot be told, the mail is not refused, but
        kept.

        :return: whether the sender is told
        """
        # a mailbox that is fetched exists, and so may any address that no alias is named as
        mailboxes = self.env["mail.routing"]._get_facts().mailboxes
        own = [address for address in self._own_addresses(recipients) if address not in mailboxes]
        names = {address.partition("@")[0] for address in own}
        named = set(self.env["mail.alias"]._named(names).mapped("alias_name")) if names else ()
        own = [address for address in own if address.partition("@")[0] in named]
        if not own:
            return False
        headers = headers_of(message.raw_items())
        sender = (headers.get("return-path") or [""])[0] or message_dict.get("email_from")
        sender = email_normalize(sender or "")
        # by the limit alone: if this very mail is fetched again, its sender has been told
        told_enough = sender and self.env["mail.mail"]._is_refused_enough(sender, None)
        if not sender or told_enough or is_automatic(headers):
            return False
        company = company_that_answers(
            self._recipients_in_order(message),
            self._fetching_company_id(),
            self.env["mail.routing"]._get_facts(),
        )
        company = self.env["res.company"].sudo().browse(company.id) if company else self.env.company
        instead = company.email if email_normalize(company.email or "") not in own else False
        body = Markup("<p>%s</p>") % _("There is no mailbox %s.", ", ".join(own))
        if instead:
            body += Markup("<p>%s</p>") % _("Please write to %s instead.", instead)
        body += Markup("<p>%s</p>") % company.name
        self._routing_create_bounce_email(
            message_dict["email_from"],
            self.env["ir.qweb"]._render(
                "mail.mail_bounce_alias_security",
                {"body": body, "message": message_dict},
                minimal_qcontext=True,
            ),
            message,
            references=message_dict["message_id"],
            reply_to=company.email,
        )
        return True

    @api.model
    def _refusal_mark(self, address):
        """Give the mark of this database's refusals to an address, which nobody else can make.

        It reveals nothing of the database.
        """
        # sudo: it is made with the database's secret
        return hmac(self.env(su=True), "mail_company_routing.refusal", address)

    # ------------------------------------------------------------
    # Trials of a mailbox
    # ------------------------------------------------------------

    @api.model
    def _new_trial_id(self):
        """Give the Message-Id of a mail that tries a mailbox; nobody else can make one."""
        nonce = secrets.token_hex(8)
        return f"<{nonce}.{self._trial_mark(nonce)}@{TRIAL_DOMAIN}>"

    @api.model
    def _is_trial_id(self, message_id):
        """Tell whether a Message-Id is of :meth:`_new_trial_id`, in this very database."""
        local, _at, domain = message_id.strip().strip("<>").partition("@")
        if domain != TRIAL_DOMAIN:
            return False
        nonce, _dot, mark = local.partition(".")
        # a stranger's may be any text, of which two cannot be compared but as bytes
        return consteq(mark.encode("utf-8", "replace"), self._trial_mark(nonce).encode())

    @api.model
    def _trial_mark(self, nonce):
        # sudo: it is made with the database's secret
        return hmac(self.env(su=True), "mail_company_routing.trial", nonce)[:32]

    @api.model
    def _routing_create_bounce_email(self, email_from, body_html, message, **mail_values):
        """Refuse in the name of the company that was written to, in a way that no robot answers.

        No robot is answered either (RFC 3834 2), and nobody more often than native's limit on loops
        allows. The refusal is sent once its cause is committed.
        """
        routing = self.env["mail.routing"]
        if not routing._is_active():
            return super()._routing_create_bounce_email(
                email_from, body_html, message, **mail_values
            )
        headers = headers_of(message.raw_items())
        address = email_normalize((headers.get("return-path") or [""])[0] or email_from or "")
        if not address or is_automatic(headers):
            _logger.info("Not refusing an automatic mail from %s", email_from)
            return None
        if self.env["mail.mail"]._is_refused_enough(address, mail_values.get("references")):
            _logger.info("Not refusing any more mails from %s for now", email_from)
            return None
        thread = self.with_context(**{SEND_LATER: True})
        company = company_that_answers(
            self._recipients_in_order(message), self._fetching_company_id(), routing._get_facts()
        )
        refused_by = self.env.context.get(REFUSED_BY)
        company_id = company.id if company else None
        if isinstance(refused_by, NewIn):
            company_id = refused_by.company_id
        if company_id:
            # sudo: native creates the mail so; who wrote need not work there
            thread = thread.sudo().with_company(company_id)
            if "reply_to" in mail_values:
                mail_values["reply_to"] = thread.env.company.email
        mail_values.update(email_to=address, auto_delete=False)  # kept to be counted
        marks = {"Auto-Submitted": "auto-replied", REFUSAL_HEADER: self._refusal_mark(address)}
        mail_values.setdefault("headers", repr(marks))
        return super(MailThread, thread)._routing_create_bounce_email(
            email_from, body_html, message, **mail_values
        )


def _email_split_by_whole_addresses():
    """Give a method for tasks; one for each database, which each have their own to fall back on."""

    def addresses_of_people(tasks, msg):
        if not tasks.env["mail.alias"]._may_have_domains():
            return addresses_of_people.origin(tasks, msg)
        found = email_split(f"{msg.get('to') or ''},{msg.get('cc') or ''}")
        aliases = tasks.env["mail.thread"]._alias_addresses(found)
        return [address for address in found if email_normalize(address) not in aliases]

    return addresses_of_people


def _plain(address):
    """Give an address as the table of domains has it: in ASCII (RFC 5891) and lower case."""
    return (ascii_address(address) or address).lower()


def _as_utf8(value):
    """Give a header's value as it was meant: Python keeps its bytes beyond ASCII as surrogates."""
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return value
