# SPDX-License-Identifier: LGPL-3.0-only
"""Every kind of mail that Odoo's apps send leaves as its company's, on the wire."""

import json

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import TradingCompanyCase
from .kinds import KINDS, chatter, invoices, send_batch


@tagged("post_install", "-at_install")
class TestKinds(TradingCompanyCase):
    def ask_json(self, url, params):
        """Call a JSON route as the web client does."""
        answer = self.url_open(
            url,
            data=json.dumps({"jsonrpc": "2.0", "method": "call", "params": params}),
            headers={"Content-Type": "application/json"},
        ).json()
        self.assertNotIn("error", answer)
        return answer["result"]

    def post_form(self, model, **values):
        """Submit a form of B's website as a visitor does."""
        answer = self.url_open(f"/website/form/{model}", data=values)
        self.assertTrue(answer.json() and answer.json().get("id"), answer.text)

    def leave(self, make, *args):
        """Let mails be made and sent; give how each arrived at which company's provider."""
        with self.in_production(), mute_logger("odoo.addons.mail.models.mail_mail"):
            make(self, *args)
            self.run_queue()
        for _server, mail in self.sent():
            self.assertEqual(mail.return_path, mail.mail_from)
        return [
            (server, mail.mail_from, mail.from_name, mail.header_from, mail.reply_to)
            for server, mail in self.sent()
        ]

    def check(self, kind, expected):
        self.assertEqual(
            self.leave(kind.make), [expected] * kind.count, f"{kind.why}\n{self.why_nothing()}"
        )

    def check_open(self, kind):
        self.check(kind, kind.leaves())

    def check_restricted(self, kind):
        self.restrict("B")
        self.check(kind, kind.leaves_restricted())

    def check_without_catch_all(self, kind):
        self.have_no_catch_all()
        self.check(kind, kind.leaves_without_catch_all())

    def test_invoices_of_two_companies_in_one_batch(self):
        moves = invoices(self, self.a, self.b)
        self.assertCountEqual(
            self.leave(send_batch, moves),
            [
                ("A", "bounce@a.com", "Murong Ziying", "zy@a.com", "catchall@a.com"),
                ("B", "bounce@b.com", "Murong Ziying", "zy@b.com", "catchall@b.com"),
            ],
            self.why_nothing(),
        )

    def test_what_is_current_and_ticked_decides_nothing_for_a_document(self):
        a, b = self.a, self.b
        for current, *ticked in ((a, b), (b, a), (b,)):
            order = self.order.with_env(self.env_of(self.ziying, current, *ticked))
            self.assertEqual(
                self.leave(chatter, order),
                [("B", "bounce@b.com", "Murong Ziying", "zy@b.com", "catchall@b.com")],
                f"{current.name} current\n{self.why_nothing()}",
            )
            self.providers["B"].clear()


def _add_tests():
    """Give the case tests for each kind, so that one can be run by its name."""
    for kind in KINDS:
        for way in ("open", "restricted", "without_catch_all"):

            def test(self, kind=kind, way=way):
                getattr(self, f"check_{way}")(kind)

            test.__name__ = f"test_{kind.name}_{way}"
            setattr(TestKinds, test.__name__, test)


_add_tests()
