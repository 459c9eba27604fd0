"""What is usual of a source: how far its last runs went. A hint for whoever sets limits and decides, no more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hub.sync.guard.rules import KINDS

#: Runs that are looked at, how many of them it takes to speak of a habit, and the part that stays below it.
RUNS, FEWEST, QUANTILE = 60, 5, 0.95


def usual(runs: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[tuple[str, str], float]:
    """(entity, kind) to the share below which 95 % of these runs stayed.

    ``runs``: the counts of applied runs by entity. Those that had no records of an entity before say nothing of it.
    """
    shares: dict[tuple[str, str], list[float]] = {}
    for counts in runs:
        for entity, numbers in counts.items():
            before = numbers.get("before", 0)
            for kind in KINDS if before else ():
                shares.setdefault((entity, kind), []).append(numbers.get(kind, 0) / before)
    return {key: _quantile(values) for key, values in shares.items() if len(values) >= FEWEST}


def _quantile(values: list[float]) -> float:
    """The smallest of ``values`` that ``QUANTILE`` of them do not exceed."""
    return sorted(values)[math.ceil(QUANTILE * len(values)) - 1]
