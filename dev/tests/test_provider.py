# SPDX-License-Identifier: LGPL-3.0-only
"""The provider refuses, delivers and breaks as it says: seen by smtplib and imaplib."""

import contextlib
import imaplib
import smtplib
import socket
import ssl
import sys
import threading
from email.message import EmailMessage

import pytest

from dev.provider import PHASES, RULES, Provider, Rule

LOGIN, PASSWORD = "sales@a.com", "sales-secret"
CUSTOMER = "kim@customer.com"
ACCOUNTS = {LOGIN: PASSWORD, CUSTOMER: "kim-secret"}
STRICT = sorted(set(RULES) - {"any"})
#: what smtplib raises, by the phase that is refused
REFUSALS = {
    "mail": smtplib.SMTPSenderRefused,
    "rcpt": smtplib.SMTPRecipientsRefused,
    "data": smtplib.SMTPDataError,
}


def mail(sender=LOGIN, to="buyer@elsewhere.com", subject="Quotation"):
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message.set_content("Dear buyer,\n.dot at the start of a line\n")
    return message


@contextlib.contextmanager
def smtp(provider, timeout=10.0, login=LOGIN, password=PASSWORD):
    """A logged-in client, as Odoo opens it; closed without QUIT if the server went away."""
    where = {"host": provider.smtp_host, "port": provider.smtp_port, "local_hostname": "localhost"}
    client = (
        smtplib.SMTP_SSL(**where, timeout=timeout, context=provider.client_context())
        if provider.tls == "ssl"
        else smtplib.SMTP(**where, timeout=timeout)
    )
    with contextlib.closing(client):
        if provider.tls == "starttls":
            client.starttls(context=provider.client_context())
        client.login(login, password)
        yield client


# -- the table of refusals ------------------------------------------------------------------------


def wrong_sender(rule):
    """An envelope sender that an account of a.com may not use under the rule."""
    return "bounce@elsewhere.com" if rule.scope == "domain" else "bounce@a.com"


@pytest.mark.parametrize("name", STRICT)
def test_a_foreign_sender_is_refused_in_the_phase_and_words_of_the_provider(name):
    rule = RULES[name]
    sender = wrong_sender(rule)
    words = rule.reply.format(mail_from=sender, login=LOGIN)
    code, text = int(words[:3]), words[4:].encode()
    with Provider(ACCOUNTS, rule=name) as provider:
        with smtp(provider) as client, pytest.raises(REFUSALS[rule.phase]) as caught:
            client.send_message(mail(), sender, ["x@out.com"])
        if rule.phase == "rcpt":
            reply = caught.value.recipients["x@out.com"]
        else:
            reply = caught.value.smtp_code, caught.value.smtp_error
        assert reply == (code, text)
        assert provider.mails == []
        (refusal,) = provider.refusals
        assert (refusal.login, refusal.mail_from, refusal.phase, refusal.reply) == (
            LOGIN,
            sender,
            rule.phase,
            words,
        )


@pytest.mark.parametrize("name", [name for name in STRICT if not RULES[name].null_sender])
def test_an_empty_envelope_sender_is_refused_by_the_strict(name):
    with Provider(ACCOUNTS, rule=name) as provider:
        with pytest.raises(smtplib.SMTPResponseException):
            provider.send_from(LOGIN, "", "x@out.com", mail())
        assert provider.refusals[0].mail_from == ""


def test_postfix_lets_an_empty_envelope_sender_pass():
    with Provider(ACCOUNTS, rule="postfix") as provider:
        provider.send_from(LOGIN, "", "x@out.com", mail())
        assert provider.mails[0].mail_from == ""


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_login_may_send_as_itself_whatever_the_case(name):
    with Provider(ACCOUNTS, rule=name) as provider:
        assert (
            provider.send_from(LOGIN, "Sales@A.com", "x@out.com", mail("Sales <SALES@a.com>")) == {}
        )
        assert [m.mail_from for m in provider.mails] == ["Sales@A.com"]
        assert provider.refusals == []


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_login_may_send_as_an_address_it_was_given(name):
    with Provider(ACCOUNTS, rule=name, send_as={LOGIN: ["info@a.com"]}) as provider:
        provider.send_from(LOGIN, "info@a.com", "x@out.com", mail("Info <info@a.com>"))
        assert provider.mails[0].header_from == "info@a.com"


