"""``hub history`` and ``hub undo``: what became of a record, and taking back what a run did."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import click
import orjson

from hub.cli.admin import answer, asking, reaching
from hub.cli.sync import EXITS, FAILED, follow, show

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
    root = f"{url.rstrip('/')}/districts/{district}/runs"
    done, report = asyncio.run(_undone(url, token, root, run, dry_run=dry_run))
    show(done, report, f"{root}/{done['run_id']}")
    ctx.exit(EXITS.get(done["state"], FAILED))


async def _undone(
    url: str, token: str, root: str, run: UUID, *, dry_run: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        async with asking(url, token) as http:
            queued = await answer(await http.post(f"{root}/{run}/undo", json={"dry_run": dry_run}))
            address = f"{root}/{queued['run_id']}"
            done = await follow(http, address, queued, bars)
            return done, (await answer(await http.get(f"{address}/report")))["report"] or {}
