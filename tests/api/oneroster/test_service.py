"""The service around the reads: permissions, discovery, health, limits, errors, logs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from aiohttp import web

from hub.api import ApiContext, build_api
from hub.api.oneroster.bindings import BINDINGS, Binding
from hub.api.oneroster.writes import WRITES
from hub.api.permissions import PERMISSIONS, Permission, declare, refuse_undeclared
from hub.clock import SystemClock
from hub.embedded import EmbeddedPostgres
from hub.objects.bases import EVERYWHERE
from hub.settings import Settings, role_passwords
from hub.store.database import Database as Pool
from hub.store.migrate import migrate
from tests.api.oneroster.rosters import Hub, Prepared, answer, minor, running
from tests.services import MASTER_KEY, Database, database_at

TOKEN_REQUEST = {"grant_type": "client_credentials", "client_id": "some", "client_secret": "thing"}


async def api_over(url: str) -> tuple[web.Application, Pool]:
    async def wake(kind: str, district_id: object) -> None:
        """Nobody sleeps here."""

    pool = await Pool.open(url, name="routes", smallest=0)
    return build_api(ApiContext(pool, Settings(master_key=MASTER_KEY.decode()), SystemClock(), wake)), pool


#: What exports are asked by, see tests/export.
EXPORTS = "/export/v1/"


@pytest.mark.threat("T20", "T56")
async def test_every_route_and_method_has_its_permission(database: Database) -> None:
    api, pool = await api_over(database.service)
    found = {
        (route.method, route.resource.canonical)
        for resource in api.router.resources()
        if not resource.canonical.startswith("/admin")
        for route in resource
    }
    assert found == set(api[PERMISSIONS])
    public = {path for (_, path), permission in api[PERMISSIONS].items() if permission is Permission.PUBLIC}
    assert public == {
        "/healthz", "/readyz", "/.well-known/oauth-authorization-server", "/asyncapi.json",
        *(f"{p}/discovery/{name}" for b in BINDINGS for name in b.documents for p in (b.path, b.everywhere)),
    }  # fmt: skip
    scoped = {key for key, permission in api[PERMISSIONS].items() if permission is Permission.SCOPE}
    pulls = {(m, p) for m, p in scoped if p.endswith("/changes")}
    assert pulls == {(m, p) for m in ("GET", "HEAD") for p in ("/changes", "/d/{district}/changes")}
    assert {(m, p) for m, p in scoped - pulls if EXPORTS not in p} == {
        *((method, EVERYWHERE) for method in ("GET", "HEAD")),
        *(
            (method, path + operation.path)
            for binding in BINDINGS
            for path in (binding.path, binding.everywhere)
            for operation in binding.operations
            for method in ("GET", "HEAD")
        ),
        *((write.method, write.address) for write in WRITES),
    }
    assert {p for (_, p), permission in api[PERMISSIONS].items() if permission is Permission.MACHINE} == {"/metrics"}
    assert [key for key, permission in api[PERMISSIONS].items() if permission is Permission.CLIENT] == [
        ("POST", path) for path in ("/oauth/token", "/oauth/revoke", "/oauth/introspect")
    ]
    await pool.close()


@pytest.mark.threat("T20")
def test_a_route_without_a_permission_stops_the_start() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app[PERMISSIONS] = {}
    declare(app, "GET", "/declared", handler, Permission.PUBLIC)
    refuse_undeclared(app)
    app.router.add_post("/declared", handler)
    with pytest.raises(ValueError, match="POST"):
        refuse_undeclared(app)


@pytest.mark.parametrize(("binding", "name"), [(b, name) for b in BINDINGS for name in b.documents])
async def test_the_discovery_document_is_this_hubs_own(hub: Hub, binding: Binding, name: str) -> None:
    path = binding.path.replace("{district}", str(hub.prepared.here))
    async with hub.session.get(f"{path}/discovery/{name}") as response:
        status, body, _ = await answer(response)
    assert status == 200
    assert body["servers"] == [{"url": hub.settings.public_url + path}]
    flow = body["components"]["securitySchemes"]["OAuth2CC"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == hub.settings.public_url + "/oauth/token"
    writes = [w for w in WRITES if (w.version, w.entity.service) == (binding.version, binding.service)]
    described = [(path, method, one) for path, item in body["paths"].items() for method, one in item.items()]
    assert {(path, method, one["operationId"]) for path, method, one in described} == {
        *((o.path, "get", o.name) for o in binding.operations), *((w.path, w.method.lower(), w.name) for w in writes),
    }  # fmt: skip
    assert {s for *_, one in described for need in one["security"] for s in need["OAuth2CC"]} == set(flow["scopes"])
    text = json.dumps(body)
    for reference in {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in body["components"]["schemas"]


async def test_answers_fit_the_shapes_of_the_discovery_document(hub: Hub) -> None:
    rostering = BINDINGS[0]
    path = rostering.path.replace("{district}", str(hub.prepared.here))
    async with hub.session.get(f"{path}/discovery/{rostering.documents[0]}") as found:
        schemas = (await found.json())["components"]["schemas"]
    checked = 0
    for operation in rostering.operations:
        if operation.single or operation.parents:
            continue
        name = operation.entity.singular[0].upper() + operation.entity.singular[1:]
        for one in await hub.all(operation.path, filter="status='active'"):
            fits(one, {"$ref": f"#/components/schemas/{name}"}, schemas)
            checked += 1
    assert checked > 100


def fits(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """The few words of JSON Schema that the document uses."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        assert any(value in option.get("enum", []) or str(value).startswith("ext:") for option in schema["anyOf"])
        return
    kind = {"object": dict, "array": list, "string": str}[schema["type"]]
    assert isinstance(value, kind), (value, schema)
    assert value in schema.get("enum", [value])
    if kind is list:
        for item in value:
            fits(item, schema["items"], schemas)
    if kind is dict and "properties" in schema:
        assert set(schema.get("required", [])) <= set(value) <= set(schema["properties"]), value
        for name, inner in value.items():
            fits(inner, schema["properties"][name], schemas)


