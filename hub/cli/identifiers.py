"""``hub identifiers``: which records the ids are of that an app's developers tell."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import ADDRESS, answer, asking, of_district, with_token

NOT_ALL = 1


@click.command()
@click.argument("identifier", nargs=-1, required=True)
@of_district
@click.option("--grant", type=click.UUID, required=True, help="The id of the app's grant.")
@click.option("--url", envvar="HUB_ADMIN_URL", default=ADDRESS, show_default=True,
              help="Address of the admin API (HUB_ADMIN_URL).")  # fmt: skip
@with_token
@click.pass_context
def identifiers(
    ctx: click.Context, *, identifier: tuple[str, ...], district: UUID, grant: UUID, url: str, token: str
) -> None:
    """Say which record each IDENTIFIER is of: an id that an app was shown or chose, or one of the hub's.

    Prints the id, the kind of record, the hub's own id and the one that the app is shown. The audit log says that
    somebody asked. Exits 1 when an id is no record's, 2 when the hub cannot be reached or refuses the call.
    """
    address = f"{url.rstrip('/')}/districts/{district}/grants/{grant}/identifiers"
    found = asyncio.run(_identified(url, address, token, identifier))
    for one in found:
        click.echo(f"{one['given']}  {one['entity']}  {one['sourced_id']}  {one['shown_id']}")
    unknown = [given for given in identifier if given not in {one["given"] for one in found}]
    for given in unknown:
        click.echo(f"{given}  no record of this district")
    ctx.exit(NOT_ALL if unknown else 0)


async def _identified(url: str, address: str, token: str, given: tuple[str, ...]) -> list[dict[str, Any]]:
    async with asking(url, token) as http:
        body = await answer(await http.post(address, json={"identifiers": list(given)}))
    items: list[dict[str, Any]] = body["items"]
    return items
