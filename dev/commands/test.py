"""The addon's tests, and Odoo's own mail tests with and without the addon.

``test [pytest's arguments]``: the tests of ``routing/``, then those that need Odoo.
``test-truth [number]``: what Explain and Test Connection say beside what leaves by the wire.
``test-native``: Odoo's tests of mail have to pass, query for query, as they do without the addon.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from dev.commands import native_runner
from dev.odoo import (
    NoOdoo,
    NoPostgres,
    OdooError,
    OdooHomeError,
    addons_link,
    clone,
    database,
    find_odoo,
    odoo_config,
    odoo_environment,
    postgres,
    template_key,
    time_limit,
    workdir,
)
from dev.shared import ADDON, ROOT, Progress, cache_dir, say

# The addons whose documents the tests send mail about
MODULES = ("mail", "sale_management", "crm")

NATIVE_MODULES = ("mail", "test_mail")
# Left out is a test that deletes what cannot be deleted once the registry is complete
NATIVE_TAGS = "/mail,/test_mail,/base:TestIrMailServer,-/mail:TestMailMailStableSelection"
NATIVE_SECONDS = 40 * 60
BROWSERS = ("google-chrome", "chromium", "chromium-browser", "google-chrome-stable")

NO_TESTS_COLLECTED = 5

# The tests that need Odoo run in so many processes, each on a database of its own
PROCESSES = 2 if (os.cpu_count() or 1) > 1 else 1
# About how long the files take whose tests take longer than others'
SECONDS = {
    "test_tours": 90,
    "test_uninstall": 30,
    "test_passwords": 30,
    "test_truth": 25,
    "test_reading": 25,
    "test_fetching": 25,
    "test_incoming": 20,
    "test_faults": 15,
    "test_hostile": 12,
}


# --- test ----------------------------------------------------------------------------------


def test(arguments: Sequence[str]) -> int:
    """Run the addon's tests with pytest and its ``arguments``; return the exit code.

    Paths among the arguments, such as ``tests/test_sending.py``, choose what is run. Without any,
    the tests that need Odoo are shared out among processes, whose output is shown one after the
    other; with an option such as ``-x`` or ``-s``, one process runs them. Without an Odoo only the
    tests of ``routing/`` run, and the last lines say so; that is no failure.
    """
    options, plain, on_odoo = _sort_arguments(arguments)
    everything = not plain and not on_odoo
    codes = []
    if plain or everything:
        codes.append(_test_routing(options, plain or ["tests/routing", "dev/tests"]))
    if on_odoo or everything:
        try:
            codes.append(_test_on_odoo(options, on_odoo or ["tests"]))
        except OdooHomeError:
            raise
        except NoOdoo as error:
            say(f"\nNOT RUN: the tests that need Odoo, all of tests/ but tests/routing. {error}")
    if any(code != NO_TESTS_COLLECTED for code in codes):
        # A choice such as -k may well leave one part empty, not both
        codes = [code for code in codes if code != NO_TESTS_COLLECTED or not options]
    return max(codes, default=0)


def _sort_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return pytest's options, the chosen paths of ``tests/routing``, and the other paths."""
    options, plain, on_odoo = [], [], []
    for argument in arguments:
        path, colons, node = argument.partition("::")
        if argument.startswith("-") or not Path(path).exists():
            options.append(argument)
            continue
        path = Path(path).resolve().relative_to(ROOT).as_posix()
        chosen = plain if path.startswith(("tests/routing", "dev/tests")) else on_odoo
        chosen.append(path + colons + node)
    return options, plain, on_odoo


def _test_routing(options: Sequence[str], paths: Sequence[str]) -> int:
    say("Tests of the decision, without Odoo")
    ini = ROOT / "tests" / "routing" / "pytest.ini"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "pytest", "-p", "no:odoo", "-c", str(ini), *options]
    return subprocess.call([*command, *(str(ROOT / path) for path in paths)], cwd=ROOT, env=env)


def _test_on_odoo(options: Sequence[str], paths: Sequence[str]) -> int:
    find_odoo()
    shares = _shares() if not options and paths == ["tests"] and PROCESSES > 1 else [paths]
    say("Tests on Odoo" + (f", in {len(shares)} processes" if len(shares) > 1 else ""))
    with ExitStack() as stack:
        names = [stack.enter_context(database(MODULES))]
        # copied before anybody uses the first
        names += [stack.enter_context(clone(names[0])) for _share in shares[1:]]
        configs = [odoo_config(name, http_enable=True) for name in names]
        arguments = [[*options, *share] for share in shares]
        # the first is shown while it runs, the others when it has ended
        logs = [workdir() / f"pytest-{name}.log" for name in names[1:]]
        files = [None, *(stack.enter_context(log.open("w")) for log in logs)]
        with ThreadPoolExecutor() as pool:
            jobs = [
                pool.submit(run_pytest, *job)
                for job in zip(names, arguments, configs, files, strict=True)
            ]
            codes = [jobs[0].result()]
            for job, log in zip(jobs[1:], logs, strict=True):
                codes.append(job.result())
                say(log.read_text())
    return max(codes)


