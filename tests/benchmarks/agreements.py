"""What an agreement of two districts costs: tokens, the first look at both ends, and the look after a small change."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import tempfile
import time
import zipfile
from pathlib import Path
from uuid import UUID

import polars as pl

from hub.crypto import column_key
from hub.embedded import EmbeddedPostgres
from hub.ids import new_id
from hub.sandbox import DistrictPlan, write_sandbox
from hub.settings import role_passwords, role_url
from hub.store import districts, sources
from hub.store.agreements import Terms
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.sync import agreements as acts
from hub.sync import compared
from hub.sync.tokenising import tokenise_once
from tests.benchmarks.loading import KEY, carry_out
from tests.benchmarks.result import Result
from transforms.matching.people import normalised
from transforms.matching.tokens import texts, tokens

CHANGED = 100
TERMS = Terms(["student"], ["StateID"], 365, 100, None)
_KEYS = column_key(KEY)


def run(students: int) -> list[Result]:
    """Two districts of as many students each, with other people, and an agreement of them."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        for seed in (1, 2):
            write_sandbox(folder / str(seed), DistrictPlan(students=students, seed=seed))
        _change(folder / "1" / "district.zip", folder / "changed.zip")
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.url(), passwords=role_passwords(KEY)))
            return asyncio.run(_measure(server.url(), folder, students))


async def _measure(url: str, folder: Path, students: int) -> list[Result]:
    worker = await Database.open(role_url(url, "hub_worker", role_passwords(KEY)["hub_worker"]), name="bench worker")
    service = await Database.open(role_url(url, "hub_service", role_passwords(KEY)["hub_service"]), name="bench")
    try:
        old, source = await _loaded(worker, folder / "1" / "district.zip")
        new, _ = await _loaded(worker, folder / "2" / "district.zip")
        made = await _pure(worker, old)
        async with service.district(old) as tx:
            which = (await acts.propose(tx, new, TERMS, None)).agreement_id
        key = await acts.new_key(service, _KEYS, which)
        async with service.district(new) as tx:
            await acts.accept(tx, which, None, key)
        both = await _looked(worker)
        await carry_out(worker, old, source, folder / "changed.zip")
        few = await _looked(worker)
        size = await _bytes(service, old)
    finally:
        await worker.close()
        await service.close()
    return [
        made,
        Result("agreement: first look, both ends", both, None, "s", note=f"{students:,} students each; {size}"),
        Result(f"agreement: look after {CHANGED} changed people", few, None, "s"),
    ]


async def _pure(db: Database, district: UUID) -> Result:
    """Tokens of everybody; the floor is Python's own HMAC of the same texts."""
    async with db.district(district, readonly=True) as tx:
        people = normalised(await compared.people(tx, None))
    pupils = people.filter(pl.col("kind") == "student")["rid"].to_list()
    said = texts(people, TERMS.identifiers, pupils)["text"].to_list()
    started = time.process_time()
    made = tokens(people, KEY[:32], b"", identifiers=TERMS.identifiers, rids=pupils)
    ours = time.process_time() - started
    started = time.process_time()
    for text in said:
        hmac.digest(KEY[:32], text.encode(), hashlib.sha256)
    floor = time.process_time() - started
    note = f"{made.height:,} tokens; {len(pupils) / ours:,.0f} students a second of the processor"
    return Result("agreement: tokens of everybody", ours, floor, "s", note=note)


async def _looked(db: Database) -> float:
    started = time.perf_counter()
    while await tokenise_once(db, _KEYS):
        pass
    return time.perf_counter() - started


async def _bytes(db: Database, district: UUID) -> str:
    async with db.district(district) as tx:
        count = await tx.fetchval("SELECT count(*) FROM agreement_tokens")
        size = await tx.fetchval("SELECT pg_total_relation_size('agreement_tokens')")
    return f"{count:,} tokens of one end, {size / 2 / max(count, 1):.0f} bytes each with indexes"


async def _loaded(db: Database, package: Path) -> tuple[UUID, UUID]:
    district, source = new_id(), new_id()
    async with db.district(district) as tx:
        await districts.create(tx, "bench")
        await sources.create(tx, source, name="SIS", kind="oneroster_csv", config={})
    await carry_out(db, district, source, package)
    return district, source


def _change(package: Path, to: Path) -> None:
    """The package with other middle names of some people."""
    with zipfile.ZipFile(package) as archive, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as out:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "users.csv":
                users = pl.read_csv(data, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)
                some = pl.int_range(pl.len()) % max(1, users.height // CHANGED) == 0
                middle = pl.when(some).then(pl.lit("Quentin")).otherwise("middleName").alias("middleName")
                file = io.BytesIO()
                users.with_columns(middle).write_csv(file)
                data = file.getvalue()
            out.writestr(name, data)
