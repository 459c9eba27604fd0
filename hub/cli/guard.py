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
    """See and set when runs are held: limits, rollover windows, blackouts."""


def _path(district: UUID, source: UUID | None) -> str:
    return f"/districts/{district}/sources/{source}/guard" if source else f"/districts/{district}/guard"


@guard.command()
@reaching
@_SOURCE
def show(*, district: UUID, url: str, token: str, source: UUID | None) -> None:
    """Print the settings, what counts in effect, and what is usual, as JSON."""
    click.echo(json.dumps(asyncio.run(call(url, token, "GET", _path(district, source))), indent=2))


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
