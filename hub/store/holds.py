"""Held runs: releasing a part of one, and what becomes of a run on which nobody decides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store import differences, runs, source_health, uploads
from hub.store.database import Database, Transaction
from hub.store.runs import Claim, Run

#: How many waiting runs one look takes on.
_AT_A_TIME = 50


async def wait(tx: Transaction, run_id: UUID, *, decide_by: datetime, resume_at: datetime | None = None) -> None:
    """Says how long a held run waits (of a previewed one: how long its values are kept).

    ``resume_at``: when it goes on by itself.
    """
    await tx.execute(
        "UPDATE runs SET decide_by = $3, resume_at = $4 WHERE district_id = $1 AND run_id = $2",
        tx.district_id, run_id, decide_by, resume_at,
    )  # fmt: skip


async def release(tx: Transaction, run_id: UUID, *, schools: Sequence[UUID] | None, actor: str) -> Run:
    """Queues a held run again to apply what is not about schools over their limits; with ``schools``: only theirs.

    What belongs to the district as a whole goes with it. Raises HubError(NOT_FOUND), HubError(CONFLICT) when the run is
    not held, or no such part can be told, and HubError(INVALID_REQUEST) for ids of no school.
    """
    run = await runs.held(tx, run_id)
    if run.kind != "sync" or run.dry_run:
        raise HubError(Code.CONFLICT, "Only a run of a source's package can be released in part. Approve or reject it.")
    if schools is not None:
        await _known(tx, schools)
        withhold: dict[str, Any] = {"all_but": sorted(str(school) for school in set(schools))}
    else:
        withhold = {"schools": _unsafe(run)}
    return await runs.decide(tx, run_id, approve=True, actor=actor, withhold=withhold)


def _unsafe(run: Run) -> list[str]:
    """The schools for which a run is held. Raises HubError(CONFLICT) when it is held for more, or all are."""
    reasons = [reason for reason in run.guard if reason["holds"]]
    everywhere = [reason["code"] for reason in reasons if not reason["schools"]]
    if everywhere:
        raise HubError(
            Code.CONFLICT,
            f"The run is held for what concerns no single school ({everywhere[0]}). Name the schools to release, or "
            "approve or reject it.",
        )
    over = {school for reason in reasons for school in reason["schools"]}
    touched = {item["school"] for item in run.report.get("difference", {}).get("schools", [])}
    if not touched - over:
        raise HubError(Code.CONFLICT, "All schools that the run changes are over their limits. Approve or reject it.")
    return sorted(over)


async def _known(tx: Transaction, schools: Sequence[UUID]) -> None:
    known = {school.sourced_id for school in (await differences.schools(tx)).values()}
    unknown = [str(school) for school in schools if str(school) not in known]
    if unknown:
        raise HubError(Code.INVALID_REQUEST, f"`schools` names what is no school of the district: {unknown[0]}.")


async def _end(tx: Transaction, run: Run, state: str) -> None:
    """Ends a held run: nobody will want its bytes or its values again."""
    await tx.execute(
        "UPDATE runs SET state = $3, decide_by = NULL, resume_at = NULL, finished_at = now() "
        "WHERE district_id = $1 AND run_id = $2",
        tx.district_id, run.run_id, state,
    )  # fmt: skip
    await runs.let_followers_go(tx, run)
    await differences.forget_values(tx, run.run_id)
    if run.source_id is not None:
        await source_health.settled(tx, run.source_id, "held")
    if run.upload_id is not None:
        await uploads.discard(tx, run.upload_id)


async def supersede(tx: Transaction, claim: Claim, *, whole: bool | None) -> None:
    """Ends the held runs of the same source that are older than this one: newer data has come to an end.

    ``whole``: whether this run's package does not only say what changed, for such a one does not say what an older one
    said; None where nobody has looked: then older packages of changes stay.
    """
    if claim.run.source_id is None or claim.run.dry_run or whole is False:
        return
    rows = await tx.fetch(
        "SELECT run_id FROM runs WHERE district_id = $1 AND source_id = $2 AND kind = $3 AND state = 'held' "
        "AND (requested_at, run_id) < ($4, $5) AND ($6 OR coalesce((report ->> 'whole')::boolean, true)) FOR UPDATE",
        tx.district_id, claim.run.source_id, claim.run.kind, claim.run.requested_at, claim.run.run_id, bool(whole),
    )  # fmt: skip
    for row in rows:
        await _end(tx, await runs.get(tx, row["run_id"]), "superseded")


async def older_waits(tx: Transaction, claim: Claim) -> bool:
    """Whether an older run of the source is held: changes are applied in the order in which they were sent."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM runs WHERE district_id = $1 AND source_id = $2 AND state = 'held' "
        "AND (requested_at, run_id) < ($3, $4))",
        tx.district_id, claim.run.source_id, claim.run.requested_at, claim.run.run_id,
    )  # fmt: skip
    return found


