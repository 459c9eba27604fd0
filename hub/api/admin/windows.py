"""Single windows of the guard's calendar: put in and taken out while all else stays as it was set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from hub.api.admin import guards
from hub.api.admin.call import Call
from hub.api.admin.guards import Guard
from hub.api.admin.route import STAFF, Route
from hub.errors import Code, HubError
from hub.store import guards as store
from hub.sync.guard import Settings
from hub.sync.guard.calendar import Local
from hub.sync.guard.rules import MOST_WINDOWS, Named, Window


class WhichWindow(BaseModel):
    """A window by its name, and by its start where several have that name."""

    model_config = ConfigDict(extra="forbid")

    name: Named
    starts: Local | None = Field(default=None, description="As it was written; needed where several have the name.")


def _with(windows: list[Window], window: Window) -> list[Window]:
    if any((one.name, one.starts) == (window.name, window.starts) for one in windows):
        raise HubError(Code.CONFLICT, "There is a window of this name and start already. Take it out first.")
    if len(windows) >= MOST_WINDOWS:
        raise HubError(
            Code.CONFLICT, f"There are {MOST_WINDOWS} windows already, which is the most. Take out those that are over."
        )
    return [*windows, window]


def _without(windows: list[Window], which: WhichWindow) -> list[Window]:
    found = [one for one in windows if one.name == which.name and which.starts in {None, one.starts}]
    if not found:
        raise HubError(Code.CONFLICT, "There is no such window here. `GET …/guard` says which there are.")
    if len(found) > 1:
        raise HubError(Code.CONFLICT, "Several windows have this name. Say which one by `starts`, as it was written.")
    return [one for one in windows if one is not found[0]]


async def _edit(call: Call, source: UUID | None, change: Callable[[list[Window]], list[Window]]) -> None:
    async with call.writing() as writing:
        if source is None:
            kept = await store.of_district(writing.tx, to_edit=True)
        else:
            kept = await store.of_source(writing.tx, source, to_edit=True)
        windows = change(list(Settings.model_validate(kept).windows))
        settings: dict[str, Any] = kept | Settings(windows=windows).as_json()
        if source is None:
            await store.set_of_district(writing.tx, settings)
        else:
            await store.set_of_source(writing.tx, source, settings)
        object_ = f"district/{call.district_id}" if source is None else f"source/{source}"
        writing.note(object_, settings=settings)


async def add(call: Call, body: Window) -> Guard:
    """Puts a window into the district's calendar. The audit log keeps each version of the settings."""
    await _edit(call, None, lambda windows: _with(windows, body))
    return await guards.get(call)


async def remove(call: Call, query: WhichWindow) -> Guard:
    """Takes a window out of the district's calendar."""
    await _edit(call, None, lambda windows: _without(windows, query))
    return await guards.get(call)


async def add_to_source(call: Call, body: Window) -> Guard:
    """Puts a window into a source's calendar, which counts beside the district's."""
    await _edit(call, call.id("source"), lambda windows: _with(windows, body))
    return await guards.get_of_source(call)


async def remove_from_source(call: Call, query: WhichWindow) -> Guard:
    """Takes a window out of a source's calendar."""
    await _edit(call, call.id("source"), lambda windows: _without(windows, query))
    return await guards.get_of_source(call)


_DISTRICT, _SOURCE = "/districts/{district}/guard/windows", "/districts/{district}/sources/{source}/guard/windows"
ROUTES = (
    Route("POST", _DISTRICT, add, "Add a window to the calendar of a district", roles=STAFF, body=Window, answer=Guard,
          action="guard.edit", errors=(Code.CONFLICT,)),
    Route("DELETE", _DISTRICT, remove, "Remove a window from the calendar of a district", roles=STAFF,
          query=WhichWindow, answer=Guard, action="guard.edit", errors=(Code.CONFLICT,)),
    Route("POST", _SOURCE, add_to_source, "Add a window to the calendar of a source", roles=STAFF, body=Window,
          answer=Guard, action="guard.edit_source", errors=(Code.CONFLICT,)),
    Route("DELETE", _SOURCE, remove_from_source, "Remove a window from the calendar of a source", roles=STAFF,
          query=WhichWindow, answer=Guard, action="guard.edit_source", errors=(Code.CONFLICT,)),
)  # fmt: skip
