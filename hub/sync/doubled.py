"""Words of one source about several records of one person, beside each other as if several sources spoke. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from transforms.merge import Survivorship

#: Stands between a source and the number of its further words. Ids of sources and overrides do not have it.
_MARK = "#"


@dataclass(frozen=True)
class Group:
    """Records that are merged. ``ids``: rid and sourcedId; ``beside`` (PLACES): doubles of them.

    ``kept``: those of both of which what the run's source said stands.
    """

    ids: pl.DataFrame
    beside: pl.DataFrame
    kept: frozenset[int]

    @cached_property
    def named(self) -> pl.DataFrame:
        """Rid and the sourcedId under which its words are heard, of doubles too."""
        theirs = self.beside.join(self.ids.rename({"rid": "place"}), on="place", how="inner")
        return pl.concat([self.ids, theirs.select("rid", "sourcedId")])


def side_by_side(table: pl.DataFrame, beside: pl.DataFrame) -> pl.DataFrame:
    """Statements (rid, source, …) about doubles as statements about the records that speak of their people.

    A source's word about the oldest record goes first, as the source; the others are as if further sources said them,
    of the same rank.
    """
    if not beside.height:
        return table
    found = table.join(beside, on="rid", how="left", maintain_order="left").with_columns(
        home="rid", rid=pl.coalesce("place", "rid")
    )
    nth = pl.col("home").rank("ordinal").over("rid", "source").cast(pl.Int32) - 1
    number = pl.col("source") + _MARK + nth.cast(pl.String)
    return found.with_columns(source=pl.when(nth > 0).then(number).otherwise("source")).drop("home", "place")


def told_of(provenance: pl.Expr) -> pl.Expr:
    """Where values come from, by the sources alone."""
    return provenance.str.replace_all(_MARK + r'\d+"', '"')


def in_order(rules: Survivorship, sources: pl.Series) -> Survivorship:
    """The rules, where a source that goes first for a field does so with all that it says."""
    if not rules.order or not sources.str.contains(_MARK, literal=True).any():
        return rules
    known = sources.unique().sort()
    of = known.str.split(_MARK).list.first()
    order = {name: [each for one in named for each in known.filter(of == one)] for name, named in rules.order.items()}
    return replace(rules, order=order)
