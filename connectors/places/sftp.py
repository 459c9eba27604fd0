"""A folder of an SFTP server as a place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from connectors import ssh
from connectors.places.place import SftpPlace
from connectors.places.store import MOST_ENTRIES, STALL_SECONDS, Entry, longest_seconds, too_slow, unsettled
from connectors.protocol import ConnectorError, Intent, SourceContext

#: Bytes that are collected before they are written: each write takes a thread.
_HELD = 4 << 20
_CHANGED = "The file at the source's place changed while it was copied."
_BLOCKED = "The host is in a private network. Mend it, or have the operator allow the network (HUB_SOURCE_ALLOW)."
_OTHER_KEY = (
    "The server's key is not the one that was stated, so no login was tried. Ask whoever runs the server whether the"
    " key was replaced before you state the new one."
)
_NO_METHOD = (
    "The server has no key of the stated kind, or accepts none of the ciphers that are safe today. Test the source: it"
    " shows the server's keys."
)
_REFUSED = "The server refuses the login. Check the user's name and enter the password or the private key anew."
_MISSING = "The server has no such folder or file. Folders are seen from where the login begins."
_FORBIDDEN = "The server does not let this login do that. Whoever runs it must permit it."
_LOST = "The server cannot be reached, or broke off. Is it running, and does its firewall let the hub in?"
_FAILURES: tuple[tuple[tuple[type[BaseException], ...], str, str, Intent], ...] = (
    ((ssh.HostBlockedError,), "address_blocked", _BLOCKED, Intent.ASK_HUMAN),
    ((ssh.HostUnknownError,), "host_unknown", "The name service does not know the host. Check it.", Intent.RETRY),
    ((asyncssh.HostKeyNotVerifiable,), "host_key_changed", _OTHER_KEY, Intent.ASK_HUMAN),
    ((asyncssh.KeyExchangeFailed,), "no_common_method", _NO_METHOD, Intent.ASK_HUMAN),
    ((asyncssh.PermissionDenied,), "login_refused", _REFUSED, Intent.ASK_HUMAN),
    ((asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath), "folder_missing", _MISSING, Intent.ASK_HUMAN),
    ((asyncssh.SFTPPermissionDenied,), "not_permitted", _FORBIDDEN, Intent.ASK_HUMAN),
    ((TimeoutError,), "timed_out", "The server did not answer in time.", Intent.RETRY),
    ((OSError, asyncssh.Error), "not_connected", _LOST, Intent.RETRY),
)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Errors of the server and the network as ConnectorError; those of this machine's disk as they are."""
    try:
        yield
    except ConnectorError:
        raise
    except (asyncssh.Error, OSError) as error:
        _, code, text, intent = next(found for found in _FAILURES if isinstance(error, found[0]))
        raise ConnectorError(code, text, intent=intent) from error


