"""Filters on what 1.1 has in another way: clauses to sets of records and of personas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pyroaring import BitMap

from hub.api.oneroster import compare, search
from hub.api.oneroster.filter import Clause
from hub.api.oneroster.order import usual_order
from hub.api.oneroster.reading import Reading, Rids, mask_for
from hub.api.oneroster.v1p1.people import USERS
from hub.scope.numbering import Numbering
from hub.scope.personas import FAMILY, ROLES_11, RoleNames, agent, shows_agents, split
from hub.scope.sets import bitmap
from hub.store import conditions as sql
from hub.store.conditions import ALWAYS, Condition, Expression, Operator
from transforms.catalogue import CATALOGUE, Entity, Field

_ITEMS = CATALOGUE["lineItems"]
_SESSIONS = CATALOGUE["academicSessions"]


async def by_role(reading: Reading, roles: Sequence[str], clause: Clause) -> BitMap:
    """The present users whose role, which is one of ``roles``, meets a clause."""
    holds = search.HOLDS[clause.predicate]
    found = BitMap()
    for role in roles:
        if holds(role, clause.value):
            found |= await reading.with_role(role)
    return found


async def by_org(reading: Reading, people: Numbering, names: RoleNames, clause: Clause) -> BitMap:
    """The present users of whose orgs one meets a clause."""
    orgs = await search.targets(reading, USERS["orgs"], clause)
    told = [token for role in ROLES_11 for token in names.sources(role)[0]]
    has_role = sql.one_of(sql.item("role"), told)
    if names.extension is not None:
        has_role = sql.either(has_role, sql.begins(sql.item("role"), "ext:"))
    found = await reading.matching(USERS, reading.shown_role(sql.entry_refers("org", list(orgs)), has_role))
    if not people.held:
        return found
    found -= people.lift(BitMap(people.held))
    for role in {role for roles in people.held.values() for role in roles}:
        found |= people.with_role(role, orgs)
    return found


async def by_id(reading: Reading, people: Numbering, clause: Clause) -> BitMap:
    """The listed users whose sourcedId meets a clause."""
    found = await search.of_id(reading, USERS, clause)
    if clause.predicate is Operator.EQUAL and split(clause.value)[1] is None:
        return found
    holds = search.HOLDS[clause.predicate]
    extras = range(people.first, people.first + len(people.roles))
    return found | BitMap([each for each in extras if holds(people.sourced_id(each), clause.value)])


async def by_username(reading: Reading, people: Numbering, clause: Clause) -> BitMap:
    """The present users whose username meets a clause; it is a pseudonym of who has neither a name nor an address."""
    field = USERS["username"]
    shown = reading.column(USERS, field)
    found = await reading.matching(USERS, compare.of_kind(shown, field, clause, reading.behaviour))
    nameless = await reading.matching(USERS, sql.there_is_none(shown))
    if not nameless:
        return found
    persons = await search.of_id(reading, USERS, clause) & reading.rows(USERS.name).present
    return found | (people.lift(persons) & nameless)


async def users(reading: Reading, people: Numbering, clause: Clause) -> BitMap:
    """The present users that the value of a reference's clause stands for."""
    present = reading.present(USERS)
    if clause.predicate is Operator.NOT_EQUAL:
        return present - await by_id(reading, people, Clause(clause.path, Operator.EQUAL, clause.value))
    return await by_id(reading, people, clause) & present


async def about(reading: Reading, entity: Entity, field: Field, targets: BitMap, fitted: Rids) -> BitMap:
    """The present records whose reference is to one of some personas.

    ``fitted``: rows of a record and the persona that its reference is to, where that is not the main one.
    """
    mains = targets & reading.rows(USERS.name).present
    persons = await found(reading, entity, await search.referring(reading, entity, field, mains))
    return (persons - bitmap(np.unique(fitted[:, 0]))) | bitmap(
        np.unique(fitted[mask_for(targets, fitted[:, 1])[fitted[:, 1]], 0])
    )


