"""When a source is pulled, by cron in a time zone and now; or how often a package of it is expected."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from hub.api.admin.call import Call, Writing
from hub.api.admin.route import STAFF, Route
from hub.api.admin.runs import Run
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import runs, sources
from hub.store import source_schedules as store
from hub.store.expected import DAYS, Expectation
from hub.store.source_schedules import SourceSchedule
from hub.sync.schedules import check_pulled, next_time
from hub.sync.timetable import check_zone, checked

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class NewSchedule(Asked):
    """When to pull (`cron`), or how often somebody sends a package (`expected_every_hours`)."""

    cron: Annotated[
        str | None, Field(max_length=200, description="Minute, hour, day of month, month, day of week: `0 2 * * *`.")
    ] = None
    expected_every_hours: Annotated[
        int | None, Field(ge=1, le=8_784, description="Nothing is pulled; without a success for so long it is late.")
    ] = None
    expected_days: Annotated[
        list[Day] | None,
        Field(min_length=1, max_length=7, description="Days of the week, in `zone`, whose hours alone count for "
              '`expected_every_hours`: `["mon", "tue", "wed", "thu", "fri"]` stands still on weekends.'),
    ] = None  # fmt: skip
    zone: Annotated[
        str, Field(max_length=100, description="Time zone of `cron` or `expected_days`, such as `America/Chicago`.")
    ] = "UTC"
    grace_minutes: Annotated[
        int, Field(ge=1, le=10_080, description="Without a success so long after its time the source is late.")
    ] = 60

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.cron is None) == (self.expected_every_hours is None):
            raise ValueError("give cron for a source that is pulled, or expected_every_hours for one that is sent")
        if self.cron is not None and self.expected_days is not None:
            raise ValueError("expected_days goes with expected_every_hours; cron names its days of the week itself")
        return self


class Schedule(Shown):
    """The schedule of a source."""

    source_id: UUID
    cron: str | None
    expected_every_hours: int | None
    expected_days: list[str] | None
    zone: str
    grace_minutes: int
    state: Literal["active", "paused"]
    next_at: datetime | None = Field(description="With the source's own moment in the spread; null while it is paused.")
    due_at: datetime | None = Field(description="The last time that came.")
    late_from: datetime | None = Field(description="Without a success until then the source is late.")
    created_at: datetime


class NewPull(Asked):
    """What to do with what is pulled."""

    dry_run: bool = Field(default=False, description="Compute and report everything, change nothing.")


async def get(call: Call) -> Schedule:
    """The source's schedule."""
    async with call.reading() as tx:
        return Schedule.model_validate(await store.get(tx, call.id("source")))


async def put(call: Call, body: NewSchedule) -> Schedule:
    """Sets the source's schedule; a paused one stays paused."""
    if body.cron is None:
        return await _expect(call, body)
    source_id = call.id("source")
    timetable = await asyncio.to_thread(checked, body.cron, body.zone)
    next_at = await _next(call, source_id, timetable.cron, timetable.zone)
    async with call.writing() as writing:
        await check_pulled(await sources.get(writing.tx, source_id))
        row = await store.put(
            writing.tx, source_id, cron=timetable.cron, zone=timetable.zone, grace_minutes=body.grace_minutes,
            next_at=next_at,
        )  # fmt: skip
        _note(writing, row)
    return Schedule.model_validate(row)


async def _expect(call: Call, body: NewSchedule) -> Schedule:
    await asyncio.to_thread(check_zone, body.zone)
    days = None if body.expected_days is None else [day for day in DAYS if day in body.expected_days]
    expectation = Expectation(body.expected_every_hours or 0, body.grace_minutes, days, body.zone)
    async with call.writing() as writing:
        source = await sources.get(writing.tx, call.id("source"))
        if source.state == "departed":
            raise HubError(Code.CONFLICT, "The source has departed: nothing more is expected of it.")
        row = await store.expect(writing.tx, source.source_id, expectation, now=call.context.clock.now())
        _note(writing, row)
    return Schedule.model_validate(row)


async def _next(call: Call, source_id: UUID, cron: str, zone: str) -> datetime | None:
    spread = call.context.settings.schedule_spread_seconds
    return await next_time(call.district_id, source_id, cron, zone, call.context.clock.now(), spread_seconds=spread)


def _note(writing: Writing, row: SourceSchedule) -> None:
    expected = {"every_hours": row.expected_every_hours, "days": row.expected_days}
    when = expected if row.cron is None else {"cron": row.cron}
    writing.note(f"source/{row.source_id}", **when, zone=row.zone, state=row.state)


async def pause(call: Call) -> Schedule:
    """Pulls no more by the clock, and expects nothing."""
    async with call.writing() as writing:
        row = await store.pause(writing.tx, call.id("source"))
        _note(writing, row)
    return Schedule.model_validate(row)


async def resume(call: Call) -> Schedule:
    """Pulls by the clock again, from its next time on; or expects packages again, from now on."""
    async with call.writing() as writing:
        row = await store.get(writing.tx, call.id("source"))
        next_at = None if row.cron is None else await _next(call, row.source_id, row.cron, row.zone)
        row = await store.resume(writing.tx, row.source_id, next_at, now=call.context.clock.now())
        _note(writing, row)
    return Schedule.model_validate(row)


async def delete(call: Call) -> None:
    """Ends the schedule; the source stays."""
    async with call.writing() as writing:
        row = await store.get(writing.tx, call.id("source"))
        await store.delete(writing.tx, row.source_id)
        _note(writing, row)


async def pull(call: Call, body: NewPull) -> Run:
    """Pulls the source now. Where a pull waits already, that one is answered with, and none is queued beside it."""
    async with call.writing() as writing:
        tx, source_id = writing.tx, call.id("source")
        await check_pulled(await sources.get(tx, source_id))
        run = None if body.dry_run else await runs.unfinished(tx, source_id, states=("queued",))
        if run is None:
            run = await runs.request(
                tx, new_id(), source_id=source_id, upload_id=None, dry_run=body.dry_run, requested_by=call.actor_name
            )
        writing.note(f"run/{run.run_id}", source=str(source_id), dry_run=run.dry_run)
    await call.context.wake("sync", call.district_id)
    return Run.model_validate(run)


_ONE = "/districts/{district}/sources/{source}"
_CONFLICT = (Code.CONFLICT,)
ROUTES = (
    Route("GET", _ONE + "/schedule", get, "When a source is pulled, or packages of it expected", roles=STAFF,
          answer=Schedule),
    Route("PUT", _ONE + "/schedule", put, "Set when a source is pulled, or packages of it expected",
          roles=STAFF, body=NewSchedule, answer=Schedule, action="schedule.put", errors=_CONFLICT),
    Route("POST", _ONE + "/schedule/pause", pause, "Pause a schedule", roles=STAFF, answer=Schedule,
          action="schedule.pause"),
    Route("POST", _ONE + "/schedule/resume", resume, "Resume a schedule", roles=STAFF, answer=Schedule,
          action="schedule.resume"),
    Route("DELETE", _ONE + "/schedule", delete, "End a schedule", roles=STAFF, action="schedule.delete"),
    Route("POST", _ONE + "/run", pull, "Pull a source now", roles=STAFF, body=NewPull, answer=Run, status=202,
          action="run.create", errors=_CONFLICT),
)  # fmt: skip
