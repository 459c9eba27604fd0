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

    ``statements``: the columns of STATEMENT and the canonical body columns, one for each source of a record, and any
    number of overrides. Empty lists are no values. The order of the rows does not matter.
    """
    entity = CATALOGUE[name]
    fields = body(entity)
    if not statements.height:
        return statements.select("rid", *(f.name for f in fields), provenance=pl.lit(None, pl.String))
    table = statements.with_columns(_without_empty(fields)).sort("rid", "rank", "source")
    by_rank = [f for f in fields if survivorship.preferences.get(f.name, Preference.PRIORITY) is Preference.PRIORITY]
    others = [f for f in fields if f not in by_rank]
    merged = _by_rank(table, by_rank, survivorship)
    if others:
        table = table.with_columns(filled=pl.sum_horizontal(pl.col(f.name).is_not_null() for f in fields))
        merged = merged.join(_compared(table, others, survivorship), on="rid", maintain_order="left")
    return _cleared(table, merged, fields).select("rid", *(f.name for f in fields), _provenance(fields))


def _without_empty(fields: Sequence[Field]) -> list[pl.Expr]:
    return [pl.when(pl.col(f.name).list.len() > 0).then(pl.col(f.name)).alias(f.name) for f in fields if f.many]


def _by_rank(table: pl.DataFrame, fields: Sequence[Field], survivorship: Survivorship) -> pl.DataFrame:
    """Fields of which the first source that has a value gives it: sources side by side, not record by record."""
    names = [f.name for f in fields]
    sources = table.filter(pl.col("rank") >= 0).select("source", "rank").unique().sort("rank", "source")["source"]
    wide = table.select("rid").unique(maintain_order=True)
    for place, source in enumerate(sources):
        said = table.filter((pl.col("source") == source) & (pl.col("rank") >= 0)).select("rid", *_at(names, place))
        wide = wide.join(said, on="rid", how="left", maintain_order="left")
    hand = table.filter(pl.col("rank") < 0)
    if hand.height:
        first = [pl.col(n).drop_nulls().first() for n in names]
        whose = [pl.col("source").filter(pl.col(n).is_not_null()).first().alias(_from_name(n)) for n in names]
        set_by_hand = hand.group_by("rid").agg(*first, *whose)
        wide = wide.join(set_by_hand, on="rid", how="left", maintain_order="left")
    chosen: list[pl.Expr] = []
    for f in fields:
        places = _places(sources.to_list(), survivorship.order.get(f.name, ()))
        values = [(pl.col(f"{place} {f.name}"), pl.lit(sources[place])) for place in places]
        if hand.height:
            values.insert(0, (pl.col(f.name), pl.col(_from_name(f.name))))
        chosen.append(pl.coalesce(value for value, _ in values).alias(f.name))
        chosen.append(
            pl.coalesce(pl.when(value.is_not_null()).then(whose) for value, whose in values).alias(_from(f))
        )  # fmt: skip
    return wide.select("rid", *chosen)


def _at(names: Sequence[str], place: int) -> list[pl.Expr]:
    return [pl.col(name).alias(f"{place} {name}") for name in names]


def _places(sources: Sequence[str], order: Sequence[str]) -> list[int]:
    """The sources, by their place, in the order of a field."""
    first = [sources.index(source) for source in order if source in sources]
    return [*first, *(place for place in range(len(sources)) if place not in first)]


def _compared(table: pl.DataFrame, fields: Sequence[Field], survivorship: Survivorship) -> pl.DataFrame:
    """Fields of which more than the rank of the sources decides: record by record."""
    chosen: list[pl.Expr] = []
    for f in fields:
        order, has = _order(f, survivorship), pl.col(f.name).is_not_null()
        chosen.append(pl.col(f.name).filter(has).sort_by(*_filtered(order, has)).first())
        chosen.append(pl.col("source").filter(has).sort_by(*_filtered(order, has)).first().alias(_from(f)))
    united = [f for f in fields if survivorship.preferences[f.name] is Preference.UNION and f.many]
    for f in united:
        chosen += _union(f, _order(f, survivorship), pl.col(f.name).is_not_null())
    merged = table.group_by("rid", maintain_order=True).agg(chosen)
    return merged.with_columns(
        pl.when(pl.col(f"overridden {f.name}") | pl.col(f.name).is_null())
        .then(pl.col(f.name)).otherwise(pl.col(f"all {f.name}")).alias(f.name)
        for f in united
    ).select("rid", *(column for f in fields for column in (f.name, _from(f))))  # fmt: skip


def _order(f: Field, survivorship: Survivorship) -> list[pl.Expr]:
    """What statements are ordered by for a field; an override goes first in any case."""
    override = (pl.col("rank") >= 0).cast(pl.Int8)
    rank: list[pl.Expr] = [pl.col("rank"), pl.col("source")]
    if named := survivorship.order.get(f.name):
        places = {source: place for place, source in enumerate(named)}
        first = pl.col("source").replace_strict(places, default=len(places), return_dtype=pl.Int32)
        rank = [first, *rank]
    match survivorship.preferences[f.name]:
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


def _union(f: Field, order: Sequence[pl.Expr], has: pl.Expr) -> list[pl.Expr]:
    """The items of all, each once, and whether an override says otherwise."""
    items = pl.col(f.name).filter(has).sort_by(*_filtered(order, has)).explode().unique(maintain_order=True)
    return [items.alias(f"all {f.name}"), ((pl.col("rank") < 0) & has).any().alias(f"overridden {f.name}")]


def _from(f: Field) -> str:
    return _from_name(f.name)


def _from_name(name: str) -> str:
    return f"source of {name}"


def _cleared(table: pl.DataFrame, merged: pl.DataFrame, fields: Sequence[Field]) -> pl.DataFrame:
    """Without the values of fields that overrides empty."""
    named = table.select("rid", "cleared").explode("cleared").drop_nulls("cleared")
    if not named.height:
        return merged
    merged = merged.join(named.group_by("rid").agg("cleared"), on="rid", how="left", maintain_order="left")
    kept = {f: ~pl.col("cleared").list.contains(f.name).fill_null(value=False) for f in fields}
    return merged.with_columns(
        pl.when(kept[f]).then(pl.col(column)).alias(column) for f in fields for column in (f.name, _from(f))
    )


def _provenance(fields: Sequence[Field]) -> pl.Expr:
    """Sources are ids: nothing in them needs escaping."""
    members = [pl.lit(f'"{f.name}":"') + pl.col(_from(f)) + '"' for f in fields]
    inner = pl.concat_str(members, separator=",", ignore_nulls=True)
    return pl.concat_str(pl.lit("{"), inner, pl.lit("}")).alias("provenance")
