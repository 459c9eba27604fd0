"""What changed at a host since a version: how much of each resource, and which enrollments came, changed and went.

A version is given to a change before it is committed, so one with a lower version may appear after one with a higher
was read. A window therefore begins with the newest version that an earlier pull saw, long enough before the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connectors.client import NotUnderstoodError
from connectors.edfi import keys
from connectors.edfi.client import Client
from connectors.edfi.resources import OPTIONAL
from connectors.edfi.walk import Wanted, walk
from connectors.members import Objects
from connectors.protocol import ConnectorError

#: More changed enrollments than these are read no cheaper than all of them.
MOST_CHANGED = 200_000
#: No change takes longer than this from its version to its commit, nor are more versions given meanwhile.
LONGEST, OVERLAP = timedelta(minutes=10), 10_000
_GONE = {"deletes": "keyValues", "keyChanges": "oldKeyValues"}
_NOT_TOLD = frozenset({"not_found"})


@dataclass(frozen=True, slots=True)
class Since:
    """A cursor. ``by_clock``: the year follows from the date, since neither host nor configuration says which it is.

    ``at``: when ``version`` was the newest, by the host's clock; None where it was not noted. ``settled``: the version
    up to which all changes were committed then, 0 where no earlier pull tells it.
    """

    version: int
    year: str
    by_clock: bool
    at: datetime | None = None
    settled: int = 0

    @classmethod
    def of(cls, cursor: Mapping[str, Any] | None) -> Since | None:
        """The cursor of an earlier pull."""
        if cursor is None:
            return None
        at = cursor.get("at")
        began = datetime.fromisoformat(at) if at is not None else None
        return cls(cursor["version"], cursor["year"], cursor["by_clock"], began, cursor.get("settled", 0))

    def cursor(self) -> dict[str, Any]:
        """The cursor as JSON."""
        at = self.at.isoformat() if self.at is not None else None
        told = {"version": self.version, "year": self.year, "by_clock": self.by_clock}
        return {**told, "at": at, "settled": self.settled}

    def behind(self, oldest: int) -> int:
        """The version behind which changes may be that the pull did not see. ``oldest``: that the host can tell of."""
        return max(self.settled, self.version - OVERLAP, oldest - 1)

    def settled_at(self, newest: int, now: datetime) -> int:
        """The version up to which all changes are committed now; ``newest``: the host's version now."""
        if self.version > newest:
            return 0  # the host was restored
        return self.version if self.at is not None and now - self.at >= LONGEST else self.settled


@dataclass(frozen=True, slots=True)
class Moved:
    """How many rows of a resource changed, how many went, and how many have another key. None: the host cannot tell."""

    changed: int
    deleted: int | None
    rekeyed: int | None

    @property
    def any(self) -> bool:
        """Whether anything may be different."""
        return bool(self.changed) or self.deleted != 0 or self.rekeyed != 0


def window(since: int, newest: int) -> dict[str, str]:
    """The changes behind one version, up to another."""
    return {"minChangeVersion": str(since + 1), "maxChangeVersion": str(newest)}


async def moved(client: Client, names: Sequence[str], within: Mapping[str, str]) -> dict[str, Moved]:
    """How much of each resource changed. Raises ConnectorError as ``Client.count`` does."""
    found: dict[str, Moved] = {}
    untold: set[str] = set()
    for name in names:
        counts: dict[str, int | None] = {}
        for part in ("", *_GONE):
            counts[part] = None if part in untold else await _count(client, Wanted(name, part, within))
            if counts[part] is None and part:
                untold.add(part)
        if counts[""] is not None:
            found[name] = Moved(counts[""], counts["deletes"], counts["keyChanges"])
    return found


async def _count(client: Client, wanted: Wanted) -> int | None:
    """How many rows there are; None where the host has no such thing (or does not show it: what is optional)."""
    try:
        return await client.count(wanted.url(client), wanted.name)
    except NotUnderstoodError:
        return None if wanted.part else 0
    except ConnectorError as error:
        optional = wanted.name in OPTIONAL and error.code in {"not_found", "not_permitted"}
        if optional or (wanted.part and error.code in _NOT_TOLD):
            return None
        raise


@dataclass
class Gone:
    """Takes deletions or changed keys of enrollments. ``unclear``: some came without their key."""

    kind: str
    member: str
    ended: set[str] = field(default_factory=set)
    unclear: bool = False

    def begin_again(self) -> None:
        """Forgets everything."""
        self.ended, self.unclear = set(), False

    def take(self, objects: Objects) -> None:
        """One more page."""
        for one in objects:
            values: Any = one.get(self.member)
            name = keys.of_values(self.kind, values) if isinstance(values, Mapping) else None
            if name is None:
                self.unclear = True
            else:
                self.ended.add(name)


async def gone(client: Client, resource: str, kind: str, within: Mapping[str, str]) -> set[str] | None:
    """The enrollments that ended or were called otherwise; None where the host does not say which."""
    found: set[str] = set()
    for part, member in _GONE.items():
        sink = Gone(kind, member)
        await walk(client, Wanted(resource, part, within), sink)
        if sink.unclear:
            return None
        found |= sink.ended
    return found
