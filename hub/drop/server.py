"""The SSH side: who may connect, how often, for how long, and nothing but SFTP."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncssh
import structlog
from asyncssh.sftp import MIN_SFTP_VERSION, SFTPServerHandler
from asyncssh.stream import SSHServerStreamSession

from hub import vault
from hub.crypto import load_key
from hub.drop.accounts import Account, Accounts, network
from hub.drop.files import Files
from hub.drop.handing_over import ARCHIVE_QUIET_SECONDS, LOOK_SECONDS, HandingOver
from hub.drop.host_key import host_key
from hub.errors import Code, HubError
from hub.settings import Settings
from hub.store.database import Database

log = structlog.get_logger()
LOGIN_SECONDS = 30
#: Wrong passwords and keys of one connection.
MOST_TRIES = 6
_KEEP_ALIVE_SECONDS, _KEEP_ALIVE_COUNT = 30, 3
#: Sessions of one connection at a time; each holds memory.
MOST_SESSIONS = 8
#: Of all connections, those that one address may have.
_ADDRESS_SHARE = 10


class _Protocol(SFTPServerHandler):
    """The protocol of one channel. Its own end closes files by the same call as a client: it says so beforehand."""

    def __init__(self, files: Files, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        super().__init__(files, reader, writer, MIN_SFTP_VERSION)
        self._files = files

    async def run(self) -> None:
        """Answers until the client goes, or says what cannot be understood."""
        try:
            await super().run()
        finally:
            await self._files.leave()  # some errors reach no ``_cleanup``

    async def _cleanup(self, exc: Exception | None) -> None:
        await self._files.leave()
        await super()._cleanup(exc)


class _Session(SSHServerStreamSession[bytes]):
    """A channel, for SFTP alone."""

    def __init__(self, made: Callable[[Any], Files], ended: Callable[[], None]) -> None:
        super().__init__(None, made, MIN_SFTP_VERSION, allow_scp=False)
        self._ended = ended
        self._speaking: asyncio.Task[None] | None = None

    def session_started(self) -> None:
        """Begins to answer."""
        channel, files = self._chan, self._init_sftp_server()
        assert channel is not None
        assert isinstance(files, Files)
        reader, writer = asyncssh.SSHReader(self, channel), asyncssh.SSHWriter(self, channel)
        self._speaking = channel.get_connection().create_task(_Protocol(files, reader, writer).run(), reader.logger)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel, or all of the connection, is closed."""
        super().connection_lost(exc)
        if self._speaking is None:
            self._ended()
        else:  # it answers what came before
            self._speaking.add_done_callback(lambda _: self._ended())


class Door:
    """What all connections share."""

    def __init__(self, accounts: Accounts, most: int, most_bytes: int) -> None:
        self.accounts, self.most_bytes = accounts, most_bytes
        self._most = most
        self._open: Counter[str] = Counter()
        self._connections: set[asyncssh.SSHServerConnection] = set()

    def enter(self, address: str, connection: asyncssh.SSHServerConnection) -> bool:
        """Whether there is a place for one more connection from there."""
        place = network(address)
        if self._open.total() >= self._most or self._open[place] >= max(2, self._most // _ADDRESS_SHARE):
            return False
        self._open[place] += 1
        self._connections.add(connection)
        return True

    async def close(self) -> None:
        """Ends all connections."""
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))

    def leave(self, address: str, connection: asyncssh.SSHServerConnection) -> None:
        """Gives the place back."""
        self._connections.discard(connection)
        place = network(address)
        self._open[place] -= 1
        if not self._open[place]:
            del self._open[place]


