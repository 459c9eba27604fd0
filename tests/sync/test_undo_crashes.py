"""Workers that are killed at every place of an undo and of an erasure: all or nothing, and another does the rest."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from hub.crypto import column_key
from hub.store import past, runs
from hub.sync.engine import work_once
from tests import worker_process
from tests.districts import District, changed, sandbox
from tests.services import MASTER_KEY, Database
from tests.snapshots import leftovers
from tests.sync.conftest import change
from tests.sync.test_retention import everything
from tests.sync.test_several_sources import applied
from tests.sync.test_several_sources import second as another
from tests.sync.test_store_crashes import KILLED, lease_ends
from tests.sync.test_undo import rows
from tests.sync.test_undo_sources import claimed, people, queued, some_users, told

PLACES = (
    "sync.claimed", "sync.staged", "apply.locked", "apply.records_written", "apply.views_written",
    "apply.before_commit", "apply.after_commit",
)  # fmt: skip


async def request(district: District, kind: str, task: dict[str, str]) -> UUID:
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=None, upload_id=None, dry_run=False, requested_by="test", kind=kind, task=task
        )
        await past.approve(tx, run_id, "test")
    return run_id


async def taken_over(district: District) -> None:
    await lease_ends(district)
    while await work_once(district.db, district.clock, key=column_key(MASTER_KEY)):
        pass


@pytest.mark.threat("F1")
@pytest.mark.parametrize("place", PLACES)
async def test_an_undo_survives_a_worker_killed_at_any_place(second: District, copied: Database, place: str) -> None:
    first = await rows(second)
    changed = await second.sync(change())
    later = await rows(second)
    run_id = await request(second, "undo", {"run": str(changed.run_id)})
    assert await worker_process.ended(worker_process.start(copied.worker, crash_at=place)) == KILLED

    committed = place == "apply.after_commit"
    assert (await rows(second) == later) is not committed
    await taken_over(second)
    assert (await second.run(run_id)).state == "applied"
    now = await rows(second)
    assert {key: now[key] for key in first} == first
    if not committed:
        assert await leftovers(second) == {}


@pytest.mark.threat("F1", "T51")
@pytest.mark.parametrize("place", PLACES)
async def test_an_erasure_survives_a_worker_killed_at_any_place(second: District, copied: Database, place: str) -> None:
    assert (await second.sync(change())).state == "applied"
    async with second.db.district(second.district_id) as tx:
        person = await tx.fetchval("SELECT sourced_id FROM users WHERE given_name = 'Zebulon'")
    later = await rows(second)
    run_id = await request(second, "erase", {"person": str(person), "erasure": str(uuid4())})
    assert await worker_process.ended(worker_process.start(copied.worker, crash_at=place)) == KILLED

    committed = place == "apply.after_commit"
    assert (await rows(second) == later) is not committed
    await taken_over(second)
    assert (await second.run(run_id)).state == "applied"
    assert "Zebulon" not in await everything(copied)
    assert await rows(second) != later


@pytest.mark.threat("F1")
@pytest.mark.parametrize("place", ["merge.staged", "apply.sources_written", "apply.after_commit"])
async def test_a_source_comes_back_wholly_or_not_at_all(
    synced: District, synced_database: Database, place: str
) -> None:
    frames = sandbox(100, 3).frames
    other = await another(synced, priority=1)
    one, *_ = some_users(frames)
    await applied(other, changed(people(frames), "users", one, email="one@hr.example"))
    before, claims = await told(synced), await claimed(other)
    departed = await queued(synced, "departure", other.source_id)
    gone, left = await told(synced), await claimed(other)
    run_id = await request(synced, "undo", {"run": str(departed.run_id)})
    assert await worker_process.ended(worker_process.start(synced_database.worker, crash_at=place)) == KILLED

    committed = place == "apply.after_commit"
    assert (await told(synced), await claimed(other)) == ((before, claims) if committed else (gone, left))
    await taken_over(synced)
    assert (await synced.run(run_id)).state == "applied"
    assert (await told(synced), await claimed(other)) == (before, claims)
    if not committed:
        assert await leftovers(synced) == {}
