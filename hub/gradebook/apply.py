"""Writing what was decided at the district's next position: records, history, logs, ownership, views and feeds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from hub import ids
from hub.crashpoints import crash_point
from hub.gradebook import views
from hub.gradebook.desk import Desk
from hub.gradebook.drafts import Draft
from hub.gradebook.held import EntitySets
from hub.gradebook.views import MANY, Touched
from hub.store import districts, staging
from hub.store import gradebook as store
from hub.store.gradebook import Row, Stored
from hub.sync.changes import Update, compare
from transforms.catalogue import CATALOGUE, Entity
from transforms.document import document


@dataclass(frozen=True, slots=True)
class Put:
    """A record to be created, or (``before``) replaced. ``key``: the id that the app chose, of a new one."""

    draft: Draft
    row: Row
    before: Stored | None = None
    key: str | None = None


@dataclass(slots=True)
class Plan:
    """What one request does: records of one entity that are put, and records that are deleted, in their order."""

    entity: Entity
    puts: list[Put] = field(default_factory=list)
    deletions: list[tuple[str, list[int]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Applied:
    """The position of a write and the sets that it stored, to be kept after the commit."""

    position: int
    moved: Mapping[tuple[UUID, str], EntitySets]


async def rows_of(desk: Desk, entity: Entity, drafts: Sequence[tuple[Draft, Stored | None]]) -> list[Row]:
    """The records that drafts become; new ones get the next rids and ids."""
    fresh = sum(1 for _, before in drafts if before is None)
    first = await districts.reserve_rids(desk.tx, entity.name, fresh) if fresh else 0
    rids, minted = iter(range(first, first + fresh)), map(str, ids.few(fresh))
    named = [(b.rid, b.sourced_id) if b is not None else (next(rids), next(minted)) for _, b in drafts]

    def make() -> list[Row]:
        both = [one.values(entity) for one, _ in drafts]
        return [
            Row(rid, sourced_id, by_rid, *document(entity, by_id))
            for (rid, sourced_id), (by_rid, by_id) in zip(named, both, strict=True)
        ]

    return await asyncio.to_thread(make) if len(drafts) > MANY else make()


def differs(row: Row, before: Stored) -> bool:
    """Whether a record would be another one than it is."""
    return not before.active or (row.doc, row.doc_private) != (before.doc, before.doc_private)


async def apply(desk: Desk, plan: Plan) -> Applied:
    """Carries a plan out at the district's next position."""
    tx, app_id = desk.tx, desk.author.app_id
    touched = _touched(plan)
    position = await districts.draw_position(tx)
    for name, what in touched.items():
        older = what.rids - what.changes.created
        if older:
            await staging.keep_history(tx, CATALOGUE[name], list(older), position)
        if what.changes.deleted:
            await store.end(tx, CATALOGUE[name], list(what.changes.deleted), desk.at)
    if plan.puts:
        await store.write(tx, plan.entity, [put.row for put in plan.puts], desk.at)
        new = [(put.row.rid, put.row.sourced_id, put.key) for put in plan.puts if put.before is None]
        if new:
            await store.claim(tx, app_id, plan.entity.name, new, desk.at)
    await staging.keep_changes(tx, position, None, desk.at, [_logged(name, what) for name, what in touched.items()])
    writes = [(plan.entity.name, put.row.rid, "put", put.draft.notes) for put in plan.puts]
    writes += [(name, rid, "delete", list[str]()) for name, rids in plan.deletions for rid in rids]
    await store.log(tx, app_id, position, writes, desk.at)
    crash_point("gradebook.records_written")
    moved = await views.move(tx, desk.held, position, desk.at, touched)
    crash_point("gradebook.views_written")
    return Applied(position, moved)


def _touched(plan: Plan) -> dict[str, Touched]:
    touched: dict[str, Touched] = {}
    for name, rids in plan.deletions:
        touched.setdefault(name, Touched()).changes.deleted.update(rids)
    for put in plan.puts:
        what = touched.setdefault(plan.entity.name, Touched())
        rid = put.row.rid
        what.references[rid] = {f.name: put.draft.rid_of(f.name) for f in plan.entity.references}
        if put.before is None:
            what.changes.created.add(rid)
        elif not put.before.active:
            what.changes.revived.add(rid)
        else:
            old, new = (put.before.doc, put.before.doc_private), (put.row.doc, put.row.doc_private)
            what.changes.updates[rid] = Update(old, new, compare(plan.entity, old, new))
    return touched


def _logged(name: str, what: Touched) -> tuple[str, bytes, bytes, bytes]:
    changes = what.changes
    updated = changes.updated | changes.revived
    return name, changes.created.serialize(), updated.serialize(), changes.deleted.serialize()
