"""Microsoft School Data Sync, versions 2 and 2.1, as OneRoster 1.2.

Source: learn.microsoft.com/schooldatasync, "SDS V2.1 CSV File Format" and its default list of values. What OneRoster has no
place for stays behind: flags of users (``userFlags``), the Entra match id, passwords. A class or a course that names no
session or course gets one that says so, because OneRoster wants one.
"""

from __future__ import annotations

from typing import Any

#: Kinds of orgs, as OneRoster calls them. Others become ``ext:`` words.
_ORG_TYPES = {
    "school": "school", "college": "school", "university": "school", "adultEducation": "school", "charterSchool": "school",
    "careerTechnicalEducation": "school", "department": "department", "program": "department", "division": "department",
    "district": "district", "localEducationAgency": "local", "region": "local", "county": "local", "state": "state",
    "stateEducationAgency": "state", "ministryOfEducation": "national", "national": "national",
}  # fmt: skip
_ROLES = {
    **dict.fromkeys(("professor", "lecturer", "instructor", "faculty", "adjunct", "teacher", "substituteTeacher"), "teacher"),
    **dict.fromkeys(("teacherAssistant", "teachingAssistant", "paraprofessional", "aide"), "aide"),
    **dict.fromkeys(("student", "alumni"), "student"),
    **dict.fromkeys(("principal", "headTeacher", "provost", "chancellor", "president"), "principal"),
    **dict.fromkeys(("counselor", "adviser", "advisor"), "counselor"),
    **dict.fromkeys(("administrator", "staff", "officeStaff", "other"), "administrator"),
    "proctor": "proctor", "guardian": "guardian", "parent": "parent", "relative": "relative",
}  # fmt: skip
_TEACHING = {
    **{sds: "teacher" for sds, role in _ROLES.items() if role == "teacher"},
    **{sds: "administrator" for sds, role in _ROLES.items() if role in {"principal", "counselor", "administrator"}},
    "aide": "ext:aide", "student": "student",
}  # fmt: skip
_KINSHIP = {
    "parent": "parent", "guardian": "guardian", "relative": "relative",
    **dict.fromkeys(("aide", "doctor", "child", "administrator", "other", "emergencyContact"), "guardian"),
}  # fmt: skip
#: One of a class's own, where it names none: it lasts until somebody gives the real one.
_ALWAYS = "all-years"
_RACES = (
    "americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican", "nativeHawaiianOrOtherPacificIslander", "white",
    "demographicRaceTwoOrMoreRaces",
)  # fmt: skip


def folded(values: dict[str, str]) -> dict[str, str]:
    """The same values for any case: expressions look them up in lower case."""
    return {source.lower(): target for source, target in values.items()}


def always(table: str, where: str) -> dict[str, Any]:
    """A session without end, made if rows of ``table`` need one."""
    return {
        "table": table, "optional": True, "where": where, "distinct": True,
        "set": {
            "sourcedId": f"'{_ALWAYS}'", "title": "'All years'", "type": "'schoolYear'", "startDate": "'2000-01-01'",
            "endDate": "'2100-01-01'", "schoolYear": "'2100'",
        },
    }  # fmt: skip


_ORGS = {
    "from": [{
        "table": "orgs", "may_lack": ["parentSourcedId"],
        "columns": {"sourcedId": "sourcedId", "name": "name", "parentSourcedId": "parentSourcedId"},
        "set": {"type": "COALESCE(LOWER(type), 'school')"},
    }],
    "values": {"type": folded(_ORG_TYPES)},
    "set": {"type": "CASE WHEN type IN ('school', 'department', 'district', 'local', 'state', 'national') THEN type "
                    "ELSE CONCAT('ext:', REGEXP_REPLACE(type, '[^A-Za-z0-9._-]', '-')) END"},
}  # fmt: skip
_RELATIONS = ["userSourcedId", "relationshipUserSourcedId", "relationshipRole"]
_RELATIONS_OF = {
    "table": "relationships",
    "name": "kin",
    "on": {"sourcedId": "userSourcedId"},
    "many": "list",
    "optional": True,
}
_ROLE_STEPS = {
    "values": {"role": folded(_ROLES)},
    "set": {"role": "CASE WHEN role IN ('teacher', 'aide', 'student', 'principal', 'counselor', 'administrator', 'proctor', "
                    "'guardian', 'parent', 'relative') THEN role "
                    "ELSE CONCAT('ext:', REGEXP_REPLACE(role, '[^A-Za-z0-9._-]', '-')) END"},
}  # fmt: skip


