"""One changed person from end to end: a worker's whole look at who changed, against a district in PostgreSQL."""

from __future__ import annotations

import asyncio
import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import numpy as np
import polars as pl
from pyroaring import BitMap

from hub.allocator import give_back_freed_memory
from hub.collector import settle
from hub.embedded import EmbeddedPostgres
from hub.ids import new_id
from hub.sandbox.rosterbench import RosterBench
from hub.scope.sets import pack
from hub.settings import role_passwords, role_url
from hub.store import districts, sources
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.sync import compared
from hub.sync.matching import match_once
from tests.benchmarks.identity.index import seconds_of
from transforms.matching.people import PERSON, normalised

_KEY = b"a key that only the benchmarks use"
#: What OneRoster has no place for.
_UNSAID = ("street", "postcode", "guardians", "begin", "end")
_WARM = 20
Told = Callable[[str], None]


@dataclass(frozen=True)
class Whole:
    """Milliseconds of each look by the clock, and of the processor on average, in PostgreSQL and here."""

    times: list[float]
    server: float
    ours: float
    size: str

    @property
    def told(self) -> str:
        """All of it in a line."""
        median, most = (float(np.quantile(self.times, share)) for share in (0.5, 0.99))
        return (
            f"median {median:.1f} ms, p99 {most:.1f} ms, most {max(self.times):.1f} ms; of the processor "
            f"{self.server:.1f} ms in PostgreSQL and {self.ours:.1f} ms here on average; the index has {self.size}"
        )


def whole(bench: RosterBench, told: Told, tries: int = 300) -> Whole:
    """A district of all people of a bench, whose index is up to date; some of them change, one by one."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.url(), passwords=role_passwords(_KEY)))
            settle()  # as hub.app does
            give_back_freed_memory()
            return asyncio.run(_whole(server.url(), bench, tries, told))


async def _whole(url: str, bench: RosterBench, tries: int, told: Told) -> Whole:
    db = await Database.open(
        role_url(url, "hub_worker", role_passwords(_KEY)["hub_worker"]), name="bench worker", largest=1
    )
    try:
        district, names = new_id(), bench.people["source"].unique().sort().to_list()
        ids = {name: new_id() for name in names}
        async with db.district(district) as tx:
            await districts.create(tx, "bench")
            for name in names:
                await sources.create(tx, ids[name], name=name, kind="oneroster_csv", config={})
        size = await _filled(url, district, ids, bench.people, told)
        rng = np.random.default_rng(5)
        chosen = bench.people["rid"].gather(rng.permutation(bench.people.height)[: tries + _WARM]).to_list()
        owner = await asyncpg.connect(url)
        async with db.district(district) as tx:
            backend = await tx.fetchval("SELECT pg_backend_pid()")
        times = []
        for at, rid in enumerate(chosen):
            await _changed(owner, district, rid)
            if at == _WARM:
                before, used = seconds_of(backend), time.process_time()
            start = time.perf_counter()
            assert await match_once(db), "somebody changed"
            times.append((time.perf_counter() - start) * 1000)
            if at % 100 == 0:
                told(f"{at} of {len(chosen)} looks")
        server, ours = seconds_of(backend) - before, time.process_time() - used
        await owner.close()
        return Whole(times[_WARM:], server / tries * 1000, ours / tries * 1000, size)
    finally:
        await db.close()


async def _changed(owner: asyncpg.Connection, district: UUID, rid: int) -> None:
    """A position that changed one user. What it says is what it said: the same is looked for."""
    await owner.execute("UPDATE hub.districts SET position = position + 1 WHERE district_id = $1", district)
    await owner.execute(
        "INSERT INTO hub.changes (district_id, position, entity, at, created, updated, deleted) "
        "SELECT $1, position, 'users', now(), $3, $2, $3 FROM hub.districts WHERE district_id = $1",
        district, pack(BitMap([rid])), pack(BitMap()),
    )  # fmt: skip


async def _filled(url: str, district: UUID, ids: dict[str, UUID], people: pl.DataFrame, told: Told) -> str:
    """Users, demographics, what sources say, and the index of all of them; how large the index is."""
    connection = await asyncpg.connect(url)
    try:
        for table, rows in _rows(district, ids, people).items():
            await _copied(connection, table, rows)
            told(f"{table}: {rows.height:,} rows")
        seen = people.with_columns(
            *(pl.lit(None, PERSON[name]).alias(name) for name in _UNSAID), pl.lit(value=True).alias("active")
        )
        index = compared.indexed(normalised(seen)).sort("hash", "kind", "rid")
        rows = index.select(pl.lit(str(district)).alias("district_id"), "hash", "kind", "rid")
        for part in rows.iter_slices(1_000_000):
            await _copied(connection, "match_keys", part)
            told(f"match_keys: {part.height:,} rows more of {rows.height:,}")
        await connection.execute(
            "UPDATE hub.districts SET position = 1, matched_to = 1 WHERE district_id = $1", district
        )
        await connection.execute("VACUUM ANALYZE")
        size: str = await connection.fetchval("SELECT pg_size_pretty(pg_total_relation_size('hub.match_keys'))")
        return f"{rows.height:,} keys, {size}"
    finally:
        await connection.close()


async def _copied(connection: asyncpg.Connection, table: str, rows: pl.DataFrame) -> None:
    text = io.BytesIO()
    rows.write_csv(text, include_header=False)
    text.seek(0)
    await connection.copy_to_table(table, source=text, columns=rows.columns, schema_name="hub", format="csv")


def _rows(district: UUID, ids: dict[str, UUID], people: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Tables and their rows. A person who left is an active user here: the hub compares nobody else."""
    role = pl.struct(roleType=pl.lit("primary"), role=pl.col("kind"), org=pl.struct(sourcedId=pl.lit(str(new_id()))))
    user = pl.struct(
        enabledUser=pl.lit("true"), username="u" + pl.col("rid").cast(pl.String), givenName="given",
        familyName="family", middleName="middle", grades=pl.concat_list("grade").list.drop_nulls(),
        roles=pl.concat_list(role), userIds=pl.col("ids").fill_null([]),
    )  # fmt: skip
    both = {
        "district_id": pl.lit(str(district)), "rid": "rid", "active": pl.lit("true"),
        "date_last_modified": pl.lit("now"),
    }  # fmt: skip
    return {
        "users": people.select(
            **both, sourced_id=_sourced_ids(1), doc=_members(user),
            doc_private=_members(pl.struct(email="email", phone="phone")),
            roles_org_rids="{" + pl.col("schools").list.first().cast(pl.String).fill_null("") + "}",
        ),
        "demographics": people.select(
            **both, sourced_id=_sourced_ids(2), doc=pl.lit(""),
            doc_private=_members(pl.struct(birthDate=pl.col("birth_date").cast(pl.String), sex="sex")),
        ),
        "source_records": people.select(
            district_id=both["district_id"], rid="rid", key=pl.col("rid").cast(pl.String),
            source_id=pl.col("source").replace_strict({name: str(source) for name, source in ids.items()}),
            entity=pl.lit("users"), hash=pl.lit(0), active=pl.lit("true"),
        ),
    }  # fmt: skip


def _members(values: pl.Expr) -> pl.Expr:
    """Members of an object as documents have them: each behind a comma."""
    return "," + values.struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")


def _sourced_ids(kind: int) -> pl.Expr:
    return pl.format("00000000-0000-4000-800{}-{}", pl.lit(kind), pl.col("rid").cast(pl.String).str.zfill(12))
