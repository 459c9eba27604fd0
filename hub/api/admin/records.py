"""A district's records for the district itself: as they are, as they were, and what became of them.

Whoever runs the hub does not read them (T55). Each look leaves a row in the audit log.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from aiohttp import web
from pydantic import AwareDatetime, Field

from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cursor, place_number
from hub.api.admin.route import DISTRICT, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.context import SENDING
from hub.api.exports.sending import Sending
from hub.errors import Code, HubError
from hub.export import asof
from hub.store import admin_tokens
from hub.store.lives import Cause
from hub.sync import lives
from transforms.catalogue import CATALOGUE, Version

EntityName = Literal[
    "orgs", "academicSessions", "resources", "courses", "classes", "users", "enrollments", "demographics",
    "categories", "scoreScales", "lineItems", "results", "assessmentLineItems", "assessmentResults",
]  # fmt: skip
assert set(get_args(EntityName)) == {e.name for e in CATALOGUE.entities}
At = Annotated[AwareDatetime | None, Field(description="The time to look at, with its zone; without it: now.")]


class Which(Asked):
    """Which record."""

    entity: EntityName | None = Field(
        default=None, description="Needed for `demographics` alone, which have the ids of their users."
    )


class WhichAt(Which):
    """Which record, when."""

    at: At = None


class LivesQuery(Which, Paging):
    """Which part of which record's history."""


class RecordsQuery(Paging):
    """Which records, when."""

    entity: EntityName = "orgs"
    at: At = None


class PackageQuery(Asked):
    """Which package."""

    at: At = None
    version: Version = "1.2"


class By(Shown):
    """What changed a record, and in whose name."""

    kind: str = Field(description="Of the run (`sync`, `undo`, …), or `app` for a write to the gradebook.")
    run_id: UUID | None
    source_id: UUID | None
    app_id: UUID | None
    requested_by: str | None
    undone: str | None = Field(description="Of an undo: the run that it undid.")


class FieldChange(Shown):
    """One field that changed; null stands for nothing."""

    field: str
    old: Any
    new: Any


class RecordVersion(Shown):
    """A record from one change on."""

    position: int = Field(description="Of the district's feed.")
    at: datetime | None
    by: By | None = Field(description="Null where that is not kept any more.")
    status: Literal["active", "tobedeleted"]
    changed: list[FieldChange] = Field(description="Everything, of the version that made the record.")


class RecordVersions(Page[RecordVersion]):
    """A record's versions, newest first."""


class Record(Shown):
    """A record: its members as OneRoster names them, references without addresses."""

    entity: EntityName
    date_last_modified: datetime
    record: dict[str, Any]


class Records(Page[Record]):
    """Some records that were active at one moment."""

    position: int = Field(description="The district's position at that moment; the same for all pages of one moment.")


async def history(call: Call, query: LivesQuery) -> RecordVersions:
    """What became of a record, newest first."""
    async with call.writing() as writing:
        entity = await lives.entity_of(writing.tx, call.id("record"), query.entity)
        found = await lives.versions(
            writing.tx, entity, call.id("record"), before=place_number(query.after), limit=query.limit + 1
        )
        writing.note(f"record/{call.id('record')}", entity=entity.name, versions=len(found[: query.limit]))
    more = len(found) > query.limit
    items = [_version(one) for one in found[: query.limit]]
    return RecordVersions(items=items, next=cursor(items[-1].position) if more else None)


def _version(one: lives.Version) -> RecordVersion:
    return RecordVersion(
        position=one.position, at=one.cause.at if one.cause else None, by=_by(one.cause),
        status="active" if one.active else "tobedeleted",
        changed=[FieldChange(field=name, old=old, new=new) for name, (old, new) in one.changed.items()],
    )  # fmt: skip


def _by(cause: Cause | None) -> By | None:
    if cause is None or (cause.kind is None and cause.app_id is None):
        return None
    return By(
        kind=cause.kind or "app", run_id=cause.run_id, source_id=cause.source_id, app_id=cause.app_id,
        requested_by=cause.requested_by, undone=(cause.task or {}).get("run") if cause.kind == "undo" else None,
    )  # fmt: skip


