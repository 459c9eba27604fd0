"""Two synced districts with some apps, and a real server over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import orjson
import polars as pl
from aiohttp import ClientResponse, ClientSession, web
from yarl import URL

from hub.api import ApiContext, build_api
from hub.api.client_secrets import hash_secret, new_secret
from hub.api.connections import Patience, listening
from hub.api.oneroster.bindings import ROSTERING_PATH
from hub.api.oneroster.scopes import V1P2
from hub.clock import Clock, SystemClock
from hub.scope.grants import GrantDefinition
from hub.settings import Settings
from hub.store import apps, runs
from hub.store.database import Database as Pool
from hub.sync import grants
from hub.sync.engine import work_once
from tests.api.oneroster.edits import lose_user
from tests.districts import EVERYTHING, District, Frames, sandbox
from tests.services import MASTER_KEY, Database

CORE, ROSTER, DEMOGRAPHICS = V1P2.ROSTER_CORE, V1P2.ROSTER, V1P2.DEMOGRAPHICS

SCOPES = [ROSTER, CORE, DEMOGRAPHICS]
#: Hidden: identifier. Masked: familyName. Not in its privacy classes: contact, demographic.
LIBRARY = GrantDefinition.model_validate(
    {"fields": {"users": {"hide": ["identifier", "grades"], "masks": {"familyName": "initial"}}}}
)
#: Limits that only tests of limits meet, and a key that is in no file.
USUAL: dict[str, Any] = {
    "app_requests_per_second": 10_000, "app_requests_burst": 100_000, "wrong_credentials_burst": 10_000,
    "master_key": MASTER_KEY.decode(),
}  # fmt: skip
Answer = tuple[int, Any, Mapping[str, str]]


@dataclass
class Prepared:
    """What was put into the database that tests start from."""

    here: UUID
    there: UUID
    source: UUID
    school: str = ""
    other_school: str = ""
    gone_student: str = ""
    grants: dict[str, UUID] = field(default_factory=dict)
    apps: dict[str, UUID] = field(default_factory=dict)
    clients: dict[str, tuple[str, str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)


async def prepare(worker_url: str) -> Prepared:
    """Syncs two districts, one student of the first leaves afterwards, and gives five apps a grant or none."""
    db = await Pool.open(worker_url, name="preparing", largest=2)
    first, second = await District(db).create(), await District(db).create()
    frames = sandbox(100, 7).frames
    await first.sync(frames)
    await second.sync(sandbox(100, 8).frames)
    out = Prepared(first.district_id, second.district_id, first.source_id)
    async with db.district(first.district_id) as tx:
        schools = await tx.fetch("SELECT sourced_id::text AS id FROM orgs WHERE type = 'school' ORDER BY rid")
    out.school, out.other_school = schools[0]["id"], schools[1]["id"]
    math = GrantDefinition.model_validate({"rules": [{"schools": [out.school]}]})
    for name, definition in (("lms", EVERYTHING), ("math", math), ("library", LIBRARY)):
        await _app(db, out, name, first, definition)
    await _app(db, out, "stranger", second, EVERYTHING)
    await _app(db, out, "nobody", None, EVERYTHING)
    await _lose_a_student(db, first, frames, out)
    await db.close()
    return out


async def _lose_a_student(db: Pool, district: District, frames: Mapping[str, pl.DataFrame], out: Prepared) -> None:
    roles = frames["roles"].filter(pl.col("role") == "student")
    key = roles["userSourcedId"][0]
    run = await district.sync(lose_user(frames, key))
    assert run.state == "applied", (run.state, run.guard, run.error_message)
    async with db.district(district.district_id) as tx:
        out.gone_student = await tx.fetchval(
            "SELECT u.sourced_id::text FROM users u JOIN source_records s USING (district_id, rid) "
            "WHERE s.entity = 'users' AND s.key = $1", key,
        )  # fmt: skip


async def _app(db: Pool, out: Prepared, name: str, district: District | None, definition: GrantDefinition) -> None:
    app_id, client_id, secret = uuid4(), apps.new_client_id(), new_secret()
    async with db.shared() as tx:
        await apps.create(tx, app_id, name)
        await apps.create_client(tx, client_id, app_id=app_id, secret_hash=hash_secret(secret), scopes=SCOPES)
    out.apps[name], out.clients[name] = app_id, (client_id, secret)
    out.tokens[name] = await issue(db, client_id, SCOPES)
    if district is not None:
        async with db.district(district.district_id) as tx:
            grant, _ = await grants.create(tx, app_id, definition, district.clock.now())
        out.grants[name] = grant.grant_id


async def issue(db: Pool, client_id: str, scopes: list[str], *, seconds: float = 3600) -> str:
    """A token as the token endpoint would issue it."""
    token, now = apps.new_token(), SystemClock().now()
    async with db.shared() as tx:
        client = await apps.find_client(tx, client_id)
        assert client is not None
        await apps.issue(tx, token, client, scopes=scopes, now=now, expires_at=now + timedelta(seconds=seconds))
    return token


@dataclass
class Hub:
    """A running API. ``db`` logs in as the worker, beside the API's own pool."""

    session: ClientSession
    prepared: Prepared
    db: Pool
    settings: Settings
    port: int

    @property
    def first(self) -> District:
        """The district that most tests are about."""
        return District(self.db, district_id=self.prepared.here, source_id=self.prepared.source)

    async def get(
        self, path: str, *, app: str | None = "lms", token: str | None = None, district: object = None, **query: str
    ) -> Answer:
        """One read of the Rostering service, or of the whole ``path`` below the hub: status, body, headers."""
        token = token or (self.prepared.tokens[app] if app else None)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        service = "" if path.startswith("/d/") else ROSTERING_PATH
        address = service.replace("{district}", str(district or self.prepared.here)) + path
        if query:
            address += "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        async with self.session.get(encoded(address), headers=headers) as response:
            return await answer(response)

    async def all(self, path: str, *, app: str = "lms", **query: str) -> list[dict[str, Any]]:
        """All objects of a collection, of one page."""
        status, body, headers = await self.get(path, app=app, **({"limit": "10000"} | query))
        assert status == 200, body
        (objects,) = body.values()
        assert headers["X-Total-Count"] == str(len(objects))
        return list(objects)

    async def ids(self, path: str, *, app: str = "lms", **query: str) -> list[str]:
        """The sourcedIds of ``all``."""
        return [o["sourcedId"] for o in await self.all(path, app=app, **query)]


