"""What the rules add to a sync: a first load, and a change of one in a hundred, with the time inside of them.

The rules of the chain (keys, references, duplicates, required values, …) cannot be left out of a sync, so what counts
is how long their functions take while it goes on: by the clock, and by the processor time that the process takes
meanwhile. Both are upper bounds of what they add: other threads of the worker, and the server, work beside them.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from hub.allocator import give_back_freed_memory
from hub.collector import settle
from hub.embedded import EmbeddedPostgres
from hub.ids import new_id
from hub.sandbox import DistrictPlan, write_sandbox
from hub.settings import role_passwords, role_url
from hub.store import districts, sources
from hub.store.database import Database
from hub.store.migrate import migrate
from tests.benchmarks import meter
from tests.benchmarks.loading import KEY, Found, carry_out
from tests.benchmarks.result import Result
from transforms.issues import RULES
from transforms.rules.checks import Checks

#: Where rules live: in the chain, and beside it.
CHAIN, BESIDE = "transforms.validate", "transforms.rules"
#: In whose modules their names may stand.
OURS = ("transforms", "hub", "connectors")


def run(students: int) -> list[Result]:
    """The time inside of rules against that of the whole sync."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1, changes=True, change_percent=1.0))
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.url(), passwords=role_passwords(KEY)))
            command = [sys.executable, "-m", "tests.benchmarks.rules", server.url(), str(folder)]
            found: Found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    note = f"{found['rows']:,} records, {len(RULES)} rules"
    results = []
    for what, inside, whole in found["syncs"]:
        own = f"with a function of their own {inside[BESIDE][0]:.1f} s"
        cpu = sum(seconds for _, seconds in inside.values())
        results += [
            Result(f"{what}, inside of rules, of the whole", sum(seconds for seconds, _ in inside.values()), whole[0],
                   "s", 0.25, 0.1, note=f"{note}; {own}"),
            Result("the same by processor time, with the server's", cpu, whole[1], "s", 0.25, 0.1),
        ]  # fmt: skip
    return results


class Clock:
    """Seconds inside of rules, and of the processor meanwhile, by where they live.

    A rule that asks another one is counted once.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = dict.fromkeys((CHAIN, BESIDE), (0.0, 0.0))
        self._inside = threading.local()

    def timed(self, function: Callable[..., Any], where: str) -> Callable[..., Any]:
        """The function, counted."""

        @wraps(function)
        def counted(*args: Any, **more: Any) -> Any:
            if getattr(self._inside, "now", False):
                return function(*args, **more)
            self._inside.now, started, cpu = True, time.perf_counter(), time.process_time()
            try:
                return function(*args, **more)
            finally:
                before = self.seconds[where]
                self.seconds[where] = (
                    before[0] + time.perf_counter() - started, before[1] + time.process_time() - cpu
                )  # fmt: skip
                self._inside.now = False

        return counted

    def watch(self) -> None:
        """Counts all functions of rules, under whichever name they were imported."""
        ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in OURS]
        homes = {name: where for name in sys.modules for where in (CHAIN, BESIDE) if name.startswith(where)}
        timed: dict[int, Callable[..., Any]] = {}
        for name, where in homes.items():
            for thing in vars(sys.modules[name]).copy().values():
                if getattr(thing, "__module__", None) != name:
                    continue
                if inspect.isclass(thing):
                    self._methods(thing, where)
                elif inspect.isfunction(thing) and not inspect.isgeneratorfunction(thing):
                    timed[id(thing)] = self.timed(thing, where)
        for module in ours:
            for attribute, thing in vars(module).copy().items():
                if id(thing) in timed:
                    setattr(module, attribute, timed[id(thing)])

    def _methods(self, kind: type, where: str) -> None:
        for name, method in vars(kind).copy().items():
            if inspect.isfunction(method) and not name.startswith("__"):
                setattr(kind, name, self.timed(method, where))


async def sync(url: str, folder: Path) -> Found:
    """A first load and a change, in a process of its own, as a worker does them."""
    db = await Database.open(role_url(url, "hub_worker", role_passwords(KEY)["hub_worker"]), name="bench")
    district, source = new_id(), new_id()
    async with db.district(district) as tx:
        await districts.create(tx, "bench")
        await sources.create(tx, source, name="bench", kind="oneroster_csv", config={})
    clock = Clock()
    clock.watch()
    assert hasattr(Checks.rows, "__wrapped__"), "rules are not counted"
    out: Found = {"syncs": []}
    server = await meter.postmaster(url)
    for what, package in (("first load", "district"), ("1 % changed", "changes")):
        clock.seconds = dict.fromkeys(clock.seconds, (0.0, 0.0))
        started, cpu = time.perf_counter(), time.process_time() + meter.server_seconds(server)
        done = await carry_out(db, district, source, folder / f"{package}.zip")
        spent = time.process_time() + meter.server_seconds(server) - cpu
        whole = time.perf_counter() - started, spent
        if done.state != "applied":
            raise RuntimeError(f"{package}: {done.state} {done.error_message} {done.guard}")
        out.setdefault("rows", sum(c["created"] for c in done.counts.values()))
        out["syncs"].append((what, clock.seconds, whole))
    await db.close()
    return out


if __name__ == "__main__":
    settle()  # as hub.app does
    give_back_freed_memory()
    sys.stdout.write(json.dumps(asyncio.run(sync(sys.argv[1], Path(sys.argv[2])))))
