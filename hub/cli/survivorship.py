"""``hub survivorship``: which of several sources' values survives, by entity and field."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, reaching
from hub.cli.following import carry_out

_RULES = ("priority", "freshness", "completeness", "union")


@click.group()
def survivorship() -> None:
    """See and set which of several sources' values survives (docs/sources.md)."""


@survivorship.command()
@reaching
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(*, district: UUID, url: str, token: str, as_json: bool) -> None:
    """Print the rules; fields without one go by the priority of the sources."""
    rules = asyncio.run(call(url, token, "GET", f"/districts/{district}/survivorship"))["rules"]
    if as_json:
        click.echo(json.dumps(rules, indent=2))
        return
    for entity, fields in rules.items():
        for field, rule in fields.items():
            order = f", first {', '.join(rule['sources'])}" if rule["sources"] else ""
            click.echo(f"{entity}.{field}: {rule['rule']}{order}")
    if not rules:
        click.echo("no rule: all fields go by the priority of the sources")


@survivorship.command("set")
@reaching
@click.argument("entity")
@click.argument("field")
@click.option("--rule", type=click.Choice(_RULES), default="priority", show_default=True,
              help="priority: of the source that goes first; freshness: what changed last; completeness: of the one "
              "that says most; union: all items of lists.")  # fmt: skip
@click.option("--source", "sources", type=click.UUID, multiple=True,
              help="This source goes first for the field; repeated, an order. The others come behind.")  # fmt: skip
@click.pass_context
def set_(
    ctx: click.Context, *, district: UUID, url: str, token: str, entity: str, field: str, rule: str,
    sources: tuple[UUID, ...],
) -> None:  # fmt: skip
    """Set the rule for FIELD of ENTITY, and follow the run that applies it to its end; other rules stay.

    Exits as `hub sync` does.
    """
    _edit(ctx, url, token, district, {entity: {field: {"rule": rule, "sources": [str(one) for one in sources]}}})


@survivorship.command()
@reaching
@click.argument("entity")
@click.argument("field")
@click.pass_context
def clear(ctx: click.Context, *, district: UUID, url: str, token: str, entity: str, field: str) -> None:
    """Let FIELD of ENTITY go by the priority of the sources again, and follow the run that applies it.

    Exits as `hub sync` does.
    """
    _edit(ctx, url, token, district, {entity: {field: None}})


def _edit(ctx: click.Context, url: str, token: str, district: UUID, rules: dict[str, Any]) -> None:
    carry_out(ctx, url, token, district, "PATCH", "/survivorship", {"rules": rules})
