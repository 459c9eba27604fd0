"""Reading a grant's feed: what changed in a view after a step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
import numpy.typing as npt

from hub.store.database import ITS_DISTRICT, Transaction
from hub.store.schema import of_rids
from transforms.catalogue import Entity


@dataclass(frozen=True, slots=True)
class Entry:
    """One feed entry as it is stored: serialized bitmaps of rids.

    ``step``: its place in the grant's feed; ``position``: the district's. ``cause``: sync, grant or gradebook.
    """

    step: int
    position: int
    entity: str
    at: datetime
    cause: str
    entered: bytes
    updated: bytes
    departed: bytes


_COLUMNS = ", ".join(Entry.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Head:
    """Whether a grant's feed may be read, and how far it goes.

    ``steps``: how many it has. ``district_position``: all entries up to that position are there to be read.
    ``feed_from``: the first step that it can be read on from.
    """

    grant_state: str
    district_state: str
    steps: int
    district_position: int
    feed_from: int = 0


async def head(tx: Transaction, grant_id: UUID) -> Head | None:
    """The head of a grant's feed; None when there is no such grant.

    One statement, so one snapshot: no entry up to ``district_position`` can come later, for positions are drawn under
    the district's lock and an entry is committed with its position.
    """
    row = await tx.fetchrow(
        "SELECT g.state AS grant_state, d.state AS district_state, d.position AS district_position, g.steps, "
        "g.feed_from "
        "FROM grants g JOIN districts d USING (district_id) WHERE g.district_id = $1 AND g.grant_id = $2",
        tx.district_id, grant_id,
    )  # fmt: skip
    return Head(**row) if row else None


async def entries(tx: Transaction, grant_id: UUID, *, after: int, to: int) -> list[Entry]:
    """The entries of the district's positions in ``(after, to]``, in their order."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM feed "
        "WHERE district_id = $1 AND grant_id = $2 AND position > $3 AND position <= $4 ORDER BY position",
        tx.district_id, grant_id, after, to,
    )  # fmt: skip
    return [Entry(**row) for row in rows]


async def steps(tx: Transaction, grant_id: UUID, *, after: int, to: int) -> list[Entry]:
    """The entries of the grant's steps in ``(after, to]``, in their order."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM feed "
        "WHERE district_id = $1 AND grant_id = $2 AND step > $3 AND step <= $4 ORDER BY step",
        tx.district_id, grant_id, after, to,
    )  # fmt: skip
    return [Entry(**row) for row in rows]


async def of_entity(tx: Transaction, grant_id: UUID, entity: str, *, after: int) -> list[Entry]:
    """The entries of one entity after a step, in their order."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM feed WHERE district_id = $1 AND grant_id = $2 AND step > $3 AND entity = $4 "
        "ORDER BY step",
        tx.district_id, grant_id, after, entity,
    )  # fmt: skip
    return [Entry(**row) for row in rows]


async def newest(tx: Transaction, grant_id: UUID, entity: str, *, to: int) -> datetime | None:
    """The latest time of the entries of one entity up to a step; None when there is none."""
    at: datetime | None = await tx.fetchval(
        "SELECT max(at) FROM feed WHERE district_id = $1 AND grant_id = $2 AND step <= $3 AND entity = $4",
        tx.district_id, grant_id, to, entity,
    )  # fmt: skip
    return at


async def position_after(tx: Transaction, grant_id: UUID, step: int) -> int | None:
    """The district's position of the first entry after a step; None when there is none."""
    position: int | None = await tx.fetchval(
        "SELECT min(position) FROM feed WHERE district_id = $1 AND grant_id = $2 AND step > $3",
        tx.district_id, grant_id, step,
    )  # fmt: skip
    return position


async def waiting_since(tx: Transaction, grant_id: UUID, *, after: int) -> datetime | None:
    """When the first entry after a step was made; None when there is none."""
    at: datetime | None = await tx.fetchval(
        "SELECT at FROM feed WHERE district_id = $1 AND grant_id = $2 AND step > $3 ORDER BY step LIMIT 1",
        tx.district_id, grant_id, after,
    )  # fmt: skip
    return at


async def step_before(tx: Transaction, grant_id: UUID, at: datetime) -> int | None:
    """The last step that was made before a moment; None when none is kept."""
    step: int | None = await tx.fetchval(
        "SELECT max(step) FROM feed WHERE district_id = $1 AND grant_id = $2 AND at < $3", tx.district_id, grant_id, at
    )
    return step


async def moments(tx: Transaction, grant_id: UUID, steps: Collection[int]) -> dict[int, datetime]:
    """When some steps were made; those that are not there are left out (0 is none, and old ones may be gone)."""
    rows = await tx.fetch(
        "SELECT step, min(at) AS at FROM feed WHERE district_id = $1 AND grant_id = $2 AND step = ANY($3::bigint[]) "
        "GROUP BY step", tx.district_id, grant_id, list(steps),
    )  # fmt: skip
    return {row["step"]: row["at"] for row in rows}


async def before(tx: Transaction, grant_id: UUID, at: datetime) -> int | None:
    """The step after which everything was made later than ``at``; None where nothing was."""
    step: int | None = await tx.fetchval(
        "SELECT min(step) - 1 FROM feed WHERE district_id = $1 AND grant_id = $2 AND at > $3",
        tx.district_id, grant_id, at,
    )  # fmt: skip
    return step


async def packed_ids(tx: Transaction, entity: Entity, rids: npt.NDArray[np.integer]) -> tuple[bytes, bytes]:
    """Of some records (``rids``, one at least) that are still there: rids, 4 bytes each, and sourcedIds, 16 bytes each.

    Both in one order.

    A tenth of what it costs to send, write and read them one by one.
    """
    first, last = int(rids.min()), int(rids.max())
    stretch = last - first == len(rids) - 1  # as after a first load; none of them is asked for twice
    which = "BETWEEN $2 AND $3" if stretch else "= ANY($2::text::integer[])"
    # asyncpg looks at each number of a list several times.
    values = (first, last) if stretch else ("{" + ",".join(map(str, rids.tolist())) + "}",)
    ((found, ids),) = await tx.alone(
        f"SELECT r.* FROM {ITS_DISTRICT} CROSS JOIN LATERAL (SELECT string_agg(int4send(t.rid), ''::bytea), "
        f"string_agg(uuid_send(t.sourced_id), ''::bytea) FROM {entity.table} t "
        f"WHERE t.district_id = its.district::uuid AND t.rid {which}) r",
        *values,
    )
    return found or b"", ids or b""


async def sourced_ids(tx: Transaction, entity: Entity, rids: list[int]) -> dict[int, str]:
    """The sourcedIds of some records of an entity; a record that is not there any more is left out."""
    row = await tx.fetchrow(  # two arrays are read sooner than as many rows
        f"SELECT array_agg(rid) AS rids, array_agg(sourced_id::text) AS ids FROM {entity.table} WHERE {of_rids()}",
        tx.district_id,
        rids,
    )
    assert row is not None
    return dict(zip(row["rids"] or (), row["ids"] or (), strict=True))
