"""What the tests of held runs share: a clock that stands, settings, and looks at a district by the source's own ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl

from hub.store import differences, guards, holds, runs
from hub.store.runs import Run
from hub.sync.engine import work_once
from hub.sync.guard import Settings
from tests.districts import District, Frames
from transforms.catalogue import CATALOGUE, Kind

UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class StandingClock:
    """A clock that is set by hand."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment


def guarded(district: District) -> StandingClock:
    """Gives a district a clock that begins now."""
    clock = StandingClock(datetime.now(UTC))
    district.clock = clock
    return clock


async def setting(district: District, settings: dict[str, Any]) -> None:
    """Sets the district's guard."""
    written = Settings.model_validate(settings).as_json()
    async with district.db.district(district.district_id) as tx:
        await guards.set_of_district(tx, written)


def around(clock: StandingClock, kind: str, hours: int = 1, **more: Any) -> dict[str, Any]:
    """A window that is open now, and for some hours."""
    starts, ends = (clock.now() + timedelta(hours=h) for h in (-hours, hours))
    local = {"starts": starts.replace(tzinfo=None).isoformat(), "ends": ends.replace(tzinfo=None).isoformat()}
    return {"windows": [{"kind": kind, "name": "the window", **local, **more}]}


async def approve(district: District, run_id: UUID) -> Run:
    """Approves a run and has it carried out."""
    async with district.db.district(district.district_id) as tx:
        await runs.decide(tx, run_id, approve=True, actor="t")
    return await worked(district, run_id)


async def release(district: District, run_id: UUID, schools: list[UUID] | None = None) -> Run:
    """Releases a part of a run and has it carried out."""
    async with district.db.district(district.district_id) as tx:
        await holds.release(tx, run_id, schools=schools, actor="t")
    return await worked(district, run_id)


async def worked(district: District, run_id: UUID) -> Run:
    """A run once there is nothing more to do."""
    while await work_once(district.db, district.clock):
        pass
    return await district.run(run_id)


async def rest(district: District, run_id: UUID) -> Run:
    """The run that holds the rest of one that was released in part."""
    async with district.db.district(district.district_id) as tx:
        found = [run for run in await runs.listing(tx) if run.task.get("rest_of") == str(run_id)]
    (one,) = found
    return one


async def listed(district: District, run_id: UUID, **asked: Any) -> list[differences.Change]:
    """The kept difference of a run."""
    async with district.db.district(district.district_id) as tx:
        return await differences.listing(tx, run_id, limit=100_000, **asked)


async def schools(district: District) -> dict[str, UUID]:
    """The sourcedIds of schools by the source's key."""
    return {key: UUID(found) for (entity, key), found in (await _ids(district)).items() if entity == "orgs"}


async def by_key(district: District) -> dict[tuple[str, str], tuple[bool, str]]:
    """All records by the source's key: whether they are active, and their documents with keys in the place of ids."""
    keys = {found: f"{entity}:{key}" for (entity, key), found in (await _ids(district)).items()}
    out = {}
    async with district.db.district(district.district_id) as tx:
        for entity in CATALOGUE.entities:
            rows = await tx.fetch(
                f"SELECT sourced_id::text AS id, active, doc || doc_private AS doc FROM {entity.table}"
            )
            for row in rows:
                doc = UUIDS.sub(lambda found: keys.get(found.group(), found.group()), row["doc"])
                # What was deleted says what it said last, which depends on when it was deleted.
                out[entity.name, keys[row["id"]].partition(":")[2]] = (row["active"], doc if row["active"] else "")
    return out


async def _ids(district: District) -> dict[tuple[str, str], str]:
    found = {}
    async with district.db.district(district.district_id) as tx:
        for entity in CATALOGUE.entities:
            rows = await tx.fetch(
                "SELECT s.key, t.sourced_id::text AS id FROM source_records s "
                f"JOIN {entity.table} t USING (district_id, rid) WHERE s.entity = $1",
                entity.name,
            )
            found |= {(entity.name, row["key"]): row["id"] for row in rows}
    return found


async def dangling(district: District) -> list[str]:
    """References of active records to what is not active."""
    found = []
    async with district.db.district(district.district_id) as tx:
        for entity in CATALOGUE.entities:
            for field in entity.references:
                if field.kind is Kind.REF and field.target is not None:
                    value = f't."{field.table_column}"'
                    rids = f"unnest({value})" if field.many else f"(SELECT {value})"
                    count = await tx.fetchval(
                        f"SELECT count(*) FROM {entity.table} t CROSS JOIN LATERAL {rids} AS r(rid) WHERE t.active "
                        f"AND r.rid IS NOT NULL AND NOT EXISTS (SELECT FROM {CATALOGUE[field.target].table} o "
                        "WHERE o.district_id = t.district_id AND o.rid = r.rid AND o.active)"
                    )
                    found += [f"{entity.name}.{field.name}: {count}"] if count else []
        lost = await tx.fetchval(
            "SELECT count(*) FROM demographics d WHERE active AND NOT EXISTS (SELECT FROM users u "
            "WHERE u.district_id = d.district_id AND u.rid = d.rid AND u.active)"
        )
    return [*found, *([f"demographics: {lost}"] if lost else [])]


def of_school(frames: Frames, file: str, school: str) -> list[str]:
    """The keys of a school's classes or enrollments."""
    return frames[file].filter(pl.col("schoolSourcedId") == school)["sourcedId"].to_list()
