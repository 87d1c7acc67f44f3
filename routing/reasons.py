# SPDX-License-Identifier: LGPL-3.0-only
"""Why a route is what it is: one reason for each thing decided, with a sentence for people.

The sentences are marked for translation; Odoo's side translates them, plain Python reads them
in English.
"""

from dataclasses import dataclass, field


def _(sentence: str) -> str:
    """Mark a sentence for the extraction of translatable terms."""
    return sentence


#: rule -> sentence; the values in it come with the reason
SENTENCES = {
    # company
    "company_document": _("Company: %(company)s, the document's."),
    "company_server": _("Company: %(company)s, which the named server belongs to."),
    "company_author": _("Company: %(company)s, which the author works in."),
    "company_domain": _("Company: %(company)s, which the domain of the sender belongs to."),
    "company_current": _("Company: %(company)s, the present one."),
    # From
    "from_kept": _("From: %(address)s, as the message has it."),
    "from_foreign": _(
        "From: %(address)s; it is no colleague's, so it is not moved to another domain."
    ),
    "from_user_domain": _(
        "From: %(address)s, because %(domain)s is the author's Outgoing Email Domain in"
        " %(company)s."
    ),
    "from_company_own": _("From: %(address)s, because %(domain)s belongs to %(company)s."),
    "from_company_domain": _(
        "From: %(address)s, because Mail From by Company is on and %(domain)s is the Email Domain"
        " of %(company)s."
    ),
    "from_company_default": _(
        "From: %(address)s, the default sender of %(company)s: the message has no address."
    ),
    "from_login": _(
        "From header: %(address)s, because %(server)s lets only its own login send; the author"
        " stays visible as the name."
    ),
    "from_notification": _(
        "From header: %(address)s, the notification address, because the FROM Filtering of"
        " %(server)s does not let the author's address pass, or because that is in no domain of"
        " the company."
    ),
    "from_stays_unlike_filter": _(
        "From header: %(address)s, although the FROM Filtering of %(server)s is %(filter)s: there"
        " is no other address to send as."
    ),
    "from_server": _(
        "From header: %(address)s, the login address of %(server)s: the message has no address."
    ),
    # server
    "server_named": _("Server: %(server)s, named on the mail or its template."),
    "server_by_reply_to": _(
        "Server: %(server)s of %(company)s, because %(address)s is the reply address of that"
        " company."
    ),
    "server_by_domain": _(
        "Server: %(server)s of %(company)s, because From's domain %(domain)s belongs to that"
        " company."
    ),
    "server_by_company": _("Server: %(server)s of %(company)s, the company of the mail."),
    "server_shared": _("Server: %(server)s, a server without a company."),
    "server_shared_for": _(
        "Server: %(server)s, a server without a company, because %(company)s has none of its own."
    ),
    "server_config": _("Server: the one of Odoo's configuration file."),
    "no_server": _(
        "%(company)s has no outgoing mail server: all servers belong to other companies. Set one"
        " up for it, or clear the Company of a server that everybody may use."
    ),
    "no_server_unused": _(
        "%(company)s does not use its own outgoing mail servers, and every server has a company."
        " Turn on 'SMTP and IMAP + Alias Domain by Company' on its page Email Routing, or clear"
        " the Company of a server that everybody may use."
    ),
    "no_login_address": _(
        "%(server)s lets only its own login send, but its login is no e-mail address. Fill in its"
        " Login Address."
    ),
    # MAIL FROM and Return-Path
    "envelope_login": _("MAIL FROM and Return-Path: %(address)s, the login address of %(server)s."),
    "envelope_bounce": _("MAIL FROM and Return-Path: %(address)s, the bounce address."),
    "envelope_aligned": _(
        "MAIL FROM and Return-Path: %(address)s, the bounce address of From's own domain."
    ),
    "envelope_given": _("MAIL FROM and Return-Path: %(address)s, given with the message."),
    "envelope_no_catch_all": _(
        "MAIL FROM and Return-Path: %(address)s; there is no catch-all, so no address is invented."
    ),
    "envelope_from": _("MAIL FROM and Return-Path: %(address)s, the address in From."),
    # Reply-To
    "reply_given": _("Reply-To: %(address)s, as the message has it."),
    "reply_document_alias": _("Reply-To: %(address)s, the document's own alias."),
    "reply_prefix": _(
        "Reply-To: %(address)s, because Mail Reply-To by Company is on for %(company)s."
    ),
    "reply_catchall": _("Reply-To: %(address)s, the catchall address."),
    "reply_mailbox": _(
        "Reply-To: %(address)s, the mailbox that is fetched: the domain has no catch-all."
    ),
    "reply_login": _(
        "Reply-To: %(address)s, the login address of %(server)s: there is no catch-all and no"
        " incoming server."
    ),
    "reply_model": _("Reply-To: %(address)s, as this kind of document has it."),
    "reply_default": _("Reply-To: %(address)s, the author's own address."),
}


@dataclass(frozen=True)
class Reason:
    """One thing that was decided, and the rule that decided it.

    :param rule: a key of :data:`SENTENCES`
    :param values: what the sentence names
    """

    rule: str
    values: dict = field(default_factory=dict)

    @property
    def key(self) -> tuple:
        """A hashable key, equal for equal sentences."""
        return self.rule, *sorted(self.values.items())

    def sentence(self, translate=lambda text: text) -> str:
        """Say it. :param translate: takes the English sentence, gives the reader's."""
        return translate(SENTENCES[self.rule]) % self.values
