"""``hub runs``: the runs of a district, what one would change, and deciding on a held one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import answer, asking, call, reaching

_MOST = 500
_KINDS = ("rebound", "deleted", "moved", "updated", "created")
_CHUNK = 1 << 16


@click.group()
def runs() -> None:
    """See a district's runs and what they change, and decide on held ones."""


@runs.command("list")
@reaching
@click.option("--most", type=click.IntRange(1, _MOST), default=20, show_default=True, help="How many, newest first.")
@click.option("--state", help="Only runs in this state, such as held.")
def list_(*, district: UUID, url: str, token: str, most: int, state: str | None) -> None:
    """List the district's runs, newest first."""
    found = asyncio.run(call(url, token, "GET", f"/districts/{district}/runs", params={"limit": str(most)}))
    shown = [run for run in found["items"] if state in (None, run["state"])]
    for run in shown:
        changed = {
            kind: sum(numbers.get(kind, 0) for numbers in run["counts"].values())
            for kind in ("created", "updated", "deleted")
        }
        words = ", ".join(f"{number:,} {kind}" for kind, number in changed.items() if number)
        dry = " (dry run)" if run["dry_run"] else ""
        click.echo(f"{run['run_id']}  {run['requested_at'][:16]}  {run['state']}{dry}  {words}")
    if not shown:
        click.echo("no run yet" if state is None and not found["items"] else f"no {state} run among the newest {most}")


@runs.command()
@reaching
@click.argument("run", type=click.UUID)
def show(*, district: UUID, url: str, token: str, run: UUID) -> None:
    """Show RUN: its counts, why it is held, which schools it is about, and what it does to each app."""
    path = f"/districts/{district}/runs/{run}"
    found = asyncio.run(call(url, token, "GET", path))
    report = asyncio.run(call(url, token, "GET", f"{path}/report"))["report"]
    _show(found, report)


def _show(run: dict[str, Any], report: dict[str, Any]) -> None:
    click.echo(f"run {run['run_id']}: {run['state']}")
    for entity, counts in run["counts"].items():
        words = ", ".join(f"{number:,} {kind}" for kind, number in counts.items() if number)
        click.echo(f"  {entity}: {words or 'nothing'}")
    for reason in run["guard"]:
        click.echo(f"  {'held' if reason['holds'] else 'guard'}: {reason['text']}")
        for school in reason["schools"][:10]:
            click.echo(f"    school {school}")
    for end in ("decide_by", "resume_at"):
        if run[end]:
            click.echo(f"  {end.replace('_', ' ')}: {run[end]}")
    if run["error_code"]:
        click.echo(f"  {run['error_code']}: {run['error_message']}")
    for school in report.get("difference", {}).get("schools", [])[:10]:
        words = "; ".join(
            f"{entity}: " + ", ".join(f"{number:,} {kind}" for kind, number in kinds.items())
            for entity, kinds in school["entities"].items()
        )
        click.echo(f"  {school['name']} ({school['school']}): {words}")
    for effect in report.get("effects", []):
        for entity, numbers in effect["entities"].items():
            words = ", ".join(f"{number:,} {kind}" for kind, number in numbers.items() if number)
            click.echo(f"  app {effect['app']}: {entity}: {words}")


@runs.command()
@reaching
@click.argument("run", type=click.UUID)
@click.option("--entity", help="Only changes of this entity, such as enrollments.")
@click.option("--kind", type=click.Choice(_KINDS), help="Only changes of this kind.")
@click.option("--school", type=click.UUID, help="Only changes of this school.")
@click.option("--csv", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write them to this file.")
def changes(
    *, district: UUID, url: str, token: str, run: UUID, entity: str | None, kind: str | None, school: UUID | None,
    file: Path | None,
) -> None:  # fmt: skip
    """List what RUN changes, row by row: the worst kinds first."""
    path = f"/districts/{district}/runs/{run}/changes"
    asked = {"entity": entity, "kind": kind, "school": str(school) if school else None}
    query = {name: value for name, value in asked.items() if value is not None}
    if file is not None:
        asyncio.run(_download(url.rstrip("/"), token, f"{path}.csv", query, file))
        return
    after, counts = None, None
    while True:
        more = {"limit": str(_MOST)} | ({"after": after} if after else {})
        page = asyncio.run(call(url, token, "GET", path, params=query | more))
        for item in page["items"]:
            fields = f": {', '.join(item['fields'])}" if item["fields"] else ""
            click.echo(f"{item['entity']} {item['kind']} {item['key'] or ''} {item['sourced_id'] or ''}{fields}")
        after, counts = page["next"], page["counts"]
        if after is None:
            break
    for name, kinds in (counts or {}).items():
        click.echo(f"in all, {name}: " + ", ".join(f"{number:,} {one}" for one, number in kinds.items()))


async def _download(url: str, token: str, path: str, query: dict[str, str], file: Path) -> None:
    async with asking(url, token) as http:
        response = await http.get(url + path, params=query)
        if not response.ok:
            await answer(response)
        with file.open("wb") as out:
            async for chunk in response.content.iter_chunked(_CHUNK):
                await asyncio.to_thread(out.write, chunk)


@runs.command()
@reaching
@click.argument("run", type=click.UUID)
def approve(*, district: UUID, url: str, token: str, run: UUID) -> None:
    """Let the held RUN go on, as far as what was shown of it."""
    _decided(asyncio.run(call(url, token, "POST", f"/districts/{district}/runs/{run}/approve")))


@runs.command()
@reaching
@click.argument("run", type=click.UUID)
def reject(*, district: UUID, url: str, token: str, run: UUID) -> None:
    """End the held RUN; nothing of it is applied."""
    _decided(asyncio.run(call(url, token, "POST", f"/districts/{district}/runs/{run}/reject")))


@runs.command()
@reaching
@click.argument("run", type=click.UUID)
@click.option("--school", "schools", type=click.UUID, multiple=True,
              help="Only this school; may be repeated. Without it: all but those over their limits.")  # fmt: skip
def release(*, district: UUID, url: str, token: str, run: UUID, schools: tuple[UUID, ...]) -> None:
    """Apply a part of the held RUN; the rest is held as a run of its own."""
    body = {"schools": [str(school) for school in schools] or None}
    _decided(asyncio.run(call(url, token, "POST", f"/districts/{district}/runs/{run}/release", json=body)))


def _decided(run: dict[str, Any]) -> None:
    click.echo(f"run {run['run_id']}: {run['state']}")
