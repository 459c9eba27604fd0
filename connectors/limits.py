"""How much a connector takes from outside before it refuses: stated once, given to each source by the hub."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one package. Sizes are bytes.

    ``ratio`` is unpacked to packed size; it counts only past ``ratio_floor`` bytes, because short repetitive files pack
    very well. ``line`` bounds one physical line and so one cell; ``header`` bounds the first line.
    """

    entries: int = 64
    unpacked: int = 8 * GIB
    ratio: int = 200
    ratio_floor: int = 10 * MIB
    directory: int = MIB
    columns: int = 512
    header: int = 256 * 1024
    line: int = MIB
    rows: int = 100_000_000
    bad_rows: int = 20
    bad_share: float = 0.005


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a request may take, in seconds: to connect, between two pieces of the answer, and in all."""

    connect: float = 10.0
    idle: float = 60.0
    total: float = 300.0


DEFAULT_TIMEOUTS = Timeouts()
