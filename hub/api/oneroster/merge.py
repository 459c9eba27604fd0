"""Records of several districts in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hub.api.oneroster.reading import Reading
from hub.store import conditions as sql
from hub.store import gate
from hub.store.conditions import Expression
from transforms.catalogue import CATALOGUE, Entity, Kind


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record of one district (``part``: its number) with what it sorts by; None for no value."""

    part: int
    rid: int
    key: Any


async def candidates(
    reading: Reading, entity: Entity, path: tuple[str, ...] | None, rids: Sequence[int], part: int
) -> list[Candidate]:
    """The first records of one district, which come in its own order. Raises gate.ClosedError."""
    keys: dict[int, Any] = {}
    if path is not None and rids:
        own = await reading.sort_keys(entity, path, rids)
        keys = await usual_keys(reading, entity, path, rids) if own is None else own
    else:
        await gate.check(reading.tx, reading.gate)
    return [Candidate(part, rid, keys.get(rid)) for rid in rids]


def merged(found: Sequence[Candidate], *, descending: bool) -> list[Candidate]:
    """All of them in order; equal ones stay as they came, those without a value come last."""
    valued = sorted((c for c in found if c.key is not None), key=lambda c: c.key, reverse=descending)
    return valued + [c for c in found if c.key is None]


async def usual_keys(reading: Reading, entity: Entity, path: tuple[str, ...], rids: Sequence[int]) -> dict[int, Any]:
    """What records sort by, by rid, in a field that all versions have alike."""
    view = reading.then(entity.name)
    match path[0]:
        case "status":
            return {rid: "active" if rid in view.present else "tobedeleted" for rid in rids}
        case "dateLastModified":
            return dict(zip(rids, view.stamps.of(rids), strict=True))
        case "sourcedId":
            return await as_shown(reading, entity, await reading.keys(entity, sql.sourced_id(), rids))
        case _:
            found = await reading.keys(entity, _expression(reading, entity, path), rids)
            found = {rid: key for rid, key in found.items() if rid in view.present}
            target = entity[path[0]].target
            return found if target is None else await as_shown(reading, CATALOGUE[target], found)


async def as_shown(reading: Reading, entity: Entity, ids: dict[int, Any]) -> dict[int, Any]:
    """Canonical ids of an entity's records, by whatever they are for, as the app knows them."""
    identifiers = reading.lens.identifiers
    if not identifiers.renames and entity.name not in identifiers.own:
        return ids
    names = await identifiers.names(reading.tx, ids.values())
    return {rid: names.get(id_, id_) for rid, id_ in ids.items()}


def _expression(reading: Reading, entity: Entity, path: tuple[str, ...]) -> Expression:
    field = entity[path[0]]
    if field.kind is Kind.METADATA:
        return sql.metadata_order(path[1])
    if field.kind is Kind.REF:
        target = CATALOGUE[field.target or ""]
        return sql.id_of(field, target, list(reading.present(target)))  # one that leads outside is no value
    return sql.order(field, reading.column(entity, field))
