"""From rids to the JSON objects of OneRoster 1.2, as one app sees them at one position."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from pyroaring import BitMap

from hub.objects.bases import Bases, addressed
from hub.objects.looking import Looking
from hub.scope import projection as scope
from hub.scope.identifiers import standing_in, without_head
from hub.scope.v1p1 import booleans, json_booleans
from hub.store import people, records
from hub.store.people import USERS
from hub.store.records import Row
from transforms import spelling
from transforms.catalogue import Entity
from transforms.render import spelled_out

#: Stands for a date until it is known which: no JSON text has it, nor has it another meaning in documents.
_DATE = "\x1f"
_BETWEEN = "\x1e"  # no JSON text has it
#: From so many records of a compact entity on, their objects are made in columns: these cost some calls at the least.
_COLUMNS = 250
_METADATA = "metadata"
_ID_START, _ID_LENGTH = len('{"sourcedId":"'), 36
_DATE_LENGTH = len("2026-01-01T00:00:00.000Z")


async def objects(looking: Looking, entity: Entity, rids: Sequence[int], fields: frozenset[str] | None) -> list[str]:
    """The JSON objects of these listed records, in their order, with the ids that the app knows.

    Raises gate.ClosedError.
    """
    shown = rendered(looking, entity, fields)
    texts = await _objects(looking, entity, rids, shown)
    return await named(looking, entity, await pointing(looking, entity, rids, texts, shown), fields)


async def pointing(
    looking: Looking, entity: Entity, rids: Sequence[int], texts: list[str], fields: frozenset[str] | None
) -> list[str]:
    """Objects, of which those that are gone say which record speaks of the person now, if the view shows it."""
    view = looking.of(entity.name)
    if entity is not USERS or not (fields is None or _METADATA in fields) or not (gone := view.gone & BitMap(rids)):
        return texts
    led = await people.into_ids(looking.tx, list(gone))
    found = {rid: str(id_) for rid, (to, id_) in led.items() if to in view.present}
    return [
        scope.pointing(text, found[rid]) if rid in found else text for rid, text in zip(rids, texts, strict=True)
    ] if found else texts  # fmt: skip


def rendered(looking: Looking, entity: Entity, fields: frozenset[str] | None) -> frozenset[str] | None:
    """The members to render before ``named``: with the id, where it may stand in for another one that was asked for."""
    needs_id = fields is not None and looking.lens.identifiers.renames and not fields.isdisjoint(standing_in(entity))
    return fields | {"sourcedId"} if needs_id and fields is not None else fields


async def named(looking: Looking, entity: Entity, texts: list[str], fields: frozenset[str] | None) -> list[str]:
    """Objects with the ids that the app knows and, as ``fields`` has it, without their own."""
    shown = await looking.named(entity, texts)
    extra = rendered(looking, entity, fields) != fields and fields is not None and "sourcedId" not in fields
    return [without_head(text) for text in shown] if extra else shown


async def _objects(looking: Looking, entity: Entity, rids: Sequence[int], fields: frozenset[str] | None) -> list[str]:
    view, projection = looking.of(entity.name), looking.view.projections[entity.name]
    wanted = BitMap(rids)
    trimmed = list(view.trimmed & wanted)
    rows, refs = await records.page(
        looking.tx, looking.gate, entity, rids, private=shows_private(looking, entity),
        trimmed=trimmed, fields=projection.references,
    )  # fmt: skip
    _check(len(refs), trimmed)  # without its references a record would show them all
    if entity.compact:
        rows = [(rid, sourced_id, spelled_out(doc)) for rid, sourced_id, doc in rows]
    dates = dict(zip(rids, view.stamps.texts(rids), strict=True))
    texts = _texts(looking, entity, rows, dates, refs, fields, gone=view.gone & wanted)
    listed = [row[0] for row in rows]
    if listed == list(rids):
        return texts
    found = dict(zip(listed, texts, strict=True))
    return [found[rid] for rid in rids]


async def joined_objects(
    looking: Looking, entity: Entity, rids: Sequence[int], bases: Bases
) -> bytes | memoryview | None:
    """Like ``objects`` with all members, as bytes with commas between and the addresses of ``bases`` in their places.

    Records are joined by PostgreSQL; of those of which not all shows only the texts are changed. None where this is no
    way. Raises gate.ClosedError.
    """
    view, projection = looking.of(entity.name), looking.view.projections[entity.name]
    wanted = BitMap(rids)
    trimmed, gone = view.trimmed & wanted, view.gone & wanted
    special = projection.mode == "rewrite" or looking.lens.identifiers.touches(entity) or styled(looking, entity)
    if special or len(gone) * 2 > len(rids) or wanted.to_array() != array("I", rids):
        return None  # PostgreSQL joins them as a set has them: ascending, each once
    if entity.compact and len(rids) >= _COLUMNS and not projection.dangling:
        return await _in_columns(looking, entity, rids, trimmed | gone, bases)
    text = await _joined(looking, entity, rids, trimmed, gone)
    return addressed(spelled_out(text.decode()).encode() if entity.compact else text, bases)


async def _apart(
    looking: Looking, entity: Entity, rids: Sequence[int], apart: BitMap, ids: Mapping[int, str]
) -> dict[int, str]:
    """By place the objects of records that are gone, of which ``ids`` are the sourcedIds, and of trimmed ones."""
    view = looking.of(entity.name)
    dates = view.stamps.texts([rids[place] for place in ids])
    texts = [scope.tombstone(ids[place], date) for place, date in zip(ids, dates, strict=True)]
    texts = await pointing(looking, entity, [rids[place] for place in ids], texts, None)
    made = dict(zip(ids, texts, strict=True))
    rest = list(apart - view.gone)
    if rest:
        made |= zip(_places(rids, apart - view.gone), await _objects(looking, entity, rest, None), strict=True)
    return made


async def _in_columns(looking: Looking, entity: Entity, rids: Sequence[int], apart: BitMap, bases: Bases) -> memoryview:
    """The objects of many records of a compact entity, with commas between; those ``apart`` are made apart."""
    view, projection = looking.of(entity.name), looking.view.projections[entity.name]
    private = shows_private(looking, entity)
    found = spelling.Records(
        await records.joined_bytes(looking.tx, looking.gate, entity, rids, spelling.BETWEEN, private=private)
    )
    _check(len(found), rids)
    common = view.stamps.common(rids)
    dates = view.stamps.column(rids) if common is None else common.encode()
    around = projection.render("\0", "\0", "\0", "").encode().split(b"\0")
    made = found.objects(spelling.Around(*around), dates, dict(bases))
    if not apart:
        return made.joined({})
    ids = {place: found.sourced_id(place) for place in _places(rids, apart & view.gone)}
    others = await _apart(looking, entity, rids, apart, ids)
    return made.joined({place: addressed(text.encode(), bases) for place, text in others.items()})


def _places(rids: Sequence[int], some: BitMap) -> list[int]:
    """Where some of the ascending ``rids`` are among them."""
    found: list[int] = np.searchsorted(np.asarray(rids), np.asarray(some.to_array())).tolist()
    return found


async def _joined(looking: Looking, entity: Entity, rids: Sequence[int], trimmed: BitMap, gone: BitMap) -> bytes:
    """The objects of records in one text, of a compact entity with short references."""
    view, projection = looking.of(entity.name), looking.view.projections[entity.name]
    whole = not (trimmed or gone or projection.dangling)
    date = view.stamps.common(rids)
    before, between, after, end = projection.render("\0", "\0", "\0", "").split("\0")
    around = before, between + (date or _DATE) + after, end
    count, text, refs = await records.joined(
        looking.tx, looking.gate, entity, rids, around, "," if whole else _BETWEEN,
        private=shows_private(looking, entity), trimmed=list(trimmed), fields=projection.references,
    )  # fmt: skip
    _check(count, rids)
    _check(len(refs), trimmed)  # without its references a record would show them all
    if date is None:
        dates = [text.encode() for text in view.stamps.texts(rids)]
        text = b"".join(chain.from_iterable(zip(text.split(_DATE.encode()), [*dates, b""], strict=True)))
    if whole:
        return text
    found = text.split(_BETWEEN.encode())
    dangling = [member.encode() for member in projection.dangling]
    changed = {place for place, record in enumerate(found) for member in dangling if member in record}
    start, behind = len(before) + _ID_LENGTH + len(between) + _DATE_LENGTH + len(after), -len(end)
    for place in changed.union(_places(rids, trimmed)):
        document = found[place][start:behind].decode()
        shown = projection.members(document, "", refs=refs.get(rids[place]), sees=looking.view.sees)
        found[place] = found[place][:start] + shown.encode() + found[place][behind:]
    if gone:
        ids = {place: found[place][_ID_START : _ID_START + _ID_LENGTH].decode() for place in _places(rids, gone)}
        for place, made in (await _apart(looking, entity, rids, gone, ids)).items():
            found[place] = made.encode()
    return b",".join(found)


def _check(count: int, rids: Sequence[int] | BitMap) -> None:
    if count != len(rids):
        raise RuntimeError("a view shows records that are not there")


def _texts(
    looking: Looking, entity: Entity, rows: Sequence[tuple[int, str, str]], dates: Mapping[int, str],
    refs: records.References, fields: frozenset[str] | None, *, gone: BitMap,
) -> list[str]:  # fmt: skip
    """The JSON objects of rows; ``refs``: of those that are trimmed. For most grants that is joining texts."""
    projection, sees = looking.view.projections[entity.name], looking.view.sees
    if not gone and not refs and fields is None and projection.mode != "rewrite" and not projection.dangling:
        before, between, after, end = projection.render("\0", "\0", "\0", "").split("\0")
        return [f"{before}{sourced_id}{between}{dates[rid]}{after}{doc}{end}" for rid, sourced_id, doc in rows]
    return [
        scope.tombstone(sourced_id, dates[rid], fields=fields)
        if rid in gone
        else projection.render(sourced_id, dates[rid], doc, "", refs=refs.get(rid), sees=sees, fields=fields)
        for rid, sourced_id, doc in rows
    ]


def render(looking: Looking, entity: Entity, row: Row, fields: frozenset[str] | None) -> str:
    """The JSON object of one listed record that was read with its references."""
    view, projection = looking.of(entity.name), looking.view.projections[entity.name]
    (modified,) = view.stamps.texts([row.rid])
    if row.rid in view.gone:
        return scope.tombstone(row.sourced_id, modified, fields=fields)
    refs = row.references if row.rid in view.trimmed else None
    doc = spelled_out(row.doc) if entity.compact else row.doc
    return projection.render(
        row.sourced_id, modified, doc, row.doc_private, refs=refs, sees=looking.view.sees, fields=fields
    )


def styled(looking: Looking, entity: Entity) -> bool:
    """Whether the app wants objects of an entity otherwise than they are stored."""
    return looking.behaviour.booleans != "string" and bool(booleans(entity))


def in_style(looking: Looking, entity: Entity, texts: list[str]) -> list[str]:
    """The objects with truth written as the app wants it."""
    names = booleans(entity)
    return [json_booleans(names, text) for text in texts] if styled(looking, entity) else texts


def shows_private(looking: Looking, entity: Entity) -> bool:
    """Whether any member beside the directory ones shows."""
    return looking.view.projections[entity.name].private
