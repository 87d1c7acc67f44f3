# SPDX-License-Identifier: LGPL-3.0-only
"""Set Up a Mailbox in a real browser: two fields, few clicks, in both languages."""

import os
from pathlib import Path

import pytest

from dev.browser import chromium
from dev.odoo import database
from dev.odoo.web import Client, serving
from dev.provider import Provider
from dev.shared import MODULES

LANGUAGES = ("en_US", "zh_CN")
BUTTON = {"en_US": "Set Up a Mailbox", "zh_CN": "设置邮箱"}
EMAIL = "kevin@ohm-known.com"
#: nothing else in a log looks like it
PASSWORD = "Rv8-pL2-mQ5"
#: where pictures go, if anywhere
PICTURES = os.environ.get("MAILBOX_PICTURES")

#: counts what a person does
COUNT = """
window.clicks = 0; window.fields = new Set();
document.addEventListener("click", (event) => { if (event.isTrusted) window.clicks++; }, true);
document.addEventListener("input", (event) => window.fields.add(event.target.id), true);
"""


@pytest.fixture(scope="module")
def served(request):
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with (
        capture.global_and_fixture_disabled(),
        database(MODULES) as name,
        serving(name) as server,
    ):
        yield name, server


@pytest.fixture
def admin(served):
    name, server = served
    return Client(server.address, name, "admin")


@pytest.fixture(params=LANGUAGES)
def lang(request, admin):
    find = {"context": {"active_test": False}}
    languages = admin.call("res.lang", "search", [["code", "=", request.param]], **find)
    wizard = admin.call("base.language.install", "create", {"lang_ids": [[6, 0, languages]]})
    admin.call("base.language.install", "lang_install", [wizard])
    users = admin.call("res.users", "search", [["login", "=", "admin"]])
    admin.call("res.users", "write", users, {"lang": request.param})
    return request.param


@pytest.fixture
def provider(admin):
    with Provider({EMAIL: PASSWORD}, "tencent", imap=True, tls="ssl") as running:
        values = {
            "name": "Known",
            "email_domains": EMAIL.partition("@")[2],
            "smtp_host": running.smtp_host,
            "smtp_port": running.smtp_port,
            "imap_host": running.imap_host,
            "imap_port": running.imap_port,
            "restricted": True,
        }
        found = admin.call("mail.provider", "create", values)
        yield running
        admin.call("mail.provider", "unlink", [found])


def picture(browser, name, lang):
    """Keep what is seen, on a desk and on a phone."""
    if not PICTURES:
        return
    Path(PICTURES).mkdir(exist_ok=True)
    for width in (1366, 390):
        browser.page.set_viewport_size({"width": width, "height": 1000})
        browser.page.wait_for_timeout(400)
        browser.page.screenshot(path=Path(PICTURES) / f"{name}_{lang}_{width}.png")
    browser.page.set_viewport_size({"width": 1366, "height": 900})


def fill(browser, field, text):
    box = browser.page.locator(f".modal [name={field}] input").first
    box.click()
    box.fill(text)
    box.press("Tab")  # what is typed counts when one goes on


def settings(browser, server):
    browser.open(f"{server.address}/web#action=base_setup.action_general_configuration")
    browser.wait("document.querySelector('#mail_mailbox_setup button')", "General Settings")


def test_a_known_provider_takes_five_clicks_and_two_fields(served, admin, provider, lang):
    _name, server = served
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        settings(browser, server)
        browser.page.evaluate(COUNT)
        browser.click("#mail_mailbox_setup button")
        fill(browser, "email", EMAIL)
        fill(browser, "password", PASSWORD)
        browser.wait(
            "document.querySelector('.modal [name=found_by]')?.textContent.includes('ohm-known')",
            "where the provider is known from",
        )
        picture(browser, "known", lang)
        browser.click(".modal button[name=action_setup]")
        browser.wait("document.querySelector('.modal .alert-success')", "that it works")
        clicks, fields = browser.page.evaluate("[window.clicks, window.fields.size]")
        picture(browser, "works", lang)
        assert clicks <= 5, clicks
        assert fields == 2
        # a domain of everybody's makes no row of the table
        if not admin.call("mail.alias.domain", "search_count", []):
            admin.call("mail.alias.domain", "create", {"name": "ohm-own.com"})
        settings(browser, server)
        browser.wait("document.querySelector('[name=catch_all_note]')", "what they still decide")
        browser.page.locator("#mail_alias_domain").scroll_into_view_if_needed()
        picture(browser, "settings", lang)
        assert not browser.complaints, browser.complaints
    assert PASSWORD not in server.log.read_text()


def test_office_365_says_what_it_needs(served, admin, lang):
    _name, server = served
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        settings(browser, server)
        browser.click("#mail_mailbox_setup button")
        fill(browser, "email", "kevin@outlook.com")
        browser.wait(
            "document.querySelector('.modal [name=oauth_redirect_uri]')?.textContent"
            ".includes('/microsoft_outlook/confirm')",
            "the redirect URI",
        )
        picture(browser, "office", lang)
        # an address of somebody else, in vain
        fill(browser, "email", "kevin@nobody.invalid")
        browser.wait(
            "document.querySelector('.modal [name=found_by]')?.textContent.includes('nobody')",
            "that nothing is known",
        )
        picture(browser, "unknown", lang)
        assert not browser.complaints, browser.complaints


def company_form(browser, server, record=""):
    browser.open(
        f"{server.address}/web#model=res.company&view_type=form{record}"
        "&action=base.action_res_company_form"
    )
    browser.wait("document.querySelector('.o_form_view [name=name] input')", "the company")


def wait_for_the_wizard(browser):
    """The web client loads itself anew once a company is saved: then the dialog is there."""
    browser.wait("document.querySelector('.modal [name=email] input')", "the wizard")
    return browser.page.locator(".modal [name=company_id] input").first.input_value()