def _shares() -> list[list[str]]:
    """Share the files of tests out, the longest first, so that each process has as much to do."""
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("test_*.py")]
    seconds = {file: SECONDS.get(Path(file).stem, 5) for file in files}
    shares: list[list[str]] = [[] for _process in range(PROCESSES)]
    for file in sorted(files, key=lambda file: (-seconds[file], file)):
        min(shares, key=lambda share: sum(seconds[file] for file in share)).append(file)
    return shares


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
    env = _odoo_import_environment()
    return subprocess.call(command, cwd=addon.parent, env=env, stdout=log, stderr=log)


def _is_path(argument: str) -> bool:
    path = argument.partition("::")[0]
    return not argument.startswith("-") and (ROOT / path).exists()


def _odoo_import_environment() -> dict[str, str]:
    """Return an environment in which Python imports Odoo, in UTC as odoo-bin does."""
    return {**odoo_environment(), "PYTHONPATH": str(find_odoo()), "TZ": "UTC"}


# --- test-truth ----------------------------------------------------------------------------


def test_truth(arguments: Sequence[str]) -> int:
    """Play random set-ups of ``tests/truth.py``; return the exit code.

    ``arguments``: how many (1,000), ``--first`` seed of them (1); or one alone, by its ``--seed``
    or from a file that a failure's ``--setup`` was saved in.
    """
    parser = argparse.ArgumentParser(prog="make test-truth", description=test_truth.__doc__)
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
    try:
        return _test_on_odoo(["-q", "-s"], ["tests/test_truth.py"])
    except OdooHomeError:
        raise
    except NoOdoo as error:
        say(f"NOT RUN: Explain and Test Connection beside the wire. {error}")
        return 0


# --- test-native ---------------------------------------------------------------------------


def test_native() -> int:
    """Run Odoo's own mail tests without the addon and with it installed; return the exit code.

    Fails when a test fails, or is skipped, or needs more queries only with the addon.
    """
    try:
        find_odoo()
    except OdooHomeError:
        raise
    except NoOdoo as error:
        say(f"NOT RUN: Odoo's own mail tests. {error}")
        return 0
    with postgres(), ThreadPoolExecutor() as pool:
        # One after the other where they share the preparation, beside each other for the rest
        cached = _baseline_file()
        if cached.exists():
            without, origin = json.loads(cached.read_text()), " (from cache)"
            with database(NATIVE_MODULES) as name, Progress("Odoo's mail tests") as progress:
                addon = _run_native(name, True, progress)
                _repeat_failed(name, without, addon, progress)
        else:
            origin = ""
            with (
                database(NATIVE_MODULES, addon=False) as name_without,
                database(NATIVE_MODULES) as name_with,
                Progress("Odoo's mail tests, without and with the addon") as progress,
            ):
                jobs = [
                    pool.submit(_run_native, name_without, False, progress),
                    pool.submit(_run_native, name_with, True, progress),
                ]
                without, addon = (job.result() for job in jobs)
                _repeat_failed(name_with, without, addon, progress)
            partial = cached.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(without))
            partial.replace(cached)
    return _compare(without, addon, origin)


def _baseline_file() -> Path:
    """Return where the result without the addon is kept: it depends on Odoo and the tests only."""
    parts = [
        template_key(sorted(NATIVE_MODULES)),
        NATIVE_TAGS,
        Path(native_runner.__file__).read_text(),
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
    again = _run_native(name, True, progress, tags=",".join(sorted(tags)))
    for test_id in suspects:
        if test_id not in again["failed"]:
            say(f"failed once, passed when repeated alone: {test_id}")
            del addon["failed"][test_id]


def _run_native(name: str, addon: bool, progress: Progress, tags: str = NATIVE_TAGS) -> dict:
    """Run the tests in the database ``name`` and return the runner's result."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = workdir() / f"native-{name}.log"
    result = workdir() / f"native-{name}.json"
    config = odoo_config(
        name, addon=addon, http_port=port, logfile=log, screenshots=workdir() / "screenshots"
    )
    process = subprocess.Popen(
        [sys.executable, native_runner.__file__, str(config), tags, str(result),
         *sorted((*NATIVE_MODULES, "base"))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=workdir(),
        env=_odoo_import_environment(),
    )  # fmt: skip
    with time_limit(process, NATIVE_SECONDS):
        for line in process.stdout:
            progress.update(("with" if addon else "without") + " the addon: " + line.strip())
    kept = cache_dir() / f"native-{'with' if addon else 'without'}-addon.log"
    if log.exists():
        shutil.copyfile(log, kept)
    if process.returncode or not result.exists():
        raise OdooError(f"Odoo's tests broke off with exit code {process.returncode}: see {kept}")
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


def main(argv: Sequence[str]) -> int:
    """Run ``test``, ``test-truth`` or ``test-native``, as ``argv[0]`` says."""
    try:
        if argv[:1] == ["test"]:
            return test(argv[1:])
        if argv[:1] == ["test-truth"]:
            return test_truth(argv[1:])
        if argv == ["test-native"]:
            return test_native()
    except (NoOdoo, NoPostgres, OdooError) as error:
        say(str(error))
        return 1
    say("usage: dev.commands.test test [pytest's arguments] | test-truth [number] | test-native")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
