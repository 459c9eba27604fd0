"""From a grant's definition to the sets of records it lets its app see. docs/grants.md states the rules in words.

Each rule selects classes, then users and enrollments; the rules' selections are united; then what they require is
added (closure), so that no required reference of a visible record points outside the view. Optional references may:
``trim`` finds those records and ``projection`` leaves the references out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from pyroaring import BitMap

from hub.scope.closure import deciding, may_lack
from hub.scope.columns import ROLES, Columns, Pairs
from hub.scope.grants import GrantDefinition, Rule
from hub.scope.sets import Ints, Mask, bitmap, mask, members
from transforms.catalogue import CATALOGUE, Entity

Resolve = Callable[[str, UUID], int | None]

STUDENT = "student"
#: Roles of people who are not staff: enrollments other than those of students need one of the other roles.
NOT_STAFF = frozenset({STUDENT, "parent", "guardian", "relative"})


@dataclass
class _Selection:
    """What one rule, or several united, select: masks over rids, enrollments as a set."""

    orgs: Mask
    classes: Mask
    users: Mask
    enrollments: BitMap
    whole: bool

    def unite(self, other: _Selection) -> None:
        self.orgs |= other.orgs
        self.classes |= other.classes
        self.users |= other.users
        self.enrollments |= other.enrollments
        self.whole |= other.whole


def compile_grant(definition: GrantDefinition, columns: Columns, resolve: Resolve) -> dict[str, BitMap]:
    """The records that are present in the view, for every entity of the catalogue.

    ``resolve`` gives the rid of a hub sourcedId or ``None``; an id that it does not know selects nothing. Only active
    records are present. Entities that are not granted hold just what the granted ones require.
    """
    sound = _sound_classes(columns)
    selection, *others = (_select(rule, columns, resolve, sound) for rule in definition.alternatives)
    for other in others:
        selection.unite(other)
    granted = frozenset(definition.entities)
    present = {entity.name: BitMap() for entity in CATALOGUE.entities}
    if "classes" in granted:
        present["classes"] = members(selection.classes)
    if "enrollments" in granted:
        present["enrollments"] = selection.enrollments
    if "users" in granted:
        present["users"] = members(selection.users)
    if "demographics" in granted:
        present["demographics"] = present["users"] & columns.active["demographics"]
    courses = _courses(granted, selection, columns)
    present["courses"] = members(courses)
    present["academicSessions"] = members(_sessions(granted, selection, courses, columns))
    present["orgs"] = members(_orgs(definition, selection, present["enrollments"], columns))
    if "resources" in granted:
        present["resources"] = _resources(selection, present, columns)
    for entity in CATALOGUE.of_service("gradebook"):
        if entity.name in granted:
            present[entity.name] = _complete(entity, present, columns)
    return present


def _resources(selection: _Selection, present: Mapping[str, BitMap], columns: Columns) -> BitMap:
    """All resources for who sees the whole district, else those of visible courses, classes and users."""
    if selection.whole:
        return columns.active["resources"].copy()
    flags = np.zeros_like(columns.live["resources"])
    for (entity, name), pairs in columns.many.items():
        if name == "resources":
            flags[pairs.target[mask(present[entity], columns.sizes[entity])[pairs.source]]] = True
    return members(flags & columns.live["resources"])


def _complete(entity: Entity, present: Mapping[str, BitMap], columns: Columns) -> BitMap:
    """The active records whose deciding references are all present."""
    flags = columns.live[entity.name].copy()
    for field in deciding(entity):
        targets = columns.single[entity.name, field.name]
        inside = mask(present[field.target or ""], columns.sizes[field.target or ""])[targets]
        flags[:-1] &= inside | (targets < 0) if may_lack(entity, field) else inside
    return members(flags)


def _select(rule: Rule, columns: Columns, resolve: Resolve, sound: Mask) -> _Selection:
    """The classes, users and enrollments of one rule, and the orgs that it names or reaches."""
    live = columns.live
    schools = _chosen("orgs", rule.schools, columns, resolve) if rule.schools else live["orgs"]
    classes = _classes(rule, schools, columns, resolve, sound)
    fit = _users_that_fit(rule, columns, live["orgs"])
    rows = _enrollments(rule, classes, fit, columns)
    enrolled = np.zeros_like(live["users"])
    enrolled[columns.single["enrollments", "user"][rows]] = True
    orgs = schools.copy()
    if rule.limits_classes:
        users = enrolled
        if not rule.schools:
            orgs = np.zeros_like(orgs)
            orgs[columns.single["classes", "school"][np.flatnonzero(classes)]] = True
    elif rule.schools:
        users = enrolled | _users_that_fit(rule, columns, schools)
    else:
        users = fit
    active = columns.active["enrollments"]
    enrollments = active.copy() if len(rows) == len(active) else bitmap(rows)
    return _Selection(orgs, classes, users, enrollments, rule.whole)


def _chosen(entity: str, ids: Iterable[UUID], columns: Columns, resolve: Resolve) -> Mask:
    """The active records of ``entity`` with these ids."""
    flags = np.zeros_like(columns.live[entity])
    for sourced_id in ids:
        rid = resolve(entity, sourced_id)
        if rid is not None and 0 <= rid < columns.sizes[entity]:
            flags[rid] = True
    flags &= columns.live[entity]
    return flags


def _sound_classes(columns: Columns) -> Mask:
    """The active classes whose required references (course, school, at least one term) are active."""
    live = columns.live
    flags = live["classes"].copy()
    flags[:-1] &= live["courses"][columns.single["classes", "course"]]
    flags[:-1] &= live["orgs"][columns.single["classes", "school"]]
    flags &= _sources(columns.many["classes", "terms"], live["academicSessions"], live["classes"])
    return flags


def _classes(rule: Rule, schools: Mask, columns: Columns, resolve: Resolve, sound: Mask) -> Mask:
    flags = sound.copy()
    if rule.schools:
        flags[:-1] &= schools[columns.single["classes", "school"]]
    if rule.courses:
        flags[:-1] &= _chosen("courses", rule.courses, columns, resolve)[columns.single["classes", "course"]]
    if rule.classes:
        flags &= _chosen("classes", rule.classes, columns, resolve)
    if rule.terms:
        terms = _chosen("academicSessions", rule.terms, columns, resolve)
        _descend(terms, columns)
        flags &= _sources(columns.many["classes", "terms"], terms, flags)
    return flags


def _users_that_fit(rule: Rule, columns: Columns, orgs: Mask) -> Mask:
    """The active users with a role that the rule admits at one of ``orgs``; grades limit the student roles."""
    edges = columns.roles
    fits = orgs[edges.org] & columns.live["users"][edges.user]
    if rule.roles:
        fits &= columns.code_mask(ROLES, rule.roles)[edges.role]
    if rule.grades:
        student = columns.code_mask(ROLES, [STUDENT])[edges.role]
        fits &= ~student | _users_in_grades(rule, columns)[edges.user]
    users = np.zeros_like(columns.live["users"])
    users[edges.user[fits]] = True
    return users


def _users_in_grades(rule: Rule, columns: Columns) -> Mask:
    key = ("users", "grades")
    return _sources(columns.coded_many[key], columns.code_mask(key, rule.grades), columns.live["users"])


def _enrollments(rule: Rule, classes: Mask, fit: Mask, columns: Columns) -> Ints:
    """The active enrollments, as ascending rids, of these classes and of users that fit the rule."""
    single, live = columns.single, columns.live
    inside = classes[single["enrollments", "class"]]
    inside &= live["enrollments"][:-1]
    rows: Ints = np.flatnonzero(inside)
    rows = _keep(rows, fit[single["enrollments", "user"][rows]])
    rows = _keep(rows, live["orgs"][single["enrollments", "school"][rows]])
    key = ("enrollments", "role")
    if rule.roles:
        rows = _keep(rows, _admitted_enrollments(rule, columns)[columns.coded[key][rows]])
    if rule.grades:
        student = columns.code_mask(key, [STUDENT])[columns.coded[key][rows]]
        rows = _keep(rows, ~student | _users_in_grades(rule, columns)[single["enrollments", "user"][rows]])
    return rows


def _keep(rows: Ints, flags: Mask) -> Ints:
    return rows if flags.all() else rows[flags]


def _admitted_enrollments(rule: Rule, columns: Columns) -> Mask:
    """Enrollment roles are another vocabulary than user roles: students' need ``student``, the others a staff role."""
    key = ("enrollments", "role")
    staff = not NOT_STAFF.issuperset(rule.roles)
    return columns.code_mask(key, [token for token in columns.codes[key] if _admits(token, rule, staff=staff)])


