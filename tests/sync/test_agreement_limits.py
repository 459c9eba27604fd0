"""What an agreement's ends may ask at most, and what neither can do to ask for more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import polars as pl
import pytest

from hub.errors import Code, HubError
from hub.store import agreement_tokens, agreements, matching
from hub.store.agreements import Terms
from hub.store.database import Transaction
from hub.sync import agreements as acts
from hub.sync import tokenising
from tests.districts import District, Frames
from tests.sync.agreeing import OURS, PUPILS, TERMS, THEIRS, Two, joined, left
from tests.sync.guarding import approve
from tests.sync.test_erasure import KEY
from tests.sync.test_several_sources import applied, member


async def rotated(two: Two, which: UUID) -> None:
    key = await acts.new_key(two.service, KEY, which)
    async with two.service.district(two.old.district_id) as tx:
        await acts.rotate(tx, which, key)


async def said_again(two: Two, which: UUID) -> None:
    """The new district says once more that all its schools count."""
    async with two.service.district(two.new.district_id) as tx:
        await acts.set_schools(tx, which, None)


async def exempted(two: Two, _: UUID) -> None:
    """The new district exempts whom it was told about."""
    async with two.service.district(two.new.district_id) as tx:
        for one in await agreements.findings(tx, asked=False):
            await matching.set_exempt(tx, one.rid, by="Ms Ito")


@pytest.mark.threat("T1")
async def test_what_was_found_counts_whatever_an_end_does_to_forget_it(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement_tokens, "LEAST_FOUND", 12)
    asked = [PUPILS[:8], PUPILS[8:16]]
    for forget in (said_again, rotated, exempted):
        which = await two.agree()
        await applied(two.new, joined(THEIRS, asked[0]))
        await two.look()
        assert len(await two.told(two.new)) == 8
        await forget(two, which)
        await applied(two.new, joined(THEIRS, asked[1]))  # others, in their place
        await two.look()
        async with two.service.district(two.new.district_id) as tx:
            found = await agreements.get(tx, which)
        assert (found.state, found.ended_because) == ("ended", acts.TOO_MANY), forget
        asked.reverse()


async def test_tokens_that_are_made_anew_neither_end_an_agreement_nor_find_anybody_anew(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement_tokens, "LEAST_FOUND", 2)
    await applied(two.new, joined(THEIRS, PUPILS[:8]))
    which = await two.agree(Terms(["student"], [], 365, 40, None))
    await two.look()
    found = await two.owner.fetch("SELECT district_id, rid, found_at FROM hub.agreement_findings ORDER BY rid")
    assert len(found) == 8
    for act in (rotated, said_again):
        await act(two, which)
        assert await two.told(two.new) == set()
        await two.look()  # where the first end looks, the other one has no token
        assert len(await two.told(two.new)) == 8
    assert found == await two.owner.fetch("SELECT district_id, rid, found_at FROM hub.agreement_findings ORDER BY rid")


@pytest.mark.threat("T1")
async def test_the_count_in_tens_does_not_tell_who_it_was(two: Two) -> None:
    """The old district exempts somebody, or takes somebody out, and looks whether it is told of fewer."""
    which = await two.agree()
    await applied(two.new, joined(THEIRS, PUPILS[:10]))
    await two.look()

    async def counted() -> int:
        async with two.service.district(two.old.district_id) as tx:
            return await agreements.told(tx, which)

    assert await counted() == 10
    await two.exempt(PUPILS[0])
    assert len(await two.told(two.new)) == 9
    assert await counted() == 10
    await two.owner.execute("UPDATE hub.agreement_findings SET closed_at = now() - interval '31 days' "
                            "WHERE closed_at IS NOT NULL")  # fmt: skip
    assert await counted() == 0


async def test_who_leaves_while_tokens_are_made_is_remembered(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody leaves after the people were read, and before tokens of them are written."""
    await two.agree()
    await applied(two.new, joined(THEIRS, PUPILS[:1]))
    await two.look()
    assert len(await two.told(two.new)) == 1
    await two.owner.execute(
        "UPDATE hub.agreement_sides SET tokens_to = NULL WHERE district_id = $1", two.old.district_id
    )
    stands, happened = tokenising._stands, False

    async def between(tx: Transaction, side: agreement_tokens.Side) -> bool:
        nonlocal happened
        if not happened:
            happened = True
            await asyncio.create_task(leave())
        return await stands(tx, side)

    async def leave() -> None:
        await applied(two.old, left(OURS, PUPILS[:1]))

    monkeypatch.setattr(tokenising, "_stands", between)
    await two.look()
    assert happened
    assert {row["left_at"] is None for row in await two.tokens(two.old, PUPILS[0])} == {False}
    assert await two.told(two.new) == {f"new-{PUPILS[0]}"}