def _user(**more: Any) -> dict[str, Any]:
    columns = {name: name for name in ("sourcedId", "username", "givenName", "familyName", "email", "phone", "sms")}
    lacking = ["email", "phone", "sms", "givenName", "familyName"]
    enabled = {"enabledUser": "'true'"}
    return {"table": "users", "columns": columns, "may_lack": [*lacking, *more.pop("may_lack", [])],
            "set": enabled | more.pop("set", {}), **more}  # fmt: skip


_GRADE = "CASE WHEN UPPER({0}) LIKE 'PS_' THEN 'PS' ELSE {0} END"
_ENROLLMENTS = {
    "from": [{
        "table": "enrollments", "optional": True,
        "join": [{"table": "classes", "name": "class", "on": {"classSourcedId": "sourcedId"}}],
        "columns": {"classSourcedId": "classSourcedId", "userSourcedId": "userSourcedId",
                    "schoolSourcedId": "class.orgSourcedId"},
        "set": {"sourcedId": "classSourcedId || '-' || userSourcedId || '-' || LOWER(role)", "role": "LOWER(role)"},
    }],
    "values": {"role": folded(_TEACHING)},
}  # fmt: skip

V2_1: dict[str, Any] = {
    "version": "1.2",
    "files": {
        "orgs": _ORGS,
        "academicSessions": {"from": [
            {"table": "academicSessions", "optional": True,
             "columns": {n: n for n in ("sourcedId", "title", "type", "startDate", "endDate", "schoolYear")}},
            {**always("classes", "sessionSourcedIds IS NULL"), "may_lack": ["sessionSourcedIds"]},
        ]},
        "courses": {"from": [
            {"table": "courses", "optional": True, "may_lack": ["code", "schoolYearSourcedId", "subject", "grade"],
             "columns": {"sourcedId": "sourcedId", "title": "title", "orgSourcedId": "orgSourcedId", "courseCode": "code",
                         "schoolYearSourcedId": "schoolYearSourcedId", "subjectCodes": "subject"},
             "set": {"grades": _GRADE.format("grade")}},
            {"table": "classes", "optional": True, "may_lack": ["courseSourcedId"], "where": "courseSourcedId IS NULL",
             "columns": {"title": "title", "orgSourcedId": "orgSourcedId"},
             "set": {"sourcedId": "'class-' || sourcedId"}},
        ]},
        "classes": {"from": [{
            "table": "classes", "optional": True, "may_lack": ["sessionSourcedIds", "courseSourcedId", "code"],
            "columns": {"sourcedId": "sourcedId", "title": "title", "schoolSourcedId": "orgSourcedId", "classCode": "code"},
            "set": {"courseSourcedId": "COALESCE(courseSourcedId, 'class-' || sourcedId)", "classType": "'scheduled'",
                    "termSourcedIds": f"COALESCE(sessionSourcedIds, '{_ALWAYS}')"},
        }]},
        "users": {"from": [_user(
            join=[{"table": "roles", "name": "part", "on": {"sourcedId": "userSourcedId"}, "many": "list"}, _RELATIONS_OF],
            set={"agentSourcedIds": "kin.relationshipUserSourcedId",
                 "grades": "REGEXP_REPLACE(part.grade, '(?i)\\bps[0-9]', 'PS')"},
            may_lack=["grade", *_RELATIONS],
        )]},
        "roles": {"from": [
            {"table": "roles", "may_lack": ["sessionSourcedId", "isPrimary", "roleStartDate", "roleEndDate"], "distinct": True,
             "columns": {"userSourcedId": "userSourcedId", "orgSourcedId": "orgSourcedId", "beginDate": "roleStartDate",
                         "endDate": "roleEndDate"},
             "set": {"sourcedId": "CONCAT_WS('-', userSourcedId, orgSourcedId, LOWER(role), sessionSourcedId)",
                     "role": "LOWER(role)",
                     "roleType": "CASE WHEN LOWER(isPrimary) IN ('false', '0', 'no') THEN 'secondary' ELSE 'primary' END"}},
            # People who are only named as relatives have no role of their own: they get theirs where the child is.
            {"table": "relationships", "optional": True, "distinct": True,
             "join": [{"table": "roles", "name": "child", "on": {"userSourcedId": "userSourcedId"}},
                      {"table": "roles", "name": "own", "on": {"relationshipUserSourcedId": "userSourcedId"}}],
             "where": "own.role IS NULL AND relationshipUserSourcedId IS NOT NULL",
             "columns": {"userSourcedId": "relationshipUserSourcedId", "orgSourcedId": "child.orgSourcedId"},
             "set": {"sourcedId": "CONCAT_WS('-', relationshipUserSourcedId, child.orgSourcedId, LOWER(relationshipRole))",
                     "roleType": "'primary'",
                     "role": "CASE WHEN LOWER(relationshipRole) IN ('parent', 'relative') THEN LOWER(relationshipRole) "
                             "ELSE 'guardian' END"}},
        ], **_ROLE_STEPS},
        "enrollments": _ENROLLMENTS,
        "demographics": {"from": [{
            "table": "demographics", "optional": True,
            "may_lack": ["sex", "birthDate", "birthCity", "birthState", "birthCountry", "ethnicityCodes", "raceCodes"],
            "columns": {"sourcedId": "userSourcedId", "sex": "sex", "birthDate": "birthDate", "cityOfBirth": "birthCity",
                        "stateOfBirthAbbreviation": "birthState", "countryOfBirthCode": "birthCountry"},
            "set": {
                "hispanicOrLatinoEthnicity": "CASE WHEN LOWER(ethnicityCodes) LIKE '%hispanicorlatinoethnicity%' THEN 'true' END",
                **{race: f"CASE WHEN LOWER(raceCodes) LIKE '%{race.lower()}%' THEN 'true' END" for race in _RACES},
            },
        }]},
    },
}  # fmt: skip

