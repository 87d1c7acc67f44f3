# SPDX-License-Identifier: LGPL-3.0-only
"""Who appears in the proof: three companies in Odoo, their mailboxes, and their customers.

A has a catch-all, and a login that may send as everybody of a.com. B and C have none; B's server
is restricted to its login. What A, B and C do is done through Odoo's own screens and crons, each
step in a transaction of its own; what a customer does, he does in his mailbox.
"""

from __future__ import annotations

import email
import email.policy
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from email.utils import make_msgid, parseaddr

from dev.mailserver import MailServer

PASSWORD = "secret"
CUSTOMER = "buyer@example.net"
MISSING = "nobody@example.net"
CUSTOMERS = tuple(f"buyer{number:02}@example.net" for number in range(1, 51))
COMPANIES = ("A", "B", "C")

#: whom each company's servers log in as
LOGINS = {"A": "kevin@a.com", "B": "kevin@b.com", "C": "kevin@c.com"}
RESTRICTED = "sales@a.com"
SALESPERSON = "zy@a.com"
PRIVATE = "enquiries@c.com"
ACCOUNTS = dict.fromkeys(
    (*LOGINS.values(), RESTRICTED, SALESPERSON, PRIVATE, CUSTOMER, *CUSTOMERS), PASSWORD
)
DOMAINS = {"a.com": LOGINS["A"], "b.com": None, "c.com": None}
SENDER_LOGINS = {"@a.com": [LOGINS["A"]]}
ALIASES = {
    "enquiries@b.com": LOGINS["B"],
    "answers@b.com": LOGINS["B"],
    "info@b.com": LOGINS["B"],
    "info@c.com": LOGINS["C"],
}

PROTOCOLS = {"imap": "IMAP", "pop": "POP3"}


def domain_of(company: str) -> str:
    """Give the domain of a company."""
    return f"{company.lower()}.com"


