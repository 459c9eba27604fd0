"""``hub passback``: grade targets through the admin API, and what their systems did not take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import click

from hub.cli.admin import call, reaching

Command = TypeVar("Command", bound=Callable[..., Any])
_MOST = 500


def _choosing(command: Command) -> Command:
    """Which undelivered objects of a target a command is about."""
    for option in (
        click.option("--id", "ids", type=click.UUID, multiple=True, help="Only this object; may be repeated."),
        click.option("--entity", help="Only objects of this entity."),
        click.option("--code", help="Only what has this code."),
        click.argument("target", type=click.UUID),
    ):
        command = option(command)
    return command


@click.group()
def passback() -> None:
    """Pass what apps write to the gradebook back to a district's system, and see what it did not take."""


@passback.command("list")
@reaching
def list_(*, district: UUID, url: str, token: str) -> None:
    """List the district's grade targets with how far they are."""
    found = asyncio.run(call(url, token, "GET", f"/districts/{district}/grade-targets"))
    for target in found["items"]:
        counts = ", ".join(f"{number:,} {state}" for state, number in sorted(target["objects"].items()))
        click.echo(f"{target['target_id']}  {target['state']:7} {target['version']}  {target['url']}")
        click.echo(f"  {counts or 'nothing yet'}; {target['lag_seconds']:.0f} s behind")
        if target["last_error"]:
            status = f" ({target['last_status']})" if target["last_status"] else ""
            click.echo(f"  {target['last_error']}{status} since {target['failing_since']}")
    if not found["items"]:
        click.echo("no grade target: what apps write stays in the hub, and can be read and exported there")


@passback.command()
@reaching
@click.option("--source", type=click.UUID, required=True, help="The source whose keys the system knows.")
@click.option("--to", required=True, help="Address of the system's gradebook service.")
@click.option("--version", type=click.Choice(["1.2", "1.1"]), default="1.2", show_default=True, help="Of OneRoster.")
@click.option("--token-url", help="Where the system gives out access tokens; without it, requests are signed (1.1).")
@click.option("--client", required=True, help="The hub's client id there.")
@click.option("--secret", envvar="HUB_PASSBACK_SECRET", required=True,
              help="Its secret; better as HUB_PASSBACK_SECRET than here.")  # fmt: skip
@click.option("--scope", default="", help="Scopes to ask for, with spaces between.")
@click.option("--entity", "entities", multiple=True, help="What goes; may be repeated. Without it: categories, "
              "lineItems and results.")  # fmt: skip
@click.option(
    "--app", "apps", type=click.UUID, multiple=True, help="Whose writes go; may be repeated. Without it: all."
)
@click.option("--start", type=click.Choice(["now", "beginning"]), default="now", show_default=True,
              help="With what is written from now on, or with all that was ever written.")  # fmt: skip
def create(
    *, district: UUID, url: str, token: str, source: UUID, to: str, version: str, token_url: str | None, client: str,
    secret: str, scope: str, entities: tuple[str, ...], apps: tuple[UUID, ...], start: str,
) -> None:  # fmt: skip
    """Have what apps write passed back to a system. Takes a token of the district."""
    login = {"kind": "oauth1", "client_id": client}
    if token_url is not None:
        login = {"kind": "oauth2", "token_url": token_url, "client_id": client, "scope": scope}
    body: dict[str, Any] = {
        "source_id": str(source), "url": to, "version": version, "login": login, "client_secret": secret,
        "start": start, "apps": [str(app) for app in apps] or None,
    }  # fmt: skip
    if entities:
        body["entities"] = list(entities)
    made = asyncio.run(call(url, token, "POST", f"/districts/{district}/grade-targets", json=body))
    click.echo(made["target_id"])


@passback.command()
@reaching
@click.argument("target", type=click.UUID)
def report(*, district: UUID, url: str, token: str, target: UUID) -> None:
    """Say what the system of TARGET did not take, why, and how to mend it. Exits 1 when there is anything."""
    path = f"/districts/{district}/grade-targets/{target}/undelivered"
    lines, after = 0, None
    while True:
        query = {"limit": str(_MOST)} | ({"after": after} if after else {})
        page = asyncio.run(call(url, token, "GET", path, params=query))
        for item in page["items"]:
            lines += 1
            _show(item)
        after = page["next"]
        if after is None:
            break
    if lines:
        raise click.exceptions.Exit(1)
    click.echo("everything was taken, or is on its way")


def _show(item: dict[str, Any]) -> None:
    where = f" at {item['field']}" if item["field"] else ""
    click.echo(f"{item['entity']} {item['sourced_id']}: {item['state']}, {item['code']}{where}")
    if item["blocked_by"]:
        click.echo(f"  waits for: {item['blocked_by']['entity']} {item['blocked_by']['sourced_id']}")
    said = " ".join(str(item[name]) for name in ("status", "minor", "description") if item[name])
    if said:
        click.echo(f"  the system: {said}")
    click.echo(f"  mend: {item['mend']}")


@passback.command()
@reaching
@_choosing
def retry(**chosen: Any) -> None:
    """Send what TARGET did not take again."""
    _act("retry", **chosen)


@passback.command()
@reaching
@_choosing
def skip(**chosen: Any) -> None:
    """Give up what TARGET did not take, until it is written anew."""
    _act("skip", **chosen)


def _act(
    act: str, *, district: UUID, url: str, token: str, target: UUID, code: str | None, entity: str | None,
    ids: tuple[UUID, ...],
) -> None:  # fmt: skip
    body = {"code": code, "entity": entity, "sourced_ids": [str(one) for one in ids] or None}
    done = asyncio.run(call(url, token, "POST", f"/districts/{district}/grade-targets/{target}/{act}", json=body))
    click.echo(f"{done['objects']:,} objects")
