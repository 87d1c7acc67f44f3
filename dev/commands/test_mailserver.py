"""``make test-mailserver``: Odoo on Postfix and Dovecot, see ``tests/mailserver``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dev.mailserver import NoMailServer, install
from dev.odoo import NoOdoo, NoPostgres, OdooHomeError, find_odoo, postgres
from dev.shared import ROOT, say

FOLDER = ROOT / "tests" / "mailserver"


def test_mailserver(arguments: Sequence[str]) -> int:
    """Run the tests with pytest and its ``arguments``; return the exit code.

    Without Postfix and Dovecot, or without an Odoo, nothing runs and the last line says so; that
    is no failure.
    """
    try:
        install()
        find_odoo()
    except OdooHomeError:
        raise
    except (NoMailServer, NoOdoo) as error:
        say(f"NOT RUN: the tests on real mail servers, all of tests/mailserver. {error}")
        return 0
    command = [sys.executable, "-m", "pytest", "-c", str(FOLDER / "pytest.ini"), *arguments]
    if not any(Path(argument.partition("::")[0]).is_file() for argument in arguments):
        command.append(str(FOLDER))
    # as odoo-bin does
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC"}
    with postgres():
        return subprocess.call(command, cwd=ROOT, env=environment)


def main(argv: Sequence[str]) -> int:
    """:param argv: pytest's arguments, such as ``-k delivery_report``"""
    try:
        return test_mailserver(argv)
    except (NoOdoo, NoPostgres) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
