"""How long a district keeps what: the hub's days, or its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.store import retention as store
from hub.store.database import Transaction
from hub.sync.retention import LEAST
from hub.sync.retention import Retention as Days

_MOST = 36_500
Own = Annotated[int | None, Field(le=_MOST)]


class OwnRetention(Asked):
    """A district's own days by kind of data; what is left out or null is kept as long as the hub is set to."""

    history_days: Own = Field(default=None, ge=LEAST["history_days"])
    ended_days: Own = Field(default=None, ge=LEAST["ended_days"])
    issue_days: Own = Field(default=None, ge=LEAST["issue_days"])
    upload_days: Own = Field(default=None, ge=LEAST["upload_days"])
    trace_days: Own = Field(default=None, ge=LEAST["trace_days"])
    feed_days: Own = Field(default=None, ge=LEAST["feed_days"])
    step_days: Own = Field(default=None, ge=LEAST["step_days"])


class Retention(Shown):
    """Days for which a district keeps each kind of data."""

    history_days: int = Field(description="What records said before they changed.")
    ended_days: int = Field(description="What ended records said; never less than `history_days` counts.")
    issue_days: int = Field(description="Findings and differences of runs.")
    upload_days: int = Field(description="Uploads that no run took.")
    trace_days: int = Field(description="Recorded traces of sources.")
    feed_days: int = Field(description="Steps of feeds, for apps that read on from them.")
    step_days: int = Field(description="Steps of feeds one by one; older ones are compacted.")
    own: dict[str, int] = Field(description="Those that the district has set itself.")


async def get(call: Call) -> Retention:
    """How long the district keeps what."""
    async with call.reading() as tx:
        return await _shown(call, tx)


async def put(call: Call, body: OwnRetention) -> Retention:
    """Sets the district's own days."""
    async with call.writing() as writing:
        own = body.model_dump(exclude_none=True)
        await store.set_own(writing.tx, own)
        writing.note(f"district/{call.district_id}", **own)
        return await _shown(call, writing.tx)


async def _shown(call: Call, tx: Transaction) -> Retention:
    own = await store.own(tx)
    days = Days.of(call.context.settings).within(own)
    return Retention(**days.as_json(), own=own)


ROUTES = (
    Route("GET", "/districts/{district}/retention", get, "How long a district keeps what", roles=STAFF,
          answer=Retention),
    Route("PUT", "/districts/{district}/retention", put, "Set a district's own days", roles=STAFF, body=OwnRetention,
          answer=Retention, action="district.retention"),
)  # fmt: skip
