"""Grants, the views that they give, and their feeds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Grant:
    """A district's permission for one app. ``definition`` is the JSON of hub.scope.grants.GrantDefinition.

    ``id_key``: the sealed key of the pseudonyms by which the app knows records; ``source_ids``: the source by whose ids
    it knows them (hub.store.shown_ids). At most one of them is there; without, it knows them by the hub's own ids.
    ``defined_at``: the district's position at which it was last edited, 0 where it never was. ``feed_from``: the first
    step that its feed can be read on from.
    """

    grant_id: UUID
    app_id: UUID
    definition: dict[str, Any]
    state: str
    position: int
    created_at: datetime
    changed_at: datetime
    id_key: bytes | None = field(default=None, repr=False)
    defined_at: int = 0
    feed_from: int = 0
    source_ids: UUID | None = None

    @property
    def pseudonymous_ids(self) -> bool:
        """Whether the app is shown ids of its own."""
        return self.id_key is not None


@dataclass(frozen=True, slots=True)
class Sets:
    """The serialized bitmaps of one entity of a view."""

    present: bytes
    gone: bytes
    trimmed: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One feed entry: what changed in one entity of a view at one position, as serialized bitmaps."""

    entity: str
    entered: bytes
    updated: bytes
    departed: bytes


_COLUMNS = (
    "grant_id, app_id, definition, state, position, created_at, changed_at, id_key, defined_at, feed_from, source_ids"
)


async def create(
    tx: Transaction, grant_id: UUID, *, app_id: UUID, definition: dict[str, Any], id_key: bytes | None = None,
    source_ids: UUID | None = None,
) -> Grant:  # fmt: skip
    """Adds a grant with an empty view. ``id_key``, which is sealed, and ``source_ids`` stay what they are.

    Raises HubError(CONFLICT) when the app holds one in this district already.
    """
    row = await tx.fetchrow(
        "INSERT INTO grants (district_id, grant_id, app_id, definition, id_key, source_ids) "
        f"VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}",
        tx.district_id, grant_id, app_id, definition, id_key, source_ids,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.CONFLICT, "This app holds a grant in this district already. Edit that one.")
    return Grant(**row)


async def get(tx: Transaction, grant_id: UUID) -> Grant:
    """One grant. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM grants WHERE district_id = $1 AND grant_id = $2", tx.district_id, grant_id
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such grant.")
    return Grant(**row)


async def of_app(tx: Transaction, app_id: UUID) -> Grant | None:
    """The active grant of an app in this district."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM grants WHERE district_id = $1 AND app_id = $2 AND state = 'active'",
        tx.district_id,
        app_id,
    )
    return Grant(**row) if row else None


