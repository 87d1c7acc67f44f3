# SPDX-License-Identifier: LGPL-3.0-only
import dataclasses
import smtplib
import ssl

from odoo import _, api, models
from odoo.exceptions import UserError

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

from ..routing import Server, is_restricted, recognise_refusal, without_cure
from ..routing.failures import (
    FAILURES,
    HEADLINE,
    in_language,
    is_of_network,
    retell,
    without_headline,
)
from ..routing.retry import Fault
from .delivery import Delivery


class ExplainedDeliveryException(MailDeliveryException):
    """A delivery that failed, in sentences people can act on (shown as the failure reason)."""

    def __str__(self):
        return "\n".join(str(arg) for arg in self.args if arg)


class MailFailure(models.AbstractModel):
    """Turns what went wrong with a mail into sentences: which server, its words, what helps.

    The author of the mail reads them: see :meth:`_in_authors_language`.
    """

    _name = "mail.failure"
    _description = "Mail Failure"

    @api.model
    def _in_authors_language(self):
        """Switch to the language of the author of the mail being sent, who reads the failure.

        The user who runs the queue may have another one.
        """
        delivery = Delivery.of(self.env)
        mail_ids = delivery.mail_ids() if delivery else ()
        lang = self.env["mail.mail"].browse(mail_ids[:1])._authors_language()
        return self.with_context(lang=lang)

    @api.model
    def _server_label(self, server: Server):
        """Name a server and its company, for a failure."""
        company = self.env["res.company"].sudo().browse(server.company_id or ()).name
        return f"{server.name} ({company})" if company else server.name

    @api.model
    def _say(self, event, **values):
        """Say what happened, in the language of this environment.

        :param event: a key of :data:`~..routing.failures.FAILURES`
        :param values: what its sentence names
        """
        return self.env["mail.routing"]._translate(FAILURES[event]) % values

    @api.model
    def _headline(self):
        return self.env["mail.routing"]._translate(HEADLINE)

    # ------------------------------------------------------------
    # Why a mail was not sent
    # ------------------------------------------------------------

    @api.model
    def _no_connection(self, error, server: Server):
        """Say which server could not be used, in its own words, and what helps."""
        words = words_of(error)
        cure = self._cure(error, words, server)
        if not cure and isinstance(error, UserError):
            cure = self._say("check_settings")
        elif not cure:
            cure = self._say("check_connection")
        label = self._server_label(server)
        return ExplainedDeliveryException(
            self._say("no_connection", server=label, error=words), cure
        )

    @api.model
    def _refused(self, error, cause, server: Server):
        """Add server and cure to a refusal, after the provider's own words.

        :param error: the exception native raised
        :param cause: the one that holds the provider's reply
        :return: the exception to raise; ``error`` itself where there is nothing to add
        """
        cure = self._cure(cause, str(error.args[-1:]), server)
        if not cure and not self.env["mail.routing"]._is_active():
            return error
        label = self._server_label(server)
        if isinstance(cause, smtplib.SMTPRecipientsRefused):
            refused = cause.recipients
            words = "\n".join(self._refusal_sentence(key, *refused[key]) for key in refused)
            cure = cure or self._refusal_cure(refused)
        else:
            words = "\n".join(words_of_reply(*reply) for reply in replies_of(cause))
        if words:
            told = self._say("refused", server=label, words=words)
        else:
            # native's own words name the server of a queue 'None'
            words = words_of(cause) if cause else str(error)
            told = self._say("not_taken", server=label, words=words)
        return ExplainedDeliveryException(self._headline(), told, cure)

    @api.model
    def _unsafe_header(self, cause):
        """Say why a mail with a header that would make another one is not sent."""
        return ExplainedDeliveryException(self._headline(), self._say("unsafe_header", line=cause))

    @api.model
    def _hung_up(self, server: Server, error, handed_over):
        """Say how far a mail had got when its session broke off.

        :param handed_over: whether the server had been given the whole mail
        :return: the reason, as it is kept
        """
        event = "hung_up_after" if handed_over else "hung_up"
        return self._say(event, server=self._server_label(server), error=error)

    @api.model
    def _refused_recipients(self, server: Server, refused, others_have_it):
        """Say that, and why, a server did not take a mail for some recipients, or for any.

        :param refused: address -> (code, words)
        :return: the reason, as it is kept
        """
        label = self._server_label(server)
        told = self._say("recipients_some" if others_have_it else "recipients", server=label)
        sentences = [self._refusal_sentence(address, *refused[address]) for address in refused]
        return "\n".join([told, *sentences, self._refusal_cure(refused)])

    @api.model
    def _refusal_cure(self, refused):
        """Say what helps where recipients were refused.

        :param refused: address -> (code, words)
        """
        if any(code >= 500 for code, _reply in refused.values()):
            return self._say("correct_addresses")
        return self._say("retry_later")

    @api.model
    def _refusal_sentence(self, address, code, reply):
        """Tell whom the server refused, in its words."""
        event = "recipient_later" if code < 500 else "recipient"
        return self._say(event, address=address, words=words_of_reply(code, reply))

    @api.model
    def _killed(self, label):
        """Say that a mail may have arrived: Odoo was stopped before it could tell.

        :param label: name of the server
        """
        return self._say("killed", server=label)

    @api.model
    def _given_up(self, server: Server, hours, words):
        """Say that a server could not be used for so long that its mails fail.

        :param hours: of General Settings
        :param words: the last reply
        """
        label = self._server_label(server)
        return self._say("given_up", server=label, hours=hours, error=words)

    @api.model
    def _paused(self, server: Server, until, reason):
        """Give the exception that tells why a mail that must leave now does not."""
        return ExplainedDeliveryException(
            self._headline(),
            self._say(
                "paused",
                server=self._server_label(server),
                time=self.env["mail.mail"]._time_of_day(until, self.env["mail.lane"]._now()),
                reason=reason,
            ),
        )

    # ------------------------------------------------------------
    # What helps
    # ------------------------------------------------------------

    @api.model
    def _cure(self, cause, text, server: Server, mail_from=None, readable=True):
        """Give the sentence that helps, ``""`` where the reply is not known.

        :param cause: the smtplib exception, if there is one
        :param text: the reply as it was reported, where there is no exception
        :param mail_from: the envelope sender that was refused; settings may have changed since
        :param readable: whether the reader may know the server's login
        """
        facts = self.env["mail.routing"]._get_facts()
        for code, reply in replies_of(cause) or [(None, text)]:
            refusal = recognise_refusal(code, reply)
            if refusal:
                login_address = server.sender_address if is_restricted(server, facts) else ""
                return refusal.cure(
                    server.name,
                    login_address=login_address,
                    login=server.sender_address if readable else "",
                    policy=server.policy,
                    oauth=server.oauth,
                    has_username=server.has_username,
                    mail_from=mail_from,
                    translate=self.env["mail.routing"]._translate,
                )
        return ""

    @api.model
    def _cures_of(self, failures):
        """Give what helps against failures that were kept, in the language of this environment.

        The servers of all are looked up at once.

        :param failures: (reason, server, MAIL FROM) of each: why the mail failed, as it was kept;
            record of the server that it was given to, empty where that is not known; the envelope
            sender that it was given with, if it came that far
        :return: list of sentences, in the same order; ``""`` where the reason is not known, or
            says it already
        """
        failures = [
            (reason if recognise_refusal(None, reason or "") else "", server.id, mail_from or "")
            for reason, server, mail_from in failures
        ]
        servers = self.env["ir.mail_server"]
        # sudo: the names of servers that may not be read are left out below
        server_ids = {server_id for reason, server_id, _mail_from in failures if reason}
        known = self.env["mail.routing"]._get_facts().server
        facts = {server_id: known[server_id] for server_id in server_ids if server_id in known}
        # archived ones, and some that are gone
        others = servers.sudo().browse(server_ids - {False, *facts}).exists()
        facts.update((server.id, server._routing_fact()) for server in others)
        readable = set(servers.browse(facts)._that_may_be_read().ids)
        return [
            reason
            and self._kept_cure(
                reason, facts.get(server_id), mail_from, readable=server_id in readable
            )
            for reason, server_id, mail_from in failures
        ]

    @api.model
    def _kept_cure(self, reason, server, mail_from, *, readable):
        """Give what helps against one failure that was kept.

        :param reason: one that is known
        :param server: its :class:`~..routing.Server`, None where that is not known
        :param readable: whether the user may read that server
        """
        # nothing is known of it, so nothing is said of a missing username
        unknown = Server(id=None, name=_("the mail server"), has_username=True)
        server = server or unknown
        cure = self._cure(None, reason, server, mail_from)
        if cure in reason:
            return ""
        if server.id and not readable:
            # anybody may know what helps, but only an administrator which server it was
            server = dataclasses.replace(server, name=unknown.name)
            cure = self._cure(None, reason, server, mail_from, readable=False)
            cure = cure.replace(server.sender_address, "…") if server.sender_address else cure
        return cure

    @api.model
    def _without_cure(self, reason):
        """Give a failure that was kept, without what helps.

        It was kept in the language of the mail's author; the reader is told what helps in theirs.
        """
        for lang, _name in self.env["res.lang"].get_installed():
            translate = self.env["mail.routing"].with_context(lang=lang)._translate
            reason = without_cure(reason, translate)
        return reason

    @api.model
    def _retold(self, reason):
        """Give a failure that was kept in the reader's language; the provider's words stay.

        It was kept in the language of the mail's author.
        """
        if not reason:
            return reason
        told = in_language(self.env["mail.routing"]._translate)
        for kept in self._sentences():
            reason = retell(reason, kept, told)
        headlines = {of_language(HEADLINE) for of_language in self._languages()}
        return without_headline(reason, headlines)

    @api.model
    def _languages(self):
        """List the functions that translate into each language that a failure may be kept in."""
        routing = self.env["mail.routing"]
        # a language may have been removed since; everybody has English
        langs = {"en_US", *dict(self.env["res.lang"].get_installed())}
        return [routing.with_context(lang=lang)._translate for lang in sorted(langs)]

    @api.model
    def _sentences(self):
        """List the sentences of failures in each language that they may be kept in."""
        return list(map(in_language, self._languages()))

    @api.model
    def _told(self, reason, cure):
        """Give why a mail failed, and what helps, in the reader's language.

        :param reason: as it was kept
        :param cure: of :meth:`_cures_of`; it replaces the one that was kept
        """
        reason = self._without_cure(reason or "") if cure else reason
        if not cure and is_of_network(reason or "", self._sentences()):
            cure = self._say("check_connection")
        return "\n".join(filter(None, (self._retold(reason), cure))) or False

    # ------------------------------------------------------------
    # Who helps
    # ------------------------------------------------------------

    @api.model
    def _is_for_administrators(self, failure_type, reason):
        """Tell whether only an administrator can settle a failure; anybody can correct an address.

        :param failure_type: of the notification
        :param reason: as it was kept, in the language of the mail's author
        """
        if failure_type in ("mail_email_invalid", "mail_email_missing"):
            return False
        corrections = (
            self.with_context(lang=lang)._refusal_cure({"": (code, "")})
            for lang, _name in self.env["res.lang"].get_installed()
            for code in (450, 550)
        )
        return not any(sentence in (reason or "") for sentence in corrections)

    @api.model
    def _whom_to_ask(self, companies):
        """Give company -> the sentence that names its administrators, in one query for all.

        :param companies: records of ``res.company``
        """
        # sudo: a user who needs an administrator may know who they are
        administrators = (
            self.env.ref("base.group_system")
            .sudo()
            .users.filtered(lambda user: user.active and not user.share)
        )
        sentences = {}
        for company in companies:
            names = administrators.filtered(lambda user, its=company: its in user.company_ids)
            if names:
                told = _("Ask an administrator: %s.", ", ".join(names[:3].mapped("name")))
            else:
                told = _("Ask an administrator.")
            sentences[company] = told
        return sentences


