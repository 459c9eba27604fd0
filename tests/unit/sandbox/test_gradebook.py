"""A district with gradebooks: flawless where it is clean, with the dirt that the truth tells, else the same."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from hub.sandbox import District, DistrictPlan, generate, write_sandbox
from transforms.catalogue import CATALOGUE, Kind, Need, Version

DIRT = {"score_spelling", "score_unreadable", "extra_credit", "status_spelling", "status_unknown", "result_twice",
        "bounds_reversed", "orphan", "us_date", "role_spelling"}  # fmt: skip
DIRT_12 = {"wrong_class", "weight_spelling", "scale_step", "objective_unreadable"}


def files(version: Version) -> set[str]:
    return {f for f, entity in CATALOGUE.files(version).items() if entity.service != "rostering"}


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def clean(request: pytest.FixtureRequest) -> District:
    return generate(DistrictPlan(students=1_000, seed=7, version=request.param, dirt=0, gradebook=True))


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def dirty(request: pytest.FixtureRequest) -> District:
    return generate(DistrictPlan(students=1_000, seed=8, version=request.param, gradebook=True))


def test_all_files_of_the_version_are_there_and_the_roster_is_the_same(clean: District) -> None:
    without = generate(DistrictPlan(students=1_000, seed=7, version=clean.plan.version, dirt=0))

    assert set(clean.frames) - set(without.frames) == files(clean.plan.version)
    assert all(clean.frames[file].height for file in files(clean.plan.version))
    assert all(clean.frames[file].equals(frame) for file, frame in without.frames.items())


def test_every_reference_resolves_and_required_cells_are_filled(clean: District) -> None:
    version = clean.plan.version
    known = CATALOGUE.files(version)
    ids = {known[f].name: set(frame["sourcedId"]) for f, frame in clean.frames.items()}
    for file in files(version):
        frame = clean.frames[file]
        for field in known[file].csv_columns(version):
            column = frame[field.csv_name or ""]
            if field.csv_need(version) is Need.REQUIRED:
                assert column.null_count() == 0, f"{file}.{field.csv_name}"
            if field.kind is Kind.REF:
                assert set(column.drop_nulls()) <= ids[field.target or ""], f"{file}.{field.csv_name}"
            if field.vocabulary:
                words = column.drop_nulls().str.split(",").explode() if field.many else column.drop_nulls()
                assert set(words) <= set(field.vocabulary.tokens(version)), f"{file}.{field.csv_name}"
    everything = pl.concat([f["sourcedId"] for name, f in clean.frames.items() if name != "demographics"])
    assert everything.is_unique().all()


def test_results_are_of_who_is_enrolled_within_the_bounds_and_one_each(clean: District) -> None:
    results, items = clean.frames["results"], clean.frames["lineItems"]
    graded = results.join(items.rename({"sourcedId": "lineItemSourcedId"}), on="lineItemSourcedId", suffix="_of_item")
    assert graded.height == results.height
    of_class = "classSourcedId_of_item" if clean.plan.version == "1.2" else "classSourcedId"
    seats = clean.frames["enrollments"].filter(role="student").select("classSourcedId", "userSourcedId")
    pairs = graded.select(classSourcedId=of_class, userSourcedId="studentSourcedId")
    assert set(pairs.iter_rows()) <= set(seats.iter_rows())
    if clean.plan.version == "1.2":
        assert (graded["classSourcedId"] == graded["classSourcedId_of_item"]).all()
    score, highest = graded["score"].cast(pl.Float64), graded["resultValueMax"].cast(pl.Float64)
    assert ((score >= 0) & (score <= highest)).fill_null(value=True).all()
    assert (graded["scoreDate"] >= graded["dueDate"]).all()
    assert results.select("lineItemSourcedId", "studentSourcedId").is_unique().all()
    share = items["classSourcedId"].n_unique() / clean.frames["classes"].height
    assert share == pytest.approx(0.34, abs=0.12)
    assert set(results["scoreStatus"]) == set(CATALOGUE["results"]["scoreStatus"].vocabulary.both)  # type: ignore[union-attr]


def test_line_items_are_due_within_their_session(clean: District) -> None:
    column = "gradingPeriodSourcedId" if clean.plan.version == "1.1" else "academicSessionSourcedId"
    sessions = clean.frames["academicSessions"].select("type", "startDate", "endDate", sourcedId="sourcedId")
    items = clean.frames["lineItems"].join(sessions, left_on=column, right_on="sourcedId")
    assert (items["startDate"] <= items["assignDate"]).all()
    assert (items["assignDate"] <= items["dueDate"]).all()
    assert (items["dueDate"] < items["endDate"]).all()
    assert "schoolYear" not in set(items["type"])


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_equal_plans_give_equal_bytes(tmp_path: Path, version: Version) -> None:
    plan = DistrictPlan(students=150, seed=3, version=version, changes=True, gradebook=True)
    for name in ("a", "b"):
        write_sandbox(tmp_path / name, plan)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_every_kind_of_dirt_is_planted_and_one_at_most_in_a_row(dirty: District) -> None:
    ours = {f"{file}.csv" for file in files(dirty.plan.version)}
    planted = [d for d in dirty.truth.defects if d["file"] in ours]

    assert {d["kind"] for d in planted} == (DIRT if dirty.plan.version == "1.1" else DIRT | DIRT_12)
    places = [(d["file"], d["line"]) for d in [*planted, *dirty.truth.knock_on]]
    assert len(places) == len(set(places))
    for defect in planted:
        row = dirty.frames[defect["file"].removesuffix(".csv")].row(defect["line"] - 2, named=True)
        assert row["sourcedId"] == defect["sourcedId"]


def test_results_of_who_lost_the_enrollment_are_told_with_it(dirty: District) -> None:
    told = [k for k in dirty.truth.knock_on if k["file"] == "results.csv" and k["outcome"] == "reported"]
    seats = {d["sourcedId"]: d["column"] for d in dirty.truth.defects if d["file"] == "enrollments.csv"}

    assert told
    assert {seats[k["cause"]] for k in told} <= {"classSourcedId", "userSourcedId"}
