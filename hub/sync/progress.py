"""Where a run stands, for the lease's heartbeat and for whoever watches, and how long it will still take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

#: The last stage: the transaction that gives the lease up.
ENDING = "commit"
APPLY = "apply"
#: Of the time that it takes to prepare a difference, where nothing is known of the source: what applying it takes.
_APPLY_SHARE = 0.5
#: Rows must be so many of all until their own pace says more than that of the last run.
_TELLING = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """What an earlier run of the same source took, in seconds, and the rows that it read."""

    rows: int
    prepare: float
    apply: float


@dataclass(slots=True)
class Progress:
    """The stage of a run, rows done in it, and how long each stage took (seconds).

    ``rows_done`` of ``rows_total`` (None while that is not known) were read of all entities together. ``pace``: that of
    an earlier run.
    """

    stage: str = "waiting"
    entity: str = ""
    rows: int = 0
    total: int | None = None
    rows_done: int = 0
    rows_total: int | None = None
    pace: Pace | None = None
    timings: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)
    _began: float = field(default_factory=time.perf_counter)

    def enter(self, stage: str, *, entity: str = "", total: int | None = None) -> None:
        """Ends the stage before and begins ``stage``; the times of one stage add up over entities."""
        now = time.perf_counter()
        self.timings[self.stage] = round(self.timings.get(self.stage, 0.0) + now - self._since, 4)
        if entity != self.entity:
            self.rows, self.total = 0, None
        self.stage, self.entity, self._since = stage, entity, now
        self.total = total if total is not None else self.total

    def read(self, rows: int) -> None:
        """Counts rows that were read and compared."""
        self.rows += rows
        self.rows_done += rows

    def add(self, stage: str, seconds: float) -> None:
        """Adds to a stage that runs beside the others: the times of all stages may exceed the time that passed."""
        self.timings[stage] = round(self.timings.get(stage, 0.0) + seconds, 4)

    def seconds_left(self) -> float | None:
        """How long the run will still take, as far as that can be told from its rows and an earlier run.

        None while nothing is known. An estimate: nobody should decide by it.
        """
        now = time.perf_counter()
        scale = 1.0
        if self.pace is not None and self.pace.rows and self.rows_total:
            scale = self.rows_total / self.pace.rows
        if self.stage in {APPLY, ENDING}:
            known = self.pace.apply * scale if self.pace else (self._since - self._began) * _APPLY_SHARE
            return max(0.0, known - (now - self._since))
        done = self.rows_done / self.rows_total if self.rows_total else 0.0
        passed = now - self._began
        if done >= _TELLING or (self.pace is None and done > 0):
            whole = passed / done
        elif self.pace is not None:
            whole = max(self.pace.prepare * scale, passed)
        else:
            return None
        apply = self.pace.apply * scale if self.pace else whole * _APPLY_SHARE
        return max(0.0, whole - passed) + apply

    def as_json(self) -> dict[str, Any]:
        """What the run's row shows."""
        left = self.seconds_left()
        return {
            "entity": self.entity, "rows": self.rows, "total": self.total, "rows_done": self.rows_done,
            "rows_total": self.rows_total, "seconds_left": None if left is None else round(left, 1),
            "timings": dict(self.timings),
        }  # fmt: skip
