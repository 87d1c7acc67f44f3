# SPDX-License-Identifier: LGPL-3.0-only
"""A real mail server on loopback: Postfix sends and receives, Dovecot keeps the mailboxes.

What ``dev.provider`` plays, this one does with Debian's programs: their refusals, their delivery
reports, their IMAP and POP3. It has its own configuration, ports, queue and mailboxes in a
temporary folder, and uses nothing of the system's mail configuration::

    accounts = {"sales@a.com": "secret", "sales@b.com": "secret", "buyer@example.net": "secret"}
    with MailServer(accounts, {"a.com": "sales@a.com", "b.com": None}) as server:
        server.send_from("buyer@example.net", "buyer@example.net", "sales@b.com", message)
        server.wait_for("sales@b.com", 1)
        print(server.log())

It needs root, because Postfix's master and Dovecot do; as root it installs Debian's packages if
they are missing. No mail can leave the machine: Postfix has no SMTP client and asks no DNS here.
Its configuration is in ``templates``.
"""

from __future__ import annotations

import base64
import contextlib
import grp
import itertools
import os
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from email.message import Message
from pathlib import Path
from string import Template

import psutil

from dev.debian import NotInstalled, install_packages
from dev.provider import (
    HOST,
    client_context,
    connected,
    domain_of,
    submit,
    write_certificates,
)
from dev.shared import NotHere

#: Debian's packages, each with a program that comes with no other
PACKAGES = {
    "postfix": "/usr/lib/postfix/sbin/master",
    "dovecot-imapd": "/usr/lib/dovecot/imap",
    "dovecot-pop3d": "/usr/lib/dovecot/pop3",
    "dovecot-lmtpd": "/usr/lib/dovecot/lmtp",
}
_TEMPLATES = Path(__file__).with_name("templates")
_DOVECOT = "/usr/sbin/dovecot"
# invoke-rc.d and deb-systemd-invoke ask it whether a package may start its service
_POLICY = Path("/usr/sbin/policy-rc.d")

#: Postfix's own name. RFC 2606, section 2 keeps .example for nobody.
HOSTNAME = "mail.example"

#: The customers' domain. Their accounts have mailboxes here as well, but any address there is
#: accepted first; for one that does not exist Postfix sends a delivery report (RFC 3464) to the
#: envelope sender.
OUTSIDE = "example.net"

_START_SECONDS = 30
_POLL_SECONDS = 0.02
# The files of the mailboxes belong to a user that every Debian has (base-passwd)
_MAILBOX_USER = "mail"
_PORTS = (
    "smtp_port",
    "submission_port",
    "smtps_port",
    "imap_port",
    "imaps_port",
    "pop3_port",
    "pop3s_port",
)
# Below the ports that the kernel gives to outgoing connections (ip_local_port_range)
_PORT_RANGE = (20000, 32767)

# What post-install(1) makes: folder of the queue, owner, group, mode
_QUEUE_FOLDERS = (
    *((name, "postfix", "root", 0o700) for name in (
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
        "private", "saved", "trace",
    )),
    ("maildrop", "postfix", "postdrop", 0o1730),
    ("public", "postfix", "postdrop", 0o2710),
    ("pid", "root", "root", 0o755),
)  # fmt: skip

# The two whose settings differ: https://doc.dovecot.org/2.3/ and
# https://doc.dovecot.org/2.4/installation/upgrade/2.3-to-2.4.html
_DOVECOTS = ("2.3", "2.4")


class NoMailServer(NotHere):
    """Postfix and Dovecot cannot run here; the message says why and what to do."""


