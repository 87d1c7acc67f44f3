# SPDX-License-Identifier: LGPL-3.0-only
"""Compare the addon's tables with those of a later Odoo, and let that Odoo take them over.

::

    PYTHONPATH=. python tests/upgrade/tables.py --odoo ~/odoo/19.0 --python PYTHON

The later Odoo really runs: it creates its own tables, whose columns, constraints and indexes are
set beside ours; then it is given ours with rows in them and updates its module ``mail``, which is
what an upgrade amounts to for these tables.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from later import LaterOdoo, chosen
from psycopg2 import sql

from dev.odoo import (
    NoOdoo,
    NoPostgres,
    OdooError,
    clone,
    database,
    odoo_config,
    postgres,
    run_odoo,
)
from dev.odoo.postgresql import connect, execute
from dev.shared import say

TABLE = "mail_alias_domain"
ALIASES = "mail_alias"
# Columns of the other tables that have to fit; the whole of TABLE is compared
SHARED = {
    "res_company": ["alias_domain_id"],
    "mail_message": ["record_alias_domain_id", "record_company_id"],
    ALIASES: ["alias_domain_id", "alias_full_name", "alias_incoming_local", "alias_name"],
}
LOG_COLUMNS = {"id", "create_uid", "create_date", "write_uid", "write_date"}

# What a long-lived database may hold
FILL = """
second = env["res.company"].create({"name": "B"})
domains = env["mail.alias.domain"]
a = domains.create({"name": "a.com", "company_id": env.company.id})
b = domains.create({"name": "b.com", "company_id": second.id, "catchall_alias": "office"})
c = domains.create({"name": "c.com", "company_id": second.id, "reply_domain_id": b.id,
                    "default_from": "hello@b.com", "catch_all": "no"})
domains.create({"name": "m\\u00fcnchen.de", "company_id": False})
domains.create({"name": "old.com", "active": False})
domains.create({"name": "empty.com", "default_from": False})
env.company.alias_domain_id = a
second.alias_domain_id = b
env.company.partner_id.message_post(body="told by a.com")
model = env["ir.model"]._get_id("res.partner")
for domain in (False, a.id, b.id, domains.search([("name", "like", "xn--")]).id):
    env["mail.alias"].create(
        {"alias_name": "sales", "alias_domain_id": domain, "alias_model_id": model}
    )
