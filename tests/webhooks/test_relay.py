"""Subscriptions of a district go on to their next batches together, and each of them is as exact as it is alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from hub.store import claims, relays
from hub.store.database import StatementError, Transaction
from hub.store.relays import Step
from hub.sync import grants
from hub.webhooks import relay, subscriptions
from hub.webhooks.deliver import deliver
from tests.fakes.receiver import Behaviour, Receiver, receiver
from tests.webhooks.conftest import Subscribed, World
from tests.webhooks.rounds import due
from tests.webhooks.test_crashes import worker

PARTS = 12


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each transaction how many subscriptions were to go on, and how many did."""
    seen: list[tuple[int, int]] = []
    plain = relays.relay

    async def counted(tx: Any, steps: Sequence[Step], *, lease_seconds: float) -> dict[relays.Taken, int]:
        taken = await plain(tx, steps, lease_seconds=lease_seconds)
        seen.append((len(steps), len(taken)))
        return taken

    monkeypatch.setattr(relays, "relay", counted)
    return seen


async def backlog(world: World, there: Receiver, count: int) -> list[Subscribed]:
    """Subscriptions of one district; for each of them some batches of one change wait."""
    made: list[Subscribed] = []
    for _ in range(count):
        district = made[0].district if made else None
        made.append(await world.subscribe(there, district=district, users=PARTS, max_changes=1, types=("users.*",)))
    for some in made:
        await world.feeds.move(some.district, some.grant, updated=range(PARTS))
    return made


def sent(there: Receiver, some: Subscribed) -> list[str]:
    """The sourcedIds that a subscription was told of, in order: a batch again only as it was, right after itself."""
    got = [one for one in there.received if one.data["subscription"] == str(some.id)]
    batches = [list(group) for _, group in itertools.groupby(got, key=lambda one: one.id)]
    assert len({group[0].id for group in batches}) == len(batches)
    assert all(len({one.body for one in group}) == 1 for group in batches)
    for group in batches:
        group[0].verify(some.secret)
    return [sourced_id for group in batches for _, _, sourced_id in group[0].changes]


def gate() -> tuple[asyncio.Event, Behaviour]:
    """A receiver that takes what it gets once the event is set."""
    opened = asyncio.Event()

    async def taken(_request: web.Request) -> web.Response:
        await opened.wait()
        return web.Response(status=204)

    return opened, taken


async def test_what_waits_for_many_subscriptions_goes_out_in_order_and_is_noted_together(
    world: World, groups: list[tuple[int, int]]
) -> None:
    async with receiver() as there, world.running():
        made = await backlog(world, there, 6)
        await world.feeds.announce(made[0].district)
        await there.wait_for(6 * PARTS, 20)
    for some in made:
        assert sent(there, some) == some.users[:PARTS]
        row = await world.feeds.subscription(some.id)
        assert (row["position"], row["inside"], row["batch_id"], row["lease_token"]) == (1, None, None, None)
    assert len(there.received) == 6 * PARTS
    assert max(asked for asked, _ in groups) > 1
    assert sum(taken for _, taken in groups) > 3 * PARTS
    log = await world.feeds.connection.fetch("SELECT batch_id, attempt, status, host(remote_ip) AS ip FROM attempts")
    assert {(row["attempt"], row["status"], row["ip"]) for row in log} == {(1, 204, "127.0.0.1")}
    assert {row["batch_id"] for row in log} == {one.id for one in there.received}
    kept = await world.feeds.connection.fetch("SELECT body, delivered_at FROM batches")
    assert len(kept) == 6 * PARTS
    assert all(row["body"] == b"" and row["delivered_at"] for row in kept)


