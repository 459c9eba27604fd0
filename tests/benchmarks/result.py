"""What one benchmark measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table that ``make bench`` prints.

    ``ours`` and ``floor`` are in ``unit`` and were measured in the same run. ``must`` and ``aim`` are upper limits on
    what ``limits`` says: the ratio, or ours. Rows without a ``must`` are for information.
    """

    name: str
    ours: float
    floor: float | None
    unit: str
    must: float | None = None
    aim: float | None = None
    limits: Literal["ratio", "ours"] = "ratio"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the floor we need; ``None`` without a floor."""
        return None if self.floor is None else self.ours / self.floor

    @property
    def verdict(self) -> str:
        """``aim`` or ``must``: the better limit that is kept; ``missed``; empty for a row without limits."""
        value = self.ratio if self.limits == "ratio" else self.ours
        if self.must is None or value is None:
            return ""
        if self.aim is not None and value <= self.aim:
            return "aim"
        return "must" if value <= self.must else "missed"

    def limit(self, value: float | None) -> str:
        """A limit as the table shows it."""
        if value is None:
            return ""
        return f"<= {value:g}x" if self.limits == "ratio" else f"<= {value:g} {self.unit}"
