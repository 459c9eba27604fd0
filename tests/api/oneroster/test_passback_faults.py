"""Pass-back when the system, the network, the database or the worker fails: nothing is lost or seen twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web

from hub.errors import Code, HubError
from hub.passback.codes import Down
from hub.passback.dispatcher import Dispatcher
from hub.passback.proofs import Proofs
from hub.passback.rounds import Porter, turn
from hub.store import grade_targets
from hub.store.database import Database as Pool
from hub.store.presence import Presence
from hub.webhooks.egress import Egress
from tests.api.oneroster.gradebooks import Book, ref
from tests.api.oneroster.passing import KEY, Passing, passing
from tests.api.oneroster.test_passback import graded
from tests.fakes.proxy import proxy
from tests.fakes.receiver import hang
from tests.fakes.sis import Fault, on, reset, times, told
from tests.forks import Forked
from tests.services import MASTER_KEY, Database

FAILURE = {"imsx_codeMajor": "failure", "imsx_codeMinor": "invalid data", "imsx_description": "score is not allowed"}


@pytest.fixture
async def world(book: Book, book_database: Database) -> AsyncIterator[Passing]:
    async with passing(book, book_database, seconds=0.5) as made:
        yield made


@pytest.mark.parametrize(
    ("fault", "error", "seconds"),
    [
        (told(429, Retry_After="7"), Down.RATE_LIMITED, 7),
        (told(503, Retry_After="100000"), Down.UNAVAILABLE, 3600),
        (told(302, Location="http://127.0.0.1:9/"), Down.REDIRECTED, None),
        (told(401), Down.UNAUTHORIZED, None),
    ],
)
@pytest.mark.threat("T33", "F14")
async def test_a_target_that_wants_a_pause_gets_it_and_loses_nothing(
    world: Passing, fault: Fault, error: Down, seconds: float | None
) -> None:
    await world.point()
    await graded(world.book)
    world.there.fault = times(2, fault)  # 401 is asked twice: with the token, and with a new one
    await world.drain()
    row = await world.row()
    assert (row.last_error, row.attempt, row.failing_since is None) == (error, 1, False)
    assert await world.states() == {"waiting": 3}
    if seconds is not None:
        wait = await world.owner.fetchval("SELECT extract(epoch FROM ready_at - now()) FROM grade_targets")
        assert seconds - 5 < wait <= seconds
    world.there.fault = lambda *_: None
    await world.later()
    await world.drain()
    row = await world.row()
    assert (row.last_error, row.attempt, row.failing_since) == (None, 0, None)
    assert await world.states() == {"delivered": 3}


@pytest.mark.parametrize("fault", [hang, reset, told(500), told(500, b"<html>Ada Canary</html>"), told(408)])
@pytest.mark.threat("F14", "F26")
async def test_one_object_that_fails_is_tried_again_and_holds_no_other_up(world: Passing, fault: Fault) -> None:
    await world.point()
    for key in ("bad", "one", "two"):
        await world.book.make("categories", key)
    await world.book.make("lineItems", "li", {"category": ref("bad")})
    bad = await world.id("categories", "bad")
    world.there.fault = on(bad, fault)
    await world.drain()
    assert world.there.of("categories").keys() == {
        await world.id("categories", "one"), await world.id("categories", "two")
    }  # fmt: skip
    lines = {line.entity: line for line in await world.report()}
    assert (lines["categories"].state, lines["categories"].attempt) == ("waiting", 1)
    assert lines["categories"].code in {"server_error", "no_answer"}
    assert (lines["lineItems"].state, str(lines["lineItems"].blocked_sourced_id)) == ("blocked", bad)
    world.there.fault = lambda *_: None
    await world.later()
    await world.drain()
    assert await world.states() == {"delivered": 4}


async def test_a_system_that_fails_over_everything_is_left_alone_for_a_while_and_fails_nothing(world: Passing) -> None:
    await world.point()
    for number in range(6):
        await world.book.make("categories", f"c{number}")
    world.there.fault = lambda *_: told(500)
    for _ in range(12):
        await world.later()
        await world.drain()
    row = await world.row()
    assert (row.last_error, row.attempt) == (Down.FAILS_ALL, 12)
    assert len(world.there.came) <= 12 * 6
    await world.owner.execute("UPDATE grade_deliveries SET failing_since = now() - interval '9 days'")
    await world.later()
    await world.drain()
    assert await world.states() == {"waiting": 6}  # it is the system that fails, however long
    world.there.fault = lambda *_: None
    await world.later()
    await world.drain()
    assert await world.states() == {"delivered": 6}


async def test_an_object_that_fails_for_days_while_others_go_is_given_up(world: Passing) -> None:
    await world.point()
    await world.book.make("categories", "bad")
    world.there.fault = on(await world.id("categories", "bad"), told(500))
    for number in range(10):
        if number == 9:
            await world.owner.execute("UPDATE grade_deliveries SET failing_since = now() - interval '4 days'")
            await world.book.make("categories", "good")
        await world.later()
        await world.drain()
    assert await world.states() == {"failed": 1, "delivered": 1}
    (line,) = await world.report()
    assert (line.state, line.code, line.status, line.attempt) == ("failed", "server_error", 500, 10)


@pytest.mark.parametrize("seconds", [0.0, None, 3600.0])
async def test_a_token_that_is_not_taken_any_more_is_replaced_at_once(world: Passing, seconds: float | None) -> None:
    world.there.expires_in = seconds
    await world.point()
    await graded(world.book)
    await world.drain()
    issued = world.there.issued
    assert issued >= 1
    world.there.tokens.clear()  # the system was restarted
    await world.book.make("categories", "later")
    await world.drain()
    assert await world.states() == {"delivered": 4}
    assert world.there.issued > issued
    assert (await world.row()).last_error is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (told(401, {"error": "invalid_client"}), Down.LOGIN_REFUSED), (told(500), Down.LOGIN_FAILED),
        (told(200, {"nothing": 1}), Down.LOGIN_FAILED), (told(200, b"[1"), Down.LOGIN_FAILED),
        (told(200, {"access_token": "a\nb"}), Down.LOGIN_FAILED), (hang, Down.LOGIN_FAILED),
    ],
)  # fmt: skip
async def test_without_a_login_nothing_is_sent(world: Passing, fault: Fault, error: Down) -> None:
    world.there.token_fault = fault
    await world.point()
    await graded(world.book)
    await world.drain()
    assert (await world.row()).last_error == error
    assert world.there.came == []


async def test_a_success_whose_body_says_failure_is_a_refusal(world: Passing) -> None:
    await world.point()
    await world.book.make("categories", "c")
    world.there.fault = lambda *_: told(200, FAILURE)
    await world.drain()
    (line,) = await world.report()
    assert (line.code, line.status, line.description) == ("invalid_data", 200, "score is not allowed")


@pytest.mark.threat("T31", "T32")
async def test_a_target_inside_is_not_dialled_unless_the_operator_allowed_it(world: Passing) -> None:
    await world.point()
    await world.book.make("categories", "c")
    async with Egress(timeout=1) as egress:
        porter = Porter(world.porter.db, egress, Proofs(egress), KEY, 1)
        (claim,) = await grade_targets.claim(porter.db, limit=1, lease_seconds=6)
        while await turn(porter, claim):
            pass
    assert (await world.row()).last_error == Down.LOGIN_FAILED  # the guard stops the login already
    assert world.there.issued == 0
    assert world.there.came == []


@pytest.mark.threat("F1")
async def test_what_a_worker_had_that_is_gone_is_free_before_its_lease_ends(
    world: Passing, book_database: Database
) -> None:
    await world.point()
    await world.book.make("categories", "c")
    connection = await asyncpg.connect(book_database.worker)
    other = Presence(lambda _named: None)
    await other.enter(connection)
    assert await grade_targets.claim(world.porter.db, other.token(), limit=1, lease_seconds=300)
    assert await grade_targets.claim(world.porter.db, limit=1, lease_seconds=6) == []
    await connection.close()
    async with asyncio.timeout(20):  # the server gives the lock back when it sees the end of the connection
        while not (taken := await grade_targets.claim(world.porter.db, limit=1, lease_seconds=6)):
            await asyncio.sleep(0.05)
    while await turn(world.porter, taken[0]):
        pass
    assert await world.states() == {"delivered": 1}


@pytest.mark.threat("F13")
async def test_a_worker_that_was_away_for_longer_than_its_lease_settles_nothing(world: Passing) -> None:
    await world.point()
    await world.book.make("categories", "c")
    (late,) = await grade_targets.claim(world.porter.db, limit=1, lease_seconds=0)

    async def meanwhile(_request: web.Request) -> web.StreamResponse:
        world.there.fault = lambda *_: None
        await world.owner.execute("UPDATE grade_targets SET lease_token = gen_random_uuid()")
        return web.Response(status=422)

    world.there.fault = lambda *_: meanwhile
    assert await turn(world.porter, late) is False
    assert await world.states() == {"waiting": 1}
    await world.owner.execute("UPDATE grade_targets SET lease_until = NULL")
    await world.drain()
    assert await world.states() == {"delivered": 1}


async def test_a_write_during_the_request_is_sent_after_it(world: Passing) -> None:
    await world.point()
    await world.book.make("categories", "c")
    category = await world.id("categories", "c")

    async def meanwhile(request: web.Request) -> web.StreamResponse:
        world.there.fault = lambda *_: None
        answer = await world.there.answer(request, "categories", category)
        await world.book.make("categories", "c", {"title": "Newer"})
        return answer

    world.there.fault = lambda *_: meanwhile
    await world.drain()
    assert world.there.objects["categories", category]["title"] == "Newer"
    assert world.there.order() == [("categories", category)] * 2
    assert await world.states() == {"delivered": 1}


@pytest.mark.threat("F2")
async def test_the_database_goes_away_in_the_middle_and_comes_back(world: Passing, book_database: Database) -> None:
    async with proxy(book_database.worker) as between:
        db = await Pool.open(between.url(book_database.worker), name="test pass-back", largest=2)
        porter = Porter(db, world.porter.egress, world.porter.proofs, KEY, 0.5)
        await world.point()
        await graded(world.book)

        async def cut(request: web.Request) -> web.StreamResponse:
            world.there.fault = lambda *_: None
            answer = await world.there.answer(request, "categories", request.match_info["id"])
            between.refusing = True
            between.reset()
            return answer

        world.there.fault = lambda *_: cut
        (claim,) = await grade_targets.claim(db, limit=1, lease_seconds=0.1)
        with pytest.raises(HubError) as refused:
            await turn(porter, claim)
        assert refused.value.code is Code.UNAVAILABLE
        assert await world.states() == {"waiting": 3}
        between.refusing = False
        await world.owner.execute("UPDATE grade_targets SET lease_until = NULL")  # it has ended by now
        await world.drain()
        assert await world.states() == {"delivered": 3}
        assert len(world.there.objects) == 3
        await db.close()


@asynccontextmanager
async def worker(
    database: Database, *, crash_at: str = "", redis: str = "", printed: Path | None = None
) -> AsyncIterator[Forked]:
    """A worker process; killed at the end if it still runs. ``printed``: the file for what it prints."""
    settings = {
        "HUB_DATABASE_URL": database.owner, "HUB_MASTER_KEY": MASTER_KEY.decode(),
        "HUB_PASSBACK_ALLOW": "127.0.0.0/8", "HUB_PASSBACK_TIMEOUT_SECONDS": "0.5", "HUB_CRASH_AT": crash_at,
        "HUB_LOG_FORMAT": "json", "PATH": os.defpath,
    }  # fmt: skip
    to = os.open(printed or os.devnull, os.O_WRONLY | os.O_CREAT)
    process = Forked("tests.webhooks.worker", database.worker, redis, environment=settings, pipes=(to, to))
    os.close(to)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


@pytest.mark.threat("F1", "F15")
@pytest.mark.parametrize(
    ("place", "times_sent"),
    [("passback.before_send", 1), ("passback.after_send", 2), ("passback.after_settle", 1)],
)
async def test_a_worker_killed_at_this_place_loses_nothing_and_nothing_is_seen_twice(
    world: Passing, book_database: Database, place: str, times_sent: int
) -> None:
    await world.point()
    await graded(world.book)
    async with worker(book_database, crash_at=place) as first:
        assert await asyncio.wait_for(first.wait(), 30) == 137
    await world.book.make("results", "r", {"lineItem": ref("li"), "score": 8})  # acknowledged while nobody delivers
    result = await world.id("results", "r")
    async with worker(book_database):
        await world.there.until(lambda: world.there.objects.get(("results", result), {}).get("score") == 8, 30)
        async with asyncio.timeout(10):
            while await world.states() != {"delivered": 3}:
                await asyncio.sleep(0.05)
    assert world.there.order().count(("categories", await world.id("categories", "c"))) == times_sent
    assert len(world.there.objects) == 3


@pytest.mark.threat("F1", "T48")
async def test_a_worker_killed_while_it_waits_loses_nothing_and_logs_nobody(
    world: Passing, book_database: Database, tmp_path: Path
) -> None:
    first_log, second_log = tmp_path / "first", tmp_path / "second"
    await world.point()
    await graded(world.book)
    await world.book.make("results", "r2", {"lineItem": ref("li"), "comment": "Zebra-Canary 4711"})
    result = await world.id("results", "r2")

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = await world.there.answer(request, "results", result)
        await asyncio.sleep(0.3)
        return answer

    world.there.fault = on(result, slow)
    async with worker(book_database, printed=first_log) as first:
        await world.there.until(lambda: any(came.entity == "lineItems" for came in world.there.came), 30)
        async with asyncio.timeout(10):
            while ("results", result) not in world.there.objects:
                await asyncio.sleep(0.01)
        first.kill()
    world.there.fault = on(await world.id("results", "r"), told(422, {"imsx_description": "Zebra-Canary 4711"}))
    await world.book.make("results", "r", {"lineItem": ref("li"), "score": 1})
    async with worker(book_database, printed=second_log) as second:
        async with asyncio.timeout(30):
            while (await world.states()).get("delivered") != 3:
                await asyncio.sleep(0.05)
            while not await world.report("refused"):
                await asyncio.sleep(0.05)
        second.terminate()
        assert await asyncio.wait_for(second.wait(), 30) == 0
    (line,) = await world.report()
    assert line.description == "…"
    for text in (first_log.read_text(), second_log.read_text()):
        assert "Canary" not in text
        assert "4711" not in text
        assert world.keys[world.book.ids.students[0]] not in text


@pytest.mark.threat("F5")
async def test_without_redis_a_write_is_found_by_the_notification(world: Passing, book_database: Database) -> None:
    await world.point()
    stop = asyncio.Event()
    dispatcher = Dispatcher(world.porter, listen_url=book_database.worker)
    task = asyncio.create_task(dispatcher.run(stop))
    await graded(world.book)
    result = await world.id("results", "r")
    await world.there.until(lambda: ("results", result) in world.there.objects, 10)
    stop.set()
    await asyncio.wait_for(task, 30)
    row = await world.owner.fetchrow("SELECT lease_token, state FROM grade_targets")
    assert tuple(row) == (None, "active")


@pytest.mark.threat("T1")
async def test_another_district_sees_and_moves_nothing(world: Passing) -> None:
    await world.point()
    await graded(world.book)
    await world.drain()
    async with world.book.service.district(world.book.hub.prepared.there) as tx:
        for table in ("grade_targets", "grade_deliveries"):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0
        assert await tx.execute("UPDATE grade_deliveries SET state = 'waiting'") == 0
        with pytest.raises(HubError):
            await grade_targets.get(tx, world.target)
    async with world.porter.db.shared() as tx:  # the worker's queue shows targets, and no object of them
        assert await tx.fetchval("SELECT count(*) FROM grade_targets") == 1
        assert await tx.fetchval("SELECT count(*) FROM grade_deliveries") == 0
