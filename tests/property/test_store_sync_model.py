"""Random edits of packages and grants: after each step every view, feed and record is what a slow model says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from hub.scope.grants import GrantDefinition
from hub.store import runs
from hub.store.database import Database as Pool
from hub.sync import grants
from hub.sync.engine import work_once
from tests.databases import kept
from tests.districts import District, Frames, sandbox
from tests.property.small_districts import ENTITIES, definitions
from tests.property.synced_district import Documents, Looks, compiled, documents, stored
from tests.services import Database
from tests.snapshots import snapshot

T = TypeVar("T")
BASE = dict(sandbox(students=100, seed=5, gradebook=True).frames)
BASE["results"] = BASE["results"][::12]  # as few as the model can look at one by one
#: Which rows must go with a row: file of the row, file and column that name it.
FOLLOWERS = {
    "users": [("roles", "userSourcedId"), ("userProfiles", "userSourcedId"), ("enrollments", "userSourcedId"),
              ("demographics", "sourcedId"), ("userResources", "userSourcedId"), ("results", "studentSourcedId")],
    "classes": [("enrollments", "classSourcedId"), ("classResources", "classSourcedId"),
                ("scoreScales", "classSourcedId"), ("lineItems", "classSourcedId")],
    "lineItems": [("results", "lineItemSourcedId"), ("lineItemScoreScales", "lineItemSourcedId"),
                  ("lineItemLearningObjectiveIds", "lineItemSourcedId")],
    "results": [("resultScoreScales", "resultSourcedId"), ("resultLearningObjectiveIds", "resultSourcedId")],
}  # fmt: skip
DROPPED = ("users", "classes", "enrollments", "enrollments", "demographics", "lineItems", "results", "resources")
#: Columns that are given other values: texts, and references to any row of another file.
TEXTS = (("users", "givenName"), ("users", "middleName"), ("users", "email"), ("orgs", "name"), ("classes", "title"),
         ("academicSessions", "title"), ("demographics", "cityOfBirth"), ("lineItems", "title"), ("results", "comment"),
         ("resources", "title"))  # fmt: skip
REFERENCES = (
    ("roles", "orgSourcedId", "orgs"), ("classes", "courseSourcedId", "courses"),
    ("classes", "schoolSourcedId", "orgs"), ("enrollments", "userSourcedId", "users"),
    ("courses", "orgSourcedId", "orgs"), ("users", "primaryOrgSourcedId", "orgs"),
    ("users", "agentSourcedIds", "users"), ("results", "studentSourcedId", "users"),
    ("lineItems", "classSourcedId", "classes"), ("lineItems", "schoolSourcedId", "orgs"),
    ("lineItemScoreScales", "scoreScaleSourcedId", "scoreScales"), ("classResources", "resourceSourcedId", "resources"),
)  # fmt: skip


@dataclass
class Package:
    """The package that the source sends next: ``base`` without some rows and with some other values."""

    base: Frames = field(default_factory=lambda: BASE)
    dropped: dict[str, set[str]] = field(default_factory=dict)
    values: dict[tuple[str, str, str], str | None] = field(default_factory=dict)

    def frames(self) -> dict[str, pl.DataFrame]:
        frames = dict(self.base)
        for (file, key, column), value in self.values.items():
            here = pl.col("sourcedId") == key
            frames[file] = frames[file].with_columns(
                pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
            )
        for file, keys in self.dropped.items():
            frames[file] = frames[file].filter(~pl.col("sourcedId").is_in(sorted(keys)))
        for file, followers in FOLLOWERS.items():
            for other, column in followers:
                frames[other] = frames[other].filter(pl.col(column).is_in(frames[file]["sourcedId"].implode()))
        return frames

    def edit(self, kind: str, number: int, other: int) -> None:
        if kind == "drop":
            file = DROPPED[other % len(DROPPED)]
            self.dropped.setdefault(file, set()).add(self._key(file, number))
        elif kind == "bring back":
            for keys in self.dropped.values():
                keys.difference_update(sorted(keys)[:2])
        elif kind == "text":
            file, column = TEXTS[other % len(TEXTS)]
            self.values[file, self._key(file, number), column] = f"Value {number}" if column != "email" else None
        else:
            file, column, target = REFERENCES[other % len(REFERENCES)]
            self.values[file, self._key(file, number), column] = self._key(target, number // 7)

    def _key(self, file: str, number: int) -> str:
        keys = self.base[file]["sourcedId"]
        key: str = keys[number % len(keys)]
        return key


@dataclass
class Known:
    """A grant: its definition in the model's ids and in real ones, and how its records looked last.

    ``settled``: the district's position up to which its feed is settled, see hub.scope.feed.Compacting.
    """

    grant_id: UUID
    model: GrantDefinition
    real: GrantDefinition
    looks: Looks
    entries: int
    settled: int = 0


EDITS = st.lists(
    st.tuples(st.sampled_from(["drop", "bring back", "text", "reference"]), st.integers(0, 5000), st.integers(0, 20)),
    max_size=4,
)


class Granting(RuleBasedStateMachine):
    """One district and the grants of its apps, each of which is compared with the model after each step."""

    db: Pool
    district: District

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.package = Package()
        self.known: list[Known] = []

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @rule(definition=definitions(), which=st.integers(0, 2))
    def edit(self, definition: GrantDefinition, which: int) -> None:
        known = self.known[which % len(self.known)]
        known.model = definition
        known.real = self.do(self._documents()).translated(definition)
        self.do(self._edit(known))

    async def _edit(self, known: Known) -> None:
        async with self.db.district(self.district.district_id) as tx:
            await grants.edit(tx, known.grant_id, known.real, self.district.clock.now())

    async def _documents(self) -> Documents:
        async with self.db.district(self.district.district_id) as tx:
            return await documents(tx)

    @invariant()
    def views_and_feeds_are_what_the_model_says(self) -> None:
        for known in self.known:
            self.do(self._check(known))

    async def _check(self, known: Known) -> None:
        async with self.db.district(self.district.district_id) as tx:
            found = await documents(tx)
            view = await stored(tx, known.grant_id)
        expected = compiled(known.model, found)
        assert view.present == expected
        assert view.replayed(known.settled) == (view.present, view.gone)
        looks, trimmed = found.looks(known.real, expected)
        for entity in ENTITIES:
            assert trimmed[entity] <= view.trimmed[entity] <= view.present[entity]
            was, now = known.looks[entity], looks[entity]
            new = [entry[2:] for entry in view.feed[known.entries :] if entry[1] == entity]
            differing = {rid for rid in was.keys() & now.keys() if was[rid] != now[rid]}
            change = (now.keys() - was.keys(), differing, was.keys() - now.keys())
            assert new == ([change] if any(change) else [])
        known.looks, known.entries = looks, len(view.feed)


class Synced(Granting):
    """The district, its source and its apps. The test gives ``database``."""

    database: Database

    @initialize(first=definitions())
    def load(self, first: GrantDefinition) -> None:
        self.db = self.do(Pool.open(self.database.worker, name="test worker", largest=4))
        self.district = self.do(District(self.db).create())
        self.sync([])
        self.create(first)

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.do(self.scratch())
            self.do(self.db.close())
        self.runner.close()

    @rule(edits=EDITS)
    def sync(self, edits: list[tuple[str, int, int]]) -> None:
        for edit in edits:
            self.package.edit(*edit)
        self.do(self._sync())

    async def _sync(self) -> None:
        run = await self.district.sync(self.package.frames())
        if run.state == "held":
            async with self.db.district(self.district.district_id) as tx:
                await runs.decide(tx, run.run_id, approve=True, actor="test")
            assert await work_once(self.db, self.district.clock)
            run = await self.district.run(run.run_id)
        assert run.state in {"applied", "unchanged"}, (run.error_message, run.guard)
        assert {name: c["quarantined"] for name, c in run.counts.items() if c["quarantined"]} == {}

    @rule(definition=definitions())
    def create(self, definition: GrantDefinition) -> None:
        if len(self.known) < 3:
            found = self.do(self._documents())
            real = found.translated(definition)
            grant = self.do(self.district.grant(real))
            self.known.append(Known(grant.grant_id, definition, real, {entity: {} for entity in ENTITIES}, 0))

    async def scratch(self) -> None:
        """A district that gets the last package at once has the same active records."""
        frames = self.package.frames()
        await self._sync()
        other = await District(self.db).create()
        assert (await other.sync(frames)).state == "applied"
        ours, theirs = await snapshot(self.district), await snapshot(other)
        assert {key: text for key, (active, text) in ours.records.items() if active} == {
            key: text for key, (active, text) in theirs.records.items() if active
        }


@pytest.fixture
def own_database(postgres: str, template: str) -> Iterator[Database]:
    with kept(postgres, template, "test") as database:
        yield database


@pytest.mark.threat("T13", "T16")
def test_views_feeds_and_records_follow_any_course_of_events(own_database: Database) -> None:
    # Shrinking would take minutes: the seed and the steps of a failure are printed.
    few = settings(
        max_examples=4, stateful_step_count=7, deadline=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )  # fmt: skip
    run_state_machine_as_test(type("Here", (Synced,), {"database": own_database}), settings=few)
