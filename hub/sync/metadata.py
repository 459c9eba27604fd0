"""Single members of metadata that persons set: they lie over the merged object, of which all else is the sources'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import orjson
import polars as pl

from hub.store.statements import Override

METADATA = "metadata"
_BEFORE = f"{METADATA}."
#: How the provenance of values begins that persons set; the override's id follows.
OVERRIDE = "override:"


def member(field: str) -> str | None:
    """The member of the metadata that an override is of; None for one of a field."""
    return field.removeprefix(_BEFORE) if field.startswith(_BEFORE) else None


def with_members(merged: pl.DataFrame, set_by_hand: Sequence[Override]) -> pl.DataFrame:
    """Merged records with the members of metadata that overrides set or take out.

    ``merged`` has rid, and metadata and provenance as JSON texts, beside other columns.
    """
    by_rid: defaultdict[int, dict[str, Override]] = defaultdict(dict)
    for one in set_by_hand:
        name = member(one.field)
        if name is not None:
            by_rid[one.rid][name] = one
    if not by_rid or not merged.height:
        return merged
    rows = merged.select("rid", METADATA, "provenance").filter(pl.col("rid").is_in(list(by_rid)))
    made = [(rid, *_with(text, whose, by_rid[rid])) for rid, text, whose in rows.iter_rows()]
    schema = {"rid": pl.UInt32, "m": pl.String, "p": pl.String}
    found = merged.join(pl.DataFrame(made, schema=schema, orient="row"), on="rid", how="left", maintain_order="left")
    patched = pl.col("p").is_not_null()
    return found.with_columns(
        pl.when(patched).then("m").otherwise(METADATA).alias(METADATA),
        pl.when(patched).then("p").otherwise("provenance").alias("provenance"),
    ).drop("m", "p")


def _with(text: str | None, whose: str, members: dict[str, Override]) -> tuple[str | None, str]:
    metadata, provenance = orjson.loads(text or "{}"), orjson.loads(whose)
    for name, one in members.items():
        if one.value is None:
            metadata.pop(name, None)
            continue
        metadata[name] = one.value
        provenance[_BEFORE + name] = f"{OVERRIDE}{one.override_id}"
    if not metadata:
        provenance.pop(METADATA, None)
    return orjson.dumps(metadata).decode() if metadata else None, orjson.dumps(provenance).decode()
