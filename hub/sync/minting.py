"""New identifiers for many records, in a column: UUIDv7 as hub.ids has them."""

from __future__ import annotations

import io
import os
import time

import numpy as np
import polars as pl

from hub.ids import PER_MILLISECOND, RANDOM

_HEX = np.frombuffer("".join(f"{i:04x}" for i in range(1 << 16)).encode(), dtype=np.uint32)  # four digits each
_FEW = 5_000


def mint(count: int) -> pl.Series:
    """``count`` new UUIDv7 as a String series of 36 characters each, ascending."""
    if count == 0:
        return pl.Series("sourcedId", [], dtype=pl.String)
    order = np.arange(count, dtype=np.uint64)
    milliseconds = np.uint64(time.time_ns() // 1_000_000) + order // np.uint64(PER_MILLISECOND)
    high = milliseconds << np.uint64(16) | np.uint64(7 << 12) | order % np.uint64(PER_MILLISECOND)
    low = np.frombuffer(os.urandom(8 * count), dtype=np.uint64) & np.uint64(RANDOM) | np.uint64(1 << 63)
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
