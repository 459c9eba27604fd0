"""A district as Clever has it: two schools, or as many as its students need. Deterministic."""

from __future__ import annotations

from typing import Any

DISTRICT = "d" * 24
GRADES = ("Kindergarten", "1", "PreKindergarten", "12", "PostGraduate", "TransitionalKindergarten")
SUBJECTS = ("math", "homeroom/advisory", "PE and health", "english/language arts")
_SECTION_STUDENTS = 6
Objects = dict[str, dict[str, dict[str, Any]]]


def key(kind: str, number: int) -> str:
    """An id as Clever makes them: 24 hexadecimal digits. ``kind`` is one of these digits."""
    return f"{kind}{number:023x}"


def district(students: int = 24) -> Objects:
    """Everything that the district shares, by collection and id, in ascending ids."""
    schools = max(2, students // 500)
    teachers = max(3, students // 15)
    sections = max(4, students // _SECTION_STUDENTS)
    contacts = students // 3
    found: dict[str, list[dict[str, Any]]] = {
        "districts": [{"id": DISTRICT, "name": "Demo District", "state": "running", "sis_type": "PowerSchool",
                       "nces_id": "0600001", "last_sync": "2026-03-02T05:00:00.000Z"}],
        "schools": [_school(n) for n in range(schools)],
        "terms": [
            {"id": key("7", 0), "district": DISTRICT, "name": "Fall Semester", "start_date": "2025-08-18",
             "end_date": "2025-12-19"},
            {"id": key("7", 1), "district": DISTRICT, "name": "T2", "start_date": "2026-01-05T00:00:00.000Z",
             "end_date": "2026-06-05T00:00:00.000Z"},
        ],
        "courses": [{"id": key("5", n), "district": DISTRICT, "name": f"Course {n}", "number": f"C-{n}"}
                    for n in range(max(2, sections // 5))],
        "sections": [_section(n, students, teachers, schools, max(2, sections // 5)) for n in range(sections)],
        "users": [
            *(_student(n, schools) for n in range(students)), *(_teacher(n, schools) for n in range(teachers)),
            *_others(), *(_contact(n) for n in range(contacts)),
        ],
    }  # fmt: skip
    # A teacher whose own child is in the district, and who coaches at the other school: one person with three roles.
    several = next(one for one in found["users"] if one["id"] == key("2", 0))
    several["roles"] |= {
        "staff": {"legacy_id": "f" * 24, "staff_id": "ST-0", "title": "Assistant Principal", "schools": [key("4", 1)]},
        "contact": {"legacy_id": "e" * 24, "sis_id": "P-0", "phone": "+15550100", "phone_type": "Cell",
                    "student_relationships": [{"student": key("1", 1), "relationship": "Parent",
                                               "type": "Parent/Guardian"}]},
    }  # fmt: skip
    return {name: {one["id"]: one for one in sorted(objects, key=_id)} for name, objects in found.items()}


def _id(one: dict[str, Any]) -> str:
    return str(one["id"])


def _school(n: int) -> dict[str, Any]:
    return {"id": key("4", n), "district": DISTRICT, "name": f"School {n}", "school_number": f"{n + 10}",
            "sis_id": f"SCH-{n}", "state_id": f"S{n}", "nces_id": "" if n else "060000100001",
            "low_grade": "Kindergarten", "high_grade": "12"}  # fmt: skip


def _student(n: int, schools: int) -> dict[str, Any]:
    home = key("4", n % schools)
    return {
        "id": key("1", n), "district": DISTRICT, "email": f"student{n}@example.org",
        "name": {"first": f"First{n}", "middle": "M" if n % 5 == 0 else None, "last": f"Last{n}"},
        "roles": {"student": {
            "legacy_id": key("a", n), "sis_id": f"SIS-{n}", "student_number": f"{1000 + n}", "state_id": f"ST{n:07}",
            "grade": GRADES[n % len(GRADES)], "dob": f"{n % 12 + 1}/{n % 28 + 1}/2012", "gender": "MFX"[n % 3],
            "race": "Asian" if n % 2 else "Caucasian", "hispanic_ethnicity": "Y" if n % 4 == 0 else "N",
            "school": home, "schools": [home, key("4", 1)] if n == 0 else [home],
            "enrollments": [{"school": home, "start_date": "2025-08-18", "end_date": "2026-06-05"}] if n % 3 else [],
            "credentials": {"district_username": f"stu{n}"} if n % 2 else {},
            "preferred_name": {"first": f"Nick{n}"} if n % 6 == 0 else None,
        }},
    }  # fmt: skip


def _teacher(n: int, schools: int) -> dict[str, Any]:
    home = key("4", n % schools)
    return {
        "id": key("2", n), "district": DISTRICT, "email": f"teacher{n}@example.org",
        "name": {"first": f"Teach{n}", "last": f"Er{n}"},
        "roles": {"teacher": {"legacy_id": key("b", n), "sis_id": f"TSIS-{n}", "teacher_number": f"T-{n}",
                              "school": home, "schools": [home], "credentials": {"district_username": f"teach{n}"}}},
    }  # fmt: skip


def _others() -> list[dict[str, Any]]:
    return [
        {"id": key("3", 0), "district": DISTRICT, "email": "clerk@example.org", "name": {"first": "Cle", "last": "Rk"},
         "roles": {"staff": {"legacy_id": key("c", 0), "staff_id": "ST-9", "title": "Attendance Clerk",
                             "schools": [key("4", 0), key("4", 1)]}}},
        {"id": key("3", 1), "district": DISTRICT, "email": None, "name": {"first": "Ad", "last": "Min"},
         "roles": {"district_admin": {"legacy_id": key("c", 1), "title": "Director"}}},
    ]  # fmt: skip


def _contact(n: int) -> dict[str, Any]:
    """The contact of a student; whole names stand in the last name. Some are there for emergencies alone."""
    emergency = n % 4 == 3
    return {
        "id": key("6", n), "district": DISTRICT, "email": None,
        "name": {"first": "", "last": f"Maria Lopez{n}" if n % 2 else f"Lopez{n}, Maria"},
        "roles": {"contact": {
            "legacy_id": key("d", n), "sis_id": f"CON-{n}", "phone": f"+1555555{n % 10_000:04}",
            "phone_type": "Cell" if n % 2 else "Home",
            "student_relationships": [{
                "student": key("1", n * 3), "relationship": "Other" if emergency else "Grandparent",
                "type": "Emergency" if emergency else "Parent/Guardian",
            }],
        }},
    }  # fmt: skip


def _section(n: int, students: int, teachers: int, schools: int, courses: int) -> dict[str, Any]:
    first = n * _SECTION_STUDENTS % max(students, 1)
    lead, other = key("2", n % teachers), key("2", (n + 1) % teachers)
    return {
        "id": key("8", n), "district": DISTRICT, "name": f"Section {n}", "section_number": f"C-{n}.1",
        "sis_id": f"SEC-{n}", "school": key("4", n % schools), "grade": GRADES[n % len(GRADES)],
        "subject": SUBJECTS[n % len(SUBJECTS)], "period": str(n % 8 + 1),
        "course": None if n % 4 == 3 else key("5", n % courses),
        "term_id": None if n % 4 == 2 else key("7", n % 2),
        "teacher": lead, "teachers": [lead, other] if n % 2 else [lead],
        "students": [key("1", (first + k) % students) for k in range(min(_SECTION_STUDENTS, students))],
    }  # fmt: skip
