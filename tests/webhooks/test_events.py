"""People hear of subscriptions that need them: the district and the app itself, once for each change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from hub.clock import SystemClock
from hub.notices import recipients as service
from hub.notices.tell import Teller, tell
from hub.store import notices, recipients
from hub.store.audit import HUB
from hub.store.notices import ALL_KINDS, SUBSCRIPTION_KINDS
from hub.webhooks import subscriptions
from hub.webhooks.deliver import Courier
from hub.webhooks.events import happened
from tests.fakes.receiver import Receiver, hang_up, in_turn, receiver, status
from tests.webhooks.conftest import ALLOW, BASE, KEY, Subscribed, World
from tests.webhooks.rounds import due, one


@dataclass
class Ears:
    """Somebody who wants to hear everything, at a path of one receiver. ``heard``: (kind, code) in order."""

    there: Receiver
    path: str
    recipient: UUID
    secret: str
    heard: list[tuple[str, str]] = field(default_factory=list)

    def messages(self) -> list[dict[str, Any]]:
        """What has come, each signed."""
        got = [r for r in self.there.received if r.path == f"/{self.path}"]
        for each in got:
            each.verify(self.secret)
        return [orjson.loads(each.body) for each in got]

    def kinds(self) -> list[tuple[str, str]]:
        return [(n["kind"].removeprefix("subscriptions."), n["code"]) for m in self.messages() for n in m["notices"]]


async def ears(
    world: World, there: Receiver, path: str, *, district: UUID | None = None, app: UUID | None = None,
    kinds: tuple[str, ...] = SUBSCRIPTION_KINDS,
) -> Ears:  # fmt: skip
    async with world.db.district(district or HUB) as tx:
        address = there.url.replace("/hook", f"/{path}")
        made, secret = await service.create(
            tx, channel="webhook", address=address, kinds=list(kinds), key=KEY, allow=ALLOW, app_id=app
        )
    assert secret is not None
    return Ears(there, path, made.recipient_id, secret)


async def app_of(world: World, some: Subscribed) -> UUID:
    found: UUID = await world.feeds.connection.fetchval("SELECT app_id FROM grants WHERE grant_id = $1", some.grant)
    return found


async def told(world: World, courier: Courier) -> int:
    """Tells all that waits, as if it had waited long enough; how many messages that were."""
    await world.feeds.connection.execute("UPDATE notices SET at = at - interval '11 seconds' WHERE batch_id IS NULL")
    await world.feeds.connection.execute("UPDATE recipients SET ready_at = now(), lease_until = NULL")
    teller = Teller(courier.db, courier.egress, None, SystemClock(), KEY, BASE, pause_seconds=300)
    claims = await notices.claim(courier.db, limit=50, lease_seconds=60)
    for claim in claims:
        await tell(teller, claim)
    return len(claims)


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as one_:
        yield one_


@pytest.mark.threat("T1")
async def test_each_change_is_told_once_to_the_district_and_the_app(world: World, there: Receiver) -> None:
    answers = in_turn(*[status(503)] * 4, status(204), status(503), status(204), status(410), status(204))
    async with receiver(answers) as target, world.courier() as courier:
        some = await world.subscribe(target)
        app = await app_of(world, some)
        office = await ears(world, there, "office", district=some.district, kinds=ALL_KINDS)
        vendor = await ears(world, there, "vendor", app=app)
        other = await world.subscribe(target)
        strangers = [
            await ears(world, there, "district", district=other.district),
            await ears(world, there, "app", app=await app_of(world, other)),
            await ears(world, there, "syncs", district=some.district, kinds=("failed",)),
        ]
        await world.feeds.move(some.district, some.grant, updated=[0])

        async def attempt(times: int = 1) -> None:
            for _ in range(times):
                await due(world, some)
                await one(courier)

        await attempt(2)
        assert await told(world, courier) == 0  # two failures may be a restart
        await attempt(2)
        assert await told(world, courier) == 2
        expected = [("failing", "status")]
        assert office.kinds() == vendor.kinds() == expected
        (message,) = office.messages()
        assert (message["type"], message["district"], message["app"]) == ("notices.told", str(some.district), None)
        (notice,) = message["notices"]
        assert (notice["subscription"], notice["times"]) == (str(some.id), 3)
        assert notice["link"] == f"{BASE}/admin/v1/districts/{some.district}/subscriptions/{some.id}"
        assert vendor.messages()[0]["app"] == str(app)
        assert vendor.messages()[0]["notices"] == message["notices"]
        await attempt()  # it is well again
        assert await told(world, courier) == 2
        await world.feeds.move(some.district, some.grant, updated=[0])
        await attempt(2)  # one failure that nobody hears of, and so no recovery either
        assert await told(world, courier) == 0
        await world.feeds.move(some.district, some.grant, updated=[0])
        await attempt()
        async with world.db.district(some.district) as tx:  # as the API does it
            await subscriptions.rotate(tx, some.id, key=KEY, now=SystemClock().now(), overlap=timedelta(0))
            await subscriptions.resume(tx, some.id)
            await happened(tx, some.id, "parked", error="status")
            await subscriptions.pause(tx, some.id)
            await subscriptions.pause(tx, some.id)
            await subscriptions.resume(tx, some.id)
        await attempt()
        assert await told(world, courier) == 2  # all in one message
        await world.feeds.connection.execute("UPDATE grants SET state = 'revoked' WHERE grant_id = $1", some.grant)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await attempt()
        assert await told(world, courier) == 2
        expected += [
            ("recovered", "recovered"), ("disabled", "status"), ("paused", "asked"), ("parked", "status"),
            ("recovered", "recovered"), ("rotated", "rotated_at_once"), ("disabled", "revoked"),
        ]  # fmt: skip
        assert office.kinds() == vendor.kinds() == expected
        assert [each.messages() for each in strangers] == [[], [], []]
        assert all("127.0.0.1" not in orjson.dumps(m).decode() for m in office.messages())  # nor an address


async def test_an_app_hears_of_all_districts_in_one_message_that_is_not_lost(world: World, there: Receiver) -> None:
    """Neither by a receiver that hangs up nor by what happens meanwhile."""
    there.behave = in_turn(hang_up, status(204))
    async with world.courier() as courier:
        first, second = await world.subscribe(there), await world.subscribe(there)
        app = await app_of(world, first)
        await world.feeds.connection.execute("UPDATE grants SET app_id = $2 WHERE grant_id = $1", second.grant, app)
        vendor = await ears(world, there, "vendor", app=app)
        for each in (first, second):
            async with world.db.district(each.district) as tx:
                await subscriptions.pause(tx, each.id)
        assert await notices.claim(courier.db, limit=50, lease_seconds=60) == []  # more may come
        soon = await notices.next_due(courier.db)
        assert soon is not None
        assert 5 < soon <= 10
        assert await told(world, courier) == 1
        async with world.db.district(HUB) as tx:
            (row,) = await recipients.listing(tx, app_id=app)
            assert (row.attempt, row.last_error, row.waiting) == (1, "protocol", True)
        async with world.db.district(first.district) as tx:
            assert await recipients.listing(tx) == []  # it is none of the district's
            await subscriptions.resume(tx, first.id)
            await subscriptions.pause(tx, first.id)
        assert await told(world, courier) == 1
        lost, again = (r for r in there.received if r.path == "/vendor")
        assert (lost.id, lost.body) == (again.id, again.body)
        told_of = {n["subscription"] for n in orjson.loads(again.body)["notices"]}
        assert told_of == {str(first.id), str(second.id)}
        assert await told(world, courier) == 1
        assert len(vendor.kinds()) == 5
        async with world.db.district(HUB) as tx:
            assert not (await recipients.get(tx, vendor.recipient, app_id=app)).waiting
            await recipients.delete(tx, vendor.recipient, app_id=app)
        assert await told(world, courier) == 0


async def test_a_failure_that_lasts_is_told_before_the_third(world: World, there: Receiver) -> None:
    async with receiver(status(503)) as target, world.courier() as courier:
        some = await world.subscribe(target)
        office = await ears(world, there, "office", district=some.district)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        await world.feeds.connection.execute("UPDATE subscriptions SET failing_since = now() - interval '11 minutes'")
        await due(world, some)
        await one(courier)
        assert await told(world, courier) == 1
        await world.feeds.connection.execute(
            "UPDATE subscriptions SET failing_since = now() - interval '6 days'; "
            "UPDATE attempts SET at = now() - interval '5 days'"
        )
        await due(world, some)
        await one(courier)
        assert await told(world, courier) == 1
    assert office.kinds() == [("failing", "status"), ("paused", "status")]
