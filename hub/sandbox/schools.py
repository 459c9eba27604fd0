"""The district, its schools and its calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import polars as pl

from hub.sandbox.identifiers import make_ids

Level = Literal["elementary", "middle", "high"]
LEVELS: tuple[Level, ...] = ("elementary", "middle", "high")
GRADES = ("KG", *(f"{g:02d}" for g in range(1, 13)))
_FIRST_GRADE = {"elementary": 0, "middle": 6, "high": 9}
_LAST_GRADE = {"elementary": 5, "middle": 8, "high": 12}
_PUPILS = {"elementary": 600, "middle": 900, "high": 1500}
_TITLES = {"elementary": "Elementary School", "middle": "Middle School", "high": "High School"}
_FIRST_WORDS = (
    "Cedar", "Willow", "Maple", "Juniper", "Aspen", "Birch", "Hawthorn", "Sycamore", "Laurel", "Magnolia", "Alder",
    "Linden", "Poplar", "Hemlock", "Chestnut", "Walnut", "Eagle", "Heron", "Falcon", "Otter", "Fox", "Bison", "Elk",
    "Raven", "Osprey", "Kestrel", "Copper", "Granite", "Silver", "Amber", "Slate", "Sandstone", "Piñon", "Saguaro",
)  # fmt: skip
_SECOND_WORDS = (
    "Ridge", "Creek", "Valley", "Grove", "Hollow", "Springs", "Meadow", "Point", "Falls", "Crossing", "Harbor",
    "Heights", "Canyon", "Prairie", "Bluff", "Glen", "Park", "Lake", "Mesa", "Hills", "Bend", "Landing", "Summit",
    "Orchard", "Vista",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class School:
    """One school. ``index`` is its place in ``District.schools``."""

    index: int
    sourced_id: str
    name: str
    level: Level

    @property
    def grades(self) -> range:
        """The grades taught, as places in ``GRADES``."""
        return range(_FIRST_GRADE[self.level], _LAST_GRADE[self.level] + 1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The school year: ``sessions`` as the CSV file has them, and the terms that classes run in."""

    sessions: pl.DataFrame
    year_id: str
    term_ids: tuple[str, ...]
    term_dates: tuple[tuple[str, str], ...]  # begin inclusive, end exclusive


def district_name(seed: int) -> str:
    """A name for district ``seed``."""
    rng = np.random.default_rng([seed, 1])
    return f"{rng.choice(_FIRST_WORDS)} {rng.choice(_SECOND_WORDS)} Unified School District"


def domain(name: str) -> str:
    """The district's mail domain, below the reserved top-level domain ``example``."""
    words = [w for w in name.lower().split() if w not in {"unified", "school", "district"}]
    letters = "".join(c for c in "".join(words) if c.isascii() and c.isalnum())
    return f"{letters or 'district'}.example"


def school_counts(students: int) -> dict[Level, int]:
    """How many schools of each level. Two elementary schools at least, so that somebody can move."""
    share = {level: (_LAST_GRADE[level] - _FIRST_GRADE[level] + 1) / len(GRADES) for level in LEVELS}
    counts: dict[Level, int] = {level: max(1, round(students * share[level] / _PUPILS[level])) for level in LEVELS}
    counts["elementary"] = max(2, counts["elementary"])
    return counts


def build_schools(rng: np.random.Generator, students: int, seed: int) -> tuple[str, tuple[School, ...]]:
    """The district's sourcedId and its schools, levels interleaved: an elementary and a middle school come first."""
    counts = school_counts(students)
    levels = [level for i in range(max(counts.values())) for level in LEVELS if i < counts[level]]
    places = [f"{a} {b}" for a in _FIRST_WORDS for b in _SECOND_WORDS]
    order = rng.permutation(len(places))
    names = []
    for i, level in enumerate(levels):
        lap, place = divmod(i, len(places))  # a very large district numbers its further schools
        names.append(f"{places[order[place]]} {_TITLES[level]}{f' No. {lap + 1}' if lap else ''}")
    ids = make_ids(rng, "orgs", len(levels) + 1, seed).to_list()
    return ids[0], tuple(School(i, *row) for i, row in enumerate(zip(ids[1:], names, levels, strict=True)))


def orgs_frame(district_id: str, name: str, schools: tuple[School, ...]) -> pl.DataFrame:
    """The rows of orgs.csv: the district first."""
    return pl.DataFrame(
        {
            "sourcedId": [district_id, *(s.sourced_id for s in schools)],
            "name": [name, *(s.name for s in schools)],
            "type": ["district", *("school" for _ in schools)],
            "identifier": ["9900000", *(f"99{s.index + 1:05d}" for s in schools)],
            "parentSourcedId": [None, *(district_id for _ in schools)],
        },
        schema_overrides={"parentSourcedId": pl.String},
    )


def build_calendar(rng: np.random.Generator, school_year: int, seed: int) -> Calendar:
    """The school year that ends in ``school_year``: semesters with quarters, or three terms with halves, by seed."""
    begin, end = date(school_year - 1, 8, 17), date(school_year, 6, 12)
    parts, kind = (2, "semester") if seed % 2 == 0 else (3, "term")
    ids = list(make_ids(rng, "academicSessions", 1 + 3 * parts, seed))
    rows = [(ids[0], f"School year {school_year - 1}-{school_year}", "schoolYear", begin, end, None)]
    term_dates = []
    days = (end - begin).days // (2 * parts)
    for part in range(parts):
        first = begin + timedelta(days=2 * part * days)
        middle = first + timedelta(days=days)
        last = end if part == parts - 1 else middle + timedelta(days=days)
        term = ids[1 + 3 * part]
        rows.append((term, f"{kind.title()} {part + 1}", kind, first, last, ids[0]))
        for half, (a, b) in enumerate(((first, middle), (middle, last))):
            rows.append(
                (ids[2 + 3 * part + half], f"Marking period {2 * part + half + 1}", "gradingPeriod", a, b, term)
            )
        term_dates.append((first.isoformat(), last.isoformat()))
    columns = ["sourcedId", "title", "type", "startDate", "endDate", "parentSourcedId"]
    sessions = pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        pl.col("startDate", "endDate").cast(pl.String), schoolYear=pl.lit(str(school_year))
    )
    terms = tuple(ids[1 + 3 * part] for part in range(parts))
    return Calendar(sessions, ids[0], terms, tuple(term_dates))
