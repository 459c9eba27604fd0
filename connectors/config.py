"""What the configurations of connectors have in common: addresses, headers, hours in which a system is left alone."""

from __future__ import annotations

import re
from datetime import datetime, time
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
#: Headers that are the client's own business.
_OURS = frozenset({"authorization", "host", "content-length", "transfer-encoding", "connection", "cookie", "accept"})

Address = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s/?#@]+[^\s#@]*$")]
ClientId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")]
_HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")]
_HeaderValue = Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[\x20-\x7e]*$")]


def _not_ours(headers: dict[str, str]) -> dict[str, str]:
    if own := sorted(name for name in headers if name.lower() in _OURS):
        raise ValueError(f"the connector sets {own[0]} itself")
    return headers


#: Headers that a server wants besides those that the connector sets.
Headers = Annotated[dict[_HeaderName, _HeaderValue], AfterValidator(_not_ours)]


class ConfigModel(BaseModel):
    """A part of a configuration: a misspelt setting is refused, and no value shows in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class QuietHours(ConfigModel):
    """Local hours in which a system should not be asked, since people work with it."""

    quiet: str | None = Field(
        default=None, description="Local hours without pulls, as 07:00-16:00. Null: the profile's; empty: none."
    )
    zone: str | None = Field(
        default=None, max_length=100, description="Time zone of the quiet hours; without one there are none."
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError("no time zone of this name, such as America/Chicago")
        return zone

    @field_validator("quiet")
    @classmethod
    def _hours(cls, quiet: str | None) -> str | None:
        if quiet and _HOURS.fullmatch(quiet) is None:
            raise ValueError("write quiet hours as 07:00-16:00")
        return quiet

    @model_validator(mode="after")
    def _has_zone(self) -> Self:
        if self.quiet and self.zone is None:
            raise ValueError("zone: name the time zone of the quiet hours")
        return self

    def quiet_seconds(self, now: datetime, usual: str | None = None) -> float:
        """For how long the system wants to be left alone from now on; 0 where it does not. Reads the zone's file.

        ``usual``: the hours of such systems where the configuration states none.
        """
        hours = _HOURS.fullmatch(usual or "" if self.quiet is None else self.quiet)
        if hours is None or self.zone is None:
            return 0.0
        local = now.astimezone(ZoneInfo(self.zone))
        begin, end = time(int(hours[1]), int(hours[2])), time(int(hours[3]), int(hours[4]))
        clock = local.time()
        within = begin <= clock < end if begin <= end else clock >= begin or clock < end
        if not within:
            return 0.0
        minutes = (end.hour * 60 + end.minute) - (clock.hour * 60 + clock.minute)
        return (minutes % 1440) * 60.0 - clock.second
