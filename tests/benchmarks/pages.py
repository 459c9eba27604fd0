"""A page of 100 users: the whole stack against a bare handler, and the deepest offset against the first.

Server and PostgreSQL are measured in CPU time, which other work on the machine does not change much; the client's own
is not counted. The floor is aiohttp and asyncpg with one keyset statement over documents that are stored as they are
sent: no token, no view, no row-level security.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import polars as pl
import psutil
from aiohttp import web
from pydantic import SecretStr

from hub.api import ApiContext, build_api
from hub.api.connections import Patience, listening
from hub.api.oneroster.bindings import ROSTERING_PATH
from hub.api.oneroster.scopes import V1P1, V1P2
from hub.clock import SystemClock
from hub.collector import settle
from hub.crypto import column_key
from hub.embedded import EmbeddedPostgres
from hub.logs import configure
from hub.sandbox import DistrictPlan, write_sandbox
from hub.scope.grants import GrantDefinition
from hub.settings import Settings, role_passwords, role_url
from hub.store import apps, districts, runs, sources, uploads
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.sync import grants as granting
from hub.sync.engine import work_once
from tests.benchmarks.meter import postmaster, server_seconds
from tests.benchmarks.result import Result

BASE = "https://hub.example.org"
KEY = b"a key that only the benchmarks use"
PAGE = 100
CONNECTIONS = 8
#: A page that is told by ids of its own, with a field policy and masks, which are laid object by object.
GUARDED = "four schools, masks, pseudonyms"
POLICY = {
    "users": {
        "show": ["email"], "hide": ["username", "userIds", "identifier", "userMasterIdentifier", "middleName"],
        "masks": {"familyName": "initial", "preferredLastName": "initial"},
    },
}  # fmt: skip
SCOPES = [V1P2.ROSTER, V1P2.ROSTER_CORE, V1P1.ROSTER, V1P1.ROSTER_CORE]
EVERYTHING = GrantDefinition.model_validate({"privacy": ["contact", "demographic", "credential"]})
Grants = dict[str, tuple[UUID, str]]  # name -> (district, access token)


def run(students: int) -> list[Result]:
    """CPU per page of users for four grants, and the deepest offset of the largest collection."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1, dirt=0))
        with EmbeddedPostgres(folder / "pg") as server:
            grants = asyncio.run(prepare(server.url(), folder / "district.zip"))
            with serving(server.url()) as (process, *ports):
                return asyncio.run(measure(server.url(), process, ports, grants))


async def prepare(
    owner_url: str, package: Path, more: Mapping[str, Callable[[Sequence[str]], GrantDefinition]] = MappingProxyType({})
) -> Grants:
    """A synced district, four grants on it and ``more``, which are told four schools, and the floor's table."""
    await migrate(owner_url, passwords=role_passwords(KEY))
    db = await Database.open(_url(owner_url, "hub_worker"), name="bench")
    district, source = uuid4(), uuid4()
    async with db.district(district) as tx:
        await districts.create(tx, "Bench")
        await sources.create(tx, source, name="SIS", kind="oneroster_csv", config={})
    await _sync(db, district, source, package)
    async with db.district(district) as tx:
        schools = await tx.fetch("SELECT sourced_id FROM orgs WHERE type = 'school' ORDER BY rid LIMIT 4")
    four = {"rules": [{"schools": [str(row[0]) for row in schools]}]}
    some = GrantDefinition.model_validate({**four, "privacy": ["contact", "demographic", "credential"]})
    guarded = GrantDefinition.model_validate({**four, "fields": POLICY})
    definitions = {
        "all fields": EVERYTHING, "default fields": GrantDefinition(), "four schools": some, GUARDED: guarded
    }  # fmt: skip
    definitions |= {name: make([str(row[0]) for row in schools]) for name, make in more.items()}
    grants = {name: (district, await _grant(db, district, name, wanted)) for name, wanted in definitions.items()}
    await db.close()
    await _floor_table(owner_url, district)
    return grants


async def _sync(db: Database, district: UUID, source: UUID, package: Path) -> None:
    async def chunks() -> Any:
        with package.open("rb") as file:
            while data := file.read(1 << 20):
                yield data

    upload = uuid4()
    async with db.district(district) as tx:
        await uploads.begin(tx, upload, source_id=source, filename=package.name)
    size, sha256 = await uploads.receive(db, district, upload, chunks(), limit=1 << 32)
    async with db.district(district) as tx:
        await uploads.complete(tx, upload, size=size, sha256=sha256)
        await runs.request(tx, uuid4(), source_id=source, upload_id=upload, dry_run=False, requested_by="bench")
    while await work_once(db, SystemClock()):
        pass


