"""What a source brings first is written before it is applied: what may go wrong is found, and nothing of it stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
import polars as pl
import pytest

from hub.store import runs
from hub.sync import ending
from hub.sync.ahead import Ahead, Early
from hub.sync.apply import apply
from hub.sync.engine import work_once
from tests.districts import District, Frames, changed, sandbox
from tests.services import Database
from tests.snapshots import leftovers, snapshot
from tests.sync.conftest import first
from tests.sync.guarding import setting
from tests.sync.test_several_sources import member, second
from tests.sync.test_undo_sources import undone


async def as_owner(database: Database, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(database.owner, server_settings={"search_path": "hub"})
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


@pytest.mark.threat("F2")
async def test_rows_that_are_not_in_staging_any_more_are_missed(district: District, database: Database) -> None:
    before = await snapshot(district)
    run_id = await district.request(first())
    await as_owner(
        database,
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$BEGIN DELETE FROM hub.staging_users WHERE rid = 7; RETURN NULL; END$$; "
        "CREATE TRIGGER lose AFTER INSERT ON staging_users FOR EACH STATEMENT EXECUTE FUNCTION lose()",
    )
    assert await work_once(district.db, district.clock)
    run = await district.run(run_id)
    assert (run.state, run.error_code) == ("queued", "unavailable")
    assert await snapshot(district) == before
    assert await leftovers(district) == {"upload_parts": 1}


@pytest.mark.threat("F13")
async def test_a_worker_that_finds_anothers_records_steps_back(district: District, database: Database) -> None:
    run_id = await district.request(first())
    await as_owner(
        database,
        "INSERT INTO orgs (district_id, rid, sourced_id, active, date_last_modified, doc, doc_private) "
        "VALUES ($1, 1, $2, true, now(), '', '')",
        district.district_id, uuid4(),
    )  # fmt: skip
    assert await work_once(district.db, district.clock)
    run = await district.run(run_id)
    assert (run.state, run.error_code) == ("queued", "fenced")
    assert await district.counts() == {"orgs": (1, 0)}


async def test_a_dry_first_load_tells_all_and_leaves_nothing(district: District) -> None:
    before = await snapshot(district)
    shown = await district.sync(first(), dry_run=True)
    assert shown.state == "previewed"
    assert await snapshot(district) == before
    applied = await district.sync(first())
    assert applied.state == "applied"
    assert applied.counts == shown.counts


@pytest.mark.threat("F13")
async def test_a_long_transform_does_not_cost_the_transaction(district: District) -> None:
    await district.request(first())
    claim = await runs.claim(district.db)
    assert claim is not None
    async with district.db.district(district.district_id) as tx:
        await tx.execute("SET LOCAL idle_in_transaction_session_timeout = '400ms'")
        async with Ahead(tx, claim, district.source_id, district.clock.now(), sign_seconds=0.1) as ahead:
            await asyncio.sleep(1)
            await ahead.settle()
        assert await tx.fetchval("SELECT 1") == 1


@dataclass
class Seen:
    """What runs had written when they came to be applied; ``before`` happens then."""

    before: Callable[[], Awaitable[object]] | None = None
    early: list[Early] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found = Seen()

    async def watched(*arguments: Any) -> Any:
        found.early += [argument for argument in arguments if isinstance(argument, Early)]
        if found.before is not None:
            await asyncio.create_task(_awaited(found.before()))  # another task may have a transaction of its own
        return await apply(*arguments)

    monkeypatch.setattr(ending, "apply", watched)
    return found


async def _awaited(what: Awaitable[object]) -> None:
    await what


async def positions(district: District) -> dict[str, set[tuple[int, int]]]:
    """At which positions and steps anything is kept of users, and of what is said of them."""
    async with district.db.district(district.district_id) as tx:
        records = await tx.fetch("SELECT DISTINCT position, 0 AS step FROM history WHERE entity = 'users'")
        words = await tx.fetch("SELECT DISTINCT position, step FROM statement_history WHERE entity = 'users'")
    return {"records": {tuple(row) for row in records}, "words": {tuple(row) for row in words}}


def staff(frames: Frames) -> Frames:
    """What another system says of all users: other telephone numbers."""
    users = frames["users"].with_columns(phone=pl.lit("+12025550123"))
    return {"users": users, "roles": frames["roles"], "userProfiles": frames["userProfiles"]}


@pytest.mark.parametrize("drawn", [False, True], ids=["as expected", "drawn by another"])
async def test_what_a_source_brings_that_joins_is_kept_early_and_at_the_right_position(
    synced: District, seen: Seen, *, drawn: bool
) -> None:
    frames = sandbox(100, 3).frames
    other = await second(synced, priority=1)
    before = await snapshot(synced)
    if drawn:  # a new grant takes the position that the run expected
        seen.before = synced.grant

    run = await other.sync(staff(frames))

    assert (run.state, run.counts["users"]["updated"]) == ("applied", frames["users"].height)
    (early,) = seen.early
    assert (early.position, {name: len(rids) for name, rids in early.kept.items()}, early.said, early.brought) == (
        (run.position or 0) - drawn, {"users": frames["users"].height}, {"users"}, {"users"}
    )  # fmt: skip
    assert early.alone == {("users", synced.source_id): early.kept["users"]}
    assert early.origins == {"users": early.kept["users"]}
    assert await positions(synced) == {"records": {(run.position, 0)}, "words": {(run.position, 0)}}
    async with synced.db.district(synced.district_id) as tx:
        since = await tx.fetch("SELECT since, count(*) AS n FROM provenance WHERE entity = 'users' GROUP BY since")
    assert [tuple(row) for row in since] == [(run.position, frames["users"].height)]
    seen.before = None
    assert (await undone(synced, run)).state == "applied"
    assert (await snapshot(synced)).records == before.records


async def test_a_source_that_joins_and_says_the_same_leaves_nothing_early(synced: District, seen: Seen) -> None:
    frames, other = sandbox(100, 3).frames, await second(synced, priority=200)
    before = await snapshot(synced)
    same = {name: frames[name] for name in ("users", "roles", "userProfiles")}

    run = await other.sync(same)

    assert (run.state, seen.early, await snapshot(synced) == before) == ("unchanged", [], True)
    assert await positions(synced) == {"records": set(), "words": {(before.position, 1)}}
    async with synced.db.district(synced.district_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM statements") == 2 * frames["users"].height


async def test_a_dry_run_and_a_held_one_leave_nothing_of_a_source_that_joins(synced: District, seen: Seen) -> None:
    frames, other = sandbox(100, 3).frames, await second(synced, priority=1)
    before = await snapshot(synced)
    shown = await other.sync(staff(frames), dry_run=True)
    await setting(synced, {"limits": {"default": {"updated": {"most": 0}}}})
    held = await other.sync(staff(frames))
    assert (shown.state, held.state, [set(early.kept) for early in seen.early]) == (
        "previewed", "held", [{"users"}, {"users"}]
    )  # fmt: skip
    assert await snapshot(synced) == before
    assert await positions(synced) == {"records": set(), "words": set()}


@pytest.mark.threat("F11")
async def test_what_is_withheld_of_a_source_that_joins_is_not_written_early(synced: District, seen: Seen) -> None:
    frames, other = sandbox(100, 3).frames, await second(synced, priority=1)
    pupils = frames["enrollments"].filter(pl.col("role") == "student")["userSourcedId"].unique(maintain_order=True)
    here, there = pupils[0], pupils[1]
    own = {name: f"other{place}" for place, name in enumerate(("username", "identifier", "userMasterIdentifier"))}
    said = changed(
        staff(frames), "users", here, userIds="{StateID:1}", givenName="Zebulon", familyName="Xanthos",
        email="z.x@school.org", **own,
    )  # fmt: skip
    births = changed(frames, "demographics", here, birthDate="2001-02-03")["demographics"]
    seats = frames["enrollments"].filter(pl.col("userSourcedId").is_in([here, there])).unique("userSourcedId")
    seats = seats.with_columns(sourcedId=pl.col("sourcedId") + "-hr", primary=pl.lit("false"))

    run = await other.sync(said | {"demographics": births, "enrollments": seats})

    assert (run.state, [r["code"] for r in run.guard if not r["holds"]]) == ("applied", ["rebound_withheld"])
    (early,) = seen.early
    assert early == Early()
    assert run.counts["enrollments"]["created"] == 1
    assert '"Xanthos"' not in str(await member(synced, here))
    assert (await member(synced, there))["phone"] == "+12025550123"
    async with synced.db.district(synced.district_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM enrollments") == frames["enrollments"].height + 1
        assert await tx.fetchval("SELECT count(*) FROM statements WHERE entity = 'users'") == 2 * (
            frames["users"].height - 1
        )
