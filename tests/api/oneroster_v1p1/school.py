"""A small synced district in which people have several roles and words that 1.1 does not know, and a server over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import polars as pl

from hub.api.client_secrets import hash_secret, new_secret
from hub.api.oneroster.scopes import SCOPES, V1P1
from hub.objects.bases import DISTRICT, EVERYWHERE, PATHS
from hub.scope.grants import GrantDefinition
from hub.store import apps
from hub.store.database import Database as Pool
from hub.sync import grants
from tests.api.oneroster.rosters import Answer, Prepared, answer, encoded, issue, running
from tests.districts import District
from tests.services import Database
from transforms.catalogue import CATALOGUE

READING = [V1P1.ROSTER_CORE, V1P1.ROSTER, V1P1.DEMOGRAPHICS, V1P1.RESOURCE, V1P1.GRADEBOOK]
ALL = [e.name for e in CATALOGUE.entities]
PRIVACY = ["contact", "demographic", "credential"]
EVERYTHING = GrantDefinition.model_validate({"entities": ALL, "privacy": PRIVACY})
#: Parents are nobody's business here, nor where somebody is at home.
STAFF_AND_STUDENTS = GrantDefinition.model_validate(
    {
        "entities": ALL, "rules": [{"roles": ["student", "teacher", "aide", "principal", "counselor", "ext:tutor"]}],
        "fields": {"users": {"hide": ["primaryOrg", "username"]}, "results": {"hide": ["score"]}},
    }
)  # fmt: skip

#: Users by the roles that they have: (role, org, type). The first org is the primary one.
PEOPLE: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "amy": (("student", "north", "primary"),),
    "ben": (("teacher", "south", "primary"), ("parent", "north", "primary")),
    "cat": (("teacher", "north", "primary"),),
    "dan": (("counselor", "north", "primary"),),
    "eve": (("principal", "north", "primary"), ("aide", "south", "primary")),
    "fay": (("ext:tutor", "north", "primary"),),
    "gus": (("student", "north", "primary"), ("teacher", "north", "secondary")),
    "zoe": (("student", "south", "primary"), ("aide", "south", "secondary")),
}
ENROLLED = {
    "e1": ("amy", "math", "north", "student"), "e2": ("ben", "art", "south", "teacher"),
    "e3": ("cat", "math", "north", "teacher"), "e4": ("gus", "math", "north", "student"),
    "e5": ("gus", "art", "south", "teacher"), "e6": ("fay", "math", "north", "ext:coach"),
    "e7": ("dan", "math", "north", "proctor"), "e8": ("zoe", "art", "south", "student"),
}  # fmt: skip


def _frame(*rows: Mapping[str, str | None]) -> pl.DataFrame:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame(
        [{name: row.get(name) for name in names} for row in rows], schema=dict.fromkeys(names, pl.String)
    )


def _scores() -> dict[str, pl.DataFrame]:
    item = {"assignDate": "2026-09-01", "dueDate": "2026-09-30", "classSourcedId": "math", "schoolSourcedId": "north",
            "categorySourcedId": "tests", "academicSessionSourcedId": "fall"}  # fmt: skip
    result = {"lineItemSourcedId": "quiz", "scoreDate": "2026-09-30"}
    return {
        "categories": _frame({"sourcedId": "tests", "title": "Tests", "weight": "30"}),
        "lineItems": _frame(
            {"sourcedId": "quiz", "title": "Quiz", **item},
            {"sourcedId": "exam", "title": "Exam", "resultValueMin": "10", "resultValueMax": "50", **item},
        ),
        "results": _frame(
            {"sourcedId": "r1", "studentSourcedId": "amy", "scoreStatus": "fully graded", "score": "50", **result},
            {"sourcedId": "r2", "studentSourcedId": "gus", "scoreStatus": "ext:pending", "score": "7.5", **result},
            {"sourcedId": "r3", "studentSourcedId": "amy", "scoreStatus": "submitted", "textScore": "good", **result},
        ),
        "resources": _frame(
            {"sourcedId": "book", "vendorResourceId": "b-1", "title": "Book", "roles": "student,ext:tutor"},
            {"sourcedId": "film", "vendorResourceId": "f-1", "title": "Film"},
        ),
        "classResources": _frame({"sourcedId": "l1", "classSourcedId": "math", "resourceSourcedId": "book"}),
        "courseResources": _frame({"sourcedId": "l2", "courseSourcedId": "algebra", "resourceSourcedId": "film"}),
    }


def package(**changed: tuple[tuple[str, str, str], ...] | None) -> dict[str, pl.DataFrame]:
    """The district as CSV; ``changed`` gives people other roles, or takes them out."""
    people = {name: roles for name, roles in (dict(PEOPLE) | changed).items() if roles is not None}
    year = {"schoolYear": "2027", "startDate": "2026-08-01", "endDate": "2027-07-01"}
    return {
        "orgs": _frame(
            {"sourcedId": "district", "name": "District", "type": "district"},
            {"sourcedId": "north", "name": "North", "type": "school", "parentSourcedId": "district"},
            {"sourcedId": "south", "name": "South", "type": "school", "parentSourcedId": "district"},
        ),
        "academicSessions": _frame(
            {"sourcedId": "year", "title": "Year", "type": "schoolYear", **year},
            {"sourcedId": "fall", "title": "Fall", "type": "term", "parentSourcedId": "year", **year},
            {"sourcedId": "quarter", "title": "Quarter", "type": "gradingPeriod", "parentSourcedId": "fall", **year},
        ),
        "courses": _frame({"sourcedId": "algebra", "title": "Algebra", "orgSourcedId": "district"}),
        "classes": _frame(
            _class("math", "homeroom", "north"),
            _class("art", "ext:lab", "south"),
        ),
        "users": _frame(*(_user(key, roles) for key, roles in people.items())),
        "roles": _frame(*(_role(key, *role) for key, roles in people.items() for role in roles)),
        "enrollments": _frame(*(_enrollment(key, *rest) for key, rest in ENROLLED.items() if rest[0] in people)),
        "demographics": _frame(
            {"sourcedId": "amy", "sex": "female", "asian": "true"},
            {"sourcedId": "gus", "sex": "other"},
            {"sourcedId": "fay", "sex": "female"},
        ),
        **_scores(),
    }


Row = dict[str, str | None]


def _class(key: str, kind: str, school: str) -> Row:
    where: Row = {"courseSourcedId": "algebra", "schoolSourcedId": school, "termSourcedIds": "fall"}
    return {"sourcedId": key, "title": key, "classType": kind, **where}


def _user(key: str, roles: tuple[tuple[str, str, str], ...]) -> Row:
    agents = {"amy": "ben", "ben": "amy,gus", "gus": "ben"}
    names: Row = {"givenName": key, "familyName": f"Family {key}", "email": f"{key}@example.org", "identifier": key}
    return {
        "sourcedId": key, "enabledUser": "true", "username": None if key == "cat" else f"{key}@n", **names,
        "agentSourcedIds": agents.get(key), "primaryOrgSourcedId": roles[0][1],
        "preferredGivenName": "Annie" if key == "amy" else None,
    }  # fmt: skip


def _role(user: str, role: str, org: str, kind: str) -> Row:
    key = f"{user}-{role}-{org}"
    return {"sourcedId": key, "userSourcedId": user, "roleType": kind, "role": role, "orgSourcedId": org}


def _enrollment(key: str, user: str, where: str, school: str, role: str) -> Row:
    primary = "true" if key == "e3" else None
    row: Row = {"sourcedId": key, "userSourcedId": user, "classSourcedId": where, "schoolSourcedId": school}
    return {**row, "role": role, "primary": primary}


@dataclass
class School(Prepared):
    """What was put into the database that tests start from. ``ids``: entity and key in the source to sourcedId."""

    ids: dict[tuple[str, str], str] = field(default_factory=dict)


async def prepare(worker_url: str) -> School:
    """Syncs the district and gives two apps a grant."""
    db = await Pool.open(worker_url, name="preparing", largest=2)
    district = await District(db).create()
    run = await district.sync(package())
    assert run.state == "applied", (run.state, run.guard, run.error_message)
    out = School(district.district_id, uuid4(), district.source_id)
    await note_ids(db, out)
    north = GrantDefinition.model_validate(
        {"entities": ALL, "privacy": PRIVACY, "rules": [{"schools": [out.ids["orgs", "north"]]}]}
    )
    for name, definition in (("all", EVERYTHING), ("staff", STAFF_AND_STUDENTS), ("north", north)):
        await add_app(db, out, district, name, definition)
    await db.close()
    return out


async def note_ids(db: Pool, out: School) -> None:
    """Notes which sourcedId the hub gave to what the source calls otherwise."""
    async with db.district(out.here) as tx:
        for entity in CATALOGUE.entities:
            rows = await tx.fetch(
                f"SELECT s.key, t.sourced_id::text AS id FROM source_records s JOIN {entity.table} t "
                "USING (district_id, rid) WHERE s.entity = $1", entity.name,
            )  # fmt: skip
            out.ids |= {(entity.name, row["key"]): row["id"] for row in rows}


async def add_app(db: Pool, out: School, district: District, name: str, definition: GrantDefinition) -> None:
    """An app with a token for everything in either version."""
    app_id, client_id, secret = uuid4(), apps.new_client_id(), new_secret()
    async with db.shared() as tx:
        await apps.create(tx, app_id, name)
        await apps.create_client(tx, client_id, app_id=app_id, secret_hash=hash_secret(secret), scopes=[*SCOPES])
    async with db.district(district.district_id) as tx:
        grant, _ = await grants.create(tx, app_id, definition, district.clock.now())
    out.apps[name], out.clients[name], out.grants[name] = app_id, (client_id, secret), grant.grant_id
    out.tokens[name] = await issue(db, client_id, READING)


@dataclass
class Old:
    """A running hub as an app of 1.1 sees it."""

    hub: Any
    school: School

    def address(self, path: str, **query: str) -> str:
        """The address of a read, below the hub's; with two slashes before it over all districts."""
        root = EVERYWHERE if path.startswith("//") else DISTRICT.replace("{district}", str(self.school.here))
        base, path = root + PATHS["1.1"]["rostering"], path.removeprefix("/") if path.startswith("//") else path
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return base + path + (f"?{asked}" if asked else "")

    async def get(self, path: str, *, app: str = "all", token: str | None = None, **query: str) -> Answer:
        """One read: status, body, headers."""
        headers = {"Authorization": f"Bearer {token or self.school.tokens[app]}"}
        async with self.hub.session.get(encoded(self.address(path, **query)), headers=headers) as response:
            return await answer(response)

    async def all(self, path: str, *, app: str = "all", **query: str) -> list[dict[str, Any]]:
        """All objects of a collection."""
        status, body, headers = await self.get(path, app=app, **query)
        assert status == 200, body
        (objects,) = body.values()
        assert headers["X-Total-Count"] == str(len(objects))
        return list(objects)

    async def keys(self, path: str, *, app: str = "all", **query: str) -> list[str]:
        """The objects of ``all`` as the source calls them, personas with their role behind."""
        return [self.key(o["sourcedId"]) for o in await self.all(path, app=app, **query)]

    async def one(self, path: str, *, app: str = "all", **query: str) -> dict[str, Any]:
        """One object."""
        status, body, _ = await self.get(path, app=app, **query)
        assert status == 200, body
        (found,) = body.values()
        return dict(found)

    def id(self, entity: str, key: str) -> str:
        """The sourcedId of what the source calls so; of a persona where a dot and a role follow."""
        name, dot, role = key.partition(".")
        return self.school.ids[entity, name] + dot + role

    def key(self, sourced_id: str) -> str:
        """The inverse of ``id``."""
        found, dot, role = sourced_id.partition(".")
        (key,) = {key for (_, key), one in self.school.ids.items() if one == found}
        return key + dot + role

    async def sync(self, **changed: tuple[tuple[str, str, str], ...] | None) -> None:
        """The district changes."""
        run = await self.hub.first.sync(package(**changed))
        assert run.state == "applied", (run.state, run.guard, run.error_message)

    async def behave(self, app: str = "all", **behaviour: Any) -> None:
        """Sets what an app expects. It holds for requests with a new token at once."""
        async with self.hub.db.shared() as tx:
            await apps.change(tx, self.school.apps[app], behaviour=behaviour)
        self.school.tokens[app] = await issue(self.hub.db, self.school.clients[app][0], READING)


@asynccontextmanager
async def serving(database: Database, school: School, **settings: Any) -> AsyncIterator[Old]:
    """A server over a copy of the district."""
    own = School(**{**school.__dict__, "tokens": dict(school.tokens)})
    async with running(database, own, **settings) as hub:
        yield Old(hub, own)


def reference(objects: list[dict[str, Any]], name: str) -> dict[str, str]:
    """What each object refers to, by its own id."""
    return {o["sourcedId"]: o[name]["sourcedId"] for o in objects}


NOBODY = UUID(int=1)
