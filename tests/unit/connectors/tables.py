"""Packages of tables for tests: School Data Sync 1, 2 and 2.1 and a dump, as text that a test can spoil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from connectors.table_csv import TablePackage, open_tables
from hub.sync.examine import Examined, examined
from tests.unit.connectors.packages import text, zipped
from transforms.shaping import definition

SDS_1 = {
    "School.csv": text("SIS ID,Name,School Number", "s1,North School,100"),
    "Section.csv": text(
        "SIS ID,School SIS ID,Section Name,Section Number,Term SIS ID,Term Name,Term StartDate,Term EndDate,"
        "Course SIS ID,Course Name,Course Number,Course Subject,Periods",
        "c1,s1,Maths 1,1,t1,Autumn,2025-08-01,2026-01-31,m,Maths,MA1,Mathematics,2",
        "c2,s1,Maths 2,2,t1,Autumn,2025-08-01,2026-01-31,m,Maths,MA1,Mathematics,3",
        "c3,s1,Club,,,,,,,,,,",
    ),
    "Student.csv": text(
        "SIS ID,School SIS ID,Username,First Name,Last Name,Password,Grade,Status,Birthdate",
        "1,s1,ana,Ana,Silva,hush-hush,05,Active,2014-03-01",
        "2,s1,bo,Bo,Berg,hush-hush,K,Inactive,",
    ),
    "Teacher.csv": text("SIS ID,School SIS ID,Username,First Name,Last Name,Password", "1,s1,tom,Tom,Otto,hush-hush"),
    "StudentEnrollment.csv": text("Section SIS ID,SIS ID", "c1,1", "c3,2"),
    "TeacherRoster.csv": text("Section SIS ID,SIS ID", "c1,1"),
    "User.csv": text("Email,First Name,Last Name,Phone,SIS ID", "mum@home.example,Mia,Silva,+15550100,"),
    "guardianrelationship.csv": text("SIS ID,Email,Role", "1,mum@home.example,Parent"),
}
SDS_2 = {
    "orgs.csv": text(
        "sourcedId,name,type,parentSourcedId", "d,District,district,", "s1,North,school,d", "s2,South,school,d"
    ),
    "users.csv": text(
        "sourcedId,orgSourcedIds,username,givenName,familyName,email,role,grade",
        'u1,"s1,s2",ana,Ana,Silva,ana@x.example,student,5',
        "u2,s1,tom,Tom,Otto,,teacher,",
    ),
    "classes.csv": text("sourcedId,orgSourcedId,title", "c1,s1,Maths"),
    "enrollments.csv": text("classSourcedId,userSourcedId,role", "c1,u1,student", "c1,u2,teacher"),
}
DUMP = {
    "schools.csv": text("id,name", "10,North School"),
    "terms.csv": text("id,name,start_date,end_date", "5,Autumn,2025-08-01,2026-01-31"),
    "courses.csv": text("id,school_id,name,code", "7,10,Maths,MA"),
    "sections.csv": text("id,course_id,term_id,teacher_id,name", "70,7,5,1,Maths 1", "71,7,5,,"),
    "students.csv": text("id,school_id,first_name,last_name,grade", "1,10,Ana,Silva,5", "2,10,Bo,Berg,K"),
    "teachers.csv": text("id,school_id,first_name,last_name,email", "1,10,Tom,Otto,tom@x.example"),
    "enrollments.csv": text("section_id,student_id", "70,1", "71,2", "70,2"),
}
SDS_2_1 = {
    "orgs.csv": text("sourcedId,name,type,parentSourcedId", "m,Ministry,ministryOfEducation,", "c,College,college,m"),
    "users.csv": text(
        "sourcedId,username,givenName,familyName,password,activeDirectoryMatchId,email,phone,sms",
        "u1,ana@x.example,Ana,Silva,hush-hush,ana@x.example,,,",
        "u2,mum@x.example,Mia,Silva,hush-hush,,mum@x.example,+15550100,",
        "u3,tom@x.example,Tom,Otto,hush-hush,,,,",
    ),
    "roles.csv": text(
        "userSourcedId,orgSourcedId,role,sessionSourcedId,grade,isPrimary,roleStartDate,roleEndDate",
        "u1,c,student,t,ps1,TRUE,2025-08-24,2026-06-11",
        "u1,c,student,t,10,TRUE,2025-08-24,2026-06-11",
        "u3,c,Professor,t,,FALSE,,",
    ),
    "classes.csv": text(
        "sourcedId,orgSourcedId,title,sessionSourcedIds,courseSourcedId", "k1,c,Physics,t,p1", "k2,c,Chess club,,"
    ),
    "enrollments.csv": text("classSourcedId,userSourcedId,role", "k1,u1,student", "k1,u3,professor", "k2,u1,student"),
    "academicSessions.csv": text(
        "sourcedId,title,type,schoolYear,startDate,endDate", "t,Year,schoolYear,2026,2025-08-24,2026-06-11"
    ),
    "courses.csv": text(
        "sourcedId,orgSourcedId,title,code,schoolYearSourcedId,subject,grade", "p1,c,Physics,PH,t,3,PS1"
    ),
    "demographics.csv": text(
        "userSourcedId,sex,birthDate,birthCity,birthState,birthCountry,ethnicityCodes,raceCodes",
        'u1,female,2007-07-02,Woodville,WA,USA,hispanicOrLatinoEthnicity,"asian,white"',
    ),
    "relationships.csv": text("userSourcedId,relationshipUserSourcedId,relationshipRole", "u1,u2,guardian"),
    "userFlags.csv": text("userSourcedId,flag", "u1,iep"),
}
ALL = {"sds-1": SDS_1, "sds-2": SDS_2, "sds-2.1": SDS_2_1, "dump": DUMP}


@contextmanager
def tables(folder: Path, content: Mapping[str, str | bytes], mapping: Any = None) -> Iterator[TablePackage]:
    """The package of some tables; without a mapping it is told by the headers."""
    wish = definition.Mapping.model_validate(mapping or {"base": "auto"})
    package = open_tables(zipped(folder / "tables.zip", content), wish)
    try:
        yield package
    finally:
        package.close()


def rows(package: TablePackage, file: str) -> pl.DataFrame:
    return pl.concat([batch.frame for batch in package.batches(file, 2)])


def seen(package: TablePackage) -> Examined:
    return examined(package)
