"""The same district some months later: a second complete package that differs only in what ``events`` say.

Changes are made on the frames with dirt, to rows without, so the dirt of both packages is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from hub.sandbox.bench import Dirty
from hub.sandbox.later import Later, Person, begin
from hub.sandbox.plan import DistrictPlan
from hub.sandbox.population import Population
from hub.sandbox.schools import GRADES, School

_CLASS_SIZE = 20
#: How a misheard name is written right; the first pair that changes the name is used.
_CORRECTIONS = (
    ("ph", "f"),
    ("ie", "y"),
    ("nn", "n"),
    ("y", "i"),
    ("k", "c"),
    ("c", "k"),
    ("n", "nn"),
    ("l", "ll"),
    ("s", "z"),
)


@dataclass(frozen=True, slots=True)
class Changes:
    """``frames``: every CSV file after the changes. ``events``: one item per change, as changes.json shows it."""

    frames: dict[str, pl.DataFrame]
    events: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Amounts:
    """How many of each kind; ``moves`` counts pairs, one out of the focus and one into it."""

    moves: int
    classes: int
    teachers: int
    names: int
    ends: int


def make_changes(plan: DistrictPlan, population: Population, dirty: Dirty) -> Changes:
    """The mid-year package of ``plan``, made from the package ``dirty``."""
    later = begin(plan, population, dirty)
    amounts = _amounts(plan, population)
    _move_students(later, amounts.moves)
    _lose_teachers(later, amounts.teachers)
    _add_classes(later, amounts.classes)
    _correct_names(later, amounts.names)
    _end_enrollments(later, amounts.ends)
    return Changes({file: later.after(file) for file in dirty.frames}, later.events)


def _amounts(plan: DistrictPlan, population: Population) -> _Amounts:
    """``change_scale`` of each kind, or p % of the students (one in ten moves) and p % of the enrollments."""
    if plan.change_percent is None:
        one = plan.change_scale
        return _Amounts(one, one, one, one, one)
    students = max(10, round(plan.students * plan.change_percent / 100))
    enrollments = round(population.frames["enrollments"].height * plan.change_percent / 100)
    few, pairs = max(1, students // 500), max(1, students // 20)
    # A move takes about seven enrollments away and brings seven, a class brings twenty.
    return _Amounts(pairs, few, few, students - 2 * pairs, max(1, enrollments - 28 * pairs - 21 * few))


def _routes(later: Later, pairs: int) -> Iterator[tuple[School, School]]:
    """From and to: out of a focus school into another of its level where there is one, and the way back."""
    all_schools = later.plan.change_percent is not None
    inside = later.focus
    routes: list[tuple[School, School]] = []
    for level_matters in (True, False):
        routes = routes or [
            (a, b)
            for a in inside
            for b in later.schools
            if a != b and (all_schools or b not in inside) and (a.level == b.level or not level_matters)
        ]
    for i in range(pairs):
        a, b = routes[i * 7919 % len(routes)]  # a prime: large districts use many different routes
        yield a, b
        yield b, a


def _move_students(later: Later, pairs: int) -> None:
    """A student changes school: the role's org and all enrollments."""
    moves: list[tuple[Person, School, School, Person]] = []
    for here, there in _routes(later, pairs):
        grades = {GRADES[g] for g in there.grades}
        person = later.take(later.students, here, grades) or later.take(later.students, here)
        model = None if person is None else _model(later, there, person.grade)
        if person is not None and model is not None:
            moves.append((person, here, there, model))
    old = later.seats_of([m[0].sourced_id for m in moves]).select("sourcedId", "userSourcedId")
    model_seats = later.seats_of([m[3].sourced_id for m in moves]).partition_by("userSourcedId", as_dict=True)
    old_ids: dict[str, list[str]] = {}
    for enrollment, user in old.iter_rows():
        old_ids.setdefault(user, []).append(enrollment)
    roles = _role_ids(later, [m[0].sourced_id for m in moves])
    for person, here, there, model in moves:
        key = person.sourced_id
        gone = old_ids.get(key, [])
        later.remove("enrollments", gone)
        rows = model_seats[(model.sourced_id,)].filter(pl.col("endDate") > later.date)
        new = _seats(later, rows, key)
        if later.plan.version == "1.1":
            later.put("users", "orgSourcedIds", key, there.sourced_id)
        else:
            later.put("users", "primaryOrgSourcedId", key, there.sourced_id)
            later.put("roles", "orgSourcedId", roles[key], there.sourced_id)
        later.events.append(
            {"kind": "student_moves", "schools": [here.sourced_id, there.sourced_id], "student": key,
             "from": here.sourced_id, "to": there.sourced_id, "removed": gone, "added": new}
        )  # fmt: skip


