"""One run from claim to end: pull, transform, compare, apply; lease kept alive; every ending written down."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import polars as pl
import structlog

from connectors.protocol import ConnectorError, Package
from hub import leases
from hub.clock import Clock
from hub.crashpoints import crash_point
from hub.errors import Code, HubError, Intent
from hub.store import districts, grants, runs, sources, staging, uploads
from hub.store.database import Database, Transaction
from hub.store.runs import Claim
from hub.sync import guard
from hub.sync.ahead import Applying
from hub.sync.apply import Applied, Taken, apply, lock
from hub.sync.prepare import Preparation, Prepared, findings
from hub.sync.progress import ENDING, Progress
from hub.sync.pull import pull
from transforms.catalogue import CATALOGUE
from transforms.issues import RULES, Severity
from transforms.pipeline import REVISION
from transforms.report import summary

log = structlog.get_logger()
HEARTBEAT_SECONDS = runs.LEASE_SECONDS / 3
#: The longest wait before the second attempt; it doubles with each further one.
AGAIN_SECONDS = 2.0
_CHANCE = random.SystemRandom()


class _RollBackError(Exception):
    """Ends the transaction of a dry or held run; carries what it found out."""

    def __init__(self, applied: Applied, reasons: list[guard.Reason]) -> None:
        super().__init__()
        self.applied, self.reasons = applied, reasons


async def work_once(db: Database, clock: Clock, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> bool:
    """Claims one due run and carries it out; whether there was one.

    A run that fails in a way that may pass is queued again, up to ``runs.MAX_ATTEMPTS`` times; one that is cancelled
    because the worker stops is given back at once. Raises HubError(UNAVAILABLE) when the database is away: the run's
    lease then ends by itself and another worker takes over.
    """
    claim = await runs.claim(db)
    if claim is None:
        return False
    crash_point("sync.claimed")
    progress = Progress()
    try:
        async with _lease(db, claim, progress, heartbeat_seconds):
            await _carry_out(db, claim, clock, progress)
    except asyncio.CancelledError:
        await _given_back(db, claim)
        raise
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


def _lease(
    db: Database, claim: Claim, progress: Progress, seconds: float
) -> contextlib.AbstractAsyncContextManager[None]:
    """Renews the run's lease; ends the body when it was lost."""

    async def beat() -> None:
        await runs.heartbeat(db, claim, stage=progress.stage, progress=progress.as_json())

    def pause() -> float:
        return seconds if progress.stage != "waiting" else min(1, seconds)

    return leases.kept(beat, pause, ending=lambda: progress.stage == ENDING)


async def _given_back(db: Database, claim: Claim) -> None:
    """The run goes to another worker without waiting for the lease to end."""
    with contextlib.suppress(HubError):
        await runs.release(db, claim)
        await staging.clear(db, claim.district_id, claim.lease_token)


async def _failed(db: Database, claim: Claim, error: HubError) -> None:
    """Ends a failed attempt: queued again where a later try may succeed, failed otherwise.

    A run that was fenced out of the district is queued again too; if the run itself was taken over, the lease token no
    longer fits and nothing is written.
    """
    again = error.intent is Intent.RETRY or error.code is Code.FENCED
    state = "queued" if again and claim.run.attempt < runs.MAX_ATTEMPTS else "failed"
    wait = AGAIN_SECONDS * 2 ** (claim.run.attempt - 1) * _CHANCE.uniform(0.5, 1)
    log.warning("run ended", run=str(claim.run.run_id), state=state, code=error.code.value)
    with contextlib.suppress(HubError):
        async with db.district(claim.district_id, wait_seconds=30) as tx:
            await runs.finish(tx, claim, state, error=error, wait_seconds=wait)
    await staging.clear(db, claim.district_id, claim.lease_token)


async def _carry_out(db: Database, claim: Claim, clock: Clock, progress: Progress) -> None:
    if claim.run.attempt > runs.MAX_ATTEMPTS:
        raise HubError(
            Code.INTERNAL, f"The run ended {runs.MAX_ATTEMPTS} times without a result. Look at the worker's log."
        )
    async with db.district(claim.district_id, readonly=True, wait_seconds=30) as tx:
        source = await sources.get(tx, claim.run.source_id)
        upload = await uploads.get(tx, claim.run.upload_id) if claim.run.upload_id else None
    archive = f"{REVISION}:{upload.sha256}" if upload is not None and upload.state == "complete" else None
    if archive is not None and archive == source.archive and not claim.run.dry_run:
        await _unchanged(db, claim, progress)
        return
    progress.enter("pull")
    async with pull(db, claim, source) as (package, cursor):
        crash_point("sync.package_open")
        blocking = {code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_SYNC}
        if package.issues["code"].is_in(blocking).any():
            await _refused(db, claim, package, progress)
            return
        digest = f"{REVISION}:{package.digest}"
        taken = Taken(source.source_id, digest, archive, sorted(package.mode), cursor)
        if digest == source.digest and not claim.run.dry_run:
            await _unchanged(db, claim, progress)
            return
        await staging.sweep(db, claim.district_id)
        missing = sorted(set(source.files) - set(package.mode))
        async with Applying(db, claim) as applying:
            if source.digest is None:
                await applying.begin(source.source_id, clock.now())
            steps = Preparation(
                db, claim.district_id, claim.lease_token, source.source_id, package, progress, applying.ahead
            )
            prepared = await asyncio.create_task(steps.run())  # this task may have a transaction open
            crash_point("sync.transformed")
            await _end(db, claim, clock, progress, prepared, taken, missing, applying)


