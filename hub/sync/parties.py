"""The source of a run among all that speak of a district's records: what each may say, and who goes first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import polars as pl

from hub.store import districts, sources, statements
from hub.store.database import Transaction
from hub.store.sources import Source
from transforms.canonical import body
from transforms.catalogue import CATALOGUE, Entity, Need
from transforms.merge import Preference, Survivorship


@dataclass(frozen=True)
class Parties:
    """``others``: the district's other sources, without those that departed. ``rules``: the district's survivorship.

    ``own`` is None for a run that is no source's. ``merged``: some records of the district are one person.
    """

    own: Source | None
    others: list[Source] = field(default_factory=list)
    rules: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    overridden: bool = False
    merged: bool = False

    @property
    def several(self) -> bool:
        """Whether a record may be more than one thing that the run's source says."""
        return bool(self.others) or self.overridden or self.merged or self.own is None

    @cached_property
    def ranks(self) -> dict[str, int]:
        """By source: the lower goes first. Of equal priority goes first who was there first."""
        known = [*self.others, *([self.own] if self.own else [])]
        ordered = sorted(known, key=lambda s: (s.priority, s.created_at, s.source_id))
        return {str(source.source_id): rank for rank, source in enumerate(ordered)}

    @property
    def same_keys(self) -> list[Source]:
        """The other sources that call objects by the same keys, those that go first in front."""
        if self.own is None or self.own.key_space is None:
            return []
        same = [s for s in self.others if s.key_space == self.own.key_space]
        return sorted(same, key=lambda s: self.ranks[str(s.source_id)])

    def speaks(self, entity: Entity) -> bool:
        """Whether the run's source may say anything of an entity."""
        return self.own is None or self.own.speaks_for is None or entity.name in self.own.speaks_for

    def silent(self, entity: Entity) -> frozenset[str]:
        """The fields of an entity that the run's source may not speak for."""
        if self.own is None or self.own.speaks_for is None:
            return frozenset()
        named = self.own.speaks_for.get(entity.name)
        return frozenset() if named is None else frozenset(f.name for f in body(entity)) - frozenset(named)

    def heard(self, entity: Entity, frame: pl.DataFrame) -> pl.DataFrame:
        """A canonical frame without the fields that the run's source may not speak for.

        The rows' hashes tell which these are: when a source may say less or more, its rows are looked at again.
        """
        silent = sorted(self.silent(entity))
        if not silent:
            return frame
        mark = int.from_bytes(hashlib.blake2b(",".join(silent).encode(), digest_size=8).digest())
        empty = (pl.lit(None, frame.schema[name]).alias(name) for name in silent)
        return frame.with_columns(*empty, hash=frame["hash"] ^ pl.Series([mark], dtype=pl.UInt64))

    def creates(self, entity: Entity) -> bool:
        """Whether the run's source may make new records: it speaks for all that a record must have."""
        silent = self.silent(entity)
        return not any(f.name in silent for f in body(entity) if f.rest12 is Need.REQUIRED)

    def links(self, entity: Entity) -> list[str]:
        """The fields by which objects of the run's source are recognised among records of others."""
        return self.own.links.get(entity.name, []) if self.own is not None else []

    def survivorship(self, entity: str) -> Survivorship:
        """The rules for an entity."""
        rules = self.rules.get(entity, {})
        preferences = {name: Preference(rule["rule"]) for name, rule in rules.items() if "rule" in rule}
        return Survivorship(preferences, {name: rule["sources"] for name, rule in rules.items() if rule.get("sources")})


async def parties(tx: Transaction, own: Source | None, *, returning: UUID | None = None) -> Parties:
    """Who has a say in the transaction's district. ``returning``: a source that departed and has one again."""
    known = [s for s in await sources.listing(tx) if s.state != "departed" or s.source_id == returning]
    others = [s for s in known if own is None or s.source_id != own.source_id]
    overridden, merged = await statements.by_people(tx)
    rules = await districts.survivorship(tx) if others or merged else {}
    return Parties(own, others, rules, overridden, merged)


#: Fields by which objects may be recognised: texts with a column of their own that tell one object from another.
#: Enrollments have none; they are recognised by the class, together with their user and role.
LINKS: Mapping[str, tuple[str, ...]] = {
    entity.name: tuple(
        name for name in ("identifier", "email", "username", "userMasterIdentifier", "courseCode", "classCode", "title",
                          "name")
        if name in entity and not entity[name].many
    )
    for entity in CATALOGUE.of_service("rostering")
} | {"enrollments": ("class",)}  # fmt: skip
#: The link by which people are recognised as after each change (hub.sync.recognising), beside those above.
PERSON: Final = "person"
