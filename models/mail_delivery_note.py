# SPDX-License-Identifier: LGPL-3.0-only
import datetime

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import email_normalize

from ..routing import domain_of, read_clues

#: days in which a mail is found by its recipient and its subject
_DAYS = 7
#: what a delivery-status says (RFC 3464 2.3.3) of a mail that may still arrive, or has
_NO_FAILURES = ("delayed", "delivered", "relayed", "expanded")


class ReportOfUnknownMail(UserError):
    """An incoming mail says that one of ours did not arrive, but not which."""


class MailDeliveryNote(models.AbstractModel):
    """Finds the mail that a report on its delivery is about, where native's rules do not.

    Native reads ``multipart/report`` alone, whose parts name the recipient and the Message-Id.
    Anybody can write such notes. They can do no more than those: a mail is found by what only
    its sender and its recipients know, and only a recipient of that mail can be undeliverable.
    """

    _name = "mail.delivery.note"
    _description = "Note of Non-Delivery"

    @api.model
    def _tells_failure(self, message):
        """Tell whether a report by the standard is about a failure, not about a mail read."""
        types = [part.get_content_type() for part in message.walk()]
        if "message/disposition-notification" in types:
            return False
        actions = [
            str(block.get("Action", "")).strip().lower()
            for part in message.walk()
            if part.get_content_type() == "message/delivery-status" and part.is_multipart()
            for block in part.get_payload()
        ]
        return not any(action in _NO_FAILURES for action in actions)

    @api.model
    def _is_answer(self, sender, headers):
        """Tell whether the sender answers a mail of ours: then it did arrive.

        A postmaster may be a customer, and a customer's holiday note comes without a sender.
        """
        message = self._known(read_clues(headers, "").references)
        is_robot = sender.partition("@")[0] == "mailer-daemon"
        return not is_robot and sender in self._recipients_of(message)

    @api.model
    def _is_about_ours(self, headers, message_dict):
        """Tell whether a message names a mail of ours."""
        clues = read_clues(headers, message_dict.get("body"))
        return bool(self._known(clues.references) or self._known(clues.quoted_ids))

    @api.model
    def _find(self, kind, sender, headers, email_message, message_dict):
        """Find what did not arrive, where native has not found it.

        :param kind: as :func:`~..routing.recognise_report` gives it
        :param sender: address of From
        :param headers: as :func:`~..routing.headers_of` gives them
        :param message_dict: as ``message_parse`` gives it
        :return: list of what ``_message_parse_extract_bounce`` gives, one for each recipient
        """
        told = message_dict.get("bounced_email")
        message = message_dict["bounced_message"][:1]
        if kind == "report" and (told and message or not self._tells_failure(email_message)):
            return []
        clues = read_clues(headers, message_dict.get("body"))
        if kind == "suspect" and not clues.says_undelivered:
            return []
        message = message or self._known(clues.references) or self._known(clues.quoted_ids)
        partners = self._recipients_of(message)
        if message:
            failed = [told] if told else [a for a in clues.failed if a in partners]
            failed = failed or [address for address in clues.quoted if address in partners]
            if not failed and len(partners) == 1:
                failed = list(partners)  # the recipient may have it forwarded elsewhere
        elif kind == "note":
            message, failed = self._find_by_recipient(
                sender, clues, self._companies_of_note(email_message)
            )
            partners = self._recipients_of(message)
        else:
            return []
        return [
            {
                "bounced_email": address,
                # of an address that is not known as a recipient: whom native has found
                "bounced_partner": partners.get(address, message_dict["bounced_partner"]),
                "bounced_msg_id": [message.message_id],
                "bounced_message": message,
            }
            for address in failed
        ]

    @api.model
    def _known(self, message_ids):
        """Give the first message of these ids that was sent to anybody."""
        if not message_ids:
            return self.env["mail.message"].sudo()
        messages = (
            self.env["mail.message"]
            .sudo()
            .search([("message_id", "in", message_ids)], order="id desc", limit=len(message_ids))
        )
        by_id = {message.message_id: message for message in reversed(messages)}
        found = [by_id[message_id] for message_id in message_ids if message_id in by_id]
        sent = [message for message in found if self._recipients_of(message)]
        return (sent or found or [messages])[0]

    @api.model
    def _is_told(self, message, partners):
        """Tell whether it is known already that a message did not reach these recipients."""
        found = self._notifications(
            [("mail_message_id", "in", message.ids), ("res_partner_id", "in", partners.ids)]
        )
        return set(found.mapped("notification_status")) == {"bounce"}

    @api.model
    def _recipients_of(self, message):
        """Give address -> partners of whom a message was sent to by mail."""
        partners = {}
        for partner in self._notifications([("mail_message_id", "in", message.ids)]).res_partner_id:
            if partner.email_normalized:
                partners[partner.email_normalized] = (
                    partners.get(partner.email_normalized, partner) | partner
                )
        return partners

    @api.model
    def _notifications(self, domain, **options):
        # sudo: the user is the one who runs the mail gateway
        notifications = self.env["mail.notification"].sudo()
        return notifications.search([("notification_type", "=", "email"), *domain], **options)

    @api.model
    def _find_by_recipient(self, sender, clues, company_ids):
        """Find a mail of the last days by its recipient and its subject.

        Not by its recipient alone: any stranger knows that, and may write such a note. A stranger
        may guess subjects as well: a note that names many, or many addresses, is not believed.

        :param company_ids: those whose mails it can be about; None: anybody's
        :return: the message, none where it cannot be told; the addresses it did not reach
        """
        if clues.is_list:
            return self.env["mail.message"], []
        mailboxes = self.env["mail.routing"]._get_facts().mailboxes_in_use
        addresses = [
            email_normalize(address)
            for address in clues.failed or clues.quoted
            if address != sender and address not in mailboxes
        ]
        since = fields.Datetime.now() - datetime.timedelta(days=_DAYS)
        notifications = self._notifications(
            [
                ("notification_status", "=", "sent"),
                ("res_partner_id.email_normalized", "in", addresses),
                ("mail_message_id.date", ">=", since),
            ],
            order="id desc",
            limit=200,
        )

        def subject_of(notification):
            message = notification.mail_message_id
            return message.subject or message.record_name or ""

        notifications = notifications.filtered(
            lambda notification: self._may_tell(notification.mail_message_id, company_ids)
        )
        subject = clues.subject_among(map(subject_of, notifications))
        named = notifications.filtered(lambda n: subject and subject_of(n) == subject)
        message = named[:1].mail_message_id
        recipients = self._recipients_of(message)
        return message, [address for address in addresses if address in recipients]

    @api.model
    def _may_tell(self, message, company_ids):
        """Tell whether a note that came to these companies can be about a message.

        :param company_ids: None: it came to no company's address, and to a mailbox of no company
        """
        company = message.record_company_id
        return company_ids is None or not company or company.id in company_ids

    @api.model
    def _companies_of_note(self, email_message):
        """Give the ids of the companies that an incoming message came to, None where of none.

        By the mailbox that is fetched; where that is no company's, by the addresses.
        """
        thread = self.env["mail.thread"]
        facts = self.env["mail.routing"]._get_facts()
        fetching_company_id = thread._fetching_company_id()
        if fetching_company_id:
            return {fetching_company_id}
        company_ids = set()
        for address in thread._recipients_in_order(email_message):
            domain = facts.domain_named.get(domain_of(address))
            if domain and domain.company_id:
                company_ids.add(domain.company_id)
            elif domain:
                company_ids |= {company.id for company in facts.companies_having(domain.id)}
        return company_ids or None
