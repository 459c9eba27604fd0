"""Reading as OneRoster 1.1 sees a district: where its sets and values are others than those of 1.2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pyroaring import BitMap

from hub.api.oneroster import merge, search
from hub.api.oneroster.filter import Clause
from hub.api.oneroster.operations import Hop, ListedBy, Operation, Through
from hub.api.oneroster.order import Selections, natural, usual_order
from hub.api.oneroster.reading import Reading, Rids, mask_for
from hub.api.oneroster.v1p1 import clauses as own
from hub.api.oneroster.v1p1.people import USERS, Numberings, narrowed, people
from hub.scope.numbering import Numbering
from hub.scope.personas import ROLES_11, fitting, split
from hub.scope.v1p1 import CLASS_TYPE, LEAST, MOST, SCORE_STATUS, Style
from hub.scope.view import EntityView
from hub.store import conditions as sql
from hub.store import gate
from hub.store.conditions import ALWAYS, Condition, Expression
from hub.store.user_roles import extension_roles
from transforms.catalogue import CATALOGUE, Entity, Field
from transforms.catalogue import vocabularies as voc

#: References to the user whom a record is about: the persona with the record's role, or with the one given here.
_ABOUT: Final[Mapping[tuple[str, str], str | None]] = {("enrollments", "user"): None, ("results", "student"): "student"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OldReading(Reading):
    """A reading of 1.1. Users are numbers of personas, see hub.scope.numbering, wherever rids are in 1.2."""

    style: Style
    numbering: Numbering
    sets: Mapping[str, EntityView]
    cache: Selections

    @classmethod
    async def of_operation(
        cls, reading: Reading, operation: Operation, cache: Selections, numberings: Numberings
    ) -> OldReading:
        """A reading with what an operation touches. Raises gate.ClosedError."""
        style = Style.of(reading.behaviour)
        numbering, users = await people(reading, style.names, numberings)
        sets = {} if numbering.plain else {"users": users}
        for name in _touched(operation):
            view = await narrowed(reading, name, numbering, style.names, cache)
            if view is not None:
                sets[name] = view
        return cls(
            reading.tx,
            reading.gate,
            reading.lens,
            reading.past,
            style=style,
            numbering=numbering,
            sets=sets,
            cache=cache,
        )

    @property
    def variant(self) -> object:
        """What the sets of 1.1 depend on beside the step."""
        return "1.1", self.style.names, sum(map(len, self.ever_shown().values()))

    def then(self, entity: str) -> EntityView:
        """The sets by which records are selected: those that 1.1 can show."""
        return self.sets.get(entity) or Reading.then(self, entity)

    def rows(self, entity: str) -> EntityView:
        """The sets by rid, which for users are those of persons: a number may be the rid of somebody outside."""
        return Reading.then(self, entity) if entity == USERS.name else self.then(entity)

    async def matching(self, entity: Entity, condition: Condition) -> BitMap:
        """The present records, or personas of persons, that meet a condition on their columns."""
        found = await Reading.matching(self, entity, condition)
        return self.numbering.lift(found) if entity is USERS else found

    def told(self, entity: Entity, found: BitMap) -> BitMap:
        """Those of some records that are listed, or the main personas of persons."""
        found = Reading.told(self, entity, found)
        return found - self.numbering.absent if entity is USERS else found

    async def references(self, entity: Entity, condition: Condition, field: Field) -> tuple[Rids, Rids]:
        """Pairs of a present record and what its ``field`` refers to; for users the persona that fits, in the view."""
        sources, targets = await Reading.references(self, entity, condition, field)
        if field.target == USERS.name:
            inside = mask_for(self.rows(USERS.name).present, targets)[targets]
            sources, targets = sources[inside], targets[inside]
        fitted = await self._fitted(entity, field)
        if len(fitted):
            at = np.minimum(np.searchsorted(fitted[:, 0], sources), len(fitted) - 1)
            targets = np.where(fitted[at, 0] == sources, fitted[at, 1], targets)
        return sources, targets

    async def parent(self, entity: Entity, given: str, token: str | None, fits: Condition) -> tuple[int, bool] | None:
        """What a path names, and whether it may stand there."""
        if entity is not USERS:
            return await Reading.parent(self, entity, given, token, fits)
        person, role = split(given)
        fits = ALWAYS if token is None else self.has_role(token)
        known = await self.identify(entity, await self.identified(entity, person), fits)
        return None if known is None else self.persona(known[0], role, token, fits=known[1])

    def persona(self, rid: int, role: str | None, token: str | None, *, fits: bool) -> tuple[int, bool] | None:
        """The number of a person's persona, and whether it has the role ``token``; ``fits`` whether any of them has."""
        number = rid if role is None else self.numbering.numbers.get((rid, role))
        if number is None or rid not in self.rows(USERS.name).listed:
            return None
        roles = self.numbering.held.get(rid)
        if roles is not None and token is not None:
            fits = token == (role or next(iter(roles)))
        return number, fits

    async def selected_by(self, entity: Entity, clauses: Sequence[Clause]) -> BitMap | None:
        """What a clause on a field selects that 1.1 has in another way."""
        clause = clauses[0]
        key = entity.name, clause.path[0]
        match key:
            case "users", "sourcedId" if not self.numbering.plain:
                return await own.by_id(self, self.numbering, clause)
            case "users", "username" if self.pseudonymous:
                return self._or_absent(entity, clause, await own.by_username(self, self.numbering, clause))
            case "users", "role":
                return self._or_absent(entity, clause, await own.by_role(self, await self.roles(), clause))
            case "users", "orgs":
                found = await own.by_org(self, self.numbering, self.style.names, clause)
                return self._or_absent(entity, clause, found)
            case "users", "agents" if not self.numbering.plain:
                targets = await own.users(self, self.numbering, clause)
                found = await own.with_agents(self, self.numbering, targets)
                return self._or_absent(
                    entity, clause, found, await own.with_agents(self, self.numbering, self.present(USERS))
                )
            case "lineItems", "gradingPeriod":
                targets = await search.targets(self, entity["gradingPeriod"], clause)
                valued = await own.by_period(self, self.present(CATALOGUE["academicSessions"]))
                return self._or_absent(entity, clause, await own.by_period(self, targets), valued)
            case _ if key in _ABOUT and not self.numbering.plain:
                field = entity[clause.path[0]]
                targets = await own.users(self, self.numbering, clause)
                found = await own.about(self, entity, field, targets, await self._fitted(entity, field))
                return self._or_absent(entity, clause, found)
            case _:
                return None

    def _or_absent(self, entity: Entity, clause: Clause, found: BitMap, valued: BitMap | None = None) -> BitMap:
        """With the records that have no value, for an app that wants these; all present ones have, if nobody says."""
        if not search.also_absent(self, [clause]):
            return found
        return found | (self.then(entity.name).listed - (self.present(entity) if valued is None else valued))

    async def order(self, entity: Entity, path: tuple[str, ...], *, descending: bool) -> Rids | None:
        """The order by a field that 1.1 has in another way."""
        if entity.name == "lineItems" and path[0] == "gradingPeriod":
            return await own.periods_in_order(self, descending=descending)
        if entity is not USERS:
            return None
        if path == ("role",):
            parts = [await self.with_role(role) for role in sorted(await self.roles(), reverse=descending)]
            return np.concatenate([await natural(self, entity, part, self.cache) for part in parts])
        usual = await usual_order(self, entity, path, descending=descending)
        usual = usual[mask_for(self.rows(USERS.name).listed, usual)[usual]]
        return self.numbering.in_order(usual, before=descending and path == ("sourcedId",))

    async def sort_keys(self, entity: Entity, path: tuple[str, ...], rids: Sequence[int]) -> dict[int, Any] | None:
        """What numbers of personas, and line items by their period, sort by."""
        if entity.name == "lineItems" and path[0] == "gradingPeriod":
            periods = await self.keys(entity, own.period_id(self), rids)
            return await merge.as_shown(self, CATALOGUE["academicSessions"], periods)
        if entity is not USERS or path[0] in {"status", "dateLastModified"}:
            return None
        wanted = BitMap(rids)
        if path == ("role",):
            await gate.check(self.tx, self.gate)
            return {number: role for role in await self.roles() for number in await self.with_role(role) & wanted}
        persons = {number: self.numbering.persona(number)[0] for number in rids}
        found = await merge.usual_keys(self, entity, path, sorted(set(persons.values())))
        keys = {number: found[person] for number, person in persons.items() if person in found}
        if path == ("sourcedId",):
            keys |= {
                number: self.numbering.sourced_id(number) for number in rids if number not in self.rows("users").listed
            }
        return keys

    def column(self, entity: Entity, field: Field) -> Expression:
        """The value of a field as 1.1 shows it."""
        made = _COLUMNS.get((entity.name, field.name))
        return sql.column(field) if made is None else made(self, sql.column(field))

    def leads_to(self, entity: Entity, field: Field, target: int) -> Condition:
        """Whether a reference is to a record, or to the persona of a number."""
        if field.target != "users":
            return Reading.leads_to(self, entity, field, target)
        rid, role = self.numbering.persona(target)
        refers = sql.refers(field, [rid])
        roles = self.numbering.held.get(rid)
        if roles is None:
            return refers
        main, *others = roles
        wanted = _ABOUT[entity.name, field.name]
        if wanted is not None:
            return refers if fitting(wanted, [*roles]) == (role or main) else sql.NEVER
        shown = sql.one_of(self.column(entity, entity["role"]), others if role is None else [role])
        return sql.both(refers, sql.negation(shown) if role is None else shown)

    async def roles(self) -> Sequence[str]:
        """The roles that users of 1.1 may have."""
        if not self.style.names.keeps:
            return ROLES_11
        return *ROLES_11, *await extension_roles(self.tx, self.gate, before=self.before(USERS))

    async def with_role(self, role: str, org: int | None = None) -> BitMap:
        """The present users whose role of 1.1 this is, at an org."""
        found = await self.matching(USERS, self.has_role(role, org))
        held = self.numbering.held
        if not held:
            return found
        return (found - self.numbering.lift(BitMap(held))) | self.numbering.with_role(
            role, None if org is None else BitMap([org])
        )

    def has_role(self, role: str, org: int | None = None) -> Condition:
        """Whether a person shows a role that is this one in 1.1, at an org."""
        tokens, extended = self.style.names.sources(role)
        same = sql.one_of(sql.item("role"), tokens)
        if extended:
            same = sql.either(same, sql.begins(sql.item("role"), "ext:"))
        return self.shown_role(same, *([] if org is None else [sql.entry_refers("org", [org])]))

    async def _fitted(self, entity: Entity, field: Field) -> Rids:
        """Rows of a record and the persona that its reference is to, by record, where that is not the main one."""
        if (entity.name, field.name) not in _ABOUT or not self.numbering.held:
            return np.empty((0, 2), np.int32)
        key = (*self.key, "fitted", entity.name)
        known = self.cache.get(key)
        if isinstance(known, np.ndarray):
            return known
        wanted = _ABOUT[entity.name, field.name]
        words = {wanted} if wanted is not None else {role for _, role in self.numbering.numbers}
        parts = [np.empty((0, 2), np.int32)]
        for role in sorted(words & {role for _, role in self.numbering.numbers}):
            those = [rid for rid, roles in self.numbering.held.items() if role in [*roles][1:]]
            condition = sql.refers(field, those)
            if wanted is None:
                condition = sql.both(
                    condition, sql.exactly(self.column(entity, entity["role"]), sql.Operator.EQUAL, role)
                )
            sources, persons = await Reading.references(self, entity, condition, field)
            numbers = [self.numbering.numbers[rid, role] for rid in persons.tolist()]
            parts.append(np.column_stack([sources, np.array(numbers, dtype=np.int32)]))
        rows = np.concatenate(parts)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        self.cache.put(key, rows, rows.nbytes)
        return rows


