"""Disks without room, for real: a small volume that is filled, and single tables of PostgreSQL that cannot grow.

A volume needs an account that may mount one (root, outside of most containers). A table whose file is ``/dev/full``
needs nothing but a server on this machine whose files are ours: the kernel refuses each page that would make the table
longer as it does on a full disk (ENOSPC), and PostgreSQL reports that as it always does (SQLSTATE 53100). What it does
not show is a disk that fills up under everything at once, log and WAL included; the volume does.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncpg


@dataclass(frozen=True)
class Volume:
    """A small file system of its own, in memory."""

    path: Path

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, *, but: int = 0) -> None:
        """Leaves this number of bytes."""
        with (self.path / "ballast").open("ab") as ballast:
            while (room := self.free_bytes - but) > 0:
                os.posix_fallocate(ballast.fileno(), ballast.tell(), room)
                ballast.seek(0, os.SEEK_END)

    def make_room(self) -> None:
        """Takes away what ``fill`` put there."""
        (self.path / "ballast").unlink()


def sizes(*mebibytes: int) -> tuple[int, ...]:
    """The sizes of volumes to test with: none where none can be mounted."""
    return mebibytes if _mountable() else ()


@cache
def _mountable() -> bool:
    if os.geteuid():
        return False
    with tempfile.TemporaryDirectory() as folder:
        if _mount(Path(folder), 1).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def _mount(path: Path, mebibytes: int) -> subprocess.CompletedProcess[bytes]:
    options = f"size={mebibytes}m,mode=711"
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "rosterhub-test", path], check=False, capture_output=True
    )


@contextmanager
def small_volume(path: Path, mebibytes: int) -> Iterator[Volume]:
    """A volume of one of the ``sizes`` at ``path``."""
    path.mkdir(mode=0o711)
    _mount(path, mebibytes).check_returncode()
    try:
        yield Volume(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
        path.rmdir()


@asynccontextmanager
async def cannot_grow(owner_url: str, table: str, *, toast: bool = False) -> AsyncIterator[None]:
    """Empties a table of the schema ``hub`` and leaves it no room for any row; ``toast``: for none that is large.

    Sessions that met the full file have it open afterwards, and meet it again: end them.
    """
    connection = await asyncpg.connect(owner_url, server_settings={"search_path": "hub"})
    try:
        await connection.execute(f"TRUNCATE {table}")  # a file of its own that nobody has opened
        file = await connection.fetchval(
            "SELECT current_setting('data_directory') || '/' || pg_relation_filepath(CASE WHEN $2 THEN reltoastrelid "
            "ELSE oid END) FROM pg_class WHERE oid = $1::regclass", table, toast,
        )  # fmt: skip
    finally:
        await connection.close()
    await asyncio.to_thread(_replace, Path(file))
    try:
        yield
    finally:
        await asyncio.to_thread(Path(f"{file}.kept").replace, file)


def _replace(file: Path) -> None:
    assert file.stat().st_size == 0
    file.rename(f"{file}.kept")
    file.symlink_to("/dev/full")
