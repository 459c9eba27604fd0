"""Resolved, rendered and copied into staging in the background, while the next batch is transformed."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Coroutine

import polars as pl

from hub.crashpoints import crash_point
from hub.store import staging
from hub.sync.ahead import Ahead
from hub.sync.fresh import Fresh
from hub.sync.job import Job
from hub.sync.resolve import resolve
from transforms.catalogue import Entity
from transforms.render import render

#: Rows that are rendered and copied at a time: their documents and COPY text are the largest things in memory.
WRITTEN_ROWS = 10_000
Indexes = dict[str, pl.DataFrame]


class Writer:
    """Writes the staged rows of one run. ``fresh`` keeps the new records, where the district had none.

    As a context manager it ends with its body, whatever that has left open.
    """

    def __init__(self, job: Job, ahead: Ahead | None) -> None:
        self._job, self._ahead = job, ahead
        self.fresh: Fresh | None = None
        self._writing = _Background()
        self._beside = _Background()

    async def close(self) -> None:
        """Ends what is under way: only after a failure something is."""
        await self._writing.close()
        await self._beside.close()

    async def stage(
        self, entity: Entity, task: str, rows: pl.DataFrame, indexes: Indexes, documents: pl.DataFrame | None = None
    ) -> None:
        """Hands rows (with key, hash, rid, sourcedId) over to be resolved, rendered and copied in the background.

        ``indexes``: what the references are resolved by. ``documents``: doc and doc_private beside the rows, where they
        have been rendered already. One batch is written while the next one is transformed, no more: memory stays
        bounded.
        """
        await self._writing.settled()
        self._writing.begin(self._write(entity, task, rows, indexes, documents))

    async def beside(
        self, copy: Callable[[], Coroutine[None, None, None]], then: Callable[[Ahead], None] | None = None
    ) -> None:
        """Lets what belongs to the rows but is none of them be copied in the background too, one thing at a time.

        ``then``: what is told once it is in staging, if some of the run is written early.
        """
        await self._beside.settled()
        self._beside.begin(self._copy_beside(copy, then))

    async def _copy_beside(
        self, copy: Callable[[], Coroutine[None, None, None]], then: Callable[[Ahead], None] | None
    ) -> None:
        await copy()
        if then is not None and (ahead := self.joining) is not None:
            then(ahead)

    @property
    def joining(self) -> Ahead | None:
        """Where the source joins others in a district, what writes early."""
        return self._ahead if self.fresh is None else None

    async def staged(self) -> None:
        """Waits for all that is being written."""
        await self._writing.settled()
        await self._beside.settled()

    async def _write(
        self, entity: Entity, task: str, rows: pl.DataFrame, indexes: Indexes, documents: pl.DataFrame | None
    ) -> None:
        copying: asyncio.Task[None] | None = None
        try:
            for start in range(0, rows.height, WRITTEN_ROWS):
                started, part = time.perf_counter(), rows.slice(start, WRITTEN_ROWS)
                known = None if documents is None else documents.slice(start, WRITTEN_ROWS)
                text = await asyncio.to_thread(self._text, entity, task, part, indexes, known)
                self._job.progress.add("render", time.perf_counter() - started)
                crash_point("stage.rendered")
                if copying is not None:
                    await copying
                # The server reads while the next part is rendered.
                copying = asyncio.create_task(self._copy(entity, task, part["rid"], *text))
            if copying is not None:
                await copying
        finally:
            if copying is not None and not copying.done():  # only after a failure
                copying.cancel()
                await asyncio.gather(copying, return_exceptions=True)

    def _text(
        self, entity: Entity, task: str, rows: pl.DataFrame, indexes: Indexes, documents: pl.DataFrame | None
    ) -> tuple[list[str], io.BytesIO]:
        if task != staging.REHASH:
            resolved = resolve(entity, rows, indexes)
            rows = resolved.rids.hstack(render(entity.name, resolved.documents) if documents is None else documents)
        claim = self._job.claim
        if task == staging.INSERT and self.fresh is not None:
            self.fresh.add(entity, rows)
        return staging.staged_text(entity, claim.district_id, claim.lease_token, task, rows)

    async def _copy(self, entity: Entity, task: str, rids: pl.Series, columns: list[str], text: io.BytesIO) -> None:
        started = time.perf_counter()
        await staging.stage(self._job.db, entity, columns, text)
        self._job.progress.add("stage", time.perf_counter() - started)
        crash_point("stage.copied")
        if self._ahead is not None and task == staging.INSERT and not entity.rid_of:
            self._ahead.staged(entity, rids[0], rids[-1] + 1)


class _Background:
    """One thing at a time that is done in the background."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Begins with something; what was begun before has to be ``settled``."""
        self._task = asyncio.create_task(work)

    async def settled(self) -> None:
        """Waits for what is under way. Raises what it failed with."""
        if self._task is not None:
            task, self._task = self._task, None
            await task

    async def close(self) -> None:
        """Ends what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
