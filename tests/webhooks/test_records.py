"""In the mode ``records`` a receiver gets the records, as its app may see them, and what they said before."""

from __future__ import annotations

import pytest

from hub.store import erasures
from hub.webhooks import subscriptions
from hub.webhooks.terms import Terms
from tests.districts import District, changed, sandbox
from tests.fakes.receiver import in_turn, receiver, status
from tests.webhooks.conftest import ALLOW, KEY, Subscribed, World
from tests.webhooks.rounds import due, one

FRAMES = sandbox(students=100, seed=9).frames


@pytest.mark.threat("T37", "T51")
async def test_records_come_with_what_they_said_before_and_nobody_is_told_what_was_erased(world: World) -> None:
    async with receiver(in_turn(status(204), status(503))) as there, world.courier() as courier:
        district = await District(courier.db).create()
        await district.sync(FRAMES)
        grant = await district.grant()
        async with world.db.district(district.district_id) as tx:
            made, secret = await subscriptions.create(
                tx, grant_id=grant.grant_id, url=there.url, key=KEY, allow=ALLOW,
                terms=Terms(mode="records", types=("users.*",)),
            )  # fmt: skip
        some = Subscribed(there, district.district_id, grant.grant_id, made.subscription_id, secret, [])
        key = FRAMES["users"]["sourcedId"][0]
        first = changed(FRAMES, "users", key, givenName="Bea Canary")
        await district.sync(first)
        assert await one(courier) == [True]
        await due(world, some)
        await district.sync(changed(first, "users", key, givenName="Eve Canary"))
        assert await one(courier) == [False]

        (told,) = [c for c in there.received[0].data["changes"] if "sourcedId" in c]
        assert (told["type"], told["record"]["givenName"]) == ("users.updated", "Bea Canary")
        assert told["record"]["sourcedId"] == told["sourcedId"]
        assert told["previous"] == {"givenName": FRAMES["users"]["givenName"][0]}
        there.received[0].verify(secret)

        frozen = "SELECT count(*) FROM batches WHERE position('Canary'::bytea IN body) > 0"
        assert await world.feeds.connection.fetchval(frozen) == 1
        async with courier.db.district(district.district_id) as tx:
            rid = await tx.fetchval("SELECT rid FROM users WHERE sourced_id = $1", told["sourcedId"])
            await erasures.remove(tx, {"users": [rid]}, {"users": []})
        assert await world.feeds.connection.fetchval(frozen) == 0
        there.behave = status(204)
        await due(world, some)
        assert await one(courier) == [True]
    last = there.received[-1]
    assert last.id != there.received[1].id
    assert b"Bea" in there.received[1].body
    assert b"Bea" not in last.body  # what the history no longer knows is in no batch that waited either
