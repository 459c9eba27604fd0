"""Files as vendors write them: what is repaired, what is kept out, and that line numbers stay true."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl
import pytest

from connectors.limits import Limits
from connectors.oneroster_csv import Reading
from connectors.oneroster_csv.scan import Scan, scan
from connectors.protocol import ConnectorError
from tests.unit.connectors.packages import (
    ORG_HEADER,
    ORGS,
    USER_HEADER,
    USERS,
    codes,
    files,
    frame,
    loose,
    manifest,
    opened,
    org,
    row_issues,
    text,
    user,
    zipped,
)  # fmt: skip


def cell(rows: pl.DataFrame, key: str, column: str) -> str | None:
    value: str | None = rows.filter(sourcedId=key)[column].item()
    return value


# Encodings


@pytest.mark.threat("T40")
@pytest.mark.parametrize(
    ("encoding", "cause"),
    [("utf-8-sig", "byte order mark"), ("utf-16", "utf-16-le"), ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be"),
     ("utf-32", "utf-32-le"), ("cp1252", "windows-1252"), ("latin-1", "windows-1252")],
)  # fmt: skip
def test_other_encodings_are_read_and_reported(tmp_path: Path, encoding: str, cause: str) -> None:
    data = text(USER_HEADER, user("u1", "Muñoz"), user("u2", "Zoë")).encode(encoding)
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert codes(package) == ["FILE-001"]
        assert package.issues["cause"].to_list() == [cause]
        assert frame(package, "users")["givenName"].to_list() == ["Muñoz", "Zoë"]
        assert frame(package, "users")["line"].to_list() == [2, 3]


@pytest.mark.threat("T40")
def test_a_file_glued_together_from_two_encodings_keeps_both(tmp_path: Path) -> None:
    data = text(USER_HEADER, user("u1", "Łukasz"), user("u2", "Zoë")).encode().replace("Zoë".encode(), b"Zo\xeb")
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert frame(package, "users")["givenName"].to_list() == ["Łukasz", "Zoë"]


@pytest.mark.threat("T40", "F25")
@pytest.mark.parametrize("bad", [b"\x81\x8d", b"A\x00na", b"\x00"])
def test_a_row_that_is_no_text_is_kept_out(tmp_path: Path, bad: bytes) -> None:
    data = text(USER_HEADER, user("u1"), user("u2", "HERE"), user("u3")).encode().replace(b"HERE", bad)
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        found = row_issues(package, "users").select("code", "line", "key").rows()
        assert found == [("FILE-007", 3, "u2")]
        assert frame(package, "users")["line"].to_list() == [2, 4]


@pytest.mark.threat("T40")
def test_a_lone_surrogate_in_utf16_costs_one_row(tmp_path: Path) -> None:
    data = text(USER_HEADER, user("u1"), user("u2", "\ud800"), user("u3")).encode("utf-16", "surrogatepass")
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert frame(package, "users")["sourcedId"].to_list() == ["u1", "u3"]
        assert row_issues(package, "users")["code"].to_list() == ["FILE-007"]


def test_a_source_may_state_its_encoding(tmp_path: Path) -> None:
    data = text(USER_HEADER, user("u1", "Žofie")).encode("cp1250")
    with opened(zipped(tmp_path / "p.zip", files(data)), reading=Reading("cp1250")) as package:
        assert codes(package) == []
        assert frame(package, "users")["givenName"].to_list() == ["Žofie"]


# Lines


@pytest.mark.threat("T40")
@pytest.mark.parametrize(
    ("end", "expected"), [("\n", []), ("\r\n", []), ("\r", ["FILE-009"]), ("\r\r\n", ["FILE-009"])]
)
def test_line_ends(tmp_path: Path, end: str, expected: list[str]) -> None:
    with opened(zipped(tmp_path / "p.zip", files(USERS.replace("\r\n", end)))) as package:
        assert codes(package) == expected
        assert frame(package, "users")["line"].to_list() == [2, 3, 4, 5, 6]


def test_a_missing_last_line_end_is_no_matter(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files(USERS.removesuffix("\r\n")))) as package:
        assert codes(package) == []
        assert package.rows("users") == 5


def test_blank_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    data = text(USER_HEADER, user("u1"), "", user("u2"), "", "")
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert codes(package) == ["FILE-008"]
        assert frame(package, "users")["line"].to_list() == [2, 4]


@pytest.mark.threat("T40", "F25")
@pytest.mark.parametrize(
    "bad",
    [
        "u2,,,true",
        user("u2") + ",",
        'u2,,,true,"s1',
        user("u2", 'A"n"a'),
        user("u2", '"Ana"x'),
        user("u2", "A\rna"),
        '"u2',
    ],
)
def test_a_row_that_does_not_fit_is_kept_out_and_the_rest_goes_on(tmp_path: Path, bad: str) -> None:
    data = text(USER_HEADER, user("u1"), bad, user("u3", '"a ""quoted"" word, with comma"'), user("u4"))
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        rows = frame(package, "users")
        assert rows.select("sourcedId", "line").rows() == [("u1", 2), ("u3", 4), ("u4", 5)]
        assert cell(rows, "u3", "givenName") == 'a "quoted" word, with comma'
        found = row_issues(package, "users").select("code", "file", "line", "key").rows()
        assert found == [("FILE-004", "users.csv", 3, "" if bad == '"u2' else "u2")]
        assert not package.refused


@pytest.mark.threat("T40", "F25")
def test_a_cell_over_several_lines_is_one_row_kept_out(tmp_path: Path) -> None:
    data = text(USER_HEADER, user("u1"), user("u2", '"An\r\nna ""x""\r\nLee"'), user("u3"))
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert frame(package, "users").select("sourcedId", "line").rows() == [("u1", 2), ("u3", 6)]
        assert row_issues(package, "users").select("line", "key").rows() == [(3, "u2")]


@pytest.mark.threat("T35", "T40")
def test_text_inside_a_cell_cannot_pass_for_a_row(tmp_path: Path) -> None:
    planted = user("planted", "Eve").replace("student", "teacher")
    data = text(USER_HEADER, user("u1"), user("u2", f'"A\r\n{planted}\r\nB"'), user("u3"))
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert package.keys("users").to_list() == ["u1", "u3"]
        assert row_issues(package, "users").select("line", "key").rows() == [(3, "u2"), (4, "planted")]


@pytest.mark.threat("T35")
def test_text_of_a_broken_row_is_not_repeated_as_its_key(tmp_path: Path) -> None:
    data = text(USER_HEADER, user("u1"), "Belinda Silva moved away,x", '"Belinda,Silva",x', user("u2"))
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert row_issues(package, "users").select("line", "key").rows() == [(3, ""), (4, "")]


def test_a_quoted_blank_cell_is_blank(tmp_path: Path) -> None:
    data = text(USER_HEADER, user("u1", '""'), user("u2", '"a,b"'))
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert frame(package, "users")["givenName"].to_list() == [None, "a,b"]


@pytest.mark.threat("T40")
def test_stray_quotes_on_every_line_cost_little(tmp_path: Path) -> None:
    rows = [f'u{n},"open' for n in range(100_000)]
    started = time.perf_counter()
    with opened(loose(tmp_path / "drop", files(text(USER_HEADER, *rows)))) as package:
        assert package.refused
    assert time.perf_counter() - started < 10


def test_plain_files_take_the_fast_way_quoted_or_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for data, found in (
        (b"a,b\r\n1,2\r\n3,4", Scan(utf8=True, well_formed=True, rows=2, quotes=False)),
        (b'a,b\n"1,1","""2"""\n"",4\n', Scan(utf8=True, well_formed=True, rows=2, quotes=True)),
        (b"a,b\n", Scan(utf8=True, well_formed=True, rows=0, quotes=False)),
    ):
        path.write_bytes(data)
        assert scan(path, data.index(b"\n") + 1, 2, 100) == found


@pytest.mark.parametrize("rows", [b"1,2\n3,4,5,6\n", b"1,2,3,4\n5,6\n", b"1,2\n,3\n,\n", b"\n\n\n", b'1,"2\n",3\n'])
def test_widths_that_even_out_are_not_taken_for_well_formed(tmp_path: Path, rows: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b,c\n" + rows)
    assert not scan(tmp_path / "a.csv", 6, 3, 100).well_formed


@pytest.mark.threat("T40")
def test_many_broken_rows_refuse_the_package(tmp_path: Path) -> None:
    good, bad = [user(f"u{n}") for n in range(2000)], [f"x{n},y" for n in range(21)]
    with opened(zipped(tmp_path / "p.zip", files(text(USER_HEADER, *good, *bad)))) as package:
        assert package.refused
        assert package.issues["code"].unique().sort().to_list() == ["FILE-004", "FILE-006"]
    with opened(zipped(tmp_path / "q.zip", files(text(USER_HEADER, *good, *bad[:20])))) as package:
        assert not package.refused


@pytest.mark.threat("T40", "T34")
def test_a_huge_cell_costs_one_row(tmp_path: Path) -> None:
    huge = 50 * 1024 * 1024
    data = text(USER_HEADER, user("u1"), user("u2", "A" * huge), user("u3"), user("u4", '"' + "B" * huge), user("u5"))
    with opened(loose(tmp_path / "drop", files(data))) as package:
        assert frame(package, "users").select("sourcedId", "line").rows() == [("u1", 2), ("u3", 4), ("u5", 6)]
        assert row_issues(package, "users").select("line", "key").rows() == [(3, "u2"), (5, "u4")]


# Headers


@pytest.mark.threat("T40")
def test_ten_thousand_columns_are_refused(tmp_path: Path) -> None:
    header = ",".join(f"c{n}" for n in range(10_000))
    with opened(zipped(tmp_path / "p.zip", files(text(header, "x")))) as package:
        assert package.refused
        assert package.issues["code"].to_list() == ["FILE-016"]


@pytest.mark.threat("T40")
def test_a_first_line_without_end_is_refused(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files("x" * 300_000)), Limits()) as package:
        assert package.issues["code"].to_list() == ["FILE-016"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("sourcedId,", "SourcedID,", "FILE-010"),
        ("sourcedId,", "\u200bsourcedId ,", "FILE-010"),
        ("givenName,", "given_name,", "FILE-010"),
        ("givenName,familyName", '"givenName","Family Name"', "FILE-010"),
        ("sourcedId,", "sourceID,", "FILE-011"),
        ("agentSourcedIds,", "agents,", "FILE-011"),
        ("orgSourcedIds,", "orgSourcedId,", "FILE-011"),
        ("grades,", "grade,", "FILE-011"),
    ],
)
def test_names_that_nobody_could_disagree_about_are_repaired(tmp_path: Path, old: str, new: str, code: str) -> None:
    with opened(zipped(tmp_path / "p.zip", files(USERS.replace(old, new, 1)))) as package:
        assert codes(package) == [code]
        rows = frame(package, "users")
        assert rows.select("sourcedId", "givenName", "orgSourcedIds", "grades").row(0) == ("u1", "Ana", "s1", "05")


def test_a_source_may_have_names_of_its_own(tmp_path: Path) -> None:
    data = USERS.replace("givenName", "Vorname", 1)
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert package.refused
    with opened(zipped(tmp_path / "q.zip", files(data)), reading=Reading(aliases={"Vorname": "givenName"})) as package:
        assert codes(package) == ["FILE-011"]
        assert frame(package, "users")["givenName"].to_list() == ["Ana"] * 5


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    data = text("name,metadata.colour,type,sourcedId,junk", "A school,red,school,s1,x", ",,,s2,")
    with opened(zipped(tmp_path / "p.zip", files(orgs=data))) as package:
        assert codes(package) == ["FILE-012", "FILE-013", "FILE-014"]
        rows = frame(package, "orgs")
        assert rows.columns == ["name", "metadata.colour", "type", "sourcedId", "line"]
        assert rows.rows() == [("A school", "red", "school", "s1", 2), (None, None, None, "s2", 3)]


def test_extension_columns_become_metadata(tmp_path: Path) -> None:
    data = text(ORG_HEADER + ",ext_colour", org("s1") + ",red")
    with opened(zipped(tmp_path / "p.zip", files(orgs=data))) as package:
        assert frame(package, "orgs")["metadata.colour"].to_list() == ["red"]


def test_a_missing_required_column_refuses_the_package_and_is_named(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files(USERS.replace("familyName,", "lost,", 1)))) as package:
        assert package.refused
        found = package.issues.filter(code="FILE-002").select("file", "field").rows()
        assert found == [("users.csv", "familyName")]


@pytest.mark.threat("T35")
def test_a_file_without_header_shows_nobodys_name(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files(text(user("u1", "Belinda"), user("u2"))))) as package:
        assert package.refused
        assert package.issues.filter(code="FILE-002")["cause"].to_list() == ["no header row"]
        assert "Belinda" not in str(package.issues.to_dicts())


def test_the_same_column_twice_is_refused(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files(orgs=text(ORG_HEADER + ",name", org("s1") + ",x")))) as package:
        assert package.issues.filter(code="FILE-015")["field"].to_list() == ["name"]


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "vertical bar")])
def test_another_separator_is_named(tmp_path: Path, mark: str, name: str) -> None:
    with opened(zipped(tmp_path / "p.zip", files(USERS.replace(",", mark)))) as package:
        assert package.refused
        assert package.issues.select("code", "cause").rows() == [("FILE-017", name)]


def test_the_column_that_one_edition_had_more_is_no_finding(tmp_path: Path) -> None:
    with opened(
        zipped(tmp_path / "p.zip", files(USERS.replace("grades,password", "grades,resourceSourcedIds", 1)))
    ) as package:
        assert codes(package) == ["FILE-013"]  # the password's column is missing


def test_passwords_are_not_read(tmp_path: Path) -> None:
    data = text(USER_HEADER, user("u1") + "hunter2")
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert "password" not in frame(package, "users").columns


# Rows and modes


@pytest.mark.parametrize("data", [text(USER_HEADER), USER_HEADER, "", "\r\n", text(USER_HEADER, "", "")])
def test_headers_only_counts_as_not_supplied(tmp_path: Path, data: str) -> None:
    with opened(zipped(tmp_path / "p.zip", files(data))) as package:
        assert package.issues["code"].to_list() in (["FILE-003"], ["FILE-008", "FILE-003"])
        assert dict(package.mode) == {"orgs": "bulk"}
        with pytest.raises(KeyError):
            package.batches("users")


def test_status_in_bulk_is_ignored_and_deleted_rows_are_not_there(tmp_path: Path) -> None:
    date = "2026-01-01T00:00:00.000Z"
    rows = [user("u1", status="active", date=date), user("u2", status="tobedeleted", date=date),
            user("u3", status="Inactive", date=date), user("u4")]  # fmt: skip
    with opened(zipped(tmp_path / "p.zip", files(text(USER_HEADER, *rows)))) as package:
        assert package.keys("users").to_list() == ["u1", "u4"]
        assert frame(package, "users").select("sourcedId", "line").rows() == [("u1", 2), ("u4", 5)]
        assert "status" not in frame(package, "users").columns
        small = pl.concat([b.issues for b in package.batches("users", 1)])
        assert small.filter(code="FILE-020")["field"].to_list() == ["status, dateLastModified"]
        assert small.filter(code="FILE-021").select("line", "key").rows() == [(3, "u2"), (4, "u3")]


def test_what_is_read_at_once_is_what_comes_in_batches(tmp_path: Path) -> None:
    rows = [user(f"u{n}", name) for n, name in enumerate(['""', "Zoë", '"a, b"', ""] * 5)]
    with opened(zipped(tmp_path / "p.zip", files(text(USER_HEADER, *rows).encode()))) as package:
        whole, parts = (pl.concat([b.frame for b in package.batches("users", size)]) for size in (50_000, 3))
    assert whole.height == 20
    assert whole.equals(parts)


def test_lines_stay_true_over_many_batches(tmp_path: Path) -> None:
    rows = [user(f"u{n}") if n % 1000 else f"bad{n}" for n in range(2, 20_002)]
    with opened(zipped(tmp_path / "p.zip", files(text(USER_HEADER, *rows)))) as package:
        assert not package.refused
        batches = list(package.batches("users", 777))
        assert all(b.frame.height <= 777 for b in batches)
        good = pl.concat([b.frame for b in batches])
        assert ("u" + good["line"].cast(pl.String)).equals(good["sourcedId"])
        assert good["line"].is_sorted()
        for batch in batches[:-1]:
            assert batch.issues.filter(pl.col("line") > batch.frame["line"][-1]).is_empty()
        found = pl.concat([b.issues for b in batches])
        assert ("bad" + found["line"].cast(pl.String)).equals(found["key"])


def test_a_file_whose_every_row_is_broken_is_refused_and_shows_them(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files(text(USER_HEADER, "u1,x", "u2,x")))) as package:
        assert package.refused
        assert package.issues.select("code", "key").rows() == [("FILE-006", ""), ("FILE-004", "u1"), ("FILE-004", "u2")]
        assert frame(package, "users").is_empty()


def test_a_closed_package_cannot_be_read(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files())) as package:
        pass
    with pytest.raises(ConnectorError):
        package.keys("users")
    with pytest.raises(ConnectorError):
        next(package.batches("users"))


def test_a_batch_has_at_least_a_row(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files())) as package, pytest.raises(ValueError, match="at least one"):
        package.batches("users", 0)


def test_versions_have_their_own_columns(tmp_path: Path) -> None:
    base = "sourcedId,status,dateLastModified"
    users = f"{base},enabledUser,username,userIds,givenName,familyName"
    roles = f"{base},userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,userProfileSourcedId"
    content: dict[str, str | bytes] = {
        "manifest.csv": manifest("orgs", "users", "roles", version="1.2"),
        "orgs.csv": ORGS,
        "users.csv": text(users, 'u1,,,true,ana,"{LDAP:a},{LTI:b}",Ana,Silva'),
        "roles.csv": text(roles, "r1,,,u1,primary,student,,,s1,"),
    }
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert package.version == "1.2"
        assert set(package.mode) == {"orgs", "users", "roles"}
        assert cell(frame(package, "users"), "u1", "userIds") == "{LDAP:a},{LTI:b}"
        assert codes(package) == ["FILE-013"]
