"""A plain dump of a school database: tables that know each other by numbers, named as most people would name them.

It is the pattern that ``suggest`` fills in with the tables and columns that it finds. Numbers of different tables may be
equal, so ids of users begin with the table's name.
"""

from __future__ import annotations

from typing import Any

_NAMES = {"givenName": "first_name", "familyName": "last_name", "middleName": "middle_name", "email": "email"}


def _person(table: str, *lacking: str, **set_: str) -> dict[str, Any]:
    return {
        "table": table, "columns": {**_NAMES, "identifier": "number"},
        "set": {"sourcedId": f"'{table}-' || id", "enabledUser": "'true'",
                "username": "COALESCE(username, email, number, id)", **set_},
        "may_lack": ["middle_name", "email", "username", "number", *lacking],
    }  # fmt: skip


def _role(table: str, role: str) -> dict[str, Any]:
    return {
        "table": table, "columns": {"orgSourcedId": "school_id"}, "distinct": True,
        "set": {"sourcedId": f"CONCAT_WS('-', '{table}', id, school_id)", "userSourcedId": f"'{table}-' || id",
                "role": f"'{role}'", "roleType": "'primary'"},
    }  # fmt: skip


DUMP: dict[str, Any] = {
    "version": "1.2",
    "files": {
        "orgs": {"from": [{"table": "schools", "columns": {"sourcedId": "id", "name": "name"}, "set": {"type": "'school'"}}]},
        "academicSessions": {"from": [{
            "table": "terms", "may_lack": ["school_year"],
            "columns": {"sourcedId": "id", "title": "name", "startDate": "start_date", "endDate": "end_date"},
            "set": {"type": "'term'", "schoolYear": "COALESCE(school_year, REGEXP_EXTRACT(end_date, '[12][0-9]{3}'))"},
        }]},
        "courses": {"from": [{
            "table": "courses", "may_lack": ["code", "subject"],
            "columns": {"sourcedId": "id", "title": "name", "orgSourcedId": "school_id", "courseCode": "code",
                        "subjects": "subject"},
        }]},
        "classes": {"from": [{
            "table": "sections", "may_lack": ["name", "period"],
            "join": [{"table": "courses", "name": "course", "on": {"course_id": "id"}}],
            "columns": {"sourcedId": "id", "courseSourcedId": "course_id", "termSourcedIds": "term_id", "periods": "period"},
            "set": {"title": "COALESCE(name, course.name)", "schoolSourcedId": "course.school_id",
                    "classType": "'scheduled'"},
        }]},
        "users": {"from": [_person("students", "grade", grades="grade"), _person("teachers")]},
        "roles": {"from": [_role("students", "student"), _role("teachers", "teacher")]},
        "enrollments": {"from": [
            {"table": "enrollments",
             "join": [{"table": "sections", "name": "section", "on": {"section_id": "id"}},
                      {"table": "courses", "name": "course", "on": {"section.course_id": "id"}}],
             "columns": {"classSourcedId": "section_id", "schoolSourcedId": "course.school_id"},
             "set": {"sourcedId": "CONCAT_WS('-', section_id, 'student', student_id)",
                     "userSourcedId": "'students-' || student_id", "role": "'student'"}},
            # A section names its teacher: its row is split into a class and an enrollment.
            {"table": "sections", "where": "teacher_id IS NOT NULL", "may_lack": ["teacher_id"],
             "join": [{"table": "courses", "name": "course", "on": {"course_id": "id"}}],
             "columns": {"classSourcedId": "id", "schoolSourcedId": "course.school_id"},
             "set": {"sourcedId": "CONCAT_WS('-', id, 'teacher', teacher_id)",
                     "userSourcedId": "'teachers-' || teacher_id", "role": "'teacher'", "primary": "'true'"}},
        ]},
    },
}  # fmt: skip
