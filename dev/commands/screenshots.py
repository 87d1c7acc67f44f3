# SPDX-License-Identifier: LGPL-3.0-only
"""``make screenshots``: pictures of the addon's screens, taken from a running Odoo.

A database is made and furnished with the companies of the worked examples, Odoo serves it on
loopback, and Chromium opens each screen, in both languages, on a desk and on a phone:
``docs/images/<screen>_<language>_<width>.png``. ARGS chooses screens by their names.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from PIL import Image

from dev.browser import Browser, BrowserError, chromium, find_browser
from dev.commands.demo import SALES_LOGIN, OdooOffice, registry
from dev.commands.story import CUSTOMER, DOMAIN, LOGIN, PASSWORD, new_provider
from dev.dns_server import DnsServer
from dev.odoo import OdooError, database, find_odoo
from dev.odoo.web import Client, serving
from dev.shared import MODULES, ROOT, Progress, ToolError, cache_dir, say

IMAGES = ROOT / "docs" / "images"
#: those of them that the app's page shows, in English and on a desk
STORE = ROOT / "static" / "description"
IN_STORE = ("company_form", "mailbox_setup", "route_explain", "sent_pivot", "settings")
LANGUAGES = {"en_US": "en", "zh_CN": "zh_CN"}
WIDTHS = (1366, 390)
# A page that scrolls is photographed in one piece, so there is room for all of it
HEIGHT = 3000
COLORS = 128
USER_LOGIN = f"zy@{DOMAIN}"
# Of users and browser: where they differ, the user's form shows the time
TIMEZONE = "Asia/Shanghai"
# The pictures change with the screens, not with the day they are taken on
RECEIVED = "2026-01-05 08:30:00"
SENT = "2026-01-05 08:10:00"
# Far from any day on which pictures are taken: it is waited for
PAUSED_UNTIL = "2030-01-05 08:45:00"
SLOW_SECONDS = 1.5
QUESTION = "When can you deliver?"

SETUP = """
const {action, orm} = odoo.__WOWL_DEBUG__.root.env.services;
const show = (res_id, context) => action.doAction(
    "mail_company_routing.action_mail_mailbox_setup",
    {additionalContext: context, props: res_id ? {resId: res_id} : {}}
);
"""
SET_UP = SETUP + "show(false, ids.mailbox);"
# The provider takes its time, so that there is something to see
RUN_SETUP = (
    SETUP
    + """
orm.create("mail.mailbox.setup", [ids.slow_mailbox]).then((created) => show(created[0] || created));
"""
)
EXPLAIN = """
odoo.__WOWL_DEBUG__.root.env.services.action.doAction(
    "mail_company_routing.action_mail_route_explain", {additionalContext: ids.explained}
);
"""
# What a click on the red envelope does
SENDING_FAILURES = """
odoo.__WOWL_DEBUG__.root.env.services.action.doAction(
    "mail.mail_resend_message_action",
    {additionalContext: {mail_message_to_resend: ids.failed_message}}
);
"""
EXPLAIN_FAILURE = """
odoo.__WOWL_DEBUG__.root.env.services.action.doAction(
    "mail_company_routing.action_mail_route_explain",
    {additionalContext: {default_message_id: ids.failed_message}}
);
"""
# What "Preferences" in the user's menu does; on a phone that menu is two levels down
PREFERENCES = """(async () => {
    const {action, orm, user} = odoo.__WOWL_DEBUG__.root.env.services;
    const preferences = await orm.call("res.users", "action_get");
    await action.doAction({...preferences, res_id: user.userId});
})()"""
SETTLED = (
    "!document.querySelector('.o_loading_indicator, .o_loading, .o_blockUI')"
    " && document.fonts.status === 'loaded'"
    " && [...document.images].every((image) => image.complete)"
)


@dataclass(frozen=True)
class Screen:
    """One picture: where it is, what has to be there, what of it is shown.

    :param place: of the web client, what follows the #; names in braces are ids of Showcase
    :param clicks: selectors to click one after the other, each once it is there
    :param ready: what has to be there in the end, a selector
    :param shown: selectors; the picture is cropped to the rectangle around them all
    :param script: JavaScript to run first, once there is a user menu; the ids are in ``ids``
    :param login: whose screen it is
    :param margin: to leave around what is shown
    :param height: of the window: a dialog fills a phone's
    :param busy: whether it is shown while the server is at work
    """

    name: str
    place: str
    ready: str
    shown: tuple[str, ...]
    clicks: tuple[str, ...] = ()
    script: str = ""
    login: str = "admin"
    margin: int = 0
    height: int = HEIGHT
    busy: bool = False


SETTINGS = "action=base_setup.action_general_configuration"
SENT_MAILS = "action=mail_company_routing.action_mail_sent"
UNPROCESSED = "action=mail_company_routing.action_mail_unprocessed"
ALIAS_DOMAINS = "action=mail_company_routing.action_mail_alias_domain"
OUTGOING = "action=base.action_ir_mail_server_list"

BAR = (".o_main_navbar",)
PANEL = (".o_control_panel",)
FORM = (*PANEL, ".o_form_sheet > *", ".o_form_statusbar")
LIST = (*PANEL, ".o_list_table")
DIALOG = (".modal-content",)
#: a row, on a phone a card
ROW = ":is(.o_data_row, .o_kanban_record)"


def view(action: str, view_type: str, model: str, record: str = "") -> str:
    """Return the place of a view that is not an action's first."""
    return f"{action}&model={model}&view_type={view_type}" + (f"&id={record}" if record else "")


