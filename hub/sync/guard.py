"""The guard: looks at the totals of a difference and holds the run for a person when they look like a broken export.

Pure: numbers in, reasons out. The limits of this release are the defaults below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: A run is held when it would delete more than this share and more than this number of records of an entity …
DELETED_SHARE, DELETED_NUMBER = 0.05, 20
#: … or update more than this share (of an entity with more than DELETED_NUMBER records).
UPDATED_SHARE = 0.30


@dataclass(slots=True)
class Counts:
    """What a run does to one entity. ``before`` is how many active records the source had."""

    before: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    quarantined: int = 0

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run is held: a stable code, the entity or file, the number and the limit that it went over."""

    code: str
    subject: str
    number: int
    limit: float
    text: str

    def as_json(self) -> dict[str, Any]:
        """The reason as it is stored and shown."""
        return asdict(self)


def reasons(
    counts: Mapping[str, Counts], *, emptied_schools: int, missing_files: list[str], approved: Mapping[str, Any] | None
) -> list[Reason]:
    """Why the run must wait; empty when it may go on.

    ``emptied_schools``: schools that had users or classes and would have none. ``missing_files``: files that the last
    applied package had and this one has not. ``approved``: what a person approved (see ``hub.store.runs.decide``); the
    same or a smaller difference then passes, a larger one is held again.
    """
    found: list[Reason] = []
    for entity, c in counts.items():
        found += _of_entity(entity, c)
    if emptied_schools:
        found.append(
            Reason(
                "school_emptied", "orgs", emptied_schools, 0, f"{emptied_schools} schools would lose all their people."
            )
        )
    found += [
        Reason("file_missing", name, 1, 0, f"{name}.csv came with the last package and is missing now.")
        for name in missing_files
    ]
    if approved is None:
        return found
    return [r for r in found if _exceeds(r, counts, approved)]


def _of_entity(entity: str, c: Counts) -> list[Reason]:
    found = []
    if c.deleted > DELETED_NUMBER and c.deleted > DELETED_SHARE * c.before:
        text = f"{c.deleted} of {c.before} {entity} would be deleted; the limit is {DELETED_SHARE:.0%}."
        found.append(Reason("too_many_deleted", entity, c.deleted, DELETED_SHARE, text))
    if c.before > DELETED_NUMBER and c.updated > UPDATED_SHARE * c.before:
        text = f"{c.updated} of {c.before} {entity} would be updated; the limit is {UPDATED_SHARE:.0%}."
        found.append(Reason("too_many_updated", entity, c.updated, UPDATED_SHARE, text))
    return found


def _exceeds(reason: Reason, counts: Mapping[str, Counts], approved: Mapping[str, Any]) -> bool:
    """Whether the difference is larger than the one that was approved: data may have moved on in between."""
    was = approved.get("counts", {}).get(reason.subject, {})
    now = counts.get(reason.subject, Counts())
    return bool(was) and (now.deleted > was.get("deleted", 0) or now.updated > was.get("updated", 0))
