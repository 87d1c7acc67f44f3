# SPDX-License-Identifier: LGPL-3.0-only
"""Give the addon and a later Odoo the same aliases and the same mails, and set side by side what
becomes of each.

::

    PYTHONPATH=. python tests/upgrade/compare_aliases.py --odoo ~/odoo/19.0 --python PYTHON

A difference that is not explained here fails.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from later import chosen

from dev.odoo import (
    NoOdoo,
    NoPostgres,
    OdooError,
    database,
    odoo_config,
    postgres,
    run_odoo,
)
from dev.shared import say

#: label -> To, Cc, Delivered-To, and whether it answers a contact's message
MAILS = {
    "to a.com's": ("sales@a.com", "", "", False),
    "to b.com's, in capitals": ("SALES@B.COM", "", "", False),
    "to both": ("sales@a.com, sales@b.com", "", "", False),
    "in copy": ("x@example.org", "sales@b.com", "", False),
    "Delivered-To": ("x@example.org", "", "sales@b.com", False),
    "punycode": ("sales@xn--bcher-kva.de", "", "", False),
    "in one's own script": ("sales@bücher.de", "", "", False),
    "plus-address": ("sales+x@a.com", "", "", False),
    "a name that is elsewhere": ("sales@c.com", "", "", False),
    "at a stranger's domain": ("sales@example.org", "", "", False),
    "local part, no domain": ("jobs@example.org", "", "", False),
    "local part, another alias's address": ("jobs@b.com", "", "", False),
    "local part, with a domain": ("old@example.org", "", "", False),
    "nobody": ("nobody@a.com", "", "", False),
    "to the catchall": ("catchall@b.com", "", "", False),
    "to the catchall, an alias in copy": ("catchall@b.com", "sales@a.com", "", False),
    "an alias to, the catchall in copy": ("sales@a.com", "catchall@b.com", "", False),
    "to the bounce address": ("bounce@b.com", "", "", False),
    "to a stranger's bounce address": ("bounce@example.org", "sales@a.com", "", False),
    "answer to the catchall": ("catchall@a.com", "", "", True),
    "answer to an alias of the document's model": ("sales@a.com", "", "", True),
    "answer to an alias of another model": ("channel@b.com", "", "", True),
    "answer to that name in another domain": ("channel@a.com", "", "", True),
    "answer, another model's in copy": ("catchall@a.com", "channel@b.com", "", True),
}

#: what differs on purpose: why
EXPLAINED = {
    "in one's own script": "19.0 compares a domain as it is written in the header with the table",
    "a name that is elsewhere": "19.0 gives the mail up; here its sender is told that there is no"
    " such mailbox",
    "local part, another alias's address": "19.0 makes a record by each of them; here the whole"
    " address comes first",
}

SCRIPT = """
import json
from email.message import EmailMessage

MAILS = json.loads(%r)
is_addon = "mail.routing" in env
a = env.company
b, c = env["res.company"].create([{"name": "B"}, {"name": "C"}])
domains = {}
for company, name in ((a, "a.com"), (b, "b.com"), (c, "c.com"), (None, "xn--bcher-kva.de")):
    values = {"name": name, "catchall_alias": "catchall", "bounce_alias": "bounce"}
    if is_addon:
        values["company_id"] = company.id if company else False
    domains[name] = env["mail.alias.domain"].create(values)
    if company:
        company.alias_domain_id = domains[name]
domains[""] = env["mail.alias.domain"]
channel = env["mail.channel" if is_addon else "discuss.channel"].create({"name": "C"})
partner_model = env["ir.model"]._get_id("res.partner")
for name, domain, local in (
    ("sales", "a.com", False), ("sales", "b.com", False), ("sales", "xn--bcher-kva.de", False),
    ("jobs", "", True), ("jobs", "b.com", False), ("old", "b.com", True),
):
    env["mail.alias"].create({
        "alias_name": name, "alias_domain_id": domains[domain].id, "alias_incoming_local": local,
        "alias_model_id": partner_model, "alias_contact": "everyone",
        "alias_defaults": repr({"name": f"{name}@{domain}"}),
    })
env["mail.alias"].create({
    "alias_name": "channel", "alias_domain_id": domains["b.com"].id, "alias_contact": "everyone",
    "alias_model_id": env["ir.model"]._get_id(channel._name), "alias_force_thread_id": channel.id,
})
document = env["res.partner"].create({"name": "Document"})
reference = document.message_post(body="Offer").message_id
outcomes = {}
for number, (label, (to, cc, delivered, answers)) in enumerate(MAILS.items()):
    message = EmailMessage()
    sender = f"sender{number}@example.net"
    message["From"], message["Subject"] = sender, label
    message["Message-ID"] = f"<{number}@example.net>"
    if answers:
        message["In-Reply-To"] = reference
    message.set_content("Hello")
    lines = [f"{name}: {value}" for name, value in
             (("To", to), ("Cc", cc), ("Delivered-To", delivered)) if value]
    raw = ("\\r\\n".join(lines) + "\\r\\n").encode() + message.as_bytes()
    last = env["res.partner"].search([], order="id desc", limit=1).id
    told = len(document.message_ids), len(channel.message_ids)
    try:
        with env.cr.savepoint():
            env["mail.thread"].with_context(
                mail_company_routing_send_later=True
            ).message_process(None, raw)
        made = sorted(env["res.partner"].search([("id", ">", last)]).mapped("name"))
        if len(document.message_ids) > told[0]:
            made.append("the document")
        if len(channel.message_ids) > told[1]:
            made.append("the channel")
        if env["mail.mail"].search([("email_to", "like", sender)]):
            made.append("refused")
        outcomes[label] = ", ".join(made) or "report"
    except ValueError as error:
        outcomes[label] = "given up" if "No possible route" in str(error) else str(error)
print("OUTCOMES", json.dumps(outcomes))
"""


def outcomes_of(log: str) -> dict[str, str]:
    """Read what the script printed."""
    (line,) = (line for line in log.splitlines() if "OUTCOMES {" in line)
    return json.loads(line.partition("OUTCOMES ")[2])


def main(argv: Sequence[str]) -> int:
    """Return the exit code."""
    script = SCRIPT % json.dumps(MAILS)
    try:
        later = chosen(argv, __doc__.splitlines()[0])
        with postgres(), database(["mail"]) as ours, later.database() as theirs:
            run = run_odoo(["shell", "-d", ours], config=odoo_config(ours), stdin=script)
            left = outcomes_of(run.stdout)
            right = outcomes_of(later.run(theirs, stdin=script, command="shell"))
    except (NoOdoo, NoPostgres, OdooError) as error:
        say(str(error))
        return 1
    unexplained = 0
    say(f"| mail | To / Cc | addon on 16.0 | {later.series} | |")
    say("|---|---|---|---|---|")
    for label, (to, cc, delivered, _answers) in MAILS.items():
        why = "" if left[label] == right[label] else EXPLAINED.get(label)
        unexplained += why is None
        words = "same" if why == "" else why or "**not explained**"
        addresses = " / ".join(filter(None, (to, cc, delivered)))
        say(f"| {label} | {addresses} | {left[label]} | {right[label]} | {words} |")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
