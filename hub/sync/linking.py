"""Recognising an object of one source among the records of others, by its key or by fields that tell objects apart.

Deterministic: a value that two objects have on either side recognises nobody. Recognising people by likeness is another
matter (hub.sync.recognising).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from hub.store import columns
from hub.store.database import Transaction
from hub.sync.parties import PERSON, Parties
from transforms import issues
from transforms.catalogue import Entity
from transforms.marks import as_list
from transforms.sheet import findings
from transforms.validate.speaking import SRC_003

_FOUND = {"key": pl.String, "rid": pl.UInt32}


@dataclass(frozen=True, slots=True)
class Linked:
    """``found``: key and rid of objects that were recognised; ``issues``: of those that several records could be."""

    found: pl.DataFrame
    issues: pl.DataFrame


async def linked(
    tx: Transaction, parties: Parties, entity: Entity, created: pl.DataFrame, spoken: pl.Series,
    indexes: Mapping[str, pl.DataFrame], same: pl.DataFrame | None = None,
) -> Linked:  # fmt: skip
    """Which rows of ``created`` (canonical) are objects that the store has from other sources.

    ``spoken``: rids of which the run's source speaks already; they are nobody else. ``indexes``, by entity: key and rid
    of what the rows may refer to. ``same``: key and rid of what sources with the same keys speak of, where that is
    known; without it, it is asked for.
    """
    found = pl.DataFrame(schema=_FOUND)
    doubtful: list[pl.DataFrame] = []
    if parties.same_keys:
        known = same
        if known is None:
            others = [s.source_id for s in parties.same_keys]
            known = await columns.keys_of(tx, others, entity.name, created["key"].to_list())
        known = known.filter(~pl.col("rid").is_in(as_list(spoken)))
        found = created.select("key").join(known, on="key", how="inner").select(*_FOUND)
    fields = [name for name in parties.links(entity) if name != PERSON]
    if fields and entity.name == "enrollments":
        left = created.filter(~pl.col("key").is_in(as_list(found["key"])))
        records = await columns.small(tx, entity, ("class_rid", "user_rid"), ("role",))
        records = records.filter((pl.col("active") == 1) & ~pl.col("rid").is_in(as_list(spoken)))
        more, twice = _by_value(_seats(left, indexes), records.select("rid", value=_seat("class_rid", "user_rid")))
        found = pl.concat([found, more])
        doubtful.append(_doubtful(entity, fields[0], left.filter(pl.col("key").is_in(as_list(twice)))))
    elif fields and found.height < created.height:
        names = [entity[name].table_column for name in fields]
        records = (await columns.small(tx, entity, (), tuple(names))).filter(pl.col("active") == 1)
        records = records.filter(~pl.col("rid").is_in(as_list(spoken)))
        for field, column in zip(fields, names, strict=True):
            left = created.filter(~pl.col("key").is_in(as_list(found["key"])))
            records = records.filter(~pl.col("rid").is_in(as_list(found["rid"])))
            more, twice = _by_value(
                left.select("key", value=_comparable(field)), records.select("rid", value=_comparable(column))
            )
            found = pl.concat([found, more])
            doubtful.append(_doubtful(entity, field, left.filter(pl.col("key").is_in(as_list(twice)))))
    return Linked(_once(found), issues.collect(doubtful))


def _seats(rows: pl.DataFrame, indexes: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Key and seat of enrollments: whose in which class in which role."""
    for name, target in (("class", "classes"), ("user", "users")):
        index = indexes[target].select(pl.col("key").alias(name), pl.col("rid").alias(f"{name}_rid"))
        rows = rows.join(index, on=name, how="left", maintain_order="left")
    return rows.select("key", value=_seat("class_rid", "user_rid"))


def _seat(*columns: str) -> pl.Expr:
    return pl.concat_str(*columns, "role", separator=" ")


def _comparable(column: str) -> pl.Expr:
    """Case and outer space tell nobody apart."""
    return pl.col(column).str.strip_chars().str.to_lowercase()


def _by_value(rows: pl.DataFrame, records: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Rows and records that have a value which no other has on their side; the keys of rows that several could be."""
    rows, records = (side.filter(pl.col("value").fill_null("") != "") for side in (rows, records))
    alone = rows.filter(pl.col("value").is_unique())
    single = records.filter(pl.col("value").is_unique())
    found = alone.join(single, on="value", how="inner").select(*_FOUND)
    known = rows.join(records.select("value").unique(), on="value", how="semi")
    return found, known.filter(~pl.col("key").is_in(as_list(found["key"])))["key"]


def _once(found: pl.DataFrame) -> pl.DataFrame:
    """Each record once: two keys of one source are two objects."""
    return found.unique("rid", keep="first", maintain_order=True).unique("key", keep="first", maintain_order=True)


def _doubtful(entity: Entity, field: str, rows: pl.DataFrame) -> pl.DataFrame:
    return findings(SRC_003, entity, rows.with_columns(cause=pl.lit(None, pl.String)), field)
