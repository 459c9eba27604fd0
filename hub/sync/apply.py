"""Applying a staged difference: records, history, change log, views, feeds and the source's cursor in one transaction.

The same function serves real runs, dry runs and held ones: the caller rolls back where nothing may stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.crashpoints import crash_point
from hub.errors import Code, HubError, Intent
from hub.store import columns, districts, sources, staging
from hub.store.database import Transaction
from hub.store.runs import Claim
from hub.sync import views
from hub.sync.changes import EntityChanges
from hub.sync.prepare import Prepared
from hub.sync.views import Effect
from transforms.catalogue import CATALOGUE


@dataclass(frozen=True, slots=True)
class Applied:
    """What the transaction did. ``emptied_schools`` had classes or enrollments before and have none after."""

    position: int
    effects: list[Effect]
    emptied_schools: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What is noted of the package that was taken: the next run compares with it."""

    source_id: UUID
    digest: str
    archive: str | None
    files: list[str]
    cursor: dict[str, Any] | None


async def apply(tx: Transaction, claim: Claim, prepared: Prepared, taken: Taken, at: datetime) -> Applied:
    """Writes the difference at the district's next position.

    Raises HubError(FENCED) as ``lock`` does, and HubError(UNAVAILABLE) when staged rows are missing.
    """
    await lock(tx, claim)
    crash_point("apply.locked")
    position = await districts.draw_position(tx)
    counted = [e for e in ("classes", "enrollments") if _removes(prepared.entities.get(e))]
    before = [await columns.per_school(tx, CATALOGUE[e]) for e in counted]
    await _write(tx, claim, taken.source_id, prepared, position, at)
    after = [await columns.per_school(tx, CATALOGUE[e]) for e in counted]
    emptied = {school for was, now in zip(before, after, strict=True) for school in was if school not in now}
    crash_point("apply.records_written")
    effects = await views.refresh(tx, position, at, run_id=claim.run.run_id, changes=prepared.entities)
    await sources.applied(
        tx, taken.source_id, digest=taken.digest, archive=taken.archive, files=taken.files, cursor=taken.cursor
    )
    crash_point("apply.views_written")
    return Applied(position, effects, len(emptied))


async def lock(tx: Transaction, claim: Claim) -> None:
    """Takes the district's lock for a run.

    Raises HubError(FENCED) when another worker has taken the district over since the claim: a zombie that wakes up late
    finds a newer fence and writes nothing.
    """
    _, fence = await districts.lock(tx)
    if fence != claim.fence:
        raise HubError(Code.FENCED, "Another worker has taken over this district.")


def _removes(changes: EntityChanges | None) -> bool:
    return changes is not None and bool(changes.deleted or changes.updates)


async def _write(
    tx: Transaction, claim: Claim, source_id: UUID, prepared: Prepared, position: int, at: datetime
) -> None:
    rows: list[tuple[str, bytes, bytes, bytes]] = []
    for name, changes in prepared.entities.items():
        entity = CATALOGUE[name]
        touched = changes.updated | changes.revived | changes.deleted
        if touched:
            await staging.keep_history(tx, entity, list(touched), position)
        if changes.staged:
            written = await staging.write_records(tx, entity, claim.lease_token, at, known=changes.known)
            _all_there(written == (len(changes.created), len(changes.updated | changes.revived)))
        if changes.deleted:
            await staging.end_records(tx, entity, source_id, list(changes.deleted), at)
        if changes:
            updated = changes.updated | changes.revived
            rows.append((name, changes.created.serialize(), updated.serialize(), changes.deleted.serialize()))
    # In the order of their key: what a new district's sources say is appended to the index, page after page.
    for name in sorted(name for name, changes in prepared.entities.items() if changes.staged):
        known = prepared.entities[name].known
        await staging.keep_sources(tx, CATALOGUE[name], claim.lease_token, source_id, known=known)
    await staging.keep_changes(tx, position, claim.run.run_id, at, rows)
    await districts.keep_next_rids(tx, prepared.heads)


def _all_there(complete: bool) -> None:
    """Staging tables are not logged: PostgreSQL empties them when it crashes, and comes back before anyone notices."""
    if not complete:
        raise HubError(Code.UNAVAILABLE, "Staged rows are missing. The run is tried again.", intent=Intent.RETRY)
