# SPDX-License-Identifier: LGPL-3.0-only
"""A provider that logs in by OAuth: where its tokens come from, and doors that take them.

The doors stand before a provider of :mod:`..dev.provider`, which knows passwords alone: what comes
with a valid token goes through to it with the account's password.
"""

import base64
import http.server
import json
import socket
import socketserver
import ssl
import threading
import urllib.parse

SMTP = "https://outlook.office.com/SMTP.Send"
IMAP = "https://outlook.office.com/IMAP.AccessAsUser.All"
# Google has one for both
GMAIL = "https://mail.google.com/"


class TokenEndpoint(http.server.ThreadingHTTPServer):
    """Microsoft's identity platform, or Google's, as far as a token goes: RFC 6749 4.1.3 and 6.

    :param certificate: file of key and certificate; None: it has no TLS
    """

    daemon_threads = True

    def __init__(self, secret="the-secret", certificate=None):
        super().__init__(("127.0.0.1", 0), _Token)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.secret = secret
        self.codes = {}  # code -> scopes that were consented to
        self.refresh_tokens = {}
        self.access_tokens = {}  # token -> scope
        self.asked = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def consent(self, uri):
        """Consent to what an address asks for; give what the browser is led back with."""
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(uri).query))
        code = f"code-{len(self.codes)}"
        self.codes[code] = set(asked["scope"].split())
        return {"code": code, "state": asked["state"]}

    def close(self):
        self.shutdown()
        self.server_close()


class _Token(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        at = self.server
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = dict(urllib.parse.parse_qsl(body))
        at.asked.append(asked)
        granted = (
            at.codes.pop(asked.get("code"), None)
            if asked["grant_type"] == "authorization_code"
            else at.refresh_tokens.get(asked.get("refresh_token"))
        )
        # Google asks for a token of whatever was consented to
        scope = set(asked.get("scope", "").split()) or granted
        if asked["client_secret"] != at.secret or granted is None or not scope <= granted:
            self._answer(400, {"error_description": "AADSTS65001: no consent to that"})
            return
        refresh, access = f"refresh-{len(at.asked)}", f"access-{len(at.asked)}"
        at.refresh_tokens[refresh] = granted
        at.access_tokens[access] = scope
        self._answer(200, {"refresh_token": refresh, "access_token": access, "expires_in": 3600})

    def _answer(self, status, values):
        raw = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *arguments):
        pass


class Door(socketserver.ThreadingTCPServer):
    """What stands before a provider's server, with TLS and XOAUTH2.

    :param endpoint: a :class:`TokenEndpoint`
    :param behind: (host, port) of a provider's plain server
    :param password: of any account there
    :param certificate: file of key and certificate
    :ivar refuses: ``at once`` or ``after a challenge``: it takes no token, and says so as Microsoft
        or Google does
    :ivar commands: verbs that it was sent in place of the server behind, by SMTP
    """

    daemon_threads = True

    def __init__(self, session, endpoint, behind, password, certificate):
        super().__init__(("127.0.0.1", 0), session)
        self.endpoint, self.behind, self.password = endpoint, behind, password
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.refuses, self.commands = "", []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def close(self):
        self.shutdown()
        self.server_close()

    def user_of(self, response, scope):
        """Give the user of an XOAUTH2 response, None where its token is not good for a scope."""
        fields = dict(
            part.split("=", 1)
            for part in base64.b64decode(response).decode().split("\1")
            if "=" in part
        )
        token = fields.get("auth", "").removeprefix("Bearer ")
        good = {scope, GMAIL} & set(self.endpoint.access_tokens.get(token, ()))
        return fields["user"] if good else None

    def handle_error(self, request, address):
        pass  # a client that hangs up


class _Session(socketserver.BaseRequestHandler):
    def lines(self):
        """Open the server behind, and give the client's lines."""
        self.there = socket.create_connection(self.server.behind)
        self.back = self.there.makefile("rb")

    def use(self, connection):
        self.here = connection
        self.read = connection.makefile("rb").readline

    def pass_on(self):
        """Let both sides talk, until one hangs up."""

        def answers():
            while data := self.there.recv(65536):
                self.here.sendall(data)

        threading.Thread(target=answers, daemon=True).start()
        while line := self.read():
            self.there.sendall(line)


class SmtpDoor(_Session):
    """EHLO, STARTTLS, AUTH XOAUTH2 (RFC 4954); then the provider's own server."""

    def handle(self):
        self.lines()
        self.use(self.request)
        self.back.readline()
        self.here.sendall(b"220 door\r\n")
        secure = False
        while line := self.read():
            verb, *rest = line.split(None, 2)
            verb = verb.upper()
            self.server.commands.append(verb.decode())
            if verb == b"EHLO":
                offer = b"AUTH XOAUTH2" if secure else b"STARTTLS"
                self.here.sendall(b"250-door\r\n250 " + offer + b"\r\n")
            elif verb == b"STARTTLS":
                self.here.sendall(b"220 go\r\n")
                self.use(self.server.context.wrap_socket(self.here, server_side=True))
                secure = True
            elif verb == b"AUTH":
                user = self.server.user_of(rest[1], SMTP) if secure else None
                if self.server.refuses == "after a challenge":
                    reason = base64.b64encode(b'{"status":"400","schemes":"Bearer"}')
                    self.here.sendall(b"334 " + reason + b"\r\n")
                    self.read()  # what the client answers, no matter what
                if user and not self.server.refuses:
                    self.log_in(user)
                    self.pass_on()
                    return
                self.here.sendall(b"535 5.7.3 Authentication unsuccessful\r\n")
            elif verb == b"QUIT":
                self.here.sendall(b"221 bye\r\n")
                return
            else:
                self.here.sendall(b"530 5.7.57 Client not authenticated to send mail\r\n")

    def log_in(self, user):
        response = base64.b64encode(f"\0{user}\0{self.server.password}".encode())
        self.there.sendall(b"EHLO door\r\n")
        while self.back.readline()[3:4] == b"-":
            pass
        self.there.sendall(b"AUTH PLAIN " + response + b"\r\n")
        self.here.sendall(self.back.readline())


class ImapDoor(_Session):
    """TLS from the first byte on, AUTHENTICATE XOAUTH2; then the provider's own server."""

    def handle(self):
        self.lines()
        self.use(self.server.context.wrap_socket(self.request, server_side=True))
        self.here.sendall(self.back.readline())
        while line := self.read():
            tag, verb, *rest = line.split(None, 2)
            verb = verb.upper()
            if verb == b"CAPABILITY":
                self.here.sendall(b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n%s OK done\r\n" % tag)
            elif verb == b"AUTHENTICATE":
                self.here.sendall(b"+ \r\n")
                user = self.server.user_of(self.read(), IMAP)
                if user:
                    self.there.sendall(
                        b'%s LOGIN "%s" "%s"\r\n'
                        % (tag, user.encode(), self.server.password.encode())
                    )
                    self.pass_on()
                    return
                self.here.sendall(b"%s NO AUTHENTICATE failed.\r\n" % tag)
            elif verb == b"LOGOUT":
                self.here.sendall(b"* BYE\r\n%s OK\r\n" % tag)
                return
            else:
                self.here.sendall(b"%s BAD not authenticated\r\n" % tag)
