"""Keys that are looked up stand where a join finds them."""

from __future__ import annotations

import gc

import numpy as np
import polars as pl
import pytest

from transforms import lookup as module
from transforms import marks
from transforms.lookup import Ascending, Lookup, lookup

KEYS = [f"u-{number}" for number in range(0, 3_000, 3)]
WANTED = ["u-0", "u-1", None, "u-2997", "", "u-2997", "U-0", "u-300"]


def joined(keys: list[str], wanted: list[str | None]) -> pl.Series:
    table = pl.DataFrame({"key": keys}).with_row_index("place")
    return pl.DataFrame({"key": wanted}).join(table, on="key", how="left", maintain_order="left")["place"]


@pytest.mark.parametrize("few", [marks._FEW_VALUES, -1])
@pytest.mark.parametrize("keys", [KEYS, KEYS[:1], []])
def test_places_are_those_of_a_join(keys: list[str], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_FEW_VALUES", few)
    found = Lookup(pl.Series(keys, dtype=pl.String)).places(pl.Series(WANTED))
    assert found.to_list() == (joined(keys, WANTED).to_list() if keys else [None] * len(WANTED))


def test_keys_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_FEW_VALUES", -1)
    made = Lookup(pl.Series(KEYS))
    hashes = pl.Series(WANTED).hash(0).to_numpy()
    monkeypatch.setattr(made, "_by_hash", (Ascending(np.sort(np.resize(hashes, len(KEYS)))), made._by_hash[1]))
    assert made.places(pl.Series(WANTED)).to_list() == joined(KEYS, WANTED).to_list()


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
@pytest.mark.parametrize("most", [2**64 - 1, 2**63, 5])
def test_hashes_are_found_where_a_search_by_halves_finds_them(size: int, most: int) -> None:
    drawn = np.random.default_rng(size)
    there = np.sort(drawn.integers(0, most, size, dtype=np.uint64, endpoint=True))
    wanted = np.concatenate([there, drawn.integers(0, most, 500, dtype=np.uint64, endpoint=True)])
    wanted = np.concatenate([wanted, np.array([0, 2**64 - 1], dtype=np.uint64)])
    at, found = Ascending(there).find(wanted)
    assert found.tolist() == np.isin(wanted, there).tolist()
    assert at[found].tolist() == np.searchsorted(there, wanted)[found].tolist()


def test_hashes_that_begin_alike_are_found_as_well() -> None:
    there = np.sort(np.concatenate([np.full(500, 7, np.uint64), np.arange(1_000, dtype=np.uint64) * np.uint64(2)]))
    wanted = np.arange(2_100, dtype=np.uint64)
    at, found = Ascending(there).find(wanted)
    assert found.tolist() == np.isin(wanted, there).tolist()
    assert at[found].tolist() == np.searchsorted(there, wanted)[found].tolist()


def test_a_lookup_lives_as_long_as_its_table() -> None:
    table = pl.DataFrame({"key": KEYS})
    assert lookup(table) is lookup(table)
    assert lookup(table["key"]) is not lookup(table)
    number = id(table)
    assert number in module._built
    del table
    gc.collect()
    assert number not in module._built
