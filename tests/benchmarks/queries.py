"""What apps ask beside plain pages: deltas, look-ups by a field, fields with masks, and walks over everything.

As in ``pages``: CPU time of the server and of PostgreSQL for each request. A delta is held against a plain page, a
look-up by a field against a single read, and the walk over all enrollments against a COPY of their stored documents.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
import psutil

from hub.embedded import EmbeddedPostgres
from hub.objects.bases import DISTRICT, PATHS
from hub.sandbox import DistrictPlan, write_sandbox
from hub.scope.grants import GrantDefinition
from tests.benchmarks.meter import postmaster
from tests.benchmarks.pages import PAGE, Grants, Meter, ask, change, drive, prepare, serving
from tests.benchmarks.result import Result
from transforms.catalogue import Version

ROUNDS = 7
WALK = 10_000
MASKED = {
    "privacy": ["contact"],
    "fields": {"users": {"hide": ["userIds", "middleName", "metadata"], "masks": {"familyName": "initial"}}},
}
Path_ = tuple[str, str]  # path, access token


def run(students: int) -> list[Result]:
    """Each kind of question on one district, of which one record in a hundred changed once."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1, dirt=0))
        with EmbeddedPostgres(folder / "pg") as server:
            grants = asyncio.run(prepare(server.url(), folder / "district.zip", {"masks": _masked}))
            since = asyncio.run(change(server.url(), grants["all fields"][0], folder / "district.zip"))
            with serving(server.url()) as (process, port, _):
                return asyncio.run(_measure(server.url(), process, port, grants, since))


def _masked(schools: Sequence[str]) -> GrantDefinition:
    return GrantDefinition.model_validate({**MASKED, "rules": [{"schools": list(schools)}]})


async def _measure(owner_url: str, process: psutil.Process, port: int, grants: Grants, since: datetime) -> list[Result]:
    connection = await asyncpg.connect(owner_url)
    await connection.execute("SET row_security = off")  # the benchmark's own superuser
    meter = Meter(process, await postmaster(owner_url))
    rng = random.Random(2)
    rows = await connection.fetch(
        "SELECT sourced_id::text, email, identifier FROM hub.users WHERE email IS NOT NULL AND identifier IS NOT NULL "
        "ORDER BY rid LIMIT 5000"
    )
    total = await connection.fetchval("SELECT count(*) FROM hub.users")
    all_fields, some, masks = grants["all fields"], grants["four schools"], grants["masks"]
    asked: dict[str, list[Path_]] = {
        "page": [_of(all_fields, f"/users?limit={PAGE}&offset={rng.randrange(total - PAGE)}") for _ in range(500)],
        "delta": [_of(all_fields, _delta(since - timedelta(milliseconds=n))) for n in range(500)],
        "single": [_of(all_fields, f"/users/{rng.choice(rows)[0]}") for _ in range(1000)],
        "email": [_of(all_fields, _equal("email", rng.choice(rows)[1])) for _ in range(1000)],
        "identifier": [_of(all_fields, _equal("identifier", rng.choice(rows)[2])) for _ in range(1000)],
        "four schools": [_of(some, f"/users?limit={PAGE}&offset={rng.randrange(500)}") for _ in range(500)],
        "1.1": [
            _of(all_fields, f"/users?limit={PAGE}&offset={rng.randrange(total - PAGE)}", "1.1") for _ in range(500)
        ],
        "masks": [_of(masks, f"/users?limit={PAGE}&offset={rng.randrange(500)}") for _ in range(500)],
    }
    cpu = await _turns(port, meter, asked)
    walk, copy = await _walk(port, meter, connection, all_fields)
    await connection.close()
    page, single = "against a page", "against a single read"
    return [
        Result(f"delta of {PAGE} among 1 % changed", cpu["delta"], cpu["page"], "ms CPU", 1.5, 1.1, note=page),
        Result("filter by email", cpu["email"], cpu["single"], "ms CPU", 2, 1.2, note=single),
        Result("filter by identifier", cpu["identifier"], cpu["single"], "ms CPU", 2, 1.2, note=single),
        Result(f"page of {PAGE} users with masks", cpu["masks"], cpu["four schools"], "ms CPU", note="against none"),
        Result(f"page of {PAGE} users in 1.1", cpu["1.1"], cpu["page"], "ms CPU", note="against 1.2"),
        Result(f"walk over enrollments, {WALK:,} a page", walk, copy, "s CPU", 4, 2, note="against COPY of documents"),
    ]


async def _turns(port: int, meter: Meter, asked: dict[str, list[Path_]]) -> dict[str, float]:
    """CPU per request of each kind, in ms, the kinds taking turns so that whatever else runs hits all alike."""
    for paths in asked.values():
        await drive(port, paths[:100])
    samples: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(ROUNDS):
        for name, paths in asked.items():
            before = meter.seconds()
            await drive(port, paths)
            samples[name].append((meter.seconds() - before) / len(paths) * 1000)
    return {name: statistics.median(found) for name, found in samples.items()}


async def _walk(port: int, meter: Meter, connection: Any, grant: tuple[UUID, str]) -> tuple[float, float]:
    """CPU seconds of one app's walk over all enrollments, page after page, and of a COPY of their documents."""
    total = await connection.fetchval("SELECT count(*) FROM hub.enrollments")
    paths = [_of(grant, f"/enrollments?limit={WALK}&offset={offset}") for offset in range(0, total, WALK)]
    ours, floor = [], []
    for _ in range(3):
        before = meter.seconds()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path, token in paths:
            await ask(reader, writer, path, token)
        writer.close()
        ours.append(meter.seconds() - before)
        before = meter.seconds()
        await connection.copy_from_query("SELECT doc || doc_private FROM hub.enrollments", output=_nowhere)
        floor.append(meter.seconds() - before)
    return statistics.median(ours), statistics.median(floor)


async def _nowhere(_: bytes) -> None:
    """Takes what is copied."""


def _of(grant: tuple[UUID, str], question: str, version: Version = "1.2") -> Path_:
    district, token = grant
    return (DISTRICT + PATHS[version]["rostering"]).replace("{district}", str(district)) + question, token


def _delta(since: datetime) -> str:
    text = since.strftime("%Y-%m-%dT%H:%M:%S.") + f"{since.microsecond // 1000:03d}Z"
    return f"/users?limit={PAGE}&filter=" + quote(f"dateLastModified>'{text}'")


def _equal(name: str, value: str) -> str:
    return "/users?filter=" + quote(f"{name}='{value}'")
