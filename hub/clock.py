"""The one place that reads the wall clock, so that tests can move time."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time_ns
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time."""

    def now(self) -> datetime:
        """The current time, in UTC, aware."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current time, in UTC, aware, cut to milliseconds as OneRoster emits it."""
        return datetime.fromtimestamp(time_ns() // 1_000_000 / 1000, UTC)
