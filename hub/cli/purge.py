"""``hub purge``: removes what was kept long enough, or says what that would be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import click

if TYPE_CHECKING:
    from hub.settings import Settings
    from hub.sync.retention import Purged


@click.command()
@click.option("--district", type=click.UUID, help="Only this district; without it all of them.")
@click.option("--dry-run", is_flag=True, help="Say what would go, remove nothing.")
def purge(district: UUID | None, *, dry_run: bool) -> None:
    """Remove what was kept long enough, at the database itself. Workers do the same once a day.

    The days of each kind of data are HUB_HISTORY_DAYS, HUB_ENDED_DAYS, HUB_ISSUE_DAYS, HUB_UPLOAD_DAYS,
    HUB_FEED_DAYS and HUB_STEP_DAYS, or what a district has set for itself.
    """
    from hub.settings import load

    for district_id, purged in asyncio.run(_purge(load(), district, dry_run=dry_run)):
        records = ", ".join(f"{count:,} {entity}" for entity, count in purged.records.items())
        click.echo(
            f"{district_id}: {purged.history:,} images of records, {purged.issues:,} findings, "
            f"{purged.uploads:,} uploads, {purged.traces:,} traces, feeds compacted: {purged.feeds:,}, "
            f"ended records: {records or 'none'}{' (nothing was removed)' * dry_run}"
        )


async def _purge(settings: Settings, district: UUID | None, *, dry_run: bool) -> list[tuple[UUID, Purged]]:
    from hub.app import services
    from hub.clock import SystemClock
    from hub.settings import WORKER_ROLE
    from hub.store import districts
    from hub.store.database import Database
    from hub.sync.retention import Retention, purge

    found = []
    with services(settings) as running:
        db = await Database.open(running.database_urls[WORKER_ROLE], name="hub purge")
        try:
            async with db.shared() as tx:
                rows = [await districts.get(tx, district)] if district else await districts.listing(tx, limit=1_000_000)
            for row in rows:
                days = Retention.of(settings)
                purged = await purge(db, row.district_id, SystemClock().now(), days, dry_run=dry_run)
                found.append((row.district_id, purged))
        finally:
            await db.close()
    return found
