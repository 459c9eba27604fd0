"""One run from claim to end: its kind carries it out, the lease is kept alive, every failure is written down."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from connectors.protocol import ConnectorError, NotYetError
from hub import leases
from hub.clock import Clock
from hub.crashpoints import crash_point
from hub.crypto import Keys
from hub.errors import Code, HubError, Intent, out_of_room, storage_full
from hub.metrics.known import SYNC_SECONDS
from hub.store import holds, runs, staging
from hub.store.database import Database
from hub.store.runs import Claim
from hub.sync import erasing, overrides, people, remerging, undoing
from hub.sync.job import Job
from hub.sync.progress import ENDING, Progress
from hub.sync.room import Room
from hub.sync.syncing import sync

log = structlog.get_logger()
#: Shows progress to who watches, and learns that somebody has cancelled the run or taken it over.
HEARTBEAT_SECONDS = 1.0
#: The longest wait before the second attempt; it doubles with each further one.
AGAIN_SECONDS = 2.0
#: The same where a disk is full: somebody has to make room.
FULL_SECONDS = 60.0
#: A source's system that asks for a longer pause is asked again by the next run.
LONGEST_WAIT_SECONDS = 600.0
_CHANCE = random.SystemRandom()
#: How each kind of run is carried out, up to a row that says how it ended.
KINDS: Final[Mapping[str, Callable[[Job], Awaitable[None]]]] = {
    "sync": sync, "override": remerging.override, "remerge": remerging.remerge, "departure": remerging.departure,
    undoing.KIND: undoing.undo, erasing.KIND: erasing.erase, people.KIND: people.regroup,
}  # fmt: skip


async def work_once(
    db: Database, clock: Clock, *, key: Keys | None = None, heartbeat_seconds: float = HEARTBEAT_SECONDS,
    room: Room | None = None, small: bool = False,
) -> bool:  # fmt: skip
    """Claims one due run and carries it out; whether there was one. ``key``: hub.crypto.load_key.

    ``room``: what the runs of this process share; ``small``: in the lane of small runs.
    A run that fails in a way that may pass is queued again, up to ``runs.MAX_ATTEMPTS`` times; one that is cancelled
    because the worker stops is given back at once. Raises HubError(UNAVAILABLE) when the database is away: the run's
    lease then ends by itself and another worker takes over.
    """
    await overrides.queue_ended(db)
    await holds.look(db, clock.now())
    claim = await (runs.claim(db) if room is None else room.claim(db, small=small))
    if claim is None:
        return False
    crash_point("sync.claimed")
    try:
        pulls, allow, watch = (room.pulls, room.allow, room.watch) if room is not None else (None, (), None)
        await _attempt(Job(db, claim, clock, Progress(), pulls, key, allow, watch), heartbeat_seconds)
    finally:
        if room is not None:
            room.leave(claim)
    return True


async def _attempt(job: Job, heartbeat_seconds: float) -> None:
    db, claim = job.db, job.claim
    started = time.monotonic()
    try:
        async with _lease(job, heartbeat_seconds):
            await _carry_out(job)
    except asyncio.CancelledError:
        await _given_back(db, claim)
        raise
    except HubError as error:
        await _failed(db, claim, error)
    except Exception as error:
        if isinstance(error, NotYetError) and runs.SEEN not in claim.run.task:
            await _put_back(db, claim, error)
            return
        waiting = error.wait_seconds or 0.0 if isinstance(error, ConnectorError) else 0.0
        seen = error.seen if isinstance(error, ConnectorError) else None
        await _failed(db, claim, _told(claim, error), least_seconds=waiting, seen=seen)
    finally:
        SYNC_SECONDS.took(time.monotonic() - started, claim.run.kind)


def _told(claim: Claim, error: Exception) -> HubError:
    """What a run says of an error that is none of the hub's own."""
    if out_of_room(error):  # before what a connector made of it
        return storage_full("the worker's temporary files (TMPDIR)")
    if isinstance(error, ConnectorError):
        # The district's other runs wait behind this one, so it does not wait for hours: the next pull will come.
        long = error.wait_seconds is not None and error.wait_seconds > LONGEST_WAIT_SECONDS
        intent = Intent.GIVE_UP if long else Intent(error.intent)
        return HubError(Code.SOURCE_FAILED, f"{error.code}: {error.message}", intent=intent)
    # A bug of ours: the run ends visibly, the traceback goes to the log without local values.
    log.error("run failed", run=str(claim.run.run_id), exc_info=error)
    return HubError(Code.INTERNAL, "The hub failed; its log has the run's id and the reason.")


def _lease(job: Job, seconds: float) -> contextlib.AbstractAsyncContextManager[None]:
    """Renews the run's lease; ends the body when it was lost, to another worker or to who cancelled the run."""
    return leases.kept(job.beat, lambda: seconds, ending=lambda: job.progress.stage == ENDING)


async def _given_back(db: Database, claim: Claim) -> None:
    """The run goes to another worker without waiting for the lease to end."""
    with contextlib.suppress(HubError):
        await runs.release(db, claim)
        await staging.clear(db, claim.district_id, claim.lease_token)


async def _put_back(db: Database, claim: Claim, error: NotYetError) -> None:
    """The run waits in the queue and holds no worker and no turn. Once: a second time is an attempt that failed."""
    wait = min(error.wait_seconds or 0.0, LONGEST_WAIT_SECONDS)
    log.info("run waits", run=str(claim.run.run_id), code=error.code, seconds=round(wait))
    with contextlib.suppress(HubError):
        async with db.district(claim.district_id, wait_seconds=30) as tx:
            await runs.remember(tx, claim, error.seen or {})
        await runs.release(db, claim, wait_seconds=wait)
        await staging.clear(db, claim.district_id, claim.lease_token)


async def _failed(
    db: Database, claim: Claim, error: HubError, *, least_seconds: float = 0.0, seen: Mapping[str, Any] | None = None
) -> None:
    """Ends a failed attempt: queued again where a later try may succeed, failed otherwise.

    ``least_seconds``: the source's system asked not to be tried sooner. ``seen``: what the next attempt is given.

    A run that was fenced out of the district is queued again too; if the run itself was taken over, the lease token no
    longer fits and nothing is written.
    """
    again = error.intent is Intent.RETRY or error.code is Code.FENCED
    state = "queued" if again and claim.run.attempt < runs.MAX_ATTEMPTS else "failed"
    first = FULL_SECONDS if error.code is Code.STORAGE_FULL else AGAIN_SECONDS
    wait = max(least_seconds, first * 2 ** (claim.run.attempt - 1) * _CHANCE.uniform(0.5, 1))
    log.warning("run ended", run=str(claim.run.run_id), state=state, code=error.code.value)
    with contextlib.suppress(HubError):
        async with db.district(claim.district_id, wait_seconds=30) as tx:
            if seen is not None:
                await runs.remember(tx, claim, seen)
            await runs.finish(tx, claim, state, error=error, wait_seconds=wait)
    await staging.clear(db, claim.district_id, claim.lease_token)


async def _carry_out(job: Job) -> None:
    run = job.claim.run
    if run.attempt > runs.MAX_ATTEMPTS:
        raise HubError(
            Code.INTERNAL, f"The run ended {runs.MAX_ATTEMPTS} times without a result. Look at the worker's log."
        )
    await KINDS[run.kind](job)
