"""Applying a staged difference: records, history, change log, views, feeds and the source's cursor in one transaction.

The same function serves real runs, dry runs and held ones: the caller rolls back where nothing may stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pyroaring import BitMap

from hub.crashpoints import crash_point
from hub.errors import Code, HubError
from hub.scope.columns import Columns
from hub.store import columns as column_store
from hub.store import districts, source_parts, sources, staging, statement_history, statements
from hub.store.database import Transaction
from hub.store.runs import Claim
from hub.store.statement_history import Moment
from hub.sync import departing, views
from hub.sync.ahead import Early
from hub.sync.changes import EntityChanges
from hub.sync.columns import are_kept, current_columns, per_school
from hub.sync.prepared import Prepared
from hub.sync.views import Effect
from transforms.catalogue import CATALOGUE, Entity


@dataclass(frozen=True, slots=True)
class Applied:
    """What the transaction did. ``emptied``: schools (rids) that had classes or enrollments and have none after it.

    ``per_school``: how many of these each school had before, where any of them went.
    """

    position: int
    effects: list[Effect]
    emptied: frozenset[int]
    per_school: Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What is noted of the package that was taken: the next run compares with it.

    ``missing``: files that the last package had and this one has not. ``whole``: it does not only say what changed.
    ``parts``: the entities of which it has all component rows.
    """

    source_id: UUID
    digest: str
    archive: str | None
    files: list[str]
    missing: list[str]
    cursor: dict[str, Any] | None
    whole: bool = True
    parts: list[str] = field(default_factory=list)

    def in_part(self) -> Taken:
        """What is noted where a part of the difference was withheld: the next run compares row by row.

        Its digest is no package's, what is missing is asked about again, and the source is pulled from the start.
        """
        files = sorted({*self.files, *self.missing})
        return replace(self, digest=f"in part:{self.digest}", archive=None, files=files, cursor=None, parts=[])


async def apply(
    tx: Transaction, claim: Claim, prepared: Prepared, taken: Taken | None, at: datetime, early: Early,
    columns: Columns | None = None,
) -> Applied:  # fmt: skip
    """Writes the difference at the district's next position.

    ``taken``: the package that it comes from; None for a run of another kind.
    ``early``: what the transaction has written already.
    ``columns``: those of the new records, where the district had none when the run began.
    Raises HubError(FENCED) as ``lock`` does, and HubError(UNAVAILABLE) when staged rows are missing.
    """
    await lock(tx, claim)
    crash_point("apply.locked")
    position = await districts.draw_position(tx)
    crash_point("apply.position_drawn")
    fresh = columns if columns is not None and await alone(tx, prepared) else None
    counted = [e for e in ("classes", "enrollments") if _removes(prepared.entities.get(e))]
    known = await current_columns(tx) if counted and are_kept(tx) else None
    before = [await _per_school(tx, e, known) for e in counted]
    if early.position is not None and early.position != position:
        await staging.move_history(tx, early.position, position, list(early.kept))
        await statement_history.move(tx, early.position, position)
        for name, rids in early.origins.items():
            await statements.move_provenance(tx, name, list(rids), early.position, position)
    await _write(tx, claim, prepared, position, at, early)
    now = fresh if known is None else await current_columns(tx)
    after = [await _per_school(tx, e, now if known is not None else None) for e in counted]
    emptied = {school for was, is_ in zip(before, after, strict=True) for school in was if school not in is_}
    crash_point("apply.records_written")
    effects = await views.refresh(tx, position, at, run_id=claim.run.run_id, changes=prepared.entities, columns=now)
    if taken is not None:
        await note(tx, taken, prepared)
    crash_point("apply.views_written")
    return Applied(position, effects, frozenset(emptied), dict(zip(counted, before, strict=True)))


async def _per_school(tx: Transaction, entity: str, columns: Columns | None) -> dict[int, int]:
    """The number of active records of an entity per school."""
    if columns is None:
        return await column_store.per_school(tx, CATALOGUE[entity])
    return await asyncio.to_thread(per_school, columns, entity)


async def note(tx: Transaction, taken: Taken, prepared: Prepared) -> None:
    """Notes of the package what the source's next run compares with."""
    await sources.applied(
        tx, taken.source_id, digest=taken.digest, archive=taken.archive, files=taken.files, cursor=taken.cursor,
        joined=prepared.joined, parts=taken.parts,
    )  # fmt: skip


async def lock(tx: Transaction, claim: Claim) -> int:
    """Takes the district's lock for a run; the district's position.

    Raises HubError(FENCED) when another worker has taken the district over since the claim: a zombie that wakes up late
    finds a newer fence and writes nothing.
    """
    position, fence = await districts.lock(tx)
    if fence != claim.fence:
        raise HubError(Code.FENCED, "Another worker has taken over this district.")
    return position


