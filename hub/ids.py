"""New identifiers: UUIDv7 (RFC 9562), random, never derived from data, minted once.

Within one batch they ascend, so that an index on them is appended to instead of being written at random places.
"""

from __future__ import annotations

import os
import time
import uuid

PER_MILLISECOND = 4096  # the 12 bits of rand_a serve as a counter inside one millisecond
RANDOM = 2**62 - 1


def new_id() -> uuid.UUID:
    """One new UUIDv7."""
    return few(1)[0]


def few(count: int) -> list[uuid.UUID]:
    """Some new UUIDv7, ascending: up to ``PER_MILLISECOND`` of them; many are minted in a column (hub.sync.minting)."""
    milliseconds, rest = time.time_ns() // 1_000_000, int.from_bytes(os.urandom(8 * count))
    return [
        uuid.UUID(int=milliseconds << 80 | 7 << 76 | n << 64 | 1 << 63 | (rest >> 64 * n) & RANDOM)
        for n in range(count)
    ]
