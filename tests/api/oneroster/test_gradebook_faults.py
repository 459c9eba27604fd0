"""Writes beside syncs, behind a lock, and in processes that die: all or nothing, and nobody's work is lost."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import UUID

import aiohttp
import orjson
import polars as pl
import pytest

from hub.api.caches import ByteCache
from hub.clock import SystemClock
from hub.crashpoints import PLACES
from hub.gradebook.desk import Author
from hub.gradebook.gradebook import Gradebook
from hub.identifiers import Identifiers
from hub.store import districts, runs, sources
from hub.store.apps import digest
from hub.store.gate import Bearer, Gate
from hub.sync.ahead import Early
from hub.sync.apply import Taken, apply
from hub.sync.engine import work_once
from hub.sync.job import Job
from hub.sync.parties import parties
from hub.sync.prepare import Preparation
from hub.sync.progress import Progress
from hub.sync.pull import pull
from tests.api.oneroster.gradebooks import Book, ref
from tests.api.oneroster.serving_process import serving
from tests.api.oneroster.test_gradebook_writes import refused
from tests.districts import without
from tests.full_disk import cannot_grow
from tests.interrupted import interrupted
from tests.services import Database
from transforms.catalogue import CATALOGUE
from transforms.objects import read

KILLED = 137
#: What a write that is refused, or whose process dies, must leave as it was.
TABLES = (
    *(e.table for e in CATALOGUE.of_service("gradebook")), "gradebook_objects", "gradebook_writes", "gradebook_posts",
    "changes", "history", "views", "feed", "grants", "heads",
)  # fmt: skip


async def state(book: Book) -> list[tuple[object, ...]]:
    """Row by row, with the version of each row, all that a write may write."""
    found: list[tuple[object, ...]] = []
    async with book.service.district(book.district_id) as tx:
        for table in TABLES:
            rows = await tx.fetch(f"SELECT '{table}' AS t, t::text FROM {table} t ORDER BY t::text")
            found += [tuple(row) for row in rows]
        found += [tuple(row) for row in await tx.fetch("SELECT position FROM districts")]
    return found


async def test_a_write_that_is_refused_changes_nothing(book: Book) -> None:
    await book.make("lineItems", "li")
    await book.make("results", "r", {"lineItem": ref("li")})
    before = await state(book)
    for answer, status in (
        (await book.put("results", "q", {"student": ref(book.ids.stranger)}), 422),
        (await book.put("results", book.ids.sis["R1"]), 403),
        (await book.put("results", "r", app="viewer"), 403),
        (await book.put("lineItems", "li", {"class": ref(book.ids.there)}), 422),
        (await book.put("results", "r", {"lineItem": ref("li")}), 201),  # as it is
        (await book.send("DELETE", "/results/none"), 404),
        (await book.send("DELETE", f"/categories/{book.ids.sis['K1']}"), 403),
        (await book.send("POST", f"/lineItems/{book.ids.sis['L1']}/results",
                         body={"results": [book.least("results") | {"sourcedId": "t"}, {"sourcedId": "t"}]}), 422),
    ):  # fmt: skip
        assert answer[0] == status
    assert await state(book) == before


@pytest.mark.threat("F16")
async def test_a_write_that_finds_no_room_changes_nothing(book: Book, book_database: Database) -> None:
    async with cannot_grow(book_database.owner, "gradebook_writes"):
        before = await state(book)
        answer = await book.put("results", "r")

        await refused(answer, 503, "server_busy", "disk")
        assert answer[2]["Retry-After"] == "60"
        assert await state(book) == before


@pytest.mark.threat("F1")
async def test_a_process_killed_at_any_place_leaves_all_of_a_write_or_nothing(
    book: Book, book_database: Database
) -> None:
    places = [place for place in PLACES if place.startswith("gradebook.")]
    headers = {"Authorization": f"Bearer {book.hub.prepared.tokens['lms']}", "Content-Type": "application/json"}
    data = orjson.dumps({"result": book.least("results")})
    async with AsyncExitStack() as stack:
        starting = [stack.enter_async_context(serving(book_database.service, crash_at=place)) for place in places]
        servers = [await one for one in starting]
        for place, server in zip(places, servers, strict=True):
            before = await state(book)
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.ClientError):
                    await session.put(server.url + book.address(f"/results/{place}"), data=data, headers=headers)
            assert await server.ended() == KILLED
            committed = place == "gradebook.after_commit"
            assert (await state(book) == before) is not committed
            assert (await book.get(f"/results/{place}"))[0] == (200 if committed else 404)
            assert (await book.put("results", place))[0] == 201  # the app tries again
            assert (await book.keys("/results")).count(place) == 1


async def test_a_write_that_is_cancelled_anywhere_is_whole_or_not_there(book: Book) -> None:
    told: list[UUID] = []
    gradebook = Gradebook(book.service, SystemClock(), ByteCache(2**20), told.append)
    prepared, now = book.hub.prepared, datetime.now(UTC)
    gate = Gate(prepared.grants["lms"], 0, now, Bearer(digest(prepared.tokens["lms"]), now))
    app_id = prepared.apps["lms"]
    author = Author(book.district_id, app_id, gate, Identifiers(app_id))
    entity = CATALOGUE["results"]
    at, waits = 0, None
    while waits is None:
        written = read(entity, "1.2", book.least("results"), place="result")
        waits = await interrupted(gradebook.put(author, entity, f"k{at}", written), at)
        at += 3
    assert at > 20
    async with book.service.district(book.district_id) as tx:
        objects = {row[0] for row in await tx.fetch("SELECT rid FROM gradebook_objects WHERE entity = 'results'")}
        for query in ("SELECT rid FROM gradebook_writes", "SELECT rid FROM results WHERE score = 7"):
            assert {row[0] for row in await tx.fetch(query)} == objects
    assert set(told) == {book.district_id}
    assert (await book.put("results", "last"))[0] == 201


@pytest.mark.threat("F12")
async def test_while_a_sync_holds_the_district_writes_are_told_to_wait_and_reads_go_on(book: Book) -> None:
    async with book.hub.db.district(book.district_id) as tx:
        await districts.lock(tx)
        writes = [asyncio.create_task(book.put("results", f"r{n}")) for n in range(6)]
        assert (await book.get("/results"))[0] == 200
        answers = await asyncio.gather(*writes)
    for answer in answers:
        await refused(answer, 503, "server_busy")
        assert int(answer[2]["Retry-After"]) >= 1
    assert (await book.put("results", "r0"))[0] == 201


async def test_a_sync_leaves_what_apps_wrote_and_takes_it_out_of_sight_with_its_class(book: Book) -> None:
    frames = book.frames
    await book.make("lineItems", "li")
    await book.make("results", "r", {"lineItem": ref("li")})
    district = book.hub.first
    changed = without(frames, "results", ["R2"])
    assert (await district.sync(changed)).state == "applied"
    assert (await book.one("results", "r"))["lineItem"]["sourcedId"] == "li"
    assert await book.keys("/results") == [book.ids.sis["R1"], "r"]
    # A class is gone: what was written for it is out of sight, and in sight again when the class is back.
    here = frames["scoreScales"]["classSourcedId"][0]
    less = {file: _beside(file, frame, here) for file, frame in changed.items()}
    less["results"] = less["results"].clear()
    run = await district.sync(less)
    if run.state == "held":
        async with district.db.district(book.district_id) as tx:
            await runs.decide(tx, run.run_id, approve=True, actor="test")
        while await work_once(district.db, district.clock):
            pass
    assert await book.keys("/lineItems") == [book.ids.sis["L2"]]
    for path in ("/results/r", "/lineItems/li"):
        await refused(await book.get(path), 404, "unknownobject")
        await refused(await book.send("DELETE", path), 404, "unknownobject")
    assert "r" in await book.keys("/results", filter="status='tobedeleted'")
    assert (await district.sync(changed)).state == "applied"
    assert (await book.one("results", "r"))["status"] == "active"


def _beside(file: str, frame: pl.DataFrame, class_: str) -> pl.DataFrame:
    """The rows of a file that are not about a class."""
    name = "sourcedId" if file == "classes" else "classSourcedId"
    return frame.filter(pl.col(name) != class_) if name in frame.columns else frame


@pytest.mark.threat("F12")
async def test_an_app_writes_while_a_sync_of_new_results_is_prepared(book: Book) -> None:
    """Both take the next numbers of records; neither gets those of the other."""
    district, frames = book.hub.first, book.frames
    more = frames["results"].with_columns(sourcedId=pl.col("sourcedId") + "-new")
    await district.request(dict(frames) | {"results": pl.concat([frames["results"], more])})
    claim = await runs.claim(district.db)
    assert claim is not None
    async with district.db.district(book.district_id) as tx:
        source = await sources.get(tx, district.source_id)
        spoken = await parties(tx, source)
    job = Job(district.db, claim, district.clock, Progress())
    async with pull(job, source) as pulled:
        package = pulled.package
        prepared = await Preparation(job, spoken, package).run()
        await book.make("results", "r")
        async with district.db.district(book.district_id) as tx:
            taken = Taken(source.source_id, "digest", None, sorted(package.mode), [], pulled.cursor)
            await apply(tx, claim, prepared, taken, district.clock.now(), Early())
            await runs.finish(tx, claim, "applied")
    shown = await book.keys("/results")
    assert len(shown) == 5
    assert (await book.one("results", "r"))["score"] == 7
    await book.make("results", "r2")
    assert len(await book.keys("/results")) == 6


async def test_a_dry_run_gives_the_numbers_back_that_it_took(book: Book) -> None:
    async def head() -> int:
        async with book.service.district(book.district_id) as tx:
            return int(await tx.fetchval("SELECT next_rid FROM heads WHERE entity = 'results'"))

    more = book.frames["results"].with_columns(sourcedId=pl.col("sourcedId") + "-new")
    before = await head()
    package = dict(book.frames) | {"results": pl.concat([book.frames["results"], more])}
    assert (await book.hub.first.sync(package, dry_run=True)).state == "previewed"
    assert await head() == before
    assert (await book.hub.first.sync(package)).state == "applied"
    assert await head() == before + 2
