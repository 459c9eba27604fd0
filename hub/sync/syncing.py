"""A run of kind "sync": a source's package is pulled, transformed, compared and handed over to its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from connectors.protocol import ConnectorError, Package, located
from hub import crypto
from hub.crashpoints import crash_point
from hub.errors import Code, HubError
from hub.store import differences, erasures, holds, runs, source_health, sources, staging, uploads
from hub.sync import components, rule_settings, shaping
from hub.sync.ahead import Applying
from hub.sync.apply import Taken
from hub.sync.ending import discard, end
from hub.sync.erased import Without
from hub.sync.job import Job
from hub.sync.parties import Parties, parties
from hub.sync.prepare import Preparation
from hub.sync.progress import ENDING, Pace
from hub.sync.pull import Pulled, pull
from transforms.catalogue import CATALOGUE
from transforms.issues import RULES, Severity
from transforms.pipeline import REVISION
from transforms.report import summary
from transforms.rules.settings import RuleSettings

log = structlog.get_logger()
#: A source's system has so long to move a package away.
LONGEST_TELLING_SECONDS = 60.0


async def sync(job: Job) -> None:
    """Carries the run out. Raises ConnectorError and HubError as the steps on its way do."""
    db, claim, progress = job.db, job.claim, job.progress
    assert claim.run.source_id is not None, "the schema checks it"
    async with db.district(claim.district_id, readonly=True, wait_seconds=30) as tx:
        source = await sources.get(tx, claim.run.source_id)
        spoken = await parties(tx, source)
        upload = await uploads.get(tx, claim.run.upload_id) if claim.run.upload_id else None
        overtaken = claim.run.approved is not None and await holds.overtaken(tx, claim)
        transform = await shaping.of_run(tx, claim.run)
        health = await source_health.of(tx, source.source_id)
        erased = await erasures.digests(tx, source.source_id)
        rules = await rule_settings.in_force(tx)
    if source.state == "departed":
        raise HubError(Code.CONFLICT, "The source has departed since the run was asked for.")
    if overtaken:
        await _superseded(job)
        return
    archive = f"{REVISION}:{upload.sha256}" if upload is not None and upload.state == "complete" else None
    if archive is not None and transform is not None:
        archive += f":{transform.mark}"  # the same bytes may give other rows
    if archive is not None:
        archive = rule_settings.marked(archive, rules)
    if archive is not None and archive == source.archive and not claim.run.dry_run:
        await _unchanged(job)
        return
    if health is not None and health.prepare_seconds is not None:
        progress.pace = Pace(health.rows, health.prepare_seconds, health.apply_seconds or 0.0)
    progress.enter("pull")
    async with pull(job, source, transform) as pulled:
        crash_point("sync.package_open")
        package = _without(job, source.source_id, pulled.package, erased) if erased else pulled.package
        await _take(job, source, spoken, pulled, package, archive, rules)


async def _take(
    job: Job, source: sources.Source, spoken: Parties, pulled: Pulled, package: Package, archive: str | None,
    rules: RuleSettings,
) -> None:  # fmt: skip
    """Compares what was pulled (``package``: without who was erased) and hands it over to its end."""
    claim = job.claim
    known = pulled.cursor if pulled.told else None
    if pulled.unchanged or (pulled.changes and not package.mode):
        await _unchanged(job, whole=True, cursor=known)
        await _at_the_source(job, pulled)
        return
    job.progress.rows_total = _rows(package)
    blocking = {code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_SYNC}
    if package.issues["code"].is_in(blocking).any():
        await _refused(job, package)
        return
    digest = rule_settings.marked(f"{REVISION}:{package.digest}", rules)
    taken = replace(_taken(source, spoken, package, pulled), digest=digest, archive=archive)
    if digest == source.digest and not claim.run.dry_run:
        await _unchanged(job, whole=taken.whole, cursor=pulled.cursor if claim.run.upload_id is None else known)
        await _at_the_source(job, pulled)
        return
    await staging.sweep(job.db, claim.district_id)
    crash_point("stage.swept")
    async with Applying(job.db, claim) as applying:
        withholding = bool(claim.run.approved and claim.run.approved.get("withhold"))
        if source.digest is None and not withholding:  # rows that are inserted early cannot be taken out
            await applying.begin(source.source_id, job.clock.now())
        steps = Preparation(job, spoken, package, applying.ahead, objects=pulled.objects, rules=rules)
        prepared = await asyncio.create_task(steps.run())  # this task may have a transaction open
        prepared.issues = [located(pulled.package, found) for found in prepared.issues]
        crash_point("sync.transformed")
        whole = await end(job, prepared, taken, applying)
    if whole:
        await _at_the_source(job, pulled)


async def _at_the_source(job: Job, pulled: Pulled) -> None:
    """Does what the source's system is to be told of: that all of its package was applied.

    The run has ended well whatever becomes of this; the next pull does it again.
    """
    if pulled.applied is None or job.claim.run.dry_run:
        return
    try:
        async with asyncio.timeout(LONGEST_TELLING_SECONDS):
            await pulled.applied()
    except ConnectorError as error:
        log.warning("package stays at its place", run=str(job.claim.run.run_id), code=error.code)
    except TimeoutError:
        log.warning("package stays at its place", run=str(job.claim.run.run_id), code="timed_out")


def _taken(source: sources.Source, spoken: Parties, package: Package, pulled: Pulled) -> Taken:
    """What the package says of itself; what it is known by comes from the run."""
    # What changed since the last applied run is all that there is to say, whatever was held in between.
    whole = pulled.changes or not _partly(package)
    files, missing = _files(source, package, changes=pulled.changes)
    parts = components.whole(package, spoken)
    return Taken(source.source_id, "", None, files, missing, cursor=pulled.cursor, whole=whole, parts=parts)


def _partly(package: Package) -> bool:
    """Whether some files only say what changed."""
    return any(mode == "delta" for mode in package.mode.values())


def _files(source: sources.Source, package: Package, *, changes: bool) -> tuple[list[str], list[str]]:
    """The files to remember as those of the source, and those that the last package had and this one has not.

    A package of changes leaves out what did not change.
    """
    if changes or _partly(package):
        return sorted({*source.files, *package.mode}), []
    return sorted(package.mode), sorted(set(source.files) - set(package.mode))


def _rows(package: Package) -> int | None:
    """How many rows the entities' own files have; None where one of them cannot tell."""
    counts = [package.rows(e.csv_file) for e in CATALOGUE.entities if e.csv_file in package.mode]
    return None if None in counts else sum(count or 0 for count in counts)


