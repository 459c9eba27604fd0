"""Pages beside 2,000 connections that began a request and say no more: how long both last."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from hub.embedded import EmbeddedPostgres
from hub.sandbox import DistrictPlan, write_sandbox
from tests.benchmarks import pages
from tests.benchmarks.result import Result

HALF_OPEN = 2_000
REQUESTS = 1_500


def run(students: int) -> list[Result]:
    """The slow end of page times with and without them, taken in turns, and the seconds until the last is closed."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=min(students, 5_000), seed=1, dirt=0))
        with EmbeddedPostgres(folder / "pg") as server:
            grants = asyncio.run(pages.prepare(server.url(), folder / "district.zip"))
            with pages.serving(server.url()) as (_, port, _):
                return asyncio.run(_measure(port, grants["all fields"]))


async def _measure(port: int, grant: tuple[object, str]) -> list[Result]:
    district, token = grant
    path = f"/d/{district}/ims/oneroster/rostering/v1p2/users?limit={pages.PAGE}"
    await _slow_end(port, path, token)
    alone, beside, lives = [], [], []
    for _ in range(3):
        alone.append(await _slow_end(port, path, token))
        half_open = [asyncio.create_task(_half_open(port)) for _ in range(HALF_OPEN)]
        await asyncio.sleep(2)
        beside.append(await _slow_end(port, path, token))
        lives += await asyncio.gather(*half_open)
    return [
        Result(
            f"p99 of a page beside {HALF_OPEN:,} half-open connections", sorted(beside)[1], sorted(alone)[1], "ms",
            2, 1.2, note="against none",
        ),
        Result(f"until {HALF_OPEN:,} half-open connections are closed", max(lives), None, "s", 15, 12, "ours"),
    ]  # fmt: skip


async def _half_open(port: int) -> float:
    """How many seconds the server bears it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    began = time.monotonic()
    with suppress(ConnectionResetError):
        while await reader.read(65_536):
            pass
    writer.close()
    return time.monotonic() - began


async def _slow_end(port: int, path: str, token: str) -> float:
    """The 99th of 100 times of a page, in ms, over two connections."""

    async def worker() -> Sequence[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        times = []
        for _ in range(REQUESTS // 2):
            started = time.monotonic()
            await pages.ask(reader, writer, path, token)
            times.append((time.monotonic() - started) * 1000)
        writer.close()
        return times

    times = sorted(chain.from_iterable(await asyncio.gather(worker(), worker())))
    return times[int(len(times) * 0.99)]
