"""Re-syncs of a district whose source has a transform, against the same re-syncs without one.

Each run compares every row: the package comes by turns in one order and in the other. The transform has a value map, an
expression and a filter on the largest files, and gives the same rows each time, so that only the shaping is paid for.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from hub.embedded import EmbeddedPostgres
from hub.ids import new_id
from hub.sandbox import DistrictPlan, write_sandbox
from hub.settings import role_passwords, role_url
from hub.store import districts, sources, transforms
from hub.store.database import Database
from hub.store.migrate import migrate
from tests.benchmarks.loading import KEY, carry_out, extracted, reorder
from tests.benchmarks.result import Result

_ROUNDS = 4
TRANSFORM: dict[str, Any] = {
    "files": {
        "enrollments": {
            "values": {"role": {"STU": "student", "TCH": "teacher"}},
            "set": {"beginDate": "CASE WHEN beginDate LIKE '0000%' THEN NULL ELSE beginDate END"},
            "where": "role <> 'observer' AND sourcedId NOT LIKE 'test-%'",
        },
        "users": {
            "values": {"grades": {"Kinder": "KG", "Pre": "PK"}},
            "set": {"email": "LOWER(email)", "identifier": "COALESCE(identifier, NULLIF(username, 'none'))"},
            "where": "username NOT LIKE 'test.%'",
        },
        "demographics": {"defaults": {"sex": "unspecified"}},
    }
}


def run(students: int) -> list[Result]:
    """Re-syncs with a transform against re-syncs without."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1))
        extracted(folder)
        reorder(folder)
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.url(), passwords=role_passwords(KEY)))
            plain, shaped = asyncio.run(_measured(server.url(), folder))
    return [Result("re-sync through a transform", shaped, plain, "s", 1.5, 1.2, note="all rows compared, none written")]


async def _measured(url: str, folder: Path) -> tuple[float, float]:
    """Medians in seconds of re-syncs of two districts, one without and one with the transform, by turns."""
    passwords = role_passwords(KEY)
    worker = await Database.open(role_url(url, "hub_worker", passwords["hub_worker"]), name="bench")
    service = await Database.open(role_url(url, "hub_service", passwords["hub_service"]), name="bench")
    pairs = [await _district(service, None), await _district(service, TRANSFORM)]
    for district, source in pairs:
        await carry_out(worker, district, source, folder / "district.zip")
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(_ROUNDS):
        package = folder / ("district.zip" if turn % 2 else "reordered.zip")
        for (district, source), found in zip(pairs, times, strict=True):
            started = time.perf_counter()
            done = await carry_out(worker, district, source, package)
            found.append(time.perf_counter() - started)
            if done.state != "unchanged":
                raise RuntimeError(f"a run that should change nothing ended as {done.state}")
    await worker.close()
    await service.close()
    return statistics.median(times[0]), statistics.median(times[1])


async def _district(db: Database, definition: dict[str, Any] | None) -> tuple[UUID, UUID]:
    district, source = new_id(), new_id()
    async with db.district(district) as tx:
        await districts.create(tx, "bench")
        await sources.create(tx, source, name="bench", kind="oneroster_csv", config={})
        if definition is not None:
            await transforms.add(tx, source, definition, note="", created_by="bench")
    return district, source
