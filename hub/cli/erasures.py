"""``hub erasures``: the ledger of erasures, kept outside the backups, and erasing again after one was restored."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import orjson

if TYPE_CHECKING:
    from hub.store.database import Database

EACH = 1_000


@click.group()
def erasures() -> None:
    """Keep a ledger of erased people outside the backups, and erase them again after one was restored."""


@erasures.command()
@click.argument("ledger", type=click.Path(dir_okay=False, path_type=Path))
def export(ledger: Path) -> None:
    """Write all erasures of the hub to the file LEDGER, one a line: random ids and digests, no personal data.

    Do it after each erasure, to a place that no backup of the database overwrites.
    """
    lines = asyncio.run(_exported())
    partial = ledger.with_name(f".{ledger.name}.partial")
    partial.write_bytes(b"".join(orjson.dumps(line, default=str) + b"\n" for line in lines))
    partial.replace(ledger)
    click.echo(f"{len(lines):,} erasures written to {ledger}")


@erasures.command()
@click.argument("ledger", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def replay(ledger: Path) -> None:
    """Queue the erasure of everybody in LEDGER who is back in the database.

    Do it after a backup was restored, with `serve` not running yet: then run `worker`, look here again until nobody is
    left, and only then run `serve`.
    """
    lines = [orjson.loads(line) for line in ledger.read_bytes().splitlines()]
    known, queued = asyncio.run(_replayed(lines))
    click.echo(f"{known:,} erasures noted again, {queued:,} people to be erased again")


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    from hub.app import services
    from hub.settings import WORKER_ROLE, load
    from hub.store.database import Database

    with services(load()) as running:
        db = await Database.open(running.database_urls[WORKER_ROLE], name="hub erasures")
        try:
            yield db
        finally:
            await db.close()


async def _exported() -> list[dict[str, Any]]:
    from hub.store import districts, erasures

    found = []
    async with _database() as db:
        async with db.shared() as tx:
            every = await districts.listing(tx, limit=1_000_000)
        for district in every:
            after: UUID | None = None
            async with db.district(district.district_id, readonly=True) as tx:
                while rows := await erasures.listing(tx, after=after, limit=EACH):
                    for row in rows:
                        keys = [
                            (s, base64.b64encode(d).decode()) for s, d in await erasures.keys_of(tx, row.erasure_id)
                        ]
                        found.append({"district": district.district_id, "keys": keys, "erasure": row})
                    after = rows[-1].erasure_id
    return found


async def _replayed(lines: list[dict[str, Any]]) -> tuple[int, int]:
    from hub.errors import Code, HubError
    from hub.store import districts
    from hub.sync import erasing

    known = queued = 0
    async with _database() as db:
        for line in lines:
            async with db.district(UUID(line["district"])) as tx:
                try:
                    await districts.lock(tx)
                except HubError as error:
                    if error.code is not Code.NOT_FOUND:
                        raise
                    continue  # the backup is older than the district
                keys = [(UUID(source), base64.b64decode(digest)) for source, digest in line["keys"]]
                new, again = await erasing.replay(tx, line["erasure"], keys)
            known += new
            queued += again
    return known, queued
