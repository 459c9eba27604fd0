"""The end of a run whose difference is staged: applied, held, previewed, or found to change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import polars as pl
from pyroaring import BitMap

from hub.crashpoints import crash_point
from hub.store import districts, grants, past, runs, staging, uploads
from hub.store.database import Transaction
from hub.store.runs import Claim
from hub.sync import guard
from hub.sync.ahead import Applying
from hub.sync.apply import Applied, Taken, apply, lock, note, write_said
from hub.sync.job import Job
from hub.sync.prepared import Prepared, findings
from hub.sync.progress import ENDING
from transforms.catalogue import CATALOGUE
from transforms.report import summary


class _RollBackError(Exception):
    """Ends the transaction of a dry or held run; carries what it found out."""

    def __init__(self, applied: Applied, reasons: list[guard.Reason]) -> None:
        super().__init__()
        self.applied, self.reasons = applied, reasons


async def end(job: Job, prepared: Prepared, taken: Taken | None, applying: Applying) -> None:
    """Applies, or holds, or previews; then empties staging and wakes the dispatchers.

    ``taken``: the package that the difference comes from; None for a run of another kind. Raises what ``apply`` and
    ``Applying.open`` raise.
    """
    db, claim, progress = job.db, job.claim, job.progress
    await asyncio.create_task(_without_ended(job, prepared))  # this task may have a transaction open
    missing = taken.missing if taken else []
    issues = findings(prepared)
    report = await asyncio.to_thread(summary, issues)
    counts = {name: c.counts for name, c in prepared.entities.items()}
    shown: dict[str, Any] = {"counts": {name: c.as_json() for name, c in counts.items()}, "report": report}
    lacking = bool(missing) and not claim.run.approved  # a missing file is asked about, whatever else came
    if not (prepared or claim.run.dry_run or lacking):
        await applying.close()
        await _nothing_changed(job, prepared, taken, issues, shown)
        return
    crash_point("sync.staged")
    progress.enter("apply")
    await asyncio.create_task(job.beat())  # this task may have a transaction open
    columns = await asyncio.to_thread(prepared.fresh.columns) if prepared.fresh is not None else None
    try:
        async with applying.open() as (tx, inserted):
            await runs.keep_issues(tx, claim.run.run_id, issues)
            applied = await apply(tx, claim, prepared, taken, job.clock.now(), inserted, columns)
            reasons = guard.reasons(
                counts, emptied_schools=applied.emptied_schools, missing_files=missing, approved=claim.run.approved
            )
            _stay_out(claim, applied, reasons)
            if prepared.last is not None:
                await prepared.last(tx)
            progress.enter(ENDING)
            shown["report"] |= {"effects": [e.as_json() for e in applied.effects]}
            await discard(tx, claim)
            await runs.finish(tx, claim, "applied", timings=progress.timings, position=applied.position, **shown)
            crash_point("apply.before_commit")
    except _RollBackError as found:
        shown["report"] |= {"effects": [e.as_json() for e in found.applied.effects]}
        async with db.district(claim.district_id, wait_seconds=30) as tx:
            await runs.keep_issues(tx, claim.run.run_id, issues)
            state = "previewed" if claim.run.dry_run else "held"
            held = [r.as_json() for r in found.reasons]
            progress.enter(ENDING)
            for reserved in reversed(prepared.reserved):
                await districts.return_rids(tx, *reserved)
            await runs.finish(tx, claim, state, guard=held, timings=progress.timings, **shown)
    crash_point("apply.after_commit")
    await _after(job)


async def _without_ended(job: Job, prepared: Prepared) -> None:
    """Leaves out of what is to end what has ended already: an undo ends records of which sources go on to speak."""
    for name, changes in prepared.entities.items():
        if changes.deleted:
            async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
                changes.deleted = BitMap(await past.active(tx, CATALOGUE[name], list(changes.deleted)))
            changes.counts.deleted = len(changes.deleted)


def _stay_out(claim: Claim, applied: Applied, reasons: list[guard.Reason]) -> None:
    """Leaves the transaction of a run that may not stay, which rolls it back."""
    if reasons or claim.run.dry_run:
        raise _RollBackError(applied, reasons)


async def _after(job: Job) -> None:
    """What may be done late, or never: wake the dispatchers, who look by themselves too, and empty staging."""
    async with job.db.district(job.claim.district_id, wait_seconds=30) as tx:
        await grants.announce(tx)
    crash_point("notify.announced")
    await staging.clear(job.db, job.claim.district_id, job.claim.lease_token)


async def discard(tx: Transaction, claim: Claim) -> None:
    """The bytes of an upload go with the transaction that takes them over: nobody comes back for them later."""
    if claim.run.upload_id is not None:
        await uploads.discard(tx, claim.run.upload_id)


async def _nothing_changed(
    job: Job, prepared: Prepared, taken: Taken | None, issues: pl.DataFrame, shown: dict[str, Any]
) -> None:
    """Other bytes, the same records (rows in another order, say): no record, view or feed is written."""
    claim, progress = job.claim, job.progress
    progress.enter(ENDING)
    async with job.db.district(claim.district_id, wait_seconds=30) as tx:
        await lock(tx, claim)
        await runs.keep_issues(tx, claim.run.run_id, issues)
        # Hashes that went stale, and what is said anew without changing a record.
        await write_said(tx, claim, prepared, {})
        if taken is not None:
            await note(tx, taken)
        await discard(tx, claim)
        await runs.finish(tx, claim, "unchanged", timings=progress.timings, **shown)
    await _after(job)