def _model(later: Later, school: School, grade: str | None) -> Person | None:
    """Somebody of ``school``, of the same grade where possible: a newcomer gets the same timetable."""
    waiting = later.students.get(school.sourced_id, [])
    return next((p for p in waiting if p.grade == grade), waiting[0] if waiting else None)


def _role_ids(later: Later, users: list[str]) -> dict[str, str]:
    """Users to the sourcedId of their row in roles.csv; empty in 1.1."""
    if "roles" not in later.before:
        return {}
    rows = later.before["roles"].filter(pl.col("userSourcedId").is_in(users))
    return dict(rows.select("userSourcedId", "sourcedId").iter_rows())


def _seats(later: Later, rows: pl.DataFrame, user: str) -> list[str]:
    """Adds the enrollments ``rows`` for ``user`` instead, from the day of the change on; returns the new ids."""
    ids = later.new_ids("enrollments", rows.height)
    begins = pl.max_horizontal("beginDate", pl.lit(later.date))
    later.add(
        "enrollments",
        rows.with_columns(
            pl.Series("sourcedId", ids, pl.String), begins.alias("beginDate"), userSourcedId=pl.lit(user)
        ),
    )
    return ids


def _add_classes(later: Later, count: int) -> None:
    """A class is added, with a teacher and students of its grades."""
    year = later.before["academicSessions"].filter(pl.col("type") == "schoolYear")["endDate"][0]
    whole_year = later.before["classes"].filter(
        pl.col("termSourcedIds").str.contains(",", literal=True),
        pl.col("classType") == "scheduled",
        pl.col("title").is_not_null(),
    )
    for i in range(count):
        school = later.focus[i % len(later.focus)]
        bases = whole_year.filter(
            pl.col("schoolSourcedId") == school.sourced_id, pl.col("grades").str.contains("^[A-Z0-9,]+$")
        )
        base = bases[int(later.rng.integers(bases.height))]
        grades = set(base["grades"][0].split(","))
        taken = (later.take(later.students, school, grades) for _ in range(_CLASS_SIZE))
        students = [p.sourced_id for p in taken if p is not None]
        teachers = later.teachers.get(school.sourced_id, [])
        if not teachers or not students:
            continue
        teacher = teachers[i // len(later.focus) % len(teachers)]
        key = later.new_ids("classes", 1)[0]
        label = base["title"][0].strip().rsplit(" - ", 1)[0]
        later.add("classes", base.with_columns(
            sourcedId=pl.lit(key), title=pl.lit(f"{label} - {90 + i}"), classCode=pl.lit(f"NEW-{90 + i}")
        ))  # fmt: skip
        people = [teacher.sourced_id, *students]
        ids = later.new_ids("enrollments", len(people))
        later.add("enrollments", pl.DataFrame(
            {"sourcedId": ids, "userSourcedId": people, "role": ["teacher"] + ["student"] * len(students),
             "primary": ["true"] + [None] * len(students)},
        ).with_columns(
            pl.lit(None, pl.String).alias("status"), pl.lit(None, pl.String).alias("dateLastModified"),
            classSourcedId=pl.lit(key), schoolSourcedId=pl.lit(school.sourced_id),
            beginDate=pl.lit(later.date), endDate=pl.lit(year),
        ))  # fmt: skip
        later.events.append(
            {"kind": "class_added", "schools": [school.sourced_id], "class": key, "teacher": teacher.sourced_id,
             "students": students, "added": ids}
        )  # fmt: skip


def _lose_teachers(later: Later, count: int) -> None:
    """A teacher vanishes; a colleague without a class in common takes the classes over."""
    for i in range(count):
        turn = i % len(later.focus)
        for school in later.focus[turn:] + later.focus[:turn]:
            if _lose_teacher(later, school):
                break


def _lose_teacher(later: Later, school: School) -> bool:
    """One teacher of ``school`` vanishes; false when nobody there can take over."""
    waiting = later.teachers.get(school.sourced_id, [])
    seats = later.seats_of([p.sourced_id for p in waiting])
    taught: dict[str, set[str]] = {p.sourced_id: set() for p in waiting}
    for user, class_ in seats.select("userSourcedId", "classSourcedId").iter_rows():
        taught[user].add(class_)
    leavers = [p for p in waiting if p.sourced_id not in later.used and taught[p.sourced_id]]
    pairs = ((a, b) for a in leavers for b in waiting if a != b)
    pair = next(((a, b) for a, b in pairs if not taught[a.sourced_id] & taught[b.sourced_id]), None)
    if pair is None:
        return False
    waiting.remove(pair[0])  # the heir may do more, but not leave
    later.used |= {person.sourced_id for person in pair}
    gone, heir = pair[0].sourced_id, pair[1].sourced_id
    rows = seats.filter(pl.col("userSourcedId") == gone)
    removed = rows["sourcedId"].to_list()
    later.remove("users", [gone])
    later.remove("enrollments", removed)
    for file in ("roles", "userProfiles"):
        if file in later.before:
            own = later.before[file].filter(pl.col("userSourcedId") == gone)
            later.remove(file, own["sourcedId"].to_list())
    later.events.append(
        {"kind": "teacher_leaves", "schools": [school.sourced_id], "teacher": gone, "successor": heir,
         "classes": sorted(taught[gone]), "removed": removed, "added": _seats(later, rows, heir)}
    )  # fmt: skip
    return True


def _correct_names(later: Later, count: int) -> None:
    """A student's name is corrected: the given name first, then in turn family and given names."""
    for i in range(count):
        school = later.focus[i % len(later.focus)]
        person = later.take(later.students, school)
        if person is None:
            continue
        column, name = ("givenName", person.given_name) if i % 2 == 0 else ("familyName", person.family_name)
        right = _corrected(name)
        later.put("users", column, person.sourced_id, right)
        later.events.append(
            {"kind": "name_corrected", "schools": [school.sourced_id], "user": person.sourced_id, "field": column,
             "from": name, "to": right}
        )  # fmt: skip


def _corrected(name: str) -> str:
    """``name`` in a slightly different spelling with the same initial."""
    for wrong, right in _CORRECTIONS:
        if wrong in name[1:]:
            return name[:1] + name[1:].replace(wrong, right, 1)
    return name + "e"


def _end_enrollments(later: Later, count: int) -> None:
    """A student's enrollment ends on the day of the change instead of with the term."""
    where = pl.lit(value=True)
    if later.plan.change_percent is None:
        where = pl.col("schoolSourcedId").is_in([s.sourced_id for s in later.focus])
    spared = pl.concat([later.bystanders, pl.Series(sorted(later.used), dtype=pl.String)])
    # A mark per row, not a copy of the rows: this file is the large one.
    possible = later.before["enrollments"].select(
        where
        & (pl.col("role") == "student")
        & (pl.col("beginDate") < later.date)
        & (pl.col("endDate") > later.date)
        & ~pl.col("userSourcedId").is_in(spared.implode())
    )
    rows = np.flatnonzero(possible.to_series().fill_null(value=False).to_numpy())
    chosen = later.rng.permutation(rows)[:count]
    columns = later.before["enrollments"][chosen].select(
        "sourcedId", "userSourcedId", "classSourcedId", "schoolSourcedId"
    )
    for enrollment, student, class_, school in columns.iter_rows():
        later.put("enrollments", "endDate", enrollment, later.date)
        later.events.append(
            {"kind": "enrollment_ends", "schools": [school], "enrollment": enrollment, "student": student,
             "class": class_, "endDate": later.date}
        )  # fmt: skip
