"""Bringing the views of a district's grants to a new position: after a sync, and when a grant is made or edited.

Everything here happens inside the transaction that changes the records or the grant, under the district's lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from pyroaring import BitMap

from hub.crashpoints import crash_point
from hub.scope.columns import Columns
from hub.scope.compile import compile_grant
from hub.scope.feed import Changed, FeedEntry, Sets, ViewDiff, diff_view, edit_view, gone_after
from hub.scope.grants import GrantDefinition
from hub.scope.personas import extra_roles, first_shown
from hub.scope.projection import Projection
from hub.scope.trim import trim, trim_changes
from hub.scope.view import EntityView, View
from hub.store import columns as column_store
from hub.store import grants as store
from hub.store import staging
from hub.store.database import Transaction
from hub.sync import source_ids
from hub.sync.changes import EntityChanges
from hub.sync.columns import current_columns, keep_columns
from transforms.catalogue import CATALOGUE

#: Documents that are compared at a time when a field policy changed.
_COMPARED = 10_000


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to one grant's view: counts of entered, updated and left per entity."""

    grant_id: UUID | None
    app_id: UUID | None
    entities: Mapping[str, Mapping[str, int]]

    def as_json(self) -> dict[str, Any]:
        """The effect as reports show it."""
        return {"grant": str(self.grant_id), "app": str(self.app_id), "entities": self.entities}


@dataclass(frozen=True, slots=True)
class _Next:
    """A view after a change: what to store of its sets and its users' extra roles, and the entries for the feed.

    ``stored``: its sets as they are stored still.
    """

    sets: dict[str, store.Sets]
    entries: list[FeedEntry]
    extra_roles: dict[str, bytes]
    stored: Mapping[str, store.Sets]

    def effect(self, grant: store.Grant | None) -> Effect:
        counts = {
            e.entity: {"entered": len(e.entered), "updated": len(e.updated), "left": len(e.left)} for e in self.entries
        }
        return Effect(grant.grant_id if grant else None, grant.app_id if grant else None, counts)


async def refresh(
    tx: Transaction, position: int, at: datetime, *, run_id: UUID, changes: Mapping[str, EntityChanges],
    columns: Columns | None = None,
) -> list[Effect]:  # fmt: skip
    """Moves all living grants of the district to what the records now are; what that does to each view.

    ``columns``: what ``load_columns`` would give, where that is known. A grant whose view stays as it is keeps its
    position: its app cannot tell that anything happened.
    """
    grants = await store.listing(tx, living=True)
    if not grants:
        return []
    if columns is None:
        columns = await current_columns(tx)
    else:
        await keep_columns(tx, position, columns)
    effects = []
    for grant in grants:
        definition = GrantDefinition.model_validate(grant.definition)
        following = await _following(tx, columns, grant, definition, definition, changes)
        await _move(tx, grant, position, following, at, run_id)
        effects.append(following.effect(grant))
    return effects


async def regrant(
    tx: Transaction, grant: store.Grant, definition: GrantDefinition, position: int, at: datetime
) -> Effect:
    """Moves one grant to the view of ``definition``; ``grant`` still has the definition from before."""
    following = await _following(tx, await current_columns(tx), grant, _definition(grant), definition, {})
    await _move(tx, grant, position, following, at, None)
    return following.effect(grant)


async def preview(tx: Transaction, grant: store.Grant | None, definition: GrantDefinition) -> Effect:
    """What making (``grant`` None) or editing a grant would do, without doing it."""
    before = _definition(grant) if grant else definition
    following = await _following(tx, await current_columns(tx), grant, before, definition, {})
    return following.effect(grant)


def _definition(grant: store.Grant) -> GrantDefinition:
    return GrantDefinition.model_validate(grant.definition)


async def _move(
    tx: Transaction, grant: store.Grant, position: int, following: _Next, at: datetime, run_id: UUID | None
) -> None:
    if following.sets or following.extra_roles:
        await source_ids.enter(tx, grant, following.stored, following.entries)
        entries = [entry_of(e) for e in following.entries]
        moved = store.Move(grant.grant_id, following.sets, entries, following.extra_roles)
        cause: store.Cause = "sync" if run_id else "grant"
        await store.move(tx, position, [moved], at=at, run_id=run_id, cause=cause)
        crash_point("feed.moved")


def entry_of(entry: FeedEntry) -> store.Entry:
    """An entry as the feed stores it."""
    return store.Entry(entry.entity, entry.entered.serialize(), entry.updated.serialize(), entry.left.serialize())


async def _following(
    tx: Transaction, columns: Columns, grant: store.Grant | None, before: GrantDefinition, after: GrantDefinition,
    changes: Mapping[str, EntityChanges],
) -> _Next:  # fmt: skip
    """The view of ``after`` compared with the stored view, which was made by ``before``.

    Sets that changed without an entry (a hidden reference came or went, so that a record is trimmed now) are stored at
    a new position too: processes cache views by position.
    """
    stored = await store.views(tx, grant.grant_id) if grant else {}
    old = {e.name: _stored_sets(stored.get(e.name)) for e in CATALOGUE.entities}
    resolve = await _resolver(tx, after)
    present = await asyncio.to_thread(compile_grant, after, columns, resolve)
    was = {name: sets.present for name, (sets, _) in old.items()}
    view = View(UUID(int=0), 0, after, {name: EntityView(members) for name, members in present.items()})
    out = _Next({}, [], await _extra_roles(tx, columns, grant, view), stored)
    same, looks = before == after, view.projections
    trimmed = await asyncio.to_thread(_trimmed, looks, was, present, columns)
    for name, (sets, gone) in old.items():
        projections = (looks[name] if same else Projection(before, name)), looks[name]
        new, moved = Sets(present[name], trimmed[name][0]), trimmed[name][1]
        entity_changes = changes.get(name, EntityChanges())
        if same:
            diff = diff_view(projections[1], sets, new, changed_fields(entity_changes), moved)
        else:
            diff = edit_view(*projections, sets, new, moved)
        entry = diff.settle(await differing(tx, diff, projections, (sets, new), (was, present), entity_changes))
        if entry:
            out.entries.append(entry)
        if entry or new != sets:
            out.sets[name] = store.Sets(
                new.present.serialize(), gone_after(gone, entry).serialize(), new.trimmed.serialize()
            )
    return out


