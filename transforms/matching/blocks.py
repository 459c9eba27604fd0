"""Which records are compared at all: those that share a key of a block that is not too big."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.matching.columns import Columns, columns_of
from transforms.matching.few import Few, People
from transforms.matching.hashes import U64, once
from transforms.matching.kinds import KINDS
from transforms.matching.one import ALONE, entries

Rids = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint8]
#: Kinds whose pairs are put together at once: most pairs have several keys in common.
_MERGED = 6
KEYS = pl.Schema({"rid": pl.UInt32, "kind": pl.UInt8, "hash": pl.Int64})


_CAPS = np.array([kind.cap for kind in KINDS])


def keys(people: People | Columns, *, register: bool = False) -> pl.DataFrame:
    """The keys of normalised people, a row for each: rid, kind (place in ``KINDS``), hash; no row comes twice.

    ``register``: those kinds as well that are of use where nobody has relatives, as the policy ``REGISTER`` has it.

    Hashes are the same for every version of every library, so that an index of them may be kept.
    """
    columns = columns_of(people)
    few = columns.people
    if isinstance(few, Few) and few.height <= ALONE and not register:
        return pl.DataFrame(
            [(rid, *key) for row, rid in enumerate(few["rid"]) for key in entries(few, row)[0]], KEYS, orient="row"
        ).sort("kind", "rid", "hash")
    kinds, rids, hashes = [np.empty(0, np.uint8)], [np.empty(0, np.uint32)], [np.empty(0, np.uint64)]
    for number, rows, found in each_kind(columns, register=register):
        rid, hashed = _once(columns.rid[rows], found)
        kinds.append(np.full(len(rid), number, np.uint8))
        rids.append(rid)
        hashes.append(hashed)
    return pl.DataFrame(
        [
            pl.Series("rid", np.concatenate(rids)),
            pl.Series("kind", np.concatenate(kinds)),
            pl.Series("hash", np.concatenate(hashes).view(np.int64)),
        ]
    )


def _once(*columns: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Each row once, in order."""
    order = np.lexsort(columns[::-1])
    ordered = [column[order] for column in columns]
    new = _new(*ordered)
    return [column[new] for column in ordered]


def _new(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a row is not what the row before is."""
    new = np.ones(len(columns[0]), np.bool_)
    np.logical_or.reduce([column[1:] != column[:-1] for column in columns], out=new[1:])
    return new


def candidates(mine: pl.DataFrame, others: pl.DataFrame | None = None) -> pl.DataFrame:
    """Pairs that share a key: left < right, each once, in order.

    With ``others`` (keys of other records, all that have a hash of ``mine``) the pairs of ``mine`` with those as well;
    pairs of two ``others`` are not made. A rid that both name is one record. Blocks bigger than ``KINDS`` allows are
    left out.
    """
    parts = [mine] if others is None else [mine, others]
    rid, kinds, hashes = (np.concatenate([part[name].to_numpy() for part in parts]) for name in KEYS.names())
    kinds, hashes, rid = _once(kinds, hashes, rid)  # who is in both has its keys once
    starts = np.flatnonzero(_new(kinds, hashes))
    left, right = unpacked(once(_pairs(rid, starts, _CAPS[kinds[starts]])))
    if others is not None:
        own = np.unique(mine["rid"].to_numpy())
        keep = np.isin(left, own) | np.isin(right, own)
        left, right = left[keep], right[keep]
    return pl.DataFrame([pl.Series("left", left), pl.Series("right", right)])


def candidates_of(columns: Columns, *, register: bool = False) -> tuple[Rids, Rids]:
    """As ``candidates(keys(people))``, one kind after the other: rids of left and right."""
    rid = columns.rid
    found = [np.empty(0, np.uint64)]
    for kind, rows, hashes in each_kind(columns, register=register):
        found.append(in_blocks(rid[rows], hashes, KINDS[kind].cap))
        if len(found) == _MERGED:
            found = [once(np.concatenate(found))]
    return unpacked(once(np.concatenate(found)))


def in_blocks(rid: Rids, hashes: U64, cap: int) -> U64:
    """All pairs of different rids with one hash, packed as left × 2³² + right, for blocks of at most ``cap`` rows."""
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    return _pairs(rid[order], np.flatnonzero(_new(hashes)), cap)


def _pairs(rid: Rids, starts: Rows, caps: int | Rows) -> U64:
    """All pairs within blocks that begin at ``starts``, but for those that are bigger than their cap."""
    sizes = np.diff(np.append(starts, len(rid)))
    fits = (sizes > 1) & (sizes <= caps)
    starts, sizes = starts[fits], sizes[fits]
    found = [np.empty(0, np.uint64)]
    for size in np.unique(sizes).tolist():
        rows = rid[starts[sizes == size][:, None] + np.arange(size)]
        one, two = _triangle(size)
        low, high = np.minimum(rows[:, one], rows[:, two]).ravel(), np.maximum(rows[:, one], rows[:, two]).ravel()
        packed = (low.astype(np.uint64) << np.uint64(32)) | high
        found.append(packed[low != high])
    return np.concatenate(found)


@lru_cache(maxsize=max(kind.cap for kind in KINDS))
def _triangle(size: int) -> tuple[Rows, Rows]:
    one, two = np.triu_indices(size, 1)
    return one, two


def unpacked(packed: U64) -> tuple[Rids, Rids]:
    """Left and right of packed pairs."""
    return (packed >> np.uint64(32)).astype(np.uint32), (packed & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def each_kind(columns: Columns, *, register: bool) -> Iterator[tuple[int, Rows, U64]]:
    """Kind, rows and hashes of the keys of all matchable records."""
    for number, kind in enumerate(KINDS):
        if kind.register and not register:
            continue
        rows, found = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for hashes in kind.hashes(columns):
            rows.append(np.flatnonzero((hashes != 0) & columns.matchable))
            found.append(hashes[rows[-1]])
        yield number, np.concatenate(rows), np.concatenate(found)
