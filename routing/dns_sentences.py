# SPDX-License-Identifier: LGPL-3.0-only
"""What is said of a domain's records: one sentence for each thing that can be wrong.

Marked for translation; Odoo's side translates them, plain Python reads them in English.
"""


def _(sentence: str) -> str:
    """Mark a sentence for the extraction of translatable terms."""
    return sentence


#: key -> what the record should be
EXPECTED = {
    "mx": _("MX records whose hosts bring the mail to a mailbox that Odoo fetches"),
    "mx_provider": _("The MX records of %(provider)s, where Odoo fetches the mailbox"),
    "spf": _(
        "One TXT record that starts with v=spf1 and lets %(host)s send; its provider says how"
    ),
    "spf_provider": _("%(record)s, or another record that includes the hosts of %(provider)s"),
    "dkim": _("Cannot be looked up: the provider's selector is not known"),
    "dkim_cname": _("%(names)s: CNAME records that %(provider)s names in its administration"),
    "dkim_key": _("%(names)s: the key that %(provider)s names in its administration"),
    "dkim_chosen": _(
        "%(names)s, or another selector: the key that %(provider)s names in its administration"
    ),
    "dmarc": _("%(name)s: at least %(record)s"),
}

#: rule -> what is wrong, what it means for the mail, and what helps
FINDINGS = {
    # MX
    "domain_none": _(
        "The domain %(domain)s does not exist in DNS: mail from it is refused, and none arrives."
        " Renew it, or correct its name."
    ),
    "mx_none": _(
        "%(domain)s has neither MX nor address: answers and delivery reports cannot arrive, and"
        " many refuse mail from it. Enter the MX records that the provider of its mailboxes names."
    ),
    "mx_implicit": _(
        "%(domain)s has no MX record: answers go to the host of its web site. Enter the MX records"
        " that the provider of its mailboxes names."
    ),
    "mx_null": _(
        "%(domain)s says by its MX record that it takes no mail: answers and delivery reports are"
        " lost. Enter the MX records that the provider of its mailboxes names."
    ),
    "mx_address": _(
        "An MX record of %(domain)s is the address %(host)s, but must be the name of a host:"
        " answers do not arrive."
    ),
    "mx_nowhere": _(
        "The MX records of %(domain)s lead to hosts that do not exist (%(hosts)s): answers do not"
        " arrive."
    ),
    "mx_some_nowhere": _(
        "Some MX records of %(domain)s lead to hosts that do not exist: %(hosts)s. Remove them:"
        " they delay answers."
    ),
    "mx_elsewhere": _(
        "Mail to %(domain)s arrives at %(there)s (%(host)s), but Odoo fetches its mailbox at"
        " %(here)s. Unless it is forwarded, answers do not come to Odoo: fetch them at %(there)s,"
        " or enter the MX records of %(here)s."
    ),
    "mx_alias": _(
        "The MX hosts of %(domain)s are aliases (CNAME), which some senders do not follow:"
        " %(hosts)s. Name the hosts that they lead to."
    ),
    # SPF
    "spf_none": _(
        "%(domain)s has no SPF record, so nobody can tell that %(provider)s may send for it."
    ),
    "spf_like": _("A record of %(domain)s was meant as SPF, but is not read as such: %(text)s"),
    "spf_many": _(
        "%(domain)s has %(count)s SPF records, and may have one only: with several, none counts."
        " Replace them all by one."
    ),
    "spf_missing": _(
        "The SPF record of %(domain)s does not let %(provider)s send, by which mail from it leaves"
        " (%(server)s)."
    ),
    "spf_qualifier": _(
        "The SPF record of %(domain)s names %(provider)s, but does not let it send: %(term)s"
    ),
    "spf_syntax": _(
        "The SPF record of %(domain)s cannot be read, so none of it counts: %(terms)s is wrong."
    ),
    "spf_joined": _(
        "The SPF record of %(domain)s has several strings without a space between them, so it"
        " cannot be read: %(text)s"
    ),
    "spf_after_all": _(
        "In the SPF record of %(domain)s, what stands behind 'all' is never read: %(terms)s"
    ),
    "spf_redirect_unread": _(
        "In the SPF record of %(domain)s, 'redirect' is not read, because there is an 'all' too."
    ),
    "spf_limit": _(
        "The SPF record of %(domain)s takes more than %(limit)s look-ups, at which receivers stop."
        " Remove what no longer sends for the domain."
    ),
    "spf_void": _(
        "The SPF record of %(domain)s names more than %(limit)s hosts that do not exist, at which"
        " receivers stop. Remove them."
    ),
    "spf_loop": _("The SPF record of %(domain)s leads back to itself by %(term)s. Remove that."),
    "spf_include_none": _(
        "The SPF record of %(domain)s names %(term)s, but %(name)s has no SPF record. Remove or"
        " correct it."
    ),
    "spf_include_many": _(
        "The SPF record of %(domain)s names %(term)s, but %(name)s has several SPF records. Remove"
        " it, or tell its owner."
    ),
    "spf_included_broken": _(
        "The SPF record of %(domain)s includes that of %(name)s, in which %(terms)s is wrong."
        " Remove it, or tell its owner."
    ),
    "spf_everybody": _(
        "The SPF record of %(domain)s lets everybody send as %(domain)s: %(term)s. Forgers can use"
        " that, so receivers do not trust it."
    ),
    "spf_no_all": _(
        "The SPF record of %(domain)s does not say what to do with other senders: it has no 'all'"
        " at its end."
    ),
    "spf_ptr": _(
        "The SPF record of %(domain)s uses 'ptr', which is slow, and which many receivers no longer"
        " read."
    ),
    # DKIM
    "dkim_missing": _(
        "The DKIM key of %(domain)s is missing at %(name)s: %(provider)s cannot sign for it. Turn"
        " DKIM on in its administration, and enter the record that it names."
    ),
    "dkim_none": _(
        "%(domain)s has no DKIM key at all: %(provider)s cannot sign for it. Turn DKIM on in its"
        " administration, and enter the record that it names."
    ),
    "dkim_nowhere": _(
        "%(name)s leads to %(target)s, where there is no DKIM key. Turn DKIM on in the"
        " administration of %(provider)s, or enter the record that it names."
    ),
    "dkim_half": _(
        "One of two DKIM keys of %(domain)s is missing at %(name)s: when %(provider)s changes to"
        " it, signatures fail. Enter the record that it names."
    ),
    "dkim_revoked": _(
        "The DKIM key at %(name)s is empty, that is, revoked. Enter the record that %(provider)s"
        " names now."
    ),
    "dkim_broken": _(
        "The DKIM key at %(name)s cannot be read. Enter the record that %(provider)s names once"
        " more, whole and without quotes."
    ),
    "dkim_many": _("There are several DKIM keys at %(name)s. Leave the one that is in use."),
    "dkim_weak": _(
        "The DKIM key at %(name)s is shorter than 1,024 bits, so receivers do not trust it. Have"
        " %(provider)s make a new one."
    ),
    "dkim_testing": _(
        "The DKIM key at %(name)s says that it is only a test (t=y). Remove that once mail is"
        " signed."
    ),
    # DMARC
    "dmarc_none": _(
        "%(domain)s has no DMARC record. Large providers want one from domains that send much mail;"
        " one with p=none is enough."
    ),
    "dmarc_many": _(
        "There are %(count)s DMARC records at %(name)s, and may be one only: with several, none"
        " counts."
    ),
    "dmarc_like": _("A record at %(name)s was meant as DMARC, but is not read as such: %(text)s"),
    "dmarc_misplaced": _(
        "The DMARC record of %(domain)s is at the domain itself, where nobody looks for it. It"
        " belongs at %(name)s."
    ),
    "dmarc_syntax": _("The DMARC record at %(name)s cannot be read: %(text)s"),
    "dmarc_no_p": _("The DMARC record at %(name)s lacks the policy: p="),
    "dmarc_bad_p": _(
        "The DMARC record at %(name)s has an unknown policy: p=%(policy)s. Use none, quarantine or"
        " reject."
    ),
    "dmarc_bad_alignment": _(
        "The DMARC record at %(name)s has %(tag)s, where only r (relaxed) or s (strict) may stand."
    ),
    "dmarc_bad_report": _(
        "The DMARC record at %(name)s has %(tag)s: reports need an address that starts with mailto:"
    ),
    "dmarc_unaligned": _(
        "Mail by %(server)s has From in %(domain)s and Return-Path in %(envelope)s: SPF does not"
        " speak for the domain that the customer sees, so DMARC fails unless the provider signs for"
        " %(domain)s. Let mail from it leave by a server whose login is in %(domain)s, or turn DKIM"
        " on for it."
    ),
    "dmarc_strict": _(
        "Mail by %(server)s has From in %(domain)s and Return-Path in %(envelope)s, and the DMARC"
        " record at %(name)s asks for the same domain (aspf=s): DMARC fails unless the provider"
        " signs for %(domain)s."
    ),
}
