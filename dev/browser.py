"""A headless Chromium, driven over the DevTools protocol, for the tools.

::

    with chromium() as browser:
        browser.resize(1366, 2000)
        browser.open("http://127.0.0.1:8069/web")
        browser.wait("document.querySelector('.o_list_view')", "the list")
        png = browser.screenshot(0, 0, 1366, 800)

The protocol: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import websocket

from dev.odoo import workdir
from dev.shared import Progress, cache_dir, locked

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES = ("chromium", "fonts-noto-cjk")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)
START_SECONDS = 60
ANSWER_SECONDS = 60
# The connections that stay open for the bus
ENDLESS = re.compile(r"/(websocket|longpolling|bus)\b")


class NoBrowser(Exception):
    """There is no Chromium; the message says how to get one."""


class BrowserError(Exception):
    """The browser, or the page in it, did not do what it should."""


# --- getting one ---------------------------------------------------------------------------


def find_browser() -> str:
    """Return the path of a Chromium. As root, where there is none, apt-get is asked for it.

    :raises NoBrowser: without one
    """
    found = _installed()
    if found:
        return found
    command = "apt-get install --no-install-recommends " + " ".join(PACKAGES)
    if os.geteuid() or not shutil.which("apt-get"):
        raise NoBrowser(f"No Chromium here. As root, on Debian: {command}")
    with locked(cache_dir() / "apt.lock", "Another run is installing packages; waiting ..."):
        if not _installed():
            with Progress(f"Installing {', '.join(PACKAGES)} (once)") as progress:
                _apt_get(progress, command, "update")
                _apt_get(
                    progress, command, "install", "--yes", "--no-install-recommends", *PACKAGES
                )
    found = _installed()
    if not found:
        raise NoBrowser(f"apt-get brought no Chromium. Try, as root: {command}")
    return found


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def _apt_get(progress: Progress, command: str, *arguments: str) -> None:
    tail: deque[str] = deque(maxlen=15)
    with subprocess.Popen(
        ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
    ) as process:
        for line in process.stdout or ():
            tail.append(line)
            progress.update(line.strip()[:60])
    if process.returncode:
        raise NoBrowser(
            f"{''.join(tail)}apt-get {arguments[0]} failed; its last lines are above. "
            f"As root: {command}"
        )


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium with a profile of its own; stop it at the end.

    :raises NoBrowser: there is none
    :raises BrowserError: it does not start
    """
    program = find_browser()
    profile = tempfile.mkdtemp(prefix="chromium-", dir=workdir())
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        browser = Browser(_devtools_address(process))
        try:
            yield browser
        finally:
            browser.close()
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def _devtools_address(process: subprocess.Popen) -> str:
    """Return the address that Chromium says it listens on, and go on emptying its stderr."""
    lines: deque[str] = deque(maxlen=20)
    found: list[str] = []
    told = threading.Event()

    def read() -> None:
        for line in process.stderr:
            lines.append(line)
            match = re.search(r"DevTools listening on (ws://\S+)", line)
            if match:
                found.append(match[1])
                told.set()
        told.set()

    threading.Thread(target=read, daemon=True).start()
    told.wait(START_SECONDS)
    if not found:
        raise BrowserError("".join(lines) + "Chromium did not start; its last lines are above.")
    return found[0]


# --- driving it ----------------------------------------------------------------------------


