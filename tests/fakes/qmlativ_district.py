"""A district as Qmlativ has it, with a high and a middle school, beside another district's entity. Deterministic."""

from __future__ import annotations

from typing import Any

from tests.fakes.qmlativ_server import ENTITY, HIGH, MIDDLE

Object = dict[str, Any]
THIS, LAST = 7, 6
_SECTION_STUDENTS = 6
PUPIL, TEACHER, PARENT = 10_005_000, 6_000, 20_007_000


def district(students: int = 24) -> dict[str, list[Object]]:
    """Everything, by module and name."""
    sections = max(4, students // _SECTION_STUDENTS)
    teachers = max(3, students // 15)
    return {
        "District/Entity": _entities(),
        "District/SchoolYear": [
            {"SchoolYearID": LAST, "NumericYear": 2025, "Description": "2024-2025",
             "IsCurrentYearForProvidedEntity": False, "StartDate": None, "EndDate": None},
            {"SchoolYearID": THIS, "NumericYear": 2026, "Description": "2025-2026",
             "IsCurrentYearForProvidedEntity": True, "StartDate": "2025-08-18T00:00:00",
             "EndDate": "2026-06-05T00:00:00"},
        ],
        "Scheduling/SectionLength": [
            {"SectionLengthID": 31, "Code": "S1", "Description": "Semester 1", "StartDate": "2025-08-18T00:00:00",
             "EndDate": "2025-12-19T00:00:00"},
            {"SectionLengthID": 32, "Code": "S2", "Description": "", "StartDate": None, "EndDate": None},
        ],
        "Scheduling/Course": [_course(n) for n in range(3)],
        "Scheduling/Section": [_section(n) for n in range(sections)],
        "Scheduling/StudentSection": [_seat(n, sections) for n in range(students)] + [_seat(0, sections, old=True)],
        "Scheduling/StaffMeet": [*(_meet(n, teachers) for n in range(sections)), _meet(0, teachers, again=True)],
        "Student/Student": [_student(n) for n in range(students)],
        "Enrollment/StudentEntityYear": [*(_student_year(n, students) for n in range(students)),
                                         {**_student_year(1, students), "StudentEntityYearID": 90_000_001,
                                          "EntityID": HIGH, "IsDefaultEntity": False}],
        "Staff/Staff": [*(_staff(n) for n in range(teachers)), _staff(9_990),
                        {**_staff(9_991), "IsActiveForDistrict": False}],
        "Staff/StaffEntityYear": [*(_staff_year(n) for n in range(teachers)),
                                  {**_staff_year(0), "StaffEntityYearID": 90_000_002, "EntityID": MIDDLE}],
        "Demographics/Name": [
            *(_name(PUPIL + n, f"First{n}", f"Last{n}") for n in range(students) if n != 5),
            *(_name(TEACHER + n, f"Teach{n}", f"Er{n}") for n in (*range(teachers), 9_990, 9_991)),
            *(_name(PARENT + n, f"Guard{n}", f"Ian{n}") for n in range(students // 3)), _name(90_000_007, "No", "Body"),
        ],
        "Demographics/NameEmail": _emails(students),
        "Security/User": [
            *({"UserID": n, "NameID": PUPIL + n, "Username": f"stu{n}", "IsActive": n % 4 > 0}
              for n in range(students)),
            {"UserID": 90_000_005, "NameID": TEACHER, "Username": "teach0", "IsActive": True},
        ],
        "Family/StudentGuardian": [
            *({"StudentGuardianID": n, "StudentID": 100 + n * 3, "NameIDGuardian": PARENT + n}
              for n in range(students // 3)),
            # A teacher's own child.
            {"StudentGuardianID": 90_000_006, "StudentID": 101, "NameIDGuardian": TEACHER},
        ],
    }  # fmt: skip


def _entities() -> list[Object]:
    def entity(key: int, name: str, of: int, *, wide: bool = False) -> Object:
        return {"EntityID": key, "Name": name, "Code": f"{key:03}", "DistrictID": of, "IsDistrictWide": wide,
                "IsSystemWide": key == 1}  # fmt: skip

    return [entity(1, "System", 0), entity(ENTITY, "Demo District", 1, wide=True), entity(HIGH, "High School", 1),
            entity(MIDDLE, "Middle School", 1), entity(20, "Another District", 2, wide=True),
            entity(21, "Another's School", 2)]  # fmt: skip


def _course(n: int) -> Object:
    return {"CourseID": 40 + n, "CourseCode": f"MA{n}", "Description": f"Math {n}", "EntityID": (HIGH, MIDDLE, 99)[n],
            "IsActive": True, "SchoolYearID": THIS}  # fmt: skip


def _section(n: int) -> Object:
    return {"SectionID": 200 + n, "CourseID": 40 + n % 3, "EntityID": (HIGH, MIDDLE)[n % 2], "Code": f"{n:02}",
            "IsActive": n != 3, "SectionLengthID": (31, 32, None, 31)[n % 4], "HomeroomID": 1 if n == 1 else None,
            "SchoolYearID": THIS}  # fmt: skip


def _seat(n: int, sections: int, *, old: bool = False) -> Object:
    return {"StudentSectionID": 90_000_008 if old else 300 + n, "StudentID": 100 + n, "SectionID": 200 + n % sections,
            "StartDate": "2025-08-18T00:00:00", "EndDate": "2025-12-19T00:00:00" if n % 2 else None,
            "IsForCurrentSchoolYear": not old, "SchoolYearID": THIS}  # fmt: skip


def _meet(n: int, teachers: int, *, again: bool = False) -> Object:
    return {"StaffMeetID": 700 + n + 90_000_009 * again, "SectionID": 200 + n, "StaffID": 80 + n % teachers,
            "IsPrimary": n % 2 == 0, "SchoolYearID": THIS}  # fmt: skip


def _student(n: int) -> Object:
    return {"StudentID": 100 + n, "NameID": PUPIL + n, "StudentNumber": f"N{n}", "Grade": ("K", "7", "12", "PK")[n % 4],
            "CalculatedStudentStateID": f"ST{n:05}", "HasStudentEntityYearForCurrentSchoolYear": True}  # fmt: skip


def _student_year(n: int, students: int) -> Object:
    return {"StudentEntityYearID": 400 + n, "StudentID": 100 + n, "EntityID": (HIGH, MIDDLE)[n % 2],
            "SchoolYearID": THIS, "IsActive": n != students - 1, "IsDefaultEntity": True}  # fmt: skip


def _staff(n: int) -> Object:
    return {"StaffID": 80 + n, "NameID": TEACHER + n, "StaffNumber": f"T{n}", "IsActiveForDistrict": True}


def _staff_year(n: int) -> Object:
    return {"StaffEntityYearID": 600 + n, "StaffID": 80 + n, "EntityID": (HIGH, MIDDLE)[n % 2], "SchoolYearID": THIS,
            "IsTeacher": n != 2, "IsActive": True}  # fmt: skip


def _name(key: int, first: str, last: str) -> Object:
    return {"NameID": key, "FirstName": first, "LastName": last, "MiddleName": "", "GenderCode": "MFX"[key % 3],
            "BirthDate": f"2010-0{1 + key % 9}-11T00:00:00"}  # fmt: skip


def _emails(students: int) -> list[Object]:
    def email(key: int, person: int, address: str, rank: int = 1) -> Object:
        return {"NameEmailID": key, "NameID": person, "EmailAddress": address, "Rank": rank}

    of_pupils = [email(n, PUPIL + n, f"s{n}@example.org") for n in range(students)]
    private = email(90_000_003, PUPIL, "private@example.net", 2)
    return [*of_pupils, private, email(90_000_004, TEACHER, "t0@example.org")]
