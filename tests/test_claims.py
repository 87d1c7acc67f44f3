# SPDX-License-Identifier: LGPL-3.0-only
"""A mail that one worker has claimed is nobody else's, and everybody's as soon as he is done."""

from contextlib import closing, contextmanager

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.tests import tagged
from odoo.tests.common import BaseCase, get_db_name
from odoo.tools import mute_logger


@tagged("post_install", "-at_install")
class TestClaims(BaseCase):
    """With real commits, in transactions of several workers."""

    def setUp(self):
        super().setUp()
        self.registry = Registry(get_db_name())
        with self.worker() as env:
            self.mail_id = (
                env["mail.mail"].create({"subject": "Claim", "email_to": "c@example.net"}).id
            )
            env.cr.commit()  # pylint: disable=invalid-commit
        self.addCleanup(self.delete)

    def delete(self):
        with self.registry.cursor() as cr:
            api.Environment(cr, SUPERUSER_ID, {})["mail.mail"].browse(self.mail_id).unlink()

    @contextmanager
    def worker(self):
        """Give the environment of a worker; what he has not committed is rolled back."""
        with closing(self.registry.cursor()) as cr:
            yield api.Environment(cr, SUPERUSER_ID, {})

    def claimed_by(self, env):
        """Give what a worker may send."""
        return env["mail.mail"].browse(self.mail_id)._claimed()

    def assertFree(self, is_free=True):
        with self.worker() as env, self.claimed_by(env) as mails:
            self.assertEqual(mails.ids, [self.mail_id] if is_free else [])

    def test_it_is_given_back(self):
        with self.worker() as env, self.claimed_by(env) as mails:
            self.assertEqual(mails.ids, [self.mail_id])
            self.assertFree(False)
        self.assertFree()

    @mute_logger("odoo.sql_db")
    def test_it_is_given_back_after_somebody_wrote_it_meanwhile(self):
        """PostgreSQL keeps the lock of a statement that it refuses."""
        with self.worker() as env:
            self.assertEqual(env["mail.mail"].browse(self.mail_id).subject, "Claim")
            with self.registry.cursor() as cr:
                another = api.Environment(cr, SUPERUSER_ID, {})
                another["mail.mail"].browse(self.mail_id).email_cc = "d@example.net"
            with self.claimed_by(env) as mails:
                self.assertEqual(mails.email_cc, "d@example.net")
            self.assertFree()
