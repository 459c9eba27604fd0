"""Courses, classes, who teaches them and who sits in them, worked out on index arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hub.sandbox.drawing import Ints, chance
from hub.sandbox.identifiers import make_ids
from hub.sandbox.people import People, Place
from hub.sandbox.schools import GRADES, LEVELS, Calendar, Level

#: Title by level (for high schools one per grade where they differ), subject label, subject code.
_CORE: dict[Level, tuple[tuple[str, str, str], ...]] = {
    "elementary": (
        ("Homeroom", "Homeroom", "22104"),
        ("English Language Arts", "English", "51001"),
        ("Mathematics", "Mathematics", "52001"),
        ("Science", "Science", "53001"),
        ("Social Studies", "Social Studies", "54001"),
        ("Art and Music", "Arts", "55001"),
    ),
    "middle": (
        ("English Language Arts", "English", "51036"),
        ("Mathematics", "Mathematics", "52036"),
        ("Science", "Science", "53036"),
        ("Social Studies", "Social Studies", "54036"),
        ("Physical Education", "Physical Education", "58036"),
        ("Español I/Español II/Français I", "World Languages", "56036"),
        ("Computer Science", "Technology", "60036"),
    ),
    "high": (
        ("English 9/English 10/American Literature/World Literature", "English", "01001"),
        ("Algebra I/Geometry/Algebra II/Precalculus", "Mathematics", "02052"),
        ("Biology/Chemistry/Physics/Environmental Science", "Science", "03051"),
        ("World History/U.S. History/Government/Economics", "Social Studies", "04051"),
        ("Health/Physical Education/Fitness/Life Skills", "Physical Education", "08051"),
        ("Español I/Español II/Español III/Français IV", "World Languages", "06101"),
        ("Digital Literacy/Programming/Data & Society/Engineering", "Technology", "10001"),
    ),
}
_ELECTIVES = (
    ("Band", "Arts", "05101"), ("Choir", "Arts", "05110"), ("Drama", "Arts", "05053"), ("Studio Art", "Arts", "05154"),
    ("Robotics", "Technology", "21009"), ("Journalism", "English", "11101"), ("Culinary Arts", "Career", "16053"),
    ("Film & Média", "Arts", "05151"),
)  # fmt: skip
_CAPACITY = {"homeroom": 28, "elementary": 125, "secondary": 160}
_SMALLEST_GRADE = 10
STAFF_ROLES = ("teacher", "principal", "counselor", "aide", "districtAdministrator", "systemAdministrator", "proctor")
ENROLLMENT_ROLES = ("student", "teacher")


@dataclass(slots=True)
class Schedule:
    """``classes`` and ``courses`` as CSV rows, the rest as indexes: classes, students (seats), teachers (teaching)."""

    courses: pl.DataFrame
    classes: pl.DataFrame
    class_school: Ints
    class_term: Ints  # -1: the whole year
    seat_student: Ints
    seat_class: Ints
    homeroom: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Slot:
    """One hour of the timetable of some students: which group (course and school) each is in, and how groups split."""

    students: Ints
    group: Ints  # school * number of courses + course
    capacity: int


def _sections(rng: np.random.Generator, slot: _Slot) -> tuple[Ints, Ints, Ints]:
    """Splits each group into sections of about equal size: section per student, then group and number per section."""
    order = np.lexsort((rng.random(len(slot.group)), slot.group))
    groups, starts, sizes = np.unique(slot.group[order], return_index=True, return_counts=True)
    needed = -(-sizes // slot.capacity)
    place = np.repeat(np.arange(len(groups)), sizes)
    rank = np.arange(len(order)) - starts[place]
    first = np.concatenate([[0], needed.cumsum()[:-1]])
    section = np.empty(len(order), np.int64)
    section[order] = first[place] + rank * needed[place] // sizes[place]
    of_section = np.repeat(np.arange(len(groups)), needed)
    return section, groups[of_section], np.arange(len(of_section)) - first[of_section]


def _band(level: Level, students: int, schools: int) -> int:
    """How many grades share a class: one, or more where a school is too small for a class per grade."""
    together = {"elementary": 3, "middle": 3, "high": 4}[level]
    return 1 if students / len(GRADES) / schools >= _SMALLEST_GRADE else together


def _course_rows(bands: dict[Level, int], levels: dict[Level, range]) -> list[tuple[str, str, str, str, str]]:
    """Title, subject, subject code, grades and course code for every course of the district."""
    rows = []
    for level in LEVELS:
        for title, subject, code in _CORE[level]:
            names = title.split("/")
            for first in levels[level][:: bands[level]]:
                grades = [GRADES[g] for g in range(first, min(first + bands[level], levels[level].stop))]
                label = names[first - levels[level].start] if len(names) > 1 else f"{title} {grades[0]}"
                rows.append((label, subject, code, ",".join(grades), f"{code}-{grades[0]}"))
        if level != "elementary":
            grades = [GRADES[g] for g in levels[level]]
            rows += [(f"{t} ({level})", s, c, ",".join(grades), f"{c}-{level[0].upper()}") for t, s, c in _ELECTIVES]
    return rows


def _slots(
    rng: np.random.Generator, students: People, bands: dict[Level, int], levels: dict[Level, range], courses: int
) -> list[_Slot]:
    """The timetable of everybody, course numbers counted as ``_course_rows`` lists them."""
    slots, course = [], 0
    for level in LEVELS:
        grades = levels[level]
        here = np.flatnonzero((students.grade >= grades.start) & (students.grade < grades.stop))
        band = (students.grade[here] - grades.start) // bands[level]
        for title, _, _ in _CORE[level]:
            kind = "homeroom" if title == "Homeroom" else "elementary" if level == "elementary" else "secondary"
            slots.append(_Slot(here, students.school[here] * courses + course + band, _CAPACITY[kind]))
            course += len(grades[:: bands[level]])
        if level == "elementary":
            continue
        # One elective for all, a second for a quarter, taught in one term; those at two schools take it at the other.
        first = rng.integers(0, len(_ELECTIVES), len(here))
        school = np.where(students.second[here] >= 0, students.second[here], students.school[here])
        slots.append(_Slot(here, school * courses + course + first, _CAPACITY["secondary"]))
        more = np.flatnonzero(chance(rng, len(here), 0.25))
        other = (first[more] + rng.integers(1, len(_ELECTIVES), len(more))) % len(_ELECTIVES)
        slots.append(_Slot(here[more], students.school[here[more]] * courses + course + other, _CAPACITY["secondary"]))
        course += len(_ELECTIVES)
    return slots


def make_schedule(rng: np.random.Generator, place: Place, calendar: Calendar, students: People) -> Schedule:
    """Courses and classes for all students, and who sits where."""
    levels = {level: next(s.grades for s in place.schools if s.level == level) for level in LEVELS}
    schools = {level: sum(s.level == level for s in place.schools) for level in LEVELS}
    bands = {level: _band(level, len(students.frame), schools[level]) for level in LEVELS}
    rows = _course_rows(bands, levels)
    seat_student, seat_class, group, number, total = [], [], [], [], 0
    for slot in _slots(rng, students, bands, levels, len(rows)):
        section, section_group, section_number = _sections(rng, slot)
        seat_student.append(slot.students)
        seat_class.append(section + total)
        group.append(section_group)
        number.append(section_number)
        total += len(section_group)
    course, school = np.divmod(np.concatenate(group), len(rows))[::-1]
    courses = _courses_frame(rng, place, calendar, rows)
    elective = np.array([code in {c for _, _, c in _ELECTIVES} for _, _, code, _, _ in rows])[course]
    term = np.where(elective, rng.integers(0, len(calendar.term_ids), total), -1)
    classes = _classes_frame(rng, place, calendar, courses[course], (school, term, np.concatenate(number)))
    return Schedule(
        courses, classes, school, term, np.concatenate(seat_student), np.concatenate(seat_class),
        (classes["classType"] == "homeroom").to_numpy(),
    )  # fmt: skip


def _courses_frame(
    rng: np.random.Generator, place: Place, calendar: Calendar, rows: list[tuple[str, str, str, str, str]]
) -> pl.DataFrame:
    columns = ["title", "subjects", "subjectCodes", "grades", "courseCode"]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        make_ids(rng, "courses", len(rows), place.seed).alias("sourcedId"),
        schoolYearSourcedId=pl.lit(calendar.year_id),
        orgSourcedId=pl.lit(place.district_id),
    )


def _classes_frame(
    rng: np.random.Generator, place: Place, calendar: Calendar, course: pl.DataFrame, where: tuple[Ints, Ints, Ints]
) -> pl.DataFrame:
    """classes.csv: ``course`` holds each class's course row, ``where`` school, term (-1: all) and section number."""
    school, term, number = where
    count = len(course)
    section = (pl.Series(number) + 1).cast(pl.String).str.zfill(2)
    # Two slots may have a section of one course and number each: nobody teaches both in one hour.
    places = pl.DataFrame({"course": course["sourcedId"], "school": school, "term": term, "number": number})
    hours = places.with_columns(hour=pl.Series(rng.integers(1, 9, count)))
    again = pl.col("hour").cum_count().over(*hours.columns) - 1
    period = hours.select((pl.col("hour") - 1 + again) % 8 + 1).to_series().cast(pl.String)
    homeroom = course["subjects"] == "Homeroom"
    return pl.DataFrame(
        {
            "sourcedId": make_ids(rng, "classes", count, place.seed),
            "title": course["title"] + " - " + section,
            "grades": course["grades"],
            "courseSourcedId": course["sourcedId"],
            "classCode": course["courseCode"] + "-" + section,
            "classType": pl.repeat("homeroom", count, eager=True).zip_with(
                homeroom, pl.repeat("scheduled", count, eager=True)
            ),
            "location": "Room " + pl.Series(rng.integers(100, 340, count)).cast(pl.String),
            "schoolSourcedId": place.org_ids.gather(school),
            "termSourcedIds": pl.Series([*calendar.term_ids, ",".join(calendar.term_ids)]).gather(term),
            "subjects": course["subjects"],
            "subjectCodes": course["subjectCodes"],
            "periods": period.zip_with(~homeroom, pl.Series(["0"])),
        }
    )


