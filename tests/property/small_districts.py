"""Random districts of a few records, as plain Python values, and the documents and columns that a store would make."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import orjson
from hypothesis import strategies as st
from pyroaring import BitMap

from hub.scope.columns import CODED, CODED_MANY, MANY, ROLES, SINGLE, Columns, Pairs, RoleEdges
from hub.scope.grants import DEFAULT_ENTITIES, NEEDS, FieldRule, GrantDefinition, Mask, Rule, policy_fields
from transforms.catalogue import CATALOGUE, Kind, Need, Privacy
from transforms.references import BASES

ENTITIES = [e.name for e in CATALOGUE.entities]
ROLE_NAMES = ("student", "teacher", "parent", "principal")
GRADES = ("04", "05")
SIZES = {
    "orgs": 4, "academicSessions": 5, "courses": 3, "classes": 6, "users": 8, "enrollments": 16, "demographics": 8,
    "resources": 3, "categories": 2, "scoreScales": 3, "lineItems": 5, "results": 7, "assessmentLineItems": 4,
    "assessmentResults": 5,
}  # fmt: skip
ACTIVE = 0.92
# Texts that would break naive rewriting: the base mark, its escape, look-alikes of members, more than one plane.
NASTY = ("Ana", "\x01/users/x", "\\u0001", '"userProfile":', '{"href":"\x01', "ß", "", "李", "😀", "'t Hart", "7")


@dataclass
class Record:
    """One record: references as rids, other members as JSON values."""

    active: bool = True
    refs: dict[str, Any] = field(default_factory=dict)  # field -> rid or None, or a list of rids
    roles: list[dict[str, Any]] = field(default_factory=list)  # role, roleType, org, userProfile
    values: dict[str, Any] = field(default_factory=dict)


District = dict[str, dict[int, Record]]


def sourced_id(entity: str, rid: int) -> uuid.UUID:
    """The id of a record; demographics have that of their user."""
    entity = CATALOGUE[entity].rid_of or entity
    return uuid.UUID(int=(ENTITIES.index(entity) + 1) << 64 | rid)


def resolve(entity: str, wanted: uuid.UUID) -> int | None:
    """The rid of an id that ``sourced_id`` made, within the largest district that can be."""
    return next((rid for rid in range(SIZES[entity]) if sourced_id(entity, rid) == wanted), None)


def values(rnd: Random, entity: str) -> dict[str, Any]:
    """Members that are neither references nor roles."""
    result: dict[str, Any] = {}
    if entity == "orgs":
        result = {"name": rnd.choice(NASTY), "type": rnd.choice(["school", "district"])}
    elif entity == "academicSessions":
        result = {"title": rnd.choice(NASTY), "type": rnd.choice(["schoolYear", "term", "gradingPeriod"])}
    elif entity in ("courses", "classes"):
        result = {"title": rnd.choice(NASTY), "metadata": rnd.choice([None, {"userProfile": "x"}])}
    elif entity == "enrollments":
        result = {"role": rnd.choice(["student", "teacher", "administrator"])}
    elif entity in ("lineItems", "assessmentLineItems", "scoreScales", "categories", "resources"):
        result = {"title": rnd.choice(NASTY)}
    elif entity in ("results", "assessmentResults"):
        result = {"score": rnd.choice([None, 7, 87.5]), "comment": rnd.choice(NASTY)}
    elif entity == "demographics":
        result = {"birthDate": rnd.choice([None, "2012-05-04", "2012-06-01"]), "sex": rnd.choice(NASTY)}
    elif entity == "users":
        profiles = [{"profileId": "urn:p", "profileType": rnd.choice(NASTY), "vendorId": "v"}]
        result = {name: rnd.choice(NASTY) for name in ("givenName", "familyName", "middleName", "email")}
        result["grades"] = some(rnd, GRADES, 2)
        result["userProfiles"] = rnd.choice([[], profiles])
    return {name: value for name, value in result.items() if value}


def some(rnd: Random, choices: Sequence[Any], most: int) -> list[Any]:
    """Up to ``most`` different ones."""
    return rnd.sample(choices, rnd.randint(0, min(most, len(choices))))


def record(rnd: Random, entity: str, sizes: dict[str, int]) -> Record:
    """One record whose references point anywhere, to inactive records too, or nowhere."""
    made = Record(active=rnd.random() < ACTIVE, values=values(rnd, entity))
    for ref in CATALOGUE[entity].references:
        rids = range(sizes[ref.target or ""])
        if ref.derived:
            continue
        if ref.many:
            made.refs[ref.name] = some(rnd, rids, 2) or some(rnd, rids, 1)
        else:
            made.refs[ref.name] = rnd.choice(rids) if rids and rnd.random() < ACTIVE else None
    if entity == "users":
        for _ in range(rnd.choice([0, 1, 1, 2, 3])):
            made.roles.append(
                {
                    "role": rnd.choice(ROLE_NAMES),
                    "roleType": rnd.choice(["primary", "secondary"]),
                    "org": rnd.randrange(sizes["orgs"]),
                    "userProfile": rnd.choice(["", "urn:p"]),
                }
            )
    return made


def _random(draw: st.DrawFn) -> Random:
    """Sizes and choices come from hypothesis and shrink; a district's many values come from one seed, which is fast."""
    return Random(draw(st.binary(min_size=4, max_size=4)))


