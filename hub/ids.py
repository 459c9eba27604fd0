"""New identifiers: UUIDv7 (RFC 9562), random, never derived from data, minted once.

Within one batch they ascend, so that an index on them is appended to instead of being written at random places.
"""

from __future__ import annotations

import io
import os
import time
import uuid

import numpy as np
import polars as pl

_HEX = np.frombuffer("".join(f"{i:04x}" for i in range(1 << 16)).encode(), dtype=np.uint32)  # four digits each
_PER_MILLISECOND = 4096  # the 12 bits of rand_a serve as a counter inside one millisecond
_RANDOM = 2**62 - 1
_FEW = 5_000


def new_id() -> uuid.UUID:
    """One new UUIDv7."""
    return few(1)[0]


def few(count: int) -> list[uuid.UUID]:
    """Some new UUIDv7, ascending: what ``mint`` gives, for up to ``_PER_MILLISECOND`` and without making columns."""
    milliseconds, rest = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(8 * count))
    return [
        uuid.UUID(int=milliseconds << 80 | 7 << 76 | n << 64 | 1 << 63 | (rest >> 64 * n) & _RANDOM)
        for n in range(count)
    ]


def mint(count: int) -> pl.Series:
    """``count`` new UUIDv7 as a String series of 36 characters each, ascending."""
    if count == 0:
        return pl.Series("sourcedId", [], dtype=pl.String)
    order = np.arange(count, dtype=np.uint64)
    milliseconds = np.uint64(time.time_ns() // 1_000_000) + order // np.uint64(_PER_MILLISECOND)
    high = milliseconds << np.uint64(16) | np.uint64(7 << 12) | order % np.uint64(_PER_MILLISECOND)
    low = np.frombuffer(os.urandom(8 * count), dtype=np.uint64) & np.uint64(_RANDOM) | np.uint64(1 << 63)
    quarters = np.stack([high, low], axis=1).astype(">u8").view(">u2")
    digits = _HEX[quarters].view(np.uint8).reshape(count, 32)
    text = np.full((count, 37), ord("-"), dtype=np.uint8)
    for start, end, at in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        text[:, at : at + end - start] = digits[:, start:end]
    text[:, 36] = ord("\n")
    if count <= _FEW:  # a reader of files takes longer to start
        return pl.Series("sourcedId", text.tobytes().decode().split())
    return pl.read_csv(
        io.BytesIO(text.tobytes()), has_header=False, schema={"sourcedId": pl.String}, separator=","
    ).to_series()
