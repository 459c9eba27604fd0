"""Files that wait on the disk: none is lost by a taking that fails, and one bad folder is nobody else's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hub.drop.spool import Folder
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


async def test_a_bad_folder_stops_no_other(site: Site) -> None:
    bad = Folder(site.settings.data_dir / "drop", site.district.district_id, UUID(int=0))  # the first of all

    def make() -> None:
        bad.path.mkdir(parents=True)
        (bad.path / "draft-x").write_bytes(b"no folder")

    await asyncio.to_thread(make)
    async with site.running(), site.client() as client:
        await put(client, "a.zip", await package())
        await site.runs(1)
