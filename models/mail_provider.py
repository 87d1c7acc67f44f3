from odoo import api, fields, models


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
    oauth_module = fields.Selection(
        selection=[("google_gmail", "Gmail"), ("microsoft_outlook", "Outlook")],
        string="Logs In by OAuth",
        help="Odoo's own module that logs in there",
    )

    def _is_public(self, domain):
        """Tell whether everybody can have a mailbox in a domain, at any provider known."""
        known = ",".join(filter(None, self.search([]).mapped("email_domains")))
        return domain.lower() in {name.strip().lower() for name in known.split(",")}

    @api.model
    def _of_domain(self, domain):
        """Give the provider whose public domain it is, empty where none is known."""
        for provider in self.search([("email_domains", "!=", False)]):
            names = {name.strip().lower() for name in provider.email_domains.split(",")}
            if domain.lower() in names:
                return provider
        return self.browse()