async def alone(tx: Transaction, prepared: Prepared) -> bool:
    """Whether nobody else has made a record in a district that had none: an app may have written to its gradebook."""
    taken = {entity: first + count for entity, first, count in prepared.reserved}
    return {entity: rid for entity, rid in (await districts.next_rids(tx)).items() if rid} == taken


def _removes(changes: EntityChanges | None) -> bool:
    return changes is not None and bool(changes.deleted or changes.updates)


async def _write(tx: Transaction, claim: Claim, prepared: Prepared, position: int, at: datetime, early: Early) -> None:
    rows: list[tuple[str, bytes, bytes, bytes]] = []
    await take_documents(tx, prepared, early)
    for name, changes in prepared.entities.items():
        entity = CATALOGUE[name]
        touched = (changes.updated | changes.revived | changes.deleted) - early.kept.get(name, BitMap())
        if touched:
            await staging.keep_history(tx, entity, list(touched), position)
            crash_point("apply.history_kept")
        if changes.staged:
            await _write_staged(tx, claim, entity, changes, at, early.inserted.get(name))
        if changes.deleted:
            await staging.end_records(tx, entity, list(changes.deleted), at)
        if changes:
            updated = changes.updated | changes.revived
            rows.append((name, changes.created.serialize(), updated.serialize(), changes.deleted.serialize()))
    await write_said(tx, claim, prepared, early, Moment(position))
    crash_point("apply.sources_written")
    await staging.keep_changes(tx, position, claim.run.run_id, at, rows)
    crash_point("apply.changes_logged")
    await districts.keep_next_rids(tx, prepared.heads)


async def take_documents(tx: Transaction, prepared: Prepared, early: Early) -> None:
    """Writes down what single sources have said of records, before these change. ``early`` as in ``apply``."""
    for key, rids in prepared.alone.items():
        if left := rids - early.alone.get(key, BitMap()):
            await statements.take_documents(tx, CATALOGUE[key[0]], key[1], list(left))


async def write_said(tx: Transaction, claim: Claim, prepared: Prepared, early: Early, moment: Moment) -> None:
    """What the run's source says now, of what it says nothing any more, and where merged values come from.

    ``early`` as in ``apply``.
    """
    source_id, retold = prepared.source_id, prepared.retold
    if stated := sorted(prepared.stated - early.said):
        speakers = retold.speakers if retold is not None else {source_id} if source_id else set()
        await statements.take_over(tx, claim.lease_token, moment, speakers, stated)
    await statements.write_provenance(tx, prepared.provenance.left(early.origins), moment)
    if retold is not None:
        await departing.retell(tx, retold, moment)
    if source_id is None:
        return
    if parts := sorted(prepared.parts - early.brought):
        is_new = prepared.fresh is not None
        await source_parts.take_over(tx, claim.lease_token, source_id, parts, is_new=is_new)
    if prepared.departure is not None:
        await departing.leave(tx, source_id, prepared.departure, moment)
    spoken = await _has_spoken(tx, prepared, source_id)
    # In the order of their key: what a new district's sources say is appended to the index, page after page.
    for name in sorted(prepared.entities):
        entity, changes = CATALOGUE[name], prepared.entities[name]
        if changes.created and name not in early.inserted:
            await staging.insert_sources(tx, entity, claim.lease_token, source_id)
        if changes.known:
            await staging.rehash(tx, entity, claim.lease_token, source_id, spoken=spoken)
        if changes.withdrawn:
            await staging.withdraw(tx, entity, source_id, list(changes.withdrawn))
            await statement_history.withdraw(tx, name, source_id, list(changes.withdrawn), moment)


async def _has_spoken(tx: Transaction, prepared: Prepared, source_id: UUID) -> bool:
    """Whether what the run's source says may meet what it has said before."""
    entities = prepared.entities.values()
    if any(changes.counts.before for changes in entities):
        return True
    return any(changes.known for changes in entities) and await staging.has_spoken(tx, source_id)


async def _write_staged(
    tx: Transaction, claim: Claim, entity: Entity, changes: EntityChanges, at: datetime, inserted: int | None
) -> None:
    """Inserts new records, unless that was done ``ahead``, and updates changed ones."""
    run = claim.lease_token
    created = inserted or 0
    if inserted is None and changes.created:
        created = await staging.insert_records(tx, entity, run, at)
    updated = await staging.update_records(tx, entity, run, at) if changes.known else 0
    if (created, updated) != (len(changes.created), len(changes.updated | changes.revived | changes.restored)):
        raise staging.missing()
