"""``hub guard``: the guard's settings of a district or a source."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, reaching
from hub.errors import Code, HubError

_SOURCE = click.option("--source", type=click.UUID, help="The settings of this source instead of the district's.")


@click.group()
def guard() -> None:
    """See and set when runs are held: limits, and windows such as rollovers and blackouts."""


def _path(district: UUID, source: UUID | None) -> str:
    return f"/districts/{district}/sources/{source}/guard" if source else f"/districts/{district}/guard"


@guard.command()
@reaching
@_SOURCE
def show(*, district: UUID, url: str, token: str, source: UUID | None) -> None:
    """Print the settings, what counts in effect, and what is usual, as JSON."""
    click.echo(json.dumps(asyncio.run(call(url, token, "GET", _path(district, source))), indent=2))


@guard.command()
@reaching
@_SOURCE
def windows(*, district: UUID, url: str, token: str, source: UUID | None) -> None:
    """Say when the windows that were set are open: now, or the next time, the soonest first."""
    found = asyncio.run(call(url, token, "GET", _path(district, source)))["calendar"]
    for one in found:
        mark = "*" if one["open"] else " "
        click.echo(f"{mark} {one['starts'][:16]} to {one['ends'][:16]}  {one['kind']:8}  {one['name']}")
    if not found:
        click.echo("no window: see docs/guard.md for those that can be set")


@guard.command("set")
@reaching
@_SOURCE
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def set_(*, district: UUID, url: str, token: str, source: UUID | None, file: Path) -> None:
    """Replace the settings by those of FILE, a JSON object (docs/guard.md). The audit log keeps each version."""
    try:
        body: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(Code.INVALID_REQUEST, f"{file.name} is not JSON: {error}.") from None
    asyncio.run(call(url, token, "PUT", _path(district, source), json=body))
    click.echo("set")
