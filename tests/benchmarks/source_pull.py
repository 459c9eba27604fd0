"""A pull from a OneRoster server, against a bare aiohttp client that reads the same pages, one after the other.

The server is a process of its own. By the clock it makes each page when it is asked for one, as real servers do (this
one in 20 microseconds a user; one in Node.js that was measured took 130), while the connector maps the page before. The
connector's processor time is measured against pages that lie ready as bytes and cost next to nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from connectors.oneroster_rest import SPEC
from connectors.protocol import Pull, SourceContext
from hub.allocator import give_back_freed_memory
from hub.collector import settle
from tests.benchmarks.meter import forget_peak, peak_gigabytes, process_seconds
from tests.benchmarks.result import Result

PAGE = 10_000
DATE = "2026-03-02T06:00:00.000Z"
SCHOOL = {"sourcedId": "school-1", "name": "S", "type": "school", "status": "active", "dateLastModified": DATE}


def run(students: int) -> list[Result]:
    """Measures as many users, and seven times as many enrollments."""
    enrollments = students * 7
    settle()  # as hub.app does
    give_back_freed_memory()
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name, _served(students, enrollments) as url:
        folder = Path(name)
        forget_peak()  # first of all: what was freed stays with the process
        ours_enrollments = _processor(_pulled(url, folder, "enrollments"))
        peak = peak_gigabytes()
        bare = _clock(_bare(url + "/made", "users", students))
        ours = _clock(_pulled(url + "/made", folder, "users"))
        bare_users = _processor(_bare(url, "users", students))
        ours_users = _processor(_pulled(url, folder, "users"))
        bare_enrollments = _processor(_bare(url, "enrollments", enrollments))
        asked = asyncio.run(_unchanged(url, folder))
    note = "pages lie ready"
    return [
        Result(f"pull of {students:,} users", ours, bare, "s", 1.6, 1.2, note="by the clock; pages are made as asked"),
        Result("the same, processor", ours_users, bare_users, "s", note=note),
        Result(f"pull of {enrollments:,} enrollments, processor", ours_enrollments, bare_enrollments, "s", note=note),
        Result("peak of memory in it", peak, None, "GB", 0.5, 0.25, "ours"),
        Result("requests for each entity of which nothing changed", asked, None, "", 1, 1, "ours"),
    ]


def _clock(work: Any) -> float:
    before = time.monotonic()
    asyncio.run(work)
    return time.monotonic() - before


def _processor(work: Any) -> float:
    before = process_seconds()
    asyncio.run(work)
    return process_seconds() - before


async def _bare(url: str, entity: str, rows: int) -> None:
    async with aiohttp.ClientSession() as session:
        for offset in range(0, rows, PAGE):
            query = {"limit": str(PAGE), "offset": str(offset)}
            async with session.get(f"{url}/ims/oneroster/rostering/v1p2/{entity}", params=query) as answer:
                await answer.read()


async def _pull(url: str, folder: Path, *entities: str, cursor: Any = None) -> Pull:
    config = {"url": url, "login": {"kind": "bearer"}, "entities": entities, "page_rows": PAGE}
    context = SourceContext(
        SPEC.config_model.model_validate(config), work_folder=folder, secrets={"client_secret": "t"},
        reachable=lambda *_: True,
    )  # fmt: skip
    return await SPEC.open(context).pull(cursor)


async def _pulled(url: str, folder: Path, entity: str) -> None:
    pull = await _pull(url, folder, entity)
    assert pull.package.rows(entity) == pull.announced[entity]
    await asyncio.to_thread(pull.package.close)


async def _unchanged(url: str, folder: Path) -> float:
    """Requests for each of two entities by a pull after another one in which nothing changed."""
    first = await _pull(url, folder, "orgs", "users")
    await asyncio.to_thread(first.package.close)
    async with aiohttp.ClientSession() as session:
        before = await (await session.get(url + "/asked")).json()
        again = await _pull(url, folder, "orgs", "users", cursor=first.cursor)
        assert not again.package.mode
        return float((await (await session.get(url + "/asked")).json() - before) / 2)


@contextmanager
def _served(users: int, enrollments: int) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.benchmarks.source_pull", str(users), str(enrollments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def _user(number: int) -> dict[str, Any]:
    org = {"sourcedId": "school-1", "href": "https://sis.example/orgs/school-1", "type": "org"}
    return {
        "sourcedId": f"user-{number:08}", "status": "active", "dateLastModified": DATE, "enabledUser": "true",
        "username": f"login{number}", "givenName": "Given", "familyName": f"Family {number}", "grades": ["05"],
        "email": f"login{number}@example.org", "identifier": str(number), "primaryOrg": org,
        "userIds": [{"type": "SIS", "identifier": str(number)}],
        "roles": [{"roleType": "primary", "role": "student", "org": org, "beginDate": "2025-08-15"}],
    }  # fmt: skip


def _enrollment(number: int) -> dict[str, Any]:
    def leads(kind: str, key: str) -> dict[str, str]:
        return {"sourcedId": key, "href": f"https://sis.example/{kind}/{key}", "type": kind}

    return {
        "sourcedId": f"enrollment-{number:08}", "status": "active", "dateLastModified": DATE, "role": "student",
        "primary": "false", "user": leads("user", f"user-{number // 7:08}"), "school": leads("org", "school-1"),
        "class": leads("class", f"class-{number // 25:06}"), "beginDate": "2025-08-15", "endDate": "2026-06-12",
    }  # fmt: skip


def _serve(users: int, enrollments: int) -> None:
    made: dict[tuple[str, int], bytes] = {}
    totals = {"users": users, "enrollments": enrollments, "orgs": 1}
    for name, make in (("users", _user), ("enrollments", _enrollment)):
        for offset in range(0, totals[name], PAGE):
            rows = [make(n) for n in range(offset, min(offset + PAGE, totals[name]))]
            made[name, offset] = orjson.dumps({name: rows})
    made["orgs", 0] = orjson.dumps({"orgs": [SCHOOL]})
    asked = [0]

    async def page(request: web.Request) -> web.Response:
        asked[0] += 1
        name, query = request.match_info["entity"], request.query
        changed = "filter" in query
        body = orjson.dumps({name: []}) if changed else made[name, int(query["offset"])]
        total = "0" if changed else str(totals[name])
        return web.Response(body=body, content_type="application/json", headers={"X-Total-Count": total})

    async def made_now(request: web.Request) -> web.Response:
        name, query = request.match_info["entity"], request.query
        make = {"users": _user, "enrollments": _enrollment}[name]
        start, end = int(query["offset"]), min(int(query["offset"]) + int(query["limit"]), totals[name])
        body = await asyncio.to_thread(lambda: json.dumps({name: [make(n) for n in range(start, end)]}).encode())
        headers = {"X-Total-Count": str(totals[name])}
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def count(_request: web.Request) -> web.Response:
        return web.json_response(asked[0])

    async def main() -> None:
        app = web.Application()
        path = "/ims/oneroster/rostering/v1p2/{entity}"
        app.add_routes([web.get(path, page), web.get("/made" + path, made_now), web.get("/asked", count)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        sys.stdout.write(f"http://{host}:{port}\n")
        sys.stdout.flush()
        await asyncio.sleep(3_600)

    asyncio.run(main())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("users", type=int)
    parser.add_argument("enrollments", type=int)
    _serve(**vars(parser.parse_args()))