async def change(owner_url: str, district: UUID, package: Path) -> datetime:
    """Syncs the package with another given name for one user in a hundred; a moment just before that."""
    changed = package.with_name("changed.zip")
    with (
        zipfile.ZipFile(package) as before,
        zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as now,
    ):
        for name in before.namelist():
            data = before.read(name)
            if name == "users.csv":
                users = pl.read_csv(data, infer_schema=False)
                other = pl.when(pl.int_range(pl.len()) % 100 == 0).then(pl.lit("Changed")).otherwise("givenName")
                data = users.with_columns(givenName=other).write_csv().encode()
            now.writestr(name, data)
    db = await Database.open(_url(owner_url, "hub_worker"), name="bench")
    async with db.district(district) as tx:
        (source,) = await sources.listing(tx)
    moment = SystemClock().now()
    await _sync(db, district, source.source_id, changed)
    await db.close()
    return moment


async def _grant(db: Database, district: UUID, name: str, definition: GrantDefinition) -> str:
    app, client, token, now = uuid4(), apps.new_client_id(), apps.new_token(), SystemClock().now()
    async with db.shared() as tx:
        await apps.create(tx, app, name)
        made = await apps.create_client(tx, client, app_id=app, secret_hash="-", scopes=SCOPES)
        await apps.issue(tx, token, made, scopes=made.scopes, now=now, expires_at=now.replace(year=now.year + 1))
    async with db.district(district) as tx:
        await granting.create(tx, app, definition, now, pseudonyms=column_key(KEY) if name == GUARDED else None)
    return token


async def _floor_table(owner_url: str, district: UUID) -> None:
    """The users' objects as they are sent, addresses in them included."""
    base = BASE + ROSTERING_PATH.replace("{district}", str(district))
    connection = await asyncpg.connect(owner_url)
    await connection.execute("SET row_security = off")  # the benchmark's own superuser
    await connection.execute("CREATE TABLE floor_users (rid integer PRIMARY KEY, doc bytea NOT NULL)")
    await connection.execute(
        'INSERT INTO floor_users SELECT rid, convert_to(\'{"sourcedId":"\' || sourced_id || \'","status":"active",'
        "\"dateLastModified\":\"2026-01-01T00:00:00.000Z\"' || replace(doc || doc_private, chr(1), $1) || '}', 'UTF8') "
        "FROM hub.users ORDER BY rid",
        base,
    )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


