"""Undoing runs where several sources speak: words, provenance and records agree, and later syncs go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid4

import polars as pl
import pytest

from hub.store import runs, sources, statements
from hub.store.runs import Run
from hub.sync.engine import work_once
from tests.districts import District, Frames, changed, sandbox, without
from tests.snapshots import snapshot
from tests.sync.test_several_sources import a_user, applied, member, only, second
from tests.sync.test_undo import issues, undo
from transforms.catalogue import CATALOGUE

#: Active records by (entity, key): what each says, and which source gave each field of it, or all of them.
Told = Mapping[tuple[str, str], tuple[str, Mapping[str, str] | str]]


async def told(district: District) -> Told:
    """What the district says; sources by name, so that two districts can be compared."""
    seen = await snapshot(district)
    found = {}
    async with district.db.district(district.district_id, readonly=True) as tx:
        names = {str(source.source_id): source.name for source in await sources.listing(tx)}
        for entity in CATALOGUE.entities:
            rows = await tx.fetch(
                "SELECT s.key, p.fields FROM provenance p JOIN source_records s "
                "ON (s.entity, s.rid) = (p.entity, p.rid) WHERE p.entity = $1::text::entity_name", entity.name,
            )  # fmt: skip
            found |= {(entity.name, r["key"]): {f: names.get(s, s) for f, s in r["fields"].items()} for r in rows}
        claims = await tx.fetch("SELECT entity, key, source_id::text AS source FROM source_records WHERE active")
        alone = {(row["entity"], row["key"]): names[row["source"]] for row in claims}
    givers = {
        key: fields if len({*fields.values()}) > 1 else next(iter(fields.values())) for key, fields in found.items()
    }
    return {k: (text, givers.get(k, alone.get(k, ""))) for k, (active, text) in seen.records.items() if active}


def texts(said: Told) -> Mapping[tuple[str, str], str]:
    return {key: text for key, (text, _) in said.items()}


async def queued(district: District, kind: str, source_id: UUID | None = None, **task: str) -> Run:
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=source_id, upload_id=None, dry_run=False, requested_by="test", kind=kind, task=task
        )
        await tx.execute(
            "UPDATE runs SET approved = $2 WHERE run_id = $1", run_id, {"by": "test", "counts": {}, "waived": True}
        )
    while await work_once(district.db, district.clock):
        pass
    return await district.run(run_id)


async def agree(district: District) -> None:
    """All merged records are what the statements make of them now, and come from where provenance says."""
    before = await told(district)
    run = await queued(district, "remerge")
    assert (run.state, run.error_message) == ("unchanged", None), run.counts
    assert await told(district) == before


async def undone(district: District, run: Run) -> Run:
    found = await undo(district, run)
    assert found.state == "applied", (found.state, found.error_code, found.error_message)
    await agree(district)
    return found


def shuffled(frames: Frames) -> Frames:
    """Other bytes, the same rows."""
    return {name: frame.reverse() for name, frame in frames.items()}


def touched(frames: Frames, name: str) -> Frames:
    """The same with another value in the rows of those users with whom anything happened."""
    some = pl.col("sourcedId").is_in([*some_users(sandbox(100, 3).frames), "new"])
    middle = pl.when(some).then(pl.lit(name)).otherwise("middleName").alias("middleName")
    return dict(frames) | {"users": frames["users"].with_columns(middle)}


def person(frames: Frames, key: str, new: str, **values: str) -> Frames:
    """The package with one more person, like another one."""
    user = changed(only(frames, "users"), "users", key, sourcedId=new, username=new, **values)["users"]
    roles = frames["roles"].filter(userSourcedId=key).with_columns(
        sourcedId=pl.lit(new) + pl.col("sourcedId"), userSourcedId=pl.lit(new),
        userProfileSourcedId=pl.lit(None, pl.String),
    )  # fmt: skip
    more = {"users": user.filter(sourcedId=new), "roles": roles}
    return dict(frames) | {name: pl.concat([frames[name], rows], how="diagonal") for name, rows in more.items()}


def gone(frames: Frames, key: str) -> Frames:
    """The package without one person."""
    roles = frames["roles"].filter(userSourcedId=key)["sourcedId"].to_list()
    profiles = frames["userProfiles"].filter(userSourcedId=key)["sourcedId"].to_list()
    left = without(without(without(frames, "users", [key]), "roles", roles), "userProfiles", profiles)
    for name, column in (("enrollments", "userSourcedId"), ("demographics", "sourcedId")):
        if name in left:
            left[name] = left[name].filter(pl.col(column) != key)
    return left


def people(frames: Frames) -> Frames:
    return only(frames, "users", "roles", "userProfiles")


def some_users(frames: Frames) -> list[str]:
    return frames["users"].filter(pl.col("email").is_not_null())["sourcedId"].slice(3, 4).to_list()


async def test_an_undone_merge_is_as_if_the_source_had_not_said_it(
    district: District, other_district: District
) -> None:
    """Later packages of either source bring what they bring where the undone run never was."""
    frames = sandbox(100, 3).frames
    one, two, three, four = some_users(frames)
    hr = changed(people(frames), "users", one, email="one@hr.example")
    hr = changed(gone(hr, four), "users", two, phone="+15550102")
    here, there = district, other_district
    others = {}
    for place in (here, there):
        await applied(place, frames)
        others[place.district_id] = await second(place, priority=1)
        await applied(others[place.district_id], hr)
    other, twin = others[here.district_id], others[there.district_id]
    before = await told(here)
    assert before == await told(there)

    later = changed(
        changed(gone(hr, three), "users", one, email="1@hr.example", givenName="Yara"), "users", two, phone=""
    )
    later = person(later, two, "new", email="new@hr.example")
    back = people(frames)["users"].filter(sourcedId=four).with_columns(email=pl.lit("four@hr.example"))
    later["users"] = pl.concat([later["users"], back])
    for name in ("roles", "userProfiles"):
        later[name] = pl.concat([later[name], frames[name].filter(userSourcedId=four)])
    run = await applied(other, later)
    after = await told(here)
    assert (await member(here, four))["email"] == "four@hr.example"
    assert ("users", "new") in after

    undoing = await undone(here, run)
    assert await told(here) == before
    assert await issues(here, undoing) == []
    assert (await other.sync(shuffled(later))).state == "unchanged"
    assert (await here.sync(shuffled(frames))).state == "unchanged"
    assert await told(here) == before

    sis = changed(changed(frames, "users", one, phone="+15550101"), "users", three, email="three@sis.example")
    for place in (here, there):
        await applied(place, sis)
    assert await told(here) == await told(there)
    assert (await member(here, one))["email"] == "one@hr.example"
    await agree(here)

    undoing_again = await undone(here, undoing)
    assert (await member(here, one))["email"] == "1@hr.example"
    assert (await told(here))["users", "new"] == after["users", "new"]
    await undone(here, undoing_again)
    comes = people(frames)["users"].filter(sourcedId=three)
    whole = dict(later) | {"users": pl.concat([later["users"], comes], how="diagonal")}
    for name in ("roles", "userProfiles"):
        whole[name] = pl.concat([later[name], frames[name].filter(userSourcedId=three)])
    for packages in ((whole, "Q"), (later, "R")):  # what the undo brought back comes and goes
        for place in (other, twin):
            await applied(place, touched(*packages))
    for place in (here, there):
        await applied(place, touched(sis, "P"))
    now = await told(here)
    assert now["users", "new"][0].count('"email":"new@hr.example"') == 1
    assert now["users", three][0].count('"email":"three@sis.example"') == 1
    assert now == await told(there)
    await agree(here)
    assert (await undo(here, run)).state in {"applied", "unchanged"}
    await agree(here)


async def test_a_source_whose_joining_was_undone_has_said_nothing_and_is_heard_again(
    district: District, other_district: District
) -> None:
    frames = sandbox(100, 3).frames
    one, two, *_ = some_users(frames)
    hr = person(changed(people(frames), "users", one, email="one@hr.example", phone="+15550101"), two, "new")
    for place in (district, other_district):
        await applied(place, frames)
    before = await told(district)
    other, twin = await second(district, priority=1), await second(other_district, priority=1)
    run = await applied(other, hr)
    assert (await member(district, one))["from"]["email"] == str(other.source_id)

    await undone(district, run)
    now = await told(district)
    assert now == before
    assert (await other.sync(shuffled(hr))).state == "unchanged"
    assert await told(district) == now

    sis = changed(changed(frames, "users", one, phone="", givenName="Yara"), "users", two, email="two@sis.example")
    for place in (district, other_district):
        await applied(place, sis)
    assert await told(district) == await told(other_district)
    for place in (other, twin):
        await applied(place, touched(hr, "Q"))
    now, there = await told(district), await told(other_district)
    assert texts(now) == texts(there)
    assert [now["users", key] for key in (one, two, "new")] == [there["users", key] for key in (one, two, "new")]
    assert (await member(district, one))["phone"] == "+15550101"
    await agree(district)

    await applied(district, gone(sis, one))
    assert (await member(district, one))["active"]


async def test_what_a_source_said_before_others_joined_is_undone_under_them(
    district: District, other_district: District
) -> None:
    frames = sandbox(100, 3).frames
    one, two, *_ = some_users(frames)
    sis = person(changed(frames, "users", one, email="one@sis.example", givenName="Yara"), two, "new")
    hr = changed(people(sis), "users", one, phone="+15550101")
    for place in (district, other_district):
        await applied(place, frames)
    run = await applied(district, sis)
    for place in (district, other_district):
        await applied(await second(place), hr)

    await undone(district, run)
    now = await told(district)
    assert now == await told(other_district)
    assert now["users", "new"][1] == "HR"


@pytest.mark.parametrize("way", ["ends", "hands over", "hands over, and the heir speaks"])
async def test_a_source_whose_departure_is_undone_works_as_before(district: District, way: str) -> None:
    frames = sandbox(100, 3).frames
    one, two, three, *_ = some_users(frames)
    sis, hr = gone(frames, three), changed(people(frames), "users", one, email="one@hr.example")
    hr = person(person(hr, two, "new", email="new@hr.example"), two, "newer", email="newer@hr.example")
    await applied(district, sis)
    other = await second(district, priority=1)
    await applied(other, hr)
    before = await told(district)
    async with district.db.district(district.district_id) as tx:
        await sources.change(tx, other.source_id, state="paused")
    claims = await claimed(other)

    task = {} if way == "ends" else {"to": str(district.source_id)}
    run = await queued(district, "departure", other.source_id, **task)
    assert run.state == "applied"
    await agree(district)
    assert ((await member(district, "new"))["active"]) is (way != "ends")
    assert (await member(district, one))["email"] != "one@hr.example"
    if way.endswith("speaks"):
        await applied(district, person(sis, two, "new", email="new@sis.example"))
        assert not (await member(district, "newer"))["active"]  # the heir's package does not have this one

    back = await undone(district, run)
    async with district.db.district(district.district_id) as tx:
        source = await sources.get(tx, other.source_id)
        await sources.change(tx, other.source_id, state="active")
    assert (source.state, source.digest) == ("paused", None)
    if way.endswith("speaks"):
        assert (await member(district, "new"))["email"] == "new@hr.example"  # it goes first
        assert (await applied(other, hr)).counts["users"]["updated"] == 2  # three and newer
        assert (await member(district, "newer"))["active"]
        await applied(district, sis)
        assert texts(await told(district)) == texts(before)
    else:
        assert await told(district) == before
        assert await claimed(other) == claims
        assert (await other.sync(hr)).state == "unchanged"
        assert (await district.sync(shuffled(sis))).state == "unchanged"
        assert await told(district) == before
    await applied(other, gone(changed(hr, "users", one, email="1@hr.example"), "new"))
    assert (await member(district, one))["email"] == "1@hr.example"
    assert not (await member(district, "new"))["active"]
    await agree(district)
    refused = await undo(district, back)
    assert (refused.state, refused.error_code) == ("failed", "conflict")


async def claimed(source: District) -> list[tuple[object, ...]]:
    """What a source speaks of, and what all of the district say one by one."""
    async with source.db.district(source.district_id, readonly=True) as tx:
        rows = await tx.fetch("SELECT source_id, entity, key, rid, hash, active FROM source_records ORDER BY 1, 2, 4")
        words = await tx.fetch(
            "SELECT source_id, entity, rid, said_at, doc, doc_private FROM statements ORDER BY 1, 2, 3"
        )
    return [tuple(row) for row in (*rows, *words)]


async def test_a_departure_that_nobody_noticed_is_undone_too(synced: District) -> None:
    frames = sandbox(100, 3).frames
    other = await second(synced)
    await applied(other, people(frames))
    before, claims = await told(synced), await claimed(other)

    run = await queued(synced, "departure", other.source_id)
    assert (run.state, run.position is not None) == ("applied", True)
    await undone(synced, run)

    assert await told(synced) == before
    assert await claimed(other) == claims
    assert (await undo(synced, run)).state == "unchanged"


async def test_what_an_undo_brought_back_goes_with_its_source(synced: District) -> None:
    """Neither a value nor a record stays of a source that departs, though its last package did not have it."""
    frames = sandbox(100, 3).frames
    one, two, *_ = some_users(frames)
    hr = person(changed(people(frames), "users", one, email="one@hr.example"), two, "new")
    before = await told(synced)
    other = await second(synced, priority=1)
    await applied(other, hr)
    run = await applied(other, gone(gone(hr, one), "new"))
    await undone(synced, run)
    assert (await member(synced, one))["email"] == "one@hr.example"
    assert (await member(synced, "new"))["active"]

    await queued(synced, "departure", other.source_id)
    assert texts(await told(synced)) == texts(before)


async def test_rules_are_set_back_and_not_undone(synced: District) -> None:
    frames = sandbox(100, 3).frames
    one, *_ = some_users(frames)
    other = await second(synced, priority=1)
    await applied(other, changed(people(frames), "users", one, email="one@hr.example"))
    async with synced.db.district(synced.district_id) as tx:
        await sources.change(tx, other.source_id, priority=500)
    run = await queued(synced, "remerge")
    assert (run.state, (await member(synced, one))["email"]) != ("applied", "one@hr.example")
    refused = await undo(synced, run)
    assert (refused.state, refused.error_code) == ("failed", "conflict")


async def test_an_undo_leaves_an_override_in_its_place(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(synced, priority=1)
    run = await applied(other, changed(people(frames), "users", key, email="one@hr.example", givenName="Yara"))
    rid = (await member(synced, key))["rid"]
    async with synced.db.district(synced.district_id) as tx:
        made = await statements.override(
            tx, uuid4(), entity="users", rid=rid, field="email", value="hand@district.example", owner="x",
            reason="y", until=None,
        )  # fmt: skip
    await queued(synced, "override", records={"users": [rid]})  # type: ignore[arg-type]
    await undone(synced, run)
    user = await member(synced, key)
    assert (user["email"], user["givenName"] == "Yara") == ("hand@district.example", False)
    assert user["from"]["email"] == f"override:{made.override_id}"
