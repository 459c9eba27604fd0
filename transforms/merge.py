"""Survivorship: one record out of what several sources say of it, field by field, with the source of each value.

Pure. A *statement* is what one source says of one record, in canonical columns. An override is a statement too, of a
person in place of a source; it goes before all others, and may say that a field is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl

from transforms.canonical import body
from transforms.catalogue import CATALOGUE, Entity, Field

#: Columns of statements beside the canonical ones. ``rank``: ascending, the first goes first; negative for an override.
#: ``at``: when the source said this first, microseconds. ``cleared``: fields that an override empties.
STATEMENT = {
    "rid": pl.UInt32, "source": pl.String, "rank": pl.Int32, "at": pl.Int64, "cleared": pl.List(pl.String),
}  # fmt: skip


class Preference(StrEnum):
    """Which of several values of a field survives."""

    PRIORITY = "priority"  # that of the source which goes first
    FRESHNESS = "freshness"  # that of the statement which changed last
    COMPLETENESS = "completeness"  # that of the statement which has the most fields; of lists the longest
    UNION = "union"  # lists only: the items of all, those of the first source first


@dataclass(frozen=True, slots=True)
class Survivorship:
    """The preference for each field of an entity, and where they differ from the sources' own, the ranks for a field.

    ``order``: sources of a field in their order; those that it does not name come behind, by their rank.
    """

    preferences: Mapping[str, Preference] = field(default_factory=dict)
    order: Mapping[str, Sequence[str]] = field(default_factory=dict)


def lists(entity: Entity) -> frozenset[str]:
    """The fields for which ``Preference.UNION`` is possible."""
    return frozenset(f.name for f in body(entity) if f.many)


def merge(name: str, statements: pl.DataFrame, survivorship: Survivorship) -> pl.DataFrame:
    """One row per rid, ascending: rid, the canonical body columns, and ``provenance`` (a JSON object, field to source).

    ``statements``: the columns of STATEMENT and the canonical body columns. Empty lists are no values. The order of
    the rows does not matter.
    """
    entity = CATALOGUE[name]
    fields = body(entity)
    table = statements.with_columns(_without_empty(fields))
    table = table.with_columns(filled=pl.sum_horizontal(pl.col(f.name).is_not_null() for f in fields))
    table = table.sort("rid", "rank", "source")
    chosen: list[pl.Expr] = []
    for f in fields:
        order = _order(f, survivorship)
        has = pl.col(f.name).is_not_null()
        chosen.append(_value(f, order, has))
        chosen.append(pl.col("source").filter(has).sort_by(*_filtered(order, has)).first().alias(_from(f)))
    chosen.append(pl.col("cleared").explode().drop_nulls().unique().alias("cleared"))
    united = _united(fields, survivorship)
    for f in united:
        chosen += _union(f, _order(f, survivorship), pl.col(f.name).is_not_null())
    merged = _with_unions(table.group_by("rid", maintain_order=True).agg(chosen), united)
    merged = _cleared(merged, fields)
    return merged.select("rid", *(f.name for f in fields), _provenance(fields))


def _without_empty(fields: Sequence[Field]) -> list[pl.Expr]:
    return [pl.when(pl.col(f.name).list.len() > 0).then(pl.col(f.name)).alias(f.name) for f in fields if f.many]


def _order(f: Field, survivorship: Survivorship) -> list[pl.Expr]:
    """What statements are ordered by for a field; an override goes first in any case."""
    override = (pl.col("rank") >= 0).cast(pl.Int8)
    rank: list[pl.Expr] = [pl.col("rank"), pl.col("source")]
    if named := survivorship.order.get(f.name):
        places = {source: place for place, source in enumerate(named)}
        first = pl.col("source").replace_strict(places, default=len(places), return_dtype=pl.Int32)
        rank = [first, *rank]
    match survivorship.preferences.get(f.name, Preference.PRIORITY):
        case Preference.FRESHNESS:
            return [override, -pl.col("at"), *rank]
        case Preference.COMPLETENESS if f.many:
            return [override, -pl.col(f.name).list.len().cast(pl.Int64), *rank]
        case Preference.COMPLETENESS:
            return [override, -pl.col("filled").cast(pl.Int64), *rank]
        case _:
            return [override, *rank]


def _filtered(order: Sequence[pl.Expr], has: pl.Expr) -> list[pl.Expr]:
    return [expression.filter(has) for expression in order]


def _value(f: Field, order: Sequence[pl.Expr], has: pl.Expr) -> pl.Expr:
    return pl.col(f.name).filter(has).sort_by(*_filtered(order, has)).first().alias(f.name)


def _united(fields: Sequence[Field], survivorship: Survivorship) -> list[Field]:
    return [f for f in fields if f.many and survivorship.preferences.get(f.name) is Preference.UNION]


def _union(f: Field, order: Sequence[pl.Expr], has: pl.Expr) -> list[pl.Expr]:
    """The items of all, each once, and whether an override says otherwise."""
    items = pl.col(f.name).filter(has).sort_by(*_filtered(order, has)).explode().unique(maintain_order=True)
    return [items.alias(f"all {f.name}"), ((pl.col("rank") < 0) & has).any().alias(f"overridden {f.name}")]


def _with_unions(merged: pl.DataFrame, united: Sequence[Field]) -> pl.DataFrame:
    return merged.with_columns(
        pl.when(pl.col(f"overridden {f.name}") | pl.col(f.name).is_null())
        .then(f.name)
        .otherwise(f"all {f.name}")
        .alias(f.name)
        for f in united
    )


def _from(f: Field) -> str:
    return f"source of {f.name}"


def _cleared(merged: pl.DataFrame, fields: Sequence[Field]) -> pl.DataFrame:
    if not merged["cleared"].list.len().sum():
        return merged
    empty = [pl.col("cleared").list.contains(f.name) for f in fields]
    return merged.with_columns(
        pl.when(~is_empty).then(pl.col(column)).alias(column)
        for f, is_empty in zip(fields, empty, strict=True)
        for column in (f.name, _from(f))
    )


def _provenance(fields: Sequence[Field]) -> pl.Expr:
    """Sources are ids: nothing in them needs escaping."""
    members = [pl.lit(f'"{f.name}":"') + pl.col(_from(f)) + '"' for f in fields]
    inner = pl.concat_str(members, separator=",", ignore_nulls=True)
    return pl.concat_str(pl.lit("{"), inner, pl.lit("}")).alias("provenance")
