# SPDX-License-Identifier: LGPL-3.0-only
"""What ``make`` runs, by the names of its targets. Plain Python, as ``bootstrap.py`` reads it."""

from typing import NamedTuple


class Target(NamedTuple):
    """Where a target's function is, which takes arguments and returns an exit code.

    :param folder: for modules that lie with the tests they run; elsewhere a package's name will do
    :param untested: what is not run where something that it needs cannot be had, which is no
        failure then; empty: it is one
    """

    module: str
    function: str
    folder: str = ""
    untested: str = ""


TARGETS = {
    "demo": Target("dev.commands.demo", "demo"),
    "serve": Target("dev.commands.demo", "serve"),
    "test": Target("dev.commands.test", "test"),
    "test-truth": Target(
        "dev.commands.test", "truth", untested="Explain and Test Connection beside the wire"
    ),
    "test-apps": Target(
        "dev.commands.test", "apps", untested="the tests beside Odoo's apps and other addons"
    ),
    "test-chaos": Target(
        "scenarios", "run", folder="tests/chaos", untested="the chaos, all of tests/chaos"
    ),
    "test-native": Target("native", "run", folder="tests/native", untested="Odoo's own mail tests"),
    "test-mailserver": Target(
        "dev.commands.test",
        "mailserver",
        untested="the tests on real mail servers, all of tests/mailserver",
    ),
    "test-browser": Target(
        "dev.commands.test",
        "browser",
        untested="the journey in a browser, all of tests/browser",
    ),
    "lint": Target("dev.commands.lint", "lint"),
    "bench": Target("dev.bench.compare", "bench"),
    "bench-queue": Target("dev.bench.lanes", "bench_queue"),
    "screenshots": Target("dev.commands.screenshots", "screenshots"),
    "clean": Target("dev.commands.clean", "clean"),
}
