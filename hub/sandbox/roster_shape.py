"""The shape that rosterbench's records have, and the cases that they are tagged with."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hub.sandbox.drawing import chance
from transforms.matching.people import PERSON

CASES = (
    "twin", "sibling", "cousin", "1 January", "nickname", "typo in first name", "typo in last name", "hyphen",
    "new last name", "birth date slip", "names swapped", "moved", "transfer", "both active", "two sources", "migration",
    "gap", "wrong identifier", "identifier used again", "shared e-mail", "staff and parent", "placeholder",
    "no birth date",
)  # fmt: skip
_STREETS = (
    "Oak", "Maple", "Cedar", "Pine", "Elm", "Church", "Mill", "Park", "Lake", "Hill", "River", "Spring", "Ridge",
    "Meadow", "Sunset", "Willow", "Main", "High", "School", "Forest", "Chestnut", "Walnut", "Highland", "Valley",
    "Franklin", "Lincoln", "Jackson", "Madison", "Monroe", "Center",
    "Union", "Pleasant", "Cherry", "Dogwood", "Magnolia",
)  # fmt: skip
_WAYS = ("Street", "Avenue", "Road", "Drive", "Lane", "Court")
TODAY = date(2026, 10, 1)
_GRADES = ("KG", *(f"{n:02}" for n in range(1, 13)))


def case(name: str) -> int:
    """The bit of a case."""
    return 1 << CASES.index(name)


class Flags:
    """Cases of many records."""

    def __init__(self, count: int) -> None:
        self.bits: NDArray[np.int64] = np.zeros(count, np.int64)

    def add(self, name: str, rows: NDArray[np.bool_]) -> Flags:
        """Tag the records where ``rows`` is true."""
        self.bits[rows] |= case(name)
        return self


def finished(rng: np.random.Generator, made: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``made`` in random order as PERSON, and the truth about it."""
    made = made[rng.permutation(made.height)].with_columns(rid=(pl.row_index() + 1).cast(pl.UInt32))
    day = pl.col("begin").cast(pl.Int32).cast(pl.Date)
    # The grade of the year that began last before the record's end, or before now: a school knows it without a date.
    last = pl.when(pl.col("end") >= 0).then(pl.col("end")).otherwise(pl.lit(TODAY).to_physical())
    last = (last.cast(pl.Int32) - 200).cast(pl.Date).dt.year()
    years = (last - pl.col("cohort")).clip(5, 17) - 5
    is_student = pl.col("kind") == "student"
    codes = pl.concat_list(
        pl.struct(type=pl.lit("state"), identifier=pl.col("state").cast(pl.String)),
    )
    people = made.select(
        "rid",
        ("sis" + pl.col("source").cast(pl.String)).alias("source"),
        "kind", "given", "middle", "family",
        pl.lit(None, pl.String).alias("suffix"), pl.lit(None, pl.String).alias("preferred"),
        pl.col("birth").cast(pl.Int32).cast(pl.Date).alias("birth_date"),
        pl.col("sex").replace_strict({0: "F", 1: "M"}, default=None, return_dtype=pl.String),
        "email", "phone", pl.lit(None, pl.String).alias("username"),
        pl.when(pl.col("state") >= 0).then(codes).alias("ids"),
        pl.when(pl.col("school").is_not_null()).then(pl.concat_list(pl.col("school").cast(pl.UInt32))).alias("schools"),
        pl.when(is_student & pl.col("cohort").is_not_null())
        .then(years.replace_strict(dict(enumerate(_GRADES)), return_dtype=pl.String, default=None)).alias("grade"),
        "street", pl.col("postcode").cast(pl.String),
        pl.lit(None, pl.List(pl.UInt32)).alias("guardians"),
        day.alias("begin"), pl.when(pl.col("end") >= 0).then(pl.col("end").cast(pl.Int32).cast(pl.Date)).alias("end"),
        "active", pl.lit(value=False).alias("no_match"),
    )  # fmt: skip
    truth = made.select("rid", "person", "twins", "origin", pl.col("cases").cast(pl.UInt32))
    return people.cast(PERSON), truth


def streets_of(rng: np.random.Generator, count: int) -> pl.Series:
    """Addresses."""
    street, way = (pl.Series(values).gather(rng.integers(0, len(values), count)) for values in (_STREETS, _WAYS))
    number = pl.Series(rng.integers(1, 2000, count)).cast(pl.String)
    units = pl.Series(rng.integers(1, 40, count)).cast(pl.String)
    plain = number + " " + street + " " + way
    return (plain + " Apt " + units).zip_with(pl.Series(chance(rng, count, 0.2)), plain)
