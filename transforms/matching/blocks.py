"""Which records are compared at all: those that share a key of a block that is not too big."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.matching.columns import Columns, columns_of
from transforms.matching.few import People
from transforms.matching.hashes import MANY, U64, mixed, mixed_each, once

Rids = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint8]
#: Kinds whose pairs are put together at once: most pairs have several keys in common.
_MERGED = 6
KEYS = pl.Schema({"rid": pl.UInt32, "kind": pl.UInt8, "hash": pl.Int64})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of key, the size up to which its blocks are compared, and what it is made of: arrays of ``Columns``.

    Lists of arrays (tokens, nicknames) make a key in each combination. Kinds of ``register`` are made for small
    registers in which all may be spoilt; among families they find relatives.
    """

    name: str
    cap: int
    parts: tuple[str, ...]
    register: bool = False

    @property
    def seed(self) -> int:
        """Of its hashes."""
        return crc32(" ".join(self.parts).encode())

    def hashes(self, columns: Columns) -> Iterator[U64]:
        """The arrays of its hashes."""
        for arrays in product(*(_places(columns, part) for part in self.parts)):
            if all(array.any() for array in arrays):
                yield mixed(self.seed, *arrays)


def _places(columns: Columns, part: str) -> list[U64]:
    found: U64 | list[U64] = getattr(columns, part)
    return found if isinstance(found, list) else [found]


#: The place in this list is the ``kind`` of ``keys``: append, never reorder. Blocks bigger than their cap are left to
#: keys that say more; each broad kind has narrower ones beside it.
KINDS = (
    Kind("last token and birth date", 60, ("family_tokens", "born")),
    Kind("first name and birth date", 60, ("names", "born")),
    Kind("first name and last token", 12, ("names", "family_tokens")),
    Kind("last token, year, month and day in either order", 60, ("family_tokens", "year", "either")),
    Kind("beginnings of both names and year", 12, ("family_beginning", "first_beginning", "year")),
    Kind("middle name and birth date", 30, ("middle", "born")),
    Kind("home and birth date", 60, ("home", "born")),
    Kind("phone and first name", 60, ("names", "phone")),
    Kind("e-mail", 30, ("email",)),
    Kind("birth date, postcode and initial", 60, ("born", "postcode", "initial")),
    Kind("first name, last token and year", 30, ("names", "family_tokens", "year")),
    Kind("first name, last token, month and day", 30, ("names", "family_tokens", "month_day")),
    Kind("first name, last token and postcode", 30, ("names", "family_tokens", "postcode")),
    Kind("first name and home", 30, ("names", "home")),
    Kind("identifier", 30, ("ids",)),
    Kind("both names in either order, and year", 30, ("both_names", "year")),
    Kind("first name, last token and middle name", 30, ("names", "family_tokens", "middle")),
    Kind("initial, last token and postcode", 12, ("initial", "family_tokens", "postcode")),
    Kind("local part of the e-mail and initial", 12, ("local", "initial")),
    Kind("birth date", 6, ("born",), register=True),
    Kind("number of the house and postcode", 12, ("house", "postcode"), register=True),
    Kind("first name and postcode", 12, ("names", "postcode"), register=True),
    Kind("last token and number of the house", 12, ("family_tokens", "house"), register=True),
    Kind("beginning of the street, and number of the house", 12, ("street_beginning", "house"), register=True),
    Kind("last token", 6, ("family_tokens",), register=True),
    Kind("first name and year", 6, ("names", "year"), register=True),
    Kind("beginning of the street and postcode", 12, ("street_beginning", "postcode"), register=True),
)
_CAPS = np.array([kind.cap for kind in KINDS])


def keys(people: People | Columns, *, register: bool = False) -> pl.DataFrame:
    """The keys of normalised people, a row for each: rid, kind (place in ``KINDS``), hash; no row comes twice.

    ``register``: those kinds as well that are of use where nobody has relatives, as the policy ``REGISTER`` has it.

    Hashes are the same for every version of every library, so that an index of them may be kept.
    """
    columns = columns_of(people)
    kinds, rids, hashes = [np.empty(0, np.uint8)], [np.empty(0, np.uint32)], [np.empty(0, np.uint64)]
    each = _of_few if len(columns) < MANY else _of_many
    for made in each(columns, register=register):
        kind, rid, hashed = _once(made[0], columns.rid[made[1]], made[2])
        kinds.append(kind)
        rids.append(rid)
        hashes.append(hashed)
    return pl.DataFrame(
        [
            pl.Series("rid", np.concatenate(rids)),
            pl.Series("kind", np.concatenate(kinds)),
            pl.Series("hash", np.concatenate(hashes).view(np.int64)),
        ]
    )


def _of_many(columns: Columns, *, register: bool) -> Iterator[tuple[Numbers, Rows, U64]]:
    """Kinds, rows and hashes of all keys, one kind after the other: all at once would be too much of a district."""
    for kind, rows, hashes in each_kind(columns, register=register):
        yield np.full(len(rows), kind, np.uint8), rows, hashes


def _of_few(columns: Columns, *, register: bool) -> Iterator[tuple[Numbers, Rows, U64]]:
    """The same of few, all at once: what is asked of some numbers costs the same for a hundred times as many."""
    parts = dict.fromkeys(part for kind in KINDS if register or not kind.register for part in kind.parts)
    lists = {part: _places(columns, part) for part in parts}
    kinds, seeds, places = _combinations(register, tuple((part, len(arrays)) for part, arrays in lists.items()))
    if not len(kinds):
        return
    stack = np.array([array for arrays in lists.values() for array in arrays], np.uint64)
    hashes = mixed_each(seeds, [stack[place] for place in places])
    which, rows = np.nonzero((hashes != 0) & columns.matchable)
    yield kinds[which], rows, hashes[which, rows]


@lru_cache(maxsize=512)  # so many tokens, nicknames and identifiers as some people have at most
def _combinations(
    register: bool, lengths: tuple[tuple[str, int], ...]
) -> tuple[Numbers, tuple[int, ...], list[Rows]]:  # fmt: skip
    """Kinds and seeds of all keys, those of most parts first; where their first, second … parts are among all."""
    first, at = {}, 0
    for part, length in lengths:
        first[part] = range(at, at + length)
        at += length
    found = [
        (number, kind.seed, places)
        for number, kind in enumerate(KINDS)
        if register or not kind.register
        for places in product(*(first[part] for part in kind.parts))
    ]
    found.sort(key=lambda one: -len(one[2]))
    most = max((len(places) for _, _, places in found), default=0)
    parts = [np.array([places[n] for _, _, places in found if len(places) > n], np.int64) for n in range(most)]
    return np.array([number for number, _, _ in found], np.uint8), tuple(seed for _, seed, _ in found), parts


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
