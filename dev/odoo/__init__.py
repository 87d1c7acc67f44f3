"""Odoo 16.0 for the tools: where it is, how it is run, and databases to run it on."""

from .databases import (
    NoOdoo,
    NoPostgres,
    OdooError,
    OdooHomeError,
    OdooRun,
    addons_link,
    clone,
    connect,
    database,
    execute,
    find_odoo,
    install,
    odoo_command,
    odoo_config,
    odoo_environment,
    postgres,
    run_odoo,
    template_key,
    time_limit,
    workdir,
)
