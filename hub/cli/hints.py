"""``hub source hints``: the address at which a source's system says that something changed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, of_source

_SUBSCRIBE = click.option(
    "--subscribe", is_flag=True, help="Have the hub tell the system, where its kind can be told (PowerSchool)."
)
_DISTANCE = click.IntRange(60, 86_400)


@click.group()
def hints() -> None:
    """Where a source's system says that something changed; the source is pulled soon after (docs/schedules.md)."""


def _ask(method: str, url: str, token: str, district: UUID, source: UUID, rest: str = "", **options: Any) -> Any:
    return asyncio.run(call(url, token, method, f"/districts/{district}/sources/{source}/hints{rest}", **options))


@hints.command()
@of_source
@click.option("--distance-seconds", type=_DISTANCE, default=300, show_default=True,
              help="At least between two pulls for hints.")  # fmt: skip
@_SUBSCRIBE
def on(*, district: UUID, url: str, token: str, source_id: UUID, distance_seconds: int, subscribe: bool) -> None:
    """Make the address and print it; it cannot be shown again."""
    body = {"distance_seconds": distance_seconds, "subscribe": subscribe}
    _made(_ask("POST", url, token, district, source_id, json=body))


@hints.command()
@of_source
def show(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Say when the last hint came and when the source is pulled for it; the address without its secret."""
    _show(_ask("GET", url, token, district, source_id))


@hints.command()
@of_source
@click.option("--distance-seconds", type=_DISTANCE, help="At least between two pulls for hints; as it was without it.")
@_SUBSCRIBE
def rotate(
    *, district: UUID, url: str, token: str, source_id: UUID, distance_seconds: int | None, subscribe: bool
) -> None:
    """Make another address and print it; the one before is good for nothing any more."""
    body = {"subscribe": subscribe} | ({} if distance_seconds is None else {"distance_seconds": distance_seconds})
    _made(_ask("POST", url, token, district, source_id, "/rotate", json=body))


@hints.command()
@of_source
def off(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Hear none any more. Schedules go on."""
    found = _ask("DELETE", url, token, district, source_id)
    click.echo("The source hears no hints.")
    _warn(found)


def _made(found: dict[str, Any]) -> None:
    _show(found)
    click.echo("The address cannot be shown again.", err=True)
    _warn(found)


def _warn(found: dict[str, Any]) -> None:
    if found["problem"]:
        click.echo(f"The system was not told: {found['problem']}", err=True)


def _show(found: dict[str, Any]) -> None:
    click.echo(f"address      {found['address']}")
    click.echo(f"distance     {found['distance_seconds']} seconds at least")
    click.echo(f"told by      {'the hub' if found['subscribed_at'] else 'whoever enters the address in the system'}")
    for name, label in (("heard_at", "last hint"), ("due_at", "pulled at"), ("queued_at", "last pull")):
        click.echo(f"{label:12} {found[name] or '-'}")
