# SPDX-License-Identifier: LGPL-3.0-only
"""A server that takes an envelope, or a whole mail, in one go: what arrives, and what is told."""

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import MailRoutingCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")
CHUNKING = ("PIPELINING", "CHUNKING")


@tagged("post_install", "-at_install")
class TestRoundTrips(MailRoutingCase):
    def provider_that_announces(self, *extensions):
        provider = self.provider(announces=extensions)
        self.server = self.mail_server(provider, sender_policy="login")
        return provider

    def send(self, count=3):
        mails = self.env["mail.mail"].union(
            *(self.mail(subject=str(number), body_html="<p>.\n.</p>") for number in range(count))
        )
        self.env["mail.mail"].process_email_queue()
        return mails

    def verbs(self, provider):
        return {verb for _session, verb in provider.commands}

    def test_every_mail_arrives_once_and_whole(self):
        contents = []
        for extensions, verb in (((), "DATA"), (("PIPELINING",), "DATA"), (CHUNKING, "BDAT")):
            with self.subTest(extensions=extensions):
                provider = self.provider_that_announces(*extensions)
                mails = self.send()
                self.assertEqual(set(mails.mapped("state")), {"sent"})
                self.assertEqual(
                    [mail.message["Subject"] for mail in provider.mails], ["0", "1", "2"]
                )
                self.assertIn(verb, self.verbs(provider))
                self.assertEqual(provider.sessions, 1)
                contents.append([mail.message.get_body().get_content() for mail in provider.mails])
                self.server.active = False
        self.assertEqual(contents[0], contents[1])
        self.assertEqual(contents[0], contents[2])

    @mute_logger(*QUIET)
    def test_a_refusal_says_the_same_and_costs_no_neighbour(self):
        told = []
        for extensions in ((), ("PIPELINING",), CHUNKING):
            with self.subTest(extensions=extensions):
                provider = self.provider_that_announces(*extensions)
                provider.fail("rcpt", "550 5.1.1 Nobody there", after=1)
                mails = self.send()
                self.assertEqual(mails.mapped("state"), ["sent", "exception", "sent"])
                told.append(mails[1].failure_reason)
                self.assertEqual(len(provider.mails), 2)
                self.server.active = False
        self.assertIn("550 5.1.1 Nobody there", told[0])
        self.assertEqual(told[0], told[1])
        self.assertEqual(told[0], told[2])

    @mute_logger(*QUIET)
    def test_a_server_that_does_not_keep_what_it_announces(self):
        """It is asked one command at a time from then on, and Explain says so."""
        provider = self.provider_that_announces(*CHUNKING)
        provider.fail("mail", "drop")
        self.send(1)
        provider.heal()
        lanes = self.env["mail.lane"]
        self.assertIn("0 of 3", lanes._lockstep_reason(self.server.id))
        wizard = self.env["mail.route.explain"].create({"email_from": "kevin@odoomommy.com"})
        self.assertIn("one command at a time", wizard.reasons)
        self.server.action_try_now()
        provider.clear()
        (mail,) = self.send(1)
        self.assertEqual(mail.state, "sent")
        self.assertEqual(self.verbs(provider) & {"DATA", "BDAT"}, {"DATA"})
