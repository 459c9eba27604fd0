"""From Aeries' schools, courses and sections to OneRoster's rows, column by column.

The sourcedIds are those of Aeries' own OneRoster 1.1 (article "Aeries to OneRoster Data Mapping"), so that a district
that licenses it later keeps its ids: ``{school}``, ``{school}_{term}``, ``{course}`` and for elementary classes
``TCH_{staff}``, ``{school}_{section}`` and for elementary classes ``{school}_TN_{teacher}``. The article does not give
the ids of enrollments: here they are ``{class}_{user}``, and the hub recognises them by class, user and role.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from connectors.aeries.config import AeriesConfig
from connectors.aeries.fields import (
    STAFF_OF_TEACHER,
    TEACHERS_OF_SECTION,
    Objects,
    cell,
    listed,
    number,
    positive,
    text,
    value,
    whole,
)
from connectors.aeries.values import after, day_text, grade, grades, periods

Columns = dict[str, list[str | None]]
Row = dict[str, str | None]
YEAR, DISTRICT = "Y", 0
ELEMENTARY = "elementary"


def columns(rows: Sequence[Mapping[str, str | None]], *header: str) -> Columns:
    """Rows as columns."""
    return {name: [row.get(name) for row in rows] for name in header}


def staff_id(given: Any) -> str | None:
    """The sourcedId of somebody of the staff."""
    found = positive(given)
    return None if found is None else f"TCH_{found}"


def is_active(one: Mapping[str, Any]) -> bool:
    """Whether a record is active: its status code is blank."""
    return not cell(value(one, "inactive"))


def pulled_schools(objects: Objects, config: AeriesConfig) -> list[Mapping[str, Any]]:
    """The schools whose people are pulled, by their codes; the district is none."""
    found = [one for one in objects if positive(value(one, "school")) and is_active(one)]
    wanted, left = {*config.schools}, {*config.exclude_schools}
    kept = [one for one in found if (code := code_of(one)) not in left and (not wanted or code in wanted)]
    return sorted(kept, key=code_of)


def code_of(school: Mapping[str, Any]) -> int:
    """A school's code."""
    return number(school, "school") or 0


def is_elementary(school: Mapping[str, Any]) -> bool:
    """Whether a school has classes by teachers instead of sections."""
    return (text(school, "schedule_type") or "").lower() == ELEMENTARY


def orgs(objects: Objects, schools: Objects, config: AeriesConfig) -> tuple[Columns, bool]:
    """The district and the schools that are pulled; whether the district had to be made."""
    own = next((one for one in objects if number(one, "school") == DISTRICT), None)
    name = config.district.name if config.district else (text(own, "school_name") if own else None) or "District"
    rows: list[Row] = [
        {"sourcedId": str(DISTRICT), "name": name, "type": "district",
         "identifier": _district_number(own or (schools[0] if schools else {}))},
        *({"sourcedId": str(code_of(one)), "name": text(one, "school_name"), "type": "school",
           "identifier": text(one, "school_id"), "parentSourcedId": str(DISTRICT),
           "metadata.aeries.scheduleType": text(one, "schedule_type")} for one in schools),
    ]  # fmt: skip
    header = ("sourcedId", "name", "type", "identifier", "parentSourcedId", "metadata.aeries.scheduleType")
    return columns(rows, *header), own is None and config.district is None


def _district_number(one: Mapping[str, Any]) -> str | None:
    """County and district, as the state numbers them."""
    parts = [cell(value(one, name)) for name in ("county_id", "district_id")]
    return "".join(filter(None, parts)) or None if all(parts) else None


@dataclass(frozen=True)
class Terms:
    """The sessions of all schools. ``undated``: terms, and schools' years, without days."""

    rows: list[Row] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    undated: int = 0

    @classmethod
    def of(cls, schools: Objects, year: int) -> Terms:
        """The terms of schools in a school year; each has a whole year."""
        rows: list[Row] = []
        undated = 0
        for school in schools:
            code, terms = code_of(school), [one for one in listed(school, "terms") if text(one, "term")]
            given = {str(text(one, "term")): one for one in terms}
            for called, one in sorted({YEAR: _whole_year(terms), **given}.items()):
                row = _session(code, called, one, year)
                undated += _filled(row, year) and (called in given or not given)
                rows.append(row)
        return cls(rows, {str(row["sourcedId"]) for row in rows}, undated)

    def columns(self) -> Columns:
        """All of them."""
        return columns(self.rows, "sourcedId", "title", "type", "startDate", "endDate", "parentSourcedId", "schoolYear")


def _whole_year(terms: Objects) -> Mapping[str, Any]:
    """A year around all terms of a school."""
    starts = sorted(filter(None, (day_text(value(one, "starts")) for one in terms)))
    ends = sorted(filter(None, (day_text(value(one, "ends")) for one in terms)))
    return {"StartDate": starts[0] if starts else None, "EndDate": ends[-1] if ends else None}


