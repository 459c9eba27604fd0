"""Workers that are killed while records of several sources are merged, and in runs of other kinds."""

from __future__ import annotations

import pytest

from hub.store import runs
from tests import worker_process
from tests.districts import District, changed, sandbox
from tests.services import Database
from tests.snapshots import snapshot
from tests.sync.test_people import FRAMES, another, decide, picture, sourced_id, split, told
from tests.sync.test_several_sources import a_user, applied, only, second
from tests.sync.test_store_crashes import KILLED, finished, lease_ends

PLACES = (
    "merge.staged", "merge.kept", "stage.differences", "apply.sources_written", "apply.before_commit",
    "apply.after_commit",
)  # fmt: skip


async def killed_and_taken_over(district: District, database: Database, place: str) -> None:
    """A worker dies at a place, another one does its work."""
    assert await worker_process.ended(worker_process.start(database.worker, crash_at=place)) == KILLED
    await lease_ends(district)
    await finished(district)


@pytest.mark.threat("F1")
@pytest.mark.parametrize("place", PLACES)
async def test_a_second_source_is_merged_wholly_or_not_at_all(
    district: District, other_district: District, database: Database, place: str
) -> None:
    frames = sandbox(100, 3).frames
    package = changed(
        only(frames, "users", "roles", "userProfiles"), "users", a_user(frames), email="n@district.example"
    )
    found = []
    for here in (other_district, district):
        await applied(here, frames)
        other = await second(here, priority=1)
        if here is other_district:
            await applied(other, package)
        else:
            run_id = await other.request(package)
            before = await snapshot(here)
            assert await worker_process.ended(worker_process.start(database.worker, crash_at=place)) == KILLED
            assert (await snapshot(here) == before) == (place != "apply.after_commit")
            await lease_ends(here)
            await finished(here)
            assert (await here.run(run_id)).state == "applied"
        async with here.db.district(here.district_id) as tx:
            found.append(
                await tx.fetchrow(
                    "SELECT (SELECT count(*) FROM statements WHERE district_id = $1), "
                    "(SELECT count(*) FROM provenance WHERE district_id = $1), "
                    "(SELECT count(*) FROM source_records WHERE district_id = $1 AND active), "
                    "(SELECT count(*) FROM users WHERE district_id = $1 AND doc_private LIKE '%n@district.example%')",
                    here.district_id,
                )
            )  # fmt: skip
    assert tuple(found[0]) == tuple(found[1])
    assert found[0][3] == 1


@pytest.mark.threat("F1")
@pytest.mark.parametrize("place", ["stage.differences", "apply.before_commit", "apply.after_commit"])
async def test_a_source_departs_wholly_or_not_at_all(synced: District, synced_database: Database, place: str) -> None:
    frames = sandbox(100, 3).frames
    before = await synced.counts()
    other = await second(synced, priority=1)
    hr = only(frames, "users", "roles", "userProfiles")
    await applied(other, changed(hr, "users", a_user(frames), email="n@district.example"))
    async with synced.db.district(synced.district_id) as tx:
        run = await runs.request(
            tx, other.source_id, source_id=other.source_id, upload_id=None, dry_run=False, requested_by="x",
            kind="departure",
        )  # fmt: skip

    await killed_and_taken_over(synced, synced_database, place)

    assert (await synced.run(run.run_id)).state in {"applied", "unchanged"}
    assert await synced.counts() == before
    async with synced.db.district(synced.district_id) as tx:
        left = await tx.fetchval("SELECT count(*) FROM statements WHERE source_id = $1", other.source_id)
    assert left == 0


@pytest.mark.threat("F1")
@pytest.mark.parametrize("place", ["stage.differences", "people.moved", "apply.after_commit"])
async def test_people_are_merged_wholly_or_not_at_all(district: District, database: Database, place: str) -> None:
    key = a_user(FRAMES)
    hr = await another(district, "HR")
    await applied(district, FRAMES)
    await applied(hr, told([key], "hr"))
    left, right = await sourced_id(district, key), await sourced_id(district, f"hr-{key}")
    before = await picture(district)
    made = await decide(district, left, right, "same")

    assert await worker_process.ended(worker_process.start(database.worker, crash_at=place)) == KILLED
    assert (await picture(district) == before) == (place != "apply.after_commit")
    await lease_ends(district)
    await finished(district)

    assert made.run is not None
    assert (await district.run(made.run.run_id)).state == "applied"
    assert await sourced_id(district, f"hr-{key}") == left
    assert (await applied(hr, told([key], "hr"))).state == "unchanged"
    await split(district, right)
    assert await picture(district) == before
