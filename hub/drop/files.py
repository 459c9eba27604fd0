"""What a vendor sees: one folder, to put files down in. Nothing is read back, and of others nothing is seen.

Every operation of the protocol is answered here; a test compares them with those that asyncssh knows, since what is
left to it would reach the machine's own files.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, NoReturn

import asyncssh

from hub.drop import names
from hub.drop.accounts import Account
from hub.drop.handle import Handle
from hub.drop.pace import Pace
from hub.drop.spool import Item
from hub.errors import HubError

#: Files that may wait in the folder of one source.
MOST_FILES = 64
#: Of the largest size that one login may have on the disk: one that comes, and one that is handed over.
MOST_PACKAGES = 2
#: Bytes; to count for each write would cost more than the write.
_COUNTED_EVERY = 8 << 20
#: Seconds for which a login that was looked at may write on; to look for each write would cost more than the write.
_LOOKED_EVERY = 1.0
#: Seconds that the end of a file waits for a database that is away.
_CLOSE_PATIENCE = 30
_NO_READING = "Files are put down here, not read."
_NO_FOLDERS = "There are no folders and no links here."


class Files(asyncssh.SFTPServer):
    """One session."""

    def __init__(self, channel: Any, account: Account, most_bytes: int, pace: Pace) -> None:
        super().__init__(channel)
        self._account, self._folder = account, account.folder
        self._most, self._pace = most_bytes, pace
        self._open: set[Handle] = set()

    async def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Handle:
        """Opens a file for writing, one session at a time; the newest has it."""
        if not pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND):
            raise asyncssh.SFTPPermissionDenied(_NO_READING)
        name = names.plain(path)
        names.check_kind(name)
        await self._still_welcome()
        async with self._account.lock:
            return await self._opened(name, pflags)

    async def _opened(self, name: str, pflags: int) -> Handle:
        items = {item.name: item for item in await asyncio.to_thread(self._folder.items)}
        there = items.get(name)
        if there is None and not pflags & asyncssh.FXF_CREAT:
            raise asyncssh.SFTPNoSuchFile("There is no such file.")
        if there is not None and pflags & asyncssh.FXF_EXCL:
            raise asyncssh.SFTPFailure("There is a file of this name already.")
        if there is None and len(items) >= MOST_FILES:
            raise asyncssh.SFTPFailure(f"No more than {MOST_FILES} files may wait here.")
        await _on_disk(self._account.take_over, name)
        fresh = bool(pflags & asyncssh.FXF_TRUNC)
        descriptor = await _on_disk(self._folder.open, name, fresh=fresh)
        size = await _on_disk(lambda: os.fstat(descriptor).st_size)
        handle = Handle(name, descriptor, size, appends=bool(pflags & asyncssh.FXF_APPEND))
        self._account.handles[name] = handle
        self._open.add(handle)
        return handle

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Writes where the client says, as fast as the account may."""
        _live(file_obj)
        await asyncio.sleep(self._pace.owed(len(data)))
        await self._may_write_on()
        async with self._account.lock:
            handle = _live(file_obj)
            offset = handle.size if handle.appends else offset
            end = offset + len(data)
            try:
                await _on_disk(self._write, handle, data, offset)
            except Exception as error:
                handle.failed(offset, end, _reason(error))
                raise
            handle.wrote(offset, end)
        return len(data)

    async def close(self, file_obj: object) -> None:
        """Ends a file at its client's word: it is whole, unless some of it was refused.

        Clients close a file after a refusal, too. Raises SFTPFailure then: some look at this answer alone.
        """
        assert isinstance(file_obj, Handle)
        if file_obj not in self._open:
            return  # the protocol's own end: ``leave`` was there before
        # What it refuses is closed when the session ends, and is not whole: many clients try again a day later.
        await self._still_welcome(patience=_CLOSE_PATIENCE)
        self._open.discard(file_obj)
        async with self._account.lock:
            handle = _live(file_obj)
            self._forget(handle)
            if handle.missing:
                await _on_disk(handle.close)
                raise asyncssh.SFTPFailure(f"The file is not whole. {handle.why}")
            descriptor, handle.descriptor = handle.descriptor, -1
            await _on_disk(self._folder.finish, handle.name, descriptor)

    async def leave(self) -> None:
        """Closes what a client that is gone left open, as it is: it is not whole. Raises nothing."""
        while self._open:
            handle = self._open.pop()
            async with self._account.lock:
                self._forget(handle)
                with suppress(OSError):
                    await asyncio.to_thread(handle.close)

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Gives a whole file its final name. One that has the name is replaced, as clients expect of an upload."""
        old, new = names.plain(oldpath), names.plain(newpath)
        names.check_kind(new)
        await self._still_welcome()
        async with self._account.lock:
            if old in self._account.handles:
                raise asyncssh.SFTPFailure("The file is still open.")
            there = await asyncio.to_thread(self._folder.item, old)
            if there is None:
                raise asyncssh.SFTPNoSuchFile("There is no such file.")
            if not there.whole:
                raise asyncssh.SFTPFailure("The file was not uploaded to its end. Upload it again.")
            await _on_disk(self._account.take_over, new)
            await _on_disk(self._folder.rename, old, new)

    posix_rename = rename

    async def remove(self, path: bytes) -> None:
        """Removes a file that waits."""
        name = names.plain(path)
        await self._still_welcome()
        async with self._account.lock:
            await _on_disk(self._account.take_over, name)
            await _on_disk(self._folder.remove, name)

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """Names and sizes of what this source's vendor put down and what was not taken yet."""
        if not names.is_root(path):
            raise asyncssh.SFTPNoSuchFile(_NO_FOLDERS)
        await self._still_welcome()
        for name in (b".", b".."):
            yield asyncssh.SFTPName(name, attrs=_of_folder())
        for item in await asyncio.to_thread(self._folder.items):
            yield asyncssh.SFTPName(item.name.encode(), attrs=_of_file(item))

    async def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        """Size and time of a file that waits."""
        if names.is_root(path):
            return _of_folder()
        await self._still_welcome()
        found = await asyncio.to_thread(self._folder.item, names.plain(path))
        if found is None:
            raise asyncssh.SFTPNoSuchFile("There is no such file.")
        return _of_file(found)

    stat = lstat

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        """The same of an open file."""
        handle = _live(file_obj)
        return _of_file(Item(handle.name, handle.size, time.time(), whole=False))

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Times and permissions are nobody's business here, but clients may set them."""

    lsetstat = setstat

    async def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        """The same; a size is what clients set that resume."""
        if attrs.size is None:
            return
        await self._still_welcome()
        async with self._account.lock:
            handle = _live(file_obj)
            if attrs.size > handle.size:
                text = "A file grows by what is written to it."
                handle.failed(handle.size, attrs.size, text)
                raise asyncssh.SFTPFailure(text)
            try:
                await _on_disk(os.ftruncate, handle.descriptor, attrs.size)
            except Exception as error:
                handle.spoiled(_reason(error))
                raise
            handle.cut(attrs.size)

    async def fsync(self, file_obj: object) -> None:
        """Writes an open file through. What could not be written may be lost, wherever it stands in the file."""
        async with self._account.lock:
            handle = _live(file_obj)
            try:
                await _on_disk(os.fsync, handle.descriptor)
            except Exception as error:
                handle.spoiled(_reason(error))
                raise

    def realpath(self, path: bytes) -> bytes:
        """Paths begin at the one folder."""
        return os.path.normpath(b"/" + path.lstrip(b"/"))

    def map_path(self, path: bytes) -> bytes:
        """No path leads to a file of this machine."""
        raise asyncssh.SFTPPermissionDenied(_NO_READING)

    def reverse_map_path(self, path: bytes) -> bytes:
        """The same."""
        raise asyncssh.SFTPPermissionDenied(_NO_READING)

    def read(self, file_obj: object, offset: int, size: int) -> NoReturn:
        """Nothing is read."""
        raise asyncssh.SFTPPermissionDenied(_NO_READING)

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs) -> NoReturn:
        """Version 3 of the protocol alone is spoken."""
        raise asyncssh.SFTPOpUnsupported("Version 3 is spoken here.")

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """There is one folder."""
        raise asyncssh.SFTPPermissionDenied(_NO_FOLDERS)

    def rmdir(self, path: bytes) -> NoReturn:
        """There is one folder."""
        raise asyncssh.SFTPPermissionDenied(_NO_FOLDERS)

    def readlink(self, path: bytes) -> NoReturn:
        """There are no links."""
        raise asyncssh.SFTPPermissionDenied(_NO_FOLDERS)

    def symlink(self, oldpath: bytes, newpath: bytes) -> NoReturn:
        """There are no links."""
        raise asyncssh.SFTPPermissionDenied(_NO_FOLDERS)

    link = symlink

    def lock(self, file_obj: object, offset: int, length: int, flags: int) -> NoReturn:
        """Nothing is locked."""
        raise asyncssh.SFTPOpUnsupported("Files are not locked here.")

    def unlock(self, file_obj: object, offset: int, length: int) -> NoReturn:
        """Nothing is locked."""
        raise asyncssh.SFTPOpUnsupported("Files are not locked here.")

    def statvfs(self, path: bytes) -> NoReturn:
        """How full the machine is is not told."""
        raise asyncssh.SFTPOpUnsupported("This is not told.")

    def fstatvfs(self, file_obj: object) -> NoReturn:
        """The same."""
        raise asyncssh.SFTPOpUnsupported("This is not told.")

    def exit(self) -> None:
        """Nothing is left to do: the protocol's own end has closed what was open."""

    def _forget(self, handle: Handle) -> None:
        if self._account.handles.get(handle.name) is handle:
            del self._account.handles[handle.name]

    def _write(self, handle: Handle, data: bytes, offset: int) -> None:
        """In a thread. Raises OSError, and SFTPFailure where a file may not reach so far."""
        grows = offset + len(data) - handle.size
        if grows > self._account.granted:
            waiting, taken = self._folder.bytes()
            if waiting + grows > self._most:
                text = f"A package has no more than {self._most:,} bytes, and so have all files that wait here."
                raise asyncssh.SFTPFailure(text)
            room = min(self._most, self._most * MOST_PACKAGES - taken) - waiting
            if grows > room:
                raise asyncssh.SFTPFailure("The hub has not taken yet what came before. Try again later.")
            self._account.granted = min(room, max(grows, _COUNTED_EVERY))
        self._account.granted -= max(0, grows)
        _write(handle.descriptor, data, offset)

    async def _still_welcome(self, *, patience: int = 0) -> None:
        """Raises SFTPPermissionDenied once the login was changed or taken away, and ends the connection.

        Raises SFTPFailure while the database is away, for longer than ``patience`` seconds.
        """
        while True:
            try:
                if await self._account.still_there():
                    return
            except HubError:
                if not patience:
                    raise asyncssh.SFTPFailure("The hub cannot be reached just now. Try again in a minute.") from None
                patience -= 1
                await asyncio.sleep(1)
            else:
                self._over()

    async def _may_write_on(self) -> None:
        """The same of writes: not looked at each time, and while the database is away they go on: ``close`` decides."""
        with suppress(HubError):
            if not await self._account.still_there(within=_LOOKED_EVERY):
                self._over()

    def _over(self) -> NoReturn:
        self.connection.close()
        raise asyncssh.SFTPPermissionDenied("The login has changed.")


