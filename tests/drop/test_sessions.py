"""Two sessions of one login at a time: one has a file, and none writes to what is not its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import asyncssh
import pytest

from hub.drop import files
from hub.drop.spool import Folder
from hub.errors import Code, HubError
from hub.store import drops
from tests.drop.conftest import Site


@pytest.mark.threat("T42")
async def test_two_sessions_do_not_race(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.quiet = 3600
    monkeypatch.setattr(files, "MOST_FILES", 3)
    really_open, really_write = Folder.open, files._write

    def slow_open(folder: Folder, name: str, *, fresh: bool) -> int:
        time.sleep(0.05)
        return really_open(folder, name, fresh=fresh)

    def slow_write(*arguments: Any) -> None:
        time.sleep(0.2)
        really_write(*arguments)

    monkeypatch.setattr(Folder, "open", slow_open)
    async with site.running(), site.client() as one, site.client() as other:
        both = await asyncio.gather(*(client.open("a.csv", "wb") for client in (one, other)))
        wrote = await asyncio.gather(*(file.write(b"x" * 10) for file in both), return_exceptions=True)
        assert sorted(str(result) for result in wrote) == ["10", "Another session writes this file now."]
        only = await asyncio.gather(*(client.open("b.csv", "xb") for client in (one, other)), return_exceptions=True)
        assert [str(file) for file in only if isinstance(file, Exception)] == ["There is a file of this name already."]
        last = await asyncio.gather(
            one.open("c.csv", "wb"), other.open("d.csv", "wb"), return_exceptions=True
        )  # one place is left
        assert [str(file) for file in last if isinstance(file, Exception)] == ["No more than 3 files may wait here."]

        first = await one.open("a.csv", "wb")
        monkeypatch.setattr(files, "_write", slow_write)
        writing = asyncio.create_task(first.write(b"first"))
        await asyncio.sleep(0.1)  # it is under way
        second = await other.open("a.csv", "wb")  # has the same descriptor, if that one is closed meanwhile
        assert await writing == 5
        await second.write(b"2nd")
        with pytest.raises(asyncssh.SFTPFailure, match="Another session"):
            await first.close()
        await second.close()
        (item,) = [item for item in await asyncio.to_thread(site.folder.items) if item.name == "a.csv"]
        assert (item.size, item.whole) == (3, True)


@pytest.mark.threat("T18")
async def test_sessions_of_a_login_that_was_changed_do_nothing_more(site: Site) -> None:
    site.quiet = 3600
    async with site.running(), AsyncExitStack() as sessions:
        clients = [await sessions.enter_async_context(site.client()) for _ in range(6)]
        open_files = [await client.open(f"{number}.csv", "wb") for number, client in enumerate(clients)]
        for file in open_files:
            await file.write(b"1234")
        async with await clients[0].open("there.csv", "wb") as file:
            await file.write(b"whole")
        async with site.pool.district(site.district.district_id) as tx:
            await drops.change(tx, site.district.source_id, password_hash=None, public_keys=[])

        async def writes_on() -> None:
            for _ in range(300):  # three seconds
                await open_files[0].write(b"x")
                await asyncio.sleep(0.01)

        for act in (
            writes_on, open_files[1].close, lambda: open_files[2].truncate(1), lambda: clients[3].remove("there.csv"),
            lambda: clients[4].listdir("/"), lambda: clients[5].stat("there.csv"),
        ):  # fmt: skip
            with pytest.raises(asyncssh.SFTPError, match=r"The login has changed|Connection closed|Connection lost"):
                await act()
        for client in clients:
            with pytest.raises((asyncssh.Error, OSError)):  # its connection is gone
                await client.stat("/")
    found = {item.name: (item.size, item.whole) for item in await asyncio.to_thread(site.folder.items)}
    assert found.pop("there.csv") == (5, True)
    assert found.pop("0.csv")[1] is False
    assert found == {f"{number}.csv": (4, False) for number in range(1, 6)}


async def test_the_end_of_a_file_waits_for_a_database_that_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.quiet = 3600
    really, away = drops.find, 0

    async def find(*arguments: Any) -> Any:
        nonlocal away
        if away:
            away -= 1
            raise HubError(Code.UNAVAILABLE, "The database is away.")
        return await really(*arguments)

    monkeypatch.setattr(drops, "find", find)
    async with site.running(), site.client() as client:
        file = await client.open("a.csv", "wb")
        away = 2
        await asyncio.sleep(files._LOOKED_EVERY)
        await file.write(b"x" * 10)
        await file.close()
        assert away == 0
        monkeypatch.setattr(files, "_CLOSE_PATIENCE", 1)
        file, away = await client.open("b.csv", "wb"), 5
        with pytest.raises(asyncssh.SFTPFailure, match="cannot be reached"):
            await file.close()
    found = {item.name: item.whole for item in await asyncio.to_thread(site.folder.items)}
    assert found == {"a.csv": True, "b.csv": False}
