"""The rows of a component file as they came, kept by the object in which they nest: roles of users, links of classes.

A file of changes names rows by their sourcedIds. What an object is then follows from all its rows, changed ones and
others, by the same chain that reads whole files; so the others are kept as they came, as JSON, and put beside the
changed ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Version
from transforms.hashing import content_hash
from transforms.marks import as_list
from transforms.near import near
from transforms.sheet import is_owner, no_keys
from transforms.validate.identifiers import trimmed

#: Columns of kept rows: the object's key, and a JSON list of its rows.
KEPT = {"key": pl.String, "rows": pl.String}
#: Rows that were kept have no lines any more; these tell them apart on their way through the chain.
FIRST_LINE = 1 << 31


def columns(component: Entity, version: Version) -> tuple[Field, ...]:
    """What is kept of a row beside the key of its object."""
    return tuple(
        f for f in component.csv_columns(version)
        if f.stored and not is_owner(f) and (f.name == "sourcedId" or f.name not in BASE_NAMES)
    )  # fmt: skip


def owner_column(component: Entity) -> str:
    """The CSV column that names the object in which a row nests."""
    return next(f.csv_name for f in component.fields if is_owner(f) and f.target == component.component_of) or ""


def owners(component: Entity, raw: pl.DataFrame) -> pl.Series:
    """The keys of the objects that RAW rows name, each once."""
    name = owner_column(component)
    if name not in raw.columns:
        return no_keys()
    return trimmed(raw[name]).drop_nulls().unique().rename("key")


def rows_of(component: Entity, version: Version, raw: pl.DataFrame) -> pl.DataFrame:
    """RAW rows with the key of their object (key), and their own columns beside it: all of them, in one order."""
    owner, present = owner_column(component), set(raw.columns)
    names = [f.csv_name or "" for f in columns(component, version)]
    if not {owner, "sourcedId"} <= present:
        return pl.DataFrame(schema=dict.fromkeys(["key", *names], pl.String))
    values = (
        pl.when(pl.col(n) != "").then(pl.col(n)).alias(n) if n in present else pl.lit(None, pl.String).alias(n)
        for n in names
    )
    return raw.select(trimmed(raw[owner]).alias("key"), *values).drop_nulls(["key", "sourcedId"])


def packed(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``rows_of`` by their objects (KEPT), in the order of their sourcedIds."""
    names = [name for name in rows.columns if name != "key"]
    # Members that are null say nothing; a quote inside of a text is escaped, so that this meets no text.
    text = pl.struct(names).struct.json_encode().str.replace_all(r',"[A-Za-z]+":null', "")
    ordered = rows.sort("key", "sourcedId").select("key", rows=text)
    if ordered["key"].n_unique() == ordered.height:  # one row of each object
        return ordered.with_columns(pl.format("[{}]", "rows").alias("rows"))
    several = pl.col("key").is_duplicated()
    joined = ordered.filter(several).group_by("key", maintain_order=True).agg(pl.col("rows").str.join(","))
    return pl.concat([ordered.filter(~several), joined]).with_columns(pl.format("[{}]", "rows").alias("rows"))


def unpacked(component: Entity, version: Version, kept: pl.DataFrame) -> pl.DataFrame:
    """Kept rows as a RAW frame of a file of changes, in which all of them are active."""
    names = [f.csv_name or "" for f in columns(component, version)]
    row = pl.Struct(dict.fromkeys(names, pl.String))
    lists = kept.select(pl.col("key").alias(owner_column(component)), row=pl.col("rows").str.json_decode(pl.List(row)))
    rows = lists.explode("row").drop_nulls("row").unnest("row")
    line = pl.int_range(FIRST_LINE, FIRST_LINE + pl.len(), dtype=pl.UInt32)
    return rows.with_columns(line=line, status=pl.lit("active"))


def beside(component: Entity, version: Version, raw: pl.DataFrame | None, kept: pl.DataFrame) -> pl.DataFrame:
    """RAW rows of changes and, of the objects of ``kept``, the rows that they do not name."""
    others = unpacked(component, version, kept)
    if raw is None:
        return others
    if "sourcedId" in raw.columns:
        others = others.filter(~trimmed(others["sourcedId"]).is_in(as_list(trimmed(raw["sourcedId"]).drop_nulls())))
    return pl.concat([raw, others], how="diagonal_relaxed")


def named(component: Entity, version: Version, kept: pl.DataFrame) -> dict[str, pl.Series]:
    """The keys to which kept rows refer, beside their objects', by entity."""
    rows = unpacked(component, version, kept)
    found: dict[str, pl.Series] = {}
    for field in columns(component, version):
        target = field.target or ""
        if field.kind is Kind.REF and target in CATALOGUE and CATALOGUE[target].component_of is None:
            keys = rows[field.csv_name or ""].drop_nulls()
            found[target] = pl.concat([keys, trimmed(keys)]).unique().rename("key")
    return found


def without_lines(issues: pl.DataFrame) -> pl.DataFrame:
    """Findings; those about kept rows have no line."""
    return issues.with_columns(line=pl.when(pl.col("line") < FIRST_LINE).then("line"))


def marks(keys: pl.Series, kept: Mapping[str, pl.DataFrame]) -> pl.Series:
    """A hash (UInt64) of all rows of each of ``keys``; 0 for none. ``kept``: ``rows_of`` by file."""
    total = pl.repeat(0, keys.len(), dtype=pl.UInt64, eager=True)
    for name in sorted(kept):
        rows = near(kept[name], keys)
        names = [column for column in rows.columns if column != "key"]
        row = content_hash(rows.select(pl.col(names).name.prefix(f"{name}.")), [f"{name}.{each}" for each in names])
        of_owner = rows.select("key", row.alias("mark")).group_by("key").agg(pl.col("mark").bitwise_xor())
        found = keys.rename("key").to_frame().join(of_owner, on="key", how="left", maintain_order="left")["mark"]
        total ^= found.fill_null(0)
    return total
