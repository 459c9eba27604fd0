"""The resources of an Ed-Fi API that a source needs, and which files are made of which of them."""

from __future__ import annotations

from connectors.edfi.client import Client

DISTRICTS, SCHOOLS, SCHOOL_YEARS = "localEducationAgencies", "schools", "schoolYearTypes"
SESSIONS, CALENDARS = "sessions", "calendarDates"
COURSES, OFFERINGS, SECTIONS = "courses", "courseOfferings", "sections"
STUDENTS, STAFFS = "students", "staffs"
STUDENT_SCHOOLS, STUDENT_ORGS = "studentSchoolAssociations", "studentEducationOrganizationAssociations"
ASSIGNMENTS, STAFF_SCHOOLS = "staffEducationOrganizationAssignmentAssociations", "staffSchoolAssociations"
STUDENT_SECTIONS, STAFF_SECTIONS = "studentSectionAssociations", "staffSectionAssociations"
#: What a roster can do without: the days of a school year, and which one is the current one.
OPTIONAL = frozenset({CALENDARS, SCHOOL_YEARS})
#: Where these change, everything may.
PLACES = (DISTRICTS, SCHOOLS, SCHOOL_YEARS)
#: A changed key of these changes those of enrollments.
ABOVE_ENROLLMENTS = (SESSIONS, OFFERINGS, SECTIONS, STUDENTS, STAFFS)


def contact_kind(client: Client) -> str:
    """What the host's data standard calls a contact."""
    return "contact" if client.described.has_contacts else "parent"


def contact_resources(client: Client) -> tuple[str, str]:
    """Contacts, and whose they are."""
    kind = contact_kind(client)
    return f"{kind}s", f"student{kind.capitalize()}Associations"


def made_of(client: Client) -> dict[str, tuple[str, ...]]:
    """By file that is asked for, the resources that it is made of, besides the places."""
    students = (STUDENTS, STUDENT_SCHOOLS, STUDENT_ORGS)
    people: tuple[str, ...] = (*students, STAFFS, ASSIGNMENTS, STAFF_SCHOOLS, STAFF_SECTIONS)
    if client.config.contacts:
        people += contact_resources(client)
    every = {
        "orgs": (), "academicSessions": (SESSIONS, CALENDARS), "courses": (COURSES,),
        "classes": (SECTIONS, OFFERINGS, COURSES), "users": people,
        "enrollments": (STUDENT_SECTIONS, STAFF_SECTIONS), "demographics": students,
    }  # fmt: skip
    return {file: every[file] for file in every if file in client.config.entities}


def needed(client: Client) -> tuple[str, ...]:
    """All resources that are asked for, each once."""
    named = (name for resources in made_of(client).values() for name in resources)
    return tuple(dict.fromkeys([*PLACES, *named]))
