"""One source that has two records of a person: they become one and two again, whatever the source says meanwhile."""

from __future__ import annotations

from typing import Any

import polars as pl

from hub.store import doubles, people
from tests.districts import District, Frames, changed, without
from tests.sync.test_delta import changes_only, gone, some
from tests.sync.test_people import FRAMES, merge, picture, references, sourced_id, split
from tests.sync.test_several_sources import USERS, applied
from transforms.catalogue import CATALOGUE
from transforms.parse import parse


def shuffled(frames: Frames) -> Frames:
    return {name: frame.sample(fraction=1.0, shuffle=True, seed=5) for name, frame in frames.items()}


async def person(district: District, key: str) -> dict[str, Any]:
    """The record that speaks of whom the source calls by a key, and its place of birth if it has demographics."""
    async with district.db.district(district.district_id) as tx:
        (home,) = (await doubles.homes_of_keys(tx, district.source_id, [key])).values()
        rid = (await people.into(tx, [home])).get(home, home)
        found: dict[str, Any] = {}
        for entity in (CATALOGUE["demographics"], USERS):
            rows = await tx.fetch(
                f"SELECT rid, sourced_id::text AS id, active, doc, doc_private FROM {entity.table} WHERE rid = $1", rid
            )
            for row in rows:
                frame = pl.DataFrame([dict(row)]).rename({"id": "sourcedId"})
                found |= {"active": row["active"], **parse(entity.name, frame).row(0, named=True)}
        return found


def two_students(frames: Frames) -> tuple[str, str]:
    """Two students with demographics and enrollments, neither of them anybody's agent."""
    keys = frames["demographics"]["sourcedId"].sort()
    return keys[4], keys[9]


async def test_two_records_of_one_source_become_one_and_two_again(district: District) -> None:
    first, second = two_students(FRAMES)
    frames = changed(FRAMES, "users", first, middleName=None, phone=None)
    frames = changed(frames, "users", second, middleName="Wren", phone="+15550111")
    frames = changed(frames, "demographics", first, cityOfBirth=None)
    frames = changed(frames, "demographics", second, cityOfBirth="Salem")
    await applied(district, frames)
    before = await picture(district)
    left, right = sorted([await sourced_id(district, key) for key in (first, second)])
    older, younger = [await person(district, key) for key in (first, second)]
    assert older["rid"] < younger["rid"]
    seats = [await references(district, one["rid"]) for one in (older, younger)]

    await merge(district, left, right)

    one = await person(district, second)
    assert one == await person(district, first)
    assert one["rid"] == older["rid"]
    assert one["givenName"] == older["givenName"]
    assert (one["middleName"], one["phone"], one["cityOfBirth"]) == ("Wren", "+15550111", "Salem")
    assert await references(district, older["rid"]) == sum(seats)
    merged = await picture(district)
    for package in (frames, shuffled(frames), frames):
        assert (await district.sync(package)).state == "unchanged"
    assert await picture(district) == merged

    async with district.db.district(district.district_id) as tx:
        known = await people.standing(tx, older["rid"])
    assert {(one.key, one.home) for one in known} == {(first, left), (second, right)}

    # What either record says comes through, whole or as a change; a new seat of the younger one goes with it.
    seat = some(FRAMES, "enrollments", FRAMES["enrollments"]["sourcedId"][0], sourcedId="seat", userSourcedId=second)
    later = changed(frames, "users", second, middleName="Wrenna", givenName="Nobody")
    later = later | {"enrollments": pl.concat([later["enrollments"], seat])}
    await applied(district, shuffled(later))
    one = await person(district, first)
    assert (one["middleName"], one["givenName"]) == ("Wrenna", older["givenName"])
    assert await references(district, older["rid"]) == sum(seats) + 1

    await split(district, right)
    assert [await references(district, each["rid"]) for each in (older, younger)] == [seats[0], seats[1] + 1]
    assert (await person(district, second))["givenName"] == "Nobody"
    await applied(district, frames)
    assert without_seat(await picture(district)) == before
    assert (await district.sync(shuffled(frames))).state == "unchanged"


