# SPDX-License-Identifier: LGPL-3.0-only
"""The same alias in several domains: ``sales@a.com`` is not ``sales@b.com``."""

from email.message import EmailMessage

from lxml import etree
from psycopg2 import IntegrityError

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from .common import CUSTOMER
from .test_companies import TwoCompaniesCase
from .test_incoming import QUIET


class AliasCase(TwoCompaniesCase):
    """A, B and C with a domain and a catch-all each; CRM's own alias ``info`` has no name here."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c = cls.env["res.company"].create({"name": "C", "email": "office@c.com"})
        domain = cls.env["mail.alias.domain"].create({"name": "c.com", "company_id": cls.c.id})
        cls.c.write({"alias_domain_id": domain.id, "mail_server_by_domain": True})
        cls.env["mail.alias"].search([("alias_name", "!=", False)]).alias_name = False
        cls.ziying.groups_id += cls.env.ref("sales_team.group_sale_salesman_all_leads")
        cls.lead_model = cls.env["ir.model"]._get_id("crm.lead")
        cls.partner_model = cls.env["ir.model"]._get_id("res.partner")

    def alias(self, name, company=None, **values):
        """Make an alias that makes leads, in a company's Email Domain; None: without one."""
        domain = company.alias_domain_id if company else self.env["mail.alias.domain"]
        return self.env["mail.alias"].create(
            {
                "alias_name": name,
                "alias_domain_id": domain.id,
                "alias_model_id": self.lead_model,
                **values,
            }
        )

    def process(self, to, subject="Enquiry", sender=CUSTOMER, **headers):
        """Let a mail arrive, and give the leads and contacts that it makes."""
        before = self.env["crm.lead"].search([]), self.env["res.partner"].search([])
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, to, subject
        message["Message-ID"] = f"<{self.env['ir.sequence'].search_count([])}.{subject}.{to}@x.net>"
        for name, value in headers.items():
            message[name.replace("_", "-")] = value
        message.set_content("What does it cost?")
        with mute_logger(*QUIET):
            self.env["mail.thread"].with_context(
                mail_company_routing_send_later=True
            ).message_process(None, message.as_bytes())
        return (
            self.env["crm.lead"].search([]) - before[0],
            self.env["res.partner"].search([]) - before[1],
        )

    def leads(self, to, **headers):
        """Give the names of the companies whose leads a mail makes."""
        return sorted(self.process(to, **headers)[0].mapped("company_id.name"))


