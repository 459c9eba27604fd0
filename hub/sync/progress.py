"""Where a run stands, for the lease's heartbeat and for whoever watches."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

#: The last stage: the transaction that gives the lease up.
ENDING = "commit"


@dataclass(slots=True)
class Progress:
    """The stage of a run, rows done in it, and how long each stage took (seconds)."""

    stage: str = "waiting"
    entity: str = ""
    rows: int = 0
    total: int | None = None
    timings: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def enter(self, stage: str, *, entity: str = "", total: int | None = None) -> None:
        """Ends the stage before and begins ``stage``; the times of one stage add up over entities."""
        now = time.perf_counter()
        self.timings[self.stage] = round(self.timings.get(self.stage, 0.0) + now - self._since, 4)
        self.stage, self.entity, self.rows, self.total, self._since = stage, entity, 0, total, now

    def add(self, stage: str, seconds: float) -> None:
        """Adds to a stage that runs beside the others: the times of all stages may exceed the time that passed."""
        self.timings[stage] = round(self.timings.get(stage, 0.0) + seconds, 4)

    def as_json(self) -> dict[str, Any]:
        """What the run's row shows."""
        return {"entity": self.entity, "rows": self.rows, "total": self.total}
