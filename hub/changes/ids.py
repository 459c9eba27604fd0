"""The sourcedIds of many records of a collection in columns, and their texts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

_ID_BYTES = 16
#: Characters of an id as it is written.
WRITTEN = 36
#: Where digits stand in an id as it is written, and where they come from when there are no dashes.
_DIGITS = ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36))


class Ids(NamedTuple):
    """``rids`` in ascending order; ``ids``: the 16 bytes of each record's sourcedId."""

    rids: npt.NDArray[np.int32]
    ids: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, rids: bytes, ids: bytes) -> Self:
        """From hub.store.feed.packed_ids."""
        numbers = np.frombuffer(rids, dtype=">i4").astype(np.int32)
        order = np.argsort(numbers, kind="stable")
        return cls(numbers[order], np.frombuffer(ids, dtype=np.uint8).reshape(-1, _ID_BYTES)[order])

    def of_all(self, rids: Sequence[int]) -> npt.NDArray[np.uint8] | None:
        """The ids of some records, 16 bytes each; None where one of them is not there."""
        asked = np.asarray(rids, dtype=np.int32)
        if np.array_equal(asked, self.rids):
            return self.ids
        at = np.searchsorted(self.rids, asked)
        if not len(asked) or at[-1] == len(self.rids) or not np.array_equal(self.rids[at], asked):
            return None
        return self.ids[at]

    def texts(self, rids: Sequence[int]) -> list[str]:
        """The ids of some records as PostgreSQL writes them; "" for those that are not there."""
        text = self.written(self.ids).tobytes().decode()
        ids = (text[start : start + WRITTEN] for start in range(0, len(text), WRITTEN))
        known = dict(zip(self.rids.tolist(), ids, strict=True))
        return [known.get(rid, "") for rid in rids]

    @staticmethod
    def written(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Ids as PostgreSQL writes them, 36 characters each."""
        digits = np.frombuffer(ids.tobytes().hex().encode(), dtype=np.uint8).reshape(-1, 2 * _ID_BYTES)
        written = np.full((len(ids), WRITTEN), ord("-"), dtype=np.uint8)
        for dashes, (start, end) in enumerate(_DIGITS):
            written[:, start:end] = digits[:, start - dashes : end - dashes]
        return written


#: By collection, what records are called: in columns where that is what the hub calls them.
Names = Mapping[str, Mapping[int, str] | Ids]
