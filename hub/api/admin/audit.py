"""The audit log, per district and for the hub itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cut, place_number
from hub.api.admin.route import OPERATOR, STAFF, Route
from hub.api.admin.shapes import Shown
from hub.store import audit as store


class Act(Shown):
    """One act."""

    seq: int
    at: datetime
    actor: str
    action: str
    object: str = Field(description="Kind and id of what was acted on.")
    details: dict[str, Any]


class ActPage(Page[Act]):
    """Some acts, newest first."""


async def of_district(call: Call, query: Paging) -> ActPage:
    """Acts on one district and what belongs to it."""
    return await _page(call, query)


async def of_hub(call: Call, query: Paging) -> ActPage:
    """Acts on apps, clients and tokens."""
    return await _page(call, query)


async def _page(call: Call, query: Paging) -> ActPage:
    async with call.reading() as tx:
        rows = await store.listing(tx, before=place_number(query.after), limit=query.limit + 1)
    items, after = cut([Act.model_validate(row) for row in rows], query.limit, [row.seq for row in rows])
    return ActPage(items=items, next=after)


ROUTES = (
    Route("GET", "/audit", of_hub, "Acts on the hub itself, newest first", roles=OPERATOR, query=Paging,
          answer=ActPage),
    Route("GET", "/districts/{district}/audit", of_district, "Acts on a district, newest first", roles=STAFF,
          query=Paging, answer=ActPage),
)  # fmt: skip
