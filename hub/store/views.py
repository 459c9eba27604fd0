"""Reading a grant as the API needs it: which one an app holds, and its view with the feed that dates it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.store import grants
from hub.store.database import Transaction
from hub.store.gradebook import WRITTEN
from hub.store.grants import Entry, Grant, Sets


@dataclass(frozen=True, slots=True)
class Held:
    """The grant that an app holds, or held last; ``open`` where both it and its district are active.

    ``behaviour`` and ``limits`` are the app's, see hub.behaviour and hub.api.limits. ``own``: the entities of which it
    calls some objects by ids of its own, true while the grant is at this position: what an app writes moves it.
    """

    grant: Grant
    open: bool
    behaviour: dict[str, Any]
    limits: dict[str, Any]
    own: frozenset[str]


@dataclass(frozen=True, slots=True)
class Dated:
    """One entry of a feed with its place in it."""

    step: int
    position: int
    at: datetime
    entry: Entry


@dataclass(frozen=True, slots=True)
class Stored:
    """A grant with its sets by entity, the users who had several roles, and its feed, all of one moment."""

    grant: Grant
    sets: dict[str, Sets]
    extra_roles: list[tuple[int, str, bytes]]
    feed: list[Dated]


_COLUMNS = ", ".join(f"g.{name}" for name in Grant.__dataclass_fields__)
#: A look into an index for each entity that apps write.
_OWN = (
    "ARRAY(SELECT e FROM unnest($3::text[]) e WHERE EXISTS (SELECT FROM gradebook_objects o "
    "WHERE o.district_id = $1 AND o.app_id = $2 AND o.entity = e AND o.key IS NOT NULL))"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A district in which an app holds something, and what."""

    district_id: UUID
    name: str
    held: Held


_HELD = (
    f"SELECT {_COLUMNS}, d.state AS district_state, a.behaviour, a.limits FROM grants g "
    "JOIN districts d ON d.district_id = g.district_id JOIN apps a ON a.app_id = g.app_id "
)


async def held(tx: Transaction, app_id: UUID) -> Held | None:
    """What an app holds in this district; None where it never held anything, as in a district that does not exist."""
    row = await tx.fetchrow(
        _HELD.replace(" FROM", f", {_OWN} AS own FROM", 1)
        + "WHERE g.district_id = $1 AND g.app_id = $2 ORDER BY g.state = 'revoked', g.changed_at DESC LIMIT 1",
        tx.district_id, app_id, list(WRITTEN),
    )  # fmt: skip
    if row is None:
        return None
    values = dict(row)
    own = frozenset(values.pop("own"))
    return _held(values, own)


async def held_everywhere(tx: Transaction, app_id: UUID) -> list[Place]:
    """What an app holds, by district, in the order of their ids; ``tx`` is of the app.

    That sees no objects, so each district is one in which the app may have chosen ids.
    """
    rows = await tx.fetch(
        _HELD.replace("SELECT ", "SELECT DISTINCT ON (g.district_id) g.district_id, d.name, ", 1)
        + "WHERE g.app_id = $1 ORDER BY g.district_id, g.state = 'revoked', g.changed_at DESC", app_id,
    )  # fmt: skip
    places = []
    for row in rows:
        values = dict(row)
        district_id, name = values.pop("district_id"), values.pop("name")
        places.append(Place(district_id, name, _held(values, frozenset(WRITTEN))))
    return places


def _held(values: dict[str, Any], own: frozenset[str]) -> Held:
    active = values.pop("district_state") == "active"
    behaviour, limits = values.pop("behaviour"), values.pop("limits")
    grant = Grant(**values)
    return Held(grant, active and grant.state == "active", behaviour, limits, own)


async def load(tx: Transaction, grant_id: UUID) -> Stored:
    """A grant, its sets and its whole feed. ``tx`` has asked nothing yet. Raises HubError(NOT_FOUND)."""
    # Four statements that must see one moment: a sync may commit between them.
    await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    grant = await grants.get(tx, grant_id)
    sets, extra_roles = await grants.views(tx, grant_id), await grants.extra_roles(tx, grant_id)
    return Stored(grant, sets, extra_roles, await feed(tx, grant_id))


async def load_since(tx: Transaction, grant_id: UUID, after: int) -> Stored:
    """Like ``load``, with the sets that were stored and the entries that were made after a position alone."""
    await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    grant = await grants.get(tx, grant_id)
    sets, extra_roles = await grants.views(tx, grant_id, after=after), await grants.extra_roles(tx, grant_id)
    return Stored(grant, sets, extra_roles, await feed(tx, grant_id, after=after))


async def feed(tx: Transaction, grant_id: UUID, *, after: int = 0, to: int | None = None) -> list[Dated]:
    """A grant's feed, oldest entry first: those after a position, no further than the position ``to``."""
    rows = await tx.fetch(
        "SELECT step, position, at, entity, entered, updated, departed FROM feed "
        "WHERE district_id = $1 AND grant_id = $2 AND position > $3 "
        "AND ($4::bigint IS NULL OR position <= $4) ORDER BY position",
        tx.district_id, grant_id, after, to,
    )  # fmt: skip
    return [Dated(row[0], row[1], row[2], Entry(row[3], row[4], row[5], row[6])) for row in rows]
