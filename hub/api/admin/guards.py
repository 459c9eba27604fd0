"""The guard's settings of a district and of its sources, with what is usual there."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Shown
from hub.errors import Code, HubError
from hub.store import guards as store
from hub.sync.guard import DEFAULTS, Rules, Settings, rules_of
from hub.sync.guard.rules import coming, zone_of
from hub.sync.guard.usual import RUNS, usual


class Usual(Shown):
    """How far runs usually go: a hint for setting limits. It never changes one by itself."""

    entity: str
    kind: str
    share: float = Field(description="95 % of the last runs that nobody had to approve stayed at or below this share.")


class WindowTime(Shown):
    """When a window is open: now, or the next time. Windows that are over for good have none."""

    kind: str
    name: str
    starts: datetime = Field(description="With the offset of the time zone.")
    ends: datetime
    open: bool = Field(description="Whether it is open now.")


class Guard(Shown):
    """The guard's settings."""

    settings: Settings = Field(description="What was set here.")
    effective: dict[str, Any] = Field(
        description="What counts outside of windows: the defaults, under the district's settings, under the source's."
    )
    open_windows: list[str] = Field(description="The names of the windows that are open now.")
    calendar: list[WindowTime] = Field(description="When the windows that were set here are open, the soonest first.")
    usual: list[Usual]


async def _shown(
    call: Call, district: dict[str, Any], source: dict[str, Any] | None, last: list[dict[str, Any]]
) -> Guard:
    """The settings of ``source`` over those of its ``district``, or (None) the district's."""
    settings = district if source is None else source
    rules, times = await asyncio.to_thread(_now, district, source, call.context.clock.now())
    hints = [Usual(entity=e, kind=k, share=share) for (e, k), share in sorted(usual(last).items())]
    return Guard(
        settings=Settings.model_validate(settings), effective={n: rules.merged[n] for n in DEFAULTS},
        open_windows=[one.name for one in rules.windows], calendar=times, usual=hints,
    )  # fmt: skip


def _now(
    district: dict[str, Any], source: dict[str, Any] | None, at: datetime
) -> tuple[Rules, list[WindowTime]]:  # reads the time zone's file
    rules = rules_of(district, source or {}, at)
    times = coming(district if source is None else source, rules, at)
    return rules, [
        WindowTime(kind=window.kind, name=window.name, starts=starts, ends=ends, open=is_open)
        for window, starts, ends, is_open in times
    ]


async def get(call: Call) -> Guard:
    """The district's settings."""
    async with call.reading() as tx:
        own = await store.of_district(tx)
        last = await store.last_counts(tx, None, RUNS)
    return await _shown(call, own, None, last)


async def get_of_source(call: Call) -> Guard:
    """A source's settings."""
    source = call.id("source")
    async with call.reading() as tx:
        own, district = await store.of_source(tx, source), await store.of_district(tx)
        last = await store.last_counts(tx, source, RUNS)
    return await _shown(call, district, own, last)


async def replace(call: Call, body: Settings) -> Guard:
    """Replaces the district's settings. The audit log keeps each version."""
    written = await _checked(body)
    async with call.writing() as writing:
        await store.set_of_district(writing.tx, written)
        writing.note(f"district/{call.district_id}", settings=written)
    return await get(call)


async def replace_of_source(call: Call, body: Settings) -> Guard:
    """Replaces a source's settings. The audit log keeps each version."""
    source, written = call.id("source"), await _checked(body)
    async with call.writing() as writing:
        await store.set_of_source(writing.tx, source, written)
        writing.note(f"source/{source}", settings=written)
    return await get_of_source(call)


async def _checked(body: Settings) -> dict[str, Any]:
    if body.time_zone is not None:
        try:
            await asyncio.to_thread(zone_of, body.time_zone)
        except ValueError as error:
            raise HubError(Code.INVALID_REQUEST, f"Mend `time_zone`: {error}.") from None
    return body.as_json()


ROUTES = (
    Route("GET", "/districts/{district}/guard", get, "The guard's settings of a district", roles=STAFF, answer=Guard),
    Route("PUT", "/districts/{district}/guard", replace, "Set the guard of a district", roles=STAFF, body=Settings,
          answer=Guard, action="guard.edit"),
    Route("GET", "/districts/{district}/sources/{source}/guard", get_of_source, "The guard's settings of a source",
          roles=STAFF, answer=Guard),
    Route("PUT", "/districts/{district}/sources/{source}/guard", replace_of_source, "Set the guard of a source",
          roles=STAFF, body=Settings, answer=Guard, action="guard.edit_source"),
)  # fmt: skip
