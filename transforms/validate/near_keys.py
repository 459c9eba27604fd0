"""SourcedIds that differ by case, spaces or leading zeros alone: one object that an export writes in two ways."""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import absent, as_list, beside, few, rows_of
from transforms.validate.hashed import repeats

ID_004 = declare(
    "ID-004", Severity.WARN, Action.REPORT,
    "A sourcedId that differs from another one by case, spaces or leading zeros alone",
    "If both are one object, write its sourcedId as before, as the cause shows it: spreadsheets drop leading zeros. "
    "The hub takes them for two objects and changes neither.",
    fields=("sourcedId",), phase=Phase.CROSS_SNAPSHOT,
)  # fmt: skip

_PLAIN = pl.col("key").str.replace_all(" ", "", literal=True).str.to_lowercase()
#: Keys as they are compared; one of zeros alone stays as it is.
_FOLDED = (
    pl.when(_PLAIN.str.starts_with("0")).then(_PLAIN.str.strip_chars_start("0").replace("", "0")).otherwise(_PLAIN)
)


def _all_differ(keys: list[str]) -> bool:
    """Whether no two are nearly equal. Of letters whose case is a matter of opinion it is not said."""
    if not "".join(keys).isascii():
        return False
    plain = (key.replace(" ", "").lower() for key in keys)
    return len({(key.lstrip("0") or "0") if key.startswith("0") else key for key in plain}) == len(keys)


def nearly_equal(rows: pl.DataFrame, held: pl.Series, entity: str) -> pl.DataFrame:
    """The rows (columns key, line, cause) whose key is nearly one that the store holds, or another row's.

    ``rows``: key and line of all rows of a file, ``held``: the keys that the store has from this source. Of two that
    the store holds, or of which it holds none, the first one by text is named.
    """
    given = rows_of(rows, ~absent(rows["key"]))
    others = held.filter(~held.is_in(as_list(given["key"]))) if held.len() else held
    both = pl.concat([given["key"], others])
    if few(both) and _all_differ(both.to_list()):
        return rows.clear().hstack([pl.Series("cause", [], dtype=pl.String)])
    folded = both.to_frame("key").select_seq(_FOLDED.alias("same")).to_series()
    # By hash first, which is cheap; a chance collision of two is told apart below.
    marks = folded.hash(0)
    again = pl.Series(repeats(marks))
    if not again.len():
        return rows.clear().hstack([pl.Series("cause", [], dtype=pl.String)])
    table = beside([both.alias("key"), folded]).filter(marks.is_in(as_list(again))).unique("key")
    table = table.with_columns(new=~pl.col("key").is_in(as_list(held)))
    table = table.sort("same", "new", "key", descending=[False, False, True])
    first = table.filter(pl.len().over("same") > 1).with_columns(known=pl.col("key").first().over("same"))
    near = first.filter(pl.col("key") != pl.col("known")).select("key", cause=f"{entity}:" + pl.col("known"))
    return given.join(near, on="key", how="inner", maintain_order="left").sort("key", "line")
