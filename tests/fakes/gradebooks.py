"""Resources and a gradebook for the rosters of ``rosters``, and these files written again from canonical frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl

from transforms.catalogue import CATALOGUE, Version
from transforms.nesting import fed, owner

Row = Mapping[str, str | None]
CASE = "6b0f6a1e-2f3c-4b57-9d3a-0c2a5d1e7f42"

RESOURCES: list[Row] = [
    {"sourcedId": "b1", "vendorResourceId": "isbn-1", "title": "Algebra Reader", "roles": "student,teacher",
     "importance": "primary", "vendorId": "v1", "applicationId": "a1"},
    {"sourcedId": "b2", "vendorResourceId": "isbn-2", "metadata.shelf": "A"},
]  # fmt: skip
COURSE_RESOURCES: list[Row] = [{"sourcedId": "cb1", "courseSourcedId": "c1", "resourceSourcedId": "b1"}]
CLASS_RESOURCES: list[Row] = [
    {"sourcedId": "kb1", "title": "Algebra 1", "classSourcedId": "k1", "resourceSourcedId": "b2"},
    {"sourcedId": "kb2", "classSourcedId": "k1", "resourceSourcedId": "b1"},
]
USER_RESOURCES: list[Row] = [
    {
        "sourcedId": "ub1",
        "userSourcedId": "u1",
        "orgSourcedId": "s1",
        "classSourcedId": "k1",
        "resourceSourcedId": "b2",
    },
]
CATEGORIES: list[Row] = [{"sourcedId": "g1", "title": "Homework"}, {"sourcedId": "g2", "title": "Exams"}]
SCALES: list[Row] = [
    {"sourcedId": "a1", "title": "Letters", "type": "letter", "orgSourcedId": "s1", "courseSourcedId": "c1",
     "classSourcedId": "k1", "scoreScaleValue": "{90-100:A},{80-89:B},{0-79:C}"},
    {"sourcedId": "a2", "title": "Passed", "type": "pass", "orgSourcedId": "s1", "courseSourcedId": "c1",
     "classSourcedId": "k1", "scoreScaleValue": "{50:Yes},{0:No}"},
]  # fmt: skip
LINE_ITEMS: list[Row] = [
    {"sourcedId": "l1", "title": "Fractions", "description": "Pages 3 to 5", "assignDate": "2024-09-02",
     "dueDate": "2024-09-09", "classSourcedId": "k1", "categorySourcedId": "g1", "resultValueMin": "0",
     "resultValueMax": "100"},
    {"sourcedId": "l2", "title": "Mid-term", "assignDate": "2024-10-01", "dueDate": "2024-10-01",
     "classSourcedId": "k1", "categorySourcedId": "g2", "resultValueMin": "0", "resultValueMax": "12.5"},
]  # fmt: skip
ITEM_SCALES: list[Row] = [{"sourcedId": "la1", "lineItemSourcedId": "l1", "scoreScaleSourcedId": "a1"}]
ITEM_OBJECTIVES: list[Row] = [
    {"sourcedId": "lo1", "lineItemSourcedId": "l1", "source": "case", "learningObjectiveId": f"urn:uuid:{CASE}"},
    {"sourcedId": "lo2", "lineItemSourcedId": "l1", "source": "unknown", "learningObjectiveId": "adds fractions"},
    {"sourcedId": "lo3", "lineItemSourcedId": "l1", "source": "unknown", "learningObjectiveId": "Knows numbers"},
]
RESULTS: list[Row] = [
    {"sourcedId": "x1", "lineItemSourcedId": "l1", "studentSourcedId": "u1", "scoreStatus": "fully graded",
     "score": "87.5", "scoreDate": "2024-09-12", "comment": "Well done"},
    {"sourcedId": "x2", "lineItemSourcedId": "l2", "studentSourcedId": "u1", "scoreStatus": "not submitted",
     "score": "0", "scoreDate": "2024-10-02"},
]  # fmt: skip
RESULTS_12: dict[str | None, Row] = {
    "x1": {"textScore": "B", "classSourcedId": "k1", "late": "true", "missing": "false"}, "x2": {"missing": "true"},
}  # fmt: skip
RESULT_SCALES: list[Row] = [{"sourcedId": "xa1", "resultSourcedId": "x1", "scoreScaleSourcedId": "a1"}]
RESULT_OBJECTIVES: list[Row] = [
    {"sourcedId": "xo1", "resultSourcedId": "x1", "source": "case", "learningObjectiveId": f"urn:uuid:{CASE}",
     "score": "3.5"},
    {"sourcedId": "xo2", "resultSourcedId": "x1", "source": "unknown", "learningObjectiveId": "Knows numbers",
     "textScore": "often"},
]  # fmt: skip


def gradebook(version: Version) -> dict[str, list[dict[str, str | None]]]:
    """Files without any fault for the roster that ``rosters.clean`` gives."""
    items = [dict(row) for row in LINE_ITEMS]
    results = [dict(row) for row in RESULTS]
    categories = [dict(row) for row in CATEGORIES]
    files: dict[str, Iterable[Row]] = {
        "resources": RESOURCES, "courseResources": COURSE_RESOURCES, "classResources": CLASS_RESOURCES,
        "categories": categories, "lineItems": items, "results": results,
    }  # fmt: skip
    if version == "1.1":
        for item in items:
            item["gradingPeriodSourcedId"] = "t1"
    else:
        categories[0]["weight"] = "30"
        for item in items:
            item |= {"academicSessionSourcedId": "t1", "schoolSourcedId": "s1"}
        results = [result | RESULTS_12[result["sourcedId"]] for result in results]
        files["results"] = results
        files |= {
            "userResources": USER_RESOURCES, "scoreScales": SCALES, "lineItemScoreScales": ITEM_SCALES,
            "lineItemLearningObjectiveIds": ITEM_OBJECTIVES, "resultScoreScales": RESULT_SCALES,
            "resultLearningObjectiveIds": RESULT_OBJECTIVES,
        }  # fmt: skip
    return {file: [dict(row) for row in rows] for file, rows in files.items()}


def links(
    frames: Mapping[str, pl.DataFrame], raw: Callable[[str, Version, Iterable[Row]], pl.DataFrame]
) -> dict[str, pl.DataFrame]:
    """The files of links and objectives of canonical frames, as RAW frames of 1.2."""
    found = {}
    for entity in (e for e in CATALOGUE.entities if e.name in frames):
        for field in fed(entity):
            component = CATALOGUE[field.component or ""]
            if entity.name == "users" and field.name != "resources":
                continue
            near = owner(component).csv_name or ""
            rows = []
            for key, value in frames[entity.name].select("key", field.name).iter_rows():
                for part in [] if value is None else value if field.many else [value]:
                    for cells in _cells(field.target, part):
                        rows.append({"sourcedId": f"{component.name}-{len(rows)}", near: key, **cells})
            if rows:
                found[component.name] = raw(component.name, "1.2", rows)
    return found


def _cells(target: str | None, part: Any) -> list[dict[str, str | None]]:
    if target is not None:
        return [{f"{CATALOGUE[target].singular}SourcedId": part}]
    prefix = "urn:uuid:" if part["source"] == "case" else ""
    if "learningObjectiveIds" in part:
        return [{"source": part["source"], "learningObjectiveId": prefix + one} for one in part["learningObjectiveIds"]]
    return [
        {"source": part["source"], "learningObjectiveId": prefix + one["learningObjectiveId"],
         "score": None if one["score"] is None else str(one["score"]), "textScore": one["textScore"]}
        for one in part["learningObjectiveResults"]
    ]  # fmt: skip
