"""``hub token``: admin tokens made at the database, for the first one and for when all are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

import click

if TYPE_CHECKING:
    from hub.store.database import Transaction

ROLES = ("operator", "district", "app")
DEFAULT_DAYS, MOST_DAYS = 90, 365
Result = TypeVar("Result")


@click.group()
def token() -> None:
    """Make, list and revoke tokens of the admin API, at the database itself."""


@token.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@click.option("--district", type=click.UUID, help="The district of a district's token.")
@click.option("--app", type=click.UUID, help="The app of an app's token.")
@click.option("--name", default="made on the command line", show_default=True, help="For people.")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=DEFAULT_DAYS, show_default=True, help="Its life.")
def create(role: str, district: UUID | None, app: UUID | None, name: str, days: int) -> None:
    """Make a token and print it; it cannot be shown again."""
    from hub.clock import SystemClock
    from hub.ids import new_id
    from hub.store import admin_tokens, apps, audit, districts

    if (role == "district") != (district is not None) or (role == "app") != (app is not None):
        raise click.UsageError("A district's token needs --district, an app's token --app, and others neither.")

    async def make(tx: Transaction) -> str:
        if district is not None:
            await districts.get(tx, district)
        if app is not None:
            await apps.get(tx, app)
        row, made = await admin_tokens.create(
            tx, new_id(), name=name, role=role, district_id=district, app_id=app,
            expires_at=SystemClock().now() + timedelta(days=days),
        )  # fmt: skip
        details = {"role": role, "days": days}
        await audit.add(tx, actor="cli", action="token.create", object_=f"token/{row.token_id}", details=details)
        return made

    click.echo(_in_database(make))


@token.command("list")
def list_() -> None:
    """List all tokens, spent ones too. The tokens themselves are not stored."""
    from hub.store import admin_tokens

    async def read(tx: Transaction) -> list[admin_tokens.AdminToken]:
        return await admin_tokens.listing(tx, limit=10_000)

    for row in _in_database(read):
        scope = row.scope_district or row.scope_app or ""
        ends = f"revoked {row.revoked_at:%Y-%m-%d}" if row.revoked_at else f"until {row.expires_at:%Y-%m-%d}"
        click.echo(f"{row.token_id}  {row.role:8}  {ends:18}  {scope}  {row.name}")


@token.command()
@click.argument("token_id", type=click.UUID)
def revoke(token_id: UUID) -> None:
    """End the token with the id TOKEN_ID at once."""
    from hub.clock import SystemClock
    from hub.store import admin_tokens, audit

    async def end(tx: Transaction) -> None:
        await admin_tokens.revoke(tx, token_id, SystemClock().now())
        await audit.add(tx, actor="cli", action="token.revoke", object_=f"token/{token_id}", details={})

    _in_database(end)
    click.echo("revoked")


def _in_database(act: Callable[[Transaction], Awaitable[Result]]) -> Result:
    """Runs ``act`` in a transaction under the hub's own log, as the API's login."""
    from hub.cli.service import owner
    from hub.settings import SERVICE_ROLE, database_urls, load
    from hub.store import audit
    from hub.store.database import Database
    from hub.store.migrate import check

    settings = load()

    async def run(url: str) -> Result:
        await check(url)
        db = await Database.open(url, name="hub token", largest=1)
        try:
            async with db.district(audit.HUB) as tx:
                return await act(tx)
        finally:
            await db.close()

    with owner(settings) as owner_url:
        return asyncio.run(run(database_urls(settings, owner_url)[SERVICE_ROLE]))
