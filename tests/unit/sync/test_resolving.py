"""Keys become the hub's ids the same way, whether Python looks a few of them up or the column engine joins them."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.sync.resolve import INDEX_SCHEMA, resolve
from transforms import marks
from transforms.canonical import schema
from transforms.catalogue import CATALOGUE

KEYS = st.sampled_from(["a", "b", "c", "nobody"])


@given(
    st.lists(st.none() | st.lists(KEYS, max_size=4), min_size=1, max_size=5),
    st.lists(st.integers(0, 2), min_size=3, max_size=3),
)
def test_lists_of_references(lists: list[list[str] | None], rids: list[int]) -> None:
    index = pl.DataFrame(
        [("a", rids[0], f"id-{rids[0]}"), ("b", rids[1], f"id-{rids[1]}"), ("c", rids[2], f"id-{rids[2]}")],
        schema=INDEX_SCHEMA, orient="row",
    )  # fmt: skip
    empty = {name: pl.Series([None] * len(lists), dtype=kind) for name, kind in schema("users").items()}
    frame = pl.DataFrame(empty | {"agents": pl.Series(lists, dtype=pl.List(pl.String))})
    indexes = {entity.name: index for entity in CATALOGUE.entities}
    few = resolve(CATALOGUE["users"], frame, indexes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks, "_FEW_VALUES", -1)
        many = resolve(CATALOGUE["users"], frame, indexes)
    for side in ("rids", "documents"):
        assert getattr(few, side).equals(getattr(many, side), null_equal=True)
        assert getattr(few, side).schema == getattr(many, side).schema
    known = dict(zip("abc", rids, strict=True))
    wanted = [list(dict.fromkeys(known[k] for k in keys or () if k in known)) or None for keys in lists]
    assert few.rids["agents"].to_list() == wanted
