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
from hub.store import columns, districts, doubles, past, people, staging, statements
from hub.store.database import Transaction
from hub.store.people import HUB, USERS, Claim, Pair, State
from hub.store.statements import STATEMENTS
from hub.sync.ahead import Applying
from hub.sync.changes import EntityChanges
from hub.sync.comparing import stage_differences
from hub.sync.ending import end
from hub.sync.job import Job
from hub.sync.merging import REPLACED, Words
from hub.sync.parties import parties
from hub.sync.prepared import Retold
from hub.sync.redirecting import Redirected, Turns, redirected
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
    """Where words are to stand. ``into``: home to the record to which it belongs now; ``before``: until the run.

    ``claims``: all words about these users; ``moves``, by entity: those that are to stand elsewhere, and where;
    ``regrouped``, by entity: those that come to speak of another record, wherever they stand.
    ``decisions``: what the run notes of pairs of homes. ``doubles``: homes of which a source has another word too, with
    which it stands by itself.
    """

    into: Mapping[int, int]
    before: Mapping[int, int]
    claims: Sequence[Claim]
    moves: Mapping[str, Sequence[tuple[Claim, int]]]
    regrouped: Mapping[str, Sequence[Claim]]
    decisions: Mapping[Pair, State]
    doubles: frozenset[int]

    def __bool__(self) -> bool:
        """Whether anything is to do."""
        return any(self.moves.values()) or any(self.regrouped.values())


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

    Raises HubError(CONFLICT) where other decisions stand against it.
    """
    task = job.claim.run.task
    await staging.sweep(job.db, job.claim.district_id)
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        decisions = _decisions(task)
        planned = await plan(tx, decisions, by_hub=task["by"] == HUB)
        steps = Remerging(job, await parties(tx, None))
    steps.result.retold = Retold()
    steps.merging.persons = frozenset(to for home, to in planned.into.items() if home != to)
    steps.merging.into = planned.into
    pointed: dict[str, Redirected] = {}
    async with Applying(job.db, job.claim) as applying:
        try:
            for entity in CATALOGUE.entities:
                pointed[entity.name] = await _entity(steps, entity, planned)
            await steps.writer.staged()
        finally:
            await steps.writer.close()

        async def last(tx: Transaction) -> None:
            """The words go with the records: a sync that looks in between would end people and make them anew."""
            await people.decide(tx, decisions, by=task["by"], seconded_by=task.get("seconded_by"))
            for name, moves in planned.moves.items():
                await people.move(tx, CATALOGUE[name], moves)
            await people.set_aliases(tx, planned.into, (await districts.lock(tx))[0])
            for name, found in pointed.items():
                await people.note_reference_homes(tx, CATALOGUE[name], found.homes)
                await doubles.note(tx, CATALOGUE[name], found.said)
            crash_point("people.moved")

        steps.result.last = last
        steps.merging.tell(steps.result)
        await end(job, steps.result, None, applying)


def _decisions(task: Mapping[str, Any]) -> dict[Pair, State]:
    states: tuple[State, ...] = ("same", "different")
    return {(min(pair), max(pair)): state for state in states for pair in task.get(state, ())}


async def plan(tx: Transaction, decisions: dict[Pair, State], *, by_hub: bool = False) -> Plan:
    """What is to move for some decisions. Raises HubError(CONFLICT) where they cannot be carried out.

    ``by_hub``: nobody has decided; then two records that one source speaks of are not joined.
    """
    touched = {rid for pair in decisions for rid in pair}
    known = dict(await people.decided(tx, touched)) | decisions
    into = persons({rid for pair in known for rid in pair}, [pair for pair, state in known.items() if state == "same"])
    apart = [pair for pair, state in known.items() if state == "different" and into[pair[0]] == into[pair[1]]]
    if apart:
        raise HubError(Code.CONFLICT, "Two of these records were told to be different people. Take that back first.")
    led = await people.into(tx, into)
    before = {home: led.get(home, home) for home in into}
    moves: dict[str, list[tuple[Claim, int]]] = {}
    regrouped: dict[str, list[Claim]] = {}
    claims: list[Claim] = []
    alone: set[int] = set()
    for entity in OF_PEOPLE:
        found = await people.claims(tx, entity, into)
        stands = standing(found, into)
        moves[entity.name] = [(c, to) for c, to in zip(found, stands, strict=True) if c.rid != to]
        regrouped[entity.name] = [c for c in found if before[c.home] != into[c.home]]
        if entity is USERS:
            if by_hub and _joins_what_one_source_has(found, into, before):
                raise HubError(Code.CONFLICT, "One source has both records: a person decides whether they are one.")
            claims = found
            alone = {c.home for c, to in zip(found, stands, strict=True) if to != into[c.home]}
    return Plan(into, before, claims, moves, regrouped, decisions, frozenset(alone))


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


def standing(claims: Sequence[Claim], into: Mapping[int, int]) -> list[int]:
    """Where each word stands: of a source's words about one person that of the oldest record with the person.

    The others stand where they came: a source has one word at a record. It follows from the homes alone.
    """
    first: dict[tuple[UUID, int], int] = {}
    for claim in claims:
        key = claim.source_id, into[claim.home]
        first[key] = min(first.get(key, claim.home), claim.home)
    return [
        into[claim.home] if first[claim.source_id, into[claim.home]] == claim.home else claim.home for claim in claims
    ]


def _joins_what_one_source_has(
    claims: Sequence[Claim], into: Mapping[int, int], before: Mapping[int, int]
) -> bool:  # fmt: skip
    """Whether two records come together that one source speaks of now."""
    taken: dict[tuple[UUID, int], int] = {}
    active = (claim for claim in claims if claim.active)
    return any(
        taken.setdefault((claim.source_id, into[claim.home]), before[claim.home]) != before[claim.home]
        for claim in active
    )


async def _entity(steps: Remerging, entity: Entity, planned: Plan) -> Redirected:
    """Stages what becomes of an entity's records: those of people, and those that refer to them.

    Gives back where references belong by themselves.
    """
    job = steps.job
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        turns = Turns(planned.claims, planned.into, planned.before, planned.doubles)
        pointed = await redirected(tx, entity, turns, steps.parties)
        texts = await _texts(tx, entity, planned, pointed)
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
    return pointed


async def _texts(tx: Transaction, entity: Entity, planned: Plan, pointed: Redirected) -> _Texts:
    """Which words change: those that move or are of another record, and those of records that refer to such people."""
    texts = _Texts()
    moves, regrouped = planned.moves.get(entity.name, ()), planned.regrouped.get(entity.name, ())
    to = {(claim.rid, str(claim.source_id)): place for claim, place in moves}
    to |= {key: key[0] for c in regrouped if (key := (c.rid, str(c.source_id))) not in to}
    touched = {rid for rid, _ in to} | set(to.values())
    touched |= {rid for c in regrouped for rid in (planned.before[c.home], planned.into[c.home])}
    rids = sorted(touched | pointed.records)
    known = await statements.of_records(tx, entity.name, rids)
    merged = set(known["rid"])
    sole = (await statements.sole(tx, entity.name, entity.table, sorted(touched - merged))).said
    words = pl.concat([known, sole])
    stored = await staging.documents(tx, entity, sorted(pointed.records - merged - touched))
    lists = await pointed.lists(tx, entity, words, stored)
    for rid, source, at, doc, private in words.rows():
        now = lists.get((rid, source)) or _replaced((doc, private), pointed.renamed(rid, source))
        if (rid, source) in to or now != (doc, private):
            place = to.get((rid, source), rid)
            texts.said.append((place, source, at, *now))
            texts.replaced.append((rid, source))
            texts.merged |= {rid, place}
    texts.merged |= touched
    for rid, (_, doc, private) in stored.items():
        now = lists.get((rid, None)) or _replaced((doc, private), pointed.renamed(rid))
        if now != (doc, private):
            texts.alone.append((rid, *now))
    # The doubles of records that refer to somebody say so beside them.
    texts.merged = {planned.into.get(rid, pointed.places.get(rid, rid)) for rid in texts.merged} | touched
    return texts


def _replaced(texts: tuple[str, str], renamed: Mapping[str, str]) -> tuple[str, str]:
    """Documents with other sourcedIds: these are random, and stand for nothing else."""
    doc, private = texts
    for old, new in renamed.items():
        doc, private = doc.replace(old, new), private.replace(old, new)
    return doc, private


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
