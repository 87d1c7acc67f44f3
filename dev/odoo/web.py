"""Odoo's web server on loopback, for the tools."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dev.odoo import OdooError, odoo_command, odoo_config, odoo_environment, workdir
from dev.shared import Progress

START_SECONDS = 180
CALL_SECONDS = 180


class Served(NamedTuple):
    """An Odoo that serves.

    :param address: such as ``http://127.0.0.1:8069``
    :param process: ends when Odoo does
    :param log: its log
    """

    address: str
    process: subprocess.Popen
    log: Path


@contextmanager
def serving(name: str, **options: object) -> Iterator[Served]:
    """Serve the database on loopback.

    :param options: of odoo.conf, such as ``max_cron_threads=1``
    :raises OdooError: with the end of its log, when it does not serve
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = workdir() / "serve.log"
    config = odoo_config(name, http_port=port, logfile=log, **options)
    server = subprocess.Popen(
        odoo_command("-c", str(config)), env=odoo_environment(), stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        with Progress("Starting Odoo") as progress:
            end = time.monotonic() + START_SECONDS
            while not _answers(address):
                progress.update("it does not listen yet")
                try:
                    # A process that has ended will never listen
                    server.wait(0.2)
                except subprocess.TimeoutExpired:
                    if time.monotonic() < end:
                        continue
                raise OdooError(log.read_text()[-4000:] + "Odoo did not serve; its log is above")
        yield Served(address, server, log)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class Client:
    """Somebody who is logged in, as the web client is: every call is a request of its own.

    :param address: of an Odoo that serves
    :param session: as :func:`log_in` gives it
    """

    def __init__(self, address: str, session: str) -> None:
        self.address = address
        self.session = session

    def call(self, model: str, method: str, *args: object, **kwargs: object) -> object:
        """Call a public method of a model.

        :raises OdooError: with the message of what it raised
        """
        request = urllib.request.Request(
            f"{self.address}/web/dataset/call_kw/{model}/{method}",
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "params": {"model": model, "method": method, "args": args, "kwargs": kwargs},
                }
            ).encode(),
            {"Content-Type": "application/json", "Cookie": f"session_id={self.session}"},
        )
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as response:
            answer = json.load(response)
        if "error" in answer:
            raise OdooError(f"{model}.{method}: {answer['error']['data']['message']}")
        return answer["result"]


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/web/login", timeout=60).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def log_in(address: str, name: str, login: str) -> str:
    """Log in over HTTP and return the session's id."""
    parameters = {"db": name, "login": login, "password": login}
    request = urllib.request.Request(
        f"{address}/web/session/authenticate",
        json.dumps({"jsonrpc": "2.0", "params": parameters}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
        if "error" in answer:
            raise OdooError(f"{login} cannot log in: {answer['error']['data']['message']}")
        for cookie in response.headers.get_all("Set-Cookie"):
            key, _equals, value = cookie.partition(";")[0].partition("=")
            if key == "session_id":
                return value
    raise OdooError(f"{login} got no session")
