"""``make test-browser``: an administrator's way through the web client, see ``tests/browser``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from dev.browser import NoBrowser, find_browser
from dev.odoo import NoOdoo, NoPostgres, OdooHomeError, find_odoo, postgres
from dev.shared import ROOT, say

FOLDER = ROOT / "tests" / "browser"


def test_browser(arguments: Sequence[str]) -> int:
    """Run the tests with pytest and its ``arguments``; return the exit code.

    Without a Chromium, or without an Odoo, nothing runs and the last line says so; that is no
    failure.
    """
    try:
        find_odoo()
        find_browser()
    except OdooHomeError:
        raise
    except (NoBrowser, NoOdoo) as error:
        say(f"NOT RUN: the journey in a browser, all of tests/browser. {error}")
        return 0
    command = [sys.executable, "-m", "pytest", "-c", str(FOLDER / "pytest.ini"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC"}
    with postgres():
        return subprocess.call([*command, str(FOLDER)], cwd=ROOT, env=environment)


def main(argv: Sequence[str]) -> int:
    """:param argv: pytest's arguments, such as ``-k zh_CN``"""
    try:
        return test_browser(argv)
    except (NoOdoo, NoPostgres) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
