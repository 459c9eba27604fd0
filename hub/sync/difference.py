"""What a run does to each record: its kind, the fields that differ, and the schools that it is about. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
from pyroaring import BitMap

from hub.sync.changes import EntityChanges, Update, field_bits, members
from transforms.catalogue import CATALOGUE, Entity

#: In the order in which they are listed: where not all are kept, the worst are.
KINDS: Final = ("rebound", "deleted", "moved", "updated", "created")
#: The fields that say which school a record belongs to. A role that comes beside the others is no move.
_SCHOOL_FIELDS: Final = {
    "classes": ("school",), "enrollments": ("school",), "courses": ("org",), "users": ("roles", "primaryOrg"),
    "lineItems": ("school",),
}  # fmt: skip
_NAMES: Final = ("givenName", "familyName")
#: What stays a person's own: one of these that is the same before and after says that it is the same person.
_IDENTIFIERS: Final = ("username", "email", "identifier", "userMasterIdentifier")


@dataclass(slots=True)
class EntityDifference:
    """The records of one entity that a run changes, by kind; each is in one set.

    ``left``: of moved records the schools where they were and are no more, by their sourcedIds.
    """

    entity: Entity
    kinds: dict[str, BitMap]
    left: dict[int, tuple[str, ...]] = field(default_factory=dict)


def difference(entity: Entity, changes: EntityChanges, rebound: Iterable[int]) -> EntityDifference:
    """The changes of an entity by kind. ``rebound``: users whose key is somebody else's now (``is_rebound``)."""
    others = BitMap(rebound)
    left = {rid: gone for rid, update in changes.updates.items() if (gone := schools_left(entity, update))}
    moved = BitMap(left) - others
    kinds = {
        "rebound": others, "deleted": changes.deleted, "moved": moved, "updated": changes.updated - others - moved,
        "created": (changes.created | changes.revived) - others,
    }  # fmt: skip
    return EntityDifference(entity, kinds, left)


@cache
def _bits(entity: str, names: tuple[str, ...]) -> int:
    """The bits of some fields of an entity in ``Update.fields``; those that it has not have none."""
    return sum(field_bits(CATALOGUE[entity]).get(name, 0) for name in names)


def named(entity: Entity, update: Update) -> list[str]:
    """The fields of a changed record that differ."""
    return [item.name for bit, item in enumerate(entity.body) if update.fields >> bit & 1]


def fields_changed(entity: Entity, changes: EntityChanges) -> dict[str, int]:
    """In how many of the updated records each field differs; without those that differ in none."""
    bits = np.fromiter((update.fields for update in changes.updates.values()), np.uint64, len(changes.updates))
    counts = {item.name: int((bits >> np.uint64(bit) & np.uint64(1)).sum()) for bit, item in enumerate(entity.body)}
    return {name: number for name, number in counts.items() if number}


def values(entity: Entity, update: Update) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of the fields that differ, before and after."""
    before, after = members(*update.old), members(*update.new)
    names = named(entity, update)
    return {n: before[n] for n in names if n in before}, {n: after[n] for n in names if n in after}


def schools_left(entity: Entity, update: Update) -> tuple[str, ...]:
    """The orgs where a record was and is no more, by their sourcedIds; none where it only came to more of them."""
    names = _SCHOOL_FIELDS.get(entity.name, ())
    if not update.fields & _bits(entity.name, names):
        return ()
    before, after = (_orgs(names, members(*texts)) for texts in (update.old, update.new))
    return tuple(sorted(before - after))


def _orgs(names: Iterable[str], record: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for name in names:
        value = record.get(name)
        for item in value if isinstance(value, list) else [value]:
            reference = item.get("org") if name == "roles" and item else item
            if reference:
                found.add(reference["sourcedId"])
    return found


def maybe_rebound(update: Update) -> bool:
    """Whether both names of a user differ: cheap, and false for nearly all."""
    both = _bits("users", _NAMES)
    return update.fields & both == both


def is_rebound(old: tuple[str, str], new: tuple[str, str], births: tuple[str | None, str | None]) -> bool:
    """Whether a user's documents before and after are of two people.

    They are when given name and family name are others and nothing says that it is the same person: neither the birth
    date (``births``, before and after) nor any identifier that is there on both sides. A marriage or a new first name
    changes one name; a change of both leaves the login or the number.
    """
    before, after = members(*old), members(*new)
    if any(_same(before.get(name), after.get(name)) for name in _NAMES):
        return False
    if births[0] is not None and births[0] == births[1]:
        return False
    if any(before.get(name) and _same(before[name], after.get(name)) for name in _IDENTIFIERS):
        return False
    return not _user_ids(before) & _user_ids(after)


def birth(texts: tuple[str, str] | None) -> str | None:
    """The birth date of a person's demographics."""
    found = members(*texts).get("birthDate") if texts is not None else None
    return found if isinstance(found, str) else None


def _user_ids(record: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(item.get("type", ""), item.get("identifier", "")) for item in record.get("userIds", [])}


def _same(one: object, other: object) -> bool:
    return str(one or "").casefold() == str(other or "").casefold()
