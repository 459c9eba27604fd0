"""Districts: create, list, get, rename."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal
from uuid import UUID

from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cut, place_id
from hub.api.admin.route import OPERATOR, STAFF, Route
from hub.api.admin.shapes import Asked, Name, Shown
from hub.ids import new_id
from hub.store import districts as store


class NewDistrict(Asked):
    """A district to add, or its new name."""

    name: Name


class District(Shown):
    """A tenant of the hub."""

    district_id: UUID
    name: str
    state: Literal["active", "suspended"]
    position: int
    oneroster: str
    created_at: datetime


class DistrictPage(Page[District]):
    """Some districts."""


def _shown(call: Call, row: store.District) -> District:
    oneroster = f"{call.context.settings.public_url}/d/{row.district_id}/ims/oneroster"
    return District.model_validate({**asdict(row), "oneroster": oneroster})


async def create(call: Call, body: NewDistrict) -> District:
    """Adds a district, whose first audit row stands in its own log."""
    district_id = new_id()
    async with call.on(district_id).writing() as writing:
        row = await store.create(writing.tx, body.name)
        writing.note(f"district/{district_id}")
    return _shown(call, row)


async def listing(call: Call, query: Paging) -> DistrictPage:
    """All districts, or the one of a district token."""
    own = call.actor.scope_district
    async with call.context.db.shared() as tx:
        if own is not None:
            return DistrictPage(items=[_shown(call, await store.get(tx, own))])
        rows = await store.listing(tx, after=place_id(query.after), limit=query.limit + 1)
    items, after = cut([_shown(call, row) for row in rows], query.limit, [row.district_id for row in rows])
    return DistrictPage(items=items, next=after)


async def get(call: Call) -> District:
    """One district."""
    async with call.reading() as tx:
        return _shown(call, await store.get(tx, call.district_id))


async def rename(call: Call, body: NewDistrict) -> District:
    """Changes the name."""
    async with call.writing() as writing:
        row = await store.rename(writing.tx, body.name)
        writing.note(f"district/{row.district_id}")
    return _shown(call, row)


ROUTES = (
    Route("GET", "/districts", listing, "List districts", roles=STAFF, query=Paging, answer=DistrictPage),
    Route("POST", "/districts", create, "Add a district", roles=OPERATOR, body=NewDistrict, answer=District,
          status=201, action="district.create"),
    Route("GET", "/districts/{district}", get, "One district", roles=STAFF, answer=District),
    Route("PATCH", "/districts/{district}", rename, "Rename a district", roles=STAFF, body=NewDistrict,
          answer=District, action="district.rename"),
)  # fmt: skip