async def test_health_needs_no_token_and_readiness_a_right_schema(hub: Hub) -> None:
    for path in ("/healthz", "/readyz"):
        async with hub.session.get(path) as response:
            assert (await answer(response))[:2] == (200, {"status": "ok"})


async def test_readiness_says_when_the_schema_is_another(hub: Hub, roster_database: Database) -> None:

    owner = await asyncpg.connect(roster_database.owner)
    await owner.execute("UPDATE hub.schema_steps SET checksum = 'x'")
    await owner.close()
    async with hub.session.get("/readyz") as response:
        assert (await answer(response))[:2] == (503, {"status": "schema_outdated"})
    async with hub.session.get("/healthz") as response:
        assert response.status == 200


@pytest.mark.threat("T45")
async def test_an_app_that_asks_too_often_has_to_wait_and_others_do_not(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], app_requests_per_second=0.5, app_requests_burst=3) as hub:
        assert [(await hub.get("/orgs"))[0] for _ in range(3)] == [200] * 3
        status, body, headers = await hub.get("/orgs")
        assert (status, minor(body)) == (429, "server_busy")
        assert 1 <= int(headers["Retry-After"]) <= 2
        assert (await hub.get("/orgs", app="math"))[0] == 200


async def test_addresses_are_those_that_the_operator_set(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], base_url="https://hub.example/base") as hub:
        _, body, headers = await hub.get("/classes", limit="1")
        start = f"https://hub.example/base/d/{hub.prepared.here}/ims/oneroster/rostering/v1p2/"
        assert body["classes"][0]["school"]["href"].startswith(start + "orgs/")
        assert headers["Link"].startswith(f"<{start}classes?limit=1&offset=0>")


@pytest.fixture
def lone_postgres(embedded_folder: Path) -> Iterator[tuple[EmbeddedPostgres, Database]]:
    """A server of its own with an empty, migrated database; the test may stop it."""
    with EmbeddedPostgres(embedded_folder) as server:
        asyncio.run(migrate(server.url(), passwords=role_passwords(MASTER_KEY)))
        yield server, database_at(server.url())


async def test_a_database_that_is_away_is_told_as_busy(
    lone_postgres: tuple[EmbeddedPostgres, Database], rostered: tuple[str, Prepared]
) -> None:
    server, database = lone_postgres
    async with running(database, rostered[1]) as hub:
        assert (await hub.get("/orgs"))[0] == 401  # an empty database knows no token
        await asyncio.to_thread(server.stop)
        for _ in range(2):
            status, body, headers = await hub.get("/orgs")
            assert (status, minor(body), headers["Retry-After"]) == (503, "server_busy", "2")
        async with hub.session.get("/readyz") as response:
            assert (await answer(response))[:2] == (503, {"status": "unavailable"})
        async with hub.session.post("/oauth/token", data=TOKEN_REQUEST) as response:
            assert (response.status, (await response.json())["error"]) == (503, "temporarily_unavailable")


@pytest.mark.threat("T48")
async def test_log_lines_name_the_route_and_nothing_of_the_request(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.DEBUG):
        await hub.get(f"/users/{hub.prepared.gone_student}", filter="familyName='Canary'", fields="Canary")
        await hub.get("/users", filter="familyName='Canary'")
        await hub.get("/users", filter="Canary")
        await hub.get("/Canary")
        async with hub.session.post(
            "/oauth/token", data={"grant_type": "client_credentials", "client_id": "Canary", "client_secret": "Canary"}
        ):
            pass
        client_id, secret = hub.prepared.clients["lms"]
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        async with hub.session.post("/oauth/token", data=form) as response:
            token = (await response.json())["access_token"]
    text = json.dumps(lines, default=str) + "\n".join(record.getMessage() for record in caplog.records)
    for secret_text in ("Canary", hub.prepared.gone_student, str(hub.prepared.here), token, secret):
        assert secret_text not in text


@pytest.mark.threat("T43")
async def test_a_filter_that_takes_too_long_is_given_up(hub: Hub, roster_database: Database) -> None:
    owner = await asyncpg.connect(roster_database.owner)
    async with owner.transaction():
        await owner.execute("LOCK TABLE hub.users IN ACCESS EXCLUSIVE MODE")
        started = asyncio.get_running_loop().time()
        status, body, headers = await hub.get("/users", filter="familyName~'a'")
        took = asyncio.get_running_loop().time() - started
    await owner.close()

    assert (status, minor(body)) == (503, "server_busy")
    assert headers["Retry-After"]
    assert 4 < took < 15
    assert (await hub.get("/users", filter="familyName~'a'"))[0] == 200
