"""The sandbox against connector and transforms: every planted defect is found, and no sound row is kept out."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.oneroster_csv import open_package
from hub.sandbox import District, DistrictPlan, SandboxFiles, generate
from transforms import issues
from transforms.catalogue import CATALOGUE
from transforms.pipeline import Transform, duplicated


@dataclass(frozen=True)
class Result:
    issues: pl.DataFrame
    quarantined: Mapping[str, set[str]]
    rows: Mapping[str, pl.DataFrame]


def transformed(package: Path) -> Result:
    """What connector and transforms make of a package, read in batches that are smaller than the files."""
    source = open_package(package)
    run = Transform(source.version, calling_code="1")
    found: list[pl.DataFrame] = [source.issues]
    quarantined: dict[str, set[str]] = defaultdict(set)
    rows: dict[str, list[pl.DataFrame]] = defaultdict(list)

    def batches(file: str) -> Iterator[pl.DataFrame]:
        for batch in source.batches(file, 4_000):
            found.append(batch.issues)
            yield batch.frame

    for entity in (e for e in CATALOGUE.entities if e.csv_file in source.mode):
        parts = {
            c.csv_file: batches(c.csv_file) for c in CATALOGUE.components_of(entity.name) if c.csv_file in source.mode
        }
        twice = duplicated(source.keys(entity.csv_file))
        for outcome in run.entity(entity.name, batches(entity.csv_file), components=parts, duplicate_keys=twice):
            found.append(outcome.issues)
            quarantined[entity.csv_file] |= set(outcome.quarantined)
            rows[entity.csv_file].append(outcome.frame)
    source.close()
    return Result(issues.collect(found), quarantined, {file: pl.concat(frames) for file, frames in rows.items()})


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def district(request: pytest.FixtureRequest) -> District:
    seed = {"1.1": 1, "1.2": 2}[request.param]
    return generate(DistrictPlan(students=1_500, seed=seed, version=request.param, changes=True, gradebook=True))


@pytest.fixture(scope="module")
def files(district: District, tmp_path_factory: pytest.TempPathFactory) -> SandboxFiles:
    return district.write(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture(scope="module")
def result(files: SandboxFiles) -> Result:
    return transformed(files.package)


@pytest.fixture(scope="module")
def clean(district: District, tmp_path_factory: pytest.TempPathFactory) -> Result:
    plan = dataclasses.replace(district.plan, dirt=0, changes=False)
    return transformed(generate(plan).write(tmp_path_factory.mktemp("clean")).package)


def row_defects(district: District) -> list[dict[str, Any]]:
    return [d for d in district.truth.defects if d["line"] > 1]


def test_every_planted_defect_is_found(district: District, result: Result) -> None:
    found = defaultdict(set)
    for file, line, code in result.issues.select("file", "line", "code").iter_rows():
        found[file, line].add(code)
        found[file, 1].add(code)  # defects of whole files stand on line 1, findings about them on none
    assert [d for d in district.truth.defects if not found[d["file"], d["line"]] & set(d["codes"])] == []


def test_exactly_the_rows_that_must_be_kept_out_are(district: District, result: Result) -> None:
    expected = defaultdict(set)
    for item in [*district.truth.defects, *district.truth.knock_on]:
        if item["outcome"] == "quarantined":
            expected[item["file"].removesuffix(".csv")].add(item["sourcedId"])
    entities = {e.csv_file for e in CATALOGUE.entities}
    assert {f: k for f, k in result.quarantined.items() if k} == {f: k for f, k in expected.items() if f in entities}


def test_repaired_values_are_the_clean_ones(district: District, result: Result, clean: Result) -> None:
    after, before = (
        {f: r.rows[f].rows_by_key("key", named=True, unique=True) for f in r.rows} for r in (result, clean)
    )
    for defect in row_defects(district):
        file, key, field = defect["file"].removesuffix(".csv"), defect["sourcedId"], defect["field"]
        if defect["outcome"] == "fixed" and file in after and field in after[file][key]:
            assert after[file][key][field] == before[file][key][field], defect["kind"]


def test_nothing_else_is_found(district: District, result: Result) -> None:
    told = {(i["file"], i["line"]) for i in [*district.truth.defects, *district.truth.knock_on]}
    about_files = {(d["file"], code) for d in district.truth.defects if d["line"] == 1 for code in d["codes"]}
    # Not dirt: a 1.1 administrator is read as one of the administrators of 1.2.
    about_files.add(("users.csv", "USR-003"))
    rows = result.issues.select("file", "line", "code", "field").iter_rows()
    assert [r for r in rows if r[:2] not in told and (r[0], r[2]) not in about_files] == []


def test_a_clean_district_gives_no_findings(clean: Result) -> None:
    assert set(clean.issues["code"]) <= {"USR-003"}
    assert not any(clean.quarantined.values())


def test_the_mid_year_package_keeps_out_the_same_rows(files: SandboxFiles, result: Result) -> None:
    assert files.changed_package is not None
    later = transformed(files.changed_package)
    assert later.quarantined == result.quarantined
