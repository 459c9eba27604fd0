"""``hub agreements``: with which other districts, and on which terms, the hub may say that a record exists."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, reaching

_AGREEMENT = click.argument("agreement", type=click.UUID)
_SCHOOLS = click.option("--school", "schools", type=click.UUID, multiple=True,
                        help="Only people of this school (its sourcedId) count, of your district. Several times for "
                        "several; without it all count.")  # fmt: skip


@click.group()
def agreements() -> None:
    """Agree with another district of this hub to be told that a record of a pupil exists there (docs/agreements.md).

    Off by default: nothing is compared before both districts have agreed, and either may end it at any time. Nobody is
    told ids, names, schools or dates of the other district, and no record moves. It takes a token of the district.
    """


@agreements.command("list")
@reaching
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def listing(*, district: UUID, url: str, token: str, as_json: bool) -> None:
    """List agreements and proposals, newest first."""
    found = asyncio.run(call(url, token, "GET", f"/districts/{district}/agreements"))["items"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        _print(one)
    if not found:
        click.echo("no agreement")


@agreements.command()
@reaching
@click.argument("partner", type=click.UUID)
@click.option("--role", "roles", type=click.Choice(["student", "staff"]), multiple=True, default=["student"],
              show_default=True, help="Whose records are looked for. Several times for several.")  # fmt: skip
@click.option("--identifier", "identifiers", multiple=True, help="A type of userIds, or userMasterIdentifier, that "
              "means the same in both districts, such as the state's. Several times for several.")  # fmt: skip
@click.option("--remember-days", type=click.IntRange(0, 730), default=365, show_default=True,
              help="How long who has left can still be found where they went.")  # fmt: skip
@click.option("--most-share", type=click.IntRange(1, 100), default=10, show_default=True,
              help="Per cent of a district's people that may be found within 30 days; more ends it.")  # fmt: skip
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The day (UTC) on which it ends by itself.")
@_SCHOOLS
def propose(
    *, district: UUID, url: str, token: str, partner: UUID, roles: tuple[str, ...], identifiers: tuple[str, ...],
    remember_days: int, most_share: int, until: datetime | None, schools: tuple[UUID, ...],
) -> None:  # fmt: skip
    """Propose an agreement to the district PARTNER (its id); its administrator has to accept the terms."""
    body = {
        "partner": str(partner), "roles": list(roles), "identifiers": list(identifiers),
        "remember_days": remember_days, "most_share": most_share, "schools": _own(schools),
        "until": until.strftime("%Y-%m-%dT00:00:00Z") if until else None,
    }  # fmt: skip
    _print(asyncio.run(call(url, token, "POST", f"/districts/{district}/agreements", json=body)))


@agreements.command()
@reaching
@_AGREEMENT
@_SCHOOLS
def accept(*, district: UUID, url: str, token: str, agreement: UUID, schools: tuple[UUID, ...]) -> None:
    """Accept AGREEMENT, which another district has proposed; `hub agreements list` shows its terms."""
    _act(url, token, district, agreement, "accept", json={"schools": _own(schools)})


@agreements.command()
@reaching
@_AGREEMENT
def end(*, district: UUID, url: str, token: str, agreement: UUID) -> None:
    """End AGREEMENT, or take a proposal back, or decline it: its key, tokens and findings go at once, of both."""
    _act(url, token, district, agreement, "end")


@agreements.command()
@reaching
@_AGREEMENT
def rotate(*, district: UUID, url: str, token: str, agreement: UUID) -> None:
    """Give AGREEMENT another key: all its tokens go, and are made anew."""
    _act(url, token, district, agreement, "rotate")


@agreements.command()
@reaching
@_AGREEMENT
@_SCHOOLS
def schools(*, district: UUID, url: str, token: str, agreement: UUID, schools: tuple[UUID, ...]) -> None:
    """Say whose people of your district count under AGREEMENT: those of some schools, or (without --school) all."""
    path = f"/districts/{district}/agreements/{agreement}/schools"
    _print(asyncio.run(call(url, token, "PUT", path, json={"schools": _own(schools)})))


@agreements.command()
@reaching
@click.option("--asked", is_flag=True, help="Those of whom somebody has asked, in place of those who wait.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="Most people to print.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def transfers(*, district: UUID, url: str, token: str, asked: bool, limit: int, as_json: bool) -> None:
    """List your people of whom a record exists in another district: ask there. The audit log notes each look."""
    query = {"asked": str(asked).lower(), "limit": str(limit)}
    page = asyncio.run(call(url, token, "GET", f"/districts/{district}/transfers", params=query))
    if as_json:
        click.echo(json.dumps(page["items"], indent=2))
        return
    for one in page["items"]:
        click.echo(f"{one['sourced_id']}  a record exists in {one['partner_name']}  ({one['agreement_id']})")
        if one["asked_by"]:
            click.echo(f"  asked by {one['asked_by']}, {one['asked_at']}")
    if not page["items"]:
        click.echo("nobody")
    if page["next"]:
        click.echo("there are more: raise --limit")


@agreements.command()
@reaching
@_AGREEMENT
@click.argument("user", type=click.UUID)
@click.option("--undo", is_flag=True, help="Nobody has asked yet.")
def asked(*, district: UUID, url: str, token: str, agreement: UUID, user: UUID, undo: bool) -> None:
    """Note that the other district of AGREEMENT was asked about USER (your sourcedId)."""
    path = f"/districts/{district}/agreements/{agreement}/transfers/{user}/asked"
    asyncio.run(call(url, token, "DELETE" if undo else "PUT", path))
    click.echo("waits again" if undo else "noted")


def _own(schools: tuple[UUID, ...]) -> list[str] | None:
    return [str(one) for one in schools] or None


def _act(url: str, token: str, district: UUID, agreement: UUID, act: str, **options: Any) -> None:
    _print(asyncio.run(call(url, token, "POST", f"/districts/{district}/agreements/{agreement}/{act}", **options)))


def _print(one: dict[str, Any]) -> None:
    name = f" {one['partner_name']}" if one["partner_name"] else ""
    by = "proposed by you" if one["proposed_by_us"] else "proposed to you"
    click.echo(f"{one['agreement_id']}  {one['state']}  with {one['partner_id']}{name}  ({by})")
    if one["state"] == "ended":
        because = f" ({one['ended_because']})" if one["ended_because"] else ""
        click.echo(f"  ended by {one['ended_by']}, {one['ended_at']}{because}")
        return
    ids = ", ".join(one["identifiers"]) or "none"
    click.echo(f"  {', '.join(one['roles'])}; identifiers {ids}; remembered {one['remember_days']} days; "
               f"at most {one['most_share']} % found; until {one['until'] or 'ended'}")  # fmt: skip
    click.echo(f"  your schools: {'all' if one['schools'] is None else len(one['schools'])}; "
               f"told of yours: {one['told'] or 'fewer than ten'}")  # fmt: skip
