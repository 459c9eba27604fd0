"""People's word on who is one person: what it needs, and the run that carries it out.

A decision about a pair of records stands for ever, until another one takes its place: *different* keeps the two apart
whatever a comparison finds, *same* brings what is said of both to the older one (hub.sync.people).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import columns, people, runs
from hub.store.database import Transaction
from hub.store.people import USERS, Pair, State
from hub.store.runs import Run
from hub.sync.people import KIND, plan

Decision = Literal["same", "different", "unsure"]
#: Enrollments of two records from which on a merge needs the word of two persons.
MOST_ALONE: Final = 50


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a decision. ``run``: what carries it out, where something is to do.

    ``second``: it needs the word of another person.
    """

    run: Run | None = None
    second: bool = False


async def decide(
    tx: Transaction, records: tuple[UUID, UUID], decision: Decision, *, by: str, dry_run: bool = False
) -> Decided:
    """Notes whether two users are one person and queues what follows.

    Raises HubError(NOT_FOUND) for a record that there is not, HubError(INVALID_REQUEST) for one with itself, and
    HubError(CONFLICT) where other decisions stand against it.
    """
    pair = await _pair(tx, records)
    if decision == "unsure":
        if not dry_run:
            await people.decide(tx, {pair: "unsure"}, by=by)
        return Decided()
    return await _carry_out(tx, {pair: decision}, by=by, dry_run=dry_run)


async def split(tx: Transaction, record: UUID, *, by: str, dry_run: bool = False) -> Decided:
    """Takes back every decision that a record is the same person as others.

    Raises HubError(NOT_FOUND), and HubError(CONFLICT) where nothing was merged with it.
    """
    rid = await _rid(tx, record)
    told = await people.decided(tx, [rid])
    pairs: dict[Pair, State] = {pair: "different" for pair, state in told if state == "same" and rid in pair}
    if not pairs:
        raise HubError(Code.CONFLICT, "No other record was merged with this one.")
    return await _carry_out(tx, pairs, by=by, dry_run=dry_run)


async def _carry_out(tx: Transaction, decisions: dict[Pair, State], *, by: str, dry_run: bool) -> Decided:
    planned = await plan(tx, decisions)
    if not planned:
        if not dry_run:
            await people.decide(tx, decisions, by=by)
        return Decided()
    seconded_by = None
    if "same" in decisions.values():
        (pair,) = decisions
        if await people.seats(tx, {planned.into.get(rid, rid) for rid in pair} | set(pair)) > MOST_ALONE:
            known = await people.match(tx, pair)
            if known is None or known.proposed_by in {None, by}:
                if not dry_run:
                    await people.propose(tx, pair, by=by)
                return Decided(second=True)
            seconded_by, by = by, str(known.proposed_by)
    task = {
        state: [list(pair) for pair, told in sorted(decisions.items()) if told == state]
        for state in ("same", "different")
    }  # fmt: skip
    run = await runs.request(
        tx, new_id(), source_id=None, upload_id=None, dry_run=dry_run, requested_by=seconded_by or by, kind=KIND,
        task={**task, "by": by, "seconded_by": seconded_by},
    )  # fmt: skip
    return Decided(run)


async def _pair(tx: Transaction, records: tuple[UUID, UUID]) -> Pair:
    left, right = sorted([await _rid(tx, record) for record in records])
    if left == right:
        raise HubError(Code.INVALID_REQUEST, "Name two records.")
    return left, right


async def _rid(tx: Transaction, record: UUID) -> int:
    found = await columns.rids_of(tx, USERS, [str(record)])
    if not found:
        raise HubError(Code.NOT_FOUND, "This district has no such user.")
    return found[str(record)]