def _admits(token: str, rule: Rule, *, staff: bool) -> bool:
    return token in rule.roles or (token not in NOT_STAFF and staff)


def _courses(granted: frozenset[str], selection: _Selection, columns: Columns) -> Mask:
    flags = np.zeros_like(columns.live["courses"])
    if not granted & {"courses", "classes"}:
        return flags
    if "courses" in granted and selection.whole:
        return columns.live["courses"]
    flags[columns.single["classes", "course"][np.flatnonzero(selection.classes)]] = True
    return flags


def _sessions(granted: frozenset[str], selection: _Selection, courses: Mask, columns: Columns) -> Mask:
    live = columns.live["academicSessions"]
    flags = np.zeros_like(live)
    granting = "academicSessions" in granted
    if granting and selection.whole:
        return live
    if granting or "classes" in granted:
        terms = columns.many["classes", "terms"]
        flags[terms.target[selection.classes[terms.source]]] = True
    if granting:
        flags[columns.single["courses", "schoolYear"][np.flatnonzero(courses)]] = True
        flags &= live
        _ascend(flags, columns.single["academicSessions", "parent"], live)
        key = ("academicSessions", "type")
        periods = columns.code_mask(key, ["gradingPeriod"])[columns.coded[key]]
        _descend(flags, columns, only=periods)
    return flags & live


