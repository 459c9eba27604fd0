"""What a system answered to one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from yarl import URL


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system answered. ``following``: the address that its ``Link`` header calls the next one.

    ``kept``: it was answered to an earlier attempt of the same pull.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    following: URL | None = None
    kept: bool = False

    @property
    def at(self) -> datetime | None:
        """The system's own clock, by its ``Date`` header."""
        return moment(self.headers.get("Date", ""))

    def retry_after(self, now: datetime) -> float | None:
        """Seconds that the system asks us to wait; None where it does not, or not in a form that can be read."""
        value = self.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdigit():
            return float(value[:9])
        when = moment(value)
        return None if when is None else max(0.0, (when - (self.at or now)).total_seconds())


def moment(text: str) -> datetime | None:
    """A date of HTTP as a moment in UTC; None for what is none."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