def test_from_a_company_that_is_not_saved_yet(served, admin, lang):
    _name, server = served
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        company_form(browser, server)
        company = f"Ohm {lang}"
        browser.page.locator("[name=name] input").first.fill(company)
        browser.click(".o_notebook_headers a[name=email_routing]")
        assert not browser.page.locator("[name=routing_warning]:visible").count()
        button = browser.page.locator("button[name=action_set_up_mailbox]")
        assert button.inner_text().strip() == BUTTON[lang]
        button.click()
        assert wait_for_the_wizard(browser) == company
        picture(browser, "company", lang)
        made = admin.call("res.company", "search", [["name", "=", company]])
        assert len(made) == 1
        assert not browser.complaints, browser.complaints


def test_from_a_company_that_was_changed_and_one_that_was_not(served, admin):
    _name, server = served
    made = admin.call("res.company", "create", {"name": "Ohm Former"})
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        company_form(browser, server, f"&id={made}")
        browser.page.locator("[name=name] input").first.fill("Ohm Changed")
        browser.click(".o_notebook_headers a[name=email_routing]")
        browser.click("button[name=action_set_up_mailbox]")
        assert wait_for_the_wizard(browser) == "Ohm Changed"
        # once: whoever opens a company later is left alone
        company_form(browser, server, f"&id={made}")
        browser.click(".o_notebook_headers a[name=email_routing]")
        browser.click("button[name=action_set_up_mailbox]")
        assert wait_for_the_wizard(browser) == "Ohm Changed"
        browser.click(".modal .btn-close")
        browser.wait("!document.querySelector('.modal')", "that it closes")
        assert not browser.complaints, browser.complaints


def test_no_provider_is_shown_before_there_is_an_address(served, admin):
    _name, server = served
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        settings(browser, server)
        browser.click("#mail_mailbox_setup button")
        browser.wait("document.querySelector('.modal [name=provider_id] select')", "the wizard")
        chosen = browser.page.locator(".modal [name=provider_id] select option:checked").first
        assert not chosen.inner_text().strip()
        fill(browser, "email", "kevin@qq.com")
        browser.wait(
            "document.querySelector('.modal [name=provider_id] select').selectedOptions[0].text"
            ".includes('QQ')",
            "the provider of that address",
        )


def test_a_company_that_cannot_be_saved_opens_nothing(served, admin):
    _name, server = served
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        company_form(browser, server)
        browser.click(".o_notebook_headers a[name=email_routing]")
        browser.click("button[name=action_set_up_mailbox]")
        browser.wait("document.querySelector('.o_notification.border-danger')", "what is missing")
        company_form(browser, server, "&id=1")
        assert not browser.page.locator(".modal").count()


def asked(browser):
    """Collect how often the wizard is asked for."""
    requests = []

    def note(request):
        if request.url.endswith("/call_button") and "action_set_up_mailbox" in request.post_data:
            requests.append(request)

    browser.page.on("request", note)
    return requests


def opens_once(browser, requests):
    """Click on the button of the company that is open: nothing opened before that."""
    browser.click(".o_notebook_headers a[name=email_routing]")
    browser.click("button[name=action_set_up_mailbox]")
    browser.wait("document.querySelector('.modal [name=email] input')", "the wizard")
    assert len(requests) == 1


def test_a_company_in_a_dialog_leaves_others_alone(served, admin):
    """The reload takes the dialog away; whichever company is opened next did not ask."""
    _name, server = served
    # users show their company once there are two
    admin.call("res.company", "create", {"name": "Ohm Besides"})
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        requests = asked(browser)
        browser.open(
            f"{server.address}/web#model=res.users&view_type=form&id=2&action=base.action_res_users"
        )
        browser.wait("document.querySelector('.o_form_view [name=company_id] input')", "the user")
        browser.page.locator("[name=company_id] input").first.fill("Ohm Dialog")
        browser.click(".o_m2o_dropdown_option_create_edit")
        browser.wait("document.querySelector('.modal [name=email_routing]')", "the company")
        browser.click(".modal .o_notebook_headers a[name=email_routing]")
        with browser.page.expect_navigation():
            browser.click(".modal button[name=action_set_up_mailbox]")
        browser.wait("document.querySelector('.o_form_view [name=company_id] input')", "the user")
        assert not browser.page.locator(".modal").count()
        company_form(browser, server, "&id=1")
        assert not requests
        opens_once(browser, requests)


@pytest.mark.parametrize(
    "kept",
    [
        {"method": "action_set_up_mailbox", "id": 1, "time": 120_000},
        {"method": "action_set_up_mailbox", "id": 0, "time": 0},
        {"method": "action_set_up_mailbox", "id": 2**31 - 1, "time": 0},
        "action_set_up_mailbox",
    ],
    ids=["long ago", "nobody knows which", "another company", "no more than the method"],
)
def test_what_was_asked_for_and_never_opened_is_forgotten(served, admin, kept):
    _name, server = served
    with chromium(viewport={"width": 1366, "height": 900}) as browser:
        browser.be(admin)
        requests = asked(browser)
        browser.open(f"{server.address}/web/login")
        browser.page.evaluate(
            """(kept) => {
                if (kept.method) {
                    kept = JSON.stringify({...kept, time: Date.now() - kept.time});
                }
                sessionStorage.setItem("mail_company_routing.company_goes_on", kept);
            }""",
            kept,
        )
        company_form(browser, server, "&id=1")
        assert not requests
        assert not browser.page.evaluate(
            "sessionStorage.getItem('mail_company_routing.company_goes_on')"
        )
        opens_once(browser, requests)
        assert not browser.complaints, browser.complaints
