"""What the chain makes of resources and gradebooks: what one version has and the other derives, links, objectives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest

from tests.fakes.gradebooks import CASE
from tests.fakes.rosters import clean, frames, run
from transforms.catalogue import Version
from transforms.pipeline import Transform

Files = dict[str, list[dict[str, str | None]]]


def holding(**keys: list[str]) -> Callable[[str], pl.Series]:
    return lambda entity: pl.Series("key", keys.get(entity, []), dtype=pl.String)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_what_one_version_has_the_other_derives(version: Version) -> None:
    files = clean(version)
    files["results"][0].pop("classSourcedId", None)

    result = run(version, frames(version, files))

    item = result.row("lineItems", "l1")
    assert (item["gradingPeriod"], item["academicSession"], item["school"]) == ("t1", "t1", "s1")
    assert item["assignDate"] == dt.datetime(2024, 9, 2, tzinfo=dt.UTC)
    assert item["dueDate"] == dt.datetime(2024, 9, 9, 23, 59, 59, tzinfo=dt.UTC)
    assert result.row("results", "x1")["class"] == "k1"
    assert result.codes() == []


def test_a_line_item_waits_with_its_class_where_only_that_knows_the_school() -> None:
    files = clean("1.1")
    files["classes"][0] |= {"title": None}

    result = run("1.1", frames("1.1", files), held=holding(classes=["k1", "k2"], lineItems=["l1", "l2"]))

    assert result.quarantined["lineItems"] == {"l1", "l2"}
    assert set(result.issues.filter(entity="lineItems")["cause"]) == {"classes:k1"}
    assert result.keys("results") == ["x1", "x2"]  # their line items stay as they were


@pytest.mark.parametrize("reason", ["gone", "kept out"])
def test_a_link_to_nowhere_keeps_nothing_out(reason: str) -> None:
    files = clean("1.2")
    if reason == "gone":
        files["resources"].pop()
    else:
        files["resources"][1] |= {"vendorResourceId": None}
    chain = Transform("1.2")
    given = frames("1.2", files)
    for name in ("orgs", "academicSessions", "resources", "courses"):
        list(chain.entity(name, [given[name]]))

    links = {"classResources": [given["classResources"]]}
    outcome, _ = chain.entity("classes", [given["classes"]], components=links)

    assert outcome.frame.filter(key="k1")["resources"].to_list() == [["b1"]]
    assert outcome.partial.to_list() == []  # the class goes on without the link: nothing of it is uncertain
    assert run("1.2", given).codes(file="classResources.csv") == ["REF-002"]


def test_an_objective_that_was_kept_out_makes_its_owner_uncertain() -> None:
    files = clean("1.2")
    files["resultLearningObjectiveIds"][0] |= {"learningObjectiveId": "none"}
    given = frames("1.2", files)
    chain = Transform("1.2", held=holding(lineItems=["l1", "l2"], users=["u1"], classes=["k1"]))
    parts = {"resultLearningObjectiveIds": [given["resultLearningObjectiveIds"]]}

    outcomes = list(chain.entity("results", [given["results"]], components=parts))

    assert [key for outcome in outcomes for key in outcome.partial] == ["x1"]
    assert pl.concat(outcome.issues for outcome in outcomes)["code"].to_list() == ["GRB-001"]


def test_rows_of_link_files_without_an_owner_are_told_whatever_the_batches() -> None:
    files = clean("1.2")
    files["resultScoreScales"].append({"sourcedId": "xa9", "resultSourcedId": "x9", "scoreScaleSourcedId": "a1"})
    files["lineItemLearningObjectiveIds"][1] |= {"lineItemSourcedId": "l9"}

    result = run("1.2", frames("1.2", files), size=1)

    assert set(result.issues.select("code", "file", "key", "cause").iter_rows()) == {
        ("REF-001", "resultScoreScales.csv", "xa9", "results:x9"),
        ("REF-001", "lineItemLearningObjectiveIds.csv", "lo2", "lineItems:l9"),
    }
    assert result.row("results", "x1")["scoreScale"] == "a1"


def test_objectives_in_any_spelling_of_a_uuid_are_one() -> None:
    files = clean("1.2")
    first = files["lineItemLearningObjectiveIds"][0]
    files["lineItemLearningObjectiveIds"] += [
        first | {"sourcedId": "lo8", "learningObjectiveId": CASE.upper()},
        first | {"sourcedId": "lo9", "learningObjectiveId": f"URN:UUID:{CASE}"},
    ]

    result = run("1.2", frames("1.2", files))

    assert result.row("lineItems", "l1")["learningObjectiveSet"][0] == {
        "source": "case", "learningObjectiveIds": [CASE],
    }  # fmt: skip
    assert result.codes() == []


@pytest.mark.parametrize(
    ("cell", "steps", "codes"),
    [
        ("{A+:100},{A:94}", [("A+", "100"), ("A", "94")], []),
        ("{60-69:B} , {70-79:A}", [("60-69", "B"), ("70-79", "A")], []),
        ("{ A : 9,5 }", [("A", "9,5")], []),
        ("{A:90},{B},{:80},{C:70:1},{D:60}", [("A", "90"), ("D", "60")], ["GRB-002"]),
    ],
)
def test_score_scales_keep_the_order_of_their_steps(cell: str, steps: list[tuple[str, str]], codes: list[str]) -> None:
    files = clean("1.2")
    files["scoreScales"][0] |= {"scoreScaleValue": cell}

    result = run("1.2", frames("1.2", files))

    assert [tuple(s.values()) for s in result.row("scoreScales", "a1")["scoreScaleValue"]] == steps
    assert result.codes() == codes


def test_words_of_lists_are_mended_and_unknown_ones_dropped_each_for_itself() -> None:
    files = clean("1.2")
    files["resources"][0] |= {"roles": "Teacher, principal,ext:coach,student,student"}

    result = run("1.2", frames("1.2", files))

    assert result.row("resources", "b1")["roles"] == ["ext:coach", "student", "teacher"]
    assert result.codes() == ["VOC-001", "VOC-002"]
    files["resources"][0] |= {"roles": "principal"}
    assert run("1.2", frames("1.2", files)).row("resources", "b1")["roles"] is None


def test_who_is_enrolled_is_not_asked_where_no_enrollments_came() -> None:
    files = clean("1.2")
    files["results"][0] |= {"studentSourcedId": "u3"}
    del files["enrollments"]

    assert run("1.2", frames("1.2", files)).codes() == []


@pytest.mark.parametrize("cells", [{"role": "nobody"}, {"sourcedId": None}, {"schoolSourcedId": "gone"}])
def test_an_enrollment_that_was_kept_out_still_enrolls(cells: dict[str, str | None]) -> None:
    files = clean("1.2")
    files["enrollments"][0] |= cells

    result = run("1.2", frames("1.2", files))

    assert result.frames["enrollments"].height == 2
    assert "GRB-008" not in result.codes()


@pytest.mark.parametrize("size", [None, 1, 2])
def test_repeated_results_are_told_once_each_across_batches(size: int | None) -> None:
    files = clean("1.2")
    for key in ("x0", "x8", "x9"):
        files["results"].append(files["results"][0] | {"sourcedId": key})

    result = run("1.2", frames("1.2", files), size=size)

    assert sorted(result.issues.filter(code="GRB-009")["key"]) == ["x1", "x8", "x9"]  # all but the first by its key
    assert result.keys("results") == ["x0", "x1", "x2", "x8", "x9"]


def test_bounds_that_were_dropped_bound_no_score() -> None:
    files = clean("1.2")
    files["lineItems"][0] |= {"resultValueMin": "50", "resultValueMax": "5"}
    files["results"][1] |= {"score": "-1"}

    result = run("1.2", frames("1.2", files))

    assert sorted(result.issues.select("code", "key").iter_rows()) == [("GRB-005", "l1"), ("GRB-006", "x2")]
    assert (result.row("lineItems", "l1")["resultValueMin"], result.row("results", "x2")["score"]) == (None, -1)
