# SPDX-License-Identifier: LGPL-3.0-only
"""``make test-native``: Odoo's own tests of mail, without the addon and with it installed.

They have to pass, query for query, as they do without the addon.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev.odoo import (
    OdooError,
    database,
    find_odoo,
    import_environment,
    odoo_config,
    postgres,
    template_key,
    workdir,
)
from dev.shared import Progress, cache_dir, follow, say

RUNNER = Path(__file__).with_name("runner.py")
MODULES = ("mail", "test_mail")
# Left out is a test that deletes what cannot be deleted once the registry is complete
TAGS = "/mail,/test_mail,/base:TestIrMailServer,-/mail:TestMailMailStableSelection"
SECONDS = 40 * 60

#: The apps with aliases, and their own tests of them
APPS = ("account", "crm", "hr_expense", "hr_recruitment", "maintenance", "mail_group", "project")
APPS_TAGS = ",".join(
    (
        "/account:TestAccountIncomingSupplierInvoice",
        "/account:TestAccountJournal",
        "/crm:NewLeadNotification",
        "/crm:TestCRMLead",
        "/crm:TestCRMLeadMultiCompany",
        "/hr_expense:TestExpensesMailImport",
        "/hr_recruitment:TestRecruitmentProcess",
        "/hr_recruitment:TestUTMConsistencyHrRecruitment",
        "/mail_group",
        "/maintenance",
        "/project:TestMultiCompanyProject",
        "/project:TestProjectBase",
        "/project:TestProjectFlow",
    )
)
BROWSERS = ("google-chrome", "chromium", "chromium-browser", "google-chrome-stable")


def run(arguments: Sequence[str]) -> int:
    """Run the tests; return 1 when one fails, is skipped or needs more queries with the addon.

    :param arguments: files of tests, such as ``mail/tests/test_mail_render.py``, or Odoo's test
        tags; none: all tests of mail
    """
    tags = ",".join(tag for argument in arguments for tag in _tags(argument)) or TAGS
    with postgres(), ThreadPoolExecutor() as pool:
        # One after the other where they share the preparation, beside each other for the rest
        cached = _baseline_file(tags)
        if cached.exists():
            without, origin = json.loads(cached.read_text()), " (from cache)"
            with database(MODULES) as name, Progress("Odoo's mail tests") as progress:
                addon = _run_native(name, True, progress, tags)
                _repeat_failed(name, without, addon, progress)
        else:
            origin = ""
            with (
                database(MODULES, addon=False) as name_without,
                database(MODULES) as name_with,
                Progress("Odoo's mail tests, without and with the addon") as progress,
            ):
                jobs = [
                    pool.submit(_run_native, name_without, False, progress, tags),
                    pool.submit(_run_native, name_with, True, progress, tags),
                ]
                without, addon = (job.result() for job in jobs)
                _repeat_failed(name_with, without, addon, progress)
            partial = cached.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(without))
            partial.replace(cached)
    return _compare(without, addon, origin)


def run_own() -> int:
    """Run the apps' own tests of aliases without the addon and with it; return the exit code."""
    results = {}
    for addon in (False, True):
        with (
            database(("l10n_generic_coa", *APPS), addon=addon) as name,
            Progress("The apps' tests of aliases") as progress,
        ):
            results[addon] = _run_native(name, addon, progress, APPS_TAGS, APPS)
    return _compare(results[False], results[True], "")


def _tags(argument: str) -> list[str]:
    """Return the test tags of a file's classes; of what is no file, itself."""
    home = find_odoo()
    for folder in (home / "addons", home / "odoo" / "addons"):
        path = folder / argument
        if path.is_file():
            classes = re.findall(r"^class (Test\w+)", path.read_text(), re.MULTILINE)
            return [f"/{path.parts[-3]}:{name}" for name in classes]
    return [argument]


