"""What is held does not reach a receiver."""

from __future__ import annotations

import pytest

from hub.store import deliveries
from hub.webhooks import subscriptions
from hub.webhooks.deliver import Courier, deliver
from tests.districts import District, sandbox
from tests.fakes.receiver import receiver
from tests.sync.guarding import approve
from tests.webhooks.conftest import ALLOW, KEY, World

FRAMES = sandbox(students=200, seed=8).frames


async def attempts(courier: Courier) -> int:
    """Carries out what is due; how many attempts that were."""
    claims = await deliveries.claim(courier.db, limit=100, per_district=100, lease_seconds=courier.lease_seconds)
    return len([await deliver(courier, claim) for claim in claims])


@pytest.mark.threat("F11")
async def test_a_receiver_hears_of_a_held_run_only_once_it_was_approved(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        district = await District(courier.db).create()
        await district.sync(FRAMES)
        grant = await district.grant()
        async with world.db.district(district.district_id) as tx:
            await subscriptions.create(tx, grant_id=grant.grant_id, url=there.url, key=KEY, allow=ALLOW)
        while await attempts(courier):
            pass
        before = len(there.received)
        half = dict(FRAMES) | {"enrollments": FRAMES["enrollments"].head(FRAMES["enrollments"].height - 200)}
        run = await district.sync(half)
        assert run.state == "held"
        assert await attempts(courier) == 0
        assert len(there.received) == before

        assert (await approve(district, run.run_id)).state == "applied"
        assert await attempts(courier) == 1
        (got,) = there.received[before:]
        assert {(entity, kind) for entity, kind, _ in got.changes} == {("enrollments", "deleted")}