class NativeOffice:
    """One company in Odoo as it comes, with what the other databases have too."""

    def __init__(self, registry, server: MailServer):
        import odoo

        self.odoo = odoo
        self.registry = registry
        self.server = server
        self.company_ids: dict[str, int] = {}
        self.domains: dict[str, int] = {}
        self.outgoing: dict[str, int] = {}
        self.incoming: dict[str, int] = {}
        with self.environment() as env:
            self._furnish(env)

    def _furnish(self, env):
        env["ir.mail_server"].search([]).write({"active": False})
        # a quotation's PDF has no part in this, and takes a second
        env["mail.template"].search([("model", "=", "sale.order")]).write(
            {"report_template": False}
        )
        self.product_id = env["product.product"].create({"name": "Resistor", "list_price": 5}).id
        self.company_ids["A"] = env.company.id
        self._furnish_companies(env)
        user = env["res.users"].create(
            {
                "name": "慕容紫英",
                "login": SALESPERSON,
                "email": SALESPERSON,
                "company_id": self.company_ids["A"],
                "company_ids": [(6, 0, list(self.company_ids.values()))],
                "groups_id": [(4, env.ref("sales_team.group_sale_salesman_all_leads").id)],
                "notification_type": "email",
            }
        )
        self.user_id = user.id

    def _furnish_companies(self, env):
        env["ir.config_parameter"].set_param("mail.catchall.domain", "a.com")
        self._add_servers(env, "A")

    def _add_servers(self, env, company, **values):
        """Make both servers of a company."""
        login, tls = LOGINS[company], company == "B"
        self.outgoing[company] = (
            env["ir.mail_server"]
            .create(
                {
                    "name": f"SMTP {company}",
                    "smtp_host": self.server.host,
                    # one of them by TLS, the others by STARTTLS
                    "smtp_port": self.server.smtps_port if tls else self.server.submission_port,
                    "smtp_encryption": "ssl" if tls else "starttls",
                    "smtp_user": login,
                    "smtp_pass": PASSWORD,
                    "from_filter": domain_of(company),
                    **values,
                }
            )
            .id
        )
        self.incoming[company] = self.add_mailbox(env, login).id

    def add_mailbox(self, env, login, protocol="imap", **values):
        """Make an incoming server, tested and confirmed."""
        mailbox = env["fetchmail.server"].create(
            {
                "name": f"Mailbox {login}",
                "server": self.server.host,
                "is_ssl": True,
                "user": login,
                "password": PASSWORD,
                **self._protocol(protocol),
                **values,
            }
        )
        mailbox.button_confirm_login()
        return mailbox

    def _protocol(self, protocol):
        ports = {"imap": self.server.imaps_port, "pop": self.server.pop3s_port}
        return {"server_type": protocol, "port": ports[protocol]}

    # -- Odoo ---------------------------------------------------------------------------------

    @contextmanager
    def environment(self, company=None):
        """Give an environment, committed at the end.

        :param company: the salesperson at work in it; None: OdooBot, as in Odoo's crons
        """
        with self.registry.cursor() as cr:
            env = self.odoo.api.Environment(cr, self.odoo.SUPERUSER_ID, {})
            if company:
                context = {"allowed_company_ids": [self.company_ids[company]], "lang": "en_US"}
                env = env(user=self.user_id, su=False, context=context)
            yield env

    @contextmanager
    def changed(self, model, record_id, **values):
        """Let a record have other values for a while."""
        with self.environment() as env:
            record = env[model].browse(record_id)
            before = record._convert_to_write({name: record[name] for name in values})
            record.write(values)
        try:
            yield
        finally:
            with self.environment() as env:
                env[model].browse(record_id).write(before)

    @contextmanager
    def domain(self, domain, login):
        """Let native's one domain and its server's login be others for a while."""
        self._set_domain(domain)
        try:
            with self.changed(
                "ir.mail_server", self.outgoing["A"], smtp_user=login, from_filter=domain
            ):
                yield
        finally:
            self._set_domain("a.com")

    def _set_domain(self, domain):
        with self.environment() as env:
            env["ir.config_parameter"].set_param("mail.catchall.domain", domain)

    def customer(self, env, address):
        """Give the partner with this address, made when he is new."""
        partner = env["res.partner"].sudo().search([("email", "=", address)], limit=1)
        name = address.partition("@")[0].capitalize()
        return partner or partner.create({"name": name, "email": address})

    def send_quotation(self, company, to=CUSTOMER):
        """Send a new quotation with the composer that its button opens; give the order's id."""
        from odoo.tests.common import Form

        with self.environment(company) as env:
            order = env["sale.order"].create(self.quotation_of(self.customer(env, to)))
            action = order.action_quotation_send()
            composer = env["mail.compose.message"].with_context(**action["context"])
            Form(composer).save().action_send_mail()
            return order.id

    def quotation_of(self, partner):
        """Give the values of a quotation."""
        return {
            "partner_id": partner.id,
            "order_line": [(0, 0, {"product_id": self.product_id})],
        }

    def fetch(self, protocol=None, mailboxes=None):
        """Fetch the mailboxes as the cron does.

        :param protocol: ``imap`` or ``pop``: what to switch them to before
        :param mailboxes: ids; all confirmed ones unless given
        """
        if protocol:
            self.switch(protocol, mailboxes)
        with self.environment() as env:
            if mailboxes:
                env["fetchmail.server"].browse(mailboxes).fetch_mail()
            else:
                env["fetchmail.server"]._fetch_mails()
        self.server.queue_empty()

    def switch(self, protocol, mailboxes=None):
        """Fetch these mailboxes, else all, by this protocol from now on."""
        with self.environment() as env:
            servers = env["fetchmail.server"]
            servers = servers.browse(mailboxes) if mailboxes else servers.search([])
            servers.write(self._protocol(protocol))

    def notifications(self, order_id):
        """Give the delivery states of what was sent about an order: (status, failure reason)."""
        with self.environment() as env:
            messages = env["sale.order"].browse(order_id).message_ids
            notifications = messages.notification_ids.filtered(
                lambda n: n.notification_type == "email"
            )
            reasons = env["mail.mail"].search([("mail_message_id", "in", messages.ids)])
            return (
                notifications.mapped("notification_status"),
                "\n".join(filter(None, reasons.mapped("failure_reason"))),
            )

    # -- customers ----------------------------------------------------------------------------

    def received(self, address, count=1):
        """Wait until so many mails are in a customer's mailbox and give them, read."""
        mails = self.server.wait_for(address, count)
        return [email.message_from_bytes(raw, policy=email.policy.default) for raw in mails]

    def answer(self, question, text="We agree."):
        """Let the customer who got a mail answer it, as his mail program does."""
        sender = parseaddr(str(question["To"]))[1]
        answer = EmailMessage()
        answer["From"] = sender
        answer["To"] = str(question["Reply-To"])
        answer["Subject"] = f"Re: {question['Subject']}"
        answer["Message-ID"] = make_msgid(domain="example.net")
        answer["In-Reply-To"] = answer["References"] = str(question["Message-ID"])
        answer.set_content(text)
        self.server.send_from(sender, sender, parseaddr(str(question["Reply-To"]))[1], answer)
        return answer

    def write_to(self, to, subject, sender=CUSTOMER):
        """Let a customer write a new mail."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, to, subject
        message["Message-ID"] = make_msgid(domain="example.net")
        message.set_content("What does it cost?")
        self.server.send_from(sender, sender, to, message)
        self.server.queue_empty()
        return message

    def answers(self, order_id):
        """Give author's address and text of the answers on an order."""
        with self.environment() as env:
            order = env["sale.order"].browse(order_id)
            found = order.message_ids.filtered(lambda m: m.message_type == "email")
            return [
                (m.author_id.email, self.odoo.tools.html2plaintext(m.body).strip()) for m in found
            ]


