"""Collections, filters and orders computed object by object from what an app sees: slow, and shares no code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hub.api.oneroster.operations import Hop, ListedBy, Operation, Own, Relation, RoleAt, Subset, Through
from hub.behaviour import Behaviour
from transforms.catalogue import CATALOGUE, Entity, Field, Kind

Object = dict[str, Any]
BASE = {"sourcedId", "status", "dateLastModified"}
#: Fields that are lists of objects.
LISTS = {"roles", "userIds", "scoreScaleValue", "userProfiles", "learningObjectiveSet"}
OBJECTS = {Kind.USER_ID, Kind.SCALE_VALUE, Kind.COMPONENT, Kind.OBJECTIVES, Kind.OBJECTIVE_RESULTS}
#: Members of theirs of which case counts.
IDS = {"userProfile", "profileId", "source", "learningObjectiveId", "learningObjectiveIds"}
EXACT = {"sourcedId", "status", "identifier", "userMasterIdentifier"}
NUMBERS = {Kind.YEAR, Kind.INTEGER, Kind.FLOAT}
TIMES = {Kind.DATE, Kind.DATETIME}
ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
}  # fmt: skip


@dataclass(frozen=True)
class Clause:
    """One comparison of a filter."""

    path: str
    predicate: str
    value: str

    @property
    def text(self) -> str:
        quoted = self.value.replace("'", "''")
        return f"{self.path}{self.predicate}'{quoted}'"


@dataclass(frozen=True)
class Snapshot:
    """All objects that an app sees, by entity, in the order of their age."""

    objects: dict[str, list[Object]]
    behaviour: Behaviour
    filterable: dict[str, frozenset[str]]

    def fields(self, entity: Entity) -> list[Field]:
        """The fields beside the base ones by which the app may filter and sort."""
        return [f for f in entity.body if f.name in self.filterable[entity.name] - BASE]

    def living(self, entity: str) -> list[Object]:
        return [one for one in self.objects[entity] if one["status"] == "active"]

    def collection(self, operation: Operation, ids: tuple[str, ...]) -> list[Object]:
        """What an operation lists without a filter; ``ids`` are those of objects that can be read at its path."""
        everything = self.objects[operation.entity.name]
        if not operation.parents:
            return [o for o in everything if o["status"] != "active" or self.fits(o, operation.subset)]
        found = [o for o in everything if o["status"] == "active" and self.fits(o, operation.subset)]
        for place, relation in operation.relations:
            related = self._related(relation, operation.entity, ids[place])
            found = [o for o in found if o["sourcedId"] in related]
        return found

    def fits(self, one: Object, subset: Subset | None) -> bool:
        """Whether a living object is in a subset."""
        if subset is None:
            return True
        if subset.field == "roles":
            return any(role["role"] == subset.token for role in one["roles"])
        wider = subset.token == "term" and self.behaviour.semester_is_term
        return one[subset.field] in ({"term", "semester"} if wider else {subset.token})

    def _related(self, relation: Relation, entity: Entity, parent: str) -> set[str]:
        match relation:
            case Own(field, also):
                found = {o["sourcedId"] for o in self.living(entity.name) if parent in _ids(o.get(field))}
                if also is not None and self.behaviour.courses_of_classes:
                    found |= self._related(also, entity, parent)
                return found
            case RoleAt(role):
                return {
                    o["sourcedId"] for o in self.living("users")
                    if any(r["role"] == role and r["org"]["sourcedId"] == parent for r in o["roles"])
                }  # fmt: skip
            case Hop(field, beyond):
                near = {
                    o["sourcedId"] for o in self.living(entity[field].target or "") if parent in _ids(o.get(beyond))
                }  # fmt: skip
                return {o["sourcedId"] for o in self.living(entity.name) if near & set(_ids(o.get(field)))}
            case ListedBy(holder, field):
                return {key for o in self.living(holder) if o["sourcedId"] == parent for key in _ids(o.get(field))}
            case Through(link, near, far, role, free):
                links = [o for o in self.living(link) if role in {None, o.get("role")}]
                found = {key for o in links if parent in _ids(o.get(near)) for key in _ids(o.get(far))}
                if free:
                    used = {key for o in self.living(link) for key in _ids(o.get(far))}
                    found |= {o["sourcedId"] for o in self.living(entity.name)} - used
                return found

    def matches(self, one: Object, entity: Entity, clauses: list[Clause], joins: list[str]) -> bool:
        """Whether an object meets the clauses, which count from left to right."""
        if self.behaviour.same_entry and all(join == "AND" for join in joins):
            lists = {name for c in clauses for name in [c.path.partition(".")[0]] if "." in c.path and name in LISTS}
            together = [[c for c in clauses if c.path.startswith(f"{name}.")] for name in sorted(lists)]
            alone = [c for c in clauses if c.path.partition(".")[0] not in lists]
            return all(self._entry(one, group) for group in together) and all(
                self._clause(one, entity, c) for c in alone
            )
        found = self._clause(one, entity, clauses[0])
        for join, clause in zip(joins, clauses[1:], strict=True):
            holds = self._clause(one, entity, clause)
            found = (found and holds) if join == "AND" else (found or holds)
        return found

    def _entry(self, one: Object, clauses: list[Clause]) -> bool:
        """Whether one and the same entry of a list meets all clauses."""
        name = clauses[0].path.partition(".")[0]
        entries = one.get(name, [])
        if not entries:
            return self.behaviour.absent_not_equal and all(c.predicate == "!=" for c in clauses)
        return any(all(self._member(name, entry, c) for c in clauses) for entry in entries)

    def _member(self, name: str, entry: Object, clause: Clause) -> bool:
        member, *inner = clause.path.split(".")[1:]
        kind = CATALOGUE["roles"][member].kind if name == "roles" and member != "userProfile" else Kind.STRING
        value = entry.get(member)
        if inner and member != "org":
            inside = value or []
            return any(self._value(inner[0], kind, each.get(inner[0]), clause) for each in inside) or (
                not inside and self._absent(_kind(inner[0], kind), clause)
            )
        if member == "org":
            return value is not None and self._holds("sourcedId", Kind.STRING, value["sourcedId"], clause)
        return self._value(member, kind, value, clause)

    def _value(self, member: str, kind: Kind, value: Any, clause: Clause) -> bool:
        """Whether a member of an entry meets a clause."""
        kind = _kind(member, kind)
        if value is None:
            return self._absent(kind, clause)
        if isinstance(value, list):
            return self._list(value, clause, exact=member in IDS)
        return self._holds("sourcedId" if member in IDS else "", kind, value, clause)

    def _clause(self, one: Object, entity: Entity, clause: Clause) -> bool:
        name, *rest = clause.path.split(".")
        if name in BASE:
            kind = Kind.DATETIME if name == "dateLastModified" else Kind.STRING
            return self._holds(name, kind, one[name], clause)
        field = entity[name]
        if field.kind in OBJECTS:
            return self._entry(one, [clause])
        if field.kind is Kind.REF:
            found = any(self._holds("sourcedId", Kind.STRING, key, clause) for key in _ids(one.get(name)))
            return found or (name not in one and self._absent(Kind.STRING, clause))
        value = one.get(name, {}).get(rest[0]) if field.kind is Kind.METADATA else one.get(name)
        kind = Kind.STRING if field.kind is Kind.METADATA else field.kind
        if value in (None, []):
            return self._absent(kind, clause)
        if field.many:
            return self._list(value, clause, exact=field.kind is Kind.ENUM)
        return self._holds("" if field.kind is Kind.METADATA else name, kind, value, clause)

    def _absent(self, kind: Kind, clause: Clause) -> bool:
        convertible = kind not in {Kind.BOOLEAN, *NUMBERS, *TIMES} or _as(kind, clause.value) is not None
        return self.behaviour.absent_not_equal and clause.predicate == "!=" and convertible

    def _list(self, values: list[str], clause: Clause, *, exact: bool) -> bool:
        wanted = [part.strip() for part in clause.value.split(",")]
        fold = not exact and (self.behaviour.filter_case == "folded" or clause.predicate == "~")
        have, want = ({v.lower() if fold else v for v in items} for items in (values, wanted))
        equal = have == want if self.behaviour.list_equal == "same" else want <= have
        match clause.predicate:
            case "=":
                return equal
            case "!=":
                return not equal
            case "~":
                return bool(have & want)
            case predicate:
                return any(ORDERED[predicate](value, clause.value) for value in values)

    def _holds(self, name: str, kind: Kind, value: Any, clause: Clause) -> bool:
        predicate, wanted = clause.predicate, clause.value
        if predicate == "~":
            return wanted.lower() in str(value).removesuffix(".0" if isinstance(value, float) else "").lower()
        if kind is Kind.BOOLEAN:
            return wanted.lower() in {"true", "false"} and predicate in {"=", "!="} and ORDERED[predicate](
                value, wanted.lower()
            )  # fmt: skip
        if kind in NUMBERS or kind in TIMES:
            converted = _as(kind, wanted)
            return converted is not None and ORDERED[predicate](_as(kind, str(value)), converted)
        folds = kind is Kind.STRING and name not in EXACT and self.behaviour.filter_case == "folded"
        if folds and predicate in {"=", "!="}:
            return ORDERED[predicate](value.lower(), wanted.lower())
        return ORDERED[predicate](value, wanted)

    def in_order(self, found: list[Object], entity: Entity, path: str, *, descending: bool) -> list[Object]:
        """Stable, in both directions; what has no value comes last."""
        name, _, rest = path.partition(".")

        def value(one: Object) -> Any:
            known = one.get(name)
            known = known.get(rest) if rest and known is not None else known
            kind = entity[name].kind if name not in BASE else Kind.STRING
            return known if known is None or kind in {Kind.REF, Kind.METADATA} else _as(kind, known, known)

        valued = [one for one in found if value(one) is not None]
        absent = [one for one in found if value(one) is None]
        return sorted(valued, key=value, reverse=descending) + absent


def _kind(member: str, kind: Kind) -> Kind:
    return Kind.FLOAT if member == "score" else kind


def _ids(value: Any) -> list[str]:
    references: Iterable[Object] = value if isinstance(value, list) else [value] if value else []
    return [reference["sourcedId"] for reference in references]


def _as(kind: Kind, text: str, otherwise: Any = None) -> Any:
    """A value as its type compares; None where it cannot be of it."""
    try:
        if kind in NUMBERS:
            return float(text)
        if kind in TIMES:
            at = datetime.fromisoformat(text)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        return None
    if kind is Kind.BOOLEAN:
        return text.lower() if text.lower() in {"true", "false"} else None
    return otherwise