@tagged("post_install", "-at_install")
class TestAddresses(AliasCase):
    def test_a_name_in_each_domain_and_none_twice(self):
        of_a, of_b = self.alias("sales", self.a), self.alias("sales", self.b)
        general = self.alias("sales")
        self.assertEqual(
            (of_a + of_b + general).mapped("display_name"),
            ["sales@a.com", "sales@b.com", "sales@odoomommy.com"],
        )
        self.assertEqual(
            (of_a + of_b + general).mapped("alias_full_name"),
            ["sales@a.com", "sales@b.com", "sales"],
        )
        self.assertEqual(
            (of_a + of_b + general).mapped("alias_incoming_local"), [False, False, True]
        )
        for company, address in ((self.a, "sales@a.com"), (None, "sales@odoomommy.com")):
            with self.assertRaises(UserError) as refused:
                self.alias("Sales", company)
            self.assertIn(address, str(refused.exception))
        with self.assertRaises(UserError):
            of_b.alias_domain_id = of_a.alias_domain_id
        with self.assertRaises(UserError):
            self.env["mail.alias"].create(
                [
                    {
                        "alias_name": "twice",
                        "alias_domain_id": self.a.alias_domain_id.id,
                        "alias_model_id": self.lead_model,
                    }
                ]
                * 2
            )
        of_b.write({"alias_name": "verkauf"})
        of_b.write({"alias_name": "sales"})

    def test_postgresql_guards_it_too(self):
        self.alias("sales", self.a)
        other = self.alias("jobs", self.a)
        self.env.flush_all()
        with self.assertRaises(IntegrityError), mute_logger("odoo.sql_db"), self.cr.savepoint():
            self.cr.execute("UPDATE mail_alias SET alias_name = 'sales' WHERE id = %s", [other.id])

    def test_a_taken_address_is_refused_by_the_name_of_what_has_it(self):
        team = self.env["crm.team"].create({"name": "Europe", "alias_name": "sales"})
        self.assertEqual(team.alias_id.display_name, "sales@odoomommy.com")
        with self.assertRaises(UserError) as refused:
            self.alias("sales")
        self.assertIn("Europe", str(refused.exception))

    def test_the_general_domain_in_the_table_is_one_domain(self):
        self.env["ir.config_parameter"].set_param("mail.catchall.domain", "a.com")
        self.alias("sales")
        with self.assertRaises(UserError):
            self.alias("sales", self.a)
        self.alias("jobs", self.a)
        with self.assertRaises(UserError):
            self.alias("jobs")

    def test_no_bounce_or_catchall_address(self):
        self.b.alias_domain_id.write({"catchall_alias": "answers", "bounce_alias": "returned"})
        for name in ("answers", "returned"):
            with self.assertRaises(UserError) as refused:
                self.alias(name, self.b)
            self.assertIn(f"{name}@b.com", str(refused.exception))
            self.alias(name, self.a)  # there it is nothing of the kind
        self.alias("sales", self.b)
        with self.assertRefused("sales@b.com"):
            self.b.alias_domain_id.catchall_alias = "sales"
        self.a.alias_domain_id.catchall_alias = "sales"

    def test_a_new_alias_is_in_its_companys_domain(self):
        def team(name, company, in_force):
            return (
                self.env["crm.team"]
                .with_company(in_force)
                .create({"name": name, "alias_name": name, "company_id": company.id})
            )

        for record, address in (
            (team("x1", self.b, self.a), "x1@b.com"),
            (team("x2", self.env["res.company"], self.a), "x2@a.com"),
            (team("x3", self.c, self.b), "x3@c.com"),
        ):
            self.assertEqual(record.alias_id.display_name, address)
        defaults = self.env["mail.alias"].create(
            {
                "alias_name": "x4",
                "alias_model_id": self.lead_model,
                "alias_defaults": {"company_id": self.b.id},
            }
        )
        self.assertEqual(defaults.display_name, "x4@b.com")
        parent = self.env["mail.alias"].create(
            {
                "alias_name": "x5",
                "alias_model_id": self.lead_model,
                "alias_parent_model_id": self.env["ir.model"]._get_id("res.partner"),
                "alias_parent_thread_id": self.of_b.id,
            }
        )
        self.assertEqual(parent.display_name, "x5@b.com")
        several = self.env["crm.team"].create(
            [
                {"name": "y", "alias_name": "y", "company_id": company.id}
                for company in (self.a, self.b, self.c)
            ]
        )
        self.assertEqual(several.mapped("alias_id.display_name"), ["y@a.com", "y@b.com", "y@c.com"])

    def test_a_record_that_moves_takes_its_address_along(self):
        team = self.env["crm.team"].create(
            {"name": "Sales", "alias_name": "sales", "company_id": self.a.id}
        )
        team.company_id = self.b
        self.assertEqual(team.alias_id.display_name, "sales@b.com")
        self.alias("sales", self.a)
        with self.assertRaises(ValidationError) as refused:  # taken there
            team.company_id = self.a
        self.assertIn("sales@b.com", str(refused.exception))

    def test_a_record_that_moves_leaves_no_domain_of_the_company_behind(self):
        second = self.env["mail.alias.domain"].create({"name": "a2.com", "company_id": self.a.id})
        team = self.env["crm.team"].create(
            {
                "name": "Sales",
                "alias_name": "sales",
                "alias_domain_id": second.id,
                "company_id": self.a.id,
            }
        )
        team.company_id = self.b
        self.assertEqual(team.alias_id.display_name, "sales@b.com")

    def test_what_was_so_before_keeps_nobody_from_saving(self):
        """An app writes a team's alias values anew; they stay the same."""
        team = self.env["crm.team"].create(
            {"name": "Sales", "alias_name": "sales", "company_id": self.b.id}
        )
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE mail_alias SET alias_domain_id = %s WHERE id = %s",
            [self.a.alias_domain_id.id, team.alias_id.id],
        )
        self.env.invalidate_all()
        team.alias_id.write(team._alias_get_creation_values())
        team.use_leads = not team.use_leads

    def test_installing_an_app_never_stumbles_over_a_domain(self):
        """#173999, #219223: what an app comes with finds a place, whatever the domains."""
        self.env.company.alias_domain_id = self.a.alias_domain_id
        self.a.alias_domain_id.catchall_alias = "info"
        self.alias("jobs", self.a)
        for name in ("info", "jobs"):
            alias = self.env["mail.alias"].create(
                {"alias_name": name, "alias_model_id": self.lead_model}
            )
            self.assertFalse(alias.alias_domain_id, "as it would be without domains")
        self.env.company.alias_domain_id = False
        alias = self.env["mail.alias"].create(
            {"alias_name": "support", "alias_model_id": self.lead_model}
        )
        self.assertFalse(alias.alias_domain_id)

    def test_installing_an_app_while_the_general_domain_is_in_the_table(self):
        """Its catchall address may be what the app's alias is called: nobody chose that name."""
        self.env["ir.config_parameter"].set_param("mail.catchall.domain", "a.com")
        self.a.alias_domain_id.catchall_alias = "info"
        values = {"alias_name": "info", "alias_model_id": self.lead_model}
        for in_force in (self.a, self.b):
            in_force.alias_domain_id = in_force == self.a and self.a.alias_domain_id
            alias = self.env["mail.alias"].with_company(in_force).create(values)
            self.assertEqual(alias.display_name, "info@a.com")
            self.assertEqual(len(self.process("info@a.com", in_force.name)[0]), 1)
            alias.unlink()
        with self.assertRaises(UserError):  # but nobody may choose it
            self.env["mail.alias"].create({**values, "alias_domain_id": False})

    def test_an_app_names_the_alias_of_a_record_that_was_there(self):
        """CRM's data does, at its installation: of a team that the sales app has made."""
        self.a.alias_domain_id.catchall_alias = "info"
        team = self.env["crm.team"].create({"name": "Sales", "company_id": self.a.id})
        self.assertEqual(team.alias_domain_id, self.a.alias_domain_id)
        self.patch(self.env.registry, "ready", False)
        team.write({"alias_name": "info"})
        self.assertFalse(team.alias_id.alias_domain_id)
        self.assertEqual(team.alias_id.alias_name, "info")

    def test_a_record_has_no_address_in_another_companys_domain(self):
        team = self.env["crm.team"].create(
            {"name": "B", "alias_name": "sales", "company_id": self.b.id}
        )
        with self.assertRaises(ValidationError) as refused:
            team.alias_domain_id = self.a.alias_domain_id
        self.assertIn("sales@a.com", str(refused.exception))
        shared = self.env["mail.alias.domain"].create({"name": "shared.com", "company_id": False})
        team.alias_domain_id = shared
        # what a company has as its Email Domain is its own, whoever entered it
        self.b.alias_domain_id = self.c.alias_domain_id
        team.alias_domain_id = self.c.alias_domain_id
        self.assertEqual(team.alias_id.display_name, "sales@c.com")

    def test_an_archived_company_blocks_no_domain(self):
        """#169613"""
        self.alias("sales", self.b)
        self.c.active = False
        domain = self.env["mail.alias.domain"].create({"name": "d.com"})
        self.assertTrue(domain.active)
        self.alias("sales").alias_domain_id = domain

    def test_a_domain_in_use_stays(self):
        alias = self.alias("sales", self.c)
        domain = self.c.alias_domain_id
        self.c.alias_domain_id = False
        for take_away in (domain.unlink, lambda: domain.write({"active": False})):
            with self.assertRaises(UserError) as refused:
                take_away()
            self.assertIn("sales@c.com", str(refused.exception))
        alias.alias_name = False
        domain.unlink()
        self.assertFalse(alias.alias_domain_id)

    def test_a_renamed_domain_renames_its_addresses(self):
        alias = self.alias("sales", self.b)
        self.b.alias_domain_id.name = "bücher.de"
        self.assertEqual(alias.alias_full_name, "sales@xn--bcher-kva.de")
        self.assertEqual(alias.display_name, "sales@xn--bcher-kva.de")


