"""What a run does to the records of one entity, and which fields of a changed record differ. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
from pyroaring import BitMap

from hub.sync.guard import Counts
from transforms.catalogue import Entity, Field, Kind
from transforms.nesting import fed
from transforms.references import escaped_bases, spelled_out


@dataclass(frozen=True, slots=True)
class Update:
    """One changed record before and after: documents, and a bit per field of ``entity.body`` that differs."""

    old: tuple[str, str]
    new: tuple[str, str]
    fields: int


@dataclass(slots=True)
class EntityChanges:
    """The difference of one entity by rid. ``revived`` records were tobedeleted and are active again.

    ``withdrawn``: records of which the source of the run says nothing any more; most of them are ``deleted``.
    ``restored``: those of ``deleted`` for which staging holds what they said before.
    """

    counts: Counts = field(default_factory=Counts)
    created: BitMap = field(default_factory=BitMap)
    revived: BitMap = field(default_factory=BitMap)
    deleted: BitMap = field(default_factory=BitMap)
    withdrawn: BitMap = field(default_factory=BitMap)
    restored: BitMap = field(default_factory=BitMap)
    updates: dict[int, Update] = field(default_factory=dict)
    staged: bool = False  # whether staging holds rows of this entity
    known: bool = False  # whether some of those are of records that the store knows already

    @property
    def updated(self) -> BitMap:
        """Records that were and stay active and whose documents differ."""
        return BitMap(self.updates)

    def __bool__(self) -> bool:
        return bool(self.created or self.revived or self.deleted or self.updates)


@cache
def field_bits(entity: Entity) -> Mapping[str, int]:
    """The bit of each field of ``entity.body`` in ``Update.fields``."""
    return {item.name: 1 << bit for bit, item in enumerate(entity.body)}


def members(doc: str, doc_private: str) -> dict[str, object]:
    """The JSON members of a stored record; references begin with the character of their service's address."""
    text = spelled_out(doc) + doc_private
    if not text:
        return {}
    loaded: dict[str, object] = orjson.loads("{" + escaped_bases(text[1:]) + "}")
    return loaded


def compare(entity: Entity, old: tuple[str, str], new: tuple[str, str]) -> int:
    """A bit per field of ``entity.body`` whose value differs between two stored documents; 0 when they are equal."""
    if old == new:
        return 0
    # A field is in one of the two parts: of a part that stayed there is nothing to read.
    parts = [(was, now) if was != now else ("", "") for was, now in zip(old, new, strict=True)]
    (open_was, open_now), (private_was, private_now) = parts
    before, after = members(open_was, private_was), members(open_now, private_now)
    bit_of, bits = field_bits(entity), 0
    for name in before.keys() | after.keys():
        if before.get(name) != after.get(name):
            bits |= bit_of.get(name, 0)
    return bits


@dataclass(slots=True)
class Compared:
    """What documents say of records whose hashes differ. ``kept`` records stay as they are, their hashes too."""

    updates: dict[int, Update] = field(default_factory=dict)
    revived: BitMap = field(default_factory=BitMap)
    kept: BitMap = field(default_factory=BitMap)

    @property
    def written(self) -> BitMap:
        """The records that a run changes."""
        return BitMap(self.updates) | self.revived


def compared(
    entity: Entity, old: Mapping[int, tuple[bool, str, str]], new: Mapping[int, tuple[str, str]], partial: set[int]
) -> Compared:
    """Compares stored records (active, doc, doc_private) with the documents that a package gives, by rid.

    Of ``partial`` records some components could not be read: one that would lose a component is kept, because nobody
    said that it is gone.
    """
    found = Compared()
    for rid, (doc, private) in new.items():
        active, *was = old[rid]
        before = (was[0], was[1])
        if not active:
            found.revived.add(rid)
        elif bits := compare(entity, before, (doc, private)):
            if rid in partial and _loses(entity, before, (doc, private)):
                found.kept.add(rid)
            else:
                found.updates[rid] = Update(before, (doc, private), bits)
    return found


def _loses(entity: Entity, old: tuple[str, str], new: tuple[str, str]) -> bool:
    before, after = members(*old), members(*new)
    return any(item not in _items(field, after) for field in fed(entity) for item in _items(field, before))


def _items(field: Field, record: Mapping[str, Any]) -> list[object]:
    """The parts of a field that a row of its component file gives each: of learning objectives their ids."""
    found = record.get(field.name, [])
    match field.kind:
        case Kind.OBJECTIVES:
            return [(part["source"], one) for part in found for one in part["learningObjectiveIds"]]
        case Kind.OBJECTIVE_RESULTS:
            results = [(part["source"], one) for part in found for one in part["learningObjectiveResults"]]
            return [(source, one["learningObjectiveId"]) for source, one in results]
        case _:
            return found if isinstance(found, list) else [found]