@contextmanager
def serving(owner_url: str) -> Any:
    """A process that serves the API and the floor; (process, port of the API, port of the floor)."""
    command = [sys.executable, "-m", "tests.benchmarks.pages", owner_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        port, floor_port = int(child.stdout.readline()), int(child.stdout.readline())
        yield psutil.Process(child.pid), port, floor_port
        child.terminate()


async def serve(owner_url: str) -> None:
    """What the child process does."""
    db = await Database.open(_url(owner_url, "hub_service"), name="bench api", largest=CONNECTIONS)
    pool = await asyncpg.create_pool(owner_url, min_size=CONNECTIONS, max_size=CONNECTIONS)

    async def wake(kind: str, district_id: UUID) -> None:
        """Nobody sleeps here."""

    async def floor(request: web.Request) -> web.Response:
        rows = await pool.fetch(
            f"SELECT doc FROM floor_users WHERE rid > $1 ORDER BY rid LIMIT {PAGE}", int(request.query["after"])
        )
        body = b'{"users":[' + b",".join([row[0] for row in rows]) + b"]}"
        return web.Response(body=body, content_type="application/json")

    settings = Settings(
        app_requests_per_second=1e6,
        app_requests_burst=10**6,
        base_url=BASE,
        log_format="json",
        master_key=SecretStr(KEY.decode()),
    )
    configure(settings)  # one line for each request, as in production
    api = build_api(ApiContext(db, settings, SystemClock(), wake))
    bare = web.Application()
    bare.router.add_get("/floor", floor)
    runner = web.AppRunner(bare, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with listening(api, "127.0.0.1", 0, Patience.of(settings)) as (_, port):
        for number in (port, runner.addresses[0][1]):
            print(number, flush=True)  # the parent reads it
        await asyncio.Event().wait()


class Meter:
    """CPU seconds of the server and of PostgreSQL."""

    def __init__(self, process: psutil.Process, postmaster: psutil.Process) -> None:
        self._process, self._postmaster = process, postmaster

    def seconds(self) -> float:
        return sum(self._process.cpu_times()[:2]) + server_seconds(self._postmaster)


async def measure(owner_url: str, process: psutil.Process, ports: Sequence[int], grants: Grants) -> list[Result]:
    connection = await asyncpg.connect(owner_url)
    users = await connection.fetchval("SELECT count(*) FROM floor_users")
    rng = random.Random(1)
    offsets = [rng.randrange(0, max(1, users - PAGE)) for _ in range(1000)]
    port, floor_port = ports
    asked = {"floor": (floor_port, [(f"/floor?after={offset}", "") for offset in offsets])}
    for name, grant in grants.items():  # pages of what a grant sees: past its end there are empty ones
        there = await count(port, _paths(grant, "users", [0])[0])
        asked[name] = (port, _paths(grant, "users", [rng.randrange(0, max(1, there - PAGE)) for _ in range(1000)]))
    results = []
    for at, paths in asked.values():
        await drive(at, paths[:200])  # connections, plans and views are warm
    meter = Meter(process, await postmaster(owner_url))
    samples: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(7):  # taking turns, so that whatever else runs hits all alike
        for name, (at, paths) in asked.items():
            before = meter.seconds()
            await drive(at, paths)
            samples[name].append((meter.seconds() - before) / len(paths) * 1000)
    floor = statistics.median(samples["floor"])
    for name in grants:
        limits = {"all fields": (3.0, 1.5), "four schools": (2.0, 1.25), GUARDED: (5.0, 2.5)}.get(name, (None, None))
        results.append(
            Result(f"page of {PAGE} users, {name}", statistics.median(samples[name]), floor, "ms CPU", *limits)
        )
    some = statistics.median(samples["four schools"])
    results.append(Result("server and database for such a page", some, None, "ms CPU", 1.2, 0.6, "ours"))
    results.append(await deepest(port, meter, grants["all fields"]))
    await connection.close()
    return results


async def deepest(port: int, meter: Meter, grant: tuple[UUID, str]) -> Result:
    """The last page of the enrollments against the first."""
    total = await count(port, _paths(grant, "enrollments", [0])[0])
    last = total - PAGE
    found: dict[int, list[float]] = {0: [], last: []}
    for _ in range(7):
        for offset, samples in found.items():
            paths = _paths(grant, "enrollments", [offset] * 500)
            before = meter.seconds()
            await drive(port, paths)
            samples.append((meter.seconds() - before) / len(paths) * 1000)
    first, deep = statistics.median(found[0]), statistics.median(found[last])
    return Result(f"page of {PAGE} at offset {last:,}", deep, first, "ms CPU", 1.2, 1.05, note="against offset 0")


def _paths(grant: tuple[UUID, str], collection: str, offsets: Sequence[int]) -> list[tuple[str, str]]:
    district, token = grant
    base = ROSTERING_PATH.replace("{district}", str(district))
    return [(f"{base}/{collection}?limit={PAGE}&offset={offset}", token) for offset in offsets]


async def drive(port: int, paths: Sequence[tuple[str, str]]) -> int:
    """Asks for all paths over some connections that are kept open; the bytes of all bodies."""
    queue = iter(paths)

    async def worker() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        got = 0
        for path, token in queue:
            got += len((await ask(reader, writer, path, token))[1])
        writer.close()
        return got

    return sum(await asyncio.gather(*(worker() for _ in range(CONNECTIONS))))


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, token: str
) -> tuple[dict[str, str], bytes]:
    """One request; headers in lower case, and the body."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    if " 200 " not in status:
        raise RuntimeError(f"{status}: {body[:200]!r}")
    return headers, body


async def count(port: int, path: tuple[str, str]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers, _ = await ask(reader, writer, *path)
    writer.close()
    return int(headers["x-total-count"])


def _url(owner_url: str, role: str) -> str:
    return role_url(owner_url, role, role_passwords(KEY)[role])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("owner_url")
    settle()  # as hub.app does
    asyncio.run(serve(parser.parse_args().owner_url))


if __name__ == "__main__":
    main()
