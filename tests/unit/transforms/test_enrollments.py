"""Enrollments against their class, its terms, the roles of the user, and each other."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from tests.fakes.rosters import Result, clean, frames, raw, run
from transforms.catalogue import Version
from transforms.pipeline import Outcome, Transform

Rows = dict[str, list[dict[str, str | None]]]


@pytest.fixture
def roster() -> Rows:
    return clean("1.2")


def found(files: Rows, version: Version = "1.2", **options: Any) -> Result:
    return run(version, frames(version, files), **options)


def changed(files: Rows, file: str, key: str, **cells: str | None) -> None:
    next(row for row in files[file] if row["sourcedId"] == key).update(cells)


def added(files: Rows, file: str, key: str, **cells: str | None) -> None:
    """A copy of the row ``key`` with other cells."""
    files[file].append(next(dict(row) for row in files[file] if row["sourcedId"] == key) | cells)


# --- after leaving the school (ENR-004) ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role_ends", "ends", "codes"),
    [
        ("2025-06-10", "2025-06-24", []),  # two weeks: not everything ends on one day
        ("2025-06-10", "2025-06-25", ["ENR-004"]),
        ("2025-06-10", None, ["ENR-004"]),  # until the last term of the class ends
        ("2025-06-20", None, []),
        (None, "2025-06-30", []),
    ],
)
def test_an_enrollment_may_not_outlast_the_roles_in_its_school(
    roster: Rows, role_ends: str | None, ends: str | None, codes: list[str]
) -> None:
    changed(roster, "roles", "r1", endDate=role_ends)
    changed(roster, "enrollments", "e1", endDate=ends)

    result = found(roster)

    assert result.codes() == codes
    assert result.keys("enrollments") == ["e1", "e2", "e3"]


def test_who_has_another_role_in_the_school_has_not_left_it(roster: Rows) -> None:
    changed(roster, "roles", "r1", endDate="2024-10-01")
    added(roster, "roles", "r1", sourcedId="r9", roleType="secondary", endDate=None)

    assert found(roster).codes() == []


# --- outside of the terms (ENR-005) ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        ({"beginDate": "2024-07-31"}, []),  # a day, for systems disagree which is the last one
        ({"beginDate": "2024-07-30"}, ["ENR-005"]),
        ({"endDate": "2025-07-02"}, []),
        ({"endDate": "2025-07-03"}, ["ENR-005"]),
        ({"beginDate": None, "endDate": None}, []),
        ({"beginDate": "2026-01-01", "endDate": None}, ["ENR-005"]),
        ({"endDate": "2023-01-01"}, ["DAT-001"]),
    ],
)
def test_an_enrollment_lies_within_the_terms_of_its_class(
    roster: Rows, cells: dict[str, str | None], codes: list[str]
) -> None:
    changed(roster, "enrollments", "e1", **cells)

    assert found(roster).codes() == codes


@pytest.mark.parametrize("size", [None, 1, 2])
def test_a_class_is_named_once_for_all_its_enrollments_outside(roster: Rows, size: int | None) -> None:
    for key in ("e1", "e2"):
        changed(roster, "enrollments", key, beginDate="2024-07-01")
    roster["enrollments"].reverse()

    (issue,) = found(roster, size=size).issues.to_dicts()

    assert (issue["code"], issue["key"], issue["line"], issue["cause"]) == ("ENR-005", "e1", 4, "classes:k1")


def test_a_class_that_lost_a_term_has_no_bounds(roster: Rows) -> None:
    changed(roster, "classes", "k1", termSourcedIds="t1,gone")

    assert found(roster).codes(entity="enrollments") == []


# --- in another role (ENR-006) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize(
    ("key", "role", "codes"),
    [("e1", "teacher", ["ENR-006"]), ("e3", "student", ["ENR-006"]), ("e3", "proctor", []), ("e1", "proctor", [])],
)
def test_an_enrollment_is_in_a_role_of_the_user(version: Version, key: str, role: str, codes: list[str]) -> None:
    files = clean(version)
    changed(files, "enrollments", key, role=role, primary=None)

    assert found(files, version).codes(entity="enrollments") == codes


def test_a_student_with_a_second_role_may_teach(roster: Rows) -> None:
    added(roster, "roles", "r1", sourcedId="r9", role="teacher", roleType="secondary", userProfileSourcedId=None)
    added(roster, "enrollments", "e1", sourcedId="e9", role="teacher")

    assert found(roster).codes() == []


# --- two schools at once (ENR-007) -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        ({}, ["ENR-007"]),
        ({"roleType": "secondary"}, []),
        ({"orgSourcedId": "d"}, []),  # the district is no school
        ({"beginDate": None, "endDate": "2024-08-01"}, []),  # until the day on which the other begins
        ({"beginDate": None, "endDate": "2024-08-02"}, ["ENR-007"]),
    ],
)
def test_a_student_is_of_one_school_at_a_time(roster: Rows, cells: dict[str, str | None], codes: list[str]) -> None:
    added(roster, "roles", "r1", **{"sourcedId": "r9", "orgSourcedId": "s2", "userProfileSourcedId": None, **cells})

    result = found(roster)

    assert result.codes() == codes
    assert result.issues["key"].to_list() == ["u1"] * len(codes)
    assert len(result.row("users", "u1")["roles"]) == 2


def test_in_1_1_nobody_says_which_school_is_the_first() -> None:
    files = clean("1.1")
    changed(files, "users", "u1", orgSourcedIds="s1,s2")

    assert found(files, "1.1").codes() == []


def another_student(files: Rows, version: Version, key: str, school: str, course: str) -> None:
    """One more student of a school, in one of its classes."""
    own = {"username": key, "givenName": "Bob", "familyName": "Stone" if key == "u8" else "Rivers"}
    nobody_elses = dict.fromkeys(("userIds", "identifier", "email", "phone", "agentSourcedIds"))
    place = {"orgSourcedIds": school} if version == "1.1" else {"primaryOrgSourcedId": school}
    added(files, "users", "u1", sourcedId=key, **own, **nobody_elses, **place)
    if version == "1.2":
        role = {"orgSourcedId": school, "userProfileSourcedId": None}
        added(files, "roles", "r1", sourcedId=f"r{key}", userSourcedId=key, **role)
    seat = {"classSourcedId": course, "schoolSourcedId": school}
    added(files, "enrollments", "e1", sourcedId=f"e{key}", userSourcedId=key, **seat)


# --- without a class (ENR-008) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize(
    ("today", "missed"),
    [(date(2024, 8, 14), []), (date(2024, 8, 15), ["u1"]), (date(2025, 6, 30), ["u1"]), (date(2025, 7, 1), []),
     (None, [])],
)  # fmt: skip
def test_a_student_has_a_class_two_weeks_after_classes_began(
    version: Version, today: date | None, missed: list[str]
) -> None:
    files = clean(version)
    # Both classes have other students and go on to the end of the year: nothing is to be said of these.
    changed(files, "classes", "k2", termSourcedIds="t1,t2")
    for number, (school, course) in enumerate([("s1", "k1"), ("s2", "k2")]):
        another_student(files, version, f"u{8 + number}", school, course)
    del files["enrollments"][0], files["results"]

    issues = found(files, version, today=today).issues

    assert issues["key"].to_list() == missed
    assert set(issues["code"]) <= {"ENR-008"}
    assert set(issues["file"]) <= {"users.csv"}
    assert set(issues["line"]) <= {2}


@pytest.mark.parametrize(
    "spared",
    [
        {"enrollments": {"e1": {}}},
        {"enrollments": {"e1": {"classSourcedId": "gone"}}},  # who has one that cannot be used is not missed
        {"roles": {"r1": {"endDate": "2024-09-01"}}, "enrollments": {"e1": {"endDate": "2024-09-01"}}},
        {"users": {"u1": {"enabledUser": "false"}}},
        {"roles": {"r1": {"beginDate": "2024-09-25"}}},
    ],
)
def test_who_has_one_or_has_left_or_just_come_is_not_missed(roster: Rows, spared: dict[str, Any]) -> None:
    for file, rows in spared.items():
        for key, cells in rows.items():
            changed(roster, file, key, **cells)
    if "enrollments" not in spared:
        del roster["enrollments"][0], roster["results"]

    assert "ENR-008" not in found(roster, today=date(2024, 10, 1)).codes()


# --- the same thing twice (ENR-002, ENR-003, ENR-011) ----------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 1, 3])
def test_equal_enrollments_become_one_whatever_their_order_and_batches(roster: Rows, size: int | None) -> None:
    for key in ("e0", "e9"):
        added(roster, "enrollments", "e1", sourcedId=key)
    roster["enrollments"].reverse()

    result = found(roster, size=size)

    assert result.keys("enrollments") == ["e0", "e2", "e3"]
    assert result.codes() == ["ENR-002", "ENR-002"]
    assert set(result.issues["key"]) == {"e1", "e9"}
    assert set(result.issues["cause"]) == {"enrollments:e0"}
    assert result.joined == {"e0"}


def test_the_one_stays_that_the_store_knows(roster: Rows) -> None:
    added(roster, "enrollments", "e1", sourcedId="e0")

    result = found(roster, held=lambda entity: pl.Series("key", ["e1"] if entity == "enrollments" else [], pl.String))

    assert result.keys("enrollments") == ["e1", "e2", "e3"]
    assert result.issues["key"].to_list() == ["e0"]


@pytest.mark.parametrize(
    ("spans", "kept"),
    [
        ([("2024-08-05", "2024-10-01"), ("2024-09-01", "2025-01-10")], [("e1", "2024-08-05", "2025-01-10")]),
        ([("2024-09-01", None), (None, "2024-10-01")], [("e1", None, None)]),
        ([("2024-09-01", "2024-10-01"), (None, None), ("2025-02-01", "2025-03-01")], [("e1", None, None)]),
        # One day after the other, and with time in between: the user came back.
        ([("2024-08-05", "2024-10-01"), ("2024-10-01", "2025-01-10")],
         [("e1", "2024-08-05", "2024-10-01"), ("e2", "2024-10-01", "2025-01-10")]),
        ([("2024-08-05", "2024-09-01"), ("2024-10-01", None), ("2024-08-20", "2024-09-10")],
         [("e1", "2024-08-05", "2024-09-10"), ("e2", "2024-10-01", None)]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [None, 1])
def test_overlapping_enrollments_become_one_from_the_first_day_to_the_last(
    roster: Rows, size: int | None, spans: list[tuple[str | None, str | None]],
    kept: list[tuple[str, str | None, str | None]],
) -> None:  # fmt: skip
    first = roster["enrollments"][0]
    roster["enrollments"] = [
        {**first, "sourcedId": f"e{number}", "beginDate": begin, "endDate": end}
        for number, (begin, end) in enumerate(spans, 1)
    ]

    result = found(roster, size=size)

    rows = result.frames["enrollments"].sort("key").select("key", "beginDate", "endDate").iter_rows()
    assert [(key, *(d and d.isoformat() for d in days)) for key, *days in rows] == kept
    assert result.codes() == ["ENR-003"] * (len(spans) - len(kept))
    assert result.joined == ({"e1"} if len(kept) < len(spans) else set())


@pytest.mark.parametrize(
    "cells", [{"userSourcedId": "u3"}, {"classSourcedId": "k2", "schoolSourcedId": "s2"}, {"role": "proctor"}]
)
def test_others_are_not_joined(roster: Rows, cells: dict[str, str | None]) -> None:
    added(roster, "enrollments", "e1", sourcedId="e9", **cells)

    result = found(roster)

    assert result.keys("enrollments") == ["e1", "e2", "e3", "e9"]
    assert result.joined == set()


def test_a_row_that_is_kept_out_is_joined_with_none(roster: Rows) -> None:
    added(roster, "enrollments", "e1", sourcedId="e0", role="aide")
    added(roster, "enrollments", "e1", sourcedId="e00", beginDate="2024-09-01", schoolSourcedId="gone")

    result = found(roster)

    assert result.codes() == ["REF-001", "VOC-003"]
    assert result.row("enrollments", "e1")["beginDate"] == date(2024, 8, 5)


def test_a_file_of_changes_leaves_joined_enrollments_as_they_are(roster: Rows) -> None:
    outcomes = delta(
        [
            {**roster["enrollments"][0], "status": "tobedeleted"},
            {**roster["enrollments"][1], "status": "active"},
            {**roster["enrollments"][2], "status": "tobedeleted"},
        ],
        joined=["e1", "e2"],
    )

    issues = pl.concat([o.issues for o in outcomes])
    assert issues.select("code", "key").rows() == [("ENR-011", "e1"), ("ENR-011", "e2")]
    assert [k for o in outcomes for k in o.quarantined.sort()] == ["e1", "e2"]
    assert [k for o in outcomes for k in o.deleted] == ["e3"]
    assert [k for o in outcomes for k in o.frame["key"]] == []


def test_a_file_of_changes_joins_nothing(roster: Rows) -> None:
    rows = [{**roster["enrollments"][0], "status": "active", "sourcedId": key} for key in ("e1", "e9")]

    outcomes = delta(rows, joined=[])

    assert [k for o in outcomes for k in o.frame["key"]] == ["e1", "e9"]
    assert all(o.issues.is_empty() for o in outcomes)


def delta(rows: list[dict[str, str | None]], joined: list[str]) -> list[Outcome]:
    """What becomes of enrollments in a file of changes whose companions the store has."""
    held = {"classes": ["k1", "k2"], "users": ["u1", "u2"], "orgs": ["s1", "s2"], "enrollments": ["e1", "e2", "e3"]}
    chain = Transform(
        "1.2", held=lambda entity: pl.Series("key", held.get(entity, []), pl.String),
        joined=lambda: pl.Series("key", joined, pl.String),
    )  # fmt: skip
    stamped = [row | {"dateLastModified": "2025-01-01T00:00:00.000Z"} for row in rows]
    return list(chain.entity("enrollments", [raw("enrollments", "1.2", stamped)], delta=True))
