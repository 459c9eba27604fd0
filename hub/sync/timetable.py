"""When a schedule is due: cron in a time zone, with a share of the spread that is the district's own.

A clock that jumps an hour is cronsim's business, which does as Debian's cron: a fixed time that is skipped in spring
comes right after the jump, one that comes twice in autumn is taken once, and "every …" follows the real hours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from hub.errors import Code, HubError

FIELDS = 5


@dataclass(frozen=True, slots=True)
class Timetable:
    """A cron expression of five fields, read in ``zone``."""

    cron: str
    zone: str

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times after ``after``, in UTC, without the spread. Ends where the expression has no more of them."""
        for at in CronSim(self.cron, after.astimezone(ZoneInfo(self.zone))):
            yield at.astimezone(UTC)

    def following(self, after: datetime, *, share: float = 0, spread_seconds: float = 0) -> datetime | None:
        """The first time after ``after``; None when none will come.

        ``share`` in [0, 1) of ``spread_seconds``, or of half the time to the next one where that is less, is added: a
        schedule that is due every five minutes is not put off by ten.
        """
        earliest = after - timedelta(seconds=spread_seconds)
        for at, then in pairwise(self.times(earliest)):
            room = min(spread_seconds, (then - at).total_seconds() / 2)
            late = at + timedelta(seconds=int(share * room))
            if late > after:
                return late
        return None


def checked(cron: str, zone: str) -> Timetable:
    """A timetable of what somebody wrote. Reads the time zone's file, so call it in a thread.

    Raises HubError(INVALID_REQUEST) that says which field is wrong.
    """
    check_zone(zone)
    cron = " ".join(cron.split())
    if len(cron.split(" ")) != FIELDS:
        raise HubError(
            Code.INVALID_REQUEST,
            "cron: must have five fields: minute, hour, day of month, month, day of week, as in `0 2 * * 1-5`.",
        )
    timetable = Timetable(cron, zone)
    try:
        first = next(timetable.times(datetime.now(UTC)), None)
    except CronSimError as error:
        raise HubError(Code.INVALID_REQUEST, f"cron: {error}. Fields go from minute to day of week.") from None
    if first is None:
        raise HubError(Code.INVALID_REQUEST, "cron: no such day comes within fifty years.")
    return timetable


def check_zone(zone: str) -> None:
    """Raises HubError(INVALID_REQUEST) for a time zone that is none. Reads its file, so call it in a thread."""
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        raise HubError(
            Code.INVALID_REQUEST, "zone: unknown. Write it as in Europe/Berlin or America/New_York."
        ) from None


def share(district_id: UUID, source_id: UUID) -> float:
    """The source's place in the spread, in [0, 1): always the same, and as if drawn among all sources."""
    digest = hashlib.sha256(district_id.bytes + source_id.bytes).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
