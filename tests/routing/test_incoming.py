# SPDX-License-Identifier: LGPL-3.0-only
"""Mail that arrives, judged by whole addresses."""

import pytest

from routing import (
    Alias,
    Company,
    Domain,
    Facts,
    Server,
    Settings,
    aliases_at,
    company_of_incoming,
    company_that_answers,
    is_own_domain,
    read_incoming,
)

A = Company(1, "A", domain_id=1, mail_server_by_domain=True)
B = Company(
    2,
    "B",
    domain_id=2,
    reply_to_prefix="info",
    reply_to_by_company=True,
    mail_server_by_domain=True,
    mail_server_by_reply_to=True,
)
DOMAINS = [Domain(1, "a.com", company_id=1), Domain(2, "b.com", company_id=2, catch_all="no")]
SETTINGS = Settings(catchall_domain="group.com", catchall_alias="catchall", bounce_alias="bounce")


def facts(companies=(A, B), domains=tuple(DOMAINS), **more):
    return Facts(settings=SETTINGS, companies=companies, domains=domains, **more)


class TestCompany:
    @pytest.mark.parametrize(
        ("recipients", "server_company", "expected", "rule"),
        [
            (["info@b.com"], 1, 2, "reply_to"),
            (["x@a.com", "INFO@B.com"], None, 2, "reply_to"),
            (["sales@a.com"], None, 1, "domain"),
            (["x@elsewhere.com", "sales@A.COM"], 2, 1, "domain"),
            (["x@elsewhere.com"], 2, 2, "server"),
            (["x@elsewhere.com"], None, None, ""),
            ([], 1, 1, "server"),
        ],
    )
    def test_of_an_incoming_mail(self, recipients, server_company, expected, rule):
        company, found = company_of_incoming(recipients, server_company, facts())
        assert ((company.id if company else None), found) == (expected, rule)

    @pytest.mark.parametrize(
        ("recipients", "server_company", "expected"),
        [
            (["x@a.com", "x@b.com"], None, 1),
            (["x@b.com", "x@a.com"], None, 2),
            (["x@a.com", "x@b.com"], 2, 2),
            (["x@b.com", "x@a.com"], 1, 1),
            (["x@b.com", "x@a.com"], 3, 2),
        ],
    )
    def test_of_several_the_mailboxs_then_the_first_recipients(
        self, recipients, server_company, expected
    ):
        third = Company(3, "C", mail_server_by_domain=True)
        company, _rule = company_of_incoming(recipients, server_company, facts((A, B, third)))
        assert company.id == expected

    def test_a_refusal_is_in_the_name_of_whom_was_written_to(self):
        quiet = Company(1, "A", domain_id=1, reply_to_prefix="info", reply_to_by_company=True)
        other = Company(3, "C")
        known = facts([other, quiet])
        for recipient in ("info@a.com", "catchall@a.com"):
            assert company_of_incoming([recipient], 3, known)[0] is None
            assert company_that_answers([recipient], 3, known) is quiet
        assert company_that_answers(["x@elsewhere.com"], 3, known) is None

    def test_the_one_company_that_has_a_shared_domain(self):
        shared = Domain(3, "shared.com")
        alone = Company(1, "A", domain_id=3, mail_server_by_domain=True)
        found, _rule = company_of_incoming(["x@shared.com"], None, facts([alone], [shared]))
        assert found is alone
        both = [alone, Company(2, "B", domain_id=3, mail_server_by_domain=True)]
        found, _rule = company_of_incoming(["x@shared.com"], None, facts(both, [shared]))
        assert found is None

    def test_a_company_that_does_not_use_its_servers_claims_nothing(self):
        quiet = Company(1, "A", domain_id=1)
        found, _rule = company_of_incoming(["x@a.com"], 1, facts([quiet]))
        assert found is None


