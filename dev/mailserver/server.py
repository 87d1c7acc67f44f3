# SPDX-License-Identifier: LGPL-3.0-only
"""A real mail server on loopback: Postfix sends and receives, Dovecot keeps the mailboxes.

What ``dev.provider`` plays, this one does with Debian's programs: their refusals, their delivery
reports, their IMAP and POP3. Configuration (from ``templates``), ports, queue and mailboxes are
its own, in a temporary folder; nothing of the system's mail configuration is used. It needs root,
because Postfix's master and Dovecot do; as root it installs Debian's packages if they are missing.
No mail can leave the machine: Postfix has no SMTP client and asks no DNS here.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import mailbox
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from email.message import Message
from pathlib import Path
from string import Template
from typing import Any

from dev.debian import NotInstalled, install_packages
from dev.provider import HOST, client_context, domain_of, submit, write_certificates
from dev.shared import NotHere

#: Debian's packages, each with a program that comes with no other
PACKAGES = {
    "postfix": "/usr/lib/postfix/sbin/master",
    "dovecot-imapd": "/usr/lib/dovecot/imap",
    "dovecot-pop3d": "/usr/lib/dovecot/pop3",
    "dovecot-lmtpd": "/usr/lib/dovecot/lmtp",
}
_TEMPLATES = Path(__file__).with_name("templates")
# invoke-rc.d and deb-systemd-invoke ask it whether a package may start its service
_POLICY = Path("/usr/sbin/policy-rc.d")

_NUMBER = re.compile(r"\d+")
_START_SECONDS = 30
_POLL_SECONDS = 0.02
_PORTS = ["submission_port", "smtps_port", "imap_port", "imaps_port", "pop3_port", "pop3s_port"]


class NoMailServer(NotHere):
    """Postfix and Dovecot cannot run here; the message says why and what to do."""


class MailServer:
    """Postfix and Dovecot on 127.0.0.1. All addresses and domains are lower case.

    :param accounts: password by login, which is the address too. Every account has a mailbox.
    :param domains: the hosted domains, each with the account that catches what nobody else there
        gets, or None: mail to an unknown address is then refused at RCPT TO, with 550. At
        example.net, where the customers are, any address is accepted first; for one that does
        not exist Postfix sends a delivery report (RFC 3464) to the envelope sender.
    :param sender_logins: by address, the logins that may send as it (``smtpd_sender_login_maps``;
        ``@a.com`` stands for all other addresses of a.com). An account that is not named here
        may send as itself. Nobody may send as an address that is in neither. Postfix lets every
        login send as ``<>``: ``reject_sender_login_mismatch`` does not look at it.
    :param aliases: by address in ``domains``, the account whose mailbox gets its mail. An address
        in ``sender_logins`` gets none by that alone.
    :ivar folder: configuration, queue, mailboxes and log, while started.

    The ports: ``submission_port`` (STARTTLS) and ``smtps_port`` (TLS) want a login; ``imap_port``
    and ``pop3_port`` are plain and offer STARTTLS, ``imaps_port`` and ``pop3s_port`` are TLS.
    """

    client_context = staticmethod(client_context)

    def __init__(
        self,
        accounts: Mapping[str, str],
        domains: Mapping[str, str | None],
        sender_logins: Mapping[str, Collection[str]] | None = None,
        *,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.accounts = accounts
        self.domains = domains
        self.sender_logins = {login: [login] for login in accounts} | dict(sender_logins or {})
        self.aliases = dict(aliases or {})
        self.host = HOST
        self.submission_port = self.smtps_port = 0
        self.imap_port = self.imaps_port = self.pop3_port = self.pop3s_port = 0
        self.folder: Path | None = None

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> MailServer:
        """Install what is missing, start both programs and wait until they answer.

        :raises NoMailServer: not root, packages missing, or a Dovecot of another version.
        :raises TimeoutError: a program that does not come up, with its log.
        """
        install()
        # Not in $TMPDIR, which may be closed to the users that the servers run as; and a
        # socket's path has 107 characters at most
        self.folder = folder = Path(tempfile.mkdtemp(prefix="mailserver-", dir="/tmp"))
        self._supervisor = subprocess.Popen(
            ["/bin/sh", str(_TEMPLATES / "supervisor.sh"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            text=True,
        )
        try:
            for name, port in zip(_PORTS, _free_ports(len(_PORTS)), strict=True):
                setattr(self, name, port)
            subprocess.run(["/bin/sh", str(_TEMPLATES / "folders.sh"), str(folder)], check=True)
            self._configure(folder)
            # Dovecot first: smtpd asks it for the SASL mechanisms as soon as a client greets
            self._run(f"dovecot -F -c {folder}/dovecot/conf", self.imap_port)
            # Without the wrapper postfix(1), which minds the files of the system's own Postfix
            self._run(f"{PACKAGES['postfix']} -c {folder}/postfix", self.submission_port)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all processes and remove the folder with all mails. Twice is harmless."""
        if self.folder is not None:
            self._supervisor.communicate()
            self.folder = None

    def __enter__(self) -> MailServer:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _run(self, program: str, port: int) -> None:
        """Start a program, and wait until it greets on a port."""

        def greets() -> bool:
            try:
                with socket.create_connection((HOST, port), timeout=5) as client:
                    return bool(client.recv(512))
            except OSError:
                return False

        assert self._supervisor.stdin is not None
        self._supervisor.stdin.write(f"{program}\n")
        self._supervisor.stdin.flush()
        self._wait(greets, _START_SECONDS, f"there is no answer from {program}")

    # -- mailboxes ----------------------------------------------------------------------------

    def mailbox(self, address: str) -> list[bytes]:
        """Return the mails that lie in the account's INBOX, oldest first, read or not.

        They are as IMAP gives them out: with CRLF, and Dovecot's Return-Path and Delivered-To.
        One that somebody reads for the first time at this moment may be missing.
        """
        path = self.folder / "mailboxes" / address / "Maildir"
        if not ((path / "cur").exists() and (path / "new").exists()):
            return []  # nothing came yet
        maildir = mailbox.Maildir(path, create=False)
        # Dovecot calls them <second>.M<microsecond>P<...>
        names = sorted(maildir.keys(), key=lambda name: [int(n) for n in _NUMBER.findall(name)[:2]])
        return [re.sub(rb"\r?\n", b"\r\n", maildir.get_bytes(name)) for name in names]

    def clear(self) -> None:
        """Empty all mailboxes. What is on its way still comes; see :meth:`queue_empty`.

        Not by removing files behind Dovecot's back: a mailbox that was opened a moment ago may
        go on showing them, and then answers RETR with "-ERR Message 1 expunged.", at which Odoo
        gives the whole mailbox up.
        """
        conf = self.folder / "dovecot" / "conf"
        expunge = ("expunge", "-A", "mailbox", "INBOX", "all")
        subprocess.run(["doveadm", "-c", str(conf), *expunge], check=True)

    def wait_for(self, address: str, n: int, timeout: float = 10.0) -> list[bytes]:
        """Wait until at least ``n`` mails lie in the account's INBOX and return them all.

        :raises TimeoutError: not within ``timeout`` seconds; tells what the servers did instead.
        """

        def come() -> list[bytes] | None:
            mails = self.mailbox(address)
            return mails if len(mails) >= n else None

        return self._wait(come, timeout, f"the mailbox of {address} has less than {n} mails")

    def queue_empty(self, timeout: float = 10.0) -> None:
        """Wait until Postfix has delivered or bounced everything that it took.

        :raises TimeoutError: not within ``timeout`` seconds; tells what the servers did instead.
        """
        # qmgr(8) moves files both ways between active and deferred, and cleanup(8) and bounce(8)
        # finish a new file in incoming before the old one goes: two looks miss none
        names = ("incoming", "active", "deferred", "incoming", "active") * 2

        def empty() -> bool:
            return not any(
                files
                for name in names
                for _path, _folders, files in os.walk(self.folder / "queue" / name)
            )

        self._wait(empty, timeout, "mails are in Postfix's queue")

    def send_from(
        self,
        login: str,
        mail_from: str,
        recipients: str | Collection[str],
        message: Message | bytes | str,
    ) -> dict[str, tuple[int, bytes]]:
        """Submit a mail as the account ``login``, on the submission port with STARTTLS.

        :return: see :func:`dev.provider.submit`.
        :raises KeyError: no such account.
        :raises smtplib.SMTPException: what Postfix refuses.
        """
        credentials = login, self.accounts[login]
        return submit(self.submission_port, "starttls", credentials, mail_from, recipients, message)

    # -- what the servers say -----------------------------------------------------------------

    def mark(self) -> int:
        """Return the log's present end, for :meth:`log`."""
        return (self.folder / "log").stat().st_size

    def log(self, since: int = 0) -> str:
        """Return what Postfix and Dovecot logged since the mark, in one text, in order of time.

        Their lines read ``<time> <machine> postfix/<program>[<process>]: ...`` and
        ``<time> dovecot/<program>: ...``. They write a moment after they answer the client; use
        :meth:`wait_for_log` for a line that must come.
        """
        return (self.folder / "log").read_bytes()[since:].decode(errors="replace")

    def wait_for_log(self, pattern: str, since: int = 0, timeout: float = 10.0) -> None:
        """Wait for a line in the log in which the regular expression ``pattern`` is found.

        :raises TimeoutError: none within ``timeout`` seconds; tells what was logged instead.
        """
        missing = f"nothing in the log matches {pattern}"
        self._wait(lambda: re.search(pattern, self.log(since)), timeout, missing)

    def _wait(self, what: Callable[[], Any], timeout: float, missing: str) -> Any:
        """Ask again and again for something true, and return it.

        :raises TimeoutError: says what is missing, with the end of the log.
        """
        deadline = time.monotonic() + timeout
        while not (found := what()):
            if time.monotonic() > deadline:
                tail = "\n".join(self.log().splitlines()[-15:])
                raise TimeoutError(f"after {timeout} s {missing}; the log ends with\n{tail}")
            time.sleep(_POLL_SECONDS)
        return found

    # -- configuration ------------------------------------------------------------------------

    def _configure(self, folder: Path) -> None:
        """Write both configurations."""
        shown, _trusted = write_certificates(folder)
        values = {name: getattr(self, name) for name in _PORTS} | {
            "folder": folder,
            "host": HOST,
            "certificate": shown,
            "domains": " ".join(self.domains),
        }

        def filled_in(name: str) -> str:
            return Template((_TEMPLATES / name).read_text()).substitute(values)

        files = {name: filled_in(name) for name in ("main.cf", "master.cf")}
        for name, table in self._tables().items():
            files[name] = "".join(f"{key} {value}\n" for key, value in table.items())
        for name, text in files.items():
            path = folder / "postfix" / name
            path.write_text(text)
            # Postfix waits until its files are some seconds old: somebody may still be writing
            os.utime(path, (0, 0))

        conf = filled_in(f"dovecot-{_dovecot_version()}.conf") + filled_in("dovecot.conf")
        (folder / "dovecot" / "conf").write_text(conf)
        with (folder / "dovecot" / "users").open("w") as users:
            for login, password in self.accounts.items():
                # In base64, as a colon ends a field: https://doc.dovecot.org/2.3/ (Passwd-file)
                secret = base64.b64encode(password.encode()).decode()
                home = folder / "mailboxes" / login
                users.write(f"{login}:{{PLAIN.b64}}{secret}:mail:mail::{home}::\n")

    def _tables(self) -> dict[str, Mapping[str, str]]:
        """Return Postfix's tables by name: what they map to what."""
        hosted = [address for address in self.accounts if domain_of(address) in self.domains]
        # An alias of a whole domain is looked at before the domain's mailboxes (virtual(5))
        aliases = {address: address for address in hosted} | self.aliases
        aliases |= {f"@{domain}": mailbox for domain, mailbox in self.domains.items() if mailbox}
        return {
            "mailboxes": dict.fromkeys(hosted, "OK"),
            "aliases": aliases,
            "sender_logins": {
                address: ",".join(logins) for address, logins in self.sender_logins.items()
            },
        }


