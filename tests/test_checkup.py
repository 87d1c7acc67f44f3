# SPDX-License-Identifier: LGPL-3.0-only
"""What will go wrong is told before it does, and fixed by one click."""

from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from .common import MailRoutingCase
from .test_companies import TwoCompaniesCase

QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")


@tagged("post_install", "-at_install")
class TestCheckup(TwoCompaniesCase):
    def findings(self):
        action = self.env["mail.checkup"].action_open()
        checkup = self.env["mail.checkup"].browse(action["res_id"])
        return {line.name: line for line in checkup.line_ids}

    def assertFound(self, words, records):
        lines = [line for text, line in self.findings().items() if words in text]
        self.assertTrue(lines, f"{words} not in {list(self.findings())}")
        action = lines[0].action_mend()
        opened = self.env[action["res_model"]]
        if action.get("res_id"):
            opened = opened.browse(action["res_id"])
        else:
            opened = opened.search(action["domain"])
        self.assertEqual(opened, records)

    def assertNotFound(self, words):
        self.assertFalse([text for text in self.findings() if words in text])

    def test_a_company_without_a_server(self):
        self.assertNotFound("B has no outgoing server")
        self.server_b.active = False
        self.assertFound("B has no outgoing server", self.b)

    def test_servers_that_their_company_does_not_use(self):
        self.a.mail_server_by_domain = False
        self.assertFound("A does not use its outgoing servers", self.a)

    def test_a_server_of_one_company_that_serves_the_others_too(self):
        """A mailbox that was set up while there was one company has no company."""
        words = "A SMTP has no company."
        self.server_a.write({"sender_policy": "login", "company_id": False})
        self.assertFound(words, self.server_a)
        (told,) = [text for text in self.findings() if words in text]
        self.assertIn("leaves from kevin@a.com, the domain of A", told)
        self.assertNotIn(" B", told, "it has a server of its own")
        self.server_a.company_id = self.a
        self.assertNotFound(words)
        # a domain of several companies is nobody's alone
        self.server_a.company_id = False
        self.b.alias_domain_id = self.a.alias_domain_id
        self.assertNotFound(words)

    def test_two_companies_with_one_reply_to(self):
        self.assertNotFound("have one Reply-To address")
        shared = self.env["mail.alias.domain"].create({"name": "g.com", "company_id": False})
        (self.a + self.b).write({"alias_domain_id": shared.id, "mail_server_by_reply_to": True})
        self.assertFound("have one Reply-To address", self.b)

    def test_an_email_domain_that_another_company_owns(self):
        self.assertNotFound("belongs to B")
        self.a.alias_domain_id = self.b.alias_domain_id
        self.assertFound("b.com, the Email Domain of A, belongs to B", self.b.alias_domain_id)
        self.b.alias_domain_id.company_id = False
        self.assertNotFound("belongs to B")

    def test_a_server_at_a_provider_that_lets_only_the_login_send(self):
        self.server_a.smtp_host = "smtp.exmail.qq.com"
        self.assertFound("A SMTP is at Tencent", self.server_a)
        self.server_a.sender_policy = "login"
        self.assertNotFound("A SMTP is at Tencent")

    def test_a_catch_all_that_nobody_fetches(self):
        self.assertFound("Catch All is on for a.com", self.a.alias_domain_id)
        self.incoming_server(self.provider_a, "kevin@a.com", company_id=self.a.id)
        self.assertNotFound("Catch All is on for a.com")

    def test_a_catch_all_at_a_provider_that_has_none(self):
        self.server_a.smtp_host = "smtp.exmail.qq.com"
        self.assertFound("which is not known to have one", self.a.alias_domain_id)
        self.a.alias_domain_id.catch_all = "no"
        self.assertNotFound("which is not known to have one")

    def test_authors_whose_domain_is_nobodys(self):
        self.assertNotFound("zy@elsewhere.com")
        self.ziying.email = "zy@elsewhere.com"
        (self.a + self.b).email_from_by_company = False
        (self.server_a + self.server_b).from_filter = False
        self.assertFound(
            "zy@elsewhere.com and others of elsewhere.com write for A leaves as notifications@",
            self.a,
        )

    def test_a_filter_that_replaces_the_authors(self):
        self.server_a.from_filter = "notifications@a.com"
        self.assertFound("the FROM Filtering of A SMTP does not let them pass", self.server_a)
        self.server_a.from_filter = False
        self.assertNotFound("does not let them pass")

    def test_a_domain_that_no_server_of_its_company_lets_pass(self):
        c_com = self.env["mail.alias.domain"].create({"name": "c.com", "company_id": self.b.id})
        self.server_b.from_filter = False
        self.assertNotFound("No server of B lets c.com pass")
        self.server_b.from_filter = "b.com"
        (c_com + self.b.alias_domain_id).catch_all = "no"
        self.assertFound("No server of B lets c.com pass", self.server_b)

    def test_a_company_that_cannot_send(self):
        self.assertNotFound("B has no outgoing mail server")
        self.server_b.active = False
        self.assertFound("B has no outgoing mail server", self.b)

    @mute_logger(*QUIET)
    def test_failed_and_waiting_mails(self):
        self.assertNotFound("Failed mails")
        self.server_b.active = False
        failed = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        failed.send()
        self.assertFound("Failed mails: 1.", failed)
        waiting = self.mail(self.ziying, model="res.partner", res_id=self.of_a.id)
        self.assertNotFound("have been waiting")
        self.env.cr.execute(
            "UPDATE mail_mail SET create_date = create_date - interval '3 hours' WHERE id = %s",
            [waiting.id],
        )
        self.assertFound("waiting for more than 2 hours: 1.", waiting)
        self.mail(self.ziying, state="exception")
        failed = self.env["mail.mail"].search([("state", "=", "exception")])
        self.assertFound("Failed mails: 2.", failed)

    @mute_logger(*QUIET)
    def test_mails_of_companies_that_one_does_not_work_in(self):
        admin = new_test_user(self.env, "admin_b", groups="base.group_system")
        admin.write({"company_ids": [(6, 0, self.b.ids)], "company_id": self.b.id})
        for company, count in ((self.a, 0), (self.b, 1), (self.b.browse(), 2)):
            for state in ("exception", "outgoing"):
                mail = self.mail(self.ziying, state=state)
                mail.record_company_id = company
            self.env.flush_all()
            self.env.cr.execute("UPDATE mail_mail SET create_date = now() - interval '3 hours'")
            self.env.invalidate_all()
            checkup = self.env["mail.checkup"].with_user(admin)
            found = [finding.text for finding in checkup._check_mails()]
            self.assertEqual(len(found), 2 if count else 0, found)
            for text in found:
                self.assertIn(f": {count}.", text)

    def test_answers_that_nobody_fetches(self):
        self.b.write({"reply_to_by_company": True, "reply_to_prefix": "info"})
        self.b.alias_domain_id.catch_all = "no"
        self.assertFound("Answers to mail of B go to info@b.com", self.b)
        self.incoming_server(self.provider_b, "info@b.com", company_id=self.b.id)
        self.assertNotFound("Answers to mail of B")

    def test_templates_that_ask_for_answers_at_the_companys_own_address(self):
        self.b.email = "office@elsewhere.com"
        self.env["mail.template"].create(
            {
                "name": "Welcome",
                "model_id": self.env["ir.model"]._get_id("res.users"),
                "reply_to": "{{ object.company_id.email }}",
            }
        )
        self.assertFound(
            "ask for answers at office@elsewhere.com, the address of B",
            self.env["mail.template"].search([("reply_to", "ilike", "company_id.email")]),
        )

    def test_a_bounce_alias_that_is_a_login(self):
        self.assertNotFound("bounce alias")
        self.a.alias_domain_id.bounce_alias = "kevin"
        self.assertFound("The bounce alias of a.com", self.a.alias_domain_id)

    def test_an_alias_that_nobody_can_reach(self):
        alias = self.env["mail.alias"].create(
            {"alias_name": "jobs", "alias_model_id": self.env["ir.model"]._get_id("mail.channel")}
        )
        self.assertNotFound("'jobs'")
        self.settings(mail_catch_all=False)
        self.assertFound("Nobody can reach the alias 'jobs'", alias)


