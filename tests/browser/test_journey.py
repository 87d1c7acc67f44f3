# SPDX-License-Identifier: LGPL-3.0-only
"""Install, set up, send, explain: an administrator's first hour, in a real browser.

Odoo serves as in production; the provider is a strict one on loopback, with TLS, that lets only
the login send and has no catch-all. Everything after the installation is the tour
``mail_company_routing.journey``.
"""

import json
import time

import pytest

from dev.browser import chromium
from dev.commands.story import CUSTOMER, DOMAIN, LOGIN, answer_last
from dev.odoo import database
from dev.odoo.web import Client, serving
from dev.provider import Provider
from dev.shared import ADDON, MODULES, cache_dir

ADMINISTRATOR = f"admin@{DOMAIN}"
LANGUAGES = ("en_US", "zh_CN")
#: nothing else in a log looks like it
PASSWORD = "Tq4-hK9-wZ2"
#: seconds that the provider takes for each SMTP command, so that there is something to watch
DELAY = 0.5
INSTALL_SECONDS = 180
TOUR_SECONDS = 180


@pytest.fixture(params=LANGUAGES)
def lang(request):
    return request.param


@pytest.fixture
def served(request):
    """A native Odoo whose addons path has the addon, which is not installed."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with (
        capture.global_and_fixture_disabled(),
        database(MODULES, addon=False) as name,
        serving(name) as server,
    ):
        yield name, server


@pytest.fixture
def provider():
    accounts = dict.fromkeys((LOGIN, ADMINISTRATOR, CUSTOMER), PASSWORD)
    with Provider(accounts, "tencent", imap=True, tls="ssl", delay=DELAY) as running:
        yield running


@pytest.fixture
def tell(request):
    """Give a function that prints a line of the test's report."""
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def line(text):
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(f"  {text}")

    return line


def test_from_nothing_to_a_fetched_answer(served, provider, lang, tell):
    name, server = served
    admin = Client(server.address, name, "admin")
    order = quotation(admin, lang)
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        try:
            start = time.monotonic()
            install(browser, server.address, admin)
            installed = time.monotonic()
            tell(f"installed from the list of apps in {installed - start:.0f} s")
            walk(browser, server.address, admin, provider, order, lang)
        except Exception:
            kept = cache_dir() / f"journey-failure-{lang}.png"
            browser.page.screenshot(path=kept)
            tell(f"what it looked like is in {kept}")
            tell(server.log.read_text()[-3000:])
            raise
        assert not browser.complaints, browser.complaints
    (mail,) = [mail for mail in provider.mails if CUSTOMER in mail.rcpt_tos]
    assert (mail.mail_from, mail.header_from, mail.reply_to) == (LOGIN, LOGIN, LOGIN)
    answer_last(provider)
    mailboxes = admin.call("fetchmail.server", "search", [["user", "=", LOGIN]])
    admin.call("fetchmail.server", "fetch_mail", mailboxes)
    tell(f"from the app to a fetched answer in {time.monotonic() - start:.0f} s")
    answers = admin.call(
        "mail.message",
        "search_count",
        [["model", "=", "sale.order"], ["res_id", "=", order], ["email_from", "ilike", CUSTOMER]],
    )
    assert answers == 1
    assert not admin.call("mail.unprocessed", "search_count", [])
    lines = server.log.read_text().splitlines()
    assert not [line for line in lines if PASSWORD in line]
    # but for assets that two requests tidy up at once
    assert not [line for line in lines if " ERROR " in line and " odoo.sql_db: " not in line]


def quotation(admin, lang):
    """Let native Odoo speak a language and have a quotation; give its id."""
    if lang != "en_US":
        find = {"context": {"active_test": False}}
        languages = admin.call("res.lang", "search", [["code", "=", lang]], **find)
        wizard = admin.call("base.language.install", "create", {"lang_ids": [[6, 0, languages]]})
        admin.call("base.language.install", "lang_install", [wizard])
    users = admin.call("res.users", "search", [["login", "=", "admin"]])
    admin.call("res.users", "write", users, {"lang": lang, "email": ADMINISTRATOR})
    # a quotation without its PDF needs no wkhtmltopdf
    templates = admin.call("mail.template", "search", [["model", "=", "sale.order"]])
    admin.call("mail.template", "write", templates, {"report_template": False})
    partner = admin.call("res.partner", "create", {"name": "Customer", "email": CUSTOMER})
    product = admin.call("product.product", "create", {"name": "Resistor", "list_price": 5})
    return admin.call(
        "sale.order",
        "create",
        {"partner_id": partner, "order_line": [[0, 0, {"product_id": product}]]},
    )


def install(browser, address, admin):
    """Install the addon as an administrator does: Update Apps List, find it, Activate."""
    browser.open(f"{address}/web?debug=1#action=base.action_view_base_module_update")
    browser.click(".modal button[name=update_module]")
    browser.wait("!document.querySelector('.modal')", "the new list")
    browser.open(f"{address}/web#action=base.open_module_tree")
    browser.click(".o_facet_remove")
    browser.wait("!document.querySelector('.o_facet_remove')", "all modules")
    search = browser.page.locator(".o_searchview_input")
    search.fill(ADDON)
    search.press("Enter")
    browser.wait(
        f"document.querySelector('.o_facet_values')"
        f" && [...document.querySelectorAll('.o_kanban_record:not(.o_kanban_ghost)')]"
        f".every((card) => card.textContent.includes({json.dumps(ADDON)}))",
        "the addon's card",
    )
    with browser.page.expect_event("load", timeout=INSTALL_SECONDS * 1000):
        browser.click(".o_kanban_record button[name=button_immediate_install]")
    installed = [["name", "=", ADDON], ["state", "=", "installed"]]
    assert admin.call("ir.module.module", "search_count", installed)
    browser.wait(
        "document.querySelector('.o_mail_routing_start [name=one_mailbox] button')", "First Steps"
    )


def walk(browser, address, admin, provider, order, lang):
    """Run the tour, with what the administrator knows."""
    (own,) = admin.call(
        "mail.provider",
        "search_read",
        [["smtp_host", "=", False], ["login_differs", "=", False]],
        ["name"],
        limit=1,
        context={"lang": lang},
    )
    known = {
        "provider": own["name"],
        "email": LOGIN,
        "password": PASSWORD,
        "host": provider.smtp_host,
        "smtp_port": provider.smtp_port,
        "imap_port": provider.imap_port,
        "order": order,
    }
    browser.page.evaluate(
        "([key, known]) => localStorage.setItem(key, known)",
        [f"{ADDON}.journey", json.dumps(known)],
    )
    browser.open(f"{address}/web?debug=tests#action=base_setup.action_general_configuration")
    browser.run_tour(f"{ADDON}.journey", TOUR_SECONDS)
