"""Traces of a source's pulls and tries: asked for, recorded once, kept for some days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction

#: Recorded traces of one source; older ones go.
MOST = 5


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace. ``what``: "pull" or "test". ``finished_at`` None: the next one is recorded. ``size``: in bytes.

    ``outcome``: "whole", or the code of the error with which the pull ended. ``run_id``: the run whose pull it is of.
    """

    trace_id: UUID
    source_id: UUID
    what: str
    requested_by: str
    requested_at: datetime
    run_id: UUID | None
    finished_at: datetime | None
    outcome: str | None
    exchanges: int | None
    size: int | None


_COLUMNS = ", ".join(name for name in Trace.__dataclass_fields__ if name != "size") + ", length(data) AS size"


async def request(tx: Transaction, trace_id: UUID, source_id: UUID, *, what: str, requested_by: str) -> Trace:
    """Asks for the trace of the next pull or try; the one that is asked for already, if there is one."""
    await tx.execute(
        "INSERT INTO source_traces (district_id, trace_id, source_id, what, requested_by) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (district_id, source_id, what) WHERE finished_at IS NULL DO NOTHING",
        tx.district_id, trace_id, source_id, what, requested_by,
    )  # fmt: skip
    found = await waiting(tx, source_id, what)
    if found is None:  # recorded at this very moment
        raise HubError(Code.CONFLICT, "A trace of this source was finished just now. Look at it, or ask again.")
    return await get(tx, source_id, found)


async def waiting(tx: Transaction, source_id: UUID, what: str) -> UUID | None:
    """The trace that the next pull or try of a source is to fill."""
    found: UUID | None = await tx.fetchval(
        "SELECT trace_id FROM source_traces WHERE district_id = $1 AND source_id = $2 AND what = $3 "
        "AND finished_at IS NULL",
        tx.district_id, source_id, what,
    )  # fmt: skip
    return found


async def keep(
    tx: Transaction, source_id: UUID, trace_id: UUID, *, run_id: UUID | None, outcome: str, exchanges: int, data: bytes
) -> None:
    """Fills a trace that waits still; of those of the source the newest stay."""
    await tx.execute(
        "UPDATE source_traces SET run_id = $3, outcome = $4, exchanges = $5, data = $6, finished_at = now() "
        "WHERE district_id = $1 AND trace_id = $2 AND finished_at IS NULL",
        tx.district_id, trace_id, run_id, outcome, exchanges, data,
    )  # fmt: skip
    await tx.execute(
        "DELETE FROM source_traces WHERE district_id = $1 AND source_id = $2 AND finished_at IS NOT NULL "
        "AND trace_id NOT IN (SELECT trace_id FROM source_traces WHERE district_id = $1 AND source_id = $2 "
        "AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT $3)",
        tx.district_id, source_id, MOST,
    )  # fmt: skip


async def listing(tx: Transaction, source_id: UUID) -> list[Trace]:
    """The traces of a source, newest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM source_traces WHERE district_id = $1 AND source_id = $2 "
        "ORDER BY requested_at DESC, trace_id",
        tx.district_id, source_id,
    )  # fmt: skip
    return [Trace(**row) for row in rows]


async def get(tx: Transaction, source_id: UUID, trace_id: UUID) -> Trace:
    """One trace. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM source_traces WHERE district_id = $1 AND source_id = $2 AND trace_id = $3",
        tx.district_id, source_id, trace_id,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This source has no such trace.")
    return Trace(**row)


async def data(tx: Transaction, source_id: UUID, trace_id: UUID) -> bytes:
    """The lines of a trace. Raises HubError (NOT_FOUND; CONFLICT for one that is not recorded yet)."""
    trace = await get(tx, source_id, trace_id)
    found: bytes | None = await tx.fetchval(
        "SELECT data FROM source_traces WHERE district_id = $1 AND trace_id = $2", tx.district_id, trace_id
    )
    if found is None:
        raise HubError(Code.CONFLICT, f"Nothing is recorded yet: the next {trace.what} of the source will be.")
    return found


async def delete(tx: Transaction, source_id: UUID, trace_id: UUID) -> None:
    """Forgets a trace, or that one was asked for. Raises HubError(NOT_FOUND)."""
    await get(tx, source_id, trace_id)
    await tx.execute("DELETE FROM source_traces WHERE district_id = $1 AND trace_id = $2", tx.district_id, trace_id)


async def purge(tx: Transaction, before: datetime, *, dry_run: bool) -> int:
    """Deletes the traces from before a time, or counts them. One that nothing came to fill goes like the others."""
    old = "FROM source_traces WHERE district_id = $1 AND coalesce(finished_at, requested_at) < $2"
    if dry_run:
        found: int = await tx.fetchval(f"SELECT count(*) {old}", tx.district_id, before)
        return found
    return await tx.execute(f"DELETE {old}", tx.district_id, before)
