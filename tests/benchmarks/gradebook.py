"""PUT of a new result: the whole stack against a bare handler that inserts one row in one transaction.

Server and PostgreSQL are measured in CPU time, which other work on the machine does not change much; the client's own
is not counted. The floor is aiohttp and asyncpg: no token, no grant, no references, no history, no views and no feed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import psutil
from aiohttp import web
from pydantic import SecretStr

from hub.api import ApiContext, build_api
from hub.api.connections import Patience, listening
from hub.api.oneroster.scopes import SCOPES
from hub.clock import SystemClock
from hub.embedded import EmbeddedPostgres
from hub.logs import configure
from hub.objects.bases import DISTRICT, PATHS
from hub.sandbox import DistrictPlan, write_sandbox
from hub.scope.grants import GrantDefinition
from hub.settings import Settings, role_passwords, role_url
from hub.store import apps
from hub.store.database import Database
from hub.sync import grants as granting
from tests.benchmarks.meter import postmaster
from tests.benchmarks.pages import BASE, KEY, Meter, prepare
from tests.benchmarks.result import Result
from transforms.catalogue import CATALOGUE

CONNECTIONS = 4
REQUESTS = 200
ROUNDS = 5
#: Grants that see what is written, beside the writer's own.
OTHERS = 9
ENTITIES = [e.name for e in CATALOGUE.entities if e.name not in {"demographics", "resources"}]


def run(students: int) -> list[Result]:
    """CPU per PUT with one grant in the district, and with ten that see it."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1, dirt=0))
        with EmbeddedPostgres(folder / "pg") as server:
            grants = asyncio.run(prepare(server.url(), folder / "district.zip"))
            district = next(iter(grants.values()))[0]
            token = asyncio.run(writer(server.url(), district, "writer"))
            with serving(server.url()) as (process, *ports):
                return asyncio.run(measure(server.url(), process, ports, district, token))


async def writer(owner_url: str, district: UUID, name: str) -> str:
    """An app that may write results of the whole district; its token."""
    db = await Database.open(
        role_url(owner_url, "hub_worker", role_passwords(KEY)["hub_worker"]), name="bench", largest=1
    )
    app, client, token, now = uuid4(), apps.new_client_id(), apps.new_token(), SystemClock().now()
    definition = GrantDefinition.model_validate({"entities": ENTITIES, "write": ["categories", "lineItems", "results"]})
    async with db.shared() as tx:
        await apps.create(tx, app, name)
        await apps.create_client(tx, client, app_id=app, secret_hash="-", scopes=list(SCOPES))
        expires = now.replace(year=now.year + 1)
        await apps.issue(tx, token, client_id=client, secret_hash="-", scopes=list(SCOPES), now=now, expires_at=expires)
    async with db.district(district) as tx:
        await granting.create(tx, app, definition, now)
    await db.close()
    return token