def login(place: SftpPlace, context: SourceContext) -> ssh.Login:
    """How to log in. Raises ConnectorError (``host_key_missing``, ``no_secret``)."""
    if place.host_key is None:
        text = "State the server's host key first, so that the login goes to nobody else. Test the source: it shows it."
        raise ConnectorError("host_key_missing", text, intent=Intent.ASK_HUMAN)
    secrets = context.secrets
    if not secrets.get("password") and not secrets.get("private_key"):
        text = "Enter the password or the private_key among the source's secrets."
        raise ConnectorError("no_secret", text, intent=Intent.ASK_HUMAN)
    return ssh.Login(
        place.host, place.port, place.username, place.host_key, secrets.get("password"), secrets.get("private_key"),
        secrets.get("passphrase"),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def open_sftp(place: SftpPlace, context: SourceContext) -> AsyncIterator[SftpStore]:
    """The server's folder. Raises ConnectorError."""
    found = login(place, context)
    async with contextlib.AsyncExitStack() as stack:
        with told():
            try:
                connection = await stack.enter_async_context(ssh.connected(found, context.reachable))
            except ValueError as error:
                text = f"Enter the private_key anew, with its passphrase where it has one: {error}."
                raise ConnectorError("key_unreadable", text, intent=Intent.ASK_HUMAN) from None
            async with asyncio.timeout(STALL_SECONDS):
                client = await stack.enter_async_context(connection.start_sftp_client())
        yield SftpStore(client, place.folder.rstrip("/") if place.folder != "/" else "/")


@dataclass(frozen=True, slots=True)
class SftpStore:
    """One folder at the other end of a connection."""

    client: asyncssh.SFTPClient
    folder: str

    async def entries(self) -> list[Entry]:
        """The regular files of the folder."""
        found: list[Entry] = []
        seen = 0
        with told():
            async with asyncio.timeout(STALL_SECONDS):
                async for one in self.client.scandir(self.folder or "."):
                    seen += 1
                    if seen > MOST_ENTRIES:
                        text = (
                            f"The folder has more than {MOST_ENTRIES:,} entries. State one that is for packages alone."
                        )
                        raise ConnectorError("folder_too_large", text, intent=Intent.ASK_HUMAN)
                    name = one.filename if isinstance(one.filename, str) else os.fsdecode(one.filename)
                    entry = _entry(name, one.attrs)
                    if entry is not None:
                        found.append(entry)
        return found

    async def fetch(self, entry: Entry, target: Path) -> None:
        """Copies the file in parallel blocks."""
        path = self._path(entry.name)
        with told():
            limit = asyncio.timeout(longest_seconds(entry.size))
            try:
                async with limit:
                    await self._copy(path, entry, target)
            except TimeoutError:
                raise (too_slow() if limit.expired() else _stalled()) from None
            attributes = await self._stat(path)
        if _entry(entry.name, attributes) != entry:
            raise unsettled(_CHANGED)

    async def _copy(self, path: str, entry: Entry, target: Path) -> None:
        async with self.client.open(path, "rb") as file:
            attributes = await file.stat()
            if _entry(entry.name, attributes) != entry:
                raise unsettled(_CHANGED)
            with told_room():
                copy = await asyncio.to_thread(os.open, target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                if await _written(file, copy, entry.size) != entry.size:
                    raise unsettled(_CHANGED)
            finally:
                await asyncio.to_thread(os.close, copy)

    async def move(self, entry: Entry, folder: str, name: str) -> bool:
        """Moves the file, in one step where the server can."""
        target = f"{self._path(folder.strip('/'))}/{name}"
        with told():
            async with asyncio.timeout(STALL_SECONDS):
                if await self._there(entry) != entry:
                    return False
                try:
                    await self.client.posix_rename(self._path(entry.name), target)
                except asyncssh.SFTPOpUnsupported:
                    with contextlib.suppress(asyncssh.SFTPNoSuchFile):
                        await self.client.remove(target)
                    if await self._there(entry) != entry:
                        return False
                    await self.client.rename(self._path(entry.name), target)
        return True

    async def remove(self, entry: Entry) -> bool:
        """Removes the file."""
        with told():
            async with asyncio.timeout(STALL_SECONDS):
                try:
                    if await self._there(entry) != entry:
                        return False
                    await self.client.remove(self._path(entry.name))
                except asyncssh.SFTPNoSuchFile:
                    pass
        return True

    async def _there(self, entry: Entry) -> Entry | None:
        """What stands at the file's name now. Raises asyncssh.SFTPNoSuchFile."""
        return _entry(entry.name, await self.client.lstat(self._path(entry.name)))

    async def _stat(self, path: str) -> asyncssh.SFTPAttrs:
        async with asyncio.timeout(STALL_SECONDS):
            return await self.client.lstat(path)

    def _path(self, name: str) -> str:
        return f"{self.folder.rstrip('/')}/{name}" if self.folder else name


async def _written(file: asyncssh.SFTPClientFile, copy: int, size: int) -> int:
    """Writes the blocks of a file where they belong, many at a time; how many bytes came."""
    held: list[tuple[int, bytes]] = []
    waiting = came = 0
    blocks = await file.read_parallel(size, 0)
    async with contextlib.aclosing(blocks):  # type: ignore[type-var] # it is a generator, whatever its type says
        while True:
            async with asyncio.timeout(STALL_SECONDS):
                block = await anext(blocks, None)
            if block is not None:
                held.append((block[0], bytes(block[1])))
                waiting += len(block[1])
                came += len(block[1])
            if waiting >= _HELD or (block is None and held):
                with told_room():
                    await asyncio.to_thread(_write, copy, held)
                held, waiting = [], 0
            if block is None:
                return came


def _write(copy: int, blocks: list[tuple[int, bytes]]) -> None:
    for offset, data in blocks:
        written = 0
        while written < len(data):
            written += os.pwrite(copy, data[written:], offset + written)


@contextlib.contextmanager
def told_room() -> Iterator[None]:
    """Errors of this machine's disk as ConnectorError."""
    try:
        yield
    except OSError as error:
        text = f"The package cannot be kept on the hub's machine: {error.strerror or type(error).__name__}."
        raise ConnectorError("unreadable", text, intent=Intent.RETRY) from error


def _stalled() -> ConnectorError:
    text = f"The server sent nothing for {STALL_SECONDS:.0f} seconds in the middle of a file."
    return ConnectorError("timed_out", text, intent=Intent.RETRY)


def _entry(name: str, attributes: asyncssh.SFTPAttrs) -> Entry | None:
    """A regular file; None for anything else. Servers of version 3 tell the kind by the permissions alone."""
    regular = (
        stat.S_ISREG(attributes.permissions)
        if attributes.permissions is not None
        else attributes.type in {asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN}
    )
    if not regular or attributes.size is None or attributes.mtime is None:
        return None
    return Entry(name, attributes.size, str(int(attributes.mtime)), float(attributes.mtime))