@st.composite
def districts(draw: st.DrawFn) -> District:
    """A district with up to ``SIZES`` records."""
    rnd = _random(draw)
    sizes = SIZES
    if draw(st.integers(0, 4)) == 0:
        sizes = {entity: draw(st.integers(1 if entity == "orgs" else 0, SIZES[entity])) for entity in ENTITIES}
        sizes["demographics"] = sizes["users"]
    return derive({entity: {rid: record(rnd, entity, sizes) for rid in range(sizes[entity])} for entity in ENTITIES})


@st.composite
def changed(draw: st.DrawFn, district: District) -> District:
    """The district after a few records changed, appeared or went."""
    rnd = _random(draw)
    after = copy.deepcopy(district)
    sizes = {entity: len(after[entity]) for entity in ENTITIES}
    for entity in draw(st.lists(st.sampled_from([e for e in ENTITIES if sizes[e]]), max_size=5)):
        old = after[entity][rnd.randrange(sizes[entity])]
        new = record(rnd, entity, sizes)
        for what in draw(st.sampled_from([["active"], ["refs"], ["roles"], ["values"], ["refs", "roles", "values"]])):
            setattr(old, what, getattr(new, what))
    return derive(after)


def derive(district: District) -> District:
    """Computes ``children`` from ``parent``."""
    for entity in ("orgs", "academicSessions"):
        for rid, record in district[entity].items():
            record.refs["children"] = [r for r, other in district[entity].items() if other.refs["parent"] == rid]
    return district


@st.composite
def definitions(draw: st.DrawFn) -> GrantDefinition:
    """Any valid grant, some ids of which nobody has."""
    rnd = _random(draw)
    entities = set(rnd.choice([DEFAULT_ENTITIES, ENTITIES, some(rnd, ENTITIES, len(ENTITIES)), ["users"]]))
    while lacking := {name for name, needed in NEEDS.items() if name in entities and not entities.issuperset(needed)}:
        entities -= lacking
    return GrantDefinition(
        rules=tuple(rule(rnd) for _ in range(rnd.choice([0, 1, 1, 2]))),
        entities=tuple(sorted(entities)),
        privacy=tuple(some(rnd, list(Privacy), 3)),
        fields={entity: field_rule(rnd, entity) for entity in {rnd.choice(ENTITIES), "users"} if rnd.random() < 0.5},
    )


def rule(rnd: Random) -> Rule:
    """A rule with up to three limits, often by role."""

    def ids(entity: str) -> tuple[uuid.UUID, ...]:
        known = range(SIZES[entity] + 1)
        return tuple(sourced_id(entity, rid) for rid in some(rnd, known, 4) or known)

    limits: dict[str, Callable[[], tuple[object, ...]]] = {
        "schools": lambda: ids("orgs"),
        "courses": lambda: ids("courses"),
        "classes": lambda: ids("classes"),
        "terms": lambda: ids("academicSessions"),
        "grades": lambda: ("05",),
        "roles": lambda: tuple(some(rnd, ROLE_NAMES, 3) or ROLE_NAMES[:2]),
    }
    return Rule.model_validate({name: limits[name]() for name in some(rnd, [*limits, "roles", "roles", "roles"], 3)})


def field_rule(rnd: Random, entity: str) -> FieldRule:
    """Any valid field policy."""
    body = policy_fields(CATALOGUE[entity])
    masks = {f.name: mask for f in body for mask in Mask if mask.fits(f)}
    masked = set(some(rnd, sorted(masks), 2))
    hidden = set(some(rnd, [f.name for f in body if f.rest12 is not Need.REQUIRED], 4))
    return FieldRule(
        show=tuple(some(rnd, [f.name for f in body], 4)),
        hide=tuple(hidden - masked),
        masks={name: masks[name] for name in masked},
    )


