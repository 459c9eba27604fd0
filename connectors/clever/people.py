"""From Clever's users to OneRoster's: each person once with all roles, whatever roles Clever lists them under."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from connectors.clever.mapping import Columns, columns
from connectors.clever.values import RACES, SEXES, birth_date, contact_role, grade, ids, names, staff_role
from connectors.members import Objects, after, day, member, objects_of, text

ROLES = ("student", "teacher", "staff", "district_admin", "contact")
_NOT_IN_PAIRS = re.compile(r"[{},]")
_ROLE_COLUMNS = ("sourcedId", "userSourcedId", "roleType", "role", "orgSourcedId", "beginDate", "endDate")
_Role = Mapping[str, Any]


@dataclass
class People:
    """What some users become. ``agents``: who has whom as an agent (user, agent).

    ``split``: contacts whose whole name was in one; ``unnamed``: users without a username.
    """

    users: Columns
    roles: Columns
    demographics: Columns
    agents: pl.DataFrame
    split: int = 0
    unnamed: int = 0
    contacts: int = 0


@dataclass
class _Person:
    """One user, taken apart."""

    key: str
    roles: dict[str, _Role]
    relationships: list[Mapping[str, Any]] = field(default_factory=list)


def people(objects: Objects, district: str, usual: str) -> People:
    """All that some users become. ``usual``: the role of staff whose title names no other one."""
    persons = [_person(one) for one in objects]
    split, given, family = 0, list[str | None](), list[str | None]()
    for one, person in zip(objects, persons, strict=True):
        first, last = text(member(one, "name", "first")), text(member(one, "name", "last"))
        if first is None and last is not None and set(person.roles) <= {"contact"}:
            first, last = names(last)
            split += first is not None
        given.append(first)
        family.append(last)
    usernames = [_username(one, person) for one, person in zip(objects, persons, strict=True)]
    users: Columns = {
        "sourcedId": [person.key or None for person in persons],
        "enabledUser": ["true"] * len(persons),
        "username": [name for name, _ in usernames],
        "userIds": [_user_ids(person) for person in persons],
        "givenName": given,
        "familyName": family,
        "middleName": [text(member(one, "name", "middle")) for one in objects],
        "identifier": [_identifier(person) for person in persons],
        "email": [text(one.get("email")) for one in objects],
        "sms": [_phone(person, cell=True) for person in persons],
        "phone": [_phone(person, cell=False) for person in persons],
        "grades": [grade(member(person.roles, "student", "grade")) for person in persons],
        "primaryOrgSourcedId": [_home(person, district) for person in persons],
    }
    for name, part in (("preferredGivenName", "first"), ("preferredMiddleName", "middle"),
                       ("preferredFamilyName", "last")):  # fmt: skip
        users[name] = [text(member(person.roles, "student", "preferred_name", part)) for person in persons]
    return People(
        users, _roles(persons, district, usual), _demographics(persons), _agents(persons), split,
        sum(not good for _, good in usernames), sum("contact" in person.roles for person in persons),
    )  # fmt: skip


def has_role(one: Mapping[str, Any], role: str) -> bool:
    """Whether a user has one of Clever's roles."""
    return isinstance(member(one, "roles", role), Mapping)


def _person(one: Mapping[str, Any]) -> _Person:
    given = one.get("roles")
    roles = {name: given[name] for name in ROLES if isinstance(member(given, name), Mapping)} if given else {}
    told = member(roles, "contact", "student_relationships")
    return _Person(text(one.get("id")) or "", roles, objects_of(told))


def _username(one: Mapping[str, Any], person: _Person) -> tuple[str | None, bool]:
    """A username, and whether it is one."""
    for role in person.roles.values():
        if name := text(member(role, "credentials", "district_username")):
            return name, True
    return text(one.get("email")) or _identifier(person) or person.key or None, False


def _identifier(person: _Person) -> str | None:
    """The number by which the student system knows somebody."""
    for role, names_ in (("student", ("student_number", "sis_id")), ("teacher", ("teacher_number", "sis_id")),
                         ("staff", ("staff_id",)), ("contact", ("sis_id",))):  # fmt: skip
        for name in names_:
            if found := text(member(person.roles, role, name)):
                return found
    return None