def _baseline_file(tags: str) -> Path:
    """Return where the result without the addon is kept: it depends on Odoo and the tests only."""
    parts = [
        template_key(sorted(MODULES)),
        tags,
        RUNNER.read_text(),
        str([shutil.which(name) for name in BROWSERS]),
        sys.version,
    ]
    return cache_dir() / f"native-{hashlib.sha256(''.join(parts).encode()).hexdigest()[:16]}.json"


def _repeat_failed(name: str, without: dict, addon: dict, progress: Progress) -> None:
    """Run once more, alone, what failed only with the addon; what passes then did not fail for it.

    Odoo's tours give a browser ten seconds a step, which a busy machine does not always keep. What
    passed when repeated is said, and taken out of ``addon``'s failures.
    """
    suspects = sorted(set(addon["failed"]) - set(without["failed"]))
    # odoo.addons.mail.tests.test_x.TestX.test_y, with (login='z') behind it for a part of a test
    parts = {test_id: test_id.split()[0].split(".") for test_id in suspects}
    tags = {f"/{part[2]}:{part[-2]}.{part[-1]}" for part in parts.values()}
    if not tags or len(tags) > 10:
        return
    again = _run_native(name, True, progress, ",".join(sorted(tags)))
    for test_id in suspects:
        if test_id not in again["failed"]:
            say(f"failed once, passed when repeated alone: {test_id}")
            del addon["failed"][test_id]


def _run_native(
    name: str, addon: bool, progress: Progress, tags: str, modules: Sequence[str] = MODULES
) -> dict:
    """Run the tests of ``modules`` in the database ``name`` and return the runner's result."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = workdir() / f"native-{name}.log"
    result = workdir() / f"native-{name}.json"
    config = odoo_config(
        name, addon=addon, http_port=port, logfile=log, screenshots=workdir() / "screenshots"
    )
    label = "with the addon: " if addon else "without the addon: "
    code, _lines = follow(
        [sys.executable, str(RUNNER), str(config), tags, str(result), *sorted((*modules, "base"))],
        lambda line: progress.update(label + line),
        SECONDS,
        stderr=None,
        cwd=workdir(),
        env=import_environment(),
    )
    kept = cache_dir() / f"native-{'with' if addon else 'without'}-addon.log"
    if log.exists():
        shutil.copyfile(log, kept)
    if code or not result.exists():
        raise OdooError(f"Odoo's tests broke off with exit code {code}: see {kept}")
    return {**json.loads(result.read_text()), "log": str(kept)}


def _compare(without: dict, addon: dict, origin: str) -> int:
    """Print both results and what differs; return 1 if the addon makes anything worse."""
    for label, result in ((f"without the addon{origin}", without), ("with the addon", addon)):
        say(
            f"{label}: {len(result['run'])} tests, {len(result['failed'])} failed, "
            f"{len(result['skipped'])} skipped, {len(result['queries'])} query counts; "
            f"log {result['log']}"
        )
    for test_id in sorted(set(without["failed"]) & set(addon["failed"])):
        say(f"fails without the addon too: {test_id}")
    worse = []
    for test_id in sorted(set(addon["failed"]) - set(without["failed"])):
        reason = "\n  ".join(addon["failed"][test_id].strip().splitlines()[-8:])
        worse.append(f"fails only with the addon: {test_id}\n  {reason}")
    ran = set(addon["run"]) - set(addon["skipped"])
    for test_id in sorted(set(without["run"]) - set(without["skipped"]) - ran):
        worse.append(f"does not run with the addon: {test_id}")
    for place, counts in sorted(without["queries"].items()):
        more = addon["queries"].get(place, counts)
        if sum(more) > sum(counts):
            worse.append(f"more queries with the addon: {counts} -> {more} in {place}")
        elif sum(more) < sum(counts):
            say(f"fewer queries with the addon: {counts} -> {more} in {place}")
    for line in worse:
        say(line)
    say(f"{len(worse)} differences to the addon's debit" if worse else "No test is worse for it")
    return 1 if worse else 0