@tagged("post_install", "-at_install")
class TestOneClickCure(MailRoutingCase):
    @mute_logger(*QUIET)
    def test_a_refused_sender(self):
        provider = self.provider()
        server = self.mail_server(provider)
        mail = self.mail()
        mail.send()
        self.assertEqual(mail.state, "exception")
        self.assertTrue(mail.is_sender_refused)
        other = self.mail(auto_delete=True)
        other.send()
        reason = mail.failure_reason
        trigger = self.env["ir.cron.trigger"].search_count
        queue = [("cron_id", "=", self.env.ref("mail.ir_cron_mail_scheduler_action").id)]
        triggered = trigger(queue)
        told = mail.action_restrict_and_retry()["params"]
        self.assertFalse(provider.mails, "Odoo may repeat a request: the queue sends")
        self.assertEqual(set((mail + other).mapped("state")), {"outgoing"})
        self.assertEqual(mail.failure_reason, reason)
        self.assertEqual(trigger(queue), triggered + 1)
        self.assertEqual(server.sender_policy, "login")
        self.assertEqual(told["type"], "success")
        self.assertIn(
            "Ohm SMTP now lets only its login send. Mails that are in the queue again: 2.",
            told["message"],
        )
        self.env["mail.mail"].process_email_queue()
        self.assertEqual(mail.state, "sent")
        self.assertFalse(other.exists(), "what was refused for the same reason is retried too")
        self.assertFalse(mail.is_sender_refused)
        self.assertEqual(len(provider.mails), 2)
        for sent in provider.mails:
            self.assertLeavesAsLogin(sent)
        # a second click, on a form that is out of date
        told = (mail + other)[1].action_restrict_and_retry()["params"]
        self.assertIn("None of these mails", told["message"])
        self.env["mail.mail"].process_email_queue()
        self.assertEqual(len(provider.mails), 2)

    @mute_logger(*QUIET)
    def test_mails_of_a_company_that_is_not_ticked(self):
        provider = self.provider()
        self.mail_server(provider)
        there = self.env["res.company"].create({"name": "Elsewhere"})
        document = self.env["res.partner"].create({"name": "Theirs", "company_id": there.id})
        mails = self.mail() + self.mail(model="res.partner", res_id=document.id)
        mails.send()
        reasons = mails.mapped("failure_reason")
        admin = new_test_user(self.env, "admin2", groups="base.group_system")
        admin.company_ids += there
        told = (
            mails[0]
            .with_user(admin)
            .with_context(allowed_company_ids=admin.company_id.ids)
            .action_restrict_and_retry()["params"]
        )
        self.assertIn("in the queue again: 2.", told["message"])
        self.assertEqual(mails.mapped("failure_reason"), reasons)
        self.env["mail.mail"].process_email_queue()
        self.assertEqual(mails.mapped("state"), ["sent", "sent"])

    @mute_logger(*QUIET)
    def test_where_nothing_is_set(self):
        """An administrator who only wants to see: the check-up opens, and finds nothing wrong."""
        self.env["ir.mail_server"].search([]).unlink()
        self.env["mail.alias.domain"].search([]).active = False
        self.env["res.company"].search([]).write(
            {
                "alias_domain_id": False,
                "reply_to_by_company": False,
                "email_from_by_company": False,
                "mail_server_by_domain": False,
                "mail_server_by_reply_to": False,
            }
        )
        self.assertFalse(self.env["mail.routing"]._is_active())
        self.env["mail.checkup"].create({})._findings()

    def test_the_cure_is_the_administrators_to_apply(self):
        provider = self.provider()
        server = self.mail_server(provider)
        mail = self.mail()
        mail.send()
        for user in (self.lingsha, self.env.ref("base.public_user")):
            with self.assertRaises(AccessError):
                mail.with_user(user).action_restrict_and_retry()
        self.assertEqual((mail.state, server.sender_policy), ("exception", "default"))

    @mute_logger(*QUIET)
    def test_other_failures_have_no_such_cure(self):
        provider = self.provider(rule="any")
        self.mail_server(provider)
        provider.fail("rcpt", "550 5.1.1 no such user")
        mail = self.mail()
        mail.send()
        self.assertEqual(mail.state, "exception")
        self.assertFalse(mail.is_sender_refused)


