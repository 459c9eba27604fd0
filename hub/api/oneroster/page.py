"""From rids to the bytes of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import polars as pl
from pyroaring import BitMap

from hub.api.oneroster.reading import Reading
from hub.scope import projection as scope
from hub.scope.identifiers import standing_in, without_head
from hub.scope.projection import Projection
from hub.scope.v1p1 import booleans, json_booleans
from hub.store import records
from hub.store.records import Row
from transforms import spelling
from transforms.catalogue import Entity
from transforms.render import SHORT, spelled_out

#: The bytes that stand for the services' addresses in documents, and these addresses.
Bases = Sequence[tuple[bytes, bytes]]
#: Stands for a date until it is known which: no JSON text has it, nor has it another meaning in documents.
_DATE = "\x1f"
_BETWEEN = "\x1e"  # no JSON text has it
#: From so many records of a compact entity on, their objects are made in columns: these cost some calls at the least.
_COLUMNS = 250
_ID_START, _ID_LENGTH = len('{"sourcedId":"'), 36


async def objects(reading: Reading, entity: Entity, rids: Sequence[int], fields: frozenset[str] | None) -> list[str]:
    """The JSON objects of these listed records, in their order, with the ids that the app knows.

    Raises records.ClosedError.
    """
    return await named(
        reading, entity, await _objects(reading, entity, rids, rendered(reading, entity, fields)), fields
    )


def rendered(reading: Reading, entity: Entity, fields: frozenset[str] | None) -> frozenset[str] | None:
    """The members to render before ``named``: with the id, where it may stand in for another one that was asked for."""
    needs_id = fields is not None and reading.pseudonymous and not fields.isdisjoint(standing_in(entity))
    return fields | {"sourcedId"} if needs_id and fields is not None else fields


async def named(reading: Reading, entity: Entity, texts: list[str], fields: frozenset[str] | None) -> list[str]:
    """Objects with the ids that the app knows and, as ``fields`` has it, without their own."""
    shown = await reading.named(entity, texts)
    extra = rendered(reading, entity, fields) != fields and fields is not None and "sourcedId" not in fields
    return [without_head(text) for text in shown] if extra else shown


async def _objects(reading: Reading, entity: Entity, rids: Sequence[int], fields: frozenset[str] | None) -> list[str]:
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    private = shows_private(reading, entity)
    wanted = BitMap(rids)
    cut = view.trimmed & wanted
    found: dict[int, str] = {}
    if cut:
        names = projection.references
        for row in await records.trimmed(reading.tx, reading.gate, entity, list(cut), private=private, fields=names):
            found[row.rid] = render(reading, entity, row, fields)
    whole = [rid for rid in rids if rid not in cut] if cut else rids
    if whole:
        rows = await records.page(reading.tx, reading.gate, entity, whole, private=private)
        if entity.compact:
            rows = [(rid, sourced_id, spelled_out(doc)) for rid, sourced_id, doc in rows]
        dates = dict(zip(whole, view.stamps.texts(whole), strict=True))
        texts = _texts(projection, rows, dates, view.gone & wanted, fields)
        if [row[0] for row in rows] == rids:
            return texts
        found |= zip([row[0] for row in rows], texts, strict=True)
    return [found[rid] for rid in rids]


async def joined_objects(
    reading: Reading, entity: Entity, rids: Sequence[int], bases: Bases
) -> list[str] | bytes | None:
    """Like ``objects`` with all members; a text may hold several, with commas between. None where this is no way.

    Records of which all shows are joined by PostgreSQL, those that need a look of their own come in between. Bytes are
    all objects, with the addresses of ``bases`` in their places. Raises records.ClosedError.
    """
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    wanted = BitMap(rids)
    apart = (view.trimmed | view.gone) & wanted
    special = projection.mode == "rewrite" or reading.lens.identifiers.touches(entity) or styled(reading, entity)
    if special or len(apart) * 2 > len(rids) or list(wanted) != list(rids):
        return None
    if entity.compact and len(rids) >= _COLUMNS and not projection.dangling:
        made = await _in_columns(reading, entity, rids, bases)
        if not apart:
            return bytes(made.str.join(",").cast(pl.Binary).item())
        found = made.to_list()
    else:
        text = await _joined(reading, entity, rids)
        if not apart:
            return [text.replace(_BETWEEN, ",")]
        found = text.split(_BETWEEN)
    places = {rid: place for place, rid in enumerate(rids) if rid in apart}
    gone = list(apart & view.gone)
    for rid, date in zip(gone, view.stamps.texts(gone), strict=True):
        found[places[rid]] = scope.tombstone(found[places[rid]][_ID_START : _ID_START + _ID_LENGTH], date)
    rest = list(apart - view.gone)
    for rid, made_apart in zip(rest, await _objects(reading, entity, rest, None) if rest else (), strict=True):
        found[places[rid]] = made_apart
    return found


async def _in_columns(reading: Reading, entity: Entity, rids: Sequence[int], bases: Bases) -> pl.Series:
    """The objects of many records of a compact entity, as if all of them showed."""
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    around = (spelling.MARK + SHORT, SHORT, "")
    private = shows_private(reading, entity)
    count, text = await records.joined(reading.tx, reading.gate, entity, rids, around, SHORT, private=private)
    _check(count, rids)
    dates = view.stamps.common(rids) or view.stamps.column(rids)
    before, between, after, end = projection.render("\0", "\0", "\0", "").split("\0")
    addresses = {mark.decode(): base.decode() for mark, base in bases}
    return spelling.objects(text, count, (before, between, after, end), dates, addresses)


async def _joined(reading: Reading, entity: Entity, rids: Sequence[int]) -> str:
    """The objects of records as if all of them showed, with ``_BETWEEN`` between."""
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    date = view.stamps.common(rids)
    before, between, after, end = projection.render("\0", "\0", "\0", "").split("\0")
    around = before, between + (date or _DATE) + after, end
    private = shows_private(reading, entity)
    count, text = await records.joined(reading.tx, reading.gate, entity, rids, around, _BETWEEN, private=private)
    _check(count, rids)
    if any(member in text for member in projection.dangling):
        start = sum(map(len, around[:2])) + _ID_LENGTH
        text = _BETWEEN.join(_cleaned(projection, record, start, end) for record in text.split(_BETWEEN))
    if date is None:
        text = "".join(chain.from_iterable(zip(text.split(_DATE), [*view.stamps.texts(rids), ""], strict=True)))
    return spelled_out(text) if entity.compact else text


def _check(count: int, rids: Sequence[int]) -> None:
    if count != len(rids):
        raise RuntimeError("a view shows records that are not there")


def _cleaned(projection: Projection, text: str, start: int, end: str) -> str:
    """One of the objects that PostgreSQL made, without what dangles; its document begins at ``start``."""
    if not any(member in text for member in projection.dangling):
        return text
    return f"{text[:start]}{projection.members(text[start : len(text) - len(end)], '')}{end}"


def _texts(
    projection: Projection, rows: Sequence[tuple[int, str, str]], dates: Mapping[int, str], gone: BitMap,
    fields: frozenset[str] | None,
) -> list[str]:  # fmt: skip
    """The JSON objects of rows whose references all show; for most grants that is joining texts."""
    if not gone and fields is None and projection.mode != "rewrite" and not projection.dangling:
        before, between, after, end = projection.render("\0", "\0", "\0", "").split("\0")
        return [f"{before}{sourced_id}{between}{dates[rid]}{after}{doc}{end}" for rid, sourced_id, doc in rows]
    return [
        scope.tombstone(sourced_id, dates[rid], fields=fields)
        if rid in gone
        else projection.render(sourced_id, dates[rid], doc, "", fields=fields)
        for rid, sourced_id, doc in rows
    ]


def render(reading: Reading, entity: Entity, row: Row, fields: frozenset[str] | None) -> str:
    """The JSON object of one listed record that was read with its references."""
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    (modified,) = view.stamps.texts([row.rid])
    if row.rid in view.gone:
        return scope.tombstone(row.sourced_id, modified, fields=fields)
    refs = row.references if row.rid in view.trimmed else None
    doc = spelled_out(row.doc) if entity.compact else row.doc
    return projection.render(
        row.sourced_id, modified, doc, row.doc_private, refs=refs, sees=reading.view.sees, fields=fields
    )


def styled(reading: Reading, entity: Entity) -> bool:
    """Whether the app wants objects of an entity otherwise than they are stored."""
    return reading.behaviour.booleans != "string" and bool(booleans(entity))


def in_style(reading: Reading, entity: Entity, texts: list[str]) -> list[str]:
    """The objects with truth written as the app wants it."""
    names = booleans(entity)
    return [json_booleans(names, text) for text in texts] if styled(reading, entity) else texts


def shows_private(reading: Reading, entity: Entity) -> bool:
    """Whether any member beside the directory ones shows."""
    return reading.view.projections[entity.name].private


def collection(envelope: str, objects_: Sequence[str] | bytes, bases: Bases, more: str = "") -> bytes:
    """The body of a collection; the addresses in ``bases`` take the places of their bytes.

    ``more`` is empty, or members beside the envelope's, with a comma before them.
    """
    if isinstance(objects_, bytes):
        return b'{"%b":[%b]%b}' % (envelope.encode(), objects_, more.encode())
    return _addressed(f'{{"{envelope}":[{",".join(objects_)}]{more}}}'.encode(), bases)


def joined(objects_: Sequence[str], bases: Bases) -> bytes:
    """Objects with commas between."""
    return _addressed(",".join(objects_).encode(), bases)


def single(envelope: str, document: str, bases: Bases, more: str = "") -> bytes:
    """The body of a single read, with ``more`` as in ``collection``."""
    return _addressed(f'{{"{envelope}":{document}{more}}}'.encode(), bases)


def _addressed(body: bytes, bases: Bases) -> bytes:
    for mark, base in bases:
        body = body.replace(mark, base)
    return body
