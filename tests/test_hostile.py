# SPDX-License-Identifier: LGPL-3.0-only
"""Whatever stands in a mail, none of it becomes a header: mails from a seeded generator.

So many as MAILS says, 500 unless told otherwise; ``.ci/run`` has 10,000 made.
"""

import email
import os
import random
from email import policy

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import CUSTOMER, MailRoutingCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")
MAILS = int(os.environ.get("MAILS") or 500)
THROUGH_A_SOCKET = min(MAILS // 5, 300)
FIELDS = ("subject", "reply_to", "email_from", "email_to", "email_cc", "references", "attachment")

#: what a value is made of: pieces that break lines, hide line breaks, or end what holds them
PIECES = [
    *("\n", "\r", "\r\n", "\r\n ", "\n\t", "\n\n", "\r\n\r\n", "\x00", "\x0b", "\x0c", "\x1c"),
    *("\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\t", "\x7f", "\x1b", "\u200b", "\ufeff"),
    *("Bcc: evil@example.org", "X-Injected: 1", "To: evil@example.org", "\nBcc:evil@example.org"),
    *("\r\nX-Injected: yes", "\r\n\r\n<script>", "Subject:", "Content-Type: text/html"),
    "=?utf-8?q?=0d=0aBcc:_evil@example.org?=",
    "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5vcmc=?=",
    "=?iso-8859-1?Q?a=0AX-Injected:_1=0A?=",
    "=?utf-8?q?=0a=0a?=",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3F=0AX-Injected:_1=3F=3D?=",
    "=?unknown-8bit?q?=0aX-Injected:1?=",
    "=?no-such-charset?q?=0aX-Injected:1?=",
    "=?utf-8*en?q?=0aX-Injected:1?=",
    "=?utf-8?q?=00?=",
    "=?utf-8?b?////?=",
    "=?utf-8?b?x?=",
    *(
        '"',
        "'",
        "\\",
        '\\"',
        "<",
        ">",
        "<>",
        "(",
        ")",
        "((",
        "[",
        "]",
        ",",
        ";",
        ":",
        "@",
        "%0d%0a",
    ),
    *(
        "a@example.net",
        "<b@example.net>",
        "c@例え.jp",
        "@",
        "x" * 80,
        "w" * 200,
        "韩菱纱",
        "😀" * 30,
    ),
    *("Ünïcode", "Müller, Jürgen", "ACME (Ltd.)", "=?", "?=", "=?utf-8?q?", "&#10;", "{}", "%s"),
]
NEEDED = {"date", "from", "message-id", "mime-version", "reply-to", "subject", "to"}
OF_A_PART = {
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
    "mime-version",
}
SEPARATORS = ("", "", " ", "-")


class Hostile:
    """Makes the values of mails, the same for the same seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        pieces = self.random.choices(PIECES, k=self.random.randint(1, 6))
        return self.random.choice(SEPARATORS).join(pieces)

    def address(self):
        shape = self.random.choice(
            ("{}<x@example.net>", '"{}" <x@example.net>', "x{}@example.net", "x@example.net{}",
             "<x@example.net> {}", "x@example.net, {} <y@example.net>", "{}")
        )  # fmt: skip
        return shape.replace("{}", self.text())

    def values(self):
        """Give a mail in which one to all of :data:`FIELDS` are hostile."""
        hostile = set(self.random.sample(FIELDS, self.random.randint(1, len(FIELDS))))

        def value(name, plain, make):
            return make() if name in hostile else plain

        name = value("attachment", "a.txt", self.text)
        return {
            "subject": value("subject", "Offer", self.text),
            "email_from": value("email_from", "a@example.net", self.address),
            "email_to": [value("email_to", CUSTOMER, self.address)],
            "email_cc": [self.address()] if "email_cc" in hostile else [],
            "reply_to": value("reply_to", "b@example.net", self.address),
            "references": value("references", "<1@example.net>", self.text),
            "message_id": "<2@example.net>",
            "attachments": [(name, b"content", "text/plain")] if "attachment" in hostile else [],
            "headers": {"X-Note": self.text(), "X-" + self.text(): "1"}
            if self.random.random() < 0.2
            else {},
            "body": "<p>Body</p>",
            "subtype": "html",
        }


class Breaking(policy.EmailPolicy):
    """Folds a subject wrongly."""

    def fold_binary(self, name, value):
        folded = super().fold_binary(name, value)
        return folded + b"Bcc: evil@example.org\r\n" if name == "Subject" else folded


@tagged("post_install", "-at_install")
class TestHostile(MailRoutingCase):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**9))
        self.hostile = Hostile(self.seed)
        self.settings(mail_restrict_username=True)

    def wrong(self, data, names):
        """Give what is wrong with a mail as it went out.

        :param data: the mail
        :param names: of the headers that it is to have
        """
        for how in (policy.default, policy.compat32):
            message = email.message_from_bytes(data, policy=how)
            found = sorted(name.lower() for name in message)
            if found != names:
                return f"headers {found} instead of {names}"
            if {"bcc", "x-injected"} & set(found):
                return "injected"
            if message.defects:
                return f"defects {message.defects}"
            if not message.get_payload():
                return "no body"
            for part in message.walk():
                if part is not message and not {name.lower() for name in part} <= OF_A_PART:
                    return f"a part with {part.keys()}"
        return ""

    def test_thousands_of_mails(self):
        sender = self.env["ir.mail_server"]
        refused, wrong = 0, []
        for number in range(MAILS):
            values = self.hostile.values()
            try:
                message = sender.build_email(**values)
                sender._prepare_email_message(message, None)
                data = message.as_bytes()
            except AssertionError:
                refused += 1  # in native's words: no recipient, no sender
                continue
            except Exception as error:
                wrong.append((number, values, repr(error)))
                continue
            names = sorted(name.lower() for name in message)
            self.assertLessEqual(NEEDED, set(names), values)
            found = self.wrong(data, names)
            if found:
                wrong.append((number, values, found))
        told = "\n".join(map(str, wrong[:3]))
        self.assertFalse(wrong, f"SEED={self.seed}: {len(wrong)} mails, such as\n{told}")
        self.assertLess(refused, MAILS / 4)

    @mute_logger(*QUIET)
    def test_some_through_a_provider(self):
        provider = self.provider()
        self.mail_server(provider)
        mails = self.env["mail.mail"]
        for _number in range(THROUGH_A_SOCKET):
            values = {
                name: value.replace("\0", "")  # PostgreSQL stores none
                for name, value in self.hostile.values().items()
                if name in ("subject", "email_from", "reply_to", "references")
            }
            to = self.hostile.values()["email_to"][0].replace("\0", "")
            name = self.hostile.text().replace("\0", "")
            mails += self.mail(
                **values,
                email_to=f"{to}, {CUSTOMER}",
                attachment_ids=[(0, 0, {"name": name, "raw": b"x", "mimetype": "text/plain"})],
                headers=repr({"X-Note": self.hostile.text()}),
            )
        self.env["mail.mail"].process_email_queue()
        states = mails.mapped("state")
        self.assertLessEqual(set(states), {"sent", "exception"}, f"SEED={self.seed}")
        self.assertGreater(states.count("sent"), THROUGH_A_SOCKET / 2, f"SEED={self.seed}")
        for mail in mails.filtered(lambda mail: mail.state == "exception"):
            self.assertTrue(mail.failure_reason, f"SEED={self.seed}")
        for mail in provider.mails:
            message = email.message_from_bytes(mail.data, policy=policy.compat32)
            names = sorted(name.lower() for name in message)
            self.assertLessEqual(NEEDED, set(names))
            self.assertEqual(len(names), len(set(names)), f"SEED={self.seed}: {names}")
            self.assertFalse(self.wrong(mail.data, names), f"SEED={self.seed}: {mail.data}")

    def test_a_line_break_in_a_companys_name_stops_no_mail(self):
        provider = self.provider()
        self.mail_server(provider)
        self.company.name = "Qingdao\nBcc: evil@example.org\r\nOhm"
        self.settings(mail_sender_name_format="name_company")
        self.post()
        mail = self.one_mail(provider)
        self.assertFalse(mail.message["Bcc"])
        self.assertIn("Qingdao", str(mail.message["From"]))

    @mute_logger(*QUIET)
    def test_what_another_addon_puts_in_is_refused_in_a_sentence(self):
        """A header that is folded wrongly when it is too late to change it."""
        provider = self.provider()
        self.mail_server(provider, name="Ohm SMTP")

        sender = self.registry["ir.mail_server"]
        build = sender.build_email

        def building(server, *args, **kwargs):
            message = build(server, *args, **kwargs)
            message.policy = Breaking(linesep="\r\n")
            return message

        self.patch(sender, "build_email", building)
        mail = self.mail()
        mail.send()
        self.assertFalse(provider.mails)
        self.assertEqual(mail.state, "exception")
        self.assertIn("would make a header of its own, Bcc:", mail.failure_reason)