def field(name: str) -> str:
    """Return the selector of a field of a form."""
    return f".o_field_widget[name={name}]"


def tab(name: str) -> tuple[str, ...]:
    """Return the click that opens a tab of a form."""
    return (f".o_notebook_headers a[name={name}]",)


SCREENS = (
    Screen("mailbox_setup", SETTINGS, ".modal [name=plan] li", DIALOG, script=SET_UP, height=880),
    Screen(
        "mailbox_setup_running",
        SETTINGS,
        ".o_mail_mailbox_progress li[data-state=done]",
        DIALOG,
        (".modal button[name=action_setup]",),
        script=RUN_SETUP,
        height=880,
        busy=True,
    ),
    Screen(
        "route_explain",
        SENT_MAILS,
        ".modal .o_mail_route",
        DIALOG,
        script=EXPLAIN,
        height=1100,
    ),
    Screen(
        "route_explain_failure",
        SENT_MAILS,
        ".modal [name=sent_ids] .o_data_row",
        DIALOG,
        script=EXPLAIN_FAILURE,
        height=1100,
    ),
    Screen(
        "sending_failures",
        SENT_MAILS,
        ".modal [name=partner_ids] .o_data_row",
        DIALOG,
        script=SENDING_FAILURES,
        height=880,
    ),
    Screen(
        "first_steps",
        "action=mail_company_routing.action_mail_routing_start",
        ".o_mail_routing_start :is(.o_data_row, .o_kanban_record)",
        FORM,
    ),
    Screen(
        "sent_form",
        view(SENT_MAILS, "form", "mail.sent", "{failed_sent}"),
        field("failure_text"),
        FORM,
    ),
    Screen("sent_list", SENT_MAILS, ROW, (*LIST, ".o_kanban_record:not(.o_kanban_ghost)")),
    Screen(
        "sent_pivot",
        SENT_MAILS,
        ".o_pivot td",
        (*PANEL, ".o_pivot table"),
        # on a phone it is in a menu, whatever the address says
        clicks=(
            ":is(.o_cp_switch_buttons .dropdown-toggle, .o_cp_switch_buttons > .o_pivot)",
            ".o_switch_view.o_pivot",
        ),
    ),
    Screen(
        "failed_mail",
        view("action=mail.action_view_mail_mail", "form", "mail.mail", "{failed}"),
        ".tab-pane.active [name=failure_text]",
        FORM,
        tab("failure_reason"),
    ),
    Screen(
        "checkup",
        "action=mail_company_routing.action_mail_checkup",
        ":is(.o_data_row, .o_kanban_record)",
        FORM,
    ),
    Screen(
        "checkup_records",
        "action=mail_company_routing.action_mail_checkup",
        ".o_mail_checkup_kind",
        FORM,
        clicks=("button[name=action_look_up]",),
    ),
    Screen(
        "checkup_record",
        "action=mail_company_routing.action_mail_checkup",
        ".modal [name=record_paste]",
        DIALOG,
        clicks=("button[name=action_look_up]", "button[name=action_show_record]"),
        height=880,
    ),
    Screen(
        "settings",
        SETTINGS,
        "#mail_routing_settings",
        (
            "[name=external_email_server_default]",
            ".content-group:has(#mail_routing_settings)",
        ),
        margin=8,
    ),
    Screen(
        "outgoing_server_form",
        view(OUTGOING, "form", "ir.mail_server", "{server}"),
        field("sender_policy"),
        FORM,
    ),
    Screen(
        "outgoing_server_unused",
        view(OUTGOING, "form", "ir.mail_server", "{unused}"),
        field("routing_warning"),
        (*FORM, ".alert"),
    ),
    Screen("outgoing_server_list", OUTGOING, ".o_data_row", LIST),
    Screen(
        "incoming_server_form",
        view("action=mail.action_email_server_tree", "form", "fetchmail.server", "{incoming}"),
        field("company_id"),
        FORM,
    ),
    Screen(
        "company_form",
        view("action=base.action_res_company_form", "form", "res.company", "{company}"),
        f".tab-pane.active [name=mail_server_ids] {ROW}",
        FORM,
        tab("email_routing"),
    ),
    Screen(
        "team_form",
        view("action=sales_team.crm_team_action_config", "form", "crm.team", "{team}"),
        field("alias_domain_id"),
        FORM,
    ),
    Screen(
        "project_form",
        view("action=project.open_view_project_all_config", "form", "project.project", "{project}"),
        field("alias_domain_id"),
        FORM,
        tab("settings"),
    ),
    Screen("alias_domain_list", ALIAS_DOMAINS, ".o_data_row", LIST),
    Screen(
        "alias_domain_form",
        view(ALIAS_DOMAINS, "form", "mail.alias.domain", "{domain}"),
        field("reply_domain_id"),
        FORM,
    ),
    Screen(
        "user_form",
        view("action=base.action_res_users", "form", "res.users", "{user}"),
        ".tab-pane.active [name=outgoing_domain_ids] .o_data_row",
        FORM,
        tab("preferences"),
    ),
    Screen(
        "preferences",
        "action=mail.action_discuss",
        ".modal [name=outgoing_domain_ids] .o_data_row",
        DIALOG,
        script=PREFERENCES,
        login=USER_LOGIN,
        height=880,
    ),
    Screen(
        "unprocessed_list",
        UNPROCESSED,
        ":is(.o_data_row, .o_kanban_record)",
        (*BAR, *LIST, ".o_kanban_record:not(.o_kanban_ghost)"),
    ),
    Screen(
        "unprocessed_form",
        view(UNPROCESSED, "form", "mail.unprocessed", "{unprocessed}"),
        field("reason"),
        (*BAR, *FORM),
    ),
)


