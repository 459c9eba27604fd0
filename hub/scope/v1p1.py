"""Objects of OneRoster 1.1, made from those of 1.2 as an app sees them.

Which members there are is the catalogue's word; here is what becomes another value. What looks the same in both
versions stays text: most objects are never parsed. Sources: the 1.1 tables; for what 1.1 cannot say, the reading that
docs/oneroster-1.1.md states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson

from hub.scope.personas import (
    EXTENSION,
    Entry,
    RoleNames,
    agent,
    fitting,
    persona_id,
    personas,
    shows_agents,
)
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Need
from transforms.catalogue import vocabularies as voc
from transforms.render import BASES, escaped_bases, reference

Record = dict[str, Any]

#: Bounds of a line item that has none.
LEAST, MOST = 0, 100
CLASS_TYPE = "scheduled"
SCORE_STATUS = "submitted"
#: Users with several roles: sourcedId to roles of 1.1, the main one first.
Several = Mapping[str, Sequence[str]]

_BASE = frozenset(BASE_NAMES)
_USERS = "users"
_USER_REF = f'"user":{{"href":"{BASES["rostering"]}/users/'
_LONGEST_ID = 255
#: Begins the metadata, whose members may be called anything; what is looked for in text here stands before it.
_METADATA = ',"metadata":{'
#: Members that 1.1 requires and that are made of others.
_MADE = {
    "users": frozenset({"role", "orgs", "username"}),
    "lineItems": frozenset({"resultValueMin", "resultValueMax"}),
}  # fmt: skip
#: Entities whose objects are the same text in both versions, always.
SAME = frozenset({"orgs", "academicSessions", "courses"})
#: What stands in for a member: the grading period of a line item is its session.
STAND_INS = {("lineItems", "gradingPeriod"): "academicSession"}


@dataclass(frozen=True, slots=True)
class Style:
    """How one app wants its objects of 1.1."""

    json_booleans: bool = False
    names: RoleNames = field(default_factory=RoleNames)
    extra_fields: bool = False  # what 1.1 does not know, under ``metadata``

    def enrollment_role(self, role: str) -> str | None:
        """The role of an enrollment; None for one that 1.1 is not told of."""
        return self.names.extension if role.startswith(EXTENSION) else role

    def resource_role(self, role: str) -> str:
        """The role that a resource is for. None left would be for everybody, so no role is left out."""
        return (self.names.extension or "aide") if role.startswith(EXTENSION) else role


def visible(entity: Entity, names: frozenset[str]) -> frozenset[str]:
    """The members that show where ``names`` of the 1.2 members do, the base members included."""
    standing_in = {mine for (name, mine), other in STAND_INS.items() if name == entity.name and other in names}
    return _BASE | (names & _members(entity)) | _MADE.get(entity.name, frozenset()) | standing_in


def filterable(entity: Entity, names: frozenset[str]) -> frozenset[str]:
    """The members that can be filtered by where ``names`` can in 1.2: nothing is told through what is hidden there."""
    made = {"role", "orgs"} if entity.name == _USERS else frozenset[str]()
    standing_in = {mine for (name, mine), other in STAND_INS.items() if name == entity.name and other in names}
    return _BASE | (names & _members(entity)) | made | standing_in


def json_booleans(entity: Entity, text: str) -> str:
    """An object with ``true`` for ``"true"``; what stands in metadata stays as it is."""
    names = _booleans(entity)
    if not names:
        return text
    head, between, tail = text.partition(_METADATA)
    for name in names:
        head = head.replace(f'"{name}":"true"', f'"{name}":true').replace(f'"{name}":"false"', f'"{name}":false')
    return head + between + tail


@dataclass(frozen=True, slots=True)
class _Making:
    """What one object depends on beside its record."""

    style: Style
    role: str | None  # of the persona
    several: Several


class Documents:
    """Makes objects of one entity. ``shown`` are the 1.2 members that the app sees."""

    def __init__(self, entity: Entity, style: Style, shown: frozenset[str]) -> None:
        self._entity = entity
        self._style = style
        self._class_type = entity.name == "classes" and "classType" in shown
        self._booleans = style.json_booleans and bool(_booleans(entity))

    def make(
        self, text: str, *, role: str | None = None, several: Several | None = None,
        fields: frozenset[str] | None = None,
    ) -> str | None:  # fmt: skip
        """The object of 1.1 for one of 1.2 that is active, with the marks of addresses in its hrefs as before.

        ``role`` names the persona of a user beside the main one, None is the main one; the answer is None where the
        person has no such persona, and for a result or enrollment that 1.1 has no words for. ``fields`` selects members of 1.1.
        """
        making = _Making(self._style, role, several or {})
        if fields is None and not self._differs(text, making.several):
            return json_booleans(self._entity, text) if self._booleans else text
        record = self._converted(orjson.loads(escaped_bases(text)), making)
        if record is None:
            return None
        made = self._told(record)
        return orjson.dumps(made if fields is None else {n: v for n, v in made.items() if n in fields}).decode()

    def _differs(self, text: str, several: Several) -> bool:
        """Whether an object is another text in 1.1, but for how truth is written."""
        match self._entity.name:
            case name if name in SAME:
                return False
            case "classes":
                return self._class_type and _word(text, "classType", voc.CLASS_TYPE.both) is not True
            case "enrollments":
                return '"role":"ext:' in text or (bool(several) and _user_of(text) in several)
            case "demographics":
                return _word(text, "sex", voc.SEX.tokens("1.1")) is False
            case "categories":
                return '"weight":' in text
            case "resources":
                return '"ext:' in text
            case _:
                return True

    def _converted(self, record: Record, making: _Making) -> Record | None:
        """The record with the values of 1.1."""
        match self._entity.name:
            case "users":
                return _user(record, making)
            case "classes" if self._class_type and record.get("classType") not in voc.CLASS_TYPE.both:
                return record | {"classType": CLASS_TYPE}
            case "enrollments":
                return _enrollment(record, making)
            case "demographics" if record.get("sex") not in voc.SEX.tokens("1.1"):
                return {name: value for name, value in record.items() if name != "sex"}
            case "lineItems":
                return _line_item(record)
            case "results":
                return _result(record, making)
            case "resources" if "roles" in record:
                roles = dict.fromkeys(making.style.resource_role(role) for role in record["roles"])
                return record | {"roles": list(roles)}
            case _:
                return record

    def _told(self, record: Record) -> Record:
        """The members that 1.1 knows, and the others under ``metadata`` for an app that wants them."""
        known = _members(self._entity)
        out, extra = {}, {}
        for name, value in record.items():
            if name in _BASE:
                out[name] = value
            elif name in known:
                out[name] = self._value(self._entity[name], value)
            elif self._style.extra_fields and _can_be_extra(self._entity, name):
                extra[name] = self._value(self._entity[name], value)
        if extra:
            out["metadata"] = {**out.get("metadata", {}), **extra}
        return out

    def _value(self, field: Field, value: Any) -> Any:
        if field.kind is Kind.REF:
            target = field.target or ""
            made = [orjson.Fragment(reference(target, one["sourcedId"])) for one in (value if field.many else [value])]
            return made if field.many else made[0]
        if field.kind is Kind.BOOLEAN and self._style.json_booleans:
            return value == "true"
        return value


@cache
def _members(entity: Entity) -> frozenset[str]:
    return frozenset(f.name for f in entity.members("1.1")) - _BASE


@cache
def _booleans(entity: Entity) -> tuple[str, ...]:
    return tuple(f.name for f in entity.body if f.kind is Kind.BOOLEAN)


@cache
def _can_be_extra(entity: Entity, name: str) -> bool:
    """Whether a member is of 1.2 alone, and not one that 1.1 has in another form or has no address for."""
    field = entity[name]
    if field.rest11 is not Need.ABSENT or name == "roles":
        return False
    return field.kind is not Kind.REF or "1.1" in CATALOGUE[field.target or ""].versions


def _word(text: str, name: str, words: Sequence[str]) -> bool | None:
    """Whether a member is one of ``words``; None where it is missing."""
    members = text.partition(_METADATA)[0]
    if f'"{name}":"' not in members:
        return None
    return any(f'"{name}":"{word}"' in members for word in words)


def _user_of(text: str) -> str:
    """The sourcedId of an enrollment's user. The mark before the path is in no data, so this is the reference."""
    start = text.index(_USER_REF) + len(_USER_REF)
    return text[start : text.index('"', start, start + _LONGEST_ID)]


