"""The Gradebook service of OneRoster 1.1 and 1.2, assessment results included.

Source: OneRoster 1.2 Gradebook information model and OpenAPI document (JSON names, cardinality), CSV binding 1.2.1 and
the 1.1 tables. Assessment objects have no CSV files and are new in 1.2.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from transforms.catalogue import vocabularies as voc
from transforms.catalogue.fields import ABSENT, BASE, METADATA, NEW_IN_12, R, links, ref, text
from transforms.catalogue.model import Entity, Field, Kind

number = partial(text, kind=Kind.FLOAT)
json_only: dict[str, Any] = {"csv_name": None, "rest11": ABSENT}
_FLAGS = ("inProgress", "incomplete", "late", "missing")


#: The sessions that work is done in; a school year is too long to be graded at once.
GRADED = ("gradingPeriod", "semester", "term")


def _scale(file: str | None) -> Field:
    return ref("scoreScale", target="scoreScales", rest11=ABSENT, component=file)


def _objectives(file: str | None, kind: Kind = Kind.OBJECTIVES) -> Field:
    return Field("learningObjectiveSet", kind, many=True, rest11=ABSENT, component=file)


CATEGORIES = Entity(
    "categories",
    "category",
    (*BASE, text("title", R), number("weight", note="in percent", **NEW_IN_12), METADATA),
    "categories",
    service="gradebook",
    code="i",
)

SCORE_SCALES = Entity(
    "scoreScales",
    "scoreScale",
    (
        *BASE,
        text("title", R, rest11=ABSENT),
        text("type", R, rest11=ABSENT),
        ref("org", csv_name="orgSourcedId", csv12=R, target="orgs", rest12=ABSENT, rest11=ABSENT, stored=False,
            note="CSV only: that of the class's school"),
        ref("course", csv_name="courseSourcedId", csv12=R, target="courses", rest11=ABSENT),
        ref("class", csv_name="classSourcedId", csv12=R, target="classes", rest12=R, rest11=ABSENT),
        text("scoreScaleValue", R, kind=Kind.SCALE_VALUE, many=True, rest11=ABSENT),
        METADATA,
    ),
    "scoreScales",
    service="gradebook",
    versions=("1.2",),
    code="j",
)  # fmt: skip

LINE_ITEMS = Entity(
    "lineItems",
    "lineItem",
    (
        *BASE,
        text("title", R),
        text("description"),
        text("assignDate", R, kind=Kind.DATETIME, note="in CSV a day: its first moment in UTC"),
        text("dueDate", R, kind=Kind.DATETIME, note="in CSV a day: its last second in UTC"),
        ref("class", rest12=R, rest11=R, csv_name="classSourcedId", csv12=R, csv11=R, target="classes"),
        ref("category", rest12=R, rest11=R, csv_name="categorySourcedId", csv12=R, csv11=R, target="categories"),
        ref("gradingPeriod", rest11=R, csv_name="gradingPeriodSourcedId", csv12=ABSENT, csv11=R,
            target="academicSessions", target_type=GRADED),
        ref("academicSession", rest11=ABSENT, csv_name="academicSessionSourcedId", csv12=R, csv11=ABSENT,
            target="academicSessions", target_type=GRADED),
        number("resultValueMin", rest11=R, csv11=R),
        number("resultValueMax", rest11=R, csv11=R),
        ref("school", rest12=R, rest11=ABSENT, csv_name="schoolSourcedId", csv12=R, csv11=ABSENT, target="orgs",
            target_type=("school",)),
        _scale("lineItemScoreScales"),
        _objectives("lineItemLearningObjectiveIds"),
        METADATA,
    ),
    "lineItems",
    service="gradebook",
    code="k",
)  # fmt: skip

RESULTS = Entity(
    "results",
    "result",
    (
        *BASE,
        ref("lineItem", rest12=R, rest11=R, csv_name="lineItemSourcedId", csv12=R, csv11=R, target="lineItems"),
        ref("student", rest12=R, rest11=R, csv_name="studentSourcedId", csv12=R, csv11=R, target="users"),
        text("scoreStatus", R, kind=Kind.ENUM, vocabulary=voc.SCORE_STATUS),
        number("score", rest11=R, csv11=R),
        text("scoreDate", R, kind=Kind.DATE),
        text("comment"),
        text("textScore", **NEW_IN_12),
        ref("class", csv_name="classSourcedId", target="classes", **NEW_IN_12),
        *(text(name, kind=Kind.BOOLEAN, **NEW_IN_12) for name in _FLAGS),
        _scale("resultScoreScales"),
        _objectives("resultLearningObjectiveIds", Kind.OBJECTIVE_RESULTS),
        METADATA,
    ),
    "results",
    service="gradebook",
    compact=True,
    code="l",
)  # fmt: skip

ASSESSMENT_LINE_ITEMS = Entity(
    "assessmentLineItems",
    "assessmentLineItem",
    (
        *BASE,
        text("title", R, **json_only),
        text("description", **json_only),
        ref("class", target="classes", rest11=ABSENT),
        ref("parentAssessmentLineItem", target="assessmentLineItems", rest11=ABSENT),
        _scale(None),
        number("resultValueMin", **json_only),
        number("resultValueMax", **json_only),
        _objectives(None),
        METADATA,
    ),
    "",
    service="gradebook",
    versions=("1.2",),
    code="m",
)

ASSESSMENT_RESULTS = Entity(
    "assessmentResults",
    "assessmentResult",
    (
        *BASE,
        ref("assessmentLineItem", target="assessmentLineItems", rest12=R, rest11=ABSENT),
        ref("student", target="users", rest12=R, rest11=ABSENT),
        number("score", **json_only),
        text("textScore", **json_only),
        text("scoreDate", R, kind=Kind.DATE, **json_only),
        _scale(None),
        number("scorePercentile", **json_only),
        text("scoreStatus", R, kind=Kind.ENUM, vocabulary=voc.SCORE_STATUS, **json_only),
        text("comment", **json_only),
        _objectives(None, Kind.OBJECTIVE_RESULTS),
        *(text(name, kind=Kind.BOOLEAN, **json_only) for name in _FLAGS),
        METADATA,
    ),
    "",
    service="gradebook",
    versions=("1.2",),
    code="n",
)

LINE_ITEM_SCORE_SCALES = links(
    "lineItemScoreScales", "lineItems", "lineItem", "scoreScales", "scoreScale", service="gradebook"
)
RESULT_SCORE_SCALES = links("resultScoreScales", "results", "result", "scoreScales", "scoreScale", service="gradebook")


def _objective_file(file: str, owner: str, owner_field: str, *more: Field) -> Entity:
    return Entity(
        file,
        file.removesuffix("s"),
        (
            *BASE,
            ref(owner_field, csv_name=f"{owner_field}SourcedId", target=owner, rest12=ABSENT, rest11=ABSENT, csv12=R),
            text("source", R, kind=Kind.ENUM, vocabulary=voc.OBJECTIVE_SOURCE, **NEW_IN_12),
            text("learningObjectiveId", R, note="a UUID where the source is case; in CSV urn:uuid:…", **NEW_IN_12),
            *more,
        ),
        file,
        service="gradebook",
        component_of=owner,
        versions=("1.2",),
    )


LINE_ITEM_OBJECTIVES = _objective_file("lineItemLearningObjectiveIds", "lineItems", "lineItem")
RESULT_OBJECTIVES = _objective_file(
    "resultLearningObjectiveIds", "results", "result", number("score", **NEW_IN_12), text("textScore", **NEW_IN_12)
)
