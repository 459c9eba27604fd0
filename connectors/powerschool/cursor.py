"""Where the next pull of changes begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Cursor:
    """``version``: of the data, as the server counts it. ``swept``: when keys were last gone through, by its clock.

    ``district``: its number. ``years``: the yearids that were pulled; ``until``: the first day of others.
    """

    version: int
    swept: datetime
    district: str
    years: tuple[int, ...]
    until: date

    def as_json(self) -> dict[str, Any]:
        """As the hub keeps it."""
        return {
            "version": self.version, "swept": self.swept.isoformat(), "district": self.district,
            "years": list(self.years), "until": self.until.isoformat(),
        }  # fmt: skip

    @classmethod
    def of(cls, kept: Mapping[str, Any] | None) -> Cursor | None:
        """What was kept; None where nothing was, or by an older hub."""
        if kept is None:
            return None
        try:
            swept = datetime.fromisoformat(kept["swept"]).astimezone(UTC)
            years = tuple(int(one) for one in kept["years"])
            return cls(int(kept["version"]), swept, str(kept["district"]), years, date.fromisoformat(kept["until"]))
        except (KeyError, TypeError, ValueError):
            return None
