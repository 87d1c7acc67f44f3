# SPDX-License-Identifier: LGPL-3.0-only
"""A password goes to its server alone: into no text, no log, no table but the server's."""

import base64
import hmac
import html
import json
import logging
import random
import smtplib
import socketserver
import threading
import urllib.parse
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import psycopg2

from odoo import SUPERUSER_ID, api
from odoo.exceptions import RedirectWarning, UserError, ValidationError
from odoo.modules.registry import Registry
from odoo.service.model import retrying
from odoo.tests import tagged
from odoo.tests.common import BaseCase, get_db_name
from odoo.tools import mute_logger

from ..dev.provider import Provider
from ..models.credentials import hide
from .common import MailRoutingCase

LOGIN = "kevin@odoomommy.com"
PASSWORD = "Straße-密码-9"
QUIET = ("odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server")


def forms_of(password, login=LOGIN):
    """List how a password may stand in a text."""
    raw = password.encode()
    return {
        password,
        repr(password)[1:-1],
        password.encode("ascii", "backslashreplace").decode(),
        urllib.parse.quote(password),
        base64.b64encode(raw).decode(),
        base64.b64encode(f"\0{login}\0{password}".encode()).decode(),
        raw.hex(),
    }


class Log(logging.Handler):
    """All that is logged, as it would stand in the log."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record):
        self.lines.append(self.format(record))


@contextmanager
def everything_logged():
    """Give a :class:`Log` of what is logged in the block, however unimportant.

    Without every statement that is executed, of which one writes a server's password.
    """
    log = Log()
    loggers = [logging.getLogger(name) for name in ("", "odoo", "odoo.addons", "odoo.sql_db")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO if logger.name == "odoo.sql_db" else logging.DEBUG)
    loggers[0].addHandler(log)
    try:
        yield log
    finally:
        loggers[0].removeHandler(log)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class OneMechanism(socketserver.ThreadingTCPServer):
    """An SMTP server with one AUTH mechanism, CRAM-MD5 or LOGIN, that keeps who logged in."""

    daemon_threads = True

    def __init__(self, mechanism, password, says="535 5.7.8 no"):
        super().__init__(("127.0.0.1", 0), _OneMechanismSession)
        self.mechanism, self.password, self.says = mechanism, password, says
        self.logged_in = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class _OneMechanismSession(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 ready")
        for line in self.rfile:
            verb = line.split()[0].upper()
            if verb == b"EHLO":
                self.say(f"250-here\r\n250 AUTH {self.server.mechanism}")
            elif verb == b"AUTH":
                self.authenticate(line.split())
            else:
                self.say("221 bye" if verb == b"QUIT" else "250 fine")

    def say(self, words):
        self.wfile.write(f"{words}\r\n".encode())

    def ask(self, challenge):
        self.say(f"334 {base64.b64encode(challenge).decode()}")
        return base64.b64decode(self.rfile.readline())

    def authenticate(self, words):
        password = self.server.password.encode()
        if self.server.mechanism == "CRAM-MD5":
            login, answer = self.ask(b"<1@here>").rsplit(b" ", 1)
            right = answer == hmac.new(password, b"<1@here>", "md5").hexdigest().encode()
        else:
            login = base64.b64decode(words[2]) if len(words) > 2 else self.ask(b"Username:")
            right = self.ask(b"Password:") == password
        if right:
            self.server.logged_in.append(login.decode())
        self.say("235 fine" if right else self.server.says)


@tagged("post_install", "-at_install")
class TestLogin(MailRoutingCase):
    def assertHidden(self, text, password=PASSWORD):
        for form in forms_of(password):
            self.assertNotIn(form, text)

    def test_letters_of_any_script(self):
        provider = self.provider({LOGIN: PASSWORD}, "any")
        server = self.mail_server(provider, password=PASSWORD)
        server.test_smtp_connection()
        self.post()
        self.one_mail(provider)

    def test_a_username_of_any_script(self):
        provider = self.provider({"凯文": PASSWORD}, "any")
        self.mail_server(provider, login="凯文", password=PASSWORD)
        self.post()
        self.one_mail(provider)

    def test_every_mechanism(self):
        for mechanism in ("CRAM-MD5", "LOGIN"):
            for password in (PASSWORD, "plain one"):
                server = OneMechanism(mechanism, password)
                self.addCleanup(server.close)
                connection = self.env["ir.mail_server"].connect(
                    "127.0.0.1", server.server_address[1], LOGIN, password
                )
                connection.close()
                self.assertEqual(server.logged_in, [LOGIN], mechanism)

    def test_an_answer_without_an_end(self):
        server = OneMechanism("LOGIN", PASSWORD, says="535-no\r\n" * 1000 + "535 no")
        self.addCleanup(server.close)
        with self.assertRaisesRegex(smtplib.SMTPServerDisconnected, "of more than 100 lines"):
            self.env["ir.mail_server"].connect(
                "127.0.0.1", server.server_address[1], LOGIN, "wrong one"
            )

    @mute_logger(*QUIET)
    def test_a_refusal_tells_nothing_of_it(self):
        """Whatever the server says: it may well repeat what it was sent."""
        for password in (PASSWORD, "plain-one"):
            for said in forms_of(password):
                if not said.isascii():
                    continue
                provider = self.provider(rule="any")
                provider.fail("auth", f"535 5.7.8 not <{said}>", times=None)
                server = self.mail_server(provider, password=password, smtp_debug=True)
                mail = self.mail(mail_server_id=server.id)
                with everything_logged() as log:
                    with self.assertRaises(UserError) as caught:
                        server.test_smtp_connection()
                    mail.send()
                self.assertEqual(mail.state, "exception")
                for text in (str(caught.exception), mail.failure_reason, "\n".join(log.lines)):
                    self.assertHidden(text, password)

    def test_no_exception_holds_it(self):
        provider = self.provider(rule="any")
        for password in (PASSWORD, "plain-one", "nul\0inside", "half \ud800 a letter"):
            with self.assertRaises(Exception) as caught:
                self.env["ir.mail_server"].connect(
                    provider.smtp_host, provider.smtp_port, LOGIN, password
                )
            error = caught.exception
            while error:
                self.assertFalse(hasattr(error, "object"))
                self.assertHidden(f"{error!r} {error} {vars(error)}".replace("\0", "NUL"), "inside")
                self.assertNotIn(repr(password)[1:-1], repr(error))
                error = error.__cause__ or error.__context__

    @mute_logger(*QUIET)
    def test_a_login_that_cannot_be_sent_costs_its_own_mail(self):
        provider = self.provider(rule="any")
        good = self.mail_server(provider)
        bad = self.mail_server(provider)
        # nothing that PostgreSQL keeps is such a password; a configuration file may hold one
        native = type(bad)._smtp_login

        def login(server, connection, user, password):
            native(server, connection, user, "ab\0cd" if server == bad else password)

        self.patch(type(bad), "_smtp_login", login)
        self.settings(mail_restrict_username=True)
        mails = self.mail(mail_server_id=bad.id) + self.mail(mail_server_id=good.id)
        mails.send()
        self.assertEqual(mails.mapped("state"), ["exception", "sent"])
        self.assertIn("no login can carry", mails[0].failure_reason)
        self.assertNotIn("cd", mails[0].failure_reason.replace("character", ""))

    def test_the_session_is_logged_but_for_the_login(self):
        for mechanism in ("PLAIN", "CRAM-MD5", "LOGIN"):
            if mechanism == "PLAIN":
                provider = self.provider({LOGIN: "plain-one"}, "any")
                host, port = provider.smtp_host, provider.smtp_port
            else:
                server = OneMechanism(mechanism, "plain-one")
                self.addCleanup(server.close)
                host, port = server.server_address
            with everything_logged() as log:
                connection = self.env["ir.mail_server"].connect(
                    host, port, LOGIN, "plain-one", smtp_debug=True
                )
                connection.noop()
                connection.close()
            text = "\n".join(log.lines)
            self.assertIn("noop", text)
            self.assertHidden(text, "plain-one")
            self.assertIsNone(connection.__obj__.password)

    def fetching_server(self, door):
        self.addCleanup(door.close)
        return self.env["fetchmail.server"].create(
            {
                "name": "Old mailbox",
                "server_type": "imap",
                "server": "127.0.0.1",
                "port": door.server_address[1],
                "user": LOGIN,
                "password": PASSWORD,
            }
        )

    def test_fetching(self):
        door = TalkativeImap(b"AUTH=PLAIN", f"\0{LOGIN}\0{PASSWORD}".encode())
        server = self.fetching_server(door)
        server.button_confirm_login()
        self.assertEqual(server.state, "done")
        server.password = wrong = f"{PASSWORD} wrong"
        with self.assertRaisesRegex(UserError, r"wrong: \*\*\*") as caught:
            server.button_confirm_login()
        self.assertHidden(str(caught.exception), wrong)

    def test_a_mailbox_that_takes_ascii_only(self):
        server = self.fetching_server(TalkativeImap())
        with self.assertRaisesRegex(UserError, "Old mailbox takes no letters") as caught:
            server.button_confirm_login()
        self.assertHidden(str(caught.exception))
        server.password = 'pl"ain-\\one'
        with self.assertRaisesRegex(UserError, r"wrong: .*\*\*\*") as caught:
            server.button_confirm_login()
        self.assertHidden(str(caught.exception), 'pl"ain-\\one')

    def test_a_pop_mailbox_that_repeats_it(self):
        server = self.fetching_server(TalkativeImap(handler=_TalkativePopSession))
        server.write({"server_type": "pop", "state": "done"})
        with everything_logged() as log:
            with self.assertRaisesRegex(UserError, r"wrong: \*\*\*") as caught:
                server.button_confirm_login()
            with patch.object(self.env.cr, "commit", self.env.flush_all):
                server.fetch_mail()
        self.assertHidden(str(caught.exception))
        self.assertHidden("\n".join(log.lines))

    @mute_logger(*QUIET)
    def test_a_server_that_repeats_it_after_the_login(self):
        for said in ("plain-one", base64.b64encode(b"plain-one").decode()):
            provider = self.provider({LOGIN: "plain-one"}, "any")
            server = self.mail_server(
                provider, password="plain-one", sender_policy="login", sender_address=LOGIN
            )
            mail = self.mail(mail_server_id=server.id)
            provider.fail("mail", f"550 5.7.1 denied for password {said}", times=None)
            with everything_logged() as log:
                mail.send()
                with self.assertRaises(UserError) as caught:
                    server.test_smtp_connection()
                asked = self.env["mail.route.explain"].create(
                    {"mail_id": mail.id, "probe_recipient": "me@ohm.example"}
                )
                asked.action_probe()
            for words in (mail.failure_reason, asked.probe_words, asked.probe):
                self.assertIn("denied for password ***", words)
            for text in (
                mail.failure_reason,
                str(caught.exception),
                asked.probe_words,
                asked.probe,
                "\n".join(log.lines),
            ):
                self.assertNotIn(said, text)

    def test_a_mailbox_that_repeats_it_after_the_login(self):
        server = self.fetching_server(TalkativeImap(b"AUTH=PLAIN", handler=_FarewellImapSession))
        server.write({"password": "plain-one", "state": "done"})
        with (
            everything_logged() as log,
            patch.object(self.env.cr, "commit", self.env.flush_all),
        ):
            server.fetch_mail()
        self.assertNotIn("plain-one", "\n".join(log.lines))

    def test_what_is_hidden(self):
        self.assertEqual(hide(b"535 not \xff secret", "secret"), b"535 not \xff ***")
        self.assertEqual(hide("535 no", ""), "535 no")
        self.assertEqual(hide("535 no, no", "no"), "535 no, no", "too short to be one")

    def test_in_whatever_form(self):
        for password in ("S3cret<&>pw", "Straße-密码-9", "pl ain+/one~?", 'pl"ain-\\one', "😀😀x1"):
            raw = password.encode()
            coded = base64.b64encode(raw).decode()
            forms = forms_of(password) | {
                coded.rstrip("="),
                base64.urlsafe_b64encode(raw).decode(),
                base64.b64encode(b"kevin:" + raw).decode()[8:],
                raw.hex().upper(),
                raw.hex(":"),
                html.escape(password),
                "".join(f"&#{ord(letter)};" for letter in password),
                urllib.parse.quote(password, safe=""),
                urllib.parse.quote_plus(password),
                json.dumps(password)[1:-1],
                raw.decode("latin-1"),
                repr(raw)[2:-1],
                password.upper(),
                password.swapcase(),
                f"{password[:3]}\n{password[3:]}",
                f"{password[:3]}\r\n550-{password[3:]}",
            }
            token = base64.b64encode(f"\0{LOGIN}\0{password}".encode()).decode()
            for form in forms - {token}:
                self.assertEqual(hide(f"no <{form}> ok", password), "no <***> ok")
            self.assertNotIn(token[-8:].rstrip("="), hide(token, password))

    def test_what_a_stranger_writes_is_searched_in_no_time(self):
        """With more than a few ways to read it, the run would not end."""
        for text in ("a" * 65536, " \n" * 32768, "\\" * 65536, "&#0" * 20000):
            for secret in ("aaaaaaab", "a    b", "\\" * 8 + "x", '""""""x', "&&&&&&x"):
                self.assertEqual(hide(text, secret), text)


class TalkativeImap(socketserver.ThreadingTCPServer):
    """An IMAP server that repeats what it was sent.

    :param offers: its capabilities
    :param login: the AUTHENTICATE PLAIN that it accepts
    """

    daemon_threads = True

    def __init__(self, offers=b"", login=b"", handler=None):
        super().__init__(("127.0.0.1", 0), handler or _TalkativeImapSession)
        self.offers, self.login = offers, login
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class _TalkativeImapSession(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"* OK ready\r\n")
        for line in self.rfile:
            tag, verb, *told = line.split(None, 2)
            verb, told = verb.upper(), b" ".join(told).strip()
            if verb == b"AUTHENTICATE":
                self.wfile.write(b"+ \r\n")
                told = self.rfile.readline().strip()
                right = base64.b64decode(told) == self.server.login
            else:
                right = verb != b"LOGIN"
            if verb == b"CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4rev1 %s\r\n" % self.server.offers)
            answer = b"OK done" if right else b"NO wrong: %s" % told
            self.wfile.write(b"%s %s\r\n" % (tag, answer))


class _FarewellImapSession(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"* OK ready\r\n")
        for line in self.rfile:
            tag, verb = line.split()[:2]
            if verb == b"CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            if verb == b"SELECT":
                self.wfile.write(b"* BYE your password was plain-one\r\n")
                return
            self.wfile.write(tag + b" OK done\r\n")


class _TalkativePopSession(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"+OK ready\r\n")
        for line in self.rfile:
            verb, *told = line.split(None, 1)
            right = verb.upper() != b"PASS"
            answer = b"+OK" if right else b"-ERR wrong: " + b"".join(told).strip()
            self.wfile.write(answer + b"\r\n")


@tagged("post_install", "-at_install")
class TestSetUp(BaseCase):
    """Set Up a Mailbox as the web client does it, with real commits."""

    def setUp(self):
        super().setUp()
        self.registry = Registry(get_db_name())
        self.password = f"secret-{random.getrandbits(64):x}-ß"
        with self.registry.cursor() as cr:
            cr.execute("SELECT txid_current() % (2 ^ 32)::bigint")
            (self.first_transaction,) = cr.fetchone()
        self.addCleanup(self.clean)

    def clean(self):
        with self.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            for model in ("ir.mail_server", "fetchmail.server"):
                env[model].search([("name", "=", "set@setup.example")]).unlink()
            env["mail.mailbox.setup"].search([("email", "=", "set@setup.example")]).unlink()
            domain = env["mail.alias.domain"].search([("name", "=", "setup.example")])
            env["res.company"].search([("alias_domain_id", "in", domain.ids)]).write(
                {"alias_domain_id": False}
            )
            domain.unlink()
        self.registry.signal_changes()

    def in_a_thread(self, work, *args):
        """Do something as a request does, which Odoo's test mode does not change."""
        result = []

        def run():
            with self.registry.cursor() as cr:
                env = api.Environment(cr, SUPERUSER_ID, {})
                try:
                    result.append(retrying(partial(work, env, *args), env))
                except Exception as error:
                    result.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(120)
        return result[0]

    def fill_in(self, provider, **values):
        def create(env):
            return (
                env["mail.mailbox.setup"]
                .create(
                    {
                        "provider_id": env.ref("mail_company_routing.mail_provider_own").id,
                        "email": "set@setup.example",
                        "password": self.password,
                        "smtp_host": provider.smtp_host,
                        "smtp_port": provider.smtp_port,
                        "smtp_encryption": "none",
                        "incoming_type": "none",
                        **values,
                    }
                )
                .id
            )

        return self.in_a_thread(create)

    def set_up(self, wizard_id, **kwargs):
        return self.in_a_thread(
            lambda env: env["mail.mailbox.setup"].browse(wizard_id).action_setup(**kwargs)
        )

    def provider(self, **options):
        provider = Provider({"set@setup.example": self.password}, "tencent", **options)
        self.addCleanup(provider.stop)
        return provider.start()

    def tables(self):
        """List the tables that hold the password in some form.

        A row that is older than this test cannot hold its password, and is not read.
        """
        forms = [f"%{form}%" for form in forms_of(self.password, "set@setup.example")]
        found = []
        with self.registry.cursor() as cr:
            cr.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in cr.fetchall():
                cr.execute(
                    f'SELECT 1 FROM "{table}" t'  # noqa: S608
                    " WHERE t.xmin::text::bigint >= %s AND t::text LIKE ANY(%s) LIMIT 1",
                    [self.first_transaction, [form.replace("\\", "\\\\") for form in forms]],
                )
                if cr.fetchone():
                    found.append(table)
        return found

    def assertNowhere(self, *texts):
        self.assertFalse(self.tables())
        for text in texts:
            for form in forms_of(self.password, "set@setup.example"):
                self.assertNotIn(form, text)

    def test_after_every_kind_of_error(self):
        kinds = {
            "UserError": UserError("no"),
            "ValidationError": ValidationError("no"),
            "RedirectWarning": RedirectWarning("no", 1, "There"),
            "KeyError": KeyError("no"),
            "OSError": OSError("no"),
            "psycopg2": psycopg2.DataError("no"),
            "serialization": psycopg2.errors.SerializationFailure("no"),
        }
        model = self.registry["mail.mailbox.setup"]
        provider = self.provider()
        for at in ("_check_input", "_make_records", "_decide", "_tell_progress"):
            for kind, error in kinds.items():
                with self.subTest(at=at, kind=kind):
                    wizard_id = self.fill_in(provider)
                    self.assertTrue(self.tables(), "the search does not find it")

                    def fail(*args, error=error):
                        raise error

                    self.patch(model, at, fail)
                    with everything_logged() as log:
                        result = self.set_up(wizard_id)
                    self.assertIsInstance(result, Exception)
                    self.assertNowhere(repr(result), *log.lines)
                    self.doCleanups_of_patch(model, at)

    def doCleanups_of_patch(self, model, name):
        """Take a patch off at once: the next kind is raised elsewhere."""
        function, args, kwargs = self._cleanups.pop()
        function(*args, **kwargs)

    def test_after_the_errors_that_happen(self):
        provider = self.provider()
        wrong = Provider({"set@setup.example": "another"}, "tencent").start()
        self.addCleanup(wrong.stop)
        for server, values in (
            (wrong, {}),  # 535
            (provider, {"smtp_port": 1}),
            (provider, {"smtp_host": "no host at all"}),
            (provider, {"email": "nobody"}),
            (provider, {"smtp_host": False}),
            (provider, {"login": "no address", "restricted": True}),
            (provider, {"smtp_port": 10**6}),
        ):
            with self.subTest(values=values):
                wizard_id = self.fill_in(server, **values)
                with everything_logged() as log:
                    result = self.set_up(wizard_id)
                self.assertNowhere(repr(result), *log.lines)

    def test_the_forms_call(self):
        """It hands the password over with the call: it is never in the table."""
        provider = self.provider()
        wizard_id = self.fill_in(provider, password=False)
        self.assertFalse(self.tables())
        provider.fail("auth", "535 no", times=None)
        self.set_up(wizard_id, password=self.password)
        self.assertFalse(self.tables())
        provider.stop()
        another = self.provider()
        self.in_a_thread(
            lambda env: (
                env["mail.mailbox.setup"].browse(wizard_id).write({"smtp_port": another.smtp_port})
            )
        )
        self.set_up(wizard_id, password=self.password)
        self.assertEqual(len(another.mails), 1)
        self.assertEqual(self.tables(), ["ir_mail_server"])

    def test_a_request_that_is_repeated_sends_once(self):
        for given_by_call in (False, True):
            with self.subTest(given_by_call=given_by_call):
                self.repeat(given_by_call)
            self.clean()

    def repeat(self, given_by_call):
        provider = self.provider()
        password = {"password": self.password} if given_by_call else {}
        wizard_id = self.fill_in(provider, **({"password": False} if password else {}))
        tries = []

        def request(env):
            result = env["mail.mailbox.setup"].browse(wizard_id).action_setup(**password)
            tries.append(result)
            if len(tries) < 3:
                self.conflict(env)
            return result

        with mute_logger("odoo.sql_db", "odoo.service.model"):
            result = self.in_a_thread(request)
        self.assertEqual(result["res_id"], wizard_id)
        self.assertEqual(len(tries), 3)
        self.assertEqual(len(provider.mails), 1)
        self.assertEqual(self.tables(), ["ir_mail_server"])
        self.assertTrue(
            self.in_a_thread(lambda env: env["mail.mailbox.setup"].browse(wizard_id).succeeded)
        )

    def conflict(self, env):
        """Write what another transaction has written meanwhile."""
        query = "UPDATE res_partner SET color = 1 WHERE id = 1"
        env.cr.execute("SELECT 1 FROM res_partner")
        with self.registry.cursor() as cr:
            cr.execute(query)
        env.cr.execute(query)

    def test_somebody_changes_the_same_meanwhile(self):
        """Nothing is sent again, and what is kept is whole."""
        provider = self.provider()
        self.set_up(self.fill_in(provider))
        provider.clear()
        wizard_id = self.fill_in(provider)
        model = self.registry["mail.mailbox.setup"]
        native = model._make_records

        def meanwhile(wizard, password):
            wizard.env.cr.execute("SELECT 1 FROM ir_mail_server")
            with self.registry.cursor() as cr:
                cr.execute(
                    "UPDATE ir_mail_server SET sequence = 7 WHERE smtp_user = %s",
                    ["set@setup.example"],
                )
            return native(wizard, password)

        self.patch(model, "_make_records", meanwhile)
        with everything_logged() as log:
            result = self.set_up(wizard_id)
        self.assertIsInstance(result, UserError)
        self.assertIn("at the same time", str(result))
        for line in log.lines:
            self.assertNotIn(self.password, line)
        self.assertFalse(provider.mails)