@tagged("post_install", "-at_install")
class TestOneRightAnswer(TwoCompaniesCase):
    """A finding with one right answer has a button that does it, and says what it did."""

    def checkup(self):
        return self.env["mail.checkup"].browse(self.env["mail.checkup"].action_open()["res_id"])

    def fix(self, fix, words):
        checkup = self.checkup()
        lines = checkup.line_ids.filtered(lambda line: line.fix == fix)
        self.assertTrue(lines, checkup.line_ids.mapped("name"))
        before = lines[0].name
        self.assertEqual(lines[0].action_fix()["params"]["message"], words)
        self.assertNotIn(before, checkup.line_ids.mapped("name"), "it was checked anew")

    def test_a_company_that_does_not_use_its_servers(self):
        self.a.mail_server_by_domain = False
        self.fix("use_servers", "A uses its own servers now.")
        self.assertTrue(self.a.mail_server_by_domain)

    def test_a_provider_that_lets_only_the_login_send(self):
        self.server_a.smtp_host = "smtp.exmail.qq.com"
        self.fix("restrict", "A SMTP lets only its own login send now.")
        self.assertEqual(self.server_a.sender_policy, "login")

    def test_a_catch_all_that_the_provider_has_not(self):
        self.server_a.smtp_host = "smtp.exmail.qq.com"
        self.fix("no_catch_all", "Catch All is off for a.com now.")
        self.assertEqual(self.a.alias_domain_id.catch_all, "no")

    def test_a_filter_that_replaces_the_authors(self):
        self.server_a.from_filter = "notifications@a.com"
        self.fix("clear_filter", "A SMTP lets every sender pass now.")
        self.assertFalse(self.server_a.from_filter)

    @mute_logger(*QUIET)
    def test_a_queue_that_is_off(self):
        cron = self.env.ref("mail.ir_cron_mail_scheduler_action")
        cron.active = False
        waiting = self.mail(self.ziying, model="res.partner", res_id=self.of_a.id)
        self.env.cr.execute(
            "UPDATE mail_mail SET create_date = create_date - interval '3 hours' WHERE id = %s",
            [waiting.id],
        )
        (line,) = self.checkup().line_ids.filtered(lambda line: line.fix == "run_queue")
        self.assertIn("is off", line.name)
        self.assertEqual(line.action_mend()["res_id"], waiting.id)
        line.action_fix()
        self.assertTrue(cron.active)
        (line,) = self.checkup().line_ids.filtered(lambda line: "waiting" in line.name)
        self.assertFalse(line.fix, "it is on, so something else is wrong")

    def test_what_cannot_be_done_says_why(self):
        self.server_a.write({"smtp_host": "smtp.exmail.qq.com", "smtp_user": "apikey"})
        self.server_a.write({"sender_address": False, "from_filter": False})
        (line,) = self.checkup().line_ids.filtered(lambda line: line.fix == "restrict")
        with self.assertRefused("A SMTP"):
            line.action_fix()

    def test_what_is_gone_meanwhile(self):
        self.server_a.smtp_host = "smtp.exmail.qq.com"
        (line,) = self.checkup().line_ids.filtered(lambda line: line.fix == "restrict")
        self.server_a.unlink()
        self.assertIn("no longer there", line.action_fix()["params"]["message"])

    @mute_logger(*QUIET)
    def test_a_list_is_called_what_it_is(self):
        self.server_b.active = False
        mails = self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mails += self.mail(self.ziying, model="res.partner", res_id=self.of_b.id)
        mails.send()
        (line,) = self.checkup().line_ids.filtered(lambda line: line.res_model == "mail.mail")
        self.assertEqual((line.action_mend()["name"], line.grade), ("Failed Mails", "stops"))

    def test_it_is_the_administrators(self):
        self.server_a.smtp_host = "smtp.exmail.qq.com"
        (line,) = self.checkup().line_ids.filtered(lambda line: line.fix == "restrict")
        with self.assertRaises(AccessError):
            line.with_user(self.ziying).action_fix()
        self.assertEqual(self.server_a.sender_policy, "default")

    def test_general_settings_lead_to_it_without_developer_mode(self):
        admin = new_test_user(self.env, "admin3", groups="base.group_system")
        arch = self.env["res.config.settings"].with_user(admin).get_view()["arch"]
        for name in ("action_mail_checkup", "action_mail_sent", "action_mail_alias_domain"):
            action = self.env.ref(f"mail_company_routing.{name}")
            self.assertIn(f'name="{action.id}"', arch)
