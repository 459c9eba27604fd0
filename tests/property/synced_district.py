"""A district in the store as the plain values of ``small_districts``, read from its documents and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from pyroaring import BitMap

from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.store import grants as store
from hub.store.database import Transaction
from hub.sync.changes import members
from tests.property.compile_model import compile_slowly
from tests.property.small_districts import ENTITIES, SIZES, District, Record, sourced_id
from transforms.catalogue import CATALOGUE, Kind

Looks = dict[str, dict[int, str]]


@dataclass(frozen=True)
class Documents:
    """All records of a district: documents by entity and rid, and rids by entity and id."""

    texts: dict[str, dict[int, tuple[bool, str, str]]]
    rids: dict[str, dict[str, int]]

    def translated(self, definition: GrantDefinition) -> GrantDefinition:
        """A definition that names records by ``small_districts.sourced_id``, with the ids of this district."""
        ids = {entity: {rid: i for i, rid in known.items()} for entity, known in self.rids.items()}
        real = {
            str(sourced_id(entity, rid)): ids[entity].get(rid, str(uuid4()))
            for entity in ENTITIES
            for rid in range(SIZES[entity])
        }
        dumped = definition.model_dump(mode="json")
        for rule in dumped["rules"]:
            for name in ("schools", "courses", "classes", "terms"):
                rule[name] = [real.get(i, i) for i in rule[name]]
        return GrantDefinition.model_validate(dumped)

    def model(self) -> District:
        """The records as plain values."""
        return {
            entity: {rid: self._record(entity, *text) for rid, text in held.items()}
            for entity, held in self.texts.items()
        }

    def _record(self, entity: str, active: bool, doc: str, private: str) -> Record:
        values: dict[str, Any] = members(doc, private)
        record = Record(active=active, values=values)
        for field in CATALOGUE[entity].references:
            if field.kind is not Kind.REF:
                continue
            rids = self.rids[field.target or ""]
            found = values.pop(field.name, [] if field.many else None)
            if field.many:
                record.refs[field.name] = [rids[reference["sourcedId"]] for reference in found]
            else:
                record.refs[field.name] = rids[found["sourcedId"]] if found else None
        for role in values.pop("roles", []) if entity == "users" else []:
            record.roles.append({**role, "org": self.rids["orgs"][role["org"]["sourcedId"]]})
        return record

    def looks(self, definition: GrantDefinition, views: dict[str, set[int]]) -> tuple[Looks, dict[str, set[int]]]:
        """How each present record looks with all its references filtered, and which look different for that."""
        looks: Looks = {}
        trimmed: dict[str, set[int]] = {}
        for entity, present in views.items():
            projection = Projection(definition, entity)
            looks[entity], trimmed[entity] = {}, set()
            for rid in present:
                _, doc, private = self.texts[entity][rid]
                refs = {
                    name: [self.rids[CATALOGUE[entity][name].target or "orgs"][i] for i in ids]
                    for name, ids in projection.references_in(doc, private).items()
                }
                text = projection.members(
                    doc, private, refs={name: refs.get(name, []) for name in projection.references},
                    sees=lambda target, other: other in views[target],
                )  # fmt: skip
                looks[entity][rid] = text
                whole = projection.members(doc, private)
                if members(text, "") != members(whole, ""):
                    trimmed[entity].add(rid)
        return looks, trimmed


async def documents(tx: Transaction) -> Documents:
    """Reads a district's documents."""
    texts: dict[str, dict[int, tuple[bool, str, str]]] = {}
    rids: dict[str, dict[str, int]] = {}
    for entity in CATALOGUE.entities:
        rows = await tx.fetch(f"SELECT rid, sourced_id::text AS id, active, doc, doc_private FROM {entity.table}")
        texts[entity.name] = {row["rid"]: (row["active"], row["doc"], row["doc_private"]) for row in rows}
        rids[entity.name] = {row["id"]: row["rid"] for row in rows}
    return Documents(texts, rids)


def compiled(definition: GrantDefinition, found: Documents) -> dict[str, set[int]]:
    """The view of a definition in the ids of ``small_districts``, computed record by record."""
    return compile_slowly(definition, found.model())


@dataclass(frozen=True)
class Stored:
    """A grant's view and feed as the store has them."""

    present: dict[str, set[int]]
    gone: dict[str, set[int]]
    trimmed: dict[str, set[int]]
    feed: list[tuple[int, str, set[int], set[int], set[int]]]  # position, entity, entered, updated, departed

    def replayed(self, settled: int = 0) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
        """What is present and gone after the whole feed, of which up to ``settled`` each record stands but once."""
        present: dict[str, set[int]] = {entity: set() for entity in ENTITIES}
        gone: dict[str, set[int]] = {entity: set() for entity in ENTITIES}
        for position, entity, entered, updated, departed in self.feed:
            assert not entered & present[entity]
            assert updated <= present[entity]
            assert departed <= present[entity] or position <= settled
            present[entity] = (present[entity] | entered) - departed
            gone[entity] = (gone[entity] | departed) - entered
        return present, gone


async def stored(tx: Transaction, grant_id: UUID) -> Stored:
    """Reads a grant's view and feed."""
    sets = await store.views(tx, grant_id)
    nothing = BitMap().serialize()
    read = {entity: sets.get(entity, store.Sets(nothing, nothing, nothing)) for entity in ENTITIES}
    rows = await tx.fetch("SELECT * FROM feed WHERE grant_id = $1 ORDER BY position, entity", grant_id)
    return Stored(
        {entity: _set(sets.present) for entity, sets in read.items()},
        {entity: _set(sets.gone) for entity, sets in read.items()},
        {entity: _set(sets.trimmed) for entity, sets in read.items()},
        [(r["position"], r["entity"], _set(r["entered"]), _set(r["updated"]), _set(r["departed"])) for r in rows],
    )


def _set(serialized: bytes) -> set[int]:
    return set(BitMap.deserialize(serialized))
