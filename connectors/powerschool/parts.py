"""Which queries make which files, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.powerschool import mapping, queries
from connectors.powerschool.config import PowerSchoolConfig
from connectors.powerschool.mapping import Keyed, Mapper
from connectors.powerschool.queries import Query


@dataclass(frozen=True)
class Rows:
    """A query whose rows map one by one, so that those that changed can be taken alone."""

    query: Query
    mapper: Mapper
    keyed: Keyed


@dataclass(frozen=True)
class Part:
    """Files that are made together; ``files[0]`` is that of the objects.

    ``beside``: queries that ``rows`` are joined with: when one of them changed, the files come whole. ``together``: a
    query that is mapped as one.
    """

    files: tuple[str, ...]
    rows: tuple[Rows, ...]
    beside: tuple[Query, ...] = ()
    together: tuple[Query, Mapper] | None = None
    queries: tuple[Query, ...] = field(init=False)

    def __post_init__(self) -> None:
        one = [self.together[0]] if self.together else []
        object.__setattr__(self, "queries", (*(row.query for row in self.rows), *self.beside, *one))


def parts(config: PowerSchoolConfig) -> tuple[Part, ...]:
    """What is pulled beside orgs and academic sessions, what others refer to first."""
    pupils = [Rows(queries.students(config.student_email), mapping.students, mapping.student_keys)]
    if config.contacts:
        pupils.append(Rows(queries.GUARDIANS, mapping.guardians, mapping.plain_keys("guardianid", "G")))
    found = [
        Part(("courses",), (Rows(queries.COURSES, mapping.courses, mapping.plain_keys("dcid")),)),
        Part(("classes",), (Rows(queries.SECTIONS, mapping.sections, mapping.plain_keys("id")),)),
        Part(
            ("users", "roles"), tuple(pupils), (queries.LINKS,) if config.contacts else (),
            (queries.STAFF, mapping.staff),
        ),
        Part(("enrollments",), (
            Rows(queries.ENROLLMENTS, mapping.enrollments, mapping.enrollment_keys),
            Rows(queries.TEACHERS, mapping.teachers, mapping.teacher_keys),
        )),
    ]  # fmt: skip
    found = [part for part in found if part.files[0] in config.entities]
    if config.demographics:
        whose = Rows(queries.DEMOGRAPHICS, mapping.demographics, mapping.student_keys)
        found.append(Part(("demographics",), (whose,), (queries.RACES,)))
    return tuple(found)
