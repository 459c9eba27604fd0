"""Every defect that was planted is in the truth, and nothing else differs from the clean district."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from hub.sandbox import District, DistrictPlan, generate

KINDS = {
    "latin_1", "byte_order_mark", "header_case", "header_invisible", "bulk_status_filled", "unknown_school",
    "missing_cell", "same_id_differs", "same_row_twice", "orphan", "grade_spelling", "grade_unknown",
    "email_broken", "flag_spelling", "role_spelling", "stray_spaces", "zero_width", "mojibake", "phone_spelling",
    "type_spelling", "us_date", "end_before_begin", "sex_spelling", "date_unreadable",
}  # fmt: skip


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def dirty(request: pytest.FixtureRequest) -> District:
    return generate(DistrictPlan(students=2_000, seed=11, version=request.param))


def test_every_kind_of_dirt_is_there_and_described(dirty: District) -> None:
    assert {d["kind"] for d in dirty.truth.defects} == KINDS
    for defect in dirty.truth.defects:
        assert defect["outcome"] in {"fixed", "quarantined", "dropped", "reported"}
        assert defect["codes"]
    assert dirty.truth.duplicates


def test_lines_point_at_the_rows_that_are_meant(dirty: District) -> None:
    for item in [*dirty.truth.defects, *dirty.truth.knock_on]:
        if item["line"] > 1:
            row = dirty.frames[item["file"].removesuffix(".csv")].row(item["line"] - 2, named=True)
            assert row["sourcedId"] == item["sourcedId"]
            if "original" in item:
                assert row[item["column"]] != item["original"]


def test_nothing_is_wrong_that_the_truth_does_not_tell(dirty: District) -> None:
    second = {pair["sourcedIds"][1] for pair in dirty.truth.duplicates}
    told = {(d["file"], d["sourcedId"]) for d in dirty.truth.defects}
    for file, frame in dirty.frames.items():
        clean = dirty.clean[file]
        blank = [c for c in ("status", "dateLastModified") if file == "courses"]
        before = set(clean.drop(blank).iter_rows())
        for row in frame.drop(blank).iter_rows(named=True):
            if tuple(row.values()) in before or (f"{file}.csv", row["sourcedId"]) in told:
                continue
            assert row.get("userSourcedId", row["sourcedId"]) in second, f"unexplained row in {file}"


def test_no_clean_row_is_lost(dirty: District) -> None:
    told = {(d["file"], d["sourcedId"]) for d in dirty.truth.defects}
    for file, clean in dirty.clean.items():
        blank = [c for c in ("status", "dateLastModified") if file == "courses"]
        after = set(dirty.frames[file].drop(blank).iter_rows())
        lost = [r for r in clean.drop(blank).iter_rows() if r not in after and (f"{file}.csv", r[0]) not in told]
        assert lost == []


def test_a_row_has_one_defect_at_most(dirty: District) -> None:
    places = Counter((d["file"], d["line"]) for d in dirty.truth.defects if d["line"] > 1)
    assert max(places.values()) == 1


def test_rows_of_users_that_are_kept_out_are_told(dirty: District) -> None:
    out = {d["sourcedId"] for d in dirty.truth.defects if d["file"] == "users.csv" and d["outcome"] == "quarantined"}
    seats = dirty.frames["enrollments"].filter(pl.col("userSourcedId").is_in(list(out)))
    told = {k["sourcedId"] for k in dirty.truth.knock_on if k["file"] == "enrollments.csv"}
    assert told == set(seats["sourcedId"])
    assert {k["cause"] for k in dirty.truth.knock_on} <= out


def test_references_to_nowhere_go_nowhere(dirty: District) -> None:
    known = {file: set(frame["sourcedId"]) for file, frame in dirty.frames.items()}
    for defect in dirty.truth.defects:
        if defect["kind"] in {"orphan", "unknown_school"}:
            assert all(defect["cause"] not in keys for name, keys in known.items() if name != defect["file"][:-4])


def test_duplicate_people_share_birth_date_but_no_id(dirty: District) -> None:
    born = dict(dirty.frames["demographics"].select("sourcedId", "birthDate").iter_rows())
    users = dict(zip(dirty.frames["users"]["sourcedId"], dirty.frames["users"].iter_rows(named=True), strict=True))
    for pair in dirty.truth.duplicates:
        one, two = pair["sourcedIds"]
        assert one != two
        assert born[one] == born[two]
        assert users[one]["username"] != users[two]["username"]
        assert (users[one]["userIds"] == users[two]["userIds"]) == pair["same_state_id"]
    slips = {pair["slip"] for pair in dirty.truth.duplicates}
    assert slips <= {"nickname", "diacritics", "surname_join", "letters_swapped", "none"}


def test_bytes_are_as_faulty_as_promised(dirty: District, tmp_path: Path) -> None:
    with zipfile.ZipFile(dirty.write(tmp_path).package) as archive:
        courses = archive.read("courses.csv")
        with pytest.raises(UnicodeDecodeError):
            courses.decode("utf-8")
        assert "Español" in courses.decode("latin-1")
        assert archive.read("users.csv").startswith(b"\xef\xbb\xbfsourcedId,")
        header = archive.read("classes.csv").split(b"\r\n")[0].decode()
        assert "classtype" in header
        assert "SchoolSourcedId" in header
        assert "\u200btitle" in archive.read("academicSessions.csv").decode("utf-8").split("\r\n")[0]
        assert b",active,2026-" in courses


def test_lines_count_in_the_written_file_too(dirty: District, tmp_path: Path) -> None:
    files = dirty.write(tmp_path)
    truth = json.loads(files.truth.read_text(encoding="utf-8"))
    assert truth["plan"]["students"] == 2_000
    with zipfile.ZipFile(files.package) as archive:
        lines = archive.read("enrollments.csv").decode().split("\r\n")
    for defect in truth["defects"]:
        if defect["file"] == "enrollments.csv":
            assert lines[defect["line"] - 1].startswith(defect["sourcedId"] + ",")


def test_the_rate_is_about_the_share_of_dirty_rows() -> None:
    few = generate(DistrictPlan(students=5_000, seed=5, dirt=0.002)).truth.defects
    many = generate(DistrictPlan(students=5_000, seed=5, dirt=0.02)).truth.defects
    seats = sum(d["file"] == "enrollments.csv" for d in many)
    assert 5 < len(many) / len(few) < 12
    assert seats / 37_000 == pytest.approx(0.02, rel=0.35)


def test_the_smallest_district_gets_dirt_too() -> None:
    defects = generate(DistrictPlan(students=100, seed=4)).truth.defects
    assert {"unknown_school", "orphan", "same_row_twice", "grade_spelling"} <= {d["kind"] for d in defects}
