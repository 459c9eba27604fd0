"""``hub keys``: the master key and the data keys that it wraps, and how they are replaced while the hub runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import click

if TYPE_CHECKING:
    from hub.crypto import Keys
    from hub.rekeying import Rotated, Status
    from hub.store.database import Database


@click.group()
def keys() -> None:
    """Replace the master key and data keys while the hub runs."""


@keys.command()
def status() -> None:
    """Say for each district which of its keys and values need a former master key or an older data key still."""
    for one in asyncio.run(_status()):
        click.echo(
            f"{_name(one.district_id)}: {one.data_keys} data keys, at most {one.encryptions:,} encryptions with the"
            f" newest; {one.unwrapped} keys that the present master key does not wrap, {one.doubly} that another one"
            f" wraps too; {one.values:,} values, {one.older:,} of them not sealed with the newest data key,"
            f" {one.derived:,} with a master key itself"
        )


@keys.command()
@click.option("--data-keys", is_flag=True, help="Give each district a new data key first.")
def rotate(*, data_keys: bool) -> None:
    """Wrap all data keys under HUB_MASTER_KEY too, and seal anew what is not sealed with the newest of them.

    The hub goes on meanwhile. What was stopped is begun again, and goes on with what is left.
    """
    for district_id, done in asyncio.run(_rotate(data_keys=data_keys)):
        click.echo(
            f"{_name(district_id)}: {done.wrapped} keys wrapped, {done.made} made, {done.sealed:,} values sealed anew"
        )


@keys.command()
def forget() -> None:
    """Forget what former master keys wrap; refused as long as anything needs one. HUB_MASTER_KEY_FORMER may go then."""
    click.echo(f"{asyncio.run(_forget())} keys are wrapped under the present master key alone now")


def _name(district_id: UUID) -> str:
    return str(district_id) if district_id.int else "the hub itself"


@asynccontextmanager
async def _at_hand() -> AsyncIterator[tuple[Database, Keys]]:
    from hub.app import services
    from hub.crypto import load_key
    from hub.settings import WORKER_ROLE, load
    from hub.store.database import Database

    settings = load()
    with services(settings) as running:
        db = await Database.open(running.database_urls[WORKER_ROLE], name="hub keys")
        try:
            yield db, await asyncio.to_thread(load_key, settings)
        finally:
            await db.close()


async def _status() -> list[Status]:
    from hub import rekeying

    async with _at_hand() as (db, held):
        return [await rekeying.status(db, held, place) for place in await rekeying.places(db)]


async def _rotate(*, data_keys: bool) -> list[tuple[UUID, Rotated]]:
    from hub import rekeying

    async with _at_hand() as (db, held):
        return [
            (place, await rekeying.rotate(db, held, place, new_data_key=data_keys))
            for place in await rekeying.places(db)
        ]


async def _forget() -> int:
    from hub import rekeying

    async with _at_hand() as (db, held):
        found = [await rekeying.status(db, held, place) for place in await rekeying.places(db)]
        return await rekeying.forget(db, held, found)
