# SPDX-License-Identifier: LGPL-3.0-only
"""The password goes only through a connection whose own certificate was verified."""

import select
import socket
import socketserver
import ssl
import threading
from contextlib import suppress

import trustme

from odoo.tests import tagged

from .common import MailRoutingCase

HOST = "127.0.0.1"


@tagged("post_install", "-at_install")
class TestMailboxCertificates(MailRoutingCase):
    """A server whose first connections are right, and a later one is somebody else's."""

    def setUp(self):
        super().setUp()
        self.at = self.provider(imap=True, pop3=True)
        self.trusted, self.strange = trustme.CA(), trustme.CA()
        context = ssl.create_default_context()
        self.trusted.configure_trust(context)
        Setup = self.registry["mail.mailbox.setup"]
        self.patch(Setup, "_tls_context", lambda self: context)
        # loopback is trusted for being loopback, which is not what is tried here
        self.patch(Setup, "_is_near", lambda self, host: False)

    def door(self, behind, right, starttls=False):
        """Open a door in front of a port of the provider's.

        :param right: connections that get the right certificate, None: all of them
        """
        contexts = []
        for authority in (self.trusted, self.strange):
            contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            authority.issue_cert(HOST).configure_cert(contexts[-1])
        door = Door(behind, *contexts, right, starttls)
        self.addCleanup(door.close)
        return door

    def set_up(self, smtp, fetching, **values):
        kind = self.env["mail.provider"].create(
            {
                "name": "Two faces",
                "smtp_host": HOST,
                "smtp_port": smtp.port,
                "smtp_encryption": "starttls" if smtp.starttls else "ssl",
                "imap_host": HOST,
                "imap_port": fetching.port,
                "imap_ssl": True,
                "pop_host": HOST,
                "pop_port": fetching.port,
                "pop_ssl": True,
                "restricted": True,
            }
        )
        wizard = self.env["mail.mailbox.setup"].create(
            {
                "email": "kevin@odoomommy.com",
                "password": "secret",
                "provider_id": kind.id,
                **values,
            }
        )
        wizard.action_setup()
        return wizard

    def test_all_are_right(self):
        for starttls, kind in ((False, "imap"), (True, "pop")):
            with self.subTest(starttls=starttls, kind=kind):
                smtp = self.door(self.at.smtp_port, None, starttls)
                port = self.at.imap_port if kind == "imap" else self.at.pop3_port
                wizard = self.set_up(smtp, self.door(port, None), incoming_type=kind)
                self.assertTrue(wizard.succeeded, wizard.result)
                self.env["ir.mail_server"].search([]).unlink()
                self.env["fetchmail.server"].search([]).unlink()

    def test_sending_meets_somebody_else_at_the_login(self):
        for starttls in (False, True):
            with self.subTest(starttls=starttls):
                smtp = self.door(self.at.smtp_port, 1, starttls)
                wizard = self.set_up(smtp, self.door(self.at.imap_port, None))
                self.assertRefusedAt(wizard, smtp)
                self.assertEqual(wizard.result.count("fa-check"), 1, "connected")
                self.assertFalse(self.at.logins)

    def test_fetching_meets_somebody_else_at_the_login(self):
        for kind, port in (("imap", self.at.imap_port), ("pop", self.at.pop3_port)):
            with self.subTest(kind=kind):
                fetching = self.door(port, 1)
                smtp = self.door(self.at.smtp_port, None)
                wizard = self.set_up(smtp, fetching, incoming_type=kind)
                self.assertRefusedAt(wizard, fetching)
                self.assertEqual(wizard.result.count("fa-check"), 4, "connected to fetch")

    def test_pop3_meets_somebody_else_while_it_waits(self):
        """Every look into the mailbox is a session of its own."""
        fetching = self.door(self.at.pop3_port, 2)
        fetching.empty = True
        smtp = self.door(self.at.smtp_port, None)
        wizard = self.set_up(smtp, fetching, incoming_type="pop")
        self.assertRefusedAt(wizard, fetching)
        self.assertEqual(len(fetching.heard), 2)

    def assertRefusedAt(self, wizard, door):
        self.assertFalse(wizard.succeeded)
        self.assertTrue(wizard.asks_unverified, wizard.result)
        self.assertEqual(wizard.unverified_servers, f"{HOST}:{door.port}")
        self.assertIn("certificate of 127.0.0.1 cannot be verified", wizard.result)
        self.assertIn("The password was not sent", wizard.result)
        self.assertFalse(door.strangers, "somebody else was told something")
        self.assertFalse(self.env["ir.mail_server"].search([]))


class Door(socketserver.ThreadingTCPServer):
    """TLS in front of a port; after some connections it shows a certificate of somebody else's.

    :ivar heard: what each connection with the right certificate was told
    :ivar strangers: what the others were told
    :ivar empty: whether a POP3 mailbox seems to be empty
    """

    daemon_threads = True

    def __init__(self, behind, right_context, strange_context, right, starttls):
        super().__init__((HOST, 0), _Session)
        self.behind, self.starttls, self.empty = behind, starttls, False
        self.contexts = right_context, strange_context
        self.right = right
        self.connections = 0
        self.heard, self.strangers = [], []
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        found = super().get_request()
        self.connections += 1
        return found

    def finish_request(self, request, address):
        with suppress(OSError):  # whoever does not trust the certificate hangs up
            self.RequestHandlerClass(request, address, self)

    def close(self):
        self.shutdown()
        self.server_close()


class _Session(socketserver.BaseRequestHandler):
    def handle(self):
        door = self.server
        is_right = door.right is None or door.connections <= door.right
        with socket.create_connection((HOST, door.behind)) as behind:
            if door.starttls:
                self.until_starttls(behind)
            with door.contexts[not is_right].wrap_socket(self.request, server_side=True) as here:
                said = []
                (door.heard if is_right else door.strangers).append(said)
                while data := self.next(here, behind, said):
                    behind.sendall(data)

    def next(self, here, behind, said):
        """Pass answers on until the client says something; give what the server shall hear.

        By one thread: a TLS connection must not be read and written by two at a time.
        """
        while True:
            ready = [here] if here.pending() else select.select([here, behind], [], [])[0]
            if behind in ready:
                answer = behind.recv(65536)
                if not answer:
                    return b""
                here.sendall(answer)
            if here in ready:
                data = here.recv(65536)
                said.append(data)
                if not (self.server.empty and data == b"STAT\r\n"):
                    return data
                here.sendall(b"+OK 0 0\r\n")

    def until_starttls(self, behind):
        behind.recv(65536)  # its greeting is said here
        self.request.sendall(b"220 door\r\n")
        lines = self.request.makefile("rb")
        for line in lines:
            if line.upper().startswith(b"STARTTLS"):
                break
            self.request.sendall(b"250-door\r\n250 STARTTLS\r\n")
        self.request.sendall(b"220 go\r\n")
