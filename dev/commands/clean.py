# SPDX-License-Identifier: LGPL-3.0-only
"""``make clean``: remove what the tools keep, except an Odoo that they downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from dev.odoo.find import SERIES
from dev.odoo.postgresql import remove_server
from dev.shared import cache_dir


def clean(_arguments: Sequence[str]) -> int:
    """Remove databases and files, the virtual environment that this runs in among them."""
    remove_server()
    for path in cache_dir().iterdir():
        if path.name in (f"odoo-{SERIES}", "odoo.lock"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return 0
