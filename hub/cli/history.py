"""``hub history`` and ``hub undo``: what became of a record, and taking back what a run did."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import click
import orjson

from hub.cli.admin import answer, asking, reaching
from hub.cli.following import carry_out

_PAGE = 100


@click.command()
@click.argument("record", type=click.UUID)
@click.option("--entity", help="Needed for demographics alone, which have the ids of their users.")
@reaching
def history(*, record: UUID, entity: str | None, district: UUID, url: str, token: str) -> None:
    """Say what became of the record with the sourcedId RECORD, newest first, and who did it.

    Each line names a field with its old and its new value. The audit log says that somebody asked.
    """
    address = f"{url.rstrip('/')}/districts/{district}/records/{record}/history"
    for version in asyncio.run(_versions(url, token, address, {"entity": entity} if entity else {})):
        by = version["by"] or {"kind": "not kept any more"}
        names = ("run_id", "source_id", "app_id", "requested_by", "undone")
        who = ", ".join(f"{name.removesuffix('_id')} {by[name]}" for name in names if by.get(name))
        click.echo(f"{version['at']}  {version['status']}  {by['kind']}{f': {who}' if who else ''}")
        for change in version["changed"]:
            click.echo(f"  {change['field']}: {_text(change['old'])} -> {_text(change['new'])}")


def _text(value: Any) -> str:
    return "nothing" if value is None else orjson.dumps(value).decode()


async def _versions(url: str, token: str, address: str, which: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: str | None = ""
    async with asking(url, token) as http:
        while after is not None:
            params = {**which, "limit": str(_PAGE), **({"after": after} if after else {})}
            page = await answer(await http.get(address, params=params))
            found += page["items"]
            after = page["next"]
    return found


@click.command()
@click.argument("run", type=click.UUID)
@click.option("--dry-run", is_flag=True, help="Compute and report everything, change nothing.")
@reaching
@click.pass_context
def undo(ctx: click.Context, *, run: UUID, dry_run: bool, district: UUID, url: str, token: str) -> None:
    """Take back what the applied run RUN did, as far as nothing changed it since, and follow that to its end.

    Exits 0 when it was applied, unchanged or previewed, 1 when it failed, 2 when the hub cannot be reached or refuses
    the call.
    """
    carry_out(ctx, url, token, district, "POST", f"/runs/{run}/undo", {"dry_run": dry_run})