def encoded(address: str) -> Any:
    """An address that is sent as it stands."""
    return URL(address, encoded=True)


async def answer(response: ClientResponse) -> Answer:
    """Status, parsed body and headers."""
    body = (
        await response.json(loads=orjson.loads)
        if response.content_type == "application/json"
        else await response.text()
    )
    return response.status, body, response.headers


def minor(body: Any) -> str:
    """The code minor of an error payload, in the form of 1.2 or of 1.1."""
    if "statusInfoSet" in body:
        (status,) = body["statusInfoSet"]
        return str(status["imsx_codeMinor"])
    (found,) = body["imsx_CodeMinor"]["imsx_codeMinorField"]
    return str(found["imsx_codeMinorFieldValue"])


@asynccontextmanager
async def running(
    database: Database, prepared: Prepared, *, port: int = 0, extend: Callable[[web.Application], None] | None = None,
    listen: bool = False, **settings: Any,
) -> AsyncIterator[Hub]:  # fmt: skip
    """A server over a database that was prepared; ``extend`` may give it more routes, ``listen`` lets it hear news."""
    db = await Pool.open(database.worker, name="tests beside the API", largest=3)

    async def wake(kind: str, district_id: UUID) -> None:
        """Nobody sleeps here."""

    options = Settings(**(USUAL | settings))
    pool = await Pool.open(database.service, name="tests of the API", largest=options.service_pool_size)
    api = build_api(ApiContext(pool, options, SystemClock(), wake, database.service if listen else None))
    if extend is not None:
        extend(api)
    async with (
        listening(api, "127.0.0.1", port, Patience.of(options)) as (host, chosen),
        ClientSession(base_url=f"http://{host}:{chosen}/") as session,
    ):
        yield Hub(session, prepared, db, options, chosen)
    await pool.close()
    await db.close()


async def land(hub: Hub, frames: Frames, clock: Clock | None = None) -> None:
    """Syncs a package, and approves it where it changes more than a district usually does."""
    district = replace(hub.first, clock=clock or SystemClock())
    run = await district.sync(frames)
    if run.state == "held":
        async with hub.db.district(hub.prepared.here) as tx:
            await runs.decide(tx, run.run_id, approve=True, actor="tests")
        while await work_once(hub.db, district.clock):
            pass
        run = await district.run(run.run_id)
    assert run.state in {"applied", "unchanged"}, (run.state, run.guard, run.error_message)
