"""A synced district with a gradebook of its own, apps that may write to it or not, and a client for both services."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import orjson
import polars as pl

from hub.api.client_secrets import hash_secret, new_secret
from hub.api.oneroster.scopes import SCOPES
from hub.objects.bases import DISTRICT, PATHS
from hub.scope.grants import WRITABLE, GrantDefinition
from hub.store import apps
from hub.store.database import Database as Pool
from hub.sync import grants
from tests.api.oneroster.rosters import Answer, Hub, Prepared, answer, encoded, issue, running
from tests.districts import District, Frames, sandbox
from tests.services import Database
from transforms.catalogue import CATALOGUE, Version

ENTITIES = [e.name for e in CATALOGUE.entities if e.name not in {"demographics", "resources"}]
WHOLE: dict[str, Any] = {"entities": ENTITIES, "privacy": ["contact"]}
WRITER = WHOLE | {"write": list(WRITABLE)}
ALL_SCOPES = list(SCOPES)


@dataclass
class Ids:
    """Canonical ids: of a class with two students and two classmates elsewhere, and of the SIS's own gradebook."""

    school: str = ""
    here: str = ""  # a class of that school
    session: str = ""  # a term of that class
    students: list[str] = field(default_factory=list)  # of that class
    teacher: str = ""
    stranger: str = ""  # a student of another class alone
    other_school: str = ""
    there: str = ""  # a class of another school
    there_student: str = ""
    sis: dict[str, str] = field(default_factory=dict)  # the SIS's key to the canonical id


@dataclass
class Shelf:
    """What was put into the database that tests start from."""

    prepared: Prepared
    ids: Ids
    frames: dict[str, pl.DataFrame]


