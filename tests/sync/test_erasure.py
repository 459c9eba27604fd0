"""A person is erased: nothing of it is left, no file and no backup brings it back, and apps are told that it left."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import polars as pl
import pytest
from pyroaring import BitMap

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.store import attempts, erasures, extract, past, runs
from hub.store.attempts import Tried
from hub.store.database import Database as Pool
from hub.store.runs import Run
from hub.sync import overrides
from hub.sync.engine import work_once
from hub.webhooks import subscriptions
from tests.beginnings import Beginning
from tests.databases import copying
from tests.districts import District, Frames, changed, sandbox
from tests.forks import run_module
from tests.services import MASTER_KEY, Database, database_at, in_database
from tests.sync.test_retention import everything
from tests.sync.test_several_sources import second
from tests.sync.test_undo import undo

KEY = column_key(MASTER_KEY)
PUPIL = sandbox(students=100, seed=11).frames["demographics"]["sourcedId"][4]
PEER = sandbox(students=100, seed=11).frames["demographics"]["sourcedId"][5]
NAMES = {
    "givenName": "Zyxwvutsrq", "familyName": "Qponmlkjih", "middleName": "Gfedcbazyx", "username": "wvutsrqpon",
    "email": "zyxwv@canary.example", "identifier": "CANARY-4711", "sms": "+15550004711", "sourcedId": "canary-key-1",
}  # fmt: skip


def frames(**more: str) -> Frames:
    """A package in which one pupil has values that nobody else has, and is named by others."""
    found = dict(sandbox(students=100, seed=11).frames)
    found["users"] = changed(found, "users", PEER, agentSourcedIds=PUPIL)["users"]
    for file, frame in found.items():
        columns = [c for c in frame.columns if c in {"userSourcedId", "agentSourcedIds"}]
        columns += ["sourcedId"] if file in {"users", "demographics"} else []
        found[file] = frame.with_columns(pl.col(c).replace(PUPIL, NAMES["sourcedId"]) for c in columns)
    values: dict[str, str | None] = {**NAMES, **more}
    values.pop("sourcedId")
    found = changed(found, "users", NAMES["sourcedId"], **values)
    return changed(found, "demographics", NAMES["sourcedId"], cityOfBirth="Canaryville", birthDate="2011-11-11")


async def known(district: District) -> None:
    """The district's history, findings, grants, uploads and receivers know the pupil."""
    bad = frames(email="canary.old@canary.example", grades="CANARY GRADE")
    assert (await district.sync(bad)).state == "applied"
    grant = await district.grant()
    async with district.db.district(district.district_id) as tx:
        made, _ = await subscriptions.create(tx, grant_id=grant.grant_id, url="https://9.9.9.9/", key=KEY)
        await attempts.add(tx, made.subscription_id, "msg_1", Tried(500, 1, None, f"hello {NAMES['email']}"), "status")
    assert (await district.sync(frames())).state == "applied"
    await district.upload(frames())


@pytest.fixture
def beginning() -> Beginning:
    return known


@pytest.fixture
def erasable(synced: District) -> District:
    """A district that knows the pupil in all those places."""
    return synced


async def person(district: District, key: str = NAMES["sourcedId"]) -> UUID:
    async with district.db.district(district.district_id) as tx:
        found: UUID = await tx.fetchval(
            "SELECT u.sourced_id FROM users u JOIN source_records s USING (rid) WHERE s.entity = 'users' AND key = $1",
            key,
        )
    return found


async def work(district: District) -> None:
    while await work_once(district.db, district.clock, key=KEY):
        pass


async def erase(district: District, sourced_id: UUID, *, dry_run: bool = False) -> Run:
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=None, upload_id=None, dry_run=dry_run, requested_by="test", kind="erase",
            task={"person": str(sourced_id), "erasure": str(uuid4())},
        )  # fmt: skip
        await past.approve(tx, run_id, "test")
    await work(district)
    return await district.run(run_id)


async def sync(district: District, package: Frames) -> Run:
    run_id = await district.request(package)
    await work(district)
    return await district.run(run_id)


def left(text: str) -> list[str]:
    canaries = [*NAMES.values(), "Canaryville", "2011-11-11", "canary.old@", "CANARY GRADE"]
    return [canary for canary in canaries if canary in text]


@pytest.mark.threat("T51")
async def test_nothing_of_an_erased_person_is_left(erasable: District, synced_database: Database) -> None:
    assert len(left(await everything(synced_database))) > 9
    sourced_id = await person(erasable)
    before = await erasable.counts()
    run = await erase(erasable, sourced_id)
    assert (run.state, run.error_message) == ("applied", None)
    assert left(await everything(synced_database)) == []
    after = await erasable.counts()
    assert after["users"] == (before["users"][0] - 1, 1)
    assert after["demographics"] == (before["demographics"][0] - 1, 1)
    assert after["enrollments"][0] < before["enrollments"][0]
    async with erasable.db.district(erasable.district_id) as tx:
        told = {
            r["entity"]: (len(BitMap.deserialize(r["entered"])), len(BitMap.deserialize(r["departed"])))
            for r in await tx.fetch("SELECT * FROM feed WHERE position = $1", run.position)
        }
    assert told["users"] == (0, 1)
    assert told["enrollments"] == (0, before["enrollments"][0] - after["enrollments"][0])


