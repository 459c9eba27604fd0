"""Resolved, rendered and copied into staging in the background, while the next batch is transformed."""

from __future__ import annotations

import asyncio
import io
import time

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
        self._writing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Ends what is under way: only after a failure something is."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def stage(self, entity: Entity, task: str, rows: pl.DataFrame, indexes: Indexes) -> None:
        """Hands rows (with key, hash, rid, sourcedId) over to be resolved, rendered and copied in the background.

        ``indexes``: what the references are resolved by. One batch is written while the next one is transformed, no
        more: memory stays bounded.
        """
        await self.staged()
        self._writing = asyncio.create_task(self._write(entity, task, rows, indexes))

    async def staged(self) -> None:
        """Waits for the batch that is being written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    async def _write(self, entity: Entity, task: str, rows: pl.DataFrame, indexes: Indexes) -> None:
        copying: asyncio.Task[None] | None = None
        try:
            for part in rows.iter_slices(WRITTEN_ROWS):
                started = time.perf_counter()
                text = await asyncio.to_thread(self._text, entity, task, part, indexes)
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

    def _text(self, entity: Entity, task: str, rows: pl.DataFrame, indexes: Indexes) -> tuple[list[str], io.BytesIO]:
        if task != staging.REHASH:
            resolved = resolve(entity, rows, indexes)
            documents = render(entity.name, resolved.documents)
            rows = resolved.rids.hstack(documents)
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