def test_postfix_names_the_addresses_at_rcpt():
    with (
        Provider(ACCOUNTS, rule="postfix") as provider,
        pytest.raises(smtplib.SMTPRecipientsRefused) as caught,
    ):
        provider.send_from(LOGIN, "bounce@a.com", "x@out.com", mail())
    assert caught.value.recipients["x@out.com"] == (
        553,
        b"5.7.1 <bounce@a.com>: Sender address rejected: not owned by user sales@a.com",
    )


@pytest.mark.parametrize("name", ["office365", "office365_storedrv", "exchange"])
def test_microsoft_reads_the_from_header(name):
    with Provider(ACCOUNTS, rule=name) as provider:
        with pytest.raises(smtplib.SMTPDataError):
            provider.send_from(LOGIN, LOGIN, "x@out.com", mail("Boss <boss@a.com>"))
        (refusal,) = provider.refusals
        assert (refusal.mail_from, refusal.header_from) == (LOGIN, "boss@a.com")


def test_a_mail_without_from_header_is_refused_where_the_header_is_read():
    with Provider(ACCOUNTS, rule="office365") as provider, pytest.raises(smtplib.SMTPDataError):
        provider.send_from(LOGIN, LOGIN, "x@out.com", b"Subject: no sender\r\n\r\nHello\r\n")


@pytest.mark.parametrize("name", ["tencent", "netease", "postfix", "yandex"])
def test_the_others_do_not_read_the_from_header(name):
    with Provider(ACCOUNTS, rule=name) as provider:
        provider.send_from(LOGIN, LOGIN, "x@out.com", mail("Boss <boss@a.com>"))
        assert provider.mails[0].header_from == "boss@a.com"


def test_the_domain_rule_lets_the_domain_send():
    with Provider(ACCOUNTS, rule="unnamed_550") as provider:
        provider.send_from(LOGIN, "bounce@a.com", "x@out.com", mail())
        assert provider.mails[0].mail_from == "bounce@a.com"


def test_any_lets_anybody_send_even_nobody():
    with Provider(ACCOUNTS, rule="any") as provider:
        provider.send_from(LOGIN, "boss@b.com", "x@out.com", mail("boss@b.com"))
        provider.send_from(LOGIN, "", "x@out.com", mail())
        assert [m.mail_from for m in provider.mails] == ["boss@b.com", ""]


def test_a_session_goes_on_after_a_refusal():
    with Provider(ACCOUNTS) as provider, smtp(provider) as client:
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.send_message(mail(), "bounce@a.com", ["x@out.com"])
        client.send_message(mail(), LOGIN, ["x@out.com"])
        assert (len(provider.mails), provider.sessions, provider.logins) == (1, 1, 1)


def test_a_rule_of_ones_own():
    rule = Rule("own", "mail", "550 {login} is not {mail_from}")
    with Provider(ACCOUNTS, rule=rule) as provider, smtp(provider) as client:
        assert client.mail("boss@a.com") == (550, b"sales@a.com is not boss@a.com")


# -- logins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_auth_plain_and_auth_login(mechanism):
    with Provider(ACCOUNTS) as provider:
        client = smtplib.SMTP(provider.smtp_host, provider.smtp_port, "localhost", timeout=10)
        with client:
            client.ehlo()
            client.user, client.password = LOGIN, PASSWORD
            method = client.auth_plain if mechanism == "PLAIN" else client.auth_login
            assert client.auth(mechanism, method)[0] == 235
        assert provider.logins == 1


@pytest.mark.parametrize("login, password", [(LOGIN, "wrong"), ("nobody@a.com", PASSWORD)])
def test_a_wrong_login_is_refused(login, password):
    with Provider(ACCOUNTS) as provider:
        with (
            pytest.raises(smtplib.SMTPAuthenticationError) as caught,
            smtp(provider, login=login, password=password),
        ):
            pass
        assert caught.value.smtp_code == 535
        assert provider.logins == 0
        assert {(r.phase, r.login) for r in provider.refusals} == {("auth", login)}