def _user(record: Record, making: _Making) -> Record | None:
    entries = [Entry(r["role"], r["roleType"] == "primary", r["org"]["sourcedId"]) for r in record["roles"]]
    primary_org = record.get("primaryOrg", {}).get("sourcedId")
    held = personas(entries, primary_org, making.style.names)
    roles = list(held)
    if (making.role is None and not roles) or (making.role is not None and making.role not in roles[1:]):
        return None
    role = making.role or roles[0]
    person = record["sourcedId"]
    record["username"] = _username(record)
    record["role"], record["orgs"] = role, [{"sourcedId": org} for org in held[role]]
    if "agents" in record:
        if shows_agents(role, roles):
            ids = [one["sourcedId"] for one in record["agents"]]
            record["agents"] = [_agent(each, role, making.several) for each in ids if _is_told(each, making.several)]
        else:
            del record["agents"]
    if role != roles[0]:
        record["sourcedId"] = persona_id(person, role, roles)
        record["metadata"] = {**record.get("metadata", {}), "person": person}
    return record


def _agent(sourced_id: str, role: str, several: Several) -> Record:
    roles = several.get(sourced_id)
    return {"sourcedId": persona_id(sourced_id, agent(role, roles), roles) if roles else sourced_id}


def _is_told(sourced_id: str, several: Several) -> bool:
    """Whether 1.1 knows of a person; one without any role that it has a word for is listed with none."""
    return bool(several.get(sourced_id, ("",)))


def _username(record: Record) -> str:
    """1.1 requires one: the name of the first account, or what else the app may see and finds the person by."""
    accounts = (c for p in record.get("userProfiles", ()) for c in p.get("credentials", ()))
    named = record.get("username") or next((c["username"] for c in accounts if c.get("username")), None)
    return str(named or record.get("email") or record["sourcedId"])


def _enrollment(record: Record, making: _Making) -> Record | None:
    mapped = making.style.enrollment_role(record["role"])
    if mapped is None:
        return None
    record["role"] = mapped
    record["user"] = _persona(record["user"]["sourcedId"], mapped, making.several)
    return record


def _persona(sourced_id: str, wanted: str, several: Several) -> Record:
    roles = several.get(sourced_id)
    return {"sourcedId": persona_id(sourced_id, fitting(wanted, roles), roles) if roles else sourced_id}


def _line_item(record: Record) -> Record:
    if "gradingPeriod" not in record and "academicSession" in record:
        record["gradingPeriod"] = record["academicSession"]
    record.setdefault("resultValueMin", LEAST)
    record.setdefault("resultValueMax", MOST)
    return record


def _result(record: Record, making: _Making) -> Record | None:
    if "score" not in record:
        return None
    if record["scoreStatus"] not in voc.SCORE_STATUS.both:
        record["scoreStatus"] = SCORE_STATUS
    record["student"] = _persona(record["student"]["sourcedId"], "student", making.several)
    return record
