"""The guard's settings: what people may write, the defaults, and what of it counts at a moment.

A source's settings lie over its district's, those over ``DEFAULTS``, and an open rollover window's over all of them,
member by member: what is left out stays, and a limit that is null is lifted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hub.sync.guard.calendar import Local, Occurrence, instants, occurrences, repeats
from transforms.catalogue import CATALOGUE

#: The limits of all entities that have none of their own.
DEFAULT: Final = "default"
#: Of a district, and of each source.
MOST_WINDOWS: Final = 100
Kind = Literal["deleted", "updated", "moved", "rebound"]
KINDS: Final[tuple[Kind, ...]] = ("deleted", "updated", "moved", "rebound")
Answer = Literal["hold", "allow"]
Named = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]

DEFAULTS: Final[Mapping[str, Any]] = {
    "time_zone": "UTC",
    "hold_days": 7,
    "missing_file": "hold",
    "emptied_school": "hold",
    "limits": {
        DEFAULT: {
            "deleted": {"share": 0.05, "above": 20},
            "updated": {"share": 0.30, "size": 20},
            "moved": {"share": 0.10, "above": 20},
            "rebound": {"share": 0.01},
            "same_field": {"share": 0.20, "above": 50},
        }
    },
    "per_school": {DEFAULT: {"deleted": {"share": 0.50, "above": 20}}},
    "per_app": {DEFAULT: {"left": {"share": 0.20, "above": 20}}},
    "windows": [],
}


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limit(_Written):
    """How much may change before a run is held."""

    share: float | None = Field(default=None, ge=0, le=1, description="Held when more than this share changes …")
    above: int = Field(default=0, ge=0, description="… and more than this number of records …")
    size: int = Field(default=0, ge=0, description="… of more than this number of records.")
    most: int | None = Field(default=None, ge=0, description="Held when more records than this change, in any case.")

    def exceeded(self, number: int, of: int) -> bool:
        """Whether ``number`` of ``of`` records is too many."""
        if self.most is not None and number > self.most:
            return True
        return self.share is not None and number > self.above and of > self.size and number > self.share * of

    @property
    def words(self) -> str:
        """The limit in a sentence."""
        parts = []
        if self.share is not None:
            parts.append(f"{100 * self.share:.4g}%" + (f" and more than {self.above}" if self.above else ""))
        if self.most is not None:
            parts.append(str(self.most))
        return " or ".join(parts)


class Limits(_Written):
    """Limits by what happens to records. ``moved`` and ``rebound`` records are among the updated ones."""

    deleted: Limit | None = None
    updated: Limit | None = None
    moved: Limit | None = Field(default=None, description="A user, class or enrollment of another school than before.")
    rebound: Limit | None = Field(default=None, description="A user whose key is somebody else's now.")


class SourceLimits(Limits):
    """Those of a whole source."""

    same_field: Limit | None = Field(default=None, description="A field that changes, each field counted by itself.")


class AppLimits(_Written):
    """Limits of what an app loses."""

    left: Limit | None = Field(default=None, description="Records that leave the app's view.")


class WrittenRules(_Written):
    """Limits, by entity or for all others (`default`)."""

    limits: dict[str, SourceLimits] = Field(default={}, description="For the whole source.")
    per_school: dict[str, Limits] = Field(default={}, description="For each school.")
    per_app: dict[str, AppLimits] = Field(default={}, description="For each app's view.")
    missing_file: Answer | None = Field(default=None, description="A file that the last package had and this has not.")
    emptied_school: Answer | None = Field(
        default=None, description="A school that loses all classes or enrollments, or ends."
    )

    @field_validator("limits", "per_school", "per_app")
    @classmethod
    def _known(cls, limits: dict[str, Any]) -> dict[str, Any]:
        names = {DEFAULT, *(entity.name for entity in CATALOGUE.entities)}
        unknown = sorted(limits.keys() - names)
        if unknown:
            raise ValueError(f"no such entity: {', '.join(unknown)[:200]}; write {DEFAULT} for all others")
        return limits


class Window(_Written):
    """A time in which other rules hold, by the clock of the district's time zone; without years it comes each year."""

    kind: Literal["rollover", "blackout", "additive"] = Field(
        description="`rollover`: with limits of its own. `blackout`: no run applies. `additive`: nothing is deleted."
    )
    name: Named
    starts: Local = Field(description="Local time without an offset: `2027-06-15T00:00`, or `06-15T00:00` each year.")
    ends: Local = Field(description="Likewise; the window ends before it.")
    rules: WrittenRules | None = Field(default=None, description="What a rollover window changes; a null limit lifts.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        repeats(self.starts, self.ends)
        if (self.kind == "rollover") != (self.rules is not None):
            raise ValueError("a rollover window says its rules, and no other has any")
        return self


@dataclass(frozen=True)
class Open:
    """A window that is open: the one of its times that counts."""

    window: Window
    time: Occurrence

    @property
    def name(self) -> str:
        """What people call it."""
        return self.window.name


class Settings(WrittenRules):
    """The guard's settings of a district, or of one source of it."""

    time_zone: str | None = Field(default=None, max_length=64, description="Of the windows, such as America/Chicago.")
    hold_days: int | None = Field(default=None, ge=1, le=90, description="Days after which a held run expires.")
    windows: list[Window] = Field(
        default=[], max_length=MOST_WINDOWS, description="A source's come beside its district's."
    )

    def as_json(self) -> dict[str, Any]:
        """What was written and nothing else, as it is stored and merged."""
        return _written(self)


@dataclass(frozen=True)
class Rules:
    """What counts at a moment. ``merged``: all settings, complete; ``windows``: those that are open, in ``zone``."""

    merged: Mapping[str, Any]
    windows: tuple[Open, ...] = ()
    zone: tzinfo = UTC

    def limit(self, scope: Literal["limits", "per_school", "per_app"], entity: str, kind: str) -> Limit | None:
        """The limit of one kind of change, None where there is none."""
        of_all, own = (self.merged[scope].get(name, {}) for name in (DEFAULT, entity))
        if kind not in own:
            found = of_all.get(kind)
        elif own[kind] is None or of_all.get(kind) is None:
            found = own[kind]
        else:
            found = {**of_all[kind], **own[kind]}
        return None if found is None else Limit.model_validate(found)

    def holds(self, what: Literal["missing_file", "emptied_school"]) -> bool:
        """Whether a missing file, or an emptied school, holds a run."""
        return bool(self.merged[what] == "hold")

    @property
    def hold_days(self) -> int:
        """Days after which a held run expires."""
        return int(self.merged["hold_days"])

    def open(self, kind: str) -> Open | None:
        """The open window of a kind that ends last."""
        found = [one for one in self.windows if one.window.kind == kind]
        return max(found, key=lambda one: one.time.ends, default=None)

    @cached_property
    def in_windows(self) -> Rules:
        """The same with what open rollover windows change."""
        changes = [_written(one.window.rules) for one in self.windows if one.window.rules is not None]
        return Rules(_merged([self.merged, *changes]), self.windows, self.zone)


def rules_of(district: Mapping[str, Any], source: Mapping[str, Any], at: datetime) -> Rules:
    """What counts at ``at`` for a run of a source, or (``source`` empty) of a district.

    Reads the time zone's file: call it in a thread.
    """
    merged = _merged([DEFAULTS, district, source])
    merged["windows"] = [*district.get("windows", []), *source.get("windows", [])]
    zone = zone_of(merged["time_zone"])
    windows = [Window.model_validate(window) for window in merged["windows"]]
    times = ((window, _open_time(window, zone, at)) for window in windows)
    return Rules(merged, tuple(Open(window, time) for window, time in times if time is not None), zone)


def zone_of(name: str) -> ZoneInfo:
    """A time zone. Reads its file: call it in a thread. Raises ValueError when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder
        raise ValueError("there is no such time zone; write a name such as America/Chicago") from None


def _open_time(window: Window, zone: tzinfo, at: datetime) -> Occurrence | None:
    """The time of a window that ``at`` lies in."""
    for time in occurrences(window.starts, window.ends, at.astimezone(zone).year):
        starts, ends = instants(time, zone)
        # Moments are compared as such: Python compares times of one zone by the hands of the clock.
        if starts.timestamp() <= at.timestamp() < ends.timestamp():
            return time
    return None


def coming(settings: Mapping[str, Any], rules: Rules, at: datetime) -> list[tuple[Window, datetime, datetime, bool]]:
    """When each window of ``settings`` is open, or is next: start, end, and whether that is now; the soonest first.

    Windows that are over are left out. The times are in the zone of ``rules``.
    """
    found = []
    for window in (Window.model_validate(one) for one in settings.get("windows", [])):
        for time in occurrences(window.starts, window.ends, at.astimezone(rules.zone).year):
            starts, ends = instants(time, rules.zone)
            if at.timestamp() < ends.timestamp():
                found.append((window, starts, ends, starts.timestamp() <= at.timestamp()))
                break
    return sorted(found, key=lambda one: (one[1].timestamp(), one[0].name))


def _written(model: BaseModel) -> dict[str, Any]:
    """What was written: a null limit lifts it, a null anywhere else leaves it as it is."""
    return {name: v for name, v in model.model_dump(mode="json", exclude_unset=True).items() if v is not None}


def _merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            here = out.get(name)
            if isinstance(value, Mapping):
                out[name] = _merged([here if isinstance(here, Mapping) else {}, value])
            else:
                out[name] = value
    return out
