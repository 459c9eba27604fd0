"""Two synced districts and every kind of caller: what the matrix of requests is asked of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import orjson
import polars as pl

from hub.api.client_secrets import hash_secret, new_secret
from hub.clock import SystemClock
from hub.ids import new_id
from hub.scope.grants import GrantDefinition
from hub.store import admin_tokens, apps, erasures
from hub.store.audit import HUB
from hub.store.database import Database as Pool
from hub.sync import grants
from tests.api.matrix.rules import DISTRICT, SCOPES
from tests.api.matrix.wire import Ask, Wire
from tests.api.oneroster.edits import lose_user
from tests.api.oneroster.rosters import Prepared, issue
from tests.districts import EVERYTHING, District, Frames, sandbox
from transforms.catalogue import CATALOGUE

SIZE = 100
WHOLE: dict[str, Any] = EVERYTHING.model_dump(mode="json", exclude_none=True) | {
    "write": [e.name for e in CATALOGUE.of_service("gradebook")]
}
#: What the app under test can be asked about. ``never``, ``broken``: of nobody.
KINDS = ("own", "gone", "hidden", "foreign", "never", "broken")
UNSEEN = ("hidden", "foreign", "never", "broken")
#: What a path can name an object of, with the service that lists it.
COLLECTIONS = {
    **dict.fromkeys(("academicSessions", "classes", "courses", "enrollments", "gradingPeriods", "orgs", "schools",
                     "students", "teachers", "terms", "users", "demographics"), "rostering"),
    **dict.fromkeys(("categories", "lineItems", "results", "scoreScales", "assessmentLineItems", "assessmentResults"),
                    "gradebook"),
    "resources": "resources",
}  # fmt: skip
OLD = [name for name in COLLECTIONS if not name.startswith("assessment") and name != "scoreScales"]
ACTIVE, ENDED = "status%3D%27active%27", "status%3D%27tobedeleted%27"
JSON = "Content-Type: application/json"
Ids = dict[str, dict[str, str]]  # by kind and collection


@dataclass
class World(Prepared):
    """What was put into the database that tests start from. ``admins``: tokens of the admin API by whose they are."""

    foreign_source: UUID = HUB
    admins: dict[str, str] = field(default_factory=dict)
    spent: dict[str, str] = field(default_factory=dict)


async def prepare(worker_url: str, service_url: str) -> World:
    """Syncs both districts; the app ``school`` saw two schools and sees one of them, which a student has left."""
    db = await Pool.open(worker_url, name="preparing", largest=2)
    first, second = await District(db).create(), await District(db).create()
    frames = sandbox(SIZE, 7, gradebook=True).frames
    for district, package in ((first, frames), (second, sandbox(SIZE, 8, gradebook=True).frames)):
        run = await district.sync(package)
        assert run.state == "applied", (run.state, run.guard, run.error_message)
        async with db.district(district.district_id) as tx:
            await erasures.add(tx, erasures.Erasure(uuid4(), uuid4(), "test", SystemClock().now(), 0, None))
    out = World(first.district_id, second.district_id, first.source_id, foreign_source=second.source_id)
    async with db.district(out.here) as tx:
        rows = await tx.fetch(
            "SELECT s.key, o.sourced_id::text AS id FROM orgs o JOIN source_records s USING (district_id, rid) "
            "WHERE s.entity = 'orgs' AND o.type = 'school' ORDER BY rid"
        )
    out.school, out.other_school = rows[0]["id"], rows[1]["id"]
    for name, place in (("whole", first), ("suspended", first), ("revoked", first), ("stranger", second)):
        await _app(db, out, name, place, WHOLE)
    await _app(db, out, "reader", first, WHOLE | {"write": []})
    await _app(db, out, "nobody", None, {})
    await _app(db, out, "school", first, WHOLE | {"rules": [{"schools": [out.school, out.other_school]}]})
    async with db.district(out.here) as tx:
        for state in ("suspended", "revoked"):
            await grants.set_state(tx, out.grants[state], state)
        narrow = GrantDefinition.model_validate(WHOLE | {"rules": [{"schools": [out.school]}]})
        await grants.edit(tx, out.grants["school"], narrow, first.clock.now())
    run = await first.sync(lose_user(frames, _student(frames, rows[0]["key"])))
    assert run.state == "applied", (run.state, run.guard, run.error_message)
    await _spend(db, out)
    await db.close()
    await _admins(service_url, out)
    return out


def _student(frames: Frames, school: str) -> str:
    """The key of a student of a school."""
    here = frames["enrollments"].filter((pl.col("schoolSourcedId") == school) & (pl.col("role") == "student"))
    return str(here["userSourcedId"][0])


async def _app(db: Pool, out: World, name: str, district: District | None, definition: Mapping[str, Any]) -> None:
    app_id, client_id = uuid4(), apps.new_client_id()
    secret, hashed = _secret("school" if name == "school" else "others")
    async with db.shared() as tx:
        await apps.create(tx, app_id, name)
        await apps.create_client(tx, client_id, app_id=app_id, secret_hash=hashed, scopes=[*SCOPES])
    out.apps[name], out.clients[name] = app_id, (client_id, secret)
    out.tokens[name] = await issue(db, client_id, [*SCOPES])
    if district is not None:
        async with db.district(district.district_id) as tx:
            grant, _ = await grants.create(tx, app_id, GrantDefinition.model_validate(definition), district.clock.now())
        out.grants[name] = grant.grant_id


@cache
def _secret(whose: str) -> tuple[str, str]:  # noqa: ARG001
    """A secret and its slow hash: two of them do for all."""
    secret = new_secret()
    return secret, hash_secret(secret)


async def _spend(db: Pool, out: World) -> None:
    """Tokens that were good once: over, revoked, and of a client that was revoked."""
    client, now = out.clients["school"][0], SystemClock().now()
    out.spent["expired"] = await issue(db, client, [*SCOPES], seconds=-1)
    out.spent["revoked token"] = await issue(db, client, [*SCOPES])
    ended, (secret, hashed) = apps.new_client_id(), _secret("others")
    async with db.shared() as tx:
        await apps.revoke_token(tx, apps.digest(out.spent["revoked token"]), now)
        await apps.create_client(tx, ended, app_id=out.apps["school"], secret_hash=hashed, scopes=[*SCOPES])
    out.spent["revoked client"] = await issue(db, ended, [*SCOPES])
    async with db.shared() as tx:
        await apps.revoke_client(tx, ended, now)
    out.clients["revoked"] = (ended, secret)


async def _admins(service_url: str, out: World) -> None:
    db = await Pool.open(service_url, name="preparing", largest=2)
    now = SystemClock().now()
    for name, role, district, app, days in (
        ("operator", "operator", None, None, 1),
        ("district", "district", out.here, None, 1),
        ("other district", "district", out.there, None, 1),
        ("app", "app", None, out.apps["school"], 1),
        ("other app", "app", None, out.apps["stranger"], 1),
        ("expired", "operator", None, None, -1),
        ("revoked", "operator", None, None, 1),
    ):
        async with db.district(HUB) as tx:
            row, token = await admin_tokens.create(
                tx, new_id(), name=name, role=role, district_id=district, app_id=app,
                expires_at=now + timedelta(days=days),
            )  # fmt: skip
            if name == "revoked":
                await admin_tokens.revoke(tx, row.token_id, now)
        out.admins[name] = token
    await db.close()


def bearer(token: str) -> tuple[str, ...]:
    """The header that shows a token."""
    return (f"Authorization: Bearer {token}",)


async def own_and_others(wire: Wire, world: World) -> dict[str, Ids]:
    """By version, what the app ``school`` sees, does not see any more, and may not see."""
    mine = await _listed(wire, world, "school", world.here, {"students": "rostering/v1p2"}, ACTIVE)
    near = {student["sourcedId"] for student in mine["students"]}
    whole = await _listed(wire, world, "reader", world.here, {"students": "rostering/v1p2"}, ACTIVE)
    far = min(s["sourcedId"] for s in whole["students"] if s["sourcedId"] not in near)
    there = await _listed(wire, world, "stranger", world.there, {"students": "rostering/v1p2"}, ACTIVE)
    await _assess(wire, world, "whole", world.here, far)
    await _assess(wire, world, "stranger", world.there, min(s["sourcedId"] for s in there["students"]))
    bases = {"1.2": {name: f"{base}/v1p2" for name, base in COLLECTIONS.items()}, "1.1": dict.fromkeys(OLD, "v1p1")}
    others = {v: await _listed(wire, world, "reader", world.here, bases[v], ACTIVE) for v in bases}
    await _assess(wire, world, "school", world.here, min(near))
    return {version: await _ids(wire, world, bases[version], others[version]) for version in bases}


async def _assess(wire: Wire, world: World, app: str, district: UUID, student: str) -> None:
    """Assessments, which no file brings: apps write them."""
    result = {"assessmentLineItem": {"sourcedId": app}, "student": {"sourcedId": student},
              "scoreStatus": "fully graded", "scoreDate": "2026-09-03"}  # fmt: skip
    for name, value in (("assessmentLineItem", {"title": "Section"}), ("assessmentResult", result)):
        path = f"{DISTRICT.replace('*', str(district))}/gradebook/v1p2/{name}s/{app}"
        body = orjson.dumps({name: {"sourcedId": app, **value}})
        told = await wire.one(Ask("PUT", path, (*bearer(world.tokens[app]), JSON), body))
        assert told.status == 201, str(told)


async def _listed(
    wire: Wire, world: World, app: str, district: UUID, bases: Mapping[str, str], query: str
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """All objects of collections, as an app sees them."""
    root = DISTRICT.replace("*", str(district))
    asks = [
        Ask("GET", f"{root}/{base}/{name}?limit=10000&filter={query}", bearer(world.tokens[app]), label=(app, name))
        for name, base in bases.items()
    ]
    told = await wire.all(asks)
    assert {one.status for one in told} == {200}, [str(one) for one in told if one.status != 200]
    return {name: next(iter(orjson.loads(one.body).values())) for name, one in zip(bases, told, strict=True)}


async def _ids(
    wire: Wire, world: World, bases: Mapping[str, str], whole: Mapping[str, list[dict[str, Any]]]
) -> Ids:  # fmt: skip
    mine = await _listed(wire, world, "school", world.here, bases, ACTIVE)
    gone = await _listed(wire, world, "school", world.here, bases, ENDED)
    foreign = await _listed(wire, world, "stranger", world.there, bases, ACTIVE)
    own = {name: _first(objects) for name, objects in mine.items()}
    own |= _of_one_class(mine)
    known = {name: {o["sourcedId"] for o in (*mine[name], *gone[name])} for name in bases}
    return {
        "own": own,
        "gone": {name: _first(objects) for name, objects in gone.items()},
        "hidden": {name: _first([o for o in whole[name] if o["sourcedId"] not in known[name]]) for name in bases},
        "foreign": {name: _first(objects) for name, objects in foreign.items()},
        "never": {name: str(uuid4()) for name in bases},
        "broken": dict.fromkeys(bases, "no%20id%00"),
    }


def _first(objects: list[dict[str, Any]]) -> str:
    return min((str(o["sourcedId"]) for o in objects), default="")


def _of_one_class(mine: Mapping[str, list[dict[str, Any]]]) -> dict[str, str]:
    """Ids that can stand in one path together: of a class with results, its school, and what else belongs to it."""
    items = {item["sourcedId"]: item for item in mine["lineItems"]}
    result = next(r for r in mine["results"] if r["lineItem"]["sourcedId"] in items)
    item = items[result["lineItem"]["sourcedId"]]
    (class_,) = (c for c in mine["classes"] if c["sourcedId"] == item["class"]["sourcedId"])
    return {
        "results": result["sourcedId"], "lineItems": item["sourcedId"], "students": result["student"]["sourcedId"],
        "classes": class_["sourcedId"], "schools": class_["school"]["sourcedId"],
        "terms": class_["terms"][0]["sourcedId"],
        "academicSessions": item.get("academicSession", class_["terms"][0])["sourcedId"],
    }  # fmt: skip
