"""What became of a record, and what a district was at an earlier time, as plain values."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pyroaring import BitMap

from hub.errors import Code, HubError
from hub.scope.sets import unpack
from hub.store import asof, named
from hub.store import lives as store
from hub.store.asof import Row
from hub.store.database import Transaction
from hub.store.lives import Cause
from hub.sync.changes import members
from transforms.catalogue import CATALOGUE, Entity

#: Members that no record has in common with what it says: where it stands, and in what state.
_STATUS: Final = {True: "active", False: "tobedeleted"}


@dataclass(frozen=True, slots=True)
class Version:
    """A record from one position on. ``changed``: field to what it said before and says since; None for nothing.

    ``cause`` is None where the past is not kept; then ``changed`` has what the record said first.
    """

    position: int
    cause: Cause | None
    active: bool
    changed: Mapping[str, tuple[Any, Any]]


async def entity_of(tx: Transaction, sourced_id: UUID, entity: str | None) -> Entity:
    """The entity of a record; demographics, which share the ids of users, by name alone. Raises HubError(NOT_FOUND)."""
    found = entity or (await named.entities_of(tx, [str(sourced_id)])).get(str(sourced_id))
    if found is None:
        raise _unknown()
    return CATALOGUE[found]


def values(row: Row) -> dict[str, Any]:
    """A record's members by name: references as sourcedId and type, without the addresses that apps have."""
    found = {name: _bare(value) for name, value in members(row.doc, row.doc_private).items()}
    return {"sourcedId": row.sourced_id, "status": _STATUS[row.active], **found}


def _bare(value: Any) -> Any:
    if isinstance(value, list):
        return [_bare(each) for each in value]
    if isinstance(value, dict):
        return {name: _bare(each) for name, each in value.items() if name != "href"}
    return value


async def versions(
    tx: Transaction, entity: Entity, sourced_id: UUID, *, before: int | None, limit: int
) -> list[Version]:
    """A record's versions, newest first; ``before``: those that began before the version of that position.

    Raises HubError(NOT_FOUND).
    """
    newest = await store.now(tx, entity, sourced_id)
    if newest is None:
        raise _unknown()
    images = await store.images(tx, entity, newest, up_to=before, limit=limit + 1)
    if before is not None:
        if not images or images[0][0] != before:
            return []
        newest = images.pop(0)[1]
    found: list[tuple[int, Row | None, Row]] = []
    for position, image in images[:limit]:
        found.append((position, image, newest))
        newest = image
    if len(found) < limit and (made := await _made(tx, entity, newest.rid, found[-1][0] if found else before)):
        found.append((made, None, newest))
    causes = await store.causes(tx, entity, [position for position, *_ in found])
    return [Version(p, causes.get(p), after.active, _changed(old, after)) for p, old, after in found]


async def _made(tx: Transaction, entity: Entity, rid: int, before: int | None) -> int | None:
    """The position that made a record, if its past is kept so far."""
    logs = await store.created(tx, entity, before)
    return await asyncio.to_thread(
        lambda: next((position for position, created in logs if rid in unpack(created)), None)
    )


def _changed(before: Row | None, after: Row) -> dict[str, tuple[Any, Any]]:
    old, new = values(before) if before else {}, values(after)
    names = [*new, *(name for name in old if name not in new)]
    return {n: (old.get(n), new.get(n)) for n in names if n != "sourcedId" and old.get(n) != new.get(n)}


async def position_at(tx: Transaction, at: datetime) -> int:
    """The district's position at a time. Raises HubError(PAST_GONE) when its records of then are not kept any more."""
    moment = await asof.moment(tx, at)
    if moment.position < moment.kept_from:
        raise HubError(Code.PAST_GONE, "What the records said then is not kept any more. Ask for a later time.")
    return moment.position


async def made_later(tx: Transaction, entity: Entity, position: int) -> BitMap:
    """The records that did not exist at a position."""
    return BitMap().union(*map(unpack, await asof.created_after(tx, entity, position)))


async def records_at(tx: Transaction, entity: Entity, position: int, *, after: int, limit: int) -> Sequence[Row]:
    """Records that were active at a position, by rid."""
    later = await made_later(tx, entity, position)
    return await asof.page(tx, entity, position, later=list(later), after=after, limit=limit)


async def record_at(tx: Transaction, entity: Entity, position: int, sourced_id: UUID) -> Row:
    """One record at a position, ended or not. Raises HubError(NOT_FOUND) where there was none."""
    row = await asof.one(tx, entity, position, sourced_id)
    if row is None or row.rid in await made_later(tx, entity, position):
        raise _unknown()
    return row


def _unknown() -> HubError:
    return HubError(Code.NOT_FOUND, "There is no such object.")