async def test_of_two_proposals_at_once_one_is_made(two: Two) -> None:
    async def propose(proposer: District, partner: District) -> None:
        async with two.service.district(proposer.district_id) as tx:
            await acts.propose(tx, partner.district_id, TERMS, None)

    each = [(two.old, two.new), (two.new, two.old)] * 2
    ended = await asyncio.gather(*(propose(*ends) for ends in each), return_exceptions=True)
    refused = [error for error in ended if error is not None]
    assert len(refused) == len(each) - 1
    assert {error.code for error in refused if isinstance(error, HubError)} == {Code.CONFLICT}
    assert await two.owner.fetchval("SELECT count(*) FROM hub.agreements") == 1


def disguised(names: Sequence[str], births: Sequence[str]) -> Frames:
    """Pupils as ``joined``, always with the same ids: the names of some, and the birth dates of others."""
    package = joined(THEIRS, names)
    package["demographics"] = joined(THEIRS, births)["demographics"]
    for file, column, keys in (
        ("users", "sourcedId", names), ("roles", "userSourcedId", names), ("demographics", "sourcedId", births)
    ):  # fmt: skip
        again = {f"new-{key}": f"new-{PUPILS[n]}" for n, key in enumerate(keys)}
        package[file] = package[file].with_columns(pl.col(column).replace(again))
    return package


@pytest.mark.threat("T1")
async def test_a_record_that_becomes_another_person_counts_once_more(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks about one after the other with the same few records, under any keys."""
    monkeypatch.setattr(agreement_tokens, "LEAST_FOUND", 12)
    which = await two.agree()
    asked = PUPILS[:5], PUPILS[5:10], PUPILS[10:15]
    rids = set()
    for before, now in zip((asked[0], *asked), asked, strict=False):
        for package in (disguised(now, before), disguised(now, now)):  # first a name is another one, then a date
            run = await two.new.sync(package)
            if run.state == "held":  # its own staff says that this is meant
                run = await approve(two.new, run.run_id)
            assert run.state in {"applied", "unchanged"}
        rids.add((await member(two.new, f"new-{PUPILS[0]}"))["rid"])
        await two.look()
        async with two.service.district(two.new.district_id) as tx:
            found = await agreements.get(tx, which)
        if now is not asked[2]:
            assert await two.told(two.new) == {f"new-{one}" for one in asked[0]}
            await rotated(two, which)
    assert len(rids) == 1
    assert (found.state, found.ended_because) == ("ended", acts.TOO_MANY)


async def test_a_district_cannot_fill_another_ones_list_with_proposals(two: Two) -> None:
    for _ in range(agreements.MOST_PROPOSED):
        await two.end(await two.propose(), two.old)
    with pytest.raises(HubError, match="Too many"):
        await two.propose()
    await two.owner.execute("UPDATE hub.agreements SET proposed_at = now() - interval '31 days'")
    await two.agree()


async def test_what_cannot_be_ended_keeps_no_other_agreement_waiting(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    third = await District(two.old.db).create()
    broken, other = await two.agree(), await replace(two, new=third).agree()
    await two.owner.execute("UPDATE hub.agreements SET until = now()")
    real = acts.end

    async def end(tx: Transaction, agreement_id: UUID, **more: Any) -> agreements.Agreement:
        if agreement_id == broken:
            raise HubError(Code.INTERNAL, "It cannot be ended.")
        return await real(tx, agreement_id, **more)

    monkeypatch.setattr(acts, "end", end)
    living = await replace(two, old=two.new, new=third).agree()
    with pytest.raises(HubError, match="cannot be ended"):  # once there is nothing else to do
        await two.look()
    async with two.service.district(two.old.district_id) as tx:
        assert {one.agreement_id: one.state for one in await agreements.listing(tx)} == {
            broken: "active", other: "ended",
        }  # fmt: skip
    async with two.service.district(two.new.district_id) as tx:
        assert (await agreements.get(tx, living)).looked_at is not None


async def test_what_has_ended_costs_nothing_when_tokens_are_taken_away(two: Two) -> None:
    await two.end(await two.agree(), two.old)
    await two.exempt(PUPILS[0])
    assert await two.owner.fetchval("SELECT max(revision) FROM hub.agreement_sides") == 0
    which = await two.agree()
    await two.exempt(PUPILS[1])
    changed = await two.owner.fetch("SELECT agreement_id FROM hub.agreement_sides WHERE revision > 0")
    assert [row[0] for row in changed] == [which]
