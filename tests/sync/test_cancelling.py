"""Ending a run at any point: nothing of it stays, and what has committed is not taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any
from uuid import UUID

import pytest

from connectors.oneroster_csv.source import OneRosterCsvSource
from connectors.protocol import Pull
from hub.errors import Code, HubError
from hub.store import districts, runs, sources, uploads
from hub.sync.engine import work_once
from tests.districts import District
from tests.snapshots import leftovers, snapshot
from tests.sync.conftest import Loaded, change

BEAT = 0.05


async def cancel(district: District, run_id: UUID) -> bool:
    """Whether it was not too late."""
    try:
        async with district.db.district(district.district_id) as tx:
            await runs.cancel(tx, run_id, actor="test")
    except HubError as error:
        if error.code is not Code.CONFLICT:
            raise
        return False
    return True


class Meanwhile:
    """Awaits a coroutine; where it waits for the ``at``-th time, something else is done first."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], at: int, other: Coroutine[Any, Any, bool]) -> None:
        self._coroutine, self._at, self._other = coroutine, at, other
        self.waits = 0
        self.result: bool | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        inner = self._coroutine.__await__()
        resume: Any = inner.send
        value: Any = None
        while True:
            try:
                waited_for = resume(value)
            except StopIteration:
                return
            if self.waits == self._at:
                self.result = yield from asyncio.create_task(self._other).__await__()
            self.waits += 1
            try:
                value, resume = (yield waited_for), inner.send
            except BaseException as error:
                value, resume = error, inner.throw


async def carried_out(meanwhile: Meanwhile) -> None:
    async def run() -> None:
        await meanwhile

    await asyncio.create_task(run())


@pytest.fixture(autouse=True)
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield found
    assert found == []


@pytest.mark.threat("F13", "F23")
async def test_a_run_that_is_cancelled_wherever_it_waits_leaves_nothing(second: District, loaded: Loaded) -> None:
    preview = await second.request(change(), dry_run=True)
    counted = Meanwhile(work_once(second.db, second.clock), 1_000_000, cancel(second, preview))
    await carried_out(counted)
    counted._other.close()
    ended = set()
    for at in range(0, counted.waits + 12, max(1, counted.waits // 12)):
        run_id = await second.request(change())
        meanwhile = Meanwhile(work_once(second.db, second.clock, heartbeat_seconds=BEAT), at, cancel(second, run_id))
        await carried_out(meanwhile)
        if meanwhile.result is None:  # it was over before
            meanwhile._other.close()
        run = await second.run(run_id)
        ended.add(run.state)
        assert run.state == ("cancelled" if meanwhile.result else "applied")
        assert await snapshot(second) == (loaded.before if meanwhile.result else loaded.after)
        if run.state == "applied":
            break
        assert run.cancelled_by == "test"
        assert run.finished_at is not None
    assert "cancelled" in ended
    assert not {name for name in await leftovers(second) if name != "upload_parts"}


async def test_a_run_that_waits_for_the_district_ends_while_it_still_waits(
    second: District, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = asyncio.Event()
    monkeypatch.setattr("hub.sync.engine.crash_point", lambda _: claimed.set())
    run_id = await second.request(change())
    working = asyncio.create_task(work_once(second.db, second.clock, heartbeat_seconds=BEAT))
    await claimed.wait()
    async with second.db.district(second.district_id) as tx:
        await districts.lock(tx)
        while (await asyncio.create_task(second.run(run_id))).stage != "apply":
            await asyncio.sleep(0.05)
        await asyncio.create_task(cancel(second, run_id))
        async with asyncio.timeout(10):
            await working
    assert (await second.run(run_id)).state == "cancelled"
    assert await snapshot(second) == loaded.before


async def test_a_run_that_waits_for_another_system_ends(second: District, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def silent(self: OneRosterCsvSource, cursor: object) -> Pull:
        del self, cursor
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(OneRosterCsvSource, "pull", silent)
    run_id = await second.request(change())
    working = asyncio.create_task(work_once(second.db, second.clock, heartbeat_seconds=BEAT))
    await asked.wait()
    assert await cancel(second, run_id)
    async with asyncio.timeout(10):
        await working
    assert (await second.run(run_id)).state == "cancelled"


async def test_what_is_over_or_held_cannot_be_cancelled(second: District) -> None:
    run = await second.sync(change())
    assert not await cancel(second, run.run_id)
    assert (await second.run(run.run_id)).state == "applied"
    async with second.db.district(second.district_id) as tx:
        await tx.execute("UPDATE runs SET state = 'held' WHERE run_id = $1", run.run_id)
        with pytest.raises(HubError, match="Reject it instead"):
            await runs.cancel(tx, run.run_id, actor="test")


async def test_the_districts_next_run_goes_on_at_once(second: District, loaded: Loaded) -> None:
    first_id = await second.request(change())
    claim = await runs.claim(second.db)
    assert claim is not None
    assert claim.run.run_id == first_id
    next_id = await second.request(change())
    assert await cancel(second, first_id)
    assert await work_once(second.db, second.clock)
    assert (await second.run(next_id)).state == "applied"
    with pytest.raises(HubError) as refused:
        async with second.db.district(second.district_id) as tx:
            await runs.finish(tx, claim, "applied")
    assert refused.value.code is Code.FENCED
    assert await snapshot(second) == loaded.after


async def test_bytes_that_another_run_waits_for_stay(second: District) -> None:
    upload = await second.upload(change())
    async with second.db.district(second.district_id) as tx:
        made = [
            await runs.request(
                tx, UUID(int=n), source_id=second.source_id, upload_id=upload, dry_run=n == 1, requested_by="t"
            )
            for n in (1, 2, 3)
        ]
        assert [await runs.alone(tx, run) for run in made] == [False, False, False]
        await runs.cancel(tx, made[1].run_id, actor="t")
        assert not await runs.alone(tx, made[0])  # a preview leaves them
        await runs.cancel(tx, made[0].run_id, actor="t")
        assert await runs.alone(tx, made[2])
        assert (await uploads.get(tx, upload)).state == "complete"
        assert (await sources.get(tx, second.source_id)).state == "active"
