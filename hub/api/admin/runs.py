"""Runs: start one from an upload, watch it, read its report, decide on a held one, wholly or in part."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field, field_validator

from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cut, place_time
from hub.api.admin.problem import FieldError, InvalidError
from hub.api.admin.route import STAFF, Role, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.admin.transforms import checked
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import holds, past, sources, uploads
from hub.store import runs as store
from hub.sync import undoing
from hub.sync.shaping import CANDIDATE
from transforms.catalogue import CATALOGUE
from transforms.shaping.definition import Definition, as_json

State = Literal[
    "queued",
    "running",
    "held",
    "applied",
    "unchanged",
    "previewed",
    "rejected",
    "failed",
    "expired",
    "superseded",
    "cancelled",
]
#: States that a worker will still change by itself.
MOVING = frozenset({"queued", "running"})
#: Set when the server stops, so that event streams end and do not hold it up.
STOPPING = web.AppKey("stopping", asyncio.Event)
_EVENT_SECONDS = 0.5
_STREAM_SECONDS = 600


class NewRun(Asked):
    """Which package to sync."""

    upload_id: UUID
    dry_run: bool = Field(default=False, description="Compute and report everything, change nothing.")
    transform: Definition | None = Field(
        default=None,
        description="A transform to try in a dry run; for the district only.",
    )


class NewUndo(Asked):
    """How to undo a run."""

    dry_run: bool = Field(default=False, description="Compute and report everything, change nothing.")


class Run(Shown):
    """One run: a sync of one source, or another change of a district's records."""

    run_id: UUID
    kind: str = Field(
        description="`sync` for a source's package, `undo`, `erase`, `override`, `remerge`, `departure` or `people`."
    )
    task: dict[str, Any] = Field(
        description="What a run of another kind is about; of an undo: `run`, of an erasure: `person`; the transform"
        " that a dry run tries."
    )
    source_id: UUID | None
    upload_id: UUID | None
    dry_run: bool
    state: State
    stage: str = Field(description="What the worker is doing; empty while it waits and after the end.")
    progress: dict[str, Any] = Field(
        description="Entity, its rows and their total, rows_done of rows_total over all entities, seconds_left (an"
        " estimate, null while nothing is known), timings so far."
    )
    counts: dict[str, Any] = Field(
        description="By entity: created, updated, deleted, unchanged, quarantined, withheld; moved and rebound records"
        " are among the updated ones."
    )
    guard: list[Any] = Field(description="Why the run is held (`holds`), and what else the guard did.")
    approved: dict[str, Any] | None
    timings: dict[str, Any] = Field(description="Seconds by stage.")
    position: int | None = Field(description="Where its changes stand in the district's feed.")
    attempt: int
    error_code: str | None
    error_message: str | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    decide_by: datetime | None = Field(description="When a held run expires (of a previewed one: its values).")
    resume_at: datetime | None = Field(description="When a run goes on that only waits for a blackout to end.")
    cancelled_by: str | None
    expected_rows: int = Field(description="Rows of its package, as far as they can be foreseen: decides its lane.")

    @field_validator("counts")
    @classmethod
    def _in_order(cls, counts: dict[str, Any]) -> dict[str, Any]:
        """Entities in the catalogue's order: the database gives them back in one of its own."""
        return {name: counts[name] for name in (e.name for e in CATALOGUE.entities) if name in counts}


class RunPage(Page[Run]):
    """Some runs, newest first."""


class Report(Shown):
    """The quality report of a run."""

    run_id: UUID
    state: State
    report: dict[str, Any] = Field(description="Findings by code and file with how to mend them; no values of records.")


async def create(call: Call, body: NewRun) -> Run:
    """Queues a run and rings the workers' doorbell."""
    task = await asyncio.to_thread(_candidate, call, body)
    async with call.writing() as writing:
        tx = writing.tx
        upload = await uploads.get(tx, body.upload_id)
        if upload.state != "complete":
            raise HubError(
                Code.UPLOAD_INCOMPLETE, "The upload is not whole, or its bytes are gone. Send the package again."
            )
        source = await sources.get(tx, upload.source_id)
        if source.state != "active":
            raise HubError(Code.CONFLICT, "The source is paused. Set its state to active first.")
        run = await store.request(
            tx, new_id(), source_id=upload.source_id, upload_id=upload.upload_id, dry_run=body.dry_run,
            requested_by=call.actor_name, task=task,
        )  # fmt: skip
        writing.note(f"run/{run.run_id}", source=str(run.source_id), upload=str(run.upload_id), dry_run=run.dry_run)
    await call.context.wake("sync", call.district_id)
    return Run.model_validate(run)


def _candidate(call: Call, body: NewRun) -> dict[str, Any]:
    """The task of a run that tries a transform. Raises InvalidError, and HubError(FORBIDDEN) for operators."""
    if body.transform is None:
        return {}
    if call.role is not Role.DISTRICT:  # its counts would tell who is in a roster
        raise HubError(Code.FORBIDDEN, "Only the district itself may try a transform.")
    if not body.dry_run:
        raise InvalidError("body", [FieldError(field="transform", message="A transform is tried in a dry run only.")])
    checked(body.transform, "transform")
    return {CANDIDATE: as_json(body.transform)}


async def listing(call: Call, query: Paging) -> RunPage:
    """Runs, newest first."""
    async with call.reading() as tx:
        rows = await store.listing(tx, before=place_time(query.after), limit=query.limit + 1)
    items, after = cut([Run.model_validate(r) for r in rows], query.limit, [r.requested_at.isoformat() for r in rows])
    return RunPage(items=items, next=after)


async def get(call: Call) -> Run:
    """One run with its progress."""
    async with call.reading() as tx:
        return Run.model_validate(await store.get(tx, call.id("run")))