def without_seat(seen: dict[str, Any]) -> dict[str, Any]:
    """Without the enrollment that came and went meanwhile."""
    return {name: value for name, value in seen.items() if not (name.startswith("enroll") and value[1] == "ended")}


async def test_a_source_that_removes_one_of_two_merged_records_or_both(district: District) -> None:
    first, second = two_students(FRAMES)
    await applied(district, FRAMES)
    older = (await person(district, first))["rid"]
    ids = [await sourced_id(district, key) for key in (first, second)]
    before = await picture(district)
    await merge(district, ids[0], ids[1])
    merged = await picture(district)
    seats = await references(district, older)

    async def left_out(*keys: str) -> Frames:
        rest = without(without(FRAMES, "users", list(keys)), "demographics", list(keys))
        about = pl.col("userSourcedId").is_in(keys)
        return rest | {name: rest[name].filter(~about) for name in ("roles", "userProfiles", "enrollments")}

    names = {key: FRAMES["users"].filter(pl.col("sourcedId") == key)["givenName"][0] for key in (first, second)}
    for key, stays in ((first, second), (second, first)):
        await applied(district, await left_out(key))
        one = await person(district, key)
        assert (one["active"], one["givenName"]) == (True, names[stays])
        assert one["rid"] == older
        await applied(district, FRAMES)
        assert await picture(district) == merged
    await applied(district, await left_out(first, second))
    assert not (await person(district, first))["active"]
    await applied(district, FRAMES)
    assert await picture(district) == merged
    assert await references(district, older) == seats

    # The same by changes alone.
    kinds = [name for name in ("users", "demographics") if name in FRAMES]
    await applied_changes(district, {name: gone(FRAMES, name, first) for name in kinds})
    one = await person(district, second)
    assert (one["active"], one["givenName"]) == (True, names[second])
    await applied_changes(district, {"users": some(FRAMES, "users", second, givenName="Ruth")})
    assert (await person(district, first))["givenName"] == "Ruth"
    await applied(district, FRAMES)
    assert await picture(district) == merged

    await split(district, ids[0])
    assert await picture(district) == before
    assert (await district.sync(FRAMES)).state == "unchanged"
    async with district.db.district(district.district_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM said_references") == 0


async def applied_changes(district: District, frames: Frames) -> None:
    run = await district.sync(await changes_only(frames, district.version))
    assert run.state == "applied", (run.state, run.error_message, run.guard)


async def test_children_of_a_parent_who_was_entered_twice(district: District) -> None:
    """Each child keeps the list of parents that its source gave it, and apps see nobody twice."""
    lists = FRAMES["users"]["agentSourcedIds"].drop_nulls()
    mother, father = next(text for text in lists if "," in text).split(",")[:2]
    child = FRAMES["users"].filter(pl.col("agentSourcedIds") == f"{mother},{father}")["sourcedId"][0]
    other = FRAMES["users"].filter(pl.col("agentSourcedIds").is_null())["sourcedId"][0]
    frames = changed(FRAMES, "users", other, agentSourcedIds=father)
    await applied(district, frames)
    before = await picture(district)
    ids = {key: str(await sourced_id(district, key)) for key in (mother, father)}
    by_age = sorted(ids, key=lambda key: before_rid(before, ids[key]))

    async def agents(key: str) -> Any:
        return (await person(district, key))["agents"]

    assert sorted(await agents(child)) == sorted(ids.values())
    await merge(district, await sourced_id(district, mother), await sourced_id(district, father))
    survivor = ids[by_age[0]]
    assert (await agents(child), await agents(other)) == ([survivor], [survivor])
    merged = await picture(district)
    assert (await district.sync(shuffled(frames))).state == "unchanged"

    await applied(district, changed(frames, "users", child, middleName="Later", agentSourcedIds=father))
    assert await agents(child) == [survivor]
    await applied(district, frames)
    assert await picture(district) == merged
    await split(district, await sourced_id(district, by_age[1]))
    assert await picture(district) == before
    assert (await district.sync(frames)).state == "unchanged"


def before_rid(seen: dict[str, Any], sourced: str) -> int:
    return next(int(name.split()[1]) for name, row in seen.items() if name != "claims" and str(row[0]) == sourced)
