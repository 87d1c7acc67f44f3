# SPDX-License-Identifier: LGPL-3.0-only
"""The part of the check-up that asks DNS, on a click."""

import time
from collections import defaultdict

from markupsafe import Markup

from odoo import _, fields, models, tools

from ..discovery import can_look_up
from ..models.dns_lookup import TIMEOUT, TOTAL_TIMEOUT, DnsLookup, look_up_each
from ..routing import (
    MailPath,
    ascii_domain,
    domain_of,
    names_to_ask,
    provider_at,
    read_mx,
    read_records,
    unicode_domain,
)

#: the DNS server to ask, as address or address:port, where it is not the system's
DNS_SERVER = "mail_company_routing.dns_server"


class MailCheckup(models.TransientModel):
    _inherit = "mail.checkup"

    can_look_up = fields.Boolean(compute="_compute_can_look_up")
    dns_report = fields.Html(string="DNS Records", readonly=True, sanitize=False)

    def _compute_can_look_up(self):
        for checkup in self:
            checkup.can_look_up = can_look_up()

    def _settings_lines(self):
        return super()._settings_lines().filtered(lambda line: not line.record_kind)

    def action_look_up(self):
        """Read the DNS records that mail depends on, and add what is wrong with them."""
        self.ensure_one()
        self.line_ids.filtered("record_kind").unlink()
        domains = self._paths_by_domain()
        server = self.env["ir.config_parameter"].sudo().get_param(DNS_SERVER) or ""
        mailboxes = self._providers_of_mailboxes()

        until = time.monotonic() + TOTAL_TIMEOUT

        def look(item):
            domain, paths = item
            return _look_up(domain, paths, mailboxes.get(domain), DnsLookup(server, until))

        results = look_up_each(look, domains.items()) if can_look_up() else []
        # nobody can change the records of a public domain, such as that of a login
        results = [
            ([check for check in checks if not self._is_public(check.domain)], lookup)
            for checks, lookup in results
        ]
        lines = {}  # several domains and servers may have the same to say
        for checks, _lookup in results:
            lines.update((line["name"], line) for line in self._record_lines(checks))
        self._add_lines(lines.values())
        self.dns_report = self._report(domains, results)
        return {"type": "ir.actions.act_window_close"}  # the form reloads

    # ------------------------------------------------------------
    # What to look for
    # ------------------------------------------------------------

    def _paths_by_domain(self):
        """Give what receivers see of Odoo's mail, by From's domain.

        :return: dict of domain -> list of :class:`~..routing.MailPath`; an empty list where mail
            only arrives: Reply-To, and delivery reports at the Return-Path
        """
        facts = self.env["mail.routing"]._sending_facts()
        mailboxes = self._providers_of_mailboxes()
        paths, arriving = defaultdict(list), set()
        for company, _draft, route in self._routes(facts):
            if route.failure:
                continue
            sender, envelope = map(_own_domain, (route.from_address, route.mail_from))
            arriving |= {envelope, _own_domain(company.routing_reply_to_example or "")}
            if sender and not self._is_public(sender):
                path = self._path(route, sender, envelope, mailboxes.get(sender))
                if path not in paths[sender]:
                    paths[sender].append(path)
        for domain in sorted(arriving - {""}):
            if not self._is_public(domain):
                paths.setdefault(domain, [])
        return dict(sorted(paths.items()))

    def _path(self, route, sender, envelope, fetched_at):
        server = self.env["ir.mail_server"].sudo().browse(route.server.id or ())
        host = server.smtp_host or tools.config.get("smtp_server") or ""
        return MailPath(
            server=route.server.name,
            from_domain=sender,
            mail_from_domain=envelope,
            provider=provider_at(host),
            host=host,
            fetched_at=fetched_at,
        )

    def _is_public(self, domain):
        """Tell whether a domain is public, so that its records cannot be changed."""
        return self.env["mail.provider"]._is_public(domain)

    def _providers_of_mailboxes(self):
        """Give domain -> the provider at which mailboxes of it are fetched."""
        found = {}
        for server in self.env["fetchmail.server"].sudo().search([("state", "=", "done")]):
            provider = provider_at(server.server or "")
            domain = _own_domain(server.user or "")
            if provider and domain:
                found.setdefault(domain, provider)
        return found

    # ------------------------------------------------------------
    # What was found
    # ------------------------------------------------------------

    def _record_lines(self, checks):
        """Give the findings of a domain as values of ``mail.checkup.line``."""
        translate = self.env["mail.routing"]._translate
        for check in checks:
            domain = unicode_domain(check.domain)
            for finding in check.findings:
                yield {
                    "name": finding.sentence(translate),
                    "grade": finding.grade,
                    "record_kind": check.kind,
                    "title": _("%(kind)s of %(domain)s", kind=check.kind, domain=domain),
                    "record_name": finding.name,
                    "record_type": finding.kind,
                    "record_expected": check.expectation(translate),
                    "record_seen": "\n".join(check.seen),
                    "record_paste": finding.paste,
                }

    def _report(self, domains, results):
        """Show what was expected and seen, of each domain and server."""
        if not can_look_up():
            return _report_note(_("dnspython is not installed: nothing was looked up."))
        if not domains:
            return _report_note(
                _("No mail leaves or arrives in a domain of yours: there is nothing to look up.")
            )
        cut_off = any(lookup.cut_off for _checks, lookup in results)
        if cut_off and not any(lookup.answered for _checks, lookup in results):
            return self._report_cut_off()
        if not any(lookup.answered for _checks, lookup in results):
            return _report_note(
                _(
                    "DNS did not answer within %s seconds, so nothing can be said of the records."
                    " Can Odoo's server reach a DNS server?",
                    TIMEOUT,
                )
            )
        parts = [self._report_cut_off()] if cut_off else []
        for (domain, paths), (checks, _lookup) in zip(domains.items(), results, strict=False):
            servers = ", ".join(dict.fromkeys(map(self._server_label, paths)))
            parts.append(
                Markup("<h4 class='mt-4 mb-0'>%s</h4><div class='text-muted mb-2'>%s</div>")
                % (
                    unicode_domain(domain),
                    _("Mail leaves by %s", servers) if servers else _("Answers arrive here"),
                )
            )
            parts += [self._report_check(check, domain) for check in checks]
        return Markup("").join(parts)

    def _report_cut_off(self):
        """Say that the DNS server knows nothing of the internet."""
        return _report_note(
            _(
                "The DNS server of this machine does not answer for the internet: it does not even"
                " know 'com'. So nothing can be said of names that it does not know. Have the"
                " machine ask another DNS server, or name one, as an IP address, in the system"
                " parameter '%s'.",
                DNS_SERVER,
            )
        )

    def _server_label(self, path):
        if not path.provider:
            return path.server
        return f"{path.server} ({self.env['mail.routing']._translate(path.provider.name)})"

    def _report_check(self, check, domain):
        """Show one kind of record.

        :param domain: under which it is shown; the record may be the Return-Path's domain's
        """
        translate = self.env["mail.routing"]._translate
        if check.findings:
            icon, word = "times text-danger", _("To be changed")
        elif check.known:
            icon, word = "check text-success", _("Right")
        else:
            icon, word = "question text-muted", _("Not known")
        seen = Markup(", ").join(
            Markup("<code class='text-break'>%s</code>") % text for text in check.seen
        )
        rows = [
            (_("Seen"), seen or (_("none") if check.known else _("no answer"))),
            (_("Expected"), check.expectation(translate)),
        ]
        if not check.known and check.expected[0] == "dkim":
            rows = [("", check.expectation(translate))]
        if check.domain != domain:
            rows.insert(0, (_("Domain"), unicode_domain(check.domain)))
        for finding in check.findings:
            if finding.paste:
                paste = Markup("<code class='text-break user-select-all'>%s</code>")
                label = _("Enter at %(name)s, type %(type)s", name=finding.name, type=finding.kind)
                rows.append((label, paste % finding.paste))
                break
        body = Markup("").join(
            Markup("<div><span class='text-muted'>%s</span> %s</div>") % row for row in rows
        )
        return (
            Markup(
                "<div class='d-flex mb-2'>"
                "<i class='fa fa-fw fa-%s flex-shrink-0 mt-1 me-2' title='%s'></i>"
                "<b class='o_mail_checkup_kind me-2'>%s</b><div>%s</div></div>"
            )
        ) % (icon, word, check.kind, body)


