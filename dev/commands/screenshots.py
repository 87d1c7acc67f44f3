# SPDX-License-Identifier: LGPL-3.0-only
"""``make screenshots``: pictures of the addon's screens, taken from a running Odoo.

A database is made and furnished with the companies of the worked examples, Odoo serves it on
loopback, and Chromium opens each screen, in both languages, on a desk and on a phone:
``docs/images/<screen>_<language>_<width>.png``. ARGS chooses screens by their names.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from PIL import Image

from dev.browser import Browser, BrowserError, chromium, find_browser
from dev.commands.demo import SALES_LOGIN, OdooOffice
from dev.commands.story import CUSTOMER, DOMAIN, LOGIN, new_provider
from dev.dns_server import DnsServer
from dev.odoo import OdooError, database, find_odoo
from dev.odoo.web import Client, serving
from dev.provider import Provider
from dev.shared import MODULES, ROOT, Progress, ToolError, cache_dir, read_toml, say

IMAGES = ROOT / "docs" / "images"
#: those of them that the app's page shows, in English and on a desk
STORE = ROOT / "static" / "description"
LANGUAGES = {"en_US": "en", "zh_CN": "zh_CN"}
WIDTHS = (1366, 390)
# A page that scrolls is photographed in one piece, so there is room for all of it
HEIGHT = 3000
COLORS = 128
# Of users (showcase.xml) and browser: where they differ, the user's form shows the time
TIMEZONE = "Asia/Shanghai"
# The pictures change with the screens, not with the day they are taken on
RECEIVED = "2026-01-05 08:30:00"
SENT = "2026-01-05 08:10:00"
SLOW_SECONDS = 1.5
QUESTION = "When can you deliver?"

# Around a screen's script. What goes wrong in it, the page complains about.
SCRIPT = """(ids) => {
    const {action, orm, user} = odoo.__WOWL_DEBUG__.root.env.services;
    (async () => {%s})();
}"""
SETTLED = (
    "!document.querySelector('.o_loading_indicator, .o_loading, .o_blockUI')"
    " && document.fonts.status === 'loaded'"
    " && [...document.images].every((image) => image.complete)"
)


@dataclass(frozen=True)
class Screen:
    """One picture: where it is, what has to be there, what of it is shown.

    :param place: of the web client, what follows the #; names in braces are ids of Showcase
    :param ready: what has to be there in the end, a selector
    :param shown: selectors, or names of areas; the picture is cropped to the rectangle around all
    :param script: JavaScript to run first, once there is a bar; the ids are in ``ids``
    :param clicks: selectors to click one after the other, each once it is there
    :param login: whose screen it is
    :param margin: to leave around what is shown
    :param height: of the window: a dialog fills a phone's
    :param busy: whether it is shown while the server is at work
    :param store: whether the app's page shows it too
    """

    name: str
    place: str
    ready: str
    shown: Sequence[str]
    script: str = ""
    clicks: Sequence[str] = ()
    login: str = "admin"
    margin: int = 0
    height: int = HEIGHT
    busy: bool = False
    store: bool = False


DATA = read_toml(Path(__file__).with_name("screens.toml"))
SCREENS = [Screen(**screen) for screen in DATA["screen"]]


# --- what there is to see ------------------------------------------------------------------


class Showcase(OdooOffice):
    """The office of the demo, and two more companies; ``ids`` names the records on show.

    :param slow: a provider that takes its time
    :param dns: the address of a DNS server for the check-up
    """

    def __init__(self, db: str, provider: Provider, slow: Provider, dns: str) -> None:
        super().__init__(db, provider)
        self.names["dns"] = dns
        with Progress("Installing Simplified Chinese"):
            self.load("showcase.xml")
        with self.environment() as env:
            self.ids |= {
                "ohm": env.company.id,
                "tencent": env.ref("mail_company_routing.mail_provider_tencent").id,
                "own": env.ref("mail_company_routing.mail_provider_own").id,
                "slow_smtp_port": slow.smtp_port,
                "slow_imap_port": slow.imap_port,
            }

    def send_mails(self) -> None:
        """Have mails sent, and one refused; they are older than the day of the pictures."""
        for _number in range(3):
            order_name = self.send_quotation()
        with self.environment() as env:
            order = env["sale.order"].search([("name", "=", order_name)])
            strict = env["ir.mail_server"].browse(self.ids["strict"])
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
            # nobody is told of it: that mail would wait for a server that nobody reaches
            untold = order.with_context(mail_auto_subscribe_no_notify=True)
            offer = untold.copy({"company_id": self.ids["trading"], "name": "T00001"})
            self.ids |= {
                "failed": failed.id,
                "failed_message": message.id,
                "failed_sent": 2 * message.notification_ids[:1].id,
                "offer": offer.id,
            }
            env.cr.execute("UPDATE mail_message SET date = %s WHERE model = 'sale.order'", [SENT])

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
            env["ir.mail_server"].browse(self.ids["server"]).write(
                {"smtp_host": "smtp.exmail.qq.com", "smtp_port": 465, "smtp_encryption": "ssl"}
            )

    def speak(self, lang):
        """Switch everybody's language."""
        with self.environment() as env:
            env["res.users"].search([]).write({"lang": lang})


