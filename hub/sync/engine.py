"""One run from claim to end: pull, transform, compare, apply; lease kept alive; every ending written down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import polars as pl
import structlog

from connectors.protocol import ConnectorError, Package
from hub.clock import Clock
from hub.crashpoints import crash_point
from hub.errors import Code, HubError, Intent
from hub.store import grants, runs, sources, staging, uploads
from hub.store.database import Database
from hub.store.runs import Claim
from hub.sync import guard
from hub.sync.apply import Applied, Taken, apply
from hub.sync.prepare import Preparation, Prepared, findings
from hub.sync.progress import Progress
from hub.sync.pull import pull
from transforms.issues import RULES, Severity
from transforms.pipeline import REVISION
from transforms.report import summary

log = structlog.get_logger()
HEARTBEAT_SECONDS = runs.LEASE_SECONDS / 3


class _RollBackError(Exception):
    """Ends the transaction of a dry or held run; carries what it found out."""

    def __init__(self, applied: Applied, reasons: list[guard.Reason]) -> None:
        super().__init__()
        self.applied, self.reasons = applied, reasons


async def work_once(db: Database, clock: Clock) -> bool:
    """Claims one due run and carries it out; whether there was one.

    A run that fails in a way that may pass is queued again, up to ``runs.MAX_ATTEMPTS`` times. Raises
    HubError(UNAVAILABLE) when the database is away: the run's lease then ends by itself and another worker takes over.
    """
    claim = await runs.claim(db)
    if claim is None:
        return False
    crash_point("sync.claimed")
    progress = Progress()
    try:
        async with _lease(db, claim, progress):
            await _carry_out(db, claim, clock, progress)
    except HubError as error:
        await _failed(db, claim, error)
    except ConnectorError as error:
        intent = Intent(error.intent)
        await _failed(db, claim, HubError(Code.SOURCE_FAILED, f"{error.code}: {error.message}", intent=intent))
    except Exception:
        # A bug of ours: the run ends visibly, the traceback goes to the log without local values.
        log.exception("run failed", run=str(claim.run.run_id))
        await _failed(db, claim, HubError(Code.INTERNAL, "The hub failed; its log has the run's id and the reason."))
    return True


@contextlib.asynccontextmanager
async def _lease(db: Database, claim: Claim, progress: Progress) -> AsyncIterator[None]:
    """Renews the lease while the body runs; ends the body when the lease was lost.

    The database is the judge: a missed heartbeat only matters once somebody else has claimed the run.
    """
    body = asyncio.current_task()
    assert body is not None  # noqa: S101 - we are inside a task
    lost: list[HubError] = []

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS if progress.stage != "waiting" else 1)
            try:
                await runs.heartbeat(db, claim, stage=progress.stage, progress=progress.as_json())
            except HubError as error:
                if error.code is Code.FENCED:
                    lost.append(error)
                    body.cancel()
                    return

    task = asyncio.create_task(beat())
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            body.uncancel()
            raise lost[0] from None
        raise
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _failed(db: Database, claim: Claim, error: HubError) -> None:
    """Ends a failed attempt: queued again where a later try may succeed, failed otherwise.

    A run that was fenced out of the district is queued again too; if the run itself was taken over, the lease token no
    longer fits and nothing is written.
    """
    again = error.intent is Intent.RETRY or error.code is Code.FENCED
    state = "queued" if again and claim.run.attempt < runs.MAX_ATTEMPTS else "failed"
    log.warning("run ended", run=str(claim.run.run_id), state=state, code=error.code.value)
    with contextlib.suppress(HubError):
        async with db.district(claim.district_id, wait_seconds=30) as tx:
            await runs.finish(tx, claim, state, error=error)
    await staging.clear(db, claim.district_id, claim.run.run_id)


async def _carry_out(db: Database, claim: Claim, clock: Clock, progress: Progress) -> None:
    if claim.run.attempt > runs.MAX_ATTEMPTS:
        raise HubError(
            Code.INTERNAL, f"The run ended {runs.MAX_ATTEMPTS} times without a result. Look at the worker's log."
        )
    async with db.district(claim.district_id, readonly=True, wait_seconds=30) as tx:
        source = await sources.get(tx, claim.run.source_id)
    progress.enter("pull")
    async with pull(db, claim, source) as (package, cursor):
        crash_point("sync.package_open")
        blocking = {code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_SYNC}
        if package.issues["code"].is_in(blocking).any():
            await _refused(db, claim, package, progress)
            return
        digest = f"{REVISION}:{package.digest}"
        taken = Taken(source.source_id, digest, sorted(package.mode), cursor)
        if digest == source.digest and not claim.run.dry_run:
            await _unchanged(db, claim, progress)
            return
        if claim.run.attempt > 1 or claim.run.approved:
            await staging.clear(db, claim.district_id, claim.run.run_id)
        prepared = await Preparation(db, claim.district_id, claim.run.run_id, source.source_id, package, progress).run()
        crash_point("sync.transformed")
        missing = sorted(set(source.files) - set(package.mode))
        await _end(db, claim, clock, progress, prepared, taken, missing)


async def _end(
    db: Database, claim: Claim, clock: Clock, progress: Progress, prepared: Prepared, taken: Taken, missing: list[str]
) -> None:
    """Applies, or holds, or previews; then empties staging and wakes the dispatchers."""
    issues = findings(prepared)
    report = await asyncio.to_thread(summary, issues)
    counts = {name: c.counts for name, c in prepared.entities.items()}
    shown: dict[str, Any] = {"counts": {name: c.as_json() for name, c in counts.items()}, "report": report}
    lacking = bool(missing) and not claim.run.approved  # a missing file is asked about, whatever else came
    if not (prepared or claim.run.dry_run or lacking):
        await _nothing_changed(db, claim, progress, taken, issues, shown)
        return
    crash_point("sync.staged")
    progress.enter("apply")
    await runs.heartbeat(db, claim, stage="apply", progress=progress.as_json())
    try:
        async with db.district(claim.district_id, wait_seconds=30) as tx:
            await runs.keep_issues(tx, claim.run.run_id, issues)
            applied = await apply(tx, claim, prepared, taken, clock.now())
            reasons = guard.reasons(
                counts, emptied_schools=applied.emptied_schools, missing_files=missing, approved=claim.run.approved
            )
            if reasons or claim.run.dry_run:
                raise _RollBackError(applied, reasons)  # noqa: TRY301 - leaving the block is what rolls back
            state = "applied"
            progress.enter("commit")
            shown["report"] |= {"effects": [e.as_json() for e in applied.effects]}
            await runs.finish(tx, claim, state, timings=progress.timings, position=applied.position, **shown)
            crash_point("apply.before_commit")
    except _RollBackError as found:
        shown["report"] |= {"effects": [e.as_json() for e in found.applied.effects]}
        async with db.district(claim.district_id, wait_seconds=30) as tx:
            await runs.keep_issues(tx, claim.run.run_id, issues)
            state = "previewed" if claim.run.dry_run else "held"
            held = [r.as_json() for r in found.reasons]
            await runs.finish(tx, claim, state, guard=held, timings=progress.timings, **shown)
    crash_point("apply.after_commit")
    await _after(db, claim, state)


async def _after(db: Database, claim: Claim, state: str) -> None:
    """What may be done late or twice: wake the dispatchers, empty staging, drop the bytes of an applied upload."""
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await grants.announce(tx)
    await staging.clear(db, claim.district_id, claim.run.run_id)
    if claim.run.upload_id is not None and state in {"applied", "unchanged"}:
        async with db.district(claim.district_id, wait_seconds=30) as tx:
            await uploads.discard(tx, claim.run.upload_id)


async def _refused(db: Database, claim: Claim, package: Package, progress: Progress) -> None:
    error = HubError(Code.PACKAGE_REFUSED, "Nothing of the package was applied. The report says what to mend.")
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await runs.keep_issues(tx, claim.run.run_id, package.issues)
        await runs.finish(tx, claim, "failed", report=summary(package.issues), timings=progress.timings, error=error)


async def _nothing_changed(
    db: Database, claim: Claim, progress: Progress, taken: Taken, issues: pl.DataFrame, shown: dict[str, Any]
) -> None:
    """Other bytes, the same records (rows in another order, say): no record, view or feed is written."""
    progress.enter("commit")
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await runs.keep_issues(tx, claim.run.run_id, issues)
        await staging.write_sources(tx, taken.source_id, claim.run.run_id)  # refreshes hashes that went stale
        await sources.applied(tx, taken.source_id, digest=taken.digest, files=taken.files, cursor=taken.cursor)
        await runs.finish(tx, claim, "unchanged", timings=progress.timings, **shown)
    await _after(db, claim, "unchanged")


async def _unchanged(db: Database, claim: Claim, progress: Progress) -> None:
    """The same bytes as last time: there is nothing to look at, and nothing is written but the run's own end."""
    progress.enter("done")
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await runs.finish(tx, claim, "unchanged", timings=progress.timings)
        if claim.run.upload_id is not None:
            await uploads.discard(tx, claim.run.upload_id)
