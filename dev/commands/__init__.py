# SPDX-License-Identifier: LGPL-3.0-only
"""What ``make`` runs, by the names of its targets. Plain Python, as ``bootstrap.py`` reads it."""

#: where a target's function is, which takes arguments and returns an exit code; some modules lie
#: in a folder with the tests that they run
TARGETS = {
    "demo": "dev.commands.demo:demo",
    "serve": "dev.commands.demo:serve",
    "test": "dev.commands.test:test",
    "test-truth": "dev.commands.test:truth",
    "test-apps": "dev.commands.test:apps",
    "test-chaos": "tests/chaos/scenarios:run",
    "test-native": "tests/native/native:run",
    "test-mailserver": "dev.commands.test:mailserver",
    "test-browser": "dev.commands.test:browser",
    "lint": "dev.commands.lint:lint",
    "bench": "dev.bench.compare:bench",
    "bench-queue": "dev.bench.lanes:bench_queue",
    "screenshots": "dev.commands.screenshots:screenshots",
    "clean": "dev.commands.clean:clean",
}

#: what is not run where something that it needs cannot be had, which is no failure of these
UNTESTED = {
    "test-truth": "Explain and Test Connection beside the wire",
    "test-apps": "the tests beside Odoo's apps and other addons",
    "test-chaos": "the chaos, all of tests/chaos",
    "test-native": "Odoo's own mail tests",
    "test-mailserver": "the tests on real mail servers, all of tests/mailserver",
    "test-browser": "the journey in a browser, all of tests/browser",
}
