# SPDX-License-Identifier: LGPL-3.0-only
"""The same alias in several domains, on Postfix and Dovecot."""

from email.message import EmailMessage
from email.utils import make_msgid

import pytest
import serverlog
from office import CUSTOMER, LOGINS, domain_of


@pytest.fixture
def infos(office, server):
    """``info`` at a.com and at b.com; nobody at c.com, where it is the company's own address."""
    with office.environment() as env:
        aliases = env["mail.alias"].search([("alias_name", "=", "info")])
        aliases.alias_name = False  # CRM comes with it
        infos = env["mail.alias"].create(
            [
                {
                    "alias_name": "info",
                    "alias_domain_id": office.domains[company],
                    "alias_model_id": env["ir.model"]._get_id("crm.lead"),
                    "alias_contact": "everyone",
                }
                for company in "AB"
            ]
        )
        ids = infos.ids
    yield
    with office.environment() as env:
        env["mail.alias"].browse(ids).unlink()
        env["mail.unprocessed"].search([]).unlink()


def leads(office, subject):
    """Give the names of the companies whose leads a mail made."""
    with office.environment() as env:
        found = env["crm.lead"].search([("name", "=", subject)])
        return sorted(found.mapped("company_id.name")), set(found.mapped("email_from"))


@pytest.mark.parametrize("company", "AB")
def test_each_companys_info_makes_its_lead(office, infos, server, tell, company):
    mark = server.mark()
    office.write_to(f"info@{domain_of(company)}", f"Info of {company}")
    office.fetch("imap" if company == "A" else "pop")
    assert leads(office, f"Info of {company}") == ([company], {CUSTOMER}), office.unprocessed()
    assert not office.unprocessed()
    tell(*serverlog.shown(server, mark))


def test_the_third_has_none_and_refuses_in_its_own_name(office, infos, server, tell):
    mark = server.mark()
    office.write_to("info@c.com", "Info of C")
    office.fetch("imap")
    assert leads(office, "Info of C") == ([], set())
    (refusal,) = office.received(CUSTOMER)
    assert refusal["From"].addresses[0].addr_spec.endswith("@c.com")
    assert "info@c.com" in refusal.get_body(("html",)).get_content()
    assert not office.unprocessed()
    lines = serverlog.shown(server, mark)
    assert sum(f"sasl_username={LOGINS['C']}" in line for line in lines) == 1, lines
    tell(*lines)


def test_one_mail_to_two_of_them_makes_two(office, infos, server, tell):
    """It lies in both mailboxes, and is taken once."""
    mark = server.mark()
    message = EmailMessage()
    message["From"], message["Subject"] = CUSTOMER, "Info of both"
    message["To"], message["Cc"] = "info@a.com", "info@b.com"
    message["Message-ID"] = make_msgid(domain="example.net")
    message.set_content("What does it cost?")
    server.send_from(CUSTOMER, CUSTOMER, ["info@a.com", "info@b.com"], message)
    server.queue_empty()
    office.fetch("imap")
    office.fetch("imap")
    assert leads(office, "Info of both") == (["A", "B"], {CUSTOMER}), office.unprocessed()
    assert not office.unprocessed()
    tell(*serverlog.shown(server, mark))