# --- installing ----------------------------------------------------------------------------


def install() -> None:
    """Install the missing packages without starting their services.

    A Postfix installed by this gets no configuration, so that it never becomes the machine's
    mail server.

    :raises NoMailServer: not root, no apt-get, or what apt-get could not do.
    """

    def missing() -> list[str]:
        return [package for package, program in PACKAGES.items() if not os.path.exists(program)]

    try:
        install_packages(missing, during=_no_services)
    except NotInstalled as error:
        raise NoMailServer(str(error)) from error
    if os.geteuid():
        raise NoMailServer("Postfix and Dovecot start as root only: run this as root.")
    _dovecot_version()


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Forbid packages to start services (README.policy-rc.d of Debian's init-system-helpers), on a
    machine that has no policy of its own."""
    if shutil.which("debconf-set-selections"):
        choice = b"postfix postfix/main_mailer_type select No configuration\n"
        subprocess.run(["debconf-set-selections"], input=choice, check=False)
    ours = "#!/bin/sh\n# By dev/mailserver, while it installs packages\nexit 101\n"
    # A run that was killed may have left ours
    if _POLICY.exists() and _POLICY.read_text(errors="replace") != ours:
        yield
        return
    try:
        _POLICY.write_text(ours)
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink()


def _dovecot_version() -> str:
    """Return Dovecot's version, such as 2.3. Raises NoMailServer for one that is not known here."""
    text = subprocess.check_output(["/usr/sbin/dovecot", "--version"], text=True)
    version = ".".join(_NUMBER.findall(text)[:2])
    # Settings differ: https://doc.dovecot.org/2.4/installation/upgrade/2.3-to-2.4.html
    if not (_TEMPLATES / f"dovecot-{version}.conf").exists():
        raise NoMailServer(f"Dovecot {version} is installed; this works with 2.3 and 2.4.")
    return version


# --- helpers -------------------------------------------------------------------------------


def _free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    # Below the ports that the kernel gives to outgoing connections (ip_local_port_range), and
    # from the system's randomness, as Hypothesis and others seed Python's
    shuffled = random.SystemRandom().sample(range(20000, 32768), 1000)
    return list(itertools.islice(filter(_is_free, shuffled), count))


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False
