"""Random questions that an app can ask of what it sees, with the answers of a slow model."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from hub.api.oneroster.operations import Operation
from hub.behaviour import Behaviour
from hub.objects.bases import DISTRICT, PATHS
from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.store import grants
from tests.api.oneroster.rosters import Hub
from tests.api.oneroster.slow_model import BASE, Clause, Snapshot
from transforms.catalogue import CATALOGUE, Entity, Kind

PLAIN = {Kind.STRING, Kind.ENUM, Kind.BOOLEAN, Kind.INTEGER, Kind.FLOAT, Kind.DATE, Kind.DATETIME, Kind.YEAR}
ENTRIES = {
    Kind.USER_ID: ("type", "identifier"), Kind.SCALE_VALUE: ("itemValueLHS", "itemValueRHS"),
    Kind.OBJECTIVES: ("source", "learningObjectiveIds"),
    Kind.OBJECTIVE_RESULTS: (
        "source", *(f"learningObjectiveResults.{name}" for name in ("learningObjectiveId", "score", "textScore"))
    ),
    Kind.COMPONENT: (
        "profileId", "profileType", "vendorId", "applicationId", "description", "credentials.type",
        "credentials.username",
    ),
}  # fmt: skip
PREDICATES = ("=", "!=", ">", ">=", "<", "<=", "~")


async def snapshot(hub: Hub, app: str, behaviour: Behaviour) -> Snapshot:
    """All that an app sees."""
    root = DISTRICT.replace("{district}", str(hub.prepared.here))
    objects = {
        entity.name: await hub.all(f"{root}{PATHS['1.2'][entity.service]}/{entity.name}", app=app)
        for entity in CATALOGUE.entities
    }
    async with hub.db.district(hub.prepared.here, readonly=True) as tx:
        grant = await grants.get(tx, hub.prepared.grants[app])
    definition = GrantDefinition.model_validate(grant.definition)
    shown = {entity: Projection(definition, entity).filterable for entity in objects}
    return Snapshot(objects, behaviour, shown)


def parents(seen: Snapshot, operation: Operation, rnd: Random) -> tuple[str, ...] | None:
    """Ids of objects that can stand in an operation's path, one inside the other."""
    ids: list[str] = []
    for parent in operation.parents:
        fitting = [
            one["sourcedId"]
            for one in seen.living(parent.entity)
            if seen.fits(one, parent.subset) and (parent.within is None or one[parent.within]["sourcedId"] == ids[-1])
        ]
        if not fitting:
            return None
        ids.append(rnd.choice(fitting))
    return tuple(ids)


def question(
    seen: Snapshot, service: str, operation: Operation, rnd: Random
) -> tuple[str, dict[str, str], list[str]] | None:
    """A path below the address of a service, a query, and the ids that the model answers with."""
    ids = parents(seen, operation, rnd)
    if ids is None:
        return None
    path = service + operation.path
    for variable, key in zip(operation.variables, ids, strict=True):
        path = path.replace(f"{{{variable}}}", key)
    found, query = seen.collection(operation, ids), dict[str, str]()
    if rnd.random() < 0.7:
        most = 4 if seen.behaviour.more_clauses else 2
        clauses = [clause(seen, operation.entity, rnd) for _ in range(rnd.randint(1, most))]
        joins = [rnd.choice(["AND", "OR"]) for _ in clauses[1:]]
        texts = [clauses[0].text] + [f"{j} {c.text}" for j, c in zip(joins, clauses[1:], strict=True)]
        query["filter"] = " ".join(texts)
        found = [one for one in found if seen.matches(one, operation.entity, clauses, joins)]
    if rnd.random() < 0.6:
        query |= {"sort": sort(seen, operation.entity, rnd), "orderBy": rnd.choice(["asc", "desc"])}
        found = seen.in_order(found, operation.entity, query["sort"], descending=query["orderBy"] == "desc")
    return path, query, [one["sourcedId"] for one in found]


def sort(seen: Snapshot, entity: Entity, rnd: Random) -> str:
    """A field that records can be sorted by."""
    names = sorted(BASE)
    for f in seen.fields(entity):
        if f.kind is Kind.REF and not f.many:
            names.append(f"{f.name}.sourcedId")
        elif f.kind in PLAIN and not f.many:
            names.append(f.name)
    return rnd.choice(names)


def clause(seen: Snapshot, entity: Entity, rnd: Random) -> Clause:
    """A clause on any field, often with a value that some object has."""
    paths = sorted(BASE)
    for f in seen.fields(entity):
        if f.kind is Kind.REF:
            paths += [f"{f.name}.sourcedId"] * 2
        elif f.kind is Kind.COMPONENT and f.name == "roles":
            paths += ["roles.role", "roles.roleType", "roles.beginDate", "roles.org.sourcedId"]
            paths += ["roles.userProfile"] * ("userProfiles" in seen.filterable[entity.name])
        elif f.kind in ENTRIES:
            paths += [f"{f.name}.{member}" for member in ENTRIES[f.kind]]
        elif f.kind is Kind.METADATA:
            paths.append(f"{f.name}.house")
        elif f.kind in PLAIN:
            paths.append(f.name)
    path = rnd.choice(paths)
    known = sorted({value for one in seen.objects[entity.name] for value in values(one, path.split("."))})
    value = rnd.choice(known) if known and rnd.random() < 0.85 else rnd.choice(["", "x", "true", "7", "2026-09-01"])
    value = rnd.choice([value, value, value, value.upper(), value[:2], value[1:3], f"{value},03", f"{value}.0"])
    return Clause(path, rnd.choice(PREDICATES), value)


def values(value: Any, path: Sequence[str]) -> list[str]:
    """All texts at a path."""
    if isinstance(value, list):
        return [text for one in value for text in values(one, path)]
    if not path:
        return [] if value is None else [str(value)]
    return values(value.get(path[0]), path[1:]) if isinstance(value, dict) else []