def _session(code: int, called: str, one: Mapping[str, Any], year: int) -> Row:
    is_year = called == YEAR
    return {
        "sourcedId": f"{code}_{called}", "title": text(one, "term_title") or ("Year" if is_year else called),
        "type": "schoolYear" if is_year else "term", "startDate": day_text(value(one, "starts")),
        "endDate": after(value(one, "ends")), "parentSourcedId": None if is_year else f"{code}_{YEAR}",
        "schoolYear": str(year),
    }  # fmt: skip


def _filled(row: Row, year: int) -> bool:
    """Gives a session the days that it lacks; whether it lacked some."""
    lacked = row["startDate"] is None or row["endDate"] is None
    row["startDate"] = row["startDate"] or date(year - 1, 7, 1).isoformat()
    row["endDate"] = row["endDate"] or date(year, 7, 1).isoformat()
    return lacked


def courses(objects: Objects, config: AeriesConfig) -> Columns:
    """The district's courses."""
    rows: list[Row] = [
        {"sourcedId": text(one, "course"), "title": text(one, "course_title") or text(one, "course"),
         "courseCode": text(one, "course"), "orgSourcedId": str(DISTRICT), "subjects": text(one, "department"),
         "grades": _range(one, config)}
        for one in sorted(objects, key=lambda each: text(each, "course") or "") if is_active(one)
    ]  # fmt: skip
    return columns(rows, "sourcedId", "title", "courseCode", "orgSourcedId", "subjects", "grades")


def _range(one: Mapping[str, Any], config: AeriesConfig, *, kindergarten: bool = False) -> str | None:
    """All grades between the lowest and the highest. 0 is kindergarten, and stands where nothing was entered."""
    low, high = number(one, "low_grade"), number(one, "high_grade")
    if not (low or high or kindergarten):
        return None
    return grades(low, high, config.grades)


def has_grades(teacher: Mapping[str, Any], config: AeriesConfig) -> bool:
    """Whether a teacher's record says which grades are taught."""
    return _range(teacher, config, kindergarten=True) is not None


@dataclass
class Classes:
    """What the sections or teachers of a school become. ``teachers``: sourcedIds of all who teach here.

    ``no_term``: classes whose term the school does not have. ``unknown``: teachers who are no staff.
    """

    classes: list[Row] = field(default_factory=list)
    courses: list[Row] = field(default_factory=list)
    enrollments: list[Row] = field(default_factory=list)
    teachers: dict[str, None] = field(default_factory=dict)
    no_term: int = 0
    unknown: int = 0
    untitled: int = 0

    def enroll(self, school: int, klass: str, user: str, role: str, **more: str | None) -> None:
        """Adds somebody to a class."""
        self.enrollments.append({
            "sourcedId": f"{klass}_{user}", "classSourcedId": klass, "schoolSourcedId": str(school),
            "userSourcedId": user, "role": role, **more,
        })  # fmt: skip

    def teach(self, school: int, klass: str, user: str, *, primary: bool, **more: str | None) -> None:
        """Adds a teacher to a class."""
        self.teachers[user] = None
        self.enroll(school, klass, user, "teacher", primary="true" if primary else "false", **more)


def sections(school: int, objects: Objects, teachers: Objects, terms: Terms, config: AeriesConfig,
             titles: Mapping[str, str | None], staff: frozenset[str]) -> Classes:  # fmt: skip
    """The classes of a school with a master schedule. ``titles``: of courses. ``staff``: their sourcedIds."""
    found, by_number = Classes(), {number(one, "teacher"): one for one in teachers if is_active(one)}
    for one in sorted(objects, key=lambda each: number(each, "section") or 0):
        given = positive(value(one, "section"))
        if given is None or not is_active(one):
            continue
        key, course, semester = f"{school}_{given}", text(one, "section_course"), text(one, "semester")
        term = f"{school}_{semester}"
        if term not in terms.keys:
            found.no_term += 1
            term = f"{school}_{YEAR}"
        found.classes.append({
            "sourcedId": key, "title": titles.get(course or "") or course or f"Section {given}",
            "classType": "scheduled", "classCode": str(given), "courseSourcedId": course,
            "schoolSourcedId": str(school), "termSourcedIds": term, "location": text(one, "room"),
            "grades": _range(one, config), "periods": periods(value(one, "period"), value(one, "block")),
        })  # fmt: skip
        for user, primary, span in section_staff(one, by_number):
            if user is None or user not in staff:
                found.unknown += 1
            else:
                found.teach(school, key, user, primary=primary, **span)
    return found


