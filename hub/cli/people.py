"""``hub people``: which records are one person, and whom an id means."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, reaching
from hub.cli.following import carry_out
from hub.cli.sync import APPLIED


@click.group()
def people() -> None:
    """Merge records that are one person, split them again, and find whom an id means (docs/people.md).

    It takes a token of the district: an operator sees no people.
    """


@people.command()
@reaching
@click.option(
    "--state",
    type=click.Choice(["review", "unsure", "same", "different"]),
    default="review",
    show_default=True,
    help="Which pairs: those that wait for a decision, or decided ones.",
)
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="Most pairs to print.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def matches(*, district: UUID, url: str, token: str, state: str, limit: int, as_json: bool) -> None:  # fmt: skip
    """List pairs of records that are or may be one person, and why the hub thinks so."""
    query = {"state": state, "limit": str(limit)}
    page = asyncio.run(call(url, token, "GET", f"/districts/{district}/matches", params=query))
    if as_json:
        click.echo(json.dumps(page["items"], indent=2))
        return
    for one in page["items"]:
        _print(one)
    if not page["items"]:
        click.echo("no pair")
    if page["next"]:
        click.echo("there are more: raise --limit")


@people.command()
@reaching
@click.argument("left", type=click.UUID)
@click.argument("right", type=click.UUID)
def show(*, district: UUID, url: str, token: str, left: UUID, right: UUID) -> None:
    """Show the records LEFT and RIGHT (sourcedIds) side by side, with what was found about them."""
    one = asyncio.run(call(url, token, "GET", f"/districts/{district}/matches/{left}/{right}"))
    _print(one)
    for entity in ("users", "demographics"):
        sides = [said.get(entity, {}) for said in one["values"]]
        for name in dict.fromkeys(name for side in sides for name in side):
            mine, other = (json.dumps(side.get(name), ensure_ascii=False) for side in sides)
            click.echo(f"  {'=' if mine == other else '!'} {name}: {mine}" + ("" if mine == other else f" | {other}"))


@people.command()
@reaching
@click.argument("left", type=click.UUID)
@click.argument("right", type=click.UUID)
@click.argument("decision", metavar="DECISION", type=click.Choice(["same", "different", "unsure"]))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.pass_context
def decide(
    ctx: click.Context, *, district: UUID, url: str, token: str, left: UUID, right: UUID, decision: str, dry_run: bool
) -> None:  # fmt: skip
    """Say whether LEFT and RIGHT (sourcedIds) are one person: DECISION is `same`, `different` or `unsure`.

    `same` merges them into the older record, whose sourcedId stays. `different` keeps them apart for ever. Records with
    many enrollments need the word of a second person, with a token of their own. Exits as `hub sync` does.
    """
    body = {"records": [str(left), str(right)], "decision": decision, "dry_run": dry_run}
    _decided(ctx, url, token, district, "/matches", body)


@people.command()
@reaching
@click.argument("user", type=click.UUID)
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.pass_context
def split(ctx: click.Context, *, district: UUID, url: str, token: str, user: UUID, dry_run: bool) -> None:
    """Take the record USER (a sourcedId, of now or of before the merge) out of the person it was merged with.

    Exits as `hub sync` does.
    """
    _decided(ctx, url, token, district, f"/users/{user}/split", {"dry_run": dry_run})


@people.command()
@reaching
@click.argument("alias")
@click.option("--key", is_flag=True, help="ALIAS is what a source calls the person, and no sourcedId of the hub.")
@click.option("--source", type=click.UUID, help="With --key: of this source alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def who(
    *, district: UUID, url: str, token: str, alias: str, key: bool, source: UUID | None, as_json: bool
) -> None:  # fmt: skip
    """Say whom ALIAS means now, and by which other ids the person is known."""
    query = {"key" if key else "sourced_id": alias} | ({"source": str(source)} if source else {})
    found = asyncio.run(call(url, token, "GET", f"/districts/{district}/crosswalk", params=query))["items"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        click.echo(f"{one['sourced_id']}{'' if one['active'] else '  (ended)'}")
        for earlier in one["aliases"]:
            click.echo(f"  earlier {earlier}")
        for said in one["sources"]:
            click.echo(f"  source {said['source_id']}: {said['key']}{'' if said['active'] else '  (no more)'}")
    if not found:
        click.echo("nobody")


@people.command()
@reaching
@click.argument("mode", metavar="MODE", type=click.Choice(["off", "propose", "merge"]), required=False)
@click.option("--email-domain", "domains", multiple=True, help="A domain of which an address belongs to one person in "
              "whatever role, such as the district's own. May be given several times.")  # fmt: skip
def matching(*, district: UUID, url: str, token: str, mode: str | None, domains: tuple[str, ...]) -> None:
    """Show or set (MODE) how much the hub decides by itself about records that may be one person.

    `off` compares nobody, `propose` leaves whatever is found to you, `merge` merges what is sure and leaves the rest.
    After a change all people are compared anew.
    """
    path = f"/districts/{district}/matching"
    if domains and not mode:
        raise click.UsageError("Give MODE with --email-domain.")
    body = {"mode": mode, "email_domains": list(domains) or None} if mode else None
    found = asyncio.run(call(url, token, "PUT" if mode else "GET", path, json=body))
    click.echo(" ".join([found["mode"], *(found["email_domains"] or ())]))


@people.command()
@reaching
@click.argument("user", type=click.UUID)
@click.option("--end", is_flag=True, help="Compare with others again.")
def exempt(*, district: UUID, url: str, token: str, user: UUID, end: bool) -> None:
    """Have USER (a sourcedId) compared with nobody: an adopted or a protected child, say."""
    path = f"/districts/{district}/users/{user}/match-exemption"
    asyncio.run(call(url, token, "DELETE" if end else "PUT", path))
    click.echo("is compared again" if end else "is compared with nobody")


def _decided(ctx: click.Context, url: str, token: str, district: UUID, path: str, body: dict[str, Any]) -> None:
    def said(made: dict[str, Any]) -> None:
        if made["run"] is None:
            second = "Somebody else has to say the same, with a token of their own: the two have many enrollments."
            click.echo(second if made["second_needed"] else "noted; no record changes")
            ctx.exit(APPLIED)

    carry_out(ctx, url, token, district, "POST", path, body, said=said)


def _print(one: dict[str, Any]) -> None:
    left, right = one["records"]
    score = f"  {one['score']:.1f} bits" if one["score"] is not None else ""
    click.echo(f"{left}  {right}  {one['state']}{'  ' + one['tier'] if one['tier'] else ''}{score}")
    for why in one["because"]:
        click.echo(f"  {why}")
    alike = one["decided_alike"]
    if count := alike["same"] + alike["different"]:
        click.echo(f"  decided before: {count} like this: {alike['same']} same, {alike['different']} different")
    if one["decided_by"]:
        click.echo(f"  {one['decided_by']}, {one['decided_at']}")
