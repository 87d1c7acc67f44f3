# SPDX-License-Identifier: LGPL-3.0-only
"""Set Up a Mailbox says what the provider found of the mail that came back."""

from unittest.mock import patch

from odoo.tests import tagged

from ..routing import DnsProvider
from .common import MailRoutingCase

PATH = "odoo.addons.mail_company_routing.wizards.mail_mailbox_authentication.provider_at"
HERE = DnsProvider("Loopback", "", hosts=(), authserv=("mx.odoomommy.com",))
GOOD = b"Authentication-Results: mx.odoomommy.com;\r\n spf=pass smtp.mailfrom=x; dkim=pass\r\n"
BAD = b"Authentication-Results: mx.odoomommy.com; spf=pass; dmarc=fail (p=reject)\r\n"
FORGED = b"Authentication-Results: mx.evil.com; spf=fail; dkim=fail; dmarc=fail\r\n"


@tagged("post_install", "-at_install")
class TestMailboxAuthentication(MailRoutingCase):
    def set_up(self, trace, **options):
        at = self.provider(**(options or {"imap": True}))
        at.trace = trace
        pop = "pop3" in options
        kind = self.env["mail.provider"].create(
            {
                "name": "Loopback",
                "smtp_host": at.smtp_host,
                "smtp_port": at.smtp_port,
                "smtp_encryption": "none",
                "imap_host": at.imap_host,
                "imap_port": at.imap_port,
                "imap_ssl": False,
                "pop_host": at.pop3_host,
                "pop_port": at.pop3_port,
                "pop_ssl": False,
                "restricted": True,
            }
        )
        wizard = self.env["mail.mailbox.setup"].create(
            {
                "provider_id": kind.id,
                "email": "kevin@odoomommy.com",
                "password": "secret",
                "incoming_type": "pop" if pop else "imap",
            }
        )
        with patch(PATH, lambda host: HERE):
            wizard.action_setup()
        self.assertTrue(wizard.succeeded, wizard.result)
        return wizard.result

    def test_what_is_right(self):
        said = "mx.odoomommy.com checked the mail that came back: SPF pass, DKIM pass."
        self.assertIn(said, self.set_up(GOOD))

    def test_by_pop3(self):
        said = "mx.odoomommy.com checked the mail that came back: SPF pass, DKIM pass."
        self.assertIn(said, self.set_up(GOOD, pop3=True))

    def test_what_is_wrong_leads_to_the_checkup(self):
        result = self.set_up(BAD)
        self.assertIn("SPF pass, DMARC fail.", result)
        self.assertIn("Look Up DNS Records", result)

    def test_what_others_write_is_not_said(self):
        self.assertNotIn("checked the mail", self.set_up(FORGED))

    def test_a_forged_one_beside_the_providers(self):
        result = self.set_up(FORGED + GOOD + b"Received: from evil\r\n" + BAD)
        self.assertIn("SPF pass, DKIM pass.", result)
        self.assertNotIn("DMARC", result)

    def test_nothing_to_say(self):
        none = b"Authentication-Results: mx.odoomommy.com; none\r\n"
        for trace in (b"", none):
            self.assertNotIn("checked the mail", self.set_up(trace))
