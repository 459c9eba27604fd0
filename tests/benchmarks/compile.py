"""Compiling grants over a synthetic district that exists as column arrays only."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import numpy as np
from pyroaring import BitMap

from hub.scope.columns import CODED, CODED_MANY, MANY, ROLES, SINGLE, Columns, Pairs, RoleEdges
from hub.scope.compile import compile_grant
from hub.scope.grants import GrantDefinition, Rule
from hub.scope.projection import Projection
from hub.scope.trim import trim
from tests.benchmarks.result import Result
from transforms.catalogue import CATALOGUE


def district(students: int, seed: int = 1) -> Columns:
    """A district of that many students, 8 % teachers, a school for each 1,000 and 7 enrollments for each student.

    Its records lie as a first load leaves them: classes and users grouped by school, enrollments by class.
    """
    rng = np.random.default_rng(seed)
    schools = max(5, students // 1_000)
    teachers = max(schools, students * 8 // 100)
    users = students + teachers
    classes = max(schools, students * 75 // 1_000)
    orgs = schools + 1
    school_of_class = np.sort(rng.integers(1, orgs, classes)).astype(np.int32)
    school_of_student = np.sort(rng.integers(1, orgs, students)).astype(np.int32)
    school_of_user = np.concatenate([school_of_student, np.sort(rng.integers(1, orgs, teachers)).astype(np.int32)])
    class_of, user_of = _enrollments(rng, school_of_class, school_of_student, teachers)
    count = len(class_of)
    role_codes = np.concatenate([np.zeros(students, np.int32), np.ones(teachers, np.int32)])
    everyone = np.arange(users, dtype=np.int32)
    return Columns(
        active={entity.name: BitMap() for entity in CATALOGUE.entities} | {
            "orgs": BitMap(range(orgs)), "academicSessions": BitMap(range(7)), "courses": BitMap(range(400)),
            "classes": BitMap(range(classes)), "users": BitMap(range(users)), "enrollments": BitMap(range(count)),
            "demographics": BitMap(range(students)),
        },
        single={key: np.empty(0, np.int32) for key in SINGLE} | {
            ("orgs", "parent"): np.array([-1, *[0] * schools], np.int32),
            ("academicSessions", "parent"): np.array([-1, 0, 0, 1, 1, 2, 2], np.int32),
            ("courses", "schoolYear"): np.zeros(400, np.int32),
            ("courses", "org"): np.zeros(400, np.int32),
            ("classes", "course"): rng.integers(0, 400, classes).astype(np.int32),
            ("classes", "school"): school_of_class,
            ("users", "primaryOrg"): school_of_user,
            ("enrollments", "class"): class_of,
            ("enrollments", "school"): school_of_class[class_of],
            ("enrollments", "user"): user_of,
        },
        many={key: Pairs.none() for key in MANY} | {
            ("orgs", "children"): Pairs(np.zeros(schools, np.int32), np.arange(1, orgs, dtype=np.int32)),
            ("academicSessions", "children"): Pairs(
                np.array([0, 0, 1, 1, 2, 2], np.int32), np.array([1, 2, 3, 4, 5, 6], np.int32)
            ),
            ("classes", "terms"): Pairs(
                np.arange(classes, dtype=np.int32), rng.integers(1, 3, classes).astype(np.int32)
            ),
            ("users", "agents"): Pairs.none(),
        },
        roles=RoleEdges(everyone, school_of_user, role_codes, np.ones(users, np.bool_)),
        coded={key: np.empty(0, np.int16) for key in CODED} | {
            ("orgs", "type"): np.array([0, *[1] * schools], np.int16),
            ("academicSessions", "type"): np.array([0, 1, 1, 2, 2, 2, 2], np.int16),
            ("enrollments", "role"): (user_of >= students).astype(np.int16),
        },
        coded_many={key: Pairs.none() for key in CODED_MANY} | {
            ("courses", "grades"): Pairs.none(),
            ("classes", "grades"): Pairs.none(),
            ("users", "grades"): Pairs(
                np.arange(students, dtype=np.int32), rng.integers(0, 13, students).astype(np.int32)
            ),
        },
        codes=dict.fromkeys((*CODED, *CODED_MANY), ()) | {
            ("orgs", "type"): ("district", "school"),
            ("academicSessions", "type"): ("schoolYear", "term", "gradingPeriod"),
            ("enrollments", "role"): ("student", "teacher"),
            ("courses", "grades"): (),
            ("classes", "grades"): (),
            ("users", "grades"): ("KG", *(f"{grade:02d}" for grade in range(1, 13))),
            ROLES: ("student", "teacher"),
        },
    )  # fmt: skip


def _enrollments(
    rng: np.random.Generator, school_of_class: np.ndarray, school_of_student: np.ndarray, teachers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seven classes of the own school for each student and a teacher for each class, in order of the class."""
    first = np.searchsorted(school_of_class, school_of_student)
    width = np.maximum(np.searchsorted(school_of_class, school_of_student, side="right") - first, 1)
    students = len(school_of_student)
    user_of = np.repeat(np.arange(students), 7)
    class_of = np.repeat(first, 7) + (rng.random(7 * students) * np.repeat(width, 7)).astype(np.int64)
    class_of = np.minimum(class_of, len(school_of_class) - 1)
    classes = np.arange(len(school_of_class))
    class_of = np.concatenate([class_of, classes])
    user_of = np.concatenate([user_of, students + rng.integers(0, teachers, len(classes))])
    order = np.argsort(class_of, kind="stable")
    return class_of[order].astype(np.int32), user_of[order].astype(np.int32)


