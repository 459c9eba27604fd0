"""``hub subscriptions``: webhook subscriptions through the admin API, and what their receivers answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import click

from hub.cli.admin import call, reaching
from hub.cli.signatures import debug

Command = TypeVar("Command", bound=Callable[..., Any])
_MOST = 500
_LONGEST_LINE = 200


def _of_one(command: Command) -> Command:
    return reaching(click.argument("subscription", type=click.UUID)(command))


def _ask(method: str, url: str, token: str, district: UUID, rest: str = "", **options: Any) -> Any:
    return asyncio.run(call(url, token, method, f"/districts/{district}/subscriptions{rest}", **options))


@click.group()
def subscriptions() -> None:
    """See webhook subscriptions and their attempts, try a receiver, and pause, resume or rotate (docs/webhooks.md)."""


@subscriptions.command("list")
@reaching
def list_(*, district: UUID, url: str, token: str) -> None:
    """List the district's subscriptions, or those of an app's token, with how far they are."""
    found = _ask("GET", url, token, district)["items"]
    for one in found:
        click.echo(f"{one['subscription_id']}  {one['state']:8}  {_waits(one)}  {one['url']}")
    if not found:
        click.echo("no subscription")


def _waits(one: dict[str, Any]) -> str:
    lag = f", {one['lag_seconds']:.0f} s behind" if one["behind"] else ""
    return f"{one['waits']}{lag}"


@subscriptions.command()
@_of_one
def show(*, district: UUID, url: str, token: str, subscription: UUID) -> None:
    """Show SUBSCRIPTION: how far it is, how much waits, why, and what went wrong within a day."""
    _show(_ask("GET", url, token, district, f"/{subscription}"))


def _show(one: dict[str, Any]) -> None:
    click.echo(f"subscription {one['subscription_id']}: {one['state']}, {_waits(one)}")
    click.echo(f"  to {one['url']}, grant {one['grant_id']}")
    click.echo(f"  at {one['position']:,} of {one['head']:,}")
    if "changes_waiting" in one:
        click.echo(f"  records waiting: {one['changes_waiting']:,}")
        errors = ", ".join(f"{number:,} {kind}" for kind, number in one["errors"].items())
        click.echo(f"  errors within 24 hours: {errors or 'none'}")
    if one["next_attempt_at"]:
        click.echo(f"  next attempt: {one['next_attempt_at']}")
    if one["failing_since"]:
        status = f" {one['last_status']}" if one["last_status"] else ""
        click.echo(f"  failing since {one['failing_since']}: {one['last_error']}{status}, {one['attempt']} in a row")


@subscriptions.command()
@_of_one
@click.option("--most", type=click.IntRange(1, _MOST), default=20, show_default=True, help="How many, newest first.")
@click.option("--outcome", type=click.Choice(["delivered", "failed"]), help="Only these.")
@click.option("--class", "error_class", help="Only those that failed in this way, such as tls.")
@click.option("--tests", is_flag=True, help="Only tests.")
@click.option("--answers", is_flag=True, help="With what the receiver answered.")
def attempts(
    *, district: UUID, url: str, token: str, subscription: UUID, most: int, outcome: str | None,
    error_class: str | None, tests: bool, answers: bool,
) -> None:  # fmt: skip
    """List the requests that were sent to the receiver of SUBSCRIPTION, newest first."""
    asked = {"limit": str(most), "outcome": outcome, "error_class": error_class, "test": "true" if tests else None}
    query = {name: value for name, value in asked.items() if value is not None}
    found = _ask("GET", url, token, district, f"/{subscription}/attempts", params=query)["items"]
    for one in found:
        came = one["error_class"] or "delivered"
        status = f" {one['status']}" if one["status"] else ""
        to = f" to {one['remote_ip']}" if one["remote_ip"] else ""
        test = " (test)" if one["test"] else ""
        click.echo(
            f"{one['at'][:19]}  {one['batch_id']} #{one['attempt']}{test}: {came}{status}, "
            f"{one['milliseconds']:,} ms{to}"
        )
        if one["retry_after"] is not None:
            click.echo(f"  it asked for {one['retry_after']:.0f} s")
        if answers and one["excerpt"]:
            click.echo(f"  it said: {' '.join(one['excerpt'].split())[:_LONGEST_LINE]}")
    if not found:
        click.echo("no such attempt")


@subscriptions.command()
@reaching
@click.option("--grant", type=click.UUID, required=True, help="Whose changes go there.")
@click.option("--to", required=True, help="The receiver: https and a public address.")
def create(*, district: UUID, url: str, token: str, grant: UUID, to: str) -> None:
    """Subscribe a receiver to a grant's changes, and print its secret; it cannot be shown again."""
    made = _ask("POST", url, token, district, json={"grant_id": str(grant), "url": to})
    click.echo(f"{made['subscription_id']}  {made['secret']}")


@subscriptions.command()
@_of_one
def test(*, district: UUID, url: str, token: str, subscription: UUID) -> None:
    """Send a test to the receiver of SUBSCRIPTION. Exits 1 when it did not take it."""
    found = _ask("POST", url, token, district, f"/{subscription}/test")
    status = f" {found['status']}" if found["status"] else ""
    to = f" ({found['remote_ip']})" if found["remote_ip"] else ""
    came = "delivered" if found["delivered"] else f"not delivered: {found['error_class']}"
    click.echo(f"{found['batch_id']}{to}: {came}{status}, {found['milliseconds']:,} ms")
    if not found["delivered"]:
        raise click.exceptions.Exit(1)


@subscriptions.command()
@_of_one
def pause(*, district: UUID, url: str, token: str, subscription: UUID) -> None:
    """Pause SUBSCRIPTION; nothing is lost."""
    _show(_ask("POST", url, token, district, f"/{subscription}/pause"))


@subscriptions.command()
@_of_one
def resume(*, district: UUID, url: str, token: str, subscription: UUID) -> None:
    """Go on where a paused or disabled SUBSCRIPTION stopped."""
    _show(_ask("POST", url, token, district, f"/{subscription}/resume"))


@subscriptions.command()
@_of_one
@click.option("--overlap-seconds", type=click.IntRange(0, 7 * 86_400), default=86_400, show_default=True,
              help="How long the old secret signs beside the new one.")  # fmt: skip
def rotate(*, district: UUID, url: str, token: str, subscription: UUID, overlap_seconds: int) -> None:
    """Make a new signing secret for SUBSCRIPTION and print it; it cannot be shown again."""
    body = {"overlap_seconds": overlap_seconds}
    click.echo(_ask("POST", url, token, district, f"/{subscription}/rotate", json=body)["secret"])


@subscriptions.command()
@_of_one
def delete(*, district: UUID, url: str, token: str, subscription: UUID) -> None:
    """End SUBSCRIPTION and forget its log."""
    _ask("DELETE", url, token, district, f"/{subscription}")
    click.echo("ended")


subscriptions.add_command(debug)
