"""Work in progress on a mid-year package: who may change, and what is to be removed, replaced and added.

Only people without dirt take part, each in one change at most; so every difference between the two packages has one
event that explains it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from hub.sandbox.bench import Dirty
from hub.sandbox.identifiers import make_ids
from hub.sandbox.plan import DistrictPlan
from hub.sandbox.population import Population
from hub.sandbox.schools import School

#: New ids of a mid-year package lie beyond those of the first, planted ones included.
_BEYOND = 50_000_000
#: As many people of a school and role as can be needed: a queue of everybody would be large.
_QUEUE = 400


@dataclass(frozen=True, slots=True)
class Person:
    """A student or teacher who can take part in a change."""

    sourced_id: str
    grade: str | None
    given_name: str
    family_name: str


@dataclass
class Later:
    """``students`` and ``teachers`` are queues by school (sourcedId): who is taken out is not taken again."""

    plan: DistrictPlan
    schools: tuple[School, ...]
    before: dict[str, pl.DataFrame]
    rng: np.random.Generator
    date: str
    students: dict[str, list[Person]]
    teachers: dict[str, list[Person]]
    bystanders: pl.Series  # sourcedIds of all people whose rows must stay as they are
    used: set[str] = field(default_factory=set)
    removed: dict[str, list[str]] = field(default_factory=dict)
    cells: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    added: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    _made: dict[str, int] = field(default_factory=dict)

    @property
    def focus(self) -> list[School]:
        """The schools where things happen: all of them when a percentage was asked for."""
        if self.plan.change_percent is not None:
            return list(self.schools)
        return [self.schools[i] for i in self.plan.focus]

    def take(self, queue: dict[str, list[Person]], school: School, grades: set[str] | None = None) -> Person | None:
        """The next person of ``school`` (in one of ``grades``), or ``None`` when there is none left."""
        waiting = queue.get(school.sourced_id, [])
        for i in range(len(waiting) - 1, -1, -1):
            if grades is None or waiting[i].grade in grades:
                self.used.add(waiting[i].sourced_id)
                return waiting.pop(i)
        return None

    def new_ids(self, kind: str, count: int) -> list[str]:
        """``count`` sourcedIds that the first package has not."""
        start = self._made.get(kind, 0)
        self._made[kind] = start + count
        return make_ids(self.rng, kind, count, self.plan.seed, after=_BEYOND + start).to_list()

    def remove(self, file: str, keys: list[str]) -> None:
        """Takes rows out of ``file``."""
        self.removed.setdefault(file, []).extend(keys)

    def put(self, file: str, column: str, key: str, value: str) -> None:
        """Sets one cell of the row ``key``."""
        self.cells.setdefault((file, column), {})[key] = value

    def add(self, file: str, rows: pl.DataFrame) -> None:
        """Adds rows at the end of ``file``."""
        self.added.setdefault(file, []).append(rows.select(self.before[file].columns))

    def seats_of(self, users: list[str]) -> pl.DataFrame:
        """The enrollments of ``users``."""
        return self.before["enrollments"].filter(pl.col("userSourcedId").is_in(users))

    def after(self, file: str) -> pl.DataFrame:
        """``file`` with all changes."""
        frame = self.before[file]
        for column, values in ((c, v) for (f, c), v in self.cells.items() if f == file):
            new = pl.col("sourcedId").replace_strict(values, default=None, return_dtype=pl.String)
            frame = frame.with_columns(pl.coalesce(new, pl.col(column)).alias(column))
        if self.removed.get(file):
            frame = frame.filter(~pl.col("sourcedId").is_in(self.removed[file]))
        return pl.concat([frame, *self.added.get(file, [])])


def begin(plan: DistrictPlan, population: Population, dirty: Dirty) -> Later:
    """The state before the first change."""
    people = _people(plan, dirty)
    spoilt = _spoilt(dirty)
    rng = np.random.default_rng([plan.seed, 300])
    free = people.filter(~pl.col("sourcedId").is_in(spoilt.implode()), pl.col("school").is_not_null())
    free = free[rng.permutation(free.height)].group_by("school", "role", maintain_order=True).head(_QUEUE)
    return Later(
        plan=plan,
        schools=population.place.schools,
        before=dirty.frames,
        rng=rng,
        date=f"{plan.school_year}-01-18",
        students=_queues(free.filter(pl.col("role") == "student")),
        teachers=_queues(free.filter(pl.col("role") == "teacher")),
        bystanders=spoilt,
    )


def _people(plan: DistrictPlan, dirty: Dirty) -> pl.DataFrame:
    """sourcedId, role, school and names of everybody; the school is blank for people at several."""
    users = dirty.frames["users"]
    if plan.version == "1.1":
        school = pl.when(~pl.col("orgSourcedIds").str.contains(",", literal=True)).then("orgSourcedIds")
        return users.select("sourcedId", "role", "grades", "givenName", "familyName", school=school)
    roles = dirty.frames["roles"].filter(~pl.col("userSourcedId").is_duplicated())
    roles = roles.select("role", sourcedId="userSourcedId", school="orgSourcedId")
    joined = users.join(roles, on="sourcedId", how="left", maintain_order="left")
    return joined.select("sourcedId", "role", "grades", "givenName", "familyName", "school")


def _spoilt(dirty: Dirty) -> pl.Series:
    """Everybody with dirt in a row of their own, in a role or in an enrollment, and people entered twice."""
    ids: set[str] = set(dirty.touched["users"]) | dirty.touched["demographics"]
    ids |= {i for pair in dirty.truth.duplicates for i in pair["sourcedIds"]}
    for file in ("enrollments", "roles"):
        if file in dirty.frames:
            touched = pl.Series([*dirty.touched[file]], dtype=pl.String)
            rows = dirty.frames[file].filter(pl.col("sourcedId").is_in(touched.implode()))
            ids |= set(rows["userSourcedId"].drop_nulls())
    return pl.Series(sorted(ids), dtype=pl.String)


def _queues(people: pl.DataFrame) -> dict[str, list[Person]]:
    queues: dict[str, list[Person]] = {}
    for school, *person in people.select("school", "sourcedId", "grades", "givenName", "familyName").iter_rows():
        queues.setdefault(school, []).append(Person(*person))
    return queues