async def with_agents(reading: Reading, people: Numbering, targets: BitMap) -> BitMap:
    """The present users one of whose agents is one of some personas."""
    sources, agents = await Reading.references(reading, USERS, ALWAYS, USERS["agents"])
    inside = mask_for(reading.rows(USERS.name).present, agents)[agents]
    sources, agents = sources[inside], agents[inside]
    family = BitMap()
    for role in FAMILY:
        family |= await reading.with_role(role)
    special = np.array([*people.held, *people.absent], dtype=np.int32)
    odd = np.isin(sources, special) | np.isin(agents, special)
    plain = bitmap(np.unique(sources[~odd & mask_for(targets, agents)[agents]]))
    for source, target in zip(sources[odd].tolist(), agents[odd].tolist(), strict=True):
        if target in people.absent or source in people.absent:
            continue
        roles = tuple(people.held.get(source, ("parent" if source in family else "student",)))
        for role in roles:
            if not shows_agents(role, roles):
                continue
            known = tuple(people.held.get(target, ("",)))
            number = people.number(target, agent(role, known), known)
            if number in targets:
                plain.add(people.number(source, role, roles))
    return plain


async def by_period(reading: Reading, targets: BitMap) -> BitMap:
    """The present line items whose grading period, or session where they have none, is one of some sessions."""
    own, session = _ITEMS["gradingPeriod"], _ITEMS["academicSession"]
    shown = reading.view.projections["lineItems"].visible
    with_own, result = BitMap(), BitMap()
    if own.name in shown:
        with_own = await found(
            reading, _ITEMS, await search.referring(reading, _ITEMS, own, reading.present(_SESSIONS))
        )  # fmt: skip
        result = await found(reading, _ITEMS, await search.referring(reading, _ITEMS, own, targets))
    if session.name in shown:
        standing_in = await found(reading, _ITEMS, await search.referring(reading, _ITEMS, session, targets))
        result |= standing_in - with_own
    return result


async def periods_in_order(reading: Reading, *, descending: bool) -> Rids:
    """Line items in the order of the id of their grading period, or of the session where they have none."""
    shown = reading.view.projections["lineItems"].visible
    ordered = await usual_order(reading, _SESSIONS, ("sourcedId",), descending=descending)
    inside = ordered[mask_for(reading.present(_SESSIONS), ordered)[ordered]]
    ranks = np.full(int(ordered.max(initial=-1)) + 2, -1, dtype=np.int64)
    ranks[inside] = np.arange(len(inside))
    present = reading.present(_ITEMS)
    rank_of = np.full(present.max() + 1 if present else 0, -1, dtype=np.int64)
    for name in ("academicSession", "gradingPeriod"):  # the latter wins
        if name in shown:
            items, sessions = await reading.references(_ITEMS, ALWAYS, _ITEMS[name])
            at = np.where(sessions < len(ranks), ranks[np.minimum(sessions, len(ranks) - 1)], -1)
            rank_of[items[at >= 0]] = at[at >= 0]
    valued = np.flatnonzero(rank_of >= 0).astype(np.int32)
    if reading.pseudonymous:
        return await reading.by_rank(_ITEMS, valued, rank_of[valued])
    return valued[np.argsort(rank_of[valued], kind="stable")]


def period_id(reading: Reading) -> Expression:
    """The id of a line item's grading period, or of the session where it has none."""
    shown = reading.view.projections["lineItems"].visible
    inside = list(reading.present(_SESSIONS))
    names = [name for name in ("gradingPeriod", "academicSession") if name in shown]
    return sql.first_of(*(sql.id_of(_ITEMS[name], _SESSIONS, inside) for name in names))


async def found(reading: Reading, entity: Entity, leaf: Condition | BitMap) -> BitMap:
    """The present records that a clause selects."""
    return await reading.matching(entity, leaf) if isinstance(leaf, Condition) else leaf
