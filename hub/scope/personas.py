"""Users as OneRoster 1.1 has them: with one role each, in one or more orgs.

A person whose visible roles become several roles of 1.1 is several users there, called personas. The main one has the
role of the primary role in the primary org, or else of the first primary role, and keeps the person's sourcedId; each
other has that id with a dot and its role behind. Nothing that the app may not see decides anything here: callers pass
visible role entries only, and the primary org only where it shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from pyroaring import BitMap

from hub.scope.columns import ROLES, Columns
from hub.scope.sets import bitmap
from hub.scope.view import View
from transforms.catalogue import vocabularies as voc

Org = TypeVar("Org", bound=Hashable)

EXTENSION = "ext:"
#: Instead of a role of 1.1 that stands for ``ext:`` roles: they are roles of 1.1 themselves.
KEEP = "keep"
#: The user roles of 1.1.
ROLES_11 = tuple(sorted(voc.USER_ROLE.tokens("1.1")))
#: Between the sourcedId of a person and the role of a persona; in no id that the hub mints.
BETWEEN = "."
#: Begins an ``ext:`` role in such an id, which may not have a colon.
_EXTENSION_IN_ID = "ext-"
#: The roles of agents of students.
FAMILY = ("parent", "guardian", "relative")
_COUNSELOR = "counselor"


@dataclass(frozen=True, slots=True)
class RoleNames:
    """Which role of 1.1 stands for ``counselor`` and for ``ext:`` roles, which it does not know; None for no role.

    ``extension`` may also be ``KEEP``.
    """

    counselor: str | None = "aide"
    extension: str | None = "aide"

    def of(self, role: str) -> str | None:
        """The role of 1.1 for a role of 1.2. All kinds of administrators and principals are one there."""
        if role in ROLES_11:
            return role
        if role.startswith(EXTENSION):
            return role if self.keeps else self.extension
        return self.counselor if role == _COUNSELOR else "administrator"

    def sources(self, role: str) -> tuple[list[str], bool]:
        """The roles of 1.2 for which a role of 1.1 stands, and whether ``ext:`` roles are among them."""
        if self.keeps and role.startswith(EXTENSION):
            return [role], False
        known = (*voc.USER_ROLE.both, *voc.USER_ROLE.only_12)
        return [token for token in known if self.of(token) == role], self.extension == role

    @property
    def keeps(self) -> bool:
        """Whether ``ext:`` roles stay what they are."""
        return self.extension == KEEP

    @property
    def leaves_out(self) -> bool:
        """Whether some roles become none."""
        return self.counselor is None or self.extension is None


@dataclass(frozen=True, slots=True)
class Entry(Generic[Org]):
    """One visible role of a person at an org, which may be named by its rid or its sourcedId."""

    role: str
    primary: bool
    org: Org


def main_role(entries: Sequence[Entry[Org]], primary_org: Org | None) -> Entry[Org]:
    """The entry that a person is known by, of one or more in the order of the document."""
    return min(entries, key=lambda e: 2 if not e.primary else int(primary_org is None or e.org != primary_org))


def personas(entries: Iterable[Entry[Org]], primary_org: Org | None, names: RoleNames) -> dict[str, list[Org]]:
    """The roles of 1.1 that a person has, the main one first, each with the orgs where it holds, the primary one first.

    Empty for who has no role that 1.1 is told of.
    """
    told = [entry for entry in entries if names.of(entry.role) is not None]
    if not told:
        return {}
    orgs: defaultdict[str, dict[Org, None]] = defaultdict(dict)
    for entry in sorted(told, key=lambda e: e.org != primary_org):
        orgs[str(names.of(entry.role))][entry.org] = None
    main = str(names.of(main_role(told, primary_org).role))
    return {role: list(orgs[role]) for role in sorted(orgs, key=lambda role: (role != main, role))}


def persona_id(sourced_id: str, role: str, roles: Sequence[str]) -> str:
    """The sourcedId of one of a person's ``roles``, of which the first is the main one."""
    return sourced_id if role == roles[0] else f"{sourced_id}{suffix(role)}"


def suffix(role: str) -> str:
    """What the id of a persona with a role has behind that of the person."""
    name = _EXTENSION_IN_ID + role.removeprefix(EXTENSION) if role.startswith(EXTENSION) else role
    return BETWEEN + name


def split(sourced_id: str) -> tuple[str, str | None]:
    """The person's sourcedId and the role that an id names, None for the main one."""
    person, between, code = sourced_id.partition(BETWEEN + _EXTENSION_IN_ID)
    if person and between:  # the code may have dots of its own
        return person, EXTENSION + code
    person, _, role = sourced_id.rpartition(BETWEEN)
    return (person, role) if person and role in ROLES_11 else (sourced_id, None)


def fitting(wanted: str | None, roles: Sequence[str]) -> str:
    """The one of a person's roles that a reference from a thing with the role ``wanted`` is to."""
    return wanted if wanted is not None and wanted in roles else roles[0]


def agent(role: str, roles: Sequence[str]) -> str:
    """The one of a person's roles by which that person is an agent of a user with ``role``.

    A student's agents are family, and a parent's are students.
    """
    wanted: Collection[str] = ("student",) if role in FAMILY else FAMILY
    return next((each for each in wanted if each in roles), roles[0])


def shows_agents(role: str, roles: Sequence[str]) -> bool:
    """Whether one of a person's roles has the person's agents: of a teacher who is a parent, the parent has them."""
    related = [each for each in roles if each in {"student", *FAMILY}]
    return not related or role in related


def extra_roles(view: View, columns: Columns) -> dict[str, BitMap]:
    """The present users by each visible role of 1.2 that they have beside the one they are known by.

    Whatever stands for roles in 1.1, all personas but the main ones are of these people and roles.
    """
    edges, shown = columns.roles, view.visible_roles(columns)
    users, codes, orgs, primary = edges.user[shown], edges.role[shown], edges.org[shown], edges.primary[shown]
    another = (users[1:] == users[:-1]) & (codes[1:] != codes[:-1])
    several = np.unique(users[1:][another])
    rows = np.flatnonzero(np.isin(users, several))
    entries: defaultdict[int, list[Entry[int]]] = defaultdict(list)
    tokens = columns.codes[ROLES]
    for user, code, org, is_primary in zip(
        users[rows].tolist(), codes[rows].tolist(), orgs[rows].tolist(), primary[rows].tolist(), strict=True
    ):
        entries[user].append(Entry(tokens[code], is_primary, org))
    known_by = columns.single["users", "primaryOrg"]
    in_view = view.entities["orgs"].present if "primaryOrg" in view.projections["users"].visible else BitMap()
    found: defaultdict[str, list[int]] = defaultdict(list)
    for user, held in entries.items():
        at = int(known_by[user])
        main = main_role(held, at if at in in_view else None).role if at >= 0 else main_role(held, None).role
        for role in {entry.role for entry in held} - {main}:
            found[role].append(user)
    return {role: bitmap(np.array(sorted(people), dtype=np.int32)) for role, people in found.items()}


def first_shown(old: Mapping[str, BitMap], new: Mapping[str, BitMap]) -> dict[str, BitMap]:
    """By role, the people of ``new`` that are not in ``old``, roles without any left out."""
    added = {role: people - old.get(role, BitMap()) for role, people in new.items()}
    return {role: people for role, people in added.items() if people}
