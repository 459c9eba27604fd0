"""Where pulls keep their answers, for the next attempt of their run by a worker of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import structlog

from connectors.journal import LONGEST, Journal
from connectors.protocol import ConnectorError, may_go_on
from hub.errors import Code, HubError, Intent
from hub.store import runs
from hub.store.sources import Source
from hub.sync.job import Job

_PREFIX = "rosterhub-journal-"

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def kept(job: Job, source: Source) -> AsyncIterator[Journal | None]:
    """The journal of a job's run. It is removed at the end, or left where the next attempt may go on with it.

    None where there can be none: without a key, or while a worker that lost the run still has it.
    """
    journal = await asyncio.to_thread(_opened, job, source)
    if journal is None:
        yield None
        return
    try:
        yield journal
    except BaseException as error:
        await asyncio.to_thread(journal.close if _tried_again(job, error) else journal.remove)
        raise
    await asyncio.to_thread(journal.remove)


def _tried_again(job: Job, error: BaseException) -> bool:
    """Whether the run's next attempt may go on with what this one read."""
    if isinstance(error, HubError):
        go_on = error.intent is Intent.RETRY or error.code is Code.FENCED
    else:
        go_on = may_go_on(error) if isinstance(error, ConnectorError) else isinstance(error, asyncio.CancelledError)
    return go_on and job.claim.run.attempt < runs.MAX_ATTEMPTS


def _opened(job: Job, source: Source) -> Journal | None:
    if job.key is None:
        return None
    folder, run_id = Path(tempfile.gettempdir()), job.claim.run.run_id
    for left in folder.glob(f"{_PREFIX}*"):  # of runs that nobody tried again
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LONGEST.total_seconds():
                left.unlink()
    try:
        asked = orjson.dumps([source.kind, source.config, source.cursor], option=orjson.OPT_SORT_KEYS)
        return Journal(folder / f"{_PREFIX}{run_id}", job.key.journal(run_id, asked), time.time())
    except OSError as error:
        log.warning("pull goes without a journal", run=str(run_id), reason=type(error).__name__)
        return None
