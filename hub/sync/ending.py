"""The end of a run whose difference is staged: applied, held, previewed, or found to change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from pyroaring import BitMap

from hub.crashpoints import crash_point
from hub.ids import new_id
from hub.store import differences, districts, grants, holds, past, rules, runs, staging, uploads
from hub.store.database import Transaction
from hub.store.runs import Claim
from hub.store.statement_history import Moment
from hub.sync import guard
from hub.sync.ahead import Applying, Early
from hub.sync.apply import Applied, Taken, apply, lock, note, take_documents, write_said
from hub.sync.guarded import of_people
from hub.sync.job import Job
from hub.sync.judging import Judging
from hub.sync.prepared import Prepared, findings
from hub.sync.progress import ENDING
from hub.sync.rebinding import rebound
from hub.sync.withholding import take_out
from transforms.catalogue import CATALOGUE
from transforms.issues import collect
from transforms.report import summary
from transforms.rules.guarded import ID_005

#: The findings about a file that has its header alone, and about one that ends in the middle of a row.
_HEADER_ALONE, _CUT_SHORT = "FILE-003", "FILE-044"


@dataclass(frozen=True)
class _End:
    """What every way to end a run needs. ``withheld``: how many changes were taken out of the difference.

    ``asked``: what the guard says of findings.
    """

    job: Job
    prepared: Prepared
    taken: Taken | None
    judging: Judging
    issues: pl.DataFrame
    report: dict[str, Any]
    withheld: int
    asked: list[guard.Reason]

    @property
    def whole(self) -> bool:
        """Whether the run does not only say what changed."""
        return self.taken is None or self.taken.whole

    @property
    def ending(self) -> int:
        """How many records end with the run."""
        return sum(len(changes.deleted) for changes in self.prepared.entities.values())

    def shown(self, **report: object) -> dict[str, Any]:
        """Counts and report, as the run's row shows them."""
        counts = {name: changes.counts.as_json() for name, changes in self.prepared.entities.items()}
        return {
            "counts": counts,
            "report": self.report | report | {"whole": self.whole},
            "timings": self.job.progress.timings,
        }


class _RollBackError(Exception):
    """Ends the transaction of a dry or held run; carries what it found out."""

    def __init__(
        self, ending: _End, reasons: list[guard.Reason], report: dict[str, Any], rows: list[dict[str, Any]]
    ) -> None:
        super().__init__()
        self.ending, self.reasons, self.report, self.rows = ending, reasons, report, rows


async def end(job: Job, prepared: Prepared, taken: Taken | None, applying: Applying) -> bool:
    """Applies, or holds, or previews; then empties staging and wakes the dispatchers.

    Returns whether records are now as the package or whoever asked wants them: all of it was applied, or there was
    nothing to change. Where a part was withheld, the package is needed once more.

    ``taken``: the package that the difference comes from; None for a run of another kind. Raises what ``apply`` and
    ``Applying.open`` raise.
    """
    await asyncio.create_task(_without_ended(job, prepared))  # this task may have a transaction open
    whole = taken is None or taken.whole
    judging = await asyncio.create_task(Judging.begin(job, whole=whole))
    additive, withheld = judging.additive and taken is not None, 0  # what is no package does not come again
    others = await asyncio.create_task(_others(job, prepared, judging)) if taken is not None else BitMap()
    if additive or others or judging.withhold is not None:
        withheld = await asyncio.create_task(
            take_out(job, prepared, additive=additive, asked=judging.withhold, rebound=others)
        )
    if withheld:
        await applying.drop()  # it has written what is to be left out
    issues, asked = await asyncio.create_task(_asked(job, prepared, others))
    report = await asyncio.to_thread(summary, issues)
    taken = taken.in_part() if taken and withheld else taken
    ending = _End(job, prepared, taken, judging, issues, report, withheld, asked)
    # A missing file is asked about, whatever else came.
    first = [*guard.reasons(judging.rules, _files(ending)), *asked]
    lacking = judging.settle(first, calendar=False)
    if not (prepared or job.claim.run.dry_run or any(r.holds for r in lacking)):
        await applying.drop()
        await _nothing_changed(ending)
        return not withheld
    crash_point("sync.staged")
    job.progress.enter("apply")
    await asyncio.create_task(job.beat())  # this task may have a transaction open
    stands = True
    try:
        await _apply(ending, applying)
    except _RollBackError as found:
        await _stayed_out(found.ending, found)
        stands = False
    crash_point("apply.after_commit")
    await _after(job)
    return stands and not withheld


