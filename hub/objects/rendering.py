"""From rids to the JSON objects of OneRoster 1.2, as one app sees them at one position."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import chain, islice

import numpy as np
from pyroaring import BitMap

from hub.objects.bases import Bases, addressed
from hub.objects.looking import Looking
from hub.scope import projection as scope
from hub.scope.identifiers import standing_in, without_head
from hub.scope.places import rename, starts
from hub.scope.projection import Projection
from hub.scope.v1p1 import booleans, json_booleans
from hub.store import people, records
from hub.store.people import USERS
from hub.store.records import Row
from transforms import spelling
from transforms.catalogue import Entity
from transforms.references import spelled_out

#: Stands for a date until it is known which: no JSON text has it, nor has it another meaning in documents.
_DATE = "\x1f"
_BETWEEN = "\x1e"  # no JSON text has it
#: From so many records of a compact entity on, their objects are made in columns: these cost some calls at the least.
_COLUMNS = 250
_METADATA = "metadata"
_ID_LENGTH = 36
_BEFORE, _END = scope.AROUND[0].encode(), scope.AROUND[-1].encode()
#: Where documents begin in records that PostgreSQL joined.
_START = _ID_LENGTH + sum(map(len, scope.AROUND[1:3])) + len("2026-01-01T00:00:00.000Z")


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
) -> tuple[bytes | memoryview, ...] | memoryview | None:
    """Like ``objects`` with all members, as bytes with commas between, in pieces.

    Records are joined by PostgreSQL; of those of which not all shows only the texts are changed. What these stand
    between stays in pieces, since each copy of a page takes as long as all else about it. Of many all are one piece, a
    memoryview, with the addresses of ``bases`` in their places. None where this is no way. Raises gate.ClosedError.
    """
    view, projection = looking.of(entity.name), looking.view.projections[entity.name]
    identifiers, wanted = looking.lens.identifiers, BitMap(rids)
    trimmed, gone, ordered = view.trimmed & wanted, view.gone & wanted, wanted.to_array()
    over = identifiers.written_over(entity) if identifiers.touches(entity) else None
    other_ids = over is None and identifiers.touches(entity)
    if other_ids or styled(looking, entity) or len(gone) * 2 > len(rids) or len(ordered) != len(rids):
        return None
    if over is not None or projection.mode == "rewrite" or ordered != array("I", rids):
        return await _one_by_one(looking, entity, rids, ordered, trimmed, gone)
    if entity.compact and len(rids) >= _COLUMNS and not projection.dangling:
        return await _in_columns(looking, entity, rids, trimmed | gone, bases)
    parts = await _joined(looking, entity, rids, trimmed, gone)
    if entity.compact:
        return (_BEFORE, *(spelled_out(bytes(part).decode()).encode() for part in parts), _END)
    return (_BEFORE, *parts, _END)


async def _one_by_one(
    looking: Looking, entity: Entity, rids: Sequence[int], ordered: Sequence[int], trimmed: BitMap, gone: BitMap
) -> tuple[bytes, ...] | None:
    """Like ``joined_objects`` where each object is changed, or they stand in another order than by rid."""
    projection, (before, _, _, end) = looking.view.projections[entity.name], scope.AROUND
    parts, changed = await _parts(looking, entity, ordered, trimmed, gone, _BETWEEN)
    text = b"".join(parts)
    text = spelled_out(text.decode()).encode() if entity.compact else text
    found = text.split(f"{end}{_BETWEEN}{before}".encode())
    shown = projection.all_members(found, _START)
    for rid, place in _places(ordered, trimmed | gone).items():
        shown[place] = changed[rid]
    if ordered != rids:
        shown = [shown[place] for place in np.searchsorted(np.asarray(ordered), np.asarray(rids)).tolist()]
    between = f"{end},{before}".encode()
    data = bytearray(before.encode() + between.join(shown) + end.encode())
    over = looking.lens.identifiers.written_over(entity)
    if over is not None and not rename(data, starts(shown, len(between)), over.of_blocks):
        return None
    return (bytes(data),)


async def _tombstones(looking: Looking, entity: Entity, ids: Mapping[int, str]) -> dict[int, str]:
    """By rid the objects of records that are gone, of which ``ids`` are the sourcedIds."""
    rids = list(ids)
    dates = looking.of(entity.name).stamps.texts(rids)
    texts = [scope.tombstone(ids[rid], date) for rid, date in zip(rids, dates, strict=True)]
    return dict(zip(rids, await pointing(looking, entity, rids, texts, None), strict=True))


async def _in_columns(looking: Looking, entity: Entity, rids: Sequence[int], apart: BitMap, bases: Bases) -> memoryview:
    """The objects of many records of a compact entity, with commas between; those ``apart`` are made apart."""
    view = looking.of(entity.name)
    private = shows_private(looking, entity)
    found = spelling.Records(
        await records.joined_bytes(looking.tx, looking.gate, entity, rids, spelling.BETWEEN, private=private)
    )
    _check(len(found), rids)
    common = view.stamps.common(rids)
    dates = view.stamps.column(rids) if common is None else common.encode()
    around = [text.encode() for text in scope.AROUND]
    made = found.objects(spelling.Around(*around), dates, dict(bases))
    if not apart:
        return made.joined({})
    gone = {rid: found.sourced_id(place) for rid, place in _places(rids, apart & view.gone).items()}
    others = await _tombstones(looking, entity, gone)
    if trimmed := list(apart - view.gone):
        others |= zip(trimmed, await _objects(looking, entity, trimmed, None), strict=True)
    places = _places(rids, apart)
    return made.joined({places[rid]: addressed(text.encode(), bases) for rid, text in others.items()})


def _places(rids: Sequence[int], some: BitMap) -> dict[int, int]:
    """Where some of the ascending ``rids`` are among them."""
    wanted = some.to_array()
    return dict(zip(wanted, np.searchsorted(np.asarray(rids), np.asarray(wanted)).tolist(), strict=True))


async def _joined(
    looking: Looking, entity: Entity, rids: Sequence[int], trimmed: BitMap, gone: BitMap
) -> Sequence[bytes | memoryview]:
    """The objects of records in texts that follow each other, of a compact entity with short references.

    What stands before the first one's sourcedId and behind the last one's document is left out.
    """
    projection = looking.view.projections[entity.name]
    parts, changed = await _parts(looking, entity, rids, trimmed, gone, _BETWEEN if projection.dangling else ",")
    for number, shown in enumerate(changed.values()):
        parts[2 * number + 1] = shown
    return _without_dangling(projection, parts) if projection.dangling else parts


async def _parts(
    looking: Looking, entity: Entity, rids: Sequence[int], trimmed: BitMap, gone: BitMap, separator: str
) -> tuple[list[bytes | memoryview], dict[int, bytes]]:  # fmt: skip
    """Records as they are stored, as ``records.Joined`` has them, and by ascending rid what shows of those apart."""
    view, projection = looking.of(entity.name), looking.view.projections[entity.name]
    apart = list(trimmed | gone if gone else trimmed)
    before, between, after, end = scope.AROUND
    date = view.stamps.common(rids)
    found = await records.joined(
        looking.tx, looking.gate, entity, rids, between + (date or _DATE) + after, end + separator + before,
        private=shows_private(looking, entity), apart=apart, fields=projection.references if trimmed else (),
    )  # fmt: skip
    _check(found.count, rids)
    _check(len(found.references), apart)  # without its references a record would show them all
    parts = found.parts if date else _dated(found.parts, view.stamps.texts(rids))
    stored = {rid: bytes(part) for rid, part in zip(apart, parts[1::2], strict=True)}
    told = await _tombstones(looking, entity, {rid: stored[rid][:_ID_LENGTH].decode() for rid in gone}) if gone else {}
    for rid, refs in found.references:
        if rid in told:
            stored[rid] = told[rid].removeprefix(before).removesuffix(end).encode()
        else:
            stored[rid] = _trimmed(projection, stored[rid], refs, looking.view.sees)
    return parts, stored


def _trimmed(projection: Projection, record: bytes, refs: Sequence[list[int]], sees: scope.Sees) -> bytes:
    """What shows of a stored record with these references."""
    shown = projection.trimmed(record, _START, refs, sees)
    if shown is not None:
        return shown
    by_field = dict(zip(projection.references, refs, strict=True))
    return record[:_START] + projection.members(record[_START:].decode(), "", refs=by_field, sees=sees).encode()


def _dated(parts: Sequence[bytes | memoryview], dates: Sequence[str]) -> list[bytes | memoryview]:
    """Texts with the dates of their records, in their order, in the places that are left for them."""
    left = (date.encode() for date in dates)
    made: list[bytes | memoryview] = []
    for part in parts:
        first, *others = bytes(part).split(_DATE.encode())
        pairs = zip(islice(left, len(others)), others, strict=True)
        made.append(b"".join((first, *chain.from_iterable(pairs))))
    return made


def _without_dangling(projection: Projection, parts: Sequence[bytes | memoryview]) -> list[bytes]:
    """The texts of ``_joined``, with the records changed in which there may be a member that does not show.

    Those that stand apart have been already.
    """
    dangling = [member.encode() for member in projection.dangling]
    before, *_, end = map(len, scope.AROUND)
    start = before + _START
    made = [bytes(part) for part in parts]
    for place in range(0, len(parts), 2):
        if not any(member in made[place] for member in dangling):
            continue
        # The first record of all begins with its id, as no other does, and the last one has no end.
        first, last = b"" if place else b" " * before, b"" if place + 1 < len(parts) else b" " * end
        found = (first + made[place] + last).split(_BETWEEN.encode())
        for number, record in enumerate(found):
            if any(member in record for member in dangling):
                shown = projection.members(record[start:-end].decode(), "")
                found[number] = record[:start] + shown.encode() + record[-end:]
        whole = _BETWEEN.encode().join(found)
        made[place] = whole[len(first) : len(whole) - len(last)]
    return [part.replace(_BETWEEN.encode(), b",") for part in made]


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
        before, between, after, end = scope.AROUND
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