class TestAddresses:
    def test_every_domains_bounce_address_is_one(self):
        for address in ("bounce@a.com", "Bounce@B.com", "bounce@group.com"):
            assert read_incoming([address], [address], facts(), is_reply=False).is_bounce

    def test_a_strangers_bounce_address_is_none(self):
        incoming = read_incoming(["bounce@x.com"], ["bounce@x.com"], facts(), is_reply=False)
        assert not incoming.is_bounce
        assert incoming.to == ()

    @pytest.mark.parametrize("login", ["bounce@b.com", "bounce@group.com"])
    def test_a_mailbox_that_is_called_bounce_is_a_mailbox(self, login):
        for where in ({"mailboxes": [login]}, {"servers": [Server(1, "S", sender_address=login)]}):
            for is_reply in (True, False):
                incoming = read_incoming([login], [login], facts(**where), is_reply=is_reply)
                assert not incoming.is_bounce
                assert incoming.to == ()
                assert incoming.recipients == (login,)

    def test_a_reply_to_a_reply_address_is_no_forward(self):
        incoming = read_incoming(
            ["info@b.com", "crm@a.com"], ["info@b.com"], facts(), is_reply=True
        )
        assert incoming.to == ("crm@a.com",), "another alias may still make it a forward"

    def test_without_a_reference_the_alias_wins(self):
        incoming = read_incoming(["info@b.com"], ["info@b.com"], facts(), is_reply=False)
        assert incoming.to == ("info@b.com",)
        assert incoming.for_replies

    def test_a_mailbox_that_is_called_catchall(self):
        login = "catchall@b.com"  # b.com has no catch-all: it is a mailbox like any other
        incoming = read_incoming([login], [login], facts(mailboxes=[login]), is_reply=False)
        assert incoming.to == ()
        assert not incoming.for_replies
        real = "catchall@a.com"
        incoming = read_incoming([real], [real], facts(mailboxes=[real]), is_reply=False)
        assert incoming.to == (real,)
        assert incoming.for_replies

    def test_alias_domains_count_as_allowed(self):
        incoming = read_incoming(
            ["sales@a.com"],
            ["sales@a.com", "x@elsewhere.com"],
            facts(),
            is_reply=False,
            alias_domains_allowed="group.com",
        )
        assert incoming.recipients == ("sales@group.com", "x@elsewhere.com")


class TestAliases:
    GENERAL = Alias(1, "sales")
    OF_A = Alias(2, "sales", "a.com", by_local_part=False)
    OF_B = Alias(3, "sales", "b.com", by_local_part=False)
    FORWARDED = Alias(4, "jobs", "b.com")
    STRICT = Alias(5, "office", "", by_local_part=False)
    BOOKS = Alias(6, "info", "xn--bcher-kva.de", by_local_part=False)
    ALL = (GENERAL, OF_A, OF_B, FORWARDED, STRICT, BOOKS)

    @pytest.mark.parametrize(
        ("address", "ids"),
        [
            ("sales@a.com", [2]),
            ("Sales@B.COM", [3]),
            ("sales@group.com", [1]),
            ("sales@elsewhere.com", [1]),
            ("sales@localhost", [1]),
            ("sales+x@a.com", []),
            ("jobs@b.com", [4]),
            ("jobs@elsewhere.com", [4]),
            ("office@group.com", [5]),
            ("office@a.com", []),
            ("info@bücher.de", [6]),
            ("info@XN--BCHER-KVA.de", [6]),
            ("info@a.com", []),
            ("sales", []),
            ("", []),
        ],
    )
    def test_whole_address_first(self, address, ids):
        assert [alias.id for alias in aliases_at(address, self.ALL, facts())] == ids

    def test_what_native_lets_pass_restricts_the_local_part_alone(self):
        allowed = ["group.com", "allowed.com"]
        for address, ids in (
            ("sales@elsewhere.com", []),
            ("sales@allowed.com", [1]),
            ("jobs@a.com", [4]),
            ("info@bücher.de", [6]),
        ):
            found = aliases_at(address, self.ALL, facts(), allowed)
            assert [alias.id for alias in found] == ids, address

    def test_ones_own_domains(self):
        own = [name for name in ("a.com", "group.com", "x.com", "") if is_own_domain(name, facts())]
        assert own == ["a.com", "group.com"]
