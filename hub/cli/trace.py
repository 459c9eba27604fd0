"""``hub source trace``: what a source's system was asked and answered, as shapes, for whoever looks into a problem."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import answer, asking, call, of_source


@click.group()
def trace() -> None:
    """Record what a source's system is asked and answers, without anything about anybody (docs/sources.md)."""


def _path(district: UUID, source: UUID, rest: str = "") -> str:
    return f"/districts/{district}/sources/{source}/traces{rest}"


def _ask(method: str, url: str, token: str, path: str, **options: Any) -> Any:
    return asyncio.run(call(url, token, method, path, **options))


@trace.command()
@of_source
@click.option("--test", is_flag=True, help="The next `hub source test` in place of the next pull.")
def record(*, district: UUID, url: str, token: str, source_id: UUID, test: bool) -> None:
    """Have the next pull of the source recorded."""
    body = {"what": "test" if test else "pull"}
    made = _ask("POST", url, token, _path(district, source_id), json=body)
    click.echo(f"trace {made['trace_id']}: the next {made['what']} is recorded")


@trace.command("list")
@of_source
def list_(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """List the traces of the source, newest first."""
    found = _ask("GET", url, token, _path(district, source_id))["items"]
    for one in found:
        ended = f"waits for the next {one['what']}"
        if one["finished_at"]:
            counts = f"{one['exchanges']:,} requests, {one['size']:,} bytes"
            ended = f"{one['finished_at'][:16]}  {one['outcome']}, {counts}"
        click.echo(f"{one['trace_id']}  {one['what']}  {ended}")
    if not found:
        click.echo("no trace; ask for one: hub source trace record")


@trace.command()
@of_source
@click.argument("trace_id", type=click.UUID, metavar="TRACE_ID")
@click.option("--to", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
def fetch(*, district: UUID, url: str, token: str, source_id: UUID, trace_id: UUID, file: Path | None) -> None:
    """Print the trace TRACE_ID, a line of JSON for each request."""

    async def fetched() -> bytes:
        address = url.rstrip("/") + _path(district, source_id, f"/{trace_id}")
        async with asking(url, token) as http:
            response = await http.get(address)
            if not response.ok:
                await answer(response)
            return await response.read()

    lines = asyncio.run(fetched())
    if file is None:
        click.echo(lines.decode(), nl=False)
    else:
        file.write_bytes(lines)


@trace.command()
@of_source
@click.argument("trace_id", type=click.UUID, metavar="TRACE_ID")
def delete(*, district: UUID, url: str, token: str, source_id: UUID, trace_id: UUID) -> None:
    """Forget the trace TRACE_ID; of one that waits nothing is recorded."""
    _ask("DELETE", url, token, _path(district, source_id, f"/{trace_id}"))
    click.echo("forgotten")
