"""Exports over HTTP: the files say what REST says, to whom REST says it, and for as long."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from hub.api.exports import PATH, sending
from hub.api.exports.service import Service
from hub.api.oneroster.scopes import V1P1, V1P2
from hub.clock import SystemClock
from hub.crypto import column_key
from hub.export.jobs import Workshop, work_once
from hub.export.targets import Places
from hub.scope.grants import GrantDefinition
from hub.sync import grants
from tests.api.oneroster.rosters import Hub, issue, minor, running
from tests.export.packages import rows
from tests.services import MASTER_KEY
from transforms.catalogue import BASE_NAMES, CATALOGUE, Field, Kind, Need

ENTITIES = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")
#: What stands in CSV where JSON has nothing, or something of its own.
MADE = {
    ("users", "username"),
    ("orgs", "identifier"),
    ("courses", "courseCode"),
    ("courses", "org"),
    ("classes", "classType"),
}


def path(hub: Hub, rest: str, district: object = None) -> str:
    return PATH.replace("{district}", str(district or hub.prepared.here)) + rest


def bearer(hub: Hub, app: str = "lms", token: str | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token or hub.prepared.tokens[app]}"}


async def whole(hub: Hub, app: str = "lms", token: str | None = None, **query: str) -> tuple[bytes, Any]:
    """A package that is sent at once, and its headers."""
    address = path(hub, "/oneroster.zip")
    async with hub.session.get(address, params=query, headers=bearer(hub, app, token)) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read(), answer.headers


async def call(hub: Hub, method: str, rest: str, app: str = "lms", **options: Any) -> tuple[int, Any, Any]:
    headers = bearer(hub, app, options.pop("token", None)) | options.pop("headers", {})
    async with hub.session.request(
        method, path(hub, rest, options.pop("district", None)), headers=headers, **options
    ) as answer:
        body = await answer.json() if answer.content_type == "application/json" else await answer.read()
        return answer.status, body, answer.headers


async def work(hub: Hub) -> None:
    shop = Workshop(hub.db, SystemClock(), column_key(MASTER_KEY), Places())
    while await work_once(shop):
        pass


def cell(field: Field, record: dict[str, Any]) -> str:
    """What REST shows of a field, as CSV writes it."""
    value = record.get(field.name)
    if value is None:
        return ""
    match field.kind:
        case Kind.REF:
            ids = [one["sourcedId"] for one in (value if field.many else [value])]
            return ",".join(ids)
        case Kind.USER_ID:
            return ",".join(f"{{{one['type']}:{one['identifier']}}}" for one in value)
        case _:
            return ",".join(value) if field.many else str(value)


@pytest.mark.threat("T13", "T19")
@pytest.mark.parametrize("app", ["lms", "math", "library"])
async def test_files_say_what_rest_says(hub: Hub, app: str) -> None:
    """The same records, fields, masks and references, through each grant."""
    data, _ = await whole(hub, app)
    found = rows(data)
    for name in ENTITIES:
        entity = CATALOGUE[name]
        shown = [one for one in await hub.all(f"/{name}", app=app) if one["status"] == "active"]
        records = {one["sourcedId"]: one for one in shown}
        assert {row["sourcedId"] for row in found.get(name, [])} == set(records)
        for row in found.get(name, []):
            for field in entity.csv_columns("1.2"):
                if field.name in BASE_NAMES or not field.stored or field.rest12 is Need.ABSENT:
                    continue
                expected = cell(field, records[row["sourcedId"]])
                if not expected and (name, field.name) in MADE:
                    continue
                if (name, field.name) in MADE and row[field.csv_name or ""] != expected:
                    assert expected == row["sourcedId"]  # what JSON makes up
                    continue
                assert row[field.csv_name or ""] == expected, (name, field.name)
    people = {one["sourcedId"]: one for one in await hub.all("/users", app=app) if one["status"] == "active"}
    roles = {(row["userSourcedId"], row["orgSourcedId"], row["role"], row["roleType"]) for row in found["roles"]}
    assert roles == {
        (user, role["org"]["sourcedId"], role["role"], role["roleType"])
        for user, one in people.items()
        for role in one["roles"]
    }
    assert ("userProfiles" in found) == any("userProfiles" in one for one in people.values())


async def test_an_export_is_asked_for_looked_at_fetched_and_acknowledged(hub: Hub) -> None:
    status, body, headers = await call(hub, "POST", "/exports", json={"mode": "delta"})
    assert (status, body["state"], body["mode"]) == (202, "queued", "delta")
    one = f"/exports/{body['export']}"
    assert headers["Location"].endswith(path(hub, one))
    assert (await call(hub, "POST", "/exports", json={"mode": "delta"}))[1]["export"] == body["export"]
    assert (await call(hub, "POST", "/exports", json={"mode": "bulk"}))[0] == 409
    status, refused, headers = await call(hub, "GET", one + "/file")
    assert (status, minor(refused)) == (409, "server_busy")
    assert "Retry-After" in headers
    assert (await call(hub, "POST", one + "/acknowledge"))[0] == 409

    await work(hub)
    _, body, _ = await call(hub, "GET", one)
    assert (body["state"], body["kind"], body["error"]) == ("ready", "bulk", None)
    assert body["files"]["users"] > 100
    assert body["omitted"] == {}
    status, data, headers = await call(hub, "GET", one + "/file")
    assert status == 200
    assert hashlib.sha256(data).hexdigest() == body["sha256"]
    assert len(data) == body["bytes"]
    assert data == (await whole(hub))[0]
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Request-ID" in headers
    assert "Content-Encoding" not in headers

    status, body, _ = await call(hub, "POST", one + "/acknowledge")
    assert (status, body["state"], body["file"]) == (200, "done", None)
    assert (await call(hub, "GET", one + "/file"))[0] == 410
    nothing, headers = await whole(hub, mode="delta")
    assert headers["X-Export-Kind"] == "delta"
    assert rows(nothing) == {}


async def test_a_package_that_was_sent_at_once_can_be_acknowledged(hub: Hub) -> None:
    token = await issue(hub.db, hub.prepared.clients["math"][0], [V1P1.ROSTER])
    data, headers = await whole(hub, token=token, mode="delta", version="1.1")
    assert headers["X-Export-Kind"] == "bulk"
    assert {"role", "orgSourcedIds"} <= rows(data)["users"][0].keys()
    one = f"/exports/{headers['X-Export-ID']}"
    status, body, _ = await call(hub, "GET", one, token=token)
    assert (status, body["state"], body["sha256"]) == (200, "done", hashlib.sha256(data).hexdigest())
    assert (await call(hub, "POST", one + "/acknowledge", token=token))[0] == 200
    assert (await whole(hub, token=token, mode="delta", version="1.1"))[1]["X-Export-Kind"] == "delta"


async def test_parts_of_a_file(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("hub.export.jobs", "hub.api.exports.sending"):
        monkeypatch.setattr(f"{module}.PART_BYTES", 1000)
    _, body, _ = await call(hub, "POST", "/exports")
    await work(hub)
    file = f"/exports/{body['export']}/file"
    _, data, headers = await call(hub, "GET", file)
    assert headers["Accept-Ranges"] == "bytes"
    size = len(data)
    for given, start, end in (("0-0", 0, 1), ("10-", 10, size), ("990-2010", 990, 2011), (f"5-{size * 2}", 5, size)):
        status, part, told = await call(
            hub, "GET", file, headers={"Range": f"bytes={given}", "If-Range": headers["ETag"]}
        )
        assert (status, part) == (206, data[start:end]), given
        assert told["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
    for ignored in ({"Range": "bytes=5-1,7-9"}, {"Range": "lines=1-2"}, {"Range": "bytes=0-1", "If-Range": '"other"'}):
        assert (await call(hub, "GET", file, headers=ignored))[:2] == (200, data)
    status, _, told = await call(hub, "GET", file, headers={"Range": f"bytes={size}-"})
    assert (status, told["Content-Range"]) == (416, f"bytes */{size}")
    status, _, told = await call(hub, "HEAD", file)
    assert (status, told["Content-Length"]) == (200, str(size))
    assert (await call(hub, "HEAD", "/oneroster.zip"))[0] == 200


async def test_requests_that_cannot_be(hub: Hub) -> None:
    for options in (
        {"params": {"version": "1.3"}}, {"params": {"mode": "all"}}, {"params": {"since": "1"}},
    ):  # fmt: skip
        status, body, _ = await call(hub, "GET", "/oneroster.zip", **options)
        assert (status, minor(body)) == (400, "invaliddata")
    for body_ in (b"[]", b"{", b'{"version": 1}', b'{"mode": "delta", "x": 1}', b"\xff"):
        status, body, _ = await call(hub, "POST", "/exports", data=body_)
        assert (status, minor(body)) == (400, "invaliddata")
    for rest in (f"/exports/{uuid4()}", "/exports/x", f"/exports/{uuid4()}/file"):
        status, body, _ = await call(hub, "GET", rest)
        assert (status, minor(body)) == (404, "unknownobject")
    assert (await call(hub, "GET", "/oneroster.zip", token="rh_at_unknown"))[0] == 401
    assert (await call(hub, "PUT", "/oneroster.zip"))[0] == 405


@pytest.mark.threat("T24")
async def test_an_export_is_its_apps_alone(hub: Hub) -> None:
    _, body, _ = await call(hub, "POST", "/exports")
    await work(hub)
    for rest in ("", "/file"):
        assert (await call(hub, "GET", f"/exports/{body['export']}{rest}", "math"))[0] == 404
        assert (await call(hub, "GET", f"/exports/{body['export']}{rest}", "nobody"))[0] == 404
        assert (await call(hub, "GET", f"/exports/{body['export']}{rest}", "stranger", district=hub.prepared.there))[
            0
        ] == 404
    assert (await call(hub, "POST", f"/exports/{body['export']}/acknowledge", "math"))[0] == 404
    assert (await call(hub, "GET", "/oneroster.zip", "stranger"))[0] == 404


@pytest.mark.threat("T12")
async def test_a_package_holds_the_files_that_the_token_has_scopes_for(hub: Hub) -> None:
    client, _ = hub.prepared.clients["lms"]
    core = await issue(hub.db, client, [V1P2.ROSTER_CORE])
    data, _ = await whole(hub, token=core)
    assert {"users", "roles", "enrollments"} <= rows(data).keys()
    assert "demographics" not in rows(data)
    own = await issue(hub.db, client, [V1P2.DEMOGRAPHICS])
    assert rows((await whole(hub, token=own))[0]).keys() == {"demographics"}
    status, body, headers = await call(hub, "GET", "/oneroster.zip", token=own, params={"version": "1.1"})
    assert (status, minor(body)) == (403, "forbidden")
    assert V1P1.ROSTER_CORE in headers["WWW-Authenticate"]
    # What was made for more is not handed out for less.
    _, asked, _ = await call(hub, "POST", "/exports")
    await work(hub)
    assert (await call(hub, "GET", f"/exports/{asked['export']}/file", token=core))[0] == 403


@pytest.mark.threat("T18")
@pytest.mark.parametrize("what", ["stream", "file"])
@pytest.mark.parametrize("how", ["suspended", "edited", "token"])
async def test_what_is_withdrawn_is_cut_off_in_the_middle(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, what: str, how: str
) -> None:
    monkeypatch.setattr(sending, "LOOK_SECONDS", 0)
    monkeypatch.setattr(sending, "_PIECE", 500)
    rest = "/oneroster.zip"
    if what == "file":
        _, body, _ = await call(hub, "POST", "/exports")
        await work(hub)
        rest = f"/exports/{body['export']}/file"
    looks, stands = 0, Service._stands

    async def withdraw(service: Service, *arguments: Any) -> bool:
        nonlocal looks
        looks += 1
        if looks == 5:
            await _withdraw(hub, how)
        return await stands(service, *arguments)

    monkeypatch.setattr(Service, "_stands", withdraw)
    async with hub.session.get(path(hub, rest), headers=bearer(hub)) as answer:
        assert answer.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await answer.read()
    assert looks == 5
    expected = {"suspended": 403, "token": 401, "edited": 200 if what == "stream" else 410}
    assert (await call(hub, "GET", rest))[0] == expected[how]


async def _withdraw(hub: Hub, how: str) -> None:
    grant = hub.prepared.grants["lms"]
    if how == "token":
        async with hub.db.shared() as tx:
            await tx.execute("UPDATE access_tokens SET revoked_at = now()")
        return
    async with hub.db.district(hub.prepared.here) as tx:
        if how == "suspended":
            await grants.set_state(tx, grant, "suspended")
        else:
            await grants.edit(tx, grant, GrantDefinition(), SystemClock().now())


@pytest.mark.threat("T45")
async def test_packages_that_are_sent_while_they_are_made_are_few(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, roster_database: Any
) -> None:
    async with running(roster_database, hub.prepared, export_streams=1) as small:
        go, there = asyncio.Event(), asyncio.Event()

        async def wait(*_: Any) -> bool:
            there.set()
            await go.wait()
            return True

        monkeypatch.setattr(Service, "_stands", wait)
        first = asyncio.create_task(whole(small))
        await there.wait()
        status, body, headers = await call(small, "GET", "/oneroster.zip")
        assert (status, minor(body), "Retry-After" in headers) == (429, "server_busy", True)
        assert (await call(small, "GET", "/oneroster.zip", "math"))[0] == 503
        go.set()
        await first
        assert (await call(small, "GET", "/oneroster.zip", "math"))[0] == 200


async def test_a_package_that_takes_too_long_is_broken_off(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, roster_database: Any
) -> None:
    async with running(roster_database, hub.prepared, export_stream_seconds=0.3) as small:

        async def never(*_: Any) -> bool:
            await asyncio.Event().wait()
            return True

        monkeypatch.setattr(Service, "_stands", never)
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await whole(small)
        async with small.db.district(small.prepared.here) as tx:
            assert not await tx.fetchval("SELECT count(*) FROM exports")