@tagged("post_install", "-at_install")
class TestIncoming(AliasCase):
    def test_each_address_makes_its_companys_lead(self):
        self.alias("sales", self.a)
        self.alias("sales", self.b)
        self.assertEqual(self.leads("sales@a.com"), ["A"])
        self.assertEqual(self.leads("Sales@B.COM", subject="2"), ["B"])
        self.assertEqual(self.leads("sales@a.com, sales@b.com", subject="3"), ["A", "B"])
        self.assertEqual(self.leads("x@example.org", Cc="sales@b.com", subject="4"), ["B"])
        self.assertEqual(self.leads("x@example.org", Delivered_To="sales@b.com"), ["B"])

    def test_a_general_alias_takes_what_no_other_has(self):
        self.alias("sales")
        self.alias("sales", self.b)
        self.assertEqual(self.leads("sales@b.com"), ["B"])
        for address in ("sales@a.com", "sales@odoomommy.com", "sales@example.org"):
            self.assertEqual(len(self.process(address)[0]), 1, address)

    def test_an_alias_in_a_shared_domain_decides_for_its_own_company(self):
        """Whoever else the mail is for."""
        shared = self.env["mail.alias.domain"].create({"name": "shared.com", "company_id": False})
        self.a.mail_server_by_domain = True
        self.alias(
            "sales",
            alias_domain_id=shared.id,
            alias_parent_model_id=self.partner_model,
            alias_parent_thread_id=self.of_a.id,
        )
        self.assertEqual(self.leads("sales@shared.com", Cc="zy@b.com"), ["A"])

    def test_forwarders_that_rely_on_the_local_part(self):
        """#41042"""
        alias = self.alias("sales", self.b)
        with self.assertRaises(ValueError):
            self.process("sales@old-domain.com")
        alias.alias_incoming_local = True
        self.assertEqual(self.leads("sales@old-domain.com"), ["B"])

    def test_any_domain_stays_on_in_another_domain(self):
        alias = self.alias("sales", self.a, alias_incoming_local=True)
        alias.alias_domain_id = self.b.alias_domain_id
        self.assertTrue(alias.alias_incoming_local)

    def test_a_form_whose_company_is_chosen_late(self):
        """The form of A's user proposes A's domain, and sends it along with the company B."""
        team = (
            self.env["crm.team"]
            .with_company(self.a)
            .create(
                {
                    "name": "Late",
                    "company_id": self.b.id,
                    "alias_name": "late",
                    "alias_domain_id": self.a.alias_domain_id.id,
                }
            )
        )
        self.assertEqual(team.alias_id.display_name, "late@b.com")

    def test_the_general_catchall_is_no_alias_of_any_domain(self):
        self.alias("info", self.b)
        with self.assertRaises(UserError):
            self.env["ir.config_parameter"].set_param("mail.catchall.alias", "info")

    def test_what_nobody_is_told_of_is_kept(self):
        """After native's limit on refusals nothing is said: the mail has no route, and is kept."""
        self.alias("jobs", self.a)
        self.env["ir.config_parameter"].set_param("mail.gateway.loop.threshold", "1")
        self.process("jobs@b.com", subject="first")
        with self.assertRaises(ValueError):
            self.process("jobs@b.com", subject="second")

    def test_only_the_unknown_name_is_said_to_be_unknown(self):
        self.alias("jobs", self.a)
        self.process("jobs@b.com, zy@b.com")
        refusal = self.env["mail.mail"].search([], order="id desc", limit=1)
        self.assertIn("jobs@b.com", refusal.body_html)
        self.assertNotIn("zy@b.com", refusal.body_html)

    def test_what_is_no_alias_here_is_refused_in_that_companys_name(self):
        """#244296"""
        self.alias("info", self.a)
        self.alias("info", self.b)
        leads, _contacts = self.process("info@c.com")
        self.assertFalse(leads)
        refusal = self.env["mail.mail"].search([("email_to", "=", CUSTOMER)])
        self.assertEqual(len(refusal), 1)
        self.assertEqual(refusal.record_company_id, self.c)
        self.assertIn("info@c.com", refusal.body_html)
        self.assertIn("office@c.com", refusal.body_html)
        with self.assertRaises(ValueError):  # nor is a robot told: it is kept
            self.process("info@c.com", subject="2", Auto_Submitted="auto-generated")

    def test_an_alias_refuses_in_its_own_companys_name(self):
        self.alias("staff", self.a, alias_contact="partners")
        self.alias("sales", self.b, alias_contact="partners")
        self.process("staff@a.com, sales@b.com", sender="stranger@example.net")
        refusals = self.env["mail.mail"].search([("email_to", "=", "stranger@example.net")])
        self.assertEqual(refusals.record_company_id, self.b, "one refusal of a mail is enough")
        self.process("sales@b.com", sender="other@example.net")
        refusal = self.env["mail.mail"].search([("email_to", "=", "other@example.net")])
        self.assertEqual(refusal.record_company_id, self.b)
        self.assertIn("sales@b.com", refusal.body_html)

    def test_a_reply_to_an_alias_of_another_domain_is_none_of_this_one(self):
        self.alias("info", self.a, alias_model_id=self.partner_model)
        self.alias("info", self.b)
        lead = self.env["crm.lead"].create({"name": "L", "company_id": self.b.id})
        question = lead.message_post(body="Offer")
        made = self.process("info@b.com", In_Reply_To=question.message_id)
        self.assertEqual(made, (self.env["crm.lead"], self.env["res.partner"]))
        self.assertIn(CUSTOMER, lead.message_ids[0].email_from)
        # to the other one it is a forward
        _leads, contacts = self.process("info@a.com", "2", In_Reply_To=question.message_id)
        self.assertEqual(len(contacts), 1)

    def test_a_forward_goes_on_with_the_address_that_made_it_one(self):
        self.alias("info", self.a, alias_model_id=self.partner_model)
        self.alias("info", self.b)
        lead = self.env["crm.lead"].create({"name": "L", "company_id": self.b.id})
        question = lead.message_post(body="Offer")
        leads, contacts = self.process(
            "info@a.com", Cc="info@b.com", In_Reply_To=question.message_id
        )
        self.assertEqual((len(leads), len(contacts)), (0, 1))

    def test_an_alias_is_no_contact_and_a_stranger_is_none_of_ours(self):
        """#244272"""
        self.alias("sales", self.b)
        emails = ["sales@b.com", "sales@a.com", "sales@example.org", "Sales <SALES@b.com>"]
        found = self.env["mail.thread"]._mail_find_partner_from_emails(emails, force_create=True)
        self.assertEqual(
            [partner.email for partner in found],
            [False, "sales@a.com", "sales@example.org", False],
        )
        self.assertEqual(found[1].env.context, self.env.context)
        find = self.env["mail.thread"]._mail_find_user_for_gateway
        seller = new_test_user(self.env, "seller", email="sales@b.com")
        self.assertFalse(find("sales@b.com"))
        seller.email = "sales@a.com"
        self.assertEqual(find("sales@a.com"), seller)

    def test_answers_go_to_the_aliass_own_address(self):
        for company in (self.a, self.b):
            team = self.env["crm.team"].create(
                {"name": company.name, "alias_name": "sales", "company_id": company.id}
            )
            lead = self.env["crm.lead"].create(
                {"name": "L", "team_id": team.id, "company_id": company.id}
            )
            self.post(lead, self.ziying)
            provider = self.provider_a if company == self.a else self.provider_b
            self.assertEqual(
                self.one_mail(provider).reply_to, f"sales@{company.alias_domain_id.name}"
            )

    def test_no_answer_goes_to_the_same_name_in_another_domain(self):
        team = self.env["crm.team"].create({"name": "B", "company_id": self.b.id})
        team.alias_id.write({"alias_name": "sales", "alias_domain_id": False})
        lead = self.env["crm.lead"].create(
            {"name": "L", "team_id": team.id, "company_id": self.b.id}
        )
        self.assertIn("<sales@b.com>", lead._notify_get_reply_to()[lead.id])
        self.alias("sales", self.b)
        self.assertIn("<sales@odoomommy.com>", lead._notify_get_reply_to()[lead.id])
        self.env["ir.config_parameter"].set_param("mail.catchall.domain", "")
        self.assertIn("<catchall@b.com>", lead._notify_get_reply_to()[lead.id])

    def test_no_answer_goes_where_nothing_arrives(self):
        self.b.alias_domain_id.catch_all = "no"
        team = self.env["crm.team"].create(
            {"name": "B", "alias_name": "sales", "company_id": self.b.id}
        )
        lead = self.env["crm.lead"].create(
            {"name": "L", "team_id": team.id, "company_id": self.b.id}
        )
        self.post(lead, self.ziying)
        self.assertEqual(self.one_mail(self.provider_b).reply_to, "kevin@b.com")

    def test_a_general_alias_that_asks_for_its_domain(self):
        alias = self.alias("sales")
        alias.alias_incoming_local = False
        with self.assertRaises(ValueError):
            self.process("sales@example.org")
        self.assertEqual(len(self.process("sales@odoomommy.com")[0]), 1)

    def test_the_check_up_knows_who_is_not_reached(self):
        self.alias("sales", self.a)
        self.alias("sales", self.b)
        self.b.alias_domain_id.catch_all = "no"
        self.env["res.config.settings"].create({}).execute()
        found = [finding.text for finding in self.env["mail.checkup"]._findings()]
        self.assertTrue([text for text in found if "sales@b.com" in text])
        self.assertFalse([text for text in found if "sales@a.com" in text])