async def _end(
    db: Database, claim: Claim, clock: Clock, progress: Progress, prepared: Prepared, taken: Taken, missing: list[str],
    applying: Applying,
) -> None:  # fmt: skip
    """Applies, or holds, or previews; then empties staging and wakes the dispatchers."""
    issues = findings(prepared)
    report = await asyncio.to_thread(summary, issues)
    counts = {name: c.counts for name, c in prepared.entities.items()}
    shown: dict[str, Any] = {"counts": {name: c.as_json() for name, c in counts.items()}, "report": report}
    lacking = bool(missing) and not claim.run.approved  # a missing file is asked about, whatever else came
    if not (prepared or claim.run.dry_run or lacking):
        await applying.close()
        await _nothing_changed(db, claim, progress, prepared, taken, issues, shown)
        return
    crash_point("sync.staged")
    progress.enter("apply")
    await asyncio.create_task(runs.heartbeat(db, claim, stage="apply", progress=progress.as_json()))
    columns = await asyncio.to_thread(prepared.fresh.columns) if prepared.fresh is not None else None
    try:
        async with applying.open() as (tx, inserted):
            await runs.keep_issues(tx, claim.run.run_id, issues)
            applied = await apply(tx, claim, prepared, taken, clock.now(), inserted, columns)
            reasons = guard.reasons(
                counts, emptied_schools=applied.emptied_schools, missing_files=missing, approved=claim.run.approved
            )
            _stay_out(claim, applied, reasons)
            progress.enter(ENDING)
            shown["report"] |= {"effects": [e.as_json() for e in applied.effects]}
            await _discard(tx, claim)
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
    await _after(db, claim)


def _stay_out(claim: Claim, applied: Applied, reasons: list[guard.Reason]) -> None:
    """Leaves the transaction of a run that may not stay, which rolls it back."""
    if reasons or claim.run.dry_run:
        raise _RollBackError(applied, reasons)


async def _after(db: Database, claim: Claim) -> None:
    """What may be done late, or never: wake the dispatchers, who look by themselves too, and empty staging."""
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await grants.announce(tx)
    await staging.clear(db, claim.district_id, claim.lease_token)


async def _discard(tx: Transaction, claim: Claim) -> None:
    """The bytes of an upload go with the transaction that takes them over: nobody comes back for them later."""
    if claim.run.upload_id is not None:
        await uploads.discard(tx, claim.run.upload_id)


async def _refused(db: Database, claim: Claim, package: Package, progress: Progress) -> None:
    error = HubError(Code.PACKAGE_REFUSED, "Nothing of the package was applied. The report says what to mend.")
    progress.enter(ENDING)
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await runs.keep_issues(tx, claim.run.run_id, package.issues)
        await runs.finish(tx, claim, "failed", report=summary(package.issues), timings=progress.timings, error=error)


async def _nothing_changed(
    db: Database,
    claim: Claim,
    progress: Progress,
    prepared: Prepared,
    taken: Taken,
    issues: pl.DataFrame,
    shown: dict[str, Any],
) -> None:
    """Other bytes, the same records (rows in another order, say): no record, view or feed is written."""
    progress.enter(ENDING)
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await lock(tx, claim)
        await runs.keep_issues(tx, claim.run.run_id, issues)
        for name in (n for n, changes in prepared.entities.items() if changes.staged):
            await staging.rehash(tx, CATALOGUE[name], claim.lease_token, taken.source_id)  # hashes that went stale
        await sources.applied(
            tx, taken.source_id, digest=taken.digest, archive=taken.archive, files=taken.files, cursor=taken.cursor
        )
        await _discard(tx, claim)
        await runs.finish(tx, claim, "unchanged", timings=progress.timings, **shown)
    await _after(db, claim)


async def _unchanged(db: Database, claim: Claim, progress: Progress) -> None:
    """The same bytes as last time: there is nothing to look at, and nothing is written but the run's own end."""
    progress.enter(ENDING)
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        await _discard(tx, claim)
        await runs.finish(tx, claim, "unchanged", timings=progress.timings)
