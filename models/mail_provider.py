# SPDX-License-Identifier: LGPL-3.0-only
import dataclasses

from odoo import _, api, fields, models

from ..discovery import Preset
from ..routing import provider_at

#: public domains, in which everybody can have a mailbox, of all providers
PUBLIC_DOMAINS = frozenset(
    {
        "126.com",
        "139.com",
        "163.com",
        "188.com",
        "189.cn",
        "aliyun.com",
        "aol.com",
        "foxmail.com",
        "gmail.com",
        "gmx.com",
        "gmx.de",
        "gmx.net",
        "googlemail.com",
        "hotmail.com",
        "icloud.com",
        "live.cn",
        "live.com",
        "mail.ru",
        "me.com",
        "msn.com",
        "outlook.com",
        "proton.me",
        "protonmail.com",
        "qq.com",
        "sina.cn",
        "sina.com",
        "sohu.com",
        "tom.com",
        "vip.126.com",
        "vip.163.com",
        "vip.qq.com",
        "vip.sina.com",
        "web.de",
        "yahoo.co.jp",
        "yahoo.com",
        "yandex.com",
        "yandex.ru",
        "yeah.net",
        "zoho.com",
    }
)


class MailProvider(models.Model):
    """What is known of a mail provider: hosts, who may send, what to log in with."""

    _name = "mail.provider"
    _description = "Mail Provider"
    _order = "sequence, name, id"

    name = fields.Char(required=True, translate=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    email_domains = fields.Char(
        string="Public Domains",
        help="Domains in which everybody can have a mailbox at this provider, separated by commas."
        " They are nobody's own, so they do not go into the Alias Domain table.",
    )
    smtp_host = fields.Char(string="SMTP Host")
    smtp_port = fields.Integer(string="SMTP Port", default=465)
    smtp_encryption = fields.Selection(
        selection=[("none", "None"), ("starttls", "TLS (STARTTLS)"), ("ssl", "SSL/TLS")],
        string="SMTP Encryption",
        default="ssl",
        required=True,
    )
    imap_host = fields.Char(string="IMAP Host")
    imap_port = fields.Integer(string="IMAP Port", default=993)
    imap_ssl = fields.Boolean(string="IMAP by SSL/TLS", default=True)
    pop_host = fields.Char(string="POP Host")
    pop_port = fields.Integer(string="POP Port", default=995)
    pop_ssl = fields.Boolean(string="POP by SSL/TLS", default=True)
    restricted = fields.Boolean(
        string="Only the Login May Send",
        help="MAIL FROM must be the login; a sender of its own is refused",
    )
    has_catch_all = fields.Boolean(
        string="Has a Catch-All",
        help="Mail to any address of a domain there can arrive in one mailbox",
    )
    login_hint = fields.Char(
        string="What to Log In With",
        translate=True,
        help="Such as an authorization code, where the password is not accepted",
    )
    max_per_minute = fields.Integer(
        string="Limit per Minute",
        help="How many mails of one login it takes within a minute; 0: not known",
    )
    max_per_day = fields.Integer(
        string="Limit per Day",
        help="How many mails of one login it takes within 24 hours; 0: not known",
    )
    oauth_module = fields.Selection(
        selection=[("google_gmail", "Gmail"), ("microsoft_outlook", "Outlook")],
        string="Logs In by OAuth",
        help="Odoo's own module that logs in there",
    )

    login_differs = fields.Boolean(
        string="Login Differs from the Address",
        help="One account sends as the address of another mailbox, such as a shared one",
    )

    def _preset(self):
        """Give what the search for an address's provider may know of this one."""
        self.ensure_one()
        hosts = {self.smtp_host, self.imap_host, self.pop_host} - {False, ""}
        preset = Preset(
            self.id, hosts={host.lower() for host in hosts}, domains=self._public_domains()
        )
        known = provider_at(self.smtp_host or "")
        if not known or known.smtp_host != self.smtp_host:
            return preset
        # an MX record is no proof, as mail may be forwarded elsewhere: it makes an offer
        return dataclasses.replace(
            preset, domains=preset.domains | set(known.domains), has_mx=known.has_mx
        )

    def _is_public(self, domain):
        """Tell whether everybody can have a mailbox in a domain."""
        domain = domain.lower()
        return domain in PUBLIC_DOMAINS or any(
            domain in provider._public_domains() for provider in self.search([])
        )

    def _public_domains(self):
        """Give the domains in which everybody can have a mailbox at this provider."""
        names = (self.email_domains or "").split(",")
        return {name.strip().lower() for name in names} - {""}

    @api.model
    def _basic_authentication_note(self, *hosts):
        """Say until when Microsoft takes a password, ``""`` for hosts that are not Microsoft's.

        Source: the Exchange team's announcement of 27 January 2026, see docs/providers.md.
        """
        if not any(is_microsoft(host) for host in hosts):
            return ""
        return _(
            "Microsoft turns passwords off for sending at the end of December 2026, and gives them"
            " to no new customer: log in by OAuth (Set Up a Mailbox, provider Office 365)."
        )


def is_microsoft(host):
    """Tell whether a mail server is one of Microsoft 365."""
    host = (host or "").lower().rstrip(".")
    return host.endswith((".office365.com", ".outlook.com"))
