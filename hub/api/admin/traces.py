"""Traces of sources: the requests of one pull or test for support, as shapes, without anything about anybody."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import sources
from hub.store import traces as store

_MEDIA = "application/x-ndjson"
What = Literal["pull", "test"]


class NewTrace(Asked):
    """What to record."""

    what: What = Field(default="pull", description="The next pull of the source, or the next test of it.")


class Trace(Shown):
    """One trace, recorded or asked for."""

    trace_id: UUID
    source_id: UUID
    what: What
    requested_by: str
    requested_at: datetime
    run_id: UUID | None = Field(description="The run whose pull it is of.")
    finished_at: datetime | None = Field(description="Null: the next pull or test is recorded.")
    outcome: str | None = Field(description="`whole`, `bad` of a test that found faults, or the code of the error.")
    exchanges: int | None = Field(description="Requests that were made; a long pull's trace has not all of them.")
    size: int | None = Field(description="Bytes.")


class Traces(Shown):
    """The traces of a source, newest first."""

    items: list[Trace]


async def create(call: Call, body: NewTrace) -> Trace:
    """Asks for a trace. Where one is asked for already, that one is answered with."""
    source_id = call.id("source")
    async with call.writing() as writing:
        source = await sources.get(writing.tx, source_id)
        if source.state == "departed":
            raise HubError(Code.CONFLICT, "The source has departed.")
        trace = await store.request(writing.tx, new_id(), source_id, what=body.what, requested_by=call.actor_name)
        writing.note(f"source/{source_id}", trace=str(trace.trace_id), what=body.what)
    return Trace.model_validate(trace)


async def listing(call: Call) -> Traces:
    """All that were asked for and are kept still."""
    async with call.reading() as tx:
        source = await sources.get(tx, call.id("source"))
        return Traces(items=[Trace.model_validate(one) for one in await store.listing(tx, source.source_id)])


async def get(call: Call) -> web.Response:
    """The trace as lines of JSON: what it is of, a line for each request, and how it ended."""
    source_id, trace_id = call.id("source"), call.id("trace")
    async with call.reading() as tx:
        lines = await store.data(tx, source_id, trace_id)
    name = f'attachment; filename="trace-{trace_id}.jsonl"'
    return web.Response(
        body=lines, content_type=_MEDIA, headers={"Cache-Control": "no-store", "Content-Disposition": name}
    )


async def delete(call: Call) -> None:
    """Forgets a trace; of one that is asked for nothing is recorded."""
    source_id, trace_id = call.id("source"), call.id("trace")
    async with call.writing() as writing:
        await store.delete(writing.tx, source_id, trace_id)
        writing.note(f"source/{source_id}", trace=str(trace_id))


_ALL = "/districts/{district}/sources/{source}/traces"
ROUTES = (
    Route("POST", _ALL, create, "Record the next pull or test of a source, for support", roles=STAFF, body=NewTrace,
          answer=Trace, status=201, action="trace.create", errors=(Code.CONFLICT,)),
    Route("GET", _ALL, listing, "The traces of a source", roles=STAFF, answer=Traces),
    Route("GET", _ALL + "/{trace}", get, "A trace, as lines of JSON", roles=STAFF, media=_MEDIA,
          errors=(Code.CONFLICT,)),
    Route("DELETE", _ALL + "/{trace}", delete, "Forget a trace", roles=STAFF, action="trace.delete"),
)  # fmt: skip
