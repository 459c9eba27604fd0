"""Workers that are killed at every place that a package of changes passes: all of it once, whoever was killed where."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import polars as pl
import pytest

from hub.crashpoints import PLACES
from tests import worker_process
from tests.districts import District
from tests.services import Database
from tests.snapshots import leftovers, snapshot
from tests.sync.conftest import gradebooks
from tests.sync.test_delta import changes_only, gone, some
from tests.sync.test_several_sources import applied, only, second
from tests.sync.test_store_crashes import COMMITTED, KILLED, STEPS

#: With as few results as will do: all of a district is looked at after each kill.
FRAMES = {
    name: frame.head(20) if name == "results" else frame
    for name, frame in gradebooks().items()
    if not name.startswith(("result", "lineItem")) or name in {"results", "lineItems"}
}
#: All but the one of a first load: the delta is small, another source speaks of its people, and it has a new result.
DELTA_PLACES = [place for place in PLACES if place.startswith((*STEPS, "merge.")) and place != "stage.inserted"]


async def prepared(district: District) -> None:
    """A gradebook, and a second source that speaks of all users."""
    await applied(district, FRAMES)
    await district.grant()
    other = await second(district, priority=200)
    await applied(other, only(FRAMES, "users", "roles", "userProfiles"))


async def delta(name: str) -> bytes:
    """Another name for a user, two enrollments less and one more, and a new result."""
    result, user = FRAMES["results"].head(1), FRAMES["demographics"]["sourcedId"][5]
    ended, moved = FRAMES["enrollments"]["sourcedId"].head(2), FRAMES["enrollments"]["sourcedId"][2]
    new = some(FRAMES, "enrollments", moved).with_columns(sourcedId=pl.lit(f"e {name}"), role=pl.lit("proctor"))
    files = {
        "users": some(FRAMES, "users", user, familyName=name),
        "enrollments": pl.concat([gone(FRAMES, "enrollments", *ended), new], how="diagonal"),
        "results": result.with_columns(sourcedId=pl.lit(f"r {name}")),
    }
    return await changes_only(files, "1.2")


async def killed_at(district: District, database: Database, run_id: UUID, place: str) -> None:
    """A worker takes the run over and dies; it may be the hundredth that does."""
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE runs SET attempt = 0, lease_until = NULL WHERE run_id = $1", run_id)
    ended = await worker_process.ended(worker_process.start(database.worker, crash_at=place))
    assert ended == KILLED, place


async def seen(district: District, run_id: UUID) -> tuple[str, Any]:
    return (await district.run(run_id)).state, await snapshot(district)


@pytest.mark.threat("F1")
async def test_a_delta_survives_workers_killed_at_every_place(
    district: District, other_district: District, database: Database
) -> None:
    assert len(DELTA_PLACES) >= 25
    for here in (other_district, district):
        await prepared(here)
    before = await snapshot(district)
    assert await snapshot(other_district) == before
    await applied(other_district, await delta("Ada"))
    after = await snapshot(other_district)
    run_id = await district.request(await delta("Ada"))
    for place in (place for place in DELTA_PLACES if place not in COMMITTED):
        await killed_at(district, database, run_id, place)
        assert await seen(district, run_id) == ("running", before), place
    await killed_at(district, database, run_id, "apply.after_commit")
    assert await seen(district, run_id) == ("applied", after)
    for name, place in {"Bea": "notify.announced", "Cleo": "notify.swept"}.items():
        await applied(other_district, await delta(name))
        run_id = await district.request(await delta(name))
        await killed_at(district, database, run_id, place)
        assert await seen(district, run_id) == ("applied", await snapshot(other_district)), place
    assert (await district.sync(await delta("Cleo"))).state == "unchanged"
    assert await leftovers(district) == {}
    assert await snapshot(district) == await snapshot(other_district)
