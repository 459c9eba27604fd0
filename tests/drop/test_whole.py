"""A file is whole when its client said so, and nothing of it was refused, skipped or lost."""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

import asyncssh
import pytest
from asyncssh.packet import String, UInt32, UInt64

from hub.drop import files
from hub.drop.handle import Handle
from tests.drop.conftest import Site


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


async def states(site: Site) -> dict[str, tuple[int, bool]]:
    """Size of each file that waits, and whether it is whole."""
    return {item.name: (item.size, item.whole) for item in await asyncio.to_thread(site.folder.items)}


async def refused(file: asyncssh.SFTPClientFile, text: str) -> None:
    """Closes a file as clients do after an error, and that is not taken for its end."""
    with pytest.raises(asyncssh.SFTPFailure, match=text):
        await file.close()


@pytest.mark.threat("F16", "T42")
async def test_a_file_of_which_a_write_was_refused_is_not_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.quiet = 3600
    async with site.running(), site.client() as client:
        big = await client.open("big.csv", "wb")
        await big.write(b"a" * 900_000)
        with pytest.raises(asyncssh.SFTPError, match="no more than"):
            await big.write(b"b" * 200_000, 900_000)
        await refused(big, "not whole. A package has no more than 1,000,000")
        assert (await states(site))["big.csv"] == (900_000, False)
        await client.remove("big.csv")

        disk = await client.open("disk.csv", "wb")
        await disk.write(b"a" * 300)
        with monkeypatch.context() as patch:
            patch.setattr(files, "_write", full)
            with pytest.raises(asyncssh.SFTPError, match="disk is full"):
                await disk.write(b"b" * 300)
        await disk.write(b"c" * 300, 600)  # requests are sent ahead: this one finds room again
        await refused(disk, "disk is full")
        assert (await states(site))["disk.csv"] == (300, False)  # who resumes goes on where it is sound
        async with client.open("disk.csv", "r+b") as rest:
            await rest.write(b"b" * 600, 300)
        assert (await states(site))["disk.csv"] == (900, True)

        again = await client.open("again.csv", "wb")
        with monkeypatch.context() as patch:
            patch.setattr(files, "_write", full)
            for offset in (0, 100):
                with pytest.raises(asyncssh.SFTPError):
                    await again.write(b"a" * 100, offset)
        await again.write(b"a" * 150, 50)
        await again.write(b"a" * 50, 0)  # all that was refused is there
        await again.close()
        assert (await states(site))["again.csv"] == (200, True)


@pytest.mark.threat("F16")
async def test_what_the_disk_lost_or_a_client_skipped_is_not_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.quiet = 3600
    async with site.running(), site.client() as client:
        added = await client.open("added.csv", "ab")
        await added.write(b"a" * 10)
        with monkeypatch.context() as patch:
            patch.setattr(files, "_write", full)
            with pytest.raises(asyncssh.SFTPError):
                await added.write(b"b" * 10)
        await added.write(b"c" * 10)  # stands where the other was to stand
        await refused(added, "disk is full")

        synced = await client.open("synced.csv", "wb")
        await synced.write(b"a" * 10)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(asyncssh.SFTPError):
                await synced.fsync()
        await synced.write(b"a" * 10, 0)  # but was there more?
        await refused(synced, "disk is full")

        anew = await client.open("anew.csv", "wb")
        await anew.write(b"a" * 10)
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", full)
            with pytest.raises(asyncssh.SFTPError):
                await anew.truncate(5)
        await anew.truncate(0)
        await anew.write(b"a" * 7, 0)
        await anew.close()

        grown = await client.open("grown.csv", "wb")
        with pytest.raises(asyncssh.SFTPError, match="grows"):
            await grown.truncate(20)
        await grown.write(b"a" * 19)
        await refused(grown, "grows")
        skipped = await client.open("skipped.csv", "wb")
        await skipped.write(b"a", 500)
        await refused(skipped, "never written")
        ended = await client.open("ended.csv", "wb")
        await ended.write(b"a" * 10)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(asyncssh.SFTPError, match="disk is full"):
                await ended.close()
        assert await states(site) == {
            "added.csv": (10, False), "synced.csv": (10, False), "anew.csv": (7, True), "grown.csv": (19, False),
            "skipped.csv": (0, False), "ended.csv": (0, False),
        }  # fmt: skip


