"""``make test-apps``: the mails of Odoo's other apps, see ``tests/apps``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dev.odoo_env import NoOdoo, NoPostgres, OdooError, OdooHomeError, database, odoo_config
from dev.shared import say
from dev.test import run_pytest

#: What a trading company has
MODULES = (
    "account",
    "calendar",
    "crm",
    "digest",
    "event",
    "hr_recruitment",
    "l10n_generic_coa",
    "mail_group",
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


def test_apps(arguments: Sequence[str]) -> int:
    """Run the tests beside Odoo's apps with pytest and its ``arguments``; return the exit code.

    Without an Odoo nothing runs and the last line says so; that is no failure.
    """
    try:
        with database(MODULES) as name:
            config = odoo_config(name, http_enable=True)
            return run_pytest(name, [*arguments, "tests/apps/test_kinds.py"], config)
    except OdooHomeError:
        raise
    except NoOdoo as error:
        say(f"NOT RUN: the mails of Odoo's apps, all of tests/apps. {error}")
        return 0


def main(argv: Sequence[str]) -> int:
    """:param argv: pytest's arguments, such as ``-k quotation``"""
    try:
        return test_apps(argv)
    except (NoOdoo, NoPostgres, OdooError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
