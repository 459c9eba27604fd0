"""Recording a pull or a try where somebody asked for a trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import hub
from connectors.protocol import ConnectorError, NotYetError
from connectors.tracing import Trace
from hub.clock import Clock
from hub.store import traces
from hub.store.database import Database
from hub.store.sources import Source

WHOLE = "whole"


@dataclass(slots=True)
class Recording:
    """A trace under way. ``outcome``: how it is known to end; WHOLE as long as nothing went wrong."""

    trace_id: UUID
    trace: Trace = field(repr=False)
    outcome: str = WHOLE


async def asked(db: Database, district_id: UUID, source: Source, what: str, clock: Clock) -> Recording | None:
    """The recording of a source's pull or try; None where nobody asked for one."""
    async with db.district(district_id, readonly=True) as tx:
        trace_id = await traces.waiting(tx, source.source_id, what)
    if trace_id is None:
        return None
    about = {"kind": source.kind, "what": what, "hub": hub.__version__}
    return Recording(trace_id, Trace(about, clock.now))


@asynccontextmanager
async def recorded(
    recording: Recording | None, db: Database, district_id: UUID, source: Source, run_id: UUID | None = None
) -> AsyncIterator[None]:
    """What goes on inside is kept as a trace, however it ends. What is cancelled or put back leaves it to the next."""
    if recording is None:
        yield
        return
    try:
        yield
    except (asyncio.CancelledError, NotYetError):
        raise
    except BaseException as error:
        recording.outcome = error.code if isinstance(error, ConnectorError) else "internal"
        await _keep(recording, db, district_id, source, run_id)
        raise
    await _keep(recording, db, district_id, source, run_id)


async def _keep(recording: Recording, db: Database, district_id: UUID, source: Source, run_id: UUID | None) -> None:
    lines = await asyncio.to_thread(recording.trace.ended, recording.outcome)
    async with db.district(district_id) as tx:
        await traces.keep(
            tx, source.source_id, recording.trace_id, run_id=run_id, outcome=recording.outcome,
            exchanges=recording.trace.exchanges, data=lines,
        )  # fmt: skip
