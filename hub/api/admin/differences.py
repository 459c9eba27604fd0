"""What a run would do or did, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cut, place_number
from hub.api.admin.route import DISTRICT, STAFF, Role, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.admin.sheets import line
from hub.store import differences as store
from hub.store import runs
from hub.store.database import Transaction

Kind = Literal["rebound", "deleted", "moved", "updated", "created"]
_BATCH = 2_000


class ChangeFilter(Asked):
    """Which changes."""

    entity: Annotated[str | None, Field(max_length=50, description="Only of this entity, such as `enrollments`.")] = (
        None
    )
    kind: Kind | None = Field(default=None, description="Only changes of this kind.")
    school: UUID | None = Field(default=None, description="Only of this school: the sourcedId of its org.")


class ChangeQuery(ChangeFilter, Paging):
    """Which part of which changes."""


class Change(Shown):
    """One record that a run changes. What may tell who is meant is shown to the district alone."""

    seq: int
    entity: str
    kind: Kind
    sourced_id: UUID | None = Field(
        description="The hub's own id; null for operators. Of a new record: this attempt's."
    )
    key: str | None = Field(description="The sourcedId in the source; null for operators.")
    schools: list[UUID] = Field(description="The schools that it belongs to, before and after.")
    fields: list[str] = Field(description="The fields that differ; none for new and deleted records.")


class ValuedChange(Change):
    """The same with values: of changed records those that differ, of others all."""

    was: dict[str, Any] | None
    becomes: dict[str, Any] | None


class ChangePage(Page[Change]):
    """Some changes: first ids that are somebody else's now, then deleted, moved, updated and new records."""

    counts: Mapping[str, Mapping[str, int]] = Field(
        description="How many there are, by entity and kind: of all changes of the run, also those that are not kept."
    )


class ValuedPage(Page[ValuedChange]):
    """Some changes with values."""


def _shown(call: Call, row: store.Change) -> Change:
    shown = Change.model_validate(row)
    return shown if call.role is Role.DISTRICT else shown.model_copy(update={"sourced_id": None, "key": None})


async def _read(
    tx: Transaction, run: UUID, query: ChangeFilter, after: int, limit: int, *, with_values: bool = False
) -> list[store.Change]:
    return await store.listing(
        tx, run, entity=query.entity, kind=query.kind, school=query.school, with_values=with_values, after=after,
        limit=limit,
    )  # fmt: skip


async def listing(call: Call, query: ChangeQuery) -> ChangePage:
    """A page of changes."""
    after = place_number(query.after)
    async with call.reading() as tx:
        run = await runs.get(tx, call.id("run"))
        rows = await _read(tx, run.run_id, query, -1 if after is None else after, query.limit + 1)
    items, rest = cut([_shown(call, row) for row in rows], query.limit, [row.seq for row in rows])
    return ChangePage(items=items, next=rest, counts=run.report.get("difference", {}).get("entities", {}))


async def values(call: Call, query: ChangeQuery) -> ValuedPage:
    """A page of changes with values. Each look leaves a row in the audit log."""
    after = place_number(query.after)
    async with call.writing() as writing:
        run = await runs.get(writing.tx, call.id("run"))
        rows = await _read(
            writing.tx, run.run_id, query, -1 if after is None else after, query.limit + 1, with_values=True
        )
        writing.note(f"run/{run.run_id}", shown=min(len(rows), query.limit))
    items, rest = cut([ValuedChange.model_validate(row) for row in rows], query.limit, [row.seq for row in rows])
    return ValuedPage(items=items, next=rest)


async def sheet(call: Call, query: ChangeFilter) -> web.StreamResponse:
    """All kept changes as CSV, streamed; cells are safe to open in a spreadsheet (T41)."""
    run_id = call.id("run")
    async with call.reading() as tx:
        await runs.get(tx, run_id)
        rows = await _read(tx, run_id, query, -1, _BATCH)
    headers = {"Content-Disposition": f'attachment; filename="changes-{run_id}.csv"', "Cache-Control": "no-store"}
    stream = web.StreamResponse(headers={"Content-Type": "text/csv; charset=utf-8; header=present", **headers})
    await stream.prepare(call.request)
    await stream.write(line(list(Change.model_fields)))
    while rows:
        await stream.write(b"".join(_line(_shown(call, row)) for row in rows))
        async with call.reading() as tx:
            rows = await _read(tx, run_id, query, rows[-1].seq, _BATCH)
    await stream.write_eof()
    return stream


def _line(change: Change) -> bytes:
    cells = change.model_dump(mode="json") | {"schools": " ".join(map(str, change.schools))}
    return line([*(cells | {"fields": " ".join(change.fields)}).values()])


ROUTES = (
    Route("GET", "/districts/{district}/runs/{run}/changes", listing, "What a run changes, row by row", roles=STAFF,
          query=ChangeQuery, answer=ChangePage),
    Route("GET", "/districts/{district}/runs/{run}/changes.csv", sheet, "What a run changes, as CSV", roles=STAFF,
          query=ChangeFilter, media="text/csv"),
    Route("GET", "/districts/{district}/runs/{run}/changes/values", values, "What a run changes, with values",
          roles=DISTRICT, query=ChangeQuery, answer=ValuedPage, action="run.values", writes=True),
)  # fmt: skip
