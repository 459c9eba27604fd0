"""``hub overrides``: values that persons set in place of what sources say."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, reaching
from hub.cli.following import carry_out
from hub.errors import Code, HubError


@click.group()
def overrides() -> None:
    """Set single fields of records by hand, in place of what sources say (docs/sources.md).

    It takes a token of the district: an operator sees no values.
    """


@overrides.command("list")
@reaching
@click.option("--ended", is_flag=True, help="Those that have ended too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, district: UUID, url: str, token: str, ended: bool, as_json: bool) -> None:
    """List the district's overrides, oldest first: what is set, by whom, why and until when.

    One whose record has been merged says where it applies now, and whether it rests.
    """
    query = {"ended": "true"} if ended else {}
    found = asyncio.run(call(url, token, "GET", f"/districts/{district}/overrides", params=query))["items"]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for one in found:
        value = "empty" if one["value"] is None else json.dumps(one["value"], ensure_ascii=False)
        click.echo(f"{one['override_id']}  {one['entity']} {one['sourced_id'] or 'gone'}  {one['field']}: {value}")
        until = f", until {one['until']}" if one["until"] else ""
        over = f", ended {one['ended_at']} by {one['ended_by']}" if one["ended_at"] else ""
        click.echo(f"  {one['owner']}: {one['reason']}{until}{over}")
        if one["merged_into"] and not one["ended_at"]:
            rests = ", but rests: that record has one for the field itself" if one["rests"] else ""
            click.echo(f"  merged into {one['merged_into']}: it applies there{rests}")
    if not found:
        click.echo("no override")


@overrides.command("set")
@reaching
@click.argument("entity")
@click.argument("record", type=click.UUID)
@click.argument("field")
@click.argument("values", nargs=-1)
@click.option("--empty", is_flag=True, help="Empty the field; in place of VALUES.")
@click.option("--owner", required=True, help="Who answers for it.")
@click.option("--reason", required=True, help="Why, for those who come later.")
@click.option("--until", help="When it ends by itself, such as 2027-07-01T00:00:00Z.")
@click.pass_context
def set_(
    ctx: click.Context, *, district: UUID, url: str, token: str, entity: str, record: UUID, field: str,
    values: tuple[str, ...], empty: bool, owner: str, reason: str, until: str | None,
) -> None:  # fmt: skip
    """Set FIELD of the RECORD (a sourcedId) of ENTITY to VALUES, and follow the run that applies it to its end.

    A list takes as many VALUES as it has items; references are given by sourcedId, and objects such as roles as JSON.
    Exits as `hub sync` does.
    """
    if empty == bool(values):
        raise click.UsageError("Give VALUES, or --empty to empty the field.")
    body = {
        "entity": entity, "sourced_id": str(record), "field": field, "owner": owner, "reason": reason, "until": until,
        "value": None if empty else _value(entity, field, values),
    }  # fmt: skip
    carry_out(
        ctx, url, token, district, "POST", "/overrides", body,
        said=lambda made: click.echo(f"override {made['override_id']}"),
    )  # fmt: skip


@overrides.command()
@reaching
@click.argument("override", type=click.UUID)
@click.pass_context
def end(ctx: click.Context, *, district: UUID, url: str, token: str, override: UUID) -> None:
    """End OVERRIDE: the field goes back to the sources. Follows the run that does it; exits as `hub sync` does."""
    carry_out(ctx, url, token, district, "DELETE", f"/overrides/{override}")


def _value(entity: str, name: str, values: tuple[str, ...]) -> Any:
    """The value as OneRoster 1.2 has it; of a field that nobody knows a text, which the hub refuses."""
    from transforms.catalogue import CATALOGUE, Kind

    field = CATALOGUE[entity][name] if entity in CATALOGUE and name in CATALOGUE[entity] else None
    kind = field.kind if field else Kind.STRING
    if kind is Kind.REF:
        found: list[Any] = [{"sourcedId": value} for value in values]
    elif kind in {Kind.USER_ID, Kind.COMPONENT, Kind.METADATA}:
        found = [_object(name, value) for value in values]
    else:
        found = list(values)
    if field is not None and field.many:
        return found
    if len(found) > 1:
        raise click.UsageError(f"{name} holds one value. Quote it if it has spaces.")
    return found[0]


def _object(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise HubError(Code.INVALID_REQUEST, f"Each value of {name} is a JSON object: {error}.") from None
