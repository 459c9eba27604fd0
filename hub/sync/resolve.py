"""From a source's keys to the hub's ids: every reference of a canonical frame becomes a rid and a sourcedId.

Frames in, frames out; only the ids of new records come from the clock and from chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from hub.sync import minting
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Kind
from transforms.lookup import lookup
from transforms.marks import beside, blank, empty, few, numbers, present, rows_of

#: key (String) -> rid (UInt32), sourcedId (String) of everything that may be referred to.
INDEX_SCHEMA = {"key": pl.String, "rid": pl.UInt32, "sourcedId": pl.String}

#: New records get their rids in this order: the index on an enrollment's class or a result's line item is appended to.
_LOAD_ORDER = {"enrollments": ["class", "key"], "results": ["lineItem", "key"]}


_NOTHING = pl.DataFrame(schema=INDEX_SCHEMA)
_TARGETS = frozenset({"orgs", "users"} | {f.target for e in CATALOGUE.entities for f in e.references})


@dataclass(frozen=True, slots=True)
class Resolved:
    """The same records twice: references as rids (for the table) and as sourcedIds (for the document)."""

    rids: pl.DataFrame
    documents: pl.DataFrame


def empty_index() -> pl.DataFrame:
    """An index of nothing."""
    return _NOTHING.clone()


def reference_targets(entity: Entity) -> list[Entity]:
    """The entities that records of an entity refer to, those of their roles among them."""
    named = {f.target for f in entity.references} | ({"orgs"} if "roles" in entity else set())
    return [CATALOGUE[n] for n in sorted(n for n in named if n) if CATALOGUE[n].component_of is None]


def by_id(*parts: pl.DataFrame) -> pl.DataFrame:
    """An index by sourcedId of records that are in one of ``parts`` (rid, sourcedId). CPU-bound for a large entity."""
    every = pl.concat(parts).unique("rid", maintain_order=True) if len(parts) > 1 else parts[0]
    return beside([every["sourcedId"].alias("key"), every["rid"], every["sourcedId"]])


def is_target(entity: Entity) -> bool:
    """Whether any record refers to records of this entity."""
    return entity.name in _TARGETS


def resolve(entity: Entity, frame: pl.DataFrame, indexes: dict[str, pl.DataFrame]) -> Resolved:
    """Replaces the source keys in all references of ``frame`` by what ``indexes`` says of the target entities.

    A key that no index knows becomes null; the pipeline has seen to it that there is none.
    """
    rids, documents = dict[str, pl.Series](), dict[str, pl.Series]()
    for field in entity.body:
        if field.name in BASE_NAMES:
            continue
        if field.kind is Kind.REF and field.target is not None:
            index = indexes[field.target]
            columns = _list(frame, field.name, index) if field.many else _single(frame, field.name, index)
        elif field.kind is Kind.COMPONENT and field.name == "roles":
            columns = _roles(frame, indexes["orgs"])
        else:
            continue
        rids[field.name], documents[field.name] = columns
    return Resolved(_with(frame, rids), _with(frame, documents))


def _with(frame: pl.DataFrame, columns: dict[str, pl.Series]) -> pl.DataFrame:
    """The frame with other columns in the place of some."""
    return beside([columns.get(own.name, own).alias(own.name) for own in frame.get_columns()])


def _single(frame: pl.DataFrame, name: str, index: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    if empty(frame[name]):
        return blank(frame.height, pl.Int32), blank(frame.height, pl.String)
    if index.height > frame.height or few(index["key"], frame[name]):
        places = lookup(index).places(frame[name])
        return index["rid"][places].cast(pl.Int32), index["sourcedId"][places]
    found = frame[name].to_frame("key").join(index, on="key", how="left", maintain_order="left")
    return found["rid"].cast(pl.Int32), found["sourcedId"]


def _list(frame: pl.DataFrame, name: str, index: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    if empty(frame[name]):
        return blank(frame.height, pl.List(pl.Int32)), blank(frame.height, pl.List(pl.String))
    # Items keep their order: the array column and the document's list stand side by side when a view trims them.
    if few(frame[name]):
        return _few_lists(frame[name].to_list(), index)
    rows = numbers(frame.height).alias("row")
    items = beside([rows, frame[name].alias("key")]).explode("key")
    found = items.join(index, on="key", how="inner", maintain_order="left")  # null is nobody's key
    found = found.unique(["row", "rid"], keep="first", maintain_order=True)  # two keys may be of one person
    grouped = found.group_by("row", maintain_order=True).agg(pl.col("rid").cast(pl.Int32), pl.col("sourcedId"))
    if grouped.height < frame.height:
        grouped = rows.to_frame().join(grouped, on="row", how="left", maintain_order="left")
    return grouped["rid"], grouped["sourcedId"]


def _few_lists(lists: list[list[str] | None], index: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    keys = pl.Series([key for keys in lists for key in keys or ()], dtype=pl.String)
    places = lookup(index).places(keys)
    found = zip(index["rid"][places].to_list(), index["sourcedId"][places].to_list(), strict=True)
    rows: list[dict[int, str]] = []
    for several in lists:
        row: dict[int, str] = {}
        for _, (rid, sourced_id) in zip(several or (), found, strict=False):
            if rid is not None:
                row.setdefault(rid, sourced_id)  # two keys may be of one person
        rows.append(row)
    return (
        pl.Series([list(row) or None for row in rows], dtype=pl.List(pl.Int32)),
        pl.Series([list(row.values()) or None for row in rows], dtype=pl.List(pl.String)),
    )


def _roles(frame: pl.DataFrame, orgs: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    numbered = beside([numbers(frame.height).alias("row"), frame["roles"]])
    items = numbered.explode("roles")
    items = rows_of(items, present(items["roles"])).unnest("roles")
    names = [c for c in items.columns if c != "row"]
    found = items.join(orgs.rename({"key": "org"}), on="org", how="left", maintain_order="left")
    orgs_by = {"rid": pl.col("rid").cast(pl.Int32), "sourcedId": pl.col("sourcedId")}
    structs = {
        target: pl.struct(org.alias("org") if n == "org" else pl.col(n) for n in names)
        for target, org in orgs_by.items()
    }
    grouped = found.group_by("row", maintain_order=True).agg(**structs)
    if grouped.height < frame.height:
        grouped = numbered[["row"]].join(grouped, on="row", how="left", maintain_order="left")
    return grouped["rid"], grouped["sourcedId"]


def numbered(entity: Entity, created: pl.DataFrame, first: int) -> pl.DataFrame:
    """New rows with the rids from ``first`` on, in the order in which they are loaded, and new sourcedIds."""
    ordered = created.sort(_LOAD_ORDER.get(entity.name, ["key"])) if created.height else created
    rids = pl.Series("rid", np.arange(first, first + ordered.height, dtype=np.uint32))
    return ordered.hstack([rids, minting.mint(ordered.height).alias("sourcedId")])
