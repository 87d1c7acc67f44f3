# SPDX-License-Identifier: LGPL-3.0-only
"""The decision, in the words of its rules."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import (
    SENDER_NAME_FORMATS,
    Author,
    Company,
    Domain,
    Draft,
    Facts,
    Server,
    Settings,
    clean_name,
    decide,
    decide_reply_to,
    is_restricted,
)

OHM = Settings(
    catchall_domain="odoomommy.com",
    catchall_alias="catchall",
    bounce_alias="bounce",
    notification="notifications@odoomommy.com",
)
KEVIN = Server(1, "Ohm SMTP", sender_address="kevin@odoomommy.com", has_username=True)
LINGSHA = Draft("韩菱纱 <lingsha.han@odoomommy.com>", company_id=1)


def ohm(prefix="", **settings):
    return Facts(
        settings=dataclasses.replace(OHM, **settings),
        companies=[
            Company(
                1,
                "Qingdao Ohm",
                domain_id=1,
                reply_to_by_company=bool(prefix),
                reply_to_prefix=prefix,
                mailbox="kevin@odoomommy.com",
            )
        ],
        domains=[Domain(1, "odoomommy.com", company_id=1)],
        servers=[KEVIN],
    )


class TestQingdaoOhm:
    """The first table of worked examples, row by row."""

    def test_no_option(self):
        route = decide(LINGSHA, ohm())
        assert route.mail_from == route.return_path == "bounce@odoomommy.com"
        assert route.header_from == "韩菱纱 <lingsha.han@odoomommy.com>"
        assert route.reply_to == "catchall@odoomommy.com"

    def test_restrict_username(self):
        route = decide(LINGSHA, ohm(restrict_username=True))
        assert route.mail_from == route.return_path == "kevin@odoomommy.com"
        assert route.from_name == "韩菱纱 (lingsha.han@odoomommy.com)"
        assert route.from_address == "kevin@odoomommy.com"
        assert route.reply_to == "catchall@odoomommy.com"

    def test_and_no_catch_all(self):
        route = decide(LINGSHA, ohm(restrict_username=True, catch_all=False))
        assert route.mail_from == "kevin@odoomommy.com"
        assert route.reply_to == "kevin@odoomommy.com"

    def test_and_reply_to_by_company(self):
        route = decide(LINGSHA, ohm("info", restrict_username=True, catch_all=False))
        assert route.reply_to == "info@odoomommy.com"


class TestMurongZiying:
    """The second table: one person, two companies, three domains."""

    A = Company(1, "A", domain_id=1, email_from_by_company=True, mail_server_by_domain=True)
    B = Company(2, "B", domain_id=2, email_from_by_company=True, mail_server_by_domain=True)
    SERVER_A = Server(1, "A's", company_id=1)
    SERVER_B = Server(2, "B's", company_id=2)

    def facts(self, c_replies_to=None, server_b=None):
        return Facts(
            settings=OHM,
            companies=[self.A, self.B],
            domains=[
                Domain(1, "a.com", company_id=1),
                Domain(2, "b.com", company_id=2),
                Domain(3, "c.com", company_id=2, reply_domain_id=c_replies_to),
            ],
            servers=[self.SERVER_A, server_b or self.SERVER_B],
        )

    def draft(self, company_id, outgoing=""):
        return Draft("慕容紫英 <zy@a.com>", company_id=company_id, author=Author(outgoing))

    @pytest.mark.parametrize(
        ("company_id", "outgoing", "c_replies_to", "sender", "server", "reply_to"),
        [
            (1, "", None, "zy@a.com", 1, "catchall@a.com"),
            (2, "", None, "zy@b.com", 2, "catchall@b.com"),
            (2, "c.com", None, "zy@c.com", 2, "catchall@b.com"),
            (2, "c.com", 3, "zy@c.com", 2, "catchall@c.com"),
        ],
    )
    def test_row(self, company_id, outgoing, c_replies_to, sender, server, reply_to):
        route = decide(self.draft(company_id, outgoing), self.facts(c_replies_to))
        assert route.header_from == f"慕容紫英 <{sender}>"
        assert route.mail_from == f"bounce@{sender.partition('@')[2]}"
        assert route.server.id == server
        assert route.reply_to == reply_to

    def test_restricted(self):
        server = dataclasses.replace(
            self.SERVER_B, policy="login", sender_address="kevin@b.com", has_username=True
        )
        route = decide(self.draft(2, "c.com"), self.facts(None, server))
        assert route.from_name == "慕容紫英 (zy@c.com)"
        assert route.from_address == route.mail_from == "kevin@b.com"
        assert route.server.id == 2
        assert route.reply_to == "catchall@b.com"

    def test_a_customers_address_is_never_moved(self):
        route = decide(Draft("Customer <x@foreign.com>", company_id=2), self.facts())
        assert "from_foreign" in [reason.rule for reason in route.reasons]

    def test_odoobot_writes_as_the_company(self):
        draft = Draft("OdooBot <odoobot@a.com>", company_id=2, author=Author(is_bot=True))
        route = decide(draft, self.facts())
        assert route.header_from == "OdooBot <notifications@b.com>"

    def test_a_mail_without_an_address_gets_the_companys(self):
        route = decide(Draft("Somebody", company_id=2), self.facts())
        assert route.header_from == "Somebody <notifications@b.com>"


class TestServer:
    def test_no_mail_through_another_companys_server(self):
        facts = Facts(
            companies=[
                Company(1, "A", mail_server_by_domain=True),
                Company(2, "B", mail_server_by_domain=True),
            ],
            servers=[Server(1, "A's", company_id=1)],
        )
        route = decide(Draft("x@b.com", company_id=2), facts)
        assert route.server is None
        assert "B has no outgoing mail server" in route.failure.sentence()

    def test_servers_that_a_company_does_not_use_are_named_as_the_cause(self):
        facts = Facts(companies=[Company(1, "A")], servers=[Server(1, "A's", company_id=1)])
        route = decide(Draft("x@b.com", company_id=1), facts)
        assert "SMTP and IMAP + Alias Domain by Company" in route.failure.sentence()

    def test_shared_servers_serve_who_has_none(self):
        facts = Facts(
            companies=[Company(1, "A"), Company(2, "B", mail_server_by_domain=True)],
            servers=[Server(1, "A's", company_id=1), Server(2, "all's")],
        )
        assert decide(Draft("x@b.com", company_id=2), facts).server.id == 2
        assert decide(Draft("x@a.com", company_id=1), facts).server.id == 2

    def test_a_named_server_is_used_as_it_is(self):
        named = Server(1, "A's", company_id=1)
        facts = Facts(companies=[Company(2, "B")], servers=[named])
        assert decide(Draft("x@b.com", company_id=2, server=named), facts).server is named

    def test_the_reply_address_chooses_the_server(self):
        facts = Facts(
            settings=OHM,
            companies=[
                Company(1, "A", reply_to_prefix="info", mail_server_by_reply_to=True, domain_id=1),
                Company(2, "B", mail_server_by_domain=True),
            ],
            domains=[Domain(1, "a.com", company_id=1)],
            servers=[Server(1, "A's", company_id=1), Server(2, "B's", company_id=2)],
        )
        draft = Draft("x@b.com", company_id=2, reply_to="A <Info@A.com>")
        assert decide(draft, facts).server.id == 1

    def test_no_server_in_the_database_is_the_configuration_files_business(self):
        config = Server(None, "localhost", sender_address="kevin@a.com", has_username=True)
        facts = Facts(settings=Settings(restrict_username=True), config_server=config)
        route = decide(Draft("Lee <lee@a.com>"), facts)
        assert route.server is config
        assert route.mail_from == "kevin@a.com"


class TestPolicy:
    @pytest.mark.parametrize(
        ("policy", "username", "restrict", "expected"),
        [
            ("default", True, True, True),
            ("default", False, True, False),
            ("default", True, False, False),
            ("login", False, False, True),
            ("any", True, True, False),
        ],
    )
    def test_restricted(self, policy, username, restrict, expected):
        server = Server(1, "S", policy=policy, has_username=username)
        facts = Facts(settings=Settings(restrict_username=restrict))
        assert is_restricted(server, facts) is expected

    @pytest.mark.parametrize(
        ("style", "name", "shown"),
        [
            ("name_address", "韩菱纱", "韩菱纱 (lingsha.han@odoomommy.com)"),
            ("name", "韩菱纱", "韩菱纱"),
            ("name_company", "韩菱纱", "韩菱纱 via Qingdao Ohm"),
            ("name_address", "", "lingsha.han@odoomommy.com"),
            ("name", "", "lingsha.han@odoomommy.com"),
            ("name_company", "", "lingsha.han@odoomommy.com via Qingdao Ohm"),
        ],
    )
    def test_sender_name(self, style, name, shown):
        draft = Draft(f"{name} <lingsha.han@odoomommy.com>".strip(), company_id=1)
        route = decide(draft, ohm(restrict_username=True, sender_name_format=style))
        assert route.from_name == shown

    def test_no_invented_address_without_a_catch_all(self):
        facts = ohm(catch_all=False)
        open_server = dataclasses.replace(KEVIN, policy="any")
        for server in (open_server, dataclasses.replace(open_server, sender_address="")):
            facts = dataclasses.replace(facts, servers=(server,))
            route = decide(LINGSHA, facts)
            for address in (route.mail_from, route.return_path, route.reply_to):
                assert address in ("kevin@odoomommy.com", "lingsha.han@odoomommy.com")

    def test_a_restricted_server_without_an_address_sends_nothing(self):
        server = Server(1, "Grid", policy="login", has_username=True)
        route = decide(Draft("x@a.com"), Facts(servers=[server]))
        assert route.server is None
        assert "Grid" in route.failure.sentence()

    def test_a_given_return_path_is_kept_where_the_server_lets_it(self):
        draft = dataclasses.replace(LINGSHA, return_path="verp+7@odoomommy.com")
        assert decide(draft, ohm()).mail_from == "verp+7@odoomommy.com"
        assert decide(draft, ohm(restrict_username=True)).mail_from == "kevin@odoomommy.com"
        draft = dataclasses.replace(LINGSHA, return_path="verp+7@elsewhere.com")
        server = dataclasses.replace(KEVIN, from_filter="odoomommy.com")
        facts = dataclasses.replace(ohm(), servers=(server,))
        assert decide(draft, facts).mail_from == "bounce@odoomommy.com"


class TestReplyTo:
    def test_the_documents_alias_comes_first(self):
        draft = dataclasses.replace(LINGSHA, document_alias="project-x")
        assert decide_reply_to(draft, ohm("info"))[0] == "project-x@odoomommy.com"

    def test_without_a_catch_all_no_alias_is_reachable(self):
        draft = dataclasses.replace(LINGSHA, document_alias="project-x")
        assert decide_reply_to(draft, ohm(catch_all=False))[0] == "kevin@odoomommy.com"

    def test_no_mailbox_the_login_is_answered_to(self):
        facts = Facts(settings=dataclasses.replace(OHM, catch_all=False), servers=[KEVIN])
        assert decide_reply_to(LINGSHA, facts)[0] == "kevin@odoomommy.com"

    def test_nothing_known_is_natives_default(self):
        own = "lingsha.han@odoomommy.com"
        assert decide_reply_to(LINGSHA, Facts())[0] == own
        facts = Facts(settings=Settings(catch_all=False))
        assert decide_reply_to(LINGSHA, facts)[0] == own

    def test_a_domains_own_catch_all_overrides_general_settings(self):
        facts = Facts(
            settings=dataclasses.replace(OHM, catch_all=False),
            companies=[Company(1, "A", domain_id=1)],
            domains=[Domain(1, "a.com", company_id=1, catch_all="yes")],
        )
        assert decide_reply_to(Draft("x@a.com", company_id=1), facts)[0] == "catchall@a.com"


addresses = st.sampled_from(
    ["zy@a.com", "x@b.com", "n@c.com", "f@foreign.com", "", "bad", "k\r\nBcc: x@y.z@a.com"]
)
ids = st.none() | st.integers(1, 3)
drafts = st.builds(
    lambda name, address, **rest: Draft(f"{name} <{address}>" if address else name, **rest),
    st.text(max_size=40),
    addresses,
    company_id=ids,
    author=st.none() | st.builds(Author, st.sampled_from(["", "c.com"]), st.booleans()),
    reply_to=st.sampled_from(["", "X <catchall@a.com>", "info@b.com"]),
    return_path=st.sampled_from(["", "verp@a.com"]),
    document_alias=st.sampled_from(["", "team"]),
)
facts_of_any_kind = st.builds(
    Facts,
    settings=st.builds(
        Settings,
        catch_all=st.booleans(),
        restrict_username=st.booleans(),
        sender_name_format=st.sampled_from(list(SENDER_NAME_FORMATS)),
        catchall_domain=st.sampled_from(["", "g.com"]),
        catchall_alias=st.just("catchall"),
        bounce_alias=st.just("bounce"),
        notification=st.sampled_from(["", "notifications@g.com"]),
    ),
    companies=st.lists(
        st.builds(
            Company,
            st.integers(1, 3),
            st.text(max_size=20),
            ids,
            st.booleans(),
            st.sampled_from(["", "info"]),
            st.booleans(),
            st.booleans(),
            st.booleans(),
            st.sampled_from(["", "box@b.com"]),
        ),
        max_size=3,
        unique_by=lambda company: company.id,
    ).map(tuple),
    domains=st.lists(
        st.builds(
            Domain,
            st.integers(1, 3),
            st.sampled_from(["a.com", "b.com", "c.com"]),
            ids,
            ids,
            catch_all=st.sampled_from(["default", "yes", "no"]),
        ),
        max_size=3,
        unique_by=(lambda domain: domain.id, lambda domain: domain.name),
    ).map(tuple),
    servers=st.lists(
        st.builds(
            Server,
            st.integers(1, 4),
            st.text(max_size=10),
            ids,
            st.sampled_from(["default", "login", "any"]),
            st.sampled_from(["", "login@a.com", "login@b.com"]),
            st.booleans(),
            st.sampled_from(["", "a.com", "zy@a.com", "b.com"]),
        ),
        max_size=4,
        unique_by=lambda server: server.id,
    ).map(tuple),
)


@given(drafts, facts_of_any_kind)
def test_whatever_is_configured(draft, facts):
    route = decide(draft, facts)
    again = decide(draft, facts)
    assert route == again, "deciding twice gives the same"
    for text in (
        route.from_name,
        route.from_address,
        route.mail_from,
        route.return_path,
        route.reply_to,
        route.header_from,
    ):
        assert len(text.splitlines()) <= 1, "no line end reaches a header"
    for reason in route.reasons:
        assert reason.sentence()
    assert route.from_name == clean_name(route.from_name)
    if route.server is None:
        assert route.failure
        return
    assert route.mail_from == route.return_path
    chooser = {route.server.company_id, None}
    if route.server.company_id:
        rules = {reason.rule for reason in route.reasons}
        owner = facts.company.get(route.server.company_id)
        assert owner, "a server of a company that the facts do not know"
        assert rules & {"server_by_reply_to", "server_by_domain", "server_by_company"}
        assert owner.mail_server_by_domain or owner.mail_server_by_reply_to, chooser
    if route.restricted:
        login = route.server.sender_address
        assert route.mail_from == route.return_path == route.from_address == login
    else:
        for address in (route.mail_from, route.from_address):
            invented = address.startswith(("bounce@", "notifications@"))
            assert not invented or facts.arrives(address), "every address on a mail exists"