def _live(file_obj: object) -> Handle:
    """The open file. Raises SFTPFailure where another session has it by now."""
    assert isinstance(file_obj, Handle)
    if not file_obj.live:
        raise asyncssh.SFTPFailure("Another session writes this file now.")
    return file_obj


async def _on_disk(act: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Does it in a thread; the disk's errors as the protocol says them."""
    try:
        return await asyncio.to_thread(act, *arguments, **more)
    except FileNotFoundError:
        raise asyncssh.SFTPNoSuchFile("There is no such file.") from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            text = "The hub's disk is full; nothing of this was kept. Try again later."
            raise asyncssh.SFTPNoSpaceOnFilesystem(text) from None
        raise asyncssh.SFTPFailure("The hub cannot keep the file.") from None


def _reason(error: Exception) -> str:
    return str(error.reason) if isinstance(error, asyncssh.SFTPError) else "The hub could not keep all of it."


def _write(descriptor: int, data: bytes, offset: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)


def _of_folder() -> asyncssh.SFTPAttrs:
    now = int(time.time())
    return asyncssh.SFTPAttrs(permissions=stat.S_IFDIR | 0o300, uid=0, gid=0, size=0, atime=now, mtime=now)


def _of_file(item: Item) -> asyncssh.SFTPAttrs:
    at = int(item.at)
    return asyncssh.SFTPAttrs(permissions=stat.S_IFREG | 0o200, uid=0, gid=0, size=item.size, atime=at, mtime=at)
