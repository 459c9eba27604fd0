"""How the sources of a district are doing: how old what they said last is, and what their reports tell over time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.store import runs, source_health, source_schedules, sources
from hub.store.runs import Run
from hub.store.source_health import Health
from hub.store.source_schedules import SourceSchedule
from hub.sync import trends as trends_of
from hub.sync.trends import trend


class Trouble(Shown):
    """What is wrong with a source now."""

    kind: Literal["held", "failed", "late"]
    code: str = Field(description="Of the last error, or of the first reason that holds the run.")
    since: datetime
    times: int = Field(description="Runs in a row.")
    run_id: UUID | None


class SourceFreshness(Shown):
    """One source."""

    source_id: UUID
    name: str
    state: Literal["active", "paused"]
    succeeded_at: datetime | None = Field(description="End of the last run that was applied or found nothing changed.")
    age_seconds: float | None = Field(description="Since then.")
    rows: int | None = Field(description="Of the last package that was read to its end.")
    expected_at: datetime | None = Field(
        description="When its schedule pulls it next, or its next package is expected."
    )
    late: bool = Field(description="The last time of its schedule has passed by more than the grace without a success.")
    troubles: list[Trouble]


class Freshness(Shown):
    """All sources of a district, oldest first."""

    items: list[SourceFreshness]


class TrendQuery(Asked):
    """How far back."""

    runs: Annotated[int, Field(ge=2, le=50, description="Runs to look at.")] = 10


class TrendRun(Shown):
    """One run of the trend."""

    run_id: UUID
    requested_at: datetime
    state: str
    findings: int


class RuleTrend(Shown):
    """One kind of finding over the runs."""

    code: str
    entity: str
    severity: str
    title: str
    howto: str
    counts: list[int] = Field(description="Findings in each of the runs, in their order.")
    change: Literal["new", "gone", "more", "fewer", "constant"] = Field(
        description="Of the last run against the one before."
    )
    opened_at: datetime | None = Field(description="The run (of these) since which it is found; null: it has closed.")
    closed_at: datetime | None = Field(description="The run since which it is not found any more; null: it is open.")
    share: float | None = Field(description="Of the entity's rows in the last run; null where that is not known.")


class Trends(Shown):
    """What the reports of a source's last runs say together; runs that found nothing changed have none."""

    runs: list[TrendRun] = Field(description="Oldest first.")
    rules: list[RuleTrend] = Field(description="What is new and what grows comes first.")


async def listing(call: Call) -> Freshness:
    """How fresh each source is; those that departed are left out."""
    now = call.context.clock.now()
    async with call.reading() as tx:
        rows = await sources.listing(tx)
        healths, schedules = await source_health.all_of(tx), await source_schedules.all_of(tx)
        troubles = await source_health.troubles(tx)
    return Freshness(
        items=[
            _fresh(s, healths.get(s.source_id), schedules.get(s.source_id), troubles.get(s.source_id, []), now)
            for s in rows
            if s.state != "departed"
        ]
    )


def _fresh(
    source: sources.Source, health: Health | None, schedule: SourceSchedule | None,
    troubles: list[source_health.Trouble], now: datetime,
) -> SourceFreshness:  # fmt: skip
    return SourceFreshness(
        source_id=source.source_id, name=source.name, state=source.state,
        succeeded_at=health.succeeded_at if health else None,
        age_seconds=max(0.0, (now - health.succeeded_at).total_seconds()) if health else None,
        rows=health.rows if health else None, expected_at=_expected(schedule),
        late=any(t.kind == source_health.LATE for t in troubles) or _overdue(source, schedule, now),
        troubles=[Trouble.model_validate(t) for t in troubles],
    )  # fmt: skip


def _expected(schedule: SourceSchedule | None) -> datetime | None:
    """When a source is pulled next, or something of it is to come."""
    if schedule is None or schedule.cron is not None or schedule.late_from is None:
        return schedule.next_at if schedule else None
    return schedule.late_from - timedelta(minutes=schedule.grace_minutes)


def _overdue(source: sources.Source, schedule: SourceSchedule | None, now: datetime) -> bool:
    """Whether a schedule's time passed unheeded: also where no worker is there to see it."""
    if schedule is None or schedule.state != "active" or source.state != "active":
        return False
    grace = timedelta(minutes=schedule.grace_minutes)
    from_ = schedule.late_from or (schedule.next_at + grace if schedule.next_at else None)
    return from_ is not None and from_ <= now


async def trends(call: Call, query: TrendQuery) -> Trends:
    """What changed in the findings."""
    async with call.reading() as tx:
        source = await sources.get(tx, call.id("source"))
        found = await runs.reported(tx, source.source_id, limit=query.runs)
    found.reverse()
    return Trends(
        runs=[_run(run) for run in found],
        rules=[_rule(rule, found) for rule in trend([run.report for run in found], _rows(found))],
    )


def _rows(found: list[Run]) -> dict[str, int]:
    """How many rows of each entity the last run had."""
    names = ("created", "updated", "unchanged", "quarantined")
    counts: dict[str, dict[str, int]] = found[-1].counts if found else {}
    return {entity: sum(numbers.get(name, 0) for name in names) for entity, numbers in counts.items()}


def _rule(rule: trends_of.RuleTrend, found: list[Run]) -> RuleTrend:
    opened, closed = (None if at is None else found[at].requested_at for at in (rule.opened, rule.closed))
    return RuleTrend(
        code=rule.code, entity=rule.entity, severity=rule.severity, title=rule.title, howto=rule.howto,
        counts=rule.counts, change=rule.change, opened_at=opened, closed_at=closed, share=rule.share,
    )  # fmt: skip


def _run(run: Run) -> TrendRun:
    return TrendRun(
        run_id=run.run_id, requested_at=run.requested_at, state=run.state, findings=run.report.get("total", 0)
    )


ROUTES = (
    Route("GET", "/districts/{district}/freshness", listing, "How fresh each source is, and what is wrong",
          roles=STAFF, answer=Freshness),
    Route("GET", "/districts/{district}/sources/{source}/trends", trends, "Findings over the last runs of a source",
          roles=STAFF, query=TrendQuery, answer=Trends),
)  # fmt: skip
