"""``hub rules``: what a district has set for rules about its data."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, reaching


@click.group()
def rules() -> None:
    """See and set the rules about a district's data: thresholds, rules that are off, when findings hold a run."""


def _path(district: UUID) -> str:
    return f"/districts/{district}/rules"


@rules.command("list")
@reaching
@click.option("--set", "only_set", is_flag=True, help="Only those for which something was set.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, district: UUID, url: str, token: str, only_set: bool, as_json: bool) -> None:
    """Print the rules with the thresholds that count."""
    shown = asyncio.run(call(url, token, "GET", _path(district)))
    found = [rule for rule in shown["rules"] if not only_set or rule["code"] in shown["settings"]]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for rule in found:
        params = ", ".join(f"{name}={json.dumps(value)}" for name, value in rule["params"].items())
        state = "off" if rule["off"] else rule["action"]
        click.echo(f"{rule['code']:11} {state:18} {rule['title']}" + (f" ({params})" if params else ""))


@rules.command()
@reaching
@click.argument("code")
def show(*, district: UUID, url: str, token: str, code: str) -> None:
    """Print one rule and what was set for it, as JSON."""
    shown = asyncio.run(call(url, token, "GET", _path(district)))
    found = [rule for rule in shown["rules"] if rule["code"] == code]
    if not found:
        raise click.UsageError(f"There is no rule {code}; `hub rules list` prints all.")
    click.echo(json.dumps(found[0] | {"settings": shown["settings"].get(code, {})}, indent=2))


@rules.command("set")
@reaching
@click.argument("code")
@click.argument("params", nargs=-1)
@click.option("--off/--on", "off", default=None, help="Switch the rule off, or on again.")
@click.option("--hold", help="Hold a run with more findings: SHARE of all rows, or SHARE,ABOVE; `never` does not ask.")
def set_(
    *, district: UUID, url: str, token: str, code: str, params: tuple[str, ...], off: bool | None, hold: str | None
) -> None:
    """Set PARAMS of the rule CODE: thresholds such as most=150; a list as domains=a.org,b.org. The others stay."""
    kept = asyncio.run(call(url, token, "GET", _path(district)))
    declared = {rule["code"]: rule["params"] for rule in kept["rules"]}.get(code, {})
    own = dict(kept["settings"].get(code, {}))
    if params:
        own["params"] = own.get("params", {}) | dict(_param(text, declared) for text in params)
    if off is not None:
        own["off"] = off
    if hold is not None:
        own["hold"] = _hold(hold)
    _put(url, token, district, kept["settings"] | {code: own})
    click.echo("set")


@rules.command()
@reaching
@click.argument("code")
def reset(*, district: UUID, url: str, token: str, code: str) -> None:
    """Take back what was set for the rule CODE."""
    kept = asyncio.run(call(url, token, "GET", _path(district)))["settings"]
    _put(url, token, district, {name: own for name, own in kept.items() if name != code})
    click.echo("reset")


def _put(url: str, token: str, district: UUID, settings: dict[str, Any]) -> None:
    asyncio.run(call(url, token, "PUT", _path(district), json={"rules": settings}))


def _param(text: str, declared: dict[str, Any]) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if isinstance(declared.get(name), list):
        return name, [item for item in value.split(",") if item]
    try:
        return name, float(value) if "." in value else int(value)
    except ValueError:
        return name, value


def _hold(text: str) -> dict[str, float] | None:
    if text == "never":
        return None
    share, _, above = text.partition(",")
    try:
        return {"share": float(share)} | ({"above": int(above)} if above else {})
    except ValueError:
        raise click.UsageError("Write --hold as SHARE or SHARE,ABOVE, such as 0.02 or 0.02,50, or never.") from None
