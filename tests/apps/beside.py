# SPDX-License-Identifier: LGPL-3.0-only
"""``make test-apps ARGS=--oca``: other addons beside this one.

Runs ``test_beside.py`` beside each of the addons of ``dev/requirements-oca.txt``, and compares what
came out with ``docs/beside.md``.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from dev.commands.test import run_pytest
from dev.odoo import (
    OdooError,
    database,
    fetch_addons,
    odoo_config,
    run_odoo,
    workdir,
)
from dev.shared import ADDON, REQUIREMENTS_OCA, ROOT, cache_dir, locked, say

BESIDE = "tests/apps/test_beside.py"
PAGES = (ROOT / "docs" / "beside.md", ROOT / "docs" / "beside.zh_CN.md")
#: The addon whose tests are run where none is beside it: all of them have to pass
ALONE = ""
FITS, FAILS = "✓", "✗"


@dataclass(frozen=True)
class Check:
    """A test of ``test_beside.py``.

    :param test: class and method, as pytest reports them
    :param addon: the one it is about; ``ALONE``: each of them
    :param claim: what it checks, for people
    """

    test: tuple[str, str]
    addon: str
    claim: str


def run(arguments: Sequence[str]) -> int:
    """Run the checks beside each of the other addons and print the tables.

    :param arguments: pytest's, and names of the addons to run; none: all of them
    :return: 1 where a check fails with no other addon installed, or the pages in docs say otherwise
        than what was run
    """
    folder = fetch_wheels()
    versions = read_versions()
    chosen = [name for name in versions if name in arguments] or list(versions)
    options = [argument for argument in arguments if argument not in versions]
    checks = read_checks()
    results = {name: run_beside(name, folder, options) for name in (ALONE, *chosen)}
    broken = [check.claim for check in checks if results[ALONE].get(check.test) is False]
    for claim in broken:
        say(f"FAILS with no other addon installed: {claim}")
    if options or len(chosen) < len(versions):
        lines = [*common_table(checks, {name: versions[name] for name in chosen}, results)]
        say("\n".join([*lines, "", *own_table(checks, results)]))
        return 1 if broken else 0
    tables = [common_table(checks, versions, results), own_table(checks, results)]
    say("\n\n".join("\n".join(table) for table in tables))
    wrong = [page for page in PAGES if not agrees(page, tables)]
    for page in wrong:
        say(f"{page.relative_to(ROOT)} says otherwise: put what came out into it.")
    return 1 if broken or wrong else 0


def fetch_wheels() -> Path:
    """Return a folder for addons_path with the other addons, from the cache where it has them.

    Their source is nobody's part of this repository. Raises ``NotHere``.
    """
    digest = hashlib.sha256(REQUIREMENTS_OCA.read_bytes()).hexdigest()[:12]
    target = cache_dir() / f"oca-{digest}"
    folder = target / "odoo" / "addons"
    with locked(target.with_suffix(".lock"), "Another run is fetching the addons; waiting ..."):
        if folder.is_dir():
            return folder
        return fetch_addons(target, "-r", str(REQUIREMENTS_OCA))


def read_versions() -> dict[str, str]:
    """Return addon -> version, of those that are run, in the order of the requirements."""
    asked = REQUIREMENTS_OCA.read_text().partition("\n# What")[0]
    found = re.findall(r"^odoo-addon-(\S+)==(\S+)$", asked, re.MULTILINE)
    return {name.replace("-", "_"): version for name, version in found}


def read_checks() -> list[Check]:
    """Return the checks in the order of the file: their docstrings are the lines of the tables."""
    checks = []
    for case in ast.parse((ROOT / BESIDE).read_text()).body:
        if not isinstance(case, ast.ClassDef):
            continue
        addon = ALONE
        for call in case.decorator_list:
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "only_with":
                addon = ast.literal_eval(call.args[0])
        checks += [
            Check((case.name, method.name), addon, " ".join(ast.get_docstring(method).split()))
            for method in case.body
            if isinstance(method, ast.FunctionDef) and method.name.startswith("test_")
        ]
    return checks


def run_beside(name: str, folder: Path, options: Sequence[str]) -> dict[tuple[str, str], bool]:
    """Run the checks in a database with the addon ``name``; return test -> whether it passed."""
    label = name or "no other addon"
    with database(["mail"], addon=False) as base:
        modules = ",".join(filter(None, (name, ADDON)))
        config = odoo_config(base, more=[folder])
        run_odoo(["-i", modules, "--stop-after-init"], config=config, title=f"Beside {label}")
        report = workdir() / f"beside-{name}.xml"
        config = odoo_config(base, more=[folder], http_enable=True)
        kept = cache_dir() / f"beside-{name or 'alone'}.log"
        with kept.open("w") as log:
            run_pytest(base, [*options, f"--junitxml={report}", BESIDE], config, log)
    if not report.exists():
        raise OdooError(f"The tests beside {label} broke off: see {kept}")
    results = {
        (case.get("classname").rpartition(".")[2], case.get("name")): not (
            case.findall("failure") or case.findall("error")
        )
        for case in ElementTree.parse(report).iter("testcase")
        if not case.findall("skipped")
    }
    say(f"  {sum(results.values())} of {len(results)} checks pass; log {kept}")
    return results


def common_table(checks: list[Check], versions: dict[str, str], results: dict) -> list[str]:
    """Return the table of what is checked beside every addon."""
    rows = ["| | " + " | ".join(f"{name} {version}" for name, version in versions.items()) + " |"]
    rows.append("|---" * (len(versions) + 1) + "|")
    for check in checks:
        if check.addon == ALONE:
            marks = [FITS if results[name].get(check.test) else FAILS for name in versions]
            rows.append(f"| {check.claim} | " + " | ".join(marks) + " |")
    return rows


def own_table(checks: list[Check], results: dict) -> list[str]:
    """Return the table of what is checked beside one addon only."""
    rows = ["| addon | | |", "|---|---|---|"]
    rows += [
        f"| {check.addon} | {check.claim} | "
        f"{FITS if results[check.addon].get(check.test) else FAILS} |"
        for check in checks
        if check.addon in results and check.addon != ALONE
    ]
    return rows


def agrees(page: Path, tables: list[list[str]]) -> bool:
    """Tell whether a page has these tables: in English word by word, else mark by mark."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    if page is PAGES[0]:
        return all("\n".join(table) in text for table in tables)
    marks = re.compile(rf"[{FITS}{FAILS}]")
    found = [marks.findall(line) for line in text.splitlines() if line.startswith("|")]
    expected = [marks.findall(line) for table in tables for line in table]
    versions = re.findall(r"\d+(?:\.\d+){4,}", tables[0][0])
    return [row for row in found if row] == [row for row in expected if row] and all(
        version in text for version in versions
    )
