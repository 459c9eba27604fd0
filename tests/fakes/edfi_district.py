"""A district in an Ed-Fi ODS: two schools, or as many as its students need. Deterministic.

Rows are called ``<number>`` behind the name of their resource, in the order in which they came.
"""

from __future__ import annotations

from typing import Any

from tests.fakes.edfi_server import State

DISTRICT, FIRST_SCHOOL, YEAR = 255901, 255901001, 2026
_SECTION_STUDENTS = 6
GRADES = ("First grade", "Kindergarten", "Ninth grade", "Preschool/Prekindergarten", "Twelfth grade")
SESSIONS = (("Fall", "2025-08-18", "2025-12-19", "Fall Semester"), ("Spring", "2026-01-05", "2026-06-05", "Quarter"))
Row = dict[str, Any]


def uri(descriptor: str, code: str, namespace: str = "uri://ed-fi.org") -> str:
    """A value of a descriptor."""
    return f"{namespace}/{descriptor}Descriptor#{code}"


def section(number: int, schools: int) -> Row:
    """The key of a section. Identifiers repeat across schools, and letters differ between references."""
    code = f"ALG-{number // 2}" if number % 3 else f"alg-{number // 2}"
    return {"localCourseCode": code, "schoolId": FIRST_SCHOOL + number % schools, "schoolYear": YEAR,
            "sectionIdentifier": f"S{number // schools}", "sessionName": SESSIONS[number % 2][0]}  # fmt: skip


