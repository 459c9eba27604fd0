"""A district as Aeries has it: an elementary school, a high school and one with flexible sections. Deterministic."""

from __future__ import annotations

from typing import Any

ELEMENTARY, HIGH, FLEX = 990, 994, 996
Object = dict[str, Any]
Objects = dict[str, list[Object]]
_SECTION_STUDENTS = 6
_YEAR = {"StartDate": "2025-08-18T00:00:00", "EndDate": "2026-06-05T00:00:00"}


def district(students: int = 24) -> Objects:
    """Everything by list, of all schools; ``students`` of the high school.

    At the others there are a third as many, and no more than 800.
    """
    few = max(4, min(students // 3, 800))
    pupils = [_student(ELEMENTARY, n, few) for n in range(few)]
    high = [_student(HIGH, n, students) for n in range(students)]
    flex = [_student(FLEX, n, few) for n in range(few)]
    # One who goes to two schools at once, and one who left the first of them.
    both = {**high[3], "SchoolCode": FLEX, "StudentNumber": 900, "HomePhone": "7775550000"}
    gone = {**high[4], "SchoolCode": FLEX, "StudentNumber": 901, "InactiveStatusCode": "T",
            "SchoolLeaveDate": "2025-10-01T00:00:00"}  # fmt: skip
    sections = [*(_section(HIGH, 100 + n) for n in range(max(3, students // _SECTION_STUDENTS))), _flex()]
    return {
        "schools": _schools(),
        "students": [*pupils, *high, *flex, both, gone],
        "contacts": [_contact(one, n) for one in (*pupils, *high[::3]) for n in (1, 2)[: 1 + one["StudentID"] % 2]],
        "staff": [_staff(n) for n in range(1, 8)],
        "teachers": [*(_teacher(ELEMENTARY, 420 + n, 990421 + n) for n in range(2)),
                     *(_teacher(HIGH, 600 + n, 994600 + n) for n in range(3)), _nobody()],
        "courses": [_course(n) for n in range(3)],
        "sections": sections,
        "classes": [*_schedules(high, sections), _schedule(flex[0], 1, 7), _schedule(both, 1, 7)],
    }  # fmt: skip


def _schools() -> list[Object]:
    common: Object = {"InactiveStatusCode": "", "StateCountyID": "99", "StateDistrictID": "10017", "Terms": []}
    return [
        {**common, "SchoolCode": 0, "Name": "Eagle Unified School District", "ScheduleType": "MasterSchedule"},
        {**common, "SchoolCode": ELEMENTARY, "Name": "Golden Eagle Elementary", "ScheduleType": "Elementary",
         "StateSchoolID": "0000990", "Terms": [{"TermCode": "Y", "TermDescription": "Year", **_YEAR}]},
        {**common, "SchoolCode": 993, "Name": "Closed School", "ScheduleType": "MasterSchedule",
         "InactiveStatusCode": "I"},
        {**common, "SchoolCode": HIGH, "Name": "Screaming Eagle High", "ScheduleType": "MasterSchedule",
         "StateSchoolID": "0000994", "Terms": [
            {"TermCode": "F", "TermDescription": "Fall", "StartDate": "2025-08-18T00:00:00",
             "EndDate": "2025-12-19T00:00:00"},
            {"TermCode": "S", "TermDescription": "Spring", "StartDate": "2026-01-05T00:00:00",
             "EndDate": "2026-06-05T00:00:00"},
            {"TermCode": "Y", "TermDescription": "Year", **_YEAR}]},
        {**common, "SchoolCode": FLEX, "Name": "Eagle Flight School", "ScheduleType": "Flex",
         "StateSchoolID": "0000996"},
        {**common, "SchoolCode": 999, "Name": "ZZZ Inactive Students", "ScheduleType": "MasterSchedule"},
    ]  # fmt: skip


def _student(school: int, n: int, count: int) -> Object:
    low = {ELEMENTARY: 0, HIGH: 9, FLEX: 6}[school]
    return {
        "StudentID": school * 100_000 + 1 + n, "OldStudentID": 7_000 + n if n % 5 == 0 else 0, "SchoolCode": school,
        "StudentNumber": 1 + n, "StateStudentID": f"{school}{n:07}", "LastName": f"Last{n}", "FirstName": f"First{n}",
        "MiddleName": "", "LastNameAlias": "", "FirstNameAlias": f"Nick{n}" if n % 4 == 0 else "",
        "MiddleNameAlias": "", "Gender": "MFX"[n % 3], "Grade": low + n % 3,
        "Birthdate": f"2010-0{1 + n % 9}-11T00:00:00",
        "EthnicityCode": "YN"[n % 2], "RaceCode1": ("700", "201", "600", "100")[n % 4],
        "RaceCode2": "399" if n % 4 == 0 else "", "HomePhone": f"777555{n % 10_000:04}", "StudentMobilePhone": "",
        "StudentEmailAddress": f"s{school}.{n}@example.org", "NetworkLoginID": f"s{school}{n}" if n % 3 else "",
        "InactiveStatusCode": "N" if n == count - 1 else "", "SchoolEnterDate": "2025-08-18T00:00:00",
        "SchoolLeaveDate": None, "HomeRoomTeacherNumber": 420 + n % 2 if school == ELEMENTARY else 0,
    }  # fmt: skip


def _contact(student: Object, number: int) -> Object:
    mailing = number == 2
    return {
        "StudentID": student["StudentID"], "SchoolCode": student["SchoolCode"], "SequenceNumber": number,
        "MailingName": "M/M Maria Lopez" if mailing else "", "FirstName": "" if mailing else f"Mo{number}",
        "LastName": "" if mailing else f"Ther{student['StudentNumber']}", "MiddleName": "",
        "RelationshipToStudentCode": "10" if number == 1 else "13", "HomePhone": "7775551234", "CellPhone": "",
        "EmailAddress": f"c{student['StudentID']}.{number}@example.org",
    }  # fmt: skip


def _staff(n: int) -> Object:
    """Two of the elementary school, three of the high school, a clerk and one who left."""
    given = {1: 990421, 2: 990422, 3: 994600, 4: 994601, 5: 994602, 6: 700006, 7: 700007}[n]
    home = {1: ELEMENTARY, 2: ELEMENTARY, 6: 0, 7: HIGH}.get(n, HIGH)
    return {
        "ID": given, "LastName": f"Staff{n}", "FirstName": f"Given{n}", "MiddleName": "", "Title": "Teacher",
        "EmailAddress": f"t{given}@example.org", "CellPhone": "", "NetworkLoginID": f"t{given}" if n % 2 else "",
        "UserName": f"user{n}", "PrimaryAeriesSchool": home, "StateEducatorID": f"SEID{n}" if n < 4 else "",
        "HumanResourcesSystemID": f"HR-{n}", "InactiveStatusCode": "T" if n == 7 else "",
    }  # fmt: skip


def _teacher(school: int, number: int, staff: int) -> Object:
    low, high = (number - 420, 2) if school == ELEMENTARY else (9, 12)
    return {"SchoolCode": school, "TeacherNumber": number, "DisplayName": f"T. Staff {number}", "Room": f"R{number}",
            "LastName": f"Staff{number}", "FirstName": "T", "StaffID1": staff, "StaffID2": 0, "StaffID3": 0,
            "LowGrade": low, "HighGrade": high, "InactiveStatusCode": ""}  # fmt: skip


def _nobody() -> Object:
    """A class that is not given to anybody yet."""
    return {**_teacher(ELEMENTARY, 429, 0), "DisplayName": "Vacant", "LowGrade": 1, "HighGrade": 1}


def _course(n: int) -> Object:
    return {"ID": f"03{n}A", "Title": f"Math {n}", "LongDescription": f"Mathematics {n}" if n else "",
            "DepartmentCode": "MA", "LowGrade": 9, "HighGrade": 12, "InactiveStatusCode": ""}  # fmt: skip


def _section(school: int, number: int) -> Object:
    return {
        "SchoolCode": school, "SectionNumber": number, "Period": str(number % 6 + 1), "PeriodBlock": 1 + number % 2,
        "Semester": "FSY"[number % 3] if number % 4 else "Q", "CourseID": f"03{number % 3}A", "Room": f"B{number}",
        "LowGrade": 9, "HighGrade": 12, "InactiveStatusCode": "",
        "TeacherNumber1": 600 + number % 3, "TeacherNumber2": 600 + (number + 1) % 3 if number % 2 else 0,
    }  # fmt: skip


def _flex() -> Object:
    staff: list[Object] = [
        {"StaffID": 994602, "IsPrimaryTeacher": True, "StartDate": None, "EndDate": None, "InactiveStatusCode": ""},
        {"StaffID": 994601, "IsPrimaryTeacher": False, "StartDate": "2025-09-01T00:00:00",
         "EndDate": "2025-12-19T00:00:00", "InactiveStatusCode": ""},
        {"StaffID": 700006, "IsPrimaryTeacher": False, "InactiveStatusCode": "I"},
    ]  # fmt: skip
    return {"SchoolCode": FLEX, "SectionNumber": 7, "Period": "", "PeriodBlock": 0, "Semester": "Y",
            "CourseID": "030A", "SectionStaffMembers": staff, "Room": "", "LowGrade": 0, "HighGrade": 0,
            "InactiveStatusCode": ""}  # fmt: skip


def _schedules(students: list[Object], sections: list[Object]) -> list[Object]:
    numbers = [one["SectionNumber"] for one in sections if one["SchoolCode"] == HIGH]
    found = [_schedule(one, 1, numbers[n % len(numbers)]) for n, one in enumerate(students)]
    found += [_schedule(one, 2, numbers[(n + 1) % len(numbers)]) for n, one in enumerate(students)]
    # One who left a class and came back: the second stay counts.
    again = students[0]
    found[0]["DateEnded"] = "2025-09-30T00:00:00"
    return [*found, {**_schedule(again, 3, numbers[0]), "DateStarted": "2025-11-03T00:00:00"}]


def _schedule(student: Object, sequence: int, section: int) -> Object:
    return {"StudentID": student["StudentID"], "SchoolCode": student["SchoolCode"], "SequenceNumber": sequence,
            "CourseID": "030A", "SectionNumber": section, "Period": "1", "DateStarted": "2025-08-18T00:00:00",
            "DateEnded": None}  # fmt: skip
