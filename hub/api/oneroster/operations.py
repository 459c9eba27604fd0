"""All reads of OneRoster 1.2 Rostering, declared once: routes, permissions, the discovery document and tests derive.

Source: the official OpenAPI document of the Rostering service (paths, operationIds, scopes, envelopes); what the
subset and nested collections hold is the information model's wording.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from hub.api.oneroster.scopes import V1P2
from transforms.catalogue import CATALOGUE, Entity, Version

#: Where the service stands below the hub's address.
SERVICE = "/d/{district}/ims/oneroster/rostering/v1p2"
CORE, ROSTER, DEMOGRAPHICS = V1P2.ROSTER_CORE, V1P2.ROSTER, V1P2.DEMOGRAPHICS


@dataclass(frozen=True, slots=True)
class Subset:
    """A named part of an entity's collection: records with ``token`` in ``field``.

    For ``roles`` any visible role entry counts. Tombstones are in every subset, since what a record was before it left
    the view may have changed unseen.
    """

    field: str
    token: str


@dataclass(frozen=True, slots=True)
class Through:
    """Records that ``link`` records point to with ``far``, where their ``near`` is the parent.

    ``role`` limits the link records to those with this enrollment role.
    """

    link: str
    near: str
    far: str
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """Records whose own reference ``field`` is the parent, and those of ``also`` for an app that wants these."""

    field: str
    also: Through | None = None


@dataclass(frozen=True, slots=True)
class RoleAt:
    """Users with a visible role entry of this role at the parent."""

    role: str


Relation = Own | Through | RoleAt


@dataclass(frozen=True, slots=True)
class Parent:
    """A record named in the path. ``within`` is its reference that must be the parent before it."""

    variable: str
    entity: str
    subset: Subset | None = None
    within: str | None = None


@dataclass(frozen=True)
class Operation:
    """One read. ``relations`` all have to hold, each with its parent's place in ``parents``."""

    path: str
    name: str
    entity: Entity
    single: bool = False
    subset: Subset | None = None
    parents: tuple[Parent, ...] = ()
    relations: tuple[tuple[int, Relation], ...] = ()
    version: Version = "1.2"

    @property
    def envelope(self) -> str:
        """The one top-level member of the answer."""
        return self.entity.singular if self.single else self.entity.name

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of which any one is enough."""
        if self.entity.name == "demographics":
            return (DEMOGRAPHICS,)
        return (ROSTER,) if self.parents else (ROSTER, CORE)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the path's variable parts."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


SCHOOL = Subset("type", "school")
TERM = Subset("type", "term")
PERIOD = Subset("type", "gradingPeriod")
STUDENT = Subset("roles", "student")
TEACHER = Subset("roles", "teacher")

_at_school = Parent("schoolSourcedId", "orgs", SCHOOL)
_in_class = Parent("classSourcedId", "classes")
_class_at_school = Parent("classSourcedId", "classes", within="school")
_in_course = Parent("courseSourcedId", "courses")
_in_term = Parent("termSourcedId", "academicSessions", TERM)
_of_student = Parent("studentSourcedId", "users", STUDENT)
_of_teacher = Parent("teacherSourcedId", "users", TEACHER)
_of_user = Parent("userSourcedId", "users")


def _both(collection: str, one: str, path: str, entity: str, subset: Subset | None = None) -> tuple[Operation, ...]:
    """A collection and the read of one of its objects."""
    which = CATALOGUE[entity]
    return (
        Operation(path, collection, which, subset=subset),
        Operation(path + "/{sourcedId}", one, which, single=True, subset=subset),
    )


def _nested(
    path: str, name: str, entity: str, parents: tuple[Parent, ...], *relations: tuple[int, Relation],
    subset: Subset | None = None,
) -> Operation:  # fmt: skip
    return Operation(path, name, CATALOGUE[entity], subset=subset, parents=parents, relations=relations)


def _enrolled(role: str | None) -> Relation:
    return Through("enrollments", "class", "user", role)


def _classes_of(role: str | None) -> Relation:
    return Through("enrollments", "user", "class", role)


OPERATIONS: tuple[Operation, ...] = (
    *_both("getAllAcademicSessions", "getAcademicSession", "/academicSessions", "academicSessions"),
    *_both("getAllClasses", "getClass", "/classes", "classes"),
    _nested("/classes/{classSourcedId}/students", "getStudentsForClass", "users", (_in_class,),
            (0, _enrolled("student"))),
    _nested("/classes/{classSourcedId}/teachers", "getTeachersForClass", "users", (_in_class,),
            (0, _enrolled("teacher"))),
    *_both("getAllCourses", "getCourse", "/courses", "courses"),
    _nested("/courses/{courseSourcedId}/classes", "getClassesForCourse", "classes", (_in_course,), (0, Own("course"))),
    *_both("getAllDemographics", "getDemographics", "/demographics", "demographics"),
    *_both("getAllEnrollments", "getEnrollment", "/enrollments", "enrollments"),
    *_both("getAllGradingPeriods", "getGradingPeriod", "/gradingPeriods", "academicSessions", PERIOD),
    *_both("getAllOrgs", "getOrg", "/orgs", "orgs"),
    *_both("getAllSchools", "getSchool", "/schools", "orgs", SCHOOL),
    _nested("/schools/{schoolSourcedId}/classes", "getClassesForSchool", "classes", (_at_school,), (0, Own("school"))),
    _nested("/schools/{schoolSourcedId}/classes/{classSourcedId}/enrollments", "getEnrollmentsForClassInSchool",
            "enrollments", (_at_school, _class_at_school), (0, Own("school")), (1, Own("class"))),
    _nested("/schools/{schoolSourcedId}/classes/{classSourcedId}/students", "getStudentsForClassInSchool", "users",
            (_at_school, _class_at_school), (1, _enrolled("student"))),
    _nested("/schools/{schoolSourcedId}/classes/{classSourcedId}/teachers", "getTeachersForClassInSchool", "users",
            (_at_school, _class_at_school), (1, _enrolled("teacher"))),
    _nested("/schools/{schoolSourcedId}/courses", "getCoursesForSchool", "courses", (_at_school,),
            (0, Own("org", also=Through("classes", "school", "course")))),
    _nested("/schools/{schoolSourcedId}/enrollments", "getEnrollmentsForSchool", "enrollments", (_at_school,),
            (0, Own("school"))),
    _nested("/schools/{schoolSourcedId}/students", "getStudentsForSchool", "users", (_at_school,),
            (0, RoleAt("student"))),
    _nested("/schools/{schoolSourcedId}/teachers", "getTeachersForSchool", "users", (_at_school,),
            (0, RoleAt("teacher"))),
    _nested("/schools/{schoolSourcedId}/terms", "getTermsForSchool", "academicSessions", (_at_school,),
            (0, Through("classes", "school", "terms")), subset=TERM),
    *_both("getAllStudents", "getStudent", "/students", "users", STUDENT),
    _nested("/students/{studentSourcedId}/classes", "getClassesForStudent", "classes", (_of_student,),
            (0, _classes_of("student"))),
    *_both("getAllTeachers", "getTeacher", "/teachers", "users", TEACHER),
    _nested("/teachers/{teacherSourcedId}/classes", "getClassesForTeacher", "classes", (_of_teacher,),
            (0, _classes_of("teacher"))),
    *_both("getAllTerms", "getTerm", "/terms", "academicSessions", TERM),
    _nested("/terms/{termSourcedId}/classes", "getClassesForTerm", "classes", (_in_term,), (0, Own("terms"))),
    _nested("/terms/{termSourcedId}/gradingPeriods", "getGradingPeriodsForTerm", "academicSessions", (_in_term,),
            (0, Own("parent")), subset=PERIOD),
    *_both("getAllUsers", "getUser", "/users", "users"),
    _nested("/users/{userSourcedId}/classes", "getClassesForUser", "classes", (_of_user,), (0, _classes_of(None))),
)  # fmt: skip
