"""JSON text made in columns: escaping and objects, without a Python call per row."""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

from transforms.marks import asked, certain, either, empty, few

#: Control characters must be escaped in JSON; DEL is escaped too, so that documents are printable.
_ESCAPES = {chr(c): f"\\u{c:04x}" for c in (*range(0x20), 0x7F)} | {
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r",
}  # fmt: skip
_FROM, _TO, _ESCAPING = list(_ESCAPES), list(_ESCAPES.values()), str.maketrans(_ESCAPES)
_NEEDS = r'["\\\x00-\x1f\x7f]'
_NEEDED, _REPLACED = pl.col("").str.contains(_NEEDS), pl.col("").str.replace_many(_FROM, _TO)
_BETWEEN = "\x1f"
_NEEDS_IN_LIST = r'["\\\x00-\x1e\x7f]'


def may_need_escaping(text: str) -> bool:
    """Whether a text may have characters that JSON strings have not; False is certain."""
    return '"' in text or "\\" in text or not text.isprintable()


def escaped(values: pl.Series) -> pl.Series:
    """String values as they stand between quotes in JSON."""
    if empty(values):
        return values
    needs = asked(values, _NEEDED)
    if not needs.any():
        return values
    return either(certain(needs), asked(values, _REPLACED), values).alias(values.name)


def joined_strings(lists: pl.Series) -> pl.Series:
    """The strings of each list as JSON strings, joined by commas; null for null and empty lists."""
    if few(lists):
        return pl.Series("text", [_joined(items) if items else None for items in lists.to_list()], dtype=pl.String)
    rows = lists.to_frame("list")
    made = rows.select_seq(text=_spelled(_JOINED), odd=_ODD)
    if not rows.height or not made["odd"][0]:
        return made["text"]
    safe = pl.col("list").list.eval(pl.element().str.replace_many(_FROM, _TO)).list.join(_BETWEEN)
    return rows.select_seq(text=_spelled(pl.when(_SOME).then(safe))).to_series()


def _joined(items: list[str | None]) -> str:
    return '"' + '","'.join(item.translate(_ESCAPING) for item in items if item is not None) + '"'


def _spelled(text: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit('"'), text.str.replace_all(_BETWEEN, '","', literal=True), pl.lit('"'))


_SOME = pl.col("list").list.len() > 0
_JOINED = pl.when(_SOME).then(pl.col("list").list.join(_BETWEEN))
_MARKS = _JOINED.str.count_matches(_BETWEEN, literal=True).sum()
_ITEMS = pl.col("list").list.drop_nulls().list.len().cast(pl.Int64)
#: Whether a text has something to escape, or what stands between texts.
_ODD = _JOINED.str.contains(_NEEDS_IN_LIST).any() | (pl.when(_SOME).then(_ITEMS - 1).sum() != _MARKS)


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
