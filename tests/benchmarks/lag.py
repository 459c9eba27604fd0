"""How late the event loop of an API process is while a worker brings a large district in beside it.

The API answers pages of users of another district all the while. A task that sleeps five milliseconds at a time tells
how much later than asked it woke up; the floor is the same with nothing else going on.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from hub.embedded import EmbeddedPostgres
from hub.sandbox import DistrictPlan, write_sandbox
from tests.benchmarks import loading, pages
from tests.benchmarks.queries import _of
from tests.benchmarks.result import Result

#: Students of the district that is read meanwhile.
READ = 5_000
_EVERY = 0.005
_QUIET_SECONDS = 10.0
_PAUSE = 0.02  # seconds between two pages


def run(students: int) -> list[Result]:
    """The 99th percentile of the lag, beside first load, re-sync and changes, and beside nothing."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "read").mkdir()
        write_sandbox(folder / "read", DistrictPlan(students=READ, seed=2, dirt=0))
        write_sandbox(folder, DistrictPlan(students=students, seed=1, changes=True, change_percent=1.0))
        loading.extracted(folder)
        loading.reorder(folder)
        with EmbeddedPostgres(folder / "pg") as server:
            grants = asyncio.run(pages.prepare(server.url(), folder / "read" / "district.zip"))
            quiet = asyncio.run(_lag(server.url(), grants, None))
            beside = asyncio.run(_lag(server.url(), grants, folder))
    note = f"median {beside['median']:.1f} ms, most {beside['most']:.0f} ms"
    return [Result("lag of an API beside a sync, p99", beside["p99"], quiet["p99"], "ms", 50, 20, "ours", note=note)]


async def _lag(url: str, grants: pages.Grants, folder: Path | None) -> dict[str, float]:
    """What the API process says of its lag while it answers, beside the syncs of a folder's packages if there are."""
    api = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.lag", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert api.stdout is not None
    port = int(await api.stdout.readline())
    await api.stdout.readline()  # of the floor of other benchmarks
    path = _of(grants["all fields"], f"/users?limit={pages.PAGE}")
    await pages.drive(port, [path] * 50)  # views and plans are warm
    api.send_signal(signal.SIGUSR1)
    reading = asyncio.create_task(_read(port, path))
    if folder is None:
        await asyncio.sleep(_QUIET_SECONDS)
    else:
        await asyncio.to_thread(loading.child, "sync", url, str(folder))
    reading.cancel()
    api.send_signal(signal.SIGTERM)
    told, _ = await api.communicate()
    found: dict[str, float] = json.loads(told)
    return found


async def _read(port: int, path: tuple[str, str]) -> None:
    while True:
        await pages.drive(port, [path])
        await asyncio.sleep(_PAUSE)


async def _api(url: str) -> None:
    """What the API process does: serves, samples from SIGUSR1 on, and tells at SIGTERM."""
    loop, begin, stop = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, begin.set)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    serving = asyncio.create_task(pages.serve(url))
    await begin.wait()
    late: list[float] = []
    while not stop.is_set():
        asked = time.perf_counter() + _EVERY
        await asyncio.sleep(_EVERY)
        late.append(max(0.0, time.perf_counter() - asked) * 1000)
    serving.cancel()
    found: dict[str, Any] = {
        "median": float(np.median(late)), "p99": float(np.percentile(late, 99)), "most": max(late)
    }  # fmt: skip
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(_api(sys.argv[1]))