def columns_of(district: District) -> Columns:
    """What the store would load; a district that a test wrote down may lack entities and references."""

    def of(entity: str) -> dict[int, Record]:
        return district.get(entity, {})

    def pairs(entity: str, name: str) -> Pairs:
        edges = [(rid, to) for rid, r in of(entity).items() for to in r.refs.get(name) or ()]
        return Pairs(*(np.array([edge[i] for edge in edges], np.int32) for i in (0, 1)))

    def single(entity: str, name: str) -> np.ndarray:
        rids = [record.refs.get(name) for record in of(entity).values()]
        return np.array([-1 if rid is None else rid for rid in rids], np.int32)

    codes = {key: tuple(sorted({r.values[key[1]] for r in of(key[0]).values() if key[1] in r.values})) for key in CODED}
    coded = {
        (entity, name): np.array(
            [codes[entity, name].index(r.values[name]) if name in r.values else -1 for r in of(entity).values()],
            np.int16,
        )
        for entity, name in CODED
    }
    grades = {
        (entity, name): [
            (rid, GRADES.index(grade)) for rid, r in of(entity).items() for grade in r.values.get(name, [])
        ]
        for entity, name in CODED_MANY
    }
    roles = [(rid, role) for rid, record in of("users").items() for role in record.roles]
    return Columns(
        active={e: BitMap([rid for rid, r in of(e).items() if r.active]) for e in ENTITIES},
        single={key: single(*key) for key in SINGLE},
        many={key: pairs(*key) for key in MANY},
        roles=RoleEdges(
            np.array([rid for rid, _ in roles], np.int32),
            np.array([role["org"] for _, role in roles], np.int32),
            np.array([ROLE_NAMES.index(role["role"]) for _, role in roles], np.int32),
            np.array([role["roleType"] == "primary" for _, role in roles], np.bool_),
        ),
        coded=coded,
        coded_many={
            key: Pairs(*(np.array([edge[i] for edge in edges], np.int32) for i in (0, 1)))
            for key, edges in grades.items()
        },
        codes={**codes, **dict.fromkeys(CODED_MANY, GRADES), ROLES: ROLE_NAMES},
    )


def members_of(entity: str, record: Record) -> dict[str, str]:
    """The JSON text of each member beside the base fields."""
    result = {}
    for f in policy_fields(CATALOGUE[entity]):
        if f.kind is Kind.REF:
            rids = record.refs.get(f.name)
            if f.many and rids:
                result[f.name] = "[" + ",".join(_reference(f.target or "", rid) for rid in rids) + "]"
            elif not f.many and rids is not None:
                result[f.name] = _reference(f.target or "", rids)
        elif f.name == "roles" and record.roles:
            result["roles"] = "[" + ",".join(_role(role) for role in record.roles) + "]"
        elif f.name in record.values:
            result[f.name] = orjson.dumps(record.values[f.name]).decode()
    return result


def _reference(entity: str, rid: int) -> str:
    sid = sourced_id(entity, rid)
    base = BASES[CATALOGUE[entity].service]
    return f'{{"href":"{base}/{entity}/{sid}","sourcedId":"{sid}","type":"{CATALOGUE[entity].singular}"}}'


def _role(role: dict[str, Any]) -> str:
    profile = f',"userProfile":"{role["userProfile"]}"' if role["userProfile"] else ""
    return (
        f'{{"roleType":"{role["roleType"]}","role":"{role["role"]}","org":{_reference("orgs", role["org"])}{profile}}}'
    )


def document(entity: str, record: Record) -> tuple[str, str]:
    """The stored document: the members of class directory, and the others."""
    texts = members_of(entity, record)
    parts = ["", ""]
    for f in policy_fields(CATALOGUE[entity]):
        if f.name in texts:
            parts[f.privacy is not Privacy.DIRECTORY] += f',"{f.name}":{texts[f.name]}'
    return parts[0], parts[1]


def rids_of(record: Record, names: tuple[str, ...]) -> dict[str, list[int]]:
    """The rids of the references, in the order of the document."""
    result = {}
    for name in names:
        if name == "roles":
            result[name] = [role["org"] for role in record.roles]
        else:
            rids = record.refs.get(name)
            result[name] = rids if isinstance(rids, list) else [] if rids is None else [rids]
    return result