async def get(call: Call, query: WhichAt) -> Record:
    """One record, as it is or as it was."""
    async with call.writing() as writing:
        tx, at = writing.tx, query.at or call.context.clock.now()
        entity = await lives.entity_of(tx, call.id("record"), query.entity)
        row = await lives.record_at(tx, entity, await lives.position_at(tx, at), call.id("record"))
        writing.note(f"record/{call.id('record')}", entity=entity.name, at=at.isoformat())
    return Record(entity=entity.name, date_last_modified=row.date_last_modified, record=lives.values(row))


async def listing(call: Call, query: RecordsQuery) -> Records:
    """The records of an entity that are active, or were at an earlier time."""
    async with call.writing() as writing:
        tx, at, entity = writing.tx, query.at or call.context.clock.now(), CATALOGUE[query.entity]
        position = await lives.position_at(tx, at)
        after = place_number(query.after)
        rows = await lives.records_at(tx, entity, position, after=-1 if after is None else after, limit=query.limit + 1)
        shown = rows[: query.limit]
        writing.note(f"records/{entity.name}", at=at.isoformat(), records=len(shown))
    items = [
        Record(entity=entity.name, date_last_modified=row.date_last_modified, record=lives.values(row)) for row in shown
    ]
    return Records(items=items, next=cursor(shown[-1].rid) if len(rows) > query.limit else None, position=position)


async def package(call: Call, query: PackageQuery) -> web.StreamResponse:
    """The whole district as a OneRoster CSV package, as it is or as it was, sent while it is made."""
    at, sending = query.at or call.context.clock.now(), call.request.app[SENDING]
    if call.district_id in sending:
        raise HubError(Code.DISTRICT_BUSY, "A package of this district is being sent already. Wait for its end.")
    sending.add(call.district_id)
    try:
        return await _sent(call, at, query.version)
    finally:
        sending.discard(call.district_id)


async def _sent(call: Call, at: datetime, version: Version) -> web.StreamResponse:
    async with call.writing() as writing:
        position = await lives.position_at(writing.tx, at)
        writing.note("records/package", at=at.isoformat(), version=version)
    headers = {
        "Content-Type": "application/zip", "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="oneroster-{at:%Y-%m-%d}.zip"',
    }  # fmt: skip
    seconds = call.context.settings.export_stream_seconds
    async with asyncio.timeout(seconds), call.context.db.district(call.district_id, readonly=True) as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # A COPY takes as long as its client does.
        await tx.execute(f"SET LOCAL statement_timeout = '{int(seconds * 1000)}'")
        made = await asof.package(tx, position, version)
        async with await Sending.begin(call.request, headers, lambda: _stands(call)) as sending:
            async for chunk in made.chunks():
                await sending.write(chunk)
            return await sending.end()


async def _stands(call: Call) -> bool:
    """Whether the token still opens anything."""
    async with call.context.db.shared() as tx:
        return await admin_tokens.stands(tx, call.actor.token_id, call.context.clock.now())


ROUTES = (
    Route("GET", "/districts/{district}/records", listing, "The records of one entity, now or at an earlier time",
          roles=DISTRICT, query=RecordsQuery, answer=Records, action="record.list", writes=True,
          errors=(Code.PAST_GONE,)),
    Route("GET", "/districts/{district}/records/package", package, "The whole district as CSV, now or at a time",
          roles=DISTRICT, query=PackageQuery, media="application/zip", action="record.package", writes=True,
          errors=(Code.PAST_GONE, Code.DISTRICT_BUSY)),
    Route("GET", "/districts/{district}/records/{record}", get, "One record, now or at an earlier time", roles=DISTRICT,
          query=WhichAt, answer=Record, action="record.read", writes=True, errors=(Code.PAST_GONE,)),
    Route("GET", "/districts/{district}/records/{record}/history", history, "What became of a record, and by whom",
          roles=DISTRICT, query=LivesQuery, answer=RecordVersions, action="record.history", writes=True),
)  # fmt: skip
