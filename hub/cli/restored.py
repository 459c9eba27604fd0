"""``hub restored``: what others know more of than a database that was restored from a backup."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hub.settings import Settings


@click.command()
def restored() -> None:
    """Tell every receiver of webhooks to read everything again, after a backup was restored.

    Receivers know of steps that the backup does not have, and would take the next ones for old. Do it before `serve`
    and `worker` run again; doing it twice does no harm.
    """
    from hub.settings import load

    click.echo(f"{asyncio.run(_restored(load())):,} subscriptions will be told to read everything again")


async def _restored(settings: Settings) -> int:
    from hub.app import services
    from hub.settings import WORKER_ROLE
    from hub.store import districts, subscriptions
    from hub.store.database import Database

    told = 0
    with services(settings) as running:
        db = await Database.open(running.database_urls[WORKER_ROLE], name="hub restored")
        try:
            async with db.shared() as tx:
                rows = await districts.listing(tx, limit=1_000_000)
            for row in rows:
                async with db.district(row.district_id) as tx:
                    told += await subscriptions.set_back(tx)
        finally:
            await db.close()
    return told
