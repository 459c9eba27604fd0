"""Erasing a person, for good: who was erased, and letting somebody return."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from hub.api.admin.call import Call, missing
from hub.api.admin.paging import Page, Paging, cut, place_id
from hub.api.admin.route import STAFF, Route
from hub.api.admin.runs import Run
from hub.api.admin.shapes import Asked, Shown
from hub.ids import new_id
from hub.store import erasures as store
from hub.store import past, runs
from hub.sync import erasing


class NewErasure(Asked):
    """How to erase."""

    dry_run: bool = Field(default=False, description="Say what would end and what apps would be told; change nothing.")


class Erasure(Shown):
    """One person who was erased: nothing but numbers is left."""

    erasure_id: UUID
    sourced_id: UUID = Field(description="Of the bare record that is left for apps that still ask for it.")
    requested_by: str
    at: datetime
    position: int = Field(description="Of the district then. Deltas from before it become whole packages.")
    released_at: datetime | None = Field(description="Since then sources may bring the person again.")


class ErasurePage(Page[Erasure]):
    """Some erasures, oldest first."""


async def erase(call: Call, body: NewErasure) -> Run:
    """Queues the erasure of a person and of all that is about the person. It cannot be undone."""
    person = call.id("user")
    async with call.writing() as writing:
        tx = writing.tx
        if await store.person(tx, person) is None:
            raise missing()
        run = await runs.request(
            tx, new_id(), source_id=None, upload_id=None, dry_run=body.dry_run, requested_by=call.actor_name,
            kind=erasing.KIND, task={"person": str(person), "erasure": str(new_id())},
        )  # fmt: skip
        await past.approve(tx, run.run_id, call.actor_name)
        writing.note(f"user/{person}", run=str(run.run_id), dry_run=run.dry_run)
        run = await runs.get(tx, run.run_id)
    await call.context.wake("sync", call.district_id)
    return Run.model_validate(run)


async def listing(call: Call, query: Paging) -> ErasurePage:
    """Who was erased."""
    async with call.reading() as tx:
        rows = await store.listing(tx, after=place_id(query.after), limit=query.limit + 1)
    items, after = cut([Erasure.model_validate(r) for r in rows], query.limit, [r.erasure_id for r in rows])
    return ErasurePage(items=items, next=after)


async def release(call: Call) -> Erasure:
    """Lets sources bring a person again, as a new record."""
    async with call.writing() as writing:
        row = await store.release(writing.tx, call.id("erasure"), call.context.clock.now())
        writing.note(f"erasure/{row.erasure_id}")
    return Erasure.model_validate(row)


ROUTES = (
    Route("POST", "/districts/{district}/users/{user}/erase", erase, "Erase a person and all about the person",
          roles=STAFF, body=NewErasure, answer=Run, status=202, action="user.erase"),
    Route("GET", "/districts/{district}/erasures", listing, "Who was erased", roles=STAFF, query=Paging,
          answer=ErasurePage),
    Route("POST", "/districts/{district}/erasures/{erasure}/release", release, "Let an erased person return",
          roles=STAFF, answer=Erasure, action="erasure.release"),
)  # fmt: skip