def test_nobody_sends_without_a_login():
    with Provider(ACCOUNTS) as provider:
        with smtplib.SMTP(provider.smtp_host, provider.smtp_port, timeout=10) as client:
            client.ehlo()
            assert client.mail(LOGIN) == (530, b"5.7.0 Authentication required")
        assert provider.refusals[0].reply == "530 5.7.0 Authentication required"


def test_an_open_provider_checks_only_who_logs_in():
    with Provider(ACCOUNTS, require_auth=False) as provider:
        with smtplib.SMTP(provider.smtp_host, provider.smtp_port, timeout=10) as client:
            client.send_message(mail(), "anybody@x.com", ["x@out.com"])
        assert provider.mails[0].login == ""
        with pytest.raises(smtplib.SMTPSenderRefused):
            provider.send_from(LOGIN, "anybody@x.com", "x@out.com", mail())


def test_a_login_that_is_no_address_sends_as_its_identity():
    with Provider({"apikey": "x"}, identity={"apikey": "kevin@odoomommy.com"}) as provider:
        provider.send_from("apikey", "kevin@odoomommy.com", "x@out.com", mail())
        assert provider.mails[0].login == "apikey"
        with pytest.raises(smtplib.SMTPSenderRefused):
            provider.send_from("apikey", "apikey", "x@out.com", mail())
        assert provider.mailbox("kevin@odoomommy.com") == []


def test_an_account_added_later_can_log_in():
    with Provider(ACCOUNTS) as provider:
        provider.add_account("new@b.com", "pw")
        provider.send_from("new@b.com", "new@b.com", LOGIN, mail("new@b.com"))
        assert len(provider.mailbox(LOGIN)) == 1


# -- recipients -----------------------------------------------------------------------------------


def test_a_mail_to_an_outside_address_is_recorded():
    with Provider(ACCOUNTS) as provider:
        provider.send_from(LOGIN, LOGIN, ["x@out.com", "y@out.com"], mail())
        (sent,) = provider.mails
        assert sent.rcpt_tos == ("x@out.com", "y@out.com")
        assert sent.session == 1
        assert sent.login == LOGIN


def test_a_mail_to_an_account_lies_in_its_mailbox_with_the_envelope_as_return_path():
    message = mail(to=CUSTOMER)
    message["Return-Path"] = "bounce@a.com"
    with Provider(ACCOUNTS) as provider:
        provider.send_from(LOGIN, LOGIN, CUSTOMER.upper(), message)
        assert provider.mails[0].return_path == "bounce@a.com"
        (lying,) = provider.mailbox(CUSTOMER)
        assert lying.startswith(b"Return-Path: <sales@a.com>\r\nFrom: sales@a.com\r\n")
        assert lying.count(b"Return-Path") == 1
        assert lying.endswith(b"\r\n\r\nDear buyer,\r\n.dot at the start of a line\r\n")


def test_the_catch_all_catches_once_what_nobody_else_gets():
    with Provider(ACCOUNTS, catch_all={"a.com": LOGIN}) as provider:
        provider.send_from(CUSTOMER, CUSTOMER, ["bounce+1@a.com", "catchall@a.com"], mail(CUSTOMER))
        assert len(provider.mailbox(LOGIN)) == 1
        assert provider.mailbox(CUSTOMER) == []


def test_without_catch_all_an_invented_address_of_a_hosted_domain_is_refused():
    with Provider(ACCOUNTS) as provider:
        refused = provider.send_from(CUSTOMER, CUSTOMER, ["bounce+1@a.com", LOGIN], mail(CUSTOMER))
        assert refused == {"bounce+1@a.com": (550, b"Mailbox not found")}
        assert provider.mails[0].rcpt_tos == (LOGIN,)
        (refusal,) = provider.refusals
        assert (refusal.rcpt, refusal.phase) == ("bounce+1@a.com", "rcpt")


def test_an_alias_delivers_to_its_account():
    with Provider(ACCOUNTS, send_as={LOGIN: ["info@a.com"]}) as provider:
        provider.send_from(CUSTOMER, CUSTOMER, "info@a.com", mail(CUSTOMER))
        assert len(provider.mailbox(LOGIN)) == 1


