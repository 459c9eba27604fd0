"""The PowerQueries that the plugin brings and the connector calls, each stated once.

From a query come its SQL, the fields that the plugin must be permitted to read, the tables whose changes matter, and
two more queries: one of the keys alone, and one that seals the others with their number and the sum of their keys.

Joins are outer joins, so that a row comes as changed when any of its tables changed; SQL is ordered by the key, for
else pages overlap (PowerSchool's developer pages on PowerQueries).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from connectors.powerschool.config import KitOptions

#: Names are one flat space of a whole PowerSchool system: reversed domain, product, area, what it returns.
PREFIX = "org.rosterhub.powerschool.roster."
_FIELD = re.compile(r"\b([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)\b")
#: Arguments and the columns that they are compared with.
ARGUMENTS: Mapping[str, str] = {
    "statuses": "students.enroll_status", "firstyear": "terms.yearid", "firstterm": "terms.id", "lastterm": "terms.id",
}  # fmt: skip
ARRAYS = frozenset({"statuses"})
SEAL_TOTAL, SEAL_SUM = "total", "checksum"


@dataclass(frozen=True)
class Query:
    """``columns``: alias to ``table.field``. ``made``: aliases whose value is another expression than that field.

    ``key``: the aliases that name a row, the first a number. ``keyed``: what decides beside the key whether a row is
    of the roster.
    """

    name: str
    columns: Mapping[str, str]
    source: str
    key: tuple[str, ...] = ("dcid",)
    where: str = ""
    made: Mapping[str, str] | None = None
    keyed: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As the system knows it."""
        return PREFIX + self.name

    @property
    def core(self) -> str:
        """The table that the rows are of."""
        return self.source.split()[0]

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of what has to be handed over."""
        return tuple(name for name in ARGUMENTS if f":{name}" in self.where)

    @cached_property
    def sql(self) -> str:
        """The statement."""
        made = self.made or {}
        chosen = ",\n  ".join(f"{made.get(alias, field)} as {alias}" for alias, field in self.columns.items())
        where = f"\nwhere {self.where}" if self.where else ""
        order = ", ".join(self.order or tuple(self.columns[alias] for alias in self.key))
        return f"select\n  {chosen}\nfrom {self.source}{where}\norder by {order}"

    @cached_property
    def fields(self) -> frozenset[tuple[str, str]]:
        """Tables and fields that the statement reads."""
        return frozenset(_FIELD.findall(self.sql)) | {_split(field) for field in self.columns.values()}

    @cached_property
    def tables(self) -> frozenset[str]:
        """The tables that the rows come from."""
        return frozenset(table for table, _ in self.fields)

    @cached_property
    def keys(self) -> Query:
        """The same rows with their keys alone, and what decides whether they count."""
        kept = dict.fromkeys((*self.key, *self.keyed))
        return replace(self, name=self.name + "_keys", columns={alias: self.columns[alias] for alias in kept})

    @cached_property
    def seal(self) -> Query:
        """One row: how many rows there are, and the sum of the first column of their keys."""
        field = self.columns[self.key[0]]
        made = {SEAL_TOTAL: "count(*)", SEAL_SUM: f"sum({field})"}
        columns = dict.fromkeys(made, field)
        return replace(
            self, name=self.name + "_seal", columns=columns, made=made, key=(SEAL_TOTAL,), keyed=(), order=("1",)
        )


def _split(field: str) -> tuple[str, str]:
    table, _, name = field.partition(".")
    return table, name


def _day(field: str) -> str:
    return f"to_char({field}, 'YYYY-MM-DD')"


def _of(table: str, *names: str, **others: str) -> dict[str, str]:
    """Columns of one table under their own names, and of others."""
    return {name: f"{table}.{name}" for name in names} | others


DISTRICT = Query(
    "district", _of("prefs", "id", "name", "value"), "prefs", ("id",),
    "prefs.name in ('districtnumber', 'districtname')",
)  # fmt: skip
SCHOOLS = Query("schools", _of("schools", "dcid", "school_number", "name"), "schools")
TERMS = Query(
    "terms",
    _of("terms", "dcid", "id", "schoolid", "yearid", "name", "portion", "firstday", "lastday"),
    "terms", where="terms.yearid >= :firstyear",
    made={name: _day(f"terms.{name}") for name in ("firstday", "lastday")},
)  # fmt: skip
COURSES = Query(
    "courses",
    _of("courses", "dcid", "course_number", "course_name", "schoolid", subject="courses.sched_coursesubjectareacode"),
    "courses",
)
SECTIONS = Query(
    "sections",
    _of("sections", "id", "section_number", "course_number", "schoolid", "termid", "expression", "room", "grade_level",
        course_dcid="courses.dcid", course_name="courses.course_name"),
    "sections left join courses on courses.course_number = sections.course_number",
    ("id",), "abs(sections.termid) between :firstterm and :lastterm", keyed=("termid",),
)  # fmt: skip
STAFF = Query(
    "staff",
    _of("schoolstaff", "dcid", "users_dcid", "schoolid", "status", "staffstatus",
        homeschoolid="users.homeschoolid", first_name="users.first_name", middle_name="users.middle_name",
        last_name="users.last_name", email="users.email_addr", teachernumber="users.teachernumber",
        loginid="users.loginid", teacherloginid="users.teacherloginid"),
    "schoolstaff left join users on users.dcid = schoolstaff.users_dcid",
)  # fmt: skip
ENROLLMENTS = Query(
    "enrollments",
    _of("cc", "dcid", "sectionid", "schoolid", "termid", "dateenrolled", "dateleft",
        student_dcid="students.dcid", enroll_status="students.enroll_status"),
    "cc left join students on students.id = cc.studentid",
    where="abs(cc.termid) between :firstterm and :lastterm",
    made={name: _day(f"cc.{name}") for name in ("dateenrolled", "dateleft")},
    keyed=("termid", "sectionid", "dateenrolled", "dateleft", "student_dcid", "enroll_status"),
)  # fmt: skip
TEACHERS = Query(
    "teachers",
    _of("sectionteacher", "id", "sectionid", "start_date", "end_date",
        users_dcid="schoolstaff.users_dcid", status="schoolstaff.status", staffstatus="schoolstaff.staffstatus",
        role="roledef.name", schoolid="sections.schoolid", termid="sections.termid"),
    "sectionteacher left join sections on sections.id = sectionteacher.sectionid"
    " left join schoolstaff on schoolstaff.id = sectionteacher.teacherid"
    " left join roledef on roledef.id = sectionteacher.roleid",
    ("id",), "abs(sections.termid) between :firstterm and :lastterm",
    made={name: _day(f"sectionteacher.{name}") for name in ("start_date", "end_date")},
    keyed=("users_dcid", "status", "staffstatus"),
)  # fmt: skip
GUARDIANS = Query(
    "guardians",
    _of("guardian", "guardianid", "firstname", "middlename", "lastname",
        username="pcas_account.username", enabled="pcas_account.isenabled", email="pcas_emailcontact.emailaddress"),
    "guardian left join pcas_account on pcas_account.pcas_accounttoken = guardian.accountidentifier",
    ("guardianid",), "pcas_account.pcas_accountid is not null",
    made={"email": "(select min(pcas_emailcontact.emailaddress) from pcas_emailcontact"
                   " where pcas_emailcontact.pcas_accountid = pcas_account.pcas_accountid)"},
)  # fmt: skip
LINKS = Query(
    "guardian_links",
    _of("studentcontactassoc", "studentcontactassocid", "studentdcid", guardianid="guardianpersonassoc.guardianid",
        guardianpersonassocid="guardianpersonassoc.guardianpersonassocid", schoolid="students.schoolid",
        enroll_status="students.enroll_status"),
    "studentcontactassoc left join guardianpersonassoc on guardianpersonassoc.personid = studentcontactassoc.personid"
    " left join students on students.dcid = studentcontactassoc.studentdcid"
    " left join guardian on guardian.guardianid = guardianpersonassoc.guardianid"
    " left join pcas_account on pcas_account.pcas_accounttoken = guardian.accountidentifier",
    ("studentcontactassocid", "guardianpersonassocid"),
    "pcas_account.pcas_accountid is not null and students.enroll_status in (:statuses)",
)  # fmt: skip
DEMOGRAPHICS = Query(
    "demographics",
    _of("students", "dcid", "enroll_status", "dob", "gender", "ethnicity", "fedethnicity"), "students",
    where="students.enroll_status in (:statuses)", made={"dob": _day("students.dob")}, keyed=("enroll_status",),
)  # fmt: skip
RACES = Query(
    "races", _of("studentrace", "id", "racecd", student_dcid="students.dcid"),
    "studentrace left join students on students.id = studentrace.studentid", ("id",),
    "students.enroll_status in (:statuses)",
)  # fmt: skip
#: How an e-mail address is found that stands in a table of contacts. One of several, so that rows stay one a student.
_SELF_CONTACT = (
    "(select min(psm_studentcontact.email) from psm_studentcontact"
    " left join psm_studentcontacttype on psm_studentcontacttype.id = psm_studentcontact.studentcontacttypeid"
    " left join sync_studentmap on sync_studentmap.studentid = psm_studentcontact.studentid"
    " where psm_studentcontacttype.name = 'Self' and sync_studentmap.studentsdcid = students.dcid)"
)


def students(email: str | None) -> Query:
    """The students, with their e-mail address where it is known where that stands."""
    columns = _of("students", "dcid", "id", "student_number", "first_name", "middle_name", "last_name", "grade_level",
                  "enroll_status", "schoolid", "student_web_id")  # fmt: skip
    query = Query("students", columns, "students", where="students.enroll_status in (:statuses)",
                  keyed=("enroll_status",))  # fmt: skip
    if email is None:
        return query
    table = email.partition(".")[0]
    query = replace(query, columns=columns | {"email": email})
    if table == "psm_studentcontact":
        return replace(query, made={"email": _SELF_CONTACT})
    if table == "students":
        return query
    return replace(query, source=f"students left join {table} on {table}.studentsdcid = students.dcid")


def pack(options: KitOptions) -> tuple[Query, ...]:
    """All queries that a source with these options calls, but for the ones of keys and the seals."""
    people = [students(options.student_email), STAFF, *((GUARDIANS, LINKS) if options.contacts else ())]
    of = {"courses": [COURSES], "classes": [SECTIONS], "users": people, "enrollments": [ENROLLMENTS, TEACHERS]}
    pulled = [query for name, found in of.items() if name in options.entities for query in found]
    return (DISTRICT, SCHOOLS, TERMS, *pulled, *((DEMOGRAPHICS, RACES) if options.demographics else ()))
