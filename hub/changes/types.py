"""The types of changes, and which of them somebody wants. Pure.

A type is ``<collection>.<what happened>``: as the records of OneRoster's collections come into an app's view, change in
it and leave it, and two marks, which close what one sync or one edit of the grant did.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from hub.errors import Code, HubError
from transforms.catalogue import CATALOGUE

Operation = Literal["created", "updated", "deleted", "completed"]
#: What happens to a record, as seen from the view: it came in, a field that shows changed, it left.
OPERATIONS: tuple[Operation, ...] = ("created", "updated", "deleted")
#: The collections, each after those to which it refers.
ENTITIES = tuple(e.name for e in CATALOGUE.entities)
SYNC_COMPLETED = "syncs.completed"
GRANT_UPDATED = "grants.updated"
MARKS = (SYNC_COMPLETED, GRANT_UPDATED)
#: The mark that tells of a step, by what made it.
MARK_OF = {"sync": SYNC_COMPLETED, "grant": GRANT_UPDATED}
#: Every type there is.
TYPES = (*(f"{entity}.{operation}" for entity in ENTITIES for operation in OPERATIONS), *MARKS)
#: Most patterns that one reader may give.
MOST_PATTERNS = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """The types that a reader wants to hear of."""

    types: frozenset[str] = frozenset(TYPES)

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self:
        """From types and patterns (``users.*``, ``*.deleted``); none stands for all.

        Raises HubError(INVALID_REQUEST) that names a pattern which fits no type.
        """
        asked = list(dict.fromkeys(patterns))
        if not asked:
            return cls()
        if len(asked) > MOST_PATTERNS:
            raise HubError(Code.INVALID_REQUEST, f"At most {MOST_PATTERNS} types can be asked for.")
        return cls(frozenset().union(*map(_fitting, asked)))

    def operations(self, entity: str) -> frozenset[str]:
        """What of one collection is wanted."""
        return frozenset(o for o in OPERATIONS if f"{entity}.{o}" in self.types)

    def within(self, entities: Iterable[str]) -> Wanted:
        """The same for some collections alone; marks stay."""
        kept = frozenset(entities)
        return Wanted(frozenset(t for t in self.types if t in MARKS or t.partition(".")[0] in kept))

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return len(self.types) == len(TYPES)


def _fitting(pattern: str) -> frozenset[str]:
    entity, dot, operation = pattern.partition(".")
    found = frozenset(
        t for t in TYPES if dot and entity in {"*", t.partition(".")[0]} and operation in {"*", t.partition(".")[2]}
    )
    if not found:
        raise HubError(
            Code.INVALID_REQUEST,
            f"{pattern[:60]!r} fits no type of change. Types look like users.created, enrollments.* or *.deleted.",
        )
    return found