def _trimmed(
    projections: Mapping[str, Projection], was: Mapping[str, BitMap], present: Mapping[str, BitMap], columns: Columns
) -> dict[str, tuple[BitMap, BitMap]]:
    """By entity, which records are trimmed, and of which it changes what is cut off. CPU-bound."""
    return {
        name: (trim(look, present, columns), trim_changes(look, was, present, columns))
        for name, look in projections.items()
    }


async def _extra_roles(tx: Transaction, columns: Columns, grant: store.Grant | None, view: View) -> dict[str, bytes]:
    """The people whom the app is shown with several roles for the first time."""
    known: dict[str, BitMap] = {}
    for _, role, people in await store.extra_roles(tx, grant.grant_id) if grant else []:
        known[role] = known.get(role, BitMap()) | BitMap.deserialize(people)
    found = await asyncio.to_thread(extra_roles, view, columns)
    return {role: people.serialize() for role, people in first_shown(known, found).items()}


def _stored_sets(stored: store.Sets | None) -> tuple[Sets, BitMap]:
    if stored is None:
        return Sets(), BitMap()
    sets = Sets(BitMap.deserialize(stored.present), BitMap.deserialize(stored.trimmed))
    return sets, BitMap.deserialize(stored.gone)


def changed_fields(changes: EntityChanges) -> Changed:
    """The updated records with the fields that differ."""
    rids = sorted(changes.updates)
    bits = [changes.updates[rid].fields for rid in rids]
    return Changed(np.array(rids, dtype=np.int32), np.array(bits, dtype=np.uint64))


async def _resolver(tx: Transaction, definition: GrantDefinition) -> Any:
    """The rids of the ids that a definition names, looked up once."""
    named: dict[str, set[UUID]] = {"orgs": set(), "courses": set(), "classes": set(), "academicSessions": set()}
    for rule in definition.rules:
        named["orgs"].update(rule.schools)
        named["courses"].update(rule.courses)
        named["classes"].update(rule.classes)
        named["academicSessions"].update(rule.terms)
    known = {
        entity: await column_store.rids_of(tx, CATALOGUE[entity], [str(i) for i in wanted]) if wanted else {}
        for entity, wanted in named.items()
    }
    return lambda entity, sourced_id: known[entity].get(str(sourced_id))


async def differing(
    tx: Transaction, diff: ViewDiff, projections: tuple[Projection, Projection], sets: tuple[Sets, Sets],
    present: tuple[Mapping[str, BitMap], Mapping[str, BitMap]], changes: EntityChanges,
) -> BitMap:  # fmt: skip
    """Those of ``diff.check`` that look different to the app than before: both projections, text by text."""
    found = BitMap()
    check = list(diff.check)
    for start in range(0, len(check), _COMPARED):
        part = check[start : start + _COMPARED]
        unchanged = [rid for rid in part if rid not in changes.updates]
        stored = await staging.documents(tx, CATALOGUE[diff.entity], unchanged) if unchanged else {}
        now = {rid: (doc, private) for rid, (_, doc, private) in stored.items()}
        old = now | {rid: changes.updates[rid].old for rid in part if rid in changes.updates}
        new = now | {rid: changes.updates[rid].new for rid in part if rid in changes.updates}
        texts = [
            await _texts(tx, projection, documents, trimmed.trimmed, visible)
            for projection, documents, trimmed, visible in zip(projections, (old, new), sets, present, strict=True)
        ]
        found.update(rid for rid in part if texts[0][rid] != texts[1][rid])
    return found


async def _texts(
    tx: Transaction, projection: Projection, documents: Mapping[int, tuple[str, str]], trimmed: BitMap,
    present: Mapping[str, BitMap],
) -> dict[int, str]:  # fmt: skip
    """How records look through a projection and a view, by rid."""
    wanted: dict[str, set[str]] = {}
    references = {rid: projection.references_in(*documents[rid]) for rid in documents if rid in trimmed}
    for found in references.values():
        for name, ids in found.items():
            wanted.setdefault(_target(projection.entity, name), set()).update(ids)
    rids = {t: await column_store.rids_of(tx, CATALOGUE[t], sorted(ids)) for t, ids in wanted.items()}

    def sees(entity: str, rid: int) -> bool:
        return rid in present[entity]

    out = {}
    for rid, (doc, private) in documents.items():
        refs = None
        if rid in references:
            refs = {n: [rids[_target(projection.entity, n)][i] for i in ids] for n, ids in references[rid].items()}
        out[rid] = projection.members(doc, private, refs=refs, sees=sees)
    return out


def _target(entity: str, name: str) -> str:
    """The entity that a reference field points to; a role's references are its orgs."""
    return CATALOGUE[entity][name].target or "orgs"
