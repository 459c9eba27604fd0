"""Three apps with the same view of one district: one knows it by the hub's ids, two by pseudonyms of their own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any
from uuid import UUID, uuid4

import orjson

from hub.api.client_secrets import hash_secret, new_secret
from hub.api.oneroster.gradebook import GRADEBOOK
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.resources import RESOURCES
from hub.api.oneroster.rostering import ROSTERING
from hub.api.oneroster.scopes import SCOPES
from hub.api.oneroster.v1p1.operations import V1P1_READS
from hub.crypto import column_key
from hub.identifiers import pseudonyms_of
from hub.objects.bases import EVERYWHERE, PATHS
from hub.scope.grants import WRITABLE, GrantDefinition
from hub.scope.pseudonyms import Pseudonyms
from hub.store import apps
from hub.store import grants as store
from hub.store.database import Database as Pool
from hub.store.grants import Grant
from hub.sync import grants
from tests.api.oneroster.gradebooks import Book, Ids
from tests.api.oneroster.rosters import Answer, Hub, Prepared, answer, encoded, issue, running
from tests.api.oneroster_v1p1.school import ALL, PRIVACY, package
from tests.districts import District
from tests.services import MASTER_KEY, Database
from transforms.catalogue import CATALOGUE, Version

KEY = column_key(MASTER_KEY)
WHOLE = GrantDefinition.model_validate({"entities": ALL, "privacy": PRIVACY, "write": list(WRITABLE)})
PLAIN, BLUE, RED = "plain", "blue", "red"
READS: tuple[Operation, ...] = (*ROSTERING, *RESOURCES, *GRADEBOOK, *V1P1_READS)
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
#: So many of the objects that a path may name are asked for.
_EACH = 4


async def prepare(worker_url: str) -> Prepared:
    """Syncs the district, of which somebody leaves, and gives three apps the same grant."""
    db = await Pool.open(worker_url, name="preparing", largest=2)
    district = await District(db).create()
    out = Prepared(district.district_id, uuid4(), district.source_id)
    for name in (PLAIN, BLUE, RED):
        await add_app(db, out, name, pseudonymous=name != PLAIN)
    for frames in (package(ivy=(("student", "north", "primary"),)), package()):
        run = await district.sync(frames)
        assert run.state == "applied", (run.state, run.guard, run.error_message)
    await db.close()
    return out


async def add_app(db: Pool, out: Prepared, name: str, *, pseudonymous: bool) -> None:
    """A new app with a grant, and a token with all scopes."""
    app_id, client_id, secret = uuid4(), apps.new_client_id(), new_secret()
    async with db.shared() as tx:
        await apps.create(tx, app_id, name)
        await apps.create_client(tx, client_id, app_id=app_id, secret_hash=hash_secret(secret), scopes=[*SCOPES])
    out.apps[name], out.clients[name] = app_id, (client_id, secret)
    out.tokens[name] = await issue(db, client_id, [*SCOPES])
    out.grants[name] = (await give(db, out.here, app_id, pseudonymous=pseudonymous)).grant_id


async def give(db: Pool, district_id: UUID, app_id: UUID, *, pseudonymous: bool) -> Grant:
    district = District(db, district_id=district_id)
    async with db.district(district_id) as tx:
        key = KEY if pseudonymous else None
        return (await grants.create(tx, app_id, WHOLE, district.clock.now(), pseudonyms=key))[0]


@dataclass
class World:
    """A client of the running hub. ``names``: an app's pseudonyms, None for the one that has none."""

    book: Book
    names: dict[str, Pseudonyms | None]

    @property
    def hub(self) -> Hub:
        return self.book.hub

    @property
    def district(self) -> District:
        return self.hub.first

    async def read(self, operation: Operation, app: str, path: str = "", **query: str) -> Answer:
        """The answer of an operation at a path that is filled in."""
        return await self.book.get(
            path or operation.path, app=app, version=operation.version, service=operation.entity.service, **query
        )

    async def listed(
        self, entity: str, app: str = PLAIN, version: Version = "1.2", **query: str
    ) -> list[dict[str, Any]]:
        """All objects of a collection."""
        service = CATALOGUE[entity].service
        more = {"limit": "10000"} | query
        status, body, headers = await self.book.get(f"/{entity}", app=app, version=version, service=service, **more)
        assert status == 200, body
        objects: list[dict[str, Any]] = body[entity]
        assert headers["X-Total-Count"] == str(len(objects))
        return objects

    async def ids(self, entity: str, app: str = PLAIN, version: Version = "1.2", **query: str) -> list[str]:
        return [one["sourcedId"] for one in await self.listed(entity, app, version, **query)]

    async def questions(self) -> list[tuple[Operation, str]]:
        """Every read with ids of the hub in its path, a few of each."""
        ids: dict[tuple[Version, str], list[str]] = {}
        found: list[tuple[Operation, str]] = []
        for operation in READS:
            entities = {parent.variable: parent.entity for parent in operation.parents}
            entities |= {"sourcedId": operation.entity.name} if operation.single else {}
            for name in entities.values():
                if (operation.version, name) not in ids:
                    ids[operation.version, name] = await self.ids(name, version=operation.version)
            chosen = [list(_spread(ids[operation.version, entities[v]])) for v in operation.variables]
            for combined in islice(product(*chosen), _EACH * 3):
                path = operation.path
                for variable, value in zip(operation.variables, combined, strict=True):
                    path = path.replace(f"{{{variable}}}", value)
                found.append((operation, path))
        return found

    def told(self, text: str, app: str) -> str:
        """What an app is told where it would be this with the hub's own ids."""
        pseudonyms = self.names[app]
        if pseudonyms is None:
            return text
        ids = sorted(set(CANONICAL.findall(text)))
        names = dict(zip(ids, pseudonyms.of(ids), strict=True))
        return CANONICAL.sub(lambda match: names[match[0]], text)

    async def everywhere(self, path: str, app: str, version: Version = "1.2") -> Answer:
        """One read of the Rostering service over all districts."""
        headers = {"Authorization": f"Bearer {self.hub.prepared.tokens[app]}"}
        address = EVERYWHERE + PATHS[version]["rostering"] + path
        async with self.hub.session.get(encoded(address), headers=headers) as response:
            return await answer(response)


