# SPDX-License-Identifier: LGPL-3.0-only
"""Odoo's web server on loopback, for the tools."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from dev.odoo.run import OdooError, odoo_command, odoo_config, odoo_environment, workdir
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
    log = workdir() / f"serve-{port}.log"
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
    :param name: of its database
    :param login: whose password is the same
    :raises OdooError: he cannot log in
    """

    def __init__(self, address: str, name: str, login: str) -> None:
        self.address = address
        self._http = _http()
        self._ask("session/authenticate", {"db": name, "login": login, "password": login})

    @property
    def session(self) -> str:
        """The id of the session, for a browser."""
        return self._http.cookies["session_id"]

    def call(self, model: str, method: str, *args: object, **kwargs: object) -> object:
        """Call a public method of a model.

        :raises OdooError: with the message of what it raised
        """
        parameters = {"model": model, "method": method, "args": args, "kwargs": kwargs}
        return self._ask(f"dataset/call_kw/{model}/{method}", parameters)

    def _ask(self, place: str, parameters: dict) -> object:
        answer = self._http.post(
            f"{self.address}/web/{place}",
            json={"jsonrpc": "2.0", "params": parameters},
            timeout=CALL_SECONDS,
        ).json()
        if "error" in answer:
            raise OdooError(f"{place}: {answer['error']['data']['message']}")
        return answer["result"]


def _http() -> requests.Session:
    session = requests.Session()
    # the machine's proxies are not for loopback
    session.trust_env = False
    return session


def _answers(address: str) -> bool:
    try:
        return _http().get(f"{address}/web/login", timeout=60).ok
    except requests.RequestException:
        return False
