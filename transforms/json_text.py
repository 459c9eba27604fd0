"""JSON text made in columns: escaping and objects, without a Python call per row."""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

#: Control characters must be escaped in JSON; DEL is escaped too, so that documents are printable.
_ESCAPES = {chr(c): f"\\u{c:04x}" for c in (*range(0x20), 0x7F)} | {
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r",
}  # fmt: skip
_NEEDS = r'["\\\x00-\x1f\x7f]'


def escaped(values: pl.Series, *, between: str | None = None) -> pl.Series:
    """String values as they stand between quotes in JSON. ``between`` is a control character to leave alone."""
    needs = values.str.contains(_NEEDS if between is None else _NEEDS.replace(r"\x1f", r"\x1e"))
    if not needs.any():
        return values
    table = {k: v for k, v in _ESCAPES.items() if k != between}
    value = pl.col(values.name)
    return (
        values.to_frame()
        .with_columns(needs=needs)
        .select(pl.when("needs").then(value.str.replace_many(list(table), list(table.values()))).otherwise(value))
        .to_series()
        .alias(values.name)
    )


def objects(columns: Iterable[pl.Series], names: Iterable[str]) -> pl.Series | None:
    """One JSON object per row with the non-null values as strings; null where all are null, None without columns.

    Members are sorted by name, so that the order of columns in a file does not matter.
    """
    pairs = sorted(zip(names, columns, strict=True), key=lambda pair: pair[0])
    if not pairs:
        return None
    members = pl.DataFrame(
        [pl.Series(f"m{i}", escaped(values), dtype=pl.String) for i, (_, values) in enumerate(pairs)]
    )
    texts = [pl.lit(f'{quoted(name)}:"') + pl.col(f"m{i}") + '"' for i, (name, _) in enumerate(pairs)]
    inner = pl.concat_str(texts, separator=",", ignore_nulls=True)
    filled = pl.any_horizontal(pl.all().is_not_null())
    return members.select(pl.when(filled).then("{" + inner + "}")).to_series().alias("metadata")


def quoted(text: str) -> str:
    """A JSON string literal."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
