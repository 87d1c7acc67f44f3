# SPDX-License-Identifier: LGPL-3.0-only
"""Carry what Mail Company Routing knows to Odoo 17 or later, which has no such addon.

    odoo-bin shell -c odoo.conf -d DATABASE --no-http < upgrade_17.py

Run it twice: on 16.0 as the last thing before the upgrade, on 17 or later as the first thing after
it. The first run keeps a plan in the system parameter ``mail_company_routing.upgrade_plan``, the
second one carries it out. Both print what a person has to decide. See upgrading.md.
"""

# pylint: disable=print-used,invalid-commit
import json

PLAN = "mail_company_routing.upgrade_plan"
ADDON = "mail_company_routing"

env = env(context={**env.context, "active_test": False})  # noqa: F821
parameters = env["ir.config_parameter"].sudo()


# --- on 16.0 -------------------------------------------------------------------------------


def make_plan():
    """Return what the upgrade would forget, as plain data with names instead of ids."""
    catch_all = parameters.get_param(f"{ADDON}.catch_all", "True") == "True"
    restrict = parameters.get_param(f"{ADDON}.restrict_username", "False") == "True"
    domains = {
        domain.name: {
            "active": domain.active,
            "catch_all": domain.catch_all == "yes" or domain.catch_all == "default" and catch_all,
            "catchall_alias": domain.catchall_alias or "catchall",
            "bounce_alias": domain.bounce_alias or "bounce",
            "default_from": domain.default_from or "notifications",
            "reply_domain": domain.reply_domain_id.name,
        }
        for domain in env["mail.alias.domain"].search([])
    }
    # A run before this one may have moved it from the parameter into the plan
    earlier = json.loads(parameters.get_param(PLAN) or "{}")
    general = parameters.get_param("mail.catchall.domain") or earlier.get("general")
    if general and general not in domains:
        domains[general] = {
            "active": True,
            "catch_all": catch_all,
            "catchall_alias": parameters.get_param("mail.catchall.alias") or "catchall",
            "bounce_alias": parameters.get_param("mail.bounce.alias") or "bounce",
            "default_from": parameters.get_param("mail.default.from") or "notifications",
            "reply_domain": False,
        }
    companies = {}
    for company in env["res.company"].search([]):
        own = env["mail.alias.domain"].search(
            [("company_id", "=", company.id), ("active", "=", True)]
        )
        companies[company.id] = {
            "domain": company.alias_domain_id.name or general,
            "domains": (company.alias_domain_id | own).mapped("name"),
            "prefix": company.reply_to_by_company and company.reply_to_prefix,
            "from_by_company": company.email_from_by_company,
            "uses_servers": company.mail_server_by_domain or company.mail_server_by_reply_to,
            "mailbox": mailbox_of(company),
        }
    servers = {}
    for server in env["ir.mail_server"].search([]):
        by_default = server.sender_policy == "default" and server.smtp_user and restrict
        servers[server.id] = {
            "company": server.company_id.id,
            "login": (server.sender_policy == "login" or by_default) and server.sender_address,
        }
    users = [
        [user.login, company.name, user.with_company(company).alias_domain_id.name]
        for user in env["res.users"].search([])
        for company in user.company_ids
        if user.with_company(company).alias_domain_id
    ]
    aliases = {
        alias.id: [alias.alias_name, alias.alias_domain_id.name, alias.alias_incoming_local]
        for alias in env["mail.alias"].search([("alias_name", "!=", False)])
    }
    return {
        "aliases": aliases,
        "general": general,
        "domains": domains,
        "companies": companies,
        "servers": servers,
        "users": users,
    }


def mailbox_of(company):
    """Return the login of the incoming server that fetches a company's answers.

    False where it makes records too: from 17 on new mail to a catchall address is refused.
    """
    for owner in (company.id, False):
        server = env["fetchmail.server"].search(
            [("company_id", "=", owner), ("state", "=", "done"), ("active", "=", True)], limit=1
        )
        if server:
            return not server.object_id and server.user
    return False


