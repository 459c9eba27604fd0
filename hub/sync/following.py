"""What the views of grants become: compared with what is stored of them, once for all that see the same."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import numpy as np
from pyroaring import BitMap

from hub.scope.columns import Columns
from hub.scope.compile import Resolve, compile_grant
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
from hub.sync.changes import EntityChanges
from transforms.catalogue import CATALOGUE

#: Documents that are compared at a time when a field policy changed.
_COMPARED = 10_000
_NOTHING = EntityChanges()
_Looks = dict[str, Projection]


@dataclass(frozen=True)
class Standing:
    """A grant's view as it is stored, which ``before`` made, and the definition that counts now.

    ``grant``: None for one that is not made yet. ``several``: whom its app was shown with several roles, by role.
    """

    grant: store.Grant | None
    before: GrantDefinition
    after: GrantDefinition
    stored: Mapping[str, store.Sets]
    several: Sequence[tuple[str, bytes]]

    @cached_property
    def likeness(self) -> Hashable:
        """Equal for grants with equal definitions that see the same."""
        sets = tuple(sorted((name, s.present, s.trimmed) for name, s in self.stored.items()))
        return self.before.model_dump_json(), self.after.model_dump_json(), sets

    def gone(self, entity: str) -> BitMap:
        """The tombstones of an entity."""
        stored = self.stored.get(entity)
        return BitMap.deserialize(stored.gone) if stored is not None else BitMap()


@dataclass(frozen=True, slots=True)
class Next:
    """A view after a change: what to store of its sets and its users' extra roles, and the entries for the feed.

    ``stored``: its sets as they are stored still.
    """

    sets: dict[str, store.Sets]
    entries: list[FeedEntry]
    extra_roles: dict[str, bytes]
    stored: Mapping[str, store.Sets]


async def following(
    tx: Transaction, columns: Columns, standing: Sequence[Standing], changes: Mapping[str, EntityChanges]
) -> list[Next]:
    """What the views of some grants are after ``changes``, in their order.

    Sets that changed without an entry (a hidden reference came or went, so that a record is trimmed now) are stored at
    a new position too: processes cache views by position.
    """
    alike: dict[Hashable, list[int]] = {}
    for place, one in enumerate(standing):
        alike.setdefault(one.likeness, []).append(place)
    looking = _Looking(columns, await _resolver(tx, [one.after for one in standing]), changes)
    firsts = [standing[places[0]] for places in alike.values()]
    seen = await asyncio.to_thread(lambda: [looking.at(one) for one in firsts])
    entries = [await _entries(tx, one, changes) for one in seen]
    settled = zip(alike.values(), seen, entries, strict=True)

    def stored() -> dict[int, Next]:
        return {place: _next(standing[place], one, told) for places, one, told in settled for place in places}

    found = await asyncio.to_thread(stored)
    return [found[place] for place in range(len(standing))]


@dataclass(frozen=True, slots=True)
class _Entity:
    """One entity of a view before and after a change, and what sets alone say of the difference."""

    old: Sets
    new: Sets
    diff: ViewDiff
    projections: tuple[Projection, Projection]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A view before and after a change. ``several``: who has several roles in it now, by role."""

    entities: Mapping[str, _Entity]
    was: Mapping[str, BitMap]
    present: Mapping[str, BitMap]
    several: Mapping[str, BitMap]


class _Looking:
    """Compares views with what they were. CPU-bound."""

    def __init__(self, columns: Columns, resolve: Resolve, changes: Mapping[str, EntityChanges]) -> None:
        self._columns, self._resolve = columns, resolve
        self._changed = {e.name: changed_fields(changes.get(e.name, _NOTHING)) for e in CATALOGUE.entities}
        self._looks: dict[Hashable, _Looks] = {}

    def at(self, one: Standing) -> _Seen:
        columns, looks = self._columns, self._looks_of(one.after)
        old = {e.name: _stored_sets(one.stored.get(e.name)) for e in CATALOGUE.entities}
        was = {name: sets.present for name, sets in old.items()}
        present = compile_grant(one.after, columns, self._resolve)
        views = {name: EntityView(members) for name, members in present.items()}
        several = extra_roles(View(UUID(int=0), 0, one.after, views).looking(looks), columns)
        before = looks if one.before == one.after else self._looks_of(one.before)
        entities = {}
        for name, look in looks.items():
            if not (was[name] or present[name]):
                continue
            new = Sets(present[name], trim(look, present, columns))
            moved = trim_changes(look, was, present, columns)
            if before is looks:
                diff = diff_view(look, old[name], new, self._changed[name], moved)
            else:
                diff = edit_view(before[name], look, old[name], new, moved)
            entities[name] = _Entity(old[name], new, diff, (before[name], look))
        return _Seen(entities, was, present, several)

    def _looks_of(self, definition: GrantDefinition) -> _Looks:
        """How records look through a definition: its policy of fields and the roles that it admits decide."""
        roles = definition.admitted_roles
        policy = definition.model_dump_json(include={"fields", "privacy"}), roles
        if policy not in self._looks:
            self._looks[policy] = {e.name: Projection(definition, e.name) for e in CATALOGUE.entities}
        return self._looks[policy]


async def _entries(tx: Transaction, seen: _Seen, changes: Mapping[str, EntityChanges]) -> dict[str, FeedEntry]:
    """What happened to each entity of a view: documents decide where sets cannot."""
    entries, present = {}, (seen.was, seen.present)
    for name, one in seen.entities.items():
        changed = changes.get(name, _NOTHING)
        entries[name] = one.diff.settle(
            await differing(tx, one.diff, one.projections, (one.old, one.new), present, changed)
        )
    return entries


def _next(one: Standing, seen: _Seen, entries: Mapping[str, FeedEntry]) -> Next:
    known: dict[str, BitMap] = {}
    for role, people in one.several:
        known[role] = known.get(role, BitMap()) | BitMap.deserialize(people)
    first = {role: people.serialize() for role, people in first_shown(known, seen.several).items()}
    sets = {
        name: store.Sets(
            entity.new.present.serialize(), gone_after(one.gone(name), entries[name]).serialize(),
            entity.new.trimmed.serialize(),
        )
        for name, entity in seen.entities.items() if entries[name] or entity.new != entity.old
    }  # fmt: skip
    return Next(sets, [entry for entry in entries.values() if entry], first, one.stored)


def _stored_sets(stored: store.Sets | None) -> Sets:
    if stored is None:
        return Sets()
    return Sets(BitMap.deserialize(stored.present), BitMap.deserialize(stored.trimmed))


def changed_fields(changes: EntityChanges) -> Changed:
    """The updated records with the fields that differ."""
    rids = sorted(changes.updates)
    bits = [changes.updates[rid].fields for rid in rids]
    return Changed(np.array(rids, dtype=np.int32), np.array(bits, dtype=np.uint64))


async def _resolver(tx: Transaction, definitions: Iterable[GrantDefinition]) -> Resolve:
    """The rids of the ids that definitions name, looked up once."""
    named: dict[str, set[UUID]] = {"orgs": set(), "courses": set(), "classes": set(), "academicSessions": set()}
    for rule in (rule for definition in definitions for rule in definition.rules):
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
