"""Rids as bitmaps, sorted integer arrays and boolean masks, and the fast ways from one to the other.

A mask has one element more than there are rids; the last is never set. So the rid -1 ("no reference") of the column
arrays may be looked up like any other and is never a member.
"""

from __future__ import annotations

import array

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

Ints = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]


def bitmap(rids: Ints) -> BitMap:
    """The set of the rids in an array of non-negative integers; fastest when they ascend."""
    values = array.array("I")
    # The buffer of an array.array is read in one go; a numpy array would be walked object by object.
    if len(rids):  # an empty view cannot be cast
        values.frombytes(np.ascontiguousarray(rids, dtype=np.uint32).data.cast("B"))
    return BitMap(values)


def rids(members: BitMap) -> npt.NDArray[np.uint32]:
    """The members in ascending order."""
    return np.frombuffer(members.to_array(), dtype=np.uint32)


def mask(members: BitMap, size: int) -> Mask:
    """A mask over ``size`` rids with the members set. Members at or beyond ``size`` raise ``IndexError``."""
    result = np.zeros(size + 1, dtype=np.bool_)
    if members and members.max() >= size:
        raise IndexError("a set holds a rid that is beyond the end of the columns")
    result[rids(members)] = True
    return result


def members(flags: Mask) -> BitMap:
    """The set of the rids whose flag is set; the inverse of ``mask``."""
    return bitmap(np.flatnonzero(flags[:-1]))


def pack(members: BitMap) -> bytes:
    """A bitmap as it is stored; the portable Roaring format."""
    compact = members.copy()
    compact.run_optimize()
    return compact.serialize()


def unpack(data: bytes) -> BitMap:
    """The inverse of ``pack``."""
    return BitMap.deserialize(data)
