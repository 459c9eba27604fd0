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
@click.option("--all", "every", is_flag=True, help="All windows as they were written, those that are over too.")
def windows(*, district: UUID, url: str, token: str, source: UUID | None, every: bool) -> None:
    """Say when the windows that were set are open: now, or the next time, the soonest first."""
    shown = asyncio.run(call(url, token, "GET", _path(district, source)))
    if every:
        for one in shown["settings"]["windows"]:
            click.echo(f"{one['starts']} to {one['ends']}  {one['kind']:8}  {one['name']}")
    else:
        _print(shown["calendar"])
    if not shown["settings"]["windows"]:
        click.echo("no window: `hub guard add-window` adds one, see docs/guard.md")


def _print(calendar: list[dict[str, Any]]) -> None:
    for one in calendar:
        mark = "*" if one["open"] else " "
        click.echo(f"{mark} {one['starts'][:16]} to {one['ends'][:16]}  {one['kind']:8}  {one['name']}")


@guard.command("add-window")
@reaching
@_SOURCE
@click.argument("kind", type=click.Choice(["rollover", "blackout", "additive"]))
@click.argument("name")
@click.argument("starts")
@click.argument("ends")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="KIND=SHARE",
    help="For a rollover: how much of any entity may be deleted, updated, moved or rebound, from 0 to 1; "
    "`none` lifts the limit. Several times.",
)
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="For a rollover: a JSON file with all that it changes, in place of --limit.",
)
def add_window(
    *, district: UUID, url: str, token: str, source: UUID | None, kind: str, name: str, starts: str, ends: str,
    limits: tuple[str, ...], rules: Path | None,
) -> None:  # fmt: skip
    """Add one window to the calendar, and leave all other settings as they are.

    STARTS and ENDS are local times such as 2027-06-15T00:00, or 06-15 for the same day of each year.
    """
    if limits and rules:
        raise click.UsageError("Give --limit or --rules, not both.")
    if (kind == "rollover") != bool(limits or rules):
        raise click.UsageError("A rollover takes --limit or --rules, which say what it changes; no other window does.")
    body: dict[str, Any] = {"kind": kind, "name": name, "starts": starts, "ends": ends}
    if rules:
        body["rules"] = _json(rules)
    elif limits:
        body["rules"] = {"limits": {"default": dict(map(_limit, limits))}}
    _print(asyncio.run(call(url, token, "POST", f"{_path(district, source)}/windows", json=body))["calendar"])


@guard.command("remove-window")
@reaching
@_SOURCE
@click.argument("name")
@click.option("--starts", help="Its start as it was written, where several windows have this name.")
def remove_window(
    *, district: UUID, url: str, token: str, source: UUID | None, name: str, starts: str | None
) -> None:  # fmt: skip
    """Remove one window from the calendar, and leave all other settings as they are."""
    query = {"name": name} | ({"starts": starts} if starts else {})
    asyncio.run(call(url, token, "DELETE", f"{_path(district, source)}/windows", params=query))
    click.echo("removed")


def _limit(text: str) -> tuple[str, dict[str, float] | None]:
    kind, _, share = text.partition("=")
    if share == "none":
        return kind, None
    try:
        return kind, {"share": float(share)}
    except ValueError:
        raise click.UsageError("Write --limit as KIND=SHARE, such as deleted=0.6, or moved=none.") from None


@guard.command("set")
@reaching
@_SOURCE
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def set_(*, district: UUID, url: str, token: str, source: UUID | None, file: Path) -> None:
    """Replace the settings by those of FILE, a JSON object (docs/guard.md). The audit log keeps each version."""
    asyncio.run(call(url, token, "PUT", _path(district, source), json=_json(file)))
    click.echo("set")


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(Code.INVALID_REQUEST, f"{file.name} is not JSON: {error}.") from None
