"""Two districts that agree are told that a record exists; nobody else, of nobody else, and of nothing more."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import asyncpg
import polars as pl
import pytest

from hub.errors import Code, HubError
from hub.store import agreement_tokens, agreements, matching, retention
from hub.store.agreements import Terms
from hub.store.database import Transaction
from hub.sync import agreements as acts
from hub.sync import tokenising
from tests.districts import District, changed
from tests.sync.agreeing import OURS, PUPILS, THEIRS, Two, joined, left
from tests.sync.test_erasure import KEY, erase
from tests.sync.test_several_sources import applied, member
from tests.sync.test_undo import undo
from transforms.catalogue import CATALOGUE


async def test_who_moved_is_told_to_the_new_district_until_it_is_so_no_more(two: Two) -> None:
    moved = PUPILS[:3]
    which = await two.agree()
    assert await two.look() == 2
    assert await two.told(two.new) == await two.told(two.old) == set()

    await applied(two.new, joined(THEIRS, moved))
    assert await two.look() == 1  # the other end's tokens stand
    assert await two.told(two.new) == {f"new-{key}" for key in moved}
    assert await two.told(two.old) == set()  # their records came first

    await applied(two.old, left(OURS, moved[:1]))  # who left is remembered
    assert await two.look() == 1
    assert await two.told(two.new) == {f"new-{key}" for key in moved}
    await applied(two.old, OURS)  # and returns; the new district's record is the younger one still
    await applied(two.new, left(joined(THEIRS, moved), [f"new-{moved[1]}"]))
    await two.look()
    assert await two.told(two.new) == {f"new-{moved[0]}", f"new-{moved[2]}"}
    assert await two.told(two.old) == {moved[1]}  # who is there asks where they left

    await applied(two.new, joined(THEIRS, moved[:1], middleName="Another", familyName="Another"))
    await two.look()
    assert await two.told(two.new) == set()
    async with two.service.district(two.new.district_id) as tx:
        assert (await agreements.get(tx, which)).looked_at is not None
        assert await agreements.told(tx, which) == 0  # one, which is fewer than ten


@pytest.mark.threat("T1")
async def test_without_the_word_of_both_there_is_no_key_and_no_token(two: Two) -> None:
    await applied(two.new, joined(THEIRS, PUPILS[:1]))
    assert await two.look() == 0
    which = await two.propose()
    assert await two.look() == 0
    assert await two.tokens() == []
    assert await two.owner.fetchval("SELECT count(*) FROM hub.agreement_keys") == 0
    key = await acts.new_key(two.service, KEY, which)
    for refused, code in ((two.old, Code.CONFLICT), (await District(two.old.db).create(), Code.NOT_FOUND)):
        with pytest.raises(HubError) as error:  # not who proposed it, and not a stranger
            async with two.service.district(refused.district_id) as tx:
                await acts.accept(tx, which, None, key)
        assert error.value.code is code
    with pytest.raises(HubError, match="proposed, not active"):
        async with two.service.district(two.new.district_id) as tx:
            await acts.rotate(tx, which, key)
    assert await two.look() == 0
    assert (await two.end(which, two.new)).ended_by == two.new.district_id  # declined
    with pytest.raises(HubError, match="ended"):
        await two.accept(which)
    assert await two.tokens() == []


async def test_either_end_ends_it_and_everything_goes_at_once(two: Two) -> None:
    await applied(two.new, joined(THEIRS, PUPILS[:2]))
    for end in (two.old, two.new):
        which = await two.agree()
        await two.look()
        assert len(await two.told(two.new)) == 2
        await two.end(which, end)
        for table in ("agreement_tokens", "agreement_keys", "agreement_findings"):
            assert await two.owner.fetchval(f"SELECT count(*) FROM hub.{table}") == 0
        assert await two.told(two.new) == set()
        assert await two.look() == 0
    whole = ["agreement.propose", "agreement.accept", "agreement.end"]
    old, new = await two.actions(two.old), await two.actions(two.new)
    assert [action for _, action in new] == ["agreement.propose", "agreement.end", "agreement.propose"]
    assert [action for _, action in old] == [whole[1], whole[1], whole[2]]  # what the other end did
    assert {actor for actor, _ in new} == {f"district:{two.old.district_id}"}

    which = await two.agree()
    await two.look()
    await two.owner.execute("UPDATE hub.agreements SET until = now() WHERE agreement_id = $1", which)
    assert await two.told(two.new) == set()
    assert await two.look() == 1
    assert await two.tokens() == []
    assert ("hub", "agreement.end") in await two.actions(two.old)
    assert ("hub", "agreement.end") in await two.actions(two.new)
    which = await two.propose()
    await two.owner.execute("UPDATE hub.agreements SET proposed_at = now() - interval '31 days'")
    assert await two.look() == 1
    async with two.service.district(two.old.district_id) as tx:
        assert (await agreements.get(tx, which)).ended_because == "not accepted"


@pytest.mark.threat("T1", "T11")
async def test_neither_end_sees_a_row_of_the_other_and_no_stranger_sees_any(two: Two) -> None:
    await applied(two.new, joined(THEIRS, PUPILS[:2]))
    which = await two.agree()
    await two.look()
    stranger = await District(two.old.db).create()
    people = ("agreement_tokens", "agreement_findings")
    for pool in (two.service, two.old.db):
        for district in (two.old, two.new):
            async with pool.district(district.district_id) as tx:
                for table in (*people, "agreement_sides"):
                    where = "" if table in people or pool is two.service else f" WHERE district_id = '{tx.district_id}'"
                    rows = await tx.fetch(f"SELECT district_id FROM {table}{where}")
                    assert {row[0] for row in rows} <= {district.district_id}, table
                assert await tx.fetchval("SELECT count(*) FROM agreement_tokens") > 0
                await tx.execute(f"SET LOCAL hub.agreement = '{which}'")  # of functions alone
                assert {r[0] for r in await tx.fetch("SELECT district_id FROM agreement_tokens")} == {tx.district_id}
        async with pool.district(stranger.district_id) as tx:
            for table in people:
                assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0
            assert await agreements.listing(tx) == []
            await agreement_tokens.clear(tx, which)
            assert await agreement_tokens.settle(tx, which, None) is False
            await agreements.tell(tx, which, "agreement.end")
            if pool is two.service:
                assert await agreements.told(tx, which) == 0
        async with pool.shared() as tx:
            assert await tx.fetchval("SELECT count(*) FROM agreement_tokens") == 0
    assert len(await two.told(two.new)) == 2
    assert "agreement.end" not in dict(await two.actions(two.old)).values()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with two.service.district(two.new.district_id) as tx:
            await tx.execute("UPDATE agreements SET most_share = 100")
    columns = await two.owner.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'hub' AND table_name = ANY($1)", people
    )
    assert {row[0] for row in columns} == {
        "district_id", "agreement_id", "token", "rid", "since", "left_at", "found_at", "closed_at", "asked_at",
        "asked_by", "who", "times", "counted_at",
    }  # fmt: skip


@pytest.mark.threat("T26")
async def test_tokens_of_two_agreements_and_of_two_keys_have_nothing_in_common(two: Two) -> None:
    third = await District(two.old.db).create()
    await applied(third, THEIRS)
    await applied(two.new, joined(THEIRS, PUPILS[:1]))
    which = await two.agree()
    other = await replace(two, new=third).agree()
    await two.look()
    made = {
        one: {row["token"] for row in await two.tokens(two.old) if row["agreement_id"] == one} for one in (which, other)
    }
    assert len(made[which]) == len(made[other]) > 30
    assert not made[which] & made[other]
    assert {len(token) for token in made[which]} == {16}

    key = await acts.new_key(two.service, KEY, which)
    async with two.service.district(two.new.district_id) as tx:
        await acts.rotate(tx, which, key)
    assert await two.told(two.new) == set()
    assert {row["agreement_id"] for row in await two.tokens(two.old)} == {other}
    await two.look()
    again = {row["token"] for row in await two.tokens(two.old) if row["agreement_id"] == which}
    assert len(again) == len(made[which])
    assert not again & made[which]
    assert len(await two.told(two.new)) == 1
    sealed = await two.owner.fetchval("SELECT key FROM hub.agreement_keys WHERE agreement_id = $1", which)
    async with two.old.db.district(two.old.district_id) as tx:
        assert len(await acts.opened_key(tx, KEY, which, sealed)) == 32
        with pytest.raises(HubError, match="cannot be decrypted"):
            await acts.opened_key(tx, KEY, other, sealed)


@pytest.mark.threat("T51")
async def test_who_is_exempt_erased_or_undone_leaves_no_token(two: Two) -> None:
    moved = PUPILS[:4]
    await two.agree()
    joining = await applied(two.new, joined(THEIRS, moved))
    await two.look()
    assert len(await two.told(two.new)) == 4
    exempt, erased, ended, kept = moved

    await two.exempt(exempt)
    assert await two.tokens(two.old, exempt) == []
    assert await two.told(two.new) == {f"new-{key}" for key in moved[1:]}  # at once
    await two.look()
    assert await two.tokens(two.old, exempt) == []
    assert await two.tokens(two.old, kept) != []

    await applied(two.old, left(OURS, [ended]))
    await two.look()
    assert await two.told(two.new) == {f"new-{key}" for key in moved[1:]}
    (gone,) = {row["rid"] for row in await two.tokens(two.old) if row["left_at"] is not None}
    async with two.old.db.district(two.old.district_id) as tx:  # what retention does
        await retention.strip(tx, CATALOGUE["users"], [gone])
    assert await two.told(two.new) == {f"new-{erased}", f"new-{kept}"}

    person = await member(two.old, erased)
    sourced_id = await two.owner.fetchval(
        "SELECT sourced_id FROM hub.users WHERE district_id = $1 AND rid = $2", two.old.district_id, person["rid"]
    )
    assert (await erase(two.old, sourced_id)).state == "applied"
    assert await two.owner.fetchval(
        "SELECT count(*) FROM hub.agreement_tokens WHERE district_id = $1 AND rid = $2", two.old.district_id,
        person["rid"],
    ) == 0  # fmt: skip
    assert await two.told(two.new) == {f"new-{kept}"}
    assert (await undo(two.new, joining)).state == "applied"
    await two.look()
    rids = [(await member(two.new, f"new-{key}"))["rid"] for key in moved]
    assert not {row["rid"] for row in await two.tokens(two.new)} & set(rids)
    assert await two.told(two.new) == set()
    await two.exempt(exempt, by=None)
    await two.look()
    assert await two.tokens(two.old, exempt) != []


async def test_terms_say_whose_records_are_looked_for_and_for_how_long(two: Two) -> None:
    which = await two.agree(Terms(["student"], ["StateID"], 0, 10, None))
    await applied(two.new, joined(THEIRS, PUPILS[:2]))
    await two.look()
    pupils = {row["rid"] for row in await two.owner.fetch(
        "SELECT rid FROM hub.users WHERE district_id = $1 AND 'student' = ANY(roles_role)", two.old.district_id
    )}  # fmt: skip
    assert {row["rid"] for row in await two.tokens(two.old)} == pupils  # each has an id of the state
    await applied(two.old, left(OURS, PUPILS[:1]))
    await two.look()
    assert await two.tokens(two.old, PUPILS[0]) == []  # nobody is remembered
    assert await two.told(two.new) == {f"new-{PUPILS[1]}"}
    school = await two.owner.fetchrow(
        "SELECT o.rid, o.sourced_id FROM hub.orgs o WHERE o.district_id = $1 AND EXISTS (SELECT FROM hub.users u "
        "WHERE u.district_id = $1 AND u.active AND u.roles_role = '{student}' AND o.rid = ANY(u.roles_org_rids)) "
        "AND NOT EXISTS (SELECT FROM hub.users u WHERE u.district_id = $1 AND u.rid = $2 "
        "AND o.rid = ANY(u.roles_org_rids)) LIMIT 1",
        two.old.district_id, (await member(two.old, PUPILS[1]))["rid"],
    )  # fmt: skip
    assert school is not None
    async with two.service.district(two.old.district_id) as tx:
        with pytest.raises(HubError, match="no such school"):
            await acts.set_schools(tx, which, [which])
        await acts.set_schools(tx, which, [school["sourced_id"]])
    assert await two.tokens(two.old) == []
    assert await two.told(two.new) == set()
    await two.look()
    there = {row["rid"] for row in await two.owner.fetch(
        "SELECT rid FROM hub.users WHERE district_id = $1 AND active AND $2 = ANY(roles_org_rids)",
        two.old.district_id, school["rid"],
    )}  # fmt: skip
    assert {row["rid"] for row in await two.tokens(two.old)} == there & pupils
    assert await two.told(two.new) == set()


async def test_a_twin_a_namesake_and_a_name_alone_are_not_claimed(two: Two) -> None:
    await two.agree(Terms(["student"], ["StateID"], 365, 10, None))
    ids = dict(OURS["users"].select("sourcedId", "userIds").rows())
    others: list[dict[str, str | None]] = [
        {"givenName": "Wilhelmina"},  # a twin: all else is equal
        {"middleName": "Wilhelmina"},  # a twin whose first name is the same
        {"givenName": "Wilhelmina", "userIds": ids[PUPILS[2]]},  # whose id was mixed up
        {"middleName": None},  # a name and a birth date alone
        {"familyName": "Wilhelmina", "phone": "+12025550199"},
        {},  # born on another day
        {"userIds": ids[PUPILS[6]], "familyName": "Wilhelmina"},  # the same person, under another surname
    ]
    package = THEIRS
    for key, values in zip(PUPILS, others, strict=False):
        package = joined(package, [key], **values)
    await applied(two.new, changed(package, "demographics", f"new-{PUPILS[5]}", birthDate="2010-02-03"))
    await two.look()
    assert await two.told(two.new) == {f"new-{PUPILS[6]}"}


async def test_a_guardian_who_changes_or_is_exempt_is_in_no_token_any_more(two: Two) -> None:
    child = OURS["users"].filter(
        pl.col("agentSourcedIds").str.contains(",").not_() & pl.col("grades").is_not_null()
        & pl.col("middleName").is_null()
    ).row(0, named=True)  # fmt: skip
    key, guardian = child["sourcedId"], child["agentSourcedIds"]
    (phone,) = OURS["users"].filter(pl.col("sourcedId") == guardian)["phone"]
    await two.agree()
    await applied(two.new, joined(THEIRS, [key], phone=phone))
    await two.look()
    assert await two.told(two.new) == {f"new-{key}"}
    await applied(two.old, changed(OURS, "users", guardian, phone="+12025550199", sms=None))
    await two.look()
    assert await two.told(two.new) == set()
    await applied(two.old, OURS)
    await two.look()
    assert await two.told(two.new) == {f"new-{key}"}
    await two.exempt(guardian)
    assert await two.told(two.new) == set()
    assert await two.tokens(two.old, key) == []
    await two.look()
    assert len(await two.tokens(two.old, key)) == 1  # of the child's own address


async def test_what_changes_while_tokens_are_made_is_not_overwritten(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody is exempt after the people were read, and before tokens of them are written."""
    which = await two.agree()
    rid = (await member(two.old, PUPILS[0]))["rid"]
    stands, happened = tokenising._stands, False

    async def between(tx: Transaction, side: agreement_tokens.Side) -> bool:
        nonlocal happened
        if side.district_id == two.old.district_id and not happened:
            happened = True
            await asyncio.create_task(exempt())
        return await stands(tx, side)

    async def exempt() -> None:
        async with two.service.district(two.old.district_id) as tx:
            await matching.set_exempt(tx, rid, by="Ms Ito")

    monkeypatch.setattr(tokenising, "_stands", between)
    monkeypatch.setattr(tokenising, "BATCH", 7)
    await two.look()
    assert happened
    assert await two.tokens(two.old, PUPILS[0]) == []
    assert await two.tokens(two.old, PUPILS[1]) != []

    async def ended(tx: Transaction, side: agreement_tokens.Side) -> bool:
        await asyncio.create_task(_ended())
        return await stands(tx, side)

    async def _ended() -> None:
        async with two.service.district(two.new.district_id) as tx:
            if (await agreements.get(tx, which)).state == "active":
                await acts.end(tx, which)

    await applied(two.old, left(OURS, PUPILS[3:4]))
    monkeypatch.setattr(tokenising, "_stands", ended)
    await two.look()
    assert await two.tokens() == []


