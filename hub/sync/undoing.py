"""A run of kind "undo": the inverse of what an applied run did, field by field, as far as nobody changed it since.

What the run created is ended, what it ended comes back, and of what it updated each field gets back its former value if
it still has the one that the run gave it. Fields that were changed since stay, and are reported. Of records of which
several sources speak, the source of the run gets its former words back, and the records are merged anew. The sources'
hashes stay as they are: a row that the source sends unchanged is no reason to do again what was undone, a changed one
is. A source that departed with the run comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import polars as pl
from pyroaring import BitMap

from hub.errors import Code, HubError
from hub.scope.closure import deciding
from hub.scope.sets import unpack
from hub.store import districts, feed, incarnations, past, runs, staging
from hub.store.database import Transaction
from hub.store.past import Image, Part, Versions
from hub.store.runs import Claim
from hub.sync.ahead import Applying
from hub.sync.changes import EntityChanges, Update, compare
from hub.sync.ending import end
from hub.sync.job import Job
from hub.sync.parties import Parties, parties
from hub.sync.prepared import Prepared
from hub.sync.remerging import Remerging
from hub.sync.restoring import restored
from hub.sync.unsaying import Undone, Unsaid, slices, undone_run, unsaid
from transforms.catalogue import CATALOGUE, Entity
from transforms.issues import SCHEMA, Action, Phase, Rule, Severity, declare

KIND: Final = "undo"
#: Kinds of runs that cannot be undone, and what to do instead.
INSTEAD: Final[Mapping[str, str]] = {
    "erase": "An erasure cannot be undone. Release the person, and sources may send the person again.",
    "override": "What was overridden would be overridden again by the next sync. End the override instead.",
    "people": "What it decided would stand. Split the people instead, or say again that they are one person.",
    "remerge": "The rules that it applied would apply again. Set the rules, or the source's priority, as they were.",
}
UND_001 = declare(
    "UND-001", Severity.WARN, Action.REPORT, "A field that the undone run changed was changed again since",
    "The undo left the newer value. Change it in the student system, or undo the later run too.",
    phase=Phase.CROSS_SNAPSHOT,
)  # fmt: skip
UND_002 = declare(
    "UND-002", Severity.WARN, Action.REPORT, "A record refers to one that the undo ended",
    "No app sees it until the record to which the named field refers is active again; it comes back by itself then.",
    phase=Phase.CROSS_SNAPSHOT,
)  # fmt: skip
UND_003 = declare(
    "UND-003", Severity.WARN, Action.REPORT, "What the record said before the undone run is not kept any more",
    "The undo left it as it is. Retention has removed its past: send the right data from the student system.",
    phase=Phase.CROSS_SNAPSHOT,
)  # fmt: skip


@dataclass(slots=True)
class _Inverse:
    """What an undo does to the records of one entity. ``whole``: rid to active, of records that get all back."""

    changes: EntityChanges = field(default_factory=EntityChanges)
    whole: dict[int, bool] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    conflicts: list[tuple[int, str]] = field(default_factory=list)
    forgotten: BitMap = field(default_factory=BitMap)

    @property
    def touched(self) -> BitMap:
        """The records that the undo changes."""
        return self.changes.updated | self.changes.revived | self.changes.deleted


async def undo(job: Job) -> None:
    """Carries the run out. Raises HubError(CONFLICT) when the run to be undone was never applied."""
    db, claim = job.db, job.claim
    await staging.sweep(db, claim.district_id)
    prepared, inverses = Prepared(), dict[str, _Inverse]()
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        run = await undoable(tx, UUID(claim.run.task["run"]))
        undone = await undone_run(tx, run, await _root(tx, run))
        seen = await districts.get(tx, claim.district_id)
        logged = await past.changes_at(tx, undone.position)
        log = {name: (unpack(new), unpack(changed), unpack(ended)) for name, (new, changed, ended) in logged.items()}
        said, retold = await unsaid(tx, undone, log)
        for entity in CATALOGUE.entities:
            if entity.name in log or said[entity.name].again:
                job.progress.enter("compare", entity=entity.name)
                inverses[entity.name] = await _staged(tx, claim, entity, undone, log, said[entity.name])
                prepared.entities[entity.name] = inverses[entity.name].changes
        returning = undone.departed.source_id if undone.departed else None
        spoken = await parties(tx, None, returning=returning)
    prepared.retold = retold or None
    await _merge(job, spoken, prepared, said)
    async with db.district(claim.district_id, readonly=True, wait_seconds=30) as tx:
        prepared.issues = await _findings(tx, inverses)

    async def last(tx: Transaction) -> None:
        """Apps may have written to a gradebook since the inverse was found."""
        for name, inverse in inverses.items():
            if await past.changed_since(tx, CATALOGUE[name], seen.position, list(inverse.touched)):
                raise HubError(Code.FENCED, "Something that the run changed was written meanwhile. It is tried again.")
        touched = {name: BitMap().union(*rids) | said[name].again for name, rids in log.items()}
        await incarnations.turn_back(tx, undone.position, touched, (await districts.lock(tx))[0])

    prepared.last = last if prepared else None
    async with Applying(db, claim) as applying:
        await end(job, prepared, None, applying)


async def _staged(
    tx: Transaction, claim: Claim, entity: Entity, undone: Undone, log: Mapping[str, tuple[BitMap, BitMap, BitMap]],
    said: Unsaid,
) -> _Inverse:  # fmt: skip
    """The inverse of what the run did to records that are not merged, in staging."""
    nothing = (BitMap(), BitMap(), BitMap())
    alone = (rids - said.again for rids in log.get(entity.name, nothing))
    inverse = await _inverse(tx, entity, undone.position, *alone)
    inverse.conflicts += said.conflicts
    inverse.forgotten |= said.forgotten
    await past.stage_whole(tx, entity, claim.lease_token, undone.position, inverse.whole)
    await past.stage_parts(tx, entity, claim.lease_token, undone.position, inverse.parts)
    return inverse


async def _merge(job: Job, spoken: Parties, prepared: Prepared, said: Mapping[str, Unsaid]) -> None:
    """Merges the records anew of which several sources speak, now that these say again what they said."""
    steps = Remerging(job, spoken)
    try:
        for name, one in said.items():
            if one.again:
                changes = prepared.entities[name]
                changes.deleted |= BitMap(await steps.merge(CATALOGUE[name], list(one.again), changes, one.words))
        await steps.writer.staged()
    finally:
        await steps.writer.close()
    steps.merging.tell(prepared)


async def undoable(tx: Transaction, run_id: UUID) -> runs.Run:
    """The run, if it can be undone.

    Raises HubError(NOT_FOUND), HubError(CONFLICT) when it changed nothing, and HubError(PAST_GONE) when what was before
    it is not kept any more.
    """
    run = await runs.get(tx, run_id)
    if run.state != "applied" or run.position is None:
        raise HubError(Code.CONFLICT, f"Only an applied run can be undone; this one is {run.state}.")
    if run.kind in INSTEAD:
        raise HubError(Code.CONFLICT, INSTEAD[run.kind])
    if run.kind == KIND and (await _root(tx, run)).kind == "departure":
        raise HubError(Code.CONFLICT, "The source is back and may have spoken since. Let it depart again instead.")
    if run.position <= await districts.history_from(tx):
        raise HubError(Code.PAST_GONE, "What records said before this run is not kept any more.")
    if await past.regrouped_since(tx, run.position):
        raise HubError(
            Code.CONFLICT, "People of whom the run speaks were merged or split since. Take back those decisions first.",
        )  # fmt: skip
    return run


async def _root(tx: Transaction, run: runs.Run) -> runs.Run:
    """The run itself or, of an undo, the one that was undone first."""
    while run.kind == KIND:
        run = await runs.get(tx, UUID(run.task["run"]))
    return run


async def _inverse(
    tx: Transaction, entity: Entity, position: int, created: BitMap, updated: BitMap, deleted: BitMap
) -> _Inverse:
    inverse = _Inverse()
    changes, touched = inverse.changes, updated | deleted
    changes.deleted.update(await past.active(tx, entity, list(created)))
    seen = BitMap()
    for part in slices(touched):
        found = await past.versions(tx, entity, position, part)
        await asyncio.to_thread(_invert, entity, found, inverse)
        seen.update(one.rid for one in found)
    inverse.forgotten = touched - seen
    changes.staged = changes.known = bool(inverse.whole or inverse.parts)
    counts = changes.counts
    counts.before = await past.count(tx, entity)
    counts.updated = len(changes.updated | changes.revived)
    counts.deleted = len(changes.deleted)
    counts.unchanged = len(created | touched) - counts.updated - counts.deleted
    return inverse


def _invert(entity: Entity, found: Sequence[Versions], inverse: _Inverse) -> None:
    for one in found:
        fields, image, conflicts = _restored(entity, one)
        inverse.conflicts += [(one.rid, name) for name in conflicts]
        if image == one.now or not (image.active or one.now.active):
            continue  # what has ended since says nothing any more: no history would tell that it was changed
        if image.documents == one.before.documents:
            inverse.whole[one.rid] = image.active
        else:
            inverse.parts.append(Part(one.rid, fields, image))
        _enter(entity, one, image, inverse.changes)


def _enter(entity: Entity, one: Versions, image: Image, changes: EntityChanges) -> None:
    """Notes what becomes of a record. One that ends and gets back what it said is staged as well as ended."""
    if image.active and one.now.active:
        bits = compare(entity, one.now.documents, image.documents)
        changes.updates[one.rid] = Update(one.now.documents, image.documents, bits)
    elif image.active:
        changes.revived.add(one.rid)
    else:
        changes.deleted.add(one.rid)
        changes.restored.add(one.rid)


def _restored(entity: Entity, one: Versions) -> tuple[list[str], Image, list[str]]:
    """The fields that get back what they said, what the record becomes, and the fields that were changed since."""
    was_changed = one.before.active != one.after.active
    active = one.before.active if was_changed else one.now.active
    if one.now.documents == one.after.documents:
        return [], Image(active, *one.before.documents), []
    fields, documents, conflicts = restored(entity, one.before.documents, one.after.documents, one.now.documents)
    return fields, Image(active, *documents), conflicts


async def _findings(tx: Transaction, inverses: Mapping[str, _Inverse]) -> list[pl.DataFrame]:
    """What the undo could not do, and what it leaves behind that no app will see."""
    found = []
    for name, inverse in inverses.items():
        found.append(await _named(tx, UND_001, name, inverse.conflicts))
        found.append(await _named(tx, UND_003, name, [(rid, "") for rid in inverse.forgotten]))
    ended = {name: list(inverse.changes.deleted) for name, inverse in inverses.items() if inverse.changes.deleted}
    for entity in CATALOGUE.entities:
        fields = [f.name for f in deciding(entity) if f.target in ended]
        if fields:
            own = inverses[entity.name].changes.deleted if entity.name in inverses else BitMap()
            rids = BitMap(await past.referrers(tx, entity.name, fields, ended)) - own
            found.append(await _named(tx, UND_002, entity.name, [(rid, " or ".join(fields)) for rid in rids]))
    return found


async def _named(tx: Transaction, rule: Rule, entity: str, rows: Sequence[tuple[int, str]]) -> pl.DataFrame:
    """Findings about records (rid, field), by their sourcedIds; as many as a run keeps."""
    kept = rows[: runs.KEPT_ISSUES]
    ids = await feed.sourced_ids(tx, CATALOGUE[entity], [rid for rid, _ in kept]) if kept else {}
    named = [(rule.code, entity, "", None, name, ids.get(rid, ""), "") for rid, name in kept]
    return pl.DataFrame(named, schema=SCHEMA, orient="row")
