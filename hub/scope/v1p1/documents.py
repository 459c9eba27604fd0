"""Objects of OneRoster 1.1, made from those of 1.2 as an app sees them.

Which members there are is the catalogue's word; here is what becomes another value. What looks the same in both
versions stays text: most objects are never parsed. Sources: the 1.1 tables; for what 1.1 cannot say, the reading that
docs/oneroster-1.1.md states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson

from hub.behaviour import Behaviour
from hub.scope.identifiers import referred
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
from hub.scope.v1p1 import texts
from hub.scope.v1p1.texts import Several
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Need
from transforms.catalogue import vocabularies as voc
from transforms.references import escaped_bases, reference

Record = dict[str, Any]

#: Bounds of a line item that has none.
LEAST, MOST = 0, 100
CLASS_TYPE = "scheduled"
SCORE_STATUS = "submitted"

_OMIT = "omit"
_OTHERWISE_ENROLLED = "proctor"
_BASE = frozenset(BASE_NAMES)
_USERS = "users"
#: Members that 1.1 requires and that are made of others.
_MADE = {
    "users": frozenset({"role", "orgs", "username"}),
    "lineItems": frozenset({"resultValueMin", "resultValueMax"}),
}  # fmt: skip
#: Entities whose objects are the same text in both versions, always.
SAME = frozenset({"orgs", "academicSessions", "courses"})
#: What stands in for a member: the grading period of a line item is its session.
STAND_INS = {("lineItems", "gradingPeriod"): "academicSession"}
#: References with a narrower type than that of the entity they lead to, by the entity that has them. The one of an
#: enrollment is its role, where that is one of the words for it.
_SPECIFIC = {
    "classes": ("terms", "term"), "lineItems": ("gradingPeriod", "gradingPeriod"), "results": ("student", "student"),
    "enrollments": ("user", None),
}  # fmt: skip
_ENROLLED = frozenset({"student", "teacher"})


@dataclass(frozen=True, slots=True)
class Style:
    """How one app wants its objects of 1.1."""

    json_booleans: bool = False
    names: RoleNames = field(default_factory=RoleNames)
    extra_fields: bool = False  # what 1.1 does not know, under ``metadata``
    specific_types: bool = False  # of references

    @classmethod
    def of(cls, behaviour: Behaviour) -> Style:
        """What an app's settings say."""
        counselor, extension = behaviour.counselor_as, behaviour.extension_role_as
        names = RoleNames(None if counselor == _OMIT else counselor, None if extension == _OMIT else extension)
        specific = behaviour.reference_types == "specific"
        return cls(behaviour.booleans == "json", names, behaviour.extra_fields_in_metadata, specific)

    @property
    def enrolled_as(self) -> str | None:
        """What stands for ``ext:`` roles of enrollments, which have fewer words in 1.1 than users; None for no role.

        Not to be asked where they are kept.
        """
        role = self.names.extension
        return role if role is None or role in voc.ENROLLMENT_ROLE.both else _OTHERWISE_ENROLLED

    def resource_role(self, role: str) -> str:
        """The role that a resource is for. None left would be for everybody, so no role is left out."""
        return (self.names.of(role) or "aide") if role.startswith(EXTENSION) else role


def visible(entity: Entity, names: frozenset[str]) -> frozenset[str]:
    """The members that show where ``names`` of the 1.2 members do, the base members included."""
    standing_in = {mine for (name, mine), other in STAND_INS.items() if name == entity.name and other in names}
    return _BASE | (names & _members(entity.name)) | _MADE.get(entity.name, frozenset()) | standing_in


def filterable(entity: Entity, names: frozenset[str]) -> frozenset[str]:
    """The members that can be filtered by where ``names`` can in 1.2: nothing is told through what is hidden there."""
    made = {"role", "orgs"} if entity.name == _USERS else frozenset[str]()
    standing_in = {mine for (name, mine), other in STAND_INS.items() if name == entity.name and other in names}
    return _BASE | (names & _members(entity.name)) | made | standing_in


_Maker = Callable[[Any], Any]