def _orgs(definition: GrantDefinition, selection: _Selection, enrollments: BitMap, columns: Columns) -> Mask:
    """The orgs that are reached, with their ancestors, and those that visible records require."""
    live, single = columns.live["orgs"], columns.single
    granted = frozenset(definition.entities)
    reached = selection.orgs & live
    _ascend(reached, single["orgs", "parent"], live)
    flags = reached.copy() if "orgs" in granted else np.zeros_like(live)
    if flags[:-1].sum() < live.sum():
        if "classes" in granted:
            flags[single["classes", "school"][np.flatnonzero(selection.classes)]] = True
        if enrollments:
            flags[_schools_of(enrollments, columns)] = True
        if "users" in granted:
            _add_orgs_of_roles(definition, selection.users, reached, flags, columns)
    return flags


def _schools_of(enrollments: BitMap, columns: Columns) -> Ints:
    schools = columns.single["enrollments", "school"]
    if enrollments == columns.active["enrollments"]:
        return schools[columns.live["enrollments"][:-1]]
    return schools[np.frombuffer(enrollments.to_array(), dtype=np.uint32)]


def _add_orgs_of_roles(definition: GrantDefinition, users: Mask, reached: Mask, flags: Mask, columns: Columns) -> None:
    """Adds the reached orgs of visible users' roles to ``flags``; for who has none, the org of the primary role."""
    edges = columns.roles
    shown = users[edges.user] & columns.live["orgs"][edges.org]
    if definition.admitted_roles is not None:
        shown &= columns.code_mask(ROLES, definition.admitted_roles)[edges.role]
    flags[edges.org[shown & reached[edges.org]]] = True
    housed = np.zeros_like(users)
    housed[edges.user[shown & flags[edges.org]]] = True
    rows = np.flatnonzero(shown & ~housed[edges.user])
    # Stable, so that among equals the entry that stands first in the document counts.
    rows = rows[np.lexsort((~edges.primary[rows], edges.user[rows]))]
    _, first = np.unique(edges.user[rows], return_index=True)
    flags[edges.org[rows[first]]] = True


def _sources(pairs: Pairs, targets: Mask, like: Mask) -> Mask:
    """The records with at least one edge to ``targets``, as a mask of the shape of ``like``."""
    flags = np.zeros_like(like)
    flags[pairs.source[targets[pairs.target]]] = True
    return flags


def _ascend(flags: Mask, parents: Ints, live: Mask) -> None:
    """Adds the active ancestors. Ends on cycles too, since each step must add something."""
    new: Ints = np.flatnonzero(flags[:-1])
    while len(new):
        above = np.unique(parents[new])
        above = above[live[above] & ~flags[above]]
        flags[above] = True
        new = above


def _descend(flags: Mask, columns: Columns, *, only: Mask | None = None) -> None:
    """Adds the active sessions below the flagged ones; with ``only``, none but these and through these."""
    parents = columns.single["academicSessions", "parent"]
    candidates = columns.live["academicSessions"][:-1].copy()
    if only is not None:
        candidates &= only
    while True:
        new = candidates & flags[parents] & ~flags[:-1]
        if not new.any():
            return
        flags[:-1] |= new
