"""Small rosters as RAW frames, and the whole chain over them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import polars as pl

from tests.fakes.gradebooks import Row, gradebook, links
from transforms import canonical
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Kind, Version
from transforms.issues import RULES, Rule, collect
from transforms.pipeline import Outcome, Transform, duplicated, several
from transforms.validate.alike import marks_of

Frames = dict[str, pl.DataFrame]


def raw(file: str, version: Version, rows: Iterable[Row]) -> pl.DataFrame:
    """A RAW frame with the standard's columns, those of ``rows`` that begin with metadata. included."""
    given = [dict(row) for row in rows]
    extra = sorted({name for row in given for name in row if name.startswith("metadata.")})
    header = [*CATALOGUE.files(version)[file].csv_header(version), *extra]
    unknown = {name for row in given for name in row} - set(header)
    assert not unknown, unknown
    frame = pl.DataFrame([{n: row.get(n) for n in header} for row in given], schema=dict.fromkeys(header, pl.String))
    return frame.with_columns(line=pl.int_range(2, len(given) + 2, dtype=pl.UInt32))


ORGS: list[Row] = [
    {"sourcedId": "d", "name": "District", "type": "district", "identifier": "D-1"},
    {"sourcedId": "s1", "name": "North School", "type": "school", "parentSourcedId": "d"},
    {"sourcedId": "s2", "name": "South School", "type": "school", "parentSourcedId": "d"},
]
SESSIONS: list[Row] = [
    {"sourcedId": "y", "title": "2024-25", "type": "schoolYear", "startDate": "2024-08-01", "endDate": "2025-07-01",
     "schoolYear": "2025"},
    {"sourcedId": "t1", "title": "Fall", "type": "term", "startDate": "2024-08-01", "endDate": "2025-01-15",
     "parentSourcedId": "y", "schoolYear": "2025"},
    {"sourcedId": "t2", "title": "Spring", "type": "term", "startDate": "2025-01-15", "endDate": "2025-07-01",
     "parentSourcedId": "y", "schoolYear": "2025"},
]  # fmt: skip
COURSES: list[Row] = [
    {"sourcedId": "c1", "schoolYearSourcedId": "y", "title": "Algebra", "courseCode": "MA-1", "grades": "09,10",
     "orgSourcedId": "d", "subjects": "Algebra,Geometry", "subjectCodes": "02052,02072"},
]  # fmt: skip
CLASSES: list[Row] = [
    {"sourcedId": "k1", "title": "Algebra 1", "grades": "09", "courseSourcedId": "c1", "classType": "scheduled",
     "schoolSourcedId": "s1", "termSourcedIds": "t1,t2", "subjects": "Algebra", "subjectCodes": "02052",
     "periods": "1,3,10"},
    {"sourcedId": "k2", "title": "Homeroom", "courseSourcedId": "c1", "classType": "homeroom", "schoolSourcedId": "s2",
     "termSourcedIds": "t1", "location": "R 12"},
]  # fmt: skip
PEOPLE: list[Row] = [
    {"sourcedId": "u1", "enabledUser": "true", "username": "ana", "userIds": "{LDAP:ana},{LTI:4711}",
     "givenName": "Ana", "familyName": "Muñoz", "identifier": "100", "email": "ana@school.org", "phone": "+15552345678",
     "agentSourcedIds": "u3", "grades": "09"},
    {"sourcedId": "u2", "enabledUser": "true", "username": "lee", "givenName": "Lee", "familyName": "O'Neil",
     "email": "lee@school.org", "metadata.house": 'Blue "B"'},
    {"sourcedId": "u3", "enabledUser": "false", "username": "mom", "givenName": "María José", "familyName": "Muñoz",
     "agentSourcedIds": "u1"},
]  # fmt: skip
ROLES_11 = {"u1": ("s1", "student"), "u2": ("s1,s2", "teacher"), "u3": ("s1", "parent")}
ROLES: list[Row] = [
    {"sourcedId": "r1", "userSourcedId": "u1", "roleType": "primary", "role": "student", "orgSourcedId": "s1",
     "beginDate": "2024-08-01", "userProfileSourcedId": "p2"},
    {"sourcedId": "r2", "userSourcedId": "u2", "roleType": "primary", "role": "teacher", "orgSourcedId": "s1"},
    {"sourcedId": "r3", "userSourcedId": "u2", "roleType": "secondary", "role": "aide", "orgSourcedId": "s1"},
    {"sourcedId": "r4", "userSourcedId": "u3", "roleType": "primary", "role": "parent", "orgSourcedId": "s1"},
]  # fmt: skip
PROFILES: list[Row] = [
    {"sourcedId": "p1", "userSourcedId": "u1", "profileType": "lms", "vendorId": "v", "applicationId": "a",
     "credentialType": "password", "username": "ana1", "password": "never-kept"},
    {"sourcedId": "p2", "userSourcedId": "u1", "profileType": "lms", "vendorId": "v", "applicationId": "a",
     "credentialType": "saml", "username": "ana2", "password": "never-kept"},
]  # fmt: skip
ENROLLMENTS: list[Row] = [
    {"sourcedId": "e1", "classSourcedId": "k1", "schoolSourcedId": "s1", "userSourcedId": "u1", "role": "student",
     "beginDate": "2024-08-05", "endDate": "2025-06-20"},
    {"sourcedId": "e2", "classSourcedId": "k1", "schoolSourcedId": "s1", "userSourcedId": "u2", "role": "teacher",
     "primary": "true"},
    {"sourcedId": "e3", "classSourcedId": "k2", "schoolSourcedId": "s2", "userSourcedId": "u2", "role": "teacher",
     "primary": "false"},
]  # fmt: skip
DEMOGRAPHICS: list[Row] = [{"sourcedId": "u1", "birthDate": "2010-02-28", "sex": "female", "white": "true"}]