class Visitor(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._address: str | None = None
        self._connection: asyncssh.SSHServerConnection | None = None
        self._account: Account | None = None
        self._tries = self._sessions = 0
        self._noting: asyncio.Task[None] | None = None  # a task without a name to it could be collected

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Takes a place, or ends the connection."""
        address = str((conn.get_extra_info("peername") or ("",))[0])
        if not self._door.enter(address, conn):
            conn.abort()
            return
        self._address, self._connection = address, conn

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives the place back."""
        if self._address is not None and self._connection is not None:
            self._door.leave(self._address, self._connection)
            self._address = None

    def password_auth_supported(self) -> bool:
        """Passwords are taken."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys are taken."""
        return True

    def kbdint_auth_supported(self) -> bool:
        """Nothing is asked of people."""
        return False

    async def validate_password(self, username: str, password: str) -> bool:
        """Whether it is the account's."""
        return await self._tried(lambda a: self._door.accounts.by_password(username, password, a))

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether it is one of the account's."""
        return await self._tried(lambda a: self._door.accounts.by_key(username, key, a))

    async def _tried(self, look: Callable[[str], Awaitable[Account | None]]) -> bool:
        self._tries += 1
        if self._address is None or self._connection is None:
            return False
        if self._tries > MOST_TRIES:
            self._connection.abort()
            return False
        with suppress(HubError):  # the database is away: nobody is let in
            self._account = await look(self._address)
            if self._account is not None:
                return True
        if self._account is None:
            log.info("a login at the drop was refused", tries=self._tries)
        return False

    async def begin_auth(self, username: str) -> bool:
        """Everybody has to log in."""
        self._account = None
        return True

    def session_requested(self) -> Any:
        """A channel for SFTP."""
        account = self._account
        if account is None or self._sessions >= MOST_SESSIONS:
            return False
        self._sessions += 1
        return _Session(
            lambda channel: Files(channel, account, self._door.most_bytes, account.pace), self._session_ended
        )

    def _session_ended(self) -> None:
        self._sessions -= 1

    def auth_completed(self) -> None:
        """Notes the login."""
        if self._account is not None and self._connection is not None:
            self._noting = asyncio.create_task(self._noted(self._account))

    async def _noted(self, account: Account) -> None:
        with suppress(HubError):
            await self._door.accounts.used(account)


@asynccontextmanager
async def serving(
    settings: Settings, db: Database, wake: Callable[[str, UUID], Awaitable[None]], *, port: int,
    look_seconds: float = LOOK_SECONDS, quiet_seconds: float = ARCHIVE_QUIET_SECONDS,
) -> AsyncIterator[asyncssh.SSHAcceptor]:  # fmt: skip
    """The server, and who hands over what came. ``db`` logs in as hub_service.

    Raises HubError(SETTINGS_CONTRADICT) where another one uses the same data folder.
    """
    keys = await asyncio.to_thread(load_key, settings)
    await vault.fix(db, keys)
    root = settings.data_dir / "drop"
    hold = await asyncio.to_thread(_alone, root)
    try:
        accounts = Accounts(db, settings, root, asyncio.get_running_loop().time)
        door = Door(accounts, settings.sftp_connections, settings.upload_max_bytes)
        stop = asyncio.Event()
        handing = HandingOver(db, root, wake, settings.upload_max_bytes, look_seconds, quiet_seconds)
        own = await asyncio.to_thread(host_key, settings, keys)
        listener = await asyncssh.create_server(
            lambda: Visitor(door), settings.sftp_host, port, server_host_keys=[own], config=[],
            login_timeout=LOGIN_SECONDS, keepalive_interval=_KEEP_ALIVE_SECONDS,
            keepalive_count_max=_KEEP_ALIVE_COUNT, agent_forwarding=False, x11_forwarding=False, allow_scp=False,
            gss_host=None, server_version="RosterHub", reuse_address=True,
            compression_algs=None,  # a packet of some kB could become one of many MB
        )  # fmt: skip
        task = asyncio.create_task(handing.run(stop))
        try:
            yield listener
        finally:
            listener.close()
            await door.close()
            await listener.wait_closed()
            stop.set()
            await task
    finally:
        os.close(hold)


def _alone(root: Path) -> int:
    """A descriptor whose lock says that the folder is ours."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    hold = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(hold)
        text = f"Another `hub sftp` uses {root}. Give each a data folder of its own (HUB_DATA_DIR)."
        raise HubError(Code.SETTINGS_CONTRADICT, text) from None
    return hold
