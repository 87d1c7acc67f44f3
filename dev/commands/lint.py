# SPDX-License-Identifier: LGPL-3.0-only
"""Style and mistakes: ruff, pylint with Odoo's checks, OCA's checks; and the licences of data."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dev.odoo import addons_link
from dev.shared import ADDON, ROOT, say


def data_without_licence(path: Path) -> bool:
    """Tell whether a file that takes no comments has no licence beside it (``NAME.license``).

    So says https://reuse.software/spec/.
    """
    beside = path.with_name(f"{path.name}.license")
    return not beside.exists() or "SPDX-License-Identifier: " not in beside.read_text("utf-8")


def files_of(pattern: str) -> list[str]:
    """Return the paths of the repository's files, without those that git ignores."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.check_output(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
            cwd=ROOT,
            text=True,
        ).splitlines()
        # A file that was deleted and not committed is still listed
        return sorted({path for path in listed if (ROOT / path).exists()})
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob(pattern))


def lint(arguments: Sequence[str]) -> int:
    """Check the files named by ``arguments``, else all; return 1 when there are findings."""
    files = list(arguments) or files_of("*.py")
    ruff = [sys.executable, "-m", "ruff"]
    # pylint takes a module's name from its folder's, so it is shown the addon under its own
    pylint = [sys.executable, "-m", "pylint", "--load-plugins=pylint_odoo"]
    pylint += [f"--rcfile={ROOT / '.pylintrc'}", "--score=n"]
    oca = str(Path(sys.executable).with_name("oca-checks-odoo-module"))
    checks = (
        ("ruff check", ROOT, [*ruff, "check", *files]),
        ("ruff format", ROOT, [*ruff, "format", "--check", *files]),
        ("pylint", addons_link(), [*pylint, *(f"{ADDON}/{path}" for path in files)]),
        ("OCA's checks", addons_link(), [oca, ADDON]),
    )
    failed = []
    data = [path for path in files_of("*.json") if data_without_licence(ROOT / path)]
    if data:
        say("\n".join(f"{path}: no licence in {path}.license" for path in data))
        failed.append("the licences of data")
    for name, folder, command in checks:
        if subprocess.call(command, cwd=folder):
            failed.append(name)
    say(f"Findings by {', '.join(failed)}" if failed else f"{len(files)} files, no findings")
    return 1 if failed else 0