def section_staff(one: Mapping[str, Any], teachers: Mapping[int | None, Mapping[str, Any]]) -> list[
    tuple[str | None, bool, dict[str, str | None]]
]:  # fmt: skip
    """Who teaches a section: by its staff, or by numbers of teachers where it has none. Each once."""
    found: dict[str | None, tuple[bool, dict[str, str | None]]] = {}
    for part in listed(one, "section_staff"):
        if is_active(part):
            span = {"beginDate": day_text(value(part, "starts")), "endDate": after(value(part, "ends"))}
            found.setdefault(staff_id(value(part, "section_staff_id")), (value(part, "primary") is True, span))
    if value(one, "section_staff") is None:
        for place, name in enumerate(TEACHERS_OF_SECTION):
            if (called := positive(one.get(name))) is not None:
                user = next(iter(teacher_staff(teachers.get(called, {}))), None)
                found.setdefault(user, (place == 0, {}))
    return [(user, *found[user]) for user in sorted(found, key=lambda user: (user is None, user or ""))]


def teacher_staff(teacher: Mapping[str, Any]) -> list[str]:
    """The sourcedIds of the staff behind a teacher's record; the first one is primary."""
    return list(dict.fromkeys(filter(None, (staff_id(teacher.get(name)) for name in STAFF_OF_TEACHER))))


def elementary(school: int, teachers: Objects, pupils: Mapping[int, list[tuple[str, str | None]]], config: AeriesConfig,
               staff: frozenset[str]) -> Classes:  # fmt: skip
    """The classes of a school without a master schedule: one for each teacher.

    ``pupils``: by number of the teacher the students of the class, with their grades.
    """
    found = Classes()
    for one in sorted(teachers, key=lambda each: number(each, "teacher") or 0):
        given = positive(value(one, "teacher"))
        if given is None or not is_active(one):
            continue
        key, who = f"{school}_TN_{given}", teacher_staff(one)
        in_it = pupils.get(given, [])
        known = [user for user in who if user in staff]
        found.unknown += len(who) - len(known) if who else 1
        shown = _range(one, config, kindergarten=True) or _of_pupils(in_it)
        course = who[0] if who else key
        title = _title(one, shown)
        found.untitled += 1
        found.courses.append({"sourcedId": course, "title": title, "orgSourcedId": str(DISTRICT), "grades": shown})
        found.classes.append({
            "sourcedId": key, "title": title, "classType": "scheduled", "classCode": str(given),
            "courseSourcedId": course, "schoolSourcedId": str(school), "termSourcedIds": f"{school}_{YEAR}",
            "location": text(one, "room"), "grades": shown, "periods": "0",
        })  # fmt: skip
        for place, user in enumerate(known):
            found.teach(school, key, user, primary=place == 0)
        for user in sorted({user for user, _ in in_it}):
            found.enroll(school, key, user, "student")
    return found


def _of_pupils(pupils: Iterable[tuple[str, str | None]]) -> str | None:
    """The grades that the students of a class are in."""
    return ",".join(sorted({shown for _, shown in pupils if shown})) or None


def _title(teacher: Mapping[str, Any], shown: str | None) -> str:
    """What an elementary class is called: its teacher and grades."""
    name = text(teacher, "display_name") or text(teacher, "last") or f"Teacher {number(teacher, 'teacher')}"
    several = (shown or "").split(",")
    said = several[0] if len(several) == 1 else f"{several[0]}-{several[-1]}"
    return f"{name}, grade {said}" if said else name


def schedules(school: int, objects: Objects, students: frozenset[str], found: Classes) -> None:
    """Adds the students to their sections. Of several stays in a class the last one counts."""
    there = {str(row["sourcedId"]) for row in found.classes}
    stays: dict[tuple[str, str], tuple[str, str, int]] = {}
    spans: dict[tuple[str, str], dict[str, str | None]] = {}
    for one in objects:
        klass, user = f"{school}_{number(one, 'section')}", text(one, "student")
        if klass not in there or user is None or user not in students:
            continue
        span = {"beginDate": day_text(value(one, "started")), "endDate": after(value(one, "ended"))}
        order = (span["endDate"] or "9", span["beginDate"] or "", whole(value(one, "sequence")) or 0)
        if (klass, user) not in stays or stays[klass, user] < order:
            stays[klass, user], spans[klass, user] = order, span
    for (klass, user), span in sorted(spans.items()):
        found.enroll(school, klass, user, "student", **span)


def homeroom(student: Mapping[str, Any], config: AeriesConfig) -> tuple[int, tuple[str, str | None]] | None:
    """The number of a student's teacher, and the student with the grade; None without a teacher."""
    teacher, key = positive(value(student, "homeroom")), text(student, "student")
    if teacher is None or key is None:
        return None
    return teacher, (key, grade(value(student, "grade"), config.grades))
