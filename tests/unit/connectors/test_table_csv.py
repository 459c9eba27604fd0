"""Tables with headers of their own: School Data Sync and dumps come in wholly, oddities are explained."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from connectors.protocol import ConnectorError
from connectors.table_csv import headers, open_tables
from hub.sync.examine import examine
from tests.unit.connectors.packages import ORGS, USERS, files, text, zipped
from tests.unit.connectors.tables import ALL, DUMP, SDS_1, SDS_2, SDS_2_1, rows, seen, tables
from transforms.shaping import definition
from transforms.shaping.detect import detected, scores


def codes(found: pl.DataFrame) -> set[str]:
    return set(found["code"])


@pytest.mark.parametrize("name", ALL)
def test_known_tables_are_told_by_their_headers_and_come_in_wholly(tmp_path: Path, name: str) -> None:
    assert detected(headers(zipped(tmp_path / "p.zip", ALL[name]))) == name
    with tables(tmp_path, ALL[name]) as package:
        found = seen(package)
    assert codes(package.issues) <= {"SHP-007", "FILE-042", "FILE-041"}
    assert found.good == found.rows, found.issues
    assert all(found.rows.values())


def test_oneroster_is_no_table(tmp_path: Path) -> None:
    assert detected(headers(zipped(tmp_path / "p.zip", files()))) is None
    assert detected(headers(zipped(tmp_path / "q.zip", {"orgs.csv": ORGS, "users.csv": USERS}))) is None
    assert examine(tmp_path / "p.zip").format is None


def test_most_of_a_format_is_not_enough_to_be_sure(tmp_path: Path) -> None:
    content = {k: v for k, v in SDS_1.items() if k != "Teacher.csv"}
    found = headers(zipped(tmp_path / "p.zip", content))
    assert detected(found) is None
    assert 0.5 < scores(found)["sds-1"] < 1
    with tables(tmp_path, content) as package:
        assert codes(package.issues) >= {"SHP-006"}
        assert package.refused


def test_version_1_tells_students_and_teachers_of_one_number_apart(tmp_path: Path) -> None:
    with tables(tmp_path, SDS_1) as package:
        users, roles, enrollments = (rows(package, f) for f in ("users", "roles", "enrollments"))
        courses, sessions = rows(package, "courses"), rows(package, "academicSessions")
    assert users["sourcedId"].to_list() == ["student-1", "student-2", "teacher-1", "mum@home.example"]
    assert users["agentSourcedIds"].to_list() == ["mum@home.example", None, None, None]
    assert users["enabledUser"].to_list() == ["true", "false", "true", "true"]
    assert set(roles["role"]) == {"student", "teacher", "parent"}
    assert enrollments["sourcedId"].to_list() == ["c1-student-1", "c3-student-2", "c1-teacher-1"]
    assert courses["sourcedId"].to_list() == ["s1-m", "section-c3"]
    assert sessions["sourcedId"].to_list() == ["t1", "all-years"]


def test_version_2_gives_a_role_in_each_school(tmp_path: Path) -> None:
    with tables(tmp_path, SDS_2) as package:
        roles = rows(package, "roles").sort("sourcedId")
    assert roles["sourcedId"].to_list() == ["u1-s1-student", "u1-s2-student", "u2-s1-teacher"]
    assert roles["roleType"].to_list() == ["primary", "secondary", "primary"]


def test_version_2_1_is_taken_apart_as_oneroster_wants_it(tmp_path: Path) -> None:
    with tables(tmp_path, SDS_2_1) as package:
        users, roles, demographics = (rows(package, f) for f in ("users", "roles", "demographics"))
        sessions, courses, orgs = (rows(package, f) for f in ("academicSessions", "courses", "orgs"))
        enrollments = rows(package, "enrollments")
    assert orgs["type"].to_list() == ["national", "school"]
    assert users.select("sourcedId", "grades", "agentSourcedIds").rows() == [
        ("u1", "10,PS", "u2"), ("u2", None, None), ("u3", None, None),
    ]  # fmt: skip
    assert roles.select("sourcedId", "role", "roleType").rows() == [
        ("u1-c-student-t", "student", "primary"), ("u3-c-professor-t", "teacher", "secondary"),
        ("u2-c-guardian", "guardian", "primary"),
    ]  # fmt: skip
    assert sessions["sourcedId"].to_list() == ["t", "all-years"]
    assert courses.select("sourcedId", "grades").rows() == [("p1", "PS"), ("class-k2", None)]
    assert enrollments["role"].to_list() == ["student", "teacher", "student"]
    one = demographics.row(0, named=True)
    assert (one["hispanicOrLatinoEthnicity"], one["asian"], one["white"]) == ("true", "true", "true")
    assert one["blackOrAfricanAmerican"] is None


def test_a_dump_joins_by_numbers_and_splits_a_row_in_two(tmp_path: Path) -> None:
    with tables(tmp_path, DUMP) as package:
        classes, enrollments = rows(package, "classes"), rows(package, "enrollments")
    assert classes["schoolSourcedId"].to_list() == ["10", "10"]
    assert classes["title"].to_list() == ["Maths 1", "Maths"]
    assert enrollments.select("sourcedId", "schoolSourcedId").rows() == [
        ("70-student-1", "10"), ("71-student-2", "10"), ("70-student-2", "10"), ("70-teacher-1", "10"),
    ]  # fmt: skip


@pytest.mark.threat("T48")
@pytest.mark.parametrize("name", ["sds-1", "sds-2.1"])
def test_passwords_are_not_read(tmp_path: Path, name: str) -> None:
    with tables(tmp_path, ALL[name]) as package:
        for file in package.mode:
            assert "hush-hush" not in rows(package, file).write_csv()


def test_findings_stand_where_the_row_stands(tmp_path: Path) -> None:
    spoilt = {**SDS_1, "Teacher.csv": SDS_1["Teacher.csv"].replace("Tom,Otto", "Tom,"),
              "Student.csv": SDS_1["Student.csv"].replace("2,s1,bo,Bo", "2,s1,bo,")}  # fmt: skip
    with tables(tmp_path, spoilt) as package:
        found = seen(package).issues.filter(
            pl.col("entity") == "users", pl.col("field").is_in(["givenName", "familyName"])
        )
    assert sorted(found.select("file", "line").rows()) == [("Student.csv", 3), ("Teacher.csv", 2)]


@pytest.mark.threat("F7")
def test_a_row_that_cannot_be_read_lets_nothing_of_its_files_go(tmp_path: Path) -> None:
    broken = {**SDS_1, "Student.csv": SDS_1["Student.csv"] + '3,s1,"open,Cy,Dahl\r\n'}
    with tables(tmp_path, broken) as package:
        for file in ("users", "roles", "demographics"):
            found = pl.concat([b.issues for b in package.batches(file)]).filter(pl.col("code") == "FILE-004")
            assert found["key"].to_list() == [""], file
            assert package.located(found).select("file", "line").rows() == [("Student.csv", 4)]


@pytest.mark.threat("F7")
def test_a_row_whose_partner_may_be_unreadable_keeps_its_last_good_version(tmp_path: Path) -> None:
    broken = {**SDS_1, "Section.csv": SDS_1["Section.csv"].replace("c3,s1,Club", 'c3,s1,"Club')}
    with tables(tmp_path, broken) as package:
        batches = list(package.batches("enrollments"))
    frame, found = pl.concat([b.frame for b in batches]), pl.concat([b.issues for b in batches])
    assert "c3-student-2" not in frame["sourcedId"].to_list()
    assert found.filter(pl.col("code") == "SHP-005").select("key", "line").rows() == [("c3-student-2", 3)]


@pytest.mark.parametrize(
    ("change", "code", "file", "field"),
    [
        ({"Teacher.csv": None}, "SHP-002", "Teacher.csv", ""),
        ({"Teacher.csv": text("SIS ID,School SIS ID,Username")}, "SHP-002", "Teacher.csv", ""),
        ({"Teacher.csv": text("SIS ID,School,Login", "1,s1,tom")}, "SHP-003", "Teacher.csv", "School SIS ID, Username"),
        ({"Teacher.csv": text("SIS ID,SIS ID,Username", "1,s1,tom")}, "FILE-015", "Teacher.csv", "SIS ID"),
        ({"Teacher.csv": "\r\n1\r\n"}, "SHP-002", "Teacher.csv", ""),
    ],
)
def test_a_mapping_that_does_not_fit_refuses_the_package(
    tmp_path: Path, change: dict[str, str | None], code: str, file: str, field: str
) -> None:
    content = {k: v for k, v in {**SDS_1, **change}.items() if v is not None}
    with tables(tmp_path, content, {"base": "sds-1"}) as package:
        found = package.issues.filter(pl.col("code") == code)
        assert package.refused
    assert (file, field) in found.select("file", "field").rows()


@pytest.mark.threat("F7")
def test_a_table_that_came_empty_deletes_nothing(tmp_path: Path) -> None:
    content = {**SDS_2, "classes.csv": text("sourcedId,orgSourcedId,title")}
    with tables(tmp_path, content, {"base": "sds-2"}) as package:
        assert not {"classes", "courses", "academicSessions"} & set(package.mode)


@pytest.mark.threat("T40")
@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_separators_and_encodings_are_told_by_the_file(tmp_path: Path, mark: str, encoding: str) -> None:
    school = (
        mark.join(['"SIS ID"', "Name", "School Number"]) + "\r\n" + mark.join(["s1", '"Möwen, Nord"', "1"]) + "\r\n"
    )
    second = mark.join(["s2", "A, B", "2"]) + "\r\n"
    with tables(tmp_path, {**SDS_1, "School.csv": (school + second).encode(encoding)}) as package:
        assert rows(package, "orgs").select("sourcedId", "name", "line").rows() == [
            ("s1", "Möwen, Nord", 2),
            ("s2", "A, B", 3),
        ]


def test_names_of_files_and_tables_meet_whatever_their_case(tmp_path: Path) -> None:
    with tables(tmp_path, {k.lower().replace(".csv", ".txt"): v for k, v in SDS_1.items()}) as package:
        assert seen(package).good["users"] == 4


def test_a_mapping_of_ones_own_replaces_files_of_its_base(tmp_path: Path) -> None:
    own = {"base": "sds-1", "files": {"orgs": {"from": [{
        "table": "School", "columns": {"sourcedId": "SIS ID"},
        "set": {"name": "UPPER(Name)", "type": "'school'"}}]}}}  # fmt: skip
    with tables(tmp_path, SDS_1, own) as package:
        assert rows(package, "orgs")["name"].to_list() == ["NORTH SCHOOL"]
        assert "users" in package.mode


def test_another_mapping_has_another_digest(tmp_path: Path) -> None:
    digests = set()
    for mapping in ({"base": "sds-1"}, {"base": "sds-1", "files": {"demographics": {"from": [
        {"table": "Student", "columns": {"sourcedId": "SIS ID"}}]}}}, {"base": "auto"}):  # fmt: skip
        with tables(tmp_path, SDS_1, mapping) as package:
            digests.add(package.digest)
    assert len(digests) == 2


def test_partners_that_disagree_are_told(tmp_path: Path) -> None:
    twice = {
        **DUMP,
        "courses.csv": text("id,school_id,name,code", "7,10,Maths,MA", "7,11,Maths,MA", "8,10,x,y", "8,11,x,y"),
    }
    with tables(tmp_path, twice) as package:
        batches = list(package.batches("classes"))
    found = pl.concat([b.issues for b in batches])
    assert found.filter(pl.col("code") == "SHP-004")["cause"].to_list() == ["2 rows"]
    assert pl.concat([b.frame for b in batches])["schoolSourcedId"].to_list() == ["10", "10"]


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    def turned(content: str) -> str:
        header, *lines = content.splitlines(keepends=True)
        return "".join([header, *reversed(lines)])

    made = []
    for content in (SDS_1, {k: turned(v) for k, v in SDS_1.items()}):
        with tables(tmp_path, content) as package:
            made.append({f: rows(package, f).drop("line").sort("sourcedId").rows() for f in package.mode})
    assert made[0] == made[1]


def test_a_broken_mapping_says_where(tmp_path: Path) -> None:
    broken = definition.Mapping.model_validate(
        {"files": {"orgs": {"from": [{"table": "t", "set": {"sourcedId": "a b"}}]}}}
    )
    with pytest.raises(ConnectorError, match=r"files.orgs.from\[0\].set.sourcedId: line 1, column 3"):
        open_tables(zipped(tmp_path / "p.zip", {"t.csv": text("a", "1")}), broken)