@tagged("post_install", "-at_install")
class TestMove(AliasCase):
    def move(self, company):
        action = company.action_move_aliases()
        return Form(self.env["mail.alias.move"].with_context(**action["context"]))

    def test_a_company_that_gets_a_domain_is_offered_it_for_its_aliases(self):
        team = self.env["crm.team"].create({"name": "B", "company_id": self.b.id})
        taken = self.env["crm.team"].create({"name": "B2", "company_id": self.b.id})
        team.alias_id.write({"alias_name": "sales", "alias_domain_id": False})
        taken.alias_id.write({"alias_name": "jobs", "alias_domain_id": False})
        self.alias("jobs", self.b)
        self.assertIn("sales@odoomommy.com", self.b.aliases_elsewhere)
        self.assertFalse(self.a.aliases_elsewhere)
        form = self.move(self.b)
        move = form.save()
        said = {line.address: (line.becomes, line.chosen) for line in move.line_ids}
        self.assertEqual(
            said,
            {
                "sales@odoomommy.com": ("sales@b.com", True),
                "jobs@odoomommy.com": ("jobs@b.com", False),
            },
        )
        self.assertTrue([line for line in move.line_ids if line.problem])
        move.action_move()
        self.assertEqual(team.alias_id.display_name, "sales@b.com")
        self.assertFalse(team.alias_id.alias_incoming_local)
        self.assertEqual(taken.alias_id.display_name, "jobs@odoomommy.com")

    def test_and_back(self):
        team = self.env["crm.team"].create(
            {"name": "B", "alias_name": "sales", "company_id": self.b.id}
        )
        self.assertEqual(team.alias_id.display_name, "sales@b.com")
        self.b.alias_domain_id = False
        self.assertIn("sales@b.com", self.b.aliases_elsewhere)
        move = self.move(self.b).save()
        self.assertEqual(move.line_ids.becomes, "sales@odoomommy.com")
        move.action_move()
        self.assertFalse(team.alias_id.alias_domain_id)
        self.assertTrue(team.alias_id.alias_incoming_local)

    def test_old_addresses_may_go_on(self):
        team = self.env["crm.team"].create({"name": "B", "company_id": self.b.id})
        team.alias_id.write({"alias_name": "sales", "alias_domain_id": False})
        form = self.move(self.b)
        form.keep_local = True
        form.save().action_move()
        self.assertEqual(self.leads("sales@odoomommy.com"), ["B"])