def staff_posts(
    rng: np.random.Generator, place: Place, students: People, schedule: Schedule
) -> tuple[Ints, Ints, Ints]:
    """Role (index into ``STAFF_ROLES``), school (-1: district office) and second school (-1: none) of all staff.

    Teachers come first, sorted by school; a school has at least one teacher per homeroom and five in all.
    """
    pupils = np.bincount(students.school, minlength=len(place.schools))
    homerooms = np.bincount(schedule.class_school[schedule.homeroom], minlength=len(place.schools))
    teachers = np.maximum(np.maximum(-(-pupils // 17), homerooms), 5)
    school = np.repeat(np.arange(len(place.schools)), teachers)
    role = np.zeros(len(school), np.int64)
    second = np.full(len(school), -1)
    travels = np.flatnonzero(chance(rng, len(school), 0.03))
    travels = travels if len(travels) else np.array([0])
    second[travels] = (school[travels] + rng.integers(1, len(place.schools), len(travels))) % len(place.schools)
    posts = [(1, -(-pupils // 900)), (2, pupils // 450), (3, -(-pupils // 300)), (6, pupils // 1000)]
    for post, counts in posts:
        role = np.concatenate([role, np.full(counts.sum(), post)])
        school = np.concatenate([school, np.repeat(np.arange(len(place.schools)), counts)])
    office = 2 + len(students.frame) // 4000
    role = np.concatenate([role, np.where(np.arange(office) % 3 == 1, 5, 4)])
    school = np.concatenate([school, np.full(office, -1)])
    return role, school, np.concatenate([second, np.full(len(school) - len(second), -1)])


def teaching(
    rng: np.random.Generator, schedule: Schedule, posts: tuple[Ints, Ints, Ints]
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Class, staff index and whether primary: one primary teacher per class, a second teacher in some classes."""
    role, school, second = posts
    teachers = np.flatnonzero(role == 0)
    counts = np.bincount(school[teachers])
    first = np.concatenate([[0], counts.cumsum()[:-1]])
    order = np.lexsort((~schedule.homeroom, schedule.class_school))  # homerooms first: each has a teacher of its own
    place = np.empty(len(order), np.int64)
    per_school = np.bincount(schedule.class_school, minlength=len(counts))
    place[order] = np.arange(len(order)) - np.repeat(per_school.cumsum() - per_school, per_school)
    at = schedule.class_school
    lead = place % counts[at]
    shared = np.flatnonzero(chance(rng, len(order), 0.15))
    helper = (lead[shared] + rng.integers(1, counts[at[shared]])) % counts[at[shared]]
    travelling = np.flatnonzero(second >= 0)
    travelling = travelling[per_school[second[travelling]] > 0]
    starts = (per_school.cumsum() - per_school)[second[travelling]]
    visited = order[starts + rng.integers(0, per_school[second[travelling]])]
    classes = np.concatenate([np.arange(len(order)), shared, visited])
    staff = np.concatenate([first[at] + lead, first[at[shared]] + helper, travelling])
    return classes, staff, np.arange(len(classes)) < len(order)


def enrollments_frame(
    rng: np.random.Generator, place: Place, calendar: Calendar, schedule: Schedule, *,
    users: tuple[pl.Series, pl.Series], teach: tuple[Ints, Ints, NDArray[np.bool_]],
) -> pl.DataFrame:  # fmt: skip
    """enrollments.csv, sorted by class, teachers before students. ``users``: sourcedIds of students and of staff."""
    classes = np.concatenate([teach[0], schedule.seat_class])
    taught = len(teach[0])
    order = np.argsort(classes, kind="stable")
    classes = classes[order]
    person = np.concatenate([teach[1] + len(users[0]), schedule.seat_student])[order]
    teacher = order < taught
    # Code of the column primary: 0 not a teacher (blank), 1 second teacher, 2 primary teacher.
    primary = np.concatenate([teach[2] + 1, np.zeros(len(schedule.seat_student), np.int64)])[order]
    term = schedule.class_term[classes]
    begins = [*(a for a, _ in calendar.term_dates), calendar.term_dates[0][0]]
    ends = [*(b for _, b in calendar.term_dates), calendar.term_dates[-1][1]]
    return pl.DataFrame(
        {
            "sourcedId": make_ids(rng, "enrollments", len(classes), place.seed),
            "classSourcedId": schedule.classes["sourcedId"].gather(classes),
            "schoolSourcedId": schedule.classes["schoolSourcedId"].gather(classes),
            "userSourcedId": pl.concat(users).gather(person),
            "role": pl.Series(ENROLLMENT_ROLES).gather(teacher.astype(np.int64)),
            "primary": pl.Series([None, "false", "true"], dtype=pl.String).gather(primary),
            "beginDate": pl.Series(begins).gather(term),
            "endDate": pl.Series(ends).gather(term),
        }
    )