async def _others(job: Job, prepared: Prepared, judging: Judging) -> BitMap:
    """The users who wait because their sourcedId names somebody else; none where they are so many that all waits."""
    if not prepared.rules.runs(ID_005):
        return BitMap()
    found = await rebound(job, prepared)
    if not found:
        return found
    limit, before = (
        judging.rules.in_windows.limit("limits", "users", "rebound"),
        prepared.entities["users"].counts.before,
    )
    return BitMap() if limit is None or limit.exceeded(len(found), before) else found


async def _asked(job: Job, prepared: Prepared, others: BitMap) -> tuple[pl.DataFrame, list[guard.Reason]]:
    """All findings, and what the guard says of them."""
    issues, source = findings(prepared), job.claim.run.source_id
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        last = await rules.last_found(tx, source, list(prepared.entities))
        keys = await differences.keys(tx, source, CATALOGUE["users"], list(others)) if others else []
    counts = {name: changes.counts for name, changes in prepared.entities.items()}
    rows = {n: c.created + c.updated + c.unchanged + c.quarantined for n, c in counts.items()}
    found = {(code, entity): n for code, entity, n in issues.group_by("code", "entity").len().iter_rows()}
    reasons = guard.finding_reasons(found, rows, last, prepared.rules)
    if others:
        issues = collect([issues, of_people(keys)])
        text = f"{len(others)} sourcedIds name other people than before: these users wait, with all that is theirs."
        reasons.append(guard.Reason("rebound_withheld", "users", len(others), 0, text, holds=False))
    if renewed := prepared.renewed:
        issues = collect([issues, of_people(renewed)])
        text = f"{len(renewed)} sourcedIds name other people than before: these are new, and the former ones end."
        reasons.append(guard.Reason("rebound_renewed", "users", len(renewed), 0, text, holds=False))
    return issues, reasons


async def _with(ending: _End, found: pl.DataFrame) -> _End:
    """The same with what the guard found."""
    if not (found := ending.prepared.rules.kept(found)).height:
        return ending
    issues = collect([ending.issues, found])
    return replace(ending, issues=issues, report=await asyncio.to_thread(summary, issues))


def _files(ending: _End) -> guard.Facts:
    """What the guard looks at before anything is applied: which files came."""
    missing = ending.taken.missing if ending.taken else []
    return guard.Facts({}, missing=missing, headers=_about(ending, _HEADER_ALONE), cut=_about(ending, _CUT_SHORT))


def _about(ending: _End, code: str) -> list[str]:
    """The files that have a finding, by their names without ``.csv``."""
    files = ending.issues["file"].filter(ending.issues["code"] == code)
    return [file.removesuffix(".csv") for file in files.to_list()]


async def _apply(ending: _End, applying: Applying) -> None:
    """Applies the difference in one transaction, and leaves it again where it may not stay."""
    job, prepared, judging = ending.job, ending.prepared, ending.judging
    claim, run_id = job.claim, job.claim.run.run_id
    columns = await asyncio.to_thread(prepared.fresh.columns) if prepared.fresh is not None else None
    async with applying.open() as (tx, early):
        applied = await apply(tx, claim, prepared, ending.taken, job.clock.now(), early, columns)
        looked = await judging.look(tx, job, prepared.entities, applied, _files(ending))
        crash_point("apply.guard_looked")
        ending = await _with(ending, await looked.findings())
        await runs.keep_issues(tx, run_id, ending.issues)
        said = [*looked.reasons, *ending.asked]
        reasons = judging.settle(said, withheld=ending.withheld, ending=ending.ending)
        shown = {"effects": _effects(applied), "difference": looked.report()}
        stays = not (claim.run.dry_run or any(r.holds for r in reasons))
        rows = await looked.rows(with_values=not stays)
        if not stays:
            raise _RollBackError(ending, reasons, shown, rows)
        await differences.keep(tx, run_id, rows)
        crash_point("apply.differences_kept")
        if prepared.last is not None:
            await prepared.last(tx)
        job.progress.enter(ENDING)
        await _let_go(tx, ending)
        await runs.finish(
            tx, claim, "applied", guard=_told(reasons), position=applied.position, **ending.shown(**shown)
        )
        crash_point("apply.before_commit")


