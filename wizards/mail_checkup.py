# SPDX-License-Identifier: LGPL-3.0-only
import json
from datetime import timedelta
from typing import Any, NamedTuple

from odoo import _, api, fields, models
from odoo.tools import email_normalize, format_datetime

from ..models.mail_failure_shown import done
from ..routing import domain_of, is_restricted

# every company, domain and server is looked at
# pylint: disable=no-search-all

#: a mail that waits longer than this is a finding: the queue runs at least every hour
WAITING = timedelta(hours=2)


#: how bad a finding is, the worst first
GRADES = [
    ("stops", "Stops mail"),
    ("answers", "Loses answers"),
    ("better", "Could be better"),
]


class Finding(NamedTuple):
    """Something that is wrong.

    :param text: a sentence: what it is, and what helps
    :param records: those on which it is fixed
    :param grade: a key of :data:`GRADES`
    :param fix: where there is one right answer: a key of ``mail.checkup.line.fix``
    :param title: what the list of several records is called; ``""``: as their model
    :param domain: what finds all records, where ``records`` are the first two of too many
    """

    text: str
    records: Any
    grade: str = "better"
    fix: str = ""
    title: str = ""
    domain: Any = None


class MailCheckup(models.TransientModel):
    """What is wrong, or will be, with the mail settings; each finding leads to its cure."""

    _name = "mail.checkup"
    _description = "Mail Check-up"

    line_ids = fields.One2many("mail.checkup.line", "checkup_id", string="Findings", readonly=True)
    is_clean = fields.Boolean(compute="_compute_is_clean")

    @api.depends("line_ids")
    def _compute_is_clean(self):
        for checkup in self:
            checkup.is_clean = not checkup.line_ids

    def name_get(self):
        return [(checkup.id, _("Mail Check-up")) for checkup in self]

    @api.model
    def action_open(self):
        """Check everything, and show the findings."""
        checkup = self.create({})
        checkup._check()
        return {
            "type": "ir.actions.act_window",
            "name": _("Mail Check-up"),
            "res_model": self._name,
            "res_id": checkup.id,
            "view_mode": "form",
            "target": "current",
        }

    def _check(self):
        """Replace the findings by new ones, the worst first."""
        self._settings_lines().unlink()
        self._add_lines([self._line_of(Finding(*found)) for found in self._findings()])

    def _settings_lines(self):
        """Give the lines that a new check of the settings takes the place of."""
        return self.line_ids

    def _add_lines(self, lines):
        """Add lines, and put all in order.

        :param lines: list of values of ``mail.checkup.line``
        """
        self.line_ids.create([{**line, "checkup_id": self.id} for line in lines])
        self.invalidate_recordset(["line_ids"])
        ranks = {grade: rank for rank, (grade, _label) in enumerate(GRADES, 1)}
        for line in self.line_ids:
            line.sequence = ranks[line.grade]
        self.invalidate_recordset(["line_ids"])

    @api.model
    def _line_of(self, finding):
        records = finding.records
        several = len(records) > 1
        domain = finding.domain or [("id", "in", records.ids)]
        return {
            "name": finding.text,
            "grade": finding.grade,
            "fix": finding.fix,
            "title": finding.title,
            "res_model": records._name,
            "res_id": False if several else records.id,
            "res_domain": json.dumps(domain) if several else False,
        }

    @api.model
    def _findings(self):
        """List each :class:`Finding`, or the first fields of one: (text, records)."""
        facts = self.env["mail.routing"]._sending_facts()
        return [
            *self._check_mails(),
            *self._check_queue(),
            *self._check_companies(facts),
            *self._check_senders(facts),
            *self._check_answers(facts),
            *self._check_servers(facts),
            *self._check_basic_authentication(),
            *self._check_domains(facts),
            *self._check_aliases(facts),
        ]

    @api.model
    def _companies(self):
        """Give the companies that the user works in: nothing is told of others."""
        return self.env.user.company_ids if not self.env.su else self.env["res.company"].search([])

    @api.model
    def _check_companies(self, facts):
        companies = self._companies()
        for company in companies:
            if company.routing_warning:
                unused = not (company.mail_server_by_domain or company.mail_server_by_reply_to)
                yield Finding(company.routing_warning, company, fix="use_servers" if unused else "")
            yield from self._check_email_domain(company)
        by_address = {}
        for company in companies:
            fact = facts.company.get(company.id)
            if not fact:
                continue  # nothing is set: there are no options to look at
            if fact.reply_to_by_company or fact.mail_server_by_reply_to:
                by_address.setdefault(facts.reply_to_email(fact), []).append(company)
        for address, sharing in by_address.items():
            if address and len(sharing) > 1:
                yield Finding(
                    _(
                        "%(companies)s have one Reply-To address, %(address)s: answers to it cannot"
                        " tell whose they are. Give each a Reply-To Prefix or Email Domain of its"
                        " own.",
                        companies=", ".join(company.name for company in sharing),
                        address=address,
                    ),
                    sharing[-1],
                    "answers",
                )

    @api.model
    def _check_email_domain(self, company):
        """The domain that a company writes from, where another one owns it."""
        domain = company.sudo().alias_domain_id
        owner = domain.company_id
        if not owner or owner == company:
            return
        readable = domain.sudo(False)._filter_access_rules("read")
        yield Finding(
            _(
                "%(domain)s, the Email Domain of %(company)s, belongs to %(owner)s: what arrives"
                " there may be taken for %(owner)s's. Give the domain to %(company)s; or clear its"
                " Company, where both use it.",
                domain=domain.unicode_name,
                company=company.name,
                owner=owner.name,
            ),
            readable or company,
            "answers",
        )

    @api.model
    def _check_mails(self):
        """Mails that failed, and those that wait although their time has come."""
        # sudo: nobody sees but their number, and of companies that he works in
        mails = self.env["mail.mail"].sudo()
        mine = [("record_company_id", "in", [False, *self._companies().ids])]
        failed = [("state", "=", "exception"), *mine]
        count = mails.search_count(failed)
        if count:
            yield Finding(
                _("Failed mails: %s. Each says why, and what helps; then retry them.", count),
                mails.search(failed, limit=2),
                "stops",
                title=_("Failed Mails"),
                domain=failed,
            )
        waiting = [*self._domain_of_waiting(), *mine]
        count = mails.search_count(waiting)
        if count:
            cron = self.env["ir.cron"]._queue_manager()
            is_off = bool(cron) and not cron.active
            values = {"count": count, "hours": int(WAITING.total_seconds() // 3600)}
            text = (
                _(
                    "Mails that have been waiting for more than %(hours)s hours: %(count)s. The"
                    " scheduled action 'Mail: Email Queue Manager', which sends them, is off.",
                    **values,
                )
                if is_off
                else _(
                    "Mails that have been waiting for more than %(hours)s hours: %(count)s. Do"
                    " Odoo's scheduled actions run?",
                    **values,
                )
            )
            yield Finding(
                text,
                mails.search(waiting, limit=2),
                "stops",
                fix="run_queue" if is_off else "",
                title=_("Waiting Mails"),
                domain=waiting,
            )

    @api.model
    def _domain_of_waiting(self):
        """Give what finds the mails whose time came long ago, and that nothing holds up."""
        before = fields.Datetime.to_string(fields.Datetime.now() - WAITING)
        domain = [
            ("state", "=", "outgoing"),
            ("create_date", "<", before),
            "|",
            ("scheduled_date", "=", False),
            ("scheduled_date", "<", before),
        ]
        if not self.env["mail.routing"]._is_active():
            return domain
        # sudo: which servers pause is looked up, not shown
        lanes = self.env["mail.lane"].sudo()
        now = fields.Datetime.to_string(lanes._now())
        paused = lanes.search([("paused_until", ">", now)]).mapped("server_id")
        return [
            *domain,
            ("lane_server_id", "not in", paused),
            "|",
            ("next_try", "=", False),
            ("next_try", "<=", now),
        ]

    @api.model
    def _check_queue(self):
        """Servers that take no mail for the time being, and mails put off for hours."""
        server_ids, put_off = self.env["mail.lane"]._stuck()
        paused = self.env["ir.mail_server"].search(
            [("paused_until", "!=", False), ("id", "not in", server_ids)]
        )
        for server in self.env["ir.mail_server"].browse(server_ids).exists()._that_may_be_read():
            yield Finding(
                _(
                    "%(server)s has taken no mail since %(since)s; %(count)s mails wait, and are"
                    " tried again by themselves. It says: %(reason)s",
                    server=server.name,
                    since=format_datetime(self.env, server.failing_since),
                    count=server.waiting_count,
                    reason=server.pause_reason or _("no reason is known any more"),
                ),
                server,
                "stops",
                "try_now" if server.waiting_count else "",
            )
        for server in paused._that_may_be_read().filtered("waiting_count"):
            # a limit is what was asked for: the mail leaves once it allows
            fails = bool(server.failing_since)
            yield Finding(
                _(
                    "%(server)s is paused until %(until)s; %(count)s mails wait, and are sent by"
                    " themselves then. It says: %(reason)s",
                    server=server.name,
                    until=format_datetime(self.env, server.paused_until),
                    count=server.waiting_count,
                    reason=server.pause_reason or _("no reason is known any more"),
                ),
                server,
                "stops" if fails else "better",
                "try_now" if fails else "",
            )
        if put_off:
            yield (
                _(
                    "Mails that a provider has put off for more than four hours: %s. Each says why;"
                    " they are tried again by themselves.",
                    len(put_off),
                ),
                self.env["mail.mail"].browse(put_off),
            )

    @api.model
    def _check_senders(self, facts):
        """Companies that cannot send, and authors who do not leave as they are."""
        routing = self.env["mail.routing"]
        told = set()
        for company, draft, route in self._routes(facts):
            if route.failure:
                if route.failure.key not in told:
                    told.add(route.failure.key)
                    unused = route.failure.rule == "no_server_unused"
                    yield Finding(
                        routing._sentence(route.failure),
                        company,
                        "stops",
                        fix="use_servers" if unused else "",
                    )
                continue
            finding = self._check_sender(company, draft, route)
            if finding and finding.text not in told:
                told.add(finding.text)
                yield finding

    @api.model
    def _routes(self, facts):
        """Yield (company, draft, route) for each domain that mail of a company may come from."""
        routing = self.env["mail.routing"]
        for company in self._companies():
            for address, user in self._addresses_of(company, facts):
                (draft,) = routing._drafts_of(
                    [
                        {
                            "email_from": address,
                            "author_id": user.partner_id.id,
                            "record_company_id": company.id,
                            "reply_to": address,
                            "reply_to_force_new": True,
                        }
                    ]
                )
                yield company, draft, routing._decide(draft)

    @api.model
    def _addresses_of(self, company, facts):
        """List (address, user): one for each domain that mail of a company may come from.

        :return: its colleagues' own addresses; then of its domains, with no user behind them
        """
        users = self.env["res.users"].sudo()
        found = {}
        for user in users.search([("company_ids", "in", company.ids), ("share", "=", False)]):
            if user.email_normalized:
                found.setdefault(domain_of(user.email_normalized), (user.email_normalized, user))
        for domain in facts.domains:
            if company.id == domain.company_id or domain.id == company.alias_domain_id.id:
                found.setdefault(domain.name, (f"{domain.catchall_alias}@{domain.name}", users))
        return list(found.values())

    @api.model
    def _check_sender(self, company, draft, route):
        """Say what is wrong with the From that a route gives; None: nothing."""
        if route.restricted:
            return None
        server = self.env["ir.mail_server"].browse(route.server.id or ())
        rules = {reason.rule for reason in route.reasons}
        address = draft.email_from
        if "from_notification" in rules:
            if not route.server.from_filter:
                return Finding(
                    _(
                        "Mail that %(address)s and others of %(domain)s write for %(company)s"
                        " leaves as %(notification)s: the Alias Domain table does not have that"
                        " domain for this company. Enter it there for %(company)s, or turn on Mail"
                        " From by Company.",
                        address=address,
                        domain=domain_of(address),
                        company=company.name,
                        notification=route.from_address,
                    ),
                    company,
                )
            return Finding(
                _(
                    "Mail that %(address)s and others of %(domain)s write for %(company)s leaves as"
                    " %(notification)s: the FROM Filtering of %(server)s does not let them pass."
                    " Clear it, or set up a server for that domain.",
                    address=address,
                    domain=domain_of(address),
                    company=company.name,
                    notification=route.from_address,
                    server=route.server.name,
                ),
                server or company,
                fix="clear_filter" if server else "",
            )
        if "from_stays_unlike_filter" in rules:
            return Finding(
                _(
                    "No server of %(company)s lets %(domain)s pass: %(server)s has the FROM"
                    " Filtering %(filter)s, and its provider may refuse the mail. Clear it, or set"
                    " up a server for that domain.",
                    company=company.name,
                    domain=domain_of(route.from_address),
                    server=route.server.name,
                    filter=route.server.from_filter,
                ),
                server or company,
                "stops",
                fix="clear_filter" if server else "",
            )
        return None

    @api.model
    def _check_answers(self, facts):
        """Addresses that answers go to, and that nobody fetches."""
        told = set()
        for company in self._companies():
            address = company.routing_reply_to_example
            if not address or self._is_answered(address, company, facts) or address in told:
                continue
            told.add(address)
            yield Finding(
                _(
                    "Answers to mail of %(company)s go to %(address)s, which Odoo does not fetch."
                    " Set up an incoming server for that mailbox, or have its mail forwarded to one"
                    " that is fetched.",
                    company=company.name,
                    address=address,
                ),
                company,
                "answers",
            )
        templates = self.env["mail.template"].search([("reply_to", "ilike", "company_id.email")])
        for company in self._companies() if templates else ():
            address = email_normalize(company.email) or ""
            if address and not self._is_answered(address, company, facts):
                yield Finding(
                    _(
                        "Templates such as '%(template)s' ask for answers at %(address)s, the"
                        " address of %(company)s, which Odoo does not fetch. Clear their Reply-To,"
                        " or set up an incoming server for that mailbox.",
                        template=templates[0].name,
                        address=address,
                        company=company.name,
                    ),
                    templates,
                    "answers",
                    title=_("Email Templates"),
                )

    @api.model
    def _is_answered(self, address, company, facts):
        """Tell whether mail to an address comes to Odoo, or another finding says why not."""
        address = address.lower()
        if address in (login.lower() for login in facts.mailboxes):
            return True
        domain = facts.domain_named.get(domain_of(address))
        if domain:
            return facts.has_catch_all(domain)  # whether that is fetched is a finding of its own
        general = domain_of(address) == facts.settings.catchall_domain
        return general and facts.settings.catch_all and bool(facts.mailboxes)

    @api.model
    def _check_servers(self, facts):
        providers = self.env["mail.provider"].search([("has_catch_all", "=", False)])
        hosts = {provider.smtp_host: provider for provider in providers if provider.smtp_host}
        for server in self.env["ir.mail_server"].search([]):
            fact = facts.server.get(server.id)
            if not fact:
                continue  # another addon withholds it, as on a staging database
            if is_restricted(fact, facts):
                if not fact.sender_address:
                    yield Finding(
                        _(
                            "%s lets only its own login send, but has no Login Address.",
                            server.name,
                        ),
                        server,
                        "stops",
                    )
                yield from self._check_shared(server, fact, facts)
            elif server.smtp_host in hosts and hosts[server.smtp_host].restricted:
                yield Finding(
                    _(
                        "%(server)s is at %(provider)s, which lets only the login send: set its"
                        " Sender Policy to 'Only the login may send', or turn on Restrict"
                        " Username.",
                        server=server.name,
                        provider=hosts[server.smtp_host].name,
                    ),
                    server,
                    "stops",
                    fix="restrict",
                )

    @api.model
    def _check_shared(self, server, fact, facts):
        """Find a server that was set up for one company, and by now serves others as well.

        Its login is in the Email Domain of that company: others' mail leaves from there.
        """
        domain = fact.sender_address.partition("@")[2]
        owners = [
            company
            for company in facts.companies
            if company.domain_id and facts.domain[company.domain_id].name == domain
        ]
        if fact.company_id or len(owners) != 1:
            return
        with_servers = {one.company_id for one in facts.servers}
        others = self._companies().filtered(
            lambda company: company.id != owners[0].id and company.id not in with_servers
        )
        if others:
            yield Finding(
                _(
                    "%(server)s has no company. So the mail of %(others)s, which have no server of"
                    " their own, leaves from %(address)s, the domain of %(owner)s. If that is not"
                    " wanted, set the server's company, and set up a mailbox for the others.",
                    server=server.name,
                    others=", ".join(others.mapped("name")),
                    address=fact.sender_address,
                    owner=owners[0].name,
                ),
                server,
                "better",
            )

    @api.model
    def _check_basic_authentication(self):
        """Servers that log in by a password for as long as their provider goes on taking one."""
        for server in self.env["ir.mail_server"].search([("smtp_authentication", "=", "login")]):
            note = self.env["mail.provider"]._basic_authentication_note(server.smtp_host)
            if note and server.smtp_user:
                yield _("%(server)s: %(note)s", server=server.name, note=note), server

    @api.model
    def _check_domains(self, facts):
        for domain in self.env["mail.alias.domain"].search([]):
            fact = facts.domain[domain.id]
            for alias, address in (
                (_("bounce alias"), domain.bounce_email),
                (_("catchall alias"), domain.catchall_email),
            ):
                # a mailbox that is fetched may well be the domain's catchall
                taken = facts.mailboxes_in_use
                if address == domain.catchall_email:
                    taken = taken - set(facts.mailboxes)
                if facts.has_catch_all(fact) and address in taken:
                    yield Finding(
                        _(
                            "The %(alias)s of %(domain)s, %(address)s, is also the login of a mail"
                            " server: Odoo would take real mail to it for delivery reports or"
                            " answers. Choose another alias.",
                            alias=alias,
                            domain=domain.unicode_name,
                            address=address,
                        ),
                        domain,
                        "answers",
                    )
            provider = self._provider_without_catch_all(domain)
            if facts.has_catch_all(fact) and provider:
                yield Finding(
                    _(
                        "Catch All is on for %(domain)s, but its company sends through"
                        " %(provider)s, which is not known to have one. Turn the domain's Catch All"
                        " off, unless you set one up there.",
                        domain=domain.unicode_name,
                        provider=provider.name,
                    ),
                    domain,
                    "answers",
                    fix="no_catch_all",
                )
            if facts.has_catch_all(fact) and not self._is_fetched(domain, facts):
                yield Finding(
                    _(
                        "Catch All is on for %s, but no confirmed incoming server fetches a mailbox"
                        " of it: answers may never arrive. Set up an incoming server, or turn the"
                        " domain's Catch All off.",
                        domain.unicode_name,
                    ),
                    domain,
                    "answers",
                )

    @api.model
    def _provider_without_catch_all(self, domain):
        """Give the provider, known to have no catch-all, of the servers of a domain's company."""
        servers = self.env["ir.mail_server"].search([("company_id", "=", domain.company_id.id)])
        return self.env["mail.provider"].search(
            [("has_catch_all", "=", False), ("smtp_host", "in", servers.mapped("smtp_host"))],
            limit=1,
        )

    @api.model
    def _is_fetched(self, domain, facts):
        """Tell whether a mailbox of the domain, or of its company, is fetched."""
        if any(login.endswith(f"@{domain.name}") for login in facts.mailboxes):
            return True
        company = facts.company.get(domain.company_id.id)
        return bool((company and company.mailbox) or facts.mailbox)

    @api.model
    def _check_aliases(self, facts):
        """Aliases that no mail reaches, by a catch-all or by a mailbox of their own."""
        mailboxes = {login.lower() for login in facts.mailboxes}
        locals_ = {login.partition("@")[0] for login in mailboxes}
        general = facts.settings.catch_all and facts.settings.catchall_domain
        anywhere = general or any(map(facts.has_catch_all, facts.domains))
        for alias in self.env["mail.alias"].search([("alias_name", "!=", False)]):
            domain = facts.domain.get(alias.alias_domain_id.id)
            if alias.alias_incoming_local:
                reached = anywhere or alias.alias_name in locals_
            else:
                catch_all = facts.has_catch_all(domain) if domain else general
                reached = catch_all or alias.display_name.lower() in mailboxes
            if not reached:
                yield Finding(self._nobody_reaches(alias), alias, "answers")

    @api.model
    def _nobody_reaches(self, alias):
        if alias.alias_domain_id:
            return _(
                "Nobody can reach the alias %s: its domain has no catch-all, and no mailbox of that"
                " address is fetched. If it is needed, have such a mailbox fetched, or its mail"
                " forwarded to one that is; else remove the alias.",
                alias.display_name,
            )
        return _(
            "Nobody can reach the alias '%s': no domain has a catch-all, and no mailbox"
            " of that name is fetched. If it is needed, have such a mailbox fetched, or"
            " its mail forwarded to one that is; else remove the alias.",
            alias.alias_name,
        )


class MailCheckupLine(models.TransientModel):
    _name = "mail.checkup.line"
    _description = "Finding of the Mail Check-up"
    _order = "sequence, id"

    checkup_id = fields.Many2one("mail.checkup", required=True, ondelete="cascade")
    sequence = fields.Integer()
    name = fields.Char(string="Finding", required=True)
    grade = fields.Selection(GRADES, required=True, default="better")
    fix = fields.Selection(
        [
            ("clear_filter", "Clear FROM Filtering"),
            ("no_catch_all", "Turn Catch All Off"),
            ("restrict", "Only the Login May Send"),
            ("run_queue", "Turn the Queue On"),
            ("try_now", "Try Now"),
            ("use_servers", "Use Its Servers"),
        ],
        help="What the button does, where there is one right answer",
    )
    title = fields.Char()
    res_model = fields.Char()
    res_id = fields.Integer(string="Record")
    res_domain = fields.Char(string="Records", help="Of several records: what finds them, as JSON")

    def _records(self):
        """Give the records on which the finding is fixed."""
        self.ensure_one()
        records = self.env[self.res_model]
        if self.res_domain:
            return records.with_context(active_test=False).search(json.loads(self.res_domain))
        return records.browse(self.res_id or ()).exists()

    def action_mend(self):
        """Open the record, or the list of records, on which the finding is fixed."""
        self.ensure_one()
        if self.res_domain:
            return {
                "type": "ir.actions.act_window",
                "name": self.title or self.env["ir.model"]._get(self.res_model).name,
                "res_model": self.res_model,
                "domain": json.loads(self.res_domain),
                "view_mode": "tree,form",
                "views": [(False, "list"), (False, "form")],
                "target": "current",
            }
        return {
            "type": "ir.actions.act_window",
            "name": self.env["ir.model"]._get(self.res_model).name,
            "res_model": self.res_model,
            "res_id": self.res_id,
            "view_mode": "form",
            "views": [(False, "form")],
            "target": "current",
        }

    def action_fix(self):
        """Fix the finding, say so, and check everything again; the form stays open.

        :raises UserError: it cannot be fixed; the sentence says why
        """
        self.ensure_one()
        records = self._records()
        told = getattr(self, f"_fix_{self.fix}")(records) if records else ""
        checkup = self.checkup_id
        checkup._check()  # this line is gone now
        if told:
            return done(told, "success")
        return done(_("That is no longer there; everything was checked anew."), "info")

    def _fix_clear_filter(self, servers):
        servers.write({"from_filter": False})
        return _("%s lets every sender pass now.", ", ".join(servers.mapped("name")))

    def _fix_no_catch_all(self, domains):
        domains.write({"catch_all": "no"})
        return _("Catch All is off for %s now.", ", ".join(domains.mapped("unicode_name")))

    def _fix_restrict(self, servers):
        servers.write({"sender_policy": "login"})
        return _("%s lets only its own login send now.", ", ".join(servers.mapped("name")))

    def _fix_run_queue(self, mails):
        crons = self.env["ir.cron"]
        crons._queue_manager().active = True
        crons._trigger_queue()
        return _("The queue is on; %s waiting mails are sent within a minute or two.", len(mails))

    def _fix_try_now(self, servers):
        return servers.action_try_now()["params"]["message"]

    def _fix_use_servers(self, companies):
        companies.write({"mail_server_by_domain": True})
        return _("%s uses its own servers now.", ", ".join(companies.mapped("name")))
