# SPDX-License-Identifier: LGPL-3.0-only
"""``python -m dev.commands <target> [arguments]``, in the developer environment."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from dev.commands import TARGETS, UNTESTED
from dev.shared import ROOT, NotHere, ToolError, say


def main(argv: Sequence[str]) -> int:
    """Run a target; return its exit code. What it needs and cannot have is said in a sentence."""
    name, *arguments = argv
    place, _colon, function = TARGETS[name].partition(":")
    folder, slash, module = place.rpartition("/")
    if slash:
        sys.path.insert(0, str(ROOT / folder))
    try:
        return getattr(importlib.import_module(module), function)(arguments)
    except ToolError as error:
        if name in UNTESTED and isinstance(error, NotHere):
            say(f"NOT RUN: {UNTESTED[name]}. {error}")
            return 0
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