class MailServer:
    """Postfix and Dovecot on 127.0.0.1.

    :param accounts: password by login, which is the address too. Every account has a mailbox.
    :param domains: the hosted domains, each with the account that catches what nobody else there
        gets, or None: mail to an unknown address is then refused at RCPT TO, with 550.
    :param sender_logins: by address, the logins that may send as it (``smtpd_sender_login_maps``;
        ``@a.com`` stands for all other addresses of a.com). An account that is not named here
        may send as itself. Nobody may send as an address that is in neither. Postfix lets every
        login send as ``<>``: ``reject_sender_login_mismatch`` does not look at it.
    :param aliases: by address in ``domains``, the account whose mailbox gets its mail. An address
        in ``sender_logins`` gets none by that alone.

    The ports: ``smtp_port`` is for mail from other servers (no login, no TLS, own domains and
    ``OUTSIDE`` only); ``submission_port`` (STARTTLS) and ``smtps_port`` (TLS) want a login;
    ``imap_port`` and ``pop3_port`` are plain and offer STARTTLS, ``imaps_port`` and
    ``pop3s_port`` are TLS.
    """

    def __init__(
        self,
        accounts: Mapping[str, str],
        domains: Mapping[str, str | None],
        sender_logins: Mapping[str, Collection[str]] | None = None,
        *,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.accounts = {login.lower(): password for login, password in accounts.items()}
        self.domains = {
            domain.lower(): catch_all and catch_all.lower() for domain, catch_all in domains.items()
        }
        self.aliases = {
            address.lower(): mailbox.lower() for address, mailbox in (aliases or {}).items()
        }
        self.sender_logins = {login: frozenset([login]) for login in self.accounts} | {
            address.lower(): frozenset(login.lower() for login in logins)
            for address, logins in (sender_logins or {}).items()
        }
        self.host = HOST
        self.smtp_port = self.submission_port = self.smtps_port = 0
        self.imap_port = self.imaps_port = self.pop3_port = self.pop3s_port = 0
        self.certificate: Path | None = None  # PEM, to be trusted; while started
        self.folder: Path | None = None  # configuration, queue, mailboxes and log, while started
        self._running: contextlib.ExitStack | None = None
        self._process: subprocess.Popen  # the one that was started last

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> MailServer:
        """Install what is missing, start both programs and wait until all ports answer.

        After :meth:`stop` the same ports are taken again, with empty mailboxes.

        :raises NoMailServer: not root, packages missing, or a Dovecot of another version.
        :raises RuntimeError: already started, or a program that does not come up, with its log.
        """
        if self._running is not None:
            raise RuntimeError("the mail server is already started")
        install()
        with contextlib.ExitStack() as stack:
            # Not in $TMPDIR, which may be closed to the users that the servers run as; and a
            # socket's path has 107 characters at most
            self.folder = Path(tempfile.mkdtemp(prefix="mailserver-", dir="/tmp"))
            stack.callback(self._forget)
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._shown, self.certificate = write_certificates(self.folder)
            self._choose_ports()
            self._configure()
            watchdog = _watchdog(stack, self.folder)
            start = time.monotonic()
            # Dovecot first: smtpd asks it for the SASL mechanisms as soon as a client greets
            self._run(stack, watchdog, [_DOVECOT, "-F", "-c", f"{self.folder}/dovecot/conf"])
            for name in ("imap_port", "imaps_port", "pop3_port", "pop3s_port"):
                self._wait_until_ready(name, start)
            # Without the wrapper postfix(1), which minds the files of the system's own Postfix
            self._run(stack, watchdog, [PACKAGES["postfix"], "-c", f"{self.folder}/postfix"])
            for name in ("smtp_port", "submission_port", "smtps_port"):
                self._wait_until_ready(name, start)
            self._running = stack.pop_all()
        return self

    def stop(self) -> None:
        """End all processes and remove the folder with all mails. Twice is harmless."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> MailServer:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # -- mailboxes ----------------------------------------------------------------------------

    def mailbox(self, address: str) -> list[bytes]:
        """Return the mails that lie in the account's INBOX, oldest first, read or not.

        They are as IMAP gives them out: with CRLF, and Dovecot's Return-Path and Delivered-To.

        :raises KeyError: no such account.
        """
        return [re.sub(rb"\r?\n", b"\r\n", data) for data in self._files(address).values()]

    def clear(self) -> None:
        """Empty all mailboxes. What is on its way still comes; see :meth:`queue_empty`."""
        for address in self.accounts:
            for path in self._paths(address).values():
                path.unlink(missing_ok=True)

    def wait_for(self, address: str, n: int, timeout: float = 10.0) -> list[bytes]:
        """Wait until at least ``n`` mails lie in the account's INBOX and return them all.

        :raises KeyError: no such account.
        :raises TimeoutError: not within ``timeout`` seconds; tells what the servers did instead.
        """
        if not _until(lambda: len(self._paths(address)) >= n, timeout):
            raise TimeoutError(
                f"after {timeout} s {len(self._paths(address))} of {n} mails are in the mailbox "
                f"of {address}; the log ends with\n{self._log_tail()}"
            )
        return self.mailbox(address)

    def queue_empty(self, timeout: float = 10.0) -> None:
        """Wait until Postfix has delivered or bounced everything that it took.

        :raises TimeoutError: not within ``timeout`` seconds; tells what the servers did instead.
        """
        # qmgr(8) moves files both ways between active and deferred, and cleanup(8) and bounce(8)
        # finish a new file in incoming before the old one goes: two looks miss none
        if not _until(lambda: not self._queued() and not self._queued(), timeout):
            raise TimeoutError(
                f"after {timeout} s {self._queued()} mails are in Postfix's queue; the log ends "
                f"with\n{self._log_tail()}"
            )

    def _queued(self) -> int:
        return sum(
            len(files)
            for name in ("incoming", "active", "deferred", "incoming", "active")
            for _path, _folders, files in os.walk(self._home() / "queue" / name)
        )

    def _maildir(self, address: str) -> Path:
        address = address.lower()
        if address not in self.accounts:
            raise KeyError(address)
        return self._home() / "mailboxes" / address / "Maildir"

    def _paths(self, address: str) -> dict[str, Path]:
        """Return the mails' files by their unique name, oldest first."""
        maildir = self._maildir(address)
        found: dict[str, Path] = {}
        # In the order in which a file moves, so that none is missed (maildir(5))
        for folder in (maildir / "new", maildir / "cur"):
            with contextlib.suppress(FileNotFoundError):
                for path in folder.iterdir():
                    found[path.name.partition(":")[0]] = path
        return dict(sorted(found.items(), key=lambda item: _age(item[0])))

    def _files(self, address: str) -> dict[str, bytes]:
        """Return the mails by their unique name, oldest first."""
        read: dict[str, bytes] = {}
        while True:
            paths = self._paths(address)
            # Between the listing and the reading somebody may flag or delete a mail
            for name in paths.keys() - read.keys():
                with contextlib.suppress(FileNotFoundError):
                    read[name] = paths[name].read_bytes()
            if paths.keys() <= read.keys():
                return {name: read[name] for name in paths}

    # -- playing ------------------------------------------------------------------------------

    def client_context(self) -> ssl.SSLContext:
        """Return a TLS context for a client that trusts this server's certificate only.

        :raises RuntimeError: not started.
        """
        return client_context(self.certificate)

    def send_from(
        self,
        login: str,
        mail_from: str,
        recipients: str | Collection[str],
        message: Message | bytes | str,
    ) -> dict[str, tuple[int, bytes]]:
        """Submit a mail as the account ``login``, on the submission port with STARTTLS.

        :return: the recipients that were refused with their replies, as
            :meth:`smtplib.SMTP.sendmail` does.
        :raises KeyError: no such account.
        :raises smtplib.SMTPException: what Postfix refuses.
        """
        password = self.accounts[login.lower()]
        with connected(
            self.submission_port, "starttls", self.certificate, login, password
        ) as client:
            return submit(client, mail_from, recipients, message)

    def deliver(
        self, recipients: str | Collection[str], message: Message | bytes | str, mail_from: str = ""
    ) -> dict[str, tuple[int, bytes]]:
        """Bring a mail as another provider's server does: on ``smtp_port``, without a login.

        :param mail_from: the envelope sender. Not an address that somebody here owns: Postfix
            refuses it (``reject_sender_login_mismatch``: "not logged in"). A delivery report's
            is empty (RFC 3464, section 2).
        :return: the recipients that were refused with their replies.
        :raises smtplib.SMTPException: what Postfix refuses.
        """
        with connected(self.smtp_port) as client:
            return submit(client, mail_from, recipients, message)

    # -- what the servers say -----------------------------------------------------------------

    def mark(self) -> int:
        """Return the log's present end, for :meth:`log`."""
        try:
            return self._log_file().stat().st_size
        except FileNotFoundError:
            return 0

    def log(self, since: int = 0) -> str:
        """Return what Postfix and Dovecot logged since the mark, in one text, in order of time.

        Their lines read ``<time> <machine> postfix/<program>[<process>]: ...`` and
        ``<time> dovecot/<program>: ...``. They write a moment after they answer the client; use
        :meth:`wait_for_log` for a line that must come.
        """
        try:
            with self._log_file().open("rb") as file:
                file.seek(since)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for_log(self, pattern: str, since: int = 0, timeout: float = 10.0) -> str:
        """Wait for a line in the log in which the regular expression ``pattern`` is found.

        :return: the first such line since the mark.
        :raises TimeoutError: none within ``timeout`` seconds; tells what was logged instead.
        """
        found: list[str] = []

        def look() -> bool:
            lines = self.log(since).splitlines()
            found[:] = [line for line in lines if re.search(pattern, line)][:1]
            return bool(found)

        if not _until(look, timeout):
            raise TimeoutError(
                f"after {timeout} s nothing in the log matches {pattern}; it ends with\n"
                f"{self._log_tail()}"
            )
        return found[0]

    def _log_file(self) -> Path:
        return self._home() / "log"

    def _log_tail(self) -> str:
        return "\n".join(self.log().splitlines()[-15:])

    # -- the two programs ---------------------------------------------------------------------

    def _home(self) -> Path:
        if self.folder is None:
            raise RuntimeError("the mail server is not started")
        return self.folder

    def _forget(self) -> None:
        self.folder = self.certificate = None

    def _choose_ports(self) -> None:
        if not self.smtp_port:
            for name, port in zip(_PORTS, _free_ports(len(_PORTS)), strict=True):
                setattr(self, name, port)
        # Of this Postfix would leave no word: its master ends before its logger is there
        taken = [name for name in _PORTS if not _is_free(getattr(self, name))]
        if taken:
            raise RuntimeError(f"{', '.join(taken)}: somebody else listens there by now")

    def _configure(self) -> None:
        """Write both configurations and make the folders as their programs want them."""
        folder = self._home()
        folder.chmod(0o755)
        values: dict[str, object] = {
            **{name: getattr(self, name) for name in _PORTS},
            "folder": folder,
            "log": self._log_file(),
            "host": HOST,
            "hostname": HOSTNAME,
            "certificate": self._shown,
            "domains": " ".join(self.domains),
            "outside": OUTSIDE,
            "uid": pwd.getpwnam(_MAILBOX_USER).pw_uid,
        }
        self._configure_postfix(folder, values)
        self._configure_dovecot(folder, values)

    def _configure_postfix(self, folder: Path, values: Mapping[str, object]) -> None:
        _make_folder(folder / "postfix")
        _make_folder(folder / "postfix-data", "postfix", "postfix", 0o700)
        _make_folder(folder / "queue")
        for name, user, group, mode in _QUEUE_FOLDERS:
            _make_folder(folder / "queue" / name, user, group, mode)
        hosted = [address for address in self.accounts if domain_of(address) in self.domains]
        # An alias of a whole domain is looked at before the domain's mailboxes (virtual(5))
        aliases = {address: address for address in hosted} | self.aliases
        aliases |= {f"@{domain}": mailbox for domain, mailbox in self.domains.items() if mailbox}
        tables = {
            "mailboxes": dict.fromkeys(hosted, "OK"),
            "aliases": aliases,
            # An address without logins is owned by one that nobody can have
            "sender_logins": {
                address: ",".join(sorted(logins)) or "nobody"
                for address, logins in self.sender_logins.items()
            },
        }
        for name, table in tables.items():
            text = "".join(f"{key} {value}\n" for key, value in table.items())
            (folder / "postfix" / name).write_text(text)
        for name in ("main.cf", "master.cf"):
            (folder / "postfix" / name).write_text(_template(name, values))
        # Postfix waits until its files are some seconds old, in case somebody is still writing them
        for path in (folder / "postfix").iterdir():
            os.utime(path, (0, 0))

    def _configure_dovecot(self, folder: Path, values: Mapping[str, object]) -> None:
        settings = _template(f"dovecot-{_dovecot_version()}.conf", values)
        settings += _template("dovecot.conf", values)
        owner = pwd.getpwnam(_MAILBOX_USER)
        _make_folder(folder / "dovecot")
        _make_folder(folder / "mailboxes", _MAILBOX_USER, _MAILBOX_USER, 0o700)
        (folder / "dovecot" / "conf").write_text(settings)
        users = folder / "dovecot" / "users"
        # In base64, as a colon ends a field: https://doc.dovecot.org/2.3/ (Passwd-file)
        users.write_text(
            "".join(
                f"{login}:{{PLAIN.b64}}{base64.b64encode(password.encode()).decode()}:"
                f"{owner.pw_uid}:{owner.pw_gid}::{folder}/mailboxes/{login}::\n"
                for login, password in self.accounts.items()
            )
        )
        shutil.chown(users, "root", "dovecot")
        users.chmod(0o640)

    def _run(
        self, stack: contextlib.ExitStack, watchdog: subprocess.Popen, command: list[str]
    ) -> None:
        """Start a program in a process group of its own, which ends with the stack."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        if "TZ" in os.environ:
            environment["TZ"] = os.environ["TZ"]
        with self._log_file().open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )
        stack.callback(_end, process)
        assert watchdog.stdin is not None
        watchdog.stdin.write(b"%d\n" % process.pid)
        watchdog.stdin.flush()
        self._process = process

    def _wait_until_ready(self, port: str, start: float) -> None:
        """Wait for the greeting on a port; raise RuntimeError with the log when none comes."""

        def ready() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError(
                    f"{self._process.args[0]} ended with exit code {self._process.returncode}; "
                    f"the log:\n{self._log_tail()}"
                )
            with contextlib.suppress(OSError):
                return bool(self._greeting(port))
            return False

        if not _until(ready, start + _START_SECONDS - time.monotonic()):
            raise RuntimeError(
                f"no answer on {port} after {_START_SECONDS} s; the log ends with\n"
                f"{self._log_tail()}"
            )

    def _greeting(self, port: str) -> bytes:
        with contextlib.ExitStack() as stack:
            address = (self.host, getattr(self, port))
            client = stack.enter_context(socket.create_connection(address, timeout=5))
            if port in ("smtps_port", "imaps_port", "pop3s_port"):
                context = self.client_context()
                client = stack.enter_context(context.wrap_socket(client, server_hostname=HOST))
            return client.recv(512)


# --- installing ----------------------------------------------------------------------------


def missing_packages() -> list[str]:
    """Return those of Debian's packages that are not installed."""
    return [package for package, program in PACKAGES.items() if not os.path.exists(program)]


def install() -> None:
    """Install the missing packages without starting their services.

    A Postfix installed by this gets no configuration, so that it never becomes the machine's
    mail server.

    :raises NoMailServer: not root, no apt-get, or what apt-get could not do.
    """
    try:
        install_packages(missing_packages, during=_no_services)
    except NotInstalled as error:
        raise NoMailServer(str(error)) from error
    if os.geteuid():
        raise NoMailServer("Postfix and Dovecot start as root only: run this as root.")
    _dovecot_version()


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Forbid packages to start services (README.policy-rc.d of Debian's init-system-helpers); the
    machine's own policy comes back afterwards."""
    if shutil.which("debconf-set-selections"):
        choice = b"postfix postfix/main_mailer_type select No configuration\n"
        subprocess.run(["debconf-set-selections"], input=choice, check=False)
    ours = "#!/bin/sh\n# By dev/mailserver.py, while it installs packages\nexit 101\n"
    own = _POLICY.with_name("policy-rc.d.before-mailserver")
    # A run that was killed may have left ours, and the machine's beside it
    if _POLICY.exists() and _POLICY.read_text(errors="replace") != ours:
        _POLICY.rename(own)
    try:
        _POLICY.write_text(ours)
        _POLICY.chmod(0o755)
        yield
    finally:
        if own.exists():
            own.replace(_POLICY)
        else:
            _POLICY.unlink(missing_ok=True)


def _dovecot_version() -> str:
    """Return Dovecot's version, such as 2.3. Raises NoMailServer for one that is not known here."""
    text = subprocess.check_output([_DOVECOT, "--version"], text=True).strip()
    version = next((known for known in _DOVECOTS if re.match(rf"{known}\b", text)), None)
    if version is None:
        raise NoMailServer(
            f"Dovecot {text} is installed; this works with {' and '.join(_DOVECOTS)}."
        )
    return version


# --- helpers -------------------------------------------------------------------------------


def _template(name: str, values: Mapping[str, object]) -> str:
    """Return a file of ``templates`` with the values filled in."""
    return Template((_TEMPLATES / name).read_text()).substitute(values)


def _age(name: str) -> tuple[int, int, str]:
    """Sort key of a maildir file name as Dovecot makes it: ``<second>.M<microsecond>P<...>``."""
    match = re.match(r"(\d+)\.M(\d+)", name)
    return (int(match[1]), int(match[2]), name) if match else (0, 0, name)


def _until(holds: Callable[[], bool], timeout: float) -> bool:
    """Ask ``holds`` again and again; return whether it was true within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    candidates = range(_PORT_RANGE[0], _PORT_RANGE[1] + 1)
    # From the system's randomness, as Hypothesis and others seed Python's
    shuffled = random.SystemRandom().sample(candidates, len(candidates))
    return list(itertools.islice(filter(_is_free, shuffled), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _make_folder(path: Path, user: str = "root", group: str = "root", mode: int = 0o755) -> None:
    path.mkdir()
    os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
    path.chmod(mode)


def _watchdog(stack: contextlib.ExitStack, folder: Path) -> subprocess.Popen:
    """Start a process that ends the groups written to it if this process ends before the stack."""
    process = subprocess.Popen(
        ["/bin/sh", str(_TEMPLATES / "watchdog.sh"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None
    stack.callback(process.stdin.close)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _end(process: subprocess.Popen) -> None:
    """End a program and everything in its process group: asked first, then killed."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
    _until(lambda: not _members(process.pid), 2)
    while _members(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    process.wait()


def _members(group: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
