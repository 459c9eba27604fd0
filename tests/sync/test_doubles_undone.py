"""One source that has two records of a person, or gives an id to somebody else: undone, erased, and gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from hub.store import sources
from tests.districts import District, Frames, changed, without
from tests.services import Database
from tests.sync.guarding import guarded
from tests.sync.test_doubles import person, shuffled, two_students
from tests.sync.test_erasure import erase, sync
from tests.sync.test_people import FRAMES, another, merge, picture, sourced_id, split, told
from tests.sync.test_retention import everything
from tests.sync.test_rules import FRAMES as REUSING
from tests.sync.test_rules import PUPILS, records, seats_of, somebody_else
from tests.sync.test_several_sources import applied, only, second
from tests.sync.test_undo import undo
from tests.sync.test_undo_sources import queued


async def words(district: District) -> list[tuple[Any, ...]]:
    """All that sources say of people one by one, whether the last package had it or not."""
    async with district.db.district(district.district_id, readonly=True) as tx:
        rows = await tx.fetch("SELECT source_id, entity, rid, doc, doc_private FROM statements ORDER BY 1, 2, 3")
    return [tuple(row) for row in rows]


async def seen(district: District) -> dict[str, Any]:
    """What apps see: an undo brings back what a source said, not that its last package has it."""
    return {name: value for name, value in (await picture(district)).items() if name != "claims"}


async def left_out(frames: Frames, *keys: str) -> Frames:
    rest = without(without(frames, "users", list(keys)), "demographics", list(keys))
    about = pl.col("userSourcedId").is_in(keys)
    return rest | {name: rest[name].filter(~about) for name in ("roles", "userProfiles", "enrollments")}


async def twice(district: District) -> tuple[str, str, Frames]:
    """A district of which two records of one source are one person: their keys, the older first, and its package."""
    keys = two_students(FRAMES)
    await applied(district, FRAMES)
    ids = [await sourced_id(district, key) for key in keys]
    rids = [(await person(district, key))["rid"] for key in keys]
    older, younger = (key for _, key in sorted(zip(rids, keys, strict=True)))
    frames = changed(FRAMES, "users", older, middleName=None)
    frames = changed(frames, "users", younger, middleName="Wren")
    frames = changed(frames, "demographics", older, cityOfBirth=None)
    frames = changed(frames, "demographics", younger, cityOfBirth="Salem")
    await applied(district, frames)
    await merge(district, *ids)
    return older, younger, frames


async def test_a_later_sync_is_undone_whichever_of_the_records_it_changed(district: District) -> None:
    older, younger, frames = await twice(district)
    before, said = await seen(district), await words(district)
    both = changed(changed(frames, "users", older, givenName="Ada"), "users", younger, middleName="Lea")
    later = {
        "younger": changed(
            changed(frames, "users", younger, middleName="Lea"), "demographics", younger, cityOfBirth="Bo"
        ),
        "both": both,
        "unseen": changed(
            changed(frames, "users", younger, givenName="Bea"), "users", FRAMES["users"]["sourcedId"][0], givenName="Cy"
        ),
        "younger goes": await left_out(frames, younger),
        "older goes": await left_out(frames, older),
        "both go": await left_out(frames, older, younger),
    }
    for name, package in later.items():
        run = await applied(district, package)
        undone = await undo(district, run)
        assert undone.state == "applied", (name, undone.error_message)
        assert await seen(district) == before, name
        assert await words(district) == said, name
        again = await undo(district, undone)
        assert again.state == "applied", (name, again.error_message)
        await applied(district, frames)
        assert await seen(district) == before, name
        assert (await district.sync(shuffled(frames))).state == "unchanged", name


async def test_an_erased_person_is_erased_under_all_ids_of_the_source(district: District, database: Database) -> None:
    older, younger = two_students(FRAMES)
    frames = changed(FRAMES, "users", older, givenName="Canaryone")
    frames = changed(frames, "users", younger, givenName="Canarytwo", familyName="Canarythree")
    frames = changed(frames, "demographics", younger, cityOfBirth="Canaryville")
    await applied(district, frames)
    ids = [await sourced_id(district, key) for key in (older, younger)]
    await merge(district, *ids)
    await applied(district, changed(frames, "users", younger, middleName="Canaryfour"))
    assert "Canarytwo" in await everything(database)

    assert (await erase(district, ids[1])).state == "applied"

    text = await everything(database)
    assert [word for word in ("Canary", older, younger) if word in text] == []
    async with district.db.district(district.district_id) as tx:
        for table in ("aliases", "said_references", "matches"):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    counts = await district.counts()
    assert (await sync(district, changed(frames, "users", older, middleName="Canaryfive"))).state in {
        "applied",
        "unchanged",
    }
    assert await district.counts() == counts
    assert "Canary" not in await everything(database)


@pytest.mark.parametrize("way", ["ends", "hands over"])
async def test_a_source_with_two_records_of_a_person_departs_and_comes_back(district: District, way: str) -> None:
    older, _, frames = await twice(district)
    hr = await another(district, "HR")
    await applied(hr, told([FRAMES["users"]["sourcedId"][1]], "hr"))
    before, said = await seen(district), await words(district)
    rid = (await person(district, older))["rid"]
    async with district.db.district(district.district_id) as tx:
        await sources.change(tx, district.source_id, state="paused")
    task = {} if way == "ends" else {"to": str(hr.source_id)}
    run = await queued(district, "departure", district.source_id, **task)
    assert (run.state, run.error_message) == ("applied", None)
    async with district.db.district(district.district_id) as tx:
        assert await tx.fetchval("SELECT active FROM users WHERE rid = $1", rid) is (way != "ends")
    if way != "ends":
        assert (await person_at(district, rid)) == before[f"users {rid}"]
    back = await undo(district, run)
    assert (back.state, back.error_message) == ("applied", None)
    assert await seen(district) == before
    assert await words(district) == said
    async with district.db.district(district.district_id) as tx:
        await sources.change(tx, district.source_id, state="active")
    assert (await district.sync(shuffled(frames))).state == "unchanged"
    await split(district, await sourced_id(district, older))
    assert (await district.sync(frames)).state == "unchanged"


async def person_at(district: District, rid: int) -> Any:
    return (await seen(district))[f"users {rid}"]


def people_of(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if not name.startswith("enrollments")}


async def test_a_run_in_which_an_id_was_used_again_is_undone_with_the_id(district: District) -> None:
    guarded(district).moment = datetime(2026, 11, 25, 10, tzinfo=UTC)
    await applied(district, REUSING)
    key = PUPILS[0]
    mine = REUSING["enrollments"].filter(pl.col("userSourcedId") == key)["sourcedId"].to_list()
    before = await seen(district)
    other = somebody_else(key)
    other |= {"enrollments": other["enrollments"].filter(pl.col("sourcedId") != mine[0])}
    run = await applied(district, other)
    former, new = await records(district, "users", key)
    assert (former.active, new.active) == (False, True)

    async def now() -> tuple[dict[str, Any], list[bool]]:
        """What is active, and which of both is."""
        found = {name: value for name, value in (await seen(district)).items() if value[1] != "ended"}
        return found, [row.active for row in await records(district, "users", key)]

    reused = await now()
    undone = await undo(district, run)
    assert undone.state == "applied"
    assert await now() == (before, [True, False])
    # What the source goes on to say is no reason to do it again; what it says else is.
    assert (await district.sync(shuffled(other))).state == "unchanged"
    again = await undo(district, undone)
    assert again.state == "applied"
    assert await now() == reused
    assert (await district.sync(other)).state == "unchanged"
    await undo(district, again)

    await applied(district, changed(other, "users", key, middleName="Quill"))
    assert [row.active for row in await records(district, "users", key)] == [False, True]
    assert await seats_of(district, former.rid) == 0
    mended = await applied(district, REUSING)
    assert people_of((await now())[0]) == people_of(before)
    assert await seats_of(district, former.rid) == len(mine)
    # The slip that gave it back is undone as well, and the former person goes with a package that has nobody.
    await undo(district, mended)
    assert [row.active for row in await records(district, "users", key)] == [False, True]
    await undo(district, await applied(district, changed(REUSING, "users", key, middleName="Moss")))
    await applied(district, await left_out(REUSING, key))
    assert [row.active for row in await records(district, "users", key)] == [False, False]


async def test_sources_of_one_key_space_give_an_id_to_somebody_else_one_after_the_other(district: District) -> None:
    guarded(district).moment = datetime(2026, 11, 25, 10, tzinfo=UTC)
    await applied(district, REUSING)
    hr = await second(district)
    guarded(hr).moment = datetime(2026, 11, 25, 10, tzinfo=UTC)
    key = PUPILS[0]
    staff = only(REUSING, "users", "roles", "userProfiles")
    await applied(hr, staff)
    (former,) = {row.rid for row in await records(district, "users", key)}

    run = await applied(district, somebody_else(key))
    # The other source still speaks of the former person, whose id this one has given away.
    assert run.counts["users"]["created"] == 1
    found = {row.rid: row for row in await records(district, "users", key)}
    (new,) = found.keys() - {former}
    assert (found[former].active, '"Xanthos"' in found[former].doc) == (True, False)
    assert (found[new].active, '"Xanthos"' in found[new].doc) == (True, True)
    for source, package in ((hr, staff), (district, somebody_else(key))):
        assert (await source.sync(shuffled(package))).state == "unchanged"

    theirs = only(somebody_else(key), "users", "roles", "userProfiles")
    await applied(hr, theirs)
    found = {row.rid: row for row in await records(district, "users", key)}
    assert {rid: row.active for rid, row in found.items()} == {former: False, new: True}
    assert (await hr.sync(shuffled(theirs))).state == "unchanged"

    await applied(district, REUSING)
    await applied(hr, staff)
    found = {row.rid: row for row in await records(district, "users", key)}
    assert {rid: row.active for rid, row in found.items()} == {former: True, new: False}


async def test_two_records_of_one_of_two_sources_with_the_same_keys_become_one_and_two_again(
    district: District,
) -> None:
    older, younger = two_students(FRAMES)
    frames = changed(changed(FRAMES, "users", older, middleName=None), "users", younger, middleName=None)
    await applied(district, frames)
    hr = await second(district)
    staff = only(frames, "users", "roles", "userProfiles")
    await applied(hr, changed(staff, "users", younger, middleName="Wren"))
    before = await picture(district)
    ids = [await sourced_id(district, key) for key in (older, younger)]
    await merge(district, *ids)
    merged = await picture(district)
    for source, package in ((hr, changed(staff, "users", younger, middleName="Wren")), (district, frames)):
        assert (await source.sync(shuffled(package))).state == "unchanged"
    assert await picture(district) == merged
    run = await applied(hr, changed(staff, "users", younger, middleName="Lea"))
    assert (await undo(district, run)).state == "applied"
    await applied(hr, changed(staff, "users", younger, middleName="Wrenna"))
    await applied(hr, changed(staff, "users", younger, middleName="Wren"))
    assert await picture(district) == merged
    await split(district, ids[1])
    assert await picture(district) == before
    for source, package in ((hr, changed(staff, "users", younger, middleName="Wren")), (district, frames)):
        assert (await source.sync(shuffled(package))).state == "unchanged"


async def test_a_run_that_said_where_people_were_born_is_not_undone_past_a_merge_of_them(district: District) -> None:
    older, younger = two_students(FRAMES)
    await applied(district, FRAMES)
    run = await applied(district, changed(FRAMES, "demographics", younger, cityOfBirth="Salem"))
    ids = [await sourced_id(district, key) for key in (older, younger)]
    await merge(district, *ids)
    assert (await undo(district, run)).error_code == "conflict"
    await split(district, ids[1])
