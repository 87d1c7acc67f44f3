# SPDX-License-Identifier: LGPL-3.0-only
"""Servers and databases for the proof, made once and shared by its tests.

Odoo and ``dev`` are imported where they are used: ``make test``, which leaves this folder out,
has neither when it reads this file.
"""

import contextlib
from pathlib import Path

import pytest

_LOG_LINES = 60


def pytest_ignore_collect(config):
    """Leave this folder to `make test-mailserver`, whose pytest.ini lies here."""
    return True if config.inipath != Path(__file__).with_name("pytest.ini") else None


@pytest.fixture(scope="session")
def uncaptured(request):
    """Give a context in which what is printed is shown at once, and not kept by pytest."""
    manager = request.config.pluginmanager.getplugin("capturemanager")
    terminal = request.config.pluginmanager.getplugin("terminalreporter")

    @contextlib.contextmanager
    def shown():
        with manager.global_and_fixture_disabled():
            terminal.ensure_newline()
            yield terminal

    return shown


@pytest.fixture
def tell(uncaptured):
    """Give a function that shows lines of the test's report."""

    def lines(*texts):
        with uncaptured() as terminal:
            for text in texts:
                terminal.write_line(f"  {text}")

    return lines


@pytest.fixture(scope="session")
def running_server(uncaptured):
    """Postfix and Dovecot with the mailboxes of everybody who appears here."""
    from office import ACCOUNTS, ALIASES, DOMAINS, SENDER_LOGINS

    from dev.mailserver import MailServer

    with uncaptured():
        server = MailServer(ACCOUNTS, DOMAINS, sender_logins=SENDER_LOGINS, aliases=ALIASES).start()
    yield server
    server.stop()


@pytest.fixture
def server(running_server):
    """The mail server with empty mailboxes."""
    running_server.queue_empty()
    running_server.clear()
    yield running_server
    # what a test leaves on its way belongs to no other
    running_server.queue_empty(30)


@pytest.fixture(scope="session")
def odoo():
    """Odoo, in this process."""
    import sys

    from dev.odoo import find_odoo, odoo_config, postgres, workdir

    with postgres():
        sys.path.insert(0, str(find_odoo()))
        import odoo

        config = odoo_config(None, logfile=workdir() / "odoo.log")
        odoo.tools.config.parse_config(["-c", str(config), "--max-cron-threads=0"])
        odoo.service.server.load_server_wide_modules()
        yield odoo
        odoo.sql_db.close_all()


def _database(uncaptured, odoo, addon):
    """Yield the registry of a new database; none of its connections outlives it."""
    from dev.odoo import database
    from dev.shared import MODULES

    with contextlib.ExitStack() as stack:
        with uncaptured():
            name = stack.enter_context(database(MODULES, addon=addon))
        stack.callback(odoo.sql_db.close_db, name)
        yield odoo.registry(name)


@pytest.fixture(scope="session")
def registry(uncaptured, odoo):
    """A database with the addon."""
    yield from _database(uncaptured, odoo, addon=True)


@pytest.fixture(scope="session")
def native_registry(uncaptured, odoo):
    """A database without the addon.

    Odoo in this process knows the addon's code, as it would in production; of that, native mail
    meets the time-out of IMAP connections alone.
    """
    yield from _database(uncaptured, odoo, addon=False)


@pytest.fixture(scope="session")
def office(registry, running_server):
    """A, B and C in Odoo with the addon."""
    from office import Office

    return Office(registry, running_server)


@pytest.fixture(scope="session")
def native(native_registry, running_server):
    """A company in native Odoo."""
    from office import NativeOffice

    return NativeOffice(native_registry, running_server)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Show the end of both logs with a failure."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    server = getattr(item, "funcargs", {}).get("running_server")
    if server and server.folder:
        lines = server.log().splitlines()[-_LOG_LINES:]
        report.sections.append(("Postfix and Dovecot", "\n".join(lines)))
    if "odoo" in getattr(item, "funcargs", {}):
        from dev.odoo import workdir

        log = workdir() / "odoo.log"
        if log.exists():
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            report.sections.append(("Odoo", "\n".join(lines)))
