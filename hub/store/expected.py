"""When a package that somebody sends is late: some hours after the last one, of which those of certain days count."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

#: The days of the week, Monday first.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Expectation:
    """How often something is expected. On other days than ``days`` (None: all) in ``zone`` the time stands still."""

    every_hours: int
    grace_minutes: int
    days: Collection[str] | None = None
    zone: str = "UTC"

    async def late_from(self, since: datetime) -> datetime:
        """From when on it is late, after something came at ``since``."""
        expected = await asyncio.to_thread(self.after, since)  # may read the time zone's file
        return expected + timedelta(minutes=self.grace_minutes)

    async def late_again(self, late_from: datetime, now: datetime) -> datetime:
        """From when on it is late anew, of what was late at ``late_from`` and did not come until ``now``."""
        return await asyncio.to_thread(self._beyond, late_from, now)

    def after(self, since: datetime) -> datetime:
        """The end of one stretch of hours that count, in UTC."""
        left, at = timedelta(hours=self.every_hours), since.astimezone(UTC)
        if self.days is None:
            return at + left
        zone = ZoneInfo(self.zone)
        while True:
            today = at.astimezone(zone).date()
            midnight = datetime.combine(today + timedelta(days=1), time(), zone).astimezone(UTC)
            if DAYS[today.weekday()] in self.days:
                if at + left <= midnight:
                    return at + left
                left -= midnight - at
            at = midnight

    def _beyond(self, late_from: datetime, now: datetime) -> datetime:
        if self.days is None:
            stretch = timedelta(hours=self.every_hours)
            return late_from + stretch * (1 + (now - late_from) // stretch)
        while late_from <= now:
            late_from = self.after(late_from)
        return late_from
