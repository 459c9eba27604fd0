"""``hub mapping``: what is needed to read tables with headers of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from transforms.shaping.suggest import Suggestion

_UNREADABLE = 2


@click.group()
def mapping() -> None:
    """Mappings of tables to OneRoster files."""


@mapping.command()
@click.argument("package", type=click.Path(exists=True, path_type=Path))
@click.option("--scores", is_flag=True, help="Also print, to stderr, every choice with its score.")
@click.pass_context
def suggest(ctx: click.Context, package: Path, *, scores: bool) -> None:
    """Print a transform with a suggested mapping for the tables of PACKAGE, a ZIP archive or a folder.

    It is made from the names of files and columns alone; no row is looked at. What was not found is said on stderr.
    Look it over, try it with `hub validate PACKAGE --transform FILE`, and save it with `hub source transform put`.
    """
    import orjson

    from connectors.protocol import ConnectorError
    from connectors.table_csv import headers
    from transforms.shaping.suggest import suggest as suggested

    try:
        found = suggested(headers(package))
    except ConnectorError as error:
        click.echo(f"{error.code}: {error.message}", err=True)
        ctx.exit(_UNREADABLE)
    _explain(found, scores=scores)
    click.echo(orjson.dumps({"mapping": found.mapping}, option=orjson.OPT_INDENT_2).decode())


def _explain(found: Suggestion, *, scores: bool) -> None:
    if found.base:
        click.echo(f"These are tables of the built-in mapping {found.base} (score {found.score:.2f}).", err=True)
    else:
        click.echo(f"No known format; the names fit a plain dump with a score of {found.score:.2f}.", err=True)
    for choice in found.choices if scores else ():
        place = f"{choice.table}.{choice.column}" if choice.column else choice.table
        click.echo(f"  {place} <- {choice.chosen} ({choice.score:.2f})", err=True)
    for text in found.missing:
        click.echo(f"  not found: {text}", err=True)


@mapping.command("list")
def built_in() -> None:
    """List the built-in mappings."""
    from transforms.shaping.mappings import BUILT_IN

    for name, (title, _) in BUILT_IN.items():
        click.echo(f"{name}: {title}")
