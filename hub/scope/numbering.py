"""The users of 1.1 as numbers, so that filters, orders, pages and counts stay set algebra.

A person's main persona has the person's rid. The others are numbered behind the largest rid, by person and role, those
that are gone among them. Persons are found as ever; ``lift`` leads from them to personas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from hub.scope.personas import Entry, RoleNames, main_role, persona_id, personas
from hub.scope.sets import bitmap, mask
from hub.scope.stamps import Stamps
from hub.scope.view import EntityView

Rids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Person:
    """One who has, had, or may have several roles: visible role entries by the rids of their orgs."""

    rid: int
    sourced_id: str
    entries: Sequence[Entry[int]]
    primary_org: int | None


@dataclass(frozen=True)
class Numbering:
    """The personas beside the main ones, of one step of a view. Never changed.

    ``people`` and ``roles`` say whose and which persona the number ``first + i`` is; those of ``living`` are present.
    ``held``: the persons who have several roles now, each with these roles (the main one first) and their orgs.
    ``absent``: persons that 1.1 has no role for.
    """

    first: int = 0
    people: Rids = field(default_factory=lambda: np.empty(0, np.int32))
    roles: tuple[str, ...] = ()
    living: BitMap = field(default_factory=BitMap)
    held: Mapping[int, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    absent: BitMap = field(default_factory=BitMap)
    sourced_ids: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> Mapping[tuple[int, str], int]:
        """Person and role to the number of a persona that is not, or is no more, the main one."""
        keys = zip(self.people.tolist(), self.roles, strict=True)
        return {key: self.first + i for i, key in enumerate(keys)}

    @cached_property
    def several(self) -> Mapping[str, Sequence[str]]:
        """The roles of persons by sourcedId, the main one first; none for those who are absent."""
        out: dict[str, Sequence[str]] = {self.sourced_ids[rid]: tuple(roles) for rid, roles in self.held.items()}
        return out | {self.sourced_ids[rid]: () for rid in self.absent}

    @property
    def plain(self) -> bool:
        """Whether users are in 1.1 who they are in 1.2."""
        return not (len(self.people) or self.absent)

    def persona(self, number: int) -> tuple[int, str | None]:
        """The person and the role of a number; None for the main one."""
        if number < self.first or not self.roles:
            return number, None
        return int(self.people[number - self.first]), self.roles[number - self.first]

    def number(self, rid: int, role: str, roles: Sequence[str]) -> int:
        """The number of one of a person's roles, of which the first is the main one."""
        return rid if role == roles[0] else self.numbers[rid, role]

    def sourced_id(self, number: int) -> str:
        """The sourcedId of a persona that is not the main one."""
        rid, role = self.persona(number)
        return persona_id(self.sourced_ids[rid], role or "", ("",))

    def lift(self, persons: BitMap) -> BitMap:
        """The present personas of present persons."""
        return (persons - self.absent) | (self.extras_of(persons) & self.living)

    def extras_of(self, persons: BitMap) -> BitMap:
        """All personas but the main ones, those that are gone too, of some persons."""
        if not (self.roles and persons):
            return BitMap()
        flags = mask(persons, max(persons.max(), int(self.people.max())) + 1)[self.people]
        return bitmap(self.first + np.flatnonzero(flags))

    def with_role(self, role: str, orgs: BitMap | None = None) -> BitMap:
        """The present personas, main or not, of persons with several roles that have this one, at one of ``orgs``."""
        found = BitMap()
        for rid, roles in self.held.items():
            at = roles.get(role)
            if at is not None and (orgs is None or any(org in orgs for org in at)):
                found.add(rid if role == next(iter(roles)) else self.numbers[rid, role])
        return found

    def view_of(self, users: EntityView) -> EntityView:
        """The sets of persons as those of personas."""
        if self.plain:
            return users
        gone = users.gone | (BitMap(self.numbers.values()) - self.living)
        layers = np.zeros(self.first + len(self.roles), users.stamps.layers.dtype)
        layers[: len(users.stamps.layers)] = users.stamps.layers
        layers[self.first :] = users.stamps.layers[self.people]
        return EntityView(self.lift(users.present), gone, users.trimmed, Stamps(users.stamps.times, layers))

    def in_order(self, order: Rids, *, before: bool = False) -> Rids:
        """Persons in some order as personas: the others stand behind their main one, or (``before``) in front of it."""
        if not self.roles:
            return order
        places = np.full(max(int(order.max(initial=-1)), int(self.people.max())) + 1, -1, dtype=np.int64)
        places[order] = np.arange(len(order))
        at = places[self.people]
        known = np.flatnonzero(at >= 0)
        if before:
            return np.insert(order, at[known[::-1]], (self.first + known[::-1]).astype(np.int32))
        return np.insert(order, at[known] + 1, (self.first + known).astype(np.int32))


def number(
    persons: Iterable[Person], users: EntityView, extra_roles: Mapping[str, BitMap], names: RoleNames
) -> Numbering:
    """Numbers the personas of ``persons``: at least the listed ones that ``extra_roles`` names, and those without role.

    A persona that was there once and is no more is gone; who left the view left with all of theirs.
    """
    extras: dict[tuple[int, str], bool] = {}
    held: dict[int, Mapping[str, Sequence[int]]] = {}
    absent, sourced_ids = BitMap(), {}
    for person in persons:
        rid = person.rid
        sourced_ids[rid] = person.sourced_id
        now = personas(person.entries, person.primary_org, names) if rid in users.present else {}
        if rid in users.present and not now:
            absent.add(rid)
        if len(now) > 1:
            held[rid] = now
        others = list(now)[1:]
        extras |= dict.fromkeys(((rid, role) for role in others), True)
        merged = _merged(person, names) if now else set()
        for token, people in extra_roles.items():
            role = names.of(token)
            if rid in people and role is not None and token not in merged:
                extras.setdefault((rid, role), False)
    return _numbered(extras, held, absent, sourced_ids, users)


def _merged(person: Person, names: RoleNames) -> set[str]:
    """The roles of 1.2 that a person has now and is not known by: each is part of some persona."""
    told = [entry for entry in person.entries if names.of(entry.role) is not None]
    return {entry.role for entry in told} - {main_role(told, person.primary_org).role}


def _numbered(
    extras: Mapping[tuple[int, str], bool], held: Mapping[int, Mapping[str, Sequence[int]]], absent: BitMap,
    sourced_ids: Mapping[int, str], users: EntityView,
) -> Numbering:  # fmt: skip
    keys = sorted(extras)
    first = max(len(users.stamps.layers), users.listed.max() + 1 if users.listed else 0)
    living = bitmap(np.array([first + i for i, key in enumerate(keys) if extras[key]], dtype=np.int64))
    people = np.array([rid for rid, _ in keys], dtype=np.int32)
    return Numbering(first, people, tuple(role for _, role in keys), living, held, absent, sourced_ids)
