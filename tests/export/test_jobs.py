"""Exports are made, kept and given up as the queue says, whatever happens to the workers."""

from __future__ import annotations

import asyncio

import pytest

from hub.errors import Code, HubError
from hub.export import jobs
from hub.export.jobs import work_once
from hub.store import exports
from hub.store.exports import Export
from hub.sync import grants
from tests import export_process
from tests.export.conftest import World
from tests.export.packages import make, rows
from tests.interrupted import interrupted

KILLED = 137


async def fetched(world: World, export: Export) -> bytes:
    parts = jobs.stored(world.district.db, world.shop.key, world.district.district_id, await world.get(export))
    return b"".join([part async for part in parts])


async def lease_ends(world: World) -> None:
    """As if the lease of a worker that is gone had run out."""
    await world.execute("UPDATE exports SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")


async def test_a_queued_export_is_made_and_kept_sealed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PART_BYTES", 1000)
    export = await world.request()
    assert export.state == "queued"
    assert await world.work() == 1
    made = await world.get(export)
    assert made.state == "ready"
    assert made.kind == "bulk"
    assert made.rows["users"] == 3
    expected, _ = await make(world.district, world.grant, "1.2")
    assert await fetched(world, export) == expected
    assert made.bytes == len(expected)
    async with world.district.db.district(world.district.district_id) as tx:
        parts = [row["data"] for row in await tx.fetch("SELECT data FROM export_parts ORDER BY part")]
        audit = await tx.fetch("SELECT action, details FROM audit WHERE object = $1", f"export/{export.export_id}")
    assert len(parts) == -(-len(expected) // 1000) > 3
    assert all(expected[start : start + 50] not in b"".join(parts) for start in range(0, len(expected) - 50, 500))
    (row,) = audit
    assert row["action"] == "export.make"
    assert row["details"]["rows"]["users"] == 3


@pytest.mark.threat("T26")
async def test_a_part_opens_in_its_own_place_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PART_BYTES", 1000)
    export = await world.request()
    await world.work()
    await world.execute("UPDATE export_parts SET part = -1 WHERE part = 0")
    await world.execute("UPDATE export_parts SET part = 0 WHERE part = 1")
    with pytest.raises(HubError, match="cannot be decrypted"):
        await fetched(world, export)


async def test_an_acknowledged_package_is_deleted_and_begins_the_next_delta(world: World) -> None:
    export = await world.request("delta")
    await world.work()
    assert (await world.get(export)).kind == "bulk"
    for _ in range(2):
        async with world.district.db.district(world.district.district_id) as tx:
            assert (await exports.acknowledge(tx, export.export_id)).state == "done"
        assert await world.kept() == 0
    with pytest.raises(HubError) as refused:
        await fetched(world, export)
    assert refused.value.code is Code.CONFLICT
    following = await world.request("delta")
    await world.work()
    assert (await world.get(following)).kind == "delta"
    assert rows(await fetched(world, following)) == {}


async def test_what_nobody_fetches_is_deleted(world: World) -> None:
    export = await world.request()
    await world.work()
    await world.execute("UPDATE exports SET expires_at = now() - interval '1 second'")
    await world.work()
    assert (await world.get(export)).state == "expired"
    assert await world.kept() == 0
    await world.execute("UPDATE exports SET finished_at = now() - interval '61 days'")
    await world.work()
    with pytest.raises(HubError):
        await world.get(export)


@pytest.mark.threat("T18")
async def test_an_export_of_a_withdrawn_grant_is_never_made(world: World) -> None:
    export = await world.request()
    async with world.district.db.district(world.district.district_id) as tx:
        await grants.set_state(tx, world.grant.grant_id, "suspended")
    await world.work()
    assert (await world.get(export)).state == "withdrawn"
    assert await world.kept() == 0


@pytest.mark.parametrize("place", ["export.kept", "export.made"])
@pytest.mark.threat("F1")
async def test_a_killed_worker_loses_nothing(world: World, place: str) -> None:
    export = await world.request()
    process = export_process.start(world.database.worker, crash_at=place)
    assert await asyncio.wait_for(process.wait(), 60) == KILLED
    await lease_ends(world)
    await world.work()
    made = await world.get(export)
    assert made.state == "ready"
    assert made.attempt == (2 if place == "export.kept" else 1)
    assert await fetched(world, export) == (await make(world.district, world.grant, "1.2"))[0]


async def test_a_worker_that_was_overtaken_writes_nothing(world: World) -> None:
    export = await world.request()
    late = await exports.claim(world.district.db)
    assert late is not None
    await lease_ends(world)
    assert await world.work() == 1
    expected = await fetched(world, export)
    async with world.district.db.district(world.district.district_id) as tx:
        with pytest.raises(HubError) as refused:
            await exports.keep_part(tx, late, 0, b"stale")
        assert refused.value.code is Code.FENCED
        with pytest.raises(HubError):
            await exports.end(tx, late, "failed")
    assert (await world.get(export)).state == "ready"
    assert await fetched(world, export) == expected


async def test_a_worker_that_loses_its_lease_stops(world: World) -> None:
    export = await world.request()
    shop = jobs.Workshop(world.shop.db, world.shop.clock, world.shop.key, world.shop.places, heartbeat_seconds=0.01)
    stolen = asyncio.Event()

    async def steal() -> None:
        while not await world.execute(
            "UPDATE exports SET lease_token = gen_random_uuid() WHERE lease_token IS NOT NULL"
        ):
            await asyncio.sleep(0.001)
        stolen.set()

    _, carried_out = await asyncio.gather(steal(), work_once(shop))
    assert carried_out
    assert stolen.is_set()
    assert (await world.get(export)).state == "running"  # whoever holds the lease goes on


@pytest.mark.parametrize("at", [3, 20, 40, 60, 80, 100])
async def test_a_stopped_worker_gives_its_export_back(world: World, at: int) -> None:
    """Cancelled at one of its awaits, it leaves an export that the next worker makes at once."""
    export = await world.request()
    assert await interrupted(work_once(world.shop), at) is None
    await world.work()
    made = await world.get(export)
    assert (made.state, made.attempt) == ("ready", 1)
    assert len(await fetched(world, export)) == made.bytes


async def test_an_export_that_ends_workers_is_given_up(world: World) -> None:
    export = await world.request()
    await world.execute("UPDATE exports SET attempt = $1", jobs.MAX_ATTEMPTS)
    await world.work()
    failed = await world.get(export)
    assert failed.state == "failed"
    assert failed.error_code == "internal"
    assert await world.kept() == 0


async def test_one_export_of_a_district_at_a_time(world: World) -> None:
    await world.request()
    await world.request()
    first = await exports.claim(world.district.db)
    assert first is not None
    assert await exports.claim(world.district.db) is None
    async with world.district.db.district(world.district.district_id) as tx:
        await exports.again(tx, first, 0)
    assert await exports.claim(world.district.db) is not None
