"""Trying a source before, or instead of, pulling it."""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Shown
from hub.crypto import load_key
from hub.errors import Code, HubError
from hub.store import sources
from hub.sync import shaping, source_secrets, tracing
from hub.sync.trying import tried


class SourceFinding(Shown):
    """One thing that was tried."""

    step: str = Field(description="What was tried: the connection, the login, the clock, or an entity.")
    outcome: Literal["good", "warning", "bad"]
    text: str = Field(description="How it went and, where it went wrong, what to do.")


class SourceTest(Shown):
    """What a try of a source found out."""

    works: bool = Field(description="Whether nothing went wrong.")
    items: list[SourceFinding]


async def test(call: Call) -> SourceTest:
    """Asks the source's system for a little of everything; nothing is taken over."""
    settings = call.context.settings
    key = await asyncio.to_thread(load_key, settings)
    async with call.reading() as tx:
        source = await sources.get(tx, call.id("source"))
        await source_secrets.to_open(tx, key, source)
        transform = await shaping.in_force(tx, source.source_id)
    if source.state == "departed":
        raise HubError(Code.CONFLICT, "The source has departed.")
    # A trace that somebody asked for, who stands in the audit log, is filled by the way.
    db, clock = call.context.db, call.context.clock
    recording = await tracing.asked(db, call.district_id, source, "test", clock)
    async with tracing.recorded(recording, db, call.district_id, source):
        found = await tried(
            call.district_id, source, transform, key, settings.source_allow, recording, watch=settings.watch_folder
        )
        if recording is not None and any(one.outcome == "bad" for one in found):
            recording.outcome = "bad"
    items = [SourceFinding.model_validate(one) for one in found]
    return SourceTest(works=all(one.outcome != "bad" for one in items), items=items)


ROUTES = (
    Route("POST", "/districts/{district}/sources/{source}/test", test, "Try a source; nothing is taken over",
          roles=STAFF, answer=SourceTest, writes=False, errors=(Code.CONFLICT,)),
)  # fmt: skip
