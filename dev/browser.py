# SPDX-License-Identifier: LGPL-3.0-only
"""The system's Chromium, driven by Playwright (https://playwright.dev/python/), for the tools."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import ConsoleMessage, Error, Page, Request, sync_playwright

from dev.debian import NotInstalled, install_packages
from dev.odoo.web import Client
from dev.shared import NotHere, say

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Debian's packages, and what fontconfig knows once they are there
FONTS = {"fonts-noto-cjk": ":lang=zh-cn", "fonts-liberation": "Liberation Sans"}
FLAGS = ("--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--force-color-profile=srgb")
SECONDS = 60
# The connections that stay open for the bus
ENDLESS = re.compile(r"/(websocket|longpolling|bus)\b|^data:")

PAINTED = "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"

#: What Playwright raises where the page does not do what it should
BrowserError = Error


class NoBrowser(NotHere):
    """There is no Chromium; the message says how to get one."""


def find_browser() -> str:
    """Return the path of a Chromium. As root, apt-get is asked for it and for fonts, without which
    only pictures suffer: that is said, and is no error.

    :raises NoBrowser: without a Chromium
    """
    try:
        install_packages(_missing_packages)
    except NotInstalled as error:
        if not _installed():
            raise NoBrowser(f"No Chromium here: {error}") from error
        say(f"Letters will look otherwise, Chinese perhaps like boxes: {error}")
    return _installed()


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def _missing_packages() -> list[str]:
    chromium = [] if _installed() else ["chromium"]
    return chromium + [package for package, font in FONTS.items() if not _has_font(font)]


def _has_font(pattern: str) -> bool:
    try:
        return bool(subprocess.check_output(["fc-list", pattern]))
    except (OSError, subprocess.CalledProcessError):
        return False


class Browser:
    """One page. Every method ends when what it asked for has happened."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._told: list[str] = []
        self._pending: set[Request] = set()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._told.append(message.text))
        page.on("request", self._begin)
        page.on("requestfinished", lambda request: self._pending.discard(request))
        page.on("requestfailed", lambda request: self._pending.discard(request))

    def _begin(self, request: Request) -> None:
        if not ENDLESS.search(request.url):
            self._pending.add(request)

    def be(self, client: Client) -> None:
        """Be somebody who is logged in."""
        cookie = {"name": "session_id", "value": client.session, "url": client.address}
        self.page.context.add_cookies([cookie])

    def open(self, url: str) -> None:
        """Load a page, also where only what stands behind the # differs from the last one."""
        self.page.goto("about:blank")
        self._pending.clear()
        self.page.goto(url)

    def click(self, selector: str) -> None:
        """Click on the first match of a selector, as soon as it is there."""
        self.page.locator(selector).first.click()

    def wait(self, condition: str, what: str, busy: bool = False) -> None:
        """Wait until a JavaScript expression is true, nothing is loading, and it is painted.

        :param what: what is waited for, for the message
        :param busy: whether something may still be loading
        :raises BrowserError: when that takes too long
        """
        try:
            self.page.evaluate(PAINTED)
            self.page.wait_for_function(condition)
            end = time.monotonic() + SECONDS
            while self._pending and not busy:
                if time.monotonic() > end:
                    raise BrowserError("too much is loading")
                self.page.wait_for_timeout(20)
                self.page.wait_for_function(condition)
        except BrowserError as error:
            loading = ", ".join(request.url for request in self._pending)
            raise BrowserError(f"waited for {what}; still loading: {loading}; {error}") from error

    def run_tour(self, name: str, seconds: float) -> None:
        """Run one of Odoo's tours on the page that is open; its assets have to be loaded.

        :raises BrowserError: with the tour's own words, when it fails or takes too long
        """
        self._told.clear()
        service = "odoo.__DEBUG__.services['web_tour.tour']"
        self.wait(f"{service}?.tours[{json.dumps(name)}]?.ready", f"tour {name}")
        try:
            with self.page.expect_console_message(_ends_tour, timeout=seconds * 1000) as told:
                self.page.evaluate("(name) => {odoo.startTour(name)}", name)
            wrong = told.value.text if told.value.type == "error" else ""
        except BrowserError as error:
            wrong = str(error)
        if wrong:
            steps = [line for line in self._told if " step " in line]
            raise BrowserError("\n".join([*steps[-5:], wrong]))


def _ends_tour(message: ConsoleMessage) -> bool:
    return message.type == "error" or message.text == "test successful"


@contextmanager
def chromium(**options: object) -> Iterator[Browser]:
    """Start Chromium with a profile of its own; stop it at the end.

    :param options: of Playwright's ``new_context``, such as ``timezone_id="Asia/Shanghai"``
    :raises NoBrowser: there is none
    :raises BrowserError: it does not start
    """
    program = find_browser()
    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            context = process.new_context(**options)
            context.set_default_timeout(SECONDS * 1000)
            yield Browser(context.new_page())
        finally:
            process.close()
