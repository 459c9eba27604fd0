"""The sourcedIds of many records of a collection in columns, and their texts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from hub.scope.sets import Ints

#: Bytes of an id.
ID_BYTES = 16
#: Characters of an id as it is written.
WRITTEN = 36
#: The two digits of each byte.
_PAIRS = np.frombuffer(bytes(range(256)).hex().encode(), dtype=np.uint16)
#: Where digits stand in an id as it is written, where they come from when there are no dashes, and how many of them.
_DIGITS = ((0, 0, 8), (9, 8, 4), (14, 12, 4), (19, 16, 4), (24, 20, 8), (32, 28, 4))


class Ids(NamedTuple):
    """``rids`` in ascending order; ``ids``: the 16 bytes of each record's sourcedId."""

    rids: Ints
    ids: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, rids: bytes, ids: bytes) -> Self:
        """From hub.store.feed.packed_ids."""
        numbers = np.frombuffer(rids, dtype=">i4").astype(np.uint32)
        columns = np.frombuffer(ids, dtype=np.uint8).reshape(-1, ID_BYTES)
        if (numbers[1:] > numbers[:-1]).all():  # as PostgreSQL finds them, mostly
            return cls(numbers, columns)
        order = np.argsort(numbers)
        return cls(numbers[order], columns[order])

    def of_all(self, rids: Ints) -> npt.NDArray[np.uint8] | None:
        """The ids of some records (``rids`` in ascending order), 16 bytes each; None where one of them is not there."""
        if np.array_equal(rids, self.rids):
            return self.ids
        at = np.searchsorted(self.rids, rids)
        if not len(rids) or at[-1] == len(self.rids) or not np.array_equal(self.rids[at], rids):
            return None
        return self.ids[at]

    def texts(self, rids: Ints) -> list[str]:
        """The ids of some records as PostgreSQL writes them; "" for those that are not there."""
        table = np.empty((len(self.ids), WRITTEN), dtype=np.uint8)
        write(self.ids, table, (0,))
        text = table.tobytes().decode()
        ids = (text[start : start + WRITTEN] for start in range(0, len(text), WRITTEN))
        known = dict(zip(self.rids.tolist(), ids, strict=True))
        return [known.get(rid, "") for rid in rids.tolist()]


def write(ids: npt.NDArray[np.uint8], table: npt.NDArray[np.uint8], places: Iterable[int]) -> None:
    """Writes ids (16 bytes each) as PostgreSQL does, each into its row of a table of bytes.

    ``places``: where in the row it begins. Some digits are copied at a time, as one number, and ids as one piece.
    """
    digits = _PAIRS.take(ids).view(np.uint8)
    written = np.full((len(ids), WRITTEN), ord("-"), dtype=np.uint8)
    for at, come_from, many in _DIGITS:
        written[:, at : at + many].view(f"u{many}")[:] = digits[:, come_from : come_from + many].view(f"u{many}")
    for place in places:
        table[:, place : place + WRITTEN].view(f"V{WRITTEN}")[:] = written.view(f"V{WRITTEN}")


#: By collection, what records are called: in columns where that is what the hub calls them.
Names = Mapping[str, Mapping[int, str] | Ids]
