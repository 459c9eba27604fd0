"""Which records are compared at all: those that share a key of a block that is not too big."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from zlib import crc32

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.matching.columns import Columns
from transforms.matching.hashes import U64, mixed, once

Rids = npt.NDArray[np.uint32]
#: Kinds whose pairs are put together at once: most pairs have several keys in common.
_MERGED = 6
KEYS = pl.Schema({"rid": pl.UInt32, "kind": pl.UInt8, "hash": pl.Int64})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of key, the size up to which its blocks are compared, and the arrays of its hashes.

    Kinds of ``register`` are made for small registers in which all may be spoilt; among families they find relatives.
    """

    name: str
    cap: int
    hashes: Callable[[Columns], Iterable[U64]]
    register: bool = False


def _of(*parts: str) -> Callable[[Columns], Iterable[U64]]:
    """Hashes of arrays of ``Columns``, by their names; lists of arrays (tokens, nicknames) in each combination."""
    seed = crc32(" ".join(parts).encode())

    def hashes(columns: Columns) -> Iterator[U64]:
        found = [getattr(columns, part) for part in parts]
        for arrays in product(*(part if isinstance(part, list) else [part] for part in found)):
            if all(array.any() for array in arrays):
                yield mixed(seed, *arrays)

    return hashes


#: The place in this list is the ``kind`` of ``keys``: append, never reorder. Blocks bigger than their cap are left to
#: keys that say more; each broad kind has narrower ones beside it.
KINDS = (
    Kind("last token and birth date", 60, _of("family_tokens", "born")),
    Kind("first name and birth date", 60, _of("names", "born")),
    Kind("first name and last token", 12, _of("names", "family_tokens")),
    Kind("last token, year, month and day in either order", 60, _of("family_tokens", "year", "either")),
    Kind("beginnings of both names and year", 12, _of("family_beginning", "first_beginning", "year")),
    Kind("middle name and birth date", 30, _of("middle", "born")),
    Kind("home and birth date", 60, _of("home", "born")),
    Kind("phone and first name", 60, _of("names", "phone")),
    Kind("e-mail", 30, _of("email")),
    Kind("birth date, postcode and initial", 60, _of("born", "postcode", "initial")),
    Kind("first name, last token and year", 30, _of("names", "family_tokens", "year")),
    Kind("first name, last token, month and day", 30, _of("names", "family_tokens", "month_day")),
    Kind("first name, last token and postcode", 30, _of("names", "family_tokens", "postcode")),
    Kind("first name and home", 30, _of("names", "home")),
    Kind("identifier", 30, _of("ids")),
    Kind("both names in either order, and year", 30, _of("both_names", "year")),
    Kind("first name, last token and middle name", 30, _of("names", "family_tokens", "middle")),
    Kind("initial, last token and postcode", 12, _of("initial", "family_tokens", "postcode")),
    Kind("local part of the e-mail and initial", 12, _of("local", "initial")),
    Kind("birth date", 6, _of("born"), register=True),
    Kind("number of the house and postcode", 12, _of("house", "postcode"), register=True),
    Kind("first name and postcode", 12, _of("names", "postcode"), register=True),
    Kind("last token and number of the house", 12, _of("family_tokens", "house"), register=True),
    Kind("beginning of the street, and number of the house", 12, _of("street_beginning", "house"), register=True),
    Kind("last token", 6, _of("family_tokens"), register=True),
    Kind("first name and year", 6, _of("names", "year"), register=True),
    Kind("beginning of the street and postcode", 12, _of("street_beginning", "postcode"), register=True),
)


def keys(people: pl.DataFrame, *, register: bool = False) -> pl.DataFrame:
    """The keys of a normalised frame, a row for each: rid, kind (place in ``KINDS``), hash; no row comes twice.

    ``register``: those kinds as well that are of use where nobody has relatives, as the policy ``REGISTER`` has it.

    Hashes are the same for every version of every library, so that an index of them may be kept.
    """
    columns = Columns(people)
    kinds, rids, hashes = [np.empty(0, np.uint8)], [np.empty(0, np.uint32)], [np.empty(0, np.uint64)]
    for kind, rows, found in each_kind(columns, register=register):
        rid, hashed = _once(columns.rid[rows], found)
        kinds.append(np.full(len(rid), kind, np.uint8))
        rids.append(rid)
        hashes.append(hashed)
    return pl.DataFrame(
        [
            pl.Series("rid", np.concatenate(rids)),
            pl.Series("kind", np.concatenate(kinds)),
            pl.Series("hash", np.concatenate(hashes).view(np.int64)),
        ]
    )


def _once(rid: Rids, hashes: U64) -> tuple[Rids, U64]:
    """Each two numbers once, in order."""
    order = np.lexsort((hashes, rid))
    rid, hashes = rid[order], hashes[order]
    other = (rid[1:] != rid[:-1]) | (hashes[1:] != hashes[:-1])
    once = np.concatenate((np.ones(min(len(rid), 1), np.bool_), other))
    return rid[once], hashes[once]


def candidates(mine: pl.DataFrame, others: pl.DataFrame | None = None) -> pl.DataFrame:
    """Pairs that share a key: left < right, each once, in order.

    With ``others`` (keys of other records, all that have a hash of ``mine``) the pairs of ``mine`` with those as well;
    pairs of two ``others`` are not made. A rid that both name is one record. Blocks bigger than ``KINDS`` allows are
    left out.
    """
    parts = [mine] if others is None else [mine, others]
    rid, kinds, hashes = (np.concatenate([part[name].to_numpy() for part in parts]) for name in KEYS.names())
    found = [np.empty(0, np.uint64)]
    for number in np.unique(kinds).tolist():
        rows = kinds == number  # who is in both has its keys once
        found.append(in_blocks(*_once(rid[rows], hashes[rows].view(np.uint64)), KINDS[number].cap))
    left, right = unpacked(once(np.concatenate(found)))
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
    hashes, rid = hashes[order], rid[order]
    starts = (
        np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1]))) if len(hashes) else np.empty(0, np.int64)
    )
    sizes = np.diff(np.append(starts, len(hashes)))
    fits = (sizes > 1) & (sizes <= cap)
    starts, sizes = starts[fits], sizes[fits]
    found = [np.empty(0, np.uint64)]
    for size in np.unique(sizes).tolist():
        rows = rid[starts[sizes == size][:, None] + np.arange(size)]
        one, two = np.triu_indices(size, 1)
        low, high = np.minimum(rows[:, one], rows[:, two]).ravel(), np.maximum(rows[:, one], rows[:, two]).ravel()
        packed = (low.astype(np.uint64) << np.uint64(32)) | high
        found.append(packed[low != high])
    return np.concatenate(found)


def unpacked(packed: U64) -> tuple[Rids, Rids]:
    """Left and right of packed pairs."""
    return (packed >> np.uint64(32)).astype(np.uint32), (packed & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def each_kind(columns: Columns, *, register: bool) -> Iterator[tuple[int, npt.NDArray[np.int64], U64]]:
    """Kind, rows and hashes of the keys of all matchable records."""
    for number, kind in enumerate(KINDS):
        if kind.register and not register:
            continue
        rows, found = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        for hashes in kind.hashes(columns):
            rows.append(np.flatnonzero((hashes != 0) & columns.matchable))
            found.append(hashes[rows[-1]])
        yield number, np.concatenate(rows), np.concatenate(found)
