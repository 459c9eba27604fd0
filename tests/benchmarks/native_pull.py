"""A whole pull from a PowerSchool, against a bare aiohttp client that asks for the very same answers, one by one.

The server is a process of its own, which keeps each answer that it made: what is measured is our processor time, while
answers lie ready. Counts, seals and versions of data are among the answers; the bare client reads them too.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp

from connectors.powerschool import SPEC
from connectors.protocol import SourceContext
from hub.collector import settle
from tests.benchmarks.meter import forget_peak, peak_gigabytes
from tests.benchmarks.result import Result
from tests.contract.test_powerschool import install
from tests.fakes import powerschool_server
from tests.fakes.listening import listening
from tests.fakes.powerschool_district import filled
from tests.fakes.powerschool_server import CLIENT, SECRET, Quirks

PAGE = 10_000
ROUNDS = 3
#: Method, path and body of a request.
Request = tuple[str, str, bytes]


def run(students: int) -> list[Result]:
    """Measures with as many students, and the enrollments that the fake district gives them."""
    settle()  # as hub.app does
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name, _served(students) as (url, pipe):
        folder = Path(name)
        rows = asyncio.run(_pulled(url, folder))  # answers are made
        forget_peak()
        _processor(_pulled(url, folder))
        peak = peak_gigabytes()
        pipe.send("requests")
        requests: Sequence[Request] = pipe.recv()
        ours, bare = [], []
        for _ in range(ROUNDS):  # by turns: other work on the machine comes and goes
            ours.append(_processor(_pulled(url, folder)))
            bare.append(_processor(_bare(url, requests)))
    note = f"answers lie ready; {len(requests)} requests"
    return [
        Result(f"PowerSchool, {rows:,} rows, processor", min(ours), min(bare), "s", note=note),
        Result("peak of memory in it", peak, None, "GB", 0.5, 0.25, "ours"),
    ]


def _processor(work: Any) -> float:
    before = time.process_time()  # finer than what the kernel says of processes
    asyncio.run(work)
    return time.process_time() - before


async def _pulled(url: str, folder: Path) -> int:
    """A whole pull; how many rows its package has."""
    config = {"url": url, "client_id": CLIENT, "page_rows": PAGE}
    context = SourceContext(
        SPEC.config_model.model_validate(config), work_folder=folder, secrets={"client_secret": SECRET},
        reachable=lambda *_: True, now=lambda: powerschool_server.START,
    )  # fmt: skip
    pull = await SPEC.open(context).pull(None)
    rows = sum(pull.package.rows(name) for name in pull.package.mode)
    await asyncio.to_thread(pull.package.close)
    return rows


async def _bare(url: str, requests: Sequence[Request]) -> None:
    login, form = aiohttp.BasicAuth(CLIENT, SECRET), {"grant_type": "client_credentials"}
    async with aiohttp.ClientSession() as session:
        async with session.post(url + "/oauth/access_token", auth=login, data=form) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['access_token']}"}
        for method, path, body in requests:
            async with session.request(method, url + path, data=body or None, headers=headers) as answer:
                assert answer.status in {200, 404}
                await answer.read()


@contextmanager
def _served(students: int) -> Iterator[tuple[str, Connection]]:
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    server = spawning.Process(target=_serve, args=(students, theirs))
    server.start()
    try:
        yield ours.recv(), ours
    finally:
        ours.send(None)
        server.join(10)


def _serve(students: int, pipe: Connection) -> None:
    sis = filled(Quirks(ceiling=PAGE), students=students)
    install(sis)
    kept: dict[Request, tuple[int, Any]] = {}

    class Keeping(powerschool_server.Handler):
        def _handle(self, sent: bytes) -> None:
            self.request_is = (self.command, self.path, sent)
            super()._handle(sent)

        def _found(self, path: str, asked: powerschool_server.Asked) -> tuple[int, Any]:
            if self.request_is not in kept:
                status, body = super()._found(path, asked)
                kept[self.request_is] = status, powerschool_server.encoded(body)
            return kept[self.request_is]

    with listening(Keeping, sis=sis) as url:
        pipe.send(url)
        while pipe.recv() is not None:
            pipe.send(list(kept))
