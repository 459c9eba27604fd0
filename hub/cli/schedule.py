"""``hub source schedule``: when a source is pulled, or how often a package of it is expected."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, of_source


@click.group()
def schedule() -> None:
    """When a source is pulled, or how often a package of it is expected (docs/schedules.md)."""


def _ask(method: str, url: str, token: str, district: UUID, source: UUID, rest: str = "", **options: Any) -> Any:
    path = f"/districts/{district}/sources/{source}/schedule{rest}"
    return asyncio.run(call(url, token, method, path, **options))


@schedule.command()
@of_source
def show(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Say what is set, what comes next, and from when on the source is late."""
    _show(_ask("GET", url, token, district, source_id))


@schedule.command("set")
@of_source
@click.option("--cron", help='When to pull: minute, hour, day of month, month, day of week, such as "0 2 * * *".')
@click.option(
    "--zone", default="UTC", show_default=True, help="Time zone of --cron or --expected-days, such as America/Chicago."
)
@click.option("--expected-every-hours", type=click.IntRange(1, 8784),
              help="For a source that takes uploads: it is late without a success for so long.")  # fmt: skip
@click.option(
    "--expected-days",
    help="Days of the week whose hours alone count, such as mon,tue,wed,thu,fri; all days if left out.",
)
@click.option("--grace-minutes", type=click.IntRange(1, 10_080), default=60, show_default=True,
              help="It is late only so long after the time.")  # fmt: skip
def set_(
    *, district: UUID, url: str, token: str, source_id: UUID, cron: str | None, zone: str,
    expected_every_hours: int | None, expected_days: str | None, grace_minutes: int,
) -> None:  # fmt: skip
    """Set when the source is pulled (--cron), or how often somebody sends its package (--expected-every-hours)."""
    if (cron is None) == (expected_every_hours is None):
        raise click.UsageError("Give either --cron or --expected-every-hours.")
    when: dict[str, Any] = {"expected_every_hours": expected_every_hours} if cron is None else {"cron": cron}
    if expected_days is not None:
        when["expected_days"] = [day.strip().lower() for day in expected_days.split(",")]
    body = {**when, "zone": zone, "grace_minutes": grace_minutes}
    _show(_ask("PUT", url, token, district, source_id, json=body))


@schedule.command()
@of_source
def pause(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Pull nothing by the clock, expect nothing, and be never late, until it is resumed."""
    _show(_ask("POST", url, token, district, source_id, "/pause"))


@schedule.command()
@of_source
def resume(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Go on from now on; what was missed is not made up for."""
    _show(_ask("POST", url, token, district, source_id, "/resume"))


@schedule.command()
@of_source
def end(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """End the schedule; the source stays."""
    _ask("DELETE", url, token, district, source_id)
    click.echo("ended")


def _show(one: dict[str, Any]) -> None:
    if one["cron"] is None:
        days = f" of {', '.join(one['expected_days'])} ({one['zone']})" if one["expected_days"] else ""
        text = f"a package is expected every {one['expected_every_hours']} hours{days}"
    else:
        text = f"pulled at {one['cron']} ({one['zone']})"
    click.echo(f"{text}, with {one['grace_minutes']} minutes of grace{', PAUSED' if one['state'] == 'paused' else ''}")
    for name in ("next_at", "late_from"):
        if one[name]:
            click.echo(f"  {name.replace('_', ' ')}: {one[name]}")
