"""One changed person against an index of many in PostgreSQL: what the database takes of it."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import numpy as np
import polars as pl

from hub.embedded import EmbeddedPostgres
from hub.ids import new_id
from hub.sandbox.rosterbench import RosterBench
from hub.settings import role_passwords, role_url
from hub.store import districts, matching, matching_people, sources
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.sync import compared
from transforms.matching.people import KINDS, candidates, keys, normalised

_KEY = b"a key that only the benchmarks use"
_BIGGEST = max(kind.cap for kind in KINDS)
#: The text of a user and of demographics; what is in it does not matter here, but how long it is.
_DOC = (
    ',"enabledUser":"true","username":"somebody.else","givenName":"Somebody","familyName":"Anybody-Else","roles":[{'
    '"roleType":"primary","role":"student","org":{"href":"x","sourcedId":"01a21d09-cc61-7003-8166-ab1c81894e7a",'
    '"type":"org"}}],"grades":["07"]'
)
_PRIVATE = ',"email":"somebody.else@district.example","phone":"+15550100","identifier":"4711"'


@dataclass(frozen=True)
class Looked:
    """Milliseconds of each try, of all statements (``all``) and of some; how many people one reads, and the index.

    ``server`` and ``ours``: milliseconds of the processor, on average, which other work on the machine does not touch.
    """

    times: pl.DataFrame
    server: float
    ours: float
    others: float
    keys: int
    size: str

    @property
    def told(self) -> str:
        """Median and 99th percentile of each."""
        parts = [
            f"{name} {self.times[name].median():.1f}, {self.times[name].quantile(0.99):.1f}"
            for name in self.times.columns
        ]
        used = f"of the processor {self.server:.1f} in PostgreSQL and {self.ours:.1f} here on average"
        return f"{'; '.join(parts)}; {used}. {self.keys:,} keys, {self.size}; {self.others:.1f} people are read"


def looked(bench: RosterBench, tries: int = 300) -> Looked:
    """An index of all people of a bench in a server of its own, asked for some of them one by one."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.url(), passwords=role_passwords(_KEY)))
            return asyncio.run(_looked(server.url(), bench, tries))


async def _looked(url: str, bench: RosterBench, tries: int) -> Looked:
    db = await Database.open(
        role_url(url, "hub_worker", role_passwords(_KEY)["hub_worker"]), name="bench worker", largest=1
    )
    try:
        district, source = new_id(), new_id()
        async with db.district(district) as tx:
            await districts.create(tx, "bench")
            await sources.create(tx, source, name="SIS", kind="oneroster_csv", config={})
        people = normalised(bench.people)
        rows = compared.indexed(people)
        size = await _filled(url, district, source, bench.people["rid"].max(), rows)  # type: ignore[arg-type]
        rng = np.random.default_rng(5)
        chosen = people["rid"].gather(rng.permutation(people.height)[:tries]).to_list()
        made = []
        for rid in chosen:
            own = normalised(bench.people.filter(pl.col("rid") == rid))
            made.append((rid, keys(own), compared.valued(own)))
        async with db.district(district) as tx:
            backend = await tx.fetchval("SELECT pg_backend_pid()")
        before, used = seconds_of(backend), time.process_time()
        looks = [await _one(db, district, *each) for each in made]
        processor = [seconds_of(backend) - before, time.process_time() - used]
        times = pl.DataFrame([took for took, _ in looks])
        each = [seconds / len(looks) * 1000 for seconds in processor]
        return Looked(times, each[0], each[1], sum(count for _, count in looks) / len(looks), rows.height, size)
    finally:
        await db.close()


async def _one(
    db: Database, district: UUID, rid: int, own: pl.DataFrame, values: pl.DataFrame
) -> tuple[dict[str, float], int]:  # fmt: skip
    """Milliseconds of one look, and how many people it reads. What is done here between statements is left out."""
    hashes, of_values = own["hash"].unique().to_list(), values["hash"].unique().to_list()
    start = time.perf_counter()
    async with db.district(district, readonly=True) as tx:
        begun = time.perf_counter()
        found = await matching.sharing(tx, hashes, _BIGGEST)
        shared = time.perf_counter()
        pairs = candidates(own, found.filter(pl.col("rid") != rid).with_columns(pl.col("kind").cast(pl.UInt8)))
        theirs = pl.concat([pairs["left"], pairs["right"], pl.Series([rid], dtype=pl.UInt32)]).unique().to_list()
        ready = time.perf_counter()
        await matching_people.some(tx, theirs)
        read = time.perf_counter()
        await matching.counts(tx, of_values)
        counted = time.perf_counter()
    spans = {
        "all": time.perf_counter() - start - (ready - shared), "keys": shared - begun, "people": read - ready,
        "counts": counted - read,
    }  # fmt: skip
    return {name: seconds * 1000 for name, seconds in spans.items()}, len(theirs)


def seconds_of(pid: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _filled(url: str, district: UUID, source: UUID, last: int, keys: pl.DataFrame) -> str:
    """Users up to a rid and the index of them; how large the index is."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET search_path TO hub")
        for table in ("users", "demographics"):
            await connection.execute(
                f"INSERT INTO {table} (district_id, rid, sourced_id, active, date_last_modified, doc, doc_private) "
                "SELECT $1, n, gen_random_uuid(), true, now(), $3, $4 FROM generate_series(0, $2::integer) n",
                district, last, _DOC if table == "users" else "", _PRIVATE,
            )  # fmt: skip
        await connection.execute(
            "INSERT INTO source_records (district_id, source_id, entity, key, rid, hash, active) "
            "SELECT $1, $2, 'users', n::text, n, 0, true FROM generate_series(0, $3::integer) n",
            district, source, last,
        )  # fmt: skip
        ordered = keys.sort("hash", "kind", "rid").select(
            pl.lit(str(district)).alias("district_id"), "hash", "kind", "rid"
        )
        for part in ordered.iter_slices(1_000_000):
            text = io.BytesIO()
            part.write_csv(text, include_header=False)
            text.seek(0)
            await connection.copy_to_table(
                "match_keys", source=text, columns=part.columns, schema_name="hub", format="csv"
            )
        await connection.execute("ANALYZE")
        size: str = await connection.fetchval("SELECT pg_size_pretty(pg_total_relation_size('match_keys'))")
        return size
    finally:
        await connection.close()
