"""A run of kind "people": what sources say of people comes to stand where decisions say that it belongs.

Decisions say which records are the same person. The oldest record of a person is the one that stays; what is said of
the others is said of it from then on, and they end. A split takes a decision back: what was said of a record returns to
it, with its sourcedId. Where words stand follows from the decisions alone, so that merges and splits can be undone in
any order, and a run that is tried again does the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import polars as pl

from hub.crashpoints import crash_point
from hub.errors import Code, HubError
from hub.scope import sets
from hub.store import columns, districts, past, people, staging, statements
from hub.store.database import Transaction
from hub.store.people import USERS, Claim, Pair, State
from hub.store.statements import STATEMENTS
from hub.sync.ahead import Applying
from hub.sync.changes import EntityChanges
from hub.sync.comparing import stage_differences
from hub.sync.ending import end
from hub.sync.job import Job
from hub.sync.merging import REPLACED, Words
from hub.sync.parties import parties
from hub.sync.prepared import Retold
from hub.sync.redirecting import Redirected, redirected
from hub.sync.remerging import Remerging
from transforms.catalogue import CATALOGUE, Entity
from transforms.marks import as_list
from transforms.parse import parse
from transforms.render import render

KIND: Final = "people"
#: The entities of which each person has one record at most, under one rid.
OF_PEOPLE: Final = tuple(e for e in CATALOGUE.entities if USERS.name in {e.name, e.rid_of})


@dataclass(frozen=True, slots=True)
class Plan:
    """Where words are to stand. ``into``: home to the record to which it belongs now.

    ``claims``: all words about these users; ``moves``, by entity: those that are to stand elsewhere, and where.
    ``decisions``: what the run notes of pairs of homes.
    """

    into: Mapping[int, int]
    claims: Sequence[Claim]
    moves: Mapping[str, Sequence[tuple[Claim, int]]]
    decisions: Mapping[Pair, State]


@dataclass(slots=True)
class _Texts:
    """What changes of an entity: ``said`` (STATEMENTS) and ``replaced`` (REPLACED) as in Words; ``merged``: whose.

    ``alone``: records of one source, or of none, of which the text changes as it is.
    """

    said: list[tuple[Any, ...]] = field(default_factory=list)
    replaced: list[tuple[int, str]] = field(default_factory=list)
    merged: set[int] = field(default_factory=set)
    alone: list[tuple[int, str, str]] = field(default_factory=list)


async def regroup(job: Job) -> None:
    """Carries the run out. ``task``: pairs of homes that are the ``same`` or ``different`` from now on, by whose word.

    Raises HubError(CONFLICT) where one source would speak of one person twice.
    """
    task = job.claim.run.task
    await staging.sweep(job.db, job.claim.district_id)
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        decisions = _decisions(task)
        planned = await plan(tx, decisions)
        steps = Remerging(job, await parties(tx, None))
    steps.result.retold = Retold()
    steps.merging.persons = frozenset(to for home, to in planned.into.items() if home != to)
    homes: dict[str, dict[int, int | None]] = {}
    async with Applying(job.db, job.claim) as applying:
        try:
            for entity in CATALOGUE.entities:
                homes[entity.name] = await _entity(steps, entity, planned)
            await steps.writer.staged()
        finally:
            await steps.writer.close()

        async def last(tx: Transaction) -> None:
            """The words go with the records: a sync that looks in between would end people and make them anew."""
            await people.decide(tx, decisions, by=task["by"], seconded_by=task.get("seconded_by"))
            for name, moves in planned.moves.items():
                await people.move(tx, CATALOGUE[name], moves)
            await people.set_aliases(tx, planned.into, (await districts.lock(tx))[0])
            for name, noted in homes.items():
                await people.note_reference_homes(tx, CATALOGUE[name], noted)
            crash_point("people.moved")

        steps.result.last = last
        steps.result.stated = steps.merging.staged
        await end(job, steps.result, None, applying)


def _decisions(task: Mapping[str, Any]) -> dict[Pair, State]:
    states: tuple[State, ...] = ("same", "different")
    return {(min(pair), max(pair)): state for state in states for pair in task.get(state, ())}


async def plan(tx: Transaction, decisions: dict[Pair, State]) -> Plan:
    """What is to move for some decisions. Raises HubError(CONFLICT) where they cannot be carried out."""
    touched = {rid for pair in decisions for rid in pair}
    known = dict(await people.decided(tx, touched)) | decisions
    into = persons({rid for pair in known for rid in pair}, [pair for pair, state in known.items() if state == "same"])
    apart = [pair for pair, state in known.items() if state == "different" and into[pair[0]] == into[pair[1]]]
    if apart:
        raise HubError(Code.CONFLICT, "Two of these records were told to be different people. Take that back first.")
    moves: dict[str, list[tuple[Claim, int]]] = {}
    claims: list[Claim] = []
    for entity in OF_PEOPLE:
        found = await people.claims(tx, entity, into)
        moves[entity.name] = _moves(found, into)
        claims = found if entity is USERS else claims
    return Plan(into, claims, moves, decisions)


def persons(homes: set[int], same: Sequence[Pair]) -> dict[int, int]:
    """To which of some homes each belongs, by the pairs that are the same: to the oldest of its person."""
    into = {home: home for home in homes}

    def oldest(home: int) -> int:
        while into[home] != home:
            home = into[home]
        return home

    for left, right in same:
        first, second = sorted((oldest(left), oldest(right)))
        into[second] = first
    return {home: oldest(home) for home in homes}


def _moves(claims: Sequence[Claim], into: Mapping[int, int]) -> list[tuple[Claim, int]]:
    """The words that are to stand elsewhere. What a source once said of a record gives way to what it says now."""
    taken: dict[tuple[UUID, int], Claim] = {}
    for claim in sorted(claims, key=lambda c: (not c.active, c.rid != into[c.home])):
        other = taken.setdefault((claim.source_id, into[claim.home]), claim)
        if other is not claim and claim.active:
            raise HubError(
                Code.CONFLICT, "One source has both records. Mend it there: the hub keeps one record of a source for a "
                "person.",
            )  # fmt: skip
    return [(claim, to) for (_, to), claim in taken.items() if claim.rid != to]


async def _entity(steps: Remerging, entity: Entity, planned: Plan) -> dict[int, int | None]:
    """Stages what becomes of an entity's records: those of people, and those that refer to them.

    Gives back where references belong by themselves.
    """
    job, moves = steps.job, planned.moves.get(entity.name, ())
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        pointed = await redirected(tx, entity, planned.claims, planned.into, steps.parties)
        texts = await _texts(tx, entity, moves, pointed)
    changes = EntityChanges()
    if texts.merged:
        words = Words(
            pl.DataFrame(texts.said, schema=STATEMENTS, orient="row"),
            pl.DataFrame(texts.replaced, schema=REPLACED, orient="row").unique(),
        )
        await _merge(steps, entity, sorted(texts.merged), changes, words)
        _retell(steps.result.retold, entity, texts)
    if texts.alone:
        await _rewrite(steps, entity, texts.alone, changes)
    if changes or texts.merged:
        steps.result.entities[entity.name] = changes
    return pointed.homes


async def _texts(
    tx: Transaction, entity: Entity, moves: Sequence[tuple[Claim, int]], pointed: Redirected
) -> _Texts:  # fmt: skip
    """Which words change: those that move, and those of records that refer to people whose words move."""
    texts = _Texts()
    to = {(claim.rid, str(claim.source_id)): place for claim, place in moves}
    touched = {rid for rid, _ in to} | set(to.values())
    rids = sorted(touched | pointed.records)
    known = await statements.of_records(tx, entity.name, rids)
    merged = set(known["rid"])
    sole = await statements.sole(tx, entity.name, entity.table, sorted(touched - merged))
    for rid, source, at, doc, private in pl.concat([known, sole]).rows():
        place, renamed = to.get((rid, source), rid), pointed.renamed(rid, source)
        if place != rid or renamed:
            texts.said.append((place, source, at, _replaced(doc, renamed), _replaced(private, renamed)))
            texts.replaced.append((rid, source))
            texts.merged |= {rid, place}
    texts.merged |= touched
    stored = await staging.documents(tx, entity, sorted(pointed.records - merged - touched))
    for rid, (_, doc, private) in stored.items():
        renamed = pointed.renamed(rid)
        if renamed:
            texts.alone.append((rid, _replaced(doc, renamed), _replaced(private, renamed)))
    return texts


def _replaced(text: str, renamed: Mapping[str, str]) -> str:
    """A document with other sourcedIds: these are random, and stand for nothing else."""
    for old, new in renamed.items():
        text = text.replace(old, new)
    return text


async def _merge(
    steps: Remerging, entity: Entity, rids: Sequence[int], changes: EntityChanges, words: Words
) -> None:  # fmt: skip
    """Merges people, or records that refer to them, anew; who had no such record so far gets one."""
    job = steps.job
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        here = await columns.sourced_ids(tx, entity, rids)
        owners = await columns.sourced_ids(tx, USERS, rids) if entity.rid_of else here
        changes.counts.before = await past.count(tx, entity)
    said = words.said["rid"].unique()
    lacking = owners.filter(~pl.col("rid").is_in(as_list(here["rid"])) & pl.col("rid").is_in(as_list(said)))
    changes.deleted |= sets.bitmap(
        pl.Series(sorted(await steps.merge(entity, here["rid"].sort().to_list(), changes, words)), dtype=pl.UInt32)
        .to_numpy()
    )  # fmt: skip
    if lacking.height:
        merged = await steps.merging.merged(entity, lacking.sort("rid"), None, words)
        rows = merged.frame.with_columns(key=pl.lit(""), hash=pl.lit(0, pl.UInt64))
        changes.created |= sets.bitmap(rows["rid"].to_numpy())
        changes.counts.created += rows.height
        changes.staged = True
        await steps.writer.stage(entity, staging.INSERT, rows, await steps.by_id(entity))


def _retell(retold: Retold | None, entity: Entity, texts: _Texts) -> None:
    assert retold is not None, "a run of people tells anew"
    now = {(rid, source) for rid, source, *_ in texts.said}
    for _, source in now:
        retold.speakers.add(UUID(source))
    for rid, source in sorted(set(texts.replaced) - now):
        retold.silent.setdefault((entity.name, UUID(source)), []).append(rid)


async def _rewrite(
    steps: Remerging, entity: Entity, texts: Sequence[tuple[int, str, str]], changes: EntityChanges
) -> None:  # fmt: skip
    """Stages records that refer to somebody else from now on, and say the same otherwise."""
    job = steps.job
    schema = {"rid": pl.UInt32, "doc": pl.String, "doc_private": pl.String}
    frame = pl.DataFrame(texts, schema=schema, orient="row").sort("rid")
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        ids = await columns.sourced_ids(tx, entity, frame["rid"].to_list())
    rows = parse(entity.name, frame.join(ids, on="rid", how="inner", maintain_order="left"))
    rows = rows.with_columns(key=pl.lit(""), hash=pl.lit(0, pl.UInt64))
    if not changes.counts.before:
        async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            changes.counts.before = await past.count(tx, entity)
    await stage_differences(
        job, steps.writer, entity, rows, render(entity.name, rows), changes, task=staging.REMERGE,
        indexes=await steps.by_id(entity),
    )  # fmt: skip
