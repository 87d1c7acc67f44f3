# SPDX-License-Identifier: LGPL-3.0-only
"""The check-up reads the DNS records of its domains from a DNS server, when it is asked to."""

from unittest.mock import patch

from odoo.exceptions import AccessError
from odoo.tests import BaseCase, tagged

from ..dev.dns_server import DnsServer
from ..discovery import can_look_up, resolver
from ..models import dns_lookup
from ..models.dns_lookup import DnsLookup, look_up_each
from ..routing import Answer, MailPath, names_to_ask, provider_at, read_records
from ..wizards.mail_checkup_dns import DNS_SERVER
from .routing.dns_zones import (
    BROKEN,
    DMARC,
    KEY,
    RIGHT,
    TENCENT_MX,
    TENCENT_SPF,
    WORLD,
)
from .test_companies import TwoCompaniesCase

MODULE = "odoo.addons.mail_company_routing.discovery.resolver"


class DnsCase(BaseCase):
    """A DNS server on loopback."""

    def dns(self, *lines):
        server = DnsServer((*WORLD, *lines)).start()
        self.addCleanup(server.stop)
        return server


@tagged("post_install", "-at_install")
class TestDnsLookup(DnsCase):
    def test_each_domain_by_the_socket(self):
        """What is broken is found, what is right is left alone: over UDP, as in the field."""
        server = self.dns()
        for case in (*BROKEN, *RIGHT):
            with self.subTest(case=case.title):
                server.replace((*WORLD, *case.records))
                provider = provider_at(case.route["host"])
                path = MailPath(
                    server="B SMTP",
                    from_domain="b.com",
                    mail_from_domain=case.route.get("mail_from", "b.com"),
                    provider=provider,
                    host=case.route["host"],
                    fetched_at=provider,
                )
                lookup = DnsLookup(server.address)
                lookup.prefetch(names_to_ask(path))
                found = [f.rule for check in read_records(path, lookup) for f in check.findings]
                self.assertEqual(found, [case.rule] if case.rule else [])

    def test_what_dns_says(self):
        server = self.dns(
            "b.com MX 10 Mail.B.com", 'b.com TXT "a b" "c"', "www.b.com A 203.0.113.1"
        )
        server.add("alias.b.com CNAME www.b.com", "six.b.com AAAA 2001:db8::1")
        lookup = DnsLookup(server.address)
        self.assertEqual(lookup("b.com", "MX"), Answer(((10, "mail.b.com"),)))
        self.assertEqual(lookup("b.com", "TXT"), Answer((("a b", "c"),)))
        self.assertEqual(lookup("alias.b.com", "A"), Answer(("203.0.113.1",)))
        self.assertEqual(lookup("alias.b.com", "CNAME"), Answer(("www.b.com",)))
        self.assertEqual(lookup("six.b.com", "AAAA"), Answer(("2001:db8::1",)))
        self.assertEqual(lookup("www.b.com", "TXT"), Answer(), "it exists, without one")
        self.assertEqual(lookup("nothing.b.com", "TXT"), Answer(exists=False))
        known = [question for question in server.questions if question[0] == "com"]
        self.assertEqual(len(known), 1, "once, where a name is said not to exist")
        asked = len(server.questions)
        lookup("B.com.", "MX")
        self.assertEqual(len(server.questions), asked, "each is asked for once")

    def test_a_name_that_is_none(self):
        server = self.dns()
        lookup = DnsLookup(server.address)
        for name in ("x" * 64 + ".com", "a..b.com", "", "x." * 200 + "com", "\x00.com", "ü.com"):
            self.assertFalse(lookup(name, "TXT").values)

    def test_a_server_that_fails(self):
        server = self.dns(*TENCENT_MX)
        server.broken = {"b.com"}
        lookup = DnsLookup(server.address)
        self.assertTrue(lookup("b.com", "MX").failed)
        self.assertTrue(lookup("spf.mail.qq.com", "TXT").values)

    def test_a_server_that_never_answers(self):
        """Once the time is up nothing more is asked."""
        server = self.dns(*TENCENT_MX)
        server.silent = {""}
        with patch.object(dns_lookup, "TIMEOUT", 0.2):
            lookup = DnsLookup(server.address)
        self.assertTrue(lookup("b.com", "MX").failed)
        asked = len(server.questions)
        server.silent = set()
        for kind in ("TXT", "A", "AAAA"):
            self.assertTrue(lookup("b.com", kind).failed)
        self.assertEqual(len(server.questions), asked)
        self.assertFalse(lookup.answered)

    def test_one_name_that_never_answers(self):
        """The rest of the domain is read meanwhile, and nothing is said of what is not known."""
        server = self.dns(*TENCENT_MX, TENCENT_SPF)
        server.silent = {"_dmarc.b.com"}
        provider = provider_at("smtp.exmail.qq.com")
        path = MailPath("B SMTP", "b.com", "b.com", provider, "smtp.exmail.qq.com")
        with patch.object(dns_lookup, "TIMEOUT", 1):
            lookup = DnsLookup(server.address)
            lookup.prefetch(names_to_ask(path))
        checks = {check.kind: check for check in read_records(path, lookup)}
        self.assertFalse(any(check.findings for check in checks.values()))
        self.assertTrue(checks["MX"].known)
        self.assertFalse(checks["DMARC"].known)

    def test_a_closed_port(self):
        server = DnsServer()
        server.start()
        server.stop()
        with patch.object(dns_lookup, "TIMEOUT", 0.2):
            self.assertTrue(DnsLookup(server.address)("b.com", "MX").failed)

    def test_a_long_answer_comes_by_tcp(self):
        texts = tuple(f'b.com TXT "{n:03}{"x" * 200}"' for n in range(20))
        server = self.dns(*texts, TENCENT_SPF)
        answer = DnsLookup(server.address)("b.com", "TXT")
        self.assertEqual(len(answer.values), 21)
        self.assertIn(("b.com", "TXT", True), server.questions)

    def test_hostile_records(self):
        long = " ".join(f'"{"A" * 250}"' for _n in range(230))  # as much as an answer can hold
        server = self.dns(
            f"b.com TXT {long}",
            'c.com TXT "v=spf1 <script>alert(1)</script> -all"',
            'd.com TXT "v=spf1 include:%{s}%{o}%{d}%{i}.d.com -all"',
        )
        self.assertEqual(len(DnsLookup(server.address)("b.com", "TXT").texts[0]), 57_500)
        for domain in ("b.com", "c.com", "d.com"):
            server.add(f"{domain} MX 10 mxbiz1.qq.com")
            path = MailPath("B SMTP", domain, domain, provider_at("smtp.exmail.qq.com"))
            checks = read_records(path, DnsLookup(server.address))
            words = [text for check in checks for text in check.seen]
            words += [f.sentence() for check in checks for f in check.findings]
            self.assertTrue(all(len(text) < 1000 for text in words))

    def test_many_domains_at_once(self):
        server = self.dns(*(f'd{n}.com TXT "v=spf1 -all"' for n in range(50)))
        found = look_up_each(
            lambda n: DnsLookup(server.address)(f"d{n}.com", "TXT").texts, range(50)
        )
        self.assertEqual(found, [["v=spf1 -all"]] * 50)

    def test_the_systems_own_server(self):
        path = f"{MODULE}.dns.resolver.Resolver.read_resolv_conf"
        with patch(path, side_effect=resolver.dns.resolver.NoResolverConfiguration):
            self.assertTrue(DnsLookup()("b.com", "MX").failed)

    def test_without_the_package(self):
        self.assertTrue(can_look_up())
        with patch.object(resolver, "dns", None):
            self.assertFalse(can_look_up())