def before():
    plan = make_plan()
    parameters.set_param(PLAN, json.dumps(plan))
    general = plan["general"]
    if env["mail.alias.domain"].search([("name", "=", general)]):
        parameters.set_param("mail.catchall.domain", False)
        print(f"- {general}: in the table already, so no longer the general alias domain")
    for domain in env["mail.alias.domain"].search([]):
        if not (domain.catchall_alias and domain.bounce_alias):
            print(f"- {domain.name}: no empty alias from 17 on, it becomes catchall or bounce")
        if not domain.active:
            print(f"- {domain.name}: is archived; later there is no archive, it comes back")
    print(f"Plan kept for {len(plan['domains'])} domains, {len(plan['servers'])} servers.")


# --- on 17 or later ------------------------------------------------------------------------


def attempt(what, record, values):
    """Write ``values``; print instead of failing where this Odoo does not accept them."""
    try:
        with env.cr.savepoint():
            record.write(values)
            env.flush_all()
            print(f"- {what}: {', '.join(f'{name} = {values[name]}' for name in values)}")
    except Exception as error:
        env.invalidate_all()
        print(f"! {what}: {values} refused: {error}")


def only(values):
    """Return the one value that all have, None if they differ or there is none."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def apply_domains(plan):
    """Give every domain the reply and sender addresses that 17 can express.

    A reply prefix, or the mailbox that is really fetched, becomes the catchall alias; the login
    that all mail has to be from becomes the default sender.
    """
    servers = env["ir.mail_server"].search([("active", "=", True)], order="sequence, id")
    domains = {domain.name: domain for domain in env["mail.alias.domain"].search([])}
    for name, facts in plan["domains"].items():
        aliases = ("catchall_alias", "bounce_alias", "default_from")
        if name not in domains:
            values = {alias: facts[alias] for alias in aliases}
            domains[name] = env["mail.alias.domain"].create({"name": name, **values})
        values = {}
        users = {
            id_: company for id_, company in plan["companies"].items() if company["domain"] == name
        }
        mailbox, at, host = (only(c["mailbox"] for c in users.values()) or "").partition("@")
        if all(company["prefix"] for company in users.values()):
            catchall = only(company["prefix"] for company in users.values())
        elif not facts["catch_all"] and at and host == name:
            catchall = mailbox
        else:
            catchall = None
        if catchall:
            values["catchall_alias"] = catchall
        elif users and not facts["catch_all"]:
            print(f"! {name}: has no catch-all; answers now go to {facts['catchall_alias']}@{name}")
        login = only(first_login(plan, servers, id_) for id_ in users)
        if login:
            values["default_from"] = login
        if values:
            attempt(name, domains[name], values)
        if facts["reply_domain"]:
            print(f"! {name}: answers no longer go to {facts['reply_domain']}, no counterpart")
        if not facts["active"]:
            print(f"! {name}: was archived; delete it if nobody writes to it")
    return domains


def first_login(plan, servers, company_id):
    """Return the login that all mail of a company had to be from, False if it had none."""
    facts = {id_: plan["servers"].get(str(id_), {}) for id_ in servers.ids}
    uses = plan["companies"][company_id]["uses_servers"]
    own = [id_ for id_ in servers.ids if uses and facts[id_].get("company") == int(company_id)]
    candidates = own or [id_ for id_ in servers.ids if not facts[id_].get("company")]
    return candidates and facts[candidates[0]].get("login")


def apply_companies(plan, domains):
    for id_, facts in plan["companies"].items():
        company = env["res.company"].browse(int(id_)).exists()
        domain = domains.get(facts["domain"])
        if company and domain and company.alias_domain_id != domain:
            attempt(company.name, company, {"alias_domain_id": domain.id})
        if company and facts["from_by_company"]:
            print(f"! {company.name}: From is now the author's own address, whatever the company")


def apply_servers(plan):
    """Say by from_filter what the company and the policy of a server said."""
    taken = {}
    for id_, facts in plan["servers"].items():
        server = env["ir.mail_server"].browse(int(id_)).exists()
        if not server:
            continue
        company = plan["companies"].get(str(facts["company"]))
        wanted = facts["login"] or server.from_filter
        if company and not wanted:
            wanted = ",".join(company["domains"])
        if wanted and wanted != server.from_filter:
            attempt(server.name, server, {"from_filter": wanted})
        if company and not wanted:
            print(f"! {server.name}: its company has no domain; it sends everybody's mail now")
        if company and not company["uses_servers"]:
            print(f"! {server.name}: its company did not use its servers; it does now")
        for part in (wanted or "").split(",") if server.active and wanted else ():
            owner = taken.setdefault(part, (facts["company"], server.name))
            if owner[0] != facts["company"]:
                print(f"! {server.name}: never picked for {part}, {owner[1]} has it too")


def apply_aliases(plan, domains):
    """Give every alias back its name and domain; one that had none gets its owner's company's.

    Uninstalling the addon renames what has the name of another alias.
    """
    general = domains.get(plan["general"], env["mail.alias.domain"])
    known = {int(id_): facts for id_, facts in plan.get("aliases", {}).items()}
    aliases = env["mail.alias"].search([])
    # those that have a domain first: they only take what is their own
    for alias in aliases.sorted(lambda alias: not known.get(alias.id, [None, None])[1]):
        name, domain_name, local = known.get(alias.id, (alias.alias_name, None, None))
        domain = domains.get(domain_name) or owners_domain(alias, general)
        values = {}
        if name != alias.alias_name:
            values["alias_name"] = name
        if domain and alias.alias_domain_id != domain:
            values["alias_domain_id"] = domain.id
        if local is not None and alias.alias_incoming_local != local:
            values["alias_incoming_local"] = local
        if values:
            attempt(alias.display_name, alias, values)


def owners_domain(alias, general):
    """Return the Email Domain of the company of the record that has an alias."""
    company = env["res.company"]
    for model, id_ in (
        (alias.alias_parent_model_id.model, alias.alias_parent_thread_id),
        (alias.alias_model_id.model, alias.alias_force_thread_id),
    ):
        if id_ and model in env and "company_id" in env[model]:
            company = company or env[model].browse(id_).exists().company_id
    return company.alias_domain_id or general or env.company.alias_domain_id


def after():
    plan = json.loads(parameters.get_param(PLAN) or "{}")
    if not plan:
        print(f"No plan ({PLAN}): run this on 16.0 before the upgrade.")
        return
    # A second domain of the same name is allowed from 17 on
    env.cr.execute("ALTER TABLE mail_alias_domain DROP CONSTRAINT IF EXISTS"
                   " mail_alias_domain_name_uniq")  # fmt: skip
    # So is one name in several domains, which an index guards
    env.cr.execute("ALTER TABLE mail_alias DROP CONSTRAINT IF EXISTS"
                   " mail_alias_alias_unique")  # fmt: skip
    domains = apply_domains(plan)
    apply_companies(plan, domains)
    apply_servers(plan)
    apply_aliases(plan, domains)
    for login, company, domain in plan["users"]:
        print(f"! {login}: wrote from {domain} for {company}; no counterpart")
    # Its company rule names a field that is gone, so that nobody could read a domain
    rules = env["ir.model.data"].search([("module", "=", ADDON), ("model", "=", "ir.rule")])
    env["ir.rule"].browse(rules.mapped("res_id")).exists().unlink()
    addon = env["ir.module.module"].search([("name", "=", ADDON), ("state", "!=", "uninstalled")])
    if addon:
        addon.button_uninstall()
        print("Now run odoo-bin -u mail --stop-after-init: it finishes uninstalling the addon.")


if "mail.alias.domain" in env and "company_id" in env["mail.alias.domain"]:
    before()
else:
    after()
env.cr.commit()