#: what DNS says of the companies' domains
RECORDS = (
    'spf.mail.qq.com TXT "v=spf1 ip4:203.0.113.0/24 -all"',
    '_spf.google.com TXT "v=spf1 ip4:192.0.2.0/24 ~all"',
    "mxbiz1.qq.com A 203.0.113.1",
    "mxbiz2.qq.com A 203.0.113.2",
    f"{DOMAIN} MX 5 mxbiz1.qq.com",
    f"{DOMAIN} MX 10 mxbiz2.qq.com",
    f'{DOMAIN} TXT "v=spf1 include:spf.mail.qq.com ~all"',
    f'_dmarc.{DOMAIN} TXT "v=DMARC1; p=none"',
    "b.com MX 5 mxbiz1.qq.com",
    "b.com MX 10 mxbiz2.qq.com",
    'b.com TXT "v=spf1 include:_spf.google.com ~all"',
)


# --- what there is to see ------------------------------------------------------------------


class Showcase(OdooOffice):
    """The office of the demo, and two more companies; ``ids`` names the records on show."""

    def _furnish(self, env, provider):
        result = super()._furnish(env, provider)
        self.ids: dict[str, object] = {}
        ohm = env.company
        trading, lab = env["res.company"].create(
            [{"name": "Murong Trading"}, {"name": "Ohm Laboratory"}]
        )
        env.user.company_ids += trading + lab
        self._furnish_domains(env, ohm, trading)
        self._furnish_aliases(env, trading)
        self._furnish_servers(env, ohm, trading, lab)
        user = env["res.users"].create(
            {
                "name": "慕容紫英",
                "login": USER_LOGIN,
                "password": USER_LOGIN,
                "email": USER_LOGIN,
                "company_id": trading.id,
                "company_ids": [(6, 0, (ohm + trading).ids)],
                "groups_id": [(4, env.ref("sales_team.group_sale_salesman").id)],
                "tz": TIMEZONE,
            }
        )
        user.with_company(trading).alias_domain_id = self.ids["domain"]
        env.user.tz = TIMEZONE
        # Murong Trading comes first: it is the company in force
        companies = ",".join(str(company.id) for company in (trading, ohm, lab))
        self.ids.update(user=user.id, company=trading.id, companies=companies)
        return result

    def _furnish_domains(self, env, ohm, trading):
        own, b_com, c_com, _chinese = env["mail.alias.domain"].create(
            [
                {"name": DOMAIN, "company_id": ohm.id},
                {"name": "b.com", "company_id": trading.id},
                {"name": "c.com", "company_id": trading.id},
                {"name": "慕容.中国", "company_id": trading.id, "catch_all": "no"},
            ]
        )
        c_com.reply_domain_id = b_com
        ohm.write({"alias_domain_id": own.id, "mail_server_by_domain": True})
        trading.write(
            {
                "alias_domain_id": b_com.id,
                "email_from_by_company": True,
                "reply_to_by_company": True,
                "reply_to_prefix": "info",
                "mail_server_by_domain": True,
                "email": "info@b.com",
            }
        )
        self.ids["domain"] = c_com.id

    def _furnish_aliases(self, env, trading):
        values = {"company_id": trading.id, "alias_name": "sales"}
        team = env["crm.team"].create({"name": "Murong Sales", **values})
        values["alias_name"] = "building"
        project = env["project.project"].create({"name": "New Building", **values})
        self.ids.update(team=team.id, project=project.id)

    def _furnish_servers(self, env, ohm, trading, lab):
        outgoing, incoming = env["ir.mail_server"], env["fetchmail.server"]
        outgoing.browse(self.server_id).company_id = ohm
        incoming.search([]).company_id = ohm
        common = {"smtp_host": "smtp.exmail.qq.com", "smtp_port": 465, "smtp_encryption": "ssl"}
        restricted, relay, unused = outgoing.create(
            [
                {
                    **common,
                    "name": "Murong SMTP",
                    "smtp_user": "kevin@b.com",
                    "smtp_pass": "secret",
                    "company_id": trading.id,
                    "sender_policy": "login",
                    "from_filter": "b.com,c.com",
                },
                {
                    "name": "Relay",
                    "smtp_host": "relay.example.com",
                    "smtp_encryption": "starttls",
                    "smtp_port": 587,
                    "smtp_user": "apikey",
                    "smtp_pass": "secret",
                    "sender_policy": "any",
                },
                {
                    **common,
                    "name": "Laboratory SMTP",
                    "smtp_user": "lab@example.com",
                    "smtp_pass": "secret",
                    "company_id": lab.id,
                },
            ]
        )
        mailbox = incoming.create(
            {
                "name": "Murong IMAP",
                "server_type": "imap",
                "server": "imap.exmail.qq.com",
                "port": 993,
                "is_ssl": True,
                "user": "kevin@b.com",
                "password": "secret",
                "company_id": trading.id,
                "state": "done",
            }
        )
        self.ids.update(server=restricted.id, relay=relay.id, unused=unused.id, incoming=mailbox.id)

    def ask_dns(self, address):
        """Have the check-up ask this DNS server."""
        with self.environment() as env:
            env["ir.config_parameter"].set_param("mail_company_routing.dns_server", address)

    def send_mails(self, provider):
        """Have mails sent, and one refused; they are older than the day of the pictures."""
        for _number in range(3):
            order_name = self.send_quotation()
        with self.environment() as env:
            order = env["sale.order"].search([("name", "=", order_name)])
            strict = env["ir.mail_server"].create(
                {
                    "name": "Ohm SMTP 2",
                    "smtp_host": provider.smtp_host,
                    "smtp_port": provider.smtp_port,
                    "smtp_user": LOGIN,
                    "smtp_pass": PASSWORD,
                    "sender_policy": "any",
                    "company_id": env.company.id,
                    "sequence": 99,
                }
            )
            author = env["res.users"].search([("login", "=", SALES_LOGIN)])
            failed = env["mail.mail"].create(
                {
                    "subject": "Delivery dates",
                    "body_html": "<p>Next week.</p>",
                    "author_id": author.partner_id.id,
                    "email_from": author.email_formatted,
                    "email_to": CUSTOMER,
                    "mail_server_id": strict.id,
                    "model": order._name,
                    "res_id": order.id,
                }
            )
            # as long as it is thought to have a catch-all, its bounce address is the sender
            own = env.company.alias_domain_id
            own.catch_all = "yes"
            failed.send()
            message = order.with_user(author).message_post(
                body=QUESTION,
                partner_ids=order.partner_id.ids,
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                mail_server_id=strict.id,
                force_send=False,
            )
            env["mail.mail"].search([("mail_message_id", "=", message.id)]).send()
            own.catch_all = "default"
            strict.smtp_host = "smtp.exmail.qq.com"
            trading = env["res.company"].browse(self.ids["company"])
            offer = order.copy({"company_id": trading.id, "name": "T00001"})
            user = env["res.users"].browse(self.ids["user"])
            self.ids.update(
                failed=failed.id,
                failed_message=message.id,
                failed_sent=2 * message.notification_ids[:1].id,
                explained={
                    "default_res_model": offer._name,
                    "default_res_id": offer.id,
                    "default_user_id": user.id,
                },
                mailbox={
                    "default_email": LOGIN,
                    "default_provider_id": env.ref("mail_company_routing.mail_provider_tencent").id,
                },
                slow_mailbox={
                    "provider_id": env.ref("mail_company_routing.mail_provider_own").id,
                    "email": LOGIN,
                    # a wrong one: what is tried for the picture is not kept
                    "password": "guessed",
                    "smtp_host": self.slow.smtp_host,
                    "smtp_port": self.slow.smtp_port,
                    "smtp_encryption": "none",
                    "incoming_host": self.slow.imap_host,
                    "incoming_port": self.slow.imap_port,
                    "incoming_ssl": False,
                },
            )
            env.cr.execute("UPDATE mail_message SET date = %s WHERE model = 'sale.order'", [SENT])

    def pause_relay(self):
        """Let a server have failed, so that a mail waits for it."""
        with self.environment() as env:
            mail = env["mail.mail"].create({"subject": "Newsletter", "email_to": CUSTOMER})
            relay = self.ids["relay"]
            env.cr.execute(
                """
                INSERT INTO mail_lane
                       (server_id, failures, failing_since, paused_until, pause_reason)
                VALUES (%s, 3, now() at time zone 'UTC', %s, '421 4.3.2 Too busy, try again later')
                """,
                [relay, PAUSED_UNTIL],
            )
            env.cr.execute(
                "UPDATE mail_mail SET lane_server_id = %s WHERE id = %s", [relay, mail.id]
            )

    def install_chinese(self):
        with self.environment() as env:
            languages = env["res.lang"].with_context(active_test=False)
            chinese = languages.search([("code", "=", "zh_CN")])
            env["base.language.install"].create({"lang_ids": [(6, 0, chinese.ids)]}).lang_install()

    def receive_unprocessed(self, provider):
        """Fetch mail that Odoo cannot process; then show the names of a provider's servers."""
        provider.set_catch_all(DOMAIN, LOGIN)
        for number, (to, subject) in enumerate(
            ((f"buying@{DOMAIN}", "Resistors, 4.7 kΩ: your prices?"), (f"hr@{DOMAIN}", "求职信"))
        ):
            message = EmailMessage()
            message["From"] = f"Customer <{CUSTOMER}>"
            message["To"] = to
            message["Subject"] = subject
            message["Message-ID"] = f"<{number}@example.net>"
            message.set_content("Good morning.")
            provider.deliver(to, message.as_bytes())
        with self.environment() as env:
            mailboxes = env["fetchmail.server"].search([("user", "=", LOGIN)])
            mailboxes.with_user(self.odoo.SUPERUSER_ID).fetch_mail()
        with self.environment() as env:
            mails = env["mail.unprocessed"].search([])
            if len(mails) != 2:
                raise OdooError(f"{len(mails)} unprocessed mails, not 2")
            env.cr.execute("UPDATE mail_unprocessed SET create_date = %s", [RECEIVED])
            self.ids["unprocessed"] = mails[-1].id
            outgoing = env["ir.mail_server"].browse(self.server_id)
            outgoing.write(
                {
                    "smtp_host": "smtp.exmail.qq.com",
                    "smtp_port": 465,
                    "smtp_encryption": "ssl",
                }
            )

    def speak(self, lang):
        """Switch everybody's language."""
        with self.environment() as env:
            env["res.users"].search([]).write({"lang": lang})
        self.registry.signal_changes()