@tagged("post_install", "-at_install")
class TestCheckupDns(TwoCompaniesCase, DnsCase):
    def setUp(self):
        super().setUp()
        self.server = self.dns()
        self.env["ir.config_parameter"].set_param(DNS_SERVER, self.server.address)
        self.server_b.write({"smtp_host": "smtp.exmail.qq.com", "sender_policy": "login"})

    def checkup(self):
        return self.env["mail.checkup"].browse(self.env["mail.checkup"].action_open()["res_id"])

    def looked_up(self):
        checkup = self.checkup()
        checkup.action_look_up()
        return checkup

    def of_records(self, checkup, domain="b.com"):
        return checkup.line_ids.filtered(
            lambda line: line.record_kind and line.title.endswith(f" of {domain}")
        )

    def test_nothing_is_asked_on_opening(self):
        checkup = self.checkup()
        self.assertFalse(self.server.questions)
        self.assertFalse(checkup.dns_report)
        self.assertTrue(checkup.can_look_up)
        checkup.action_look_up()
        self.assertTrue(self.server.questions)

    def test_a_domain_that_is_right(self):
        self.server.add(*TENCENT_MX, TENCENT_SPF, DMARC)
        checkup = self.looked_up()
        self.assertFalse(self.of_records(checkup))
        self.assertIn("b.com", checkup.dns_report)
        self.assertIn("B SMTP (Tencent Exmail)", checkup.dns_report)

    def test_a_record_that_is_wrong(self):
        self.server.add(*TENCENT_MX, 'b.com TXT "v=spf1 include:_spf.google.com -all"', DMARC)
        checkup = self.looked_up()
        line = self.of_records(checkup)
        self.assertEqual((line.record_kind, line.grade), ("SPF", "stops"))
        self.assertIn("does not let Tencent Exmail send", line.name)
        self.assertIn("B SMTP", line.name)
        self.assertEqual(line.record_seen, "v=spf1 include:_spf.google.com -all")
        self.assertEqual(
            line.record_paste, "v=spf1 include:spf.mail.qq.com include:_spf.google.com -all"
        )
        self.assertEqual((line.record_name, line.record_type), ("b.com", "TXT"))
        self.assertIn(line.record_paste, checkup.dns_report)
        action = line.action_show_record()
        self.assertEqual((action["name"], action["res_id"]), ("SPF of b.com", line.id))
        # as it is entered, and looked up once more
        self.server.replace((*WORLD, *TENCENT_MX, f'b.com TXT "{line.record_paste}"', DMARC))
        checkup.action_look_up()
        self.assertFalse(self.of_records(checkup))

    def test_the_worst_comes_first(self):
        self.server.add(*TENCENT_MX, 'b.com TXT "v=spf1 -all"')
        grades = self.looked_up().line_ids.mapped("grade")
        ranks = [["stops", "answers", "better"].index(grade) for grade in grades]
        self.assertEqual(ranks, sorted(ranks))
        self.assertEqual(set(ranks), {0, 1, 2})

    def test_it_goes_by_the_route(self):
        """Each domain is right for itself; From in one and Return-Path in the other are not."""
        self.server_b.write({"sender_policy": "any", "from_filter": False})
        c_com = self.env["mail.alias.domain"].create(
            {"name": "c.com", "company_id": self.b.id, "catch_all": "yes"}
        )
        self.ziying.with_company(self.b).alias_domain_id = c_com
        for domain in ("b.com", "c.com"):
            records = (*TENCENT_MX, TENCENT_SPF, DMARC.replace("none", "reject"))
            self.server.add(*(line.replace("b.com", domain) for line in records))
        checkup = self.looked_up()
        self.assertFalse(self.of_records(checkup) + self.of_records(checkup, "c.com"))
        c_com.catch_all = "no"  # so the Return-Path is another domain's
        line = self.of_records(self.looked_up(), "c.com")
        self.assertEqual((line.record_kind, line.grade), ("DMARC", "stops"))
        self.assertIn("From in c.com and Return-Path in b.com", line.name)

    def test_an_answer_that_cannot_arrive(self):
        self.server.add("b.com MX 10 old.b.com", TENCENT_SPF, DMARC)
        line = self.of_records(self.looked_up())
        self.assertEqual((line.record_kind, line.grade), ("MX", "answers"))

    def test_answers_go_elsewhere_than_they_are_fetched(self):
        self.server.add("b.com MX 1 smtp.google.com", TENCENT_SPF, DMARC)
        self.incoming_server(
            self.provider_b, "kevin@b.com", company_id=self.b.id
        ).server = "imap.exmail.qq.com"
        line = self.of_records(self.looked_up())
        self.assertIn("arrives at Gmail", line.name)

    def test_a_public_domain_is_nobodys(self):
        self.ziying.email = "zy@gmail.com"
        (self.a + self.b).email_from_by_company = False
        (self.server_a + self.server_b).write({"from_filter": False, "sender_policy": "any"})
        self.looked_up()
        self.assertNotIn("gmail.com", {name for name, _kind, _tcp in self.server.questions})

    def test_a_domain_in_chinese(self):
        domain = self.env["mail.alias.domain"].create(
            {"name": "慕容.中国", "company_id": self.b.id}
        )
        self.b.alias_domain_id = domain
        self.server_b.sender_address = "kevin@慕容.中国"
        name = domain.name
        self.assertTrue(name.startswith("xn--"))
        self.server.add(f"{name} MX 5 mxbiz1.qq.com", f'{name} TXT "v=spf1 -all"')
        checkup = self.looked_up()
        self.assertIn("慕容.中国", checkup.dns_report)
        self.assertIn("SPF of 慕容.中国", checkup.line_ids.mapped("title"))

    def test_dns_that_does_not_answer(self):
        self.server.silent = {""}
        with patch.object(dns_lookup, "TIMEOUT", 0.2):
            checkup = self.looked_up()
        self.assertFalse(checkup.line_ids.filtered("record_kind"))
        self.assertIn("DNS did not answer", checkup.dns_report)

    def test_dns_that_does_not_know_the_internet(self):
        """It says of every name that there is none: nothing is thought of the domains for it."""
        self.server.replace(())
        checkup = self.looked_up()
        self.assertFalse(checkup.line_ids.filtered("record_kind"))
        self.assertIn("does not answer for the internet", checkup.dns_report)
        self.server.replace(WORLD)
        checkup = self.looked_up()
        self.assertIn("stops", self.of_records(checkup).mapped("grade"), "it does not exist")
        self.assertNotIn("does not answer for the internet", checkup.dns_report)

    def test_dns_that_knows_the_companys_own_names_alone(self):
        self.b.alias_domain_id = self.env["mail.alias.domain"].create(
            {"name": "b.lan", "company_id": self.b.id}
        )
        self.server_b.sender_address = "kevin@b.lan"
        self.server.replace(line.replace("b.com", "b.lan") for line in TENCENT_MX)
        checkup = self.looked_up()
        self.assertIn("does not answer for the internet", checkup.dns_report)
        self.assertIn("mxbiz1.qq.com", checkup.dns_report)

    def test_one_domain_that_does_not_answer(self):
        self.server.add(*(line.replace("b.com", "a.com") for line in TENCENT_MX))
        self.server.broken = {"b.com"}
        checkup = self.looked_up()
        self.assertFalse(self.of_records(checkup))
        self.assertIn("no answer", checkup.dns_report)

    def test_without_the_package_the_form_says_so(self):
        with patch.object(resolver, "dns", None):
            checkup = self.looked_up()
            self.assertFalse(checkup.can_look_up)
            self.assertIn("dnspython is not installed", checkup.dns_report)
        self.assertFalse(self.server.questions)

    def test_what_a_record_says_is_text(self):
        self.server.add(*TENCENT_MX, 'b.com TXT "v=spf1 <script>alert(1)</script> -all"', DMARC)
        checkup = self.looked_up()
        self.assertNotIn("<script>", checkup.dns_report)
        self.assertIn("&lt;script&gt;", checkup.dns_report)
        self.assertIn("<script>alert(1)</script> is wrong", self.of_records(checkup).name)

    def test_other_findings_stay_when_one_is_fixed(self):
        self.server_a.smtp_host = "smtp.exmail.qq.com"
        self.server.add(*TENCENT_MX, 'b.com TXT "v=spf1 -all"', DMARC)
        checkup = self.looked_up()
        records = checkup.line_ids.filtered("record_kind").mapped("name")
        line = checkup.line_ids.filtered(lambda line: line.fix == "restrict")
        told = line.action_fix()["params"]
        self.assertEqual(told["message"], "A SMTP lets only its own login send now.")
        self.assertEqual(self.server_a.sender_policy, "login")
        self.assertFalse(line.exists())
        self.assertEqual(checkup.line_ids.filtered("record_kind").mapped("name"), records)

    def test_in_chinese(self):
        self.env["res.lang"]._activate_lang("zh_CN")
        self.env["ir.module.module"].search(
            [("name", "=", "mail_company_routing")]
        )._update_translations(["zh_CN"])
        self.server.add(*TENCENT_MX, 'b.com TXT "v=spf1 -all"', DMARC)
        checkup = self.checkup().with_context(lang="zh_CN")
        checkup.action_look_up()
        (line,) = checkup.line_ids.filtered(lambda line: line.record_name == "b.com")
        self.assertIn("腾讯企业邮", line.name)
        self.assertIn("腾讯企业邮", checkup.dns_report)

    def test_only_an_administrator_asks(self):
        checkup = self.checkup()
        for method in ("action_look_up", "action_open"):
            with self.assertRaises(AccessError):
                getattr(checkup.with_user(self.lingsha), method)()
        self.assertFalse(self.server.questions)

    def test_the_key_of_a_signing_provider(self):
        self.server_b.smtp_host = "smtp.gmail.com"
        self.server.add(
            "b.com MX 1 smtp.google.com",
            'b.com TXT "v=spf1 -all"',
            f'google._domainkey.b.com TXT "v=DKIM1; p={KEY[:200]}" "{KEY[200:]}"',
            DMARC,
        )
        line = self.of_records(self.looked_up())
        self.assertEqual((line.record_kind, line.grade), ("SPF", "better"), "it is signed")