class Office(NativeOffice):
    """A, B and C in one database with the addon."""

    def _furnish_companies(self, env):
        env["ir.config_parameter"].set_param("mail.catchall.domain", "a.com")
        for name in COMPANIES:
            company = env.company if name == "A" else env["res.company"].create({"name": name})
            self.company_ids[name] = company.id
            domain = env["mail.alias.domain"].create(
                {
                    "name": domain_of(name),
                    "company_id": company.id,
                    "catch_all": "yes" if name == "A" else "no",
                }
            )
            self.domains[name] = domain.id
            company.write(
                {
                    "name": name,
                    "email": f"info@{domain_of(name)}",
                    "alias_domain_id": domain.id,
                    "email_from_by_company": True,
                    "mail_server_by_domain": True,
                }
            )
            policy = "login" if name == "B" else "any"
            self._add_servers(env, name, company_id=company.id, sender_policy=policy)
            env["fetchmail.server"].browse(self.incoming[name]).company_id = company

    @contextmanager
    def settings(self, **values):
        """Let General Settings be others for a while."""
        self.set(**values)
        try:
            yield
        finally:
            self.set(mail_restrict_username=False, mail_catch_all=True)

    def set(self, **values):
        """Save General Settings."""
        with self.environment() as env:
            env["res.config.settings"].create(values).execute()

    def as_in_general_settings(self, company, **values):
        """Let a company's server and domain follow General Settings for a while.

        :param values: of the server, to be others meanwhile
        """
        stack = ExitStack()
        values = {"sender_policy": "default", **values}
        stack.enter_context(self.changed("ir.mail_server", self.outgoing[company], **values))
        domain_id = self.domains[company]
        stack.enter_context(self.changed("mail.alias.domain", domain_id, catch_all="default"))
        return stack

    def retry(self):
        """Retry what failed, as its button does, and run the queue."""
        with self.environment() as env:
            env["mail.mail"].search([("state", "=", "exception")]).action_retry()
            env["mail.mail"].process_email_queue()
        self.server.queue_empty()

    def unprocessed(self):
        """Give subject, company and reason of the mails that are kept as unprocessed."""
        with self.environment() as env:
            return [
                (mail.subject, mail.company_id.name, mail.reason)
                for mail in env["mail.unprocessed"].search([])
            ]
