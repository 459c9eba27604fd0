"""The mid-year package differs from the first in what changes.json says, and in nothing else."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hub.sandbox import District, DistrictPlan, generate

KINDS = {"student_moves", "class_added", "teacher_leaves", "name_corrected", "enrollment_ends"}


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def district(request: pytest.FixtureRequest) -> District:
    return generate(DistrictPlan(students=2_000, seed=5, version=request.param, changes=True, change_scale=2))


def difference(district: District, file: str) -> tuple[set[str], set[str], set[str]]:
    """sourcedIds that were removed, added, and changed."""
    assert district.changes is not None
    before, after = (Counter(f[file].iter_rows()) for f in (district.frames, district.changes.frames))
    gone, new = {r[0] for r in before - after}, {r[0] for r in after - before}
    return gone - new, new - gone, gone & new


def events(district: District, kind: str) -> list[dict[str, Any]]:
    assert district.changes is not None
    return [e for e in district.changes.events if e["kind"] == kind]


def told(district: District, key: str) -> set[str]:
    assert district.changes is not None
    return {i for e in district.changes.events for i in e.get(key, [])}


def test_there_are_as_many_changes_as_asked_for(district: District) -> None:
    assert {kind: len(events(district, kind)) for kind in KINDS} == {
        "student_moves": 4, "class_added": 2, "teacher_leaves": 2, "name_corrected": 2, "enrollment_ends": 2,
    }  # fmt: skip


def test_enrollments_differ_as_told(district: District) -> None:
    removed, added, changed = difference(district, "enrollments")
    assert removed == told(district, "removed")
    assert added == told(district, "added")
    assert changed == {e["enrollment"] for e in events(district, "enrollment_ends")}


def test_people_differ_as_told(district: District) -> None:
    removed, added, changed = difference(district, "users")
    assert removed == {e["teacher"] for e in events(district, "teacher_leaves")}
    assert added == set()
    moved = {e["student"] for e in events(district, "student_moves")}
    assert changed == moved | {e["user"] for e in events(district, "name_corrected")}


def test_classes_differ_as_told_and_the_rest_not_at_all(district: District) -> None:
    assert difference(district, "classes") == (set(), {e["class"] for e in events(district, "class_added")}, set())
    for file in ("orgs", "academicSessions", "courses", "demographics"):
        assert difference(district, file) == (set(), set(), set())


def test_roles_follow(district: District) -> None:
    if district.plan.version == "1.1":
        return
    assert district.changes is not None
    removed, added, changed = difference(district, "roles")
    user_of = dict(district.frames["roles"].select("sourcedId", "userSourcedId").iter_rows())
    assert {user_of[r] for r in removed} == {e["teacher"] for e in events(district, "teacher_leaves")}
    assert added == set()
    assert {user_of[r] for r in changed} == {e["student"] for e in events(district, "student_moves")}
    assert len(difference(district, "userProfiles")[0]) == len(events(district, "teacher_leaves"))


def test_students_move_out_of_the_focus_and_into_it(district: District) -> None:
    assert district.changes is not None
    focus = {s.sourced_id for s in district.focus}
    level = {s.sourced_id: s.level for s in district.schools}
    column = "orgSourcedIds" if district.plan.version == "1.1" else "primaryOrgSourcedId"
    school = dict(district.changes.frames["users"].select("sourcedId", column).iter_rows())
    moves = events(district, "student_moves")
    assert sum(e["from"] in focus and e["to"] not in focus for e in moves) == 2
    assert sum(e["to"] in focus and e["from"] not in focus for e in moves) == 2
    for move in moves:
        assert school[move["student"]] == move["to"]
        assert level[move["from"]] == level[move["to"]]
        seats = district.changes.frames["enrollments"].filter(pl.col("userSourcedId") == move["student"])
        assert set(seats["sourcedId"]) == set(move["added"])
        assert set(seats["schoolSourcedId"]) == {move["to"]}


def test_a_new_class_has_a_teacher_and_students(district: District) -> None:
    assert district.changes is not None
    for event in events(district, "class_added"):
        seats = district.changes.frames["enrollments"].filter(pl.col("classSourcedId") == event["class"])
        assert set(seats.filter(pl.col("role") == "teacher")["userSourcedId"]) == {event["teacher"]}
        assert set(seats.filter(pl.col("role") == "student")["userSourcedId"]) == set(event["students"])
        assert set(seats["schoolSourcedId"]) == set(event["schools"]) <= {s.sourced_id for s in district.focus}


def test_a_leaving_teachers_classes_have_a_teacher_again(district: District) -> None:
    assert district.changes is not None
    seats = district.changes.frames["enrollments"]
    for event in events(district, "teacher_leaves"):
        assert seats.filter(pl.col("userSourcedId") == event["teacher"]).is_empty()
        assert set(event["classes"]) <= set(
            seats.filter(pl.col("userSourcedId") == event["successor"])["classSourcedId"]
        )


def test_every_class_keeps_one_primary_teacher() -> None:
    district = generate(DistrictPlan(students=2_000, seed=9, dirt=0, changes=True, change_scale=3))
    assert district.changes is not None
    leads = district.changes.frames["enrollments"].filter(pl.col("primary") == "true")["classSourcedId"]
    assert leads.is_unique().all()
    assert set(leads) == set(district.changes.frames["classes"]["sourcedId"])


def test_names_change_as_told(district: District) -> None:
    assert district.changes is not None
    now = {r["sourcedId"]: r for r in district.changes.frames["users"].iter_rows(named=True)}
    for event in events(district, "name_corrected"):
        assert event["from"] != event["to"] == now[event["user"]][event["field"]]
    assert [e["field"] for e in events(district, "name_corrected")] == ["givenName", "familyName"]


def test_nobody_with_dirt_takes_part(district: District) -> None:
    spoilt = {d["sourcedId"] for d in district.truth.defects if d["sourcedId"]}
    assert district.changes is not None
    for file in district.frames:
        for keys in difference(district, file):
            assert not keys & spoilt


def test_a_percentage_touches_about_that_share() -> None:
    district = generate(DistrictPlan(students=5_000, seed=3, changes=True, change_percent=1.0))
    users, seats = difference(district, "users"), difference(district, "enrollments")
    assert sum(len(k) for k in users) == pytest.approx(50, rel=0.3)
    assert sum(len(k) for k in seats) == pytest.approx(0.01 * district.frames["enrollments"].height, rel=0.35)
    assert district.changes is not None
    schools = {s for e in district.changes.events for s in e["schools"]}
    assert len(schools) > len(district.schools) / 2


@pytest.mark.parametrize("seed", range(6))
def test_the_smallest_district_has_every_change_too(seed: int) -> None:
    district = generate(DistrictPlan(students=100, seed=seed, version="1.2", changes=True))
    assert district.changes is not None
    assert {e["kind"] for e in district.changes.events} == KINDS


def test_the_list_names_the_schools(district: District, tmp_path: Path) -> None:
    files = district.write(tmp_path)
    assert files.changes is not None
    listed = json.loads(files.changes.read_text(encoding="utf-8"))
    assert listed["focus"] == [s.sourced_id for s in district.focus]
    assert {s["sourcedId"] for s in listed["schools"]} >= {s for e in listed["changes"] for s in e["schools"]}
