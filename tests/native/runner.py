# SPDX-License-Identifier: LGPL-3.0-only
"""Run Odoo's own tests on an installed database, with every module loaded, and count queries.

``runner.py <odoo.conf> <test tags> <result.json> <module>...``, started by
``native.py`` with Odoo on the Python path. Odoo itself would run a module's at_install
tests when only the modules below it are loaded: those of ``mail`` would never meet the addon.
"""

# pylint: disable=print-used
from __future__ import annotations

import inspect
import json
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def main(conf: str, tags: str, target: str, modules: Sequence[str]) -> None:
    """Run the tests of ``modules`` that ``tags`` select; write the result to ``target``.

    It is a dict: ``run`` and ``skipped`` (lists of test ids), ``failed`` (id to traceback) and
    ``queries`` (where assertQueryCount was called to the numbers it counted there).
    """
    import odoo
    from odoo.modules.registry import Registry
    from odoo.service import server
    from odoo.tests import loader
    from odoo.tests.common import BaseCase
    from odoo.tests.result import OdooTestResult
    from odoo.tools import config

    outcome = {"run": [], "skipped": [], "failed": {}, "queries": defaultdict(list)}
    total = 0

    class Recorder(OdooTestResult):
        """Odoo's test result, which also remembers which tests they were."""

        def startTest(self, test):
            outcome["run"].append(test.id())
            print(f"{len(outcome['run'])}/{total} {test._testMethodName}", flush=True)
            return super().startTest(test)

        def addSkip(self, test, reason):
            outcome["skipped"].append(test.id())
            return super().addSkip(test, reason)

        def addError(self, test, err):
            outcome["failed"][test.id()] = self._exc_info_to_string(err, test)
            return super().addError(test, err)

        def addFailure(self, test, err):
            outcome["failed"][test.id()] = self._exc_info_to_string(err, test)
            return super().addFailure(test, err)

    assert_query_count = BaseCase.assertQueryCount

    @contextmanager
    def counting(self, default: int = 0, flush: bool = True, **counters: int) -> Iterator[None]:
        # The frames in between are this function's and contextlib's
        caller = inspect.stack()[2]
        start = None
        with assert_query_count(self, default, flush, **counters):
            start = self.cr.sql_log_count
            yield
        if self.warm:
            place = f"{self.id()} ({Path(caller.filename).name}:{caller.lineno})"
            count = self.cr.sql_log_count - start
            outcome["queries"][f"{place} {self.env.user.login}"].append(count)

    BaseCase.assertQueryCount = counting
    loader.OdooTestResult = Recorder

    config.parse_config(["-c", conf])
    odoo.cli.server.check_postgres_user()
    server.load_server_wide_modules()
    # Loaded before tests are switched on, as loading would run them
    registry = Registry.new(config["db_name"])
    config["test_enable"] = True
    config["test_tags"] = tags
    server.server = server.ThreadedServer(odoo.http.root)
    server.server.start(stop=True)
    threading.current_thread().testing = True
    suites = [loader.make_suite(modules, position) for position in ("at_install", "post_install")]
    total = sum(suite.countTestCases() for suite in suites)
    for suite in suites:
        if suite.has_http_case():
            with registry.cursor() as cr:
                env = odoo.api.Environment(cr, odoo.SUPERUSER_ID, {})
                env["ir.http"]._clear_routing_map()
                env["ir.qweb"]._pregenerate_assets_bundles()
        loader.run_suite(suite)
    Path(target).write_text(json.dumps(outcome))
    server.server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