class MailCheckupLine(models.TransientModel):
    _inherit = "mail.checkup.line"

    record_kind = fields.Char(string="Kind of Record", help="MX, SPF, DKIM or DMARC")
    record_name = fields.Char(string="Name", help="Where the record stands")
    record_type = fields.Char(string="Type")
    record_expected = fields.Text(string="Expected")
    record_seen = fields.Text(string="Seen")
    record_paste = fields.Char(string="Record to Enter")

    def action_show_record(self):
        """Show what to enter at the domain's host."""
        self.ensure_one()
        view = self.env.ref("mail_company_routing.mail_checkup_line_view_form")
        return {
            "type": "ir.actions.act_window",
            "name": self.title,
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "views": [(view.id, "form")],
            "target": "new",
        }


def _look_up(domain, paths, fetched_at, lookup):
    """Look a domain's records up; it runs in a thread, without Odoo.

    :param lookup: :class:`~..models.dns_lookup.DnsLookup`, for this domain alone
    :return: (checks, the lookup, which can tell whether DNS answered)
    """
    lookup.prefetch(dict.fromkeys(name for path in paths for name in names_to_ask(path)))
    checks = [] if paths else [read_mx(domain, lookup, fetched_at)]
    for path in paths:
        # what several servers have in common is shown once
        checks += [check for check in read_records(path, lookup) if check not in checks]
    return checks, lookup


def _own_domain(address):
    """Give the domain of an address in ASCII, ``""`` where it has none that DNS could know."""
    try:
        return ascii_domain(domain_of(address))
    except ValueError:
        return ""


def _report_note(text):
    return Markup("<div class='alert alert-warning' role='alert'>%s</div>") % text
