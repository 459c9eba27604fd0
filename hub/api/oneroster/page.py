"""From rids to the bytes of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyroaring import BitMap

from hub.api.oneroster.reading import Reading
from hub.scope import projection as scope
from hub.scope.projection import Projection
from hub.store import records
from hub.store.records import Frame, Row
from transforms.catalogue import BASE_NAMES, Entity, Privacy
from transforms.render import spelled_out

_MARK = scope.BASE_MARK.encode()


def selected(reading: Reading, entity: Entity, fields: tuple[str, ...] | None) -> frozenset[str] | None:
    """The members that an answer is cut to; None for all of them.

    All of them too where one name is unknown or hidden, which the standard asks for.
    """
    if fields is None:
        return None
    known = reading.view.projections[entity.name].visible.union(BASE_NAMES)
    return frozenset(fields) if known.issuperset(fields) else None


async def objects(
    reading: Reading, entity: Entity, rids: Sequence[int], fields: frozenset[str] | None, *, ascending: bool
) -> bytes:
    """The JSON objects of these listed records in their order, with commas between. Raises records.ClosedError.

    The usual page is put together in PostgreSQL from what is stored: records in the order of their rids, of one date,
    of which nothing is left out. Others are looked at one by one.
    """
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    wanted = BitMap(rids)
    cut = view.trimmed & wanted
    modified = view.stamps.texts(rids)
    plain = fields is None and projection.mode != "rewrite" and len(projection.dangling) <= 1
    if plain and ascending and not cut and len(set(modified)) == 1 and view.gone.isdisjoint(wanted):
        frame = _frame(projection, modified[0])
        private = shows_private(reading, entity)
        text = await records.page_text(reading.tx, reading.gate, entity, rids, frame, private=private)
        if text is not None:
            return spelled_out(text.decode()).encode() if entity.compact else text
    dates = dict(zip(rids, modified, strict=True))
    return ",".join(await _rendered(reading, entity, dates, cut, fields)).encode()


def _frame(projection: Projection, modified: str) -> Frame:
    """How the projection writes a record that it shows as it is stored."""
    before, between = projection.render("\0", modified, "", "").split("\0")
    return Frame(before, between[:-1], between[-1:], "".join(projection.dangling))


async def _rendered(
    reading: Reading, entity: Entity, dates: Mapping[int, str], cut: BitMap, fields: frozenset[str] | None
) -> list[str]:
    """The JSON objects one by one, in the order of ``dates``; those in ``cut`` with their references filtered."""
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    private = shows_private(reading, entity)
    whole = [rid for rid in dates if rid not in cut]
    found: dict[int, str] = {}
    if whole:
        for rid, sourced_id, doc, doc_private in await records.page(
            reading.tx, reading.gate, entity, whole, private=private
        ):
            if rid in view.gone:
                found[rid] = scope.tombstone(sourced_id, dates[rid], fields=fields)
            else:
                found[rid] = projection.render(sourced_id, dates[rid], doc, doc_private, fields=fields)
    if cut:
        names = projection.references
        for row in await records.trimmed(reading.tx, reading.gate, entity, list(cut), private=private, fields=names):
            found[row.rid] = render(reading, entity, row, fields)
    return [found[rid] for rid in dates]


def render(reading: Reading, entity: Entity, row: Row, fields: frozenset[str] | None) -> str:
    """The JSON object of one listed record that was read with its references."""
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    (modified,) = view.stamps.texts([row.rid])
    if row.rid in view.gone:
        return scope.tombstone(row.sourced_id, modified, fields=fields)
    refs = row.references if row.rid in view.trimmed else None
    return projection.render(
        row.sourced_id, modified, row.doc, row.doc_private, refs=refs, sees=reading.view.sees, fields=fields
    )


def shows_private(reading: Reading, entity: Entity) -> bool:
    """Whether any member beside the directory ones shows."""
    visible = reading.view.projections[entity.name].visible
    return any(f.privacy is not Privacy.DIRECTORY for f in entity.body if f.name in visible)


def collection(envelope: str, objects_: bytes, base: bytes) -> bytes:
    """The body of a collection; ``base`` takes the place of its mark."""
    return b'{"%b":[%b]}' % (envelope.encode(), objects_.replace(_MARK, base))


def single(envelope: str, document: str, base: bytes) -> bytes:
    """The body of a single read."""
    return b'{"%b":%b}' % (envelope.encode(), document.encode().replace(_MARK, base))