def _spread(ids: list[str]) -> Iterator[str]:
    """Some ids from all over a list, the first and the last among them."""
    step = max(1, (len(ids) - 1) // (_EACH - 1))
    return islice(iter(ids[::step]), _EACH)


def in_order(body: Any) -> Any:
    """A body whose collection is in the order of ids: apps have their own."""
    text = orjson.dumps(body)
    found = orjson.loads(text)
    for name, value in found.items() if isinstance(found, dict) else ():
        if isinstance(value, list) and name != "statusInfoSet":
            found[name] = sorted(value, key=lambda one: str(one.get("sourcedId")))
    return found


@asynccontextmanager
async def opened(database: Database, prepared: Prepared, **settings: Any) -> AsyncIterator[World]:
    """A client of a server over a database that was prepared."""
    async with running(database, replace(prepared, grants=dict(prepared.grants)), **settings) as hub:
        pool = await Pool.open(database.service, name="tests beside the API", largest=2)
        names: dict[str, Pseudonyms | None] = {}
        async with hub.db.district(prepared.here) as tx:
            for name, grant_id in prepared.grants.items():
                names[name] = pseudonyms_of(await store.get(tx, grant_id), prepared.here, KEY)
        yield World(Book(hub, Ids(), {}, pool), names)
        await pool.close()


def pseudonyms(world: World, app: str) -> Pseudonyms:
    found = world.names[app]
    assert found is not None
    return found


async def revoked(world: World, app: str) -> World:
    """The same world once an app's grant was revoked and another one given."""
    db, prepared = world.hub.db, world.hub.prepared
    async with db.district(prepared.here) as tx:
        await grants.set_state(tx, prepared.grants[app], "revoked")
    grant = await give(db, prepared.here, prepared.apps[app], pseudonymous=True)
    prepared.grants[app] = grant.grant_id
    return replace(world, names=world.names | {app: pseudonyms_of(grant, prepared.here, KEY)})
