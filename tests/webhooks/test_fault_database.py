"""Transactions that stay open for long, and a database that is set back to what it was."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from uuid import UUID

import asyncpg
import orjson
import pytest
from pyroaring import BitMap

from hub.store.database import SCHEMA
from hub.webhooks import subscriptions
from tests.fakes.receiver import receiver
from tests.services import MASTER_KEY
from tests.webhooks.conftest import World
from tests.webhooks.rounds import due, one


@pytest.mark.threat("F12")
async def test_a_transaction_that_stays_open_holds_up_its_own_district_alone_and_its_steps_come_in_order(
    world: World,
) -> None:
    async with receiver() as there, receiver() as elsewhere, world.running() as dispatcher:
        some, other = await world.subscribe(there), await world.subscribe(elsewhere)
        sibling = await world.subscribe(there, district=some.district)
        await world.feeds.move(some.district, some.grant, updated=[0])
        writer = await asyncpg.connect(world.addresses.owner, server_settings={"search_path": SCHEMA})
        reader = await asyncpg.connect(world.addresses.owner, server_settings={"search_path": SCHEMA})
        try:
            # One has drawn a position and does not commit; one has looked at everything and goes on looking.
            looking = reader.transaction(isolation="repeatable_read")
            await looking.start()
            await reader.fetch("SELECT * FROM subscriptions, feed, batches")
            writing = writer.transaction()
            await writing.start()
            position = await writer.fetchval(
                "UPDATE districts SET position = position + 1 WHERE district_id = $1 RETURNING position", some.district
            )
            await writer.execute("UPDATE grants SET steps = steps + 1 WHERE grant_id = $1", some.grant)
            await writer.execute(
                "INSERT INTO feed (district_id, grant_id, position, step, entity, at, entered, updated, departed) "
                "VALUES ($1, $2, $3, 2, 'users', now(), $5, $4, $5)",
                some.district, some.grant, position, BitMap([1]).serialize(), BitMap().serialize(),
            )  # fmt: skip
            dispatcher.wake()
            await there.wait_for(1)
            for number in range(3):
                await world.feeds.move(other.district, other.grant, updated=[number])
                dispatcher.wake()
                await elsewhere.up_to(number + 1)
            # The next step of the same district waits for the one before it: it cannot overtake.
            later = asyncio.create_task(world.feeds.move(some.district, sibling.grant, updated=[5]))
            await asyncio.sleep(0.2)
            assert not later.done()
            assert [(got.data["from"], got.data["to"]) for got in there.received] == [(0, 1)]
            await writing.commit()
            await later
            dispatcher.wake()
            await there.wait_for(3)
            await looking.commit()
        finally:
            await asyncio.gather(writer.close(), reader.close())
    spans: dict[UUID, list[tuple[int, int]]] = {each.id: [] for each in (some, sibling)}
    for got in there.received:
        spans[next(i for i in spans if str(i) == got.data["subscription"])].append((got.data["from"], got.data["to"]))
    assert spans == {some.id: [(0, 1), (1, 2)], sibling.id: [(0, 1)]}


ROOT = Path(__file__).parents[2]
TABLES = ("districts", "grants", "subscriptions", "feed", "batches", "attempts")


async def back_up(world: World) -> None:
    for table in TABLES:
        await world.feeds.connection.execute(f"CREATE TABLE public.{table} AS SELECT * FROM hub.{table}")


async def restore(world: World) -> None:
    """The tables are what they were, whatever was told since."""
    connection = world.feeds.connection
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")  # a restore checks no references
        for table in TABLES:
            columns = await connection.fetchval(
                "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute "
                "WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
                f"hub.{table}",
            )
            await connection.execute(f"DELETE FROM hub.{table}")
            await connection.execute(f"INSERT INTO hub.{table} ({columns}) SELECT {columns} FROM public.{table}")


async def hub_restored(world: World) -> str:
    environment = {
        "HUB_DATABASE_URL": world.addresses.owner, "HUB_MASTER_KEY": MASTER_KEY.decode(), "PATH": os.defpath,
        "HUB_REDIS_URL": "redis://127.0.0.1:1/0", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub.cli", "restored", env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await command.communicate()
    assert command.returncode == 0
    return said.decode()


@pytest.mark.threat("F28")
async def test_after_a_backup_was_restored_receivers_are_told_to_read_everything_again(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some, broken = await world.subscribe(there), await world.subscribe(there)
        async with world.db.district(broken.district) as tx:
            await subscriptions.pause(tx, broken.id)
        for each in (some, broken):
            await world.feeds.move(each.district, each.grant, updated=[0])
        await one(courier)
        await back_up(world)
        for number in range(2):
            await due(world, some)
            await world.feeds.move(some.district, some.grant, updated=[number])
            await one(courier)
        await restore(world)
        assert await hub_restored(world) == "2 subscriptions will be told to read everything again\n"
        # Another step takes the number of one that the receiver knows; it would take it for old.
        await world.feeds.move(some.district, some.grant, updated=[5])
        assert await one(courier) == [True]
        await due(world, some)
        assert await one(courier) == []
        *known, told = there.received
        assert [(got.data["from"], got.data["to"]) for got in known] == [(0, 1), (1, 2), (2, 3)]
        assert orjson.loads(told.body)["type"] == "subscriptions.resync_required"
        assert (told.data["reason"], told.data["from"], told.data["to"]) == ("restored", 1, 2)
        told.verify(some.secret)
        row = await world.feeds.subscription(some.id)
        assert (row["state"], row["set_back"]) == ("resync_required", False)
        async with world.db.district(some.district) as tx:
            assert (await subscriptions.resume(tx, some.id)).position == 2
        await world.feeds.move(some.district, some.grant, updated=[6])
        assert await one(courier) == [True]
        assert (there.received[-1].data["from"], there.received[-1].data["to"]) == (2, 3)
        # What was paused is told so when it goes on.
        async with world.db.district(broken.district) as tx:
            await subscriptions.resume(tx, broken.id)
        await one(courier)
    assert there.received[-1].data["subscription"] == str(broken.id)
    assert there.received[-1].data["reason"] == "restored"
