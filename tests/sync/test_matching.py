"""People are compared after each change: what is sure is merged where the district wants that, the rest is proposed."""

from __future__ import annotations

import polars as pl

from hub.store import matching, people
from hub.sync.engine import work_once
from hub.sync.matching import Mode, match_once, queue
from tests.districts import District
from tests.sync.test_people import FRAMES, another, decide, sourced_id, together, told
from tests.sync.test_several_sources import applied, member

KEYS = FRAMES["demographics"]["sourcedId"].to_list()[3:6]


async def compared(district: District) -> int:
    """Compares until nothing is left; how many times something was."""
    times = 0
    while await match_once(district.db):
        times += 1
        while await work_once(district.db, district.clock):
            pass
    return times


async def mode(district: District, mode: Mode) -> None:
    async with district.db.district(district.district_id) as tx:
        await matching.set_policy(tx, {"mode": mode})


async def pairs(district: District, state: people.State = "review") -> list[people.Match]:
    async with district.db.district(district.district_id) as tx:
        return await people.matches(tx, [state], after=None, limit=500)


async def indexed(district: District) -> int:
    async with district.db.district(district.district_id) as tx:
        found: int = await tx.fetchval("SELECT count(DISTINCT rid) FROM match_keys")
    return found


async def test_what_is_sure_is_merged_and_what_changes_is_looked_at_again(district: District) -> None:
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    assert await compared(district) == 1
    assert await indexed(district) == 0  # one source alone
    theirs = told(KEYS[:2], "hr")
    await applied(hr, theirs)
    assert await compared(district) == 1
    found = {(one.left_rid, one.right_rid): one for one in await pairs(district)}
    expected = {
        (rids[0], rids[1])
        for key in KEYS[:2]
        if (rids := sorted([(await member(district, key))["rid"], (await member(district, f"hr-{key}"))["rid"]]))
    }
    assert found.keys() == expected
    assert {one.tier for one in found.values()} == {"B"}
    assert all("value" not in item for one in found.values() for item in one.evidence)
    assert await compared(district) == 0

    await mode(district, Mode.MERGE)
    assert await compared(district) == 2  # and once more after the merge
    for key in KEYS[:2]:
        assert await sourced_id(district, f"hr-{key}") == await sourced_id(district, key)
    assert await pairs(district) == []
    assert {one.decided_by for one in await pairs(district, "same")} == {"hub"}

    await applied(hr, together(theirs, told(KEYS[2:], "hr")))
    assert await compared(district) == 2
    assert await sourced_id(district, f"hr-{KEYS[2]}") == await sourced_id(district, KEYS[2])


async def test_what_may_be_waits_for_a_person_and_goes_when_it_is_not_so_any_more(district: District) -> None:
    """A name alone, without a birth date, an id or an address, is not enough for a machine."""
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    package = dict(told(KEYS, "hr"))
    only_names = ("email", "phone", "sms", "userIds", "userMasterIdentifier", "identifier", "middleName")
    users = package["users"].with_columns(pl.lit(None, pl.String).alias(name) for name in only_names)
    package["users"] = users.with_columns(username="hr-" + pl.col("sourcedId"))
    package["demographics"] = package["demographics"].with_columns(birthDate=pl.lit(None, pl.String))
    await applied(hr, package)
    await mode(district, Mode.MERGE)
    await compared(district)
    waiting = await pairs(district)
    assert waiting
    assert await pairs(district, "same") == []

    package["users"] = package["users"].with_columns(givenName=pl.lit("Quentin"), familyName=pl.lit("Other"))
    await applied(hr, package)
    await compared(district)
    assert await pairs(district) == []


async def test_nobody_is_compared_against_a_persons_word(district: District) -> None:
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS, "hr"))
    rids = [(await member(district, key))["rid"] for key in KEYS]
    async with district.db.district(district.district_id) as tx:
        await matching.set_exempt(tx, rids[2], by="Ms Ito")
    await compared(district)
    assert {one.left_rid for one in await pairs(district)} == set(rids[:2])
    left, right = await sourced_id(district, KEYS[0]), await sourced_id(district, f"hr-{KEYS[0]}")
    await decide(district, left, right, "different")
    await mode(district, Mode.MERGE)
    await compared(district)

    assert await sourced_id(district, f"hr-{KEYS[0]}") == right
    assert await sourced_id(district, f"hr-{KEYS[1]}") == await sourced_id(district, KEYS[1])
    assert await sourced_id(district, f"hr-{KEYS[2]}") != await sourced_id(district, KEYS[2])
    await mode(district, Mode.OFF)
    assert await compared(district) == 0


async def test_records_of_one_source_are_not_joined(district: District) -> None:
    twice = told([KEYS[0]], "twin")
    names = ("users", "roles", "demographics")
    await another(district, "HR")
    await applied(district, dict(FRAMES) | {n: pl.concat([FRAMES[n], twice[n]], how="diagonal") for n in names})
    hr = await another(district, "IT")
    await applied(hr, told([KEYS[1]], "it"))
    await mode(district, Mode.MERGE)
    await compared(district)

    assert await sourced_id(district, f"twin-{KEYS[0]}") != await sourced_id(district, KEYS[0])
    assert await sourced_id(district, f"it-{KEYS[1]}") == await sourced_id(district, KEYS[1])
    assert await pairs(district) == []


async def test_what_stands_against_a_pair_keeps_no_other_from_being_joined(district: District) -> None:
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS, "hr"))
    rids = {key: (await member(district, key))["rid"] for key in (*KEYS, *(f"hr-{key}" for key in KEYS))}
    wanted = [
        (rids[KEYS[0]], rids[f"hr-{KEYS[0]}"]), (rids[KEYS[0]], rids[KEYS[2]]), (rids[KEYS[1]], rids[f"hr-{KEYS[1]}"]),
        (rids[KEYS[2]], rids[f"hr-{KEYS[0]}"]),
    ]  # fmt: skip
    async with district.db.district(district.district_id) as tx:
        await queue(tx, [(min(pair), max(pair)) for pair in wanted])
    while await work_once(district.db, district.clock):
        pass
    for key in KEYS[:2]:
        assert await sourced_id(district, f"hr-{key}") == await sourced_id(district, key)
    assert len({await sourced_id(district, key) for key in KEYS}) == 3