def resolve(entity: str, sourced_id: uuid.UUID) -> int | None:
    """In the synthetic district a rid is the number of the UUID."""
    del entity
    return sourced_id.int


def four_schools() -> GrantDefinition:
    """A grant for four schools of ``district``."""
    return GrantDefinition(rules=(Rule(schools=tuple(uuid.UUID(int=n) for n in (1, 2, 3, 4))),))


def best_of(runs: int, work: Callable[[], object]) -> float:
    """The shortest time of some runs, in milliseconds."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best * 1000


def run(students: int) -> list[Result]:
    """Compiles a four-school grant and one for everything over 3.5 M enrollments, however many students were asked for.

    The floor is one look at each enrollment: whether its class is in one of the four schools, and the set of those.
    """
    columns = district(max(students, 500_000))
    enrollments = len(columns.active["enrollments"])
    results = []
    everything = GrantDefinition()
    floor = best_of(5, lambda: one_look(columns))
    for name, definition, must, aim in (
        ("compile a four-school grant", four_schools(), 200.0, 50.0),
        ("compile a grant for everything", everything, None, None),
    ):
        compile_grant(definition, columns, resolve)  # the masks of active records belong to the arrays in memory
        ours = best_of(5, lambda definition=definition: compile_grant(definition, columns, resolve))
        views = compile_grant(definition, columns, resolve)
        note = f"{enrollments:,} enrollments, {len(views['enrollments']):,} in the view"
        results.append(Result(name, ours, floor, "ms", must, aim, "ours", note))
        trimmed = best_of(3, lambda definition=definition, views=views: trim_all(definition, views, columns))
        results.append(Result(f"{name}: find trimmed records", trimmed, None, "ms", note=note))
    return results


def one_look(columns: Columns) -> BitMap:
    """The enrollments in classes of the four schools."""
    school_of = columns.single["classes", "school"]
    here = np.isin(school_of, (1, 2, 3, 4))[columns.single["enrollments", "class"]]
    return BitMap(np.flatnonzero(here).astype(np.uint32))


def trim_all(definition: GrantDefinition, views: dict[str, BitMap], columns: Columns) -> dict[str, BitMap]:
    """The records of every entity whose references have to be filtered."""
    return {entity: trim(Projection(definition, entity), views, columns) for entity in views}
