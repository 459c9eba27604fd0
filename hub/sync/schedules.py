"""Looking after schedules: queue what is due, note what is late."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from connectors.protocol import Capability, ConnectorError, Courteous, SourceContext
from connectors.registry import connector
from hub.clock import Clock
from hub.errors import Code, HubError
from hub.store import hints, source_health, source_schedules
from hub.store.database import Database
from hub.store.source_schedules import SourceSchedule
from hub.store.sources import Source
from hub.sync.timetable import Timetable, share


async def look(db: Database, clock: Clock, *, spread_seconds: float) -> int:
    """Queues the runs that are due by the clock or a hint and notes which sources are late; how many were queued.

    Any number of processes may look at the same time: each row is one's. Raises HubError(UNAVAILABLE).
    """

    async def following(district_id: UUID, schedule: SourceSchedule, after: datetime) -> datetime | None:
        if schedule.cron is None:
            return None  # nothing is pulled
        return await next_time(
            district_id, schedule.source_id, schedule.cron, schedule.zone, after, spread_seconds=spread_seconds
        )

    now = clock.now()

    async def quiet(kind: str, config: dict[str, Any]) -> datetime | None:
        seconds = await asyncio.to_thread(_quiet_seconds, kind, config, now)
        return now + timedelta(seconds=seconds) if seconds else None

    queued = await source_schedules.queue_due(db, now, following, quiet)
    queued += await hints.queue_due(db, now, quiet)
    await source_health.note_late(db, now)
    return queued


def _quiet_seconds(kind: str, config: dict[str, Any], now: datetime) -> float:
    """For how long the source's system wants to be left alone. What is wrong with the source, its run will say."""
    try:
        spec = connector(kind)
        opened = spec.open(SourceContext(config=spec.config_model.model_validate(config)))
    except (ConnectorError, ValidationError):
        return 0.0
    return opened.quiet_seconds(now) if isinstance(opened, Courteous) else 0.0


async def next_time(
    district_id: UUID, source_id: UUID, cron: str, zone: str, after: datetime, *, spread_seconds: float
) -> datetime | None:
    """When a schedule is due next after a time, with the source's share of the spread; None for never again."""
    place = share(district_id, source_id)
    return await asyncio.to_thread(
        Timetable(cron, zone).following, after, share=place, spread_seconds=spread_seconds
    )  # reads the time zone's file


async def check_pulled(source: Source) -> None:
    """Raises HubError(CONFLICT) for a source that cannot be pulled: it is paused, or only takes what is uploaded."""
    if source.state != "active":
        raise HubError(Code.CONFLICT, "The source is paused. Set its state to active first.")
    try:
        spec = await asyncio.to_thread(connector, source.kind)
        config = await asyncio.to_thread(spec.config_model.model_validate, source.config)
        can = spec.open(SourceContext(config=config)).capabilities
    except (ConnectorError, ValidationError):
        raise HubError(Code.CONFLICT, "The source's configuration does not fit its kind. Set it anew.") from None
    if Capability.UPLOAD in can and Capability.PULL not in can:
        raise HubError(Code.CONFLICT, "This source takes uploads only: its configuration names nothing to pull from.")