def clean(version: Version) -> dict[str, list[dict[str, str | None]]]:
    """A roster without any fault: rows by file."""
    users = [dict(row) for row in PEOPLE]
    for user in users:
        orgs, role = ROLES_11[user["sourcedId"] or ""]
        user.update(
            {"orgSourcedIds": orgs, "role": role, "password": "never-kept"}
            if version == "1.1"
            else {"primaryOrgSourcedId": orgs[:2], "preferredGivenName": "Bo", "password": "never-kept"}
        )
    files = {
        "orgs": ORGS, "academicSessions": SESSIONS, "courses": COURSES, "classes": CLASSES, "users": users,
        "enrollments": ENROLLMENTS, "demographics": DEMOGRAPHICS,
    }  # fmt: skip
    if version == "1.2":
        files |= {"roles": ROLES, "userProfiles": PROFILES}
    return {file: [dict(row) for row in rows] for file, rows in files.items()} | gradebook(version)


def frames(version: Version, files: Mapping[str, list[dict[str, str | None]]]) -> Frames:
    """The RAW frames of rows by file. Those of files that are as in the clean roster are made once."""
    same = _clean(version)
    return {
        file: same[file][1] if file in same and rows == same[file][0] else raw(file, version, rows)
        for file, rows in files.items()
    }


@cache
def _clean(version: Version) -> dict[str, tuple[list[dict[str, str | None]], pl.DataFrame]]:
    """Rows and RAW frame by file of the clean roster."""
    return {file: (rows, raw(file, version, rows)) for file, rows in clean(version).items()}


@dataclass
class Result:
    """The canonical frames by entity, all findings, and the keys kept out and deleted by entity.

    ``joined``: the keys of enrollments that stand for several.
    """

    frames: dict[str, pl.DataFrame]
    issues: pl.DataFrame
    quarantined: dict[str, set[str]]
    deleted: dict[str, set[str]]
    joined: set[str]

    def codes(self, **where: str) -> list[str]:
        """The codes of the findings with these values."""
        found = self.issues.filter(*(pl.col(k) == v for k, v in where.items()))
        return sorted(found["code"].to_list())

    def row(self, entity: str, key: str) -> dict[str, Any]:
        """The canonical row of ``key``."""
        (found,) = self.frames[entity].filter(pl.col("key") == key).to_dicts()
        return found

    def keys(self, entity: str) -> list[str]:
        """The keys of the good rows."""
        return sorted(self.frames[entity]["key"].to_list())


def run(
    version: Version, given: Frames, *, held: Callable[[str], pl.Series] | None = None, size: int | None = None,
    **options: Any,
) -> Result:  # fmt: skip
    """The chain over RAW frames; ``size`` cuts them into batches, with the repeated keys given beforehand.

    Where the first files are those of the clean roster, it goes on from where the chain was after them.
    """
    if held is None and size is None and not options:
        chain, outcomes = _begun(version, given)
    else:
        chain, outcomes = Transform(version, held=held, **options), {}
    for entity in CATALOGUE.entities:
        if entity.name not in outcomes and entity.csv_file in given:
            outcomes[entity.name] = _outcomes(chain, entity, given, size)
    return Result(
        {
            name: pl.concat([canonical.empty(CATALOGUE[name]), *(o.frame for o in found)])
            for name, found in outcomes.items()
        },
        collect(o.issues for found in outcomes.values() for o in found),
        {name: {k for o in found for k in o.quarantined} for name, found in outcomes.items()},
        {name: {k for o in found for k in o.deleted} for name, found in outcomes.items()},
        {k for found in outcomes.values() for o in found for k in o.joined},
    )


