"""Memory of a server process while 64 clients read pages of 10,000 enrollments, quick ones and slow ones.

The slow ones take a page at some 300 kB a second, without compression: the most that a process has to keep for them.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from hub.embedded import EmbeddedPostgres
from hub.sandbox import DistrictPlan, write_sandbox
from tests.benchmarks import pages
from tests.benchmarks.result import Result

CLIENTS = 64
LIMIT = 10_000
_SLOW_BYTES, _SLOW_SECONDS = 30_000, 0.1
_MUST, _AIM = 400, 250


def run(students: int) -> list[Result]:
    """The largest resident set of a server process, in MB, by kind of client."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=max(students, 2_000), seed=1, dirt=0))
        with EmbeddedPostgres(folder / "pg") as server:
            grants = asyncio.run(pages.prepare(server.url(), folder / "district.zip"))
            results = []
            for kind, headers, slow in (
                ("quick clients", "", False), ("clients with zstd", "Accept-Encoding: zstd\r\n", False),
                ("slow clients", "", True),
            ):  # fmt: skip
                with pages.serving(server.url()) as (process, port, _):  # a process of its own for each
                    found = asyncio.run(_measure(process, port, grants["all fields"], headers, slow=slow))
                results.append(Result(f"{CLIENTS} {kind} of {LIMIT:,} records", found, None, "MB", _MUST, _AIM, "ours"))
            return results


async def _measure(process: psutil.Process, port: int, grant: tuple[object, str], headers: str, *, slow: bool) -> float:
    district, token = grant
    path = f"/d/{district}/ims/oneroster/rostering/v1p2/enrollments?limit={LIMIT}"
    data = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}\r\n".encode()
    rounds = 1 if slow else 3
    watch = asyncio.create_task(_watch(process))
    bodies = await asyncio.gather(*(_client(port, data, rounds, slow=slow) for _ in range(CLIENTS)))
    watch.cancel()
    if len({size for sizes in bodies for size in sizes}) != 1:
        raise RuntimeError(f"the pages differ: {bodies}")
    return _peak[process.pid] / 1e6


_peak: dict[int, int] = {}


async def _watch(process: psutil.Process) -> None:
    while True:
        rss = process.memory_info().rss
        _peak[process.pid] = max(_peak.get(process.pid, 0), rss)
        await asyncio.sleep(0.02)


async def _client(port: int, data: bytes, rounds: int, *, slow: bool) -> Sequence[int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65_536)
    sizes = []
    for _ in range(rounds):
        writer.write(data)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if " 200 " not in head.partition("\r\n")[0]:
            raise RuntimeError(head)
        left = size = int(re.findall(r"(?i)content-length: (\d+)", head)[0])
        while left:
            left -= len(await reader.read(min(left, _SLOW_BYTES if slow else 1 << 20)))
            if slow:
                await asyncio.sleep(_SLOW_SECONDS)
        sizes.append(size)
    writer.close()
    return sizes
