"""What a run found in the data: where, what, and how to mend it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import Field

import connectors.rules
import hub.sync.undoing
from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cut, place_number
from hub.api.admin.route import STAFF, Role, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.admin.sheets import line
from hub.store import runs as store
from transforms.issues import RULES

Code = Annotated[str, Field(max_length=20, pattern=r"^[A-Z]+-[0-9]+[a-z]?$")]
_BATCH = 2_000


class IssueFilter(Asked):
    """Which findings."""

    code: Code | None = Field(default=None, description="Only findings of this rule.")


class IssueQuery(IssueFilter, Paging):
    """Which part of which findings."""


class Issue(Shown):
    """One finding. Ids of records are shown to the district alone: they may tell who is meant."""

    seq: int
    code: str
    severity: str | None
    action: str | None
    title: str | None
    howto: str | None
    entity: str
    file: str
    line: int | None
    field: str
    key: str | None = Field(description="The row's sourcedId in the source; null for operators.")
    cause: str | None = Field(description="Groups findings of one mistake; null for operators.")


class IssuePage(Page[Issue]):
    """Some findings, in the order in which the run made them."""


def _shown(call: Call, row: dict[str, Any]) -> Issue:
    rule = RULES.get(row["code"])
    own = call.role is Role.DISTRICT
    return Issue(
        **{**row, "key": row["key"] if own else None, "cause": row["cause"] if own else None},
        severity=rule.severity if rule else None,
        action=rule.action if rule else None,
        title=rule.title if rule else None,
        howto=rule.howto if rule else None,
    )


async def listing(call: Call, query: IssueQuery) -> IssuePage:
    """A page of findings."""
    after = place_number(query.after)
    rows = await _read(call, call.id("run"), query.code, -1 if after is None else after, query.limit + 1)
    items, rest = cut(rows, query.limit, [row.seq for row in rows])
    return IssuePage(items=items, next=rest)


async def _read(call: Call, run_id: UUID, code: str | None, after: int, limit: int) -> list[Issue]:
    async with call.reading() as tx:
        await store.get(tx, run_id)
        return [_shown(call, row) for row in await store.issues(tx, run_id, code=code, after=after, limit=limit)]


async def sheet(call: Call, query: IssueFilter) -> web.StreamResponse:
    """All kept findings as CSV, streamed; cells are safe to open in a spreadsheet (T41)."""
    run_id = call.id("run")
    rows = await _read(call, run_id, query.code, -1, _BATCH)
    name = f"issues-{run_id}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    stream = web.StreamResponse(headers={"Content-Type": "text/csv; charset=utf-8; header=present", **headers})
    await stream.prepare(call.request)
    await stream.write(line(list(Issue.model_fields)))
    while rows:
        await stream.write(b"".join(line(list(row.model_dump().values())) for row in rows))
        rows = await _read(call, run_id, query.code, rows[-1].seq, _BATCH)
    await stream.write_eof()
    return stream


ROUTES = (
    Route("GET", "/districts/{district}/runs/{run}/issues", listing, "A run's findings", roles=STAFF,
          query=IssueQuery, answer=IssuePage),
    Route("GET", "/districts/{district}/runs/{run}/issues.csv", sheet, "A run's findings as CSV", roles=STAFF,
          query=IssueFilter, media="text/csv"),
)  # fmt: skip
