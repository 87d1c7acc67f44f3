# SPDX-License-Identifier: LGPL-3.0-only
"""The addon's tests: ``make test`` and the suites beside it, each with pytest and its arguments."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from dev.odoo import (
    NoOdoo,
    addons_link,
    database,
    find_odoo,
    import_environment,
    odoo_config,
    postgres,
    workdir,
)
from dev.odoo.postgresql import current, programs
from dev.shared import ADDON, MODULES, ROOT, say

NO_TESTS_COLLECTED = 5
# The folders of the tests that need no Odoo
PLAIN = ("tests/routing", "dev/tests")

#: What a trading company has
APPS = (
    "account",
    "calendar",
    "crm",
    "digest",
    "event",
    "hr_expense",
    "hr_recruitment",
    "l10n_generic_coa",
    "mail_group",
    "maintenance",
    "mass_mailing",
    "portal",
    "project",
    "purchase",
    "sale_management",
    "stock",
    "survey",
    "website_crm",
    "website_sale",
)

# The tests that need Odoo run in so many processes, each on a database of its own: one more than
# two cores, as tests also wait for sockets
PROCESSES = 3 if (os.cpu_count() or 1) > 1 else 1
# Odoo gives a browser ten seconds a step: these run when no other tests do
ALONE = ("tests/test_tours.py",)
# Begun first are the files that take longest
LONGEST = (
    "test_faults",
    "test_adversary",
    "test_mailbox_guess",
    "test_fetching",
    "test_uninstall",
    "test_reading",
    "test_incoming",
    "test_passwords",
    "test_mailbox_oauth",
    "test_readme_example",
    "test_truth",
    "test_queue",
    "test_facts",
    "test_failed_mails",
    "test_hostile",
    "test_alias",
    "test_alias_domain",
    "test_alias_random",
)


def test(arguments: Sequence[str]) -> int:
    """Run the addon's tests with pytest and its ``arguments``; return the exit code.

    Paths among the arguments, such as ``tests/test_sending.py``, choose what is run. Without any,
    the tests that need Odoo are shared out among processes; with an option such as ``-x`` or
    ``-s``, one process runs them. Without an Odoo only the others run, and the last lines say so;
    that is no failure.
    """
    options, plain, on_odoo = _sort_arguments(arguments)
    if not plain and not on_odoo:
        plain, on_odoo = PLAIN, ["tests"]
    codes = []
    with tempfile.TemporaryFile("w+") as output, ThreadPoolExecutor() as pool:
        if plain and on_odoo and not options and PROCESSES > 1:
            # beside the preparation of the database, and shown last
            plain_job = pool.submit(_test_plain, options, plain, output)
        else:
            plain_job = None
            codes += [_test_plain(options, plain)] if plain else []
        missing = ""
        try:
            codes += [_test_on_odoo(options, on_odoo)] if on_odoo else []
        except NoOdoo as error:
            missing = f"\nNOT RUN: the tests that need Odoo, in tests. {error}"
        if plain_job:
            codes.append(plain_job.result())
            output.seek(0)
            say("Tests without Odoo\n" + output.read())
    if missing:
        say(missing)
    return _worst(codes, options)


def _worst(codes: list[int], options: Sequence[str]) -> int:
    """Return the exit code of several runs of pytest."""
    if any(code != NO_TESTS_COLLECTED for code in codes):
        # A choice such as -k may well leave one part empty, not all
        codes = [code for code in codes if code != NO_TESTS_COLLECTED or not options]
    return max(codes, default=0)


def _sort_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return pytest's options, the chosen paths of tests without Odoo, and the other paths."""
    options, plain, on_odoo = [], [], []
    for argument in arguments:
        path, colons, node = argument.partition("::")
        if argument.startswith("-") or not Path(path).exists():
            options.append(argument)
            continue
        path = Path(path).resolve().relative_to(ROOT).as_posix()
        chosen = plain if path.startswith(PLAIN) else on_odoo
        chosen.append(path + colons + node)
    return options, plain, on_odoo


def _test_plain(options: Sequence[str], paths: Sequence[str], log: IO[str] | None = None) -> int:
    """Run the tests that need no Odoo; ``log``: where the output goes, else to the terminal.

    Each folder on its own: in a run of both, pytest would import the addon's own ``__init__.py``.
    """
    if log is None:
        say("Tests without Odoo")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    codes = []
    for folder in PLAIN:
        chosen = [str(ROOT / path) for path in paths if path.startswith(folder)]
        command = [sys.executable, "-m", "pytest", "-p", "no:odoo"]
        command += ["-c", str(ROOT / folder / "pytest.ini"), *options, *chosen]
        if chosen:
            codes.append(subprocess.call(command, cwd=ROOT, env=env, stdout=log, stderr=log))
    return _worst(codes, options)


