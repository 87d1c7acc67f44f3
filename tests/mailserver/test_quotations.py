# SPDX-License-Identifier: LGPL-3.0-only
"""Quotations and their answers, on Postfix and Dovecot."""

import pytest
import serverlog
from office import (
    COMPANIES,
    CUSTOMER,
    LOGINS,
    MISSING,
    PROTOCOLS,
    RESTRICTED,
    SALESPERSON,
    domain_of,
)

NOT_OWNED = "5.7.1 <{}>: Sender address rejected: not owned by user {}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_answer_lands_on_its_quotation(office, server, tell, protocol):
    mark = server.mark()
    orders = {company: office.send_quotation(company) for company in "AB"}
    questions = office.received(CUSTOMER, 2)
    expected = {
        "A": ("bounce@a.com", SALESPERSON, "catchall@a.com"),
        "B": (LOGINS["B"], LOGINS["B"], LOGINS["B"]),
    }
    for company, question in zip("AB", questions, strict=True):
        assert senders(question) == expected[company]
        server.wait_for_log(f"sasl_username={LOGINS[company]}", mark)
        office.answer(question, f"We agree with {company}.")
    server.queue_empty()
    office.fetch(protocol)
    for company, order in orders.items():
        assert office.answers(order) == [(CUSTOMER, f"We agree with {company}.")]
    assert not office.unprocessed()
    # the salesperson's copies left by the server of the quotation's company
    copies = [str(mail["Return-Path"]).strip("<>") for mail in office.received(SALESPERSON, 2)]
    assert sorted(copies) == ["bounce@a.com", LOGINS["B"]]
    logins = serverlog.sessions(server, mark)
    assert len(logins) >= 2
    assert all(", TLS" in line for line in logins)
    tell(*serverlog.shown(server, mark))
    # and nothing more comes of fetching again
    office.fetch()
    assert [len(office.answers(order)) for order in orders.values()] == [1, 1]


@pytest.mark.parametrize("company, login", [("A", RESTRICTED), ("B", LOGINS["B"])])
def test_the_restricted_account(office, native, server, tell, company, login):
    """With a catch-all (A) and without (B), by the two options; native beside it."""
    domain, mark = domain_of(company), server.mark()
    with native.domain(domain, login):
        order = native.send_quotation("A")
    status, reason = native.notifications(order)
    assert status == ["exception"]
    assert NOT_OWNED.format(f"bounce@{domain}", login) in reason
    assert not server.mailbox(CUSTOMER)
    tell("native:", *serverlog.shown(server, mark), *reason.splitlines())

    mark, catch_all = server.mark(), company == "A"
    with (
        office.settings(mail_restrict_username=True, mail_catch_all=catch_all),
        office.as_in_general_settings(company, smtp_user=login),
    ):
        order = office.send_quotation(company)
        (question,) = office.received(CUSTOMER)
        assert senders(question) == (login, login, "catchall@a.com" if catch_all else login)
        assert f"慕容紫英 (zy@{domain})" in str(question["From"])
        office.answer(question)
        server.queue_empty()
        office.fetch("imap")
    assert office.answers(order) == [(CUSTOMER, "We agree.")]
    tell("restricted:", *serverlog.shown(server, mark))


def test_the_options_off_and_on(office, server, tell):
    """The failure keeps Postfix's words and says what to do; once it is done, a retry succeeds."""
    mark = server.mark()
    with (
        office.settings(mail_restrict_username=False, mail_catch_all=True),
        office.as_in_general_settings("B"),
    ):
        order = office.send_quotation("B")
        status, reason = office.notifications(order)
        assert status == ["exception"]
        assert NOT_OWNED.format("bounce@b.com", LOGINS["B"]) in reason
        assert "Turn on Restrict Username in General Settings" in reason.splitlines()[-1]
        assert not server.mailbox(CUSTOMER)
        office.set(mail_restrict_username=True)
        office.retry()
        (question,) = office.received(CUSTOMER)
        assert senders(question)[:2] == (LOGINS["B"], LOGINS["B"])
        assert office.notifications(order)[0] == ["sent"]
    tell(*serverlog.shown(server, mark), *reason.splitlines())


def test_a_delivery_report_of_postfix(office, server, tell):
    """At A's bounce address by its catch-all; in the login mailbox of B and of C."""
    mark = server.mark()
    arrived = {company: office.send_quotation(company) for company in COMPANIES}
    lost = {company: office.send_quotation(company, MISSING) for company in COMPANIES}
    expected = dict.fromkeys(COMPANIES, ["sent"])
    for company, protocol in zip(COMPANIES, ("imap", "pop", "imap"), strict=True):
        (report,) = office.received(LOGINS[company])
        assert report.get_content_type() == "multipart/report"
        assert str(report["To"]) == ("bounce@a.com" if company == "A" else LOGINS[company])
        assert states(office, lost) == expected
        office.fetch(protocol, [office.incoming[company]])
        expected[company] = ["bounce"]
        assert states(office, lost) == expected
    assert states(office, arrived) == dict.fromkeys(COMPANIES, ["sent"])
    assert not any(office.answers(order) for order in lost.values())
    assert not office.unprocessed()
    tell(*serverlog.shown(server, mark))


def states(office, orders):
    """Give by company what became of its quotation's mails."""
    return {company: office.notifications(order)[0] for company, order in orders.items()}


def senders(mail):
    """Give envelope sender, From and Reply-To of a mail as its recipient sees them."""
    return (
        str(mail.get_all("Return-Path")[0]).strip("<>"),
        mail["From"].addresses[0].addr_spec,
        mail["Reply-To"].addresses[0].addr_spec,
    )
