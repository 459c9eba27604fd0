"""Resources and gradebooks of a district: books of courses, line items of some classes, results of who sits there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hub.sandbox.drawing import BLANK, Ints, chance, maybe
from hub.sandbox.identifiers import guids, make_ids
from hub.sandbox.people import People, Place
from hub.sandbox.schedule import Schedule
from hub.sandbox.schools import Calendar
from transforms.catalogue import Version

#: Share of the classes that keep a gradebook, and of these that grade by letters.
_GRADED, _LETTERS = 0.34, 0.4
#: Title, weight in percent, title of one line item, its highest score.
_CATEGORIES = (
    ("Homework", "20", "Homework", 10), ("Quizzes", "20", "Quiz", 20), ("Tests", "30", "Test", 100),
    ("Projects", "20", "Project", 50), ("Participation", "10", "Participation", 5),
)  # fmt: skip
_SCALE = "{90-100:A},{80-89:B},{70-79:C},{60-69:D},{0-59:F}"
_STEPS, _NAMES = np.array([60, 70, 80, 90]), pl.Series(["F", "D", "C", "B", "A"])
_STATUS = pl.Series(["fully graded", "partially graded", "submitted", "not submitted", "exempt"])
_STATUS_SHARES = (0.9, 0.03, 0.03, 0.03, 0.01)
_SCORED = 2  # the first so many states have a score
_COMMENTS = pl.Series(["Well done", "Please see me", "Much better, keep going", "Show your work, step by step"])
_SUPPLEMENTS = ("Practice Sheets", "Reading Circle", "Lab Videos", "Word Games", "Map Room", "Piñata of Problems")
#: Room at the end of a term, so that what is due is due within it.
_LAST_DAYS = 21


@dataclass(frozen=True, slots=True)
class _Room:
    """What all parts of a gradebook look at. ``students``: sourcedIds by the index that seats use."""

    rng: np.random.Generator
    place: Place
    calendar: Calendar
    schedule: Schedule
    students: pl.Series
    version: Version

    def ids(self, kind: str, count: int) -> pl.Series:
        return make_ids(self.rng, kind, count, self.place.seed)


@dataclass(frozen=True, slots=True)
class _Items:
    """``frame``: lineItems.csv. The rest by line item: its class, highest score, last day, and its scale (-1: none)."""

    frame: pl.DataFrame
    of_class: Ints
    highest: Ints
    due: NDArray[np.datetime64]
    scale: Ints


def make_gradebook(
    rng: np.random.Generator, place: Place, calendar: Calendar, schedule: Schedule, students: People, version: Version
) -> dict[str, pl.DataFrame]:
    """The files of the Gradebook and Resources services, by name; some exist in 1.2 only."""
    room = _Room(rng, place, calendar, schedule, students.frame["sourcedId"], version)
    frames = _resources(room, students)
    frames["categories"] = pl.DataFrame(
        [row[:2] for row in _CATEGORIES], schema=["title", "weight"], orient="row"
    ).with_columns(room.ids("categories", len(_CATEGORIES)).alias("sourcedId"))
    graded = _some(rng, schedule.classes.height, _GRADED)
    lettered = graded[_some(rng, len(graded), _LETTERS)]
    frames["scoreScales"] = _scales(room, lettered)
    items = _line_items(room, graded, lettered, frames["categories"]["sourcedId"])
    frames["lineItems"] = items.frame
    scaled = np.flatnonzero(items.scale >= 0)
    frames["lineItemScoreScales"] = pl.DataFrame(
        {
            "sourcedId": room.ids("lineItemScoreScales", len(scaled)),
            "lineItemSourcedId": items.frame["sourcedId"].gather(scaled),
            "scoreScaleSourcedId": frames["scoreScales"]["sourcedId"].gather(items.scale[scaled]),
        }
    )
    frames["lineItemLearningObjectiveIds"] = objectives = _objectives(room, items)
    return frames | _results(room, items, frames["scoreScales"]["sourcedId"], objectives)


def _some(rng: np.random.Generator, count: int, share: float) -> Ints:
    """The places of a random ``share`` of ``count``, ascending; the first is always among them."""
    marks = chance(rng, count, share)
    marks[:1] = True
    return np.flatnonzero(marks)


def _resources(room: _Room, students: People) -> dict[str, pl.DataFrame]:
    """A book for each course, supplements for some classes, readers for some students."""
    courses, classes = room.schedule.courses, room.schedule.classes
    more = max(2, classes.height // 10)
    number = pl.Series(np.arange(more) + 1).cast(pl.String)
    ids = room.ids("resources", courses.height + more)
    books, extras = ids[: courses.height], ids[courses.height :]
    kinds = pl.Series(_SUPPLEMENTS).gather(room.rng.integers(0, len(_SUPPLEMENTS), more))
    resources = pl.DataFrame(
        {
            "sourcedId": ids,
            "vendorResourceId": pl.concat(["SB-" + courses["courseCode"], "SUP-" + number.str.zfill(5)]),
            "title": pl.concat([courses["title"] + ": Student Book", kinds + " " + number]),
            "roles": pl.concat([pl.repeat("student,teacher", courses.height, eager=True),
                                maybe(room.rng, pl.repeat("teacher", more, eager=True), 0.3)]),
            "importance": ["primary"] * courses.height + ["secondary"] * more,
            "vendorId": ["vnd-1001"] * courses.height + ["vnd-1002"] * more,
            "applicationId": "app-reader",
        }
    )  # fmt: skip
    some = _some(room.rng, classes.height, 0.4)
    readers = _some(room.rng, len(room.students), 0.02)
    return {
        "resources": resources,
        "courseResources": pl.DataFrame(
            {
                "sourcedId": room.ids("courseResources", courses.height), "title": courses["title"],
                "courseSourcedId": courses["sourcedId"], "resourceSourcedId": books,
            }
        ),
        "classResources": pl.DataFrame(
            {
                "sourcedId": room.ids("classResources", len(some)), "title": classes["title"].gather(some),
                "classSourcedId": classes["sourcedId"].gather(some),
                "resourceSourcedId": extras.gather(room.rng.integers(0, more, len(some))),
            }
        ),
        "userResources": pl.DataFrame(
            {
                "sourcedId": room.ids("userResources", len(readers)),
                "userSourcedId": room.students.gather(readers),
                "orgSourcedId": room.place.org_ids.gather(students.school[readers]),
                "resourceSourcedId": extras.gather(room.rng.integers(0, more, len(readers))),
            }
        ),
    }  # fmt: skip


def _scales(room: _Room, lettered: Ints) -> pl.DataFrame:
    classes = room.schedule.classes[lettered]
    return pl.DataFrame(
        {
            "sourcedId": room.ids("scoreScales", len(lettered)), "title": "Letter grades", "type": "letter",
            "orgSourcedId": classes["schoolSourcedId"], "courseSourcedId": classes["courseSourcedId"],
            "classSourcedId": classes["sourcedId"], "scoreScaleValue": _SCALE,
        }
    )  # fmt: skip


def _line_items(room: _Room, graded: Ints, lettered: Ints, categories: pl.Series) -> _Items:
    """Three to six line items for each class of ``graded``, spread over a term in which it is taught."""
    rng, classes = room.rng, room.schedule.classes
    counts = rng.integers(3, 7, len(graded))
    of_class = np.repeat(graded, counts)
    place = np.arange(len(of_class)) - np.repeat(counts.cumsum() - counts, counts)
    taught = room.schedule.class_term[of_class]
    term = np.where(taught >= 0, taught, rng.integers(0, len(room.calendar.term_ids), len(of_class)))
    begin, end = (np.array([dates[i] for dates in room.calendar.term_dates], "datetime64[D]")[term] for i in (0, 1))
    days = (end - begin).astype(np.int64) - _LAST_DAYS
    assign = begin + ((place + rng.random(len(place))) / np.repeat(counts, counts) * days).astype(np.int64)
    due = assign + rng.integers(0, 8, len(assign))
    kind = rng.integers(0, len(_CATEGORIES), len(of_class))
    highest = np.array([row[3] for row in _CATEGORIES])[kind]
    titles = pl.Series([row[2] for row in _CATEGORIES])
    bounded = pl.Series(chance(rng, len(kind), 0.95) | (room.version == "1.1"))  # 1.1 requires bounds
    frame = pl.DataFrame(
        {
            "sourcedId": room.ids("lineItems", len(of_class)),
            "title": titles.gather(kind) + " " + pl.Series(place + 1).cast(pl.String),
            "description": maybe(rng, pl.repeat("Due by the end of the lesson", len(kind), eager=True), 0.2),
            "assignDate": pl.Series(assign).cast(pl.String), "dueDate": pl.Series(due).cast(pl.String),
            "classSourcedId": classes["sourcedId"].gather(of_class),
            "categorySourcedId": categories.gather(kind),
            "resultValueMin": pl.repeat("0", len(kind), eager=True).zip_with(bounded, BLANK),
            "resultValueMax": pl.Series(highest).cast(pl.String).zip_with(bounded, BLANK),
            "schoolSourcedId": classes["schoolSourcedId"].gather(of_class),
        }
    ).with_columns(
        pl.Series(name, pl.Series(room.calendar.term_ids).gather(term))
        for name in ("gradingPeriodSourcedId", "academicSessionSourcedId")
    )  # fmt: skip
    scale_of = np.full(classes.height, -1)
    scale_of[lettered] = np.arange(len(lettered))
    return _Items(frame, of_class, highest, due, scale_of[of_class])


def _objectives(room: _Room, items: _Items) -> pl.DataFrame:
    """What some line items are to teach: CASE identifiers, or a district's own words."""
    some = _some(room.rng, items.frame.height, 0.2)
    case = pl.Series(chance(room.rng, len(some), 0.7) | (np.arange(len(some)) == 0))
    own = "OBJ." + pl.Series(room.rng.integers(1, 400, len(some))).cast(pl.String)
    return pl.DataFrame(
        {
            "sourcedId": room.ids("lineItemLearningObjectiveIds", len(some)),
            "lineItemSourcedId": items.frame["sourcedId"].gather(some),
            "source": pl.repeat("case", len(some), eager=True).zip_with(case, pl.Series(["unknown"])),
            "learningObjectiveId": ("urn:uuid:" + guids(room.rng, len(some))).zip_with(case, own),
        }
    )


