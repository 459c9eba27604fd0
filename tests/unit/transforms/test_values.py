"""Single values: every spelling that has one reading, and those that have none."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.fakes.rosters import clean, frames, run
from transforms.normalise.grades import grade
from transforms.normalise.text import mended

PEOPLE = ("orgs", "users", "roles", "userProfiles", "demographics")


def people() -> dict[str, list[dict[str, str | None]]]:
    """The files about people: what is about classes and grades has no part in these tests."""
    files = clean("1.2")
    return {file: files[file] for file in PEOPLE}


def user(cells: dict[str, str | None], **options: str) -> tuple[dict[str, object], list[str]]:
    """The canonical first user with these cells, and the codes found."""
    files = people()
    files["users"][0] |= cells
    result = run("1.2", frames("1.2", files), **options)
    return result.row("users", "u1"), result.codes()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("K", "KG"), ("0", "KG"), ("Kindergarten", "KG"), ("-1", "PK"), ("P4", "PK"), ("Pre-K", "PK"), ("1", "01"),
        ("01", "01"), ("Grade 5", "05"), ("5th Grade", "05"), ("Gr. 7", "07"), ("11th", "11"), ("12+", "13"),
        ("Ungraded", "UG"), ("other", "Other"), ("IT", "IT"), ("14", None), ("XX", None), ("9-12", None), ("-2", None),
        ("5.5", None),
    ],
)  # fmt: skip
def test_grades(text: str, code: str | None) -> None:
    assert grade(text) == code


def test_unmapped_grades_are_kept_in_the_metadata_only() -> None:
    row, codes = user({"grades": "9,Z9,KF"})

    assert row["grades"] == ["09"]
    assert row["metadata"] == '{"rosterhub.unmappedGrades":"Z9,KF"}'
    assert codes == ["GRD-001", "GRD-002"]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-08-25", dt.date(2024, 8, 25)), ("2024-08-25 10:00:00", dt.date(2024, 8, 25)),
        ("2024-08-25T23:59:59.999Z", dt.date(2024, 8, 25)), ("2024-8-5", dt.date(2024, 8, 5)),
        ("8/25/2024", dt.date(2024, 8, 25)), ("25.08.2024", dt.date(2024, 8, 25)), ("20240825", dt.date(2024, 8, 25)),
        ("5/5/2024", dt.date(2024, 5, 5)), ("8/25/2024 12:00:00 AM", dt.date(2024, 8, 25)),
        ("3/4/2024", None), ("2024-02-30", None), ("24-08-25", None), ("45529", None), ("0001-01-01", None),
        ("2024-13-01", None), ("30/30/2024", None),
    ],
)  # fmt: skip
def test_dates(text: str, day: dt.date | None) -> None:
    files = people()
    files["demographics"][0] |= {"birthDate": text}

    result = run("1.2", frames("1.2", files))

    assert result.row("demographics", "u1")["birthDate"] == day
    expected = [] if text == "2024-08-25" else ["DAT-004"] if day else ["DOB-001"]
    assert result.codes() == expected


def test_the_order_of_day_and_month_is_learnt_from_the_column() -> None:
    files = clean("1.2")
    for row, text in zip(files["enrollments"], ("3/4/2024", "8/25/2024", None), strict=True):
        row["beginDate"] = text
    mixed = clean("1.2")
    for row, text in zip(mixed["enrollments"], ("3/4/2024", "8/25/2024", "25/8/2024"), strict=True):
        row["beginDate"] = text

    assert run("1.2", frames("1.2", files)).row("enrollments", "e1")["beginDate"] == dt.date(2024, 3, 4)
    assert run("1.2", frames("1.2", mixed)).row("enrollments", "e1")["beginDate"] is None


@pytest.mark.parametrize(
    ("text", "restored"),
    [
        ("MuÃ±oz", "Muñoz"), ("JosÃ©", "José"), ("Ã‰mile", "Émile"), ("Muñoz", "Muñoz"), ("São Paulo", "São Paulo"),
        ("Ã±ñ", "Ã±ñ"), ("山田", "山田"), ("â€œquotedâ€\x9d", "“quoted”"),
    ],
)  # fmt: skip
def test_mojibake_is_mended_only_where_the_way_back_is_exact(text: str, restored: str) -> None:
    assert mended(text) == restored


def test_text_is_repaired_and_says_so() -> None:
    row, codes = user(
        {"givenName": " A\u200bna\x07  María\u00a0", "familyName": "Mun\u0303oz", "middleName": "\u200b "}
    )

    assert (row["givenName"], row["familyName"], row["middleName"]) == ("Ana María", "Muñoz", None)
    assert codes == ["NAME-001", "NAME-001", "NAME-001"]


@pytest.mark.parametrize(
    ("text", "kept", "codes"),
    [
        ("Ana.B@School.ORG", "Ana.B@school.org", ["EML-001"]), ("a@b.org.", "a@b.org", ["EML-001"]),
        ("mailto:a@b.org", "a@b.org", ["EML-001"]), ("a@schüle.de", "a@schüle.de", []), ("a", None, ["EML-002"]),
        ("a b@c.org", None, ["EML-002"]), ("a@b.org,c@d.org", None, ["EML-002"]), ("a@localhost", None, ["EML-002"]),
        ("no-email@b.org", None, ["EML-006"]), ("名@b.org", "名@b.org", []),
    ],
)  # fmt: skip
def test_emails(text: str, kept: str | None, codes: list[str]) -> None:
    row, found = user({"email": text})

    assert row["email"] == kept
    assert found == codes


@pytest.mark.parametrize(
    ("text", "code", "kept"),
    [
        ("(555) 234-5678", "1", "+15552345678"), ("555.234.5678", "1", "+15552345678"),
        ("1-555-234-5678", "1", "+15552345678"), ("(555) 234-5678", None, "(555) 234-5678"),
        ("+44 20 7946 0958", None, "+442079460958"), ("+15552345678", "1", "+15552345678"),
        ("555-234-5678 x12", "1", "555-234-5678 x12"), ("03-1234-5678", "1", "03-1234-5678"),
        ("000", "1", None), ("n/a", None, None),
    ],
)  # fmt: skip
def test_phones(text: str, code: str | None, kept: str | None) -> None:
    row, codes = user({"phone": text}, **({"calling_code": code} if code else {}))

    assert row["phone"] == kept
    assert codes == ([] if kept == text else ["PHN-001"] if kept else ["PHN-002"])


@pytest.mark.parametrize(
    ("text", "items", "codes"),
    [
        ("{LDAP:a},{LTI:b}", [("LDAP", "a"), ("LTI", "b")], []), ("{Fed:urn:x:y}", [("Fed", "urn:x:y")], []),
        ("{a}", None, ["USR-013"]), ("plain", None, ["USR-013"]), ("{:x}", None, ["USR-013"]),
        ("{SSN:123456789},{LTI:b}", [("LTI", "b")], ["ID-009"]), ("{X:123-45-6789}", None, ["ID-009"]),
    ],
)  # fmt: skip
def test_user_ids(text: str, items: list[tuple[str, str]] | None, codes: list[str]) -> None:
    row, found = user({"userIds": text})

    assert row["userIds"] == (items and [{"type": t, "identifier": i} for t, i in items])
    assert found == codes


@pytest.mark.parametrize("cell", ["123-45-6789", "SSN 123-45-6789", "x 123-45-6789 y"])
@pytest.mark.parametrize("column", ["identifier", "middleName", "metadata.note", "grades", "username"])
def test_social_security_numbers_never_pass(cell: str, column: str) -> None:
    row, codes = user({column: cell})

    assert "123-45-6789" not in str(row)
    assert "ID-009" in codes


def test_columns_named_after_the_number_are_emptied() -> None:
    row, codes = user({"metadata.SSN": "123456789"})

    assert row["metadata"] is None
    assert codes == ["ID-009"]


def test_a_person_with_one_name_goes_on_and_one_without_does_not() -> None:
    files = clean("1.2")
    files["users"][0] |= {"givenName": " "}
    files["users"][2] |= {"givenName": None, "familyName": None}

    result = run("1.2", frames("1.2", files))

    assert result.row("users", "u1")["givenName"] is None
    assert result.codes(key="u3") == ["REQ-001"]
    assert result.quarantined["users"] == {"u3"}


@pytest.mark.parametrize("cell", ["\u200b\u200b", "\ufeff", "\x00", " \u2060", ","])
@pytest.mark.parametrize(
    ("file", "column", "name"),
    [("results", "studentSourcedId", "student"), ("classes", "termSourcedIds", "terms"),
     ("classes", "schoolSourcedId", "school"), ("enrollments", "userSourcedId", "user")],
)  # fmt: skip
def test_a_required_reference_of_invisible_characters_is_missing(file: str, column: str, name: str, cell: str) -> None:
    files = clean("1.2")
    row = files[file][0]
    row[column] = cell

    result = run("1.2", frames("1.2", files))

    assert row["sourcedId"] in result.quarantined[file]
    assert "REQ-001" in {i["code"] for i in result.issues.to_dicts() if i["field"] == name}


@pytest.mark.parametrize(("text", "kept"), [("ext:other-type", "ext:other-type"), ("Grading Period", "gradingPeriod")])
def test_words_of_open_lists(text: str, kept: str) -> None:
    files = clean("1.2")
    files["academicSessions"].append(files["academicSessions"][1] | {"sourcedId": "g", "type": text})

    assert run("1.2", frames("1.2", files)).row("academicSessions", "g")["type"] == kept
