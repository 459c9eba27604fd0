"""What is edited, revoked or deleted while a batch is on its way or waits for its next attempt."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web
from standardwebhooks.webhooks import WebhookVerificationError

from hub.clock import SystemClock
from hub.scope.grants import GrantDefinition
from hub.scope.sets import unpack
from hub.store import attempts, feed
from hub.store import grants as grant_rows
from hub.sync import grants
from hub.webhooks import subscriptions
from hub.webhooks.courier import Courier
from hub.webhooks.terms import Terms
from tests.districts import EVERYTHING, District, sandbox
from tests.fakes.receiver import Receiver, in_turn, receiver, status
from tests.webhooks.conftest import ALLOW, KEY, Subscribed, World
from tests.webhooks.rounds import due, one
from transforms.catalogue import CATALOGUE

FRAMES = sandbox(students=100, seed=9).frames
#: Another view: no contact data, no classes, and so no enrollments.
LESS = GrantDefinition.model_validate({"entities": ["orgs", "academicSessions", "courses", "users"], "privacy": []})


async def synced(world: World, courier: Courier, there: Receiver, terms: Terms) -> tuple[District, Subscribed]:
    """A district whose receiver is subscribed from the beginning, before anything is in the view."""
    district = await District(courier.db).create()
    grant = await district.grant()
    async with world.db.district(district.district_id) as tx:
        made, secret = await subscriptions.create(
            tx, grant_id=grant.grant_id, url=there.url, key=KEY, allow=ALLOW, terms=terms
        )
    assert secret is not None
    await district.sync(FRAMES)
    return district, Subscribed(there, district.district_id, grant.grant_id, made.subscription_id, secret, [])


async def edited(world: World, some: Subscribed, definition: GrantDefinition) -> None:
    async with world.db.district(some.district) as tx:
        await grants.edit(tx, some.grant, definition, SystemClock().now())


async def drained(world: World, courier: Courier, some: Subscribed) -> None:
    for _ in range(100):
        await due(world, some)
        if not await one(courier):
            return
    raise AssertionError("there is always something to send")


async def view(world: World, some: Subscribed) -> set[tuple[str, str]]:
    """What a full read gives: (collection, sourcedId)."""
    found = set()
    async with world.db.district(some.district) as tx:
        for name, sets in (await grant_rows.views(tx, some.grant)).items():
            ids = await feed.sourced_ids(tx, CATALOGUE[name], list(unpack(sets.present)))
            found |= {(name, sourced_id) for sourced_id in ids.values()}
    return found


def kept(there: Receiver) -> set[tuple[str, str]]:
    """What a receiver has that applies what it is told."""
    has: set[tuple[str, str]] = set()
    for got in there.received:
        for entity, operation, sourced_id in got.changes:
            (has.discard if operation == "deleted" else has.add)((entity, sourced_id))
    return has


@pytest.mark.threat("F15")
async def test_a_grant_that_is_edited_in_the_middle_of_a_stretch_leaves_nothing_behind(world: World) -> None:
    async with receiver(in_turn(status(204), status(503), status(204))) as there, world.courier() as courier:
        _, some = await synced(world, courier, there, Terms(max_changes=200))
        await one(courier)
        await due(world, some)
        assert await one(courier) == [False]  # frozen, and refused
        await edited(world, some, LESS)
        await drained(world, courier, some)
        await edited(world, some, EVERYTHING)
        await drained(world, courier, some)
        assert kept(there) == await view(world, some)
    second, third = there.received[1:3]
    assert (second.id, second.body) == (third.id, third.body)  # without records there is nothing in it to take back
    spans = list(dict.fromkeys((got.data["from"], got.data["to"]) for got in there.received))
    assert spans == [(0, 1), (1, 2), (2, 3)]
    assert {mark["type"] for mark in there.received[-1].marks} == {"grants.updated"}


@pytest.mark.threat("T18", "F15")
async def test_records_that_wait_to_be_sent_again_are_not_once_the_grant_was_edited(world: World) -> None:
    terms = Terms(mode="records", types=("users.*",), max_changes=100)
    async with receiver(status(503)) as there, world.courier() as courier:
        _, some = await synced(world, courier, there, terms)
        assert await one(courier) == [False]
        assert b'"email"' in there.received[0].body
        await edited(world, some, LESS)
        there.behave = status(204)
        await drained(world, courier, some)
        wanted = {(name, sourced_id) for name, sourced_id in await view(world, some) if name == "users"}
    first, *later = there.received
    assert later
    assert not any(b'"email"' in got.body for got in later)
    assert first.id not in {got.id for got in later}
    assert kept(there) == wanted
    async with world.db.district(some.district) as tx:
        log = await attempts.page(tx, some.id, attempts.Wanted(), limit=100, after=None)
    assert [(one_.status, one_.attempt) for one_ in log][-1] == (503, 1)


@pytest.mark.threat("T18")
async def test_a_grant_that_is_revoked_while_a_batch_is_on_its_way_is_told_nothing_more(world: World) -> None:
    answer = asyncio.Event()

    async def waits(_request: web.Request) -> web.Response:
        await answer.wait()
        return web.Response(status=204)

    async with receiver(waits) as there, world.courier() as courier:
        some = await world.subscribe(there, max_changes=1)
        await world.feeds.move(some.district, some.grant, updated=[0, 1, 2])
        flying = asyncio.create_task(one(courier))
        await there.wait_for(1)
        async with world.db.district(some.district) as tx:
            await grants.set_state(tx, some.grant, "revoked")
        answer.set()
        assert await flying in ([False], [True])
        for _ in range(3):
            await due(world, some)
            await one(courier)
        row = await world.feeds.subscription(some.id)
    assert len(there.received) == 1
    assert (row["state"], row["last_error"], row["batch_id"], row["window_to"]) == ("disabled", "revoked", None, None)
    assert await world.feeds.connection.fetchval("SELECT count(*) FROM batches WHERE delivered_at IS NULL") == 0


@pytest.mark.threat("F15", "T36")
@pytest.mark.parametrize("overlap", [timedelta(), timedelta(days=1)], ids=["at once", "with an overlap"])
async def test_a_secret_that_is_rotated_between_two_attempts_signs_the_same_bytes_anew(
    world: World, overlap: timedelta
) -> None:
    async with receiver(in_turn(status(503), status(204))) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        async with world.db.district(some.district) as tx:
            _, new = await subscriptions.rotate(tx, some.id, key=KEY, now=SystemClock().now(), overlap=overlap)
        await due(world, some)
        assert await one(courier) == [True]
        row = await world.feeds.subscription(some.id)
    first, second = there.received
    assert (first.id, first.body) == (second.id, second.body)
    assert (row["position"], row["attempt"], row["state"]) == (1, 0, "active")
    first.verify(some.secret)
    assert new is not None
    second.verify(new)
    if overlap:
        second.verify(some.secret)
    else:
        with pytest.raises(WebhookVerificationError):
            second.verify(some.secret)
    with pytest.raises(WebhookVerificationError):
        first.verify(new)


async def test_a_subscription_that_is_deleted_between_two_attempts_is_gone(world: World) -> None:
    async with receiver(status(503)) as there, world.courier() as courier:
        some = await world.subscribe(there)
        other = await world.subscribe(there, district=some.district)
        for each in (some, other):
            await world.feeds.move(some.district, each.grant, updated=[0])
        await one(courier)
        async with world.db.district(some.district) as tx:
            await subscriptions.delete(tx, some.id)
        there.behave = status(204)
        await due(world, other)
        assert await one(courier) == [True]
    assert [got.data["subscription"] for got in there.received[2:]] == [str(other.id)]