def _user_ids(person: _Person) -> str | None:
    """The other ids of each role: those of Clever's earlier versions, the student system's, the state's."""
    pairs: dict[str, None] = {}
    for name, role in person.roles.items():
        for kind, key in ((f"clever.{name}.legacyId", "legacy_id"), (f"sis.{name}", "sis_id"), ("stateId", "state_id"),
                          ("studentNumber", "student_number"), ("teacherNumber", "teacher_number"),
                          ("staffId", "staff_id")):  # fmt: skip
            found = text(role.get(key))
            if found and not _NOT_IN_PAIRS.search(found):
                pairs[f"{{{kind}:{found}}}"] = None
    return ",".join(pairs) or None


def _phone(person: _Person, *, cell: bool) -> str | None:
    contact = person.roles.get("contact", {})
    return text(contact.get("phone")) if (contact.get("phone_type") == "Cell") == cell else None


def _schools(role: _Role) -> list[str]:
    """The schools of a role, the main one first."""
    main = text(role.get("school"))
    return list(dict.fromkeys([*([main] if main else []), *ids(role.get("schools"))]))


def _home(person: _Person, district: str) -> str:
    """The org that somebody belongs to first."""
    found = (_schools(person.roles[name]) for name in ("student", "teacher", "staff") if name in person.roles)
    return next((schools[0] for schools in found if schools), district)


def _roles(persons: list[_Person], district: str, usual: str) -> Columns:
    rows: list[dict[str, str | None]] = []
    for person in persons:
        held: dict[tuple[str, str], dict[str, str | None]] = {}
        for name, role in person.roles.items():
            for place, (org, called, dates) in enumerate(_held(name, role, person, district, usual)):
                kind = "primary" if place == 0 or name != "student" else "secondary"
                held.setdefault((org, called), {"roleType": kind, "role": called, "orgSourcedId": org, **dates})
        rows += [
            {"sourcedId": f"{person.key}.{number}", "userSourcedId": person.key, **row}
            for number, row in enumerate(held.values())
        ]
    return columns(rows, *_ROLE_COLUMNS)


def _held(
    name: str, role: _Role, person: _Person, district: str, usual: str
) -> list[tuple[str, str, dict[str, str | None]]]:
    """Where somebody has one of Clever's roles, what OneRoster calls it there, and since and until when."""
    if name == "district_admin":
        return [(district, "districtAdministrator", {})]
    if name == "contact":
        return [(district, contact_role(person.relationships), {})]
    if name == "staff":
        return [(org, staff_role(role.get("title"), usual), {}) for org in _schools(role) or [district]]
    if name == "teacher":
        return [(org, "teacher", {}) for org in _schools(role) or [district]]
    spans = {text(one.get("school")): one for one in objects_of(role.get("enrollments"))}
    return [(org, "student", _dates(spans.get(org, {}))) for org in _schools(role)]


def _dates(span: Mapping[str, Any]) -> dict[str, str | None]:
    begin, last = day(span.get("start_date")), day(span.get("end_date"))
    return {
        "beginDate": None if begin is None else begin.isoformat(),
        "endDate": None if last is None else after(last).isoformat(),
    }


def _agents(persons: list[_Person]) -> pl.DataFrame:
    """Who has whom as an agent: students their contacts, contacts their students."""
    pairs = [
        pair for person in persons for one in person.relationships
        if (student := text(one.get("student"))) and student != person.key
        for pair in ((student, person.key), (person.key, student))
    ]  # fmt: skip
    return pl.DataFrame(pairs, schema={"user": pl.String, "agent": pl.String}, orient="row")


def _demographics(persons: list[_Person]) -> Columns:
    rows: list[dict[str, str | None]] = []
    for person in persons:
        student = person.roles.get("student")
        if student is None:
            continue
        row = {"sourcedId": person.key, "birthDate": birth_date(student.get("dob"))}
        row["sex"] = SEXES.get(text(student.get("gender")) or "")
        hispanic = text(student.get("hispanic_ethnicity"))
        row["hispanicOrLatinoEthnicity"] = {"Y": "true", "N": "false"}.get(hispanic or "")
        if race := RACES.get(text(student.get("race")) or ""):
            row[race] = "true"
        if len(row) > 1 and any(value for name, value in row.items() if name != "sourcedId"):
            rows.append(row)
    return columns(rows, "sourcedId", "birthDate", "sex", "hispanicOrLatinoEthnicity", *sorted(RACES.values()))