def _test_on_odoo(options: Sequence[str], paths: Sequence[str]) -> int:
    find_odoo()
    if not options and paths == ["tests"] and PROCESSES > 1:
        files = sorted((ROOT / "tests").glob("test_*.py"), key=_longest_first)
        paths = [path.relative_to(ROOT).as_posix() for path in files]
        # each process has a copy of the database, and takes the next file as soon as it is free
        options = ["-n", str(PROCESSES), "--dist=loadfile", "--no-loadscope-reorder"]
    shared = options[:1] == ["-n"]
    say("Tests on Odoo" + (f", in {PROCESSES} processes" if shared else ""))
    with database(MODULES) as name:
        config = odoo_config(name, http_enable=True)
        if not shared:
            return run_pytest(name, [*options, *paths], config)
        together = [path for path in paths if path not in ALONE]
        code = run_pytest(name, [*options, *together], config)
        return max(code, run_pytest(name, ALONE, config))


def _longest_first(path: Path) -> tuple[int, str]:
    name = path.stem
    return (LONGEST.index(name) if name in LONGEST else len(LONGEST), name)


def run_pytest(
    name: str, arguments: Sequence[str], config: Path, log: IO[str] | None = None
) -> int:
    """Run pytest on the database ``name``, with Odoo and its HTTP server in the same process.

    :param arguments: pytest's options, and paths relative to the repository
    :param config: of Odoo, as ``odoo_config`` writes it
    :param log: where the output goes; None: to the terminal
    :return: pytest's exit code
    """
    # The addon is tested under its technical name, whatever the clone's folder is called
    addon = addons_link() / ADDON
    ini = workdir() / "pytest.ini"
    ini.write_text("[pytest]\naddopts = --tb=short\n")
    paths = [argument for argument in arguments if _is_path(argument)]
    command = [
        *(sys.executable, "-m", "pytest", "-c", str(ini), "-p", "no:warnings"),
        *("-o", f"cache_dir={ROOT / '.pytest_cache'}"),
        *(f"--rootdir={addon}", f"--confcutdir={addon}"),
        *(f"--odoo-config={config}", f"--odoo-database={name}", "--odoo-http"),
        *(
            f"--ignore={addon / 'tests' / folder}"
            for folder in ("apps", "browser", "mailserver", "routing")
            if not any(path.startswith(f"tests/{folder}") for path in paths)
        ),
        *(argument for argument in arguments if argument not in paths),
        *(str(addon / path) for path in paths),
    ]
    # createdb and dropdb, for a database a process
    env = {**import_environment(), **current(), "PATH": f"{programs()}:{os.environ['PATH']}"}
    return subprocess.call(command, cwd=addon.parent, env=env, stdout=log, stderr=log)


def _is_path(argument: str) -> bool:
    path = argument.partition("::")[0]
    return not argument.startswith("-") and (ROOT / path).exists()


# --- the other suites ----------------------------------------------------------------------


def truth(arguments: Sequence[str]) -> int:
    """Play random set-ups of ``tests/truth.py``; return the exit code.

    ``arguments``: how many (1,000), ``--first`` seed of them (1); or one alone, by its ``--seed``
    or from a file that a failure's ``--setup`` was saved in.
    """
    parser = argparse.ArgumentParser(prog="make test-truth", description=truth.__doc__)
    parser.add_argument("count", nargs="?", type=int, default=1000, help="how many set-ups")
    parser.add_argument("--first", type=int, default=1, help="seed of the first one")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--setup", type=Path, help="the set-up in this file")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        chosen.first, chosen.count = chosen.seed, 1
    os.environ["MCR_TRUTH_FIRST"] = str(chosen.first)
    os.environ["MCR_TRUTH_COUNT"] = str(chosen.count)
    if chosen.setup:
        os.environ["MCR_TRUTH_SETUP"] = str(chosen.setup.resolve())
    return _test_on_odoo(["-q", "-s"], ["tests/test_truth.py"])


def apps(arguments: Sequence[str]) -> int:
    """Run the tests beside Odoo's apps; with ``--oca`` among the arguments, beside other addons.

    With ``--own``: the apps' own tests of aliases, without the addon and with it.
    """
    if "--own" in arguments:
        sys.path.insert(0, str(ROOT / "tests" / "native"))
        from native import run_own

        return run_own()
    if "--oca" in arguments:
        sys.path.insert(0, str(ROOT / "tests" / "apps"))
        from beside import run

        return run([argument for argument in arguments if argument != "--oca"])
    with database(APPS) as name:
        config = odoo_config(name, http_enable=True)
        files = ["tests/apps/test_kinds.py", "tests/apps/test_aliases.py"]
        return run_pytest(name, [*arguments, *files], config)


def mailserver(arguments: Sequence[str]) -> int:
    """Run the tests on Postfix and Dovecot."""
    from dev.mailserver import install

    install()
    return _test_folder("mailserver", arguments)


def browser(arguments: Sequence[str]) -> int:
    """Run an administrator's way through the web client."""
    from dev.browser import find_browser

    find_browser()
    return _test_folder("browser", arguments)


def _test_folder(name: str, arguments: Sequence[str]) -> int:
    """Run the tests of a folder with a pytest.ini of its own; they start their own Odoo."""
    find_odoo()
    folder = ROOT / "tests" / name
    command = [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), *arguments]
    if not any(_is_path(argument) for argument in arguments):
        command.append(str(folder))
    # in UTC, as odoo-bin is
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC"}
    with postgres():
        return subprocess.call(command, cwd=ROOT, env=environment)
