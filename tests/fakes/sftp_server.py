"""An SFTP server of some vendor: asyncssh on the files of a folder, and scripted faults.

It runs in a thread with a loop of its own, so that tests with and without a loop can use it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import asyncssh

USER, PASSWORD = "hub", "a password of these tests"


@cache
def keys() -> tuple[asyncssh.SSHKey, asyncssh.SSHKey]:
    """The server's key and a user's."""
    return asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


@dataclass
class Vendor:
    """A server that runs.

    ``cut_after``: bytes of a file after which the connection breaks off; ``while_reading`` is called once, when the
    first bytes of a file were read; ``hangs_at``: the place in a file where it hangs; ``hostile`` names stand in
    listings beside the real ones; ``after_listing`` is called once, when the end of a listing is told.
    """

    root: Path
    port: int = 0
    logins: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    read: int = 0
    cut_after: int | None = None
    while_reading: Callable[[], None] | None = None
    after_listing: Callable[[], None] | None = None
    hostile: tuple[str, ...] = ()
    hangs_at: int | None = None
    posix: bool = True
    read_only: bool = False

    @property
    def host_key(self) -> str:
        return keys()[0].export_public_key().decode()

    @property
    def fingerprint(self) -> str:
        return keys()[0].get_fingerprint()

    def place(self, **values: Any) -> dict[str, Any]:
        given = {"kind": "sftp", "host": "127.0.0.1", "port": self.port, "username": USER, "host_key": self.host_key}
        return given | values


class _Accounts(asyncssh.SSHServer):
    def __init__(self, vendor: Vendor, *, breaks_off_later: bool) -> None:
        self._vendor, self._breaks_off_later = vendor, breaks_off_later

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Of a server that refuses, its words come first; asyncssh breaks off at once, and they may be lost."""
        if self._breaks_off_later:
            transport: Any = conn._transport
            abort, loop = transport.abort, asyncio.get_running_loop()
            transport.abort = lambda: loop.call_later(0.2, abort)

    def begin_auth(self, username: str) -> bool:
        self._vendor.logins.append(username)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key == keys()[1].convert_to_public()


class _Files(asyncssh.SFTPServer):
    def __init__(self, channel: Any, vendor: Vendor) -> None:
        super().__init__(channel, chroot=os.fsencode(vendor.root))
        self._vendor = vendor

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        self._vendor.opened.append(os.fsdecode(path).rpartition("/")[2])
        return super().open(path, pflags, attrs)

    async def read(self, file_obj: object, offset: int, size: int) -> Any:
        vendor = self._vendor
        if vendor.hangs_at is not None and offset + size > vendor.hangs_at:
            vendor.hangs_at = None
            await asyncio.sleep(0.6)
        if vendor.cut_after is not None and offset + size > vendor.cut_after:
            vendor.cut_after = None
            self.connection.abort()
            raise asyncssh.SFTPConnectionLost("cut")
        data = super().read(file_obj, offset, size)
        assert isinstance(data, bytes)
        vendor.read += len(data)
        if vendor.while_reading is not None:
            act, vendor.while_reading = vendor.while_reading, None
            act()
        return data

    async def scandir(self, path: bytes) -> Any:
        async for one in super().scandir(path):
            yield one
        for name in self._vendor.hostile:
            attributes = asyncssh.SFTPAttrs(size=4, permissions=0o100644, atime=1, mtime=2_000_000_000)
            yield asyncssh.SFTPName(name.encode(), attrs=attributes)
        if self._vendor.after_listing is not None:
            act, self._vendor.after_listing = self._vendor.after_listing, None
            act()

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
        if not self._vendor.posix:
            raise asyncssh.SFTPOpUnsupported("not here")
        return self._writes(lambda: super(_Files, self).posix_rename(oldpath, newpath))

    def rename(self, oldpath: bytes, newpath: bytes) -> Any:
        return self._writes(lambda: super(_Files, self).rename(oldpath, newpath))

    def remove(self, path: bytes) -> Any:
        return self._writes(lambda: super(_Files, self).remove(path))

    def _writes(self, act: Callable[[], Any]) -> Any:
        if self._vendor.read_only:
            raise asyncssh.SFTPPermissionDenied("read only")
        return act()


@contextmanager
def running(root: Path, *, key: asyncssh.SSHKey | None = None, compression: tuple[str, ...] = ()) -> Iterator[Vendor]:
    """A server on a free port, with the files below ``root``. ``key``: its own, other than that of ``keys``.

    ``compression``: what it speaks; what asyncssh does without it.
    """
    vendor = Vendor(root)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key or keys()[0]],
            server_factory=lambda: _Accounts(vendor, breaks_off_later=bool(compression)),
            sftp_factory=lambda channel: _Files(channel, vendor), config=[], agent_forwarding=False,
            compression_algs=compression,
        )  # fmt: skip

    async def end(listener: asyncssh.SSHAcceptor) -> None:
        listener.close()
        await listener.wait_closed()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    listener = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    vendor.port = listener.get_port()
    try:
        yield vendor
    finally:
        asyncio.run_coroutine_threadsafe(end(listener), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
