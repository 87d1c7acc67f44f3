# SPDX-License-Identifier: LGPL-3.0-only
"""Odoo 16.0 for the tools: where it is, how it is run, and databases to run it on."""

from .databases import clone, database, template_key
from .find import NoOdoo, OdooHomeError, fetch_addons, find_odoo
from .postgresql import NoPostgres, connect, execute, postgres
from .run import (
    OdooError,
    addons_link,
    import_environment,
    odoo_config,
    run_odoo,
    workdir,
)