@contextmanager
def serving(owner_url: str) -> Any:
    """A process that serves the API and the floor; (process, port of the API, port of the floor)."""
    command = [sys.executable, "-m", "tests.benchmarks.gradebook", owner_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        port, floor_port = int(child.stdout.readline()), int(child.stdout.readline())
        yield psutil.Process(child.pid), port, floor_port
        child.terminate()


async def serve(owner_url: str) -> None:
    """What the child process does."""
    db = await Database.open(
        role_url(owner_url, "hub_service", role_passwords(KEY)["hub_service"]), name="bench api", largest=CONNECTIONS
    )
    pool = await asyncpg.create_pool(owner_url, min_size=CONNECTIONS, max_size=CONNECTIONS)
    await pool.execute("CREATE TABLE IF NOT EXISTS floor_results (id text PRIMARY KEY, doc text NOT NULL)")

    async def wake(kind: str, district_id: UUID) -> None:
        """Nobody sleeps here."""

    async def floor(request: web.Request) -> web.Response:
        result = orjson.loads(await request.read())["result"]
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO floor_results (id, doc) VALUES ($1, $2)",
                result["sourcedId"],
                orjson.dumps(result).decode(),
            )
        return web.Response(status=201)

    settings = Settings(
        app_requests_per_second=1e6, app_requests_burst=10**6, base_url=BASE, log_format="json",
        master_key=SecretStr(KEY.decode()),
    )  # fmt: skip
    configure(settings)  # one line for each request, as in production
    api = build_api(ApiContext(db, settings, SystemClock(), wake))
    bare = web.Application()
    bare.router.add_put("/floor/{id}", floor)
    runner = web.AppRunner(bare, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with listening(api, "127.0.0.1", 0, Patience.of(settings)) as (_, port):
        for number in (port, runner.addresses[0][1]):
            print(number, flush=True)  # the parent reads it
        await asyncio.Event().wait()


async def measure(
    owner_url: str, process: psutil.Process, ports: Sequence[int], district: UUID, token: str
) -> list[Result]:
    connection = await asyncpg.connect(owner_url)
    port, floor_port = ports
    base = DISTRICT.replace("{district}", str(district)) + PATHS["1.2"]["gradebook"]
    pairs = await line_items(connection, port, base, token)
    meter, number = Meter(process, await postmaster(owner_url)), 0

    async def sample(to: int, path: str, secret: str) -> float:
        nonlocal number
        requests = []
        for _ in range(REQUESTS):
            key, (item, student) = f"r{number}", pairs[number % len(pairs)]
            value = {
                "sourcedId": key, "lineItem": {"sourcedId": item}, "student": {"sourcedId": student},
                "scoreStatus": "fully graded", "score": number % 100, "scoreDate": "2026-09-03",
            }  # fmt: skip
            requests.append((f"{path}/{key}", {"result": value}))
            number += 1
        before = meter.seconds()
        await drive(to, requests, secret)
        return (meter.seconds() - before) / REQUESTS * 1000

    results = []
    for grants in (1, 1 + OTHERS):
        if grants > 1:
            for other in range(OTHERS):
                await writer(owner_url, district, f"reader {other}")
        samples: dict[str, list[float]] = {"ours": [], "floor": []}
        for turn in range(ROUNDS + 1):
            for name, one in (("floor", (floor_port, "/floor", "")), ("ours", (port, base + "/results", token))):
                found = await sample(*one)
                if turn:  # the first is to warm connections, plans and sets
                    samples[name].append(found)
        ours, least = statistics.median(samples["ours"]), statistics.median(samples["floor"])
        results.append(Result(f"PUT of a new result that {grants} grants see", ours, least, "ms CPU"))
    await connection.close()
    return results


async def line_items(connection: asyncpg.Connection, port: int, base: str, token: str) -> list[tuple[str, str]]:
    """A line item in each of some classes; pairs of one and a student of its class."""
    await connection.execute("SET row_security = off")  # the benchmark's own superuser
    rows = await connection.fetch(
        "SELECT c.sourced_id::text AS class, o.sourced_id::text AS school, u.sourced_id::text AS student "
        "FROM hub.enrollments e JOIN hub.classes c ON c.rid = e.class_rid JOIN hub.orgs o ON o.rid = c.school_rid "
        "JOIN hub.users u ON u.rid = e.user_rid WHERE e.role = 'student' AND e.class_rid % 7 = 0 "
        "ORDER BY e.rid LIMIT 2000"
    )
    await drive(port, [(f"{base}/categories/k", {"category": {"title": "Quizzes"}})], token)
    classes = {row["class"]: row["school"] for row in rows}
    items = [
        (f"{base}/lineItems/{class_}", {"lineItem": {
            "title": "Quiz", "assignDate": "2026-09-01", "dueDate": "2026-09-08", "class": {"sourcedId": class_},
            "school": {"sourcedId": school}, "category": {"sourcedId": "k"},
        }})
        for class_, school in classes.items()
    ]  # fmt: skip
    await drive(port, items, token)
    return [(row["class"], row["student"]) for row in rows]


async def drive(port: int, requests: Sequence[tuple[str, object]], token: str) -> None:
    """Puts all objects over some connections that are kept open."""
    queue = iter(requests)

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path, value in queue:
            body = orjson.dumps(value)
            authorization = f"Authorization: Bearer {token}\r\n" if token else ""
            writer.write(
                f"PUT {path} HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if " 201 " not in head.partition("\r\n")[0]:
                raise RuntimeError(head)
        writer.close()

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("owner_url")
    asyncio.run(serve(parser.parse_args().owner_url))


if __name__ == "__main__":
    main()
