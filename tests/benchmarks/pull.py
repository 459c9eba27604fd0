"""How fast an app reads changes by asking, against a bare aiohttp server that sends the very same bytes.

Both serve from a process of their own over a loopback connection that is kept; one client reads page after page. The
floor looks nothing up: no token, no grant, no feed, no ids.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import orjson
from aiohttp import web

from hub.api.client_secrets import hash_secret
from hub.api.oneroster.scopes import READING
from hub.clock import SystemClock
from hub.embedded import EmbeddedPostgres
from hub.settings import SERVICE_ROLE, role_password, role_passwords, role_url
from hub.store import apps
from hub.store.database import SCHEMA, Database
from hub.store.migrate import migrate
from tests.api.oneroster.serving_process import serving
from tests.benchmarks.result import Result
from tests.fakes.feeds import feeds
from tests.services import MASTER_KEY

CHANGES = 100_000
PAGES = (500, 10_000)
ROOT = Path(__file__).parents[2]


def run(students: int) -> list[Result]:
    """Measures; the size of the district has no part in it."""
    del students
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "pg") as server:
            return asyncio.run(_measure(server.url(), folder))


async def _measure(owner_url: str, folder: Path) -> list[Result]:
    await migrate(owner_url, passwords=role_passwords(MASTER_KEY))
    service = role_url(owner_url, SERVICE_ROLE, role_password(MASTER_KEY, SERVICE_ROLE))
    district, token = await _prepare(owner_url, service)
    out = []
    async with serving(service) as there:
        for limit in PAGES:
            await _read(f"{there.url}/d/{district}/changes", limit, token)  # a fresh process warms up
            ours, bodies = await _read(f"{there.url}/d/{district}/changes", limit, token)
            pages = folder / f"pages-{limit}"
            await asyncio.to_thread(pages.mkdir)
            for number, body in enumerate(bodies):
                await asyncio.to_thread((pages / str(number)).write_bytes, body)
            async with _bare(pages) as address:
                await _read_bare(address, len(bodies), bodies)
                floor = await _read_bare(address, len(bodies), bodies)
            note = f"{CHANGES / ours:,.0f} changes/s, {len(bodies)} answers, {sum(map(len, bodies)) / 2**20:.0f} MB"
            name = f"changes by pull, refs, {limit:,} an answer"
            out.append(Result(name, ours * 1e6 / CHANGES, floor * 1e6 / CHANGES, "µs/change", note=note))
    return out


async def _prepare(owner_url: str, service: str) -> tuple[UUID, str]:
    """A district of which one step of an app's feed changed everything; the district, and the app's token."""
    owner = await asyncpg.connect(owner_url, server_settings={"search_path": SCHEMA})
    async with feeds(owner_url) as writer:
        district = await writer.district()
        grant = await writer.grant(district)
        await writer.records(district, "users", CHANGES)
        await writer.move(district, grant, updated=range(CHANGES))
        await owner.execute("ANALYZE")
    app_id = await owner.fetchval("SELECT app_id FROM grants WHERE grant_id = $1", grant)
    await owner.close()
    db = await Database.open(service, name="benchmark", largest=1)
    client, token, now = apps.new_client_id(), apps.new_token(), SystemClock().now()
    async with db.shared() as tx:
        await apps.create_client(tx, client, app_id=app_id, secret_hash=hash_secret(str(uuid4())), scopes=[*READING])
        made = await apps.find_client(tx, client)
        assert made is not None
        await apps.issue(tx, token, made, scopes=[*READING], now=now, expires_at=now + timedelta(hours=1))
    await db.close()
    return district, token


async def _read(url: str, limit: int, token: str) -> tuple[float, list[bytes]]:
    """Seconds for all changes, and the answers."""
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    bodies, after, told = list[bytes](), "0", 0
    async with aiohttp.ClientSession(headers=headers) as http:
        started = time.perf_counter()
        while True:
            async with http.get(url, params={"after": after, "limit": str(limit)}) as response:
                bodies.append(await response.read())
                if response.status != 200:
                    raise RuntimeError(bodies[-1].decode())
            body = orjson.loads(bodies[-1])
            told += len(body["changes"])
            after = body["next"]
            if not body["more"]:
                break
        seconds = time.perf_counter() - started
    if told != CHANGES + 1:  # and the mark
        raise RuntimeError(f"{told} changes were told")
    return seconds, bodies


async def _read_bare(url: str, count: int, bodies: Sequence[bytes]) -> float:
    """Seconds for the same answers from the bare server."""
    async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as http:
        started = time.perf_counter()
        for number in range(count):
            async with http.get(f"{url}/{number}") as response:
                got = await response.read()
            orjson.loads(got)
        seconds = time.perf_counter() - started
    if got != bodies[-1]:
        raise RuntimeError("the bare server sent something else")
    return seconds


@asynccontextmanager
async def _bare(folder: Path) -> AsyncIterator[str]:
    """A bare server that sends the files of a folder, as a process; its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.pull", str(folder), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


def _stored(folder: Path) -> list[bytes]:
    return [(folder / str(number)).read_bytes() for number in range(len(list(folder.iterdir())))]


async def _serve(folder: Path) -> None:
    bodies = await asyncio.to_thread(_stored, folder)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bodies[int(request.match_info["number"])], content_type="application/json")

    app = web.Application()
    app.router.add_get("/{number}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    asyncio.run(_serve(parser.parse_args().folder))