async def overtaken(tx: Transaction, claim: Claim) -> bool:
    """Whether newer data of the run's source was taken over, while somebody decided on this one."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM runs WHERE district_id = $1 AND source_id = $2 AND kind = $3 AND NOT dry_run "
        "AND state IN ('applied', 'unchanged') AND (requested_at, run_id) > ($4, $5))",
        tx.district_id, claim.run.source_id, claim.run.kind, claim.run.requested_at, claim.run.run_id,
    )  # fmt: skip
    return found


async def queue_rest(tx: Transaction, claim: Claim, run_id: UUID) -> None:
    """Queues the rest of a run that was released in part, right behind it: it is held, and somebody decides.

    Where newer data of the source waits already, that brings the rest along.
    """
    run = claim.run
    newer = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM runs WHERE district_id = $1 AND source_id = $2 AND NOT dry_run "
        "AND state IN ('queued', 'held') AND requested_at > $3)",
        tx.district_id, run.source_id, run.requested_at,
    )  # fmt: skip
    if newer:
        return
    await runs.request(
        tx, run_id, source_id=run.source_id, upload_id=run.upload_id, dry_run=False, requested_by=run.requested_by,
        task=run.task | {"rest_of": str(run.run_id)},
    )  # fmt: skip
    await tx.execute(
        "UPDATE runs SET requested_at = $3 WHERE district_id = $1 AND run_id = $2",
        tx.district_id, run_id, run.requested_at + timedelta(microseconds=1),
    )  # fmt: skip


async def look(db: Database, at: datetime) -> int:
    """Looks at the runs of all districts whose time has come; how many.

    Held ones expire or go on, and the values of old previews are forgotten.
    """
    async with db.statement() as tx:
        rows = await tx.fetch(
            "SELECT district_id, run_id FROM runs WHERE state IN ('held', 'previewed') "
            "AND least(decide_by, resume_at) <= $1 ORDER BY least(decide_by, resume_at) LIMIT $2",
            at, _AT_A_TIME,
        )  # fmt: skip
    for row in rows:
        async with db.district(row["district_id"], wait_seconds=30) as tx:
            await _look_at(tx, row["run_id"], at)
    return len(rows)


async def _look_at(tx: Transaction, run_id: UUID, at: datetime) -> None:
    await tx.execute("SELECT FROM runs WHERE district_id = $1 AND run_id = $2 FOR UPDATE", tx.district_id, run_id)
    run = await runs.get(tx, run_id)
    if run.state == "previewed":
        await differences.forget_values(tx, run_id)
        await tx.execute(
            "UPDATE runs SET decide_by = NULL WHERE district_id = $1 AND run_id = $2", tx.district_id, run_id
        )
    elif run.state == "held" and run.resume_at is not None and run.resume_at <= at:
        await tx.execute(
            "UPDATE runs SET state = 'queued', decide_by = NULL, resume_at = NULL, attempt = 0 "
            "WHERE district_id = $1 AND run_id = $2",
            tx.district_id, run_id,
        )  # fmt: skip
    elif run.state == "held" and run.decide_by is not None and run.decide_by <= at:
        await _end(tx, run, "expired")
