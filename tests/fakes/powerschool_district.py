"""A small district in a fake PowerSchool: two schools, always the same, with as many students as asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.fakes.powerschool_server import Quirks, Server


def filled(quirks: Quirks | None = None, *, students: int = 25) -> Server:
    """A district with two schools, and with as many students as asked for, always the same."""
    sis = Server(quirks or Quirks())
    sis.put(
        "prefs", {"id": 1, "name": "districtnumber", "value": "0149"},
        {"id": 2, "name": "districtname", "value": "Prairie Public Schools"},
    )  # fmt: skip
    sis.put("schools", *(
        {"dcid": 10 + n, "school_number": 100 * n, "name": name} for n, name in ((1, "Oak Elementary"), (2, "Elm High"))
    ))  # fmt: skip
    sis.put("terms", *_terms())
    sis.put("courses", *(
        {"dcid": 500 + n, "course_number": f"C{n}", "course_name": f"Course {n}", "schoolid": 0 if n == 1 else 100,
         "sched_coursesubjectareacode": "MATH" if n == 2 else None}
        for n in range(1, 5)
    ))  # fmt: skip
    sis.put("sections", *(
        {"dcid": 7000 + n, "id": 700 + n, "section_number": f"{n}", "course_number": f"C{1 + n % 4}",
         "schoolid": 100 + 100 * (n % 2), "termid": (3500, 3501, 3503)[n % 3], "expression": f"{1 + n % 7}(A,C)",
         "room": f"R{n}", "grade_level": n % 13}
        for n in range(8)
    ))  # fmt: skip
    sis.put("roledef", *({"id": n, "name": name} for n, name in enumerate(("Lead Teacher", "Co-teacher", "Aide"), 1)))
    _staff(sis)
    _students(sis, students)
    return sis


def _terms() -> Iterable[dict[str, Any]]:
    spans = (
        ("Year", 1, 0, "08-20", "06-10"), ("Semester 1", 2, 1, "08-20", "01-15"),
        ("Semester 2", 2, 2, "01-16", "06-10"), ("Quarter 3", 4, 3, "01-16", "03-20"),
    )  # fmt: skip
    number = 0
    for year in (34, 35):
        for school in (0, 100, 200):
            for name, portion, place, first, last in spans:
                number += 1
                begins = year + 1990 + (first < "07")
                ends = year + 1990 + (last < "07")
                yield {"dcid": number, "id": year * 100 + place, "schoolid": school, "yearid": year, "name": name,
                       "portion": portion, "firstday": f"{begins}-{first}", "lastday": f"{ends}-{last}"}  # fmt: skip


def _staff(sis: Server) -> None:
    for n in range(1, 7):
        sis.put("users", {
            "dcid": 300 + n, "homeschoolid": 100 + 100 * (n % 2), "first_name": f"Tea{n}", "last_name": f"Cher{n}",
            "middle_name": "M", "email_addr": f"t{n}@staff.example", "teachernumber": f"N{n}", "loginid": f"login{n}",
            "teacherloginid": f"teach{n}" if n < 5 else None,
        })  # fmt: skip
        places = (100, 200) if n == 1 else (0,) if n == 6 else (100 + 100 * (n % 2),)
        for place in places:
            key = 3000 + 10 * n + place // 100
            sis.put("schoolstaff", {"dcid": key, "id": key + 1, "users_dcid": 300 + n, "schoolid": place,
                                    "status": 2 if n == 5 else 1, "staffstatus": 2 if n == 6 else 1})  # fmt: skip
    for n in range(8):
        teacher = 1 + n % 4
        place = 100 + 100 * (teacher % 2)
        key = 3000 + 10 * teacher + place // 100 + 1
        sis.put("sectionteacher", {"id": 900 + n, "sectionid": 700 + n, "teacherid": key, "roleid": 1,
                                   "start_date": "2025-08-20", "end_date": "2026-06-10"})  # fmt: skip


def _students(sis: Server, students: int) -> None:
    first, last = ("Ann", "Ben", "Cy", "Dee", "Eve"), ("Ash", "Birch", "Cedar")
    rows, enrolled, races, mails, kin = [], [], [], [], []
    for n in range(1, students + 1):
        dcid, school = 2 * n, 100 + 100 * (n % 2)
        rows.append({
            "dcid": dcid, "id": 5000 + n, "student_number": f"{9000 + n}", "first_name": first[n % 5],
            "middle_name": None, "last_name": f"{last[n % 3]}{n}", "grade_level": n % 14 - 2, "schoolid": school,
            "enroll_status": 2 if n == 3 else -1 if n == 4 else 0, "student_web_id": f"web{n}", "dob": "2012-05-06",
            "gender": "MFX"[n % 3], "ethnicity": "W", "fedethnicity": n % 2,
        })  # fmt: skip
        races.append({"id": n, "studentid": 5000 + n, "racecd": "AB"[n % 2]})
        mails.append({"studentsdcid": dcid, "student_email": f"s{n}@students.example"})
        kin.append(n)
        for k in range(2):
            dropped = n == 5 and k == 1
            enrolled.append({
                "dcid": 10_000 + 2 * n + k, "id": 20_000 + 2 * n + k, "studentid": 5000 + n, "schoolid": school,
                "sectionid": (-1 if dropped else 1) * (700 + (n + 3 * k) % 8), "termid": -3500 if dropped else 3500,
                "dateenrolled": "2025-08-20", "dateleft": "2025-10-02" if dropped else "2026-06-11",
            })  # fmt: skip
    sis.put("students", *rows)
    sis.put("cc", *enrolled)
    sis.put("studentrace", *races)
    sis.put("u_studentsuserfields", *mails)
    for n in kin[: 10 if students < 100 else students]:
        person, account = 40_000 + n // 2, f"account{n // 2}"
        sis.put("studentcontactassoc", {"studentcontactassocid": 60_000 + n, "studentdcid": 2 * n, "personid": person})
        sis.put(
            "guardianpersonassoc",
            {"guardianpersonassocid": 70_000 + n // 2, "guardianid": 80 + n // 2, "personid": person},
        )
        sis.put(
            "guardian",
            {"guardianid": 80 + n // 2, "firstname": "Gua", "lastname": f"Dian{n // 2}", "accountidentifier": account},
        )
        if n // 2 != 2:
            sis.put("pcas_account", {"pcas_accountid": 90_000 + n // 2, "pcas_accounttoken": account,
                                     "username": f"parent{n // 2}", "isenabled": 1})  # fmt: skip
            sis.put("pcas_emailcontact", {"pcas_emailcontactid": 95_000 + n // 2, "pcas_accountid": 90_000 + n // 2,
                                          "emailaddress": f"p{n // 2}@home.example"})  # fmt: skip