# --- taking the pictures -------------------------------------------------------------------


def photograph(browser: Browser, address: str, screen: Screen, ids: dict, width: int) -> bytes:
    """Open a screen and return its picture."""
    page = browser.page
    page.set_viewport_size({"width": width, "height": screen.height})
    # Murong Trading comes first: it is the company in force
    companies = "{trading},{ohm},{lab}".format(**ids)
    browser.open(f"{address}/web#cids={companies}&{screen.place.format(**ids)}")
    try:
        if screen.script:
            browser.wait(f"{_visible('.o_main_navbar')} && {SETTLED}", f"the bar of {screen.name}")
            page.evaluate(SCRIPT % screen.script, ids)
        for selector in screen.clicks:
            browser.click(selector)
        ready = _visible(screen.ready)
        settled = ready if screen.busy else f"{ready} && {SETTLED}"
        browser.wait(settled, f"{screen.ready} of {screen.name}", busy=screen.busy)
        page.evaluate("document.activeElement.blur()")
        browser.wait(ready, f"{screen.ready} of {screen.name}", busy=screen.busy)
        selectors = [part for name in screen.shown for part in DATA["areas"].get(name, [name])]
        boxes = [found.bounding_box() for found in page.locator(", ".join(selectors)).all()]
        boxes = [box for box in boxes if box and box["width"] and box["height"]]
        if not boxes:
            raise BrowserError(f"{screen.name} shows nothing of {', '.join(selectors)}")
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


def take_all(browser: Browser, address: str, office: Showcase, screens: Sequence[Screen]) -> None:
    """Take the pictures of the screens, in each language and size, and write them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for lang, short in LANGUAGES.items():
        office.speak(lang)
        clients: dict[str, Client] = {}
        for screen in screens:
            if screen.login not in clients:
                clients[screen.login] = Client(address, office.db, screen.login)
            browser.be(clients[screen.login])
            for width in WIDTHS:
                png = shrink(photograph(browser, address, screen, office.ids, width))
                path = IMAGES / f"{screen.name}_{short}_{width}.png"
                path.write_bytes(png)
                if screen.store and (short, width) == ("en", WIDTHS[0]):
                    (STORE / f"{screen.name}.png").write_bytes(png)
                say(f"  {path.relative_to(ROOT)} ({len(png) / 1024:.0f} kB)")
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
        DnsServer(DATA["dns"]) as dns,
        Showcase(name, provider, slow, dns.address) as office,
    ):
        office.set_up(restrict_username=True, catch_all=False)
        office.send_mails()
        office.receive_unprocessed(provider)
        with serving(name) as served, chromium(timezone_id=TIMEZONE) as browser:
            try:
                take_all(browser, served.address, office, screens)
            except BrowserError as error:
                raise ToolError(str(error)) from error
    return 0
