"""``hub status`` and ``hub cancel``: how a district's sources are doing, and ending a run."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import answer, asking, reaching

#: Exit code when a source is late or in trouble.
TROUBLE = 3
_HOUR, _DAY = 3600, 24 * 3600


@click.command()
@reaching
@click.pass_context
def status(ctx: click.Context, *, district: UUID, url: str, token: str) -> None:
    """Say how old the data of each source is, and what is wrong.

    Exits 0 when all is well, 3 when a source is late, its last run failed or is held.
    """
    found = asyncio.run(_call(url, token, "GET", f"/districts/{district}/freshness"))
    for source in found["items"]:
        _show(source)
    if not found["items"]:
        click.echo("no source; make one: hub source create")
    ctx.exit(TROUBLE if any(s["late"] or s["troubles"] for s in found["items"]) else 0)


@click.command()
@click.argument("run", type=click.UUID)
@reaching
def cancel(*, run: UUID, district: UUID, url: str, token: str) -> None:
    """End the run RUN, which waits or is under way. Nothing of it is applied."""
    done = asyncio.run(_call(url, token, "POST", f"/districts/{district}/runs/{run}/cancel"))
    click.echo(f"run {done['run_id']}: {done['state']}")


def _show(source: dict[str, Any]) -> None:
    age = source["age_seconds"]
    words = "never synced" if age is None else f"{_ago(age)} old, {source['rows']:,} rows"
    marks = [mark for mark, is_so in (("paused", source["state"] == "paused"), ("LATE", source["late"])) if is_so]
    click.echo(f"{source['source_id']}  {source['name']}: {words}{''.join(f', {mark}' for mark in marks)}")
    if source["expected_at"]:
        click.echo(f"  next: {source['expected_at']}")
    for trouble in source["troubles"]:
        times = f", {trouble['times']} times" if trouble["times"] > 1 else ""
        run = f", run {trouble['run_id']}" if trouble["run_id"] else ""
        click.echo(f"  {trouble['kind']} since {trouble['since']}{times}: {trouble['code']}{run}")


def _ago(seconds: float) -> str:
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


async def _call(url: str, token: str, method: str, path: str) -> dict[str, Any]:
    url = url.rstrip("/")
    async with asking(url, token) as http:
        return await answer(await http.request(method, url + path))