class Raw:
    """A client that says what it likes, packet by packet (SFTP version 3)."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection, self._number = connection, 0

    async def begin(self) -> None:
        self.writer, self.reader, _ = await self._connection.open_session(subsystem="sftp", encoding=None)
        self.send(1, UInt32(3))
        await self.answer()

    def send(self, kind: int, rest: bytes) -> None:
        self.writer.write(UInt32(1 + len(rest)) + bytes([kind]) + rest)

    def ask(self, kind: int, rest: bytes) -> None:
        self._number += 1
        self.send(kind, UInt32(self._number) + rest)

    async def answer(self) -> bytes:
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        found: bytes = await self.reader.readexactly(size)
        return found

    async def begun(self, name: str, data: bytes = b"x" * 10) -> bytes:
        """A file that is open, with some bytes; its handle."""
        self.ask(3, String(name) + UInt32(asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC) + UInt32(0))
        handle = (await self.answer())[5:]
        self.ask(6, handle + UInt64(0) + String(data))
        await self.answer()
        return handle


@pytest.mark.threat("T42")
async def test_only_a_client_that_says_so_ends_a_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.quiet = 3600
    opened: list[Handle] = []

    class Seen(Handle):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            opened.append(self)

    monkeypatch.setattr(files, "Handle", Seen)
    async with site.running():
        async with site.connected() as connection:
            for name, bad in (
                ("long.csv", UInt32(1 << 30)),
                ("empty.csv", UInt32(0)),
                ("cut.csv", UInt32(2) + b"\4\0"),
            ):
                client = Raw(connection)
                await client.begin()
                await client.begun(name)
                await client.begun("also " + name, bytes(1_000_001))  # refused: none hinders the other
                client.writer.write(bad)  # no request at all: the protocol ends
                assert await client.reader.read() == b""
            client = Raw(connection)
            await client.begin()
            handle = await client.begun("said.csv")
            client.ask(4, handle)
            client.writer.write_eof()  # at once: the word stands before it
            await client.answer()
            client = Raw(connection)
            await client.begin()
            await client.begun("lost.csv")
            await client.begun("hurt.csv", bytes(1_000_001))
            monkeypatch.setattr(os, "ftruncate", full)
            cast("Any", client.writer.channel).send_signal("INT")
            with pytest.raises(asyncssh.Error):
                await client.reader.read()
        async with asyncio.timeout(10):
            while any(handle.live for handle in opened):
                await asyncio.sleep(0.01)
        assert len(opened) == len(await states(site)) == 9
        assert {name for name, (_, whole) in (await states(site)).items() if whole} == {"said.csv"}


def test_gaps_are_known_and_bounded() -> None:
    handle = Handle("a.csv", -1, 0, appends=False)
    for start in range(10, 4_000, 10):
        handle.wrote(start, start + 5)
    assert len(handle.missing) <= 256
    assert handle.missing[0][0] == 0
    assert handle.missing[-1][1] == 3_990
    handle.wrote(0, 3_000)
    assert handle.missing[0] == (3_005, 3_010)
    handle.wrote(3_000, 4_000)
    assert handle.missing == []
    handle.failed(4_000, 4_010, "no")
    handle.wrote(4_003, 4_005)
    assert handle.missing == [(4_000, 4_003), (4_005, 4_010)]
    handle.cut(2_000)
    assert handle.missing != []
    handle.cut(0)
    assert (handle.size, handle.missing) == (0, [])
