"""Files that wait on the disk: none is lost by a taking that fails, and one bad folder is nobody else's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncssh
import pytest

from hub.drop import handing_over, spool
from hub.drop.spool import Folder
from hub.errors import Code, HubError
from hub.store import sources, uploads
from tests.drop.conftest import Site
from tests.drop.test_drop import package, put


@pytest.mark.threat("F1", "F16")
def test_a_taking_that_fails_puts_everything_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path, uuid4(), uuid4())

    def write(name: str, data: bytes, *, whole: bool = True) -> None:
        descriptor = folder.open(name, fresh=True)
        os.write(descriptor, data)
        if whole:
            folder.finish(name, descriptor)
        else:
            os.close(descriptor)

    def state() -> list[tuple[str, int, bool]]:
        return [(item.name, item.size, item.whole) for item in folder.items()]

    write("a.csv", b"aa")
    write("b.csv", b"bb")
    with pytest.raises(FileNotFoundError):
        folder.take(["a.csv", "b.csv", "removed.csv"])
    assert state() == [("a.csv", 2, True), ("b.csv", 2, True)]
    assert len(list(folder.path.iterdir())) == 2

    write("c.csv", b"cc")
    folder.take(["a.csv", "b.csv", "c.csv"]).rename(folder.path / "draft-x")  # as a kill leaves it
    write("a.csv", b"newer")
    write("b.csv", b"newer", whole=False)
    for _ in range(2):
        folder.mend()
        assert state() == [("a.csv", 5, True), ("b.csv", 5, False), ("c.csv", 2, True)]
        assert len(list(folder.path.iterdir())) == 3


def test_a_package_is_packed_once_and_not_if_it_is_too_large(tmp_path: Path) -> None:
    folder = Folder(tmp_path, uuid4(), uuid4())
    for name in ("a.csv", "b.csv"):
        descriptor = folder.open(name, fresh=True)
        os.write(descriptor, b"x" * 10)
        folder.finish(name, descriptor)
    batch = folder.take(["a.csv", "b.csv"])
    assert folder.bytes() == (0, 20)
    with pytest.raises(HubError) as error:
        spool.packed(batch, 19)
    assert error.value.code is Code.TOO_LARGE
    assert len(list(batch.iterdir())) == 2
    made, name = spool.packed(batch, 20)
    assert (made.parent, name) == (batch, "package.zip")
    assert len(list(batch.iterdir())) == 3
    os.utime(made, (1, 1))
    assert spool.packed(batch, 20)[0].stat().st_mtime == 1


@pytest.mark.threat("F16")
async def test_what_waits_of_one_login_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    away = True
    real = uploads.begin

    async def begin(*arguments: Any, **more: Any) -> None:
        if away:
            raise HubError(Code.UNAVAILABLE, "away")
        await real(*arguments, **more)

    async def waiting(*names: str, batches: int) -> None:
        async with asyncio.timeout(10):
            while await site.waiting() != list(names):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # some looks
        assert await site.waiting() == list(names)
        assert len(await asyncio.to_thread(site.folder.batches)) == batches

    monkeypatch.setattr(uploads, "begin", begin)
    async with site.district.db.district(site.district.district_id) as tx:
        await sources.change(tx, site.district.source_id, config={"settle_seconds": 0})
    async with site.running(), site.client() as client:
        last = await client.open("c.csv", "wb")
        await put(client, "a.csv", b"x" * 300_000)
        await put(client, "b.csv", b"x" * 300_000)
        await last.write(b"x" * 400_000)
        with pytest.raises(asyncssh.SFTPFailure, match="no more than 1,000,000"):
            await last.write(b"x")
        await client.remove("c.csv")
        await waiting(batches=1)
        async with asyncio.timeout(10):  # it is packed as well, and cannot be handed over
            while (await asyncio.to_thread(site.folder.bytes))[1] <= 1_200_000:
                await asyncio.sleep(0.05)
        await put(client, "d.zip", await package())
        monkeypatch.setattr(handing_over, "LONGEST_WAIT_SECONDS", 0.0)
        with pytest.raises(asyncssh.SFTPFailure, match="not taken yet"):
            await put(client, "e.csv", b"x" * 790_000)
        await client.remove("e.csv")
        await waiting("d.zip", batches=1)  # it is neither taken nor, being old, removed
        away = False
        await site.runs(2)
        await waiting(batches=0)
        monkeypatch.setattr(handing_over, "LONGEST_WAIT_SECONDS", 3600.0)
        await put(client, "e.csv", b"x" * 790_000)


async def test_a_bad_folder_stops_no_other(site: Site) -> None:
    bad = Folder(site.settings.data_dir / "drop", site.district.district_id, UUID(int=0))  # the first of all

    def make() -> None:
        bad.path.mkdir(parents=True)
        (bad.path / "draft-x").write_bytes(b"no folder")

    await asyncio.to_thread(make)
    async with site.running(), site.client() as client:
        await put(client, "a.zip", await package())
        await site.runs(1)