def _without(job: Job, source_id: UUID, package: Package, erased: frozenset[bytes]) -> Package:
    """The package without the people who were erased."""
    key, district_id = job.secret.fixed(crypto.ERASURES), job.claim.district_id
    return Without(package, lambda name: crypto.erased_digest(key, district_id, source_id, name) in erased)


async def _refused(job: Job, package: Package) -> None:
    error = HubError(Code.PACKAGE_REFUSED, "Nothing of the package was applied. The report says what to mend.")
    job.progress.enter(ENDING)
    async with job.db.district(job.claim.district_id, wait_seconds=30) as tx:
        await runs.keep_issues(tx, job.claim.run.run_id, package.issues)
        await runs.finish(
            tx, job.claim, "failed", report=summary(package.issues), timings=job.progress.timings, error=error
        )


async def _superseded(job: Job) -> None:
    """Older data never comes after newer, whoever approved it."""
    job.progress.enter(ENDING)
    async with job.db.district(job.claim.district_id, wait_seconds=30) as tx:
        await differences.forget_values(tx, job.claim.run.run_id)
        await discard(tx, job.claim)
        await runs.finish(tx, job.claim, "superseded", timings=job.progress.timings)


async def _unchanged(job: Job, *, whole: bool | None = None, cursor: dict[str, Any] | None = None) -> None:
    """The same bytes as last time: there is nothing to look at, and nothing is written but the run's own end.

    ``cursor``: where the source's next pull of changes begins.
    """
    job.progress.enter(ENDING)
    async with job.db.district(job.claim.district_id, wait_seconds=30) as tx:
        if cursor is not None and job.claim.run.source_id is not None and not job.claim.run.dry_run:
            await sources.seen(tx, job.claim.run.source_id, cursor=cursor)
        await holds.supersede(tx, job.claim, whole=whole)
        await discard(tx, job.claim)
        await runs.finish(tx, job.claim, "unchanged", timings=job.progress.timings)
