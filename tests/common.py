# SPDX-License-Identifier: LGPL-3.0-only
"""What the tests of this addon share; other addons may use it for theirs.

One helper stands for a mail provider: a real one on loopback, see :mod:`..dev.provider`. Nothing
is mocked between Odoo and its sockets.
"""

from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import getaddresses, make_msgid
from unittest.mock import patch

from odoo import SUPERUSER_ID
from odoo.exceptions import ValidationError
from odoo.tests.common import TransactionCase, new_test_user

from ..dev.provider import Mail, Provider

CUSTOMER = "customer@example.net"


def make_users_quickly(case):
    """Let a new user take no time: no half second for his password, no mail that invites him.

    :param case: class of tests, in its ``setUpClass``
    """
    rounds = "odoo.addons.base.models.res_users.MIN_ROUNDS"
    case.startClassPatcher(patch(rounds, 1, create=True))
    case.env = case.env(context={**case.env.context, "no_reset_password": True})


class MailRoutingCase(TransactionCase):
    """Qingdao Ohm of the worked examples, its provider, and a customer.

    ``provider()`` starts a provider, ``mail_server()`` and ``incoming_server()`` make the records
    that use it, ``settings()`` sets General Settings the way the form does.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        make_users_quickly(cls)
        # real sockets: in test mode Odoo would open no connection
        cls.startClassPatcher(
            patch.object(cls.registry["ir.mail_server"], "_is_test_mode", lambda self: False)
        )
        cls.env["ir.mail_server"].search([]).write({"active": False})
        set_param = cls.env["ir.config_parameter"].set_param
        set_param("mail.catchall.domain", "odoomommy.com")
        set_param("mail.catchall.alias", "catchall")
        set_param("mail.bounce.alias", "bounce")
        set_param("mail.default.from", "notifications")
        cls.company = cls.env.company
        cls.company.name = "Qingdao Ohm"
        cls.lingsha = new_test_user(
            cls.env,
            "lingsha",
            groups="base.group_user,base.group_partner_manager",
            name="韩菱纱",
            email="lingsha.han@odoomommy.com",
        )
        cls.lingsha.notification_type = "inbox"
        cls.customer = cls.env["res.partner"].create({"name": "Customer", "email": CUSTOMER})
        cls.document = cls.env["res.partner"].create({"name": "Document"})

    @classmethod
    def settings(cls, **values):
        """Save General Settings with these values."""
        cls.env["res.config.settings"].create(values).execute()

    def provider(self, accounts=None, rule="tencent", **options) -> Provider:
        """Start a provider that lives as long as the test.

        :param accounts: password by login; kevin@odoomommy.com where none are given
        :param rule: whose rule it applies, a name in :data:`..dev.provider.RULES`
        """
        accounts = accounts or {"kevin@odoomommy.com": "secret"}
        provider = Provider(accounts, rule, **options)
        self.addCleanup(provider.stop)
        return provider.start()

    def mail_server(self, provider, login="kevin@odoomommy.com", password="secret", **values):
        """Make the outgoing server that logs in at a provider; no login: a relay."""
        return self.env["ir.mail_server"].create(
            {
                "name": "Ohm SMTP",
                "smtp_host": provider.smtp_host,
                "smtp_port": provider.smtp_port,
                "smtp_user": login,
                "smtp_pass": password if login else False,
                **values,
            }
        )

    def incoming_server(self, provider, login="kevin@odoomommy.com", **values):
        """Make the incoming server that fetches a mailbox of a provider, confirmed."""
        return self.env["fetchmail.server"].create(
            {
                "name": f"Mailbox {login}",
                "server_type": "imap",
                "server": provider.imap_host,
                "port": provider.imap_port,
                "user": login,
                "password": "secret",
                "state": "done",
                **values,
            }
        )

    def post(self, record=None, author=None, to=None, **values):
        """Write to the customer in the chatter, as Lingsha unless told otherwise.

        :return: the message; its mail is sent at once
        """
        record = (record or self.document).with_user(author or self.lingsha)
        return record.message_post(
            body="Hello",
            partner_ids=(to or self.customer).ids,
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            **{"force_send": True, "mail_auto_delete": False, **values},
        )

    def mail(self, author=None, **values):
        """Write a mail that waits in the queue."""
        author = author or self.lingsha
        return self.env["mail.mail"].create(
            {
                "subject": "Offer",
                "body_html": "<p>Offer</p>",
                "email_from": author.email_formatted,
                "email_to": CUSTOMER,
                "auto_delete": False,
                **values,
            }
        )

    def fetch(self, servers=None):
        """Fetch mailboxes as the cron does, all confirmed ones unless told otherwise."""
        # fetching commits after each mail, which would end the test's transaction
        with patch.object(self.env.cr, "commit", self.env.flush_all):
            if servers is None:
                self.env["fetchmail.server"].with_user(SUPERUSER_ID)._fetch_mails()
            else:
                servers.fetch_mail()

    def answer(self, provider, mail, **headers):
        """Let the customer answer a mail, through the real provider.

        :param mail: what the customer got
        :param headers: to set otherwise: ``to``, ``sender``
        """
        answer = EmailMessage()
        answer["From"] = headers.get("sender", f"Customer <{CUSTOMER}>")
        answer["To"] = headers.get("to") or str(mail.message["Reply-To"])
        answer["Subject"] = f"Re: {mail.message['Subject']}"
        answer["Message-ID"] = make_msgid(domain="example.net")
        answer["In-Reply-To"] = str(mail.message["Message-Id"])
        answer.set_content("We agree.")
        return self.receive(provider, answer)

    def write_to(self, provider, to, subject="Enquiry", **headers):
        """Let the customer write a new mail."""
        message = EmailMessage()
        message["From"] = headers.pop("sender", f"Customer <{CUSTOMER}>")
        message["To"] = to
        message["Subject"] = subject
        message["Message-ID"] = make_msgid(domain="example.net")
        for name, value in headers.items():
            message[name.replace("_", "-")] = value
        message.set_content("What does it cost?")
        return self.receive(provider, message)

    def receive(self, provider, message):
        """Put a message into the mailbox that its recipient has at a provider."""
        for _name, address in getaddresses([str(message["To"])]):
            mailbox = provider.deliver(address, message.as_bytes())
        self.assertTrue(mailbox, f"{message['To']} has no mailbox")
        return message

    def one_mail(self, provider) -> Mail:
        """Give the one mail that the provider accepted."""
        self.assertEqual(
            len(provider.mails), 1, f"accepted: {provider.mails}, refused: {provider.refusals}"
        )
        return provider.mails[0]

    @contextmanager
    def assertRefused(self, *words):
        """Check that a user's mistake is refused in a sentence that has these words."""
        with self.assertRaises(ValidationError) as caught:  # in a savepoint, as Odoo does it
            yield
        for word in words:
            self.assertIn(word, str(caught.exception))

    def assertLeavesAsLogin(self, mail: Mail, login="kevin@odoomommy.com", name=None):
        """Check the three senders of a restricted mail."""
        self.assertEqual(mail.mail_from, login)
        self.assertEqual(mail.header_from, login)
        self.assertEqual(mail.return_path.strip("<>"), login)
        self.assertEqual(mail.from_name, name or "韩菱纱 (lingsha.han@odoomommy.com)")
        self.assertEqual(len(mail.message.get_all("From")), 1)
        self.assertIsNone(mail.message["Sender"])
