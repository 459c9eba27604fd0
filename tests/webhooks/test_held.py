"""What is held does not reach a receiver."""

from __future__ import annotations

import pytest

from hub.webhooks import subscriptions
from tests.districts import District, sandbox
from tests.fakes.receiver import receiver
from tests.sync.guarding import approve
from tests.webhooks.conftest import ALLOW, KEY, World
from tests.webhooks.rounds import one

FRAMES = sandbox(students=200, seed=8).frames


@pytest.mark.threat("F11")
async def test_a_receiver_hears_of_a_held_run_only_once_it_was_approved(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        district = await District(courier.db).create()
        await district.sync(FRAMES)
        grant = await district.grant()
        async with world.db.district(district.district_id) as tx:
            await subscriptions.create(tx, grant_id=grant.grant_id, url=there.url, key=KEY, allow=ALLOW)
        while await one(courier):
            pass
        before = len(there.received)
        half = dict(FRAMES) | {"enrollments": FRAMES["enrollments"].head(FRAMES["enrollments"].height - 200)}
        run = await district.sync(half)
        assert run.state == "held"
        assert await one(courier) == []
        assert len(there.received) == before

        assert (await approve(district, run.run_id)).state == "applied"
        assert await one(courier) == [True]
        (got,) = there.received[before:]
        assert {(entity, kind) for entity, kind, _ in got.changes} == {("enrollments", "deleted")}
