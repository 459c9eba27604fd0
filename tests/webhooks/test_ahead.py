"""Batches that are cut ahead: what is left of a window may be nothing, and then the window ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hub.store import claims, relays
from hub.webhooks import prepare
from hub.webhooks.deliver import deliver
from tests.fakes.receiver import in_turn, receiver, status
from tests.webhooks.conftest import World
from tests.webhooks.rounds import due, one
from tests.webhooks.test_parked import parked, refusing

SECONDS = 20.0


async def test_a_window_of_which_nothing_is_wanted_any_more_ends(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, users=6, max_changes=1, types=("users.*",))
        await world.feeds.move(some.district, some.grant, updated=range(6))
        await one(courier)
        await world.edit(some, types=("orgs.*",))
        await due(world, some)
        async with asyncio.timeout(SECONDS):
            await one(courier)
        assert [(got.data["more"], len(got.changes)) for got in there.received] == [(True, 1), (False, 0)]


async def test_a_window_of_which_only_what_was_told_is_wanted_is_not_told_again(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, users=6, max_changes=3, types=("users.*",))
        await world.feeds.move(some.district, some.grant, updated=[0, 1, 2], left=[3, 4, 5])
        await one(courier)
        await due(world, some)
        await world.edit(some, max_changes=2)
        await one(courier)
        await world.edit(some, types=("users.updated",), max_changes=500)
        for _ in range(3):
            await due(world, some)
            await one(courier)
        told = [change[:2] for got in there.received for change in got.changes]
        assert len(told) == len({change for got in there.received for change in got.changes}) == 5, told
        assert [got.data["more"] for got in there.received] == [True, True, False]


@pytest.mark.threat("F14")
async def test_the_last_change_of_a_window_may_be_the_first_that_is_parked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which other change shows that the receiver takes any is left to chance: the refused one would cost an attempt.
    monkeypatch.setattr(prepare._CHANCE, "choice", lambda others: others[0])
    poison: set[str] = set()
    async with receiver(refusing(400, poison=lambda: poison)) as there, world.courier() as courier:
        some = await world.subscribe(there, users=6, types=("users.*",))
        poison.add(some.users[5])
        await world.feeds.move(some.district, some.grant, updated=range(6))
        for _ in range(20):
            await due(world, some)
            for claim in await claims.claim(courier.db, limit=10, per_district=10, lease_seconds=SECONDS):
                await deliver(courier, claim, most=50)
        assert [one.rid for one in await parked(world, some)] == [5]
        batches = [got.changes for got in there.received if not got.data.get("probe")]
        taken = [change for changes in batches if not poison & {c[2] for c in changes} for change in changes]
        assert sorted(change[2] for change in taken) == sorted(some.users[:5])
        assert [len(changes) for changes in batches] == [6, 6, 6, 3, 1, 1, 1, 1, 1, 0]
        assert not there.received[-1].data["more"]


async def test_a_bug_in_what_several_share_ends_each_of_their_deliveries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_tx: Any, _steps: Any, *, lease_seconds: float) -> Any:
        raise KeyError(lease_seconds)

    monkeypatch.setattr(relays, "relay", broken)
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, users=6, max_changes=1, types=("users.*",))
        await world.feeds.move(some.district, some.grant, updated=range(6))
        (claim,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=SECONDS)
        with pytest.raises(KeyError):
            async with asyncio.timeout(SECONDS):
                await deliver(courier, claim, most=5)


async def test_quick_retries_begin_anew_after_a_batch_that_was_taken(world: World) -> None:
    async with receiver(in_turn(status(204), status(503), status(204))) as there, world.courier() as courier:
        some = await world.subscribe(there, users=6, max_changes=1, types=("users.*",))
        await world.feeds.connection.execute("UPDATE subscriptions SET quick = 2 WHERE subscription_id = $1", some.id)
        await world.feeds.move(some.district, some.grant, updated=range(6))
        (claim,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=SECONDS)
        await deliver(courier, claim, most=5)
        row = await world.feeds.subscription(some.id)
        assert row["quick"] == 1