@pytest.mark.threat("F13", "F15", "T9")
async def test_districts_go_on_in_one_statement_and_each_sees_its_own_alone(
    world: World, groups: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GATHER_SECONDS_EACH", "MOST_GATHER_SECONDS"):
        monkeypatch.setattr(relay, name, 1.0)  # nobody is too late for the first group
    opened, taken = gate()
    async with receiver(taken) as there, world.courier() as courier:
        made = [await world.subscribe(there, users=PARTS, max_changes=1, types=("users.*",)) for _ in range(5)]
        assert len({some.district for some in made}) == 5
        for some in made:
            await world.feeds.move(some.district, some.grant, updated=range(PARTS))
        suspended, edited, *plain = made
        leases = await claims.claim(courier.db, limit=9, per_district=9, lease_seconds=20)
        flying = [asyncio.create_task(deliver(courier, claim, most=5)) for claim in leases]
        await there.wait_for(len(made))
        connection = world.feeds.connection
        await connection.execute("UPDATE districts SET state = 'suspended' WHERE district_id = $1", suspended.district)
        await connection.execute("UPDATE grants SET changed_at = now() WHERE grant_id = $1", edited.grant)
        opened.set()
        await asyncio.gather(*flying)
        assert all(sent(there, some) == some.users[:5] for some in (edited, *plain))
        assert len(sent(there, suspended)) == 1
        assert max(asked for asked, _ in groups) == 5
        assert (5, 3) in groups
        rows = await connection.fetch("SELECT district_id, subscription_id FROM attempts")
        assert {(row["district_id"], row["subscription_id"]) for row in rows} == {(s.district, s.id) for s in made}
        stored = await connection.fetch("SELECT DISTINCT district_id, subscription_id FROM batches")
        assert {(row["district_id"], row["subscription_id"]) for row in stored} <= {(s.district, s.id) for s in made}


async def test_a_step_under_another_districts_name_writes_nothing(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        one, other = [await world.subscribe(there, users=PARTS, max_changes=1, types=("users.*",)) for _ in range(2)]
        seen: list[dict[relays.Taken, int]] = []

        async def take(step: Step) -> int:
            async with courier.db.statement() as tx:
                wrong = step._replace(district_id=other.district)
                seen.append(await relays.relay(tx, [wrong], lease_seconds=20))
                seen.append(await relays.relay(tx, [step], lease_seconds=20))
            return seen[-1][step.subscription_id, step.lease_token]

        courier.relay.take = take  # type: ignore[method-assign]
        await world.feeds.move(one.district, one.grant, updated=range(PARTS))
        (claim,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=20)
        assert await deliver(courier, claim, most=3)
        assert sent(there, one) == one.users[:3]
        assert [len(taken) for taken in seen] == [0, 1, 0, 1]
        rows = await world.feeds.connection.fetch("SELECT DISTINCT district_id FROM attempts")
        assert [row["district_id"] for row in rows] == [one.district]


@pytest.mark.threat("T1", "T9")
async def test_a_relay_reaches_the_districts_that_it_names_and_for_its_transaction_alone(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        made = [await world.subscribe(there, users=1, types=("users.*",)) for _ in range(3)]
        for some in made:
            await world.feeds.move(some.district, some.grant, updated=[0])
        for claim in await claims.claim(courier.db, limit=9, per_district=9, lease_seconds=20):
            await deliver(courier, claim)
        one, other, third = sorted(made, key=lambda some: some.district)

        async def seen(tx: Transaction, table: str) -> list[UUID]:
            return [row["district_id"] for row in await tx.fetch(f"SELECT district_id FROM {table} ORDER BY 1")]

        change = "UPDATE batches SET changes = changes WHERE district_id = $1"
        async with courier.db.shared() as tx:
            assert await seen(tx, "batches") == await seen(tx, "grants") == []
            named = f"{one.district},{other.district}"
            await tx.execute("SELECT set_config('hub.relayed', $1, true)", named)
            assert await seen(tx, "batches") == await seen(tx, "grants") == [one.district, other.district]
            assert await seen(tx, "attempts") == await seen(tx, "users") == []
            assert [await tx.execute(change, some.district) for some in (one, third)] == [1, 0]

        async def log(some: Subscribed) -> None:
            async with courier.db.shared() as tx:
                await tx.execute("SELECT set_config('hub.relayed', $1, true)", named)
                await tx.execute(
                    "INSERT INTO attempts (district_id, subscription_id, batch_id, attempt, milliseconds) "
                    "VALUES ($1, $2, 'msg_1', 1, 1)",
                    some.district, some.id,
                )  # fmt: skip

        await log(one)
        with pytest.raises(StatementError, match="row-level security"):
            await log(third)
        async with courier.db.statement() as tx:
            await tx.fetch("SELECT * FROM relay_together($1, 20, '[]', '')", named)
        async with courier.db.shared() as tx:
            assert await seen(tx, "batches") == []


@pytest.mark.threat("F13", "F15")
async def test_who_lost_the_lease_was_edited_or_is_locked_drops_out_of_the_group_alone(
    world: World, groups: list[tuple[int, int]]
) -> None:
    opened, taken = gate()
    async with receiver(taken) as there, world.courier() as courier:
        made = await backlog(world, there, 7)
        fenced, edited, paused, revoked, locked, *plain = made
        leases = await claims.claim(courier.db, limit=9, per_district=9, lease_seconds=20)
        flying = [asyncio.create_task(deliver(courier, claim, most=5)) for claim in leases]
        await there.wait_for(len(made))
        connection = world.feeds.connection
        await connection.execute(
            "UPDATE subscriptions SET lease_token = $2 WHERE subscription_id = $1", fenced.id, uuid4()
        )
        as_fenced = await world.feeds.subscription(fenced.id)
        await world.edit(edited, max_changes=3)
        async with world.db.district(paused.district) as tx:
            await subscriptions.pause(tx, paused.id)
        async with world.db.district(revoked.district) as tx:
            await grants.set_state(tx, revoked.grant, "revoked")
        async with connection.transaction():
            await connection.execute("SELECT FROM subscriptions WHERE subscription_id = $1 FOR UPDATE", locked.id)
            opened.set()
            await there.until(lambda _: all(len(sent(there, some)) == 5 for some in plain))
            assert len(sent(there, locked)) == 1
        await asyncio.gather(*flying)
        rows = {some.id: await world.feeds.subscription(some.id) for some in made}
        assert rows[fenced.id] == as_fenced
        assert {len(sent(there, some)) for some in (fenced, paused, revoked)} == {1}
        assert sent(there, edited) == edited.users[: 1 + 4 * 3][:PARTS]
        assert all(sent(there, some) == some.users[:5] for some in (locked, *plain))
        assert (rows[paused.id]["state"], rows[revoked.id]["state"]) == ("paused", "disabled")
        assert any(0 < went < asked for asked, went in groups)
        # Who gets the lease of the first one sends the same batch once more.
        await due(world, fenced)
        for claim in await claims.claim(courier.db, limit=9, per_district=9, lease_seconds=20):
            await deliver(courier, claim, most=2)
        assert sent(there, fenced) == fenced.users[:2]
    assert len([one for one in there.received if one.data["subscription"] == str(fenced.id)]) == 3


async def test_one_that_cannot_be_noted_does_not_keep_the_group(world: World, groups: list[tuple[int, int]]) -> None:
    opened, taken = gate()
    with capture_logs() as logs:
        await _one_cannot_be_noted(world, opened, taken)
    broken = [line["subscription"] for line in logs if line["event"] == "delivery failed"]
    assert len(set(broken)) == 1
    assert [line for line in logs if line["event"] == "batches are noted one by one"]
    assert sum(went for _, went in groups) > PARTS


async def _one_cannot_be_noted(world: World, opened: asyncio.Event, taken: Behaviour) -> None:
    async with receiver(taken) as there, world.running():
        bad, *others = made = await backlog(world, there, 4)
        await world.feeds.connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF NEW.subscription_id = '{bad.id}' THEN RAISE 'not this one'; END IF; RETURN NEW; END $$; "
            "CREATE TRIGGER refuse BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        await world.feeds.announce(bad.district)
        await there.wait_for(len(made))
        opened.set()
        await there.until(lambda _: all(len(sent(there, some)) == PARTS for some in others), 20)
        assert all(sent(there, some) == some.users[:PARTS] for some in others)
        assert len(sent(there, bad)) == 1
        row = await world.feeds.subscription(bad.id)
        assert (row["position"], row["inside"]) == (0, None)
        assert row["batch_id"] == next(one.id for one in there.received if one.data["subscription"] == str(bad.id))
        await world.feeds.connection.execute("DROP TRIGGER refuse ON attempts; DROP FUNCTION refuse")
        await due(world, bad)
        await world.feeds.announce(bad.district)
        await there.until(lambda _: len(sent(there, bad)) == PARTS, 20)
    assert sent(there, bad) == bad.users[:PARTS]


async def test_who_wants_few_a_minute_goes_on_by_itself(world: World, groups: list[tuple[int, int]]) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, users=PARTS, max_bytes=2_000, rate_per_minute=60)
        await world.feeds.move(some.district, some.grant, updated=range(PARTS))
        (claim,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=20)
        assert await deliver(courier, claim, most=5) is False
        assert len(there.received) == 1
        assert await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=20) == []
    assert groups == []


@pytest.mark.threat("F1", "F15")
@pytest.mark.parametrize(("place", "twice"), [("deliver.after_acknowledge", 0), ("deliver.after_send", 1)])
async def test_a_worker_killed_between_the_group_and_the_next_batch_repeats_at_most_that(
    world: World, place: str, twice: int
) -> None:
    async with receiver() as there:
        made = await backlog(world, there, 3)
        async with worker(world, crash_at=place) as first:
            assert await asyncio.wait_for(first.wait(), 30) == 137
        async with worker(world):
            await there.until(lambda _: all(len(sent(there, some)) == PARTS for some in made), 30)
    assert all(sent(there, some) == some.users[:PARTS] for some in made)
    # What was in flight at that moment may come again, each batch of it once.
    assert twice <= len(there.received) - 3 * PARTS <= 3
