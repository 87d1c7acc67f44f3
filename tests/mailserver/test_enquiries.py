# SPDX-License-Identifier: LGPL-3.0-only
"""Mail that answers nothing, on Postfix and Dovecot."""

import smtplib

import pytest
import serverlog
from office import CUSTOMER, LOGINS, PRIVATE, PROTOCOLS


@pytest.mark.parametrize("company", "ABC")
def test_a_new_enquiry_becomes_a_lead_of_the_company(office, server, tell, company):
    """A has a catch-all, B an alias for its mailbox, C a mailbox of this address."""
    address, mark = f"enquiries@{company.lower()}.com", server.mark()
    with office.environment() as env:
        if not env["mail.alias"].search([("alias_name", "=", "enquiries")]):
            env["mail.alias"].create(
                {
                    "alias_name": "enquiries",
                    "alias_domain_id": False,
                    "alias_model_id": env["ir.model"]._get_id("crm.lead"),
                    "alias_contact": "everyone",
                }
            )
        if company == "C":
            # nobody's in particular: the address tells whose the lead is
            mailbox = office.add_mailbox(env, PRIVATE, "pop")
    office.write_to(address, f"Enquiry at {company}")
    office.fetch()
    with office.environment() as env:
        lead = env["crm.lead"].search([("name", "=", f"Enquiry at {company}")])
        assert len(lead) == 1, office.unprocessed()
        assert lead.company_id.name == company
        assert lead.email_from == CUSTOMER
        if company == "C":
            mailbox.with_env(env).unlink()
    assert not office.unprocessed()
    tell(*serverlog.shown(server, mark))


@pytest.mark.parametrize("company, address", [("A", "catchall@a.com"), ("B", "answers@b.com")])
def test_a_direct_mail_to_a_reply_address(office, server, tell, company, address):
    """It is refused as native does, in that company's name and through its server."""
    mark = server.mark()
    company_id = office.company_ids["B"]
    with office.changed(
        "res.company", company_id, reply_to_by_company=True, reply_to_prefix="answers"
    ):
        office.write_to(address, "Enquiry")
        office.fetch("imap")
    (refusal,) = office.received(CUSTOMER)
    sender = {"A": "bounce@a.com", "B": LOGINS["B"]}[company]
    assert refusal["From"].addresses[0].addr_spec == sender
    assert str(refusal["Reply-To"]) == f"info@{company.lower()}.com"
    text = refusal.get_body(("html",)).get_content()
    assert "used to collect replies" in " ".join(text.split())
    assert not office.unprocessed()
    lines = serverlog.shown(server, mark)
    assert sum(f"sasl_username={LOGINS[company]}" in line for line in lines) == 1, lines
    tell(*lines)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_unknown_address(office, server, tell, protocol):
    """Kept where a mailbox catches it; elsewhere Postfix does not let it in."""
    mark = server.mark()
    office.write_to("nobody@a.com", "To nobody")
    office.fetch(protocol)
    ((subject, company, reason),) = office.unprocessed()
    assert (subject, company) == ("To nobody", "A")
    assert "No possible route" in reason
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        office.write_to("nobody@b.com", "To nobody")
    ((code, words),) = refused.value.recipients.values()
    assert (code, words[:5]) == (550, b"5.1.1")
    with office.environment() as env:
        env["mail.unprocessed"].search([]).unlink()
    tell(*serverlog.shown(server, mark), f"kept: {reason.splitlines()[0]}")
