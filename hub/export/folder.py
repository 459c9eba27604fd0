"""Writing a package into a folder below the operator's, and nowhere else.

The way down goes from open folder to open folder and follows no symbolic link, so nothing that lies there, and nobody
who changes it meanwhile, leads anywhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from hub.errors import Code, HubError, Intent

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MODE = 0o640


async def write(root: Path | None, parts: Sequence[str], name: str, number: str, data: AsyncIterator[bytes]) -> None:
    """Writes ``data`` to the file ``name`` in the folder ``parts`` below ``root``; it appears when it is whole.

    Folders that are missing are made. ``number`` tells attempts of different exports apart. Raises
    HubError(TARGET_FAILED).
    """
    if root is None:
        raise HubError(
            Code.TARGET_FAILED, "This hub writes to no folder: its operator has not set HUB_EXPORT_FOLDER.",
            intent=Intent.ASK_HUMAN,
        )  # fmt: skip
    try:
        folder = await asyncio.to_thread(_descend, root, parts)
        try:
            await _write(folder, name, f".{name}.{number}.partial", data)
        finally:
            os.close(folder)
    except OSError as error:
        raise HubError(
            Code.TARGET_FAILED, f"The folder cannot be written to: {error.strerror or type(error).__name__}.",
            intent=Intent.RETRY,
        ) from error  # fmt: skip


def _descend(root: Path, parts: Sequence[str]) -> int:
    """The descriptor of the folder below ``root``. Raises OSError, also for a part that is a symbolic link."""
    here = os.open(root, _FOLDER)
    for part in parts:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o750, dir_fd=here)
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


async def _write(folder: int, name: str, partial: str, data: AsyncIterator[bytes]) -> None:
    file = await asyncio.to_thread(_open, folder, partial)
    try:
        try:
            async for part in data:
                await asyncio.to_thread(_all, file, part)
            await asyncio.to_thread(os.fsync, file)
        finally:
            os.close(file)
        await asyncio.to_thread(os.rename, partial, name, src_dir_fd=folder, dst_dir_fd=folder)
        await asyncio.to_thread(os.fsync, folder)
    except BaseException:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(os.unlink, partial, dir_fd=folder)
        raise


def _open(folder: int, partial: str) -> int:
    """A fresh file; what an attempt that was killed left under this name goes first."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial, dir_fd=folder)
    return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=folder)


def _all(file: int, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[os.write(file, view) :]