def _results(room: _Room, items: _Items, scales: pl.Series, objectives: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """A result of nearly each student for each line item of the classes that they sit in."""
    rng, schedule = room.rng, room.schedule
    seats = pl.DataFrame({"class": schedule.seat_class, "student": schedule.seat_student})
    rows = pl.DataFrame({"class": items.of_class, "item": np.arange(len(items.of_class))})
    rows = rows.join(seats, on="class", maintain_order="left_right")
    rows = rows.filter(pl.Series(chance(rng, rows.height, 0.95)))
    item, count = rows["item"].to_numpy(), rows.height
    status = rng.choice(len(_STATUS), count, p=_STATUS_SHARES)
    share = np.clip(rng.normal(0.82, 0.14, count), 0, 1)
    scored = pl.Series(status < _SCORED)
    halves = np.round(share * items.highest[item] * 2) / 2
    score = pl.Series(halves).cast(pl.String).str.strip_suffix(".0")
    letter = _NAMES.gather(np.searchsorted(_STEPS, np.floor(halves / items.highest[item] * 100), side="right"))
    lettered = pl.Series((items.scale[item] >= 0) & (status == 0))
    results = pl.DataFrame(
        {
            "sourcedId": room.ids("results", count),
            "lineItemSourcedId": items.frame["sourcedId"].gather(item),
            "studentSourcedId": room.students.gather(rows["student"]),
            "scoreStatus": _STATUS.gather(status),
            "score": score.zip_with(scored, pl.Series(["0"]) if room.version == "1.1" else BLANK),
            "scoreDate": pl.Series(items.due[item] + rng.integers(0, 6, count)).cast(pl.String),
            "comment": maybe(rng, _COMMENTS.gather(rng.integers(0, len(_COMMENTS), count)), 0.05),
            "textScore": letter.zip_with(lettered, BLANK),
            "classSourcedId": items.frame["classSourcedId"].gather(item),
            "late": maybe(rng, pl.repeat("true", count, eager=True), 0.06),
            "missing": pl.Series([None, "true"], dtype=pl.String).gather((status == _SCORED + 1).astype(np.int64)),
        }
    )
    links = np.flatnonzero(lettered.to_numpy())
    return {
        "results": results,
        "resultScoreScales": pl.DataFrame(
            {
                "sourcedId": room.ids("resultScoreScales", len(links)),
                "resultSourcedId": results["sourcedId"].gather(links),
                "scoreScaleSourcedId": scales.gather(items.scale[item[links]]),
            }
        ),
        "resultLearningObjectiveIds": _reached(room, results.filter(scored), objectives, halves[scored.to_numpy()]),
    }


def _reached(room: _Room, results: pl.DataFrame, objectives: pl.DataFrame, score: NDArray[np.float64]) -> pl.DataFrame:
    """How far some students came with an objective of their line item, from 0 to 4 or in words."""
    rows = results.select(resultSourcedId="sourcedId", lineItemSourcedId="lineItemSourcedId", number=pl.Series(score))
    rows = rows.join(objectives.drop("sourcedId"), on="lineItemSourcedId", maintain_order="left")
    rows = rows[_some(room.rng, rows.height, 0.3)]
    in_words = pl.Series(chance(room.rng, rows.height, 0.3))
    steps = (rows["number"].floor() % 9 / 2).cast(pl.String).str.strip_suffix(".0")
    return rows.select(
        room.ids("resultLearningObjectiveIds", rows.height).alias("sourcedId"), "resultSourcedId", "source",
        "learningObjectiveId", score=steps.zip_with(~in_words, BLANK),
        textScore=pl.repeat("meets the standard", rows.height, eager=True).zip_with(in_words, BLANK),
    )  # fmt: skip
