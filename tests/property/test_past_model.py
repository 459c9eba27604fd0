"""Random courses of syncs and undos: the past is exactly what was, and an undo of the last run leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from hub.store import past, runs
from hub.store.database import Database as Pool
from hub.store.runs import Run
from hub.sync import lives
from hub.sync.engine import work_once
from tests.databases import kept
from tests.districts import District
from tests.property.test_store_sync_model import EDITS, Package, Synced
from tests.services import Database
from transforms.catalogue import CATALOGUE

Rows = dict[tuple[str, int], tuple[bool, str]]
STEPS = st.lists(st.one_of(EDITS, st.integers(0, 3)), min_size=2, max_size=5)


@dataclass
class Course:
    """A district on its way. ``moments``: after each change its time, position and records."""

    district: District
    package: Package = field(default_factory=Package)
    applied: list[UUID] = field(default_factory=list)
    moments: list[tuple[datetime, int, Rows]] = field(default_factory=list)

    async def rows(self) -> Rows:
        """All records, active or not, without the time of their change."""
        found: Rows = {}
        async with self.district.db.district(self.district.district_id, readonly=True) as tx:
            for entity in CATALOGUE.entities:
                for row in await tx.fetch(
                    f"SELECT rid, active, (to_jsonb(t) - 'date_last_modified')::text AS row FROM {entity.table} t"
                ):
                    found[entity.name, row["rid"]] = (row["active"], row["row"])
        return found

    async def sync(self) -> None:
        run = await self.district.sync(self.package.frames())
        if run.state == "held":
            async with self.district.db.district(self.district.district_id) as tx:
                await runs.decide(tx, run.run_id, approve=True, actor="test")
            await self._work()
            run = await self.district.run(run.run_id)
        await self._note(run)

    async def undo(self, run_id: UUID) -> Run:
        run = await undo(self.district, run_id)
        await self._note(run)
        return run

    async def _work(self) -> None:
        await work(self.district)

    async def _note(self, run: Run) -> None:
        assert run.state in {"applied", "unchanged"}, (run.error_code, run.error_message)
        if run.state == "applied":
            assert run.position is not None
            async with self.district.db.district(self.district.district_id) as tx:
                at = await tx.fetchval("SELECT max(at) FROM changes WHERE position = $1", run.position)
            if at is None:
                assert await self.rows() == self.moments[-1][2]  # what no history tells of has not happened
            else:
                self.applied.append(run.run_id)
                self.moments.append((at, run.position, await self.rows()))

    async def the_past_is_what_was(self) -> None:
        async with self.district.db.district(self.district.district_id, readonly=True) as tx:
            for at, position, rows in self.moments:
                assert await lives.position_at(tx, at) == position
                for entity in CATALOGUE.entities:
                    found: dict[int, Any] = {}
                    after = -1
                    while page := await lives.records_at(tx, entity, position, after=after, limit=97):
                        found |= {row.rid: (row.sourced_id, row.doc, row.doc_private) for row in page}
                        after = page[-1].rid
                    was = {
                        rid: _documents(row)
                        for (name, rid), (active, row) in rows.items()
                        if active and name == entity.name
                    }
                    assert found == was

    async def the_last_run_leaves_nothing(self) -> None:
        if len(self.moments) < 2:
            return
        before = self.moments[-2][2]
        after = self.moments[-1][2]
        last = self.applied[-1]
        undone = await self.undo(last)
        now = await self.rows()
        assert {key: now[key] for key in before} == before
        assert not any(active for key, (active, _) in now.items() if key not in before)
        await self.undo(undone.run_id)
        assert await self.rows() == after


def _documents(row: str) -> tuple[str, str, str]:
    loaded = orjson.loads(row)
    return loaded["sourced_id"], loaded["doc"], loaded["doc_private"]


async def work(district: District) -> None:
    while await work_once(district.db, district.clock):
        pass


async def undo(district: District, run_id: UUID) -> Run:
    undoing = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, undoing, source_id=None, upload_id=None, dry_run=False, requested_by="test", kind="undo",
            task={"run": str(run_id)},
        )  # fmt: skip
        await past.approve(tx, undoing, "test")
    await work(district)
    return await district.run(undoing)


class Undone(Synced):
    """As ``Synced``, and now and then one of the last runs is undone: views and feeds are what the model says."""

    @rule(back=st.integers(0, 3))
    def undo(self, back: int) -> None:
        self.do(self._undo(back))

    async def _undo(self, back: int) -> None:
        async with self.db.district(self.district.district_id) as tx:
            found = await tx.fetch(
                "SELECT run_id FROM runs WHERE district_id = $1 AND state = 'applied' ORDER BY position DESC LIMIT 4",
                tx.district_id,
            )
        run = await undo(self.district, found[back % len(found)]["run_id"])
        assert run.state in {"applied", "unchanged"}, (run.error_code, run.error_message)

    async def scratch(self) -> None:
        """The last package is no longer all that there is."""


@pytest.fixture
def own_database(postgres: str, template: str) -> Iterator[Database]:
    with kept(postgres, template, "test") as database:
        yield database


def test_the_past_is_what_was_and_an_undo_leaves_nothing(own_database: Database) -> None:
    @settings(
        max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
    )
    @given(steps=STEPS)
    def any_course(steps: list[Any]) -> None:
        asyncio.run(_course(own_database, steps))

    any_course()


async def _course(database: Database, steps: list[Any]) -> None:
    db = await Pool.open(database.worker, name="test worker", largest=4)
    try:
        course = Course(await District(db).create())
        await course.sync()
        for step in steps:
            if isinstance(step, int):
                await course.undo(course.applied[-1 - step % len(course.applied)])
            else:
                for edit in step:
                    course.package.edit(*edit)
                await course.sync()
        await course.the_past_is_what_was()
        await course.the_last_run_leaves_nothing()
    finally:
        await db.close()


@pytest.mark.threat("T13", "T16")
def test_views_and_feeds_follow_undos(own_database: Database) -> None:
    few = settings(
        max_examples=4, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    run_state_machine_as_test(type("Here", (Undone,), {"database": own_database}), settings=few)
