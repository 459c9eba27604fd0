"""Passing results back: ``hub worker`` against a system at loopback, beside bare PUTs of the same bytes to it.

The system is a bare aiohttp server in a process of its own, with four requests at a time in both cases. The floor has
no outbox: no queue, no translation of ids, no note of what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import orjson
from aiohttp import web

from hub.crypto import column_key
from hub.embedded import EmbeddedPostgres, EmbeddedRedis
from hub.ids import new_id
from hub.passback.login import sealed
from hub.settings import SERVICE_ROLE, role_password, role_passwords, role_url
from hub.store import districts, grade_targets, sources
from hub.store.database import SCHEMA, Database
from hub.store.migrate import migrate
from hub.sync.minting import mint
from tests.benchmarks.result import Result
from tests.benchmarks.webhook_latency import worker
from tests.services import MASTER_KEY

WRITES = 20_000
STUDENTS = 1_000
AT_A_TIME = 4
ROOT = Path(__file__).parents[2]
BASE = "/ims/oneroster/gradebook/v1p2"


def run(students: int) -> list[Result]:
    """Objects a second; the size of the district has no part in it."""
    del students
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)
        server = stack.enter_context(EmbeddedPostgres(folder / "pg"))
        redis = stack.enter_context(EmbeddedRedis(folder / "redis"))
        command = [sys.executable, "-m", "tests.benchmarks.passback"]
        child = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(child.terminate)
        assert child.stdout is not None
        return asyncio.run(_measure(server.url(), redis.url(), int(child.stdout.readline())))


async def _measure(owner_url: str, redis_url: str, port: int) -> list[Result]:
    await migrate(owner_url, passwords=role_passwords(MASTER_KEY))
    owner = await asyncpg.connect(owner_url, server_settings={"search_path": SCHEMA})
    await _fill(owner, owner_url, port)
    started = time.perf_counter()
    async with worker(owner_url, redis_url, HUB_PASSBACK_ALLOW="127.0.0.0/8", HUB_PASSBACK_CONCURRENCY=str(AT_A_TIME)):
        first = 0.0
        while True:
            done = await owner.fetchval("SELECT count(*) FROM grade_deliveries WHERE state = 'delivered'")
            if done and not first:
                first, already = time.perf_counter(), done  # the start of a process has no part in it
            if done == WRITES:
                break
            await asyncio.sleep(0.05)
    ours = (WRITES - already) / (time.perf_counter() - first)
    floor = await _bare(port)
    await owner.close()
    note = f"{WRITES:,} results, {AT_A_TIME} at a time; ready after {first - started:.1f} s"
    return [Result("grades passed back", ours, floor, "objects/s", note=note)]


async def _fill(owner: Any, owner_url: str, port: int) -> None:
    """A district with a line item and results that an app wrote, and a target that has taken none."""
    db = await Database.open(
        role_url(owner_url, SERVICE_ROLE, role_password(MASTER_KEY, SERVICE_ROLE)), name="bench", largest=1
    )
    district, source, target, app = (new_id() for _ in range(4))
    async with db.district(district) as tx:
        await districts.create(tx, "Bench")
        await sources.create(tx, source, name="SIS", kind="oneroster_csv", config={})
    await owner.execute("SET row_security = off")
    students, items, results = mint(STUDENTS).to_list(), mint(1).to_list(), mint(WRITES).to_list()

    async def records(table: str, entity: str, ids: list[str], docs: list[str], *, key: bool) -> None:
        await owner.execute(
            f"INSERT INTO {table} (district_id, rid, sourced_id, active, date_last_modified, doc, doc_private) "
            "SELECT $1, n - 1, id, true, now(), doc, '' FROM unnest($2::uuid[], $3::text[]) "
            "WITH ORDINALITY w(id, doc, n)", district, ids, docs,
        )  # fmt: skip
        if key:
            await owner.execute(
                "INSERT INTO source_records (district_id, source_id, entity, key, rid, hash, active) "
                "SELECT $1, $2, $3::text::entity_name, 'key-' || n, n - 1, 0, true FROM generate_series(1, $4) n",
                district, source, entity, len(ids),
            )  # fmt: skip
            return
        await owner.execute(
            "INSERT INTO gradebook_objects (district_id, entity, rid, app_id, sourced_id, created_at) "
            "SELECT $1, $2, n - 1, $3, id, now() FROM unnest($4::uuid[]) WITH ORDINALITY w(id, n)",
            district, entity, app, ids,
        )  # fmt: skip
        await owner.execute(
            "INSERT INTO gradebook_writes (district_id, position, place, entity, rid, operation, app_id, at) "
            "SELECT $1, n, 0, $2, n - 1, 'put', $3, now() FROM generate_series(1, $4) n",
            district, entity, app, len(ids),
        )  # fmt: skip

    await records("users", "users", students, [""] * STUDENTS, key=True)
    await records("line_items", "lineItems", items, [""], key=True)
    await records("results", "results", results, [_doc(n, items[0], students) for n in range(WRITES)], key=False)
    await owner.execute("UPDATE districts SET position = $1", WRITES)
    await owner.execute("ANALYZE")
    url = f"http://127.0.0.1:{port}"
    login = {"kind": "oauth2", "token_url": f"{url}/token", "client_id": "hub", "scope": ""}
    secret = sealed(column_key(MASTER_KEY), "secret", district, target)
    async with db.district(district) as tx:
        await grade_targets.create(
            tx, target, from_beginning=True, source_id=source, version="1.2", url=url + BASE, login=login,
            secret=secret, entities=["categories", "lineItems", "results"], apps=None,
        )  # fmt: skip
    await db.close()


def _doc(number: int, item: str, students: list[str]) -> str:
    student = students[number % STUDENTS]
    return (
        f',"lineItem":{{"href":"\x04/lineItems/{item}","sourcedId":"{item}","type":"lineItem"}},'
        f'"student":{{"href":"\x01/users/{student}","sourcedId":"{student}","type":"user"}},'
        f'"scoreStatus":"fully graded","score":{number % 100},"scoreDate":"2026-09-03"'
    )


async def _bare(port: int) -> float:
    """PUTs a second of the same bodies, from this process."""
    item, students = str(UUID(int=1)), [f"key-{n}" for n in range(STUDENTS)]
    queue = iter(range(WRITES))

    async def lane(http: aiohttp.ClientSession) -> None:
        for number in queue:
            id_ = str(UUID(int=number))
            body = orjson.dumps({"result": orjson.loads(
                f'{{"sourcedId":"{id_}"{_doc(number, item, students)}}}'.replace("\x01", "").replace("\x04", "")
            )})  # fmt: skip
            headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
            async with http.put(f"http://127.0.0.1:{port}{BASE}/results/{id_}", data=body, headers=headers) as answer:
                await answer.read()

    async with aiohttp.ClientSession() as http:
        started = time.perf_counter()
        await asyncio.gather(*(lane(http) for _ in range(AT_A_TIME)))
        return WRITES / (time.perf_counter() - started)


async def _serve() -> None:
    """The system: it reads each object and keeps the last one."""
    kept: dict[str, Any] = {}

    async def put(request: web.Request) -> web.Response:
        kept[request.path] = orjson.loads(await request.read())
        return web.Response(status=201)

    async def token(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "token_type": "bearer", "expires_in": 3600})

    app = web.Application()
    app.router.add_put(BASE + "/{entity}/{id}", put)
    app.router.add_post("/token", token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)  # the parent reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
