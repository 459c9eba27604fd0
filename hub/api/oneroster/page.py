"""From rids to the bytes of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from pyroaring import BitMap

from hub.api.oneroster.reading import Reading
from hub.scope import projection as scope
from hub.store import records
from hub.store.records import Row
from transforms.catalogue import BASE_NAMES, Entity, Privacy


def selected(reading: Reading, entity: Entity, fields: tuple[str, ...] | None) -> frozenset[str] | None:
    """The members that an answer is cut to; None for all of them.

    All of them too where one name is unknown or hidden, which the standard asks for.
    """
    if fields is None:
        return None
    known = reading.view.projections[entity.name].visible.union(BASE_NAMES)
    return frozenset(fields) if known.issuperset(fields) else None


async def documents(reading: Reading, entity: Entity, rids: Sequence[int], fields: frozenset[str] | None) -> list[str]:
    """The JSON objects of these listed records, in their order. Raises records.ClosedError."""
    view, projection = reading.of(entity.name), reading.view.projections[entity.name]
    private = shows_private(reading, entity)
    cut = view.trimmed & BitMap(rids) if view.trimmed else BitMap()
    whole = [rid for rid in rids if rid not in cut] if cut else rids
    modified = dict(zip(rids, view.stamps.texts(rids), strict=True))
    found: dict[int, str] = {}
    if whole:
        gone = view.gone
        for rid, sourced_id, doc, doc_private in await records.page(
            reading.tx, reading.gate, entity, whole, private=private
        ):
            if rid in gone:
                found[rid] = scope.tombstone(sourced_id, modified[rid], fields=fields)
            else:
                found[rid] = projection.render(sourced_id, modified[rid], doc, doc_private, fields=fields)
    if cut:
        names = projection.references
        for row in await records.trimmed(reading.tx, reading.gate, entity, list(cut), private=private, fields=names):
            found[row.rid] = render(reading, entity, row, fields)
    return [found[rid] for rid in rids]


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


def collection(envelope: str, documents_: Sequence[str], base: bytes) -> bytes:
    """The body of a collection; ``base`` takes the place of its mark."""
    text = f'{{"{envelope}":[{",".join(documents_)}]}}'
    return text.encode().replace(scope.BASE_MARK.encode(), base)


def single(envelope: str, document: str, base: bytes) -> bytes:
    """The body of a single read."""
    return f'{{"{envelope}":{document}}}'.encode().replace(scope.BASE_MARK.encode(), base)
