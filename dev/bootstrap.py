# SPDX-License-Identifier: LGPL-3.0-only
"""Make the developer environment, then run one of the tools in it: ``bootstrap.py test``.

Needs Python and nothing else: no package, no compiler, no root. The environment lies in the
user's cache; it is made once for each list of requirements and each Python version.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

# not this folder, whose odoo/ is no Odoo
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from dev.commands import TARGETS  # noqa: E402
from dev.shared import (  # noqa: E402
    REQUIREMENTS,
    REQUIREMENTS_BENCH,
    ROOT,
    Progress,
    cache_dir,
    follow,
    locked,
    say,
)

PYTHONS = ((3, 11), (3, 10))


def find_python() -> str:
    """Return a Python 3.10 or 3.11: this one, else one on the PATH. Exit when there is none."""
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    for major, minor in PYTHONS:
        path = shutil.which(f"python{major}.{minor}")
        if path:
            return path
    sys.exit(
        f"Odoo 16.0 needs Python 3.10 or 3.11; this is {platform.python_version()} and neither "
        "python3.11 nor python3.10 is on the PATH. Install one of them, or name it: "
        "make PYTHON=/path/to/python3.11 ..."
    )


def importable_odoo() -> str | None:
    """Return the folder of the package ``odoo`` if this Python can import one, unimported."""
    try:
        spec = importlib.util.find_spec("odoo")
    except (ImportError, ValueError):
        return None
    return str(Path(spec.origin).parent) if spec and spec.origin else None


def environment(python: str) -> Path:
    """Return the folder of the virtual environment of ``python``, which may not exist yet."""
    version = subprocess.check_output(
        [python, "-c", "import sys; print(sys.version_info[:2], sys.base_prefix)"], text=True
    )
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + version.encode()).hexdigest()[:12]
    return cache_dir() / f"venv-{key}"


def pip_install(venv: Path, title: str, *args: str) -> None:
    """Install into ``venv``; exit with pip's last words when that fails."""
    command = [venv / "bin" / "python", "-m", "pip", "install", "--progress-bar=off", *args]
    env = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for name in ("PYTHONHOME", "PYTHONPATH", "PIP_REQUIRE_HASHES", "PIP_TARGET", "PIP_PREFIX"):
        env.pop(name, None)
    with Progress(title) as progress:
        code, lines = follow([str(part) for part in command], progress.update, env=env)
        if code:
            tail = [line for line in lines if not line.startswith("WARNING")][-15:]
            sys.exit("".join(tail) + f"pip failed ({title}); its last lines are above.")


def make_environment(python: str, venv: Path) -> None:
    """Make the virtual environment ``venv`` afresh; its stamp is written last."""
    if venv.exists():
        shutil.rmtree(str(venv))
    say(f"Making the developer environment in {venv} (once)")
    if subprocess.call([python, "-m", "venv", str(venv)]):
        sys.exit(f"{python} cannot make virtual environments; what to do is above. Then try again.")
    # The few packages that come as source are built by these, not by whatever is newest
    builders = [
        line
        for line in REQUIREMENTS.read_text().splitlines()
        if line.startswith(("setuptools==", "wheel=="))
    ]
    pip_install(venv, "Installing setuptools", *builders)
    pip_install(
        venv, "Installing Odoo's requirements and the tools", "--no-build-isolation", "-r",
        str(REQUIREMENTS),
    )  # fmt: skip
    (venv / "stamp").touch()


def ensure_environment(python: str, bench: bool) -> Path:
    """Return the Python of the virtual environment, made or completed if it has to be."""
    venv = environment(python)
    stamps = [venv / "stamp"]
    if bench:
        digest = hashlib.sha256(REQUIREMENTS_BENCH.read_bytes()).hexdigest()[:12]
        stamps.append(venv / f"stamp-bench-{digest}")
    if not all(stamp.exists() for stamp in stamps):
        waiting = "Another run is making the developer environment; waiting for it ..."
        with locked(venv.with_suffix(".lock"), waiting):
            if not stamps[0].exists():
                make_environment(python, venv)
            if not stamps[-1].exists():
                title = "Installing the benchmarks' packages"
                pip_install(venv, title, "-r", str(REQUIREMENTS_BENCH))
                stamps[-1].touch()
    return venv / "bin" / "python"


def main(argv: list[str]) -> int:
    """Run the target named by ``argv[0]`` with the arguments behind it."""
    if not argv or argv[0] not in TARGETS:
        say("usage: bootstrap.py " + "|".join(TARGETS) + " [arguments]")
        return 2
    target, *arguments = argv
    if target == "clean" and not any(cache_dir().glob("venv-*/stamp")):
        for path in cache_dir().glob("venv-*"):
            shutil.rmtree(str(path), ignore_errors=True)
        return 0
    python = find_python()
    executable = ensure_environment(python, bench=target.startswith("bench"))
    command = [str(executable), "-m", "dev.commands", target, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    env.pop("PYTHONHOME", None)
    # pymap still imports it; the pin of setuptools keeps it there
    env.setdefault("PYTHONWARNINGS", "ignore:pkg_resources is deprecated")
    odoo = importable_odoo()
    if odoo:
        env["MCR_IMPORTABLE_ODOO"] = odoo
    if env.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Odoo is started many times, and takes longer to compile than to load
        env["PYTHONPYCACHEPREFIX"] = str(cache_dir() / "bytecode")
    sys.stdout.flush()
    os.execve(command[0], command, env)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