def test_a_catch_all_can_be_taken_away_and_needs_an_account():
    with Provider(ACCOUNTS, catch_all={"a.com": LOGIN}) as provider:
        provider.set_catch_all("a.com", None)
        assert provider.deliver("bounce@a.com", b"x") is None
    with pytest.raises(ValueError, match="no account has the address"):
        Provider(ACCOUNTS, catch_all={"a.com": "typo@a.com"})


def test_deliver_puts_the_bytes_unchanged():
    with Provider(ACCOUNTS, catch_all={"a.com": LOGIN}) as provider:
        assert provider.deliver("any@a.com", b"Subject: x\r\n\r\n") == LOGIN
        assert provider.deliver("x@out.com", b"Subject: x\r\n\r\n") is None
        assert provider.mailbox(LOGIN) == [b"Subject: x\r\n\r\n"]


# -- what is recorded -----------------------------------------------------------------------------


def test_chinese_names_and_texts_pass_and_chinese_addresses_do_not():
    message = mail('"李雷, 销售" <sales@a.com>', subject="报价单")
    message["Reply-To"] = "王芳 <reply@a.com>"
    message.set_content("您好，附上报价。\n" * 50, cte="8bit")
    with Provider(ACCOUNTS) as provider:
        provider.send_from(LOGIN, LOGIN, "x@out.com", message)
        (sent,) = provider.mails
        assert (sent.from_name, sent.header_from) == ("李雷, 销售", LOGIN)
        assert sent.reply_to == "reply@a.com"
        assert sent.message["Subject"] == "报价单"
        assert "附上报价".encode() in sent.data
        message.replace_header("To", "买家@例子.com")
        with smtp(provider) as client, pytest.raises(smtplib.SMTPNotSupportedError):
            client.send_message(message, LOGIN)


def test_sessions_logins_and_commands_are_counted_and_cleared():
    with Provider(ACCOUNTS) as provider:
        for _ in range(2):
            provider.send_from(LOGIN, LOGIN, "x@out.com", mail())
        assert (provider.sessions, provider.logins) == (2, 2)
        assert [verb for session, verb in provider.commands if session == 2] == [
            "EHLO",
            "AUTH",
            "MAIL",
            "RCPT",
            "DATA",
            "QUIT",
        ]
        provider.clear()
        assert (provider.mails, provider.commands, provider.sessions, provider.logins) == (
            [],
            [],
            0,
            0,
        )


def test_keep_data_false_records_envelopes_only():
    with Provider(ACCOUNTS, keep_data=False) as provider:
        provider.send_from(LOGIN, LOGIN, CUSTOMER, mail())
        assert (provider.mails[0].data, provider.mails[0].rcpt_tos) == (b"", (CUSTOMER,))
        assert provider.mailbox(CUSTOMER) == []


def test_wait_for_returns_as_soon_as_another_thread_has_sent():
    with Provider(ACCOUNTS) as provider:
        sender = threading.Thread(
            target=provider.send_from, args=(LOGIN, LOGIN, "x@out.com", mail())
        )
        sender.start()
        assert len(provider.wait_for(1)) == 1
        provider.wait_for(lambda seen: (1, "QUIT") in seen.commands)
        sender.join()
        with pytest.raises(TimeoutError, match="1 mails, 1 sessions"):
            provider.wait_for(2, timeout=0.01)


