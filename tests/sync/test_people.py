"""People of whom several records came: merged and split again, in any order, and nothing is lost on the way."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest

from hub.errors import Code, HubError
from hub.store import people, runs, sources, statements
from hub.store.runs import Run
from hub.sync import deciding, erasing
from hub.sync.deciding import Decided, Decision
from hub.sync.engine import work_once
from hub.sync.people import persons
from tests.districts import District, Frames, changed, sandbox
from tests.sync.test_erasure import KEY
from tests.sync.test_several_sources import USERS, a_user, applied, member
from tests.sync.test_undo import undo
from transforms.catalogue import CATALOGUE

FRAMES = sandbox(100, 3).frames
#: What apps see of people and of what refers to them.
TABLES = ("users", "demographics", "enrollments")
SOURCED_ID = pl.col("sourcedId")


async def another(district: District, name: str, priority: int = 200) -> District:
    """One more source, that calls schools and classes as the first one does and people by ids of its own."""
    other = District(district.db, district.version, district.clock, district.district_id)
    async with district.db.district(district.district_id) as tx:
        await sources.create(
            tx, other.source_id, name=name, kind="oneroster_csv", config={"partial": True}, priority=priority,
            key_space="district",
        )  # fmt: skip
        await sources.set_parts(tx, district.source_id, speaks_for=None, key_space="district", links={})
    return other


def told(keys: Sequence[str], system: str, role: str | None = None) -> Frames:
    """What another system says of some people: other names and seats, and ids of its own."""
    own = f"{system}-" + pl.col("userSourcedId")
    users = FRAMES["users"].filter(SOURCED_ID.is_in(keys))
    roles = FRAMES["roles"].filter(pl.col("userSourcedId").is_in(keys))
    seats = FRAMES["enrollments"].filter(pl.col("userSourcedId").is_in(keys))
    about = FRAMES["demographics"].filter(SOURCED_ID.is_in(keys))
    return {
        "users": users.with_columns(
            sourcedId=f"{system}-" + SOURCED_ID, middleName=pl.lit(system), agentSourcedIds=pl.lit(None, pl.String)
        ),
        "roles": roles.with_columns(
            sourcedId=f"{system}-" + SOURCED_ID, userSourcedId=own, role=pl.lit(role) if role else pl.col("role")
        ),
        "enrollments": seats.with_columns(
            sourcedId=f"{system}-" + SOURCED_ID, userSourcedId=own, beginDate=pl.lit("2025-09-09")
        ),
        "demographics": about.with_columns(sourcedId=f"{system}-" + SOURCED_ID),
    }  # fmt: skip


def together(*packages: Frames) -> Frames:
    return {name: pl.concat([package[name] for package in packages]) for name in packages[0]}


async def finished(district: District, made: Decided) -> Run:
    assert made.run is not None
    while await work_once(district.db, district.clock):
        pass
    run = await district.run(made.run.run_id)
    assert run.state in {"applied", "previewed"}, (run.error_message, run.guard)
    return run


async def decide(
    district: District, left: UUID, right: UUID, decision: Decision, *, by: str = "Ms Ito", dry_run: bool = False
) -> Decided:
    async with district.db.district(district.district_id) as tx:
        return await deciding.decide(tx, (left, right), decision, by=by, dry_run=dry_run)


async def merge(district: District, left: UUID, right: UUID) -> Run:
    return await finished(district, await decide(district, left, right, "same"))


async def split(district: District, record: UUID) -> Run:
    async with district.db.district(district.district_id) as tx:
        made = await deciding.split(tx, record, by="Ms Ito")
    return await finished(district, made)


async def sourced_id(district: District, key: str) -> UUID:
    rid = (await member(district, key))["rid"]
    async with district.db.district(district.district_id) as tx:
        found = await statements.sourced_id(tx, USERS, rid)
    assert found is not None
    return found


async def picture(district: District) -> dict[str, Any]:
    """All that the hub holds of people and of what refers to them, but for the times of changes."""
    found: dict[str, Any] = {}
    async with district.db.district(district.district_id) as tx:
        for table in TABLES:
            for row in await tx.fetch(
                f"SELECT rid, sourced_id, active, to_jsonb(t) - 'date_last_modified' AS all FROM {table} t"
            ):
                found[f"{table} {row['rid']}"] = (row["sourced_id"], row["all"] if row["active"] else "ended")
        rows = await tx.fetch("SELECT source_id, entity, key, rid, active FROM source_records WHERE entity = 'users'")
        found["claims"] = sorted(map(tuple, rows), key=str)
    return found


async def references(district: District, rid: int) -> int:
    async with district.db.district(district.district_id) as tx:
        return await people.seats(tx, [rid])


async def test_two_records_become_one_and_two_again(district: District) -> None:
    key = a_user(FRAMES)
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    theirs = told([key], "hr", role="relative")
    await applied(hr, theirs)
    before = await picture(district)
    left, right = await sourced_id(district, key), await sourced_id(district, f"hr-{key}")
    seats = await references(district, (await member(district, key))["rid"])

    tried = await finished(district, await decide(district, left, right, "same", dry_run=True))
    assert (tried.counts["users"]["deleted"], tried.counts["users"]["updated"]) == (1, 1)
    assert await picture(district) == before

    await merge(district, right, left)

    one = await member(district, key)
    assert one == await member(district, f"hr-{key}")
    assert await sourced_id(district, key) == left  # the older one stays
    assert (one["middleName"], one["from"]["middleName"]) == ("hr", str(hr.source_id))
    assert sorted(role["role"] for role in one["roles"]) == ["relative", "student"]
    assert await references(district, one["rid"]) == 2 * seats
    merged = await picture(district)
    for source, package in ((hr, theirs), (district, FRAMES), (hr, theirs)):
        assert (await applied(source, package)).state == "unchanged"
    assert await picture(district) == merged

    await split(district, right)
    assert await picture(district) == before
    for source, package in ((hr, theirs), (district, FRAMES)):
        assert (await applied(source, package)).state == "unchanged"
    assert await picture(district) == before


async def test_a_source_goes_on_with_a_merged_person_and_what_it_said_since_is_split_off_too(
    district: District,
) -> None:
    key = a_user(FRAMES)
    other = FRAMES["demographics"]["sourcedId"][1]
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    theirs, rest = told([key], "hr"), told([other], "hr")
    await applied(hr, together(rest, theirs | {"enrollments": theirs["enrollments"].head(1)}))
    left, right = await sourced_id(district, key), await sourced_id(district, f"hr-{key}")
    own = (await member(district, key))["rid"]
    await merge(district, left, right)

    theirs = changed(theirs, "users", f"hr-{key}", middleName="Later")
    await applied(hr, together(rest, theirs))  # and its other seats
    assert (await member(district, key))["middleName"] == "Later"
    seats = theirs["enrollments"].height
    assert await references(district, own) == 2 * seats

    await split(district, left)
    there = await member(district, f"hr-{key}")
    assert (there["middleName"], there["active"]) == ("Later", True)
    assert "middleName" not in await member(district, key)
    assert [await references(district, rid) for rid in (own, there["rid"])] == [seats, seats]

    await merge(district, left, right)
    await applied(hr, rest)
    alone = await member(district, key)
    assert (alone["active"], "middleName" in alone) == (True, False)
    assert await references(district, own) == seats


async def test_merges_and_splits_in_any_order_leave_nothing_behind(district: District) -> None:
    """Whatever was merged and split, records stand where the decisions that hold say, and all of it can be undone.

    Of each source two people are among them: a source that has both goes on to speak of each.
    """
    chance = random.Random(11)
    keys = FRAMES["users"].join(FRAMES["demographics"].select("sourcedId"), on="sourcedId", how="semi")["sourcedId"]
    chosen = keys.to_list()[2:4]
    systems = {name: await another(district, name) for name in ("hr", "it", "gym")}
    await applied(district, FRAMES)
    said = [(source, told(chosen, name)) for name, source in systems.items()]
    for source, package in said:
        await applied(source, package)
    said.append((district, FRAMES))
    before = await picture(district)
    names = [chosen[0], *(f"{name}-{chosen[0]}" for name in systems), chosen[1], f"hr-{chosen[1]}"]
    home = {key: (await member(district, key))["rid"] for key in names}
    ids = {home[key]: await sourced_id(district, key) for key in names}
    seen: dict[frozenset[tuple[int, int]], dict[str, Any]] = {}
    same: set[tuple[int, int]] = set()
    allowed = [(a, b) for a in home.values() for b in home.values() if a < b]
    merges = 0
    for _ in range(14):
        into = persons(set(ids), sorted(same))
        if same and chance.random() < 0.4:
            await parted(district, chance.choice(sorted(same)), same, ids)
        else:
            left, right = chance.choice(allowed)
            made = await decide(district, ids[left], ids[right], "same")
            if into[left] != into[right]:
                await finished(district, made)
                merges += 1
            else:
                assert made.run is None
            same.add((left, right))
        source, package = chance.choice(said)
        assert (await applied(source, package)).state == "unchanged"
        now = await picture(district)
        groups = frozenset(persons(set(ids), sorted(same)).items())
        assert seen.setdefault(groups, now) == now
        for key in names:
            assert await place(district, key) == dict(groups)[home[key]]
    assert merges > 3
    while same:
        await parted(district, chance.choice(sorted(same)), same, ids)
    assert await picture(district) == before


async def parted(
    district: District, cut: tuple[int, int], same: set[tuple[int, int]], ids: Mapping[int, UUID]
) -> None:  # fmt: skip
    """Takes back that two records are one person; where others hold them together, all that was said of the first."""
    others = persons(set(ids), sorted(same - {cut}))
    if others[cut[0]] != others[cut[1]]:
        gone = {cut}
        made = await decide(district, ids[cut[0]], ids[cut[1]], "different")
        assert made.run is not None
        await finished(district, made)
    else:
        gone = {pair for pair in same if cut[0] in pair}
        with pytest.raises(HubError, match="told to be different"):
            await decide(district, ids[cut[0]], ids[cut[1]], "different")
        await split(district, ids[cut[0]])
    same -= gone
    async with district.db.district(district.district_id) as tx:
        await tx.execute("DELETE FROM matches WHERE state = 'different'")  # told otherwise again


async def place(district: District, key: str) -> int:
    """The record that speaks of whom a source calls by a key."""
    async with district.db.district(district.district_id) as tx:
        (rid,) = await people.by_key(tx, key, None)
        return (await people.into(tx, [rid])).get(rid, rid)


async def test_what_stands_against_a_merge_is_said(district: District) -> None:
    key, other = FRAMES["users"]["sourcedId"][3], FRAMES["users"]["sourcedId"][5]
    hr, gym = await another(district, "HR"), await another(district, "Gym")
    await applied(district, FRAMES)
    await applied(hr, told([key], "hr"))
    await applied(gym, told([key], "gym"))
    ids = {name: await sourced_id(district, name) for name in (key, other, f"hr-{key}", f"gym-{key}")}

    async def refused(left: UUID, right: UUID, code: Code, why: str) -> None:
        with pytest.raises(HubError, match=why) as raised:
            await decide(district, left, right, "same")
        assert raised.value.code is code

    await refused(ids[key], ids[key], Code.INVALID_REQUEST, "two records")
    await refused(ids[key], uuid4(), Code.NOT_FOUND, "no such user")
    with pytest.raises(HubError, match="No other record"):
        await split(district, ids[key])

    assert (await decide(district, ids[key], ids[f"hr-{key}"], "different")).run is None  # they are two already
    await merge(district, ids[key], ids[f"gym-{key}"])
    await refused(ids[f"gym-{key}"], ids[f"hr-{key}"], Code.CONFLICT, "told to be different")
    await decide(district, ids[other], ids[f"hr-{key}"], "unsure")
    async with district.db.district(district.district_id) as tx:
        states = {one.state for one in await people.matches(tx, ["unsure", "different", "same"], after=None, limit=9)}
    assert states == {"unsure", "different", "same"}


async def test_a_merge_of_people_with_many_seats_needs_two_words(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "MOST_ALONE", 1)
    key = a_user(FRAMES)
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told([key], "hr"))
    left, right = await sourced_id(district, key), await sourced_id(district, f"hr-{key}")

    for _ in range(2):  # one person's word stays one
        assert await decide(district, left, right, "same") == Decided(second=True)
    await finished(district, await decide(district, left, right, "same", by="Mr Obi"))

    async with district.db.district(district.district_id) as tx:
        (found,) = await people.matches(tx, ["same"], after=None, limit=9)
    assert (found.decided_by, found.seconded_by) == ("Ms Ito", "Mr Obi")
    assert await sourced_id(district, f"hr-{key}") == left


@pytest.mark.threat("T51")
async def test_erasing_a_merged_person_erases_all_records_of_the_person(district: District) -> None:
    key = a_user(FRAMES)
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told([key], "hr"))
    left, right = await sourced_id(district, key), await sourced_id(district, f"hr-{key}")
    await merge(district, left, right)
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        task = {"person": str(right), "erasure": str(uuid4())}  # an id of earlier
        await runs.request(
            tx, run_id, source_id=None, upload_id=None, dry_run=False, requested_by="test", kind=erasing.KIND, task=task
        )  # fmt: skip
    while await work_once(district.db, district.clock, key=KEY):
        pass
    assert (await district.run(run_id)).state == "applied"

    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch("SELECT active, doc, doc_private FROM users WHERE sourced_id = ANY($1)", [left, right])
        assert [tuple(row) for row in rows] == [(False, "", "")] * 2
        for table in ("matches", "aliases"):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0
    for source, package in ((hr, told([key], "hr")), (district, FRAMES)):
        run_id = await source.request(package)
        while await work_once(district.db, district.clock, key=KEY):
            pass
        assert (await district.run(run_id)).counts.get("users", {}).get("created", 0) == 0


async def test_a_run_from_before_a_merge_of_its_people_is_not_undone(district: District) -> None:
    key = a_user(FRAMES)
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    theirs = await applied(hr, told([key], "hr"))
    left, right = await sourced_id(district, key), await sourced_id(district, f"hr-{key}")
    merged = await merge(district, left, right)

    for run in (theirs, merged):
        assert (await undo(district, run)).error_code == Code.CONFLICT
    other = FRAMES["users"]["sourcedId"][9]
    later = await applied(district, changed(FRAMES, "users", other, givenName="Zoe"))
    assert (await undo(district, later)).state == "applied"


def test_the_oldest_record_of_a_person_stays() -> None:
    assert persons({1, 2, 3, 4, 9}, [(3, 9), (2, 9), (1, 4)]) == {1: 1, 4: 1, 2: 2, 3: 2, 9: 2}
    assert persons({5}, []) == {5: 5}
    assert {e.name for e in CATALOGUE.entities if USERS.name in {e.name, e.rid_of}} == {"users", "demographics"}
    empty: Mapping[int, int] = persons(set(), [])
    assert empty == {}
