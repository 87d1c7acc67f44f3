# SPDX-License-Identifier: LGPL-3.0-only
"""IMAP for the provider: pymap's server on its in-memory backend."""

from __future__ import annotations

import asyncio
import functools
import ssl
import uuid
from datetime import datetime, timezone
from typing import Any

from .mails import Account
from .rules import HOST


class Imap:
    """pymap's IMAP server on its in-memory backend, fed by the provider.

    It runs with pymap 0.27 and 0.36; the comments that say 0.27 tell where that one differs.
    """

    def __init__(self) -> None:
        try:
            from proxyprotocol.sock import SocketInfo
            from pymap.backend.dict import Config, Login
            from pymap.backend.dict.filter import FilterSet
            from pymap.backend.dict.mailbox import MailboxSet
            from pymap.concurrent import Subsystem
            from pymap.imap import IMAPServer
            from pymap.parsing.message import AppendMessage
            from pymap.parsing.specials.searchkey import SearchKey
            from pymap.user import UserMetadata
            from pysasl.hashing import Cleartext
        except ImportError as error:
            raise RuntimeError(f"imap=True needs pymap 0.27 or 0.36: {error}") from error
        from argparse import Namespace

        _make_searchable(SearchKey)

        class Password(Cleartext):
            # compare_digest takes no text beyond ASCII
            def verify(self, secret: str, hash: str) -> bool:
                return secret == hash

        class ProviderConfig(Config):
            # pymap asks the network for this machine's name at each connection.
            greeting = b"IMAP4rev1 ready"

        self._config = ProviderConfig(
            Namespace(passlib_cfg=None, proxy_protocol=None),
            host=HOST,
            port=0,
            demo_data=False,
            demo_user="",
            demo_password="",
            # LOGIN on a plain connection; the provider wraps the whole port when tls is ssl.
            tls_enabled=False,
            # Passed so that pymap does not read certificates named by the environment.
            ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            reject_dnsbl=False,
            invalid_user_sleep=0.0,
            # The default is a pool of threads that nothing ends.
            cpu_subsystem=Subsystem.for_asyncio(),
        )
        # The default hashes slowly. Not an argument above: the backend of 0.27 passes its own.
        self._config.hash_context = Password()
        self._users = Login(self._config)
        self._users.users_dict.clear()  # 0.27 always has the demo user
        self._server = IMAPServer(self._users, self._config)
        self._mailboxes: dict[str, tuple[Any, Any]] = {}
        self._new_mailbox = lambda: (MailboxSet(), FilterSet())
        self._user, self._append, self._peer = UserMetadata, AppendMessage, SocketInfo

    def add_account(self, account: Account) -> None:
        """Let the account log in and see its mailbox."""
        mailbox = self._mailbox(account.address)
        for login in {account.login, account.login.lower()}:
            # By keyword: 0.27 knows no name and keeps it as one more parameter.
            self._users.users_dict[login] = self._user(
                self._config, name=login, password=account.password
            )
            self._config.set_cache[login] = mailbox

    async def append(self, address: str, data: bytes) -> None:
        """Put a new, unseen mail into the INBOX of a mailbox."""
        folders, _filters = self._mailbox(address)
        inbox = await folders.get_mailbox("INBOX")
        await inbox.append(self._append(data, datetime.now(timezone.utc)), recent=True)

    def _mailbox(self, address: str) -> tuple[Any, Any]:
        if address not in self._mailboxes:
            self._mailboxes[address] = self._new_mailbox()
        return self._mailboxes[address]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one IMAP connection to its end."""
        arguments: list[Any] = [reader, writer]
        if hasattr(self._peer, "get"):  # 0.27 looks at its peer itself
            arguments.append(self._peer.get(writer, None, unique_id=uuid.uuid4().bytes))
        await self._server(*arguments)


@functools.cache
def _make_searchable(search_key: Any) -> None:
    """Let 0.27 search for keys in brackets, as Odoo does: ``(UNSEEN)``. It reads them into a list,
    then fails to hash it (https://github.com/icgood/pymap/pull/138); 0.36 makes no such list."""
    init = search_key.__init__

    def init_hashable(self: Any, key: bytes, filter_: Any = None, inverse: bool = False) -> None:
        init(self, key, frozenset(filter_) if type(filter_) is list else filter_, inverse)

    search_key.__init__ = init_hashable
