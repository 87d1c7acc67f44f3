# SPDX-License-Identifier: LGPL-3.0-only
"""The provider refuses, delivers and breaks as it says: seen by smtplib, imaplib and poplib."""

import contextlib
import functools
import imaplib
import poplib
import smtplib
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

import pytest

from dev.provider import HOST, PHASES, RULES, Provider, Rule

LOGIN, PASSWORD = "sales@a.com", "sales-secret"
CUSTOMER, OUTSIDE = "kim@customer.com", "buyer@elsewhere.com"
ACCOUNTS = {LOGIN: PASSWORD, CUSTOMER: "kim-secret"}
STRICT = sorted(set(RULES) - {"any"})
MICROSOFT = ["office365", "office365_storedrv", "exchange"]
#: what smtplib raises, by the phase that is refused
REFUSALS = {
    "mail": smtplib.SMTPSenderRefused,
    "rcpt": smtplib.SMTPRecipientsRefused,
    "data": smtplib.SMTPDataError,
}
SECOND = b"Subject: second\r\n\r\nHello\r\n"


@pytest.fixture
def serve():
    """Start providers that live as long as the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(Provider(ACCOUNTS, *args, **options))


@pytest.fixture
def provider(serve):
    return serve()


def written(sender=LOGIN):
    message = EmailMessage()
    if sender:
        message["From"] = sender
    message["Subject"] = "Quotation"
    message.set_content("Dear buyer,\n.dot at the start of a line\n")
    return message


def send(provider, login=LOGIN, mail_from=None, to=OUTSIDE, message=None):
    mail_from = login if mail_from is None else mail_from
    return provider.send_from(login, mail_from, to, message or written(login))


@contextlib.contextmanager
def connected(provider, timeout=10.0, context=None):
    """A client; closed without QUIT if the server went away."""
    context = context or provider.client_context()
    opened = smtplib.SMTP
    if provider.tls == "ssl":
        opened = functools.partial(smtplib.SMTP_SSL, context=context)
    client = opened(HOST, provider.smtp_port, "localhost", timeout=timeout)
    with contextlib.closing(client):
        if provider.tls == "starttls":
            client.starttls(context=context)
        yield client


@contextlib.contextmanager
def logged_in(provider, timeout=10.0):
    with connected(provider, timeout) as client:
        client.login(LOGIN, PASSWORD)
        yield client


# -- who may send as whom -------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRICT)
def test_a_foreign_sender_is_refused_in_the_phase_and_words_of_the_provider(serve, name):
    rule = RULES[name]
    sender = "bounce@elsewhere.com" if rule.scope == "domain" else "bounce@a.com"
    words = rule.reply.format(mail_from=sender, login=LOGIN)
    provider = serve(name)
    with pytest.raises(REFUSALS[rule.phase]) as caught:
        send(provider, mail_from=sender)
    if rule.phase == "rcpt":
        reply = caught.value.recipients[OUTSIDE]
    else:
        reply = caught.value.smtp_code, caught.value.smtp_error
    assert reply == (int(words[:3]), words[4:].encode())
    assert provider.mails == []
    (refusal,) = provider.refusals
    assert (refusal.login, refusal.mail_from, refusal.phase) == (LOGIN, sender, rule.phase)
    assert refusal.reply == words


@pytest.mark.parametrize(
    "names, mail_from, header_from, passes",
    [
        (RULES, "Sales@A.com", "Sales <SALES@a.com>", True),
        (RULES, "info@a.com", "Info <info@a.com>", True),
        (set(STRICT) - {"postfix"}, "", LOGIN, False),
        (["postfix", "any"], "", LOGIN, True),
        (MICROSOFT, LOGIN, "Boss <boss@a.com>", False),
        (MICROSOFT, LOGIN, None, False),
        (set(RULES) - set(MICROSOFT), LOGIN, "Boss <boss@a.com>", True),
        (["unnamed_550"], "bounce@a.com", LOGIN, True),
        (["any"], "boss@b.com", "boss@b.com", True),
    ],
)
def test_who_may_send_as_whom(serve, names, mail_from, header_from, passes):
    for name in names:
        provider = serve(name)
        provider.add_account(LOGIN, PASSWORD, send_as=["Info@a.com"])
        expected = contextlib.nullcontext() if passes else pytest.raises(smtplib.SMTPException)
        with expected:
            send(provider, mail_from=mail_from, message=written(header_from))
        assert [mail.mail_from for mail in provider.mails] == [mail_from] * passes, name
        assert [refusal.mail_from for refusal in provider.refusals] == [mail_from] * (not passes)


def test_a_session_goes_on_after_a_refusal(serve):
    provider = serve(Rule("mail", "550 {login} is not {mail_from}"))
    with logged_in(provider) as client:
        assert client.mail("boss@a.com") == (550, b"sales@a.com is not boss@a.com")
        client.send_message(written(), LOGIN, [OUTSIDE])
    assert (len(provider.mails), provider.sessions, provider.logins) == (1, 1, 1)


# -- logins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "login, password", [(CUSTOMER, "wrong"), ("nobody@customer.com", "kim-secret"), ('""', "")]
)
def test_a_wrong_login_is_refused(serve, login, password):
    provider = serve(imap=True, pop3=True)
    with connected(provider) as client, pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        client.login(login, password)
    assert caught.value.smtp_code == 535
    assert provider.logins == 0
    assert {(r.phase, r.login) for r in provider.refusals} == {("auth", login)}
    with pytest.raises(imaplib.IMAP4.error), imap(provider, login, password):
        pass
    with pytest.raises(poplib.error_proto), pop3(provider, login, password):
        pass


def test_who_does_not_log_in(serve):
    with connected(serve()) as client:
        client.ehlo()
        assert client.mail(LOGIN) == (530, b"5.7.0 Authentication required")
    relay = serve(require_auth=False)
    with connected(relay) as client:
        client.send_message(written(), "anybody@x.com", [OUTSIDE])
    assert relay.mails[0].login == ""
    with pytest.raises(smtplib.SMTPSenderRefused):
        send(relay, mail_from="anybody@x.com")


def test_a_login_that_is_no_address_acts_as_its_identity(serve):
    provider = serve(imap=True)
    provider.add_account("apikey", "x", identity="kevin@a.com")
    provider.set_catch_all("a.com", "kevin@a.com")
    with pytest.raises(smtplib.SMTPSenderRefused):
        send(provider, "apikey", "apikey")
    send(provider, "apikey", "kevin@a.com", to="anybody@a.com")
    assert provider.mails[0].login == "apikey"
    with imap(provider, "apikey", "x") as client:
        assert fetch_unseen(client) == provider.mailbox("kevin@a.com") != []


# -- recipients -----------------------------------------------------------------------------------


def test_a_mail_lies_in_its_mailbox_with_the_envelope_as_return_path(provider):
    message = written()
    message["Return-Path"] = "bounce@a.com"
    send(provider, to=[OUTSIDE, CUSTOMER.upper()], message=message)
    (sent,) = provider.mails
    assert (sent.login, sent.session) == (LOGIN, 1)
    assert sent.rcpt_tos == (OUTSIDE, CUSTOMER.upper())
    assert sent.return_path == "bounce@a.com"
    (lying,) = provider.mailbox(CUSTOMER)
    assert lying.startswith(b"Return-Path: <sales@a.com>\r\nFrom: sales@a.com\r\n")
    assert lying.count(b"Return-Path") == 1
    assert lying.endswith(b"\r\n\r\nDear buyer,\r\n.dot at the start of a line\r\n")


def test_an_invented_address_is_refused_unless_a_catch_all_gets_it_once(provider):
    invented = ["bounce+1@a.com", "catchall@a.com"]
    refused = send(provider, CUSTOMER, to=[invented[0], LOGIN])
    assert refused == {invented[0]: (550, b"Mailbox not found")}
    assert provider.mails[0].rcpt_tos == (LOGIN,)
    assert [(r.rcpt, r.phase) for r in provider.refusals] == [(invented[0], "rcpt")]
    provider.set_catch_all("a.com", LOGIN)
    assert send(provider, CUSTOMER, to=invented) == {}
    assert len(provider.mailbox(LOGIN)) == 2
    provider.set_catch_all("a.com", None)
    assert provider.deliver(invented[0], b"x") is None
    with pytest.raises(ValueError, match="no account has the address"):
        Provider(ACCOUNTS, catch_all={"a.com": "typo@a.com"})


def test_an_alias_delivers_to_its_account_and_deliver_changes_nothing(provider):
    provider.add_account(LOGIN, PASSWORD, send_as=["info@a.com"])
    send(provider, CUSTOMER, to="info@a.com")
    assert provider.deliver("info@a.com", SECOND) == LOGIN
    assert provider.deliver(OUTSIDE, SECOND) is None
    assert len(provider.mailbox(LOGIN)) == 2
    assert provider.mailbox(LOGIN)[1] == SECOND


# -- what is recorded -----------------------------------------------------------------------------


def test_what_is_counted_and_cleared(serve):
    provider = serve(keep_data=False)
    send(provider)
    send(provider, to=CUSTOMER)
    provider.wait_for(lambda seen: (2, "QUIT") in seen.commands)
    assert (provider.sessions, provider.logins) == (2, 2)
    assert (provider.mails[1].data, provider.mails[1].rcpt_tos) == (b"", (CUSTOMER,))
    assert provider.mailbox(CUSTOMER) == []
    verbs = [verb for session, verb in provider.commands if session == 2]
    assert verbs == ["EHLO", "AUTH", "MAIL", "RCPT", "DATA", "QUIT"]
    with pytest.raises(TimeoutError, match="2 mails, 2 sessions"):
        provider.wait_for(3, timeout=0.01)
    provider.clear()
    assert not (provider.mails or provider.commands or provider.sessions or provider.logins)


def test_many_sessions_at_once_lose_nothing(provider):
    with ThreadPoolExecutor(10) as pool:
        for _mail in range(100):
            pool.submit(send, provider, to=CUSTOMER)
    assert len(provider.mails) == len(provider.mailbox(CUSTOMER)) == 100
    assert (provider.sessions, provider.logins) == (100, 100)


def test_the_delay_is_added_to_the_commands(serve):
    with connected(serve(delay=0.2)) as client, pytest.raises(smtplib.SMTPServerDisconnected):
        client.sock.settimeout(0.05)
        client.ehlo()


# -- life and TLS ---------------------------------------------------------------------------------


def test_stop_ends_sessions_and_thread_and_frees_the_ports():
    before = set(threading.enumerate())
    provider = Provider(ACCOUNTS, tls="starttls", imap=True, pop3=True).start()
    with pytest.raises(RuntimeError, match="already started"):
        provider.start()
    ports = provider.smtp_port, provider.imap_port, provider.pop3_port
    idle = [socket.create_connection((HOST, port), timeout=10) for port in ports]
    for connection in idle[1:]:
        assert connection.recv(100)
    provider.stop()
    provider.stop()
    for connection in idle:
        with connection, contextlib.suppress(ConnectionResetError):
            while connection.recv(100):
                pass
    assert set(threading.enumerate()) == before
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        socket.create_server((HOST, port)).close()


def test_after_an_outage_the_provider_is_back_on_its_ports_with_its_mails():
    provider = Provider(ACCOUNTS, imap=True)
    provider.deliver(CUSTOMER, SECOND)
    with provider:
        ports = provider.smtp_port, provider.imap_port
        send(provider, to=CUSTOMER)
    with pytest.raises(ConnectionRefusedError):
        send(provider)
    with provider:
        assert (provider.smtp_port, provider.imap_port) == ports
        send(provider, to=CUSTOMER)
        with imap(provider) as client:
            assert fetch_unseen(client) == provider.mailbox(CUSTOMER)
    assert len(provider.mailbox(CUSTOMER)) == 3


@pytest.mark.parametrize("tls", ["starttls", "ssl"])
def test_a_verified_tls_session_of_a_certificate_that_nobody_else_trusts(serve, tls):
    provider = serve(tls=tls)
    send(provider)
    assert len(provider.mails) == 1
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError), connected(provider, context=context):
        pass


def test_before_starttls_there_is_neither_auth_nor_mail(serve):
    provider = serve(tls="starttls")
    with smtplib.SMTP(HOST, provider.smtp_port, "localhost", timeout=10) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.mail(LOGIN)[0] == 530


# -- IMAP and POP3 --------------------------------------------------------------------------------


@contextlib.contextmanager
def imap(provider, login=CUSTOMER, password="kim-secret"):
    if provider.tls == "ssl":
        context = provider.client_context()
        client = imaplib.IMAP4_SSL(HOST, provider.imap_port, ssl_context=context)
    else:
        client = imaplib.IMAP4(HOST, provider.imap_port, timeout=10)
    try:
        client.login(login, password)
        yield client
    finally:
        client.logout()


def fetch_unseen(client):
    client.select()
    numbers = client.search(None, "(UNSEEN)")[1][0].split()
    return [client.fetch(number, "(RFC822)")[1][0][1] for number in numbers]


@pytest.mark.parametrize("tls", ["none", "ssl"])
def test_a_mail_is_fetched_once_and_the_next_one_in_the_next_session(serve, tls):
    provider = serve(tls=tls, imap=True)
    send(provider, to=CUSTOMER)
    with imap(provider) as client:
        assert fetch_unseen(client) == provider.mailbox(CUSTOMER)
    with imap(provider) as client:
        assert fetch_unseen(client) == []
        provider.deliver(CUSTOMER, SECOND)
        assert fetch_unseen(client) == [SECOND]


@contextlib.contextmanager
def pop3(provider, login=CUSTOMER, password="kim-secret"):
    client = poplib.POP3(HOST, provider.pop3_port, timeout=10)
    with contextlib.closing(client):
        client.user(login)
        client.pass_(password)
        yield client
        client.quit()


def test_pop3_gives_mails_out_until_they_are_deleted(serve):
    provider = serve(pop3=True)
    dotted = b"Subject: first\r\n\r\n.dot\r\n"
    provider.deliver(CUSTOMER, dotted)
    provider.deliver(CUSTOMER, SECOND)
    for _session in range(2):
        with pop3(provider) as client:
            assert client.stat() == (2, len(dotted) + len(SECOND))
            assert [line.split()[0] for line in client.list()[1]] == [b"1", b"2"]
            assert b"\r\n".join(client.retr(1)[1]) + b"\r\n" == dotted
            assert client.top(2, 0)[1] == [b"Subject: second", b""]
            with pytest.raises(poplib.error_proto, match="no such message"):
                client.dele(3)
    with pop3(provider) as client:
        client.dele(1)
    with pop3(provider) as client:
        assert client.stat() == (1, len(SECOND))
    assert provider.mailbox(CUSTOMER) == [dotted, SECOND]


# -- faults ---------------------------------------------------------------------------------------


def send_two(provider, timeout=10.0):
    """Log in and send two mails over one session; the provider may stop this anywhere."""
    with logged_in(provider, timeout) as client:
        for _ in range(2):
            client.send_message(written(), LOGIN, [CUSTOMER])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    "tls, action", [("none", "drop"), ("starttls", "drop"), ("ssl", "drop"), ("none", "hang")]
)
def test_a_lost_connection_is_noticed_in_every_phase(serve, phase, tls, action):
    provider = serve(tls=tls)
    provider.fail(phase, action)
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        send_two(provider, timeout=0.5 if action == "hang" else 10)
    accepted = 1 if phase == "between" else 0
    assert len(provider.mails) == len(provider.mailbox(CUSTOMER)) == accepted
    assert [fault[1:] for fault in provider.faults] == [(phase, action)]
    send_two(provider)  # the next session is whole again
    assert len(provider.mails) == accepted + 2


def test_stop_ends_a_hanging_session():
    provider = Provider(ACCOUNTS).start()
    provider.fail("mail", "hang")
    with logged_in(provider) as client:
        client.putcmd(f"MAIL FROM:<{LOGIN}>")
        provider.wait_for(lambda seen: seen.faults)
        provider.stop()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.getreply()


@pytest.mark.parametrize("action", ["421", "451", "535", "550 5.4.5 Daily sending quota exceeded"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_refusing_provider_is_heard_in_every_phase(provider, phase, action):
    provider.fail(phase, action)
    with pytest.raises(smtplib.SMTPException) as caught:
        send_two(provider)
    if phase in ("ehlo", "auth") and action == "421":
        # smtplib tells it as the disconnection that follows it
        assert isinstance(caught.value, smtplib.SMTPServerDisconnected)
    elif isinstance(caught.value, smtplib.SMTPRecipientsRefused):
        assert caught.value.recipients[CUSTOMER][0] == int(action[:3])
    else:
        assert caught.value.smtp_code == int(action[:3])
    assert len(provider.mails) == (1 if phase == "between" else 0)
    assert provider.refusals == []
    send_two(provider)


@pytest.mark.parametrize("lost", ["drop", "hang", "garbage"])
def test_a_lost_reply_leaves_the_mail_delivered(provider, lost):
    provider.fail("end_of_data", f"accept_then_{lost}")
    with pytest.raises((smtplib.SMTPException, TimeoutError)):
        send_two(provider, timeout=0.5)
    assert len(provider.mails) == len(provider.mailbox(CUSTOMER)) == 1


def test_a_fault_strikes_after_so_many_and_so_often(provider):
    provider.fail("rcpt", "451", after=1, times=2)
    with logged_in(provider) as client:
        client.mail(LOGIN)
        codes = [client.rcpt(f"buyer{n}@out.com")[0] for n in range(5)]
    assert codes == [250, 451, 451, 250, 250]
    assert provider.faults == [(1, "rcpt", "451")] * 2


def test_a_lasting_fault_lasts_until_healed(provider):
    provider.fail("connect", "421", times=None)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPConnectError):
            send(provider)
    provider.heal()
    send(provider)


@pytest.mark.parametrize(
    "phase, action",
    [("helo", "drop"), ("mail", "explode"), ("mail", "accept_then_drop"), ("mail", "550")],
)
def test_a_misspelt_fault_is_refused(phase, action):
    with pytest.raises(ValueError, match="unknown"):
        Provider(ACCOUNTS).fail(phase, action)
    with pytest.raises(ValueError, match="unknown"):
        Provider(ACCOUNTS, tls="yes")
