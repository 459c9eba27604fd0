"""Tasks that are cancelled wherever they wait: no connection is lost, nothing is half written, the next one goes on."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from hub.store.database import Database as Pool
from hub.sync.engine import work_once
from tests.districts import District
from tests.interrupted import interrupted
from tests.services import Database
from tests.snapshots import leftovers, snapshot
from tests.sync.conftest import Loaded, change


@pytest.mark.threat("F23")
async def test_a_district_transaction_may_be_cancelled_at_every_await(copied: Database, loaded: Loaded) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    db = await Pool.open(copied.worker, name="test worker", largest=1)

    async def write(value: int) -> None:
        async with db.district(loaded.district_id) as tx:
            for entity in ("first", "second", "third"):
                await tx.execute(
                    "INSERT INTO heads VALUES ($1, $2, $3) "
                    "ON CONFLICT (district_id, entity) DO UPDATE SET next_rid = EXCLUDED.next_rid",
                    tx.district_id, entity, value,
                )  # fmt: skip

    values: list[Any] = []
    for at in itertools.count():
        finished = await interrupted(write(at), at)
        # The only connection is free, belongs to no district, and all rows were written or none.
        async with db.shared() as tx:
            assert await tx.fetchval("SELECT current_setting('hub.district', true)") in {None, ""}
        async with db.district(loaded.district_id, readonly=True) as tx:
            values = await tx.fetch("SELECT next_rid FROM heads WHERE entity IN ('first', 'second', 'third')")
        assert len({row["next_rid"] for row in values}) <= 1
        if finished is not None:
            assert at > 4
            break
    assert len(values) == 3
    assert complaints == []
    await db.close()


@pytest.mark.threat("F23")
async def test_a_run_may_be_cancelled_wherever_it_waits(second: District, loaded: Loaded) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    preview_id = await second.request(change(), dry_run=True)
    waits = await interrupted(work_once(second.db, second.clock), 1_000_000)
    assert waits is not None
    assert (await second.run(preview_id)).state == "previewed"
    run_id = await second.request(change())
    for at in range(0, waits, max(1, waits // 9)):
        if await interrupted(work_once(second.db, second.clock), at) is not None:
            break
        run = await second.run(run_id)
        assert run.state in {"queued", "running", "applied"}
        assert run.attempt <= 1
        assert await snapshot(second) == (loaded.after if run.state == "applied" else loaded.before)
        async with second.db.district(second.district_id) as tx:  # a run cancelled in its claim waits for its lease
            await tx.execute("UPDATE runs SET lease_until = now() WHERE state = 'running'")
    while await work_once(second.db, second.clock):
        pass
    assert (await second.run(run_id)).state == "applied"
    assert await snapshot(second) == loaded.after
    assert await leftovers(second) == {"upload_parts": 1}  # the preview's
    assert complaints == []
