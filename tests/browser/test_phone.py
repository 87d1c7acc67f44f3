# SPDX-License-Identifier: LGPL-3.0-only
"""On a phone nothing is cut off, and what says nothing by itself has its label."""

import pytest

from dev.browser import chromium
from dev.odoo import database
from dev.odoo.web import Client, serving
from dev.shared import MODULES

LANGUAGES = ("en_US", "zh_CN")
PHONE = {"width": 390, "height": 844}
SCREENS = (
    "base.action_ir_mail_server_list",
    "mail.action_email_server_tree",
    "mail_company_routing.action_mail_alias_domain",
    "mail_company_routing.action_mail_checkup",
    "mail_company_routing.action_mail_mailbox_setup",
    "mail_company_routing.action_mail_provider",
    "mail_company_routing.action_mail_route_explain",
    "mail_company_routing.action_mail_routing_start",
    "mail_company_routing.action_mail_sent",
    "mail_company_routing.action_mail_unprocessed",
)
#: list -> fields of its first row that have a label there
LABELLED = {
    "base.action_ir_mail_server_list": ("paused_until",),
    "mail_company_routing.action_mail_alias_domain": ("catchall_email", "catch_all"),
    "mail_company_routing.action_mail_provider": ("smtp_host", "restricted"),
}

BEYOND = """() => [...document.querySelectorAll(".o_content *, .modal-content *")]
    .filter((element) => element.getClientRects().length)
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.outerHTML.slice(0, 200))"""
LABEL = """(name) => getComputedStyle(
    document.querySelector(`.o_data_row td[name=${name}]`), "::before"
).content"""


@pytest.fixture(scope="module")
def served(request):
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with (
        capture.global_and_fixture_disabled(),
        database(MODULES) as name,
        serving(name) as server,
    ):
        yield Client(server.address, name, "admin"), server


@pytest.fixture(scope="module")
def furnished(served):
    admin, _server = served
    admin.call("mail.alias.domain", "create", {"name": "ohm-own.com"})
    values = {"name": "Ohm SMTP", "smtp_host": "127.0.0.1", "smtp_user": "kevin@ohm-own.com"}
    found = admin.call("ir.mail_server", "create", {**values, "sender_policy": "login"})
    admin.call("ir.mail_server", "write", [found], {"paused_until": "2099-01-05 08:45:00"})
    admin.call("fetchmail.server", "create", {"name": "Ohm IMAP", "server": "127.0.0.1"})


@pytest.fixture(params=LANGUAGES)
def lang(request, served, furnished):
    admin, _server = served
    find = {"context": {"active_test": False}}
    languages = admin.call("res.lang", "search", [["code", "=", request.param]], **find)
    wizard = admin.call("base.language.install", "create", {"lang_ids": [[6, 0, languages]]})
    admin.call("base.language.install", "lang_install", [wizard])
    users = admin.call("res.users", "search", [["login", "=", "admin"]])
    admin.call("res.users", "write", users, {"lang": request.param})
    return request.param


def test_nothing_is_cut_off(served, lang):
    admin, server = served
    shown = ".o_action_manager .o_view_controller, .modal .o_form_view"
    with chromium(viewport=PHONE) as browser:
        browser.be(admin)
        for screen in SCREENS:
            browser.open(f"{server.address}/web#action={screen}")
            browser.wait(f"document.querySelector('{shown}')", screen)
            assert not browser.page.evaluate(BEYOND), screen
            for name in LABELLED.get(screen, ()):
                label = browser.page.evaluate(LABEL, name)
                assert label not in ("none", "normal", '""'), (screen, name)
                has_chinese = any("\u4e00" <= letter <= "\u9fff" for letter in label)
                # "SMTP" is SMTP everywhere
                assert has_chinese == (lang == "zh_CN"), label
        assert not browser.complaints, browser.complaints
