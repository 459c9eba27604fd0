"""What arrives at a receiver, in which order, and what an outage changes about that."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.errors import Code, HubError
from hub.store import attempts, feed
from hub.store import subscriptions as store
from hub.webhooks import subscriptions
from hub.webhooks.challenge import Proof
from hub.webhooks.failure import Failure
from hub.webhooks.sign import verify
from tests.fakes.receiver import hang, in_turn, receiver, status
from tests.webhooks.conftest import ALLOW, KEY, World
from tests.webhooks.rounds import due, one


@pytest.mark.threat("T36")
async def test_a_change_arrives_signed_with_ids_and_addresses(world: World) -> None:
    async with receiver() as there, world.running():
        some = await world.subscribe(there)
        position = await world.feeds.move(some.district, some.grant, entered=[0], updated=[1], left=[2])
        await world.feeds.announce(some.district)
        (got,) = await there.wait_for(1)
    got.verify(some.secret)
    with pytest.raises(WebhookVerificationError):
        got.verify("whsec_" + "A" * 43 + "=")
    users = some.users
    assert got.changes == [
        ("users", "created", users[0]),
        ("users", "updated", users[1]),
        ("users", "deleted", users[2]),
    ]
    assert (got.data["from"], got.data["to"], got.data["more"]) == (0, position, False)
    assert (got.data["subscription"], got.data["district"]) == (str(some.id), str(some.district))
    assert got.data["grant"] == str(some.grant)
    href = f"https://hub.example/d/{some.district}/ims/oneroster/rostering/v1p2/users/{users[0]}"
    assert [c.get("href") for c in got.data["changes"] if "sourcedId" in c] == [
        href,
        href.replace(users[0], users[1]),
        None,
    ]


@pytest.mark.threat("T37")
async def test_no_personal_data_leaves(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, entered=range(10))
        await one(courier)
    assert b"Canary" not in there.received[0].body
    assert {frozenset(c) for c in there.received[0].data["changes"]} == {
        frozenset({"type", "sourcedId", "version", "href"}),
        frozenset({"type", "version", "at", "counts"}),
    }


async def test_positions_arrive_in_order_without_a_gap(world: World) -> None:
    async with receiver() as there, world.running():
        some = await world.subscribe(there)
        last = 0
        for number in range(30):
            last = await world.feeds.move(some.district, some.grant, updated=[number % 10])
            await world.feeds.announce(some.district)
            await asyncio.sleep(0.01)
        await there.until(lambda got: bool(got) and got[-1].data["to"] == last)
    spans = [(got.data["from"], got.data["to"]) for got in there.received]
    assert spans[0][0] == 0
    assert all(earlier[1] == later[0] for earlier, later in pairwise(spans))


async def test_changes_that_waited_come_once_in_their_latest_state(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, entered=[1, 2], updated=[3])
        await world.feeds.move(some.district, some.grant, updated=[1, 3], left=[2, 4])
        to = await world.feeds.move(some.district, some.grant, entered=[4])
        assert await one(courier) == [True]
        assert await one(courier) == []
    (got,) = there.received
    assert got.changes == [("users", "created", some.users[1]), ("users", "updated", some.users[3]),
                           ("users", "updated", some.users[4]), ("users", "deleted", some.users[2])]  # fmt: skip
    assert (got.data["from"], got.data["to"]) == (0, to)


async def test_a_long_window_comes_in_parts_and_ends_once(world: World) -> None:
    async with receiver() as there, world.running():
        some = await world.subscribe(there, users=700)
        await world.feeds.records(some.district, "orgs", 3)
        await world.feeds.move(some.district, some.grant, entered=range(700))
        await world.feeds.move(some.district, some.grant, "orgs", entered=[0, 1], left=[2])
        await world.feeds.announce(some.district)
        await there.until(lambda got: bool(got) and not got[-1].data["more"])
    sent = [change for got in there.received for change in got.changes]
    orgs = world.feeds.ids[some.district, "orgs"]
    assert sent == [
        *(("orgs", "created", i) for i in orgs[:2]),
        *(("users", "created", i) for i in some.users),
        ("orgs", "deleted", orgs[2]),
    ]
    assert [got.data["more"] for got in there.received] == [True] * (len(there.received) - 1) + [False]
    assert len(there.received) > 5
    assert len({(got.data["from"], got.data["to"]) for got in there.received}) == 1
    assert len({got.id for got in there.received}) == len(there.received)


async def test_what_comes_while_a_window_is_open_follows_it(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, users=700)
        first = await world.feeds.move(some.district, some.grant, entered=range(700))
        assert await one(courier) == [True]
        await due(world, some)
        second = await world.feeds.move(some.district, some.grant, updated=[0])
        for _ in range(40):
            await one(courier)
            await due(world, some)
    spans = [(got.data["from"], got.data["to"], got.data["more"]) for got in there.received]
    assert spans[-2:] == [(0, first, False), (first, second, False)]
    assert there.received[-1].changes == [("users", "updated", some.users[0])]


async def test_a_subscription_starts_at_the_head(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        early = await world.subscribe(there)
        head = await world.feeds.move(early.district, early.grant, entered=[0, 1])
        async with world.db.district(early.district) as tx:
            late, _ = await subscriptions.create(tx, grant_id=early.grant, url=there.url, key=KEY, allow=ALLOW)
        assert late.position == head
        await one(courier)
    assert [got.data["subscription"] for got in there.received] == [str(early.id)]


@pytest.mark.threat("T16")
async def test_hidden_changes_send_nothing_and_leave_no_gap(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        other = await world.feeds.grant(some.district)
        first = await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        await due(world, some)
        for grant in (None, other, None):
            await world.feeds.move(some.district, grant, updated=[5])
        assert await one(courier) == [False]
        assert await one(courier) == []
        last = await world.feeds.move(some.district, some.grant, updated=[1])
        assert await one(courier) == [True]
    assert [(got.data["from"], got.data["to"]) for got in there.received] == [(0, first), (first, last)]


@pytest.mark.threat("F15")
async def test_a_retry_has_the_same_id_and_the_same_bytes(world: World) -> None:
    async with receiver(in_turn(status(500), status(503), status(204))) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        assert await one(courier) == [False]
        assert await one(courier) == []  # not before its time
        await world.feeds.move(some.district, some.grant, updated=[1])
        for _ in range(2):
            await due(world, some)
            await one(courier)
        await due(world, some)
        await one(courier)
    assert len({(got.id, got.body) for got in there.received[:3]}) == 1
    assert there.received[3].id != there.received[0].id
    assert there.received[3].changes == [("users", "updated", some.users[1])]
    async with world.db.district(some.district) as tx:
        log = await attempts.page(tx, some.id, attempts.Wanted(), limit=10, after=None)
    assert [(a.attempt, a.status, a.error_class) for a in log[::-1]] == [
        (1, 500, "status"), (2, 503, "status"), (3, 204, None), (1, 204, None)]  # fmt: skip
    for got in there.received:
        got.verify(some.secret)


async def test_a_failure_is_shown_and_success_clears_it(world: World) -> None:
    async with receiver(in_turn(status(404), status(204))) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        async with world.db.district(some.district) as tx:
            failed = await store.get(tx, some.id)
            behind = await subscriptions.lag(tx, failed)
        assert (failed.state, failed.attempt, failed.last_error, failed.last_status) == ("active", 1, "status", 404)
        assert failed.failing_since is not None
        assert timedelta(seconds=3.9) < failed.ready_at - failed.failing_since < timedelta(seconds=6.1)
        assert (behind.head, behind.position, behind.behind) == (1, 0, True)
        await due(world, some)
        await one(courier)
        async with world.db.district(some.district) as tx:
            mended = await store.get(tx, some.id)
            assert not (await subscriptions.lag(tx, mended)).behind
    assert (mended.attempt, mended.failing_since, mended.last_error, mended.last_status) == (0, None, None, 204)


@pytest.mark.threat("F14")
async def test_retry_after_moves_the_next_attempt(world: World) -> None:
    async with receiver(status(429, retry_after="900")) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
    row = await world.feeds.subscription(some.id)
    assert 899 < (row["ready_at"] - row["failing_since"]).total_seconds() < 901


@pytest.mark.threat("F14")
async def test_gone_disables_and_resuming_goes_on_where_it_stopped(world: World) -> None:
    async with receiver(in_turn(status(410), status(204))) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        await due(world, some)
        assert await one(courier) == []
        async with world.db.district(some.district) as tx:
            assert (await store.get(tx, some.id)).state == "disabled"
            await subscriptions.resume(tx, some.id)
        assert await one(courier) == [True]
    assert [got.id for got in there.received] == [there.received[0].id] * 2


@pytest.mark.threat("F14")
@pytest.mark.parametrize(
    ("first", "last", "state"),
    [("6 days", "3 days", "paused"), ("6 days", "5.9 days", "active"), ("4 days", "1 day", "active")],
)
async def test_five_days_of_failures_pause(world: World, first: str, last: str, state: str) -> None:
    async with receiver(status(500)) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        await world.feeds.connection.execute(
            f"UPDATE subscriptions SET failing_since = now() - interval '{first}', attempt = 40"
        )
        await world.feeds.connection.execute(f"UPDATE attempts SET at = now() - interval '{last}'")
        await due(world, some)
        await one(courier)
    assert (await world.feeds.subscription(some.id))["state"] == state


async def test_a_pause_loses_nothing(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        async with world.db.district(some.district) as tx:
            await subscriptions.pause(tx, some.id)
        await world.feeds.move(some.district, some.grant, updated=[0])
        assert await one(courier) == []
        async with world.db.district(some.district) as tx:
            await subscriptions.resume(tx, some.id)
        assert await one(courier) == [True]
    assert there.received[0].data["from"] == 0


@pytest.mark.threat("T18")
async def test_after_a_revocation_nothing_is_sent_not_even_a_retry(world: World) -> None:
    async with receiver(status(500)) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        await world.feeds.move(some.district, some.grant, updated=[1])
        await world.feeds.connection.execute("UPDATE grants SET state = 'revoked'")
        await due(world, some)
        assert await one(courier) == [False]
        await due(world, some)
        assert await one(courier) == []
    assert len(there.received) == 1
    assert await world.feeds.connection.fetchval("SELECT count(*) FROM batches") == 0
    assert (await world.feeds.subscription(some.id))["state"] == "disabled"
    async with world.db.district(some.district) as tx:
        for act in (subscriptions.resume(tx, some.id),
                    subscriptions.create(tx, grant_id=some.grant, url=there.url, key=KEY, allow=ALLOW)):  # fmt: skip
            with pytest.raises(HubError) as caught:
                await act
            assert caught.value.code is Code.CONFLICT


@pytest.mark.threat("T18")
@pytest.mark.parametrize("table", ["grants", "districts"])
async def test_while_suspended_nothing_is_sent_and_nothing_is_lost(world: World, table: str) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await world.feeds.connection.execute(f"UPDATE {table} SET state = 'suspended'")
        assert not any(await one(courier))
        assert there.received == []
        await world.feeds.connection.execute(f"UPDATE {table} SET state = 'active'")
        await due(world, some)
        assert await one(courier) == [True]


@pytest.mark.threat("T36")
async def test_after_a_rotation_both_secrets_verify_until_the_overlap_ends(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        now = SystemClock().now()
        async with world.db.district(some.district) as tx:
            _, new = await subscriptions.rotate(tx, some.id, key=KEY, now=now)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        async with world.db.district(some.district) as tx:
            _, newest = await subscriptions.rotate(tx, some.id, key=KEY, now=now, overlap=timedelta())
            with pytest.raises(HubError):
                await subscriptions.rotate(tx, some.id, key=KEY, now=now, overlap=timedelta(days=8))
        await due(world, some)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
    for secret in (some.secret, new):
        there.received[0].verify(secret)
        with pytest.raises(WebhookVerificationError):
            there.received[1].verify(secret)
    there.received[1].verify(newest)


@pytest.mark.threat("T36")
async def test_v1a_is_signed_beside_v1_and_rotates_with_it(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        now = SystemClock().now()
        async with world.db.district(some.district) as tx:
            ring, _ = await subscriptions.known(tx, some.id, key=KEY)
            first, shown = await subscriptions.sign_with(tx, some.id, ring.of(["v1", "v1a"]), before=ring, key=KEY)
            second, new = await subscriptions.rotate(tx, some.id, key=KEY, now=now)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        async with world.db.district(some.district) as tx:
            with pytest.raises(HubError, match="changed"):
                await subscriptions.sign_with(tx, some.id, ring, before=ring, key=KEY)
            ring, _ = await subscriptions.known(tx, some.id, key=KEY)
            last, none = await subscriptions.sign_with(tx, some.id, ring.of(["v1a"]), before=ring, key=KEY)
        await due(world, some)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
    assert (shown, none) == (None, None)
    both, alone = there.received
    for secret in (some.secret, new):
        both.verify(secret)
    public = [key["key"] for key in second.public_keys]
    assert public[1:] == [key["key"] for key in first.public_keys]
    assert second.public_keys == last.public_keys
    for got in (both, alone):
        assert [verify(key, got.headers, got.body, now=now.timestamp()) for key in public] == [True, True]
    assert [entry.split(",")[0] for entry in alone.headers["webhook-signature"].split(" ")] == ["v1a", "v1a"]


async def test_an_unproven_receiver_is_sent_nothing_and_loses_nothing(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        async with world.db.district(some.district) as tx:
            moved = await subscriptions.point(tx, some.id, there.url, Proof(Failure.CHALLENGE, 200))
            with pytest.raises(HubError, match="prove"):
                await subscriptions.resume(tx, some.id)
        await world.feeds.move(some.district, some.grant, updated=[0])
        assert await one(courier) == []
        async with world.db.district(some.district) as tx:
            assert (await subscriptions.prove(tx, some.id, there.url, None)).state == "unproven"
            with pytest.raises(HubError, match="changed"):
                await subscriptions.prove(tx, some.id, "https://other.example/", Proof())
            proven = await subscriptions.prove(tx, some.id, there.url, Proof())
        assert await one(courier) == [True]
    assert (moved.state, proven.state) == ("unproven", "active")
    assert len(there.received) == 1


@pytest.mark.threat("T26")
async def test_a_secret_copied_from_another_subscription_signs_nothing(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        mine, other = await world.subscribe(there), await world.subscribe(there)
        await world.feeds.connection.execute(
            "UPDATE subscriptions s SET secret = o.secret FROM subscriptions o "
            "WHERE s.subscription_id = $1 AND o.subscription_id = $2",
            mine.id, other.id,
        )  # fmt: skip
        await world.feeds.move(mine.district, mine.grant, updated=[0])
        with pytest.raises(HubError):
            await one(courier)
    assert there.received == []


async def test_the_secret_is_stored_encrypted_and_shown_once(world: World) -> None:
    async with receiver() as there:
        some = await world.subscribe(there)
        stored = (await world.feeds.subscription(some.id))["secret"]
        async with world.db.district(some.district) as tx:
            shown: Any = await store.get(tx, some.id)
    assert some.secret.encode() not in stored
    assert not hasattr(shown, "secret")


async def test_deleting_in_flight_throws_the_result_away(world: World) -> None:
    async with receiver(hang) as there, world.courier(seconds=0.5) as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        flying = asyncio.create_task(one(courier))
        await there.wait_for(1)
        async with world.db.district(some.district) as tx:
            await subscriptions.delete(tx, some.id)
        assert await flying == [False]
        async with world.db.district(some.district) as tx:
            with pytest.raises(HubError):
                await store.get(tx, some.id)
    for table in ("subscriptions", "batches", "attempts"):
        assert await world.feeds.connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_wrong_receivers_are_refused(world: World) -> None:
    district = await world.feeds.district()
    async with world.db.district(district) as tx:
        for url in ("http://example.org/", "https://10.0.0.1/", "https://user@example.org/"):
            with pytest.raises(HubError) as caught:
                await subscriptions.create(tx, grant_id=district, url=url, key=KEY)
            assert caught.value.code is Code.INVALID_REQUEST
        with pytest.raises(HubError) as caught:
            await subscriptions.create(tx, grant_id=district, url="https://example.org/", key=KEY)
        assert caught.value.code is Code.NOT_FOUND


async def test_the_feed_is_read_from_one_snapshot(world: World) -> None:
    district = await world.feeds.district()
    grant = await world.feeds.grant(district)
    async with world.db.district(district) as tx:
        assert await feed.head(tx, grant) == feed.Head("active", "active", 0, 0)
        await world.feeds.move(district, grant, updated=[1])
        await world.feeds.move(district, None)
        assert await feed.head(tx, grant) == feed.Head("active", "active", 1, 2)
        assert await feed.head(tx, district) is None
        (entry,) = await feed.entries(tx, grant, after=0, to=2)
        assert (entry.step, entry.position, entry.entity, entry.cause) == (1, 1, "users", "sync")
        assert await feed.steps(tx, grant, after=0, to=2) == [entry]
        assert await feed.entries(tx, grant, after=1, to=2) == []


async def test_another_master_key_sends_nothing(world: World) -> None:
    async with receiver() as there, world.courier(key=column_key(b"x" * 32)) as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        with pytest.raises(HubError):
            await one(courier)
    assert there.received == []