def ods(students: int = 24, *, model: int = 5) -> State:
    """All rows of a district with so many students."""
    schools, staff = max(2, students // 500), max(3, students // 15)
    sections, contacts = max(4, students // _SECTION_STUDENTS), students // 3
    kind = "contact" if model >= 5 else "parent"
    rows: dict[str, list[Row]] = {
        "localEducationAgencies": [{"localEducationAgencyId": DISTRICT, "nameOfInstitution": "Grand Bend",
                                    "identificationCodes": [_code("NCES", "4800001")]}],
        "schools": [_school(n) for n in range(schools)],
        "schoolYearTypes": [{"schoolYear": year, "currentSchoolYear": year == YEAR} for year in (2025, 2026)],
        "sessions": [_session(n, *one) for n in range(schools) for one in SESSIONS],
        "calendarDates": [one for n in range(schools) for one in _days(n)],
        "courses": [{
            "courseCode": f"C{n}", "educationOrganizationReference": {"educationOrganizationId": DISTRICT},
            "courseTitle": f"Algebra {n}", "academicSubjects": [
                {"academicSubjectDescriptor": uri("AcademicSubject", "Mathematics")}],
        } for n in range(max(2, sections // 2))],
        "courseOfferings": [_offering(n, schools) for n in range(sections)],
        "sections": [_section(n, schools) for n in range(sections)],
        "students": [_student(n) for n in range(students)],
        "studentSchoolAssociations": [one for n in range(students) for one in _enrolled(n, schools)],
        "studentEducationOrganizationAssociations": [one for n in range(students) for one in _said(n, schools)],
        "staffs": [_staff(n) for n in range(staff + 1)],
        "staffEducationOrganizationAssignmentAssociations": _assignments(),
        "staffSchoolAssociations": [
            {"staffReference": {"staffUniqueId": f"T{n}"}, "schoolReference": {"schoolId": FIRST_SCHOOL + n % schools}}
            for n in range(staff)],
        f"{kind}s": [_contact(n, kind) for n in range(contacts)],
        f"student{kind.capitalize()}Associations": [_relation(n, kind) for n in range(contacts)],
        "studentSectionAssociations": [
            {"sectionReference": section(n, schools),
             "studentReference": {"studentUniqueId": f"{1000 + (n * _SECTION_STUDENTS + k) % students}"},
             "beginDate": SESSIONS[n % 2][1], "endDate": SESSIONS[n % 2][2], "homeroomIndicator": False}
            for n in range(sections) for k in range(min(_SECTION_STUDENTS, students))],
        "staffSectionAssociations": [
            {"sectionReference": section(n, schools), "staffReference": {"staffUniqueId": f"t{(n + k) % staff}"},
             "beginDate": SESSIONS[n % 2][1],
             "classroomPositionDescriptor": uri("ClassroomPosition", "Support Teacher" if k else "Teacher of Record")}
            for n in range(sections) for k in range(1 + n % 2)],
    }  # fmt: skip
    named = {name: {f"{name}-{n}": {"id": f"{name}-{n}", **row} for n, row in enumerate(found)}
             for name, found in rows.items()}  # fmt: skip
    return State(named, newest=1_000)


def _code(system: str, code: str) -> Row:
    name = uri("EducationOrganizationIdentificationSystem", system)
    return {"educationOrganizationIdentificationSystemDescriptor": name, "identificationCode": code}


def _school(n: int) -> Row:
    return {"schoolId": FIRST_SCHOOL + n, "nameOfInstitution": f"School {n}",
            "localEducationAgencyReference": {"localEducationAgencyId": DISTRICT},
            "identificationCodes": [_code("School", f"{n}"), _code("SEA", f"TX{n}")]}  # fmt: skip


def _session(n: int, name: str, begin: str, end: str, term: str) -> Row:
    return {"schoolReference": {"schoolId": FIRST_SCHOOL + n}, "schoolYearTypeReference": {"schoolYear": YEAR},
            "sessionName": name, "beginDate": begin, "endDate": end, "termDescriptor": uri("Term", term)}  # fmt: skip


def _days(n: int) -> list[Row]:
    """The first, a middle and the last day of a school's calendar, and holidays around them."""
    days = {"2025-08-01": "Teacher only day", "2025-08-18": "Instructional day", "2025-11-27": "Holiday",
            "2026-03-02": "Make-up day", "2026-06-05": "Instructional day", "2026-07-04": "Holiday"}  # fmt: skip
    return [
        {"calendarReference": {"calendarCode": "C", "schoolId": FIRST_SCHOOL + n, "schoolYear": YEAR}, "date": day,
         "calendarEvents": [{"calendarEventDescriptor": uri("CalendarEvent", event)}]} for day, event in days.items()
    ]  # fmt: skip


def _offering(n: int, schools: int) -> Row:
    at = section(n, schools)
    return {
        "localCourseCode": at["localCourseCode"], "localCourseTitle": None if n % 4 == 3 else f"Local algebra {n}",
        "sessionReference": {name: at[name] for name in ("schoolId", "schoolYear", "sessionName")},
        "schoolReference": {"schoolId": at["schoolId"]},
        "courseReference": {"courseCode": f"C{n % 2}", "educationOrganizationId": DISTRICT},
        "offeredGradeLevels": [{"gradeLevelDescriptor": uri("GradeLevel", "Ninth grade")}],
    }  # fmt: skip


def _section(n: int, schools: int) -> Row:
    at = section(n, schools)
    offering = {name: at[name] for name in at if name != "sectionIdentifier"}
    return {
        "sectionIdentifier": at["sectionIdentifier"], "courseOfferingReference": offering,
        "sectionName": "Algebra, early" if n == 1 else None,
        "locationReference": {"classroomIdentificationCode": f"R{n}", "schoolId": at["schoolId"]},
        "classPeriods": [{"classPeriodReference": {"classPeriodName": f"P{k}"}} for k in (n % 3, 5)],
        "educationalEnvironmentDescriptor": uri("EducationalEnvironment", "Homeroom" if n == 2 else "Classroom"),
    }  # fmt: skip


def _student(n: int) -> Row:
    return {"studentUniqueId": f"{1000 + n}", "firstName": f"First{n}", "lastSurname": f"Last{n}",
            "middleName": "M" if n % 5 == 0 else None, "birthDate": f"2012-{n % 12 + 1:02}-{n % 28 + 1:02}",
            "birthSexDescriptor": uri("Sex", "Female") if n % 2 else None, "birthCity": "Austin"}  # fmt: skip


def _enrolled(n: int, schools: int) -> list[Row]:
    """The first student left one school for another; the others are at one."""
    person = {"studentReference": {"studentUniqueId": f"{1000 + n}"}}
    grade = {"entryGradeLevelDescriptor": uri("GradeLevel", GRADES[n % len(GRADES)])}
    home = {"schoolReference": {"schoolId": FIRST_SCHOOL + n % schools}}
    now = {**person, **grade, **home, "entryDate": "2025-08-18", "primarySchool": n % 2 == 0}
    if n:
        return [now]
    left = {**person, **grade, "schoolReference": {"schoolId": FIRST_SCHOOL + 1}, "entryDate": "2025-08-01",
            "exitWithdrawDate": "2025-08-17", "primarySchool": True}  # fmt: skip
    return [left, now]


def _said(n: int, schools: int) -> list[Row]:
    """What the school and the district say of a student."""
    person = {"studentReference": {"studentUniqueId": f"{1000 + n}"}}
    mails = [_mail("Home/Personal", f"home{n}@example.com", hidden=n % 3 == 0),
             _mail("Organization", f"stu{n}@school.example", hidden=n % 4 == 0)]  # fmt: skip
    return [
        {**person, "educationOrganizationReference": {"educationOrganizationId": DISTRICT},
         "races": [{"raceDescriptor": uri("Race", "Asian")}], "hispanicLatinoEthnicity": n % 2 == 0,
         "loginId": f"login{n}" if n % 2 else None, "sexDescriptor": uri("Sex", "Male"),
         "studentIdentificationCodes": [
             {"studentIdentificationSystemDescriptor": uri("StudentIdentificationSystem", "State"),
              "assigningOrganizationIdentificationCode": "TX", "identificationCode": f"ST{n:07}"},
             {"studentIdentificationSystemDescriptor": uri("StudentIdentificationSystem", "SSN"),
              "assigningOrganizationIdentificationCode": "US", "identificationCode": f"123-45-{n:04}"}]},
        {**person, "educationOrganizationReference": {"educationOrganizationId": FIRST_SCHOOL + n % schools},
         "races": [{"raceDescriptor": uri("Race", "White")}] if n % 3 else [], "electronicMails": mails},
    ]  # fmt: skip


def _mail(kind: str, address: str, *, hidden: bool = False) -> Row:
    return {"electronicMailTypeDescriptor": uri("ElectronicMailType", kind), "electronicMailAddress": address,
            "doNotPublishIndicator": hidden}  # fmt: skip


def _staff(n: int) -> Row:
    return {
        "staffUniqueId": f"T{n}", "firstName": f"Teach{n}", "lastSurname": f"Er{n}", "loginId": f"teach{n}",
        "electronicMails": [_mail("Home/Personal", f"own{n}@example.com"), _mail("Work", f"teach{n}@school.example")],
        "telephones": [{"telephoneNumber": f"+1555555{n:04}", "doNotPublishIndicator": n == 1,
                        "telephoneNumberTypeDescriptor": uri("TelephoneNumberType", "Mobile" if n % 2 else "Work")}],
        "identificationCodes": [{"staffIdentificationSystemDescriptor": uri("StaffIdentificationSystem", "District"),
                                 "identificationCode": f"D{n}"}],
    }  # fmt: skip


def _assignments() -> list[Row]:
    """One is the superintendent, one a principal, and one of a kind that only this site has."""

    def one(n: int, org: int, classification: str, **more: str) -> Row:
        return {"staffReference": {"staffUniqueId": f"T{n}"}, "beginDate": "2024-08-01",
                "educationOrganizationReference": {"educationOrganizationId": org},
                "staffClassificationDescriptor": uri("StaffClassification", classification), **more}  # fmt: skip

    odd = one(2, FIRST_SCHOOL + 1, "x") | {
        "staffClassificationDescriptor": uri("StaffClassification", "Wizard", "uri://gbisd.example")
    }
    return [one(0, DISTRICT, "Superintendent"), one(1, FIRST_SCHOOL + 1, "Principal", endDate="2026-06-30"), odd]


def _contact(n: int, kind: str) -> Row:
    return {f"{kind}UniqueId": f"P{n}", "firstName": f"Pat{n}", "lastSurname": f"Last{n * 3}",
            "electronicMails": [_mail("Home/Personal", f"pat{n}@example.com", hidden=n == 1)]}  # fmt: skip


def _relation(n: int, kind: str) -> Row:
    relations = ("Mother", "Legal Guardian", "Grandparent", "Emergency contact")
    return {f"{kind}Reference": {f"{kind}UniqueId": f"P{n}"}, "legalGuardian": n == 6,
            "studentReference": {"studentUniqueId": f"{1000 + n * 3}"},
            "relationDescriptor": uri("Relation", relations[n % 4])}  # fmt: skip
