"""From numbers to the objects of 1.1."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hub.api.oneroster.asked import Asked
from hub.api.oneroster.errors import unknown_object
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.reading import Reading
from hub.api.oneroster.select import fits_subset
from hub.api.oneroster.v1p1.errors import status_info
from hub.api.oneroster.v1p1.people import USERS, Numberings, people
from hub.api.oneroster.v1p1.reading import OldReading
from hub.objects import rendering
from hub.scope import projection as scope
from hub.scope.identifiers import as_json
from hub.scope.numbering import Numbering
from hub.scope.personas import fitting, persona_id, split
from hub.scope.v1p1 import SAME, Documents
from hub.store import records
from transforms.catalogue import Entity
from transforms.references import escaped_bases

#: More objects than this are made in a thread, beside the event loop.
_MOST_AT_ONCE = 500
Fields = frozenset[str] | None
_METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One object of an answer: the record, the role of the persona where it is a user's, and its id as a tombstone."""

    rid: int
    role: str | None
    sourced_id: str | None


async def objects(
    reading: OldReading, numberings: Numberings, entity: Entity, numbers: Sequence[int], fields: Fields
) -> list[str]:
    """The JSON objects of these listed records, in their order. Raises gate.ClosedError."""
    now = Reading(reading.tx, reading.gate, reading.lens)
    if entity.name in SAME:
        return await rendering.objects(now, entity, numbers, fields)
    if entity is USERS:
        wanted = [_persona(reading.numbering, number) for number in numbers]
    else:
        wanted = [_Wanted(number, None, None) for number in numbers]
    rids = sorted({one.rid for one in wanted})
    texts = dict(zip(rids, await rendering.objects(now, entity, rids, None), strict=True))
    numbering, _ = await people(now, reading.style.names, numberings)
    maker = _Maker(now, reading, entity, numbering, fields)
    if len(wanted) > _MOST_AT_ONCE:
        return await asyncio.to_thread(maker.make_all, wanted, texts)
    return maker.make_all(wanted, texts)


async def one(reading: OldReading, operation: Operation, given: str, fields: Fields) -> str:
    """The JSON object that a path names. Raises RefusedError (404) and gate.ClosedError."""
    entity, role = operation.entity, None
    person = given
    if entity is USERS:
        person, role = split(given)
    found = await records.find(
        reading.tx, reading.gate, entity, await reading.identified(entity, person),
        fits=fits_subset(reading, entity, operation.subset), private=rendering.shows_private(reading, entity),
        fields=reading.view.projections[entity.name].references,
    )  # fmt: skip
    if found is None:
        raise unknown_object()
    token = operation.subset.token if operation.subset else None
    named: tuple[int, bool] | None = (found.row.rid, found.fits)
    if entity is USERS:
        named = reading.persona(found.row.rid, role, token, fits=found.fits)
    view = reading.then(entity.name)
    told = view.gone if reading.tells_gone(entity) else ()
    if named is None or not (named[0] in told or (named[1] and named[0] in view.present)):
        raise unknown_object()
    now = Reading(reading.tx, reading.gate, reading.lens)
    text = rendering.render(now, entity, found.row, None)
    (text,) = await now.named(entity, await rendering.pointing(now, entity, [found.row.rid], [text], None))
    wanted = _Wanted(found.row.rid, role, given)
    return _Maker(now, reading, entity, reading.numbering, fields).make_all([wanted], {found.row.rid: text})[0]


def warnings(asked: Asked) -> str:
    """The member that tells what was passed over in a query; empty where nothing was."""
    if not asked.warnings:
        return ""
    told = [status_info("success", "warning", warning.minor, warning.description) for warning in asked.warnings]
    return f',"statusInfoSet":{orjson.dumps(told).decode()}'


def _persona(numbering: Numbering, number: int) -> _Wanted:
    rid, role = numbering.persona(number)
    return _Wanted(rid, role, None if role is None else numbering.sourced_id(number))


class _Maker:
    """Makes objects from the texts of 1.2."""

    def __init__(self, now: Reading, reading: OldReading, entity: Entity, numbering: Numbering, fields: Fields) -> None:
        self._view = now.of(entity.name)
        shown = now.view.projections[entity.name].visible
        self._documents = Documents(entity, reading.style, shown)
        self._several = numbering.several
        self._fields = fields

    def make_all(self, wanted: Sequence[_Wanted], texts: dict[int, str]) -> list[str]:
        """The objects, in order. What 1.1 cannot show any more since a walk began is a tombstone."""
        return [self._make(one, texts[one.rid]) for one in wanted]

    def _make(self, one: _Wanted, text: str) -> str:
        if one.rid not in self._view.gone:
            made = self._documents.make(text, role=one.role, several=self._several, fields=self._fields)
            if made is not None:
                return made
        (modified,) = self._view.stamps.texts([one.rid])
        record = orjson.loads(escaped_bases(text))
        sourced_id = one.sourced_id if one.role is not None else record["sourcedId"]
        left = scope.tombstone(as_json(str(sourced_id)), modified, fields=self._fields)
        to = self._led(record, one.role) if one.rid in self._view.gone else None
        return left if to is None else scope.pointing(left, to)

    def _led(self, record: dict[str, Any], role: str | None) -> str | None:
        """The user of 1.1 to whom one who has left leads, of the person that 1.2 names: the one with the same role."""
        named = record.get(_METADATA, {}).get(scope.MERGED_INTO)
        if named is None or not (self._fields is None or _METADATA in self._fields):
            return None
        person: str = named["sourcedId"]
        roles = self._several.get(person)
        if roles is None:
            return person
        return persona_id(person, fitting(role, roles), roles) if roles else None
