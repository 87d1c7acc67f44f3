# SPDX-License-Identifier: LGPL-3.0-only
"""The mail server itself, without Odoo: what it lets pass, what it refuses, what it leaves."""

import imaplib
import poplib
import re
import smtplib
from email.message import EmailMessage
from email.utils import make_msgid
from pathlib import Path

import pytest

from dev.mailserver import MailServer

SALES, CUSTOMER = "sales@b.com", "buyer@example.net"
ACCOUNTS = {
    "sales@a.com": "a: pass",
    "catchall@a.com": "secret",
    SALES: "secret",
    "sales@c.com": "secret",
    CUSTOMER: "secret",
}


@pytest.fixture(scope="module")
def server():
    with MailServer(ACCOUNTS, {"a.com": "catchall@a.com", "b.com": None, "c.com": None}) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(server):
    yield
    server.queue_empty()
    server.clear()


def written(mail_from, to):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = mail_from, to, f"{mail_from} to {to}"
    mail["Message-ID"] = make_msgid(domain="client.example")
    mail.set_content("Grüße")
    return mail


@pytest.mark.parametrize(
    "login, mail_from, to, refusal",
    [
        (SALES, "bounce@a.com", CUSTOMER, "not owned by user sales@b.com"),
        (SALES, "other@b.com", CUSTOMER, "not owned by user sales@b.com"),
        (CUSTOMER, CUSTOMER, "anything@c.com", "550 5.1.1"),
        (SALES, SALES, "somebody@elsewhere.example", "550 5.1.2"),
    ],
    ids=["another company", "another address", "no such mailbox", "outside"],
)
def test_refused(server, login, mail_from, to, refusal):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        server.send_from(login, mail_from, to, written(mail_from, to))
    ((code, words),) = caught.value.recipients.values()
    assert refusal in f"{code} {words.decode()}"


@pytest.mark.parametrize(
    "login, to, mailbox",
    [
        (SALES, CUSTOMER, CUSTOMER),
        (CUSTOMER, SALES, SALES),
        (CUSTOMER, "anything@a.com", "catchall@a.com"),
    ],
    ids=["to a customer", "from a customer", "catch-all"],
)
def test_accepted(server, login, to, mailbox):
    assert not server.send_from(login, login, to, written(login, to))
    assert len(server.wait_for(mailbox, 1)) == 1


def test_a_customer_who_does_not_exist_is_reported(server):
    mark = server.mark()
    server.send_from(SALES, SALES, "nobody@example.net", written(SALES, "nobody@example.net"))
    (report,) = server.wait_for(SALES, 1)
    assert re.search(rb"(?m)^Status: 5\.1\.1", report)
    server.wait_for_log(r"postfix/bounce.*sender non-delivery notification", mark)


@pytest.mark.parametrize("way", ["plain", "STARTTLS", "TLS"])
def test_imap(server, way):
    server.send_from(CUSTOMER, CUSTOMER, SALES, written(CUSTOMER, SALES))
    kept = server.wait_for(SALES, 1)
    context = server.client_context()
    client = (
        imaplib.IMAP4_SSL(server.host, server.imaps_port, ssl_context=context)
        if way == "TLS"
        else imaplib.IMAP4(server.host, server.imap_port)
    )
    with client:
        if way == "STARTTLS":
            client.starttls(context)
        client.login(SALES, ACCOUNTS[SALES])
        client.select()
        (number,) = client.search(None, "(UNSEEN)")[1][0].split()
        assert client.fetch(number, "(RFC822)")[1][0][1] == kept[0]
        client.store(number, "+FLAGS", "\\Seen")
        assert not client.search(None, "(UNSEEN)")[1][0]


@pytest.mark.parametrize("way", ["plain", "TLS"])
def test_pop3(server, way):
    server.send_from(CUSTOMER, CUSTOMER, SALES, written(CUSTOMER, SALES))
    kept = server.wait_for(SALES, 1)
    client = (
        poplib.POP3_SSL(server.host, server.pop3s_port, context=server.client_context())
        if way == "TLS"
        else poplib.POP3(server.host, server.pop3_port)
    )
    client.user(SALES)
    client.pass_(ACCOUNTS[SALES])
    assert client.stat()[0] == 1
    assert b"\r\n".join(client.retr(1)[1]) + b"\r\n" == kept[0]
    client.dele(1)
    client.rset()
    client.dele(1)
    client.quit()
    assert not server.mailbox(SALES)


def test_nothing_is_left_behind():
    with MailServer({SALES: "secret"}, {"b.com": None}) as server:
        folder = server.folder
    running = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and str(folder).encode() in path.read_bytes()
    ]
    assert not folder.exists() and not running
