"""``hub source transform``: a source's transform looked at, tried, saved and taken back (docs/transforms.md)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from hub.cli.admin import answer, asking, of_source
from hub.cli.validate import definition_in

if TYPE_CHECKING:
    from aiohttp import FormData

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def transform() -> None:
    """What a district makes of a source's columns, values and rows (docs/transforms.md)."""


def _ask(
    method: str, url: str, token: str, district: UUID, source_id: UUID, *, path: str = "", body: Any = None,
    query: dict[str, str] | None = None, package: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The answer of the hub. With a ``package`` the body goes before it in a form."""
    address = f"{url.rstrip('/')}/districts/{district}/sources/{source_id}/transform{path}"

    async def ask() -> dict[str, Any]:
        async with asking(url, token) as http:
            if package is None:
                return await answer(await http.request(method, address, json=body, params=query))
            return await answer(await http.request(method, address, data=_form(body, package)))

    return asyncio.run(ask())


@transform.command()
@click.option("--version", type=click.IntRange(1), help="An earlier version.")
@of_source
def get(*, version: int | None, url: str, token: str, district: UUID, source_id: UUID) -> None:
    """Print the definition that acts, as JSON."""
    import orjson

    query = {} if version is None else {"version": str(version)}
    found = _ask("GET", url, token, district, source_id, query=query)
    click.echo(f"version {found['version']}" + (f": {found['note']}" if found["note"] else ""), err=True)
    click.echo(orjson.dumps(found["definition"], option=orjson.OPT_INDENT_2).decode())


@transform.command()
@click.argument("file", type=_FILE)
@click.option("--note", default="", help="Why, for those who come later.")
@of_source
def put(*, file: Path, note: str, url: str, token: str, district: UUID, source_id: UUID) -> None:
    """Save the definition in FILE as a new version; the next run goes by it."""
    body = {"definition": definition_in(file), "note": note}
    found = _ask("PUT", url, token, district, source_id, body=body)
    _warn(found["warnings"])
    click.echo(f"version {found['version']} acts from the next run on")


def _form(body: Any, package: Path) -> FormData:
    """The package is read while it is sent."""
    import orjson
    from aiohttp import FormData

    form = FormData()
    form.add_field("body", orjson.dumps(body).decode(), content_type="application/json")
    form.add_field("file", package.open("rb"), filename=package.name, content_type="application/zip")
    return form


def _warn(warnings: list[dict[str, Any]]) -> None:
    for one in warnings:
        place = f"{one['file']}.{one['column']}"
        click.echo(
            f"warning: {place} takes values of {one['source']}, which fewer apps see ({one['privacy']})", err=True
        )


@transform.command()
@of_source
def versions(*, url: str, token: str, district: UUID, source_id: UUID) -> None:
    """List all versions, newest first."""
    for item in _ask("GET", url, token, district, source_id, path="/versions")["items"]:
        mark = "*" if item["active"] else " "
        click.echo(f"{mark} {item['version']}  {item['created_at']}  {item['created_by']}  {item['note']}".rstrip())


@transform.command()
@click.argument("version", type=click.IntRange(1))
@of_source
def revert(*, version: int, url: str, token: str, district: UUID, source_id: UUID) -> None:
    """Let the earlier VERSION act again."""
    found = _ask("POST", url, token, district, source_id, path="/revert", body={"version": version})
    click.echo(f"version {found['version']} acts from the next run on")


@transform.command()
@click.argument("file", type=_FILE)
@click.option("--upload", type=click.UUID, help="The package to try it on; else the newest that is still there.")
@click.option("--package", type=_FILE, help="A ZIP archive to try it on, which is looked at and not kept.")
@click.option("--against", type=click.Choice(["active", "none"]), default="active", show_default=True,
              help="Compare with the version that acts, or with rows as they come.")  # fmt: skip
@of_source
def preview(
    *, file: Path, upload: UUID | None, package: Path | None, against: str, url: str, token: str, district: UUID,
    source_id: UUID,
) -> None:  # fmt: skip
    """Show what the definition in FILE would change on a package; nothing is written.

    It prints values of records, so only a token of the district may ask.
    """
    if upload is not None and package is not None:
        raise click.UsageError("Give --upload or --package, not both.")
    body: dict[str, Any] = {"definition": definition_in(file), "against": against}
    if upload is not None:
        body["upload_id"] = str(upload)
    found = _ask("POST", url, token, district, source_id, path="/preview", body=body, package=package)
    _warn(found["warnings"])
    for name, changes in found["files"].items():
        _show_file(name, changes)
    for code, counts in found["findings"].items():
        if counts["before"] != counts["after"]:
            click.echo(f"{code}: found {counts['before']:,} times, then {counts['after']:,} times")
    if found["refused"]:
        click.echo("The whole package would be refused.")


def _show_file(name: str, file: dict[str, Any]) -> None:
    part = "" if file["whole"] else " (of the first rows)"
    click.echo(f"{name}.csv: {file['before']:,} rows, then {file['after']:,}; {file['left_out']:,} left out{part}")
    for column, change in file["columns"].items():
        click.echo(f"  {column}: {change['changed']:,} cells change")
        for sample in change["samples"]:
            click.echo(f"    {sample['before']!r} becomes {sample['after']!r}, {sample['cells']:,} times")
