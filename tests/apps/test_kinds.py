"""Every kind of mail that Odoo's apps send leaves as its company's, on the wire."""

import json

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import TradingCompanyCase
from .kinds import KINDS


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

    def check(self, kind, restricted):
        if restricted:
            self.restrict("B")
        with self.in_production(), mute_logger("odoo.addons.mail.models.mail_mail"):
            kind.make(self)
            self.run_queue()
        (name, address), mail_from = kind.header_from, kind.mail_from
        if restricted:
            login = "kevin@b.com"
            name, address, mail_from = f"{name} ({address})", login, login
        came_out = [
            (server, mail.mail_from, mail.from_name, mail.header_from, mail.reply_to)
            for server, mail in self.sent()
        ]
        self.assertEqual(
            came_out,
            [(kind.server, mail_from, name, address, kind.reply_to)] * kind.count,
            f"{kind.why}\n{self.why_nothing()}",
        )
        for _server, mail in self.sent():
            self.assertEqual(mail.return_path, mail_from)


def _add_tests():
    """Give the case two tests for each kind, so that one can be run by its name."""
    for kind in KINDS:
        for restricted in (False, True):

            def test(self, kind=kind, restricted=restricted):
                self.check(kind, restricted)

            name = f"test_{kind.name}" + ("_restricted" if restricted else "")
            test.__name__ = name
            setattr(TestKinds, name, test)


_add_tests()
