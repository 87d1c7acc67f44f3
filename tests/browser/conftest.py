# SPDX-License-Identifier: LGPL-3.0-only
"""`make test` leaves this folder to `make test-browser`, whose pytest.ini lies here."""

from pathlib import Path


def pytest_ignore_collect(config):
    return True if config.inipath != Path(__file__).with_name("pytest.ini") else None
