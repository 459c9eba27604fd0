"""The staged difference of a run, whatever it comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import polars as pl
from pyroaring import BitMap

from hub.store.database import Transaction
from hub.store.departures import Departed
from hub.sync.changes import EntityChanges
from hub.sync.fresh import Fresh
from hub.sync.provenance import Provenance
from transforms.issues import collect
from transforms.rules.settings import DEFAULTS, RuleSettings

#: Columns of who was recognised: what the source calls them, their record, and why.
RECOGNISED = {
    "key": pl.String, "rid": pl.UInt32, "tier": pl.String, "score": pl.Float32, "evidence": pl.String,
    "model": pl.String,
}  # fmt: skip


@dataclass(slots=True)
class Departure:
    """A source goes, whose state was ``state``.

    By entity: ``claims``, all of which it spoke; ``handed``, records that are those of the source ``to`` from now on.
    """

    to: UUID | None
    state: str
    claims: dict[str, BitMap] = field(default_factory=dict)
    handed: dict[str, BitMap] = field(default_factory=dict)


@dataclass(slots=True)
class Retold:
    """What an undo makes of what sources said. ``speakers``: the sources of which staging has other statements.

    ``silent``, by entity and source: the records of which it says nothing any more. ``returning``: a source that
    departed and comes back.
    """

    speakers: set[UUID] = field(default_factory=set)
    silent: dict[tuple[str, UUID], list[int]] = field(default_factory=dict)
    returning: Departed | None = None

    def __bool__(self) -> bool:
        return bool(self.speakers or self.silent) or self.returning is not None


@dataclass(slots=True)
class Prepared:
    """The staged difference of a run. ``heads``: the next free rid per entity after it.

    ``reserved``: (entity, first rid, count) that were taken before, where others may take rids meanwhile.
    ``alone``: by entity and source, records of which it has spoken alone: it says what their documents do.
    ``fresh``: the new records, where the district had none. ``stated``: the entities of which staging has statements of
    sources too; ``parts``: those of which it has rows of component files. ``provenance``: of the records that the run
    merges.
    ``source_id``: the source that says this, if one does; ``departure``: it says nothing any more; ``retold``: what an
    undo makes of what others said.
    ``joined``: the enrollments that stand for several rows, of a package that has all enrollments.
    ``rules``: what the district has set for rules.
    ``recognised``: people of other sources whom the run's brings, too.
    ``renewed``: sourcedIds of the source that name new people.
    ``last``: what the transaction that applies it does at its end.
    """

    entities: dict[str, EntityChanges] = field(default_factory=dict)
    issues: list[pl.DataFrame] = field(default_factory=list)
    heads: dict[str, int] = field(default_factory=dict)
    reserved: list[tuple[str, int, int]] = field(default_factory=list)
    fresh: Fresh | None = None
    stated: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)
    alone: dict[tuple[str, UUID], BitMap] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    source_id: UUID | None = None
    departure: Departure | None = None
    joined: list[int] | None = None
    retold: Retold | None = None
    recognised: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RECOGNISED))
    renewed: list[str] = field(default_factory=list)
    last: Callable[[Transaction], Awaitable[None]] | None = None
    rules: RuleSettings = DEFAULTS

    @property
    def merges(self) -> bool:
        """Whether records are merged, or were and are no more."""
        return bool(self.stated or self.provenance)

    def __bool__(self) -> bool:
        """Whether there is something to apply: a source that goes or comes back is, whatever becomes of its records."""
        others = (self.last, self.departure, self.retold)
        return any(self.entities.values()) or any(other is not None for other in others)


def findings(prepared: Prepared) -> pl.DataFrame:
    """All findings of the run in one frame, without those of rules that are off."""
    return prepared.rules.kept(collect(prepared.issues))
