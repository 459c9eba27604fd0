"""A hash says which rows to look at; what is stored says whether they changed (docs/decisions/0009)."""

from __future__ import annotations

from hub.store.database import Database as Pool
from tests.districts import District, sandbox
from tests.services import Database

FILES = ("orgs", "academic_sessions", "courses", "classes", "users", "enrollments", "demographics")


async def test_hashes_that_went_stale_cost_a_comparison_and_change_nothing(database: Database) -> None:
    db = await Pool.open(database.worker, name="test worker", largest=4)
    try:
        district = await District(db).create()
        frames = sandbox().frames
        await district.sync(frames)
        await district.grant()
        async with db.district(district.district_id) as tx:
            await tx.execute("UPDATE source_records SET hash = hash + 1")
        before = [row for row in await district.state() if row[0] != "source_records"]
        run = await district.sync({name: frame.reverse() for name, frame in frames.items()})

        assert run.state == "unchanged"
        assert {name: c["updated"] for name, c in run.counts.items()} == dict.fromkeys(run.counts, 0)
        assert run.counts["users"]["unchanged"] == frames["users"].height
        assert [row for row in await district.state() if row[0] != "source_records"] == before
    finally:
        await db.close()