class Browser:
    """One tab. Every method ends when what it asked for has happened."""

    def __init__(self, address: str) -> None:
        """:param address: of the browser's own DevTools socket"""
        self._socket = websocket.create_connection(
            address, timeout=ANSWER_SECONDS, suppress_origin=True, http_no_proxy=["127.0.0.1"]
        )
        self._number = 0
        self._session = ""
        self._pending: dict[str, str] = {}
        self._loaded = False
        self.complaints: list[str] = []
        # (kind, such as log or error; words) of what the pages wrote there
        self.console: list[tuple[str, str]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Close the browser."""
        with suppress(websocket.WebSocketException, OSError, BrowserError):
            self._session = ""
            self.call("Browser.close")
        self._socket.close()

    def call(self, method: str, **parameters: object) -> dict:
        """Send a command and return its result.

        :raises BrowserError: with the protocol's own words
        """
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _receive(self, seconds: float = ANSWER_SECONDS) -> dict:
        """Return the next message; note what an event says."""
        self._socket.settimeout(max(seconds, 0.01))
        try:
            message = json.loads(self._socket.recv())
        except websocket.WebSocketTimeoutException:
            raise BrowserError(f"nothing from Chromium in {seconds:.0f} seconds") from None
        method, event = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            url = event["request"]["url"]
            if not ENDLESS.search(url) and not url.startswith("data:"):
                self._pending[event["requestId"]] = url
        elif method in ("Network.loadingFinished", "Network.loadingFailed"):
            self._pending.pop(event["requestId"], None)
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.consoleAPICalled":
            words = [str(part.get("value", part.get("description"))) for part in event["args"]]
            self.console.append((event["type"], " ".join(words)))
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            self.complaints.append(f"{details['text']} {thrown}".strip())
        return message

    def resize(self, width: int, height: int) -> None:
        """Give the page a size, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def set_cookie(self, name: str, value: str, url: str) -> None:
        self.call("Network.setCookie", name=name, value=value, url=url)

    def open(self, url: str, seconds: float = ANSWER_SECONDS) -> None:
        """Load a page, also where only what stands behind the # differs from the last one."""
        for address in ("about:blank", url):
            self._loaded = False
            self._pending.clear()
            result = self.call("Page.navigate", url=address)
            if result.get("errorText"):
                raise BrowserError(f"{address}: {result['errorText']}")
            end = time.monotonic() + seconds
            while not self._loaded:
                self._receive(end - time.monotonic())

    @contextmanager
    def reloading(self, seconds: float) -> Iterator[None]:
        """Wait at the end of the block until what it did has made the page load anew."""
        self._loaded = False
        self._pending.clear()
        yield
        end = time.monotonic() + seconds
        while not self._loaded:
            self._receive(end - time.monotonic())

    def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression; a promise is waited for."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            raise BrowserError(f"{expression}: {thrown or details['text']}")
        return result["result"].get("value")

    def wait(
        self, condition: str, what: str, seconds: float = ANSWER_SECONDS, busy: bool = False
    ) -> None:
        """Wait until a JavaScript expression is true, nothing is loading, and it is painted.

        :param what: what is waited for, for the message
        :param busy: whether something may still be loading
        :raises BrowserError: when that takes too long
        """
        # Looked at once a frame, by the page itself
        script = f"""new Promise((resolve) => {{
            const end = performance.now() + {seconds * 1000};
            const look = () => {{
                const yes = Boolean({condition});
                if (yes || performance.now() > end) resolve(yes);
                else requestAnimationFrame(look);
            }};
            requestAnimationFrame(() => requestAnimationFrame(look));
        }})"""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.evaluate(script):
                break
            if busy or not self._pending:
                return
            while self._pending and time.monotonic() < end:
                self._receive(end - time.monotonic())
        loading = ", ".join(self._pending.values())
        raise BrowserError(
            f"waited {seconds:.0f} seconds for {what}"
            + (f"; still loading: {loading}" if loading else "")
        )

    def type(self, selector: str, text: str) -> None:
        """Type a text into the first input that matches a selector, and press Enter."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key="Enter",
                code="Enter",
                windowsVirtualKeyCode=13,
                text="\r" if kind == "keyDown" else "",
            )

    def run_tour(self, name: str, seconds: float) -> None:
        """Run one of Odoo's tours on the page that is open; its assets have to be loaded.

        :raises BrowserError: with the tour's own words, when it fails or takes too long
        """
        self.console.clear()
        service = "odoo.__DEBUG__.services['web_tour.tour']"
        self.wait(f"{service}?.tours[{json.dumps(name)}]?.ready", f"tour {name}")
        self.evaluate(f"odoo.startTour({json.dumps(name)}), 0")
        end = time.monotonic() + seconds
        while True:
            if ("log", "test successful") in self.console:
                return
            wrong = [words for kind, words in self.console if kind == "error"]
            late = time.monotonic() > end
            if wrong or late:
                steps = [words for _kind, words in self.console if " step " in words][-5:]
                raise BrowserError("\n".join([*steps, *wrong[:3], "too late" if late else ""]))
            self._receive_if_any(1)

    def _receive_if_any(self, seconds: float) -> None:
        with suppress(BrowserError):
            self._receive(seconds)

    def screenshot(self, left: float, top: float, width: float, height: float) -> bytes:
        """Return a part of the page as PNG."""
        clip = {"x": left, "y": top, "width": width, "height": height, "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", clip=clip)["data"])