@pytest.mark.threat("T51")
async def test_no_file_brings_an_erased_person_back(erasable: District, synced_database: Database) -> None:
    await erase(erasable, await person(erasable))
    counts = await erasable.counts()
    for package in (
        frames(),
        {name: frame.reverse() for name, frame in frames().items()},
        frames(givenName="Zyxwvutsrq again", grades="CANARY GRADE"),
    ):
        assert (await sync(erasable, package)).state in {"unchanged", "applied"}
        assert await erasable.counts() == counts
        assert left(await everything(synced_database)) == []
    changes = changed(frames(), "users", PEER, givenName="Ada")
    assert (await sync(erasable, changes)).state == "applied"
    assert await erasable.counts() == counts
    assert left(await everything(synced_database)) == []


async def test_who_is_released_may_return_as_another_record(erasable: District) -> None:
    sourced_id = await person(erasable)
    before = await erasable.counts()
    await erase(erasable, sourced_id)
    async with erasable.db.district(erasable.district_id) as tx:
        (erasure,) = await erasures.listing(tx)
        assert erasure.sourced_id == sourced_id
        await erasures.release(tx, erasure.erasure_id, SystemClock().now())
    assert (await sync(erasable, frames())).state == "applied"
    after = await erasable.counts()
    assert after["users"] == (before["users"][0], 1)
    assert await person(erasable) != sourced_id


async def test_a_dry_run_tells_and_leaves_all(erasable: District) -> None:
    sourced_id, state = await person(erasable), await erasable.state()
    shown = await erase(erasable, sourced_id, dry_run=True)
    assert (shown.state, shown.counts["users"]["deleted"]) == ("previewed", 1)
    assert await erasable.state() == state
    async with erasable.db.district(erasable.district_id) as tx:
        assert await erasures.listing(tx) == []


async def test_who_has_ended_already_is_erased_too(erasable: District, synced_database: Database) -> None:
    sourced_id = await person(erasable)
    gone = {
        name: frame.filter(~pl.any_horizontal(pl.col(c) == NAMES["sourcedId"] for c in columns))
        if (columns := [c for c in frame.columns if c in {"sourcedId", "userSourcedId"}]) else frame
        for name, frame in frames().items()
    }  # fmt: skip
    gone = changed(gone, "users", PEER, agentSourcedIds=None)
    assert (await sync(erasable, gone)).state == "applied"
    assert (await erase(erasable, sourced_id)).state == "applied"
    assert left(await everything(synced_database)) == []
    assert (await erase(erasable, sourced_id)).state == "applied"


async def test_no_undo_brings_an_erased_person_back(erasable: District, synced_database: Database) -> None:
    async with erasable.db.district(erasable.district_id) as tx:
        found = await tx.fetch("SELECT run_id FROM runs WHERE state = 'applied' ORDER BY position")
    run = await erase(erasable, await person(erasable))
    refused = await undo(erasable, run)
    assert (refused.state, refused.error_code) == ("failed", "conflict")
    counts = await erasable.counts()
    later = await undo(erasable, await erasable.run(found[-1]["run_id"]))
    assert later.state in {"applied", "unchanged"}
    assert (await undo(erasable, await erasable.run(found[0]["run_id"]))).state == "applied"
    assert left(await everything(synced_database)) == []
    assert (await erasable.counts())["users"][1] == sum(counts["users"])


async def test_an_unknown_person_is_told(district: District) -> None:
    run = await erase(district, uuid4())
    assert (run.state, run.error_code) == ("failed", "not_found")


async def test_without_the_key_nothing_is_synced_past_an_erasure(erasable: District) -> None:
    await erase(erasable, await person(erasable))
    run = await erasable.sync(changed(frames(), "users", PEER, givenName="Ada"))
    assert (run.state, run.error_code) == ("failed", "internal")


@pytest.fixture
async def backup(erasable: District, synced_database: Database) -> AsyncIterator[Database]:
    """A copy of the synced_database from before the erasure."""
    name = f"hub_backup_{secrets.token_hex(6)}"
    await erasable.db.close()
    connection = await asyncpg.connect(in_database(synced_database.owner, "postgres"))
    try:
        await connection.execute(copying(name, synced_database.name))
        erasable.db = await Pool.open(synced_database.worker, name="test worker", largest=4)
        yield database_at(in_database(synced_database.owner, name))
        await erasable.db.close()
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.mark.threat("T52")
async def test_a_restored_backup_brings_nobody_back(
    erasable: District, synced_database: Database, backup: Database, redis_url: str, tmp_path: Path
) -> None:
    await erase(erasable, await person(erasable))
    ledger = tmp_path / "ledger"
    assert "1 erasures" in await _hub(synced_database, redis_url, "export", str(ledger))
    assert left(await asyncio.to_thread(ledger.read_text)) == []

    assert left(await everything(backup))
    told = await _hub(backup, redis_url, "replay", str(ledger))
    assert "1 erasures noted again, 1 people to be erased again" in told
    db = await Pool.open(backup.worker, name="test worker", largest=4)
    restored = District(db, district_id=erasable.district_id, source_id=erasable.source_id)
    await work(restored)
    assert left(await everything(backup)) == []
    counts = await restored.counts()
    assert (await sync(restored, changed(frames(), "users", PEER, givenName="Ada"))).state == "applied"
    assert await restored.counts() == counts
    await db.close()
    assert "0 erasures noted again, 0 people to be erased again" in await _hub(backup, redis_url, "replay", str(ledger))


