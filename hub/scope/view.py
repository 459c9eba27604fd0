"""What one grant lets its app see at one position: sets, stamps and projections of every entity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from uuid import UUID

from pyroaring import BitMap

from hub.scope.columns import ROLES, Columns
from hub.scope.feed import FeedEntry, Sets, gone_after
from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.scope.sets import Mask, bitmap, mask
from hub.scope.stamps import Stamps


@dataclass(frozen=True)
class EntityView:
    """One entity of a view. ``gone`` are the tombstones: records that were present once and are kept to be told."""

    present: BitMap = field(default_factory=BitMap)
    gone: BitMap = field(default_factory=BitMap)
    trimmed: BitMap = field(default_factory=BitMap)
    stamps: Stamps = field(default_factory=Stamps)

    @cached_property
    def listed(self) -> BitMap:
        """What a collection lists without a filter. Not to be written to."""
        return self.present | self.gone

    @property
    def sets(self) -> Sets:
        """What a comparison with another position needs."""
        return Sets(self.present, self.trimmed)

    def after(self, at: datetime, entry: FeedEntry, new: Sets) -> EntityView:
        """This view once ``entry`` happened at ``at`` and ``new`` is present."""
        return EntityView(new.present, gone_after(self.gone, entry), new.trimmed, self.stamps.apply(at, entry))


@dataclass(frozen=True)
class View:
    """A grant's view at one position of its feed; never changed, so it may be cached by (grant, position)."""

    grant_id: UUID
    position: int
    definition: GrantDefinition
    entities: Mapping[str, EntityView]

    @cached_property
    def projections(self) -> dict[str, Projection]:
        """How the records of each entity look."""
        return {entity: Projection(self.definition, entity) for entity in self.entities}

    @cached_property
    def digest(self) -> str:
        """Equal where the app sees the same: one position of one grant, with the same look of records.

        Edits of the definition that change none of these leave it as it is: an app does not learn of them.
        """
        policies = sorted(repr(projection.policy) for projection in self.projections.values())
        return sha256("\n".join([f"{self.grant_id} {self.position}", *policies]).encode()).hexdigest()

    def listed(self, entity: str) -> BitMap:
        """The records of ``entity`` that its collection lists, tombstones included."""
        return self.entities[entity].listed

    def sees(self, entity: str, rid: int) -> bool:
        """Whether the record is present: whether a reference to it may be printed."""
        return rid in self.entities[entity].present

    def visible_roles(self, columns: Columns) -> Mask:
        """Which of ``columns.roles`` show: entries of present users at present orgs, with a role that a rule names."""
        edges = columns.roles
        users = mask(self.entities["users"].present, columns.sizes["users"])
        orgs = mask(self.entities["orgs"].present, columns.sizes["orgs"])
        flags: Mask = users[edges.user] & orgs[edges.org]
        if self.definition.admitted_roles is not None:
            flags &= columns.code_mask(ROLES, self.definition.admitted_roles)[edges.role]
        return flags

    def with_role(self, columns: Columns, role: str, *, org: int | None = None) -> BitMap:
        """The present users with a visible role entry ``role``, at the org with rid ``org`` if given.

        Tombstones are not in it. Which role they had is not told: an app that lists students or teachers gets all of
        ``gone`` beside these, or none, whatever their roles became since.
        """
        edges = columns.roles
        flags = self.visible_roles(columns) & columns.code_mask(ROLES, [role])[edges.role]
        if org is not None:
            flags &= edges.org == org
        return bitmap(edges.user[flags])