async def listing(tx: Transaction, *, living: bool = False) -> list[Grant]:
    """All grants of the district, oldest first; ``living`` leaves out revoked ones."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM grants WHERE district_id = $1 AND (NOT $2 OR state <> 'revoked') "
        "ORDER BY created_at, grant_id",
        tx.district_id, living,
    )  # fmt: skip
    return [Grant(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Head:
    """A grant without its sets. ``versions``: entity to the position at which its sets were stored."""

    grant_id: UUID
    app_id: UUID
    position: int
    changed_at: datetime
    definition: dict[str, Any] | None
    versions: dict[str, int]


async def living(tx: Transaction, known: Collection[tuple[UUID, datetime]]) -> list[Head]:
    """All grants that are not revoked, oldest first.

    The definition is None for those in ``known``, pairs of a grant and its changed_at: definitions may be large.
    """
    rows = await tx.fetch(
        "SELECT g.grant_id, g.app_id, g.position, g.changed_at, "
        "CASE WHEN k.grant_id IS NULL THEN g.definition END AS definition, "
        "(SELECT coalesce(jsonb_object_agg(v.entity, v.position), '{}') FROM views v "
        "WHERE v.district_id = g.district_id AND v.grant_id = g.grant_id) AS versions FROM grants g "
        "LEFT JOIN unnest($2::uuid[], $3::timestamptz[]) k(grant_id, changed_at) USING (grant_id, changed_at) "
        "WHERE g.district_id = $1 AND g.state <> 'revoked' ORDER BY g.created_at, g.grant_id",
        tx.district_id, [grant_id for grant_id, _ in known], [at for _, at in known],
    )  # fmt: skip
    return [Head(**row) for row in rows]


async def some_views(tx: Transaction, wanted: Collection[tuple[UUID, str]]) -> dict[tuple[UUID, str], Sets]:
    """The sets of these (grant, entity)."""
    rows = await tx.fetch(
        "SELECT v.grant_id, v.entity, v.present, v.gone, v.trimmed FROM unnest($2::uuid[], $3::text[]) w(g, e) "
        "JOIN views v ON v.district_id = $1 AND v.grant_id = w.g AND v.entity = w.e",
        tx.district_id, [grant_id for grant_id, _ in wanted], [entity for _, entity in wanted],
    )  # fmt: skip
    return {(row["grant_id"], row["entity"]): Sets(row["present"], row["gone"], row["trimmed"]) for row in rows}


async def redefine(tx: Transaction, grant_id: UUID, definition: dict[str, Any], position: int) -> None:
    """Changes the definition at a position of the district."""
    await tx.execute(
        "UPDATE grants SET definition = $3, defined_at = $4, changed_at = now() "
        "WHERE district_id = $1 AND grant_id = $2",
        tx.district_id, grant_id, definition, position,
    )  # fmt: skip


async def set_state(tx: Transaction, grant_id: UUID, state: str) -> Grant:
    """Changes the state. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        "UPDATE grants SET state = $3, changed_at = now() "
        f"WHERE district_id = $1 AND grant_id = $2 RETURNING {_COLUMNS}",
        tx.district_id, grant_id, state,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such grant.")
    return Grant(**row)


async def views(tx: Transaction, grant_id: UUID, *, after: int = -1) -> dict[str, Sets]:
    """The sets of a grant at its position, by entity: all, or those that were stored after a position."""
    rows = await tx.fetch(
        "SELECT entity, present, gone, trimmed FROM views WHERE district_id = $1 AND grant_id = $2 AND position > $3",
        tx.district_id, grant_id, after,
    )  # fmt: skip
    return {row["entity"]: Sets(row["present"], row["gone"], row["trimmed"]) for row in rows}


async def views_of(tx: Transaction, grant_ids: Sequence[UUID]) -> dict[UUID, dict[str, Sets]]:
    """The sets of some grants at their positions, by grant and entity."""
    rows = await tx.fetch(
        "SELECT grant_id, entity, present, gone, trimmed FROM views "
        "WHERE district_id = $1 AND grant_id = ANY($2::uuid[])",
        tx.district_id, grant_ids,
    )  # fmt: skip
    found: dict[UUID, dict[str, Sets]] = {}
    for row in rows:
        found.setdefault(row["grant_id"], {})[row["entity"]] = Sets(row["present"], row["gone"], row["trimmed"])
    return found


async def several_roles_of(tx: Transaction, grant_ids: Sequence[UUID]) -> dict[UUID, list[tuple[str, bytes]]]:
    """By grant, what ``extra_roles`` has of some, without positions."""
    rows = await tx.fetch(
        "SELECT grant_id, role, people FROM extra_roles WHERE district_id = $1 AND grant_id = ANY($2::uuid[])",
        tx.district_id, grant_ids,
    )  # fmt: skip
    found: dict[UUID, list[tuple[str, bytes]]] = {}
    for row in rows:
        found.setdefault(row["grant_id"], []).append((row["role"], row["people"]))
    return found


async def extra_roles(tx: Transaction, grant_id: UUID) -> list[tuple[int, str, bytes]]:
    """Positions, each with a role and the serialized set of users whom the app was first shown with it there.

    Roles that users are known by do not count.
    """
    rows = await tx.fetch(
        "SELECT position, role, people FROM extra_roles WHERE district_id = $1 AND grant_id = $2 ORDER BY position",
        tx.district_id, grant_id,
    )  # fmt: skip
    return [(row["position"], row["role"], row["people"]) for row in rows]