def _touched(operation: Operation) -> set[str]:
    """The entities whose sets an operation looks at."""
    names = {operation.entity.name, *(parent.entity for parent in operation.parents)}
    for _, relation in operation.relations:
        match relation:
            case Through(link):
                names.add(link)
            case Hop(field):
                names.add(operation.entity[field].target or "")
            case ListedBy(holder):
                names.add(holder)
            case _:
                pass
    return names


def _username(reading: OldReading, column: Expression) -> Expression:
    """What 1.1 shows as the name of a user; of who has none and no address, the id, where PostgreSQL knows that."""
    email = USERS["email"]
    shown = email.name in reading.lens.filterable(USERS)
    more = [sql.column(email)] if shown else []
    return sql.first_of(column, *more, *([] if reading.pseudonymous else [reading.shown_id(USERS)]))


def _enrollment_role(reading: OldReading, column: Expression) -> Expression:
    style = reading.style
    return column if style.names.keeps else sql.known_word(column, voc.ENROLLMENT_ROLE.both, style.enrolled_as)


def _resource_roles(reading: OldReading, column: Expression) -> Expression:
    style = reading.style
    return column if style.names.keeps else sql.known_words(column, voc.RESOURCE_ROLE.both, style.resource_role("ext:"))


_COLUMNS: Mapping[tuple[str, str], Callable[[OldReading, Expression], Expression]] = {
    ("users", "username"): _username,
    ("classes", "classType"): lambda _, column: sql.known_word(column, voc.CLASS_TYPE.both, CLASS_TYPE),
    ("demographics", "sex"): lambda _, column: sql.known_word(column, voc.SEX.tokens("1.1"), None),
    ("enrollments", "role"): _enrollment_role,
    ("results", "scoreStatus"): lambda _, column: sql.known_word(column, voc.SCORE_STATUS.both, SCORE_STATUS),
    ("lineItems", "resultValueMin"): lambda _, column: sql.first_of(column, sql.constant(LEAST, "double precision")),
    ("lineItems", "resultValueMax"): lambda _, column: sql.first_of(column, sql.constant(MOST, "double precision")),
    ("resources", "roles"): _resource_roles,
}
