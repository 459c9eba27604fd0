"""JSON objects that apps write: every spelling that has one reading, and a coded fault at its place for the others."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import canonical
from transforms.catalogue import BASE_NAMES, CATALOGUE, Need, Version
from transforms.document import document
from transforms.faults import HOWTO, Fault, FaultCode, described
from transforms.objects import LARGEST_METADATA, Written, read
from transforms.render import render

UTC = dt.UTC
RESULT: dict[str, Any] = {
    "sourcedId": "r1", "lineItem": {"sourcedId": "li"}, "student": {"sourcedId": "s"}, "scoreStatus": "fully graded",
    "scoreDate": "2024-05-02",
}  # fmt: skip
LINE_ITEM: dict[str, Any] = {
    "sourcedId": "li", "title": "Essay", "assignDate": "2024-05-01T08:00:00.000Z", "dueDate": "2024-05-08T08:00:00Z",
    "class": {"sourcedId": "c"}, "school": {"sourcedId": "s"}, "category": {"sourcedId": "k"},
}  # fmt: skip
SCALE: dict[str, Any] = {
    "sourcedId": "s", "title": "Letters", "type": "local", "class": {"sourcedId": "c"},
    "scoreScaleValue": [{"itemValueLHS": "90", "itemValueRHS": "A"}],
}  # fmt: skip
OBJECTS = {
    "results": RESULT, "lineItems": LINE_ITEM, "scoreScales": SCALE, "categories": {"sourcedId": "k", "title": "Tests"},
    "assessmentLineItems": {"sourcedId": "a", "title": "Test"},
    "assessmentResults": {"sourcedId": "ar", "assessmentLineItem": {"sourcedId": "a"}, "student": {"sourcedId": "s"},
                          "scoreStatus": "exempt", "scoreDate": "2024-05-02"},
}  # fmt: skip


def written(entity: str, version: Version = "1.2", **members: Any) -> Written:
    """The object of an entity with some members changed; those that are ``...`` are left out."""
    value = {name: member for name, member in (OBJECTS[entity] | members).items() if member is not ...}
    return read(CATALOGUE[entity], version, value, place="it")


def faults(entity: str, version: Version = "1.2", **members: Any) -> list[tuple[str, str]]:
    return [(fault.path, fault.code.value) for fault in written(entity, version, **members).faults]


@pytest.mark.parametrize("entity", OBJECTS)
def test_the_least_object_is_read_and_each_required_member_is_missed(entity: str) -> None:
    assert written(entity).faults == []
    required = {f.name for f in CATALOGUE[entity].body if f.rest12 is Need.REQUIRED and f.name not in BASE_NAMES}
    assert required == OBJECTS[entity].keys() - {"sourcedId"}
    for name in required:
        for absent in (..., None, ""):
            assert faults(entity, **{name: absent}) == [(f"it.{name}", "missing")]


def test_each_version_requires_its_own_members() -> None:
    assert faults("results", "1.1") == [("it.score", "missing")]
    assert faults("lineItems", "1.1") == [
        ("it.gradingPeriod", "missing"), ("it.resultValueMin", "missing"), ("it.resultValueMax", "missing"),
    ]  # fmt: skip
    assert written("lineItems", "1.1").unknown == ["school"]


@pytest.mark.parametrize(
    ("entity", "name", "value", "meant"),
    [
        ("results", "score", 300, 300.0), ("results", "score", "87.5", 87.5), ("results", "score", -0.5, -0.5),
        ("results", "late", "true", True), ("results", "late", False, False), ("results", "late", "FALSE", False),
        ("results", "late", 1, True), ("results", "late", "0", False),
        ("results", "scoreStatus", "ext:pending", "ext:pending"), ("results", "scoreStatus", "Exempt", "exempt"),
        ("results", "scoreDate", "2024-05-02T23:30:00-02:00", dt.date(2024, 5, 3)),
        ("results", "student", {"sourcedId": "s", "type": "student", "href": "/users/x"}, "s"),
        ("results", "comment", "two\nlines", "two\nlines"), ("results", "metadata", {"a": None}, '{"a":null}'),
        ("lineItems", "assignDate", "2024-05-02", dt.datetime(2024, 5, 2, tzinfo=UTC)),
        ("lineItems", "dueDate", "2024-05-02", dt.datetime(2024, 5, 2, 23, 59, 59, tzinfo=UTC)),
        ("lineItems", "dueDate", "2024-05-02 10:00:00.1239", dt.datetime(2024, 5, 2, 10, 0, 0, 123_000, tzinfo=UTC)),
        ("lineItems", "dueDate", "2024-05-02T10:00:00+02:00", dt.datetime(2024, 5, 2, 8, tzinfo=UTC)),
        ("lineItems", "learningObjectiveSet",
         [{"source": "case", "learningObjectiveIds": ["urn:uuid:0198C0DE-0000-7000-8000-000000000001"]}],
         [{"source": "case", "learningObjectiveIds": ["0198c0de-0000-7000-8000-000000000001"]}]),
        ("lineItems", "learningObjectiveSet", [{"source": "/state", "learningObjectiveIds": ["x"]}],
         [{"source": "/state", "learningObjectiveIds": ["x"]}]),
        ("results", "learningObjectiveSet",
         [{"source": "ext:s", "learningObjectiveResults": [{"learningObjectiveId": "x", "score": "2"}]}],
         [{"source": "ext:s",
           "learningObjectiveResults": [{"learningObjectiveId": "x", "score": 2.0, "textScore": None}]}]),
    ],
)  # fmt: skip
def test_what_has_one_reading_is_read(entity: str, name: str, value: object, meant: object) -> None:
    found = written(entity, **{name: value})
    assert (found.values[name], found.faults) == (meant, [])


@pytest.mark.parametrize(("entity", "name", "value"), [
    ("results", "comment", ""), ("results", "comment", None), ("results", "comment", " \n"), ("results", "score", None),
    ("results", "learningObjectiveSet", []), ("results", "scoreScale", None), ("results", "metadata", None),
])  # fmt: skip
def test_nothing_is_absent(entity: str, name: str, value: object) -> None:
    found = written(entity, **{name: value})
    assert (name in found.values, found.faults) == (False, [])


@pytest.mark.parametrize(
    ("entity", "name", "value", "path", "code"),
    [
        ("results", "sourcedId", 7, "", "bad_identifier"), ("results", "sourcedId", " r", "", "bad_identifier"),
        ("results", "sourcedId", "x" * 256, "", "bad_identifier"), ("results", "status", "gone", "", "unknown_word"),
        ("results", "status", 1, "", "unknown_word"), ("results", "scoreStatus", "graded", "", "unknown_word"),
        ("results", "scoreStatus", "ext:", "", "unknown_word"), ("results", "scoreStatus", 5, "", "not_text"),
        ("results", "score", True, "", "not_a_number"), ("results", "score", "a lot", "", "not_a_number"),
        ("results", "score", {}, "", "not_a_number"), ("results", "late", "perhaps", "", "not_a_boolean"),
        ("results", "late", 2, "", "not_a_boolean"), ("results", "late", 1.0, "", "not_a_boolean"),
        ("results", "scoreDate", "02.05.2024", "", "not_a_date"), ("results", "scoreDate", 20240502, "", "not_a_date"),
        ("results", "scoreDate", "2024-02-30", "", "not_a_date"),
        ("results", "scoreDate", "0999-01-01", "", "not_a_date"),
        ("lineItems", "dueDate", "2024-05-02T25:00:00Z", "", "not_a_date_time"),
        ("lineItems", "dueDate", "9999-12-31T23:00:00-23:00", "", "not_a_date_time"),
        ("lineItems", "dueDate", [], "", "not_a_date_time"), ("lineItems", "title", ["x"], "", "not_text"),
        ("lineItems", "title", "x" * 4001, "", "too_long"), ("lineItems", "title", "a\x00b", "", "control_character"),
        ("lineItems", "class", "c", "", "not_a_reference"),
        ("lineItems", "class", {"href": "x"}, "", "not_a_reference"),
        ("lineItems", "class", {"sourcedId": ""}, "", "not_a_reference"),
        ("lineItems", "class", [{"sourcedId": "c"}], "", "not_a_reference"),
        ("lineItems", "metadata", [], "", "not_an_object"),
        ("lineItems", "metadata", {"a": "\x01"}, "", "control_character"),
        ("lineItems", "metadata", {"\x00": 1}, "", "control_character"),
        ("lineItems", "metadata", {"a": "x" * LARGEST_METADATA}, "", "too_long"),
        ("lineItems", "metadata", {"a": 2**64}, "", "not_a_number"),
        ("lineItems", "learningObjectiveSet", {}, "", "not_a_list"),
        ("lineItems", "learningObjectiveSet", [7], "[0]", "not_an_object"),
        ("lineItems", "learningObjectiveSet", [{"source": "case"}], "[0].learningObjectiveIds", "missing"),
        ("lineItems", "learningObjectiveSet", [{"source": "CASES!", "learningObjectiveIds": ["x"]}], "[0].source",
         "unknown_word"),
        ("lineItems", "learningObjectiveSet", [{"source": "case", "learningObjectiveIds": ["x"]}],
         "[0].learningObjectiveIds[0]", "not_a_uuid"),
        ("lineItems", "learningObjectiveSet", [{"source": "unknown", "learningObjectiveIds": ["x", ""]}],
         "[0].learningObjectiveIds[1]", "missing"),
        ("lineItems", "learningObjectiveSet", [{"source": "unknown", "learningObjectiveIds": ["x"] * 1001}],
         "[0].learningObjectiveIds", "too_long"),
        ("results", "learningObjectiveSet",
         [{"source": "unknown", "learningObjectiveResults": [{"learningObjectiveId": "x", "score": "y"}]}],
         "[0].learningObjectiveResults[0].score", "not_a_number"),
        ("scoreScales", "scoreScaleValue", [{"itemValueLHS": "A"}], "[0].itemValueRHS", "missing"),
        ("scoreScales", "scoreScaleValue", [{"itemValueLHS": "A", "itemValueRHS": 90}], "[0].itemValueRHS", "not_text"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_has_a_code_and_a_place(
    entity: str, name: str, value: object, path: str, code: str
) -> None:
    assert faults(entity, **{name: value}) == [(f"it.{name}{path}", code)]


def test_metadata_may_be_deep_but_not_too_deep() -> None:
    deep: dict[str, Any] = {}
    for _ in range(31):
        deep = {"a": deep}
    assert written("results", metadata={"x": deep}).faults == []
    assert faults("results", metadata={"x": {"y": deep}}) == [("it.metadata", "too_deep")]


def test_what_is_no_object_and_what_is_unknown() -> None:
    assert [str(f.path) for f in read(CATALOGUE["results"], "1.2", [], place="results[3]").faults] == ["results[3]"]
    found = written("results", shoeSize=42, dateLastModified="yesterday", status="inactive")
    assert (found.unknown, found.faults, found.ended) == (["shoeSize"], [], True)


def test_what_the_path_names_need_not_come() -> None:
    value = {name: member for name, member in LINE_ITEM.items() if name != "class"}
    assert read(CATALOGUE["lineItems"], "1.2", value, place="it", filled=frozenset({"class"})).faults == []


def test_a_description_is_bounded_and_repeats_no_value() -> None:
    found = [Fault(f"lineItems[{i}].title", FaultCode.TOO_LONG) for i in range(7)]
    text = described(found)
    assert text.startswith("lineItems[0].title (too_long): ")
    assert text.endswith("; and 2 more")
    assert "lineItems[5]" not in text


def test_every_code_has_a_way_to_mend_it_and_stands_in_the_docs() -> None:
    assert set(HOWTO) == set(FaultCode)
    page = (Path(__file__).parents[3] / "docs" / "gradebook.md").read_text(encoding="utf-8")
    assert [code.value for code in FaultCode if f"`{code.value}`" not in page] == []


TEXT = st.text(max_size=8) | st.sampled_from(['"\\', "\x7f\t\n", '\x05{"href":', "urn:uuid:x", "ü李😀"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.sampled_from([1e-5, -0.0, 1e16, 0.1])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)
NAMES = sorted({f.name for e in OBJECTS for f in CATALOGUE[e].body} | set(BASE_NAMES) | {"other"})
SOURCES = st.sampled_from(["case", "unknown", "ext:x"])
#: Values that are mostly right, by member.
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("title", "description", "comment", "textScore", "type"), TEXT),
    **dict.fromkeys(("score", "weight", "resultValueMin", "resultValueMax", "scorePercentile"), NUMBERS),
    **dict.fromkeys(("late", "missing", "inProgress", "incomplete"), st.booleans()),
    **dict.fromkeys(("scoreDate",), st.dates().map(str)),
    **dict.fromkeys(("assignDate", "dueDate"), st.datetimes().map(str)),
    **dict.fromkeys(("class", "category", "student", "scoreScale", "lineItem"),
                    st.uuids().map(lambda i: {"sourcedId": str(i)})),
    "metadata": st.dictionaries(TEXT, JSON, max_size=3),
    "scoreScaleValue": st.lists(st.fixed_dictionaries({"itemValueLHS": TEXT, "itemValueRHS": TEXT}), max_size=3),
    "learningObjectiveSet": st.lists(
        st.fixed_dictionaries({"source": SOURCES, "learningObjectiveIds": st.lists(TEXT, min_size=1, max_size=3),
            "learningObjectiveResults": st.lists(st.fixed_dictionaries(
                {"learningObjectiveId": TEXT}, optional={"score": NUMBERS, "textScore": TEXT}), min_size=1, max_size=2),
        }), max_size=2),
}  # fmt: skip


@st.composite
def members(draw: st.DrawFn) -> dict[str, Any]:
    """Some members, right ones and any."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=6, unique=True))
    return {name: draw(RIGHT.get(name, JSON) if draw(st.integers(0, 4)) else JSON) for name in names}


@settings(deadline=None, max_examples=250)
@given(st.sampled_from(list(OBJECTS)), members())
def test_whatever_comes_is_a_fault_or_one_document_in_both_ways_of_writing_it(
    entity: str, given: dict[str, Any]
) -> None:
    found = written(entity, **given)
    if not found.faults:
        schema = {n: t for n, t in canonical.schema(entity).items() if n not in {"key", "hash", "line"}}
        frame = pl.DataFrame([found.values], schema=schema).with_columns(sourcedId=pl.lit("x"))
        assert render(entity, frame).row(0) == document(CATALOGUE[entity], found.values)