env.cr.commit()
"""

COMPANIES = """
env["res.company"].create([{{"name": f"Company {{n + 2}}"}} for n in range({count})])
env.cr.commit()
"""

USE = """
new = env["mail.alias.domain"].create({"name": "new.com"})
print("USED", new.bounce_email, new.catchall_email, new.default_from_email)
"""


@dataclass
class Table:
    """Columns, constraints and indexes of a table, as PostgreSQL words them."""

    columns: dict[str, str] = field(default_factory=dict)
    constraints: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)


def describe(db: str, table: str, columns: Sequence[str] | None = None) -> Table:
    """Describe ``table``; with ``columns`` only these, and what concerns them alone."""
    result = Table()
    rows = execute(
        """SELECT attname, format_type(atttypid, atttypmod), attnotnull,
                  pg_get_expr(adbin, adrelid)
             FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
            ORDER BY attname""",
        table,
        database=db,
    )
    for name, kind, required, default in rows:
        if columns is None or name in columns:
            words = [kind, "NOT NULL" if required else "NULL"]
            words += [f"DEFAULT {default}"] if default else []
            result.columns[name] = " ".join(words)
    rows = execute(
        """SELECT conname, pg_get_constraintdef(oid),
                  ARRAY(SELECT attname::text FROM pg_attribute
                         WHERE attrelid = conrelid AND attnum = ANY(conkey))
             FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('c', 'f', 'p', 'u')
            ORDER BY conname""",
        table,
        database=db,
    )
    for name, words, keys in rows:
        if columns is None or set(keys) <= set(columns):
            result.constraints[name] = words
    rows = execute(
        """SELECT relname, CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END
                  || regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', ''),
                  ARRAY(SELECT attname::text FROM pg_attribute
                         WHERE attrelid = indrelid AND attnum = ANY(indkey))
             FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indrelid = %s::regclass
                  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid
                                  AND conrelid = indrelid)
            ORDER BY relname""",
        table,
        database=db,
    )
    for name, words, keys in rows:
        if columns is None or set(keys) <= set(columns):
            result.indexes[name] = words
    return result


def describe_all(db: str) -> dict[str, Table]:
    """Describe everything that the addon shares with the native model."""
    return {table: describe(db, table, SHARED.get(table)) for table in (TABLE, *SHARED)}


def show(ours: dict[str, Table], theirs: dict[str, Table], title: str) -> None:
    """Print both descriptions side by side as a Markdown table."""
    say(f"| table | what | addon on 16.0 | {title} | same |")
    say("|---|---|---|---|---|")
    for table in ours:
        for part in ("columns", "constraints", "indexes"):
            left, right = getattr(ours[table], part), getattr(theirs[table], part)
            for name in sorted({*left, *right}):
                pair = left.get(name, "–"), right.get(name, "–")
                same = "yes" if pair[0] == pair[1] else "**no**"
                say(f"| {table} | {name} | {pair[0]} | {pair[1]} | {same} |")


# --- taking over ---------------------------------------------------------------------------


def hand_over(source: str, target: str) -> None:
    """Put our tables with their rows in the place of those of the database ``target``."""
    ours = describe_all(source)
    run = functools.partial(execute, database=target)
    run(f"DROP TABLE {TABLE} CASCADE")
    columns = [f'"{name}" {words}' for name, words in ours[TABLE].columns.items()]
    # An own sequence instead of the one that the default names
    columns = [line if not line.startswith('"id"') else '"id" serial' for line in columns]
    run(f"CREATE TABLE {TABLE} ({', '.join(columns)})")
    for table, names in SHARED.items():
        for name in names:
            run(f'ALTER TABLE {table} DROP COLUMN "{name}" CASCADE')
            run(f'ALTER TABLE {table} ADD COLUMN "{name}" {ours[table].columns[name]}')
    companies = execute("SELECT id, alias_domain_id FROM res_company", database=source)
    _copy_rows(source, target)
    for alias in aliases_of(source):
        run("INSERT INTO mail_alias (alias_name, alias_domain_id, alias_full_name,"
            " alias_incoming_local, alias_model_id, alias_defaults, alias_contact)"
            " SELECT %s, %s, %s, %s, id, '{}', 'everyone' FROM ir_model"
            " WHERE model = 'res.partner'", *alias)  # fmt: skip
    for id_, domain in companies:
        run("UPDATE res_company SET alias_domain_id = %s WHERE id = %s", domain, id_)
    run("UPDATE mail_message SET record_company_id = 1, record_alias_domain_id ="
        " (SELECT alias_domain_id FROM res_company WHERE id = 1)")  # fmt: skip
    for table, described in ours.items():
        for kind in ("p", "u", "c", "f"):
            words = {"p": "PRIMARY", "u": "UNIQUE", "c": "CHECK", "f": "FOREIGN"}[kind]
            for name, definition in described.constraints.items():
                if definition.startswith(words):
                    run(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
        for name, definition in described.indexes.items():
            unique, _sep, words = definition.rpartition("UNIQUE ")
            unique = "UNIQUE" if _sep else ""
            run(f'CREATE {unique} INDEX "{name}" ON {table} USING {words}')


def _copy_rows(source: str, target: str) -> None:
    names = list(describe(source, TABLE).columns)
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    rows = io.StringIO()
    copy = sql.SQL("COPY {} ({}) {}")
    with closing(connect(source)) as connection, connection.cursor() as cursor:
        query = copy.format(sql.Identifier(TABLE), listed, sql.SQL("TO STDOUT"))
        cursor.copy_expert(query.as_string(connection), rows)
    rows.seek(0)
    with closing(connect(target)) as connection, connection.cursor() as cursor:
        query = copy.format(sql.Identifier(TABLE), listed, sql.SQL("FROM STDIN"))
        cursor.copy_expert(query.as_string(connection), rows)
        cursor.execute(f"SELECT setval('{TABLE}_id_seq', (SELECT max(id) FROM {TABLE}))")


def rows_of(db: str) -> list[tuple]:
    """Return what the native model knows of every domain, and whose Email Domain it is."""
    return execute(
        f"""SELECT name, bounce_alias, catchall_alias, default_from, sequence,
                   ARRAY(SELECT id FROM res_company WHERE alias_domain_id = d.id ORDER BY id)
              FROM {TABLE} d ORDER BY id""",
        database=db,
    )


def aliases_of(db: str) -> list[tuple]:
    """Return the aliases that have a name: name, domain, whole address, found by local part."""
    return execute(
        """SELECT alias_name, alias_domain_id, alias_full_name, alias_incoming_local
             FROM mail_alias WHERE alias_name IS NOT NULL ORDER BY alias_full_name""",
        database=db,
    )


def complaints(log: str) -> list[str]:
    """List the lines of a log that are worse than information."""
    words = (" WARNING ", " ERROR ", " CRITICAL ")
    return [line for line in log.splitlines() if any(word in line for word in words)]


def take_over(source: str, later: LaterOdoo, target: str) -> None:
    """Hand our tables over, let the later Odoo update, and print what became of them."""
    native = describe_all(target)
    # Domains refer to companies by id; both databases number them from 1
    ids = execute("SELECT id FROM res_company WHERE id > 1 ORDER BY id", database=source)
    later.run(target, stdin=COMPANIES.format(count=len(ids)), command="shell")
    hand_over(source, target)
    before, aliases = rows_of(target), aliases_of(target)
    log = later.run(target, "--update=mail", "--stop-after-init")
    after, aliases_after = rows_of(target), aliases_of(target)
    taken = describe_all(target)
    say(f"\nComplaints of Odoo {later.series} about {TABLE} while taking it over:")
    found = [line for line in complaints(log) if TABLE in line or "alias.domain" in line]
    say("\n".join(found) or "none")
    say("\nRows (name, bounce, catchall, default from, sequence, companies):")
    for old, new in zip(before, after, strict=True):
        say(f"- {old}" + ("" if old == new else f" -> {new}"))
    say("\nAliases (name, domain, whole address, by local part):")
    for old in aliases:
        say(f"- {old}" + ("" if old in aliases_after else " -> lost or changed"))
    say("")
    show(taken, native, f"{later.series}, installed afresh (left: taken over)")
    log = later.run(target, "--log-level=error", stdin=USE, command="shell")
    say("\nA new domain afterwards: " + "".join(log.splitlines(True)[-3:]).strip())


def main(argv: Sequence[str]) -> int:
    """Return the exit code."""
    try:
        later = chosen(argv, __doc__.splitlines()[0])
        with postgres(), database(["mail"]) as source:
            run_odoo(["shell", "-d", source], config=odoo_config(source), stdin=FILL)
            with later.database() as native:
                show(describe_all(source), describe_all(native), later.series)
                with clone(native) as target:
                    take_over(source, later, target)
    except (NoOdoo, NoPostgres, OdooError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
