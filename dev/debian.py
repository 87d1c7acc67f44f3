# SPDX-License-Identifier: LGPL-3.0-only
"""Debian's packages that a tool needs: installed where that can be done, else asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from dev.shared import Progress, ToolError, cache_dir, follow, locked

_APT_GET = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "--yes")
_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


class NotInstalled(ToolError):
    """A package is missing; the message says which, and how to get it."""


def install_packages(
    missing: Callable[[], list[str]],
    during: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Install the packages that ``missing`` names, without what they recommend.

    :param missing: asked before and after; a package that would have to go stays
    :param during: a context to install them in
    :raises NotInstalled: not root, no apt-get, or what apt-get could not do
    """
    names = missing()
    if not names:
        return
    command = "apt-get install --no-install-recommends " + " ".join(names)
    if os.geteuid() or not shutil.which("apt-get"):
        raise NotInstalled(
            f"{', '.join(names)} not installed. As root, on Debian or Ubuntu: {command}"
        )
    with locked(cache_dir() / "apt.lock", "Another run is installing packages; waiting ..."):
        if names := missing():
            with Progress(f"Installing {', '.join(names)} (once)") as progress, during():
                _apt_get(progress, "update")
                options = ("--no-install-recommends", "--no-remove")
                _apt_get(progress, "install", *options, *names)
    if missing():
        raise NotInstalled(f"apt-get did not bring {', '.join(missing())}. Try: {command}")


def _apt_get(progress: Progress, *arguments: str) -> None:
    environment = {**os.environ, **_ENVIRONMENT}
    code, lines = follow([*_APT_GET, *arguments], progress.update, env=environment)
    if code:
        tail = "".join(lines[-15:])
        raise NotInstalled(f"{tail}apt-get {arguments[0]} failed; its last lines are above.")
