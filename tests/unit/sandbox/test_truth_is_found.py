"""The sandbox against the transforms: every planted defect is found, and no sound row is kept out."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from hub.sandbox import District, DistrictPlan, generate
from transforms import issues
from transforms.catalogue import CATALOGUE, Version
from transforms.pipeline import Transform


@dataclass(frozen=True)
class Result:
    issues: pl.DataFrame
    quarantined: Mapping[str, set[str]]
    rows: Mapping[str, pl.DataFrame]


def transformed(frames: Mapping[str, pl.DataFrame], version: Version) -> Result:
    run = Transform(version, calling_code="1")
    raw = {file: frame.with_row_index("line", offset=2) for file, frame in frames.items()}
    found: list[pl.DataFrame] = []
    quarantined: dict[str, set[str]] = defaultdict(set)
    rows: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for entity in CATALOGUE.entities:
        parts = {c.csv_file: [raw[c.csv_file]] for c in CATALOGUE.components_of(entity.name) if c.csv_file in raw}
        for outcome in run.entity(entity.name, [raw[entity.csv_file]], components=parts):
            found.append(outcome.issues)
            quarantined[entity.csv_file] |= set(outcome.quarantined)
            rows[entity.csv_file].append(outcome.frame)
    return Result(issues.collect(found), quarantined, {file: pl.concat(frames) for file, frames in rows.items()})


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def district(request: pytest.FixtureRequest) -> District:
    seed = {"1.1": 1, "1.2": 2}[request.param]
    return generate(DistrictPlan(students=2_000, seed=seed, version=request.param, changes=True))


@pytest.fixture(scope="module")
def result(district: District) -> Result:
    return transformed(district.frames, district.plan.version)


def row_defects(district: District) -> list[dict[str, Any]]:
    return [d for d in district.truth.defects if d["line"] > 1]


def test_every_planted_defect_is_found(district: District, result: Result) -> None:
    found = defaultdict(set)
    for file, line, code in result.issues.select("file", "line", "code").iter_rows():
        found[file, line].add(code)
    missed = [d for d in row_defects(district) if not found[d["file"], d["line"]] & set(d["codes"])]
    assert missed == []


def test_exactly_the_rows_that_must_be_kept_out_are(district: District, result: Result) -> None:
    expected = defaultdict(set)
    for item in [*district.truth.defects, *district.truth.knock_on]:
        if item["outcome"] == "quarantined":
            expected[item["file"].removesuffix(".csv")].add(item["sourcedId"])
    entities = {e.csv_file for e in CATALOGUE.entities}
    assert {f: k for f, k in result.quarantined.items() if k} == {f: k for f, k in expected.items() if f in entities}


def test_repaired_values_are_the_clean_ones(district: District, result: Result) -> None:
    clean = transformed(district.clean, district.plan.version)
    after, before = (
        {f: r.rows[f].rows_by_key("key", named=True, unique=True) for f in r.rows} for r in (result, clean)
    )
    for defect in row_defects(district):
        file, key, field = defect["file"].removesuffix(".csv"), defect["sourcedId"], defect["field"]
        if defect["outcome"] == "fixed" and file in after and field in after[file][key]:
            assert after[file][key][field] == before[file][key][field], defect["kind"]


def test_nothing_else_is_found(district: District, result: Result) -> None:
    told = {(i["file"], i["line"]) for i in [*district.truth.defects, *district.truth.knock_on]}
    # Of the base columns, filled in all of courses.csv, the transforms report the first row; 1.1's administrators are
    # sound rows whose role is read as one of 1.2's.
    usual = {("courses.csv", "STA-001"), ("users.csv", "USR-003")}
    rows = result.issues.select("file", "line", "code", "field").iter_rows()
    assert [r for r in rows if r[:2] not in told and (r[0], r[2]) not in usual] == []


def test_a_clean_district_gives_no_findings(district: District) -> None:
    clean = transformed(district.clean, district.plan.version)
    assert set(clean.issues["code"]) <= {"USR-003"}
    assert not any(clean.quarantined.values())


def test_the_mid_year_package_keeps_out_the_same_rows(district: District, result: Result) -> None:
    assert district.changes is not None
    later = transformed(district.changes.frames, district.plan.version)
    assert later.quarantined == result.quarantined