async def test_more_than_the_terms_allow_ends_the_agreement(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads another district's roster to ask about everybody is told nothing."""
    monkeypatch.setattr(agreement_tokens, "LEAST_FOUND", 12)
    which = await two.agree()
    await applied(two.new, joined(THEIRS, PUPILS[:8]))
    await two.look()
    assert len(await two.told(two.new)) == 8
    await applied(two.new, joined(THEIRS, PUPILS[8:16]))  # others, in their place: these count still
    await two.look()
    assert await two.told(two.new) == set()
    assert await two.tokens() == []
    async with two.service.district(two.old.district_id) as tx:
        found = await agreements.get(tx, which)
    assert (found.state, found.ended_because, found.ended_by) == ("ended", acts.TOO_MANY, UUID(int=0))
    for district in (two.old, two.new):
        assert (await two.actions(district))[-1] == ("hub", "agreement.end")


async def test_the_old_district_hears_of_tens_and_findings_are_not_shown_for_ever(two: Two) -> None:
    which = await two.agree()
    await applied(two.new, joined(THEIRS, PUPILS[:11]))
    await two.look()
    async with two.service.district(two.old.district_id) as tx:
        assert await agreements.told(tx, which) == 10
        assert await agreements.findings(tx, asked=False) == []
    async with two.service.district(two.new.district_id) as tx:
        assert await agreements.told(tx, which) == 0
        found = await agreements.findings(tx, asked=False, limit=4)
        rest = await agreements.findings(tx, asked=False, after=(found[-1].found_at, found[-1].sourced_id))
        assert len({one.rid for one in (*found, *rest)}) == 11
        assert await agreements.asked(tx, which, found[0].sourced_id, by="Ms Ito")
        assert not await agreements.asked(tx, which, which, by="Ms Ito")
        assert [one.asked_by for one in await agreements.findings(tx, asked=True)] == ["Ms Ito"]
        assert len(await agreements.findings(tx, asked=False)) == 10
    await two.owner.execute("UPDATE hub.agreement_findings SET found_at = now() - interval '91 days'")
    assert await two.told(two.new) == set()
    await two.owner.execute("UPDATE hub.agreement_sides SET looked_at = now() - interval '2 days'")
    assert await two.look() == 2
    assert await two.told(two.new) == set()  # and are not found anew
