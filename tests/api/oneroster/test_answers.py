"""Compressed answers, answers in pieces, and answers that an app has already."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from random import Random
from typing import Any

import orjson
import pytest
from aiohttp.abc import AbstractStreamWriter
from backports import zstd

from hub.api import bodies
from hub.api.bodies import UnderWay
from hub.api.compression import LEAST_BYTES
from hub.api.oneroster import page, pages
from hub.clock import SystemClock
from hub.objects import rendering
from hub.objects.bases import Bases
from hub.objects.looking import Looking
from hub.scope.grants import GrantDefinition
from hub.store import apps
from hub.sync import grants
from tests.api.oneroster.edits import edited
from tests.api.oneroster.raw import Raw, ask, request, service
from tests.api.oneroster.rosters import LIBRARY, Hub, land, minor
from tests.districts import changed, sandbox
from transforms.catalogue import Entity

DECODE: dict[str, Any] = {"gzip": gzip.decompress, "zstd": zstd.decompress}


async def get(hub: Hub, path: str, *headers: str, app: str = "lms", method: str = "GET") -> Raw:
    data = request(method, service(hub, path), *headers, token=hub.prepared.tokens[app])
    (answer,) = await ask(hub, data, head=method == "HEAD")
    return answer


async def test_answers_are_compressed_as_the_client_prefers_and_say_so(hub: Hub) -> None:
    plain = await get(hub, "/users?limit=50")
    assert len(plain.body) > LEAST_BYTES
    assert "content-encoding" not in plain.headers
    for coding in ("gzip", "zstd"):
        answer = await get(hub, "/users?limit=50", f"Accept-Encoding: {coding}")
        assert answer.headers["content-encoding"] == coding
        assert len(answer.body) * 3 < len(plain.body)
        assert DECODE[coding](answer.body) == plain.body
        same = ("etag", "vary", "link", "x-total-count", "cache-control", "content-type")
        assert [answer.headers[name] for name in same] == [plain.headers[name] for name in same]
        small = await get(hub, "/users?limit=1&fields=sourcedId", f"Accept-Encoding: {coding}")
        assert "content-encoding" not in small.headers
        assert small.headers["vary"] == "Accept-Encoding"
        assert small.json["users"]
    forced = await get(hub, "/users?limit=1&fields=sourcedId", "Accept-Encoding: gzip, identity;q=0")
    assert gzip.decompress(forced.body) == small.body
    refused = await get(hub, "/users", "Accept-Encoding: identity;q=0")
    assert (refused.status, minor(refused.json)) == (406, "invaliddata")


async def test_other_large_answers_are_compressed_too(hub: Hub) -> None:
    (answer,) = await ask(hub, request("GET", "/admin/v1/openapi.json", "Accept-Encoding: zstd"))
    assert answer.headers["content-encoding"] == "zstd"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert orjson.loads(zstd.decompress(answer.body))["openapi"]


async def test_a_long_page_comes_in_pieces_and_is_the_same(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ("/enrollments?limit=1000", "/users?limit=10000&sort=familyName", "/users?limit=300&fields=sourcedId,roles")
    whole = [await get(hub, path) for path in paths]
    monkeypatch.setattr(pages, "PIECE", 7)
    monkeypatch.setattr(pages, "STATEMENT", 20)
    for path, expected in zip(paths, whole, strict=True):
        assert len(next(iter(expected.json.values()))) > 60
        assert (await get(hub, path)).body == expected.body
        for coding, decode in (("gzip", gzip.decompress), ("zstd", _in_frames)):
            answer = await get(hub, path, f"Accept-Encoding: {coding}")
            assert answer.headers["content-encoding"] == coding
            assert decode(answer.body) == expected.body
            assert answer.headers["etag"] == expected.headers["etag"]


async def test_records_that_postgresql_joins_are_those_that_are_made_one_by_one(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = sandbox(100, 7).frames
    await land(hub, edited(frames, frames, Random(4), 25))  # several dates, and tombstones
    collections = ("/enrollments", "/users", "/classes", "/orgs", "/academicSessions", "/demographics", "/courses")
    questions = [
        (f"{path}?limit=400{more}", app)
        for path in collections
        for app in hub.prepared.apps
        for more in (
            "",
            "&filter=status='active'",
            "&offset=3",
            "&sort=dateLastModified",
            "&filter=status='tobedeleted'",  # hardly anything but tombstones is made one by one
        )
    ]
    made: list[bool] = []
    real = rendering.joined_objects

    async def watched(looking: Looking, entity: Entity, rids: Sequence[int], bases: Bases) -> page.Objects | None:
        found = await real(looking, entity, rids, bases)
        made.append(found is not None)
        return found

    async def none(*_: object) -> None: ...

    monkeypatch.setattr(rendering, "joined_objects", watched)
    joined = [await get(hub, path, app=app) for path, app in questions]
    monkeypatch.setattr(rendering, "joined_objects", none)
    for (path, app), answer in zip(questions, joined, strict=True):
        assert (await get(hub, path, app=app)).body == answer.body, (path, app)
    assert made.count(True) > 60
    assert made.count(False) > 5


def _in_frames(data: bytes) -> bytes:
    return zstd.ZstdDecompressor().decompress(data)


@pytest.mark.threat("T46")
@pytest.mark.parametrize("most", [0, 1 << 30])
async def test_a_page_that_waits_for_its_client_is_packed_and_comes_whole(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    expected = (await get(hub, "/users?limit=10000")).body
    counted = UnderWay(most)
    monkeypatch.setattr(bodies, "_PATIENCE", 0.01)
    pieces = [expected[start : start + 1000] for start in range(0, len(expected), 1000)]
    writer = _Slow(counted)
    await bodies.Body(pieces, counted, None).write(writer)
    assert bytes(writer.got) == expected
    assert 0 in writer.waiting[: len(pieces) // 2]  # nothing waited as it is
    assert counted.bytes == 0


async def test_a_page_that_waits_keeps_nothing_of_the_memory_that_it_was_made_in() -> None:
    made = bytearray(b"a" * 1000 + b"b" * 1000)
    pieces = [memoryview(made)[:1000], memoryview(made)[1000:]]
    body = bodies.Body(pieces, UnderWay(), None)
    pieces.clear()
    with pytest.raises(BufferError):
        made.clear()
    body._pack()  # one of the two
    made.clear()
    writer = _Slow(UnderWay())
    await body.write(writer)
    assert bytes(writer.got) == b"a" * 1000 + b"b" * 1000


class _Slow(AbstractStreamWriter):
    """A writer whose client takes its time, and how many bytes waited at each piece."""

    def __init__(self, counted: UnderWay) -> None:
        self.got = bytearray()
        self.waiting: list[int] = []
        self._counted = counted

    async def write(self, chunk: Any) -> None:
        self.got += chunk
        self.waiting.append(self._counted.bytes)
        await asyncio.sleep(0.005)

    async def write_eof(self, chunk: bytes = b"") -> None: ...
    async def drain(self) -> None: ...
    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None: ...
    def enable_chunking(self) -> None: ...
    async def write_headers(self, status_line: str, headers: Any) -> None: ...


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing_counted() -> None:
    class Gone(_Slow):
        async def write(self, chunk: Any) -> None:
            raise ConnectionResetError

    counted = UnderWay()
    with pytest.raises(ConnectionResetError):
        await bodies.Body([b"a" * 100, b"b" * 100], counted, None).write(Gone(counted))
    assert counted.bytes == 0


@pytest.mark.threat("T18")
async def test_an_answer_that_an_app_has_is_confirmed_as_long_as_it_may_see_it(hub: Hub) -> None:
    path = f"/orgs/{hub.prepared.school}"
    for at in (path, "/users?limit=5", f"/schools/{hub.prepared.school}/classes"):
        first = await get(hub, at)
        tag = first.headers["etag"]
        for header in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
            again = await get(hub, at, f"If-None-Match: {header}", "Accept-Encoding: gzip")
            assert (again.status, again.body) == (304, b"")
            assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "no-store")
            assert again.headers["vary"] == "Accept-Encoding"
            assert "ratelimit" in again.headers
        assert (await get(hub, at, f"If-None-Match: {tag}", method="HEAD")).status == 304
        assert (await get(hub, at, 'If-None-Match: "other"')).body == first.body
        assert (await get(hub, at, f"If-None-Match: {tag}", app="library")).status == 200
    assert (await get(hub, "/orgs/none", "If-None-Match: *")).status == 404
    async with hub.db.district(hub.prepared.here) as tx:
        await grants.set_state(tx, hub.prepared.grants["lms"], "suspended")
    assert (await get(hub, at, f"If-None-Match: {tag}")).status == 403
    async with hub.db.district(hub.prepared.here) as tx:
        await grants.set_state(tx, hub.prepared.grants["lms"], "active")
    assert (await get(hub, at, f"If-None-Match: {tag}")).status == 304
    async with hub.db.shared() as tx:
        await apps.revoke_client(tx, hub.prepared.clients["lms"][0], SystemClock().now())
    assert (await get(hub, at, f"If-None-Match: {tag}")).status == 401


async def test_tags_differ_by_question_app_and_settings(hub: Hub) -> None:
    paths = ("/orgs", "/orgs?limit=1", "/orgs?limit=1&offset=1", "/orgs?limit=1&fields=sourcedId", "/schools")
    tags = [(await get(hub, path)).headers["etag"] for path in paths]
    tags.append((await get(hub, "/orgs", app="library")).headers["etag"])
    async with hub.db.shared() as tx:
        await apps.change(tx, hub.prepared.apps["lms"], behaviour={"booleans": "json"})
    await asyncio.sleep(1.1)
    tags.append((await get(hub, "/orgs")).headers["etag"])
    assert len(set(tags)) == len(tags)


@pytest.mark.threat("T16")
async def test_a_hidden_change_moves_no_tag_and_a_visible_one_does(hub: Hub) -> None:
    paths = ("/users?limit=5", "/orgs", "/classes")

    async def tags(app: str) -> list[str]:
        return [(await get(hub, path, app=app)).headers["etag"] for path in paths]

    frames = sandbox(100, 7).frames
    await hub.first.sync(frames)
    before = {app: await tags(app) for app in ("lms", "library")}
    run = await hub.first.sync(changed(frames, "users", frames["users"]["sourcedId"][0], identifier="other"))
    assert run.state == "applied"
    assert await tags("library") == before["library"]
    assert set(await tags("lms")).isdisjoint(before["lms"])


@pytest.mark.threat("T16")
async def test_an_edit_of_a_grant_that_shows_nothing_else_moves_no_tag(hub: Hub) -> None:
    before = (await get(hub, "/users", app="library")).headers["etag"]
    for definition, same in (
        (LIBRARY.model_dump() | {"rules": [{"roles": []}]}, True),
        (LIBRARY.model_dump() | {"privacy": ["credential"]}, False),
    ):
        async with hub.db.district(hub.prepared.here) as tx:
            wanted = GrantDefinition.model_validate(definition)
            await grants.edit(tx, hub.prepared.grants["library"], wanted, hub.first.clock.now())
        assert ((await get(hub, "/users", app="library")).headers["etag"] == before) is same
