# SPDX-License-Identifier: LGPL-3.0-only
"""A mail to an alias with a domain costs no more queries than one to an alias without."""

from email.message import EmailMessage

from odoo.tests import tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from .test_companies import TwoCompaniesCase
from .test_incoming import QUIET

#: what arrives: headers, and whether it answers a document
KINDS = {
    "a new mail": ({"To": "sales@a.com"}, False),
    "of a colleague": ({"To": "sales@a.com", "From": "zy@a.com"}, False),
    "with a copy to a colleague": ({"To": "sales@a.com", "Cc": "zy@a.com, x@example.org"}, False),
    "to the general domain": ({"To": "sales@odoomommy.com"}, False),
    "an answer": ({"To": "catchall@a.com"}, True),
    "an answer to the alias": ({"To": "sales@a.com"}, True),
    "a forward": ({"To": "partners@a.com"}, True),
}


@tagged("post_install", "-at_install")
class TestQueries(TwoCompaniesCase):
    def count(self):
        """Give kind -> queries of a mail of it, all caches of a process warm."""
        self.lead = self.env["crm.lead"].create({"name": "L", "company_id": self.a.id})
        reference = self.lead.message_post(body="Offer").message_id
        sender = f"stranger{self.lead.id}@example.net"  # one who is not writing too often
        counted = {}
        for warm in (False, True):
            for number, (kind, (headers, answers)) in enumerate(KINDS.items()):
                message = EmailMessage()
                for name, value in {"From": sender, **headers}.items():
                    message[name] = value
                message["Subject"] = kind
                message["Message-ID"] = f"<{warm}.{number}.{self.lead.id}@example.net>"
                if answers:
                    message["In-Reply-To"] = reference
                message.set_content("What does it cost?")
                self.env.flush_all()
                self.env.invalidate_all()
                before = self.env.cr.sql_log_count
                with mute_logger(*QUIET):
                    self.env["mail.thread"].message_process(None, message.as_bytes())
                self.env.flush_all()
                counted[kind] = self.env.cr.sql_log_count - before
        return counted

    def test_of_an_incoming_mail(self):
        new_test_user(self.env, "colleague", email="colleague@a.com")
        self.env["mail.alias"].search([("alias_name", "!=", False)]).alias_name = False
        aliases = self.env["mail.alias"].create(
            [
                {
                    "alias_name": name,
                    "alias_model_id": self.env["ir.model"]._get_id(model),
                    "alias_domain_id": False,
                }
                for name, model in (("sales", "crm.lead"), ("partners", "res.partner"))
            ]
        )
        # in turns, and the fewest of three: CRM itself takes one more now and then
        fewest = {}
        for _turn in range(3):
            for domain in (self.a.alias_domain_id.browse(), self.a.alias_domain_id):
                aliases.alias_domain_id = domain
                aliases[:1].alias_incoming_local = True  # the general domain's mail arrives too
                counts = fewest.setdefault(domain, {})
                for kind, queries in self.count().items():
                    counts[kind] = min(queries, counts.get(kind, queries))
        without, with_domain = fewest.values()
        for kind, queries in with_domain.items():
            self.assertLessEqual(queries, without[kind], kind)
