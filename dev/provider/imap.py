# SPDX-License-Identifier: LGPL-3.0-only
"""IMAP for the provider: pymap's server on its in-memory backend.

pymap 0.27 is the newest for Python 3.10.
"""

from __future__ import annotations

import ssl
from argparse import Namespace
from collections import defaultdict
from datetime import datetime, timezone
from typing import Any

from pymap.backend.dict import Config, Login
from pymap.backend.dict.filter import FilterSet
from pymap.backend.dict.mailbox import MailboxSet
from pymap.concurrent import Subsystem
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.parsing.specials.searchkey import SearchKey
from pymap.user import UserMetadata
from pysasl.hashing import Cleartext

from .mails import Account
from .rules import HOST


class _Password(Cleartext):
    # compare_digest takes no text beyond ASCII
    def verify(self, secret: str, hash: str) -> bool:
        return secret == hash


class _Config(Config):
    # pymap asks the network for this machine's name at each connection.
    greeting = b"IMAP4rev1 ready"

    def __init__(self) -> None:
        super().__init__(
            Namespace(proxy_protocol=None),
            host=HOST,
            port=0,
            demo_data=False,
            demo_user="",
            demo_password="",
            # LOGIN on a plain connection; the provider wraps the whole port when tls is ssl.
            tls_enabled=False,
            # Passed so that pymap does not read certificates named by the environment.
            ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            # The default is a pool of threads that nothing ends.
            cpu_subsystem=Subsystem.for_asyncio(),
        )
        self.hash_context = _Password()


class Imap:
    """pymap's IMAP server, fed by the provider; ``serve`` serves one connection to its end."""

    def __init__(self) -> None:
        self._config = _Config()
        self._users = Login(self._config)
        self._users.users_dict.clear()  # of the demo user
        self.serve = IMAPServer(self._users, self._config)
        self._mailboxes: dict[str, tuple[Any, Any]] = defaultdict(
            lambda: (MailboxSet(), FilterSet())
        )

    def add_account(self, account: Account) -> None:
        """Let the account log in and see its mailbox."""
        for login in (account.login, account.login.lower()):
            user = UserMetadata(self._config, password=account.password)
            self._users.users_dict[login] = user
            self._config.set_cache[login] = self._mailboxes[account.address]

    async def append(self, address: str, data: bytes) -> None:
        """Put a new, unseen mail into the INBOX of a mailbox."""
        folders, _filters = self._mailboxes[address]
        inbox = await folders.get_mailbox("INBOX")
        await inbox.append(AppendMessage(data, datetime.now(timezone.utc)), recent=True)


_init = SearchKey.__init__


def _init_hashable(self, key, filter_=None, inverse=False) -> None:
    """Let pymap search for keys in brackets, as Odoo does: ``(UNSEEN)``. It reads them into a
    list, then fails to hash it: https://github.com/icgood/pymap/pull/138"""
    _init(self, key, frozenset(filter_) if type(filter_) is list else filter_, inverse)


SearchKey.__init__ = _init_hashable