def _outcomes(chain: Transform, entity: Entity, given: Frames, size: int | None = None) -> list[Outcome]:
    frame = given[entity.csv_file]
    batches = [frame] if size is None else [frame[i : i + size] for i in range(0, frame.height, size)]
    nested = {c.csv_file: [given[c.csv_file]] for c in CATALOGUE.components_of(entity.name) if c.csv_file in given}
    repeated = None if size is None else duplicated(frame["sourcedId"])
    pairs = several(marks_of(frame)) if size is not None and entity.name == "enrollments" else None
    return list(chain.entity(entity.name, batches, components=nested, duplicate_keys=repeated, repeated=pairs))


def _begun(version: Version, given: Frames) -> tuple[Transform, dict[str, list[Outcome]]]:
    """A chain after the first entities, whose files are the clean roster's, and what came of those."""
    same = {file: frame for file, (_, frame) in _clean(version).items()}
    chain, outcomes = Transform(version), dict[str, list[Outcome]]()
    stages = _stages(version, tuple(RULES.values()))
    for entity in CATALOGUE.entities:
        files = [entity.csv_file, *(c.csv_file for c in CATALOGUE.components_of(entity.name))]
        if any(given.get(file) is not same.get(file) for file in files):
            break
        if entity.name in stages:
            chain, outcomes[entity.name] = stages[entity.name]
    return _copied(chain), outcomes


@cache
def _stages(version: Version, _rules: tuple[Rule, ...]) -> dict[str, tuple[Transform, list[Outcome]]]:
    """What the chain was after each entity of the clean roster, and what came of that."""
    chain, given = Transform(version), {file: frame for file, (_, frame) in _clean(version).items()}
    stages: dict[str, tuple[Transform, list[Outcome]]] = {}
    for entity in CATALOGUE.entities:
        if entity.csv_file in given:
            found = _outcomes(chain, entity, given)
            stages[entity.name] = _copied(chain), found
    return stages


def _copied(chain: Transform) -> Transform:
    """A chain that goes on by itself; rules are the same objects."""
    return copy.deepcopy(chain, {id(rule): rule for rule in RULES.values()})


def exported(result: Result) -> Frames:
    """The canonical frames written as RAW frames of 1.2, for chains that read their own output."""
    found = {name: raw(name, "1.2", _rows(CATALOGUE[name], frame)) for name, frame in result.frames.items()}
    roles: list[Row] = []
    profiles: list[Row] = []
    for user in result.frames["users"].select("key", "roles", "userProfiles").iter_rows(named=True):
        names = {}
        for profile in user["userProfiles"] or []:
            row = profile["profileId"].rpartition(":")[2]
            names[profile["profileId"]] = row
            for number, one in enumerate(profile["credentials"] or [{"type": None, "username": None}]):
                profiles.append(
                    {n: profile[n] for n in ("profileType", "vendorId", "applicationId", "description")}
                    | {"sourcedId": row if number == 0 else f"{row}{number}", "userSourcedId": user["key"],
                       "credentialType": one["type"], "username": one["username"]}
                )  # fmt: skip
        for role in user["roles"]:
            roles.append(
                {n: role[n] for n in ("roleType", "role")}
                | {n: role[n].isoformat() if role[n] else None for n in ("beginDate", "endDate")}
                | {"sourcedId": f"role{len(roles)}", "userSourcedId": user["key"], "orgSourcedId": role["org"],
                   "userProfileSourcedId": names.get(role["userProfile"])}
            )  # fmt: skip
    found |= links(result.frames, raw)
    return found | {"roles": raw("roles", "1.2", roles), "userProfiles": raw("userProfiles", "1.2", profiles)}


def _rows(entity: Entity, frame: pl.DataFrame) -> list[dict[str, str | None]]:
    fields = [f for f in entity.csv_columns("1.2") if f.stored and f.name not in BASE_NAMES]
    rows = []
    for row in frame.iter_rows(named=True):
        cells: dict[str, str | None] = {"sourcedId": row["key"]}
        for field in fields:
            value = row[field.name]
            if value is None:
                continue
            if field.kind in {Kind.USER_ID, Kind.SCALE_VALUE}:
                text = ",".join("{" + ":".join(v.values()) + "}" for v in value)
            elif field.kind is Kind.DATETIME:
                text = value.date().isoformat()
            else:
                text = ",".join(value) if field.many else str(value).lower() if isinstance(value, bool) else str(value)
            cells[field.csv_name or ""] = text
        for name, value in orjson.loads(row.get("metadata") or "{}").items():
            cells[f"metadata.{name}"] = value
        rows.append(cells)
    return rows
