"""``hub sync``: sends a package through the admin API and watches its run."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from hub.cli.admin import ADDRESS, answer, asking, of_district, with_token
from hub.cli.validate import definition_in

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from rich.progress import Progress

#: Exit codes by the run's end.
APPLIED, FAILED, HELD = 0, 1, 3
EXITS = {"applied": APPLIED, "unchanged": APPLIED, "previewed": APPLIED, "held": HELD}
_CHUNK = 1 << 20
_LOOK_SECONDS = 0.3
_PATIENCE_SECONDS = 10
_KEPT_OUT = {"refuse": "refused", "quarantine": "kept out"}
_MOST_FINDINGS = 8
_MINUTE = 60


@click.command()
@click.argument("package", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@of_district
@click.option("--source", type=click.UUID, required=True, help="The id of the district's source.")
@click.option("--dry-run", is_flag=True, help="Compute and report everything, change nothing.")
@click.option(
    "--transform",
    "definition",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read PACKAGE by this transform: saved as the source's new version, or in a dry run only tried.",
)
@click.option(
    "--url",
    envvar="HUB_ADMIN_URL",
    default=ADDRESS,
    show_default=True,
    help="Address of the admin API (HUB_ADMIN_URL).",
)
@with_token
@click.pass_context
def sync(
    ctx: click.Context, *, package: Path | None, district: UUID, source: UUID, dry_run: bool, definition: Path | None,
    url: str, token: str,
) -> None:  # fmt: skip
    """Send the ZIP archive PACKAGE to a source, or have the source pulled, and follow the run to its end.

    Exits 0 when it was applied, unchanged or previewed, 1 when it failed, was rejected or cancelled, 3 when it is held
    for a person's decision, 2 when the hub cannot be reached or refuses the call.
    """
    if definition is not None and package is None:
        raise click.UsageError("--transform goes with a PACKAGE. For a pull, save it: hub source transform put.")
    transform = None if definition is None else definition_in(definition)
    place = f"{url.rstrip('/')}/districts/{district}"
    asked = _Asked(place, f"{place}/sources/{source}", package, transform, dry_run)
    run, report = asyncio.run(_sync(asked, url, token))
    show(run, report, f"{place}/runs/{run['run_id']}")
    ctx.exit(EXITS.get(run["state"], FAILED))


@dataclass(frozen=True)
class _Asked:
    """What is asked for. ``district`` and ``source`` are their addresses."""

    district: str
    source: str
    package: Path | None
    transform: dict[str, Any] | None
    dry_run: bool


async def _sync(asked: _Asked, url: str, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run at its end, and its report."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        async with asking(url, token) as http:
            run = await _queued(http, asked, bars)
            address = f"{asked.district}/runs/{run['run_id']}"
            run = await follow(http, address, run, bars)
            return run, (await answer(await http.get(f"{address}/report")))["report"] or {}


async def _queued(http: ClientSession, asked: _Asked, bars: Progress) -> dict[str, Any]:
    """The run, once everything that it needs is there."""
    body: dict[str, Any] = {"dry_run": asked.dry_run}
    if asked.package is None:
        return await answer(await http.post(f"{asked.source}/run", json=body))
    upload = await _upload(http, f"{asked.source}/uploads", asked.package, bars)
    body["upload_id"] = upload["upload_id"]
    if asked.transform is not None and asked.dry_run:
        body["transform"] = asked.transform
    elif asked.transform is not None:
        await _save(http, f"{asked.source}/transform", asked.transform, asked.package.name)
    return await answer(await http.post(f"{asked.district}/runs", json=body))


async def _save(http: ClientSession, url: str, transform: dict[str, Any], package: str) -> None:
    """Makes a transform the version that acts, unless it is that already."""
    acts = await answer(await http.get(url))
    if acts["definition"] != transform:
        note = f"with {package}"[:200]
        acts = await answer(await http.put(url, json={"definition": transform, "note": note}))
    click.echo(f"transform: version {acts['version']} acts")


async def _upload(http: ClientSession, url: str, package: Path, bars: Progress) -> dict[str, Any]:
    """Sends the file with its digest, so that the hub can tell a package that was cut short or mangled."""
    bar = bars.add_task("hashing", total=None, left="")
    size, digest = await asyncio.to_thread(_measure, package)
    bars.update(bar, description="uploading", total=size)

    async def chunks() -> AsyncIterator[bytes]:
        with package.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk
                bars.advance(bar, len(chunk))

    headers = {
        "Content-Type": "application/zip", "Content-Length": str(size),
        "Content-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
    }  # fmt: skip
    name = package.name[-200:]
    return await answer(await http.post(url, params={"filename": name}, data=chunks(), headers=headers))


def _measure(package: Path) -> tuple[int, bytes]:
    """Size and SHA-256."""
    with package.open("rb") as file:
        return package.stat().st_size, hashlib.file_digest(file, "sha256").digest()


async def follow(http: ClientSession, url: str, run: dict[str, Any], bars: Progress) -> dict[str, Any]:
    """The run at its end."""
    bar = bars.add_task("waiting for a worker", total=None, left="")
    waiting_since = time.monotonic()
    while run["state"] in {"queued", "running"}:
        await asyncio.sleep(_LOOK_SECONDS)
        run = await answer(await http.get(url))
        progress = run["progress"] or {}
        words = f"{run['stage']} {progress.get('entity', '')}".strip()
        if not words:
            waited = time.monotonic() - waiting_since
            words = "waiting for a worker" + (" (does `hub worker` run?)" if waited > _PATIENCE_SECONDS else "")
        bars.update(
            bar, description=words, completed=progress.get("rows_done") or 0, total=progress.get("rows_total"),
            left=_left(progress.get("seconds_left")),
        )  # fmt: skip
    return run


def _left(seconds: float | None) -> str:
    """The time that is left, as a person would say it: it is an estimate."""
    if seconds is None:
        return ""
    if seconds < _MINUTE:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / _MINUTE)} min left"


def show(run: dict[str, Any], report: dict[str, Any], address: str) -> None:
    """Prints how a run ended and what it found."""
    click.echo(f"run {run['run_id']}: {run['state']}")
    for entity, counts in run["counts"].items():
        words = ", ".join(f"{number:,} {kind}" for kind, number in counts.items() if number)
        click.echo(f"  {entity}: {words or 'nothing'}")
    if run["error_code"]:
        click.echo(f"  {run['error_code']}: {run['error_message']}")
    _show_findings(report)
    for reason in run["guard"]:
        click.echo(f"  {'held' if reason['holds'] else 'guard'}: {reason['text']}")
    if run["state"] == "held":
        click.echo(f"  decide with: hub runs changes, approve, release or reject; POST {address}/approve")
    if report.get("total"):
        click.echo(f"  all {report['total']:,} findings: GET {address}/report, {address}/issues.csv")


def _show_findings(report: dict[str, Any]) -> None:
    """What kept rows out, or the whole package; what was mended stands in the report."""
    worst = [rule for rule in report.get("rules", ()) if rule["action"] in _KEPT_OUT]
    for rule in worst[:_MOST_FINDINGS]:
        where = f" in {rule['entity']}" if rule["entity"] else ""
        click.echo(f"  {rule['code']} {_KEPT_OUT[rule['action']]} {rule['count']:,}{where}: {rule['title']}")
        for place in rule["examples"][:1]:
            line = f", line {place['line']}" if place["line"] else ""
            click.echo(f"    first: {place['file'] or 'the package'}{line}")
        click.echo(f"    mend: {rule['howto']}")