async def _hub(database: Database, redis_url: str, *arguments: str) -> str:
    settings = {
        "HUB_DATABASE_URL": database.owner, "HUB_MASTER_KEY": MASTER_KEY.decode(), "HUB_REDIS_URL": redis_url,
    }  # fmt: skip
    done = await run_module("hub.cli", "erasures", *arguments, environment=os.environ | settings, apart=True)
    assert done.code == 0, done.errors
    return done.out


@pytest.mark.threat("T51")
async def test_grades_go_with_the_person_and_what_apps_called_them(graded: District, postgres: str) -> None:
    async with graded.db.district(graded.district_id) as tx:
        row = await tx.fetchrow(
            "SELECT r.rid, r.sourced_id, r.student_rid, u.sourced_id AS student FROM results r "
            "JOIN users u ON u.rid = r.student_rid WHERE r.active LIMIT 1"
        )
        assert row is not None
        results = await tx.fetchval("SELECT count(*) FROM results WHERE student_rid = $1", row["student_rid"])
        owner = await tx.fetchval("SELECT app_id FROM grants")
    connection = await asyncpg.connect(in_database(postgres, await _name(graded)))
    try:
        await connection.execute(
            "INSERT INTO hub.gradebook_objects (district_id, entity, rid, app_id, sourced_id, key, created_at) "
            "VALUES ($1, 'results', $2, $3, $4, 'canary result', now())",
            graded.district_id, row["rid"], owner, row["sourced_id"],
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO hub.gradebook_posts (district_id, app_id, target, supplied, sourced_id, at) "
            "VALUES ($1, $2, 'results', 'canary supplied', $3, now())",
            graded.district_id, owner, row["sourced_id"],
        )  # fmt: skip
        run = await erase(graded, row["student"])
        assert (run.state, run.counts["results"]["deleted"]) == ("applied", results)
        async with graded.db.district(graded.district_id) as tx:
            said = await tx.fetch("SELECT * FROM results WHERE rid = $1", row["rid"])
            assert {k: v for k, v in said[0].items() if v not in (None, "")}.keys() == {
                "district_id", "rid", "sourced_id", "active", "date_last_modified",
            }  # fmt: skip
        for table in ("gradebook_objects", "gradebook_posts"):
            found = await connection.fetch(f"SELECT t::text FROM hub.{table} t WHERE t::text LIKE '%canary%'")
            assert found == []
    finally:
        await connection.close()


async def _name(district: District) -> str:
    """The name of the district's database."""
    async with district.db.district(district.district_id) as tx:
        return str(await tx.fetchval("SELECT current_database()"))


async def test_deltas_from_before_an_erasure_become_whole_packages(erasable: District) -> None:
    async with erasable.db.district(erasable.district_id) as tx:
        before = await tx.fetchval("SELECT position FROM districts WHERE district_id = $1", tx.district_id)
        assert await extract.past_is_kept(tx, before)
    run = await erase(erasable, await person(erasable))
    async with erasable.db.district(erasable.district_id) as tx:
        assert not await extract.past_is_kept(tx, before)
        assert await extract.past_is_kept(tx, run.position or 0)


@pytest.mark.threat("T51")
async def test_what_several_sources_say_goes_and_none_of_them_brings_the_person_back(
    erasable: District, synced_database: Database
) -> None:
    other = await second(erasable)
    key = NAMES["sourcedId"]
    staff = changed({n: frames()[n] for n in ("users", "roles", "userProfiles")}, "users", key, phone="+15550004712")
    assert (await sync(other, staff)).state == "applied"
    sourced_id = await person(erasable)
    async with erasable.db.district(erasable.district_id) as tx:
        await overrides.override(
            tx, entity="users", sourced_id=sourced_id, field="preferredFirstName", value="Canarina", owner="a person",
            reason="Canarina asked for it", until=None,
        )  # fmt: skip
    await work(erasable)
    text = await everything(synced_database)
    assert "15550004712" in text
    assert "Canarina" in text
    assert (await erase(erasable, sourced_id)).state == "applied"
    for source, package in ((erasable, frames(grades="09")), (other, changed(staff, "users", PEER, givenName="Ada"))):
        assert (await sync(source, package)).state in {"applied", "unchanged"}
        text = await everything(synced_database)
        assert left(text) == []
        assert "15550004712" not in text
        assert "Canarina" not in text
    assert (await erasable.counts())["users"] == (frames()["users"].height - 1, 1)