def test_many_sessions_at_once_lose_nothing():
    with Provider(ACCOUNTS) as provider:

        def send():
            with smtp(provider) as client:
                for _ in range(20):
                    client.send_message(mail(), LOGIN, [CUSTOMER])

        threads = [threading.Thread(target=send) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(provider.wait_for(200)) == len(provider.mailbox(CUSTOMER)) == 200
        assert (provider.sessions, provider.logins) == (10, 10)


def test_the_delay_is_added_to_the_commands():
    with Provider(ACCOUNTS, delay=0.2) as provider:
        client = smtplib.SMTP(provider.smtp_host, provider.smtp_port, "localhost", timeout=10)
        client.sock.settimeout(0.05)
        with contextlib.closing(client), pytest.raises(smtplib.SMTPServerDisconnected):
            client.ehlo()


# -- life and TLS ---------------------------------------------------------------------------------


def test_stop_frees_ports_threads_and_files():
    before = set(threading.enumerate())
    provider = Provider(ACCOUNTS, tls="starttls").start()
    with pytest.raises(RuntimeError, match="already started"):
        provider.start()
    idle = socket.create_connection((provider.smtp_host, provider.smtp_port))
    certificate = provider.certificate
    assert certificate.exists()
    provider.stop()
    provider.stop()
    idle.close()
    assert set(threading.enumerate()) == before
    assert not certificate.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((provider.smtp_host, provider.smtp_port))
    socket.create_server((provider.smtp_host, provider.smtp_port)).close()


def test_after_an_outage_the_provider_is_back_on_its_port():
    provider = Provider(ACCOUNTS).start()
    port = provider.smtp_port
    provider.send_from(LOGIN, LOGIN, CUSTOMER, mail())
    provider.stop()
    with pytest.raises(ConnectionRefusedError):
        provider.send_from(LOGIN, LOGIN, CUSTOMER, mail())
    with provider:
        assert provider.smtp_port == port
        provider.send_from(LOGIN, LOGIN, CUSTOMER, mail())
    assert len(provider.mails) == len(provider.mailbox(CUSTOMER)) == 2


def test_two_providers_run_side_by_side():
    with Provider(ACCOUNTS) as ours, Provider({"x@b.com": "y"}, rule="netease") as theirs:
        ours.send_from(LOGIN, LOGIN, "x@b.com", mail())
        assert (len(ours.mails), len(theirs.mails)) == (1, 0)


@pytest.mark.parametrize("tls", ["starttls", "ssl"])
def test_a_verified_tls_session(tls):
    with Provider(ACCOUNTS, tls=tls) as provider:
        provider.send_from(LOGIN, LOGIN, CUSTOMER, mail())
        assert len(provider.mails) == len(provider.mailbox(CUSTOMER)) == 1


@pytest.mark.parametrize("tls", ["starttls", "ssl"])
def test_the_certificate_is_trusted_by_nobody_else(tls):
    context = ssl.create_default_context()
    with Provider(ACCOUNTS, tls=tls) as provider, pytest.raises(ssl.SSLCertVerificationError):
        if tls == "ssl":
            smtplib.SMTP_SSL(provider.smtp_host, provider.smtp_port, context=context)
        else:
            client = smtplib.SMTP(provider.smtp_host, provider.smtp_port, "localhost", timeout=10)
            with contextlib.closing(client):
                client.starttls(context=context)


def test_before_starttls_there_is_neither_auth_nor_mail():
    with (
        Provider(ACCOUNTS, tls="starttls") as provider,
        smtplib.SMTP(provider.smtp_host, provider.smtp_port, "localhost", timeout=10) as client,
    ):
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.mail(LOGIN)[0] == 530


@pytest.mark.parametrize("arguments", [{"rule": "gmail"}, {"tls": "yes"}], ids=["rule", "tls"])
def test_a_misspelt_option_is_refused(arguments):
    with pytest.raises(ValueError, match="unknown"):
        Provider(ACCOUNTS, **arguments)


# -- IMAP -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def imap(provider, login=CUSTOMER, password="kim-secret", ssl_context=None):
    if ssl_context:
        client = imaplib.IMAP4_SSL(provider.imap_host, provider.imap_port, ssl_context=ssl_context)
    else:
        client = imaplib.IMAP4(provider.imap_host, provider.imap_port, timeout=10)
    try:
        client.login(login, password)
        yield client
    finally:
        client.logout()


def fetch_unseen(client):
    """What Odoo's fetchmail does: read each unseen mail, then mark it seen."""
    mails = []
    client.select()
    _ok, data = client.search(None, "(UNSEEN)")
    for number in data[0].split():
        _ok, parts = client.fetch(number, "(RFC822)")
        client.store(number, "-FLAGS", "\\Seen")
        mails.append(parts[0][1])
        client.store(number, "+FLAGS", "\\Seen")
    client.close()
    return mails


def test_without_pymap_imap_is_refused_and_nothing_stays_open(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymap.imap", None)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="needs pymap"):
        Provider(ACCOUNTS, imap=True).start()
    assert set(threading.enumerate()) == before


def test_a_mail_is_fetched_once_and_the_next_one_in_the_next_session():
    with Provider(ACCOUNTS, imap=True) as provider:
        provider.send_from(LOGIN, LOGIN, CUSTOMER, mail(subject="Angebot über 5 €"))
        with imap(provider) as client:
            assert fetch_unseen(client) == provider.mailbox(CUSTOMER)
        with imap(provider) as client:
            assert fetch_unseen(client) == []
            provider.deliver(CUSTOMER, b"Subject: second\r\n\r\nHello\r\n")
            assert fetch_unseen(client) == [b"Subject: second\r\n\r\nHello\r\n"]
        with imap(provider) as client:
            assert fetch_unseen(client) == []


def test_a_mail_left_unseen_is_unseen_in_the_next_session():
    with Provider(ACCOUNTS, imap=True) as provider:
        provider.deliver(CUSTOMER, b"Subject: x\r\n\r\n")
        with imap(provider) as client:
            client.select()
            client.fetch(b"1", "(RFC822)")
            client.store(b"1", "-FLAGS", "\\Seen")
        with imap(provider) as client:
            client.select()
            assert client.search(None, "(UNSEEN)") == ("OK", [b"1"])


def test_a_delivery_reaches_an_open_imap_session():
    with Provider(ACCOUNTS, imap=True) as provider, imap(provider) as client:
        assert client.select() == ("OK", [b"0"])
        provider.send_from(LOGIN, LOGIN, CUSTOMER, mail())
        client.noop()
        assert client.search(None, "(UNSEEN)") == ("OK", [b"1"])


def test_imap_takes_the_accounts_password_only():
    with Provider(ACCOUNTS, imap=True) as provider:
        client = imaplib.IMAP4(provider.imap_host, provider.imap_port, timeout=10)
        with pytest.raises(imaplib.IMAP4.error):
            client.login(CUSTOMER, "wrong")
        with pytest.raises(imaplib.IMAP4.error):
            client.login("nobody@customer.com", "wrong")
        with pytest.raises(imaplib.IMAP4.error):
            client.login('""', "")
        client.logout()


def test_a_login_that_is_no_address_and_a_later_account_read_their_mailboxes():
    with Provider({"apikey": "x"}, identity={"apikey": "kevin@a.com"}, imap=True) as provider:
        provider.add_account("new@a.com", "pw")
        provider.deliver("kevin@a.com", b"Subject: k\r\n\r\n")
        provider.deliver("new@a.com", b"Subject: n\r\n\r\n")
        with imap(provider, "apikey", "x") as client:
            assert fetch_unseen(client) == [b"Subject: k\r\n\r\n"]
        with imap(provider, "new@a.com", "pw") as client:
            assert fetch_unseen(client) == [b"Subject: n\r\n\r\n"]


def test_the_catch_all_mailbox_is_read_by_imap():
    with Provider(ACCOUNTS, catch_all={"a.com": LOGIN}, imap=True) as provider:
        provider.send_from(CUSTOMER, CUSTOMER, "catchall@a.com", mail(CUSTOMER))
        with imap(provider, LOGIN, PASSWORD) as client:
            assert len(fetch_unseen(client)) == 1


def test_imaps_when_tls_is_ssl():
    with Provider(ACCOUNTS, tls="ssl", imap=True) as provider:
        provider.send_from(LOGIN, LOGIN, CUSTOMER, mail())
        with imap(provider, ssl_context=provider.client_context()) as client:
            assert len(fetch_unseen(client)) == 1


def test_stop_ends_open_imap_sessions_and_frees_the_port():
    before = set(threading.enumerate())
    provider = Provider(ACCOUNTS, imap=True).start()
    client = imaplib.IMAP4(provider.imap_host, provider.imap_port, timeout=10)
    client.login(CUSTOMER, "kim-secret")
    provider.stop()
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        client.noop()
    client.shutdown()
    assert set(threading.enumerate()) == before
    socket.create_server((provider.imap_host, provider.imap_port)).close()


def test_the_mailboxes_survive_an_outage():
    provider = Provider(ACCOUNTS, imap=True)
    provider.deliver(CUSTOMER, b"Subject: before\r\n\r\n")
    with provider:
        assert provider.mailbox(CUSTOMER) == [b"Subject: before\r\n\r\n"]
    with provider, imap(provider) as client:
        assert fetch_unseen(client) == [b"Subject: before\r\n\r\n"]


# -- faults ---------------------------------------------------------------------------------------


def send_two(provider, timeout=10.0):
    """Log in and send two mails over one session; the provider may stop this anywhere."""
    with smtp(provider, timeout) as client:
        for _ in range(2):
            client.send_message(mail(), LOGIN, [CUSTOMER])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("tls", ["none", "starttls", "ssl"])
def test_a_dropped_connection_is_noticed_in_every_phase(phase, tls):
    with Provider(ACCOUNTS, tls=tls) as provider:
        provider.fail(phase, "drop")
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            send_two(provider)
        accepted = 1 if phase == "between" else 0
        assert len(provider.mails) == len(provider.mailbox(CUSTOMER)) == accepted
        assert [fault[1:] for fault in provider.faults] == [(phase, "drop")]
        send_two(provider)  # the next session is whole again
        assert len(provider.mails) == accepted + 2


@pytest.mark.parametrize("phase", PHASES)
def test_a_hanging_provider_runs_into_the_clients_timeout(phase):
    with Provider(ACCOUNTS) as provider:
        provider.fail(phase, "hang")
        with pytest.raises((smtplib.SMTPServerDisconnected, TimeoutError)):
            send_two(provider, timeout=0.5)
        assert len(provider.mails) == (1 if phase == "between" else 0)
        send_two(provider)


def test_stop_ends_a_hanging_session():
    provider = Provider(ACCOUNTS).start()
    provider.fail("mail", "hang")
    with smtp(provider) as client:
        client.putcmd(f"MAIL FROM:<{LOGIN}>")
        provider.wait_for(lambda seen: seen.faults)
        provider.stop()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.getreply()


@pytest.mark.parametrize("action", ["421", "451", "535", "550 5.4.5 Daily sending quota exceeded"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_refusing_provider_is_heard_in_every_phase(phase, action):
    with Provider(ACCOUNTS) as provider:
        provider.fail(phase, action)
        # smtplib tells a 421 to EHLO and AUTH as the disconnection that follows it.
        with pytest.raises(smtplib.SMTPException) as caught:
            send_two(provider)
        error = caught.value
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            code = error.recipients[CUSTOMER][0]
        else:
            code = getattr(error, "smtp_code", None)
        if code is None:
            assert (phase, action) in {("ehlo", "421"), ("auth", "421")}
        else:
            assert code == int(action[:3])
        assert len(provider.mails) == (1 if phase == "between" else 0)
        assert provider.refusals == []
        send_two(provider)


@pytest.mark.parametrize("action", ["accept_then_drop", "accept_then_hang"])
def test_a_lost_reply_leaves_the_mail_delivered(action):
    with Provider(ACCOUNTS) as provider:
        provider.fail("end_of_data", action)
        with pytest.raises((smtplib.SMTPServerDisconnected, TimeoutError)):
            send_two(provider, timeout=0.5)
        assert len(provider.mails) == len(provider.mailbox(CUSTOMER)) == 1


def test_a_fault_strikes_after_so_many_and_so_often():
    with Provider(ACCOUNTS) as provider, smtp(provider) as client:
        provider.fail("rcpt", "451", after=1, times=2)
        client.mail(LOGIN)
        codes = [client.rcpt(f"buyer{n}@out.com")[0] for n in range(5)]
        assert codes == [250, 451, 451, 250, 250]
        assert provider.faults == [(1, "rcpt", "451")] * 2


def test_a_lasting_fault_lasts_until_healed():
    with Provider(ACCOUNTS) as provider:
        provider.fail("connect", "421", times=None)
        for _ in range(3):
            with pytest.raises(smtplib.SMTPConnectError):
                send_two(provider)
        provider.heal()
        send_two(provider)


@pytest.mark.parametrize(
    "phase, action",
    [("helo", "drop"), ("mail", "explode"), ("mail", "accept_then_drop"), ("mail", "550")],
)
def test_a_misspelt_fault_is_refused(phase, action):
    with pytest.raises(ValueError, match="unknown"):
        Provider(ACCOUNTS).fail(phase, action)
