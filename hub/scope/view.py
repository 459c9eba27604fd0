"""What one grant lets its app see at one position: sets, stamps and projections of every entity."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from operator import attrgetter
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

    @classmethod
    def of_feed(cls, feed: Sequence[tuple[datetime, FeedEntry]]) -> EntityView:
        """The sets that a feed leads to, given its entries from the first on; which are trimmed it does not tell."""
        present, gone = BitMap(), BitMap()
        for _, entry in feed:
            present = (present - entry.left) | entry.entered
            gone = gone_after(gone, entry)
        return cls(present, gone, stamps=Stamps.of_feed(feed))

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


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a feed: its number, counted from 1, its position in the district, and when it was.

    ``rewritten``: the entities of which records changed or left. An app knows the steps of its feed alone: positions
    count what happens to the whole district.
    """

    number: int
    position: int
    at: datetime
    rewritten: frozenset[str]


@dataclass(frozen=True)
class View:
    """A grant's view at one position of its feed; never changed, so it may be cached by (grant, position).

    ``steps``: the feed's, oldest first; of those that nobody may read on from some are missing. ``extra_roles``:
    positions, each with a role and the users that first showed it there beside the one by which they were known (see
    personas.py).
    """

    grant_id: UUID
    position: int
    definition: GrantDefinition
    entities: Mapping[str, EntityView]
    steps: tuple[Step, ...] = ()
    extra_roles: Sequence[tuple[int, str, BitMap]] = ()

    def ever_shown(self, before: int | None = None) -> dict[str, BitMap]:
        """By role, the users that ever showed it beside their main one, ``before`` a position or until now."""
        found: dict[str, BitMap] = {}
        for position, role, people in self.extra_roles:
            if before is None or position < before:
                found[role] = found.get(role, BitMap()) | people
        return found

    def later(
        self, position: int, entities: Mapping[str, EntityView], steps: Sequence[Step],
        extra_roles: Sequence[tuple[int, str, BitMap]],
    ) -> View:  # fmt: skip
        """This view at a later position of the same definition, with what records look like made already."""
        view = replace(self, position=position, entities=entities, steps=(*self.steps, *steps), extra_roles=extra_roles)
        for name in ("looks", "projections"):
            if name in self.__dict__:
                view.__dict__[name] = self.__dict__[name]
        return view

    def looking(self, projections: dict[str, Projection]) -> View:
        """This view, with what records look like (``projections``) made already."""
        self.__dict__["projections"] = projections
        return self

    @property
    def step(self) -> int:
        """The number of the feed's last step, 0 where it has none."""
        return self.steps[-1].number if self.steps else 0

    def since(self, step: int) -> tuple[Step, ...] | None:
        """The steps after one; None where some of them are not known any more."""
        later = self.steps[bisect_right(self.steps, step, key=attrgetter("number")) :]
        return later if len(later) == self.step - step else None

    def position_of(self, step: int) -> int:
        """The district's position of a step, or of the last one before it that is known; 0 without one."""
        known = bisect_right(self.steps, step, key=attrgetter("number"))
        return self.steps[known - 1].position if known else 0

    @cached_property
    def looks(self) -> str:
        """Equal for one grant while its records look the same, in every process.

        Edits of the definition that change no look leave it as it is.
        """
        policies = sorted(repr(projection.policy) for projection in self.projections.values())
        return sha256("\n".join([str(self.grant_id), *policies]).encode()).hexdigest()

    @cached_property
    def projections(self) -> dict[str, Projection]:
        """How the records of each entity look."""
        return {entity: Projection(self.definition, entity) for entity in self.entities}

    @cached_property
    def digest(self) -> str:
        """Equal where the app sees the same: one step of one grant's feed, with the same look of records.

        What happens between two steps shows in no record, and positions count it: an app does not learn of it (T16).
        """
        return sha256(f"{self.step} {self.looks}".encode()).hexdigest()

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
