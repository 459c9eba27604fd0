"""What one benchmark measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table that ``make bench`` prints.

    ``ours`` and ``floor`` are in ``unit`` and were measured in the same run; ``must`` and ``aim`` are the limits as
    words, on the ratio where there is a floor, else on ``ours``.
    """

    name: str
    ours: float
    floor: float | None
    unit: str
    must: str
    aim: str
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the floor we need; ``None`` without a floor."""
        return None if self.floor is None else self.ours / self.floor