# --- taking the pictures -------------------------------------------------------------------


def photograph(browser: Browser, address: str, screen: Screen, ids: dict, width: int) -> bytes:
    """Open a screen and return its picture."""
    page = browser.page
    page.set_viewport_size({"width": width, "height": screen.height})
    browser.open(f"{address}/web#cids={ids['companies']}&{screen.place.format(**ids)}")
    try:
        if screen.script:
            browser.wait(f"{_visible('.o_main_navbar')} && {SETTLED}", f"the bar of {screen.name}")
            page.evaluate(f"(ids) => {{{screen.script}}}", ids)
        for selector in screen.clicks:
            browser.click(selector)
        ready = _visible(screen.ready)
        settled = ready if screen.busy else f"{ready} && {SETTLED}"
        browser.wait(settled, f"{screen.ready} of {screen.name}", busy=screen.busy)
        page.evaluate("document.activeElement.blur()")
        browser.wait(ready, f"{screen.ready} of {screen.name}", busy=screen.busy)
        boxes = [found.bounding_box() for found in page.locator(", ".join(screen.shown)).all()]
        boxes = [box for box in boxes if box and box["width"] and box["height"]]
        if not boxes:
            raise BrowserError(f"{screen.name} shows nothing of {', '.join(screen.shown)}")
    except BrowserError as error:
        kept = cache_dir() / "screenshot-failure.png"
        page.screenshot(path=kept)
        raise BrowserError(f"{error}; what it looks like is in {kept}") from error
    left = max(0, int(min(box["x"] for box in boxes)) - screen.margin)
    top = max(0, int(min(box["y"] for box in boxes)) - screen.margin)
    right = min(width, int(max(box["x"] + box["width"] for box in boxes)) + screen.margin)
    bottom = min(screen.height, int(max(box["y"] + box["height"] for box in boxes)) + screen.margin)
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return page.screenshot(clip=clip, animations="disabled")


