"""Microsoft School Data Sync, version 1 (School.csv, Section.csv, Student.csv …), as OneRoster 1.2.

Source: learn.microsoft.com/schooldatasync, "CSV files for School Data Sync" and "Parent and Guardian Sync File Format".
Students, teachers and guardians count apart there, so their ids are told apart here: ``student-``, ``teacher-`` and
``guardian-`` stand before them.
"""

from __future__ import annotations

from typing import Any

from transforms.shaping.mappings.sds_v2 import always

_TERM = ["Term SIS ID", "Term Name", "Term StartDate", "Term EndDate"]
_COURSE = ["Course SIS ID", "Course Name", "Course Number", "Course Subject"]
_PERSON = ["First Name", "Last Name", "Middle Name", "Secondary Email", "Status"]
_ACTIVE = "CASE WHEN LOWER(Status) IN ('inactive', 'withdrawn', 'transferred') THEN 'false' ELSE 'true' END"


def _person(table: str, number: str, set_: dict[str, str], *lacking: str) -> dict[str, Any]:
    prefix = table.lower()
    return {
        "table": table,
        "columns": {"username": "Username", "givenName": "First Name", "familyName": "Last Name",
                    "middleName": "Middle Name", "identifier": number, "email": "Secondary Email"},
        "set": {"sourcedId": f"'{prefix}-' || \"SIS ID\"", "enabledUser": _ACTIVE, **set_},
        "may_lack": [*_PERSON, number, *lacking],
    }  # fmt: skip


def _role(table: str) -> dict[str, Any]:
    prefix = table.lower()
    return {
        "table": table, "distinct": True, "columns": {"orgSourcedId": "School SIS ID"},
        "set": {"sourcedId": f"CONCAT_WS('-', '{prefix}', \"SIS ID\", \"School SIS ID\")",
                "userSourcedId": f"'{prefix}-' || \"SIS ID\"", "role": f"'{prefix}'", "roleType": "'primary'"},
    }  # fmt: skip


def _enrollment(table: str, role: str) -> dict[str, Any]:
    return {
        "table": table,
        "join": [{"table": "Section", "name": "section", "on": {"Section SIS ID": "SIS ID"}}],
        "columns": {"classSourcedId": "Section SIS ID", "schoolSourcedId": "section.School SIS ID"},
        "set": {"sourcedId": f"CONCAT_WS('-', \"Section SIS ID\", '{role}', \"SIS ID\")",
                "userSourcedId": f"'{role}-' || \"SIS ID\"", "role": f"'{role}'"},
    }  # fmt: skip


V1: dict[str, Any] = {
    "version": "1.2",
    "files": {
        "orgs": {"from": [{
            "table": "School", "may_lack": ["School Number"],
            "columns": {"sourcedId": "SIS ID", "name": "Name", "identifier": "School Number"},
            "set": {"type": "'school'"},
        }]},
        "academicSessions": {"from": [
            {"table": "Section", "may_lack": _TERM, "distinct": True,
             "where": '"Term SIS ID" IS NOT NULL AND "Term StartDate" IS NOT NULL',
             "columns": {"sourcedId": "Term SIS ID", "startDate": "Term StartDate", "endDate": "Term EndDate"},
             "set": {"title": 'COALESCE("Term Name", "Term SIS ID")', "type": "'term'",
                     "schoolYear": "REGEXP_EXTRACT(\"Term EndDate\", '[12][0-9]{3}')"}},
            {**always("Section", '"Term SIS ID" IS NULL OR "Term StartDate" IS NULL'), "may_lack": _TERM},
        ]},
        "courses": {"from": [
            {"table": "Section", "may_lack": _COURSE, "distinct": True, "where": '"Course SIS ID" IS NOT NULL',
             "columns": {"courseCode": "Course Number", "subjects": "Course Subject"},
             "set": {"sourcedId": "CONCAT_WS('-', \"School SIS ID\", \"Course SIS ID\")",
                     "title": 'COALESCE("Course Name", "Course SIS ID")', "orgSourcedId": '"School SIS ID"'}},
            {"table": "Section", "may_lack": _COURSE, "where": '"Course SIS ID" IS NULL',
             "columns": {"title": "Section Name", "orgSourcedId": "School SIS ID"},
             "set": {"sourcedId": "'section-' || \"SIS ID\""}},
        ]},
        "classes": {"from": [{
            "table": "Section", "may_lack": [*_TERM, *_COURSE, "Section Number", "Periods"],
            "columns": {"sourcedId": "SIS ID", "title": "Section Name", "schoolSourcedId": "School SIS ID",
                        "classCode": "Section Number", "periods": "Periods"},
            "set": {
                "courseSourcedId": "CASE WHEN \"Course SIS ID\" IS NULL THEN 'section-' || \"SIS ID\" "
                                   "ELSE CONCAT_WS('-', \"School SIS ID\", \"Course SIS ID\") END",
                "termSourcedIds": "CASE WHEN \"Term StartDate\" IS NULL THEN 'all-years' "
                                  "ELSE COALESCE(\"Term SIS ID\", 'all-years') END",
                "classType": "'scheduled'",
            },
        }]},
        "users": {"from": [
            {**_person("Student", "Student Number", {"grades": "Grade", "agentSourcedIds": "kin.Email"}, "Grade", "Email"),
             "join": [{"table": "guardianrelationship", "name": "kin", "on": {"SIS ID": "SIS ID"}, "many": "list",
                       "optional": True}]},
            _person("Teacher", "Teacher Number", {}),
            {"table": "User", "optional": True, "may_lack": ["Phone"],
             "columns": {"sourcedId": "Email", "username": "Email", "email": "Email", "givenName": "First Name",
                         "familyName": "Last Name", "phone": "Phone"},
             "set": {"enabledUser": "'true'"}},
        ]},
        "roles": {"from": [
            _role("Student"),
            _role("Teacher"),
            {"table": "guardianrelationship", "optional": True, "distinct": True, "may_lack": ["Role"],
             "join": [{"table": "Student", "name": "child", "on": {"SIS ID": "SIS ID"}}],
             "columns": {"userSourcedId": "Email", "orgSourcedId": "child.School SIS ID"},
             "set": {"sourcedId": "CONCAT_WS('-', Email, \"child.School SIS ID\", LOWER(Role))", "roleType": "'primary'",
                     "role": "CASE WHEN LOWER(Role) IN ('parent', 'relative') THEN LOWER(Role) ELSE 'guardian' END"}},
        ]},
        "enrollments": {"from": [_enrollment("StudentEnrollment", "student"), _enrollment("TeacherRoster", "teacher")]},
        "demographics": {"from": [{
            "table": "Student", "may_lack": ["Birthdate", "Gender"],
            "where": "Birthdate IS NOT NULL OR Gender IS NOT NULL",
            "columns": {"birthDate": "Birthdate", "sex": "Gender"},
            "set": {"sourcedId": "'student-' || \"SIS ID\""},
        }]},
    },
}  # fmt: skip
