"""People are compared after each change: what is sure is merged where the district wants that, the rest is proposed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from pyroaring import BitMap

from hub.scope.sets import pack, unpack
from hub.store import matching, matching_people, people, sources
from hub.sync import matching as engine
from hub.sync.engine import work_once
from hub.sync.matching import Mode, match_once, queue
from tests.districts import District, changed
from tests.sync.test_people import FRAMES, another, decide, finished, sourced_id, split, together, told
from tests.sync.test_several_sources import applied, member
from transforms.matching.people import KINDS, candidates

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


async def people_counted(district: District) -> tuple[int | None, int]:
    """How many people are kept to be there, and how many there are."""
    async with district.db.district(district.district_id) as tx:
        return (await matching.state(tx)).people, await matching.population(tx)


async def test_people_are_counted_once_a_day_and_when_everybody_is_compared(district: District) -> None:
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS[:1], "hr"))
    await compared(district)
    kept, there = await people_counted(district)
    assert kept == there > 0

    await applied(hr, told(KEYS[:2], "hr"))
    await compared(district)
    assert await people_counted(district) == (there, there + 1)
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE districts SET people_counted_at = now() - interval '25 hours'")
    await applied(hr, told(KEYS[:3], "hr"))
    await compared(district)
    assert await people_counted(district) == (there + 2, there + 2)


@pytest.mark.parametrize("few", [False, True])
async def test_settings_that_change_while_people_are_compared_have_them_compared_anew(
    district: District, monkeypatch: pytest.MonkeyPatch, *, few: bool
) -> None:
    monkeypatch.setattr(engine, "_CAREFUL_SECONDS", float("inf"))  # else the district's row is held, and settings wait
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS[:1], "hr"))
    if few:
        await compared(district)
        await applied(hr, told(KEYS[:2], "hr"))
    find, of_some = engine._found, list[bool]()

    async def meanwhile(asked: Any) -> Any:
        found = await find(asked)
        if not of_some:
            await asyncio.create_task(mode(district, Mode.MERGE))  # somebody else, in a transaction of their own
            of_some.append(asked.pairs is not None)
        return found

    monkeypatch.setattr(engine, "_found", meanwhile)
    assert await match_once(district.db)
    assert of_some == [few]  # some people, or all of them, were compared
    async with district.db.district(district.district_id) as tx:
        assert (await matching.state(tx)).matched_to is None
    assert await compared(district) >= 1
    async with district.db.district(district.district_id) as tx:
        state = await matching.state(tx)
    assert (state.matched_to, state.settings["mode"]) == (state.position, "merge")


@pytest.mark.threat("F1")
async def test_a_process_that_has_just_started_leaves_a_lease_where_a_look_kills_it(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS[:1], "hr"))
    await compared(district)
    await applied(hr, told(KEYS[:2], "hr"))
    others, find = list[Any](), engine._found

    async def meanwhile(asked: Any) -> Any:
        others.append(await matching.due(district.db))  # what another process finds, then or later
        return await find(asked)

    monkeypatch.setattr(engine, "_found", meanwhile)
    for seconds in (float("inf"), 0.0):
        monkeypatch.setattr(engine, "_CAREFUL_SECONDS", seconds)
        assert await match_once(district.db)
        await applied(hr, told(KEYS[:3], "hr"))
    assert others == [[], [district.district_id]]


async def test_settings_wait_while_a_few_are_compared_and_have_all_compared_anew(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_CAREFUL_SECONDS", 0.0)
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS[:1], "hr"))
    await compared(district)
    await applied(hr, told(KEYS[:2], "hr"))
    find, setting = engine._found, list[asyncio.Task[None]]()

    async def meanwhile(asked: Any) -> Any:
        setting.append(asyncio.create_task(mode(district, Mode.MERGE)))
        _, waiting = await asyncio.wait(setting, timeout=0.2)
        assert waiting  # for the district's row
        return await find(asked)

    monkeypatch.setattr(engine, "_found", meanwhile)
    assert await match_once(district.db)
    await setting[0]
    monkeypatch.setattr(engine, "_found", find)
    async with district.db.district(district.district_id) as tx:
        assert (await matching.state(tx)).matched_to is None
    assert await compared(district) >= 1


@pytest.mark.parametrize("seconds", [0.0, float("inf")])
async def test_a_look_that_fails_leaves_the_turn_to_others_and_nothing_else(
    district: District, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(engine, "_CAREFUL_SECONDS", seconds)  # both ways of a look
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS[:1], "hr"))
    await compared(district)
    before = await pairs(district)
    await applied(hr, told(KEYS[:2], "hr"))

    async def fails(_: Any) -> Any:
        raise ValueError("a look that fails")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "_found", fails)
        with pytest.raises(ValueError, match="a look that fails"):
            await match_once(district.db)
    assert await match_once(district.db) is False  # the lease of who failed
    assert await pairs(district) == before
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE districts SET matching_until = now() - interval '1 second'")
    assert await compared(district) == 1
    assert len(await pairs(district)) == len(before) + 1


async def test_a_look_that_hangs_is_ended_and_settings_go_on(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_CAREFUL_SECONDS", 0.0)
    monkeypatch.setattr(engine, "_HELD_SECONDS", 0.2)
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS[:1], "hr"))
    await compared(district)
    before = await pairs(district)
    await applied(hr, told(KEYS[:2], "hr"))

    async def hangs(_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(engine, "_found", hangs)
    with pytest.raises(TimeoutError):
        await match_once(district.db)
    await mode(district, Mode.MERGE)  # the row is free
    assert await pairs(district) == before


async def test_common_values_are_counted_once_for_each_count_of_people(district: District) -> None:
    rare, common = 7, 8
    monday, tuesday = (datetime(2026, 1, day, tzinfo=UTC) for day in (5, 6))
    async with district.db.district(district.district_id) as tx:

        async def had(value: int, rids: range) -> None:
            await tx.execute(
                "INSERT INTO match_keys (district_id, hash, kind, rid) SELECT $1, $2, $3, unnest($4::integer[])",
                district.district_id, value, matching.VALUES, list(rids),
            )  # fmt: skip

        async def counted(at: datetime | None) -> dict[int, int]:
            found = await matching.counts(tx, [rare, common, 9], at)
            return {value: count for _, value, count in found.rows()}

        await had(rare, range(2))
        await had(common, range(201))
        first = await counted(monday)
        await had(rare, range(2, 3))
        await had(common, range(201, 300))

        assert first == {rare: 2, common: 201}
        assert await counted(monday) == {rare: 3, common: 201}
        assert await counted(None) == {rare: 3, common: 300}
        assert await counted(tuesday) == {rare: 3, common: 300}


async def test_keys_of_a_few_become_what_they_are_now_and_those_of_others_stay(district: District) -> None:
    def keys(*rows: tuple[int, int, int]) -> pl.DataFrame:
        return pl.DataFrame(rows, matching.KEYS, orient="row")

    def waiting(*pairs: tuple[int, int]) -> pl.DataFrame:
        told = pl.DataFrame(pairs, {"left": pl.UInt32, "right": pl.UInt32}, orient="row")
        return told.with_columns(tier=pl.lit("score"), score=pl.lit(1.0), evidence=pl.lit("[]"), model=pl.lit("x"))

    async with district.db.district(district.district_id) as tx:
        await matching.write_keys(tx, [1, 2, 3], keys((1, 0, 10), (1, 1, 11), (2, 0, 10), (3, 0, 12)))
        await matching.keep(tx, [], waiting((1, 4), (2, 4), (4, 5)))
        await matching.note(tx, [1, 3, 5], [(1, 1, 11), (1, 1, 12)], 7, await matching.policy(tx))

        rows = await tx.fetch("SELECT rid, kind, hash FROM match_keys ORDER BY rid, kind, hash")
        left = await tx.fetch("SELECT left_rid, right_rid FROM matches")
        matched_to = await tx.fetchval("SELECT matched_to FROM districts")

        await matching.note(tx, [3], None, 8, await matching.policy(tx))
        noted = await tx.fetch("SELECT rid, kind, hash FROM match_keys ORDER BY rid, kind, hash")

    assert rows == noted
    assert [tuple(row) for row in rows] == [(1, 1, 11), (1, 1, 12), (2, 0, 10)]
    assert [tuple(row) for row in left] == [(2, 4)]
    assert matched_to == 7


async def test_who_leaves_has_no_keys_any_more(district: District) -> None:
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS[:1], "hr"))
    await compared(district)
    rid = (await member(district, KEYS[0]))["rid"]
    before = await indexed(district)
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE users SET active = false WHERE rid = $1", rid)
        await tx.execute("UPDATE districts SET position = position + 1")
        await tx.execute(
            "INSERT INTO changes (district_id, position, entity, at, created, updated, deleted) "
            "SELECT district_id, position, 'users', now(), $2, $2, $1 FROM districts",
            pack(BitMap([rid])), pack(BitMap()),
        )  # fmt: skip

    assert await match_once(district.db)

    async with district.db.district(district.district_id) as tx:
        assert not await tx.fetchval("SELECT count(*) FROM match_keys WHERE rid = $1", rid)
    assert await indexed(district) == before - 1
    assert await pairs(district) == []


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

    nameless = changed(told(KEYS[2:], "hr"), "users", f"hr-{KEYS[2]}", userMasterIdentifier=None, userIds=None)
    await applied(hr, together(theirs, nameless))
    assert await sourced_id(district, f"hr-{KEYS[2]}") != await sourced_id(district, KEYS[2])
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


async def test_records_of_one_source_wait_for_a_person_even_with_one_identifier(district: District) -> None:
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
    (found,) = await pairs(district)
    ids = [await sourced_id(district, key) for key in (KEYS[0], f"twin-{KEYS[0]}")]
    async with district.db.district(district.district_id) as tx:
        assert [name for name, _ in (await people.named(tx, [found.left_rid, found.right_rid])).values()] == ids
    assert found.tier == "B"
    await finished(district, await decide(district, ids[0], ids[1], "same"))
    assert len(await pairs(district, "same")) == 2
    await compared(district)
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


async def test_a_system_that_takes_the_place_of_another_finds_everybody_again(district: District) -> None:
    """Every id is another one; people and what they had keep their records, and a split still parts the two."""
    everybody = FRAMES["users"]["sourcedId"].to_list()
    grant = await district.grant()
    new = await another(district, "The new system")
    async with district.db.district(district.district_id) as tx:
        await sources.set_parts(
            tx, new.source_id, speaks_for=None, key_space="district",
            links={"users": ["person"], "enrollments": ["class"]},
        )  # fmt: skip
    await applied(district, FRAMES)
    before = await district.counts()
    theirs = told(everybody, "new")
    dry = await new.sync(theirs, dry_run=True)
    assert (dry.state, dry.counts["users"]["created"]) == ("previewed", 0)
    run = await applied(new, theirs)

    assert (run.counts["users"]["created"], run.counts["enrollments"]["created"]) == (0, 0)
    after = await district.counts()
    assert {name: counts[0] for name, counts in after.items()} == {name: counts[0] for name, counts in before.items()}
    for key in everybody[:5]:
        assert await sourced_id(district, f"new-{key}") == await sourced_id(district, key)
    same = await pairs(district, "same")
    assert (len(same), {one.decided_by for one in same}) == (len(everybody), {"hub"})
    assert all(one.evidence and one.tier for one in same)
    assert (await applied(new, theirs)).state == "unchanged"
    async with district.db.district(district.district_id) as tx:
        seen = sum(
            len(unpack(row[0]))
            for row in await tx.fetch("SELECT entered FROM feed WHERE grant_id = $1", grant.grant_id)
        )
    assert seen == sum(counts[0] for counts in before.values())  # nobody came twice

    home = same[0].right_rid
    async with district.db.district(district.district_id) as tx:
        names = await people.named(tx, [home])
    await split(district, names[home][0])
    assert (await district.counts())["users"][0] == before["users"][0] + 1


async def test_where_the_hub_merges_one_identifier_is_recognised_before_a_record_is_made(district: District) -> None:
    """Apps never see somebody come and be merged: with the first package, and by the index with later ones."""
    grant = await district.grant()
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    before = (await district.counts())["users"]
    first, later, nameless = KEYS
    anonymous = changed(told([nameless], "hr"), "users", f"hr-{nameless}", userMasterIdentifier=None, userIds=None)
    else_ = changed(told([later], "hr"), "users", f"hr-{later}", givenName="Zebulon", familyName="Xanthos")
    await mode(district, Mode.MERGE)

    theirs = told([first], "hr")
    run = await applied(hr, theirs)
    assert run.counts["users"]["created"] == 0
    assert await sourced_id(district, f"hr-{first}") == await sourced_id(district, first)
    assert {(one.tier, one.decided_by) for one in await pairs(district, "same")} == {("B", "hub")}
    await compared(district)
    assert await indexed(district) > 100

    # Who has another name and birth date, and whom no identifier tells, are records first.
    wrong = changed(else_, "demographics", f"hr-{later}", birthDate="2001-02-03")
    run = await applied(hr, together(theirs, wrong, anonymous))
    assert run.counts["users"]["created"] == 2
    await applied(hr, theirs)
    run = await applied(hr, together(theirs, told([FRAMES["users"]["sourcedId"][20]], "hr")))
    assert run.counts["users"]["created"] == 0
    async with district.db.district(district.district_id) as tx:
        entered = [unpack(row[0]) for row in await tx.fetch("SELECT entered FROM feed WHERE grant_id = $1 "
                                                            "AND entity = 'users'", grant.grant_id)]  # fmt: skip
    assert sum(map(len, entered)) == before[0] + 2
    await split(district, await sourced_id(district, first))
    assert await sourced_id(district, f"hr-{first}") != await sourced_id(district, first)

    # Only where the hub merges.
    await mode(district, Mode.PROPOSE)
    other = FRAMES["users"]["sourcedId"][21]
    assert (await applied(hr, together(theirs, told([other], "hr")))).counts["users"]["created"] == 1


async def test_whom_two_could_be_is_not_recognised(district: District) -> None:
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told(KEYS, "hr"))  # nobody looks yet: each has two records
    new = await another(district, "The new system")
    async with district.db.district(district.district_id) as tx:
        await sources.set_parts(
            tx, new.source_id, speaks_for=None, key_space="district", links={"users": ["person"]}
        )  # fmt: skip
    other = FRAMES["demographics"]["sourcedId"][9]
    run = await applied(new, told([*KEYS, other], "new"))
    assert run.counts["users"]["created"] == len(KEYS)
    assert await sourced_id(district, f"new-{other}") == await sourced_id(district, other)


async def test_who_shares_keys_is_read_with_them_but_not_of_blocks_that_are_too_big(district: District) -> None:
    await applied(district, FRAMES)
    (kind,) = {number for number, one in enumerate(KINDS) if one.name == "first name and last token"}
    most = KINDS[kind].cap
    async with district.db.district(district.district_id) as tx:
        rids = [row["rid"] for row in await tx.fetch("SELECT rid FROM users WHERE active ORDER BY rid LIMIT 40")]
        own = pl.DataFrame([(rids[0], kind, key) for key in range(1, 6)], matching.KEYS, orient="row")
        blocks = {1: rids[1:most], 2: rids[1 : most + 1], 3: [rids[20]], 4: rids[:1], 6: rids[30:]}
        rows = [(rid, kind, key) for key, members in blocks.items() for rid in members]
        rows += [(rids[25], kind + 1, 5), (rids[26], matching.VALUES, 5)]
        await matching.write_keys(tx, None, pl.DataFrame(rows, matching.KEYS, orient="row"))
        keys, caps = own.rows(), [one.cap - 1 for one in KINDS]
        found = await matching_people.near(tx, rids[:1], keys, caps)
        shared = await matching.sharing(tx, [*range(1, 6)], 60, but=rids[:1])
        read = await matching_people.some(tx, [row["rid"] for row in found])
        await matching.note(tx, rids[:1], [*keys, (rids[0], matching.VALUES, 7)], 1, await matching.policy(tx))
        known = await matching_people.as_indexed(tx, rids[:1], caps)
        himself = await matching_people.some(tx, rids[:1])

    assert {row["rid"]: row["sharing"] for row in found} == dict.fromkeys([*rids[1:most], rids[20]], rids[:1])
    assert known.near == [tuple(row) for row in found]
    assert known.own == [list(row) for row in himself]
    assert known.entries == {*keys, (rids[0], matching.VALUES, 7)}
    assert [tuple(row)[:-1] for row in found] == [tuple(row) for row in read]
    narrow = {"rid": pl.UInt32, "kind": pl.UInt8, "hash": pl.Int64}
    of_kind = shared.filter(pl.col("kind") == kind).cast(narrow)  # type: ignore[arg-type]
    pairs = candidates(own.cast(narrow), of_kind).rows()  # type: ignore[arg-type]
    assert pairs == [(rids[0], row["rid"]) for row in found]