def _visible(selector: str) -> str:
    """Return the JavaScript that tells whether the first match of a selector is on the screen."""
    return f"document.querySelector({json.dumps(selector)})?.getClientRects().length"


def shrink(png: bytes) -> bytes:
    """Return a picture with a palette: a screen has few colours."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    # So that a badge's red is not taken for too rare to keep
    small = picture.quantize(COLORS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def take_all(
    browser: Browser,
    address: str,
    name: str,
    office: Showcase,
    screens: Sequence[Screen],
    told: Callable[[str], None],
) -> None:
    """Take the pictures of the screens, in each language and size, and write them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for lang, short in LANGUAGES.items():
        office.speak(lang)
        clients: dict[str, Client] = {}
        for screen in screens:
            if screen.login not in clients:
                clients[screen.login] = Client(address, name, screen.login)
            browser.be(clients[screen.login])
            for width in WIDTHS:
                png = shrink(photograph(browser, address, screen, office.ids, width))
                path = IMAGES / f"{screen.name}_{short}_{width}.png"
                path.write_bytes(png)
                if screen.name in IN_STORE and (short, width) == ("en", WIDTHS[0]):
                    (STORE / f"{screen.name}.png").write_bytes(png)
                told(f"  {path.relative_to(ROOT)} ({len(png) / 1024:.0f} kB)")
    if browser.complaints:
        raise BrowserError("the page complained:\n" + "\n".join(browser.complaints))


def screenshots(names: Sequence[str]) -> int:
    """Take the pictures of the screens of these names, of all if there are none."""
    unknown = set(names) - {screen.name for screen in SCREENS}
    if unknown:
        known = ", ".join(screen.name for screen in SCREENS)
        say(f"No screen {', '.join(sorted(unknown))}; there are {known}")
        return 2
    screens = [screen for screen in SCREENS if not names or screen.name in names]
    find_odoo()
    find_browser()
    with (
        database([*MODULES, "project"]) as name,
        new_provider(imap=True) as provider,
        new_provider(imap=True, delay=SLOW_SECONDS) as slow,
        DnsServer(RECORDS) as dns,
        registry(name) as pool,
    ):
        office = Showcase(pool, provider)
        office.slow = slow
        office.ask_dns(dns.address)
        office.set_up(restrict_username=True, catch_all=False)
        office.send_mails(provider)
        office.receive_unprocessed(provider)
        office.pause_relay()
        with Progress("Installing Simplified Chinese"):
            office.install_chinese()
        with serving(name) as served, chromium(timezone_id=TIMEZONE) as browser:
            try:
                take_all(browser, served.address, name, office, screens, say)
            except BrowserError as error:
                raise ToolError(str(error)) from error
    return 0