def sis_frames(frames: Frames, ids: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """The district's own gradebook, by keys: a line item with a result in each of two classes."""

    def rows(file: str, *values: dict[str, str]) -> pl.DataFrame:
        header = CATALOGUE[file].csv_header("1.2")
        return pl.DataFrame([dict.fromkeys(header) | v for v in values], schema=dict.fromkeys(header, pl.String))

    def line_item(key: str, class_: str, school: str) -> dict[str, str]:
        return {
            "sourcedId": key, "title": "Essay", "assignDate": "2026-09-01", "dueDate": "2026-09-08",
            "classSourcedId": class_, "categorySourcedId": "K1", "academicSessionSourcedId": ids["session"],
            "resultValueMin": "0", "resultValueMax": "100", "schoolSourcedId": school,
        }  # fmt: skip

    def result(key: str, item: str, student: str, class_: str) -> dict[str, str]:
        return {
            "sourcedId": key, "lineItemSourcedId": item, "studentSourcedId": student, "scoreStatus": "fully graded",
            "score": "80", "scoreDate": "2026-09-09", "classSourcedId": class_,
        }  # fmt: skip

    return dict(frames) | {
        "categories": rows(
            "categories", {"sourcedId": "K1", "title": "Tests", "weight": "60"},
            {"sourcedId": "K2", "title": "Homework", "weight": "40"},
        ),
        "scoreScales": rows(
            "scoreScales",
            {"sourcedId": "S1", "title": "Letters", "type": "local", "orgSourcedId": ids["school"],
             "courseSourcedId": ids["course"], "classSourcedId": ids["here"], "scoreScaleValue": "{A:90},{B:80}"},
        ),
        "lineItems": rows(
            "lineItems", line_item("L1", ids["here"], ids["school"]), line_item("L2", ids["there"], ids["other_school"])
        ),
        "results": rows(
            "results", result("R1", "L1", ids["student"], ids["here"]),
            result("R2", "L2", ids["there_student"], ids["there"]),
        ),
    }  # fmt: skip


def _keys(frames: Frames) -> dict[str, str]:
    """Which of the sandbox's objects the gradebook is about, by the source's keys."""
    students = frames["enrollments"].filter(pl.col("role") == "student")
    classes = frames["classes"]
    first = classes.row(0, named=True)
    here = students.filter(pl.col("classSourcedId") == first["sourcedId"])["userSourcedId"].to_list()
    other = classes.filter(pl.col("schoolSourcedId") != first["schoolSourcedId"]).row(0, named=True)
    there = students.filter(pl.col("classSourcedId") == other["sourcedId"])["userSourcedId"].to_list()
    same_school = students.filter(pl.col("schoolSourcedId") == first["schoolSourcedId"])["userSourcedId"].to_list()
    teachers = frames["enrollments"].filter(
        (pl.col("classSourcedId") == first["sourcedId"]) & (pl.col("role") == "teacher")
    )
    return {
        "school": first["schoolSourcedId"], "here": first["sourcedId"], "course": first["courseSourcedId"],
        "session": first["termSourcedIds"].split(",")[0], "student": here[0], "classmate": here[1],
        "teacher": teachers["userSourcedId"][0], "stranger": next(s for s in same_school if s not in here),
        "other_school": other["schoolSourcedId"], "there": other["sourcedId"], "there_student": there[0],
    }  # fmt: skip


async def prepare(worker_url: str) -> Shelf:
    """Syncs a district with a gradebook and gives apps their grants."""
    db = await Pool.open(worker_url, name="preparing", largest=2)
    district = await District(db).create()
    keys = _keys(sandbox(100, 7).frames)
    frames = sis_frames(sandbox(100, 7).frames, keys)
    run = await district.sync(frames)
    assert run.state == "applied", (run.state, run.guard, run.error_message)
    async with db.district(district.district_id) as tx:
        known: dict[str, str] = {}
        for entity in CATALOGUE.entities:
            rows = await tx.fetch(
                f"SELECT s.key, t.sourced_id::text AS id FROM source_records s JOIN {entity.table} t "
                "USING (district_id, rid) WHERE s.entity = $1", entity.name,
            )  # fmt: skip
            known |= {row["key"]: row["id"] for row in rows}
    ids = Ids(
        known[keys["school"]], known[keys["here"]], known[keys["session"]],
        [known[keys["student"]], known[keys["classmate"]]], known[keys["teacher"]], known[keys["stranger"]],
        known[keys["other_school"]], known[keys["there"]], known[keys["there_student"]],
        {key: known[key] for key in ("K1", "K2", "S1", "L1", "L2", "R1", "R2")},
    )  # fmt: skip
    prepared = Prepared(district.district_id, uuid4(), district.source_id)
    math = WRITER | {"rules": [{"schools": [ids.school]}]}
    for name, definition in {"lms": WRITER, "quiz": WRITER, "math": math, "viewer": WHOLE, "plain": {}}.items():
        await grant(db, prepared, name, district, GrantDefinition.model_validate(definition))
    await db.close()
    return Shelf(prepared, ids, frames)


async def grant(db: Pool, prepared: Prepared, name: str, district: District, definition: GrantDefinition) -> None:
    """A new app with a grant, and a token with all scopes."""
    app_id, client_id, secret = uuid4(), apps.new_client_id(), new_secret()
    async with db.shared() as tx:
        await apps.create(tx, app_id, name)
        await apps.create_client(tx, client_id, app_id=app_id, secret_hash=hash_secret(secret), scopes=ALL_SCOPES)
    prepared.apps[name], prepared.clients[name] = app_id, (client_id, secret)
    prepared.tokens[name] = await issue(db, client_id, ALL_SCOPES)
    async with db.district(district.district_id) as tx:
        made, _ = await grants.create(tx, app_id, definition, district.clock.now())
    prepared.grants[name] = made.grant_id


@dataclass
class Book:
    """A client of a running hub's gradebook, for all of its apps."""

    hub: Hub
    ids: Ids
    frames: dict[str, pl.DataFrame]
    service: Pool  # logs in as the API does

    @property
    def district_id(self) -> UUID:
        return self.hub.prepared.here

    def address(self, path: str, version: Version = "1.2", service: str = "gradebook") -> str:
        base = PATHS[version][service]  # type: ignore[index]
        return DISTRICT.replace("{district}", str(self.district_id)) + base + path

    async def send(
        self, method: str, path: str, *, app: str = "lms", token: str | None = None, version: Version = "1.2",
        body: object = None, data: bytes | None = None, headers: Mapping[str, str] | None = None,
        service: str = "gradebook", **query: str,
    ) -> Answer:  # fmt: skip
        """One request: status, body, headers."""
        address = self.address(path, version, service)
        if query:
            address += "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        sent = {"Authorization": f"Bearer {token or self.hub.prepared.tokens[app]}", **(headers or {})}
        if body is not None:
            data = orjson.dumps(body)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        sending = None if data is None else io.BytesIO(data)
        async with self.hub.session.request(method, encoded(address), headers=sent, data=sending) as response:
            return await answer(response)

    async def get(self, path: str, **more: Any) -> Answer:
        """One read."""
        return await self.send("GET", path, **more)

    async def put(self, entity: str, key: str, value: dict[str, Any] | None = None, **more: Any) -> Answer:
        """Puts an object; by default the least one of its entity."""
        value = self.least(entity) | (value or {})
        body = {CATALOGUE[entity].singular: {"sourcedId": key} | {n: v for n, v in value.items() if v is not ...}}
        return await self.send("PUT", f"/{entity}/{quote(key, safe='')}", body=body, **more)

    async def make(self, entity: str, key: str, value: dict[str, Any] | None = None, **more: Any) -> None:
        """Puts an object that must not be refused."""
        status, body, _ = await self.put(entity, key, value, **more)
        assert status in {200, 201}, (status, body)

    async def one(self, entity: str, key: str, **more: Any) -> dict[str, Any]:
        """An object that must be there."""
        status, body, _ = await self.get(f"/{entity}/{quote(key, safe='')}", **more)
        assert status == 200, body
        found: dict[str, Any] = body[CATALOGUE[entity].singular]
        return found

    async def keys(self, path: str, **more: Any) -> list[str]:
        """The sourcedIds of a collection, which must be there."""
        status, body, _ = await self.get(path, limit="10000", **more)
        assert status == 200, body
        (objects,) = body.values()
        return [o["sourcedId"] for o in objects]

    def least(self, entity: str) -> dict[str, Any]:
        """Values that an object of the entity needs, in the first class."""
        ids = self.ids
        values: dict[str, dict[str, Any]] = {
            "categories": {"title": "Quizzes"},
            "scoreScales": {"title": "Points", "type": "local", "class": ref(ids.here),
                            "scoreScaleValue": [{"itemValueLHS": "50", "itemValueRHS": "pass"}]},
            "lineItems": {"title": "Quiz", "assignDate": "2026-09-01T08:00:00.000Z",
                          "dueDate": "2026-09-02T08:00:00.000Z", "class": ref(ids.here), "school": ref(ids.school),
                          "category": ref(ids.sis["K1"]), "resultValueMax": 10},
            "results": {"lineItem": ref(ids.sis["L1"]), "student": ref(ids.students[0]),
                        "scoreStatus": "fully graded", "score": 7, "scoreDate": "2026-09-03"},
            "assessmentLineItems": {"title": "Section"},
            "assessmentResults": {"assessmentLineItem": ref("a"), "student": ref(ids.students[0]),
                                  "scoreStatus": "fully graded", "scoreDate": "2026-09-03"},
        }  # fmt: skip
        return values[entity]


def ref(sourced_id: str) -> dict[str, str]:
    """A reference as sloppy clients send it."""
    return {"sourcedId": sourced_id}


@asynccontextmanager
async def open_book(database: Database, shelf: Shelf, **settings: Any) -> AsyncIterator[Book]:
    """A client of a server over a database that was prepared."""
    async with running(database, shelf.prepared, **settings) as hub:
        pool = await Pool.open(database.service, name="tests beside the API", largest=2)
        yield Book(hub, shelf.ids, shelf.frames, pool)
        await pool.close()