# Version 2 states the roles of a user in users.csv and has neither courses nor sessions.
_USERS_ORG = "SPLIT_PART(orgSourcedIds, ',', 1)"
V2: dict[str, Any] = {
    "version": "1.2",
    "files": {
        "orgs": _ORGS,
        "academicSessions": {"from": [always("classes", "sourcedId IS NOT NULL")]},
        "courses": {"from": [
            {"table": "classes", "optional": True, "columns": {"title": "title", "orgSourcedId": "orgSourcedId"},
             "set": {"sourcedId": "'class-' || sourcedId"}},
        ]},
        "classes": {"from": [{
            "table": "classes", "optional": True,
            "columns": {"sourcedId": "sourcedId", "title": "title", "schoolSourcedId": "orgSourcedId"},
            "set": {"courseSourcedId": "'class-' || sourcedId", "classType": "'scheduled'",
                    "termSourcedIds": f"'{_ALWAYS}'"},
        }]},
        "users": {"from": [_user(set={"grades": _GRADE.format("grade")}, may_lack=["grade"])]},
        "roles": {"from": [
            {"table": "users",
             "columns": {"userSourcedId": "sourcedId"},
             "set": {"sourcedId": f"CONCAT_WS('-', sourcedId, {_USERS_ORG}, LOWER(role))", "orgSourcedId": _USERS_ORG,
                     "role": "LOWER(role)", "roleType": "'primary'"}},
            *({"table": "users", "where": f"SPLIT_PART(orgSourcedIds, ',', {n}) IS NOT NULL",
               "columns": {"userSourcedId": "sourcedId"},
               "set": {"sourcedId": f"CONCAT_WS('-', sourcedId, TRIM(SPLIT_PART(orgSourcedIds, ',', {n})), LOWER(role))",
                       "orgSourcedId": f"TRIM(SPLIT_PART(orgSourcedIds, ',', {n}))", "role": "LOWER(role)",
                       "roleType": "'secondary'"}} for n in (2, 3, 4)),
        ], **_ROLE_STEPS},
        "enrollments": _ENROLLMENTS,
    },
}  # fmt: skip