def fault_of(cause, phase, served=0):
    """Tell in the decision's words what went wrong.

    :param cause: the exception, as smtplib or the network has it
    :param phase: how far it had come, of :data:`~..routing.retry.PHASES`
    :param served: how many mails the server had taken in this session
    :return: :class:`~..routing.retry.Fault`; None where it is nothing that may pass, such as a
        setting that is missing
    """
    replies = [(code, _text(words)) for code, words in replies_of(cause) if code > 0]
    if replies:
        if isinstance(cause, smtplib.SMTPAuthenticationError):
            phase = "login"
        # of several recipients: the end of the session, else what does not pass
        code, words = max(replies, key=lambda reply: (reply[0] == 421, reply[0]))
        return Fault(phase, code, words, served=served)
    if isinstance(cause, ssl.SSLCertVerificationError) or not isinstance(cause, OSError):
        return None
    if isinstance(cause, smtplib.SMTPException) and not isinstance(
        cause, smtplib.SMTPServerDisconnected
    ):
        return None  # smtplib's are OSError too: there is no way to log in, and the like
    # smtplib tells a time-out as the end of the session
    timed_out = isinstance(cause, TimeoutError) or "timed out" in str(cause)
    return Fault(phase, words=words_of(cause), timed_out=timed_out, served=served)


def words_of(error):
    """Give the words of a mail server, or of the network, that an exception carries."""
    replies = [words_of_reply(*reply) for reply in replies_of(error)]
    if replies:
        return "\n".join(replies)
    # imaplib and poplib hand over what they were told as bytes
    told = [arg for arg in error.args if isinstance(arg, bytes)]
    return "\n".join(map(_text, told)) or _text(error) or type(error).__name__


def words_of_reply(code, words):
    """Give a server's reply as people read it."""
    return f"{code} {_text(words)}"


def _text(words):
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return text.replace("\0", "")  # PostgreSQL stores none


def replies_of(cause):
    """List the (code, reply) that an smtplib exception carries."""
    if isinstance(cause, smtplib.SMTPRecipientsRefused):
        return list(cause.recipients.values())
    if isinstance(cause, smtplib.SMTPResponseException):
        return [(cause.smtp_code, cause.smtp_error)]
    return []