async def _stayed_out(ending: _End, found: _RollBackError) -> None:
    """Ends a run that was held or tried dry. The one place where a run becomes held."""
    job, claim = ending.job, ending.job.claim
    async with job.db.district(claim.district_id, wait_seconds=30) as tx:
        await runs.keep_issues(tx, claim.run.run_id, ending.issues)
        await differences.keep(tx, claim.run.run_id, found.rows)
        state = "previewed" if claim.run.dry_run else "held"
        job.progress.enter(ENDING)
        for reserved in reversed(ending.prepared.reserved):
            await districts.return_rids(tx, *reserved)
        await runs.finish(tx, claim, state, guard=_told(found.reasons), **ending.shown(**found.report))
        resume_at = None if claim.run.dry_run else ending.judging.resume_at(found.reasons)
        await holds.wait(tx, claim.run.run_id, decide_by=ending.judging.decide_by, resume_at=resume_at)
        await holds.supersede(tx, claim, whole=ending.whole)


def _effects(applied: Applied) -> list[dict[str, Any]]:
    return [effect.as_json() for effect in applied.effects]


def _told(reasons: Sequence[guard.Reason]) -> list[dict[str, Any]]:
    return [reason.as_json() for reason in reasons]


async def _let_go(tx: Transaction, ending: _End) -> None:
    """The bytes of an upload go with the transaction that takes them over, unless a rest of them waits."""
    claim = ending.job.claim
    await holds.supersede(tx, claim, whole=ending.whole)
    if ending.judging.withhold is not None and ending.withheld:
        await holds.queue_rest(tx, claim, new_id())
    else:
        await discard(tx, claim)


async def _without_ended(job: Job, prepared: Prepared) -> None:
    """Leaves out of what is to end what has ended already: an undo ends records of which sources go on to speak."""
    ending = {name: changes for name, changes in prepared.entities.items() if changes.deleted}
    if not ending:
        return
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        for name, changes in ending.items():
            changes.deleted = BitMap(await past.active(tx, CATALOGUE[name], list(changes.deleted)))
            changes.counts.deleted = len(changes.deleted)


async def _after(job: Job) -> None:
    """What may be done late, or never: wake the dispatchers, who look by themselves too, and empty staging."""
    async with job.db.district(job.claim.district_id, wait_seconds=30) as tx:
        await grants.announce(tx)
    crash_point("notify.announced")
    await staging.clear(job.db, job.claim.district_id, job.claim.lease_token)
    crash_point("notify.swept")


async def discard(tx: Transaction, claim: Claim) -> None:
    """Deletes the bytes of a run's upload: nobody comes back for them later."""
    if claim.run.upload_id is not None:
        await uploads.discard(tx, claim.run.upload_id)


async def _nothing_changed(ending: _End) -> None:
    """Other bytes, the same records (rows in another order, say): no record, view or feed is written."""
    job, claim, taken = ending.job, ending.job.claim, ending.taken
    job.progress.enter(ENDING)
    async with job.db.district(claim.district_id, wait_seconds=30) as tx:
        moment = Moment(await lock(tx, claim), between=True)
        await runs.keep_issues(tx, claim.run.run_id, ending.issues)
        # Hashes that went stale, and what is said anew without changing a record.
        await take_documents(tx, ending.prepared, Early())
        await write_said(tx, claim, ending.prepared, Early(), moment)
        if taken is not None:
            await note(tx, taken, ending.prepared)
        await _let_go(tx, ending)
        told = _told([r for r in ending.judging.settle(ending.asked, withheld=ending.withheld) if not r.holds])
        await runs.finish(tx, claim, "unchanged", guard=told, **ending.shown())
    await _after(job)