def _maker(field: Field, style: Style) -> _Maker | None:
    """Makes the value of a member, whose references were parsed; None for one that stays as it is."""
    if field.kind is Kind.BOOLEAN and style.json_booleans:
        return lambda value: value == "true"
    if field.kind is not Kind.REF:
        return None
    before, _, after = reference(field.target or "")
    after = after.removeprefix('"')

    def make(value: Record) -> orjson.Fragment:
        return orjson.Fragment(f"{before}{referred(value['sourcedId'])}{after}")

    return (lambda values: [make(value) for value in values]) if field.many else make


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
        self._booleans = texts.booleans(entity) if style.json_booleans else ()
        told = [f for f in entity.fields if f.name in _members(entity.name)]
        more = [f for f in entity.body if can_be_extra(f)] if style.extra_fields else []
        self._told: dict[str, _Maker | None] = dict.fromkeys(BASE_NAMES) | {f.name: _maker(f, style) for f in told}
        self._more: dict[str, _Maker | None] = {f.name: _maker(f, style) for f in more}

    def make(
        self, text: str, *, role: str | None = None, several: Several | None = None,
        fields: frozenset[str] | None = None,
    ) -> str | None:  # fmt: skip
        """The object of 1.1 for one of 1.2 that is active, with the marks of addresses in its hrefs as before.

        ``role`` names the persona of a user beside the main one, None is the main one; the answer is None where the
        person has no such persona, and for a result or enrollment that 1.1 has no words for. ``fields`` selects members
        of 1.1.
        """
        making = _Making(self._style, role, several or {})
        as_text = self._as_text(text, making.several) if fields is None and role is None else None
        if as_text is not None:
            return self._typed(texts.json_booleans(self._booleans, as_text))
        record = self._converted(orjson.loads(escaped_bases(text)), making)
        if record is None:
            return None
        made = self._made(record)
        made_text = orjson.dumps(made if fields is None else {n: v for n, v in made.items() if n in fields}).decode()
        return self._typed(made_text, record.get("role"))

    def _typed(self, text: str, role: str | None = None) -> str:
        """An object of 1.1 with the ``type`` of its references as the app wants it.

        ``role``: of an enrollment, of which the text may have been cut.
        """
        specific = _SPECIFIC.get(self._entity.name) if self._style.specific_types else None
        if specific is None:
            return text
        name, word = specific
        if word is None:
            word = role or texts.role(text)
            if word not in _ENROLLED:
                return text
        return texts.typed(text, name, word)

    def _as_text(self, text: str, several: Several) -> str | None:
        """The object, where no value has to be looked at for it; truth is written as in 1.2."""
        match self._entity.name:
            case name if name in SAME:
                same = True
            case "users" if not self._style.extra_fields:
                return texts.user(text, self._style.names, several)
            case "results" if not self._style.extra_fields:
                return texts.result(text, several)
            case "classes":
                same = not self._class_type or texts.word(text, "classType", voc.CLASS_TYPE.both) is True
            case "enrollments":
                known = self._style.names.keeps or '"role":"ext:' not in text
                same = known and not (several and texts.is_of(text, several))
            case "demographics":
                same = texts.word(text, "sex", voc.SEX.tokens("1.1")) is not False
            case "categories":
                same = '"weight":' not in text
            case "resources":
                same = self._style.names.keeps or '"ext:' not in text
            case _:
                same = False
        return text if same else None

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

    def _made(self, record: Record) -> Record:
        """The members that 1.1 knows, and the others under ``metadata`` for an app that wants them."""
        told, more = self._told, self._more
        out, extra = {}, {}
        for name, value in record.items():
            if name in told:
                make = told[name]
                out[name] = value if make is None else make(value)
            elif name in more:
                make = more[name]
                extra[name] = value if make is None else make(value)
        if extra:
            out["metadata"] = {**out.get("metadata", {}), **extra}
        return out


@cache
def _members(entity: str) -> frozenset[str]:
    return frozenset(f.name for f in CATALOGUE[entity].members("1.1")) - _BASE


def can_be_extra(field: Field) -> bool:
    """Whether a member is of 1.2 alone, and not one that 1.1 has in another form or has no address for."""
    if field.rest11 is not Need.ABSENT or field.name == "roles":
        return False
    return field.kind is not Kind.REF or "1.1" in CATALOGUE[field.target or ""].versions


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
    role, wanted = record["role"], record["role"]
    if role.startswith(EXTENSION) and not making.style.names.keeps:
        role, wanted = making.style.enrolled_as, making.style.names.extension
        if role is None:
            return None
    record["role"] = role
    record["user"] = _persona(record["user"]["sourcedId"], wanted, making.several)
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
