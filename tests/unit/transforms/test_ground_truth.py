"""The chain against districts whose every fault is known: all are found, nothing else is, repairs are right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from hub.sandbox import District, DistrictPlan, generate
from tests.fakes.rosters import Frames, Result, run
from transforms.catalogue import CATALOGUE

#: Said of the whole file, which the truth describes at line 1.
OF_FILES = {"STA-001"}
#: Said of people who were entered twice, which the truth lists by themselves.
OF_PAIRS = {"ID-007"}


@pytest.fixture(scope="module", params=["1.1", "1.2"])
def district(request: pytest.FixtureRequest) -> District:
    return generate(DistrictPlan(students=1_000, seed=5, version=request.param))


@pytest.fixture(scope="module")
def result(district: District) -> Result:
    return run(district.plan.version, lined(district.frames), calling_code="1")


def lined(frames: Mapping[str, pl.DataFrame]) -> Frames:
    return {f: rows.with_columns(line=pl.int_range(2, pl.len() + 2, dtype=pl.UInt32)) for f, rows in frames.items()}


def test_the_clean_district_comes_in_whole_and_without_a_finding(district: District) -> None:
    found = run(district.plan.version, lined(district.clean))

    assert found.issues.to_dicts() == []
    assert {n: f.height for n, f in found.frames.items()} == {n: district.clean[n].height for n in found.frames}


@pytest.mark.threat("F25")
def test_every_planted_fault_is_found_at_its_place_and_nothing_else(district: District, result: Result) -> None:
    found = defaultdict(set)
    for issue in result.issues.filter(~pl.col("code").is_in([*OF_FILES, *OF_PAIRS])).iter_rows(named=True):
        found[issue["file"], issue["line"]].add(issue["code"])
    planted = [d for d in district.truth.defects if d["line"] > 1]
    told = {(d["file"], d["line"]) for d in [*planted, *district.truth.knock_on]}

    assert [d for d in planted if not found[d["file"], d["line"]] & set(d["codes"])] == []
    assert {place: codes for place, codes in found.items() if codes and place not in told} == {}


def test_people_who_were_entered_twice_are_found_by_their_state_id(district: District, result: Result) -> None:
    pairs = [d["sourcedIds"] for d in district.truth.duplicates if d["same_state_id"]]

    assert pairs
    assert set(result.issues.filter(code="ID-007")["key"]) == {key for pair in pairs for key in pair}


def test_what_was_repaired_is_what_it_was_before_the_dirt(district: District, result: Result) -> None:
    repaired = [d for d in district.truth.defects if "original" in d and d["file"][:-4] in result.frames]

    wrong = [d["kind"] for d in repaired if value(result, d) not in {None, d["original"]}]

    assert repaired
    assert wrong == []


def value(result: Result, defect: dict[str, Any]) -> str | None:
    """The canonical value of the cell as CSV would write it; None for rows that are not served."""
    entity = CATALOGUE[defect["file"][:-4]]
    field = next(f for f in entity.fields if f.csv_name == defect["column"])
    rows = result.frames[entity.name].filter(line=defect["line"])
    if rows.height == 0 or field.name not in rows.columns:
        return None
    found = rows[field.name][0]
    return ",".join(found) if field.many else str(found).lower() if isinstance(found, bool) else str(found)
