"""A folder of the hub's machine as a place: the district's own, below one that the operator set.

The way down goes from open folder to open folder and follows no symbolic link, and no file is opened that is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from connectors.places.place import FolderPlace
from connectors.places.store import MOST_ENTRIES, Entry, unsettled
from connectors.protocol import ConnectorError, Intent, SourceContext

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
Result = TypeVar("Result")
_CHANGED = "The file in the watched folder changed while it was copied."


@contextlib.asynccontextmanager
async def open_folder(place: FolderPlace, context: SourceContext) -> AsyncIterator[LocalStore]:
    """The folder. Raises ConnectorError (``watch_off``, ``folder_missing``)."""
    if context.watched is None:
        text = "This hub watches no folders: its operator has not set HUB_WATCH_FOLDER."
        raise ConnectorError("watch_off", text, intent=Intent.ASK_HUMAN)
    parts = place.folder.split("/") if place.folder else []
    try:
        here = await asyncio.to_thread(_descend, context.watched, parts)
    except OSError as error:
        text = "There is no such folder below the district's own, or it is a link. The operator makes it."
        raise ConnectorError("folder_missing", text, intent=Intent.ASK_HUMAN) from error
    try:
        yield LocalStore(here)
    finally:
        await asyncio.to_thread(os.close, here)


def _descend(root: Path, parts: list[str]) -> int:
    """The descriptor of a folder below ``root``. Raises OSError, also for a part that is a symbolic link."""
    here = os.open(root, _FOLDER)
    for part in parts:
        try:
            below = os.open(part, _FOLDER, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


@dataclass(frozen=True, slots=True)
class LocalStore:
    """An open folder."""

    folder: int

    async def entries(self) -> list[Entry]:
        """The regular files of the folder."""
        return await self._done(self._entries)

    def _entries(self) -> list[Entry]:
        found: list[Entry] = []
        with os.scandir(self.folder) as listing:
            for number, one in enumerate(listing):
                if number >= MOST_ENTRIES:
                    text = f"The folder has more than {MOST_ENTRIES:,} entries. State one for packages alone."
                    raise ConnectorError("folder_too_large", text, intent=Intent.ASK_HUMAN)
                if one.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):
                        found.append(_entry(one.name, one.stat(follow_symlinks=False)))
        return found

    async def fetch(self, entry: Entry, target: Path) -> None:
        """Copies the file."""
        await self._done(lambda: self._copy(entry, target))

    def _copy(self, entry: Entry, target: Path) -> None:
        try:
            file = os.open(entry.name, _FILE, dir_fd=self.folder)
        except FileNotFoundError:
            raise unsettled(_CHANGED) from None
        with os.fdopen(file, "rb") as source:
            if _entry(entry.name, os.fstat(file)) != entry or not stat.S_ISREG(os.fstat(file).st_mode):
                raise unsettled(_CHANGED)
            with target.open("xb") as copy:
                left = entry.size + 1  # a file that goes on growing has no end
                while left and (data := source.read(min(left, _CHUNK))):
                    copy.write(data)
                    left -= len(data)
            if left != 1:
                raise unsettled(_CHANGED)
            if _entry(entry.name, os.fstat(file)) != entry or self._there(entry) != entry:
                raise unsettled(_CHANGED)

    async def move(self, entry: Entry, folder: str, name: str) -> bool:
        """Moves the file to a folder below this one, which is made where it is missing."""
        return await self._done(lambda: self._move(entry, folder, name))

    def _move(self, entry: Entry, folder: str, name: str) -> bool:
        here = os.dup(self.folder)
        try:
            for part in folder.strip("/").split("/"):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o750, dir_fd=here)
                below = os.open(part, _FOLDER, dir_fd=here)
                os.close(here)
                here = below
            if self._there(entry) != entry:
                return False
            os.rename(entry.name, name, src_dir_fd=self.folder, dst_dir_fd=here)
        finally:
            os.close(here)
        return True

    async def remove(self, entry: Entry) -> bool:
        """Removes the file."""

        def remove() -> bool:
            with contextlib.suppress(FileNotFoundError):
                if self._there(entry) != entry:
                    return False
                os.unlink(entry.name, dir_fd=self.folder)
            return True

        return await self._done(remove)

    def _there(self, entry: Entry) -> Entry:
        """What stands at the file's name now. Raises FileNotFoundError."""
        return _entry(entry.name, os.stat(entry.name, dir_fd=self.folder, follow_symlinks=False))

    async def _done(self, act: Callable[[], Result]) -> Result:
        try:
            return await asyncio.to_thread(act)
        except OSError as error:
            text = f"The watched folder cannot be used: {error.strerror or type(error).__name__}."
            raise ConnectorError("unreadable", text, intent=Intent.RETRY) from error


def _entry(name: str, found: os.stat_result) -> Entry:
    return Entry(name, found.st_size, f"{found.st_mtime_ns}-{found.st_ino}", found.st_mtime)
