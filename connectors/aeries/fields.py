"""The names of Aeries' lists and of their fields: the one place to look at when a district's Aeries has others.

Of several names the first that an object has counts. Sources: Aeries' public articles "School-related",
"Student-related", "Staff-related" and "Scheduling-related end points" (v5) and its own PowerShell module; names of
earlier versions stand behind those of v5. What is marked ``?`` is not stated there, and a district's
``hub source test`` shows whether it is so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Objects = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Listing:
    """One of the API's lists. ``path``: behind ``/api/v5/``. ``area``: what Aeries calls the permission."""

    name: str
    path: str
    area: str | None

    def at(self, school: int | str) -> str:
        """The path for one school."""
        return self.path.format(school=school)


SYSTEM = Listing("system information", "systeminfo", None)
SCHOOLS = Listing("schools", "schools", None)
STUDENTS = Listing("students", "schools/{school}/students", "Student Data")
CONTACTS = Listing("contacts", "schools/{school}/contacts", "Contacts")
STAFF = Listing("staff", "staff", "Staff Data")
TEACHERS = Listing("teachers", "schools/{school}/teachers", "Teacher Data")
COURSES = Listing("courses", "courses", "Course Data")
SECTIONS = Listing("sections", "schools/{school}/sections", "Master Schedule")
SCHEDULES = Listing("class schedules", "schools/{school}/classes", "Class Schedules/History")

#: Lists of what changed since a minute of the server's own clock. Those of students name them: they are asked for one
#: by one then. After a change in one of the others everything is pulled.
STUDENT_CHANGES = (
    Listing("changes of students", "StudentDataChanges/student", "Student Data"),
    Listing("changes of enrolments at schools", "StudentDataChanges/enrollment", "Student Data"),
)
CONTACT_CHANGES = Listing("changes of contacts", "StudentDataChanges/contact", "Student Data")
OTHER_CHANGES: Mapping[Listing, tuple[str, ...]] = {
    Listing("changes of class schedules", "StudentDataChanges/class", "Student Data"): ("enrollments",),
    Listing("changes of section rosters", "SectionRosterDataChanges", "Class Schedules/History"): ("enrollments",),
    Listing("changes of sections", "SectionDataChanges", "Master Schedule"): ("classes", "enrollments"),
    Listing("changes of courses", "CourseDataChanges", "Course Data"): ("courses", "classes"),
    Listing("changes of staff", "StaffDataChanges", "Staff Data"): ("users",),
}

NAMES: Mapping[str, tuple[str, ...]] = {
    # schools, with their terms
    "school": ("SchoolCode",), "school_name": ("Name",), "inactive": ("InactiveStatusCode",), "terms": ("Terms",),
    "schedule_type": ("ScheduleType",), "county_id": ("StateCountyID",), "district_id": ("StateDistrictID",),
    "school_id": ("StateSchoolID",), "term": ("TermCode",), "term_title": ("TermDescription",),
    "starts": ("StartDate",), "ends": ("EndDate",),
    # students; PermanentID until v4
    "student": ("StudentID", "PermanentID"), "student_number": ("StudentNumber",), "state_id": ("StateStudentID",),
    "old_id": ("OldStudentID",), "last": ("LastName",), "first": ("FirstName",), "middle": ("MiddleName",),
    "last_alias": ("LastNameAlias",), "first_alias": ("FirstNameAlias",), "middle_alias": ("MiddleNameAlias",),
    "grade": ("Grade",), "birth_date": ("Birthdate", "BirthDate"), "sex": ("Gender", "Sex"),
    "hispanic": ("EthnicityCode",), "home_phone": ("HomePhone",), "mobile": ("StudentMobilePhone",),
    "student_email": ("StudentEmailAddress",), "network_id": ("NetworkLoginID",),
    "entered": ("SchoolEnterDate",), "left": ("SchoolLeaveDate",), "homeroom": ("HomeRoomTeacherNumber",),
    # contacts
    "sequence": ("SequenceNumber",), "mailing_name": ("MailingName",), "relationship": ("RelationshipToStudentCode",),
    "contact_mobile": ("CellPhone",), "contact_email": ("EmailAddress",),
    # staff and teachers. ?: LowGrade and HighGrade of a teacher, which the OneRoster face has
    "staff": ("ID", "StaffID"), "staff_email": ("EmailAddress",), "staff_mobile": ("CellPhone",),
    "user_name": ("UserName",), "home_school": ("PrimaryAeriesSchool",), "educator_id": ("StateEducatorID",),
    "hr_id": ("HumanResourcesSystemID",), "teacher": ("TeacherNumber",), "display_name": ("DisplayName",),
    "room": ("Room",), "low_grade": ("LowGrade", "LowGradeLevel"), "high_grade": ("HighGrade", "HighGradeLevel"),
    # courses
    "course": ("ID", "CourseID"), "course_title": ("LongDescription", "Title"), "department": ("DepartmentCode",),
    # sections and class schedules
    "section": ("SectionNumber",), "section_course": ("CourseID",), "semester": ("Semester",), "period": ("Period",),
    "block": ("PeriodBlock",), "section_staff": ("SectionStaffMembers",), "section_staff_id": ("StaffID",),
    "primary": ("IsPrimaryTeacher",), "started": ("DateStarted",), "ended": ("DateEnded",),
    # the server: its year as 2025-2026, and its own clock
    "year": ("DatabaseYear",), "clock": ("CurrentDateTime",), "version": ("AeriesVersion",),
}  # fmt: skip
RACES = tuple(f"RaceCode{number}" for number in range(1, 6))
#: A teacher of record and the two beside, in teachers' lists and, until flexible schedules, in sections.
STAFF_OF_TEACHER = ("StaffID1", "StaffID2", "StaffID3", "StaffID4", "StaffID5")
TEACHERS_OF_SECTION = ("TeacherNumber1", "TeacherNumber2", "TeacherNumber3")


def value(one: Mapping[str, Any], name: str) -> Any:
    """A field of an object, by what it is called in ``NAMES``; None where it has none."""
    return next((one[called] for called in NAMES[name] if called in one), None)


def text(one: Mapping[str, Any], name: str) -> str | None:
    """A field as a cell: None for what is blank, or no text and no number."""
    return cell(value(one, name))


def cell(given: Any) -> str | None:
    """A value as a cell."""
    if isinstance(given, str):
        return given.strip() or None
    return str(given) if type(given) is int else None


def number(one: Mapping[str, Any], name: str) -> int | None:
    """A field as a whole number; None for what is none."""
    return whole(value(one, name))


def whole(given: Any) -> int | None:
    """A value as a whole number."""
    if type(given) is int:
        return given
    found = given.strip() if isinstance(given, str) else ""
    return int(found) if found.removeprefix("-").isdecimal() and found.isascii() and len(found) < 12 else None


def positive(given: Any) -> int | None:
    """An id, which Aeries writes as 0 where there is none."""
    found = whole(given)
    return found if found is not None and found > 0 else None


def listed(one: Mapping[str, Any], name: str) -> Objects:
    """The objects in a field that holds several."""
    given = value(one, name)
    return [part for part in given if isinstance(part, Mapping)] if isinstance(given, list) else []
