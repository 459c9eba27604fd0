"""A clean district as frames: people, schools and timetable put together, before any dirt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from hub.sandbox import people, schedule, schools
from hub.sandbox.gradebook import make_gradebook
from hub.sandbox.package import Progress, shape
from hub.sandbox.plan import DistrictPlan
from transforms.catalogue import CATALOGUE

_BLANK_COLUMNS = ("userIds", "middleName", "identifier", "email", "sms", "phone", "agentSourcedIds", "grades",
                  "userMasterIdentifier", "preferredGivenName", "pronouns")  # fmt: skip
#: OneRoster 1.1 knows one kind of administrator.
_ROLES_11 = dict.fromkeys(("principal", "counselor", "districtAdministrator", "systemAdministrator"), "administrator")


@dataclass(frozen=True, slots=True)
class Population:
    """A clean district: one frame per CSV file with the version's exact columns."""

    place: people.Place
    name: str
    frames: dict[str, pl.DataFrame]


def _seeded(plan: DistrictPlan, part: int) -> np.random.Generator:
    """Randomness of one part alone, so that a change in one part does not shake the others."""
    return np.random.default_rng([plan.seed, 100 + part])


def populate(plan: DistrictPlan, progress: Progress) -> Population:
    """Makes the clean district of ``plan``."""
    name = plan.name or schools.district_name(plan.seed)
    district_id, all_schools = schools.build_schools(_seeded(plan, 0), plan.students, plan.seed)
    place = people.Place(plan.seed, plan.school_year, schools.domain(name), district_id, all_schools)
    calendar = schools.build_calendar(_seeded(plan, 1), plan.school_year, plan.seed)
    progress("drawing students", 0, plan.students)
    students, homes = people.make_students(_seeded(plan, 2), place, plan.students)
    progress("drawing students", plan.students, plan.students)
    guardians, student_rows = people.make_guardians(_seeded(plan, 3), place, students, homes, plan.guardians)
    timetable = schedule.make_schedule(_seeded(plan, 4), place, calendar, students)
    posts = schedule.staff_posts(_seeded(plan, 5), place, students, timetable)
    staff = people.make_staff(_seeded(plan, 6), place, posts, schedule.STAFF_ROLES)
    teach = schedule.teaching(_seeded(plan, 7), timetable, posts)
    seats = len(timetable.seat_student) + len(teach[0])
    progress("drawing enrollments", 0, seats)
    users = pl.concat([student_rows, staff, guardians], how="diagonal")
    users = users.with_columns(pl.lit(None, pl.String).alias(c) for c in _BLANK_COLUMNS if c not in users.columns)
    second = np.concatenate([students.second, posts[2], np.full(len(guardians), -1)])
    profiles = people.make_profiles(_seeded(plan, 8), place, staff)
    frames = {
        "orgs": schools.orgs_frame(district_id, name, all_schools),
        "academicSessions": calendar.sessions,
        "courses": timetable.courses,
        "classes": timetable.classes,
        "roles": people.make_roles(_seeded(plan, 9), place, users, second, profiles),
        "userProfiles": profiles,
        "users": users if plan.version == "1.2" else users.with_columns(pl.col("role").replace(_ROLES_11)),
        "enrollments": schedule.enrollments_frame(
            _seeded(plan, 10),
            place,
            calendar,
            timetable,
            users=(student_rows["sourcedId"], staff["sourcedId"]),
            teach=teach,
        ),
        "demographics": people.make_demographics(_seeded(plan, 11), students),
    }
    progress("drawing enrollments", seats, seats)
    if plan.gradebook:
        frames |= make_gradebook(_seeded(plan, 12), place, calendar, timetable, students, plan.version)
    return Population(
        place, name, {f: shape(f, plan.version, frames[f]) for f in CATALOGUE.files(plan.version) if f in frames}
    )