#: What moves a view: a sync, an edit of the grant, or what apps write into the gradebook.
Cause = Literal["sync", "grant", "gradebook"]


@dataclass(frozen=True, slots=True)
class Move:
    """What a change does to one grant: sets to store, entries for its feed, and whom ``extra_roles`` gets, by role."""

    grant_id: UUID
    sets: Mapping[str, Sets]
    entries: list[Entry]
    extra_roles: Mapping[str, bytes] = field(default_factory=dict)


async def move(
    tx: Transaction, position: int, moves: Sequence[Move], *, at: datetime, run_id: UUID | None, cause: Cause
) -> None:
    """Moves grants to ``position``: stores their sets and feed entries. The caller holds the district's lock.

    A move with entries is a step of the grant's feed, of which the clock does not go back.
    """
    if roles := [(m.grant_id, role, people) for m in moves for role, people in m.extra_roles.items()]:
        await tx.execute(
            "INSERT INTO extra_roles (district_id, grant_id, role, position, people) "
            "SELECT $1, n.grant_id, n.role, $2, n.people "
            "FROM unnest($3::uuid[], $4::text[], $5::bytea[]) n(grant_id, role, people)",
            tx.district_id, position, *zip(*roles, strict=True),
        )  # fmt: skip
    if sets := [(m.grant_id, e, s.present, s.gone, s.trimmed) for m in moves for e, s in m.sets.items()]:
        await tx.execute(
            "INSERT INTO views (district_id, grant_id, entity, position, present, gone, trimmed) "
            "SELECT $1, n.grant_id, n.entity, $2, n.present, n.gone, n.trimmed FROM unnest($3::uuid[], $4::text[], "
            "$5::bytea[], $6::bytea[], $7::bytea[]) n(grant_id, entity, present, gone, trimmed) "
            "ON CONFLICT (district_id, grant_id, entity) DO UPDATE SET position = EXCLUDED.position, "
            "present = EXCLUDED.present, gone = EXCLUDED.gone, trimmed = EXCLUDED.trimmed",
            tx.district_id, position, *zip(*sets, strict=True),
        )  # fmt: skip
    if entries := [(m.grant_id, e.entity, e.entered, e.updated, e.departed) for m in moves for e in m.entries]:
        await tx.execute(
            "INSERT INTO feed "
            "(district_id, grant_id, position, step, entity, at, run_id, cause, entered, updated, departed) "
            "SELECT $1, n.grant_id, $2, g.steps + 1, n.entity, greatest($3, g.at), $4, $5, n.entered, n.updated, "
            "n.departed FROM unnest($6::uuid[], $7::text[], $8::bytea[], $9::bytea[], $10::bytea[]) "
            "n(grant_id, entity, entered, updated, departed) JOIN (SELECT o.grant_id, o.steps, (SELECT max(f.at) "
            "FROM feed f WHERE f.district_id = $1 AND f.grant_id = o.grant_id AND f.step = o.steps) AS at "
            "FROM grants o WHERE o.district_id = $1 AND o.grant_id = ANY($11::uuid[])) g USING (grant_id)",
            tx.district_id, position, at, run_id, cause, *zip(*entries, strict=True), [m.grant_id for m in moves],
        )  # fmt: skip
    await tx.execute(
        "UPDATE grants SET position = $3, steps = steps + (grant_id = ANY($4::uuid[]))::int "
        "WHERE district_id = $1 AND grant_id = ANY($2::uuid[])",
        tx.district_id, [m.grant_id for m in moves], position, [m.grant_id for m in moves if m.entries],
    )  # fmt: skip


async def announce(tx: Transaction) -> None:
    """Wakes the dispatchers. Only ever in a transaction of its own: a NOTIFY inside a write serialises all commits."""
    await tx.execute("SELECT pg_notify('hub_feed', $1)", str(tx.district_id))