@tagged("post_install", "-at_install")
class TestForms(AliasCase):
    def arch(self, model, **context):
        return etree.fromstring(self.env[model].with_context(**context).get_view()["arch"])

    def test_every_form_that_prints_an_address_chooses_the_domain(self):
        for model in ("crm.team", "mail.alias"):
            arch = self.arch(model)
            (choice,) = arch.xpath("//field[@name='alias_domain_id']")
            name, shown = choice.getparent()[:2]
            self.assertEqual((name.get("name"), name.tail), ("alias_name", "@"))
            self.assertEqual(shown.get("name"), "alias_domain")

    def test_without_a_domain_it_is_natives(self):
        views = {}
        for active in (True, False):
            if not active:
                self.env["res.company"].search([]).alias_domain_id = False
                self.env["mail.alias"].search([]).alias_domain_id = False
                self.env["mail.alias.domain"].search([]).active = False
            views[active] = etree.tostring(self.arch("crm.team")).decode()
        self.assertIn("alias_domain_id", views[True])
        self.assertNotIn("alias_domain_id", views[False])

    def test_a_team_leader_chooses_among_the_domains_he_may_see(self):
        leader = new_test_user(
            self.env,
            "leader",
            groups="sales_team.group_sale_manager",
            company_id=self.a.id,
            company_ids=[(6, 0, self.a.ids)],
        )
        with Form(self.env["crm.team"].with_user(leader)) as form:
            form.name = "Sales"
            form.alias_name = "sales"
            self.assertEqual(form.alias_domain_id.name, "a.com")
        team = form.save()
        self.assertEqual(team.alias_id.display_name, "sales@a.com")
        shared = self.env["mail.alias.domain"].create({"name": "shared.com", "company_id": False})
        with Form(team) as form:
            form.alias_domain_id = shared
        self.assertEqual(team.alias_id.display_name, "sales@shared.com")
        with self.assertRaises(AccessError):
            team.write({"alias_domain_id": self.b.alias_domain_id.id})
        with self.assertRaises(AccessError):
            self.env["crm.team"].with_user(leader).create(
                {"name": "X", "alias_domain_id": self.b.alias_domain_id.id}
            )