async def report(call: Call) -> Report:
    """The quality report."""
    async with call.reading() as tx:
        return Report.model_validate(await store.get(tx, call.id("run")))


async def approve(call: Call) -> Run:
    """Lets a held run go on."""
    return await _decide(call, approve=True)


async def reject(call: Call) -> Run:
    """Ends a held run; nothing of it is applied."""
    return await _decide(call, approve=False)


async def undo(call: Call, body: NewUndo) -> Run:
    """Queues the inverse of an applied run. Whoever asks for it approves it: the guard does not hold it."""
    async with call.writing() as writing:
        tx = writing.tx
        undone = await undoing.undoable(tx, call.id("run"))
        run = await store.request(
            tx, new_id(), source_id=None, upload_id=None, dry_run=body.dry_run, requested_by=call.actor_name,
            kind=undoing.KIND, task={"run": str(undone.run_id)},
        )  # fmt: skip
        await past.approve(tx, run.run_id, call.actor_name)
        writing.note(f"run/{run.run_id}", undone=str(undone.run_id), dry_run=run.dry_run)
        run = await store.get(tx, run.run_id)
    await call.context.wake("sync", call.district_id)
    return Run.model_validate(run)


async def _decide(call: Call, *, approve: bool) -> Run:
    async with call.writing() as writing:
        run = await store.decide(writing.tx, call.id("run"), approve=approve, actor=call.actor_name)
        if not approve and run.upload_id is not None:
            await uploads.discard(writing.tx, run.upload_id)  # nobody will want the bytes again
        writing.note(f"run/{run.run_id}", counts=run.counts)
    if approve:
        await call.context.wake("sync", call.district_id)
    return Run.model_validate(run)


class Release(Asked):
    """Which part of a held run to apply."""

    schools: list[UUID] | None = Field(
        default=None, min_length=1, max_length=5_000,
        description="Only what belongs to these schools, and to the district as a whole. Without it: all but the"
        " schools that are over their limits.",
    )  # fmt: skip


async def release(call: Call, body: Release) -> Run:
    """Lets a part of a held run go on; the rest is queued as a run of its own, which is held."""
    async with call.writing() as writing:
        run = await holds.release(writing.tx, call.id("run"), schools=body.schools, actor=call.actor_name)
        withhold = (run.approved or {}).get("withhold")
        writing.note(f"run/{run.run_id}", counts=run.counts, withhold=withhold)
    await call.context.wake("sync", call.district_id)
    return Run.model_validate(run)


async def cancel(call: Call) -> Run:
    """Ends a run that waits or is under way; of one that is being carried out, nothing is applied."""
    async with call.writing() as writing:
        tx = writing.tx
        run = await store.get(tx, call.id("run"))
        # First the bytes, then the run, as its worker does: in another order the two could wait for each other.
        if run.upload_id is not None and await store.alone(tx, run):
            await uploads.discard(tx, run.upload_id)
        run = await store.cancel(tx, run.run_id, actor=call.actor_name)
        writing.note(f"run/{run.run_id}")
    return Run.model_validate(run)


async def events(call: Call) -> web.StreamResponse:
    """The run as server-sent events (`event: run`), one per change, until it stops moving or for ten minutes."""
    run = await get(call)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = web.StreamResponse(headers=headers)
    await stream.prepare(call.request)
    stopping = call.request.app[STOPPING]
    deadline = asyncio.get_running_loop().time() + _STREAM_SECONDS
    shown: Run | None = None
    while True:
        if run != shown:
            await stream.write(f"event: run\ndata: {run.model_dump_json()}\n\n".encode())
            shown = run
        if run.state not in MOVING or stopping.is_set() or asyncio.get_running_loop().time() > deadline:
            break
        try:
            await asyncio.wait_for(stopping.wait(), _EVENT_SECONDS)
        except TimeoutError:
            run = await get(call)
    await stream.write_eof()
    return stream


ROUTES = (
    Route("POST", "/districts/{district}/runs", create, "Start a run from an upload", roles=STAFF, body=NewRun,
          answer=Run, status=202, action="run.create", errors=(Code.UPLOAD_INCOMPLETE, Code.CONFLICT)),
    Route("GET", "/districts/{district}/runs", listing, "List runs, newest first", roles=STAFF, query=Paging,
          answer=RunPage),
    Route("GET", "/districts/{district}/runs/{run}", get, "One run: state, progress, counts", roles=STAFF, answer=Run),
    Route("GET", "/districts/{district}/runs/{run}/events", events, "A run's progress as server-sent events",
          roles=STAFF, media="text/event-stream"),
    Route("GET", "/districts/{district}/runs/{run}/report", report, "A run's quality report", roles=STAFF,
          answer=Report),
    Route("POST", "/districts/{district}/runs/{run}/approve", approve, "Let a held run go on", roles=STAFF,
          answer=Run, action="run.approve", errors=(Code.CONFLICT,)),
    Route("POST", "/districts/{district}/runs/{run}/reject", reject, "End a held run", roles=STAFF, answer=Run,
          action="run.reject", errors=(Code.CONFLICT,)),
    Route("POST", "/districts/{district}/runs/{run}/release", release, "Let a part of a held run go on", roles=STAFF,
          body=Release, answer=Run, action="run.release", errors=(Code.CONFLICT,)),
    Route("POST", "/districts/{district}/runs/{run}/cancel", cancel, "End a run that waits or is under way",
          roles=STAFF, answer=Run, action="run.cancel", errors=(Code.CONFLICT,)),
    Route("POST", "/districts/{district}/runs/{run}/undo", undo, "Undo an applied run by a new one", roles=STAFF,
          body=NewUndo, answer=Run, status=202, action="run.undo", errors=(Code.CONFLICT, Code.PAST_GONE)),
)  # fmt: skip
